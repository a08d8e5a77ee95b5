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
"""map.xodr: lane boundaries where they belong, and never a reason to fail."""

import math
from test.scenario.loading import ecef
from test.support.archives import build_archive

import numpy as np
from nurec_ros.scenario import Scenario
from nurec_ros.scenario.archive import MemberError
from nurec_ros.scenario.road_map import parse_opendrive, RoadMap
import pytest
from scipy.spatial.transform import Rotation

LATITUDE, LONGITUDE, ALTITUDE = 59.35, 17.96, 12.0
PROJ = (
    '+proj=tmerc +lat_0=59.35 +lon_0=17.96 +k=1 +x_0=0 +y_0=0 +datum=WGS84 '
    '+geoidgrids=egm96_15.gtx +vunits=m +no_defs '
)


def xodr(*, roads='', proj=PROJ + '+alt_0=12.0', header=''):
    reference = f'<geoReference><![CDATA[{proj}]]></geoReference>' if proj is not None else ''
    return (
        f'<?xml version="1.0"?><OpenDRIVE><header revMajor="1" revMinor="4">{reference}{header}'
        f'</header>{roads}</OpenDRIVE>'
    )


def lane(number, kind, *marks, width=3.0):
    """Write a lane of a type, with marks (sOffset, type)."""
    painted = ''.join(f'<roadMark sOffset="{at}" type="{mark}"/>' for at, mark in marks)
    shape = f'<width sOffset="0" a="{width}" b="0" c="0" d="0"/>' if number else ''
    return f'<lane id="{number}" type="{kind}">{shape}{painted}</lane>'


def road(
    geometry='<geometry s="0" x="0" y="0" hdg="0" length="100"><line/></geometry>',
    *,
    lanes=None,
    extra='',
    offset='',
    length=100,
):
    lanes = lane(-1, 'driving', width=3.5) if lanes is None else lanes
    return (
        f'<road id="1" length="{length}" junction="-1"><planView>{geometry}</planView>{extra}'
        f'<lanes>{offset}<laneSection s="0"><left/><center><lane id="0" type="none"/></center>'
        f'<right>{lanes}</right></laneSection></lanes></road>'
    )


def lines(*roads, **options):
    return parse_opendrive(xodr(roads=''.join(roads), **options).encode()).boundaries


@pytest.mark.parametrize('root', ['', ' xmlns="http://x.y/z"'])
def test_a_straight_road(root):
    text = xodr(roads=road()).replace('<OpenDRIVE>', f'<OpenDRIVE{root}>')
    found = parse_opendrive(text.encode())
    assert found.geo_reference.startswith('+proj')
    middle, edge = found.boundaries
    np.testing.assert_allclose(middle[[0, -1]], [[0, 0, 0], [100, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(edge[[0, -1]], [[0, -3.5, 0], [100, -3.5, 0]], atol=1e-12)
    assert np.diff(middle[:, 0]).max() <= 5.0 + 1e-9


def test_lanes_add_up_on_both_sides_in_any_order_and_widths_change():
    widths = {-2: 3.0, 2: 2.5, -1: 3.5, 1: 1.5}
    lanes = ''.join(lane(i, 'driving', width=width) for i, width in widths.items())
    offsets = sorted(line[0, 1] for line in lines(road(lanes=lanes)))
    np.testing.assert_allclose(offsets, [-6.5, -3.5, 0, 1.5, 4.0])
    for lanes in (
        '<lane id="-1" type="driving"><border sOffset="0" a="-4" b="0" c="0" d="0"/></lane>',
        # What has no type is not drawn, but counts.
        lane(-1, 'none', width=1) + lane(-2, 'driving'),
    ):
        _, edge = lines(road(lanes=lanes))
        np.testing.assert_allclose(edge[:, 1], -4.0)
    changing = (
        '<lane id="-1" type="driving"><width sOffset="0" a="3" b="0" c="0" d="0"/>'
        '<width sOffset="40" a="3" b="0" c="0.0025" d="-0.00002"/></lane>'
    )
    _, edge = lines(road(lanes=changing))
    way = np.maximum(edge[:, 0] - 40.0, 0.0)
    np.testing.assert_allclose(edge[:, 1], -(3 + 0.0025 * way**2 - 0.00002 * way**3), atol=1e-12)


def test_elevation_and_superelevation():
    extra = (
        '<elevationProfile><elevation s="0" a="2" b="0.05" c="0" d="0"/></elevationProfile>'
        '<lateralProfile><superelevation s="0" a="0.1" b="0" c="0" d="0"/></lateralProfile>'
    )
    middle, edge = lines(road(extra=extra))
    np.testing.assert_allclose(middle[:, 2], 2 + 0.05 * middle[:, 0])
    np.testing.assert_allclose(edge[:, 1], -3.5 * math.cos(0.1))
    np.testing.assert_allclose(edge[:, 2] - middle[:, 2], -3.5 * math.sin(0.1))


def test_lane_sections_and_offsets_end_where_the_next_begins():
    more = f'<laneSection s="40"><right>{lane(-1, "driving", width=5)}</right></laneSection>'
    text = road().replace('</laneSection>', f'</laneSection>{more}')
    offset = (
        '<lanes><laneOffset s="0" a="0.5" b="0.01" c="0" d="0"/>'
        '<laneOffset s="40" a="1" b="0" c="0" d="0"/>'
    )
    first_middle, first_edge, _, second_edge = lines(text.replace('<lanes>', offset))
    np.testing.assert_allclose(first_edge[[0, -1], 0], [0, 40], atol=1e-9)
    np.testing.assert_allclose(first_middle[[0, -1], 1], [0.5, 0.9])
    np.testing.assert_allclose(first_edge[[0, -1], 1], [-3.0, -2.6])
    np.testing.assert_allclose(second_edge[[0, -1], 0], [40, 100], atol=1e-9)
    np.testing.assert_allclose(second_edge[:, 1], -4)


ZEROS = 'aU="0" cU="0" dU="0" aV="0" bV="0" dV="0"'


@pytest.mark.parametrize(
    'shape',
    [
        '<arc curvature="0.05"/>',
        '<spiral curvStart="0" curvEnd="0.05"/>',
        '<poly3 a="0" b="0" c="0.001" d="0"/>',
        f'<paramPoly3 pRange="normalized" bU="100" cV="9" {ZEROS}/>',
        f'<paramPoly3 pRange="arcLength" bU="1" cV="1e-3" {ZEROS}/>',
        f'<paramPoly3 bU="100" cV="9" {ZEROS}/>',
    ],
)
def test_edges_keep_their_distance_from_any_shape(shape):
    geometry = f'<geometry s="0" x="0" y="0" hdg="0.3" length="100">{shape}</geometry>'
    middle, edge = lines(road(geometry))
    np.testing.assert_allclose(np.linalg.norm(middle - edge, axis=1), 3.5)
    along = np.diff(middle, axis=0)
    assert np.linalg.norm(along, axis=1).sum() == pytest.approx(100.0, abs=1.5)
    across = (edge - middle)[1:]
    side = along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0]
    assert (side < 0).all()


def one_sided(begin, *lanes):
    """Write a lane section of one side, as exporters do where sides change at other places."""
    elements = ''.join(lane(i, 'driving', width=width) for i, width in lanes)
    side = 'left' if lanes[0][0] > 0 else 'right'
    return (
        f'<laneSection s="{begin}" singleSide="true"><center><lane id="0" type="none"/></center>'
        f'<{side}>{elements}</{side}></laneSection>'
    )


def with_sections(*sections):
    """Write a straight road of these lane sections."""
    whole = road()
    return whole[: whole.index('<laneSection')] + ''.join(sections) + '</lanes></road>'


def test_a_side_goes_on_until_its_own_next_section():
    def spans(*sections):
        """Return [t, first s, last s] of each boundary."""
        found = lines(with_sections(*sections))
        return sorted([*line[0, 1::-1].round(9), line[-1, 0].round(9)] for line in found)

    left, right = one_sided(0, (1, 2), (2, 2)), one_sided(0, (-1, 3))
    expected = [[-3, 0, 100], [0, 0, 100], [2, 0, 100], [4, 0, 100]]
    assert spans(left, right) == spans(right, left) == expected
    sections = [one_sided(0, (1, 2)), right, one_sided(40, (-1, 4))]
    assert spans(*sections) == [[-4, 40, 100], [-3, 0, 40], [0, 0, 100], [2, 0, 100]]
    # A section of both sides ends both.
    both = f'<laneSection s="70"><left>{lane(1, "driving", width=5)}</left></laneSection>'
    assert spans(*sections, both) == [
        *([-4, 40, 70], [-3, 0, 40], [0, 0, 70], [0, 70, 100], [2, 0, 70], [5, 70, 100])
    ]


# What marks them.


def kinds(*lanes, attributes='junction="-1"'):
    """Return {t: [(first s, last s, kind)]} of a straight road with these lanes from s 0 on."""
    whole = with_sections(f'<laneSection s="0"><all>{"".join(lanes)}</all></laneSection>')
    whole = whole.replace('junction="-1"', attributes)
    found = parse_opendrive(xodr(roads=whole).encode())
    assert found.broken == 0
    by_offset = {}
    for line, kind in zip(found.boundaries, found.kinds, strict=True):
        span = (round(line[0, 0], 9), round(line[-1, 0], 9), kind)
        by_offset.setdefault(round(line[0, 1], 9), []).append(span)
    return by_offset


@pytest.mark.parametrize(
    ('mark', 'kind'),
    [
        ('solid', 'solid'),
        ('solid solid', 'solid'),
        ('broken', 'broken'),
        ('broken broken', 'broken'),
        ('botts dots', 'broken'),
        ('solid broken', 'mixed'),
        ('Broken  Solid', 'mixed'),
        ('curb', 'curb'),
        ('grass', 'edge'),
        ('edge', 'edge'),
        ('custom', 'solid'),
        ('none', 'unmarked'),
    ],
)
def test_the_paint_is_that_of_the_lane_within(mark, kind):
    found = kinds(
        lane(1, 'driving', (0, mark)),
        lane(2, 'driving', (0, 'solid')),
        lane(0, 'none', (0, 'broken')),
        lane(-1, 'driving', (0, 'solid')),
    )
    expected = {6: 'solid', 3: kind, 0: 'broken', -3: 'solid'}
    assert found == {t: [(0, 100, one)] for t, one in expected.items()}


def test_a_mark_that_changes_on_the_way_cuts_the_line():
    marks = [(42, 'broken'), (0, 'solid'), (62.5, 'broken broken'), (80, 'none'), (100, 'solid')]
    found = kinds(lane(0, 'none', (30, 'solid')), lane(-1, 'driving', *marks), lane(1, 'driving'))
    assert found[-3] == [(0, 42, 'solid'), (42, 80, 'broken'), (80, 100, 'edge')]
    assert found[0] == [(0, 30, 'unmarked'), (30, 100, 'solid')]


def test_where_the_roadway_ends_unpainted_is_its_edge():
    found = kinds(
        *(lane(2, 'sidewalk'), lane(1, 'driving'), lane(0, 'none')),
        *(lane(-1, 'driving'), lane(-2, 'biking')),
    )
    expected = {6: 'unmarked', 3: 'edge', 0: 'unmarked', -3: 'unmarked', -6: 'edge'}
    assert found == {t: [(0, 100, kind)] for t, kind in expected.items()}
    # Of a road with one side the reference line is an edge too; it need not say that it is in no
    # junction, in which there are no edges but paint.
    for attributes in ('junction="-1"', 'junction=""', ''):
        found = kinds(lane(0, 'none'), lane(-1, 'driving'), attributes=attributes)
        assert found == {0: [(0, 100, 'edge')], -3: [(0, 100, 'edge')]}
    found = kinds(lane(0, 'none'), lane(-1, 'driving', (50, 'solid')), attributes='junction="7"')
    assert found == {0: [(0, 100, 'unmarked')], -3: [(0, 50, 'unmarked'), (50, 100, 'solid')]}


def test_pieces_follow_the_curve_and_share_their_ends():
    bend = '<geometry s="0" x="0" y="0" hdg="0" length="60"><arc curvature="0.05"/></geometry>'
    _, solid, broken = lines(road(bend, lanes=lane(-1, 'driving', (0, 'solid'), (25, 'broken'))))
    np.testing.assert_array_equal(solid[-1], broken[0])
    # 25 m along a left turn of 20 m, 3 m outside of it.
    at = (23 * math.sin(25 / 20), 20 - 23 * math.cos(25 / 20), 0)
    np.testing.assert_allclose(solid[-1], at, atol=1e-9)
    np.testing.assert_allclose(np.hypot(broken[:, 0], broken[:, 1] - 20), 23, atol=1e-9)


@pytest.mark.parametrize('place', ['', 'sOffset="far"', 'sOffset="nan"'])
def test_a_mark_without_a_place_counts_from_the_start(place):
    lanes = lane(-1, 'driving').replace('</lane>', f'<roadMark {place} type="solid"/></lane>')
    assert kinds(lanes)[-3] == [(0, 100, 'solid')]


def shaped(attributes, shape='<line/>', **more):
    return road(f'<geometry {attributes}>{shape}</geometry>', **more)


AT_0 = 's="0" x="0" y="0" hdg="0" length="9"'
BROKEN = {
    'no plan': road(''),
    'no shape': shaped(AT_0, ''),
    'unknown shape': shaped(AT_0, '<nurbs/>'),
    'text': shaped(AT_0.replace('x="0"', 'x="zero"')),
    'NaN': shaped(AT_0.replace('x="0"', 'x="nan"')),
    'negative': shaped(AT_0.replace('9', '-9')),
    'missing': shaped(AT_0.replace('x="0"', '')),
    'far': shaped(AT_0.replace('x="0"', 'x="1e300"')),
    'no width': road(lanes='<lane id="-1" type="driving"/>'),
    'no length': road().replace(' length="100" junction', ' junction'),
    'no lane section': road().replace('<laneSection', '<other').replace('laneSection>', 'other>'),
    'no lanes': road().replace('<lanes>', '<other>').replace('</lanes>', '</other>'),
    'breaks off': road(lanes=lane(-1, '') + lane(-2, '', width=1e300)),
    'wild': shaped(
        AT_0,
        '<arc curvature="1e308"/>',
        lanes='<lane id="-1"><width sOffset="0" a="1e308" b="1e308" c="0" d="0"/></lane>',
    ),
}


@pytest.mark.parametrize('case', BROKEN)
def test_a_broken_road_is_left_out_and_counted(case):
    found = parse_opendrive(xodr(roads=road() + BROKEN[case] + road()).encode())
    assert found.broken == 1
    assert len(found.boundaries) == 4


def test_size_and_repr_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr('nurec_ros.scenario.road_map.MOST_MAP_POINTS', 100)
    found = parse_opendrive(xodr(roads=road() * 50).encode())
    assert found.cut
    scenario = loaded(tmp_path, xodr(roads=road() * 50), earth_pose(0, 0, 0, 0))
    assert scenario.warnings[0].endswith('larger than what is read, so it is cut off')
    assert len(scenario.road_map.boundaries) == len(found.boundaries)
    assert sum(map(len, found.boundaries)) <= 100
    monkeypatch.undo()
    monkeypatch.setattr('nurec_ros.scenario.road_map.MOST_ROADS', 1)
    found = parse_opendrive(xodr(roads=road() * 2).encode())
    assert (found.cut, len(found.boundaries)) == (True, 2)
    monkeypatch.undo()
    # Chords of the arc and of the offset meet at places of their own.
    offset = '<laneOffset s="7" a="0" b="0" c="0" d="0"/>'
    long = AT_0.replace('9', '1e5'), '<arc curvature="0.9"/>'
    assert {len(line) for line in lines(shaped(*long, length=1e5, offset=offset))} == {4096}
    monkeypatch.setattr('nurec_ros.scenario.road_map.MOST_TAGS', 100)
    with pytest.raises(MemberError, match=r'^has 102 tags, expected at most 100'):
        parse_opendrive(b'<OpenDRIVE>' + b'<a/>' * 100 + b'</OpenDRIVE>')
    assert repr(RoadMap(None, ())) == 'RoadMap(None, 0 boundaries)'
    assert repr(RoadMap('+' * 61, ())) == f"RoadMap('{'+' * 59}…', 0 boundaries)"


def earth_pose(yaw, east, north, up):
    """Return T_world_base of a world at a place and heading of the map, by scipy."""
    phi, lam = math.radians(LATITUDE), math.radians(LONGITUDE)
    to_earth = Rotation.from_euler('ZYX', [lam, -phi, 0]) * Rotation.from_matrix(
        [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    )
    result = np.eye(4)
    result[:3, :3] = (to_earth * Rotation.from_rotvec([0, 0, yaw])).as_matrix()
    result[:3, 3] = ecef(LATITUDE, LONGITUDE, ALTITUDE) + to_earth.apply([east, north, up])
    return result


def loaded(tmp_path, text, T_world_base=None):
    edit = {} if T_world_base is None else {'T_world_base': T_world_base.tolist()}
    return Scenario.load(build_archive(tmp_path, members={'map.xodr': text}, edit_rig=edit))


@pytest.mark.parametrize('false', [(0, 0), (500, -20)])
def test_boundaries_come_into_the_map_frame(tmp_path, false):
    yaw, place = 0.8, np.array([30.0, -12.0, 1.5])
    x, y = false
    proj = (PROJ + '+alt_0=12.0').replace('+x_0=0 +y_0=0', f'+x_0={x} +y_0={y}')
    geometry = f'<geometry s="0" x="{x}" y="{y}" hdg="0" length="100"><line/></geometry>'
    text = xodr(roads=road(geometry), proj=proj)
    scenario = loaded(tmp_path, text, earth_pose(yaw, *place))
    assert scenario.warnings == ()
    assert scenario.road_map.geo_reference.startswith('+proj=tmerc')
    middle, edge = scenario.road_map.boundaries
    turned = Rotation.from_rotvec([0, 0, yaw])
    for line, y in ((middle, 0.0), (edge, -3.5)):
        expected = turned.inv().apply(np.array([[0, y, 0], [100, y, 0]]) - place)
        np.testing.assert_allclose(line[[0, -1]], expected, atol=1e-6)
        assert not line.flags.writeable
    empty = loaded(tmp_path, xodr(proj=proj), earth_pose(yaw, *place))
    assert (empty.warnings, empty.road_map.boundaries) == ((), ())


@pytest.mark.parametrize(('km', 'said'), [(0.9, False), (30.0, True)])
def test_a_map_of_another_place_is_not_drawn(tmp_path, km, said):
    scenario = loaded(tmp_path, xodr(roads=road()), earth_pose(0, 0, -1000.0 * km, 0))
    assert bool(scenario.warnings) == said
    assert bool(scenario.road_map.boundaries) != said
    for warning in scenario.warnings:
        # The road reaches to 0, the ego drives in the first metres of its map.
        assert 'map.xodr: its nearest road is 29.99 km from where the ego drives' in warning
        assert 'cannot be placed' in warning


@pytest.mark.parametrize(
    ('text', 'placed', 'words'),
    [
        (xodr(roads=road() + BROKEN['NaN'] * 3), True, '3 roads cannot be evaluated: left out'),
        (xodr(roads=road()), False, 'the scenario has no T_world_base'),
        (xodr(roads=road(), proj=None), True, 'its geoReference is missing'),
        (xodr(roads=road(), proj='+proj=utm +zone=3'), True, "is '+proj=utm +zone=3'"),
        (xodr(roads=road(), header='<offset x="5" y="0"/>'), True, 'its header has an offset'),
        (xodr(roads=road(), header='<offset x="five"/>'), True, 'its header has an offset'),
        (xodr(roads=road(), header='<offset hdg="0.1"/>'), True, 'its header has an offset'),
    ],
)
def test_boundaries_that_cannot_be_placed(tmp_path, text, placed, words):
    scenario = loaded(tmp_path, text, earth_pose(0, 0, 0, 0) if placed else None)
    (warning,) = scenario.warnings
    assert words in warning.partition('map.xodr: ')[2]
    assert len(scenario.road_map.boundaries) == (2 if 'left out' in words else 0)
    assert bool(scenario.road_map.geo_reference) == (PROJ in text or '+zone' in text)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        *((text, 'is not XML') for text in ('', '<OpenDRIVE>', '{}')),
        ('<svg/>', 'is a <svg> document, expected OpenDRIVE'),
        ('<?xml version="1.0" encoding="klingon"?><OpenDRIVE/>', 'is not XML'),
        ('<OpenDRIVE><!ENTITY a "b"></OpenDRIVE>', 'has a document type'),
        ('<!DOCTYPE x [<!ENTITY a "b">]><OpenDRIVE>&a;</OpenDRIVE>', 'has a document type'),
        ('<OpenDRIVE>' + '<a>' * 50_000, 'is not XML'),
        (xodr(proj='+lat_0=1 +lon_0=2 ' + '+' * 4096), 'its geoReference is no proj string'),
    ],
)
def test_a_broken_map_is_no_reason_to_fail(tmp_path, text, words):
    scenario = loaded(tmp_path, text)
    (warning,) = scenario.warnings
    assert f'map.xodr: {words}' in warning
    assert warning.endswith('so there is no road map')
    assert scenario.road_map is None
    assert len(scenario.tracks) == 3
