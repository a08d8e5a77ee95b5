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
"""What the driven ego does from a time on: drive a leg, go by given poses, or as recorded."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from nurec_ros.driving.interpolation import (
    between,
    STANDING,
    Twist6,
    velocity_between,
    Waypoint,
    with_positive_w,
)
from nurec_ros.driving.motion import Leg
from nurec_ros.poses import Quaternion, Vector


@dataclass(frozen=True, slots=True)
class DrivenLeg:
    """From `from_ns` on the ego drives a leg."""

    from_ns: int
    leg: Leg


@dataclass(frozen=True, slots=True)
class GivenPoses:
    """From `from_ns` on the ego is at the rows' poses: between them, or the nearest is held."""

    from_ns: int
    rows: tuple[Waypoint, ...]

    @property
    def stands(self) -> bool:
        return len(self.rows) == 1

    def pose(self, t_ns: int) -> tuple[Vector, Quaternion]:
        rows = self.rows
        after = bisect_right(rows, t_ns, key=_time_of)
        if after in (0, len(rows)):
            row = rows[0 if after == 0 else -1]
            return row.position, with_positive_w(row.quaternion)
        return between(rows[after - 1], rows[after], t_ns)

    def velocity(self, t_ns: int) -> Twist6:
        rows = self.rows
        after = bisect_right(rows, t_ns, key=_time_of)
        if after == len(rows) and rows[-1].t_ns == t_ns:
            if after == 1:
                return rows[0].twist or STANDING
            after -= 1
        if after in (0, len(rows)):
            return STANDING
        return velocity_between(rows[after - 1], rows[after], t_ns)


@dataclass(frozen=True, slots=True)
class AsRecorded:
    """From `from_ns` on the ego is the recorded one."""

    from_ns: int


Piece = DrivenLeg | GivenPoses | AsRecorded


def _time_of(row: Waypoint) -> int:
    return row.t_ns
