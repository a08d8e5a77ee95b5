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
Small scenario archives, built by tests.

`build_archive(tmp_path)` writes a valid one: 2 s, an ego on an arc, two F-theta cameras, four
tracks. Everything in it can be changed, left out or broken by keyword. The documents are plain
Python data, so that a test can compute its truth from what it wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
import json
import math
from pathlib import Path
import re
from typing import Any
import zipfile

START_US = 27_567_868_848
SEQUENCE_ID = 'clipgt-00000000-0000-4000-8000-000000000001'
CAMERAS = ('camera_front_wide_120fov', 'camera_rear_left_70fov')

Document = dict[str, Any]
# A function of the document, or values by key paths as messages name them.
Edit = Callable[[Document], Any] | Mapping[str, Any]
REMOVED = object()


def build_archive(
    folder: Path,
    name: str = 'scenario.usdz',
    *,
    duration_s: float = 2.0,
    ego_hz: float = 10.0,
    start_us: int = START_US,
    cameras: Iterable[str] = CAMERAS,
    tracks: Iterable[Document] | None = None,
    edit_rig: Edit | None = None,
    edit_tracks: Edit | None = None,
    edit_info: Edit | None = None,
    members: Mapping[str, str | bytes] | None = None,
    leave_out: Iterable[str] = (),
    prefix: str = '',
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    """
    Write an archive and return its path.

    An `edit_…` function changes the document that it is given, or returns another one; a mapping
    puts values at key paths ('rig_trajectories[0].T_rig_worlds[3]'), REMOVED takes away. `members`
    adds members or replaces them by raw text or bytes; `leave_out` names members not to write;
    `prefix` is a folder in the archive ('drive/').
    """
    if tracks is None:
        tracks = example_tracks(duration_s=duration_s, start_us=start_us)
    rig = rig_document(duration_s=duration_s, ego_hz=ego_hz, start_us=start_us, cameras=cameras)
    info = info_document(duration_s=duration_s, ego_hz=ego_hz, start_us=start_us)
    contents: dict[str, str | bytes] = {
        'default.usda': '#usda 1.0\n',
        'metadata.yaml': metadata_text(),
        'volume.nurec': b'\0' * 256,
    }
    for member, document, edit in (
        ('rig_trajectories.json', rig, edit_rig),
        ('sequence_tracks.json', tracks_document(tracks), edit_tracks),
        ('data_info.json', info, edit_info),
    ):
        changed = None
        if isinstance(edit, Mapping):
            for key_path, value in edit.items():
                put(document, key_path, value)
        elif edit is not None:
            changed = edit(document)
        contents[member] = json.dumps(document if changed is None else changed)
    contents.update(members or {})
    for member in leave_out:
        contents.pop(member, None)
    path = folder / name
    with zipfile.ZipFile(path, 'w', compression) as archive:
        for member, content in contents.items():
            archive.writestr(prefix + member, content)
    return path


def put(document: Document, path: str, value: Any) -> None:
    """Put a value into a document at a key path such as 'a.b[3]'; REMOVED takes away."""
    inner: Any = document
    *parents, last = (
        int(key) if index else key for index, key in re.findall(r'(\[)?([^.\[\]]+)', path)
    )
    for key in parents:
        inner = inner[key]
    if value is REMOVED:
        del inner[last]
    else:
        inner[last] = value


def rig_document(
    *,
    duration_s: float = 2.0,
    ego_hz: float = 10.0,
    start_us: int = START_US,
    cameras: Iterable[str] = CAMERAS,
    camera_hz: float = 10.0,
) -> Document:
    """Return rig_trajectories.json: an ego that drives an arc at 8 m/s, 0.2 rad/s to the left."""
    times = sample_times(duration_s, ego_hz, start_us)
    calibrations, frame_times = {}, {}
    for i, camera in enumerate(cameras):
        key = f'{camera}@{SEQUENCE_ID}'
        calibrations[key] = camera_calibration(camera, i)
        period_us = round(1e6 / camera_hz)
        first_us = start_us + 20_000 + 3_000 * i
        last_us = start_us + round(duration_s * 1e6)
        frame_times[key] = [
            [time, time + 27_000] for time in range(first_us, last_us - 27_000, period_us)
        ]
    return {
        'T_world_base': identity(),
        'world_to_nre': {'matrix': translation(-38.0, 0.0, 0.0)},
        'camera_calibrations': calibrations,
        'lidar_calibrations': {},
        'rig_trajectories': [
            {
                'sequence_id': SEQUENCE_ID,
                'rig_bbox': {
                    'centroid': [1.4, 0.0, 0.75],
                    'dim': [4.9, 1.9, 1.5],
                    'rot': [0.0, 0.0, 0.0],
                },
                'T_rig_worlds': [ego_pose((time - start_us) * 1e-6) for time in times],
                'T_rig_world_timestamps_us': times,
                'cameras_frame_timestamps_us': frame_times,
                'lidars_frame_timestamps_us': {},
            }
        ],
    }


def ego_pose(seconds: float) -> list[list[float]]:
    """Return the exact pose of the example's ego: an arc, 8 m/s, 0.2 rad/s to the left."""
    yaw = 0.2 * seconds
    radius = 8.0 / 0.2
    return [
        [math.cos(yaw), -math.sin(yaw), 0.0, radius * math.sin(yaw)],
        [math.sin(yaw), math.cos(yaw), 0.0, radius * (1.0 - math.cos(yaw))],
        [0.0, 0.0, 1.0, 0.0],
        [0.0, 0.0, 0.0, 1.0],
    ]


def camera_calibration(name: str, index: int = 0, *, yaw: float | None = None) -> Document:
    """Return the calibration of an F-theta camera that looks along yaw (rad, 0 is ahead)."""
    yaw = 2.6 * index if yaw is None else yaw
    sin, cos = math.sin(yaw), math.cos(yaw)
    return {
        'sequence_id': SEQUENCE_ID,
        'logical_sensor_name': name,
        'unique_sensor_idx': index,
        'T_sensor_rig': [
            [sin, 0.0, cos, 1.9 - 0.1 * index],
            [-cos, 0.0, sin, 0.3 * index],
            [0.0, -1.0, 0.0, 1.3],
            [0.0, 0.0, 0.0, 1.0],
        ],
        'camera_model': {'type': 'ftheta', 'parameters': ftheta_parameters()},
    }


def ftheta_parameters() -> Document:
    """Return the parameters of a wide F-theta camera of 1920 x 1080."""
    return {
        'resolution': [1920, 1080],
        'shutter_type': 'ROLLING_TOP_TO_BOTTOM',
        'external_distortion_parameters': None,
        'principal_point': [958.0, 752.0],
        'reference_poly': 'PIXELDIST_TO_ANGLE',
        'pixeldist_to_angle_poly': [0.0, 1.0565e-3, 3.37e-8, -9.5e-11, 1.65e-13, -6.9e-17],
        'angle_to_pixeldist_poly': [0.0, 945.1, -14.9, 35.6, -77.3, 32.0],
        'max_angle': 1.35,
        'linear_cde': [1.0, 0.0, 0.0],
    }


def track(
    name: object,
    label: str,
    poses: list[list[float]],
    times_us: list[int],
    *,
    dims: tuple[float, float, float] = (4.5, 1.9, 1.6),
    flags: object = 'DYNAMIC|CONTROLLABLE',
) -> Document:
    """Return one track as tracks_document takes it; poses are [x, y, z, qx, qy, qz, qw]."""
    return {
        'id': name,
        'label': label,
        'poses': poses,
        'times_us': times_us,
        'dims': list(dims),
        'flags': flags,
    }


def example_tracks(*, duration_s: float = 2.0, start_us: int = START_US) -> list[Document]:
    """Return a car that turns, a person for half of it, a parked car and a one-pose track."""
    whole = sample_times(duration_s - 0.007, 10.0, start_us + 7_000)
    half = [time for time in whole if 0.25 <= (time - start_us) * 1e-6 / duration_s <= 0.75]
    seconds = {time: (time - start_us) * 1e-6 for time in whole}
    return [
        track(
            '1',
            'automobile',
            [yawed(20.0 + 6.0 * seconds[t], 3.5, 0.8, 0.3 * seconds[t]) for t in whole],
            whole,
        ),
        track(
            '2@scene:a',
            'person',
            [yawed(12.0, -6.0 + 1.4 * seconds[t], 0.9, math.pi / 2) for t in half],
            half,
            dims=(0.7, 0.8, 1.8),
            flags='DYNAMIC',
        ),
        track(
            '3',
            'heavy_truck',
            [yawed(30.0, -4.0, 1.5, 0.0) for _ in whole],
            list(whole),
            flags='NONE',
        ),
        track('4', 'unheard_of', [yawed(5.0, 5.0, 0.5, 1.0)], whole[3:4]),
    ]


def tracks_document(tracks: Iterable[Document], *, chunk: str = 'dummy_chunk_id') -> Document:
    """Return sequence_tracks.json with one chunk."""
    tracks = list(tracks)
    return {
        chunk: {
            'tracks_data': {
                'tracks_id': [one['id'] for one in tracks],
                'tracks_poses': [one['poses'] for one in tracks],
                'tracks_timestamps_us': [one['times_us'] for one in tracks],
                'tracks_label_class': [one['label'] for one in tracks],
                'tracks_flags': [one['flags'] for one in tracks],
            },
            'cuboidtracks_data': {'cuboids_dims': [one['dims'] for one in tracks]},
        }
    }


def info_document(
    *, duration_s: float = 2.0, ego_hz: float = 10.0, start_us: int = START_US
) -> Document:
    """Return data_info.json, its range that of the poses."""
    times = sample_times(duration_s, ego_hz, start_us)
    return {
        'sequence_id': SEQUENCE_ID,
        'pose-range': {
            'start-timestamp_us': times[0],
            'end-timestamp_us': times[-1],
            'num-poses': len(times),
        },
    }


def metadata_text() -> str:
    return f'scene_id: {SEQUENCE_ID}\nversion_string: 26.4.96-91b06fb8\nis_resumable: false\n'


def sample_times(duration_s: float, rate_hz: float, start_us: int) -> list[int]:
    """Return times at a rate from start on, jittered by some ms inside."""
    period_us = 1e6 / rate_hz
    count = math.floor(round(duration_s * 1e6) / period_us + 1e-9) + 1
    jitter = 0.03 * period_us
    return [
        start_us + round(i * period_us + (jitter * math.sin(7.0 * i) if 0 < i < count - 1 else 0))
        for i in range(count)
    ]


def yawed(x: float, y: float, z: float, yaw: float) -> list[float]:
    """Return a pose [x, y, z, qx, qy, qz, qw] turned about z."""
    return [x, y, z, 0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)]


def identity() -> list[list[float]]:
    return translation(0.0, 0.0, 0.0)


def translation(x: float, y: float, z: float) -> list[list[float]]:
    """Return a 4x4 translation as lists."""
    return [[1.0, 0.0, 0.0, x], [0.0, 1.0, 0.0, y], [0.0, 0.0, 1.0, z], [0.0, 0.0, 0.0, 1.0]]
