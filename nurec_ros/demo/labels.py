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
"""Times along the path: which are labelled, and where the labels stand free of another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import math

import numpy as np
from numpy.typing import NDArray
from nurec_ros.demo.drawing import BOLD, text_width

TICK_S = 5.0
# Of the text's size: how far the pale ground of a label reaches to the sides, above the baseline,
# below it; and from the path to the middle of the label.
SIDE, ABOVE, BELOW, AWAY = 0.3, 0.85, 0.3, 1.55

Points = NDArray[np.float64]
Pose2D = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Label:
    """A text, where its baseline begins (pixels), and left, top, right, bottom of its ground."""

    text: str
    place: tuple[float, float]
    ground: tuple[float, float, float, float]

    def overlaps(self, other: Label) -> bool:
        """Return whether the grounds of two labels have pixels in common."""
        left, top, right, bottom = self.ground
        begin, high, end, low = other.ground
        return left < end and begin < right and top < low and high < bottom


def tick_seconds(duration_s: float) -> list[float]:
    """Return the times to mark, in seconds: every 5 s, and the end."""
    ticks = [float(tick) for tick in np.arange(0.0, duration_s - 0.05, TICK_S)] or [0.0]
    return [*ticks, duration_s] if duration_s >= 0.05 else ticks


def tick_labels(
    seconds: list[float],
    pose_at: Callable[[float], Pose2D],
    view: Callable[[Points], Points],
    size: int,
) -> list[Label]:
    """
    Label the begin and the end, then of the times between those that find room.

    Where the ego stands still several times share a place: the end goes to the path's other side.
    """
    chosen: list[Label] = []
    between = seconds[1:-1]
    for second in [seconds[0], *seconds[1:][-1:], *between]:
        sides = (1,) if second in between else (1, -1)
        for side in sides:
            label = _label(second, pose_at(second), view, size, side)
            if not any(label.overlaps(other) for other in chosen):
                chosen.append(label)
                break
    return chosen


def _label(
    second: float, pose: Pose2D, view: Callable[[Points], Points], size: int, side: int
) -> Label:
    x, y, yaw = pose
    place, tip = view(np.array([[x, y], [x + math.cos(yaw), y + math.sin(yaw)]]))
    ahead = tip - place
    normal = side * np.array([-ahead[1], ahead[0]]) / max(float(np.hypot(*ahead)), 1e-9)
    text = f'{round(second, 1):g} s'
    width = text_width(text, size=size, weight=BOLD)
    centre = place + normal * (AWAY * size + abs(normal[0]) * width / 2)
    left, base = float(centre[0]) - width / 2, float(centre[1]) + 0.35 * size
    ground = (
        left - SIDE * size,
        base - ABOVE * size,
        left + width + SIDE * size,
        base + BELOW * size,
    )
    return Label(text, (left, base), ground)
