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
"""A lidar's points on the topic, byte for byte, in both layouts."""

from dataclasses import replace
import math
import struct
from test.support.outlet import RecordingOutlet

import numpy as np
from nurec_ros.rendering.frames import Cloud
from nurec_ros.ros.names import FrameNames
from nurec_ros.ros.sensor_topics import channels_of, LidarTopic
from nurec_ros.scenario import Lidar
from nurec_ros.scenario.rig import SpinningLidar
import pytest
from sensor_msgs.msg import PointField

pytestmark = pytest.mark.ros

# Neither rising nor falling.
ELEVATIONS = np.radians([10.0, -20.0, 0.0, -5.0])
MODEL = SpinningLidar(10.0, 'cw', ELEVATIONS, np.zeros(1), np.zeros(4))
LIDAR = Lidar('top lidar', 'key', np.eye(4), MODEL, np.empty((0, 2), dtype=np.int64))
FRAMES = FrameNames.create(cameras=['front'], lidars=['top lidar'], prefix='two/')
TOPIC = '~/top_lidar/points'
T_NS = 27_567_868_848_000


def towards(elevation_deg: float, azimuth_deg: float = 40.0, distance: float = 12.0):
    elevation, azimuth = math.radians(elevation_deg), math.radians(azimuth_deg)
    flat = distance * math.cos(elevation)
    return flat * math.cos(azimuth), flat * math.sin(azimuth), distance * math.sin(elevation)


def cloud_of(points, intensities, t_ns=T_NS):
    return Cloud(
        'top lidar',
        t_ns,
        np.array(points, dtype=np.float32).reshape(-1, 3),
        np.array(intensities, dtype=np.float32),
        0.1,
    )


POINTS = [towards(10.2), towards(-19.0, -170.0), towards(-2.4), towards(-2.6), (0.0, 0.0, 0.0)]
INTENSITIES = [0.0, 0.5, 1.0, 0.25, 1.5]
CLOUD = cloud_of(POINTS, INTENSITIES)


@pytest.fixture
def outlet():
    return RecordingOutlet()


def published(outlet, layout, *clouds, lidar=LIDAR):
    topic = LidarTopic(outlet, FRAMES, lidar, layout)
    for cloud in clouds:
        topic.publish(cloud)
    return outlet.messages(TOPIC)


def fields_of(message):
    return [(one.name, one.offset, one.datatype, one.count) for one in message.fields]


PLACE = [('x', 0, PointField.FLOAT32, 1), ('y', 4, PointField.FLOAT32, 1)]
PLACE += [('z', 8, PointField.FLOAT32, 1)]


def test_xyzi(outlet):
    (message,) = published(outlet, 'xyzi', CLOUD)
    assert message.header.frame_id == 'two/top_lidar'
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (27567, 868848000)
    assert (message.height, message.width) == (1, 5)
    assert (message.point_step, message.row_step) == (16, 80)
    assert (message.is_bigendian, message.is_dense) == (False, True)
    assert fields_of(message) == [*PLACE, ('intensity', 12, PointField.FLOAT32, 1)]
    expected = b''.join(
        struct.pack('<ffff', *point, intensity)
        for point, intensity in zip(POINTS, INTENSITIES, strict=True)
    )
    assert bytes(message.data) == expected


def test_xyzirc_is_what_autoware_takes(outlet):
    (message,) = published(outlet, 'xyzirc', CLOUD)
    assert (message.point_step, message.row_step) == (16, 80)
    assert fields_of(message) == [
        *PLACE,
        ('intensity', 12, PointField.UINT8, 1),
        ('return_type', 13, PointField.UINT8, 1),
        ('channel', 14, PointField.UINT16, 1),
    ]
    # Intensities of 0 to 255, single returns, and the row of the nearest elevation.
    rests = [(0, 1, 0), (128, 1, 1), (255, 1, 2), (64, 1, 3), (255, 1, 2)]
    expected = b''.join(
        struct.pack('<fffBBH', *point, *rest) for point, rest in zip(POINTS, rests, strict=True)
    )
    assert bytes(message.data) == expected


ROWS = np.radians(np.random.default_rng(5).permutation(np.linspace(14.4, -25.0, 128) ** 3 / 5e2))


@pytest.mark.parametrize(
    'rows',
    [
        ROWS,
        # A single one; equal ones; some too close for a table; some that no point comes near to.
        np.array([0.2]),
        np.array([0.1, -0.3, 0.1, -0.3, 0.25]),
        np.array([0.3, 0.3 + 1e-9, -1.0]),
        np.array([7.0, -0.5, 1.57, 0.2, -1.6, -9.0]),
        np.array([7.0, -8.0]),
    ],
)
def test_each_channel_is_the_row_of_the_nearest_elevation(rows):
    rng = np.random.default_rng(3)
    points = rng.normal(size=(20_000, 3)) * rng.uniform(0.1, 100.0, (20_000, 1))
    points[::2, 2] *= 0.2
    points = np.concatenate([points, np.eye(3), -np.eye(3), np.zeros((1, 3))]).astype(np.float32)
    x, y, z = points.astype(np.float64).T
    off = np.abs(np.arctan2(z, np.hypot(x, y))[:, np.newaxis] - rows)
    found = channels_of(rows)(points)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, off.argmin(axis=1))


def test_channels_between_two_rows_change_in_the_middle():
    """To a float's last digit, with rows as close as those of a real device."""
    rows = np.sort(ROWS)
    middles = (rows[1:] + rows[:-1]) / 2
    for side, expected in ((-1e-7, np.arange(127)), (1e-7, np.arange(1, 128))):
        angles = middles + side
        points = np.stack([np.cos(angles), 0 * angles, np.sin(angles)], axis=1) * 30.0
        # Float32 places are up to 6e-8 off: those that are on the other side are left out.
        points = points.astype(np.float32)
        there = np.arctan2(points[:, 2].astype(float), points[:, 0].astype(float))
        right = (there - middles) * side > 0.0
        assert right.sum() > 100
        np.testing.assert_array_equal(channels_of(rows)(points)[right], expected[right])


def test_xyzirc_without_a_model_is_xyzi_and_said(outlet):
    topic = LidarTopic(outlet, FRAMES, replace(LIDAR, model=None), 'xyzirc')
    assert 'its points are xyzi' in topic.note
    topic.publish(CLOUD)
    (message,) = outlet.messages(TOPIC)
    assert fields_of(message)[-1] == ('intensity', 12, PointField.FLOAT32, 1)
    for layout, lidar in (('xyzi', replace(LIDAR, model=None)), ('xyzirc', LIDAR)):
        assert LidarTopic(RecordingOutlet(), FRAMES, lidar, layout).note == ''


@pytest.mark.parametrize('layout', ['xyzi', 'xyzirc'])
def test_clouds_of_other_sizes_follow_each_other(outlet, layout):
    """A message is used again: longer, shorter, and empty."""
    sizes = [2, 5, 0, 3]
    clouds = [cloud_of(POINTS[:n], INTENSITIES[:n], T_NS + k) for k, n in enumerate(sizes)]
    messages = published(outlet, layout, *clouds)
    assert [message.width for message in messages] == sizes
    whole = bytes(messages[1].data)
    for message, n in zip(messages, sizes, strict=True):
        assert bytes(message.data) == whole[: 16 * n]
        assert message.row_step == 16 * n


def test_the_arrays_of_the_wire_are_taken_as_they_are(outlet):
    """Buffers of a reply cannot be written to, and need not be aligned."""
    data = np.array(POINTS, dtype='<f4').tobytes()
    points = np.frombuffer(b'\0' + data, '<f4', offset=1).reshape(-1, 3)
    (message,) = published(outlet, 'xyzi', replace(CLOUD, points=points))
    assert bytes(message.data[:12]) == data[:12]


def test_nobody_subscribes(outlet):
    outlet.numbers[TOPIC] = 0
    topic = LidarTopic(outlet, FRAMES, LIDAR, 'xyzi')
    topic.publish(CLOUD)
    assert outlet.published == []
    assert (topic.audience, topic.points) == ((0,), 5)
    topic.destroy()
    assert outlet.offered == set()
