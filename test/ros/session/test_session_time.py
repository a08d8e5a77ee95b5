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
Time, as a recording of a whole session shows it.

| rule | test |
|---|---|
| stamps are whole microseconds, 1 ns where the scenario's time is 0, never 0 | `…_stamp_…` |
| /clock runs from before the first frame on, at 100 Hz | `test_clock_is_there_…`, `…_dense` |
| /clock goes back only at a jump back | `test_clock_goes_back_only_…` |
| /clock follows the wall at the rate while playing | `test_clock_follows_the_wall_…` |
| /clock stands while halted | `test_clock_stands_…` |
| a halted player repeats TF, odom, tracks and objects, stamps unchanged | `…_repeated_…` |
| path, ego and tracks at once after a jump back, and again 0.5 s later | `…_at_once`, `…_again` |
| a jump's clock comes before anything else of the new time | `test_nothing_is_ahead_…` |
| clock, DELETEALL, static frames, path, ego, TF, odom, tracks, objects | `…_in_this_order` |
| tick advances by exactly `tick_us`, not times the rate, and stays at the end | `test_ticks_…` |
| seek sets the position exactly | `test_seeks_…` |
| play_next goes to the next frame time of any camera | `test_play_next_…` |
| markers go out at 10 Hz while playing | `test_markers_…` |
"""

from itertools import pairwise
from statistics import median, quantiles
from test.ros.session.drive import TICK_NS
from test.ros.session.recording import clears, stamps_in
from test.ros.session.scenarios import SECOND

import pytest

pytestmark = pytest.mark.contract

MILLISECOND = 1_000_000
REPEATED = ('/tf', '~/odom', '~/tracks', '~/objects')


def test_every_stamp_is_a_whole_microsecond(recording):
    """Look at each time in each message, but for the 1 ns that stands for 0."""
    seen = 0
    for entry in recording.entries:
        for stamp in stamps_in(entry.message):
            assert stamp % 1000 == 0 or stamp == 1, (entry.topic, stamp)
            seen += 1
    assert seen > len(recording.entries)


def test_no_stamp_is_zero(recording):
    for entry in recording.entries:
        assert all(stamps_in(entry.message)), entry.topic


def test_scenario_that_begins_at_0_is_stamped_1_ns_there(recording):
    third = recording.eras[-1]
    assert third.truth.begin_ns == 0
    assert third.first_ns == 1
    at_begin = {one.topic for one in recording.opening(third) if 1 in stamps_in(one.message)}
    # Its ego has no box: what is sent there is the deletion of the one before.
    shown = {'/clock', '/tf', '/tf_static', '/nurec/odom', '/nurec/path', '/nurec/tracks'}
    # Pictures and /diagnostics come at times of their own, now and then among these.
    assert at_begin >= shown | {'/nurec/ego', '/nurec/objects'}


def test_every_stamp_is_scenario_time(recording):
    """Find each stamp, those of /diagnostics too, in one of the scenarios."""
    for entry in recording.entries:
        for stamp in stamps_in(entry.message):
            assert recording.truth_at(stamp) is not None


def test_clock_is_there_before_the_first_frame(recording):
    first = recording.clocks[0].sent_ns
    images = [one for one in recording.entries if one.topic.endswith('compressed')]
    assert first < images[0].sent_ns


def test_clock_is_dense(recording):
    gaps = [b.sent_ns - a.sent_ns for a, b in pairwise(recording.clocks)]
    assert median(gaps) > 5 * MILLISECOND
    # The rest of them is what a busy machine makes of it.
    assert quantiles(gaps, n=10)[0] < 25 * MILLISECOND


def expected_jumps(recording):
    """List the acts that make the clock jump to an era of its own, by what /clock said then."""
    jumps = []
    for act in recording.session.acts:
        before = recording.clock_at(act.called_ns)
        truth = recording.truth_at(before)
        if (
            act.name in ('loop', 'load')
            or (act.name == 'seek' and act.answer < before)
            or (act.name == 'reset' and before > truth.begin_ns)
            or (act.name == 'play' and before == truth.end_ns)
        ):
            jumps.append(act)
    return jumps


def test_clock_goes_back_only_at_a_jump_back(recording):
    jumps = expected_jumps(recording)
    assert len(recording.eras) == len(jumps) + 1
    following = [act.called_ns for act in jumps[1:]] + [1 << 62]
    before_ns = 0
    for act, era, after_ns in zip(jumps, recording.eras[1:], following, strict=True):
        # The clock may start over before the client begins to wait for that.
        assert (before_ns if act.name == 'loop' else act.called_ns) < era.from_ns < after_ns
        before_ns = act.answered_ns
    kinds = [act.name for act in jumps]
    assert kinds == ['seek', 'seek', 'reset', 'seek', 'play', 'loop', 'load', 'load']


def test_clock_follows_the_wall_at_the_rate(recording):
    """
    Compare the scenario's time with the wall's, at the beginning and the end of each stretch.

    Between reading the wall and sending the player may have to wait, now and then: of each part
    the message that waited least counts.
    """
    rates = set()
    for stretch in recording.stretches(playing=True):
        rate, end_ns = stretch.state['speed'], stretch.era.truth.end_ns
        clocks = [
            one
            for one in recording.of('/clock', stretch.from_ns, stretch.to_ns)
            if one.stamp_ns < end_ns
        ]
        if len(clocks) < 10:
            continue
        part = len(clocks) // 3
        first, last = (
            max(parts, key=lambda one: one.stamp_ns - rate * one.sent_ns)
            for parts in (clocks[:part], clocks[-part:])
        )
        passed_ns = last.sent_ns - first.sent_ns
        assert last.stamp_ns - first.stamp_ns == pytest.approx(rate * passed_ns, rel=0.2)
        rates.add(rate)
    assert rates == {0.5, 1.0, 2.0}


def repeats(recording, topic, rest):
    """Return the messages of a topic in a stretch that show something."""
    sent = recording.of(topic, rest.from_ns, rest.to_ns)
    return [one for one in sent if topic != '~/tracks' or not clears(one.message)]


def long_rests(recording):
    """Return the stretches in which a halted player repeats each of the topics."""
    rests = [
        one
        for one in recording.stretches(playing=False)
        if all(len(repeats(recording, topic, one)) >= 2 for topic in REPEATED)
    ]
    assert len(rests) >= 3
    return rests


def test_clock_stands_while_halted(recording):
    checked = 0
    for rest in long_rests(recording):
        clocks = recording.of('/clock', rest.from_ns, rest.to_ns)
        assert {one.stamp_ns for one in clocks} <= {rest.state['current_time_us'] * 1000 or 1}
        checked += len(clocks)
    assert checked > 30


@pytest.mark.parametrize('topic', REPEATED)
def test_halted_moment_is_repeated_unchanged(recording, topic):
    gaps = []
    for rest in long_rests(recording):
        sent = repeats(recording, topic, rest)
        stamps = {stamp for one in sent for stamp in stamps_in(one.message)}
        assert stamps == {rest.state['current_time_us'] * 1000 or 1}
        gaps += [b.sent_ns - a.sent_ns for a, b in pairwise(sent)]
    # 2 Hz; what a jump shows comes on top.
    assert median(gaps) < SECOND


def showings(recording, topic, era):
    """Return an era's messages of a topic that show something."""
    sent = recording.of(topic, era.from_ns, era.to_ns)
    return [one for one in sent if topic == '~/path' or not clears(one.message)]


@pytest.mark.parametrize('topic', ['~/path', '~/ego', '~/tracks', '~/objects', '/tf', '~/odom'])
def test_jump_is_shown_at_once(recording, topic):
    """Find it right after the first clock of the new time: before the second one."""
    for era in recording.eras[1:]:
        if topic == '~/ego' and era.truth.box is None:
            continue
        name = f'/nurec{topic[1:]}' if topic.startswith('~') else topic
        shown = [one for one in recording.opening(era) if one.topic == name]
        assert [one for one in shown if topic != '~/tracks' or not clears(one.message)]
        assert era.first_ns in stamps_in(shown[-1].message) or topic == '~/path'


def test_jump_is_shown_in_this_order(recording):
    """Find the clock first, then the deletion, after a load the frames, then what is shown."""
    for before, era in pairwise(recording.eras):
        loaded = ['/tf_static'] if era.truth is not before.truth else []
        topics = ['/nurec/tracks', *loaded, '/nurec/path', '/nurec/ego', '/tf', '/nurec/odom']
        expected = ['/clock', *topics, '/nurec/tracks', '/nurec/objects']
        shown = [one.topic for one in recording.opening(era) if one.topic in expected]
        # The moment may be repeated before the next message of the clock.
        assert shown[: len(expected)] == expected


@pytest.mark.parametrize('topic', ['~/path', '~/ego'])
def test_jump_is_shown_again(recording, topic):
    """Find the latched topics twice, half a second apart, and never more often."""
    gaps = []
    for era in recording.eras[1:]:
        if topic == '~/ego' and era.truth.box is None:
            continue
        first, again = showings(recording, topic, era)
        gaps.append(again.sent_ns - first.sent_ns)
    assert min(gaps) > SECOND // 5
    assert median(gaps) < 2 * SECOND


def test_tracks_are_shown_again_whole(recording):
    """Find all road users right after the second path."""
    for era in recording.eras[1:]:
        _, again = showings(recording, '~/path', era)
        shown = recording.shown(again.sent_ns)[0]
        texts = {one.text for one in shown.message.markers if one.action == 0 and one.text}
        assert len(texts) == len(era.truth.active(shown.stamp_ns))


def test_nothing_is_ahead_of_the_clock_or_of_another_time(recording):
    """Hold every stamp between the era's first clock and the last clock that was sent."""
    # Diagnostics tell of a jump that is not shown yet.
    others = ('/nurec/path', '/tf_static', '/nurec/state', '/diagnostics')
    for entry in recording.entries:
        if entry.topic in others or entry.sent_ns < recording.clocks[0].sent_ns:
            continue
        era, now_ns = recording.era_at(entry.sent_ns), recording.clock_at(entry.sent_ns)
        first_ns = era.first_ns if era.number else era.truth.begin_ns
        for stamp in stamps_in(entry.message):
            assert first_ns <= stamp <= now_ns, (entry.topic, stamp - now_ns, era)


def test_ticks_advance_exactly(recording):
    ticks = recording.session.named('tick')
    for before, after in pairwise(ticks[:3]):
        passed = after.answer['current_time_us'] - before.answer['current_time_us']
        assert passed * 1000 == TICK_NS
    for act in ticks:
        stamp = act.answer['current_time_us'] * 1000
        assert recording.clock_at(act.answered_ns) == stamp
        assert act.answer['is_playing'] is False
    # The last one is beyond the end.
    assert ticks[-1].answer['done'] is True
    assert ticks[-1].answer['progress'] == 1.0


def test_ticks_are_not_multiplied_by_anything_and_start_at_the_halt(recording):
    stop, tick = recording.session.named('stop')[0], recording.session.named('tick')[0]
    passed = tick.answer['current_time_us'] - stop.answer['current_time_us']
    assert passed * 1000 == TICK_NS


def test_seeks_are_exact(recording):
    seeks = recording.session.named('seek')
    assert len(seeks) == 11
    calls = [act.called_ns for act in recording.session.acts]
    for act in seeks:
        # The client did nothing else before the clock was there.
        following_ns = min((one for one in calls if one > act.answered_ns), default=1 << 62)
        shown = recording.of('/clock', act.called_ns, following_ns)
        assert act.answer in [one.stamp_ns for one in shown]


def test_play_next_goes_from_frame_to_frame(recording):
    acts = recording.session.named('play_next')
    position = recording.clock_at(acts[0].called_ns)
    truth = recording.truth_at(position)
    for act in acts:
        assert act.answer.success
        position = min(
            end for ends in truth.frame_ends_ns.values() for end in ends if end > position
        )
        assert recording.clock_at(act.answered_ns) == position


def test_markers_go_out_at_their_own_rate_while_playing(recording):
    gaps = []
    for stretch in recording.stretches(playing=True):
        shown = recording.shown(stretch.from_ns, stretch.to_ns)
        gaps += [b.sent_ns - a.sent_ns for a, b in pairwise(shown)]
    assert median(gaps) > SECOND / 20
    assert quantiles(gaps, n=10)[0] < SECOND / 4
