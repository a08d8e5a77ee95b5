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

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
import time

from diagnostic_msgs.msg import DiagnosticStatus
from nurec_ros.ros.bag_topics import definition, message_class, NoDefinitionError, recorded_qos
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg, get_typestore, Stores

DEPTH = 10
# At 100 Hz, on a busy machine some seconds may pass before the bytes are fetched.
SMALL_DEPTH = 1000
LARGE_TYPES = (
    'sensor_msgs/msg/CompressedImage',
    'sensor_msgs/msg/PointCloud2',
    'visualization_msgs/msg/MarkerArray',
)
LEFT_OUT_TYPES = ('sensor_msgs/msg/Image',)
LEFT_OUT_TOPICS = ('/parameter_events',)
BAG_VERSION = 9


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


def fields_of(status: DiagnosticStatus) -> dict[str, str]:
    """Return the keys and values of a DiagnosticStatus."""
    return {entry.key: entry.value for entry in status.values}
