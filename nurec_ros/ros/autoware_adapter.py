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
"""The node nurec_autoware: Autoware's control commands drive a player's ego."""

from __future__ import annotations

from typing import Any

from nurec_ros.errors import ConfigurationError
from nurec_ros.ros.outlet import reliable
from nurec_ros.ros.tool_parameters import PLAYER, ToolParameters
from nurec_ros.setting_values import Spec
from rclpy.node import Node

try:
    from ackermann_msgs.msg import AckermannDriveStamped
except ImportError:
    AckermannDriveStamped = None

try:
    from autoware_control_msgs.msg import Control
except ImportError:
    Control = None

SPECS = (
    PLAYER,
    Spec('control_topic', 'string', '/control/command/control_cmd', 'What is passed on.'),
)


def drive_of(control: Control) -> AckermannDriveStamped:
    """
    Return an autoware_control_msgs/Control as an AckermannDriveStamped of the same stamp.

    Both count angles and speeds alike: radians and m/s, left and ahead positive. What Control does
    not define is 0, which leaves it to the player's limits.
    """
    lateral, longitudinal = control.lateral, control.longitudinal
    message = AckermannDriveStamped()
    message.header.stamp = control.stamp
    drive = message.drive
    drive.steering_angle = lateral.steering_tire_angle
    drive.speed = longitudinal.velocity
    if lateral.is_defined_steering_tire_rotation_rate:
        drive.steering_angle_velocity = lateral.steering_tire_rotation_rate
    if longitudinal.is_defined_acceleration:
        drive.acceleration = longitudinal.acceleration
    if longitudinal.is_defined_jerk:
        drive.jerk = longitudinal.jerk
    return message


class AutowareAdapter(Node):  # type: ignore[misc]
    """
    Passes each Control on as a player's `~/ackermann_cmd`.

    Parameters: `player`, its full name; `control_topic`. ConfigurationError where one of the
    packages is missing.
    """

    def __init__(self, name: str = 'nurec_autoware', **node_options: Any) -> None:
        kinds = {'autoware_control_msgs': Control, 'ackermann_msgs': AckermannDriveStamped}
        missing = [package for package, kind in kinds.items() if kind is None]
        if missing:
            raise ConfigurationError(
                f'{" and ".join(missing)} not installed; expected both ackermann_msgs and '
                "autoware_control_msgs (from Autoware's workspace, or apt)"
            )
        super().__init__(name, **node_options)
        parameters = ToolParameters(self, SPECS)
        player = parameters.text('player').rstrip('/')
        topic = parameters.text('control_topic')
        self._commands = self.create_publisher(
            AckermannDriveStamped, f'{player}/ackermann_cmd', reliable(100)
        )
        self.create_subscription(Control, topic, self._pass_on, reliable(100))
        self.get_logger().info(f'passes {topic} on to {player}/ackermann_cmd')

    def _pass_on(self, message: Control) -> None:
        self._commands.publish(drive_of(message))
