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
"""What the player publishes: one class per topic or group of topics."""

from nurec_ros.ros.publishers.cameras import CameraPublisher
from nurec_ros.ros.publishers.clock import ClockPublisher
from nurec_ros.ros.publishers.diagnostics import DiagnosticsPublisher
from nurec_ros.ros.publishers.ego import EgoPublisher
from nurec_ros.ros.publishers.objects import ObjectsPublisher
from nurec_ros.ros.publishers.odometry import OdometryPublisher
from nurec_ros.ros.publishers.path import PathPublisher
from nurec_ros.ros.publishers.state import StatePublisher
from nurec_ros.ros.publishers.tf import TfPublisher
from nurec_ros.ros.publishers.tracks import TracksPublisher

__all__ = [
    'CameraPublisher',
    'ClockPublisher',
    'DiagnosticsPublisher',
    'EgoPublisher',
    'ObjectsPublisher',
    'OdometryPublisher',
    'PathPublisher',
    'StatePublisher',
    'TfPublisher',
    'TracksPublisher',
]
