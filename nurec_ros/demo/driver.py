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
Somebody drives in the demo: half a lane beside the recording, and back.

By ticks, each with a command for the moment before it, which the player waits for: so the drive is
the same each time, however slow the machine is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import time

from ackermann_msgs.msg import AckermannDriveStamped
from nav_msgs.msg import Odometry
from nurec_ros.demo.drive import flat_pose, stamp_of
from nurec_ros.demo.play import Report, STALL_S, Watch
from nurec_ros.demo.processes import DemoError
from nurec_ros.driving.pursuit import PurePursuit
from nurec_ros.scenario import Scenario
from rclpy.serialization import deserialize_message

TICK_US = 50_000
# What the player is told besides.
PARAMETERS = {'ego_source': 'ackermann', 'ego_wait_s': STALL_S, 'tick_us': TICK_US}
# To the right, where on the example's street nobody comes towards it: half of a lane of 3.5 m.
OFFSET_M = -1.75
# Shares of the drive between which it goes over, and comes back.
OVER, BACK = (0.15, 0.35), (0.65, 0.85)
REST_S = 0.002


def offset_at(share: float) -> float:
    """Return how far to the left of the recording (m) to drive at a share of the drive."""
    return OFFSET_M * (_smooth(share, OVER) - _smooth(share, BACK))


def _smooth(share: float, between: tuple[float, float]) -> float:
    """Return 0 before, 1 behind, and between them a curve without kinks."""
    u = min(max((share - between[0]) / (between[1] - between[0]), 0.0), 1.0)
    return u * u * (3.0 - 2.0 * u)


def driver(scenario: Scenario, speed: float) -> Callable[[Watch, Report], Sequence[str]]:
    """Return what drives to the end, at most at so many scenario seconds a second."""
    pursuit = PurePursuit(scenario.ego.times_ns, scenario.ego.positions)

    begin_ns, duration_ns = scenario.start_ns, max(scenario.end_ns - scenario.start_ns, 1)

    def command(data: bytes) -> AckermannDriveStamped:
        odometry = deserialize_message(data, Odometry)
        pursuit.offset_m = offset_at((stamp_of(data) - begin_ns) / duration_ns)
        pose = flat_pose(odometry.pose.pose)
        message = AckermannDriveStamped()
        message.header.stamp = odometry.header.stamp
        drive = message.drive
        drive.speed, drive.steering_angle = pursuit.command(*pose, odometry.twist.twist.linear.x)
        return message

    def drive_to_the_end(watch: Watch, report: Report) -> Sequence[str]:
        commands = watch.publisher(AckermannDriveStamped, 'ackermann_cmd')
        deviations, hit = [], set()
        began, first_s = time.monotonic(), watch.state['seconds_since_start']
        while not watch.state['done']:
            _wait_for_odometry(watch, watch.state['current_time_us'] * 1000)
            commands.publish(command(watch.odometry))
            watch.call('tick', STALL_S, REST_S)
            deviations.append(watch.state['deviation_m'])
            hit |= set(watch.state['collisions'])
            report()
            passed_s = watch.state['seconds_since_start'] - first_s
            while time.monotonic() - began < passed_s / speed:
                watch.step(REST_S)
        return [driven_text(deviations, hit)]

    return drive_to_the_end


def _wait_for_odometry(watch: Watch, t_ns: int) -> None:
    deadline = time.monotonic() + STALL_S
    while not watch.odometry or stamp_of(watch.odometry) < t_ns:
        if time.monotonic() > deadline:
            message = f'no odometry of {t_ns // 1000} us in {STALL_S:g} s'
            raise DemoError(message)
        watch.step(REST_S)


def driven_text(deviations: Sequence[float], hit: set[str]) -> str:
    """Return how far from the recording it was, and whom it met."""
    farthest = max(deviations, key=abs, default=0.0)
    side = 'left' if farthest > 0 else 'right'
    end = abs(deviations[-1]) if deviations else 0.0
    met = f'road users met: {", ".join(sorted(hit))}' if hit else 'nobody was met'
    return (
        f'driven by ~/ackermann_cmd: up to {abs(farthest):.2f} m to the {side} of the recording, '
        f'{end:.2f} m at the end; {met}'
    )
