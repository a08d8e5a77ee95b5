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
"""~/tracks as rviz sees it: a display that keeps rviz's rules is fed every message."""

from collections.abc import Sequence
import copy
import math
from pathlib import Path
from test.support.archives import build_archive, START_US
from test.support.outlet import RecordingOutlet
from types import SimpleNamespace
from typing import Any

import numpy as np
from nurec_ros.palette import colour_of
from nurec_ros.playback.effects import Show, ShowJump
from nurec_ros.ros.markers import TrackMarkers
from nurec_ros.ros.topics import ScenarioTopics
from nurec_ros.scenario import Scenario
from nurec_ros.settings import Settings
import pytest
from scipy.spatial.transform import Rotation
from visualization_msgs.msg import Marker, MarkerArray

pytestmark = pytest.mark.ros

LABELS = {'1': 'automobile', '2': 'person', '3': 'Alien Craft', '4': 'automobile'}


def active(*ids: str, t_ns: int = 1_000_000_000, labels: dict[str, str] | None = None) -> Any:
    count = len(ids)
    numbers = [int(track_id) for track_id in ids]
    return SimpleNamespace(
        t_ns=t_ns,
        indices=np.array(numbers, dtype=np.intp),
        ids=ids,
        labels=tuple((labels or LABELS)[track_id] for track_id in ids),
        dims=np.tile([4.5, 1.9, 1.6], (count, 1)),
        positions=np.array([(10.0 * i, -i, 0.8) for i in numbers]).reshape(-1, 3),
        quaternions=np.array(
            [(0, 0, np.sin(0.15 * i), np.cos(0.15 * i)) for i in numbers]
        ).reshape(-1, 4),
        static=np.array([track_id == '4' for track_id in ids], dtype=bool),
    )


class Display:
    """What rviz's MarkerArray display keeps, and what it calls an error."""

    def __init__(self) -> None:
        self.markers: dict[tuple[str, int], Marker] = {}
        self.deleted: list[tuple[str, int]] = []

    def take(self, message: MarkerArray) -> None:
        keys = [(m.ns, m.id) for m in message.markers if m.action != Marker.DELETEALL]
        assert len(keys) == len(set(keys)), 'the same namespace and id twice in one message'
        if any(m.action == Marker.DELETEALL for m in message.markers):
            assert len(message.markers) == 1, 'DELETEALL beside other markers'
        for marker in message.markers:
            self._take(marker)

    def _take(self, marker: Marker) -> None:
        key = (marker.ns, marker.id)
        if marker.action == Marker.DELETEALL:
            self.markers.clear()
            return
        if marker.action == Marker.DELETE:
            assert key in self.markers, f'{key} was deleted and not there'
            del self.markers[key]
            self.deleted.append(key)
            return
        check(marker)
        before = self.markers.get(key)
        assert before is None or before.type == marker.type
        self.markers[key] = marker

    def kind(self, kind: int) -> dict[tuple[str, int], Marker]:
        return {key: marker for key, marker in self.markers.items() if marker.type == kind}


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


class Street:
    """The markers, with a display at their other end."""

    def __init__(self) -> None:
        self.markers = TrackMarkers('map')
        self.display = Display()

    def publish(self, *arguments: Any, **options: Any) -> MarkerArray:
        return self._shown(self.markers.message(*arguments, **options))

    def delete_all(self, t_ns: int) -> MarkerArray:
        return self._shown(self.markers.delete_all(t_ns))

    def _shown(self, message: MarkerArray) -> MarkerArray:
        # A copy, as the wire makes one: messages share their markers.
        message = copy.deepcopy(message)
        self.display.take(message)
        return message


@pytest.fixture
def street() -> Street:
    return Street()


def by_type(message: MarkerArray, kind: int) -> list[Marker]:
    return [m for m in message.markers if m.type == kind and m.action == Marker.ADD]


def test_a_track_is_a_cube_and_a_text_above_it_with_one_id(street: Street):
    message = street.publish(active('1', '2'))
    cubes = by_type(message, Marker.CUBE)
    texts = by_type(message, Marker.TEXT_VIEW_FACING)
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
    assert {(m.header.stamp.sec, m.header.stamp.nanosec) for m in message.markers} == {(1, 0)}


def test_every_message_holds_every_active_track(street: Street):
    for step in range(3):
        message = street.publish(active('1', '2', '3', t_ns=step))
        assert len(message.markers) == 6
        assert not [m for m in message.markers if m.action != Marker.ADD]


def test_a_vanished_track_is_deleted_once_in_both_namespaces(street: Street):
    first = street.publish(active('1', '2'))
    number = by_type(first, Marker.CUBE)[0].id
    second = street.publish(active('2'))
    deleted = {(m.ns, m.id) for m in second.markers if m.action == Marker.DELETE}
    assert deleted == {('automobile', number), ('automobile/text', number)}
    third = street.publish(active('2'))
    assert not [m for m in third.markers if m.action == Marker.DELETE]
    assert set(street.display.markers) == {(m.ns, m.id) for m in third.markers}


def test_a_track_keeps_its_id_when_it_comes_back(street: Street):
    before = by_type(street.publish(active('1', '2')), Marker.CUBE)[0].id
    street.publish(active('2', '3'))
    street.delete_all(5)
    after = by_type(street.publish(active('3', '1')), Marker.CUBE)[1].id
    assert after == before


def test_no_tracks_is_a_message_too(street: Street):
    assert street.publish(active()).markers == []
    street.publish(active('1'))
    street.publish(active())
    assert street.display.markers == {}


def test_delete_all_is_one_marker_in_a_message_of_its_own(street: Street):
    street.publish(active('1', '2'))
    message = street.delete_all(7_000_000_001)
    (marker,) = message.markers
    assert marker.action == Marker.DELETEALL
    assert marker.ns == ''
    assert marker.header.frame_id == 'map'
    assert (marker.header.stamp.sec, marker.header.stamp.nanosec) == (7, 1)
    assert street.display.markers == {}
    again = street.publish(active('2'))
    assert {m.action for m in again.markers} == {Marker.ADD}


def test_labels_stay_as_they_are_and_colours_ignore_case(street: Street):
    labels = {'1': 'Automobile', '2': 'automobile', '3': 'Alien Craft', '4': ''}
    message = street.publish(active('1', '2', '3', labels=labels))
    one, other, unknown = by_type(message, Marker.CUBE)
    assert [m.ns for m in (one, other, unknown)] == ['Automobile', 'automobile', 'Alien Craft']
    assert one.color == other.color
    expected = np.array(colour_of('automobile')) / 255
    np.testing.assert_allclose([one.color.r, one.color.g, one.color.b], expected, atol=1e-6)
    expected = np.array(colour_of('no such class')) / 255
    colour = unknown.color
    np.testing.assert_allclose([colour.r, colour.g, colour.b], expected, atol=1e-6)


def test_what_is_static_is_paler(street: Street):
    moving, parked = by_type(street.publish(active('1', '4')), Marker.CUBE)
    assert parked.color.a < moving.color.a
    for channel in 'rgb':
        assert getattr(parked.color, channel) >= getattr(moving.color, channel)
    assert parked.color != moving.color


def test_a_label_that_looks_like_anothers_text_collides_with_nothing(street: Street):
    labels = {'1': 'a', '2': 'a/text', '3': 'a/text/text', '4': 'a'}
    street.publish(active('1', '2', '3', '4', labels=labels))
    assert len(street.display.markers) == 8


def test_a_track_of_another_scenario_with_the_same_id_is_another(street: Street):
    street.publish(active('1'))
    message = street.publish(active('1', labels={'1': 'bus'}))
    assert set(street.display.markers) == {
        (m.ns, m.id) for m in message.markers if m.action == Marker.ADD
    }
    assert {ns for ns, _ in street.display.markers} == {'bus', 'bus/text'}


def test_a_box_without_extent_is_shown_nevertheless(street: Street):
    flat = active('1')
    flat.dims[:] = 0.0
    (cube,) = by_type(street.publish(flat), Marker.CUBE)
    assert 0 < cube.scale.x < 0.01


def velocities(*rows: Sequence[float]) -> np.ndarray:
    return np.array(rows, dtype=float)


def test_arrows_show_the_velocity_and_go_when_switched_off(street: Street):
    message = street.publish(active('1', '2'), velocities=velocities((3, 4, 0), (0, 0, 0.01)))
    (arrow,) = by_type(message, Marker.ARROW)
    assert arrow.ns == 'automobile/velocity'
    assert arrow.id == by_type(message, Marker.CUBE)[0].id
    tail, tip = arrow.points
    assert (tail.x, tail.y, tail.z) == (10, -1, 0.8)
    assert (tip.x - tail.x, tip.y - tail.y, tip.z - tail.z) == pytest.approx((3, 4, 0))
    message = street.publish(active('1', '2'))
    assert [(m.ns, m.id) for m in message.markers if m.action == Marker.DELETE] == [
        ('automobile/velocity', arrow.id)
    ]
    assert street.display.kind(Marker.ARROW) == {}
    message = street.publish(active('1', '2'))
    assert not [m for m in message.markers if m.action == Marker.DELETE]


def test_an_arrow_goes_when_its_track_stops_or_vanishes(street: Street):
    moving = velocities((5, 0, 0), (0, 5, 0))
    street.publish(active('1', '2'), velocities=moving)
    assert len(street.display.kind(Marker.ARROW)) == 2
    street.publish(active('1', '2'), velocities=velocities((0, 0, 0), (0, 5, 0)))
    assert {ns for ns, _ in street.display.kind(Marker.ARROW)} == {'person/velocity'}
    street.publish(active('1'), velocities=velocities((5, 0, 0)))
    assert {ns for ns, _ in street.display.markers} == {
        'automobile',
        'automobile/text',
        'automobile/velocity',
    }


def test_trails_are_lines_through_the_positions_given(street: Street):
    way = np.array([[0.0, 0, 0], [1, 0, 0], [2, 1, 0]])
    message = street.publish(active('1', '2'), trails=[way, way[:1]])
    (trail,) = by_type(message, Marker.LINE_STRIP)
    assert trail.ns == 'automobile/trail'
    assert [(p.x, p.y, p.z) for p in trail.points] == [tuple(row) for row in way.tolist()]
    street.publish(active('1', '2'), trails=[way[:0], way])
    assert {ns for ns, _ in street.display.kind(Marker.LINE_STRIP)} == {'person/trail'}
    street.publish(active('1', '2'))
    assert street.display.kind(Marker.LINE_STRIP) == {}
    assert len(street.display.markers) == 4


def test_what_is_static_has_no_trail(street: Street):
    way = np.array([[0.0, 0, 0], [1, 0, 0]])
    street.publish(active('1', '4'), trails=[way, way])
    assert len(street.display.kind(Marker.LINE_STRIP)) == 1


def test_what_vanishes_while_nobody_listens_is_deleted_afterwards(tmp_path: Path):
    outlet = RecordingOutlet()
    topics = ScenarioTopics(outlet, Settings, Scenario.load(build_archive(tmp_path)))
    display = Display()

    def show(seconds: float) -> int:
        outlet.published.clear()
        topics.show(Show(START_US * 1000 + round(seconds * 1e9), tracks=True))
        for message in outlet.messages('~/tracks'):
            display.take(message)
        return len(outlet.messages('~/tracks'))

    # The person is there in the middle half of 2 s.
    assert show(1.4) == 1
    outlet.numbers['~/tracks'] = 0
    assert show(1.6) == show(1.7) == 0
    outlet.numbers['~/tracks'] = 1
    assert show(1.8) == 1
    assert {ns for ns, _ in display.deleted} == {'person', 'person/text'}
    assert len(display.markers) == 4


def test_a_load_starts_the_numbers_anew(tmp_path: Path):
    """They grow with each road user that ever was shown; nothing of another drive stays."""
    outlet = RecordingOutlet()
    topics = ScenarioTopics(outlet, Settings, Scenario.load(build_archive(tmp_path)))
    for _ in range(3):
        outlet.published.clear()
        topics.show_jump(ShowJump(START_US * 1000 + 1_000_000_000, loaded=True))
        *_, shown = outlet.messages('~/tracks')
        assert {marker.id for marker in shown.markers} == {0, 1, 2}


def test_a_whole_street_leaves_exactly_the_active_tracks_at_every_moment(
    street: Street, pittsburgh: Path
):
    scenario = Scenario.load(pittsburgh)
    tracks = scenario.tracks
    ids: dict[str, int] = {}
    middle = (scenario.start_ns + scenario.end_ns) // 2
    forward = np.linspace(scenario.start_ns, scenario.end_ns, 8).astype(np.int64)
    for t_ns in [*forward.tolist(), middle, *forward[:2].tolist()]:
        if t_ns == middle:
            street.delete_all(t_ns)
        now = tracks.at(t_ns)
        trails = [tracks.trail(int(i), t_ns - 2_000_000_000, t_ns) for i in now.indices]
        message = street.publish(now, velocities=tracks.velocities(now), trails=trails)
        cubes = by_type(message, Marker.CUBE)
        assert len(cubes) == len(now) == len(street.display.kind(Marker.CUBE))
        assert len(street.display.kind(Marker.TEXT_VIEW_FACING)) == len(now)
        assert [cube.ns for cube in cubes] == list(now.labels)
        for cube, track_id in zip(cubes, now.ids, strict=True):
            assert ids.setdefault(track_id, cube.id) == cube.id
        if not cubes:
            continue
        numbers = [
            [getattr(part, axis) for axis in axes]
            for cube in cubes
            for part, axes in (
                (cube.pose.position, 'xyz'),
                (cube.pose.orientation, 'xyzw'),
                (cube.scale, 'xyz'),
            )
        ]
        np.testing.assert_allclose(numbers[0::3], now.poses[:, :3, 3], atol=1e-9)
        turned = Rotation.from_quat(numbers[1::3]).as_matrix()
        np.testing.assert_allclose(turned, now.poses[:, :3, :3], atol=1e-6)
        assert numbers[2::3] == now.dims.tolist()
    assert len(set(ids.values())) == len(ids) > 50
