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
The gaps of serialized messages, made the same each time.

CDR aligns numbers to their size, and rclpy leaves in the gaps what the memory held before. A
function is made for each type that knows where they are, as to decode a message and encode it
anew takes as long as all else that is done about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import struct
from typing import Any

from rosbags.interfaces import Nodetype
from rosbags.typesys.store import Typestore

# Before the message: two bytes that name the encoding, and two that mean nothing.
HEAD = 4
SIZES = {
    **dict.fromkeys(('bool', 'byte', 'char', 'int8', 'uint8', 'octet'), 1),
    **dict.fromkeys(('int16', 'uint16'), 2),
    **dict.fromkeys(('int32', 'uint32', 'float32'), 4),
    **dict.fromkeys(('int64', 'uint64', 'float64'), 8),
}

Closer = Callable[[bytearray], None]
# ('run', size, count) of numbers, ('string',), ('many', steps of one), in their order.
Step = tuple[Any, ...]


def closer(types: Typestore, kind: str) -> Closer:
    """Return what writes zeros into the gaps of a serialized message of a type."""
    lines = [*_code(_merged(_steps(types, kind)), 1)]
    source = '\n'.join(('def close(data):', '    p = 0', *lines, '    return None'))
    names: dict[str, Any] = {'number': struct.Struct('<I').unpack_from}
    # Ours all of it: made of sizes and of nothing that was read.
    exec(source, names)
    found: Closer = names['close']
    return found


def _steps(types: Typestore, kind: str) -> Iterator[Step]:
    for _, field in types.fielddefs[kind][1]:
        yield from _steps_of(types, field)


def _steps_of(types: Typestore, field: Any) -> Iterator[Step]:
    node, detail = field
    if node == Nodetype.BASE and detail[0] == 'string':
        yield ('string',)
    elif node == Nodetype.BASE:
        yield ('run', SIZES[detail[0]], 1)
    elif node == Nodetype.NAME:
        yield from _steps(types, detail)
    elif node == Nodetype.ARRAY:
        one = _merged(_steps_of(types, detail[0]))
        for _ in range(detail[1]):
            yield from one
    else:
        yield ('many', _merged(_steps_of(types, detail[0])))


def _merged(steps: Iterator[Step]) -> list[Step]:
    """Return steps with numbers of one size in a row as one."""
    merged: list[Step] = []
    for step in steps:
        if step[0] == 'run' and merged and merged[-1][:2] == step[:2]:
            merged[-1] = ('run', step[1], merged[-1][2] + step[2])
        else:
            merged.append(step)
    return merged


def _code(steps: list[Step], depth: int) -> Iterator[str]:
    """Yield lines that go over a message; `p` counts from the end of the head."""
    indent = '    ' * depth
    for step in steps:
        if step[0] == 'run':
            yield from _aligned(step[1], indent)
            yield f'{indent}p += {step[1] * step[2]}'
            continue
        yield from _aligned(4, indent)
        if step[0] == 'string':
            yield f'{indent}p += 4 + number(data, p + {HEAD})[0]'
            continue
        yield f'{indent}n{depth} = number(data, p + {HEAD})[0]'
        yield f'{indent}p += 4'
        (first, *others) = step[1]
        if first[0] == 'run' and not others:
            yield f'{indent}if n{depth}:'
            yield from _aligned(first[1], f'{indent}    ')
            yield f'{indent}    p += {first[1] * first[2]} * n{depth}'
        else:
            yield f'{indent}for _ in range(n{depth}):'
            yield from _code(step[1], depth + 1)


def _aligned(size: int, indent: str) -> Iterator[str]:
    if size > 1:
        yield f'{indent}q = (p + {size - 1}) & -{size}'
        yield f'{indent}if q != p:'
        yield f'{indent}    data[p + {HEAD}:q + {HEAD}] = bytes(q - p)'
        yield f'{indent}    p = q'
