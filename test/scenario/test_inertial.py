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
"""What an inertial sensor measures, against closed forms and scipy's splines."""

import math

import numpy as np
from nurec_ros.scenario import Trajectory
from nurec_ros.scenario.inertial import InertialMotion
from nurec_ros.scenario.trajectory import PoseTable
import pytest
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation, RotationSpline

G = 9.80665
BEGIN_NS = 27_500_000_000_000


def trajectory(seconds, positions, rotations):
    times_ns = BEGIN_NS + np.rint(np.asarray(seconds) * 1e9).astype(np.int64)
    return Trajectory(PoseTable(times_ns, np.asarray(positions, float), rotations.as_quat()))


def test_a_circle_by_its_closed_form():
    """10 m/s on a radius of 50 m: 0.2 rad/s, and 2 m/s^2 to the left."""
    seconds = np.arange(0.0, 10.05, 0.1)
    yaw = 0.2 * seconds
    positions = np.stack([50 * np.sin(yaw), 50 * (1 - np.cos(yaw)), 0 * yaw], axis=1)
    motion = InertialMotion(trajectory(seconds, positions, Rotation.from_euler('z', yaw[:, None])))
    for t in (3.0, 3.333, 6.05):
        found = motion.at(BEGIN_NS + round(t * 1e9))
        np.testing.assert_allclose(found.angular_velocity, (0.0, 0.0, 0.2), atol=1e-4)
        np.testing.assert_allclose(found.acceleration, (0.0, 2.0, G), atol=1e-3)
        turned = Rotation.from_quat(found.quaternion).as_euler('ZYX')
        np.testing.assert_allclose(turned, (0.2 * t, 0.0, 0.0), atol=1e-6)


@pytest.fixture(scope='module')
def drive():
    """Return a drive that turns about all axes, at times that jitter, and its samples."""
    seconds = np.arange(0.0, 4.05, 0.1) + 0.003 * np.sin(7.0 * np.arange(41))
    seconds[0] = 0.0
    positions = np.stack([8 * seconds, 2 * np.sin(seconds), 0.3 * np.cos(2 * seconds)], axis=1)
    angles = np.stack([0.5 * seconds, 0.1 * np.sin(seconds), 0.05 * np.cos(3 * seconds)], axis=1)
    return np.rint(seconds * 1e9) / 1e9, positions, Rotation.from_euler('ZYX', angles)


@pytest.mark.parametrize('t', [0.5, 1.2345, 2.0, 3.7])
def test_scipys_splines(drive, t):
    seconds, positions, rotations = drive
    found = InertialMotion(trajectory(*drive)).at(BEGIN_NS + round(t * 1e9))
    spline, turning = CubicSpline(seconds, positions), RotationSpline(seconds, rotations)
    # By differences: neither the derivatives' order nor their frame is taken from the code.
    step = 1e-3
    before, here, after = (spline(t + k * step) for k in (-1, 0, 1))
    acceleration = (before - 2 * here + after) / step**2
    R = turning(t).as_matrix()
    np.testing.assert_allclose(Rotation.from_quat(found.quaternion).as_matrix(), R, atol=1e-9)
    np.testing.assert_allclose(
        found.acceleration, R.T @ (acceleration + np.array([0.0, 0.0, G])), atol=1e-4
    )
    angular = (turning(t - step).inv() * turning(t + step)).as_rotvec() / (2 * step)
    np.testing.assert_allclose(found.angular_velocity, angular, atol=1e-5)


@pytest.mark.parametrize('poses', [1, 2, 3, 10])
def test_who_stands_on_a_slope_feels_gravity_alone(poses):
    slope = Rotation.from_euler('y', np.full((poses, 1), -0.1))
    ego = trajectory(0.1 * np.arange(poses), np.zeros((poses, 3)), slope)
    found = InertialMotion(ego).at(BEGIN_NS + 50_000_000)
    # Uphill: the nose points up, and what holds the car pushes forwards.
    expected = (G * math.sin(0.1), 0.0, G * math.cos(0.1))
    np.testing.assert_allclose(found.acceleration, expected, atol=1e-9)
    np.testing.assert_allclose(found.angular_velocity, np.zeros(3), atol=1e-12)


def test_outside_of_the_poses_the_ego_stands(drive):
    motion = InertialMotion(trajectory(*drive))
    assert motion.at(BEGIN_NS).angular_velocity.any()
    for t_ns in (BEGIN_NS - 1, BEGIN_NS + 10_000_000_000):
        found = motion.at(t_ns)
        assert np.linalg.norm(found.acceleration) == pytest.approx(G)
        np.testing.assert_array_equal(found.angular_velocity, np.zeros(3))
