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
"""tick and play_next whose images are lost, or which something else overtakes: both are said."""

import json
from test.rendering.fake_server import Gate
from test.support.archives import CAMERAS, START_US
from test.support.player_bench import NOWHERE, serve, stamp_ns

import pytest
from rosbag2_interfaces.srv import PlayNext
from sensor_msgs.msg import CameraInfo
from std_srvs.srv import Trigger

pytestmark = pytest.mark.contract

BEGIN_NS = START_US * 1000
FRONT, REAR = CAMERAS


def listen(bench):
    """Listen to both cameras."""
    return [bench.listen(CameraInfo, f'~/{name}/camera_info') for name in CAMERAS]


def test_a_tick_without_a_server_succeeds_and_says_what_is_missing(start, usdz):
    # With a loop a tick never ends for want of frames, however late the player hears of listeners.
    bench = start(usdz_path=usdz, server=NOWHERE, loop=True).ready()
    state = bench.trigger('tick')
    assert 'failed_images' not in state
    listen(bench)
    for name in CAMERAS:
        bench.matched(f'~/{name}/camera_info')

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


def test_a_tick_whose_images_come_has_none_missing(bench):
    infos = listen(bench)
    bench.until(lambda: all(infos), 'the first pictures')
    state = bench.trigger('tick')
    assert 'failed_images' not in state
    assert state['current_time_us'] == START_US + 100_000


@pytest.fixture(scope='module')
def stuck():
    return Gate(is_open=True)


@pytest.fixture(scope='module')
def waiting(start, usdz, stuck):
    """Return a player somebody listens to; it does not give up what is held by itself."""
    with serve(usdz, render=stuck) as server:
        bench = start(usdz_path=usdz, server=server.address, render_timeout_s=600.0).ready()
        bench.infos = listen(bench)
        bench.until(lambda: all(bench.infos), 'the first pictures')
        yield bench


def stand(bench, t_ns):
    """Seek while halted, until the pictures of that moment are there."""
    for infos in bench.infos:
        infos.clear()
    bench.seek(t_ns)
    bench.until(lambda: bench.clock_ns == t_ns, 'the position')
    bench.until(
        lambda: all(t_ns in map(stamp_ns, infos) for infos in bench.infos), 'the pictures of it'
    )


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
    stand(bench, BEGIN_NS + 500_000_000)
    stuck.hold()
    before = len(bench.player.output)
    call = bench.start_call(*((Trigger, step) if step == 'tick' else (PlayNext, step)))
    bench.until(lambda: bench.clock_ns > BEGIN_NS + 500_000_000, 'the step')
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
    stand(bench, BEGIN_NS + 1_700_000_000)
    stuck.hold()
    call = bench.start_call(Trigger, 'tick')
    bench.until(lambda: bench.clock_ns == BEGIN_NS + 1_800_000_000, 'the tick')
    bench.trigger('play')
    bench.until(call.done, 'the answer')
    stuck.let_all_go()
    assert 'overtaken by the start of the next lap' in call.result().message
    assert 'is playing at' in call.result().message
    bench.configure(loop=False)
