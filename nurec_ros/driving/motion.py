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
Planar motion, a unicycle's or a kinematic bicycle's about its rear axle, and the way that it goes.

A leg's pose at any time is computed from its anchor alone, so that it does not matter how a span
is cut: in closed form where the speed or the steering is constant, and where the steering turns,
over at most 10 ms, by Gauss's quadrature. On its way the ego drives a leg, goes by given poses, or
is the recorded one; the way is tied to the recorded path as it goes, and noted to be drawn.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
import math
from operator import attrgetter

import numpy as np
from nurec_ros.driving.inputs import AckermannCommand, Command, TwistCommand
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

GRID_NS = 10_000_000
NEVER = 2**62
PlanarPose = tuple[float, float, float]  # x, y, yaw
# Gauss-Legendre with three nodes on [0, 1]: exact for polynomials of degree 5.
_OFFSET = 0.5 * math.sqrt(0.6)
_NODES = ((0.5 - _OFFSET, 5.0 / 18.0), (0.5, 8.0 / 18.0), (0.5 + _OFFSET, 5.0 / 18.0))


@dataclass(frozen=True, slots=True)
class Limits:
    """What the vehicle can do: m, m/s^2 and rad."""

    wheelbase_m: float = 2.85
    max_acceleration: float = 3.0
    max_deceleration: float = 6.0
    max_steering: float = math.radians(35.0)

    def steering_of(self, curvature: float) -> float:
        """Return the steering angle (rad) of a curvature (1/m), as far as the wheels turn."""
        return self.clipped(math.atan(curvature * self.wheelbase_m))

    def clipped(self, steering: float) -> float:
        """Return a steering angle (rad) as far as the wheels turn."""
        return min(max(steering, -self.max_steering), self.max_steering)


@dataclass(frozen=True, slots=True)
class Planar:
    """A state in the plane: metres, radians, m/s along the heading, and the steering angle."""

    x: float
    y: float
    yaw: float
    speed: float = 0.0
    steering: float = 0.0


@dataclass(frozen=True, slots=True)
class Leg:
    """
    The motion from the anchor at `t_ns`, at which `origin` was the state.

    `spin` (rad/s) turns without a way; with `wheelbase_m` the steering turns along it. Speed and
    steering change evenly until their goals are reached, at times that lie fixed from the start.
    `final` is the speed that is wanted in the end: on the way to the other direction the first
    goal is to stand.
    """

    t_ns: int
    origin: Planar
    limits: Limits
    speed: float
    spin: float = 0.0
    acceleration: float = 0.0
    speed_goal: float = 0.0
    speed_end_ns: int = NEVER
    final: float = 0.0
    wanted_acceleration: float = 0.0
    steering: float = 0.0
    steering_rate: float = 0.0
    steering_goal: float = 0.0
    steering_end_ns: int = NEVER

    @property
    def stands(self) -> bool:
        return not (self.speed or self.acceleration or self.spin)

    @property
    def next_ns(self) -> int:
        """Return when the next leg begins by itself."""
        end_ns = min(self.speed_end_ns, self.steering_end_ns)
        if self.steering_rate and (self.speed or self.acceleration):
            return min(end_ns, (self.t_ns // GRID_NS + 1) * GRID_NS)
        return end_ns

    def pose(self, t_ns: int) -> PlanarPose:
        """Return x, y, yaw at a time from the anchor on."""
        seconds = (t_ns - self.t_ns) * 1e-9
        start = self.origin
        if self.steering_rate and (self.speed or self.acceleration):
            return self._swept(seconds)
        way = seconds * (self.speed + 0.5 * self.acceleration * seconds)
        turn = seconds * self.spin + way * self._curvature(self.steering)
        half = 0.5 * turn
        square = half * half
        chord = (
            math.sin(half) / half if square > 1e-6 else 1.0 - square / 6.0 * (1.0 - square / 20)
        )
        chord *= way
        direction = start.yaw + half
        return (
            start.x + chord * math.cos(direction),
            start.y + chord * math.sin(direction),
            start.yaw + turn,
        )

    def motion(self, t_ns: int) -> tuple[float, float]:
        """Return the speed and the yaw rate at a time from the anchor on."""
        seconds = (t_ns - self.t_ns) * 1e-9
        speed = self.speed + self.acceleration * seconds
        steering = self.steering + self.steering_rate * seconds
        return speed, self.spin + speed * self._curvature(steering)

    def state(self, t_ns: int) -> Planar:
        seconds = (t_ns - self.t_ns) * 1e-9
        speed = self.speed + self.acceleration * seconds
        steering = self.steering + self.steering_rate * seconds
        return Planar(
            *self.pose(t_ns),
            speed=self.speed_goal if t_ns >= self.speed_end_ns else speed,
            steering=self.steering_goal if t_ns >= self.steering_end_ns else steering,
        )

    def renewed(self, t_ns: int, state: Planar) -> Leg:
        """Return the leg that begins at `next_ns`, with the state of that time."""
        leg = replace(self, t_ns=t_ns, origin=state, speed=state.speed, steering=state.steering)
        if t_ns >= self.steering_end_ns:
            leg = replace(leg, steering_rate=0.0, steering_end_ns=NEVER)
        if t_ns >= self.speed_end_ns:
            leg = _approaching(leg)
        return leg

    def _curvature(self, steering: float) -> float:
        return math.tan(steering) / self.limits.wheelbase_m if steering else 0.0

    def _swept(self, seconds: float) -> PlanarPose:
        """Integrate a turning steering: heading and way are integrals over the same nodes."""
        start, length = self.origin, self.limits.wheelbase_m
        speed, acceleration = self.speed, self.acceleration
        steering, rate = self.steering, self.steering_rate

        def turn(until: float) -> float:
            total = 0.0
            for node, weight in _NODES:
                at = node * until
                total += weight * (speed + acceleration * at) * math.tan(steering + rate * at)
            return total * until / length

        x = y = 0.0
        for node, weight in _NODES:
            at = node * seconds
            step = weight * (speed + acceleration * at)
            direction = start.yaw + turn(at)
            x += step * math.cos(direction)
            y += step * math.sin(direction)
        return start.x + x * seconds, start.y + y * seconds, start.yaw + turn(seconds)


def grid_within(after_ns: int, until_ns: int) -> range:
    """Return the times of the grid in (after, until]."""
    return range((after_ns // GRID_NS + 1) * GRID_NS, until_ns + 1, GRID_NS)


def following(t_ns: int, origin: Planar, command: Command, limits: Limits) -> Leg:
    if isinstance(command, TwistCommand):
        return Leg(t_ns, origin, limits, command.speed, spin=command.yaw_rate)
    steering, goal = origin.steering, limits.clipped(command.steering)
    leg = Leg(
        t_ns,
        origin,
        limits,
        origin.speed,
        final=command.speed,
        wanted_acceleration=command.acceleration,
        steering=steering if command.steering_rate else goal,
        steering_goal=goal,
    )
    if command.steering_rate and goal != steering:
        leg = replace(
            leg,
            steering_rate=math.copysign(command.steering_rate, goal - steering),
            steering_end_ns=_after(t_ns, abs(goal - steering) / command.steering_rate),
        )
    return _approaching(leg)


def keeping(t_ns: int, origin: Planar, limits: Limits) -> Leg:
    return Leg(t_ns, origin, limits, origin.speed, final=origin.speed, steering=origin.steering)


def ending(t_ns: int, origin: Planar, limits: Limits, *, stops: bool) -> Leg:
    """Return the leg after the last command has counted long enough: standing, or braking."""
    if stops:
        return Leg(t_ns, origin, limits, 0.0)
    return following(t_ns, origin, AckermannCommand(0, 0.0, origin.steering), limits)


def _approaching(leg: Leg) -> Leg:
    """Return the leg with what leads from its speed to the final one."""
    speed, goal, limits = leg.speed, leg.final, leg.limits
    if speed == goal:
        return replace(leg, acceleration=0.0, speed_goal=goal, speed_end_ns=NEVER)
    slower = abs(goal) < abs(speed) or goal * speed < 0.0
    if goal * speed < 0.0:
        goal = 0.0
    rate = limits.max_deceleration if slower else limits.max_acceleration
    if leg.wanted_acceleration:
        rate = min(rate, leg.wanted_acceleration)
    return replace(
        leg,
        acceleration=math.copysign(rate, goal - speed),
        speed_goal=goal,
        speed_end_ns=_after(leg.t_ns, abs(goal - speed) / rate),
    )


def _after(t_ns: int, seconds: float) -> int:
    return t_ns + min(max(math.ceil(seconds * 1e9), 1), NEVER) if seconds < 1e9 else NEVER


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
        if self._path is None:
            self._path = RecordedPath(self._recorded)
        return self._path

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

    def tie(self, piece: DrivenLeg | GivenPoses, t_ns: int) -> None:
        """Note the nearest place at a moment, and the pose if it is far from the last noted."""
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
