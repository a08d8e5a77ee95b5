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
"""A small scene written as an archive by the tests of the render service: 2 s straight ahead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
import zipfile

START_US = 27_567_868_848
STEP_US = 100_000
POSES = 21
# Optical axes (x right, y down, z ahead) in a rig that looks along x.
AHEAD = [[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]


def _ftheta(width: int, height: int, focal: float, max_angle: float) -> dict[str, Any]:
    return {
        'type': 'ftheta',
        'parameters': {
            'resolution': [width, height],
            'shutter_type': 'ROLLING_TOP_TO_BOTTOM',
            'external_distortion_parameters': None,
            'principal_point': [width / 2 - 2.0, height / 2 + 1.0],
            'reference_poly': 'ANGLE_TO_PIXELDIST',
            'pixeldist_to_angle_poly': [0.0, 1.0 / focal],
            'angle_to_pixeldist_poly': [0.0, focal],
            'max_angle': max_angle,
            'linear_cde': [1.0, 0.0, 0.0],
        },
    }


CAMERAS: dict[str, tuple[dict[str, Any], list[float]]] = {
    'camera_front_wide_120fov': (_ftheta(1920, 1080, 945.0, 1.35), [1.8, 0.0, 1.4]),
    'camera_front_tele_30fov': (_ftheta(1920, 1080, 3690.0, 0.3), [1.9, -0.1, 1.3]),
}


def write_scene(path: Path, *, scene_id: str = 'clipgt-preview-scene', **changes: Any) -> Path:
    """
    Write the archive; `changes`: `cameras` as CAMERAS, `start_us`.

    One car 15 m ahead that can be moved, one parked that cannot.
    """
    cameras = changes.get('cameras', CAMERAS)
    start = changes.get('start_us', START_US)
    times = [start + i * STEP_US for i in range(POSES)]
    rig = {
        'T_world_base': [[float(i == j) for j in range(4)] for i in range(4)],
        'camera_calibrations': {
            f'{name}@{scene_id}': {
                'sequence_id': scene_id,
                'logical_sensor_name': name,
                'unique_sensor_idx': index,
                'T_sensor_rig': [
                    *([*row, shift] for row, shift in zip(AHEAD, mount, strict=True)),
                    [0.0, 0.0, 0.0, 1.0],
                ],
                'camera_model': model,
            }
            for index, (name, (model, mount)) in enumerate(cameras.items())
        },
        'lidar_calibrations': {},
        'rig_trajectories': [
            {
                'sequence_id': scene_id,
                'T_rig_worlds': [_shifted(0.8 * i) for i in range(POSES)],
                'T_rig_world_timestamps_us': times,
                'cameras_frame_timestamps_us': {
                    f'{name}@{scene_id}': [[t - 20_000, t] for t in times[1:]] for name in cameras
                },
                'rig_bbox': {'centroid': [1.4, 0, 0.75], 'dim': [5.4, 2.1, 1.5], 'rot': [0, 0, 0]},
            }
        ],
    }
    tracks = {
        'tracks_data': {
            'tracks_id': ['ahead', 'parked'],
            'tracks_poses': [
                [[15.0 + 0.8 * i, 0.0, 0.8, 0.0, 0.0, 0.0, 1.0] for i in range(POSES)],
                [[20.0, 5.0, 0.8, 0.0, 0.0, 0.0, 1.0]] * POSES,
            ],
            'tracks_timestamps_us': [times, times],
            'tracks_label_class': ['automobile', 'automobile'],
            'tracks_flags': ['DYNAMIC|CONTROLLABLE', 'NONE'],
        },
        'cuboidtracks_data': {'cuboids_dims': [[4.5, 1.9, 1.6], [4.2, 1.8, 1.5]]},
    }
    info = {
        'sequence_id': scene_id,
        'pose-range': {
            'start-timestamp_us': times[0],
            'end-timestamp_us': times[-1],
            'num-poses': POSES,
        },
    }
    members = {
        'default.usda': '#usda 1.0\n',
        'rig_trajectories.json': json.dumps(rig),
        'sequence_tracks.json': json.dumps({'dummy_chunk_id': tracks}),
        'data_info.json': json.dumps(info),
        'metadata.yaml': f'scene_id: {scene_id}\nversion_string: 26.4.96-test\n',
    }
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def _shifted(x: float) -> list[list[float]]:
    return [[1.0, 0.0, 0.0, x], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
