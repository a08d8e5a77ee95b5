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
"""The ego's poses, velocities and inertial motion, beside scipy; its place on the ellipsoid."""

import math
from test.scenario.loading import interpolated

import numpy as np
from nurec_ros.scenario import Trajectory
from nurec_ros.scenario.localization import geo_origin, geodetic, GeoOrigin, InertialMotion
from nurec_ros.scenario.schema import fields
from nurec_ros.scenario.trajectory import PoseTable
import pytest
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation, RotationSpline

# Nanoseconds of the size of epochs: float64 no longer counts them one by one.
EPOCH_NS = 1_700_000_000_123_456_000


def trajectory(times_ns, positions, rotations):
    return Trajectory(PoseTable(np.asarray(times_ns), np.asarray(positions), rotations.as_quat()))


RANDOM = np.random.default_rng(1)
SAMPLED = EPOCH_NS + np.cumsum(RANDOM.integers(70_000, 130_000, 60)) * 1000
ROTATIONS = Rotation.from_quat(RANDOM.normal(size=(60, 4)))
POSITIONS = RANDOM.normal(0, 40, (60, 3))
EGO = trajectory(SAMPLED, POSITIONS, ROTATIONS)


def test_poses_equal_scipy():
    asked = np.random.default_rng(2).integers(SAMPLED[0], SAMPLED[-1] + 1, 2000)
    truth = interpolated(SAMPLED, POSITIONS, ROTATIONS, asked)
    np.testing.assert_allclose(EGO.at(asked), truth, atol=1e-9)
    # The samples are met exactly, and held outside.
    found = EGO.at([SAMPLED[0] - 1, *SAMPLED, SAMPLED[-1] + 1])
    np.testing.assert_array_equal(found[[0, -1]], found[[1, -2]])
    found = found[1:-1]
    np.testing.assert_array_equal(found[:, :3, 3], POSITIONS)
    np.testing.assert_allclose(found[:, :3, :3], ROTATIONS.as_matrix(), atol=1e-15)


def test_one_time_equals_many_as_matrix_and_as_pose():
    outside = [SAMPLED[0] - 10**9, SAMPLED[0] - 1, SAMPLED[-1] + 1, SAMPLED[-1] + 10**9]
    asked = np.random.default_rng(8).integers(SAMPLED[0], SAMPLED[-1] + 1, 60)
    asked = np.concatenate([asked, SAMPLED[::5], outside])
    many, matrices = EGO.pose(asked), EGO.at(asked)
    np.testing.assert_allclose(np.linalg.norm(many.quaternion, axis=1), 1.0, atol=1e-12)
    assert (many.quaternion[:, 3] >= 0).all()
    np.testing.assert_allclose(many.matrix, matrices, atol=1e-13)
    for i, t in enumerate(asked.tolist()):
        np.testing.assert_allclose(EGO.at(t), matrices[i], atol=1e-13)
        np.testing.assert_allclose(EGO.pose(t).position, matrices[i, :3, 3], atol=1e-13)
        np.testing.assert_allclose(EGO.pose(t).quaternion, many.quaternion[i], atol=1e-13)
    np.testing.assert_array_equal(EGO.pose(np.array(asked[3])).position, many.position[3])
    assert EGO.at(2**70)[0, 3] == POSITIONS[-1, 0]
    assert not EGO.velocity(-(2**70)).linear.any()


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


def test_one_sample_times_beyond_int64_and_none_at_all():
    ego = trajectory([5000], [[1.0, 2.0, 3.0]], Rotation.from_rotvec([[0, 0, 1]]))
    for t in (0, 5000, 10_000):
        np.testing.assert_array_equal(ego.at(t)[:3, 3], [1, 2, 3])
    assert not ego.velocity(5000).linear.any()
    assert not ego.velocity(5000).angular.any()
    assert (ego.start_ns, ego.end_ns, len(ego)) == (5000, 5000, 1)
    ego = trajectory([0, 10], [[0, 0, 0], [10, 0, 0]], Rotation.identity(2))
    assert ego.at(np.array([2**64 - 1], dtype=np.uint64))[0, 0, 3] == 10
    assert ego.at(2**70)[0, 3] == 10
    assert ego.at(np.empty(0, int)).shape == (0, 4, 4)
    assert repr(ego) == 'Trajectory(2 poses from 0 to 10 ns)'
    assert repr(ego.samples) == 'PoseTable(2 poses)'
    with pytest.raises(ValueError, match='at least one'):
        Trajectory(PoseTable(np.empty(0, int), np.empty((0, 3)), np.empty((0, 4))))


def test_times_that_are_no_nanoseconds():
    for times, error, words in (
        (1.5, TypeError, 't_ns is 1.5, expected whole nanoseconds: an int or an array of ints'),
        (np.float64(2.0), TypeError, 'expected whole nanoseconds'),
        ([1.0, 2.0], TypeError, r't_ns is \[1.0, 2.0\], expected whole nanoseconds'),
        (np.ones(3), TypeError, 't_ns is an array of float64, expected whole nanoseconds'),
        ('now', TypeError, "t_ns is 'now', expected whole nanoseconds"),
        (None, TypeError, 't_ns is None, expected whole nanoseconds'),
        ([1, None], TypeError, 'expected whole nanoseconds'),
        ([1, [2, 3]], TypeError, 'expected whole nanoseconds'),
        ([[1, 2]], ValueError, r't_ns is an array of shape \(1, 2\), expected one time or times'),
    ):
        for ask in (EGO.at, EGO.pose):
            with pytest.raises(error, match=words):
                ask(times)
    for time in (1.5, [1, 2], None):
        with pytest.raises(TypeError, match='expected whole nanoseconds as one int'):
            EGO.velocity(time)


@pytest.mark.parametrize('kind', [np.int64, np.int32, np.uint8, np.uint64, int])
def test_integers_of_any_kind_are_times(kind):
    ego = trajectory([0, 10], [[0, 0, 0], [10, 0, 0]], Rotation.identity(2))
    assert ego.at(kind(4))[0, 3] == pytest.approx(4)
    assert ego.at(np.array(4, dtype=kind))[0, 3] == pytest.approx(4)
    np.testing.assert_allclose(ego.at(np.array([4, 7], dtype=kind))[:, 0, 3], [4, 7])
    assert ego.velocity(kind(4)).linear[0] == pytest.approx(1e9)


def test_velocity_is_the_derivative_in_the_rig_frame():
    middles = (SAMPLED[:-1] + SAMPLED[1:]) // 2
    step = 1000
    before, after = EGO.at(middles - step), EGO.at(middles + step)
    here = EGO.at(middles)
    seconds = 2 * step * 1e-9
    in_map = (after[:, :3, 3] - before[:, :3, 3]) / seconds
    twists = list(map(EGO.velocity, middles))
    linear, angular = ([getattr(one, name) for one in twists] for name in ('linear', 'angular'))
    in_rig = np.einsum('nji,nj->ni', here[:, :3, :3], in_map)
    np.testing.assert_allclose(linear, in_rig, rtol=1e-6, atol=1e-6)
    turned = Rotation.from_matrix(before[:, :3, :3]).inv() * Rotation.from_matrix(after[:, :3, :3])
    np.testing.assert_allclose(angular, turned.as_rotvec() / seconds, rtol=1e-6, atol=1e-5)


def test_velocity_at_samples_is_that_of_what_follows():
    seconds, way = np.array([0, 1, 3]), [[0, 0, 0], [1, 0, 0], [1, 4, 0]]
    ego = trajectory(seconds * 1_000_000_000, way, Rotation.identity(3))
    asked = [-1, 0, 999_999_999, 1_000_000_000, 3_000_000_000, 3_000_000_001]
    forward, left, none = [1, 0, 0], [0, 2, 0], [0, 0, 0]
    expected = [none, forward, forward, left, left, none]
    np.testing.assert_allclose([ego.velocity(t).linear for t in asked], expected)


def test_what_it_was_made_of_may_change():
    times, positions = np.arange(1, 3), np.ones((2, 3))
    ego = trajectory(times, positions, Rotation.identity(2))
    positions[:] = times[:] = 0
    assert ego.positions.all()
    assert ego.times_ns.all()


def test_orthonormalised_is_the_polar_factor_and_determinants():
    noise = np.random.default_rng(3).uniform(-3e-4, 3e-4, (60, 3, 3))
    matrices = ROTATIONS.as_matrix() + noise
    u, _, v = np.linalg.svd(matrices)
    found = fields.orthonormalised(matrices)
    np.testing.assert_allclose(found, u @ v, atol=1e-14)
    assert fields.orthonormality_error(found).max() < 1e-14
    np.testing.assert_array_equal(fields.orthonormalised(np.eye(3)[np.newaxis]), [np.eye(3)])
    matrices = np.random.default_rng(6).normal(0, 2, (200, 3, 3))
    np.testing.assert_allclose(fields.determinants(matrices), np.linalg.det(matrices))


# NumPy's; others may come of what an earlier test left to the garbage collector.
@pytest.mark.filterwarnings('error::RuntimeWarning')
def test_error_of_a_matrix_with_tiny_entries():
    tiny = np.eye(3)
    tiny[0] = [5e-324, 0.0, 1.0]
    assert fields.orthonormality_error(tiny[np.newaxis])[0] >= 1.0


TMERC = '+proj=tmerc +lat_0=59.35 +lon_0=17.96 +k=1 '
# Latitude and longitude in degrees, ellipsoidal height in metres, and the ECEF position.
PLACES = [
    (59.35, 17.96, 23.5, (3100787.7174247676, 1005114.2477972183, 5463935.220180107)),
    (40.44, -80.0, 250.0, (844164.5219783412, -4787494.906262039, 4115453.4908792274)),
    (25.76, -80.19, -12.25, (979338.6377045221, -5663872.068407574, 2755134.53542324)),
    (0.0, 0.0, 20.0, (6378157.0, 0.0, 0.0)),
    (-45.0, 180.0, 1000.0, (-4518297.985630118, 5.533319165695858e-10, -4488055.515647106)),
    (35.7, 139.7, 3776.0, (-3957150.498651565, 3355907.671600569, 3703414.38751761)),
    (-16.5, -68.15, 4150.0, (2278143.8807119504, -5681382.23985696, -1801026.6728918843)),
    (78.2, 15.6, 0.0, (1260305.2018351827, 351883.53501408896, 6221540.87178922)),
    (90.0, 0.0, 5.0, (3.9186239864314697e-10, 0.0, 6356757.314245179)),
]


@pytest.mark.parametrize(('latitude', 'longitude', 'height', 'ecef'), PLACES)
def test_places(latitude, longitude, height, ecef):
    found = geodetic(*ecef)
    # 1e-9 deg are 0.1 mm.
    assert found[:2] == pytest.approx((latitude, longitude), abs=1e-9)
    assert found[2] == pytest.approx(height, abs=1e-4)


def test_origins_of_proj_strings():
    for proj, origin in (
        *(
            (f'{TMERC}{zero}', GeoOrigin(59.35, 17.96, 0.0))
            for zero in ('', '+alt_0=0', '+=alt_0=0')
        ),
        (f'{TMERC}+alt_0=-3.25e1', GeoOrigin(59.35, 17.96, -32.5)),
        *((proj, None) for proj in ('', '+proj=utm +zone=32', '+lat_0=91 +lon_0=0', '+lat_0=1')),
        ('+lat_0=-+ +lon_0=0', None),
        ('+lat_0=1e999 +lon_0=0', None),
        ('+lat_0=1 +lon_0=361', None),
        ('+lat_0=1 +lon_0=2 +alt_0=1e300', None),
    ):
        assert geo_origin(proj) == origin


G = 9.80665
BEGIN_NS = 27_500_000_000_000


def drive_of(seconds, positions, rotations):
    return trajectory(BEGIN_NS + np.rint(seconds * 1e9).astype(int), positions, rotations)


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
    found = InertialMotion(drive_of(*drive)).at(BEGIN_NS + round(t * 1e9))
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
    ego = drive_of(0.1 * np.arange(poses), np.zeros((poses, 3)), slope)
    found = InertialMotion(ego).at(BEGIN_NS + 50_000_000)
    # Uphill: the nose points up, and what holds the car pushes forwards.
    expected = (G * math.sin(0.1), 0.0, G * math.cos(0.1))
    np.testing.assert_allclose(found.acceleration, expected, atol=1e-9)
    np.testing.assert_allclose(found.angular_velocity, np.zeros(3), atol=1e-12)


def test_outside_of_the_poses_the_ego_stands(drive):
    motion = InertialMotion(drive_of(*drive))
    assert motion.at(BEGIN_NS).angular_velocity.any()
    for t_ns in (BEGIN_NS - 1, BEGIN_NS + 10_000_000_000):
        found = motion.at(t_ns)
        assert np.linalg.norm(found.acceleration) == pytest.approx(G)
        np.testing.assert_array_equal(found.angular_velocity, np.zeros(3))
