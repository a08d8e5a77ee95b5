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
"""The threads that hand out what is finished, and log what there is to say, holding no lock."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
import threading

from nurec_ros.rendering.connection import Log
from nurec_ros.rendering.frames import Cloud, Failure, Frame
from nurec_ros.rendering.queues import FrameQueue, Job, Ticket

Deliver = Callable[[Frame | Cloud | Failure], None]
# From a queue and the job delivered last to the queue's next, and whether that was the last job
# of its ticket.
TakeNext = Callable[[FrameQueue, Job | None], tuple[Job | None, bool]]

THREADS = 2


class Delivery:
    """Delivers from queues with a finished head, each queue by one thread at a time."""

    def __init__(self, take_next: TakeNext, deliver: Deliver, log: Log) -> None:
        self._take_next = take_next
        self._deliver = deliver
        self._log = log
        self._said: set[str] = set()
        self._saying = threading.Lock()
        # What is next: a queue with a finished head, a submission that is complete, something to
        # log, or to end.
        self._items: SimpleQueue[FrameQueue | Ticket | tuple[str, str] | None] = SimpleQueue()
        # Threads that a ThreadPoolExecutor made would be joined when the interpreter exits,
        # however long a delivery takes.
        self.threads = tuple(
            threading.Thread(target=self._loop, name=f'nurec-deliver-{i}', daemon=True)
            for i in range(THREADS)
        )
        self.put = self._items.put

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """Let the threads end after what was put before."""
        for _ in self.threads:
            self._items.put(None)

    def say_once(self, key: str, level: str, text: str) -> None:
        """Log the first of each kind."""
        with self._saying:
            first = key not in self._said
            self._said.add(key)
        if first:
            self.put((level, text))

    def _loop(self) -> None:
        while True:
            item = self._items.get()
            if item is None:
                return
            if isinstance(item, FrameQueue):
                self._deliver_from(item)
            elif isinstance(item, Ticket):
                item.future.set_result(None)
            else:
                self._log(*item)

    def _deliver_from(self, queue: FrameQueue) -> None:
        """Deliver what stands finished at a queue's head; no other thread does meanwhile."""
        before: Job | None = None
        while True:
            job, last = self._take_next(queue, before)
            if before is not None and last:
                before.ticket.future.set_result(None)
            if job is None:
                return
            if job.result is not None:
                try:
                    self._deliver(job.result)
                except Exception as error:  # noqa: BLE001 (the user's code; the pool must go on)
                    text = f'delivering {job.source}: {type(error).__name__}'
                    self.say_once(text, 'error', f'{text}: {error}')
            before = job
