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

Publishers are made on an `Outlet` and know nothing else of it. The graph is one such place, and
watches who gets nothing from it.
"""

from __future__ import annotations

from collections.abc import Iterable
import difflib
import threading
from typing import Protocol, TYPE_CHECKING

from nurec_ros.errors import ConfigurationError
from rcl_interfaces.msg import SetParametersResult
from rclpy.duration import Duration
from rclpy.exceptions import (
    InvalidHandle,
    InvalidParameterTypeException,
    InvalidParameterValueException,
    NameValidationException,
)
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import InvalidQosOverridesError, QoSOverridingOptions

if TYPE_CHECKING:
    from tf2_msgs.msg import TFMessage

try:
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:  # its name before Iron
    from rclpy.qos_event import PublisherEventCallbacks

try:
    from tf2_ros import TransformBroadcaster
except ImportError:
    TransformBroadcaster = None

# What comes off the displays with its topic has a blink to arrive: a middleware takes what is not
# acknowledged away with the publisher.
FAREWELL_S = 0.1

MAXIMUM_DEPTH = 1_000_000
MOST_TOLD = 200
STATE_TYPE = 'diagnostic_msgs/msg/DiagnosticStatus'
UNKNOWN_NODE = '_NODE_NAME_UNKNOWN_'
QOS = 'qos_overrides.'
POLICIES = ('history', 'depth', 'reliability')
OTHER_POLICIES = (
    'deadline',
    'durability',
    'lifespan',
    'liveliness',
    'liveliness_lease_duration',
    'avoid_ros_namespace_conventions',
)


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


def take_away(publication: Publication, last: object) -> None:
    """Take a topic away after a last message, at most FAREWELL_S later."""
    publication.publish(last)
    publication.flush(FAREWELL_S)
    publication.destroy()


def players(node: Node) -> list[str]:
    """Return the full names of the players in the graph: of those who publish a ~/state."""
    return sorted(
        name.removesuffix('/state')
        for name, kinds in node.get_topic_names_and_types()
        if name.endswith('/state') and STATE_TYPE in kinds and node.count_publishers(name)
    )


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
    qos = reliable(1)
    qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
    return qos


class Graph:
    """
    The topics of one node.

    /tf goes through tf2_ros where that is installed. /tf_static never does: its static
    broadcaster in Python keeps the first transform of a child frame for ever, and another
    scenario has other extrinsics.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._told: set[tuple[str, str]] = set()

    @property
    def name(self) -> str:
        return str(self._node.get_fully_qualified_name())

    def advertise(self, message_type: type, topic: str, qos: QoSProfile) -> Publication:
        """
        Create a publisher whose history, depth and reliability parameters may override.

        The parameters are `qos_overrides.<topic>.publisher.<policy>`, with the resolved topic.
        ConfigurationError where such an override cannot be honoured, or the name is too long.
        """
        if topic == '/tf' and TransformBroadcaster is not None:
            return _TransformPublication(self._node)
        try:
            publisher = self._node.create_publisher(
                message_type,
                topic,
                qos,
                # The middleware's own events would tell of those who get nothing too, but each
                # is one more waitable in every wait set: with thirty publishers and a clock of
                # 100 Hz that costs more than the publishing. `watch` looks for them instead.
                event_callbacks=PublisherEventCallbacks(use_default_callbacks=False),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(callback=_check),
            )
        except (
            InvalidParameterTypeException,
            InvalidParameterValueException,
            InvalidQosOverridesError,
        ) as error:
            raise self._refused(topic, error) from error
        except NameValidationException as error:
            raise ConfigurationError(' '.join(str(error).split())) from error
        except (RuntimeError, TypeError, ValueError, AttributeError) as error:
            # rclpy meets a wrong override with whatever its conversion happens to raise.
            if 'QoS override' in str(error) or not isinstance(error, RuntimeError):
                raise self._refused(topic, error) from error
            raise
        return _GraphPublication(self._node, publisher)

    def _refused(self, topic: str, error: Exception) -> ConfigurationError:
        return ConfigurationError(
            f'QoS override of {self._node.resolve_topic_name(topic)}: {error}'
        )

    def others(self, topic: str) -> int:
        """Return how many others publish on a topic of this node's; it takes discovery."""
        own = len([one for one in self._node.publishers if one.topic_name == topic])
        return max(0, int(self._node.count_publishers(topic)) - own)

    def namesakes(self) -> int:
        """Return how many other nodes of this node's full name there are."""
        names = self._node.get_node_names_and_namespaces()
        return int(names.count((self._node.get_name(), self._node.get_namespace()))) - 1

    def watch(self) -> None:
        """
        Warn, once each, of subscriptions that get nothing because of the QoS that they ask for.

        rviz then shows nothing, and says little. Cheap where all is well.
        """
        for publisher in self._node.publishers:
            there = self._node.count_subscribers(publisher.topic_name)
            if there > publisher.get_subscription_count():
                self._look_at(publisher)

    def _look_at(self, publisher: Publisher) -> None:
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


class _GraphPublication:
    """A publisher of rclpy; cameras publish in other threads than the one that destroys it."""

    def __init__(self, node: Node, publisher: Publisher) -> None:
        self._node = node
        self._publisher = publisher
        self._lock = threading.Lock()
        self._destroyed = False

    @property
    def topic(self) -> str:
        return str(self._publisher.topic_name)

    @property
    def subscribers(self) -> int:
        # Without the lock, which is held for as long as an image takes to be published.
        try:
            return 0 if self._destroyed else int(self._publisher.get_subscription_count())
        except InvalidHandle:
            return 0

    def publish(self, message: object) -> None:
        with self._lock:
            if not self._destroyed:
                self._publisher.publish(message)

    def flush(self, timeout_s: float) -> None:
        # Missing in some middlewares' and in older rclpy.
        wait = getattr(self._publisher, 'wait_for_all_acked', None)
        if wait is not None:
            # A negative one means for ever.
            wait(Duration(nanoseconds=max(round(timeout_s * 1e9), 0)))

    def destroy(self) -> None:
        with self._lock:
            if not self._destroyed:
                self._destroyed = True
                self._node.destroy_publisher(self._publisher)


class _TransformPublication:
    """/tf through tf2_ros, whose publisher is its own."""

    topic = '/tf'
    subscribers = 1

    def __init__(self, node: Node) -> None:
        self._broadcaster = TransformBroadcaster(node)

    def publish(self, message: TFMessage) -> None:
        self._broadcaster.sendTransform(message.transforms)

    def flush(self, timeout_s: float) -> None:
        """Wait for nothing: who misses a transform gets the next."""

    def destroy(self) -> None:
        """Leave it to the node, whose publisher it is."""


def _check(qos: QoSProfile) -> SetParametersResult:
    # The middleware's own words for this do not name the depth.
    fits = 1 <= qos.depth <= MAXIMUM_DEPTH
    reason = '' if fits else f'depth is {qos.depth}; expected 1 to {MAXIMUM_DEPTH}'
    return SetParametersResult(successful=fits, reason=reason)


def _missed(offered: QoSProfile, wanted: QoSProfile) -> str:
    """Return which of the policies that users set is wanted and not offered; '' where none is."""
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


def qos_hint(node: Node, name: str, topics: Iterable[str]) -> str:
    """
    Return what is wrong with the name of a QoS override that was not taken.

    `topics` are the full names of those that the node publishes. A full name is
    qos_overrides.<topic>.publisher.<policy>, with the topic after remapping.
    """
    topics = sorted(topics)
    topic, _, rest = name.removeprefix(QOS).partition('.')
    entity, _, policy = rest.partition('.')
    owner = _owner(node, topic, topics)
    if owner != topic or not rest:
        wanted = f'{QOS}{owner}.{rest or "publisher.depth"}' if owner else ''
        return f"did you mean '{wanted}'?" if wanted else 'the player publishes no such topic'
    if entity == 'publisher' and policy in OTHER_POLICIES:
        return f'{policy} cannot be overridden, {_listed(POLICIES)} can'
    if entity == 'publisher' and policy in POLICIES:
        # Those of rclpy and tf2_ros.
        return f'the publisher of {topic} takes no overrides'
    right = [f'publisher.{known}' for known in POLICIES]
    nearest = difflib.get_close_matches(rest, right, n=1, cutoff=0.6)
    if nearest:
        return f"did you mean '{QOS}{topic}.{nearest[0]}'?"
    return f"expected '{QOS}{topic}.publisher.' with {_listed(POLICIES)}"


def _owner(node: Node, topic: str, topics: list[str]) -> str:
    """Return the published topic that is meant: itself, resolved, remapped, or the nearest."""
    if topic in topics:
        return topic
    try:
        resolved = str(node.resolve_topic_name(topic))
    except Exception:  # noqa: BLE001, rcl has an exception for every way to mistype a name
        resolved = ''
    if resolved in topics:
        return resolved
    nearest = difflib.get_close_matches(resolved or topic, topics, n=1, cutoff=0.6)
    return nearest[0] if nearest else ''


def _listed(words: Iterable[str]) -> str:
    *first, last = words
    return f'{", ".join(first)} and {last}'
