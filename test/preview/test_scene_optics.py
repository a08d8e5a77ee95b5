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

import math
from test.preview.drawn_world import (
    camera_pose,
    draw,
    ftheta,
    pinhole,
    pose,
    region,
    SECOND,
    START,
    world,
)

import numpy as np
from nurec_ros.palette import colour_of
from nurec_ros.preview.optics import Exposure, Lens, ray_table, turned, widest_angle
from nurec_ros.preview.scene import SceneRenderer
from nurec_ros.scenario.cameras import FisheyeCamera
import pytest
from scipy.spatial.transform import Rotation, Slerp

pytestmark = pytest.mark.usefixtures('coarse_paint')

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


EXPOSURE_NS = 30_000_000
RED = colour_of('person')
ROLLING = (
    'ROLLING_TOP_TO_BOTTOM',
    'ROLLING_BOTTOM_TO_TOP',
    'ROLLING_LEFT_TO_RIGHT',
    'ROLLING_RIGHT_TO_LEFT',
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


@pytest.mark.parametrize('shutter', ROLLING)
def test_first_and_last_are_exposed_at_start_and_end(shutter):
    start, end = _random_poses(0)
    exposure = Exposure(start, end, shutter, 640, 480)
    times = exposure.fractions(640 if exposure.axis else 480)
    assert sorted({times[0], times[-1]}) == [0.0, 1.0]
    corner = exposure.fractions_at(np.array([[0.0, 0.0], [639.0, 479.0], [-9.0, 500.0]]))
    forward = shutter in ('ROLLING_TOP_TO_BOTTOM', 'ROLLING_LEFT_TO_RIGHT')
    assert corner[:2].tolist() == ([0.0, 1.0] if forward else [1.0, 0.0])
    assert ((corner >= 0) & (corner <= 1)).all()
    assert exposure.is_rolling


def test_a_coarser_picture_has_the_times_of_its_place_in_the_full_one():
    start, end = _random_poses(1)
    exposure = Exposure(start, end, 'ROLLING_TOP_TO_BOTTOM', 640, 480)
    full, coarse = exposure.fractions(480), exposure.fractions(160)
    np.testing.assert_allclose(coarse, full[1::3], atol=1e-12)


def test_global_shutters_and_still_cameras_have_one_time():
    start, end = _random_poses(2)
    assert Exposure(start, end, 'GLOBAL', 640, 480).axis is None
    assert Exposure(start, start, 'ROLLING_TOP_TO_BOTTOM', 640, 480).axis is None
    assert not Exposure(start, end, 'GLOBAL', 64, 48).fractions_at(np.ones((5, 2))).any()


def test_poses_in_between_equal_slerp():
    start, end = _random_poses(3)
    exposure = Exposure(start, end, 'ROLLING_TOP_TO_BOTTOM', 640, 480)
    times = np.linspace(0.0, 1.0, 17)
    rotations, positions = exposure.poses(times)
    for time, rotation, position in zip(times, rotations, positions, strict=True):
        expected = _pose_at(start, end, time)
        np.testing.assert_allclose(rotation, expected[:3, :3], atol=1e-12)
        np.testing.assert_allclose(position, expected[:3, 3], atol=1e-12)


@pytest.mark.parametrize('shutter', [*ROLLING, 'GLOBAL'])
@pytest.mark.parametrize('model', [ftheta(), pinhole()], ids=['ftheta', 'pinhole'])
def test_points_are_seen_when_their_pixel_is_exposed(shutter, model):
    """Projected with the pose of its pixel's time, a point must land on that pixel."""
    start, end = _random_poses(5)
    exposure = Exposure(start, end, shutter, *model.resolution)
    lens = Lens(model, exposure, widest_angle(model))
    rng = np.random.default_rng(1)
    ahead = np.stack(
        [rng.uniform(-6, 6, 50), rng.uniform(-4, 4, 50), rng.uniform(9, 60, 50)], axis=1
    )
    at_start = ahead @ start[:3, :3].T + start[:3, 3]
    at_end = at_start + rng.normal(size=(50, 3)) * 0.3
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


@pytest.mark.parametrize('shutter', [*ROLLING, 'GLOBAL'])
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
    picture = draw(
        SceneRenderer(world(cross)),
        pinhole(320, 240, 160.0, shutter),
        camera_pose((0, 0, 1.5)),
        T_map_camera_start=camera_pose((0.0, -0.6, 2.1)),
        T_map_camera_end=camera_pose((0.0, 0.6, 0.9)),
        end_ns=START + EXPOSURE_NS,
    )
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
    """The bold line y = 10 seen from above by a camera that looks straight down."""
    model = pinhole(320, 240, 160.0, shutter)

    def above(y):
        # x right is the map's x, y down the map's -y, z down.
        return pose((5.3, y, 8.0), np.array([[1.0, 0, 0], [0, -1.0, 0], [0, 0, -1.0]]))

    drive = ((-40.0, -60.0, 0.0), (40.0, -60.0, 0.0))
    renderer = SceneRenderer(world(drive=drive))
    # Seen with the picture turned: columns are the map's y, so that rows are times.
    turn = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
    picture = draw(
        renderer,
        model,
        above(10.0),
        T_map_camera_start=pose((5.3, 9.0, 8.0), turn),
        T_map_camera_end=pose((5.3, 11.0, 8.0), turn),
        end_ns=START + EXPOSURE_NS,
    )
    grey = picture.astype(float).mean(axis=2)
    for row in range(20, 220, 12):
        camera_y = 9.0 + 2.0 * _time_of(shutter, 0, row, 320, 240)
        centre = 159.5 + 160.0 * (10.0 - camera_y) / 8.0
        window = slice(int(centre) - 8, int(centre) + 9)
        brightest = window.start + int(np.argmax(grey[row, window]))
        assert abs(brightest - centre) < 1.6, row


def test_a_turn_shifts_rows_by_focal_length_times_angle():
    """On the axis row of an F-theta lens a turn of angle a moves things by f a, wherever."""
    model = ftheta(320, 240, 150.0, 'ROLLING_TOP_TO_BOTTOM')
    row = round(0.69 * 240)
    pole = ('a', 'person', (0.4, 0.4, 30.0), [pose((12.0, 3.0, 0.0))] * 2, {'DYNAMIC'})
    angle = 0.05
    picture = draw(
        SceneRenderer(world([pole])),
        model,
        camera_pose((0, 0, 1.5)),
        T_map_camera_start=camera_pose((0, 0, 1.5), -angle),
        T_map_camera_end=camera_pose((0, 0, 1.5), angle),
        end_ns=START + EXPOSURE_NS,
    )
    heading = -angle + 2 * angle * row / 239.0
    expected = 159.5 - 150.0 * (math.atan2(3.0, 12.0) - heading)
    assert abs(np.flatnonzero(region(picture, RED)[row]).mean() - expected) < 1.0


@pytest.mark.parametrize('start_ns', [START, START + 2 * SECOND])
def test_boxes_that_come_and_go_within_an_exposure_are_drawn(start_ns):
    there = ('a', 'person', (1.0, 1.0, 2.0), [pose((10.0, 0.0, 1.0))] * 2, {'DYNAMIC'})
    model = pinhole(320, 240, 160.0, 'ROLLING_TOP_TO_BOTTOM')
    span = {'start_ns': start_ns - EXPOSURE_NS // 2, 'end_ns': start_ns + EXPOSURE_NS // 2}
    picture = draw(SceneRenderer(world([there])), model, camera_pose((0, 0, 1.5)), **span)
    assert region(picture, RED).any()
