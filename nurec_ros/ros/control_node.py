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
"""A player seen from another node: what it says, and its services. For nurec_control."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
import os
import threading
import time

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nurec_ros.control.remote import PlayerCall, Remote, Status
from nurec_ros.ros.executor import begin_ros
from nurec_ros.ros.outlet import latched, players, reliable
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.logging import LoggingSeverity, set_logger_level
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger

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
        there = self._node.count_publishers(self._topic) > 0
        if not there and self._looks * LOOK_S < FIRST_LOOK_S:
            return
        others = [] if there else players(self._node)

        def take() -> None:
            self._remote.take_presence(there, others)
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
