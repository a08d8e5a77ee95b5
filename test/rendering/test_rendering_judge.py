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
"""What follows a failed call, what batches teach, and frames that share a call."""

from __future__ import annotations

from test.rendering.conftest import CAMERAS, due
from test.rendering.fake_server import Gate, ItemError, picture
from test.support.archives import START_US
import threading
from types import SimpleNamespace
from typing import Any

import grpc
from nurec_ros.rendering import dispatcher, policy
from nurec_ros.rendering import pipeline as pipeline_module
from nurec_ros.rendering.calls import (
    Again,
    again_after,
    Call,
    connection_after,
    first_frame_waited_s,
    late_error,
    learn,
    NO_BATCHES,
)
from nurec_ros.rendering.frames import Frame
from nurec_ros.rendering.policy import Learned
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


TRACKS = {'with_tracks': True}
SOON, LATER = Again(after_s=0.5, counted=True), Again(after_s=2.0, counted=True)
UNTRACKED = Again(without_tracks=True)
BY_ITSELF = Again(alone=True, dropped=True)


@pytest.mark.parametrize(
    ('action', 'kind', 'how', 'connection', 'again'),
    [
        # The server is away: kept frames wait for it, the others are lost.
        (RECONNECT, 'unreachable', {}, 'lost', None),
        (RECONNECT, 'unreachable', KEPT, 'lost', Again()),
        (RECONNECT, 'unreachable', TICK, 'lost', None),
        (RECONNECT, 'unreachable', {**KEPT, **BATCH}, 'lost', Again()),
        (RECONNECT, 'unreachable', {**BATCH, **TRACKS}, 'lost', None),
        # An item that says so is the server's own trouble with one frame.
        (RECONNECT, 'starting', ITEM, '', SOON),
        # What vanishes by itself is tried twice more.
        (RETRY, 'transient', {}, '', SOON),
        (RETRY, 'transient', {'attempts': 1}, '', LATER),
        (RETRY, 'transient', {'attempts': 2}, '', None),
        (RETRY, 'transient', {**ITEM, 'attempts': 1}, '', LATER),
        (RETRY, 'cancelled', BATCH, '', SOON),
        (RETRY, 'cancelled', {**BATCH, 'attempts': 2}, '', None),
        # Road users are left out, once and for all; where there are none, it is a fault.
        (WITHOUT_TRACKS, 'tracks refused', TRACKS, '', UNTRACKED),
        (WITHOUT_TRACKS, 'tracks refused', {**ITEM, **TRACKS}, '', UNTRACKED),
        (FAIL, 'feature', TRACKS, '', UNTRACKED),
        (WITHOUT_TRACKS, 'tracks refused', {}, '', None),
        (FAIL, 'feature', {}, '', None),
        # A batch that fails says nothing about its frames.
        (FAIL, 'renderer', BATCH, '', Again(alone=True)),
        (ASK_AGAIN, 'scene', BATCH, '', Again(alone=True)),
        (ASK_AGAIN, 'version', BATCH, '', BY_ITSELF),
        (FAIL, 'renderer', ITEM, '', None),
        (ALONE, 'unmatched', ITEM, '', BY_ITSELF),
        # A frame, or a whole batch, that takes too long would only do so again.
        (FAIL, 'timeout', {}, 'doubted', None),
        (FAIL, 'timeout', BATCH, 'doubted', None),
        (FAIL, 'timeout', {'first': True}, '', None),
        (FAIL, 'timeout', ITEM, '', None),
        # Another server may be there.
        (ASK_AGAIN, 'scene', {}, 'changed', None),
        (ASK_AGAIN, 'version', KEPT, 'changed', None),
        (ASK_AGAIN, 'scene', ITEM, '', None),
        # Whatever else: the frame is lost, kept or not.
        (FAIL, 'memory', KEPT, '', None),
        (CONDEMN, 'service', {}, '', None),
    ],
)
def test_verdicts(action, kind, how, connection, again):
    assert Again() == Again(0.0, counted=False, alone=False, without_tracks=False, dropped=False)
    failed = error(action, kind)
    of_call = dict.fromkeys(('batch', 'first', 'with_tracks', 'keep', 'fail_if_down'), False)
    one: Any = SimpleNamespace(**{**of_call, 'attempts': 0, 'whole_call': True, **how})
    assert again_after(failed, one, one, whole_call=one.whole_call) == again
    # An item of a reply says nothing about the connection.
    assert not one.whole_call or connection_after(failed, one) == connection


# --- what batches teach --------------------------------------------------------------------------

PICTURE = Frame('wide', 0, b'', 'png', 1, 1, 0.0)
USELESS = error(FAIL, 'reply')
STRANGE = error(ALONE, 'unmatched')
REFUSED = error(FAIL, 'renderer')


BATCH_CALL: Any = SimpleNamespace(batch=True, method='batch_render_rgb')
SINGLE_CALL: Any = SimpleNamespace(batch=False, method='render_rgb')


def after(known, *results, call=BATCH_CALL):
    return learn(known, call, None, results, warms=True)


def after_failure(known, failure):
    return learn(known, BATCH_CALL, failure, [failure] * 2, warms=True)


def test_single_calls_teach_nothing_about_batches():
    known = Learned(batch=None, warm=True, batch_failures=2)
    assert after(known, PICTURE, call=SINGLE_CALL) == known
    assert after(known, USELESS, call=SINGLE_CALL) == known
    # But a frame warms a server, unless another first frame is out.
    assert after(Learned(), PICTURE, call=SINGLE_CALL).warm
    assert not learn(Learned(), SINGLE_CALL, None, [PICTURE], warms=False).warm
    assert not after(Learned(), USELESS, call=SINGLE_CALL).warm


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


def test_other_failures_teach_nothing_about_batches():
    for action, kind in ((FAIL, 'timeout'), (RECONNECT, ''), (RETRY, ''), (ASK_AGAIN, 'scene')):
        known = after_failure(Learned(batch_failures=2), error(action, kind))
        assert known == Learned(batch_failures=2), action


def test_server_without_batches_is_no_fault_of_it():
    known = after_failure(Learned(), error(ASK_AGAIN, 'version'))
    assert (known.batch, known.batch_note) == (False, NO_BATCHES)


def batch(since=0.0, first=True, server=None):
    jobs: list[Any] = [None, None]
    return Call(server, jobs, 'batch_render_rgb', None, [], since, 60.0, first, 1.5, True)


def test_first_frame_is_waited_for_since_the_oldest_call_of_this_server():
    here: Any = SimpleNamespace(learned=Learned())
    gone: Any = SimpleNamespace(learned=Learned())
    calls = [batch(7.0, server=here), batch(5.0, server=here), batch(1.0, server=gone)]
    later = batch(2.0, first=False, server=here)
    assert first_frame_waited_s([*calls, later], here, 9.0) == 4.0
    assert first_frame_waited_s([later], here, 9.0) == 0.0
    assert first_frame_waited_s(calls, None, 9.0) == 0.0
    here.learned = Learned(warm=True)
    assert first_frame_waited_s(calls, here, 9.0) == 0.0


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


# --- batches, played -----------------------------------------------------------------------------


@pytest.mark.parametrize('item', [True, False])
def test_frame_of_a_batch_fails_alone(make_server, make_pipeline, delivered, item):
    """Where it brings down the whole call, each is asked for by itself; three such end batches."""

    def render(request, context):
        if request.camera_intrinsics.logical_id == 'tele':
            if item:
                raise ItemError('CUDA out of memory')
            context.abort(grpc.StatusCode.UNKNOWN, 'CUDA out of memory')
        return picture(request)

    server = make_server(render)
    pipeline = make_pipeline(server)
    for t_us in range(4):
        pipeline.submit(due(*CAMERAS, t_us=t_us), keep=True).result(60)
    assert {failure.camera for failure in delivered.failures} == {'tele'}
    assert [failure.error.kind for failure in delivered.failures] == ['memory'] * 4
    assert len(delivered.frames) == 12
    calls = [server.methods().count(name) for name in ('batch_render_rgb', 'render_rgb')]
    assert calls == ([4, 0] if item else [3, 16])
    status = pipeline.status()
    assert status.batch is item
    if not item:
        assert status.batch_note.startswith('batches fail (the GPU is out of memory (CUDA')
        assert status.batch_note.endswith('): single calls')
        delivered.wait(lambda: status.batch_note in delivered.texts('warn'))


def drop(reply):
    del reply.items[1]
    return reply


def strange(reply):
    reply.items.add().CopyFrom(reply.items[1])
    reply.items[-1].camera_name = 'camera_of_nobody'
    return reply


def nameless(reply):
    reply.items[1].camera_name = ''
    return reply


def empty(reply):
    del reply.items[:]
    return reply


def shuffle(reply):
    items = list(reply.items)[::-1]
    del reply.items[:]
    reply.items.extend(items)
    return reply


@pytest.mark.parametrize(
    ('change', 'alone', 'said', 'ends'),
    [
        (drop, ['tele'], 'the batch reply lacks tele: it is asked for by itself', True),
        (strange, [], 'a batch reply holds camera_of_nobody, not asked for', False),
        (nameless, ['tele'], 'a batch reply holds an item without a name, not asked for', True),
        (empty, list(CAMERAS), 'the batch reply lacks wide: it is asked for by itself', True),
        (shuffle, [], '', False),
    ],
)
def test_batch_replies_are_matched_by_name(
    make_server, make_pipeline, delivered, change, alone, said, ends
):
    """What one lacks, or holds twice, comes by a call of its own; three such end batches."""

    def sized(request, _context):
        request.resolution_w = 10 + CAMERAS.index(request.camera_intrinsics.logical_id)
        return picture(request)

    server = make_server(sized, batch_reply=change)
    pipeline = make_pipeline(server)
    pipeline.submit(due(*CAMERAS), keep=True).result(60)
    singles = [request.camera_intrinsics.logical_id for request in server.requests()]
    assert sorted(singles) == sorted(alone)
    assert pipeline.status().batch is True
    for t_us in range(1, 4):
        pipeline.submit(due(*CAMERAS, t_us=t_us), keep=True).result(60)
    assert delivered.failures == []
    assert len(delivered.frames) == 4 * len(CAMERAS)
    for frame in delivered.frames:
        assert frame.width == 10 + CAMERAS.index(frame.camera)
    assert server.methods().count('batch_render_rgb') == (3 if ends else 4)
    status = pipeline.status()
    note = 'batch replies do not match what was asked for, 3 times in a row: single calls'
    assert (status.batch, status.batch_note) == ((False, note) if ends else (True, ''))
    for text in [said, note][: bool(said) + ends]:
        delivered.wait(lambda text=text: any(text in one for one in delivered.texts('warn')))
    assert delivered.texts('warn').count(note) == ends
    assert said or delivered.texts('warn') == []


def test_what_a_reply_lacks_is_dropped_for_a_newer_frame(make_server, make_pipeline, delivered):
    """In real time: no failure, and said once."""
    answering = threading.Event()
    # Holds what comes after the batch, whose frames are of a later time.
    gate = Gate(lambda request: request.frame_start_us < START_US + 100)

    def late(reply):
        answering.wait(60)
        return drop(reply)

    pipeline = make_pipeline(make_server(gate, batch_reply=late))
    first = pipeline.submit(due(*CAMERAS))
    gate.wait_seen(len(CAMERAS))
    others = [pipeline.submit(due('tele', t_us=1))]
    gate.wait_seen(len(CAMERAS) + 1)
    others += [pipeline.submit(due('tele', t_us=t_us)) for t_us in range(2, 9)]
    answering.set()
    first.result(60)
    gate.let_all_go()
    for future in others:
        future.result(60)
    assert delivered.failures == []
    times = [frame.t_ns for frame in delivered.frames if frame.camera == 'tele']
    assert times == [(START_US + t_us) * 1000 for t_us in (1, 8)]
    assert pipeline.camera_status('tele').dropped == 7
    delivered.wait(lambda: any('lacks tele' in text for text in delivered.texts('warn')))
    assert len([text for text in delivered.texts('warn') if 'lacks tele' in text]) == 1


def test_batch_has_the_time_of_its_frames(make_server, make_pipeline):
    server = make_server()
    pipeline = make_pipeline(server, render_timeout_s=10.0)
    for t_us in range(2):
        pipeline.submit(due(*CAMERAS, t_us=t_us), keep=True).result(60)
    first, later = server.waits('batch_render_rgb')
    assert first > 250.0
    assert 30.0 < later <= 40.5


def test_batch_that_takes_longer_than_a_frame_may_is_said_before_it_is_given_up(
    make_server, make_pipeline, delivered, gate, monkeypatch
):
    monkeypatch.setattr(policy, 'LOOK_S', 0.01)
    gate.let_all_go()
    pipeline = make_pipeline(make_server(gate), render_timeout_s=15.0)
    pipeline.submit(due(*CAMERAS), keep=True).result(60)
    gate.hold()
    for module in (dispatcher, pipeline_module):
        monkeypatch.setattr(
            module,
            'late_error',
            lambda calls, server, _limit_s, now: late_error(calls, server, 0.0, now),
        )
    late = pipeline.submit(due(*CAMERAS, t_us=1), keep=True)
    said = delivered.said('warn')[0]
    assert 'has not answered batch_render_rgb within 0 s' in said
    assert 'it holds 4 frames and is given up after 60 s' in said
    assert not late.done()
    assert 'has not answered' in pipeline.status().last_error
    gate.let_all_go()
    late.result(60)
    assert len(delivered.frames) == 8
    assert len(delivered.texts('warn')) == 1
    assert pipeline.status().last_error == ''
