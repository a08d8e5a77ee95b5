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
"""The example's archives, read with zipfile and json alone: no code under test reads them back."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
import zipfile

import numpy as np
from nurec_ros.example import make_example, write_example
import pytest


def read_example(path: Path) -> SimpleNamespace:
    """Return the members of an example archive as arrays and plain records."""
    with zipfile.ZipFile(path) as archive:
        rig = json.loads(archive.read('rig_trajectories.json'))
        chunk = json.loads(archive.read('sequence_tracks.json'))['dummy_chunk_id']
        info = json.loads(archive.read('data_info.json'))
        metadata = archive.read('metadata.yaml').decode()
        xodr = archive.read('map.xodr').decode()
    trajectory = rig['rig_trajectories'][0]
    data = chunk['tracks_data']
    tracks = [
        SimpleNamespace(
            id=track_id,
            label=label,
            flags=flags,
            dims=np.array(dims),
            times_us=np.array(times),
            poses=np.array(poses),
        )
        for track_id, label, flags, dims, times, poses in zip(
            data['tracks_id'],
            data['tracks_label_class'],
            data['tracks_flags'],
            chunk['cuboidtracks_data']['cuboids_dims'],
            data['tracks_timestamps_us'],
            data['tracks_poses'],
            strict=True,
        )
    ]
    return SimpleNamespace(
        path=path,
        rig=rig,
        trajectory=trajectory,
        info=info,
        metadata=metadata,
        xodr=xodr,
        tracks=tracks,
        times_us=np.array(trajectory['T_rig_world_timestamps_us']),
        poses=np.array(trajectory['T_rig_worlds']),
    )


@pytest.fixture(scope='session')
def example(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Return the default example, read back."""
    return read_example(write_example(tmp_path_factory.mktemp('example') / 'example.usdz'))


@pytest.fixture(scope='session', params=[1, 7])
def drive(
    request: pytest.FixtureRequest,
    example: SimpleNamespace,
    tmp_path_factory: pytest.TempPathFactory,
) -> SimpleNamespace:
    """Return examples of several seeds, read back."""
    if request.param == 1:
        return example
    folder = tmp_path_factory.mktemp('drive')
    return read_example(write_example(folder / 'drive.usdz', make_example(seed=request.param)))
