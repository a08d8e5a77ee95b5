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
The bivariate windshield: what the glass does to rays before they reach the lens.

A ray (x, y, z) of length 1 has the angles phi = asin(x), theta = asin(y). Two polynomials in
both give the angles behind the glass, phi' = H(phi, theta) and theta' = V(phi, theta), and the
ray (sin phi', sin theta', z') with the sign of z. The coefficients form a triangle: for each
power j of theta the powers 0 … N - j of phi, (N + 1)(N + 2) / 2 in all.
"""

from __future__ import annotations

from dataclasses import dataclass
import math

import numpy as np
from numpy.typing import NDArray
from nurec_ros.scenario.cameras.base import CameraModelError, floats
from nurec_ros.scenario.cameras.polynomial import derivative, horner

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

FORWARD = 'FORWARD'
BACKWARD = 'BACKWARD'
HIGHEST_ORDER = 5
_NEWTON_STEPS = 12
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
            raise CameraModelError(
                f'parameters.{where}reference_poly', self.reference_poly, 'FORWARD or BACKWARD'
            )
        exact = POLYNOMIALS[:2] if self.reference_poly == FORWARD else POLYNOMIALS[2:]
        for name in POLYNOMIALS:
            values = floats(getattr(self, name), where + name)
            if len(values) not in _ORDER_OF_LENGTH and (values or name in exact):
                lengths = ', '.join(str(length) for length in _ORDER_OF_LENGTH)
                raise CameraModelError(
                    f'parameters.{where}{name}',
                    f'{len(values)} coefficients',
                    f'a triangle of {lengths} coefficients',
                )
            object.__setattr__(self, name, values)
        for horizontal, vertical in (POLYNOMIALS[:2], POLYNOMIALS[2:]):
            pair = getattr(self, horizontal), getattr(self, vertical)
            if all(pair) and not _turns_nothing_over(*pair):
                raise CameraModelError(
                    f'parameters.{where}{horizontal}',
                    pair[0],
                    f'a glass that can be seen through: with {vertical}, angles that differ '
                    'stay different',
                )

    def distort(self, points: Array) -> tuple[Array, Mask]:
        """Bend rays (N, 3) of any length as the glass does, world to lens; unit rays, valid."""
        forward = (self.horizontal_poly, self.vertical_poly)
        backward = (self.horizontal_poly_inverse, self.vertical_poly_inverse)
        if self.reference_poly == FORWARD:
            return _bent(points, *forward)
        return _bent_back(points, backward, forward)

    def undistort(self, points: Array) -> tuple[Array, Mask]:
        """Bend rays (N, 3) of any length back, lens to world; unit rays, valid."""
        forward = (self.horizontal_poly, self.vertical_poly)
        backward = (self.horizontal_poly_inverse, self.vertical_poly_inverse)
        if self.reference_poly == BACKWARD:
            return _bent(points, *backward)
        return _bent_back(points, forward, backward)


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
    for _ in range(_NEWTON_STEPS):
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
    order = _ORDER_OF_LENGTH[len(coefficients)]
    rows = []
    first = 0
    for j in range(order + 1):
        last = first + order - j + 1
        rows.append(coefficients[first:last])
        first = last
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
