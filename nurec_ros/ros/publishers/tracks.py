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
"""~/tracks: the boxes of the road users, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from nurec_ros.ros.conversions import set_time
from nurec_ros.ros.frames import FrameNames
from nurec_ros.ros.markers import delete_all_marker, TrackMarkers
from nurec_ros.ros.publishers.qos import advertise, reliable
from rclpy.duration import Duration
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray


class TracksPublisher:
    """
    Publishes every active track in every message, and deletes each vanished one once.

    A track keeps its id for the publisher's lifetime: the ids are counted, because a hash to 32
    bits collides. Not to be called from two threads at a time.
    """

    def __init__(self, node: Any, frames: FrameNames) -> None:
        self._node = node
        self._publisher = advertise(node, MarkerArray, '~/tracks', reliable(10))
        self._header = Header(frame_id=frames.map_frame)
        self._tracks: dict[tuple[str, str, bool], TrackMarkers] = {}
        self._active: dict[tuple[str, str, bool], TrackMarkers] = {}

    def publish(
        self,
        active: Any,
        *,
        velocities: np.ndarray | None = None,
        trails: Sequence[np.ndarray] | None = None,
    ) -> None:
        """
        Publish the active tracks of a moment, `active.t_ns`.

        `velocities` (N, 3), m/s in map, and `trails`, N arrays (M, 3) in map, are drawn where
        they are given, and deleted where they were drawn before and are not given any more.
        What is static has no trail. Nothing happens while nobody subscribes; what vanished in
        the meantime is deleted with the next message.
        """
        if not self._publisher.get_subscription_count():
            return
        set_time(self._header.stamp, active.t_ns)
        markers: list[Marker] = []
        shown: dict[tuple[str, str, bool], TrackMarkers] = {}
        positions = active.positions.tolist()
        rotations = active.quaternions.tolist()
        dims = active.dims.tolist()
        static = active.static.tolist()
        speeds = velocities.tolist() if velocities is not None else None
        for i, (track_id, label) in enumerate(zip(active.ids, active.labels, strict=True)):
            key = (track_id, label, static[i])
            track = self._track(key)
            shown[key] = track
            drawn: list[Marker | None] = [*track.show_box(positions[i], rotations[i], dims[i])]
            if speeds is not None:
                drawn.append(track.show_arrow(positions[i], speeds[i]))
            if trails is not None and not static[i]:
                drawn.append(track.show_trail(trails[i]))
            if len(track.shown) > 2:
                markers += track.hide(keep=tuple(drawn))
            markers += [marker for marker in drawn if marker is not None]
        for key, track in self._active.items():
            if key not in shown:
                markers += track.hide()
        self._active = shown
        self._publisher.publish(MarkerArray(markers=markers))

    def _track(self, key: tuple[str, str, bool]) -> TrackMarkers:
        track = self._tracks.get(key)
        if track is None:
            track_id, label, static = key
            number = len(self._tracks)
            track = TrackMarkers(self._header, number, track_id, label, static=static)
            self._tracks[key] = track
        return track

    def delete_all(self, t_ns: int) -> None:
        """Clear every viewer, with the one marker in a message of its own."""
        set_time(self._header.stamp, t_ns)
        for track in self._active.values():
            track.shown.clear()
        self._active = {}
        self._publisher.publish(MarkerArray(markers=[delete_all_marker(self._header)]))

    def wait(self, timeout_s: float) -> bool:
        """Wait until every reader has all that was published; say whether it has."""
        wait = getattr(self._publisher, 'wait_for_all_acked', None)
        return wait is None or bool(wait(Duration(nanoseconds=round(timeout_s * 1e9))))

    def destroy(self) -> None:
        """Remove the topic; what viewers show stays unless `delete_all` came before."""
        self._node.destroy_publisher(self._publisher)
