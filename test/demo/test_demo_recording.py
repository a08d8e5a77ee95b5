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

from array import array
from collections import Counter
from collections.abc import Callable
import json
from pathlib import Path
import sys
import time

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, TransformStamped
from mcap.reader import make_reader
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as RosPath
import numpy as np
from nurec_ros.demo.recording import (
    flat_pose,
    last_due,
    matching_qos,
    read_drive,
    Reading,
    Recorder,
)
from nurec_ros.export.bag import (
    definition,
    message_class,
    message_file,
    NoDefinitionError,
    recorded_qos,
)
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from rosbags.highlevel import AnyReader
from rosbags.typesys import get_types_from_msg, get_typestore, Stores
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray
import yaml

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
LOSSY = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
JPEG = bytes(range(256)) * 40


class Street:
    """A publishing node and a recording one, in one executor; it hears what is said on /early."""

    def __init__(self, folder: Path) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node('nurec', context=self.context)
        self.other = rclpy.create_node('recorder', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.executor.add_node(self.other)
        self.heard: list[bytes] = []
        self.recorder = Recorder(self.other, folder, {'/early': self.heard.append})

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
    """Yield the two nodes; the recording is at tmp_path / 'recording'."""
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
    assert b'said before anybody listened' in street.heard[0]


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


def test_it_knows_how_far_a_topic_has_come(street: Street):
    publisher = street.publisher(CompressedImage, '/cam/compressed')
    image = CompressedImage()
    image.header.stamp.sec, image.header.stamp.nanosec = 7, 300_000_000
    assert not street.recorder.has({'/cam/compressed': 1})
    publisher.publish(image)
    street.until(lambda: street.recorder.topics['/cam/compressed'].count == 1)
    assert street.recorder.has({'/cam/compressed': 7_300_000_000})
    assert not street.recorder.has({'/cam/compressed': 7_300_000_001})
    # What nobody publishes is not waited for.
    assert street.recorder.has({'/elsewhere': 7_300_000_001})


def test_what_is_due_last_is_known_of_sensors_of_which_all_came():
    times = {name: np.array([300_000_000, 600_000_000]) for name in 'abcde'}
    counts = {'asked': '7', 'received': '7', 'failed': '0', 'dropped': '0'}
    diagnostics = {
        'nurec: renderer': ('', {'connected': 'true'}),
        'nurec: b': ('', counts),
        'nurec: c': ('', {**counts, 'failed': '1'}),
        'nurec: d': ('', {**counts, 'dropped': '1'}),
        'nurec: e': ('', {**counts, 'received': '0'}),
    }
    assert last_due(times, diagnostics) == {'a': 600_000_000, 'b': 600_000_000}


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


# -- definitions of types ----------------------------------------------------------------------

# Every type that the player publishes, and what ROS adds.
TYPES = [
    'diagnostic_msgs/msg/DiagnosticArray',
    'diagnostic_msgs/msg/DiagnosticStatus',
    'nav_msgs/msg/Odometry',
    'nav_msgs/msg/Path',
    'rcl_interfaces/msg/Log',
    'rosgraph_msgs/msg/Clock',
    'sensor_msgs/msg/CameraInfo',
    'sensor_msgs/msg/CompressedImage',
    'sensor_msgs/msg/Image',
    'tf2_msgs/msg/TFMessage',
    'vision_msgs/msg/Detection3DArray',
    'visualization_msgs/msg/MarkerArray',
]


@pytest.mark.parametrize('name', TYPES)
def test_text_hashes_to_what_ros_installed(name: str):
    try:
        python_type = message_class(name)
    except ImportError:
        pytest.skip(f'{name} is not installed')
    assert python_type.__name__ == name.rpartition('/')[2]
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(definition(name), name))
    description = message_file(name).with_suffix('.json')
    if not description.exists():
        pytest.skip('before type descriptions')
    hashes = {
        entry['type_name']: entry['hash_string']
        for entry in json.loads(description.read_text())['type_hashes']
    }
    assert store.hash_rihs01(name) == hashes[name]


def test_a_type_used_twice_is_given_once_and_the_main_one_first():
    text = definition('nav_msgs/msg/Path')
    parts = text.split('=' * 80 + '\n')
    assert 'poses' in parts[0]
    heads = [part.splitlines()[0] for part in parts[1:]]
    assert heads[0].startswith('MSG: ')
    assert len(set(heads)) == len(heads)
    assert {
        'MSG: std_msgs/Header',
        'MSG: builtin_interfaces/Time',
        'MSG: geometry_msgs/PoseStamped',
        'MSG: geometry_msgs/Quaternion',
    } <= set(heads)


def test_what_is_nowhere_is_said_with_the_places(tmp_path: Path, monkeypatch):
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    with pytest.raises(NoDefinitionError) as caught:
        definition('no_msgs/msg/Thing')
    assert str(tmp_path / 'share/no_msgs/msg/Thing.msg') in str(caught.value)
    assert str(Path(sys.prefix) / 'share/no_msgs/msg/Thing.msg') in str(caught.value)


def test_a_workspace_comes_before_the_environment(tmp_path: Path, monkeypatch):
    file = tmp_path / 'share/std_msgs/msg/String.msg'
    file.parent.mkdir(parents=True)
    file.write_text('string data\nint8 more\n')
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'/nowhere:{tmp_path}')
    assert definition('std_msgs/msg/String') == 'string data\nint8 more\n'


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
    drive = read_drive(tmp_path / 'recording', [10**9, 19 * 10**8, 2 * 10**9])
    assert drive.odometry_ns.tolist() == [10**9, 2 * 10**9, 3 * 10**9]
    assert drive.odometry.tolist() == [[10.0, 0.0, 0.0], [20.0, 0.0, 0.0], [30.0, 0.0, 0.0]]
    assert drive.ego_box == (1.4, 0.0, 4.5, 1.8)
    assert list(drive.images) == ['rear'], 'of this player alone'
    assert drive.images['rear'] == [(10**9, b'\1'), (2 * 10**9, b'\2')], 'the nearest alone'
    assert set(drive.road_users) == {('person', 7), ('bus', 8)}
    person = drive.road_users['person', 7]
    assert person.times_ns == [10**9, 2 * 10**9, 3 * 10**9]
    assert person.size == (4.5, 1.8)
    assert person.moved == 2.0
    assert np.allclose(person.array()[:, 2], np.pi / 2)
    assert len(drive.road_users['bus', 8].poses) == 2
    assert drive.path.shape == (0, 3)
    assert not drive.is_driven
    assert drive.clouds == {}


def test_of_markers_that_come_late_or_show_nobody_nothing_is_kept():
    reading = Reading()
    for sec in (2, None, 1, 3):
        markers = [] if sec is None else [marker(7, 'person', 5.0 + sec, sec)]
        for topic in ('tracks', 'ego'):
            data = serialize_message(MarkerArray(markers=markers))
            reading.add(topic, 'visualization_msgs/msg/MarkerArray', data)
    (person,) = reading.users.values()
    assert person.times_ns == [2 * 10**9, 3 * 10**9]
    assert reading.ego_box == (8.0, 0.0, 4.5, 1.8)


def test_clouds_and_a_driven_path_are_read_back(street: Street, tmp_path: Path):
    """Place points by the sensor's mount: a quarter to the left, 2 m up."""
    cloud = street.publisher(PointCloud2, '/nurec/top/points')
    mount = TransformStamped(child_frame_id='top')
    mount.transform.translation.z = 2.0
    mount.transform.rotation.z = mount.transform.rotation.w = np.sqrt(0.5)
    street.publisher(TFMessage, '/tf_static', LATCHED).publish(TFMessage(transforms=[mount]))
    path = RosPath()
    for sec in (1, 2):
        pose = PoseStamped()
        pose.header.stamp.sec, pose.pose.position.x = sec, 5.0 * sec
        pose.pose.orientation.z = 1.0
        pose.pose.orientation.w = 0.0
        path.poses.append(pose)
    street.publisher(RosPath, '/nurec/path', LATCHED).publish(path)
    street.publisher(RosPath, '/nurec/driven_path', LATCHED).publish(RosPath())
    rows = np.array([[1, 2, 3, 0.25], [4, 5, 6, 0.1]], '<f4')
    for sec in (1, 2, 3):
        message = PointCloud2(height=1, width=2, point_step=16, row_step=32, is_dense=True)
        message.header.frame_id, message.header.stamp.sec = 'top', sec
        message.fields = [
            PointField(name=name, offset=4 * at, datatype=PointField.FLOAT32, count=1)
            for at, name in enumerate(('x', 'y', 'z', 'intensity'))
        ]
        message.data = array('B', (rows * sec).tobytes())
        cloud.publish(message)
    street.until(
        lambda: (
            street.count('/nurec/top/points') == 3
            and street.count('/tf_static') == 1
            and street.count('/nurec/path') == street.count('/nurec/driven_path') == 1
        )
    )
    street.recorder.close()
    drive = read_drive(tmp_path / 'recording', [0, 11 * 10**8, 29 * 10**8])
    assert drive.is_driven
    assert drive.path_ns.tolist() == [10**9, 2 * 10**9]
    assert np.allclose(drive.path, [[5, 0, np.pi], [10, 0, np.pi]])
    (first, near), (third, far) = drive.clouds['top']
    assert (first, third) == (10**9, 3 * 10**9), 'the nearest alone'
    assert np.allclose(near, [[-2, 1, 5, 0.25], [-5, 4, 8, 0.1]])
    assert np.allclose(far, [[-6, 3, 11, 0.75], [-15, 12, 20, 0.3]])


@pytest.mark.parametrize('angles', [(0.3, 0.02, -0.01), (-2.8, 0.1, 0.05), (3.1, 0.0, 0.0)])
def test_yaw_is_that_of_the_x_axis_seen_from_above(angles: tuple[float, float, float]):
    from scipy.spatial.transform import Rotation

    rotation = Rotation.from_euler('ZYX', angles)
    made = marker(1, 'x', 2.0, 0).pose
    q = made.orientation
    q.x, q.y, q.z, q.w = (float(value) for value in rotation.as_quat())
    forward = rotation.apply([1.0, 0.0, 0.0])
    assert flat_pose(made) == pytest.approx((2.0, 0.0, np.arctan2(forward[1], forward[0])))
