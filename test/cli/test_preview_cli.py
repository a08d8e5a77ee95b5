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
"""The command as a user runs it: another process, its output, signals and exit codes."""

import re
import signal
import socket
import subprocess
import sys
from test.preview.preview_client import Client, refused, request
from test.support.process import Process
from types import SimpleNamespace

import grpc
from nurec_ros.cli.command import SIGNALS, Stopped
from nurec_ros.cli.preview import main
from nurec_ros.preview.behaviour import Behaviour, SERVICE_PREFIX
import pytest

SERVING = r'serving on (127\.0\.0\.1:\d+)\n'


@pytest.fixture
def run(capsys):
    """Run the command to its end, in this process."""

    def call(*arguments):
        before = {number: signal.getsignal(number) for number in SIGNALS}
        code: object
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
        finally:
            # The command leaves them ignored, for the end of its process.
            for number, handler in before.items():
                signal.signal(number, handler)
        return SimpleNamespace(returncode=code, **capsys.readouterr()._asdict())

    return call


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
    assert config['max_workers'] == '2'
    assert config['enable_editing_actors'] == 'False'
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


def test_the_crash_kills_the_process(serving, scenario_path, scenario):
    process, client = serving('--usdz', scenario_path, '--crash-after', '1')
    client.call('render_rgb', request(scenario), timeout=60.0)
    code, _ = refused(lambda: client.call('render_rgb', request(scenario)))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert process.wait() == 70


def test_a_signal_that_an_import_turns_into_an_error_ends_it_quietly(
    scenario_path, monkeypatch, run
):
    class Interrupted:
        """Does as numpy's extension modules do."""

        def find_spec(self, name, path=None, target=None):
            if name == 'nurec_ros.preview.server':
                try:
                    signal.raise_signal(signal.SIGINT)
                except Stopped:
                    raise ImportError(f'cannot import {name}') from None

    monkeypatch.delitem(sys.modules, 'nurec_ros.preview.server', raising=False)
    monkeypatch.setattr(sys, 'meta_path', [Interrupted(), *sys.meta_path])
    result = run('--usdz', scenario_path, '--port', '0')
    assert (result.returncode, result.out, result.err) == (0, '', '')


INTERRUPTED_IN_A_CALLBACK = """
import signal
import sys
import weakref


class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == 'nurec_ros.preview.server':
            one = Interrupted()
            self.reference = weakref.ref(one, lambda _: signal.raise_signal(signal.SIGINT))
            del one


from nurec_ros.cli.preview import main
sys.meta_path.insert(0, Interrupted())
sys.exit(main(['--usdz', sys.argv[1], '--port', '0']))
"""


def test_a_signal_in_a_callback_ends_it_without_a_traceback(scenario_path):
    """Take whatever a callback raises as lost: Python prints it and goes on."""
    result = subprocess.run(
        [sys.executable, '-c', INTERRUPTED_IN_A_CALLBACK, scenario_path],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, '')


def one_line(result, *words):
    assert result.returncode == 1
    assert result.out == ''
    assert result.err.count('\n') == 1
    assert result.err.startswith('nurec_preview: ')
    for word in words:
        assert word in result.err


def test_a_missing_file_is_one_line(tmp_path, run):
    one_line(run('--usdz', tmp_path / 'nowhere.usdz'), 'nowhere.usdz')


def test_a_file_that_is_no_archive_is_one_line(tmp_path, run):
    path = tmp_path / 'text.usdz'
    path.write_text('no zip')
    one_line(run('--usdz', path), 'text.usdz')


def test_a_port_in_use_is_one_line(scenario_path, run):
    with socket.socket() as other:
        other.bind(('127.0.0.1', 0))
        other.listen()
        port = other.getsockname()[1]
        result = run('--usdz', scenario_path, '--port', port)
    one_line(result, f'cannot listen on 127.0.0.1:{port}', 'in use')


@pytest.mark.parametrize(
    ('option', 'value', 'expected'),
    [
        ('--lidar-beams', 'abc', "'abc', expected ROWS:COLUMNS, two whole numbers such as 64:900"),
        ('--lidar-beams', '64', "'64', expected ROWS:COLUMNS, two whole numbers"),
        ('--lidar-beams', '64:900:2', "'64:900:2', expected ROWS:COLUMNS"),
        ('--lidar-beams', '0:900', 'is 0:900, expected two positive numbers, 2000000 beams'),
        ('--native-aspect', 'wide', "'wide', expected W:H, two whole numbers such as 16:9"),
        ('--failure-rate', '2', 'is 2.0, expected 0 to 1'),
        ('--latency', '-1', 'is -1.0, expected a number of seconds, 0 or more'),
        ('--max-workers', '0', 'is 0, expected 1 or more'),
    ],
)
def test_a_behaviour_that_cannot_be_played_is_a_wrong_argument(option, value, expected, run):
    result = run('--usdz', 'x', option, value)
    assert result.returncode == 2
    assert result.err.splitlines()[-1].partition(option)[2].lstrip(': ').startswith(expected)


@pytest.mark.parametrize(
    'arguments',
    [
        [],
        ['--usdz'],
        ['--usdz', 'x', '--api', 'v7'],
        ['--usdz', 'x', '--port', '70000'],
        ['--usdz', 'x', '--native-aspect', '16'],
        ['--usdz', 'x', '--latency', 'soon'],
        ['--usdz', 'x', '--unknown'],
    ],
)
def test_wrong_arguments_are_exit_code_2(arguments, run):
    result = run(*arguments)
    assert result.returncode == 2
    assert result.out == ''
    assert 'Traceback' not in result.err


def test_help_explains_every_switch(run):
    result = run('--help')
    assert result.returncode == 0
    assert result.err == ''
    text = ' '.join(result.out.split())
    for name, default in vars_of(Behaviour()):
        flag = name.removesuffix('_s').removesuffix('_m').replace('_', '-')
        assert f'--no-{flag}' in text if isinstance(default, bool) else f'--{flag}' in text
    for words in (
        '--usdz',
        '--host',
        '--port',
        '--no-caption',
        'examples:',
        'exit codes',
        SERVICE_PREFIX,
    ):
        assert words in text


def vars_of(behaviour):
    return [(name, getattr(behaviour, name)) for name in behaviour.__slots__]
