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
"""The OpenCV models against OpenCV itself, all of them against NVIDIA's camera library."""

import math
from test.scenario.cameras.lens_samples import (
    OPENCV_FISHEYE,
    PINHOLE,
    pixel_grid,
    random_rays,
)
from test.scenario.cameras.nvidia_lenses import NVIDIA, nvidia_pixels, RAYS, SIZED

import cv2
import numpy as np
from nurec_ros.scenario.cameras import (
    FisheyeCamera,
    parse_camera_model,
    PinholeCamera,
)
import pytest


def _matrix(model):
    (fx, fy), (u0, v0) = model.focal_length, model.principal_point
    return np.array([[fx, 0.0, u0], [0.0, fy, v0], [0.0, 0.0, 1.0]])


def _opencv(model, points):
    """Return where OpenCV sees the points; the order of its coefficients is told by hand."""
    zero, matrix, points = np.zeros(3), _matrix(model), points[:, np.newaxis]
    if isinstance(model, FisheyeCamera):
        bent = np.array(model.radial_coeffs)
        return cv2.fisheye.projectPoints(points, zero, zero, matrix, bent)[0][:, 0]
    k, p, s = model.radial_coeffs, model.tangential_coeffs, model.thin_prism_coeffs
    twelve = np.array([k[0], k[1], p[0], p[1], k[2], k[3], k[4], k[5], *s])
    assert model.distortion == tuple(twelve)
    return cv2.projectPoints(points, zero, zero, matrix, twelve)[0][:, 0]


@pytest.fixture
def pinhole():
    return PinholeCamera(**PINHOLE)


@pytest.fixture
def fisheye():
    return FisheyeCamera(**OPENCV_FISHEYE)


@pytest.mark.parametrize(
    ('name', 'widest', 'seen'), [('pinhole', 0.9, 1.0), ('fisheye', math.radians(88), 0.9)]
)
def test_they_are_opencvs_there_and_back(request, name, widest, seen):
    model = request.getfixturevalue(name)
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


@pytest.mark.parametrize('index', range(12))
def test_each_pinhole_coefficient_means_what_opencv_means(index):
    values = [0.0] * 12
    values[index] = 0.013 * (-1) ** index
    model = PinholeCamera(
        resolution=(640, 480),
        principal_point=(320.0, 240.0),
        focal_length=(500.0, 510.0),
        radial_coeffs=tuple(values[:6]),
        tangential_coeffs=tuple(values[6:8]),
        thin_prism_coeffs=tuple(values[8:]),
    )
    points = random_rays(200, 0.8, seed=index) * 3.0
    uv, valid = model.project(points)
    assert valid.all()
    np.testing.assert_allclose(uv, _opencv(model, points), rtol=0, atol=1e-9)
    back, again = model.unproject(uv)
    assert again.all()
    np.testing.assert_allclose(back * 3.0, points, atol=1e-10)


def test_pinhole_without_distortion_is_similar_triangles():
    model = PinholeCamera(
        resolution=(640, 480), principal_point=(319.5, 239.5), focal_length=(500.0, 400.0)
    )
    uv, valid = model.project([(2.0, -1.0, 4.0), (0.0, 0.0, 1.0), (1e5, 0.0, 1.0)])
    assert valid.all()
    np.testing.assert_allclose(uv[:2], [(569.5, 139.5), (319.5, 239.5)], atol=1e-12)
    rays, valid = model.unproject(uv)
    assert valid.all()
    np.testing.assert_allclose(rays[0], np.array([2.0, -1.0, 4.0]) / math.sqrt(21), atol=1e-15)


def test_pinhole_sees_nothing_behind_it(pinhole):
    points = [(0, 0, -1), (1, 1, 0), (0, 0, 0), (math.nan, 0, 1), (0.1, 0.1, math.inf)]
    assert not pinhole.project(points)[1].any()


SQUARE = {
    'resolution': (1000, 1000),
    'principal_point': (500.0, 500.0),
    'focal_length': (400.0, 400.0),
}


def test_barrel_distortion_that_folds_ends_the_view():
    # r (1 - 0.2 r^2) rises until r = sqrt(5 / 3) = 1.291, where it is 0.8607.
    model = PinholeCamera(**SQUARE, radial_coeffs=(-0.2, 0.0, 0.0, 0.0, 0.0, 0.0))
    points = [(1.28, 0, 1), (1.30, 0, 1), (2.1, 0, 1), (0, -1.28, 1), (0, 1.3, 1), (1, 1, 1)]
    assert model.project(points)[1].tolist() == [True, False, False, True, False, False]
    pixels = [(500 + 400 * 0.86, 500.0), (500 + 400 * 0.8611, 500.0), (0.0, 0.0), (500.0, 200.0)]
    rays, valid = model.unproject(pixels)
    assert valid.tolist() == [True, False, False, True]
    back = model.project(rays[valid])[0]
    np.testing.assert_allclose(back, np.array(pixels)[valid], atol=1e-6)


def test_what_bends_without_a_fold_is_seen_to_the_side():
    # Of r (1 - 0.4 r^2 + 0.2 r^4) the slope, 1 - 1.2 s + s^2 of s = r^2, has no root.
    model = PinholeCamera(**SQUARE, radial_coeffs=(-0.4, 0.2, 0.0, 0.0, 0.0, 0.0))
    uv, valid = model.project([(2, 0, 1)])
    assert valid.all()
    np.testing.assert_allclose(uv, [(500 + 400 * 2 * (1 - 1.6 + 3.2), 500)])
    # Far out Newton must begin where the radial part is: it has twenty steps.
    model = PinholeCamera(**SQUARE, radial_coeffs=(0.5, 0.0, 0.0, 0.0, 0.0, 0.0))
    rays, valid = model.unproject([(500 + 400 * 100 * (1 + 0.5e4), 500)])
    assert valid.all()
    np.testing.assert_allclose(rays[0] / rays[0, 2], (100, 0, 1), rtol=1e-9)


def test_beyond_a_fold_a_second_rise_is_not_seen():
    # r (1 - r^2 + 0.2 r^4) falls from s = 0.38 to 2.62, and rises again.
    model = PinholeCamera(**SQUARE, radial_coeffs=(-1.0, 0.2, 0.0, 0.0, 0.0, 0.0))
    assert model.project([(0.6, 0, 1), (2, 0, 1)])[1].tolist() == [True, False]


def test_tangential_distortion_that_folds_ends_the_view():
    # x + 3 p2 x^2 rises until x = 1 / 1.2.
    model = PinholeCamera(**SQUARE, tangential_coeffs=(0.0, -0.2))
    points = [(0.83, 0, 1), (0.84, 0, 1), (2, 0, 1), (-2, 0, 1)]
    assert model.project(points)[1].tolist() == [True, False, False, True]


def test_denominator_through_zero_ends_the_view():
    model = PinholeCamera(**SQUARE, radial_coeffs=(0.0, 0.0, 0.0, -0.25, 0.0, 0.0))
    assert model.project([(1.9, 0, 1), (2.1, 0, 1)])[1].tolist() == [True, False]


def test_fisheye_reaches_past_a_right_angle(fisheye):
    angle = 1.59
    k = OPENCV_FISHEYE['radial_coeffs']
    bent = angle * (1 + sum(c * angle ** (2 * i + 2) for i, c in enumerate(k)))
    uv, valid = fisheye.project([(math.sin(angle), 0.0, math.cos(angle))])
    assert valid.all()
    np.testing.assert_allclose(uv[0], (644.0 + 402.0 * bent, 396.5), atol=1e-9)
    assert not fisheye.project([(math.sin(1.61), 0.0, math.cos(1.61))])[1].any()


def test_fisheye_that_folds_ends_the_view():
    model = FisheyeCamera(**SQUARE, radial_coeffs=(-0.3, 0.0, 0.0, 0.0))
    # theta (1 - 0.3 theta^2) rises until sqrt(1 / 0.9).
    assert model.view_angle == pytest.approx(math.sqrt(1 / 0.9), abs=1e-3)
    uv, valid = model.project(random_rays(300, 3.0, seed=1))
    assert valid.any()
    assert not valid.all()
    assert model.unproject(uv[valid])[1].all()


@pytest.mark.parametrize('name', ['pinhole', 'fisheye'])
def test_scaled_and_resized(request, name):
    model = request.getfixturevalue(name)
    rays = random_rays(200, 0.9, seed=6)
    uv = model.project(rays)[0]
    half = model.scaled(0.5)
    np.testing.assert_allclose(half.project(rays)[0], (uv + 0.5) * 0.5 - 0.5, atol=1e-9)
    odd = model.resized(333, 222)
    ratio = np.array([333.0, 222.0]) / model.resolution
    np.testing.assert_allclose(odd.project(rays)[0], (uv + 0.5) * ratio - 0.5, atol=1e-9)
    assert odd.resolution == (333, 222)
    with pytest.raises(ValueError, match='cannot have the size'):
        model.resized(0, 222)


def test_scaled_pinhole_is_what_opencv_resizes_to(pinhole):
    """A bright dot at a point's pixel is found there again after OpenCV shrank the image."""
    image = np.zeros((1080, 1920), dtype=np.float32)
    point = np.array([[0.31, -0.22, 1.0]])
    u, v = np.rint(pinhole.project(point)[0][0]).astype(int)
    around_v, around_u = slice(v - 20, v + 21), slice(u - 20, u + 21)
    image[around_v, around_u] = 1.0
    small = cv2.resize(image, (480, 270), interpolation=cv2.INTER_AREA)
    rows, columns = np.indices(small.shape)
    centre = ((small * columns).sum() / small.sum(), (small * rows).sum() / small.sum())
    expected = pinhole.scaled(0.25).project(point)[0][0]
    assert np.abs(expected - centre).max() < 0.5 * 0.25 + 1e-3


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


@pytest.mark.parametrize('name', ['ftheta by angle', 'fisheye behind a windshield', 'pinhole'])
def test_fits_keep_the_axis_in_its_place(name):
    kind, parameters, _ = NVIDIA[name]
    fitted, residual = parse_camera_model(kind, parameters).fit('equidistant')
    uv, _ = fitted.project(RAYS)
    off = np.linalg.norm(uv - nvidia_pixels(name, parameters['resolution']), axis=1)
    assert off.max() <= residual.max_px + TOLERANCE_PX
