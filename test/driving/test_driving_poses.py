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
"""Poses as inputs, and what is fixed once it has passed."""

import math
from test.driving.drives import by_heading, euler, level_circle, SECOND, straight, T0
from test.driving.drives import ego as trajectory

import numpy as np
from nurec_ros.driving import DrivenEgo, InputError, TimedPose, TwistCommand
from nurec_ros.poses import Pose
import pytest
from scipy.spatial.transform import Rotation

MS = 1_000_000


def timed(t_ns, x=0.0, y=0.0, z=0.0, yaw=0.0, **more):
    quaternion = (0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2))
    return TimedPose.checked(t_ns, (x, y, z), quaternion, **more)


def rough_drive(seconds=6.0, hz=10.0, seed=3):
    """Return a drive with turns, hills and banks at every sample."""
    random = np.random.default_rng(seed)
    count = round(seconds * hz) + 1
    positions = np.cumsum(random.normal((0.8, 0.1, 0.02), 0.05, (count, 3)), axis=0)
    angles = np.column_stack(
        (np.cumsum(random.normal(0, 0.05, count)), random.normal(0, 0.05, (count, 2)))
    )
    return trajectory(positions, Rotation.from_euler('ZYX', angles), hz)


@pytest.mark.parametrize('source', ['pose', 'odometry'])
def test_a_driver_that_replays_the_recording_gets_it(source):
    recorded = rough_drive()
    ego = DrivenEgo(recorded, T0, source=source)
    asked = []
    for row, t_ns in enumerate(recorded.times_ns.tolist()):
        pose = recorded.samples.positions[row], recorded.samples.quaternions[row]
        ego.put(TimedPose.checked(t_ns, *pose), halted=True)
        # A sensor's moments, one within each span and one at its end.
        asked += [moment for moment in (t_ns - 37_123_000, t_ns) if moment >= T0]
        ego.advance_to(t_ns)
    found, truth = ego.pose(np.array(asked)), recorded.pose(np.array(asked))
    np.testing.assert_allclose(found.position, truth.position, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.quaternion, truth.quaternion, rtol=0, atol=1e-12)
    for t_ns in asked[1:]:
        one, other = ego.velocity(t_ns), recorded.velocity(t_ns)
        if t_ns in recorded.times_ns:
            # At a sample the next segment was not known yet: it is the derivative before it.
            other = recorded.velocity(t_ns - 1)
        np.testing.assert_allclose(one.linear, other.linear, atol=1e-6)
        np.testing.assert_allclose(one.angular, other.angular, atol=1e-6)
    deviation = ego.deviation(ego.passed_ns)
    assert abs(deviation.lateral_m) < 1e-9
    assert abs(deviation.heading_deg) < 1e-5


def test_outside_of_the_poses_the_nearest_is_held():
    ego = DrivenEgo(straight(), T0, source='pose')
    # Of equal stamps the last one received counts.
    ego.put(timed(T0 + 100 * MS, x=1.0))
    ego.put(timed(T0 + 100 * MS, x=5.0))
    ego.put(timed(T0 + 200 * MS, x=7.0, yaw=0.2))
    ego.advance_to(T0 + 500 * MS)
    moments = [T0 + ms * MS for ms in (50, 100, 150, 200, 350)]
    np.testing.assert_allclose(ego.pose(moments).position[:, 0], (5.0, 5.0, 6.0, 7.0, 7.0))
    found = [(*one.linear, *one.angular) for one in map(ego.velocity, moments)]
    within = (20 * math.cos(0.1), -20 * math.sin(0.1), 0.0, 0.0, 0.0, 2.0)
    np.testing.assert_allclose(found[2], within, atol=1e-9)
    np.testing.assert_array_equal((found[0], found[4]), np.zeros((2, 6)))


def test_until_the_first_pose_that_of_the_take_over_is_held():
    recorded = rough_drive()
    for at_ns in (T0, T0 + 1_234 * MS, recorded.end_ns):
        ego = DrivenEgo(recorded, at_ns, source='pose')
        ego.advance_to(at_ns + SECOND)
        truth = recorded.pose(at_ns)
        for t_ns in (at_ns, at_ns + SECOND):
            np.testing.assert_array_equal(ego.pose(t_ns).position, truth.position)
            np.testing.assert_array_equal(ego.pose(t_ns).quaternion, truth.quaternion)
        for source in ('twist', 'ackermann'):
            found = DrivenEgo(recorded, at_ns, source=source).pose(at_ns)
            np.testing.assert_allclose(found.position, truth.position, atol=1e-9)
            np.testing.assert_allclose(found.quaternion, truth.quaternion, atol=1e-9)


def test_late_poses_touch_only_what_comes():
    ego = DrivenEgo(straight(), T0, source='pose')
    ego.put(timed(T0, x=0.0))
    ego.put(timed(T0 + 400 * MS, x=4.0))
    ego.advance_to(T0 + 200 * MS)
    asked = T0 + np.arange(0, 201, 20) * MS
    before = ego.pose(asked).position.copy()
    np.testing.assert_allclose(before[:, 0], np.arange(0, 201, 20) * 0.01)
    for late in (T0 + 100 * MS, T0 + 200 * MS, 0):
        assert not ego.put(timed(late, x=90.0), halted=False).shown
    np.testing.assert_array_equal(ego.pose(asked).position, before)
    ego.advance_to(T0 + 300 * MS)
    np.testing.assert_array_equal(ego.pose(asked).position, before)
    assert ego.pose(T0 + 300 * MS).position[0] == pytest.approx((90.0 + 4.0) / 2)


@pytest.mark.parametrize('stamp', [0, T0 + 200 * MS])
def test_a_pose_of_the_halted_position_shows_at_once(stamp):
    ego = DrivenEgo(straight(), T0, source='pose')
    ego.put(timed(T0, x=0.0))
    ego.advance_to(T0 + 200 * MS)
    for x in (3.0, 40.0, 2.0):
        assert ego.put(timed(stamp, x=x, y=1.0), halted=True).shown
        np.testing.assert_array_equal(ego.pose(T0 + 200 * MS).position, (x, 1.0, 0.0))
        # 10 m/s eastwards: one metre beside it on the left.
        assert ego.deviation(T0 + 200 * MS).lateral_m == pytest.approx(1.0)
    assert not ego.put(timed(T0 + 190 * MS, x=1.0), halted=True).shown
    np.testing.assert_array_equal(ego.pose(T0 + 200 * MS).position, (2.0, 1.0, 0.0))
    np.testing.assert_array_equal(ego.pose(T0 + 199 * MS).position, (0.0, 0.0, 0.0))


def test_the_twist_of_odometry_is_passed_on():
    ego = DrivenEgo(straight(), T0, source='odometry')
    ego.put(timed(T0, twist=(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)))
    ego.put(timed(T0 + 100 * MS, x=9.0, twist=(3.0, 2.0, 3.0, 4.0, 5.0, 0.0)))
    ego.advance_to(T0 + 200 * MS)
    found = ego.velocity(T0 + 50 * MS)
    np.testing.assert_allclose(found.linear, (2.0, 2.0, 3.0))
    np.testing.assert_allclose(found.angular, (4.0, 5.0, 3.0))
    np.testing.assert_array_equal(ego.velocity(T0 + 150 * MS).linear, np.zeros(3))


def test_a_take_over_leaves_what_was_recorded_before_it():
    recorded = rough_drive()
    ego = DrivenEgo(recorded, T0, command_timeout_ns=0)
    at_ns = T0 + 2_050 * MS
    ego.advance_to(at_ns)
    asked = np.arange(T0, at_ns + 1, 10 * MS)
    ego.change_source('twist', halted=False)
    ego.put(TwistCommand(0, 3.0, 0.5), halted=False)
    ego.advance_to(at_ns + SECOND)
    np.testing.assert_array_equal(ego.pose(asked).position, recorded.pose(asked).position)
    np.testing.assert_array_equal(ego.pose(asked).quaternion, recorded.pose(asked).quaternion)
    x, y, _ = ego.pose(at_ns + SECOND).position - recorded.pose(at_ns).position
    assert math.hypot(x, y) == pytest.approx(2 * 3.0 / 0.5 * math.sin(0.25), abs=1e-9)


def test_back_to_the_recording_it_jumps_and_says_how_far():
    recorded = straight(speed=10.0)
    ego = DrivenEgo(recorded, T0, source='twist')
    ego.put(TwistCommand(0, 4.0, 0.0), halted=True)
    ego.advance_to(T0 + SECOND // 4)
    drove = ego.pose(T0 + SECOND // 8).position
    assert ego.change_source('recorded', halted=True) == pytest.approx(2.5 - 1.0)
    np.testing.assert_allclose(ego.pose(T0 + SECOND // 4).position, (2.5, 0, 0), atol=1e-12)
    np.testing.assert_array_equal(ego.pose(T0 + SECOND // 8).position, drove)
    assert not ego.driven_path
    ego.advance_to(T0 + SECOND)
    assert ego.deviation(T0 + SECOND).lateral_m == 0.0
    # And away again: what was driven before stays, too.
    ego.change_source('ackermann', halted=False)
    ego.advance_to(T0 + 2 * SECOND)
    np.testing.assert_array_equal(ego.pose(T0 + SECOND // 8).position, drove)
    assert ego.driven_path[0].t_ns == T0 + SECOND
    # Another thought, and another, at one halted moment: it is the recorded pose once more.
    for source in ('recorded', 'twist', 'recorded', 'pose'):
        ego.change_source(source, halted=True)
        found = ego.pose(ego.passed_ns).position
        np.testing.assert_allclose(found, recorded.pose(ego.passed_ns).position, atol=1e-9)
    assert len(ego.driven_path) == 1


def test_a_change_between_sources_keeps_pose_and_speed():
    ego = DrivenEgo(straight(speed=10.0), T0, source='pose')
    for k in range(11):
        ego.put(timed(T0 + k * 100 * MS, x=0.6 * k, y=3.0))
    ego.advance_to(T0 + SECOND // 2)
    ego.change_source('ackermann', halted=False)
    ego.advance_to(T0 + SECOND * 3 // 4)
    np.testing.assert_allclose(
        ego.pose(ego.passed_ns).position, (3.0 + 6.0 / 4, 3.0, 0.0), atol=1e-9
    )
    ego.change_source('pose', halted=False)
    ego.advance_to(T0 + SECOND)
    np.testing.assert_allclose(ego.pose(ego.passed_ns).position, (4.5, 3.0, 0.0), atol=1e-9)


@pytest.mark.parametrize('source', ['pose', 'twist', 'ackermann'])
def test_jumps_put_it_on_the_recording_and_forget_inputs(source):
    recorded = level_circle()
    ego = DrivenEgo(recorded, T0, source=source, command_timeout_ns=0)
    ego.advance_to(T0 + SECOND)
    if source == 'pose':
        ego.put(timed(T0 + SECOND, x=500.0))
        ego.put(timed(T0 + 9 * SECOND, x=500.0))
    elif source == 'twist':
        ego.put(TwistCommand(0, 40.0, 0.0))
        ego.put(TwistCommand(T0 + SECOND + 900 * MS, 80.0, 0.0))
    ego.advance_to(T0 + SECOND + 500 * MS)
    for at_ns in (T0 + SECOND, T0 + 5 * SECOND, T0):
        ego.jump(at_ns)
        truth = recorded.pose(at_ns)
        np.testing.assert_allclose(ego.pose(at_ns).position, truth.position, atol=1e-9)
        assert ego.newest_ns is None
        assert len(ego.driven_path) == 1
        # An exposure that began before the jump uses the recording.
        early = at_ns - 20 * MS
        np.testing.assert_array_equal(ego.pose(early).position, recorded.pose(early).position)
        later = at_ns + SECOND
        ego.advance_to(later)
        truth = recorded.pose(at_ns if source == 'pose' else later)
        np.testing.assert_allclose(ego.pose(later).position, truth.position, atol=5e-3)


def test_the_poses_of_ten_seconds_are_kept():
    ego = DrivenEgo(straight(seconds=60.0), T0, source='pose')
    for k in range(300):
        ego.put(timed(T0 + k * 100 * MS, x=float(k)))
        ego.advance_to(T0 + k * 100 * MS)
    # Older than that, and what lies between it and the oldest one kept is not interpolated.
    with pytest.raises(InputError, match=r'more than 10 s before the position') as caught:
        ego.put(timed(T0 + 19_800 * MS, x=0.0))
    assert caught.value.reason == 'a stamp of long ago'
    assert not ego.put(timed(T0 + 20_000 * MS, x=-5.0)).shown
    with pytest.raises(InputError, match=r'more than 10 s beyond the end.*use_sim_time'):
        ego.put(timed(2_000_000_000 * SECOND))


def test_of_a_flood_of_poses_ten_thousand_are_kept():
    ego = DrivenEgo(straight(seconds=60.0), T0, source='pose')
    for k in range(12_000):
        ego.put(timed(T0 + (k + 1) * MS, x=float(k)))
    ego.advance_to(T0 + 12 * SECOND)
    found = ego.pose([T0 + 11_000 * MS, T0 + 12_000 * MS]).position[:, 0]
    np.testing.assert_array_equal(found, (10_999.0, 11_999.0))
    # The first two thousand are gone: the oldest one kept is held before its stamp.
    assert ego.pose(T0 + 100 * MS).position[0] == 2000.0


def test_a_mirrored_quaternion_goes_the_short_way():
    ego = DrivenEgo(straight(), T0, source='pose')
    a = Rotation.from_euler('Z', 0.1).as_quat()
    b = Rotation.from_euler('Z', 0.3).as_quat()
    ego.put(TimedPose.checked(T0, (0, 0, 0), a))
    ego.put(TimedPose.checked(T0 + 100 * MS, (0, 0, 0), -3.0 * b))
    ego.advance_to(T0 + 100 * MS)
    found = ego.pose(T0 + 50 * MS)
    assert isinstance(found, Pose)
    assert euler(found)[0] == pytest.approx(0.2, abs=1e-12)
    assert ego.velocity(T0 + 50 * MS).angular[2] == pytest.approx(2.0, abs=1e-9)


def test_a_pose_that_jumps_searches_the_whole_path():
    # There and back on lanes 6 m apart.
    there = np.column_stack((np.arange(0, 101.0), np.zeros(101)))
    turn = np.array([(100 + 3 * math.sin(a), 3 - 3 * math.cos(a)) for a in (0.5, 1.5, 2.5)])
    back = np.column_stack((np.arange(100, -1.0, -1), np.full(101, 6.0)))
    ego = DrivenEgo(by_heading(np.vstack((there, turn, back))), T0, source='pose')
    ego.put(timed(T0 + 10 * MS, x=2.0, y=1.0))
    ego.put(timed(T0 + 20 * MS, x=2.0, y=5.0, yaw=math.pi))
    ego.put(timed(T0 + 30 * MS, x=50.0, y=5.0, yaw=math.pi))
    ego.advance_to(T0 + 40 * MS)
    assert ego.deviation(T0 + 10 * MS).lateral_m == pytest.approx(1.0)
    # A slow move aside stays with the lane that it came from.
    assert ego.deviation(T0 + 20 * MS).lateral_m == pytest.approx(5.0)
    assert abs(ego.deviation(T0 + 20 * MS).heading_deg) == pytest.approx(180.0)
    found = ego.deviation(T0 + 30 * MS)
    assert found.lateral_m == pytest.approx(1.0)
    assert abs(found.heading_deg) < 1e-6
