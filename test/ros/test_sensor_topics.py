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
"""Topics of cameras and lidars: content, laziness, their end, and what cannot be published."""

from dataclasses import replace
import math
import struct
from test.support.archives import build_archive, CAMERAS, START_US
from test.support.lidars import add_lidar
from test.support.lidars import LIDAR as ARCHIVED_LIDAR
from test.support.outlet import RecordingOutlet
import threading
from typing import Any

import cv2
import numpy as np
from nurec_ros.errors import RenderError
from nurec_ros.playback.clock import Due
from nurec_ros.rendering.frames import Cloud, Failure, Frame
from nurec_ros.rendering.pipeline import RenderPipeline
from nurec_ros.ros import loading, sensor_topics
from nurec_ros.ros.loading import Loaded, read
from nurec_ros.ros.names import frame_names
from nurec_ros.ros.sensor_topics import CameraTopics, channels_of, LidarTopic
from nurec_ros.scenario import Lidar
from nurec_ros.scenario.cameras import PinholeCamera
from nurec_ros.scenario.rig import SpinningLidar
from nurec_ros.settings import Settings, Values
import pytest
from sensor_msgs.msg import CameraInfo, PointField

pytestmark = pytest.mark.ros

MODEL = PinholeCamera(resolution=(64, 48), principal_point=(31.0, 24.0), focal_length=(50.0, 50.0))
FRAMES = frame_names(Settings(frame_prefix='two/'), ['front cam', 'top lidar'])
RAW, COMPRESSED, INFO = (
    f'~/front_cam/{name}' for name in ('image_raw', 'image_raw/compressed', 'camera_info')
)
TOPICS = {'raw': RAW, 'compressed': COMPRESSED, 'info': INFO}
ALL = dict.fromkeys(TOPICS, 1)


def red_picture(width: int = 32, height: int = 24) -> np.ndarray:
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    picture[..., 0] = 200
    picture[: height // 2, :, 2] = 50
    return picture


def frame(width: int = 32, height: int = 24, encoding: str = 'png', **values: Any) -> Frame:
    """Return a frame with the red picture, as the renderer gives it."""
    picture = red_picture(width, height)
    if encoding == 'rgb8':
        data = picture.transpose(2, 0, 1).tobytes()
    else:
        data = cv2.imencode(f'.{encoding}', picture[..., ::-1])[1].tobytes()
    made = Frame('front cam', 2_000_000_003, data, encoding, width, height, 0.1)
    return replace(made, **values)


class Camera:
    """A camera's topics, with the numbers of subscribers that the test gives."""

    def __init__(
        self, image_format: str = 'png', model: PinholeCamera = MODEL, **subscribers: int
    ) -> None:
        self.outlet = RecordingOutlet(subscribers=0)
        self.outlet.numbers = {TOPICS[name]: count for name, count in subscribers.items()}
        self.topics = CameraTopics(self.outlet, FRAMES, 'front cam', model, image_format)

    def messages(self, name: str) -> list[Any]:
        return self.outlet.messages(TOPICS[name])


@pytest.mark.parametrize('encoding', ['jpeg', 'png'])
def test_compressed_bytes_pass_untouched(encoding: str):
    camera = Camera(encoding, compressed=1)
    sent = frame(encoding=encoding)
    camera.topics.publish(sent)
    # Raw pixels never go out as compressed.
    camera.topics.publish(frame(encoding='rgb8'))
    (message,) = camera.messages('compressed')
    assert message.data.tobytes() == sent.data
    assert message.format == f'rgb8; {encoding} compressed bgr8'
    assert message.header.frame_id == 'two/front_cam_optical_frame'
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (2, 3)
    # What image_transport's decoder does: OpenCV gives BGR, and the format says so.
    decoded = cv2.imdecode(np.frombuffer(message.data, dtype=np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    np.testing.assert_allclose(decoded[..., ::-1], red_picture(), atol=12)


@pytest.mark.parametrize('encoding', ['png', 'rgb8'])
def test_raw_pixels_arrive_as_rgb8(encoding: str):
    camera = Camera(raw=1)
    # Of any size, one after another in one message.
    for width, height in ((32, 24), (8, 4), (64, 48)):
        camera.topics.publish(frame(width, height, encoding))
        message = camera.messages('raw')[-1]
        assert (message.width, message.height, message.step) == (width, height, 3 * width)
        assert (message.encoding, message.is_bigendian) == ('rgb8', 0)
        assert message.data.typecode == 'B'
        assert message.data.tobytes() == red_picture(width, height).tobytes()
        assert message.header.frame_id == 'two/front_cam_optical_frame'


@pytest.mark.parametrize('name', [None, 'raw', 'compressed', 'info'])
def test_only_what_is_subscribed_to_is_published_or_decoded(
    name: str | None, monkeypatch: pytest.MonkeyPatch
):
    decoded = []

    def decode(one: Frame) -> np.ndarray:
        decoded.append(one)
        return red_picture()

    monkeypatch.setattr(sensor_topics, 'decode_rgb', decode)
    camera = Camera(**({name: 2} if name else {}))
    assert sorted(camera.topics.audience) == [0, 0, 2 if name else 0]
    camera.topics.publish(frame())
    assert camera.outlet.order == ([TOPICS[name]] if name else [])
    assert len(decoded) == (name == 'raw')


def test_all_three_have_the_same_stamp_and_frame():
    camera = Camera(**ALL)
    camera.topics.publish(frame(t_ns=0))
    headers = [camera.messages(name)[0].header for name in TOPICS]
    assert headers[0] == headers[1] == headers[2]
    assert (headers[0].stamp.sec, headers[0].stamp.nanosec) == (0, 1)


def test_a_picture_that_does_not_decode_is_on_none_of_the_topics():
    camera = Camera(**ALL)
    with pytest.raises(RenderError, match='front cam'):
        camera.topics.publish(frame(data=b'no picture'))
    assert camera.outlet.published == []


def test_with_image_format_rgb_there_is_no_compressed_topic():
    camera = Camera('rgb', raw=1)
    assert camera.outlet.offered == {RAW, INFO}
    assert len(camera.topics.audience) == 2


def test_camera_info_follows_the_size_that_came():
    camera = Camera(info=1)
    for width, height in ((32, 24), (32, 24), (16, 24)):
        camera.topics.publish(frame(width, height))
    first, second, third = camera.messages('info')
    assert first == second
    assert (first.width, first.height) == (32, 24)
    assert (first.k[0], first.k[2]) == (25.0, 15.25)
    assert (third.width, third.k[0], third.k[4]) == (16, 12.5, 25.0)
    assert first.header.frame_id == 'two/front_cam_optical_frame'
    # Residual and notes come with the calibration.
    plain = camera.topics.calibration
    assert (plain.residual, plain.notes) == (None, ())
    prism = Camera(model=replace(MODEL, thin_prism_coeffs=(0.01, 0.0, 0.0, 0.0)))
    assert len(prism.topics.calibration.notes) == 1


def test_a_frame_that_comes_after_the_end_is_dropped():
    camera = Camera(**ALL)
    camera.topics.destroy()
    camera.topics.destroy()
    assert camera.outlet.offered == set()
    camera.topics.publish(frame())
    assert camera.outlet.published == []
    assert camera.topics.audience == (0, 0, 0)


def test_a_camera_may_end_while_its_frame_is_decoded(monkeypatch: pytest.MonkeyPatch):
    camera = Camera(raw=1, info=1)

    def decode(_: Frame) -> np.ndarray:
        ending = threading.Thread(target=camera.topics.destroy)
        ending.start()
        ending.join(10.0)
        assert not ending.is_alive()
        return red_picture()

    monkeypatch.setattr(sensor_topics, 'decode_rgb', decode)
    camera.topics.publish(frame())
    assert camera.outlet.published == []


def test_a_topic_that_cannot_be_leaves_none_of_the_others():
    outlet = RecordingOutlet()
    outlet.topics[INFO] = outlet.advertise(CameraInfo, INFO, None)
    with pytest.raises(AssertionError):
        CameraTopics(outlet, FRAMES, 'front cam', MODEL, 'png')
    assert outlet.topics[RAW].destroyed


# Lidars.

# Neither rising nor falling.
ELEVATIONS = np.radians([10.0, -20.0, 0.0, -5.0])
SPINNING = SpinningLidar(10.0, 'cw', ELEVATIONS, np.zeros(1), np.zeros(4))
LIDAR = Lidar('top lidar', np.eye(4), SPINNING, np.empty((0, 2), dtype=np.int64))
POINTS_TOPIC = '~/top_lidar/points'
CLOUD_NS = 27_567_868_848_000


def towards(elevation_deg: float, azimuth_deg: float = 40.0, distance: float = 12.0):
    elevation, azimuth = math.radians(elevation_deg), math.radians(azimuth_deg)
    flat = distance * math.cos(elevation)
    return flat * math.cos(azimuth), flat * math.sin(azimuth), distance * math.sin(elevation)


def cloud_of(points, intensities, t_ns=CLOUD_NS):
    at = np.array(points, dtype=np.float32).reshape(-1, 3)
    return Cloud('top lidar', t_ns, at, np.array(intensities, dtype=np.float32), 0.1)


POINTS = [towards(10.2), towards(-19.0, -170.0), towards(-2.4), towards(-2.6), (0.0, 0.0, 0.0)]
INTENSITIES = [0.0, 0.5, 1.0, 0.25, 1.5]
CLOUD = cloud_of(POINTS, INTENSITIES)
FLOAT = PointField.FLOAT32
PLACE = [('x', 0, FLOAT, 1), ('y', 4, FLOAT, 1), ('z', 8, FLOAT, 1)]
XYZI = [*PLACE, ('intensity', 12, FLOAT, 1)]
XYZIRC = [
    *PLACE,
    ('intensity', 12, PointField.UINT8, 1),
    ('return_type', 13, PointField.UINT8, 1),
    ('channel', 14, PointField.UINT16, 1),
]
# Intensities of 0 to 255, single returns, and the row of the nearest elevation.
RESTS = [(0, 1, 0), (128, 1, 1), (255, 1, 2), (64, 1, 3), (255, 1, 2)]


def published(layout, *clouds, lidar=LIDAR):
    outlet = RecordingOutlet()
    topic = LidarTopic(outlet, FRAMES, lidar, layout)
    for cloud in clouds:
        topic.publish(cloud)
    return outlet.messages(POINTS_TOPIC)


def fields_of(message):
    return [(one.name, one.offset, one.datatype, one.count) for one in message.fields]


@pytest.mark.parametrize(
    ('layout', 'fields', 'form', 'rests'),
    [
        ('xyzi', XYZI, '<ffff', [(one,) for one in INTENSITIES]),
        # What Autoware takes.
        ('xyzirc', XYZIRC, '<fffBBH', RESTS),
    ],
)
def test_a_cloud_is_its_layout_byte_for_byte(layout, fields, form, rests):
    (message,) = published(layout, CLOUD)
    assert message.header.frame_id == 'two/top_lidar'
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (27567, 868848000)
    assert (message.height, message.width) == (1, 5)
    assert (message.point_step, message.row_step) == (16, 80)
    assert (message.is_bigendian, message.is_dense) == (False, True)
    assert fields_of(message) == fields
    packed = (struct.pack(form, *at, *rest) for at, rest in zip(POINTS, rests, strict=True))
    assert bytes(message.data) == b''.join(packed)


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


def test_xyzirc_without_a_model_is_xyzi_and_said():
    unknown = replace(LIDAR, model=None)
    (message,) = published('xyzirc', CLOUD, lidar=unknown)
    assert fields_of(message) == XYZI
    notes = [
        LidarTopic(RecordingOutlet(), FRAMES, lidar, layout).note
        for lidar, layout in ((unknown, 'xyzirc'), (unknown, 'xyzi'), (LIDAR, 'xyzirc'))
    ]
    assert 'its points are xyzi' in notes[0]
    assert notes[1:] == ['', '']


@pytest.mark.parametrize('layout', ['xyzi', 'xyzirc'])
def test_clouds_of_other_sizes_follow_each_other(layout):
    """A message is used again: longer, shorter, and empty."""
    sizes = [2, 5, 0, 3]
    clouds = [cloud_of(POINTS[:n], INTENSITIES[:n], CLOUD_NS + k) for k, n in enumerate(sizes)]
    messages = published(layout, *clouds)
    assert [message.width for message in messages] == sizes
    whole = bytes(messages[1].data)
    for message, n in zip(messages, sizes, strict=True):
        assert bytes(message.data) == whole[: 16 * n]
        assert message.row_step == 16 * n


def test_the_arrays_of_the_wire_are_taken_as_they_are():
    """Buffers of a reply cannot be written to, and need not be aligned."""
    data = np.array(POINTS, dtype='<f4').tobytes()
    points = np.frombuffer(b'\0' + data, '<f4', offset=1).reshape(-1, 3)
    (message,) = published('xyzi', replace(CLOUD, points=points))
    assert bytes(message.data[:12]) == data[:12]


def test_a_cloud_that_nobody_subscribes_to():
    outlet = RecordingOutlet(subscribers=0)
    topic = LidarTopic(outlet, FRAMES, LIDAR, 'xyzi')
    topic.publish(CLOUD)
    assert outlet.published == []
    assert (topic.audience, topic.points) == ((0,), 5)
    topic.destroy()
    assert outlet.offered == set()


# All sensors of a loaded scenario.


class Piped:
    """A loaded scenario whose pipeline the test is."""

    def __init__(self, folder, monkeypatch):
        def pipeline(scenario, options, deliver, **rest):
            self.deliver = deliver
            self.pipeline = RenderPipeline(scenario, options, deliver, **rest)
            self.pipeline.start = lambda: None
            return self.pipeline

        monkeypatch.setattr(loading, 'RenderPipeline', pipeline)
        self.outlet, self.lost = RecordingOutlet(), []
        found = read(Settings(str(build_archive(folder, edit_rig=add_lidar))))
        self.loaded = Loaded(
            self.outlet,
            found,
            Values(found.asked),
            on_lost=lambda _, frame, error: self.lost.append((frame, error)),
            log=lambda *_: None,
        )


@pytest.fixture
def piped(tmp_path, monkeypatch):
    piped = Piped(tmp_path, monkeypatch)
    yield piped
    piped.loaded.close()


def test_what_cannot_be_published_is_lost_and_told(piped):
    front, t_ns = CAMERAS[0], START_US * 1000

    def fail(topic):
        raise ZeroDivisionError(topic)

    # The pipeline logs this one.
    with pytest.raises(RenderError, match='does not decode') as undecoded:
        piped.deliver(Frame(front, t_ns, b'no picture', 'png', 8, 8, 0.0))
    assert piped.outlet.published == []
    piped.outlet.before_publish = fail
    piped.deliver(Frame(front, t_ns + 1, bytes(3 * 8 * 8), 'rgb8', 8, 8, 0.0))
    failure = RenderError('the server is gone')
    piped.deliver(Failure(front, t_ns + 2, failure))
    assert [frame for frame, _ in piped.lost] == [Due(front, t_ns + k) for k in range(3)]
    first, second, third = (error for _, error in piped.lost)
    assert (first, type(second), third) == (undecoded.value, ZeroDivisionError, failure)


def test_topics_of_all_sensors_go(piped):
    wanted = {f'~/{ARCHIVED_LIDAR}/points', f'~/{CAMERAS[0]}/camera_info'}
    assert wanted <= piped.outlet.offered
    piped.loaded.destroy_topics()
    assert piped.outlet.offered == set()


def test_without_a_thread_to_spare_it_is_closed_here(piped, monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    closed = []
    with monkeypatch.context() as patch:
        patch.setattr(piped.loaded, 'close', closed.append)
        patch.setattr(threading.Thread, 'start', start)
        piped.loaded.close_beside()
    assert closed == [0.0]
