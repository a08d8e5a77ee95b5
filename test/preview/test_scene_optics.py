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
"""The table of rays of a picture, and rolling shutter: each row or column at its own time."""

from test.preview.drawn_world import (
    camera_pose,
    DOWN,
    draw,
    ftheta,
    pinhole,
    pose,
    RED,
    region,
    SECOND,
    START,
    world,
)

import numpy as np
from nurec_ros.preview.optics import (
    Exposure,
    Lens,
    poses_between,
    ray_table,
    turned,
    widest_angle,
)
from nurec_ros.preview.scene import SceneRenderer
from nurec_ros.scenario.cameras import FisheyeCamera
import pytest
from scipy.spatial.transform import Rotation, Slerp

pytestmark = pytest.mark.usefixtures('coarse_paint')

CIRCLE = ftheta(640, 480, 150.0, max_angle=1.0)
EXPOSURE_NS = 30_000_000


def test_rays_are_the_models_own():
    model = ftheta()
    table = ray_table(model, 960, 540)
    assert table.outside is None
    for row, column in ((0, 0), (371, 480), (539, 959)):
        ray = model.unproject([(column, row)])[0][0]
        np.testing.assert_allclose(table.rays[row, :, column], ray, atol=1e-6)
    # r = 470 theta: a pixel is 1 / 470 rad.
    assert table.pixel_angle == pytest.approx(1 / 470.0, rel=0.2)
    assert ray_table(ftheta(), 960, 540) is table
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
    # And a lens that sees nothing has a table too.
    away = FisheyeCamera(
        resolution=(64, 48), principal_point=(5000.0, 5000.0), focal_length=(30.0, 30.0)
    )
    assert ray_table(away, 64, 48).outside.all()
    assert widest_angle(away) == 0.0


def test_the_rim_lies_just_beyond_the_corners_and_within_the_lens():
    corner = np.arctan(np.hypot(480.0, 270.0) / 500.0)
    assert corner < widest_angle(pinhole(960, 540, 500.0)) < corner + 0.03
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
        T = _pose_at(start, end, _time_of(shutter, column, row, 64, 36))
        expected = axes @ T[:3, :3] @ table.rays[row, :, column]
        np.testing.assert_allclose(directions[row - top, :, column], expected, atol=2e-6)
        shape = (3, *np.broadcast_shapes((36 - top, 64), positions.shape[1:]))
        everywhere = np.broadcast_to(positions.reshape(3, *(positions.shape[1:] or (1, 1))), shape)
        np.testing.assert_allclose(everywhere[:, row - top, column], T[:3, 3], atol=1e-12)


# --- rolling shutter -----------------------------------------------------------------------------

SHUTTERS = (
    *('ROLLING_TOP_TO_BOTTOM', 'ROLLING_BOTTOM_TO_TOP'),
    *('ROLLING_LEFT_TO_RIGHT', 'ROLLING_RIGHT_TO_LEFT', 'GLOBAL'),
)


def _time_of(shutter, u, v, width, height):
    """Return when a pixel is exposed, from 0 to 1."""
    return {
        'ROLLING_TOP_TO_BOTTOM': v / (height - 1),
        'ROLLING_BOTTOM_TO_TOP': 1 - v / (height - 1),
        'ROLLING_LEFT_TO_RIGHT': u / (width - 1),
        'ROLLING_RIGHT_TO_LEFT': 1 - u / (width - 1),
        'GLOBAL': 0.0,
    }[shutter]


def _random_poses(seed):
    rng = np.random.default_rng(seed)
    start = camera_pose(rng.normal(size=3) * 5, rng.normal(), 0.1)
    turn = Rotation.from_rotvec(rng.normal(size=3) * 0.03)
    end = start.copy()
    end[:3, :3] = start[:3, :3] @ turn.as_matrix()
    end[:3, 3] += rng.normal(size=3) * 0.4
    return start, end


def _pose_at(start, end, fraction):
    """Return the pose between two, by scipy."""
    turns = Rotation.from_matrix([start[:3, :3], end[:3, :3]])
    rotation = Slerp([0.0, 1.0], turns)(fraction).as_matrix()
    return pose(start[:3, 3] + fraction * (end[:3, 3] - start[:3, 3]), rotation)


@pytest.mark.parametrize('shutter', SHUTTERS)
def test_each_row_or_column_has_its_time_and_pose(shutter):
    start, end = _random_poses(0)
    exposure = Exposure(start, end, shutter, 480, 480)
    pixels = np.array([[0.0, 0.0], [479.0, 479.0], [100.0, 300.0], [-9.0, 500.0], [500.0, -2.0]])
    times = np.clip([_time_of(shutter, u, v, 480, 480) for u, v in pixels], 0.0, 1.0)
    np.testing.assert_allclose(exposure.fractions_at(pixels), times, atol=1e-12)
    rotations, positions = poses_between(start, end, times)
    for time, rotation, position in zip(times, rotations, positions, strict=True):
        np.testing.assert_allclose(
            pose(position, rotation), _pose_at(start, end, time), atol=1e-12
        )
    assert exposure.is_rolling is (shutter != 'GLOBAL')
    assert Exposure(start, start, shutter, 480, 480).axis is None
    if exposure.is_rolling:
        # A coarser picture has the times of its place in the full one.
        full, coarse = exposure.fractions(480), exposure.fractions(160)
        assert {full[0], full[-1]} == {0.0, 1.0}
        np.testing.assert_allclose(coarse, full[1::3], atol=1e-12)


@pytest.mark.parametrize('shutter', SHUTTERS)
@pytest.mark.parametrize('model', [ftheta(), pinhole()], ids=['ftheta', 'pinhole'])
def test_points_are_seen_when_their_pixel_is_exposed(shutter, model):
    """Projected with the pose of its pixel's time, a point must land on that pixel."""
    start, end = _random_poses(5)
    exposure = Exposure(start, end, shutter, *model.resolution)
    lens = Lens(model, exposure, widest_angle(model))
    rng = np.random.default_rng(1)
    ahead = rng.uniform((-6, -4, 9), (6, 4, 60), size=(16, 3))
    at_start = ahead @ start[:3, :3].T + start[:3, 3]
    at_end = at_start + rng.normal(size=at_start.shape) * 0.3
    uv, inside = lens.project(at_start, at_end)
    assert inside.mean() > 0.9
    for i in np.flatnonzero(inside):
        time = np.clip(_time_of(shutter, *uv[i], *model.resolution), 0.0, 1.0)
        T = _pose_at(start, end, time)
        point = at_start[i] + time * (at_end[i] - at_start[i])
        expected = model.project([(point - T[:3, 3]) @ T[:3, :3]])[0][0]
        np.testing.assert_allclose(uv[i], expected, atol=0.01)


def test_points_that_move_before_a_still_camera():
    model = pinhole(shutter='ROLLING_TOP_TO_BOTTOM')
    T = camera_pose((0, 0, 0))
    lens = Lens(model, Exposure(T, T, model.shutter_type, 960, 540), widest_angle(model))
    begin = np.array([[10.0, 1.0, z] for z in (2.0, 0.0, -2.0)])
    uv, _ = lens.project(begin, begin - (0.0, 2.0, 0.0))
    v = 269.5 - 50.0 * np.array([2.0, 0.0, -2.0])
    np.testing.assert_allclose(uv[:, 1], v, atol=1e-9)
    np.testing.assert_allclose(uv[:, 0], 479.5 - 50.0 * (1.0 - 2.0 * v / 539.0), atol=1e-6)


def _exposed(boxes, shutter, start, end, **drive):
    """Draw a picture of 320x240 pixels by a pinhole that goes from one pose to another."""
    return draw(
        SceneRenderer(world(boxes, **drive)),
        pinhole(320, 240, 160.0, shutter),
        start,
        T_map_camera_end=end,
        end_ns=START + EXPOSURE_NS,
    )


@pytest.mark.parametrize('shutter', SHUTTERS)
def test_a_cross_leans_as_the_camera_moves(shutter):
    """
    U = u0 - f (y - y_camera(t)) / 10, v likewise, with t the share of the row or column.

    A pole and a beam are planes at x = 10, 0.4 m wide; the camera moves 1.2 m to the left and
    1.2 m down.
    """
    still = {'DYNAMIC'}
    cross = [
        ('pole', 'person', (0.02, 0.4, 30.0), [pose((10.0, 0.0, 0.0))] * 2, still),
        ('beam', 'person', (0.02, 60.0, 0.4), [pose((10.0, 0.0, 4.0))] * 2, still),
    ]
    picture = _exposed(cross, shutter, camera_pose((0, -0.6, 2.1)), camera_pose((0, 0.6, 0.9)))
    red = region(picture, RED)
    for row in range(130, 235, 15):
        columns = np.flatnonzero(red[row])
        time = _time_of(shutter, columns.mean(), row, 320, 240)
        centre = 159.5 + 160.0 * (-0.6 + 1.2 * time) / 10.0
        assert abs(columns.mean() - centre) < 0.75, row
        assert abs(len(columns) - 160.0 * 0.4 / 10.0) <= 3
    for column in (*range(10, 120, 20), *range(200, 315, 20)):
        rows = np.flatnonzero(red[:, column])
        time = _time_of(shutter, column, rows.mean(), 320, 240)
        centre = 119.5 - 160.0 * (4.0 - (2.1 - 1.2 * time)) / 10.0
        assert abs(rows.mean() - centre) < 0.75, column


@pytest.mark.parametrize('shutter', ['ROLLING_TOP_TO_BOTTOM', 'ROLLING_BOTTOM_TO_TOP', 'GLOBAL'])
def test_lines_on_the_ground_lean_as_well(shutter):
    """The bold line y = 10 from straight above: columns are the map's y, rows are times."""
    start, end = (pose((5.3, y, 8.0), DOWN) for y in (9.0, 11.0))
    drive = ((-40.0, -60.0, 0.0), (40.0, -60.0, 0.0))
    grey = _exposed((), shutter, start, end, drive=drive).astype(float).mean(axis=2)
    for row in range(20, 220, 12):
        camera_y = 9.0 + 2.0 * _time_of(shutter, 0, row, 320, 240)
        centre = 159.5 + 160.0 * (10.0 - camera_y) / 8.0
        window = slice(int(centre) - 8, int(centre) + 9)
        brightest = window.start + int(np.argmax(grey[row, window]))
        assert abs(brightest - centre) < 1.6, row


def test_boxes_that_come_and_go_within_an_exposure_are_drawn():
    there = ('a', 'person', (1.0, 1.0, 2.0), [pose((10.0, 0.0, 1.0))] * 2, {'DYNAMIC'})
    renderer = SceneRenderer(world([there]))
    model = pinhole(320, 240, 160.0, 'ROLLING_TOP_TO_BOTTOM')
    for t_ns in (START, START + 2 * SECOND):
        span = {'start_ns': t_ns - EXPOSURE_NS // 2, 'end_ns': t_ns + EXPOSURE_NS // 2}
        picture = draw(renderer, model, camera_pose((0, 0, 1.5)), **span)
        assert region(picture, RED).any()
