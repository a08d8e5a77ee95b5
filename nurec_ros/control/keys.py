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
"""From the bytes of a terminal to keys, and from keys to commands."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
import re

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


class Act(Enum):
    """What a key asks for."""

    TOGGLE = 'toggle'
    NEXT = 'next'
    SEEK_BY = 'seek by'
    SEEK_TO = 'seek to'
    RATE = 'rate'
    RESET = 'reset'
    TROUBLE = 'trouble'
    HELP = 'help'
    QUIT = 'quit'


@dataclass(frozen=True, slots=True)
class Command:
    """`value`: seconds for SEEK_BY, a share of the drive for SEEK_TO, a factor for RATE."""

    act: Act
    value: float = 0.0


RATE_FACTOR = 1.1

COMMANDS = {
    ' ': Command(Act.TOGGLE),
    'right': Command(Act.NEXT),
    'shift-right': Command(Act.SEEK_BY, 1.0),
    'shift-left': Command(Act.SEEK_BY, -1.0),
    'left': Command(Act.SEEK_BY, -5.0),
    'up': Command(Act.RATE, RATE_FACTOR),
    'down': Command(Act.RATE, 1.0 / RATE_FACTOR),
    'r': Command(Act.RESET),
    **{str(tenth): Command(Act.SEEK_TO, tenth / 10) for tenth in range(10)},
    'w': Command(Act.TROUBLE),
    '?': Command(Act.HELP),
    'q': Command(Act.QUIT),
    # What Ctrl-D sends, the end of the input.
    '\x04': Command(Act.QUIT),
}

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
