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

from collections.abc import Callable
import ctypes
from functools import partial
import importlib.util
import json
import os
from pathlib import Path
import platform
import signal
import subprocess
import sys
from test.support.ports import claim_port
from test.support.process import Process
import threading
from types import SimpleNamespace
from unittest.mock import Mock

from nurec_ros.cli.command import Signals, Stopped
from nurec_ros.cli.player import keep_freed_memory
from nurec_ros.scenario import Scenario
import pytest

ROOT = Path(__file__).resolve().parents[2]
ROS = pytest.mark.skipif(importlib.util.find_spec('rclpy') is None, reason='needs rclpy')
# What takes nothing of what is printed: closed, a pipe without a reader, a full disk.
DEAF = ['closed', 'unread', 'full']


def fresh(code: str, *arguments: object, before: str = '', streams: str = '') -> tuple[int, str]:
    """Run a Python of its own from a shell; return exit code and stderr."""
    done = subprocess.run(
        ['sh', '-c', f'{before} exec "$@" {streams}', 'sh', sys.executable, '-c', code]
        + [*map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stderr


def main_of(name: str) -> str:
    return f'from nurec_ros.cli.{name} import main; import sys; sys.exit(main())'


def ended(process: Process) -> tuple[int, str]:
    """Wait for the end; return exit code and stderr."""
    return process.wait(), process.output


def _prepare(out: Path, stdout: str, change: Callable[[], object]) -> None:
    """Make stdout one of the kind, as a shell does, and change what is to be different."""
    change()
    if stdout == 'closed':
        os.close(1)
        sys.stdout = None
        return
    reader, writer = os.pipe()
    os.close(reader)
    if stdout != 'unread':
        writer = os.open('/dev/full' if stdout == 'full' else out, os.O_WRONLY | os.O_CREAT)
    os.dup2(writer, 1)
    os.close(writer)
    sys.stdout = open(1, 'w', closefd=False)  # noqa: SIM115, as long as the process


@pytest.fixture
def start(tmp_path: Path):
    """Return a function that starts a command in a fork, with a stdout of some kind."""
    started: list[Process] = []

    def run(name, *arguments, stdout='read', change=bool):
        before = partial(_prepare, tmp_path / 'stdout', stdout, change)
        log = tmp_path / 'stderr'
        started.append(Process(f'nurec_ros.cli.{name}', arguments, log, before=before))
        return started[-1]

    yield run
    for process in started:
        process.send_signal(signal.SIGKILL)


def play_arguments(name, usdz, port=1):
    """Return arguments that have a command do its work, at a port where nothing listens."""
    return {
        'player': ['--ros-args', '-p', f'usdz_path:={usdz}', '-p', f'server:=127.0.0.1:{port}'],
        'preview': ['--usdz', usdz, '--port', 0],
        'probe': ['--usdz', usdz, '--server', f'127.0.0.1:{port}'],
        'info': [usdz],
    }[name]


# --- streams that take nothing -------------------------------------------------------------------


@pytest.mark.parametrize('stream', ['>&-', '>/dev/full'])
def test_nobody_reads_the_version(stream):
    assert fresh(main_of('export'), '--version', streams=stream) == (0, '')


@pytest.mark.parametrize('stdout', DEAF)
def test_nobody_reads_where_the_preview_serves(start, scenario_path, stdout):
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
    ('name', 'stdout', 'code', 'words'),
    [
        ('probe', 'closed', 1, ''),
        ('probe', 'unread', 130, ''),
        ('probe', 'full', 2, 'nurec_probe: stdout cannot be written: No space left on device\n'),
        ('info', 'closed', 0, ''),
        ('info', 'unread', 0, ''),
        ('info', 'full', 1, 'nurec_info: stdout cannot be written: No space left on device\n'),
    ],
)
@pytest.mark.parametrize('as_json', [[], ['--json']])
def test_nobody_reads_what_is_run_for_its_output(
    start, scenario_path, name, stdout, code, words, as_json
):
    arguments = play_arguments(name, scenario_path, claim_port())
    assert ended(start(name, *arguments, *as_json, stdout=stdout)) == (code, words)


@pytest.mark.parametrize('stdout', DEAF)
def test_nobody_reads_the_example(start, tmp_path, stdout):
    path = tmp_path / 'street.usdz'
    assert ended(start('example', path, '--duration', '1', stdout=stdout)) == (0, '')
    assert path.stat().st_size > 100_000


@ROS
@pytest.mark.parametrize('stdout', DEAF)
def test_nobody_reads_what_the_player_logs_to_stdout(start, stdout, monkeypatch):
    monkeypatch.setenv('RCUTILS_LOGGING_USE_STDOUT', '0')
    process = start('player', stdout=stdout)
    process.says('idle: no scenario is loaded')
    process.send_signal(signal.SIGINT)
    code, err = ended(process)
    assert (code, err.count('\n')) == (0, 1)
    assert 'idle: no scenario is loaded' in err


def close_stderr() -> None:
    os.close(2)
    sys.stderr = None


@pytest.mark.parametrize(('name', 'code'), [('preview', 1), ('probe', 2)])
def test_a_closed_stderr_does_not_turn_complaints_into_output(start, tmp_path, name, code):
    """Python prints to stdout where stderr is None."""
    assert ended(start(name, '--usdz', 'none.usdz', change=close_stderr)) == (code, '')
    assert (tmp_path / 'stdout').read_text() == ''


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
    arguments = play_arguments(name, scenario_path)
    outcome = fresh(main_of(name), *arguments, before=f'ulimit -v {megabytes << 10};')
    assert_one_line(name, outcome, 'ulimit -v')


def no_more_threads(count: int) -> None:
    """Refuse the threads of Python's but for some, which root is never refused."""
    real, left = threading.Thread.start, [count]

    def limited(thread: threading.Thread) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("can't start new thread")
        real(thread)

    # Outlives this function; the process is the test's own.
    setattr(threading.Thread, 'start', limited)  # noqa: B010


@pytest.mark.parametrize(
    ('name', 'count'),
    [
        pytest.param('player', 0, marks=ROS),
        pytest.param('player', 1, marks=ROS),
        *(('preview', 0), ('preview', 1), ('probe', 0)),
    ],
)
def test_too_few_threads_are_one_line(start, scenario_path, name, count):
    arguments = play_arguments(name, scenario_path)
    process = start(name, *arguments, change=partial(no_more_threads, count))
    assert_one_line(name, ended(process), 'thread', 'raise the limit')


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Return what mallopt was told, in an environment that says nothing about malloc."""
    calls: list[tuple[int, int]] = []

    def mallopt(*given: int) -> int:
        calls.append(given)
        return 1

    for name in [*os.environ]:
        if name == 'GLIBC_TUNABLES' or name.startswith('MALLOC_'):
            monkeypatch.delenv(name)
    monkeypatch.setattr(ctypes, 'CDLL', lambda name: SimpleNamespace(mallopt=mallopt))
    monkeypatch.setattr(sys, 'platform', 'linux')
    return calls


def test_the_player_keeps_freed_memory(told, monkeypatch):
    assert keep_freed_memory()
    # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h; glibc takes no more than 32 MB for the
    # second, half of what an arena of a thread may grow to. The third is M_ARENA_MAX.
    assert told == [(-1, 128 << 20), (-3, 32 << 20), (-8, 2)]
    # It is refused, or of another C library; other systems are left alone.
    for libc in (SimpleNamespace(mallopt=lambda *_: 0), SimpleNamespace()):
        monkeypatch.setattr(ctypes, 'CDLL', lambda name, libc=libc: libc)
        assert not keep_freed_memory()
    monkeypatch.setattr(sys, 'platform', 'darwin')
    never = Mock()
    monkeypatch.setattr(ctypes, 'CDLL', never)
    assert not keep_freed_memory()
    assert not never.called


@pytest.mark.parametrize('name', ['MALLOC_TRIM_THRESHOLD_', 'MALLOC_ARENA_MAX', 'GLIBC_TUNABLES'])
def test_what_the_user_set_of_malloc_stays(told, monkeypatch, name):
    monkeypatch.setenv(name, '1')
    assert not keep_freed_memory()
    assert told == []


COUNT_ARENAS = """
import ctypes, threading
from nurec_ros.cli.player import keep_freed_memory
assert keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
together = threading.Barrier(8)
def take():
    together.wait()
    libc.malloc(100_000)
    together.wait()
threads = [threading.Thread(target=take) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fdopen.restype = libc.malloc_info.restype = ctypes.c_void_p
libc.malloc_info(0, libc.fdopen(2, b'w'))
libc.fflush(None)
"""


@pytest.mark.skipif(not platform.libc_ver()[0], reason='malloc_info is of glibc')
def test_threads_share_two_arenas(told):
    """Each of them keeps what is freed; with one for each thread that adds up for ever."""
    code, info = fresh(COUNT_ARENAS)
    assert (code, info.count('<heap nr=')) == (0, 2), info


# --- errors that nobody foresaw ------------------------------------------------------------------


def load(*_: object, **__: object) -> object:
    empty: dict[str, object] = {}
    return empty['lens']


def unforeseen() -> None:
    setattr(Scenario, 'load', load)  # noqa: B010


@pytest.mark.parametrize('name', [pytest.param('player', marks=ROS), 'preview', 'probe'])
def test_an_error_that_nobody_foresaw_is_one_line(start, scenario_path, name):
    process = start(name, *play_arguments(name, scenario_path), change=unforeseen)
    words = [f'unforeseen error while reading {scenario_path}: KeyError'] * (name == 'player')
    words += ['unforeseen', 'KeyError', ' at nurec_ros/', "'lens'", 'TRACEBACK=1']
    assert_one_line(name, ended(process), *words)


@pytest.mark.parametrize(
    ('name', 'more'),
    [('preview', []), pytest.param('player', ['--log-level', 'debug'], marks=ROS)],
)
def test_its_traceback_is_shown_if_asked_for(start, scenario_path, monkeypatch, name, more):
    if not more:
        monkeypatch.setenv('NUREC_TRACEBACK', '1')
    code, err = ended(start(name, *play_arguments(name, scenario_path), *more, change=unforeseen))
    assert (code, 'Traceback' in err) == (1, True)
    if not more:
        assert err.splitlines()[-1].startswith('nurec_preview: unforeseen KeyError')


def test_an_unforeseen_error_is_json_where_json_is_asked_for(start, scenario_path, tmp_path):
    arguments = play_arguments('probe', scenario_path)
    process = start('probe', *arguments, '--json', change=unforeseen)
    code, _ = ended(process)
    value = json.loads((tmp_path / 'stdout').read_text())
    assert (code, value['exit_code'], value['ok']) == (1, 1, False)
    assert 'KeyError' in value['error']


# --- signals -------------------------------------------------------------------------------------


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


INTERRUPTED = """
import signal, sys, time, weakref
from nurec_ros.cli.command import run_command, Stopped

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        {how}

def work(_):
    for name in ('dataclasses', 'datetime', 'enum', 'uuid', 'zoneinfo'):
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, Interrupt())
    import {module}
    sys.meta_path.pop(0)
    while True:
        time.sleep(0.01)

sys.exit(run_command('it', work))
"""
# Python prints whatever a callback raises, and goes on.
IN_A_CALLBACK = """
        if name == 'colorsys':
            one = Interrupt()
            self.reference = weakref.ref(one, lambda _: signal.raise_signal(signal.SIGINT))
            del one
"""
# As numpy's extension modules do.
AS_AN_ERROR = """
        if name == 'colorsys':
            try:
                signal.raise_signal(signal.SIGINT)
            except Stopped:
                raise ImportError(f'cannot import {name}') from None
"""
# orjson's C code initialises itself, and crashes when what it imports raises.
IN_AN_EXTENSION = """
        if not name.startswith('orjson'):
            signal.raise_signal(signal.SIGINT)
"""


@pytest.mark.parametrize(
    ('module', 'how'),
    [('colorsys', IN_A_CALLBACK), ('colorsys', AS_AN_ERROR), ('orjson', IN_AN_EXTENSION)],
    ids=['callback', 'error', 'extension'],
)
def test_a_signal_that_an_import_swallows_ends_it_quietly(module, how):
    pytest.importorskip(module)
    code = INTERRUPTED.replace('{how}', how.strip()).replace('{module}', module)
    assert fresh(code) == (130, 'it: interrupted\n')


def test_nohup_is_respected():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Signals(signal.SIGHUP):
        signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
