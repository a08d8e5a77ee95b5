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

import json
from typing import Any

import numpy as np

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]

# Each value costs up to some 70 bytes of memory. A scenario of 1000 tracks with 60,000 poses has
# half a million.
MOST_VALUES = 16_000_000

_BOM = b'\xef\xbb\xbf'


class JsonError(Exception):
    """Bytes that are not JSON, or more of it than is read; the text says what and where."""


def parse(data: bytes) -> Any:
    """Give the object that the bytes hold; raises JsonError."""
    data = data.removeprefix(_BOM)
    # A text has fewer values than bytes: most are spared the count.
    if len(data) > MOST_VALUES and (values := count_values(data)) > MOST_VALUES:
        raise JsonError(f'holds some {values} values, at most {MOST_VALUES} are read')
    if orjson is not None:
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError:
            pass
    return _parse_tolerantly(data)


def count_values(data: bytes) -> int:
    """Give the number of values or more, at most twice as many, from the separators alone."""
    codes = np.frombuffer(data, dtype=np.uint8)
    return 1 + sum(int(np.count_nonzero(codes == ord(mark))) for mark in ',[{')


def _parse_tolerantly(data: bytes) -> Any:
    try:
        return json.loads(data.decode('utf-8'))
    except UnicodeDecodeError as error:
        raise JsonError(
            f'is not UTF-8 text (byte {error.start} is {data[error.start]:#04x}), expected JSON'
        ) from error
    except json.JSONDecodeError as error:
        raise JsonError(
            f'is not JSON: {error.msg} at line {error.lineno} column {error.colno}'
        ) from error
    except RecursionError as error:
        raise JsonError('is nested too deeply to be read') from error
    except ValueError as error:
        # A number of more digits than Python converts.
        raise JsonError(f'is not JSON that can be read: {error}') from error
