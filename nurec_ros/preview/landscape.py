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
What is behind the road users: the sky, the light, and the painted ground, seen through the lens.

The clouds and the grain of the ground are made of seamless noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
import math
from typing import NamedTuple, TypeVar

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
_CLOUD_TILE = 512
# Repetitions of the cloud tile per unit of (x, y) / (z + bend); the bend keeps them from piling
# up into lines at the horizon.
_CLOUD_SCALE = 0.11
_CLOUD_BEND = 0.12
_STEPS = 1024

# What lies where nothing is painted. RGB.
VERGE = (134, 138, 122)
GRID_PERIOD = 10.0
NEUTRAL = 128
_GROUND_TILE = 640
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
    haze = _MOST_HAZE_ON_BOXES * (1.0 - visibility(distances))
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
        # How thick the clouds are, 0 to 1; the first row and column are repeated as last ones.
        cover = np.clip(0.42 * seamless(_CLOUD_TILE, 1.75, seed=5) - 0.12, 0.0, 1.0)
        cover = (0.85 * np.sqrt(cover)).astype(np.float32)
        self._clouds = np.pad(cover, ((0, 1), (0, 1)), mode='wrap')

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
        cloud = cv2.remap(self._clouds, u * _CLOUD_TILE, v * _CLOUD_TILE, cv2.INTER_LINEAR)
        cloud = cloud * np.minimum(height * 5.0, 1.0)
        colour += cloud[..., np.newaxis] * (_CLOUD.astype(np.float32) - colour)
        towards = x * self.sun[0] + y * self.sun[1] + z * self.sun[2]
        towards = np.clip((towards + 1.0) * (2 * _STEPS), 0, 4 * _STEPS - 1)
        glow = self._glow[towards.astype(np.intp)]
        colour += glow[..., np.newaxis] * (_SUN.astype(np.float32) - colour)
        return np.asarray(cv2.convertScaleAbs(colour), dtype=np.uint8)


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


@dataclass(frozen=True, slots=True, eq=False)
class GroundPaint:
    """
    Top-down pictures of the ground in the map frame, from fine to coarse, each half the last.

    Pixel (row, column) of the first is centred at (x0 + (column + 0.5) pixel, y0 + (row + 0.5)
    pixel): x runs along columns, y along rows. Beyond it the ground is VERGE. `bare` is the second
    level without the ego's path, which lies there for people only, in grey.
    """

    levels: tuple[Image, ...]
    bare: Image
    x0: float
    y0: float
    pixel: float


class Plane(NamedTuple):
    """A plane through `origin` (3,) with the unit normal `normal` (3,), in the map frame."""

    origin: Array
    normal: Array


def arc_length(way: Array) -> Array:
    """Return how far each point of a way (N, 2 or 3) lies along it, in the plane."""
    return np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(way[:, :2], axis=0).T))])


def along(way: Array, arc: Array, wanted: Array) -> Array:
    """Return the points at some lengths along a way, `arc` being those of its own points."""
    return np.stack([np.interp(wanted, arc, column) for column in way.T], axis=1)


class Terrain:
    """
    The ground about a way (N, 3), metres, in the map frame.

    At any place it is the plane through the nearest point of the way, as steep along it as the
    way is there over some 30 m, and level across it.
    """

    def __init__(self, positions: Array) -> None:
        self._positions = positions
        self._arc = arc_length(positions)

    def plane_near(self, position: Array) -> Plane:
        """Return the ground's plane at the place of the way that is nearest to the position."""
        origin, arc = self._nearest(position)
        before, after = along(self._positions, self._arc, arc + np.array([-_REACH, _REACH]))
        across = after - before
        run = float(np.hypot(across[0], across[1]))
        if run < _SHORTEST:
            return Plane(origin, np.array([0.0, 0.0, 1.0]))
        rise = across[2] / run
        normal = np.array([-rise * across[0] / run, -rise * across[1] / run, 1.0])
        return Plane(origin, normal / np.linalg.norm(normal))

    def _nearest(self, position: Array) -> tuple[Array, float]:
        """Return the nearest point of the way's segments and its length along the way."""
        if len(self._positions) == 1:
            return self._positions[0], 0.0
        first, last = self._positions[:-1], self._positions[1:]
        steps = last - first
        squared = np.maximum(np.einsum('ij,ij->i', steps, steps), 1e-18)
        part = np.einsum('ij,ij->i', position - first, steps) / squared
        part = np.clip(part, 0.0, 1.0)
        points = first + part[:, np.newaxis] * steps
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
    metres = (np.arange(_GROUND_TILE) + 0.5) * (GRID_PERIOD / _GROUND_TILE)
    fine = np.abs(metres - np.rint(metres))
    bold = np.minimum(metres, GRID_PERIOD - metres)
    pixel = GRID_PERIOD / _GROUND_TILE

    def line(distance: NDArray[np.float64], width: float) -> NDArray[np.float64]:
        # How much of a pixel the line covers.
        return np.clip((0.5 * width - distance) / pixel + 0.5, 0.0, 1.0)

    profile = np.maximum(_FINE * line(fine, _FINE_WIDTH), _BOLD * line(bold, _BOLD_WIDTH))
    grain = _GRAIN * seamless(_GROUND_TILE, 0.45, seed=7)
    level = NEUTRAL + grain + np.maximum(profile[:, np.newaxis], profile[np.newaxis])
    tile = np.clip(level, 0, 255).astype(np.float32)
    tiles = []
    while tile.shape[0] >= 20:
        tiles.append(np.pad(np.rint(tile).astype(np.uint8), 1, mode='wrap'))
        half = tile.shape[0] // 2
        tile = cv2.resize(tile, (half, half), interpolation=cv2.INTER_AREA)
    return tiles
