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
"""Exports on a cluster: a real one of Ray's on this machine, and what its tasks are told here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
import importlib
import os
from pathlib import Path
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from test.export.conftest import (
    entries_of,
    everything,
    failing,
    frame_times,
    picture,
    run_command,
)
from test.support.archives import build_archive
from test.support.waiting import PATIENCE_S
import threading
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

from nurec_ros.errors import ConfigurationError
from nurec_ros.export.wishes import Progress, read_overrides, Wishes
import pytest

ray = pytest.importorskip('ray', reason="needs Ray: pip install 'nurec_ros[cluster]'")
on_cluster = importlib.import_module('nurec_ros.export.cluster')
# A cluster for as long as stdin is open; its workers are children of its raylet. What Ray starts
# for its dashboard, its autoscaler and its logs would take as long as all else.
CLUSTER = """
import sys
import ray
from ray._private.node import Node
Node.start_monitor = Node.start_log_monitor = Node.start_api_server = lambda *_, **__: None
Node._webui_url = None
for attempt in range(10):
    try:
        found = ray.init(
            num_cpus=1, include_dashboard=False, object_store_memory=80_000_000,
            log_to_driver=False, logging_level='ERROR', _temp_dir=sys.argv[1],
            _node_ip_address='127.0.0.1',
        )
        break
    except Exception as error:
        # It waits for half a minute at most, which a busy machine may need.
        if 'timed out during startup' not in str(error) or attempt == 9:
            raise
        ray.shutdown()
print(found.address_info['gcs_address'], flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope='module')
def folder():
    """Return the folder of a cluster."""
    # Its sockets' paths must be short.
    path = tempfile.mkdtemp(prefix='ray')
    yield Path(path)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope='module')
def cluster(folder):
    """Return the address of a cluster of this machine's, with one worker at a time."""
    process = subprocess.Popen(
        [sys.executable, '-c', CLUSTER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            'RAY_USAGE_STATS_ENABLED': '0',
            # One on this machine's loopback for a moment needs no token.
            'RAY_AUTH_MODE': 'disabled',
            # A node that has to wait for its turn is no dead one: Ray would end it, and with it
            # the process of the tests.
            'RAY_health_check_failure_threshold': '1000',
            # Workers for no job, which none of these gets.
            'RAY_prestart_worker_first_driver': '0',
        },
    )
    address = process.stdout.readline().strip()
    assert address
    yield address
    process.stdin.close()
    process.wait(PATIENCE_S)


def logs(folder: Path) -> dict[Path, bytes]:
    """Return what Ray has written down."""
    return {path: path.read_bytes() for path in folder.glob('session_2*/logs/*') if path.is_file()}


def when(reached: threading.Event, act: Callable[[], object]) -> threading.Thread:
    """Return a thread that does something once a moment is reached."""

    def wait() -> None:
        assert reached.wait(PATIENCE_S)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_whatever_happens_it_goes_on_to_the_result_of_one_process(
    make_server, cluster, folder, usdz, tmp_path, capsys, monkeypatch
):
    """
    Ctrl-C; then a worker is killed, frames fail, parts get no server, and files are none.

    Ray tries the killed one again, the command what got no server, --resume what failed. In Ray's
    own logs, too, there is no traceback for a user's mistake.
    """
    out, files = tmp_path / 'out', [usdz, build_archive(tmp_path, 'other.usdz', duration_s=1.0)]
    # As on the nodes, where nothing is patched.
    monkeypatch.setattr('nurec_ros.export.part.PART_NS', 10 * 10**9)
    reached, over = threading.Event(), threading.Event()

    def held(request, context):
        if len(server.requests()) > 10:
            reached.set()
            over.wait(PATIENCE_S)
        return picture(request)

    server = make_server(held)
    thread = when(reached, lambda: os.kill(os.getpid(), signal.SIGINT))
    assert run_command(out, [server], files, ['--ray', cluster]) == 130
    over.set()
    thread.join()
    printed = capsys.readouterr().err
    assert printed.endswith(
        f'nurec_export: what is finished stays in {out}, --resume goes on\n'
        'nurec_export: interrupted\n'
    )
    assert 'Traceback' not in printed

    bad, lost, alone = (tmp_path / f'{name}.usdz' for name in ('bad', 'lost', 'alone'))
    bad.write_bytes(b'no zip')
    shutil.copy(usdz, alone)
    failed = {
        (camera, t // 1000)
        for camera, times in frame_times(usdz).items()
        for t in times
        if t % 7000 == 0
    }
    assert failed
    fails, real, written = failing(failed), on_cluster.render, logs(folder)
    reached, killed = threading.Event(), threading.Event()

    def render_part(wishes, path, number):
        """Find no server, twice or always; on the nodes."""
        tried = tmp_path / f'{path.stem} was tried'
        with tried.open('a') as file:
            file.write('.')
        if path.stem == 'alone' or (path.stem == 'other' and tried.stat().st_size < 3):
            return on_cluster.Told(early='no server gives frames: away')
        with (tmp_path / 'rendering').open('a') as file:
            file.write(f'{os.getpid()}\n')
        return real(wishes, path, number)

    def render(request, context):
        if len(server.requests()) > 10:
            reached.set()
            # So that there is one to be killed.
            assert killed.wait(PATIENCE_S)
        return fails(request, context)

    def kill():
        os.kill(int((tmp_path / 'rendering').read_text().split()[0]), signal.SIGKILL)
        killed.set()

    monkeypatch.setattr(on_cluster, 'render', render_part)
    server = make_server(render)
    thread = when(reached, kill)
    options = ['--ray', cluster, '--resume']
    assert run_command(out, [server], [lost, bad, alone, *files], options) == 3
    thread.join()
    assert len((tmp_path / 'rendering').read_text().split()) == 3
    assert (tmp_path / 'alone was tried').stat().st_size == 1 + on_cluster.RETRIES
    entries = entries_of(out)
    told, printed = capsys.readouterr()
    for path, reason in ((bad, 'is no'), (lost, 'is no file here'), (alone, 'no server gives')):
        entry = entries[path.stem]
        assert (entry['complete'], entry['parts']) == (False, [])
        assert reason in entry['error']
        assert (told + printed).count(entry['error']) == 1
        assert f'{path.name}: not exported\n' in told
    for name in ('drive', 'other'):
        assert entries[name]['complete'] is True
        missing = {(lack['sensor'], lack['stamp_ns'] // 1000) for lack in entries[name]['missing']}
        assert missing == failed
    after = logs(folder)
    assert after
    for path, data in after.items():
        assert b'Traceback' not in data.removeprefix(written.get(path, b'')), path

    # Any process goes on.
    server = make_server()
    assert run_command(out, [server], files, ['--resume']) == 0
    assert len(server.requests()) == 2 * len(failed)
    assert run_command(tmp_path / 'one', [make_server()], files) == 0
    for name, entry in entries_of(tmp_path / 'one').items():
        assert entries_of(out)[name] == entry
        assert everything(out / name) == everything(tmp_path / 'one' / name)


def test_a_token_that_is_lacking_is_one_sentence(cluster, usdz, tmp_path):
    """Ray reads mode and token when it is imported."""
    away = ('RAY_AUTH_TOKEN', 'RAY_AUTH_TOKEN_PATH')
    kept = {name: value for name, value in os.environ.items() if name not in away}
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'nurec_ros.cli.export', usdz, '--ray', cluster),
            *('--output', tmp_path / 'out'),
        ],
        env={**kept, 'HOME': str(tmp_path), 'RAY_AUTH_MODE': 'token'},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, '')
    (line,) = done.stderr.splitlines()
    assert line.startswith(f'nurec_export: no token for the Ray cluster at {cluster}: ')
    assert 'set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to what `ray get-auth-token` prints' in line
    assert not (tmp_path / 'out').exists()


# --- with Ray's part played here -----------------------------------------------------------------


def here() -> SimpleNamespace:
    """Return Ray, as far as it is used: the task given last is done when it is waited for."""
    left: dict[object, Callable[[], object]] = {}

    def give(task: Callable[..., object], *given: object) -> object:
        found = object()
        left[found] = partial(task, *given)
        return found

    return SimpleNamespace(
        init=Mock(),
        shutdown=Mock(),
        put=lambda value: value,
        cluster_resources=lambda: {'nurec': 2.0},
        nodes=lambda: [{'Alive': True}, {'Alive': False}],
        remote=lambda **_: lambda task: SimpleNamespace(remote=partial(give, task)),
        wait=lambda tasks, timeout: (tasks[-1:], tasks[:-1]),
        get=lambda task: left.pop(task)(),
    )


@pytest.fixture
def run_here(monkeypatch):
    """Return a function that exports with Ray's part played here, and some tasks with it."""

    def run(wishes: Wishes, known: Any = None, **tasks: Any) -> tuple[list[Any], Mock]:
        monkeypatch.setattr(on_cluster, 'ray', here())
        for kind, task in tasks.items():
            monkeypatch.setattr(on_cluster, kind, task)
        heard = Mock(spec=Progress)
        entries = on_cluster.on_cluster(wishes, known or {}, heard)
        return [entry for _, entry in entries], heard

    return run


@pytest.fixture
def two(tmp_path) -> Wishes:
    """Return what asks for two files, whose parts were begun."""
    files = tuple(tmp_path / f'{name}.usdz' for name in ('one', 'two'))
    for path in files:
        path.touch()
        (tmp_path / 'out' / '.export' / path.stem).mkdir(parents=True)
    return Wishes(files, tmp_path / 'out', ('localhost:1',))


def test_all_frames_are_known_before_any_is_counted(two, run_here):
    """The second file is rendered, and fails, before the first is read."""
    told, done = on_cluster.Told, []

    def begin(wishes, path, known):
        return told(lines=('odd',), parts=((0, 2), (1, 3)) if path.stem == 'one' else ((0, 7),))

    def render(wishes, path, number):
        done.append((path.stem, number))
        return told(lines=('odd',), frames={('two', 0): 7}.get(done[-1], 2 + number))

    def finish(wishes, path, known):
        if path.stem == 'two':
            return told(error='no room')
        return told(entry={'bag': path.stem})

    entries, heard = run_here(two, begin=begin, render=render, finish=finish)
    assert done == [('two', 0), ('one', 1), ('one', 0)]
    assert [entry.get('error') for entry in entries] == ['no room', None]
    heard.begin.assert_called_once_with('2 scenarios', 12)
    assert sum(one.args[0] for one in heard.frame.mock_calls) == 12
    assert [one.args[0] for one in heard.say.mock_calls] == [
        'Ray: 1 node, parts on 2 servers',
        'odd',
        'nurec_export: not exported: two.usdz: no room',
        'odd',
    ]


def test_a_process_that_ray_cannot_keep_alive_costs_its_scenario_alone(two, run_here):
    def render(wishes, path, number):
        if path.stem == 'two':
            raise ray.exceptions.RayError('the worker\n died')
        return on_cluster.Told(frames=1)

    begin = Mock(return_value=on_cluster.Told(parts=((0, 1),)))
    finish = Mock(return_value=on_cluster.Told(entry={'bag': 'one'}))
    (lost, kept), _ = run_here(two, begin=begin, render=render, finish=finish)
    assert lost['error'] == 'Ray gave up: the worker died'
    assert kept == {'bag': 'one'}


def test_what_ends_the_whole_export_is_one_sentence(usdz, two, tmp_path, run_here):
    wishes = Wishes((usdz,), tmp_path / 'out', ('localhost:1',), cameras=('nope',))
    with pytest.raises(ConfigurationError, match=r"^parameter 'cameras' names 'nope'; expected "):
        run_here(wishes)
    shutil.rmtree(two.output)
    with pytest.raises(ConfigurationError, match='is not the same folder here and on the nodes'):
        run_here(two, begin=lambda *_: on_cluster.Told(parts=((0, 1),)))


def test_what_is_there_is_not_rendered_again(copied, make_server, usdz, tmp_path, run_here):
    """Neither of a scenario that is complete, nor a part that an earlier attempt has written."""
    small, _ = read_overrides(['image_format:=png', 'resolution_scale:=0.02'], (), 'nurec')
    nobody = Wishes((usdz,), copied, ('localhost:1',), small, resume=True)
    entries, heard = run_here(nobody, entries_of(copied))
    assert entries == [entries_of(copied)['drive']]
    assert not heard.begin.called
    assert not heard.frame.called
    server = make_server()
    wishes = Wishes((usdz,), tmp_path / 'new', (server.address,), small)
    (first, count), *_ = on_cluster.begin(wishes, usdz, None).parts
    assert on_cluster.render(wishes, usdz, first).frames == count == len(server.requests())
    assert on_cluster.render(wishes, usdz, first) == on_cluster.Told()
    assert len(server.requests()) == count


@pytest.mark.parametrize('known', [True, False], ids=['now', 'before 2.52'])
def test_a_cluster_that_is_away_or_lets_nobody_in_is_one_sentence(monkeypatch, tmp_path, known):
    """As it does where a token is wrong; Ray has not always had an error for that."""
    if not known:
        monkeypatch.delattr('ray.exceptions.AuthenticationError', raising=False)

    def refuse(**_):
        raise ConnectionError('Failed to connect to Ray cluster')

    def why_not(address: str) -> str:
        wishes = Wishes((tmp_path / 'a',), tmp_path / 'out', ('localhost:1',), ray=address)
        with pytest.raises(ConfigurationError) as caught:
            [*on_cluster.on_cluster(wishes, {}, Mock(spec=Progress))]
        return str(caught.value)

    monkeypatch.setattr(ray, 'init', refuse)
    with socket.create_server(('127.0.0.1', 0)) as server:
        address = f'127.0.0.1:{server.getsockname()[1]}'
        words = why_not(address)
    assert words.startswith(f'the Ray cluster at {address} does not let this command in: ')
    assert 'if it has a token, set RAY_AUTH_MODE=token' in words
    assert why_not('auto').startswith('no Ray cluster is here: Failed to connect')
    words = why_not('127.0.0.1:1')
    assert words.startswith('no Ray cluster is at 127.0.0.1:1: ')
    assert '`ray start --head` begins one' in words


def test_where_nobody_renders_a_task_says_so_and_raises_nothing(usdz, tmp_path):
    """Ray would print a traceback of its own for what a task raises."""
    wishes = Wishes((usdz,), tmp_path / 'out', ('localhost:1',), wait_s=0.0)
    told = on_cluster.begin(wishes, usdz, None)
    assert [number for number, _ in told.parts] == [0, 1, 2]
    assert on_cluster.render(wishes, usdz, 0).early.startswith('no server gives frames: ')
    assert 'is no file on ' in on_cluster.begin(wishes, tmp_path / 'lost.usdz', None).refused
