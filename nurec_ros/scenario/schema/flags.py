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
"""The flags of tracks, in any of the forms that producers write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nurec_ros.scenario.schema.fields import described, encodable, found_in, join

Warn = Callable[[str], None]

_FLAGS = 'tracks_flags'
_NONE = frozenset({'', 'NONE'})
_DEEPEST = 3


def parse_flags(
    data: Mapping[str, Any], path: str, count: int, warn: Warn
) -> list[frozenset[str]]:
    """
    Give the flags of each track as a set of names in capitals; `path` is that of `data`.

    Taken: names joined by bars ('DYNAMIC|CONTROLLABLE'), lists of names, the same for each pose,
    and 0 for none. Flags are not required: what is wrong is told to `warn` once and means none.
    """
    none = [frozenset[str]()] * count
    value = data.get(_FLAGS)
    path = join(path, _FLAGS)
    if not isinstance(value, list) or len(value) != count:
        if value is not None or count:
            warn(
                f'{path} is {found_in(data, _FLAGS)}, expected {count} elements, one for each of '
                'tracks_id, so no track has flags'
            )
        return none
    known: dict[str, frozenset[str]] = {}
    flags = []
    wrong: list[tuple[int, object]] = []
    for i, element in enumerate(value):
        if isinstance(element, str) and element in known:
            flags.append(known[element])
            continue
        names: set[str] = set()
        if not _collect(element, names):
            wrong.append((i, element))
        found_flags = frozenset(names - _NONE)
        flags.append(found_flags)
        if isinstance(element, str):
            known[element] = found_flags
    if wrong:
        i, element = wrong[0]
        others = f' (and {len(wrong) - 1} others alike)' if len(wrong) > 1 else ''
        warn(
            f'{path}[{i}]{others} is {described(element)}, expected names of flags, so what is no '
            'name is ignored'
        )
    return flags


def _collect(value: object, names: set[str], depth: int = 0) -> bool:
    """Add the names in a value; tell whether there was nothing else in it."""
    if isinstance(value, str) and encodable(value):
        names.update(name.strip().upper() for name in value.split('|'))
        return True
    if isinstance(value, list) and depth < _DEEPEST:
        good = [_collect(element, names, depth + 1) for element in value]
        return all(good)
    return value is None or (type(value) is int and value == 0)
