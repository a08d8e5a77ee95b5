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
"""The QoS profiles of the topics table, and the one way in which publishers are made."""

from __future__ import annotations

from typing import Any

from nurec_ros.errors import ConfigurationError
from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import InvalidQosOverridesError, QoSOverridingOptions

try:
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:  # its name before Iron
    from rclpy.qos_event import PublisherEventCallbacks

MAXIMUM_DEPTH = 1_000_000


def reliable(depth: int) -> QoSProfile:
    """Keep the last `depth` messages for readers that are there; none for late ones."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.VOLATILE,
    )


def latched() -> QoSProfile:
    """Keep the last message, for readers that come later too."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )


def advertise(node: Any, message_type: type, topic: str, qos: QoSProfile) -> Any:
    """
    Create a publisher whose history, depth and reliability parameters may override.

    The parameters are `qos_overrides.<topic>.publisher.<policy>`, with the resolved topic.
    ConfigurationError where such an override cannot be honoured.
    """
    try:
        return node.create_publisher(
            message_type,
            topic,
            qos,
            # ReaderWatch looks for readers that get nothing: see there.
            event_callbacks=PublisherEventCallbacks(use_default_callbacks=False),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(callback=_check),
        )
    except (
        InvalidParameterTypeException,
        InvalidParameterValueException,
        InvalidQosOverridesError,
    ) as error:
        raise ConfigurationError(f'QoS override of {_resolved(node, topic)}: {error}') from error
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        # rclpy meets a wrong override with whatever its conversion happens to raise.
        if 'QoS override' in str(error) or not isinstance(error, RuntimeError):
            raise ConfigurationError(
                f'QoS override of {_resolved(node, topic)}: {error}'
            ) from error
        raise


def _check(qos: QoSProfile) -> SetParametersResult:
    # The middleware's own words for this do not name the depth.
    fits = 1 <= qos.depth <= MAXIMUM_DEPTH
    reason = '' if fits else f'depth is {qos.depth}; expected 1 to {MAXIMUM_DEPTH}'
    return SetParametersResult(successful=fits, reason=reason)


def _resolved(node: Any, topic: str) -> str:
    resolve = getattr(node, 'resolve_topic_name', None)
    return str(resolve(topic)) if resolve is not None else topic
