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
"""When each row or column of a picture is exposed, and where the camera is then."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Axis of the picture along which time runs (0: rows, 1: columns) and whether it runs forward.
_DIRECTIONS = {
    'ROLLING_TOP_TO_BOTTOM': (0, True),
    'ROLLING_BOTTOM_TO_TOP': (0, False),
    'ROLLING_LEFT_TO_RIGHT': (1, True),
    'ROLLING_RIGHT_TO_LEFT': (1, False),
}
# Less than this over a whole exposure moves no pixel: radians and metres.
_STILL = 1e-6


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
        """Tell along what time runs: 0 rows, 1 columns, None where the camera stands still."""
        direction = _DIRECTIONS.get(self.shutter_type)
        if direction is None or np.abs(self.T_end - self.T_start).max() < _STILL:
            return None
        return direction[0]

    @property
    def is_rolling(self) -> bool:
        """Tell whether parts of the picture are taken at times of their own."""
        return self.shutter_type in _DIRECTIONS

    def fractions(self, count: int) -> Array:
        """Give the time (count,) from 0 to 1 of evenly spread rows or columns, edges included."""
        axis, forward = _DIRECTIONS[self.shutter_type]
        full = (self.height, self.width)[axis]
        # A coarser picture's pixels lie between the full one's.
        index: Array = (np.arange(count, dtype=np.float64) + 0.5) * (full / count) - 0.5
        return self._times(index, full, forward=forward)

    def fractions_at(self, uv: Array) -> Array:
        """Give the time from 0 to 1 of pixels (..., 2)."""
        direction = _DIRECTIONS.get(self.shutter_type)
        if direction is None:
            return np.zeros(uv.shape[:-1])
        axis, forward = direction
        return self._times(uv[..., 1 - axis], (self.height, self.width)[axis], forward=forward)

    def poses(self, fractions: Array) -> tuple[Array, Array]:
        """Give rotations (M, 3, 3) and positions (M, 3) of the camera in the map at the times."""
        start, end = self.T_start, self.T_end
        turn = cv2.Rodrigues(start[:3, :3].T @ end[:3, :3])[0].ravel()
        rotations = start[:3, :3] @ _turned(turn, fractions)
        positions = start[:3, 3] + fractions[:, np.newaxis] * (end[:3, 3] - start[:3, 3])
        return rotations, positions

    @staticmethod
    def _times(index: Array, count: int, *, forward: bool) -> Array:
        fraction: Array = np.clip(index / max(count - 1, 1), 0.0, 1.0)
        return fraction if forward else 1.0 - fraction


def _turned(turn: Array, fractions: Array) -> Array:
    """Give the rotations (M, 3, 3) about the vector `turn`, each by a part of its length."""
    angle = float(np.linalg.norm(turn))
    if angle < 1e-12:
        return np.broadcast_to(np.eye(3), (len(fractions), 3, 3))
    x, y, z = turn / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    part = (fractions * angle)[:, np.newaxis, np.newaxis]
    turns: Array = np.eye(3) + np.sin(part) * cross + (1.0 - np.cos(part)) * (cross @ cross)
    return turns
