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
Markers and objects, as a recording of a whole session shows them.

| rule | test |
|---|---|
| every active road user is in every message, and nobody else | `test_viewer_sees_…` |
| (ns, id) is unique in a message | `test_markers_are_unique_…` |
| the id is stable per road user | `test_ids_are_stable` |
| a box in ns `<label>`, its text in `<label>/text` with the same id | `…_pairs` |
| boxes are where the road users are, texts above them | `test_boxes_…`, `test_texts_…` |
| lifetime 0, one stamp for all | `test_markers_live_…`, `test_all_markers_…` |
| DELETE exactly once for what has vanished, of box and text | `test_delete_…` |
| one DELETEALL at each jump back, load and shutdown, alone, at no other time | `…_delete_all_…` |
| colour per class, looked up case-insensitively; static ones paler | `test_colours_…` |
| ~/objects holds the same boxes, with id and label | `test_objects_…` |
| ~/ego is the ego's box, frame_locked; nothing where there is none | `test_ego_…` |
"""

from collections import defaultdict
from itertools import combinations
from test.ros.session.recorder import nanoseconds
from test.ros.session.recording import clears

import numpy as np
import pytest

pytestmark = pytest.mark.contract

ADD, DELETE, DELETE_ALL = 0, 2, 3
CUBE, TEXT = 1, 9


def boxes(message):
    """Return the boxes that a message shows."""
    return [one for one in message.markers if (one.action, one.type) == (ADD, CUBE)]


def texts(message):
    """Return the texts that a message shows."""
    return [one for one in message.markers if (one.action, one.type) == (ADD, TEXT)]


def vector(message):
    """Return a point or a vector as an array."""
    return np.array([message.x, message.y, message.z])


def whose(recording, entry):
    """Pair the boxes of a message with who is there: by place, since nobody shares one."""
    truth = recording.truth_at(entry.stamp_ns)
    places = {
        name: truth.track_position(name, entry.stamp_ns) for name in truth.active(entry.stamp_ns)
    }
    for box in boxes(entry.message):
        at = vector(box.pose.position)
        name = min(places, key=lambda name: np.linalg.norm(places[name] - at))
        yield name, truth.tracks[name], box, np.linalg.norm(places[name] - at)


class Viewer:
    """What rviz keeps of a MarkerArray topic: a marker for each (ns, id)."""

    def __init__(self):
        self.shown = {}
        self.wrong = []

    def take(self, message):
        """Take a message."""
        for marker in message.markers:
            key = (marker.ns, marker.id)
            if marker.action == ADD:
                self.shown[key] = marker
            elif marker.action == DELETE_ALL:
                self.shown.clear()
            elif self.shown.pop(key, None) is None:
                self.wrong.append(key)


def test_viewer_sees_whoever_is_there(recording):
    """Follow the topic as rviz does: after each message it shows the moment, and nothing else."""
    viewer, most = Viewer(), 0
    for entry in recording.of('~/tracks'):
        viewer.take(entry.message)
        if clears(entry.message):
            assert not viewer.shown
            continue
        active = recording.truth_at(entry.stamp_ns).active(entry.stamp_ns)
        labels = [one['label'] for one in active.values()]
        expected = sorted(labels + [f'{label}/text' for label in labels])
        assert sorted(ns for ns, _ in viewer.shown) == expected
        most = max(most, len(active))
    assert not viewer.shown
    assert most == 4


def test_every_message_shows_everybody(recording):
    for entry in recording.shown():
        active = recording.truth_at(entry.stamp_ns).active(entry.stamp_ns)
        assert len(boxes(entry.message)) == len(active)


def test_markers_are_unique_in_a_message(recording):
    for entry in recording.of('~/tracks'):
        keys = [(one.ns, one.id) for one in entry.message.markers]
        assert len(keys) == len(set(keys))


def test_ids_are_stable(recording):
    """Return each road user one (ns, id) through all jumps, and nobody another one's."""
    keys, owners = defaultdict(set), defaultdict(set)
    for entry in recording.shown():
        truth = recording.truth_at(entry.stamp_ns)
        for name, _, box, _ in whose(recording, entry):
            keys[truth.sequence_id, name].add((box.ns, box.id))
            owners[truth.sequence_id, box.ns, box.id].add(name)
    assert len(keys) == 6 + 2 + 1
    assert all(len(found) == 1 for found in keys.values())
    assert all(len(found) == 1 for found in owners.values())


def test_boxes_and_texts_are_pairs(recording):
    """Find the label unchanged in the namespace and in the text."""
    for entry in recording.shown():
        pairs = {(one.ns, one.id) for one in boxes(entry.message)}
        assert {(one.ns, one.id) for one in texts(entry.message)} == {
            (f'{ns}/text', number) for ns, number in pairs
        }
        for text in texts(entry.message):
            assert text.text.startswith(text.ns.removesuffix('/text'))
    seen = {box.ns for entry in recording.shown() for box in boxes(entry.message)}
    assert seen == {'automobile', 'person', 'heavy_truck', 'Rider On Bike', 'bus'}


def test_boxes_are_where_the_road_users_are(recording):
    for entry in recording.shown():
        found = list(whose(recording, entry))
        assert len({name for name, *_ in found}) == len(found)
        for _, track, box, distance in found:
            assert distance < 1e-5
            assert box.ns == track['label']
            np.testing.assert_allclose(vector(box.scale), track['dims'], atol=1e-9)
            quaternion = [getattr(box.pose.orientation, axis) for axis in 'xyzw']
            # These road users do not turn.
            np.testing.assert_allclose(quaternion, track['poses'][0][3:], atol=1e-6)


def test_texts_are_above_their_boxes(recording):
    for entry in recording.shown():
        there = {(f'{box.ns}/text', box.id): box for box in boxes(entry.message)}
        for text in texts(entry.message):
            box = there[text.ns, text.id]
            offset = vector(text.pose.position) - vector(box.pose.position)
            np.testing.assert_allclose(offset[:2], 0.0, atol=1e-9)
            assert box.scale.z / 2 < offset[2] < box.scale.z / 2 + 2.0
            assert text.color.a > 0.5
            assert text.scale.z > 0.1


def test_markers_live_until_they_are_deleted(recording):
    for topic in ('~/tracks', '~/ego'):
        for entry in recording.of(topic):
            for marker in entry.message.markers:
                assert (marker.lifetime.sec, marker.lifetime.nanosec) == (0, 0)


def test_all_markers_of_a_message_have_one_stamp(recording):
    for topic in ('~/tracks', '~/ego'):
        for entry in recording.of(topic):
            stamps = {nanoseconds(one.header.stamp) for one in entry.message.markers}
            assert len(stamps) == 1


def test_delete_comes_exactly_once(recording):
    """Delete what is shown, and that alone; never delete it twice."""
    viewer, deleted = Viewer(), 0
    for entry in recording.of('~/tracks'):
        deleted += sum(one.action == DELETE for one in entry.message.markers)
        viewer.take(entry.message)
    assert viewer.wrong == []
    # In the first play alone, the brief one; later on the one who is gone, and others.
    assert deleted >= 2 * 3


def test_delete_all_comes_at_jumps_back_loads_and_shutdown_alone(recording):
    cleared = [one for one in recording.of('~/tracks') if clears(one.message)]
    assert all(len(one.message.markers) == 1 for one in cleared)
    *at_jumps, at_the_end = cleared
    assert len(at_jumps) == len(recording.eras) - 1
    for entry, era in zip(at_jumps, recording.eras[1:], strict=True):
        opening = [one for one in recording.opening(era) if one.topic == '/nurec/tracks']
        # First it is cleared, then it is shown.
        assert opening[0] is entry
        assert len(opening) >= 2
    interrupt = recording.session.named('interrupt')[0]
    assert at_the_end.sent_ns > interrupt.called_ns
    assert at_the_end is recording.of('~/tracks')[-1]
    assert recording.session.exit_code == 0


def test_colours_tell_classes_apart(recording):
    colours = defaultdict(set)
    for entry in recording.shown():
        for box in boxes(entry.message):
            colours[box.ns].add(tuple(round(getattr(box.color, part), 5) for part in 'rgba'))
    assert all(len(found) == 1 for found in colours.values())
    colour = {label: np.array(next(iter(found))) for label, found in colours.items()}
    for one, other in combinations(colour, 2):
        assert np.abs(colour[one][:3] - colour[other][:3]).max() > 0.05
    # The one that never moves.
    assert colour['heavy_truck'][3] < colour['automobile'][3]


def test_objects_are_the_same_boxes(recording):
    """Pair each message with the markers right before it, and leave none of them over."""
    pairs = 0
    for _, from_ns, to_ns in recording.steady():
        objects = recording.of('~/objects', from_ns, to_ns)
        assert abs(len(recording.shown(from_ns, to_ns)) - len(objects)) <= 1
        for b in objects[1:]:
            a = recording.last('~/tracks', b.sent_ns)
            assert a.stamp_ns == b.stamp_ns
            detections = {one.id: one for one in b.message.detections}
            assert len(detections) == len(b.message.detections)
            there = {name: (track, box) for name, track, box, _ in whose(recording, a)}
            assert set(detections) == set(there)
            for name, (track, box) in there.items():
                found = detections[name]
                assert found.results[0].hypothesis.class_id == track['label']
                assert nanoseconds(found.header.stamp) == b.stamp_ns
                assert found.header.frame_id == 'map'
                assert found.bbox.center == box.pose
                assert found.bbox.size == box.scale
            pairs += 1
    assert pairs > 30


def test_ego_is_its_box(recording):
    shown = 0
    for entry in recording.of('~/ego'):
        if clears(entry.message):
            continue
        box = recording.truth_at(entry.stamp_ns).box
        marker = entry.message.markers[0]
        assert (marker.action, marker.type, marker.frame_locked) == (ADD, CUBE, True)
        assert vector(marker.pose.position) == pytest.approx(box['centroid'])
        assert vector(marker.scale) == pytest.approx(box['dim'])
        shown += 1
    assert shown >= 2 * (len(recording.eras) - 2)


def test_ego_without_a_box_is_deleted_and_not_shown(recording):
    era = recording.eras[-1]
    assert era.truth.box is None
    (entry,) = recording.of('~/ego', era.from_ns)
    assert [one.action for one in entry.message.markers] == [DELETE_ALL]
    before = recording.of('~/ego', 0, era.from_ns)
    assert not any(clears(one.message) for one in before)
