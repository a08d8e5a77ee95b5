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
OpenCV's pinhole model: rational radial, tangential and thin prism distortion.

With x = X / Z, y = Y / Z, s = x^2 + y^2 and R = (1 + k1 s + k2 s^2 + k3 s^3) / (1 + k4 s + k5 s^2
+ k6 s^3): x' = x R + 2 p1 x y + p2 (s + 2 x^2) + s1 s + s2 s^2 and y' = y R + p1 (s + 2 y^2) +
2 p2 x y + s3 s + s4 s^2; a pixel is (fx x', fy y') + principal point. OpenCV's own order of the
twelve is k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 s4.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
import math
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.polynomial import polynomial
from nurec_ros.scenario.cameras.base import (
    Array,
    CameraModel,
    checked_focal_length,
    checked_size,
    floats,
    Mask,
    stretched_focal_length,
)
from nurec_ros.scenario.cameras.polynomial import derivative, horner

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

    focal_length: tuple[float, float]
    radial_coeffs: tuple[float, ...] = (0.0,) * 6
    tangential_coeffs: tuple[float, ...] = (0.0,) * 2
    thin_prism_coeffs: tuple[float, ...] = (0.0,) * 4

    def __post_init__(self) -> None:
        checked_size(self)
        object.__setattr__(self, 'focal_length', checked_focal_length(self.focal_length))
        for name, count in (
            ('radial_coeffs', 6),
            ('tangential_coeffs', 2),
            ('thin_prism_coeffs', 4),
        ):
            object.__setattr__(self, name, floats(getattr(self, name), name, count))

    @property
    def distortion(self) -> tuple[float, ...]:
        """Return the twelve coefficients in OpenCV's order."""
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
        start = np.interp(distance, radial.bent, radial.knots)
        start = np.divide(start, distance, out=np.ones_like(start), where=distance > 0.0)
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
            step = np.maximum(np.abs(step_x), np.abs(step_y)) / (1.0 + distance)
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
