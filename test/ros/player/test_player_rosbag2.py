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
"""The control services of `ros2 bag play`: same types, same meanings."""

from test.support.archives import CAMERAS, START_US
from test.support.player_bench import stamp_ns

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
