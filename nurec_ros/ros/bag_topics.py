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
What a bag says of its topics: the definitions of their types, and the QoS that they were offered.

With the definitions readers need no message packages. The `.msg` files lie under
share/<package>/msg of a prefix: a distribution's, a workspace's or, with the wheels from PyPI, the
virtual environment's.
"""

from __future__ import annotations

from collections.abc import Iterator
import importlib
import os
from pathlib import Path
import re
import sys

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)

# Of a publisher whose depth is not known.
DEPTH = 10
NO_LIMIT = QosTime(0, 0)

SEPARATOR = '=' * 80
# Types that are part of the language; `string<=10` and `float64[9]` are cut to these before.
PRIMITIVES = frozenset(
    ('bool', 'byte', 'char', 'float32', 'float64', 'string', 'wstring')
    + tuple(f'{sign}int{bits}' for sign in ('', 'u') for bits in (8, 16, 32, 64))
)


class NoDefinitionError(Exception):
    """A type without a `.msg` file in any of the places known."""


def prefixes() -> Iterator[Path]:
    """Yield the places that hold a `share` folder, the most particular first."""
    for name in ('AMENT_PREFIX_PATH', 'CMAKE_PREFIX_PATH'):
        yield from (Path(entry) for entry in os.environ.get(name, '').split(os.pathsep) if entry)
    yield Path(sys.prefix)


def message_file(name: str) -> Path:
    """Return the file that defines a type, by its name `package/msg/Type`."""
    package, _, kind = name.split('/')
    places = [prefix / 'share' / package / 'msg' / f'{kind}.msg' for prefix in prefixes()]
    # A package from a wheel may lie anywhere that Python finds it: <prefix>/lib/python/<package>.
    module = sys.modules.get(package)
    if module is not None and module.__file__:
        parents = Path(module.__file__).resolve().parents
        places += [parent / 'share' / package / 'msg' / f'{kind}.msg' for parent in parents]
    for place in places:
        if place.is_file():
            return place
    message = f'no definition of {name} in {", ".join(str(place) for place in places)}'
    raise NoDefinitionError(message)


def used_types(text: str, package: str) -> list[str]:
    """Return the full names of the message types that a definition's fields have, in order."""
    found = []
    for line in text.splitlines():
        match = re.match(r'\s*([A-Za-z][\w/]*)(?:<=\d+)?(?:\[[^\]]*\])?\s+[A-Za-z]\w*', line)
        if not match or match[1] in PRIMITIVES:
            continue
        parts = match[1].split('/')
        if parts == ['Header']:
            parts = ['std_msgs', 'Header']
        home = parts[0] if len(parts) > 1 else package
        found.append(f'{home}/msg/{parts[-1]}')
    return found


def definition(name: str) -> str:
    """
    Return a type's definition in the form `ros2msg`: its own text, then that of each type in it.

    Raise NoDefinitionError where a `.msg` file is not to be found.
    """
    texts = {name: message_file(name).read_text()}
    waiting = used_types(texts[name], name.split('/')[0])
    while waiting:
        other = waiting.pop(0)
        if other in texts:
            continue
        texts[other] = message_file(other).read_text()
        waiting += used_types(texts[other], other.split('/')[0])
    first, *others = texts
    parts = [texts[first].rstrip('\n')]
    for other in others:
        package, _, kind = other.split('/')
        parts += [SEPARATOR, f'MSG: {package}/{kind}', texts[other].rstrip('\n')]
    return '\n'.join(parts) + '\n'


def message_class(name: str) -> type:
    """Return the Python class of a type; ImportError or AttributeError where it is not there."""
    package, _, kind = name.split('/')
    found: type = getattr(importlib.import_module(f'{package}.msg'), kind)
    return found


def recorded_qos(profile: QoSProfile) -> Qos:
    """Return what a publisher offers as bags keep it, so that players offer it again."""
    durability = profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
    reliable = profile.reliability == ReliabilityPolicy.RELIABLE
    return Qos(
        history=QosHistory.KEEP_LAST,
        # DDS does not tell a remote publisher's depth; 0 would be refused by a player.
        depth=profile.depth or DEPTH,
        reliability=QosReliability.RELIABLE if reliable else QosReliability.BEST_EFFORT,
        durability=QosDurability.TRANSIENT_LOCAL if durability else QosDurability.VOLATILE,
        deadline=NO_LIMIT,
        lifespan=NO_LIMIT,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=NO_LIMIT,
        avoid_ros_namespace_conventions=False,
    )
