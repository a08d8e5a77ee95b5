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
"""The road map agrees with the drive: the ego and the traffic keep to its lanes."""

from __future__ import annotations

from collections import Counter
import itertools
from test.scenario.loading import ecef
from xml.etree import ElementTree

import numpy as np
import pytest


def east_north_up(latitude: float, longitude: float) -> np.ndarray:
    """Return the rotation from east, north, up to Earth-centred axes."""
    lat, lon = np.radians([latitude, longitude])
    up = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    east = np.cross([0, 0, 1], up)
    east /= np.linalg.norm(east)
    return np.column_stack([east, np.cross(up, east), up])


class XodrRoad:
    """A road read from the map file, its reference line integrated numerically."""

    STEP = 0.05

    def __init__(self, element: ElementTree.Element) -> None:
        self.length = float(element.get('length'))
        points, headings, stations = [], [], []
        for geometry in element.find('planView'):
            x, y, hdg, s0, length = (
                float(geometry.get(key)) for key in ('x', 'y', 'hdg', 's', 'length')
            )
            arc = geometry.find('arc')
            curvature = 0.0 if arc is None else float(arc.get('curvature'))
            count = max(2, int(length / self.STEP))
            u = np.linspace(0, length, count, endpoint=False)
            du = length / count
            middle = hdg + curvature * (u + du / 2)
            steps = np.column_stack([np.cos(middle), np.sin(middle)]) * du
            offset = np.vstack([[0, 0], np.cumsum(steps, axis=0)[:-1]])
            points.append([x, y] + offset)
            headings.append(hdg + curvature * u)
            stations.append(s0 + u)
            self.end = ([x, y] + steps.sum(axis=0), hdg + curvature * length)
        self.points, self.headings = np.vstack(points), np.concatenate(headings)
        self.stations = np.concatenate(stations)
        self.records = [
            [float(record.get(key)) for key in 'sabcd']
            for record in element.find('elevationProfile')
        ]

    def locate(self, point: np.ndarray) -> tuple[float, float, float]:
        """Return s, t and the height of the road there."""
        best = int(np.argmin(np.linalg.norm(self.points - point[:2], axis=1)))
        normal = np.array([-np.sin(self.headings[best]), np.cos(self.headings[best])])
        s = self.stations[best]
        t = (point[:2] - self.points[best]) @ normal
        begin, a, b, c, d = [record for record in self.records if record[0] <= s][-1]
        u = s - begin
        return float(s), float(t), a + b * u + c * u**2 + d * u**3


@pytest.fixture(scope='module')
def root(example):
    """Return the map file's root element."""
    return ElementTree.fromstring(example.xodr)


@pytest.fixture(scope='module')
def road(root):
    """Return the street itself."""
    return XodrRoad(root.find("road[@id='1']"))


@pytest.fixture(scope='module', name='T_enu_map')
def pose_of_map_in_enu(example, root):
    """Return the pose of the scenario's frame in the map file's, from both files' own numbers."""
    text = root.find('header/geoReference').text
    words = dict(word.lstrip('+').split('=') for word in text.split() if '=' in word)
    lat0, lon0 = float(words['lat_0']), float(words['lon_0'])
    T_ecef_enu = np.eye(4)
    T_ecef_enu[:3, :3], T_ecef_enu[:3, 3] = east_north_up(lat0, lon0), ecef(lat0, lon0, 0.0)
    return np.linalg.inv(T_ecef_enu) @ np.array(example.rig['T_world_base'])


def test_the_drive_is_near_stockholm(example, root):
    pose = np.array(example.rig['T_world_base'])
    np.testing.assert_allclose(pose[:3, 3], ecef(59.35, 17.96, 31.5), atol=1e-3)
    assert np.allclose(pose[:3, :3].T @ pose[:3, :3], np.eye(3), atol=1e-12)
    assert np.allclose(pose[:3, 2], east_north_up(59.35, 17.96)[:, 2], atol=1e-9)
    text = root.find('header/geoReference').text
    assert '+lat_0=59.35' in text
    assert '+alt_0=0' in text
    assert 'egm96' in text


def test_reference_line_and_elevation_have_no_gaps(root):
    for element in root.iter('road'):
        geometries = list(element.find('planView'))
        assert float(geometries[0].get('s')) == 0
        for here, there in itertools.pairwise(geometries):
            piece = ElementTree.Element('road', length='1')
            ElementTree.SubElement(piece, 'planView').append(here)
            piece.append(element.find('elevationProfile'))
            point, heading = XodrRoad(piece).end
            assert np.allclose(point, [float(there.get('x')), float(there.get('y'))], atol=1e-3)
            assert heading == pytest.approx(float(there.get('hdg')), abs=1e-8)
            ends = float(here.get('s')) + float(here.get('length'))
            assert ends == pytest.approx(float(there.get('s')), abs=1e-6)
        records = XodrRoad(element).records
        for (s, a, b, c, d), there in itertools.pairwise(records):
            u = there[0] - s
            assert a + b * u + c * u**2 + d * u**3 == pytest.approx(there[1], abs=1e-6)
            assert b + 2 * c * u + 3 * d * u**2 == pytest.approx(there[2], abs=1e-6)


def test_ego_keeps_to_the_middle_of_the_right_lane(example, road, T_enu_map):
    for pose in example.poses[::4]:
        point = (T_enu_map @ pose)[:3, 3]
        s, t, height = road.locate(point)
        assert t == pytest.approx(-1.75, abs=0.02)
        # The map is a plane, Earth is not: 2 mm at 160 m.
        assert point[2] == pytest.approx(height, abs=0.01)
        assert 0 < s < road.length


def lane_types(element: ElementTree.Element) -> dict[int, tuple[str, float]]:
    lanes = element.findall('lanes/laneSection/*/lane')
    return {
        int(lane.get('id')): (
            lane.get('type'),
            0.0 if lane.find('width') is None else float(lane.find('width').get('a')),
        )
        for lane in lanes
    }


def test_lanes_are_in_order_and_complete(root):
    lanes = lane_types(root.find("road[@id='1']"))
    assert list(lanes) == [4, 3, 2, 1, 0, -1, -2, -3, -4]
    kinds = ['driving', 'biking', 'parking', 'sidewalk']
    for sign in (1, -1):
        assert [lanes[sign * number][0] for number in (1, 2, 3, 4)] == kinds
        assert all(lanes[sign * number][1] > 1 for number in (1, 2, 3, 4))


def test_road_users_are_in_lanes_of_their_kind(example, root, road, T_enu_map):
    lanes = lane_types(root.find("road[@id='1']"))
    edges = np.cumsum([0.0, *(lanes[number][1] for number in (1, 2, 3, 4))])
    names = [lanes[number][0] for number in (1, 2, 3, 4)]
    found = {label: Counter() for label in ('automobile', 'rider', 'person', 'bus')}
    for track in example.tracks:
        if track.label not in found or len(track.times_us) < 2:
            continue
        for pose in track.poses[::15]:
            _, t, _ = road.locate(T_enu_map[:3, :3] @ pose[:3] + T_enu_map[:3, 3])
            index = int(np.searchsorted(edges, abs(t))) - 1
            name = names[index] if index < len(names) else 'beyond'
            found[track.label][name, track.flags] += 1
    assert {name for name, _ in found['rider']} == {'biking'}
    assert {name for name, _ in found['bus']} == {'driving'}
    moving = {name for name, flags in found['automobile'] if flags != 'NONE'}
    assert moving <= {'driving', 'beyond'}
    assert {name for name, flags in found['automobile'] if flags == 'NONE'} == {'parking'}
    assert found['person']['sidewalk', 'DYNAMIC|CONTROLLABLE'] > 50
    assert {name for name, flags in found['person'] if flags == 'NONE'} == {'sidewalk'}


def test_the_crossing_is_where_people_cross(example, root, road, T_enu_map):
    crosswalk = root.find("road[@id='1']/objects/object[@type='crosswalk']")
    middle = float(crosswalk.get('s'))
    corners = crosswalk.findall('outline/cornerLocal')
    half = max(float(corner.get('u')) for corner in corners)
    crossing = 0
    for track in (one for one in example.tracks if one.label == 'person'):
        ends = [T_enu_map[:3, :3] @ p[:3] + T_enu_map[:3, 3] for p in track.poses[[0, -1]]]
        if np.ptp([road.locate(p)[1] for p in ends]) > 10:
            places = np.array(
                [road.locate(T_enu_map[:3, :3] @ p[:3] + T_enu_map[:3, 3]) for p in track.poses]
            )
            assert np.all(np.abs(places[:, 0] - middle) < half)
            crossing += 1
    assert crossing == 3
