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
"""How everybody moves: a speed for each place of the street, and the poses that come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
import math
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from nurec_ros.example.street import CROSSING, KERB, KERB_HEIGHT, Road
from nurec_ros.poses import quaternions_of

Motion: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.float64]]

MOVABLE = 'DYNAMIC|CONTROLLABLE'
FIXED = 'NONE'
# The recording's own clock of boxes: near 10 Hz, unlike that of the poses.
SPIN_US = 99_754
# The boxes' clock begins before the poses' and ends after it: nobody appears or vanishes in view.
FIRST_SPIN_US = -31_000
SHORTEST_TRACK = 4  # poses

CROSSING_SPEED = 4.0
CURVE_SPEED = 8.3
CURVE_RADIUS_LIMIT = 150.0  # curves tighter than this are driven at CURVE_SPEED, m
ACCELERATION = 1.8
STEP = 0.1


@dataclass(frozen=True, slots=True)
class Pace:
    """
    Distance along a road as a function of time, both monotone, for everybody who drives there.

    `seconds` counts from the road's begin; vehicles are told apart by when they began.
    """

    s: NDArray[np.float64]
    seconds: NDArray[np.float64]

    def distance(self, seconds: ArrayLike) -> NDArray[np.float64]:
        """Return s at seconds since the road's begin; NaN before and after the road."""
        return np.interp(
            np.asarray(seconds, dtype=np.float64), self.seconds, self.s, left=np.nan, right=np.nan
        )

    def time(self, s: float) -> float:
        """Return the seconds since the road's begin at s."""
        return float(np.interp(s, self.s, self.seconds))


def make_pace(road: Road, cruise: float) -> Pace:
    """
    Let a driver cruise at `cruise` m/s, slowing down in time for curves and for the crossing.

    No acceleration exceeds 1.8 m/s^2, in either direction of travel: v^2 changes by at most
    2 a ds, which a pass forwards and one backwards assure.
    """
    count = round(road.length / STEP) + 1
    s = np.linspace(0.0, road.length, count)
    square = np.full(count, cruise**2)
    for (begin, *_), segment in zip(road.starts.tolist(), road.segments, strict=True):
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
    return Pace(s, np.concatenate([[0.0], np.cumsum(steps)]))


def pose_times(start_us: int, duration_s: float, jitter: Callable[[], float]) -> NDArray[np.int64]:
    """
    Return the pose times in microseconds: the first off the grid, then 10 Hz with the jitter.

    `jitter` returns -1 to 1 (of 3 ms).
    """
    count = round(10 * duration_s) + 2
    shifts = np.rint(3000 * np.array([jitter() for _ in range(count)])).astype(np.int64)
    nominal = start_us + 37_000 + 100_000 * np.arange(count - 1)
    return np.concatenate([[start_us], nominal + shifts[:-1]])


@dataclass(frozen=True, slots=True)
class Actor:
    """
    A road user. `along` and `across` give s and t (m) at seconds since the drive's begin.

    `dims` is length, width, height in metres, `yaw` the heading relative to the road's. `seen` is
    the distance (m) at which the ego's sensors have it; `glimpse` keeps a single pose of it.
    `kerb` is the |t| beyond which it stands on the pavement.
    """

    label: str
    dims: tuple[float, float, float]
    road: Road
    along: Motion
    across: Motion
    yaw: float = 0.0
    flags: str = MOVABLE
    seen: float = 80.0
    glimpse: bool = False
    kerb: float = KERB

    def poses(self, seconds: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """
        Return x y z qx qy qz qw (N, 7) of the box's centre in the map, and if it is on its road.

        The box stands on its bottom, on the road's surface or the pavement's.
        """
        s, t = self.along(seconds), self.across(seconds)
        there = np.isfinite(s) & (s >= 0) & (s <= self.road.length)
        s = np.where(there, s, 0.0)
        ground, rotation = self.road.standing(s, t, self.yaw)
        centre = ground + rotation[:, :, 2] * (self.dims[2] / 2)
        centre[:, 2] += np.where(np.abs(t) > self.kerb, KERB_HEIGHT, 0.0)
        return np.hstack([centre, quaternions_of(rotation)]), there


@dataclass(frozen=True, slots=True)
class Track:
    """What `sequence_tracks.json` keeps of a road user; times in microseconds, poses (K, 7)."""

    label: str
    dims: tuple[float, float, float]
    flags: str
    times_us: NDArray[np.int64]
    poses: NDArray[np.float64]


def still(value: float) -> Motion:
    return lambda seconds: np.full(len(seconds), value)


def steady(at_zero: float, speed: float) -> Motion:
    """Return a motion at `speed` m/s that is at `at_zero` when the drive begins."""
    return lambda seconds: at_zero + speed * seconds


def halting(stop: float, speed: float, seconds_left: float) -> Motion:
    """Return a motion towards lower s that brakes evenly from `speed` and halts at `stop`."""
    brake = speed / seconds_left
    return lambda seconds: stop + brake / 2 * np.maximum(seconds_left - seconds, 0.0) ** 2


def spin_times(start_us: int, end_us: int, jitter: Callable[[], float]) -> NDArray[np.int64]:
    """Return the times (us) at which boxes are seen; `jitter` returns -1 to 1 (of 2 ms)."""
    count = math.ceil((end_us - start_us - FIRST_SPIN_US) / SPIN_US) + 2
    times = [start_us + FIRST_SPIN_US + k * SPIN_US + round(2000 * jitter()) for k in range(count)]
    return np.array([t for t in times if t < end_us + SPIN_US], dtype=np.int64)


def record(
    actors: Iterable[Actor],
    spins_us: NDArray[np.int64],
    start_us: int,
    ego: NDArray[np.float64],
) -> list[Track]:
    """
    Keep of each actor the longest run of moments at which the ego's sensors have it.

    `ego` (N, 3) are the ego's positions at the moments. Who is seen too briefly leaves no track.
    """
    seconds = (spins_us - start_us) / 1e6
    tracks = []
    for actor in actors:
        poses, there = actor.poses(seconds)
        seen = there & (np.linalg.norm(poses[:, :2] - ego[:, :2], axis=1) <= actor.seen)
        begin, end = _longest_run(seen)
        if end - begin < SHORTEST_TRACK:
            continue
        if actor.glimpse:
            begin = (begin + end) // 2
            end = begin + 1
        kept = poses[begin:end].round(9) + 0.0
        tracks.append(Track(actor.label, actor.dims, actor.flags, spins_us[begin:end], kept))
    return tracks


def _longest_run(flags: NDArray[np.bool_]) -> tuple[int, int]:
    """Return begin and end (exclusive) of the longest run of true values; 0, 0 without any."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    runs = edges.reshape(-1, 2)
    if not len(runs):
        return 0, 0
    begin, end = runs[np.argmax(runs[:, 1] - runs[:, 0])]
    return int(begin), int(end)
