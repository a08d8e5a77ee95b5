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
from nurec_ros.ros.tool_parameters import PLAYER, ToolParameters
from nurec_ros.setting_values import RUNTIME, Spec
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

try:
    from ackermann_msgs.msg import AckermannDriveStamped
except ImportError:
    AckermannDriveStamped = None

NO_ACKERMANN = 'the package ackermann_msgs is not installed: there is nothing to drive with'
SPECS = (
    PLAYER,
    Spec(
        'offset_m',
        'double',
        0.0,
        'How far to the left of the recorded path to drive, in metres.',
        RUNTIME,
        minimum=-100.0,
        maximum=100.0,
    ),
    Spec(
        'wheelbase_m',
        'double',
        2.85,
        "As the player's, in metres.",
        minimum=0.1,
        maximum=20.0,
    ),
)
STATE_TYPE = 'diagnostic_msgs/msg/DiagnosticStatus'
LOOK_S = 1.0
# So long it may take to find a player, and a player to subscribe.
PATIENT_LOOKS = 5


class Follower(Node):  # type: ignore[misc]
    """
    Answers each `~/odom` of a player with an `~/ackermann_cmd` of the same stamp.

    Parameters: `player`, its full name; `offset_m`, to the left of the path, at any time;
    `wheelbase_m`, as the player's. ConfigurationError without ackermann_msgs, and for a parameter
    that cannot be used. Where no path comes, or nobody takes its commands, it says so once.
    """

    def __init__(self, name: str = 'nurec_follow', **node_options: Any) -> None:
        if AckermannDriveStamped is None:
            raise ConfigurationError(NO_ACKERMANN)
        super().__init__(name, **node_options)
        self._values = ToolParameters(self, SPECS)
        player = self._values.text('player').rstrip('/')
        self._driver: PurePursuit | None = None
        self._commands = self.create_publisher(
            AckermannDriveStamped, f'{player}/ackermann_cmd', reliable(100)
        )
        self._path = self.create_subscription(Path, f'{player}/path', self._on_path, latched())
        self.create_subscription(Odometry, f'{player}/odom', self._on_odom, reliable(10))
        self._pathless = self._unheard = 0
        self.create_timer(LOOK_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.get_logger().info(f'follows {self._path.topic_name} by {self._commands.topic_name}')

    def _look(self) -> None:
        """Warn, once for each time, of what is missing to drive."""
        if self._driver is None:
            self._pathless += 1
            if self._pathless == PATIENT_LOOKS:
                self.get_logger().warning(self._no_path())
            return
        heard = self._commands.get_subscription_count() > 0
        self._unheard = 0 if heard else self._unheard + 1
        if self._unheard == PATIENT_LOOKS:
            topic = self._commands.topic_name
            self.get_logger().warning(
                f'nobody subscribes to {topic}: the player needs ego_source:=ackermann '
                f'(ros2 param set {topic.removesuffix("/ackermann_cmd")} ego_source ackermann)'
            )

    def _no_path(self) -> str:
        topic = self._path.topic_name
        player = topic.removesuffix('/path')
        if self.count_publishers(f'{player}/state'):
            return f'nothing has come on {topic}: the player has no scenario yet'
        others = sorted(
            name.removesuffix('/state')
            for name, kinds in self.get_topic_names_and_types()
            if name.endswith('/state') and STATE_TYPE in kinds and self.count_publishers(name)
        )
        hint = f'; there is {", ".join(others)}' if others else ''
        return f"there is no player {player}, which parameter 'player' names{hint}"

    def _on_path(self, message: Path) -> None:
        stamps = [pose.header.stamp for pose in message.poses]
        points = [pose.pose.position for pose in message.poses]
        self._driver = PurePursuit(
            np.array([stamp.sec * 10**9 + stamp.nanosec for stamp in stamps], dtype=np.int64),
            np.array([(point.x, point.y, point.z) for point in points]).reshape(-1, 3),
            wheelbase_m=self._values.number('wheelbase_m'),
        )

    def _on_odom(self, message: Odometry) -> None:
        driver, stamp = self._driver, message.header.stamp
        if driver is None:
            return
        t_ns = stamp.sec * 10**9 + stamp.nanosec
        driver.offset_m = self._values.number('offset_m')
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
