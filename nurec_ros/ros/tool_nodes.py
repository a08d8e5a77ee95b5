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
"""
The nodes beside the player: nurec_follow and nurec_autoware, which drive, and nurec_control's.

The drivers' parameters are checked and refused as the player's are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
import os
import threading
import time
from typing import Any

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nav_msgs.msg import Odometry, Path
import numpy as np
from nurec_ros.control.remote import PlayerCall, Remote, Status
from nurec_ros.driving.pursuit import PurePursuit
from nurec_ros.driving.recorded_path import yaw_of
from nurec_ros.errors import ConfigurationError
from nurec_ros.ros.conversions import time_of
from nurec_ros.ros.executor import begin_ros
from nurec_ros.ros.outlet import latched, players, reliable
from nurec_ros.ros.parameters import descriptor, no_such_parameter, unused_overrides
from nurec_ros.setting_values import convert, RUNTIME, Spec, Value
from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.logging import LoggingSeverity, set_logger_level
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.task import Future
from std_srvs.srv import Trigger

try:
    from ackermann_msgs.msg import AckermannDriveStamped
except ImportError:
    AckermannDriveStamped = None

try:
    from autoware_control_msgs.msg import Control
except ImportError:
    Control = None

PLAYER = Spec('player', 'string', '/nurec', "The player's full name.")


class ToolParameters:
    """
    The values of some parameters, by name, in their specs' types; those of run time may change.

    ConfigurationError for one that cannot be used. An override that nobody declares is warned of.
    """

    def __init__(self, node: Node, specs: Iterable[Spec]) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._values: dict[str, Value] = {}
        for name, spec in self._specs.items():
            # Open, so that an integer serves for a double.
            found = node.declare_parameter(
                name, spec.default, ParameterDescriptor(dynamic_typing=True)
            )
            self._values[name] = convert(spec, name, found.value)
            node.set_descriptor(name, descriptor(spec))
        node.add_on_set_parameters_callback(self._set)
        for name, _ in unused_overrides(node, self._specs, sensors_known=True):
            node.get_logger().warning(
                f'{no_such_parameter(name, "")}; there are {", ".join(self._specs)}'
            )

    def text(self, name: str) -> str:
        return str(self._values[name])

    def number(self, name: str) -> float:
        value = self._values[name]
        assert isinstance(value, float)
        return value

    def _set(self, parameters: list[Parameter[Value]]) -> SetParametersResult:
        changed = {}
        for parameter in parameters:
            spec = self._specs.get(parameter.name)
            # What may not change is rclpy's to refuse.
            if spec is not None and spec.applies == RUNTIME:
                try:
                    changed[spec.name] = convert(spec, spec.name, parameter.value)
                except ConfigurationError as error:
                    return SetParametersResult(successful=False, reason=str(error))
        self._values |= changed
        return SetParametersResult(successful=True)


NO_ACKERMANN = 'the package ackermann_msgs is not installed: there is nothing to drive with'
FOLLOWER_SPECS = (
    PLAYER,
    Spec(
        'offset_m',
        'double',
        0.0,
        'How far to the left of the recorded path to drive, in metres.',
        RUNTIME,
        between=(-100.0, 100.0),
    ),
    Spec('wheelbase_m', 'double', 2.85, "As the player's, in metres.", between=(0.1, 20.0)),
)
MISSING_LOOK_S = 1.0
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
        self._values = ToolParameters(self, FOLLOWER_SPECS)
        player = self._values.text('player').rstrip('/')
        self._driver: PurePursuit | None = None
        self._commands = self.create_publisher(
            AckermannDriveStamped, f'{player}/ackermann_cmd', reliable(100)
        )
        self._path = self.create_subscription(Path, f'{player}/path', self._on_path, latched())
        self.create_subscription(Odometry, f'{player}/odom', self._on_odom, reliable(10))
        self._pathless = self._unheard = 0
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(MISSING_LOOK_S, self._look, clock=steady)
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
        others = ', '.join(players(self))
        hint = f'; there is {others}' if others else ''
        return f"there is no player {player}, which parameter 'player' names{hint}"

    def _on_path(self, message: Path) -> None:
        points = [pose.pose.position for pose in message.poses]
        self._driver = PurePursuit(
            np.array([time_of(pose.header.stamp) for pose in message.poses], dtype=np.int64),
            np.array([(point.x, point.y, point.z) for point in points]).reshape(-1, 3),
            wheelbase_m=self._values.number('wheelbase_m'),
        )

    def _on_odom(self, message: Odometry) -> None:
        driver, stamp = self._driver, message.header.stamp
        if driver is None:
            return
        driver.offset_m = self._values.number('offset_m')
        at, to = message.pose.pose.position, message.pose.pose.orientation
        yaw = yaw_of((to.x, to.y, to.z, to.w))
        command = AckermannDriveStamped()
        command.header.stamp = stamp
        ahead = message.twist.twist.linear.x
        speed, steering = driver.command(time_of(stamp), at.x, at.y, yaw, ahead)
        command.drive.speed, command.drive.steering_angle = speed, steering
        self._commands.publish(command)


ADAPTER_SPECS = (
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
        parameters = ToolParameters(self, ADAPTER_SPECS)
        player = parameters.text('player').rstrip('/')
        topic = parameters.text('control_topic')
        self._commands = self.create_publisher(
            AckermannDriveStamped, f'{player}/ackermann_cmd', reliable(100)
        )
        self.create_subscription(Control, topic, self._pass_on, reliable(100))
        self.get_logger().info(f'passes {topic} on to {player}/ackermann_cmd')

    def _pass_on(self, message: Control) -> None:
        self._commands.publish(drive_of(message))


try:
    from rosbag2_interfaces import srv as rosbag2
except ImportError:
    rosbag2 = None

LOOK_S = 0.5
# Discovery takes a moment: before, nobody is missing.
FIRST_LOOK_S = 2.0


# From the value of a call to its request.
MakeRequest = Callable[[float], object]


class PlayerLink:
    """
    A node of its own, spun by a thread of its own, that watches and calls one player.

    The remote control is told what the player says; `post` has that done in its own thread.
    """

    def __init__(
        self,
        player: str,
        remote: Remote,
        post: Callable[[Callable[[], None]], None],
        ros_arguments: Sequence[str] = (),
    ) -> None:
        self._player = player
        self._remote = remote
        self._post = post
        self._context = begin_ros('nurec_control', ros_arguments)
        # Lines of rcl's would come into the one that is written over.
        set_logger_level('rcl', LoggingSeverity.FATAL)
        # Several may steer one player.
        self._node = Node(
            f'nurec_control_{os.getpid()}',
            context=self._context,
            enable_rosout=False,
            start_parameter_services=False,
        )
        self._services = {
            name: (self._node.create_client(kind, f'{player}/{name}'), request)
            for name, (kind, request) in _services().items()
        }
        self._topic = self._node.resolve_topic_name(f'{player}/state')
        self._looks = 0
        self._node.create_subscription(DiagnosticStatus, self._topic, self._hear_state, latched())
        self._node.create_subscription(
            DiagnosticArray, '/diagnostics', self._hear_diagnostics, reliable(10)
        )
        self._node.create_timer(LOOK_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name='nurec-link', daemon=True)
        self._thread.start()

    def send(self, call: PlayerCall | None) -> None:
        """Make a call, from the remote's thread; its answer may bring the next one."""
        if call is None:
            return

        def answered(success: bool, message: str) -> None:
            def take() -> None:
                self.send(self._remote.answered(call, success, message, time.monotonic()))

            self._post(take)

        if call.service not in self._services:
            text = f'{call.service} needs rosbag2_interfaces, which is not installed here'
            answered(False, text)
            return
        client, request = self._services[call.service]
        if not client.service_is_ready():
            answered(False, f'{self._player} offers no service {call.service} now')
            return

        def done(future: Future) -> None:
            response = future.result()
            answered(bool(response.success), str(getattr(response, 'message', '')))

        client.call_async(request(call.value)).add_done_callback(done)

    def close(self) -> None:
        """End the node; its thread ends with the context."""
        self._context.try_shutdown()
        self._thread.join(1.0)

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return
        except BaseException as error:  # noqa: BLE001, the main thread has to know
            self._post(partial(_raise, error))

    def _look(self) -> None:
        self._looks += 1
        found = self._node.get_publishers_info_by_topic(self._topic)
        publishers = {bytes(one.endpoint_gid).hex() for one in found}
        if not publishers and self._looks * LOOK_S < FIRST_LOOK_S:
            return
        others = [] if publishers else players(self._node)

        def take() -> None:
            self._remote.take_presence(publishers, others)
            self._remote.look(time.monotonic())

        self._post(take)

    def _hear_state(self, message: DiagnosticStatus) -> None:
        values = {pair.key: pair.value for pair in message.values}
        self._post(lambda: self._remote.take_state(values, time.monotonic()))

    def _hear_diagnostics(self, message: DiagnosticArray) -> None:
        statuses = [
            Status(
                one.name.rpartition(': ')[2],
                one.level[0],
                one.message,
                {pair.key: pair.value for pair in one.values},
            )
            for one in message.status
            if one.hardware_id == self._player
        ]
        if statuses:
            self._post(lambda: self._remote.take_health(statuses, time.monotonic()))


def _raise(error: BaseException) -> None:
    raise error


def _services() -> dict[str, tuple[type, MakeRequest]]:
    """Return each service's type, and how its request is made from a call's value."""
    services: dict[str, tuple[type, MakeRequest]] = {
        name: (Trigger, lambda _: Trigger.Request()) for name in ('play', 'stop', 'reset')
    }
    if rosbag2 is not None:
        services['play_next'] = (rosbag2.PlayNext, lambda _: rosbag2.PlayNext.Request())
        services['set_rate'] = (rosbag2.SetRate, lambda rate: rosbag2.SetRate.Request(rate=rate))
        services['seek'] = (rosbag2.Seek, _seek_request)
    return services


def _seek_request(t_us: float) -> rosbag2.Seek.Request:
    seconds, microseconds = divmod(round(t_us), 1_000_000)
    return rosbag2.Seek.Request(time=Time(sec=seconds, nanosec=1000 * microseconds))
