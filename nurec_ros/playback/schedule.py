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
What is due when: the frame times of cameras and lidars, looked up by span.

Times are integer nanoseconds in scenario time; spans are half-open, (after, until].
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from nurec_ros.errors import ConfigurationError

MICROSECOND = 1000
RATE_WITHOUT_FRAME_TIMES = 10.0


class Span(Protocol):
    """What lasts from one moment to another."""

    @property
    def start_ns(self) -> int: ...
    @property
    def end_ns(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Due:
    """One thing that is due: whose it is, and when."""

    name: str
    t_ns: int


class Schedule:
    """The due times of several names; immutable, cheap to ask for short spans."""

    def __init__(
        self, times_ns: Mapping[str, NDArray[np.int64]], lidars: Collection[str] = ()
    ) -> None:
        """
        Take the times of each name, in any order; a repeated time is due once.

        `lidars` are the names that are no cameras.
        """
        self.cameras = tuple(name for name in times_ns if name not in lidars)
        # Lists of int: bisecting one is several times faster than numpy's searchsorted, whose
        # cost is the call.
        self._times: dict[str, list[int]] = {
            name: np.unique(np.asarray(times, dtype=np.int64)).tolist()
            for name, times in times_ns.items()
        }

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._times)

    def times(self, name: str) -> NDArray[np.int64]:
        """Return the due times of one name, ascending; KeyError where there is no such name."""
        return np.array(self._times[name], dtype=np.int64)

    def due(self, after_ns: int, until_ns: int, names: Iterable[str] | None = None) -> list[Due]:
        """List what is due in (after_ns, until_ns], by time and then by name."""
        found = []
        for name, times in self._selected(names):
            first = bisect_right(times, after_ns)
            last = bisect_right(times, until_ns, lo=first)
            found += [Due(name, t_ns) for t_ns in times[first:last]]
        found.sort(key=lambda due: (due.t_ns, due.name))
        return found

    def newest(
        self, after_ns: int, until_ns: int, names: Iterable[str] | None = None
    ) -> list[tuple[Due, int]]:
        """
        Return the last that is due of each name in (after_ns, until_ns], and how many were before.

        By time and then by name. Costs the same however many are due.
        """
        found = []
        for name, times in self._selected(names):
            first = bisect_right(times, after_ns)
            last = bisect_right(times, until_ns, lo=first)
            if last > first:
                found.append((Due(name, times[last - 1]), last - first - 1))
        found.sort(key=lambda item: (item[0].t_ns, item[0].name))
        return found

    def next_after(self, t_ns: int, names: Iterable[str] | None = None) -> int | None:
        """Return the first due time later than `t_ns`; None where there is none."""
        candidates = []
        for _, times in self._selected(names):
            index = bisect_right(times, t_ns)
            if index < len(times):
                candidates.append(times[index])
        return min(candidates, default=None)

    def _selected(self, names: Iterable[str] | None) -> list[tuple[str, list[int]]]:
        if names is None:
            return list(self._times.items())
        # A name without times is not an error: its camera may have just been deselected.
        return [(name, self._times[name]) for name in dict.fromkeys(names) if name in self._times]


def camera_times(
    frame_ends_ns: NDArray[np.int64], begin_ns: int, end_ns: int, rate_hz: float
) -> NDArray[np.int64]:
    """
    Give the due times of a camera in [begin_ns, end_ns], ascending, whole microseconds.

    With a rate of 0 they are the recorded frame times (the ends of the exposures, shape (F,)),
    or 10 Hz where none lies in the range; else begin + k / rate. ValueError for a negative rate.
    """
    if not 0 <= rate_hz < float('inf'):
        raise ValueError(f'the frame rate is {rate_hz}, expected 0 or more')
    if rate_hz == 0:
        ends = np.unique(np.asarray(frame_ends_ns, dtype=np.int64) // MICROSECOND * MICROSECOND)
        ends = ends[(ends >= begin_ns) & (ends <= end_ns)]
        if len(ends):
            return ends
        rate_hz = RATE_WITHOUT_FRAME_TIMES
    first_us = -(-begin_ns // MICROSECOND)
    span_us = end_ns // MICROSECOND - first_us
    if span_us < 0:
        return np.empty(0, dtype=np.int64)
    steps = np.arange(int(span_us * rate_hz / 1e6) + 2, dtype=np.float64)
    # Each time from k itself: a rounded period would add up.
    offsets_us = np.unique(np.rint(steps * 1e6 / rate_hz).astype(np.int64))
    return (first_us + offsets_us[offsets_us <= span_us]) * MICROSECOND


def moved_inward(scenario: Span, start_s: float, end_s: float) -> tuple[int, int]:
    """Return begin and end in ns; ConfigurationError where less than 1 us is left of the range."""
    begin_ns = scenario.start_ns + round(start_s * 1e6) * MICROSECOND
    end_ns = scenario.end_ns - round(end_s * 1e6) * MICROSECOND
    if begin_ns > end_ns:
        duration_s = (scenario.end_ns - scenario.start_ns) / 1e9
        raise ConfigurationError(
            f"parameters 'start_offset_s' ({start_s:g}) and 'end_offset_s' ({end_s:g}) leave "
            f'nothing of the scenario, which lasts {duration_s:g} s'
        )
    return begin_ns, end_ns
