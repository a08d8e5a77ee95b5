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
"""What is told on the way: what is being waited for, and how far the drive is."""

from __future__ import annotations

from collections.abc import Callable
import shutil
import time

from tqdm import tqdm

# What is waited for is said after so long (a start takes some seconds, several on a slow machine),
# and again where it has changed: less and less often, since a text may count the seconds.
SAID_AFTER_S, SAID_AGAIN_S, MOST_SAID_AGAIN_S = 10.0, 5.0, 40.0
MOST_COLUMNS = 100
BAR = '{desc} {percentage:3.0f}% |{bar}| {n:.1f} / {total:.1f} s{postfix}'


class Patience:
    """Says what is being waited for: not at once, not too often, and not the same thing twice."""

    def __init__(
        self, say: Callable[[str], object], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._say = say
        self._now = now
        self._next = now() + SAID_AFTER_S
        self._pause_s = SAID_AGAIN_S
        self._said = ''

    def note(self, reason: Callable[[], str]) -> None:
        """Say the reason, if it is time to say something and there is something new."""
        if self._now() < self._next:
            return
        text = reason()
        if text != self._said:
            self._say(f'waiting: {text}')
            self._said = text
            self._next = self._now() + self._pause_s
            self._pause_s = min(2 * self._pause_s, MOST_SAID_AGAIN_S)


class PlayProgress:
    """A bar on stderr for a terminal; else a line at each quarter, so that logs stay readable."""

    QUARTERS = 4

    def __init__(self, total_s: float, say: Callable[[str], object], *, terminal: bool) -> None:
        self._total = max(total_s, 1e-9)
        self._say = say
        self._quarter = 0
        self._bar = tqdm(
            total=round(self._total, 1),
            desc='playing',
            bar_format=BAR,
            # A terminal that does not know its size (in CI, say) would get no bar at all.
            ncols=min(MOST_COLUMNS, shutil.get_terminal_size().columns or MOST_COLUMNS),
            nrows=24,
            disable=not terminal,
        )
        self._lines = not terminal

    def show(self, seconds: float, note: str) -> None:
        """Say that `seconds` of the scenario have passed."""
        self._bar.n = round(min(seconds, self._total), 1)
        self._bar.set_postfix_str(note)
        quarter = int(self.QUARTERS * seconds / self._total + 1e-6)
        if self._lines and quarter > self._quarter:
            self._quarter = quarter
            percent = 100 * quarter // self.QUARTERS
            self._say(f'playing {percent:3d} %: {seconds:.1f} s, {note}')

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()
