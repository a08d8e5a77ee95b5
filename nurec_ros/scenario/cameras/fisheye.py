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
OpenCV's fisheye model, ROS's `equidistant`.

With theta the angle from the axis, theta_d = theta (1 + k1 theta^2 + … + k4 theta^8), a pixel is
(fx theta_d x / |xy|, fy theta_d y / |xy|) + principal point.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
import math
from typing import ClassVar, TYPE_CHECKING

import numpy as np
from nurec_ros.scenario.cameras.base import Array, CameraModel, Mask
from nurec_ros.scenario.cameras.checks import (
    checked_focal_length,
    checked_max_angle,
    checked_size,
    floats,
)
from nurec_ros.scenario.cameras.polynomial import Monotone, monotone

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class FisheyeCamera(CameraModel):
    """
    An OpenCV fisheye camera.

    focal_length: (fx, fy) in pixels; radial_coeffs: k1 … k4; max_angle: radians from the axis up
    to which rays have a pixel.
    """

    kind: ClassVar[str] = 'opencv-fisheye'
    NUREC_FIRST_PIXEL: ClassVar[float] = 0.5

    focal_length: tuple[float, float]
    radial_coeffs: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    max_angle: float = math.pi

    def __post_init__(self) -> None:
        checked_size(self)
        object.__setattr__(self, 'focal_length', checked_focal_length(self.focal_length))
        object.__setattr__(self, 'radial_coeffs', floats(self.radial_coeffs, 'radial_coeffs', 4))
        checked_max_angle(self)

    @property
    def _lens(self) -> Monotone:
        k1, k2, k3, k4 = self.radial_coeffs
        odd = (0.0, 1.0, 0.0, k1, 0.0, k2, 0.0, k3, 0.0, k4)
        return monotone(odd, min(self.max_angle, math.pi), math.inf)

    @property
    def view_angle(self) -> float:
        """Give the angle from the axis, in radians, up to which rays have a pixel."""
        return self._lens.end

    def _project_lens(self, points: Array) -> tuple[Array, Mask]:
        x, y, z = points.T
        distance = np.hypot(x, y)
        angle = np.arctan2(distance, z)
        lens = self._lens
        valid = lens.reaches(angle) & np.isfinite(distance) & ((distance > 0.0) | (z > 0.0))
        factor = np.divide(
            lens(angle), distance, out=np.zeros_like(distance), where=distance > 0.0
        )
        uv = np.empty((len(points), 2))
        uv[:, 0] = self.focal_length[0] * factor * x + self.principal_point[0]
        uv[:, 1] = self.focal_length[1] * factor * y + self.principal_point[1]
        return uv, valid

    def _unproject_lens(self, uv: Array) -> tuple[Array, Mask]:
        x = (uv[:, 0] - self.principal_point[0]) / self.focal_length[0]
        y = (uv[:, 1] - self.principal_point[1]) / self.focal_length[1]
        bent = np.hypot(x, y)
        lens = self._lens
        valid = lens.attains(bent)
        angle = lens.inverse(bent)
        factor = np.divide(np.sin(angle), bent, out=np.zeros_like(bent), where=bent > 0.0)
        rays = np.empty((len(uv), 3))
        rays[:, 0] = x * factor
        rays[:, 1] = y * factor
        rays[:, 2] = np.cos(angle)
        return rays, valid

    def _stretched(self, scale_u: float, scale_v: float, resolution: tuple[int, int]) -> Self:
        fx, fy = self.focal_length
        return replace(
            self,
            resolution=resolution,
            principal_point=self._stretched_principal_point(scale_u, scale_v),
            focal_length=(fx * scale_u, fy * scale_v),
        )
