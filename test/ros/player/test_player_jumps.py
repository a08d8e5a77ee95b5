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
"""What a halted player shows, and what is shown, and no more shown, after a jump."""

from itertools import pairwise
from test.support.archives import START_US
from test.support.player_bench import (
    BEGIN_NS,
    END_NS,
    frame_ends,
    FRONT,
    MS,
    stamp_ns,
    state_of,
)

from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry, Path
import pytest
from sensor_msgs.msg import CompressedImage, Image
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import Marker, MarkerArray

pytestmark = pytest.mark.contract


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


def test_loop_starts_over_and_is_never_done(bench):
    # So slowly that nothing which holds the player up lasts for a lap.
    bench.configure(loop=True, rate=0.1)
    bench.until(lambda: bench.state['current_time_us'] == START_US, 'the state')
    told = len(bench.states)
    before = len(bench.clocks)

    def wraps():
        stamps = [stamp_ns(clock) for clock in bench.clocks[before:]]
        return sum(b < a for a, b in pairwise(stamps))

    bench.trigger('play')
    for lap in (1, 2):
        bench.seek(END_NS - 20 * MS)
        bench.until(lambda lap=lap: wraps() == lap, 'the start of a lap')
    position_ns = bench.trigger('stop')['current_time_us'] * 1000
    assert BEGIN_NS <= position_ns < END_NS - 20 * MS
    assert not any(state_of(message)['done'] for message in bench.states[told:])
    bench.stands(position_ns)
    assert wraps() == 2


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
    assert {stamp_ns(message) for message in (*infos, *second, *third)} == {now}


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
