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
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from nurec_ros.scenario.sentence import shortened

Array = NDArray[np.float64]
Times = NDArray[np.int64]

# Times become int32 seconds in ROS and unsigned microseconds on the renderer's wire.
LAST_US = (2**31 - 1) * 1_000_000
TIME = f'whole microseconds from 0 to {LAST_US}'
# Further out than any map grid (UTM reaches 10,000 km): beyond it a coordinate is garbage.
FARTHEST_METRES = 1e8

_LONGEST_KEY = 100
_NUMBERS = {float, int}


class FieldError(Exception):
    """A value that cannot be used: its key path, what was found, what was expected."""

    def __init__(self, key: str, found: str, expected: str) -> None:
        self.key = key
        self.found = found
        self.expected = expected
        super().__init__(f'{key} is {found}, expected {expected}')


def described(value: object) -> str:
    """Say in a few words what a parsed value is."""
    if value is None:
        return 'null'
    if isinstance(value, bool):
        return 'true' if value else 'false'
    if isinstance(value, list):
        return 'an empty list' if not value else f'a list of {len(value)}'
    if isinstance(value, dict):
        return 'an empty object' if not value else f'an object of {len(value)}'
    if isinstance(value, str):
        value = shortened(value)
    try:
        return shortened(repr(value))
    except ValueError:
        return 'a number of very many digits'


def found_in(parent: Mapping[str, Any], key: str) -> str:
    """Say in a few words what an object holds under a key: null is not the same as missing."""
    return described(parent[key]) if key in parent else 'missing'


def get(parent: Mapping[str, Any], key: str, path: str, expected: str = 'it to be there') -> Any:
    """Give a required value of an object; `path` is that of the object, '' at the top."""
    if key not in parent:
        raise FieldError(join(path, key), 'missing', expected)
    return parent[key]


def join(path: str, key: str) -> str:
    """Give the path of a key within an object."""
    key = shortened(key, _LONGEST_KEY)
    return f'{path}.{key}' if path else key


def as_object(value: object, path: str) -> dict[str, Any]:
    """Give a JSON object."""
    if not isinstance(value, dict):
        raise FieldError(path or 'the top level', described(value), 'an object')
    return value


def as_list(value: object, path: str, length: int | None = None) -> list[Any]:
    """Give a JSON list, of a certain length where that is given."""
    wanted = 'a list' if length is None else f'a list of {length}'
    if not isinstance(value, list) or (length is not None and len(value) != length):
        raise FieldError(path, described(value), wanted)
    return value


def as_text(value: object, path: str) -> str:
    """Give a text that can be encoded; a lone half of a surrogate pair cannot."""
    if not isinstance(value, str):
        raise FieldError(path, described(value), 'a text')
    if not encodable(value):
        raise FieldError(path, described(value), 'a text without halves of letters')
    return value


def encodable(text: str) -> bool:
    """Tell whether a text can go out as UTF-8."""
    if text.isascii():
        return True
    try:
        text.encode('utf-8')
    except UnicodeEncodeError:
        return False
    return True


def numbers(value: object, path: str, shape: tuple[int | None, ...]) -> Array:
    """
    Give an array of finite numbers of the shape; the first length may be None: any.

    Raises FieldError with the path of the first element that is of another kind or length.
    """
    if not isinstance(value, list) or (shape[0] is not None and len(value) != shape[0]):
        raise _offender(value, path, shape)
    level = value
    for width in shape[1:]:
        if set(map(type, level)) - {list} or set(map(len, level)) - {width}:
            raise _offender(value, path, shape)
        level = list(chain.from_iterable(level))
    array = float_array(level)
    if array is None:
        raise _offender(value, path, shape)
    return array.reshape(len(value), *(width or 0 for width in shape[1:]))


def times_us(value: object, path: str) -> Times:
    """Give times (N,) in microseconds: whole numbers in the range that ROS can stamp."""
    level = as_list(value, path)
    array = time_array(level)
    if array is None:
        for i, element in enumerate(level):
            if not is_time(element):
                raise FieldError(f'{path}[{i}]', described(element), TIME)
        raise FieldError(path, described(value), TIME)
    return array


def increasing(times: Times, path: str) -> None:
    """Refuse times that run backwards or repeat."""
    wrong = np.flatnonzero(np.diff(times) <= 0)
    if len(wrong):
        i = int(wrong[0]) + 1
        raise FieldError(
            f'{path}[{i}]',
            str(times[i]),
            f'a time after the one before it ({times[i - 1]})',
        )


def is_number(value: object) -> bool:
    """Tell whether a value is a finite number that fits in float64."""
    if type(value) not in _NUMBERS:
        return False
    try:
        return math.isfinite(float(value))  # type: ignore[arg-type]
    except OverflowError:
        return False


def is_time(value: object) -> bool:
    """Tell whether a value is a whole number of microseconds in the range."""
    return is_number(value) and value == int(value) and 0 <= value <= LAST_US  # type: ignore


def float_array(flat: Sequence[Any]) -> Array | None:
    """Give finite float64 (N,), or None where an element is something else."""
    if set(map(type, flat)) - _NUMBERS:
        return None
    try:
        array = np.array(flat, dtype=np.float64)
    except OverflowError:
        return None
    return array if np.isfinite(array).all() else None


def time_array(flat: Sequence[Any]) -> Times | None:
    """Give microseconds (N,), or None where an element is none or out of range."""
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


def _offender(value: object, path: str, shape: tuple[int | None, ...]) -> FieldError:
    """Find the first element that has not the shape or is no number."""
    if not shape:
        return FieldError(path, described(value), 'a finite number')
    wanted = 'a list' if shape[0] is None else f'a list of {shape[0]}'
    if len(shape) == 1:
        wanted += ' of numbers' if shape[0] is None else ' numbers'
    elif len(shape) == 2 and shape[0] is not None:
        wanted += f' lists of {shape[1]} numbers'
    if not isinstance(value, list) or (shape[0] is not None and len(value) != shape[0]):
        return FieldError(path, described(value), wanted)
    for i, element in enumerate(value):
        if not _fits(element, shape[1:]):
            return _offender(element, f'{path}[{i}]', shape[1:])
    return FieldError(path, described(value), wanted)


def _fits(value: object, shape: tuple[int | None, ...]) -> bool:
    if not shape:
        return is_number(value)
    if not isinstance(value, list) or (shape[0] is not None and len(value) != shape[0]):
        return False
    return all(_fits(element, shape[1:]) for element in value)
