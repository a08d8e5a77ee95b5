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
"""What is waited for: steps, of which one is under way, and frames that were asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import count

from nurec_ros.playback.effects import Effect, Render, Step, StepDone
from nurec_ros.playback.schedule import Due

Effects = list[Effect]


class Orders:
    """Frames that were asked for and of which each counts: what to do when they are there."""

    def __init__(self) -> None:
        self._tickets = count(1)
        self._when_out: dict[int, Callable[[], Effects]] = {}

    def order(
        self,
        frames: tuple[Due, ...],
        when_out: Callable[[], Effects],
        *,
        fail_if_down: bool = False,
    ) -> Render:
        """Ask for frames; `when_out` is called when all are out or lost."""
        ticket = next(self._tickets)
        self._when_out[ticket] = when_out
        return Render(frames, keep=True, fail_if_down=fail_if_down, ticket=ticket)

    def out(self, ticket: int) -> Effects:
        """Note that all frames of a ticket are out or lost."""
        when_out = self._when_out.pop(ticket, None)
        return when_out() if when_out is not None else []


class StepQueue:
    """Serves steps one after another."""

    def __init__(self) -> None:
        self.current: Step | None = None
        self._waiting: deque[Step] = deque()
        self._asked = False
        # Until when the first of the steps waits for an input.
        self._until_ns: int | None = None

    def add(self, step: Step) -> None:
        """Have a step served after all those before it."""
        self._waiting.append(step)

    @property
    def pending(self) -> bool:
        """Return whether a step waits and none is under way."""
        return bool(self._waiting) and self.current is None

    def overdue(self, now_ns: int) -> bool:
        """Return whether a step has waited for an input for as long as it may."""
        return self._until_ns is not None and now_ns >= self._until_ns

    def pop(self, now_ns: int, lacks: Callable[[Step], str], wait_ns: int) -> Step | None:
        """
        Take the step that is to begin now; None while it is to wait for an input.

        `lacks` tells of a step what is missing. After a wait of `wait_ns` it has a `refusal`.
        """
        missing = lacks(self._waiting[0]) if wait_ns else ''
        if missing and not self.overdue(now_ns):
            if self._until_ns is None:
                self._until_ns = now_ns + wait_ns
            return None
        self._until_ns = None
        step = self._waiting.popleft()
        if missing:
            step.refusal = f'within {wait_ns / 1e9:g} s there came {missing}'
        return step

    def begin(self, step: Step) -> None:
        """Let a step that has moved be under way until its frames are out or lost."""
        self.current, self._asked = step, False

    def to_render(self) -> Step | None:
        """Return the step under way once, when its frames are to be asked for."""
        asked, self._asked = self._asked, True
        return None if asked else self.current

    def end(self, *, overtaken_by: str = '') -> Effects:
        """End the step under way, if there is one."""
        step, self.current = self.current, None
        return [] if step is None else [_over(step, overtaken_by)]

    def leave(self, by: str) -> Effects:
        """End all steps, those that wait too."""
        waiting, self._waiting = self._waiting, deque()
        return [*self.end(overtaken_by=by), *(_over(step, by) for step in waiting)]


def _over(step: Step, overtaken_by: str) -> StepDone:
    if overtaken_by:
        step.overtaken_by = overtaken_by
    step.over = True
    return StepDone(step)
