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
"""How fast the playback really is, from what the clock passed over."""

from __future__ import annotations

from collections import deque

# Over so many looks, one a second.
WINDOW = 5


class Speedometer:
    """
    Gives scenario seconds per wall second over the last few looks.

    Jumps and ticks are no playing and do not count. The time that lockstep waits does.
    """

    def __init__(self) -> None:
        self._looks: deque[tuple[float, int]] = deque(maxlen=WINDOW + 1)

    def look(self, now_s: float, played_ns: int, *, is_playing: bool) -> float | None:
        """
        Give the speed; 0 while halted, None until there are two looks at a playing clock.

        `now_s` is steady time, `played_ns` the scenario time that was ever played.
        """
        if not is_playing:
            self._looks.clear()
            return 0.0
        self._looks.append((now_s, played_ns))
        first_s, first_ns = self._looks[0]
        if now_s <= first_s:
            return None
        return (played_ns - first_ns) / 1e9 / (now_s - first_s)
