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
"""A node without ROS for tests of publishers: what is published is kept, as it was then."""

from __future__ import annotations

import copy
from typing import Any


class Topic:
    """What a publisher is to its user, with as many subscriptions as the test says."""

    def __init__(self, name: str, subscriptions: int) -> None:
        self.topic_name = name
        self.subscriptions = subscriptions
        self.messages: list[Any] = []
        self.destroyed = False

    def publish(self, message: Any) -> None:
        """Keep a copy: publishers reuse their messages."""
        if self.destroyed:
            raise RuntimeError(f'{self.topic_name} was destroyed')
        self.messages.append(copy.deepcopy(message))

    def get_subscription_count(self) -> int:
        """Give what the test said."""
        return self.subscriptions


class Recorder:
    """What a node is to its publishers; `topics` holds them by the name that they were given."""

    def __init__(self, subscriptions: int = 1) -> None:
        self.subscriptions = subscriptions
        self.topics: dict[str, Topic] = {}

    def get_name(self) -> str:
        """Give the default name of the player."""
        return 'nurec'

    def create_publisher(self, message_type: type, topic: str, qos: Any, **options: Any) -> Topic:
        """Make a topic."""
        self.topics[topic] = Topic(topic, self.subscriptions)
        return self.topics[topic]

    def destroy_publisher(self, publisher: Topic) -> None:
        """Mark a topic as gone."""
        publisher.destroyed = True
