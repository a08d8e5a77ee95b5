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
"""The ego's poses and velocities, beside scipy."""

import numpy as np
from nurec_ros.errors import ScenarioError
from nurec_ros.scenario import Trajectory
from nurec_ros.scenario.schema import fields
from nurec_ros.scenario.trajectory import PoseTable
import pytest
from scipy.spatial.transform import Rotation, Slerp

# Nanoseconds of the size of epochs: float64 no longer counts them one by one.
EPOCH_NS = 1_700_000_000_123_456_000


def trajectory(times_ns, positions, rotations):
    return Trajectory(PoseTable(np.array(times_ns), np.array(positions), rotations.as_quat()))


def random_trajectory(count=60, start_ns=EPOCH_NS, seed=1):
    random = np.random.default_rng(seed)
    times = start_ns + np.cumsum(random.integers(70_000, 130_000, count)) * 1000
    rotations = Rotation.from_quat(random.normal(size=(count, 4)))
    return times, random.normal(0, 40, (count, 3)), rotations


def truth(times, positions, rotations, asked):
    """Lerp and scipy's Slerp, on times from the first sample so that they are exact."""
    seconds, at = (times - times[0]) * 1e-9, (asked - times[0]) * 1e-9
    result = np.tile(np.eye(4), (len(asked), 1, 1))
    result[:, :3, :3] = Slerp(seconds, rotations)(at).as_matrix()
    for axis in range(3):
        result[:, axis, 3] = np.interp(at, seconds, positions[:, axis])
    return result


def test_poses_equal_scipy():
    times, positions, rotations = random_trajectory()
    ego = trajectory(times, positions, rotations)
    asked = np.random.default_rng(2).integers(times[0], times[-1] + 1, 2000)
    np.testing.assert_allclose(ego.at(asked), truth(times, positions, rotations, asked), atol=1e-9)


def test_one_time_equals_many():
    times, positions, rotations = random_trajectory()
    ego = trajectory(times, positions, rotations)
    outside = [times[0] - 10**9, times[0] - 1, times[-1] + 1, times[-1] + 10**9]
    asked = np.random.default_rng(8).integers(times[0], times[-1] + 1, 60)
    asked = np.concatenate([asked, times[::5], outside])
    twists = ego.velocity(asked)
    for t, pose, linear, angular in zip(
        asked.tolist(), ego.at(asked), twists.linear, twists.angular, strict=True
    ):
        np.testing.assert_allclose(ego.at(t), pose, atol=1e-13)
        np.testing.assert_allclose(ego.velocity(t).linear, linear, atol=1e-10)
        np.testing.assert_array_equal(ego.velocity(t).angular, angular)
    assert ego.at(2**70)[0, 3] == positions[-1, 0]
    assert not ego.velocity(-(2**70)).linear.any()


def test_pose_is_that_of_the_matrix():
    times, positions, rotations = random_trajectory()
    ego = trajectory(times, positions, rotations)
    asked = np.random.default_rng(9).integers(times[0] - 10**9, times[-1] + 10**9, 60)
    many, matrices = ego.pose(asked), ego.at(asked)
    assert (many.position.shape, many.quaternion.shape) == ((60, 3), (60, 4))
    np.testing.assert_allclose(np.linalg.norm(many.quaternion, axis=1), 1.0, atol=1e-12)
    assert (many.quaternion[:, 3] >= 0).all()
    np.testing.assert_allclose(many.matrix, matrices, atol=1e-13)
    for index, t in enumerate(asked.tolist()):
        one = ego.pose(t)
        np.testing.assert_allclose(one.position, matrices[index, :3, 3], atol=1e-13)
        np.testing.assert_allclose(one.quaternion, many.quaternion[index], atol=1e-13)
    np.testing.assert_array_equal(ego.pose(np.array(asked[3])).position, many.position[3])


def test_samples_are_met_exactly():
    times, positions, rotations = random_trajectory()
    ego = trajectory(times, positions, rotations)
    found = ego.at(times)
    np.testing.assert_array_equal(found[:, :3, 3], positions)
    np.testing.assert_allclose(found[:, :3, :3], rotations.as_matrix(), atol=1e-15)


@pytest.mark.parametrize('angle', [1e-12, 1e-9, 1e-6, 1e-3, 3.0, np.pi - 1e-7, np.pi - 1e-12])
def test_any_angle_between_two_samples(angle):
    axis = np.array([2.0, -1.0, 0.5]) / np.linalg.norm([2.0, -1.0, 0.5])
    first = Rotation.from_rotvec([0.3, -0.2, 1.1])
    rotations = Rotation.concatenate([first, first * Rotation.from_rotvec(angle * axis)])
    ego = trajectory([0, 1_000_000_000], np.zeros((2, 3)), rotations)
    asked = np.linspace(0, 1_000_000_000, 101).astype(int)
    expected = first * Rotation.from_rotvec(np.outer(asked * 1e-9 * angle, axis))
    np.testing.assert_allclose(ego.at(asked)[:, :3, :3], expected.as_matrix(), atol=1e-9)


def test_half_a_turn_goes_one_of_both_ways_at_an_even_rate():
    rotations = Rotation.from_rotvec([[0, 0, 0], [0, 0, np.pi]])
    ego = trajectory([0, 1_000_000_000], np.zeros((2, 3)), rotations)
    quarter = ego.at(500_000_000)[:3, :3]
    assert abs(quarter[1, 0]) == pytest.approx(1.0, abs=1e-12)
    assert quarter[2, 2] == pytest.approx(1.0, abs=1e-12)


def test_shortest_arc_whatever_the_signs_in_the_file():
    first = Rotation.from_rotvec([0, 0, 0.1]).as_quat()
    second = -Rotation.from_rotvec([0, 0, 0.3]).as_quat()
    ego = Trajectory(PoseTable(np.array([0, 1000]), np.zeros((2, 3)), np.array([first, second])))
    middle = Rotation.from_matrix(ego.at(500)[:3, :3])
    np.testing.assert_allclose(middle.as_rotvec(), [0, 0, 0.2], atol=1e-15)


def test_outside_is_clamped_or_refused():
    times, positions, rotations = random_trajectory(5)
    ego = trajectory(times, positions, rotations)
    before, after = int(times[0]) - 1, int(times[-1]) + 1
    np.testing.assert_array_equal(ego.at(before), ego.at(int(times[0])))
    np.testing.assert_allclose(ego.at(np.array([after, before]))[0], ego.at(int(times[-1])))
    for error in (ScenarioError, ValueError):
        with pytest.raises(error, match=str(after)):
            ego.at(np.array([times[1], after]), outside='raise')
    assert ego.at(times, outside='raise').shape == (5, 4, 4)
    with pytest.raises(ValueError, match='clamp'):
        ego.at(times, outside='wrap')


def test_one_sample():
    ego = trajectory([5000], [[1.0, 2.0, 3.0]], Rotation.from_rotvec([[0, 0, 1]]))
    for t in (0, 5000, 10_000):
        np.testing.assert_array_equal(ego.at(t)[:3, 3], [1, 2, 3])
    assert not ego.velocity(5000).linear.any()
    assert not ego.velocity(5000).angular.any()
    assert (ego.start_ns, ego.end_ns, len(ego)) == (5000, 5000, 1)


@pytest.mark.parametrize(
    ('times', 'error', 'words'),
    [
        (1.5, TypeError, 't_ns is 1.5, expected whole nanoseconds: an int or an array of ints'),
        (np.float64(2.0), TypeError, 'expected whole nanoseconds'),
        ([1.0, 2.0], TypeError, r't_ns is \[1.0, 2.0\], expected whole nanoseconds'),
        (np.ones(3), TypeError, 't_ns is an array of float64, expected whole nanoseconds'),
        ('now', TypeError, "t_ns is 'now', expected whole nanoseconds"),
        (None, TypeError, 't_ns is None, expected whole nanoseconds'),
        ([1, None], TypeError, 'expected whole nanoseconds'),
        ([1, [2, 3]], TypeError, 'expected whole nanoseconds'),
        ([[1, 2]], ValueError, r't_ns is an array of shape \(1, 2\), expected one time or times'),
    ],
)
def test_times_that_are_no_nanoseconds(times, error, words):
    ego = trajectory([0, 10], np.zeros((2, 3)), Rotation.identity(2))
    for ask in (ego.at, ego.pose, ego.velocity, lambda t: ego.at(t, outside='raise')):
        with pytest.raises(error, match=words):
            ask(times)


@pytest.mark.parametrize('kind', [np.int64, np.int32, np.uint8, np.uint64, int])
def test_integers_of_any_kind_are_times(kind):
    ego = trajectory([0, 10], [[0, 0, 0], [10, 0, 0]], Rotation.identity(2))
    assert ego.at(kind(4))[0, 3] == pytest.approx(4)
    assert ego.at(np.array(4, dtype=kind))[0, 3] == pytest.approx(4)
    np.testing.assert_allclose(ego.at(np.array([4, 7], dtype=kind))[:, 0, 3], [4, 7])
    assert ego.velocity(kind(4)).linear[0] == pytest.approx(1e9)
    assert ego.velocity(np.array([4, 7], dtype=kind)).linear.shape == (2, 3)


def test_times_beyond_int64_are_after_the_end_and_none_is_no_pose():
    ego = trajectory([0, 10], [[0, 0, 0], [10, 0, 0]], Rotation.identity(2))
    assert ego.at(np.array([2**64 - 1], dtype=np.uint64))[0, 0, 3] == 10
    assert ego.at(2**70)[0, 3] == 10
    assert ego.at(np.empty(0, int)).shape == (0, 4, 4)
    assert ego.velocity(np.empty(0, int)).linear.shape == (0, 3)
    assert repr(ego) == 'Trajectory(2 poses from 0 to 10 ns)'
    assert repr(ego.samples) == 'PoseTable(2 poses)'
    with pytest.raises(ValueError, match='at least one'):
        Trajectory(PoseTable(np.empty(0, int), np.empty((0, 3)), np.empty((0, 4))))


def test_velocity_is_the_derivative_in_the_rig_frame():
    times, positions, rotations = random_trajectory()
    ego = trajectory(times, positions, rotations)
    middles = (times[:-1] + times[1:]) // 2
    step = 1000
    before, after = ego.at(middles - step), ego.at(middles + step)
    here = ego.at(middles)
    seconds = 2 * step * 1e-9
    in_map = (after[:, :3, 3] - before[:, :3, 3]) / seconds
    twist = ego.velocity(middles)
    in_rig = np.einsum('nji,nj->ni', here[:, :3, :3], in_map)
    np.testing.assert_allclose(twist.linear, in_rig, rtol=1e-6, atol=1e-6)
    turned = Rotation.from_matrix(before[:, :3, :3]).inv() * Rotation.from_matrix(after[:, :3, :3])
    np.testing.assert_allclose(twist.angular, turned.as_rotvec() / seconds, rtol=1e-6, atol=1e-5)


def test_velocity_of_an_arc():
    # 8 m/s forward while turning left at 0.2 rad/s, sampled so finely that chords do not matter.
    seconds = np.arange(0, 2, 0.001)
    yaw = 0.2 * seconds
    positions = np.stack([40 * np.sin(yaw), 40 * (1 - np.cos(yaw)), 0 * yaw], axis=1)
    rotations = Rotation.from_rotvec(np.outer(yaw, [0, 0, 1]))
    ego = trajectory((seconds * 1e9).round().astype(int), positions, rotations)
    twist = ego.velocity(1_234_000_000)
    np.testing.assert_allclose(twist.linear, [8, 0, 0], atol=1e-3)
    np.testing.assert_allclose(twist.angular, [0, 0, 0.2], atol=1e-9)


def test_velocity_at_samples_is_that_of_what_follows():
    ego = trajectory(
        [0, 1_000_000_000, 3_000_000_000],
        [[0, 0, 0], [1, 0, 0], [1, 4, 0]],
        Rotation.identity(3),
    )
    np.testing.assert_allclose(ego.velocity(0).linear, [1, 0, 0])
    np.testing.assert_allclose(ego.velocity(999_999_999).linear, [1, 0, 0])
    np.testing.assert_allclose(ego.velocity(1_000_000_000).linear, [0, 2, 0])
    np.testing.assert_allclose(ego.velocity(3_000_000_000).linear, [0, 2, 0])
    assert not ego.velocity(3_000_000_001).linear.any()
    assert not ego.velocity(-1).linear.any()


def test_nothing_can_be_changed():
    times, positions, rotations = random_trajectory()
    ego = trajectory(times, positions, rotations)
    for array in (ego.times_ns, ego.positions, ego.quaternions):
        with pytest.raises(ValueError, match='read-only'):
            array[0] = 0
    positions[:] = 0
    times[:] = 0
    assert ego.positions.any()
    assert ego.times_ns.all()


RANDOM = Rotation.from_quat(np.random.default_rng(1).normal(size=(500, 4)))


def test_orthonormalised_is_the_polar_factor():
    noise = np.random.default_rng(3).uniform(-3e-4, 3e-4, (500, 3, 3))
    matrices = RANDOM.as_matrix() + noise
    u, _, v = np.linalg.svd(matrices)
    found = fields.orthonormalised(matrices)
    np.testing.assert_allclose(found, u @ v, atol=1e-14)
    assert fields.orthonormality_error(found).max() < 1e-14
    np.testing.assert_array_equal(fields.orthonormalised(np.eye(3)[np.newaxis]), [np.eye(3)])


def test_determinants():
    matrices = np.random.default_rng(6).normal(0, 2, (200, 3, 3))
    np.testing.assert_allclose(fields.determinants(matrices), np.linalg.det(matrices))


# NumPy's; others may come of what an earlier test left to the garbage collector.
@pytest.mark.filterwarnings('error::RuntimeWarning')
def test_error_of_a_matrix_with_tiny_entries():
    tiny = np.eye(3)
    tiny[0] = [5e-324, 0.0, 1.0]
    assert fields.orthonormality_error(tiny[np.newaxis])[0] >= 1.0
