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
import importlib
import os
from pathlib import Path
import pty
import re
import select
import signal
import struct
import sys
import termios
from test.support.process import forks
from test.support.waiting import until
from typing import Any


class PseudoTerminal:
    """
    The command of a module, `module.main(arguments)`, in a terminal; it is ended on exit.

    `failing`: the name of a function of the module that raises instead of doing what it should.
    """

    def __init__(
        self, folder: Path, module: str, arguments: Sequence[str] = (), *, failing: str = ''
    ) -> None:
        self._main, self._terminal = pty.openpty()
        # termios.tcsetwinsize, before Python 3.11.
        fcntl.ioctl(self._main, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 160, 0, 0))
        self.before = self.mode()
        self._pid = folder / 'pid'
        self._text = ''
        self._mark = 0
        self._process = forks().Process(
            target=_shell,
            args=(
                os.ttyname(self._terminal),
                self._pid,
                (module, list(arguments), failing),
                {**os.environ, 'TERM': 'xterm-256color'},
            ),
            daemon=True,
        )
        self._process.start()

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
        self.until(lambda: not self._process.is_alive(), 'the end')
        self._read(0.0)
        assert self._process.exitcode is not None
        return self._process.exitcode

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
        if self._process.is_alive():
            if self._pid.exists() and self._pid.read_text():
                self.signal(signal.SIGKILL)
            else:
                self._process.kill()
            self._process.join()
        os.close(self._main)
        os.close(self._terminal)


def _shell(
    terminal: str, pid: Path, command: tuple[str, list[str], str], environment: dict[str, str]
) -> None:
    """
    Do what a shell does: a process group of the command's own, in the foreground.

    Unlike a shell it leaves the terminal as the command left it.
    """
    os.environ.clear()
    os.environ.update(environment)
    os.setsid()
    descriptor = os.open(terminal, os.O_RDWR)
    for standard in range(3):
        os.dup2(descriptor, standard)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115, these stay open
        sys.stdout = open(1, 'w', buffering=1, encoding='utf-8', closefd=False)  # noqa: SIM115
        sys.stderr = open(2, 'w', buffering=1, encoding='utf-8', closefd=False)  # noqa: SIM115
        _run(*command)
    pid.write_text(str(child))
    status = os.waitpid(child, 0)[1]
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


def _run(module: str, arguments: list[str], failing: str) -> None:
    found = importlib.import_module(module)
    if failing:
        setattr(found, failing, _fail)
    sys.exit(found.main(arguments))


def _fail(*_: object, **__: object) -> None:
    raise ZeroDivisionError('nobody foresaw it')
