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
"""mode: lockstep. The clock waits at every due time for its images; nothing is dropped."""

from test.rendering.fake_server import Gate, picture
from test.support.player_bench import (
    BEGIN_NS,
    frame_ends,
    FRONT,
    MS,
    NOWHERE,
    REAR,
    stamp_ns,
)
import time

from diagnostic_msgs.msg import DiagnosticStatus
import pytest
from sensor_msgs.msg import CameraInfo

pytestmark = pytest.mark.contract

FRONT_DUE, REAR_DUE = frame_ends(FRONT), frame_ends(REAR)


@pytest.fixture(scope='module')
def gate():
    """Return a renderer that is slower than the cameras at rate 10."""
    return Gate(is_open=True, seconds=0.03)


@pytest.fixture(scope='module')
def running(start, usdz, server, gate):
    server.render = gate
    return start(usdz_path=usdz, server=server.address, mode='lockstep').ready()


def speed_of(bench):
    """Return the speed that it achieves; a large one while that is not known."""
    speed = bench.told('playback').get('achieved_speed_s_per_s', 'unknown')
    return 1000.0 if speed == 'unknown' else float(speed)


def stamps(messages):
    """Return the stamps of messages; the picture of begin may come more than once."""
    found = [stamp_ns(message) for message in messages]
    while found[1:2] == [BEGIN_NS]:
        found.pop(0)
    return found


def test_every_due_frame_comes_in_order_however_slow_the_server(bench):
    """And the clock, which never is faster, then says how fast it was."""
    front, rear = bench.infos_of(FRONT), bench.infos_of(REAR)
    bench.play_out(rate=10.0)
    due = [BEGIN_NS, *FRONT_DUE], [BEGIN_NS, *REAR_DUE]
    bench.until(lambda: (stamps(front), stamps(rear)) == due, 'all frames')
    # Rate 10 makes 200 frames a second due: one at a time takes longer.
    bench.configure(loop=True)
    bench.trigger('play')
    bench.until(lambda: 0.0 < speed_of(bench) < 8.0, 'a speed below the rate')


def test_no_image_is_ahead_of_the_clock_and_the_clock_waits(bench, gate):
    for name in (FRONT, REAR):
        bench.infos_of(name)
    gate.hold()
    bench.configure(rate=10.0)
    bench.trigger('play')
    bench.passes(FRONT_DUE[0])
    bench.spin(bench.clocks, 30)
    assert bench.clock_ns == FRONT_DUE[0]
    bench.until(lambda: bench.state['is_playing'], 'the state')
    gate.let_all_go()
    bench.passes(FRONT_DUE[1])


def test_it_never_runs_faster_than_the_rate(bench, server, gate):
    for name in (FRONT, REAR):
        bench.infos_of(name)
    server.render = picture
    begun = time.monotonic()
    bench.play_out(rate=2.0)
    assert time.monotonic() - begun >= 0.99
    server.render = gate


def test_it_waits_for_a_server_that_is_down_but_for_ticks(bench, load):
    load(server=NOWHERE)
    bench.listen(CameraInfo, f'~/{FRONT}/camera_info')
    bench.until(lambda: int(bench.told(FRONT).get('subscribers', 0)), 'the subscriber')
    bench.trigger('play')
    bench.passes(FRONT_DUE[0])
    bench.spin(bench.clocks, 50)
    assert bench.clock_ns == FRONT_DUE[0]
    # Soon it is no blink of the connection any more, and said so.
    bad = (DiagnosticStatus.WARN, DiagnosticStatus.ERROR)
    bench.until(lambda: bench.status('playback').level in bad, 'a warning')
    assert f'cannot reach {NOWHERE}' in bench.status('playback').message
    # It is measured over some seconds, of which the first were played.
    bench.until(lambda: speed_of(bench) == 0.0, 'the speed of a clock that waits')
    # Only a tick loses its frames at once.
    assert bench.trigger('tick')['current_time_us'] * 1000 == FRONT_DUE[0] + 100 * MS
    bench.trigger('stop')
    bench.trigger('reset')
    bench.stands(BEGIN_NS)


def test_without_listeners_it_runs_at_the_rate(bench, load):
    load(server=NOWHERE)
    bench.play_out(rate=4.0)


def test_a_loop_has_all_frames_of_each_lap(bench, load):
    """The frame at the end of the range too: its image is out before the clock jumps back."""
    load(cameras=[FRONT])
    bench.configure(rate=10.0, loop=True, camera_rate=5.0)
    infos = bench.infos_of(FRONT)
    bench.trigger('play')
    lap = [BEGIN_NS + 200 * MS * k for k in range(11)]
    laps = [*lap, *lap, *lap]
    bench.until(lambda: len(stamps(infos)) >= len(laps), 'three laps')
    assert stamps(infos)[: len(laps)] == laps
