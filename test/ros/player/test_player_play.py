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
"""play, stop and reset: the clock runs, halts where it is, goes back to begin."""

from test.support.archives import START_US
from test.support.player_bench import stamp_ns

import pytest

pytestmark = pytest.mark.contract

BEGIN_NS = START_US * 1000
END_NS = BEGIN_NS + 2_000_000_000

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
    from diagnostic_msgs.msg import DiagnosticStatus

    late = bench.listen(DiagnosticStatus, '~/state', latched=True)
    bench.until(lambda: late, 'the latched state')
