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
"""~/tracks as rviz sees it, by a display that keeps rviz's rules, and ~/map, line by line."""

import json
import math
from pathlib import Path
from test.scenario.test_road_map import earth_pose, lane, road, xodr
from test.support.archives import build_archive, START_US
from test.support.outlet import RecordingOutlet
from test.support.player_bench import stamp_ns
from types import SimpleNamespace
from typing import Any
import zipfile

import numpy as np
from nurec_ros.example import make_example, write_example
from nurec_ros.palette import colour_of, LANES
from nurec_ros.playback.effects import Show, ShowAll, ShowJump
from nurec_ros.ros.loading import read, ReadScenario
from nurec_ros.ros.markers import TrackMarkers
from nurec_ros.ros.topics import ScenarioTopics
from nurec_ros.scenario import Scenario
from nurec_ros.settings import Settings
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from scipy.spatial.transform import Rotation
from visualization_msgs.msg import Marker, MarkerArray

pytestmark = pytest.mark.ros

LABELS = {'1': 'automobile', '2': 'person', '3': 'Alien Craft', '4': 'automobile'}


def active(*ids: str, labels: dict[str, str] = LABELS) -> Any:
    numbers = [int(track_id) for track_id in ids]
    turns = [(0, 0, np.sin(0.15 * i), np.cos(0.15 * i)) for i in numbers]
    return SimpleNamespace(
        t_ns=1_000_000_000,
        indices=np.array(numbers, dtype=np.intp),
        ids=ids,
        labels=tuple(labels[track_id] for track_id in ids),
        dims=np.tile([4.5, 1.9, 1.6], (len(ids), 1)),
        positions=np.array([(10.0 * i, -i, 0.8) for i in numbers]).reshape(-1, 3),
        quaternions=np.array(turns).reshape(-1, 4),
        static=np.array([track_id == '4' for track_id in ids], dtype=bool),
    )


class Street:
    """The markers, with what rviz's MarkerArray display keeps, and what it calls an error."""

    def __init__(self) -> None:
        self.source = TrackMarkers('map')
        self.markers: dict[tuple[str, int], Marker] = {}

    def publish(self, *arguments: Any, **options: Any) -> MarkerArray:
        # Messages share their markers.
        data = serialize_message(self.source.message(*arguments, **options))
        return self.take(deserialize_message(data, MarkerArray))

    def take(self, message: MarkerArray) -> MarkerArray:
        keys = [(m.ns, m.id) for m in message.markers]
        assert len(keys) == len(set(keys)), 'the same namespace and id twice in one message'
        for key, marker in zip(keys, message.markers, strict=True):
            if marker.action == Marker.DELETEALL:
                assert len(message.markers) == 1, 'DELETEALL beside other markers'
                self.markers.clear()
            elif marker.action == Marker.DELETE:
                assert key in self.markers, f'{key} was deleted and not there'
                del self.markers[key]
            else:
                check(marker)
                assert self.markers.setdefault(key, marker).type == marker.type
        return message

    def shown(self, kind: int) -> set[str]:
        return {marker.ns for marker in self.markers.values() if marker.type == kind}


def check(marker: Marker) -> None:
    """Check what rviz refuses or warns about, and the contract's frame and lifetime."""
    assert marker.action == Marker.ADD
    assert marker.header.frame_id == 'map'
    assert (marker.lifetime.sec, marker.lifetime.nanosec) == (0, 0)
    assert not marker.frame_locked
    at, to, scale = marker.pose.position, marker.pose.orientation, marker.scale
    numbers = [at.x, at.y, at.z, to.x, to.y, to.z, to.w, scale.x, scale.y, scale.z]
    numbers += [value for point in marker.points for value in (point.x, point.y, point.z)]
    assert all(math.isfinite(value) for value in numbers)
    assert abs(math.hypot(to.x, to.y, to.z, to.w) - 1) < 1e-9
    colour = marker.color
    assert all(0.0 <= value <= 1.0 for value in (colour.r, colour.g, colour.b))
    assert 0.0 < colour.a <= 1.0
    if marker.type == Marker.CUBE:
        assert min(scale.x, scale.y, scale.z) > 0
    elif marker.type == Marker.TEXT_VIEW_FACING:
        assert scale.z > 0
        assert marker.text
    elif marker.type == Marker.ARROW:
        assert len(marker.points) == 2
        assert min(scale.x, scale.y) > 0
    elif marker.type == Marker.LINE_STRIP:
        assert len(marker.points) >= 2
        assert scale.x > 0
    assert -(2**31) <= marker.id < 2**31


@pytest.fixture
def street() -> Street:
    return Street()


def added(message: MarkerArray, kind: int) -> list[Marker]:
    return [m for m in message.markers if m.type == kind and m.action == Marker.ADD]


def cubes_of(message: MarkerArray) -> list[Marker]:
    return added(message, Marker.CUBE)


def deleted(message: MarkerArray) -> set[tuple[str, int]]:
    return {(m.ns, m.id) for m in message.markers if m.action == Marker.DELETE}


def test_a_track_is_a_cube_and_a_text_above_it_with_one_id(street: Street):
    message = street.publish(active('1', '2'))
    cubes, texts = cubes_of(message), added(message, Marker.TEXT_VIEW_FACING)
    assert [cube.ns for cube in cubes] == ['automobile', 'person']
    assert [text.ns for text in texts] == ['automobile/text', 'person/text']
    assert [cube.id for cube in cubes] == [text.id for text in texts]
    assert len({cube.id for cube in cubes}) == 2
    cube, text = cubes[0], texts[0]
    assert (cube.pose.position.x, cube.pose.position.y, cube.pose.position.z) == (10, -1, 0.8)
    expected = Rotation.from_euler('z', 0.3).as_quat()
    to = cube.pose.orientation
    np.testing.assert_allclose([to.x, to.y, to.z, to.w], expected, atol=1e-12)
    assert (cube.scale.x, cube.scale.y, cube.scale.z) == (4.5, 1.9, 1.6)
    assert (text.pose.position.x, text.pose.position.y) == (10, -1)
    assert text.pose.position.z > 0.8 + 1.6 / 2 + text.scale.z / 2
    assert 'automobile' in text.text
    assert {stamp_ns(marker) for marker in message.markers} == {1_000_000_000}


def test_tracks_come_go_and_come_back_with_their_ids(street: Street):
    assert street.publish(active()).markers == []
    for _ in range(2):
        message = street.publish(active('1', '2', '3'))
        assert {m.action for m in message.markers} == {Marker.ADD}
        assert len(message.markers) == 6
    number = cubes_of(message)[0].id
    assert deleted(street.publish(active('2', '3'))) == {
        ('automobile', number),
        ('automobile/text', number),
    }
    message = street.publish(active('2', '3'))
    assert not deleted(message)
    assert set(street.markers) == {(m.ns, m.id) for m in message.markers}
    (marker,) = street.take(street.source.delete_all(7_000_000_001)).markers
    assert (marker.action, marker.ns) == (Marker.DELETEALL, '')
    assert (marker.header.frame_id, stamp_ns(marker)) == ('map', 7_000_000_001)
    message = street.publish(active('3', '1'))
    assert {m.action for m in message.markers} == {Marker.ADD}
    assert cubes_of(message)[1].id == number
    street.publish(active())
    assert street.markers == {}


def test_what_is_static_is_paler_and_has_no_trail(street: Street):
    way = np.array([[0.0, 0, 0], [1, 0, 0]])
    message = street.publish(active('1', '4'), trails=[way, way])
    moving, parked = (one.color for one in cubes_of(message))
    found = np.array([moving.r, moving.g, moving.b]) * 255
    np.testing.assert_allclose(found, colour_of('automobile'), atol=1e-4)
    assert parked.a < moving.a
    assert all(getattr(parked, one) >= getattr(moving, one) for one in 'rgb')
    assert (parked.r, parked.g, parked.b) != (moving.r, moving.g, moving.b)
    assert len(added(message, Marker.LINE_STRIP)) == 1


def test_names_collide_with_nothing(street: Street):
    """A label may look like another's text; an id may be that of another scenario's track."""
    labels = {'1': 'a', '2': 'a/text', '3': 'a/text/text', '4': 'a'}
    street.publish(active('1', '2', '3', '4', labels=labels))
    assert len(street.markers) == 8
    street.publish(active('1', labels={'1': 'bus'}))
    assert {ns for ns, _ in street.markers} == {'bus', 'bus/text'}


def test_a_box_without_extent_is_shown_nevertheless(street: Street):
    flat = active('1')
    flat.dims[:] = 0.0
    (cube,) = cubes_of(street.publish(flat))
    assert 0 < cube.scale.x < 0.01


def test_arrows_show_the_velocity_and_go_with_it(street: Street):
    def publish(*ids: str, **options: Any) -> MarkerArray:
        return street.publish(active(*ids), **options)

    message = publish('1', '2', velocities=np.array([(3.0, 4, 0), (0, 0, 0.01)]))
    (arrow,) = added(message, Marker.ARROW)
    assert (arrow.ns, arrow.id) == ('automobile/velocity', cubes_of(message)[0].id)
    tail, tip = arrow.points
    assert (tail.x, tail.y, tail.z) == (10, -1, 0.8)
    assert (tip.x - tail.x, tip.y - tail.y, tip.z - tail.z) == pytest.approx((3, 4, 0))
    # Switched off.
    assert deleted(publish('1', '2')) == {('automobile/velocity', arrow.id)}
    assert not deleted(publish('1', '2'))
    publish('1', '2', velocities=np.array([(5.0, 0, 0), (0, 5, 0)]))
    assert street.shown(Marker.ARROW) == {'automobile/velocity', 'person/velocity'}
    publish('1', '2', velocities=np.array([(0.0, 0, 0), (0, 5, 0)]))
    assert street.shown(Marker.ARROW) == {'person/velocity'}
    publish('1', velocities=np.array([(5.0, 0, 0)]))
    shown = {'automobile', 'automobile/text', 'automobile/velocity'}
    assert {ns for ns, _ in street.markers} == shown


def test_trails_are_lines_through_the_positions_given(street: Street):
    way = np.array([[0.0, 0, 0], [1, 0, 0], [2, 1, 0]])
    message = street.publish(active('1', '2'), trails=[way, way[:1]])
    (trail,) = added(message, Marker.LINE_STRIP)
    assert trail.ns == 'automobile/trail'
    np.testing.assert_array_equal(line(trail), way)
    street.publish(active('1', '2'), trails=[way[:0], way])
    assert street.shown(Marker.LINE_STRIP) == {'person/trail'}
    street.publish(active('1', '2'))
    assert len(street.markers) == 4


def test_what_vanishes_while_nobody_subscribes_is_deleted_afterwards(street: Street, tmp_path):
    outlet = RecordingOutlet()
    topics = ScenarioTopics(outlet, Settings, Scenario.load(build_archive(tmp_path)))
    # The person is there in the middle half of 2 s.
    for seconds, subscribers in ((1.4, 1), (1.6, 0), (1.7, 0), (1.8, 1)):
        outlet.numbers['~/tracks'] = subscribers
        topics.show(Show(START_US * 1000 + round(seconds * 1e9), tracks=True))
    first, last = map(street.take, outlet.messages('~/tracks'))
    assert {ns for ns, _ in deleted(last)} == {'person', 'person/text'}
    assert (len(first.markers), len(street.markers)) == (6, 4)
    # A load starts the numbers anew, which grow with each road user that ever was shown.
    for _ in range(3):
        topics.show_jump(ShowJump(START_US * 1000 + 1_000_000_000, loaded=True))
        *_, shown = outlet.messages('~/tracks')
        assert {marker.id for marker in shown.markers} == {0, 1, 2}


def test_a_whole_street_leaves_exactly_the_active_tracks_at_every_moment(
    street: Street, pittsburgh: Path
):
    scenario = Scenario.load(pittsburgh)
    tracks = scenario.tracks
    ids: dict[str, int] = {}
    forward = np.linspace(scenario.start_ns, scenario.end_ns, 6).astype(np.int64).tolist()
    for t_ns in [*forward, None, *forward[:2]]:
        if t_ns is None:
            street.take(street.source.delete_all(scenario.end_ns))
            continue
        now = tracks.at(t_ns)
        trails = [tracks.trail(int(i), t_ns - 2_000_000_000, t_ns) for i in now.indices]
        message = street.publish(now, velocities=tracks.velocities(now), trails=trails)
        cubes = cubes_of(message)
        kinds = [marker.type for marker in street.markers.values()]
        assert len(cubes) == len(now) == kinds.count(Marker.CUBE)
        assert kinds.count(Marker.TEXT_VIEW_FACING) == len(now)
        assert [cube.ns for cube in cubes] == list(now.labels)
        for cube, track_id in zip(cubes, now.ids, strict=True):
            assert ids.setdefault(track_id, cube.id) == cube.id
    assert len(set(ids.values())) == len(ids) > 50


# Lanes.

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

    def __init__(self, scenario: Scenario, **settings: Any) -> None:
        self.outlet = RecordingOutlet()
        self.topics = ScenarioTopics(self.outlet, lambda: Settings(**settings), scenario)

    def load(self, scenario: Scenario, prepared: Any = None) -> list[Marker]:
        """Show a scenario from its start; return the markers, the one that clears apart."""
        self.outlet.published.clear()
        self.topics.change(scenario, prepared=prepared)
        self.topics.show_jump(ShowJump(scenario.start_ns, loaded=True))
        markers = [marker for one in self.outlet.messages('~/map') for marker in one.markers]
        assert [marker.action for marker in markers[:1]] in ([], [Marker.DELETEALL])
        return markers[1:]


def line(marker: Marker) -> np.ndarray:
    return np.array([(point.x, point.y, point.z) for point in marker.points])


@pytest.mark.parametrize('name', ['generated', 'pittsburgh'])
def test_lines_are_where_the_road_is(name, tmp_path, request):
    usdz = build_archive(tmp_path) if name == 'generated' else request.getfixturevalue(name)
    plain = Scenario.load(usdz)
    shown = Shown(plain, map_frame='world')
    assert shown.load(plain) == []
    assert '~/map' not in shown.outlet.topics

    # The first pose of the drive is at `moved` in the map's own frame, and that is turned.
    yaw, moved = 0.8, np.array((30.0, -12.0, 1.5))
    turned = Rotation.from_euler('Z', yaw)
    here = moved - turned.apply(plain.ego.positions[0].copy())
    path = tmp_path / 'with_map.usdz'
    with zipfile.ZipFile(usdz) as source, zipfile.ZipFile(path, 'w') as copied:
        for item in source.infolist():
            data = source.read(item)
            if item.filename == 'rig_trajectories.json':
                placed = {'T_world_base': earth_pose(yaw, *here).tolist()}
                data = json.dumps(json.loads(data) | placed).encode()
            copied.writestr(item, data)
        copied.writestr('map.xodr', xodr(roads=road(BEND, lanes=LANES_OF_BEND, length=60)))
    scenario = Scenario.load(path)
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
        points = turned.apply(line(marker)) + here
        np.testing.assert_allclose(points[0], on_the_bend(begin, right), atol=2e-6)
        np.testing.assert_allclose(points[-1], on_the_bend(end, right), atol=2e-6)
        away = np.linalg.norm(points - on_the_bend(0.0, -20.0), axis=1)
        np.testing.assert_allclose(away, 20.0 + right, atol=2e-6)


@pytest.fixture(scope='module')
def loaded(tmp_path_factory: pytest.TempPathFactory) -> ReadScenario:
    path = tmp_path_factory.mktemp('street') / 'street.usdz'
    return read(Settings(usdz_path=str(write_example(path, make_example(duration_s=6.0)))))


def distance(points: np.ndarray, place: np.ndarray) -> float:
    """Return how far a place is from a polyline in the plane."""
    start, step = points[:-1, :2], np.diff(points[:, :2], axis=0)
    share = np.einsum('ij,ij->i', place[:2] - start, step) / np.einsum('ij,ij->i', step, step)
    nearest = start + np.clip(share, 0.0, 1.0)[:, np.newaxis] * step
    return float(np.hypot(*(place[:2] - nearest).T).min())


def test_the_example_street_is_marked_as_its_lanes_are(loaded: ReadScenario):
    """The markers were made with the reading, and not in the executor's time."""
    street = loaded.scenario
    shown = Shown(street)
    markers = shown.load(street, loaded.prepared)
    assert loaded.prepared.lanes == markers == shown.load(street)
    assert len(markers) == len(street.road_map.boundaries)
    assert {marker.ns for marker in markers} == {'solid', 'broken', 'curb', 'unmarked'}
    # A half of the street: 3.5 m to drive in the middle of, 1.8 m for bicycles, 2.4 m to park.
    for kind, expected in (('broken', 1.75), ('solid', 1.75), ('curb', 1.75 + 1.8 + 2.4)):
        lines = [line(marker) for marker in markers if marker.ns == kind]
        for position in street.ego.positions[::50]:
            nearest = min(distance(points, position) for points in lines)
            assert nearest == pytest.approx(expected, abs=0.35)


def test_it_comes_again_after_a_jump_and_goes_with_its_scenario(loaded: ReadScenario, tmp_path):
    street = loaded.scenario
    shown = Shown(street)
    assert shown.load(street, loaded.prepared)
    later = street.start_ns + 10**9
    for show, effect in (
        (shown.topics.show_jump, ShowJump(later)),
        (shown.topics.show_all, ShowAll(later + 1000)),
    ):
        shown.outlet.published.clear()
        show(effect)
        (message,) = shown.outlet.messages('~/map')
        assert {stamp_ns(marker) for marker in message.markers} == {effect.t_ns}
        order = shown.outlet.order
        assert order.index('~/path') < order.index('~/map') < order.index('/tf')
    assert shown.load(Scenario.load(build_archive(tmp_path))) == []
    (message,) = shown.outlet.messages('~/map')
    assert [marker.action for marker in message.markers] == [Marker.DELETEALL]
    assert '~/map' not in shown.outlet.offered
    assert shown.load(street)
