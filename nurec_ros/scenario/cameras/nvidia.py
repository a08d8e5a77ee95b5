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
NVIDIA's models: the F-theta lens, and the bivariate windshield before a lens; their polynomials.

F-theta is a polynomial between pixel distance and angle, then a small shear. With theta =
atan2(|xy|, z) and delta = a(theta), a pixel is A (delta / |xy|) (x, y) + principal point,
A = [[c, d], [e, 1]]. Either a (angle to pixel distance) or b (pixel distance to angle) is the
reference, the other only a fit of its inverse: it is kept for the wire and never used. RoundLens
in base.py computes it.

The windshield bends rays before they reach the lens. A ray (x, y, z) of length 1 has the angles
phi = asin(x), theta = asin(y). Two polynomials in both give the angles behind the glass, phi' =
H(phi, theta) and theta' = V(phi, theta), and the ray (sin phi', sin theta', z') with the sign of
z. The coefficients form a triangle: for each power j of theta the powers 0 … N - j of phi,
(N + 1)(N + 2) / 2 in all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
import math
from typing import ClassVar

import numpy as np
from nurec_ros.poses import Array
from nurec_ros.scenario.cameras.base import (
    checked_max_angle,
    checked_size,
    floats,
    Mask,
    RoundLens,
    wrong,
)
from nurec_ros.scenario.trajectory import fill

# Below this part of the slope at 0 the inverse loses too many digits; the lens ends there.
_LEAST_SLOPE = 1e-3
_KNOTS = 513
_NEWTON_STEPS = 6
_ROUNDING = 1.0 + 1e-12


def horner(coefficients: tuple[float, ...], x: Array) -> Array:
    """Evaluate the polynomial (lowest order first) at each x."""
    value = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value *= x
        if coefficient:
            value += coefficient
    return value


def derivative(coefficients: tuple[float, ...]) -> tuple[float, ...]:
    """Return the derivative's coefficients, lowest order first; never empty."""
    return tuple(i * c for i, c in enumerate(coefficients))[1:] or (0.0,)


@dataclass(frozen=True, slots=True, eq=False)
class Monotone:
    """
    A polynomial y = p(x) on [0, end], where it increases strictly.

    `end` is the smallest of: the asked x limit, the x at which p reaches the asked y limit, and
    the x at which the slope has fallen to a thousandth of the slope at 0.
    """

    coefficients: tuple[float, ...]
    slope: tuple[float, ...]
    end: float
    top: float
    knots_x: Array
    knots_y: Array

    def __call__(self, x: Array) -> Array:
        """Evaluate p; the caller asks only for x in [0, end]."""
        return horner(self.coefficients, x)

    def reaches(self, x: Array) -> Mask:
        """Return which x lie in the domain, rounding forgiven, so that an edge maps both ways."""
        return np.asarray(x <= self.end * _ROUNDING, dtype=np.bool_)

    def attains(self, y: Array) -> Mask:
        """Return which y lie in the range, rounding forgiven."""
        return np.asarray(y <= self.top * _ROUNDING, dtype=np.bool_)

    def inverse(self, y: Array) -> Array:
        """
        Solve p(x) = y by Newton from an interpolated start.

        Values outside p's range give the nearer end, NaN gives NaN; the caller knows which are
        valid.
        """
        x = np.interp(y, self.knots_y, self.knots_x)
        for _ in range(_NEWTON_STEPS):
            step = horner(self.coefficients, x)
            step -= y
            step /= horner(self.slope, x)
            x -= step
            np.clip(x, 0.0, self.end, out=x)
            inside = (x > 0.0) & (x < self.end)
            # The next step would be about the square of this one, relative to the domain.
            if np.fmax.reduce(np.abs(step), initial=0.0, where=inside) <= 1e-10 * self.end:
                break
        return x


@lru_cache(maxsize=256)
def monotone(coefficients: tuple[float, ...], x_limit: float, y_limit: float) -> Monotone:
    """
    Cut the polynomial to the part of [0, x_limit] on which it increases and stays below y_limit.

    The slope at 0 must be positive; the limits must be positive, x_limit finite.
    """
    slope = derivative(coefficients)
    least = _LEAST_SLOPE * slope[0]

    end = _last_within(lambda x: least - horner(slope, x), x_limit)
    end = _last_within(lambda x: horner(coefficients, x) - y_limit, end)
    knots_x = np.linspace(0.0, end, _KNOTS)
    knots_y = horner(coefficients, knots_x)
    return Monotone(coefficients, slope, end, float(knots_y[-1]), knots_x, knots_y)


def _last_within(excess: Callable[[Array], Array], end: float) -> float:
    """Return the last x of [0, end] before the excess first rises above 0."""
    lower, upper = 0.0, end
    # Zooming in on the first crossing needs no start value and never steps over it.
    for _ in range(7):
        x = np.linspace(lower, upper, 257)
        beyond = np.flatnonzero(excess(x) > 0.0)
        if not beyond.size:
            return upper
        first = int(beyond[0])
        lower, upper = float(x[max(first - 1, 0)]), float(x[first])
    return lower


PIXELDIST_TO_ANGLE = 'PIXELDIST_TO_ANGLE'
ANGLE_TO_PIXELDIST = 'ANGLE_TO_PIXELDIST'
REFERENCES = f'{PIXELDIST_TO_ANGLE} or {ANGLE_TO_PIXELDIST}'
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
                raise wrong(name, f'{len(values)} coefficients', 'at most 6')
            fill(self, **{name: values})
        if self.reference_poly not in (PIXELDIST_TO_ANGLE, ANGLE_TO_PIXELDIST):
            raise wrong('reference_poly', self.reference_poly, REFERENCES)
        reference, name = self._reference, f'{self.reference_poly.lower()}_poly'
        if len(reference) < 2 or not reference[1] > 0.0:
            expected = 'the reference polynomial, with a positive linear coefficient'
            raise wrong(name, reference, expected)
        # What the lens adds to every distance, in pixels.
        constant = reference[0] if self._by_angle else reference[0] / reference[1]
        if not abs(constant) <= _LARGEST_CONSTANT:
            expected = '0: what is on the axis is seen at the principal point'
            raise wrong(f'{name}[0]', reference[0], expected)
        checked_max_angle(self)
        c, d, e = cde = floats(self.linear_cde, 'linear_cde', 3)
        if cde == (0.0, 0.0, 0.0):
            c, d, e = cde = (1.0, 0.0, 0.0)
        if not abs(c - d * e) > 1e-6:
            raise wrong('linear_cde', cde, 'an invertible [[c, d], [e, 1]]')
        fill(self, linear_cde=(c, d, e))

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


FORWARD = 'FORWARD'
BACKWARD = 'BACKWARD'
HIGHEST_ORDER = 5
_GLASS_STEPS = 12
_CONVERGED = 1e-13
# Glass leaves angles as they are within some percent, that is 1.
_LEAST_DETERMINANT = 1e-3
_ORDER_OF_LENGTH = {(n + 1) * (n + 2) // 2: n for n in range(HIGHEST_ORDER + 1)}
POLYNOMIALS = (
    'horizontal_poly',
    'vertical_poly',
    'horizontal_poly_inverse',
    'vertical_poly_inverse',
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Windshield:
    """
    The glass before a camera; all parameters are kept as given, for the wire.

    FORWARD: `horizontal_poly` and `vertical_poly` (world to lens) are exact, the inverse ones a
    fit. BACKWARD: the other way round. The fit only starts the exact inversion and may be empty.
    """

    reference_poly: str
    horizontal_poly: tuple[float, ...] = ()
    vertical_poly: tuple[float, ...] = ()
    horizontal_poly_inverse: tuple[float, ...] = ()
    vertical_poly_inverse: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        where = 'external_distortion_parameters.'
        if self.reference_poly not in (FORWARD, BACKWARD):
            raise wrong(f'{where}reference_poly', self.reference_poly, 'FORWARD or BACKWARD')
        exact = POLYNOMIALS[:2] if self.reference_poly == FORWARD else POLYNOMIALS[2:]
        for name in POLYNOMIALS:
            values = floats(getattr(self, name), where + name)
            if len(values) not in _ORDER_OF_LENGTH and (values or name in exact):
                lengths = ', '.join(map(str, _ORDER_OF_LENGTH))
                expected = f'a triangle of {lengths} coefficients'
                raise wrong(f'{where}{name}', f'{len(values)} coefficients', expected)
            fill(self, **{name: values})
        for horizontal, vertical in (POLYNOMIALS[:2], POLYNOMIALS[2:]):
            pair = getattr(self, horizontal), getattr(self, vertical)
            if all(pair) and not _turns_nothing_over(*pair):
                raise wrong(
                    f'{where}{horizontal}',
                    pair[0],
                    f'a glass that can be seen through: with {vertical}, angles that differ '
                    'stay different',
                )

    def distort(self, points: Array) -> tuple[Array, Mask]:
        """Bend rays (N, 3) of any length as the glass does, world to lens; unit rays, valid."""
        return self._bend(points, FORWARD)

    def undistort(self, points: Array) -> tuple[Array, Mask]:
        """Bend rays (N, 3) of any length back, lens to world; unit rays, valid."""
        return self._bend(points, BACKWARD)

    def _bend(self, points: Array, way: str) -> tuple[Array, Mask]:
        ways = {
            FORWARD: (self.horizontal_poly, self.vertical_poly),
            BACKWARD: (self.horizontal_poly_inverse, self.vertical_poly_inverse),
        }
        if way == self.reference_poly:
            return _bent(points, *ways[way])
        return _bent_back(points, ways[self.reference_poly], ways[way])


def _angles(points: Array) -> tuple[Array, Array]:
    length = np.sqrt(np.einsum('ij,ij->i', points, points))
    return np.arcsin(points[:, 0] / length), np.arcsin(points[:, 1] / length)


def _rays(phi: Array, theta: Array, z: Array) -> tuple[Array, Mask]:
    rays = np.empty((len(phi), 3))
    rays[:, 0] = np.sin(phi)
    rays[:, 1] = np.sin(theta)
    left = 1.0 - rays[:, 0] ** 2 - rays[:, 1] ** 2
    rays[:, 2] = np.copysign(np.sqrt(np.maximum(left, 0.0)), z)
    quarter = math.pi / 2
    return rays, (left >= 0.0) & (np.abs(phi) <= quarter) & (np.abs(theta) <= quarter)


def _bent(
    points: Array, horizontal: tuple[float, ...], vertical: tuple[float, ...]
) -> tuple[Array, Mask]:
    phi, theta = _angles(points)
    return _rays(_value(horizontal, phi, theta), _value(vertical, phi, theta), points[:, 2])


def _bent_back(
    points: Array,
    exact: tuple[tuple[float, ...], tuple[float, ...]],
    start: tuple[tuple[float, ...], tuple[float, ...]],
) -> tuple[Array, Mask]:
    """Solve exact(phi, theta) = the rays' angles by Newton, from what the fit `start` says."""
    to_phi, to_theta = _angles(points)
    phi = _value(start[0], to_phi, to_theta) if start[0] else to_phi.copy()
    theta = _value(start[1], to_phi, to_theta) if start[1] else to_theta.copy()
    for _ in range(_GLASS_STEPS):
        h, h_phi, h_theta = _value_and_slopes(exact[0], phi, theta)
        v, v_phi, v_theta = _value_and_slopes(exact[1], phi, theta)
        determinant = h_phi * v_theta - h_theta * v_phi
        h -= to_phi
        v -= to_theta
        step_phi = (v_theta * h - h_theta * v) / determinant
        step_theta = (h_phi * v - v_phi * h) / determinant
        phi -= step_phi
        theta -= step_theta
        step = np.maximum(np.abs(step_phi), np.abs(step_theta))
        # Newton doubles the digits: after a step of this size the next one is below rounding.
        if np.fmax.reduce(step, initial=0.0) <= 1e-8:
            break
    rays, valid = _rays(phi, theta, points[:, 2])
    h = _value(exact[0], phi, theta)
    v = _value(exact[1], phi, theta)
    # Where the glass would fold the picture the determinant changes its sign.
    valid &= determinant > 0.0
    valid &= np.maximum(np.abs(h - to_phi), np.abs(v - to_theta)) <= _CONVERGED
    return rays, valid


def _rows(coefficients: tuple[float, ...]) -> list[tuple[float, ...]]:
    """Return, for each power of theta, the coefficients of the powers of phi."""
    rows = []
    for width in range(_ORDER_OF_LENGTH[len(coefficients)] + 1, 0, -1):
        rows.append(coefficients[:width])
        coefficients = coefficients[width:]
    return rows


def _turns_nothing_over(horizontal: tuple[float, ...], vertical: tuple[float, ...]) -> bool:
    """Return whether rays near the axis keep their order: the slopes there can be inverted."""
    axis = np.zeros(1)
    _, h_phi, h_theta = _value_and_slopes(horizontal, axis, axis)
    _, v_phi, v_theta = _value_and_slopes(vertical, axis, axis)
    return bool((h_phi * v_theta - h_theta * v_phi)[0] > _LEAST_DETERMINANT)


def _value(coefficients: tuple[float, ...], phi: Array, theta: Array) -> Array:
    value = np.zeros_like(phi)
    for row in reversed(_rows(coefficients)):
        value *= theta
        value += horner(row, phi)
    return value


def _value_and_slopes(
    coefficients: tuple[float, ...], phi: Array, theta: Array
) -> tuple[Array, Array, Array]:
    value = np.zeros_like(phi)
    by_phi = np.zeros_like(phi)
    by_theta = np.zeros_like(phi)
    for row in reversed(_rows(coefficients)):
        by_theta *= theta
        by_theta += value
        value *= theta
        value += horner(row, phi)
        by_phi *= theta
        by_phi += horner(derivative(row), phi)
    return value, by_phi, by_theta
