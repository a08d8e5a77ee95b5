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
"""Child processes: watched, quoted when they fail, and never left behind."""

from __future__ import annotations

import os
from pathlib import Path
import re
import signal
import subprocess
import sys
import textwrap
import threading

from nurec_ros.demo.resources import (
    Children,
    DemoError,
    FIRST_PARTICIPANT,
    free_domain,
    udp_port,
)
import pytest


def python(code: str) -> list[str]:
    return [sys.executable, '-c', textwrap.dedent(code)]


SLEEPER = python('import time; print("ready on 127.0.0.1:5", flush=True); time.sleep(600)')
STUBBORN = python("""
    import signal, time
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print('deaf', flush=True)
    time.sleep(600)
""")


@pytest.fixture
def children(tmp_path: Path):
    """Return an empty set of child processes, ended with the test."""
    with Children(tmp_path, os.environ) as several:
        yield several


def gone(pid: int) -> bool:
    """Return whether a process has ended (one that nobody waits for may stay as a zombie)."""
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in 'ZX'


def test_a_line_of_the_log_is_waited_for(children: Children):
    child = children.start('server', SLEEPER)
    match = child.wait_for(r'^ready on (\S+)', 30)
    assert match[1] == '127.0.0.1:5'
    assert child.returncode is None
    children.check()


@pytest.mark.parametrize(
    ('lines', 'said'),
    [(0, r'it said nothing \((\S+) is empty\)'), (100, r'the end of (\S+):(\n +\d+){11}\n +99')],
)
def test_one_that_ends_too_early_is_named_with_what_it_said_last(
    children: Children, tmp_path: Path, lines: int, said: str
):
    code = f'for line in range({lines}): print(line)\nraise SystemExit(3)'
    child = children.start('server', python(code))
    with pytest.raises(DemoError) as caught:
        child.wait_for('^ready', 30)
    found = re.fullmatch(f'server ended with exit code 3; {said}', str(caught.value))
    assert found
    assert found[1] == str(tmp_path / 'server.log')


def test_a_line_said_last_before_the_end_is_found(children: Children):
    child = children.start('server', python('print("ready on 1", flush=True)'))
    assert child.wait_for(r'^ready on (\S+)', 30)[1] == '1'


def test_one_that_is_never_ready_is_given_up(children: Children):
    child = children.start('server', STUBBORN)
    child.wait_for('^deaf', 30)
    with pytest.raises(DemoError, match=r'server was not ready in 0.2 s; .*\n\s+deaf'):
        child.wait_for('^ready', 0.2)
    os.kill(child.pid, signal.SIGKILL)


def test_check_names_a_signal(children: Children):
    child = children.start('server', SLEEPER)
    child.wait_for('^ready', 30)
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(DemoError):
        child.wait_for('^never$', 60)
    with pytest.raises(DemoError, match='server ended with signal SIGKILL'):
        children.check()


def test_all_are_ended_the_last_one_first(tmp_path: Path):
    code = """
        import signal, sys, time
        def end(*_):
            with open('order', 'a') as file:
                file.write(sys.argv[1])
            raise SystemExit(0)
        signal.signal(signal.SIGINT, end)
        print('ready', flush=True)
        time.sleep(600)
    """
    environment = {**os.environ}
    several = Children(tmp_path, environment)
    for name in 'ab':
        moved = f'import os; os.chdir({str(tmp_path)!r})\n' + textwrap.dedent(code)
        several.start(name, [sys.executable, '-c', moved, name]).wait_for('^ready', 30)
    assert several.end() == {'b': 0, 'a': 0}
    assert (tmp_path / 'order').read_text() == 'ba'
    assert several.end() == {}


def test_the_stubborn_are_ended_too(tmp_path: Path, monkeypatch):
    from nurec_ros.demo import resources

    monkeypatch.setitem(resources.PATIENCE_S, signal.SIGINT, 0.1)
    monkeypatch.setitem(resources.PATIENCE_S, signal.SIGTERM, 120.0)
    with Children(tmp_path, os.environ) as several:
        child = several.start('server', STUBBORN)
        child.wait_for('^deaf', 30)
    assert child.returncode == -signal.SIGTERM


def test_one_that_nothing_ends_has_no_exit_code(children: Children, monkeypatch):
    from nurec_ros.demo import resources

    child = children.start('server', STUBBORN)
    child.wait_for('^deaf', 30)
    with monkeypatch.context() as patch:
        patch.setattr(resources, 'PATIENCE_S', {signal.SIGINT: 0.1})
        assert child.end() is None
        patch.setattr(resources, 'PATIENCE_S', {signal.SIGTERM: 120.0})
        assert child.end() == -signal.SIGTERM


def test_an_error_in_the_block_ends_them(tmp_path: Path):
    started = []

    def fail() -> None:
        with Children(tmp_path, os.environ) as several:
            started.append(several.start('server', SLEEPER))
            started[0].wait_for('^ready', 30)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert started[0].returncode is not None


@pytest.mark.skipif(sys.platform != 'linux', reason='prctl is Linux')
def test_a_killed_parent_takes_its_children_along(tmp_path: Path):
    code = f"""
        import os, pathlib, time
        from nurec_ros.demo.resources import Children
        child = Children(pathlib.Path({str(tmp_path)!r}), os.environ).start(
            'server', {SLEEPER!r})
        child.wait_for('^ready', 30)
        print(child.pid, flush=True)
        time.sleep(600)
    """
    root = str(Path(__file__).resolve().parents[2])
    parent = subprocess.Popen(
        python(code), stdout=subprocess.PIPE, text=True, env={**os.environ, 'PYTHONPATH': root}
    )
    with parent:
        pid = int(parent.stdout.readline())
        assert not gone(pid)
        parent.kill()
    ended = threading.Event()
    for _ in range(1200):
        if gone(pid):
            break
        ended.wait(0.05)
    assert gone(pid)


def test_a_domain_in_use_is_not_taken(monkeypatch):
    import socket

    from nurec_ros.demo import resources

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as participant:
        with free_domain() as first:
            assert first in range(215, 233)
            monkeypatch.setattr(resources, 'DOMAINS', (first,))
            # A demo whose participants are still to come.
            with pytest.raises(DemoError, match='in use'), free_domain():
                pass
            participant.bind(('127.0.0.1', udp_port(first, FIRST_PARTICIPANT)))
        with pytest.raises(DemoError, match='in use'), free_domain():
            pass
