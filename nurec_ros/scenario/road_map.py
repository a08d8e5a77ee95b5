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

from dataclasses import dataclass
import math

import numpy as np
from numpy.typing import NDArray
from nurec_ros.errors import shortened
from nurec_ros.scenario.geodesy import enu_of_earth, geo_origin
from nurec_ros.scenario.opendrive import OpenDriveError, parse_opendrive
from nurec_ros.scenario.schema.fields import Warn
from nurec_ros.scenario.trajectory import frozen

Array = NDArray[np.float64]

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
