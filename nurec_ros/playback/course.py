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
The way along a scenario: the clock, the frames that are due on it, and the ego that passes it.

A movement of the clock is one value: where it led to, what it made due, and whom the ego met.
What of that is shown, and when, is `playback.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nurec_ros.playback.clock import Advance, Due, PlaybackClock, Schedule
from nurec_ros.playback.effects import DrivenState, Passed, Show, Step


class Ego:
    """The ego on the way: the clock tells it what has passed. This one nobody can drive."""

    @property
    def reach_ns(self) -> int | None:
        """Return up to when its poses are known, None where they follow from commands."""
        return None

    def missing(self, until_ns: int) -> str:
        """Return what a movement to a time lacks of an input, '' where nothing is missing."""
        return ''

    def state(self, t_ns: int) -> DrivenState | None:
        """Return what is told of a moment, None of the recorded ego."""
        return None

    def put(self, item: object, *, halted: bool) -> tuple[bool, str, str]:
        """
        Take an input; return whether the moment shows it, and a reason and sentence to say.

        InputError for one that cannot be used. One that is an InputError itself is noted as such.
        """
        return False, '', ''

    def change_source(self, source: str, *, halted: bool) -> float:
        """Let another source move the ego; return how far it jumps by that."""
        return 0.0

    def go_on(self) -> None:
        """Tell no more of why it was stopped: somebody goes on from there."""

    def jump(self, t_ns: int) -> None:
        """Stand where the recorded ego does: the clock has jumped."""

    def pass_to(self, until_ns: int, *, collect: bool = False) -> Passed:
        """
        Pass the time up to a moment, or to the first on the way at which to stop.

        `collect`: tell of all whom the ego met on the way.
        """
        return Passed(until_ns)


@dataclass(frozen=True, slots=True)
class Movement:
    """
    What one movement of the clock came to.

    `frames` are those that are to be rendered of (after_ns, position_ns]. `wrapped`: a new lap
    began. `finished`: it halted, at the end, or because the ego `stopped` on the way.
    """

    after_ns: int
    position_ns: int
    frames: tuple[Due, ...] = ()
    wrapped: bool = False
    finished: bool = False
    stopped: bool = False
    collisions: tuple[str, ...] = ()

    def shown(self, *, tracks: bool) -> Show:
        return Show(
            self.position_ns,
            clock=True,
            pose=True,
            stamps=tuple(dict.fromkeys(frame.t_ns for frame in self.frames)),
            tracks=tracks,
            after_ns=self.after_ns,
        )


class Course:
    """
    Moves the clock and the ego along, in `lockstep` from due frame to due frame.

    By sensor, `outrun` are due frames that were dropped before anybody was asked for them, and
    `lapped` how many of them fell to a new lap and not to a slow renderer. `played_ns` is the
    scenario time that was played so far, without jumps and steps.
    """

    def __init__(
        self, clock: PlaybackClock, schedule: Schedule, ego: Ego | None, *, lockstep: bool
    ) -> None:
        self.clock = clock
        self.schedule = schedule
        self.ego: Ego = ego or Ego()
        self.lockstep = lockstep
        self.outrun: dict[str, int] = dict.fromkeys(schedule.names, 0)
        self.lapped: dict[str, int] = dict.fromkeys(schedule.names, 0)
        self.played_ns = 0

    @property
    def is_one_moment(self) -> bool:
        return self.clock.begin_ns == self.clock.end_ns

    def set_loop(self, wanted: bool) -> None:
        """Set whether the clock starts over at the end; a single moment has no laps."""
        self.clock.loop = wanted and not self.is_one_moment

    def place_ego(self) -> None:
        """Put an ego that is driven where the recorded one is: the clock has jumped."""
        self.ego.jump(self.clock.position_ns)

    def follow_wall(self, subscribed: tuple[str, ...], *, held: bool) -> Movement:
        """
        Let the clock follow the wall, in lockstep not beyond the next frame that is due.

        `held`: frames are waited for, and it stays where it is.
        """
        advance = self.clock.advance(self._limit(subscribed, held=held))
        passed = self.ego.pass_to(advance.until_ns)
        if passed.stopped_by:
            self.clock.halt_at(passed.until_ns)
            advance = Advance(advance.after_ns, passed.until_ns, passed.until_ns, finished=True)
        self.played_ns += advance.until_ns - advance.after_ns
        if advance.wrapped:
            self.place_ego()
            # Nobody waits for the last frames of a lap in real time: they would come in the next.
            for frame, before in self._newest(advance, subscribed):
                self.outrun[frame.name] += before + 1
                self.lapped[frame.name] += before + 1
            return Movement(advance.after_ns, advance.position_ns, wrapped=True)
        return Movement(
            advance.after_ns,
            advance.position_ns,
            self._due(advance, subscribed),
            finished=advance.finished,
            stopped=bool(passed.stopped_by),
        )

    def step(self, duration_ns: int, subscribed: tuple[str, ...]) -> Movement:
        """Move by an exact duration; every frame on the way is to be rendered."""
        advance = self.clock.tick(duration_ns)
        if advance.wrapped:
            self.ego.jump(self.clock.begin_ns)
        passed = self.ego.pass_to(advance.until_ns, collect=True)
        if passed.stopped_by:
            self.clock.halt_at(passed.until_ns)
        frames = self.schedule.due(advance.after_ns, passed.until_ns, subscribed)
        return Movement(
            advance.after_ns,
            self.clock.position_ns,
            tuple(frames),
            wrapped=advance.wrapped,
            collisions=passed.collisions,
        )

    def lacks(self, step: Step) -> str:
        """Return what a step lacks of an input of the ego, '' where nothing is missing."""
        clock = self.clock
        if clock.done:
            return ''
        if step.duration_ns is not None:
            target_ns: int | None = clock.position_ns + step.duration_ns
        else:
            # One that is refused anyway leads nowhere.
            target_ns = None if clock.is_playing else self.schedule.next_after(clock.position_ns)
        return '' if target_ns is None else self.ego.missing(min(target_ns, clock.end_ns))

    def _limit(self, subscribed: tuple[str, ...], *, held: bool) -> int | None:
        if not self.lockstep:
            return None
        limits = [self.ego.reach_ns]  # not beyond the poses that have come
        if subscribed and held:
            limits.append(self.clock.position_ns)
        elif subscribed:
            limits.append(self.schedule.next_after(self.clock.passed_ns, subscribed))
        return min((limit for limit in limits if limit is not None), default=None)

    def _due(self, advance: Advance, subscribed: Iterable[str]) -> tuple[Due, ...]:
        """
        Return what is to be rendered of a span.

        In real time that is the newest frame of each camera: of those that one span passes over
        the older ones are late already, and counted as dropped.
        """
        if self.lockstep:
            return tuple(self.schedule.due(advance.after_ns, advance.until_ns, subscribed))
        found = self._newest(advance, subscribed)
        for frame, before in found:
            self.outrun[frame.name] += before
        return tuple(frame for frame, _ in found)

    def _newest(self, advance: Advance, subscribed: Iterable[str]) -> list[tuple[Due, int]]:
        return self.schedule.newest(advance.after_ns, advance.until_ns, subscribed)
