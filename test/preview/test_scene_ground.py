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
"""The ground: lines where the metric grid has them, paint where the drive went, haze beyond."""

import math
from test.preview.drawn_world import camera_pose, car, draw, ftheta, pinhole, pose, world, yaw

import cv2
import numpy as np
from nurec_ros.preview import landscape, paint
from nurec_ros.preview.landscape import HAZE, Terrain
from nurec_ros.preview.scene import SceneRenderer
import pytest

pytestmark = pytest.mark.usefixtures('coarse_paint')

ASIDE = ((-20.0, -90.0, 0.0), (20.0, -90.0, 0.0))


def _grey(picture):
    return picture.astype(float).mean(axis=2)


def _peaks(profile, expected, reach):
    """Return where a profile is highest around each expected place."""
    found = []
    for place in expected:
        window = slice(round(place) - reach, round(place) + reach + 1)
        part = profile[window]
        weights = np.clip(part - np.median(part), 0.0, None)
        found.append(window.start + (weights @ np.arange(len(part))) / weights.sum())
    return np.array(found)


@pytest.fixture
def finest_paint(monkeypatch):
    monkeypatch.setattr(paint, 'FINEST', 0.04)


@pytest.fixture(scope='module')
def aside(coarse_paint):
    """Return the drawing of a drive that passes far beside: about the origin there is grid."""
    return SceneRenderer(world(drive=ASIDE))


@pytest.mark.parametrize('far', [0.0, -1.23e6])
def test_bold_lines_lie_at_tens_of_metres(far):
    """
    Across the view: v = v0 + f h / (10 k - x_camera), level camera, level ground.

    Worlds whose coordinates are large lose nothing in float32.
    """
    drive = tuple((x + far, -90.0, 0.0) for x in (-20.0, 20.0))
    height = 4.0
    picture = draw(
        SceneRenderer(world(drive=drive)), pinhole(), camera_pose((far + 3.7, 5, height))
    )
    expected = [269.5 + 500.0 * height / (line - 3.7) for line in (20.0, 30.0)]
    profile = _grey(picture)[:, 300:660].mean(axis=1)
    np.testing.assert_allclose(_peaks(profile, expected, 7), expected, atol=0.8)


def test_bold_lines_run_to_the_vanishing_point(aside):
    """Along the view: u = u0 + f (y_camera - 10 k) (v - v0) / (f h), for each row v."""
    y, height = 4.0, 3.0
    picture = draw(aside, pinhole(), camera_pose((0.0, y, height)))
    grey = _grey(picture)
    for row in (400, 440, 500):
        expected = [479.5 + (y - line) * (row - 269.5) / height for line in (0.0, 10.0)]
        expected = [place for place in expected if 12 < place < 948]
        np.testing.assert_allclose(_peaks(grey[row], expected, 8), expected, atol=1.2)


def test_fine_lines_lie_at_metres(aside):
    """Straight down from 6 m: a metre is f / 6 pixels."""
    turn = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
    eye = (3.5, 4.5, 6.0)
    picture = draw(aside, pinhole(), pose(eye, turn))
    grey = _grey(picture)
    scale = 500.0 / 6.0
    # Columns follow the map's y, rows its x.
    columns = [479.5 + (line - eye[1]) * scale for line in (1, 2, 3, 4, 6, 7, 8)]
    rows = [269.5 + (line - eye[0]) * scale for line in (1, 2, 3, 4, 5, 6)]
    np.testing.assert_allclose(_peaks(grey.mean(axis=0), columns, 9), columns, atol=1.0)
    np.testing.assert_allclose(_peaks(grey.mean(axis=1), rows, 9), rows, atol=1.0)


def test_the_horizon_of_a_wide_lens_is_where_its_axis_row_is(aside):
    """A level camera sees the horizon in the row of its principal point, at every column."""
    picture = draw(aside, ftheta(), camera_pose((0, 0, 1.5)))
    row = 0.69 * 540
    for column in (5, 200, 480, 760, 955):
        line = picture[:, column].astype(float)
        for v in (row - 1, row + 1):
            np.testing.assert_allclose(line[round(v)], HAZE, atol=14)
        # The ground's colours are warm, the sky's cold.
        assert line[round(row) + 60, 2] < line[round(row) + 60, 0] + 5
        assert line[round(row) - 120, 2] > line[round(row) - 120, 0] + 15


def test_the_ground_fades_into_haze(aside):
    picture = draw(aside, pinhole(), camera_pose((0, 0, 1.5)))
    grey = np.abs(picture.astype(float) - HAZE).sum(axis=2).mean(axis=1)
    rows = [269.5 + 500.0 * 1.5 / distance for distance in (8.0, 40.0, 120.0, 300.0)]
    contrast = [grey[round(row)] for row in rows]
    assert contrast == sorted(contrast, reverse=True)
    assert contrast[-1] < 0.12 * contrast[0]


def test_the_drive_is_painted_where_it_went(finest_paint):
    """Straight down on the drive: a band 0.9 m wide about y = 0 in the path's colour."""
    turn = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
    picture = draw(SceneRenderer(world()), pinhole(), pose((30.0, 0.0, 8.0), turn)).astype(int)
    # Greener than red by far: nothing else on the ground is.
    band = picture[..., 1] - picture[..., 0] > 35
    columns = np.flatnonzero(band.mean(axis=0) > 0.5)
    scale = 500.0 / 8.0
    assert abs(columns.min() - (479.5 - 0.45 * scale)) < 4
    assert abs(columns.max() - (479.5 + 0.45 * scale)) < 4
    # Asphalt beside it, the verge further out.
    road = picture[:, round(479.5 + 2.6 * scale)].mean(axis=0)
    verge = picture[:, round(479.5 + 7.4 * scale)].mean(axis=0)
    assert np.abs(road - paint.ASPHALT).max() < 25
    assert verge.mean() > road.mean() + 25


def test_lane_boundaries_of_a_map_are_drawn_and_stand_in_for_dashes(finest_paint):
    line = np.stack([np.linspace(0, 60, 61), np.full(61, 2.25), np.zeros(61)], axis=1)
    turn = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
    scale = 500.0 / 8.0
    with_map = draw(
        SceneRenderer(world(boundaries=(line,))), pinhole(), pose((30.0, 0.0, 8.0), turn)
    )
    without = draw(SceneRenderer(world()), pinhole(), pose((30.0, 0.0, 8.0), turn))
    place = 479.5 + 2.25 * scale
    difference = (_grey(with_map) - _grey(without)).mean(axis=0)
    np.testing.assert_allclose(_peaks(difference, [place], 12), [place], atol=1.0)
    bright = [(_grey(one) > 190).mean(axis=0) for one in (with_map, without)]
    assert bright[0][round(place)] > 0.95
    for side in (-1.75, 1.75):
        dashed = round(479.5 + side * scale)
        # Three metres in nine are dashes, where no map is.
        assert bright[0][dashed] < 0.1
        assert 0.1 < bright[1][slice(dashed - 2, dashed + 3)].max() < 0.7


def test_roads_are_where_vehicles_drove_and_paving_where_people_walked():
    there = [pose((30.0 + 8 * i, 25.0, 0.8)) for i in range(2)]
    walk = [pose((30.0, -20.0 - i, 0.9)) for i in range(2)]
    boxes = [
        ('a', 'automobile', (4.5, 1.9, 1.6), there, {'DYNAMIC'}),
        ('b', 'person', (0.6, 0.6, 1.8), walk, {'DYNAMIC'}),
    ]
    ground = paint.paint_ground(world(boxes))

    def at(x, y):
        row, column = (
            round((a - b) / ground.pixel - 0.5) for a, b in ((y, ground.y0), (x, ground.x0))
        )
        part = ground.levels[0][slice(row - 3, row + 4), slice(column - 3, column + 4)]
        return part.reshape(-1, 3).mean(axis=0)

    for place, surface in (
        ((34.0, 25.0), paint.ASPHALT),
        ((30.0, -20.5), paint.PAVING),
        ((10.0, -20.0), landscape.VERGE),
        ((20.0, 3.0), paint.ASPHALT),
    ):
        colour = at(*place)
        nearest = min(
            (paint.ASPHALT, paint.PAVING, landscape.VERGE), key=lambda s: np.abs(colour - s).sum()
        )
        assert nearest == surface, (place, colour)


def test_every_level_of_the_paint_shows_the_same_place(finest_paint):
    mark = np.array([[20.0, 3.0, 0.0], [20.0, 9.0, 0.0]])
    ground = paint.paint_ground(world(boundaries=(mark,)))
    for level, image in enumerate(ground.levels[:5]):
        pixel = ground.pixel * 2**level
        row = round((6.0 - ground.y0) / pixel - 0.5)
        first, last = ((x - ground.x0) / pixel - 0.5 for x in (19.0, 21.0))
        columns = np.arange(math.ceil(first), math.floor(last) + 1)
        light = image[row, columns].astype(float).mean(axis=1)
        light = np.clip(light - 0.5 * (light.max() + np.median(light)), 0.0, None)
        x = ground.x0 + (columns + 0.5) * pixel
        assert abs((light @ x) / light.sum() - 20.0) < max(0.06, 0.3 * pixel)


def test_paint_is_bounded_however_long_the_drive(monkeypatch):
    assert 3 * paint.MOST_PIXELS < 45e6  # bytes
    monkeypatch.setattr(paint, 'MOST_PIXELS', 400_000)
    ground = paint.paint_ground(world(drive=((0.0, 0.0, 0.0), (300.0, 90.0, 0.0))))
    height, width, _ = ground.levels[0].shape
    assert 350_000 < height * width < 410_000
    assert width * ground.pixel == pytest.approx(300.0 + 2 * 12.0, abs=1.0)
    assert [level.shape[:2] for level in ground.levels[1:]] == [
        (height >> n, width >> n) for n in range(1, len(ground.levels))
    ]
    assert min(ground.levels[-1].shape[:2]) <= 32


@pytest.mark.parametrize('count', [1, 4])
def test_a_drive_that_stands_still_can_be_painted(count):
    renderer = SceneRenderer(world([car('a', (15.0, 5.0, 1.0))], drive=((5.0, 5.0, 1.0),) * count))
    assert draw(renderer, pinhole(320, 180, 160.0), camera_pose((5, 5, 2.5))).std() > 10


@pytest.mark.parametrize(
    'drive',
    [[(x, 0.0, 2.0) for x in range(100)], [(39.2, 0.0, 1.6), (40.2, 0.0, 2.0)]],
    ids=['level', 'too short for a slope'],
)
def test_level_ground(drive):
    plane = Terrain(np.array(drive, dtype=float)).plane_near(np.array([40.2, 7.0, 3.0]))
    np.testing.assert_allclose(plane.origin, (40.2, 0.0, 2.0))
    np.testing.assert_allclose(plane.normal, (0, 0, 1))


def test_ground_climbs_with_the_drive_and_is_level_across_it():
    slope = math.radians(5.0)
    heading = 0.7
    along = np.array([math.cos(heading), math.sin(heading), math.tan(slope)])
    terrain = Terrain(np.arange(100.0)[:, np.newaxis] * along)
    plane = terrain.plane_near(30.5 * along + (0.3, 0.1, 1.5))
    assert plane.normal @ along == pytest.approx(0.0, abs=1e-12)
    across = np.array([-math.sin(heading), math.cos(heading), 0.0])
    assert plane.normal @ across == pytest.approx(0.0, abs=1e-12)
    assert np.linalg.norm(plane.normal) == pytest.approx(1.0)
    assert (30.5 * along - plane.origin) @ plane.normal == pytest.approx(0.0, abs=0.02)


def test_the_picture_stands_on_the_slope():
    """Looking along a 6 degree climb, parallel to it, the horizon is on the axis again."""
    slope = math.radians(6.0)
    drive = tuple((x, 0.0, x * math.tan(slope)) for x in np.linspace(-100, 100, 50))
    eye = np.array([0.0, 0.0, 1.5])
    renderer = SceneRenderer(world(drive=drive))
    picture = draw(renderer, pinhole(), camera_pose(eye, 0.0, -slope))
    plane = Terrain(np.array(drive)).plane_near(eye)
    np.testing.assert_allclose(plane.normal, (-math.sin(slope), 0.0, math.cos(slope)), atol=1e-9)
    column = picture[:, 480].astype(float)
    np.testing.assert_allclose(column[268], HAZE, atol=16)
    assert np.abs(column[330] - HAZE).max() > 30


def test_noise_continues_over_its_edges_and_repeats_by_seed():
    field = landscape.seamless(128, 1.5, seed=1)
    inner = np.abs(np.diff(field, axis=0)).mean()
    seam = np.abs(field[0] - field[-1]).mean()
    assert seam < 1.5 * inner
    assert field.mean() == pytest.approx(0.0, abs=1e-5)
    assert field.std() == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_array_equal(field, landscape.seamless(128, 1.5, seed=1))
    assert (field != landscape.seamless(128, 1.5, seed=2)).any()


def test_far_lines_do_not_alias(aside):
    """Far grid lines blend: the finest rows below the horizon are smooth along the row."""
    picture = draw(aside, pinhole(), camera_pose((3.0, 5.0, 1.5)))
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(float)
    for distance, limit in ((60.0, 6.0), (120.0, 4.0)):
        row = round(269.5 + 500.0 * 1.5 / distance)
        assert np.abs(np.diff(grey[row])).mean() < limit


def test_an_upside_down_camera_sees_ground_above():
    T = camera_pose((0, 0, 2.0))
    T[:3, :3] = T[:3, :3] @ np.diag([-1.0, -1.0, 1.0])
    renderer = SceneRenderer(world())
    upright = draw(renderer, pinhole(), camera_pose((0, 0, 2.0)))
    turned = draw(renderer, pinhole(), T)
    difference = np.abs(turned[::-1, ::-1].astype(int) - upright)
    assert np.percentile(difference, 98) <= 6


def test_turning_the_world_turns_the_picture_with_it():
    """A drive along y seen along y: only the grid's phase, clouds and grain may differ."""
    east = SceneRenderer(world(drive=((0, 0, 0), (60, 0, 0))))
    north = SceneRenderer(world(drive=((0, 0, 0), (0, 60, 0))))
    one = draw(east, pinhole(), camera_pose((2, 0, 1.5)))
    other = draw(
        north, pinhole(), pose((0, 2, 1.5), yaw(math.pi / 2) @ camera_pose((0, 0, 0))[:3, :3])
    )
    ground = slice(300, 540)
    difference = np.abs(one[ground].astype(int) - other[ground])
    assert np.percentile(difference, 90) < 25
