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
Poses and their unit quaternions (x y z w), to matrices and back.

Leading dimensions are free where shapes say `...`; other arrays have one rotation a row. Formulas
are the textbook ones (Shoemake's slerp, Shepperd's matrix to quaternion).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement
import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]

SMALLEST_HALF_ANGLE = 1e-8

# Above some 4000 rows OpenBLAS hands a product to threads of its own, slower for such narrow ones.
_BLOCK = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """
    One pose or many: position (..., 3) in metres and unit quaternion (..., 4), x y z w.

    `T_a_b` as a pose holds the position of b in a, and the rotation from b's axes to a's.
    """

    position: Array
    quaternion: Array

    @property
    def matrix(self) -> Array:
        """Return the rigid transform (..., 4, 4)."""
        return matrices(self.position, self.quaternion)

    @classmethod
    def from_matrix(cls, transform: Array) -> Pose:
        """Return the pose of a rigid transform (..., 4, 4); its quaternion has w >= 0."""
        position = np.array(transform[..., :3, 3], dtype=np.float64)
        if transform.ndim == 2:
            return cls(position, np.array(quaternion_of(transform)))
        return cls(position, quaternions_of(transform))


def matrices(positions: Array, quaternions: Array) -> Array:
    """Return rigid transforms (..., 4, 4), of positions (..., 3) and unit quaternions (..., 4)."""
    if quaternions.ndim == 1:
        a, b, c, d, e, f, g, h, i = rotation_rows(*quaternions.tolist())
        x, y, z = positions.tolist()
        flat = (a, b, c, x, d, e, f, y, g, h, i, z, 0.0, 0.0, 0.0, 1.0)
        return np.array(flat).reshape(4, 4)
    shape = quaternions.shape[:-1]
    quaternions = quaternions.reshape(-1, 4)
    count = len(quaternions)
    products = (quaternions[:, :, np.newaxis] * quaternions[:, np.newaxis, :]).reshape(count, 16)
    rows = np.empty((count, 16))
    for begin in range(0, count, _BLOCK):
        end = begin + _BLOCK
        np.matmul(products[begin:end], _PRODUCTS_TO_MATRIX, out=rows[begin:end])
    result = rows.reshape(*shape, 4, 4)
    result[..., :3, 3] = positions
    result[..., 3, 3] = 1.0
    return result


def rotation_rows(x: float, y: float, z: float, w: float) -> tuple[float, ...]:
    """
    Return the rotation matrix of one unit quaternion as 9 plain numbers, row by row.

    For one rotation many times faster than arrays of one element.
    """
    xx, yy, zz, ww = x * x, y * y, z * z, w * w
    return (
        ww + xx - yy - zz,
        2.0 * (x * y - z * w),
        2.0 * (x * z + y * w),
        2.0 * (x * y + z * w),
        ww - xx + yy - zz,
        2.0 * (y * z - x * w),
        2.0 * (x * z - y * w),
        2.0 * (y * z + x * w),
        ww - xx - yy + zz,
    )


def _product_table() -> Array:
    """
    Return the (16, 16) matrix that turns the products q_i q_j into the flat 4x4 rotation.

    What belongs to a pair is found by polarisation: q(a + b) - q(a - b) = 4 q(a, b).
    """
    table = np.zeros((4, 4, 4, 4))
    one = np.eye(4)
    for i, j in combinations_with_replacement(range(4), 2):
        plus, minus = (rotation_rows(*(one[i] + sign * one[j])) for sign in (1.0, -1.0))
        pair = np.subtract(plus, minus) / (4.0 if i == j else 2.0)
        table[i, j, :3, :3] = pair.reshape(3, 3)
    return table.reshape(16, 16)


_PRODUCTS_TO_MATRIX = _product_table()


def quaternions_of(rotations: Array) -> Array:
    """
    Return the unit quaternions (..., 4), w >= 0, of rotation matrices (..., 3, 3).

    Rigid transforms (..., 4, 4) will do as well. Shepperd's method: of the four squares that the
    diagonal gives, the largest is divided by, so that nothing is lost near half a turn.
    """
    matrix = np.asarray(rotations, dtype=np.float64)
    xx, yy, zz = matrix[..., 0, 0], matrix[..., 1, 1], matrix[..., 2, 2]
    # Row i holds 4 q_i times (x, y, z, w).
    candidates = np.empty((*matrix.shape[:-2], 4, 4))
    squares = candidates[..., range(4), range(4)] = np.stack(
        (1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz, 1 + xx + yy + zz), axis=-1
    )
    for i, j, value in (
        (0, 1, matrix[..., 1, 0] + matrix[..., 0, 1]),
        (0, 2, matrix[..., 0, 2] + matrix[..., 2, 0]),
        (1, 2, matrix[..., 2, 1] + matrix[..., 1, 2]),
        (0, 3, matrix[..., 2, 1] - matrix[..., 1, 2]),
        (1, 3, matrix[..., 0, 2] - matrix[..., 2, 0]),
        (2, 3, matrix[..., 1, 0] - matrix[..., 0, 1]),
    ):
        candidates[..., i, j] = candidates[..., j, i] = value
    best = np.argmax(squares, axis=-1)[..., np.newaxis, np.newaxis]
    result: Array = np.take_along_axis(candidates, best, axis=-2)[..., 0, :]
    result /= np.linalg.norm(result, axis=-1, keepdims=True)
    return with_positive_w(result)


def quaternion_of(rotation: Array) -> Quaternion:
    """Return what `quaternions_of` does of one matrix (3, 3) or (4, 4), as plain numbers."""
    (a, b, c, *_), (d, e, f, *_), (g, h, i, *_) = rotation[:3].tolist()
    squares = (1.0 + a - e - i, 1.0 - a + e - i, 1.0 - a - e + i, 1.0 + a + e + i)
    best = squares.index(max(squares))
    x, y, z, w = (
        (squares[0], b + d, c + g, h - f),
        (b + d, squares[1], f + h, c - g),
        (c + g, f + h, squares[2], d - b),
        (h - f, c - g, d - b, squares[3]),
    )[best]
    scale = math.copysign(1.0 / math.sqrt(x * x + y * y + z * z + w * w), w)
    return x * scale, y * scale, z * scale, w * scale


def with_positive_w(quaternions: Array) -> Array:
    """Return quaternions (..., 4) with signs that make w >= 0; a copy."""
    return quaternions * np.copysign(1.0, quaternions[..., 3:])


def continuous(quaternions: Array) -> Array:
    """Turn signs so that each quaternion (N, 4) lies on the half sphere of the one before it."""
    dots = np.einsum('ij,ij->i', quaternions[1:], quaternions[:-1])
    signs = np.ones(len(quaternions))
    np.cumprod(np.where(dots < 0.0, -1.0, 1.0), out=signs[1:])
    return quaternions * signs[:, np.newaxis]


def half_angles(quaternions: Array) -> Array:
    """
    Return half of the angle (N,) from each quaternion to the next one, 0 for the last.

    The arctangent keeps its accuracy for tiny angles and near half a turn, where the usual
    arccosine of the dot product loses half of its digits.
    """
    result = np.zeros(len(quaternions))
    step = quaternions[1:] - quaternions[:-1]
    middle = quaternions[1:] + quaternions[:-1]
    result[:-1] = 2.0 * np.arctan2(
        np.sqrt(np.einsum('ij,ij->i', step, step)),
        np.sqrt(np.einsum('ij,ij->i', middle, middle)),
    )
    return result


def slerp_weights(half_angle: Array, fraction: Array) -> tuple[Array, Array]:
    """Return the weights (N,) of both ends of a slerp over twice `half_angle`."""
    half_angle = np.maximum(half_angle, SMALLEST_HALF_ANGLE)
    along = fraction * half_angle
    scale = 1.0 / np.sin(half_angle)
    return np.sin(half_angle - along) * scale, np.sin(along) * scale


def rotation_vectors(start: Array, end: Array) -> Array:
    """Return the rotations (N, 3) from start to end, axis times angle, in start's own frame."""
    a, b = start[:, :3], end[:, :3]
    a_w, b_w = start[:, 3:], end[:, 3:]
    vector = a_w * b - b_w * a - np.cross(a, b)
    scalar = a_w[:, 0] * b_w[:, 0] + np.einsum('ij,ij->i', a, b)
    sign = np.where(scalar < 0.0, -1.0, 1.0)
    vector *= sign[:, np.newaxis]
    length = np.linalg.norm(vector, axis=1)
    angle = 2.0 * np.arctan2(length, np.abs(scalar))
    # For a tiny rotation the vector part is half the rotation vector.
    scale = np.where(length > 1e-150, angle / np.maximum(length, 1e-150), 2.0)
    return np.asarray(vector * scale[:, np.newaxis])
