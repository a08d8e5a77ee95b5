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
OpenCV's models: the pinhole, and the fisheye that ROS calls `equidistant`.

The pinhole has rational radial, tangential and thin prism distortion. With x = X / Z, y = Y / Z,
s = x^2 + y^2 and R = (1 + k1 s + k2 s^2 + k3 s^3) / (1 + k4 s + k5 s^2 + k6 s^3):
x' = x R + 2 p1 x y + p2 (s + 2 x^2) + s1 s + s2 s^2 and y' = y R + p1 (s + 2 y^2) + 2 p2 x y +
s3 s + s4 s^2; a pixel is (fx x', fy y') + principal point. OpenCV's own order of the twelve is
k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 s4.

Of the fisheye, with theta the angle from the axis, theta_d = theta (1 + k1 theta^2 + … +
k4 theta^8), a pixel is (fx theta_d x / |xy|, fy theta_d y / |xy|) + principal point. One can be
fitted to any camera model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
import math
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.polynomial import polynomial
from nurec_ros.poses import Array
from nurec_ros.scenario.cameras.base import (
    CameraModel,
    checked_focal_length,
    checked_max_angle,
    checked_size,
    floats,
    Mask,
    RoundLens,
    stretched_focal_length,
)
from nurec_ros.scenario.cameras.nvidia import derivative, horner, Monotone, monotone
from nurec_ros.scenario.trajectory import fill

_LEAST_SLOPE = 1e-3
_WIDEST = math.radians(89.9)
_KNOTS = 513
_NEWTON_STEPS = 20


class _Radial(NamedTuple):
    """The radial part on the distances where it increases: its end and a table of it."""

    end: float
    knots: Array
    bent: Array


class _Bent(NamedTuple):
    """Distorted coordinates and their four slopes."""

    x: Array
    y: Array
    x_by_x: Array
    x_by_y: Array
    y_by_x: Array
    y_by_y: Array

    @property
    def determinant(self) -> Array:
        return self.x_by_x * self.y_by_y - self.x_by_y * self.y_by_x


@lru_cache(maxsize=64)
def _radial(coefficients: tuple[float, ...]) -> _Radial:
    """Cut r R(r^2) to where it increases and its denominator stays above 0."""
    above = np.array([1.0, *coefficients[:3]])
    below = np.array([1.0, *coefficients[3:]])
    # With s = r^2 the slope is ((N + 2 s N') D - 2 s N D') / D^2.
    slope = polynomial.polysub(
        polynomial.polymul(
            polynomial.polyadd(above, 2.0 * polynomial.polymulx(polynomial.polyder(above))), below
        ),
        2.0 * polynomial.polymulx(polynomial.polymul(above, polynomial.polyder(below))),
    )
    least = _LEAST_SLOPE * polynomial.polymul(below, below)
    end = min(_first_root(polynomial.polysub(slope, least)), _first_root(below))
    # Just inside, where the denominator is surely still above 0.
    end = math.sqrt(end) * (1.0 - 1e-9)
    knots = np.tan(np.linspace(0.0, min(math.atan(end), _WIDEST), _KNOTS))
    s = knots * knots
    return _Radial(end, knots, knots * horner(tuple(above), s) / horner(tuple(below), s))


def _first_root(coefficients: Array) -> float:
    """Return the smallest positive real root, infinity if there is none."""
    roots = polynomial.polyroots(np.trim_zeros(coefficients, 'b'))
    real = roots.real[(np.abs(roots.imag) <= 1e-9 * (1.0 + np.abs(roots))) & (roots.real > 0.0)]
    return float(real.min(initial=math.inf))


@dataclass(frozen=True, slots=True, kw_only=True)
class PinholeCamera(CameraModel):
    """
    An OpenCV pinhole camera.

    focal_length: (fx, fy) in pixels; radial_coeffs: k1 … k6; tangential_coeffs: p1, p2;
    thin_prism_coeffs: s1 … s4. The field of view ends where the distortion would fold the image.
    """

    kind: ClassVar[str] = 'opencv-pinhole'
    NUREC_FIRST_PIXEL: ClassVar[float] = 0.5
    needs_fit: ClassVar[bool] = False

    focal_length: tuple[float, float]
    radial_coeffs: tuple[float, ...] = (0.0,) * 6
    tangential_coeffs: tuple[float, ...] = (0.0,) * 2
    thin_prism_coeffs: tuple[float, ...] = (0.0,) * 4

    def __post_init__(self) -> None:
        checked_size(self)
        checked_focal_length(self)
        counts = {'radial_coeffs': 6, 'tangential_coeffs': 2, 'thin_prism_coeffs': 4}
        fill(self, **{name: floats(getattr(self, name), name, n) for name, n in counts.items()})

    @property
    def distortion(self) -> tuple[float, ...]:
        k1, k2, k3, k4, k5, k6 = self.radial_coeffs
        return (k1, k2, *self.tangential_coeffs, k3, k4, k5, k6, *self.thin_prism_coeffs)

    @property
    def _straight(self) -> bool:
        return not any(self.distortion)

    def _project_lens(self, points: Array) -> tuple[Array, Mask]:
        z = points[:, 2]
        valid = (z > 0.0) & np.isfinite(points).all(axis=1)
        x = points[:, 0] / z
        y = points[:, 1] / z
        if not self._straight:
            valid &= x * x + y * y <= _radial(self.radial_coeffs).end ** 2
            bent = self._bent(x, y)
            x, y = bent.x, bent.y
            valid &= bent.determinant > 0.0
        uv = np.empty((len(points), 2))
        uv[:, 0] = self.focal_length[0] * x + self.principal_point[0]
        uv[:, 1] = self.focal_length[1] * y + self.principal_point[1]
        return uv, valid

    def _unproject_lens(self, uv: Array) -> tuple[Array, Mask]:
        x = (uv[:, 0] - self.principal_point[0]) / self.focal_length[0]
        y = (uv[:, 1] - self.principal_point[1]) / self.focal_length[1]
        if self._straight:
            valid = np.isfinite(x) & np.isfinite(y)
        else:
            x, y, valid = self._straightened(x, y)
        rays = np.empty((len(uv), 3))
        length = np.sqrt(1.0 + x * x + y * y)
        rays[:, 0] = x / length
        rays[:, 1] = y / length
        rays[:, 2] = 1.0 / length
        return rays, valid

    def _bent(self, x: Array, y: Array) -> _Bent:
        k = self.radial_coeffs
        p1, p2 = self.tangential_coeffs
        s1, s2, s3, s4 = self.thin_prism_coeffs
        s = x * x + y * y
        above, below = (1.0, *k[:3]), (1.0, *k[3:])
        denominator = horner(below, s)
        factor = horner(above, s) / denominator
        by_s = horner(derivative(above), s) - factor * horner(derivative(below), s)
        by_s *= 2.0 / denominator
        prism_x = 2.0 * (s1 + 2.0 * s2 * s)
        prism_y = 2.0 * (s3 + 2.0 * s4 * s)
        shared = x * y * by_s + 2.0 * (p1 * x + p2 * y)
        return _Bent(
            x * factor + 2.0 * p1 * x * y + p2 * (s + 2.0 * x * x) + s * (s1 + s2 * s),
            y * factor + p1 * (s + 2.0 * y * y) + 2.0 * p2 * x * y + s * (s3 + s4 * s),
            factor + x * x * by_s + 2.0 * p1 * y + (6.0 * p2 + prism_x) * x,
            shared + prism_x * y,
            shared + prism_y * x,
            factor + y * y * by_s + (6.0 * p1 + prism_y) * y + 2.0 * p2 * x,
        )

    def _straightened(self, bent_x: Array, bent_y: Array) -> tuple[Array, Array, Mask]:
        """Solve for x, y by Newton, from the radial part's inverse; valid where it converged."""
        radial = _radial(self.radial_coeffs)
        distance = np.hypot(bent_x, bent_y)
        radius = np.interp(distance, radial.bent, radial.knots)
        start = np.divide(radius, distance, out=np.ones_like(radius), where=distance > 0.0)
        x, y = bent_x * start, bent_y * start
        for _ in range(_NEWTON_STEPS):
            at = self._bent(x, y)
            error_x = at.x - bent_x
            error_y = at.y - bent_y
            determinant = at.determinant
            step_x = (at.y_by_y * error_x - at.x_by_y * error_y) / determinant
            step_y = (at.x_by_x * error_y - at.y_by_x * error_x) / determinant
            x -= step_x
            y -= step_y
            step = np.maximum(np.abs(step_x), np.abs(step_y)) / (1.0 + radius)
            # Newton doubles the digits: after a step of this size the next is below rounding.
            if np.fmax.reduce(step, initial=0.0) <= 1e-9:
                break
        at = self._bent(x, y)
        error = np.maximum(np.abs(at.x - bent_x), np.abs(at.y - bent_y))
        valid = error <= 1e-12 * (1.0 + distance)
        valid &= (x * x + y * y <= radial.end**2) & (at.determinant > 0.0)
        return x, y, valid

    def _stretched_lens(self, scale_u: float, scale_v: float) -> dict[str, tuple[float, ...]]:
        return stretched_focal_length(self.focal_length, scale_u, scale_v)


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
        checked_focal_length(self)
        fill(self, radial_coeffs=floats(self.radial_coeffs, 'radial_coeffs', 4))
        checked_max_angle(self)

    @property
    def needs_fit(self) -> bool:
        return self.windshield is not None

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
