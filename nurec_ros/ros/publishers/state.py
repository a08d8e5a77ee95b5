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
"""~/state: what the playback is doing."""

from __future__ import annotations

from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from nurec_ros.ros.publishers.qos import advertise, latched
from nurec_ros.ros.state import PlaybackState


class StatePublisher:
    """Publishes the state as a DiagnosticStatus whose values are JSON text."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._publisher = advertise(node, DiagnosticStatus, '~/state', latched())

    def publish(self, state: PlaybackState) -> None:
        """Publish `state`."""
        message = DiagnosticStatus(
            level=DiagnosticStatus.OK,
            name=f'{self._node.get_name()}: state',
            message=state.summary,
        )
        message.values = [KeyValue(key=key, value=value) for key, value in state.values().items()]
        self._publisher.publish(message)

    def destroy(self) -> None:
        """Remove the topic."""
        self._node.destroy_publisher(self._publisher)
