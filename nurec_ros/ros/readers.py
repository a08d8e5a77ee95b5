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
"""Readers that ask for a QoS that is not offered: rviz then shows nothing, and says little."""

from __future__ import annotations

from typing import Any

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

MOST_TOLD = 200

# What the middleware says until it has heard of a reader's node.
UNKNOWN_NODE = '_NODE_NAME_UNKNOWN_'


class ReaderWatch:
    """
    Warns, once per reader and topic, of subscriptions that get nothing from a node's publishers.

    The middleware's own events would tell too, but each is one more waitable in every wait set:
    with thirty publishers and a clock of 100 Hz that costs more than the publishing.
    """

    def __init__(self, node: Any) -> None:
        self._node = node
        self._told: set[tuple[str, str]] = set()

    def look(self) -> None:
        """Compare the graph with what is matched; cheap where all is well."""
        for publisher in self._node.publishers:
            readers = self._node.count_subscribers(publisher.topic_name)
            if readers > publisher.get_subscription_count():
                self._look_at(publisher)

    def _look_at(self, publisher: Any) -> None:
        topic = publisher.topic_name
        for reader in self._node.get_subscriptions_info_by_topic(topic):
            name = f'{reader.node_namespace.rstrip("/")}/{reader.node_name}'
            missed = _missed(publisher.qos_profile, reader.qos_profile)
            known = reader.node_name != UNKNOWN_NODE
            new = known and (topic, name) not in self._told and len(self._told) < MOST_TOLD
            if missed and new:
                self._told.add((topic, name))
                self._node.get_logger().warning(
                    f'{name} subscribes to {topic} with a QoS that is not offered, and gets '
                    f'nothing: {missed}'
                )


def _missed(offered: QoSProfile, wanted: QoSProfile) -> str:
    """Say which of the policies that users set is wanted and not offered; '' where none is."""
    if (
        wanted.durability == DurabilityPolicy.TRANSIENT_LOCAL
        and offered.durability == DurabilityPolicy.VOLATILE
    ):
        return 'it wants transient_local durability, offered is volatile'
    if (
        wanted.reliability == ReliabilityPolicy.RELIABLE
        and offered.reliability == ReliabilityPolicy.BEST_EFFORT
    ):
        return 'it wants reliable delivery, offered is best_effort'
    return ''
