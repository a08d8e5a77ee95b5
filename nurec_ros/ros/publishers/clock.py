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
"""/clock: the scenario's time."""

from __future__ import annotations

from typing import Any

from nurec_ros.ros.conversions import set_time
from nurec_ros.ros.publishers.qos import advertise, reliable
from rosgraph_msgs.msg import Clock

TOPIC = '/clock'


class ClockPublisher:
    """Publishes the scenario's time; one reused message."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._publisher = advertise(node, Clock, TOPIC, reliable(10))
        self._message = Clock()

    def publish(self, t_ns: int) -> None:
        """Publish a moment, in nanoseconds of scenario time."""
        set_time(self._message.clock, t_ns)
        self._publisher.publish(self._message)

    def others(self) -> int:
        """Count the publishers of the same topic that are not this one; it takes discovery."""
        return max(0, self._node.count_publishers(self._publisher.topic_name) - 1)

    def destroy(self) -> None:
        """Remove the topic."""
        self._node.destroy_publisher(self._publisher)
