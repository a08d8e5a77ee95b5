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
"""The table of rays of a picture, and turning it into the map."""

from test.preview.drawn_world import camera_pose, ftheta, pinhole

import numpy as np
from nurec_ros.preview.optics import Exposure, ray_table, turned, widest_angle
from nurec_ros.scenario.cameras import FisheyeCamera
import pytest
from scipy.spatial.transform import Rotation

CIRCLE = ftheta(640, 480, 150.0, max_angle=1.0)


def test_rays_are_the_models_own():
    model = ftheta()
    table = ray_table(model, 960, 540)
    assert table.outside is None
    for row, column in ((0, 0), (371, 480), (539, 959)):
        ray = model.unproject([(column, row)])[0][0]
        np.testing.assert_allclose(table.rays[row, :, column], ray, atol=1e-6)
    # r = 470 theta: a pixel is 1 / 470 rad.
    assert table.pixel_angle == pytest.approx(1 / 470.0, rel=0.2)


def test_equal_models_share_a_table():
    assert ray_table(pinhole(), 64, 36) is ray_table(pinhole(), 64, 36)
    assert ray_table(pinhole(), 64, 36) is not ray_table(pinhole(), 64, 37)


def test_pixels_without_a_ray_borrow_a_neighbours():
    table = ray_table(CIRCLE, 640, 480)
    assert table.outside is not None
    assert table.outside[0, 0]
    lengths = np.linalg.norm(table.rays, axis=1)
    np.testing.assert_allclose(lengths, 1.0, atol=1e-5)
    row = 331
    columns = np.flatnonzero(~table.outside[row])
    np.testing.assert_array_equal(table.rays[row, :, 0], table.rays[row, :, columns[0]])
    np.testing.assert_array_equal(table.rays[row, :, 639], table.rays[row, :, columns[-1]])
    np.testing.assert_array_equal(table.rays[0], table.rays[181])


def test_a_lens_that_sees_nothing_has_a_table_too():
    away = FisheyeCamera(
        resolution=(64, 48), principal_point=(5000.0, 5000.0), focal_length=(30.0, 30.0)
    )
    table = ray_table(away, 64, 48)
    assert table.outside.all()
    assert widest_angle(away) == 0.0


def test_the_rim_lies_just_beyond_the_corners():
    model = pinhole(960, 540, 500.0)
    corner = np.arctan(np.hypot(480.0, 270.0) / 500.0)
    assert corner < widest_angle(model) < corner + 0.03


def test_the_rim_never_leaves_the_lens():
    assert 0.9 < widest_angle(CIRCLE) <= 1.0


@pytest.mark.parametrize('shutter', ['GLOBAL', 'ROLLING_TOP_TO_BOTTOM', 'ROLLING_RIGHT_TO_LEFT'])
@pytest.mark.parametrize('top', [0, 11])
def test_turning_is_rotation_by_the_pose_of_the_row_or_column(shutter, top):
    start, end = camera_pose((1, 2, 3)), camera_pose((2, 2, 3), 0.06, 0.02)
    table = ray_table(pinhole(64, 36, 40.0, shutter), 64, 36)
    exposure = Exposure(start, end, shutter, 64, 36)
    axes = Rotation.from_euler('xyz', (0.1, 0.2, 0.3)).as_matrix()
    directions, positions = turned(table.rays, exposure, axes, top)
    assert directions.shape == (36 - top, 3, 64)
    for row, column in ((top, 0), (20, 13), (35, 63)):
        times = {'GLOBAL': 0.0, 'ROLLING_TOP_TO_BOTTOM': row / 35}
        rotations, places = exposure.poses(np.array([times.get(shutter, 1 - column / 63)]))
        expected = axes @ rotations[0] @ table.rays[row, :, column]
        np.testing.assert_allclose(directions[row - top, :, column], expected, atol=2e-6)
        shape = (3, *np.broadcast_shapes((36 - top, 64), positions.shape[1:]))
        everywhere = np.broadcast_to(positions.reshape(3, *(positions.shape[1:] or (1, 1))), shape)
        np.testing.assert_allclose(everywhere[:, row - top, column], places[0], atol=1e-12)
