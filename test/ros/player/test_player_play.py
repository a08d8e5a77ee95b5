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
"""play, stop and reset, what rosbag2 calls them, and what the state says of it."""

from test.support.archives import CAMERAS, START_US
from test.support.player_bench import NOWHERE, stamp_ns

from diagnostic_msgs.msg import DiagnosticStatus
import pytest
from rosbag2_interfaces.srv import (
    GetRate,
    IsPaused,
    Pause,
    PlayNext,
    Resume,
    SetRate,
    TogglePaused,
)
from sensor_msgs.msg import CameraInfo

pytestmark = pytest.mark.contract

BEGIN_NS = START_US * 1000
END_NS = BEGIN_NS + 2_000_000_000
MS = 1_000_000
FRONT = CAMERAS[0]
TYPES = {
    'is_playing': bool,
    'speed': float,
    'current_time_us': int,
    'seconds_since_start': float,
    'duration_s': float,
    'progress': float,
    'done': bool,
    'scenario': str,
    'active_tracks': int,
    'new_track_ids': list,
    'removed_track_ids': list,
    'start_us': int,
    'end_us': int,
    'cameras': list,
}


def test_waits_at_begin_halted(bench):
    state = bench.trigger('stop')
    assert state['current_time_us'] == START_US
    assert (state['is_playing'], state['done'], state['progress']) == (False, False, 0.0)
    assert state['duration_s'] == pytest.approx(2.0)
    assert state['scenario'].startswith('clipgt-')
    assert {stamp_ns(clock) for clock in bench.spin(bench.clocks, 20)} == {BEGIN_NS}


@pytest.mark.parametrize('name', ['play', 'stop', 'reset', 'tick'])
def test_answers_are_one_line_of_json_in_json_types(bench, name):
    state = bench.trigger(name)
    assert {key: type(state.get(key)) for key in TYPES} == TYPES


def test_play_runs_to_the_end_and_halts_there(bench):
    bench.configure(rate=4.0)
    assert bench.trigger('play')['is_playing']
    bench.passes(END_NS)
    assert {stamp_ns(clock) for clock in bench.spin(bench.clocks, 20)} == {END_NS}
    bench.until(lambda: bench.state['done'], 'the state of the end')
    assert bench.state == {
        **bench.state,
        'is_playing': False,
        'progress': 1.0,
        'current_time_us': START_US + 2_000_000,
    }


def test_clock_never_goes_back_while_playing(bench):
    before = len(bench.clocks)
    bench.configure(rate=2.0)
    bench.trigger('play')
    bench.passes(END_NS)
    stamps = [stamp_ns(clock) for clock in bench.clocks[before:]]
    assert stamps == sorted(stamps)
    assert all(stamp % 1000 == 0 for stamp in stamps)


def test_stop_keeps_the_position(bench):
    # Slowly, so that it does not reach the end before it is told to stop.
    bench.configure(rate=0.1)
    bench.trigger('play')
    bench.passes(BEGIN_NS + 50_000_000)
    state = bench.trigger('stop')
    assert BEGIN_NS < state['current_time_us'] * 1000 < END_NS
    bench.until(lambda: bench.clock_ns == state['current_time_us'] * 1000, 'the position')
    assert {stamp_ns(clock) for clock in bench.spin(bench.clocks, 20)} == {bench.clock_ns}
    assert bench.trigger('play')['current_time_us'] == state['current_time_us']


def test_reset_goes_back_and_halts(bench):
    bench.trigger('play')
    bench.passes(BEGIN_NS + 300_000_000)
    state = bench.trigger('reset')
    assert (state['is_playing'], state['current_time_us']) == (False, START_US)
    bench.until(lambda: bench.clock_ns == BEGIN_NS, 'the clock at begin')


def test_reset_keeps_the_rate(bench):
    bench.configure(rate=2.0)
    assert bench.trigger('reset')['speed'] == 2.0


def test_play_while_playing_and_stop_while_halted_succeed(bench):
    bench.trigger('stop')
    bench.trigger('play')
    assert bench.trigger('play')['is_playing']
    bench.trigger('stop')
    assert not bench.trigger('stop')['is_playing']


def test_play_at_the_end_starts_from_begin(bench):
    bench.seek(END_NS)
    assert bench.trigger('stop')['done']
    state = bench.trigger('play')
    assert (state['is_playing'], state['done'], state['current_time_us']) == (
        True,
        False,
        START_US,
    )


def test_state_is_published_on_every_change(bench):
    for name, playing in (('play', True), ('stop', False), ('play', True), ('reset', False)):
        before = len(bench.states)
        bench.trigger(name)
        bench.until(
            lambda before=before, playing=playing: any(
                message.values[0].value == ('true' if playing else 'false')
                for message in bench.states[before:]
            ),
            f'the state after {name}',
        )


def test_state_is_latched(bench):
    """A client that starts later hears the state without any change."""
    late = bench.listen(DiagnosticStatus, '~/state', latched=True)
    bench.until(lambda: late, 'the latched state')


# The cameras' first frames end 47 ms and 50 ms after the start, and come every 100 ms.
DUE_US = sorted(offset + 100_000 * k for offset in (47_000, 50_000) for k in range(20))


@pytest.fixture
def slow(bench):
    """Return the player at a rate at which it does not halt at the end by itself meanwhile."""
    bench.configure(rate=0.01)
    return bench


def paused(bench):
    return bench.call(IsPaused, 'is_paused').paused


def play_next(bench):
    return bench.call(PlayNext, 'play_next').success


def set_rate(bench, rate):
    return bench.call(SetRate, 'set_rate', SetRate.Request(rate=rate)).success


def test_pause_and_resume(slow):
    assert paused(slow)
    slow.call(Resume, 'resume')
    assert not paused(slow)
    slow.call(Resume, 'resume')
    assert not paused(slow)
    slow.call(Pause, 'pause')
    assert paused(slow)
    slow.call(Pause, 'pause')
    assert paused(slow)


def test_pause_keeps_the_position(bench):
    bench.call(Resume, 'resume')
    bench.passes(BEGIN_NS + 200_000_000)
    bench.call(Pause, 'pause')
    assert bench.trigger('stop')['current_time_us'] >= START_US + 200_000


def test_toggle_paused(slow):
    for expected in (False, True, False, True):
        slow.call(TogglePaused, 'toggle_paused')
        assert paused(slow) is expected


def test_they_share_the_state_with_the_triggers(slow):
    slow.trigger('play')
    assert not paused(slow)
    slow.call(Pause, 'pause')
    assert not slow.trigger('stop')['is_playing']
    slow.call(Resume, 'resume')
    assert slow.trigger('play')['is_playing']


@pytest.mark.parametrize('rate', [0.01, 0.5, 2.0, 100.0])
def test_rate_and_parameter_stay_in_step(bench, rate):
    assert set_rate(bench, rate)
    assert bench.call(GetRate, 'get_rate').rate == rate
    assert bench.get('rate') == rate
    assert bench.trigger('stop')['speed'] == rate
    assert bench.configure(rate=1.5)[0].successful
    assert bench.call(GetRate, 'get_rate').rate == 1.5


@pytest.mark.parametrize('rate', [0.0, -1.0, 0.009, 100.1, float('nan'), float('inf')])
def test_a_rate_out_of_range_is_refused(bench, rate):
    assert not set_rate(bench, rate)
    assert bench.call(GetRate, 'get_rate').rate == 1.0
    assert bench.get('rate') == 1.0
    assert '~/set_rate refused' in bench.player.output


def test_play_next_goes_through_every_frame_time_of_any_camera(bench):
    for due_us in DUE_US[:6]:
        assert play_next(bench)
        assert bench.trigger('stop')['current_time_us'] == START_US + due_us


def test_play_next_renders_what_is_due_there(bench):
    infos = {name: bench.listen(CameraInfo, f'~/{name}/camera_info') for name in CAMERAS}
    for messages in infos.values():
        bench.until(lambda messages=messages: messages, 'the first picture')
        messages.clear()
    for _ in range(4):
        assert play_next(bench)
    bench.until(lambda: sum(map(len, infos.values())) >= 4, 'four frames')
    front, rear = ([stamp_ns(info) // 1000 - START_US for info in infos[name]] for name in CAMERAS)
    assert (front, rear) == ([47_000, 147_000], [50_000, 150_000])


def test_play_next_refuses_while_playing(slow):
    slow.trigger('play')
    assert not play_next(slow)
    assert slow.trigger('play')['is_playing']
    assert '~/play_next refused: ' in slow.player.output


def test_play_next_refuses_at_the_end(bench):
    bench.seek(END_NS)
    assert not play_next(bench)
    assert bench.trigger('stop')['done']
    assert '~/play_next refused: ' in bench.player.output


def test_play_next_refuses_after_the_last_frame(bench):
    bench.seek(END_NS - 1000)
    assert not play_next(bench)
    assert bench.trigger('stop')['current_time_us'] == START_US + 1_999_999


def test_a_scenario_of_one_moment_is_done_and_never_plays(start, usdz, server):
    bench = start(
        usdz_path=usdz,
        server=server.address,
        start_offset_s=1.0,
        end_offset_s=1.0,
        loop=True,
        autoplay=True,
    ).ready()
    infos = bench.listen(CameraInfo, f'~/{FRONT}/camera_info')
    bench.until(lambda: infos, 'its still frame')
    moment_ns = BEGIN_NS + 1000 * MS
    assert stamp_ns(infos[0]) == moment_ns
    for name in ('play', 'tick', 'tick', 'stop', 'reset'):
        state = bench.trigger(name)
        assert (state['is_playing'], state['done']) == (False, True)
        assert state['current_time_us'] * 1000 == moment_ns
    assert {stamp_ns(clock) for clock in bench.spin(bench.clocks, 20)} == {moment_ns}


def test_the_state_tells_begin_end_and_the_cameras_that_are_rendered(start, usdz):
    bench = start(
        usdz_path=usdz,
        server=NOWHERE,
        cameras=f'[{FRONT}]',
        start_offset_s=0.5,
        end_offset_s=0.25,
    ).ready()
    for state in (bench.state, bench.trigger('tick')):
        assert (state['start_us'], state['end_us']) == (START_US + 500_000, START_US + 1_750_000)
        assert state['cameras'] == [FRONT]
