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
map.xodr: the geo-reference, and the lane boundaries brought to the scenario's map frame.

Our own evaluation of what lane boundaries need: reference line, lane offset, widths or borders,
elevation and superelevation. No kept library with a rosdep key does this. The work is bounded
whatever the file says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
import io
from itertools import zip_longest
import math
from xml.etree import ElementTree as Xml

import numpy as np
from nurec_ros.errors import counted, shortened
from nurec_ros.poses import Array
from nurec_ros.scenario.archive import MemberError
from nurec_ros.scenario.localization import enu_of_earth, geo_origin
from nurec_ros.scenario.opendrive import (
    BrokenRoadError,
    children,
    cubic_pieces,
    Cubics,
    MOST_POINTS,
    number_of,
    profile,
    reference_line,
    ReferenceLine,
    tag_of,
)
from nurec_ros.scenario.schema.fields import Warn
from nurec_ros.scenario.trajectory import frozen

MOST_ROADS = 20_000
MOST_MAP_POINTS = 1_000_000
# Each costs some 100 bytes and a microsecond or two; 32 MiB of a real map have some 500,000.
MOST_TAGS = 1_000_000
# Further from the map's origin there is no street of the scenario.
_FARTHEST = 1e6

# Letters of a geoReference.
_LONGEST = 4096
# A map of other roads than those that are driven on is no map of the scenario, in metres.
_FARTHEST_FROM_WAY = 1000.0

SOLID, BROKEN, MIXED, CURB, EDGE, UNMARKED = KINDS = (
    'solid',
    'broken',
    'mixed',
    'curb',
    'edge',
    'unmarked',
)
# By the types of a roadMark in OpenDRIVE 1.4 to 1.8; what else is painted counts as solid.
_KIND_OF_MARK = {
    'none': '',
    'broken': BROKEN,
    'broken broken': BROKEN,
    'botts dots': BROKEN,
    'solid broken': MIXED,
    'broken solid': MIXED,
    'curb': CURB,
    'grass': EDGE,
    'edge': EDGE,
}
# Lanes that are not of the roadway.
_BESIDE = ('none', 'sidewalk', 'walking', 'curb', 'border', 'median')


@dataclass(frozen=True, slots=True, eq=False)
class RoadMap:
    """
    What the scenario's map says.

    geo_reference: the proj string as it stands, None where there is none; boundaries: lane
    boundaries as polylines (M, 3) in the scenario's map frame, metres, empty where they cannot be
    placed; kinds: what each of them is, one of KINDS: its paint, a curb, the edge of the roadway,
    or nothing.
    """

    geo_reference: str | None
    boundaries: tuple[Array, ...]
    kinds: tuple[str, ...] = ()

    def __repr__(self) -> str:
        reference = self.geo_reference and shortened(self.geo_reference)
        return f'RoadMap({reference!r}, {len(self.boundaries)} boundaries)'


def parse_road_map(data: bytes, T_earth_map: Array | None, way: Array, warn: Warn) -> RoadMap:
    """
    Return the map, with what can be had of it; for the rest `warn` is called.

    Raises MemberError where the file is no OpenDRIVE. `way` (N, 3) is where the ego drives in the
    map frame, which roads must be near.

    The xodr's frame is ENU about its geo-reference, so that the boundaries get into the map frame
    by way of the Earth: T_enu_map = T_enu_earth T_earth_map.
    """
    xodr = parse_opendrive(data)
    if len(xodr.geo_reference) > _LONGEST:
        raise MemberError('its geoReference is no proj string')
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
        warn(f'{counted(xodr.broken, "road")} cannot be evaluated: left out')
    if xodr.cut:
        warn('it is larger than what is read, so it is cut off')
    T_map_enu = np.linalg.inv(enu_of_earth(origin) @ T_earth_map)
    shift = (origin.false_easting, origin.false_northing, 0.0)
    placed = [
        frozen(np.asarray((line - shift) @ T_map_enu[:3, :3].T + T_map_enu[:3, 3]))
        for line in xodr.boundaries
    ]
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
    points = np.vstack(lines)
    beyond = np.maximum(np.maximum(way.min(axis=0) - points, points - way.max(axis=0)), 0.0)
    return float(np.linalg.norm(beyond, axis=1).min())


@dataclass(frozen=True, slots=True, eq=False)
class OpenDrive:
    """
    What a map says: its geo-reference ('' without one), and lane boundaries (M, 3) each.

    kinds: one for each of them; offset: whether the header moves the map; broken: roads that could
    not be read; cut: whether there was more than the limits.
    """

    geo_reference: str
    boundaries: list[Array]
    kinds: list[str]
    offset: bool
    broken: int
    cut: bool


def parse_opendrive(data: bytes) -> OpenDrive:
    """Return geo-reference and boundaries, in the map's own frame; raises MemberError."""
    if b'<!ENTITY' in data or b'<!DOCTYPE' in data:
        raise MemberError('has a document type declaration, which OpenDRIVE has not')
    if (tags := data.count(b'<')) > MOST_TAGS:
        raise MemberError(f'has {tags} tags, expected at most {MOST_TAGS}')
    geo_reference, offset = '', False
    boundaries: list[Array] = []
    kinds: list[str] = []
    roads = points = broken = 0
    cut = False
    for element in _complete_elements(data):
        if tag_of(element) == 'header':
            for child in children(element, 'geoReference'):
                geo_reference = (child.text or '').strip()
            offset = any(_is_offset(child) for child in children(element, 'offset'))
        elif tag_of(element) == 'road':
            roads += 1
            cut = cut or roads > MOST_ROADS
            try:
                lines = [] if cut else list(_boundaries(element))
            except (BrokenRoadError, ValueError, ArithmeticError, LookupError):
                # Exporters write what no schema allows: such a road is left out, whatever it has.
                broken += 1
                lines = []
            for line, kind in lines:
                points += len(line)
                if points > MOST_MAP_POINTS:
                    cut = True
                    break
                boundaries.append(line)
                kinds.append(kind)
            # A road that was drawn need not be kept.
            element.clear()
    return OpenDrive(geo_reference, boundaries, kinds, offset, broken, cut)


def _complete_elements(data: bytes) -> Iterator[Xml.Element]:
    """Return every element once it is complete; raises MemberError."""
    root: Xml.Element | None = None
    try:
        for event, element in Xml.iterparse(io.BytesIO(data), events=('start', 'end')):
            if root is None:
                root = element
                if tag_of(root) != 'OpenDRIVE':
                    raise MemberError(f'is a <{tag_of(root)[:40]}> document, expected OpenDRIVE')
            if event == 'end':
                yield element
    except (Xml.ParseError, ValueError, LookupError) as error:
        # An encoding that nobody knows is a LookupError, one of several bytes a ValueError.
        raise MemberError(f'is not XML: {error}') from error


def _boundaries(road: Xml.Element) -> Iterator[tuple[Array, str]]:
    """
    Yield the lane boundaries of a road: of each lane the outer one, and the middle.

    One whose marking changes on the way comes in pieces that share their ends.
    """
    line = reference_line(road)
    elevation = profile(road, 'elevationProfile', 'elevation')
    superelevation = profile(road, 'lateralProfile', 'superelevation')
    lane_offset = profile(road, 'lanes', 'laneOffset')
    sections = [
        section for lanes in children(road, 'lanes') for section in children(lanes, 'laneSection')
    ]
    if not sections:
        raise BrokenRoadError
    stretches = list(_stretches(sections, number_of(road, 'length')))
    signs = {lane.number > 0 for lanes, *_ in stretches for lane in lanes if lane.number}
    # Lanes that cross a junction have no edges there.
    has_edges = road.get('junction', '-1').strip() in ('-1', '')
    for lanes, sides, begin, end in stretches:
        curves: list[ReferenceLine | Cubics] = [line, elevation, superelevation, lane_offset]
        curves += [lane.shape for lane in lanes]
        meetings = {begin, end}.union(*(curve.cuts(begin, end) for curve in curves))
        meetings.update(at for lane in lanes for at in lane.marks if begin < at < end)
        s = np.array(sorted(meetings))
        if len(s) > MOST_POINTS:
            s = np.linspace(begin, end, MOST_POINTS)
        with np.errstate(all='ignore'):
            x, y, heading = line.at(s)
            roll = superelevation.at(s)
            reference, across = np.empty((len(s), 3)), np.empty((len(s), 3))
            reference[:, 0], reference[:, 1], reference[:, 2] = x, y, elevation.at(s)
            across[:, 0], across[:, 1] = -np.sin(heading), np.cos(heading)
            across[:, :2] *= np.cos(roll)[:, np.newaxis]
            across[:, 2] = np.sin(roll)
            middle = lane_offset.at(s)
            for t, lane, neighbour in _offsets(lanes, sides, middle, s):
                points = reference + t[:, np.newaxis] * across
                if not np.abs(points).max() < _FARTHEST:
                    raise BrokenRoadError
                # The middle of a road with lanes on both sides is no edge.
                inside = lane is None or (lane.number == 0 and len(signs) > 1)
                is_edge = has_edges and not inside and _on_road(lane) != _on_road(neighbour)
                bare = EDGE if is_edge else UNMARKED
                for first, end, kind in _marked(lane, s, bare):
                    yield points[first:end], kind


def _stretches(
    sections: list[Xml.Element], length: float
) -> Iterator[tuple[list[_Lane], list[int], float, float]]:
    """
    Yield lanes, which sides of them to draw (1 left, -1 right, 0 the middle), begin and end.

    A section ends where the next one of the same side begins; one with `singleSide` is of the
    side that its lanes are on, so that both sides may change at places of their own.
    """
    found = []
    for section in sections:
        begin = number_of(section, 's')
        lanes = [_Lane(lane, begin) for lane in section.iter() if tag_of(lane) == 'lane']
        sides = [1, -1]
        if section.get('singleSide', '').strip().lower() in ('true', '1'):
            sides = [side for side in sides if any(lane.number * side > 0 for lane in lanes)]
        found.append((begin, sides, lanes))
    found.sort(key=lambda stretch: stretch[0])
    next_of = {1: length, -1: length}
    ends = []
    for begin, sides, _ in reversed(found):
        ends.append([next_of[side] for side in sides])
        next_of.update(dict.fromkeys(sides, begin))
    drawn_until = -math.inf
    for (begin, sides, lanes), ends_of_sides in zip(found, reversed(ends), strict=True):
        # The middle belongs to both sides and is drawn once.
        spans = {(max(begin, drawn_until), max(ends_of_sides, default=begin)): [0]}
        for side, end in zip(sides, ends_of_sides, strict=True):
            spans.setdefault((begin, end), []).append(side)
        for (start, end), drawn in spans.items():
            if end > start:
                yield lanes, drawn, start, end
                drawn_until = max(drawn_until, end) if 0 in drawn else drawn_until


def _offsets(
    lanes: list[_Lane], sides: list[int], middle: Array, s: Array
) -> Iterator[tuple[Array, _Lane | None, _Lane | None]]:
    """
    Yield the distance t (N,) of each boundary from the reference line, left is positive.

    With the lane that it belongs to, and the one beyond it, None where there is none.
    """
    of_sides = {
        side: sorted(
            (lane for lane in lanes if lane.number * side > 0), key=lambda lane: abs(lane.number)
        )
        for side in (1, -1)
    }
    if 0 in sides:
        centre = next((lane for lane in lanes if lane.number == 0), None)
        beyond = of_sides[1] or of_sides[-1]
        yield middle, centre, beyond[0] if beyond else None
    for side in (side for side in sides if side):
        edge = middle
        ordered = of_sides[side]
        for lane, neighbour in zip_longest(ordered, ordered[1:]):
            shape = lane.shape.at(s)
            edge = shape if lane.is_border else edge + side * shape
            if lane.is_drawn:
                yield edge, lane, neighbour


def _marked(lane: _Lane | None, s: Array, bare: str) -> Iterator[tuple[int, int, str]]:
    """Yield what a boundary is from which point up to before which; `bare`: where unpainted."""
    pieces = [(0, bare)]
    for at, kind in sorted(lane.marks.items()) if lane is not None else ():
        place = int(np.searchsorted(s, at))
        if place == pieces[-1][0]:
            pieces.pop()
        if not pieces or (kind or bare) != pieces[-1][1]:
            pieces.append((place, kind or bare))
    last = len(s) - 1
    ends = [place for place, _ in pieces[1:]] + [last]
    for (first, kind), end in zip(pieces, ends, strict=True):
        if first < min(end, last):
            yield first, min(end, last) + 1, kind


def _on_road(lane: _Lane | None) -> bool:
    """Return whether a lane is of the roadway; one that is not there is not."""
    return lane is not None and lane.number != 0 and lane.type not in _BESIDE


class _Lane:
    """
    A lane: its number (left is positive), and its width or border over s.

    marks: by the s from which on it counts, the kind of its outer boundary, '' without paint.
    """

    def __init__(self, element: Xml.Element, begin: float) -> None:
        self.number = number_of(element, 'id')
        self.type = element.get('type', '')
        self.is_drawn = self.type != 'none'
        self.marks: dict[float, str] = {}
        for mark in children(element, 'roadMark'):
            try:
                at = begin + number_of(mark, 'sOffset')
            except BrokenRoadError:
                # Without a place it counts from the start: paint is no reason to lose a road.
                at = begin
            text = ' '.join(mark.get('type', 'none').lower().split())
            self.marks[at] = _KIND_OF_MARK.get(text, SOLID)
        widths = list(children(element, 'width'))
        self.is_border = not widths
        pieces = widths or list(children(element, 'border'))
        self.shape = cubic_pieces(pieces, 'sOffset', begin)
        if self.number and not pieces:
            raise BrokenRoadError


def _is_offset(element: Xml.Element) -> bool:
    keys = [key for key in ('x', 'y', 'z', 'hdg') if key in element.attrib]
    try:
        return any(number_of(element, key) != 0.0 for key in keys)
    except BrokenRoadError:
        return True
