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
"""OpenCV's models and fits beside OpenCV, all models beside NVIDIA's library; ray maps."""

from dataclasses import replace
import math
from test.scenario.cameras.lens_samples import (
    FISHEYE_200,
    FRONT_WIDE,
    FTHETAS,
    nvidia_pixels,
    OPENCV_FISHEYE,
    PINHOLE,
    pixel_grid,
    random_rays,
    RAYS,
    REAR,
    SHEARED,
    SHEARED_REAR,
    SIZED,
    WINDSHIELD,
)
from test.support.lenses import archive_cameras, ftheta_unproject

import cv2
import numpy as np
from nurec_ros.scenario.cameras import FisheyeCamera, parse_camera_model, PinholeCamera
from nurec_ros.scenario.cameras.opencv import sees_its_image
import pytest


def _model(parameters, **changes):
    return parse_camera_model('ftheta', {**parameters, **changes})


MODELS = {
    'ftheta': _model(FRONT_WIDE),
    'sheared': _model(SHEARED_REAR),
    'pinhole': PinholeCamera(**PINHOLE),
    'fisheye': FisheyeCamera(**OPENCV_FISHEYE),
}


def _opencv(model, points):
    """Return where OpenCV sees the points; the order of its coefficients is told by hand."""
    (fx, fy), (u0, v0) = model.focal_length, model.principal_point
    matrix = np.array([[fx, 0.0, u0], [0.0, fy, v0], [0.0, 0.0, 1.0]])
    zero, points = np.zeros(3), points[:, np.newaxis]
    if isinstance(model, FisheyeCamera):
        bent = np.array(model.radial_coeffs)
        return cv2.fisheye.projectPoints(points, zero, zero, matrix, bent)[0][:, 0]
    k, p, s = model.radial_coeffs, model.tangential_coeffs, model.thin_prism_coeffs
    twelve = np.array([k[0], k[1], p[0], p[1], k[2], k[3], k[4], k[5], *s])
    assert model.distortion == tuple(twelve)
    return cv2.projectPoints(points, zero, zero, matrix, twelve)[0][:, 0]


@pytest.mark.parametrize(
    ('name', 'widest', 'seen'), [('pinhole', 0.9, 1.0), ('fisheye', math.radians(88), 0.9)]
)
def test_they_are_opencvs_there_and_back(name, widest, seen):
    model = MODELS[name]
    points = random_rays(2000, widest) * 13.0
    uv, valid = model.project(points)
    assert valid.all()
    np.testing.assert_allclose(uv, _opencv(model, points), rtol=0, atol=1e-9)
    pixels = pixel_grid(model.resolution, 13)
    rays, valid = model.unproject(pixels)
    assert valid.mean() >= seen
    rays, pixels = rays[valid], pixels[valid]
    np.testing.assert_allclose(np.linalg.norm(rays, axis=1), 1.0, atol=1e-14)
    back, again = model.project(rays)
    assert again.all()
    assert np.abs(back - pixels).max() < 1e-8
    front = rays[:, 2] > 0.05  # OpenCV's fisheye ends at a right angle
    np.testing.assert_allclose(_opencv(model, rays[front]), pixels[front], atol=1e-8)


def test_pinhole_without_distortion_is_similar_triangles_and_nothing_is_behind_it():
    model = PinholeCamera(
        resolution=(640, 480), principal_point=(319.5, 239.5), focal_length=(500.0, 400.0)
    )
    uv, valid = model.project([(2.0, -1.0, 4.0), (0.0, 0.0, 1.0), (1e5, 0.0, 1.0)])
    assert valid.all()
    np.testing.assert_allclose(uv[:2], [(569.5, 139.5), (319.5, 239.5)], atol=1e-12)
    rays, valid = model.unproject(uv)
    assert valid.all()
    np.testing.assert_allclose(rays[0], np.array([2.0, -1.0, 4.0]) / math.sqrt(21), atol=1e-15)
    points = [(0, 0, -1), (1, 1, 0), (0, 0, 0), (math.nan, 0, 1), (0.1, 0.1, math.inf)]
    for either in (model, MODELS['pinhole']):
        assert not either.project(points)[1].any()
        assert not either.unproject([(math.nan, 1.0), (1.0, math.inf)])[1].any()
    assert model.distortion == (0.0,) * 12


def _square(cls=PinholeCamera, **distortion):
    return cls(
        resolution=(1000, 1000),
        principal_point=(500.0, 500.0),
        focal_length=(400.0, 400.0),
        **distortion,
    )


def test_barrel_distortion_that_folds_ends_the_view():
    # r (1 - 0.2 r^2) rises until r = sqrt(5 / 3) = 1.291, where it is 0.8607.
    model = _square(radial_coeffs=(-0.2, 0.0, 0.0, 0.0, 0.0, 0.0))
    points = [(1.28, 0, 1), (1.30, 0, 1), (2.1, 0, 1), (0, -1.28, 1), (0, 1.3, 1), (1, 1, 1)]
    assert model.project(points)[1].tolist() == [True, False, False, True, False, False]
    # At 1.01 Newton finds a ray beyond the fold.
    pixels = [(500 + 400 * bent, 500.0) for bent in (0.86, 0.8611, 1.01)]
    pixels += [(0.0, 0.0), (500.0, 200.0)]
    rays, valid = model.unproject(pixels)
    assert valid.tolist() == [True, False, False, False, True]
    back = model.project(rays[valid])[0]
    np.testing.assert_allclose(back, np.array(pixels)[valid], atol=1e-6)
    none = [(500 + 400 * bent, 500.0) for bent in np.linspace(0.8611, 1.2, 50)]
    assert not model.unproject(none)[1].any()


def test_what_bends_without_a_fold_is_seen_to_the_side():
    # Of r (1 - 0.4 r^2 + 0.2 r^4) the slope, 1 - 1.2 s + s^2 of s = r^2, has no root.
    model = _square(radial_coeffs=(-0.4, 0.2, 0.0, 0.0, 0.0, 0.0))
    uv, valid = model.project([(2, 0, 1)])
    assert valid.all()
    np.testing.assert_allclose(uv, [(500 + 400 * 2 * (1 - 1.6 + 3.2), 500)])
    # Far out Newton must begin where the radial part is: it has twenty steps.
    model = _square(radial_coeffs=(0.0, 0.0, 0.5, 0.5, 0.0, 0.0))
    far = np.array([[10.0], [100.0]])
    bent = far * (1 + 0.5 * far**6) / (1 + 0.5 * far**2)
    rays, valid = model.unproject(500 + 400 * bent * (0.6, 0.8))
    assert valid.all()
    np.testing.assert_allclose(rays[:, :2] / rays[:, 2:], far * (0.6, 0.8), rtol=1e-9)


def test_distortion_that_folds_or_ends_ends_the_view():
    for distortion, points, seen in (
        # r (1 - r^2 + 0.2 r^4) falls from s = 0.38 to 2.62, and rises again.
        ({'radial_coeffs': (-1.0, 0.2, 0, 0, 0, 0)}, (0.6, 2, 2.2), [True, False, False]),
        # x + 3 p2 x^2 rises until x = 1 / 1.2.
        ({'tangential_coeffs': (0, -0.2)}, (0.83, 0.84, 2, -2), [True, False, False, True]),
        # The denominator goes through zero at 3, the other at 6: then it rises again.
        ({'radial_coeffs': (-1 / 36, 0, 0, -1 / 9, 0, 0)}, (2.7, 3.1, 15), [True, False, False]),
    ):
        model = _square(**distortion)
        for turn in (0.0, 0.25 * math.pi) if 'radial_coeffs' in distortion else (0.0,):
            towards = [(x * math.cos(turn), x * math.sin(turn), 1) for x in points]
            uv, valid = model.project(towards)
            assert valid.tolist() == seen
            assert model.unproject(uv[:1])[1].all()


def test_the_view_ends_where_opencv_turns_the_image_over():
    tangential, prism = (0.11, -0.07), (0.09, -0.02, -0.06, 0.04)
    model = _square(tangential_coeffs=tangential, thin_prism_coeffs=prism)
    x, y = np.meshgrid(*[np.linspace(-2.5, 2.5, 101)] * 2)
    points = np.stack([x.ravel(), y.ravel(), np.ones(x.size)], axis=1)
    twelve, zero = np.array([0.0, 0.0, *tangential, *(0.0,) * 4, *prism]), np.zeros(3)
    by_all = cv2.projectPoints(points, zero, zero, np.eye(3), twelve)[1]
    # Columns 3 and 4 are the slopes by a shift of the points along x and y, which are 1 deep.
    determinant = np.linalg.det(by_all.reshape(len(points), 2, -1)[:, :, 3:5])
    assert 0.2 < (determinant > 0.0).mean() < 0.8
    np.testing.assert_array_equal(model.project(points)[1], determinant > 0.0)


def test_fisheye_reaches_past_a_right_angle_and_ends_where_it_folds():
    fisheye = MODELS['fisheye']
    angle = 1.59
    k = OPENCV_FISHEYE['radial_coeffs']
    bent = angle * (1 + sum(c * angle ** (2 * i + 2) for i, c in enumerate(k)))
    uv, valid = fisheye.project([(math.sin(angle), 0.0, math.cos(angle))])
    assert valid.all()
    np.testing.assert_allclose(uv[0], (644.0 + 402.0 * bent, 396.5), atol=1e-9)
    assert not fisheye.project([(math.sin(1.61), 0.0, math.cos(1.61))])[1].any()
    # Without coefficients it is equidistant.
    uv = _square(FisheyeCamera).project([(1, 0, 1)])[0]
    np.testing.assert_allclose(uv, [(500 + 400 * math.pi / 4, 500)])
    model = _square(FisheyeCamera, radial_coeffs=(-0.3, 0.0, 0.0, 0.0))
    # theta (1 - 0.3 theta^2) rises until sqrt(1 / 0.9).
    assert model.view_angle == pytest.approx(math.sqrt(1 / 0.9), abs=1e-3)
    uv, valid = model.project(random_rays(300, 3.0, seed=1))
    assert valid.any()
    assert not valid.all()
    assert model.unproject(uv[valid])[1].all()


@pytest.mark.parametrize('name', MODELS)
def test_resized_sees_the_same_through_scaled_pixels(name):
    model = MODELS[name]
    rays = random_rays(200, 0.69, seed=6)
    uv = model.project(rays)[0]
    # One pixel is the smallest image.
    for size in ((333, 222), (3840, 2160), (1, 1)):
        resized = model.resized(*size)
        expected = (uv + 0.5) * np.divide(size, model.resolution) - 0.5
        np.testing.assert_allclose(resized.project(rays)[0], expected, atol=1e-9)
        assert resized.resolution == size
    for size in ((0, 222), (5, 0)):
        with pytest.raises(ValueError, match='cannot have the size'):
            model.resized(*size)


# Its parameters are float32.
TOLERANCE_PX = 1e-3


@pytest.mark.parametrize(('name', 'kind', 'parameters', 'size'), SIZED)
def test_rays_are_where_nvidia_sees_them(name, kind, parameters, size):
    model = parse_camera_model(kind, parameters).resized(*size)
    uv, valid = model.project(RAYS)
    assert valid.all()
    np.testing.assert_allclose(uv, nvidia_pixels(name, size), atol=TOLERANCE_PX)
    rays, valid = model.unproject(nvidia_pixels(name, size))
    assert valid.all()
    np.testing.assert_allclose(rays, RAYS, atol=1e-4)


# Fits.


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


GLAZED = {'external_distortion_parameters': WINDSHIELD}


@pytest.mark.parametrize(
    ('kind', 'parameters'),
    [
        *(('ftheta', one) for one in FTHETAS.values()),
        ('ftheta', FRONT_WIDE | GLAZED),
        ('pinhole', PINHOLE),
        # With as many terms as there may be, its fit folds within the image.
        ('ftheta', FISHEYE_200 | {'angle_to_pixeldist_poly': [0.0, 500.0, 40.0, -120.0]}),
    ],
)
def test_residual_is_what_opencv_sees(kind, parameters):
    model = parse_camera_model(kind, parameters)
    fitted, residual = model.fit('equidistant')
    assert fitted.windshield is None
    assert residual.rms_px < 15.0
    errors = _errors(model, fitted)
    assert residual.max_px * 0.9 <= errors.max() <= residual.max_px * 1.05 + 1e-6
    # It never folds inside the image.
    assert fitted.view_angle == pytest.approx(fitted.max_angle)
    pixels = pixel_grid(fitted.resolution, 50)
    rays, valid = fitted.unproject(pixels)
    np.testing.assert_allclose(fitted.project(rays[valid])[0], pixels[valid], atol=1e-6)


def test_an_exactly_equidistant_lens_is_found_again_and_one_focal_length_if_it_is_round():
    k = (0.03, -0.01)
    # theta (1 + k1 theta^2 + k2 theta^4) has six coefficients: an F-theta lens of its own.
    bent = [0.0, 500.0, 0.0, 500.0 * k[0], 0.0, 500.0 * k[1]]
    model = _model(FISHEYE_200, max_angle=1.2, angle_to_pixeldist_poly=bent)
    fitted, residual = model.fit('equidistant')
    assert fitted.focal_length == pytest.approx((500.0, 500.0), rel=1e-9)
    np.testing.assert_allclose(fitted.radial_coeffs, (*k, 0.0, 0.0), atol=1e-7)
    assert residual.max_px < 1e-8
    # In an image of one pixel too, where a focal length is less than a pixel.
    fitted, _ = model.resized(1, 1).fit('equidistant')
    assert fitted.focal_length == pytest.approx((500.0 / 1920, 500.0 / 1536), rel=1e-9)
    # And a fisheye is its own fit.
    model = FisheyeCamera(**OPENCV_FISHEYE)
    fitted, residual = model.fit('equidistant')
    assert (fitted, residual.rms_px, residual.max_px) == (model, 0.0, 0.0)
    fitted, _ = _model(FRONT_WIDE).fit('equidistant')
    assert fitted.focal_length[0] == fitted.focal_length[1]
    for sheared in (SHEARED, SHEARED_REAR):
        fx, fy = _model(sheared).fit('equidistant')[0].focal_length
        assert fx / fy == pytest.approx(sheared['linear_cde'][0], abs=2e-3)


@pytest.mark.parametrize('parameters', [FRONT_WIDE, SHEARED_REAR], ids=['round', 'sheared'])
def test_no_better_parameters_nearby(parameters):
    """Least squares: a step of any parameter in either direction makes it worse."""
    model = _model(parameters)
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


def test_a_straight_pinhole_is_fitted_to_its_corners():
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


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(ValueError, match=r"^cannot fit 'plumb_bob', only 'equi"):
        FisheyeCamera(**OPENCV_FISHEYE).fit('plumb_bob')
    with pytest.raises(ValueError, match=r'^the camera model sees nothing of its own image$'):
        _model(FRONT_WIDE, principal_point=[9000.0, 9000.0]).fit('equidistant')
    mirrored = _model(FRONT_WIDE, linear_cde=[-1.0, 0.0, 0.0])
    with pytest.raises(ValueError, match=r'^no equidistant lens sees the image'):
        mirrored.fit('equidistant')
    # Every tenth pixel is a sample; to the fifth nearest it is hypot(4, 13), to the sixth more.
    lens = {**REAR, 'principal_point': [963.5, 542.5], 'angle_to_pixeldist_poly': [0.0, 1000.0]}
    enough, few = (_model(lens, max_angle=reach_px / 1000.0) for reach_px in (14.0, 13.0))
    assert (sees_its_image(enough), sees_its_image(few)) == (True, False)
    enough.fit('equidistant')
    with pytest.raises(ValueError, match='nothing'):
        few.fit('equidistant')


# Ray maps.


@pytest.mark.parametrize('size', [(960, 540), (479, 272), (20_000, 2)])
def test_pixels_of_any_size_look_along_their_native_ray(size):
    width, height = size
    rays, valid = MODELS['ftheta'].ray_map(width, height)
    assert (rays.shape, rays.dtype, valid.shape) == (
        (height, width, 3),
        np.float32,
        (height, width),
    )
    assert valid.all()
    column, row = (
        np.array([0, width - 1, width // 3, 7]),
        np.array([0, 0, height // 2, height - 1]),
    )
    u, v = (column + 0.5) * 1920 / width - 0.5, (row + 0.5) * 1080 / height - 0.5
    expected = np.transpose(ftheta_unproject(FRONT_WIDE, u, v))
    np.testing.assert_allclose(rays[row, column], expected, atol=1e-7)


def test_outside_the_image_circle_is_zero_and_not_valid():
    rays, valid = _model(FISHEYE_200).ray_map(192, 154)
    assert not valid[0, 0]
    assert valid[77, 96]
    assert not rays[~valid].any()
    np.testing.assert_allclose(np.linalg.norm(rays[valid], axis=1), 1.0, atol=1e-6)


def test_equal_models_share_one_fit():
    assert _model(FRONT_WIDE).fit('equidistant') is _model(FRONT_WIDE).fit('equidistant')
