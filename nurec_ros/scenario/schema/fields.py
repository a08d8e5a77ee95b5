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
Values out of parsed JSON, checked; every refusal names the key path.

The arrays are converted at once. Only when that shows that something is wrong, the elements are
looked at one by one for the first offender: checking costs valid files next to nothing.

Rotations are nearly exact in files and made exact here. Real files are text of float32 values, so
that a matrix is rigid to 1e-7 only, and some producers write three decimals. What is within the
tolerance is replaced by the nearest rotation, what is coarser than RIGID gets a warning; the
rest is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
import math
from typing import Any

import numpy as np
from nurec_ros.errors import shortened
from nurec_ros.poses import Array
from nurec_ros.scenario.archive import listed, MemberError
from nurec_ros.scenario.trajectory import frozen, Times

Warn = Callable[[str], None]

# Times become int32 seconds in ROS and unsigned microseconds on the renderer's wire.
LAST_US = (2**31 - 1) * 1_000_000
TIME = f'whole microseconds from 0 to {LAST_US}'
# Further out than any map grid (UTM reaches 10,000 km): beyond it a coordinate is garbage.
FARTHEST_METRES = 1e8

_LONGEST_KEY = 100
_NUMBERS = {float, int}


class FieldError(MemberError):
    """A value that cannot be used: its key path, what was found, what was expected."""

    def __init__(self, key: str, found: str, expected: str) -> None:
        self.key = key
        self.found = found
        self.expected = expected
        super().__init__(f'{key} is {found}, expected {expected}')


def described(value: object) -> str:
    if value is None:
        return 'null'
    if isinstance(value, bool):
        return 'true' if value else 'false'
    if isinstance(value, (list, tuple)):
        return 'an empty list' if not value else f'a list of {len(value)}'
    if isinstance(value, Mapping):
        return 'an empty object' if not value else f'an object of {len(value)}'
    return shortened(repr(shortened(value) if isinstance(value, str) else value))


def found_in(parent: Mapping[str, Any], key: str) -> str:
    """Return in a few words what an object holds under a key: null is not the same as missing."""
    return described(parent[key]) if key in parent else 'missing'


def name_unknown(keys: Sequence[str], path: str, warn: Warn) -> None:
    """Warn of keys of the object at `path` that nobody reads."""
    if keys:
        where = f' in {path}' if path else ''
        warn(f'keys that are not known{where} are ignored: {listed(keys, described)}')


def get(parent: Mapping[str, Any], key: str, path: str, expected: str = 'it to be there') -> Any:
    """Return a required value of an object; `path` is that of the object, '' at the top."""
    if key not in parent:
        raise FieldError(join(path, key), 'missing', expected)
    return parent[key]


def join(path: str, key: str) -> str:
    key = shortened(key, _LONGEST_KEY)
    return f'{path}.{key}' if path else key


def as_object(value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FieldError(path or 'the top level', described(value), 'an object')
    return value


def as_list(value: object, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise FieldError(path, described(value), 'a list')
    return value


def as_text(value: object, path: str) -> str:
    """Return a text that can be encoded; a lone half of a surrogate pair cannot."""
    if not isinstance(value, str):
        raise FieldError(path, described(value), 'a text')
    if not encodable(value):
        raise FieldError(path, described(value), 'a text without halves of letters')
    return value


def encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode('utf-8')
    except UnicodeEncodeError:
        return False
    return True


def numbers(value: object, path: str, shape: tuple[int | None, ...]) -> Array:
    """
    Return an array of finite numbers of the shape; the first length may be None: any.

    Raises FieldError with the path of the first element that is of another kind or length.
    """
    level: list[Any] = [value]
    for width in shape:
        if set(map(type, level)) - {list} or (
            width is not None and set(map(len, level)) - {width}
        ):
            break
        level = list(chain.from_iterable(level))
    else:
        array = float_array(level)
        if array is not None:
            return array.reshape(-1, *shape[1:])
    raise _offender(value, path, shape) or FieldError(path, described(value), 'numbers')


def times_us(value: object, path: str) -> Times:
    """Return times (N,) in microseconds: whole numbers in the range that ROS can stamp."""
    level = as_list(value, path)
    array = time_array(level)
    if array is None:
        i = next(i for i, element in enumerate(level) if not is_time(element))
        raise FieldError(f'{path}[{i}]', described(level[i]), TIME)
    return array


def increasing(times: Times, path: str) -> None:
    """Refuse times that run backwards or repeat."""
    wrong = np.flatnonzero(np.diff(times) <= 0)
    if len(wrong):
        i = int(wrong[0]) + 1
        before = f'a time after the one before it ({times[i - 1]})'
        raise FieldError(f'{path}[{i}]', str(times[i]), before)


def is_number(value: object) -> bool:
    """Return whether a value is a finite number that fits in float64."""
    if type(value) not in _NUMBERS:
        return False
    try:
        return math.isfinite(float(value))  # type: ignore[arg-type]
    except OverflowError:
        return False


def is_time(value: object) -> bool:
    """Return whether a value is a whole number of microseconds in the range."""
    is_whole = type(value) is int or (type(value) is float and value.is_integer())
    return is_whole and 0 <= value <= LAST_US  # type: ignore[operator]


def float_array(flat: Sequence[Any]) -> Array | None:
    """Return finite float64 (N,), or None where an element is something else."""
    if set(map(type, flat)) - _NUMBERS:
        return None
    try:
        array = np.array(flat, dtype=np.float64)
    except OverflowError:
        return None
    return array if np.isfinite(array).all() else None


def time_array(flat: Sequence[Any]) -> Times | None:
    """Return microseconds (N,), or None where an element is none or out of range."""
    kinds = set(map(type, flat))
    if kinds - _NUMBERS:
        return None
    if float in kinds and not all(map(is_time, flat)):
        return None
    try:
        array = np.array(list(map(int, flat)) if float in kinds else flat, dtype=np.int64)
    except OverflowError:
        return None
    return array if not len(array) or (array.min() >= 0 and array.max() <= LAST_US) else None


def _offender(value: object, path: str, shape: tuple[int | None, ...]) -> FieldError | None:
    """Return the refusal of the first element that has not the shape or is no number."""
    if not shape:
        return None if is_number(value) else FieldError(path, described(value), 'a finite number')
    if isinstance(value, list) and shape[0] in (None, len(value)):
        inner = (_offender(one, f'{path}[{i}]', shape[1:]) for i, one in enumerate(value))
        return next(filter(None, inner), None)
    wanted = 'a list' if shape[0] is None else f'a list of {shape[0]}'
    if len(shape) == 1:
        wanted += ' of numbers' if shape[0] is None else ' numbers'
    elif len(shape) == 2 and shape[0] is not None:
        wanted += f' lists of {shape[1]} numbers'
    return FieldError(path, described(value), wanted)


# How far R^T R may be from 1: beyond RIGID with a warning, beyond RIGID_TOLERANCE it is refused.
# Three decimals are off by 2e-3.
RIGID = 1e-3
RIGID_TOLERANCE = 1e-2

# Larger entries are wrong in any case; their squares must not overflow.
CLIP = 4.0


def rigid_transforms(
    matrices: Array, path_of: Callable[[int], str], farthest: float = FARTHEST_METRES
) -> tuple[Array, Array]:
    """
    Return transforms (N, 4, 4) with exact rotations, and how far from exact each was (N,).

    `path_of` names each; raises FieldError for the first that is not rigid within RIGID_TOLERANCE.
    """
    clipped = np.clip(matrices[:, :3, :3], -CLIP, CLIP)
    error = orthonormality_error(clipped)
    last_row = np.abs(matrices[:, 3] - (0.0, 0.0, 0.0, 1.0)).max(axis=1)
    wrong = np.flatnonzero((error > RIGID_TOLERANCE) | (last_row > RIGID))
    if len(wrong):
        i = int(wrong[0])
        raise FieldError(
            path_of(i),
            _what_is_wrong(matrices[i], float(max(error[i], last_row[i]))),
            f'a rotation and a translation, exact within {RIGID_TOLERANCE:g}',
        )
    check_positions(matrices[:, :3, 3], path_of, farthest)
    result: Array = np.zeros_like(matrices)
    result[:, :3, :3] = orthonormalised(matrices[:, :3, :3])
    result[:, :3, 3] = matrices[:, :3, 3]
    result[:, 3, 3] = 1.0
    return result, error


def rigid_transform(
    value: object, path: str, farthest: float = FARTHEST_METRES
) -> tuple[Array, float]:
    """Return one transform (4, 4), read-only and exact, and how far from it the value was."""
    matrix = numbers(value, path, (4, 4))
    transforms, errors = rigid_transforms(matrix[np.newaxis], lambda _: path, farthest)
    return frozen(transforms[0]), float(errors[0])


def coarse(error: float) -> str:
    """Return the sentence's end about rotations that are not RIGID."""
    return f'exact within {error:.2g} only, expected {RIGID:g}, so the nearest rotation is taken'


def check_positions(
    positions: Array, path_of: Callable[[int], str], farthest: float = FARTHEST_METRES
) -> None:
    """Refuse positions (N, 3) so far out that they can only be garbage."""
    wrong = np.flatnonzero(np.abs(positions).max(axis=1, initial=0.0) > farthest)
    if len(wrong):
        i = int(wrong[0])
        found = ', '.join(f'{number:.6g}' for number in positions[i])
        raise FieldError(path_of(i), f'at [{found}]', f'coordinates within {farthest:g} m')


def _what_is_wrong(matrix: Array, error: float) -> str:
    rotation = np.clip(matrix[:3, :3], -CLIP, CLIP)
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
