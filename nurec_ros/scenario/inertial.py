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
What an inertial sensor at the rig's origin would measure along recorded poses.

Poses are joined by a cubic spline and a rotation spline, both with continuous accelerations: along
the straight segments of `Trajectory` there would be none but at the samples.
"""

from __future__ import annotations

from typing import NamedTuple, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from nurec_ros.poses import rotation_rows
from nurec_ros.scenario.trajectory import Trajectory

if TYPE_CHECKING:
    from scipy.interpolate import CubicSpline
    from scipy.spatial.transform import RotationSpline

Array = NDArray[np.float64]

# The standard acceleration of gravity; map's z axis counts as up.
GRAVITY = 9.80665


class Inertial(NamedTuple):
    """Orientation x y z w in map; angular velocity and specific force in the rig's frame."""

    quaternion: Array
    angular_velocity: Array
    acceleration: Array


class InertialMotion:
    """The motion through the poses of a trajectory; outside of it the ego stands."""

    def __init__(self, ego: Trajectory) -> None:
        self._ego = ego
        self._positions: CubicSpline | None = None
        self._rotations: RotationSpline | None = None
        if len(ego) > 1:
            # Here, as their import takes longer than many a load, and few ask for an IMU.
            from scipy import interpolate
            from scipy.spatial import transform

            seconds = (ego.times_ns - ego.start_ns) * 1e-9
            self._positions = interpolate.CubicSpline(seconds, ego.positions)
            rotations = transform.Rotation.from_quat(ego.quaternions)
            self._rotations = transform.RotationSpline(seconds, rotations)

    def at(self, t_ns: int) -> Inertial:
        """Return what is measured at a moment."""
        ego, positions, rotations = self._ego, self._positions, self._rotations
        inside = ego.start_ns <= t_ns <= ego.end_ns
        if positions is None or rotations is None or not inside:
            return measured(ego.pose(t_ns).quaternion, np.zeros(3), np.zeros(3))
        seconds = (t_ns - ego.start_ns) * 1e-9
        rotation = rotations(seconds)
        return Inertial(
            np.asarray(rotation.as_quat(), dtype=np.float64),
            np.asarray(rotations(seconds, 1), dtype=np.float64),
            np.asarray(
                rotation.inv().apply(positions(seconds, 2) + (0.0, 0.0, GRAVITY)),
                dtype=np.float64,
            ),
        )


def measured(quaternion: Array, angular_velocity: Array, acceleration: Array) -> Inertial:
    """Return what is measured with an acceleration that is given in the rig's frame."""
    # map's z axis in the rig's frame.
    upwards = GRAVITY * np.array(rotation_rows(*quaternion.tolist())[6:])
    return Inertial(
        quaternion, angular_velocity, np.asarray(acceleration + upwards, dtype=np.float64)
    )
