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
"""The picture as a whole: every lens, every size, sky and sun, caption, threads."""

from concurrent.futures import ThreadPoolExecutor
import math
from test.preview.drawn_world import (
    AHEAD,
    camera_pose,
    car,
    draw,
    ftheta,
    pinhole,
    pose,
    START,
    world,
    yaw,
)

import numpy as np
from nurec_ros.preview.landscape import sun_direction
from nurec_ros.preview.scene import SceneRenderer
from nurec_ros.scenario.cameras import FisheyeCamera, parse_camera_model
import pytest

pytestmark = pytest.mark.usefixtures('coarse_paint')

STREET = [
    car('a', (14.0, 3.0, 0.0)),
    car('b', (9.0, -3.5, 0.0), math.pi, label='bus', dims=(11.0, 2.5, 3.1)),
    car('c', (8.0, 5.0, 0.0), label='person', dims=(0.6, 0.6, 1.8)),
]
T = camera_pose((0.0, 0.0, 1.5))
WINDSHIELD = {
    'reference_poly': 'FORWARD',
    'horizontal_poly': [0.02, 1.01, 0.0],
    'vertical_poly': [-0.01, 0.0, 1.02],
}


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
def renderer():
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
@pytest.mark.parametrize('size', [(1, 1), (40, 22), (641, 359)])
def test_any_lens_at_any_size(renderer, model, size):
    end = camera_pose((0.4, 0.02, 1.5), 0.01)
    exposure = {'T_map_camera_end': end, 'end_ns': START + 30_000_000}
    picture = draw(renderer, model, T, size=size, caption='x' * 300, **exposure)
    assert picture.shape == (size[1], size[0], 3)
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous
    assert picture.flags.writeable
    if size[0] > 100:
        assert picture.std() > 20


def test_two_lenses_agree_about_the_same_ray(renderer):
    """The same place in the world has the same colour through an F-theta lens and a pinhole."""
    wide, narrow = ftheta(), pinhole()
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


def test_glass_before_the_lens_shifts_the_picture(renderer):
    parameters = {
        'resolution': [960, 540],
        'principal_point': [479.5, 372.6],
        'reference_poly': 'ANGLE_TO_PIXELDIST',
        'angle_to_pixeldist_poly': [0.0, 470.0],
        'max_angle': 1.35,
        'shutter_type': 'GLOBAL',
    }
    plain = draw(renderer, parse_camera_model('ftheta', parameters), T, size=(480, 270))
    glazed_model = parse_camera_model(
        'ftheta', {**parameters, 'external_distortion_parameters': WINDSHIELD}
    )
    glazed = draw(renderer, glazed_model, T, size=(480, 270))
    difference = np.abs(plain.astype(int) - glazed).max(axis=2)
    assert (difference > 30).mean() > 0.01
    # The near end of the bus: its pixel moves as the glass says.
    corner = np.array([[9.0 - 5.5, -3.5 + 1.25, 3.1]]) - T[:3, 3]
    local = corner @ T[:3, :3]
    before = ftheta().project(local)[0][0]
    after = glazed_model.project(local)[0][0]
    assert np.linalg.norm(after - before) > 5


def test_where_the_lens_sees_nothing_is_black(renderer):
    model = ftheta(focal=250.0, max_angle=1.0)
    picture = draw(renderer, model, T)
    rows, columns = np.indices(picture.shape[:2])
    radius = np.hypot(columns - 479.5, rows - 0.69 * 540)
    assert not picture[radius > 251.5].any()
    assert (picture[radius < 247].max(axis=1) > 0).all()


def test_the_sun_is_where_its_direction_projects(renderer):
    sun = sun_direction(0.0)
    assert np.linalg.norm(sun) == pytest.approx(1.0)
    turn = math.atan2(sun[1], sun[0])
    model = ftheta()
    T_sun = camera_pose((0, 0, 1.5), turn - 0.4)
    picture = draw(renderer, model, T_sun).astype(int)
    uv = model.project([sun @ T_sun[:3, :3]])[0][0]
    rows, columns = np.nonzero((picture == (255, 250, 236)).all(axis=2))
    assert abs(np.median(columns) - uv[0]) < 2
    assert abs(np.median(rows) - uv[1]) < 2


def test_the_sun_stays_with_the_drive():
    """Worlds that are turned as a whole look the same: the sun follows the first heading."""
    for heading in (0.0, 1.0, -2.5):
        ahead = np.array([math.cos(heading), math.sin(heading), 0.0])
        sun = sun_direction(heading)
        assert sun @ ahead == pytest.approx(sun_direction(0.0)[0])


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
    bright = strip.min(axis=2) > 200
    assert bright.any()


def test_threads_draw_the_same_as_one_after_the_other(renderer):
    models = [ftheta(), pinhole(), _fisheye()]
    poses = [camera_pose((x, 0.1, 1.5), 0.1 * x) for x in range(4)]
    jobs = [(model, place) for model in models for place in poses]
    with ThreadPoolExecutor(4) as pool:
        together = list(
            pool.map(lambda job: draw(renderer, job[0], job[1], size=(240, 135)), jobs)
        )
    for (model, place), picture in zip(jobs, together, strict=True):
        np.testing.assert_array_equal(picture, draw(renderer, model, place, size=(240, 135)))


def test_a_scene_that_was_prepared_is_drawn_the_same(renderer):
    prepared = SceneRenderer(world(STREET))
    prepared.prepare()
    np.testing.assert_array_equal(draw(prepared, ftheta(), T), draw(renderer, ftheta(), T))


def test_a_camera_below_the_ground_draws_something(renderer):
    for height in (-3.0, 0.0):
        assert draw(renderer, pinhole(), camera_pose((0, 0, height))).shape == (540, 960, 3)


def test_the_camera_may_look_anywhere(renderer):
    rng = np.random.default_rng(0)
    for _ in range(8):
        rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        rotation *= np.sign(np.linalg.det(rotation))
        picture = draw(renderer, ftheta(320, 180, 160.0), pose((1, 2, 3), rotation @ AHEAD))
        assert picture.shape == (180, 320, 3)
    straight_up = draw(renderer, pinhole(320, 180, 160.0), pose((0, 0, 1.5), yaw(0.3)))
    assert straight_up[..., 2].mean() > straight_up[..., 0].mean()
