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
"""An outlet without ROS for tests: what is published is kept, as it was then."""

from __future__ import annotations

from collections.abc import Callable
import copy
from typing import Any

from rclpy.qos import QoSProfile


class RecordingOutlet:
    """
    Keeps pairs of topic and message, over all topics in the order in which they were published.

    `numbers` are those of subscribers by topic as it was advertised; where one is missing it is
    `subscribers`. `before_publish` is called with each topic before its message is kept.
    """

    name = '/nurec'

    def __init__(self, subscribers: int = 1) -> None:
        self.subscribers = subscribers
        self.numbers: dict[str, int] = {}
        self.published: list[tuple[str, Any]] = []
        self.topics: dict[str, Topic] = {}
        self.before_publish: Callable[[str], None] = lambda topic: None

    def advertise(self, message_type: type, topic: str, qos: QoSProfile) -> Topic:
        """Make a topic, which may have been there and destroyed before."""
        assert topic not in self.topics or self.topics[topic].destroyed, topic
        self.topics[topic] = Topic(self, message_type, topic)
        return self.topics[topic]

    def messages(self, topic: str) -> list[Any]:
        return [message for name, message in self.published if name == topic]

    @property
    def order(self) -> list[str]:
        return [name for name, _ in self.published]

    @property
    def offered(self) -> set[str]:
        """Return the topics that are there now."""
        return {name for name, topic in self.topics.items() if not topic.destroyed}


class Topic:
    """What was advertised; a publication."""

    def __init__(self, outlet: RecordingOutlet, message_type: type, topic: str) -> None:
        self.topic = topic
        self.message_type = message_type
        self.destroyed = False
        self._outlet = outlet

    @property
    def subscribers(self) -> int:
        """Return what the test said."""
        return (
            0 if self.destroyed else self._outlet.numbers.get(self.topic, self._outlet.subscribers)
        )

    def publish(self, message: Any) -> None:
        """Keep a copy: publishers reuse their messages."""
        if not self.destroyed:
            assert isinstance(message, self.message_type)
            self._outlet.before_publish(self.topic)
            self._outlet.published.append((self.topic, copy.deepcopy(message)))

    def flush(self, timeout_s: float) -> None:
        """Wait for nobody."""

    def destroy(self) -> None:
        """Drop what is published from now on."""
        self.destroyed = True
