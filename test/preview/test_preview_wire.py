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
"""Cameras of the wire, read and listed field by field; pictures, read back by OpenCV."""

from importlib.util import find_spec
from test.preview.preview_client import decoded, FRONT_FTHETA, gradient
from typing import Any

import numpy as np
from nurec_ros.preview import wire
from nurec_ros.preview.wire import camera_model, check_format, encode, RefusalError, spec_of
from nurec_ros.rendering.protos import sensorsim_pb2 as sim
from nurec_ros.scenario.cameras import FisheyeCamera, FthetaCamera, PinholeCamera, Windshield
import pytest

PINHOLE: dict[str, Any] = {
    'principal_point_x': 955.0,
    'principal_point_y': 541.0,
    'focal_length_x': 1500.0,
    'focal_length_y': 1495.0,
    'radial_coeffs': [-0.1, 0.02, -0.003, 0.01, 0.002, 0.0005],
    'tangential_coeffs': [0.001, -0.002],
    'thin_prism_coeffs': [0.0002, -0.0001, 0.0003, 0.0001],
}
FISHEYE: dict[str, Any] = {
    'principal_point_x': 960.0,
    'principal_point_y': 540.0,
    'focal_length_x': 520.0,
    'focal_length_y': 521.0,
    'radial_coeffs': [0.02, -0.01, 0.003, -0.0005],
    'max_angle': 1.7,
}


def spec(**camera):
    """Return a 1920x1080 CameraSpec."""
    return sim.CameraSpec(
        logical_id='camera',
        resolution_w=1920,
        resolution_h=1080,
        **{'shutter_type': sim.ROLLING_TOP_TO_BOTTOM, **camera},
    )


def ftheta_spec(**changes):
    return spec(ftheta_param=sim.FthetaCameraParam(**{**FRONT_FTHETA, **changes}))


def pinhole_spec(**changes):
    return spec(opencv_pinhole_param=sim.OpenCVPinholeCameraParam(**{**PINHOLE, **changes}))


def fisheye_spec(**changes):
    return spec(opencv_fisheye_param=sim.OpenCVFisheyeCameraParam(**{**FISHEYE, **changes}))


def windshield_spec(**polynomials):
    message = ftheta_spec()
    message.bivariate_windshield_model_param.CopyFrom(
        sim.BivariateWindshieldModelParameters(**polynomials)
    )
    return message


GLASS = {
    'horizontal_poly': (0.0, 1.0, 0.0),
    'vertical_poly': (0.0, 0.0, 1.0),
    'horizontal_poly_inverse': (0.0, 1.01, 0.0),
    'vertical_poly_inverse': (0.0, 0.0, 1.02),
}
FTHETA: dict[str, Any] = {
    'resolution': (1920, 1080),
    'principal_point': (958.0, 752.0),
    'reference_poly': 'ANGLE_TO_PIXELDIST',
    'angle_to_pixeldist_poly': tuple(FRONT_FTHETA['angle_to_pixeldist_poly']),
    'pixeldist_to_angle_poly': tuple(FRONT_FTHETA['pixeldist_to_angle_poly']),
    'max_angle': 1.35,
}
# How the models see is scenario/cameras' matter.
SAME = {
    'ftheta': (ftheta_spec(), FthetaCamera(**FTHETA)),
    'ftheta by its other polynomial, sheared': (
        ftheta_spec(
            reference_poly=sim.FthetaCameraParam.PIXELDIST_TO_ANGLE,
            linear_cde=sim.LinearCde(linear_c=1.01, linear_d=0.002, linear_e=-0.003),
        ),
        FthetaCamera(
            **{**FTHETA, 'reference_poly': 'PIXELDIST_TO_ANGLE'}, linear_cde=(1.01, 0.002, -0.003)
        ),
    ),
    'windshield': (
        windshield_spec(reference_poly=sim.BivariateWindshieldModelParameters.BACKWARD, **GLASS),
        FthetaCamera(**FTHETA, windshield=Windshield(reference_poly='BACKWARD', **GLASS)),
    ),
    # OpenCV's points count from the corner of the first pixel.
    'pinhole': (
        pinhole_spec(),
        PinholeCamera(
            resolution=(1920, 1080),
            principal_point=(954.5, 540.5),
            focal_length=(1500.0, 1495.0),
            **{name: tuple(value) for name, value in PINHOLE.items() if 'coeffs' in name},
        ),
    ),
    'fisheye': (
        fisheye_spec(),
        FisheyeCamera(
            resolution=(1920, 1080),
            principal_point=(959.5, 539.5),
            focal_length=(520.0, 521.0),
            radial_coeffs=tuple(FISHEYE['radial_coeffs']),
            max_angle=1.7,
        ),
    ),
}


@pytest.mark.parametrize('name', SAME)
def test_a_camera_is_read_and_listed_as_it_was_sent(name):
    message, model = SAME[name]
    assert camera_model(message) == model
    assert camera_model(message) is camera_model(message)
    assert spec_of('camera', model) == message


@pytest.mark.parametrize(
    ('number', 'name'),
    [(0, 'GLOBAL'), (1, 'ROLLING_TOP_TO_BOTTOM'), (4, 'ROLLING_RIGHT_TO_LEFT'), (5, 'GLOBAL')],
)
def test_the_shutter_type_is_kept(number, name):
    message = ftheta_spec()
    message.shutter_type = number
    assert camera_model(message).shutter_type == name


@pytest.mark.parametrize(
    ('message', 'code', 'words'),
    [
        (spec(), 'INVALID_ARGUMENT', 'none of ftheta_param'),
        (sim.CameraSpec(ftheta_param=ftheta_spec().ftheta_param), 'INVALID_ARGUMENT', '0x0'),
        (spec(opencv_pinhole_param={}), 'UNKNOWN', 'radial_coeffs has 0 coefficients, expected 6'),
        (pinhole_spec(radial_coeffs=[0.0] * 3), 'UNKNOWN', 'has 3 coefficients, expected 6'),
        (pinhole_spec(tangential_coeffs=[]), 'UNKNOWN', 'tangential_coeffs has 0 .* 2'),
        (pinhole_spec(thin_prism_coeffs=[0.0] * 5), 'UNKNOWN', 'thin_prism_coeffs has 5 .* 4'),
        (pinhole_spec(focal_length_x=0.0), 'UNKNOWN', 'focal_length'),
        (pinhole_spec(focal_length_y=float('nan')), 'UNKNOWN', 'focal_length'),
        (fisheye_spec(radial_coeffs=[0.0] * 6), 'UNKNOWN', 'has 6 coefficients, expected 4'),
        (fisheye_spec(max_angle=0.0), 'UNKNOWN', 'max_angle'),
        (ftheta_spec(max_angle=0.0), 'UNKNOWN', 'max_angle'),
        (ftheta_spec(max_angle=-1.0), 'UNKNOWN', 'max_angle'),
        (ftheta_spec(angle_to_pixeldist_poly=[0.0] * 7), 'UNKNOWN', 'at most 6'),
        (ftheta_spec(angle_to_pixeldist_poly=[]), 'UNKNOWN', 'reference polynomial'),
        (ftheta_spec(reference_poly=0), 'UNKNOWN', 'reference_poly'),
        (ftheta_spec(principal_point_x=float('inf')), 'UNKNOWN', 'principal_point'),
        (windshield_spec(), 'UNKNOWN', 'horizontal_poly'),
        (windshield_spec(horizontal_poly=[0.0] * 4), 'UNKNOWN', '4 coefficients'),
    ],
)  # fmt: skip
def test_what_servers_assert_is_refused(message, code, words):
    # A refusal is not remembered as an answer.
    for _ in range(2):
        with pytest.raises(RefusalError, match=words) as caught:
            camera_model(message)
        assert caught.value.code.name == code
    if code == 'UNKNOWN':
        assert caught.value.text.startswith('Exception calling application: AssertionError: ')


def test_a_server_of_2025_sees_and_lists_an_empty_pinhole():
    with pytest.raises(RefusalError, match='has 0 coefficients, expected 6'):
        camera_model(pinhole_spec(), pinhole_known=False)
    message = spec_of('camera', SAME['pinhole'][1], pinhole_known=False)
    assert message.WhichOneof('camera_param') == 'opencv_pinhole_param'
    assert not message.opencv_pinhole_param.ListFields()


# --- pictures -----------------------------------------------------------------------------------


@pytest.mark.parametrize('fast', [True, False])
@pytest.mark.parametrize('size', [(33, 7), (1, 1)])
def test_jpeg_is_close_and_its_colours_are_not_swapped(size, fast, monkeypatch):
    if fast and not find_spec('simplejpeg'):
        pytest.skip('simplejpeg is not installed')
    if not fast:
        monkeypatch.setattr(wire, 'simplejpeg', None)
    picture = gradient(*size)[:, ::-1]  # not contiguous, besides
    data = encode(picture, sim.JPEG, 95.0)
    assert data.startswith(b'\xff\xd8\xff')
    assert np.abs(decoded(data).astype(int) - picture).mean() < 4.0


def test_a_lower_quality_gives_fewer_bytes_and_is_cast_to_int():
    noise = np.random.default_rng(1).integers(0, 255, (90, 160, 3), np.uint8)
    sizes = {}
    for quality in (1.0, 1.9, 50.0, 95.0, 100.0, 100.9):
        check_format(sim.JPEG, quality)
        sizes[quality] = len(encode(noise, sim.JPEG, quality))
    assert list(sizes.values()) == sorted(sizes.values())
    assert sizes[1.9] == sizes[1.0] < sizes[100.0] / 4
    assert sizes[100.9] == sizes[100.0]


def test_a_jpeg_quality_that_encoders_choke_on_fails_as_there():
    for quality in (0.0, 0.95, -1.0, 101.0, 1e9, float('nan'), float('inf')):
        with pytest.raises(RefusalError, match='nvJPEG') as caught:
            check_format(sim.JPEG, quality)
        assert caught.value.code.name == 'UNKNOWN'
        check_format(sim.PNG, quality)
        check_format(sim.RGB_UINT8_PLANAR, quality)
