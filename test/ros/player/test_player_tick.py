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
"""tick and play_next: an exact duration, an answer once all is out, lost or overtaken."""

import json
from test.rendering.fake_server import Gate
from test.support.archives import CAMERAS, START_US
from test.support.player_bench import BEGIN_NS, MS, NOWHERE, serve, stamp_ns

import pytest
from rclpy.qos import QoSProfile
from rosbag2_interfaces.srv import PlayNext
from sensor_msgs.msg import CameraInfo
from std_srvs.srv import Trigger

pytestmark = pytest.mark.contract


@pytest.mark.parametrize(
    ('tick_us', 'rate'), [(1, 1.0), (777, 0.1), (100_000, 7.0), (999_999, 1.0)]
)
def test_advances_exactly_whatever_the_rate(bench, tick_us, rate):
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


def test_says_which_tracks_came_and_went(bench):
    """Track 2@scene:a lives from 0.5 s to 1.5 s, the others all the time but the edges."""
    bench.configure(tick_us=400_000)
    assert '2@scene:a' not in bench.trigger('tick')['new_track_ids']
    assert bench.trigger('tick')['new_track_ids'] == ['2@scene:a']
    assert bench.trigger('tick')['new_track_ids'] == []
    assert bench.trigger('tick')['removed_track_ids'] == ['2@scene:a']


def test_is_clamped_at_the_end_and_with_loop_the_next_one_starts_over(bench):
    bench.configure(tick_us=1_500_000)
    assert not bench.trigger('tick')['done']
    for loop in (False, True):
        state = bench.trigger('tick')
        assert (state['done'], state['current_time_us']) == (True, START_US + 2_000_000)
        bench.configure(loop=loop)
    state = bench.trigger('tick')
    assert (state['done'], state['current_time_us']) == (False, START_US + 1_500_000)
    bench.stands(BEGIN_NS + 1500 * MS)


def test_while_playing_the_clock_goes_on_from_there(bench):
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
