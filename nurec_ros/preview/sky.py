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
"""The sky and the light: sun and haze, what they do to colours, clouds of seamless noise."""

from __future__ import annotations

from functools import cache
import math
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Plane32 = NDArray[np.float32]
Image = NDArray[np.uint8]
Float = TypeVar('Float', np.float32, np.float64)

# Towards the horizon everything takes this colour; sky and ground meet in it. RGB 0 … 255.
HAZE = np.array([203.0, 214.0, 223.0])
# Metres at which the ground has lost two thirds of its own colour.
_VISIBILITY = 170.0
_MOST_HAZE_ON_BOXES = 0.55
_SUN_LEFT_OF_START = math.radians(48.0)
_SUN_ELEVATION = math.radians(27.0)
_AMBIENT = 0.60
_ZENITH = np.array([62.0, 116.0, 190.0])
_MIDDLE = np.array([128.0, 172.0, 222.0])
_SUN = np.array([255.0, 243.0, 214.0])
_CLOUD = np.array([247.0, 249.0, 252.0])
_TILE = 512
# Repetitions of the cloud tile per unit of (x, y) / (z + bend); the bend keeps them from piling
# up into lines at the horizon.
_CLOUD_SCALE = 0.11
_CLOUD_BEND = 0.12
_STEPS = 1024


def sun_direction(heading: float) -> Array:
    """Return the unit vector to the sun for a drive that begins with that heading in radians."""
    azimuth = heading + _SUN_LEFT_OF_START
    level = math.cos(_SUN_ELEVATION)
    return np.array(
        [level * math.cos(azimuth), level * math.sin(azimuth), math.sin(_SUN_ELEVATION)]
    )


def visibility(distance: NDArray[Float]) -> NDArray[Float]:
    """Return how much of a surface's own colour is left at a distance in metres: 1 to 0."""
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


class Sky:
    """The sky of one scenario; `sun` is the unit vector to the sun in the map frame."""

    def __init__(self, sun: Array) -> None:
        self.sun = sun
        height = np.linspace(0.0, 1.0, _STEPS)[:, np.newaxis]
        low = np.clip(height / 0.3, 0.0, 1.0) ** 0.7
        high = np.clip((height - 0.3) / 0.7, 0.0, 1.0)
        gradient = HAZE + low * (_MIDDLE - HAZE) + high * (_ZENITH - _MIDDLE)
        self._gradient = gradient.astype(np.float32)
        angle = np.arccos(np.linspace(-1.0, 1.0, 4 * _STEPS))
        glow = 0.42 * np.exp(-angle / 0.28) + 0.45 * np.exp(-((angle / 0.075) ** 2))
        self._glow = glow.astype(np.float32)
        self._clouds = cloud_tile(_TILE)

    def draw(self, x: Plane32, y: Plane32, z: Plane32, height: Plane32) -> Image:
        """
        Draw the sky but the sun's disc, RGB (H, W, 3).

        x, y, z (H, W): unit directions in the map; height: how high they look above the ground,
        which may slope: there the haze lies in which both meet.
        """
        height = np.clip(height, 0.0, 1.0)
        rows = (height * (_STEPS - 1)).astype(np.intp)
        colour = self._gradient[rows]
        spread = _CLOUD_SCALE / (height + _CLOUD_BEND)
        u = x * spread
        v = y * spread
        u -= np.floor(u)
        v -= np.floor(v)
        cloud = cv2.remap(self._clouds, u * _TILE, v * _TILE, cv2.INTER_LINEAR)
        cloud = cloud * np.minimum(height * 5.0, 1.0)
        colour += cloud[..., np.newaxis] * (_CLOUD.astype(np.float32) - colour)
        towards = x * self.sun[0] + y * self.sun[1] + z * self.sun[2]
        towards = np.clip((towards + 1.0) * (2 * _STEPS), 0, 4 * _STEPS - 1)
        glow = self._glow[towards.astype(np.intp)]
        colour += glow[..., np.newaxis] * (_SUN.astype(np.float32) - colour)
        return np.asarray(cv2.convertScaleAbs(colour), dtype=np.uint8)


def cloud_tile(size: int) -> NDArray[np.float32]:
    """Return how thick the clouds are (size + 1, size + 1), 0 to 1, first row repeated as last."""
    cover = np.clip(0.42 * seamless(size, 1.75, seed=5) - 0.12, 0.0, 1.0)
    cover = (0.85 * np.sqrt(cover)).astype(np.float32)
    return np.asarray(np.pad(cover, ((0, 1), (0, 1)), mode='wrap'), dtype=np.float32)


@cache
def seamless(size: int, roughness: float, seed: int) -> NDArray[np.float32]:
    """
    Return noise (size, size) of mean 0 and deviation 1 that continues over its edges.

    The amplitude falls with frequency to the power of `roughness`.
    """
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing='ij'))
    frequency[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.normal(size=(size, size))) / frequency**roughness
    spectrum[0, 0] = 0.0
    noise = np.fft.irfft2(spectrum, s=(size, size))
    return np.asarray(noise / noise.std(), dtype=np.float32)
