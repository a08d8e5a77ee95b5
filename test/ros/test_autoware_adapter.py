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
"""nurec_autoware: what Autoware commands is what the ego is told, field by field."""

from dataclasses import dataclass, field
import subprocess
import sys

from builtin_interfaces.msg import Time
from geometry_msgs.msg import TwistStamped
from nurec_ros.errors import ConfigurationError
from nurec_ros.ros import tool_nodes
import pytest
from rclpy.executors import SingleThreadedExecutor

pytestmark = pytest.mark.ros
AckermannDriveStamped = pytest.importorskip('ackermann_msgs.msg').AckermannDriveStamped


@dataclass
class Lateral:
    """autoware_control_msgs/Lateral, its fields and defaults."""

    stamp: Time = field(default_factory=Time)
    control_time: Time = field(default_factory=Time)
    steering_tire_angle: float = 0.0
    steering_tire_rotation_rate: float = 0.0
    is_defined_steering_tire_rotation_rate: bool = False


@dataclass
class Longitudinal:
    """autoware_control_msgs/Longitudinal, its fields and defaults."""

    stamp: Time = field(default_factory=Time)
    control_time: Time = field(default_factory=Time)
    velocity: float = 0.0
    acceleration: float = 0.0
    jerk: float = 0.0
    is_defined_acceleration: bool = False
    is_defined_jerk: bool = False


@dataclass
class Control:
    """autoware_control_msgs/Control, its fields and defaults."""

    stamp: Time = field(default_factory=Time)
    control_time: Time = field(default_factory=Time)
    lateral: Lateral = field(default_factory=Lateral)
    longitudinal: Longitudinal = field(default_factory=Longitudinal)


def control(*, defined: bool) -> Control:
    lateral = Lateral(
        steering_tire_angle=0.25,
        steering_tire_rotation_rate=-0.5,
        is_defined_steering_tire_rotation_rate=defined,
    )
    longitudinal = Longitudinal(
        velocity=-4.0,
        acceleration=1.5,
        jerk=0.75,
        is_defined_acceleration=defined,
        is_defined_jerk=defined,
    )
    return Control(Time(sec=27568, nanosec=848000), Time(sec=9), lateral, longitudinal)


@pytest.mark.parametrize(('defined', 'rest'), [(True, (-0.5, 1.5, 0.75)), (False, (0.0,) * 3)])
def test_each_field_goes_where_it_belongs(defined, rest):
    message = tool_nodes.drive_of(control(defined=defined))
    assert isinstance(message, AckermannDriveStamped)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (27568, 848000)
    assert message.header.frame_id == ''
    drive = message.drive
    assert (drive.steering_angle, drive.speed) == (0.25, -4.0)
    assert (drive.steering_angle_velocity, drive.acceleration, drive.jerk) == rest


def test_what_comes_goes_on_to_the_player(make_node, listener, monkeypatch):
    # Only Autoware's workspace has the type: one that is here goes over the wire in its place.
    monkeypatch.setattr(tool_nodes, 'Control', TwistStamped)
    monkeypatch.setattr(tool_nodes, 'drive_of', _by_twist)
    node = make_node('-p', 'player:=/two/', node_class=tool_nodes.AutowareAdapter)
    received = listener.listen(AckermannDriveStamped, '/two/ackermann_cmd')
    publisher = listener.node.create_publisher(TwistStamped, '/control/command/control_cmd', 10)
    listener.matched(publisher)
    listener.until(lambda: node.count_subscribers('/two/ackermann_cmd') == 1, 'the subscription')
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    message = TwistStamped()
    message.twist.linear.x = 6.5
    publisher.publish(message)

    def arrived():
        executor.spin_once(timeout_sec=0.01)
        return received

    listener.until(arrived, 'the command')
    assert received[0].drive.speed == 6.5


def _by_twist(message):
    passed_on = AckermannDriveStamped()
    passed_on.drive.speed = message.twist.linear.x
    return passed_on


def test_without_the_package_it_is_named(make_node, monkeypatch):
    monkeypatch.setattr(tool_nodes, 'Control', None)
    with pytest.raises(
        ConfigurationError, match=r'^autoware_control_msgs not installed; expected'
    ):
        make_node(node_class=tool_nodes.AutowareAdapter)


def test_the_command_says_what_it_is_for():
    done = subprocess.run(
        [sys.executable, '-m', 'nurec_ros.cli.autoware', '--help'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert 'control_topic' in done.stdout
    assert 'ego_source:=ackermann' in done.stdout
