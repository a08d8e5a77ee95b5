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
"""
An export on a Ray cluster: scenarios and parts spread over its nodes, into a shared folder.

Ray schedules and retries; there is no scheduler here. A scenario is read by a first task, each of
its parts is written by one of its own, and a last one makes the bag complete. A part that is tried
again begins anew, as it would with --resume.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
import os
from pathlib import Path
import signal
import socket
from typing import Any

from nurec_ros.errors import ConfigurationError, counted, NurecError
from nurec_ros.export.part import Timeline
from nurec_ros.export.run import (
    ending_early,
    Entries,
    Entry,
    not_exported,
    ScenarioExport,
    StoppedEarlyError,
)
from nurec_ros.export.wishes import Progress, Wishes
import ray
from ray.exceptions import RayError, RayTaskError

# A node says by this resource how many parts its servers take at a time.
RESOURCE = 'nurec'
# How often Ray gives a task again whose process died, and this one a task that got no frames.
RETRIES = 3
CONNECT_S = 5.0
LOOK_S = 0.2
PLACES = 'files and --output have to lie where every node finds them by the same path'
TOKEN = (
    'set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to what `ray get-auth-token` prints on its head '
    '(docs/cluster.md)'
)
# What the commands set for themselves before they import anything, and where the package lies.
ENVIRONMENT = ('GRPC_VERBOSITY', 'OPENBLAS_NUM_THREADS', 'PYTHONPATH')


@dataclass(frozen=True, slots=True)
class Told:
    """What a task has to say: lines, frames that were rendered, and what it was given for."""

    lines: tuple[str, ...] = ()
    frames: int = 0
    # By number, how many frames each part that is to be written lacks.
    parts: tuple[tuple[int, int], ...] = ()
    entry: Entry | None = None
    # Why not: this scenario; this attempt, and another one may do; the whole export.
    error: str = ''
    early: str = ''
    refused: str = ''


class _Words(Progress):
    """What is told while a task runs, for its answer."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.frames = 0

    def frame(self, count: int = 1) -> None:
        self.frames += count

    def say(self, text: str) -> None:
        self.lines.append(text)

    def told(self, **more: Any) -> Told:
        """Return all of it."""
        return Told(tuple(self.lines), self.frames, **more)


# On the nodes.

_read: tuple[Wishes, Path, Timeline] | None = None


def _timeline(wishes: Wishes, path: Path) -> Timeline:
    """Return a scenario's timeline, read once for all parts that come to this process in a row."""
    global _read
    if _read is None or _read[:2] != (wishes, path):
        if not path.is_file():
            raise ConfigurationError(f'{path} is no file on {socket.gethostname()}: {PLACES}')
        _read = wishes, path, ScenarioExport(wishes, path).timeline()
    return _read[2]


def _told(wishes: Wishes, words: _Words, work: Callable[[], dict[str, Any]]) -> Told:
    """Return what came of some work; what it raises is a value, for Ray prints tracebacks."""
    try:
        with ending_early(wishes.output):
            return words.told(**work())
    except ConfigurationError as error:
        return words.told(refused=str(error))
    except StoppedEarlyError as error:
        return words.told(early=str(error))
    except NurecError as error:
        return words.told(error=str(error))


def begin(wishes: Wishes, path: Path, known: Entry | None) -> Told:
    """Return the parts of a scenario that are to be written."""
    one, words = ScenarioExport(wishes, path), _Words()

    def work() -> dict[str, Any]:
        timeline = _timeline(wishes, path)
        parts = one.begin(timeline, known)
        if parts:
            one.say_warnings(timeline, words)
        lacking = [one.frames_to_render(timeline, part) or () for part in parts]
        counts = zip((part.number for part in parts), map(len, lacking), strict=True)
        return {'parts': tuple(counts)}

    return _told(wishes, words, work)


def render(wishes: Wishes, path: Path, number: int) -> Told:
    """Write one part, unless an earlier attempt has."""
    one, words = ScenarioExport(wishes, path), _Words()

    def work() -> dict[str, Any]:
        timeline = _timeline(wishes, path)
        part = timeline.parts[number]
        if one.frames_to_render(timeline, part) is not None:
            one.render(timeline, [part], words)
        return {}

    return _told(wishes, words, work)


def finish(wishes: Wishes, path: Path, known: Entry | None) -> Told:
    """Make a bag complete."""
    one, words = ScenarioExport(wishes, path), _Words()
    return _told(
        wishes, words, lambda: {'entry': one.finish(_timeline(wishes, path), known, words)}
    )


# Where the command runs.


@dataclass(slots=True)
class _Scenario:
    """A scenario that is under way; `left` of its parts are still to be written."""

    path: Path
    known: Entry | None
    export: ScenarioExport
    left: int = 0
    error: str = ''
    said: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Task:
    """A task that is under way; `attempt` counts those that ended early before it."""

    one: _Scenario
    kind: str
    arguments: tuple[object, ...]
    attempt: int = 0


def on_cluster(wishes: Wishes, known: Mapping[str, Entry], progress: Progress) -> Entries:
    """
    Yield the scenarios' entries as they come.

    ConfigurationError where there is no cluster, or no folder that it shares.
    """
    # Nodes have working directories of their own.
    wishes = wishes.absolute()
    _connect(wishes.ray)
    try:
        yield from _ClusterRun(wishes, known, progress).entries()
    finally:
        # Ends the tasks that are under way.
        ray.shutdown()


def _connect(address: str) -> None:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    given = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    where, answers = 'here' if address == 'auto' else f'at {address}', False
    try:
        host, _, port = address.rpartition(':')
        if port.isdecimal():
            # Ray itself would try for half a minute.
            socket.create_connection((host.strip('[]'), int(port)), CONNECT_S).close()
            answers = True
        ray.init(
            address=address,
            logging_level='ERROR',
            log_to_driver=False,
            runtime_env={'env_vars': given},
        )
    except getattr(ray.exceptions, 'AuthenticationError', ()) as error:
        # Ray has it since 2.52.
        raise ConfigurationError(
            f'no token for the Ray cluster {where}: {getattr(error, "message", error)}; {TOKEN}'
        ) from error
    except (OSError, OverflowError, ValueError, RuntimeError, RayError) as error:
        reason = ' '.join(str(error).split())
        if answers:
            raise ConfigurationError(
                f'the Ray cluster {where} does not let this command in: {reason}; if it has a '
                f'token, {TOKEN}'
            ) from error
        raise ConfigurationError(
            f'no Ray cluster is {where}: {reason}; `ray start --head` begins one'
        ) from error
    finally:
        # Ray sets one of its own.
        for number, handler in handlers.items():
            signal.signal(number, handler)


class _ClusterRun:
    """The tasks that are under way, and which scenario each is for."""

    def __init__(self, wishes: Wishes, known: Mapping[str, Entry], progress: Progress) -> None:
        self._wishes = wishes
        self._progress = progress
        self._scenarios = [
            _Scenario(path, known.get(path.stem), ScenarioExport(wishes, path))
            for path in wishes.files
        ]
        self._tasks: dict[Any, _Task] = {}
        # Some memory of the driver's, for each node to find it by.
        self._shared = ray.put(wishes)
        again = {'max_retries': RETRIES}
        servers = ray.cluster_resources().get(RESOURCE, 0.0)
        of_server = {'resources': {RESOURCE: 1}, 'num_cpus': 0} if servers else {'num_cpus': 1}
        self._remote = {
            'begin': ray.remote(num_cpus=1, **again)(begin),
            'render': ray.remote(**of_server, **again)(render),
            'finish': ray.remote(num_cpus=1, **again)(finish),
        }
        places = counted(int(servers), 'server') if servers else 'its processors'
        nodes = sum(node['Alive'] for node in ray.nodes())
        progress.say(f'Ray: {counted(nodes, "node")}, parts on {places}')

    def entries(self) -> Entries:
        """Yield each scenario's entry when it is done."""
        unread, frames, done = 0, 0, 0
        for one in self._scenarios:
            if one.path.is_file():
                unread += 1
                self._give(_Task(one, 'begin', (one.path, one.known)))
            else:
                one.error = f'{one.path} is no file here: {PLACES}'
                yield self._not_exported(one)
        try:
            while self._tasks:
                task, told = self._next()
                one = task.one
                for line in told.lines:
                    if line not in one.said:
                        one.said.add(line)
                        self._progress.say(line)
                if told.early and task.attempt < RETRIES:
                    self._give(replace(task, attempt=task.attempt + 1))
                    continue
                one.error = one.error or told.error or told.early
                if task.kind == 'begin':
                    unread -= 1
                    one.left = len(told.parts)
                    self._check_shared(one)
                    for number, count in told.parts:
                        frames += count
                        self._give(_Task(one, 'render', (one.path, number)))
                    if not unread and frames:
                        self._progress.begin(counted(len(self._scenarios), 'scenario'), frames)
                        self._progress.frame(done)
                elif task.kind == 'render':
                    one.left -= 1
                    done += told.frames
                    if not unread:
                        self._progress.frame(told.frames)
                elif told.entry is not None:
                    yield one.export, told.entry
                    continue
                if task.kind == 'finish' or (one.error and not one.left):
                    yield self._not_exported(one)
                elif not one.left:
                    self._give(_Task(one, 'finish', (one.path, one.known)))
        finally:
            self._progress.end()

    def _not_exported(self, one: _Scenario) -> tuple[ScenarioExport, Entry]:
        entry = one.export.unfinished(one.error)
        self._progress.say(not_exported(entry))
        return one.export, entry

    def _give(self, task: _Task) -> None:
        self._tasks[self._remote[task.kind].remote(self._shared, *task.arguments)] = task

    def _next(self) -> tuple[_Task, Told]:
        """Wait for a task; one whose process Ray could not keep alive is its scenario's error."""
        done: list[Any] = []
        while not done:
            # What a signal raises within is lost there, but for KeyboardInterrupt.
            done, _ = ray.wait([*self._tasks], timeout=LOOK_S)
        task = self._tasks.pop(done[0])
        try:
            told: Told = ray.get(done[0])
        except RayTaskError:
            raise
        except RayError as error:
            told = Told(error=f'Ray gave up: {" ".join(str(error).split())}')
        if told.refused:
            raise ConfigurationError(told.refused)
        return task, told

    def _check_shared(self, one: _Scenario) -> None:
        if one.left and not one.export.work.is_dir():
            raise ConfigurationError(
                f'{self._wishes.output} is not the same folder here and on the nodes: {PLACES}'
            )
