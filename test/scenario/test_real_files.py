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
"""Both real drives beside an independent computation: own reading, scipy's interpolation."""

import json
import struct
from test.scenario.loading import interpolated
import zipfile

import numpy as np
from nurec_ros.scenario import Scenario
import pytest
from scipy.spatial.transform import Rotation


class Truth:
    """A file, read by hand."""

    def __init__(self, path):
        with zipfile.ZipFile(path) as archive:
            self.rig = json.loads(archive.read('rig_trajectories.json'))
            self.info = json.loads(archive.read('data_info.json'))
            (chunk,) = json.loads(archive.read('sequence_tracks.json')).values()
        self.entry = self.rig['rig_trajectories'][0]
        self.data = chunk['tracks_data']
        self.dims = chunk['cuboidtracks_data']['cuboids_dims']

    def pose(self, index, t_us):
        """Return T_map_box of a track."""
        samples = np.array(self.data['tracks_poses'][index])
        times_ns = np.array(self.data['tracks_timestamps_us'][index]) * 1000
        rotations = Rotation.from_quat(samples[:, 3:])
        return interpolated(times_ns, samples[:, :3], rotations, [t_us * 1000])[0]


@pytest.fixture(scope='module', params=['pittsburgh', 'miami'])
def drive(request):
    path = request.getfixturevalue(request.param)
    return Scenario.load(path), Truth(path)


def test_ego_at_random_times(drive):
    scenario, truth = drive
    matrices = np.array(truth.entry['T_rig_worlds'])
    times_ns = np.array(truth.entry['T_rig_world_timestamps_us']) * 1000
    asked = np.random.default_rng(1).integers(times_ns[0], times_ns[-1] + 1, 200)
    rotations = Rotation.from_matrix(matrices[:, :3, :3])
    expected = interpolated(times_ns, matrices[:, :3, 3], rotations, asked)
    np.testing.assert_allclose(scenario.ego.at(asked), expected, atol=1e-9)


def test_every_track_at_any_time_of_its_own_and_who_is_there_at_random_times(drive):
    scenario, truth = drive
    random = np.random.default_rng(3)
    for i, times in enumerate(truth.data['tracks_timestamps_us']):
        name = truth.data['tracks_id'][i]
        if times[-1] - times[0] <= 100_000:
            assert name not in scenario.tracks.ids
            continue
        t_us = int(random.integers(times[0], times[-1] + 1))
        active = scenario.tracks.at(t_us * 1000)
        place = active.ids.index(name)
        np.testing.assert_allclose(active.poses[place], truth.pose(i, t_us), atol=1e-9)
        assert active.labels[place] == truth.data['tracks_label_class'][i]
        np.testing.assert_array_equal(active.dims[place], truth.dims[i])
    low, high = scenario.start_ns // 1000, scenario.end_ns // 1000
    tracks = zip(truth.data['tracks_id'], truth.data['tracks_timestamps_us'], strict=True)
    spans = [
        (name, times[0], times[-1]) for name, times in tracks if times[-1] - times[0] > 100_000
    ]
    for t_us in np.random.default_rng(2).integers(low, high, 20).tolist():
        expected = [name for name, first, last in spans if first <= t_us <= last]
        assert list(scenario.tracks.at(t_us * 1000).ids) == expected


def test_cameras(drive):
    scenario, truth = drive
    calibrations = truth.rig['camera_calibrations']
    assert len(scenario.cameras) == len(calibrations) == 6
    for key, calibration in calibrations.items():
        camera = scenario.cameras[calibration['logical_sensor_name']]
        assert camera.renderable
        assert camera.resolution == (1920, 1080)
        assert camera.model.shutter_type == 'ROLLING_TOP_TO_BOTTOM'
        np.testing.assert_allclose(camera.T_rig_camera, calibration['T_sensor_rig'], atol=1e-12)
        frames = truth.entry['cameras_frame_timestamps_us'][key]
        np.testing.assert_array_equal(camera.frame_times_ns, np.array(frames) * 1000)


def test_names_range_and_flags_of_both_forms(drive):
    scenario, truth = drive
    assert scenario.scene_id == scenario.sequence_id == truth.info['sequence_id']
    assert scenario.metadata_scene_id == truth.info['sequence_id']
    assert scenario.version_string == '26.4.96-91b06fb8'
    times = truth.info['pose-range']
    assert scenario.start_ns == times['start-timestamp_us'] * 1000
    assert scenario.end_ns == times['end-timestamp_us'] * 1000
    assert scenario.T_earth_map is None
    assert scenario.road_map is None
    assert scenario.warnings == ()
    assert scenario.rig_bbox.length == pytest.approx(4.877)
    tracks = drive[0].tracks
    assert {frozenset({'DYNAMIC', 'CONTROLLABLE'}), frozenset()} <= set(tracks.flags)
    assert set(tracks.static) == {True, False}


@pytest.mark.parametrize('drive', ['pittsburgh'], indirect=True)
def test_a_copy_rounded_to_float32_loads(tmp_path, drive):
    scenario, _ = drive
    single = struct.Struct('f')

    def rounded(text):
        return single.unpack(single.pack(float(text)))[0]

    copy = tmp_path / 'rounded.usdz'
    with zipfile.ZipFile(scenario.path) as source, zipfile.ZipFile(copy, 'w') as target:
        for name in source.namelist():
            if name.endswith('.json'):
                document = json.loads(source.read(name), parse_float=rounded)
                target.writestr(name, json.dumps(document))
        target.writestr('metadata.yaml', source.read('metadata.yaml'))
    found = Scenario.load(copy)
    assert found.warnings == ()
    assert found.tracks.ids == scenario.tracks.ids
    t = (scenario.start_ns + scenario.end_ns) // 2
    np.testing.assert_allclose(found.ego.at(t), scenario.ego.at(t), atol=1e-4)
    np.testing.assert_allclose(found.tracks.at(t).poses, scenario.tracks.at(t).poses, atol=1e-4)
    rotation = found.ego.at(t)[:3, :3]
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-14)
