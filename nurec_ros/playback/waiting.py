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
What waits: steps for their turn, jumps for quiet, a halt for its picture.

ROS orders nothing between topics. A listener whose clock has jumped back and that then handles a
transform of the time before keeps it, and refuses the true ones as old: so nothing of the new time
goes out, and the clock stands still, until listeners have had time for what came before.

Frames come from the passing of time; a halted player passes none. So one frame of the position, a
still frame, is rendered after each jump, after each change of what is rendered, and for a camera
whenever somebody more subscribes to it. There is never more than one on its way for a camera: a
slider that is dragged does not pile up renders, and the last position gets its frame in any case.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import zip_longest

from nurec_ros.playback.effects import Effect, Show, ShowJump, Step, StepDone

Effects = list[Effect]
# Between the last transform of the time before a jump and the first message of the time after.
# A listener that is busy with an image handles late what came in time: with tf2's own buffer and
# callbacks of 30 ms, half of all jumps left stale transforms after 8 ms, none after 50 ms.
QUIET_NS = 50_000_000


class StepQueue:
    """Serves steps one after another; `now` returns steady wall time."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self.current: Step | None = None
        self._waiting: deque[Step] = deque()
        self._asked = False
        # Until when the first of the steps waits for an input.
        self._until_ns: int | None = None

    def add(self, step: Step) -> None:
        self._waiting.append(step)

    @property
    def pending(self) -> bool:
        return bool(self._waiting) and self.current is None

    @property
    def overdue(self) -> bool:
        """Return whether a step has waited for an input for as long as it may."""
        return self._until_ns is not None and self._now() >= self._until_ns

    def pop(self, lacks: Callable[[Step], str], wait_ns: int) -> Step | None:
        """
        Take the step that is to begin now; None while it is to wait for an input.

        `lacks` tells of a step what is missing. After a wait of `wait_ns` it has a `refusal`.
        """
        missing = lacks(self._waiting[0]) if wait_ns else ''
        if missing and not self.overdue:
            if self._until_ns is None:
                self._until_ns = self._now() + wait_ns
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
        step, self.current = self.current, None
        return [] if step is None else [_over(step, overtaken_by)]

    def leave(self, by: str) -> Effects:
        waiting, self._waiting = self._waiting, deque()
        return [*self.end(overtaken_by=by), *(_over(step, by) for step in waiting)]


def _over(step: Step, overtaken_by: str) -> StepDone:
    if overtaken_by:
        step.overtaken_by = overtaken_by
    step.over = True
    return StepDone(step)


class Showing:
    """
    What was shown last, and the jump that is still to be shown; a scenario begins with one.

    `now` returns steady wall time, `quiet_ns` of which are at least between the last transform and
    a jump back. `after` is the showing of the scenario before, which goes on until this one's may.
    """

    def __init__(self, now: Callable[[], int], quiet_ns: int, after: Showing | None) -> None:
        self._now = now
        self._quiet_ns = quiet_ns
        # Where it led to is known when it is shown.
        self._jump: Show | ShowJump | None = ShowJump(0, loaded=True)
        self._clock_ns: int | None = after._clock_ns if after is not None else None
        self._posed_ns: int = after._posed_ns if after is not None else -QUIET_NS

    @property
    def settled(self) -> bool:
        return self._jump is None

    def jump(self) -> None:
        """Note that the position is another one than time alone has led to."""
        self._jump = self._jump or Show(0)

    def jump_back(self) -> None:
        if not isinstance(self._jump, ShowJump):
            self._jump = ShowJump(0)

    def show(self, moment: Show) -> Effects:
        """Show a moment, or while a jump is to be shown no more than the clock of before."""
        if self._jump is not None:
            return self.clock_again() if moment.clock else []
        if moment.clock:
            self._clock_ns = moment.t_ns
        if moment.pose:
            self.posed()
        return [moment]

    def posed(self) -> None:
        """Note that transforms went out."""
        self._posed_ns = self._now()

    def clock_again(self) -> Effects:
        """Show the clock once more as it was shown last; nothing before the first moment."""
        return [] if self._clock_ns is None else [Show(self._clock_ns, clock=True)]

    def settle(self, position_ns: int, *, delivering: bool) -> Effects:
        """
        Show the jump, which led to this position, if it is time; else nothing.

        Neither a transform nor a frame of the time before, which may be delivered at this very
        moment, is to come after a jump back.
        """
        jump = self._jump
        if isinstance(jump, ShowJump):
            if self._now() - self._posed_ns < self._quiet_ns or delivering:
                return []
            jump = ShowJump(position_ns, loaded=jump.loaded)
        else:
            jump = Show(position_ns, clock=True, pose=True, tracks=True)
        self._jump = None
        self._clock_ns = position_ns
        self.posed()
        return [jump]


class StillFrames:
    """Which cameras still owe a frame of the position."""

    def __init__(self) -> None:
        self._owed: set[str] = set()
        self._under_way: set[str] = set()
        self._audiences: dict[str, tuple[int, ...]] = {}

    def owe(self, cameras: Iterable[str]) -> None:
        """Note that the last frame shows another position, or shows it otherwise."""
        self._owed.update(cameras)

    def forget(self, cameras: Iterable[str]) -> None:
        """Note that frames of these cameras come by themselves."""
        self._owed.difference_update(cameras)

    def count(self, audiences: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
        """
        Take the numbers of subscribers of each camera's topics; where one grew a frame is owed.

        Each topic for itself: somebody may leave one and come to another between two looks.
        Return the cameras that have a subscriber.
        """
        for camera, numbers in audiences.items():
            before = self._audiences.get(camera, ())
            if any(now > then for now, then in zip_longest(numbers, before, fillvalue=0)):
                self._owed.add(camera)
        self._audiences = dict(audiences)
        return tuple(camera for camera, numbers in audiences.items() if any(numbers))

    def begin(self, subscribed: Iterable[str]) -> tuple[str, ...]:
        """Return the subscribed cameras whose frame is to be asked for now; it is under way."""
        ready = tuple(
            camera
            for camera in subscribed
            if camera in self._owed and camera not in self._under_way
        )
        self._owed.difference_update(ready)
        self._under_way.update(ready)
        return ready

    def end(self, cameras: Iterable[str]) -> None:
        self._under_way.difference_update(cameras)
