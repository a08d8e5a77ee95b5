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
"""Quaternions and matrices beside scipy's."""

import numpy as np
from nurec_ros import poses
from nurec_ros.poses import Pose
import pytest
from scipy.spatial.transform import Rotation

RANDOM = Rotation.from_quat(np.random.default_rng(1).normal(size=(500, 4)))
HALF_TURNS = Rotation.from_rotvec(np.pi * np.vstack([np.eye(3), -np.eye(3), [[0.6, 0, 0.8]]]))
NEAR_HALF_TURNS = HALF_TURNS * Rotation.from_rotvec(np.tile([1e-9, 2e-9, -1e-9], (7, 1)))
TINY = Rotation.from_rotvec([[0, 0, 0], [1e-12, 0, 0], [0, 1e-8, 0], [1e-5, 1e-5, 1e-5]])
MANY = Rotation.from_quat(np.random.default_rng(5).normal(size=(3000, 4)))
SETS = {
    'random': RANDOM,
    'many': MANY,
    'half turns': HALF_TURNS,
    'near': NEAR_HALF_TURNS,
    'tiny': TINY,
}


def upright(rotations):
    quaternions = rotations.as_quat()
    return quaternions * np.where(quaternions[:, 3:] < 0, -1.0, 1.0)


@pytest.mark.parametrize('name', SETS)
def test_matrices_of_poses(name):
    quaternions = SETS[name].as_quat()
    positions = np.random.default_rng(2).normal(0, 50, (len(quaternions), 3))
    pose = Pose(positions, quaternions)
    assert pose.matrix.shape == (len(quaternions), 4, 4)
    np.testing.assert_allclose(pose.matrix[:, :3, :3], SETS[name].as_matrix(), atol=1e-15)
    np.testing.assert_array_equal(pose.matrix[:, :3, 3], positions)
    np.testing.assert_array_equal(pose.matrix[:, 3], np.tile([0, 0, 0, 1], (len(positions), 1)))
    for index in range(min(len(quaternions), 20)):
        one = Pose(positions[index], quaternions[index]).matrix
        np.testing.assert_allclose(one, pose.matrix[index], atol=1e-15)


@pytest.mark.parametrize('name', SETS)
def test_pose_of_matrices(name):
    transforms = np.tile(np.eye(4), (len(SETS[name]), 1, 1))
    transforms[:, :3, :3] = SETS[name].as_matrix()
    transforms[:, :3, 3] = np.random.default_rng(2).normal(0, 50, (len(transforms), 3))
    pose = Pose.from_matrix(transforms)
    np.testing.assert_array_equal(pose.position, transforms[:, :3, 3])
    assert np.abs(np.linalg.norm(pose.quaternion, axis=1) - 1).max() < 1e-15
    assert (pose.quaternion[:, 3] >= 0).all()
    assert (Rotation.from_quat(pose.quaternion).inv() * SETS[name]).magnitude().max() < 1e-14
    for index in range(min(len(transforms), 20)):
        one = Pose.from_matrix(transforms[index])
        np.testing.assert_allclose(one.quaternion, pose.quaternion[index], atol=1e-15)
        np.testing.assert_array_equal(one.position, transforms[index, :3, 3])


def test_any_leading_dimensions():
    pose = Pose(np.zeros((2, 3, 3)), RANDOM[:6].as_quat().reshape(2, 3, 4))
    assert pose.matrix.shape == (2, 3, 4, 4)
    back = Pose.from_matrix(pose.matrix)
    np.testing.assert_allclose(back.quaternion.reshape(6, 4), upright(RANDOM[:6]), atol=1e-14)
    assert Pose(np.empty((0, 3)), np.empty((0, 4))).matrix.shape == (0, 4, 4)
    assert Pose.from_matrix(np.empty((0, 4, 4))).quaternion.shape == (0, 4)


def test_quaternions_of_float32_matrices_are_unit():
    found = poses.quaternions_of(RANDOM.as_matrix().astype(np.float32))
    assert found.dtype == np.float64
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-15)


@pytest.mark.parametrize('axis', [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, -1, 2)])
@pytest.mark.parametrize('angle', [0.0, 1e-9, 1e-4, np.pi - 1e-7, np.pi, np.pi + 1e-7])
def test_one_quaternion_is_exact_near_no_and_half_a_turn(axis, angle):
    truth = Rotation.from_rotvec(angle * np.array(axis) / np.linalg.norm(axis))
    found = poses.quaternion_of(truth.as_matrix())
    assert all(type(value) is float for value in found)
    assert found[3] >= 0
    assert abs(np.linalg.norm(found) - 1) < 1e-15
    assert (Rotation.from_quat(found).inv() * truth).magnitude() < 1e-9
    # A row of a path and a transform must not differ by a sign.
    np.testing.assert_allclose(found, poses.quaternions_of(truth.as_matrix()), atol=1e-15)


def test_continuous_keeps_the_rotations_and_takes_the_short_way():
    signs = np.where(np.random.default_rng(4).random(500) < 0.5, -1.0, 1.0)
    quaternions = RANDOM.as_quat() * signs[:, np.newaxis]
    found = poses.continuous(quaternions)
    assert (np.einsum('ij,ij->i', found[1:], found[:-1]) >= 0).all()
    np.testing.assert_allclose(np.abs(found), np.abs(quaternions))


@pytest.mark.parametrize('angle', [0.0, 1e-12, 1e-7, 0.3, 2.0, np.pi - 1e-9, np.pi])
def test_half_angle(angle):
    ends = Rotation.from_rotvec([[0, 0, 0], [0, 0.6 * angle, 0.8 * angle]]).as_quat()
    found = poses.half_angles(poses.continuous(ends))
    assert found[0] == pytest.approx(angle / 2, rel=1e-12, abs=1e-16)
    assert found[1] == 0.0


def test_rotation_vectors():
    start, end = RANDOM[:-1], RANDOM[1:]
    found = poses.rotation_vectors(start.as_quat(), -end.as_quat())
    np.testing.assert_allclose(found, (start.inv() * end).as_rotvec(), atol=1e-13)


def test_rotation_vectors_of_tiny_turns():
    vectors = np.array([[0, 0, 0], [1e-200, 0, 0], [0, 1e-9, 0], [3e-5, -1e-5, 2e-5]])
    start = np.tile([0.0, 0.0, 0.0, 1.0], (4, 1))
    end = np.hstack([vectors / 2, np.ones((4, 1))])
    np.testing.assert_allclose(poses.rotation_vectors(start, end), vectors, rtol=1e-9)
