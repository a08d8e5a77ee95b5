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
What a picture's pixels see of the map, and where points of the map are seen.

Both at a time of their own: a rolling shutter exposes one row or column after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
import math

import cv2
import numpy as np
from numpy.typing import NDArray
from nurec_ros.scenario.cameras import CameraModel

Array = NDArray[np.float64]
Rays = NDArray[np.float32]

# Axis of the picture along which time runs (0: rows, 1: columns) and whether it runs forward.
_DIRECTIONS = {
    'ROLLING_TOP_TO_BOTTOM': (0, True),
    'ROLLING_BOTTOM_TO_TOP': (0, False),
    'ROLLING_LEFT_TO_RIGHT': (1, True),
    'ROLLING_RIGHT_TO_LEFT': (1, False),
}
# Less than this over a whole exposure moves no pixel: radians and metres.
_STILL = 1e-6
_ROUNDS = 2
# Just beyond the corners: what lies further out is moved here, where no picture shows it.
_BEYOND = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Exposure:
    """
    The camera's poses T_map_camera (4, 4) at the start and the end of one picture's exposure.

    The first row (or column, as the shutter type says) is taken at the start, the last at the
    end; in between the camera moves evenly, on a straight line and the shortest arc. A global
    shutter takes everything at the start.
    """

    T_start: Array
    T_end: Array
    shutter_type: str
    width: int
    height: int

    @property
    def axis(self) -> int | None:
        """Return along what time runs: 0 rows, 1 columns, None where the camera stands still."""
        direction = _DIRECTIONS.get(self.shutter_type)
        if direction is None or np.abs(self.T_end - self.T_start).max() < _STILL:
            return None
        return direction[0]

    @property
    def is_rolling(self) -> bool:
        """Return whether parts of the picture are taken at times of their own."""
        return self.shutter_type in _DIRECTIONS

    def fractions(self, count: int) -> Array:
        """Return the times (count,), 0 to 1, of evenly spread rows or columns, edges included."""
        full = (self.height, self.width)[_DIRECTIONS[self.shutter_type][0]]
        # A coarser picture's pixels lie between the full one's.
        return self._times((np.arange(count, dtype=np.float64) + 0.5) * (full / count) - 0.5)

    def fractions_at(self, uv: Array) -> Array:
        """Return the time from 0 to 1 of pixels (..., 2)."""
        if not self.is_rolling:
            return np.zeros(uv.shape[:-1])
        return self._times(uv[..., 1 - _DIRECTIONS[self.shutter_type][0]])

    def _times(self, index: Array) -> Array:
        axis, forward = _DIRECTIONS[self.shutter_type]
        last = (self.height, self.width)[axis] - 1
        fraction: Array = np.clip(index / max(last, 1), 0.0, 1.0)
        return fraction if forward else 1.0 - fraction


def poses_between(start: Array, end: Array, fractions: Array) -> tuple[Array, Array]:
    """Return rotations (M, 3, 3) and positions (M, 3) at parts of the way between two poses."""
    turn = cv2.Rodrigues(start[:3, :3].T @ end[:3, :3])[0].ravel()
    angle = float(np.linalg.norm(turn))
    positions = start[:3, 3] + fractions[:, np.newaxis] * (end[:3, 3] - start[:3, 3])
    turns: Array = np.broadcast_to(np.eye(3), (len(fractions), 3, 3))
    if angle >= 1e-12:
        x, y, z = turn / angle
        cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
        part = (fractions * angle)[:, np.newaxis, np.newaxis]
        turns = turns + np.sin(part) * cross + (1.0 - np.cos(part)) * (cross @ cross)
    return start[:3, :3] @ turns, positions


@dataclass(frozen=True, slots=True, eq=False)
class RayTable:
    """
    What a lens sees in a picture of some size.

    rays (H, 3, W): unit rays in the camera frame, x, y and z of a row one after the other; outside
    (H, W): where there is none and the row's nearest stands in, or None where there is one
    everywhere; pixel_angle: radians that a pixel covers; widest: the angle from the axis of the
    farthest ray.
    """

    rays: Rays
    outside: NDArray[np.bool_] | None
    pixel_angle: float
    widest: float


# For each of eight cameras a picture's, and the small one's that the sky is drawn in.
@lru_cache(maxsize=16)
def ray_table(model: CameraModel, width: int, height: int) -> RayTable:
    """Return the rays of a picture of that size; those of the last ones are kept."""
    rays, valid = model.ray_map(width, height)
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
    rotations, positions = poses_between(exposure.T_start, exposure.T_end, times)
    matrices = (axes @ rotations).astype(np.float32)
    if exposure.axis == 0:
        return np.matmul(matrices, rays[top:]), positions.T[:, :, np.newaxis]
    by_column = np.einsum('wkj,hjw->hkw', matrices, rays[top:], optimize=False)
    return by_column, positions.T[:, np.newaxis, :]


class Lens:
    """
    Projects points of the map into one picture.

    Points outside of the field of view are moved to its rim, straight towards the axis, so that
    outlines stay closed and cover the same part of the picture.
    """

    def __init__(self, model: CameraModel, exposure: Exposure, widest: float) -> None:
        self._model = model
        self._exposure = exposure
        # Beyond this angle from the axis, in radians, nothing is in the picture.
        self.widest = widest
        steps = [0.0] if exposure.axis is None else [0.0, 0.5, 1.0]
        self._rotations, self._positions = poses_between(
            exposure.T_start, exposure.T_end, np.array(steps)
        )
        # Where the camera is in the middle of the exposure, and where it looks, in the map (3,).
        middle = len(steps) // 2
        self.eye: Array = self._positions[middle]
        self.axis: Array = self._rotations[middle, :, 2]

    def project(self, start: Array, end: Array) -> tuple[Array, NDArray[np.bool_]]:
        """
        Return the pixels (N, 2) of points, and whether each (N,) lay in the field of view.

        The points move evenly from `start` to `end` (N, 3) during the exposure. Each is seen at
        the time at which its own row or column is exposed, found by iteration.
        """
        a = self._towards(start, 0)
        if self._exposure.axis is None:
            if not self._exposure.is_rolling or np.array_equal(start, end):
                return self._pixels(a)
            way = self._towards(end, 0) - a
            return self._settled(lambda t: a + t * way, np.zeros(len(a)))
        b, c = self._towards(0.5 * (start + end), 1), self._towards(end, 2)
        # The parabola through the three: exact to millionths of the small turn.
        return self._settled(
            lambda t: (1 - t) * (1 - 2 * t) * a + 4 * t * (1 - t) * b + t * (2 * t - 1) * c,
            np.full(len(a), 0.5),
        )

    def _settled(
        self, place: Callable[[Array], Array], t: Array
    ) -> tuple[Array, NDArray[np.bool_]]:
        """
        Find the times at which points are seen where that time is exposed; return the pixels.

        place: where they are in the camera's frame at times (N, 1); t: the times to begin with.
        """
        uv, inside = self._pixels(place(t[:, np.newaxis]))
        following = exposed = self._exposure.fractions_at(uv)
        for _ in range(_ROUNDS):
            uv, inside = self._pixels(place(following[:, np.newaxis]))
            before, exposed = exposed, self._exposure.fractions_at(uv)
            step = following - t
            # How much later a point's pixel is exposed for each moment that it is seen later;
            # below 1 by far, or a thing would be in two rows at once.
            drift = np.divide(exposed - before, step, out=np.zeros_like(step), where=step != 0.0)
            t = following
            following = t + (exposed - t) / (1.0 - np.clip(drift, -0.9, 0.9))
        return uv, inside

    def _towards(self, points: Array, step: int) -> Array:
        return np.asarray((points - self._positions[step]) @ self._rotations[step])

    def _pixels(self, points: Array) -> tuple[Array, NDArray[np.bool_]]:
        sideways = np.hypot(points[:, 0], points[:, 1])
        inside = np.arctan2(sideways, points[:, 2]) <= self.widest
        outside = np.flatnonzero(~inside)
        if outside.size:
            points = points.copy()
            to_rim = math.sin(self.widest) / np.maximum(sideways[outside], 1e-12)
            points[outside, :2] *= to_rim[:, np.newaxis]
            points[outside, 2] = math.cos(self.widest)
        uv, valid = self._model.project(points)
        return uv, inside & valid


def widest_angle(model: CameraModel) -> float:
    """Return the angle from the axis, in radians, of the farthest thing in the model's picture."""
    width, height = model.resolution
    across = np.linspace(-0.5, width - 0.5, 33)
    down = np.linspace(-0.5, height - 0.5, 33)
    u, v = np.meshgrid(across, down)
    rays, valid = model.unproject(np.stack([u.ravel(), v.ravel()], axis=1))
    if not valid.any():
        return 0.0
    widest = float(np.arccos(np.clip(rays[valid, 2].min(), -1.0, 1.0)))
    # The rim must have pixels all round: step back from a lens's end, or out to past the corners.
    turn = np.linspace(0.0, 2.0 * math.pi, 64, endpoint=False)
    for angle in (widest + _BEYOND, widest, widest - 1e-6, widest - 1e-3, 0.97 * widest):
        ring = np.stack([np.sin(angle) * np.cos(turn), np.sin(angle) * np.sin(turn)], axis=1)
        points = np.column_stack([ring, np.full(len(turn), math.cos(angle))])
        if angle > 0.0 and model.project(points)[1].all():
            return angle
    return 0.97 * widest
