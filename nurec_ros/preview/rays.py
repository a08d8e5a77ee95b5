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
"""The directions that a picture's pixels look in, in the map frame, each at its own time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from nurec_ros.preview.exposure import Exposure
from nurec_ros.preview.lens import widest_angle
from nurec_ros.scenario.cameras import CameraModel

Array = NDArray[np.float64]
Rays = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class RayTable:
    """
    What a lens sees in a picture of some size.

    rays (H, 3, W): unit rays in the camera frame, x, y and z of a row one after the other; outside
    (H, W): where there is none and the row's nearest stands in, or None where there is one
    everywhere;
    pixel_angle: radians that a pixel covers, widest: the angle from the axis of the farthest ray.
    """

    rays: Rays
    outside: NDArray[np.bool_] | None
    pixel_angle: float
    widest: float


# For each of eight cameras a picture's, and the small one's that the sky is drawn in.
@lru_cache(maxsize=16)
def ray_table(model: CameraModel, width: int, height: int) -> RayTable:
    """Return the rays of a picture of that size; those of the last ones are kept."""
    rays, valid = model.ray_map(width, height, keep=False)
    steps = np.linalg.norm(np.diff(rays[height // 2], axis=0), axis=1)
    usual = steps[(steps > 0.0) & (steps < 0.5)]
    pixel_angle = float(np.median(usual)) if usual.size else 1.0
    # Row by row three runs of W floats: one matrix product per row, and planes to work on.
    planes = np.ascontiguousarray(_filled(rays, valid).transpose(0, 2, 1))
    planes.flags.writeable = False
    outside = None if valid.all() else ~valid
    return RayTable(planes, outside, pixel_angle, widest_angle(model))


def _filled(rays: Rays, valid: NDArray[np.bool_]) -> Rays:
    """Let the row's nearest ray stand in where there is none: no pixel then looks nowhere."""
    if valid.all() or not valid.any():
        return rays
    columns = np.arange(valid.shape[1])
    before = np.maximum.accumulate(np.where(valid, columns, -1), axis=1)
    after = np.minimum.accumulate(np.where(valid, columns, 2**30)[:, ::-1], axis=1)[:, ::-1]
    nearest = np.where(columns - before <= after - columns, before, after)
    nearest = np.where(before < 0, after, np.where(after >= 2**30, before, nearest))
    seeing = valid.any(axis=1)
    nearest[~seeing] = 0
    filled: Rays = np.take_along_axis(rays, nearest[..., np.newaxis], axis=1)
    # Whole rows without a ray look as the nearest row with one does.
    rows = np.flatnonzero(seeing)
    nearest_row = rows[np.abs(rows - np.arange(len(rays))[:, np.newaxis]).argmin(axis=1)]
    return np.asarray(filled[nearest_row], dtype=np.float32)


def turned(rays: Rays, exposure: Exposure, axes: Array, top: int = 0) -> tuple[Rays, Array]:
    """
    Turn the rays (h, 3, w) of a picture's rows from `top` on into the map.

    axes (3, 3): the directions in the map, one a row, along which the result (h - top, 3, w) is
    measured. Returned with it is the camera's position in the map: (3,), or where parts of the
    picture are exposed one after the other (3, h - top, 1) for rows, (3, 1, w) for columns.
    """
    height, _, width = rays.shape
    if exposure.axis is None:
        matrix = (axes @ exposure.T_start[:3, :3]).astype(np.float32)
        return np.matmul(matrix, rays[top:]), exposure.T_start[:3, 3]
    times = exposure.fractions(height if exposure.axis == 0 else width)
    if exposure.axis == 0:
        times = times[top:]
    rotations, positions = exposure.poses(times)
    matrices = (axes @ rotations).astype(np.float32)
    if exposure.axis == 0:
        return np.matmul(matrices, rays[top:]), positions.T[:, :, np.newaxis]
    by_column = np.einsum('wkj,hjw->hkw', matrices, rays[top:], optimize=False)
    return by_column, positions.T[:, np.newaxis, :]
