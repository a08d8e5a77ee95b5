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
"""Poses of the wire: float32 position and quaternion (w x y z) to 4x4 matrices and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from nurec_ros.poses import matrices, quaternion_of
from nurec_ros.rendering.protos import common_pb2


def matrix_of(pose: Any) -> NDArray[np.float64]:
    """
    Give the 4x4 matrix of a Pose message.

    Raises ValueError when a number is not finite or the quaternion has no length.
    """
    q, v = pose.quat, pose.vec
    norm = math.sqrt(q.w * q.w + q.x * q.x + q.y * q.y + q.z * q.z)
    if not math.isfinite(norm + v.x + v.y + v.z):
        raise ValueError('a pose holds a number that is not finite')
    if norm < 1e-3:
        raise ValueError('a pose has a quaternion of length 0')
    rotation = np.array([q.x, q.y, q.z, q.w]) / norm
    return matrices(np.array([v.x, v.y, v.z]), rotation)


def pose_of(matrix: NDArray[np.float64]) -> Any:
    """Give the Pose message of a 4x4 rigid transform."""
    x, y, z, w = quaternion_of(matrix)
    return common_pb2.Pose(
        vec=common_pb2.Vec3(x=matrix[0, 3], y=matrix[1, 3], z=matrix[2, 3]),
        quat=common_pb2.Quat(w=w, x=x, y=y, z=z),  # the wire's order is w x y z
    )


def pose_at(position: NDArray[np.float64], quaternion: NDArray[np.float64], t_us: int) -> Any:
    """Give the PoseAtTime message of a position (3,) and a quaternion (4,) x y z w."""
    x, y, z, w = quaternion
    return common_pb2.PoseAtTime(
        pose=common_pb2.Pose(
            vec=common_pb2.Vec3(x=position[0], y=position[1], z=position[2]),
            quat=common_pb2.Quat(w=w, x=x, y=y, z=z),
        ),
        timestamp_us=t_us,
    )
