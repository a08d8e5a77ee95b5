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
A recording of all topics, as ROS sent them, with the definitions of their types.

It is a rosbag2 folder with one MCAP file, for `ros2 bag play`, Foxglove and the `rosbags` library.
Decoded images are left out: they are large, and the compressed ones beside them hold the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
import importlib
import os
from pathlib import Path
import re
import sys
import time
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg, get_typestore, Stores

DEPTH = 10
# At 100 Hz, on a busy machine some seconds may pass before the bytes are fetched.
SMALL_DEPTH = 1000
LARGE_TYPES = ('sensor_msgs/msg/CompressedImage', 'visualization_msgs/msg/MarkerArray')
LEFT_OUT_TYPES = ('sensor_msgs/msg/Image',)
LEFT_OUT_TOPICS = ('/parameter_events',)
BAG_VERSION = 9
NO_LIMIT = QosTime(0, 0)

SEPARATOR = '=' * 80
# Types that are part of the language; `string<=10` and `float64[9]` are cut to these before.
PRIMITIVES = frozenset(
    ('bool', 'byte', 'char', 'float32', 'float64', 'string', 'wstring')
    + tuple(f'{sign}int{bits}' for sign in ('', 'u') for bits in (8, 16, 32, 64))
)


# What it says of its types: their definitions, so that readers need no message packages. They lie
# under share/<package>/msg of a prefix: a distribution's, a workspace's or, with the wheels from
# PyPI, the virtual environment's.


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


# How it fills.


@dataclass(slots=True)
class Topic:
    """A recorded topic: its type, its counts, and those of the stretch that is measured."""

    name: str
    kind: str
    count: int = 0
    size: int = 0
    measured: int = 0


class Recorder:
    """
    A node's subscriptions to all topics, and the file that takes their messages.

    `listeners` maps a topic's name to a function that gets each message's bytes as well.
    """

    def __init__(
        self,
        node: Node,
        folder: Path,
        listeners: Mapping[str, Callable[[bytes], None]] | None = None,
    ) -> None:
        self.topics: dict[str, Topic] = {}
        self.skipped: dict[str, str] = {}
        self.measuring = False
        self._node = node
        self._listeners = listeners or {}
        self._typestore = get_typestore(Stores.EMPTY)
        self._writer = Writer(folder, version=BAG_VERSION, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        self._subscriptions: list[Subscription] = []
        self._open = True

    def look(self) -> None:
        """Subscribe to topics that have appeared since the last look."""
        for name, kinds in self._node.get_topic_names_and_types():
            if name in self.topics or name in self.skipped or name in LEFT_OUT_TOPICS:
                continue
            kind = kinds[0]
            if kind in LEFT_OUT_TYPES:
                self.skipped[name] = 'decoded images are not recorded, the compressed ones are'
                continue
            offers = self._node.get_publishers_info_by_topic(name)
            if not offers:
                continue
            try:
                self._subscribe(name, kind, [offer.qos_profile for offer in offers])
            except (ImportError, AttributeError, NoDefinitionError) as error:
                self.skipped[name] = f'{kind} is not installed here ({error})'

    def _subscribe(self, name: str, kind: str, offered: list[QoSProfile]) -> None:
        python_type = message_class(kind)
        text = definition(kind)
        if kind not in self._typestore.fielddefs:
            types = get_types_from_msg(text, kind)
            known = self._typestore.fielddefs
            self._typestore.register({key: types[key] for key in types if key not in known})
        connection = self._writer.add_connection(
            name,
            kind,
            msgdef=text,
            rihs01=self._typestore.hash_rihs01(kind),
            offered_qos_profiles=[recorded_qos(profile) for profile in offered],
        )
        topic = self.topics[name] = Topic(name, kind)
        listener = self._listeners.get(name)

        def received(data: bytes) -> None:
            if not self._open:
                return
            self._writer.write(connection, time.time_ns(), data)
            topic.count += 1
            topic.size += len(data)
            topic.measured += self.measuring
            if listener is not None:
                listener(data)

        self._subscriptions.append(
            self._node.create_subscription(
                python_type, name, received, matching_qos(kind, offered), raw=True
            )
        )

    def take(self) -> None:
        """Take all that has arrived; an executor takes one message, at three times the cost."""
        for subscription in self._subscriptions:
            with subscription.handle:
                while taken := subscription.handle.take_message(subscription.msg_type, True):
                    subscription.callback(taken[0])

    def close(self) -> None:
        """Finish the file; nothing is recorded any more."""
        if self._open:
            self._open = False
            self._writer.close()


def matching_qos(kind: str, offered: list[QoSProfile]) -> QoSProfile:
    """Ask for the most that all publishers of a topic offer: reliable, latched."""
    reliable = all(offer.reliability == ReliabilityPolicy.RELIABLE for offer in offered)
    latched = all(offer.durability == DurabilityPolicy.TRANSIENT_LOCAL for offer in offered)
    return QoSProfile(
        depth=DEPTH if kind in LARGE_TYPES else SMALL_DEPTH,
        history=HistoryPolicy.KEEP_LAST,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


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


def fields_of(status: Any) -> dict[str, str]:
    """Return the keys and values of a DiagnosticStatus."""
    return {entry.key: entry.value for entry in status.values}
