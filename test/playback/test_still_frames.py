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
"""Which cameras owe a still frame: the bookkeeping, and what a playback makes of it."""

from test.playback.world import BEGIN, frames, World

from nurec_ros.playback.effects import (
    Show,
)
from nurec_ros.playback.waiting import StillFrames
import pytest

BOTH = ('a', 'b')


@pytest.fixture
def stills():
    return StillFrames()


def test_nothing_is_owed_at_first(stills):
    assert stills.begin(BOTH) == ()


def test_what_is_owed_is_asked_for_once_for_those_who_are_subscribed(stills):
    stills.owe(BOTH)
    assert stills.begin(('b',)) == ('b',)
    stills.end(('b',))
    # Who comes later gets it later.
    assert stills.begin(BOTH) == ('a',)
    stills.end(('a',))
    assert stills.begin(BOTH) == ()


def test_one_at_a_time_for_a_camera_and_the_last_position_in_any_case(stills):
    stills.owe(('a',))
    assert stills.begin(BOTH) == ('a',)
    for _ in range(10):
        stills.owe(('a',))
        assert stills.begin(BOTH) == ()
    stills.owe(('b',))
    assert stills.begin(BOTH) == ('b',)
    stills.end(('a',))
    assert stills.begin(BOTH) == ('a',)
    stills.end(BOTH)
    assert stills.begin(BOTH) == ()


def test_where_frames_come_by_themselves_nothing_is_owed(stills):
    stills.owe(BOTH)
    stills.forget(['a'])
    assert stills.begin(BOTH) == ('b',)


@pytest.mark.parametrize(
    ('counts', 'expected'),
    [
        ([(1,)], 1),
        ([(1,), (1,)], 1),
        ([(1,), (2,)], 2),
        ([(2,), (1,)], 1),
        ([(2,), (1,), (2,)], 2),
        ([(0,), (3,)], 1),
        ([(1,), (0,), (1,)], 2),
        # From one topic to another: new there.
        ([(1, 0), (0, 1)], 2),
        # A camera that got a topic more.
        ([(1,), (1, 1)], 2),
    ],
)
def test_each_growth_of_the_audience_owes_a_frame(stills, counts, expected):
    asked = 0
    for numbers in counts:
        stills.count({'a': numbers})
        cameras = stills.begin(('a',) if any(numbers) else ())
        asked += len(cameras)
        stills.end(cameras)
    assert asked == expected


def test_who_comes_during_a_render_gets_one_of_their_own(stills):
    stills.count({'a': (1,)})
    assert stills.begin(('a',)) == ('a',)
    stills.count({'a': (2,)})
    assert stills.begin(('a',)) == ()
    stills.end(('a',))
    assert stills.begin(('a',)) == ('a',)


# At play.


def test_what_is_rendered_for_nobody_gets_a_still_frame_too():
    world = World(shown=False, always_render=True)
    world.audiences = {'wide': (0, 0), 'tele': (0, 0)}
    world.advance()
    (render,) = world.renders()
    assert sorted(frames(render)) == [('tele', 1000), ('wide', 1000)]


@pytest.mark.parametrize(
    ('jump', 'position_ms'),
    [
        (lambda world: world.seek(2345), 2345),
        (lambda w: (w.seek(2345), w.advance(9), w.seek(1234), w.finish()), 1234),
    ],
    ids=['forward', 'back'],
)
def test_after_a_jump_while_halted_a_frame_of_the_position_is_owed(jump, position_ms):
    world = World()
    jump(world)
    world.advance(60)
    assert frames(world.renders()[-1]) == [('wide', position_ms)]
    assert world.renders()[-1].keep


def test_a_dragged_slider_piles_up_no_renders_and_ends_with_the_last_position():
    world = World()
    for t_ms in (1100, 1200, 1300, 1400):
        world.seek(t_ms)
        world.advance(10)
    (only,) = world.renders()
    assert frames(only) == [('wide', 1100)]
    world.do(world.playback.frames_done, only.ticket)
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
