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
Three small scenarios for the recorded session, and the truth about them.

First: two cameras, road users that come and go. Second: later, with one camera of the same name at
another place and one of another name, and a road user whose id the first one has too. Third:
begins at 0, one camera, no box for the ego. The truths come from the documents that were written
and from closed forms.
"""

from __future__ import annotations

from collections.abc import Mapping
import math
from pathlib import Path
from test.support.archives import (
    build_archive,
    Document,
    ego_pose,
    put,
    REMOVED,
    rig_document,
    sample_times,
    SEQUENCE_ID,
    START_US,
    track,
    yawed,
)
from test.support.player_bench import FRONT, REAR, SECOND
from typing import Any

import numpy as np

US = 1000
CROSS = 'camera_cross_left_120fov'
BOX, HEIGHT = 'rig_trajectories[0].rig_bbox', 'T_sensor_rig[2][3]'
# Much more than is played: a client that is late is not to find the end.
LONG_S, MIDDLE_S = 20.0, 12.0
CAMERA_HZ = 20.0
SPEED_M_S, YAW_RATE_RAD_S = 8.0, 0.2
# What lives 0.1 s or less is left out by default.
LEAST_LIFE_US = 100_000


class Truth:
    """One scenario: where its file is, and what is in it; cameras and road users by name."""

    def __init__(self, path: Path, name: str, rig: Document, tracks: list[Document]) -> None:
        self.path, self.sequence_id = path, name
        self.tracks = {one['id']: one for one in tracks}
        (trajectory,) = rig['rig_trajectories']
        self.pose_times_ns = [time * US for time in trajectory['T_rig_world_timestamps_us']]
        self.begin_ns, self.end_ns = self.pose_times_ns[0], self.pose_times_ns[-1]
        self.poses = np.array(trajectory['T_rig_worlds'])
        # The ego's.
        self.box: Document | None = trajectory.get('rig_bbox')
        calibrations = rig['camera_calibrations']
        self.cameras = {one['logical_sensor_name']: one for one in calibrations.values()}
        spans = trajectory['cameras_frame_timestamps_us']
        self.frame_ends_ns = {
            key.split('@')[0]: [end * US for _, end in spans[key]] for key in calibrations
        }

    def contains(self, t_ns: int) -> bool:
        """Return whether a moment is in this scenario; 1 ns stands for 0."""
        return self.begin_ns <= t_ns <= self.end_ns or (self.begin_ns == 0 and t_ns == 1)

    def ego_pose(self, t_ns: int) -> np.ndarray:
        """Return the ego's pose (4, 4) in closed form."""
        return np.array(ego_pose((t_ns - self.begin_ns) / SECOND))

    def active(self, t_ns: int) -> dict[str, Document]:
        """Return the road users that are there at a moment."""
        return {
            name: one
            for name, one in self.tracks.items()
            if one['times_us'][0] * US <= t_ns <= one['times_us'][-1] * US
            and one['times_us'][-1] - one['times_us'][0] > LEAST_LIFE_US
        }

    def track_position(self, name: str, t_ns: int) -> np.ndarray:
        """Return the centre of a road user, (3,), linear between its poses."""
        one = self.tracks[name]
        times = np.array(one['times_us']) * US
        return np.array(
            [np.interp(t_ns, times, [pose[axis] for pose in one['poses']]) for axis in range(3)]
        )

    def due(self, camera: str, after_ns: int, until_ns: int) -> list[int]:
        """Return the frame times of a camera in (after, until]."""
        return [end for end in self.frame_ends_ns[camera] if after_ns < end <= until_ns]


def build(folder: Path) -> tuple[Truth, Truth, Truth]:
    walker = _moving('1', 'person', 0, 0.5, at=(9.0, 2.0), velocity=(0.5, 0.0))
    return (
        _write(folder, 'first', START_US, LONG_S, (FRONT, REAR), _tracks_of_first(), {}),
        _write(
            folder,
            'second',
            START_US + 50_000_000,
            MIDDLE_S,
            (FRONT, CROSS),
            _tracks_of_second(),
            {f'camera_calibrations.{one}@{SEQUENCE_ID}.{HEIGHT}': 1.8 for one in (FRONT, CROSS)},
        ),
        _write(folder, 'third', 0, 0.5, (REAR,), [walker], {BOX: REMOVED}),
    )


def _write(
    folder: Path,
    name: str,
    start_us: int,
    duration_s: float,
    cameras: tuple[str, ...],
    tracks: list[Document],
    edits: Mapping[str, object],
) -> Truth:
    rig = rig_document(
        duration_s=duration_s, start_us=start_us, cameras=cameras, camera_hz=CAMERA_HZ
    )
    for key_path, value in edits.items():
        put(rig, key_path, value)
    path = build_archive(
        folder,
        f'{name}.usdz',
        duration_s=duration_s,
        start_us=start_us,
        tracks=tracks,
        edit_rig=lambda _: rig,
        edit_info={'sequence_id': name},
    )
    return Truth(path, name, rig, tracks)


def _moving(
    name: str,
    label: str,
    start_us: int,
    seconds: float,
    *,
    at: tuple[float, float],
    velocity: tuple[float, float],
    **options: Any,
) -> Document:
    times = sample_times(seconds, 10.0, start_us)
    yaw = math.atan2(velocity[1], velocity[0])
    poses = []
    for time in times:
        passed = (time - start_us) * 1e-6
        x, y = (a + passed * v for a, v in zip(at, velocity, strict=True))
        poses.append(yawed(x, y, 0.8, yaw))
    return track(name, label, poses, times, **options)


def _tracks_of_first() -> list[Document]:
    begin = START_US
    return [
        _moving('1', 'automobile', begin, LONG_S, at=(20.0, 3.5), velocity=(6.0, 0.5)),
        _moving('2@scene:a', 'person', begin + 1_500_000, 3.0, at=(12.0, -6.0), velocity=(0, 1.4)),
        _moving('3', 'heavy_truck', begin, LONG_S, at=(30, -4), velocity=(0, 0), flags='NONE'),
        _moving(
            'late', 'Rider On Bike', begin + 3_000_000, LONG_S - 3, at=(25, 1), velocity=(-4.0, 0)
        ),
        _moving('brief', 'automobile', begin + 200_000, 0.4, at=(40.0, 3.5), velocity=(9.0, 0)),
        _moving('gone', 'person', begin, 2.0, at=(10.0, 6.0), velocity=(0.7, 0.0)),
        # Refused for its short life, by default.
        track('4', 'unheard_of', [yawed(5.0, 5.0, 0.5, 1.0)], [begin + 500_000]),
    ]


def _tracks_of_second() -> list[Document]:
    begin = START_US + 50_000_000
    return [
        _moving('1', 'bus', begin, MIDDLE_S, at=(25, 3.5), velocity=(5.0, 0), dims=(11.0, 2.5, 3)),
        _moving('b', 'person', begin + 300_000, 0.9, at=(15.0, -5.0), velocity=(0, 1.2)),
    ]
