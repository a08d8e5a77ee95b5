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
"""What terminals send for keys, as their manuals have it, and what the keys are for."""

from nurec_ros.control.keys import Act, Command, COMMANDS, HELP, KeyReader
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
    pieces = [bytewise.feed(bytes([one])) for one in data]
    assert [key for piece in pieces for key in piece] == keys
    assert not whole.pending
    assert not bytewise.pending


def test_the_key_escape_is_given_up():
    reader = KeyReader()
    assert reader.feed(b'\x1b') == []
    assert reader.pending
    reader.give_up()
    assert reader.feed(b' ') == [' ']


def test_a_sequence_without_an_end_does_not_swallow_keys_for_ever():
    reader = KeyReader()
    reader.feed(b'\x1b[' + b'1;' * 100)
    assert not reader.pending
    assert reader.feed(b'q')[-1] == 'q'


@pytest.mark.parametrize(
    ('key', 'command'),
    [
        (' ', Command(Act.TOGGLE)),
        ('right', Command(Act.NEXT)),
        ('shift-left', Command(Act.SEEK_BY, -1.0)),
        ('shift-right', Command(Act.SEEK_BY, 1.0)),
        ('left', Command(Act.SEEK_BY, -5.0)),
        ('up', Command(Act.RATE, 1.1)),
        ('down', Command(Act.RATE, 1 / 1.1)),
        ('r', Command(Act.RESET)),
        ('0', Command(Act.SEEK_TO, 0.0)),
        ('3', Command(Act.SEEK_TO, 0.3)),
        ('9', Command(Act.SEEK_TO, 0.9)),
        ('q', Command(Act.QUIT)),
    ],
)
def test_keys_are_commands(key, command):
    assert COMMANDS[key] == command


def test_the_help_fits_a_terminal():
    assert max(map(len, HELP.splitlines())) < 80
