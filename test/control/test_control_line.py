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
"""The line, for what there is to show and the width there is."""

from dataclasses import replace

from nurec_ros.control.line import compose
from nurec_ros.control.remote import PlayerState, PlayerView, Wrong
import pytest

STATE = PlayerState(
    scenario='street', active_tracks=34, start_us=100_000_000, end_us=120_000_000, speed=1.1
)
VIEW = PlayerView(STATE, position_us=105_000_000, images_hz=22.14)
SLOW = Wrong('the renderer cannot keep up, 38.3 frames/s are dropped', 'camera_front')
AWAY = Wrong('cannot reach localhost:46435', 'renderer')


@pytest.mark.parametrize(
    ('view', 'width', 'line'),
    [
        (
            VIEW,
            100,
            'halted   5.00/20.00 s  '
            + '━' * 10
            + '─' * 30
            + '  x1.1  34 road users  22.1 images/s',
        ),
        (VIEW, 70, 'halted   5.00/20.00 s  ━━━━━──────────────  x1.1  34 users  22.1 img/s'),
        (VIEW, 50, 'halted   5.00/20.00 s  x1.1  34 users  22.1 img/s'),
        (VIEW, 40, 'halted   5.00/20.00 s  x1.1'),
        (VIEW, 12, 'halted   5.…'),
        (
            replace(VIEW, wrong=(AWAY,)),
            118,
            'halted   5.00/20.00 s  '
            + '━' * 7
            + '─' * 22
            + '  x1.1  34 road users  22.1 images/s  cannot reach localhost:46435',
        ),
        (
            replace(VIEW, wrong=(SLOW, AWAY)),
            79,
            'halted   5.00/20.00 s  ━━──────  x1.1  34 users  22.1 img/s  2 wrong (w): the …',
        ),
        (
            replace(VIEW, wrong=(AWAY,), note='it plays'),
            60,
            'halted   5.00/20.00 s  x1.1  34 users  22.1 img/s  it plays',
        ),
        (
            PlayerView(None, wrong=(Wrong('there is no player /nurec'),)),
            80,
            'there is no player /nurec',
        ),
        (PlayerView(None, wrong=(Wrong('there is no player /nurec'),)), 12, 'there is no…'),
        (PlayerView(PlayerState(), wrong=(Wrong('no scenario'),)), 80, 'idle     no scenario'),
    ],
)
def test_the_line(view, width, line):
    assert compose(view, width) == line


@pytest.mark.parametrize('width', range(1, 160))
def test_it_is_never_wider_than_the_terminal(width):
    views = [
        VIEW,
        replace(VIEW, wrong=(SLOW, AWAY)),
        replace(VIEW, note='x' * 200),
        PlayerView(None),
    ]
    for view in views:
        assert len(compose(view, width)) <= width


def test_without_unicode_it_is_ascii():
    line = compose(replace(VIEW, note='für später ' * 20), 90, unicode=False)
    assert line.isascii()
    assert '==------' in line
    assert line.endswith('~')


def test_wide_letters_count_twice():
    line = compose(PlayerView(None, wrong=(Wrong('渲染' * 20),)), 21)
    assert line == '渲染' * 5 + '…'


def test_what_a_server_wrote_cannot_steer_the_terminal():
    line = compose(replace(VIEW, wrong=(Wrong('a\x1b[2Jb\nc\x07d'),)), 200)
    assert line.endswith('a [2Jb c d')


@pytest.mark.parametrize(
    ('changes', 'view_changes', 'words'),
    [
        ({'is_playing': True}, {}, 'playing '),
        ({'done': True}, {}, 'done '),
        ({'active_tracks': 1}, {}, '  1 road user  '),
        ({}, {'images_hz': None}, '- images/s'),
        ({'is_playing': True, 'speed': 1.0}, {'achieved': 0.43}, 'x1 (now 0.43)'),
        ({'is_playing': True, 'speed': 1.0}, {'achieved': 0.95}, 'x1  '),
        # A scenario of one moment.
        ({'end_us': 100_000_000}, {'position_us': 100_000_000}, '0.00/0.00 s  ━━━'),
    ],
)
def test_what_it_says(changes, view_changes, words):
    view = replace(VIEW, state=replace(STATE, **changes), **view_changes)
    assert words in compose(view, 120)
