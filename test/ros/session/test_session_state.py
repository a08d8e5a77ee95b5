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
"""
State, diagnostics, load and topics, as a recording of a whole session shows them.

| rule | test |
|---|---|
| the topics are those of the contract, of its types, and no others | `test_topics_…` |
| reliability and durability are those of the contract's table | `test_quality_of_service_…` |
| ~/state: the documented keys, each value JSON | `test_state_has_…`, `test_state_values_…` |
| ~/state agrees with /clock and with itself | `test_state_agrees_…`, `test_progress_…` |
| ~/state on every change and at 1 Hz | `test_state_is_told_…` |
| a Trigger's answer has the fields of ~/state and says what it says | `test_answers_…` |
| new and removed tracks are those since the last message; a tick's in its answer | `…_ids_…` |
| done exactly while the position is the end | `test_done_…` |
| load: begins halted at the new begin; a bad file changes nothing | `test_load_…`, `…refused…` |
| /diagnostics at 1 Hz: playback, renderer, one per camera; scenario time | `test_diagnostics_…` |
| shutdown: exit code 0, no traceback, nothing after the DELETEALL | `test_shutdown_…` |
"""

import itertools
import json
from statistics import median
from test.ros.session.drive import TOPICS
from test.ros.session.scenarios import SECOND

import pytest
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

pytestmark = pytest.mark.contract

KEYS = [
    'is_playing',
    'speed',
    'current_time_us',
    'seconds_since_start',
    'duration_s',
    'progress',
    'done',
    'scenario',
    'active_tracks',
    'new_track_ids',
    'removed_track_ids',
    'start_us',
    'end_us',
    'cameras',
]
CHANGING = ('new_track_ids', 'removed_track_ids')
PATIENCE_NS = 3 * SECOND


def triggers(recording):
    """Return the acts that were answered with a state."""
    return [
        act
        for act in recording.session.acts
        if isinstance(act.answer, dict) and 'current_time_us' in act.answer
    ]


def moment(recording, state):
    """Return the scenario that a state is about, and the position in it."""
    truth = next(one for one in recording.session.truths if one.sequence_id == state['scenario'])
    return truth, state['current_time_us'] * 1000


def test_topics_are_those_of_the_contract(recording, session):
    assert {name: offer.topic_type for name, (offer,) in recording.offers.items()} == {
        name: kind for name, (kind, _) in TOPICS.items()
    }
    assert all(recording.of(name) for name in TOPICS)
    # What every ROS node has.
    assert session.recorder.unexpected <= {'/rosout', '/parameter_events'}


@pytest.mark.parametrize('topic', TOPICS)
def test_quality_of_service_is_that_of_the_contract(recording, topic):
    """Look at what the recorder found offered, of one publisher."""
    qos = recording.offers[topic][0].qos_profile
    assert qos.reliability == ReliabilityPolicy.RELIABLE
    latched = TOPICS[topic][1]
    durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
    assert qos.durability == durability


def test_state_has_the_documented_keys(recording):
    for entry in recording.of('~/state'):
        assert [one.key for one in entry.message.values][: len(KEYS)] == KEYS


def test_state_values_are_of_their_types(recording):
    number = (int, float)
    kinds = (bool, number, int, number, number, number, bool, str, int, list, list, int, int, list)
    for _, state in recording.states:
        for key, kind in zip(KEYS, kinds, strict=True):
            assert isinstance(state[key], kind), (key, state[key])
            assert isinstance(state[key], bool) is (kind is bool)


def test_state_agrees_with_the_clock(recording):
    for sent_ns, state in recording.states:
        if not recording.clocks[0].sent_ns < sent_ns < recording.clocks[-1].sent_ns:
            continue
        assert (state['current_time_us'] * 1000 or 1) in recording.positions_at(sent_ns)


def test_progress_follows_from_the_position(recording):
    for _, state in recording.states:
        truth, position = moment(recording, state)
        duration = (truth.end_ns - truth.begin_ns) / SECOND
        since = (position - truth.begin_ns) / SECOND
        assert state['duration_s'] == pytest.approx(duration, abs=1e-9)
        assert state['seconds_since_start'] == pytest.approx(since, abs=1e-9)
        assert state['progress'] == pytest.approx(since / duration, abs=1e-9)


def test_done_is_true_exactly_at_the_end(recording):
    seen = set()
    for _, state in recording.states:
        truth, position = moment(recording, state)
        assert state['done'] is (position == truth.end_ns)
        seen.add(state['done'])
        assert not (state['done'] and state['is_playing']) or position == truth.end_ns
    assert seen == {True, False}


def test_active_tracks_are_counted(recording):
    for _, state in recording.states:
        truth, position = moment(recording, state)
        assert state['active_tracks'] == len(truth.active(position))


def test_track_ids_add_up(recording):
    """Follow who came and went from message to message, through all jumps and loads."""
    _, before = recording.states[0]
    truth, position = moment(recording, before)
    there = set(truth.active(position))
    changes = 0
    for _, state in recording.states[1:]:
        new, removed = (state[key] for key in CHANGING)
        truth, position = moment(recording, state)
        active = set(truth.active(position))
        assert len(set(new)) == len(new)
        jumped = position < moment(recording, before)[1] or state['scenario'] != before['scenario']
        # The first message after a jump back or a load may list all that are active as new.
        if not (jumped and set(new) == active):
            assert not there & set(new)
            assert there >= set(removed)
            assert there - set(removed) | set(new) == active
        there, before = active, state
        changes += len(new) + len(removed)
    assert changes > 10


def test_ids_of_a_tick_are_those_of_its_span(recording):
    for act in recording.session.named('tick'):
        truth, position = moment(recording, act.answer)
        before = truth.active(recording.clock_at(act.called_ns))
        after = truth.active(position)
        assert set(act.answer['new_track_ids']) == set(after) - set(before)
        assert set(act.answer['removed_track_ids']) == set(before) - set(after)
    # One of them begins at 1.45 s, just before somebody comes.
    new = [act.answer['new_track_ids'] for act in recording.session.named('tick')]
    assert ['2@scene:a'] in new


def test_answers_say_what_the_state_says(recording):
    """Find the state that was published before the answer, with the same values."""
    acts = triggers(recording)
    assert {act.name for act in acts} == {'play', 'stop', 'reset', 'tick', 'load'}
    for act in acts:
        assert list(act.answer)[: len(KEYS)] == KEYS
        span = (act.called_ns, act.answered_ns)
        told = [state for sent_ns, state in recording.states if span[0] < sent_ns < span[1]]
        fields = {key: act.answer[key] for key in KEYS if key not in CHANGING}
        assert any({key: state[key] for key in fields} == fields for state in told), act


def test_answers_say_what_was_asked_for(recording):
    named = recording.session.named
    assert all(act.answer['is_playing'] for act in named('play'))
    assert not any(act.answer['is_playing'] for act in named('stop'))
    (reset,) = named('reset')
    assert (reset.answer['is_playing'], reset.answer['seconds_since_start']) == (False, 0.0)
    # It was set before, and stays.
    assert reset.answer['speed'] == 1.0


def test_state_is_told_on_every_change_of_rate(recording):
    speeds = [key for key, _ in itertools.groupby(s['speed'] for _, s in recording.states)]
    assert speeds == [1.0, 2.0, 0.5, 1.0]


def test_state_is_told_at_least_every_second(recording):
    """Look at messages that tell nothing new: they came because a second had passed."""
    gaps = [
        after_ns - before_ns
        for (before_ns, before), (after_ns, after) in itertools.pairwise(recording.states)
        if {**before, **{key: [] for key in CHANGING}} == after
    ]
    assert len(gaps) >= 3
    assert median(gaps) < 1.5 * SECOND


def test_state_is_told_when_the_clock_halts_by_itself(recording):
    """Find each end in a message of its own, not only in that of the next second."""
    for _, group in itertools.groupby(recording.states, key=lambda one: one[1]['done']):
        sent_ns, state = next(iter(group))
        if state['done']:
            first = [
                one.sent_ns
                for one in recording.of('/clock', sent_ns - PATIENCE_NS, sent_ns + 1)
                if one.stamp_ns == moment(recording, state)[1]
            ]
            assert first
            # Nothing was told in between.
            assert len(recording.of('/clock', first[0], sent_ns)) <= 2


def test_load_begins_halted_at_the_new_begin(recording):
    loads = recording.session.named('load')
    for act, truth in zip(loads, recording.session.truths[1:], strict=True):
        answer = act.answer
        assert answer['scenario'] == truth.sequence_id
        assert answer['current_time_us'] * 1000 == truth.begin_ns
        assert (answer['is_playing'], answer['done']) == (False, False)


def test_refused_load_changes_nothing(recording, session):
    (act,) = session.named('load refused')
    assert 'broken.usdz' in act.answer
    assert recording.era_at(act.called_ns) is recording.era_at(act.answered_ns)
    for topic in ('/tf_static', '~/path', '~/ego'):
        assert not recording.of(topic, act.called_ns, act.answered_ns)
    later = next(state for sent_ns, state in recording.states if sent_ns > act.answered_ns)
    assert later['scenario'] == 'first'


def test_diagnostics_are_told_every_second(recording):
    sent = [one.sent_ns for one in recording.of('/diagnostics')]
    assert SECOND / 2 < median(b - a for a, b in itertools.pairwise(sent)) < 2 * SECOND


def test_diagnostics_name_playback_renderer_and_cameras(recording):
    for entry in recording.of('/diagnostics'):
        truth = recording.truth_at(entry.stamp_ns)
        names = [one.name for one in entry.message.status]
        expected = ['nurec: playback', 'nurec: renderer']
        assert names == expected + [f'nurec: {camera}' for camera in truth.cameras]
        for status in entry.message.status:
            assert status.message


def test_diagnostics_are_well_while_all_is_well(recording):
    """Find no error anywhere, and the renderer well at the end of each scenario."""
    last = {}
    for entry in recording.of('/diagnostics'):
        levels = {one.name: int(one.level) for one in entry.message.status}
        assert levels['nurec: playback'] == 0
        last[recording.truth_at(entry.stamp_ns).sequence_id] = levels['nurec: renderer']
    assert last['first'] == 0
    assert last['third'] == 0


def test_diagnostics_tell_rates_latency_and_residual(recording):
    first = recording.session.truths[0]
    entry = [one for one in recording.of('/diagnostics') if first.contains(one.stamp_ns)][-1]
    for status in entry.message.status[2:]:
        values = {one.key: one.value for one in status.values}
        for key in ('asked_hz', 'received_hz', 'dropped_hz', 'latency_p50_ms', 'latency_p95_ms'):
            assert float(json.loads(values[key])) >= 0.0
        assert float(json.loads(values['fit_rms_px'])) < 1.0
        assert json.loads(values['received']) > 10


def test_diagnostics_are_stamped_with_the_position(recording):
    for entry in recording.of('/diagnostics'):
        if not recording.clocks[0].sent_ns < entry.sent_ns < recording.clocks[-1].sent_ns:
            continue
        assert entry.stamp_ns in recording.positions_at(entry.sent_ns)


def test_shutdown_is_clean(recording, session):
    assert session.exit_code == 0
    assert 'Traceback' not in session.output
    (act,) = session.named('interrupt')
    assert recording.entries[-1].sent_ns < act.answered_ns
