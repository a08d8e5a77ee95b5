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
Which frame is next, and in which order frames come out: the pipeline's queues, without threads.

Each camera has a lane of jobs in the order in which they were submitted. Jobs may come back in
any order; they leave their lane from its head only, so that a camera's pictures never change
places; a failure has no place to keep. Nothing here locks: the pipeline calls it under its own
lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

from nurec_ros.rendering.frames import Failure, Frame

WAITING = 'waiting'
FLYING = 'flying'
FINISHED = 'finished'


@dataclass(eq=False, slots=True)
class Ticket:
    """One call of submit: the future that completes with the last of its jobs."""

    future: Future[None]
    left: int

    def close_one(self) -> bool:
        """Count one job as done; say whether it was the last."""
        self.left -= 1
        return self.left == 0


@dataclass(eq=False, slots=True)
class Job:
    """
    One frame to render.

    keep: never dropped for a newer one. rank: the lower, the sooner. not_before: monotonic
    seconds. alone: not to be put into a batch again. obsolete: taken out of its lane while it was
    on its way; what comes of it goes to nobody. result: what to deliver.
    """

    camera: str
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
    result: Frame | Failure | None = None


@dataclass(eq=False, slots=True)
class Lane:
    """One camera's jobs, oldest first; `delivering` while a thread takes from its head."""

    camera: str
    jobs: deque[Job] = field(default_factory=deque)
    sent: int = 0
    delivering: bool = False

    @property
    def deliverable(self) -> bool:
        return bool(self.jobs) and self.jobs[0].state == FINISHED and not self.delivering


class Lanes:
    """
    The lanes of all cameras.

    window: how many jobs of one lane may be sent and not yet delivered.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self._lanes: dict[str, Lane] = {}
        self._ranks = 0

    def lane(self, camera: str) -> Lane:
        if camera not in self._lanes:
            self._lanes[camera] = Lane(camera)
        return self._lanes[camera]

    def add(self, job: Job) -> list[Job]:
        """
        Append a job to its lane, and take out those that it makes obsolete: give them back.

        The newest wins, but takes the place in the queue of the one it replaces: cameras with
        many frames do not push back those with few.
        """
        lane = self.lane(job.camera)
        self._ranks += 1
        job.rank = self._ranks
        dropped = [] if job.keep else [old for old in lane.jobs if _droppable(old)]
        for old in dropped:
            lane.jobs.remove(old)
            job.rank = min(job.rank, old.rank)
        lane.jobs.append(job)
        return dropped

    def pick(self, now: float, *, batch: bool) -> list[Job]:
        """
        Choose what to send next, and count it as sent: one job, or those that share a batch.

        A batch holds jobs of one ticket, one of each camera: names are unique in it.
        """
        ready = [job for lane in self._lanes.values() if (job := self._next(lane, now))]
        if not ready:
            return []
        first = min(ready, key=lambda job: job.rank)
        chosen = [first]
        if batch and not first.alone:
            chosen = [job for job in ready if job.ticket is first.ticket and not job.alone]
            chosen.sort(key=lambda job: job.rank)
        for job in chosen:
            job.state = FLYING
            self._lanes[job.camera].sent += 1
        return chosen

    def requeue(self, job: Job, not_before: float = 0.0) -> bool:
        """
        Let a sent job wait again, at its place in the lane.

        Says no, and changes nothing, where a newer one already waits that would win over it, or
        is on its way already and would have to wait for a later attempt of this one.
        """
        lane = self._lanes[job.camera]
        if not job.keep:
            overtaken = not_before > 0.0 and lane.jobs[-1] is not job
            if overtaken or any(_droppable(other) for other in lane.jobs):
                return False
        job.state = WAITING
        job.not_before = not_before
        lane.sent -= 1
        return True

    def finish(self, job: Job, result: Frame | Failure) -> Lane | None:
        """
        Set a job's result; give its lane if it can now be delivered from.

        A failure is not held up by jobs before it, which may wait for a server that is away: it
        goes before all that are not finished.
        """
        lane = self._lanes[job.camera]
        if job.state == WAITING:
            lane.sent += 1  # counted as sent until it is taken, like those that were
        job.state = FINISHED
        job.result = result
        if isinstance(result, Failure) and lane.jobs[0] is not job:
            lane.jobs.remove(job)
            unfinished = (i for i, other in enumerate(lane.jobs) if other.state != FINISHED)
            lane.jobs.insert(next(unfinished, len(lane.jobs)), job)
        return lane if lane.deliverable else None

    def remove(self, job: Job) -> Lane | None:
        """Take out a sent job that will have no result; give its lane like `finish`."""
        lane = self._lanes[job.camera]
        lane.jobs.remove(job)
        lane.sent -= 1
        job.obsolete = True
        return lane if lane.deliverable else None

    def take(self, lane: Lane) -> Job | None:
        """Take the head of a lane if it is finished."""
        if lane.jobs and lane.jobs[0].state == FINISHED:
            lane.sent -= 1
            return lane.jobs.popleft()
        return None

    @property
    def delivering(self) -> bool:
        """Say whether a thread takes from any of them."""
        return any(lane.delivering for lane in self._lanes.values())

    def waiting(self) -> Iterator[Job]:
        """Go through the jobs that wait, in any order."""
        for lane in self._lanes.values():
            yield from (job for job in lane.jobs if job.state == WAITING)

    def discard(self) -> list[Job]:
        """Take out every job, those on their way included, and give them back."""
        jobs = [job for lane in self._lanes.values() for job in lane.jobs]
        for job in jobs:
            job.obsolete = True
        for lane in self._lanes.values():
            lane.jobs.clear()
            lane.sent = 0
        return jobs

    def _next(self, lane: Lane, now: float) -> Job | None:
        for job in lane.jobs:
            if job.state == WAITING and job.not_before <= now:
                # What the whole lane waits for is never held back by what waits behind it.
                return job if lane.sent < self.window or job is lane.jobs[0] else None
        return None


def _droppable(job: Job) -> bool:
    return job.state == WAITING and not job.keep
