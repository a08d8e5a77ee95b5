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
"""Ray maps: the right rays, shared between equal models and threads."""

from concurrent.futures import ThreadPoolExecutor
from test.scenario.cameras.lens_samples import (
    FISHEYE_200,
    FRONT_WIDE,
    OPENCV_FISHEYE,
    PINHOLE,
)
from test.support.lenses import ftheta_unproject

import numpy as np
from nurec_ros.scenario.cameras import FisheyeCamera, parse_camera_model, PinholeCamera
import pytest

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
