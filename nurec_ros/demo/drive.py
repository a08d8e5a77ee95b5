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
The drive that a recording holds, as arrays and image bytes.

The pictures are drawn from this, so that they show what came over ROS and not what a file held.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
import re
import struct
from typing import Any

import numpy as np
from nurec_ros.demo.contact_sheet import nearest
from nurec_ros.demo.overview import Drive, Pose2D, RoadUser
from nurec_ros.ros.bag_topics import message_class
from rclpy.serialization import deserialize_message
from rosbags.rosbag2 import Reader
from visualization_msgs.msg import Marker

IMAGE_TOPIC = re.compile(r'.*/([^/]+)/image_raw/compressed$')
# Every marker message holds all tracks; a few of them a second draw the same line.
TRACK_STEP_NS = 190_000_000


class _Reading:
    """The parts of a drive, as they come message by message."""

    def __init__(self) -> None:
        self.path: list[tuple[float, float, float]] = []
        self.odometry: dict[int, Pose2D] = {}
        self.ego_box: tuple[float, float, float, float] | None = None
        self.users: dict[tuple[str, int], RoadUser] = {}
        self._latest = -TRACK_STEP_NS

    def add(self, topic: str, kind: str, data: bytes) -> None:
        # Lockstep repeats a moment while it waits.
        if topic == 'odom' and stamp_of(data) in self.odometry:
            return
        if topic == 'tracks' and self._comes_too_soon(data):
            return
        message: Any = deserialize_message(data, message_class(kind))
        if topic == 'path':
            points = [pose.pose.position for pose in message.poses]
            self.path = [(point.x, point.y, point.z) for point in points]
        elif topic == 'odom':
            self.odometry[stamp_of(data)] = flat_pose(message.pose.pose)
        else:
            boxes = [m for m in message.markers if (m.action, m.type) == (Marker.ADD, Marker.CUBE)]
            if topic == 'ego' and boxes:
                place, size = boxes[0].pose.position, boxes[0].scale
                self.ego_box = place.x, place.y, size.x, size.y
            elif topic == 'tracks' and boxes:
                now = boxes[0].header.stamp
                self._latest = now.sec * 1_000_000_000 + now.nanosec
                self._add_road_users(boxes)

    def _comes_too_soon(self, data: bytes) -> bool:
        # Without reading the message, which takes 20 ms.
        marked = len(data) >= 16
        return marked and 0 <= stamp_of(data, at=8) - self._latest < TRACK_STEP_NS

    def _add_road_users(self, boxes: Sequence[Any]) -> None:
        for marker in boxes:
            key = (marker.ns, marker.id)
            user = self.users.get(key)
            if user is None:
                colour = marker.color
                user = self.users[key] = RoadUser(
                    marker.ns,
                    (marker.scale.x, marker.scale.y),
                    (colour.r, colour.g, colour.b, colour.a),
                )
            if not user.times_ns or self._latest > user.times_ns[-1]:
                user.times_ns.append(self._latest)
                user.poses.append(flat_pose(marker.pose))


def read_drive(folder: Path, moments_ns: Sequence[int], node: str = '/nurec') -> Drive:
    """
    Read the drive out of a recording made of the player called `node`.

    Of each camera only the images nearest to some moments are kept.
    """
    parts = _Reading()
    coded: dict[str, list[tuple[int, bytes]]] = {}
    with Reader(folder) as reader:
        chosen = [c for c in reader.connections if c.topic.startswith(f'{node}/')]
        for connection in chosen:
            if match := IMAGE_TOPIC.match(connection.topic):
                coded[match[1]] = []
        for connection, _, raw in reader.messages(connections=chosen) if chosen else ():
            data = bytes(raw)
            topic = connection.topic.removeprefix(f'{node}/')
            if match := IMAGE_TOPIC.match(connection.topic):
                coded[match[1]].append((stamp_of(data), data))
            elif topic in ('path', 'odom', 'ego', 'tracks'):
                parts.add(topic, connection.msgtype, data)
    times = sorted(parts.odometry)
    return Drive(
        path=np.array(parts.path).reshape(-1, 3),
        odometry_ns=np.array(times, dtype=np.int64),
        odometry=np.array([parts.odometry[t] for t in times]).reshape(-1, 3),
        ego_box=parts.ego_box,
        road_users=parts.users,
        images={name: _images(sorted(some), moments_ns) for name, some in coded.items()},
    )


def _images(
    messages: Sequence[tuple[int, bytes]], moments_ns: Sequence[int]
) -> list[tuple[int, bytes]]:
    """Return the images of the messages that are nearest to some moments."""
    image = message_class('sensor_msgs/msg/CompressedImage')
    found = (nearest(messages, t_ns) for t_ns in moments_ns)
    wanted = dict(entry for entry in found if entry is not None)
    return [(t, deserialize_message(data, image).data.tobytes()) for t, data in wanted.items()]


def stamp_of(data: bytes, at: int = 4) -> int:
    """
    Return the stamp (ns) at a place of serialized bytes, without reading the rest.

    CDR: behind four bytes, the second of which tells the order of bytes, a message that begins
    with a header has its stamp; one that begins with a list of such has their number before it.
    """
    seconds, nanoseconds = struct.unpack_from('<iI' if data[1] & 1 else '>iI', data, at)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def flat_pose(pose: Any) -> Pose2D:
    """Return x, y and yaw of a pose seen from above."""
    q = pose.orientation
    forward_x = 1 - 2 * (q.y**2 + q.z**2)
    forward_y = 2 * (q.x * q.y + q.w * q.z)
    return pose.position.x, pose.position.y, float(np.arctan2(forward_y, forward_x))
