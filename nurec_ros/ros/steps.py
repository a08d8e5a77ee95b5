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
Steps: what `~/tick` and `~/play_next` do, from the advance of the clock to the answer.

A step waits for its images. Whoever moves the clock elsewhere meanwhile overtakes it: it ends at
once, and its images are nobody's concern any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from nurec_ros.errors import ConfigurationError, NurecError
from nurec_ros.playback.schedule import Due
from nurec_ros.rendering.frames import Failure
from rclpy.task import Future


class OvertakenError(NurecError):
    """Something else moved the clock before a step was done."""


class Step:
    """
    One step under way; the executor's thread alone uses it.

    `overtaken_by` says who moved the clock elsewhere, '' as long as nobody did.
    """

    def __init__(self, due: Sequence[Due]) -> None:
        self.due = tuple(due)
        self.overtaken_by = ''
        self.ended: Future = Future()
        self._wanted = {(item.name, item.t_ns) for item in due}
        self._lost: Counter[str] = Counter()
        self._errors: dict[str, str] = {}

    def end(self) -> None:
        """Answer: all images are out or lost."""
        if not self.ended.done():
            self.ended.set_result(None)

    def overtake(self, by: str) -> None:
        """Answer at once, unless it ended before."""
        if not self.ended.done():
            self.overtaken_by = by
            self.end()

    def lose(self, failure: Failure) -> None:
        """Note that an image failed, if it is one of this step's."""
        if (failure.camera, failure.t_ns) in self._wanted:
            self._lost[failure.camera] += 1
            self._errors[failure.camera] = str(failure.error)

    @property
    def failed_images(self) -> dict[str, str]:
        """Give the cameras that lost images: how many of how many, and why the last one."""
        asked = Counter(item.name for item in self.due)
        return {
            name: f'{count} of {asked[name]} lost: {self._errors[name]}'
            for name, count in sorted(self._lost.items())
        }


class Steps:
    """The steps that have not ended; `post` has a call made in the executor's thread."""

    def __init__(self, post: Callable[[Callable[[], None]], None]) -> None:
        self._post = post
        self._running: list[Step] = []

    def begin(self, due: Sequence[Due]) -> Step:
        """Begin a step that makes these frames due."""
        step = Step(due)
        self._running.append(step)
        return step

    def end(self, step: Step) -> None:
        """Forget a step that was answered."""
        self._running.remove(step)

    def overtake(self, by: str) -> None:
        """End all steps: the clock is moved elsewhere."""
        for step in self._running:
            step.overtake(by)

    def lose(self, failure: Failure) -> None:
        """Note an image that failed; from any thread."""
        # Posted before the end of the render is, so that the step hears of it in time.
        if self._running:
            self._post(lambda: self._lose(failure))

    def _lose(self, failure: Failure) -> None:
        for step in self._running:
            step.lose(failure)


def to_next_frame(session: Any) -> int:
    """
    Give the ns from the position of a session to the next frame time of any of its cameras.

    ConfigurationError, for `~/play_next` to refuse with, while it plays or without one.
    """
    clock = session.clock
    if clock.is_playing:
        raise ConfigurationError('the clock runs; halt it first, with ~/pause or ~/stop')
    if clock.done:
        raise ConfigurationError('the position is the end; go back with ~/seek or ~/reset')
    next_ns = session.schedule.next_after(clock.position_ns)
    if next_ns is None:
        raise ConfigurationError('no camera has a frame between the position and the end')
    return int(next_ns - clock.position_ns)
