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
"""What the demo prints: the table of topics, and where everything is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nurec_ros.demo.recorder import Topic

HEADINGS = ('topic', 'type', 'messages', 'Hz wall', 'Hz scenario')


def rate_text(count: int, seconds: float) -> str:
    """Give a rate for people; '-' for what came once or twice, or over no time at all."""
    if count < 3 or seconds <= 0:
        return '-'
    rate = count / seconds
    return f'{rate:.0f}' if rate >= 99.5 else f'{rate:.1f}'


def topic_rows(
    topics: Iterable[Topic], *, wall_s: float, scenario_s: float
) -> list[tuple[str, ...]]:
    """Give one row for each topic, by name; the rates are those of the measured stretch."""
    return [
        (
            topic.name,
            topic.kind.replace('/msg/', '/'),
            str(topic.count),
            rate_text(topic.measured, wall_s),
            rate_text(topic.measured, scenario_s),
        )
        for topic in sorted(topics, key=lambda topic: topic.name)
    ]


def table(rows: Sequence[Sequence[str]], headings: Sequence[str] = HEADINGS) -> str:
    """Lay rows out in columns, the first two to the left, numbers to the right."""
    widths = [max(len(row[k]) for row in (headings, *rows)) for k in range(len(headings))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if k < 2 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return '  '.join(cells).rstrip()

    rule = '  '.join('-' * width for width in widths)
    return '\n'.join([line(headings), rule, *(line(row) for row in rows)])


def file_lines(entries: Mapping[Path, str]) -> str:
    """Name the files that exist, with their sizes and what they are for."""
    there = {path: text for path, text in entries.items() if path.exists()}
    width = max((len(str(path)) for path in there), default=0)
    return '\n'.join(
        f'  {str(path).ljust(width)}  {size_text(path):>8}  {text}' for path, text in there.items()
    )


def size_text(path: Path) -> str:
    """Give a file's size, or that of all files in a folder."""
    files = [path] if path.is_file() else [p for p in path.rglob('*') if p.is_file()]
    size = sum(file.stat().st_size for file in files)
    return f'{size / 1e6:.1f} MB' if size >= 1e5 else f'{size / 1e3:.1f} kB'
