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

from nurec_ros.palette import LANES
from nurec_ros.ros.conversions import points, set_time
from nurec_ros.ros.markers import delete_all_marker, new_marker
from nurec_ros.ros.outlet import latched, Outlet, Publication
from nurec_ros.scenario import RoadMap
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

LINE_WIDTH = 0.15


def lane_markers(road_map: RoadMap, header: Header) -> list[Marker]:
    """Return a line strip for each boundary, in a namespace and a colour of its kind."""
    colours = {
        kind: ColorRGBA(r=red / 255.0, g=green / 255.0, b=blue / 255.0, a=1.0)
        for kind, (red, green, blue) in LANES.items()
    }
    found = []
    for number, (line, kind) in enumerate(zip(road_map.boundaries, road_map.kinds, strict=True)):
        marker = new_marker(header, kind, number, Marker.LINE_STRIP)
        marker.scale.x = LINE_WIDTH
        marker.color = colours[kind]
        marker.points = points(line)
        found.append(marker)
    return found


class LaneTopic:
    """The topic, there while the scenario that was given last has lanes."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._publication: Publication | None = None
        self._road_map: RoadMap | None = None
        self._header = Header()
        self._message: MarkerArray | None = None

    def change(self, road_map: RoadMap | None, map_frame: str) -> None:
        """Show another map from the next jump on; None: no map."""
        wanted = road_map is not None and bool(road_map.boundaries)
        if wanted and self._publication is None:
            self._publication = self._outlet.advertise(MarkerArray, '~/map', latched())
        elif not wanted and self._publication is not None:
            self._publication.publish(MarkerArray(markers=[delete_all_marker(self._header)]))
            self._publication.destroy()
            self._publication = None
        self._header = Header(frame_id=map_frame)
        self._road_map, self._message = road_map, None

    def show(self, t_ns: int) -> None:
        """Publish all of it; what viewers have of another map goes."""
        if self._publication is None or self._road_map is None:
            return
        if self._message is None:
            lanes = lane_markers(self._road_map, self._header)
            self._message = MarkerArray(markers=[delete_all_marker(self._header), *lanes])
        set_time(self._header.stamp, t_ns)
        self._publication.publish(self._message)
