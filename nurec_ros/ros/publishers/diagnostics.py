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
"""/diagnostics: how the player, the renderer and each camera fare (REP 107)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nurec_ros.ros.conversions import set_time
from nurec_ros.ros.publishers.qos import advertise, reliable


class DiagnosticsPublisher:
    """Publishes all statuses in one message, stamped with scenario time."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._publisher = advertise(node, DiagnosticArray, '/diagnostics', reliable(10))

    def publish(self, statuses: Sequence[DiagnosticStatus], t_ns: int = 0) -> None:
        """Publish `statuses`."""
        message = DiagnosticArray(status=list(statuses))
        set_time(message.header.stamp, t_ns)
        self._publisher.publish(message)

    def destroy(self) -> None:
        """Remove the topic."""
        self._node.destroy_publisher(self._publisher)
