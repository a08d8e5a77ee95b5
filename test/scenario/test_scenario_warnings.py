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


@pytest.mark.parametrize(
    ('value', 'words'),
    [
        (None, 'T_world_base is null, so'),
        ([[NAN] * 4] * 4, 'T_world_base[0][0] is nan'),
        ([[1, 2], [3, 4]], 'is a list of 2'),
        ('x', "is 'x'"),
        ([[0.0] * 4] * 4, 'is singular'),
        (translation(5, 5, 5), '8.66025 m from the centre of the Earth'),
        (translation(6.5e6, 0, 0), '6.5e+06 m from the centre of the Earth'),
        # Near the surface, but its z axis lies in it.
        (translation(6378137, 0, 0), 'expected one upright on its surface'),
        (translation(1e9, 0, 0), 'is at [1'),
    ],
)
def test_place_on_earth_broken(tmp_path, value, words):
    scenario = warned(
        tmp_path,
        'rig_trajectories.json: T_world_base',
        words,
        'no place on Earth',
        edit_rig=lambda rig: rig.update(T_world_base=value),
    )
    assert scenario.T_earth_map is None


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


@pytest.mark.parametrize('value', [[[NAN] * 4] * 4, {}, {'matrix': 5}, 'x', [[0.0] * 4] * 4])
def test_world_to_nre_broken(tmp_path, value):
    scenario = warned(
        tmp_path, 'world_to_nre', edit_rig=lambda rig: rig.update(world_to_nre=value)
    )
    assert scenario.world_to_nre is None


@pytest.mark.parametrize(
    ('value', 'words'),
    [
        (None, 'rig_bbox is null, so'),
        ([], 'is an empty list'),
        ({}, 'centroid is missing, expected a list of 3 numbers'),
        ({'centroid': [1, 0, 1], 'dim': [4, 2]}, 'rig_bbox.dim is a list of 2'),
        ({'centroid': [1, 0, NAN], 'dim': [4, 2, 1]}, 'rig_bbox.centroid[2] is nan'),
        (
            {'centroid': [1, 0, 1], 'dim': [4, 0, 1]},
            'rig_bbox.dim is [4.0, 0.0, 1.0], expected above 0 and below 1000 m',
        ),
        (
            {'centroid': [1, 0, 1e4], 'dim': [4, 2, 1]},
            'rig_bbox.centroid is [1.0, 0.0, 10000.0], expected less than 1000 m',
        ),
        (
            {'centroid': [1, 0, 1], 'dim': [4, 2, 1], 'rot': [0, 0, 0.5]},
            'rig_bbox.rot is [0.0, 0.0, 0.5], expected zeros: a box along the rig axes',
        ),
        ({'centroid': [1, 0, 1], 'dim': [4, 2, 1], 'rot': 5}, 'rig_bbox.rot is 5'),
    ],
)
def test_box_broken(tmp_path, value, words):
    scenario = warned(
        tmp_path,
        'rig_trajectories[0].rig_bbox',
        words,
        edit_rig=lambda rig: entry(rig).update(rig_bbox=value),
    )
    assert scenario.rig_bbox is None


def test_box_absent(tmp_path):
    edit = {'edit_rig': lambda rig: entry(rig).pop('rig_bbox') and None}
    assert warned(tmp_path, 'rig_bbox', **edit).rig_bbox is None


@pytest.mark.parametrize('edit', [lambda box: box.pop('rot'), lambda box: box.update(rot=None)])
def test_box_without_rotation(tmp_path, edit):
    path = build_archive(tmp_path, edit_rig=lambda rig: edit(entry(rig)['rig_bbox']) and None)
    scenario = Scenario.load(path)
    assert scenario.rig_bbox is not None
    assert scenario.warnings == ()


OPTIONAL = {
    'T_world_base': (lambda rig: rig, 'T_world_base'),
    'camera_calibrations': (lambda rig: rig, 'camera_calibrations'),
    'rig_bbox': (entry, 'rig_trajectories[0].rig_bbox'),
    'cameras_frame_timestamps_us': (entry, 'rig_trajectories[0].cameras_frame_timestamps_us'),
    'camera_model': (
        lambda rig: rig['camera_calibrations'][FRONT],
        f'camera_calibrations.{FRONT}.camera_model',
    ),
    'type': (
        lambda rig: rig['camera_calibrations'][FRONT]['camera_model'],
        f'camera_calibrations.{FRONT}.camera_model.type',
    ),
    'principal_point': (
        lambda rig: parameters_of(rig),
        f'camera_calibrations.{FRONT}.camera_model.parameters.principal_point',
    ),
    'reference_poly': (
        lambda rig: parameters_of(rig),
        f'camera_calibrations.{FRONT}.camera_model.parameters.reference_poly',
    ),
}


@pytest.mark.parametrize('key', OPTIONAL)
def test_missing_null_and_of_another_kind_are_told_apart(tmp_path, key):
    parent, path = OPTIONAL[key]
    warned(tmp_path, f'{path} is missing', edit_rig=lambda rig: parent(rig).pop(key) and None)
    warned(tmp_path, f'{path} is null', edit_rig=lambda rig: parent(rig).update({key: None}))
    warned(tmp_path, f'{path} is 7', edit_rig=lambda rig: parent(rig).update({key: 7}))


def test_missing_null_and_of_another_kind_are_told_apart_in_flags(tmp_path):
    def data(document):
        return document['dummy_chunk_id']['tracks_data']

    path = 'dummy_chunk_id.tracks_data.tracks_flags'
    key = 'tracks_flags'
    warned(tmp_path, f'{path} is missing', edit_tracks=lambda d: data(d).pop(key) and None)
    warned(tmp_path, f'{path} is null', edit_tracks=lambda d: data(d).update({key: None}))
    warned(tmp_path, f'{path} is 7', edit_tracks=lambda d: data(d).update({key: 7}))


@pytest.mark.parametrize('value', [None, [], 'x', {}])
def test_no_cameras(tmp_path, value):
    scenario = warned(
        tmp_path,
        'camera_calibrations',
        'no cameras',
        edit_rig=lambda rig: rig.update(camera_calibrations=value),
    )
    assert not scenario.cameras


@pytest.mark.parametrize(
    ('edit', 'words'),
    [
        (lambda c: c.clear(), 'T_sensor_rig is missing'),
        (lambda c: c.update(T_sensor_rig=[[NAN] * 4] * 4), 'T_sensor_rig[0][0] is nan'),
        (lambda c: c.update(T_sensor_rig=[[0.0] * 4] * 4), 'T_sensor_rig is singular'),
        (lambda c: c.update(T_sensor_rig=translation(1e6, 0, 0)), 'T_sensor_rig is at'),
    ],
)
def test_camera_that_cannot_be_placed_is_left_out(tmp_path, edit, words):
    scenario = warned(
        tmp_path,
        f'camera_calibrations.{FRONT}.',
        words,
        edit_rig=lambda rig: edit(rig['camera_calibrations'][FRONT]),
    )
    assert list(scenario.cameras) == [CAMERAS[1]]


@pytest.mark.parametrize(
    ('model', 'words'),
    [
        (None, 'is null'),
        ([], 'is an empty list'),
        ({}, 'camera_model.type is missing'),
        ({'type': 5}, 'camera_model.type is 5'),
        ({'type': 'ftheta'}, 'camera_model.parameters is missing'),
        ({'type': 'mystery-lens', 'parameters': {}}, 'mystery-lens'),
        ({'type': 'ftheta', 'parameters': {}}, 'camera_model.parameters.'),
        (
            {'type': 'ftheta', 'parameters': {**ftheta_parameters(), 'max_angle': NAN}},
            'camera_model.parameters.max_angle',
        ),
    ],
)
def test_camera_without_a_usable_model_is_listed(tmp_path, model, words):
    scenario = warned(
        tmp_path,
        f'camera_calibrations.{FRONT}.camera_model',
        words,
        'listed but not rendered',
        edit_rig=lambda rig: rig['camera_calibrations'][FRONT].update(camera_model=model),
    )
    camera = scenario.cameras[CAMERAS[0]]
    assert camera.model is None
    assert not camera.renderable
    assert len(camera.frame_times_ns)
    assert scenario.cameras[CAMERAS[1]].renderable


def test_size_of_a_camera_of_an_unknown_kind_is_kept(tmp_path):
    model = {'type': 'mystery-lens', 'parameters': {'resolution': [640, 480]}}
    scenario = warned(
        tmp_path,
        'mystery-lens',
        edit_rig=lambda rig: rig['camera_calibrations'][FRONT].update(camera_model=model),
    )
    assert scenario.cameras[CAMERAS[0]].resolution == (640, 480)


def parameters_of(rig):
    return rig['camera_calibrations'][FRONT]['camera_model']['parameters']


@pytest.mark.parametrize('point', [[958.0, 752.0], [958.0, 1000.0], [1500.0, 541.0]])
def test_height_before_width_shows_at_the_principal_point(tmp_path, point):
    scenario = warned(
        tmp_path,
        'resolution is [1080, 1920]',
        'it is taken as [1920, 1080]',
        edit_rig=lambda rig: parameters_of(rig).update(
            resolution=[1080, 1920], principal_point=point
        ),
    )
    assert scenario.cameras[CAMERAS[0]].resolution == (1920, 1080)


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


def test_principal_point_outside_of_the_image(tmp_path):
    scenario = warned(
        tmp_path,
        'principal_point is [958, 1300], outside of the image of 1920 x 1080',
        edit_rig=lambda rig: parameters_of(rig).update(principal_point=[958.0, 1300.0]),
    )
    assert scenario.cameras[CAMERAS[0]].renderable


@pytest.mark.parametrize(
    'change',
    [
        {'principal_point': [958.0, -3000.0]},
        {'principal_point': [958.0, 5000.0]},
        {'max_angle': 1e-7},
        {'pixeldist_to_angle_poly': [0.0, 1e-3, -1e9]},
    ],
)
def test_a_camera_that_sees_nothing_of_its_image_is_listed(tmp_path, change):
    scenario = warned(
        tmp_path,
        f'camera_calibrations.{FRONT}.camera_model sees nothing of its own image',
        'so the camera is listed but not rendered',
        edit_rig=lambda rig: parameters_of(rig).update(change),
    )
    camera = scenario.cameras[CAMERAS[0]]
    assert not camera.renderable
    assert 'sees nothing of its own image' in camera.problem
    assert camera.resolution == (1920, 1080)
    assert scenario.cameras[CAMERAS[1]].renderable
    assert scenario.cameras[CAMERAS[1]].problem == ''


@pytest.mark.parametrize(
    ('resolution', 'point'),
    [
        # Neither order goes well with these; the width is the side that a lens is centred on.
        ([3789, 2435], [1843.4, 3311.6]),
        ([1920, 1080], [958.0, 1500.0]),
    ],
)
def test_odd_sizes_are_told_of_once(tmp_path, resolution, point):
    scenario = warned(
        tmp_path,
        'outside of the image of',
        edit_rig=lambda rig: parameters_of(rig).update(
            resolution=resolution, principal_point=point
        ),
    )
    camera = scenario.cameras[CAMERAS[0]]
    assert camera.resolution == tuple(resolution)
    assert camera.renderable


def test_sizes_the_wrong_way_round_under_other_names(tmp_path):
    def edit(rig):
        parameters = parameters_of(rig)
        del parameters['resolution']
        parameters.update(width=1080, height=1920)

    scenario = warned(tmp_path, 'it is taken as [1920, 1080]', edit_rig=edit)
    assert scenario.cameras[CAMERAS[0]].resolution == (1920, 1080)


GLASS = {
    'reference_poly': 'FORWARD',
    'horizontal_poly': [0.0, 1.0, 0.0],
    'vertical_poly': [0.0, 0.0, 1.0],
    'horizontal_poly_inverse': [0.0, 1.0, 0.0],
    'vertical_poly_inverse': [0.0, 0.0, 1.0],
}
NOTHING = [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (
            {'pixeldist_to_angle_poly': [0.1, 1e-3]},
            'pixeldist_to_angle_poly[0] is 0.1, expected 0: what is on the axis',
        ),
        (
            {'reference_poly': 'ANGLE_TO_PIXELDIST', 'angle_to_pixeldist_poly': [4.0, 900.0]},
            'angle_to_pixeldist_poly[0] is 4.0, expected 0',
        ),
        (
            {'pixeldist_to_angle_poly': [0.0, 1e-3, 1e308]},
            'pixeldist_to_angle_poly[2] is 1e+308, expected a number of at most 1e+09',
        ),
        ({'linear_cde': [1e308, 0.0, 0.0]}, 'linear_cde[0] is 1e+308, expected a number of'),
        (
            {
                'external_distortion_parameters': {
                    **GLASS,
                    'horizontal_poly': NOTHING,
                    'vertical_poly': NOTHING,
                }
            },
            'external_distortion_parameters.horizontal_poly is (0.0, 0.0, 0.0), expected a glass',
        ),
        (
            {
                'external_distortion_parameters': {
                    **GLASS,
                    'horizontal_poly_inverse': NOTHING,
                    'vertical_poly_inverse': NOTHING,
                }
            },
            'external_distortion_parameters.horizontal_poly_inverse is (0.0, 0.0, 0.0), expected',
        ),
    ],
)
def test_lenses_that_no_light_passes(tmp_path, change, words):
    scenario = warned(
        tmp_path,
        words,
        'so the camera is listed but not rendered',
        edit_rig=lambda rig: parameters_of(rig).update(change),
    )
    assert not scenario.cameras[CAMERAS[0]].renderable
    assert words in scenario.cameras[CAMERAS[0]].problem


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


@pytest.mark.parametrize(
    ('gaps', 'words'),
    [
        ([(40, 7.0)], 'rig_trajectories[0].T_rig_world_timestamps_us[41] is 7.'),
        (
            [(40, 7.0), (60, 2.0)],
            ' s after the one before (and 1 shorter gaps), expected about 0.1 s',
        ),
        ([(40, 0.7)], ''),
    ],
)
def test_gaps_in_the_poses(tmp_path, gaps, words):
    def edit(rig):
        times = entry(rig)['T_rig_world_timestamps_us']
        for index, seconds in gaps:
            times[index + 1 :] = [time + round(seconds * 1e6) for time in times[index + 1 :]]

    scenario = Scenario.load(
        build_archive(tmp_path, duration_s=10.0, edit_rig=edit, tracks=[], edit_info=dict.clear)
    )
    said = [warning for warning in scenario.warnings if 'T_rig_world_timestamps_us' in warning]
    assert len(said) == bool(words)
    assert all(words in warning and 'through the gap' in warning for warning in said)


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
    ],
)
def test_the_first_broken_frame_time_is_shown(tmp_path, bad, words):
    def edit(rig):
        frame_times(rig)[FRONT][3:5] = [bad, bad]

    warned(tmp_path, '2 of 20 entries are left out', words, edit_rig=edit)


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
    scenario = warned(tmp_path, 'sorted', edit_rig=lambda rig: frame_times(rig)[FRONT].reverse())
    assert (np.diff(scenario.cameras[CAMERAS[0]].frame_times_ns[:, 1]) > 0).all()


@pytest.mark.parametrize('value', [None, [], 'x'])
def test_no_frame_times_at_all(tmp_path, value):
    scenario = warned(
        tmp_path,
        'cameras_frame_timestamps_us is',
        edit_rig=lambda rig: entry(rig).update(cameras_frame_timestamps_us=value),
    )
    assert all(camera.frame_times_ns.shape == (0, 2) for camera in scenario.cameras.values())


@pytest.mark.parametrize('value', [[], None])
def test_cameras_without_frame_times_are_named_together(tmp_path, value):
    def edit(rig):
        if value is None:
            frame_times(rig).clear()
        else:
            frame_times(rig).update(dict.fromkeys(frame_times(rig), value))

    warned(tmp_path, f'has no times of {", ".join(CAMERAS)}', edit_rig=edit)


def test_frame_times_that_are_no_list(tmp_path):
    warned(
        tmp_path,
        f"cameras_frame_timestamps_us.{FRONT} is 'x'",
        edit_rig=lambda rig: frame_times(rig).update({FRONT: 'x'}),
    )


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
    words = f'{min(count, 3)} of 3 tracks are outside of the time of the poses ({START_US} to'
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


@pytest.mark.parametrize('where', ['top', 'trajectory'])
def test_keys_that_are_not_known(tmp_path, where):
    def edit(rig):
        (rig if where == 'top' else entry(rig)).update(brand_new=1, older={})

    warned(tmp_path, "'brand_new', 'older'", 'ignored', edit_rig=edit)


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


def test_sequence_id_of_the_rig_broken(tmp_path):
    warned(
        tmp_path,
        'rig_trajectories[0].sequence_id is 5',
        edit_rig=lambda rig: entry(rig).update(sequence_id=5),
    )


def test_tracks_without_poses_are_left_out(tmp_path):
    def edit(tracks):
        data = tracks['dummy_chunk_id']['tracks_data']
        data['tracks_poses'][1] = []
        data['tracks_timestamps_us'][1] = []

    scenario = warned(tmp_path, 'tracks_poses[1] is an empty list', edit_tracks=edit)
    assert scenario.tracks.ids == ('1', '3')
    assert math.isfinite(scenario.tracks.at(START_US * 1000 + 10**9).poses.sum())
