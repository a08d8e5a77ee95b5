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
"""Jumps of the clock: seek both ways, loop, and what is shown again after each one back."""

from itertools import pairwise
from test.support.archives import START_US
from test.support.player_bench import stamp_ns, state_of

from nav_msgs.msg import Path
import pytest
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

pytestmark = pytest.mark.contract

BEGIN_NS = START_US * 1000
END_NS = BEGIN_NS + 2_000_000_000
MS = 1_000_000
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
def test_everything_is_shown_at_once_and_once_more(bench, shown, jump):
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


@pytest.mark.parametrize('jump', [seek_back, reset])
def test_every_transform_after_the_jump_is_of_the_new_time(bench, shown, jump):
    bench.seek(END_NS)
    shown.begin(END_NS)
    jump(bench)

    def stamps():
        return [stamp_ns(one) for m in shown.transforms for one in m.transforms]

    bench.until(lambda: sum(stamp < END_NS for stamp in stamps()) >= 3, 'the new time')
    first = next(i for i, stamp in enumerate(stamps()) if stamp < END_NS)
    assert all(stamp < END_NS for stamp in stamps()[first:])


def test_seek_forward_clears_nothing_and_shows_at_once(bench, shown):
    shown.begin(START_NS)
    bench.seek(BEGIN_NS + 1000 * MS)
    now = BEGIN_NS + 1000 * MS
    bench.until(lambda: bench.clock_ns == now, 'the clock')
    bench.until(
        lambda: any(stamp_ns(one) == now for m in shown.tracks for one in m.markers),
        'the new tracks',
    )
    bench.until(
        lambda: any(stamp_ns(one) == now for m in shown.transforms for one in m.transforms),
        'the new transform',
    )
    bench.spin(bench.clocks, 80)
    assert not shown.deletions
    assert not shown.paths


def test_tracks_that_are_jumped_over_are_deleted_one_by_one(bench, shown):
    """Track 2@scene:a is there at 1 s, and gone at 1.9 s."""
    bench.seek(BEGIN_NS + 1000 * MS)
    bench.until(lambda: any(m.ns == 'person' for m in shown.tracks[-1].markers), 'the person')
    person = next(m.id for m in shown.tracks[-1].markers if m.ns == 'person')
    now = BEGIN_NS + 1900 * MS
    bench.seek(now)

    def first():
        """Return the first message of the new moment."""
        return next((m for m in shown.tracks if now in map(stamp_ns, m.markers)), None)

    bench.until(first, 'the new moment')
    gone = {(m.ns, m.id) for m in first().markers if m.action == Marker.DELETE}
    assert gone == {('person', person), ('person/text', person)}


@pytest.mark.parametrize(
    ('asked', 'got'),
    [
        (0, BEGIN_NS),
        (BEGIN_NS - 1, BEGIN_NS),
        (BEGIN_NS + 1, BEGIN_NS),
        (BEGIN_NS + 1_234_567_890, BEGIN_NS + 1_234_567_000),
        (END_NS, END_NS),
        (END_NS + 1, END_NS),
        (2_000_000_000 * 1_000_000_000, END_NS),
    ],
)
def test_seek_clamps_to_the_range_and_whole_microseconds(bench, asked, got):
    bench.seek(asked)
    assert bench.trigger('stop')['current_time_us'] * 1000 == got
    bench.until(lambda: bench.clock_ns == got, 'the clock')


@pytest.mark.parametrize('target_ns', [BEGIN_NS + 100 * MS, BEGIN_NS + 1500 * MS])
def test_seek_keeps_playing(bench, target_ns):
    bench.configure(rate=0.01)
    bench.seek(BEGIN_NS + 1000 * MS)
    bench.trigger('play')
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
