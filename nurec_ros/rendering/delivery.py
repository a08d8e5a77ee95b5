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
"""The pool that hands frames out: in order within a camera, never under the pipeline's lock."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
import threading
import time

from nurec_ros.rendering.frames import Failure, Frame
from nurec_ros.rendering.lanes import Job, Lane, Lanes, Ticket

Log = Callable[[str, str], None]

THREADS = 2


class Delivery:
    """
    Takes lanes whose head is finished and delivers from them; also says what is to be logged.

    `lock` is the one that guards `lanes`; `on_room` is called under it when a full lane has room
    again. The threads are daemons of our own: a ThreadPoolExecutor's are joined when the
    interpreter exits, however long a delivery takes.
    """

    def __init__(
        self,
        lanes: Lanes,
        lock: threading.Lock,
        deliver: Callable[[Frame | Failure], None],
        log: Log,
        on_room: Callable[[], None],
    ) -> None:
        self._lanes = lanes
        self._lock = lock
        self._deliver = deliver
        self._log = log
        self._on_room = on_room
        self._closed = False
        self._said: set[tuple[str, str]] = set()
        self._queue: SimpleQueue[Lane | Ticket | tuple[str, str] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f'nurec-deliver-{i}', daemon=True)
            for i in range(THREADS)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def hand_over(self, lane: Lane | None) -> None:
        """Deliver from a lane whose head is finished; under the lock."""
        if lane is not None:
            lane.delivering = True
            self._queue.put(lane)

    def complete(self, ticket: Ticket) -> None:
        """Complete the future of a ticket whose last job is done."""
        self._queue.put(ticket)

    def say(self, level: str, text: str) -> None:
        self._queue.put((level, text))

    def delivering(self) -> bool:
        """Say whether a frame is being delivered, or about to be."""
        with self._lock:
            return self._lanes.delivering

    def close(self, until: float) -> None:
        """Deliver nothing any more, and end the threads by the monotonic time `until`."""
        self._closed = True
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(max(until - time.monotonic(), 0.0))

    def _run(self) -> None:
        while True:
            item = self._queue.get()
            if item is None:
                return
            if isinstance(item, Lane):
                self._deliver_from(item)
            elif isinstance(item, Ticket):
                item.future.set_result(None)
            else:
                self._log(*item)

    def _deliver_from(self, lane: Lane) -> None:
        """Deliver what stands finished at a lane's head; no other thread does meanwhile."""
        job: Job | None = None
        while True:
            with self._lock:
                ticket = job.ticket if job is not None and job.ticket.close_one() else None
                job = self._lanes.take(lane)
                if job is None:
                    lane.delivering = False
                elif lane.sent == self._lanes.window - 1:
                    self._on_room()
            if ticket is not None:
                ticket.future.set_result(None)
            if job is None:
                return
            if job.result is not None and not self._closed:
                try:
                    self._deliver(job.result)
                except Exception as error:  # noqa: BLE001 (the user's code; the pool must go on)
                    self._complain(job.camera, error)

    def _complain(self, camera: str, error: Exception) -> None:
        """Log a fault of the user's code, the first of each kind and camera."""
        key = (camera, type(error).__name__)
        if key not in self._said:
            self._said.add(key)
            self._log('error', f'delivering {camera}: {key[1]}: {error}')
