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
"""~/map: the lane boundaries and road edges of map.xodr, for people to look at."""

from __future__ import annotations

from dataclasses import dataclass

from nurec_ros.palette import LANES
from nurec_ros.ros.conversions import points, set_time
from nurec_ros.ros.markers import delete_all_marker, new_marker
from nurec_ros.ros.outlet import latched, Outlet, Publication, take_away
from nurec_ros.scenario import RoadMap
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

LINE_WIDTH = 0.15


@dataclass(frozen=True, slots=True)
class Lanes:
    """The line strips of a map, with the header that all of them share."""

    header: Header
    markers: list[Marker]

    @classmethod
    def of(cls, road_map: RoadMap | None) -> Lanes:
        """Make a line strip of each boundary, in a namespace and a colour of its kind."""
        colours = {
            kind: ColorRGBA(r=red / 255.0, g=green / 255.0, b=blue / 255.0, a=1.0)
            for kind, (red, green, blue) in LANES.items()
        }
        lanes = cls(Header(), [])
        if road_map is None:
            return lanes
        kinds = zip(road_map.boundaries, road_map.kinds, strict=True)
        for number, (line, kind) in enumerate(kinds):
            marker = new_marker(lanes.header, kind, number, Marker.LINE_STRIP)
            marker.scale.x = LINE_WIDTH
            marker.color = colours[kind]
            marker.points = points(line)
            lanes.markers.append(marker)
        return lanes


class LaneTopic:
    """The topic, there while the scenario that was given last has lanes."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._publication: Publication | None = None
        self._header = Header()
        self._message = MarkerArray()

    def change(self, lanes: Lanes, map_frame: str) -> None:
        """Show other lanes from the next jump on, or none."""
        if lanes.markers and self._publication is None:
            self._publication = self._outlet.advertise(MarkerArray, '~/map', latched())
        elif not lanes.markers and self._publication is not None:
            nothing = MarkerArray(markers=[delete_all_marker(self._header)])
            take_away(self._publication, nothing)
            self._publication = None
        self._header = lanes.header
        self._header.frame_id = map_frame
        self._message = MarkerArray(markers=[delete_all_marker(self._header), *lanes.markers])

    def show(self, t_ns: int) -> None:
        """Publish all of it; what viewers have of another map goes."""
        if self._publication is None:
            return
        set_time(self._header.stamp, t_ns)
        self._publication.publish(self._message)
