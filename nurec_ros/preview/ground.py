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
"""The ground: its plane at a place, and the painted map and metric grid seen through the lens."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from nurec_ros.preview.paint import GroundPaint, VERGE
from nurec_ros.preview.sky import HAZE, seamless, visibility

Array = NDArray[np.float64]
Plane32 = NDArray[np.float32]
Image = NDArray[np.uint8]

GRID_PERIOD = 10.0
NEUTRAL = 128
_TILE = 640
_FINE, _FINE_WIDTH = 26.0, 0.022
_BOLD, _BOLD_WIDTH = 62.0, 0.09
_GRAIN = 5.0

# No ray goes further than this, in metres; long before, all is haze.
FARTHEST = 3000.0
# Beyond this the grid's lines are too fine to show.
_GRID_REACH = 90.0
# A level of a texture serves until its pixels look this much smaller than the picture's.
_FINER = 1.4
# The slope is taken over this much of the way to each side, so that braking does not tip it.
_REACH = 15.0
_SHORTEST = 5.0


class Plane(NamedTuple):
    """A plane through `origin` (3,) with the unit normal `normal` (3,), in the map frame."""

    origin: Array
    normal: Array


class Terrain:
    """
    The ground about a way (N, 3), metres, in the map frame.

    At any place it is the plane through the nearest point of the way, as steep along it as the
    way is there over some 30 m, and level across it.
    """

    def __init__(self, positions: Array) -> None:
        self._positions = positions
        steps = np.hypot(*np.diff(positions[:, :2], axis=0).T)
        self._arc = np.concatenate([[0.0], np.cumsum(steps)])

    def plane_near(self, position: Array) -> Plane:
        """Return the ground's plane at the place of the way that is nearest to the position."""
        origin, arc = self._nearest(position)
        before = self._at(arc - _REACH)
        after = self._at(arc + _REACH)
        across = after - before
        run = float(np.hypot(across[0], across[1]))
        if run < _SHORTEST:
            return Plane(origin, np.array([0.0, 0.0, 1.0]))
        rise = across[2] / run
        normal = np.array([-rise * across[0] / run, -rise * across[1] / run, 1.0])
        return Plane(origin, normal / np.linalg.norm(normal))

    def _at(self, arc: float) -> Array:
        return np.array([np.interp(arc, self._arc, column) for column in self._positions.T])

    def _nearest(self, position: Array) -> tuple[Array, float]:
        """Return the nearest point of the way's segments and its length along the way."""
        if len(self._positions) == 1:
            return self._positions[0], 0.0
        first, last = self._positions[:-1], self._positions[1:]
        along = last - first
        squared = np.maximum(np.einsum('ij,ij->i', along, along), 1e-18)
        part = np.einsum('ij,ij->i', position - first, along) / squared
        part = np.clip(part, 0.0, 1.0)
        points = first + part[:, np.newaxis] * along
        best = int(np.argmin(((points - position) ** 2).sum(axis=1)))
        arc = self._arc[best] + part[best] * (self._arc[best + 1] - self._arc[best])
        return points[best], float(arc)


class Spots(NamedTuple):
    """
    Where the rays of some rows of pixels meet the ground.

    x, y (h, w): metres in the map from `base` (2,), whole tiles of the grid near the camera, so
    that float32 keeps millimetres; distance (h, w) from the camera; nearest, farthest (h,) by
    row; height of the camera above the ground.
    """

    x: Plane32
    y: Plane32
    base: Array
    distance: Plane32
    nearest: Plane32
    farthest: Plane32
    height: float


def meet(directions: Plane32, heights: Array, eye: Array) -> Spots:
    """
    Let rays meet the ground.

    directions (h, 3, w): x and y in the map, and along the ground's normal; heights of the camera
    above the ground, and eye (2, …), its x and y in the map, are single or by row or column.
    """
    down = np.minimum(directions[:, 2], np.float32(-1e-6))
    distance = np.divide((-np.asarray(heights)).astype(np.float32), down)
    np.clip(distance, np.float32(0.0), np.float32(FARTHEST), out=distance)
    base = np.floor(np.array([np.mean(eye[0]), np.mean(eye[1])]) / GRID_PERIOD) * GRID_PERIOD
    x = directions[:, 0] * distance
    x += (eye[0] - base[0]).astype(np.float32)
    y = directions[:, 1] * distance
    y += (eye[1] - base[1]).astype(np.float32)
    nearest, farthest = distance.min(axis=1), distance.max(axis=1)
    return Spots(x, y, base, distance, nearest, farthest, max(float(np.mean(heights)), 0.1))


class Ground:
    """Draws the ground of one scenario."""

    def __init__(self, paint: GroundPaint) -> None:
        self.paint = paint
        self._tiles = grid_tiles()

    def draw(self, spots: Spots, pixel_angle: float, shade: Image) -> Image:
        """
        Draw the ground at some spots, RGB (h, w, 3).

        pixel_angle: radians that a pixel covers; shade (h, w): 255 where the sun shines, less in
        the shadow.
        """
        picture = self._painted(spots, pixel_angle)
        light = cv2.multiply(self._grain(spots, pixel_angle), shade, scale=1.0 / 255.0)
        light = cv2.merge([light, light, light])
        cv2.multiply(picture, light, picture, 1.0 / NEUTRAL)
        clear = visibility(spots.distance)
        haze = np.empty_like(picture)
        haze[:] = np.rint(HAZE)
        return np.asarray(cv2.blendLinear(picture, haze, clear, 1.0 - clear), dtype=np.uint8)

    def _painted(self, spots: Spots, pixel_angle: float) -> Image:
        paint = self.paint
        picture = np.empty((*spots.distance.shape, 3), dtype=np.uint8)
        limits = _limits(paint.pixel, len(paint.levels), spots.height, pixel_angle)
        for level, (begin, end) in enumerate(limits):
            rows = _rows(spots, begin, end)
            if rows is None:
                continue
            scale = 0.5**level / paint.pixel
            u = spots.x[rows] * np.float32(scale)
            u += np.float32((spots.base[0] - paint.x0) * scale - 0.5)
            v = spots.y[rows] * np.float32(scale)
            v += np.float32((spots.base[1] - paint.y0) * scale - 0.5)
            seen = cv2.remap(
                paint.levels[level],
                u,
                v,
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=VERGE,
            )
            _put(seen, picture, spots, rows, begin, end)
        return picture

    def _grain(self, spots: Spots, pixel_angle: float) -> Image:
        """Return the factor (h, w), in parts of NEUTRAL, that grain and grid put on the ground."""
        factor = np.full(spots.distance.shape, NEUTRAL, dtype=np.uint8)
        seen_rows = _rows(spots, 0.0, _GRID_REACH)
        if seen_rows is None:
            return factor
        first = seen_rows.start
        x = spots.x[seen_rows] * np.float32(1.0 / GRID_PERIOD)
        x -= np.floor(x)
        y = spots.y[seen_rows] * np.float32(1.0 / GRID_PERIOD)
        y -= np.floor(y)
        pixel = GRID_PERIOD / (self._tiles[0].shape[0] - 2)
        limits = _limits(pixel, len(self._tiles), spots.height, pixel_angle)
        for tile, (begin, end) in zip(self._tiles, limits, strict=True):
            rows = _rows(spots, begin, min(end, _GRID_REACH))
            if rows is None:
                continue
            size = np.float32(tile.shape[0] - 2)
            within = slice(rows.start - first, rows.stop - first)
            # Half a pixel back to the centres, one forward for the border.
            u = x[within] * size + np.float32(0.5)
            v = y[within] * size + np.float32(0.5)
            seen = cv2.remap(tile, u, v, cv2.INTER_LINEAR)
            _put(seen, factor, spots, rows, begin, min(end, _GRID_REACH))
        return factor


def _limits(
    pixel: float, levels: int, height: float, pixel_angle: float
) -> list[tuple[float, float]]:
    """
    Return the distances from and to which each level of a texture serves.

    A pixel of the picture covers distance * angle across and distance^2 * angle / height along
    the ground; the level is chosen by their geometric mean.
    """
    bounds = [
        (_FINER * pixel * 2.0**level * height**0.5 / pixel_angle) ** (2.0 / 3.0)
        for level in range(levels - 1)
    ]
    return list(zip([0.0, *bounds], [*bounds, np.inf], strict=True))


def _rows(spots: Spots, begin: float, end: float) -> slice | None:
    """Return the rows in which something lies from `begin` to `end`; None where nothing does."""
    found = np.flatnonzero((spots.nearest < end) & (spots.farthest >= begin))
    if begin >= end or not found.size:
        return None
    return slice(int(found[0]), int(found[-1]) + 1)


def _put(seen: Image, picture: Image, spots: Spots, rows: slice, begin: float, end: float) -> None:
    """Take over those pixels of some rows that lie between the two distances."""
    if spots.nearest[rows].min() >= begin and spots.farthest[rows].max() < end:
        picture[rows] = seen
        return
    distance = spots.distance[rows]
    mask = ((distance >= begin) & (distance < end)).view(np.uint8)
    cv2.copyTo(seen, mask, picture[rows])


def grid_tiles() -> list[Image]:
    """
    Return the ground's grain and grid over 10 m by 10 m, from fine to coarse, each half the last.

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
