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
"""The drive of a scenario from above, drawn from its file alone."""

from __future__ import annotations

import numpy as np
from nurec_ros.demo.drawing import Image
from nurec_ros.demo.labels import Pose2D
from nurec_ros.demo.overview import draw_overview, Drive, RoadUser
from nurec_ros.poses import Pose
from nurec_ros.scenario import Scenario
from nurec_ros.summary import view_edges

STEP_NS = 100_000_000


def draw_scenario(scenario: Scenario) -> Image:
    """Draw path, tracks, lanes and what the cameras see at the middle of the drive."""
    begin_ns, end_ns = scenario.start_ns, scenario.end_ns
    times = np.unique(np.append(np.arange(begin_ns, end_ns, STEP_NS), end_ns))
    box = scenario.rig_bbox
    drive = Drive(
        path_ns=scenario.ego.times_ns,
        path=np.array(_flat(scenario.ego.pose(scenario.ego.times_ns))),
        odometry_ns=times,
        odometry=np.array(_flat(scenario.ego.pose(times))),
        ego_box=None if box is None else (*box.centre[:2].tolist(), box.length, box.width),
        road_users={('', index): _user(scenario, index) for index in range(len(scenario.tracks))},
        images={},
    )
    edges = (view_edges(camera) for camera in scenario.cameras.values())
    seconds = (end_ns - begin_ns) / 1e9
    return draw_overview(
        drive,
        title=scenario.sequence_id,
        subtitle=f'{scenario.path.name}: {seconds:.1f} s, {len(scenario.tracks)} road users, '
        f'{len(scenario.cameras)} cameras; boxes and views at {seconds / 2:.1f} s',
        lanes=() if scenario.road_map is None else scenario.road_map.boundaries,
        span_ns=(begin_ns, end_ns),
        views=[edge for edge in edges if edge is not None],
    )


def _user(scenario: Scenario, index: int) -> RoadUser:
    tracks = scenario.tracks
    way = tracks.trajectory(index)
    times = np.unique(np.append(np.arange(way.start_ns, way.end_ns, STEP_NS), way.end_ns))
    length, width = (float(side) for side in tracks.dims[index][:2])
    label = tracks.labels[index]
    return RoadUser(label, (length, width), (0, 0, 0, 1), times.tolist(), _flat(way.pose(times)))


def _flat(poses: Pose) -> list[Pose2D]:
    """Return x, y and yaw of poses (N,)."""
    x, y, z, w = poses.quaternion.T
    yaw = np.arctan2(2 * (x * y + w * z), 1 - 2 * (y**2 + z**2))
    rows = np.column_stack([poses.position[:, :2], yaw]).tolist()
    return [(float(row[0]), float(row[1]), float(row[2])) for row in rows]
