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
"""A line of text in a corner of the picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TEXT = (245, 245, 245)
_SMALLEST, _OF_HEIGHT = 0.36, 1.0 / 1400.0


def write_caption(picture: NDArray[np.uint8], text: str) -> None:
    """Write the text into the lower left corner of an RGB picture, on a darkened strip."""
    height, width = picture.shape[:2]
    scale = max(_SMALLEST, height * _OF_HEIGHT)
    thickness = 1 if scale < 0.7 else 2
    (text_w, text_h), below = cv2.getTextSize(text, _FONT, scale, thickness)
    if text_w > width:
        scale *= width / text_w
        (text_w, text_h), below = cv2.getTextSize(text, _FONT, scale, thickness)
    pad = max(2, text_h // 3)
    top = height - text_h - below - 2 * pad
    if top < 0:
        return
    strip = picture[top:, slice(min(width, text_w + 2 * pad))]
    np.multiply(strip, 0.45, out=strip, casting='unsafe')
    origin = (pad, height - below - pad)
    cv2.putText(picture, text, origin, _FONT, scale, _TEXT, thickness, cv2.LINE_AA)
