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
What the driven ego is told, checked: poses and commands, each with its stamp in scenario time.

An input that cannot be used raises InputError: one sentence for the log, and the reason by which
it is counted and said once. Programs give numbers as well, which `input_of` turns into inputs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass
import math
from operator import attrgetter
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from nurec_ros.driving.recorded_path import Twist6, Waypoint
from nurec_ros.errors import NurecError, one_line, shortened
from nurec_ros.poses import Pose, quaternion_of

SECOND = 1_000_000_000
# A stamp that lies further ahead of the position is another clock's.
MOST_AHEAD_NS = 1 * SECOND
KEPT_NS = 10 * SECOND
MOST_KEPT = 10_000
# Beyond these nothing drives, and sums of them stay finite.
FASTEST = 1000.0
FARTHEST_M = 1e9
_SMALLEST_QUATERNION = 1e-6
EXPECTED = {
    'ackermann': 'two numbers (speed, steering angle), or an AckermannCommand',
    'twist': 'two numbers (speed, yaw rate), or a TwistCommand',
    'pose': 'a Pose, a matrix (4, 4), or a TimedPose',
    'recorded': 'None: with this ego_source nobody drives',
}
# Of a matrix in float32, or of rounded numbers; scales and shears of more are meant as such.
RIGID = 1e-3


class InputError(NurecError):
    """An input that cannot be used; `reason` is the same for all that are refused alike."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class TimedPose:
    """Where the ego is at a stamp (0: now), in map, and its velocity where that is known."""

    stamp_ns: int
    position: tuple[float, float, float]
    quaternion: tuple[float, float, float, float]
    twist: Twist6 | None = None

    @classmethod
    def checked(
        cls,
        stamp_ns: int,
        position: Sequence[float],
        quaternion: Sequence[float],
        *,
        twist: Sequence[float] | None = None,
    ) -> TimedPose:
        """Return a pose that can be used, its quaternion of length 1; InputError otherwise."""
        x, y, z = (
            _number(f'position.{axis}', value, FARTHEST_M)
            for axis, value in zip('xyz', position, strict=True)
        )
        values = [
            _number(f'orientation.{axis}', value, FARTHEST_M)
            for axis, value in zip('xyzw', quaternion, strict=True)
        ]
        length = math.hypot(*values)
        if length < _SMALLEST_QUATERNION:
            raise InputError(
                'a quaternion of length 0',
                f'orientation is a quaternion of length {length:g}, expected 1',
            )
        q_x, q_y, q_z, q_w = (value / length for value in values)
        checked_twist: Twist6 | None = None
        if twist is not None:
            names = [f'{kind}.{axis}' for kind in ('linear', 'angular') for axis in 'xyz']
            a, b, c, d, e, f = (
                _number(name, value, FASTEST) for name, value in zip(names, twist, strict=True)
            )
            checked_twist = a, b, c, d, e, f
        return cls(max(stamp_ns, 0), (x, y, z), (q_x, q_y, q_z, q_w), checked_twist)


@dataclass(frozen=True, slots=True)
class TwistCommand:
    """A speed (m/s) and a yaw rate (rad/s) from a stamp on (0: now)."""

    stamp_ns: int
    speed: float
    yaw_rate: float

    @classmethod
    def checked(cls, stamp_ns: int, speed: float, yaw_rate: float) -> TwistCommand:
        """Return a command that can be used; InputError otherwise."""
        return cls(
            max(stamp_ns, 0),
            _number('linear.x', speed, FASTEST),
            _number('angular.z', yaw_rate, FASTEST),
        )


@dataclass(frozen=True, slots=True)
class AckermannCommand:
    """
    A speed and a steering angle to be approached from a stamp on (0: now).

    `acceleration` (m/s^2) and `steering_rate` (rad/s) count without their signs; 0: as the limits
    of the vehicle allow, the angle at once.
    """

    stamp_ns: int
    speed: float
    steering: float
    acceleration: float = 0.0
    steering_rate: float = 0.0

    @classmethod
    def checked(
        cls,
        stamp_ns: int,
        speed: float,
        steering: float,
        *,
        acceleration: float = 0.0,
        steering_rate: float = 0.0,
    ) -> AckermannCommand:
        """Return a command that can be used; InputError otherwise."""
        return cls(
            max(stamp_ns, 0),
            _number('speed', speed, FASTEST),
            _number('steering_angle', steering, FASTEST),
            abs(_number('acceleration', acceleration, FARTHEST_M)),
            abs(_number('steering_angle_velocity', steering_rate, FARTHEST_M)),
        )


Command = TwistCommand | AckermannCommand
Input = TimedPose | TwistCommand | AckermannCommand


def check_frame(key: str, found: str, allowed: Collection[str]) -> None:
    """Raise InputError where a frame is named, and is none of those allowed."""
    if found and found not in allowed:
        expected = ' or '.join(f"'{name}'" for name in allowed if name)
        raise InputError(
            f'another {key}',
            f"{key} is '{shortened(one_line(found))}', expected {expected} or none",
        )


def _number(key: str, value: float, largest: float) -> float:
    if not math.isfinite(value):
        raise InputError(f'{key} is not finite', f'{key} is {value}, expected a finite number')
    if abs(value) > largest:
        raise InputError(
            f'{key} is too large', f'{key} is {value:g}, expected at most {largest:g}'
        )
    return float(value)


@dataclass(frozen=True, slots=True)
class Taken:
    """
    What became of an input.

    `shown`: the pose at the halted position has changed by it. `notice`: what is to be said, once.
    """

    shown: bool = False
    notice: InputError | None = None


def not_the_source(what: str, source: str) -> InputError:
    return InputError('another source', f"{what} came while ego_source is '{source}'")


def check_pose_stamp(t_ns: int, position_ns: int, end_ns: int) -> None:
    if t_ns < position_ns - KEPT_NS:
        raise InputError(
            'a stamp of long ago',
            f'the stamp is {t_ns // 1000} us, more than 10 s before the position '
            f'({position_ns // 1000} us); expected scenario time: set use_sim_time',
        )
    if t_ns > end_ns + KEPT_NS:
        raise InputError(
            'a stamp beyond the end',
            f'the stamp is {t_ns // 1000} us, more than 10 s beyond the end of the recording '
            f'({end_ns // 1000} us); expected scenario time: set use_sim_time',
        )


def counted_from(
    stamp_ns: int, position_ns: int, timeout_ns: int
) -> tuple[int, InputError | None]:
    """
    Return when a command counts from, and what is to be said of its stamp, once.

    InputError for one that has ended already.
    """
    notice = None
    if stamp_ns > position_ns + MOST_AHEAD_NS:
        notice = InputError(
            'a stamp of another clock',
            f'a command is stamped {stamp_ns // 1000} us, more than 1 s ahead of the '
            f'position ({position_ns // 1000} us): it counts from its arrival; expected '
            'scenario time: set use_sim_time',
        )
        stamp_ns = 0
    counts_ns = stamp_ns or position_ns
    if 0 < timeout_ns <= position_ns - counts_ns:
        raise InputError(
            'a stamp of long ago',
            f'a command is stamped {counts_ns // 1000} us, longer before the position '
            f'({position_ns // 1000} us) than command_timeout_s: it does not count any more',
        )
    return counts_ns, notice


class ReceivedPoses:
    """The poses that were received and are kept, by their stamps."""

    def __init__(self) -> None:
        self._rows: list[Waypoint] = []

    @property
    def newest_ns(self) -> int:
        return self._rows[-1].t_ns

    def put(self, t_ns: int, pose: TimedPose, position_ns: int) -> None:
        """Keep a pose; of equal stamps the last received, of all those of the last 10 s."""
        place = self._first_from(t_ns)
        end = place + (place < len(self._rows) and self._rows[place].t_ns == t_ns)
        self._rows[place:end] = [Waypoint(t_ns, pose.position, pose.quaternion, pose.twist)]
        # What lies before is still interpolated from: one that is older is kept.
        stale = max(self._first_from(position_ns - KEPT_NS) - 1, len(self._rows) - MOST_KEPT, 0)
        del self._rows[:stale]

    def around(self, from_ns: int, to_ns: int) -> tuple[Waypoint, ...]:
        first = max(self._first_from(from_ns) - 1, 0)
        last = self._first_from(to_ns) + 1
        return tuple(self._rows[first:last])

    def _first_from(self, t_ns: int) -> int:
        return bisect_left(self._rows, t_ns, key=attrgetter('t_ns'))


Action: TypeAlias = Input | Pose | ArrayLike


def input_of(action: Action, source: str, end_ns: int) -> Input:
    """
    Return the input that an action is, a pose for `end_ns`; InputError for one that it cannot be.

    Commands count from the position on.
    """
    if source == 'recorded':
        raise _unusable(action, source)
    if isinstance(action, TwistCommand | AckermannCommand | TimedPose):
        return action
    if isinstance(action, Pose):
        if source != 'pose' or action.position.shape != (3,):
            raise _unusable(action, source)
        return TimedPose.checked(end_ns, action.position.tolist(), action.quaternion.tolist())
    try:
        numbers = np.asarray(action, dtype=np.float64)
    except (TypeError, ValueError):
        raise _unusable(action, source) from None
    if numbers.shape != ((4, 4) if source == 'pose' else (2,)):
        raise _unusable(action, source)
    if source == 'pose':
        _check_rigid(numbers)
        return TimedPose.checked(end_ns, numbers[:3, 3].tolist(), quaternion_of(numbers))
    speed, second = numbers.tolist()
    if source == 'twist':
        return TwistCommand.checked(0, speed, second)
    return AckermannCommand.checked(0, speed, second)


def _unusable(action: Action, source: str) -> InputError:
    if isinstance(action, np.ndarray):
        found = f'an array of shape {action.shape}'
    elif isinstance(action, Pose):
        found = 'a Pose' if action.position.ndim == 1 else 'a Pose of many'
    else:
        found = shortened(one_line(repr(action)))
    return InputError('another action', f'the action is {found}, expected {EXPECTED[source]}')


def _check_rigid(matrix: NDArray[np.float64]) -> None:
    found = ''
    turn = matrix[:3, :3]
    if not np.isfinite(matrix).all():
        found = 'has numbers that are not finite'
    elif not np.allclose(matrix[3], (0, 0, 0, 1), atol=RIGID):
        found = f'ends with the row {matrix[3].tolist()}'
    elif not np.allclose(turn @ turn.T, np.eye(3), atol=RIGID):
        lengths = ', '.join(f'{length:.4g}' for length in np.linalg.norm(turn, axis=0))
        found = f'has axes of the lengths {lengths}, or not at right angles'
    elif np.linalg.det(turn) < 0.0:
        found = 'mirrors'
    if found:
        raise InputError(
            'a matrix that is no pose',
            f'the matrix {found}; expected a rotation and a place: T_map_rig, whose last row is '
            '0 0 0 1',
        )


def nanoseconds_of(name: str, seconds: float) -> int:
    """Return seconds as whole microseconds in ns; InputError where they are not finite."""
    try:
        found = float(seconds)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise InputError(
            f'{name} is not finite',
            f'{name} is {shortened(one_line(repr(seconds)))}, expected a finite number of seconds',
        )
    return round(found * 1e6) * 1000
