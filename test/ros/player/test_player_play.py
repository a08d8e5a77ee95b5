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
"""play, stop and reset, what rosbag2 calls them, what the state says of it, and /clock."""

from itertools import pairwise
import signal
from statistics import median
from test.support.archives import START_US
from test.support.player_bench import BEGIN_NS, END_NS, MS, NOWHERE, stamp_ns, state_of
import time

from nav_msgs.msg import Path
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
from rosgraph_msgs.msg import Clock
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

pytestmark = pytest.mark.contract


def test_waits_at_begin_halted(bench):
    state = bench.trigger('stop')
    assert state['current_time_us'] == START_US
    assert (state['is_playing'], state['done'], state['progress']) == (False, False, 0.0)
    assert state['duration_s'] == pytest.approx(2.0)
    assert state['scenario'].startswith('clipgt-')
    assert {stamp_ns(clock) for clock in bench.spin(bench.clocks, 20)} == {BEGIN_NS}


def test_play_runs_to_the_end_without_going_back_and_halts_there(bench):
    before = len(bench.clocks)
    bench.configure(rate=0.1)
    assert bench.trigger('play')['is_playing']
    bench.spin(bench.clocks, 20)
    # Nor by another rate on the way.
    bench.configure(rate=4.0)
    bench.passes(END_NS)
    stamps = [stamp_ns(clock) for clock in bench.clocks[before:]]
    assert stamps == sorted(stamps)
    assert all(stamp % 1000 == 0 for stamp in stamps)
    assert {stamp_ns(clock) for clock in bench.spin(bench.clocks, 20)} == {END_NS}
    bench.until(lambda: bench.state['done'], 'the state of the end')
    assert (bench.state['is_playing'], bench.state['progress']) == (False, 1.0)
    assert bench.state['current_time_us'] == END_NS // 1000
    # From the end it plays from begin.
    assert bench.trigger('stop')['done']
    state = bench.trigger('play')
    assert (state['is_playing'], state['done']) == (True, False)
    assert state['current_time_us'] == START_US


@pytest.fixture
def slow(bench):
    """Return the player at a rate at which it does not halt at the end by itself meanwhile."""
    bench.configure(rate=0.1)
    return bench


def test_stop_keeps_the_position_and_reset_the_rate(slow):
    slow.trigger('play')
    assert slow.trigger('play')['is_playing']
    slow.passes(BEGIN_NS + 20 * MS)
    state = slow.trigger('stop')
    position_ns = state['current_time_us'] * 1000
    assert BEGIN_NS < position_ns < END_NS
    slow.stands(position_ns)
    assert {stamp_ns(clock) for clock in slow.spin(slow.clocks, 20)} == {position_ns}
    assert not slow.trigger('stop')['is_playing']
    assert slow.trigger('play')['current_time_us'] == state['current_time_us']
    slow.passes(position_ns + MS)
    state = slow.trigger('reset')
    assert (state['is_playing'], state['current_time_us']) == (False, START_US)
    assert state['speed'] == 0.1
    slow.stands(BEGIN_NS)


STATE = {
    **dict.fromkeys(('is_playing', 'done'), bool),
    **dict.fromkeys(('speed', 'seconds_since_start', 'duration_s', 'progress'), float),
    **dict.fromkeys(('current_time_us', 'active_tracks', 'start_us', 'end_us'), int),
    **dict.fromkeys(('new_track_ids', 'removed_track_ids', 'cameras'), list),
    'scenario': str,
}


def test_every_change_is_answered_and_told_by_the_state_in_json_types(slow):
    for name, is_playing in (('play', True), ('stop', False), ('play', True), ('reset', False)):
        before = len(slow.states)
        answer = slow.trigger(name)
        assert {key: type(answer.get(key)) for key in STATE} == STATE

        def told(before=before):
            return [state_of(message) for message in slow.states[before:]]

        slow.until(
            lambda told=told, wanted=is_playing: wanted in [one['is_playing'] for one in told()],
            f'the state after {name}',
        )
        assert {key: type(told()[-1].get(key)) for key in STATE} == STATE
    assert {key: type(value) for key, value in slow.trigger('tick').items()} == STATE


# What a jump shows of the scene.


def stamps(messages):
    """Return the stamps of all transforms or markers of messages."""
    parts = (m.transforms if hasattr(m, 'transforms') else m.markers for m in messages)
    return [stamp_ns(one) for some in parts for one in some]


class Shown:
    """What is shown of the scene at a moment and from it on; of earlier jumps nothing more."""

    def __init__(self, bench):
        self._bench = bench
        self.tracks = bench.hear(MarkerArray, '~/tracks')
        self.transforms = bench.hear(TFMessage, '/tf')
        self.egos = bench.hear(MarkerArray, '~/ego', latched=True)
        self.paths = bench.hear(Path, '~/path', latched=True)
        bench.seek(END_NS)
        # No other test jumps there.
        bench.seek(BEGIN_NS + 50 * MS)
        bench.until(lambda: stamps(self.egos).count(BEGIN_NS + 50 * MS) == 2, 'it, and again')

    def begin(self, t_ns):
        self._bench.seek(t_ns)
        last = (self.tracks, self.transforms)
        self._bench.until(
            lambda: all({*stamps(messages[-1:])} == {t_ns} for messages in last), 'the moment'
        )
        self._bench.until(lambda: self._bench.state['current_time_us'] * 1000 == t_ns, 'its state')
        for messages in (*last, self.egos, self.paths):
            messages.clear()

    def those_with(self, action):
        """Return the indices of the messages of tracks with a marker of an action."""
        actions = [{marker.action for marker in message.markers} for message in self.tracks]
        return [index for index, some in enumerate(actions) if action in some]


@pytest.mark.parametrize('jump', ['seek', 'reset', 'load', 'play'])
def test_a_jump_back_clears_once_and_shows_the_new_time_alone_at_once_and_again(bench, jump):
    shown = Shown(bench)
    start_ns = END_NS if jump == 'play' else BEGIN_NS + 1500 * MS
    shown.begin(start_ns)
    told = len(bench.states)
    bench.configure(rate=0.01)
    if jump == 'seek':
        bench.seek(BEGIN_NS + 1000 * MS)
    else:
        bench.trigger(jump)

    def all_twice():
        (cleared, *_) = *shown.those_with(Marker.DELETEALL), 1 << 30
        return min(len(shown.paths), len(shown.egos), len(shown.tracks) - cleared - 1) >= 2

    bench.until(all_twice, 'path, ego and tracks, twice')
    assert len(shown.paths) == len(shown.egos) == 2
    # One message that clears, alone, before all others of the new time.
    (cleared,) = shown.those_with(Marker.DELETEALL)
    assert len(shown.tracks[cleared].markers) == 1
    before, (_, *after) = shown.tracks[:cleared], shown.tracks[cleared:]
    assert {marker.action for message in after for marker in message.markers} <= {Marker.ADD}
    # The time before may have been repeated just before the jump.
    assert {*stamps(before)} <= {start_ns}
    assert all(t_ns < start_ns for t_ns in stamps(after))
    bench.until(lambda: sum(t < start_ns for t in stamps(shown.transforms)) >= 3, 'the new time')
    is_new = [t_ns < start_ns for t_ns in stamps(shown.transforms)]
    assert is_new == sorted(is_new)

    def of_the_new_time():
        states = map(state_of, bench.states[told:])
        return next((one for one in states if one['current_time_us'] * 1000 < start_ns), None)

    # A client that forgets all at a jump has them all again.
    first = bench.until(of_the_new_time, 'the state')
    assert len(first['new_track_ids']) == first['active_tracks']
    assert jump != 'seek' or sorted(first['new_track_ids']) == ['1', '2@scene:a', '3']


def test_a_seek_forward_clears_nothing_and_who_is_gone_is_deleted(bench):
    """Track 2@scene:a is there at 1 s, and gone at 1.9 s."""
    shown = Shown(bench)
    shown.begin(BEGIN_NS + 1000 * MS)
    markers = bench.spin(shown.tracks, 1)[0].markers
    (person,) = (marker.id for marker in markers if marker.ns == 'person')
    bench.seek(BEGIN_NS + 1900 * MS)
    (index, *_) = bench.until(lambda: shown.those_with(Marker.DELETE), 'a deletion')
    gone = {(m.ns, m.id) for m in shown.tracks[index].markers if m.action == Marker.DELETE}
    assert gone == {('person', person), ('person/text', person)}
    bench.spin(bench.clocks, 80)
    assert not shown.those_with(Marker.DELETEALL)
    assert not shown.paths


def test_loop_starts_over_and_is_never_done(bench):
    shown = Shown(bench)
    # So slowly that nothing which holds the player up lasts for a lap.
    bench.configure(loop=True, rate=0.1)
    shown.begin(BEGIN_NS + 60 * MS)
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
    bench.until(lambda: len(shown.those_with(Marker.DELETEALL)) >= 2, 'a DELETEALL for each lap')
    assert len(shown.those_with(Marker.DELETEALL)) == wraps() == 2


def paused(bench):
    return bench.call(IsPaused, 'is_paused').paused


def play_next(bench):
    return bench.call(PlayNext, 'play_next').success


def set_rate(bench, rate):
    return bench.call(SetRate, 'set_rate', SetRate.Request(rate=rate)).success


def test_pause_and_resume_are_stop_and_play(slow):
    assert paused(slow)
    for service, name, expected in [
        (Resume, 'resume', False),
        (Resume, 'resume', False),
        (Pause, 'pause', True),
        (Pause, 'pause', True),
        *[(TogglePaused, 'toggle_paused', paused) for paused in (False, True, False, True)],
    ]:
        slow.call(service, name)
        assert paused(slow) is expected
    slow.trigger('play')
    assert not paused(slow)
    slow.passes(BEGIN_NS + 20 * MS)
    slow.call(Pause, 'pause')
    state = slow.trigger('stop')
    assert not state['is_playing']
    assert state['current_time_us'] >= START_US + 20_000
    slow.call(Resume, 'resume')
    assert slow.trigger('play')['is_playing']


def test_rate_and_parameter_stay_in_step(bench):
    for rate in (0.01, 0.5, 2.0, 100.0):
        assert set_rate(bench, rate)
        assert bench.call(GetRate, 'get_rate').rate == rate
        assert bench.get('rate') == rate
        assert bench.trigger('stop')['speed'] == rate
        assert bench.configure(rate=1.5)[0].successful
        assert bench.call(GetRate, 'get_rate').rate == 1.5


def test_a_rate_out_of_range_is_refused(bench):
    for rate in (0.0, -1.0, 0.009, 100.1, float('nan'), float('inf')):
        assert not set_rate(bench, rate)
        assert bench.call(GetRate, 'get_rate').rate == 1.0
        assert bench.get('rate') == 1.0
    assert bench.player.output.count('~/set_rate refused') == 6


def test_play_next_refuses_while_playing_at_the_end_and_after_the_last_frame(slow):
    before = slow.player.output.count('~/play_next refused: ')
    slow.trigger('play')
    assert not play_next(slow)
    assert slow.trigger('play')['is_playing']
    slow.trigger('stop')
    for position_us, done in ((2_000_000, True), (1_999_999, False)):
        slow.seek(BEGIN_NS + position_us * 1000)
        assert not play_next(slow)
        state = slow.trigger('stop')
        assert (state['current_time_us'], state['done']) == (START_US + position_us, done)
    assert slow.player.output.count('~/play_next refused: ') == before + 3


def test_a_scenario_of_one_moment_is_done_and_never_plays(start, usdz, server):
    bench = start(
        usdz_path=usdz,
        server=server.address,
        start_offset_s=1.0,
        end_offset_s=1.0,
        loop=True,
        autoplay=True,
    ).ready()
    moment_ns = BEGIN_NS + 1000 * MS
    assert stamp_ns(bench.infos_of()[0]) == moment_ns
    for name in ('play', 'tick', 'tick', 'stop', 'reset'):
        state = bench.trigger(name)
        assert (state['is_playing'], state['done']) == (False, True)
        assert state['current_time_us'] * 1000 == moment_ns
    assert {stamp_ns(clock) for clock in bench.spin(bench.clocks, 20)} == {moment_ns}


# How far apart the messages are that are compared for the speed: a delay of one is little then.
STEP = 10


def rate_of(heard):
    """
    Give the messages per second of what was heard last, by when they were sent.

    Other work on the machine has the timer come late, and then soon again or one period later
    still: it is the median of pairs of intervals.
    """
    sent = [sent_ns for sent_ns, _ in heard]
    return median(2e9 / (b - a) for a, b in zip(sent, sent[2:], strict=False))


def speeds_of(heard):
    """Give the scenario seconds per wall second, within a lap; at begin it may not play yet."""
    moments = [(sent_ns, stamp_ns(clock)) for sent_ns, clock in heard]
    spans = zip(moments, moments[STEP:], strict=False)
    return [(q - p) / (b - a) for (a, p), (b, q) in spans if BEGIN_NS < p < q]


@pytest.mark.parametrize(
    ('moment', 'rate'), [('halted', 0.0), ('playing', 0.5), ('playing', 4.0), ('at the end', 0.0)]
)
def test_comes_at_100_hz_and_passes_at_the_rate(bench, moment, rate):
    if moment == 'playing':
        # Over and over, so that it does not halt before enough of it was heard.
        bench.configure(rate=rate, loop=True)
    elif moment == 'at the end':
        bench.seek(END_NS)
    heard = bench.listen_sent(Clock, '/clock')
    if moment == 'playing':
        bench.trigger('play')
        bench.until(lambda: len(speeds_of(heard)) >= 100, 'playing')
        assert median(speeds_of(heard)) == pytest.approx(rate, rel=0.1)
    expected = pytest.approx(100.0, rel=0.02)
    bench.until(lambda: len(heard) >= 200 and rate_of(heard[-200:]) == expected, '100 Hz')


def test_clock_rate_is_a_parameter_and_use_sim_time_stops_nothing(start, usdz):
    bench = start(
        usdz_path=usdz, server=NOWHERE, clock_rate=20, use_sim_time=True, rate=10.0
    ).ready()
    assert bench.get('use_sim_time') is True
    heard = bench.listen_sent(Clock, '/clock')
    expected = pytest.approx(20.0, rel=0.02)
    bench.until(lambda: len(heard) >= 40 and rate_of(heard[-40:]) == expected, '20 Hz')
    bench.trigger('play')
    bench.passes(END_NS)
    bench.until(lambda: bench.state['done'], 'the end')


def test_a_clock_that_was_late_does_not_make_up_for_it(bench):
    """Of a timer that leaves out what it missed, 13 messages at most fall into 0.1 s."""
    heard = bench.listen_sent(Clock, '/clock')
    bench.until(lambda: heard, 'the clock')
    bench.player.send_signal(signal.SIGSTOP)
    # What it misses: 50 messages.
    time.sleep(0.5)
    bench.player.send_signal(signal.SIGCONT)

    def sent():
        return [sent_ns for sent_ns, _ in heard]

    def late():
        """Return the places of the messages before which others are missing."""
        return [i for i, (a, b) in enumerate(pairwise(sent()), 1) if b - a > 400_000_000]

    bench.until(lambda: late() and len(heard) >= late()[0] + 60, 'the clock going on')
    spans = [b - a for a, b in zip(sent(), sent()[13:], strict=False)]
    assert min(spans) > 100_000_000


def test_each_step_is_on_the_clock_at_once(start, usdz):
    """Between two messages of its own rate, a second apart, the clock tells every tick."""
    bench = start(usdz_path=usdz, server=NOWHERE, clock_rate=1.0, tick_us=1000).ready()
    heard = bench.listen_sent(Clock, '/clock')
    bench.until(lambda: heard, 'the clock')
    for _ in range(30):
        bench.trigger('tick')
    last_ns = BEGIN_NS + 30 * MS
    bench.until(lambda: stamp_ns(heard[-1][1]) == last_ns, 'the last tick')
    steps = [(sent_ns, stamp_ns(clock)) for sent_ns, clock in heard]
    first_of = {}
    for sent_ns, t_ns in steps:
        first_of.setdefault(t_ns, sent_ns)
    assert [t_ns for t_ns in first_of if t_ns > BEGIN_NS] == [
        BEGIN_NS + MS * count for count in range(1, 31)
    ]
    # Were each to wait for the clock, they would all be a second apart.
    gaps = [b - a for a, b in pairwise(list(first_of.values())[1:])]
    assert sum(gap < 900 * MS for gap in gaps) > len(gaps) / 2
