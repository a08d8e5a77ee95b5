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
Frames from several servers, rendered ahead of who takes them, in order.

Each server has a pipeline of its own and always the same number of frames on its way, so that a
fast one renders more than a slow one. A server that is away keeps nothing: its frames go to the
others, and it is asked again now and then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
import threading
import time

from nurec_ros.errors import RenderError
from nurec_ros.playback.clock import Due
from nurec_ros.rendering.frames import Cloud, Failure, Frame
from nurec_ros.rendering.pipeline import RenderPipeline
from nurec_ros.rendering.policy import RenderOptions
from nurec_ros.rendering.server_errors import CONDEMN, problem_of, RECONNECT, remedy_of
from nurec_ros.scenario import Scenario
from nurec_ros.scenario.cameras import CameraModel

# Before a server that could not be reached is tried again.
REST_S = 0.5
LOOK_S = 0.2
# How many frames wait beside those on their way, for each of these.
AHEAD = 4

Log = Callable[[str, str], None]


class NoServerError(RenderError):
    """No server has given a frame, or a reason why not, for as long as was to be waited."""


@dataclass(slots=True, eq=False)
class _Server:
    address: str
    pipeline: RenderPipeline
    flying: int = 0
    rests_until: float = 0.0
    trouble: RenderError | None = None


class Farm:
    """
    Renders the frames of one scenario on some servers; `take` them in the order of `frames`.

    in_flight: frames on their way per server. wait_s: how long to wait where no server can be
    reached. At most AHEAD times as many as fly are kept before they are taken.
    """

    def __init__(
        self,
        scenario: Scenario,
        options: RenderOptions,
        servers: Sequence[str],
        frames: Iterable[Due],
        *,
        in_flight: int,
        wait_s: float,
        log: Log,
    ) -> None:
        self._waiting = deque(frames)
        self._ready: dict[Due, Frame | Cloud | Failure] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._in_flight = in_flight
        self._most = AHEAD * in_flight * len(servers)
        self._flying = 0
        self._wait_s = wait_s
        self._heard = time.monotonic()
        self._servers: list[_Server] = []
        for number, address in enumerate(servers):
            pipeline = RenderPipeline(
                scenario,
                replace(options, server=address),
                partial(self._came, number),
                log=log,
                in_flight=in_flight,
            )
            self._servers.append(_Server(address, pipeline))

    def model_of(self, camera: str) -> CameraModel:
        """Return the model behind a camera's pictures, at native size."""
        return self._servers[0].pipeline.output_model(camera)

    def start(self) -> None:
        """Connect, and begin to render."""
        for server in self._servers:
            server.pipeline.start()
        self._heard = time.monotonic()
        self._send()

    def take(self, frame: Due) -> Frame | Cloud | Failure:
        """
        Return a frame or the cloud of a spin, or why it could not be rendered.

        NoServerError where all servers stay away.
        """
        with self._changed:
            while frame not in self._ready:
                self._changed.wait(LOOK_S)
                if frame in self._ready:
                    break
                self._check()
                self._changed.release()
                try:
                    # Servers that have rested are tried again.
                    self._send()
                finally:
                    self._changed.acquire()
            found = self._ready.pop(frame)
        self._send()
        return found

    def _check(self) -> None:
        """Raise where no server has been there for too long; under the lock."""
        if any(server.flying and server.trouble is None for server in self._servers) and any(
            server.pipeline.status().connected for server in self._servers
        ):
            # A picture may take minutes: the pipeline knows when that is too long.
            self._heard = time.monotonic()
        if time.monotonic() - self._heard < self._wait_s:
            return
        reasons = [_reason(server) for server in self._servers]
        raise NoServerError('; '.join(dict.fromkeys(reasons)))

    def _send(self) -> None:
        """Give every server what it has room for."""
        while True:
            with self._changed:
                server = self._free()
                if server is None:
                    return
                frame = self._waiting.popleft()
                server.flying += 1
                self._flying += 1
            server.pipeline.submit([frame], keep=True, fail_if_down=True)

    def _free(self) -> _Server | None:
        if self._closed or not self._waiting:
            return None
        # A frame that came back from a server is always sent: who takes waits for the oldest.
        if self._flying + len(self._ready) >= self._most:
            return None
        now = time.monotonic()
        free = [
            server
            for server in self._servers
            if server.flying < self._in_flight and server.rests_until <= now
        ]
        return min(free, key=lambda server: server.flying, default=None)

    def _came(self, number: int, item: Frame | Cloud | Failure) -> None:
        """Take what a server gave; in a thread of its pipeline's."""
        server = self._servers[number]
        frame = Due(item.lidar if isinstance(item, Cloud) else item.camera, item.t_ns)
        away = isinstance(item, Failure) and (
            getattr(item.error, 'action', '') in (RECONNECT, CONDEMN)
            or not server.pipeline.status().connected
        )
        with self._changed:
            server.flying -= 1
            self._flying -= 1
            if away and isinstance(item, Failure):
                server.rests_until = time.monotonic() + REST_S
                server.trouble = item.error
                self._waiting.appendleft(frame)
                # Several may come back, in any order.
                self._waiting = deque(sorted(self._waiting, key=lambda one: (one.t_ns, one.name)))
            else:
                server.trouble = None
                self._heard = time.monotonic()
                self._ready[frame] = item
            self._changed.notify_all()
        self._send()

    def close(self) -> None:
        """Give up what is on its way and leave the servers."""
        with self._changed:
            self._closed = True
        for server in self._servers:
            server.pipeline.close()


def _reason(server: _Server) -> str:
    status = server.pipeline.status()
    problem = status.last_error or problem_of(server.trouble) or f'{server.address} is silent'
    remedy = status.remedy or remedy_of(server.trouble)
    return f'{problem}: {remedy}' if remedy else problem
