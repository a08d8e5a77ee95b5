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
What may be shown now: moments in a row, and jumps, which are shown with care.

ROS orders nothing between topics. A listener whose clock has jumped back and that then handles a
transform of the time before keeps it, and refuses the true ones as old: so nothing of the new time
goes out, and the clock stands still, until listeners have had time for what came before.
"""

from __future__ import annotations

from nurec_ros.playback.effects import Show, ShowJump

# Between the last transform of the time before a jump and the first message of the time after.
# A listener that is busy with an image handles late what came in time: with tf2's own buffer and
# callbacks of 30 ms, half of all jumps left stale transforms after 8 ms, none after 50 ms.
QUIET_NS = 50_000_000

Shown = list[Show | ShowJump]


class Showing:
    """
    What was shown last, and the jump that is still to be shown; a scenario begins with one.

    `quiet_ns` is the least wall time between the last transform and a jump back. `after` is the
    showing of the scenario before, whose time is shown until this one's may be.
    """

    def __init__(self, quiet_ns: int = QUIET_NS, after: Showing | None = None) -> None:
        self._quiet_ns = quiet_ns
        # Where it led to is known when it is shown.
        self._jump: Show | ShowJump | None = ShowJump(0, loaded=True)
        self._clock_ns: int | None = after._clock_ns if after is not None else None
        self._posed_ns: int = after._posed_ns if after is not None else -QUIET_NS

    @property
    def settled(self) -> bool:
        """Return whether there is no jump to be shown."""
        return self._jump is None

    def jump(self) -> None:
        """Note that the position is another one than time alone has led to."""
        self._jump = self._jump or Show(0)

    def jump_back(self) -> None:
        """Note that the position lies before what was shown last."""
        if not isinstance(self._jump, ShowJump):
            self._jump = ShowJump(0)

    def show(self, now_ns: int, moment: Show) -> Shown:
        """Show a moment, or while a jump is to be shown no more than the clock of before."""
        if self._jump is not None:
            return self.clock_again() if moment.clock else []
        if moment.clock:
            self._clock_ns = moment.t_ns
        if moment.pose:
            self._posed_ns = now_ns
        return [moment]

    def posed(self, now_ns: int) -> None:
        """Note that transforms went out otherwise."""
        self._posed_ns = now_ns

    def clock_again(self) -> Shown:
        """Show the clock once more as it was shown last; nothing before the first moment."""
        return [] if self._clock_ns is None else [Show(self._clock_ns, clock=True)]

    def settle(self, now_ns: int, position_ns: int, *, delivering: bool) -> Shown:
        """
        Show the jump, which led to this position, if it is time; else nothing.

        Neither a transform nor a frame of the time before, which may be delivered at this very
        moment, is to come after a jump back.
        """
        jump = self._jump
        if jump is None:
            return []
        if isinstance(jump, ShowJump):
            if now_ns - self._posed_ns < self._quiet_ns or delivering:
                return []
            shown: Show | ShowJump = ShowJump(position_ns, loaded=jump.loaded)
        else:
            shown = Show(position_ns, clock=True, pose=True, tracks=True)
        self._jump = None
        self._clock_ns, self._posed_ns = position_ns, now_ns
        return [shown]
