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
"""What holds for every command: closed streams, limits, errors nobody foresaw, signals."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
import resource
import signal
import subprocess
import sys
from test.support.ports import claim_port

from nurec_ros.cli.command import Signals, Stopped
import pytest

ROOT = Path(__file__).resolve().parents[2]
ROS = pytest.mark.skipif(importlib.util.find_spec('rclpy') is None, reason='needs rclpy')
# What takes nothing of what is printed: closed, a pipe without a reader, a full disk.
DEAF = ['closed', 'unread', 'full']


def start(name, *arguments, stdout='read', code=None, limits=(), **environment):
    """Start a command, or `code` and then the command, with a stdout of some kind."""
    run = f'from nurec_ros.cli.{name} import main; import sys; sys.exit(main())'
    # Within the process and by a shell: a function between fork and exec is not for processes that
    # have threads of gRPC, as this one has by other tests.
    limit = ''.join(f'resource.setrlimit({kind}, ({most}, {most}))\n' for kind, most in limits)
    before = f'import resource\n{limit}' if limit else ''
    command = [sys.executable, '-c', f'{before}{code or ""}\n{run}', *map(str, arguments)]
    if stdout == 'closed':
        command = ['sh', '-c', 'exec "$@" >&-', 'sh', *command]
    streams = {'read': subprocess.PIPE, 'closed': None}
    if stdout == 'unread':
        reader, streams['unread'] = os.pipe()
        os.close(reader)
    elif stdout == 'full':
        streams['full'] = os.open('/dev/full', os.O_WRONLY)
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=streams[stdout],
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST', **environment},
        )
    finally:
        if stdout in ('unread', 'full'):
            os.close(streams[stdout])


def ended(process):
    """Wait for the end; give exit code and stderr."""
    try:
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, err


def play_arguments(name, usdz, port=1):
    """Return arguments that have a command do its work, at a port where nothing listens."""
    return {
        'player': ['--ros-args', '-p', f'usdz_path:={usdz}', '-p', f'server:=127.0.0.1:{port}'],
        'preview': ['--usdz', usdz, '--port', 0],
        'probe': ['--usdz', usdz, '--server', f'127.0.0.1:{port}'],
    }[name]


# --- streams that take nothing -------------------------------------------------------------------


@pytest.mark.parametrize('stdout', DEAF)
@pytest.mark.parametrize('name', ['player', 'export'])
def test_nobody_reads_the_version(name, stdout):
    assert ended(start(name, '--version', stdout=stdout)) == (0, '')


@pytest.mark.parametrize('stdout', DEAF)
def test_nobody_reads_where_the_preview_serves(scenario_path, stdout):
    from test.preview.preview_client import Client

    from nurec_ros.rendering.protos import common_pb2

    port = claim_port()
    process = start('preview', '--usdz', scenario_path, '--port', port, stdout=stdout)
    with Client(f'127.0.0.1:{port}') as client:
        scenes = client.method('get_available_scenes')
        assert scenes(common_pb2.Empty(), timeout=60.0, wait_for_ready=True).scene_ids
    process.send_signal(signal.SIGINT)
    assert ended(process) == (0, '')


@pytest.mark.parametrize(
    ('stdout', 'code', 'words'),
    [
        ('closed', 1, ''),
        ('unread', 130, ''),
        ('full', 2, 'nurec_probe: stdout cannot be written: No space left on device\n'),
    ],
)
@pytest.mark.parametrize('as_json', [[], ['--json']])
def test_nobody_reads_the_probe(scenario_path, stdout, code, words, as_json):
    arguments = play_arguments('probe', scenario_path, claim_port())
    assert ended(start('probe', *arguments, *as_json, stdout=stdout)) == (code, words)


@pytest.mark.parametrize('stdout', DEAF)
def test_nobody_reads_the_example(tmp_path, stdout):
    path = tmp_path / 'street.usdz'
    assert ended(start('example', path, '--duration', '1', stdout=stdout)) == (0, '')
    assert path.stat().st_size > 100_000


@ROS
@pytest.mark.parametrize('stdout', DEAF)
def test_nobody_reads_what_the_player_logs_to_stdout(stdout):
    process = start('player', stdout=stdout, RCUTILS_LOGGING_USE_STDOUT='0')
    for line in process.stderr:
        if 'idle: no scenario is loaded' in line:
            break
    process.send_signal(signal.SIGINT)
    assert ended(process) == (0, '')


@pytest.mark.parametrize('name', ['preview', 'probe', 'example'])
def test_a_closed_stderr_does_not_turn_complaints_into_output(name, tmp_path):
    """Python prints to stdout where stderr is None."""
    arguments = {
        'preview': ['--usdz', tmp_path / 'none.usdz'],
        'probe': ['--usdz', tmp_path / 'none.usdz'],
        'example': [tmp_path / 'no' / 'folder.usdz'],
    }[name]
    process = start(name, *arguments, code='import os, sys; os.close(2); sys.stderr = None')
    out, _ = process.communicate(timeout=120)
    assert (process.returncode, out) == (2 if name == 'probe' else 1, '')


# --- limits of the system ------------------------------------------------------------------------


def assert_one_line(name, outcome, *words):
    code, err = outcome
    lines = [line for line in err.splitlines() if not line.startswith('[INFO]')]
    assert (code, len(lines)) == (1, 1), err
    assert lines[0].startswith(f'nurec_{name}: '), err
    for word in words:
        assert word in err


@pytest.mark.parametrize('megabytes', [200, 400])
@pytest.mark.parametrize('name', [pytest.param('player', marks=ROS), 'preview', 'probe'])
def test_too_little_memory_is_one_line(scenario_path, name, megabytes):
    process = start(
        name,
        *play_arguments(name, scenario_path),
        limits=[(resource.RLIMIT_AS, megabytes << 20)],
    )
    assert_one_line(name, ended(process), 'ulimit -v')


# Threads that Python starts, from the one of some number on: what root is never refused.
NO_MORE_THREADS = """
import threading
start, left = threading.Thread.start, [{}]
def limited(thread):
    left[0] -= 1
    if left[0] < 0:
        raise RuntimeError("can't start new thread")
    start(thread)
threading.Thread.start = limited
"""


@pytest.mark.parametrize(
    ('name', 'count'),
    [
        pytest.param('player', 0, marks=ROS),
        pytest.param('player', 1, marks=ROS),
        *(('preview', 0), ('preview', 1), ('probe', 0)),
    ],
)
def test_too_few_threads_are_one_line(scenario_path, name, count):
    process = start(
        name,
        *play_arguments(name, scenario_path),
        code=NO_MORE_THREADS.format(count),
    )
    assert_one_line(name, ended(process), 'thread', 'raise the limit')


# --- errors that nobody foresaw ------------------------------------------------------------------

UNFORESEEN = """
import nurec_ros.scenario
def load(path, *_, **__):
    return {}['lens']
nurec_ros.scenario.Scenario.load = load
"""


@pytest.mark.parametrize('name', [pytest.param('player', marks=ROS), 'preview', 'probe'])
def test_an_error_that_nobody_foresaw_is_one_line(scenario_path, name):
    arguments = play_arguments(name, scenario_path)
    outcome = ended(start(name, *arguments, code=UNFORESEEN))
    assert_one_line(
        name, outcome, 'unforeseen', 'KeyError', ' at nurec_ros/', "'lens'", 'TRACEBACK=1'
    )


def test_its_traceback_is_shown_if_asked_for(scenario_path):
    arguments = play_arguments('preview', scenario_path)
    code, err = ended(start('preview', *arguments, code=UNFORESEEN, NUREC_TRACEBACK='1'))
    assert code == 1
    assert err.startswith('Traceback')
    assert err.splitlines()[-1].startswith('nurec_preview: unforeseen KeyError')


@ROS
def test_the_player_shows_it_at_debug_level(scenario_path):
    arguments = play_arguments('player', scenario_path)
    code, err = ended(start('player', *arguments, '--log-level', 'debug', code=UNFORESEEN))
    assert code == 1
    assert 'Traceback' in err


def test_an_unforeseen_error_is_json_where_json_is_asked_for(scenario_path):
    import json

    arguments = play_arguments('probe', scenario_path)
    process = start('probe', *arguments, '--json', code=UNFORESEEN)
    out, _ = process.communicate(timeout=120)
    value = json.loads(out)
    assert (process.returncode, value['exit_code'], value['ok']) == (1, 1, False)
    assert 'KeyError' in value['error']


# --- what rcl refuses ----------------------------------------------------------------------------


@ROS
@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--foo'], ['--ros-args does not know --foo;', '-p NAME:=VALUE', '-r FROM:=TO']),
        (
            ['-p', 'server:=[::1]:46435'],
            ['if it is a text, quote it for YAML: -p "server:=\'[::1]:46435\'"'],
        ),
        (['-p', 'cameras:=[,]'], ['cameras:=[,]', 'a list is written -p "cameras:=[a, b]"']),
    ],
)
def test_what_rcl_does_not_take_is_a_sentence(arguments, words):
    assert_one_line('player', ended(start('player', '--ros-args', *arguments)), *words)


@ROS
def test_what_is_recommended_is_taken(tmp_path):
    arguments = ['-p', "server:='[::1]:46435'", '-p', f'usdz_path:={tmp_path / "none.usdz"}']
    assert_one_line('player', ended(start('player', '--ros-args', *arguments)), 'none.usdz')


# --- signals -------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def handlers():
    """Restore this process's handlers: a command leaves its signals ignored."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_first_signal_interrupts_and_later_ones_do_nothing():
    signals = Signals()
    reached = []

    def interrupt():
        with signals:
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGTERM)
                reached.append('clean-up')

    with pytest.raises(Stopped):
        interrupt()
    assert (signals.came, signals.number) == (True, signal.SIGTERM)
    assert reached
    # While Python finalises, one more would kill it.
    assert signal.getsignal(signal.SIGINT) == signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


@pytest.mark.parametrize('checked', [True, False])
def test_a_signal_is_noted_where_what_is_raised_may_get_lost(checked):
    """See it raised by the next look, at the latest at the end."""
    reached = []

    class Lossy:
        """What is raised here comes to nothing."""

        def __del__(self):
            signal.raise_signal(signal.SIGTERM)

    def interrupt():
        with Signals() as signals:
            signals.check()
            with signals.noted():
                Lossy()
                signal.raise_signal(signal.SIGINT)
                reached.append('signals')
                if checked:
                    signals.check()
                reached.append('end')
            reached.append('after')

    with pytest.raises(Stopped):
        interrupt()
    assert reached == (['signals'] if checked else ['signals', 'end'])


def test_nohup_is_respected():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Signals(signal.SIGHUP):
        signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
