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
"""What is fixed to the rig: the ego's box, the cameras and the lidars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from nurec_ros.poses import Array
from nurec_ros.scenario.cameras import CameraModel
from nurec_ros.scenario.trajectory import Times, Trajectory

DIRECTIONS = ('cw', 'ccw')


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """The ego's box in the rig frame: centre (3,) and dims (3,), metres; axes along the rig's."""

    centre: Array
    dims: Array

    @property
    def length(self) -> float:
        return float(self.dims[0])

    @property
    def width(self) -> float:
        return float(self.dims[1])

    @property
    def height(self) -> float:
        return float(self.dims[2])


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """
    One camera.

    name: its logical name, the renderer's logical_id; T_rig_camera (4, 4): optical axes (x right,
    y down, z forward) to the rig frame; model: None where the file has none that is known;
    resolution: (width, height) in pixels, None where unknown; frame_times_ns (F, 2): start and end
    of each recorded exposure; problem: why its frames cannot be asked for, '' where they can.
    """

    name: str
    T_rig_camera: Array
    model: CameraModel | None
    resolution: tuple[int, int] | None
    frame_times_ns: Times
    problem: str = ''

    def __repr__(self) -> str:
        size = 'x'.join(map(str, self.resolution)) if self.resolution else 'unknown size'
        kind = f'{self.model.kind}, {self.model.shutter_type}' if self.model else 'no model'
        return f'Camera({self.name!r}, {kind}, {size}, {len(self.frame_times_ns)} frames)'

    @property
    def renderable(self) -> bool:
        """Return whether frames of this camera can be asked for; if not, `problem` says why."""
        return self.model is not None and not self.problem


@dataclass(frozen=True, slots=True, eq=False)
class SpinningLidar:
    """
    The lidar model `row-offset-spinning`; angles in radians.

    It fires rows of beams, one column after the other, while it turns; each row may lead or lag by
    an azimuth of its own. Sensor axes: x forward, y left, z up; elevations count upwards from the
    xy plane, azimuths from x towards y.

    row_elevations_rad and row_azimuth_offsets_rad have an element for each of the beams above each
    other, column_azimuths_rad one for each time that they fire in a turn. spinning_direction is
    'cw' or 'ccw', as seen from above.
    """

    kind: ClassVar[str] = 'row-offset-spinning'

    spinning_frequency_hz: float
    spinning_direction: str
    row_elevations_rad: Array
    column_azimuths_rad: Array
    row_azimuth_offsets_rad: Array


@dataclass(frozen=True, slots=True, eq=False)
class Lidar:
    """
    One lidar.

    name: its logical name; T_rig_lidar (4, 4): the sensor's axes to the rig frame; model: None
    where the file has none that is known; spin_times_ns (F, 2): start and end of each recorded
    spin.
    """

    name: str
    T_rig_lidar: Array
    model: SpinningLidar | None
    spin_times_ns: Times

    def __repr__(self) -> str:
        kind = self.model.kind if self.model else 'no model'
        return f'Lidar({self.name!r}, {kind}, {len(self.spin_times_ns)} spins)'


@dataclass(frozen=True, slots=True, eq=False)
class Rig:
    """What rig_trajectories.json holds."""

    sequence_id: str
    ego: Trajectory
    bbox: Box | None
    T_earth_map: Array | None
    world_to_nre: Array | None
    cameras: Mapping[str, Camera]
    lidars: Mapping[str, Lidar]
