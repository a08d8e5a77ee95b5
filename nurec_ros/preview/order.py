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
"""The order in which boxes are drawn, so that what is nearer covers what is behind it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SIGNS = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=float)


def back_to_front(poses: Array, halves: Array, eye: Array, rectangles: Array) -> list[int]:
    """
    Give the indices of boxes in the order to draw them.

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
    Give how clearly, in metres, `these` stand before `others` as the eye sees them, in pairs.

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
    """Give the corners (K, 8, 3) of boxes in the frames of other boxes."""
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
