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
"""A scenario is immutable, and used by any thread whatever thread loaded it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from test.support.archives import build_archive

import numpy as np
from nurec_ros.scenario import Scenario
import pytest


@pytest.fixture
def scenario(tmp_path):
    return Scenario.load(build_archive(tmp_path))


def test_no_field_can_be_set(scenario):
    for record, name in (
        (scenario, 'start_ns'),
        (scenario.ego, 'samples'),
        (scenario.tracks, 'ids'),
        (scenario.rig_bbox, 'dims'),
        (next(iter(scenario.cameras.values())), 'name'),
        (scenario.tracks.at(scenario.start_ns), 'ids'),
    ):
        with pytest.raises((FrozenInstanceError, AttributeError)):
            setattr(record, name, None)
    with pytest.raises(TypeError):
        scenario.cameras['new'] = None


def test_no_array_can_be_written(scenario):
    camera = next(iter(scenario.cameras.values()))
    arrays = {
        'ego times': scenario.ego.times_ns,
        'ego positions': scenario.ego.positions,
        'ego quaternions': scenario.ego.quaternions,
        'tracks': scenario.tracks.samples.positions,
        'dims': scenario.tracks.dims,
        'starts': scenario.tracks.start_ns,
        'box': scenario.rig_bbox.dims,
        'world_to_nre': scenario.world_to_nre,
        'T_rig_camera': camera.T_rig_camera,
        'frames': camera.frame_times_ns,
    }
    for name, array in arrays.items():
        assert not array.flags.writeable, name
    assert isinstance(scenario.warnings, tuple)


def test_what_is_given_out_is_the_callers_own(scenario):
    t = scenario.start_ns + 10**9
    pose = scenario.ego.at(t)
    pose[:] = 0
    scenario.tracks.at(t).poses[:] = 0
    scenario.tracks.at(t).positions[:] = 0
    assert scenario.ego.at(t)[3, 3] == 1
    assert scenario.tracks.at(t).poses[0, 3, 3] == 1


def test_many_threads_ask_at_once(tmp_path):
    path = build_archive(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        scenario = pool.submit(Scenario.load, path).result()
        times = np.linspace(scenario.start_ns, scenario.end_ns, 400).astype(int).tolist()
        expected = [scenario.tracks.at(t).poses for t in times]
        egos = list(pool.map(scenario.ego.at, times * 3))
        sets = list(pool.map(scenario.tracks.at, times * 3))
    for i, active in enumerate(sets):
        np.testing.assert_array_equal(active.poses, expected[i % 400])
        np.testing.assert_array_equal(egos[i], egos[i % 400])
