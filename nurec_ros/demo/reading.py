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
Reads back what was recorded, as arrays and image bytes.

The pictures are drawn from this, so that they show what came over ROS and not what a file held.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from nurec_ros.demo.definitions import message_class
from rclpy.serialization import deserialize_message
from rosbags.rosbag2 import Reader
from visualization_msgs.msg import Marker

IMAGE_TOPIC = re.compile(r'.*/([^/]+)/image_raw/compressed$')
# Every marker message holds all tracks; a few of them a second draw the same line.
TRACK_STEP_NS = 190_000_000


@dataclass(slots=True)
class Way:
    """
    One road user as its markers showed it: times (K,) ns, in the map x, y and yaw (K, 3).

    `size` is length and width in metres, `colour` red, green, blue, alpha of the last marker.
    """

    label: str
    size: tuple[float, float]
    colour: tuple[float, float, float, float]
    times_ns: list[int] = field(default_factory=list)
    poses: list[tuple[float, float, float]] = field(default_factory=list)

    def array(self) -> NDArray[np.float64]:
        """Give x, y and yaw of each pose, (K, 3)."""
        return np.array(self.poses)

    @property
    def moved(self) -> float:
        """How far (m) it came from where it was first seen."""
        poses = self.array()
        return float(np.linalg.norm(poses[:, :2] - poses[0, :2], axis=1).max())


@dataclass(slots=True)
class Recorded:
    """
    The drive in a recording: planned path (N, 3), odometry times (M,) ns and x, y, yaw (M, 3).

    `ego_box` is centre x, centre y, length, width in the base frame; `images` per camera the stamp
    (ns) and bytes of each; `road_users` are by namespace and marker id.
    """

    path: NDArray[np.float64]
    odometry_ns: NDArray[np.int64]
    odometry: NDArray[np.float64]
    ego_box: tuple[float, float, float, float] | None
    road_users: dict[tuple[str, int], Way]
    images: dict[str, list[tuple[int, bytes]]]


def messages(folder: Path, names: tuple[str, ...] | None = None) -> Iterator[tuple[str, Any]]:
    """Give topic and message of a recording, in their order; of `names` only, where given."""
    with Reader(folder) as reader:
        chosen = [c for c in reader.connections if names is None or c.topic in names]
        if not chosen:
            return
        for connection, _, data in reader.messages(connections=chosen):
            python_type = message_class(connection.msgtype)
            yield connection.topic, deserialize_message(bytes(data), python_type)


def read_recording(folder: Path, node: str = '/nurec') -> Recorded:
    """Read the drive out of a recording made of the player called `node`."""
    with Reader(folder) as reader:
        topics = {connection.topic for connection in reader.connections}
    cameras = {
        topic: match[1]
        for topic in sorted(topics)
        if topic.startswith(node) and (match := IMAGE_TOPIC.match(topic))
    }
    path: list[tuple[float, float, float]] = []
    odometry: dict[int, tuple[float, float, float]] = {}
    box = None
    users: dict[tuple[str, int], Way] = {}
    latest = -TRACK_STEP_NS
    images: dict[str, list[tuple[int, bytes]]] = {name: [] for name in cameras.values()}
    wanted = (f'{node}/path', f'{node}/odom', f'{node}/ego', f'{node}/tracks', *cameras)
    for topic, message in messages(folder, wanted):
        if topic in cameras:
            images[cameras[topic]].append((stamp(message.header), message.data.tobytes()))
        elif topic == f'{node}/path':
            points = [pose.pose.position for pose in message.poses]
            path = [(point.x, point.y, point.z) for point in points]
        elif topic == f'{node}/odom':
            odometry[stamp(message.header)] = flat_pose(message.pose.pose)
        elif topic == f'{node}/ego':
            box = _ego_box(message.markers) or box
        else:
            latest = _add_markers(users, message.markers, latest)
    times = sorted(odometry)
    return Recorded(
        path=np.array(path).reshape(-1, 3),
        odometry_ns=np.array(times, dtype=np.int64),
        odometry=np.array([odometry[t] for t in times]).reshape(-1, 3),
        ego_box=box,
        road_users=users,
        images={name: sorted(entries) for name, entries in images.items()},
    )


def stamp(header: Any) -> int:
    """Give a header's stamp in nanoseconds."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def flat_pose(pose: Any) -> tuple[float, float, float]:
    """Give x, y and yaw of a pose seen from above."""
    q = pose.orientation
    forward_x = 1 - 2 * (q.y**2 + q.z**2)
    forward_y = 2 * (q.x * q.y + q.w * q.z)
    return pose.position.x, pose.position.y, float(np.arctan2(forward_y, forward_x))


def _ego_box(markers: list[Any]) -> tuple[float, float, float, float] | None:
    for marker in markers:
        if marker.action == Marker.ADD and marker.type == Marker.CUBE:
            place = marker.pose.position
            return place.x, place.y, marker.scale.x, marker.scale.y
    return None


def _add_markers(users: dict[tuple[str, int], Way], markers: list[Any], latest: int) -> int:
    """Add the boxes of one message that is late enough after `latest`; give the latest stamp."""
    boxes = [m for m in markers if m.action == Marker.ADD and m.type == Marker.CUBE]
    if not boxes:
        return latest
    now = stamp(boxes[0].header)
    if 0 <= now - latest < TRACK_STEP_NS:
        return latest
    for marker in boxes:
        key = (marker.ns, marker.id)
        colour = marker.color
        way = users.get(key)
        if way is None:
            way = users[key] = Way(
                marker.ns,
                (marker.scale.x, marker.scale.y),
                (colour.r, colour.g, colour.b, colour.a),
            )
        if not way.times_ns or stamp(marker.header) > way.times_ns[-1]:
            way.times_ns.append(stamp(marker.header))
            way.poses.append(flat_pose(marker.pose))
    return now
