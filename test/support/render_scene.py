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
"""Scenes for the render service's tests: 2 s, a car ahead that can be moved, one that cannot."""

from __future__ import annotations

import json
from pathlib import Path
from test.support.archives import (
    build_archive,
    camera_calibration,
    Document,
    example_tracks,
    metadata_text,
    SEQUENCE_ID,
    START_US,
    track,
    translation,
)
from typing import Any

from nurec_ros.scenario import Scenario
import pytest


def _ftheta(focal: float, max_angle: float) -> Document:
    model: Document = camera_calibration('', yaw=0.0)['camera_model']
    model['parameters'].update(
        principal_point=[958.0, 541.0],
        reference_poly='ANGLE_TO_PIXELDIST',
        pixeldist_to_angle_poly=[0.0, 1.0 / focal],
        angle_to_pixeldist_poly=[0.0, focal],
        max_angle=max_angle,
    )
    return model


# The models, None for a camera without, and where they sit in the rig.
CAMERAS: dict[str, tuple[Any, list[float]]] = {
    'camera_front_wide_120fov': (_ftheta(945.0, 1.35), [1.8, 0.0, 1.4]),
    'camera_front_tele_30fov': (_ftheta(3690.0, 0.3), [1.9, -0.1, 1.3]),
}


def write_scene(
    path: Path,
    *,
    scene_id: str = 'clipgt-preview-scene',
    cameras: dict[str, tuple[Any, list[float]]] = CAMERAS,
    start_us: int = START_US,
) -> Path:
    """Write the archive and return its path; ego and cameras go and look straight ahead."""

    def renamed(document: Document) -> Document:
        changed: Document = json.loads(json.dumps(document).replace(SEQUENCE_ID, scene_id))
        return changed

    def edit_rig(rig: Document) -> Document:
        for name, (model, mount) in cameras.items():
            calibration = camera_calibration(name, yaw=0.0)
            for row, shift in zip(calibration['T_sensor_rig'], mount, strict=False):
                row[3] = shift
            calibration['camera_model'] = model
            rig['camera_calibrations'][f'{name}@{SEQUENCE_ID}'] = calibration
        drive = rig['rig_trajectories'][0]
        times_us = drive['T_rig_world_timestamps_us']
        drive['T_rig_worlds'] = [translation(8e-6 * (t - start_us), 0.0, 0.0) for t in times_us]
        drive['cameras_frame_timestamps_us'] = {
            f'{name}@{SEQUENCE_ID}': [[t - 20_000, t] for t in times_us[1:]] for name in cameras
        }
        return renamed(rig)

    times = example_tracks(start_us=start_us)[0]['times_us']
    return build_archive(
        path.parent,
        path.name,
        start_us=start_us,
        cameras=cameras,
        tracks=[
            track('ahead', 'automobile', _row(15.0, 0.8, len(times)), times),
            track('parked', 'automobile', _row(20.0, 0.0, len(times)), times, flags='NONE'),
        ],
        edit_rig=edit_rig,
        edit_info=renamed,
        members={'metadata.yaml': metadata_text().replace(SEQUENCE_ID, scene_id)},
    )


def _row(x: float, step: float, count: int) -> list[list[float]]:
    y = 0.0 if step else 5.0
    return [[x + step * i, y, 0.8, 0.0, 0.0, 0.0, 1.0] for i in range(count)]


@pytest.fixture(scope='session')
def scenario_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the archive of a scene of two cameras."""
    return write_scene(tmp_path_factory.mktemp('scene') / 'scene.usdz')


@pytest.fixture(scope='session')
def scenario(scenario_path: Path) -> Scenario:
    return Scenario.load(scenario_path)


@pytest.fixture(scope='session')
def other_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the archive of another scene."""
    path = tmp_path_factory.mktemp('scene') / 'other.usdz'
    return write_scene(path, scene_id='clipgt-other', start_us=5_000_000)


@pytest.fixture(scope='session')
def other_scenario(other_path: Path) -> Scenario:
    return Scenario.load(other_path)
