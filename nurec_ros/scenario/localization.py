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
"""
What sensors for localization would measure along a drive: inertial motion, and places on Earth.

Poses are joined by a cubic spline and a rotation spline, both with continuous accelerations: along
the straight segments of `Trajectory` there would be none but at the samples. Places are on the
WGS-84 ellipsoid: ECEF, latitude and longitude, ENU, and what proj strings say of them.
"""

from __future__ import annotations

from dataclasses import dataclass
import math
import re
from typing import NamedTuple, TYPE_CHECKING

import numpy as np
from nurec_ros.poses import Array, rotation_rows
from nurec_ros.scenario.trajectory import Trajectory

if TYPE_CHECKING:
    from scipy.interpolate import CubicSpline
    from scipy.spatial.transform import RotationSpline

# The standard acceleration of gravity; map's z axis counts as up.
GRAVITY = 9.80665


class Inertial(NamedTuple):
    """Orientation x y z w in map; angular velocity and specific force in the rig's frame."""

    quaternion: Array
    angular_velocity: Array
    acceleration: Array


class InertialMotion:
    """The motion through the poses of a trajectory; outside of it the ego stands."""

    def __init__(self, ego: Trajectory) -> None:
        self._ego = ego
        self._positions: CubicSpline | None = None
        self._rotations: RotationSpline | None = None
        if len(ego) > 1:
            # Here, as their import takes longer than many a load, and few ask for an IMU.
            from scipy import interpolate
            from scipy.spatial import transform

            seconds = (ego.times_ns - ego.start_ns) * 1e-9
            self._positions = interpolate.CubicSpline(seconds, ego.positions)
            rotations = transform.Rotation.from_quat(ego.quaternions)
            self._rotations = transform.RotationSpline(seconds, rotations)

    def at(self, t_ns: int) -> Inertial:
        ego, positions, rotations = self._ego, self._positions, self._rotations
        inside = ego.start_ns <= t_ns <= ego.end_ns
        if positions is None or rotations is None or not inside:
            return measured(ego.pose(t_ns).quaternion, np.zeros(3), np.zeros(3))
        seconds = (t_ns - ego.start_ns) * 1e-9
        rotation = rotations(seconds)
        acceleration = rotation.inv().apply(positions(seconds, 2))
        return measured(rotation.as_quat(), rotations(seconds, 1), acceleration)


def measured(quaternion: Array, angular_velocity: Array, acceleration: Array) -> Inertial:
    """Return what is measured with an acceleration that is given in the rig's frame."""
    # map's z axis in the rig's frame.
    upwards = GRAVITY * np.array(rotation_rows(*quaternion.tolist())[6:])
    return Inertial(
        quaternion, angular_velocity, np.asarray(acceleration + upwards, dtype=np.float64)
    )


# NGA.STND.0036.
SEMI_MAJOR_M = 6_378_137.0
FLATTENING = 1.0 / 298.257223563
_ECCENTRICITY2 = FLATTENING * (2.0 - FLATTENING)

# '+=alt_0=0' stands in real files beside '+alt_0=0'.
_PROJ = re.compile(r'\+=?\s*(lat_0|lon_0|alt_0|x_0|y_0)\s*=\s*([-+0-9.eE]+)')


@dataclass(frozen=True, slots=True)
class GeoOrigin:
    """Where an ENU map has its origin: degrees, metres; and what its proj string adds to x, y."""

    latitude: float
    longitude: float
    altitude: float
    false_easting: float = 0.0
    false_northing: float = 0.0


def geodetic(x: float, y: float, z: float) -> tuple[float, float, float]:
    """Return latitude and longitude (deg) and ellipsoidal height (m) of a position near Earth."""
    across = math.hypot(x, y)
    latitude = math.atan2(z, across * (1.0 - _ECCENTRICITY2))
    # Each round is some 150 times as exact as the one before: the eccentricity squared.
    for _ in range(6):
        rise = _ECCENTRICITY2 * _prime_vertical(latitude) * math.sin(latitude)
        latitude = math.atan2(z + rise, across)
    at_surface = SEMI_MAJOR_M**2 / _prime_vertical(latitude)
    height = across * math.cos(latitude) + z * math.sin(latitude) - at_surface
    return math.degrees(latitude), math.degrees(math.atan2(y, x)), height


def _prime_vertical(latitude: float) -> float:
    """Return the ellipsoid's radius of curvature from east to west, metres."""
    return SEMI_MAJOR_M / math.sqrt(1.0 - _ECCENTRICITY2 * math.sin(latitude) ** 2)


def geo_origin(proj: str) -> GeoOrigin | None:
    """Return the origin that a proj string names, None where it names none that can be."""
    largest = {'lat_0': 90.0, 'lon_0': 360.0, 'alt_0': 1e8, 'x_0': 1e8, 'y_0': 1e8}
    try:
        given = {key: float(text) for key, text in _PROJ.findall(proj)}
    except ValueError:
        return None
    values = {'lat_0': math.nan, 'lon_0': math.nan, 'alt_0': 0.0, 'x_0': 0.0, 'y_0': 0.0, **given}
    if not all(abs(value) <= largest[key] for key, value in values.items()):
        return None
    return GeoOrigin(*values.values())


def enu_of_earth(origin: GeoOrigin) -> Array:
    """Return T_enu_earth (4, 4): ECEF (WGS 84) to east, north, up about the origin."""
    latitude, longitude = math.radians(origin.latitude), math.radians(origin.longitude)
    sin_lat, cos_lat = math.sin(latitude), math.cos(latitude)
    sin_lon, cos_lon = math.sin(longitude), math.cos(longitude)
    normal = _prime_vertical(latitude)
    centre = np.array(
        [
            (normal + origin.altitude) * cos_lat * cos_lon,
            (normal + origin.altitude) * cos_lat * sin_lon,
            (normal * (1.0 - _ECCENTRICITY2) + origin.altitude) * sin_lat,
        ]
    )
    result = np.eye(4)
    result[:3, :3] = [
        [-sin_lon, cos_lon, 0.0],
        [-sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat],
        [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat],
    ]
    result[:3, 3] = -result[:3, :3] @ centre
    return result
