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
"""The client of a NuRec render server: due frames in, pictures and clouds out; no ROS here."""

from nurec_ros.rendering.frames import (
    CameraStatus,
    Cloud,
    decode_rgb,
    DueFrame,
    Failure,
    Frame,
    image_size,
    RendererStatus,
)
from nurec_ros.rendering.pipeline import RenderPipeline
from nurec_ros.rendering.policy import RenderOptions

__all__ = [
    'CameraStatus',
    'Cloud',
    'DueFrame',
    'Failure',
    'Frame',
    'RenderOptions',
    'RenderPipeline',
    'RendererStatus',
    'decode_rgb',
    'image_size',
]
