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
A recording of all topics, as ROS sent them, with the definitions of their types; and read back.

It is a rosbag2 folder with one MCAP file, for `ros2 bag play`, Foxglove and the `rosbags` library.
Decoded images are left out: they are large, and the compressed ones beside them hold the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
import struct
import time
from typing import Any, TypeVar

from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import Pose, Transform
import numpy as np
from numpy.typing import NDArray
from nurec_ros.demo.drawing import Points, Pose2D
from nurec_ros.demo.overview import Drive, RoadUser
from nurec_ros.errors import ConfigurationError
from nurec_ros.export.bag import add_topic, message_class
from nurec_ros.ros.conversions import time_of
from nurec_ros.ros.sensor_topics import points_of
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import PointCloud2
from visualization_msgs.msg import Marker

# The name of the player's node.
PLAYER = '/nurec'
DEPTH = 10
# At 100 Hz, on a busy machine some seconds may pass before the bytes are fetched.
SMALL_DEPTH = 1000
IMAGE, CLOUD = 'sensor_msgs/msg/CompressedImage', 'sensor_msgs/msg/PointCloud2'
LARGE_TYPES = (IMAGE, CLOUD, 'visualization_msgs/msg/MarkerArray')
LEFT_OUT_TYPES = ('sensor_msgs/msg/Image',)
LEFT_OUT_TOPICS = ('/parameter_events',)
BAG_VERSION = 9
# Every marker message holds all tracks; a few of them a second draw the same line.
TRACK_STEP_NS = 190_000_000

Content = TypeVar('Content')
# By moment, the stamp (ns) and the bytes of the message that is nearest to it.
Nearest = dict[int, tuple[int, bytes]]
# By name, the message and the values of a status.
Diagnostics = Mapping[str, tuple[str, Mapping[str, str]]]


@dataclass(slots=True)
class Topic:
    """A recorded topic: its type, its counts (all, and in what is measured), its last message."""

    name: str
    kind: str
    count: int = 0
    measured: int = 0
    last: bytes = bytes(12)


class Recorder:
    """
    A node's subscriptions to all topics, and the file that takes their messages.

    `listeners` maps a topic's name to a function that gets each message's bytes as well.
    """

    def __init__(
        self,
        node: Node,
        folder: Path,
        listeners: Mapping[str, Callable[[bytes], None]],
    ) -> None:
        self.topics: dict[str, Topic] = {}
        self.skipped: dict[str, str] = {}
        self.measuring = False
        self._node = node
        self._listeners = listeners
        self._writer = Writer(folder, version=BAG_VERSION, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        self._subscriptions: list[Subscription] = []
        self._open = True

    def look(self) -> None:
        """Subscribe to topics that have appeared since the last look."""
        for name, kinds in self._node.get_topic_names_and_types():
            if name in self.topics or name in self.skipped or name in LEFT_OUT_TOPICS:
                continue
            kind = kinds[0]
            if kind in LEFT_OUT_TYPES:
                self.skipped[name] = 'decoded images are not recorded, the compressed ones are'
                continue
            offers = self._node.get_publishers_info_by_topic(name)
            if not offers:
                continue
            try:
                self._subscribe(name, kind, [offer.qos_profile for offer in offers])
            except (ImportError, AttributeError, ConfigurationError) as error:
                self.skipped[name] = f'{kind} is not installed here ({error})'

    def _subscribe(self, name: str, kind: str, offered: list[QoSProfile]) -> None:
        python_type = message_class(kind)
        connection = add_topic(self._writer, name, kind, offered)
        topic = self.topics[name] = Topic(name, kind)
        listener = self._listeners.get(name)

        def received(data: bytes) -> None:
            self._writer.write(connection, time.time_ns(), data)
            topic.count += 1
            topic.measured += self.measuring
            topic.last = data
            if listener is not None:
                listener(data)

        self._subscriptions.append(
            self._node.create_subscription(
                python_type, name, received, matching_qos(kind, offered), raw=True
            )
        )

    def take(self) -> None:
        """Take all that has arrived; an executor takes one message, at three times the cost."""
        for subscription in self._subscriptions:
            with subscription.handle:
                while taken := subscription.handle.take_message(subscription.msg_type, True):
                    subscription.callback(taken[0])

    def has(self, stamps_ns: Mapping[str, int]) -> bool:
        """Return whether these of its topics have come to these stamps or later ones."""
        known = ((self.topics.get(name), stamp_ns) for name, stamp_ns in stamps_ns.items())
        return all(topic is None or stamp_of(topic.last) >= at_ns for topic, at_ns in known)

    def close(self) -> None:
        """Finish the file; nothing is recorded any more."""
        if self._open:
            self._open = False
            self._writer.close()


def matching_qos(kind: str, offered: list[QoSProfile]) -> QoSProfile:
    """Ask for the most that all publishers of a topic offer: reliable, latched."""
    reliable = all(offer.reliability == ReliabilityPolicy.RELIABLE for offer in offered)
    latched = all(offer.durability == DurabilityPolicy.TRANSIENT_LOCAL for offer in offered)
    return QoSProfile(
        depth=DEPTH if kind in LARGE_TYPES else SMALL_DEPTH,
        history=HistoryPolicy.KEEP_LAST,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def fields_of(status: DiagnosticStatus) -> dict[str, str]:
    """Return the keys and values of a DiagnosticStatus."""
    return {entry.key: entry.value for entry in status.values}


def rendering(diagnostics: Diagnostics, sensors: Sequence[str], what: str = 'images') -> list[str]:
    """
    Sum up what became of the frames of cameras or lidars, if any, from the player's diagnostics.

    From their counters: their messages tell of the last second.
    """
    if not sensors:
        return []
    asked = received = dropped = 0
    failed: dict[str, str] = {}
    for name, (_, values) in sorted(diagnostics.items()):
        sensor = name.rpartition(': ')[2]
        if sensor not in sensors:
            continue
        asked += int(values['asked'])
        received += int(values['received'])
        dropped += int(values['dropped'])
        if int(values['failed']):
            failed[sensor] = f'{values["failed"]} {what} failed: {values["last_error"]}'
    remarks = [f'{what}: {received} came of {asked} that were due']
    if dropped:
        remarks.append(f'{dropped} {what} were dropped')
    return remarks + [f'{sensor}: {text}' for sensor, text in failed.items()]


def last_due(
    times_ns: Mapping[str, NDArray[np.int64]], diagnostics: Diagnostics
) -> dict[str, int]:
    """Return when a sensor is due last, by name, of those of which all came so far."""
    lacking = {
        name.rpartition(': ')[2]
        for name, (_, values) in diagnostics.items()
        if any(int(values.get(count, 0)) for count in ('failed', 'dropped'))
        # As of the lidars of a server that renders none.
        or values.get('received') == '0'
    }
    return {name: int(times[-1]) for name, times in times_ns.items() if name not in lacking}


def skipped_text(skipped: dict[str, str]) -> list[str]:
    """Return what is missing in the recording, once for each reason."""
    reasons = Counter(skipped.values())
    return [f'not recorded ({count}): {reason}' for reason, count in reasons.items()]


# The drive that a recording holds: the pictures show what came over ROS and not what a file held.


class Reading:
    """The parts of a drive, as they come message by message."""

    def __init__(self) -> None:
        self.path: dict[int, Pose2D] = {}
        self.odometry: dict[int, Pose2D] = {}
        self.ego_box: tuple[float, float, float, float] | None = None
        self.users: dict[tuple[str, int], RoadUser] = {}
        self.is_driven = False
        # By its frame, where a sensor is on the rig.
        self.mounts: dict[str, Transform] = {}
        self._latest = -TRACK_STEP_NS

    def add(self, topic: str, kind: str, data: bytes) -> None:
        # Lockstep repeats a moment while it waits.
        if topic == 'odom' and stamp_of(data) in self.odometry:
            return
        if topic == 'tracks' and self._comes_too_soon(data):
            return
        message: Any = deserialize_message(data, message_class(kind))
        if topic == 'path':
            self.path = {time_of(one.header.stamp): flat_pose(one.pose) for one in message.poses}
        elif topic == 'odom':
            self.odometry[stamp_of(data)] = flat_pose(message.pose.pose)
        elif topic == 'driven_path':
            self.is_driven = True
        elif topic == '/tf_static':
            self.mounts |= {one.child_frame_id: one.transform for one in message.transforms}
        else:
            boxes = [m for m in message.markers if (m.action, m.type) == (Marker.ADD, Marker.CUBE)]
            if topic == 'ego' and boxes:
                place, size = boxes[0].pose.position, boxes[0].scale
                self.ego_box = place.x, place.y, size.x, size.y
            elif topic == 'tracks' and boxes:
                self._latest = time_of(boxes[0].header.stamp)
                self._add_road_users(boxes)

    def _comes_too_soon(self, data: bytes) -> bool:
        # Without reading the message, which takes 20 ms.
        marked = len(data) >= 16
        return marked and 0 <= stamp_of(data, at=8) - self._latest < TRACK_STEP_NS

    def _add_road_users(self, boxes: Sequence[Marker]) -> None:
        for marker in boxes:
            key = (marker.ns, marker.id)
            user = self.users.get(key)
            if user is None:
                size = marker.scale.x, marker.scale.y
                user = self.users[key] = RoadUser(marker.ns, size)
            if not user.times_ns or self._latest > user.times_ns[-1]:
                user.times_ns.append(self._latest)
                user.poses.append(flat_pose(marker.pose))

    def cloud(self, message: PointCloud2) -> Points:
        """Return a cloud's points on the rig and their intensities (K, 4)."""
        points = points_of(message).astype(np.float64)
        mount = self.mounts[message.header.frame_id]
        offset, q = mount.translation, mount.rotation
        turned = Rotation.from_quat([q.x, q.y, q.z, q.w]).apply(points[:, :3])
        points[:, :3] = turned + [offset.x, offset.y, offset.z]
        return points


def read_drive(folder: Path, moments_ns: Sequence[int]) -> Drive:
    """
    Read the drive of the player out of a recording.

    Of each camera and lidar only what is nearest to some moments is kept.
    """
    parts = Reading()
    with Reader(folder) as reader:
        chosen = [
            c
            for c in reader.connections
            if c.topic.startswith(f'{PLAYER}/') or c.topic == '/tf_static'
        ]
        clouds: dict[str, Nearest] = {}
        # A camera that is silent is shown.
        images: dict[str, Nearest] = {_sensor(c): {} for c in chosen if c.msgtype == IMAGE}
        for connection, _, raw in reader.messages(connections=chosen) if chosen else ():
            data = bytes(raw)
            topic = connection.topic.removeprefix(f'{PLAYER}/')
            if connection.msgtype == IMAGE:
                _keep_nearest(images[_sensor(connection)], data, moments_ns)
            elif connection.msgtype == CLOUD:
                _keep_nearest(clouds.setdefault(_sensor(connection), {}), data, moments_ns)
            elif topic in ('path', 'odom', 'ego', 'tracks', 'driven_path', '/tf_static'):
                parts.add(topic, connection.msgtype, data)
    times = sorted(parts.odometry)
    return Drive(
        path_ns=np.array(list(parts.path), dtype=np.int64),
        path=np.array(list(parts.path.values())).reshape(-1, 3),
        odometry_ns=np.array(times, dtype=np.int64),
        odometry=np.array([parts.odometry[t] for t in times]).reshape(-1, 3),
        ego_box=parts.ego_box,
        road_users=parts.users,
        images={
            name: _read(some, IMAGE, lambda image: image.data.tobytes())
            for name, some in images.items()
        },
        clouds={name: _read(some, CLOUD, parts.cloud) for name, some in clouds.items()},
        is_driven=parts.is_driven,
    )


def _sensor(connection: Connection) -> str:
    name: str = connection.topic.split('/')[2]
    return name


def _keep_nearest(kept: Nearest, data: bytes, moments_ns: Sequence[int]) -> None:
    """Put a message in the place of one that is farther from its moment: all would be too much."""
    t_ns = stamp_of(data)
    for moment_ns in moments_ns:
        old = kept.get(moment_ns)
        if old is None or abs(t_ns - moment_ns) < abs(old[0] - moment_ns):
            kept[moment_ns] = t_ns, data


def _read(
    kept: Nearest, kind: str, content: Callable[[Any], Content]
) -> list[tuple[int, Content]]:
    """Return stamp and content of each message that is nearest to a moment, by stamp."""
    read = message_class(kind)
    messages = sorted(dict(kept.values()).items())
    return [(t_ns, content(deserialize_message(data, read))) for t_ns, data in messages]


def stamp_of(data: bytes, at: int = 4) -> int:
    """
    Return the stamp (ns) at a place of serialized bytes, without reading the rest.

    CDR: behind four bytes, the second of which tells the order of bytes, a message that begins
    with a header has its stamp; one that begins with a list of such has their number before it.
    """
    seconds, nanoseconds = struct.unpack_from('<iI' if data[1] & 1 else '>iI', data, at)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def flat_pose(pose: Pose) -> Pose2D:
    """Return x, y and yaw of a pose seen from above."""
    q = pose.orientation
    forward_x = 1 - 2 * (q.y**2 + q.z**2)
    forward_y = 2 * (q.x * q.y + q.w * q.z)
    return pose.position.x, pose.position.y, float(np.arctan2(forward_y, forward_x))
