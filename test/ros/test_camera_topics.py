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

from dataclasses import replace
from test.support.outlet import RecordingOutlet
import threading
from typing import Any

import cv2
import numpy as np
from nurec_ros.errors import RenderError
from nurec_ros.rendering.frames import Frame
from nurec_ros.ros import sensor_topics
from nurec_ros.ros.names import FrameNames
from nurec_ros.ros.outlet import Graph
from nurec_ros.ros.sensor_topics import CameraTopics
from nurec_ros.scenario.cameras import PinholeCamera
import pytest
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

pytestmark = pytest.mark.ros

MODEL = PinholeCamera(resolution=(64, 48), principal_point=(31.0, 24.0), focal_length=(50.0, 50.0))
FRAMES = FrameNames.create(cameras=['front cam'], prefix='two/')
RAW, COMPRESSED, INFO = (
    f'~/front_cam/{name}' for name in ('image_raw', 'image_raw/compressed', 'camera_info')
)
TOPICS = {'raw': RAW, 'compressed': COMPRESSED, 'info': INFO}


def red_picture(width: int = 32, height: int = 24) -> np.ndarray:
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    picture[..., 0] = 200
    picture[: height // 2, :, 2] = 50
    return picture


def encoded(picture: np.ndarray, extension: str = '.png') -> bytes:
    return cv2.imencode(extension, picture[..., ::-1])[1].tobytes()


def frame(width: int = 32, height: int = 24, encoding: str = 'png', **values: Any) -> Frame:
    """Return a frame with the red picture, as the renderer gives it."""
    picture = red_picture(width, height)
    data = {
        'png': lambda: encoded(picture),
        'jpeg': lambda: encoded(picture, '.jpg'),
        'rgb8': lambda: picture.transpose(2, 0, 1).tobytes(),
    }[encoding]()
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


@pytest.mark.parametrize(
    ('encoding', 'text'),
    [('jpeg', 'rgb8; jpeg compressed bgr8'), ('png', 'rgb8; png compressed bgr8')],
)
def test_compressed_bytes_pass_untouched(encoding: str, text: str):
    camera = Camera(encoding, compressed=1)
    sent = frame(encoding=encoding)
    camera.topics.publish(sent)
    (message,) = camera.messages('compressed')
    assert message.data.tobytes() == sent.data
    assert message.format == text
    assert message.header.frame_id == 'two/front_cam_optical_frame'
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (2, 3)
    # What image_transport's decoder does: OpenCV gives BGR, and the format says so.
    decoded = cv2.imdecode(np.frombuffer(message.data, dtype=np.uint8), cv2.IMREAD_COLOR)
    target, _, source = text.partition('; ')
    assert (target, source.split()[-1]) == ('rgb8', 'bgr8')
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
    assert sum(camera.topics.audience) == (2 if name else 0)
    camera.topics.publish(frame())
    assert camera.outlet.order == ([TOPICS[name]] if name else [])
    assert len(decoded) == (name == 'raw')


def test_the_audience_is_counted_by_topic():
    assert sorted(Camera(raw=3, info=1).topics.audience) == [0, 1, 3]


def test_all_three_have_the_same_stamp_and_frame():
    camera = Camera(raw=1, compressed=1, info=1)
    camera.topics.publish(frame(t_ns=0))
    headers = [camera.messages(name)[0].header for name in TOPICS]
    assert headers[0] == headers[1] == headers[2]
    assert (headers[0].stamp.sec, headers[0].stamp.nanosec) == (0, 1)


def test_a_picture_that_does_not_decode_is_on_none_of_the_topics():
    camera = Camera(raw=1, compressed=1, info=1)
    with pytest.raises(RenderError, match='front cam'):
        camera.topics.publish(frame(data=b'no picture'))
    assert camera.outlet.published == []


def test_with_image_format_rgb_there_is_no_compressed_topic():
    camera = Camera('rgb', raw=1)
    assert camera.outlet.offered == {RAW, INFO}
    assert len(camera.topics.audience) == 2


def test_raw_pixels_never_go_out_as_compressed():
    camera = Camera(compressed=1)
    camera.topics.publish(frame(encoding='rgb8'))
    assert camera.messages('compressed') == []


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


def test_residual_and_notes_come_with_the_calibration():
    plain = Camera().topics.calibration
    assert (plain.residual, plain.notes) == (None, ())
    prism = Camera(model=replace(MODEL, thin_prism_coeffs=(0.01, 0.0, 0.0, 0.0)))
    assert len(prism.topics.calibration.notes) == 1


def test_a_frame_that_comes_after_the_end_is_dropped():
    camera = Camera(raw=1, compressed=1, info=1)
    camera.topics.destroy()
    camera.topics.destroy()
    assert camera.outlet.offered == set()
    camera.topics.publish(frame())
    assert camera.outlet.published == []
    assert camera.topics.audience == (0, 0, 0)


def test_a_camera_may_end_while_its_frame_is_decoded(monkeypatch: pytest.MonkeyPatch):
    camera = Camera(raw=1, info=1)
    decoding, ended = threading.Event(), threading.Event()

    def decode(_: Frame) -> np.ndarray:
        decoding.set()
        assert ended.wait(10.0)
        return red_picture()

    monkeypatch.setattr(sensor_topics, 'decode_rgb', decode)
    thread = threading.Thread(target=camera.topics.publish, args=(frame(),))
    thread.start()
    assert decoding.wait(10.0)
    camera.topics.destroy()
    ended.set()
    thread.join(10.0)
    assert not thread.is_alive()
    assert camera.outlet.published == []


def test_a_topic_that_cannot_be_leaves_none_of_the_others():
    outlet = RecordingOutlet()
    outlet.topics[INFO] = outlet.advertise(CameraInfo, INFO, None)
    with pytest.raises(AssertionError):
        CameraTopics(outlet, FRAMES, 'front cam', MODEL, 'png')
    assert outlet.topics[RAW].destroyed


def test_over_ros_a_camera_is_seen_heard_and_gone(node: Any, listener: Any):
    topics = CameraTopics(Graph(node), FRAMES, 'front cam', MODEL, 'png')
    assert topics.audience == (0, 0, 0)
    heard = [
        listener.listen(kind, topic.replace('~', '/nurec'))
        for kind, topic in ((Image, RAW), (CompressedImage, COMPRESSED), (CameraInfo, INFO))
    ]
    listener.until(lambda: topics.audience == (1, 1, 1), 'three subscriptions')
    sent = frame()
    topics.publish(sent)
    (image,), (packed,), (about,) = (listener.received(messages, 1) for messages in heard)
    assert image.data.tobytes() == red_picture().tobytes()
    assert packed.data.tobytes() == sent.data
    assert image.header == packed.header == about.header
    topics.destroy()
    topics.publish(sent)
    names = [topic.replace('~', '/nurec') for topic in TOPICS.values()]
    listener.until(
        lambda: not any(listener.node.count_publishers(name) for name in names),
        'the end of the topics',
    )
