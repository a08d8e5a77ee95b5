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
"""The workers that frames wait for, and what a Behaviour does to frames and to the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import random
import threading
import time

import grpc
from nurec_ros.preview.behaviour import Behaviour
from nurec_ros.preview.wire import CrashError, raised, RefusalError

# Longer queues than this mean that clients outrun the drawing for good.
MAX_QUEUED = 48


class Workers:
    """
    Where the behaviour's delays and failures happen; used by every handler thread.

    The start-up counts from construction. Waiting ends early when `stop` is called.
    """

    def __init__(self, behaviour: Behaviour, *, now: Callable[[], float] = time.monotonic) -> None:
        self._behaviour = behaviour
        self._now = now
        self._ready_at = now() + behaviour.startup_s
        self._stopping = threading.Event()
        self._open = threading.Event()
        self._open.set()
        self._slots = threading.Semaphore(behaviour.max_workers)
        self._compiling = threading.Lock()
        self._lock = threading.Lock()  # guards all below
        self._random = random.Random(behaviour.seed)
        self._queued = 0
        self._frames = 0
        self._warm: set[str] = set()

    @property
    def serving(self) -> bool:
        """Return whether the start-up is over."""
        return self._now() >= self._ready_at

    @property
    def ready_in_s(self) -> float:
        """Return the seconds until the start-up is over; 0 when it is."""
        return max(self._ready_at - self._now(), 0.0)

    @property
    def blocked(self) -> bool:
        """Return whether the first frame of a scene holds every call."""
        return not self._open.is_set()

    @property
    def frames(self) -> int:
        """Return how many frames were begun."""
        return self._frames

    def stop(self) -> None:
        """End every wait, now and later."""
        self._stopping.set()
        self._open.set()

    def enter(self) -> None:
        """Wait as every call does while the first frame of a scene holds the whole server."""
        self._open.wait()

    def wait(self, seconds: float) -> None:
        """Let time pass, unless the server stops."""
        if seconds > 0.0:
            self._stopping.wait(seconds)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold one of the places for drawing; refuses when too many wait already."""
        with self._lock:
            if self._queued >= MAX_QUEUED:
                raise RefusalError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f'{MAX_QUEUED} requests wait for {self._behaviour.max_workers} worker(s)',
                )
            self._queued += 1
        try:
            self._slots.acquire()
        finally:
            with self._lock:
                self._queued -= 1
        try:
            yield
        finally:
            self._slots.release()

    def begin_frame(self, scene_id: str, pixels: int) -> None:
        """
        Count a frame, let its delays pass and raise its failure, all within its turn.

        Raises CrashError where the server's end is due, else RefusalError.
        """
        behaviour = self._behaviour
        with self._lock:
            self._frames += 1
            cold = behaviour.first_frame_s > 0.0 and scene_id not in self._warm
            self._warm.add(scene_id)
            fails = self._random.random() < behaviour.failure_rate
            extra = self._random.random() * behaviour.jitter_s
            dead = 0 < behaviour.crash_after < self._frames
        if dead:
            raise CrashError
        if cold:
            with self._compiling:
                self._open.clear()
                self.wait(behaviour.first_frame_s)
                self._open.set()
        self.wait(behaviour.latency_s + extra)
        if self._stopping.is_set():
            raise RefusalError(grpc.StatusCode.UNAVAILABLE, 'the server is stopping')
        if 0 < behaviour.oom_pixels < pixels:
            raise RefusalError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f'CUDA out of memory. Tried to allocate {pixels * 256 / 2**20:.2f} MiB. '
                'GPU 0 has a total capacity of 23.55 GiB of which 97.06 MiB is free.',
            )
        if fails:
            raise raised('NRenderer.render failed')
