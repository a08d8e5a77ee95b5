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
"""/tf and /tf_static: where the ego is, and where its cameras sit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from geometry_msgs.msg import TransformStamped
import numpy as np
from nurec_ros.ros.conversions import R_BODY_OPTICAL, transform_stamped
from nurec_ros.ros.frames import FrameNames
from nurec_ros.ros.publishers.qos import advertise, latched, reliable
from tf2_msgs.msg import TFMessage

try:
    from tf2_ros import TransformBroadcaster
except ImportError:
    TransformBroadcaster = None


class TfPublisher:
    """
    The ego's pose on /tf, everything fixed in one message on /tf_static.

    /tf goes through tf2_ros where that is installed. /tf_static never does: its static
    broadcaster in Python keeps the first transform of a child frame for ever, and another
    scenario has other extrinsics.
    """

    def __init__(
        self,
        node: Any,
        frames: FrameNames,
        *,
        publish_tf: bool = True,
        publish_camera_frames: bool = True,
    ) -> None:
        self._node = node
        self.frames = frames
        self._publish_tf = publish_tf
        self._publish_camera_frames = publish_camera_frames
        self._publisher: Any = None
        self._send: Any = None
        if publish_tf and TransformBroadcaster is not None:
            self._send = TransformBroadcaster(node).sendTransform
        elif publish_tf:
            self._publisher = advertise(node, TFMessage, '/tf', reliable(100))
            self._send = self._send_message
        self._static = advertise(node, TFMessage, '/tf_static', latched())

    def _send_message(self, transforms: list[TransformStamped]) -> None:
        self._publisher.publish(TFMessage(transforms=transforms))

    def publish(self, t_ns: int, T_map_base: np.ndarray) -> None:
        """Publish the ego's pose, (4, 4), at a moment."""
        self.publish_many((t_ns,), (T_map_base,))

    def publish_many(self, times_ns: Iterable[int], poses: Iterable[np.ndarray]) -> None:
        """Publish the ego's poses, (N, 4, 4), at several moments in one message."""
        if self._send is not None:
            parent, child = self.frames.parent, self.frames.base_frame
            self._send(
                [
                    transform_stamped(int(t_ns), parent, child, T)
                    for t_ns, T in zip(times_ns, poses, strict=True)
                ]
            )

    def publish_static(
        self,
        cameras: Iterable[Any],
        T_earth_map: np.ndarray | None,
        stamp_ns: int,
    ) -> None:
        """
        Publish all fixed frames: those of the cameras, odom, and earth where a matrix is given.

        `cameras` are the scenario's; each has a `name` and `T_rig_camera`, (4, 4), of its optical
        axes.
        """
        frames = self.frames
        transforms = []
        if T_earth_map is not None:
            transforms.append(
                transform_stamped(stamp_ns, frames.earth_frame, frames.map_frame, T_earth_map)
            )
        if frames.odom_frame and self._publish_tf:
            transforms.append(
                transform_stamped(stamp_ns, frames.map_frame, frames.odom_frame, np.eye(4))
            )
        if self._publish_camera_frames:
            for camera in cameras:
                transforms += camera_transforms(frames, camera.name, camera.T_rig_camera, stamp_ns)
        self._static.publish(TFMessage(transforms=transforms))

    def destroy(self) -> None:
        """Remove both topics, except the one that tf2_ros owns."""
        for publisher in (self._publisher, self._static):
            if publisher is not None:
                self._node.destroy_publisher(publisher)


def camera_transforms(
    frames: FrameNames, name: str, T_rig_camera: np.ndarray, stamp_ns: int
) -> list[TransformStamped]:
    """Give base to body and body to optical of a camera, whose product is `T_rig_camera`."""
    T_body_optical = np.eye(4)
    T_body_optical[:3, :3] = R_BODY_OPTICAL
    T_base_body = np.array(T_rig_camera, dtype=np.float64)
    T_base_body[:3, :3] = T_base_body[:3, :3] @ R_BODY_OPTICAL.T
    body, optical = frames.camera(name), frames.optical(name)
    return [
        transform_stamped(stamp_ns, frames.base_frame, body, T_base_body),
        transform_stamped(stamp_ns, body, optical, T_body_optical),
    ]
