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
The legend of the colours of classes and lanes, as a picture for the documents.

`python -m nurec_ros.ros.marker_legend > docs/classes.svg` writes it; a test fails when it is old.
"""

from __future__ import annotations

import sys

from nurec_ros.palette import LANES, PALETTE, UNKNOWN
from nurec_ros.ros.markers import track_colour

COLUMNS = 3
WIDTH, HEIGHT = 230, 26
SWATCH = 16


def legend_svg() -> str:
    """Draw each class twice, as it moves and as it stands, with its label; then kinds of lanes."""
    rows = -(-(len(PALETTE) + 1) // COLUMNS)
    lane_rows = -(-len(LANES) // COLUMNS)
    size = f'width="{COLUMNS * WIDTH}" height="{(rows + lane_rows + 2) * HEIGHT}"'
    font = 'font-family="sans-serif" font-size="13"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>',
        f'<rect {size} fill="{_hex((32, 34, 40))}"/>',
    ]
    for number, label in enumerate([*PALETTE, 'any other']):
        x = 10 + WIDTH * (number // rows)
        y = 8 + HEIGHT * (number % rows)
        moving = _hex(PALETTE.get(label, UNKNOWN))
        colour = track_colour(label, static=True)
        standing = _hex(tuple(round(255 * c) for c in (colour.r, colour.g, colour.b)))
        square = f'y="{y}" width="{SWATCH}" height="{SWATCH}"'
        paler = f'fill="{standing}" fill-opacity="{colour.a:.1f}"'
        lines += [
            f'<rect x="{x}" {square} fill="{moving}"/>',
            f'<rect x="{x + SWATCH + 4}" {square} {paler}/>',
            f'<text x="{x + 2 * SWATCH + 14}" y="{y + 13}" fill="#ffffff">{label}</text>',
        ]
    y = 8 + HEIGHT * rows + 13
    lines += [
        f'<text x="10" y="{y}" fill="#b0b0b0">left: moving, right: static; lanes:</text>',
    ]
    for number, (kind, rgb) in enumerate(LANES.items()):
        x = 10 + WIDTH * (number // lane_rows)
        y = 8 + HEIGHT * (rows + 1 + number % lane_rows)
        line = f'y="{y + 6}" width="{2 * SWATCH + 4}" height="4"'
        lines += [
            f'<rect x="{x}" {line} fill="{_hex(rgb)}"/>',
            f'<text x="{x + 2 * SWATCH + 14}" y="{y + 13}" fill="#ffffff">{kind}</text>',
        ]
    lines.append('</svg>')
    return '\n'.join(lines) + '\n'


def _hex(rgb: tuple[int, ...]) -> str:
    return '#' + ''.join(f'{value:02x}' for value in rgb)


if __name__ == '__main__':
    sys.stdout.write(legend_svg())
