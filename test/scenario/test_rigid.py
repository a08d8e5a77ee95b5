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
"""Which tracks exist at a time, and where, beside scipy's Slerp."""

import numpy as np
from nurec_ros.scenario.schema import fields
import pytest
from scipy.spatial.transform import Rotation

RANDOM = Rotation.from_quat(np.random.default_rng(1).normal(size=(500, 4)))


def test_orthonormalised_is_the_polar_factor():
    noise = np.random.default_rng(3).uniform(-3e-4, 3e-4, (500, 3, 3))
    matrices = RANDOM.as_matrix() + noise
    u, _, v = np.linalg.svd(matrices)
    found = fields.orthonormalised(matrices)
    np.testing.assert_allclose(found, u @ v, atol=1e-14)
    assert fields.orthonormality_error(found).max() < 1e-14


def test_orthonormalised_leaves_an_exact_rotation_alone():
    exact = np.eye(3)[np.newaxis]
    np.testing.assert_array_equal(fields.orthonormalised(exact), exact)


def test_error_of_a_mirror_is_large():
    mirror = np.diag([1.0, 1.0, -1.0])[np.newaxis]
    assert fields.orthonormality_error(mirror)[0] >= 2.0
    assert fields.orthonormality_error(np.zeros((1, 3, 3)))[0] >= 1.0


def test_determinants():
    matrices = np.random.default_rng(6).normal(0, 2, (200, 3, 3))
    np.testing.assert_allclose(fields.determinants(matrices), np.linalg.det(matrices))


# NumPy's; others may come of what an earlier test left to the garbage collector.
@pytest.mark.filterwarnings('error::RuntimeWarning')
def test_error_of_a_matrix_with_tiny_entries():
    tiny = np.eye(3)
    tiny[0] = [5e-324, 0.0, 1.0]
    assert fields.orthonormality_error(tiny[np.newaxis])[0] >= 1.0
