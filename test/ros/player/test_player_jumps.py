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
from test.support.archives import CAMERAS, START_US
from test.support.player_bench import stamp_ns, state_of

from nav_msgs.msg import Odometry, Path
import pytest
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import Marker, MarkerArray

pytestmark = pytest.mark.contract

BEGIN_NS = START_US * 1000
END_NS = BEGIN_NS + 2_000_000_000
MS = 1_000_000
FRONT, REAR = CAMERAS
# Where the tests of what is shown start, which no other test jumps to; there are tracks there.
START_NS = BEGIN_NS + 50 * MS


class Shown:
    """
    What is shown of the scene, counted anew from `begin` on.

    It starts at START_NS, by a jump back of its own that was shown to the end.
    """

    def __init__(self, bench):
        self.tracks = bench.listen(MarkerArray, '~/tracks')
        self.paths = bench.listen(Path, '~/path', latched=True)
        self.egos = bench.listen(MarkerArray, '~/ego', latched=True)
        self.transforms = bench.listen(TFMessage, '/tf')
        self._bench = bench
        bench.until(
            lambda: self.tracks and self.paths and self.egos and self.transforms, 'the scene'
        )
        bench.seek(END_NS)
        bench.seek(START_NS)
        bench.until(lambda: self._egos_at(START_NS) == 2, 'the jump, and what is shown again')

    def _egos_at(self, t_ns):
        return sum(stamp_ns(message.markers[0]) == t_ns for message in self.egos)

    def begin(self, t_ns):
        """Forget what came so far, once the moment `t_ns` is shown: nothing older comes then."""

        def shown():
            last = [*self.tracks[-1].markers, *self.transforms[-1].transforms]
            return self.tracks[-1].markers and {stamp_ns(one) for one in last} == {t_ns}

        self._bench.until(shown, 'the moment')
        for messages in (self.tracks, self.paths, self.egos, self.transforms):
            messages.clear()

    @property
    def deletions(self):
        """Return the messages that clear the displays."""
        return [
            message
            for message in self.tracks
            if any(marker.action == Marker.DELETEALL for marker in message.markers)
        ]

    def after_deletion(self, count):
        """Return what follows the first message that clears, if `count` at least."""
        if not self.deletions:
            return []
        first = self.tracks.index(self.deletions[0]) + 1
        following = self.tracks[first:]
        return following if len(following) >= count else []


@pytest.fixture
def shown(bench):
    return Shown(bench)


def seek_back(bench):
    bench.seek(BEGIN_NS + 200 * MS)


def reset(bench):
    bench.trigger('reset')


def play_at_the_end(bench):
    bench.configure(rate=0.01)
    bench.trigger('play')


@pytest.mark.parametrize('jump', [seek_back, reset, play_at_the_end])
def test_everything_is_shown_at_once_and_once_more_and_of_the_new_time(bench, shown, jump):
    bench.seek(END_NS)
    shown.begin(END_NS)
    jump(bench)
    bench.until(
        lambda: len(shown.paths) >= 2 and len(shown.egos) >= 2 and shown.after_deletion(2),
        'path, ego and tracks, twice',
    )
    assert len(shown.paths) == len(shown.egos) == 2
    # One message that clears, alone, before all others of the new time; never again.
    assert [len(message.markers) for message in shown.deletions] == [1]
    after = shown.after_deletion(2)
    markers = [marker for message in after for marker in message.markers]
    assert {marker.action for marker in markers} <= {Marker.ADD}
    assert all(stamp_ns(marker) < END_NS for marker in markers)
    # The time before may have been repeated just before the jump.
    before = shown.tracks[: -len(after) - 1]
    assert {stamp_ns(marker) for m in before for marker in m.markers} <= {END_NS}

    def stamps():
        return [stamp_ns(one) for m in shown.transforms for one in m.transforms]

    bench.until(lambda: sum(stamp < END_NS for stamp in stamps()) >= 3, 'the new time')
    first = next(i for i, stamp in enumerate(stamps()) if stamp < END_NS)
    assert all(stamp < END_NS for stamp in stamps()[first:])


def test_seek_forward_clears_nothing_and_shows_at_once_and_who_is_gone_is_deleted(bench, shown):
    """Track 2@scene:a is there at 1 s, and gone at 1.9 s."""
    shown.begin(START_NS)
    now = BEGIN_NS + 1000 * MS
    bench.seek(now)
    bench.until(lambda: bench.clock_ns == now, 'the clock')

    def first():
        """Return the first message of the new moment."""
        return next((m for m in shown.tracks if now in map(stamp_ns, m.markers)), None)

    person = next(m.id for m in bench.until(first, 'the tracks').markers if m.ns == 'person')
    bench.until(
        lambda: any(stamp_ns(one) == now for m in shown.transforms for one in m.transforms),
        'the new transform',
    )
    bench.spin(bench.clocks, 80)
    assert not shown.deletions
    assert not shown.paths
    now = BEGIN_NS + 1900 * MS
    bench.seek(now)
    bench.until(first, 'the last moment')
    gone = {(m.ns, m.id) for m in first().markers if m.action == Marker.DELETE}
    assert gone == {('person', person), ('person/text', person)}


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
        bench.until(lambda got=got: bench.clock_ns == got, 'the clock')


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


def test_loop_starts_over_and_is_never_done(bench, shown):
    # So slowly that nothing which holds the player up lasts for a lap.
    bench.configure(loop=True, rate=0.1)
    shown.begin(START_NS)
    bench.until(lambda: bench.state['current_time_us'] * 1000 == START_NS, 'the state')
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
    bench.until(lambda: bench.clock_ns == position_ns, 'the last of the clock')
    bench.until(lambda: len(shown.deletions) >= 2, 'a DELETEALL for each lap')
    assert len(shown.deletions) == wraps() == 2


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
    position = bench.trigger('tick')['current_time_us'] * 1000
    bench.until(lambda: bench.clock_ns == position, 'the clock')


def camera(bench, name=FRONT, kind='camera_info', message_type=CameraInfo):
    """Listen to one topic of a camera."""
    return bench.listen(message_type, f'~/{name}/{kind}')


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
    infos = camera(bench)
    bench.until(lambda: infos, 'the picture of the first')
    bench.spin(bench.clocks, 50)
    assert [stamp_ns(info) for info in infos] == [now]
    second = camera(bench, kind='image_raw/compressed', message_type=CompressedImage)
    bench.until(lambda: second, 'the picture of the second')
    third = camera(bench, kind='image_raw', message_type=Image)
    bench.until(lambda: third, 'the picture of the third')
    assert {stamp_ns(message) for message in (*infos, *second, *third)} == {now}


def test_seek_and_reset_give_a_picture_and_many_seeks_in_a_row_that_of_the_last(bench):
    """A slider that is dragged does not pile up pictures, and shows where it was let go."""
    infos = camera(bench)
    bench.until(lambda: infos, 'the first picture')
    for t_ns in (BEGIN_NS + 500_000_000, BEGIN_NS + 1_500_000_000, BEGIN_NS + 250_000_000):
        bench.seek(t_ns)
        bench.until(lambda t_ns=t_ns: stamp_ns(infos[-1]) == t_ns, 'the picture after seek')
    bench.trigger('reset')
    bench.until(lambda: stamp_ns(infos[-1]) == BEGIN_NS, 'the picture after reset')
    before = len(infos)
    positions = [BEGIN_NS + 10_000_000 * step for step in range(1, 41)]
    for t_ns in positions:
        bench.seek(t_ns)
    bench.until(lambda: stamp_ns(infos[-1]) == positions[-1], 'the last picture')
    stamps = [stamp_ns(info) for info in infos[before:]]
    assert stamps == sorted(stamps)
    # A second picture of begin may still have been on its way.
    assert set(stamps) <= {BEGIN_NS, *positions}


def test_the_transform_of_a_picture_is_there_before_it(bench):
    """It is sent before; ROS orders nothing between topics."""
    bench.seek(BEGIN_NS + 123_456_000)
    transforms = bench.listen_sent(TFMessage, '/tf')
    infos = bench.listen_sent(CameraInfo, f'~/{REAR}/camera_info')
    bench.until(lambda: infos, 'the picture')
    sent_ns, info = infos[0]

    def sent():
        return [
            ns
            for ns, message in transforms
            if stamp_ns(info) in {stamp_ns(one) for one in message.transforms}
        ]

    bench.until(sent, 'its transform')
    assert sent()[0] < sent_ns


def test_stop_gives_no_picture_of_its_own(bench):
    infos = camera(bench)
    bench.until(lambda: infos, 'the first picture')
    bench.trigger('play')
    bench.passes(BEGIN_NS + 300_000_000)
    position = bench.trigger('stop')['current_time_us'] * 1000
    bench.spin(bench.clocks, 50)
    due = {BEGIN_NS + 47_000_000 + 100_000_000 * k for k in range(20)} | {BEGIN_NS, position}
    assert {stamp_ns(info) for info in infos} <= due


def test_the_first_state_after_a_jump_back_lists_all_as_new(bench):
    """So that a client which forgets all at a jump has them all again."""
    for jump, from_us, to_us in [
        ('seek', 1_500_000, 1_000_000),
        ('reset', 1_000_000, 0),
        ('load', 1_100_000, 0),
    ]:
        bench.seek((START_US + from_us) * 1000)
        now_us = START_US + from_us
        bench.until(lambda now_us=now_us: bench.state['current_time_us'] == now_us, 'the state')
        before = len(bench.states)
        if jump == 'seek':
            bench.seek((START_US + to_us) * 1000)
        else:
            bench.trigger(jump)

        def first(before=before, moment_us=START_US + to_us):
            states = [state_of(message) for message in bench.states[before:]]
            return next((one for one in states if one['current_time_us'] == moment_us), None)

        state = bench.until(first, f'the state after {jump}')
        assert len(state['new_track_ids']) == state['active_tracks']
        if jump == 'seek':
            assert sorted(state['new_track_ids']) == ['1', '2@scene:a', '3']
