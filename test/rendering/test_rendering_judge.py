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
"""What follows a failed call: the whole table of the policy, and what batches teach."""

from __future__ import annotations

from typing import Any

from nurec_ros.rendering.calls import (
    Call,
    first_frame_waited_s,
    late_error,
    learn,
    Learned,
    NO_BATCHES,
    weight_of,
)
from nurec_ros.rendering.frames import Frame
from nurec_ros.rendering.policy import Again, again_after, connection_after, Failed
from nurec_ros.rendering.server_errors import (
    ALONE,
    ASK_AGAIN,
    CONDEMN,
    FAIL,
    RECONNECT,
    RETRY,
    ServerError,
    WITHOUT_TRACKS,
)
import pytest

KEPT = {'keep': True}
TICK = {'keep': True, 'fail_if_down': True}
BATCH = {'batch': True}
ITEM = {'batch': True, 'whole_call': False}


def error(action, kind='server'):
    return ServerError(kind, 'it failed', 'mend it', action)


@pytest.mark.parametrize(
    ('action', 'kind', 'how', 'connection', 'again'),
    [
        # The server is away: kept frames wait for it, the others are lost.
        (RECONNECT, 'unreachable', {}, 'lost', None),
        (RECONNECT, 'unreachable', KEPT, 'lost', Again()),
        (RECONNECT, 'unreachable', TICK, 'lost', None),
        (RECONNECT, 'unreachable', {**KEPT, **BATCH}, 'lost', Again()),
        (RECONNECT, 'unreachable', {**BATCH, 'with_tracks': True}, 'lost', None),
        # An item that says so is the server's own trouble with one frame.
        (RECONNECT, 'starting', ITEM, 'stands', Again(after_s=0.5, counted=True)),
        # What vanishes by itself is tried twice more.
        (RETRY, 'transient', {}, 'stands', Again(after_s=0.5, counted=True)),
        (RETRY, 'transient', {'attempts': 1}, 'stands', Again(after_s=2.0, counted=True)),
        (RETRY, 'transient', {'attempts': 2}, 'stands', None),
        (RETRY, 'transient', {**ITEM, 'attempts': 1}, 'stands', Again(2.0, counted=True)),
        (RETRY, 'cancelled', BATCH, 'stands', Again(after_s=0.5, counted=True)),
        (RETRY, 'cancelled', {**BATCH, 'attempts': 2}, 'stands', None),
        # Road users are left out, once and for all; where there are none, it is a fault.
        (
            WITHOUT_TRACKS,
            'tracks refused',
            {'with_tracks': True},
            'stands',
            Again(without_tracks=True),
        ),
        (FAIL, 'feature', {'with_tracks': True}, 'stands', Again(without_tracks=True)),
        (
            WITHOUT_TRACKS,
            'tracks refused',
            {**ITEM, 'with_tracks': True},
            'stands',
            Again(without_tracks=True),
        ),
        (WITHOUT_TRACKS, 'tracks refused', {}, 'stands', None),
        (FAIL, 'feature', {}, 'stands', None),
        # A batch that fails says nothing about its frames.
        (FAIL, 'renderer', BATCH, 'stands', Again(alone=True)),
        (ASK_AGAIN, 'scene', BATCH, 'stands', Again(alone=True)),
        (ASK_AGAIN, 'version', BATCH, 'stands', Again(alone=True, dropped=True)),
        (FAIL, 'renderer', ITEM, 'stands', None),
        (ALONE, 'unmatched', ITEM, 'stands', Again(alone=True, dropped=True)),
        # A frame, or a whole batch, that takes too long would only do so again.
        (FAIL, 'timeout', {}, 'doubted', None),
        (FAIL, 'timeout', BATCH, 'doubted', None),
        (FAIL, 'timeout', {'first': True}, 'stands', None),
        (FAIL, 'timeout', ITEM, 'stands', None),
        # Another server may be there.
        (ASK_AGAIN, 'scene', {}, 'changed', None),
        (ASK_AGAIN, 'version', KEPT, 'changed', None),
        (ASK_AGAIN, 'scene', ITEM, 'stands', None),
        # Whatever else: the frame is lost, kept or not.
        (FAIL, 'memory', {}, 'stands', None),
        (FAIL, 'memory', KEPT, 'stands', None),
        (CONDEMN, 'service', {}, 'stands', None),
    ],
)
def test_verdicts(action, kind, how, connection, again):
    of = error(action, kind), Failed(**how)
    assert (connection_after(*of), again_after(*of)) == (connection, again)


# --- what batches teach --------------------------------------------------------------------------

PICTURE = Frame('wide', 0, b'', 'png', 1, 1, 0.0)
USELESS = error(FAIL, 'reply')
STRANGE = error(ALONE, 'unmatched')
REFUSED = error(FAIL, 'renderer')


class _Batch:
    batch = True
    method = 'batch_render_rgb'


class _Single:
    batch = False
    method = 'render_rgb'


def after(known, *results, call=_Batch):
    return learn(known, call, None, results, warms=True)


def after_failure(known, failure):
    return learn(known, _Batch, failure, [failure] * 2, warms=True)


def test_frame_warms_a_server_unless_another_first_frame_is_out():
    call: Any = _Single
    assert learn(Learned(), call, None, [PICTURE], warms=True).warm
    assert not learn(Learned(), call, None, [PICTURE], warms=False).warm
    assert not learn(Learned(), call, None, [USELESS], warms=True).warm


def test_single_calls_teach_nothing_about_batches():
    known = Learned(batch=None, warm=True, batch_failures=2)
    assert after(known, PICTURE, call=_Single) == known
    assert after(known, USELESS, call=_Single) == known


def test_batch_that_comes_proves_batches():
    known = after(Learned(batch_failures=2, batch_mismatches=2), PICTURE, PICTURE)
    assert known == Learned(batch=True, warm=True)
    assert after(Learned(), PICTURE, REFUSED).batch is True


@pytest.mark.parametrize(
    ('results', 'note'),
    [
        ((PICTURE, STRANGE), 'do not match what was asked for'),
        ((USELESS, USELESS), 'hold no picture'),
        ((USELESS, STRANGE), 'do not match what was asked for'),
    ],
)
def test_three_useless_replies_in_a_row_end_batches(results, note):
    known = Learned()
    for _ in range(2):
        known = after(known, *results)
        assert (known.batch, known.batch_note) == (True, '')
    known = after(known, *results)
    assert known.batch is False
    assert known.batch_note == f'batch replies {note}, 3 times in a row: single calls'
    assert known.batch_note_level == 'warn'
    # Those that were on their way when it was given up say nothing new.
    assert after(known, *results).batch_note == known.batch_note


def test_a_good_reply_in_between_starts_the_count_anew():
    known = Learned()
    for results in ((USELESS,) * 2, (STRANGE, PICTURE), (PICTURE, PICTURE), (USELESS,) * 2):
        known = after(known, *results)
    assert known.batch is True
    assert known.batch_mismatches == 1
    assert after(known, USELESS, PICTURE).batch_mismatches == 0
    assert after(known, REFUSED, REFUSED).batch_mismatches == 0


def test_three_failed_batches_end_batches():
    known = Learned(batch=True)
    for _ in range(2):
        known = after_failure(known, REFUSED)
        assert known.batch is True
    known = after_failure(known, REFUSED)
    assert (known.batch, known.batch_note_level) == (False, 'warn')
    assert known.batch_note == 'batches fail (it failed: mend it): single calls'


@pytest.mark.parametrize(
    'failure',
    [error(FAIL, 'timeout'), error(RECONNECT), error(RETRY), error(ASK_AGAIN, 'scene')],
)
def test_other_failures_teach_nothing_about_batches(failure):
    assert after_failure(Learned(batch_failures=2), failure) == Learned(batch_failures=2)


def test_server_without_batches_is_no_fault_of_it():
    known = after_failure(Learned(), error(ASK_AGAIN, 'version'))
    assert (known.batch, known.batch_note) == (False, NO_BATCHES)
    assert known.batch_note_level == 'info'


def test_two_batches_fill_the_wire_or_three_frames():
    assert [weight_of(count) for count in (1, 2, 6)] == [1.0, 1.5, 1.5]


class Waiting:
    keep, fail_if_down, attempts = True, False, 1


def batch(since=0.0, first=True, server=None):
    jobs: list[Any] = [Waiting(), Waiting()]
    return Call(server, jobs, 'batch_render_rgb', None, [], since, 60.0, first, 1.5, True)


def test_call_says_how_its_frames_failed():
    call = batch()
    found = call.failed(call.jobs[0], whole_call=False)
    assert found == Failed(
        whole_call=False, batch=True, first=True, with_tracks=True, keep=True, attempts=1
    )


def test_first_frame_is_waited_for_since_the_oldest_call_of_this_server():
    here, gone = object(), object()
    calls = [batch(7.0, server=here), batch(5.0, server=here), batch(1.0, server=gone)]
    later = batch(2.0, first=False, server=here)
    server: Any = here
    assert first_frame_waited_s([*calls, later], server, 9.0) == 4.0
    assert first_frame_waited_s([later], server, 9.0) == 0.0
    assert first_frame_waited_s(calls, None, 9.0) == 0.0


def test_call_is_late_once_it_takes_longer_than_one_frame_may():
    assert late_error([batch(1.0), batch(5.0, first=False)], 'gpu:1', 10.0, 15.0) is None
    calls = [batch(4.0, first=False), batch(3.0, first=False), batch(1.0)]
    calls[1].timeout_s = 40.0
    late = late_error(calls, 'gpu:1', 10.0, 15.0)
    assert late is not None
    assert late.kind == 'timeout'
    assert late.problem == (
        'gpu:1 has not answered batch_render_rgb within 10 s (it holds 2 frames and is given up '
        'after 40 s)'
    )
    assert 'render_timeout_s' in late.remedy
