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

from collections.abc import Mapping
from dataclasses import dataclass
import os
from pathlib import Path
import signal
import socket
from typing import Any

from nurec_ros.errors import ConfigurationError, NurecError
from nurec_ros.export.part import Timeline
from nurec_ros.export.run import Entries
from nurec_ros.export.scenario_export import (
    ending_early,
    Entry,
    Progress,
    ScenarioExport,
    StoppedEarlyError,
)
from nurec_ros.export.wishes import Wishes
import ray
from ray.exceptions import RayError, RayTaskError

# A node says by this resource how many parts its servers take at a time.
RESOURCE = 'nurec'
# How often Ray tries a task again whose process died, or that got no frames.
RETRIES = 3
CONNECT_S = 5.0
LOOK_S = 0.2
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
    error: str = ''


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
            raise ConfigurationError(
                f'{path} is no file on {socket.gethostname()}: files and --output have to lie '
                'where every node finds them by the same path'
            )
        _read = wishes, path, ScenarioExport(wishes, path).timeline()
    return _read[2]


def begin(wishes: Wishes, path: Path, known: Entry | None) -> Told:
    """Return the parts of a scenario that are to be written."""
    one, words = ScenarioExport(wishes, path), _Words()
    try:
        with ending_early(wishes.output):
            timeline = _timeline(wishes, path)
            parts = one.begin(timeline, known)
            lacking = [one.frames_to_render(timeline, part) or () for part in parts]
    except (ConfigurationError, StoppedEarlyError):
        raise
    except NurecError as error:
        return words.told(error=str(error))
    for warning in timeline.found.warnings:
        words.say(f'{path.name}: {warning}')
    counts = zip((part.number for part in parts), map(len, lacking), strict=True)
    return words.told(parts=tuple(counts))


def render(wishes: Wishes, path: Path, number: int) -> Told:
    """Write one part, unless an earlier attempt has."""
    one, words = ScenarioExport(wishes, path), _Words()
    try:
        with ending_early(wishes.output):
            timeline = _timeline(wishes, path)
            part = timeline.parts[number]
            if one.frames_to_render(timeline, part) is not None:
                one.render(timeline, [part], words)
    except (ConfigurationError, StoppedEarlyError):
        raise
    except NurecError as error:
        return words.told(error=str(error))
    return words.told()


def finish(wishes: Wishes, path: Path, known: Entry | None) -> Told:
    """Make a bag complete."""
    one, words = ScenarioExport(wishes, path), _Words()
    try:
        with ending_early(wishes.output):
            entry = one.finish(_timeline(wishes, path), known, words)
    except (ConfigurationError, StoppedEarlyError):
        raise
    except NurecError as error:
        return words.told(error=str(error))
    return words.told(entry=entry)


# Where the command runs.


@dataclass(slots=True)
class _Scenario:
    """A scenario that is under way; `left` of its parts are still to be written."""

    path: Path
    known: Entry | None
    export: ScenarioExport
    left: int = 0
    error: str = ''


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
    try:
        host, _, port = address.rpartition(':')
        if port.isdecimal():
            # Ray itself would try for half a minute.
            socket.create_connection((host.strip('[]'), int(port)), CONNECT_S).close()
        ray.init(
            address=address,
            logging_level='ERROR',
            log_to_driver=False,
            runtime_env={'env_vars': given},
        )
    except (OSError, OverflowError, ValueError, RuntimeError, RayError) as error:
        what = 'runs here' if address == 'auto' else f'is at {address}'
        raise ConfigurationError(
            f'no Ray cluster {what}: {" ".join(str(error).split())}; `ray start --head` begins one'
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
        self._tasks: dict[Any, tuple[_Scenario, str]] = {}
        # Some memory of the driver's, for each node to find it by.
        self._shared = ray.put(wishes)
        again = {'max_retries': RETRIES, 'retry_exceptions': [StoppedEarlyError]}
        servers = ray.cluster_resources().get(RESOURCE, 0.0)
        of_server = {'resources': {RESOURCE: 1}, 'num_cpus': 0} if servers else {'num_cpus': 1}
        self._remote = {
            'begin': ray.remote(num_cpus=1, **again)(begin),
            'render': ray.remote(**of_server, **again)(render),
            'finish': ray.remote(num_cpus=1, **again)(finish),
        }
        places = f'{servers:g} servers' if servers else 'its processors'
        nodes = sum(node['Alive'] for node in ray.nodes())
        progress.say(f'Ray: {nodes} nodes, parts on {places}')

    def entries(self) -> Entries:
        """Yield each scenario's entry when it is done."""
        unread, frames, done = len(self._scenarios), 0, 0
        for one in self._scenarios:
            self._give(one, 'begin', one.path, one.known)
        try:
            while self._tasks:
                one, kind, told = self._next()
                for line in told.lines:
                    self._progress.say(line)
                one.error = one.error or told.error
                if kind == 'begin':
                    unread -= 1
                    one.left = len(told.parts)
                    self._check_shared(one)
                    for number, count in told.parts:
                        frames += count
                        self._give(one, 'render', one.path, number)
                    if not unread and frames:
                        self._progress.begin(f'{len(self._scenarios)} scenarios', frames)
                        self._progress.frame(done)
                elif kind == 'render':
                    one.left -= 1
                    done += told.frames
                    if not unread:
                        self._progress.frame(told.frames)
                elif told.entry is not None:
                    yield one.export, told.entry
                    continue
                if kind == 'finish' or (one.error and not one.left):
                    self._progress.say(f'{one.path.name}: {one.error}')
                    yield one.export, one.export.unfinished(one.error)
                elif not one.left:
                    self._give(one, 'finish', one.path, one.known)
        finally:
            self._progress.end()

    def _give(self, one: _Scenario, kind: str, *arguments: object) -> None:
        task = self._remote[kind].remote(self._shared, *arguments)
        self._tasks[task] = one, kind

    def _next(self) -> tuple[_Scenario, str, Told]:
        """Wait for a task; one that failed for good is told as its scenario's error."""
        done: list[Any] = []
        while not done:
            # What a signal raises within is lost there, but for KeyboardInterrupt.
            done, _ = ray.wait([*self._tasks], timeout=LOOK_S)
        task = done[0]
        one, kind = self._tasks.pop(task)
        try:
            told: Told = ray.get(task)
        except RayTaskError as error:
            if isinstance(error.cause, ConfigurationError):
                raise error.cause from None
            if not isinstance(error.cause, StoppedEarlyError):
                raise
            told = Told(error=str(error.cause))
        except RayError as error:
            told = Told(error=f'Ray gave up: {" ".join(str(error).split())}')
        return one, kind, told

    def _check_shared(self, one: _Scenario) -> None:
        if one.left and not one.export.work.is_dir():
            raise ConfigurationError(
                f'{self._wishes.output} is not the same folder here and on the nodes: files and '
                '--output have to lie where every node finds them by the same path'
            )
