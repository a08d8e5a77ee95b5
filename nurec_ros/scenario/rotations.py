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
Unit quaternions (x y z w) and rotation matrices, many at once.

Every array has one rotation a row. Formulas are the textbook ones (Shoemake's slerp, Shepperd's
matrix to quaternion, the Newton-Schulz iteration for the polar factor).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]

# Below this half angle sin(a h) / sin(h) equals a to the last bit, so that clamping to it turns
# slerp into lerp without a branch and without 0 / 0.
SMALLEST_HALF_ANGLE = 1e-8


# Beyond this many rows BLAS calls its threads together, which costs more than they spare, and
# many times more on a machine that is busy.
_BLOCK = 1024


def _product_table() -> Array:
    """Give the (16, 16) matrix that turns the products q_i q_j into the flat 4x4 rotation."""
    x, y, z, w = range(4)
    table = np.zeros((4, 4, 4, 4))

    def add(row: int, column: int, *terms: tuple[int, int, int]) -> None:
        for sign, i, j in terms:
            table[i, j, row, column] += sign

    squares = {0: (1, -1, -1), 1: (-1, 1, -1), 2: (-1, -1, 1)}
    for axis, signs in squares.items():
        add(axis, axis, (1, w, w), *((sign, i, i) for i, sign in enumerate(signs)))
    add(0, 1, (2, x, y), (-2, z, w))
    add(1, 0, (2, x, y), (2, z, w))
    add(0, 2, (2, x, z), (2, y, w))
    add(2, 0, (2, x, z), (-2, y, w))
    add(1, 2, (2, y, z), (-2, x, w))
    add(2, 1, (2, y, z), (2, x, w))
    return table.reshape(16, 16)


_PRODUCTS_TO_MATRIX = _product_table()


def transforms(positions: Array, quaternions: Array) -> Array:
    """Give rigid (N, 4, 4), of positions (N, 3) and unit quaternions (N, 4)."""
    count = len(quaternions)
    products = (quaternions[:, :, np.newaxis] * quaternions[:, np.newaxis, :]).reshape(count, 16)
    flat = np.empty((count, 16))
    for begin in range(0, count, _BLOCK):
        end = begin + _BLOCK
        np.matmul(products[begin:end], _PRODUCTS_TO_MATRIX, out=flat[begin:end])
    result = flat.reshape(count, 4, 4)
    result[:, :3, 3] = positions
    result[:, 3, 3] = 1.0
    return result


def rows_of(quaternion: Quaternion) -> tuple[float, ...]:
    """Give the rotation matrix of one unit quaternion as 9 plain numbers, row by row."""
    x, y, z, w = quaternion
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


def quaternions_of(matrices: Array) -> Array:
    """Give the unit quaternions (N, 4) of rotation matrices (N, 3, 3)."""
    m00, m11, m22 = matrices[:, 0, 0], matrices[:, 1, 1], matrices[:, 2, 2]
    # Four times the square of each component; the largest of them is never cancelled away.
    squares = np.stack(
        [1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22, 1 + m00 + m11 + m22],
        axis=1,
    )
    result = np.empty((len(matrices), 4))
    largest = squares.argmax(axis=1)
    for axis in range(3):
        rows = np.flatnonzero(largest == axis)
        i, j, k = axis, (axis + 1) % 3, (axis + 2) % 3
        part = matrices[rows]
        result[rows, i] = squares[rows, i]
        result[rows, j] = part[:, j, i] + part[:, i, j]
        result[rows, k] = part[:, k, i] + part[:, i, k]
        result[rows, 3] = part[:, k, j] - part[:, j, k]
    rows = np.flatnonzero(largest == 3)
    part = matrices[rows]
    result[rows, 0] = part[:, 2, 1] - part[:, 1, 2]
    result[rows, 1] = part[:, 0, 2] - part[:, 2, 0]
    result[rows, 2] = part[:, 1, 0] - part[:, 0, 1]
    result[rows, 3] = squares[rows, 3]
    result /= np.linalg.norm(result, axis=1, keepdims=True)
    return result


def orthonormality_error(matrices: Array) -> Array:
    """Give how far each matrix (N, 3, 3) is from a rotation: max |R^T R - 1|, 2 for a mirror."""
    gram = np.einsum('nij,nik->njk', matrices, matrices)
    error = np.abs(gram - np.eye(3)).max(axis=(1, 2))
    worst: Array = np.where(determinants(matrices) > 0.0, error, np.maximum(error, 2.0))
    return worst


def determinants(matrices: Array) -> Array:
    """Give each matrix's determinant, (N,), of (N, 3, 3); numpy's own warns of tiny entries."""
    normals = np.cross(matrices[:, 1], matrices[:, 2])
    return np.asarray(np.einsum('ni,ni->n', matrices[:, 0], normals), dtype=np.float64)


def orthonormalised(matrices: Array) -> Array:
    """
    Give the rotation nearest to each matrix (N, 3, 3) that is one already within 0.1.

    That is the polar factor, found by Newton-Schulz: the error is squared in each round.
    """
    result = matrices
    for _ in range(6):
        gram = np.einsum('nij,nik->njk', result, result)
        excess = gram - np.eye(3)
        if np.abs(excess).max(initial=0.0) < 4e-16:
            break
        result = result - 0.5 * np.einsum('nij,njk->nik', result, excess)
    return result


def continuous(quaternions: Array) -> Array:
    """Turn signs so that each quaternion (N, 4) lies on the half sphere of the one before it."""
    dots = np.einsum('ij,ij->i', quaternions[1:], quaternions[:-1])
    signs = np.ones(len(quaternions))
    np.cumprod(np.where(dots < 0.0, -1.0, 1.0), out=signs[1:])
    return quaternions * signs[:, np.newaxis]


def half_angles(quaternions: Array) -> Array:
    """
    Give half of the angle (N,) from each quaternion to the next one, 0 for the last.

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
    """Give the weights (N,) of both ends of a slerp over twice `half_angle`."""
    half_angle = np.maximum(half_angle, SMALLEST_HALF_ANGLE)
    along = fraction * half_angle
    scale = 1.0 / np.sin(half_angle)
    return np.sin(half_angle - along) * scale, np.sin(along) * scale


def rotation_vectors(start: Array, end: Array) -> Array:
    """Give the rotations (N, 3) from start to end, axis times angle, in start's own frame."""
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
