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
Scenario time: the clock, driven by an injected steady one, and what is due when.

All times are integer nanoseconds, and every position is a whole microsecond, so that a stamp, a
render request and the shown time agree exactly. The clock moves only when `advance` or `tick` is
called; it owns no timer and no thread, and one thread alone may use it. What is due is looked up
by span, half-open: (after, until].
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
import time

import numpy as np
from numpy.typing import NDArray

MICROSECOND = 1000
MIN_RATE = 0.01
MAX_RATE = 100.0


@dataclass(frozen=True, slots=True)
class Advance:
    """
    What one movement of the clock passed over.

    The span is half-open: (after_ns, until_ns]. `wrapped`: the clock started over; in `advance`
    the span ends at the end of the range and the position is begin again, in `tick` the span is
    the one after begin. `finished`: this call brought the position to the end, and it stays
    there; never true together with `wrapped` in `advance`.
    """

    after_ns: int
    until_ns: int
    position_ns: int
    wrapped: bool = False
    finished: bool = False


class PlaybackClock:
    """
    Play, stop, seek, tick and loop over the closed range [begin_ns, end_ns].

    A range that does not lie on whole microseconds is moved inward. `now` gives steady
    nanoseconds. Raises ValueError for a range without a whole microsecond in it, or a bad rate.
    """

    def __init__(
        self,
        begin_ns: int,
        end_ns: int,
        *,
        now: Callable[[], int] = time.monotonic_ns,
        rate: float = 1.0,
    ) -> None:
        self._begin = -(-int(begin_ns) // MICROSECOND) * MICROSECOND
        self._end = _whole(int(end_ns))
        if self._begin > self._end:
            raise ValueError(f'the range from {begin_ns} ns to {end_ns} ns is empty')
        self._now = now
        self.loop = False
        self._rate = 1.0
        self._playing = False
        self._position = self._begin
        # Up to here everything was passed over; one below the position where the moment of the
        # position itself is still due.
        self._passed = self._begin
        # While playing, the position is anchor + (now - anchor's wall time) * rate, computed
        # afresh from the anchor each time: no rounding accumulates.
        self._anchor = self._begin
        self._anchor_wall = 0
        self.set_rate(rate)

    @property
    def begin_ns(self) -> int:
        return self._begin

    @property
    def end_ns(self) -> int:
        return self._end

    @property
    def position_ns(self) -> int:
        """Return the position that the last movement reached; time alone does not change it."""
        return self._position

    @property
    def passed_ns(self) -> int:
        """Return where the next span starts: the position, or 1 ns before it after a jump."""
        return self._passed

    @property
    def is_playing(self) -> bool:
        return self._playing

    @property
    def done(self) -> bool:
        return self._position == self._end

    @property
    def rate(self) -> float:
        """Return the scenario seconds per wall second."""
        return self._rate

    @property
    def duration_s(self) -> float:
        return (self._end - self._begin) / 1e9

    @property
    def seconds_since_start(self) -> float:
        return (self._position - self._begin) / 1e9

    @property
    def progress(self) -> float:
        """Return the part of the range that lies behind, 0 to 1; 1 for a range of one moment."""
        if self._end == self._begin:
            return 1.0
        return (self._position - self._begin) / (self._end - self._begin)

    def play(self) -> None:
        """Run from the position; at the end from begin, whose own moment is then due as well."""
        if self._playing:
            return
        if self.done:
            self._position = self._begin
            self._passed = self._begin - 1
        self._playing = True
        self._set_anchor(self._position)

    def stop(self) -> None:
        """Halt and keep the position that was reached last."""
        self._playing = False

    def halt_at(self, t_ns: int) -> None:
        """Halt at a moment that the last movement passed."""
        self._playing = False
        self._position = self._passed = _whole(t_ns)

    def reset(self) -> None:
        """Go back to begin and halt; the rate stays."""
        self._playing = False
        self._position = self._passed = self._begin

    def seek(self, t_ns: int) -> int:
        """
        Set the position, clamped to the range, and give it back; playing goes on.

        While playing, the moment of the new position itself is due in the next span: no other
        picture of it is made. While halted it is not. At the end the clock halts unless it loops.
        """
        self._position = min(max(_whole(int(t_ns)), self._begin), self._end)
        if self.done and not self.loop:
            self._playing = False
        self._passed = self._position - 1 if self._playing else self._position
        self._set_anchor(self._position)
        return self._position

    def set_rate(self, rate: float) -> None:
        """Set the scenario seconds per wall second; ValueError outside 0.01 to 100."""
        if not MIN_RATE <= rate <= MAX_RATE:  # also false for NaN
            raise ValueError(f'the rate is {rate}, expected {MIN_RATE} to {MAX_RATE:g}')
        if self._playing:
            # The wall time since the last movement passed at the old rate.
            self._set_anchor(self._target())
        self._rate = float(rate)

    def tick(self, delta_ns: int) -> Advance:
        """
        Advance by an exact scenario duration, playing or not; the rate does not matter.

        The movement is clamped at the end. At the end it moves nothing, or, with `loop`, starts
        over: by `delta_ns` from begin, whose own moment is due as well. ValueError unless
        `delta_ns` is a positive whole number of microseconds.
        """
        if delta_ns <= 0 or delta_ns % MICROSECOND:
            raise ValueError(f'a tick of {delta_ns} ns is not a positive whole microsecond')
        was_done = self.done
        wrapped = was_done and self.loop
        if wrapped:
            self._position = self._begin
            self._passed = self._begin - 1
        after = self._passed
        self._position = self._passed = min(self._position + delta_ns, self._end)
        self._set_anchor(self._position)
        if self.done and not self.loop:
            self._playing = False
        finished = self.done and (wrapped or not was_done)
        return Advance(after, self._position, self._position, wrapped=wrapped, finished=finished)

    def advance(self, limit_ns: int | None = None) -> Advance:
        """
        Move to where the wall clock says, but never beyond `limit_ns`.

        Wall time that passes while the limit holds the clock is lost, not caught up. A limit that
        is the end holds a looping clock there too: the next call without one starts over. While
        halted nothing moves and the span is empty.
        """
        after = self._passed
        if not self._playing:
            return Advance(self._position, self._position, self._position)
        target = self._target()
        if limit_ns is not None and target > limit_ns:
            target = max(_whole(limit_ns), self._position)
            self._set_anchor(target)
        if target < self._end or (self.loop and limit_ns is not None and limit_ns <= self._end):
            self._position = self._passed = _whole(target)
            return Advance(after, self._position, self._position)
        if self.loop:
            self._position = self._begin
            self._passed = self._begin - 1
            self._set_anchor(self._begin)
            return Advance(after, self._end, self._begin, wrapped=True)
        self._position = self._passed = self._end
        self._playing = False
        return Advance(after, self._end, self._end, finished=True)

    def _target(self) -> int:
        """Return where the wall clock says that the position is; may lie beyond the end."""
        elapsed = max(self._now() - self._anchor_wall, 0)
        # In integers: a float loses nanoseconds from 2**53 on, about 100 days.
        numerator, denominator = self._rate.as_integer_ratio()
        return self._anchor + elapsed * numerator // denominator

    def _set_anchor(self, position_ns: int) -> None:
        self._anchor = position_ns
        self._anchor_wall = self._now()


def _whole(t_ns: int) -> int:
    return t_ns // MICROSECOND * MICROSECOND


RATE_WITHOUT_FRAME_TIMES = 10.0


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


def regular_times(rate_hz: float, begin_ns: int, end_ns: int) -> NDArray[np.int64]:
    """Return begin + k / rate in [begin_ns, end_ns], ascending, whole microseconds."""
    first_us = -(-begin_ns // MICROSECOND)
    span_us = end_ns // MICROSECOND - first_us
    if span_us < 0:
        return np.empty(0, dtype=np.int64)
    steps = np.arange(int(span_us * rate_hz / 1e6) + 2, dtype=np.float64)
    # Each time from k itself: a rounded period would add up.
    offsets_us = np.rint(steps * 1e6 / rate_hz).astype(np.int64)
    kept = (offsets_us <= span_us) & (np.diff(offsets_us, prepend=-1) > 0)
    return (first_us + offsets_us[kept]) * MICROSECOND


def camera_times(
    frame_ends_ns: NDArray[np.int64], begin_ns: int, end_ns: int, rate_hz: float
) -> NDArray[np.int64]:
    """
    Return the due times of a camera in [begin_ns, end_ns], ascending, whole microseconds.

    With a rate of 0 they are the recorded frame times (the ends of the exposures, shape (F,)),
    or 10 Hz where none lies in the range; else begin + k / rate.
    """
    if rate_hz == 0:
        ends = np.unique(np.asarray(frame_ends_ns, dtype=np.int64) // MICROSECOND * MICROSECOND)
        ends = ends[(ends >= begin_ns) & (ends <= end_ns)]
        if len(ends):
            return ends
    return regular_times(rate_hz or RATE_WITHOUT_FRAME_TIMES, begin_ns, end_ns)
