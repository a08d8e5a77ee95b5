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
"""The follower, by ticks of 50 ms: on made-up paths, on the example street and on real drives."""

import math
from test.driving.drives import by_heading, level_circle, SECOND, straight, T0

import numpy as np
from nurec_ros import Environment
from nurec_ros.driving.ego import DrivenEgo
from nurec_ros.driving.inputs import AckermannCommand
from nurec_ros.driving.pursuit import PurePursuit
import pytest

TICK_NS = 50_000_000


def follow(recorded, offset_m=0.0, seconds=None):
    """Return the deviations after each tick."""
    driver = PurePursuit(recorded.times_ns, recorded.positions, offset_m=offset_m)
    ego = DrivenEgo(recorded, recorded.start_ns, source='ackermann')
    end_ns = recorded.end_ns if seconds is None else recorded.start_ns + round(seconds * SECOND)
    found = []
    for t_ns in range(recorded.start_ns, end_ns, TICK_NS):
        pose = ego.pose(t_ns)
        yaw = 2 * math.atan2(pose.quaternion[2], pose.quaternion[3])
        speed = float(ego.velocity(t_ns).linear[0])
        speed, steering = driver.command(*pose.position[:2], yaw, speed)
        ego.put(AckermannCommand(t_ns, speed, steering), halted=True)
        ego.advance_to(t_ns + TICK_NS)
        found.append(ego.deviation(t_ns + TICK_NS).lateral_m)
    return np.array(found)


def slalom():
    x = np.arange(0.0, 200.0, 0.8)
    return by_heading(np.column_stack((x, 4.0 * np.sin(x / 15.0))))


@pytest.mark.parametrize('recorded', [straight(), level_circle(), slalom()])
def test_stays_on_the_path(recorded):
    assert np.abs(follow(recorded)).max() < 0.3


@pytest.mark.parametrize('offset_m', [1.5, -1.5])
def test_keeps_beside_it(offset_m):
    found = follow(straight(), offset_m)
    half = len(found) // 2
    np.testing.assert_allclose(found[half:], offset_m, atol=0.05)
    assert np.abs(found).max() < 1.5 + 0.3


def test_of_a_point_there_is_nothing_to_follow():
    recorded = straight(speed=0.0)
    driver = PurePursuit(recorded.times_ns, recorded.positions)
    assert driver.length_m == 0.0
    assert driver.command(1.0, 2.0, 0.3, 4.0) == (0.0, 0.0)


def test_after_a_jump_it_looks_everywhere():
    recorded = straight(speed=10.0)
    driver = PurePursuit(recorded.times_ns, recorded.positions)
    driver.command(0.0, 0.0, 0.0, 10.0)
    driver.restart()
    speed, steering = driver.command(150.0, -1.0, 0.0, 10.0)
    assert speed == pytest.approx(10.0)
    assert 0.0 < steering < 0.5
    assert recorded.start_ns == T0


def follow_in(usdz):
    """Return the deviations of a drive in an environment."""
    with Environment(usdz, '', ego_source='ackermann') as environment:
        recorded = environment.scenario.ego
        seen = environment.reset()
        driver = PurePursuit(recorded.times_ns, recorded.positions)
        found = []
        while not seen.done:
            x_axis = seen.pose.matrix[:2, 0]
            yaw = math.atan2(x_axis[1], x_axis[0])
            speed = float(seen.twist.linear[0])
            seen = environment.step(driver.command(*seen.pose.position[:2], yaw, speed), 0.05)
            found.append(seen.deviation.lateral_m)
    return np.array(found)


def test_stays_on_the_example_street(example_street):
    found = follow_in(example_street)
    assert len(found) > 100
    assert np.abs(found).max() < 0.3


@pytest.fixture(scope='module')
def example_street(tmp_path_factory):
    from nurec_ros.cli.example import main

    path = tmp_path_factory.mktemp('example') / 'street.usdz'
    assert main([str(path), '--duration', '10']) == 0
    return path


@pytest.mark.parametrize('name', ['pittsburgh', 'miami'])
def test_stays_on_real_drives(name, request):
    assert np.abs(follow_in(request.getfixturevalue(name))).max() < 0.3
