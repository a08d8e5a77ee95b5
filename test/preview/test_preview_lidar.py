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
"""Clouds of a lidar, against rays that the test casts itself, and as bytes on the wire."""

import itertools
import math
import struct
from test.preview.drawn_world import car, cast_spin, hits, placed, pose, START, world, yaw
from test.preview.preview_client import pose as pose_message
from test.preview.preview_client import refused, request

import grpc
import numpy as np
from nurec_ros.example import make_example, write_example
from nurec_ros.preview import paint
from nurec_ros.preview.lidar import beams, DEVICES
from nurec_ros.preview.scene import SceneRenderer
from nurec_ros.rendering.protos import sensorsim_pb2 as sim
from nurec_ros.scenario import Scenario
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

pytestmark = pytest.mark.usefixtures('coarse_paint')

PANDAR, AT128 = DEVICES[sim.PANDAR128], DEVICES[sim.AT128]
STREET = [
    car('a', (14.0, 3.0, 0.0), 0.3),
    car('b', (-9.0, -3.5, 0.0), math.pi, label='bus', dims=(11.0, 2.5, 3.1)),
    car('c', (8.0, -5.0, 0.0), label='person', dims=(0.6, 0.6, 1.8)),
    car('d', (15.0, -9.5, 0.0), 1.0, label='heavy_truck', dims=(8.0, 2.5, 3.4)),
    car('overhead', (0.6, 0.2, 6.0), dims=(2.0, 2.0, 0.5)),
]
STANDING = (np.array([box[3][0] for box in STREET]), np.array([box[2] for box in STREET]))
BEAMS = (beams(PANDAR, 24, 120).elevations, 120)
# Half a metre on, and a quarter of a turn within one spin: more than any car can.
T_START = pose((0.0, 0.0, 1.9))
T_END = pose((1.2, 0.3, 1.95), yaw(0.4) @ Rotation.from_euler('y', 0.03).as_matrix())


def spin(renderer, device=PANDAR, size=(24, 120), start=T_START, end=T_END, **more):
    points, intensities = renderer.spin(
        *(device, size),
        **{'end_ns': START, 'T_map_sensor_start': start, 'T_map_sensor_end': end, **more},
    )
    assert points.dtype == intensities.dtype == np.float32
    assert points.shape == (len(intensities), 3)
    return points, intensities


@pytest.fixture(scope='module')
def street():
    return SceneRenderer(world(STREET))


@pytest.fixture(scope='module')
def empty():
    return SceneRenderer(world())


@pytest.mark.parametrize('start', [T_START, T_END], ids=['turning', 'standing'])
def test_each_beam_ends_where_a_ray_of_ones_own_does(street, start):
    points, _ = spin(street, start=start)
    expected, what = cast_spin(BEAMS, PANDAR.farthest, *STANDING, start, T_END)
    assert {-1, 0, 1, 2, 3} == set(what.tolist())
    assert len(points) == len(expected)
    distance, _ = cKDTree(placed(points.astype(float), T_END)).query(expected)
    assert distance.max() < 0.01


def test_road_users_stand_where_they_are_at_the_end_of_the_spin(street):
    way = [pose((10.0, y, 1.0)) for y in (-2.0, 2.0)]
    renderer = SceneRenderer(world([('a', 'person', (1.0, 1.0, 2.0), way, {'DYNAMIC'})]))
    points, _ = spin(renderer, size=(64, 900), end=T_START, end_ns=START + 1_500_000_000)
    seen = placed(points, T_START)
    body = seen[seen[:, 2] > 0.1]
    assert len(body) > 100
    assert body[:, 1].min() > 0.49
    assert body[:, 1].max() < 1.51
    # Or where a client puts them.
    there = pose((20.0, 12.0, 0.8))
    points, _ = spin(street, tracks=[('a', pose((99.0, 0.0, 0.0)), there)])
    seen = placed(points.astype(float), T_END)
    around = np.abs(seen - there[:3, 3])
    assert (around < (2.26, 0.96, 0.81)).all(axis=1).sum() >= 5
    old = (seen - STREET[0][3][0][:3, 3]) @ STREET[0][3][0][:3, :3]
    inside = np.abs(old) < np.array([2.2, 0.9, 0.6])
    assert not inside.all(axis=1).any()


@pytest.mark.parametrize('device', [PANDAR, AT128], ids=['pandar128', 'at128'])
def test_nothing_lies_beyond_the_range_or_in_the_housing(device):
    wall = [('w', 'bus', (1.0, 300.0, 300.0), [pose((150.0, 0.0, 0.0))] * 2, ())]
    far = [('w', 'bus', (1.0, 300.0, 300.0), [pose((230.0, 0.0, 0.0))] * 2, ())]
    near = [('n', 'bus', (0.2, 0.2, 0.2), [pose((0.4, 0.0, 1.9))] * 2, ())]
    for boxes, expected in ((wall, True), (far, False), (near, False)):
        points, _ = spin(SceneRenderer(world(boxes)), device, end=T_START)
        distance = np.linalg.norm(points, axis=1)
        assert distance.max() <= device.farthest
        assert distance.min() > 0.5
        assert (placed(points, T_START)[:, 2] > 2.5).any() == expected


def test_at128_looks_ahead_over_120_degrees(street):
    points, _ = spin(street, AT128, (24, 360), T_START, T_START)
    azimuth = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    assert 59.0 < azimuth.max() < 60.0
    assert -60.0 < azimuth.min() < -59.0


def test_intensity_goes_by_class_and_incidence():
    boxes = [
        car('p', (10.0, 3.0, 0.0), label='person', dims=(2.0, 2.0, 6.0)),
        car('s', (10.0, -3.0, 0.0), label='protruding_object', dims=(2.0, 2.0, 6.0)),
    ]
    points, intensities = spin(SceneRenderer(world(boxes)), size=(64, 900), end=T_START)
    seen = placed(points, T_START)
    assert 0.0 < intensities.min() <= intensities.max() <= 1.0
    high = seen[:, 2] > 0.5
    faces = {
        name: intensities[high & (np.abs(seen[:, 0] - 9.0) < 0.01) & (side * seen[:, 1] > 0)]
        for name, side in (('person', 1.0), ('sign', -1.0))
    }
    assert faces['sign'].mean() > 1.5 * faces['person'].mean()
    # The face to the middle is met at a flat angle.
    flat = intensities[high & (np.abs(seen[:, 1] - 2.0) < 0.01)]
    assert flat.max() < faces['person'].min()


def test_noise_is_off_unless_asked_for_and_repeats_with_its_seed(empty):
    exact, again = (spin(empty, end=T_START)[0] for _ in range(2))
    np.testing.assert_array_equal(exact, again)
    noisy, same, other = (
        spin(empty, end=T_START, noise_m=0.03, seed=seed)[0] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(noisy, same)
    assert len(noisy) == len(exact)
    assert not np.array_equal(noisy, other)
    error = np.linalg.norm(noisy, axis=1) - np.linalg.norm(exact, axis=1)
    assert error.std() == pytest.approx(0.03, rel=0.1)
    assert abs(error.mean()) < 0.005


def test_the_street_is_seen_as_it_is_painted_without_the_ego_s_path(monkeypatch):
    """Lines where the map has them; asphalt about them and the drive, and else the verge."""
    monkeypatch.setattr(paint, 'FINEST', 0.04)
    lines = [np.array([(-60.0, y, 0.0), (120.0, y, 0.0)]) for y in (-1.75, 5.0)]
    renderer = SceneRenderer(world(boundaries=lines))
    points, intensities = spin(renderer, size=(64, 1800), start=T_END)
    seen = placed(points, T_END)
    # As met at right angles.
    down = T_END[2, 3] / np.linalg.norm(points, axis=1)
    reflectivity = intensities / (0.5 + 0.5 * down)
    across = np.abs(seen[:, 1, np.newaxis] - [line[0, 1] for line in lines]).min(axis=1)
    near = np.abs(seen[:, 0] - 15.0) < 25.0
    painted = near & (across < 0.03)
    asphalt = near & (across > 0.2) & (np.abs(seen[:, 1]) < 4.0)
    verge = (np.abs(seen[:, 1]) > 15.0) & (np.abs(seen[:, 1]) < 60.0)
    assert min(map(np.count_nonzero, (painted, asphalt, verge))) > 50
    assert reflectivity[painted].min() > 0.5
    assert 0.08 < reflectivity[asphalt].min() <= reflectivity[asphalt].max() < 0.15
    assert 0.25 < reflectivity[verge].min() <= reflectivity[verge].max() < 0.4


def test_a_box_that_is_sunk_into_the_ground_is_seen_whole_as_in_pictures(empty):
    boxes = [('s', 'bus', (2.0, 2.0, 2.0), [pose((12.0, 0.0, -0.5))] * 2, ())]
    renderer = SceneRenderer(world(boxes))
    points, _ = spin(renderer, size=(64, 900), end=T_START)
    seen = placed(points, T_START)
    front = seen[np.abs(seen[:, 0] - 11.0) < 0.01]
    assert front[:, 2].min() < -1.0
    assert front[:, 2].max() > 0.3
    # One that a client has sent far down is not there.
    gone, _ = spin(renderer, tracks=[('s', *[pose((12.0, 0.0, -9.0))] * 2)])
    np.testing.assert_array_equal(gone, spin(empty)[0])


@pytest.mark.parametrize(
    ('dims', 'size'),
    [
        ((0.5, 0.5, 0.9), (64, 900)),
        ((0.25, 0.25, 2.1), (64, 900)),
        ((0.25, 0.25, 0.6), (128, 1800)),
    ],
)
def test_what_stands_free_within_30_m_holds_20_points(dims, size):
    """As docs/preview.md says: at any distance, each in a direction of its own."""
    places = [(6.0 + k, 2.0 * math.pi * k / 25.0) for k in range(25)]
    boxes = [
        car(str(k), (r * math.cos(angle), r * math.sin(angle), 0.0), angle, dims=dims)
        for k, (r, angle) in enumerate(places)
    ]
    points, _ = spin(SceneRenderer(world(boxes)), size=size, start=T_START, end=T_START)
    seen = placed(points.astype(float), T_START)
    seen = seen[seen[:, 2] > 0.01]
    for *_, (box, _), _ in boxes:
        inside = (np.abs((seen - box[:3, 3]) @ box[:3, :3]) < np.array(dims) / 2 + 0.01).all(
            axis=1
        )
        assert np.count_nonzero(inside) >= 20


def test_each_class_of_the_example_is_seen(tmp_path):
    """All within 30 m that nothing hides: every corner and the middle is seen from the sensor."""
    scenario = Scenario.load(write_example(tmp_path / 'street.usdz', make_example(duration_s=8)))
    renderer = SceneRenderer(scenario)
    spots = 0.475 * np.array([(0, 0, 0), *itertools.product((-1, 1), repeat=3)])
    counts = {}
    for t_ns in range(scenario.start_ns + 10**9, scenario.end_ns, 2 * 10**9):
        before, T = (scenario.ego.at(t) @ pose((1.2, 0.0, 1.95)) for t in (t_ns - 10**8, t_ns))
        points, _ = spin(renderer, size=(64, 900), start=before, end=T, end_ns=t_ns)
        seen = placed(points.astype(float), T)
        active = scenario.tracks.at(t_ns)
        for index, (box, dims) in enumerate(zip(active.poses, active.dims, strict=True)):
            rays = placed(spots * dims, box) - T[:3, 3]
            rays /= np.linalg.norm(rays, axis=1)[:, np.newaxis]
            near = hits(T[:3, 3], rays, active.poses, active.dims)[0]
            below = (rays @ T[:3, 2]).min() < math.sin(math.radians(PANDAR.bottom))
            hidden = not ((near.argmin(axis=1) == index) & np.isfinite(near[:, index])).all()
            if below or hidden or np.linalg.norm(box[:3, 3] - T[:3, 3]) > 30.0:
                continue
            inside = (np.abs((seen - box[:3, 3]) @ box[:3, :3]) < dims / 2 + 0.01).all(axis=1)
            counts.setdefault(active.labels[index], []).append(int(inside.sum()))
    assert {'automobile', 'person', 'rider', 'bicycle', 'protruding_object'} <= set(counts)
    assert sum(map(len, counts.values())) > 50
    assert min(map(min, counts.values())) >= 20


# --- on the wire ---------------------------------------------------------------------------------


def asked(scenario, **changes):
    """Return a good request for the spin before the middle of the scene."""
    middle = (scenario.start_ns + scenario.end_ns) // 2000
    fields = {
        'scene_id': scenario.scene_id,
        'lidar_config': sim.LidarSpec(lidar_type=sim.PANDAR128),
        'frame_start_us': middle - 100_000,
        'frame_end_us': middle,
        'sensor_pose': sim.PosePair(
            start_pose=pose_message(7.0, 0.0, 1.9), end_pose=pose_message(7.8, 0.1, 1.9, yaw=3.0)
        ),
    }
    return sim.LidarRenderRequest(**{**fields, **changes})


@pytest.fixture(scope='module')
def drawing(scenario):
    return SceneRenderer(scenario)


@pytest.fixture
def behave(play, drawing):
    """Start a server of a behaviour that draws, and return its client."""
    return lambda **behaviour: play(drawing, **{'lidar_beams': (16, 90), **behaviour})


@pytest.fixture
def client(behave):
    return behave()


def test_both_forms_of_the_reply_hold_the_same_cloud(behave, client, scenario):
    buffers = client.call('render_lidar', asked(scenario))
    count = buffers.num_points
    assert count > 500
    assert not buffers.point_xyzs
    assert not buffers.point_intensities
    xyz = struct.unpack(f'<{3 * count}f', buffers.point_xyzs_buffer)
    intensities = struct.unpack(f'<{count}f', buffers.point_intensities_buffer)
    for behaviour in ({'lidar_replies': 'floats'}, {'api': 'v1'}):
        floats = behave(**behaviour).call('render_lidar', asked(scenario))
        assert (floats.num_points, floats.point_xyzs_buffer) == (0, b'')
        assert tuple(floats.point_xyzs) == xyz
        assert tuple(floats.point_intensities) == intensities


def test_the_poses_of_the_wire_are_those_of_the_spin(client, scenario):
    """Points lie on the ground, z = 0, and on the car ahead, in the frame of the end."""
    reply = client.call('render_lidar', asked(scenario))
    points = np.frombuffer(reply.point_xyzs_buffer, '<f4').reshape(-1, 3).astype(float)
    end = pose((7.8, 0.1, 1.9), yaw(math.radians(3.0)))
    seen = placed(points, end)
    on_ground = np.abs(seen[:, 2]) < 0.01
    assert 0.5 < on_ground.mean() < 1.0
    middle = (scenario.start_ns + scenario.end_ns) // 2
    active = scenario.tracks.at(middle // 1000 * 1000)
    off = np.full(len(seen), np.inf)
    for box, dims in zip(active.poses, active.dims, strict=True):
        outside = np.abs((seen - box[:3, 3]) @ box[:3, :3]) - dims / 2
        off = np.minimum(off, np.abs(outside.max(axis=1)))
    assert off[~on_ground].max() < 0.01


def test_lidars_are_rendered_beside_pictures(client, scenario):
    both = sim.AggregatedRenderRequest(
        rgb_requests=[request(scenario)], lidar_requests=[asked(scenario)]
    )
    reply = client.call('render_aggregated', both, timeout=60.0)
    assert reply.rgb_returns[0].image_bytes
    assert reply.lidar_returns[0] == client.call('render_lidar', asked(scenario))


def test_spoilt_clouds_have_wrong_lengths(behave, scenario):
    for how, share in (('truncated', 0.5), ('empty', 0.0)):
        reply = behave(replies=how).call('render_lidar', asked(scenario))
        assert len(reply.point_xyzs_buffer) == 12 * reply.num_points * share
        assert len(reply.point_intensities_buffer) == 4 * reply.num_points * share


MOVED = {'dynamic_objects': [sim.DynamicObject(track_id='ahead')]}


@pytest.mark.parametrize(
    ('behaviour', 'changes', 'code', 'words'),
    [
        ({}, {'scene_id': 'x'}, 'NOT_FOUND', "'x' is not available"),
        ({}, {'frame_start_us': 2**62}, 'INVALID_ARGUMENT', 'is not before'),
        ({}, {'frame_start_us': 1}, 'OUT_OF_RANGE', 'outside the scene'),
        (
            *({}, {'lidar_config': sim.LidarSpec(lidar_type=7)}),
            *('INVALID_ARGUMENT', 'PANDAR128, AT128'),
        ),
        ({}, {'sensor_pose': sim.PosePair()}, 'INVALID_ARGUMENT', 'start_pose is missing'),
        ({'editing': False}, MOVED, 'FAILED_PRECONDITION', '--enable-editing-actors'),
        ({'failure_rate': 1.0}, {}, 'UNKNOWN', 'NRenderer.render failed'),
    ],
)
def test_spins_are_refused_as_pictures_are(behave, scenario, behaviour, changes, code, words):
    client = behave(**behaviour)
    got, text = refused(lambda: client.call('render_lidar', asked(scenario, **changes)))
    assert got.name == code
    assert words in text


def test_a_drawing_of_ones_own_may_have_no_lidar(play, scenario):
    client = play()
    got, text = refused(lambda: client.call('render_lidar', asked(scenario)))
    assert got is grpc.StatusCode.UNIMPLEMENTED
    assert 'spin' in text
