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
"""~/map: each boundary of the road map as a line strip, in its place and of its kind."""

import json
import math
from pathlib import Path
from test.scenario.test_road_map import earth_pose, lane, road, xodr
from test.support.archives import build_archive
from test.support.outlet import RecordingOutlet
from test.support.player_bench import stamp_ns
from typing import Any
import zipfile

import numpy as np
from nurec_ros.example import write_example
from nurec_ros.palette import LANES
from nurec_ros.playback.effects import ShowAll, ShowJump
from nurec_ros.ros.loading import read, ReadScenario
from nurec_ros.ros.topics import ScenarioTopics
from nurec_ros.scenario import Scenario
from nurec_ros.settings import Settings
import pytest
from scipy.spatial.transform import Rotation
from visualization_msgs.msg import Marker

pytestmark = pytest.mark.ros

BEND = '<geometry s="0" x="0" y="0" hdg="0.3" length="60"><arc curvature="0.05"/></geometry>'
LANES_OF_BEND = lane(-1, 'driving', (0, 'solid'), (25, 'broken'))


def on_the_bend(s: float, right: float) -> np.ndarray:
    """Return a point of that road in the map's own frame, by the circle's centre."""
    centre = 20.0 * np.array((-math.sin(0.3), math.cos(0.3)))
    turned = 0.3 + s / 20.0
    return np.array(
        [*centre + (20.0 + right) * np.array((math.sin(turned), -math.cos(turned))), 0]
    )


class Shown:
    """What of scenarios is on ~/map."""

    def __init__(self, **settings: Any) -> None:
        self.outlet = RecordingOutlet()
        self.settings = Settings(**settings)
        self.topics: ScenarioTopics | None = None

    def load(self, scenario: Scenario) -> list[Marker]:
        """Show a scenario from its start; return the markers of the last message."""
        if self.topics is None:
            self.topics = ScenarioTopics(self.outlet, lambda: self.settings, scenario)
        self.topics.change(scenario)
        self.topics.show_jump(ShowJump(scenario.start_ns, loaded=True))
        return self.last()

    def last(self) -> list[Marker]:
        """Return the markers of the last message, the one that clears apart."""
        messages = self.outlet.messages('~/map')
        if not messages:
            return []
        first, *markers = messages[-1].markers
        assert first.action == Marker.DELETEALL
        return markers


def line(marker: Marker) -> np.ndarray:
    return np.array([(point.x, point.y, point.z) for point in marker.points])


def with_map(folder: Path, usdz: Path, text: str, place: Any) -> Path:
    """Copy an archive, with a map, and the pose on Earth that `place` finds for its first pose."""
    path = folder / 'with_map.usdz'
    with zipfile.ZipFile(usdz) as source, zipfile.ZipFile(path, 'w') as copy:
        for item in source.infolist():
            data = source.read(item)
            if item.filename == 'rig_trajectories.json':
                rig = json.loads(data)
                rig['T_world_base'] = place(Scenario.load(usdz).ego.positions[0].copy()).tolist()
                data = json.dumps(rig).encode()
            copy.writestr(item, data)
        copy.writestr('map.xodr', text)
    return path


@pytest.mark.parametrize('name', ['generated', 'pittsburgh'])
def test_lines_are_where_the_road_is(name, tmp_path, request):
    drives = {'generated': lambda: build_archive(tmp_path)}
    usdz = drives[name]() if name in drives else request.getfixturevalue(name)
    shown = Shown(map_frame='world')
    assert shown.load(Scenario.load(usdz)) == []
    assert '~/map' not in shown.outlet.topics

    yaw, moved = 0.8, np.array((30.0, -12.0, 1.5))
    turned = Rotation.from_euler('Z', yaw)
    here: list[np.ndarray] = []

    def place(first: np.ndarray) -> np.ndarray:
        # The first pose of the drive is at `moved` in the map's own frame.
        here.append(moved - turned.apply(first))
        return earth_pose(yaw, *here[0])

    text = xodr(roads=road(BEND, lanes=LANES_OF_BEND, length=60))
    scenario = Scenario.load(with_map(tmp_path, usdz, text, place))
    markers = shown.load(scenario)
    assert scenario.warnings == ()
    assert [marker.ns for marker in markers] == ['edge', 'solid', 'broken']
    assert len({(marker.ns, marker.id) for marker in markers}) == 3
    for marker, right, (begin, end) in zip(
        markers, (0.0, 3.0, 3.0), ((0, 60), (0, 25), (25, 60)), strict=True
    ):
        assert (marker.type, marker.action) == (Marker.LINE_STRIP, Marker.ADD)
        assert (marker.header.frame_id, stamp_ns(marker)) == ('world', scenario.start_ns)
        assert marker.pose.orientation.w == 1.0
        assert (marker.lifetime.sec, marker.lifetime.nanosec) == (0, 0)
        assert marker.scale.x > 0.0
        colour = [round(255 * c) for c in (marker.color.r, marker.color.g, marker.color.b)]
        assert (tuple(colour), marker.color.a) == (LANES[marker.ns], 1.0)
        points = turned.apply(line(marker)) + here[0]
        np.testing.assert_allclose(points[0], on_the_bend(begin, right), atol=2e-6)
        np.testing.assert_allclose(points[-1], on_the_bend(end, right), atol=2e-6)
        centre = on_the_bend(0.0, -20.0)
        np.testing.assert_allclose(
            np.linalg.norm(points - centre, axis=1), 20.0 + right, atol=2e-6
        )


@pytest.fixture(scope='module')
def loaded(tmp_path_factory: pytest.TempPathFactory) -> ReadScenario:
    path = tmp_path_factory.mktemp('street') / 'street.usdz'
    return read(Settings(usdz_path=str(write_example(path, duration_s=6.0))))


@pytest.fixture(scope='module')
def street(loaded: ReadScenario) -> Scenario:
    return loaded.scenario


def distance(points: np.ndarray, place: np.ndarray) -> float:
    """Return how far a place is from a polyline in the plane."""
    start, step = points[:-1, :2], np.diff(points[:, :2], axis=0)
    share = np.einsum('ij,ij->i', place[:2] - start, step) / np.einsum('ij,ij->i', step, step)
    nearest = start + np.clip(share, 0.0, 1.0)[:, np.newaxis] * step
    return float(np.hypot(*(place[:2] - nearest).T).min())


def test_the_example_street_is_marked_as_its_lanes_are(street: Scenario):
    markers = Shown().load(street)
    assert {marker.ns for marker in markers} == {'solid', 'broken', 'curb', 'unmarked'}
    # A half of the street: 3.5 m to drive in the middle of, 1.8 m for bicycles, 2.4 m to park.
    for kind, expected in (('broken', 1.75), ('solid', 1.75), ('curb', 1.75 + 1.8 + 2.4)):
        lines = [line(marker) for marker in markers if marker.ns == kind]
        for position in street.ego.positions[::50]:
            nearest = min(distance(points, position) for points in lines)
            assert nearest == pytest.approx(expected, abs=0.35)


def test_it_comes_again_after_a_jump_and_goes_with_its_scenario(street: Scenario, tmp_path):
    shown = Shown()
    assert shown.load(street)
    later = street.start_ns + 10**9
    for show, t_ns in (
        (lambda topics: topics.show_jump(ShowJump(later)), later),
        (lambda topics: topics.show_all(ShowAll(later + 1000)), later + 1000),
    ):
        shown.outlet.published.clear()
        show(shown.topics)
        (message,) = shown.outlet.messages('~/map')
        assert {stamp_ns(marker) for marker in message.markers} == {t_ns}
        order = shown.outlet.order
        assert order.index('~/path') < order.index('~/map') < order.index('/tf')
    shown.outlet.published.clear()
    shown.load(Scenario.load(build_archive(tmp_path)))
    (message,) = shown.outlet.messages('~/map')
    assert [marker.action for marker in message.markers] == [Marker.DELETEALL]
    assert '~/map' not in shown.outlet.offered
    assert shown.load(street)


def test_they_are_made_with_the_reading_and_not_in_the_executor_s_time(loaded: ReadScenario):
    assert loaded.prepared is not None
    assert loaded.scenario.road_map is not None
    shown = Shown()
    shown.load(loaded.scenario)
    shown.topics.change(loaded.scenario, prepared=loaded.prepared)
    shown.topics.show_jump(ShowJump(loaded.begin_ns, loaded=True))
    assert shown.last() == loaded.prepared.lanes.markers
    assert len(shown.last()) == len(loaded.scenario.road_map.boundaries)
