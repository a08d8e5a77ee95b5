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
"""What the driven ego meets: rectangles in the plane by separating axes, and heights."""

from __future__ import annotations

from functools import lru_cache
import math

import numpy as np
from numpy.typing import NDArray
from nurec_ros.poses import Pose, Quaternion, rotation_rows, Vector
from nurec_ros.scenario.rig import Box
from nurec_ros.scenario.tracks import ActiveTracks, Tracks

Array = NDArray[np.float64]
Axis = tuple[float, float]
Dims = tuple[float, float, float]

# Boxes were fitted to what was seen: less than this is no collision.
DEEPEST_TOUCH_M = 0.01
# For spans of this length it is known where a track is at all.
SPAN_NS = 1_000_000_000


class _EgoBox:
    """The ego's box where it stands: its centre in map, and its heading in the plane."""

    def __init__(self, ego: Pose, box: Box) -> None:
        a, b, c, d, e, f, g, h, i = rotation_rows(*ego.quaternion.tolist())
        x, y, z = box.centre.tolist()
        at_x, at_y, at_z = ego.position.tolist()
        self.centre: Vector = (
            at_x + (a * x + b * y + c * z),
            at_y + (d * x + e * y + f * z),
            at_z + (g * x + h * y + i * z),
        )
        length = math.hypot(a, d)
        self.heading: Axis = (a / length, d / length) if length else (1.0, 0.0)
        self.dims: Dims = (box.length, box.width, box.height)

    def meets(self, position: Vector, quaternion: Quaternion, dims: Dims) -> bool:
        """Return whether it and another overlap in the plane by more than 1 cm, and in height."""
        apart_x, apart_y, apart_z = (
            one - other for one, other in zip(position, self.centre, strict=True)
        )
        length, width, height = dims
        own_length, own_width, own_height = self.dims
        if abs(apart_z) >= 0.5 * (own_height + height):
            return False
        reach = 0.5 * (math.hypot(own_length, own_width) + math.hypot(length, width))
        if math.hypot(apart_x, apart_y) >= reach:
            return False
        theirs, ours = _heading(quaternion), self.heading
        for along_x, along_y in (ours, _left(ours), theirs, _left(theirs)):
            covered = 0.0
            for (x, y), box_length, box_width in (
                (ours, own_length, own_width),
                (theirs, length, width),
            ):
                covered += abs(along_x * x + along_y * y) * box_length
                covered += abs(along_y * x - along_x * y) * box_width
            if 0.5 * covered - abs(along_x * apart_x + along_y * apart_y) <= DEEPEST_TOUCH_M:
                return False
        return True


def collisions(ego: Pose, box: Box, tracks: ActiveTracks) -> tuple[str, ...]:
    """
    Return the ids of the tracks that the ego's box meets, in the tracks' order.

    In the plane both are rectangles turned by their yaw, which must overlap by more than 1 cm
    along every one of their axes; their heights must overlap too.
    """
    ours = _EgoBox(ego, box)
    others = zip(
        tracks.ids,
        tracks.positions.tolist(),
        tracks.quaternions.tolist(),
        tracks.dims.tolist(),
        strict=True,
    )
    return tuple(name for name, *other in others if ours.meets(*other))


class Encounters:
    """
    What `collisions` finds, for many moments: few tracks are ever near.

    Known is, of each track and each second, the box of its ways then; where the ego is outside of
    it, they do not meet. The few others are tested one by one.
    """

    def __init__(self, tracks: Tracks, box: Box) -> None:
        self._tracks, self._box = tracks, box
        self._dims: list[Dims] = [(x, y, z) for x, y, z in tracks.dims.tolist()]
        self._start_ns: list[int] = tracks.start_ns.tolist()
        self._end_ns: list[int] = tracks.end_ns.tolist()
        self._trajectory = lru_cache(maxsize=256)(tracks.trajectory)
        samples, rows = tracks.samples, np.arange(len(tracks.samples))
        owners = np.repeat(np.arange(len(tracks)), tracks.counts)
        last = np.cumsum(tracks.counts) - 1
        after = np.minimum(rows + 1, last[owners])
        # The ways from row to row, each once for every second that it touches.
        begin = samples.times_ns // SPAN_NS
        touched = begin[after] - begin + 1
        ways = np.repeat(rows, touched)
        seconds = (
            begin[ways] + np.arange(len(ways)) - np.repeat(touched.cumsum() - touched, touched)
        )
        owners = owners[ways]
        new = np.ones(len(ways), dtype=np.bool_)
        new[1:] = (np.diff(owners) != 0) | (np.diff(seconds) != 0)
        first = np.flatnonzero(new)
        owners, seconds = owners[first], seconds[first]
        ends = samples.positions[ways], samples.positions[after[ways]]
        reach = np.empty((len(tracks), 3))
        reach[:, :2] = 0.5 * np.hypot(tracks.dims[:, :1], tracks.dims[:, 1:2])
        reach[:, 2] = 0.5 * tracks.dims[:, 2]
        # Further by what rounding may be wrong.
        reach += (
            np.array((*2 * (0.5 * math.hypot(box.length, box.width),), 0.5 * box.height)) + 0.01
        )
        low = np.minimum.reduceat(np.minimum(*ends), first) if len(first) else ends[0]
        high = np.maximum.reduceat(np.maximum(*ends), first) if len(first) else ends[1]
        order = np.argsort(seconds, kind='stable')
        owners, seconds = owners[order], seconds[order]
        self._low, self._high = low[order] - reach[owners], high[order] + reach[owners]
        self._owners = owners
        changes = np.flatnonzero(np.diff(seconds, prepend=-1))
        self._spans = {
            second: slice(start, end)
            for second, start, end in zip(
                seconds[changes].tolist(),
                changes.tolist(),
                [*changes[1:].tolist(), *[len(seconds)] * bool(len(seconds))],
                strict=True,
            )
        }

    def at(self, t_ns: int, ego: Pose) -> tuple[str, ...]:
        """Return the ids of the tracks that the ego's box meets at a moment."""
        span = self._spans.get(t_ns // SPAN_NS)
        if span is None:
            return ()
        ours = _EgoBox(ego, self._box)
        centre = np.array(ours.centre)
        within = (self._low[span] < centre) & (centre < self._high[span])
        near = self._owners[span][within.all(axis=1)].tolist()
        return tuple(self._tracks.ids[track] for track in near if self._meets(ours, track, t_ns))

    def _meets(self, ours: _EgoBox, track: int, t_ns: int) -> bool:
        if not self._start_ns[track] <= t_ns <= self._end_ns[track]:
            return False
        pose = self._trajectory(track).pose(t_ns)
        x, y, z = pose.position.tolist()
        a, b, c, d = pose.quaternion.tolist()
        return ours.meets((x, y, z), (a, b, c, d), self._dims[track])


def _heading(quaternion: Quaternion) -> Axis:
    """Return the x axis of a rotation in the plane, of length 1."""
    x, y, z, w = quaternion
    ahead, aside = w * w + x * x - y * y - z * z, 2.0 * (x * y + z * w)
    length = math.hypot(ahead, aside)
    return (ahead / length, aside / length) if length else (1.0, 0.0)


def _left(axis: Axis) -> Axis:
    return -axis[1], axis[0]
