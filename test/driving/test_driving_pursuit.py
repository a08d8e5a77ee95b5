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
from test.driving.drives import ego as through
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from nurec_ros import Environment
from nurec_ros.driving.ego import DrivenEgo
from nurec_ros.driving.inputs import AckermannCommand
from nurec_ros.driving.pursuit import PurePursuit
import pytest
from scipy.spatial.transform import Rotation

TICK_NS = 50_000_000


class Followed(NamedTuple):
    """What was after each tick: m to the left, degrees, m from the recorded ego, and m/s."""

    lateral: NDArray[np.float64]
    heading: NDArray[np.float64]
    apart: NDArray[np.float64]
    speed: NDArray[np.float64]


def follow(recorded, offset_m=lambda seconds: 0.0, seconds=None, held_s=0.0, step=1):
    """Follow by ticks, after standing for `held_s`; of `step` ticks one gets a command."""
    driver = PurePursuit(recorded.times_ns, recorded.positions)
    ego = DrivenEgo(recorded, recorded.start_ns, source='ackermann')
    begin_ns, end_ns = recorded.start_ns, recorded.end_ns
    if seconds is not None:
        end_ns = begin_ns + round(seconds * SECOND)
    rows = []
    for number, t_ns in enumerate(range(begin_ns, end_ns, TICK_NS)):
        pose = ego.pose(t_ns)
        yaw = 2 * math.atan2(pose.quaternion[2], pose.quaternion[3])
        speed = float(ego.velocity(t_ns).linear[0])
        driver.offset_m = offset_m((t_ns - begin_ns) / SECOND)
        if t_ns < begin_ns + held_s * SECOND:
            ego.put(AckermannCommand(t_ns, 0.0, 0.0), halted=True)
        elif number % step == 0:
            x, y, _ = pose.position
            ego.put(AckermannCommand(t_ns, *driver.command(t_ns, x, y, yaw, speed)), halted=True)
        after_ns = t_ns + TICK_NS
        ego.advance_to(after_ns)
        deviation = ego.deviation(after_ns)
        apart = ego.pose(after_ns).position - recorded.at(min(after_ns, recorded.end_ns))[:3, 3]
        speed = float(ego.velocity(after_ns).linear[0])
        rows.append((deviation.lateral_m, deviation.heading_deg, math.hypot(*apart[:2]), speed))
    return Followed(*np.array(rows).T)


def with_a_stop(speed=6.0, seconds=18.0):
    """Return a straight drive that brakes from 3 s to 5 s, stands until 10 s, and goes on."""
    t = np.arange(0.0, seconds, 0.1)
    speeds = np.interp(t, [3.0, 5.0, 10.0, 12.0], [speed, 0.0, 0.0, speed])
    x = np.concatenate(([0.0], np.cumsum(0.5 * (speeds[1:] + speeds[:-1]) * 0.1)))
    points = np.column_stack((x, np.zeros_like(x), np.zeros_like(x)))
    return through(points, Rotation.from_euler('Z', np.zeros((len(t), 1))))


def slalom(length_m):
    x = np.arange(0.0, length_m, 0.8)
    return by_heading(np.column_stack((x, 4.0 * np.sin(x / 15.0))))


@pytest.mark.parametrize(
    ('recorded', 'offset_m'),
    [
        (straight(seconds=10.0), 1.5),
        (straight(seconds=10.0), -1.5),
        (level_circle(seconds=8.0), 0.0),
        (slalom(100.0), 0.0),
        (with_a_stop(), 0.0),
    ],
)
def test_goes_with_the_recording_or_beside_it(recorded, offset_m):
    found = follow(recorded, lambda _: offset_m)
    assert np.abs(found.lateral).max() < abs(offset_m) + 0.3
    half = len(found.lateral) // 2
    np.testing.assert_allclose(found.lateral[half:], offset_m, atol=0.05 if offset_m else 0.3)
    assert offset_m or found.apart.max() < 0.5


def test_where_the_recording_waited_it_stands():
    found = follow(with_a_stop(), lambda _: 1.5)
    after = np.arange(1, len(found.speed) + 1) * TICK_NS / SECOND
    waiting = (after > 7.0) & (after < 9.4)
    assert waiting.sum() > 40
    assert np.all(found.speed[waiting] == 0.0)
    assert found.speed[(after > 13.0) & (after < 17.0)] == pytest.approx(6.0, abs=0.2)


@pytest.mark.parametrize('recorded', [slalom(200.0), with_a_stop()])
def test_who_lags_catches_up_on_the_path(recorded):
    found = follow(recorded, held_s=2.0)
    assert found.apart.max() > 6.0
    assert np.abs(found.lateral).max() < 0.3
    assert found.apart[-1] < 0.5
    # By little more than the recording's speed, however far it is.
    fastest = max(math.hypot(*recorded.velocity(t_ns).linear[:2]) for t_ns in recorded.times_ns)
    assert found.speed.max() < fastest + 2.5


def test_who_is_seldom_heard_goes_with_the_recording():
    found = follow(with_a_stop(), step=5)
    assert found.apart.max() < 1.0
    assert found.apart[-1] < 0.3


def test_beyond_the_end_it_goes_on_straight():
    recorded = straight(speed=8.0, seconds=6.0, yaw=0.4)
    # Beyond the end it goes beside the path, and back.
    found = follow(recorded, lambda s: 1.0 if 5.0 < s < 10.0 else 0.0, seconds=16.0)
    assert np.abs(found.heading).max() < 30.0
    assert found.lateral.max() == pytest.approx(1.0, abs=0.1)
    assert found.lateral.min() > -0.2
    assert abs(found.lateral[-1]) < 0.01
    assert found.speed[-100:] == pytest.approx(8.0, abs=0.05)


def test_of_a_point_there_is_nothing_to_follow():
    recorded = straight(speed=0.0)
    driver = PurePursuit(recorded.times_ns, recorded.positions)
    assert driver.length_m == 0.0
    assert driver.command(T0, 1.0, 2.0, 0.3, 4.0) == (0.0, 0.0)
    nothing = PurePursuit(np.empty(0, dtype=np.int64), np.empty((0, 3)))
    assert nothing.command(T0, 1.0, 2.0, 0.3, 4.0) == (0.0, 0.0)


@pytest.mark.parametrize('seconds', [15.0, 1.0])
def test_after_a_jump_it_looks_elsewhere(seconds):
    recorded = straight(speed=10.0)
    driver = PurePursuit(recorded.times_ns, recorded.positions)
    driver.command(T0 + 8 * SECOND, 80.0, 0.0, 0.0, 10.0)
    t_ns = T0 + round(seconds * SECOND)
    speed, steering = driver.command(t_ns, 10.0 * seconds, -1.0, 0.0, 10.0)
    assert driver.near_m == pytest.approx(10.0 * seconds)
    assert speed == pytest.approx(10.0)
    assert 0.0 < steering < 0.5
    # And where the recording is not at that time.
    speed, _ = driver.command(t_ns, 120.0, -1.0, 0.0, 10.0)
    assert driver.near_m == pytest.approx(120.0)
    assert (speed == 0.0) == (seconds < 12.0)


def test_where_the_path_crosses_itself_the_time_tells_which_way():
    angle = np.linspace(0.0, math.tau, 400, endpoint=False)
    eight = by_heading(np.column_stack((30 * np.sin(angle), 10 * np.sin(2 * angle))))
    assert np.abs(follow(eight, seconds=22.0).lateral).max() < 0.3
    driver = PurePursuit(eight.times_ns, eight.positions)
    for row in (200, 0):
        x, y, _ = eight.positions[row]
        yaw = 2 * math.atan2(*eight.quaternions[row][2:])
        driver.command(int(eight.times_ns[row]), x, y, yaw, 8.0)
        along = np.hypot(*np.diff(eight.positions[: row + 1, :2], axis=0).T).sum()
        assert driver.near_m == pytest.approx(along, abs=0.5)


def follow_in(usdz):
    """Return how far from the path and from the recorded ego a drive in an environment was."""
    with Environment(usdz, '', ego_source='ackermann') as environment:
        recorded = environment.scenario.ego
        seen = environment.reset()
        driver = PurePursuit(recorded.times_ns, recorded.positions)
        found, met = [], set()
        while not seen.done and len(found) < 150:
            x_axis = seen.pose.matrix[:2, 0]
            yaw = math.atan2(x_axis[1], x_axis[0])
            (x, y, _), speed = seen.pose.position, float(seen.twist.linear[0])
            seen = environment.step(driver.command(seen.t_ns, x, y, yaw, speed), 0.05)
            apart = seen.pose.position - recorded.pose(seen.t_ns).position
            found.append((abs(seen.deviation.lateral_m), math.hypot(*apart[:2])))
            met |= set(seen.collisions)
    assert len(found) > 100
    assert met == set()
    return np.array(found).max(axis=0)


@pytest.fixture(scope='module')
def example_street(tmp_path_factory):
    from nurec_ros.cli.example import main

    path = tmp_path_factory.mktemp('example') / 'street.usdz'
    assert main([str(path), '--duration', '6']) == 0
    return path


@pytest.mark.parametrize('name', ['example_street', 'pittsburgh', 'miami'])
def test_goes_with_the_recording_in_an_environment(name, request):
    lateral_m, apart_m = follow_in(request.getfixturevalue(name))
    assert lateral_m < 0.3
    assert apart_m < 0.5
