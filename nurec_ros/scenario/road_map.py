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
"""map.xodr: the geo-reference, and the lane boundaries brought to the scenario's map frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import math
import re

import numpy as np
from numpy.typing import NDArray
from nurec_ros.errors import shortened
from nurec_ros.scenario.opendrive import OpenDriveError, parse_opendrive
from nurec_ros.scenario.trajectory import frozen

Array = NDArray[np.float64]
Warn = Callable[[str], None]

# WGS 84, NGA.STND.0036.
_SEMI_MAJOR = 6_378_137.0
_FLATTENING = 1.0 / 298.257223563

# '+=alt_0=0' stands in real files beside '+alt_0=0'.
_PROJ = re.compile(r'\+=?\s*(lat_0|lon_0|alt_0|x_0|y_0)\s*=\s*([-+0-9.eE]+)')
_LONGEST = 4096
# A map of other roads than those that are driven on is no map of the scenario, in metres.
_FARTHEST_FROM_WAY = 1000.0


@dataclass(frozen=True, slots=True, eq=False)
class RoadMap:
    """
    What the scenario's map says.

    geo_reference: the proj string as it stands, None where there is none; boundaries: lane
    boundaries as polylines (M, 3) in the scenario's map frame, metres, empty where they cannot be
    placed; kinds: what each of them is, one of `opendrive.KINDS`.
    """

    geo_reference: str | None
    boundaries: tuple[Array, ...]
    kinds: tuple[str, ...] = ()

    def __repr__(self) -> str:
        reference = self.geo_reference and shortened(self.geo_reference)
        return f'RoadMap({reference!r}, {len(self.boundaries)} boundaries)'


@dataclass(frozen=True, slots=True)
class GeoOrigin:
    """Where an ENU map has its origin: degrees, metres; and what its proj string adds to x, y."""

    latitude: float
    longitude: float
    altitude: float = 0.0
    false_easting: float = 0.0
    false_northing: float = 0.0


def parse_road_map(
    data: bytes, T_earth_map: Array | None, way: Array, warn: Warn
) -> RoadMap | None:
    """
    Return the map, with what can be had of it; None where the file is no OpenDRIVE.

    `way` (N, 3) is where the ego drives in the map frame, which roads must be near.

    The xodr's frame is ENU about its geo-reference, so that the boundaries get into the map frame
    by way of the Earth: T_enu_map = T_enu_earth T_earth_map. Never raises: `warn` is told.
    """
    try:
        xodr = parse_opendrive(data)
    except OpenDriveError as error:
        warn(f'{error}, so there is no road map')
        return None
    if len(xodr.geo_reference) > _LONGEST:
        warn('its geoReference is no proj string, so there is no road map')
        return None
    geo_reference = xodr.geo_reference or None
    origin = geo_origin(xodr.geo_reference)
    why = ''
    if origin is None:
        found = f"'{shortened(xodr.geo_reference)}'" if geo_reference else 'missing'
        why = f'its geoReference is {found}, expected +lat_0 and +lon_0'
    elif T_earth_map is None:
        why = 'the scenario has no T_world_base'
    elif xodr.offset:
        why = 'its header has an offset'
    if why or origin is None or T_earth_map is None:
        warn(f'{why}, so lane boundaries cannot be placed')
        return RoadMap(geo_reference, ())
    if xodr.broken:
        some = '1 road' if xodr.broken == 1 else f'{xodr.broken} roads'
        warn(f'{some} cannot be evaluated: left out')
    if xodr.cut:
        warn('it is larger than what is read, so it is cut off')
    T_map_enu = np.linalg.inv(enu_of_earth(origin) @ T_earth_map)
    shift = (origin.false_easting, origin.false_northing, 0.0)
    placed = []
    for line in xodr.boundaries:
        points = (line - shift) @ T_map_enu[:3, :3].T + T_map_enu[:3, 3]
        frozen(points)
        placed.append(points)
    distance = _distance(placed, way)
    if distance > _FARTHEST_FROM_WAY:
        warn(
            f'its nearest road is {distance / 1000.0:.4g} km from where the ego drives, expected '
            f'{_FARTHEST_FROM_WAY / 1000.0:g} km at most (T_world_base and the geoReference do '
            'not go together), so lane boundaries cannot be placed'
        )
        return RoadMap(geo_reference, ())
    return RoadMap(geo_reference, tuple(placed), tuple(xodr.kinds))


def _distance(lines: list[Array], way: Array) -> float:
    """Return the least distance of the lines' points from the box around the way, 0 of none."""
    if not lines:
        return 0.0
    low, high = way.min(axis=0), way.max(axis=0)
    nearest = math.inf
    for points in lines:
        beyond = np.maximum(np.maximum(low - points, points - high), 0.0)
        nearest = min(nearest, float(np.einsum('ij,ij->i', beyond, beyond).min()))
    return math.sqrt(nearest)


def geo_origin(proj: str) -> GeoOrigin | None:
    """Return the origin that a proj string names, None where it names none."""
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
    eccentricity2 = _FLATTENING * (2.0 - _FLATTENING)
    normal = _SEMI_MAJOR / math.sqrt(1.0 - eccentricity2 * sin_lat**2)
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
