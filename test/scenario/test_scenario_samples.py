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
"""Poses, frames and tracks that are odd: gaps, other forms, what is none, none of the drive."""

import math
from test.scenario.loading import loaded, warned
from test.support.archives import (
    build_archive,
    camera_calibration,
    CAMERAS,
    ego_pose,
    identity,
    sample_times,
    SEQUENCE_ID,
    START_US,
)

import numpy as np
from nurec_ros.scenario import Scenario
from nurec_ros.scenario.schema.fields import times_us
import pytest

NAN = float('nan')
FRONT = f'{CAMERAS[0]}@{SEQUENCE_ID}'
TIMES = 'rig_trajectories[0].T_rig_world_timestamps_us'


@pytest.mark.parametrize(
    ('step_us', 'gaps', 'words'),
    [
        (
            100_000,
            {41: 7_000_000},
            f'{TIMES}[41] is 7 s after the one before, expected about 0.1 s',
        ),
        (
            100_000,
            {9: 7_000_000, 20: 2_000_000},
            '[9] is 7 s after the one before (and 1 shorter)',
        ),
        (100_000, {41: 1_000_001}, f'{TIMES}[41] is 1 s after'),
        (100_000, {41: 1_000_000}, ''),
        (10_000, {41: 1_000_000}, ''),
        (500_000, {41: 5_000_001}, f'{TIMES}[41] is 5 s after'),
        (500_000, {41: 5_000_000}, ''),
    ],
)
def test_gaps_in_the_poses(tmp_path, step_us, gaps, words):
    steps = np.full(100, step_us)
    for index, gap_us in gaps.items():
        steps[index - 1] = gap_us
    times = np.cumsum([START_US, *steps]).tolist()
    poses = [identity()] * 101
    edit = {TIMES: times, 'rig_trajectories[0].T_rig_worlds': poses}
    path = build_archive(tmp_path, edit_rig=edit, cameras=[], tracks=[], edit_info=dict.clear)
    said = [text for text in Scenario.load(path).warnings if 'T_rig_world_timestamps_us' in text]
    assert len(said) == bool(words)
    assert all(words in text and 'through the gap' in text for text in said)


def test_a_slow_trajectory_has_no_gap(tmp_path):
    path = build_archive(tmp_path, duration_s=10.0, ego_hz=0.5)
    assert Scenario.load(path).warnings == ()


def frame_times(rig):
    return rig['rig_trajectories'][0]['cameras_frame_timestamps_us']


def test_the_first_and_the_last_time_of_all_are_times(tmp_path):
    last = (2**31 - 1) * 10**6
    ends = [[0, 5], [last - 5, last]]

    def edit(rig):
        frame_times(rig)[FRONT][::19] = ends

    frames = loaded(tmp_path, edit_rig=edit).cameras[CAMERAS[0]].frame_times_ns
    np.testing.assert_array_equal(frames[::19], np.array(ends) * 1000)
    assert times_us([0, last], 'times').tolist() == [0, last]


@pytest.mark.parametrize('form', ['number', 'list of one', 'both'])
def test_single_frame_times(tmp_path, form):
    ends = [START_US + 100_000 * i for i in range(1, 10)]
    lists = {'number': 0, 'list of one': len(ends), 'both': 3}[form]
    singles = [[end] if i < lists else end for i, end in enumerate(ends)]
    scenario = warned(
        tmp_path,
        f'cameras_frame_timestamps_us.{FRONT} has single times',
        edit_rig=lambda rig: frame_times(rig).update({FRONT: singles}),
    )
    frames = scenario.cameras[CAMERAS[0]].frame_times_ns
    np.testing.assert_array_equal(frames[:, 1], np.array(ends) * 1000)
    np.testing.assert_array_equal(frames[:, 1] - frames[:, 0], 1000)


@pytest.mark.parametrize('bad', [None, 'x', [], ['x'], [NAN], 0, 0.5, -3, [-3], [[5]]])
def test_a_broken_single_frame_time_spares_the_others(tmp_path, bad):
    ends = [START_US + 100_000 * i for i in range(1, 10)]
    path = build_archive(
        tmp_path, edit_rig=lambda rig: frame_times(rig).update({FRONT: [*ends, bad]})
    )
    scenario = Scenario.load(path)
    single, left_out = scenario.warnings
    assert 'has single times' in single
    assert f'{FRONT}: 1 of 10 entries are left out' in left_out
    assert len(scenario.cameras[CAMERAS[0]].frame_times_ns) == 9


@pytest.mark.parametrize(
    ('bad', 'said'),
    [
        (None, 'null'),
        (5, None),
        ([], 'an empty list'),
        ([1], None),
        ({'start': 1, 'end': 2}, 'an object of 2'),
        ([1, 2, 3], 'a list of 3'),
        ([7, 7], '[7, 7]'),
        ([9, 5], '[9, 5]'),
        (['a', 'b'], "['a', 'b']"),
        ([1, None], '[1, null]'),
        ([1, NAN], '[1, nan]'),
        ([-5, 5], '[-5, 5]'),
        # One second after the last time that ROS has.
        ([5, 2**31 * 10**6], '[5, 2147483648000000]'),
    ],
)
def test_broken_frame_times_are_left_out(tmp_path, bad, said):
    def edit(rig):
        frame_times(rig)[FRONT][3:5] = [bad, bad]

    first = '' if said is None else f' (the first is [3], {said})'
    words = f'{FRONT}: 2 of 20 entries are left out{first}, expected [start, end]'
    scenario = warned(tmp_path, f'cameras_frame_timestamps_us.{words}', edit_rig=edit)
    frames = scenario.cameras[CAMERAS[0]].frame_times_ns
    assert len(frames) == 18
    assert (np.diff(frames[:, 1]) > 0).all()


def test_the_last_time_that_ros_has_is_a_frame_time(tmp_path):
    end_us = 2**31 * 10**6 - 10**6
    path = build_archive(
        tmp_path, edit_rig=lambda rig: frame_times(rig)[FRONT].__setitem__(19, [5, end_us])
    )
    assert Scenario.load(path).cameras[CAMERAS[0]].frame_times_ns[-1, 1] == end_us * 1000


def test_frame_times_under_other_keys_are_named(tmp_path):
    def edit(rig):
        frame_times(rig)['front'] = frame_times(rig).pop(FRONT)

    warned(tmp_path, f'has no times of {CAMERAS[0]}, but of front', edit_rig=edit)


def test_frame_times_out_of_order_are_sorted(tmp_path):
    scenario = warned(
        tmp_path,
        f'{FRONT} is not in the order of time, so it is sorted',
        edit_rig=lambda rig: frame_times(rig)[FRONT].reverse(),
    )
    assert (np.diff(scenario.cameras[CAMERAS[0]].frame_times_ns[:, 1]) > 0).all()


@pytest.mark.parametrize('value', [[], None])
def test_cameras_without_frame_times_are_named_together(tmp_path, value):
    def edit(rig):
        if value is None:
            frame_times(rig).clear()
        else:
            frame_times(rig).update(dict.fromkeys(frame_times(rig), value))

    warned(tmp_path, f'has no times of {", ".join(CAMERAS)}', edit_rig=edit)


@pytest.mark.parametrize('count', [1, 2])
@pytest.mark.parametrize('offset_us', [10**9, -(10**9)])
def test_frames_where_there_are_no_poses(tmp_path, offset_us, count):
    def edit(rig):
        for pairs in list(frame_times(rig).values())[:count]:
            for pair in pairs:
                pair[0] += offset_us
                pair[1] += offset_us

    scenario = warned(
        tmp_path,
        'cameras_frame_timestamps_us has frames outside of the time of the poses',
        f'({START_US} to {START_US + 2_000_000}): ',
        ', '.join(f'20 of 20 of {name}' for name in CAMERAS[:count]),
        edit_rig=edit,
    )
    assert len(scenario.cameras[CAMERAS[0]].frame_times_ns) == 20


@pytest.mark.parametrize(('count', 'said'), [(1, False), (2, True), (4, True)])
def test_tracks_where_there_are_no_poses(tmp_path, count, said):
    def edit(tracks):
        for times in tracks['dummy_chunk_id']['tracks_data']['tracks_timestamps_us'][:count]:
            times[:] = [time + 10**9 for time in times]

    scenario = Scenario.load(build_archive(tmp_path, edit_tracks=edit))
    assert len(scenario.tracks) == 3
    words = f'{min(count, 3)} of 3 tracks are outside of the time of the poses '
    words += f'({START_US} to {START_US + 2_000_000}), expected most within'
    assert [words in text for text in scenario.warnings] == [True] * said


@pytest.mark.parametrize(('cut', 'said'), [(10, False), (11, True)])
def test_some_frames_where_there_are_no_poses(tmp_path, cut, said):
    """Half of the 20 frames may lie before the first pose."""

    def edit(rig):
        for i in range(cut):
            frame_times(rig)[FRONT][i] = [100 * i, 100 * i + 27]

    scenario = Scenario.load(build_archive(tmp_path, edit_rig=edit))
    assert [f'{cut} of 20 of {CAMERAS[0]},' in text for text in scenario.warnings] == [True] * said


@pytest.mark.parametrize(
    ('flat', 'words'),
    [
        ([1], 'cuboids_dims[1] is [0.0, 2.0, 1.5], expected lengths above 0, so the box is flat'),
        ([0, 1, 3], 'cuboids_dims[0] (and 2 others alike) is [0.0, 2.0, 1.5], expected lengths'),
    ],
)
def test_flat_boxes(tmp_path, flat, words):
    def edit(tracks):
        for i in flat:
            tracks['dummy_chunk_id']['cuboidtracks_data']['cuboids_dims'][i] = [0, 2, 1.5]

    scenario = warned(tmp_path, f'dummy_chunk_id.cuboidtracks_data.{words}', edit_tracks=edit)
    assert len(scenario.tracks) == 3


def test_keys_of_tracks_that_are_not_known(tmp_path):
    words = "sequence_tracks.json: keys that are not known are ignored: 'remark'"
    warned(tmp_path, words, edit_tracks={'remark': 'hello'})


def test_a_chunk_without_tracks_beside_a_good_one(tmp_path):
    scenario = warned(
        tmp_path,
        "sequence_tracks.json: 'other' is empty, expected tracks_data in each chunk",
        edit_tracks=lambda tracks: tracks.update(other={'inner': {}}),
    )
    assert len(scenario.tracks) == 3


def test_tracks_without_poses_are_left_out(tmp_path):
    def edit(tracks):
        data = tracks['dummy_chunk_id']['tracks_data']
        data['tracks_poses'][1] = []
        data['tracks_timestamps_us'][1] = []

    scenario = warned(
        tmp_path, ' dummy_chunk_id.tracks_data.tracks_poses[1] is an', edit_tracks=edit
    )
    assert scenario.tracks.ids == ('1', '3')
    assert math.isfinite(scenario.tracks.at(START_US * 1000 + 10**9).poses.sum())


def rotation_error(poses):
    rotations = poses[..., :3, :3]
    return np.abs(rotations @ np.swapaxes(rotations, -1, -2) - np.eye(3)).max()


def test_ego_rotations_of_three_decimals(tmp_path):
    seconds = [(time - START_US) * 1e-6 for time in sample_times(2.0, 10.0, START_US)]
    poses = np.array(list(map(ego_pose, seconds)))
    scenario = warned(
        tmp_path,
        'rig_trajectories[0].T_rig_worlds: 1 of 21 rotations (the first is [19]) are exact',
        'expected 0.001, so the nearest rotation is taken',
        edit_rig={'rig_trajectories[0].T_rig_worlds': poses.round(3).tolist()},
    )
    found = scenario.ego.at(scenario.ego.times_ns)
    assert rotation_error(found) < 1e-9
    np.testing.assert_allclose(found[:, :3, :3], poses[:, :3, :3], atol=1e-3)


def test_camera_rotations_of_few_decimals_are_told_of_once(tmp_path):
    mount = np.array(camera_calibration('', yaw=0.4 - np.pi / 2)['T_sensor_rig']).round(2).tolist()
    words = f'T_sensor_rig of {", ".join(CAMERAS)} is a rotation exact within'
    keys = [f'camera_calibrations.{name}@{SEQUENCE_ID}.T_sensor_rig' for name in CAMERAS]
    scenario = warned(tmp_path, words, edit_rig=dict.fromkeys(keys, mount))
    assert rotation_error(scenario.cameras[CAMERAS[0]].T_rig_camera) < 1e-12


def test_place_on_earth_of_few_decimals(tmp_path):
    # At latitude 0, longitude 0, turned: up is x.
    place = [[0, 0, 1, 6378157.0], [0.92, -0.39, 0, 0], [0.39, 0.92, 0, 0], [0, 0, 0, 1]]
    words = 'T_world_base is a rotation exact within 0.0015'
    assert warned(tmp_path, words, edit_rig={'T_world_base': place}).T_earth_map is not None
