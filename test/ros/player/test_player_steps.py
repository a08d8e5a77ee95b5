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
"""tick and seek: exact moves, answers once all is out, and what is shown while halted."""

from itertools import pairwise
import json
from test.rendering.fake_server import Gate
from test.support.archives import CAMERAS, START_US
from test.support.player_bench import (
    BEGIN_NS,
    END_NS,
    frame_ends,
    FRONT,
    MS,
    NOWHERE,
    serve,
    stamp_ns,
)

from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry, Path
import pytest
from rclpy.qos import QoSProfile
from rosbag2_interfaces.srv import PlayNext
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import Marker, MarkerArray

pytestmark = pytest.mark.contract


@pytest.mark.parametrize(
    ('tick_us', 'rate'), [(1, 1.0), (777, 0.1), (100_000, 7.0), (999_999, 1.0)]
)
def test_a_tick_advances_exactly_whatever_the_rate(bench, tick_us, rate):
    bench.configure(tick_us=tick_us, rate=rate)
    for count in (1, 2):
        assert bench.trigger('tick')['current_time_us'] == START_US + count * tick_us
    bench.stands(BEGIN_NS + 2000 * tick_us)


@pytest.mark.parametrize(('name', 'moved_us'), [('tick', 100_000), ('stop', 0)])
def test_of_a_hundred_calls_at_once_each_is_answered(bench, name, moved_us):
    bench.configure(tick_us=1000)
    # The client's own queues keep ten unless they are told otherwise.
    node, deep = bench.listener.node, QoSProfile(depth=1000)
    client = node.create_client(Trigger, f'/nurec/{name}', qos_profile=deep)
    # Made later and answered: the one before it is known too.
    bench.listener.client(Trigger, '/nurec/stop')
    answers = [client.call_async(Trigger.Request()) for _ in range(100)]
    bench.until(lambda: all(answer.done() for answer in answers), 'the last answer')
    assert all(answer.result().success for answer in answers)
    assert bench.trigger('stop')['current_time_us'] == START_US + moved_us


@pytest.mark.parametrize('step', ['tick', 'play_next'])
def test_every_picture_due_in_a_step_is_out_before_its_answer_and_has_a_transform(bench, step):
    """Of each camera every frame due in (before, after], and no other."""
    transforms = bench.listen(TFMessage, '/tf')
    infos = {name: bench.infos_of(name) for name in CAMERAS}

    def sent():
        return {stamp_ns(one) for message in transforms for one in message.transforms}

    moments = [BEGIN_NS + 100 * MS * k for k in range(1, 6)]
    if step == 'play_next':
        moments = sorted(end for name in CAMERAS for end in frame_ends(name))[:6]
    for before, after in pairwise([BEGIN_NS, *moments]):
        if step == 'tick':
            assert 'failed_images' not in bench.trigger('tick')
        else:
            assert bench.call(PlayNext, 'play_next').success
        assert bench.trigger('stop')['current_time_us'] * 1000 == after
        for name, messages in infos.items():
            due = frame_ends(name, before, after)

            def later(messages=messages, before=before):
                # Another picture of begin may come at any time.
                return [t_ns for t_ns in map(stamp_ns, messages) if t_ns > before]

            # What the answer follows is sent; it may still be on its way to this process.
            bench.until(lambda later=later, due=due: len(later()) >= len(due), 'the frames')
            assert later() == due
            bench.until(lambda due=due: {*due} <= sent(), 'their transforms')


def test_a_tick_says_which_tracks_came_and_went(bench):
    """Track 2@scene:a lives from 0.5 s to 1.5 s, the others all the time but the edges."""
    bench.configure(tick_us=400_000)
    assert '2@scene:a' not in bench.trigger('tick')['new_track_ids']
    assert bench.trigger('tick')['new_track_ids'] == ['2@scene:a']
    assert bench.trigger('tick')['new_track_ids'] == []
    assert bench.trigger('tick')['removed_track_ids'] == ['2@scene:a']


def test_a_tick_is_clamped_at_the_end_and_with_loop_the_next_one_starts_over(bench):
    bench.configure(tick_us=1_500_000)
    assert not bench.trigger('tick')['done']
    for loop in (False, True):
        state = bench.trigger('tick')
        assert (state['done'], state['current_time_us']) == (True, START_US + 2_000_000)
        bench.configure(loop=loop)
    state = bench.trigger('tick')
    assert (state['done'], state['current_time_us']) == (False, START_US + 1_500_000)
    bench.stands(BEGIN_NS + 1500 * MS)


def test_a_tick_while_playing_lets_the_clock_go_on_from_there(bench):
    bench.configure(rate=0.01, tick_us=1_000_000)
    bench.trigger('play')
    state = bench.trigger('tick')
    assert state['is_playing']
    assert 0 <= state['current_time_us'] - START_US - 1_000_000 < 100_000
    bench.passes(state['current_time_us'] * 1000 + 1000)


def test_ticks_are_served_one_after_another(bench):
    for name in CAMERAS:
        bench.infos_of(name)
    calls = [bench.start_call(Trigger, 'tick') for _ in range(6)]
    bench.until(lambda: all(call.done() for call in calls), 'all answers')
    positions = sorted(call.result().message for call in calls)
    assert len(set(positions)) == 6
    assert bench.trigger('stop')['current_time_us'] == START_US + 600_000


def test_a_tick_without_a_server_succeeds_and_says_what_is_missing(bench, load):
    load(server=NOWHERE)
    # With a loop a tick never ends for want of frames, however late the player hears of listeners.
    bench.configure(loop=True)
    bench.until(lambda: 'failed_images' not in bench.trigger('tick'), 'a tick without listeners')
    for name in CAMERAS:
        bench.listen(CameraInfo, f'~/{name}/camera_info')

    def missing():
        state = bench.trigger('tick')
        return state if len(state.get('failed_images', {})) == 2 else None

    failed = bench.until(missing, 'a tick with both cameras')['failed_images']
    assert sorted(failed) == sorted(CAMERAS)
    for reason in failed.values():
        assert reason.startswith(f'1 of 1 lost: cannot reach {NOWHERE}')
        assert 'is the NuRec container running' in reason
    # The answer of play_next has no room for it.
    bench.seek(BEGIN_NS)
    assert bench.call(PlayNext, 'play_next').success
    bench.until(lambda: '1 of 1 lost: cannot reach' in bench.player.output, 'the line of log')
    assert '~/play_next, camera' in bench.player.output
    # Only what a tick answers has it.
    assert 'failed_images' not in bench.state
    assert 'failed_images' not in bench.trigger('stop')


# Steps that wait for their pictures.


@pytest.fixture(scope='module')
def stuck():
    return Gate(is_open=True)


@pytest.fixture(scope='module')
def waiting(start, usdz, stuck):
    """Return a player somebody listens to; it does not give up what is held by itself."""
    with serve(usdz, render=stuck) as server:
        bench = start(usdz_path=usdz, server=server.address, render_timeout_s=600.0).ready()
        bench.infos = [bench.infos_of(name) for name in CAMERAS]
        yield bench


def stand(bench, t_ns):
    """Seek while halted, until the pictures of that moment are there."""
    for infos in bench.infos:
        infos.clear()
    bench.seek(t_ns)
    bench.stands(t_ns)
    bench.until(
        lambda: all(t_ns in map(stamp_ns, infos) for infos in bench.infos), 'the pictures of it'
    )


def test_nothing_else_waits_for_a_tick_that_waits(waiting, stuck):
    """A renderer that is stuck: clock, state, parameters and stop go on; then the tick ends."""
    bench = waiting
    stuck.hold()
    tick = bench.start_call(Trigger, 'tick')
    bench.stands(BEGIN_NS + 100 * MS)
    bench.spin(bench.clocks, 50)
    bench.trigger('stop')
    assert bench.configure(rate=3.0)[0].successful
    bench.trigger('play')
    assert not tick.done()
    stuck.let_all_go()
    bench.until(tick.done, 'the answer of tick')
    assert tick.result().success
    bench.trigger('stop')
    bench.configure(rate=1.0)


@pytest.mark.parametrize(
    ('name', 'by', 'now'),
    [
        ('reset', '~/reset', 0),
        ('load', '~/load', 0),
        ('seek back', '~/seek', 100_000),
        ('seek on', '~/seek', 1_500_000),
    ],
)
@pytest.mark.parametrize('step', ['tick', 'play_next'])
def test_what_is_overtaken_answers_at_once_with_what_is_true_then(
    waiting, stuck, step, name, by, now
):
    bench = waiting
    stuck.let_all_go()
    stand(bench, BEGIN_NS + 500 * MS)
    stuck.hold()
    before = len(bench.player.output)
    call = bench.start_call(*((Trigger, step) if step == 'tick' else (PlayNext, step)))
    bench.passes(BEGIN_NS + 500 * MS + 1)
    assert not call.done()
    if name.startswith('seek'):
        bench.seek(BEGIN_NS + now * 1000)
    else:
        bench.trigger(name)
    # The server still holds what the step waited for.
    bench.until(call.done, 'the answer')
    assert not call.result().success
    words = (
        f"overtaken by {by} before it was done; now 'clipgt-",
        f"' is halted at {now / 1e6:.6f} s ({START_US + now} us)",
    )
    if step == 'tick':
        assert all(word in call.result().message for word in words)
        with pytest.raises(json.JSONDecodeError):
            json.loads(call.result().message)
    bench.until(
        lambda: all(
            word in bench.player.output[before:] for word in (f'~/{step} was overtaken', *words)
        ),
        'the log',
    )
    stuck.let_all_go()
    # The next one is served as ever.
    bench.until(lambda: 'failed_images' not in bench.trigger('tick'), 'the next tick')


def test_the_start_of_the_next_lap_overtakes_too(waiting, stuck):
    bench = waiting
    bench.configure(loop=True)
    stand(bench, BEGIN_NS + 1700 * MS)
    stuck.hold()
    call = bench.start_call(Trigger, 'tick')
    bench.stands(BEGIN_NS + 1800 * MS)
    bench.trigger('play')
    bench.until(call.done, 'the answer')
    stuck.let_all_go()
    assert 'overtaken by the start of the next lap' in call.result().message
    assert 'is playing at' in call.result().message
    bench.configure(loop=False)


# Seeks and laps, and what a halted player shows.


def test_seek_clamps_to_the_range_and_whole_microseconds(bench):
    for asked, got in [
        (0, BEGIN_NS),
        (BEGIN_NS - 1, BEGIN_NS),
        (BEGIN_NS + 1, BEGIN_NS),
        (BEGIN_NS + 1_234_567_890, BEGIN_NS + 1_234_567_000),
        (END_NS, END_NS),
        (END_NS + 1, END_NS),
        (2_000_000_000 * 1_000_000_000, END_NS),
    ]:
        bench.seek(asked)
        assert bench.trigger('stop')['current_time_us'] * 1000 == got
        bench.stands(got)


def test_seek_keeps_playing(bench):
    bench.configure(rate=0.01)
    bench.seek(BEGIN_NS + 1000 * MS)
    bench.trigger('play')
    for target_ns in (BEGIN_NS + 100 * MS, BEGIN_NS + 1500 * MS):
        bench.seek(target_ns)
        state = bench.trigger('play')
        assert state['is_playing']
        # 40 s later at most.
        assert 0 <= state['current_time_us'] * 1000 - target_ns < 400 * MS


def test_loop_can_be_switched_off_while_playing(bench):
    bench.configure(loop=True, rate=4.0)
    bench.trigger('play')
    bench.configure(loop=False)
    bench.until(lambda: bench.state['done'], 'the end')
    assert not bench.state['is_playing']


def test_jumps_in_quick_succession_end_where_the_last_one_led(bench):
    bench.trigger('play')
    for t_ns in (END_NS - MS, BEGIN_NS + MS, BEGIN_NS + 900 * MS, BEGIN_NS + 300 * MS):
        bench.seek(t_ns)
    bench.trigger('stop')
    bench.stands(bench.trigger('tick')['current_time_us'] * 1000)


def test_late_joiners_see_the_moment_repeated_with_unchanged_stamps(bench):
    """Whatever the topic, latched or repeated: it comes without anything being asked for."""
    now = BEGIN_NS + 700 * MS
    bench.seek(now)
    topics = {
        '/tf': (TFMessage, False),
        '/tf_static': (TFMessage, True),
        '~/odom': (Odometry, False),
        '~/path': (Path, True),
        '~/ego': (MarkerArray, True),
        '~/tracks': (MarkerArray, False),
        '~/objects': (Detection3DArray, False),
        '~/state': (DiagnosticStatus, True),
    }
    heard = {
        topic: bench.listen(kind, topic, latched=latched)
        for topic, (kind, latched) in topics.items()
    }
    bench.until(lambda: all(heard.values()), 'one of each')
    bench.until(lambda: bench.reports and stamp_ns(bench.reports[-1]) == now, 'diagnostics')
    tracks = heard['~/tracks']
    shown = {marker.ns for marker in tracks[0].markers if marker.action == Marker.ADD}
    classes = ('automobile', 'person', 'heavy_truck')
    assert shown == {*classes, *(f'{one}/text' for one in classes)}
    repeated = [heard[topic] for topic in ('/tf', '~/odom', '~/tracks', '~/objects')]
    bench.until(lambda: min(map(len, repeated)) >= 5, 'repetitions')
    transforms = [one for message in heard['/tf'] for one in message.transforms]
    markers = [marker for message in tracks for marker in message.markers]
    stamped = [*transforms, *markers, *heard['~/odom'], *heard['~/objects']]
    assert {stamp_ns(one) for one in stamped} == {now}
    assert {marker.action for marker in markers} == {Marker.ADD}


def test_every_new_listener_gets_one_picture_of_the_position_whoever_listens_already(bench):
    now = BEGIN_NS + 456_789_000
    bench.seek(now)
    infos = bench.infos_of(FRONT)
    bench.spin(bench.clocks, 50)
    assert [stamp_ns(info) for info in infos] == [now]
    second = bench.hear(CompressedImage, f'~/{FRONT}/image_raw/compressed')
    third = bench.hear(Image, f'~/{FRONT}/image_raw')
    pictures = (*infos, *second, *third)
    assert {stamp_ns(message) for message in pictures} == {now}
    assert {message.header.frame_id for message in pictures} == {f'{FRONT}_optical_frame'}


def test_many_seeks_in_a_row_give_a_picture_of_the_last(bench):
    """A slider that is dragged does not pile up pictures, and shows where it was let go."""
    infos = bench.infos_of(FRONT)
    before = len(infos)
    positions = [BEGIN_NS + 10 * MS * step for step in range(1, 41)]
    for t_ns in positions:
        bench.seek(t_ns)
    bench.until(lambda: stamp_ns(infos[-1]) == positions[-1], 'the last picture')
    stamps = [stamp_ns(info) for info in infos[before:]]
    assert stamps == sorted(stamps)
    # A second picture of begin may still have been on its way.
    assert set(stamps) <= {BEGIN_NS, *positions}


def test_stop_gives_no_picture_of_its_own(bench):
    infos = bench.infos_of(FRONT)
    bench.trigger('play')
    bench.passes(BEGIN_NS + 300 * MS)
    position = bench.trigger('stop')['current_time_us'] * 1000
    bench.spin(bench.clocks, 50)
    assert {stamp_ns(info) for info in infos} <= {BEGIN_NS, position, *frame_ends(FRONT)}
