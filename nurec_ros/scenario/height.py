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
Heights of tracks without the jitter of their annotation.

Off by default, because the renderer shows the raw poses. Single poses far off their neighbours are
put back, a low-pass in time takes the noise, a limit of the grade takes what is left of jumps: a
car that stands keeps one height, one that drives climbs no steeper than a street does. The
horizontal motion and the rotation stay untouched.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from nurec_ros.scenario.tracks import Tracks
from nurec_ros.scenario.trajectory import PoseTable

Array = NDArray[np.float64]

HALF_WINDOW_S = 0.5
# The steepest streets on Earth have 0.35.
STEEPEST = 0.35
# A height that leaves the median of this many poses by more than the street's grade and this is
# one bad pose, in metres.
_NEIGHBOURS = 5
_FAR_OFF = 0.1


def with_smooth_heights(tracks: Tracks) -> Tracks:
    """Return the same tracks with smoothed heights."""
    samples = tracks.samples
    positions = np.array(samples.positions)
    ends = np.cumsum(tracks.counts)
    for begin, end in zip((ends - tracks.counts).tolist(), ends.tolist(), strict=True):
        seconds = (samples.times_ns[begin:end] - samples.times_ns[begin]) * 1e-9
        positions[begin:end, 2] = smooth_heights(seconds, positions[begin:end])
    return replace(tracks, samples=PoseTable(samples.times_ns, positions, samples.quaternions))


def smooth_heights(seconds: Array, positions: Array) -> Array:
    """Return the heights (N,) of positions (N, 3) at rising seconds (N,), smoothed."""
    way = np.zeros(len(seconds))
    steps = np.diff(positions[:, :2], axis=0)
    np.cumsum(np.hypot(steps[:, 0], steps[:, 1]), out=way[1:])
    heights = positions[:, 2]
    if len(seconds) >= 3:
        heights = _mean_around(seconds, _without_outliers(way, heights))
    return _grade_limited(way, heights)


def _without_outliers(way: Array, heights: Array) -> Array:
    """Return the heights with single ones far off their neighbours' median put back to it."""
    # Here, as its import takes longer than many a load, and few ask for it.
    from scipy import ndimage

    # Mirrored, the last pose counts once among its neighbours and cannot outvote them.
    median = ndimage.median_filter(heights, size=_NEIGHBOURS, mode='mirror')
    first = np.maximum(np.arange(len(way)) - _NEIGHBOURS // 2, 0)
    last = np.minimum(np.arange(len(way)) + _NEIGHBOURS // 2, len(way) - 1)
    allowed = STEEPEST * (way[last] - way[first]) + _FAR_OFF
    result: Array = np.where(np.abs(heights - median) > allowed, median, heights)
    return result


def _mean_around(seconds: Array, heights: Array) -> Array:
    """Return the mean of the line through the heights over a window around each of them."""
    area = np.zeros(len(seconds))
    np.cumsum(0.5 * (heights[1:] + heights[:-1]) * np.diff(seconds), out=area[1:])
    # A window that shrinks to stay symmetric delays nothing, and keeps both ends.
    half = np.minimum(HALF_WINDOW_S, np.minimum(seconds - seconds[0], seconds[-1] - seconds))

    def area_until(t: Array) -> Array:
        before = np.clip(np.searchsorted(seconds, t, side='right') - 1, 0, len(seconds) - 2)
        rest = t - seconds[before]
        slope = (heights[before + 1] - heights[before]) / (seconds[before + 1] - seconds[before])
        result: Array = area[before] + rest * (heights[before] + 0.5 * slope * rest)
        return result

    inner = half > 0.0
    result = np.array(heights)
    result[inner] = (area_until(seconds + half) - area_until(seconds - half))[inner]
    result[inner] /= 2.0 * half[inner]
    return result


def _grade_limited(way: Array, heights: Array) -> Array:
    """
    Return the mean of the highest lower and the lowest upper bound that climb at most STEEPEST.

    Both bounds are as steep as that at most, and so is their mean.
    """
    climb = STEEPEST * way
    upper = np.minimum(
        np.minimum.accumulate(heights - climb) + climb,
        np.minimum.accumulate((heights + climb)[::-1])[::-1] - climb,
    )
    lower = np.maximum(
        np.maximum.accumulate(heights + climb) - climb,
        np.maximum.accumulate((heights - climb)[::-1])[::-1] + climb,
    )
    result: Array = 0.5 * (upper + lower)
    return result
