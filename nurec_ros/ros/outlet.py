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
Where messages go: the ROS graph, a bag, or whatever else takes them.

Publishers are made on an `Outlet` and know nothing else of it.
"""

from __future__ import annotations

from typing import Protocol

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


class Publication(Protocol):
    """One topic that was advertised; usable from any thread, like a publisher of rclpy."""

    @property
    def topic(self) -> str:
        """Return the full name, after remapping."""

    @property
    def subscribers(self) -> int:
        """Return how many subscribe; what nobody subscribes to need not be published."""

    def publish(self, message: object) -> None:
        """Send a message; it may be changed and sent again afterwards."""

    def flush(self, timeout_s: float) -> None:
        """Wait until all subscribers have what was published, but not for longer."""

    def destroy(self) -> None:
        """Take the topic away; a message that is published later goes nowhere."""


class Outlet(Protocol):
    """What advertises topics. `name` is the player's, which `~` stands for."""

    @property
    def name(self) -> str:
        """Return the full name of the player."""

    def advertise(self, message_type: type, topic: str, qos: QoSProfile) -> Publication:
        """
        Offer a topic, relative names and `~` resolved.

        ConfigurationError where an override of the QoS cannot be honoured.
        """


# What comes off the displays with its topic has a blink to arrive: a middleware takes what is not
# acknowledged away with the publisher.
FAREWELL_S = 0.1


def take_away(publication: Publication, last: object) -> None:
    """Take a topic away after a last message, at most FAREWELL_S later."""
    publication.publish(last)
    publication.flush(FAREWELL_S)
    publication.destroy()


def reliable(depth: int) -> QoSProfile:
    """Keep the last `depth` messages for subscribers that are there; none for late ones."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.VOLATILE,
    )


def latched() -> QoSProfile:
    """Keep the last message, for subscribers that come later too."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )
