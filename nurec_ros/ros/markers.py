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
"""
~/tracks and ~/map: the boxes of the road users and the lanes' lines, for people to look at.

Markers are made once and updated in place: building a Marker takes ten times as long as
updating one, and a street has hundreds of them ten times a second.
"""

from __future__ import annotations

from collections.abc import Sequence

from geometry_msgs.msg import Point
import numpy as np
from numpy.typing import NDArray
from nurec_ros.palette import LANES, marker_colour
from nurec_ros.ros.conversions import points, set_time, set_vector
from nurec_ros.ros.outlet import latched, Outlet, Publication, take_away
from nurec_ros.scenario import RoadMap
from nurec_ros.scenario.rig import Box
from nurec_ros.scenario.tracks import ActiveTracks
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

TEXT_NS, VELOCITY_NS, TRAIL_NS = 'text', 'velocity', 'trail'

TEXT_HEIGHT = 0.5
TEXT_GAP = 0.2
# rviz refuses a marker without extent.
SMALLEST_SIDE = 1e-3
# An arrow is as long as the way of this time, and not drawn for what all but stands.
ARROW_SECONDS = 1.0
ARROW_MIN_SPEED = 0.1
# Shaft diameter, head diameter and head length.
ARROW_SCALE = (0.15, 0.35, 0.4)
TRAIL_WIDTH = 0.12

Floats = Sequence[float]
LINE_WIDTH = 0.15


def new_marker(header: Header, namespace: str, number: int, kind: int) -> Marker:
    """Return a marker to be added; `header` is shared, so that one stamp serves all."""
    marker = Marker(header=header, ns=namespace, id=number, type=kind, action=Marker.ADD)
    marker.pose.orientation.w = 1.0
    return marker


def _colour(rgb: Sequence[float], alpha: float = 1.0) -> ColorRGBA:
    red, green, blue = rgb
    return ColorRGBA(r=red, g=green, b=blue, a=alpha)


def ego_marker(box: Box, frame: str, namespace: str, colour: Sequence[float], t_ns: int) -> Marker:
    """Return the ego's box in the frame of its rig, which it moves with."""
    marker = new_marker(Header(frame_id=frame), namespace, 0, Marker.CUBE)
    set_time(marker.header.stamp, t_ns)
    marker.frame_locked = True
    marker.color = _colour(colour[:3], colour[3])
    set_vector(marker.pose.position, box.centre)
    set_vector(marker.scale, box.dims)
    return marker


def delete_all_marker(header: Header) -> Marker:
    """Return the marker that clears every namespace of a display."""
    return Marker(header=header, action=Marker.DELETEALL)


class _Track:
    """
    The markers of one track, with one id: box and text, and where wanted arrow and trail.

    `shown` holds those that viewers have been sent and not been told to delete.
    """

    def __init__(
        self, header: Header, number: int, track_id: str, label: str, *, static: bool
    ) -> None:
        self._header = header
        self._number = number
        self._label = label
        *rgb, alpha = marker_colour(label, static=static)
        self._opaque = _colour(rgb)
        self.box = new_marker(header, label, number, Marker.CUBE)
        self.box.color = _colour(rgb, alpha)
        self.text = new_marker(header, f'{label}/{TEXT_NS}', number, Marker.TEXT_VIEW_FACING)
        self.text.color = _colour((1.0, 1.0, 1.0))
        self.text.scale.z = TEXT_HEIGHT
        self.text.text = f'{label} {track_id[:8]}'
        self.arrow: Marker | None = None
        self.trail: Marker | None = None
        self.shown: dict[str, Marker] = {}

    def show_box(
        self, position: Floats, quaternion: Floats, dims: Floats
    ) -> tuple[Marker, Marker]:
        """Move box and text: centre, x y z w and length, width, height, as Python floats."""
        box, text = self.box, self.text
        at, to, scale = box.pose.position, box.pose.orientation, box.scale
        at.x, at.y, at.z = position
        to.x, to.y, to.z, to.w = quaternion
        scale.x, scale.y, scale.z = (max(side, SMALLEST_SIDE) for side in dims)
        above = text.pose.position
        above.x, above.y = at.x, at.y
        above.z = at.z + dims[2] / 2.0 + TEXT_GAP + TEXT_HEIGHT / 2.0
        self.shown[box.ns] = box
        self.shown[text.ns] = text
        return box, text

    def show_arrow(self, position: Floats, velocity: Floats) -> Marker | None:
        """Draw the velocity, m/s in map, from the box's centre; None where it all but stands."""
        vx, vy, vz = (value * ARROW_SECONDS for value in velocity)
        if vx * vx + vy * vy + vz * vz < (ARROW_MIN_SPEED * ARROW_SECONDS) ** 2:
            return None
        if self.arrow is None:
            namespace = f'{self._label}/{VELOCITY_NS}'
            self.arrow = new_marker(self._header, namespace, self._number, Marker.ARROW)
            self.arrow.color = self._opaque
            self.arrow.points = [Point(), Point()]
            scale = self.arrow.scale
            scale.x, scale.y, scale.z = ARROW_SCALE
        tail, tip = self.arrow.points
        tail.x, tail.y, tail.z = position
        tip.x, tip.y, tip.z = tail.x + vx, tail.y + vy, tail.z + vz
        self.shown[self.arrow.ns] = self.arrow
        return self.arrow

    def show_trail(self, positions: NDArray[np.float64]) -> Marker | None:
        """Draw the way through positions (M, 3); None where there are fewer than two."""
        if len(positions) < 2:
            return None
        if self.trail is None:
            namespace = f'{self._label}/{TRAIL_NS}'
            self.trail = new_marker(self._header, namespace, self._number, Marker.LINE_STRIP)
            self.trail.color = self._opaque
            self.trail.scale.x = TRAIL_WIDTH
        self.trail.points = points(positions)
        self.shown[self.trail.ns] = self.trail
        return self.trail

    def hide(self, keep: tuple[Marker | None, ...] = ()) -> list[Marker]:
        """Return the markers that delete what is shown, except for those in `keep`."""
        kept = {marker.ns for marker in keep if marker is not None}
        gone = [namespace for namespace in self.shown if namespace not in kept]
        return [
            Marker(header=self._header, ns=one.ns, id=one.id, action=Marker.DELETE)
            for one in map(self.shown.pop, gone)
        ]


class TrackMarkers:
    """
    Composes the messages: every active track in every one, each vanished one deleted once.

    A track's id is its place in the file, whichever moment is shown first: a hash to 32 bits
    collides. The messages share their markers and are to be sent before the next one is composed.
    """

    def __init__(self, map_frame: str) -> None:
        self._header = Header(frame_id=map_frame)
        self._tracks: dict[tuple[str, str, bool], _Track] = {}
        self._active: dict[tuple[str, str, bool], _Track] = {}

    def message(
        self,
        active: ActiveTracks,
        velocities: NDArray[np.float64] | None = None,
        trails: Sequence[NDArray[np.float64]] | None = None,
    ) -> MarkerArray:
        """
        Return the message of a moment, `active.t_ns`.

        `velocities` (N, 3), m/s in map, and `trails`, N arrays (M, 3) in map, are drawn where
        they are given, and deleted where they were drawn before and are not given any more.
        What is static has no trail.
        """
        set_time(self._header.stamp, active.t_ns)
        markers: list[Marker] = []
        shown: dict[tuple[str, str, bool], _Track] = {}
        positions = active.positions.tolist()
        quaternions = active.quaternions.tolist()
        dims = active.dims.tolist()
        static = active.static.tolist()
        speeds = velocities.tolist() if velocities is not None else None
        for i, (track_id, label) in enumerate(zip(active.ids, active.labels, strict=True)):
            key = (track_id, label, static[i])
            track = self._track(key, int(active.indices[i]))
            shown[key] = track
            drawn: list[Marker | None] = [*track.show_box(positions[i], quaternions[i], dims[i])]
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
        return MarkerArray(markers=markers)

    def _track(self, key: tuple[str, str, bool], number: int) -> _Track:
        track = self._tracks.get(key)
        if track is None:
            track_id, label, static = key
            track = _Track(self._header, number, track_id, label, static=static)
            self._tracks[key] = track
        return track

    def delete_all(self, t_ns: int) -> MarkerArray:
        """Return the message with the one marker that clears every viewer."""
        set_time(self._header.stamp, t_ns)
        for track in self._active.values():
            track.shown.clear()
        self._active = {}
        return MarkerArray(markers=[delete_all_marker(self._header)])


def lane_markers(road_map: RoadMap | None) -> list[Marker]:
    """Return a line strip of each boundary, by its kind, all with one header."""
    if road_map is None:
        return []
    header, markers = Header(), []
    colours = {kind: _colour([value / 255.0 for value in rgb]) for kind, rgb in LANES.items()}
    lines = zip(road_map.boundaries, road_map.kinds, strict=True)
    for number, (line, kind) in enumerate(lines):
        marker = new_marker(header, kind, number, Marker.LINE_STRIP)
        marker.scale.x = LINE_WIDTH
        marker.color = colours[kind]
        marker.points = points(line)
        markers.append(marker)
    return markers


class LaneTopic:
    """The topic, there while the scenario that was given last has lanes."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._publication: Publication | None = None
        self._header = Header()
        self._message = MarkerArray()

    def change(self, lanes: list[Marker], map_frame: str) -> None:
        """Show other lanes, of `lane_markers`, from the next jump on, or none."""
        if lanes and self._publication is None:
            self._publication = self._outlet.advertise(MarkerArray, '~/map', latched())
        elif not lanes and self._publication is not None:
            nothing = MarkerArray(markers=[delete_all_marker(self._header)])
            take_away(self._publication, nothing)
            self._publication = None
        for marker in lanes[:1]:
            self._header = marker.header
        self._header.frame_id = map_frame
        self._message = MarkerArray(markers=[delete_all_marker(self._header), *lanes])

    def show(self, t_ns: int) -> None:
        """Publish all of it; what viewers have of another map goes."""
        if self._publication is None:
            return
        set_time(self._header.stamp, t_ns)
        self._publication.publish(self._message)
