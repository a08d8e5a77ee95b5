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
NVIDIA's F-theta model: a polynomial between pixel distance and angle, then a small shear.

With theta = atan2(|xy|, z) and delta = a(theta), a pixel is A (delta / |xy|) (x, y) + principal
point, A = [[c, d], [e, 1]]. Either a (angle to pixel distance) or b (pixel distance to angle) is
the reference, the other only a fit of its inverse: it is kept for the wire and never used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
import math
from typing import ClassVar, TYPE_CHECKING

import numpy as np
from nurec_ros.scenario.cameras.base import (
    Array,
    CameraModel,
    CameraModelError,
    checked_max_angle,
    checked_size,
    floats,
    Mask,
)
from nurec_ros.scenario.cameras.polynomial import Monotone, monotone

if TYPE_CHECKING:
    from typing_extensions import Self

PIXELDIST_TO_ANGLE = 'PIXELDIST_TO_ANGLE'
ANGLE_TO_PIXELDIST = 'ANGLE_TO_PIXELDIST'
MOST_COEFFICIENTS = 6
# No lens spreads its edge this much more than its centre: it bounds the search for max_angle.
_WIDEST_STRETCH = 16.0
# Of a polynomial that was fitted with a constant term all the same, in pixels.
_LARGEST_CONSTANT = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class FthetaCamera(CameraModel):
    """
    An F-theta camera; the polynomials' coefficients go lowest order first.

    max_angle in radians: rays further from the axis have no pixel. linear_cde: (c, d, e).
    """

    kind: ClassVar[str] = 'ftheta'

    reference_poly: str
    pixeldist_to_angle_poly: tuple[float, ...] = ()
    angle_to_pixeldist_poly: tuple[float, ...] = ()
    max_angle: float
    linear_cde: tuple[float, float, float] = (1.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        checked_size(self)
        for name in ('pixeldist_to_angle_poly', 'angle_to_pixeldist_poly'):
            values = floats(getattr(self, name), name)
            if len(values) > MOST_COEFFICIENTS:
                raise CameraModelError(
                    f'parameters.{name}', f'{len(values)} coefficients', 'at most 6'
                )
            object.__setattr__(self, name, values)
        if self.reference_poly not in (PIXELDIST_TO_ANGLE, ANGLE_TO_PIXELDIST):
            raise CameraModelError(
                'parameters.reference_poly',
                self.reference_poly,
                f'{PIXELDIST_TO_ANGLE} or {ANGLE_TO_PIXELDIST}',
            )
        reference = self._reference
        if len(reference) < 2 or not reference[1] > 0.0:
            raise CameraModelError(
                f'parameters.{self.reference_poly.lower()}_poly',
                reference,
                'the reference polynomial, with a positive linear coefficient',
            )
        # What the lens adds to every distance, in pixels.
        constant = reference[0] / reference[1]
        if self.reference_poly == ANGLE_TO_PIXELDIST:
            constant = reference[0]
        if not abs(constant) <= _LARGEST_CONSTANT:
            raise CameraModelError(
                f'parameters.{self.reference_poly.lower()}_poly[0]',
                reference[0],
                '0: what is on the axis is seen at the principal point',
            )
        checked_max_angle(self)
        c, d, e = cde = floats(self.linear_cde, 'linear_cde', 3)
        if cde == (0.0, 0.0, 0.0):
            c, d, e = cde = (1.0, 0.0, 0.0)
        if not abs(c - d * e) > 1e-6:
            raise CameraModelError('parameters.linear_cde', cde, 'an invertible [[c, d], [e, 1]]')
        object.__setattr__(self, 'linear_cde', (c, d, e))

    @property
    def _reference(self) -> tuple[float, ...]:
        if self.reference_poly == PIXELDIST_TO_ANGLE:
            return self.pixeldist_to_angle_poly
        return self.angle_to_pixeldist_poly

    @property
    def _lens(self) -> Monotone:
        widest = min(self.max_angle, math.pi)
        if self.reference_poly == ANGLE_TO_PIXELDIST:
            return monotone(self._reference, widest, math.inf)
        return monotone(self._reference, _WIDEST_STRETCH * widest / self._reference[1], widest)

    @property
    def view_angle(self) -> float:
        """Return the angle from the axis, in radians, up to which rays have a pixel."""
        lens = self._lens
        return lens.end if self.reference_poly == ANGLE_TO_PIXELDIST else lens.top

    def _project_lens(self, points: Array) -> tuple[Array, Mask]:
        x, y, z = points.T
        distance = np.hypot(x, y)
        angle = np.arctan2(distance, z)
        lens = self._lens
        if self.reference_poly == ANGLE_TO_PIXELDIST:
            valid = lens.reaches(angle)
            radius = lens(angle)
        else:
            valid = lens.attains(angle)
            radius = lens.inverse(angle)
        valid &= np.isfinite(distance) & ((distance > 0.0) | (z > 0.0))
        factor = np.divide(radius, distance, out=np.zeros_like(radius), where=distance > 0.0)
        x = x * factor
        y = y * factor
        c, d, e = self.linear_cde
        uv = np.empty((len(points), 2))
        uv[:, 0] = c * x + d * y + self.principal_point[0]
        uv[:, 1] = e * x + y + self.principal_point[1]
        return uv, valid

    def _unproject_lens(self, uv: Array) -> tuple[Array, Mask]:
        c, d, e = self.linear_cde
        u = uv[:, 0] - self.principal_point[0]
        v = uv[:, 1] - self.principal_point[1]
        determinant = c - d * e
        x = (u - d * v) / determinant
        y = (c * v - e * u) / determinant
        radius = np.hypot(x, y)
        lens = self._lens
        if self.reference_poly == ANGLE_TO_PIXELDIST:
            valid = lens.attains(radius)
            angle = lens.inverse(radius)
        else:
            valid = lens.reaches(radius)
            angle = lens(radius)
        factor = np.divide(np.sin(angle), radius, out=np.zeros_like(radius), where=radius > 0.0)
        rays = np.empty((len(uv), 3))
        rays[:, 0] = x * factor
        rays[:, 1] = y * factor
        rays[:, 2] = np.cos(angle)
        return rays, valid

    def _stretched(self, scale_u: float, scale_v: float, resolution: tuple[int, int]) -> Self:
        c, d, e = self.linear_cde
        # The lower right element of A is 1 by definition, so the polynomials take v's scale and
        # A's upper row the rest.
        ratio = scale_u / scale_v
        return replace(
            self,
            resolution=resolution,
            principal_point=self._stretched_principal_point(scale_u, scale_v),
            pixeldist_to_angle_poly=tuple(
                b / scale_v**i for i, b in enumerate(self.pixeldist_to_angle_poly)
            ),
            angle_to_pixeldist_poly=tuple(a * scale_v for a in self.angle_to_pixeldist_poly),
            linear_cde=(c * ratio, d * ratio, e),
        )
