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
"""Road users are where the formulas put them: in every camera, behind each other, in motion."""

import math
from test.preview.drawn_world import (
    camera_pose,
    car,
    draw,
    first_hit,
    ftheta,
    hue,
    hue_gap,
    pinhole,
    pose,
    region,
    SECOND,
    START,
    world,
    yaw,
)
from test.support.lenses import archive_cameras, ftheta_project, ftheta_unproject

import numpy as np
from nurec_ros.palette import colour_of
from nurec_ros.preview.scene import SceneRenderer
from nurec_ros.scenario import Scenario
import pytest

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
RED, BLUE, GREEN = (colour_of(label) for label in ('person', 'automobile', 'bus'))


def _is(pixel, colour, tolerance=9.0):
    angle, saturation = hue(pixel)
    return saturation > 0.1 and hue_gap(angle, hue(colour)[0]) < tolerance


@pytest.fixture(scope='module')
def street(pittsburgh):
    """Return a recorded drive and its drawing."""
    scenario = Scenario.load(pittsburgh)
    return scenario, SceneRenderer(scenario)


def test_every_camera_shows_the_class_that_a_ray_meets(pittsburgh, street):
    """Rays by the test's own F-theta code and slab test, against the hue of the pixel."""
    scenario, renderer = street
    rng = np.random.default_rng(4)
    seen = 0
    for name, entry in archive_cameras(pittsburgh).items():
        parameters = entry['camera_model']['parameters']
        t_ns = scenario.start_ns + 5 * SECOND
        T = scenario.ego.at(t_ns) @ np.array(entry['T_sensor_rig'])
        active = scenario.tracks.at(t_ns)
        width, height = 960, 540
        moment = {'size': (width, height), 'start_ns': t_ns, 'end_ns': t_ns + 1000}
        picture = draw(renderer, scenario.cameras[name].model, T, **moment)

        def met(u, v, parameters=parameters, T=T, active=active):
            ray = ftheta_unproject(parameters, (u + 0.5) * 2 - 0.5, (v + 0.5) * 2 - 0.5)
            return first_hit(T[:3, 3], T[:3, :3] @ np.array(ray), active.poses, active.dims)

        checked = 0
        for _ in range(3000):
            u, v = rng.integers(3, width - 3), rng.integers(height // 3, height - 3)
            hit = met(u, v)
            if hit is None or hit[2] > 60.0:
                continue
            around = [met(u + a, v + b) for a in (-3, 3) for b in (-3, 3)]
            # Edges are drawn darker, and may lie half a pixel off: only insides of faces count.
            if any(other is None or other[:2] != hit[:2] for other in around):
                continue
            expected = colour_of(active.labels[hit[0]])
            if hue(expected)[1] < 0.4:
                continue
            assert _is(picture[v, u], expected), (name, u, v, active.ids[hit[0]])
            checked += 1
            if checked == 25:
                break
        seen += checked
    assert seen > 75


def test_corners_land_where_the_formula_projects_them(pittsburgh, street):
    """
    A box alone in the world: its picture reaches as far as its projected edges.

    All the others are sent far below the ground, as clients hide them.
    """
    scenario, renderer = street
    t_ns = scenario.start_ns + 5 * SECOND
    active = scenario.tracks.at(t_ns)
    deep = pose((0.0, 0.0, -100.0))
    found = dict.fromkeys(archive_cameras(pittsburgh), 0)
    for name, entry in archive_cameras(pittsburgh).items():
        parameters = entry['camera_model']['parameters']
        T = scenario.ego.at(t_ns) @ np.array(entry['T_sensor_rig'])
        shown = 0
        for i in range(len(active)):
            if active.labels[i] != 'automobile' or shown == 1:
                continue
            corners = (EDGES * active.dims[i] / 2) @ active.poses[i, :3, :3].T
            local = (corners + active.poses[i, :3, 3] - T[:3, 3]) @ T[:3, :3]
            if local[:, 2].min() < 1.0 or np.linalg.norm(local, axis=1).max() > 45.0:
                continue
            pixels = [ftheta_project(parameters, point) for point in local]
            if None in pixels:
                continue
            pixels = (np.array(pixels) + 0.5) / 2 - 0.5
            if not ((pixels > 4) & (pixels < (955, 535))).all():
                continue
            shown += 1
            hidden = [(other, deep, deep) for other in active.ids if other != active.ids[i]]
            model = scenario.cameras[name].model
            moment = {'size': (960, 540), 'start_ns': t_ns, 'end_ns': t_ns + 1000}
            picture = draw(renderer, model, T, tracks=hidden, **moment)
            hidden.append((active.ids[i], deep, deep))
            empty = draw(renderer, model, T, tracks=hidden, **moment)
            changed = (picture != empty).any(axis=2)
            rows, columns = np.nonzero(region(picture, BLUE) & changed)
            (left, top), (right, bottom) = pixels.min(axis=0), pixels.max(axis=0)
            drawn = (columns.min(), rows.min(), columns.max(), rows.max())
            np.testing.assert_allclose(drawn, (left, top, right, bottom), atol=2.0)
            found[name] += 1
    assert sum(found.values()) >= 4, found


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
    picture = draw(renderer, pinhole(), camera_pose((0, 0, 1)), tracks=sent)
    columns = np.nonzero(region(picture, RED))[1]
    assert abs(columns.mean() - (479.5 - 500 * 3.0 / 10.0)) < 3.0
    assert region(picture, GREEN).any()
    default = draw(renderer, pinhole(), camera_pose((0, 0, 1)))
    assert abs(np.nonzero(region(default, RED))[1].mean() - 479.5) < 3.0


def test_a_track_sent_outside_of_its_recorded_time_is_drawn():
    renderer = SceneRenderer(world([car('a', (10.0, 0.0, 0.0), label='person')]))
    late = {'start_ns': START + 9 * SECOND, 'end_ns': START + 9 * SECOND + 1000}
    there = pose((10.0, 0.0, 1.0))
    nobody = draw(renderer, pinhole(), camera_pose((0, 0, 1)), **late)
    somebody = draw(
        renderer, pinhole(), camera_pose((0, 0, 1)), tracks=[('a', there, there)], **late
    )
    assert not region(nobody, RED).any()
    assert region(somebody, RED).any()


def test_moving_boxes_are_at_their_place_of_the_moment():
    way = [pose((10.0, y, 1.0)) for y in (-2.0, 2.0)]
    box = ('a', 'person', (0.02, 1.0, 2.0), way, {'DYNAMIC'})
    renderer = SceneRenderer(world([box]))
    for at, y in ((0.0, -2.0), (0.5, -1.0), (1.0, 0.0), (2.0, 2.0)):
        t_ns = START + round(at * SECOND)
        picture = draw(
            renderer, pinhole(), camera_pose((0, 0, 1)), start_ns=t_ns, end_ns=t_ns + 1000
        )
        red = region(picture, RED)[268]
        left, right = (479.5 - 500.0 * (y + side) / 10.0 for side in (0.5, -0.5))
        columns = np.flatnonzero(red)
        assert abs(columns.min() - left) < 2.0
        assert abs(columns.max() - right) < 2.0


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
