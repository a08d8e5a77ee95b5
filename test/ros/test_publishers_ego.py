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
"""Clock, odometry, path, ego box, objects, state and diagnostics, as they arrive."""

from collections.abc import Callable
import json
from test.support.recorder import Recorder
from types import SimpleNamespace
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nav_msgs.msg import Odometry, Path
import numpy as np
from nurec_ros.ros.conversions import diagnostic
from nurec_ros.ros.frames import FrameNames
from nurec_ros.ros.publishers import (
    ClockPublisher,
    DiagnosticsPublisher,
    EgoPublisher,
    objects,
    ObjectsPublisher,
    OdometryPublisher,
    PathPublisher,
    StatePublisher,
)
from nurec_ros.ros.state import PlaybackState
import pytest
from rosgraph_msgs.msg import Clock
from scipy.spatial.transform import Rotation
from visualization_msgs.msg import Marker, MarkerArray

pytestmark = pytest.mark.ros

S = 1_000_000_000
FRAMES = FrameNames.create(odom_frame='odom', prefix='two/')


def matrix(yaw: float, translation: tuple) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler('z', yaw).as_matrix()
    T[:3, 3] = translation
    return T


def stamp_of(message: Any) -> tuple[int, int]:
    return message.sec, message.nanosec


# Clock.


def test_the_clock_arrives_and_is_never_zero(node: Any, listener: Any):
    publisher = ClockPublisher(node)
    received = listener.listen(Clock, '/clock')
    listener.matched(publisher._publisher)
    for t_ns in (0, 5, 27_567_868_848_000):
        publisher.publish(t_ns)
    stamps = [stamp_of(message.clock) for message in listener.received(received, 3)]
    assert stamps == [(0, 1), (0, 5), (27_567, 868_848_000)]


def test_other_publishers_of_the_clock_are_counted(
    node: Any, make_node: Callable[..., Any], listener: Any
):
    publisher = ClockPublisher(node)
    assert publisher.others() == 0
    second = ClockPublisher(make_node(name='second'))
    listener.until(lambda: publisher.others() == 1, 'the second clock')
    second.destroy()
    listener.until(lambda: publisher.others() == 0, 'the end of the second clock')


def test_a_remapped_clock_is_counted_where_it_is(make_node: Callable[..., Any], listener: Any):
    publisher = ClockPublisher(make_node('-r', '/clock:=/other_clock'))
    ClockPublisher(make_node(name='second'))
    third = make_node('-r', '/clock:=/other_clock', name='third')
    assert publisher.others() == 0
    ClockPublisher(third)
    listener.until(lambda: publisher.others() == 1, 'the clock under the same name')


# Odometry and path.


def test_odometry_has_the_pose_in_odom_and_the_twist_in_base():
    node = Recorder()
    T = matrix(0.5, (10.0, 20.0, 0.3))
    twist = SimpleNamespace(linear=np.array([5.0, 0.1, 0.0]), angular=np.array([0, 0, 0.2]))
    OdometryPublisher(node, FRAMES).publish(3 * S + 1, T, twist)
    (message,) = node.topics['~/odom'].messages
    assert (message.header.frame_id, message.child_frame_id) == ('two/odom', 'two/base_link')
    assert stamp_of(message.header.stamp) == (3, 1)
    at, to = message.pose.pose.position, message.pose.pose.orientation
    assert (at.x, at.y, at.z) == (10.0, 20.0, 0.3)
    np.testing.assert_allclose(
        [to.x, to.y, to.z, to.w], Rotation.from_euler('z', 0.5).as_quat(), atol=1e-12
    )
    linear, angular = message.twist.twist.linear, message.twist.twist.angular
    assert (linear.x, linear.y, linear.z) == (5.0, 0.1, 0.0)
    assert (angular.x, angular.y, angular.z) == (0.0, 0.0, 0.2)


def test_odometry_without_an_odom_frame_is_in_map(node: Any, listener: Any):
    publisher = OdometryPublisher(node, FrameNames())
    received = listener.listen(Odometry, '/nurec/odom')
    listener.matched(publisher._publisher)
    still = SimpleNamespace(linear=np.zeros(3), angular=np.zeros(3))
    publisher.publish(S, np.eye(4), still)
    (message,) = listener.received(received, 1)
    assert (message.header.frame_id, message.child_frame_id) == ('map', 'base_link')


def way(count: int) -> Any:
    return SimpleNamespace(
        times_ns=np.arange(count) * S + S,
        positions=np.arange(3.0 * count).reshape(count, 3),
        quaternions=np.tile([0.0, 0, 0, 1], (count, 1)),
    )


def test_a_late_joiner_gets_the_last_path_whole(node: Any, listener: Any):
    publisher = PathPublisher(node, FrameNames())
    publisher.publish(way(3))
    publisher.publish(way(5))
    received = listener.listen(Path, '/nurec/path', latched=True)
    (message,) = listener.received(received, 1)
    assert message.header.frame_id == 'map'
    assert [stamp_of(p.header.stamp)[0] for p in message.poses] == [1, 2, 3, 4, 5]
    assert message.poses[4].pose.position.z == 14.0


def test_a_path_is_made_once_and_stamped_as_asked():
    node = Recorder()
    publisher = PathPublisher(node, FrameNames())
    trajectory = way(4)
    publisher.publish(trajectory)
    made = publisher._message
    publisher.publish(trajectory, 9 * S)
    assert publisher._message is made
    first, second = node.topics['~/path'].messages
    assert stamp_of(first.header.stamp) == (1, 0)
    assert stamp_of(second.header.stamp) == (9, 0)


# The ego's box.

BOX = SimpleNamespace(centre=np.array([1.4, 0.0, 0.75]), dims=np.array([5.39, 2.11, 1.5]))


def test_the_ego_is_a_box_locked_to_base(node: Any, listener: Any):
    publisher = EgoPublisher(node, FRAMES)
    publisher.publish(2 * S, BOX)
    received = listener.listen(MarkerArray, '/nurec/ego', latched=True)
    (message,) = listener.received(received, 1)
    marker = message.markers[0]
    assert (marker.type, marker.action) == (Marker.CUBE, Marker.ADD)
    assert marker.header.frame_id == 'two/base_link'
    assert marker.frame_locked
    assert stamp_of(marker.header.stamp) == (2, 0)
    at, scale, to = marker.pose.position, marker.scale, marker.pose.orientation
    assert (at.x, at.y, at.z) == (1.4, 0.0, 0.75)
    assert (scale.x, scale.y, scale.z) == (5.39, 2.11, 1.5)
    assert (to.x, to.y, to.z, to.w) == (0, 0, 0, 1)
    assert marker.color.a > 0
    assert (marker.lifetime.sec, marker.lifetime.nanosec) == (0, 0)


def test_a_scenario_without_a_box_clears_the_old_one(node: Any, listener: Any):
    publisher = EgoPublisher(node, FRAMES)
    publisher.publish(S, BOX)
    publisher.delete(2 * S)
    received = listener.listen(MarkerArray, '/nurec/ego', latched=True)
    (message,) = listener.received(received, 1)
    assert [marker.action for marker in message.markers] == [Marker.DELETEALL]


# Objects.


def street(*ids: str) -> Any:
    count = len(ids)
    return SimpleNamespace(
        t_ns=4 * S,
        ids=ids,
        labels=tuple(f'class {track_id}' for track_id in ids),
        dims=np.arange(3.0 * count).reshape(count, 3) + 1,
        positions=np.array([(i, 2 * i, 0.5) for i in range(count)]).reshape(-1, 3),
        quaternions=np.array(
            [(0, 0, np.sin(0.05 * i), np.cos(0.05 * i)) for i in range(count)]
        ).reshape(-1, 4),
    )


def test_objects_carry_the_same_boxes_for_programs(node: Any, listener: Any):
    vision_msgs = pytest.importorskip('vision_msgs.msg')
    publisher = ObjectsPublisher(node, FrameNames())
    assert publisher.available
    received = listener.listen(vision_msgs.Detection3DArray, '/nurec/objects')
    listener.matched(publisher._publisher)
    for ids in (('a', 'b', 'c'), ('c',), ()):
        publisher.publish(street(*ids))
    first, second, third = listener.received(received, 3)
    assert first.header.frame_id == 'map'
    assert stamp_of(first.header.stamp) == (4, 0)
    assert [d.id for d in first.detections] == ['a', 'b', 'c']
    assert [d.id for d in second.detections] == ['c']
    assert third.detections == []
    detection = first.detections[1]
    assert detection.header == first.header
    (result,) = detection.results
    assert (result.hypothesis.class_id, result.hypothesis.score) == ('class b', 1.0)
    assert result.pose.pose == detection.bbox.center
    at, to, size = (
        detection.bbox.center.position,
        detection.bbox.center.orientation,
        detection.bbox.size,
    )
    assert (at.x, at.y, at.z) == (1.0, 2.0, 0.5)
    np.testing.assert_allclose(
        [to.x, to.y, to.z, to.w], Rotation.from_euler('z', 0.1).as_quat(), atol=1e-12
    )
    assert (size.x, size.y, size.z) == (4.0, 5.0, 6.0)


def test_objects_are_not_made_for_nobody():
    pytest.importorskip('vision_msgs.msg')
    node = Recorder(subscriptions=0)
    ObjectsPublisher(node, FrameNames()).publish(street('a'))
    assert node.topics['~/objects'].messages == []


def test_without_vision_msgs_there_are_no_objects_and_no_errors(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(objects, 'Detection3DArray', None)
    node = Recorder()
    publisher = ObjectsPublisher(node, FrameNames())
    assert not publisher.available
    publisher.publish(street('a'))
    publisher.destroy()
    assert node.topics == {}


# State and diagnostics.

STATE = PlaybackState(
    is_playing=True,
    speed=2.0,
    current_time_us=27_567_868_848,
    seconds_since_start=1.5,
    duration_s=6.0,
    progress=0.25,
    scenario='clip "ü"',
    active_tracks=3,
    new_track_ids=('7', 'x"y'),
)
KEYS = [
    'is_playing',
    'speed',
    'current_time_us',
    'seconds_since_start',
    'duration_s',
    'progress',
    'done',
    'scenario',
    'active_tracks',
    'new_track_ids',
    'removed_track_ids',
]


def test_a_late_joiner_gets_the_state_with_values_in_json(node: Any, listener: Any):
    StatePublisher(node).publish(STATE)
    received = listener.listen(DiagnosticStatus, '/nurec/state', latched=True)
    (message,) = listener.received(received, 1)
    assert (message.name, message.level, message.message) == ('nurec: state', b'\x00', 'playing')
    assert [entry.key for entry in message.values] == KEYS
    values = {entry.key: json.loads(entry.value) for entry in message.values}
    assert values == json.loads(STATE.to_json())
    assert values['current_time_us'] == 27_567_868_848
    assert values['is_playing'] is True
    assert values['done'] is False
    assert values['scenario'] == 'clip "ü"'
    assert values['new_track_ids'] == ['7', 'x"y']
    assert values['removed_track_ids'] == []


def test_the_state_is_one_line_of_json_in_jsons_own_types():
    text = STATE.to_json()
    assert '\n' not in text
    assert list(json.loads(text)) == KEYS


@pytest.mark.parametrize(
    ('changes', 'word'),
    [
        ({}, 'idle'),
        ({'scenario': 'x'}, 'halted'),
        ({'scenario': 'x', 'done': True}, 'done'),
        ({'scenario': 'x', 'is_playing': True}, 'playing'),
    ],
)
def test_the_state_in_a_word(changes: dict, word: str):
    assert PlaybackState(**changes).summary == word


def test_diagnostics_are_stamped_with_scenario_time(node: Any, listener: Any):
    publisher = DiagnosticsPublisher(node)
    received = listener.listen(DiagnosticArray, '/diagnostics')
    listener.matched(publisher._publisher)
    statuses = [
        diagnostic('nurec: playback', DiagnosticStatus.OK, 'playing', {'rate': 1.0}),
        diagnostic('nurec: renderer', DiagnosticStatus.ERROR, 'down'),
    ]
    publisher.publish(statuses, 6 * S)
    (message,) = listener.received(received, 1)
    assert stamp_of(message.header.stamp) == (6, 0)
    assert [(s.name, s.level) for s in message.status] == [
        ('nurec: playback', b'\x00'),
        ('nurec: renderer', b'\x02'),
    ]


@pytest.mark.parametrize(
    'make',
    [
        ClockPublisher,
        StatePublisher,
        DiagnosticsPublisher,
        lambda node: OdometryPublisher(node, FRAMES),
        lambda node: PathPublisher(node, FRAMES),
        lambda node: EgoPublisher(node, FRAMES),
    ],
)
def test_destroy_removes_the_topic(make: Callable[[Any], Any]):
    node = Recorder()
    make(node).destroy()
    assert all(topic.destroyed for topic in node.topics.values())
    assert len(node.topics) == 1
