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
"""Lidars: their topics and clouds, and that points lie where rays end."""

import math
import struct
from test.preview.drawn_world import cast_spin, placed, pose, yaw
from test.support.archives import build_archive, CAMERAS, ego_pose, example_tracks, START_US
from test.support.lidars import (
    add_lidar,
    ELEVATIONS,
    field,
    LIDAR,
    new_reply,
    old_reply,
    SPINS,
    T_RIG_LIDAR,
)
from test.support.player_bench import BEGIN_NS, MS, serve, stamp_ns

import numpy as np
from nurec_ros import Environment
from nurec_ros.preview.lidar import beams, DEVICES
from nurec_ros.preview.server import PreviewServer
from nurec_ros.rendering.protos import sensorsim_pb2
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import PointCloud2
from tf2_msgs.msg import TFMessage

pytestmark = pytest.mark.contract

POINTS = f'~/{LIDAR}/points'
ENDS_NS = [1000 * end for _, end in SPINS]
# One row of the model each, and the elevation of its own.
XYZ = np.array(
    [(10 * np.cos(e), 0.5 * k, 10 * np.sin(e)) for k, e in enumerate(ELEVATIONS)], dtype='<f4'
)
INTENSITIES = np.array([0.0, 0.25, 0.5, 1.0], dtype='<f4')
CLOUD = new_reply(XYZ, INTENSITIES)


@pytest.fixture(scope='module')
def usdz(tmp_path_factory):
    return build_archive(tmp_path_factory.mktemp('lidar'), edit_rig=lambda rig: add_lidar(rig))


@pytest.fixture(scope='module')
def running(start, usdz, server):
    server.spin = lambda *_: CLOUD
    return start(usdz_path=usdz, server=server.address, mode='lockstep', clock_rate=25).ready()


@pytest.fixture
def clouds(bench, server):
    """Listen to the shared player's lidar; no cloud of another test is still to come."""
    server.spin = lambda *_: CLOUD
    return heard(bench)


def heard(bench):
    clouds = bench.hear(PointCloud2, POINTS)
    assert {stamp_ns(one) for one in clouds} == {BEGIN_NS}
    return clouds


def reported(bench, words):
    """Wait until the message of the lidar's status has some words."""
    bench.until(lambda: words in bench.status(LIDAR).message, f'{words!r} in the diagnostics')


@pytest.mark.parametrize(
    ('layout', 'reply', 'rests'),
    [
        ('xyzi', new_reply, [struct.pack('<f', value) for value in INTENSITIES]),
        ('xyzirc', old_reply, [struct.pack('<BBH', (0, 64, 128, 255)[k], 1, k) for k in range(4)]),
    ],
)
def test_clouds_arrive_bit_for_bit_at_the_ends_of_the_spins(
    start, usdz, server, layout, reply, rests
):
    server.spin = lambda *_: reply(XYZ, INTENSITIES)
    bench = start(
        usdz_path=usdz, server=server.address, mode='lockstep', rate=5.0, lidar_layout=layout
    ).ready()
    clouds = heard(bench)
    bench.trigger('play')
    bench.until(lambda: bench.state['done'] and len(clouds) > len(SPINS), 'the end, and all spins')
    assert [stamp_ns(one) for one in clouds] == [BEGIN_NS, *ENDS_NS]
    expected = b''.join(xyz.tobytes() + rest for xyz, rest in zip(XYZ, rests, strict=True))
    for one in clouds:
        assert bytes(one.data) == expected
        assert (one.header.frame_id, one.width, one.point_step) == (LIDAR, 4, 16)
    asked = {(one.frame_start_us, one.frame_end_us) for one in server.requests('render_lidar')}
    assert {tuple(spin) for spin in SPINS} <= asked


def test_nothing_is_rendered_that_nobody_wants(bench, server):
    reported(bench, 'nobody listens')
    before = len(server.requests('render_lidar'))
    bench.infos_of()
    bench.play_out(rate=5.0)
    assert len(server.requests('render_lidar')) == before
    # They are sensors, and no cameras.
    assert bench.state['cameras'] == list(CAMERAS)


def test_a_rate_and_a_device_of_its_own(bench, clouds, server):
    bench.configure(**{f'{LIDAR}__rate': 4.0, f'{LIDAR}__device': 'at128'})
    assert bench.ticked(clouds, 1_000_000, 4) == [250 * MS, 500 * MS, 750 * MS, 1000 * MS]
    assert server.requests('render_lidar')[-1].lidar_config.lidar_type == 1
    bench.configure(**{f'{LIDAR}__rate': -1.0, f'{LIDAR}__device': ''})


def test_an_environment_has_the_cloud_of_the_same_moment(bench, clouds, usdz, server):
    """Both ask for the same, byte for byte, and show the same points."""

    def told(request, _):
        points = np.array([[request.frame_end_us - START_US, 0.1, k] for k in range(4)], '<f4')
        return new_reply(points, INTENSITIES)

    server.spin = told
    first = len(server.requests('render_lidar'))
    assert bench.ticked(clouds, 300_000, 2) == [112 * MS, 212 * MS]
    until_now = len(server.requests('render_lidar'))
    by_node = server.requests('render_lidar')[first:until_now]
    with Environment(usdz, server.address, ego_source='recorded') as environment:
        environment.reset()
        found = environment.step(None, 0.3).clouds[LIDAR]
    by_environment = server.requests('render_lidar')[until_now:]
    assert found.t_ns == stamp_ns(clouds[-1])
    assert found.xyzi.tobytes() == bytes(clouds[-1].data)
    # Two spins were due, which may have come in any order, and whoever was late may have had the
    # halted moment's too.
    ends_us = found.t_ns // 1000
    asked = [
        {one.SerializeToString() for one in some if one.frame_end_us == ends_us}
        for some in (by_environment, by_node)
    ]
    assert asked[0] == asked[1]
    assert len(asked[0]) == 1


def test_none_wanted_and_a_name_that_is_unknown(bench, load):
    load(lidars=['none'])
    bench.until(lambda: f'/nurec/{LIDAR}/points' not in bench.topics(), 'the end of the topic')
    bench.matched(f'~/{CAMERAS[0]}/camera_info')
    bench.reports.clear()
    bench.until(lambda: bench.reports, 'diagnostics')
    assert not [one.name for one in bench.reports[-1].status if LIDAR in one.name]
    bench.configure(lidars=['roof'])
    answer = bench.refusal('load')
    assert f"parameter 'lidars' names 'roof'; expected some of '{LIDAR}'" in answer


def test_a_server_without_lidars(bench, load, usdz):
    with serve(usdz) as server:
        load(server=server.address)
        clouds = bench.listen(PointCloud2, POINTS)
        bench.until(lambda: 'refused lidar' in server.methods(), 'the spin of the halted moment')
        bench.configure(tick_us=500_000)
        lost = bench.trigger('tick')['failed_images']
        assert 'renders no lidars' in lost[LIDAR]
        assert server.methods().count('refused lidar') == 1
        assert not clouds
        reported(bench, 'renders no lidars')
        assert 'NuRec servers from 25.07 on do' in bench.status(LIDAR).message


def test_what_does_not_fit_is_dropped_counted_and_named_and_an_empty_cloud_published(
    bench, clouds, server
):
    bench.configure(tick_us=200_000)
    nan = XYZ * np.float32(np.nan)
    spoilt = {
        '4 intensities, expected 3, one a point': new_reply(XYZ[:3], INTENSITIES),
        '12 of 12 coordinates of the reply are not finite': new_reply(nan, INTENSITIES),
        '2000001 points, expected 2000000 at most': field(4, bytes(24_000_012)),
    }
    count = len(clouds)
    for words, reply in spoilt.items():
        server.spin = lambda *_, reply=reply: reply
        assert words in bench.trigger('tick')['failed_images'][LIDAR]
        reported(bench, words)
    assert int(bench.told(LIDAR)['failed']) >= len(spoilt)
    assert len(clouds) == count
    # The next ones are well.
    for reply, width in ((CLOUD, len(XYZ)), (b'', 0)):
        server.spin = lambda *_, reply=reply: reply
        bench.trigger('tick')
        count += 2
        bench.until(lambda count=count: len(clouds) == count, 'the next clouds')
        assert [(one.width, len(one.data)) for one in clouds[-2:]] == [(width, 16 * width)] * 2


def test_without_spins_ten_a_second(bench, load, tmp_path, server):
    def edit(rig):
        add_lidar(rig, spins=None)
        rig['rig_trajectories'][0].pop('lidars_frame_timestamps_us')

    server.spin = lambda *_: CLOUD
    load(usdz_path=str(build_archive(tmp_path, edit_rig=edit)))
    assert bench.ticked(heard(bench), 300_000, 3) == [100 * MS, 200 * MS, 300 * MS]


PANDAR = DEVICES[sensorsim_pb2.PANDAR128]
# The preview's own number of beams.
ROWS, COLUMNS = 64, 900
# Each of them cast in Python would take half a minute.
EVERY = 9
DIMS = np.array([one['dims'] for one in example_tracks()[:3]])


def boxes_at(seconds):
    """Return where the archive's car, person and truck are, (3, 4, 4)."""
    car = pose((20.0 + 6.0 * seconds, 3.5, 0.8), yaw(0.3 * seconds))
    person = pose((12.0, -6.0 + 1.4 * seconds, 0.9), yaw(math.pi / 2))
    return np.array([car, person, pose((30.0, -4.0, 1.5))])


def matrix_of(transform):
    at, to = transform.transform.translation, transform.transform.rotation
    turn = Rotation.from_quat([to.x, to.y, to.z, to.w]).as_matrix()
    return pose((at.x, at.y, at.z), turn)


def test_points_are_where_rays_of_ones_own_end(bench, load, usdz):
    """By what TF says, which has the sensor's own frame, and a transform of each cloud's stamp."""
    with PreviewServer([usdz]) as server:
        load(server=server.address)
        fixed = bench.hear(TFMessage, '/tf_static', latched=True)
        moving = bench.listen(TFMessage, '/tf')
        clouds = heard(bench)
        (mount,) = [one for one in fixed[-1].transforms if one.child_frame_id == LIDAR]
        assert mount.header.frame_id == 'base_link'
        np.testing.assert_allclose(matrix_of(mount), T_RIG_LIDAR, atol=1e-12)
        before_us = START_US
        for start_us, end_us in (SPINS[6], SPINS[10]):
            bench.configure(tick_us=end_us - before_us)
            bench.trigger('tick')
            before_us = end_us

            def at_once(messages, stamp=1000 * end_us):
                return [one for one in messages if stamp_ns(one) == stamp]

            (cloud,) = bench.until(lambda found=at_once: found(clouds), 'the cloud of the moment')
            # The ego's is the only frame that moves.
            places = bench.until(
                lambda found=at_once: found(one for m in moving for one in m.transforms),
                'its transform',
            )
            start, end = (1e-6 * (t - START_US) for t in (start_us, end_us))
            T_map_rig = matrix_of(places[0])
            # Between poses the archive's arc is a chord.
            np.testing.assert_allclose(T_map_rig[:3, 3], np.array(ego_pose(end))[:3, 3], atol=0.01)
            assert cloud.header.frame_id == LIDAR
            check(cloud, T_map_rig @ matrix_of(mount), start, end)


def check(cloud, T_map_lidar, *spin):
    """Compare a cloud, placed by what TF says, with the world of its moment, the spin's end."""
    rows = np.frombuffer(bytes(cloud.data), '<f4').reshape(-1, 4).astype(float)
    seen = placed(rows[:, :3], T_map_lidar)
    start, end = (np.array(ego_pose(seconds)) @ np.array(T_RIG_LIDAR) for seconds in spin)
    # It turns by more than a degree within the spin.
    turned = Rotation.from_matrix(start[:3, :3].T @ end[:3, :3]).magnitude()
    assert math.degrees(turned) > 1.0
    boxes = boxes_at(spin[1])
    fired = (beams(PANDAR, ROWS, COLUMNS).elevations, COLUMNS)
    expected, what = cast_spin(fired, PANDAR.farthest, boxes, DIMS, start, end, every=EVERY)
    assert {-1, *range(len(boxes))} == set(what.tolist())
    distance, _ = cKDTree(seen).query(expected)
    assert distance.max() < 0.01
    # And nothing is anywhere else: each point lies on the ground or on a side of a box.
    off = np.abs(seen[:, 2])
    for box, dims in zip(boxes, DIMS, strict=True):
        local = np.abs((seen - box[:3, 3]) @ box[:3, :3]) - dims / 2
        side = np.abs(local.max(axis=1))
        off = np.minimum(off, side)
        assert np.count_nonzero((side < 0.01) & (seen[:, 2] > 0.02)) >= 20
    assert off.max() < 0.01
