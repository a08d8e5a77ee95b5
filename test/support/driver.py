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
Drivers of a player: the inputs of each source, and who sends them from a process of its own.

`steps SOURCE COUNT SEED` sends an input and ticks, so often, dawdling at random before each;
`flood SOURCE HZ` sends inputs stamped with /clock until SIGTERM, and then is killed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import json
import math
import os
import random
import signal
import sys
from test.support.archives import START_US
from test.support.listener import Listener
from test.support.player_bench import PlayerClient, SECOND
import time
from typing import Any

from geometry_msgs.msg import PoseStamped, TwistStamped
import pytest
import rclpy

try:
    from ackermann_msgs.msg import AckermannDriveStamped
except ImportError:
    AckermannDriveStamped = None

# What a driver goes for.
SPEED = 4.0
TOPICS = {
    'twist': '/nurec/cmd_vel',
    'ackermann': '/nurec/ackermann_cmd',
    'pose': '/nurec/ego_pose',
}
TYPES = {'twist': TwistStamped, 'ackermann': AckermannDriveStamped, 'pose': PoseStamped}
needs_ackermann = pytest.mark.skipif(
    AckermannDriveStamped is None, reason='ackermann_msgs is not installed'
)


def stamped(message: Any, t_ns: int, frame: str = '') -> Any:
    """Return the message with its header."""
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(t_ns, SECOND)
    message.header.frame_id = frame
    return message


def twist(t_ns: int, speed: float, yaw_rate: float, frame: str = '') -> Any:
    message = stamped(TwistStamped(), t_ns, frame)
    message.twist.linear.x, message.twist.angular.z = speed, yaw_rate
    return message


def ackermann(t_ns: int, speed: float, steering: float, steering_rate: float = 0.0) -> Any:
    message = stamped(AckermannDriveStamped(), t_ns)
    message.drive.speed, message.drive.steering_angle = speed, steering
    message.drive.steering_angle_velocity = steering_rate
    return message


def pose(t_ns: int, x: float, y: float, frame: str = 'map', w: float = 1.0) -> Any:
    message = stamped(PoseStamped(), t_ns, frame)
    message.pose.position.x, message.pose.position.y = x, y
    message.pose.orientation.w = w
    return message


def ahead_m(t_ns: int) -> float:
    """Return the x of the pose that `flood pose` sends for a time."""
    return SPEED * (t_ns - START_US * 1000) * 1e-9


# By source, what drives a circle in steps, and what is streamed.
CIRCLES: dict[str, Callable[[int], Any]] = {
    'twist': lambda t_ns: twist(t_ns, 6.0, 0.5),
    'ackermann': lambda t_ns: ackermann(t_ns, 6.0, 0.25, 0.5),
}
STREAMS: dict[str, Callable[[int], Any]] = {
    'twist': lambda t_ns: twist(t_ns, SPEED, 0.0),
    'ackermann': lambda t_ns: ackermann(t_ns, SPEED, 0.0),
    'pose': lambda t_ns: pose(t_ns, ahead_m(t_ns), 0.0),
}


class Driver:
    """Publishes the input of a source."""

    def __init__(self, listener: Listener, source: str) -> None:
        self.publisher = listener.node.create_publisher(TYPES[source], TOPICS[source], 100)
        listener.matched(self.publisher)

    def put(self, message: Any) -> None:
        self.publisher.publish(message)


def _steps(client: PlayerClient, source: str, count: int, seed: int) -> None:
    from std_srvs.srv import Trigger

    delays = random.Random(seed)
    client.until(lambda: client.states, 'the state')
    position_us = client.state['current_time_us']
    driver = Driver(client.listener, source)
    for _ in range(count):
        message = CIRCLES[source](position_us * 1000)
        # The tick may overtake the input, or be sent long after it.
        ticks_first = delays.random() < 0.5
        for ticks in (ticks_first, not ticks_first):
            time.sleep(delays.uniform(0.0, 0.02))
            if ticks:
                answer = client.start_call(Trigger, 'tick')
            else:
                driver.put(message)
        client.until(answer.done, 'the answer of tick')
        assert answer.result().success, answer.result().message
        position_us = json.loads(answer.result().message)['current_time_us']


def _flood(client: PlayerClient, source: str, hz: int) -> None:
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: told.append(number))

    client.until(lambda: client.clocks, 'the clock')
    driver = Driver(client.listener, source)
    start_s, sent, last_ns = time.monotonic(), 0, 0
    while not told:
        time.sleep(1.0 / hz)
        client.listener.executor.spin_once(timeout_sec=0.0)
        # However late this process is, what is due goes out.
        due = math.ceil((time.monotonic() - start_s) * hz)
        for _ in range(due - sent):
            last_ns = client.clock_ns
            driver.put(STREAMS[source](last_ns))
        sent = due
    client.until(lambda: driver.publisher.wait_for_all_acked(), 'the last acknowledgement')
    sys.stdout.write(f'the last input was of {last_ns // 1000}\n')
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def main(argv: Sequence[str]) -> int:
    """Drive as the words say."""
    what, source, *numbers = argv
    context = rclpy.Context()
    rclpy.init(args=['driver'], context=context)
    client = PlayerClient(context, quick=True)
    if what == 'steps':
        _steps(client, source, int(numbers[0]), int(numbers[1]))
    else:
        _flood(client, source, int(numbers[0]))
    client.close()
    rclpy.shutdown(context=context)
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
