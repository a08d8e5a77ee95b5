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
Lidar models.

A spinning lidar fires rows of beams, one column after the other, while it turns; each row may lead
or lag by an azimuth of its own. Sensor axes: x forward, y left, z up; elevations count upwards
from the xy plane, azimuths from x towards y.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DIRECTIONS = ('cw', 'ccw')


@dataclass(frozen=True, slots=True, eq=False)
class SpinningLidar:
    """
    The model `row-offset-spinning`; angles in radians.

    row_elevations_rad and row_azimuth_offsets_rad are (n_rows,), column_azimuths_rad is
    (n_columns,). spinning_direction is 'cw' or 'ccw', as seen from above.
    """

    kind: ClassVar[str] = 'row-offset-spinning'

    spinning_frequency_hz: float
    spinning_direction: str
    row_elevations_rad: Array
    column_azimuths_rad: Array
    row_azimuth_offsets_rad: Array

    @property
    def n_rows(self) -> int:
        """Return how many beams lie above each other."""
        return len(self.row_elevations_rad)

    @property
    def n_columns(self) -> int:
        """Return how many times they are fired in a turn."""
        return len(self.column_azimuths_rad)
