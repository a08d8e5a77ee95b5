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
"""A helper process of a test: its output in a file, waited for, ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import os
from pathlib import Path
import re
import signal
import subprocess
from test.support.middleware import without_middleware
from test.support.waiting import until

END_S = 120.0


class Process:
    """A process under way; stdout and stderr go to the file `log`."""

    def __init__(
        self, words: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._log = log
        with log.open('wb') as output:
            self._process = subprocess.Popen(
                list(words),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(os.environ if environment is None else environment),
            )

    @property
    def output(self) -> str:
        """Return what it said so far."""
        return without_middleware(self._log.read_text(errors='replace'))

    def alive(self) -> bool:
        """Return True while it runs; its end fails the test."""
        code = self._process.poll()
        assert code is None, f'{self._log.stem} ended ({code}):\n{self.output}'
        return True

    def says(self, pattern: str) -> re.Match[str]:
        """Wait until a line of the output matches."""
        found = until(
            lambda: self.alive() and re.search(pattern, self.output, re.MULTILINE),
            lambda: f'{pattern!r} in {self.output!r}',
        )
        assert found
        return found

    def wait(self) -> int:
        """Wait for its end and return the exit code."""
        return self._process.wait(END_S)

    def interrupt(self) -> int:
        """Send SIGINT and return the exit code, however long it has to write."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        return self._process.wait(END_S)

    def end(self) -> None:
        """End it, whatever it does."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
