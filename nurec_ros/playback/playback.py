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
Playback: what happens when time passes or somebody moves the clock.

Commands and the wall time go in; what is to happen comes out as effects, in the order in which it
is to happen. Nothing here knows ROS, a thread or a timer, and one thread alone uses it. What the
words mean and why: docs/playback.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count
from typing import Protocol

from nurec_ros.playback.clock import Advance, PlaybackClock
from nurec_ros.playback.effects import (
    Announce,
    Discard,
    Effect,
    Render,
    Show,
    ShowAll,
    ShowJump,
    Step,
    StepDone,
)
from nurec_ros.playback.schedule import Due, Schedule
from nurec_ros.playback.showing import QUIET_NS, Showing
from nurec_ros.playback.state import (
    difference,
    DrivenState,
    Passed,
    PlaybackState,
    StateTeller,
    StepState,
)
from nurec_ros.playback.still_frames import StillFrames

NEXT_LAP = 'the start of the next lap'
Effects = list[Effect]


class Ego(Protocol):
    """The ego that somebody may drive by inputs; the clock tells it what has passed."""

    @property
    def reach_ns(self) -> int | None:
        """Return up to when its poses are known, None where they follow from commands."""

    def missing(self, until_ns: int) -> str:
        """Return what a movement to a time lacks of an input, '' where nothing is missing."""

    def state(self, t_ns: int) -> DrivenState | None:
        """Return what is told of a moment, None of the recorded ego."""

    def put(self, item: object, *, halted: bool) -> tuple[bool, str, str]:
        """Take an input; return whether the moment shows it, and a reason and sentence to say."""

    def change_source(self, source: str, *, halted: bool) -> float:
        """Let another source move the ego; return how far it jumps by that."""

    def jump(self, t_ns: int) -> None:
        """Stand where the recorded ego does: the clock has jumped."""

    def pass_to(self, until_ns: int, *, collect: bool = False) -> Passed:
        """Pass the time up to a moment, or stop on the way; `collect`: tell whom it met."""


class Playback:
    """
    One scenario at play, between `begin_ns` and `end_ns`.

    `active_ids(t_ns)` are the ids of the tracks that are there at a moment. `audiences()` are the
    numbers of subscribers of each camera's topics, by camera; `delivering()` tells whether a frame
    is being published at this moment. `quiet_ns` is 0 where no transforms go out. `after` is the
    playback that this one takes the place of: its time is shown until this one's may be. `ego` is
    the ego that somebody may drive, standing at the beginning; `ego_wait_ns` of wall time steps
    wait for an input of it. Methods that take `now_ns`, steady wall time, return what is to be
    done.
    """

    def __init__(
        self,
        begin_ns: int,
        end_ns: int,
        schedule: Schedule,
        *,
        scenario: str,
        active_ids: Callable[[int], tuple[str, ...]],
        audiences: Callable[[], Mapping[str, tuple[int, ...]]],
        delivering: Callable[[], bool] = lambda: False,
        rate: float = 1.0,
        loop: bool = False,
        lockstep: bool = False,
        always_render: bool = False,
        quiet_ns: int = QUIET_NS,
        ego: Ego | None = None,
        after: Playback | None = None,
    ) -> None:
        self._now_ns = 0
        self._clock = PlaybackClock(begin_ns, end_ns, now=lambda: self._now_ns, rate=rate)
        self.loop = loop
        self.always_render = always_render
        self.schedule = schedule
        self._teller: StateTeller = StateTeller(
            self._clock, scenario, active_ids, after._teller if after is not None else None
        )
        self._lockstep = lockstep
        self._ego = ego
        self.ego_wait_ns = 0
        # Until when the first of the steps waits for an input.
        self._wait_until_ns: int | None = None
        self._active_ids = active_ids
        self._audiences = audiences
        self._delivering = delivering
        self._subscribed: tuple[str, ...] = ()
        self._showing: Showing = Showing(quiet_ns, after._showing if after is not None else None)
        self._stills = StillFrames()
        self._stills.owe(schedule.names)
        self._steps: deque[Step] = deque()
        self._step: Step | None = None
        # Who waits for the frames of a ticket: lockstep, a step, or the still frames of cameras.
        self._tickets = count(1)
        self._held: set[int] = set()
        self._step_ticket = 0
        self._still_tickets: dict[int, tuple[str, ...]] = {}
        self._played_ns = 0
        # By camera: due frames that were dropped before anybody was asked for them, and how many
        # of them fell to a new lap and not to a slow renderer.
        self.outrun: dict[str, int] = dict.fromkeys(schedule.names, 0)
        self.lapped: dict[str, int] = dict.fromkeys(schedule.names, 0)

    # What is known.

    @property
    def position_ns(self) -> int:
        return self._clock.position_ns

    @property
    def begin_ns(self) -> int:
        return self._clock.begin_ns

    @property
    def end_ns(self) -> int:
        return self._clock.end_ns

    @property
    def is_playing(self) -> bool:
        return self._clock.is_playing

    @property
    def done(self) -> bool:
        """Return whether the position is the end."""
        return self._clock.done

    @property
    def rate(self) -> float:
        """Return the scenario seconds per wall second."""
        return self._clock.rate

    @property
    def loop(self) -> bool:
        """Return whether the clock starts over at the end; a single moment has no laps."""
        return self._clock.loop

    @loop.setter
    def loop(self, wanted: bool) -> None:
        self._clock.loop = wanted and not self._is_one_moment

    @property
    def _is_one_moment(self) -> bool:
        return self._clock.begin_ns == self._clock.end_ns

    @property
    def settled(self) -> bool:
        """Return whether the last jump has been shown."""
        return self._showing.settled

    @property
    def stepping(self) -> bool:
        """Return whether a step waits for its frames; this may be asked from any thread."""
        return self._step is not None

    @property
    def held(self) -> bool:
        """Return whether lockstep holds the clock for frames."""
        return bool(self._held)

    @property
    def played_ns(self) -> int:
        """Return the scenario time that was played so far, without jumps and steps."""
        return self._played_ns

    @property
    def subscribed(self) -> tuple[str, ...]:
        """Return the cameras that are rendered for somebody, as of the last look."""
        return self._subscribed

    def state(self) -> PlaybackState:
        """Return the state; its new and removed tracks are those since it was announced."""
        return self._teller.state(self.schedule.cameras, self._ego_state())

    def announce(self) -> Announce:
        """Return the state to be published, from which the next one's tracks count."""
        names = self.schedule.cameras
        return Announce(self._teller.state(names, self._ego_state(), announced=True))

    def _ego_state(self) -> DrivenState | None:
        return self._ego.state(self._clock.position_ns) if self._ego is not None else None

    # Commands.

    def play(self, now_ns: int) -> Effects:
        """Let the clock run from its position; at the end from begin."""
        self._now_ns = now_ns
        clock = self._clock
        # A single moment has nothing to pass: it is done, and its still frame is what it shows.
        if clock.is_playing or self._is_one_moment:
            return []
        before_ns = clock.position_ns
        # Whoever came for the still frame of this moment may have missed its transform.
        effects = self._show(Show(before_ns, pose=True))
        clock.play()
        self._stills.forget(self.schedule.names)
        if clock.position_ns < before_ns:
            self._place_ego()
            effects += self._jump_back('~/play')
        return [*effects, self.announce()]

    def stop(self, now_ns: int) -> Effects:
        """Halt the clock and keep its position."""
        self._now_ns = now_ns
        if not self._clock.is_playing:
            return []
        self._clock.stop()
        self._showing.jump()
        return [self.announce()]

    def reset(self, now_ns: int) -> Effects:
        """Go back to begin and halt; the rate stays."""
        self._now_ns = now_ns
        before_ns = self._clock.position_ns
        self._clock.reset()
        self._teller.list_all()
        return self._jumped(before_ns, '~/reset')

    def seek(self, now_ns: int, t_ns: int) -> Effects:
        """Set the position, clamped to begin and end; playing goes on."""
        self._now_ns = now_ns
        before_ns = self._clock.position_ns
        self._clock.seek(t_ns)
        return self._jumped(before_ns, '~/seek')

    def set_rate(self, now_ns: int, rate: float) -> None:
        """Set the scenario seconds per wall second; ValueError outside 0.01 to 100."""
        self._now_ns = now_ns
        self._clock.set_rate(rate)

    def step(self, now_ns: int, step: Step) -> Effects:
        """Move by an exact duration, or to the next frame; after the steps before this one."""
        self._now_ns = now_ns
        self._steps.append(step)
        return self._go_on_with_steps()

    def overtake(self, by: str) -> Effects:
        """End the step that is under way: the clock is moved elsewhere, by `by`."""
        if self._step is None:
            return []
        self._step.overtaken_by = by
        return self._end_step()

    def leave(self, by: str) -> Effects:
        """Return everything up: another scenario takes this one's place."""
        waiting, self._steps = self._steps, deque()
        effects = self.overtake(by)
        for step in waiting:
            step.overtaken_by = by
            effects.append(StepDone(step))
        return [*effects, Discard()]

    def put(self, now_ns: int, item: object) -> tuple[Effects, str, str]:
        """
        Take an input of the driven ego; return besides a reason and a sentence to be said, or ''.

        InputError for one that cannot be used.
        """
        self._now_ns = now_ns
        if self._ego is None:
            return [], '', ''
        shown, reason, sentence = self._ego.put(item, halted=self._stands)
        effects = self._show_anew() if shown else []
        return effects + self._go_on_with_steps(), reason, sentence

    def change_ego_source(self, now_ns: int, source: str) -> tuple[Effects, float]:
        """Let another source move the ego; return besides how far it jumps by that."""
        self._now_ns = now_ns
        if self._ego is None:
            return [], 0.0
        jumped_m = self._ego.change_source(source, halted=self._stands)
        effects = self._show_anew() if self._stands else []
        return [*effects, *self._go_on_with_steps(), self.announce()], jumped_m

    @property
    def _stands(self) -> bool:
        """Return whether the position is a halted one, and no step's pictures are on their way."""
        return not self._clock.is_playing and self._step is None

    def _show_anew(self) -> Effects:
        """Show the halted moment, whose pose has changed; its pictures are owed again."""
        self._stills.owe(self.schedule.names)
        return self._show(Show(self._clock.position_ns, pose=True))

    def owe_stills(self) -> None:
        """Note that what is rendered has changed: the halted moment is to be rendered anew."""
        if not self._clock.is_playing:
            self._stills.owe(self.schedule.names)

    # The passing of time, and what comes back.

    def advance(self, now_ns: int) -> Effects:
        """Follow the wall clock; to be called at the rate of /clock."""
        self._now_ns = now_ns
        waited: Effects = []
        if self._wait_until_ns is not None and now_ns >= self._wait_until_ns:
            waited = self._go_on_with_steps()
        if not self._showing.settled:
            settled = self._settle()
            if settled:
                return waited + settled
        elif self._clock.is_playing:
            return waited + self._go_on()
        return [*waited, *self._showing.clock_again()]

    def show_tracks(self) -> Effects:
        """Show the road users of a playing clock; to be called at the rate of markers."""
        if not self._clock.is_playing:
            return []
        return self._show(Show(self._clock.position_ns, tracks=True))

    def repeat(self, now_ns: int) -> Effects:
        """Show the moment of a halted clock again, for who has come since."""
        self._now_ns = now_ns
        if self._clock.is_playing:
            return []
        return self._show(Show(self._clock.position_ns, pose=True, tracks=True))

    def again(self, now_ns: int) -> Effects:
        """Show everything once more, half a second after a jump back."""
        self._now_ns = now_ns
        if not self._showing.settled:
            return []
        self._showing.posed(now_ns)
        return [ShowAll(self._clock.position_ns)]

    def look(self, now_ns: int) -> Effects:
        """Count subscribers, and render still frames for those who have come."""
        self._now_ns = now_ns
        self._count_subscribers()
        if not self._showing.settled or self._clock.is_playing:
            return []
        cameras = self._stills.begin(self._subscribed)
        if not cameras:
            return []
        position_ns = self._clock.position_ns
        ticket = next(self._tickets)
        self._still_tickets[ticket] = cameras
        frames = tuple(Due(camera, position_ns) for camera in cameras)
        # Whoever has just come may not have this transform yet.
        shown = self._show(Show(position_ns, pose=True))
        return [*shown, Render(frames, keep=True, ticket=ticket)]

    def frame_lost(self, frame: Due, reason: str) -> None:
        """Note that a frame failed; before the end of its ticket."""
        if self._step is not None:
            self._step.lose(frame, reason)

    def frames_done(self, now_ns: int, ticket: int) -> Effects:
        """Go on after all frames of a ticket are out or lost."""
        self._now_ns = now_ns
        if ticket in self._still_tickets:
            self._stills.end(self._still_tickets.pop(ticket))
        elif ticket == self._step_ticket and self._step is not None:
            return self._end_step() + self._go_on_with_steps()
        elif ticket in self._held:
            self._held.remove(ticket)
            # The next frame may be due already.
            if not self._held and self._showing.settled and self._clock.is_playing:
                return self._go_on()
        return []

    # Moving on.

    def _go_on(self) -> Effects:
        """Let the clock follow the wall, in lockstep not beyond the next frame that is due."""
        clock, limit = self._clock, None
        if self._lockstep and self._subscribed:
            if self._held:
                limit = clock.position_ns
            else:
                limit = self.schedule.next_after(clock.passed_ns, self._subscribed)
        reach_ns = self._ego.reach_ns if self._lockstep and self._ego is not None else None
        if reach_ns is not None:
            # Not beyond the poses that have come.
            limit = reach_ns if limit is None else min(limit, reach_ns)
        advance = self._passed(clock.advance(limit))
        self._played_ns += advance.until_ns - advance.after_ns
        if advance.wrapped:
            self._place_ego()
            # Nobody waits for the last frames of a lap in real time: they would come in the next.
            for frame, before in self._newest(advance.after_ns, advance.until_ns):
                self.outrun[frame.name] += before + 1
                self.lapped[frame.name] += before + 1
            return [*self._jump_back(NEXT_LAP), *self._showing.clock_again(), self.announce()]
        frames = self._due(advance.after_ns, advance.until_ns)
        stamps = tuple(frame.t_ns for frame in frames)
        effects = self._show(
            Show(
                advance.position_ns,
                clock=True,
                pose=True,
                stamps=stamps,
                tracks=advance.finished,
                after_ns=advance.after_ns,
            )
        )
        if frames and self._lockstep:
            ticket = next(self._tickets)
            self._held.add(ticket)
            effects.append(Render(frames, keep=True, ticket=ticket))
        elif frames:
            effects.append(Render(frames))
        if advance.finished:
            effects.append(self.announce())
        return effects

    def _passed(self, advance: Advance) -> Advance:
        """Have the ego pass a movement of the clock; it may stop on the way."""
        if self._ego is None:
            return advance
        passed = self._ego.pass_to(advance.until_ns)
        if not passed.stopped_by:
            return advance
        self._clock.halt_at(passed.until_ns)
        self._stills.owe(self.schedule.names)
        return Advance(advance.after_ns, passed.until_ns, passed.until_ns, finished=True)

    def _due(self, after_ns: int, until_ns: int) -> tuple[Due, ...]:
        """
        Return what is to be rendered of a span.

        In real time that is the newest frame of each camera: of those that one span passes over
        the older ones are late already, and counted as dropped.
        """
        if self._lockstep:
            return tuple(self.schedule.due(after_ns, until_ns, self._subscribed))
        found = self._newest(after_ns, until_ns)
        for frame, before in found:
            self.outrun[frame.name] += before
        return tuple(frame for frame, _ in found)

    def _newest(self, after_ns: int, until_ns: int) -> list[tuple[Due, int]]:
        return self.schedule.newest(after_ns, until_ns, self._subscribed)

    def _go_on_with_steps(self) -> Effects:
        """Begin the next step, unless one is under way or a jump back is still to be shown."""
        effects: Effects = []
        while self._steps and self._step is None:
            if not self._showing.settled:
                settled = self._settle(with_steps=False)
                if not settled:
                    break
                effects += settled
            if self._waits_for_input(self._steps[0]):
                break
            effects += self._begin(self._steps.popleft())
        return effects

    def _waits_for_input(self, step: Step) -> bool:
        """Return whether a step is to wait for an input; too long, and it is refused."""
        missing, until_ns = '', self._wait_until_ns
        clock = self._clock
        if self._ego is not None and self.ego_wait_ns and not clock.done:
            target_ns = self._target_of(step)
            if target_ns is not None:
                missing = self._ego.missing(min(target_ns, clock.end_ns))
        if not missing:
            self._wait_until_ns = None
            return False
        if until_ns is None:
            self._wait_until_ns = self._now_ns + self.ego_wait_ns
            return True
        if self._now_ns < until_ns:
            return True
        self._wait_until_ns = None
        step.refusal = f'within {self.ego_wait_ns / 1e9:g} s there came {missing}'
        return False

    def _target_of(self, step: Step) -> int | None:
        """Return where a step leads to, None for one that is refused anyway."""
        if step.duration_ns is not None:
            return self._clock.position_ns + step.duration_ns
        if self._clock.is_playing:
            return None
        return self.schedule.next_after(self._clock.position_ns)

    def _begin(self, step: Step) -> Effects:
        """Move by a step and show where it led, or refuse it."""
        clock = self._clock
        duration_ns = None if step.refusal else step.way(clock, self.schedule)
        if duration_ns is None:
            step.over = True
            return [StepDone(step)]
        self._count_subscribers()
        before = self._active_ids(clock.position_ns)
        advance = clock.tick(duration_ns)
        until_ns = advance.until_ns
        met: tuple[str, ...] = ()
        if self._ego is not None:
            if advance.wrapped:
                self._ego.jump(clock.begin_ns)
            passed = self._ego.pass_to(until_ns, collect=True)
            until_ns, met = passed.until_ns, passed.collisions
            if passed.stopped_by:
                clock.halt_at(until_ns)
        step.frames = tuple(self.schedule.due(advance.after_ns, until_ns, self._subscribed))
        self._stills.forget(frame.name for frame in step.frames)
        new, removed = difference(before, self._active_ids(clock.position_ns))
        effects: Effects = []
        if advance.wrapped:
            effects += self._jump_back('~/tick')
        else:
            effects += self._show(
                Show(
                    clock.position_ns,
                    clock=True,
                    pose=True,
                    stamps=_times(step),
                    tracks=True,
                    after_ns=advance.after_ns,
                )
            )
        announced = self.announce()
        told = announced.state.ego
        if told is not None:
            told = replace(told, collisions=met)
        step.state = StepState.of(announced.state, new, removed, told)
        self._step, self._step_ticket = step, 0
        effects.append(announced)
        return effects + self._render_step() if self._showing.settled else effects

    def _render_step(self) -> Effects:
        """Ask for the frames of the step that has moved; it is done where there is none."""
        step = self._step
        if step is None or self._step_ticket:
            return []
        if not step.frames:
            return self._end_step()
        self._step_ticket = next(self._tickets)
        return [Render(step.frames, keep=True, fail_if_down=True, ticket=self._step_ticket)]

    def _end_step(self) -> Effects:
        step, self._step = self._step, None
        if step is None:
            return []
        step.over = True
        return [StepDone(step)]

    # Jumps.

    def _place_ego(self) -> None:
        """Put an ego that is driven where the recorded one is: the clock has jumped."""
        if self._ego is not None:
            self._ego.jump(self._clock.position_ns)

    def _jumped(self, before_ns: int, by: str) -> Effects:
        """Take note of where a reset or a seek led to."""
        self._place_ego()
        if self._clock.position_ns < before_ns:
            effects = self._jump_back(by)
        else:
            effects = self.overtake(by)
            self._showing.jump()
        if not self._clock.is_playing:
            self._stills.owe(self.schedule.names)
        return [*effects, self.announce()]

    def _jump_back(self, by: str) -> Effects:
        self._showing.jump_back()
        self._teller.list_all()
        return [*self.overtake(by), Discard()]

    def _settle(self, *, with_steps: bool = True) -> Effects:
        """Show a jump if it is time, and what waited for that; else nothing."""
        position_ns = self._clock.position_ns
        shown = self._showing.settle(self._now_ns, position_ns, delivering=self._delivering())
        if not shown:
            return []
        effects: Effects = [*shown]
        if isinstance(shown[0], ShowJump):
            # The wall time that passed while the jump waited does not count.
            if self._clock.is_playing and not self._clock.done:
                self._clock.stop()
                self._clock.play()
            stamps = _times(self._step)
            if stamps:
                effects += self._show(Show(position_ns, pose=True, stamps=stamps))
        effects += self._render_step()
        if with_steps:
            effects += self._go_on_with_steps()
        return effects + self.look(self._now_ns)

    # Showing.

    def _show(self, moment: Show) -> Effects:
        return [*self._showing.show(self._now_ns, moment)]

    def _count_subscribers(self) -> None:
        audiences = self._audiences()
        self._stills.count(audiences)
        if self.always_render:
            self._subscribed = self.schedule.names
        else:
            self._subscribed = tuple(name for name, numbers in audiences.items() if any(numbers))


def _times(step: Step | None) -> tuple[int, ...]:
    return () if step is None else tuple(dict.fromkeys(frame.t_ns for frame in step.frames))
