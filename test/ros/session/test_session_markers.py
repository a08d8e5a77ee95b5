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
"""Markers and objects, as a recording of a whole session shows them."""

from collections import defaultdict
from test.ros.session.recording import clears, nanoseconds

import numpy as np
import pytest

pytestmark = pytest.mark.contract

ADD, DELETE, DELETE_ALL = 0, 2, 3
CUBE, TEXT = 1, 9


def shown(message, kind):
    """Return the markers of a kind that a message shows."""
    return [one for one in message.markers if (one.action, one.type) == (ADD, kind)]


def vector(message):
    """Return a point or a vector as an array."""
    return np.array([message.x, message.y, message.z])


def whose(recording, entry):
    """Pair the boxes of a message with who is there: by place, since nobody shares one."""
    truth = recording.truth_at(entry.stamp_ns)
    places = {
        name: truth.track_position(name, entry.stamp_ns) for name in truth.active(entry.stamp_ns)
    }
    for box in shown(entry.message, CUBE):
        at = vector(box.pose.position)
        name = min(places, key=lambda name: np.linalg.norm(places[name] - at))
        yield name, truth.tracks[name], box, np.linalg.norm(places[name] - at)


def test_viewer_sees_whoever_is_there(recording):
    """
    Follow the topic as rviz does: after each message it shows the moment, and nothing else.

    Each message shows everybody, each marker once; what is deleted is what is shown, and once.
    """
    viewer, deleted, most = {}, 0, 0
    for entry in recording.of('~/tracks'):
        markers = entry.message.markers
        assert len({(one.ns, one.id) for one in markers}) == len(markers)
        for marker in markers:
            key = (marker.ns, marker.id)
            if marker.action == ADD:
                viewer[key] = marker
            elif marker.action == DELETE_ALL:
                viewer.clear()
            else:
                del viewer[key]
                deleted += 1
        if clears(entry.message):
            assert not viewer
            continue
        active = recording.truth_at(entry.stamp_ns).active(entry.stamp_ns)
        labels = [one['label'] for one in active.values()]
        expected = sorted(labels + [f'{label}/text' for label in labels])
        assert sorted(ns for ns, _ in viewer) == expected
        assert len(shown(entry.message, CUBE)) == len(active)
        most = max(most, len(active))
    assert not viewer
    assert most == 4
    # In the first play alone, the brief one; later on the one who is gone, and others.
    assert deleted >= 2 * 3


def test_ids_are_stable(recording):
    """Give each road user one (ns, id) through all jumps, and nobody another one's."""
    keys, owners = defaultdict(set), defaultdict(set)
    for entry in recording.shown():
        truth = recording.truth_at(entry.stamp_ns)
        for name, _, box, _ in whose(recording, entry):
            keys[truth.sequence_id, name].add((box.ns, box.id))
            owners[truth.sequence_id, box.ns, box.id].add(name)
    assert len(keys) == 6 + 2 + 1
    assert all(len(found) == 1 for found in (*keys.values(), *owners.values()))


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
    """Pair each with its box: the label is unchanged in the namespace and in the text."""
    seen = set()
    for entry in recording.shown():
        there = {(f'{box.ns}/text', box.id): box for box in shown(entry.message, CUBE)}
        texts = shown(entry.message, TEXT)
        assert {(one.ns, one.id) for one in texts} == set(there)
        for text in texts:
            box = there[text.ns, text.id]
            seen.add(box.ns)
            assert text.text.startswith(box.ns)
            offset = vector(text.pose.position) - vector(box.pose.position)
            assert abs(offset[:2]).max() < 1e-9
            assert box.scale.z / 2 < offset[2] < box.scale.z / 2 + 2.0
            assert text.color.a > 0.5
            assert text.scale.z > 0.1
    assert seen == {'automobile', 'person', 'heavy_truck', 'Rider On Bike', 'bus'}


@pytest.mark.parametrize('topic', ['~/tracks', '~/ego'])
def test_markers_live_until_they_are_deleted_and_have_one_stamp(recording, topic):
    for entry in recording.of(topic):
        markers = entry.message.markers
        assert {nanoseconds(one.lifetime) for one in markers} == {0}
        assert len({nanoseconds(one.header.stamp) for one in markers}) == 1


def test_delete_all_comes_at_jumps_back_loads_and_shutdown_alone(recording):
    cleared = [one for one in recording.of('~/tracks') if clears(one.message)]
    assert all(len(one.message.markers) == 1 for one in cleared)
    *at_jumps, at_the_end = cleared
    for entry, era in zip(at_jumps, recording.eras[1:], strict=True):
        opening = [one for one in recording.opening(era) if one.topic == '/nurec/tracks']
        # First it is cleared, then it is shown.
        assert opening[0] is entry
        assert len(opening) >= 2
    (interrupt,) = recording.named('interrupt')
    assert at_the_end.sent_ns > interrupt.called_ns
    assert at_the_end is recording.of('~/tracks')[-1]


def test_objects_are_the_same_boxes(recording):
    """Pair each message with the markers right before it, and leave none of them over."""
    pairs = 0
    for from_ns, to_ns in recording.steady():
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
                (result,) = found.results
                assert result.hypothesis.class_id == track['label']
                assert (result.hypothesis.score, result.pose.pose) == (1.0, box.pose)
                assert nanoseconds(found.header.stamp) == b.stamp_ns
                assert found.header.frame_id == 'map'
                assert (found.bbox.center, found.bbox.size) == (box.pose, box.scale)
            pairs += 1
    assert pairs > 30


def test_ego_is_its_box_and_deleted_where_there_is_none(recording):
    last = recording.eras[-1]
    *before, deletion = recording.of('~/ego')
    for entry in before:
        box = recording.truth_at(entry.stamp_ns).box
        marker = entry.message.markers[0]
        assert (marker.action, marker.type, marker.frame_locked) == (ADD, CUBE, True)
        assert vector(marker.pose.position) == pytest.approx(box['centroid'])
        assert vector(marker.scale) == pytest.approx(box['dim'])
        assert marker.color.a > 0.0
        assert entry.sent_ns < last.from_ns
    assert len(before) >= 2 * (len(recording.eras) - 2)
    assert last.truth.box is None
    assert deletion.sent_ns > last.from_ns
    assert [one.action for one in deletion.message.markers] == [DELETE_ALL]
