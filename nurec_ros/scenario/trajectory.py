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
Timed poses, and the pose and velocity between them.

A table holds one trajectory or thousands of tracks, one after the other; who uses it knows which
rows belong together. Times that callers ask for are whole nanoseconds, as int or as integers of
numpy: a float cannot hold a time of today to the nanosecond, so it is refused and not rounded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
import math
import operator
from typing import SupportsIndex, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from nurec_ros import poses
from nurec_ros.errors import one_line, shortened
from nurec_ros.poses import Array, Pose, Quaternion, rotation_rows, Vector, with_positive_w

Times = NDArray[np.int64]
Indices = NDArray[np.intp]
Item = TypeVar('Item', bound=np.generic)

_LAST = 2**63 - 1


def one_time(t_ns: SupportsIndex, name: str = 't_ns') -> int:
    """Return one time as int within int64; raises TypeError or ValueError, which say `name`."""
    try:
        return min(max(operator.index(t_ns), -_LAST), _LAST)
    except TypeError:
        pass
    if isinstance(t_ns, np.ndarray) and t_ns.dtype.kind in 'iu':
        raise ValueError(f'{name} is an array of shape {t_ns.shape}, expected one time')
    raise TypeError(f'{name} is {_shown(t_ns)}, expected whole nanoseconds as one int')


def many_times(t_ns: ArrayLike, name: str = 't_ns') -> Times:
    """Return times (M,), M is 1 for one time; raises TypeError or ValueError, which say `name`."""
    try:
        times = np.asarray(t_ns)
    except ValueError:
        # A ragged list.
        times = np.empty(0, dtype=object)
    if times.dtype.kind not in 'iu' and (times.size or times.dtype.kind == 'O'):
        raise TypeError(
            f'{name} is {_shown(t_ns)}, expected whole nanoseconds: an int or an array of ints'
        )
    if times.ndim > 1:
        raise ValueError(
            f'{name} is an array of shape {times.shape}, expected one time or times (M,)'
        )
    if times.dtype.kind == 'u':
        times = np.minimum(times, np.uint64(_LAST))
    return np.atleast_1d(times).astype(np.int64, copy=False)


def _shown(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f'an array of {value.dtype}'
    return one_line(shortened(repr(value)))


def frozen(array: NDArray[Item]) -> NDArray[Item]:
    """Make an array read-only and return it: threads may share the records that hold it."""
    array.flags.writeable = False
    return array


def fill(record: object, **fields: object) -> None:
    """Set fields of a frozen record while it is made; arrays become read-only."""
    for name, value in fields.items():
        if isinstance(value, np.ndarray):
            frozen(value)
        object.__setattr__(record, name, value)


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
    _table: Array = field(init=False)

    def __post_init__(self) -> None:
        # Shared fields are copies or views of them: nobody can change a loaded scenario.
        table = np.empty((len(self.times_ns), 7))
        table[:, :3] = self.positions
        table[:, 3:] = poses.continuous(self.quaternions)
        fill(
            self,
            times_ns=np.array(self.times_ns, dtype=np.int64),
            positions=table[:, :3],
            quaternions=table[:, 3:],
            half_angles=poses.half_angles(table[:, 3:]),
            _table=table,
        )

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
        return self._per_second(low, high, self.positions[high] - self.positions[low])

    def angular_velocities(self, low: Indices, high: Indices) -> Array:
        """Return the angular velocities (N, 3), rad a second, in the moving body's own frame."""
        turn = poses.rotation_vectors(self.quaternions[low], self.quaternions[high])
        return self._per_second(low, high, turn)

    def _per_second(self, low: Indices, high: Indices, change: Array) -> Array:
        seconds = (self.times_ns[high] - self.times_ns[low]) * 1e-9
        # Where no time passes nothing moves.
        rate: Array = change / np.where(seconds > 0.0, seconds, np.inf)[:, np.newaxis]
        return rate


@dataclass(frozen=True, slots=True, eq=False)
class Twist:
    """Linear (3,) m/s and angular (3,) rad/s velocity in the body's own frame."""

    linear: Array
    angular: Array


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """
    Timed poses of one body in the map frame, at least one.

    Between two samples the position moves on a straight line and the rotation on the shortest
    arc, both evenly in time. times_ns, positions and quaternions are those of the samples,
    start_ns and end_ns the first and the last time.
    """

    samples: PoseTable
    times_ns: Times = field(init=False)
    positions: Array = field(init=False)
    quaternions: Array = field(init=False)
    start_ns: int = field(init=False)
    end_ns: int = field(init=False)
    # Of each segment: linear velocity in the map frame and angular velocity in the body's (., 6).
    _velocities: Array = field(init=False)

    def __post_init__(self) -> None:
        samples = self.samples
        if not len(samples):
            raise ValueError('a trajectory needs at least one pose')
        times_ns = samples.times_ns
        fill(self, times_ns=times_ns, start_ns=int(times_ns[0]), end_ns=int(times_ns[-1]))
        fill(self, positions=samples.positions, quaternions=samples.quaternions)
        low = np.arange(max(len(samples) - 1, 1))
        high = np.minimum(low + 1, len(samples) - 1)
        velocities = samples.linear_velocities(low, high), samples.angular_velocities(low, high)
        fill(self, _velocities=np.hstack(velocities))

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        return f'Trajectory({len(self)} poses from {self.start_ns} to {self.end_ns} ns)'

    def at(self, t_ns: ArrayLike) -> Array:
        """
        Return the pose T_map_body (4, 4) at a time, or (M, 4, 4) at times (M,).

        Times are whole nanoseconds: int or integers of numpy, others are a TypeError.
        Outside of the samples it is the first or the last pose.
        """
        return self.pose(t_ns).matrix

    def pose(self, t_ns: ArrayLike) -> Pose:
        """Return what `at` does as position and quaternion, w >= 0: one pose, or many."""
        if isinstance(t_ns, (int, np.integer)):
            position, quaternion = self._pose(min(max(int(t_ns), self.start_ns), self.end_ns))
            sign = math.copysign(1.0, quaternion[3])
            return Pose(np.array(position), np.array([sign * value for value in quaternion]))
        times = np.clip(many_times(t_ns), self.start_ns, self.end_ns)
        many = self.samples.between(*self._segments(times), times)
        quaternions = with_positive_w(many.quaternion)
        if np.ndim(t_ns):
            return Pose(many.position, quaternions)
        return Pose(many.position[0], quaternions[0])

    def velocity(self, t_ns: SupportsIndex) -> Twist:
        """
        Return the derivative of `at` in the body's frame, at one time.

        Constant over a segment in the map frame; at a sample it is that of the segment that
        begins there, at the last sample that of the last segment. Zero outside of the samples,
        where the pose is held, and for a trajectory of one sample.
        """
        t_ns = one_time(t_ns)
        if not self.start_ns <= t_ns <= self.end_ns:
            return Twist(np.zeros(3), np.zeros(3))
        a, b, c, d, e, f, g, h, i = rotation_rows(*self._pose(t_ns)[1])
        x, y, z, *angular = self._velocities[self._segment(t_ns)[0]].tolist()
        linear = (a * x + d * y + g * z, b * x + e * y + h * z, c * x + f * y + i * z)
        return Twist(np.array(linear), np.array(angular))

    def _pose(self, t_ns: int) -> tuple[Vector, Quaternion]:
        return self.samples.between_two(*self._segment(t_ns), t_ns)

    def _segment(self, t_ns: int) -> tuple[int, int]:
        last = len(self.samples) - 1
        low = int(self.samples.times_ns.searchsorted(t_ns, side='right')) - 1
        low = min(max(low, 0), max(last - 1, 0))
        return low, min(low + 1, last)

    def _segments(self, times: Times) -> tuple[Indices, Indices]:
        """Return the rows before and after each time; the last segment reaches to its end."""
        last = len(self.samples) - 1
        low = np.searchsorted(self.samples.times_ns, times, side='right') - 1
        low = np.clip(low, 0, max(last - 1, 0))
        return low, np.minimum(low + 1, last)
