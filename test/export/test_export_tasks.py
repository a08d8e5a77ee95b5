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
"""What an export on a Ray cluster gives to whom, and what it says, without a cluster."""

from __future__ import annotations

from collections.abc import Callable
import importlib
import shutil
import socket
from test.export.test_export_cluster import entries_of
from types import SimpleNamespace
from typing import Any

from nurec_ros.errors import ConfigurationError
from nurec_ros.export.wishes import Progress, read_overrides, Wishes
import pytest

ray = pytest.importorskip('ray', reason="needs Ray: pip install 'nurec_ros[cluster]'")
on_cluster = importlib.import_module('nurec_ros.export.cluster')


class Here:
    """Ray, as far as it is used: the task that was given last is done when it is waited for."""

    def __init__(self) -> None:
        self.tasks: dict[object, Callable[[], object]] = {}

    def init(self, **_: object) -> None:
        """Take any address: it is here already."""

    def shutdown(self) -> None:
        """End nothing."""

    def put(self, value: object) -> object:
        return value

    def cluster_resources(self) -> dict[str, float]:
        return {'nurec': 2.0}

    def nodes(self) -> list[dict[str, bool]]:
        return [{'Alive': True}, {'Alive': False}]

    def remote(self, **_: object) -> Callable[[Callable[..., object]], object]:
        return lambda task: SimpleNamespace(remote=lambda *given: self._give(task, given))

    def _give(self, task: Callable[..., object], given: tuple[object, ...]) -> object:
        found = object()
        self.tasks[found] = lambda: task(*given)
        return found

    def wait(self, tasks: list[object], timeout: float) -> tuple[list[object], list[object]]:
        return tasks[-1:], tasks[:-1]

    def get(self, task: object) -> object:
        return self.tasks.pop(task)()


class Heard(Progress):
    """What was told."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, int]] = []
        self.lines: list[str] = []
        self.frames = 0

    def begin(self, name: str, frames: int) -> None:
        self.begun.append((name, frames))

    def frame(self, count: int = 1) -> None:
        self.frames += count

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def run_here(monkeypatch):
    """Return a function that exports with Ray's part played here, and some tasks with it."""

    def run(wishes: Wishes, known: Any = None, **tasks: Any) -> tuple[list[Any], Heard]:
        monkeypatch.setattr(on_cluster, 'ray', Here())
        for kind, task in tasks.items():
            monkeypatch.setattr(on_cluster, kind, task)
        heard = Heard()
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
    assert (heard.begun, heard.frames) == ([('2 scenarios', 12)], 12)
    assert heard.lines == [
        'Ray: 1 node, parts on 2 servers',
        'odd',
        'nurec_export: not exported: two.usdz: no room',
        'odd',
    ]


def test_a_process_that_ray_cannot_keep_alive_costs_its_scenario_alone(two, run_here):
    def begin(wishes, path, known):
        return on_cluster.Told(parts=((0, 1),))

    def render(wishes, path, number):
        if path.stem == 'two':
            raise ray.exceptions.RayError('the worker\n died')
        return on_cluster.Told(frames=1)

    def finish(wishes, path, known):
        return on_cluster.Told(entry={'bag': path.stem})

    (lost, kept), _ = run_here(two, begin=begin, render=render, finish=finish)
    assert lost['error'] == 'Ray gave up: the worker died'
    assert kept == {'bag': 'one'}


def test_what_a_task_refuses_ends_the_export_with_its_sentence(usdz, tmp_path, run_here):
    wishes = Wishes((usdz,), tmp_path / 'out', ('localhost:1',), cameras=('nope',))
    with pytest.raises(ConfigurationError, match=r"^parameter 'cameras' names 'nope'; expected "):
        run_here(wishes)


def test_a_folder_that_is_not_shared_is_one_sentence(two, run_here):
    shutil.rmtree(two.output)
    with pytest.raises(ConfigurationError, match='is not the same folder here and on the nodes'):
        run_here(two, begin=lambda *_: on_cluster.Told(parts=((0, 1),)))


def test_what_is_there_is_not_rendered_again(
    copied, make_server, usdz, tmp_path, short_parts, run_here
):
    """Neither of a scenario that is complete, nor a part that an earlier attempt has written."""
    small, _ = read_overrides(['image_format:=png', 'resolution_scale:=0.02'], (), 'nurec')
    nobody = Wishes((usdz,), copied, ('localhost:1',), small, resume=True)
    entries, heard = run_here(nobody, entries_of(copied))
    assert entries == [entries_of(copied)['drive']]
    assert (heard.begun, heard.frames) == ([], 0)
    server = make_server()
    wishes = Wishes((usdz,), tmp_path / 'new', (server.address,), small)
    (first, count), _ = on_cluster.begin(wishes, usdz, None).parts
    assert on_cluster.render(wishes, usdz, first).frames == count == len(server.requests())
    assert on_cluster.render(wishes, usdz, first) == on_cluster.Told()
    assert len(server.requests()) == count


@pytest.mark.parametrize('known', [True, False], ids=['now', 'before 2.52'])
def test_a_cluster_that_lets_nobody_in_is_one_sentence(monkeypatch, tmp_path, known):
    """As it does where a token is wrong; Ray has not always had an error for that."""
    if not known:
        monkeypatch.delattr('ray.exceptions.AuthenticationError', raising=False)

    def refuse(**_):
        raise ConnectionError('Failed to connect to Ray cluster')

    def asked(address: str) -> Wishes:
        return Wishes((tmp_path / 'a.usdz',), tmp_path / 'out', ('localhost:1',), ray=address)

    monkeypatch.setattr(ray, 'init', refuse)
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ConfigurationError) as caught:
            [*on_cluster.on_cluster(asked(f'127.0.0.1:{port}'), {}, Heard())]
    words = str(caught.value)
    with pytest.raises(ConfigurationError, match=r'^no Ray cluster is here: Failed to connect'):
        [*on_cluster.on_cluster(asked('auto'), {}, Heard())]
    assert words.startswith(f'the Ray cluster at 127.0.0.1:{port} does not let this command in: ')
    assert 'if it has a token, set RAY_AUTH_MODE=token' in words


def test_where_nobody_renders_a_task_says_so_and_raises_nothing(usdz, tmp_path):
    """Ray would print a traceback of its own for what a task raises."""
    wishes = Wishes((usdz,), tmp_path / 'out', ('localhost:1',), wait_s=0.0)
    told = on_cluster.begin(wishes, usdz, None)
    assert [number for number, _ in told.parts] == [0]
    assert on_cluster.render(wishes, usdz, 0).early.startswith('no server gives frames: ')
    assert 'is no file on ' in on_cluster.begin(wishes, tmp_path / 'lost.usdz', None).refused
