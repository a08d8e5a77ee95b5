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
Record topics into a rosbag2 folder, as a process of its own, from the words FOLDER TOPICS.

TOPICS is a JSON file, {topic: [type, latched]}. The recorder subscribes to them before anybody
publishes, so that nothing is missed but what was sent before the two found each other. Messages
are kept by the time at which they were sent, which one clock tells for all topics. `counts.json`
beside the bag says how many of each topic there are so far, and when the last ones were sent.
SIGINT or SIGTERM: what is still to come is waited for, and the bag is written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
import json
import os
from pathlib import Path
import signal
from test.support.listener import silent
import time
from typing import Any

from nurec_ros.export.bag import definition, message_class, recorded_qos
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg, get_typestore, Stores

DEPTH = 2000
TELL_S = 0.05
LOOK_S = 0.2
# So long nothing comes once all has come.
QUIET_S = 1.0
LAST = 10


class Recorder:
    """Subscriptions, and what came of them: (time sent, topic, bytes)."""

    def __init__(self, node: Node, topics: dict[str, tuple[str, bool]]) -> None:
        self.topics = topics
        self.messages: list[tuple[int, str, bytes]] = []
        self.counts = dict.fromkeys(topics, 0)
        self.last: dict[str, deque[int]] = {name: deque(maxlen=LAST) for name in topics}
        self.received_s = 0.0
        self.offered: dict[str, list[Any]] = {name: [] for name in topics}
        self.unexpected: dict[str, list[str]] = {}
        self._node = node
        for name, (kind, latched) in topics.items():
            qos = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE)
            if latched:
                qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
            node.create_subscription(
                message_class(kind),
                name,
                self._receiver(name),
                qos,
                raw=True,
                event_callbacks=silent(),
            )

    def _receiver(self, topic: str) -> Any:
        def received(data: bytes, info: Any) -> None:
            self.messages.append((info['source_timestamp'], topic, bytes(data)))
            self.counts[topic] += 1
            self.last[topic].append(info['source_timestamp'])
            self.received_s = time.monotonic()

        return received

    def told(self) -> dict[str, Any]:
        """Return what `counts.json` says."""
        return {
            'counts': self.counts,
            'last': {name: list(times) for name, times in self.last.items()},
        }

    def look(self) -> None:
        """Note what publishers offer, and which topics there are besides."""
        for name, profiles in self.offered.items():
            if not profiles and self.counts[name]:
                infos = self._node.get_publishers_info_by_topic(name)
                profiles.extend(recorded_qos(info.qos_profile) for info in infos)
        for name, kinds in self._node.get_topic_names_and_types():
            if name not in self.topics:
                self.unexpected[name] = kinds

    def write(self, folder: Path) -> None:
        """Write all in the order in which it was sent."""
        typestore = get_typestore(Stores.EMPTY)
        with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            connections = {}
            for name, (kind, _) in self.topics.items():
                text = definition(kind)
                known = typestore.fielddefs
                types = get_types_from_msg(text, kind)
                typestore.register({key: types[key] for key in types if key not in known})
                connections[name] = writer.add_connection(
                    name,
                    kind,
                    msgdef=text,
                    rihs01=typestore.hash_rihs01(kind),
                    offered_qos_profiles=self.offered[name],
                )
            for sent_ns, name, data in sorted(self.messages, key=lambda one: one[0]):
                writer.write(connections[name], sent_ns, data)


def tell(path: Path, document: Any) -> None:
    """Write a JSON file so that nobody ever reads half of it."""
    new = path.with_suffix('.new')
    new.write_text(json.dumps(document))
    os.replace(new, path)


def main(arguments: Sequence[str]) -> int:
    """Record until a signal comes."""
    folder, topics = Path(arguments[0]), json.loads(Path(arguments[1]).read_text())
    ended: list[float] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.append(time.monotonic()))
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = Node('session_recorder')
    recorder = Recorder(node, topics)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    told_s = looked_s = 0.0
    # What was sent before the signal may not have been taken yet.
    while not ended or time.monotonic() - max(recorder.received_s, ended[0]) < QUIET_S:
        executor.spin_once(timeout_sec=TELL_S)
        now_s = time.monotonic()
        if now_s - looked_s > LOOK_S:
            recorder.look()
            looked_s = now_s
        if now_s - told_s > TELL_S:
            tell(folder.parent / 'counts.json', recorder.told())
            told_s = now_s
    recorder.write(folder)
    tell(folder.parent / 'unexpected.json', recorder.unexpected)
    node.destroy_node()
    rclpy.shutdown()
    return 0
