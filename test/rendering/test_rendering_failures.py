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
"""Whatever a server answers: what is lost, what is tried again, what is said."""

from __future__ import annotations

from itertools import count
from test.rendering.conftest import CAMERAS, due
from test.rendering.fake_server import failing, ItemError, picture
from test.support.archives import START_US
from test.support.waiting import until
import threading

import grpc
from nurec_ros.rendering import dispatcher, policy
from nurec_ros.rendering.calls import prepare, results_of
import pytest

CODE = grpc.StatusCode


@pytest.fixture(autouse=True)
def short_delays(monkeypatch):
    monkeypatch.setattr(policy, 'TRANSIENT_DELAYS_S', (0.01, 0.02))


@pytest.mark.parametrize(
    ('code', 'text', 'kind', 'keep'),
    [
        (CODE.UNKNOWN, 'NRenderer.render failed', 'renderer', True),
        # After these two the server is asked anew what it is, now and then.
        (CODE.NOT_FOUND, 'scene not found', 'scene', False),
        (CODE.UNIMPLEMENTED, 'no such method', 'version', True),
    ],
)
def test_frame_is_lost_and_the_rest_goes_on(
    make_server, make_pipeline, delivered, monkeypatch, code, text, kind, keep
):
    monkeypatch.setattr(policy, 'SCENE_CHECK_S', 0.0)
    server = make_server(failing(code, text, 'wide'))
    pipeline = make_pipeline(server, batch='never')
    for t_us in range(3):
        pipeline.submit(due('wide', 'tele', t_us=t_us), keep=keep).result(60)
    assert [failure.camera for failure in delivered.failures] == ['wide'] * 3
    assert [frame.camera for frame in delivered.frames] == ['tele'] * 3
    error = delivered.failures[0].error
    assert error.kind == kind
    delivered.wait(lambda: str(error) in delivered.texts('warn'))
    assert delivered.texts('warn').count(str(error)) == 1
    status = pipeline.camera_status('wide')
    assert (status.last_error, status.remedy) == (error.problem, error.remedy)
    assert pipeline.status().last_error == error.problem
    assert pipeline.camera_status('tele').last_error == ''
    until(lambda: (server.methods().count('get_version') > 1) is (kind != 'renderer'))


# --- once more -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('text', 'item', 'times', 'kind'),
    [
        ('Stopped waiting for backend', True, 2, ''),
        ('Stopped waiting for backend', False, 2, ''),
        ('Stopped waiting for backend', False, 3, 'transient'),
        ('CUDA out of memory', True, 1, 'memory'),
    ],
)
def test_transient_failures_are_tried_again_others_are_not(
    make_server, make_pipeline, delivered, text, item, times, kind
):
    left = {'wide': times}

    def render(request, context):
        name = request.camera_intrinsics.logical_id
        if left.get(name, 0):
            left[name] -= 1
            if item:
                raise ItemError(text)
            context.abort(CODE.UNKNOWN, text)
        return picture(request)

    pipeline = make_pipeline(make_server(render), batch='auto' if item else 'never')
    pipeline.submit(due('wide', 'tele'), keep=True).result(60)
    found = {failure.camera: failure.error.kind for failure in delivered.failures}
    assert found == ({'wide': kind} if kind else {})
    assert {frame.camera for frame in delivered.frames} == {'wide', 'tele'} - {*found}
    assert left == {'wide': 0}


def test_newer_frame_is_better_than_a_second_try(
    make_server, make_pipeline, delivered, monkeypatch
):
    monkeypatch.setattr(policy, 'TRANSIENT_DELAYS_S', (1000.0,))
    failed = threading.Event()

    def render(request, context):
        if not failed.is_set():
            failed.set()
            context.abort(CODE.INTERNAL, 'Stopped waiting for backend')
        return picture(request)

    pipeline = make_pipeline(make_server(render))
    first = pipeline.submit(due('wide', t_us=1))
    assert failed.wait(60)
    until(lambda: pipeline.status().in_flight == 0)
    pipeline.submit(due('wide', t_us=2)).result(60)
    first.result(60)
    assert len(delivered.frames) == 1
    # Dropped, or failed: that depends on which of the two came first.
    status = pipeline.camera_status('wide')
    assert (status.received, status.dropped + status.failed) == (1, 1)


# --- tracks --------------------------------------------------------------------------------------


@pytest.mark.parametrize('batch', ['auto', 'never'])
def test_tracks_are_never_sent_again_to_a_server_that_refuses_them(
    make_server, make_pipeline, delivered, batch
):
    refused = []

    def render(request, context):
        if request.dynamic_objects:
            refused.append(request)
            context.abort(CODE.FAILED_PRECONDITION, 'not enabled')
        return picture(request)

    pipeline = make_pipeline(make_server(render), send_tracks=True, batch=batch)
    pipeline.submit(due('wide'), keep=True).result(60)
    for t_us in range(2):
        pipeline.submit(due('wide', 'tele', t_us=t_us), keep=True).result(60)
    assert len(delivered.frames) == len(delivered.results) == 5
    assert len(refused) == 1
    assert pipeline.status().tracks_refused


# --- deadlines -----------------------------------------------------------------------------------


def test_first_frame_may_take_longer_than_later_ones(make_server, make_pipeline):
    server = make_server()
    pipeline = make_pipeline(server, first_render_timeout_s=300.0, render_timeout_s=100.0)
    for t_us in range(2):
        pipeline.submit(due('wide', t_us=t_us), keep=True).result(60)
    server.stop()
    until(lambda: not pipeline.status().connected)
    again = make_server(port=server.port)
    pipeline.submit(due('wide', t_us=9), keep=True).result(60)
    first, later = server.waits()
    # gRPC rounds deadlines up.
    assert all(250.0 < each <= 302.0 for each in (first, *again.waits()))
    assert 50.0 < later <= 102.0


@pytest.mark.parametrize('keep', [True, False])
def test_frame_that_is_not_answered_in_time_is_lost(
    make_server, make_pipeline, delivered, gate, keep
):
    gate.let_all_go()
    pipeline = make_pipeline(make_server(gate), render_timeout_s=0.2)
    pipeline.submit(due('wide', t_us=1), keep=keep).result(60)
    gate.hold()
    pipeline.submit(due('wide', t_us=2), keep=keep).result(60)
    gate.let_all_go()
    (frame, failure) = delivered.results
    assert [frame.t_ns, failure.t_ns] == [due('', t_us=t_us)[0].t_ns for t_us in (1, 2)]
    assert failure.error.kind == 'timeout'
    assert 'did not answer render_rgb within 0.2 s' in str(failure.error)
    assert failure.error.remedy.endswith('raise render_timeout_s')
    times = count(3)

    def one_comes():
        pipeline.submit(due('wide', t_us=next(times)), keep=keep).result(60)
        return len(delivered.frames) == 2

    # So short a limit may strike any of those that follow.
    until(one_comes)


def test_first_frame_that_does_not_come_names_its_own_limit(
    make_server, make_pipeline, delivered, gate
):
    pipeline = make_pipeline(make_server(gate), first_render_timeout_s=0.2)
    pipeline.submit(due('wide'), keep=True).result(60)
    error = delivered.failures[0].error
    assert error.kind == 'timeout'
    assert error.remedy.startswith('it may be compiling its kernels')
    assert error.remedy.endswith('raise first_render_timeout_s')


# --- the server goes away ------------------------------------------------------------------------


@pytest.mark.parametrize('realtime', [True, False])
def test_kept_frames_wait_for_a_server_that_went_and_come_in_order(
    make_server, make_pipeline, delivered, gate, realtime
):
    """Of others those in flight are lost, and the newest comes after."""
    server = make_server(gate)
    pipeline = make_pipeline(server, batch='never')
    done = [pipeline.submit(due('tele', t_us=1), keep=not realtime)]
    done += [pipeline.submit(due('wide', t_us=t_us), keep=True) for t_us in range(6)]
    gate.wait_seen(3)
    stopper = threading.Thread(target=server.stop)
    stopper.start()
    delivered.said('error')
    if realtime:
        done[0].result(60)
    gate.let_all_go()
    stopper.join(60)
    later = [due('tele', t_us=10 + t_us) for t_us in range(20)]
    done += [pipeline.submit(frames, keep=not realtime) for frames in later]
    make_server(port=server.port)
    for future in done:
        future.result(60)
    assert [failure.error.kind for failure in delivered.failures] == ['unreachable'] * realtime
    came = [(frame.camera, frame.t_ns // 1000 - START_US) for frame in delivered.frames]
    assert [t_us for camera, t_us in came if camera == 'wide'] == [*range(6)]
    tele = [29] if realtime else [1, *range(10, 30)]
    assert [t_us for camera, t_us in came if camera == 'tele'] == tele
    assert pipeline.camera_status('tele').dropped == 19 * realtime


def test_frames_of_a_tick_fail_at_once_while_the_server_is_away(
    make_server, make_pipeline, delivered
):
    """Nor do they wait for a picture that waits for the server."""
    server = make_server()
    pipeline = make_pipeline(server)
    # Before the first connection they wait for its verdict.
    pipeline.submit(due('wide'), keep=True, fail_if_down=True).result(60)
    assert len(delivered.frames) == 1
    server.stop()
    picture_of_now = pipeline.submit(due('wide', t_us=1), keep=True)
    for t_us in range(2, 5):
        pipeline.submit(due(*CAMERAS, t_us=t_us), keep=True, fail_if_down=True).result(60)
    assert len(delivered.failures) == 12
    assert {failure.error.kind for failure in delivered.failures} == {'unreachable'}
    assert delivered.texts('warn') == []
    # The client's thread says what frames are already told.
    assert len(delivered.said('error')) == 1
    assert not picture_of_now.done()
    make_server(port=server.port)
    picture_of_now.result(60)
    assert len(delivered.frames) == 2


def test_server_that_answers_but_loses_every_frame_is_not_asked_without_end(
    make_server, make_pipeline, delivered
):
    """UNAVAILABLE from the application, over a connection that is fine."""
    server = make_server(failing(CODE.UNAVAILABLE, 'loading the scene'))
    pipeline = make_pipeline(server)
    future = pipeline.submit(due('wide'), keep=True)
    delivered.said('error')
    until(lambda: len(server.requests()) >= 3)
    until(lambda: 'not ready yet (loading the scene)' in pipeline.status().last_error)
    assert len(delivered.texts('error')) == 1
    server.render = picture
    future.result(60)
    assert len(server.requests()) < 20


# --- our own faults ------------------------------------------------------------------------------


def test_fault_of_our_own_loses_the_frame_only(make_server, make_pipeline, delivered, monkeypatch):
    pipeline = make_pipeline(make_server(), batch='never')

    def broken(call, *rest):
        if call.jobs[0].source == 'wide':
            raise ZeroDivisionError('a bug')
        return results_of(call, *rest)

    monkeypatch.setattr(dispatcher, 'results_of', broken)
    for t_us in range(5):
        pipeline.submit(due('wide', 'tele', t_us=t_us), keep=True).result(60)
    assert len(delivered.frames) == 5
    assert 'ZeroDivisionError: a bug' in str(delivered.failures[0].error)
    assert pipeline.status().in_flight == 0


def test_call_that_cannot_be_built_fails_its_frames_alone(
    make_server, make_pipeline, delivered, monkeypatch
):
    """As where memory is short."""
    errors = iter([MemoryError('no room')])

    def poor(*given):
        for error in errors:
            raise error
        return prepare(*given)

    monkeypatch.setattr(dispatcher, 'prepare', poor)
    pipeline = make_pipeline(make_server())
    pipeline.submit(due('wide'), keep=True).result(60)
    assert pipeline.status().last_error == 'the client failed (MemoryError: no room)'
    pipeline.submit(due('wide', t_us=100_000), keep=True).result(60)
    assert (len(delivered.failures), len(delivered.frames)) == (1, 1)
    assert pipeline.status().in_flight == 0
