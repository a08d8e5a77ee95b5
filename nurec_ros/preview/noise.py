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
"""Textures made of seamless noise: clouds, and the grain of the ground with its metric grid."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

GRID_PERIOD = 10.0
NEUTRAL = 128
_TILE = 640
_FINE, _FINE_WIDTH = 26.0, 0.022
_BOLD, _BOLD_WIDTH = 62.0, 0.09
_GRAIN = 5.0


def seamless(size: int, roughness: float, seed: int) -> NDArray[np.float32]:
    """
    Give noise (size, size) of mean 0 and deviation 1 that continues over its edges.

    The amplitude falls with frequency to the power of `roughness`.
    """
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing='ij'))
    frequency[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.normal(size=(size, size))) / frequency**roughness
    spectrum[0, 0] = 0.0
    noise = np.fft.irfft2(spectrum, s=(size, size))
    return np.asarray(noise / noise.std(), dtype=np.float32)


def cloud_tile(size: int) -> NDArray[np.float32]:
    """Give how thick the clouds are (size + 1, size + 1), 0 to 1, first row repeated as last."""
    cover = np.clip(0.42 * seamless(size, 1.75, seed=5) - 0.12, 0.0, 1.0)
    cover = (0.85 * np.sqrt(cover)).astype(np.float32)
    return np.asarray(np.pad(cover, ((0, 1), (0, 1)), mode='wrap'), dtype=np.float32)


def grid_tiles() -> list[Image]:
    """
    Give the ground's grain and grid over 10 m by 10 m, from fine to coarse, each half the last.

    128 leaves the ground as it is; lines lie at whole metres, bold ones at the tile's edges. A
    border of one pixel continues each tile over its edges.
    """
    metres = (np.arange(_TILE) + 0.5) * (GRID_PERIOD / _TILE)
    fine = np.abs(metres - np.rint(metres))
    bold = np.minimum(metres, GRID_PERIOD - metres)
    pixel = GRID_PERIOD / _TILE

    def line(distance: NDArray[np.float64], width: float) -> NDArray[np.float64]:
        # How much of a pixel the line covers.
        return np.clip((0.5 * width - distance) / pixel + 0.5, 0.0, 1.0)

    profile = np.maximum(_FINE * line(fine, _FINE_WIDTH), _BOLD * line(bold, _BOLD_WIDTH))
    grain = _GRAIN * seamless(_TILE, 0.45, seed=7)
    level = NEUTRAL + grain + np.maximum(profile[:, np.newaxis], profile[np.newaxis])
    tile = np.clip(level, 0, 255).astype(np.float32)
    tiles = []
    while tile.shape[0] >= 20:
        tiles.append(np.pad(np.rint(tile).astype(np.uint8), 1, mode='wrap'))
        half = tile.shape[0] // 2
        tile = cv2.resize(tile, (half, half), interpolation=cv2.INTER_AREA)
    return tiles
