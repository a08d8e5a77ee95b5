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
from test.support.archives import build_archive, CAMERAS, ego_pose, START_US, track, yawed
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
from test.support.player_bench import serve, stamp_ns

from diagnostic_msgs.msg import DiagnosticArray
import numpy as np
from nurec_ros import Environment
from nurec_ros.preview.lidar import beams, DEVICES
from nurec_ros.preview.server import PreviewServer
from nurec_ros.rendering.protos import sensorsim_pb2
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CompressedImage, PointCloud2
from tf2_msgs.msg import TFMessage

pytestmark = pytest.mark.contract

BEGIN_NS = START_US * 1000
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
def server(usdz):
    with serve(usdz) as running:
        running.spin = lambda *_: CLOUD
        yield running


def statuses(bench):
    """Return the newest diagnostics, by part."""
    found = bench.listen(DiagnosticArray, '/diagnostics')
    bench.spin(found, 2)
    return {status.name.partition(': ')[2]: status for status in found[-1].status}


@pytest.mark.parametrize(('layout', 'buffers'), [('xyzi', True), ('xyzirc', False)])
def test_clouds_arrive_bit_for_bit_at_the_ends_of_the_spins(start, usdz, server, layout, buffers):
    server.spin = lambda *_: (new_reply if buffers else old_reply)(XYZ, INTENSITIES)
    bench = start(
        usdz_path=usdz, server=server.address, mode='lockstep', rate=5.0, lidar_layout=layout
    ).ready()
    clouds = bench.listen(PointCloud2, POINTS)
    bench.until(lambda: clouds, 'the cloud of the halted moment')
    assert stamp_ns(clouds[0]) == BEGIN_NS
    bench.trigger('play')
    bench.until(lambda: bench.state['done'], 'the end')
    bench.until(lambda: len(clouds) >= 1 + len(SPINS), 'all spins')
    assert [stamp_ns(one) for one in clouds] == [BEGIN_NS, *ENDS_NS]
    rests = {
        'xyzi': [struct.pack('<f', value) for value in INTENSITIES],
        'xyzirc': [
            struct.pack('<BBH', value, 1, row) for row, value in enumerate((0, 64, 128, 255))
        ],
    }[layout]
    expected = b''.join(xyz.tobytes() + rest for xyz, rest in zip(XYZ, rests, strict=True))
    for one in clouds:
        assert bytes(one.data) == expected
        assert (one.header.frame_id, one.width, one.point_step) == (LIDAR, 4, 16)
    asked = {(one.frame_start_us, one.frame_end_us) for one in server.requests('render_lidar')}
    assert {tuple(spin) for spin in SPINS} <= asked


def test_the_frame_is_the_sensors_own_and_stands_at_every_stamp(start, usdz, server):
    bench = start(usdz_path=usdz, server=server.address, mode='lockstep').ready()
    static = bench.listen(TFMessage, '/tf_static', latched=True)
    moving = bench.listen(TFMessage, '/tf')
    clouds = bench.listen(PointCloud2, POINTS)
    bench.until(lambda: static and clouds, 'the frames')
    (found,) = [one for one in static[-1].transforms if one.child_frame_id == LIDAR]
    assert found.header.frame_id == 'base_link'
    at, to = found.transform.translation, found.transform.rotation
    T = np.array(T_RIG_LIDAR)
    np.testing.assert_allclose([at.x, at.y, at.z], T[:3, 3])
    np.testing.assert_allclose(
        Rotation.from_quat([to.x, to.y, to.z, to.w]).as_matrix(), T[:3, :3], atol=1e-12
    )
    bench.seek(ENDS_NS[3] - 1_000_000)
    bench.configure(tick_us=50_000)
    bench.trigger('tick')
    stamps = bench.until(
        lambda: [stamp_ns(one) for one in clouds if stamp_ns(one) == ENDS_NS[3]], 'the cloud'
    )
    place = bench.until(
        lambda: [
            one
            for message in moving
            for one in message.transforms
            if one.child_frame_id == 'base_link' and stamp_ns(one) == stamps[0]
        ],
        'its transform',
    )[0].transform.translation
    true = np.array(ego_pose((stamps[0] // 1000 - START_US) * 1e-6))[:3, 3]
    # Between poses the archive's arc is a chord.
    np.testing.assert_allclose([place.x, place.y, place.z], true, atol=0.01)


def test_nothing_is_rendered_that_nobody_wants(start, usdz, server):
    before = len(server.requests('render_lidar'))
    bench = start(usdz_path=usdz, server=server.address, mode='lockstep', rate=5.0).ready()
    pictures = bench.listen(CompressedImage, f'~/{CAMERAS[0]}/image_raw/compressed')
    bench.trigger('play')
    bench.until(lambda: bench.state['done'] and pictures, 'the end')
    assert len(server.requests('render_lidar')) == before
    status = statuses(bench)[LIDAR]
    assert status.message == 'nobody listens'
    # They are sensors, and no cameras.
    assert bench.state['cameras'] == list(CAMERAS)


def test_a_rate_and_a_device_of_its_own(start, usdz, server):
    bench = start(usdz_path=usdz, server=server.address, **{f'{LIDAR}.rate': 4.0}).ready()
    clouds = bench.listen(PointCloud2, POINTS)
    bench.until(lambda: clouds, 'the cloud of the halted moment')
    bench.configure(tick_us=1_000_000, **{f'{LIDAR}__device': 'at128'})
    bench.trigger('tick')
    wanted = [BEGIN_NS + 250_000_000 * k for k in range(1, 5)]
    bench.until(lambda: stamp_ns(clouds[-1]) == wanted[-1], 'the last')
    assert [stamp_ns(one) for one in clouds if stamp_ns(one) > BEGIN_NS] == wanted
    assert server.requests('render_lidar')[-1].lidar_config.lidar_type == 1


def test_an_environment_has_the_cloud_of_the_same_moment(start, usdz, server):
    """Both ask for the same, byte for byte, and show the same points."""

    def told(request, _):
        points = np.array([[request.frame_end_us - START_US, 0.1, k] for k in range(4)], '<f4')
        return new_reply(points, INTENSITIES)

    server.spin = told
    bench = start(usdz_path=usdz, server=server.address).ready()
    clouds = bench.listen(PointCloud2, POINTS)
    bench.until(lambda: clouds, 'the cloud of the halted moment')
    bench.configure(tick_us=300_000)
    bench.trigger('tick')
    bench.until(lambda: stamp_ns(clouds[-1]) == ENDS_NS[1], 'the last')
    by_node = server.requests('render_lidar')
    count = len(by_node)
    with Environment(usdz, server.address, ego_source='recorded') as environment:
        environment.reset()
        found = environment.step(None, 0.3).clouds[LIDAR]
    by_environment = server.requests('render_lidar')[count:]
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


def test_none_wanted_and_a_name_that_is_unknown(start, usdz, server):
    bench = start(usdz_path=usdz, server=server.address, lidars='[none]').ready()
    bench.matched(f'~/{CAMERAS[0]}/camera_info')
    assert not [topic for topic in bench.topics() if topic.endswith('/points')]
    assert LIDAR not in statuses(bench)
    bench.configure(lidars=['roof'])
    answer = bench.refusal('load')
    assert f"parameter 'lidars' names 'roof'; expected some of '{LIDAR}'" in answer


def test_a_server_without_lidars(start, usdz):
    with serve(usdz) as server:
        bench = start(usdz_path=usdz, server=server.address).ready()
        clouds = bench.listen(PointCloud2, POINTS)
        bench.matched(POINTS)
        bench.until(lambda: 'refused lidar' in server.methods(), 'the spin of the halted moment')
        bench.configure(tick_us=500_000)
        lost = bench.trigger('tick')['failed_images']
        assert 'renders no lidars' in lost[LIDAR]
        assert server.methods().count('refused lidar') == 1
        assert not clouds
        status = statuses(bench)[LIDAR]
        assert 'renders no lidars' in status.message
        assert 'NuRec servers from 25.07 on do' in status.message


SPOILT = {
    '4 intensities, expected 3, one a point': new_reply(XYZ[:3], INTENSITIES),
    '12 of 12 coordinates of the reply are not finite': new_reply(
        XYZ * np.float32(np.nan), INTENSITIES
    ),
    '3000000 points, expected 2000000 at most': field(4, bytes(36_000_000)),
}


def test_what_does_not_fit_is_dropped_counted_and_named_and_an_empty_cloud_published(
    start, usdz, server
):
    server.spin = lambda *_: new_reply(XYZ[:3], INTENSITIES)
    bench = start(usdz_path=usdz, server=server.address).ready()
    clouds = bench.listen(PointCloud2, POINTS)
    bench.matched(POINTS)
    bench.configure(tick_us=200_000)
    for words, reply in SPOILT.items():
        server.spin = lambda *_, reply=reply: reply
        assert words in bench.trigger('tick')['failed_images'][LIDAR]
        bench.until(lambda words=words: words in statuses(bench)[LIDAR].message, 'the diagnostics')
    values = {one.key: one.value for one in statuses(bench)[LIDAR].values}
    assert int(values['failed']) >= len(SPOILT)
    assert clouds == []
    # The next ones are well.
    for reply, width in ((CLOUD, len(XYZ)), (b'', 0)):
        server.spin = lambda *_, reply=reply: reply
        bench.trigger('tick')
        bench.until(lambda width=width: clouds and clouds[-1].width == width, 'the next cloud')
        assert len(clouds[-1].data) == 16 * width


def test_without_spins_ten_a_second(start, tmp_path, server):
    def edit(rig):
        add_lidar(rig, spins=None)
        rig['rig_trajectories'][0].pop('lidars_frame_timestamps_us')

    server.spin = lambda *_: CLOUD
    bench = start(usdz_path=build_archive(tmp_path, edit_rig=edit), server=server.address).ready()
    clouds = bench.listen(PointCloud2, POINTS)
    bench.until(lambda: clouds, 'the cloud of the halted moment')
    bench.configure(tick_us=300_000)
    bench.trigger('tick')
    wanted = [BEGIN_NS + 100_000_000 * k for k in range(1, 4)]
    bench.until(lambda: stamp_ns(clouds[-1]) == wanted[-1], 'the last')
    assert [stamp_ns(one) for one in clouds if stamp_ns(one) > BEGIN_NS] == wanted


PANDAR = DEVICES[sensorsim_pb2.PANDAR128]
# The preview's own number of beams.
ROWS, COLUMNS = 64, 900
# Each of them cast in Python would take half a minute.
EVERY = 9
SPAN_US = 100_000
TIMES_US = [START_US + k * SPAN_US for k in range(21)]
# Class, size, where at START, turned by, speed along x. All within 30 m, and none behind another.
BOXES = (
    ('automobile', (4.5, 1.9, 1.6), (17.0, -3.5), 0.2, 3.0),
    ('person', (0.6, 0.7, 1.8), (12.0, 7.0), 0.0, -1.0),
    ('bus', (11.0, 2.6, 3.2), (-12.0, 6.0), 0.4, 0.0),
    ('heavy_truck', (8.0, 2.5, 3.4), (4.0, -11.0), -0.3, 0.0),
    ('person', (0.6, 0.7, 1.7), (-6.0, -6.0), 1.0, 0.0),
    ('automobile', (4.3, 1.8, 1.5), (24.0, 11.0), 1.3, -2.0),
)
DIMS = np.array([dims for _, dims, *_ in BOXES])


def boxes_at(t_us):
    """Return where the boxes are (N, 4, 4)."""
    seconds = (t_us - START_US) * 1e-6
    return np.array(
        [
            pose((x + speed * seconds, y, dims[2] / 2), yaw(turn))
            for _, dims, (x, y), turn, speed in BOXES
        ]
    )


def documents():
    tracks = []
    for name, (label, dims, (x, y), turn, speed) in enumerate(BOXES):
        way = [yawed(x + speed * 1e-6 * (t - START_US), y, dims[2] / 2, turn) for t in TIMES_US]
        tracks.append(track(str(name), label, way, TIMES_US, dims=dims))
    return tracks


@pytest.fixture(scope='module')
def rays_usdz(tmp_path_factory):
    spins = [[t - SPAN_US, t] for t in TIMES_US[1:]]
    return build_archive(
        tmp_path_factory.mktemp('rays'),
        tracks=documents(),
        edit_rig=lambda rig: add_lidar(rig, spins=spins),
    )


def matrix_of(transform):
    at, to = transform.transform.translation, transform.transform.rotation
    turn = Rotation.from_quat([to.x, to.y, to.z, to.w]).as_matrix()
    return pose((at.x, at.y, at.z), turn)


def test_points_are_where_rays_of_ones_own_end(start, rays_usdz):
    with PreviewServer([rays_usdz]) as server:
        bench = start(usdz_path=rays_usdz, server=server.address).ready()
        fixed = bench.listen(TFMessage, '/tf_static', latched=True)
        moving = bench.listen(TFMessage, '/tf')
        clouds = bench.listen(PointCloud2, f'~/{LIDAR}/points')
        bench.until(lambda: fixed and clouds, 'the cloud of the halted moment')
        bench.configure(tick_us=8 * SPAN_US)
        for moment_us in (TIMES_US[8], TIMES_US[16]):
            bench.trigger('tick')
            (cloud,) = bench.until(
                lambda stamp=moment_us * 1000: [one for one in clouds if stamp_ns(one) == stamp],
                'the cloud of the moment',
            )
            transforms = bench.until(
                lambda cloud=cloud: [
                    one
                    for message in moving
                    for one in message.transforms
                    if (one.child_frame_id, stamp_ns(one)) == ('base_link', stamp_ns(cloud))
                ],
                'its transform',
            )
            (mount,) = [
                one for one in fixed[-1].transforms if one.child_frame_id == cloud.header.frame_id
            ]
            check(cloud, matrix_of(transforms[0]) @ matrix_of(mount), moment_us)


def check(cloud, T_map_lidar, moment_us):
    """Compare a cloud, placed by what TF says, with the world of its moment."""
    rows = np.frombuffer(bytes(cloud.data), '<f4').reshape(-1, 4).astype(float)
    seen = placed(rows[:, :3], T_map_lidar)
    start, end = (
        np.array(ego_pose((t - START_US) * 1e-6)) @ np.array(T_RIG_LIDAR)
        for t in (moment_us - SPAN_US, moment_us)
    )
    # It turns by more than a degree within the spin.
    turned = Rotation.from_matrix(start[:3, :3].T @ end[:3, :3]).magnitude()
    assert math.degrees(turned) > 1.0
    boxes = boxes_at(moment_us)
    fired = (beams(PANDAR, ROWS, COLUMNS).elevations, COLUMNS)
    expected, what = cast_spin(fired, PANDAR.farthest, boxes, DIMS, start, end, every=EVERY)
    assert {-1, *range(len(BOXES))} == set(what.tolist())
    distance, _ = cKDTree(seen).query(expected)
    assert distance.max() < 0.01
    # And nothing is anywhere else: each point lies on the ground or on a side of a box.
    off = np.abs(seen[:, 2])
    counts = []
    for box, dims in zip(boxes, DIMS, strict=True):
        local = np.abs((seen - box[:3, 3]) @ box[:3, :3]) - dims / 2
        off = np.minimum(off, np.abs(local.max(axis=1)))
        on_it = (np.abs(local.max(axis=1)) < 0.01) & (seen[:, 2] > 0.02)
        counts.append(np.count_nonzero(on_it))
        assert np.linalg.norm(box[:3, 3] - end[:3, 3]) < 30.0
    assert off.max() < 0.01
    assert min(counts) >= 20
