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
"""Timed poses one by one: many times faster than arrays of one element."""

from __future__ import annotations

from dataclasses import dataclass
import math

from nurec_ros.poses import Quaternion, rotation_rows, SMALLEST_HALF_ANGLE, Vector

Twist6 = tuple[float, float, float, float, float, float]
STANDING: Twist6 = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Waypoint:
    """A pose at a time, and the velocity (linear, angular in the body) that came with it."""

    t_ns: int
    position: Vector
    quaternion: Quaternion
    twist: Twist6 | None = None


def _short_way(start: Quaternion, end: Quaternion) -> tuple[Quaternion, float]:
    """Return `end` with the sign of the short way from `start`, and half of the angle there."""
    x, y, z, w = start
    p, q, r, s = end
    if x * p + y * q + z * r + w * s < 0.0:
        p, q, r, s = end = (-p, -q, -r, -s)
    step = math.dist(start, end)
    middle = math.hypot(x + p, y + q, z + r, w + s)
    return end, 2.0 * math.atan2(step, middle)


def slerp(start: Quaternion, end: Quaternion, share: float) -> Quaternion:
    """Return the rotation on the short way between two."""
    end, half_angle = _short_way(start, end)
    half_angle = max(half_angle, SMALLEST_HALF_ANGLE)
    along = share * half_angle
    scale = 1.0 / math.sin(half_angle)
    first, second = math.sin(half_angle - along) * scale, math.sin(along) * scale
    x, y, z, w = (first * a + second * b for a, b in zip(start, end, strict=True))
    return x, y, z, w


def between(start: Waypoint, end: Waypoint, t_ns: int) -> tuple[Vector, Quaternion]:
    """Return the pose at a time between two rows: lerp and slerp, w >= 0."""
    span = end.t_ns - start.t_ns
    share = (t_ns - start.t_ns) / span if span else 0.0
    rest = 1.0 - share
    x, y, z = (rest * a + share * b for a, b in zip(start.position, end.position, strict=True))
    return (x, y, z), with_positive_w(slerp(start.quaternion, end.quaternion, share))


def with_positive_w(quaternion: Quaternion) -> Quaternion:
    """Return the same rotation with w >= 0."""
    x, y, z, w = quaternion
    sign = math.copysign(1.0, w)
    return sign * x, sign * y, sign * z, sign * w


def velocity_between(start: Waypoint, end: Waypoint, t_ns: int) -> Twist6:
    """Return the velocity at a time between two rows, in the body: theirs, or the derivative."""
    span = end.t_ns - start.t_ns
    if start.twist is not None and end.twist is not None:
        share = (t_ns - start.t_ns) / span
        a, b, c, d, e, f = (
            (1.0 - share) * one + share * other
            for one, other in zip(start.twist, end.twist, strict=True)
        )
        return a, b, c, d, e, f
    seconds = span * 1e-9
    v_x, v_y, v_z = ((b - a) / seconds for a, b in zip(start.position, end.position, strict=True))
    a, b, c, d, e, f, g, h, i = rotation_rows(*between(start, end, t_ns)[1])
    linear = (
        a * v_x + d * v_y + g * v_z,
        b * v_x + e * v_y + h * v_z,
        c * v_x + f * v_y + i * v_z,
    )
    goal, half_angle = _short_way(start.quaternion, end.quaternion)
    x, y, z, w = start.quaternion
    p, q, r, s = goal
    # The vector part of the turn from start to end, in the start's frame.
    turn = (
        w * p - s * x - (y * r - z * q),
        w * q - s * y - (z * p - x * r),
        w * r - s * z - (x * q - y * p),
    )
    length = math.hypot(*turn)
    scale = (2.0 * half_angle / length if length > 1e-150 else 2.0) / seconds
    return (*linear, scale * turn[0], scale * turn[1], scale * turn[2])
