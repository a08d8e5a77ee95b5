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
"""The light of the drawn world: the sun, the haze, and how both colour a surface."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Float = TypeVar('Float', np.float32, np.float64)

# Towards the horizon everything takes this colour; sky and ground meet in it. RGB 0 … 255.
HAZE = np.array([203.0, 214.0, 223.0])
# Metres at which the ground has lost two thirds of its own colour.
_VISIBILITY = 170.0
_MOST_HAZE_ON_BOXES = 0.55
_SUN_LEFT_OF_START = math.radians(48.0)
_SUN_ELEVATION = math.radians(27.0)
_AMBIENT = 0.60


def sun_direction(heading: float) -> Array:
    """Give the unit vector to the sun for a drive that begins with that heading in radians."""
    azimuth = heading + _SUN_LEFT_OF_START
    level = math.cos(_SUN_ELEVATION)
    return np.array(
        [level * math.cos(azimuth), level * math.sin(azimuth), math.sin(_SUN_ELEVATION)]
    )


def visibility(distance: NDArray[Float]) -> NDArray[Float]:
    """Give how much of a surface's own colour is left at a distance in metres: 1 to 0."""
    scaled = distance * (1.0 / _VISIBILITY)
    scaled *= scaled
    np.negative(scaled, out=scaled)
    np.exp(scaled, out=scaled)
    return scaled


def lit(colours: Array, normals: Array, sun: Array, distances: Array) -> Array:
    """
    Shade colours (N, 3) of faces with unit normals (N, 3) at distances (N,).

    A face keeps its hue: it is darker away from the sun and paler far away, never another colour.
    """
    facing = 0.5 + 0.5 * (normals @ sun)
    shaded = colours * (_AMBIENT + (1.0 - _AMBIENT) * facing)[:, np.newaxis]
    haze = _MOST_HAZE_ON_BOXES * (1.0 - visibility(distances.astype(np.float64)))
    return shaded + haze[:, np.newaxis] * (HAZE - shaded)
