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
JSON bytes to Python objects, in bounded memory and time.

The fast parser, orjson, is used where it is installed. Where it refuses, the standard one is
asked as well: it takes NaN, infinities and huge numbers, so that whoever needs the value can name
its key, and a NaN where nobody looks does no harm.
"""

from __future__ import annotations

from dataclasses import dataclass
import json
from typing import Any

import numpy as np

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]

MEBIBYTE = 1 << 20
# What parsing one member may take: room for more than a million poses, real files have up to
# 60,000.
MOST_MEMORY = 1024 * MEBIBYTE

# Bytes that each part of a text costs at most while it is parsed, measured with both parsers: the
# text and the copy that a parser makes of it, a value and its place in a list, and what a list, an
# object, a key or a text costs beyond that.
_BYTE, _VALUE, _LIST, _OBJECT, _KEY, _TEXT = 2, 56, 44, 100, 80, 50
# Letters beyond ASCII may make a text of four bytes for each letter; the standard parser holds
# two of those at a time.
_ESCAPED_BYTE, _WIDE_BYTE = 4, 8
# No valid text costs more for each of its bytes: those of empty objects are the dearest.
_DEAREST_BYTE = 90

_BOM = b'\xef\xbb\xbf'


class JsonError(Exception):
    """Bytes that are not JSON, or more of it than is read; what was found and what expected."""


class LongNumber(float):
    """
    A whole number of more digits than Python converts.

    To every check it is infinite, in messages it is what it was in the file.
    """

    __slots__ = ('digits',)
    digits: int

    def __repr__(self) -> str:
        return f'a number of {self.digits} digits'


@dataclass(frozen=True, slots=True)
class Contents:
    """How much of what a text holds, at least and at most as much as it can be."""

    size: int
    values: int
    lists: int
    objects: int
    keys: int
    texts: int
    wide: int

    @property
    def memory(self) -> int:
        """Give the bytes of memory that parsing it takes at most."""
        return (
            (_BYTE + self.wide) * self.size
            + _VALUE * self.values
            + _LIST * self.lists
            + _OBJECT * self.objects
            + _KEY * self.keys
            + _TEXT * self.texts
        )


def parse(data: bytes) -> Any:
    """Give the object that the bytes hold; raises JsonError."""
    data = data.removeprefix(_BOM)
    # Most texts are so short that counting is not worth the time.
    if len(data) * _DEAREST_BYTE > MOST_MEMORY:
        _check_memory(data)
    if orjson is not None:
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError:
            pass
    return _parse_tolerantly(data)


def contents(data: bytes) -> Contents:
    """Count what a text holds by its marks, without parsing; marks within texts count as well."""
    codes = np.frombuffer(data, dtype=np.uint8)
    commas, lists, objects, colons, quotes = (
        int(np.count_nonzero(codes == ord(mark))) for mark in ',[{:"'
    )
    wide = _ESCAPED_BYTE if b'\\u' in data else 0
    return Contents(
        size=len(data),
        values=1 + commas + lists + objects,
        lists=lists,
        objects=objects,
        keys=colons,
        texts=quotes // 2,
        wide=wide if data.isascii() else _WIDE_BYTE,
    )


def _check_memory(data: bytes) -> None:
    found = contents(data)
    if found.memory > MOST_MEMORY:
        raise JsonError(
            f'would take some {found.memory // MEBIBYTE} MiB of memory ({found.size} bytes, '
            f'{found.values} values, {found.lists} lists, {found.objects} objects, '
            f'{found.texts} texts), expected at most {MOST_MEMORY // MEBIBYTE} MiB'
        )


def _parse_tolerantly(data: bytes) -> Any:
    try:
        return _loads(data.decode('utf-8'))
    except UnicodeDecodeError as error:
        byte = data[error.start]
        raise JsonError(
            f'is not UTF-8 text (byte {error.start} is {byte:#04x}), expected JSON'
        ) from error
    except json.JSONDecodeError as error:
        raise JsonError(
            f'is not JSON ({error.msg} at line {error.lineno} column {error.colno}), expected JSON'
        ) from error
    except RecursionError as error:
        raise JsonError('is nested too deeply, expected fewer than some 900 levels') from error


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        # Some number has more digits than Python converts. This way is slow, so not the first.
        return json.loads(text, parse_int=_whole_number)


def _whole_number(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:
        number = LongNumber('-inf' if digits.startswith('-') else 'inf')
        number.digits = len(digits.lstrip('-'))
        return number
