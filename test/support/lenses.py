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
The lens formulas once more, as a truth for tests.

Nothing here is shared with the package: inverses are bisections, polynomials are sums of powers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
import json
from pathlib import Path
from typing import Any
import zipfile

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Parameters = Mapping[str, Any]


def power_sum(coefficients: Iterable[float], x: Array) -> Array:
    """Evaluate a polynomial, lowest order first."""
    return np.asarray(sum(c * x**i for i, c in enumerate(coefficients)))


def bisect(function: Callable[[Array], Array], target: Array, least: float, most: float) -> Array:
    """Solve function(x) = target, of any shape, for an increasing function, to the last bit."""
    lower, upper = np.full_like(target, least), np.full_like(target, most)
    for _ in range(64):
        middle = 0.5 * (lower + upper)
        below = function(middle) < target
        lower, upper = np.where(below, middle, lower), np.where(below, upper, middle)
    return 0.5 * (lower + upper)


def ftheta_radius(parameters: Parameters, angle: Array, longest: float = 4000.0) -> Array:
    """Return the pixel distance of an angle, by the reference polynomial alone."""
    if parameters['reference_poly'] == 'ANGLE_TO_PIXELDIST':
        return power_sum(parameters['angle_to_pixeldist_poly'], angle)
    return bisect(
        lambda r: power_sum(parameters['pixeldist_to_angle_poly'], r), angle, 0.0, longest
    )


def ftheta_angle(parameters: Parameters, radius: Array) -> Array:
    """Return the angle of a pixel distance, by the reference polynomial alone."""
    if parameters['reference_poly'] == 'PIXELDIST_TO_ANGLE':
        return power_sum(parameters['pixeldist_to_angle_poly'], radius)
    return bisect(
        lambda a: power_sum(parameters['angle_to_pixeldist_poly'], a),
        radius,
        0.0,
        parameters['max_angle'],
    )


def ftheta_project(parameters: Parameters, points: Array, longest: float = 4000.0) -> Array:
    """Project points (N, 3) in optical coordinates; NaN beyond max_angle."""
    x, y, z = np.asarray(points, dtype=float).T
    sideways = np.hypot(x, y)
    angle = np.arctan2(sideways, z)
    # On the axis it does not matter.
    factor = ftheta_radius(parameters, angle, longest) / np.where(sideways > 0.0, sideways, 1.0)
    c, d, e = parameters.get('linear_cde', (1.0, 0.0, 0.0))
    u0, v0 = parameters['principal_point']
    uv = np.stack([factor * (c * x + d * y) + u0, factor * (e * x + y) + v0], axis=1)
    return np.where((angle > parameters['max_angle'])[:, np.newaxis], np.nan, uv)


def ftheta_unproject(parameters: Parameters, u: Array, v: Array) -> tuple[Array, Array, Array]:
    """Return the unit rays x, y, z of pixels."""
    c, d, e = parameters.get('linear_cde', (1.0, 0.0, 0.0))
    u0, v0 = parameters['principal_point']
    determinant = c - d * e
    x = ((u - u0) - d * (v - v0)) / determinant
    y = (c * (v - v0) - e * (u - u0)) / determinant
    radius = np.hypot(x, y)
    angle = ftheta_angle(parameters, radius)
    factor = np.sin(angle) / np.maximum(radius, 1e-9)
    return (x * factor, y * factor, np.cos(angle))


def archive_cameras(path: Path) -> dict[str, Any]:
    """Read the raw calibrations of an archive: logical name -> entry."""
    with zipfile.ZipFile(path) as archive:
        rig = json.loads(archive.read('rig_trajectories.json'))
    return {entry['logical_sensor_name']: entry for entry in rig['camera_calibrations'].values()}
