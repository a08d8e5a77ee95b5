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
"""State, diagnostics, load, topics and services, as a recording of whole sessions shows them."""

import itertools
from itertools import pairwise
import json
from statistics import median
from test.ros.session.calling import Caller
from test.ros.session.drive import Client, recorded_player, TOPICS
from test.support.archives import build_archive, CAMERAS
from test.support.player_bench import BEGIN_NS, SECOND, serve

import pytest
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

pytestmark = pytest.mark.contract

KEYS = {
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
CHANGING = ('new_track_ids', 'removed_track_ids')
PATIENCE_NS = 3 * SECOND


def moment(recording, state):
    """Return the scenario that a state is about, and the position in it."""
    truth = next(one for one in recording.truths if one.sequence_id == state['scenario'])
    return truth, state['current_time_us'] * 1000


@pytest.mark.parametrize('topic', TOPICS)
def test_topics_and_quality_of_service_are_those_of_the_contract(recording, topic):
    """Look at what was found offered, of one publisher."""
    assert recording.of(topic)
    (offer,) = recording.offers[topic]
    kind, latched = TOPICS[topic]
    durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
    qos = offer.qos_profile
    assert (offer.topic_type, qos.reliability) == (kind, ReliabilityPolicy.RELIABLE)
    assert qos.durability == durability


def test_there_are_no_other_topics(recording):
    # What every ROS node has.
    assert recording.unexpected <= {'/rosout', '/parameter_events'}


def types_of(state):
    """Return the first keys and the types of their values, in order."""
    return [(key, type(value)) for key, value in state.items()][: len(KEYS)]


def test_state_has_the_documented_keys_and_types(recording):
    for _, state in recording.states:
        assert types_of(state) == list(KEYS.items())


def test_state_agrees_with_the_clock(recording):
    for sent_ns, state in recording.states:
        if recording.clocks[0].sent_ns < sent_ns < recording.clocks[-1].sent_ns:
            assert (state['current_time_us'] * 1000 or 1) in recording.positions_at(sent_ns)


def test_state_follows_from_the_position(recording):
    """Find progress, the count of road users, and `done` exactly at the end."""
    for _, state in recording.states:
        truth, position = moment(recording, state)
        duration = (truth.end_ns - truth.begin_ns) / SECOND
        since = (position - truth.begin_ns) / SECOND
        assert state['duration_s'] == pytest.approx(duration, abs=1e-9)
        assert state['seconds_since_start'] == pytest.approx(since, abs=1e-9)
        assert state['progress'] == pytest.approx(since / duration, abs=1e-9)
        assert state['active_tracks'] == len(truth.active(position))
        assert state['done'] is (position == truth.end_ns)
    assert {state['done'] for _, state in recording.states} == {True, False}


def test_track_ids_add_up(recording):
    """Follow who came and went from message to message, through all jumps and loads."""
    _, before = recording.states[0]
    truth, position = moment(recording, before)
    there = set(truth.active(position))
    changes = jumps = 0
    for _, state in recording.states[1:]:
        new, removed = (state[key] for key in CHANGING)
        truth, position = moment(recording, state)
        active = set(truth.active(position))
        assert len(set(new)) == len(new)
        jumped = position < moment(recording, before)[1] or state['scenario'] != before['scenario']
        if jumped:
            # A client that forgets all at a jump has them all again.
            assert set(new) == active
        else:
            assert not there & set(new)
            assert there >= set(removed)
            assert there - set(removed) | set(new) == active
        there, before = active, state
        changes += len(new) + len(removed)
        jumps += jumped
    assert changes > 10
    assert jumps == len(recording.eras) - 1


def test_ids_of_a_tick_are_those_of_its_span(recording):
    for act in recording.named('tick'):
        truth, position = moment(recording, act.answer)
        before, after = (
            set(truth.active(recording.clock_at(act.called_ns))),
            truth.active(position),
        )
        assert set(act.answer['new_track_ids']) == set(after) - before
        assert set(act.answer['removed_track_ids']) == before - set(after)
    # One of them begins at 1.45 s, just before somebody comes.
    new = [act.answer['new_track_ids'] for act in recording.named('tick')]
    assert ['2@scene:a'] in new


def test_answers_say_what_the_state_says_and_what_was_asked_for(recording):
    """Find the state that was published before the answer, with the same values."""
    named = recording.named
    for name in ('play', 'stop', 'reset', 'tick', 'load'):
        assert named(name)
        for act in named(name):
            assert types_of(act.answer) == list(KEYS.items())
            fields = {key: act.answer[key] for key in KEYS if key not in CHANGING}
            told = [
                {key: state[key] for key in fields}
                for sent_ns, state in recording.states
                if act.called_ns < sent_ns < act.answered_ns
            ]
            assert fields in told, act
            if name in ('play', 'stop'):
                assert act.answer['is_playing'] is (name == 'play')
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
        for (before_ns, before), (after_ns, after) in pairwise(recording.states)
        if {**before, **{key: [] for key in CHANGING}} == after
    ]
    assert len(gaps) >= 3
    assert median(gaps) < 1.5 * SECOND


def test_state_is_told_when_the_clock_halts_by_itself(recording):
    """Find each end in a message of its own, not only in that of the next second."""
    for _, group in itertools.groupby(recording.states, key=lambda one: one[1]['done']):
        sent_ns, state = next(iter(group))
        if state['done']:
            clocks = recording.of('/clock', sent_ns - PATIENCE_NS, sent_ns + 1)
            end_ns = moment(recording, state)[1]
            first = next(one.sent_ns for one in clocks if one.stamp_ns == end_ns)
            # Nothing was told in between.
            assert len(recording.of('/clock', first, sent_ns)) <= 2


def test_load_begins_halted_at_the_new_begin(recording):
    loads = recording.named('load')
    for act, truth in zip(loads, recording.truths[1:], strict=True):
        answer = act.answer
        assert answer['scenario'] == truth.sequence_id
        assert answer['current_time_us'] * 1000 == truth.begin_ns
        assert (answer['is_playing'], answer['done']) == (False, False)


def test_refused_load_changes_nothing(recording):
    (act,) = recording.named('load refused')
    assert 'broken.usdz' in act.answer
    assert recording.era_at(act.called_ns) is recording.era_at(act.answered_ns)
    for topic in ('/tf_static', '~/path', '~/ego'):
        assert not recording.of(topic, act.called_ns, act.answered_ns)
    later = next(state for sent_ns, state in recording.states if sent_ns > act.answered_ns)
    assert later['scenario'] == 'first'


def test_diagnostics_are_told_every_second(recording):
    sent = [one.sent_ns for one in recording.of('/diagnostics')]
    assert SECOND / 2 < median(b - a for a, b in pairwise(sent)) < 2 * SECOND


def test_diagnostics_name_playback_renderer_and_cameras_and_are_well(recording):
    """Find no error of playback, and the renderer well at the end of scenarios."""
    last = {}
    for entry in recording.of('/diagnostics'):
        truth, status = recording.truth_at(entry.stamp_ns), entry.message.status
        expected = ['playback', 'renderer', *truth.cameras]
        assert [one.name for one in status] == [f'nurec: {name}' for name in expected]
        assert all(one.message for one in status)
        assert int(status[0].level) == 0
        last[truth.sequence_id] = int(status[1].level)
    assert (last['first'], last['third']) == (0, 0)


def test_diagnostics_tell_rates_latency_and_residual(recording):
    first = recording.truths[0]
    entry = [one for one in recording.of('/diagnostics') if first.contains(one.stamp_ns)][-1]
    for status in entry.message.status[2:]:
        values = {one.key: one.value for one in status.values}
        for key in ('asked_hz', 'received_hz', 'dropped_hz', 'latency_p50_ms', 'latency_p95_ms'):
            assert float(json.loads(values[key])) >= 0.0
        assert float(json.loads(values['fit_rms_px'])) < 1.0
        assert json.loads(values['received']) > 10


def test_diagnostics_are_stamped_with_the_position(recording):
    for entry in recording.of('/diagnostics'):
        if recording.clocks[0].sent_ns < entry.sent_ns < recording.clocks[-1].sent_ns:
            assert entry.stamp_ns in recording.positions_at(entry.sent_ns)


def test_shutdown_is_clean(recording):
    assert recording.exit_code == 0
    assert 'Traceback' not in recording.output
    (act,) = recording.named('interrupt')
    assert recording.entries[-1].sent_ns < act.answered_ns


ROUNDS = 25


def test_no_call_is_lost_however_fast_they_come_while_images_flow(tmp_path):
    """
    Call services one after another as fast as they are answered, and check each answer.

    The long soak, with figures, is bench/bench_player.py.
    """
    usdz = build_archive(tmp_path, duration_s=6.0)
    names = [f'/nurec/{camera}/image_raw/compressed' for camera in CAMERAS]
    topics = {name: TOPICS[name] for name in (*names, '/clock', '/diagnostics')}
    with serve(usdz) as server:
        parameters = {'usdz_path': usdz, 'server': server.address, 'loop': True}
        with recorded_player(tmp_path, topics, parameters) as (bench, recorder):
            images = [recorder.topics[name] for name in names]
            client = Client(bench, recorder)
            span = {'begin_ns': BEGIN_NS, 'end_ns': BEGIN_NS + 6 * SECOND}
            caller = Caller(bench.listener.node, bench.listener.turn, **span)
            caller.ready()
            client.until(lambda: all(images), 'the first images')
            client.trigger('play')
            counts_of_images = []
            for _ in range(ROUNDS):
                caller.go_round()
                recorder.take()
                counts_of_images.append(sum(map(len, images)))
            sent = [one.sent_ns for one in recorder.topics['/clock']]
            # It is well afterwards: plays on, gets pictures, and no frame has failed.
            client.trigger('reset')
            client.configure(rate=1.0)
            client.trigger('play')
            client.recorded(dict.fromkeys(names, 4))
            client.recorded({'/diagnostics': 2})
            status = recorder.topics['/diagnostics'][-1].message.status
    assert caller.wrong == []
    # The client would have stopped at the first call without an answer.
    assert caller.counts.total() > 15 * ROUNDS
    assert counts_of_images[-1] - counts_of_images[0] > ROUNDS
    gaps = [b - a for a, b in pairwise(sent)]
    assert len(gaps) > 100
    assert median(gaps) < SECOND / 10
    # They never dry up for long.
    later = counts_of_images[5:]
    assert all(b > a for a, b in zip(counts_of_images, later, strict=False))
    for one in status[2:]:
        values = {pair.key: pair.value for pair in one.values}
        assert (values['failed'], values['last_error']) == ('0', '')
