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
"""A driven ego at play: the clock tells it what passes, waits for inputs, and stops for it."""

import json
import math
from test.driving.drives import SECOND, straight, T0
from test.playback.test_playback import MS, states, World
from test.support.archives import track, tracks_document

import numpy as np
from nurec_ros.driving import AckermannCommand, DrivenEgo, InputError, TimedPose, TwistCommand
from nurec_ros.driving.watch import EgoWatch
from nurec_ros.playback.effects import Render, Show, StepDone
from nurec_ros.scenario.rig import Box
from nurec_ros.scenario.schema.sequence_tracks import no_tracks, parse_tracks
from nurec_ros.settings import Settings
import pytest

END = T0 + 2 * SECOND
BOX = Box(np.array((1.4, 0.0, 0.8)), np.array((4.6, 1.9, 1.6)))


def standing_at(x, y):
    """Return the tracks of one car that stands there all the time."""
    times = [T0 // 1000, END // 1000]
    poses = [[x, y, 0.8, 0.0, 0.0, 0.0, 1.0]] * 2
    car = track('car', 'automobile', poses, times, dims=(4.0, 2.0, 1.6))
    return parse_tracks(tracks_document([car]), lambda text: None)


# Its tail is at 10 m; the ego's nose 3.7 m ahead of its rear axle.
IN_THE_WAY = standing_at(12.0, 0.5)


def pose(ms, x, y=0.0):
    """Return an input of where the ego is, so long after begin."""
    return TimedPose(T0 + ms * MS, (x, y, 0.0), (0.0, 0.0, 0.0, 1.0))


def twist(ms, speed, turn=0.0):
    return TwistCommand(T0 + ms * MS, speed, turn)


class Drive(World):
    """A playback with a driven ego, for whose camera somebody subscribes, or nobody."""

    def __init__(self, source='twist', *, tracks=None, wait_s=0, watch=None, listens=True, **more):
        recorded = straight(speed=10.0, seconds=2.0)
        self.ego = DrivenEgo(recorded, T0, source=source, command_timeout_ns=0)
        more.setdefault('quiet_ns', 0)
        super().__init__(
            shown=False,
            begin=T0,
            end=END,
            times={'wide': T0 + 100 * MS * np.arange(21)},
            active_ids=lambda t_ns: (),
            ego=EgoWatch(self.ego, tracks or no_tracks(), BOX, Settings(**(watch or {}))),
            **more,
        )
        self.audiences = {'wide': (int(listens), 0)}
        self.playback.ego_wait_ns = round(wait_s * SECOND)
        self.start()

    def put(self, item):
        return self.logged(self.playback.put(item)[0])

    def play_for(self, count, ms):
        self.play()
        for _ in range(count):
            self.advance(ms)

    @property
    def position_ms(self):
        return (self.playback.position_ns - T0) / MS

    def x(self, t_ns=None):
        return self.ego.pose(self.playback.position_ns if t_ns is None else t_ns).position[0]

    def rendered(self):
        """Look, and return when the frames are that are asked for at once."""
        return [
            (frame.t_ns - T0) / MS
            for one in self.look()
            if isinstance(one, Render)
            for frame in one.frames
        ]


def answer(step):
    return json.loads(step.state.to_json())


def shows_a_pose(effects):
    return any(isinstance(one, Show) and one.pose for one in effects)


def test_steps_drive():
    world = Drive()
    world.put(twist(0, 4.0))
    step = world.step(100)
    world.finish()
    assert step.over
    assert world.x() == pytest.approx(0.4)
    found = answer(step)
    assert found['ego_source'] == 'twist'
    assert found['ego_speed'] == 4.0
    assert found['ego_input_stamp_us'] == T0 // 1000
    assert found['deviation_m'] == found['deviation_deg'] == 0.0
    assert (found['collisions'], found['stopped_by']) == ([], '')


def test_the_recorded_ego_adds_nothing_to_the_state_and_is_waited_for_by_nobody():
    world = Drive('recorded', wait_s=10.0, listens=False)
    step = world.step(100)
    assert step.over
    assert not {key for key in answer(step) if key.startswith(('ego', 'dev', 'coll', 'stop'))}
    assert set(step.state.values()) == set(answer(step))
    assert world.x() == pytest.approx(1.0)


def test_playing_drives_and_a_lap_begins_on_the_recording():
    world = Drive(loop=True)
    world.play()
    world.put(TwistCommand(0, 4.0, 0.0))
    for _ in range(150):
        world.advance(10)
    assert world.x() == pytest.approx(6.0)
    while world.position_ms > 1000:
        world.advance(10)
    assert world.ego.newest_ns is None
    assert world.x(T0) == 0.0


@pytest.mark.parametrize(
    ('jump', 'want'),
    [
        (lambda world: world.reset(), 0.0),
        (lambda world: world.playback.seek(T0 + 700 * MS), 7.0),
        (lambda world: world.play(), 0.0),
        # With loop; it goes on as fast as the recording is at the start.
        (lambda world: world.step(100), 1.0),
    ],
    ids=['reset', 'seek', 'play at the end', 'a step from the end'],
)
def test_jumps_put_the_ego_on_the_recording(jump, want):
    world = Drive(loop=want == 1.0)
    world.put(twist(0, 0.0, 1.0))
    world.step(2000)
    world.finish()
    jump(world)
    position = world.ego.pose(world.playback.position_ns).position
    np.testing.assert_allclose(position, (want, 0.0, 0.0), atol=1e-9)
    assert world.ego.newest_ns is None


def test_a_pose_of_the_halted_moment_is_shown_and_its_picture_is_owed():
    world = Drive('pose')
    given = TimedPose(0, (5.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    assert shows_a_pose(world.put(given))
    assert world.rendered() == [0]
    world.finish()
    # The same again changes nothing, and one for later shows nothing yet.
    assert world.put(given) == []
    assert world.put(pose(1000, 9.0, 1.0)) == []
    assert world.rendered() == []
    # While a step is under way its moment stays.
    world = Drive('pose')
    world.put(pose(100, 1.0))
    step = world.step(100)
    assert not step.over
    assert world.put(pose(100, 50.0)) == []
    assert world.x() == 1.0


def test_a_change_of_the_source_is_announced_and_shown():
    world = Drive()
    world.put(twist(0, 0.0))
    world.step(500)
    world.finish()
    effects, jumped_m = world.playback.change_ego_source('recorded')
    assert jumped_m == pytest.approx(5.0)
    assert shows_a_pose(effects)
    assert states(effects)[-1].ego is None
    assert world.rendered() == [500]
    # What it shows counts as a transform.
    world = Drive(quiet_ns=50 * MS)
    world.step(500)
    world.finish()
    world.wall_ns += SECOND
    world.playback.change_ego_source('recorded')
    world.playback.seek(T0)
    world.advance(49)
    assert not world.playback.settled
    world.advance(1)
    assert world.playback.settled


# Waiting for inputs.


def test_a_step_waits_for_its_input():
    world = Drive(wait_s=1.0, listens=False)
    step = world.step(100)
    world.advance(500)
    assert not step.over
    assert world.position_ms == 0
    # One of the past is none.
    world.put(TwistCommand(T0 - 1000, 3.0, 0.0))
    assert not step.over
    effects = world.put(twist(0, 3.0))
    assert (step.over, step.refusal) == (True, '')
    assert [one for one in effects if isinstance(one, StepDone)]
    assert world.x() == pytest.approx(0.3)
    # And the next one for the next, which may be that to the next frame.
    step = world.step(None)
    world.advance(500)
    assert not step.over
    assert world.position_ms == 100
    world.put(twist(100, 3.0))
    assert (step.over, step.refusal, world.position_ms) == (True, '', 200)


@pytest.mark.parametrize(
    ('source', 'where'), [('ackermann', 'the position'), ('pose', 'the end of the movement')]
)
def test_without_an_input_a_step_is_refused_unmoved(source, where):
    world = Drive(source, wait_s=1.0, listens=False)
    steps = [world.step(100), world.step(100)]
    world.advance(999)
    assert not steps[0].over
    world.advance(1)
    assert steps[0].over
    assert steps[0].refusal.startswith('within 1 s there came no input for ego_source ')
    assert where in steps[0].refusal
    assert world.position_ms == 0
    # The next one waits for its own time.
    assert not steps[1].over
    world.advance(1000)
    assert steps[1].refusal
    assert world.position_ms == 0


def test_a_refusal_says_why_the_input_was_dropped():
    world = Drive(wait_s=1.0, listens=False)

    def refusal():
        step = world.step(100)
        world.advance(1000)
        return step.refusal

    with pytest.raises(InputError) as unusable:
        TwistCommand.checked(T0, math.nan, 0.0)
    with pytest.raises(InputError, match=r'linear\.x is nan'):
        world.put(unusable.value)
    dropped = '; the last that came was dropped: linear.x is nan, expected a finite number'
    assert refusal().endswith('the newest is none' + dropped)
    # One of another source likewise.
    with pytest.raises(InputError, match='while ego_source'):
        world.put(AckermannCommand(T0, 1.0, 0.0))
    assert "dropped: a command of ackermann came while ego_source is 'twist'" in refusal()
    # Once one is taken, those before it are no reason any more.
    world.put(twist(0, 1.0))
    assert world.step(100).state is not None
    assert refusal().endswith(f'the newest is {T0 // 1000} us')


def test_poses_are_waited_for_up_to_the_end_of_the_movement():
    world = Drive('pose', wait_s=1.0, listens=False)
    step = world.step(100)
    world.put(pose(99, 1.0))
    assert not step.over
    world.put(pose(100, 2.0))
    assert step.over
    assert world.x() == 2.0
    # To the next frame it is 100 ms.
    step = world.step(None)
    world.put(pose(200, 3.0))
    assert step.over
    # The last movement ends where the scenario does.
    world.put(pose(2000, 4.0))
    assert world.step(5000).over
    assert world.step(100).over
    assert world.x() == 4.0


def test_lockstep_does_not_pass_the_newest_pose():
    world = Drive('pose', lockstep=True, listens=False)
    world.play_for(1, 100)
    assert world.position_ms == 0
    world.put(pose(50, 1.0))
    world.advance(30)
    assert world.position_ms == 30
    world.advance(300)
    assert world.position_ms == 50
    # In real time it does, and with commands it has nothing to wait for.
    for world in (Drive('pose', listens=False), Drive(lockstep=True, listens=False)):
        world.play_for(1, 100)
        assert world.position_ms == 100


# Collisions and deviation.


def test_a_collision_is_in_the_state_and_in_the_answer_of_the_step():
    world = Drive(tracks=IN_THE_WAY, listens=False)
    world.put(twist(0, 10.0))
    assert answer(world.step(600))['collisions'] == []
    # Through it and beyond it within one step: met on the way.
    world.put(twist(600, 60.0))
    step = world.step(400)
    assert answer(step)['collisions'] == ['car']
    assert world.playback.state().ego.collisions == ()


@pytest.mark.parametrize('how', ['step', 'play'])
def test_stop_halts_at_the_collision_and_lets_go_on(how):
    world = Drive(tracks=IN_THE_WAY, watch={'on_collision': 'stop'}, listens=False)
    world.put(twist(0, 10.0))
    if how == 'step':
        found = answer(world.step(1500))
    else:
        world.play_for(90, 17)
        found = json.loads(world.playback.state().to_json())
    # 6.3 m are there at 0.63 s; T0 lies 20 ms after a moment that is watched.
    assert found['current_time_us'] == T0 // 1000 + 680_000
    assert (found['stopped_by'], found['collisions']) == ('a collision with car', ['car'])
    assert not found['is_playing']
    assert world.x() == pytest.approx(6.8)
    # Who stands in a collision may drive on, and who does is not stopped any more.
    if how == 'step':
        found = answer(world.step(200))
        assert found['current_time_us'] == T0 // 1000 + 880_000
        assert found['stopped_by'] == ''
    else:
        (state,) = states(world.play())
        assert (state.is_playing, state.ego.stopped_by) == (True, '')


def test_what_lies_beyond_a_stop_is_not_rendered():
    world = Drive(tracks=IN_THE_WAY, watch={'on_collision': 'stop'})
    world.put(twist(0, 10.0))
    world.play_for(1, 1500)
    world.look()
    assert world.position_ms == 680
    rendered = [frame.t_ns for one in world.renders() for frame in one.frames]
    assert max(rendered) == T0 + 680 * MS
    assert [state.is_playing for state in states(world.log)] == [True, False]
    # The next step counts from there.
    assert answer(world.step(100))['current_time_us'] == T0 // 1000 + 780_000


def test_stop_halts_beyond_the_deviation_and_without_a_box_nothing_collides():
    watch = {'on_deviation': 'stop', 'max_deviation_m': 1.0}
    world = Drive('ackermann', watch=watch, listens=False)
    world.put(AckermannCommand(T0, 10.0, 0.3))
    found = answer(world.step(2000))
    assert found['stopped_by'].startswith('a deviation of 1.')
    assert 1.0 < found['deviation_m'] < 1.4
    assert found['current_time_us'] % 50_000 == 0
    ego, car = DrivenEgo(straight(), T0, source='twist'), standing_at(0.0, 0.0)
    assert EgoWatch(ego, car, None, Settings()).collisions(T0) == ()
    assert EgoWatch(ego, car, BOX, Settings()).collisions(T0) == ('car',)
