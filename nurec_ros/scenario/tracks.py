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
The other road users: which of them exist at a time, and where they are.

Between two changes (a track begins or ends) the same tracks exist; who does is remembered. Anew it
is found among the tracks that began no earlier than the longest lifetime ago.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import NDArray
from nurec_ros.poses import Array, matrices, with_positive_w
from nurec_ros.scenario.trajectory import (
    fill,
    frozen,
    Indices,
    one_time,
    PoseTable,
    Times,
    Trajectory,
)

Mask = NDArray[np.bool_]

# How many of the times between which the same tracks exist are remembered, with who does.
_REMEMBERED = 512

HALF_WINDOW_S = 0.5
# The steepest streets on Earth have 0.35.
STEEPEST = 0.35
# A height that leaves the median of this many poses by more than the street's grade and this is
# one bad pose, in metres.
_NEIGHBOURS = 5
_FAR_OFF = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class ActiveTracks:
    """
    The tracks that exist at one moment, in the file's order.

    t_ns: the moment; indices (N,) into Tracks; ids and labels as in the file; dims (N, 3): length,
    width, height in metres; static and controllable (N,); positions (N, 3) and unit quaternions
    (N, 4), x y z w with w >= 0: T_map_box, the box's centre in the map frame.
    """

    t_ns: int
    indices: Indices
    ids: tuple[str, ...]
    labels: tuple[str, ...]
    dims: Array
    static: Mask
    controllable: Mask
    positions: Array
    quaternions: Array
    _poses: list[Array] = field(default_factory=list, init=False)

    @property
    def poses(self) -> Array:
        """Return T_map_box as matrices (N, 4, 4), made when they are asked for first."""
        if not self._poses:
            self._poses.append(matrices(self.positions, self.quaternions))
        return self._poses[0]

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f'ActiveTracks({len(self)} at {self.t_ns} ns)'


class _Present(NamedTuple):
    """What all moments between two changes share: who exists, and what does not move of them."""

    indices: Indices
    ids: tuple[str, ...]
    labels: tuple[str, ...]
    dims: Array
    static: Mask
    controllable: Mask


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """
    All tracks of a scenario; each exists from its first to its last sample, both included.

    ids, labels: texts of the file; dims (T, 3): length, width, height in metres; flags: names such
    as DYNAMIC and CONTROLLABLE; samples: the poses T_map_box of all tracks, one track after the
    other; counts (T,): how many of them each track has, at least one.
    """

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    dims: Array
    flags: tuple[frozenset[str], ...]
    samples: PoseTable
    counts: Indices
    static: Mask = field(init=False)
    controllable: Mask = field(init=False)
    start_ns: Times = field(init=False)
    end_ns: Times = field(init=False)
    _first: Indices = field(init=False)
    _last: Indices = field(init=False)
    # The times at which another set of tracks exists, and who does from the k-th one on.
    _changes_ns: list[int] = field(init=False)
    _since: Callable[[int], _Present] = field(init=False)

    def __post_init__(self) -> None:
        dims = np.array(self.dims, dtype=np.float64).reshape(len(self.ids), 3)
        counts = np.array(self.counts, dtype=np.intp)
        last = np.cumsum(counts) - 1
        first = last - counts + 1
        start_ns, end_ns = self.samples.times_ns[first], self.samples.times_ns[last]
        controllable = np.array(['CONTROLLABLE' in flags for flags in self.flags], dtype=np.bool_)
        dynamic = np.array(['DYNAMIC' in flags for flags in self.flags], dtype=np.bool_)
        static = ~(dynamic | controllable)
        changes_ns = np.unique(np.concatenate([start_ns, end_ns + 1])).tolist() or [0]
        by_start = np.argsort(start_ns, kind='stable')
        starts = start_ns[by_start]
        longest = (end_ns - start_ns).max(initial=0)

        @lru_cache(maxsize=_REMEMBERED)
        def since(change: int) -> _Present:
            # Before the first change (-1) nobody is there, as after the last one.
            t = changes_ns[change]
            begun = slice(*starts.searchsorted((t - longest, t + 1)))
            found = by_start[begun]
            # In the order of the file.
            found = np.sort(found[end_ns.take(found) >= t])
            return _Present(
                frozen(found),
                tuple(self.ids[i] for i in found.tolist()),
                tuple(self.labels[i] for i in found.tolist()),
                frozen(dims.take(found, axis=0)),
                frozen(static.take(found)),
                frozen(controllable.take(found)),
            )

        fill(self, dims=dims, counts=counts, static=static, controllable=controllable)
        fill(self, start_ns=start_ns, end_ns=end_ns, _first=first, _last=last)
        fill(self, _changes_ns=changes_ns, _since=since)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        if not self.ids:
            return 'Tracks(0)'
        return (
            f'Tracks({len(self)} of {len(self.samples)} poses '
            f'from {self.start_ns.min()} to {self.end_ns.max()} ns)'
        )

    def at(self, t_ns: SupportsIndex) -> ActiveTracks:
        """
        Return the tracks that exist at t_ns, first time <= t_ns <= last time, and their poses.

        One time in whole nanoseconds, int or an integer of numpy; another kind is a TypeError.
        The cost grows with the tracks that exist then, not with all; any order of times is fine.
        """
        t_ns = one_time(t_ns)
        present = self._present(t_ns)
        poses = self.samples.between(*self._segments(present.indices, t_ns), t_ns)
        return ActiveTracks(t_ns, *present, poses.position, with_positive_w(poses.quaternion))

    def active_ids(self, t_ns: SupportsIndex) -> tuple[str, ...]:
        """Return the ids of the tracks that exist at t_ns, those of `at`, without their poses."""
        return self._present(one_time(t_ns)).ids

    def _present(self, t_ns: int) -> _Present:
        return self._since(bisect_right(self._changes_ns, t_ns) - 1)

    def velocities(self, active: ActiveTracks) -> Array:
        """Return the velocities of an active set, (N, 3), in the map frame, metres a second."""
        return self.samples.linear_velocities(*self._segments(active.indices, active.t_ns))

    def trajectory(self, index: int) -> Trajectory:
        rows = self._rows(index)
        samples = self.samples
        return Trajectory(
            PoseTable(samples.times_ns[rows], samples.positions[rows], samples.quaternions[rows])
        )

    def trail(self, index: int, from_ns: SupportsIndex, to_ns: SupportsIndex) -> Array:
        """
        Return the way (M, 3) of one track's centre between two times, ends included.

        What lies before the track's first or after its last sample is left out; M is 0 where
        nothing is left.
        """
        from_ns = max(one_time(from_ns, 'from_ns'), int(self.start_ns[index]))
        to_ns = min(one_time(to_ns, 'to_ns'), int(self.end_ns[index]))
        if to_ns < from_ns:
            return np.empty((0, 3))
        rows = self._rows(index)
        times, positions = self.samples.times_ns[rows], self.samples.positions[rows]
        within = slice(
            int(np.searchsorted(times, from_ns, side='right')),
            int(np.searchsorted(times, to_ns, side='left')),
        )
        ends = np.array([from_ns, to_ns] if to_ns > from_ns else [from_ns])
        # Relative times are exact in float64, absolute nanoseconds are not.
        at_ends = np.stack(
            [
                np.interp(ends - times[0], times - times[0], positions[:, axis])
                for axis in range(3)
            ],
            axis=1,
        )
        return np.concatenate([at_ends[:1], positions[within], at_ends[1:]])

    def kept(self, keep: Mask) -> Tracks:
        """Return only the tracks for which keep (T,) is true, in the same order."""
        if keep.all():
            return self
        rows = np.repeat(keep, self.counts)
        chosen = np.flatnonzero(keep).tolist()
        samples = self.samples
        return Tracks(
            ids=tuple(self.ids[i] for i in chosen),
            labels=tuple(self.labels[i] for i in chosen),
            dims=self.dims[keep],
            flags=tuple(self.flags[i] for i in chosen),
            samples=PoseTable(
                samples.times_ns[rows], samples.positions[rows], samples.quaternions[rows]
            ),
            counts=self.counts[keep],
        )

    def _rows(self, index: int) -> slice:
        return slice(int(self._first[index]), int(self._last[index]) + 1)

    def _segments(self, tracks: Indices, t_ns: int) -> tuple[Indices, Indices]:
        """Return the rows before and after t_ns of tracks that exist then, by bisection of all."""
        first, last = self._first.take(tracks), self._last.take(tracks)
        times = self.samples.times_ns
        low = first
        step = 1 << int((last - first).max(initial=0)).bit_length() >> 1
        while step:
            probe = np.minimum(low + step, last)
            low = np.where(times.take(probe) <= t_ns, probe, low)
            step >>= 1
        # At its last sample a track is still on its last segment.
        low = np.maximum(np.minimum(low, last - 1), first)
        return low, np.minimum(low + 1, last)


def with_smooth_heights(tracks: Tracks) -> Tracks:
    """
    Return the same tracks with heights without the jitter of their annotation.

    Off by default, because the renderer shows the raw poses. Single poses far off their neighbours
    are put back, a low-pass in time takes the noise, a limit of the grade takes what is left of
    jumps: a car that stands keeps one height, one that drives climbs no steeper than a street
    does. The horizontal motion and the rotation stay untouched.
    """
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
    from scipy import interpolate

    area_until = interpolate.make_interp_spline(seconds, heights, k=1).antiderivative()
    # A window that shrinks to stay symmetric delays nothing, and keeps both ends.
    half = np.minimum(HALF_WINDOW_S, np.minimum(seconds - seconds[0], seconds[-1] - seconds))
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
