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
"""What is missing or broken but not required: one sentence each, and a scenario all the same."""

import math
from test.support.archives import (
    build_archive,
    CAMERAS,
    ftheta_parameters,
    identity,
    REMOVED,
    SEQUENCE_ID,
    START_US,
    translation,
)

import numpy as np
from nurec_ros.scenario import Scenario
import pytest

NAN = float('nan')
FRONT, REAR = (f'{name}@{SEQUENCE_ID}' for name in CAMERAS)
# A pose on the ellipsoid at latitude 0, longitude 0: east is y, north is z, up is x.
ON_EARTH = [[0, 0, 1, 6378137.0 + 20], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]


def entry(document):
    return document['rig_trajectories'][0]


def warned(tmp_path, *words, **variants):
    """Load an archive that must cause exactly one warning, with all the words."""
    scenario = Scenario.load(build_archive(tmp_path, **variants))
    (warning,) = scenario.warnings
    assert warning.startswith('scenario.usdz: ')
    assert '\n' not in warning
    assert len(warning) < 600
    for word in words:
        assert word in warning, warning
    usable(scenario)
    return scenario


def usable(scenario):
    middle = (scenario.start_ns + scenario.end_ns) // 2
    assert np.isfinite(scenario.ego.at(middle)).all()
    assert np.isfinite(scenario.tracks.at(middle).poses).all()


@pytest.mark.parametrize('member', ['sequence_tracks.json', 'data_info.json', 'metadata.yaml'])
def test_member_missing(tmp_path, member):
    warned(tmp_path, f'{member}: is missing', leave_out=[member])


def test_everything_else_missing(tmp_path):
    path = build_archive(
        tmp_path, leave_out=['sequence_tracks.json', 'data_info.json', 'metadata.yaml']
    )
    scenario = Scenario.load(path)
    assert len(scenario.warnings) == 3
    assert (scenario.start_ns, scenario.end_ns) == (START_US * 1000, START_US * 1000 + 2 * 10**9)
    usable(scenario)


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        ('', 'is not JSON'),
        ('[]', 'the top level is an empty list'),
        (b'\x80', 'is not UTF-8'),
        ('{"sequence_id": "a"}', 'pose-range is missing'),
        ('{"sequence_id": "a", "pose-range": []}', 'pose-range is an empty list'),
        ('{"sequence_id": "a", "pose-range": {}}', 'pose-range.start-timestamp_us is missing'),
        (
            '{"sequence_id": "a", "pose-range": {"start-timestamp_us": 5, "end-timestamp_us": 0}}',
            'pose-range.end-timestamp_us is 0',
        ),
        (
            '{"sequence_id": "a", "pose-range": {"start-timestamp_us": 5, "end-timestamp_us": 3}}',
            'pose-range.end-timestamp_us is 3, expected a time not before 5',
        ),
        (
            '{"sequence_id": "a", "pose-range": {"start-timestamp_us": 5, "end-timestamp_us": 9}}',
            'pose-range is 5 to 9, expected some of the time of the poses',
        ),
    ],
)
def test_data_info_broken(tmp_path, content, words):
    scenario = warned(tmp_path, 'data_info.json', words, members={'data_info.json': content})
    assert scenario.start_ns == START_US * 1000
    assert scenario.end_ns == START_US * 1000 + 2 * 10**9


@pytest.mark.parametrize('sequence_id', [None, 5, '\ud800'])
def test_sequence_id_broken(tmp_path, sequence_id):
    scenario = warned(
        tmp_path,
        'data_info.json: sequence_id is',
        edit_info=lambda info: info.update(sequence_id=sequence_id),
    )
    assert scenario.sequence_id == SEQUENCE_ID


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        ('', 'is '),
        ('[1', 'is not YAML'),
        ('just text', 'is '),
        (b'\xff\xfe\x00', 'is not YAML'),
        (r'a: "\U00110000"', 'is not YAML that can be read'),
        (r'a: "\UFFFFFFFF"', 'is not YAML that can be read'),
        ('a: &a [*a, *a]\nb: *c\n', 'is not YAML'),
        ('scene_id: [x]\n', 'scene_id is a list of 1'),
        ('scene_id: {a: b}\n', 'scene_id is an object of 1'),
        ('[' * 20_000, 'is nested too deeply'),
        ('a: ' + 'x' * 200_000, 'at most 131072'),
    ],
)
def test_metadata_broken(tmp_path, content, words):
    scenario = warned(tmp_path, 'metadata.yaml', words, metadata=content)
    assert scenario.metadata_scene_id == ''


def test_place_on_earth(tmp_path):
    path = build_archive(tmp_path, edit_rig=lambda rig: rig.update(T_world_base=ON_EARTH))
    scenario = Scenario.load(path)
    assert scenario.warnings == ()
    np.testing.assert_allclose(scenario.T_earth_map, ON_EARTH)


def test_place_on_earth_the_wrong_way_round(tmp_path):
    inverse = np.linalg.inv(ON_EARTH).tolist()
    scenario = warned(
        tmp_path, 'it is inverted', edit_rig=lambda rig: rig.update(T_world_base=inverse)
    )
    np.testing.assert_allclose(scenario.T_earth_map, ON_EARTH, atol=1e-8)


@pytest.mark.parametrize('edit', [lambda box: box.pop('rot'), lambda box: box.update(rot=None)])
def test_box_without_rotation(tmp_path, edit):
    path = build_archive(tmp_path, edit_rig=lambda rig: edit(entry(rig)['rig_bbox']) and None)
    scenario = Scenario.load(path)
    assert scenario.rig_bbox is not None
    assert scenario.warnings == ()


def parameters_of(rig):
    return rig['camera_calibrations'][FRONT]['camera_model']['parameters']


@pytest.mark.parametrize(
    ('resolution', 'point'),
    [([1080, 1920], [541.0, 1200.0]), ([1920, 1080], [958.0, 20.0]), ([960, 960], [470, 480])],
)
def test_plausible_sizes_are_taken_as_they_are(tmp_path, resolution, point):
    path = build_archive(
        tmp_path,
        edit_rig=lambda rig: parameters_of(rig).update(
            resolution=resolution, principal_point=point
        ),
    )
    scenario = Scenario.load(path)
    assert scenario.warnings == ()
    assert scenario.cameras[CAMERAS[0]].resolution == tuple(resolution)


def test_sizes_the_wrong_way_round_under_other_names(tmp_path):
    def edit(rig):
        parameters = parameters_of(rig)
        del parameters['resolution']
        parameters.update(width=1080, height=1920)

    scenario = warned(tmp_path, 'it is taken as [1920, 1080]', edit_rig=edit)
    assert scenario.cameras[CAMERAS[0]].resolution == (1920, 1080)


CALIBRATION = f'camera_calibrations.{FRONT}'
MODEL = f'{CALIBRATION}.camera_model'
PARAMETERS = f'{MODEL}.parameters'
ENTRY = 'rig_trajectories[0]'
BOX = {'centroid': [1, 0, 1], 'dim': [4, 2, 1]}
GLASS = {
    'reference_poly': 'FORWARD',
    'horizontal_poly': [0.0, 1.0, 0.0],
    'vertical_poly': [0.0, 0.0, 1.0],
    'horizontal_poly_inverse': [0.0, 1.0, 0.0],
    'vertical_poly_inverse': [0.0, 0.0, 1.0],
}
NO_GLASS = {key: [0.0, 0.0, 0.0] for key in ('horizontal_poly', 'vertical_poly')}
NO_INVERSE = {f'{key}_inverse': value for key, value in NO_GLASS.items()}


def not_rendered(scenario):
    """Check that the first camera is listed without pictures, and says why."""
    front, rear = (scenario.cameras[name] for name in CAMERAS)
    assert not front.renderable
    assert front.problem
    assert front.problem in scenario.warnings[0]
    assert scenario.warnings[0].endswith('so the camera is listed but not rendered')
    assert len(front.frame_times_ns)
    assert rear.renderable
    assert rear.problem == ''
    return True


def front_size(scenario):
    return scenario.cameras[CAMERAS[0]].resolution


def renders(width, height):
    return lambda s: front_size(s) == (width, height) and s.cameras[CAMERAS[0]].renderable


# What is put at a key path of the rig; words of the one warning, which names a path below the
# second, the first where that is ''; and what is so then.
ODD_RIGS = [
    *(
        (path, value, path, words, lambda s: s.T_earth_map is None)
        for path, value, words in (
            ('T_world_base', None, ' is null, so the scenario has no place on Earth'),
            ('T_world_base', [[NAN] * 4] * 4, '[0][0] is nan'),
            ('T_world_base', [[1, 2], [3, 4]], ' is a list of 2'),
            ('T_world_base', 'x', " is 'x'"),
            ('T_world_base', [[0.0] * 4] * 4, ' is singular'),
            ('T_world_base', translation(5, 5, 5), ' is a pose 8.66025 m from the centre of the'),
            ('T_world_base', translation(6.5e6, 0, 0), ' is a pose 6.5e+06 m from the centre'),
            # Near the surface, but its z axis lies in it.
            ('T_world_base', translation(6378137, 0, 0), ' is a pose 6.37814e+06 m from'),
            ('T_world_base', translation(1e9, 0, 0), ' is at [1'),
        )
    ),
    *(
        ('world_to_nre', value, 'world_to_nre', '', lambda s: s.world_to_nre is None)
        for value in ([[NAN] * 4] * 4, {}, {'matrix': 5}, 'x', [[0.0] * 4] * 4)
    ),
    *(
        (f'{ENTRY}.rig_bbox', value, f'{ENTRY}.rig_bbox', words, lambda s: s.rig_bbox is None)
        for value, words in (
            (None, ' is null, so'),
            (REMOVED, ' is missing, so'),
            ([], ' is an empty list'),
            ({}, '.centroid is missing, expected a list of 3 numbers'),
            ({**BOX, 'dim': [4, 2]}, '.dim is a list of 2'),
            ({**BOX, 'centroid': [1, 0, NAN]}, '.centroid[2] is nan'),
            (
                {**BOX, 'dim': [4, 0, 1]},
                '.dim is [4.0, 0.0, 1.0], expected above 0 and below 1000',
            ),
            (
                {**BOX, 'centroid': [1, 0, 1e4]},
                '.centroid is [1.0, 0.0, 10000.0], expected less than 1000 m',
            ),
            (
                {**BOX, 'rot': [0, 0, 0.5]},
                '.rot is [0.0, 0.0, 0.5], expected zeros: a box along the rig axes',
            ),
            ({**BOX, 'rot': 5}, '.rot is 5'),
        )
    ),
    *(
        (
            'camera_calibrations',
            value,
            'camera_calibrations',
            'no cameras',
            lambda s: not s.cameras,
        )
        for value in (None, REMOVED, [], 'x', {})
    ),
    *(
        (path, value, CALIBRATION, words, lambda s: list(s.cameras) == [CAMERAS[1]])
        for path, value, words in (
            (CALIBRATION, {}, '.T_sensor_rig is missing'),
            (f'{CALIBRATION}.T_sensor_rig', [[NAN] * 4] * 4, '.T_sensor_rig[0][0] is nan'),
            (f'{CALIBRATION}.T_sensor_rig', [[0.0] * 4] * 4, '.T_sensor_rig is singular'),
            (f'{CALIBRATION}.T_sensor_rig', translation(1e6, 0, 0), '.T_sensor_rig is at'),
        )
    ),
    *(
        (path, value, MODEL, words, not_rendered)
        for path, value, words in (
            (MODEL, None, ' is null'),
            (MODEL, REMOVED, ' is missing'),
            (MODEL, [], ' is an empty list'),
            (f'{MODEL}.type', REMOVED, '.type is missing'),
            (f'{MODEL}.type', None, '.type is null'),
            (f'{MODEL}.type', 5, '.type is 5'),
            (f'{MODEL}.type', 'mystery-lens', '.type is '),
            (PARAMETERS, REMOVED, '.parameters is missing'),
            (PARAMETERS, {}, '.parameters.'),
            (f'{PARAMETERS}.max_angle', NAN, '.parameters.max_angle'),
            *(
                (f'{PARAMETERS}.{key}', value, f'.parameters.{key} is {words}')
                for key in ('principal_point', 'reference_poly')
                for value, words in ((REMOVED, 'missing'), (None, 'null'), (7, '7'))
            ),
            # It sees nothing of its own image.
            (f'{PARAMETERS}.principal_point', [958.0, -3000.0], ' sees nothing of its own image'),
            (f'{PARAMETERS}.principal_point', [958.0, 5000.0], ' sees nothing of its own image'),
            (f'{PARAMETERS}.max_angle', 1e-7, ' sees nothing of its own image'),
            (f'{PARAMETERS}.pixeldist_to_angle_poly', [0, 1e-3, -1e9], ' sees nothing of its'),
            # No light passes.
            (
                f'{PARAMETERS}.pixeldist_to_angle_poly',
                [0.1, 1e-3],
                '.parameters.pixeldist_to_angle_poly[0] is 0.1, expected 0: what is on the axis',
            ),
            (
                f'{PARAMETERS}.pixeldist_to_angle_poly',
                [0.0, 1e-3, 1e308],
                '.parameters.pixeldist_to_angle_poly[2] is 1e+308, expected a number of at most',
            ),
            (
                f'{PARAMETERS}.linear_cde',
                [1e308, 0.0, 0.0],
                '.parameters.linear_cde[0] is 1e+308, expected a number of at most 1e+09',
            ),
            *(
                (
                    f'{PARAMETERS}.external_distortion_parameters',
                    {**GLASS, **nothing},
                    f'.{next(iter(nothing))} is (0.0, 0.0, 0.0), expected a glass that can be',
                )
                for nothing in (NO_GLASS, NO_INVERSE)
            ),
        )
    ),
    *(
        (
            PARAMETERS,
            {**ftheta_parameters(), 'resolution': size, 'principal_point': point},
            PARAMETERS,
            words,
            renders(*taken),
        )
        for size, point, words, taken in (
            ([1080, 1920], [958.0, 752.0], 'it is taken as [1920, 1080]', (1920, 1080)),
            ([1080, 1920], [958.0, 1000.0], 'it is taken as [1920, 1080]', (1920, 1080)),
            ([1080, 1920], [1500.0, 541.0], 'it is taken as [1920, 1080]', (1920, 1080)),
            ([1920, 1080], [958.0, 1300.0], 'outside of the image of 1920 x 1080', (1920, 1080)),
            # Neither order goes well with these; the width is what a lens is centred on.
            ([3789, 2435], [1843.4, 3311.6], 'outside of the image of 3789 x', (3789, 2435)),
            ([1920, 1080], [958.0, 1500.0], 'outside of the image of 1920 x', (1920, 1080)),
        )
    ),
    (
        MODEL,
        {'type': 'mystery-lens', 'parameters': {'resolution': [640, 480]}},
        f'{MODEL}.type',
        'mystery-lens',
        lambda s: front_size(s) == (640, 480),
    ),
    *(
        (
            f'{ENTRY}.cameras_frame_timestamps_us',
            value,
            f'{ENTRY}.cameras_frame_timestamps_us',
            words,
            lambda s: all(camera.frame_times_ns.shape == (0, 2) for camera in s.cameras.values()),
        )
        for value, words in (
            (None, ' is null'),
            (REMOVED, ' is missing'),
            ([], ' is'),
            (7, ' is 7'),
        )
    ),
    (
        f'{ENTRY}.cameras_frame_timestamps_us.{FRONT}',
        'x',
        f'{ENTRY}.cameras_frame_timestamps_us.{FRONT}',
        " is 'x'",
        lambda s: not len(s.cameras[CAMERAS[0]].frame_times_ns),
    ),
    (
        f'{ENTRY}.sequence_id',
        5,
        f'{ENTRY}.sequence_id',
        ' is 5',
        lambda s: s.sequence_id == SEQUENCE_ID,
    ),
]


@pytest.mark.parametrize(('path', 'value', 'named', 'words', 'is_so'), ODD_RIGS)
def test_odd_rigs(tmp_path, path, value, named, words, is_so):
    scenario = warned(tmp_path, f'rig_trajectories.json: {named}', words, edit_rig={path: value})
    assert is_so(scenario)


@pytest.mark.parametrize(('value', 'found'), [(REMOVED, 'missing'), (None, 'null'), (7, '7')])
def test_flags_that_are_none(tmp_path, value, found):
    path = 'dummy_chunk_id.tracks_data.tracks_flags'
    warned(tmp_path, f'{path} is {found}', edit_tracks={path: value})


def rounded(matrix, decimals):
    return np.round(matrix, decimals).tolist()


def test_ego_rotations_of_three_decimals(tmp_path):
    exact = Scenario.load(build_archive(tmp_path, 'exact.usdz'))
    scenario = warned(
        tmp_path,
        'rig_trajectories[0].T_rig_worlds: ',
        ' rotations (the first is [',
        'expected 0.001, so the nearest rotation is taken',
        edit_rig=lambda rig: entry(rig).update(
            T_rig_worlds=[rounded(pose, 3) for pose in entry(rig)['T_rig_worlds']]
        ),
    )
    rotations = scenario.ego.at(scenario.ego.times_ns)[:, :3, :3]
    np.testing.assert_allclose(
        rotations @ rotations.transpose(0, 2, 1), [np.eye(3)] * 21, atol=1e-9
    )
    expected = exact.ego.at(exact.ego.times_ns)[:, :3, :3]
    np.testing.assert_allclose(rotations, expected, atol=1e-3)


def tilted(angle, decimals):
    """Return a camera's mount, turned, with rotations of few decimals."""
    mount = [[np.sin(angle), 0.0, np.cos(angle), 1.9], [-np.cos(angle), 0.0, np.sin(angle), 0.3]]
    return rounded([*mount, [0.0, -1.0, 0.0, 1.3], [0.0, 0.0, 0.0, 1.0]], decimals)


def test_camera_rotations_of_few_decimals_are_told_of_once(tmp_path):
    def edit(rig):
        for calibration in rig['camera_calibrations'].values():
            calibration['T_sensor_rig'] = tilted(0.4, 2)

    names = ', '.join(CAMERAS)
    scenario = warned(
        tmp_path, f'T_sensor_rig of {names} is a rotation exact within', edit_rig=edit
    )
    rotation = scenario.cameras[CAMERAS[0]].T_rig_camera[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)


def test_place_on_earth_of_few_decimals(tmp_path):
    turned = np.array(ON_EARTH, dtype=float)
    turned[:3, :3] = turned[:3, :3] @ [[0.92, -0.39, 0], [0.39, 0.92, 0], [0, 0, 1]]
    scenario = warned(
        tmp_path,
        'T_world_base is a rotation exact within 0.0015',
        edit_rig=lambda rig: rig.update(T_world_base=turned.tolist()),
    )
    assert scenario.T_earth_map is not None


TIMES = f'{ENTRY}.T_rig_world_timestamps_us'


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
    edit = {TIMES: times, f'{ENTRY}.T_rig_worlds': poses}
    path = build_archive(tmp_path, edit_rig=edit, cameras=[], tracks=[], edit_info=dict.clear)
    said = [text for text in Scenario.load(path).warnings if 'T_rig_world_timestamps_us' in text]
    assert len(said) == bool(words)
    assert all(words in text and 'through the gap' in text for text in said)


def test_a_slow_trajectory_has_no_gap(tmp_path):
    path = build_archive(tmp_path, duration_s=10.0, ego_hz=0.5)
    assert Scenario.load(path).warnings == ()


def frame_times(rig):
    return entry(rig)['cameras_frame_timestamps_us']


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


@pytest.mark.parametrize('bad', [None, 'x', [], ['x'], [NAN], 0.5, -3, [-3], [[5]]])
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
    'bad',
    [None, 5, [], [1], [START_US, START_US], [9, 5], ['a', 'b'], [1, NAN], [-5, 5], [1, 2, 3]],
)
def test_broken_frame_times_are_left_out(tmp_path, bad):
    scenario = warned(
        tmp_path,
        f'cameras_frame_timestamps_us.{FRONT}: 1 of 20 entries are left out',
        ', expected [start, end]',
        edit_rig=lambda rig: frame_times(rig)[FRONT].__setitem__(3, bad),
    )
    frames = scenario.cameras[CAMERAS[0]].frame_times_ns
    assert len(frames) == 19
    assert (np.diff(frames[:, 1]) > 0).all()


@pytest.mark.parametrize(
    ('bad', 'words'),
    [
        ({'start': 1, 'end': 2}, ' (the first is [3], an object of 2),'),
        ([9, 5], ' (the first is [3], [9, 5]),'),
        ([1, None], ' (the first is [3], [1, null]),'),
        ([7, 7], ' (the first is [3], [7, 7]),'),
    ],
)
def test_the_first_broken_frame_time_is_shown(tmp_path, bad, words):
    def edit(rig):
        frame_times(rig)[FRONT][3:5] = [bad, bad]

    warned(tmp_path, '2 of 20 entries are left out', words, edit_rig=edit)


@pytest.mark.parametrize(('end_us', 'count'), [(2**31 * 10**6 - 10**6, 20), (2**31 * 10**6, 19)])
def test_the_last_time_that_ros_has_is_a_frame_time(tmp_path, end_us, count):
    path = build_archive(
        tmp_path, edit_rig=lambda rig: frame_times(rig)[FRONT].__setitem__(19, [5, end_us])
    )
    assert len(Scenario.load(path).cameras[CAMERAS[0]].frame_times_ns) == count


def test_frame_times_under_other_keys_are_named(tmp_path):
    def edit(rig):
        frame_times(rig)['front'] = frame_times(rig).pop(FRONT)

    warned(tmp_path, f'has no times of {CAMERAS[0]}, but of front', edit_rig=edit)


@pytest.mark.parametrize(('angle', 'said'), [(77, True), (3.3, True), (3.15, False)])
def test_angles_in_degrees(tmp_path, angle, said):
    path = build_archive(tmp_path, edit_rig=lambda rig: parameters_of(rig).update(max_angle=angle))
    scenario = Scenario.load(path)
    assert [f'max_angle is {angle}, expected rad' in text for text in scenario.warnings] == (
        [True] * said
    )
    assert scenario.cameras[CAMERAS[0]].model.max_angle == angle


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


@pytest.mark.parametrize(
    ('key', 'name', 'words'),
    [
        (CAMERAS[0], CAMERAS[1], 'has the name of another camera, so it is left out'),
        ('', '', 'is a camera without a name'),
    ],
)
def test_cameras_that_cannot_be_told_apart(tmp_path, key, name, words):
    """The second has the first's name, and as its key the name of the first too."""

    def edit(rig):
        calibrations = rig['camera_calibrations']
        other = {**calibrations[FRONT], 'logical_sensor_name': name}
        if not key:
            calibrations[key] = other
            return
        calibrations[key] = {**other, 'logical_sensor_name': CAMERAS[0]}

    scenario = warned(tmp_path, words, edit_rig=edit)
    assert list(scenario.cameras) == list(CAMERAS)


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


def test_more_cameras_than_a_rig_has(tmp_path):
    names = [f'camera_{i}' for i in range(201)]
    scenario = warned(tmp_path, 'has 201 cameras, the first 200 are used', cameras=names)
    assert list(scenario.cameras) == names[:200]


def test_warnings_do_not_flood(tmp_path):
    names = [f'camera_{i}' for i in range(120)]

    def edit(rig):
        for calibration in rig['camera_calibrations'].values():
            calibration['camera_model'] = None

    path = build_archive(tmp_path, cameras=names, edit_rig=edit)
    scenario = Scenario.load(path)
    assert len(scenario.cameras) == 120
    assert len(scenario.warnings) == 51
    assert scenario.warnings[-1] == 'scenario.usdz: there are 70 further warnings'


@pytest.mark.parametrize('key', ['a\nb', '\ud800', 'x' * 9000])
def test_camera_keys_of_any_text_leave_one_line(tmp_path, key):
    def edit(rig):
        calibrations = rig['camera_calibrations']
        calibrations[key] = {**calibrations[FRONT], 'T_sensor_rig': 5}

    warned(tmp_path, 'T_sensor_rig' if key != '\ud800' else 'can be encoded', edit_rig=edit)


def test_several_trajectories(tmp_path):
    def edit(rig):
        other = {**entry(rig), 'sequence_id': 'other', 'T_rig_worlds': [identity()] * 21}
        rig['rig_trajectories'].insert(0, other)

    scenario = warned(tmp_path, 'has 2 trajectories, only [1] is used', edit_rig=edit)
    assert scenario.ego.positions[-1].any()


@pytest.mark.parametrize('where', ['', ' in rig_trajectories[0]'])
def test_keys_that_are_not_known(tmp_path, where):
    def edit(rig):
        (entry(rig) if where else rig).update(dict.fromkeys(['brand_new', *'edcba']))

    words = f"not known{where} are ignored: 'a', 'b', 'brand_new', 'c', 'd' and 1 more"
    warned(tmp_path, words, edit_rig=edit)


def test_keys_of_tracks_that_are_not_known(tmp_path):
    def edit(tracks):
        tracks['remark'] = 'hello'

    warned(tmp_path, 'sequence_tracks.json: keys that are not known', edit_tracks=edit)


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
