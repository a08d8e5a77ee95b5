# Copyright 2026 nurec_ros contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""The command: its lines, its JSON, its exit codes."""

from contextlib import contextmanager, redirect_stderr, redirect_stdout
import io
import json
import os
from pathlib import Path
import re
import signal
from test.preview.preview_client import serve
from test.support.ports import claim_port
from test.support.process import Process
from test.support.render_scene import CAMERAS, write_scene
from test.support.waiting import until
from types import SimpleNamespace

from nurec_ros.cli.probe import main
from nurec_ros.preview.behaviour import Behaviour
from nurec_ros.scenario import Scenario
import pytest

WAITING = 'waiting for the first picture; a server may compile its kernels\n'


def run(*arguments, folder=None, encoding='utf-8'):
    """Run the command to its end in this process; a slow machine's notes are taken off stderr."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2))
    with chdir(folder or '.'), redirect_stdout(out), redirect_stderr(err):
        code: object
        try:
            code = main([*map(str, arguments)])
        except SystemExit as end:
            code = end.code
    texts = [stream.buffer.getvalue().decode() for stream in (out, err)]
    return SimpleNamespace(returncode=code, stdout=texts[0], stderr=texts[1].replace(WAITING, ''))


@contextmanager
def chdir(folder):
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.fixture
def closed():
    """Return an address where nothing listens."""
    return f'127.0.0.1:{claim_port()}'


def test_a_healthy_server_gets_ticks_and_exit_code_0(scenario_path, scenario, tmp_path):
    with serve(scenario) as server:
        result = run('--usdz', scenario_path, '--server', server.address, folder=tmp_path)
    assert (result.returncode, result.stderr) == (0, '')
    lines = result.stdout.splitlines()
    assert scenario.scene_id in lines[0]
    # A busy machine may be slow to draw.
    assert all(re.match(' ✓ | · render |  +→ lower ', line) for line in lines[1:-2])
    assert lines[-2] == '6 replies saved in nurec_probe'
    assert 'every stage passed' in lines[-1]
    assert len(list((tmp_path / 'nurec_probe').glob('*.jpg'))) == 6


def test_json_is_one_value_and_nothing_else(scenario_path, scenario, tmp_path):
    with serve(scenario) as server:
        result = run(
            *('--usdz', scenario_path, '--server', server.address, '--output', tmp_path, '--json')
        )
    value = json.loads(result.stdout)
    assert (result.returncode, result.stderr) == (0, '')
    assert value['ok'] is True
    assert value['exit_code'] == 0
    assert value['server'] == server.address
    assert value['scenario'] == scenario.scene_id
    assert {s['status'] for s in value['stages'] if s['stage'] != 'render'} == {'pass'}
    assert len(value['pictures']) == 6


def test_a_failure_gets_a_cross_its_remedy_and_exit_code_1(scenario_path, scenario, tmp_path):
    with serve(scenario, behaviour=Behaviour(failure_rate=1.0)) as server:
        result = run('--usdz', scenario_path, '--server', server.address, '--output', tmp_path)
    assert (result.returncode, result.stderr) == (1, '')
    assert ' ✗ render ' in result.stdout
    assert '→ lower resolution_scale' in result.stdout
    assert 'failed: render, batch' in result.stdout.splitlines()[-1]


def test_a_dead_server_in_json(scenario_path, closed):
    result = run('--usdz', scenario_path, '--server', closed, '--json')
    value = json.loads(result.stdout)
    assert (result.returncode, result.stderr) == (1, '')
    assert (value['ok'], value['exit_code'], value['pictures']) == (False, 1, [])
    assert [s['stage'] for s in value['stages'] if s['status'] == 'fail'] == ['tcp']
    assert all(s['remedy'] for s in value['stages'] if s['status'] == 'fail')


def refused(result, *words, as_json=False):
    """Check that a command was refused, in one line, with some words; JSON says the same."""
    assert result.returncode == 2
    assert 'Traceback' not in result.stderr
    for word in words:
        assert word in result.stderr
    if not as_json:
        assert result.stdout == ''
        return
    value = json.loads(result.stdout)
    assert (value['exit_code'], value['ok']) == (2, False)
    assert f'nurec_probe: {value["error"]}\n' == result.stderr


@pytest.mark.parametrize('flag', [[], ['--json'], ['--js']])
@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ([], '--usdz'),
        (['--usdz'], '--usdz'),
        (['--usdz', 'x', '--timeout', '0'], 'argument --timeout'),
        (['--usdz', 'x', '--resolution-scale', 'nan'], 'argument --resolution-scale: '),
        (['--usdz', 'x', '--what'], '--what'),
        (['--usdz', 'x', '--cameras', ' ,'], "--cameras: ' ,' holds no name, expected names such"),
        (['--usdz', '/nowhere.usdz'], '/nowhere.usdz'),
    ],
)
def test_wrong_arguments_are_exit_code_2(arguments, words, flag):
    refused(run(*flag, *arguments), words, as_json=bool(flag))


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--server=127.0.0.1'], "--server is '127.0.0.1', expected HOST:PORT"),
        (['--server=localhost:99999'], "--server is 'localhost:99999', expected HOST:PORT"),
        (['--cameras', 'camera_x'], '--cameras names camera_x; expected'),
        (['--lidars', 'none,x'], "--lidars names 'none' beside 'x'; expected 'none' alone"),
        (['--scene-url', 'ftp://x'], "--scene-url is 'ftp://x', expected a URL"),
        (['--server=a:1,b:2', '--use-proxy'], '--use-proxy is true'),
        (['--tls-root-certificate', __file__], f'--tls-root-certificate {__file__} holds no'),
        (['--output', f'{__file__}/out'], f'--output {__file__}/out cannot be written'),
    ],
)
def test_what_cannot_be_is_named_by_its_option(scenario_path, closed, arguments, words):
    result = run('--usdz', scenario_path, '--server', closed, *arguments)
    assert (result.returncode, result.stderr.count('\n')) == (2, 1)
    assert words in result.stderr
    assert 'resolve' not in result.stdout


@pytest.mark.parametrize('scale', ['0', '-1', '2.01', 'x'])
def test_a_scale_out_of_range_names_its_option(scenario_path, scale):
    refused(
        run('--usdz', scenario_path, f'--resolution-scale={scale}'),
        'argument --resolution-scale: ',
    )


def test_a_camera_without_a_model_is_named(tmp_path):
    mount = next(iter(CAMERAS.values()))[1]
    half_known = write_scene(
        tmp_path / 'half.usdz', cameras={**CAMERAS, 'camera_x': (None, mount)}
    )
    scenario = Scenario.load(half_known)
    words = f'camera_x cannot be rendered: {scenario.cameras["camera_x"].problem}'
    with serve(scenario) as server:
        common = ('--usdz', half_known, '--server', server.address, '--output', tmp_path / 'out')
        text, as_json = run(*common), run(*common, '--json')
        one = run(*common, '--cameras', next(iter(CAMERAS)))
    assert (text.returncode, as_json.returncode, one.returncode) == (0, 0, 0)
    assert words in text.stdout
    assert words not in one.stdout
    assert '1 camera, calibrations equal' in one.stdout
    assert '3 replies saved' in one.stdout
    value = json.loads(as_json.stdout)
    assert value['warnings'] == list(scenario.warnings)
    assert scenario.warnings
    assert text.stderr.splitlines() == [f'nurec_probe: warning: {w}' for w in scenario.warnings]
    assert as_json.stderr == ''
    result = run(*common, '--cameras', 'camera_x')
    assert result.returncode == 2
    assert "--cameras names 'camera_x', which cannot be rendered: " in result.stderr


def test_on_an_ascii_terminal_the_marks_are_words(scenario_path, closed):
    result = run('--usdz', scenario_path, '--server', closed, encoding='ascii')
    assert result.returncode == 1
    assert result.stdout.isascii()
    assert 'FAIL tcp' in result.stdout


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_without_a_traceback(scenario_path, scenario, tmp_path, number, code):
    with serve(scenario, behaviour=Behaviour(latency_s=1000.0)) as server:
        words = ['--usdz', scenario_path, '--server', server.address, '--output', tmp_path]
        process = Process('nurec_ros.cli.probe', words, tmp_path / 'output')
        until(lambda: server.frames == 1, 'the first frame')
        process.send_signal(number)
        assert process.wait() == code
    said = process.output.replace(WAITING, '').splitlines()
    assert said[-1] == 'nurec_probe: interrupted'
    assert not any('Traceback' in line for line in said)
