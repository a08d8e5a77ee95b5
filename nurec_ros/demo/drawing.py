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
Drawing for the demo's pictures, and one of them: the contact sheet.

It shows what each camera and lidar published at some moments of the drive. Colours are red, green,
blue; images too.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
import math
from typing import TypeVar

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
    _, data = cv2.imencode('.png', cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
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


CELL_WIDTH = 384
GAP = 6
MARGIN = 22
TITLE = 64
HEADING = 26
EMPTY = (226, 227, 229)
# Of the clouds.
NIGHT: Rgb = (16, 18, 24)
EGO: Rgb = (240, 240, 236)
# What is seen ahead of the ego and behind it.
REACH_M = 36.0
# Heights that colours are given to; the street is grey, paint on it white.
STREET_M, HIGHEST_M = 0.3, 3.5
STREET, PAINT = (62, 70, 84), (244, 244, 238)
# The street's intensities from dark to white; above the middle it is paint, and drawn larger.
DARKEST, BRIGHTEST = 0.05, 0.5
PAINTED = 0.5 * (DARKEST + BRIGHTEST)
# The pixels of a point that is to be seen, columns and rows.
LARGE = ((0, 0), (1, 0), (0, 1))
_LEVELS = np.arange(256, dtype=np.uint8).reshape(-1, 1)
_RAINBOW = cv2.applyColorMap(_LEVELS, cv2.COLORMAP_TURBO)[:, 0, ::-1]

Seen = TypeVar('Seen')
Images = Mapping[str, Sequence[tuple[int, bytes]]]


def moments(begin_ns: int, end_ns: int, count: int = 5) -> list[int]:
    """
    Return moments spread evenly over the drive, the first and the last close to its ends.

    Not the ends themselves: in many scenarios the road users come a little later than the ego.
    """
    near = (end_ns - begin_ns) // 40
    first, last = begin_ns + near, end_ns - near
    return [first + (last - first) * k // max(count - 1, 1) for k in range(count)]


def nearest(entries: Sequence[tuple[int, Seen]], t_ns: int) -> tuple[int, Seen] | None:
    """Return the entry, of some sorted by stamp, whose stamp is nearest to a moment."""
    if not entries:
        return None
    index = bisect_left(entries, t_ns, key=lambda entry: entry[0])
    first, last = max(index - 1, 0), index + 1
    return min(entries[first:last], key=lambda entry: abs(entry[0] - t_ns))


def draw_contact_sheet(
    images: Images,
    times_ns: Sequence[int],
    *,
    begin_ns: int,
    title: str,
    subtitle: str = '',
    clouds: Mapping[str, Sequence[tuple[int, Points]]] | None = None,
    ego_box: Sequence[float] | None = None,
) -> Image:
    """
    Draw cameras as rows and moments as columns; `images` are sorted (stamp ns, JPEG or PNG) each.

    A cell shows the image nearest to its column's moment, with its own time above it. `clouds` of
    points and intensities are further rows, drawn from above with the ego's box.
    """
    coded = [[nearest(entries, t_ns) for t_ns in times_ns] for entries in images.values()]
    height = _cell_height(coded)
    rows = [[found and (found[0], _decoded(found[1])) for found in row] for row in coded]
    for entries in (clouds or {}).values():
        seen = [nearest(entries, t_ns) for t_ns in times_ns]
        size = CELL_WIDTH, height
        rows.append([found and (found[0], draw_cloud(found[1], size, ego_box)) for found in seen])
    width = 2 * MARGIN + len(times_ns) * (CELL_WIDTH + GAP) - GAP
    total = TITLE + 2 * MARGIN + len(rows) * (height + GAP + HEADING) - GAP
    sheet = np.full((total, width, 3), PAPER, dtype=np.uint8)
    put_text(sheet, title, (MARGIN, MARGIN + 24), size=26, weight=BOLD)
    put_text(sheet, subtitle, (MARGIN, MARGIN + 52), size=17, colour=GREY)
    y = MARGIN + TITLE
    names = [*images, *(f'{name}, from above' for name in clouds or {})]
    for name, row in zip(names, rows, strict=True):
        for column, found in enumerate(row):
            x = MARGIN + column * (CELL_WIDTH + GAP)
            if column == 0:
                put_text(sheet, name, (x, y + 19), size=17, weight=BOLD)
            time = 'no image' if found is None else f'{(found[0] - begin_ns) / 1e9:.2f} s'
            right = x + CELL_WIDTH - text_width(time, size=16)
            put_text(sheet, time, (right, y + 19), size=16, colour=INK if found else GREY)
            rows_of_cell = slice(y + HEADING, y + HEADING + height)
            columns_of_cell = slice(x, x + CELL_WIDTH)
            sheet[rows_of_cell, columns_of_cell] = _cell(found and found[1], height)
        y += HEADING + height + GAP
    return sheet


def _cell_height(rows: Sequence[Sequence[tuple[int, bytes] | None]]) -> int:
    """Return the height at which the first image that can be decoded keeps its shape."""
    for entry in (entry for row in rows for entry in row if entry is not None):
        image = _decoded(entry[1])
        if image is not None:
            height, width = image.shape[:2]
            return max(1, round(CELL_WIDTH * int(height) / int(width)))
    return round(CELL_WIDTH * 9 / 16)


def _decoded(data: bytes) -> Image | None:
    image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _cell(image: Image | None, height: int) -> Image:
    """Return an image fitted into a cell, its shape kept; grey where there is none."""
    cell = np.full((height, CELL_WIDTH, 3), EMPTY, dtype=np.uint8)
    if image is None:
        return cell
    scale = min(CELL_WIDTH / image.shape[1], height / image.shape[0])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(image, size, interpolation=how)
    top, left = (height - size[1]) // 2, (CELL_WIDTH - size[0]) // 2
    bottom, right = top + size[1], left + size[0]
    cell[top:bottom, left:right] = small
    return cell


# A cloud of a lidar from above, the ego in the middle and ahead of it to the right.


def draw_cloud(
    points: Points, size: tuple[int, int], ego_box: Sequence[float] | None = None
) -> Image:
    """
    Draw points into a picture of a width and height, by their height, on the street by intensity.

    points (K, 4): x, y, z on the rig, and intensity from 0 to 1; `ego_box` is centre x, centre y,
    length, width.
    """
    width, height = size
    image = np.full((height, width, 3), NIGHT, dtype=np.uint8)
    scale, middle = width / (2 * REACH_M), np.array([width / 2, height / 2])

    def pixels(place: Points) -> Points:
        return middle + place[:, :2] * [scale, -scale]

    # The highest are drawn last, and of the street what shines.
    raised = points[:, 2] >= STREET_M
    order = np.argsort(np.where(raised, points[:, 2], points[:, 3] - 1.0), kind='stable')
    points, raised = points[order], raised[order]
    colours = colours_of(points[:, 2], points[:, 3])
    columns, rows = np.floor(pixels(points)).astype(int).T
    painted = ~raised & (points[:, 3] > PAINTED)
    for shown, large in ((~raised & ~painted, False), (painted, True), (raised, True)):
        for right, down in LARGE if large else LARGE[:1]:
            x, y = columns + right, rows + down
            inside = shown & (x >= 0) & (x < width) & (y >= 0) & (y < height)
            image[y[inside], x[inside]] = colours[inside]
    if ego_box is not None:
        polyline(image, pixels(outline((0, 0, 0), ego_box)), EGO, 1, closed=True)
        middle_x, middle_y, length, across = ego_box
        nose = np.array([[0.2, 0.5], [0.5, 0.0], [0.2, -0.5]]) * [length, across]
        polyline(image, pixels(nose + [middle_x, middle_y]), EGO, 1)
    return image


def colours_of(heights: Points, intensities: Points) -> NDArray[np.uint8]:
    """Return the colours (K, 3) of heights (m) above the street, and of intensities on it."""
    share = np.clip((heights - STREET_M) / (HIGHEST_M - STREET_M), 0, 1)
    # The ends of this map are too dark for a dark ground.
    coloured = _RAINBOW[np.rint(40 + 200 * share).astype(int)]
    street = heights < STREET_M
    bright = np.clip((intensities[street] - DARKEST) / (BRIGHTEST - DARKEST), 0, 1)
    coloured[street] = np.rint(STREET + np.outer(bright**2, np.subtract(PAINT, STREET)))
    found: NDArray[np.uint8] = coloured
    return found
