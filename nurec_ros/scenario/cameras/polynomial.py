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
"""Polynomials in one variable that are only used where they increase, with their exact inverse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

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
