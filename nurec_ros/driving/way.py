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
The way of a driven ego: what it does from a time on, tied to the recorded path as it goes.

It drives a leg, goes by given poses, or is the recorded ego; where it went is noted to be drawn.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
import math
from operator import attrgetter

import numpy as np
from nurec_ros.driving.motion import grid_within, Leg, PlanarPose
from nurec_ros.driving.recorded_path import (
    between,
    RecordedPath,
    STANDING,
    Twist6,
    velocity_between,
    Waypoint,
    with_positive_w,
    yaw_of,
)
from nurec_ros.poses import Quaternion, Vector
from nurec_ros.scenario.trajectory import Trajectory

JUMP_M = 5.0
# So many points are tied to the recorded path together.
AT_ONCE = 16
DRIVEN_STEP_M = 0.5
DRIVEN_STEP_RAD = math.radians(10.0)
MOST_DRIVEN = 10_000


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
        after = bisect_right(rows, t_ns, key=attrgetter('t_ns'))
        if after in (0, len(rows)):
            row = rows[0 if after == 0 else -1]
            return row.position, with_positive_w(row.quaternion)
        return between(rows[after - 1], rows[after], t_ns)

    def velocity(self, t_ns: int) -> Twist6:
        rows = self.rows
        after = bisect_right(rows, t_ns, key=attrgetter('t_ns'))
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


@dataclass(frozen=True, slots=True)
class _Knot:
    """Where the ego was, and which place of the recorded path was nearest."""

    t_ns: int
    x: float
    y: float
    s_m: float


class Way:
    """
    Which place of the recorded path was nearest when, and the poses that the driven path shows.

    The nearest place is sought from the one before on. `driven` has a pose every 0.5 m or 10
    degrees, `changes` grows with every change of it.
    """

    def __init__(self, recorded: Trajectory) -> None:
        self.driven: list[Waypoint] = []
        self.changes = 0
        self._recorded = recorded
        self._path: RecordedPath | None = None
        self._knots: list[_Knot] = []
        # The heading of the newest pose of the driven path, once it was asked for.
        self._turned_from: Waypoint | None = None
        self._last_yaw = 0.0

    @property
    def path(self) -> RecordedPath:
        """Return the recorded path, made when it is needed first."""
        if self._path is None:
            self._path = RecordedPath(self._recorded)
        return self._path

    def forget(self) -> None:
        """Begin anew: nothing was driven, and no place is known."""
        self.forget_places()
        self.forget_driven()

    def forget_places(self) -> None:
        self._knots.clear()

    def forget_driven(self) -> None:
        self.driven.clear()
        self.changes += 1

    def begin(self, at_ns: int, from_ns: int, position: Vector, quaternion: Quaternion) -> None:
        """Start at the recorded place of a moment; the way counts from `from_ns` on."""
        while self._knots and self._knots[-1].t_ns >= from_ns:
            self._knots.pop()
        x, y, _ = position
        s_m = self.path.nearest(x, y, self.path.at_time(at_ns))
        self._knots.append(_Knot(from_ns, x, y, s_m))
        self.driven[:] = [Waypoint(at_ns, position, quaternion)]
        self.changes += 1

    def prune(self, before_ns: int) -> None:
        knots = self._knots
        if len(knots) > 1 and knots[1].t_ns <= before_ns:
            del knots[: bisect_right(knots, before_ns, key=attrgetter('t_ns')) - 1]

    def pose(self, piece: DrivenLeg | GivenPoses, t_ns: int) -> tuple[Vector, Quaternion]:
        if isinstance(piece, GivenPoses):
            return piece.pose(t_ns)
        x, y, yaw = piece.leg.pose(t_ns)
        return self.path.on_ground(x, y, yaw, self.place(piece, t_ns, x, y))

    def planar(self, piece: DrivenLeg | GivenPoses, t_ns: int) -> PlanarPose:
        if isinstance(piece, DrivenLeg):
            return piece.leg.pose(t_ns)
        (x, y, _), quaternion = piece.pose(t_ns)
        return x, y, yaw_of(quaternion)

    def place(self, piece: DrivenLeg | GivenPoses, t_ns: int, x: float, y: float) -> float:
        """Return the place of the recorded path that is nearest, from the knot before on."""
        knot = self._knots[max(bisect_right(self._knots, t_ns, key=attrgetter('t_ns')) - 1, 0)]
        if x == knot.x and y == knot.y:
            return knot.s_m
        free = isinstance(piece, GivenPoses) and math.hypot(x - knot.x, y - knot.y) > JUMP_M
        return self.path.nearest(x, y, None if free else knot.s_m)

    def walk(self, piece: GivenPoses, after_ns: int, until_ns: int) -> None:
        """Tie given poses to the recorded path on the grid within (after, until]."""
        times = grid_within(after_ns, until_ns)
        for t_ns in times[:1] if piece.stands else times:
            self.tie(piece, t_ns)

    def tie_all(self, states: Sequence[tuple[DrivenLeg, int, PlanarPose]]) -> None:
        """Do what `tie` does, at moments one after the other with their x, y and yaw."""
        done = 0
        while done < len(states):
            # Some at once, as far as that is certain.
            end = done + AT_ONCE
            some = states[done:end]
            places: list[float] = []
            if len(some) > 1:
                x, y, _ = np.array([state for _, _, state in some]).T
                places = self.path.nearest_along(x, y, self._knots[-1].s_m)
            if not places:
                piece, t_ns, (at_x, at_y, _) = some[0]
                places = [self.place(piece, t_ns, at_x, at_y)]
            for (piece, t_ns, state), s_m in zip(some, places, strict=False):
                self._note(piece, t_ns, *state, s_m)
            done += len(places)

    def tie(self, piece: Piece, t_ns: int) -> None:
        """Note the nearest place at a moment, and the pose if it is far from the last noted."""
        if isinstance(piece, AsRecorded):
            return
        x, y, yaw = self.planar(piece, t_ns)
        self._note(piece, t_ns, x, y, yaw, self.place(piece, t_ns, x, y))

    def _note(
        self, piece: DrivenLeg | GivenPoses, t_ns: int, x: float, y: float, yaw: float, s_m: float
    ) -> None:
        knots, driven = self._knots, self.driven
        while len(knots) > 1 and knots[-1].t_ns >= t_ns:
            knots.pop()
        if knots[-1].t_ns >= t_ns or (x, y, s_m) != (knots[-1].x, knots[-1].y, knots[-1].s_m):
            knots.append(_Knot(t_ns, x, y, s_m))
        while len(driven) > 1 and driven[-1].t_ns >= t_ns:
            driven.pop()
            self.changes += 1
        last = driven[-1]
        last_x, last_y, _ = last.position
        if last is not self._turned_from:
            self._turned_from, self._last_yaw = last, yaw_of(last.quaternion)
        turned = math.remainder(yaw - self._last_yaw, math.tau)
        moved = math.hypot(x - last_x, y - last_y)
        if moved >= DRIVEN_STEP_M or abs(turned) >= DRIVEN_STEP_RAD:
            driven.append(Waypoint(t_ns, *self.pose(piece, t_ns)))
            if len(driven) > MOST_DRIVEN:
                half = MOST_DRIVEN // 2
                driven[:half] = driven[:half:2]
            self.changes += 1
