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
"""A lidar for the rig of the archives that tests build, and replies of servers, byte by byte."""

from __future__ import annotations

from test.support.archives import Document, SEQUENCE_ID, START_US
from typing import Any

import numpy as np
from numpy.typing import NDArray

Data = bytes | NDArray[np.float32]

LIDAR = 'lidar_gt_top_p128'
KEY = f'{LIDAR}@{SEQUENCE_ID}'
# A quarter turn to the left, on the roof.
T_RIG_LIDAR = [
    [0.0, -1.0, 0.0, 1.2],
    [1.0, 0.0, 0.0, 0.1],
    [0.0, 0.0, 1.0, 1.9],
    [0.0, 0.0, 0.0, 1.0],
]
SPIN_US = 100_000
FIRST_US = START_US + 12_000
SPINS = [[FIRST_US + k * SPIN_US, FIRST_US + (k + 1) * SPIN_US] for k in range(19)]
ELEVATIONS = [0.25, 0.1, 0.0, -0.2]


def model_document() -> Document:
    """Return the lidar's model as files have it."""
    return {
        'type': 'row-offset-spinning',
        'parameters': {
            'spinning_frequency_hz': 10.0,
            'spinning_direction': 'cw',
            'n_rows': 4,
            'n_columns': 3,
            'row_elevations_rad': list(ELEVATIONS),
            'column_azimuths_rad': [3.0, 0.0, -3.0],
            'row_azimuth_offsets_rad': [0.01, -0.01, 0.01, -0.01],
        },
    }


def calibration(name: str = LIDAR, model: object = ...) -> Document:
    """Return an entry of lidar_calibrations."""
    return {
        'sequence_id': SEQUENCE_ID,
        'logical_sensor_name': name,
        'unique_sensor_idx': 0,
        'T_sensor_rig': [list(row) for row in T_RIG_LIDAR],
        'lidar_model': model_document() if model is ... else model,
    }


def add_lidar(rig: Document, name: str = LIDAR, spins: Any = SPINS, model: object = ...) -> None:
    """Put a lidar into rig_trajectories.json; spins None: it has none."""
    key = f'{name}@{SEQUENCE_ID}'
    rig['lidar_calibrations'][key] = calibration(name, model)
    if spins is not None:
        rig['rig_trajectories'][0]['lidars_frame_timestamps_us'][key] = spins


def varint(value: int) -> bytes:
    """Return a number as protobuf writes it."""
    out = b''
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number: int, data: Data) -> bytes:
    """Return a field of protobuf that has a length."""
    return varint(number << 3 | 2) + varint(memoryview(data).nbytes) + bytes(data)


def old_reply(points: Data, intensities: Data) -> bytes:
    """Return the reply of a server of 2025: packed repeated floats, no count."""
    return field(1, points) + field(2, intensities)


def new_reply(points: Data, intensities: Data, count: int | None = None) -> bytes:
    """Return that of a server of 2026: buffers, and the number of points unless another."""
    count = memoryview(points).nbytes // 12 if count is None else count
    return varint(3 << 3) + varint(count) + field(4, points) + field(5, intensities)
