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
"""One body's way through the map frame: timed poses, and the pose and velocity between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from nurec_ros.errors import ScenarioError
from nurec_ros.poses import Pose, Quaternion, rotation_rows, Vector, with_positive_w
from nurec_ros.scenario.interpolation import frozen, Indices, PoseTable
from nurec_ros.scenario.moments import many_times

Array = NDArray[np.float64]
Times = NDArray[np.int64]

# A block's temporaries stay in the processor's cache; one pass over a million rows would not.
_BLOCK = 1024


class TimeOutsideError(ScenarioError, ValueError):
    """A time was asked for at which the trajectory has no pose."""


@dataclass(frozen=True, slots=True, eq=False)
class Twist:
    """Linear (3,) m/s and angular (3,) rad/s velocity in the body's own frame, or (M, 3) each."""

    linear: Array
    angular: Array

    def __iter__(self) -> Iterator[Array]:
        """Unpack as `linear, angular`."""
        return iter((self.linear, self.angular))


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """
    Timed poses of one body in the map frame, at least one.

    Between two samples the position moves on a straight line and the rotation on the shortest
    arc, both evenly in time.
    """

    samples: PoseTable
    # Of each segment: linear velocity in the map frame and angular velocity in the body's (., 6).
    _velocities: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not len(self.samples):
            raise ValueError('a trajectory needs at least one pose')
        low = np.arange(max(len(self.samples) - 1, 1))
        high = np.minimum(low + 1, len(self.samples) - 1)
        velocities = np.hstack(
            [
                self.samples.linear_velocities(low, high),
                self.samples.angular_velocities(low, high),
            ]
        )
        frozen(velocities)
        object.__setattr__(self, '_velocities', velocities)

    @property
    def times_ns(self) -> Times:
        """Return the times (N,) of the samples."""
        return self.samples.times_ns

    @property
    def positions(self) -> Array:
        """Return where the samples are (N, 3), in metres."""
        return self.samples.positions

    @property
    def quaternions(self) -> Array:
        """Return the rotations (N, 4) of the samples as unit quaternions x y z w."""
        return self.samples.quaternions

    @property
    def start_ns(self) -> int:
        """Return the time of the first sample."""
        return int(self.samples.times_ns[0])

    @property
    def end_ns(self) -> int:
        """Return the time of the last sample."""
        return int(self.samples.times_ns[-1])

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        return f'Trajectory({len(self)} poses from {self.start_ns} to {self.end_ns} ns)'

    def at(self, t_ns: ArrayLike, *, outside: Literal['clamp', 'raise'] = 'clamp') -> Array:
        """
        Return the pose T_map_body (4, 4) at a time, or (M, 4, 4) at times (M,).

        Times are whole nanoseconds: int or integers of numpy, others are a TypeError.
        Outside of the samples it holds the first or last pose, or with outside='raise' refuses
        with TimeOutsideError, which is both a ScenarioError and a ValueError.
        """
        first, last = self.start_ns, self.end_ns
        if isinstance(t_ns, (int, np.integer)) and outside == 'clamp':
            (x, y, z), quaternion = self._pose(min(max(int(t_ns), first), last))
            a, b, c, d, e, f, g, h, i = rotation_rows(*quaternion)
            flat = (a, b, c, x, d, e, f, y, g, h, i, z, 0.0, 0.0, 0.0, 1.0)
            return np.array(flat).reshape(4, 4)
        times = many_times(t_ns)
        if outside == 'raise':
            beyond = np.flatnonzero((times < first) | (times > last))
            if len(beyond):
                raise TimeOutsideError(
                    f'time {times[beyond[0]]} ns is outside of the trajectory, '
                    f'which runs from {first} to {last} ns'
                )
        elif outside != 'clamp':
            raise ValueError(f"outside must be 'clamp' or 'raise', not {outside!r}")
        times = np.clip(times, first, last)
        if len(times) <= _BLOCK:
            result = self._poses(times).matrix
        else:
            result = np.empty((len(times), 4, 4))
            for start in range(0, len(times), _BLOCK):
                stop = start + _BLOCK
                result[start:stop] = self._poses(times[start:stop]).matrix
        return result if np.ndim(t_ns) else result[0]

    def pose(self, t_ns: ArrayLike) -> Pose:
        """
        Return what `at` does as position and quaternion, w >= 0: one pose, or those at times (M,).

        Outside of the samples it is the first or the last pose.
        """
        if isinstance(t_ns, (int, np.integer)):
            position, quaternion = self._pose(min(max(int(t_ns), self.start_ns), self.end_ns))
            sign = math.copysign(1.0, quaternion[3])
            return Pose(np.array(position), np.array([sign * value for value in quaternion]))
        many = self._poses(np.clip(many_times(t_ns), self.start_ns, self.end_ns))
        quaternions = with_positive_w(many.quaternion)
        if np.ndim(t_ns):
            return Pose(many.position, quaternions)
        return Pose(many.position[0], quaternions[0])

    def velocity(self, t_ns: ArrayLike) -> Twist:
        """
        Return the derivative of `at` in the body's frame, at a time or at times (M,).

        Constant over a segment in the map frame; at a sample it is that of the segment that
        begins there, at the last sample that of the last segment. Zero outside of the samples,
        where the pose is held, and for a trajectory of one sample.
        """
        if isinstance(t_ns, (int, np.integer)):
            return self._velocity(int(t_ns))
        times = many_times(t_ns)
        low, high = self._segments(times)
        moving = ((times >= self.start_ns) & (times <= self.end_ns))[:, np.newaxis]
        velocities = self._velocities[low] * moving
        clamped = np.clip(times, self.start_ns, self.end_ns)
        T_map_body = self.samples.between(low, high, clamped).matrix
        linear = np.einsum('nji,nj->ni', T_map_body[:, :3, :3], velocities[:, :3])
        angular = velocities[:, 3:]
        return Twist(linear, angular) if np.ndim(t_ns) else Twist(linear[0], angular[0])

    def _velocity(self, t_ns: int) -> Twist:
        if not self.start_ns <= t_ns <= self.end_ns:
            return Twist(np.zeros(3), np.zeros(3))
        a, b, c, d, e, f, g, h, i = rotation_rows(*self._pose(t_ns)[1])
        x, y, z, *angular = self._velocities[self._segment(t_ns)[0]].tolist()
        linear = (a * x + d * y + g * z, b * x + e * y + h * z, c * x + f * y + i * z)
        return Twist(np.array(linear), np.array(angular))

    def _poses(self, times: Times) -> Pose:
        return self.samples.between(*self._segments(times), times)

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
