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
"""Text, shapes and labels for the demo's pictures: colours are red, green, blue; images too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import math

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Points = NDArray[np.float64]
Pose2D = tuple[float, float, float]
Rgb = tuple[int, int, int]

INK: Rgb = (38, 40, 44)
GREY: Rgb = (120, 124, 130)
PAPER: Rgb = (250, 250, 248)

BOLD, REGULAR = 600, 400
# Shapes are placed to a sixteenth of a pixel.
SHIFT = 4
TICK_S = 5.0
# Of the text's size: how far the pale ground of a label reaches to the sides, above the baseline,
# below it; and from the path to the middle of the label.
SIDE, ABOVE, BELOW, AWAY = 0.3, 0.85, 0.3, 1.55

# OpenCV 5 draws real fonts; before it there are only Hershey's strokes.
FACE = cv2.FontFace('sans') if hasattr(cv2, 'FontFace') else None


def put_text(
    image: Image,
    text: str,
    place: tuple[float, float],
    *,
    size: int,
    colour: Rgb = INK,
    weight: int = REGULAR,
) -> None:
    """Write a line whose baseline begins at `place` (x, y), its capitals about 0.7 `size` high."""
    at = (round(place[0]), round(place[1]))
    if FACE is not None:
        cv2.putText(image, text, at, colour, FACE, size, weight)
        return
    thickness = max(1, round(size / (16 if weight >= BOLD else 26)))
    cv2.putText(image, text, at, *_strokes(size), colour, thickness, cv2.LINE_AA)


def text_width(text: str, *, size: int, weight: int = REGULAR) -> int:
    """Return the width in pixels of a line of text."""
    if FACE is not None:
        return int(cv2.getTextSize((1, 1), text, (0, 0), FACE, size, weight)[2])
    return int(cv2.getTextSize(text, *_strokes(size), 1)[0][0])


def _strokes(size: int) -> tuple[int, float]:
    """Return Hershey's font and its scale: its capitals are 21 units high."""
    return cv2.FONT_HERSHEY_SIMPLEX, size * 0.7 / 21


def fixed(points: Sequence[Sequence[float]] | NDArray[np.float64]) -> NDArray[np.int32]:
    """Return points (N, 2) as OpenCV's drawing functions take fractions of a pixel."""
    return np.rint(np.asarray(points, dtype=np.float64) * (1 << SHIFT)).astype(np.int32)


def polyline(
    image: Image, points: NDArray[np.float64], colour: Rgb, thickness: int, *, closed: bool = False
) -> None:
    """Draw a line through points (N, 2) in pixels."""
    cv2.polylines(image, [fixed(points)], closed, colour, thickness, cv2.LINE_AA, SHIFT)


def polygon(image: Image, points: NDArray[np.float64], colour: Rgb) -> None:
    """Fill the polygon of points (N, 2) in pixels."""
    cv2.fillPoly(image, [fixed(points)], colour, cv2.LINE_AA, SHIFT)


def disc(image: Image, place: Sequence[float], radius: float, colour: Rgb) -> None:
    """Fill a circle about a place in pixels."""
    x, y = (int(value) for value in fixed([place])[0])
    cv2.circle(image, (x, y), round(radius * (1 << SHIFT)), colour, -1, cv2.LINE_AA, SHIFT)


def mixed(colour: Rgb, other: Rgb, share: float) -> Rgb:
    """Return `colour` with a share (0 to 1) of another one."""
    r, g, b = (round(c * (1 - share) + o * share) for c, o in zip(colour, other, strict=True))
    return r, g, b


def outline(pose: Sequence[float], box: Sequence[float]) -> Points:
    """
    Return the corners (4, 2) of a box on the ground, the front two first.

    `pose` is x, y, yaw of its frame; `box` centre x, centre y, length, width in that frame.
    """
    x, y, yaw = pose
    cx, cy, length, width = box
    corners = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * [length / 2, width / 2] + [cx, cy]
    cos, sin = math.cos(yaw), math.sin(yaw)
    turned: Points = corners @ np.array([[cos, sin], [-sin, cos]]) + [x, y]
    return turned


def write_png(path: str, image: Image) -> None:
    """Write an image; OSError where that is not possible."""
    done, data = cv2.imencode('.png', cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not done:
        message = f'cannot encode {path}'
        raise OSError(message)
    with open(path, 'wb') as file:
        file.write(data.tobytes())


# Times along the path: which are labelled, and where the labels stand free of another.


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
