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
"""Realtime and lockstep, batches and order, against a server that waits to be told."""

from __future__ import annotations

from dataclasses import replace
from test.rendering.conftest import CAMERAS, due
from test.rendering.fake_server import Gate, picture
from test.support.archives import START_US
from test.support.waiting import until
import threading
import time

from nurec_ros.errors import RenderError
from nurec_ros.rendering import (
    dispatcher,
    Frame,
    frames,
    policy,
    RenderOptions,
)
from nurec_ros.rendering.calls import first_frame_waited_s
import pytest

# --- a frame -------------------------------------------------------------------------------------


def test_frame_carries_what_was_asked_for(make_server, make_pipeline, delivered):
    server = make_server()
    pipeline = make_pipeline(server, resolution_scale=0.1)
    assert pipeline.submit([]).result(0) is None
    future = pipeline.submit(due('wide', t_us=123_456))
    assert not future.cancel()
    future.result(60)
    (frame,) = delivered.results
    assert isinstance(frame, Frame)
    assert (frame.camera, frame.t_ns) == ('wide', (START_US + 123_456) * 1000)
    assert (frame.width, frame.height) == (192, 108) == pipeline.frame_size('wide')
    assert (frame.encoding, frame.data) == ('png', picture(server.requests()[0]))
    assert 0.0 < frame.latency_s < 20.0
    status = pipeline.camera_status('wide')
    assert status.latency_p50_s == status.latency_p95_s == frame.latency_s


def test_camera_that_cannot_be_rendered_fails_alone(
    make_server, make_pipeline, delivered, scenario
):
    blind = replace(scenario.cameras['wide'], model=None)
    cracked = replace(scenario.cameras['tele'], problem='its lens is cracked')
    cameras = {**scenario.cameras, 'wide': blind, 'cracked': cracked}
    some = replace(scenario, cameras=cameras)
    pipeline = make_pipeline(make_server(), scenario=some)
    pipeline.submit(due('wide', 'tele', 'attic', 'cracked')).result(60)
    assert {failure.camera for failure in delivered.failures} == {'wide', 'attic', 'cracked'}
    assert [frame.camera for frame in delivered.frames] == ['tele']
    said = {name: pipeline.camera_status(name).last_error for name in ('wide', 'attic', 'cracked')}
    assert said == {
        'wide': 'wide is not renderable: wide has no camera model',
        'attic': 'the scenario has no camera attic',
        'cracked': 'cracked is not renderable: its lens is cracked',
    }
    for call in (pipeline.frame_size, pipeline.output_model):
        with pytest.raises(RenderError, match=r'^wide is not renderable'):
            call('wide')
    status = pipeline.status()
    assert (status.asked, status.received, status.failed, status.dropped) == (4, 1, 3, 0)
    assert status.in_flight == 0


# --- realtime ------------------------------------------------------------------------------------


def test_realtime_newest_wins(make_server, make_pipeline, delivered, gate):
    pipeline = make_pipeline(make_server(gate), batch='never')
    first = [pipeline.submit(due('wide', t_us=t)) for t in range(3)]
    gate.wait_seen(1)
    until(lambda: pipeline.status().in_flight >= 1)
    middle = [pipeline.submit(due('wide', t_us=100 + t)) for t in range(20)]
    # Those that were replaced are done, without a word.
    until(lambda: sum(future.done() for future in middle) >= 17)
    last = pipeline.submit(due('wide', t_us=999))
    gate.let_all_go()
    for future in (*first, *middle, last):
        future.result(60)
    times = [frame.t_ns for frame in delivered.frames]
    assert times == sorted(times)
    assert times[-1] == (START_US + 999) * 1000
    status = pipeline.camera_status('wide')
    assert status.asked == 24
    assert status.received == len(delivered.frames) == len(gate.seen) < 10
    assert status.dropped == 24 - status.received
    assert status.failed == 0
    assert delivered.failures == []


def test_late_frames_come_in_order_with_their_own_stamps(make_server, make_pipeline, delivered):
    """The second and third reply overtake the first: they wait for it."""
    gate = Gate(lambda request: request.frame_start_us == START_US)
    pipeline = make_pipeline(make_server(gate), batch='never')
    futures = [pipeline.submit(due('wide', t_us=t_us), keep=True) for t_us in range(3)]
    other = pipeline.submit(due('tele', t_us=5), keep=True)
    gate.wait_seen(2)
    other.result(60)
    assert [frame.camera for frame in delivered.frames] == ['tele']
    gate.let_all_go()
    for future in futures:
        future.result(60)
    wide = [frame.t_ns // 1000 - START_US for frame in delivered.frames if frame.camera == 'wide']
    assert wide == [0, 1, 2]


def test_submit_does_not_wait_for_anything(make_server, make_pipeline, gate):
    """Neither for a server that does not answer, nor for a delivery that takes its time."""
    stuck = threading.Event()
    submitted = threading.Event()
    pipeline = make_pipeline(make_server(gate), deliver=lambda result: stuck.wait(60))
    gate.let_all_go()

    def submit():
        for t_us in range(100):
            pipeline.submit(due(*CAMERAS, t_us=t_us))
        submitted.set()

    threading.Thread(target=submit, daemon=True).start()
    assert submitted.wait(60)
    assert not stuck.is_set()
    stuck.set()


def test_slow_delivery_holds_back_the_wire_not_the_memory(make_server, make_pipeline):
    stuck = threading.Event()
    server = make_server()
    pipeline = make_pipeline(server, deliver=lambda result: stuck.wait(60), batch='never')
    done = [pipeline.submit(due('wide', t_us=t_us), keep=True) for t_us in range(20)]
    until(lambda: len(server.requests()) >= 5)
    threading.Event().wait(0.1)
    # One is being delivered, five wait behind it.
    assert len(server.requests()) <= 6
    stuck.set()
    for future in done:
        future.result(60)
    assert len(server.requests()) == 20


# --- lockstep and kept frames --------------------------------------------------------------------


def test_future_is_done_after_the_delivery(make_server, make_pipeline):
    seen: list[str] = []

    def deliver(result):
        time.sleep(0.01)
        seen.append(result.camera)

    pipeline = make_pipeline(make_server(), deliver=deliver)
    for round_ in range(1, 4):
        pipeline.submit(due(*CAMERAS, t_us=round_), keep=True).result(60)
        assert len(seen) == 4 * round_


def test_log_that_raises_harms_nobody(make_server, make_pipeline, delivered, caplog):
    def broken(level, text):
        raise ZeroDivisionError(level)

    server = make_server(lambda *_: b'')
    pipeline = make_pipeline(server, log=broken)
    pipeline.submit(due(*CAMERAS), keep=True).result(60)
    assert len(delivered.failures) == 4
    server.render = picture
    pipeline.submit(due(*CAMERAS, t_us=9), keep=True).result(60)
    assert len(delivered.frames) == 4
    told = [record.getMessage() for record in caplog.records]
    assert any('connected to' in text for text in told)
    assert any('the reply holds no image' in text for text in told)


def test_delivery_that_raises_harms_nobody(make_server, make_pipeline, delivered):
    def deliver(result):
        if result.camera == 'wide':
            raise ValueError('no such topic')
        delivered(result)

    pipeline = make_pipeline(make_server(), deliver=deliver)
    for t_us in range(2):
        pipeline.submit(due('wide', 'tele', t_us=t_us), keep=True).result(60)
    assert len(delivered.frames) == 2
    assert delivered.texts('error') == ['delivering wide: ValueError: no such topic']


# --- batches -------------------------------------------------------------------------------------


def test_frames_of_one_step_share_a_batch_and_a_lone_one_goes_alone(
    make_server, make_pipeline, delivered
):
    server = make_server()
    pipeline = make_pipeline(server)
    pipeline.submit(due(*CAMERAS)).result(60)
    pipeline.submit(due('tele', t_us=5)).result(60)
    calls = [name for name in server.methods() if 'render' in name]
    assert calls == ['batch_render_rgb', 'render_rgb']
    items = server.requests('batch_render_rgb')[0].items
    assert [item.camera_name for item in items] == list(CAMERAS)
    for item in items:
        assert item.request.camera_intrinsics.logical_id == item.camera_name
    assert len(delivered.frames) == 5
    assert pipeline.status().batch is True


@pytest.mark.parametrize(('batch', 'most'), [('never', 3), ('auto', 2)])
def test_only_so_many_calls_are_in_flight(make_server, make_pipeline, gate, batch, most):
    """Two batches at most, and three frames; of frames of different steps none share a batch."""
    server = make_server(gate)
    pipeline = make_pipeline(server, batch=batch)
    done = [pipeline.submit(due(*CAMERAS, t_us=t_us), keep=True) for t_us in range(4)]
    method = 'render_rgb' if batch == 'never' else 'batch_render_rgb'
    until(lambda: len(server.requests(method)) == most)
    threading.Event().wait(0.1)
    assert len(server.requests(method)) == most
    assert pipeline.status().in_flight == (3 if batch == 'never' else 8)
    gate.let_all_go()
    alone = [due(camera, t_us=9 + i) for i, camera in enumerate(CAMERAS)]
    done += [pipeline.submit(frames, keep=True) for frames in alone]
    for future in done:
        future.result(60)
    assert server.methods().count('batch_render_rgb') == (0 if batch == 'never' else 4)


# --- changes at run time -------------------------------------------------------------------------


def test_options_that_may_change(make_server, make_pipeline, delivered):
    server = make_server()
    pipeline = make_pipeline(server, batch='never')
    pipeline.submit(due('wide')).result(60)
    options = RenderOptions(image_format='png', camera_scales={'tele': 0.02}, send_tracks=True)
    pipeline.update(replace(options, resolution_scale=0.05))
    pipeline.submit(due('wide', 'tele')).result(60)
    sizes = {frame.camera: (frame.width, frame.height) for frame in delivered.frames[1:]}
    assert sizes == {'wide': (96, 54), 'tele': (38, 22)}
    assert server.requests()[-1].dynamic_objects
    assert pipeline.frame_size('wide') == (96, 54)
    pipeline.update(replace(options, rig_offset=(0.0, 5.0, 0.0, 0.0, 0.0, 0.0)))
    pipeline.submit(due('wide')).result(60)
    before, after = server.requests()[0], server.requests()[-1]
    moved = after.sensor_pose.start_pose.vec.y - before.sensor_pose.start_pose.vec.y
    assert moved == pytest.approx(5.0, abs=0.01)


# --- discard -------------------------------------------------------------------------------------


def test_discard_gives_up_everything(make_server, make_pipeline, delivered):
    """Nothing waits for it, even where the server goes on with what was cancelled."""
    gate = Gate(lambda request: request.frame_start_us < START_US + 50)
    pipeline = make_pipeline(make_server(gate), batch='never')
    done = [pipeline.submit(due('wide', t_us=t_us), keep=True) for t_us in range(10)]
    gate.wait_seen(3)
    pipeline.discard()
    for future in done:
        future.result(60)
    pipeline.submit(due('wide', t_us=50), keep=True).result(60)
    gate.let_all_go()
    assert [frame.t_ns for frame in delivered.results] == [(START_US + 50) * 1000]
    status = pipeline.camera_status('wide')
    assert (status.asked, status.received, status.dropped) == (11, 1, 10)


# --- status --------------------------------------------------------------------------------------


@pytest.mark.parametrize('cameras', [('wide',), ('wide', 'tele')])
def test_first_frame_that_takes_its_time_is_told(
    make_server, make_pipeline, delivered, monkeypatch, gate, cameras
):
    """Of each connection, and of no later frame; the log has it once."""
    monkeypatch.setattr(frames, 'LONG_S', 0.0)
    monkeypatch.setattr(policy, 'LOOK_S', 0.01)
    monkeypatch.setattr(policy, 'FIRST_FRAME_SAID_S', 0.0)
    looks: list[float] = []

    def look(*arguments):
        looks.append(first_frame_waited_s(*arguments))
        return looks[-1]

    monkeypatch.setattr(dispatcher, 'first_frame_waited_s', look)
    server = make_server(gate)
    pipeline = make_pipeline(server, first_render_timeout_s=240.0)

    def waited():
        return pipeline.status().waiting_for_first_frame_s

    for connection in (1, 2):
        until(lambda: pipeline.status().connected)
        assert waited() == 0.0
        future = pipeline.submit(due(*cameras, t_us=connection), keep=True)
        until(lambda: waited() > 0.0)
        before = pipeline.status()
        assert (before.first_frame_limit_s, before.last_error) == (240.0, '')
        assert 'first frame' in before.waiting_note
        assert '240 s' in before.waiting_note
        until(lambda before=before: waited() > before.waiting_for_first_frame_s)
        seen = len(looks)
        until(lambda seen=seen: len(looks) > seen + 3)
        gate.let_all_go()
        future.result(60)
        gate.hold()
        later = pipeline.submit(due(*cameras, t_us=connection + 10), keep=True)
        until(lambda: pipeline.status().in_flight == len(cameras))
        assert waited() == 0.0
        gate.let_all_go()
        later.result(60)
        said = [text for text in delivered.texts('info') if 'first frame' in text]
        assert len(said) == connection
        if connection == 1:
            gate.hold()
            server.stop()
            until(lambda: not pipeline.status().connected)
            make_server(gate, port=server.port)
    assert delivered.texts('warn') == []


def test_short_wait_is_no_sentence(make_pipeline):
    status = replace(make_pipeline('127.0.0.1:1').status(), connected=True)
    assert replace(status, waiting_for_first_frame_s=0.9).waiting_note == ''
    assert replace(status, waiting_for_first_frame_s=1.0).waiting_note
