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

import numpy as np
from numpy.typing import NDArray
from nurec_ros.poses import Pose, rotation_rows
from nurec_ros.scenario.rig import Box
from nurec_ros.scenario.tracks import ActiveTracks

Array = NDArray[np.float64]

# Boxes were fitted to what was seen: less than this is no collision.
DEEPEST_TOUCH_M = 0.01


def collisions(ego: Pose, box: Box, tracks: ActiveTracks) -> tuple[str, ...]:
    """
    Return the ids of the tracks that the ego's box meets, in the tracks' order.

    In the plane both are rectangles turned by their yaw, which must overlap by more than 1 cm
    along every one of their axes; their heights must overlap too.
    """
    if not len(tracks):
        return ()
    a, b, c, d, e, f, g, h, i = rotation_rows(*ego.quaternion.tolist())
    x, y, z = box.centre.tolist()
    centre = ego.position + (a * x + b * y + c * z, d * x + e * y + f * z, g * x + h * y + i * z)
    apart = tracks.positions - centre
    reach = 0.5 * (np.hypot(*box.dims[:2]) + np.hypot(tracks.dims[:, 0], tracks.dims[:, 1]))
    near = np.hypot(apart[:, 0], apart[:, 1]) < reach
    near &= np.abs(apart[:, 2]) < 0.5 * (box.height + tracks.dims[:, 2])
    rows = np.flatnonzero(near)
    if not len(rows):
        return ()
    apart, dims = apart[rows, :2], tracks.dims[rows]
    theirs = _headings(tracks.quaternions[rows])
    ours = np.broadcast_to(np.array((a, d)) / np.hypot(a, d), theirs.shape)
    deep = np.full(len(rows), np.inf)
    for axis in (ours, _left(ours), theirs, _left(theirs)):
        reach = _extent(axis, ours, box.length, box.width)
        reach = reach + _extent(axis, theirs, dims[:, 0], dims[:, 1])
        deep = np.minimum(deep, reach - np.abs(np.einsum('ij,ij->i', axis, apart)))
    return tuple(tracks.ids[row] for row in rows[deep > DEEPEST_TOUCH_M].tolist())


def _headings(quaternions: Array) -> Array:
    """Return the x axes (N, 2) of rotations (N, 4) in the plane, of length 1."""
    x, y, z, w = quaternions.T
    axes = np.stack((w * w + x * x - y * y - z * z, 2.0 * (x * y + z * w)), axis=1)
    lengths = np.hypot(axes[:, 0], axes[:, 1])[:, np.newaxis]
    return np.where(lengths > 0.0, axes / np.where(lengths > 0.0, lengths, 1.0), (1.0, 0.0))


def _left(axes: Array) -> Array:
    return np.stack((-axes[:, 1], axes[:, 0]), axis=1)


def _extent(axis: Array, heading: Array, length: Array | float, width: Array | float) -> Array:
    """Return half of what rectangles cover of an axis."""
    along = np.abs(np.einsum('ij,ij->i', axis, heading))
    across = np.abs(np.einsum('ij,ij->i', axis, _left(heading)))
    return np.asarray(0.5 * (along * length + across * width))
