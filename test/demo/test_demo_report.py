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
"""What a demo draws and says when all is played, and what it says of what did not end well."""

from __future__ import annotations

import os
from pathlib import Path
import shutil
from test.demo.conftest import own_domain
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
from nurec_ros.demo.resources import DemoError
from nurec_ros.demo.show import (
    draw,
    file_lines,
    Options,
    path_length,
    rate_text,
    run,
    size_text,
    speed_text,
    table,
)
from nurec_ros.scenario import Scenario
import pytest


def test_headers_come_from_the_scenario(street: Path, tmp_path: Path, monkeypatch):
    """Let a recording end a second too early: the same length and duration are written."""
    from nurec_ros.demo import drawing, overview, recording
    from nurec_ros.demo.resources import Files
    from nurec_ros.example import make_example

    scenario = Scenario.load(street)
    example = make_example(duration_s=2.0)
    assert path_length(scenario) == pytest.approx(example.path_length, rel=2e-3)
    begin_ns = scenario.start_ns
    times_ns = begin_ns + np.arange(0, 20, dtype=np.int64) * 100_000_000
    path = times_ns[:2], np.zeros((2, 3))
    recorded = overview.Drive(*path, times_ns, np.zeros((20, 3)), None, {}, {})
    monkeypatch.setattr(recording, 'read_drive', lambda *_: recorded)
    said = []
    for module, name in ((drawing, 'draw_contact_sheet'), (overview, 'draw_overview')):
        monkeypatch.setattr(module, name, lambda *_, **words: said.append(words))
    monkeypatch.setattr(drawing, 'write_png', lambda *_: None)
    draw(Files(tmp_path), scenario, street)
    header = f'street.usdz: {example.seconds:.1f} s, {example.path_length:.0f} m, 0 road users'
    assert all(words['subtitle'].startswith(header) for words in said)
    assert said[1]['span_ns'] == (scenario.start_ns, scenario.end_ns)


def test_without_odometry_there_is_nothing_to_draw(street: Path, tmp_path: Path, monkeypatch):
    from nurec_ros.demo import recording
    from nurec_ros.demo.resources import Files

    nothing = SimpleNamespace(odometry_ns=())
    monkeypatch.setattr(recording, 'read_drive', lambda *_: nothing)
    with pytest.raises(DemoError, match=r'recording holds no odometry of the player$'):
        draw(Files(tmp_path), Scenario.load(street), street)


def test_what_did_not_end_well_is_said_after_all_else(street: Path, tmp_path: Path, monkeypatch):
    """Of a drive of the example that is generated where no file is named."""
    from nurec_ros.demo import play, show

    class Pieces:
        """Processes of which one ends with an error when it is ended."""

        started: ClassVar[list[str]] = []

        def __init__(self, folder: Path, environment: object) -> None:
            assert (folder, environment) == (tmp_path / 'demo', os.environ)

        def __enter__(self) -> Pieces:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def start(self, name: str, _: list[str]) -> SimpleNamespace:
            self.started.append(name)
            ready = ('serving on 127.0.0.1:9', '127.0.0.1:9')
            return SimpleNamespace(wait_for=lambda *_: ready)

        def end(self) -> dict[str, int]:
            return {'player': 0, 'preview': 3}

    own_domain(monkeypatch)
    monkeypatch.setattr(show, 'Children', Pieces)
    monkeypatch.setattr(show, 'draw', lambda *_: None)
    monkeypatch.setattr(
        'nurec_ros.example.write_example', lambda path: Path(shutil.copy(street, path))
    )
    played = play.Played((), 2.0, 4.0, ('images: none',))
    monkeypatch.setattr(play, 'record_drive', lambda recording, *_: recording.mkdir() or played)
    said: list[str] = []
    with pytest.raises(DemoError, match=r'^preview ended with exit code 3$'):
        run(Options(output=str(tmp_path / 'demo'), rate=2.0), said.append)
    assert Pieces.started == ['preview', 'player']
    (scenario,) = [line for line in said if line.startswith('scenario: ')]
    assert scenario.endswith(' (generated)')
    assert 'render server: 127.0.0.1:9' in said
    assert 'played in 2.0 s, as fast as asked for, waiting for every picture (lockstep)' in said
    assert said[-3] == 'images: none'
    assert 'the scenario that was generated' in said[-1]


def test_the_speed_is_said():
    assert speed_text(1.99, 2.0).startswith('as fast as asked for')
    assert speed_text(0.234, 1.0).startswith('0.23 times real time where 1 was asked for')


@pytest.mark.parametrize(
    ('count', 'text'),
    [(2000, '100'), (1975, '98.8'), (202, '10.1'), (3, '0.1'), (2, '-'), (0, '-')],
)
def test_rates(count: int, text: str):
    assert rate_text(count, 20.0) == text
    assert rate_text(count, 0.0) == '-'


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
    assert len(table([]).splitlines()) == 2


def test_files_that_are_not_there_are_not_named(tmp_path: Path):
    (tmp_path / 'a.png').write_bytes(bytes(2_340_000))
    (tmp_path / 'bag').mkdir()
    (tmp_path / 'bag' / 'x').write_bytes(bytes(1500))
    (tmp_path / 'bag' / 'y').write_bytes(bytes(1000))
    names = {'a.png': 'a picture', 'bag': 'a folder', 'missing': 'nothing'}
    text = file_lines({tmp_path / name: what for name, what in names.items()})
    assert 'missing' not in text
    first, second = text.splitlines()
    assert '2.3 MB  a picture' in first
    assert '2.5 kB  a folder' in second
    assert size_text(tmp_path / 'bag') == '2.5 kB'
