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
"""Names of parameters that nobody declared, and what may have been meant instead."""

from __future__ import annotations

from collections.abc import Collection, Iterable
import difflib

from nurec_ros.settings import SENSOR_TABLES
from rclpy.node import Node

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


def unused_overrides(
    node: Node, known: Collection[str], *, sensors_known: bool
) -> list[tuple[str, str]]:
    """
    Return the overrides that nobody declared, each with what of the `known` may be meant, or ''.

    A sensor's overrides are left out until sensors are declared, and so are those of the QoS of
    topics, which come with the first scenario.
    """
    # rclpy has no public way to list the overrides; without this one nothing is reported.
    overrides = getattr(node, '_parameter_overrides', {})
    endings = {spec.name for table in SENSOR_TABLES.values() for spec in table}
    topics = {publisher.topic_name for publisher in node.publishers}
    unused = []
    for name in overrides:
        later = name.startswith(QOS) or name.rpartition('.')[2] in endings
        if node.has_parameter(name) or (later and not sensors_known):
            continue
        hint = qos_hint(node, name, topics) if name.startswith(QOS) else did_you_mean(name, known)
        unused.append((name, hint))
    return unused


def no_such_parameter(name: str, hint: str) -> str:
    """Return that a parameter does not exist, and what may have been meant instead."""
    return f"there is no parameter '{name}'" + (f'; {hint}' if hint else '')


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the question after the nearest of the known names; '' where none is near."""
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean '{nearest[0]}'?" if nearest else ''


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
