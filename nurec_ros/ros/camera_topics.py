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
"""A camera's topics: image_raw/compressed, image_raw and camera_info, always of one stamp."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from nurec_ros.rendering.frames import Frame
from nurec_ros.rendering.replies import decode_rgb
from nurec_ros.ros.camera_info import Calibration, calibration, camera_info
from nurec_ros.ros.conversions import set_bytes, set_time
from nurec_ros.ros.names import FrameNames
from nurec_ros.ros.outlet import Outlet, Publication, reliable
from nurec_ros.scenario.cameras import CameraModel
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

DEPTH = 10

# As image_transport's compressed_image_transport writes and reads it: what the decoded image
# shall be, and what the bytes hold. With another text, colours come out swapped.
FORMATS = {
    'jpeg': 'rgb8; jpeg compressed bgr8',
    'png': 'rgb8; png compressed bgr8',
}


class CameraTopics:
    """
    Publishes the frames of one camera; nothing is decoded or copied for topics nobody reads.

    `model` is the lens behind the images, at its calibration's size. `publish` is called in the
    pipeline's threads, by one at a time; everything else belongs to the executor's.
    """

    def __init__(
        self,
        outlet: Outlet,
        frames: FrameNames,
        camera: str,
        model: CameraModel,
        image_format: str,
    ) -> None:
        self.camera = camera
        self.frame_id = frames.optical(camera)
        self.calibration: Calibration = calibration(model)
        base = f'~/{frames.token(camera)}'
        self._publications: list[Publication] = []
        try:
            self._raw = self._advertise(outlet, Image, f'{base}/image_raw')
            self._info = self._advertise(outlet, CameraInfo, f'{base}/camera_info')
            self._compressed: Publication | None = None
            if image_format in FORMATS:
                topic = f'{base}/image_raw/compressed'
                self._compressed = self._advertise(outlet, CompressedImage, topic)
        except BaseException:
            self.destroy()
            raise
        self._raw_message = Image(encoding='rgb8', is_bigendian=0)
        self._compressed_message = CompressedImage()
        self._info_message: CameraInfo | None = None
        for message in (self._raw_message, self._compressed_message):
            message.header.frame_id = self.frame_id

    def _advertise(self, outlet: Outlet, message_type: type, topic: str) -> Publication:
        publication = outlet.advertise(message_type, topic, reliable(DEPTH))
        self._publications.append(publication)
        return publication

    @property
    def audience(self) -> tuple[int, ...]:
        """Return the numbers of subscriptions to the topics, always in the same order."""
        return tuple(publication.subscribers for publication in self._publications)

    def publish(self, frame: Frame) -> None:
        """Publish a frame on those of the topics that somebody subscribes to."""
        # First, for it is what takes long: the topics stay together, and what does not decode
        # goes out on none of them.
        rgb = decode_rgb(frame) if self._raw.subscribers else None
        if self._info.subscribers:
            self._publish_info(frame)
        if self._compressed is not None and self._compressed.subscribers:
            text = FORMATS.get(frame.encoding)
            if text is not None:
                message = self._compressed_message
                set_time(message.header.stamp, frame.t_ns)
                message.format = text
                set_bytes(message.data, frame.data)
                self._compressed.publish(message)
        if rgb is not None:
            self._publish_raw(frame.t_ns, rgb)

    def _publish_info(self, frame: Frame) -> None:
        message = self._info_message
        if message is None or (message.width, message.height) != (frame.width, frame.height):
            message = camera_info(self.calibration, frame.width, frame.height, self.frame_id)
            self._info_message = message
        set_time(message.header.stamp, frame.t_ns)
        self._info.publish(message)

    def _publish_raw(self, t_ns: int, rgb: NDArray[np.uint8]) -> None:
        message = self._raw_message
        set_time(message.header.stamp, t_ns)
        message.height, message.width = rgb.shape[:2]
        message.step = 3 * message.width
        set_bytes(message.data, rgb)
        self._raw.publish(message)

    def destroy(self) -> None:
        """Take the topics away."""
        for publication in self._publications:
            publication.destroy()
