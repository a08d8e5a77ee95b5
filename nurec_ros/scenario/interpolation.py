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
Timed poses in one flat table, and the poses between them.

One table holds one trajectory or thousands of tracks, one after the other; who uses it knows
which rows belong together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
import math

import numpy as np
from numpy.typing import NDArray
from nurec_ros import poses
from nurec_ros.poses import Pose, Quaternion, Vector

Array = NDArray[np.float64]
Times = NDArray[np.int64]
Indices = NDArray[np.intp]


def frozen(array: NDArray[np.generic]) -> None:
    """Make an array read-only, so that records that hold it can be shared between threads."""
    array.flags.writeable = False


@dataclass(frozen=True, slots=True, eq=False)
class PoseTable:
    """
    Sampled poses: times_ns (S,), positions (S, 3) in metres, unit quaternions (S, 4) x y z w.

    The quaternions are kept with signs that make the way from each to the next one the short one.
    """

    times_ns: Times
    positions: Array
    quaternions: Array
    half_angles: Array = field(init=False)
    _table: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Shared fields are copies or views made read-only: nobody can change a loaded scenario.
        table = np.empty((len(self.times_ns), 7))
        table[:, :3] = self.positions
        table[:, 3:] = poses.continuous(self.quaternions)
        times = np.array(self.times_ns, dtype=np.int64)
        angles = poses.half_angles(table[:, 3:])
        for array in (table, times, angles):
            frozen(array)
        object.__setattr__(self, 'times_ns', times)
        object.__setattr__(self, 'positions', table[:, :3])
        object.__setattr__(self, 'quaternions', table[:, 3:])
        object.__setattr__(self, 'half_angles', angles)
        object.__setattr__(self, '_table', table)

    def __len__(self) -> int:
        return len(self.times_ns)

    def __repr__(self) -> str:
        return f'PoseTable({len(self)} poses)'

    def between(self, low: Indices, high: Indices, t_ns: Times | int) -> Pose:
        """
        Return the poses (N,) at t_ns between the rows low (N,) and high (N,).

        Positions by lerp, rotations by slerp; low == high gives that row as it stands.
        """
        start_ns = self.times_ns.take(low)
        span = self.times_ns.take(high) - start_ns
        fraction = (t_ns - start_ns) / np.maximum(span, 1)
        first, second = poses.slerp_weights(self.half_angles.take(low), fraction)
        before = self._table.take(low, axis=0)
        after = self._table.take(high, axis=0)
        before[:, :3] *= (1.0 - fraction)[:, np.newaxis]
        before[:, 3:] *= first[:, np.newaxis]
        after[:, :3] *= fraction[:, np.newaxis]
        after[:, 3:] *= second[:, np.newaxis]
        before += after
        return Pose(before[:, :3], before[:, 3:])

    def between_two(self, low: int, high: int, t_ns: int) -> tuple[Vector, Quaternion]:
        """
        Return position and quaternion at t_ns between the rows low and high, as plain numbers.

        The same as `between`, for one moment: many times faster than arrays of one element.
        """
        start_ns = int(self.times_ns[low])
        span = int(self.times_ns[high]) - start_ns
        fraction = (t_ns - start_ns) / span if span else 0.0
        half_angle = max(float(self.half_angles[low]), poses.SMALLEST_HALF_ANGLE)
        along = fraction * half_angle
        scale = 1.0 / math.sin(half_angle)
        first, second = math.sin(half_angle - along) * scale, math.sin(along) * scale
        x, y, z, q_x, q_y, q_z, q_w = self._table[low].tolist()
        x2, y2, z2, q_x2, q_y2, q_z2, q_w2 = self._table[high].tolist()
        rest = 1.0 - fraction
        return (
            (rest * x + fraction * x2, rest * y + fraction * y2, rest * z + fraction * z2),
            (
                first * q_x + second * q_x2,
                first * q_y + second * q_y2,
                first * q_z + second * q_z2,
                first * q_w + second * q_w2,
            ),
        )

    def linear_velocities(self, low: Indices, high: Indices) -> Array:
        """Return the velocities (N, 3), metres a second, on the way from low to high."""
        seconds = self._seconds(low, high)
        return _per_second(self.positions[high] - self.positions[low], seconds)

    def angular_velocities(self, low: Indices, high: Indices) -> Array:
        """Return the angular velocities (N, 3), rad a second, in the moving body's own frame."""
        seconds = self._seconds(low, high)
        turn = poses.rotation_vectors(self.quaternions[low], self.quaternions[high])
        return _per_second(turn, seconds)

    def _seconds(self, low: Indices, high: Indices) -> Array:
        return np.asarray(self.times_ns[high] - self.times_ns[low], dtype=np.float64) * 1e-9


def _per_second(change: Array, seconds: Array) -> Array:
    """Return changes (N, 3) by seconds (N,), 0 where no time passes."""
    rate: Array = change / np.where(seconds > 0.0, seconds, np.inf)[:, np.newaxis]
    return rate
