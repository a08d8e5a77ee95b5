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
Planar motion: a unicycle, and a kinematic bicycle about its rear axle.

A leg is the motion from one anchor to the next. Its pose at any time is computed from its anchor
alone, so that it does not matter how a span is cut: in closed form where the speed or the steering
is constant, and where the steering turns, over at most 10 ms, by Gauss's quadrature.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
import math

from nurec_ros.driving.inputs import AckermannCommand, Command, TwistCommand

GRID_NS = 10_000_000
NEVER = 2**62
# Gauss-Legendre with three nodes on [0, 1]: exact for polynomials of degree 5.
# x, y, yaw
PlanarPose = tuple[float, float, float]
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
        """Return whether the pose stays what it is."""
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
        """Return the state at a time from the anchor on."""
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
    """Return the leg from a state on, under a command."""
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


def keeping(t_ns: int, origin: Planar, curvature: float, limits: Limits) -> Leg:
    """Return the leg that keeps the speed and the curvature of a state."""
    steering = limits.steering_of(curvature)
    return Leg(t_ns, origin, limits, origin.speed, final=origin.speed, steering=steering)


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
