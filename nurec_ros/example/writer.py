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
Puts the example together: street, drive, road users and cameras as the members of a USDZ.

USD wants a zip whose members are stored uncompressed, their bytes beginning at multiples of 64.
The padding is an extra field in the member's local header. Dates and attributes are fixed, so that
the same members make the same bytes on every machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
import hashlib
import json
import math
import os
from pathlib import Path
from random import Random
from typing import TypeAlias
import uuid
import zipfile

import numpy as np
from numpy.typing import NDArray
from nurec_ros.errors import ConfigurationError
from nurec_ros.example.road_users import people, vehicles
from nurec_ros.example.sensors import (
    calibration,
    CAMERA_MODELS,
    CAMERAS,
    frame_times,
    LIDAR,
    lidar_calibration,
    spins,
)
from nurec_ros.example.street import (
    earth_pose,
    EGO_BEGIN,
    LANE,
    make_street,
    road_map,
    Site,
    Street,
)
from nurec_ros.example.traffic import (
    make_pace,
    Pace,
    pose_times,
    record,
    spin_times,
    Track,
)
import yaml

START_US = 27_500_000_000
VERSION = '26.4.96-91b06fb8'
RIG_BBOX = {'centroid': [1.40, 0.0, 0.75], 'dim': [5.39, 2.11, 1.50], 'rot': [0.0, 0.0, 0.0]}
VOLUME_SIZE = 65_536
# Without these a viewer takes the scene for centimetres with y up.
ROOT_LAYER = """#usda 1.0
(
    defaultPrim = "World"
    metersPerUnit = 1
    upAxis = "Z"
)

def Xform "World"
{
}
"""
DURATIONS = (1.0, 120.0)

AnyPath: TypeAlias = str | os.PathLike[str]

ALIGNMENT = 64
LOCAL_HEADER_SIZE = 30
# The extra field's two-byte id and two-byte length; the id is the one that USD's own writer takes.
EXTRA_FIELD_ID = 0x1986
EXTRA_FIELD_HEADER_SIZE = 4
DATE = (2026, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Example:
    """A drive of the example's street before it becomes JSON: poses T_map_rig (N, 4, 4)."""

    sequence_id: str
    street: Street
    site: Site
    times_us: NDArray[np.int64]
    poses: NDArray[np.float64]
    tracks: tuple[Track, ...]
    camera_model: str = 'ftheta'
    has_map: bool = True

    @property
    def path_length(self) -> float:
        steps = np.diff(self.poses[:, :3, 3], axis=0)
        return float(np.linalg.norm(steps, axis=1).sum())

    @property
    def seconds(self) -> float:
        return float(self.times_us[-1] - self.times_us[0]) / 1e6


def make_example(
    *,
    seed: int = 1,
    duration_s: float = 20.0,
    road_users: int | None = None,
    camera_model: str = 'ftheta',
    has_map: bool = True,
) -> Example:
    """
    Make up a drive of `duration_s` (1 to 120 s); equal arguments give equal drives.

    road_users: how many, None for all that the street has, which are more on a longer drive;
    camera_model: one of CAMERA_MODELS. Raise ConfigurationError for a value out of range.
    """
    low, high = DURATIONS
    if not low <= duration_s <= high:
        raise ConfigurationError(f'duration is {duration_s:g} s, expected {low:g} to {high:g}')
    if seed < 0:
        raise ConfigurationError(f'seed is {seed}, expected 0 or more')
    if camera_model not in CAMERA_MODELS:
        raise ConfigurationError(
            f'camera-model is {camera_model}, expected one of {", ".join(CAMERA_MODELS)}'
        )
    rng = Random(seed)
    # A render server knows drives by this name: it tells all drives of one seed apart.
    of_duration = Random(repr(float(duration_s))).getrandbits(128)
    number = rng.getrandbits(128) ^ of_duration
    options = (road_users, camera_model, has_map)
    if options != (None, 'ftheta', True):
        number ^= Random(repr(options)).getrandbits(128)
    sequence_id = f'clipgt-{uuid.UUID(int=number, version=4)}'
    cruise = 11.6 + 0.8 * rng.random()
    # Long enough for the drive and for those ahead.
    turn = math.radians(62 + 24 * rng.random())
    street = make_street(duration_s * cruise + 200.0, turn)
    pace = make_pace(street.main, cruise)
    site = Site(59.35, 17.96, 31.5, math.radians(24 + 20 * rng.random()))

    def jitter() -> float:
        return 2 * rng.random() - 1

    times_us = pose_times(START_US, duration_s, jitter)
    spins_us = spin_times(START_US, int(times_us[-1]), jitter)
    actors = [*vehicles(street, pace, duration_s, rng), *people(street, pace, rng)]
    ego_at_spins = _ego(street, pace, spins_us)[:, :3, 3]
    tracks = _chosen(record(actors, spins_us, START_US, ego_at_spins), road_users)
    poses = _ego(street, pace, times_us)
    return Example(
        sequence_id, street, site, times_us, poses, tuple(tracks), camera_model, has_map
    )


def _chosen(tracks: list[Track], count: int | None) -> list[Track]:
    """Return so many tracks in their order, of each class in turn as long as it has some."""
    if count is None:
        return tracks
    if not 0 <= count <= len(tracks):
        raise ConfigurationError(
            f'road-users is {count}, expected 0 to {len(tracks)} (more on a longer drive)'
        )
    seen: Counter[str] = Counter()
    turns = []
    for index, track in enumerate(tracks):
        turns.append((seen[track.label], index))
        seen[track.label] += 1
    return [tracks[index] for index in sorted(index for _, index in sorted(turns)[:count])]


def write_example(path: AnyPath, example: Example | None = None) -> Path:
    """Write an example to a USDZ file, by default that of make_example(); return its path."""
    return write_usdz(path, members(example or make_example()))


def members(example: Example) -> Mapping[str, bytes | str]:
    rig, tracks = _json(_rig(example)), _json(_tracks(example))
    result: dict[str, bytes | str] = {
        'default.usda': ROOT_LAYER,
        'metadata.yaml': _metadata(example, hashlib.sha256((rig + tracks).encode()).hexdigest()),
        # Stands for the trained scene: large, and nothing that a client may read.
        'volume.nurec': bytes(VOLUME_SIZE),
        'rig_trajectories.json': rig,
        'sequence_tracks.json': tracks,
        'data_info.json': _json(_data_info(example)),
    }
    if example.has_map:
        result['map.xodr'] = road_map(example.street, example.site, 'nurec_ros example street')
    return result


def _ego(street: Street, pace: Pace, times_us: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return T_map_rig (N, 4, 4) of a car in the right lane."""
    s = pace.distance(pace.time(EGO_BEGIN) + (times_us - START_US) / 1e6)
    poses = np.tile(np.eye(4), (len(s), 1, 1))
    poses[:, :3, 3], poses[:, :3, :3] = street.main.standing(s, -LANE)
    return poses


def _json(value: object) -> str:
    return json.dumps(value, separators=(',', ':'))


def _metadata(example: Example, dataset_hash: str) -> str:
    """Return `metadata.yaml` with every key that some reader of the format insists on."""
    return str(
        yaml.safe_dump(
            {
                'scene_id': example.sequence_id,
                'uuid': str(uuid.uuid5(uuid.NAMESPACE_OID, example.sequence_id)),
                'version_string': VERSION,
                'training_date': '2026-01-01',
                'dataset_hash': dataset_hash,
                'is_resumable': False,
                'sensors': {'camera_ids': [c.name for c in CAMERAS], 'lidar_ids': [LIDAR]},
                'logger': {'name': None, 'run_id': None, 'run_url': None},
                'time_range': {
                    'start': float(example.times_us[0]),
                    'end': float(example.times_us[-1]),
                },
                # Nothing was trained.
                'training_step_outputs': {},
            },
            sort_keys=False,
        )
    )


def _data_info(example: Example) -> dict[str, object]:
    return {
        'sequence_id': example.sequence_id,
        'pose-range': {
            'start-timestamp_us': int(example.times_us[0]),
            'end-timestamp_us': int(example.times_us[-1]),
            'num-poses': len(example.times_us),
        },
    }


def _rig(example: Example) -> dict[str, object]:
    start_us, end_us = int(example.times_us[0]), int(example.times_us[-1])
    keys = {camera.name: f'{camera.name}@{example.sequence_id}' for camera in CAMERAS}
    lidar = f'{LIDAR}@{example.sequence_id}'
    middle = example.poses[len(example.poses) // 2, :2, 3]
    world_to_nre = np.eye(4)
    world_to_nre[:2, 3] = -middle.round(1)
    return {
        'T_world_base': earth_pose(example.site).tolist(),
        'world_to_nre': {'matrix': world_to_nre.tolist()},
        'camera_calibrations': {
            keys[camera.name]: calibration(
                camera, index, example.sequence_id, example.camera_model
            )
            for index, camera in enumerate(CAMERAS)
        },
        'lidar_calibrations': {lidar: lidar_calibration(example.sequence_id)},
        'rig_trajectories': [
            {
                'sequence_id': example.sequence_id,
                'rig_bbox': RIG_BBOX,
                # Rounding keeps the text alike where machines differ in the last bit.
                'T_rig_worlds': (example.poses.round(10) + 0.0).tolist(),
                'T_rig_world_timestamps_us': example.times_us.tolist(),
                'cameras_frame_timestamps_us': {
                    keys[camera.name]: frame_times(camera, start_us, end_us) for camera in CAMERAS
                },
                'lidars_frame_timestamps_us': {lidar: spins(start_us, end_us)},
            }
        ],
    }


def _tracks(example: Example) -> dict[str, object]:
    tracks = example.tracks
    return {
        'dummy_chunk_id': {
            'tracks_data': {
                'tracks_id': [str(number) for number in range(len(tracks))],
                'tracks_poses': [track.poses.tolist() for track in tracks],
                'tracks_timestamps_us': [track.times_us.tolist() for track in tracks],
                'tracks_label_class': [track.label for track in tracks],
                'tracks_flags': [track.flags for track in tracks],
            },
            'cuboidtracks_data': {'cuboids_dims': [list(track.dims) for track in tracks]},
        }
    }


def padding(offset: int, name: str) -> bytes:
    """
    Return the extra field that moves a member's data to the next multiple of 64.

    `offset` is where the member's local header begins, in bytes from the start of the archive.
    """
    data_begins = offset + LOCAL_HEADER_SIZE + len(name.encode()) + EXTRA_FIELD_HEADER_SIZE
    size = -data_begins % ALIGNMENT
    return EXTRA_FIELD_ID.to_bytes(2, 'little') + size.to_bytes(2, 'little') + b'\0' * size


def write_usdz(path: AnyPath, members: Mapping[str, bytes | str]) -> Path:
    """
    Write `members` (name to content, text as UTF-8) in their order as one archive at `path`.

    The file appears whole or not at all: it is written beside its place and moved there, through
    links to where they lead. ConfigurationError where something else than a file stands there,
    its folder is missing, or the file system refuses.
    """
    if not os.fspath(path):
        raise ConfigurationError('the path of the file to write is empty')
    try:
        target = Path(path).resolve()
        if target.exists() and not target.is_file():
            raise ConfigurationError(
                f'{path} is there and is no ordinary file; nothing is written'
            )
        if not target.parent.is_dir():
            raise ConfigurationError(
                f'{path} cannot be written: there is no folder {target.parent}'
            )
        beside = target.with_name(f'.{target.name}.{uuid.uuid4().hex}')
        file = beside.open('xb')
        try:
            with file, zipfile.ZipFile(file, 'w') as archive:
                for name, content in members.items():
                    info = zipfile.ZipInfo(name, DATE)
                    info.create_system = 3  # the same on every platform
                    info.external_attr = 0o644 << 16
                    info.extra = padding(file.tell(), name)
                    archive.writestr(info, content)
            beside.replace(target)
        except BaseException:
            beside.unlink()
            raise
    except OSError as error:
        raise ConfigurationError(f'cannot write {path}: {error.strerror or error}') from error
    return Path(path)
