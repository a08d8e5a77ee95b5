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
"""Steps one after another, lost frames, who overtakes a step; which cameras owe a still frame."""

from dataclasses import replace
from test.playback.test_playback import BEGIN, frames, kinds, MS, TIMES, World
from unittest.mock import patch

import numpy as np
from nurec_ros.playback.clock import Due, Schedule
from nurec_ros.playback.effects import Discard, Render, Show, ShowJump, StepDone
from nurec_ros.playback.waiting import StillFrames
import pytest

NOTHING_DUE = Schedule({'wide': np.empty(0, np.int64)})


def test_a_step_shows_the_new_moment_at_once_and_is_done_with_its_frames():
    world = World()
    step = world.step(250)
    shown, announced, render = world.log
    stamps = (BEGIN + 100 * MS, BEGIN + 200 * MS)
    assert shown == Show(BEGIN + 250 * MS, clock=True, pose=True, stamps=stamps, tracks=True)
    due = tuple(Due('wide', t_ns) for t_ns in stamps)
    assert render == Render(due, fail_if_down=True)
    assert announced.state.current_time_us == 1_250_000
    assert 'failed_images' not in step.state.to_json()
    assert '"failed_images": {"a": "b"}' in replace(step.state, failed_images={'a': 'b'}).to_json()
    assert not step.over
    assert world.finish() == [StepDone(step)]
    assert step.failed_images == {}


def test_the_frames_of_a_step_are_no_still_frames_besides():
    world = World()
    world.playback.owe_stills()
    world.step(100)
    world.finish()
    world.log.clear()
    world.advance(10)
    world.look()
    assert world.renders() == []


def test_a_step_without_frames_is_done_in_the_same_breath_and_tells_who_came_and_went():
    world = World()
    step = world.step(30)
    assert kinds(world.log) == ['Show', 'Announce', 'StepDone']
    assert step.over
    state = World().step(1200).state
    assert (state.new_track_ids, state.removed_track_ids) == (('second',), ('first',))
    assert state.active_tracks == 2
    # Whoever came since the last look gets its frames.
    world = World()
    world.audiences = {'wide': (0, 0), 'tele': (1, 0)}
    world.step(300)
    assert frames(world.renders()[-1]) == [('tele', 1250)]


def test_steps_are_served_one_after_another():
    world = World()
    first, second = world.step(100), world.step(100)
    assert world.position_ms == 1100
    (render,) = world.renders()
    effects = world.out(render)
    assert effects[0] == StepDone(first)
    assert world.position_ms == 1200
    world.out(world.renders()[-1])
    assert second.over
    # Leaving ends those that are under way.
    world = World()
    moving, waiting = world.step(100), world.step(100)
    effects = world.playback.leave('~/load')
    assert effects == [StepDone(moving), StepDone(waiting), Discard()]
    assert moving.overtaken_by == waiting.overtaken_by == '~/load'


def test_a_step_waits_for_a_jump_back_and_not_for_a_jump_forward():
    world = World()
    world.seek(2500)
    assert world.step(30).over
    clocks = [e.t_ns for e in world.log if isinstance(e, Show) and e.clock]
    assert clocks == [2500 * MS, 2530 * MS]
    world.seek(1500)
    step = world.step(30)
    assert not step.over
    assert world.position_ms == 1500
    world.advance(49)
    assert world.position_ms == 1500
    assert kinds(world.advance(1))[:2] == ['ShowJump', 'Show']
    assert step.over
    assert world.position_ms == 1530


def test_a_step_says_how_many_frames_it_lost_and_why_the_last_one():
    world = World(always_render=True)
    step = world.step(350)
    world.playback.frame_lost(Due('wide', BEGIN + 100 * MS), 'too dark')
    world.playback.frame_lost(Due('wide', BEGIN + 300 * MS), 'too late')
    # Of an earlier step, or of another camera.
    world.playback.frame_lost(Due('wide', BEGIN), 'of nobody')
    world.playback.frame_lost(Due('tele', BEGIN + 100 * MS), 'of nobody')
    world.finish()
    assert step.failed_images == {'wide': '2 of 3 lost: too late'}
    world.step(10)
    world.playback.frame_lost(Due('wide', BEGIN + 200 * MS), 'after its end')
    assert step.failed_images == {'wide': '2 of 3 lost: too late'}


@pytest.mark.parametrize(
    ('by', 'what'),
    [
        (lambda world: world.seek(2500), '~/seek'),
        (lambda world: world.seek(500), '~/seek'),
        (lambda world: world.reset(), '~/reset'),
        (lambda world: world.play(), ''),
        (lambda world: world.stop(), ''),
    ],
    ids=['seek forward', 'seek back', 'reset', 'play', 'stop'],
)
def test_who_moves_the_clock_elsewhere_overtakes_a_step(by, what):
    world = World()
    step = world.step(250)
    by(world)
    assert (StepDone(step) in world.log) is step.over is bool(what)
    if what:
        assert step.overtaken_by == what
        # What comes later is nobody's.
        assert world.finish() == []
    # A play at the end moves it back to the beginning.
    world = World(at_ms=2700)
    step = world.step(300)
    world.play()
    assert step.overtaken_by == '~/play'


def test_a_step_asks_for_its_frames_once_whatever_is_shown_meanwhile():
    world = World()
    step = world.step(250)
    (render,) = world.renders()
    world.play()
    world.stop()
    assert Show(BEGIN + 250 * MS, clock=True, pose=True, tracks=True) in world.advance(100)
    assert [one for one in world.renders() if one.fail_if_down] == [render]
    world.out(render)
    assert step.over


def test_a_step_that_fails_ends_with_its_error_and_keeps_nothing_else_from_being_shown():
    world = World(at_ms=1500)
    world.playback.posed()
    world.reset()
    course = world.playback.course
    error = ValueError('unforeseen')
    # The jump back is not shown yet, so that it begins with a timer.
    with patch.object(course, 'step', side_effect=error):
        failed = world.step(100)
        world.advance(10)
        assert not failed.over
        world.log.clear()
        world.advance(100)
    assert (failed.over, failed.error) == (True, error)
    assert StepDone(failed) in world.log
    assert ShowJump(BEGIN) in world.log
    done = world.step(100)
    world.finish()
    assert (done.over, done.error, world.position_ms) == (True, None, 1100)


def test_a_step_is_clamped_at_the_end_and_with_loop_the_next_one_starts_over():
    world = World(loop=True, at_ms=2950)
    step = world.step(100)
    assert world.position_ms == 3000
    assert step.state.done
    world.finish()
    world.log.clear()
    step = world.step(100)
    assert world.position_ms == 1100
    assert not step.over
    # Its frames are asked for when the jump has been shown.
    assert world.renders() == []
    world.advance(60)
    assert frames(world.renders()[0]) == [('wide', 1000), ('wide', 1100)]
    poses = [effect for effect in world.log if isinstance(effect, Show) and effect.stamps]
    assert poses[0] == Show(BEGIN + 100 * MS, pose=True, stamps=(BEGIN, BEGIN + 100 * MS))
    world.finish()
    assert step.over
    # The next lap of a playing clock overtakes one.
    world = World(loop=True, at_ms=2700)
    world.play()
    step = world.step(100)
    world.advance(400)
    assert step.overtaken_by == 'the start of the next lap'


def test_play_next_refuses_and_moves_nothing():
    playing, ended, without = World(), World(at_ms=3000), World()
    playing.play()
    without.playback.course.schedule = NOTHING_DUE
    for world, reason in (
        (playing, 'the clock runs; halt it first, with ~/pause or ~/stop'),
        (ended, 'the position is the end; go back with ~/seek or ~/reset'),
        (without, 'no camera or lidar has a frame between the position and the end'),
    ):
        before = world.position_ms
        step = world.step(None)
        assert StepDone(step) in world.log
        assert (step.refusal, world.position_ms) == (reason, before)


def test_play_next_goes_to_the_next_frame_of_any_camera():
    world = World()
    for expected in (1100, 1200, 1250, 1300):
        world.step(None)
        world.finish()
        assert world.position_ms == expected
    # Lidars count as cameras do.
    spins = np.array([1310, 1330]) * MS
    world.playback.course.schedule = Schedule({**TIMES, 'top': spins}, lidars=['top'])
    for expected in (1310, 1330, 1400):
        world.step(None)
        world.finish()
        assert world.position_ms == expected


# Still frames: the bookkeeping.

BOTH = ('a', 'b')


def test_what_is_owed_is_asked_for_once_for_those_who_are_subscribed():
    stills = StillFrames()
    stills.owe(BOTH)
    assert stills.begin(('b',)) == ('b',)
    stills.end(('b',))
    # Who comes later gets it later.
    assert stills.begin(BOTH) == ('a',)
    stills.end(('a',))
    assert stills.begin(BOTH) == ()
    # Who comes during a render gets one of their own.
    stills.count({'a': (1,)})
    assert stills.begin(BOTH) == ('a',)
    stills.count({'a': (2,)})
    assert stills.begin(BOTH) == ()
    stills.owe(('b',))
    assert stills.begin(BOTH) == ('b',)
    stills.end(('a',))
    assert stills.begin(BOTH) == ('a',)


def test_each_growth_of_the_audience_owes_a_frame():
    for counts, expected in (
        ([(1,), (1,)], 1),
        ([(1,), (2,)], 2),
        ([(2,), (1,), (2,)], 2),
        ([(0,), (3,)], 1),
        ([(1,), (0,), (1,)], 2),
        # From one topic to another: new there.
        ([(1, 0), (0, 1)], 2),
        # A camera that got a topic more.
        ([(1,), (1, 1)], 2),
    ):
        stills, asked = StillFrames(), 0
        for numbers in counts:
            stills.count({'a': numbers})
            cameras = stills.begin(('a',) if any(numbers) else ())
            asked += len(cameras)
            stills.end(cameras)
        assert asked == expected


# Still frames: what a playback makes of them.


def test_what_is_rendered_for_nobody_gets_a_still_frame_too():
    world = World(shown=False, always_render=True)
    world.audiences = {'wide': (0, 0), 'tele': (0, 0)}
    world.advance()
    (render,) = world.renders()
    assert sorted(frames(render)) == [('tele', 1000), ('wide', 1000)]


@pytest.mark.parametrize('at_ms', [None, 2345], ids=['forward', 'back'])
def test_after_a_jump_while_halted_a_frame_of_the_position_is_owed(at_ms):
    world = World(at_ms=at_ms)
    world.seek(1234)
    world.advance(60)
    assert frames(world.renders()[-1]) == [('wide', 1234)]
    assert world.renders()[-1].when_out is not None


def test_a_dragged_slider_piles_up_no_renders_and_ends_with_the_last_position():
    world = World()
    for t_ms in (1100, 1200, 1300, 1400):
        world.seek(t_ms)
        world.advance(10)
    (only,) = world.renders()
    assert frames(only) == [('wide', 1100)]
    world.out(only)
    world.look()
    assert frames(world.renders()[-1]) == [('wide', 1400)]


def test_a_new_subscriber_of_a_halted_camera_gets_a_frame_and_its_transform():
    world = World()
    world.audiences = {'wide': (1, 0), 'tele': (0, 1)}
    shown, render = world.look()
    assert shown == Show(BEGIN, pose=True)
    assert frames(render) == [('tele', 1000)]
    world.audiences = {'wide': (0, 1), 'tele': (0, 1)}
    assert frames(world.look()[-1]) == [('wide', 1000)]
    world.audiences = {'wide': (0, 0), 'tele': (0, 1)}
    assert world.look() == []


def test_what_is_rendered_otherwise_is_owed_again_only_while_halted():
    world = World()
    world.playback.owe_stills()
    assert frames(world.look()[-1]) == [('wide', 1000)]
    world.finish()
    # What is still owed when the clock starts to run is forgotten.
    world.playback.owe_stills()
    world.play()
    world.playback.owe_stills()
    world.advance(10)
    world.stop()
    world.advance(10)
    assert len(world.renders()) == 1
