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
"""A cloud of a lidar from above, the ego in the middle and ahead of it to the right."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from nurec_ros.demo.drawing import Image, polyline, Rgb

NIGHT: Rgb = (16, 18, 24)
EGO: Rgb = (240, 240, 236)
# What is seen ahead of the ego and behind it.
REACH_M = 36.0
# Heights that colours are given to; the street is grey, paint on it white.
STREET_M, HIGHEST_M = 0.3, 3.5
STREET, PAINT = (62, 70, 84), (244, 244, 238)
# The street's intensities from dark to white; above the middle it is paint, and drawn larger.
DARKEST, BRIGHTEST = 0.05, 0.5
PAINTED = 0.5 * (DARKEST + BRIGHTEST)
# The pixels of a point that is to be seen, columns and rows.
LARGE = ((0, 0), (1, 0), (0, 1))
_LEVELS = np.arange(256, dtype=np.uint8).reshape(-1, 1)
_RAINBOW = cv2.applyColorMap(_LEVELS, cv2.COLORMAP_TURBO)[:, 0, ::-1]

Points = NDArray[np.float64]


def draw_cloud(
    points: Points, size: tuple[int, int], ego_box: Sequence[float] | None = None
) -> Image:
    """
    Draw points into a picture of a width and height, by their height, on the street by intensity.

    points (K, 4): x, y, z on the rig, and intensity from 0 to 1; `ego_box` is centre x, centre y,
    length, width.
    """
    width, height = size
    image = np.full((height, width, 3), NIGHT, dtype=np.uint8)
    scale, middle = width / (2 * REACH_M), np.array([width / 2, height / 2])

    def pixels(place: Points) -> Points:
        return middle + place[:, :2] * [scale, -scale]

    # The highest are drawn last, and of the street what shines.
    raised = points[:, 2] >= STREET_M
    order = np.argsort(np.where(raised, points[:, 2], points[:, 3] - 1.0), kind='stable')
    points, raised = points[order], raised[order]
    colours = colours_of(points[:, 2], points[:, 3])
    columns, rows = np.floor(pixels(points)).astype(int).T
    painted = ~raised & (points[:, 3] > PAINTED)
    for shown, large in ((~raised & ~painted, False), (painted, True), (raised, True)):
        for right, down in LARGE if large else LARGE[:1]:
            x, y = columns + right, rows + down
            inside = shown & (x >= 0) & (x < width) & (y >= 0) & (y < height)
            image[y[inside], x[inside]] = colours[inside]
    if ego_box is not None:
        middle_x, middle_y, length, across = ego_box
        centre = [middle_x, middle_y]
        corners = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * [length / 2, across / 2]
        polyline(image, pixels(corners + centre), EGO, 1, closed=True)
        nose = np.array([[0.2, 0.5], [0.5, 0.0], [0.2, -0.5]]) * [length, across]
        polyline(image, pixels(nose + centre), EGO, 1)
    return image


def colours_of(heights: Points, intensities: Points) -> NDArray[np.uint8]:
    """Return the colours (K, 3) of heights (m) above the street, and of intensities on it."""
    share = np.clip((heights - STREET_M) / (HIGHEST_M - STREET_M), 0, 1)
    # The ends of this map are too dark for a dark ground.
    coloured = _RAINBOW[np.rint(40 + 200 * share).astype(int)]
    street = heights < STREET_M
    bright = np.clip((intensities[street] - DARKEST) / (BRIGHTEST - DARKEST), 0, 1)
    coloured[street] = np.rint(STREET + np.outer(bright**2, np.subtract(PAINT, STREET)))
    found: NDArray[np.uint8] = coloured
    return found
