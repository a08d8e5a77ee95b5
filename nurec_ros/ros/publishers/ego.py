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
"""~/ego: the box of the vehicle that the drive was recorded with."""

from __future__ import annotations

from typing import Any

from nurec_ros.ros.conversions import set_time, set_vector
from nurec_ros.ros.frames import FrameNames
from nurec_ros.ros.markers import delete_all_marker, new_marker
from nurec_ros.ros.publishers.qos import advertise, latched
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

NAMESPACE = 'ego'


class EgoPublisher:
    """Publishes the rig's box in base; `frame_locked`, so that viewers carry it along."""

    def __init__(self, node: Any, frames: FrameNames) -> None:
        self._node = node
        self._publisher = advertise(node, MarkerArray, '~/ego', latched())
        self._header = Header(frame_id=frames.base_frame)
        self._marker = new_marker(self._header, NAMESPACE, 0, Marker.CUBE)
        self._marker.frame_locked = True
        self._marker.color = ColorRGBA(r=0.46, g=0.73, b=0.0, a=0.8)

    def publish(self, t_ns: int, box: Any) -> None:
        """
        Publish the box: `box.centre` (3,) and `box.dims` (3,) in the frame of the rig.

        Late joiners get this message until the next one.
        """
        set_time(self._header.stamp, t_ns)
        set_vector(self._marker.pose.position, box.centre)
        set_vector(self._marker.scale, box.dims)
        self._publisher.publish(MarkerArray(markers=[self._marker]))

    def delete(self, t_ns: int) -> None:
        """Clear viewers, those that come later too: the scenario has no box for the ego."""
        set_time(self._header.stamp, t_ns)
        self._publisher.publish(MarkerArray(markers=[delete_all_marker(self._header)]))

    def destroy(self) -> None:
        """Remove the topic."""
        self._node.destroy_publisher(self._publisher)
