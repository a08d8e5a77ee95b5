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
"""~/odom: the ego's pose and velocity."""

from __future__ import annotations

from typing import Any

from nav_msgs.msg import Odometry
import numpy as np
from nurec_ros.ros.conversions import set_pose, set_time, set_vector
from nurec_ros.ros.frames import FrameNames
from nurec_ros.ros.publishers.qos import advertise, reliable


class OdometryPublisher:
    """Publishes the ego's pose in odom (else map) and its twist in base; one reused message."""

    def __init__(self, node: Any, frames: FrameNames) -> None:
        self._node = node
        self._publisher = advertise(node, Odometry, '~/odom', reliable(10))
        self._message = Odometry(child_frame_id=frames.base_frame)
        self._message.header.frame_id = frames.parent

    @property
    def listened(self) -> bool:
        """Say whether anybody subscribes."""
        return bool(self._publisher.get_subscription_count())

    def publish(self, t_ns: int, T_map_base: np.ndarray, twist: Any) -> None:
        """
        Publish the pose, (4, 4), and the twist of a moment.

        `twist.linear` and `twist.angular`, (3,), are in the frame of the rig, per scenario
        second.
        """
        message = self._message
        set_time(message.header.stamp, t_ns)
        set_pose(message.pose.pose, T_map_base)
        set_vector(message.twist.twist.linear, twist.linear)
        set_vector(message.twist.twist.angular, twist.angular)
        self._publisher.publish(message)

    def destroy(self) -> None:
        """Remove the topic."""
        self._node.destroy_publisher(self._publisher)
