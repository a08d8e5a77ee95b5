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
"""Every spelling of a calibration, and one clear sentence for what is none."""

import math
from test.scenario.cameras.lens_samples import (
    FRONT_WIDE,
    OPENCV_FISHEYE,
    PINHOLE,
    REAR,
    WINDSHIELD,
)
from test.support.archives import REMOVED

import numpy as np
from nurec_ros.scenario.cameras import CameraModelError, parse_camera_model, PinholeCamera
from nurec_ros.scenario.cameras.base import shown
import pytest


def parsed(kind, parameters):
    """Return a model whose own parameters are asked for."""
    return parse_camera_model(kind, parameters)


def refused(kind, parameters):
    """Return what is said of parameters that cannot be taken."""
    with pytest.raises(CameraModelError) as caught:
        parsed(kind, parameters)
    assert len(str(caught.value)) < 300
    assert '\n' not in str(caught.value)
    return caught.value


def _without(parameters, *names):
    return {key: value for key, value in parameters.items() if key not in names}


def _nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


BARE = _without(PINHOLE, 'radial_coeffs', 'tangential_coeffs', 'thin_prism_coeffs')


@pytest.mark.parametrize(
    ('spelling', 'parameters', 'kind', 'point'),
    [
        ('ftheta', FRONT_WIDE, 'ftheta', (958.3, 751.6)),
        ('FTheta', FRONT_WIDE, 'ftheta', (958.3, 751.6)),
        # OpenCV's principal points count from the image's corner in NuRec's files.
        ('opencv-pinhole', PINHOLE, 'opencv-pinhole', (950.7, 547.4)),
        ('OpenCV_Pinhole', PINHOLE, 'opencv-pinhole', (950.7, 547.4)),
        ('pinhole', PINHOLE, 'opencv-pinhole', (950.7, 547.4)),
        ('opencv-fisheye', OPENCV_FISHEYE, 'opencv-fisheye', (643.5, 396.0)),
        ('opencv_fisheye', OPENCV_FISHEYE, 'opencv-fisheye', (643.5, 396.0)),
    ],
)
def test_type_strings(spelling, parameters, kind, point):
    model = parsed(spelling, parameters)
    assert model.kind == kind
    assert model.resolution == tuple(parameters['resolution'])
    assert model.principal_point == point
    assert model.nurec_principal_point == tuple(parameters['principal_point'])
    assert model.shutter_type == parameters['shutter_type']


@pytest.mark.parametrize('spelling', ['kannala-brandt', '', None, 3, ['ftheta']])
def test_unknown_types_are_named(spelling):
    said = refused(spelling, FRONT_WIDE)
    assert said.key == 'type'
    assert 'ftheta, opencv-pinhole or opencv-fisheye' in str(said)
    assert str(spelling or '') in str(said)


@pytest.mark.parametrize('parameters', [None, [], 'ftheta'])
def test_parameters_must_be_an_object(parameters):
    with pytest.raises(CameraModelError, match=r'^parameters: found .*, expected an object'):
        parsed('ftheta', parameters)


def test_what_is_ignored_absent_or_spelled_otherwise():
    model = parsed('ftheta', {**FRONT_WIDE, 'colour': 'blue', 'shutter_type': None})
    assert model.shutter_type == 'GLOBAL'
    lower = {**FRONT_WIDE, 'reference_poly': 'pixeldist-to-angle'}
    assert parsed('ftheta', lower).reference_poly == 'PIXELDIST_TO_ANGLE'
    only = _without(REAR, 'reference_poly')
    assert parsed('ftheta', only).reference_poly == 'ANGLE_TO_PIXELDIST'
    without = _without(FRONT_WIDE, 'reference_poly')
    assert refused('ftheta', without).key == 'parameters.reference_poly'
    parameters = {**_without(FRONT_WIDE, 'resolution'), 'resolution_hw': [1080, 1920]}
    assert parsed('ftheta', parameters).resolution == (1920, 1080)


def test_linear_cde():
    for given, expected in (
        ([0, 0, 0], (1.0, 0.0, 0.0)),
        ([1, 0, 0], (1.0, 0.0, 0.0)),
        ([1.01, 0.02, -0.03], (1.01, 0.02, -0.03)),
        ([-0.5, 1.0, 0.5], (-0.5, 1.0, 0.5)),
        ({'c': 1.01, 'd': 0.02, 'e': -0.03}, (1.01, 0.02, -0.03)),
        ({'linear_c': 1.01, 'linear_d': 0.02, 'linear_e': -0.03}, (1.01, 0.02, -0.03)),
        ({'linear_c': 0.0, 'linear_d': 0.0, 'linear_e': 0.0}, (1.0, 0.0, 0.0)),
        ({}, (1.0, 0.0, 0.0)),
        (None, (1.0, 0.0, 0.0)),
    ):
        assert parsed('ftheta', {**FRONT_WIDE, 'linear_cde': given}).linear_cde == expected


def test_short_names_of_pinholes():
    expected = PinholeCamera(**{**PINHOLE, 'principal_point': (950.7, 547.4)})
    k, p, s = (PINHOLE[f'{name}_coeffs'] for name in ('radial', 'tangential', 'thin_prism'))
    singles = {f'k{i}': value for i, value in enumerate(k, 1)}
    singles |= {f'p{i}': value for i, value in enumerate(p, 1)}
    singles |= {f's{i}': value for i, value in enumerate(s, 1)}
    short = {'fx': 1120.5, 'fy': 1118.25, 'cx': 951.2, 'cy': 547.9}
    wire = {'focal_length_x': 1120.5, 'focal_length_y': 1118.25}
    wire |= {'principal_point_x': 951.2, 'principal_point_y': 547.9}
    wire |= {'resolution_w': 1920, 'resolution_h': 1080}
    for given in (
        {**_without(BARE, 'focal_length', 'principal_point'), **short, **singles},
        {**_without(PINHOLE, 'focal_length', 'principal_point', 'resolution'), **wire},
        {**BARE, 'radial': k, 'tangential': p, 'thin_prism': s},
        {**BARE, 'dist_coeffs': list(expected.distortion)},
        {**BARE, 'distortion_coeffs': list(expected.distortion)},
        {**BARE, 'distortion': list(expected.distortion)},
    ):
        assert parsed('pinhole', given) == expected


def test_missing_and_short_coefficients_are_zero():
    for given, told in (
        ({}, {'distortion': (0.0,) * 12}),
        ({'radial_coeffs': [0.1, 0.2, 0.3]}, {'radial_coeffs': (0.1, 0.2, 0.3, 0.0, 0.0, 0.0)}),
        (
            {'dist_coeffs': [0.1, 0.2, 0.01, 0.02, 0.3]},
            {'distortion': (0.1, 0.2, 0.01, 0.02, 0.3, *(0.0,) * 7)},
        ),
        ({'focal_length': 900}, {'focal_length': (900.0, 900.0)}),
        ({'focal_length': [0.5, 0.25]}, {'focal_length': (0.5, 0.25)}),
    ):
        model = parsed('pinhole', {**BARE, **given})
        assert {name: getattr(model, name) for name in told} == told


def test_fisheye_coefficients():
    bare = _without(OPENCV_FISHEYE, 'radial_coeffs')
    expected = tuple(OPENCV_FISHEYE['radial_coeffs'])
    for given in (
        {f'k{i + 1}': value for i, value in enumerate(expected)},
        {'distortion_coeffs': list(expected)},
        {'radial_coeffs': [*expected, 0.0, 0.0]},
    ):
        assert parsed('fisheye', {**bare, **given}).radial_coeffs == expected
    said = refused('fisheye', {**bare, 'radial_coeffs': [*expected, 0.1]})
    assert str(said) == 'parameters.radial_coeffs: found 5 numbers, expected at most 4'


@pytest.mark.parametrize(('kind', 'parameters'), [('ftheta', REAR), ('fisheye', OPENCV_FISHEYE)])
@pytest.mark.parametrize('moved', [(-4, -3), (-4, 3), (4, -3), (4, 3)])
def test_missing_max_angle_reaches_just_past_the_corners(kind, parameters, moved):
    # Each of the corners is the farthest once.
    centre = [0.5 * side + by for side, by in zip(parameters['resolution'], moved, strict=True)]
    parameters = {**parameters, 'principal_point': centre}
    model = parsed(kind, _without(parameters, 'max_angle'))
    width, height = parameters['resolution']
    corners = [(u, v) for u in (-0.5, width - 0.5) for v in (-0.5, height - 0.5)]
    rays = parsed(kind, {**parameters, 'max_angle': 3.0}).unproject(corners)[0]
    farthest = np.arccos(rays[:, 2]).max()
    assert model.max_angle == pytest.approx(farthest + math.radians(0.1), abs=1e-9)


def test_missing_max_angle_is_where_a_lens_ends_within_the_image():
    # 3000 theta - 3000 theta^2 rises until 0.5 rad, 750 px off the axis.
    lens = {**_without(REAR, 'max_angle'), 'angle_to_pixeldist_poly': [0.0, 3000.0, -3000.0]}
    assert parsed('ftheta', lens).max_angle == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize('value', [0, -1.3, 'wide', math.nan, math.inf, True, [1.3]])
@pytest.mark.parametrize(('kind', 'parameters'), [('ftheta', REAR), ('fisheye', OPENCV_FISHEYE)])
def test_max_angle_must_be_above_zero(kind, parameters, value):
    said = refused(kind, {**parameters, 'max_angle': value})
    assert said.key == 'parameters.max_angle'


def test_swapped_resolutions_are_recognised():
    for resolution, *points in (
        # From the first row of pixels to the last.
        ([1080, 1920], [958.0, 752.0], [946.0, 541.0], [958.0, 0.0], [958.0, 1079.0]),
        ([800, 1280], [1000, 396]),
    ):
        for point in points:
            said: list[str] = []
            changed = {**FRONT_WIDE, 'resolution': resolution, 'principal_point': point}
            model = parse_camera_model('ftheta', changed, said.append)
            assert model.resolution == tuple(resolution[::-1])
            assert 'parameters.resolution is [' in said[0]
    for resolution, *points in (
        # On the outer edge of the last pixel the other order would fit as well.
        ([1080, 1920], [958.0, 1080.0], [1079.5, 960.0], [541.0, 960.0], [541.0, 300.0]),
        ([1920, 1080], [958.0, 1300.0], [400.0, 500.0]),
        ([1000, 1000], [500.0, 900.0]),
        ([1, 1], [0.0, 0.0]),
        ([65535, 65535], [32767.0, 32767.0]),
    ):
        for point in points:
            changed = {'resolution': resolution, 'principal_point': point}
            assert parsed('ftheta', {**FRONT_WIDE, **changed}).resolution == tuple(resolution)


def test_long_values_are_cut_off_in_sentences():
    assert shown(['x' * 76]) == f"['{'x' * 76}']"
    assert shown(['x' * 77]) == f"['{'x' * 77}…"


PAIR, PIXELS = 'a list of 2 numbers', '[width, height] in whole pixels'
FINITE, ABOVE_0 = 'a finite number', 'two numbers above 0'
RISING = 'the reference polynomial, with a positive linear coefficient'
REFERENCE = 'PIXELDIST_TO_ANGLE or ANGLE_TO_PIXELDIST'
SHUTTER = (
    'one of ROLLING_TOP_TO_BOTTOM, ROLLING_LEFT_TO_RIGHT, ROLLING_BOTTOM_TO_TOP, '
    'ROLLING_RIGHT_TO_LEFT, GLOBAL'
)


# The parameter, what it is, where in it something is wrong ('': all of it), and what was expected.
BROKEN_FTHETA = [
    ('resolution', [1920], '', PAIR),
    ('resolution', [1920.5, 1080], '', PIXELS),
    ('resolution', [1920, 0], '', PIXELS),
    ('resolution', [65536, 1], '', PIXELS),
    ('resolution', [10**12, 10**12], '[0]', 'a number of at most 1e+09'),
    ('resolution', '1920x1080', '', PAIR),
    ('principal_point', [958.0, None], '[1]', FINITE),
    ('principal_point', [10**400, 1], '[0]', FINITE),
    ('reference_poly', 3, '', 'a name'),
    ('reference_poly', 'UNKNOWN', '', REFERENCE),
    ('pixeldist_to_angle_poly', [], '', RISING),
    ('pixeldist_to_angle_poly', {}, '', 'a list of numbers'),
    ('linear_cde', [1, 0], '', 'a list of 3 numbers'),
    ('linear_cde', [0.5, 1.0, 0.5], '', 'an invertible [[c, d], [e, 1]]'),
    ('shutter_type', 5, '', 'a name'),
    ('shutter_type', 'ROLLING', '', SHUTTER),
]
ON_AXIS = '0: what is on the axis is seen at the principal point'
BROKEN = [
    *(('ftheta', FRONT_WIDE, *row) for row in BROKEN_FTHETA),
    ('ftheta', REAR, 'angle_to_pixeldist_poly', [0.0, -3.0], '', RISING),
    ('ftheta', REAR, 'angle_to_pixeldist_poly', [0.0] * 7, '', 'at most 6'),
    ('ftheta', REAR, 'angle_to_pixeldist_poly', [9e8, 3.0], '[0]', ON_AXIS),
    ('ftheta', FRONT_WIDE, 'pixeldist_to_angle_poly', [1e-4, 5e-4], '[0]', ON_AXIS),
    ('pinhole', PINHOLE, 'focal_length', None, '', PAIR),
    ('pinhole', PINHOLE, 'focal_length', [0.0, 1.0], '', ABOVE_0),
    ('pinhole', PINHOLE, 'focal_length', [1.0, 0.0], '', ABOVE_0),
    ('pinhole', PINHOLE, 'radial_coeffs', [0.1] * 7, '', 'at most 6'),
    ('pinhole', PINHOLE, 'tangential_coeffs', [0.1, math.nan], '[1]', FINITE),
    ('fisheye', OPENCV_FISHEYE, 'focal_length', [0, 0], '', ABOVE_0),
    ('fisheye', OPENCV_FISHEYE, 'focal_length', 'long', '', PAIR),
    ('fisheye', OPENCV_FISHEYE, 'max_angle', 0, '', 'an angle above 0 rad'),
]


@pytest.mark.parametrize(('kind', 'parameters', 'name', 'value', 'at', 'expected'), BROKEN)
def test_broken_parameters_are_named(kind, parameters, name, value, at, expected):
    said = refused(kind, {**parameters, name: value})
    assert said.key == f'parameters.{name}{at}'
    assert str(said).startswith(f'parameters.{name}{at}: found ')
    assert str(said).endswith(f', expected {expected}')


def test_windshield_is_read():
    given = {**FRONT_WIDE, 'external_distortion_parameters': WINDSHIELD}
    glass = parsed('ftheta', given).windshield
    assert glass.reference_poly == 'FORWARD'
    assert glass.vertical_poly == tuple(WINDSHIELD['vertical_poly'])
    untyped = _without(WINDSHIELD, 'external_distortion_type')
    untyped['reference_poly'] = 'forward'
    given = {**FRONT_WIDE, 'external_distortion_parameters': untyped}
    assert parsed('ftheta', given).windshield == glass
    for kind, parameters in (('pinhole', PINHOLE), ('fisheye', OPENCV_FISHEYE)):
        glazed = {**parameters, 'external_distortion_parameters': WINDSHIELD}
        assert parsed(kind, glazed).windshield == glass


SORT = 'external_distortion_type'


@pytest.mark.parametrize(
    ('changed', 'value', 'at', 'words'),
    [
        (SORT, 'rain', '', 'found rain, expected bivariate'),
        (SORT, 7, '', 'found 7, expected bivariate'),
        (SORT, _nested(900), '', 'found a list of 1, expected bivariate'),
        ('reference_poly', REMOVED, '', 'found missing'),
        ('reference_poly', None, '', 'found null'),
        ('reference_poly', 'SIDEWAYS', '', 'found SIDEWAYS, expected FORWARD or BACKWARD'),
        ('horizontal_poly', [1, 2], '', 'expected'),
        ('vertical_poly', [], '', 'found 0 coefficients, expected a triangle of 1, 3, 6, '),
        ('vertical_poly_inverse', [1] * 7, '', 'found 7 '),
        ('horizontal_poly', [0, math.nan, 0], '[1]', 'found nan'),
        ('vertical_poly', [1, None, 2], '[1]', 'found null'),
    ],
)
def test_broken_glass_is_named(changed, value, at, words):
    glass = {key: of for key, of in {**WINDSHIELD, changed: value}.items() if of is not REMOVED}
    said = refused('ftheta', {**FRONT_WIDE, 'external_distortion_parameters': glass})
    assert said.key == f'parameters.external_distortion_parameters.{changed}{at}'
    assert words in str(said)
    said = refused('ftheta', {**FRONT_WIDE, 'external_distortion_parameters': 'tinted'})
    tinted = (
        "parameters.external_distortion_parameters: found 'tinted', expected null or an object"
    )
    assert str(said) == tinted


def test_numbers_of_numpy_are_taken():
    given = {'resolution': np.array([1920, 1080]), 'max_angle': np.float32(1.25)}
    model = parsed('ftheta', {**FRONT_WIDE, **given})
    assert model.resolution == (1920, 1080)
    assert (type(model.resolution[0]), model.max_angle) == (int, 1.25)


def test_what_was_found_is_said_in_the_words_of_json():
    for name, value, found in (
        ('max_angle', '1', "'1'"),
        ('max_angle', True, 'true'),
        ('max_angle', [1, 'x'], "[1, 'x']"),
        ('max_angle', {}, 'an empty object'),
        ('max_angle', {'a': 1}, 'an object of 1'),
        ('max_angle', list(range(9)), 'a list of 9'),
        ('max_angle', _nested(900), 'a list of 1'),
        # Of a list of another length it is said how many there are.
        ('resolution', [1920], '1 numbers'),
        ('angle_to_pixeldist_poly', [0.0] * 7, '7 coefficients'),
    ):
        assert refused('ftheta', {**REAR, name: value}).found == found
