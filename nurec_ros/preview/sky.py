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
"""The sky: a gradient from the horizon up, clouds, and the glow of the sun."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from nurec_ros.preview.light import HAZE
from nurec_ros.preview.noise import cloud_tile

Array = NDArray[np.float64]
Plane32 = NDArray[np.float32]
Image = NDArray[np.uint8]

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
