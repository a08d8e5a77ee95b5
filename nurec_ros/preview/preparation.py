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
"""What the first picture of a scene would wait for, done beforehand in the background."""

from __future__ import annotations

from collections.abc import Iterable
import logging
import threading
from typing import Any

_log = logging.getLogger(__name__)


class _StoppedError(Exception):
    """Ends the work when the server stops."""


class Preparation:
    """
    Calls `prepare(step)` of each renderer that has it, one after the other, in a thread.

    The thread is no daemon: one that is amid OpenCV while Python ends takes the process down. It
    ends within some tenths of a second after `stop`, because `step` then raises.
    """

    def __init__(self, renderers: Iterable[Any]) -> None:
        self._renderers = [each for each in renderers if hasattr(each, 'prepare')]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name='preview-prepare')

    def start(self) -> None:
        """Begin, if there is anything to do."""
        if self._renderers:
            self._thread.start()

    def stop(self) -> None:
        """Let the thread end."""
        self._stopped.set()

    def join(self) -> None:
        """Wait for its end."""
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        for renderer in self._renderers:
            if not self._stopped.is_set():
                self._prepare(renderer)

    def _prepare(self, renderer: Any) -> None:
        try:
            renderer.prepare(self._step)
        except _StoppedError:
            pass
        except MemoryError:
            _log.warning('a scene could not be prepared: out of memory')
        except Exception:  # noqa: BLE001 (the picture that needs it fails, and says why)
            _log.exception('a scene could not be prepared')

    def _step(self) -> None:
        if self._stopped.is_set():
            raise _StoppedError
