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
from collections.abc import Mapping
import json
from typing import Any

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, TransformStamped
from nav_msgs.msg import Path
import numpy as np
from nurec_ros.poses import quaternion_of

# Optical axes (x right, y down, z forward) in body axes (x forward, y left, z up), REP 103.
R_BODY_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])

NS_PER_S = 1_000_000_000


def set_time(message: Time, t_ns: int) -> None:
    """
    Put nanoseconds into a time message.

    0 becomes 1 ns: to ROS a time of zero means that there is none yet.
    """
    message.sec, message.nanosec = divmod(int(t_ns) or 1, NS_PER_S)


def time_message(t_ns: int) -> Time:
    """Give nanoseconds as a time message, 0 as 1 ns."""
    message = Time()
    set_time(message, t_ns)
    return message


def set_vector(message: Any, values: Any) -> None:
    """Put three numbers into a Vector3 or a Point."""
    message.x, message.y, message.z = (float(value) for value in values)


def set_quaternion(message: Quaternion, values: Any) -> None:
    """Put x y z w into a quaternion message."""
    message.x, message.y, message.z, message.w = (float(value) for value in values)


def set_pose(message: Pose, T: np.ndarray) -> None:
    """Put a matrix (4, 4) into a pose message."""
    set_vector(message.position, T[:3, 3].tolist())
    set_quaternion(message.orientation, quaternion_of(T))


def transform_stamped(t_ns: int, parent: str, child: str, T: np.ndarray) -> TransformStamped:
    """Give `T_parent_child`, (4, 4), as a transform at a moment."""
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = parent
    set_time(message.header.stamp, t_ns)
    set_vector(message.transform.translation, T[:3, 3].tolist())
    set_quaternion(message.transform.rotation, quaternion_of(T))
    return message


def path_message(trajectory: Any, frame: str) -> Path:
    """
    Give a trajectory as a path, each pose with its own stamp.

    `trajectory` has `times_ns` (N,), `positions` (N, 3) and `quaternions` (N, 4), x y z w.
    """
    message = Path()
    message.header.frame_id = frame
    rows = zip(
        trajectory.times_ns.tolist(),
        trajectory.positions.tolist(),
        trajectory.quaternions.tolist(),
        strict=True,
    )
    for t_ns, position, quaternion in rows:
        pose = PoseStamped()
        pose.header.frame_id = frame
        set_time(pose.header.stamp, t_ns)
        set_vector(pose.pose.position, position)
        set_quaternion(pose.pose.orientation, quaternion)
        message.poses.append(pose)
    if message.poses:
        message.header.stamp = time_message(int(trajectory.times_ns[0]))
    return message


def points(positions: np.ndarray) -> list[Point]:
    """Give positions (M, 3) as points."""
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
    Give a diagnostic status; `level` is one of DiagnosticStatus' constants.

    A value that is not text is written as JSON (true, 12.5).
    """
    status = DiagnosticStatus(level=level, name=name, message=message, hardware_id=hardware_id)
    status.values = [
        KeyValue(key=key, value=value if isinstance(value, str) else json.dumps(value))
        for key, value in (values or {}).items()
    ]
    return status
