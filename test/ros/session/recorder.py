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
Takes topics while a session is played: each message as it was sent, and when that was.

The subscriptions are in no executor: what DDS has received by itself is taken whenever the client
looks. rosbags reads the bytes, which knows nothing of ROS or of us.
"""

from __future__ import annotations

from collections.abc import Iterator
import dataclasses
from dataclasses import dataclass
from functools import cached_property
from test.ros.session.scenarios import SECOND
from test.support.listener import silent
from typing import Any

from nurec_ros.export.bag import definition, message_class
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.typesys import get_types_from_msg, get_typestore, Stores

RELIABLE, LATCHED = False, True
# Longer than whatever comes before the client looks again.
DEPTH = 2000


@dataclass(frozen=True)
class Entry:
    """One message, and when it was sent."""

    sent_ns: int
    topic: str
    message: Any

    @property
    def stamp_ns(self) -> int:
        """Return the stamp: of the clock, the header, the newest transform or the first marker."""
        message = self.message
        if hasattr(message, 'clock'):
            return nanoseconds(message.clock)
        if hasattr(message, 'transforms'):
            return nanoseconds(message.transforms[-1].header.stamp)
        if hasattr(message, 'markers'):
            return nanoseconds(message.markers[0].header.stamp)
        return nanoseconds(message.header.stamp)

    @cached_property
    def stamps(self) -> list[int]:
        """Return every time in the message, however deep."""
        return list(_stamps_in(self.message))


def nanoseconds(stamp: Any) -> int:
    """Return a time message as integer nanoseconds."""
    return int(stamp.sec) * SECOND + int(stamp.nanosec)


def _stamps_in(message: Any) -> Iterator[int]:
    if not dataclasses.is_dataclass(message):
        return
    if type(message).__name__.endswith('__Time'):
        yield nanoseconds(message)
        return
    for field in dataclasses.fields(message):
        # A marker's unused texture has no time.
        if field.name != 'texture':
            value = getattr(message, field.name)
            for part in value if isinstance(value, list) else [value]:
                yield from _stamps_in(part)


class Recorder:
    """Messages by topic; who offers these; and which topics there are besides."""

    def __init__(self, node: Node, topics: dict[str, tuple[str, bool]]) -> None:
        self.topics: dict[str, list[Entry]] = {name: [] for name in topics}
        self.offers: dict[str, list[Any]] = {name: [] for name in topics}
        self.unexpected: set[str] = set()
        self._node = node
        self._store = get_typestore(Stores.EMPTY)
        self._subscriptions = {}
        for name, (kind, latched) in topics.items():
            known = self._store.fielddefs
            if kind not in known:
                types = get_types_from_msg(definition(kind), kind)
                self._store.register({key: types[key] for key in types if key not in known})
            qos = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE)
            if latched:
                qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
            subscription = node.create_subscription(
                message_class(kind),
                name,
                lambda _: None,
                qos,
                raw=True,
                event_callbacks=silent(),
            )
            self._subscriptions[name] = subscription, kind

    def take(self) -> None:
        """Take what has come."""
        for name, (subscription, kind) in self._subscriptions.items():
            entries = self.topics[name]
            handle = subscription.handle
            with handle:
                while (taken := handle.take_message(subscription.msg_type, True)) is not None:
                    data, info = taken
                    message = self._store.deserialize_cdr(data, kind)
                    entries.append(Entry(info['source_timestamp'], name, message))
            if entries and not self.offers[name]:
                self.offers[name] = self._node.get_publishers_info_by_topic(name)

    def look(self) -> None:
        """Note the topics that are not expected."""
        found = {name for name, _ in self._node.get_topic_names_and_types()}
        self.unexpected |= found - set(self.topics)

    @property
    def ended(self) -> bool:
        """Return whether nobody publishes any more, and all is taken that was published."""
        if any(map(self._node.count_publishers, self.topics)):
            return False
        self.take()
        return True
