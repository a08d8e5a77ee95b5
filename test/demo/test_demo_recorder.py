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
"""The recorder, with a node that publishes known messages, and independent readers of the bag."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
import time

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TransformStamped
from mcap.reader import make_reader
from nav_msgs.msg import Odometry
import numpy as np
from nurec_ros.demo.reading import flat_pose, read_recording
from nurec_ros.demo.recorder import matching_qos, recorded_qos, Recorder
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.highlevel import AnyReader
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray
import yaml

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
LOSSY = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
JPEG = bytes(range(256)) * 40


class Street:
    """A publishing node and a recording one, in one executor."""

    def __init__(self, folder: Path, listeners=None) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node('nurec', context=self.context)
        self.other = rclpy.create_node('recorder', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.executor.add_node(self.other)
        self.recorder = Recorder(self.other, folder, listeners)

    def until(self, condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, self.recorder.topics
            self.recorder.look()
            self.executor.spin_once(timeout_sec=0.02)

    def publisher(self, kind, topic: str, qos=10):
        """Make a publisher and wait until the recorder listens to it."""
        made = self.node.create_publisher(kind, topic, qos)
        self.until(lambda: made.get_subscription_count() > 0 or topic in self.recorder.skipped)
        return made

    def count(self, topic: str) -> int:
        return self.recorder.topics[topic].count if topic in self.recorder.topics else 0

    def close(self) -> None:
        self.recorder.close()
        self.executor.shutdown()
        self.node.destroy_node()
        self.other.destroy_node()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture
def street(tmp_path: Path):
    """Give the two nodes; the recording is at tmp_path / 'recording'."""
    made = Street(tmp_path / 'recording')
    yield made
    made.close()


def test_every_message_is_recorded_as_it_was(street: Street, tmp_path: Path):
    clock = street.publisher(Clock, '/clock')
    image = street.publisher(CompressedImage, '/nurec/front/image_raw/compressed')
    static = street.publisher(TFMessage, '/tf_static', LATCHED)
    for k in range(50):
        message = Clock()
        message.clock.sec, message.clock.nanosec = 27567, 1_000_000 * k
        clock.publish(message)
        if k % 5 == 0:
            picture = CompressedImage(format='jpeg', data=JPEG[k:])
            picture.header.frame_id = 'front_optical_frame'
            picture.header.stamp.sec = k
            image.publish(picture)
        street.until(lambda expected=k + 1: street.count('/clock') == expected)
    transform = TransformStamped()
    transform.child_frame_id = 'front'
    transform.transform.translation.x = 1.5
    static.publish(TFMessage(transforms=[transform]))
    street.until(
        lambda: (
            street.count('/tf_static') == 1
            and street.count('/nurec/front/image_raw/compressed') == 10
        )
    )
    street.recorder.close()

    with AnyReader([tmp_path / 'recording']) as reader:
        counts = Counter(connection.topic for connection, _, _ in reader.messages())
        assert counts['/clock'] == 50
        stamps, pictures, times = [], [], []
        for connection, t, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            times.append(t)
            if connection.topic == '/clock':
                stamps.append(message.clock.sec * 10**9 + message.clock.nanosec)
            elif connection.topic == '/nurec/front/image_raw/compressed':
                pictures.append(message)
            elif connection.topic == '/tf_static':
                assert message.transforms[0].transform.translation.x == 1.5
        assert stamps == [27567 * 10**9 + 1_000_000 * k for k in range(50)]
        assert [p.data.tobytes() for p in pictures] == [JPEG[k:] for k in range(0, 50, 5)]
        assert [p.header.stamp.sec for p in pictures] == list(range(0, 50, 5))
        assert times == sorted(times)
        assert abs(times[-1] - time.time_ns()) < 60 * 10**9, 'wall time'


def test_the_file_is_an_mcap_with_definitions_and_qos(street: Street, tmp_path: Path):
    street.publisher(Clock, '/clock').publish(Clock())
    street.publisher(TFMessage, '/tf_static', LATCHED).publish(TFMessage())
    street.publisher(String, '/lossy', LOSSY)
    street.until(lambda: street.count('/clock') == 1 and street.count('/tf_static') == 1)
    street.recorder.close()
    files = sorted(path.name for path in (tmp_path / 'recording').iterdir())
    assert files == ['metadata.yaml', 'recording.mcap']
    with (tmp_path / 'recording' / 'recording.mcap').open('rb') as file:
        reader = make_reader(file, validate_crcs=True)
        assert reader.get_header().profile == 'ros2'
        summary = reader.get_summary()
        assert summary.statistics.message_count >= 2
        channels = {channel.topic: channel for channel in summary.channels.values()}
        assert {'/clock', '/tf_static', '/lossy'} <= set(channels)
        for channel in channels.values():
            schema = summary.schemas[channel.schema_id]
            assert channel.message_encoding == 'cdr'
            assert schema.encoding == 'ros2msg'
        schema = summary.schemas[channels['/tf_static'].schema_id]
        assert schema.name == 'tf2_msgs/msg/TFMessage'
        assert b'MSG: geometry_msgs/TransformStamped' in schema.data
        qos = {
            topic: yaml.safe_load(channel.metadata['offered_qos_profiles'])[0]
            for topic, channel in channels.items()
        }
        assert qos['/tf_static']['durability'] == 'transient_local'
        assert qos['/clock']['durability'] == 'volatile'
        assert qos['/clock']['reliability'] == 'reliable'
        assert qos['/lossy']['reliability'] == 'best_effort'
        assert all(entry['depth'] > 0 for entry in qos.values())
    metadata = yaml.safe_load((tmp_path / 'recording' / 'metadata.yaml').read_text())
    information = metadata['rosbag2_bagfile_information']
    assert information['storage_identifier'] == 'mcap'
    assert information['relative_file_paths'] == ['recording.mcap']


def test_latched_messages_of_before_are_recorded(street: Street):
    early = street.node.create_publisher(String, '/early', LATCHED)
    early.publish(String(data='said before anybody listened'))
    street.until(lambda: street.count('/early') == 1)


def test_topics_that_come_later_are_found(street: Street):
    street.publisher(Clock, '/clock').publish(Clock())
    street.until(lambda: street.count('/clock') == 1)
    street.publisher(String, '/later').publish(String(data='x'))
    street.until(lambda: street.count('/later') == 1)


def test_decoded_images_are_left_out_and_said(street: Street):
    street.publisher(Image, '/nurec/front/image_raw')
    assert 'decoded' in street.recorder.skipped['/nurec/front/image_raw']
    assert '/parameter_events' not in street.recorder.topics


def test_only_the_measured_stretch_is_measured(street: Street):
    clock = street.publisher(Clock, '/clock')
    for measuring in (False, True, True, False):
        street.recorder.measuring = measuring
        before = street.count('/clock')
        clock.publish(Clock())
        street.until(lambda expected=before + 1: street.count('/clock') == expected)
    topic = street.recorder.topics['/clock']
    assert (topic.count, topic.measured) == (4, 2)


def test_listeners_get_the_bytes(tmp_path: Path):
    heard: list[bytes] = []
    street = Street(tmp_path / 'recording', {'/said': heard.append})
    try:
        street.publisher(String, '/said').publish(String(data='hello'))
        street.until(lambda: bool(heard))
    finally:
        street.close()
    assert b'hello' in heard[0]


def test_qos_is_the_most_that_all_offer():
    image = 'sensor_msgs/msg/CompressedImage'
    reliable = QoSProfile(depth=3)
    both = matching_qos(image, [reliable, LATCHED])
    assert both.reliability == ReliabilityPolicy.RELIABLE
    assert both.durability == DurabilityPolicy.VOLATILE
    assert both.depth == 10
    assert matching_qos(image, [LATCHED]).durability == DurabilityPolicy.TRANSIENT_LOCAL
    lossy = matching_qos('rosgraph_msgs/msg/Clock', [reliable, LOSSY])
    assert lossy.reliability == ReliabilityPolicy.BEST_EFFORT
    assert lossy.depth > 100
    assert recorded_qos(QoSProfile(depth=0)).depth > 0


# -- reading back -----------------------------------------------------------------------------


def marker(number: int, label: str, x: float, sec: int, action=Marker.ADD, kind=Marker.CUBE):
    made = Marker(ns=label, id=number, type=kind, action=action)
    made.header.stamp.sec = sec
    made.pose.position.x = x
    made.pose.orientation.z = made.pose.orientation.w = np.sqrt(0.5)
    made.scale.x, made.scale.y = 4.5, 1.8
    made.color.r = 0.25
    return made


def test_a_recorded_drive_is_read_back(street: Street, tmp_path: Path):
    odometry = street.publisher(Odometry, '/nurec/odom')
    tracks = street.publisher(MarkerArray, '/nurec/tracks')
    ego = street.publisher(MarkerArray, '/nurec/ego', LATCHED)
    image = street.publisher(CompressedImage, '/nurec/rear/image_raw/compressed')
    street.publisher(CompressedImage, '/other/rear/image_raw/compressed')
    street.publisher(DiagnosticArray, '/diagnostics').publish(DiagnosticArray())
    ego.publish(MarkerArray(markers=[marker(0, 'ego', 1.4, 0)]))
    for sec in (1, 2, 3, 3):
        message = Odometry()
        message.header.stamp.sec = sec
        message.pose.pose.position.x = 10.0 * sec
        message.pose.pose.orientation.w = 1.0
        odometry.publish(message)
        markers = [
            marker(7, 'person', 5.0 + sec, sec),
            marker(7, 'person/text', 5.0, sec, kind=Marker.TEXT_VIEW_FACING),
            marker(8, 'bus', -3.0, sec),
        ]
        if sec == 3:
            markers[2].action = Marker.DELETE
        tracks.publish(MarkerArray(markers=markers))
        picture = CompressedImage(format='jpeg', data=bytes([sec]))
        picture.header.stamp.sec = sec
        image.publish(picture)
    street.until(
        lambda: (
            street.count('/nurec/odom') == street.count('/nurec/tracks') == 4
            and street.count('/nurec/rear/image_raw/compressed') == 4
            and street.count('/nurec/ego') == 1
        )
    )
    street.recorder.close()
    drive = read_recording(tmp_path / 'recording')
    assert drive.odometry_ns.tolist() == [10**9, 2 * 10**9, 3 * 10**9]
    assert drive.odometry.tolist() == [[10.0, 0.0, 0.0], [20.0, 0.0, 0.0], [30.0, 0.0, 0.0]]
    assert drive.ego_box == (1.4, 0.0, 4.5, 1.8)
    assert list(drive.images) == ['rear'], 'of this player alone'
    assert [entry[1] for entry in drive.images['rear']][:3] == [b'\1', b'\2', b'\3']
    assert set(drive.road_users) == {('person', 7), ('bus', 8)}
    person = drive.road_users['person', 7]
    assert person.times_ns == [10**9, 2 * 10**9, 3 * 10**9]
    assert person.size == (4.5, 1.8)
    assert person.moved == 2.0
    assert np.allclose(person.array()[:, 2], np.pi / 2)
    assert len(drive.road_users['bus', 8].poses) == 2
    assert drive.path.shape == (0, 3)


@pytest.mark.parametrize('angles', [(0.3, 0.02, -0.01), (-2.8, 0.1, 0.05), (3.1, 0.0, 0.0)])
def test_yaw_is_that_of_the_x_axis_seen_from_above(angles: tuple[float, float, float]):
    from scipy.spatial.transform import Rotation

    rotation = Rotation.from_euler('ZYX', angles)
    made = marker(1, 'x', 2.0, 0).pose
    q = made.orientation
    q.x, q.y, q.z, q.w = (float(value) for value in rotation.as_quat())
    forward = rotation.apply([1.0, 0.0, 0.0])
    assert flat_pose(made) == pytest.approx((2.0, 0.0, np.arctan2(forward[1], forward[0])))
