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
"""Frames that share a call: matched by name, asked for by themselves, given up where it helps."""

from test.rendering.conftest import CAMERAS, due
from test.rendering.fake_server import failing, Gate, ItemError, picture
from test.support.archives import START_US
import threading

import grpc
from nurec_ros.rendering import dispatcher, policy
from nurec_ros.rendering import pipeline as pipeline_module
from nurec_ros.rendering.calls import late_error
import pytest

CODE = grpc.StatusCode


@pytest.mark.parametrize(
    ('code', 'text', 'kind'),
    [
        (CODE.UNKNOWN, 'CUDA out of memory. Tried to allocate 1 GiB', 'memory'),
        (CODE.FAILED_PRECONDITION, 'the harmonizer is off', 'feature'),
        (CODE.UNIMPLEMENTED, 'no such method', 'version'),
    ],
)
def test_batch_that_fails_as_a_whole_is_asked_for_one_by_one(
    make_server, make_pipeline, delivered, code, text, kind
):
    server = make_server(failing(code, text, 'wide'))
    make_pipeline(server).submit(due(*CAMERAS), keep=True).result(60)
    assert [failure.camera for failure in delivered.failures] == ['wide']
    assert {frame.camera for frame in delivered.frames} == set(CAMERAS) - {'wide'}
    assert server.methods().count('render_rgb') == 4
    if kind != 'version':
        assert delivered.failures[0].error.kind == kind


def test_item_of_a_batch_fails_alone(make_server, make_pipeline, delivered):
    def render(request, context):
        if request.camera_intrinsics.logical_id == 'tele':
            raise ItemError('CUDA out of memory')
        return picture(request)

    server = make_server(render)
    pipeline = make_pipeline(server)
    for t_us in range(4):
        pipeline.submit(due(*CAMERAS, t_us=t_us), keep=True).result(60)
    assert [failure.error.kind for failure in delivered.failures] == ['memory'] * 4
    assert len(delivered.frames) == 12
    assert 'render_rgb' not in server.methods()
    assert pipeline.status().batch is True


def drop(reply):
    del reply.items[1]
    return reply


def double(reply):
    reply.items.add().CopyFrom(reply.items[1])
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


def blank(reply):
    for item in reply.items:
        item.result.image_bytes = b''
    return reply


def shuffle(reply):
    items = list(reply.items)[::-1]
    del reply.items[:]
    reply.items.extend(items)
    return reply


@pytest.mark.parametrize(
    ('change', 'alone', 'said'),
    [
        (drop, ['tele'], 'the batch reply lacks tele: it is asked for by itself'),
        (double, ['tele'], 'the batch reply holds tele 2 times'),
        (strange, [], 'a batch reply holds camera_of_nobody, not asked for'),
        (nameless, ['tele'], 'a batch reply holds an item without a name, not asked for'),
        (empty, list(CAMERAS), 'the batch reply lacks wide: it is asked for by itself'),
        (shuffle, [], ''),
    ],
)
def test_batch_replies_are_matched_by_name(
    make_server, make_pipeline, delivered, change, alone, said
):
    """What a reply lacks, or holds twice, comes by a call of its own."""

    def sized(request, _context):
        request.resolution_w = 10 + CAMERAS.index(request.camera_intrinsics.logical_id)
        return picture(request)

    server = make_server(sized, batch_reply=change)
    pipeline = make_pipeline(server)
    pipeline.submit(due(*CAMERAS), keep=True).result(60)
    assert delivered.failures == []
    for frame in delivered.frames:
        assert frame.width == 10 + CAMERAS.index(frame.camera)
    assert len(delivered.frames) == len(CAMERAS)
    singles = [request.camera_intrinsics.logical_id for request in server.requests()]
    assert sorted(singles) == sorted(alone)
    assert pipeline.status().batch is True
    if said:
        delivered.wait(lambda: any(said in text for text in delivered.texts('warn')))
    else:
        assert delivered.texts('warn') == []


@pytest.mark.parametrize(
    ('change', 'lost', 'what'),
    [
        *((change, 0, 'do not match what was asked for') for change in (drop, double, nameless)),
        (empty, 0, 'do not match what was asked for'),
        (blank, 12, 'hold no picture'),
    ],
)
def test_batches_that_bring_nothing_are_given_up(
    make_server, make_pipeline, delivered, change, lost, what
):
    server = make_server(batch_reply=change)
    pipeline = make_pipeline(server)
    for t_us in range(6):
        pipeline.submit(due(*CAMERAS, t_us=t_us), keep=True).result(60)
    note = f'batch replies {what}, 3 times in a row: single calls'
    assert server.methods().count('batch_render_rgb') == 3
    assert (len(delivered.frames), len(delivered.failures)) == (24 - lost, lost)
    status = pipeline.status()
    assert (status.batch, status.batch_note) == (False, note)
    delivered.wait(lambda: note in delivered.texts('warn'))
    assert delivered.texts('warn').count(note) == 1
    assert bool(status.last_error) == bool(lost)


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
    assert 30.0 < server.waits('batch_render_rgb')[-1] <= 40.5


def test_batch_that_takes_longer_than_a_frame_may_is_said_before_it_is_given_up(
    make_server, make_pipeline, delivered, gate, monkeypatch
):
    monkeypatch.setattr(policy, 'LOOK_S', 0.01)
    gate.let_all_go()
    pipeline = make_pipeline(make_server(gate), render_timeout_s=15.0)
    pipeline.submit(due(*CAMERAS), keep=True).result(60)
    gate.hold()
    for module in (dispatcher, pipeline_module):
        monkeypatch.setattr(module, 'late_error', early(late_error))
    late = pipeline.submit(due(*CAMERAS, t_us=1), keep=True)
    delivered.wait(lambda: bool(delivered.texts('warn')))
    said = delivered.texts('warn')[0]
    assert 'has not answered batch_render_rgb within 0 s' in said
    assert 'it holds 4 frames and is given up after 60 s' in said
    assert not late.done()
    assert 'has not answered' in pipeline.status().last_error
    gate.let_all_go()
    late.result(60)
    assert len(delivered.frames) == 8
    assert len(delivered.texts('warn')) == 1
    assert pipeline.status().last_error == ''


def early(real):
    """Let every call in flight be late at once."""
    return lambda calls, server, _limit_s, now: real(calls, server, 0.0, now)
