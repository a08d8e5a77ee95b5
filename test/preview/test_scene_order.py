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
"""Boxes' faces, shadows and order, by cases that can be told by hand or by casting rays."""

import itertools
import math
from test.preview.drawn_world import camera_pose, first_hit, pinhole, pose, yaw

import numpy as np
from nurec_ros.preview.boxes import back_to_front, Boxes, in_view
from nurec_ros.preview.ground import Plane
from nurec_ros.preview.optics import Exposure, Lens, widest_angle
from nurec_ros.preview.sky import HAZE, lit, visibility
import pytest
from scipy.spatial.transform import Rotation

LEVEL = Plane(np.zeros(3), np.array([0.0, 0.0, 1.0]))
EVERYWHERE = (-1.0, -1.0, 1.0, 1.0)


def _boxes(poses, dims):
    count = len(poses)
    return Boxes(
        np.array(poses),
        np.array(poses),
        np.array(dims, dtype=float),
        np.full((count, 3), 100.0),
        np.zeros(count, bool),
        np.zeros(count, bool),
    )


def _lens(T=None):
    T = camera_pose((0, 0, 1.5)) if T is None else T
    model = pinhole()
    return Lens(model, Exposure(T, T, 'GLOBAL', 960, 540), widest_angle(model))


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
    boxes = in_view(_boxes([pose(position)], [dims]), _lens(), LEVEL)
    assert len(boxes) == int(seen)
    nobody = _boxes(np.empty((0, 4, 4)), np.empty((0, 3)))
    assert len(in_view(nobody, _lens(), LEVEL)) == 0


CUBE, APART = (1.0, 1.0, 1.0), ((0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10))
# Of each box, the first to be drawn first: its place in the map, half its size.
ORDERED = {
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
    poses, dims = np.array(poses), np.array(dims)
    drawn = back_to_front(poses, dims / 2, np.zeros(3), np.tile(EVERYWHERE, (len(poses), 1)))
    place = {box: rank for rank, box in enumerate(drawn)}
    for angle in np.linspace(-1.2, 1.2, 400):
        ray = np.array([math.cos(angle), math.sin(angle), 0.0])
        left = list(range(len(poses)))
        previous = None
        while left:
            hit = first_hit(np.zeros(3), ray, poses[left], dims[left])
            if hit is None:
                break
            box = left.pop(hit[0])
            assert previous is None or place[box] < place[previous]
            previous = box


def test_light_keeps_hue_near_and_pales_far():
    colours = np.array([(200.0, 40.0, 40.0)] * 3)
    sun = np.array([0.0, 0.0, 1.0])
    normals = np.array([(0, 0, 1), (0, 0, -1), (0, 0, 1)], dtype=float)
    bright, dark, far = lit(colours, normals, sun, np.array([0.0, 0.0, 1e4]))
    np.testing.assert_allclose(bright, colours[0])
    np.testing.assert_allclose(dark / dark[0], colours[0] / 200.0)
    assert dark[0] < 0.7 * bright[0]
    assert np.abs(far - HAZE).sum() < np.abs(bright - HAZE).sum()
    assert far[0] > far[1]
    seen = visibility(np.array([0.0, 10.0, 100.0, 1000.0]))
    assert seen[0] == 1.0
    assert (np.diff(seen) < 0).all()
    assert seen[-1] < 1e-6
