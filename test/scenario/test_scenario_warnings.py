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

from test.scenario.loading import ENTRY, FRAMES, FRONT, loaded, NAN, usable, warned
from test.support.archives import (
    build_archive,
    CAMERAS,
    ftheta_parameters,
    identity,
    REMOVED,
    rig_document,
    SEQUENCE_ID,
    START_US,
    translation,
)

import numpy as np
from nurec_ros.scenario import Scenario
import pytest

# A pose on the ellipsoid at latitude 0, longitude 0: east is y, north is z, up is x.
ON_EARTH = [[0, 0, 1, 6378137.0 + 20], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
SINGULAR = [[0.0] * 4] * 4
NANS = [[NAN] * 4] * 4
OPTIONAL = ('sequence_tracks.json', 'data_info.json', 'metadata.yaml')
INFO = '{"sequence_id": "a", "pose-range": %s}'
RANGE = INFO % '{"start-timestamp_us": %d, "end-timestamp_us": %d}'
THEIRS = 'expected some of the time of the poses (27567868848 to 27569868848), so theirs is used'
# What stands in a member, and words of the warning about it.
ODD_MEMBERS = [
    *((member, REMOVED, 'is missing') for member in OPTIONAL),
    *(
        ('data_info.json', content, words)
        for content, words in (
            ('', 'is not JSON'),
            ('[]', 'the top level is an empty list, expected an object, so the id is that of the'),
            (b'\x80', 'is not UTF-8'),
            ('{"sequence_id": "a"}', 'pose-range is missing, expected an object, so the range is'),
            (INFO % '[]', 'pose-range is an empty list'),
            (INFO % '{}', 'pose-range.start-timestamp_us is missing'),
            (RANGE % (5, 3), 'pose-range.end-timestamp_us is 3, expected a time not before 5'),
            (RANGE % (5, 9), f'pose-range is 5 to 9, {THEIRS}'),
        )
    ),
    *(
        ('metadata.yaml', content, words)
        for content, words in (
            ('', 'is '),
            ('[1', "is not YAML: expected ',' or ']', but got"),
            ('just text', 'is '),
            (b'\xff\xfe\x00', 'is not YAML: it cannot be decoded, so the scene id and'),
            (r'a: "\U00110000"', 'is not YAML that can be read'),
            ('a: &a [*a, *a]\nb: *c\n', 'is not YAML'),
            ('scene_id: [x]\n', 'scene_id is a list of 1, expected a text, so it is not used'),
            ('[' * 1000, 'is nested too deeply to be read, so the scene id and the'),
            ('a: ' + 'x' * 200_000, 'has 200003 bytes or more, expected at most 131072'),
        )
    ),
]


@pytest.mark.parametrize(('member', 'content', 'words'), ODD_MEMBERS)
def test_odd_members(tmp_path, member, content, words):
    change = {'leave_out': [member]} if content is REMOVED else {'members': {member: content}}
    scenario = warned(tmp_path, f' {member}: {words}', **change)
    assert scenario.start_ns == START_US * 1000
    assert scenario.end_ns == START_US * 1000 + 2 * 10**9
    assert bool(scenario.metadata_scene_id) == (member != 'metadata.yaml')
    assert bool(len(scenario.tracks)) == (member != 'sequence_tracks.json')


def test_everything_else_missing_and_sequence_id_broken(tmp_path):
    scenario = Scenario.load(build_archive(tmp_path, leave_out=OPTIONAL))
    assert len(scenario.warnings) == 3
    assert (scenario.start_ns, scenario.end_ns) == (START_US * 1000, START_US * 1000 + 2 * 10**9)
    usable(scenario)
    nothing = 'an empty text, expected the name of the scene, so'
    for sequence_id, is_what in ((5, '5'), ('', nothing), ('\ud800', '')):
        words = f'data_info.json: sequence_id is {is_what}'
        scenario = warned(tmp_path, words, edit_info={'sequence_id': sequence_id})
        assert scenario.sequence_id == SEQUENCE_ID


CALIBRATION = f'camera_calibrations.{FRONT}'
MODEL = f'{CALIBRATION}.camera_model'
PARAMETERS = f'{MODEL}.parameters'
POLY = 'pixeldist_to_angle_poly'
GLASS = {
    'reference_poly': 'FORWARD',
    **{f'horizontal_poly{end}': [0.0, 1.0, 0.0] for end in ('', '_inverse')},
    **{f'vertical_poly{end}': [0.0, 0.0, 1.0] for end in ('', '_inverse')},
}
WITHOUT_SIZE = {k: v for k, v in ftheta_parameters().items() if k != 'resolution'}
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


def sized(size, point):
    return {**ftheta_parameters(), 'resolution': size, 'principal_point': point}


# What is put at a key path of the rig, nothing to say of it, and what is so then.
FINE_RIGS = [
    ('T_world_base', ON_EARTH, lambda s: np.allclose(s.T_earth_map, ON_EARTH)),
    (f'{ENTRY}.rig_bbox.rot', REMOVED, lambda s: s.rig_bbox is not None),
    (f'{ENTRY}.rig_bbox.rot', None, lambda s: s.rig_bbox is not None),
    (PARAMETERS, sized([1080, 1920], [541.0, 1200.0]), renders(1080, 1920)),
    (PARAMETERS, sized([1920, 1080], [958.0, 20.0]), renders(1920, 1080)),
    (PARAMETERS, sized([960, 960], [470, 480]), renders(960, 960)),
]


@pytest.mark.parametrize(('path', 'value', 'is_so'), FINE_RIGS)
def test_rigs_that_are_fine(tmp_path, path, value, is_so):
    assert is_so(loaded(tmp_path, edit_rig={path: value}))


UNSEEN = 'its principal_point is [958, -3000], the image 1920 x 1080'
MISFIT = 'does not go with the principal point'
TAKEN = 'expected [width, height]: it is taken as [1920, 1080]'
LENGTHS = 'expected above 0 and below 1000 m'
MISSING_MOUNT = '.T_sensor_rig is missing, expected a 4x4 matrix, so the camera is left out'
OUTSIDE = 'outside of the image of 1920 x 1080'
MYSTERY = {'type': 'mystery-lens', 'parameters': {'resolution': [640, 480]}}


def odd(named, is_so, *rows):
    """Of what the one warning names: what is so then; what is put where below it, and words."""
    for below, value, words in rows:
        path = named + below if below[:1] in ('', '.') else below
        yield named, path, value, words, is_so


ODD_RIGS = [
    *odd(
        'T_world_base',
        lambda s: s.T_earth_map is None,
        ('', None, ' is null, so the scenario has no place on Earth'),
        ('', NANS, '[0][0] is nan, expected a finite number'),
        ('', translation(5, 5, 5), '8.66025 m from the centre of the Earth, expected one'),
        ('', translation(6.5e6, 0, 0), ' is a pose 6.5e+06 m from the centre'),
        # Near the surface, but its z axis lies in it.
        ('', translation(6378137, 0, 0), ' is a pose 6.37814e+06 m from'),
        ('', translation(1e9, 0, 0), ' is at [1e+09, 0, 0], expected coordinates within 1e+07'),
    ),
    *odd(
        'T_world_base',
        lambda s: np.allclose(s.T_earth_map, ON_EARTH, rtol=0, atol=1e-8),
        ('', np.linalg.inv(ON_EARTH).tolist(), 'T_world_base leads from the Earth to'),
    ),
    *odd(
        'world_to_nre',
        lambda s: s.world_to_nre is None,
        ('', NANS, 'a finite number, so it is not known (nothing but information'),
        *(('', value, '') for value in ({}, {'matrix': 5}, 'x', SINGULAR)),
    ),
    *odd(
        f'{ENTRY}.rig_bbox',
        lambda s: s.rig_bbox is None,
        ('', None, ' is null, so the ego is drawn without a box'),
        ('', REMOVED, ' is missing, so'),
        ('', [], ' is an empty list, expected an object'),
        ('', {}, '.centroid is missing, expected a list of 3 numbers'),
        ('.centroid', [1, 0, NAN], '.centroid[2] is nan, expected a finite number'),
        ('.dim', [4, 0, 1], f'.dim is [4.0, 0.0, 1.0], {LENGTHS}'),
        ('.centroid', [1, 0, 1e4], '.centroid is [1.0, 0.0, 10000.0], expected less than 1000'),
        ('.rot', [0, 0, 0.5], '.rot is [0.0, 0.0, 0.5], expected zeros: a box along the rig'),
    ),
    *odd(
        'camera_calibrations',
        lambda s: not s.cameras,
        *(('', value, 'so there are no cameras') for value in (None, REMOVED, [], 'x', {})),
    ),
    *odd(
        CALIBRATION,
        lambda s: list(s.cameras) == [CAMERAS[1]],
        ('', {}, MISSING_MOUNT),
        ('.T_sensor_rig', SINGULAR, '.T_sensor_rig is singular, expected a rotation and'),
        ('.T_sensor_rig', translation(1e6, 0, 0), '.T_sensor_rig is at [1e+06, 0, 0], expected'),
    ),
    *odd(
        MODEL,
        not_rendered,
        ('', None, ' is null'),
        ('', REMOVED, ' is missing'),
        ('', [], ' is an empty list, expected an object'),
        ('.type', REMOVED, '.type is missing, expected the name of a camera model'),
        ('.type', 5, '.type is 5'),
        ('.type', 'mystery-lens', '.type is '),
        ('.parameters', REMOVED, '.parameters is missing'),
        ('.parameters', {}, '.parameters.'),
    ),
    *odd(
        PARAMETERS,
        not_rendered,
        ('.max_angle', NAN, '.max_angle is nan, expected a finite number'),
        *(
            (f'.{key}', value, f'.{key} is {words}')
            for key in ('principal_point', 'reference_poly', 'resolution')
            for value, words in ((REMOVED, 'missing'), (7, '7'))
        ),
        (f'.{POLY}', [0.1, 1e-3], f'.{POLY}[0] is 0.1, expected 0: what'),
        (f'.{POLY}', [0, 1e-3, 1e308], f'.{POLY}[2] is 1e+308, expected a number of at most'),
        ('.linear_cde', [1e308, 0, 0], '.linear_cde[0] is 1e+308, expected a number of at mo'),
        # No light passes.
        *(
            (
                '.external_distortion_parameters',
                {**GLASS, **nothing},
                f'.{next(iter(nothing))} is (0.0, 0.0, 0.0), expected a glass that can be',
            )
            for nothing in (NO_GLASS, NO_INVERSE)
        ),
    ),
    *odd(
        f'{MODEL} sees nothing of its own image',
        not_rendered,
        (f'{PARAMETERS}.principal_point', [958.0, -3000.0], f' ({UNSEEN}), so'),
        (f'{PARAMETERS}.max_angle', 1e-7, ''),
        (f'{PARAMETERS}.pixeldist_to_angle_poly', [0, 1e-3, -1e9], ''),
    ),
    *odd(
        PARAMETERS,
        renders(1920, 1080),
        ('', sized([1080, 1920], [958.0, 752.0]), f', which {MISFIT} [958, 752], {TAKEN}'),
        ('', sized([1080, 1920], [1500.0, 541.0]), TAKEN),
        ('', {**WITHOUT_SIZE, 'width': 1080, 'height': 1920}, TAKEN),
        ('', sized([1920, 1080], [958.0, 1300.0]), OUTSIDE),
    ),
    *odd(
        PARAMETERS,
        renders(3789, 2435),
        # Neither order goes well with these; the width is what a lens is centred on.
        ('', sized([3789, 2435], [1843.4, 3311.6]), 'outside of the image of 3789 x 2435'),
    ),
    *odd(f'{MODEL}.type', lambda s: front_size(s) == (640, 480), (MODEL, MYSTERY, 'mystery-lens')),
    *odd(
        FRAMES,
        lambda s: all(camera.frame_times_ns.shape == (0, 2) for camera in s.cameras.values()),
        ('', None, ' is null, expected an object, so no camera has times'),
    ),
    *odd(
        f'{FRAMES}.{FRONT}',
        lambda s: not len(s.cameras[CAMERAS[0]].frame_times_ns),
        ('', 'x', " is 'x', expected a list, so the camera has no frame times"),
    ),
    *odd(
        f'{ENTRY}.sequence_id',
        lambda s: s.sequence_id == SEQUENCE_ID,
        ('', 5, ' is 5, expected a text, so'),
    ),
]


@pytest.mark.parametrize(('named', 'path', 'value', 'words', 'is_so'), ODD_RIGS)
def test_odd_rigs(tmp_path, named, path, value, words, is_so):
    scenario = warned(tmp_path, f'rig_trajectories.json: {named}', words, edit_rig={path: value})
    assert is_so(scenario)


@pytest.mark.parametrize(('angle', 'said'), [(77, True), (3.3, True), (3.15, False)])
def test_angles_in_degrees(tmp_path, angle, said):
    path = build_archive(tmp_path, edit_rig={f'{PARAMETERS}.max_angle': angle})
    scenario = Scenario.load(path)
    assert [f'max_angle is {angle}, expected rad' in text for text in scenario.warnings] == (
        [True] * said
    )
    assert scenario.cameras[CAMERAS[0]].model.max_angle == angle


@pytest.mark.parametrize(
    ('key', 'value', 'words'),
    [
        # The second has the first's name, and as its key the name of the first too.
        (CAMERAS[0], {}, 'has the name of another camera, so it is left out'),
        ('', {'logical_sensor_name': ''}, 'is a camera without a name, expected a logical_s'),
        ('a\nb', {'T_sensor_rig': 5}, 'T_sensor_rig'),
        ('x' * 9000, {'T_sensor_rig': 5}, 'T_sensor_rig'),
        ('\ud800', {'T_sensor_rig': 5}, 'can be encoded'),
    ],
)
def test_a_camera_that_cannot_be_told_apart_is_left_out(tmp_path, key, value, words):
    def edit(rig):
        calibrations = rig['camera_calibrations']
        calibrations[key] = {**calibrations[FRONT], **value}

    scenario = warned(tmp_path, words, edit_rig=edit)
    assert list(scenario.cameras) == list(CAMERAS)


def test_more_cameras_than_a_rig_has_and_warnings_do_not_flood(tmp_path):
    names = [f'camera_{i}' for i in range(201)]

    def edit(rig):
        for calibration in list(rig['camera_calibrations'].values())[:120]:
            calibration['camera_model'] = None

    scenario = Scenario.load(build_archive(tmp_path, cameras=names, edit_rig=edit))
    assert list(scenario.cameras) == names[:200]
    assert 'camera_calibrations has 201 cameras, the first 200 are used' in scenario.warnings[0]
    assert len(scenario.warnings) == 51
    assert scenario.warnings[-1] == 'scenario.usdz: there are 71 further warnings'


def test_several_trajectories(tmp_path):
    own = rig_document()['rig_trajectories'][0]
    other = {**own, 'sequence_id': 'other', 'T_rig_worlds': [identity()] * 21}
    edit = {'rig_trajectories': [other, own]}
    scenario = warned(tmp_path, 'has 2 trajectories, only [1] is used', edit_rig=edit)
    assert scenario.ego.positions[-1].any()


@pytest.mark.parametrize(('below', 'where'), [('', ''), (f'{ENTRY}.', f' in {ENTRY}')])
def test_keys_that_are_not_known(tmp_path, below, where):
    words = f"not known{where} are ignored: 'a', 'b', 'brand_new', 'c', 'd' and 1 more"
    edit = dict.fromkeys([f'{below}{key}' for key in ('brand_new', *'edcba')])
    warned(tmp_path, words, edit_rig=edit)
