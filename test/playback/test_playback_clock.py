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
"""The playback clock under an injected wall clock: its whole contract, to the nanosecond."""

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st
from nurec_ros.playback import Advance, PlaybackClock
import pytest

MS = 1_000_000
S = 1_000_000_000
BEGIN = 27_567_868_848_000
WHOLE = 20 * S
END = BEGIN + WHOLE


class Clock(PlaybackClock):
    """A playback clock whose wall clock goes on only when told to."""

    def __init__(self, begin_ns=BEGIN, end_ns=END, *, wall_ns=5 * S, **how):
        self.wall_ns = wall_ns
        super().__init__(begin_ns, end_ns, now=lambda: self.wall_ns, **how)

    def after(self, wall_ns, limit_ns=None):
        """Let so much wall time pass, and return the movement."""
        self.wall_ns += wall_ns
        return self.advance(limit_ns)


@pytest.fixture
def clock():
    return Clock()


def moved(after_ns, until_ns, position_ns=None, **how):
    """Return a movement, its times counted from begin; it stays where it came to."""
    position_ns = until_ns if position_ns is None else position_ns
    return Advance(BEGIN + after_ns, BEGIN + until_ns, BEGIN + position_ns, **how)


def test_starts_halted_at_begin_and_stays_there(clock):
    assert (clock.begin_ns, clock.position_ns, clock.end_ns) == (BEGIN, BEGIN, END)
    assert (clock.is_playing, clock.done, clock.loop, clock.rate) == (False, False, False, 1.0)
    assert (clock.duration_s, clock.seconds_since_start, clock.progress) == (20.0, 0.0, 0.0)
    assert clock.after(3 * S) == moved(0, 0)


def test_ranges():
    clock = Clock(1_000_001, 9_999_999)
    assert (clock.begin_ns, clock.end_ns) == (1_001_000, 9_999_000)
    for begin, end in ((2_000, 1_000), (1_001, 1_999)):
        with pytest.raises(ValueError, match=rf'^the range from {begin} ns to {end} ns is empty'):
            PlaybackClock(begin, end)
    clock = Clock(BEGIN, BEGIN)
    assert (clock.done, clock.progress, clock.duration_s) == (True, 1.0, 0.0)
    clock.play()
    assert clock.advance() == moved(-1, 0, finished=True)
    assert not clock.is_playing


def test_default_wall_clock_is_the_steady_one():
    clock = PlaybackClock(0, 3600 * S)
    clock.play()
    first = clock.advance().position_ns
    assert clock.advance().position_ns >= first >= 0


def test_plays_at_wall_speed(clock):
    # Time before does not count, and what goes back moves nothing back.
    clock.wall_ns += 100 * S
    clock.play()
    assert clock.is_playing
    assert clock.after(-3 * S) == moved(0, 0)
    assert clock.after(3 * S + 10 * MS) == moved(0, 10 * MS)
    # At one moment nothing is passed twice, and to play while it plays changes nothing.
    assert clock.advance() == moved(10 * MS, 10 * MS)
    clock.wall_ns += 5 * MS
    clock.play()
    assert clock.after(10 * MS) == moved(10 * MS, 25 * MS)
    assert (clock.seconds_since_start, clock.progress) == (0.025, 0.025 / 20)


def test_stop_keeps_the_position_and_reset_rewinds_halts_and_keeps_the_rate(clock):
    clock.play()
    clock.after(100 * MS)
    clock.stop()
    assert not clock.is_playing
    assert clock.after(7 * S) == moved(100 * MS, 100 * MS)
    clock.stop()
    clock.play()
    assert clock.after(5 * MS) == moved(100 * MS, 105 * MS)
    clock.set_rate(3.0)
    clock.play()
    clock.after(100 * MS)
    clock.reset()
    assert (clock.position_ns, clock.is_playing, clock.rate) == (BEGIN, False, 3.0)
    clock.play()
    assert clock.after(10 * MS) == moved(0, 30 * MS)


@pytest.mark.parametrize('beyond_ns', [1, 2 * S])
def test_halts_at_the_end_which_is_reached_to_the_microsecond(clock, beyond_ns):
    clock.play()
    assert clock.after(WHOLE - 1) == moved(0, WHOLE - 1000)
    assert (clock.is_playing, clock.done) == (True, False)
    assert clock.after(beyond_ns) == moved(WHOLE - 1000, WHOLE, finished=True)
    assert (clock.is_playing, clock.done, clock.progress) == (False, True, 1.0)
    assert clock.after(2 * S) == moved(WHOLE, WHOLE)


def test_play_at_the_end_and_loop_start_over_from_begin_which_is_due(clock):
    clock.seek(END)
    clock.play()
    assert (clock.position_ns, clock.is_playing) == (BEGIN, True)
    assert clock.after(10 * MS) == moved(-1, 10 * MS)
    clock.after(19 * S - 10 * MS)
    clock.loop = True
    assert clock.after(2 * S) == moved(19 * S, WHOLE, 0, wrapped=True)
    assert (clock.is_playing, clock.done, clock.passed_ns) == (True, False, BEGIN - 1)
    assert clock.after(10 * MS) == moved(-1, 10 * MS)
    clock.loop = False
    assert clock.after(25 * S) == moved(10 * MS, WHOLE, finished=True)


def test_seek_clamps_to_the_range_and_at_the_end_halts_or_loops(clock):
    for asked, reached in (
        (BEGIN + 5 * S, BEGIN + 5 * S),
        (BEGIN + 5 * S + 999, BEGIN + 5 * S),
        (BEGIN - 1, BEGIN),
        (2**63 - 1, END),
        (-(2**63), BEGIN),
    ):
        assert clock.seek(asked) == reached
        assert (clock.position_ns, clock.passed_ns, clock.is_playing) == (reached, reached, False)
    clock.play()
    clock.seek(END)
    assert (clock.done, clock.is_playing) == (True, False)
    clock.loop = True
    clock.play()
    clock.seek(END)
    assert clock.is_playing
    assert clock.advance() == moved(WHOLE - 1, WHOLE, 0, wrapped=True)


@pytest.mark.parametrize('target_s', [15, 2])
def test_seek_while_playing_goes_on_from_there(clock, target_s):
    clock.play()
    clock.after(10 * S)
    clock.wall_ns += 1 * S  # not yet advanced over: lost with the jump
    clock.seek(BEGIN + target_s * S)
    assert clock.is_playing
    assert clock.after(10 * MS) == moved(target_s * S - 1, target_s * S + 10 * MS)


@pytest.mark.parametrize('rate', [0.01, 1.0, 2.5, 100.0])
def test_rate_scales_wall_time_without_drift_and_no_tick(rate):
    clock = Clock(0, 10**15, rate=rate)
    clock.play()
    for _ in range(1000):
        clock.after(3_600_000_123)
    expected = int(Fraction(rate) * 1000 * 3_600_000_123) // 1000 * 1000
    assert clock.position_ns == expected
    clock.stop()
    clock.wall_ns += 3 * S
    assert clock.tick(33_333_000) == Advance(expected, *[expected + 33_333_000] * 2)
    assert not clock.is_playing


def test_changing_the_rate_changes_only_what_follows(clock):
    clock.wall_ns += 1 * S
    clock.set_rate(50.0)
    assert clock.advance() == moved(0, 0)
    clock.set_rate(1.0)
    clock.play()
    clock.wall_ns += 1 * S
    clock.set_rate(2.0)
    assert clock.position_ns == BEGIN
    assert clock.after(1 * S) == moved(0, 3 * S)
    clock.set_rate(0.5)
    assert clock.after(1 * S) == moved(3 * S, 3 * S + 500 * MS)


@pytest.mark.parametrize('rate', [0.0099, 100.1, float('inf'), float('nan')])
def test_rate_out_of_range_is_refused_and_the_old_one_stays(clock, rate):
    with pytest.raises(ValueError, match=r'expected 0\.01 to 100'):
        clock.set_rate(rate)
    assert clock.rate == 1.0
    with pytest.raises(ValueError, match='the rate is'):
        PlaybackClock(BEGIN, END, rate=rate)


@pytest.mark.parametrize('origin', [0, 2**61 // 1000 * 1000])
def test_large_times_lose_nothing(origin):
    clock = Clock(origin, origin + 3600 * S, wall_ns=2**61 + 1)
    clock.play()
    for ns, reached in ((1 * S + 1_000, 1_000), (1, 1_000), (999, 2_000)):
        assert clock.after(ns).position_ns == origin + 1 * S + reached


def test_tick_while_playing_adds_to_the_running_position(clock):
    clock.play()
    clock.after(50 * MS)
    assert clock.tick(100 * MS) == moved(50 * MS, 150 * MS)
    assert clock.is_playing
    assert clock.after(10 * MS) == moved(150 * MS, 160 * MS)
    for delta in (0, -1000, 1, 999, 1001):
        with pytest.raises(ValueError, match=f'tick of {delta} ns'):
            clock.tick(delta)
    assert clock.position_ns == BEGIN + 160 * MS


@pytest.mark.parametrize('playing', [False, True])
def test_a_tick_ends_at_the_end_and_from_there_moves_nothing(clock, playing):
    clock.seek(END - 30 * MS)
    if playing:
        clock.play()
    assert clock.tick(100 * MS) == moved(WHOLE - 30 * MS, WHOLE, finished=True)
    assert (clock.done, clock.is_playing) == (True, False)
    assert clock.tick(100 * MS) == moved(WHOLE, WHOLE)
    assert clock.done


def test_with_loop_a_tick_is_clamped_and_the_next_one_starts_over(clock):
    clock.loop = True
    clock.seek(END - 30 * MS)
    assert clock.tick(100 * MS) == moved(WHOLE - 30 * MS, WHOLE, finished=True)
    assert clock.done
    assert clock.tick(100 * MS) == moved(-1, 100 * MS, wrapped=True)
    assert not clock.done
    # While it plays the next lap begins with time, and a tick may cover all of one.
    clock.play()
    clock.tick(30 * S)
    assert (clock.done, clock.is_playing) == (True, True)
    assert clock.after(10 * MS) == moved(WHOLE, WHOLE, 0, wrapped=True)
    clock.seek(END)
    assert clock.tick(90 * S) == moved(-1, WHOLE, wrapped=True, finished=True)


def test_a_limit_holds_the_clock_and_held_time_is_not_caught_up(clock):
    clock.play()
    limit = BEGIN + 33 * MS
    assert clock.after(20 * MS, limit) == moved(0, 20 * MS)
    assert clock.after(20 * MS, limit) == moved(20 * MS, 33 * MS)
    assert clock.after(5 * S, limit) == moved(33 * MS, 33 * MS)
    assert clock.is_playing
    # held until this moment: the last call that held is the anchor
    assert clock.after(10 * MS, limit + 33 * MS) == moved(33 * MS, 43 * MS)
    clock.set_rate(10.0)
    assert clock.after(10 * MS) == moved(43 * MS, 143 * MS)
    # One that is just reached costs no time.
    clock = Clock()
    clock.play()
    assert clock.after(1_500, BEGIN + 1_500) == moved(0, 1_000)
    assert clock.after(500) == moved(1_000, 2_000)
    # At the end it holds a looping clock too.
    clock = Clock()
    clock.loop = True
    clock.play()
    for after_ns in (0, WHOLE):
        assert clock.after(30 * S, END) == moved(after_ns, WHOLE)
    assert clock.is_playing
    assert clock.advance() == moved(WHOLE, WHOLE, 0, wrapped=True)
    assert clock.after(10 * MS, END) == moved(-1, 10 * MS)


@pytest.mark.parametrize(
    ('from_ns', 'waited_s', 'limit_ns', 'loop', 'expected'),
    [
        # Rounded down to a microsecond; behind the position nothing goes back.
        (0, 1, 1_999, False, moved(0, 1_000)),
        (5 * S, 1, 1 * S, False, moved(5 * S, 5 * S)),
        # Not as far as the limit, where the wall is not.
        (0, 0.01, 1 * S, False, moved(0, 10 * MS)),
        # The end, at the limit and before it.
        (0, 30, WHOLE, False, moved(0, WHOLE, finished=True)),
        (0, 30, WHOLE + 1, False, moved(0, WHOLE, finished=True)),
        # A looping clock wraps before a limit beyond the end.
        (0, 30, WHOLE + 1_000, True, moved(0, WHOLE, 0, wrapped=True)),
    ],
)
def test_how_far_a_limit_lets_the_clock_go(clock, from_ns, waited_s, limit_ns, loop, expected):
    clock.loop = loop
    if from_ns:
        clock.seek(BEGIN + from_ns)
    clock.play()
    assert clock.after(round(waited_s * S), BEGIN + limit_ns) == expected


ACTION = st.one_of(
    st.tuples(st.just('wait'), st.integers(0, 3 * S)),
    st.tuples(st.just('advance'), st.one_of(st.none(), st.integers(-S, 6 * S))),
    st.tuples(st.just('tick'), st.integers(1, 6_000_000).map(lambda us: us * 1000)),
    st.tuples(st.just('seek'), st.integers(-S, 6 * S)),
    st.tuples(st.just('set_rate'), st.floats(0.01, 100.0)),
    st.tuples(st.just('loop'), st.booleans()),
    st.tuples(st.sampled_from(['play', 'stop', 'reset']), st.none()),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ACTION, max_size=40))
def test_invariants(actions):
    clock = Clock(0, 5 * S)
    for action, value in actions:
        before, passed, plays = clock.position_ns, clock.passed_ns, clock.is_playing
        span = None
        if action == 'wait':
            clock.wall_ns += value
        elif action == 'loop':
            clock.loop = value
        elif action in ('play', 'stop', 'reset'):
            getattr(clock, action)()
        else:
            span = getattr(clock, action)(value)
        assert 0 <= clock.position_ns <= 5 * S
        assert clock.position_ns % 1000 == 0
        assert 0.0 <= clock.progress <= 1.0
        assert clock.passed_ns in (clock.position_ns, clock.position_ns - 1)
        if clock.done and clock.is_playing:
            # Only switching the loop off leaves it so, until the next advance.
            assert clock.loop or action in ('loop', 'wait', 'set_rate', 'play', 'advance')
        if action == 'stop':
            assert clock.position_ns == before
        if action in ('advance', 'tick'):
            assert span.after_ns <= span.until_ns
            assert span.position_ns == clock.position_ns
            assert span.wrapped or span.until_ns == span.position_ns
            if plays and not (action == 'tick' and span.wrapped):
                # Nothing is passed twice, and nothing is left out.
                assert span.after_ns == passed
            if action == 'advance' and value is not None:
                assert span.until_ns <= max(value, before)
