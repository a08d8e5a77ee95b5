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
The terminal: the keys that come from it, the one line that is shown, and its mode.

It is left as it was found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
import os
import re
import signal
import sys
import termios
from typing import Any
import unicodedata

from nurec_ros.control.remote import Command, PlayerView, Remote

_ESCAPE = b'\x1b'
# ECMA-48's control sequences, the single shifts that terminals in application mode send for
# arrows, and a key pressed with Alt.
_SEQUENCE = re.compile(
    rb'\x1b(?:\[(?P<values>[0-?]*)[ -/]*(?P<final>[@-~])'
    rb'|O(?P<shift>[0-9;]*)(?P<single>[@-~])'
    rb'|[^\[O\x1b])',
    re.DOTALL,
)
_INCOMPLETE = re.compile(rb'\x1b(?:\[[ -?]*|O[0-9;]*)?')
# A sequence that is longer than any is none.
_LONGEST = 32

_ARROWS = {'A': 'up', 'B': 'down', 'C': 'right', 'D': 'left'}
# xterm's parameter for a key with Shift.
_SHIFT = '2'

# What the line has without a terminal.
NO_LIMIT = 10_000

_LONGEST_BAR = 40
# A speed that is this far from the rate is shown.
_SLOW = 0.9
_GAP = '  '
# Done, to come, and cut off.
MARKS = ('━', '─', '…')

_HIDE_CURSOR, _SHOW_CURSOR = '\x1b[?25l', '\x1b[?25h'
_CLEAR = '\r\x1b[K'
_MOST = 4096

RATE_FACTOR = 1.1

COMMANDS: Mapping[str, Command] = {
    ' ': Remote.toggle,
    'right': Remote.next_frame,
    'shift-right': partial(Remote.seek_by, seconds=1.0),
    'shift-left': partial(Remote.seek_by, seconds=-1.0),
    'left': partial(Remote.seek_by, seconds=-5.0),
    'up': partial(Remote.change_rate, factor=RATE_FACTOR),
    'down': partial(Remote.change_rate, factor=1.0 / RATE_FACTOR),
    'r': Remote.reset,
    **{str(tenth): partial(Remote.seek_to, share=tenth / 10) for tenth in range(10)},
}
# The second is what Ctrl-D sends, the end of the input.
LEAVE = ('q', '\x04')

HELP = """\
space  play, pause                   up, down  rate up, down by a tenth
right  next frame                    0 to 9    jump to a tenth of the drive
shift-left, shift-right  1 s         r         reset: back to begin, halted
left   5 s back                      w         what is wrong, in full
?      these keys                    q         leave"""


class KeyReader:
    """Takes what a terminal sends apart; a key's sequence may come in pieces."""

    def __init__(self) -> None:
        self._rest = b''

    @property
    def pending(self) -> bool:
        """Return whether a sequence has begun and not ended."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[str]:
        """Return the keys that are complete: a character, or the name of an arrow."""
        self._rest += data
        keys = []
        while self._rest:
            if not self._rest.startswith(_ESCAPE):
                keys.append(chr(self._rest[0]))
                self._rest = self._rest[1:]
                continue
            found = _SEQUENCE.match(self._rest)
            if found:
                end = found.end()
                self._rest = self._rest[end:]
                keys.append(_name(found))
            elif _INCOMPLETE.fullmatch(self._rest) and len(self._rest) < _LONGEST:
                break
            else:
                self._rest = self._rest[1:]
        return [key for key in keys if key]

    def give_up(self) -> None:
        """Forget a sequence that does not go on: it was the key Escape."""
        self._rest = b''


def _name(found: re.Match[bytes]) -> str:
    """Return an arrow's name, with Shift where that was held; '' for any other key."""
    final = (found['final'] or found['single'] or b'').decode()
    values = (found['values'] or found['shift'] or b'').decode(errors='replace')
    modifier = values.rpartition(';')[2] if ';' in values or found['shift'] else ''
    if final in ('c', 'd') and found['final'] and not values:
        # rxvt's way to say Shift.
        return f'shift-{_ARROWS[final.upper()]}'
    if final not in _ARROWS:
        return ''
    if modifier in ('', '1'):
        return _ARROWS[final]
    return f'shift-{_ARROWS[final]}' if modifier == _SHIFT else ''


def compose(view: PlayerView, width: int = NO_LIMIT, *, unicode: bool = True) -> str:
    """
    Return position, bar, rate, road users, images per second, and what is wrong or was noted.

    It is not wider than `width` columns. Without `unicode` it is ASCII.
    """
    extra = printable(_extra(view))
    state = view.state
    if state is None:
        return cut(extra, width, unicode=unicode)
    begin, end = state.start_us, state.end_us
    share = (view.position_us - begin) / (end - begin) if end > begin else 1.0
    summary = f'{state.summary:7}'
    if not state.scenario:
        return cut(_GAP.join((summary, extra)), width, unicode=unicode)
    position = f'{(view.position_us - begin) / 1e6:.2f}/{(end - begin) / 1e6:.2f} s'
    images = '-' if view.images_hz is None else f'{view.images_hz:.1f}'
    head = [summary, position, _rate(view)]
    users = f'{state.active_tracks} road user{"" if state.active_tracks == 1 else "s"}'
    full = [*head, users, f'{images} images/s']
    short = [*head, f'{state.active_tracks} users', f'{images} img/s']
    # In the order in which they are tried, with the least room for the bar and for the rest.
    for parts, bar, room in ((full, 20, 30), (short, 8, 12), (short, 0, 12), (head, 0, 12)):
        room = min(room, len(extra))
        if len(_GAP.join(parts)) + _gapped(bar) + _gapped(room) <= width:
            break
    left = width - len(_GAP.join(parts)) - _gapped(len(extra)) - len(_GAP)
    bar = min(max(bar, left), _LONGEST_BAR) if bar else 0
    if bar:
        parts = [*parts[:2], _bar(share, bar, unicode=unicode), *parts[2:]]
    return cut(_GAP.join([*parts, *([extra] if extra else [])]), width, unicode=unicode)


def _gapped(columns: int) -> int:
    return columns + len(_GAP) if columns else 0


def _extra(view: PlayerView) -> str:
    """Return what a key came to, else the worst of what is wrong and how much there is."""
    if view.note or not view.wrong:
        return view.note
    text = view.wrong[0].text
    return text if len(view.wrong) == 1 else f'{len(view.wrong)} wrong (w): {text}'


def _rate(view: PlayerView) -> str:
    assert view.state is not None
    text = f'x{view.state.speed:g}'
    if view.achieved is not None and view.achieved < _SLOW * view.state.speed:
        text += f' (now {view.achieved:.2g})'
    return text


def _bar(share: float, width: int, *, unicode: bool) -> str:
    full = round(min(max(share, 0.0), 1.0) * width)
    done, to_come = MARKS[:2] if unicode else ('=', '-')
    return done * full + to_come * (width - full)


def printable(text: str) -> str:
    """Return a text as one line without control characters; what it holds may be a server's."""
    return ''.join(
        one if unicodedata.category(one)[0] != 'C' else ' ' for one in ' '.join(text.split())
    )


def cut(text: str, width: int, *, unicode: bool = True) -> str:
    """Return the beginning of a text that fits into so many columns of a terminal."""
    if not unicode:
        text = text.encode('ascii', 'replace').decode()
    if sum(map(_columns, text)) <= width:
        return text
    mark = MARKS[2] if unicode else '~'
    room, kept = width - 1, ''
    for one in text:
        room -= _columns(one)
        if room < 0:
            break
        kept += one
    return (kept + mark)[: max(width, 0)]


def _columns(one: str) -> int:
    if unicodedata.combining(one):
        return 0
    return 2 if unicodedata.east_asian_width(one) in 'WF' else 1


def usable() -> bool:
    """Return whether keys can be read, and a line be written over."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get('TERM') != 'dumb'


class Terminal:
    """
    The terminal of standard input and output; while entered, keys are not echoed.

    Ctrl-C and Ctrl-Z stay signals. In the background, and while stopped, it is left alone.
    """

    def __init__(self) -> None:
        self.fileno, self._out = sys.stdin.fileno(), sys.stdout.fileno()
        self._before: list[Any] | None = None
        self._shown = False
        self.keys = KeyReader()
        # Whether keys come and lines are shown; whether it takes nothing any more, its window
        # being closed.
        self.taken = self.gone = False

    def __enter__(self) -> Terminal:
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()

    @property
    def columns(self) -> int:
        """Return how much fits into a line; what is in the last column may begin the next one."""
        try:
            # Some consoles say 0, and mean that they do not know.
            return max(os.get_terminal_size(self._out).columns or 80, 2) - 1
        except OSError:
            return 79

    def take(self) -> None:
        """Have keys come one by one, unless another job of the shell has the terminal."""
        if not self._in_foreground():
            return
        if self._before is None:
            self._before = termios.tcgetattr(self.fileno)
        mode = list(self._before)
        mode[3] &= ~(termios.ICANON | termios.ECHO)
        # A read returns as soon as there is one byte.
        mode[6] = list(mode[6])
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        self.taken = True
        self._set(mode)
        self._write(_HIDE_CURSOR)

    def follow(self) -> None:
        """Take the terminal where it has become ours, leave it alone where it is another job's."""
        in_foreground = self._in_foreground()
        if not in_foreground:
            self.taken = False
        elif not self.taken:
            self.take()

    def give_back(self) -> None:
        """Leave the terminal as it was, the cursor below the line."""
        # To set it from the background would stop the process, and it is the shell's already.
        if not self.taken or self._before is None or not self._in_foreground():
            self.taken = False
            return
        self.taken = False
        before, self._before = self._before, None
        self._set(before)
        self._write(('\n' if self._shown else '') + _SHOW_CURSOR)
        self._shown = False

    def stop(self) -> None:
        """Do what Ctrl-Z asks for, and go on when continued."""
        self.give_back()
        handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, handler)
        self.take()

    def read(self) -> Sequence[str] | None:
        """Return the keys that have come; None where there will be no more."""
        try:
            data = os.read(self.fileno, _MOST)
        except OSError:
            data = b''
        return self.keys.feed(data) if data else None

    def show(self, line: str) -> None:
        """Write a line over the one before."""
        if self.taken:
            self._write(_CLEAR + line)
            self._shown = True

    def tell(self, text: str) -> None:
        """Write lines above the one that is shown, to stay."""
        if self.taken:
            self._write(_CLEAR + text + '\n')
            self._shown = False

    def _in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self.fileno) == os.getpgrp()
        except OSError:
            # No controlling terminal: nobody else can have it either.
            return True

    def _set(self, mode: list[Any]) -> None:
        try:
            termios.tcsetattr(self.fileno, termios.TCSADRAIN, mode)
        except termios.error:
            self.gone = True

    def _write(self, text: str) -> None:
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError:
            self.gone = True
