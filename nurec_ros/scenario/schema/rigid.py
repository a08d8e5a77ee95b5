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
Rotations as files hold them: nearly exact, and made exact here.

Real files are text of float32 values, so that a matrix is rigid to 1e-7 only, and some producers
write three decimals. What is within the tolerance is replaced by the nearest rotation, what is
coarser than RIGID is told; the rest is refused.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from nurec_ros.scenario.schema.fields import FARTHEST_METRES, FieldError

Array = NDArray[np.float64]

# How far R^T R is from 1: told from here on, refused beyond. Three decimals are off by 2e-3.
RIGID = 1e-3
RIGID_TOLERANCE = 1e-2
UNIT_TOLERANCE = 1e-2

# Larger entries are wrong in any case; their squares must not overflow.
_CLIP = 4.0


def rigid_transforms(
    matrices: Array, path: str, *, farthest: float = FARTHEST_METRES
) -> tuple[Array, Array]:
    """
    Return transforms (N, 4, 4) with exact rotations, and how far from exact each was (N,).

    `path` names the list; raises FieldError with the index of the first that is not rigid within
    RIGID_TOLERANCE.
    """
    clipped = np.clip(matrices[:, :3, :3], -_CLIP, _CLIP)
    error = orthonormality_error(clipped)
    last_row = np.abs(matrices[:, 3] - (0.0, 0.0, 0.0, 1.0)).max(axis=1)
    wrong = np.flatnonzero((error > RIGID_TOLERANCE) | (last_row > RIGID))
    if len(wrong):
        i = int(wrong[0])
        raise FieldError(
            f'{path}[{i}]',
            _what_is_wrong(matrices[i], float(max(error[i], last_row[i]))),
            f'a rotation and a translation, exact within {RIGID_TOLERANCE:g}',
        )
    result: Array = np.zeros_like(matrices)
    result[:, :3, :3] = orthonormalised(matrices[:, :3, :3])
    result[:, :3, 3] = checked_positions(matrices[:, :3, 3], path, farthest=farthest)
    result[:, 3, 3] = 1.0
    return result, error


def rigid_transform(
    matrix: Array, path: str, *, farthest: float = FARTHEST_METRES
) -> tuple[Array, float]:
    """Return one transform (4, 4) with an exact rotation, and how far from it; `path` names it."""
    try:
        transforms, errors = rigid_transforms(matrix[np.newaxis], path, farthest=farthest)
    except FieldError as error:
        raise FieldError(path, error.found, error.expected) from None
    return transforms[0], float(errors[0])


def coarse(error: float) -> str:
    """Return the sentence's end about rotations that are not RIGID."""
    return f'exact within {error:.2g} only, expected {RIGID:g}, so the nearest rotation is taken'


def checked_positions(positions: Array, path: str, *, farthest: float = FARTHEST_METRES) -> Array:
    """Refuse positions (N, 3) so far out that they can only be garbage."""
    wrong = np.flatnonzero(np.abs(positions).max(axis=1, initial=0.0) > farthest)
    if len(wrong):
        i = int(wrong[0])
        raise FieldError(
            f'{path}[{i}]',
            f'at {np.array2string(positions[i], precision=6, separator=", ")}',
            f'coordinates within {farthest:g} m',
        )
    return positions


def unit_quaternions(quaternions: Array) -> tuple[Array, int | None]:
    """Return quaternions (N, 4) of unit length, and the first row that is none, or None."""
    lengths = np.linalg.norm(np.clip(quaternions, -_CLIP, _CLIP), axis=1)
    wrong = np.flatnonzero(np.abs(lengths - 1.0) > UNIT_TOLERANCE)
    if len(wrong):
        return quaternions, int(wrong[0])
    return np.asarray(quaternions / lengths[:, np.newaxis], dtype=np.float64), None


def _what_is_wrong(matrix: Array, error: float) -> str:
    rotation = np.clip(matrix[:3, :3], -_CLIP, _CLIP)
    determinant = float(determinants(rotation[np.newaxis])[0])
    if abs(determinant) < 1e-6:
        return 'singular'
    if determinant < 0.0:
        return 'a mirror image'
    if np.abs(matrix[:3, 3]).max() <= RIGID_TOLERANCE < np.abs(matrix[3, :3]).max():
        return 'written by columns (its translation is in the last row)'
    return f'not rigid (off by {error:.3g})'


def orthonormality_error(matrices: Array) -> Array:
    """Return how far each matrix (N, 3, 3) is from a rotation: max |R^T R - 1|, 2 for a mirror."""
    gram = np.einsum('nij,nik->njk', matrices, matrices)
    error = np.abs(gram - np.eye(3)).max(axis=(1, 2))
    worst: Array = np.where(determinants(matrices) > 0.0, error, np.maximum(error, 2.0))
    return worst


def determinants(matrices: Array) -> Array:
    """Return each matrix's determinant, (N,), of (N, 3, 3); numpy's own warns of tiny entries."""
    normals = np.cross(matrices[:, 1], matrices[:, 2])
    return np.asarray(np.einsum('ni,ni->n', matrices[:, 0], normals), dtype=np.float64)


def orthonormalised(matrices: Array) -> Array:
    """
    Return the rotation nearest to each matrix (N, 3, 3) that is one already within 0.1.

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
