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
"""Reading of NuRec scenario archives (USDZ)."""

from nurec_ros.scenario.rig import Box, Camera, Lidar
from nurec_ros.scenario.road_map import RoadMap
from nurec_ros.scenario.scenario import Scenario
from nurec_ros.scenario.tracks import ActiveTracks, Tracks
from nurec_ros.scenario.trajectory import Trajectory, Twist

__all__ = [
    'ActiveTracks',
    'Box',
    'Camera',
    'Lidar',
    'RoadMap',
    'Scenario',
    'Tracks',
    'Trajectory',
    'Twist',
]
