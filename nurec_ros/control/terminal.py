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
"""A terminal that keys are read from one by one, and that is left as it was."""

from __future__ import annotations

from collections.abc import Sequence
import os
import signal
import sys
import termios
from typing import Any

from nurec_ros.control.keys import KeyReader

_HIDE_CURSOR, _SHOW_CURSOR = '\x1b[?25l', '\x1b[?25h'
_CLEAR = '\r\x1b[K'
_MOST = 4096


def usable() -> bool:
    """Return whether keys can be read, and a line be written over."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get('TERM') != 'dumb'


class Terminal:
    """
    The terminal of standard input and output; while entered, keys are not echoed.

    Ctrl-C and Ctrl-Z stay signals. In the background, and while stopped, it is left alone.
    """

    def __init__(self) -> None:
        # Whether it takes nothing any more: its window was closed.
        self.gone = False
        self._in, self._out = sys.stdin.fileno(), sys.stdout.fileno()
        self._before: list[Any] | None = None
        self._taken = False
        self._shown = False
        self._keys = KeyReader()

    def __enter__(self) -> Terminal:
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()

    @property
    def fileno(self) -> int:
        """Return the descriptor that keys come from."""
        return self._in

    @property
    def taken(self) -> bool:
        """Return whether keys come and lines are shown."""
        return self._taken

    @property
    def pending(self) -> bool:
        """Return whether a key's bytes have come in part."""
        return self._keys.pending

    @property
    def columns(self) -> int:
        """Return how much fits into a line; what is in the last column may begin the next one."""
        try:
            return max(os.get_terminal_size(self._out).columns, 2) - 1
        except OSError:
            return 79

    def take(self) -> None:
        """Have keys come one by one, unless another job of the shell has the terminal."""
        if not self._in_foreground():
            return
        if self._before is None:
            self._before = termios.tcgetattr(self._in)
        mode = list(self._before)
        mode[3] &= ~(termios.ICANON | termios.ECHO)
        # A read returns as soon as there is one byte.
        mode[6] = list(mode[6])
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        self._taken = True
        self._set(mode)
        self._write(_HIDE_CURSOR)

    def follow(self) -> None:
        """Take the terminal where it has become ours, leave it alone where it is another job's."""
        in_foreground = self._in_foreground()
        if not in_foreground:
            self._taken = False
        elif not self._taken:
            self.take()

    def give_back(self) -> None:
        """Leave the terminal as it was, the cursor below the line."""
        # To set it from the background would stop the process, and it is the shell's already.
        if not self._taken or self._before is None or not self._in_foreground():
            self._taken = False
            return
        self._taken = False
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
            data = os.read(self._in, _MOST)
        except OSError:
            data = b''
        return self._keys.feed(data) if data else None

    def give_up_pending(self) -> None:
        """Forget a key that came in part."""
        self._keys.give_up()

    def show(self, line: str) -> None:
        """Write a line over the one before."""
        if self._taken:
            self._write(_CLEAR + line)
            self._shown = True

    def tell(self, text: str) -> None:
        """Write lines above the one that is shown, to stay."""
        if self._taken:
            self._write(_CLEAR + text + '\n')
            self._shown = False

    def _in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._in) == os.getpgrp()
        except OSError:
            # No controlling terminal: nobody else can have it either.
            return True

    def _set(self, mode: list[Any]) -> None:
        try:
            termios.tcsetattr(self._in, termios.TCSADRAIN, mode)
        except termios.error:
            self.gone = True

    def _write(self, text: str) -> None:
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError:
            self.gone = True
