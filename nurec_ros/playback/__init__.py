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
"""Playback time: what the position is and what is due, in pure Python and integers."""

from nurec_ros.playback.clock import Advance, camera_times, Due, PlaybackClock, Schedule

__all__ = ['Advance', 'Due', 'PlaybackClock', 'Schedule', 'camera_times']
