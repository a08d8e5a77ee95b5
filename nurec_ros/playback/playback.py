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

Commands go in, the wall time is read; what is to happen comes out as effects, in the order in
which it is to happen. Nothing here knows ROS, a thread or a timer, and one thread alone uses it.
What the words mean and why: docs/playback.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
import time

from nurec_ros.playback.clock import Due, PlaybackClock, Schedule
from nurec_ros.playback.course import Course, Ego
from nurec_ros.playback.effects import (
    Announce,
    difference,
    Discard,
    PlaybackState,
    Render,
    Show,
    ShowAll,
    ShowJump,
    Step,
    StepDone,
)
from nurec_ros.playback.waiting import Effects, QUIET_NS, Showing, StepQueue, StillFrames

NEXT_LAP = 'the start of the next lap'


class Playback:
    """
    One scenario at play, between `begin_ns` and `end_ns`.

    `active_ids(t_ns)` are the ids of the tracks that are there at a moment. `audiences()` are the
    numbers of subscribers of each camera's topics, by camera; `delivering()` tells whether a frame
    is being published at this moment. `now` returns steady wall time. `quiet_ns` is 0 where no
    transforms go out. `after` is the playback that this one takes the place of: its time is shown
    until this one's may be. `ego` is the ego that somebody may drive, standing at the beginning.
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
        now: Callable[[], int] = time.monotonic_ns,
        rate: float = 1.0,
        loop: bool = False,
        lockstep: bool = False,
        always_render: bool = False,
        quiet_ns: int = QUIET_NS,
        ego: Ego | None = None,
        after: Playback | None = None,
    ) -> None:
        self._clock = PlaybackClock(begin_ns, end_ns, now=now, rate=rate)
        self.begin_ns, self.end_ns = self._clock.begin_ns, self._clock.end_ns
        self.course = Course(self._clock, schedule, ego, lockstep=lockstep)
        self.course.set_loop(loop)
        self.always_render = always_render
        self._scenario = scenario
        self._active_ids = active_ids
        # The tracks of the state that was announced last; the next one has all as new, for who
        # rebuilds the set, after a load or a jump back.
        self._announced: tuple[str, ...] = after._announced if after is not None else ()
        self._all_new = True
        self._audiences = audiences
        self._delivering = delivering
        # The cameras and lidars that are rendered for somebody, as of the last look.
        self.subscribed: tuple[str, ...] = ()
        self._showing: Showing = Showing(
            now, quiet_ns, after._showing if after is not None else None
        )
        self._stills = StillFrames()
        self._stills.owe(schedule.names)
        self._steps = StepQueue(now)
        # How long steps wait for an input of the ego, in wall time.
        self.ego_wait_ns = 0
        # How many of its renders lockstep waits for.
        self._held = 0

    # What is known.

    @property
    def position_ns(self) -> int:
        return self._clock.position_ns

    @property
    def is_playing(self) -> bool:
        return self._clock.is_playing

    @property
    def done(self) -> bool:
        return self._clock.done

    @property
    def settled(self) -> bool:
        return self._showing.settled

    @property
    def stepping(self) -> bool:
        """Return whether a step waits for its frames; this may be asked from any thread."""
        return self._steps.current is not None

    @property
    def held(self) -> bool:
        return self._held > 0

    def state(self) -> PlaybackState:
        """Return the state; its new and removed tracks are those since it was announced."""
        return self._state(self._active_ids(self._clock.position_ns))

    def announce(self) -> Announce:
        """Return the state to be published, from which the next one's tracks count."""
        ids = self._active_ids(self._clock.position_ns)
        announced = Announce(self._state(ids))
        self._announced, self._all_new = ids, False
        return announced

    def _state(self, ids: tuple[str, ...]) -> PlaybackState:
        clock = self._clock
        new, removed = difference(self._announced, ids)
        return PlaybackState(
            is_playing=clock.is_playing,
            speed=clock.rate,
            current_time_us=clock.position_ns // 1000,
            seconds_since_start=clock.seconds_since_start,
            duration_s=clock.duration_s,
            progress=clock.progress,
            done=clock.done,
            scenario=self._scenario,
            active_tracks=len(ids),
            new_track_ids=ids if self._all_new else new,
            removed_track_ids=removed,
            start_us=self.begin_ns // 1000,
            end_us=self.end_ns // 1000,
            cameras=self.course.schedule.cameras,
            ego=self.course.ego.state(clock.position_ns),
        )

    # Commands.

    def play(self) -> Effects:
        """Let the clock run from its position; at the end from begin."""
        clock = self._clock
        # A single moment has nothing to pass: it is done, and its still frame is what it shows.
        if clock.is_playing or self.course.is_one_moment:
            return []
        before_ns = clock.position_ns
        # Whoever came for the still frame of this moment may have missed its transform.
        effects = self._showing.show(Show(before_ns, pose=True))
        clock.play()
        self.course.ego.go_on()
        self._stills.forget(self.course.schedule.names)
        if clock.position_ns < before_ns:
            self.course.place_ego()
            effects += self._jump_back('~/play')
        return [*effects, self.announce()]

    def stop(self) -> Effects:
        if not self._clock.is_playing:
            return []
        self._clock.stop()
        self._showing.jump()
        return [self.announce()]

    def reset(self) -> Effects:
        before_ns = self._clock.position_ns
        self._clock.reset()
        self._all_new = True
        return self._jumped(before_ns, '~/reset')

    def seek(self, t_ns: int) -> Effects:
        """Set the position, clamped to begin and end; playing goes on."""
        before_ns = self._clock.position_ns
        self._clock.seek(t_ns)
        return self._jumped(before_ns, '~/seek')

    def set_rate(self, rate: float) -> None:
        self._clock.set_rate(rate)

    def step(self, step: Step) -> Effects:
        """Move by an exact duration, or to the next frame; after the steps before this one."""
        self._steps.add(step)
        return self._go_on_with_steps()

    def leave(self, by: str) -> Effects:
        """Give everything up: another scenario takes this one's place."""
        return [*self._steps.leave(by), Discard()]

    def put(self, item: object) -> tuple[Effects, str, str]:
        """
        Take an input of the driven ego; return besides a reason and a sentence to be said, or ''.

        InputError for one that cannot be used.
        """
        shown, reason, sentence = self.course.ego.put(item, halted=self._stands)
        effects = self._show_anew() if shown else []
        return effects + self._go_on_with_steps(), reason, sentence

    def change_ego_source(self, source: str) -> tuple[Effects, float]:
        """Let another source move the ego; return besides how far it jumps by that."""
        jumped_m = self.course.ego.change_source(source, halted=self._stands)
        effects = self._show_anew() if self._stands else []
        return [*effects, *self._go_on_with_steps(), self.announce()], jumped_m

    @property
    def _stands(self) -> bool:
        """Return whether the position is a halted one, and no step's pictures are on their way."""
        return not self._clock.is_playing and not self.stepping

    def _show_anew(self) -> Effects:
        """Show the halted moment, whose pose has changed; its pictures are owed again."""
        self._stills.owe(self.course.schedule.names)
        return self._showing.show(Show(self._clock.position_ns, pose=True))

    def owe_stills(self) -> None:
        """Note that what is rendered has changed: the halted moment is to be rendered anew."""
        if not self._clock.is_playing:
            self._stills.owe(self.course.schedule.names)

    # The passing of time, and what comes back.

    def advance(self) -> Effects:
        """Follow the wall clock; to be called at the rate of /clock."""
        waited = self._go_on_with_steps() if self._steps.overdue else []
        if not self._showing.settled:
            settled = self._settle()
            if settled:
                return waited + settled
        elif self._clock.is_playing:
            return waited + self._go_on()
        return waited + self._showing.clock_again()

    def show_tracks(self) -> Effects:
        """Show the road users of a playing clock; to be called at the rate of markers."""
        if not self._clock.is_playing:
            return []
        return self._showing.show(Show(self._clock.position_ns, tracks=True))

    def repeat(self) -> Effects:
        """Show the moment of a halted clock again, for who has come since."""
        if self._clock.is_playing:
            return []
        return self._showing.show(Show(self._clock.position_ns, pose=True, tracks=True))

    def again(self) -> Effects:
        """Show everything once more, half a second after a jump back."""
        if not self._showing.settled:
            return []
        self._showing.posed()
        return [ShowAll(self._clock.position_ns)]

    def posed(self) -> None:
        """Note that transforms are out, which may be later than their effect was returned."""
        self._showing.posed()

    def look(self) -> Effects:
        """Count subscribers, and render still frames for those who have come."""
        self._count_subscribers()
        if not self._showing.settled or self._clock.is_playing:
            return []
        cameras = self._stills.begin(self.subscribed)
        if not cameras:
            return []
        position_ns = self._clock.position_ns
        frames = tuple(Due(camera, position_ns) for camera in cameras)
        # Whoever has just come may not have this transform yet.
        shown = self._showing.show(Show(position_ns, pose=True))
        return [*shown, Render(frames, when_out=partial(self._stills_out, cameras))]

    def frame_lost(self, frame: Due, reason: str) -> None:
        if self._steps.current is not None:
            self._steps.current.lose(frame, reason)

    def _stills_out(self, cameras: Iterable[str]) -> Effects:
        self._stills.end(cameras)
        return []

    def _step_out(self, step: Step) -> Effects:
        if step is not self._steps.current:
            return []
        return self._steps.end() + self._go_on_with_steps()

    def _held_out(self) -> Effects:
        self._held -= 1
        # The next frame may be due already.
        goes_on = not self._held and self._showing.settled and self._clock.is_playing
        return self._go_on() if goes_on else []

    # Moving on.

    def _go_on(self) -> Effects:
        moved = self.course.follow_wall(self.subscribed, held=self.held)
        if moved.wrapped:
            return [*self._jump_back(NEXT_LAP), *self._showing.clock_again(), self.announce()]
        if moved.stopped:
            self._stills.owe(self.course.schedule.names)
        effects = self._showing.show(moved.shown(tracks=moved.finished))
        if moved.frames and self.course.lockstep:
            self._held += 1
            effects.append(Render(moved.frames, when_out=self._held_out))
        elif moved.frames:
            effects.append(Render(moved.frames))
        if moved.finished:
            effects.append(self.announce())
        return effects

    def _go_on_with_steps(self) -> Effects:
        """Begin the next step, unless one is under way or a jump back is still to be shown."""
        effects: Effects = []
        while self._steps.pending:
            if not self._showing.settled:
                settled = self._settle(with_steps=False)
                if not settled:
                    break
                effects += settled
            step = self._steps.pop(self.course.lacks, self.ego_wait_ns)
            if step is None:
                break
            try:
                effects += self._begin(step)
            except Exception as error:  # noqa: BLE001, it belongs to the one who asked for it
                step.error, step.over = error, True
                effects.append(StepDone(step))
        return effects

    def _begin(self, step: Step) -> Effects:
        clock = self._clock
        duration_ns = None if step.refusal else step.way(clock, self.course.schedule)
        if duration_ns is None:
            step.over = True
            return [StepDone(step)]
        self._count_subscribers()
        before = self._active_ids(clock.position_ns)
        moved = self.course.step(duration_ns, self.subscribed)
        step.frames = moved.frames
        self._stills.forget(frame.name for frame in step.frames)
        if moved.wrapped:
            effects = self._jump_back('~/tick')
        else:
            effects = self._showing.show(moved.shown(tracks=True))
        announced = self.announce()
        state = announced.state
        new, removed = difference(before, self._announced)
        ego = state.ego and replace(state.ego, collisions=moved.collisions)
        step.state = replace(state, new_track_ids=new, removed_track_ids=removed, ego=ego)
        self._steps.begin(step)
        effects.append(announced)
        return effects + self._render_step() if self._showing.settled else effects

    def _render_step(self) -> Effects:
        """Ask for the frames of the step that has moved; it is done where there is none."""
        step = self._steps.to_render()
        if step is None:
            return []
        if not step.frames:
            return self._steps.end()
        when_out = partial(self._step_out, step)
        return [Render(step.frames, fail_if_down=True, when_out=when_out)]

    # Jumps.

    def _jumped(self, before_ns: int, by: str) -> Effects:
        self.course.place_ego()
        if self._clock.position_ns < before_ns:
            effects = self._jump_back(by)
        else:
            effects = self._steps.end(overtaken_by=by)
            self._showing.jump()
        if not self._clock.is_playing:
            self._stills.owe(self.course.schedule.names)
        return [*effects, self.announce()]

    def _jump_back(self, by: str) -> Effects:
        self._showing.jump_back()
        self._all_new = True
        return [*self._steps.end(overtaken_by=by), Discard()]

    def _settle(self, *, with_steps: bool = True) -> Effects:
        """Show a jump if it is time, and what waited for that; else nothing."""
        position_ns = self._clock.position_ns
        effects = self._showing.settle(position_ns, delivering=self._delivering())
        if not effects:
            return []
        if isinstance(effects[0], ShowJump):
            # The wall time that passed while the jump waited does not count.
            if self._clock.is_playing and not self._clock.done:
                self._clock.stop()
                self._clock.play()
            step = self._steps.current
            if step is not None and step.stamps:
                effects += self._showing.show(Show(position_ns, pose=True, stamps=step.stamps))
        effects += self._render_step()
        if with_steps:
            effects += self._go_on_with_steps()
        return effects + self.look()

    def _count_subscribers(self) -> None:
        subscribed = self._stills.count(self._audiences())
        self.subscribed = self.course.schedule.names if self.always_render else subscribed
