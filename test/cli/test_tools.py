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
"""`nurec_preview` and `nurec_probe`: their lines, their JSON, their exit codes, signals."""

from functools import partial
from importlib import import_module
import io
import json
import re
import signal
import socket
import sys
from test.preview.preview_client import Client, refused, request, serve
from test.support.ports import claim_port
from test.support.process import Process
from test.support.render_scene import CAMERAS, write_scene
from test.support.waiting import until
import threading
from types import SimpleNamespace

import grpc
from nurec_ros.preview.behaviour import Behaviour, SERVICE_PREFIX
from nurec_ros.scenario import Scenario
import pytest

SERVING = r'serving on (127\.0\.0\.1:\d+)\n'
# A slow machine's note.
WAITING = 'waiting for the first picture; a server may compile its kernels\n'


@pytest.fixture
def run(capsys):
    """Return a function that runs a command to its end in this process."""

    def call(name, *arguments):
        capsys.readouterr()
        code: object
        try:
            code = import_module(f'nurec_ros.cli.{name}').main([*map(str, arguments)])
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        return SimpleNamespace(code=code, out=out, err=err.replace(WAITING, ''))

    return call


# --- nurec_preview -------------------------------------------------------------------------------


@pytest.fixture
def serving(tmp_path):
    """Start the command in a process, and return it and a client of what its one line says."""
    running = []

    def start(*arguments, fresh=False):
        words = ['--port', '0', *arguments]
        process = Process('nurec_ros.cli.preview', words, tmp_path / 'preview', fresh=fresh)
        client = Client(process.says(SERVING)[1])
        running.append((process, client))
        return process, client

    yield start
    for process, client in running:
        client.channel.close()
        process.end()


def test_it_serves_what_it_is_told_to_and_says_where(
    serving, scenario_path, scenario, other_path, other_scenario
):
    switches = [
        *('--service-prefix', 'sensorsim.SensorsimService'),
        *('--no-editing', '--no-health', '--max-workers', '2', '--native-aspect', '2:1'),
    ]
    process, client = serving('--usdz', scenario_path, other_path, *switches, fresh=True)
    client.prefix = 'sensorsim.SensorsimService'
    scenes = set(client.call('get_available_scenes').scene_ids)
    assert scenes == {scenario.scene_id, other_scenario.scene_id}
    config = dict(client.call('get_server_config').server_config)
    assert (config['max_workers'], config['enable_editing_actors']) == ('2', 'False')
    data = client.call('render_rgb', request(scenario), timeout=60.0).image_bytes
    assert data.startswith(b'\x89PNG')
    assert data[16:24] == (54).to_bytes(4, 'big') + (27).to_bytes(4, 'big')  # PNG's own header
    assert refused(client.health)[0] is grpc.StatusCode.UNIMPLEMENTED
    assert process.interrupt() == 0
    assert re.fullmatch(SERVING, process.output)


@pytest.mark.parametrize('first', [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_quietly(serving, scenario_path, scenario, first):
    """`ros2 launch` sends a second one while it ends."""
    process, client = serving('--usdz', scenario_path, '--latency', '1000')
    frame = client.start('render_rgb', request(scenario), timeout=60.0)
    client.health()
    process.send_signal(first)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 0
    assert re.fullmatch(SERVING, process.output)
    assert frame.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)


def _interrupt_at(name):
    begin = threading.Thread.start

    def start(thread):
        if name in thread.name:
            signal.raise_signal(signal.SIGINT)
        begin(thread)

    threading.Thread.start = start


# One of the pool, the one that is tried, and gRPC's loop.
@pytest.mark.parametrize('thread', ['preview_40', 'preview-spare', '(_serve)'])
def test_a_signal_ends_it_while_its_threads_begin(scenario_path, tmp_path, thread):
    process = Process(
        'nurec_ros.cli.preview',
        ['--usdz', scenario_path, '--port', '0'],
        tmp_path / 'preview',
        before=partial(_interrupt_at, thread),
    )
    assert (process.wait(), process.output) == (0, '')


def test_the_crash_kills_the_process(serving, scenario_path, scenario):
    process, client = serving('--usdz', scenario_path, '--crash-after', '1')
    client.call('render_rgb', request(scenario), timeout=60.0)
    code, _ = refused(lambda: client.call('render_rgb', request(scenario)))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert process.wait() == 70


def test_a_port_in_use_is_one_line(scenario_path, run):
    with socket.create_server(('127.0.0.1', 0)) as other:
        port = other.getsockname()[1]
        result = run('preview', '--usdz', scenario_path, '--port', port)
    assert (result.code, result.out, result.err.count('\n')) == (1, '', 1)
    assert result.err.startswith(f'nurec_preview: cannot listen on 127.0.0.1:{port}')
    assert 'in use' in result.err


@pytest.mark.parametrize(
    ('option', 'value', 'expected'),
    [
        ('--usdz', None, 'expected at least one argument'),
        ('--api', 'v7', "invalid choice: 'v7'"),
        ('--latency', 'soon', "invalid float value: 'soon'"),
        ('--lidar-beams', 'abc', "'abc', expected ROWS:COLUMNS, two whole numbers such as 64:900"),
        ('--lidar-beams', '64:900:2', "'64:900:2', expected ROWS:COLUMNS"),
        ('--native-aspect', 'wide', "'wide', expected W:H, two whole numbers such as 16:9"),
        # Of what can be read, but not played: test_preview_behaviour.py has all.
        ('--failure-rate', '2', 'is 2.0, expected 0 to 1'),
        ('--latency', '-1', 'is -1.0, expected a number of seconds, 0 or more'),
    ],
)
def test_a_behaviour_that_cannot_be_played_is_a_wrong_argument(option, value, expected, run):
    result = run('preview', '--usdz', 'x', option, *([value] if value else []))
    assert (result.code, result.out) == (2, '')
    assert result.err.splitlines()[-1].partition(option)[2].lstrip(': ').startswith(expected)


def test_help_explains_every_switch(run):
    text = ' '.join(run('preview', '--help').out.split())
    for name in Behaviour.__slots__:
        flag = name.removesuffix('_s').removesuffix('_m').replace('_', '-')
        off = isinstance(getattr(Behaviour(), name), bool)
        assert f'--no-{flag}' in text if off else f'--{flag}' in text
    for words in ('--usdz', '--host', '--port', '--no-caption', SERVICE_PREFIX):
        assert words in text


# --- nurec_probe ---------------------------------------------------------------------------------


@pytest.fixture
def closed():
    """Return an address where nothing listens."""
    return f'127.0.0.1:{claim_port()}'


def test_a_healthy_server_gets_ticks_and_exit_code_0(
    scenario_path, scenario, tmp_path, monkeypatch, run
):
    monkeypatch.chdir(tmp_path)
    with serve(scenario) as server:
        words = ('probe', '--usdz', scenario_path, '--server', server.address)
        result, as_json = run(*words), run(*words, '--output', tmp_path, '--json')
    assert (result.code, result.err) == (0, '')
    lines = result.out.splitlines()
    assert scenario.scene_id in lines[0]
    # A busy machine may be slow to draw.
    assert all(re.match(' ✓ | · render |  +→ lower ', line) for line in lines[1:-2])
    assert lines[-2] == '6 replies saved in nurec_probe'
    assert 'every stage passed' in lines[-1]
    assert len(list((tmp_path / 'nurec_probe').glob('*.jpg'))) == 6
    # One value and nothing else.
    value = json.loads(as_json.out)
    assert (as_json.code, as_json.err, value['exit_code'], value['ok']) == (0, '', 0, True)
    assert value['server'] == server.address
    assert value['scenario'] == scenario.scene_id
    assert {s['status'] for s in value['stages'] if s['stage'] != 'render'} == {'pass'}
    assert len(value['pictures']) == 6


def test_a_failure_gets_a_cross_its_remedy_and_exit_code_1(scenario_path, scenario, tmp_path, run):
    with serve(scenario, behaviour=Behaviour(failure_rate=1.0)) as server:
        words = ('--usdz', scenario_path, '--server', server.address, '--output', tmp_path)
        result = run('probe', *words)
    assert (result.code, result.err) == (1, '')
    assert ' ✗ render ' in result.out
    assert '→ lower resolution_scale' in result.out
    assert 'failed: render, batch' in result.out.splitlines()[-1]


def test_a_dead_server_in_json_and_on_an_ascii_terminal(scenario_path, closed, run, monkeypatch):
    result = run('probe', '--usdz', scenario_path, '--server', closed, '--json')
    value = json.loads(result.out)
    assert (result.code, result.err) == (1, '')
    assert (value['ok'], value['exit_code'], value['pictures']) == (False, 1, [])
    assert [s['stage'] for s in value['stages'] if s['status'] == 'fail'] == ['tcp']
    assert all(s['remedy'] for s in value['stages'] if s['status'] == 'fail')
    terminal = io.TextIOWrapper(io.BytesIO(), 'ascii')
    monkeypatch.setattr(sys, 'stdout', terminal)
    assert run('probe', '--usdz', scenario_path, '--server', closed).code == 1
    terminal.flush()
    # Marks are words there.
    assert b'FAIL tcp' in terminal.buffer.getvalue()


@pytest.mark.parametrize('flag', [[], ['--json'], ['--js']])
@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ([], '--usdz'),
        (['--usdz', 'x', '--timeout', '0'], 'argument --timeout'),
        (['--usdz', 'x', '--resolution-scale', 'nan'], "'nan', expected a number from 0.01"),
        (['--usdz', 'x', '--cameras', ' ,'], "--cameras: ' ,' holds no name, expected names such"),
        (['--usdz', '/nowhere.usdz'], '/nowhere.usdz'),
    ],
)
def test_wrong_arguments_are_exit_code_2(arguments, words, flag, run):
    """JSON, too, says so."""
    result = run('probe', *flag, *arguments)
    assert result.code == 2
    assert 'Traceback' not in result.err
    assert words in result.err
    if not flag:
        assert result.out == ''
        return
    value = json.loads(result.out)
    assert (value['exit_code'], value['ok']) == (2, False)
    assert f'nurec_probe: {value["error"]}\n' == result.err


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--server=127.0.0.1'], "--server is '127.0.0.1', expected HOST:PORT"),
        (['--server=localhost:99999'], "--server is 'localhost:99999', expected HOST:PORT"),
        (['--cameras', 'camera_x'], "--cameras names 'camera_x'; expected"),
        (['--lidars', 'none,x'], "--lidars names 'none' beside 'x'; expected 'none' alone"),
        (['--scene-url', 'ftp://x'], "--scene-url is 'ftp://x', expected a URL"),
        (['--server=a:1,b:2', '--use-proxy'], '--use-proxy is true'),
        (['--tls-root-certificate', __file__], f'--tls-root-certificate {__file__} holds no'),
        (['--output', f'{__file__}/out'], f'--output {__file__}/out cannot be written'),
    ],
)
def test_what_cannot_be_is_named_by_its_option(scenario_path, closed, arguments, words, run):
    result = run('probe', '--usdz', scenario_path, '--server', closed, *arguments)
    assert (result.code, result.err.count('\n')) == (2, 1)
    assert words in result.err
    assert 'resolve' not in result.out


def test_a_camera_without_a_model_is_named(tmp_path, run):
    front, (_, mount) = next(iter(CAMERAS.items()))
    path = write_scene(tmp_path / 'half.usdz', cameras={**CAMERAS, 'camera_x': (None, mount)})
    scenario = Scenario.load(path)
    assert scenario.warnings
    words = f'camera_x cannot be rendered: {scenario.cameras["camera_x"].problem}'
    with serve(scenario) as server:
        common = ('probe', '--usdz', path, '--server', server.address, '--output', tmp_path)
        text, as_json = run(*common), run(*common, '--json')
        one = run(*common, '--cameras', front)
    assert (text.code, as_json.code, one.code) == (0, 0, 0)
    assert words in text.out
    assert words not in one.out
    assert '3 replies saved' in one.out
    assert json.loads(as_json.out)['warnings'] == list(scenario.warnings)
    assert text.err.splitlines() == [f'nurec_probe: warning: {w}' for w in scenario.warnings]
    assert as_json.err == ''


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
