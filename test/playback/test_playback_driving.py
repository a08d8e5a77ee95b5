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
from test.playback.world import MS, World

import numpy as np
from nurec_ros.driving import AckermannCommand, DrivenEgo, InputError, TimedPose, TwistCommand
from nurec_ros.driving.watch import EgoWatch
from nurec_ros.playback.effects import Announce, Render, Show, StepDone
from nurec_ros.scenario.rig import Box
from nurec_ros.scenario.schema.sequence_tracks import no_tracks, parse_tracks
import pytest

END = T0 + 2 * SECOND
BOX = Box(np.array((1.4, 0.0, 0.8)), np.array((4.6, 1.9, 1.6)))
UNIT = (0.0, 0.0, 0.0, 1.0)


def standing_at(x, y):
    """Return the tracks of one car that stands there all the time."""
    pose = [x, y, 0.8, 0.0, 0.0, 0.0, 1.0]
    return parse_tracks(
        {
            'dummy_chunk_id': {
                'tracks_data': {
                    'tracks_id': ['car'],
                    'tracks_label_class': ['automobile'],
                    'tracks_flags': ['DYNAMIC'],
                    'tracks_timestamps_us': [[T0 // 1000, END // 1000]],
                    'tracks_poses': [[pose, pose]],
                },
                'cuboidtracks_data': {'cuboids_dims': [[4.0, 2.0, 1.6]]},
            }
        },
        lambda text: None,
    )


class Drive(World):
    """A playback with a driven ego, for whose camera somebody subscribes, or nobody."""

    def __init__(
        self,
        source='twist',
        tracks=None,
        wait_s=0.0,
        timeout_s=0.0,
        watch=(),
        listens=True,
        quiet_ns=0,
        **more,
    ):
        recorded = straight(speed=10.0, seconds=2.0)
        self.ego = DrivenEgo(
            recorded, T0, source=source, command_timeout_ns=round(timeout_s * SECOND)
        )
        self.watch = EgoWatch(self.ego, tracks or no_tracks(), BOX, **dict(watch))
        super().__init__(
            shown=False,
            begin=T0,
            end=END,
            times={'wide': T0 + 100 * MS * np.arange(21)},
            active_ids=lambda t_ns: (),
            ego=self.watch,
            quiet_ns=quiet_ns,
            **more,
        )
        self.audiences = {'wide': (int(listens), 0)}
        self.playback.ego_wait_ns = round(wait_s * SECOND)
        self.start()

    def put(self, item):
        effects, _, _ = self.playback.put(self.wall_ns, item)
        self.log += effects
        return effects

    def step(self, ms=100):
        return super().step(ms)

    def x(self, t_ns=None):
        return self.ego.pose(self.playback.position_ns if t_ns is None else t_ns).position[0]


def answer(step):
    return json.loads(step.state.to_json())


def test_steps_drive():
    world = Drive()
    world.put(TwistCommand(T0, 4.0, 0.0))
    step = world.step(100)
    world.finish()
    assert step.over
    assert world.x() == pytest.approx(0.4)
    found = answer(step)
    assert found['ego_source'] == 'twist'
    assert found['ego_speed'] == 4.0
    assert found['ego_input_stamp_us'] == T0 // 1000
    assert found['deviation_m'] == found['deviation_deg'] == 0.0
    assert found['collisions'] == []
    assert found['stopped_by'] == ''


def test_the_recorded_ego_adds_nothing_to_the_state():
    world = Drive(source='recorded')
    step = world.step(100)
    assert not {key for key in answer(step) if key.startswith(('ego', 'dev', 'coll', 'stop'))}
    assert set(step.state.values()) == set(answer(step))
    assert world.x() == pytest.approx(1.0)


def test_playing_drives_and_a_lap_begins_on_the_recording():
    world = Drive(loop=True)
    world.do(world.playback.play)
    world.put(TwistCommand(0, 4.0, 0.0))
    for _ in range(150):
        world.advance(10)
    assert world.x() == pytest.approx(6.0)
    while world.playback.position_ns > T0 + SECOND:
        world.advance(10)
    assert world.ego.newest_ns is None
    assert world.x(T0) == 0.0


@pytest.mark.parametrize('how', ['reset', 'seek', 'play at the end', 'a step from the end'])
def test_jumps_put_the_ego_on_the_recording(how):
    world = Drive()
    world.put(TwistCommand(T0, 0.0, 1.0))
    world.step(2000)
    world.finish()
    playback = world.playback
    if how == 'reset':
        world.reset()
        want = 0.0
    elif how == 'seek':
        world.do(playback.seek, T0 + 700 * MS)
        want = 7.0
    elif how == 'play at the end':
        world.do(playback.play)
        want = 0.0
    else:
        playback.course.loop = True
        world.step(100)
        # It goes on as fast as the recording is at the start.
        want = 1.0
    np.testing.assert_allclose(
        world.ego.pose(playback.position_ns).position, (want, 0.0, 0.0), atol=1e-9
    )
    assert world.ego.newest_ns is None


def test_a_pose_of_the_halted_moment_is_shown_and_its_picture_is_owed():
    world = Drive('pose')
    effects = world.put(TimedPose(0, (5.0, 1.0, 0.0), UNIT))
    assert [one for one in effects if isinstance(one, Show) and one.pose]
    looked = world.do(world.playback.look)
    assert [one.frames[0].t_ns for one in looked if isinstance(one, Render)] == [T0]
    world.finish()
    # The same again changes nothing, and one for later shows nothing yet.
    assert world.put(TimedPose(0, (5.0, 1.0, 0.0), UNIT)) == []
    assert world.put(TimedPose(T0 + SECOND, (9.0, 1.0, 0.0), UNIT)) == []
    assert not [one for one in world.playback.look(world.wall_ns) if isinstance(one, Render)]


def test_while_a_step_is_under_way_its_moment_stays():
    world = Drive('pose')
    world.put(TimedPose(T0 + 100 * MS, (1.0, 0.0, 0.0), UNIT))
    step = world.step(100)
    assert not step.over
    assert world.put(TimedPose(T0 + 100 * MS, (50.0, 0.0, 0.0), UNIT)) == []
    assert world.x() == 1.0


def test_a_change_of_the_source_is_announced_and_shown():
    world = Drive()
    world.put(TwistCommand(T0, 0.0, 0.0))
    world.step(500)
    world.finish()
    effects, jumped_m = world.playback.change_ego_source(world.wall_ns, 'recorded')
    assert jumped_m == pytest.approx(5.0)
    assert [one for one in effects if isinstance(one, Show) and one.pose]
    states = [one.state for one in effects if isinstance(one, Announce)]
    assert states[-1].ego is None
    assert [one for one in world.playback.look(world.wall_ns) if isinstance(one, Render)]


def test_what_a_change_of_the_source_shows_counts_as_a_transform():
    world = Drive(quiet_ns=50 * MS)
    world.step(500)
    world.finish()
    world.wall_ns += SECOND
    world.do(lambda now_ns: world.playback.change_ego_source(now_ns, 'recorded')[0])
    world.do(world.playback.seek, T0)
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
    assert world.playback.position_ns == T0
    # One of the past is none.
    world.put(TwistCommand(T0 - 1000, 3.0, 0.0))
    assert not step.over
    effects = world.put(TwistCommand(T0, 3.0, 0.0))
    assert step.over
    assert not step.refusal
    assert [one for one in effects if isinstance(one, StepDone)]
    assert world.x() == pytest.approx(0.3)
    # And the next one for the next.
    step = world.step(100)
    assert not step.over
    world.put(TwistCommand(T0 + 100 * MS, 3.0, 0.0))
    assert step.over


def test_the_way_to_the_next_frame_waits_for_its_input_too():
    world = Drive(wait_s=1.0)
    step = world.step(None)
    world.advance(500)
    assert not step.over
    assert world.playback.position_ns == T0
    world.put(TwistCommand(T0, 3.0, 0.0))
    assert world.playback.position_ns == T0 + 100 * MS
    assert not step.refusal


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
    assert world.playback.position_ns == T0
    # The next one waits for its own time.
    assert not steps[1].over
    world.advance(1000)
    assert steps[1].refusal
    assert world.playback.position_ns == T0


def test_a_refusal_says_why_the_input_was_dropped():
    world = Drive('twist', wait_s=1.0, listens=False)
    dropped = '; the last that came was dropped: linear.x is nan, expected a finite number'
    with pytest.raises(InputError) as unusable:
        TwistCommand.checked(T0, math.nan, 0.0)
    with pytest.raises(InputError, match=r'linear\.x is nan'):
        world.put(unusable.value)
    first = world.step(100)
    world.advance(1000)
    assert first.refusal.endswith('the newest is none' + dropped)
    # One of another source likewise.
    with pytest.raises(InputError, match='while ego_source'):
        world.put(AckermannCommand(T0, 1.0, 0.0))
    second = world.step(100)
    world.advance(1000)
    assert "dropped: a command of ackermann came while ego_source is 'twist'" in second.refusal
    # Once one is taken, those before it are no reason any more.
    world.put(TwistCommand(T0, 1.0, 0.0))
    assert world.step(100).state is not None
    third = world.step(100)
    world.advance(1000)
    assert third.refusal.endswith(f'the newest is {T0 // 1000} us')


def test_poses_are_waited_for_up_to_the_end_of_the_movement():
    world = Drive('pose', wait_s=1.0, listens=False)
    step = world.step(100)
    world.put(TimedPose(T0 + 99 * MS, (1.0, 0.0, 0.0), UNIT))
    assert not step.over
    world.put(TimedPose(T0 + 100 * MS, (2.0, 0.0, 0.0), UNIT))
    assert step.over
    assert world.x() == 2.0
    # To the next frame it is 100 ms.
    step = world.step(None)
    world.put(TimedPose(T0 + 200 * MS, (3.0, 0.0, 0.0), UNIT))
    assert step.over
    # The last movement ends where the scenario does.
    world.put(TimedPose(END, (4.0, 0.0, 0.0), UNIT))
    assert world.step(5000).over
    assert world.step(100).over
    assert world.x() == 4.0


def test_the_recorded_ego_is_waited_for_by_nobody():
    world = Drive('recorded', wait_s=10.0, listens=False)
    assert world.step(100).over


def test_lockstep_does_not_pass_the_newest_pose():
    world = Drive('pose', lockstep=True, listens=False)
    world.do(world.playback.play)
    world.advance(100)
    assert world.playback.position_ns == T0
    world.put(TimedPose(T0 + 50 * MS, (1.0, 0.0, 0.0), UNIT))
    world.advance(30)
    assert world.playback.position_ns == T0 + 30 * MS
    world.advance(300)
    assert world.playback.position_ns == T0 + 50 * MS
    real_time = Drive('pose', listens=False)
    real_time.do(real_time.playback.play)
    real_time.advance(100)
    assert real_time.playback.position_ns == T0 + 100 * MS


# Collisions and deviation.


def test_a_collision_is_in_the_state_and_in_the_answer_of_the_step():
    # Its tail is at 10 m; the ego's nose 3.7 m ahead of its rear axle.
    world = Drive(tracks=standing_at(12.0, 0.5), listens=False)
    world.put(TwistCommand(T0, 10.0, 0.0))
    assert answer(world.step(600))['collisions'] == []
    # Through it and beyond it within one step: met on the way.
    world.put(TwistCommand(T0 + 600 * MS, 60.0, 0.0))
    step = world.step(400)
    assert answer(step)['collisions'] == ['car']
    assert world.playback.state().ego.collisions == ()


@pytest.mark.parametrize('how', ['step', 'play'])
def test_stop_halts_at_the_collision_and_lets_go_on(how):
    world = Drive(
        tracks=standing_at(12.0, 0.5), watch={'on_collision': 'stop'}.items(), listens=False
    )
    world.put(TwistCommand(T0, 10.0, 0.0))
    if how == 'step':
        found = answer(world.step(1500))
    else:
        world.do(world.playback.play)
        for _ in range(90):
            world.advance(17)
        found = json.loads(world.playback.state().to_json())
    # 6.3 m are there at 0.63 s; T0 lies 20 ms after a moment that is watched.
    assert found['current_time_us'] == T0 // 1000 + 680_000
    assert found['stopped_by'] == 'a collision with car'
    assert found['collisions'] == ['car']
    assert not found['is_playing']
    assert world.x() == pytest.approx(6.8)
    # Who stands in a collision may drive on.
    found = answer(world.step(200))
    assert found['current_time_us'] == T0 // 1000 + 880_000
    assert found['stopped_by'] == ''


def test_whoever_plays_on_is_not_stopped_any_more():
    world = Drive(
        tracks=standing_at(12.0, 0.5), watch={'on_collision': 'stop'}.items(), listens=False
    )
    world.put(TwistCommand(T0, 10.0, 0.0))
    world.do(world.playback.play)
    for _ in range(90):
        world.advance(17)
    assert world.playback.state().ego.stopped_by == 'a collision with car'
    (announced,) = [one for one in world.playback.play(world.wall_ns) if isinstance(one, Announce)]
    assert announced.state.is_playing
    assert announced.state.ego.stopped_by == ''


def test_what_lies_beyond_a_stop_is_not_rendered():
    world = Drive(tracks=standing_at(12.0, 0.5), watch={'on_collision': 'stop'}.items())
    world.put(TwistCommand(T0, 10.0, 0.0))
    world.do(world.playback.play)
    world.log.clear()
    world.advance(1500)
    world.do(world.playback.look)
    stopped_ns = world.playback.position_ns
    assert stopped_ns == T0 + 680 * MS
    rendered = [f.t_ns for one in world.log if isinstance(one, Render) for f in one.frames]
    assert max(rendered) == stopped_ns
    assert not world.playback.is_playing
    # The next step counts from there.
    assert answer(world.step(100))['current_time_us'] == (stopped_ns + 100 * MS) // 1000


def test_stop_halts_beyond_the_deviation():
    world = Drive(
        'ackermann', watch={'on_deviation': 'stop', 'max_deviation_m': 1.0}.items(), listens=False
    )
    world.put(AckermannCommand(T0, 10.0, 0.3))
    found = answer(world.step(2000))
    assert found['stopped_by'].startswith('a deviation of 1.')
    assert 1.0 < found['deviation_m'] < 1.4
    assert found['current_time_us'] % 50_000 == 0


def test_without_a_box_nothing_collides():
    watch = EgoWatch(DrivenEgo(straight(), T0, source='twist'), standing_at(0.0, 0.0), None)
    assert watch.collisions(T0) == ()
    assert EgoWatch(watch.ego, standing_at(0.0, 0.0), BOX).collisions(T0) == ('car',)
