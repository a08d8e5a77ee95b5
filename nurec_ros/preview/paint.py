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
"""What lies on the ground, painted once per scenario as a top-down map: road, lines, ego path."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from nurec_ros.palette import kind_of
from nurec_ros.preview.landscape import along, arc_length, GroundPaint, seamless, VERGE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nurec_ros.scenario import Scenario

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

# RGB 0 … 255.
PAVING = (158, 154, 146)
ASPHALT = (86, 88, 93)
LINE = (232, 232, 226)
PATH = (28, 186, 150)
CHEVRON = (150, 240, 214)

FINEST = 0.04
MOST_PIXELS = 12_000_000
_MASK_PIXEL = 0.25
_MARGIN = 12.0
_FARTHEST_TRACK = 70.0
_EXTENSION = 60.0
_STEP = 0.5
_ROAD_HALF_WIDTH = 4.4
_LANE_WIDTH, _LANE_HALF_WIDTH = 3.5, 1.75
_LINE_WIDTH = 0.13
_PATH_HALF_WIDTH = 0.45
_PATH_OPACITY = 0.62
_DASH, _GAP = 3.0, 6.0
_CHEVRON_EVERY = 6.0
_SHIFT = 4
_BLOCK = 512

_ON_FOOT = frozenset({'person', 'stroller', 'animal'})


def paint_ground(scenario: Scenario, step: Callable[[], None] = lambda: None) -> GroundPaint:
    """
    Paint the ground about a scenario's drive; half a second for a drive of some 100 m.

    `step` is called every so often, some tenths of a second apart; what it raises ends the work.
    """
    way = _smooth_way(scenario.ego.positions)
    vehicles, people = _footprints(scenario, way)
    step()
    corners = np.concatenate([way[:, :2], vehicles.mean(axis=1), people])
    low, high = corners.min(axis=0) - _MARGIN, corners.max(axis=0) + _MARGIN
    size = high - low
    pixel = max(FINEST, math.sqrt(size[0] * size[1] / MOST_PIXELS))
    canvas = _Canvas(float(low[0]), float(low[1]), pixel, size)
    road_map = scenario.road_map
    lines = [] if road_map is None else [line[:, :2] for line in road_map.boundaries]
    boundaries = [line for line in lines if canvas.touches(line)]
    canvas.lay_surfaces(_extended(way), vehicles, people, boundaries, step)
    if boundaries:
        canvas.draw_lines(boundaries, LINE, _LINE_WIDTH)
    else:
        canvas.draw_lane(_extended(way))
    step()
    bare = _halved(cv2.cvtColor(canvas.image, cv2.COLOR_RGB2GRAY))
    canvas.draw_path(way)
    levels = [canvas.image]
    while min(levels[-1].shape[:2]) > 32 and len(levels) < 8:
        step()
        levels.append(_halved(levels[-1]))
    return GroundPaint(tuple(levels), bare, canvas.x0, canvas.y0, pixel)


def _halved(image: Image) -> Image:
    """Return a picture half as large, whose whole pixels drop off at the far edges only."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    even = image[slice(2 * height), slice(2 * width)]
    return np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _footprints(scenario: Scenario, way: Array) -> tuple[Array, Array]:
    """Return where vehicles (M, 4, 2) and people (K, 2) have been, in the map's x and y."""
    tracks = scenario.tracks
    vehicles, people = [np.empty((0, 4, 2))], [np.empty((0, 2))]
    for index, label in enumerate(tracks.labels):
        kind = kind_of(label)
        if kind == 'protruding_object':
            continue
        trajectory = tracks.trajectory(index)
        span = np.linspace(trajectory.start_ns, trajectory.end_ns, 64).astype(np.int64)
        poses = trajectory.at(span)
        centres = poses[:, :2, 3]
        moved = np.hypot(*np.diff(centres, axis=0).T).sum()
        if moved < 0.2:
            poses, centres = poses[:1], centres[:1]
        near = _distance(centres, way[:, :2]) < _FARTHEST_TRACK
        poses, centres = poses[near], centres[near]
        if kind in _ON_FOOT:
            people.append(centres)
        else:
            half = 0.5 * tracks.dims[index, :2] + (0.8, 0.9)
            signs = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)]) * half
            turned = np.einsum('nij,kj->nki', poses[:, :2, :2], signs)
            vehicles.append(centres[:, np.newaxis] + turned)
    return np.concatenate(vehicles), np.concatenate(people)


class _Canvas:
    """A picture being painted, in metres of the map frame."""

    def __init__(self, x0: float, y0: float, pixel: float, size: Array) -> None:
        self.x0, self.y0, self.pixel = x0, y0, pixel
        self._size = size
        width, height = (math.ceil(side / pixel) for side in size)
        self.image: Image = np.empty((height, width, 3), dtype=np.uint8)

    def touches(self, line: Array) -> bool:
        low = np.array([self.x0, self.y0])
        return bool(
            (line.max(axis=0) >= low).all() and (line.min(axis=0) <= low + self._size).all()
        )

    def lay_surfaces(
        self,
        way: Array,
        vehicles: Array,
        people: Array,
        boundaries: list[Array],
        step: Callable[[], None],
    ) -> None:
        """Cover everything: verge, paving where people went, asphalt where vehicles did."""
        coarse_w, coarse_h = (math.ceil(side / _MASK_PIXEL) for side in self._size)
        road = np.zeros((coarse_h, coarse_w), dtype=np.uint8)
        paved = np.zeros_like(road)
        for line, width in ((way, 2 * _ROAD_HALF_WIDTH), *((b, _LANE_WIDTH) for b in boundaries)):
            points = [self._fixed(line[:, :2], _MASK_PIXEL)]
            cv2.polylines(road, points, False, 255, round(width / _MASK_PIXEL), 8, _SHIFT)
        for corners in vehicles:
            cv2.fillPoly(road, [self._fixed(corners, _MASK_PIXEL)], 255, 8, _SHIFT)
        for centre in self._fixed(people, _MASK_PIXEL):
            radius = round(2.2 / _MASK_PIXEL * 2**_SHIFT)
            cv2.circle(paved, centre.tolist(), radius, 255, -1, 8, _SHIFT)
        # Gaps between footprints are road as well; corners are round.
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (17, 17))
        road = cv2.morphologyEx(road, cv2.MORPH_CLOSE, disc)
        beside = cv2.dilate(road, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (19, 19)))
        paved = cv2.max(cv2.morphologyEx(paved, cv2.MORPH_CLOSE, disc), beside)
        step()
        patches = seamless(512, 1.4, seed=3)
        repeats = (coarse_h // 512 + 1, coarse_w // 512 + 1)
        patchy = np.clip(128.0 * (1.0 + 0.035 * np.tile(patches, repeats)), 0, 255)
        layers = [cv2.GaussianBlur(mask, (0, 0), 2.0) for mask in (paved, road)]
        layers.append(patchy[:coarse_h, :coarse_w].astype(np.uint8))
        for top in range(0, self.image.shape[0], _BLOCK):
            step()
            self._lay_block(top, layers)

    def _lay_block(self, top: int, layers: list[Image]) -> None:
        """Cover some rows, so that the whole is never there in more than one byte a colour."""
        block = self.image[slice(top, top + _BLOCK)]
        ratio = self.pixel / _MASK_PIXEL
        shift = 0.5 * ratio - 0.5
        to_coarse = np.array([[ratio, 0.0, shift], [0.0, ratio, shift + top * ratio]])
        paved, road, patchy = (
            cv2.warpAffine(
                layer,
                to_coarse,
                (block.shape[1], block.shape[0]),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )
            for layer in layers
        )
        block[:] = VERGE
        for mask, surface, sharpness in ((paved, PAVING, 3.0), (road, ASPHALT, 6.0)):
            levels = (np.arange(256) / 255.0 - 0.5) * sharpness + 0.5
            cover = cv2.LUT(mask, np.clip(levels, 0.0, 1.0).astype(np.float32))
            material = np.empty_like(block)
            material[:] = surface
            block[:] = cv2.blendLinear(material, block, cover, 1.0 - cover)
        cv2.multiply(block, cv2.merge([patchy, patchy, patchy]), block, 1.0 / 128.0)

    def draw_lane(self, way: Array) -> None:
        """Draw the ego's lane where no map tells the real ones: dashes on both sides."""
        arc = arc_length(way)
        dashes: list[Array] = []
        for side in (-_LANE_HALF_WIDTH, _LANE_HALF_WIDTH):
            shifted = _beside(way, side)
            starts = np.arange(0.0, arc[-1] - _DASH, _DASH + _GAP)
            dashes += [_cut(shifted, arc, start, start + _DASH) for start in starts]
        self.draw_lines(dashes, LINE, _LINE_WIDTH)

    def draw_path(self, way: Array) -> None:
        """Draw the ego's way as a band with chevrons that point where it goes."""
        over = self.image.copy()
        thickness = round(2.0 * _PATH_HALF_WIDTH / self.pixel)
        cv2.polylines(over, [self._fixed(way[:, :2])], False, PATH, thickness, cv2.LINE_AA, _SHIFT)
        arc = arc_length(way)
        for at in np.arange(_CHEVRON_EVERY / 2, arc[-1] - 1.0, _CHEVRON_EVERY):
            tip, tail = _cut(way[:, :2], arc, at, at + 0.5)[[-1, 0]]
            ahead = (tip - tail) / max(float(np.hypot(*(tip - tail))), 1e-9)
            side = np.array([-ahead[1], ahead[0]]) * 0.3
            front = np.array([tail + side, tip, tail - side])
            shape = np.concatenate([front, front[::-1] - 0.3 * ahead])
            cv2.fillPoly(over, [self._fixed(shape)], CHEVRON, cv2.LINE_AA, _SHIFT)
        cv2.addWeighted(over, _PATH_OPACITY, self.image, 1.0 - _PATH_OPACITY, 0.0, self.image)

    def draw_lines(self, lines: Sequence[Array], colour: tuple[int, ...], width: float) -> None:
        """Draw polylines (M, 2) of a width in metres."""
        thickness = max(1, round(width / self.pixel))
        for line in lines:
            points = [self._fixed(line)]
            cv2.polylines(self.image, points, False, colour, thickness, cv2.LINE_AA, _SHIFT)

    def _fixed(self, points: Array, pixel: float | None = None) -> NDArray[np.int32]:
        """Return pixels in OpenCV's fixed point, whose whole numbers are pixel centres."""
        scaled = (points - (self.x0, self.y0)) / (pixel or self.pixel) - 0.5
        return np.asarray(np.rint(scaled * 2**_SHIFT), dtype=np.int32)


def _smooth_way(positions: Array) -> Array:
    """
    Return a way as points some half a metre apart, without the jitter of standing still.

    Two points at least, the same one twice where it never moves.
    """
    kept = [positions[0]]
    for position in positions[1:]:
        if math.dist(position[:2], kept[-1][:2]) >= _STEP:
            kept.append(position)
    kept.append(positions[-1])
    way = np.array(kept)
    arc = arc_length(way)
    wanted = np.linspace(0.0, arc[-1], max(2, math.ceil(arc[-1] / _STEP) + 1))
    way = along(way, arc, wanted)
    for _ in range(4):
        way[1:-1] = 0.25 * way[:-2] + 0.5 * way[1:-1] + 0.25 * way[2:]
    return way


def _extended(way: Array) -> Array:
    """Lead a way on straight at both ends."""
    arc = arc_length(way)
    if arc[-1] < 1.0:
        return way
    reach = min(5.0, arc[-1])
    start, end = way[[0, -1]] - along(way, arc, np.array([reach, arc[-1] - reach]))
    steps = np.arange(_STEP, _EXTENSION, _STEP)[:, np.newaxis] / reach
    return np.concatenate([(way[0] + steps * start)[::-1], way, way[-1] + steps * end])


def _cut(way: Array, arc: Array, start: float, end: float) -> Array:
    """Return the part of a way between two lengths along it."""
    inner = arc[(arc > start) & (arc < end)]
    return along(way, arc, np.concatenate([[start], inner, [end]]))


def _beside(way: Array, distance: float) -> Array:
    tangent = np.gradient(way[:, :2], axis=0)
    length = np.maximum(np.hypot(*tangent.T), 1e-9)
    normal: Array = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1) / length[:, np.newaxis]
    return way[:, :2] + distance * normal


def _distance(points: Array, way: Array) -> Array:
    """Return the distance of points (N, 2) to the nearest sample of a way (M, 2)."""
    sparse = way[slice(None, None, max(1, len(way) // 64))]
    return np.asarray(np.linalg.norm(points[:, np.newaxis] - sparse, axis=2).min(axis=1))
