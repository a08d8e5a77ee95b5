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
"""The table and the list of files."""

from __future__ import annotations

from pathlib import Path

from nurec_ros.demo.report import file_lines, rate_text, size_text, table
import pytest


@pytest.mark.parametrize(
    ('count', 'seconds', 'text'),
    [
        (2000, 20.0, '100'),
        (1975, 20.0, '98.8'),
        (202, 20.0, '10.1'),
        (3, 20.0, '0.1'),
        (1, 20.0, '-'),
        (2, 20.0, '-'),
        (0, 20.0, '-'),
        (50, 0.0, '-'),
    ],
)
def test_rates(count: int, seconds: float, text: str):
    assert rate_text(count, seconds) == text


def test_columns_line_up():
    rows = [('/clock', 'rosgraph_msgs/Clock', '2000', '100', '100'), ('/a', 'b/C', '1', '-', '-')]
    lines = table(rows).splitlines()
    assert lines[0].split() == ['topic', 'type', 'messages', 'Hz', 'wall', 'Hz', 'scenario']
    assert set(lines[1]) == {'-', ' '}
    assert [line.index(kind) for line, kind in zip(lines[2:], ('rosgraph', 'b/C'), strict=True)]
    assert lines[2].index('rosgraph_msgs') == lines[3].index('b/C') == lines[0].index('type')
    end_of_messages = lines[0].index('messages') + len('messages')
    assert lines[2][:end_of_messages].endswith(' 2000')
    assert lines[3][:end_of_messages].endswith('    1')
    assert len(lines[2]) == len(lines[0])


def test_no_topics_is_a_table_too():
    assert len(table([]).splitlines()) == 2


def test_files_that_are_not_there_are_not_named(tmp_path: Path):
    (tmp_path / 'a.png').write_bytes(bytes(2_340_000))
    (tmp_path / 'bag').mkdir()
    (tmp_path / 'bag' / 'x').write_bytes(bytes(1500))
    (tmp_path / 'bag' / 'y').write_bytes(bytes(1000))
    text = file_lines(
        {
            tmp_path / 'a.png': 'a picture',
            tmp_path / 'bag': 'a folder',
            tmp_path / 'missing': 'nothing',
        }
    )
    assert 'missing' not in text
    first, second = text.splitlines()
    assert '2.3 MB  a picture' in first
    assert '2.5 kB  a folder' in second
    assert size_text(tmp_path / 'bag') == '2.5 kB'
