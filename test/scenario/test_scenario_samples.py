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
"""Odd poses, frames, tracks and lidars: gaps, other forms, what is none, none of the drive."""

from test.scenario.loading import (
    DATA,
    DIMS,
    FRAMES,
    FRONT,
    loaded,
    NAN,
    POSES,
    REAR,
    TIMES,
    warned,
)
from test.support.archives import (
    build_archive,
    camera_calibration,
    CAMERAS,
    ego_pose,
    identity,
    put,
    REMOVED,
    rig_document,
    sample_times,
    START_US,
)
from test.support.lidars import add_lidar, calibration, ELEVATIONS, KEY, LIDAR, SPINS, T_RIG_LIDAR

import numpy as np
from nurec_ros.scenario import Scenario
from nurec_ros.scenario.schema.fields import times_us
import pytest

OURS = f'{FRAMES}.{FRONT}'
# The frame times of the example's cameras; nobody changes them.
EXAMPLE = list(rig_document()['rig_trajectories'][0]['cameras_frame_timestamps_us'].values())
RANGE = f'the time of the poses ({START_US} to {START_US + 2_000_000})'
LAST_US = (2**31 - 1) * 10**6


def frames_of(scenario):
    return scenario.cameras[CAMERAS[0]].frame_times_ns


@pytest.mark.parametrize(
    ('step_us', 'gaps', 'words'),
    [
        (100_000, {41: 7_000_000}, f'{TIMES}[41] is 7 s after the one before, expected about 0.1'),
        (100_000, {9: 7_000_000, 20: 2_000_000}, '[9] is 7 s after the one before (and 1 short'),
        (100_000, {41: 1_000_001}, f'{TIMES}[41] is 1 s after'),
        (100_000, {41: 1_000_000}, ''),
        (10_000, {41: 1_000_000}, ''),
        (500_000, {41: 5_000_001}, f'{TIMES}[41] is 5 s after'),
        (500_000, {41: 5_000_000}, ''),
        (2_000_000, {}, ''),
    ],
)
def test_gaps_in_the_poses(tmp_path, step_us, gaps, words):
    steps = np.full(100, step_us)
    for index, gap_us in gaps.items():
        steps[index - 1] = gap_us
    edit = {TIMES: np.cumsum([START_US, *steps]).tolist(), POSES: [identity()] * 101}
    path = build_archive(tmp_path, edit_rig=edit, cameras=[], tracks=[], edit_info=dict.clear)
    said = [text for text in Scenario.load(path).warnings if 'T_rig_world_timestamps_us' in text]
    assert len(said) == bool(words)
    assert all(words in text and 'through the gap' in text for text in said)


def test_the_first_and_the_last_time_of_all_are_times_and_others_are_sorted(tmp_path):
    ends = [[0, 5], [LAST_US - 5, LAST_US]]
    edit = {f'{OURS}[0]': ends[0], f'{OURS}[19]': ends[1]}
    frames = frames_of(loaded(tmp_path, edit_rig=edit))
    np.testing.assert_array_equal(frames[::19], np.array(ends) * 1000)
    assert times_us([0, LAST_US], 'times').tolist() == [0, LAST_US]
    edit = {f'{OURS}[19]': [5, LAST_US]}
    frames = frames_of(Scenario.load(build_archive(tmp_path, edit_rig=edit)))
    assert frames[-1, 1] == LAST_US * 1000
    words = f'{FRONT} is not in the order of time, so it is sorted'
    frames = frames_of(warned(tmp_path, words, edit_rig={OURS: EXAMPLE[0][::-1]}))
    np.testing.assert_array_equal(frames, np.array(EXAMPLE[0]) * 1000)


@pytest.mark.parametrize('lists', [0, 3, 9], ids=['numbers', 'both', 'lists of one'])
def test_single_frame_times_of_which_a_broken_one_spares_the_others(tmp_path, lists):
    ends = [START_US + 100_000 * i for i in range(1, 10)]
    singles = [[end] if i < lists else end for i, end in enumerate(ends)]
    words = f'cameras_frame_timestamps_us.{FRONT} has single times'
    frames = frames_of(warned(tmp_path, words, edit_rig={OURS: singles}))
    np.testing.assert_array_equal(frames[:, 1], np.array(ends) * 1000)
    np.testing.assert_array_equal(frames[:, 1] - frames[:, 0], 1000)
    bad = [None, 'x', [], ['x'], [NAN], 0, 0.5, -3, [-3], [[5]]]
    scenario = Scenario.load(build_archive(tmp_path, edit_rig={OURS: [*singles, *bad]}))
    single, left_out = scenario.warnings
    assert 'has single times' in single
    assert f'{FRONT}: 10 of 19 entries are left out' in left_out
    np.testing.assert_array_equal(frames_of(scenario), frames)


@pytest.mark.parametrize(
    ('bad', 'said'),
    [
        (None, 'null'),
        (5, '5'),
        ([], 'an empty list'),
        ([1], 'a list of 1'),
        ([1, 2, 3], 'a list of 3'),
        ([7, 7], '[7, 7]'),
        (['a', 'b'], "['a', 'b']"),
        ([1, NAN], '[1, nan]'),
        ([-5, 5], '[-5, 5]'),
        # One second after the last time that ROS has.
        ([5, 2**31 * 10**6], '[5, 2147483648000000]'),
        # An end that another has.
        (EXAMPLE[0][0], ''),
    ],
)
def test_broken_frame_times_are_left_out(tmp_path, bad, said):
    first = f' (the first is [3], {said})' if said else ''
    words = f'{OURS}: 2 of 20 entries are left out{first}, expected [start, end]'
    edit = {f'{OURS}[3]': bad, f'{OURS}[4]': bad}
    frames = frames_of(warned(tmp_path, words, edit_rig=edit))
    assert len(frames) == 18
    assert (np.diff(frames[:, 1]) > 0).all()


@pytest.mark.parametrize(
    ('value', 'words'),
    [
        # Under another key.
        ({'front': EXAMPLE[0], 'rear': EXAMPLE[1]}, f'no times of {", ".join(CAMERAS)}, b'),
        ({FRONT: EXAMPLE[0], 'rear': EXAMPLE[1]}, f'has no times of {CAMERAS[1]}, but of rear'),
        ({}, f'has no times of {", ".join(CAMERAS)}'),
        ({FRONT: [], REAR: []}, f'has no times of {", ".join(CAMERAS)}'),
    ],
)
def test_cameras_without_frame_times_are_named_together(tmp_path, value, words):
    warned(tmp_path, words, edit_rig={FRAMES: value})


@pytest.mark.parametrize('count', [1, 2])
@pytest.mark.parametrize('offset_us', [10**9, -(10**9)])
def test_frames_where_there_are_no_poses(tmp_path, offset_us, count):
    moved = [(np.array(pairs) + offset_us).tolist() for pairs in EXAMPLE[:count]] + EXAMPLE[count:]
    scenario = warned(
        tmp_path,
        f'cameras_frame_timestamps_us has frames outside of {RANGE}: ',
        ', '.join(f'20 of 20 of {name}' for name in CAMERAS[:count]),
        edit_rig={FRAMES: dict(zip((FRONT, REAR), moved, strict=True))},
    )
    assert len(frames_of(scenario)) == 20


@pytest.mark.parametrize(('cut', 'said'), [(10, False), (11, True)])
def test_half_of_the_frames_may_be_where_there_are_no_poses(tmp_path, cut, said):
    early = [[100 * i, 100 * i + 27] for i in range(cut)]
    edit = {OURS: early + EXAMPLE[0][cut:]}
    scenario = Scenario.load(build_archive(tmp_path, edit_rig=edit))
    assert [f'{cut} of 20 of {CAMERAS[0]},' in text for text in scenario.warnings] == [True] * said


@pytest.mark.parametrize(('count', 'said'), [(1, False), (2, True), (4, True)])
def test_tracks_where_there_are_no_poses(tmp_path, count, said):
    def edit(tracks):
        for times in tracks['dummy_chunk_id']['tracks_data']['tracks_timestamps_us'][:count]:
            times[:] = [time + 10**9 for time in times]

    scenario = Scenario.load(build_archive(tmp_path, edit_tracks=edit))
    assert len(scenario.tracks) == 3
    words = f'{min(count, 3)} of 3 tracks are outside of {RANGE}, expected most within'
    assert [words in text for text in scenario.warnings] == [True] * said


FLAT = 'is [0.0, 2.0, 1.5], expected lengths'


@pytest.mark.parametrize(
    ('edit', 'words'),
    [
        ({f'{DIMS}[1]': [0, 2, 1.5]}, f'{DIMS}[1] {FLAT} above 0, so the box is flat'),
        (
            {f'{DIMS}[{i}]': [0, 2, 1.5] for i in (0, 1, 3)},
            f'{DIMS}[0] (and 2 others alike) {FLAT}',
        ),
        ({'remark': 'hello'}, "tracks.json: keys that are not known are ignored: 'remark'"),
        ({'other': {'inner': {}}}, "'other' is empty, expected tracks_data in each chunk"),
        (
            {f'{DATA}.tracks_poses[1]': [], f'{DATA}.tracks_timestamps_us[1]': []},
            f' {DATA}.tracks_poses[1] is an empty list, expected at least one pose: 1 such',
        ),
    ],
)
def test_odd_tracks(tmp_path, edit, words):
    scenario = warned(tmp_path, 'sequence_tracks.json: ', words, edit_tracks=edit)
    none = f'{DATA}.tracks_poses[1]' in edit
    assert scenario.tracks.ids == (('1', '3') if none else ('1', '2@scene:a', '3'))


# Rotations of few decimals.


def rotation_error(poses):
    rotations = poses[..., :3, :3]
    return np.abs(rotations @ np.swapaxes(rotations, -1, -2) - np.eye(3)).max()


def test_ego_rotations_of_three_decimals(tmp_path):
    seconds = [(time - START_US) * 1e-6 for time in sample_times(2.0, 10.0, START_US)]
    poses = np.array(list(map(ego_pose, seconds)))
    scenario = warned(
        tmp_path,
        f'{POSES}: 1 of 21 rotations (the first is [19]) are exact',
        'expected 0.001, so the nearest rotation is taken',
        edit_rig={POSES: poses.round(3).tolist()},
    )
    found = scenario.ego.at(scenario.ego.times_ns)
    assert rotation_error(found) < 1e-9
    np.testing.assert_allclose(found[:, :3, :3], poses[:, :3, :3], atol=1e-3)


def test_camera_rotations_and_a_place_on_earth_of_few_decimals_are_told_of_once(tmp_path):
    mount = np.array(camera_calibration('', yaw=0.4 - np.pi / 2)['T_sensor_rig']).round(2).tolist()
    words = f'T_sensor_rig of {", ".join(CAMERAS)} is a rotation exact within'
    keys = [f'camera_calibrations.{key}.T_sensor_rig' for key in (FRONT, REAR)]
    scenario = warned(tmp_path, words, edit_rig=dict.fromkeys(keys, mount))
    assert rotation_error(scenario.cameras[CAMERAS[0]].T_rig_camera) < 1e-12
    # At latitude 0, longitude 0, turned: up is x.
    place = [[0, 0, 1, 6378157.0], [0.92, -0.39, 0, 0], [0.39, 0.92, 0, 0], [0, 0, 0, 1]]
    words = 'T_world_base is a rotation exact within 0.0015'
    assert warned(tmp_path, words, edit_rig={'T_world_base': place}).T_earth_map is not None


PLACE = f'lidar_calibrations.{KEY}'
MODEL = f'{PLACE}.lidar_model'
ALL_SPINS = 'rig_trajectories[0].lidars_frame_timestamps_us'
SPIN_TIMES = f'{ALL_SPINS}.{KEY}'


def built(tmp_path, edit):
    """Return an archive with a lidar; `edit` is what is put at key paths of its rig."""

    def edit_rig(rig):
        add_lidar(rig)
        put(rig, SPIN_TIMES, [list(spin) for spin in SPINS])
        for path, value in edit.items():
            put(rig, path, value)

    return Scenario.load(build_archive(tmp_path, edit_rig=edit_rig))


def silent(tmp_path, edit):
    scenario = built(tmp_path, edit)
    assert scenario.warnings == ()
    return scenario


def test_place_model_and_spins(tmp_path):
    scenario = silent(tmp_path, {})
    assert list(scenario.lidars) == [LIDAR]
    lidar = scenario.lidars[LIDAR]
    assert lidar.name == LIDAR
    np.testing.assert_allclose(lidar.T_rig_lidar, T_RIG_LIDAR, atol=1e-15)
    np.testing.assert_array_equal(lidar.spin_times_ns, np.array(SPINS) * 1000)
    model = lidar.model
    assert (model.kind, model.spinning_frequency_hz) == ('row-offset-spinning', 10.0)
    assert model.spinning_direction == 'cw'
    np.testing.assert_array_equal(model.row_elevations_rad, ELEVATIONS)
    np.testing.assert_array_equal(model.column_azimuths_rad, [3.0, 0.0, -3.0])
    np.testing.assert_array_equal(model.row_azimuth_offsets_rad, [0.01, -0.01, 0.01, -0.01])
    for array in (lidar.T_rig_lidar, lidar.spin_times_ns, model.row_elevations_rad):
        assert not array.flags.writeable
    assert repr(lidar) == f'Lidar({LIDAR!r}, row-offset-spinning, 19 spins)'
    assert '1 lidars' in repr(scenario)


def test_parameters_beside_the_type_no_offsets_and_a_camera_s_name(tmp_path):
    beside = {'type': 'ROW_OFFSET_SPINNING', **SHORT, 'spinning_direction': 'ccw'}
    model = silent(tmp_path, {MODEL: beside}).lidars[LIDAR].model
    assert model.spinning_direction == 'ccw'
    np.testing.assert_array_equal(model.row_elevations_rad, ELEVATIONS)
    np.testing.assert_array_equal(model.row_azimuth_offsets_rad, np.zeros(4))
    edit = {'lidar_calibrations': {'roof': calibration(CAMERAS[0])}, ALL_SPINS: {'roof': SPINS}}
    scenario = silent(tmp_path, edit)
    assert list(scenario.lidars) == ['roof']
    assert len(scenario.lidars['roof'].spin_times_ns) == len(SPINS)


def test_unknown_models_are_kept_and_said_once(tmp_path):
    flash = {'type': 'flash', 'parameters': {}}
    rear = calibration('lidar_rear', {'type': 'solid-state'})
    edit = {MODEL: flash, 'lidar_calibrations.rear': rear, f'{ALL_SPINS}.rear': SPINS}
    scenario = built(tmp_path, edit)
    assert list(scenario.lidars) == [LIDAR, 'lidar_rear']
    assert [lidar.model for lidar in scenario.lidars.values()] == [None, None]
    (warning,) = scenario.warnings
    words = f"{LIDAR} is 'flash', lidar_rear is 'solid-state', expected row-offset"
    assert f'lidar_calibrations: lidar_model of {words}' in warning


def without_model(scenario):
    lidar = scenario.lidars[LIDAR]
    return lidar.model is None and len(lidar.spin_times_ns) == len(SPINS)


def no_lidars(scenario):
    return scenario.lidars == {} and 'lidar' not in repr(scenario)


def spins_but(*left_out):
    kept = [spin for i, spin in enumerate(SPINS) if i not in left_out]
    times = np.array(kept, dtype=np.int64).reshape(-1, 2) * 1000
    return lambda s: np.array_equal(s.lidars[LIDAR].spin_times_ns, times)


PARAMETERS = f'{MODEL}.parameters'
SHORT = {'spinning_frequency_hz': 10, 'spinning_direction': 'cw'}
SHORT.update(row_elevations_rad=ELEVATIONS, column_azimuths_rad=[1.0, 0.0])
MOUNT, OFFSETS = f'{PLACE}.T_sensor_rig', 'row_azimuth_offsets_rad'
THREE = {**SHORT, OFFSETS: [0.0] * 3}
ALL = range(len(SPINS))
LATE = [[start + 10**9, end + 10**9] for start, end in SPINS]
# What is put at a key path, the one warning's words ('' for none), and what is so then.
ODD = [
    *(('lidar_calibrations', value, '', no_lidars) for value in ({}, None, REMOVED)),
    ('lidar_calibrations', [1], 'lidar_calibrations is a list of 1, expected an obj', no_lidars),
    (PLACE, 7, f'{PLACE} is 7, expected an object, so the lidar is left out', no_lidars),
    (MOUNT, REMOVED, f'{MOUNT} is missing, expected a 4x4 matrix, so the lidar is', no_lidars),
    (MODEL, None, '', without_model),
    (MODEL, [], f'{MODEL} is an empty list, expected an object', without_model),
    (f'{MODEL}.type', REMOVED, f'{MODEL}.type is missing, expected the name of a', without_model),
    (f'{MODEL}.type', 3, f'{MODEL}.type is 3, expected the name of a lidar model', without_model),
    (PARAMETERS, 3, f'{PARAMETERS} is 3, expected an object', without_model),
    *(
        (f'{PARAMETERS}.{key}', value, f'{PARAMETERS}.{key} is {words}', without_model)
        for key, value, words in (
            ('spinning_frequency_hz', 0, '0, expected Hz from 0.001 to 10000'),
            ('spinning_frequency_hz', REMOVED, 'missing, expected a frequency'),
            ('spinning_direction', 'left', "'left', expected cw or ccw"),
            ('n_rows', 5, '5, expected 4, the length of row_elevations_rad'),
            ('n_columns', 1, '1, expected 3, the length of column_azimuths_rad'),
            ('row_elevations_rad', REMOVED, 'missing, expected a list of angles'),
            ('column_azimuths_rad', [], 'an empty list, expected 1 to 100000 angles'),
            ('column_azimuths_rad', [0, 180, 359], 'up to 359, expected radians of at most 100'),
        )
    ),
    (PARAMETERS, THREE, f'{PARAMETERS}.{OFFSETS} is a list of 3, expected 4 num', without_model),
    (PARAMETERS, {**SHORT, 'row_elevations_rad': [0.1]}, '', lambda s: s.lidars[LIDAR].model),
    (f'{SPIN_TIMES}[3]', SPINS[3][::-1], f'{SPIN_TIMES}: 1 of 19 entries are', spins_but(3)),
    (ALL_SPINS, REMOVED, f'{ALL_SPINS} is missing, expected an object', spins_but(*ALL)),
    (SPIN_TIMES, LATE, f'19 of 19 of {LIDAR}', lambda s: len(s.lidars[LIDAR].spin_times_ns) == 19),
    (
        'lidar_calibrations.other',
        calibration(),
        'has no spins of other',
        lambda s: list(s.lidars) == [LIDAR, 'other'] and not len(s.lidars['other'].spin_times_ns),
    ),
]


@pytest.mark.parametrize(('path', 'value', 'words', 'is_so'), ODD)
def test_odd_lidars(tmp_path, path, value, words, is_so):
    scenario = built(tmp_path, {path: value})
    assert len(scenario.warnings) == bool(words)
    for warning in scenario.warnings:
        assert warning.startswith('scenario.usdz: rig_trajectories.json: ')
        assert words in warning
    assert is_so(scenario)
