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
"""The node `nurec_follow`: drives a player's ego along the recorded path, or beside it."""

from __future__ import annotations

import math
from typing import Any

from nav_msgs.msg import Odometry, Path
import numpy as np
from nurec_ros.driving.pursuit import PurePursuit
from nurec_ros.errors import ConfigurationError
from nurec_ros.ros.outlet import latched, reliable
from rclpy.node import Node

try:
    from ackermann_msgs.msg import AckermannDriveStamped
except ImportError:
    AckermannDriveStamped = None

NO_ACKERMANN = 'the package ackermann_msgs is not installed: there is nothing to drive with'


class Follower(Node):  # type: ignore[misc]
    """
    Answers each `~/odom` of a player with an `~/ackermann_cmd` of the same stamp.

    Parameters: `player`, its full name; `offset_m`, to the left of the path, at any time;
    `wheelbase_m`, as the player's. ConfigurationError without ackermann_msgs.
    """

    def __init__(self, name: str = 'nurec_follow', **node_options: Any) -> None:
        if AckermannDriveStamped is None:
            raise ConfigurationError(NO_ACKERMANN)
        super().__init__(name, **node_options)
        player = str(self.declare_parameter('player', '/nurec').value).rstrip('/')
        self.declare_parameter('offset_m', 0.0)
        self._wheelbase_m = float(self.declare_parameter('wheelbase_m', 2.85).value)
        self._driver: PurePursuit | None = None
        self._commands = self.create_publisher(
            AckermannDriveStamped, f'{player}/ackermann_cmd', reliable(100)
        )
        self.create_subscription(Path, f'{player}/path', self._on_path, latched())
        self.create_subscription(Odometry, f'{player}/odom', self._on_odom, reliable(10))
        self.get_logger().info(f'follows {player}/path by {player}/ackermann_cmd')

    def _on_path(self, message: Path) -> None:
        stamps = [pose.header.stamp for pose in message.poses]
        points = [pose.pose.position for pose in message.poses]
        self._driver = PurePursuit(
            np.array([stamp.sec * 10**9 + stamp.nanosec for stamp in stamps], dtype=np.int64),
            np.array([(point.x, point.y, point.z) for point in points]).reshape(-1, 3),
            wheelbase_m=self._wheelbase_m,
        )

    def _on_odom(self, message: Odometry) -> None:
        driver, stamp = self._driver, message.header.stamp
        if driver is None:
            return
        t_ns = stamp.sec * 10**9 + stamp.nanosec
        driver.offset_m = float(self.get_parameter('offset_m').value)
        at, to = message.pose.pose.position, message.pose.pose.orientation
        yaw = math.atan2(
            2.0 * (to.x * to.y + to.z * to.w),
            to.w * to.w + to.x * to.x - to.y * to.y - to.z * to.z,
        )
        command = AckermannDriveStamped()
        command.header.stamp = stamp
        speed, steering = driver.command(t_ns, at.x, at.y, yaw, message.twist.twist.linear.x)
        command.drive.speed, command.drive.steering_angle = speed, steering
        self._commands.publish(command)
