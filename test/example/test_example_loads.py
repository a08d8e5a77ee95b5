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
"""The example as the package itself reads it: whole, and without a single warning."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from nurec_ros.scenario import Scenario
import pytest
from scipy.spatial.transform import Rotation, Slerp


@pytest.fixture(scope='module')
def loaded(example) -> Scenario:
    """Return the default example, every track of it."""
    return Scenario.load(example.path, min_track_lifetime_s=0)


def test_nothing_is_warned_of(loaded: Scenario):
    assert loaded.warnings == ()


def test_range_and_names(loaded: Scenario, example):
    assert loaded.start_ns == int(example.times_us[0]) * 1000
    assert loaded.end_ns == int(example.times_us[-1]) * 1000
    assert loaded.sequence_id == loaded.metadata_scene_id == example.info['sequence_id']
    assert len(loaded.cameras) == 6
    assert all(camera.renderable for camera in loaded.cameras.values())
    assert len(loaded.tracks.ids) == len(example.tracks)


def test_ego_is_that_of_the_file(loaded: Scenario, example):
    times = example.times_us * 1000
    slerp = Slerp(times, Rotation.from_matrix(example.poses[:, :3, :3]))
    for t in np.linspace(loaded.start_ns, loaded.end_ns, 60).astype(np.int64):
        pose = loaded.ego.at(int(t))
        position = [np.interp(t, times, example.poses[:, k, 3]) for k in range(3)]
        assert np.allclose(pose[:3, 3], position, atol=1e-6)
        assert np.allclose(pose[:3, :3], slerp(t).as_matrix(), atol=1e-6)


def test_static_ones_are_those_that_do_not_move(loaded: Scenario, example):
    still = {t.id for t in example.tracks if t.flags == 'NONE'}
    assert {
        i for i, static in zip(loaded.tracks.ids, loaded.tracks.static, strict=True) if static
    } == still


def test_ego_drives_between_lane_boundaries_of_the_map(loaded: Scenario):
    assert loaded.road_map is not None
    assert '+lat_0=59.35' in loaded.road_map.geo_reference
    points = np.vstack(loaded.road_map.boundaries)
    assert len(points) > 100
    # The lane is 3.5 m wide: dense enough boundaries pass at 1.75 m.
    nearest = []
    for boundary in loaded.road_map.boundaries:
        dense = np.vstack([np.linspace(a, b, 50) for a, b in pairwise(boundary)])
        nearest.append(
            [np.linalg.norm(dense[:, :2] - p[:2], axis=1).min() for p in loaded.ego.positions]
        )
    assert np.allclose(np.min(nearest, axis=0), 1.75, atol=0.06)


def test_earth_is_below(loaded: Scenario):
    assert loaded.T_earth_map is not None
    assert 6.3e6 < np.linalg.norm(loaded.T_earth_map[:3, 3]) < 6.4e6
    assert loaded.rig_bbox is not None
    assert np.allclose(loaded.rig_bbox.dims, [5.39, 2.11, 1.50])
