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
from nurec_ros.scenario import rotations
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


@pytest.mark.parametrize('name', SETS)
def test_matrix_of_a_quaternion(name):
    quaternions = SETS[name].as_quat()
    positions = np.random.default_rng(2).normal(0, 50, (len(quaternions), 3))
    transforms = rotations.transforms(positions, quaternions)
    np.testing.assert_allclose(transforms[:, :3, :3], SETS[name].as_matrix(), atol=1e-15)
    np.testing.assert_array_equal(transforms[:, :3, 3], positions)
    np.testing.assert_array_equal(transforms[:, 3], np.tile([0, 0, 0, 1], (len(positions), 1)))


@pytest.mark.parametrize('name', SETS)
def test_matrix_of_one_quaternion(name):
    for quaternion, matrix in zip(SETS[name].as_quat(), SETS[name].as_matrix(), strict=True):
        found = rotations.rows_of(tuple(quaternion.tolist()))
        np.testing.assert_allclose(np.reshape(found, (3, 3)), matrix, atol=1e-15)


@pytest.mark.parametrize('name', SETS)
def test_quaternion_of_a_matrix(name):
    quaternions = rotations.quaternions_of(SETS[name].as_matrix())
    assert np.abs(np.linalg.norm(quaternions, axis=1) - 1).max() < 1e-15
    back = Rotation.from_quat(quaternions)
    assert (back.inv() * SETS[name]).magnitude().max() < 1e-14


def test_orthonormalised_is_the_polar_factor():
    noise = np.random.default_rng(3).uniform(-3e-4, 3e-4, (500, 3, 3))
    matrices = RANDOM.as_matrix() + noise
    u, _, v = np.linalg.svd(matrices)
    found = rotations.orthonormalised(matrices)
    np.testing.assert_allclose(found, u @ v, atol=1e-14)
    assert rotations.orthonormality_error(found).max() < 1e-14


def test_orthonormalised_leaves_an_exact_rotation_alone():
    exact = np.eye(3)[np.newaxis]
    np.testing.assert_array_equal(rotations.orthonormalised(exact), exact)


def test_error_of_a_mirror_is_large():
    mirror = np.diag([1.0, 1.0, -1.0])[np.newaxis]
    assert rotations.orthonormality_error(mirror)[0] >= 2.0
    assert rotations.orthonormality_error(np.zeros((1, 3, 3)))[0] >= 1.0


def test_determinants():
    matrices = np.random.default_rng(6).normal(0, 2, (200, 3, 3))
    np.testing.assert_allclose(rotations.determinants(matrices), np.linalg.det(matrices))


# NumPy's; others may come of what an earlier test left to the garbage collector.
@pytest.mark.filterwarnings('error::RuntimeWarning')
def test_error_of_a_matrix_with_tiny_entries():
    tiny = np.eye(3)
    tiny[0] = [5e-324, 0.0, 1.0]
    assert rotations.orthonormality_error(tiny[np.newaxis])[0] >= 1.0


def test_continuous_keeps_the_rotations_and_takes_the_short_way():
    signs = np.where(np.random.default_rng(4).random(500) < 0.5, -1.0, 1.0)
    quaternions = RANDOM.as_quat() * signs[:, np.newaxis]
    found = rotations.continuous(quaternions)
    assert (np.einsum('ij,ij->i', found[1:], found[:-1]) >= 0).all()
    np.testing.assert_allclose(np.abs(found), np.abs(quaternions))


@pytest.mark.parametrize('angle', [0.0, 1e-12, 1e-7, 0.3, 2.0, np.pi - 1e-9, np.pi])
def test_half_angle(angle):
    ends = Rotation.from_rotvec([[0, 0, 0], [0, 0.6 * angle, 0.8 * angle]]).as_quat()
    found = rotations.half_angles(rotations.continuous(ends))
    assert found[0] == pytest.approx(angle / 2, rel=1e-12, abs=1e-16)
    assert found[1] == 0.0


def test_rotation_vectors():
    start, end = RANDOM[:-1], RANDOM[1:]
    found = rotations.rotation_vectors(start.as_quat(), -end.as_quat())
    np.testing.assert_allclose(found, (start.inv() * end).as_rotvec(), atol=1e-13)


def test_rotation_vectors_of_tiny_turns():
    vectors = np.array([[0, 0, 0], [1e-200, 0, 0], [0, 1e-9, 0], [3e-5, -1e-5, 2e-5]])
    start = np.tile([0.0, 0.0, 0.0, 1.0], (4, 1))
    end = np.hstack([vectors / 2, np.ones((4, 1))])
    np.testing.assert_allclose(rotations.rotation_vectors(start, end), vectors, rtol=1e-9)
