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
"""What playback tells to do: docs/playback.md as tables, with an invented wall clock."""

import numpy as np
from nurec_ros.playback.clock import Due, Schedule
from nurec_ros.playback.effects import (
    Announce,
    Discard,
    Effect,
    PlaybackState,
    Render,
    Show,
    ShowAll,
    ShowJump,
    Step,
)
from nurec_ros.playback.playback import Playback
import pytest

MS = 1_000_000
BEGIN, END = 1_000 * MS, 3_000 * MS
# Wide at 10 Hz, tele at 4 Hz, both from begin on.
TIMES = {'wide': BEGIN + 100 * MS * np.arange(21), 'tele': BEGIN + 250 * MS * np.arange(9)}
# Who is there when: one all the time, one in the first half, one in the second.
TRACKS = {'all': (BEGIN, END), 'first': (BEGIN, 2_000 * MS), 'second': (2_001 * MS, END)}


def active_ids(t_ns):
    return tuple(name for name, (first, last) in TRACKS.items() if first <= t_ns <= last)


class World:
    """A playback, a wall clock that moves when it is told to, and all that was to be done."""

    def __init__(self, *, shown=True, begin=BEGIN, end=END, at_ms=None, **options):
        self.wall_ns = 7 * MS
        self.audiences = {'wide': (1, 0), 'tele': (0, 0)}
        options.setdefault('active_ids', active_ids)
        self.delivering = False
        self.playback = Playback(
            begin,
            end,
            Schedule(options.pop('times', TIMES)),
            scenario='drive',
            audiences=lambda: self.audiences,
            delivering=lambda: self.delivering,
            now=lambda: self.wall_ns,
            **options,
        )
        self.log: list[Effect] = []
        self._out: list[Render] = []
        if shown:
            self.start(at_ms)

    def start(self, at_ms=None):
        """Show the first moment, or another one, and forget how."""
        self.advance()
        self.finish()
        if at_ms is not None:
            self.seek(at_ms)
            self.advance(5)
            self.finish()
        self.log.clear()

    def logged(self, effects):
        self.log += effects
        return effects

    def advance(self, ms=0):
        self.wall_ns += round(ms * MS)
        return self.logged(self.playback.advance())

    def play(self):
        return self.logged(self.playback.play())

    def stop(self):
        return self.logged(self.playback.stop())

    def reset(self):
        return self.logged(self.playback.reset())

    def seek(self, t_ms):
        return self.logged(self.playback.seek(t_ms * MS))

    def step(self, ms):
        step = Step(None if ms is None else round(ms * MS))
        self.logged(self.playback.step(step))
        return step

    def look(self):
        return self.logged(self.playback.look())

    def renders(self):
        return [effect for effect in self.log if isinstance(effect, Render)]

    def finish(self):
        """Say that all frames that were asked for are."""
        orders = [render for render in self.renders() if render.when_out is not None]
        return [effect for render in orders for effect in self.out(render)]

    def out(self, render):
        """Say that the frames of one order are out; once, however often this is called."""
        if any(render is one for one in self._out):
            return []
        self._out.append(render)
        return self.logged(render.when_out())

    @property
    def position_ms(self):
        return self.playback.position_ns / MS


def kinds(effects):
    return [type(effect).__name__ for effect in effects]


def frames(render):
    return [(frame.name, frame.t_ns / MS) for frame in render.frames]


def states(effects):
    return [effect.state for effect in effects if isinstance(effect, Announce)]


def test_a_load_is_shown_whole_and_then_its_still_frames():
    world = World(shown=False)
    # While a frame goes out there is no time to be shown yet.
    world.delivering = True
    assert world.advance() == []
    world.delivering = False
    first, *rest = world.advance()
    assert first == ShowJump(BEGIN, loaded=True)
    assert world.playback.settled
    assert rest == [Show(BEGIN, pose=True), Render((Due('wide', BEGIN),))]
    assert rest[1].when_out is not None
    # The time of what played before is shown until its last transform is 50 ms old.
    old = World()
    old.play()
    old.advance(300)
    old.playback.leave('~/load')
    new = World(shown=False, after=old.playback)
    new.wall_ns = old.wall_ns
    old_ns = old.playback.position_ns
    assert new.advance(49) == [Show(old_ns, clock=True)]
    assert kinds(new.advance(1))[0] == 'ShowJump'


def test_what_a_playback_and_its_states_tell():
    world = World()
    playback = world.playback
    assert (playback.begin_ns, playback.end_ns) == (BEGIN, END)
    assert playback.state().sentence == "'drive' is halted at 0.000000 s (1000000 us)"
    world.play()
    world.advance(500)
    assert playback.state().sentence == "'drive' is playing at 0.500000 s (1500000 us)"
    world.stop()
    assert not playback.is_playing
    world.advance(700)
    assert world.position_ms == 1500
    assert playback.state().summary == 'halted'
    world.seek(3000)
    assert playback.state().summary == 'done'
    assert PlaybackState().summary == 'idle'


def test_what_is_not_told_is_off():
    playback = Playback(
        BEGIN, END, Schedule(TIMES), scenario='', active_ids=active_ids, audiences=dict
    )
    assert playback.advance()[0] == ShowJump(BEGIN, loaded=True)
    course = playback.course
    told = (course.clock.loop, course.lockstep, playback.always_render, playback.state().speed)
    assert (*told, playback.ego_wait_ns) == (False, False, False, 1.0, 0)
    # An ego that nobody can drive shows no input.
    world = World()
    assert world.playback.put(object()) == ([], '', '')
    assert world.playback.change_ego_source('twist')[1] == 0.0


# Playing.


def test_playing_shows_clock_and_pose_with_the_stamps_of_frames_before_they_are_asked_for():
    world = World()
    # Whoever came for the still frame may have missed its transform.
    assert world.play()[0] == Show(BEGIN, pose=True)
    assert world.play() == []
    assert world.advance(50) == [Show(BEGIN + 50 * MS, clock=True, pose=True)]
    shown, render = world.advance(60)
    assert shown == Show(BEGIN + 110 * MS, clock=True, pose=True, stamps=(BEGIN + 100 * MS,))
    assert render == Render((Due('wide', BEGIN + 100 * MS),))
    assert render.when_out is None


def test_play_a_seek_and_a_rate_on_the_way_count_from_their_own_moments():
    world = World()
    world.wall_ns += 300 * MS
    world.play()
    world.advance(10)
    assert world.position_ms == 1010
    world.wall_ns += 300 * MS
    world.seek(2000)
    world.advance(10)
    world.advance(10)
    assert world.position_ms == 2020
    world.wall_ns += 300 * MS
    world.playback.set_rate(2.0)
    world.advance(100)
    assert world.position_ms == 2520
    # Played time is without jumps and steps, which no rate makes longer.
    world = World(rate=2.0)
    world.step(500)
    world.finish()
    world.play()
    world.advance(60)
    assert world.position_ms == 1620
    world.seek(2500)
    world.advance(5)
    world.advance(15)
    assert world.playback.course.played_ns == pytest.approx(160 * MS, abs=MS)


def test_in_real_time_only_the_newest_frame_of_a_camera_is_asked_for():
    world = World(always_render=True)
    world.play()
    shown, render = world.advance(560)
    assert frames(render) == [('tele', 1500), ('wide', 1500)]
    assert set(shown.stamps) == {BEGIN + 500 * MS}
    assert world.playback.course.outrun == {'wide': 4, 'tele': 1}
    assert world.playback.course.lapped == {'wide': 0, 'tele': 0}
    # The last ones of a lap count as lapped.
    world = World(loop=True, at_ms=2850)
    world.play()
    effects = world.advance(500)
    assert kinds(effects) == ['Discard', 'Show', 'Announce']
    assert world.playback.course.outrun['wide'] == world.playback.course.lapped['wide'] == 2
    assert states(effects)[0].is_playing


def test_road_users_go_out_while_playing_once_more_at_the_end_and_again_while_halted():
    world = World()
    world.play()
    shown, render, announced = world.advance(5000)
    assert shown == Show(END, clock=True, pose=True, stamps=(END,), tracks=True)
    assert frames(render) == [('wide', 3000)]
    assert (announced.state.done, announced.state.is_playing) == (True, False)
    assert world.advance(10) == [Show(END, clock=True)]
    world = World()
    assert world.stop() == []
    assert world.playback.show_tracks() == []
    assert world.playback.repeat() == [Show(BEGIN, pose=True, tracks=True)]
    world.play()
    world.advance(20)
    assert world.playback.show_tracks() == [Show(BEGIN + 20 * MS, tracks=True)]
    assert world.playback.repeat() == []


# Lockstep, and laps.


def test_lockstep_halts_at_each_frame_until_it_is_out_and_then_goes_on_at_once():
    world = World(lockstep=True)
    world.play()
    shown, render = world.advance(150)
    assert shown.t_ns == BEGIN + 100 * MS
    assert frames(render) == [('wide', 1100)]
    assert world.playback.held
    assert world.advance(500) == [Show(BEGIN + 100 * MS, clock=True, pose=True)]
    world.wall_ns += 30 * MS
    # The wall time spent waiting is lost; 30 ms of it have passed since the last look.
    (shown,) = world.out(render)
    assert shown == Show(BEGIN + 130 * MS, clock=True, pose=True)
    assert not world.playback.held
    # It waits for nobody when nobody subscribes.
    world.audiences = {'wide': (0, 0), 'tele': (0, 0)}
    world.look()
    assert world.advance(900) == [Show(BEGIN + 1030 * MS, clock=True, pose=True)]
    # Whoever halts it meanwhile is not moved on.
    world = World(lockstep=True)
    world.play()
    render = world.advance(150)[-1]
    world.stop()
    assert world.out(render) == []
    # With loop it waits at the end too, before it starts over.
    world = World(lockstep=True, loop=True, at_ms=2950)
    world.play()
    shown, render = world.advance(500)
    assert (shown.t_ns, frames(render)) == (END, [('wide', 3000)])
    assert [e.t_ns for e in world.advance(500)] == [END]
    world.out(render)
    assert world.position_ms == 1000
    assert not world.playback.settled


# Jumps.


@pytest.mark.parametrize(
    ('jump', 'position_ms'),
    [
        (lambda world: world.seek(2500), 2500),
        (lambda world: (world.play(), world.advance(30), world.stop()), 1030),
        (lambda world: world.reset(), 1000),
    ],
    ids=['seek', 'stop', 'reset at begin'],
)
def test_a_jump_that_goes_not_back_is_shown_with_the_next_clock_message(jump, position_ms):
    world = World()
    jump(world)
    assert not world.playback.settled
    # Nothing of the new time goes out before.
    assert world.playback.repeat() == []
    assert world.look() == []
    first, *_ = world.advance(3)
    assert first == Show(position_ms * MS, clock=True, pose=True, tracks=True)
    assert world.playback.settled


@pytest.mark.parametrize(
    ('at_ms', 'jump', 'position_ms'),
    [
        (2500, lambda world: world.seek(1500), 1500),
        (2500, lambda world: world.reset(), 1000),
        (3000, lambda world: world.play(), 1000),
    ],
    ids=['seek', 'reset', 'play at the end'],
)
def test_a_jump_back_is_quiet_for_50_ms_and_then_shown_whole(at_ms, jump, position_ms):
    world = World(at_ms=at_ms)
    jump(world)
    assert Discard() in world.log
    assert world.advance(49) == [Show(at_ms * MS, clock=True)]
    assert world.playback.show_tracks() == []
    assert world.playback.again() == []
    first, *_ = world.advance(1)
    assert first == ShowJump(position_ms * MS)
    world.wall_ns += 500 * MS
    assert world.playback.again() == [ShowAll(world.playback.position_ns)]


def test_the_quiet_counts_from_when_transforms_are_out_which_takes_a_busy_machine_longer():
    world = World(at_ms=2500)
    world.wall_ns += 20 * MS
    world.playback.posed()
    world.seek(1500)
    assert world.advance(49) == [Show(2500 * MS, clock=True)]
    assert world.advance(1)[0] == ShowJump(1500 * MS)


def test_the_time_that_a_jump_back_waits_does_not_count_for_a_playing_clock():
    world = World()
    world.play()
    world.advance(900)
    world.seek(1200)
    world.advance(70)
    assert world.position_ms == 1200
    world.advance(10)
    assert world.position_ms == 1210
    # Where no transforms go out it does not wait at all.
    world = World(quiet_ns=0, at_ms=1900)
    world.seek(1200)
    assert world.advance()[0] == ShowJump(1200 * MS)
    # What is shown again counts as a transform.
    world = World(at_ms=2000)
    world.seek(1500)
    world.advance(50)
    world.wall_ns += 500 * MS
    assert world.playback.again() == [ShowAll(1500 * MS)]
    world.seek(1200)
    world.advance(49)
    assert not world.playback.settled
    world.advance(1)
    assert world.playback.settled


def test_jumps_wait_for_a_frame_that_goes_out_and_are_shown_once_where_the_last_one_led():
    world = World(at_ms=2000)
    world.seek(1500)
    world.delivering = True
    assert world.advance(80) == [Show(2000 * MS, clock=True)]
    world.delivering = False
    assert kinds(world.advance(10))[0] == 'ShowJump'
    world = World(at_ms=2000)
    for t_ms in (1500, 2800, 1200, 2600):
        world.seek(t_ms)
    effects = world.advance(60)
    assert next(e for e in effects if isinstance(e, (ShowJump, Show))) == ShowJump(2600 * MS)


@pytest.mark.parametrize('loop', [False, True])
def test_a_single_moment_is_done_whatever_is_asked_and_shows_its_still_frame(loop):
    world = World(shown=False, end=BEGIN, loop=loop)
    world.play()
    assert world.advance()[0] == ShowJump(BEGIN, loaded=True)
    assert frames(world.renders()[0]) == [('wide', 1000)]
    assert (world.playback.done, world.playback.is_playing) == (True, False)
    step = world.step(100)
    assert step.over
    assert not step.overtaken_by
    for _ in range(5):
        assert world.advance(100) == [Show(BEGIN, clock=True)]


# State.


def test_the_first_state_after_a_load_and_a_jump_back_lists_all_tracks_as_new():
    world = World(shown=False)
    assert world.playback.announce().state.new_track_ids == ('all', 'first')
    assert world.playback.announce().state.new_track_ids == ()
    world.advance()
    world.seek(2500)
    state = world.playback.announce().state
    assert (state.new_track_ids, state.removed_track_ids) == ((), ())
    (state,) = states(world.seek(1500))
    assert (state.new_track_ids, state.removed_track_ids) == (('all', 'first'), ('second',))
    # A reset lists them even where it goes nowhere.
    for _ in range(2):
        (state,) = states(world.reset())
        assert state.new_track_ids == ('all', 'first')
    (state,) = states([World(shown=False, after=world.playback).playback.announce()])
    assert state.new_track_ids == ('all', 'first')


def test_the_state_has_what_the_contract_names():
    assert PlaybackState().to_json() == (
        '{"is_playing": false, "speed": 1.0, "current_time_us": 0, "seconds_since_start": 0.0, '
        '"duration_s": 0.0, "progress": 0.0, "done": false, "scenario": "", "active_tracks": 0, '
        '"new_track_ids": [], "removed_track_ids": [], "start_us": 0, "end_us": 0, "cameras": []}'
    )
    world = World()
    world.seek(2500)
    assert world.playback.state().to_json() == (
        '{"is_playing": false, "speed": 1.0, "current_time_us": 2500000, '
        '"seconds_since_start": 1.5, "duration_s": 2.0, "progress": 0.75, "done": false, '
        '"scenario": "drive", "active_tracks": 2, "new_track_ids": [], "removed_track_ids": [], '
        '"start_us": 1000000, "end_us": 3000000, "cameras": ["wide", "tele"]}'
    )
