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
OpenCV fisheye model, the `equidistant` of ROS, and how one is fitted to any camera model.

With theta the angle from the axis, theta_d = theta (1 + k1 theta^2 + … + k4 theta^8), a pixel is
(fx theta_d x / |xy|, fy theta_d y / |xy|) + principal point.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
import math
from typing import ClassVar

import numpy as np
from nurec_ros.scenario.cameras.base import (
    Array,
    CameraModel,
    checked_focal_length,
    checked_max_angle,
    checked_size,
    floats,
    RoundLens,
    stretched_focal_length,
)
from nurec_ros.scenario.cameras.polynomial import Monotone, monotone


@dataclass(frozen=True, slots=True, kw_only=True)
class FisheyeCamera(RoundLens):
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
    def _by_angle(self) -> bool:
        return True

    @property
    def _matrix(self) -> tuple[float, float, float, float]:
        fx, fy = self.focal_length
        return fx, 0.0, 0.0, fy

    def _stretched_lens(self, scale_u: float, scale_v: float) -> dict[str, tuple[float, ...]]:
        return stretched_focal_length(self.focal_length, scale_u, scale_v)


_COLUMNS = 193
_ROWS = 109
_TERMS = 5
_ROUNDS = 50
# Nearer to the axis a ray has no direction about it.
_ON_AXIS = 1e-12


@dataclass(frozen=True, slots=True)
class FitResidual:
    """Distance in native pixels between where the model and its fit see the same ray."""

    rms_px: float
    max_px: float


@lru_cache(maxsize=64)
def fit_equidistant(model: CameraModel) -> tuple[FisheyeCamera, FitResidual]:
    """
    Fit f and k1 … k4 by least squares over the image's pixels that the model sees.

    The principal point is kept. fx and fy differ only where the model itself is not round. The
    fit's max_angle is the largest angle in the image. Raises ValueError for a model that sees
    nothing of its image, or that no such lens is like.
    """
    if isinstance(model, FisheyeCamera) and model.windshield is None:
        return model, FitResidual(0.0, 0.0)
    uv, angle, direction = _samples(model)
    offset = uv - model.principal_point
    sideways = np.abs(offset[:, 0] * direction[:, 1] - offset[:, 1] * direction[:, 0])
    is_round = bool(sideways.max() < 1e-9 * (1.0 + np.abs(offset).max()))
    widest = float(angle.max())
    fitted: FisheyeCamera | None = None
    # A polynomial that turns back inside the image could not be inverted by anybody.
    for terms in range(_TERMS, 0, -1):
        fx, fy, coefficients = _solved(offset, angle, direction, terms, is_round)
        if not min(fx, fy) > 0.0:
            continue
        k1, k2, k3, k4 = (*coefficients, *(0.0,) * (_TERMS - terms))
        fitted = FisheyeCamera(
            resolution=model.resolution,
            principal_point=model.principal_point,
            shutter_type=model.shutter_type,
            focal_length=(fx, fy),
            radial_coeffs=(k1, k2, k3, k4),
            max_angle=widest,
        )
        if fitted.view_angle >= widest * (1.0 - 1e-9):
            break
    if fitted is None:
        raise ValueError('no equidistant lens sees the image as the camera model does')
    rho = sum(k * angle ** (2 * i + 3) for i, k in enumerate(fitted.radial_coeffs)) + angle
    error = direction * rho[:, np.newaxis] * fitted.focal_length - offset
    squares = (error**2).sum(axis=1)
    return fitted, FitResidual(float(np.sqrt(squares.mean())), float(np.sqrt(squares.max())))


def sees_its_image(model: CameraModel) -> bool:
    """Return whether enough pixels have a ray to fit another model by."""
    # Among the samples of a fit; the first look at few of them does for all cameras but odd ones.
    for every in (12, 1):
        distance = _seen(model, every)[2]
        if np.count_nonzero(distance > _ON_AXIS) >= _TERMS:
            return True
    return False


def _seen(model: CameraModel, every: int) -> tuple[Array, Array, Array]:
    """Return pixels (N, 2) of the image, their rays (N, 3) and sines of their angles (N,)."""
    width, height = model.resolution
    u, v = np.meshgrid(
        np.linspace(-0.5, width - 0.5, _COLUMNS)[::every],
        np.linspace(-0.5, height - 0.5, _ROWS)[::every],
    )
    uv = np.stack([u.ravel(), v.ravel()], axis=1)
    rays, _ = model.unproject(uv)
    return uv, rays, np.hypot(rays[:, 0], rays[:, 1])


def _samples(model: CameraModel) -> tuple[Array, Array, Array]:
    """Return pixels, angles from the axis and directions about it, off the axis itself."""
    uv, rays, distance = _seen(model, 1)
    kept = distance > _ON_AXIS
    if np.count_nonzero(kept) < _TERMS:
        raise ValueError('the camera model sees nothing of its own image')
    uv, rays, distance = uv[kept], rays[kept], distance[kept]
    return uv, np.arctan2(distance, rays[:, 2]), rays[:, :2] / distance[:, np.newaxis]


def _solved(
    offset: Array, angle: Array, direction: Array, terms: int, is_round: bool
) -> tuple[float, float, tuple[float, ...]]:
    """Solve offset = (fx, fy) direction (angle + k1 angle^3 …): linear but for fy / fx."""
    widest = angle.max()
    powers = np.stack([(angle / widest) ** (2 * i + 1) for i in range(terms)], axis=1)
    # The equations of both axes, each brought to a triangle of as many rows as there are unknowns.
    across, down = (
        np.asarray(np.linalg.qr(np.column_stack([powers * way, shift]), mode='r'))
        for way, shift in zip(np.hsplit(direction, 2), offset.T, strict=True)
    )
    aspect = 1.0
    for _ in range(_ROUNDS):
        equations = np.vstack([across, down * (*(aspect,) * terms, 1.0)])
        found = np.linalg.lstsq(equations[:, :-1], equations[:, -1], rcond=None)[0]
        if is_round:
            break
        sideways = down[:, :-1] @ found
        before, aspect = aspect, float((down[:, -1] @ sideways) / (sideways @ sideways))
        if abs(aspect - before) < 1e-13:
            break
    scaled = found / widest ** (2 * np.arange(terms) + 1)
    focal = float(scaled[0])
    return focal, focal * aspect, tuple(float(value) for value in scaled[1:] / scaled[0])
