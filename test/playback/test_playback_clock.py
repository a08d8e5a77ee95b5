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
END = BEGIN + 20 * S


class Wall:
    """A steady clock that goes on only when told to."""

    def __init__(self, t_ns=5 * S):
        self.t_ns = t_ns

    def __call__(self):
        return self.t_ns

    def __iadd__(self, delta_ns):
        self.t_ns += delta_ns
        return self


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
def clock(wall):
    return PlaybackClock(BEGIN, END, now=wall)


def run(clock, wall, duration_ns, step_ns=10 * MS):
    """Drive the clock as a timer does."""
    spans = []
    for _ in range(duration_ns // step_ns):
        wall += step_ns
        spans.append(clock.advance())
    return spans


def test_starts_halted_at_begin_and_stays_there(clock, wall):
    assert clock.position_ns == clock.begin_ns == BEGIN
    assert clock.end_ns == END
    assert not clock.is_playing
    assert not clock.done
    assert clock.rate == 1.0
    assert clock.loop is False
    assert clock.duration_s == 20.0
    assert clock.seconds_since_start == 0.0
    assert clock.progress == 0.0
    wall += 3 * S
    assert clock.advance() == Advance(BEGIN, BEGIN, BEGIN)


def test_range_is_moved_inward_to_whole_microseconds(wall):
    clock = PlaybackClock(1_000_001, 9_999_999, now=wall)
    assert (clock.begin_ns, clock.end_ns) == (1_001_000, 9_999_000)


@pytest.mark.parametrize(('begin', 'end'), [(2_000, 1_000), (1_001, 1_999)])
def test_empty_range_is_refused(begin, end):
    with pytest.raises(ValueError, match=rf'^the range from {begin} ns to {end} ns is empty'):
        PlaybackClock(begin, end)


def test_range_of_one_moment(wall):
    clock = PlaybackClock(BEGIN, BEGIN, now=wall)
    assert clock.done
    assert clock.progress == 1.0
    assert clock.duration_s == 0.0
    clock.play()
    assert clock.advance() == Advance(BEGIN - 1, BEGIN, BEGIN, finished=True)
    assert not clock.is_playing


def test_default_wall_clock_is_the_steady_one():
    clock = PlaybackClock(0, 3600 * S)
    clock.play()
    first = clock.advance().position_ns
    assert clock.advance().position_ns >= first >= 0


def test_plays_at_wall_speed(clock, wall):
    # Time before does not count.
    wall += 100 * S
    clock.play()
    assert clock.is_playing
    wall += 10 * MS
    assert clock.advance() == Advance(BEGIN, BEGIN + 10 * MS, BEGIN + 10 * MS)
    # At one moment nothing is passed twice, and to play while it plays changes nothing.
    assert clock.advance() == Advance(*[BEGIN + 10 * MS] * 3)
    wall += 5 * MS
    clock.play()
    wall += 10 * MS
    assert clock.advance() == Advance(BEGIN + 10 * MS, BEGIN + 25 * MS, BEGIN + 25 * MS)
    assert clock.seconds_since_start == 0.025
    assert clock.progress == 0.025 / 20


def test_a_wall_clock_that_goes_back_moves_nothing_back(clock, wall):
    clock.play()
    wall += -3 * S
    assert clock.advance().position_ns == BEGIN


def test_stop_keeps_the_position_reached(clock, wall):
    clock.play()
    run(clock, wall, 100 * MS)
    clock.stop()
    assert not clock.is_playing
    wall += 7 * S
    assert clock.advance() == Advance(*[BEGIN + 100 * MS] * 3)
    clock.stop()
    clock.play()
    wall += 5 * MS
    assert clock.advance() == Advance(BEGIN + 100 * MS, BEGIN + 105 * MS, BEGIN + 105 * MS)


def test_halts_at_the_end(clock, wall):
    clock.play()
    wall += 19 * S
    clock.advance()
    wall += 2 * S
    assert clock.advance() == Advance(BEGIN + 19 * S, END, END, finished=True)
    assert clock.done
    assert not clock.is_playing
    assert clock.progress == 1.0
    wall += 2 * S
    assert clock.advance() == Advance(END, END, END)


def test_the_end_is_reached_to_the_microsecond(clock, wall):
    clock.play()
    wall += 20 * S - 1
    assert clock.advance().position_ns == END - 1000
    assert clock.is_playing
    assert not clock.done
    wall += 1
    assert clock.advance() == Advance(END - 1000, END, END, finished=True)


def test_play_at_the_end_starts_from_begin_which_is_due(clock, wall):
    clock.seek(END)
    clock.play()
    assert clock.position_ns == BEGIN
    assert clock.is_playing
    wall += 10 * MS
    assert clock.advance() == Advance(BEGIN - 1, BEGIN + 10 * MS, BEGIN + 10 * MS)


def test_loop_passes_the_end_and_starts_over(wall):
    clock = PlaybackClock(BEGIN, END, now=wall, loop=True)
    clock.play()
    wall += 19 * S
    clock.advance()
    wall += 2 * S
    wrapped = clock.advance()
    assert wrapped == Advance(BEGIN + 19 * S, END, BEGIN, wrapped=True)
    assert clock.is_playing
    assert not clock.done
    assert clock.passed_ns == BEGIN - 1
    wall += 10 * MS
    assert clock.advance() == Advance(BEGIN - 1, BEGIN + 10 * MS, BEGIN + 10 * MS)


def test_loop_can_be_switched_while_playing(clock, wall):
    clock.play()
    clock.loop = True
    wall += 25 * S
    assert clock.advance().wrapped
    clock.loop = False
    wall += 25 * S
    assert clock.advance() == Advance(BEGIN - 1, END, END, finished=True)


def test_reset_rewinds_halts_and_keeps_the_rate(clock, wall):
    clock.set_rate(3.0)
    clock.play()
    run(clock, wall, 100 * MS)
    clock.reset()
    assert clock.position_ns == BEGIN
    assert not clock.is_playing
    assert clock.rate == 3.0
    clock.play()
    wall += 10 * MS
    assert clock.advance() == Advance(BEGIN, BEGIN + 30 * MS, BEGIN + 30 * MS)


@pytest.mark.parametrize(
    ('asked', 'reached'),
    [
        (BEGIN + 5 * S, BEGIN + 5 * S),
        (BEGIN + 5 * S + 999, BEGIN + 5 * S),
        (BEGIN - 1, BEGIN),
        (2**63 - 1, END),
        (-(2**63), BEGIN),
    ],
)
def test_seek_clamps_to_the_range_and_to_microseconds(clock, asked, reached):
    assert clock.seek(asked) == reached
    assert clock.position_ns == reached
    assert clock.passed_ns == reached
    assert not clock.is_playing


@pytest.mark.parametrize('target', [BEGIN + 15 * S, BEGIN + 2 * S])
def test_seek_while_playing_goes_on_from_there(clock, wall, target):
    clock.play()
    wall += 10 * S
    clock.advance()
    wall += 1 * S  # not yet advanced over: lost with the jump
    clock.seek(target)
    assert clock.is_playing
    wall += 10 * MS
    assert clock.advance() == Advance(target - 1, target + 10 * MS, target + 10 * MS)


def test_seek_to_the_end_while_playing_halts_or_loops(clock, wall):
    clock.play()
    clock.seek(END)
    assert clock.done
    assert not clock.is_playing
    clock.loop = True
    clock.play()
    clock.seek(END)
    assert clock.is_playing
    assert clock.advance() == Advance(END - 1, END, BEGIN, wrapped=True)


@pytest.mark.parametrize('rate', [0.01, 0.1, 1.0, 2.5, 100.0])
def test_rate_scales_wall_time(wall, rate):
    clock = PlaybackClock(0, 10_000 * S, now=wall, rate=rate)
    clock.play()
    wall += 40 * S
    expected = int(Fraction(rate) * 40 * S) // 1000 * 1000
    assert clock.advance().position_ns == expected


def test_rate_2_5_over_an_hour_of_timer_steps_does_not_drift(wall):
    clock = PlaybackClock(0, 10**14, now=wall, rate=2.5)
    clock.play()
    for _ in range(1000):
        wall += 3_600_000_123
        clock.advance()
    assert clock.position_ns == 1000 * 3_600_000_123 * 5 // 2 // 1000 * 1000


def test_changing_the_rate_changes_only_what_follows(clock, wall):
    wall += 1 * S
    clock.set_rate(50.0)
    assert clock.advance().position_ns == BEGIN
    clock.set_rate(1.0)
    clock.play()
    wall += 1 * S
    clock.set_rate(2.0)
    assert clock.position_ns == BEGIN
    wall += 1 * S
    assert clock.advance().position_ns == BEGIN + 3 * S
    clock.set_rate(0.5)
    wall += 1 * S
    assert clock.advance().position_ns == BEGIN + 3 * S + 500 * MS


@pytest.mark.parametrize('rate', [0.0, 0.0099, -1.0, 100.1, float('inf'), float('nan')])
def test_rate_out_of_range_is_refused_and_the_old_one_stays(clock, rate):
    with pytest.raises(ValueError, match=r'expected 0\.01 to 100'):
        clock.set_rate(rate)
    assert clock.rate == 1.0
    with pytest.raises(ValueError, match='the rate is'):
        PlaybackClock(BEGIN, END, rate=rate)


@pytest.mark.parametrize('origin', [0, 1_600_000_000 * S, 2**61 // 1000 * 1000])
def test_large_times_lose_nothing(origin):
    wall = Wall(2**61 + 1)
    clock = PlaybackClock(origin, origin + 3600 * S, now=wall)
    clock.play()
    wall += 1 * S + 1_000
    assert clock.advance().position_ns == origin + 1 * S + 1_000
    wall += 1
    assert clock.advance().position_ns == origin + 1 * S + 1_000
    wall += 999
    assert clock.advance().position_ns == origin + 1 * S + 2_000


@pytest.mark.parametrize('rate', [0.01, 1.0, 2.5, 100.0])
def test_tick_is_exact_whatever_the_rate(clock, wall, rate):
    clock.set_rate(rate)
    wall += 3 * S
    assert clock.tick(100 * MS) == Advance(BEGIN, BEGIN + 100 * MS, BEGIN + 100 * MS)
    assert clock.tick(33_333_000).position_ns == BEGIN + 133_333_000
    assert not clock.is_playing


def test_tick_while_playing_adds_to_the_running_position(clock, wall):
    clock.play()
    run(clock, wall, 50 * MS)
    at = BEGIN + 50 * MS
    assert clock.tick(100 * MS) == Advance(at, at + 100 * MS, at + 100 * MS)
    assert clock.is_playing
    wall += 10 * MS
    assert clock.advance() == Advance(at + 100 * MS, at + 110 * MS, at + 110 * MS)


@pytest.mark.parametrize('playing', [False, True])
def test_a_tick_ends_at_the_end_and_from_there_moves_nothing(clock, playing):
    clock.seek(END - 30 * MS)
    if playing:
        clock.play()
    after = clock.passed_ns
    assert clock.tick(100 * MS) == Advance(after, END, END, finished=True)
    assert clock.done
    assert not clock.is_playing
    assert clock.tick(100 * MS) == Advance(END, END, END)
    assert clock.done


def test_with_loop_a_tick_is_clamped_and_the_next_one_starts_over(clock, wall):
    clock.loop = True
    clock.seek(END - 30 * MS)
    assert clock.tick(100 * MS) == Advance(END - 30 * MS, END, END, finished=True)
    assert clock.done
    after_begin = BEGIN + 100 * MS
    assert clock.tick(100 * MS) == Advance(BEGIN - 1, after_begin, after_begin, wrapped=True)
    assert not clock.done
    # While it plays the next lap begins with time, and a tick may cover all of one.
    clock.play()
    clock.tick(30 * S)
    assert clock.done
    assert clock.is_playing
    wall += 10 * MS
    assert clock.advance() == Advance(END, END, BEGIN, wrapped=True)
    clock.seek(END)
    assert clock.tick(90 * S) == Advance(BEGIN - 1, END, END, wrapped=True, finished=True)


@pytest.mark.parametrize('delta', [0, -1000, 1, 999, 1001])
def test_tick_of_no_whole_microsecond_is_refused(clock, delta):
    with pytest.raises(ValueError, match=f'tick of {delta} ns'):
        clock.tick(delta)
    assert clock.position_ns == BEGIN


def test_a_limit_holds_the_clock_and_held_time_is_not_caught_up(clock, wall):
    clock.play()
    limit = BEGIN + 33 * MS
    wall += 20 * MS
    assert clock.advance(limit).position_ns == BEGIN + 20 * MS
    wall += 20 * MS
    assert clock.advance(limit) == Advance(BEGIN + 20 * MS, limit, limit)
    wall += 5 * S
    assert clock.advance(limit) == Advance(limit, limit, limit)
    assert clock.is_playing
    wall += 10 * MS  # held until this moment: the last call that held is the anchor
    assert clock.advance(limit + 33 * MS).position_ns == limit + 10 * MS
    clock.set_rate(10.0)
    wall += 10 * MS
    assert clock.advance(None).position_ns == limit + 110 * MS


def test_a_limit_that_is_just_reached_costs_no_time(clock, wall):
    clock.play()
    wall += 1_500
    assert clock.advance(BEGIN + 1_500).position_ns == BEGIN + 1_000
    wall += 500
    assert clock.advance().position_ns == BEGIN + 2_000


@pytest.mark.parametrize(
    ('from_ns', 'waited_s', 'limit_ns', 'loop', 'expected'),
    [
        # Rounded down to a microsecond; behind the position nothing goes back.
        (0, 1, 1_999, False, Advance(BEGIN, *[BEGIN + 1_000] * 2)),
        (5 * S, 1, 1 * S, False, Advance(*[BEGIN + 5 * S] * 3)),
        # Not as far as the limit, where the wall is not.
        (0, 0.01, 1 * S, False, Advance(BEGIN, *[BEGIN + 10 * MS] * 2)),
        # The end, at the limit and before it.
        (0, 30, 20 * S, False, Advance(BEGIN, END, END, finished=True)),
        (0, 30, 20 * S + 1, False, Advance(BEGIN, END, END, finished=True)),
        # A looping clock reaches a limit that is the end, and wraps before one beyond it.
        (0, 20, 20 * S, True, Advance(BEGIN, END, END)),
        (0, 30, 20 * S + 1_000, True, Advance(BEGIN, END, BEGIN, wrapped=True)),
    ],
)
def test_how_far_a_limit_lets_the_clock_go(
    clock, wall, from_ns, waited_s, limit_ns, loop, expected
):
    clock.loop = loop
    if from_ns:
        clock.seek(BEGIN + from_ns)
    clock.play()
    wall += round(waited_s * S)
    assert clock.advance(BEGIN + limit_ns) == expected


def test_limit_at_the_end_holds_a_looping_clock_there(clock, wall):
    clock.loop = True
    clock.play()
    wall += 30 * S
    assert clock.advance(END) == Advance(BEGIN, END, END)
    wall += 30 * S
    assert clock.advance(END) == Advance(END, END, END)
    assert clock.is_playing
    assert clock.advance() == Advance(END, END, BEGIN, wrapped=True)
    wall += 10 * MS
    assert clock.advance(END).position_ns == BEGIN + 10 * MS


ACTION = st.one_of(
    st.tuples(st.just('wait'), st.integers(0, 3 * S)),
    st.tuples(st.just('advance'), st.one_of(st.none(), st.integers(-S, 6 * S))),
    st.tuples(st.just('tick'), st.integers(1, 6_000_000).map(lambda us: us * 1000)),
    st.tuples(st.just('seek'), st.integers(-S, 6 * S)),
    st.tuples(st.just('rate'), st.floats(0.01, 100.0)),
    st.tuples(st.just('loop'), st.booleans()),
    st.tuples(st.sampled_from(['play', 'stop', 'reset']), st.none()),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ACTION, max_size=40))
def test_invariants(actions):
    wall = Wall()
    clock = PlaybackClock(0, 5 * S, now=wall)
    for action, value in actions:
        before, passed, plays = clock.position_ns, clock.passed_ns, clock.is_playing
        span = None
        if action == 'wait':
            wall += value
        elif action == 'rate':
            clock.set_rate(value)
        elif action == 'loop':
            clock.loop = value
        elif action in ('advance', 'tick', 'seek'):
            result = getattr(clock, action)(value)
            span = None if action == 'seek' else result
        else:
            getattr(clock, action)()
        assert 0 <= clock.position_ns <= 5 * S
        assert clock.position_ns % 1000 == 0
        assert 0.0 <= clock.progress <= 1.0
        assert clock.passed_ns in (clock.position_ns, clock.position_ns - 1)
        if clock.done and clock.is_playing:
            # Only switching the loop off leaves it so, until the next advance.
            assert clock.loop or action in ('loop', 'wait', 'rate', 'play', 'advance')
        if action == 'stop':
            assert clock.position_ns == before
        if span is not None:
            assert span.after_ns <= span.until_ns
            assert span.position_ns == clock.position_ns
            assert span.wrapped or span.until_ns == span.position_ns
            if plays and not (action == 'tick' and span.wrapped):
                # Nothing is passed twice, and nothing is left out.
                assert span.after_ns == passed
            if action == 'advance' and value is not None:
                assert span.until_ns <= max(value, before)
