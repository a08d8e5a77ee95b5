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
Which frame is next, in which order frames come out, and the threads that hand them out.

Each source, a camera or a lidar, has a queue of jobs in the order in which they were submitted.
Jobs may come back in any order; they leave their queue from its head only, so that a source's
frames never change places; a failure has no place to keep. The queues do not lock: the dispatcher
calls them under its own lock, and nothing here knows what a job asks for. Who delivers or logs
holds no lock.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
import threading

import numpy as np
from numpy.typing import NDArray
from nurec_ros.rendering.connection import Log
from nurec_ros.rendering.frames import Cloud, Failure, Frame

WAITING = 'waiting'
FLYING = 'flying'
FINISHED = 'finished'


@dataclass(eq=False, slots=True)
class Ticket:
    """One call of submit: the future that completes with the last of its jobs."""

    future: Future[None]
    left: int

    def close_one(self) -> bool:
        """Count one job as done; return whether it was the last."""
        self.left -= 1
        return self.left == 0


@dataclass(eq=False, slots=True)
class Job:
    """
    One frame to render.

    source: the camera or lidar that it is of. keep: never dropped for a newer one. rank: the
    lower, the sooner. not_before: monotonic seconds. alone: not to be put into a batch. obsolete:
    taken out of its queue while it was on its way; what comes of it goes to nobody. result: what
    to deliver. rig_poses: T_map_rig (2, 4, 4) at both ends of the exposure or spin, of an ego
    that is driven.
    """

    source: str
    t_ns: int
    keep: bool
    fail_if_down: bool
    ticket: Ticket
    rank: int = 0
    state: str = WAITING
    not_before: float = 0.0
    attempts: int = 0
    alone: bool = False
    obsolete: bool = False
    result: Frame | Cloud | Failure | None = None
    rig_poses: NDArray[np.float64] | None = None


@dataclass(eq=False, slots=True)
class FrameQueue:
    """One source's jobs, oldest first; `delivering` while a thread takes from its head."""

    jobs: deque[Job] = field(default_factory=deque)
    sent: int = 0
    delivering: bool = False

    @property
    def deliverable(self) -> bool:
        return bool(self.jobs) and self.jobs[0].state == FINISHED and not self.delivering


class FrameQueues:
    """
    The queues of all sources.

    window: how many jobs of one queue may be sent and not yet delivered.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self._queues: dict[str, FrameQueue] = defaultdict(FrameQueue)
        self._ranks = 0

    def queue(self, source: str) -> FrameQueue:
        return self._queues[source]

    def add(self, job: Job) -> list[Job]:
        """
        Append a job to its queue; take out, and return, those that it makes obsolete.

        The newest wins, but takes the place in the queue of the one it replaces: sources with
        many frames do not push back those with few.
        """
        queue = self.queue(job.source)
        self._ranks += 1
        job.rank = self._ranks
        dropped = [] if job.keep else [old for old in queue.jobs if _droppable(old)]
        for old in dropped:
            queue.jobs.remove(old)
            job.rank = min(job.rank, old.rank)
        queue.jobs.append(job)
        return dropped

    def pick(self, now: float, *, batch: bool) -> list[Job]:
        """
        Choose what to send next, and count it as sent: one job, or those that share a batch.

        A batch holds jobs of one ticket, one of each source: names are unique in it.
        """
        ready = [job for queue in self._queues.values() if (job := self._next(queue, now))]
        if not ready:
            return []
        first = min(ready, key=lambda job: job.rank)
        chosen = [first]
        if batch and not first.alone:
            chosen = [job for job in ready if job.ticket is first.ticket and not job.alone]
            chosen.sort(key=lambda job: job.rank)
        for job in chosen:
            job.state = FLYING
            self._queues[job.source].sent += 1
        return chosen

    def requeue(self, job: Job, not_before: float = 0.0) -> bool:
        """
        Let a sent job wait again, at its place in the queue.

        Return False, and change nothing, where a newer one already waits that would win over it,
        or is on its way already and would have to wait for a later attempt of this one.
        """
        queue = self._queues[job.source]
        if not job.keep:
            overtaken = not_before > 0.0 and queue.jobs[-1] is not job
            if overtaken or any(_droppable(other) for other in queue.jobs):
                return False
        job.state = WAITING
        job.not_before = not_before
        queue.sent -= 1
        return True

    def finish(self, job: Job, result: Frame | Cloud | Failure) -> FrameQueue | None:
        """
        Set a job's result; return its queue if it can now be delivered from.

        A failure is not held up by jobs before it, which may wait for a server that is away: it
        goes before all that are not finished.
        """
        queue = self._queues[job.source]
        if job.state == WAITING:
            queue.sent += 1  # counted as sent until it is taken, like those that were
        job.state = FINISHED
        job.result = result
        if isinstance(result, Failure) and queue.jobs[0] is not job:
            queue.jobs.remove(job)
            unfinished = (i for i, other in enumerate(queue.jobs) if other.state != FINISHED)
            queue.jobs.insert(next(unfinished, len(queue.jobs)), job)
        return queue if queue.deliverable else None

    def remove(self, job: Job) -> FrameQueue | None:
        """Take out a sent job that will have no result; return its queue like `finish`."""
        queue = self._queues[job.source]
        queue.jobs.remove(job)
        queue.sent -= 1
        job.obsolete = True
        return queue if queue.deliverable else None

    def take(self, queue: FrameQueue) -> Job | None:
        """Take the head of a queue if it is finished."""
        if queue.jobs and queue.jobs[0].state == FINISHED:
            queue.sent -= 1
            return queue.jobs.popleft()
        return None

    @property
    def delivering(self) -> bool:
        return any(queue.delivering for queue in self._queues.values())

    def waiting(self) -> Iterator[Job]:
        for queue in self._queues.values():
            yield from (job for job in queue.jobs if job.state == WAITING)

    def discard(self) -> list[Job]:
        """Take out and return every job, those on their way included."""
        jobs = [job for queue in self._queues.values() for job in queue.jobs]
        for job in jobs:
            job.obsolete = True
        for queue in self._queues.values():
            queue.jobs.clear()
            queue.sent = 0
        return jobs

    def _next(self, queue: FrameQueue, now: float) -> Job | None:
        for job in queue.jobs:
            if job.state == WAITING and job.not_before <= now:
                # What the whole queue waits for is never held back by what waits behind it.
                return job if queue.sent < self.window or job is queue.jobs[0] else None
        return None


def _droppable(job: Job) -> bool:
    return job.state == WAITING and not job.keep


Deliver = Callable[[Frame | Cloud | Failure], None]
# From a queue and the job delivered last to the queue's next, and whether that was the last job
# of its ticket.
TakeNext = Callable[[FrameQueue, Job | None], tuple[Job | None, bool]]

THREADS = 2


class Delivery:
    """Threads that deliver from queues with a finished head, each queue by one at a time."""

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
