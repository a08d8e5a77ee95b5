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
"""Time, as a recording of a whole session shows it."""

from itertools import pairwise
from statistics import median, quantiles
from test.ros.session.recording import clears
from test.support.player_bench import SECOND

import pytest

pytestmark = pytest.mark.contract

MILLISECOND = 1_000_000
REPEATED = ('/tf', '~/odom', '~/tracks', '~/objects')


def test_every_stamp_is_a_whole_microsecond_of_a_scenario(recording):
    """Look at each time in each message, those of /diagnostics too; 1 ns stands for 0."""
    for entry in recording.entries:
        for stamp in entry.stamps:
            assert stamp == 1 or (stamp and stamp % 1000 == 0), (entry.topic, stamp)
            assert recording.truth_at(stamp).contains(stamp)
    assert sum(len(entry.stamps) for entry in recording.entries) > len(recording.entries)


def test_scenario_that_begins_at_0_is_stamped_1_ns_there(recording):
    third = recording.eras[-1]
    assert (third.truth.begin_ns, third.first_ns) == (0, 1)
    at_begin = {one.topic for one in recording.opening(third) if 1 in one.stamps}
    # Its ego has no box: what is sent there is the deletion of the one before.
    shown = {'/clock', '/tf', '/tf_static', '/nurec/odom', '/nurec/path', '/nurec/tracks'}
    # Pictures and /diagnostics come at times of their own, now and then among these.
    assert at_begin >= shown | {'/nurec/ego', '/nurec/objects'}


def test_clock_is_dense_from_before_the_first_frame_on(recording):
    images = [one for one in recording.entries if one.topic.endswith('compressed')]
    assert recording.clocks[0].sent_ns < images[0].sent_ns
    gaps = [b.sent_ns - a.sent_ns for a, b in pairwise(recording.clocks)]
    assert median(gaps) > 5 * MILLISECOND
    # The rest of them is what a busy machine makes of it.
    assert quantiles(gaps, n=10)[0] < 25 * MILLISECOND


def jumping_acts(recording):
    """List the acts that make the clock jump to an era of its own, by what /clock said then."""
    for act in recording.acts:
        before = recording.clock_at(act.called_ns)
        truth = recording.truth_at(before)
        if (
            act.name in ('loop', 'load')
            or (act.name == 'seek' and act.answer < before)
            or (act.name == 'reset' and before > truth.begin_ns)
            or (act.name == 'play' and before == truth.end_ns)
        ):
            yield act


def test_clock_goes_back_only_at_a_jump_back(recording):
    jumps = list(jumping_acts(recording))
    names = ['seek', 'seek', 'reset', 'seek', 'play', 'loop', 'load', 'load']
    assert [act.name for act in jumps] == names
    assert len(recording.eras) == len(jumps) + 1
    following = [act.called_ns for act in jumps[1:]] + [1 << 62]
    before_ns = 0
    for act, era, after_ns in zip(jumps, recording.eras[1:], following, strict=True):
        # The clock may start over before the client begins to wait for that.
        assert (before_ns if act.name == 'loop' else act.called_ns) < era.from_ns < after_ns
        before_ns = act.answered_ns


def test_clock_follows_the_wall_at_the_rate(recording):
    """
    Compare the scenario's time with the wall's, at the beginning and the end of each stretch.

    Between reading the wall and sending the player may have to wait, now and then: of each part
    the message that waited least counts.
    """
    rates = set()
    for stretch in recording.stretches(playing=True):
        rate, end_ns = stretch.state['speed'], stretch.era.truth.end_ns
        sent = recording.of('/clock', stretch.from_ns, stretch.to_ns)
        clocks = [one for one in sent if one.stamp_ns < end_ns]
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


def test_halted_moment_is_repeated_unchanged_and_the_clock_stands(recording):
    gaps, clocks, rests = {topic: [] for topic in REPEATED}, 0, 0
    for rest in recording.stretches(playing=False):
        sent = {topic: recording.of(topic, rest.from_ns, rest.to_ns) for topic in REPEATED}
        sent['~/tracks'] = [one for one in sent['~/tracks'] if not clears(one.message)]
        if min(map(len, sent.values())) < 2:
            continue
        rests += 1
        position = {rest.state['current_time_us'] * 1000 or 1}
        told = recording.of('/clock', rest.from_ns, rest.to_ns)
        assert {one.stamp_ns for one in told} <= position
        clocks += len(told)
        for topic, entries in sent.items():
            assert {stamp for one in entries for stamp in one.stamps} == position
            gaps[topic] += [b.sent_ns - a.sent_ns for a, b in pairwise(entries)]
    assert rests >= 3
    assert clocks > 30
    # 2 Hz; what a jump shows comes on top.
    assert max(map(median, gaps.values())) < SECOND


def test_jump_is_shown_at_once_in_this_order(recording):
    """Find the clock first, then the deletion, after a load the frames, then what is shown."""
    for before, era in pairwise(recording.eras):
        loaded = ['/tf_static'] if era.truth is not before.truth else []
        topics = ['/nurec/tracks', *loaded, '/nurec/path', '/nurec/ego', '/tf', '/nurec/odom']
        expected = ['/clock', *topics, '/nurec/tracks', '/nurec/objects']
        # The moment may be repeated before the next message of the clock.
        shown = [one for one in recording.opening(era) if one.topic in expected][: len(expected)]
        assert [one.topic for one in shown] == expected
        # An ego that has no box any more is deleted, too.
        cleared = [one.topic for one in shown if clears(one.message)]
        assert cleared == ['/nurec/tracks', *(['/nurec/ego'] if era.truth.box is None else [])]
        assert all(era.first_ns in one.stamps for one in shown if one.topic != '/nurec/path')


def test_jump_is_shown_again(recording):
    """Find the latched topics twice, half a second apart, and then all road users."""
    gaps = []
    for era in recording.eras[1:]:
        topics = ['~/path', *(['~/ego'] if era.truth.box is not None else [])]
        for topic in topics:
            sent = recording.of(topic, era.from_ns, era.to_ns)
            first, again = [one for one in sent if not clears(one.message)]
            gaps.append(again.sent_ns - first.sent_ns)
        _, again = recording.of('~/path', era.from_ns, era.to_ns)
        shown = recording.shown(again.sent_ns)[0]
        texts = {one.text for one in shown.message.markers if one.action == 0 and one.text}
        assert len(texts) == len(era.truth.active(shown.stamp_ns))
    assert min(gaps) > SECOND // 5
    assert median(gaps) < 2 * SECOND


def test_nothing_is_ahead_of_the_clock_or_of_another_time(recording):
    """Hold every stamp between the era's first clock and the last clock that was sent."""
    # Diagnostics tell of a jump that is not shown yet.
    others = ('/nurec/path', '/tf_static', '/nurec/state', '/diagnostics')
    for entry in recording.entries:
        if entry.topic in others or entry.sent_ns < recording.clocks[0].sent_ns:
            continue
        era, now_ns = recording.era_at(entry.sent_ns), recording.clock_at(entry.sent_ns)
        first_ns = era.first_ns if era.number else era.truth.begin_ns
        for stamp in entry.stamps:
            assert first_ns <= stamp <= now_ns, (entry.topic, stamp - now_ns, era)


def test_ticks_advance_exactly(recording):
    """Find each tick's length after the halt, not times the rate, and nothing beyond the end."""
    stop, ticks = recording.named('stop')[0], recording.named('tick')
    for before, after in pairwise([stop, *ticks[:3]]):
        passed = after.answer['current_time_us'] - before.answer['current_time_us']
        assert passed == 100_000
    for act in ticks:
        assert recording.clock_at(act.answered_ns) == act.answer['current_time_us'] * 1000
        assert act.answer['is_playing'] is False
    assert (ticks[-1].answer['done'], ticks[-1].answer['progress']) == (True, 1.0)


def test_seeks_are_exact(recording):
    seeks = recording.named('seek')
    assert len(seeks) == 11
    calls = [act.called_ns for act in recording.acts]
    for act in seeks:
        # The client did nothing else before the clock was there.
        following_ns = min((one for one in calls if one > act.answered_ns), default=1 << 62)
        shown = recording.of('/clock', act.called_ns, following_ns)
        assert act.answer in [one.stamp_ns for one in shown]


def test_play_next_goes_from_frame_to_frame(recording):
    acts = recording.named('play_next')
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
