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
"""Pure pursuit: a driver that follows a path and its times, beside it if it is told to."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from nurec_ros.driving.recorded_path import thinned

Array = NDArray[np.float64]

SECOND = 1_000_000_000
SPACING_M = 0.5
# How far ahead the path is aimed at: so many seconds of driving, within these bounds.
AHEAD_S, NEAREST_M, FARTHEST_M = 0.5, 2.5, 12.0
# The speed leads to where the recording is after this time.
MEET_S = 0.5
# Who lags catches up: by so much faster than the recording is now, and was there, and then braking
# in time for slower places. Through where the recording only waited it may drive at this speed.
FASTER, THROUGH, BRAKING = 2.0, 2.0, 2.0
STILL = 0.05
SEARCHED_M = 20.0
# Whoever moves farther at once has jumped, back onto the recording or somewhere near it.
JUMP_M = 5.0


class PurePursuit:
    """
    Follows positions (N, 3) at times (N,), `offset_m` to the left of them.

    It aims at a point of the path ahead, and steers the rear axle on the arc through it. It is
    where the recording was at the time: it waits where that waited, and where it lags it catches
    up. It never reverses. Beyond its ends the path goes on straight, at its last speed.
    """

    def __init__(
        self,
        times_ns: NDArray[np.int64],
        positions: Array,
        *,
        wheelbase_m: float = 2.85,
        offset_m: float = 0.0,
    ) -> None:
        self.wheelbase_m = wheelbase_m
        self.offset_m = offset_m
        xy = np.asarray(positions, dtype=np.float64).reshape(-1, 3)[:, :2]
        kept = thinned(xy, SPACING_M)
        self._xy = xy[kept]
        steps = np.hypot(*np.diff(self._xy, axis=0).T)
        self._s = np.concatenate(([0.0], np.cumsum(steps)))
        self._near_m: float | None = None
        self._seen = (0, 0.0, 0.0)
        if not self.length_m:
            return
        self._along = np.diff(self._xy, axis=0) / steps[:, np.newaxis]
        # Along each step; the first and the last go on.
        self._from_m, self._to_m = np.zeros_like(steps), steps.copy()
        self._from_m[0], self._to_m[-1] = -math.inf, math.inf
        times_ns = np.asarray(times_ns, dtype=np.int64)
        self._begin_ns = int(times_ns[0])
        self._times_s = (times_ns - times_ns[0]) * 1e-9
        # Where each sample is on the way; what stood or rolled back a little has stood.
        last = len(steps) - 1
        rows = np.minimum(np.searchsorted(kept, np.arange(len(xy)), side='right') - 1, last)
        ahead = np.einsum('ij,ij->i', xy - self._xy[rows], self._along[rows])
        ahead = np.where(rows < last, np.minimum(ahead, steps[rows]), ahead)
        self._places = np.maximum.accumulate(np.maximum(self._s[rows] + ahead, 0.0))
        seconds = np.maximum(np.diff(self._times_s[kept]), 1e-3)
        self._limits = np.maximum(steps / seconds, THROUGH) + FASTER
        for row in range(last - 1, -1, -1):
            before = math.sqrt(self._limits[row + 1] ** 2 + 2.0 * BRAKING * steps[row])
            self._limits[row] = min(self._limits[row], before)

    @property
    def length_m(self) -> float:
        """Return the length of the path; 0 where there is nothing to follow, as it stands."""
        return float(self._s[-1])

    @property
    def near_m(self) -> float:
        """Return the place of the path that was nearest at the last command."""
        return self._near_m or 0.0

    def command(
        self, t_ns: int, x: float, y: float, yaw: float, speed: float
    ) -> tuple[float, float]:
        """Return the speed (m/s) and the steering angle (rad) to drive with, from a pose on."""
        if not self.length_m:
            return 0.0, 0.0
        seconds = (t_ns - self._begin_ns) * 1e-9
        near_m = self._nearest(t_ns, x, y, yaw)
        ahead_m = min(max(AHEAD_S * abs(speed), NEAREST_M), FARTHEST_M)
        goal_x, goal_y = self._at(near_m + ahead_m)
        c, s = math.cos(yaw), math.sin(yaw)
        to_x, to_y = goal_x - x, goal_y - y
        ahead, aside = c * to_x + s * to_y, c * to_y - s * to_x
        square = ahead * ahead + aside * aside
        curvature = 2.0 * aside / square if square > 1e-6 else 0.0
        return self._speed(seconds, near_m), math.atan(curvature * self.wheelbase_m)

    def _speed(self, seconds: float, near_m: float) -> float:
        place_m, next_m = self._place(seconds), self._place(seconds + MEET_S)
        wanted = (next_m - place_m + min(place_m - near_m, FASTER * MEET_S)) / MEET_S
        wanted = min(wanted, float(self._limits[self._row(near_m)]))
        return wanted if wanted >= STILL else 0.0

    def _place(self, seconds: float) -> float:
        over_s = max(seconds - float(self._times_s[-1]), 0.0)
        place_m = float(np.interp(seconds, self._times_s, self._places))
        if over_s:
            before_m = float(np.interp(self._times_s[-1] - MEET_S, self._times_s, self._places))
            place_m += over_s * (place_m - before_m) / MEET_S
        return place_m

    def _nearest(self, t_ns: int, x: float, y: float, yaw: float) -> float:
        """Return the place that is nearest, along the path from the one before on."""
        before_ns, before_x, before_y = self._seen
        self._seen = (t_ns, x, y)
        # Of where the offset leads, the point on the path itself.
        at = (x + self.offset_m * math.sin(yaw), y - self.offset_m * math.cos(yaw))
        jumped = t_ns < before_ns or math.hypot(x - before_x, y - before_y) > JUMP_M
        if self._near_m is None or jumped:
            near_m, apart_m = self._search(at, self._place((t_ns - self._begin_ns) * 1e-9))
            if apart_m > JUMP_M:
                near_m, _ = self._search(at, None)
        else:
            near_m, _ = self._search(at, self._near_m)
        self._near_m = near_m
        return near_m

    def _search(self, at: tuple[float, float], from_m: float | None) -> tuple[float, float]:
        """Return the place that is nearest and how near, around a place or on all of the path."""
        first, last = 0, len(self._along)
        if from_m is not None:
            first = self._row(from_m - SEARCHED_M / 4)
            last = self._row(from_m + SEARCHED_M) + 1
        start, along = self._xy[first:last], self._along[first:last]
        share = np.einsum('ij,ij->i', at - start, along)
        share = np.clip(share, self._from_m[first:last], self._to_m[first:last])
        apart = start + share[:, np.newaxis] * along - at
        squares = np.einsum('ij,ij->i', apart, apart)
        best = int(squares.argmin())
        return float(self._s[first + best] + share[best]), math.sqrt(squares[best])

    def _row(self, s_m: float) -> int:
        """Return which step of the path a place is on; beyond the ends the first or the last."""
        return min(max(int(np.searchsorted(self._s, s_m)) - 1, 0), len(self._s) - 2)

    def _at(self, s_m: float) -> tuple[float, float]:
        """Return the point to aim at; beyond its ends the path goes on straight."""
        row = self._row(s_m)
        along = self._along[row]
        x, y = self._xy[row] + along * (s_m - self._s[row])
        return float(x - self.offset_m * along[1]), float(y + self.offset_m * along[0])
