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
"""The picture as a whole: every lens and size, sky and sun, the ground, its lines and paint."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
import math
from test.preview.drawn_world import (
    AHEAD,
    camera_pose,
    car,
    DOWN,
    draw,
    ftheta,
    pinhole,
    pose,
    START,
    world,
    yaw,
)

import cv2
import numpy as np
from nurec_ros.preview import landscape, paint
from nurec_ros.preview.landscape import HAZE, sun_direction, Terrain
from nurec_ros.preview.scene import SceneRenderer
from nurec_ros.scenario.cameras import FisheyeCamera, Windshield
import pytest

pytestmark = pytest.mark.usefixtures('coarse_paint')

STREET = [
    car('a', (14.0, 3.0, 0.0)),
    car('b', (9.0, -3.5, 0.0), math.pi, label='bus', dims=(11.0, 2.5, 3.1)),
    car('c', (8.0, 5.0, 0.0), label='person', dims=(0.6, 0.6, 1.8)),
]
T = camera_pose((0.0, 0.0, 1.5))
# Moves the near end of the bus by more than 5 pixels.
GLASS = Windshield(
    reference_poly='FORWARD',
    horizontal_poly=(0.02, 1.01, 0.0),
    vertical_poly=(-0.01, 0.0, 1.02),
)


def _fisheye(shutter='GLOBAL'):
    return FisheyeCamera(
        resolution=(960, 600),
        principal_point=(479.0, 301.0),
        focal_length=(250.0, 250.0),
        radial_coeffs=(0.02, -0.003, 0.0, 0.0),
        max_angle=1.55,
        shutter_type=shutter,
    )


@pytest.fixture(scope='module')
def renderer(coarse_paint):
    return SceneRenderer(world(STREET))


@pytest.mark.parametrize(
    'model',
    [
        ftheta(),
        ftheta(shutter='ROLLING_TOP_TO_BOTTOM'),
        ftheta(shutter='ROLLING_RIGHT_TO_LEFT'),
        pinhole(),
        _fisheye(),
        _fisheye('ROLLING_LEFT_TO_RIGHT'),
    ],
    ids=lambda model: f'{model.kind}-{model.shutter_type}',
)
def test_any_lens_at_any_size(renderer, model):
    end = camera_pose((0.4, 0.02, 1.5), 0.01)
    exposure = {'T_map_camera_end': end, 'end_ns': START + 30_000_000}
    for size in ((1, 1), (40, 22), (321, 179)):
        picture = draw(renderer, model, T, size=size, caption='x' * 300, **exposure)
        assert (picture.shape, picture.dtype) == ((size[1], size[0], 3), np.uint8)
        assert picture.flags.c_contiguous
        assert picture.flags.writeable
    assert picture.std() > 20


@pytest.mark.parametrize('glass', [None, GLASS], ids=['plain', 'glazed'])
def test_two_lenses_agree_about_the_same_ray(renderer, glass):
    """The same place in the world has the same colour through an F-theta lens and a pinhole."""
    wide, narrow = replace(ftheta(), windshield=glass), pinhole()
    one, other = draw(renderer, wide, T), draw(renderer, narrow, T)
    rng = np.random.default_rng(2)
    pixels = rng.uniform((100, 60), (860, 480), size=(400, 2)).round()
    rays = narrow.unproject(pixels)[0]
    there, valid = wide.project(rays)
    valid &= wide.inside(there) & (there > 3).all(axis=1) & (there < (956, 536)).all(axis=1)
    gaps = []
    for (u, v), (a, b) in zip(pixels[valid].astype(int), there[valid], strict=True):
        spot = one[slice(round(b) - 1, round(b) + 2), slice(round(a) - 1, round(a) + 2)]
        gaps.append(np.abs(spot.reshape(-1, 3).astype(int) - other[v, u]).max(axis=1).min())
    assert np.mean(np.array(gaps) < 16) > 0.9
    assert len(gaps) > 300


def test_where_the_lens_sees_nothing_is_black(renderer):
    picture = draw(renderer, ftheta(480, 270, 125.0, max_angle=1.0), T)
    rows, columns = np.indices(picture.shape[:2])
    radius = np.hypot(columns - 239.5, rows - 0.69 * 270)
    assert not picture[radius > 126.5].any()
    assert (picture[radius < 122].max(axis=1) > 0).all()


def test_the_sun_is_where_its_direction_projects_and_stays_with_the_drive(renderer):
    sun = sun_direction(0.0)
    assert np.linalg.norm(sun) == pytest.approx(1.0)
    T_sun = camera_pose((0, 0, 1.5), math.atan2(sun[1], sun[0]) - 0.4)
    picture = draw(renderer, ftheta(), T_sun).astype(int)
    uv = ftheta().project([sun @ T_sun[:3, :3]])[0][0]
    rows, columns = np.nonzero((picture == (255, 250, 236)).all(axis=2))
    assert abs(np.median(columns) - uv[0]) < 2
    assert abs(np.median(rows) - uv[1]) < 2
    # Worlds that are turned as a whole look the same: it follows the first heading.
    for heading in (1.0, -2.5):
        ahead = np.array([math.cos(heading), math.sin(heading), 0.0])
        assert sun_direction(heading) @ ahead == pytest.approx(sun[0])


def test_the_sky_is_blue_above_and_pale_at_the_horizon(renderer):
    picture = draw(renderer, pinhole(), camera_pose((0, 0, 1.5), -2.0, -0.3)).astype(int)
    top, low = picture[5].mean(axis=0), picture[400].mean(axis=0)
    assert top[2] - top[0] > low[2] - low[0] + 20


def test_the_caption_can_be_left_out(renderer):
    plain = draw(renderer, ftheta(), T)
    with_text = draw(renderer, ftheta(), T, caption='camera_front 1.234 s')
    rows, columns = np.nonzero((plain != with_text).any(axis=2))
    assert rows.min() > 0.9 * 540
    assert columns.max() < 0.5 * 960
    assert len(rows) > 500
    strip = with_text[slice(rows.min(), None), slice(columns.max())]
    assert (strip.min(axis=2) > 200).any()


def test_threads_and_a_scene_that_was_prepared_draw_the_same(renderer):
    prepared = SceneRenderer(world(STREET))
    prepared.prepare()
    jobs = [
        (model, camera_pose((x, 0.1, 1.5), 0.1 * x))
        for model in (ftheta(), pinhole(), _fisheye())
        for x in range(3)
    ]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda job: draw(prepared, *job, size=(160, 90)), jobs))
    for job, picture in zip(jobs, together, strict=True):
        np.testing.assert_array_equal(picture, draw(renderer, *job, size=(160, 90)))


def test_the_camera_may_be_anywhere_and_look_anywhere(renderer):
    for height in (-3.0, 0.0, 120.0):
        small = draw(renderer, pinhole(320, 180, 160.0), camera_pose((0, 0, height)))
        assert small.shape == (180, 320, 3)
    rng = np.random.default_rng(0)
    for _ in range(8):
        rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        rotation *= np.sign(np.linalg.det(rotation))
        picture = draw(renderer, ftheta(160, 90, 80.0), pose((1, 2, 3), rotation @ AHEAD))
        assert picture.shape == (90, 160, 3)
    straight_up = draw(renderer, pinhole(320, 180, 160.0), pose((0, 0, 1.5), yaw(0.3)))
    assert straight_up[..., 2].mean() > straight_up[..., 0].mean()


# --- the ground ----------------------------------------------------------------------------------

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
    renderer = SceneRenderer(world(drive=tuple((x + far, y, z) for x, y, z in ASIDE)))
    picture = draw(renderer, pinhole(), camera_pose((far + 3.7, 5, 4.0)))
    expected = [269.5 + 500.0 * 4.0 / (line - 3.7) for line in (20.0, 30.0)]
    profile = _grey(picture)[:, 300:660].mean(axis=1)
    np.testing.assert_allclose(_peaks(profile, expected, 7), expected, atol=0.8)


def test_bold_lines_run_to_the_vanishing_point(aside):
    """Along the view: u = u0 + f (y_camera - 10 k) (v - v0) / (f h), for each row v."""
    y, height = 4.0, 3.0
    grey = _grey(draw(aside, pinhole(), camera_pose((0.0, y, height))))
    for row in (400, 440, 500):
        expected = [479.5 + (y - line) * (row - 269.5) / height for line in (0.0, 10.0)]
        expected = [place for place in expected if 12 < place < 948]
        np.testing.assert_allclose(_peaks(grey[row], expected, 8), expected, atol=1.2)


def test_fine_lines_lie_at_metres(aside):
    """Straight down from 6 m: a metre is f / 6 pixels."""
    eye, scale = (3.5, 4.5, 6.0), 500.0 / 6.0
    grey = _grey(draw(aside, pinhole(), pose(eye, DOWN)))
    columns = [479.5 + (line - eye[1]) * scale for line in (1, 2, 3, 4, 6, 7, 8)]
    rows = [269.5 + (line - eye[0]) * scale for line in (1, 2, 3, 4, 5, 6)]
    np.testing.assert_allclose(_peaks(grey.mean(axis=0), columns, 9), columns, atol=1.0)
    np.testing.assert_allclose(_peaks(grey.mean(axis=1), rows, 9), rows, atol=1.0)


def test_far_lines_blend_and_the_ground_fades_into_haze(aside):
    """The finest rows below the horizon are smooth along the row."""
    picture = draw(aside, pinhole(), camera_pose((3.0, 5.0, 1.5)))
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(float)
    for distance, limit in ((60.0, 6.0), (120.0, 4.0)):
        row = round(269.5 + 500.0 * 1.5 / distance)
        assert np.abs(np.diff(grey[row])).mean() < limit
    picture = draw(aside, pinhole(), camera_pose((0, 0, 1.5)))
    haze = np.abs(picture.astype(float) - HAZE).sum(axis=2).mean(axis=1)
    rows = [269.5 + 500.0 * 1.5 / distance for distance in (8.0, 40.0, 120.0, 300.0)]
    contrast = [haze[round(row)] for row in rows]
    assert contrast == sorted(contrast, reverse=True)
    assert contrast[-1] < 0.12 * contrast[0]


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


def test_the_drive_is_painted_and_lane_boundaries_stand_in_for_dashes(finest_paint):
    """Straight down on the drive: a band 0.9 m wide about y = 0 in the path's colour."""
    scale, place = 500.0 / 8.0, 479.5 + 2.25 * 500.0 / 8.0
    line = np.array([(0.0, 2.25, 0.0), (60.0, 2.25, 0.0)])
    with_map, picture = (
        draw(SceneRenderer(each), pinhole(), pose((30.0, 0.0, 8.0), DOWN)).astype(int)
        for each in (world(boundaries=(line,)), world())
    )
    # Greener than red by far: nothing else on the ground is.
    band = picture[..., 1] - picture[..., 0] > 35
    columns = np.flatnonzero(band.mean(axis=0) > 0.5)
    assert abs(columns.min() - (479.5 - 0.45 * scale)) < 4
    assert abs(columns.max() - (479.5 + 0.45 * scale)) < 4
    # Asphalt beside it, the verge further out.
    road = picture[:, round(479.5 + 2.6 * scale)].mean(axis=0)
    verge = picture[:, round(479.5 + 7.4 * scale)].mean(axis=0)
    assert np.abs(road - paint.ASPHALT).max() < 25
    assert verge.mean() > road.mean() + 25
    difference = (_grey(with_map) - _grey(picture)).mean(axis=0)
    np.testing.assert_allclose(_peaks(difference, [place], 12), [place], atol=1.0)
    bright = [(_grey(one) > 190).mean(axis=0) for one in (with_map, picture)]
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
    surfaces = (paint.ASPHALT, paint.PAVING, landscape.VERGE)
    for (x, y), surface in (
        ((34.0, 25.0), paint.ASPHALT),
        ((30.0, -20.5), paint.PAVING),
        ((10.0, -20.0), landscape.VERGE),
        ((20.0, 3.0), paint.ASPHALT),
    ):
        row, column = (round(a / ground.pixel - 0.5) for a in (y - ground.y0, x - ground.x0))
        part = ground.levels[0][slice(row - 3, row + 4), slice(column - 3, column + 4)]
        colour = part.reshape(-1, 3).mean(axis=0)
        nearest = min(surfaces, key=lambda s, c=colour: np.abs(c - s).sum())
        assert nearest == surface, (x, y, colour)


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


def test_ground_is_level_across_the_drive_and_climbs_with_it():
    level, short = [(x, 0.0, 2.0) for x in range(100)], [(39.2, 0.0, 1.6), (40.2, 0.0, 2.0)]
    for drive in (level, short):
        plane = Terrain(np.array(drive, dtype=float)).plane_near(np.array([40.2, 7.0, 3.0]))
        np.testing.assert_allclose(plane.origin, (40.2, 0.0, 2.0))
        np.testing.assert_allclose(plane.normal, (0, 0, 1))
    slope, heading = math.radians(5.0), 0.7
    along = np.array([math.cos(heading), math.sin(heading), math.tan(slope)])
    terrain = Terrain(np.arange(100.0)[:, np.newaxis] * along)
    plane = terrain.plane_near(30.5 * along + (0.3, 0.1, 1.5))
    across = np.array([-math.sin(heading), math.cos(heading), 0.0])
    np.testing.assert_allclose([plane.normal @ along, plane.normal @ across], 0.0, atol=1e-12)
    assert np.linalg.norm(plane.normal) == pytest.approx(1.0)
    assert (30.5 * along - plane.origin) @ plane.normal == pytest.approx(0.0, abs=0.02)


def test_the_picture_stands_on_the_slope():
    """Looking along a 6 degree climb, parallel to it, the horizon is on the axis again."""
    slope = math.radians(6.0)
    drive = tuple((x, 0.0, x * math.tan(slope)) for x in np.linspace(-100, 100, 50))
    picture = draw(
        SceneRenderer(world(drive=drive)), pinhole(), camera_pose((0, 0, 1.5), 0.0, -slope)
    )
    column = picture[:, 480].astype(float)
    np.testing.assert_allclose(column[268], HAZE, atol=16)
    assert np.abs(column[330] - HAZE).max() > 30


def test_noise_continues_over_its_edges_and_repeats_by_seed():
    field = landscape.seamless(128, 1.5, seed=1)
    inner, seam = np.abs(np.diff(field, axis=0)).mean(), np.abs(field[0] - field[-1]).mean()
    assert seam < 1.5 * inner
    assert (field.mean(), field.std()) == pytest.approx((0.0, 1.0), abs=1e-5)
    np.testing.assert_array_equal(field, landscape.seamless(128, 1.5, seed=1))
    assert (field != landscape.seamless(128, 1.5, seed=2)).any()


def test_turning_the_camera_or_the_world_turns_the_picture_with_it():
    """A drive along y seen along y: only the grid's phase, clouds and grain may differ."""
    east, north = (SceneRenderer(world(drive=((0, 0, 0), to))) for to in ((60, 0, 0), (0, 60, 0)))
    one = draw(east, pinhole(), camera_pose((2, 0, 1.5))).astype(int)
    turned = draw(north, pinhole(), camera_pose((0, 2, 1.5), math.pi / 2))
    assert np.percentile(np.abs(one - turned)[300:], 90) < 25
    # Upside down it sees the ground above.
    rolled = camera_pose((2, 0, 1.5)) @ np.diag([-1.0, -1.0, 1.0, 1.0])
    assert np.percentile(np.abs(draw(east, pinhole(), rolled)[::-1, ::-1] - one), 98) <= 6
