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
"""What is made of a model: the equidistant fit, judged by OpenCV's projection; ray maps."""

from concurrent.futures import ThreadPoolExecutor
import contextlib
from dataclasses import replace
import math
from test.scenario.cameras.lens_samples import (
    FISHEYE_200,
    FRONT_WIDE,
    FTHETAS,
    OPENCV_FISHEYE,
    PINHOLE,
    pixel_grid,
    REAR,
    SHEARED,
    SHEARED_REAR,
    WINDSHIELD,
)
from test.support.lenses import archive_cameras, ftheta_unproject

import cv2
import numpy as np
from nurec_ros.scenario.cameras import FisheyeCamera, parse_camera_model, PinholeCamera
import pytest


def _opencv(fitted, rays):
    (fx, fy), (u0, v0) = fitted.focal_length, fitted.principal_point
    matrix = np.array([[fx, 0.0, u0], [0.0, fy, v0], [0.0, 0.0, 1.0]])
    zero, bent = np.zeros(3), np.array(fitted.radial_coeffs)
    return cv2.fisheye.projectPoints(rays[:, np.newaxis], zero, zero, matrix, bent)[0][:, 0]


def _errors(model, fitted):
    """Return the distances in pixels over the image, where OpenCV projects: below 90 degrees."""
    pixels = pixel_grid(model.resolution, 15)
    rays, valid = model.unproject(pixels)
    seen = valid & (rays[:, 2] > 0.01)
    return np.linalg.norm(_opencv(fitted, rays[seen]) - pixels[seen], axis=1)


@pytest.mark.parametrize('fixture', ['pittsburgh', 'miami'])
def test_data_files_fit_to_a_fraction_of_a_pixel(request, fixture):
    for name, entry in archive_cameras(request.getfixturevalue(fixture)).items():
        model = parse_camera_model('ftheta', entry['camera_model']['parameters'])
        fitted, residual = model.fit('equidistant')
        errors = _errors(model, fitted)
        assert residual.rms_px == pytest.approx(math.sqrt((errors**2).mean()), rel=0.2)
        assert residual.max_px == pytest.approx(errors.max(), rel=0.2)
        assert residual.rms_px < 0.05, name
        assert residual.max_px < 0.2, name
        assert fitted.resolution == model.resolution
        assert fitted.principal_point == model.principal_point
        assert fitted.shutter_type == model.shutter_type


@pytest.mark.parametrize('name', FTHETAS)
def test_residual_is_what_opencv_sees(name):
    model = parse_camera_model('ftheta', FTHETAS[name])
    fitted, residual = model.fit('equidistant')
    errors = _errors(model, fitted)
    assert errors.max() <= residual.max_px * 1.05 + 1e-6
    assert errors.max() >= residual.max_px * 0.5


def test_an_exactly_equidistant_lens_is_found_again():
    k = (0.03, -0.01, 0.004, -0.001)
    # theta (1 + k1 theta^2 + k2 theta^4) has six coefficients: an F-theta lens of its own.
    model = parse_camera_model(
        'ftheta',
        {
            **FISHEYE_200,
            'max_angle': 1.2,
            'angle_to_pixeldist_poly': [0.0, 500.0, 0.0, 500.0 * k[0], 0.0, 500.0 * k[1]],
        },
    )
    fitted, residual = model.fit('equidistant')
    assert fitted.focal_length == pytest.approx((500.0, 500.0), rel=1e-9)
    np.testing.assert_allclose(fitted.radial_coeffs, (*k[:2], 0.0, 0.0), atol=1e-7)
    assert residual.max_px < 1e-8


@pytest.mark.parametrize('parameters', [FRONT_WIDE, SHEARED_REAR], ids=['round', 'sheared'])
def test_no_better_parameters_nearby(parameters):
    """Least squares: a step of any parameter in either direction makes it worse."""
    model = parse_camera_model('ftheta', parameters)
    fitted, _ = model.fit('equidistant')
    pixels = pixel_grid(model.resolution, 10)
    rays, seen = model.unproject(pixels)
    pixels, rays = pixels[seen], rays[seen]

    def rms(focal, k):
        angle = np.arccos(rays[:, 2])
        bent = angle * (1 + sum(c * angle ** (2 * i + 2) for i, c in enumerate(k)))
        side = np.hypot(rays[:, 0], rays[:, 1])
        found = rays[:, :2] * (bent / side)[:, np.newaxis] * focal + model.principal_point
        return math.sqrt(((found - pixels) ** 2).sum(axis=1).mean())

    focal, k = np.array(fitted.focal_length), np.array(fitted.radial_coeffs)
    best = rms(focal, k)
    for sign in (-1, 1):
        for side in ((1, 0), (0, 1), (1, 1)):
            assert rms(focal * (1 + sign * 1e-3 * np.array(side)), k) > best
        for i in range(4):
            step = np.zeros(4)
            step[i] = sign * 3e-3
            assert rms(focal, k + step) > best


def test_a_fisheye_fits_itself():
    model = FisheyeCamera(**OPENCV_FISHEYE)
    fitted, residual = model.fit('equidistant')
    assert fitted == model
    assert residual.max_px == 0.0


def test_round_lenses_get_one_focal_length_others_two():
    fitted, _ = parse_camera_model('ftheta', FRONT_WIDE).fit('equidistant')
    assert fitted.focal_length[0] == fitted.focal_length[1]
    for sheared in (SHEARED, SHEARED_REAR):
        fitted, _ = parse_camera_model('ftheta', sheared).fit('equidistant')
        fx, fy = fitted.focal_length
        assert fx / fy == pytest.approx(sheared['linear_cde'][0], abs=2e-3)


def test_pinholes_and_glass_are_fitted():
    glazed = {**FRONT_WIDE, 'external_distortion_parameters': WINDSHIELD}
    for model in (PinholeCamera(**PINHOLE), parse_camera_model('ftheta', glazed)):
        fitted, residual = model.fit('equidistant')
        assert fitted.windshield is None
        assert residual.max_px == pytest.approx(_errors(model, fitted).max(), rel=0.1)
    plain = PinholeCamera(
        resolution=(640, 480), principal_point=(319.5, 239.5), focal_length=(320.0, 320.0)
    )
    fitted, residual = plain.fit('equidistant')
    assert residual.max_px < 0.1
    assert fitted.max_angle == pytest.approx(math.atan(math.hypot(320, 240) / 320), abs=1e-3)
    # To the outer corners of the image, whichever is the farthest.
    for u, v in ((300.0, 200.0), (340.0, 280.0)):
        fitted, _ = replace(plain, principal_point=(u, v)).fit('equidistant')
        farthest = math.hypot(max(u + 0.5, 639.5 - u), max(v + 0.5, 479.5 - v))
        assert fitted.max_angle == pytest.approx(math.atan(farthest / 320), abs=1e-12)


def test_the_fit_never_folds_inside_the_image():
    for parameters in FTHETAS.values():
        fitted, _ = parse_camera_model('ftheta', parameters).fit('equidistant')
        assert fitted.view_angle == pytest.approx(fitted.max_angle)
        pixels = pixel_grid(fitted.resolution, 50)
        rays, valid = fitted.unproject(pixels)
        np.testing.assert_allclose(fitted.project(rays[valid])[0], pixels[valid], atol=1e-6)


def test_only_equidistant_is_offered():
    with pytest.raises(ValueError, match='plumb_bob'):
        FisheyeCamera(**OPENCV_FISHEYE).fit('plumb_bob')


def test_a_model_that_sees_nothing_of_its_image_is_refused():
    parameters = {**FRONT_WIDE, 'principal_point': [9000.0, 9000.0]}
    model = parse_camera_model('ftheta', parameters)
    with pytest.raises(ValueError, match='sees nothing'):
        model.fit('equidistant')


def test_a_model_that_sees_five_of_the_samples_can_be_fitted_and_says_so():
    # Every tenth pixel is a sample; to the fifth nearest it is hypot(4, 13), to the sixth more.
    lens = {**REAR, 'principal_point': [963.5, 542.5], 'angle_to_pixeldist_poly': [0.0, 1000.0]}
    for reach_px, seen in ((13.0, False), (14.0, True)):
        model = parse_camera_model('ftheta', {**lens, 'max_angle': reach_px / 1000.0})
        assert model.sees_its_image() is seen
        with contextlib.nullcontext() if seen else pytest.raises(ValueError, match='nothing'):
            model.fit('equidistant')


def test_a_mirror_image_is_like_no_lens():
    model = parse_camera_model('ftheta', {**FRONT_WIDE, 'linear_cde': [-1.0, 0.0, 0.0]})
    with pytest.raises(ValueError, match='no equidistant lens sees the image'):
        model.fit('equidistant')


def test_a_fit_is_made_once_for_equal_models():
    first = parse_camera_model('ftheta', FRONT_WIDE).fit('equidistant')
    assert parse_camera_model('ftheta', FRONT_WIDE).fit('equidistant') is first


MODELS = {
    'ftheta': parse_camera_model('ftheta', FRONT_WIDE),
    'pinhole': PinholeCamera(**PINHOLE),
    'fisheye': FisheyeCamera(**OPENCV_FISHEYE),
}


@pytest.mark.parametrize('size', [(1920, 1080), (480, 270), (479, 272), (20_000, 2)])
def test_pixels_of_any_size_look_along_their_native_ray(size):
    width, height = size
    rays, valid = MODELS['ftheta'].ray_map(width, height)
    assert rays.shape == (height, width, 3)
    assert rays.dtype == np.float32
    assert valid.shape == (height, width)
    assert valid.all()
    for column, row in ((0, 0), (width - 1, 0), (width // 3, height // 2), (7, height - 1)):
        u = (column + 0.5) * 1920 / width - 0.5
        v = (row + 0.5) * 1080 / height - 0.5
        expected = ftheta_unproject(FRONT_WIDE, u, v)
        np.testing.assert_allclose(rays[row, column], expected, atol=1e-7)


@pytest.mark.parametrize('name', MODELS)
def test_every_model_has_one(name):
    model = MODELS[name]
    rays, valid = model.ray_map(160, 90)
    resized = model.resized(160, 90)
    u, v = np.meshgrid(np.arange(160.0), np.arange(90.0))
    pixels = np.stack([u.ravel(), v.ravel()], axis=1)
    found, good = resized.unproject(pixels)
    np.testing.assert_array_equal(valid.ravel(), good)
    np.testing.assert_allclose(rays.reshape(-1, 3)[good], found[good], atol=1e-6)


def test_outside_the_image_circle_is_zero_and_not_valid():
    model = parse_camera_model('ftheta', FISHEYE_200)
    rays, valid = model.ray_map(192, 154)
    assert not valid[0, 0]
    assert valid[77, 96]
    assert not rays[~valid].any()
    np.testing.assert_allclose(np.linalg.norm(rays[valid], axis=1), 1.0, atol=1e-6)


def test_equal_models_share_one_read_only_map():
    first = parse_camera_model('ftheta', FRONT_WIDE).ray_map(64, 36)
    second = parse_camera_model('ftheta', FRONT_WIDE).ray_map(64, 36)
    assert first.rays is second.rays
    with pytest.raises(ValueError, match='read-only'):
        first.rays[0, 0] = 0.0
    other = parse_camera_model('ftheta', {**FRONT_WIDE, 'max_angle': 1.3}).ray_map(64, 36)
    assert other.rays is not first.rays
    mine = parse_camera_model('ftheta', FRONT_WIDE).ray_map(64, 36, keep=False)
    assert mine.rays is not first.rays
    np.testing.assert_array_equal(mine.rays, first.rays)


def test_many_threads_get_the_same_rays():
    def rays_of(i):
        width = 100 + i % 4
        return width, MODELS['ftheta'].ray_map(width, 50).rays

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(rays_of, range(64)))
    for width, rays in results:
        np.testing.assert_array_equal(
            rays, MODELS['ftheta'].resized(width, 50).ray_map(width, 50)[0]
        )
