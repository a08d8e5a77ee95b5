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
"""
The preview's clouds on the topic, placed by /tf and /tf_static, against rays of the test's own.

The ego turns on its arc; where it is, and where the boxes are, is known in closed form.
"""

import math
from test.preview.drawn_world import cast_spin, placed, pose, yaw
from test.support.archives import build_archive, ego_pose, START_US, track, yawed
from test.support.lidars import add_lidar, LIDAR, T_RIG_LIDAR
from test.support.player_bench import stamp_ns

import numpy as np
from nurec_ros.preview.lidar import beams, DEVICES
from nurec_ros.preview.server import PreviewServer
from nurec_ros.rendering.protos import sensorsim_pb2
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import PointCloud2
from tf2_msgs.msg import TFMessage

pytestmark = pytest.mark.ros

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
def usdz(tmp_path_factory):
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


def test_points_are_where_rays_of_ones_own_end(start, usdz):
    with PreviewServer([usdz]) as server:
        bench = start(usdz_path=usdz, server=server.address).ready()
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
