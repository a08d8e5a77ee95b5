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

from test.rendering.fake_server import Gate
from test.support.archives import CAMERAS, START_US
from test.support.player_bench import NOWHERE, serve, stamp_ns
import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import pytest
from sensor_msgs.msg import CameraInfo

pytestmark = pytest.mark.contract

BEGIN_NS = START_US * 1000
FRONT, REAR = CAMERAS
END_NS = BEGIN_NS + 2_000_000_000
FRONT_DUE = [BEGIN_NS + 47_000_000 + 100_000_000 * k for k in range(20)]
REAR_DUE = [BEGIN_NS + 50_000_000 + 100_000_000 * k for k in range(20)]


@pytest.fixture
def gate():
    """Return a renderer that is slower than the cameras at rate 10."""
    return Gate(is_open=True, seconds=0.03)


@pytest.fixture
def slow(usdz, gate):
    with serve(usdz, render=gate) as server:
        yield server


def listen(bench):
    """Listen to both cameras; wait for their pictures of begin."""
    found = [bench.listen(CameraInfo, f'~/{name}/camera_info') for name in CAMERAS]
    for messages in found:
        bench.until(lambda messages=messages: messages, 'the first picture')
    return found


def listen_to_front(bench):
    """Listen to the front camera, and wait until the player knows; give its diagnostics."""
    found = bench.listen(DiagnosticArray, '/diagnostics')
    bench.listen(CameraInfo, f'~/{FRONT}/camera_info')

    def subscribers():
        parts = found[-1].status if found else ()
        values = [v for part in parts if part.name == f'nurec: {FRONT}' for v in part.values]
        return sum(int(one.value) for one in values if one.key == 'subscribers')

    bench.until(subscribers, 'the subscriber')
    return found


def playback_of(found):
    """Return the status of the playback that came last; an OK before there is one."""
    return found[-1].status[0] if found else DiagnosticStatus()


def speed_of(found):
    """Return the speed that it achieves; a large one while that is not known."""
    values = {value.key: value.value for value in playback_of(found).values}
    speed = values.get('achieved_speed_s_per_s', 'unknown')
    return 1000.0 if speed == 'unknown' else float(speed)


def stamps(messages):
    return [stamp_ns(message) for message in messages]


def test_every_due_frame_comes_in_order_however_slow_the_server(start, usdz, slow):
    bench = start(usdz_path=usdz, server=slow.address, mode='lockstep', rate=10.0).ready()
    front, rear = listen(bench)
    bench.trigger('play')
    bench.until(lambda: bench.state['done'], 'the end')
    due_front = [t for t in FRONT_DUE if t <= END_NS]
    due_rear = [t for t in REAR_DUE if t <= END_NS]
    bench.until(lambda: len(front) > len(due_front) and len(rear) > len(due_rear), 'all frames')
    # The first one is the picture of begin.
    assert (stamps(front)[1:], stamps(rear)[1:]) == (due_front, due_rear)


def test_no_image_is_ahead_of_the_clock_and_the_clock_waits(start, usdz, slow, gate):
    bench = start(usdz_path=usdz, server=slow.address, mode='lockstep', rate=10.0).ready()
    listen(bench)
    gate.hold()
    bench.trigger('play')
    bench.passes(FRONT_DUE[0])
    bench.spin(bench.clocks, 30)
    assert bench.clock_ns == FRONT_DUE[0]
    bench.until(lambda: bench.state['is_playing'], 'the state')
    gate.let_all_go()
    bench.passes(FRONT_DUE[1])


def test_the_speed_that_is_achieved_is_in_the_diagnostics(start, usdz, slow):
    """Rate 10 makes 200 frames a second due of each camera: one at a time takes longer."""
    bench = start(
        usdz_path=usdz, server=slow.address, mode='lockstep', rate=10.0, loop=True
    ).ready()
    found = bench.listen(DiagnosticArray, '/diagnostics')
    listen(bench)
    bench.trigger('play')
    bench.until(lambda: 0.0 < speed_of(found) < 8.0, 'a speed below the rate')


def test_it_never_runs_faster_than_the_rate(start, usdz, server):
    bench = start(usdz_path=usdz, server=server.address, mode='lockstep', rate=2.0).ready()
    listen(bench)
    begun = time.monotonic()
    bench.trigger('play')
    bench.until(lambda: bench.state['done'], 'the end')
    assert time.monotonic() - begun >= 0.99


def test_it_waits_for_a_server_that_is_down_but_for_ticks(start, usdz):
    bench = start(usdz_path=usdz, server=NOWHERE, mode='lockstep').ready()
    found = listen_to_front(bench)
    bench.trigger('play')
    bench.passes(FRONT_DUE[0])
    bench.spin(bench.clocks, 50)
    assert bench.clock_ns == FRONT_DUE[0]
    # Soon it is no blink of the connection any more, and said so.
    bench.until(lambda: playback_of(found).level != DiagnosticStatus.OK, 'a warning')
    assert f'cannot reach {NOWHERE}' in playback_of(found).message
    # It is measured over some seconds, of which the first were played.
    bench.until(lambda: speed_of(found) == 0.0, 'the speed of a clock that waits')
    # Only a tick loses its frames at once.
    assert bench.trigger('tick')['current_time_us'] * 1000 == FRONT_DUE[0] + 100_000_000
    bench.trigger('stop')
    bench.trigger('reset')
    bench.until(lambda: bench.clock_ns == BEGIN_NS, 'begin')


def test_without_listeners_it_runs_at_the_rate(start, usdz):
    bench = start(usdz_path=usdz, server=NOWHERE, mode='lockstep', rate=4).ready()
    bench.trigger('play')
    bench.until(lambda: bench.state['done'], 'the end')


def test_a_loop_has_all_frames_of_each_lap(start, usdz, slow):
    """The frame at the end of the range too: its image is out before the clock jumps back."""
    bench = start(
        usdz_path=usdz,
        server=slow.address,
        mode='lockstep',
        rate=10.0,
        loop=True,
        camera_rate=5.0,
        cameras=f'[{CAMERAS[0]}]',
    ).ready()
    infos = bench.listen(CameraInfo, f'~/{CAMERAS[0]}/camera_info')
    bench.until(lambda: infos, 'the first picture')
    bench.trigger('play')
    lap = [BEGIN_NS + 200_000_000 * k for k in range(11)]
    count = 1 + 10 + 2 * 11
    bench.until(lambda: len(infos) >= count, 'three laps')
    assert stamps(infos)[1:count] == lap[1:] + lap + lap
