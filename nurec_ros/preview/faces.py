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
"""The shapes of a box's faces, and what road vehicles and people show on them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# A face's sides are cut into so many pieces that the lens bends none visibly, by the angle that
# the box covers in radians.
PIECES = ((0.05, 2), (0.35, 6), (math.inf, 24))

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


def cut(line: Array, pieces: int) -> Array:
    """Cut each side of a line (M, D) into equal pieces; the last point is left out."""
    part = (np.arange(pieces) / pieces)[:, np.newaxis]
    steps = np.diff(line, axis=0)[:, np.newaxis]
    points: Array = line[:-1, np.newaxis] + part * steps
    return points.reshape(-1, line.shape[1])


def _face(face: int, corners: Array, pieces: int) -> Array:
    """Return a closed line of (u, v) on a face as points on the box of half size 1."""
    axis, side = face // 2, 2.0 * (face % 2) - 1.0
    across, up = ((1, 2), (0, 2), (0, 1))[axis]
    flat = cut(np.concatenate([corners, corners[:1]]), pieces)
    points = np.full((len(flat), 3), side)
    points[:, across], points[:, up] = flat.T
    return points


def _quad(u0: float, u1: float, v0: float, v1: float) -> Array:
    return np.array([(u0, v0), (u1, v0), (u1, v1), (u0, v1)])


LOOPS = {
    pieces: np.stack([_face(face, _quad(-1.0, 1.0, -1.0, 1.0), pieces) for face in range(6)])
    for _, pieces in PIECES
}


class Details(NamedTuple):
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


def _made_details() -> Details:
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
    return Details(
        np.array([detail[0] for detail in details]),
        np.stack([detail[1] for detail in details]),
        np.stack([detail[2] for detail in details]),
        np.array([detail[3] for detail in details]),
        np.array([detail[4] for detail in details]),
    )


DETAILS = _made_details()
