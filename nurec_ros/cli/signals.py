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
SIGINT and SIGTERM for a command, from its first moment to its last.

It imports little, so that the signals are taken before the heavy imports, which take a second.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
from types import FrameType
from typing import TypeVar

SIGNALS = (signal.SIGINT, signal.SIGTERM)

# For the callback that swallowed the interruption to return.
_AGAIN_S = 0.01

Self = TypeVar('Self', bound='Signals')


class Stopped(BaseException):
    """
    A signal came.

    KeyboardInterrupt, if it strikes code that an import compiles from text, lets Python die of
    the signal at its end although it was caught.
    """


class Signals:
    """
    While entered, the first signal raises Stopped in the main thread; later ones are nothing.

    `ros2 launch` sends a second one in the middle of the clean-up. When it is over both are
    ignored for good: while the interpreter finalises, another SIGINT would kill it.

    came: whether a signal came. interrupted: whether one raised, which an import may turn into
    an error of its own.
    """

    def __init__(self) -> None:
        self.came = False
        self.interrupted = False
        self._interrupts = True
        self._lost = False
        self._in_hook = False

    def __enter__(self: Self) -> Self:
        for number in SIGNALS:
            signal.signal(number, self._handle)
        self._hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
        return self

    def __exit__(self, *_: object) -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        self._lost = False
        sys.unraisablehook = self._hook

    def interrupt_no_more(self) -> None:
        """Only note a signal from now on."""
        self._interrupts = self._lost = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        first = not self.came
        self.came = True
        if self._interrupts and (first or (self._lost and not self._in_hook)):
            self.interrupted = True
            self._lost = False
            raise Stopped

    def _unraisable(self, unraisable: sys.UnraisableHookArgs) -> None:
        """
        Raise once more what was raised where Python cannot pass it on, and would print it.

        Such places are destructors and the callbacks of weak references; imports have many.
        """
        if not issubclass(unraisable.exc_type, Stopped):
            self._hook(unraisable)
            return
        # What is raised in here would be printed as well.
        self._in_hook = self._lost = True
        threading.Thread(target=self._interrupt_again, name='nurec-signal', daemon=True).start()
        self._in_hook = False

    def _interrupt_again(self) -> None:
        while self._lost:
            time.sleep(_AGAIN_S)
            _thread.interrupt_main()
