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
"""What an inertial sensor measures, beside scipy; places on the ellipsoid, proj strings."""

import math
from test.scenario.loading import ecef

import numpy as np
from nurec_ros.scenario import Trajectory
from nurec_ros.scenario.localization import (
    enu_of_earth,
    geo_origin,
    geodetic,
    GeoOrigin,
    InertialMotion,
)
from nurec_ros.scenario.trajectory import PoseTable
import pytest
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation, RotationSpline

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


@pytest.mark.parametrize('altitude', ['+alt_0=0', '+=alt_0=0', '+alt_0=-3.25e1', ''])
def test_both_spellings_of_the_altitude(altitude):
    origin = geo_origin('+proj=tmerc +lat_0=59.35 +lon_0=17.96 +k=1 ' + altitude)
    assert origin is not None
    assert (origin.latitude, origin.longitude) == (59.35, 17.96)
    assert origin.altitude == (-32.5 if '-3.25' in altitude else 0.0)


@pytest.mark.parametrize(
    'proj',
    [
        '',
        '+proj=utm +zone=32',
        '+lat_0=91 +lon_0=0',
        '+lat_0=1',
        '+lat_0=-+ +lon_0=0',
        '+lat_0=1e999 +lon_0=0',
        '+lat_0=1 +lon_0=361',
        '+lat_0=1 +lon_0=2 +alt_0=1e300',
    ],
)
def test_proj_strings_without_an_origin(proj):
    assert geo_origin(proj) is None


def test_enu_beside_small_moves_over_the_ellipsoid():
    latitude, longitude, altitude = (59.35, 17.96, 12.0)
    origin = GeoOrigin(latitude, longitude, altitude)
    T_enu_earth = enu_of_earth(origin)
    np.testing.assert_allclose(
        T_enu_earth @ [*ecef(latitude, longitude, altitude), 1], [0, 0, 0, 1], atol=1e-8
    )
    north = T_enu_earth @ [*ecef(latitude + 1e-5, longitude, altitude), 1]
    east = T_enu_earth @ [*ecef(latitude, longitude + 1e-5, altitude), 1]
    up = T_enu_earth @ [*ecef(latitude, longitude, altitude + 1), 1]
    np.testing.assert_allclose(north[:3], [0, 1.1139, 0], atol=1e-3)
    np.testing.assert_allclose(east[:3], [0.5687, 0, 0], atol=1e-3)
    np.testing.assert_allclose(up[:3], [0, 0, 1], atol=1e-8)


G = 9.80665
BEGIN_NS = 27_500_000_000_000


def drive_of(seconds, positions, rotations):
    times_ns = BEGIN_NS + np.rint(np.asarray(seconds) * 1e9).astype(np.int64)
    return Trajectory(PoseTable(times_ns, np.asarray(positions, float), rotations.as_quat()))


def test_a_circle_by_its_closed_form():
    """10 m/s on a radius of 50 m: 0.2 rad/s, and 2 m/s^2 to the left."""
    seconds = np.arange(0.0, 10.05, 0.1)
    yaw = 0.2 * seconds
    positions = np.stack([50 * np.sin(yaw), 50 * (1 - np.cos(yaw)), 0 * yaw], axis=1)
    motion = InertialMotion(drive_of(seconds, positions, Rotation.from_euler('z', yaw[:, None])))
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
