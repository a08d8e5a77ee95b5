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
"""The command as a user runs it: another process, its lines, its JSON, its exit codes."""

import json
import os
from pathlib import Path
import signal
import subprocess
import sys
from test.preview.preview_client import serve, until
from test.support.ports import claim_port
from test.support.render_scene import CAMERAS, write_scene

from nurec_ros import __version__
from nurec_ros.preview.behaviour import Behaviour
from nurec_ros.scenario import Scenario
import pytest

COMMAND = [sys.executable, '-m', 'nurec_ros.cli.probe']
# Calls no render slow and asks nobody for patience: a loaded machine may take a second or three.
AT_ANY_PACE = """
import sys
from nurec_ros.cli import probe
from nurec_ros.probe import calls, renders

calls._PATIENCE_S = renders._SLOW_S = 60.0
sys.exit(probe.main())
"""


def run(*arguments, folder=None, env=None, command=COMMAND):
    """Run the command to its end."""
    return subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=folder,
        env=env,
        encoding='utf-8',
    )


def run_at_any_pace(*arguments):
    return run(*arguments, command=[sys.executable, '-c', AT_ANY_PACE])


@pytest.fixture
def closed():
    """Give an address where nothing listens."""
    return f'127.0.0.1:{claim_port()}'


def test_a_healthy_server_gets_ticks_and_exit_code_0(scenario_path, scenario, tmp_path):
    with serve(scenario) as server:
        result = run_at_any_pace(
            *('--usdz', scenario_path, '--server', server.address, '--output', tmp_path / 'out')
        )
    assert (result.returncode, result.stderr) == (0, '')
    lines = result.stdout.splitlines()
    assert scenario.scene_id in lines[0]
    assert all(line.startswith(' ✓ ') for line in lines[1:-2])
    assert 'every stage passed' in lines[-1]
    assert len(list((tmp_path / 'out').iterdir())) == 6


def test_pictures_go_beside_the_user_unless_said_otherwise(scenario_path, scenario, tmp_path):
    root = str(Path(__file__).resolve().parents[2])
    with serve(scenario) as server:
        arguments = ('--usdz', scenario_path, '--server', server.address)
        env = {**os.environ, 'PYTHONPATH': root}
        assert run(*arguments, folder=tmp_path, env=env).returncode == 0
    assert len(list((tmp_path / 'nurec_probe').glob('*.jpg'))) == 6


def test_json_is_one_value_and_nothing_else(scenario_path, scenario, tmp_path):
    with serve(scenario) as server:
        result = run_at_any_pace(
            *('--usdz', scenario_path, '--server', server.address, '--output', tmp_path, '--json')
        )
    value = json.loads(result.stdout)
    assert (result.returncode, result.stderr) == (0, '')
    assert value['ok'] is True
    assert value['exit_code'] == 0
    assert value['server'] == server.address
    assert value['scenario'] == scenario.scene_id
    assert {stage['status'] for stage in value['stages']} == {'pass'}
    assert len(value['pictures']) == 6


def test_a_failure_gets_a_cross_its_remedy_and_exit_code_1(scenario_path, scenario, tmp_path):
    with serve(scenario, behaviour=Behaviour(failure_rate=1.0)) as server:
        result = run_at_any_pace(
            *('--usdz', scenario_path, '--server', server.address, '--output', tmp_path)
        )
    assert (result.returncode, result.stderr) == (1, '')
    assert ' ✗ render ' in result.stdout
    assert '→ lower resolution_scale' in result.stdout
    assert 'failed: render, batch' in result.stdout.splitlines()[-1]


def test_a_dead_server_in_json(scenario_path, closed):
    result = run('--usdz', scenario_path, '--server', closed, '--json')
    value = json.loads(result.stdout)
    assert (result.returncode, result.stderr) == (1, '')
    assert value['ok'] is False
    assert value['exit_code'] == 1
    assert [s['stage'] for s in value['stages'] if s['status'] == 'fail'] == ['tcp']
    assert all(s['remedy'] for s in value['stages'] if s['status'] == 'fail')
    assert value['pictures'] == []


@pytest.mark.parametrize('as_json', [[], ['--json']])
def test_a_bad_file_is_one_line_and_exit_code_2(tmp_path, as_json):
    result = run('--usdz', tmp_path / 'nowhere.usdz', *as_json)
    assert result.returncode == 2
    assert result.stderr.count('\n') == 1
    assert 'nowhere.usdz' in result.stderr
    if as_json:
        value = json.loads(result.stdout)
        assert value['ok'] is False
        assert 'nowhere.usdz' in value['error']
    else:
        assert result.stdout == ''


def test_an_unknown_camera_is_exit_code_2(scenario_path, closed):
    result = run('--usdz', scenario_path, '--server', closed, '--cameras', 'camera_x')
    assert result.returncode == 2
    assert "'camera_x'" in result.stderr


@pytest.mark.parametrize(
    'arguments', [[], ['--usdz'], ['--usdz', 'x', '--timeout', '0'], ['--usdz', 'x', '--what']]
)
def test_wrong_arguments_are_exit_code_2(arguments):
    result = run(*arguments)
    assert result.returncode == 2
    assert result.stdout == ''
    assert 'Traceback' not in result.stderr


@pytest.mark.parametrize(
    'arguments', [[], ['--usdz'], ['--usdz', 'x', '--timeout', '0'], ['--usdz', 'x', '--what']]
)
@pytest.mark.parametrize('flag', ['--json', '--js'])
def test_wrong_arguments_in_json_are_one_value(arguments, flag):
    result = run(flag, *arguments)
    value = json.loads(result.stdout)
    assert result.returncode == value['exit_code'] == 2
    assert value['ok'] is False
    assert f'nurec_probe: {value["error"]}\n' == result.stderr


@pytest.mark.parametrize('server', ['127.0.0.1', '', ':99999', 'localhost:99999'])
def test_an_address_that_is_none_is_exit_code_2(scenario_path, server):
    result = run('--usdz', scenario_path, f'--server={server}', '--json')
    value = json.loads(result.stdout)
    assert result.returncode == value['exit_code'] == 2
    assert value['error'].startswith(f'--server is {server!r}, expected HOST:PORT')


@pytest.mark.parametrize('scale', ['0', '-1', '2.01', 'nan', 'x'])
def test_a_scale_out_of_range_names_its_option(scenario_path, scale):
    result = run('--usdz', scenario_path, f'--scale={scale}')
    assert (result.returncode, result.stdout) == (2, '')
    assert 'argument --scale: ' in result.stderr


def test_a_certificate_that_is_none_is_one_sentence(scenario_path, closed):
    certificate = ('--tls-root-certificate', scenario_path)
    result = run('--usdz', scenario_path, '--server', closed, *certificate)
    assert result.returncode == 2
    assert result.stderr == (
        f'nurec_probe: --tls-root-certificate {scenario_path} holds no certificate in PEM format\n'
    )


def test_a_folder_that_cannot_be_written_is_found_before_the_first_stage(scenario_path, closed):
    output = scenario_path / 'out'
    result = run('--usdz', scenario_path, '--server', closed, '--output', output)
    assert result.returncode == 2
    assert f'--output {output} cannot be written' in result.stderr
    assert 'resolve' not in result.stdout


@pytest.fixture
def half_known(tmp_path):
    """Give an archive of three cameras, one of them without a model."""
    mount = next(iter(CAMERAS.values()))[1]
    return write_scene(tmp_path / 'half.usdz', cameras={**CAMERAS, 'camera_x': (None, mount)})


def test_a_camera_without_a_model_is_named(half_known, tmp_path):
    scenario = Scenario.load(half_known)
    words = 'camera_x has no camera model in the archive: it cannot be rendered'
    with serve(scenario) as server:
        common = ('--usdz', half_known, '--server', server.address, '--output', tmp_path / 'out')
        text, as_json = run_at_any_pace(*common), run_at_any_pace(*common, '--json')
        one = run_at_any_pace(*common, '--cameras', next(iter(CAMERAS)))
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


def test_a_camera_without_a_model_cannot_be_asked_for(half_known, closed):
    result = run('--usdz', half_known, '--server', closed, '--cameras', 'camera_x')
    assert result.returncode == 2
    assert "--cameras names 'camera_x', which has no camera model in" in result.stderr


def test_on_an_ascii_terminal_the_marks_are_words(scenario_path, closed):
    env = {**os.environ, 'PYTHONIOENCODING': 'ascii'}
    result = run('--usdz', scenario_path, '--server', closed, env=env)
    assert result.returncode == 1
    assert result.stdout.isascii()
    assert 'FAIL tcp' in result.stdout


def test_an_interrupt_ends_it_without_a_traceback(scenario_path, scenario, tmp_path):
    with serve(scenario, behaviour=Behaviour(latency_s=1000.0)) as server:
        process = subprocess.Popen(
            [*COMMAND, '--usdz', scenario_path, '--server', server.address, '--output', tmp_path],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        until(lambda: server.frames == 1, 'the first frame')
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == 'nurec_probe: interrupted'
    assert 'Traceback' not in err


def test_a_pipe_that_nobody_reads_ends_it_without_a_traceback(scenario_path, closed):
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [*COMMAND, '--usdz', str(scenario_path), '--server', closed],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )
    os.close(writer)
    assert (result.returncode, result.stderr) == (130, '')


def test_help_and_version():
    text = ' '.join(run('--help').stdout.split())
    for words in ('--usdz', '--server', '--json', '--output', '--timeout', 'exit codes: 0 every'):
        assert words in text
    assert run('--version').stdout == f'nurec_probe {__version__}\n'
