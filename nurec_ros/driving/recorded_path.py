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
The recorded path: the ground under a planar motion, and what a deviation is measured against.

The path is the recorded ego's, thinned in the plane. A place on it is its arc length `s` in
metres; before 0 and beyond the length the path goes on straight. Between two samples height and
rotation are those of the recording: lerp and slerp, of timed poses one by one, which is many times
faster than with arrays of one element.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
import math

import numpy as np
from numpy.typing import NDArray
from nurec_ros.poses import Quaternion, rotation_rows, SMALLEST_HALF_ANGLE, Vector
from nurec_ros.scenario.trajectory import Trajectory

Twist6 = tuple[float, float, float, float, float, float]
STANDING: Twist6 = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
Array = NDArray[np.float64]
# Samples nearer to one another say more about noise than about the way.
SPACING_M = 0.1
# A shorter path has no direction: it is a point.
SHORTEST_M = 1.0
# How far along the path the nearest point may be from the one before.
WINDOW_M = 10.0
# Points that are equally near but for rounding, as where a path was driven to and fro.
_EQUAL_M2 = 1e-12


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
    position, quaternion = _blended(start, end, (t_ns - start.t_ns) / span if span else 0.0)
    return position, with_positive_w(quaternion)


def _blended(start: Waypoint, end: Waypoint, share: float) -> tuple[Vector, Quaternion]:
    rest = 1.0 - share
    x, y, z = (rest * a + share * b for a, b in zip(start.position, end.position, strict=True))
    return (x, y, z), slerp(start.quaternion, end.quaternion, share)


def with_positive_w(quaternion: Quaternion) -> Quaternion:
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


@dataclass(frozen=True, slots=True)
class Deviation:
    """Where a pose is beside the recorded path: m and degrees, both positive to the left."""

    lateral_m: float
    heading_deg: float


class RecordedPath:
    """The way of a recorded ego by arc length; `is_point` where it was recorded while it stood."""

    def __init__(self, ego: Trajectory) -> None:
        kept = thinned(ego.positions, SPACING_M)
        steps = np.hypot(*np.diff(ego.positions[kept, :2], axis=0).T)
        lengths = np.concatenate(([0.0], np.cumsum(steps)))
        self.is_point = bool(lengths[-1] < SHORTEST_M)
        if self.is_point:
            # One step, which leads nowhere.
            kept, steps, lengths = kept[:1] * 2, np.zeros(1), np.zeros(2)
        positions = ego.positions[kept]
        self.length_m = float(lengths[-1])
        self._s: list[float] = lengths.tolist()
        self._rows: list[Waypoint] = [
            Waypoint(time_ns, (*position,), (*quaternion,))
            for time_ns, position, quaternion in zip(
                ego.times_ns[kept].tolist(),
                positions.tolist(),
                ego.quaternions[kept].tolist(),
                strict=True,
            )
        ]
        directions = np.diff(positions[:, :2], axis=0) / np.maximum(steps, 1e-9)[:, np.newaxis]
        self._x, self._y = positions[:-1, 0].copy(), positions[:-1, 1].copy()
        self._along_x, self._along_y = directions[:, 0].copy(), directions[:, 1].copy()
        self._from_m, self._to_m = lengths[:-1].copy(), lengths[1:].copy()
        if not self.is_point:
            self._from_m[0], self._to_m[-1] = -math.inf, math.inf
        self._starts = lengths[:-1]
        self._slopes = self._end_slopes(positions[:, 2])
        self._asked: tuple[float, float, float | None] | None = None
        self._answer = 0.0
        self._posed_m = 0.0
        self._posed = self._pose(0.0)

    def at_time(self, t_ns: int) -> float:
        start_ns = self._rows[0].t_ns
        return float(
            np.interp(t_ns - start_ns, [row.t_ns - start_ns for row in self._rows], self._s)
        )

    def nearest(self, x: float, y: float, near_m: float | None = None) -> float:
        """
        Return the place that is nearest to a point, within 10 m along the path of `near_m`.

        Of the whole path where that is None. Of places that are equally near, it is the one that
        lies nearest along the path.
        """
        # Pose, deviation and collisions of one moment ask for the same.
        asked = (x, y, near_m)
        if asked != self._asked:
            self._answer, self._asked = self._search(x, y, near_m), asked
        return self._answer

    def _search(self, x: float, y: float, near_m: float | None) -> float:
        last = len(self._starts)
        if near_m is None:
            places, squares = self._beside(slice(last), x, y)
            return float(places[squares.argmin()])
        low_m, high_m = near_m - WINDOW_M, near_m + WINDOW_M
        first = min(max(bisect_right(self._s, low_m) - 1, 0), last - 1)
        last = min(max(bisect_right(self._s, high_m), first + 1), last)
        places, squares = self._beside(slice(first, last), x, y, (low_m, high_m))
        best = int(squares.argmin())
        equal = np.flatnonzero(squares <= squares[best] + _EQUAL_M2)
        if len(equal) > 1:
            best = int(equal[np.abs(places[equal] - near_m).argmin()])
        return float(places[best])

    def _beside(
        self,
        part: slice,
        x: float | Array,
        y: float | Array,
        window: tuple[float, float] | None = None,
    ) -> tuple[Array, Array]:
        """Return the places on some steps that are nearest to points, and how far off, squared."""
        starts, along_x, along_y = self._starts[part], self._along_x[part], self._along_y[part]
        to_x, to_y = x - self._x[part], y - self._y[part]
        along = to_x * along_x + to_y * along_y
        places = np.minimum(np.maximum(along + starts, self._from_m[part]), self._to_m[part])
        if window is not None:
            places = np.minimum(np.maximum(places, window[0]), window[1])
        along = places - starts
        to_x -= along * along_x
        to_y -= along * along_y
        return places, to_x * to_x + to_y * to_y

    def nearest_along(self, xs: Array, ys: Array, near_m: float) -> list[float]:
        """
        Return what `nearest` does of points one after the other, each from the place before on.

        Many at once cost little more than one. Only as far as that is certain: the list may be
        shorter.
        """
        # Wide enough for all of them, so that none is at its edge.
        reach_m = 2.0 * WINDOW_M
        first = max(bisect_right(self._s, near_m - reach_m) - 1, 0)
        last = min(bisect_right(self._s, near_m + reach_m), len(self._starts))
        if first >= last:
            return []
        part = slice(first, last)
        places, squares = self._beside(part, xs[:, np.newaxis], ys[:, np.newaxis])
        rows, best = np.arange(len(xs)), squares.argmin(axis=1)
        found = places[rows, best]
        # As near but for rounding, and elsewhere.
        equal = squares <= squares[rows, best][:, np.newaxis] + _EQUAL_M2
        unclear = (equal & (places != found[:, np.newaxis])).any(axis=1).tolist()
        certain: list[float] = []
        centre_m = near_m
        for place, doubtful in zip(found.tolist(), unclear, strict=True):
            if doubtful or abs(place - near_m) >= WINDOW_M or abs(place - centre_m) >= WINDOW_M:
                break
            certain.append(place)
            near_m = place
        return certain

    def pose(self, s_m: float) -> tuple[Vector, Quaternion]:
        """Return the recorded pose at a place; beyond the ends its rotation is that of the end."""
        if s_m != self._posed_m:
            self._posed, self._posed_m = self._pose(s_m), s_m
        return self._posed

    def _pose(self, s_m: float) -> tuple[Vector, Quaternion]:
        rows, lengths = self._rows, self._s
        if s_m <= 0.0 or s_m >= self.length_m:
            end, slope = (0, self._slopes[0]) if s_m <= 0.0 else (-1, self._slopes[1])
            beyond = s_m - lengths[end]
            x, y, z = rows[end].position
            step = (beyond * float(self._along_x[end]), beyond * float(self._along_y[end]))
            return (x + step[0], y + step[1], z + beyond * slope), rows[end].quaternion
        after = bisect_right(lengths, s_m)
        before = after - 1
        share = (s_m - lengths[before]) / (lengths[after] - lengths[before])
        return _blended(rows[before], rows[after], share)

    def on_ground(self, x: float, y: float, yaw: float, s_m: float) -> tuple[Vector, Quaternion]:
        """
        Return the pose of a body that stands at x, y, heading for yaw, on the ground at a place.

        Its height is the recorded one, its roll and pitch those that the recorded ground has in
        its heading: of the recorded rig, the axis that points up is taken.
        """
        (_, _, z), quaternion = self.pose(s_m)
        return (x, y, z), _standing(quaternion, yaw)

    def deviation(self, x: float, y: float, yaw: float, s_m: float) -> Deviation:
        """Return how a pose lies beside a place, by the recorded heading there."""
        (at_x, at_y, _), quaternion = self.pose(s_m)
        heading = yaw_of(quaternion)
        to_x, to_y = x - at_x, y - at_y
        left = math.cos(heading) * to_y - math.sin(heading) * to_x
        turned = math.remainder(yaw - heading, math.tau)
        return Deviation(math.copysign(math.hypot(to_x, to_y), left), math.degrees(turned))

    def _end_slopes(self, heights: Array) -> tuple[float, float]:
        """Return the slopes over the first and the last metre: less than that is noise."""
        if self.is_point:
            return 0.0, 0.0
        lengths = np.array(self._s)
        after = int(np.searchsorted(lengths, SHORTEST_M))
        before = int(np.searchsorted(lengths, lengths[-1] - SHORTEST_M, side='right')) - 1
        return (
            float((heights[after] - heights[0]) / lengths[after]),
            float((heights[-1] - heights[before]) / (lengths[-1] - lengths[before])),
        )


def yaw_of(quaternion: Quaternion) -> float:
    """Return the heading of a rotation: the angle of its x axis in the plane."""
    rows = rotation_rows(*quaternion)
    return math.atan2(rows[3], rows[0])


def _standing(quaternion: Quaternion, yaw: float) -> Quaternion:
    """Return the rotation with that heading whose z axis is that of another rotation."""
    x, y, z, w = quaternion
    rows = rotation_rows(x, y, z, w)
    # Turned about the z axis that they share, by the angle between both x axes.
    up_x, up_y, up_z = rows[2], rows[5], rows[8]
    forward = (math.cos(yaw), math.sin(yaw))
    rise = -(up_x * forward[0] + up_y * forward[1]) / up_z if up_z > 1e-6 else 0.0
    ahead = forward[0] * rows[0] + forward[1] * rows[3] + rise * rows[6]
    aside = forward[0] * rows[1] + forward[1] * rows[4] + rise * rows[7]
    half = 0.5 * math.atan2(aside, ahead)
    c, s = math.cos(half), math.sin(half)
    return with_positive_w((x * c + y * s, y * c - x * s, z * c + w * s, w * c - z * s))


def thinned(positions: Array, spacing_m: float) -> list[int]:
    """Return the rows of positions (N, 2 or 3) that lie apart in the plane, the first always."""
    kept: list[int] = []
    at: list[float] = []
    for row, xy in enumerate(positions[:, :2].tolist()):
        if not kept or math.dist(xy, at) >= spacing_m:
            kept.append(row)
            at = xy
    return kept
