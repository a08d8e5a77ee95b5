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
"""What terminals send for keys, which calls they become, and the line that is shown."""

from dataclasses import replace
import json

from nurec_ros.control.remote import PlayerCall, PlayerView, Remote, Status, Wrong
from nurec_ros.control.terminal import COMMANDS, compose, HELP, KeyReader
from nurec_ros.playback.effects import PlaybackState
import pytest


@pytest.mark.parametrize(
    ('data', 'keys'),
    [
        (b' ', [' ']),
        (b'q7', ['q', '7']),
        # xterm and most others; in application mode; the Linux console's are xterm's.
        (b'\x1b[A\x1b[B\x1b[C\x1b[D', ['up', 'down', 'right', 'left']),
        (b'\x1bOA\x1bOB\x1bOC\x1bOD', ['up', 'down', 'right', 'left']),
        # With Shift: xterm, tmux, screen-256color; old xterm; rxvt.
        (b'\x1b[1;2C\x1b[1;2D', ['shift-right', 'shift-left']),
        (b'\x1bO2C\x1bO2D', ['shift-right', 'shift-left']),
        (b'\x1b[c\x1b[d', ['shift-right', 'shift-left']),
        (b'\x1b[1;1C', ['right']),
        # Ctrl and Alt with an arrow, Home, Delete, F5, a mouse, Alt-r: keys for nothing.
        (b'\x1b[1;5C\x1b[1;3D\x1b[H\x1b[3~\x1b[15~\x1b[<0;5;5M\x1br', []),
        # rxvt's Alt with an arrow is Escape and the arrow.
        (b'\x1b\x1b[C', ['right']),
        # The answer to a question that nobody asked; an umlaut.
        (b'\x1b[?1;2c', []),
        ('ä'.encode(), ['Ã', '¤']),
        (b'', []),
    ],
)
def test_keys_are_read(data, keys):
    whole, bytewise = KeyReader(), KeyReader()
    assert whole.feed(data) == keys
    assert [key for one in data for key in bytewise.feed(bytes([one]))] == keys
    assert (whole.pending, bytewise.pending) == (False, False)


def test_what_does_not_end_is_given_up():
    reader = KeyReader()
    assert reader.feed(b'\x1b') == []
    assert reader.pending
    reader.give_up()
    assert reader.feed(b' ') == [' ']
    # A sequence without an end does not swallow keys for ever.
    reader.feed(b'\x1b[' + b'1;' * 100)
    assert not reader.pending
    assert reader.feed(b'q')[-1] == 'q'


PLAYER = PlaybackState(
    scenario='street', active_tracks=34, start_us=100_000_000, end_us=120_000_000, speed=1.1
)
VIEW = PlayerView(PLAYER, position_us=105_000_000, images_hz=22.14)
SLOW = Wrong('the renderer cannot keep up, 38.3 frames/s are dropped', 'camera_front')
AWAY = Wrong('cannot reach localhost:46435', 'renderer')
NOBODY = PlayerView(None, wrong=(Wrong('there is no player /nurec'),))
AT_5_S = 'halted   5.00/20.00 s  '


@pytest.mark.parametrize(
    ('view', 'width', 'line'),
    [
        (VIEW, 100, f'{AT_5_S}{"━" * 10}{"─" * 30}  x1.1  34 road users  22.1 images/s'),
        (VIEW, 70, f'{AT_5_S}━━━━━──────────────  x1.1  34 users  22.1 img/s'),
        (VIEW, 50, f'{AT_5_S}x1.1  34 users  22.1 img/s'),
        (VIEW, 40, f'{AT_5_S}x1.1'),
        (VIEW, 12, 'halted   5.…'),
        (
            replace(VIEW, wrong=(AWAY,)),
            118,
            f'{AT_5_S}{"━" * 7}{"─" * 22}  x1.1  34 road users  22.1 images/s  {AWAY.text}',
        ),
        (
            replace(VIEW, wrong=(SLOW, AWAY)),
            79,
            f'{AT_5_S}━━──────  x1.1  34 users  22.1 img/s  2 wrong (w): the …',
        ),
        (
            replace(VIEW, wrong=(AWAY,), note='it plays'),
            60,
            f'{AT_5_S}x1.1  34 users  22.1 img/s  it plays',
        ),
        (NOBODY, 80, 'there is no player /nurec'),
        (NOBODY, 12, 'there is no…'),
        (PlayerView(PlaybackState(), wrong=(Wrong('no scenario'),)), 80, 'idle     no scenario'),
        # Wide letters count twice.
        (PlayerView(None, wrong=(Wrong('渲染' * 20),)), 21, '渲染' * 5 + '…'),
    ],
)
def test_the_line(view, width, line):
    assert compose(view, width) == line


def test_it_is_never_wider_than_the_terminal():
    views = (
        VIEW,
        replace(VIEW, wrong=(SLOW, AWAY)),
        replace(VIEW, note='x' * 200),
        PlayerView(None),
    )
    for width in range(1, 160):
        assert max(len(compose(view, width)) for view in views) <= width
    assert max(map(len, HELP.splitlines())) < 80


def test_without_unicode_it_is_ascii():
    line = compose(replace(VIEW, note='für später ' * 20), 90, unicode=False)
    assert line.isascii()
    assert '==------' in line
    assert line.endswith('~')


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
    view = replace(VIEW, state=replace(PLAYER, **changes), **view_changes)
    assert words in compose(view, 120)


# A drive of 20 s that begins at 100 s, 8 s on.
STATE = {
    'is_playing': False,
    'speed': 1.0,
    'current_time_us': 108_000_000,
    'done': False,
    'scenario': 'street',
    'active_tracks': 12,
    'start_us': 100_000_000,
    'end_us': 120_000_000,
    'cameras': ['front'],
}


def values(**changes):
    return {name: json.dumps(value) for name, value in {**STATE, **changes}.items()}


class Keyed(Remote):
    """A remote of a player in this state, with keys to press."""

    def __init__(self, **changes):
        super().__init__('/nurec')
        self.take_state(values(**changes), 0.0)

    def key(self, name, now_s=0.0):
        return self.press(COMMANDS[name], now_s)

    def note(self, now_s):
        return self.view(now_s).note

    def at_us(self, now_s):
        return self.view(now_s).position_us


@pytest.mark.parametrize(
    ('state', 'key', 'call'),
    [
        ({}, ' ', PlayerCall('play')),
        ({'is_playing': True}, ' ', PlayerCall('stop')),
        ({}, 'right', PlayerCall('play_next')),
        ({}, 'shift-right', PlayerCall('seek', 109_000_000)),
        ({}, 'shift-left', PlayerCall('seek', 107_000_000)),
        ({}, 'left', PlayerCall('seek', 103_000_000)),
        ({'current_time_us': 102_000_000}, 'left', PlayerCall('seek', 100_000_000)),
        ({'current_time_us': 119_500_000}, 'shift-right', PlayerCall('seek', 120_000_000)),
        ({}, '0', PlayerCall('seek', 100_000_000)),
        ({}, '7', PlayerCall('seek', 114_000_000)),
        ({}, 'up', PlayerCall('set_rate', 1.1)),
        ({'speed': 1.1}, 'down', PlayerCall('set_rate', 1.0)),
        ({'speed': 2}, 'up', PlayerCall('set_rate', 2.2)),
        ({'speed': 99.0}, 'up', PlayerCall('set_rate', 100.0)),
        ({'speed': 0.01}, 'down', PlayerCall('set_rate', 0.01)),
        ({}, 'r', PlayerCall('reset')),
    ],
)
def test_keys_become_calls(state, key, call):
    assert Keyed(**state).key(key) == call


@pytest.mark.parametrize(
    ('state', 'key', 'note'),
    [
        ({'is_playing': True}, 'right', 'it plays: halt it first (space)'),
        ({'done': True}, 'right', 'it is at the end'),
        ({'scenario': ''}, ' ', 'no scenario is loaded: set usdz_path and call ~/load'),
    ],
)
def test_keys_that_cannot_be_say_why_for_a_while(state, key, note):
    one = Keyed(**state)
    assert one.key(key) is None
    assert (one.note(1.0), one.note(10.0)) == (note, '')
    one.key(key, 10.0)
    # The next key says its own.
    one.take_state(values(), 10.4)
    one.key('up', 10.5)
    assert one.note(10.5) == ''


def test_as_many_ups_as_downs_come_back():
    one = Keyed()
    for key in ['up'] * 10 + ['down'] * 10:
        assert one.answered(one.key(key), True, '', 0.0) is None
    assert one.view(0.0).state.speed == 1.0


def test_a_held_key_seeks_from_where_it_will_be_and_calls_one_at_a_time():
    one = Keyed()
    first = one.key('shift-right')
    assert [one.key('shift-right') for _ in range(4)] == [None] * 4
    second = one.answered(first, True, '', 0.1)
    assert (second, one.at_us(0.1)) == (PlayerCall('seek', 113_000_000), 109_000_000)
    assert one.answered(second, True, '', 0.2) is None
    assert one.at_us(0.2) == 113_000_000


def test_two_spaces_in_a_row_end_where_they_began():
    one = Keyed()
    play = one.key(' ')
    assert one.key(' ') is None
    assert one.answered(play, True, '', 0.1) == PlayerCall('stop')


def test_reset_and_other_keys_do_not_wait_for_a_next_frame():
    one = Keyed()
    assert one.key('right') == PlayerCall('play_next')
    reset = one.key('r')
    assert reset == PlayerCall('reset')
    one.answered(reset, True, '', 0.1)
    one.look(60.0)
    one.take_state(values(), 60.0)
    assert one.note(60.0) == 'waiting for the images of the next frame'


def test_a_refusal_is_shown():
    one = Keyed()
    one.answered(one.key(' '), False, 'no such thing', 0.1)
    assert one.note(0.2) == 'no such thing'
    one.answered(one.key('up', 1.0), False, '', 1.1)
    assert 'the log of the player says why' in one.note(1.2)


def test_a_call_without_an_answer_is_given_up_and_a_late_answer_is_nothing():
    one = Keyed()
    call = one.key('r')
    one.look(4.0)
    assert one.note(4.0) == ''
    one.look(5.5)
    assert one.note(5.5) == 'reset: no answer for 5 s'
    again = one.key('r', 6.0)
    assert one.answered(call, False, 'late', 6.1) is None
    assert one.note(6.2) == ''
    assert one.answered(again, True, '', 6.3) is None
    assert one.at_us(6.3) == 100_000_000


def test_the_position_runs_on_while_playing_and_not_beyond_what_is_known():
    one = Keyed(is_playing=True, speed=2.0)
    assert (one.at_us(0.5), one.at_us(60.0)) == (109_000_000, 114_000_000)
    assert Keyed(is_playing=True, current_time_us=119_900_000).at_us(1.0) == 120_000_000
    assert Keyed().at_us(2.0) == 108_000_000


@pytest.mark.parametrize(
    ('mode', 'achieved', 'passed_us'),
    [('lockstep', '0.25', 250_000), ('realtime', '0.25', 1_000_000), ('lockstep', '?', 1_000_000)],
)
def test_lockstep_runs_as_fast_as_it_comes(mode, achieved, passed_us):
    one = Keyed(is_playing=True)
    speeds = {'mode': mode, 'achieved_speed_s_per_s': achieved}
    one.take_health([Status('playback', 0, 'playing', speeds)], 0.0)
    assert one.at_us(1.0) == 108_000_000 + passed_us
    if passed_us == 250_000:
        assert one.view(1.0).achieved == 0.25


def test_health_is_summed_and_sorted_and_gets_old():
    one = Keyed()
    statuses = [
        Status('playback', 0, 'halted', {}),
        Status('front', 1, 'frames are lost', {'received_hz': '9.5'}),
        Status('renderer', 2, 'cannot reach x', {}),
        Status('left', 0, '10.0 images/s', {'received_hz': '10'}),
    ]
    one.take_health(statuses, 0.0)
    view = one.view(1.0)
    assert view.images_hz == 19.5
    assert list(map(str, view.wrong)) == ['renderer: cannot reach x', 'front: frames are lost']
    one.take_state(values(), 9.0)
    view = one.view(9.0)
    assert (view.images_hz, view.wrong) == (None, ())


def test_what_is_said_of_a_player_that_is_not_there():
    one = Remote('/nurec')

    def wrong():
        return str(one.view(0.0).wrong[0])

    assert wrong() == 'looking for /nurec'
    one.take_presence(set())
    assert 'there is no player /nurec: waiting for one' in wrong()
    one.take_presence(set(), ['/second'])
    assert wrong().endswith('; there is /second (--node)')
    one.take_presence({'a'})
    assert 'has not said anything yet' in wrong()
    assert one.press(COMMANDS[' '], 0.0) is None


def test_a_player_that_ends_and_returns():
    one = Keyed()
    one.key('right')
    assert str(one.view(5.0).wrong[0]) == '/nurec is silent for 5 s'
    one.take_presence(set())
    assert one.view(6.0).state is None
    one.take_state(values(), 7.0)
    assert one.view(7.0).state.scenario == 'street'
    # What was under way with the old one is not waited for.
    assert one.key('right', 7.0) == PlayerCall('play_next')


def test_a_player_that_is_killed_and_started_anew_owes_no_next_frame():
    """The graph keeps the killed one's publisher for a while; both say the same."""
    one = Keyed()
    one.take_presence({'first'})
    first = one.key('right')
    assert one.key('right') is None
    for now_s in range(1, 60):
        one.take_presence({'first'})
        one.take_state(values(), now_s)
        one.look(now_s)
    # A picture may take its time.
    assert one.key('right', 60.0) is None
    one.take_presence({'first', 'second'})
    again = one.key('right', 61.0)
    assert again == PlayerCall('play_next')
    assert one.answered(first, False, 'late', 61.1) is None
    # That call may have gone to the killed one alone.
    one.take_presence({'second'})
    last = one.key('right', 80.0)
    assert last == PlayerCall('play_next')
    one.take_presence({'second'})
    assert one.key('right', 81.0) is None
    assert one.note(81.0) == ''
    assert one.answered(again, True, '', 81.1) is None
    assert one.answered(last, True, '', 81.2) == PlayerCall('play_next')


@pytest.mark.parametrize(
    ('name', 'text', 'words'),
    [
        ('speed', '"fast"', "speed is 'fast', expected float"),
        ('is_playing', '1', 'is_playing is 1, expected bool'),
        ('end_us', '{', '/nurec/state'),
    ],
)
def test_a_state_of_another_kind_is_told(name, text, words):
    one = Keyed()
    one.take_state({**values(), name: text}, 1.0)
    assert words in one.note(1.0)
    assert one.view(1.0).state.scenario == 'street'
