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
RoundLens in base.py computes it.
"""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import ClassVar

from nurec_ros.scenario.cameras.base import (
    CameraModelError,
    checked_max_angle,
    checked_size,
    floats,
    RoundLens,
)
from nurec_ros.scenario.cameras.polynomial import Monotone, monotone

PIXELDIST_TO_ANGLE = 'PIXELDIST_TO_ANGLE'
ANGLE_TO_PIXELDIST = 'ANGLE_TO_PIXELDIST'
MOST_COEFFICIENTS = 6
# No lens spreads its edge this much more than its centre: it bounds the search for max_angle.
_WIDEST_STRETCH = 16.0
# Of a polynomial that was fitted with a constant term all the same, in pixels.
_LARGEST_CONSTANT = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class FthetaCamera(RoundLens):
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
        constant = reference[0] if self._by_angle else reference[0] / reference[1]
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
        return self.angle_to_pixeldist_poly if self._by_angle else self.pixeldist_to_angle_poly

    @property
    def _lens(self) -> Monotone:
        widest = min(self.max_angle, math.pi)
        if self._by_angle:
            return monotone(self._reference, widest, math.inf)
        return monotone(self._reference, _WIDEST_STRETCH * widest / self._reference[1], widest)

    @property
    def _by_angle(self) -> bool:
        return self.reference_poly == ANGLE_TO_PIXELDIST

    @property
    def _matrix(self) -> tuple[float, float, float, float]:
        c, d, e = self.linear_cde
        return c, d, e, 1.0

    def _stretched_lens(self, scale_u: float, scale_v: float) -> dict[str, tuple[float, ...]]:
        c, d, e = self.linear_cde
        b, a = self.pixeldist_to_angle_poly, self.angle_to_pixeldist_poly
        # The lower right element of A is 1 by definition, so the polynomials take v's scale and
        # A's upper row the rest.
        ratio = scale_u / scale_v
        return {
            'pixeldist_to_angle_poly': tuple(value / scale_v**i for i, value in enumerate(b)),
            'angle_to_pixeldist_poly': tuple(value * scale_v for value in a),
            'linear_cde': (c * ratio, d * ratio, e),
        }
