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
"""Camera models: project, unproject, scale, and fit to another model."""

from nurec_ros.scenario.cameras.base import CameraModel, CameraModelError, RayMap
from nurec_ros.scenario.cameras.nvidia import FthetaCamera, Windshield
from nurec_ros.scenario.cameras.opencv import FisheyeCamera, FitResidual, PinholeCamera
from nurec_ros.scenario.cameras.parse import parse_camera_model

__all__ = [
    'CameraModel',
    'CameraModelError',
    'FisheyeCamera',
    'FitResidual',
    'FthetaCamera',
    'PinholeCamera',
    'RayMap',
    'Windshield',
    'parse_camera_model',
]
