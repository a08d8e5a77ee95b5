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
    random_rays,
    REAR,
    WINDSHIELD,
)

import numpy as np
from nurec_ros.scenario.cameras import (
    CameraModelError,
    FisheyeCamera,
    FthetaCamera,
    parse_camera_model,
    PinholeCamera,
)
from nurec_ros.scenario.cameras.base import shown
import pytest


def parsed(kind, parameters):
    """Return a model whose own parameters are asked for."""
    return parse_camera_model(kind, parameters)


def _without(parameters, *names):
    return {key: value for key, value in parameters.items() if key not in names}


def _nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ('spelling', 'parameters', 'cls', 'point'),
    [
        ('ftheta', FRONT_WIDE, FthetaCamera, (958.3, 751.6)),
        ('FTheta', FRONT_WIDE, FthetaCamera, (958.3, 751.6)),
        # OpenCV's principal points count from the image's corner in NuRec's files.
        ('opencv-pinhole', PINHOLE, PinholeCamera, (950.7, 547.4)),
        ('OpenCV_Pinhole', PINHOLE, PinholeCamera, (950.7, 547.4)),
        ('pinhole', PINHOLE, PinholeCamera, (950.7, 547.4)),
        ('opencv-fisheye', OPENCV_FISHEYE, FisheyeCamera, (643.5, 396.0)),
        ('opencv_fisheye', OPENCV_FISHEYE, FisheyeCamera, (643.5, 396.0)),
    ],
)
def test_type_strings(spelling, parameters, cls, point):
    model = parse_camera_model(spelling, parameters)
    assert type(model) is cls
    assert model.kind in ('ftheta', 'opencv-pinhole', 'opencv-fisheye')
    assert model.resolution == tuple(parameters['resolution'])
    assert model.principal_point == point
    assert model.nurec_principal_point == tuple(parameters['principal_point'])
    assert model.shutter_type == parameters['shutter_type']


@pytest.mark.parametrize(
    'spelling', ['kannala-brandt', '', 'omnidirectional', None, 3, ['ftheta']]
)
def test_unknown_types_are_named(spelling):
    with pytest.raises(CameraModelError) as caught:
        parse_camera_model(spelling, FRONT_WIDE)
    assert caught.value.key == 'type'
    assert 'ftheta, opencv-pinhole or opencv-fisheye' in str(caught.value)
    assert str(spelling or '') in str(caught.value)


@pytest.mark.parametrize('parameters', [None, [], 'ftheta', 7])
def test_parameters_must_be_an_object(parameters):
    with pytest.raises(CameraModelError, match=r'^parameters: found .*, expected an object'):
        parse_camera_model('ftheta', parameters)


def test_unknown_parameters_are_ignored_and_null_is_absent():
    more = {**FRONT_WIDE, 'colour': 'blue', 'linear_cde': None, 'shutter_type': None}
    model = parsed('ftheta', more)
    assert model.linear_cde == (1.0, 0.0, 0.0)
    assert model.shutter_type == 'GLOBAL'


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ([0, 0, 0], (1.0, 0.0, 0.0)),
        ([1, 0, 0], (1.0, 0.0, 0.0)),
        ([1.01, 0.02, -0.03], (1.01, 0.02, -0.03)),
        ([-0.5, 1.0, 0.5], (-0.5, 1.0, 0.5)),
        ({'c': 1.01, 'd': 0.02, 'e': -0.03}, (1.01, 0.02, -0.03)),
        ({'linear_c': 1.01, 'linear_d': 0.02, 'linear_e': -0.03}, (1.01, 0.02, -0.03)),
        ({'linear_c': 0.0, 'linear_d': 0.0, 'linear_e': 0.0}, (1.0, 0.0, 0.0)),
        ({}, (1.0, 0.0, 0.0)),
        (None, (1.0, 0.0, 0.0)),
    ],
)
def test_linear_cde(given, expected):
    assert parsed('ftheta', {**FRONT_WIDE, 'linear_cde': given}).linear_cde == expected


def test_reference_in_any_case_and_found_where_there_is_one_polynomial():
    lower = {**FRONT_WIDE, 'reference_poly': 'pixeldist-to-angle'}
    assert parsed('ftheta', lower).reference_poly == 'PIXELDIST_TO_ANGLE'
    only = _without(REAR, 'reference_poly')
    assert parsed('ftheta', only).reference_poly == 'ANGLE_TO_PIXELDIST'
    with pytest.raises(CameraModelError) as caught:
        parse_camera_model('ftheta', _without(FRONT_WIDE, 'reference_poly'))
    assert caught.value.key == 'parameters.reference_poly'


def test_short_names_of_pinholes():
    short = {
        'resolution': [1920, 1080],
        'shutter_type': 'GLOBAL',
        'fx': 1120.5,
        'fy': 1118.25,
        'cx': 951.2,
        'cy': 547.9,
        **{f'k{i + 1}': value for i, value in enumerate(PINHOLE['radial_coeffs'])},
        **{f'p{i + 1}': value for i, value in enumerate(PINHOLE['tangential_coeffs'])},
        **{f's{i + 1}': value for i, value in enumerate(PINHOLE['thin_prism_coeffs'])},
    }
    expected = PinholeCamera(**{**PINHOLE, 'principal_point': (950.7, 547.4)})
    assert parse_camera_model('pinhole', short) == expected
    words = {
        **_without(PINHOLE, 'radial_coeffs', 'tangential_coeffs', 'thin_prism_coeffs'),
        'radial': PINHOLE['radial_coeffs'],
        'tangential': PINHOLE['tangential_coeffs'],
        'thin_prism': PINHOLE['thin_prism_coeffs'],
    }
    assert parse_camera_model('opencv_pinhole', words) == expected
    bare = _without(PINHOLE, 'radial_coeffs', 'tangential_coeffs', 'thin_prism_coeffs')
    for name in ('dist_coeffs', 'distortion_coeffs', 'distortion'):
        opencv = {**bare, name: list(expected.distortion)}
        assert parse_camera_model('pinhole', opencv) == expected
    wire = {
        **_without(PINHOLE, 'focal_length', 'principal_point', 'resolution'),
        'focal_length_x': 1120.5,
        'focal_length_y': 1118.25,
        'principal_point_x': 951.2,
        'principal_point_y': 547.9,
        'resolution_w': 1920,
        'resolution_h': 1080,
    }
    assert parse_camera_model('pinhole', wire) == expected


def test_missing_and_short_coefficients_are_zero():
    bare = _without(PINHOLE, 'radial_coeffs', 'tangential_coeffs', 'thin_prism_coeffs')
    assert parsed('pinhole', bare).distortion == (0.0,) * 12
    three = parsed('pinhole', {**bare, 'radial_coeffs': [0.1, 0.2, 0.3]})
    assert three.radial_coeffs == (0.1, 0.2, 0.3, 0.0, 0.0, 0.0)
    five = parsed('pinhole', {**bare, 'dist_coeffs': [0.1, 0.2, 0.01, 0.02, 0.3]})
    assert five.radial_coeffs == (0.1, 0.2, 0.3, 0.0, 0.0, 0.0)
    assert five.tangential_coeffs == (0.01, 0.02)
    scalar = parsed('pinhole', {**bare, 'focal_length': 900})
    assert scalar.focal_length == (900.0, 900.0)
    short = parsed('pinhole', {**bare, 'focal_length': [0.5, 0.25]})
    assert short.focal_length == (0.5, 0.25)


def test_fisheye_coefficients():
    bare = _without(OPENCV_FISHEYE, 'radial_coeffs')
    expected = tuple(OPENCV_FISHEYE['radial_coeffs'])
    single = {**bare, **{f'k{i + 1}': value for i, value in enumerate(expected)}}
    assert parsed('fisheye', single).radial_coeffs == expected
    opencv = {**bare, 'distortion_coeffs': list(expected)}
    assert parsed('fisheye', opencv).radial_coeffs == expected
    padded = {**bare, 'radial_coeffs': [*expected, 0.0, 0.0]}
    assert parsed('fisheye', padded).radial_coeffs == expected
    with pytest.raises(CameraModelError) as caught:
        parse_camera_model('fisheye', {**bare, 'radial_coeffs': [*expected, 0.1]})
    assert str(caught.value) == 'parameters.radial_coeffs: found 5 numbers, expected at most 4'


@pytest.mark.parametrize(('kind', 'parameters'), [('ftheta', REAR), ('fisheye', OPENCV_FISHEYE)])
@pytest.mark.parametrize('moved', [(-4, -3), (-4, 3), (4, -3), (4, 3)])
def test_missing_max_angle_reaches_just_past_the_corners(kind, parameters, moved):
    # Each of the corners is the farthest once.
    centre = [0.5 * side + by for side, by in zip(parameters['resolution'], moved, strict=True)]
    parameters = {**parameters, 'principal_point': centre}
    wide = {**parameters, 'max_angle': 3.0}
    model = parsed(kind, _without(parameters, 'max_angle'))
    width, height = parameters['resolution']
    corners = [
        (-0.5, -0.5),
        (width - 0.5, -0.5),
        (-0.5, height - 0.5),
        (width - 0.5, height - 0.5),
    ]
    rays = parse_camera_model(kind, wide).unproject(corners)[0]
    farthest = np.arccos(rays[:, 2]).max()
    assert model.max_angle == pytest.approx(farthest + math.radians(0.1), abs=1e-9)


def test_missing_max_angle_is_where_a_lens_ends_within_the_image():
    # 3000 theta - 3000 theta^2 rises until 0.5 rad, 750 px off the axis.
    lens = {**_without(REAR, 'max_angle'), 'angle_to_pixeldist_poly': [0.0, 3000.0, -3000.0]}
    assert parsed('ftheta', lens).max_angle == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize('value', [0, 0.0, -1.3, 'wide', math.nan, math.inf, True, [1.3]])
@pytest.mark.parametrize(('kind', 'parameters'), [('ftheta', REAR), ('fisheye', OPENCV_FISHEYE)])
def test_max_angle_must_be_above_zero(kind, parameters, value):
    with pytest.raises(CameraModelError) as caught:
        parse_camera_model(kind, {**parameters, 'max_angle': value})
    assert caught.value.key == 'parameters.max_angle'


@pytest.mark.parametrize(
    ('resolution', 'point'),
    [
        ([1080, 1920], [958.0, 752.0]),
        ([1080, 1920], [946.0, 541.0]),
        ([800, 1280], [1000, 396]),
        # From the first row of pixels to the last.
        ([1080, 1920], [958.0, 0.0]),
        ([1080, 1920], [958.0, 1079.0]),
    ],
)
def test_swapped_resolutions_are_recognised(resolution, point):
    parameters = {**FRONT_WIDE, 'resolution': resolution, 'principal_point': point}
    with pytest.raises(CameraModelError, match=r'looks like \[height, width\]') as caught:
        parse_camera_model('ftheta', parameters)
    assert caught.value.key == 'parameters.resolution'


@pytest.mark.parametrize(
    ('resolution', 'point'),
    [
        ([1920, 1080], [958.0, 752.0]),
        ([1080, 1920], [541.0, 960.0]),
        ([1080, 1920], [541.0, 300.0]),
        ([1000, 1000], [500.0, 900.0]),
        ([1920, 1080], [958.0, 1300.0]),
        ([1920, 1080], [400.0, 500.0]),
        ([1080, 1920], [958.0, 1080.0]),
        # On the outer edge of the last pixel, where the other order would fit as well.
        ([1080, 1920], [1079.5, 960.0]),
        ([1, 1], [0.0, 0.0]),
        ([65535, 65535], [32767.0, 32767.0]),
    ],
)
def test_sound_resolutions_are_not_suspected(resolution, point):
    parameters = {**FRONT_WIDE, 'resolution': resolution, 'principal_point': point}
    assert parse_camera_model('ftheta', parameters).resolution == tuple(resolution)


def test_long_values_are_cut_off_in_sentences():
    assert shown(['x' * 76]) == f"['{'x' * 76}']"
    assert shown(['x' * 77]) == f"['{'x' * 77}…"


def test_the_key_that_says_height_first():
    parameters = {**_without(FRONT_WIDE, 'resolution'), 'resolution_hw': [1080, 1920]}
    assert parse_camera_model('ftheta', parameters).resolution == (1920, 1080)


PAIR, PIXELS = 'a list of 2 numbers', '[width, height] in whole pixels'
FINITE, ABOVE_0 = 'a finite number', 'two numbers above 0'
RISING = 'the reference polynomial, with a positive linear coefficient'
REFERENCE = 'PIXELDIST_TO_ANGLE or ANGLE_TO_PIXELDIST'
SHUTTER = (
    'one of ROLLING_TOP_TO_BOTTOM, ROLLING_LEFT_TO_RIGHT, ROLLING_BOTTOM_TO_TOP, '
    'ROLLING_RIGHT_TO_LEFT, GLOBAL'
)


@pytest.mark.parametrize(
    ('kind', 'parameters', 'change', 'key', 'expected'),
    [
        ('ftheta', FRONT_WIDE, {'resolution': [1920]}, 'resolution', PAIR),
        ('ftheta', FRONT_WIDE, {'resolution': [1920.5, 1080]}, 'resolution', PIXELS),
        ('ftheta', FRONT_WIDE, {'resolution': [1920, 0]}, 'resolution', PIXELS),
        ('ftheta', FRONT_WIDE, {'resolution': [65536, 1]}, 'resolution', PIXELS),
        (
            'ftheta',
            FRONT_WIDE,
            {'resolution': [10**12, 10**12]},
            'resolution[0]',
            'a number of at most 1e+09',
        ),
        ('ftheta', FRONT_WIDE, {'resolution': '1920x1080'}, 'resolution', PAIR),
        ('ftheta', FRONT_WIDE, {'resolution': ['1920', '1080']}, 'resolution[0]', FINITE),
        ('ftheta', FRONT_WIDE, {'resolution': None}, 'resolution', PAIR),
        ('ftheta', FRONT_WIDE, {'principal_point': [958.0, None]}, 'principal_point[1]', FINITE),
        (
            'ftheta',
            FRONT_WIDE,
            {'principal_point': [[958.0], 752.0]},
            'principal_point[0]',
            FINITE,
        ),
        ('ftheta', FRONT_WIDE, {'principal_point': None}, 'principal_point', PAIR),
        ('ftheta', FRONT_WIDE, {'principal_point': [10**400, 1]}, 'principal_point[0]', FINITE),
        ('ftheta', FRONT_WIDE, {'reference_poly': 3}, 'reference_poly', 'a name'),
        ('ftheta', FRONT_WIDE, {'reference_poly': 'UNKNOWN'}, 'reference_poly', REFERENCE),
        ('ftheta', FRONT_WIDE, {'pixeldist_to_angle_poly': []}, 'pixeldist_to_angle_poly', RISING),
        (
            'ftheta',
            FRONT_WIDE,
            {'pixeldist_to_angle_poly': {}},
            'pixeldist_to_angle_poly',
            'a list of numbers',
        ),
        (
            'ftheta',
            REAR,
            {'angle_to_pixeldist_poly': [0.0, -3.0]},
            'angle_to_pixeldist_poly',
            RISING,
        ),
        (
            'ftheta',
            REAR,
            {'angle_to_pixeldist_poly': [0.0] * 7},
            'angle_to_pixeldist_poly',
            'at most 6',
        ),
        ('ftheta', FRONT_WIDE, {'linear_cde': [1, 0]}, 'linear_cde', 'a list of 3 numbers'),
        (
            'ftheta',
            FRONT_WIDE,
            {'linear_cde': [0.5, 1.0, 0.5]},
            'linear_cde',
            'an invertible [[c, d], [e, 1]]',
        ),
        ('ftheta', FRONT_WIDE, {'principal_point': [1.0, math.inf]}, 'principal_point[1]', FINITE),
        ('ftheta', FRONT_WIDE, {'shutter_type': 5}, 'shutter_type', 'a name'),
        ('ftheta', FRONT_WIDE, {'shutter_type': 'ROLLING'}, 'shutter_type', SHUTTER),
        ('pinhole', PINHOLE, {'focal_length': None}, 'focal_length', PAIR),
        ('pinhole', PINHOLE, {'radial_coeffs': [0.1] * 7}, 'radial_coeffs', 'at most 6'),
        (
            'pinhole',
            PINHOLE,
            {'tangential_coeffs': [0.1, math.nan]},
            'tangential_coeffs[1]',
            FINITE,
        ),
        ('pinhole', PINHOLE, {'focal_length': [0.0, 1.0]}, 'focal_length', ABOVE_0),
        (
            'pinhole',
            PINHOLE,
            {'thin_prism_coeffs': [math.nan] * 4},
            'thin_prism_coeffs[0]',
            FINITE,
        ),
        ('fisheye', OPENCV_FISHEYE, {'focal_length': [0, 0]}, 'focal_length', ABOVE_0),
        ('fisheye', OPENCV_FISHEYE, {'focal_length': 'long'}, 'focal_length', PAIR),
        ('fisheye', OPENCV_FISHEYE, {'max_angle': 0}, 'max_angle', 'an angle above 0 rad'),
        (
            'ftheta',
            REAR,
            {'angle_to_pixeldist_poly': [9e8, 3.0]},
            'angle_to_pixeldist_poly[0]',
            '0: what is on the axis is seen at the principal point',
        ),
    ],
)
def test_broken_parameters_are_named(kind, parameters, change, key, expected):
    with pytest.raises(CameraModelError) as caught:
        parse_camera_model(kind, {**parameters, **change})
    assert caught.value.key == f'parameters.{key}'
    assert str(caught.value).startswith(f'parameters.{key}: found ')
    assert str(caught.value).endswith(f', expected {expected}')
    assert len(str(caught.value)) < 300
    assert '\n' not in str(caught.value)


def test_windshield_is_read():
    given = {**FRONT_WIDE, 'external_distortion_parameters': WINDSHIELD}
    glass = parse_camera_model('ftheta', given).windshield
    assert glass.reference_poly == 'FORWARD'
    assert glass.vertical_poly == tuple(WINDSHIELD['vertical_poly'])
    untyped = _without(WINDSHIELD, 'external_distortion_type')
    untyped['reference_poly'] = 'forward'
    given = {**FRONT_WIDE, 'external_distortion_parameters': untyped}
    assert parse_camera_model('ftheta', given).windshield == glass
    for kind, parameters in (('pinhole', PINHOLE), ('fisheye', OPENCV_FISHEYE)):
        glazed = {**parameters, 'external_distortion_parameters': WINDSHIELD}
        assert parse_camera_model(kind, glazed).windshield == glass


@pytest.mark.parametrize(
    ('glass', 'key', 'words'),
    [
        ('tinted', '', "found 'tinted'"),
        *(
            (
                {**WINDSHIELD, 'external_distortion_type': kind},
                '.external_distortion_type',
                f'found {found}, expected bivariate',
            )
            for kind, found in (('rain', 'rain'), (7, '7'), (_nested(900), 'a list of 1'))
        ),
        (_without(WINDSHIELD, 'reference_poly'), '.reference_poly', 'found missing'),
        ({**WINDSHIELD, 'reference_poly': None}, '.reference_poly', 'found null'),
        ({**WINDSHIELD, 'reference_poly': 'SIDEWAYS'}, '.reference_poly', 'found SIDEWAYS'),
        ({**WINDSHIELD, 'horizontal_poly': [1, 2]}, '.horizontal_poly', 'expected'),
        ({**WINDSHIELD, 'vertical_poly': []}, '.vertical_poly', 'found 0 coefficients'),
        ({**WINDSHIELD, 'vertical_poly_inverse': [1] * 7}, '.vertical_poly_inverse', 'found 7 '),
        ({**WINDSHIELD, 'horizontal_poly': [0, math.nan, 0]}, '.horizontal_poly[1]', 'found nan'),
        ({**WINDSHIELD, 'vertical_poly': [1, None, 2]}, '.vertical_poly[1]', 'found null'),
    ],
)
def test_broken_glass_is_named(glass, key, words):
    with pytest.raises(CameraModelError, match=words) as caught:
        parse_camera_model('ftheta', {**FRONT_WIDE, 'external_distortion_parameters': glass})
    assert caught.value.key == f'parameters.external_distortion_parameters{key}'


def test_numpy_values_are_taken():
    arrays = {
        key: np.array(value, dtype=np.float32) if isinstance(value, list) else value
        for key, value in FRONT_WIDE.items()
    }
    rays = random_rays(50, 1.2)
    found = parse_camera_model('ftheta', arrays).project(rays)[0]
    expected = parse_camera_model('ftheta', FRONT_WIDE).project(rays)[0]
    np.testing.assert_allclose(found, expected, atol=1e-2)


@pytest.mark.parametrize(
    ('value', 'found'),
    [
        ('1', "'1'"),
        (True, 'true'),
        ([1, 'x'], "[1, 'x']"),
        ({}, 'an empty object'),
        ({'a': 1}, 'an object of 1'),
        (list(range(9)), 'a list of 9'),
        (_nested(900), 'a list of 1'),
    ],
)
def test_what_was_found_is_said_in_the_words_of_json(value, found):
    with pytest.raises(CameraModelError) as caught:
        parse_camera_model('ftheta', {**FRONT_WIDE, 'max_angle': value})
    assert caught.value.found == found


def test_of_a_list_of_another_length_it_is_said_how_many_there_are():
    for change, found in (
        ({'resolution': [1920]}, '1 numbers'),
        ({'angle_to_pixeldist_poly': [0.0] * 7}, '7 coefficients'),
    ):
        with pytest.raises(CameraModelError) as caught:
            parse_camera_model('ftheta', {**REAR, **change})
        assert caught.value.found == found
