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
from types import SimpleNamespace

import grpc
from nurec_ros.cli.command import SIGNALS
from nurec_ros.cli.preview import main
from nurec_ros.preview.behaviour import Behaviour, SERVICE_PREFIX
import pytest

COMMAND = [sys.executable, '-m', 'nurec_ros.cli.preview']


@pytest.fixture
def run(capsys):
    """Run the command to its end, in this process."""

    def call(*arguments):
        before = {number: signal.getsignal(number) for number in SIGNALS}
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


class Running:
    """A served command; `address` is what its one line says."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [*COMMAND, '--port', '0', *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.line = self.process.stdout.readline()
        self.address = self.line.removeprefix('serving on ').strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def end(self, *signals):
        """Send the signals at once; give exit code, rest of stdout, stderr."""
        for number in signals:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


def test_one_line_says_where_it_serves_and_it_serves_there(scenario_path, scenario):
    with Running('--usdz', scenario_path) as running, Client(running.address) as client:
        assert re.fullmatch(r'serving on 127\.0\.0\.1:\d+\n', running.line)
        assert list(client.call('get_available_scenes').scene_ids) == [scenario.scene_id]
        data = client.call('render_rgb', request(scenario), timeout=60.0).image_bytes
        assert data.startswith(b'\x89PNG')
        code, out, err = running.end(signal.SIGINT)
    assert (code, out, err) == (0, '', '')


@pytest.mark.parametrize(
    'signals',
    [
        (signal.SIGINT,),
        (signal.SIGTERM,),
        (signal.SIGINT, signal.SIGINT),
        (signal.SIGTERM, signal.SIGINT),
    ],
)
def test_signals_end_it_quietly(scenario_path, scenario, signals):
    slow = ['--usdz', scenario_path, '--latency', '1000']
    with Running(*slow) as running, Client(running.address) as client:
        frame = client.start('render_rgb', request(scenario), timeout=60.0)
        client.health()
        assert running.end(*signals) == (0, '', '')
        assert frame.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)


# As numpy's extension modules do.
INTERRUPTED_IN_AN_IMPORT = """
import os
import signal
import sys


class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == 'nurec_ros.preview.server':
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except BaseException:
                raise ImportError(f'cannot import {name}') from None


from nurec_ros.cli.preview import main
sys.meta_path.insert(0, Interrupted())
sys.exit(main(['--usdz', sys.argv[1], '--port', '0']))
"""


INTERRUPTED_IN_A_CALLBACK = """
import os
import signal
import sys
import weakref


class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == 'nurec_ros.preview.server':
            one = Interrupted()
            self.reference = weakref.ref(one, lambda _: os.kill(os.getpid(), signal.SIGINT))
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


def test_a_signal_that_an_import_turns_into_an_error_ends_it_quietly(scenario_path):
    result = subprocess.run(
        [sys.executable, '-c', INTERRUPTED_IN_AN_IMPORT, scenario_path],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, '', '')


def test_several_files_are_several_scenes(scenario_path, scenario, other_path, other_scenario):
    with Running('--usdz', scenario_path, other_path) as running, Client(running.address) as one:
        scenes = set(one.call('get_available_scenes').scene_ids)
    assert scenes == {scenario.scene_id, other_scenario.scene_id}


def test_switches_reach_the_server(scenario_path, scenario):
    switches = [
        *('--service-prefix', 'sensorsim.SensorsimService'),
        *('--no-editing', '--no-health', '--max-workers', '2', '--native-aspect', '2:1'),
    ]
    with Running('--usdz', scenario_path, *switches) as running, Client(running.address) as client:
        client.prefix = 'sensorsim.SensorsimService'
        config = dict(client.call('get_server_config').server_config)
        data = client.call('render_rgb', request(scenario), timeout=60.0).image_bytes
        assert refused(client.health)[0] is grpc.StatusCode.UNIMPLEMENTED
    assert config['max_workers'] == '2'
    assert config['enable_editing_actors'] == 'False'
    assert data[16:24] == (54).to_bytes(4, 'big') + (27).to_bytes(4, 'big')  # PNG's own header


def test_the_crash_kills_the_process(scenario_path, scenario):
    with Running('--usdz', scenario_path, '--crash-after', '1') as running:
        with Client(running.address) as client:
            client.call('render_rgb', request(scenario), timeout=60.0)
            code, _ = refused(lambda: client.call('render_rgb', request(scenario)))
        assert code is grpc.StatusCode.UNAVAILABLE
        running.process.communicate(timeout=60)
        assert running.process.returncode == 70


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
