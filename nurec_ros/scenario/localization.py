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
from numpy.typing import NDArray
from nurec_ros.poses import rotation_rows
from nurec_ros.scenario.trajectory import Trajectory

if TYPE_CHECKING:
    from scipy.interpolate import CubicSpline
    from scipy.spatial.transform import RotationSpline

Array = NDArray[np.float64]

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
        return Inertial(
            np.asarray(rotation.as_quat(), dtype=np.float64),
            np.asarray(rotations(seconds, 1), dtype=np.float64),
            np.asarray(
                rotation.inv().apply(positions(seconds, 2) + (0.0, 0.0, GRAVITY)),
                dtype=np.float64,
            ),
        )


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
    """
    Return latitude and longitude (deg) and ellipsoidal height (m) of an ECEF position near Earth.

    Heikkinen's closed form (Zeitschrift fuer Vermessungswesen 107, 1982), as in J. Zhu,
    "Conversion of Earth-centered Earth-fixed coordinates to geodetic coordinates", IEEE
    Transactions on Aerospace and Electronic Systems 30(3), 1994.
    """
    a, e2 = SEMI_MAJOR_M, FLATTENING * (2.0 - FLATTENING)
    b = a * (1.0 - FLATTENING)
    r = math.hypot(x, y)
    f = 54.0 * b * b * z * z
    g = r * r + (1.0 - e2) * z * z - e2 * (a * a - b * b)
    c = e2 * e2 * f * r * r / g**3
    s = (1.0 + c + math.sqrt(c * (c + 2.0))) ** (1.0 / 3.0)
    p = f / (3.0 * (s + 1.0 / s + 1.0) ** 2 * g * g)
    q = math.sqrt(1.0 + 2.0 * e2 * e2 * p)
    inner = (
        0.5 * a * a * (1.0 + 1.0 / q) - p * (1.0 - e2) * z * z / (q * (1.0 + q)) - 0.5 * p * r * r
    )
    # Rounding leaves a little less than nothing at the poles.
    r0 = -p * e2 * r / (1.0 + q) + math.sqrt(max(inner, 0.0))
    u = math.hypot(r - e2 * r0, z)
    v = math.sqrt((r - e2 * r0) ** 2 + (1.0 - e2) * z * z)
    height = u * (1.0 - b * b / (a * v))
    z0 = b * b * z / (a * v)
    latitude = math.atan2(z + e2 / (1.0 - e2) * z0, r)
    return math.degrees(latitude), math.degrees(math.atan2(y, x)), height


def geo_origin(proj: str) -> GeoOrigin | None:
    try:
        values = {key: float(text) for key, text in _PROJ.findall(proj)}
    except ValueError:
        return None
    if not {'lat_0', 'lon_0'} <= values.keys() or not all(map(math.isfinite, values.values())):
        return None
    if abs(values['lat_0']) > 90.0 or abs(values['lon_0']) > 360.0:
        return None
    if max(abs(values.get(key, 0.0)) for key in ('alt_0', 'x_0', 'y_0')) > 1e8:
        return None
    return GeoOrigin(
        values['lat_0'],
        values['lon_0'],
        values.get('alt_0', 0.0),
        values.get('x_0', 0.0),
        values.get('y_0', 0.0),
    )


def enu_of_earth(origin: GeoOrigin) -> Array:
    """Return T_enu_earth (4, 4): ECEF (WGS 84) to east, north, up about the origin."""
    latitude, longitude = math.radians(origin.latitude), math.radians(origin.longitude)
    sin_lat, cos_lat = math.sin(latitude), math.cos(latitude)
    sin_lon, cos_lon = math.sin(longitude), math.cos(longitude)
    eccentricity2 = FLATTENING * (2.0 - FLATTENING)
    normal = SEMI_MAJOR_M / math.sqrt(1.0 - eccentricity2 * sin_lat**2)
    centre = np.array(
        [
            (normal + origin.altitude) * cos_lat * cos_lon,
            (normal + origin.altitude) * cos_lat * sin_lon,
            (normal * (1.0 - eccentricity2) + origin.altitude) * sin_lat,
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
