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
The street's geometry, and the same as OpenDRIVE 1.6 with its place on Earth.

Reference lines of straights and arcs with an elevation along them, in OpenDRIVE's own terms (s
along the reference line, t to its left, cubic elevation between knots), so that `map.xodr` and
everything that moves on the street are made of the same numbers. The map file's frame is east,
north, up about its geoReference; the scenario's is that of the ego's first pose. `T_world_base`
ties them (scenario to Earth-centred), as in NuRec's files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
import math
from xml.etree import ElementTree

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# Widths of one half of the street, from the middle outwards, in metres.
DRIVING = 3.5
BIKING = 1.8
PARKING = 2.4
PAVEMENT = 3.2
KERB_HEIGHT = 0.12
LANE = DRIVING / 2  # middle of the driving lane
BIKE_LANE = DRIVING + BIKING / 2
PARKING_LANE = DRIVING + BIKING + PARKING / 2
KERB = DRIVING + BIKING + PARKING  # half the carriageway

# Where things are along the street, s in metres.
EGO_BEGIN = 60.0
SIDE_STREET = EGO_BEGIN + 27.0
CROSSING = EGO_BEGIN + 50.0
FIRST_STRAIGHT = EGO_BEGIN + 84.0
LATER_STRAIGHT = 130.0
BUS_STOP = FIRST_STRAIGHT - 16.0
SIDE_STREET_LENGTH = 55.0
SIDE_STREET_HALF_WIDTH = 3.2
TRAM_OFFSET = 17.5
CROSSING_HALF_WIDTH = 2.0

# A curve's lengths and radii, its middle left open: narrower in steps, as a driver steers.
CURVE_EASING = ((9.0, 110.0), (8.0, 55.0))
CURVE_RADIUS = 37.0

# WGS84: equatorial radius (m) and first eccentricity squared.
WGS84_A = 6378137.0
WGS84_E2 = 6.69437999014e-3

GEO_REFERENCE = (
    '+proj=tmerc +lat_0={latitude} +lon_0={longitude} +alt_0=0 +k=1 +x_0=0 +y_0=0 '
    '+datum=WGS84 +geoidgrids=egm96_15.gtx +vunits=m +units=m +no_defs'
)


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of the reference line: its length, and its curvature (1/m, positive to the left)."""

    length: float
    curvature: float


@dataclass(frozen=True, slots=True)
class Knot:
    """The elevation z (m) at s (m) and its slope dz/ds there; between knots it is a cubic."""

    s: float
    z: float
    slope: float


@dataclass(frozen=True, slots=True, eq=False)
class Road:
    """
    A reference line in the map frame and the elevation along it.

    x, y, heading are those of the reference line at s = 0. starts (., 4): s, x, y and heading at
    the beginning of each segment; cubics (., 5): s, a, b, c, d of each elevation record, z = a +
    b u + c u^2 + d u^3 with u from s.
    """

    x: float
    y: float
    heading: float
    segments: tuple[Segment, ...]
    knots: tuple[Knot, ...]
    starts: Array = field(init=False)
    cubics: Array = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, 'starts', np.array(self._starts()))
        object.__setattr__(self, 'cubics', np.array(self._cubics()))

    def _starts(self) -> list[tuple[float, float, float, float]]:
        begin, x, y, heading = 0.0, self.x, self.y, self.heading
        found = []
        for segment in self.segments:
            found.append((begin, x, y, heading))
            dx, dy = _along(segment.length, segment.curvature, heading)
            begin, x, y = begin + segment.length, x + float(dx), y + float(dy)
            heading += segment.curvature * segment.length
        return found

    def _cubics(self) -> list[tuple[float, float, float, float, float]]:
        found = []
        for here, there in zip(self.knots, self.knots[1:], strict=False):
            span = there.s - here.s
            mean = (there.z - here.z) / span
            c = (3 * mean - 2 * here.slope - there.slope) / span
            d = (here.slope + there.slope - 2 * mean) / span**2
            found.append((here.s, here.z, here.slope, c, d))
        last = self.knots[-1]
        return [*found, (last.s, last.z, last.slope, 0.0, 0.0)]

    @property
    def length(self) -> float:
        return math.fsum(segment.length for segment in self.segments)

    def stretch(self, s: float, t: float) -> float:
        """Return how long a metre along the reference line is at t: less on a curve's inside."""
        return 1.0 - self.segments[int(_piece(self.starts, s))].curvature * t

    def standing(self, s: ArrayLike, t: ArrayLike, yaw: float = 0.0) -> tuple[Array, Array]:
        """
        Return points (N, 3) and rotations (N, 3, 3) of bodies that stand at s, t to the left.

        The points are of the road's surface, kerbs not counted. `yaw` (rad) is the bodies' heading
        relative to the road. A body's x axis follows the slope in its direction; it does not roll,
        as the street has no superelevation.
        """
        s = np.atleast_1d(np.asarray(s, dtype=np.float64))
        piece = _piece(self.starts, s)
        curvature = np.array([segment.curvature for segment in self.segments])[piece]
        begin, x, y, heading = self.starts[piece].T
        dx, dy = _along(s - begin, curvature, heading)
        heading = heading + curvature * (s - begin)
        begin, a, b, c, d = self.cubics[_piece(self.cubics, s)].T
        u = s - begin
        t = np.asarray(t, dtype=np.float64)
        z = a + u * (b + u * (c + u * d))
        points = np.stack([x + dx - np.sin(heading) * t, y + dy + np.cos(heading) * t, z], axis=1)
        heading = heading + yaw
        rise = np.arctan((b + u * (2 * c + 3 * u * d)) * np.cos(yaw))
        cos, sin, up, flat = np.cos(heading), np.sin(heading), np.sin(rise), np.cos(rise)
        forward = np.stack([cos * flat, sin * flat, up], axis=-1)
        left = np.stack([-sin, cos, np.zeros_like(sin)], axis=-1)
        return points, np.stack([forward, left, np.cross(forward, left)], axis=-1)


def _piece(table: Array, s: ArrayLike) -> NDArray[np.intp]:
    """Return the row of a table, whose first column rises from 0, that each s is in."""
    return np.maximum(np.searchsorted(table[:, 0], s, side='right') - 1, 0)


@dataclass(frozen=True, slots=True)
class Street:
    """The three roads of the example: the street itself, a side street, a tram's track."""

    main: Road
    side: Road
    tram: Road


def make_street(length: float, turn: float) -> Street:
    """
    Build a street of at least `length` metres, with a curve of `turn` radians to the right.

    Later curves go left and right in turn, so that a long street does not meet itself. The
    frame is the map's: the ego begins at the origin, in its lane, heading along +x.
    """
    segments = [Segment(FIRST_STRAIGHT, 0.0)]
    sign = -1.0
    while True:
        segments += _curve(turn, sign)
        segments.append(Segment(LATER_STRAIGHT, 0.0))
        sign = -sign
        if math.fsum(segment.length for segment in segments) >= length:
            break
    total = math.fsum(segment.length for segment in segments)
    knots = _hills(total)
    main = Road(-EGO_BEGIN, LANE, 0.0, tuple(segments), knots)
    mouth = main.standing(SIDE_STREET, -KERB)[0][0]
    side = Road(
        float(mouth[0]),
        float(mouth[1]),
        -math.pi / 2,
        (Segment(SIDE_STREET_LENGTH, 0.0),),
        (Knot(0.0, float(mouth[2]), 0.0),),
    )
    level = tuple(knot for knot in knots if knot.s <= FIRST_STRAIGHT)
    tram = Road(
        -EGO_BEGIN,
        LANE + TRAM_OFFSET,
        0.0,
        (Segment(FIRST_STRAIGHT + 130.0, 0.0),),
        (*level, Knot(FIRST_STRAIGHT + 20.0, level[-1].z, 0.0)),
    )
    return Street(main, side, tram)


def _along(length: ArrayLike, curvature: ArrayLike, heading: ArrayLike) -> tuple[Array, Array]:
    """Return the way gone along an arc that begins with `heading`; curvature 0 is a straight."""
    length = np.asarray(length, dtype=np.float64)
    # The chord of an arc lies at half its angle; sinc carries the straight as its limit.
    half = np.asarray(curvature, dtype=np.float64) * length / 2
    chord = length * np.sinc(half / np.pi)
    direction = np.asarray(heading, dtype=np.float64) + half
    return chord * np.cos(direction), chord * np.sin(direction)


def _curve(turn: float, sign: float) -> list[Segment]:
    easing = [Segment(length, sign / radius) for length, radius in CURVE_EASING]
    eased = 2 * math.fsum(length / radius for length, radius in CURVE_EASING)
    middle = Segment((turn - eased) * CURVE_RADIUS, sign / CURVE_RADIUS)
    return [*easing, middle, *reversed(easing)]


def _hills(length: float) -> tuple[Knot, ...]:
    """Return an elevation that is flat where the ego begins, within a metre and 2 deg."""
    shape = ((0.55, 0.021), (0.85, -0.012), (0.15, -0.026), (-0.2, 0.014))
    knots = [Knot(0.0, 0.0, 0.0), Knot(EGO_BEGIN, 0.0, 0.0)]
    s, index = EGO_BEGIN + 36.0, 0
    while s < length:
        z, slope = shape[index % len(shape)]
        knots.append(Knot(s, z, slope))
        s, index = s + 34.0, index + 1
    return tuple(knots)


@dataclass(frozen=True, slots=True)
class Site:
    """Where the drive begins: degrees, metres above the ellipsoid, heading (rad) north of east."""

    latitude: float
    longitude: float
    altitude: float
    heading: float


def earth_pose(site: Site) -> Array:
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
    root = ElementTree.Element('OpenDRIVE')
    header = _add(root, 'header', revMajor=1, revMinor=6, name=name, version='1.0')
    reference = _add(header, 'geoReference')
    reference.text = GEO_REFERENCE.format(latitude=site.latitude, longitude=site.longitude)
    half = (('driving', DRIVING), ('biking', BIKING), ('parking', PARKING), ('sidewalk', PAVEMENT))
    main = _road(root, 1, 'street', street.main, site)
    _lanes(main, *half)
    _crosswalk(main)
    side = _road(root, 2, 'side street', street.side, site)
    _lanes(side, ('driving', SIDE_STREET_HALF_WIDTH), ('sidewalk', 2.0))
    tram = _road(root, 3, 'tram', street.tram, site)
    _lanes(tram, ('tram', 1.4))
    ElementTree.indent(root, ' ')
    text = ElementTree.tostring(root, encoding='unicode')
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


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
    for (s, x, y, heading), segment in zip(road.starts.tolist(), road.segments, strict=True):
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
    for s, a, b, c, d in road.cubics.tolist():
        _add(profile, 'elevation', s=s, a=a + site.altitude, b=b, c=c, d=d)
    return element


def _lanes(road: ElementTree.Element, *half: tuple[str, float]) -> None:
    """Add one section of lanes, the same on both sides, each given from the middle outwards."""
    section = _add(_add(road, 'lanes'), 'laneSection', s=0.0)
    _side(_add(section, 'left'), half, 1)
    _mark(_add(_add(section, 'center'), 'lane', id=0, type='none', level='false'), 'broken')
    _side(_add(section, 'right'), half, -1)


def _side(side: ElementTree.Element, lanes: Sequence[tuple[str, float]], sign: int) -> None:
    numbered = list(enumerate(lanes, start=1))
    # OpenDRIVE lists lanes from left to right: descending ids.
    for number, (kind, width) in reversed(numbered) if sign > 0 else numbered:
        lane = _add(side, 'lane', id=sign * number, type=kind, level='false')
        _add(lane, 'width', sOffset=0.0, a=width, b=0.0, c=0.0, d=0.0)
        next_is_kerb = number < len(lanes) and lanes[number][0] == 'sidewalk'
        _mark(lane, 'curb' if next_is_kerb else 'none' if kind == 'sidewalk' else 'solid')
        if kind == 'sidewalk':
            _add(lane, 'height', sOffset=0.0, inner=KERB_HEIGHT, outer=KERB_HEIGHT)


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
