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
"""~/path: the whole of the ego's way."""

from __future__ import annotations

from typing import Any

from nav_msgs.msg import Path
from nurec_ros.ros.conversions import path_message, set_time
from nurec_ros.ros.frames import FrameNames
from nurec_ros.ros.publishers.qos import advertise, latched


class PathPublisher:
    """Publishes a trajectory as a path in map; the message is kept for the next time."""

    def __init__(self, node: Any, frames: FrameNames) -> None:
        self._node = node
        self._frame = frames.map_frame
        self._publisher = advertise(node, Path, '~/path', latched())
        self._trajectory: Any = None
        self._message = Path()

    def publish(self, trajectory: Any, stamp_ns: int | None = None) -> None:
        """
        Publish all poses of `trajectory`, each with its own stamp.

        The path itself is stamped `stamp_ns`, by default with the first pose's time.
        """
        if trajectory is not self._trajectory:
            self._message = path_message(trajectory, self._frame)
            self._trajectory = trajectory
        if stamp_ns is not None:
            set_time(self._message.header.stamp, stamp_ns)
        self._publisher.publish(self._message)

    def destroy(self) -> None:
        """Remove the topic."""
        self._node.destroy_publisher(self._publisher)
