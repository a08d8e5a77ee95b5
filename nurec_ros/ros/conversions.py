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
"""Records to messages: pure functions; nothing here publishes or keeps anything."""

from __future__ import annotations

import array
from collections.abc import Iterable, Mapping
import json
from typing import Any

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, TransformStamped, Vector3
from nav_msgs.msg import Path
import numpy as np
from nurec_ros import poses
from nurec_ros.scenario.trajectory import Trajectory

# Optical axes (x right, y down, z forward) in body axes (x forward, y left, z up), REP 103.
R_BODY_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])

NS_PER_S = 1_000_000_000


def set_time(message: Time, t_ns: int) -> None:
    """
    Put nanoseconds into a time message.

    0 becomes 1 ns: to ROS a time of zero means that there is none yet.
    """
    message.sec, message.nanosec = divmod(int(t_ns) or 1, NS_PER_S)


def time_of(stamp: Time) -> int:
    """Return a stamp in nanoseconds."""
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)


def set_vector(message: Vector3 | Point, values: Iterable[float]) -> None:
    message.x, message.y, message.z = (float(value) for value in values)


def set_quaternion(message: Quaternion, values: Iterable[float]) -> None:
    message.x, message.y, message.z, message.w = (float(value) for value in values)


def set_pose(message: Pose, pose: poses.Pose) -> None:
    at, to = message.position, message.orientation
    at.x, at.y, at.z = pose.position.tolist()
    to.x, to.y, to.z, to.w = pose.quaternion.tolist()


def set_transform(message: TransformStamped, t_ns: int, pose: poses.Pose) -> None:
    """Put the pose of the child in its parent, at a moment, into a transform."""
    set_time(message.header.stamp, t_ns)
    at, to = message.transform.translation, message.transform.rotation
    at.x, at.y, at.z = pose.position.tolist()
    to.x, to.y, to.z, to.w = pose.quaternion.tolist()


def transform_stamped(t_ns: int, parent: str, child: str, pose: poses.Pose) -> TransformStamped:
    """Return a new transform: the pose of `child` in `parent` at a moment."""
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = parent
    set_transform(message, t_ns, pose)
    return message


def pose_stamped(
    t_ns: int, frame: str, position: Iterable[float], quaternion: Iterable[float]
) -> PoseStamped:
    message = PoseStamped()
    message.header.frame_id = frame
    set_time(message.header.stamp, t_ns)
    set_vector(message.pose.position, position)
    set_quaternion(message.pose.orientation, quaternion)
    return message


def path_message(trajectory: Trajectory, frame: str) -> Path:
    """
    Return a trajectory as a path, each pose with its own stamp.

    The path itself is stamped with the first pose's time.
    """
    message = Path()
    message.header.frame_id = frame
    rows = zip(
        trajectory.times_ns.tolist(),
        trajectory.positions.tolist(),
        trajectory.quaternions.tolist(),
        strict=True,
    )
    message.poses = [pose_stamped(t_ns, frame, *pose) for t_ns, *pose in rows]
    if message.poses:
        message.header.stamp = message.poses[0].header.stamp
    return message


def points(positions: np.ndarray) -> list[Point]:
    return [Point(x=x, y=y, z=z) for x, y, z in np.asarray(positions, dtype=np.float64).tolist()]


def set_bytes(target: array.array[int], data: Any) -> None:
    """
    Copy bytes, or a C-contiguous uint8 array of any shape, into a message's own `data`.

    One copy. To assign to `data` makes two, and goes through the bytes one by one for anything
    but an `array.array` where rosidl checks its fields (always, on Humble).
    """
    del target[:]
    target.frombytes(data)


def diagnostic(
    name: str,
    level: bytes,
    message: str,
    values: Mapping[str, object] | None = None,
    hardware_id: str = '',
) -> DiagnosticStatus:
    """
    Return a diagnostic status; `level` is one of DiagnosticStatus' constants.

    A value that is not text is written as JSON (true, 12.5).
    """
    status = DiagnosticStatus(level=level, name=name, message=message, hardware_id=hardware_id)
    status.values = [
        KeyValue(key=key, value=value if isinstance(value, str) else json.dumps(value))
        for key, value in (values or {}).items()
    ]
    return status
