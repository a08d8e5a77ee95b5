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
What of the documents is written from tables: all parameters, and the legend of the colours.

`python -m nurec_ros.ros.written_docs` brings `config/nurec.yaml`, the tables of parameters and
`docs/classes.svg` of a source tree up to date; a test fails when they are not.
"""

from __future__ import annotations

from pathlib import Path
import sys
import textwrap

from nurec_ros.palette import LANES, marker_colour, PALETTE, UNKNOWN
from nurec_ros.setting_values import LOAD, RUNTIME, Spec, START, Value
from nurec_ros.settings import CAMERA_TABLE, LIDAR_TABLE, TABLE

BEGIN = '<!-- parameters: written by python -m nurec_ros.ros.written_docs -->'
END = '<!-- /parameters -->'

YAML_FILE = Path('config', 'nurec.yaml')
LEGEND = Path('docs', 'classes.svg')
DOCUMENTS = (Path('docs', 'parameters.md'), Path('README.md'))

# Of the legend, in pixels.
COLUMNS = 3
WIDTH, HEIGHT = 230, 26
SWATCH = 16

_WORDS = {START: 'start', RUNTIME: 'run time', LOAD: '`~/load`'}
_YAML_WORDS = {START: '', RUNTIME: 'At run time too.', LOAD: 'Takes effect at the next ~/load.'}


def yaml_value(value: Value) -> str:
    """Write a value as YAML that ROS's parser reads as the same type."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"'{value}'"
    if isinstance(value, tuple):
        return '[' + ', '.join(yaml_value(entry) for entry in value) + ']'
    return str(value)


def yaml_text() -> str:
    """Return the whole of `config/nurec.yaml`: every parameter with its default."""
    lines = [
        '# Every parameter of nurec_player with its default, written from the table in',
        '# nurec_ros/settings.py by: python -m nurec_ros.ros.written_docs',
        '# Keyed /**, so that it holds under any node name and namespace.',
        '/**:',
        '  ros__parameters:',
    ]
    for spec in TABLE:
        lines += ['', *_comment(spec), f'    {spec.name}: {yaml_value(spec.default)}']
    tables = {
        'lidar': ('lidar_gt_top_p128', LIDAR_TABLE),
        'camera': ('camera_front_wide_120fov', CAMERA_TABLE),
    }
    for noun, (name, table) in tables.items():
        lines += [
            '',
            f"    # A {noun}'s own values stand under its name, for example:",
            f'    # {name}:',
        ]
        for spec in table:
            lines += [f'    #   {line[4:]}' for line in _comment(spec)]
            lines.append(f'    #   {spec.name}: {yaml_value(spec.default)}')
    return '\n'.join(lines) + '\n'


def _comment(spec: Spec) -> list[str]:
    parts = [spec.description]
    if spec.allowed:
        parts.append(f'Allowed: {spec.allowed}.')
    parts.append(_YAML_WORDS[spec.applies])
    text = ' '.join(part for part in parts if part)
    return textwrap.wrap(
        text, 93, initial_indent='    # ', subsequent_indent='    # ', break_on_hyphens=False
    )


def markdown_text() -> str:
    """Return the documents' tables: the player's first, then the cameras' and the lidars'."""
    cameras = [_row(spec, prefix='<camera>.') for spec in CAMERA_TABLE]
    return '\n'.join(
        [
            '| parameter | default | allowed | can be set | meaning |',
            '|---|---|---|---|---|',
            *(_row(spec) for spec in TABLE),
            *cameras,
            *(_row(spec, prefix='<lidar>.') for spec in LIDAR_TABLE),
        ]
    )


def _row(spec: Spec, prefix: str = '') -> str:
    choices = ', '.join(f'`{choice or repr(choice)}`' for choice in spec.choices)
    allowed = choices or spec.allowed or _kind(spec)
    name, default = f'`{prefix}{spec.name}`', f'`{yaml_value(spec.default)}`'
    cells = (name, default, allowed, _WORDS[spec.applies], spec.description)
    return '| ' + ' | '.join(cell.replace('|', r'\|') for cell in cells) + ' |'


def _kind(spec: Spec) -> str:
    return {'string': 'text', 'bool': 'true, false', 'string_array': 'list of text'}[spec.kind]


def replaced(document: str) -> str:
    """Return a document with the text between the two markers brought up to date."""
    before, found, rest = document.partition(BEGIN)
    if not found:
        return document
    _, _, after = rest.partition(END)
    return f'{before}{BEGIN}\n{markdown_text()}\n{END}{after}'


def write(root: Path) -> list[Path]:
    """Bring the files of the source tree at `root` up to date; return those that changed."""
    wanted = {root / YAML_FILE: yaml_text(), root / LEGEND: legend_svg()}
    for document in DOCUMENTS:
        path = root / document
        if path.is_file():
            wanted[path] = replaced(path.read_text(encoding='utf-8'))
    changed = []
    for path, text in wanted.items():
        if not path.is_file() or path.read_text(encoding='utf-8') != text:
            path.write_text(text, encoding='utf-8')
            changed.append(path)
    return changed


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
        *pale, alpha = marker_colour(label, static=True)
        standing = _hex(tuple(round(255 * value) for value in pale))
        square = f'y="{y}" width="{SWATCH}" height="{SWATCH}"'
        paler = f'fill="{standing}" fill-opacity="{alpha:.1f}"'
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
    for path in write(Path(__file__).resolve().parents[2]):
        sys.stdout.write(f'wrote {path}\n')
