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
"""A command in a terminal of its own, started as a shell with jobs starts it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import fcntl
import os
from pathlib import Path
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from test.support.waiting import until
from typing import Any

# What a shell does: a process group of the command's own, in the foreground. Unlike a shell it
# leaves the terminal as the command left it.
_SHELL = """
import fcntl, os, signal, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
with open(sys.argv[1], 'w') as file:
    file.write(str(child))
status = os.waitpid(child, 0)[1]
os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
"""


class PseudoTerminal:
    """A command, as Python's arguments, in a terminal; as a context manager it is ended."""

    def __init__(self, folder: Path, words: Sequence[str]) -> None:
        self._main, self._terminal = pty.openpty()
        # termios.tcsetwinsize, before Python 3.11.
        fcntl.ioctl(self._main, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 160, 0, 0))
        self.before = self.mode()
        self._pid = folder / 'pid'
        self._text = ''
        self._mark = 0
        self.process = subprocess.Popen(
            [sys.executable, '-c', _SHELL, str(self._pid), *words],
            stdin=self._terminal,
            stdout=self._terminal,
            stderr=self._terminal,
            env={**os.environ, 'TERM': 'xterm-256color', 'PYTHONIOENCODING': 'utf-8'},
        )

    def mode(self) -> list[Any]:
        """Return the terminal's settings."""
        return termios.tcgetattr(self._terminal)

    def set_mode(self, mode: list[Any]) -> None:
        """Set the terminal as a shell does when a job stops."""
        termios.tcsetattr(self._terminal, termios.TCSANOW, mode)

    def press(self, keys: bytes) -> None:
        """Press keys; what is shown from now on counts for `shows`."""
        self._read(0.0)
        self._mark = len(self._text)
        os.write(self._main, keys)

    def shows(self, pattern: str) -> re.Match[str]:
        """Wait until something that matches is shown, after the last keys."""
        found: list[re.Match[str]] = []

        def there() -> bool:
            mark = self._mark
            found.extend(re.finditer(pattern, self._text[mark:]))
            return bool(found)

        self.until(there, pattern)
        return found[0]

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until a condition is true."""
        until(
            condition,
            lambda: f'{what!r} in:\n{self._text[-2000:]!r}\n',
            meanwhile=lambda: self._read(0.05),
        )

    def signal(self, number: int) -> None:
        """Send a signal to the command alone."""
        os.kill(int(self._pid.read_text()), number)

    def stopped(self) -> bool:
        """Return whether the command is stopped, as by Ctrl-Z."""
        stat = Path('/proc', self._pid.read_text(), 'stat').read_text()
        return stat.rpartition(') ')[2].startswith('T')

    def ended(self) -> int:
        """Wait for the end, and return the exit code."""
        self.until(lambda: self.process.poll() is not None, 'the end')
        self._read(0.0)
        assert self.process.returncode is not None
        return self.process.returncode

    @property
    def text(self) -> str:
        """Return what was shown so far."""
        return self._text

    def _read(self, timeout_s: float) -> None:
        while select.select([self._main], [], [], timeout_s)[0]:
            self._text += os.read(self._main, 65536).decode(errors='replace')
            timeout_s = 0.0

    def __enter__(self) -> PseudoTerminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            if self._pid.exists() and self._pid.read_text():
                self.signal(signal.SIGKILL)
            else:
                self.process.kill()
            self.process.wait()
        os.close(self._main)
        os.close(self._terminal)
