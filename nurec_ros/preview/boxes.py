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
"""Boxes of road users: their faces as the lens sees them, shaded; shadows; who hides whom."""

from __future__ import annotations

from dataclasses import dataclass, fields
import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from nurec_ros.preview.landscape import lit, Plane
from nurec_ros.preview.optics import Lens

Array = NDArray[np.float64]
Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Fixed = NDArray[np.int32]

_FARTHEST = 400.0
_FARTHEST_SHADOW = 90.0
_SHIFT = 4
# No coordinate further out than this many pixels: OpenCV's fixed point ends at 32767.
_OUT = 12000.0
_EDGE = 0.40
# In pixels.
_LEAST_EDGED, _LEAST_DETAILED = 9.0, 14.0
_FEET = np.array([(1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0), (1.0, -1.0)])
# How much of the light is left in a shadow, of 255.
_SHADOW = 150
_SUNK = 2.0
_HOVER = 0.6
_SIGNS = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=float)

# A face's sides are cut into so many pieces that the lens bends none visibly, by the angle that
# the box covers in radians.
_PIECES = ((0.05, 2), (0.35, 6), (math.inf, 24))

_BACK, _FRONT, _RIGHT, _LEFT = 0, 1, 2, 3
# What a road vehicle shows: on which face; from u0 to u1 across it and v0 to v1 up it, in parts
# of half the face; how much of the class's colour is left there (above 1: towards white).
_PANES = (
    (_FRONT, (-0.80, 0.80, 0.10, 0.80), 0.36),
    (_FRONT, (-0.86, -0.52, -0.38, -0.12), 1.7),
    (_FRONT, (0.52, 0.86, -0.38, -0.12), 1.7),
    (_BACK, (-0.74, 0.74, 0.24, 0.80), 0.55),
    (_LEFT, (-0.74, 0.50, 0.20, 0.80), 0.48),
    (_RIGHT, (-0.74, 0.50, 0.20, 0.80), 0.48),
)
_WHEEL_AT, _WHEEL_RADIUS, _WHEEL_TINT = 0.62, 0.34, 0.22
# What a person shows on each side: body and legs, and a head.
_FIGURE = ((-0.42, 0.42, -0.02, 0.60), (-0.36, -0.05, -0.92, -0.02), (0.05, 0.36, -0.92, -0.02))
_HEAD_AT, _HEAD_RADIUS, _FIGURE_TINT = 0.78, 0.13, 0.62


def _cut_sides(corners: Array, pieces: int) -> Array:
    """Cut each side of a polygon (M, D) into equal pieces."""
    part = (np.arange(pieces) / pieces)[:, np.newaxis]
    steps = np.roll(corners, -1, axis=0) - corners
    points: Array = corners[:, np.newaxis] + part * steps[:, np.newaxis]
    return points.reshape(-1, corners.shape[1])


def _face(face: int, corners: Array, pieces: int) -> Array:
    """Return a closed line of (u, v) on a face as points on the box of half size 1."""
    axis, side = face // 2, 2.0 * (face % 2) - 1.0
    across, up = ((1, 2), (0, 2), (0, 1))[axis]
    flat = _cut_sides(corners, pieces)
    points = np.full((len(flat), 3), side)
    points[:, across], points[:, up] = flat.T
    return points


def _quad(u0: float, u1: float, v0: float, v1: float) -> Array:
    return np.array([(u0, v0), (u1, v0), (u1, v1), (u0, v1)])


_LOOPS = {
    pieces: np.stack([_face(face, _quad(-1.0, 1.0, -1.0, 1.0), pieces) for face in range(6)])
    for _, pieces in _PIECES
}


class _Details(NamedTuple):
    """
    Shapes on faces, all of as many points.

    face (D,); parts (D, P, 3): points in parts of the half size, plus metres (D, P, 3); kept
    (D,): how much of the colour is left; on_vehicle (D,): on vehicles, else on people.
    """

    face: NDArray[np.intp]
    parts: Array
    metres: Array
    kept: Array
    on_vehicle: Mask


def _made_details() -> _Details:
    turn = np.linspace(0.0, 2.0 * math.pi, 12, endpoint=False)
    circle = np.stack([np.cos(turn), np.zeros(12), np.sin(turn)], axis=1)
    nothing = np.zeros((12, 3))
    details: list[tuple[int, Array, Array, float, bool]] = [
        (face, _face(face, _quad(*quad), 3), nothing, kept, True) for face, quad, kept in _PANES
    ]
    for face in (_LEFT, _RIGHT):
        for at in (-_WHEEL_AT, _WHEEL_AT):
            hub = np.tile((at, 2.0 * (face % 2) - 1.0, -1.0), (12, 1))
            rim = _WHEEL_RADIUS * (circle + (0.0, 0.0, 1.0))
            details.append((face, hub, rim, _WHEEL_TINT, True))
    for face in (_BACK, _FRONT, _RIGHT, _LEFT):
        limbs = [_face(face, _quad(*quad), 3) for quad in _FIGURE]
        details += [(face, limb, nothing, _FIGURE_TINT, False) for limb in limbs]
        middle = np.repeat(_face(face, np.zeros((1, 2)), 1), 12, axis=0)
        middle[:, 2] = _HEAD_AT
        across = circle if face in (_LEFT, _RIGHT) else circle[:, [1, 0, 2]]
        details.append((face, middle, _HEAD_RADIUS * across, _FIGURE_TINT, False))
    return _Details(*(np.array(column) for column in zip(*details, strict=True)))


_DETAILS = _made_details()


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """
    Boxes to draw in one picture.

    start, end (N, 4, 4): T_map_box at the start and end of the exposure; dims (N, 3): length,
    width, height; colours (N, 3): RGB 0 … 255; vehicles (N,): with windows and
    wheels; people (N,): with a figure.
    """

    start: Array
    end: Array
    dims: Array
    colours: Array
    vehicles: Mask
    people: Mask

    def __len__(self) -> int:
        return len(self.dims)

    def chosen(self, keep: NDArray[np.intp] | Mask) -> Boxes:
        return Boxes(*(getattr(self, field.name)[keep] for field in fields(self)))

    def middle(self) -> Array:
        """Return the poses (N, 4, 4) half way; the turn within one exposure is a small one."""
        poses = 0.5 * (self.start + self.end)
        poses[:, :3, :3] = self.start[:, :3, :3]
        return poses


def in_view(boxes: Boxes, lens: Lens, ground: Plane) -> Boxes:
    """Leave out what the picture cannot show: behind, far away, around the eye, buried."""
    if not len(boxes):
        return boxes
    poses = boxes.middle()
    offset = poses[:, :3, 3] - lens.eye
    distance = np.maximum(np.sqrt((offset**2).sum(axis=1)), 1e-9)
    radius = 0.5 * np.sqrt((boxes.dims**2).sum(axis=1))
    angle = np.arccos(np.clip(offset @ lens.axis / distance, -1.0, 1.0))
    reach = np.where(distance > radius, np.arcsin(np.minimum(radius / distance, 1.0)), math.pi)
    inside = np.abs(np.einsum('nji,nj->ni', poses[:, :3, :3], offset)) < 0.5 * boxes.dims
    keep = (angle - reach < lens.widest) & (distance < _FARTHEST)
    keep &= ~inside.all(axis=1) & ~buried(poses, boxes.dims, ground)
    return boxes.chosen(keep)


def buried(poses: Array, dims: Array, ground: Plane) -> Mask:
    """
    Return which boxes (N,) are nowhere to be seen, because all of them lies below the ground.

    Clients hide a road user by sending it far down; one that is only half sunk, where the world's
    own ground is lower than this plane, is seen whole.
    """
    top = (poses[:, :3, 3] - ground.origin) @ ground.normal + 0.5 * dims[:, 2]
    return np.asarray(top <= -_SUNK, dtype=np.bool_)


class BoxPicture:
    """
    Where the boxes of one picture and their shadows lie in it, ready to be drawn.

    Everything is projected at once: the lens costs less for one long list of points.
    """

    def __init__(
        self, boxes: Boxes, lens: Lens, sun: Array, ground: Plane, pixel_angle: float
    ) -> None:
        self._boxes = boxes
        self._lens = lens
        self._sun = sun
        self._poses = boxes.middle()
        self._halves = 0.5 * boxes.dims
        offset = lens.eye - self._poses[:, :3, 3]
        self._distance = np.sqrt((offset**2).sum(axis=1))
        eyes = np.einsum('nji,nj->ni', self._poses[:, :3, :3], offset)
        self._sides = np.where(eyes > 0.0, 1, 0)
        self._visible = np.abs(eyes) > self._halves
        self._covered = 2.0 * np.sqrt((self._halves**2).sum(axis=1)) / self._distance
        self._size = self._covered / pixel_angle
        self._shadows: list[Fixed] = []
        self._faces: dict[int, list[tuple[int, Fixed]]] = {}
        self._details: dict[tuple[int, int], list[tuple[float, Fixed]]] = {}
        self._rectangles = np.tile((np.inf, np.inf, -np.inf, -np.inf), (len(boxes), 1))
        if len(boxes):
            self._place(ground)

    def cast_shadows(self, shade: Image) -> None:
        """Darken `shade` (H, W), 255 where the sun shines, where boxes stand before the sun."""
        for shadow in self._shadows:
            cv2.fillPoly(shade, [shadow], _SHADOW, cv2.LINE_8, _SHIFT)

    def draw(self, picture: Image) -> None:
        """Draw the boxes with shaded faces, edges, and windows, the nearest last."""
        if not self._faces:
            return
        shown = np.array(sorted(self._faces), dtype=np.intp)
        colours = self._shaded(shown)
        thickness = 2 if picture.shape[0] >= 900 else 1
        order = back_to_front(
            self._poses[shown], self._halves[shown], self._lens.eye, self._rectangles[shown]
        )
        for place in order:
            box = int(shown[place])
            for face, outline in self._faces[box]:
                colour = colours[place, face // 2]
                cv2.fillPoly(picture, [outline], colour.tolist(), cv2.LINE_AA, _SHIFT)
                for kept, shape in self._details.get((box, face), ()):
                    tint = _tinted(colour, kept).tolist()
                    cv2.fillPoly(picture, [shape], tint, cv2.LINE_AA, _SHIFT)
            if self._size[box] >= _LEAST_EDGED:
                edge = (colours[place].max(axis=0) * _EDGE).tolist()
                outlines = [outline for _, outline in self._faces[box]]
                cv2.polylines(picture, outlines, True, edge, thickness, cv2.LINE_AA, _SHIFT)

    def _shaded(self, shown: NDArray[np.intp]) -> Array:
        """Return the colours (K, 3, 3) of the faces across each axis of some boxes."""
        facing = 2.0 * self._sides[shown] - 1.0
        normals = np.moveaxis(self._poses[shown, :3, :3], 2, 1) * facing[:, :, np.newaxis]
        colours = np.repeat(self._boxes.colours[shown], 3, axis=0)
        distances = np.repeat(self._distance[shown], 3)
        return lit(colours, normals.reshape(-1, 3), self._sun, distances).reshape(-1, 3, 3)

    def _place(self, ground: Plane) -> None:
        starts, ends, lengths, keys = self._shapes()
        shadows = self._thrown(ground)
        lengths += [len(shadow) for shadow in shadows]
        uv, inside = self._lens.project(
            np.concatenate([*starts, *shadows]), np.concatenate([*ends, *shadows])
        )
        fixed = _fixed(uv)
        begins = np.concatenate([[0], np.cumsum(lengths)]).astype(np.intp)
        seen = np.logical_or.reduceat(inside, begins[:-1])
        whole = np.logical_and.reduceat(np.isfinite(uv).all(axis=1), begins[:-1])
        low = np.minimum.reduceat(fixed, begins[:-1])
        high = np.maximum.reduceat(fixed, begins[:-1])
        for i in np.flatnonzero(seen & whole).tolist():
            shape = fixed[slice(begins[i], begins[i + 1])]
            if i >= len(keys):
                self._shadows.append(shape)
                continue
            box, face, kept = keys[i]
            if kept is not None:
                self._details.setdefault((box, face), []).append((kept, shape))
                continue
            self._faces.setdefault(box, []).append((face, shape))
            rectangle = self._rectangles[box]
            np.minimum(rectangle[:2], low[i], out=rectangle[:2])
            np.maximum(rectangle[2:], high[i], out=rectangle[2:])

    def _shapes(
        self,
    ) -> tuple[list[Array], list[Array], list[int], list[tuple[int, int, float | None]]]:
        """
        Return the closed lines on all faces turned to the eye, one after the other.

        Their points in the map at the start and at the end of the exposure, their lengths, and
        what each is: box, face, and a detail's tint or None for the face itself.
        """
        boxes = self._boxes
        starts: list[Array] = []
        ends: list[Array] = []
        lengths: list[int] = []
        keys: list[tuple[int, int, float | None]] = []
        smallest = 0.0
        for largest, pieces in _PIECES:
            group = (self._covered >= smallest) & (self._covered < largest)
            smallest = largest
            box, axis = np.nonzero(self._visible & group[:, np.newaxis])
            face = 2 * axis + self._sides[box, axis]
            points = _LOOPS[pieces][face] * self._halves[box, np.newaxis]
            self._add(starts, ends, box, points)
            lengths += [4 * pieces] * len(box)
            keys += [(b, f, None) for b, f in zip(box.tolist(), face.tolist(), strict=True)]
        large = self._size >= _LEAST_DETAILED
        kinds = np.where(_DETAILS.on_vehicle[:, np.newaxis], boxes.vehicles, boxes.people)
        across, side = np.divmod(_DETAILS.face, 2)
        turned_here = self._sides.T[across] == side[:, np.newaxis]
        which, box = np.nonzero(kinds & large & turned_here & self._visible.T[across])
        parts = _DETAILS.parts[which] * self._halves[box, np.newaxis]
        self._add(starts, ends, box, parts + _DETAILS.metres[which])
        lengths += [_DETAILS.parts.shape[1]] * len(box)
        faces, kept = _DETAILS.face[which], _DETAILS.kept[which]
        keys += list(zip(box.tolist(), faces.tolist(), kept.tolist(), strict=True))
        return starts, ends, lengths, keys

    def _add(
        self, starts: list[Array], ends: list[Array], box: NDArray[np.intp], points: Array
    ) -> None:
        """Take points (K, P, 3) from the frames of boxes (K,) to the map."""
        for poses, found in ((self._boxes.start, starts), (self._boxes.end, ends)):
            turned = np.matmul(points, np.swapaxes(poses[box, :3, :3], 1, 2))
            found.append((turned + poses[box, np.newaxis, :3, 3]).reshape(-1, 3))

    def _thrown(self, ground: Plane) -> list[Array]:
        """Return the outlines (P, 3) of the shadows on the ground."""
        near = self._distance < _FARTHEST_SHADOW
        poses, dims = self._poses[near], self._boxes.dims[near]
        centres = poses[:, :3, 3]
        across = (centres - ground.origin)[:, :2] @ ground.normal[:2]
        level = ground.origin[2] - across / ground.normal[2]
        bottom = np.clip(centres[:, 2] - 0.5 * dims[:, 2], level - _HOVER, level + _HOVER)
        feet = np.matmul(
            _FEET * 0.5 * dims[:, np.newaxis, :2], np.swapaxes(poses[:, :2, :2], 1, 2)
        )
        feet += centres[:, np.newaxis, :2]
        thrown = feet - (dims[:, 2] / self._sun[2])[:, np.newaxis, np.newaxis] * self._sun[:2]
        outlines = []
        corners = np.concatenate([feet, thrown], axis=1)
        # float32 only holds what is near: hulls are found about the eye.
        middle = self._lens.eye[:2]
        for points, height in zip((corners - middle).astype(np.float32), bottom, strict=True):
            hull = cv2.convexHull(points)[:, 0].astype(np.float64) + middle
            hull = _cut_sides(hull, 4)
            outlines.append(np.column_stack([hull, np.full(len(hull), height)]))
        return outlines


def _tinted(colour: Array, kept: float) -> Array:
    return colour * kept if kept < 1.0 else 255.0 - (255.0 - colour) * (2.0 - kept)


def _fixed(uv: Array) -> Fixed:
    """Return pixels in OpenCV's fixed point, whose whole numbers are pixel centres."""
    near = np.nan_to_num(uv, nan=_OUT, posinf=_OUT, neginf=-_OUT)
    np.clip(near, -_OUT, _OUT, out=near)
    near *= 2.0**_SHIFT
    return np.rint(near, out=near).astype(np.int32)


def back_to_front(poses: Array, halves: Array, eye: Array, rectangles: Array) -> list[int]:
    """
    Return the indices of boxes in the order to draw them.

    poses (N, 4, 4): T_map_box; halves (N, 3): half of their dimensions; eye (3,); rectangles
    (N, 4): left, top, right, bottom of each in the picture. One box is in front of another where
    the plane of a face parts them, eye and box on one side. Boxes that reach into each other are
    parted where they do so least. Only boxes whose rectangles overlap are compared.
    """
    count = len(poses)
    offset = eye - poses[:, :3, 3]
    distance = np.sqrt((offset**2).sum(axis=1))
    farthest_first = np.argsort(-distance, kind='stable')
    left, top, right, bottom = rectangles.T
    touching = (left[:, None] <= right) & (right[:, None] >= left)
    touching &= (top[:, None] <= bottom) & (bottom[:, None] >= top)
    first, second = np.nonzero(np.triu(touching, k=1))
    if not first.size:
        return [int(i) for i in farthest_first]
    eyes = np.einsum('nji,nj->ni', poses[:, :3, :3], offset)
    ahead = _margin(first, second, poses, halves, eyes)
    behind = _margin(second, first, poses, halves, eyes)
    nearer = distance[first] < distance[second]
    is_ahead = np.where(ahead == behind, nearer, ahead > behind)
    waits_for: list[set[int]] = [set() for _ in range(count)]
    front = np.where(is_ahead, first, second).tolist()
    back = np.where(is_ahead, second, first).tolist()
    for before, after in zip(back, front, strict=True):
        waits_for[after].add(before)
    return _sorted([int(i) for i in farthest_first], waits_for)


def _margin(
    these: NDArray[np.intp], others: NDArray[np.intp], poses: Array, halves: Array, eyes: Array
) -> Array:
    """
    Return how clearly, in metres, `these` stand before `others` as the eye sees them, in pairs.

    The largest margin to a face's plane that parts them with these and the eye on its outside;
    negative where each such plane is cut.
    """
    margin = np.full(len(these), -np.inf)
    for faces, boxes in ((these, others), (others, these)):
        corners = _corners(boxes, faces, poses, halves)
        half, eye = halves[faces], eyes[faces]
        for side in (-1.0, 1.0):
            reach = side * corners
            # Of one of these: the other wholly behind it. Of one of the others: this before it.
            apart = half - reach.max(axis=1) if faces is these else reach.min(axis=1) - half
            seen = np.where(side * eye > half, apart, -np.inf)
            np.maximum(margin, seen.max(axis=1), out=margin)
    return margin


def _corners(
    boxes: NDArray[np.intp], frames: NDArray[np.intp], poses: Array, halves: Array
) -> Array:
    """Return the corners (K, 8, 3) of boxes in the frames of other boxes."""
    rotation = np.einsum('kji,kjl->kil', poses[frames, :3, :3], poses[boxes, :3, :3])
    gap = poses[boxes, :3, 3] - poses[frames, :3, 3]
    centre = np.einsum('kji,kj->ki', poses[frames, :3, :3], gap)
    local = _SIGNS * halves[boxes][:, np.newaxis]
    corners: Array = np.einsum('kij,kcj->kci', rotation, local) + centre[:, np.newaxis]
    return corners


def _sorted(preferred: list[int], waits_for: list[set[int]]) -> list[int]:
    """Take the first of the preferred order that waits for nothing left; break rings by it."""
    left = list(preferred)
    order = []
    while left:
        chosen = next((i for i in left if not waits_for[i]), left[0])
        left.remove(chosen)
        order.append(chosen)
        for i in left:
            waits_for[i].discard(chosen)
    return order
