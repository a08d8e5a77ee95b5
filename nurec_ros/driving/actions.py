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
"""What a program drives a step with, numbers or a pose, as the input of the ego's source."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from nurec_ros.driving.inputs import AckermannCommand, Input, InputError, TimedPose, TwistCommand
from nurec_ros.errors import one_line, shortened
from nurec_ros.poses import Pose, quaternion_of

Action: TypeAlias = Input | Pose | ArrayLike

EXPECTED = {
    'ackermann': 'two numbers (speed, steering angle), or an AckermannCommand',
    'twist': 'two numbers (speed, yaw rate), or a TwistCommand',
    'pose': 'a Pose, a matrix (4, 4), or a TimedPose',
    'recorded': 'None: with this ego_source nobody drives',
}
# Of a matrix in float32, or of rounded numbers; scales and shears of more are meant as such.
RIGID = 1e-3


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
    """Raise InputError for a matrix that is no pose."""
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
