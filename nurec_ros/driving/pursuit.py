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
"""Pure pursuit: a driver that follows a path, beside it if it is told to."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SPACING_M = 0.5
# How far ahead the path is aimed at: so many seconds of driving, within these bounds.
AHEAD_S, NEAREST_M, FARTHEST_M = 0.5, 2.5, 12.0
# The speed is that of the recording a little ahead, so that it brakes in time.
SPEED_AHEAD_S = 0.2
# Where the recording stood the follower does not: it follows the way and not the time.
SLOWEST = 1.0
SEARCHED_M = 20.0


class PurePursuit:
    """
    Follows positions (N, 3) at times (N,), `offset_m` to the left of them.

    It aims at a point of the path ahead, and steers the rear axle on the arc through it. Speeds
    are those of the path's times.
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
        xy = np.asarray(positions, dtype=np.float64)[:, :2]
        kept = [0]
        for row in range(1, len(xy)):
            if math.dist(xy[row], xy[kept[-1]]) >= SPACING_M:
                kept.append(row)
        self._xy = xy[kept]
        steps = np.hypot(*np.diff(self._xy, axis=0).T)
        self._s = np.concatenate(([0.0], np.cumsum(steps)))
        seconds = np.diff(np.asarray(times_ns, dtype=np.int64)[kept]) * 1e-9
        self._speeds = np.maximum(steps / np.maximum(seconds, 1e-3), SLOWEST)
        self._near_m: float | None = None

    @property
    def length_m(self) -> float:
        """Return how long the path is."""
        return float(self._s[-1])

    def restart(self) -> None:
        """Look for the nearest point on all of the path: the ego has jumped."""
        self._near_m = None

    def command(self, x: float, y: float, yaw: float, speed: float) -> tuple[float, float]:
        """Return the speed (m/s) and the steering angle (rad) to drive with, from a pose on."""
        if len(self._s) < 2:
            return 0.0, 0.0
        near_m = self._nearest(x, y, yaw)
        ahead_m = min(max(AHEAD_S * abs(speed), NEAREST_M), FARTHEST_M)
        goal_x, goal_y = self._at(near_m + ahead_m)
        c, s = math.cos(yaw), math.sin(yaw)
        to_x, to_y = goal_x - x, goal_y - y
        ahead, aside = c * to_x + s * to_y, c * to_y - s * to_x
        square = ahead * ahead + aside * aside
        curvature = 2.0 * aside / square if square > 1e-6 else 0.0
        place = near_m + SPEED_AHEAD_S * abs(speed)
        row = min(max(int(np.searchsorted(self._s, place)) - 1, 0), len(self._speeds) - 1)
        return float(self._speeds[row]), math.atan(curvature * self.wheelbase_m)

    def _nearest(self, x: float, y: float, yaw: float) -> float:
        """Return the place that is nearest, along the path from the one before on."""
        first, last = 0, len(self._xy)
        if self._near_m is not None:
            first, last = np.searchsorted(
                self._s, (self._near_m - SEARCHED_M / 4, self._near_m + SEARCHED_M)
            ).tolist()
            first = max(min(first, len(self._xy) - 2), 0)
            last = max(last, first + 2)
        # Of where the offset leads, the point on the path itself.
        at = (x + self.offset_m * math.sin(yaw), y - self.offset_m * math.cos(yaw))
        start, end = self._xy[first:last][:-1], self._xy[first:last][1:]
        step = end - start
        share = np.einsum('ij,ij->i', at - start, step) / np.einsum('ij,ij->i', step, step)
        share = np.clip(share, 0.0, 1.0)
        apart = start + share[:, np.newaxis] * step - at
        best = int(np.einsum('ij,ij->i', apart, apart).argmin())
        low, high = self._s[first + best], self._s[first + best + 1]
        self._near_m = float(low + share[best] * (high - low))
        return self._near_m

    def _at(self, s_m: float) -> tuple[float, float]:
        """Return the point to aim at; beyond its end the path goes on straight."""
        row = min(max(int(np.searchsorted(self._s, s_m)) - 1, 0), len(self._s) - 2)
        step = self._xy[row + 1] - self._xy[row]
        length = self._s[row + 1] - self._s[row]
        along = step / length
        x, y = self._xy[row] + along * (s_m - self._s[row])
        return float(x - self.offset_m * along[1]), float(y + self.offset_m * along[0])
