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
"""camera_info of every model, at every size, against OpenCV and the F-theta formula."""

import math
from test.scenario.cameras.nvidia_lenses import nvidia_pixels, RAYS, SIZED
from test.support.lenses import ftheta_project
from typing import Any

import cv2
import numpy as np
from nurec_ros.ros.sensor_topics import calibration, camera_info
from nurec_ros.scenario.cameras import FisheyeCamera, parse_camera_model, PinholeCamera
import pytest

pytestmark = pytest.mark.ros

SIZES = [(1920, 1080), (480, 270), (960, 540), (3840, 2160), (480, 300), (19, 11)]

FTHETA = {
    'resolution': [1920, 1080],
    'shutter_type': 'ROLLING_TOP_TO_BOTTOM',
    'external_distortion_parameters': None,
    'principal_point': [958.0, 752.0],
    'reference_poly': 'ANGLE_TO_PIXELDIST',
    'pixeldist_to_angle_poly': [0.0, 1.0565e-3, 3.37e-8, -9.5e-11, 1.65e-13, -6.9e-17],
    'angle_to_pixeldist_poly': [0.0, 945.1, -14.9, 35.6, -77.3, 32.0],
    'max_angle': 1.35,
    'linear_cde': [1.0, 0.0, 0.0],
}

WINDSHIELD = {
    'reference_poly': 'FORWARD',
    'horizontal_poly': [0.0, 1.0, 0.001, 0.0, 0.0, 0.0],
    'vertical_poly': [0.0, 0.0, 0.0, 1.0, 0.0, 0.001],
    'horizontal_poly_inverse': [0.0, 1.0, -0.001, 0.0, 0.0, 0.0],
    'vertical_poly_inverse': [0.0, 0.0, 0.0, 1.0, 0.0, -0.001],
}


def pinhole(**changes: Any) -> PinholeCamera:
    values = {
        'resolution': (1920, 1080),
        'principal_point': (950.0, 560.0),
        'focal_length': (1400.0, 1390.0),
        'radial_coeffs': (-0.3, 0.08, -0.01, 0.0, 0.0, 0.0),
        'tangential_coeffs': (1e-3, -5e-4),
        'thin_prism_coeffs': (0.0, 0.0, 0.0, 0.0),
    }
    return PinholeCamera(**(values | changes))


def fisheye(**changes: Any) -> FisheyeCamera:
    values = {
        'resolution': (1920, 1080),
        'principal_point': (955.0, 535.0),
        'focal_length': (600.0, 601.0),
        'radial_coeffs': (0.02, -0.005, 0.001, -0.0002),
        'max_angle': 1.6,
    }
    return FisheyeCamera(**(values | changes))


def points(widest: float, count: int = 300) -> np.ndarray:
    rng = np.random.default_rng(5)
    theta = widest * np.sqrt(rng.random(count))
    phi = 2 * math.pi * rng.random(count)
    rays = np.stack(
        [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=1
    )
    return rays * rng.uniform(2, 50, (count, 1))


def seen_by(message: Any, points: np.ndarray) -> np.ndarray:
    """Project as a consumer of the message does, with OpenCV."""
    K, D, zero = np.array(message.k).reshape(3, 3), np.array(message.d), np.zeros(3)
    if message.distortion_model == 'equidistant':
        uv, _ = cv2.fisheye.projectPoints(points[:, None], zero, zero, K, D)
    else:
        uv, _ = cv2.projectPoints(points[:, None], zero, zero, K, D)
    return uv[:, 0]


def at_size(uv: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Where a native pixel lies in an image of another size: their edges, at -0.5, agree."""
    return (uv + 0.5) * np.array(size) / (1920, 1080) - 0.5


def message_of(model: Any, size: tuple[int, int]) -> Any:
    return camera_info(calibration(model), *size, 'front_optical_frame')


def check_common(message: Any, size: tuple[int, int]) -> None:
    assert (message.width, message.height) == size
    assert message.header.frame_id == 'front_optical_frame'
    assert list(message.r) == np.eye(3).ravel().tolist()
    P = np.array(message.p).reshape(3, 4)
    np.testing.assert_array_equal(P[:, :3].ravel(), message.k)
    np.testing.assert_array_equal(P[:, 3], 0.0)
    assert message.k[0] > 0
    assert (message.binning_x, message.binning_y) == (0, 0)
    assert message.roi.width == 0


@pytest.mark.parametrize('size', SIZES)
def test_pinhole_is_plumb_bob_where_five_terms_do(size: tuple[int, int]):
    model = pinhole()
    message = message_of(model, size)
    check_common(message, size)
    assert message.distortion_model == 'plumb_bob'
    assert list(message.d) == [-0.3, 0.08, 1e-3, -5e-4, -0.01]
    X = points(0.5)
    K = np.array([[1400.0, 0, 950], [0, 1390, 560], [0, 0, 1]])
    D = np.array([-0.3, 0.08, 1e-3, -5e-4, -0.01])
    native, _ = cv2.projectPoints(X[:, None], np.zeros(3), np.zeros(3), K, D)
    np.testing.assert_allclose(seen_by(message, X), at_size(native[:, 0], size), atol=1e-6)


@pytest.mark.parametrize('size', SIZES)
def test_pinhole_is_rational_polynomial_where_it_needs_eight(size: tuple[int, int]):
    model = pinhole(radial_coeffs=(0.4, -0.1, 0.01, 0.7, -0.05, 0.02))
    message = message_of(model, size)
    check_common(message, size)
    assert message.distortion_model == 'rational_polynomial'
    assert list(message.d) == [0.4, -0.1, 1e-3, -5e-4, 0.01, 0.7, -0.05, 0.02]
    X = points(0.5)
    native, valid = model.project(X)
    assert valid.all()
    np.testing.assert_allclose(seen_by(message, X), at_size(native, size), atol=1e-6)


def test_an_undistorted_pinhole_view_is_exact_for_who_reads_p_alone():
    model = pinhole(radial_coeffs=(0.0,) * 6, tangential_coeffs=(0.0, 0.0))
    message = message_of(model, (640, 360))
    assert message.distortion_model == 'plumb_bob'
    assert list(message.d) == [0.0] * 5
    X = points(0.6)
    homogeneous = np.array(message.p).reshape(3, 4) @ np.c_[X, np.ones(len(X))].T
    uv = (homogeneous[:2] / homogeneous[2]).T
    truth = np.c_[1400 * X[:, 0] / X[:, 2] + 950, 1390 * X[:, 1] / X[:, 2] + 560]
    np.testing.assert_allclose(uv, at_size(truth, (640, 360)), atol=1e-9)


def test_what_the_rational_model_cannot_say_is_noted():
    model = pinhole(thin_prism_coeffs=(1e-3, 0.0, 0.0, 0.0))
    (note,) = calibration(model).notes
    assert 'thin prism' in note
    assert calibration(pinhole()).notes == ()


@pytest.mark.parametrize('size', SIZES)
def test_fisheye_is_equidistant(size: tuple[int, int]):
    message = message_of(fisheye(), size)
    check_common(message, size)
    assert message.distortion_model == 'equidistant'
    assert list(message.d) == [0.02, -0.005, 0.001, -0.0002]
    X = points(1.4)
    K = np.array([[600.0, 0, 955], [0, 601, 535], [0, 0, 1]])
    D = np.array([0.02, -0.005, 0.001, -0.0002])
    native, _ = cv2.fisheye.projectPoints(X[:, None], np.zeros(3), np.zeros(3), K, D)
    np.testing.assert_allclose(seen_by(message, X), at_size(native[:, 0], size), atol=1e-6)
    assert calibration(fisheye()).residual is None


@pytest.mark.parametrize('size', SIZES)
def test_ftheta_is_an_equidistant_fit_within_its_residual(size: tuple[int, int]):
    model = parse_camera_model('ftheta', FTHETA)
    described = calibration(model)
    message = camera_info(described, *size, 'front_optical_frame')
    check_common(message, size)
    assert message.distortion_model == 'equidistant'
    assert len(message.d) == 4
    assert 0.0 < described.residual.rms_px <= described.residual.max_px < 6.0
    X = points(1.2, count=1000)
    truth = np.array([ftheta_project(FTHETA, point) for point in X])
    inside = (np.abs(truth - (959.5, 539.5)) <= (960, 540)).all(axis=1)
    assert inside.sum() > 200
    error = seen_by(message, X[inside]) - at_size(truth[inside], size)
    native_error = np.linalg.norm(error * (1920, 1080) / np.array(size), axis=1)
    # The residual is taken on a grid, these points lie between: a little more is possible.
    assert native_error.max() < described.residual.max_px * 1.02 + 1e-6


def test_a_windshield_before_a_fisheye_is_fitted_and_before_a_pinhole_noted():
    model = parse_camera_model('ftheta', FTHETA | {'external_distortion_parameters': WINDSHIELD})
    behind = fisheye(windshield=model.windshield)
    described = calibration(behind)
    assert described.distortion_model == 'equidistant'
    assert described.residual.max_px > 0
    (note,) = calibration(pinhole(windshield=model.windshield)).notes
    assert 'windshield' in note


def test_a_model_that_cannot_be_fitted_says_uncalibrated():
    class Blind:
        kind = 'ftheta'
        windshield = None
        resolution = (640, 480)

        def fit(self, name: str) -> Any:
            raise ValueError('the camera model sees nothing of its own image')

    described = calibration(Blind())
    message = camera_info(described, 320, 240, 'front_optical_frame')
    assert message.k[0] == 0.0
    assert message.distortion_model == ''
    assert 'sees nothing' in described.notes[0]


def test_each_axis_scales_by_itself_about_the_images_edge():
    message = message_of(pinhole(), (960, 270))
    fx, _, cx, _, fy, cy, *_ = message.k
    assert (fx, fy) == (700.0, 347.5)
    assert (cx, cy) == (950.5 / 2 - 0.5, 560.5 / 4 - 0.5)


@pytest.mark.parametrize(
    ('name', 'kind', 'parameters', 'size'), [row for row in SIZED if 'windshield' not in row[0]]
)
def test_an_overlay_is_where_nvidias_library_draws_it(name, kind, parameters, size):
    described = calibration(parse_camera_model(kind, parameters))
    message = camera_info(described, *size, frame='camera')
    matrix, d = np.array(message.k).reshape(3, 3), np.array(message.d)
    if message.distortion_model == 'equidistant':
        pixels, _ = cv2.fisheye.projectPoints(RAYS[:, None], np.zeros(3), np.zeros(3), matrix, d)
    else:
        pixels, _ = cv2.projectPoints(RAYS, np.zeros(3), np.zeros(3), matrix, d)
    off = np.linalg.norm(pixels[:, 0] - nvidia_pixels(name, size), axis=1)
    # The axis is where it is; elsewhere a fit is off by its residual, and ROS has no thin prism,
    # of 0.0011 s at most and s = 0.13 in these rays.
    assert off[0] < 1e-3
    residual = described.residual.max_px if described.residual else 0.0
    prism = 0.0011 * 0.13 * matrix[0, 0] if parameters.get('thin_prism_coeffs') else 0.0
    assert off.max() < residual + prism + 1e-3
