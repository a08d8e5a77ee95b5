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
"""A camera's three topics: content, laziness, and the end of a camera in mid-flight."""

from dataclasses import dataclass
from test.support.recorder import Recorder
import threading
from typing import Any

import cv2
import numpy as np
from nurec_ros.ros.frames import FrameNames
from nurec_ros.ros.publishers import CameraPublisher
from nurec_ros.scenario.cameras import PinholeCamera
import pytest
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

pytestmark = pytest.mark.ros

MODEL = PinholeCamera(resolution=(64, 48), principal_point=(31.0, 24.0), focal_length=(50.0, 50.0))
FRAMES = FrameNames.create(cameras=['front cam'], prefix='two/')
RAW, COMPRESSED, INFO = (
    f'~/front_cam/{name}' for name in ('image_raw', 'image_raw/compressed', 'camera_info')
)


@dataclass(frozen=True)
class Frame:
    camera: str = 'front cam'
    t_ns: int = 2_000_000_003
    data: bytes = b''
    encoding: str = 'jpeg'
    width: int = 32
    height: int = 24


def red_picture(width: int = 32, height: int = 24) -> np.ndarray:
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    picture[..., 0] = 200
    picture[: height // 2, :, 2] = 50
    return picture


def encoded(extension: str) -> bytes:
    return cv2.imencode(extension, red_picture()[..., ::-1])[1].tobytes()


class Camera:
    """A camera's publisher and the subscriptions of the test."""

    def __init__(self, image_format: str = 'jpeg', **subscriptions: int) -> None:
        self.node = Recorder(subscriptions=0)
        self.publisher = CameraPublisher(self.node, FRAMES, 'front cam', image_format)
        for name, count in subscriptions.items():
            self.topic(name).subscriptions = count

    def topic(self, name: str) -> Any:
        return self.node.topics[{'raw': RAW, 'compressed': COMPRESSED, 'info': INFO}[name]]


@pytest.mark.parametrize(
    ('encoding', 'extension', 'text'),
    [
        ('jpeg', '.jpg', 'rgb8; jpeg compressed bgr8'),
        ('png', '.png', 'rgb8; png compressed bgr8'),
    ],
)
def test_compressed_bytes_pass_untouched(encoding: str, extension: str, text: str):
    camera = Camera(encoding, compressed=1)
    data = encoded(extension)
    camera.publisher.publish(Frame(data=data, encoding=encoding), MODEL, None)
    (message,) = camera.topic('compressed').messages
    assert message.data.tobytes() == data
    assert message.format == text
    assert message.header.frame_id == 'two/front_cam_optical_frame'
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (2, 3)
    # What image_transport's decoder does: OpenCV gives BGR, and the format says so.
    decoded = cv2.imdecode(np.frombuffer(message.data, dtype=np.uint8), cv2.IMREAD_COLOR)
    target, _, source = text.partition('; ')
    assert (target, source.split()[-1]) == ('rgb8', 'bgr8')
    np.testing.assert_allclose(decoded[..., ::-1], red_picture(), atol=12)


def test_raw_pixels_arrive_as_rgb8():
    camera = Camera(raw=1)
    picture = red_picture()
    camera.publisher.publish(Frame(), MODEL, picture)
    (message,) = camera.topic('raw').messages
    assert (message.width, message.height, message.step) == (32, 24, 96)
    assert (message.encoding, message.is_bigendian) == ('rgb8', 0)
    assert message.data.typecode == 'B'
    assert message.data.tobytes() == picture.tobytes()
    assert message.header.frame_id == 'two/front_cam_optical_frame'


def test_nothing_is_published_or_decoded_for_nobody():
    camera = Camera()
    camera.publisher.publish(Frame(data=b'x'), MODEL, lambda: pytest.fail('was decoded'))
    assert not camera.publisher.listened
    assert camera.publisher.subscribers == 0
    assert all(not topic.messages for topic in camera.node.topics.values())


@pytest.mark.parametrize('name', ['raw', 'compressed', 'info'])
def test_only_what_is_subscribed_is_published(name: str):
    camera = Camera(**{name: 2})
    decoded = []

    def decode() -> np.ndarray:
        decoded.append(1)
        return red_picture()

    camera.publisher.publish(Frame(data=b'x'), MODEL, decode)
    assert [len(camera.topic(n).messages) for n in ('raw', 'compressed', 'info')] == [
        int(n == name) for n in ('raw', 'compressed', 'info')
    ]
    assert len(decoded) == (name == 'raw')
    assert camera.publisher.raw_wanted == (name == 'raw')
    assert camera.publisher.listened
    assert camera.publisher.subscribers == 2


def test_all_three_have_the_same_stamp_and_frame():
    camera = Camera(raw=1, compressed=1, info=1)
    camera.publisher.publish(Frame(data=b'x', t_ns=0), MODEL, red_picture())
    headers = [camera.topic(n).messages[0].header for n in ('raw', 'compressed', 'info')]
    assert headers[0] == headers[1] == headers[2]
    assert (headers[0].stamp.sec, headers[0].stamp.nanosec) == (0, 1)


def test_without_a_decoder_raw_is_left_out():
    camera = Camera(raw=1, info=1)
    camera.publisher.publish(Frame(), MODEL, None)
    assert camera.topic('raw').messages == []
    assert len(camera.topic('info').messages) == 1


def test_with_image_format_rgb_there_is_no_compressed_topic():
    camera = Camera('rgb', raw=1)
    assert set(camera.node.topics) == {RAW, INFO}
    camera.publisher.publish(Frame(encoding='rgb8', data=b'planar'), MODEL, red_picture)
    assert len(camera.topic('raw').messages) == 1


def test_raw_pixels_never_go_out_as_compressed():
    camera = Camera(compressed=1)
    camera.publisher.publish(Frame(encoding='rgb8', data=b'planar'), MODEL, None)
    assert camera.topic('compressed').messages == []


def test_camera_info_follows_the_size_that_came():
    camera = Camera(info=1)
    for width, height in ((32, 24), (32, 24), (16, 24)):
        camera.publisher.publish(Frame(width=width, height=height), MODEL, None)
    first, second, third = camera.topic('info').messages
    assert first == second
    assert (first.width, first.height) == (32, 24)
    assert (first.k[0], first.k[2]) == (25.0, 15.25)
    assert (third.width, third.k[0], third.k[4]) == (16, 12.5, 25.0)


def test_camera_info_follows_another_model():
    camera = Camera(info=1)
    other = PinholeCamera(
        resolution=(64, 48), principal_point=(31.0, 24.0), focal_length=(80.0, 80.0)
    )
    for model in (MODEL, other):
        camera.publisher.publish(Frame(), model, None)
    assert [message.k[0] for message in camera.topic('info').messages] == [25.0, 40.0]


def test_residual_and_notes_come_with_the_calibration():
    camera = Camera()
    assert camera.publisher.residual is None
    assert camera.publisher.notes == ()
    prism = PinholeCamera(
        resolution=(64, 48),
        principal_point=(31.0, 24.0),
        focal_length=(50.0, 50.0),
        thin_prism_coeffs=(0.01, 0.0, 0.0, 0.0),
    )
    camera.publisher.calibration(prism)
    assert len(camera.publisher.notes) == 1


def test_pictures_of_any_size_follow_one_another_in_one_message():
    camera = Camera(raw=1)
    for width, height in ((32, 24), (8, 4), (64, 48)):
        picture = red_picture(width, height)
        camera.publisher.publish(Frame(width=width, height=height), MODEL, picture)
        message = camera.topic('raw').messages[-1]
        assert (message.width, message.height, message.step) == (width, height, 3 * width)
        assert message.data.tobytes() == picture.tobytes()


def test_a_frame_that_comes_after_the_end_is_dropped():
    camera = Camera(raw=1, compressed=1, info=1)
    camera.publisher.destroy()
    camera.publisher.destroy()
    assert all(topic.destroyed for topic in camera.node.topics.values())
    camera.publisher.publish(Frame(data=b'x'), MODEL, red_picture())
    assert not camera.publisher.raw_wanted
    assert not camera.publisher.listened
    assert camera.publisher.subscribers == 0


def test_a_camera_may_end_while_its_frame_is_decoded():
    camera = Camera(raw=1, info=1)
    decoding, ended = threading.Event(), threading.Event()

    def decode() -> np.ndarray:
        decoding.set()
        assert ended.wait(10.0)
        return red_picture()

    thread = threading.Thread(target=camera.publisher.publish, args=(Frame(), MODEL, decode))
    thread.start()
    assert decoding.wait(10.0)
    camera.publisher.destroy()
    ended.set()
    thread.join(10.0)
    assert not thread.is_alive()
    assert camera.topic('raw').messages == []


def test_over_ros_a_camera_is_seen_heard_and_gone(node: Any, listener: Any):
    publisher = CameraPublisher(node, FRAMES, 'front cam', 'jpeg')
    assert not publisher.listened
    raw = listener.listen(Image, '/nurec/front_cam/image_raw')
    compressed = listener.listen(CompressedImage, '/nurec/front_cam/image_raw/compressed')
    info = listener.listen(CameraInfo, '/nurec/front_cam/camera_info')
    listener.until(lambda: publisher.subscribers == 3, 'three subscriptions')
    data = encoded('.jpg')
    publisher.publish(Frame(data=data), MODEL, red_picture)
    (image,) = listener.received(raw, 1)
    (packed,) = listener.received(compressed, 1)
    (about,) = listener.received(info, 1)
    assert image.data.tobytes() == red_picture().tobytes()
    assert packed.data.tobytes() == data
    assert image.header == packed.header == about.header
    publisher.destroy()
    names = 'camera_info', 'image_raw', 'image_raw/compressed'
    listener.until(
        lambda: (
            not any(listener.node.count_publishers(f'/nurec/front_cam/{name}') for name in names)
        ),
        'the end of the topics',
    )
