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
the same each time, however slow the machine is. On which side, and whether by half a lane, is
chosen by driving it all beforehand, without pictures: where nobody is met.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import math
import time

from ackermann_msgs.msg import AckermannDriveStamped
from nav_msgs.msg import Odometry
import numpy as np
from nurec_ros.demo.drawing import Pose2D
from nurec_ros.demo.play import Report, STALL_S, Watch
from nurec_ros.demo.recording import flat_pose, stamp_of
from nurec_ros.demo.resources import DemoError
from nurec_ros.driving import AckermannCommand
from nurec_ros.driving.pursuit import PurePursuit
from nurec_ros.driving.watch import EgoWatch
from nurec_ros.scenario import Scenario
from nurec_ros.settings import Settings
from rclpy.serialization import deserialize_message

TICK_US = 50_000
PARAMETERS = {'ego_source': 'ackermann', 'ego_wait_s': STALL_S, 'tick_us': TICK_US}
# To the left of the recording, in the order in which they are tried.
OFFSETS_M = (-1.75, 1.75, -1.0, 1.0, -0.5, 0.5)
# Shares of the way.
OVER, BACK = (0.05, 0.35), (0.45, 0.75)
REST_S = 0.002


def part_at(share: float) -> float:
    """Return which part of the offset to drive with at a share of the way."""
    return _smooth(share, OVER) - _smooth(share, BACK)


def _smooth(share: float, between: tuple[float, float]) -> float:
    """Return 0 before, 1 behind, and between them a curve without kinks."""
    u = min(max((share - between[0]) / (between[1] - between[0]), 0.0), 1.0)
    return u * u * (3.0 - 2.0 * u)


class SideDriver:
    """Follows the recording, and goes `offset_m` to its left on the middle of the way."""

    def __init__(self, scenario: Scenario, offset_m: float) -> None:
        self._offset_m = offset_m
        self._pursuit = PurePursuit(scenario.ego.times_ns, scenario.ego.positions)

    def command(self, t_ns: int, pose: Pose2D, speed: float) -> tuple[float, float]:
        """Return the speed and the steering angle to drive with."""
        pursuit = self._pursuit
        pursuit.offset_m = self._offset_m * part_at(pursuit.near_m / max(pursuit.length_m, 1.0))
        return pursuit.command(t_ns, *pose, speed)


@dataclass(frozen=True, slots=True)
class Choice:
    """The offset to drive with, whom it meets, and whom those that were tried before would."""

    offset_m: float
    met: tuple[str, ...]
    others: tuple[tuple[float, tuple[str, ...]], ...]

    @property
    def text(self) -> str:
        """Return the choice, and why it is none of those before."""
        told = [f'; {beside(one)} it would meet {users(met)}' for one, met in self.others]
        return f'drives {beside(self.offset_m)} of the recording{"".join(told)}'


def beside(offset_m: float) -> str:
    """Return an offset in words."""
    return f'{abs(offset_m):g} m to the {"left" if offset_m > 0 else "right"}'


def users(ids: Sequence[str]) -> str:
    """Return road users in words."""
    return f'road user{"s" * (len(ids) > 1)} {", ".join(ids)}'


def choose_offset(scenario: Scenario) -> Choice:
    """Return the first offset with which nobody is met, or that with which the fewest are."""
    tried: list[tuple[float, tuple[str, ...]]] = []
    for offset_m in OFFSETS_M:
        tried.append((offset_m, rehearse(scenario, offset_m)))
        if not tried[-1][1]:
            break
    best = min(tried, key=lambda one: len(one[1]))
    return Choice(*best, tuple(one for one in tried if one is not best))


def rehearse(scenario: Scenario, offset_m: float) -> tuple[str, ...]:
    """Return the ids of those who are met in a drive by the same ticks, in plain Python."""
    driver = SideDriver(scenario, offset_m)
    watch = EgoWatch.of(scenario, scenario.start_ns, Settings(ego_source='ackermann'))
    ego, met = watch.ego, dict[str, None]()
    t_ns = ego.passed_ns
    while t_ns < scenario.end_ns:
        x_axis = ego.pose(t_ns).matrix[:2, 0]
        x, y = ego.pose(t_ns).position[:2].tolist()
        pose = (x, y, math.atan2(x_axis[1], x_axis[0]))
        speed = float(ego.velocity(t_ns).linear[0])
        # As it comes over the wire.
        command = np.array(driver.command(t_ns, pose, speed), dtype=np.float32)
        watch.put(AckermannCommand(t_ns, *command.tolist()), halted=True)
        t_ns = min(t_ns + TICK_US * 1000, scenario.end_ns)
        met.update(dict.fromkeys(watch.pass_to(t_ns, collect=True).collisions))
    return tuple(met)


def driver(
    scenario: Scenario, offset_m: float, speed: float
) -> Callable[[Watch, Report], Sequence[str]]:
    """Return what drives to the end, at most at so many scenario seconds a second."""
    side = SideDriver(scenario, offset_m)

    def command(data: bytes) -> AckermannDriveStamped:
        odometry = deserialize_message(data, Odometry)
        pose, ahead = flat_pose(odometry.pose.pose), odometry.twist.twist.linear.x
        message = AckermannDriveStamped()
        message.header.stamp = odometry.header.stamp
        drive = message.drive
        drive.speed, drive.steering_angle = side.command(stamp_of(data), pose, ahead)
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
