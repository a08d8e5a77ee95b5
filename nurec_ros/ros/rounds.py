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
Steady timers, few of them.

Every timer callback costs rclpy a walk over all of the node's entities, twice: that is most of
what a player without listeners does. So what is to be done less often than the clock rides on
the clock's timer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import time
from typing import Any

from rclpy.clock import Clock, ClockType


@dataclass(slots=True)
class _Rider:
    period_s: float
    call: Callable[[], None]
    next_s: float


class Rounds:
    """
    Calls things at steady wall time; `base_period_s` is that of the timer that all share.

    `now` gives steady seconds.
    """

    def __init__(
        self, node: Any, base_period_s: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._node = node
        self._base_period_s = base_period_s
        self._now = now
        self._riders: list[_Rider] = []
        self.timer(base_period_s, self._ride)

    def timer(self, period_s: float, call: Callable[[], None]) -> Any:
        """Give a timer of its own; in steady time, whatever `use_sim_time` says."""
        # A timer of rclpy's default clock follows the simulated time that this node publishes,
        # and stands still once use_sim_time is set.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        return self._node.create_timer(period_s, call, clock=clock)

    def every(self, period_s: float, call: Callable[[], None]) -> None:
        """Call `call` every `period_s` seconds, on the shared timer where that is fine enough."""
        if period_s == self._base_period_s:
            self._riders.append(_Rider(0.0, call, 0.0))
        elif period_s < 2 * self._base_period_s:
            self.timer(period_s, call)
        else:
            self._riders.append(_Rider(period_s, call, self._now() + period_s))

    def _ride(self) -> None:
        now_s = self._now()
        # Half a period early is nearer than half a period late.
        soon_s = now_s + self._base_period_s / 2
        for rider in self._riders:
            if rider.next_s <= soon_s:
                rider.call()
                # In step with the first call; what was missed is not made up for.
                behind = (soon_s - rider.next_s) // rider.period_s if rider.period_s else 0
                rider.next_s += (behind + 1) * rider.period_s
