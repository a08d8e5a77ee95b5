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
The driven ego: how it moves, on which ground, how far beside the recording, and what it meets.

Scenario time and inputs go in, poses come out. Nothing here knows ROS, a clock or a thread.
"""

from nurec_ros.driving.ego import DrivenEgo
from nurec_ros.driving.inputs import (
    AckermannCommand,
    InputError,
    TimedPose,
    TwistCommand,
)
from nurec_ros.driving.motion import Limits
from nurec_ros.driving.recorded_path import Deviation, RecordedPath

__all__ = [
    'AckermannCommand',
    'Deviation',
    'DrivenEgo',
    'InputError',
    'Limits',
    'RecordedPath',
    'TimedPose',
    'TwistCommand',
]
