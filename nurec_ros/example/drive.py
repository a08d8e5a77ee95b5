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
"""How the traffic drives: one speed for each place of the street, and the ego's poses from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from nurec_ros.example.road import CROSSING, LANE, Road

CROSSING_SPEED = 4.0
CURVE_SPEED = 8.3
CURVE_RADIUS_LIMIT = 150.0  # curves tighter than this are driven at CURVE_SPEED, m
ACCELERATION = 1.8
STEP = 0.1


@dataclass(frozen=True, slots=True)
class Progress:
    """
    Distance along a road as a function of time, both monotone, for everybody who drives there.

    `seconds` counts from the road's begin; vehicles are told apart by when they began.
    """

    s: NDArray[np.float64]
    seconds: NDArray[np.float64]

    @property
    def duration(self) -> float:
        """Seconds from the road's one end to the other."""
        return float(self.seconds[-1])

    def distance(self, seconds: ArrayLike) -> NDArray[np.float64]:
        """Give s at seconds since the road's begin; NaN before and after the road."""
        return np.interp(
            np.asarray(seconds, dtype=np.float64), self.seconds, self.s, left=np.nan, right=np.nan
        )

    def time(self, s: float) -> float:
        """Give the seconds since the road's begin at s."""
        return float(np.interp(s, self.s, self.seconds))


def make_progress(road: Road, cruise: float) -> Progress:
    """
    Let a driver cruise at `cruise` m/s, slowing down in time for curves and for the crossing.

    No acceleration exceeds 1.8 m/s^2, in either direction of travel: v^2 changes by at most
    2 a ds, which a pass forwards and one backwards assure.
    """
    count = round(road.length / STEP) + 1
    s = np.linspace(0.0, road.length, count)
    square = np.full(count, cruise**2)
    for (begin, *_), segment in zip(road.starts(), road.segments, strict=True):
        if abs(segment.curvature) > 1 / CURVE_RADIUS_LIMIT:
            inside = (s >= begin) & (s <= begin + segment.length)
            square[inside] = np.minimum(square[inside], CURVE_SPEED**2)
    square[np.abs(s - CROSSING) < 1.5] = CROSSING_SPEED**2
    change = 2 * ACCELERATION * (s[1] - s[0])
    # min over all places of (v^2 there + change * steps away): a running minimum of each side.
    ramp = change * np.arange(count)
    ahead = np.minimum.accumulate(square - ramp) + ramp
    behind = (np.minimum.accumulate((square + ramp)[::-1]))[::-1] - ramp
    speed = np.sqrt(np.minimum(ahead, behind))
    steps = (s[1] - s[0]) * 2 / (speed[1:] + speed[:-1])
    return Progress(s, np.concatenate([[0.0], np.cumsum(steps)]))


def street_length(duration_s: float, cruise: float) -> float:
    """Give a length of street that suffices for a drive of `duration_s` and for those ahead."""
    return duration_s * cruise + 200.0


def pose_times(start_us: int, duration_s: float, jitter: Sequence[float]) -> NDArray[np.int64]:
    """
    Give the pose times in microseconds: the first off the grid, then 10 Hz with the jitter given.

    `jitter` holds numbers from -1 to 1, one for each pose; 1 is 3 ms.
    """
    count = pose_count(duration_s)
    nominal = start_us + 37_000 + 100_000 * np.arange(count - 1)
    shifted = nominal + np.rint(3000 * np.asarray(jitter[: count - 1])).astype(np.int64)
    return np.concatenate([[start_us], shifted])


def pose_count(duration_s: float) -> int:
    """Give how many poses a drive has: 202 for 20 s."""
    return round(10 * duration_s) + 2


def ego_poses(road: Road, s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give T_map_rig (N, 4, 4) of a car in the right lane whose rear axle is at s (N,)."""
    poses = np.tile(np.eye(4), (len(s), 1, 1))
    poses[:, :3, :3] = road.rotation(s)
    poses[:, :3, 3] = road.place(s, -LANE)
    return poses
