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
"""A camera model at a picture's own size, for points that move while the picture is exposed."""

from __future__ import annotations

from collections.abc import Callable
import math

import numpy as np
from numpy.typing import NDArray
from nurec_ros.preview.exposure import Exposure
from nurec_ros.scenario.cameras import CameraModel

Array = NDArray[np.float64]

_ROUNDS = 2
# Just beyond the corners: what lies further out is moved here, where no picture shows it.
_BEYOND = 0.02


class Lens:
    """
    Projects points of the map into one picture.

    Points outside of the field of view are moved to its rim, straight towards the axis, so that
    outlines stay closed and cover the same part of the picture.
    """

    def __init__(self, model: CameraModel, exposure: Exposure, widest: float) -> None:
        self._model = model
        self._exposure = exposure
        self._widest = widest
        steps = np.array([0.0, 0.5, 1.0]) if exposure.axis is not None else np.array([0.0])
        self._times = steps
        self._rotations, self._positions = exposure.poses(steps)

    @property
    def widest(self) -> float:
        """Give the angle from the axis, in radians, beyond which nothing is in the picture."""
        return self._widest

    @property
    def eye(self) -> Array:
        """Give where the camera is in the middle of the exposure (3,), in the map frame."""
        middle: Array = self._positions[len(self._positions) // 2]
        return middle

    @property
    def axis(self) -> Array:
        """Give the direction (3,) that the camera looks in then."""
        middle: Array = self._rotations[len(self._rotations) // 2, :, 2]
        return middle

    def project(self, start: Array, end: Array) -> tuple[Array, NDArray[np.bool_]]:
        """
        Give the pixels (N, 2) of points, and whether each (N,) lay in the field of view.

        The points move evenly from `start` to `end` (N, 3) during the exposure. Each is seen at
        the time at which its own row or column is exposed, found by iteration.
        """
        if len(self._times) == 1 and not self._exposure.is_rolling:
            return self._pixels(self._towards(start, 0))
        if len(self._times) == 1:
            return self._moving(start, end)
        middle = 0.5 * (start + end)
        a, b, c = (self._towards(p, i) for i, p in enumerate((start, middle, end)))

        def seen(t: Array) -> tuple[Array, NDArray[np.bool_]]:
            # The parabola through the three: exact to millionths of the small turn.
            t = t[:, np.newaxis]
            return self._pixels(
                (1 - t) * (1 - 2 * t) * a + 4 * t * (1 - t) * b + t * (2 * t - 1) * c
            )

        return self._settled(seen, *self._pixels(b), np.full(len(b), 0.5))

    def _settled(
        self,
        seen: Callable[[Array], tuple[Array, NDArray[np.bool_]]],
        uv: Array,
        inside: NDArray[np.bool_],
        t: Array,
    ) -> tuple[Array, NDArray[np.bool_]]:
        """Find the times at which points, seen at a time, are where that time is exposed."""
        exposed = self._exposure.fractions_at(uv)
        following = exposed
        for _ in range(_ROUNDS):
            uv, inside = seen(following)
            before, exposed = exposed, self._exposure.fractions_at(uv)
            step = following - t
            # How much later a point's pixel is exposed for each moment that it is seen later;
            # below 1 by far, or a thing would be in two rows at once.
            drift = np.divide(exposed - before, step, out=np.zeros_like(step), where=step != 0.0)
            t = following
            following = t + (exposed - t) / (1.0 - np.clip(drift, -0.9, 0.9))
        return uv, inside

    def _moving(self, start: Array, end: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Project from a camera that stands still while the points may move."""
        a = self._towards(start, 0)
        uv, inside = self._pixels(a)
        if np.array_equal(start, end):
            return uv, inside
        way = self._towards(end, 0) - a
        return self._settled(
            lambda t: self._pixels(a + t[:, np.newaxis] * way), uv, inside, np.zeros(len(a))
        )

    def _towards(self, points: Array, step: int) -> Array:
        turned: Array = (points - self._positions[step]) @ self._rotations[step]
        return turned

    def _pixels(self, points: Array) -> tuple[Array, NDArray[np.bool_]]:
        sideways = np.hypot(points[:, 0], points[:, 1])
        inside = np.arctan2(sideways, points[:, 2]) <= self._widest
        outside = np.flatnonzero(~inside)
        if outside.size:
            points = points.copy()
            to_rim = math.sin(self._widest) / np.maximum(sideways[outside], 1e-12)
            points[outside, :2] *= to_rim[:, np.newaxis]
            points[outside, 2] = math.cos(self._widest)
        uv, valid = self._model.project(points)
        return uv, inside & valid


def widest_angle(model: CameraModel) -> float:
    """Give the angle from the axis, in radians, of the farthest thing in the model's picture."""
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
