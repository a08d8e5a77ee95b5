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
The street as OpenDRIVE 1.6 text, and where the map lies on Earth.

The map file's frame is east, north, up about its geoReference; the scenario's frame is that of the
ego's first pose. Both are tied by `T_world_base` (scenario to Earth-centred), as in NuRec's files.
"""

from __future__ import annotations

from dataclasses import dataclass
import math
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from nurec_ros.example.street import (
    BIKING,
    CROSSING,
    CROSSING_HALF_WIDTH,
    DRIVING,
    KERB,
    KERB_HEIGHT,
    PARKING,
    PAVEMENT,
    Road,
    SIDE_STREET_HALF_WIDTH,
    Street,
)

# WGS84: equatorial radius (m) and first eccentricity squared.
WGS84_A = 6378137.0
WGS84_E2 = 6.69437999014e-3

GEO_REFERENCE = (
    '+proj=tmerc +lat_0={latitude} +lon_0={longitude} +alt_0=0 +k=1 +x_0=0 +y_0=0 '
    '+datum=WGS84 +geoidgrids=egm96_15.gtx +vunits=m +units=m +no_defs'
)


@dataclass(frozen=True, slots=True)
class Site:
    """Where the drive begins: degrees, metres above the ellipsoid, heading (rad) north of east."""

    latitude: float
    longitude: float
    altitude: float
    heading: float


def earth_pose(site: Site) -> NDArray[np.float64]:
    """Return T_earth_map (4, 4): the scenario's frame in Earth-centred, Earth-fixed metres."""
    latitude, longitude = math.radians(site.latitude), math.radians(site.longitude)
    sin_lat, cos_lat = math.sin(latitude), math.cos(latitude)
    sin_lon, cos_lon = math.sin(longitude), math.cos(longitude)
    normal = WGS84_A / math.sqrt(1 - WGS84_E2 * sin_lat**2)
    east = np.array([-sin_lon, cos_lon, 0.0])
    north = np.array([-sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat])
    pose = np.eye(4)
    pose[:3, 0] = math.cos(site.heading) * east + math.sin(site.heading) * north
    pose[:3, 1] = math.cos(site.heading) * north - math.sin(site.heading) * east
    pose[:3, 2] = [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat]
    radius = (normal + site.altitude) * cos_lat
    pose[:3, 3] = [
        radius * cos_lon,
        radius * sin_lon,
        (normal * (1 - WGS84_E2) + site.altitude) * sin_lat,
    ]
    return pose


def road_map(street: Street, site: Site, name: str) -> str:
    """Return the text of `map.xodr`."""
    root = ElementTree.Element('OpenDRIVE')
    header = _add(root, 'header', revMajor=1, revMinor=6, name=name, version='1.0')
    reference = _add(header, 'geoReference')
    reference.text = GEO_REFERENCE.format(latitude=site.latitude, longitude=site.longitude)
    main = _road(root, 1, 'street', street.main, site)
    _lanes(main, _street_half(), _street_half())
    _crosswalk(main)
    side = _road(root, 2, 'side street', street.side, site)
    half = (('driving', SIDE_STREET_HALF_WIDTH), ('sidewalk', 2.0))
    _lanes(side, half, half)
    tram = _road(root, 3, 'tram', street.tram, site)
    _lanes(tram, (('tram', 1.4),), (('tram', 1.4),))
    ElementTree.indent(root, ' ')
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        + ElementTree.tostring(root, encoding='unicode')
        + '\n'
    )


def _street_half() -> tuple[tuple[str, float], ...]:
    return (
        ('driving', DRIVING),
        ('biking', BIKING),
        ('parking', PARKING),
        ('sidewalk', PAVEMENT),
    )


def _add(parent: ElementTree.Element, tag: str, **attributes: object) -> ElementTree.Element:
    text = {
        key: f'{value:.9g}' if isinstance(value, float) else str(value)
        for key, value in attributes.items()
    }
    return ElementTree.SubElement(parent, tag, text)


def _road(
    root: ElementTree.Element, number: int, name: str, road: Road, site: Site
) -> ElementTree.Element:
    """Add a road with its geometry and elevation, turned and lifted into the map file's frame."""
    element = _add(root, 'road', id=number, name=name, junction=-1, length=road.length, rule='RHT')
    kind = _add(element, 'type', s=0.0, type='town')
    _add(kind, 'speed', max=50, unit='km/h')
    plan = _add(element, 'planView')
    cos, sin = math.cos(site.heading), math.sin(site.heading)
    for (s, x, y, heading), segment in zip(road.starts(), road.segments, strict=True):
        geometry = _add(
            plan,
            'geometry',
            s=s,
            x=cos * x - sin * y,
            y=sin * x + cos * y,
            hdg=heading + site.heading,
            length=segment.length,
        )
        if segment.curvature:
            _add(geometry, 'arc', curvature=segment.curvature)
        else:
            _add(geometry, 'line')
    profile = _add(element, 'elevationProfile')
    for s, a, b, c, d in road.cubics():
        _add(profile, 'elevation', s=s, a=a + site.altitude, b=b, c=c, d=d)
    return element


def _lanes(
    road: ElementTree.Element,
    left: tuple[tuple[str, float], ...],
    right: tuple[tuple[str, float], ...],
) -> None:
    """Add one section of lanes, each given from the middle outwards."""
    section = _add(_add(road, 'lanes'), 'laneSection', s=0.0)
    sides = (('left', left, 1), ('right', right, -1))
    elements = {name: _side(name, lanes, sign) for name, lanes, sign in sides}
    centre = ElementTree.Element('center')
    lane = _add(centre, 'lane', id=0, type='none', level='false')
    _mark(lane, 'broken')
    section.extend([elements['left'], centre, elements['right']])


def _side(name: str, lanes: tuple[tuple[str, float], ...], sign: int) -> ElementTree.Element:
    side = ElementTree.Element(name)
    numbered = list(enumerate(lanes, start=1))
    # OpenDRIVE lists lanes from left to right: descending ids.
    for number, (kind, width) in reversed(numbered) if sign > 0 else numbered:
        lane = _add(side, 'lane', id=sign * number, type=kind, level='false')
        _add(lane, 'width', sOffset=0.0, a=width, b=0.0, c=0.0, d=0.0)
        next_is_kerb = number < len(lanes) and lanes[number][0] == 'sidewalk'
        _mark(lane, 'curb' if next_is_kerb else 'none' if kind == 'sidewalk' else 'solid')
        if kind == 'sidewalk':
            _add(lane, 'height', sOffset=0.0, inner=KERB_HEIGHT, outer=KERB_HEIGHT)
    return side


def _mark(lane: ElementTree.Element, kind: str) -> None:
    _add(lane, 'roadMark', sOffset=0.0, type=kind, weight='standard', color='standard', width=0.12)


def _crosswalk(road: ElementTree.Element) -> None:
    half, edge = CROSSING_HALF_WIDTH, KERB
    crosswalk = _add(
        _add(road, 'objects'),
        'object',
        id=1,
        type='crosswalk',
        name='crossing',
        s=CROSSING,
        t=0.0,
        zOffset=0.0,
        hdg=0.0,
        pitch=0.0,
        roll=0.0,
        orientation='none',
        length=2 * half,
        width=2 * edge,
    )
    outline = _add(crosswalk, 'outline')
    for u, v in ((-half, -edge), (half, -edge), (half, edge), (-half, edge)):
        _add(outline, 'cornerLocal', u=u, v=v, z=0.0)
