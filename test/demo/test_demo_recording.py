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
from collections.abc import Callable
import json
from pathlib import Path
import re
import sys
from test.support.waiting import until
import time
from typing import Any

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
    rendering,
)
from nurec_ros.errors import ConfigurationError
from nurec_ros.export.bag import (
    definition,
    message_class,
    message_file,
    recorded_qos,
    type_description,
)
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from rosbags.highlevel import AnyReader
from rosgraph_msgs.msg import Clock
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray
import yaml

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
LOSSY = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
JPEG = bytes(range(256)) * 40
FRONT = '/nurec/front/image_raw/compressed'


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

    def until(self, condition: Callable[[], object]) -> None:
        def spin() -> None:
            self.recorder.look()
            self.executor.spin_once(timeout_sec=0.02)

        until(condition, lambda: f'other topics than {self.recorder.topics}', meanwhile=spin)

    def publisher(self, kind, topic: str, qos=10):
        """Make a publisher and wait until the recorder listens to it."""
        made = self.node.create_publisher(kind, topic, qos)
        self.until(lambda: made.get_subscription_count() > 0 or topic in self.recorder.skipped)
        return made

    def publish(self, kind, topic: str, message: object) -> None:
        """Publish a latched message."""
        self.publisher(kind, topic, LATCHED).publish(message)

    def close_after(self, counts: dict[str, int]) -> None:
        """Wait until so many messages of topics have come, and finish the file."""
        known = self.recorder.topics
        self.until(lambda: all(known[topic].count == count for topic, count in counts.items()))
        self.recorder.close()

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


def stamped(kind, sec: int, **fields):
    """Return a message whose header has a stamp."""
    message = kind(**fields)
    message.header.stamp.sec = sec
    return message


@pytest.fixture(scope='module')
def recorded(tmp_path_factory: pytest.TempPathFactory):
    """Return the folder of a recording of known messages, and what listened to one topic."""
    folder = tmp_path_factory.mktemp('recorded') / 'recording'
    street = Street(folder)
    early = street.node.create_publisher(String, '/early', LATCHED)
    early.publish(String(data='said before anybody listened'))
    clock = street.publisher(Clock, '/clock')
    image = street.publisher(CompressedImage, FRONT)
    street.publisher(String, '/lossy', LOSSY)
    for k in range(50):
        message = Clock()
        message.clock.sec, message.clock.nanosec = 27567, 1_000_000 * k
        clock.publish(message)
        if k % 5 == 0:
            image.publish(stamped(CompressedImage, k, format='jpeg', data=JPEG[k:]))
        street.until(lambda expected=k + 1: street.recorder.topics['/clock'].count == expected)
    transform = TransformStamped(child_frame_id='front')
    transform.transform.translation.x = 1.5
    street.publish(TFMessage, '/tf_static', TFMessage(transforms=[transform]))
    street.close_after({'/tf_static': 1, FRONT: 10, '/early': 1})
    street.close()
    return folder, street.heard


def test_every_message_is_recorded_as_it_was(recorded):
    folder, heard = recorded
    messages: dict[str, list[Any]] = {}
    times = []
    with AnyReader([folder]) as reader:
        for connection, t, data in reader.messages():
            times.append(t)
            message = reader.deserialize(data, connection.msgtype)
            messages.setdefault(connection.topic, []).append(message)
    stamps = [one.clock.sec * 10**9 + one.clock.nanosec for one in messages['/clock']]
    assert stamps == [27567 * 10**9 + 1_000_000 * k for k in range(50)]
    assert [p.data.tobytes() for p in messages[FRONT]] == [JPEG[k:] for k in range(0, 50, 5)]
    assert [p.header.stamp.sec for p in messages[FRONT]] == list(range(0, 50, 5))
    (static,) = messages['/tf_static']
    assert static.transforms[0].transform.translation.x == 1.5
    assert [one.data for one in messages['/early']] == ['said before anybody listened']
    assert b'said before anybody listened' in heard[0]
    assert times == sorted(times)
    assert abs(times[-1] - time.time_ns()) < 600 * 10**9, 'wall time'


def test_the_file_is_an_mcap_with_definitions_and_qos(recorded):
    folder, _ = recorded
    assert sorted(path.name for path in folder.iterdir()) == ['metadata.yaml', 'recording.mcap']
    with (folder / 'recording.mcap').open('rb') as file:
        reader = make_reader(file, validate_crcs=True)
        assert reader.get_header().profile == 'ros2'
        summary = reader.get_summary()
    assert summary.statistics.message_count >= 62
    channels = {channel.topic: channel for channel in summary.channels.values()}
    assert {'/clock', '/tf_static', '/lossy'} <= set(channels)
    assert {channel.message_encoding for channel in channels.values()} == {'cdr'}
    assert {schema.encoding for schema in summary.schemas.values()} == {'ros2msg'}
    schema = summary.schemas[channels['/tf_static'].schema_id]
    assert schema.name == 'tf2_msgs/msg/TFMessage'
    assert b'MSG: geometry_msgs/TransformStamped' in schema.data
    offered = {
        '/tf_static': ('reliable', 'transient_local'),
        '/clock': ('reliable', 'volatile'),
        '/lossy': ('best_effort', 'volatile'),
    }
    for topic, expected in offered.items():
        (qos,) = yaml.safe_load(channels[topic].metadata['offered_qos_profiles'])
        assert (qos['reliability'], qos['durability']) == expected, topic
        assert qos['depth'] > 0
    metadata = yaml.safe_load((folder / 'metadata.yaml').read_text())
    information = metadata['rosbag2_bagfile_information']
    assert information['storage_identifier'] == 'mcap'
    assert information['relative_file_paths'] == ['recording.mcap']


def test_what_it_knows_of_its_topics(street: Street):
    """Decoded images are left out; the measured stretch is counted; how far each has come."""
    street.publisher(Image, '/nurec/front/image_raw')
    assert 'decoded' in street.recorder.skipped['/nurec/front/image_raw']
    publisher = street.publisher(CompressedImage, FRONT)
    assert '/parameter_events' not in street.recorder.topics
    assert not street.recorder.has({FRONT: 1})
    topic = street.recorder.topics[FRONT]
    for sec, measuring in enumerate((False, True, True, False), 4):
        street.recorder.measuring = measuring
        image = stamped(CompressedImage, sec)
        image.header.stamp.nanosec = 300_000_000
        publisher.publish(image)
        street.until(lambda expected=sec - 3: topic.count == expected)
    assert (topic.count, topic.measured) == (4, 2)
    assert street.recorder.has({FRONT: 7_300_000_000})
    assert not street.recorder.has({FRONT: 7_300_000_001})
    # What nobody publishes is not waited for.
    assert street.recorder.has({'/elsewhere': 7_300_000_001})


def counted(asked: int, received: int, dropped: int = 0, failed: int = 0, error: str = ''):
    """Return a sensor's status, of a last second without images."""
    values = {'asked': asked, 'received': received, 'dropped': dropped, 'failed': failed}
    texts = {key: str(value) for key, value in values.items()}
    return '0.0 images/s', {**texts, 'last_error': error}


def test_frames_are_summed_up_of_all_cameras_and_of_lidars():
    statuses = {
        'nurec: playback': ('done', {}),
        'nurec: left': counted(201, 201),
        'nurec: right': counted(201, 199, dropped=2),
        'nurec: not_chosen': counted(9, 0, failed=9),
        'nurec: top': counted(40, 39, failed=1, error='too late'),
    }
    assert rendering(statuses, ['left', 'right']) == [
        'images: 400 came of 402 that were due',
        '2 images were dropped',
    ]
    assert rendering(statuses, ['top'], 'clouds') == [
        'clouds: 39 came of 40 that were due',
        'top: 1 clouds failed: too late',
    ]
    assert rendering(statuses, [], 'clouds') == []


def test_what_is_due_last_is_known_of_sensors_of_which_all_came():
    times = {name: np.array([300_000_000, 600_000_000]) for name in 'abcde'}
    diagnostics = {
        'nurec: renderer': ('', {'connected': 'true'}),
        'nurec: b': counted(7, 7),
        'nurec: c': counted(7, 6, failed=1),
        'nurec: d': counted(7, 6, dropped=1),
        'nurec: e': counted(7, 0),
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
    text, store = type_description(name)
    # Each type in it once.
    heads = re.findall(r'^MSG: (.*)$', text, re.MULTILINE)
    assert len(heads) == len({*heads})
    description = message_file(name).with_suffix('.json')
    if not description.exists():
        pytest.skip('before type descriptions')
    hashes = {
        entry['type_name']: entry['hash_string']
        for entry in json.loads(description.read_text())['type_hashes']
    }
    assert store.hash_rihs01(name) == hashes[name]


def test_what_is_nowhere_is_said_with_the_places(tmp_path: Path, monkeypatch):
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    with pytest.raises(ConfigurationError) as caught:
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
    made = stamped(Marker, sec, ns=label, id=number, type=kind, action=action)
    made.pose.position.x = x
    made.pose.orientation.z = made.pose.orientation.w = np.sqrt(0.5)
    made.scale.x, made.scale.y = 4.5, 1.8
    return made


def test_a_recorded_drive_is_read_back(street: Street, tmp_path: Path):
    odometry = street.publisher(Odometry, '/nurec/odom')
    tracks = street.publisher(MarkerArray, '/nurec/tracks')
    image = street.publisher(CompressedImage, '/nurec/rear/image_raw/compressed')
    street.publisher(CompressedImage, '/other/rear/image_raw/compressed')
    street.publish(DiagnosticArray, '/diagnostics', DiagnosticArray())
    street.publish(MarkerArray, '/nurec/ego', MarkerArray(markers=[marker(0, 'ego', 1.4, 0)]))
    for sec in (1, 2, 3, 3):
        message = stamped(Odometry, sec)
        message.pose.pose.position.x = 10.0 * sec
        message.pose.pose.orientation.w = 1.0
        odometry.publish(message)
        markers = [
            marker(7, 'person', 5.0 + sec, sec),
            marker(7, 'person/text', 5.0, sec, kind=Marker.TEXT_VIEW_FACING),
            marker(8, 'bus', -3.0, sec, Marker.DELETE if sec == 3 else Marker.ADD),
        ]
        tracks.publish(MarkerArray(markers=markers))
        image.publish(stamped(CompressedImage, sec, format='jpeg', data=bytes([sec])))
    sent = {'odom': 4, 'tracks': 4, 'rear/image_raw/compressed': 4, 'ego': 1}
    street.close_after({f'/nurec/{topic}': count for topic, count in sent.items()})
    drive = read_drive(tmp_path / 'recording', [10**9, 19 * 10**8, 2 * 10**9])
    assert drive.odometry_ns.tolist() == [10**9, 2 * 10**9, 3 * 10**9]
    assert drive.odometry.tolist() == [[10.0, 0.0, 0.0], [20.0, 0.0, 0.0], [30.0, 0.0, 0.0]]
    assert drive.ego_box == (1.4, 0.0, 4.5, 1.8)
    # Of this player alone, the nearest alone.
    assert drive.images == {'rear': [(10**9, b'\1'), (2 * 10**9, b'\2')]}
    assert set(drive.road_users) == {('person', 7), ('bus', 8)}
    person = drive.road_users['person', 7]
    assert person.times_ns == [10**9, 2 * 10**9, 3 * 10**9]
    assert (person.size, person.moved) == ((4.5, 1.8), 2.0)
    assert np.allclose(person.array()[:, 2], np.pi / 2)
    assert len(drive.road_users['bus', 8].poses) == 2
    assert (drive.path.shape, drive.is_driven, drive.clouds) == ((0, 3), False, {})


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
    street.publish(TFMessage, '/tf_static', TFMessage(transforms=[mount]))
    path = RosPath(poses=[stamped(PoseStamped, sec) for sec in (1, 2)])
    for sec, pose in enumerate(path.poses, 1):
        pose.pose.position.x = 5.0 * sec
        pose.pose.orientation.z, pose.pose.orientation.w = 1.0, 0.0
    street.publish(RosPath, '/nurec/path', path)
    street.publish(RosPath, '/nurec/driven_path', RosPath())
    rows = np.array([[1, 2, 3, 0.25], [4, 5, 6, 0.1]], '<f4')
    fields = [
        PointField(name=name, offset=4 * at, datatype=PointField.FLOAT32, count=1)
        for at, name in enumerate(('x', 'y', 'z', 'intensity'))
    ]
    for sec in (1, 2, 3):
        data = array('B', (rows * sec).tobytes())
        message = stamped(PointCloud2, sec, fields=fields, width=2, point_step=16, data=data)
        message.header.frame_id = 'top'
        cloud.publish(message)
    driven = {'/nurec/path': 1, '/nurec/driven_path': 1}
    street.close_after({'/nurec/top/points': 3, '/tf_static': 1, **driven})
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
    rotation = Rotation.from_euler('ZYX', angles)
    made = marker(1, 'x', 2.0, 0).pose
    q = made.orientation
    q.x, q.y, q.z, q.w = (float(value) for value in rotation.as_quat())
    forward = rotation.apply([1.0, 0.0, 0.0])
    assert flat_pose(made) == pytest.approx((2.0, 0.0, np.arctan2(forward[1], forward[0])))
