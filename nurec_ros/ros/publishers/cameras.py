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
"""A camera's topics: image_raw, image_raw/compressed and camera_info."""

from __future__ import annotations

import threading
from typing import Any

from nurec_ros.ros.camera_info import Calibration, calibration, camera_info
from nurec_ros.ros.conversions import set_bytes, set_time
from nurec_ros.ros.frames import FrameNames
from nurec_ros.ros.publishers.qos import advertise, reliable
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

DEPTH = 10

# image_transport's decoder takes what follows "compressed" as what the decoded bytes are, and
# OpenCV decodes to BGR; "compressed rgb8" would swap red and blue.
FORMATS = {
    'jpeg': 'rgb8; jpeg compressed bgr8',
    'png': 'rgb8; png compressed bgr8',
}


class CameraPublisher:
    """
    Publishes one camera's frames, each message only while somebody subscribes to it.

    `publish` runs in the pipeline's threads while the executor's may ask, or destroy: a lock
    guards the messages, which are reused, and the publishers' end.
    """

    def __init__(self, node: Any, frames: FrameNames, camera: str, image_format: str) -> None:
        self._node = node
        self.camera = camera
        self.frame_id = frames.optical(camera)
        base = f'~/{frames.token(camera)}'
        self._raw = advertise(node, Image, f'{base}/image_raw', reliable(DEPTH))
        self._info = advertise(node, CameraInfo, f'{base}/camera_info', reliable(DEPTH))
        self._compressed: Any = None
        if image_format in FORMATS:
            topic = f'{base}/image_raw/compressed'
            self._compressed = advertise(node, CompressedImage, topic, reliable(DEPTH))
        self._publishers = [p for p in (self._raw, self._info, self._compressed) if p is not None]
        self._raw_message = Image(encoding='rgb8', is_bigendian=0)
        self._compressed_message = CompressedImage()
        self._info_message: CameraInfo | None = None
        for message in (self._raw_message, self._compressed_message):
            message.header.frame_id = self.frame_id
        self._lock = threading.Lock()
        self._model: Any = None
        self._calibration: Calibration | None = None

    @property
    def audience(self) -> tuple[int, ...]:
        """Count the subscriptions to each of the camera's topics, always in the same order."""
        return tuple(publisher.get_subscription_count() for publisher in self._publishers)

    @property
    def subscribers(self) -> int:
        """Count the subscriptions to the camera's topics, all together."""
        return sum(self.audience)

    @property
    def raw_wanted(self) -> bool:
        """Say whether somebody subscribes to image_raw: only then is anything decoded."""
        return self._raw in self._publishers and self._raw.get_subscription_count() > 0

    @property
    def listened(self) -> bool:
        """Say whether somebody subscribes to any of the camera's topics."""
        return any(publisher.get_subscription_count() > 0 for publisher in self._publishers)

    def calibration(self, model: Any) -> Calibration:
        """Put the model into ROS's terms; kept while the model stays the same object."""
        if self._calibration is None or model is not self._model:
            self._calibration = calibration(model)
            self._model = model
            self._info_message = None
        return self._calibration

    @property
    def residual(self) -> Any:
        """Give the fit's residual in native pixels, None before or without a fit."""
        return self._calibration.residual if self._calibration is not None else None

    @property
    def notes(self) -> tuple[str, ...]:
        """Say what camera_info cannot about this camera, one sentence each."""
        return self._calibration.notes if self._calibration is not None else ()

    def publish(self, frame: Any, model: Any, rgb: Any = None) -> None:
        """
        Publish a frame.

        `frame` is the pipeline's: `t_ns`, `data`, `encoding`, `width`, `height`. `model` is
        the camera model behind the image, at its calibration's size. `rgb` is the decoded
        image (H, W, 3) uint8, or a function that gives it and is called only if it is wanted.
        """
        # Decoded before the lock is taken: it is what takes long.
        wanted = rgb is not None and self.raw_wanted
        image = (rgb() if callable(rgb) else rgb) if wanted else None
        with self._lock:
            if not self._publishers:
                return
            if self._info.get_subscription_count():
                self._publish_info(frame, model)
            if self._compressed is not None and self._compressed.get_subscription_count():
                self._publish_compressed(frame)
            if image is not None:
                self._publish_raw(frame.t_ns, image)

    def _publish_compressed(self, frame: Any) -> None:
        text = FORMATS.get(frame.encoding)
        if text is not None:
            message = self._compressed_message
            set_time(message.header.stamp, frame.t_ns)
            message.format = text
            set_bytes(message.data, frame.data)
            self._compressed.publish(message)

    def _publish_info(self, frame: Any, model: Any) -> None:
        calibrated = self.calibration(model)
        message = self._info_message
        if message is None or (message.width, message.height) != (frame.width, frame.height):
            message = camera_info(calibrated, frame.width, frame.height, self.frame_id)
            self._info_message = message
        set_time(message.header.stamp, frame.t_ns)
        self._info.publish(message)

    def _publish_raw(self, t_ns: int, rgb: Any) -> None:
        message = self._raw_message
        set_time(message.header.stamp, t_ns)
        message.height, message.width = rgb.shape[:2]
        message.step = 3 * message.width
        set_bytes(message.data, rgb)
        self._raw.publish(message)

    def destroy(self) -> None:
        """Remove the topics."""
        with self._lock:
            publishers, self._publishers = self._publishers, []
            for publisher in publishers:
                self._node.destroy_publisher(publisher)
