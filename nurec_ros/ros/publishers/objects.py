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
"""~/objects: the boxes of the road users, for programs to read."""

from __future__ import annotations

from typing import Any

from nurec_ros.ros.conversions import set_time
from nurec_ros.ros.frames import FrameNames
from nurec_ros.ros.publishers.qos import advertise, reliable

try:
    from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose
except ImportError:
    Detection3D = Detection3DArray = ObjectHypothesisWithPose = None


class ObjectsPublisher:
    """Publishes the active tracks as detections; does nothing where vision_msgs is missing."""

    def __init__(self, node: Any, frames: FrameNames) -> None:
        self._node = node
        self._publisher: Any = None
        if Detection3DArray is not None:
            self._publisher = advertise(node, Detection3DArray, '~/objects', reliable(10))
            self._message = Detection3DArray()
            self._message.header.frame_id = frames.map_frame
            self._pool: list[Any] = []

    @property
    def available(self) -> bool:
        """Say whether vision_msgs is installed and the topic exists."""
        return self._publisher is not None

    def publish(self, active: Any) -> None:
        """Publish the active tracks of a moment, `active.t_ns`, if somebody subscribes."""
        if self._publisher is None or not self._publisher.get_subscription_count():
            return
        message = self._message
        set_time(message.header.stamp, active.t_ns)
        while len(self._pool) < len(active.ids):
            self._pool.append(self._detection())
        message.detections = self._pool[: len(active.ids)]
        rows = zip(
            message.detections,
            active.ids,
            active.labels,
            active.positions.tolist(),
            active.quaternions.tolist(),
            active.dims.tolist(),
            strict=True,
        )
        for detection, track_id, label, position, quaternion, dims in rows:
            detection.id = track_id
            detection.results[0].hypothesis.class_id = label
            at, to = detection.bbox.center.position, detection.bbox.center.orientation
            at.x, at.y, at.z = position
            to.x, to.y, to.z, to.w = quaternion
            size = detection.bbox.size
            size.x, size.y, size.z = dims
        self._publisher.publish(message)

    def _detection(self) -> Any:
        detection = Detection3D(header=self._message.header)
        result = ObjectHypothesisWithPose()
        # What was recorded and labelled is certain, and is where the box is.
        result.hypothesis.score = 1.0
        result.pose.pose = detection.bbox.center
        detection.results = [result]
        return detection

    def destroy(self) -> None:
        """Remove the topic."""
        if self._publisher is not None:
            self._node.destroy_publisher(self._publisher)
