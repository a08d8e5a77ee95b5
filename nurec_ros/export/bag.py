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
A bag as the place where messages go, and what any bag says of its topics.

Each part of an export is a rosbag2 folder of its own until it is finished; then its file moves to
those of the parts before, and the metadata of all are merged. The messages of a moment are written
in the order in which their topics were advertised, whoever published them first.

With the definitions of their types readers need no message packages. The `.msg` files lie under
share/<package>/msg of a prefix: a distribution's, a workspace's or, with the wheels from PyPI, the
virtual environment's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
import importlib
from itertools import groupby
import os
from pathlib import Path
import re
import struct
import sys
from typing import Any, TypeAlias

from nurec_ros.errors import ConfigurationError
from nurec_ros.ros.outlet import Publication
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from rosbags.interfaces import (
    Connection,
    Nodetype,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer, writer
from rosbags.typesys import get_types_from_msg, get_typestore, Stores
from rosbags.typesys.store import Typestore

# The last whose QoS profiles are text: older distributions read no other, newer ones both.
BAG_VERSION = 8
STORAGES = {'mcap': StoragePlugin.MCAP, 'sqlite3': StoragePlugin.SQLITE3}
SUFFIXES = {'mcap': '.mcap', 'sqlite3': '.db3'}

Step: TypeAlias = 'int | tuple[Step, ...]'
BYTES: tuple[Step, ...] = (1,)
# Before the message: two bytes that name the encoding, and two that mean nothing.
HEAD = 4
# By a field's type: the size of a number, or the steps of each of several, their number before it.
STEPS: dict[str, Step] = {
    'string': BYTES,
    **dict.fromkeys(('bool', 'byte', 'char', 'int8', 'uint8', 'octet'), 1),
    **dict.fromkeys(('int16', 'uint16'), 2),
    **dict.fromkeys(('int32', 'uint32', 'float32'), 4),
    **dict.fromkeys(('int64', 'uint64', 'float64'), 8),
}

# Of a publisher whose depth is not known.
DEPTH = 10
NO_LIMIT = QosTime(0, 0)
SEPARATOR = '=' * 80

Wanted = Callable[[str, type], bool]
Closer = Callable[[bytearray], None]

_dump_qos = cache(writer.dump_qos_v8)
# The YAML of the same two profiles for each topic of each part, twice, took a third of the time of
# a small part.
writer.dump_qos_v8 = lambda profiles: _dump_qos(tuple(profiles))


class BagOutlet:
    """
    Takes what is published, at the time `now_ns`, into the bag `folder`.

    `wanted` says by full name and type which topics are recorded; the others have no subscribers.
    While `recording` is off, everything is dropped: what leads up to a part is not of it.
    """

    def __init__(self, folder: Path, storage: str, name: str, wanted: Wanted) -> None:
        self.name = name
        self.now_ns = 0
        self.recording = False
        self._wanted = wanted
        self._moment: list[tuple[int, bytes]] = []
        self._moment_ns = 0
        self._channels: list[_Channel] = []
        self._ranks: dict[str, int] = {}
        self._writer = Writer(folder, version=BAG_VERSION, storage_plugin=STORAGES[storage])
        self._writer.open()

    def advertise(self, message_type: type, topic: str, qos: QoSProfile) -> Publication:
        """Add a topic to the bag, if it is recorded."""
        full = full_name(self.name, topic)
        if not self._wanted(full, message_type):
            return _Nowhere(full)
        connection = add_topic(self._writer, full, type_name(message_type), [qos])
        rank = self._ranks[full] = len(self._channels)
        self._channels.append(_Channel(self, full, connection, rank))
        return self._channels[-1]

    def take(self, rank: int, data: bytes) -> None:
        """Keep a message until its moment is over; one that is there already says nothing new."""
        if self.now_ns != self._moment_ns:
            self._write_moment()
            self._moment_ns = self.now_ns
        if (rank, data) not in self._moment:
            self._moment.append((rank, data))

    def _write_moment(self) -> None:
        self._moment.sort(key=lambda entry: entry[0])
        # As no stamp is 0, no time is.
        t_ns = max(self._moment_ns, 1)
        for rank, data in self._moment:
            self._writer.write(self._channels[rank].connection, t_ns, data)
        self._moment.clear()

    def repeat(self, topic: str, data: bytes) -> None:
        """Take a message that another bag of this outlet's kind holds."""
        self.take(self._ranks[topic], data)

    def close(self) -> None:
        """Write what is left, index and metadata."""
        self._write_moment()
        self._writer.close()

    def abandon(self) -> None:
        """Leave the bag as it is."""
        self._writer.abort()


class _Nowhere:
    """A topic that is not recorded."""

    subscribers = 0

    def __init__(self, topic: str) -> None:
        self.topic = topic

    def publish(self, message: object) -> None:
        """Drop a message."""

    def flush(self, timeout_s: float) -> None:
        """Wait for nobody."""

    def destroy(self) -> None:
        """Leave what was published."""


class _Channel(_Nowhere):
    """A topic of a bag, which takes everything."""

    subscribers = 1

    def __init__(self, bag: BagOutlet, topic: str, connection: Connection, rank: int) -> None:
        super().__init__(topic)
        self.connection = connection
        self._bag = bag
        self._rank = rank

    def publish(self, message: object) -> None:
        if self._bag.recording:
            self._bag.take(self._rank, serialized(message, self.connection.msgtype))


class Offered:
    """Takes nothing, but note of the topics that are offered, by their full names."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.topics: list[str] = []

    def advertise(self, message_type: type, topic: str, qos: QoSProfile) -> Publication:
        """Note a topic."""
        self.topics.append(full_name(self.name, topic))
        return _Nowhere(self.topics[-1])


def full_name(node: str, topic: str) -> str:
    """Return a topic's name with the node's in the place of `~`."""
    return f'{node}{topic[1:]}' if topic.startswith('~') else topic


def add_topic(bag: Writer, topic: str, kind: str, offered: Iterable[QoSProfile]) -> Connection:
    """Add a topic of a type to a bag, with the type's definition and hash, and the QoS offered."""
    text, types = type_description(kind)
    return bag.add_connection(
        topic,
        kind,
        msgdef=text,
        rihs01=types.hash_rihs01(kind),
        offered_qos_profiles=[recorded_qos(profile) for profile in offered],
    )


def type_name(message_type: type) -> str:
    """Return `package/msg/Type` of a message class."""
    return f'{message_type.__module__.split(".")[0]}/msg/{message_type.__name__}'


@cache
def type_description(kind: str) -> tuple[str, Typestore]:
    """Return the definition of an installed type, and a store that knows it."""
    text = definition(kind)
    typestore = get_typestore(Stores.EMPTY)
    typestore.register(get_types_from_msg(text, kind))
    return text, typestore


@cache
def _closer(kind: str) -> Closer:
    return closer(type_description(kind)[1], kind)


def serialized(message: object, kind: str) -> bytes:
    """Return the bytes of a message, equal for equal messages."""
    data = bytearray(serialize_message(message))
    _closer(kind)(data)
    return bytes(data)


def merged_metadata(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the metadata of a bag from those of its parts, which hold the same topics."""
    infos = [part['rosbag2_bagfile_information'] for part in parts]
    files = [file for info in infos for file in info['files'] if file['message_count']]
    starts = [file['starting_time']['nanoseconds_since_epoch'] for file in files] or [0]
    ends = [
        file['starting_time']['nanoseconds_since_epoch'] + file['duration']['nanoseconds']
        for file in files
    ] or [0]
    topics = [
        {
            'topic_metadata': topic['topic_metadata'],
            'message_count': sum(
                info['topics_with_message_count'][number]['message_count'] for info in infos
            ),
        }
        for number, topic in enumerate(infos[0]['topics_with_message_count'])
    ]
    # A part without a message has no times; rosbag2 gives such a file the time 0.
    nothing = {'starting_time': {'nanoseconds_since_epoch': 0}, 'duration': {'nanoseconds': 0}}
    whole = {
        **infos[0],
        'relative_file_paths': [path for info in infos for path in info['relative_file_paths']],
        'duration': {'nanoseconds': max(ends) - min(starts)},
        'starting_time': {'nanoseconds_since_epoch': min(starts)},
        'message_count': sum(info['message_count'] for info in infos),
        'topics_with_message_count': topics,
        'files': [
            file if file['message_count'] else {**file, **nothing}
            for info in infos
            for file in info['files']
        ],
    }
    return {'rosbag2_bagfile_information': whole}


# The gaps of serialized messages, made the same each time.
#
# CDR aligns numbers to their size, and rclpy leaves in the gaps what the memory held before. A
# function is made for each type that knows where they are, as to decode a message and encode it
# anew takes as long as all else that is done about it.


def closer(types: Typestore, kind: str) -> Closer:
    """Return what writes zeros into the gaps of a serialized message of a type."""
    lines = _code(_steps(types, (Nodetype.NAME, kind)), 1)
    source = '\n'.join(('def close(data):', '    p = 0', *lines, '    return None'))
    names: dict[str, Any] = {'number': struct.Struct('<I').unpack_from}
    # Ours all of it: made of sizes and of nothing that was read.
    exec(source, names)
    found: Closer = names['close']
    return found


def _steps(types: Typestore, field: Any) -> tuple[Step, ...]:
    node, detail = field
    if node == Nodetype.NAME:
        fields = (inner for _, inner in types.fielddefs[detail][1])
        return tuple(step for inner in fields for step in _steps(types, inner))
    if node == Nodetype.BASE:
        return (STEPS[detail[0]],)
    one = _steps(types, detail[0])
    return one * detail[1] if node == Nodetype.ARRAY else (one,)


def _code(steps: tuple[Step, ...], depth: int) -> Iterator[str]:
    """Yield lines that go over a message; `p` counts from the end of the head."""
    indent = '    ' * depth
    for step, run in groupby(steps):
        count = sum(1 for _ in run)
        if isinstance(step, int):
            yield from _aligned(step, indent)
            yield f'{indent}p += {step * count}'
            continue
        for _ in range(count):
            yield from _aligned(4, indent)
            if step == BYTES:
                yield f'{indent}p += 4 + number(data, p + {HEAD})[0]'
                continue
            yield f'{indent}n{depth} = number(data, p + {HEAD})[0]'
            yield f'{indent}p += 4'
            first = step[0]
            if isinstance(first, int) and len({*step}) == 1:
                yield f'{indent}if n{depth}:'
                yield from _aligned(first, f'{indent}    ')
                yield f'{indent}    p += {first * len(step)} * n{depth}'
            else:
                yield f'{indent}for _ in range(n{depth}):'
                yield from _code(step, depth + 1)


def _aligned(size: int, indent: str) -> Iterator[str]:
    if size > 1:
        yield f'{indent}q = (p + {size - 1}) & -{size}'
        yield f'{indent}if q != p:'
        yield f'{indent}    data[p + {HEAD}:q + {HEAD}] = bytes(q - p)'
        yield f'{indent}    p = q'


# What bags say of topics.


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
    looked = ', '.join(str(place) for place in places)
    raise ConfigurationError(f'no definition of {name} in {looked}')


def definition(name: str) -> str:
    """
    Return a type's definition in the form `ros2msg`: its own text, then that of each type in it.

    Raise ConfigurationError where a `.msg` file is not to be found.
    """
    texts: dict[str, str] = {}
    waiting = [name]
    while waiting:
        other = waiting.pop(0)
        if other not in texts:
            texts[other] = message_file(other).read_text()
            found = message_class(other)
            fields = found.get_fields_and_field_types()  # type: ignore[attr-defined]
            # Such as sequence<geometry_msgs/Point>.
            used = re.findall(r'(\w+)/(\w+)', ' '.join(fields.values()))
            waiting += [f'{package}/msg/{kind}' for package, kind in used]
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
