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
"""Road users are where formulas and rays put them: in every camera, in motion, in their order."""

import itertools
import math
from test.preview.drawn_world import (
    BLUE,
    camera_pose,
    car,
    draw,
    ftheta,
    GREEN,
    hits,
    hue,
    hue_gap,
    pinhole,
    pose,
    RED,
    region,
    SECOND,
    START,
    world,
    yaw,
)
from test.support.lenses import archive_cameras, ftheta_project, ftheta_unproject
from typing import Any

import numpy as np
from nurec_ros.palette import colour_of
from nurec_ros.preview.boxes import back_to_front, Boxes, in_view
from nurec_ros.preview.landscape import HAZE, lit, Plane, visibility
from nurec_ros.preview.optics import Exposure, Lens, widest_angle
from nurec_ros.preview.scene import SceneRenderer
from nurec_ros.scenario import Scenario
import pytest
from scipy.spatial.transform import Rotation

pytestmark = pytest.mark.usefixtures('coarse_paint')

# Points along the edges of the box of half size 1: the lens bends edges past their corners.
EDGES = np.array(
    [
        np.roll((along, a, b), axis)
        for along in np.linspace(-1.0, 1.0, 9)
        for a in (-1.0, 1.0)
        for b in (-1.0, 1.0)
        for axis in range(3)
    ]
)


SMALL = pinhole(480, 270, 250.0)


def _is(pixel, colour, tolerance=9.0):
    angle, saturation = hue(pixel)
    return saturation > 0.1 and hue_gap(angle, hue(colour)[0]) < tolerance


def test_recorded_road_users_are_where_rays_and_formulas_put_them(pittsburgh):
    """In every camera, by the tests' F-theta code: the class that a ray meets, a car's edges."""
    scenario = Scenario.load(pittsburgh)
    renderer = SceneRenderer(scenario)
    t_ns = scenario.start_ns + 5 * SECOND
    active = scenario.tracks.at(t_ns)
    deep = pose((0.0, 0.0, -100.0))
    rng = np.random.default_rng(4)
    seen, found = 0, []
    for name, entry in archive_cameras(pittsburgh).items():
        parameters = entry['camera_model']['parameters']
        T = scenario.ego.at(t_ns) @ np.array(entry['T_sensor_rig'])
        model = scenario.cameras[name].model
        moment = {'size': (960, 540), 'start_ns': t_ns, 'end_ns': t_ns + 1000}
        picture = draw(renderer, model, T, **moment)

        # Each pixel with four about it: edges are drawn darker, and may lie half a pixel off, so
        # that only insides of faces count.
        pixels = rng.integers((3, 180), (957, 537), size=(250, 2))
        about = pixels[:, np.newaxis] + [(0, 0), (-3, -3), (-3, 3), (3, -3), (3, 3)]
        rays = np.column_stack(ftheta_unproject(parameters, *(about.reshape(-1, 2) * 2 + 0.5).T))
        near, faces = hits(T[:3, 3], rays @ T[:3, :3].T, active.poses, active.dims)
        first = near.argmin(axis=1)
        rows = np.arange(len(first))
        face = np.where(near[rows, first] < 60.0, 6 * first + faces[rows, first], -1)
        face = face.reshape(-1, 5)
        for k in np.flatnonzero((face[:, 0] >= 0) & (face == face[:, :1]).all(axis=1)):
            (u, v), box = pixels[k], face[k, 0] // 6
            expected = colour_of(active.labels[box])
            if hue(expected)[1] < 0.4:
                continue
            assert _is(picture[v, u], expected), (name, u, v, active.ids[box])
            seen += 1

        # A car alone in the world: all the others are sent far below the ground, as clients hide
        # them. Its picture reaches as far as its projected edges.
        alone = next(_wholly_seen(parameters, active, T), None) if len(found) < 4 else None
        if alone is not None:
            i, pixels = alone
            hidden = [(other, deep, deep) for other in active.ids if other != active.ids[i]]
            picture = draw(renderer, model, T, tracks=hidden, **moment)
            empty = draw(
                renderer, model, T, tracks=[*hidden, (active.ids[i], deep, deep)], **moment
            )
            changed = (picture != empty).any(axis=2)
            rows, columns = np.nonzero(region(picture, BLUE) & changed)
            drawn = (columns.min(), rows.min(), columns.max(), rows.max())
            extent = (*pixels.min(axis=0), *pixels.max(axis=0))
            np.testing.assert_allclose(drawn, extent, atol=2.0)
            found.append(name)
    assert seen > 300
    assert len(found) == 4, found


def _wholly_seen(parameters, active, T):
    """Yield cars whose edges lie within a picture of half the size, and the edges' pixels."""
    for i in range(len(active)):
        corners = (EDGES * active.dims[i] / 2) @ active.poses[i, :3, :3].T
        local = (corners + active.poses[i, :3, 3] - T[:3, 3]) @ T[:3, :3]
        if active.labels[i] != 'automobile' or local[:, 2].min() < 1.0:
            continue
        if np.linalg.norm(local, axis=1).max() > 45.0:
            continue
        pixels = (ftheta_project(parameters, local) + 0.5) / 2 - 0.5
        if ((pixels > 4) & (pixels < (955, 535))).all():
            yield i, pixels


def test_a_box_covers_exactly_its_rectangle():
    """Seen square on by a pinhole, a face is a rectangle of similar triangles."""
    box = car('a', (12.0, 0.5, 0.0), label='person', dims=(2.0, 3.0, 2.0))
    picture = draw(SceneRenderer(world([box])), pinhole(), camera_pose((0.0, 0.0, 1.2)))
    rows, columns = np.nonzero(region(picture, RED))
    depth = 11.0
    left, right = (479.5 - 500 * y / depth for y in (2.0, -1.0))
    top, bottom = (269.5 + 500 * (1.2 - z) / depth for z in (2.0, 0.0))
    np.testing.assert_allclose((columns.min(), columns.max()), (left, right), atol=1.6)
    np.testing.assert_allclose((rows.min(), rows.max()), (top, bottom), atol=1.6)
    middle = picture[int((top + bottom) / 2), int((left + right) / 2)]
    assert _is(middle, RED)


def test_a_person_before_a_long_bus_is_seen_though_its_centre_is_farther():
    bus = car('bus', (12.0, 3.0, 0.0), label='bus', dims=(16.0, 2.5, 3.0))
    person = car('p', (18.0, 1.2, 0.0), label='person', dims=(0.6, 0.6, 1.8))
    picture = draw(SceneRenderer(world([person, bus])), ftheta(), camera_pose((0, 0, 1.4)))
    angle = math.atan2(1.2, 18.0)
    column = round(479.5 - 470.0 * angle)
    row = round(0.69 * 540 + 470.0 * 0.5 / 18.0)
    assert _is(picture[row, column], RED)


def test_colours_follow_the_sun_and_keep_their_hue():
    """Walk round a box: each side has another brightness, all the same hue."""
    box = car('a', (0.0, 0.0, 0.0), label='person', dims=(2.0, 2.0, 2.0))
    renderer = SceneRenderer(world([box]))
    levels = []
    for turn in (0.0, 0.5 * math.pi, math.pi, 1.5 * math.pi):
        eye = yaw(turn) @ np.array([-8.0, 0.0, 1.0])
        picture = draw(renderer, pinhole(), camera_pose(eye, turn))
        face = picture[222, 430]
        assert _is(face, RED, 4.0)
        levels.append(int(face.max()))
    assert len(set(levels)) == 4
    # The sun stands half left ahead: the sides to the back and to the right are the dark ones.
    back, right, front, left = levels
    assert min(front, left) > max(back, right)


def test_static_boxes_are_paler_and_labels_without_a_colour_are_drawn_too():
    boxes = [
        car('a', (9.0, 2.0, 0.0), label='person', dims=(1, 2, 2)),
        car('b', (9.0, -2.0, 0.0), label='person', dims=(1, 2, 2), flags=()),
    ]
    strange = car('c', (5.0, 0.0, 0.0), label='Spaceship', dims=(1, 1, 1))
    pictures = [
        draw(SceneRenderer(world(each)), pinhole(), camera_pose((0, 0, 1)))
        for each in (boxes, [*boxes, strange])
    ]
    strong, pale = pictures[0][245, 320], pictures[0][245, 640]
    assert hue(strong)[1] > hue(pale)[1] + 0.1
    assert (pictures[0] != pictures[1]).any(axis=2).sum() > 5000


def test_a_car_shows_where_its_front_is():
    """The windscreen is a darker patch of the same hue, on the front larger than on the back."""
    model = pinhole()
    toward = draw(
        SceneRenderer(world([car('a', (10.0, 0, 0), math.pi)])), model, camera_pose((0, 0, 1))
    )
    away = draw(SceneRenderer(world([car('a', (10.0, 0, 0))])), model, camera_pose((0, 0, 1)))

    def dark(picture):
        part = picture[235:302, 420:540]
        return region(part, BLUE) & (part.max(axis=2) < 0.6 * part.max())

    assert dark(toward).sum() > 1.15 * dark(away).sum() > 0


def test_a_box_beside_the_camera_fills_its_side_of_the_picture():
    """Most of its corners lie outside of the lens's view, some behind."""
    box = car('a', (0.5, 3.0, 0.0), label='person', dims=(12.0, 2.0, 3.0))
    picture = draw(SceneRenderer(world([box])), ftheta(), camera_pose((0, 0, 1.5)))
    red = region(picture, RED)
    for row in (250, 372, 420):
        assert red[row, 2:140].all()
        # Its front end is at (6.5, 2): 17 degrees to the left.
        edge = 479.5 - 470.0 * math.atan2(2.0, 6.5)
        ends = np.flatnonzero(red[372])
        assert abs(ends.max() - edge) < 2.0


def test_boxes_are_drawn_where_the_client_puts_them():
    boxes = [
        car('a', (10.0, 0.0, 0.0), label='person', dims=(0.02, 1.0, 2.0)),
        car('b', (10.0, -3.0, 0.0), label='bus', dims=(1.0, 1.0, 2.0)),
    ]
    renderer = SceneRenderer(world(boxes))
    there = pose((10.0, 3.0, 1.0))
    sent = [('a', there, there), ('nobody', there, there)]
    T = camera_pose((0, 0, 1))
    for tracks, y in ((sent, 3.0), ((), 0.0)):
        picture = draw(renderer, SMALL, T, tracks=tracks)
        columns = np.nonzero(region(picture, RED))[1]
        assert abs(columns.mean() - (239.5 - 250 * y / 10.0)) < 1.5
        assert region(picture, GREEN).any()
    # Outside of their recorded time as well.
    late = {'start_ns': START + 9 * SECOND, 'end_ns': START + 9 * SECOND + 1000}
    assert not region(draw(renderer, SMALL, T, **late), RED).any()
    assert region(draw(renderer, SMALL, T, tracks=sent, **late), RED).any()


def test_moving_boxes_are_at_their_place_of_the_moment():
    way = [pose((10.0, y, 1.0)) for y in (-2.0, 2.0)]
    renderer = SceneRenderer(world([('a', 'person', (0.02, 1.0, 2.0), way, {'DYNAMIC'})]))
    for at, y in ((0.0, -2.0), (0.5, -1.0), (2.0, 2.0)):
        t_ns = START + round(at * SECOND)
        moment = {'start_ns': t_ns, 'end_ns': t_ns + 1000}
        picture = draw(renderer, SMALL, camera_pose((0, 0, 1)), **moment)
        columns = np.flatnonzero(region(picture, RED)[134])
        edges = [239.5 - 250.0 * (y + side) / 10.0 for side in (0.5, -0.5)]
        np.testing.assert_allclose((columns.min(), columns.max()), edges, atol=1.0)


def test_shadows_lie_on_the_side_away_from_the_sun():
    """The sun stands half left ahead of where the drive begins: shadows fall back and right."""
    box = car('a', (14.0, 0.0, 0.0), label='person', dims=(1.0, 1.0, 2.0))
    with_it = draw(SceneRenderer(world([box])), pinhole(), camera_pose((0, 0, 3.0), 0.0, 0.2))
    without = draw(SceneRenderer(world()), pinhole(), camera_pose((0, 0, 3.0), 0.0, 0.2))
    darker = with_it.sum(axis=2).astype(int) < without.sum(axis=2).astype(int) - 20
    darker &= ~region(with_it, RED)
    columns = np.nonzero(darker)[1]
    assert len(columns) > 300
    assert columns.mean() > 500


# Boxes alone, without a picture.

LEVEL = Plane(np.zeros(3), np.array([0.0, 0.0, 1.0]))
GREY = np.full((1, 3), 100.0)
EVERYWHERE = (-1.0, -1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ('position', 'dims', 'seen'),
    [
        ((20, 0, 1), (4, 2, 2), True),
        ((-20, 0, 1), (4, 2, 2), False),
        ((0.5, 4, 1), (12, 2, 2), True),
        ((0, 40, 1), (4, 2, 2), False),
        ((20, 0, -30), (4, 2, 2), False),
        ((20, 0, -1.5), (4, 2, 2), True),
        ((600, 0, 1), (4, 2, 2), False),
        ((0, 0, 1.2), (4, 2, 2), False),
    ],
)
def test_what_is_in_view(position, dims, seen):
    T, model = camera_pose((0, 0, 1.5)), pinhole()
    lens = Lens(model, Exposure(T, T, 'GLOBAL', 960, 540), widest_angle(model))
    place, no = np.array([pose(position)]), np.zeros(1, bool)
    box = Boxes(place, place, np.array([dims]), GREY, no, no)
    assert len(in_view(box, lens, LEVEL)) == int(seen)
    assert len(in_view(box.chosen(no), lens, LEVEL)) == 0


CUBE, APART = (1.0, 1.0, 1.0), ((0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10))
# Of each box, the first to be drawn first: its place in the map, half its size.
ORDERED: dict[str, Any] = {
    'a row': [((x, 0, 0), CUBE) for x in (15.0, 10.0, 5.0)],
    'a long wall whose centre is nearer': [
        ((6.0, 2.0, 0.0), (12.0, 0.5, 2.0)),
        ((14.0, 0.3, 0.0), (0.2, 0.2, 1.0)),
    ],
    'reaching a little into each other': [
        ((13.95, 0.0, 0.0), (2.0, 1.0, 1.0)),
        ((10.0, 0.0, 0.0), (2.0, 1.0, 1.0)),
    ],
    'apart in the picture': [((9.0, 3.0, 0.0), CUBE), ((5.0, -3.0, 0.0), CUBE)],
}


@pytest.mark.parametrize('name', ORDERED)
def test_who_is_drawn_first(name):
    count = len(ORDERED[name])
    poses = np.array([pose(place) for place, _ in ORDERED[name]])
    halves = np.array([half for _, half in ORDERED[name]])
    reach = np.array(APART[:count] if 'apart' in name else [EVERYWHERE] * count, dtype=float)
    for order in map(list, itertools.permutations(range(count))):
        drawn = back_to_front(poses[order], halves[order], np.zeros(3), reach[order])
        assert [order[i] for i in drawn] == list(range(count))


def test_rings_are_broken_and_every_box_is_drawn_once():
    """Three beams each of which lies over the next: no order is right, one is given."""
    poses, halves = [], []
    for k in range(3):
        turn = yaw(2 * math.pi * k / 3) @ Rotation.from_euler('y', 0.25).as_matrix()
        centre = yaw(2 * math.pi * k / 3) @ np.array([0.0, 1.0, 0.0])
        poses.append(pose(centre + (0.0, 0.0, 0.0), turn))
        halves.append((4.0, 0.3, 0.1))
    drawn = back_to_front(
        np.array(poses), np.array(halves), np.array([0.0, 0.0, 20.0]), np.tile(EVERYWHERE, (3, 1))
    )
    assert sorted(drawn) == [0, 1, 2]


@pytest.mark.parametrize('seed', range(8))
def test_order_agrees_with_every_ray(seed):
    """Along each ray the box that is met first is drawn after the other boxes on the ray."""
    rng = np.random.default_rng(seed)
    poses, dims = [], []
    while len(poses) < 14:
        place = np.array([rng.uniform(4, 30), rng.uniform(-10, 10), 0.0])
        size = rng.uniform((1.0, 0.5, 1.0), (9.0, 3.0, 3.0))
        candidate = pose(place, yaw(rng.uniform(-3, 3)))
        radius = np.hypot(*size[:2]) / 2
        if all(
            np.linalg.norm(place - T[:3, 3]) > radius + np.hypot(*d[:2]) / 2
            for T, d in zip(poses, dims, strict=True)
        ):
            poses.append(candidate)
            dims.append(size)
        if rng.uniform() < 0.01:
            break
    halves, reach = np.array(dims) / 2, np.tile(EVERYWHERE, (len(poses), 1))
    drawn = back_to_front(np.array(poses), halves, np.zeros(3), reach)
    ranks = {box: rank for rank, box in enumerate(drawn)}
    angles = np.linspace(-1.2, 1.2, 400)
    rays = np.stack([np.cos(angles), np.sin(angles), np.zeros(400)], axis=1)
    for near in hits(np.zeros(3), rays, np.array(poses), np.array(dims))[0]:
        met = [ranks[box] for box in np.argsort(near) if np.isfinite(near[box])]
        assert met == sorted(met, reverse=True)


def test_light_keeps_hue_near_and_pales_far():
    colours, up = np.array([(200.0, 40.0, 40.0)] * 3), np.array([0.0, 0.0, 1.0])
    bright, dark, far = lit(colours, [up, -up, up] @ np.eye(3), up, np.array([0.0, 0.0, 1e4]))
    np.testing.assert_allclose(bright, colours[0])
    np.testing.assert_allclose(dark / dark[0], colours[0] / 200.0)
    assert dark[0] < 0.7 * bright[0]
    assert np.abs(far - HAZE).sum() < np.abs(bright - HAZE).sum()
    assert far[0] > far[1]
    seen = visibility(np.array([0.0, 10.0, 100.0, 1000.0]))
    assert seen[0] == 1.0
    assert (np.diff(seen) < 0).all()
    assert seen[-1] < 1e-6
