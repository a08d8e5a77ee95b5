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
"""What a demo takes of a machine and gives back: its folder, child processes, a ROS domain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import re
import signal
import socket
import subprocess
import sys
from test.support.waiting import until
import textwrap

from nurec_ros.demo import resources
from nurec_ros.demo.resources import (
    Children,
    DemoError,
    Files,
    FIRST_PARTICIPANT,
    free_domain,
    udp_port,
)
from nurec_ros.errors import ConfigurationError
import pytest

ROOT = Path(__file__).resolve().parents[2]


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, '-c', textwrap.dedent(code), *map(str, arguments)]


@contextmanager
def parent(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Start a process that does something with the demo's resources; yield it once it says so."""
    with subprocess.Popen(
        python(code, *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    ) as process:
        yield process


# -- the folder ---------------------------------------------------------------------------------


def earlier(folder: Path) -> Files:
    """Leave what an earlier demo leaves, and a log of somebody else."""
    files = Files(folder)
    files.recording.mkdir(parents=True)
    for path in ('recording/metadata.yaml', 'recording/recording.mcap'):
        (folder / path).write_text('old')
    files.contact_sheet.write_text('old')
    files.overview.write_text('old')
    (folder / 'mine.log').write_text('mine')
    return files


def test_the_new_recording_takes_the_earlier_ones_place(tmp_path: Path):
    files = earlier(tmp_path)
    files.prepare()
    with files.new_recording() as fresh:
        assert fresh.name == 'recording'
        fresh.mkdir()
        (fresh / 'metadata.yaml').write_text('new')
        assert (files.recording / 'metadata.yaml').read_text() == 'old'
    assert [path.name for path in files.recording.iterdir()] == ['metadata.yaml']
    assert (files.recording / 'metadata.yaml').read_text() == 'new'
    assert {path.name for path in tmp_path.iterdir()} == {'recording', 'mine.log'}


def test_a_failure_leaves_the_earlier_results(tmp_path: Path):
    files = earlier(tmp_path / 'demo')
    before = sorted(tmp_path.rglob('*'))

    def fail() -> None:
        with files.new_recording() as fresh:
            fresh.mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert sorted(tmp_path.rglob('*')) == before


@pytest.mark.parametrize(
    'make',
    [
        lambda recording: recording.write_text('mine'),
        lambda recording: recording.symlink_to(recording.parents[1]),
        lambda recording: (recording / 'x.mcap').mkdir(parents=True),
        lambda recording: recording.mkdir() or (recording / 'mine.txt').write_text('mine'),
    ],
    ids=['file', 'link', 'folder', 'foreign file'],
)
def test_what_is_somebody_elses_is_refused_in_one_sentence(tmp_path: Path, make):
    files = Files(tmp_path / 'demo')
    files.folder.mkdir()
    make(files.recording)
    before = sorted(tmp_path.rglob('*'))
    with pytest.raises(ConfigurationError, match=rf'^.*{files.recording}.*$'):
        files.prepare()
    assert sorted(tmp_path.rglob('*')) == before


UNFINISHED = """
    import pathlib, sys
    from nurec_ros.demo.resources import Files
    files = Files(pathlib.Path(sys.argv[1]))
    files.prepare()
    with files.new_recording() as fresh:
        fresh.mkdir()
        print('recording', flush=True)
        sys.stdin.read()
"""


def test_a_folder_that_another_demo_fills_or_was_killed_at(tmp_path: Path):
    files = earlier(tmp_path)
    before = sorted(tmp_path.rglob('*'))
    with parent(UNFINISHED, tmp_path) as process:
        assert process.stdout.readline() == 'recording\n'
        with pytest.raises(ConfigurationError, match='another demo is filling'):
            Files(tmp_path).prepare()
        process.kill()
    assert len(list(tmp_path.glob('.recording-*'))) == 1
    files.prepare()
    assert sorted(tmp_path.rglob('*')) == before


# -- processes ----------------------------------------------------------------------------------

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


def test_a_line_of_the_log_is_waited_for_and_a_signal_named(children: Children):
    child = children.start('server', SLEEPER)
    assert child.wait_for(r'^ready on (\S+)', 30)[1] == '127.0.0.1:5'
    assert child.returncode is None
    children.check()
    os.kill(child.pid, signal.SIGKILL)
    for ask in (lambda: child.wait_for('^never$', 60), children.check):
        with pytest.raises(DemoError, match='server ended with signal SIGKILL'):
            ask()


def test_all_are_ended_the_last_one_first(tmp_path: Path):
    code = """
        import signal, sys, time
        def end(*_):
            with open(sys.argv[1], 'a') as file:
                file.write(sys.argv[2])
            raise SystemExit(0)
        signal.signal(signal.SIGINT, end)
        print('ready', flush=True)
        time.sleep(600)
    """
    several = Children(tmp_path, os.environ)
    for name in 'ab':
        several.start(name, python(code, tmp_path / 'order', name)).wait_for('^ready', 30)
    assert several.end() == {'b': 0, 'a': 0}
    assert (tmp_path / 'order').read_text() == 'ba'
    assert several.end() == {}


def test_the_stubborn_are_given_up_when_starting_and_ended_too(children: Children, monkeypatch):
    child = children.start('server', STUBBORN)
    child.wait_for('^deaf', 30)
    with pytest.raises(DemoError, match=r'server was not ready in 0.2 s; .*\n\s+deaf'):
        child.wait_for('^ready', 0.2)
    monkeypatch.setattr(resources, 'PATIENCE_S', {signal.SIGINT: 0.1})
    assert child.end() is None, 'nothing ends it'
    monkeypatch.setattr(resources, 'PATIENCE_S', {signal.SIGINT: 0.1, signal.SIGTERM: 120.0})
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


def gone(pid: int) -> bool:
    """Return whether a process has ended (one that nobody waits for may stay as a zombie)."""
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in 'ZX'


@pytest.mark.skipif(sys.platform != 'linux', reason='prctl is Linux')
def test_a_killed_parent_takes_its_children_along(tmp_path: Path):
    code = f"""
        import os, pathlib, sys
        from nurec_ros.demo.resources import Children
        child = Children(pathlib.Path(sys.argv[1]), os.environ).start('server', {SLEEPER!r})
        child.wait_for('^ready', 30)
        print(child.pid, flush=True)
        sys.stdin.read()
    """
    with parent(code, tmp_path) as process:
        pid = int(process.stdout.readline())
        assert not gone(pid)
        process.kill()
    until(lambda: gone(pid), 'the end of the child')


def test_a_domain_in_use_is_not_taken(monkeypatch):
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
