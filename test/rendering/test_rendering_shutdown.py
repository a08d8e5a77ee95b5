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
"""The end: of a pipeline with frames in flight, of its process, and of servers killed under it."""

from __future__ import annotations

import gc
from itertools import count
import os
from pathlib import Path
import signal
import subprocess
import sys
from test.rendering.conftest import CAMERAS, Delivered, due
from test.rendering.fake_server import picture
from test.support.ports import claim_port
from test.support.process import Process
from test.support.waiting import until
import threading
import weakref

from nurec_ros.errors import RenderError
from nurec_ros.rendering import RenderOptions, RenderPipeline
from nurec_ros.rendering.server_errors import ServerError
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def ours():
    """Return a function that names the threads of the pipelines that the test made."""
    before = threading.enumerate()
    names = ('nurec-render', 'nurec-deliver', 'nurec-connect')
    return lambda: [
        thread.name
        for thread in threading.enumerate()
        if thread.name.startswith(names) and thread not in before
    ]


# --- close ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('batch', ['auto', 'never'])
def test_close_does_not_wait_for_frames_in_flight(
    make_server, make_pipeline, delivered, ours, batch
):
    # Deaf to the cancelling of its call, as a renderer on a GPU is.
    closed = threading.Event()

    def render(request, _context) -> bytes:
        assert closed.wait(60.0)
        return picture(request)

    server = make_server(render)
    pipeline = make_pipeline(server, batch=batch)
    done = [pipeline.submit(due(*CAMERAS, t_us=t_us), keep=True) for t_us in range(5)]
    until(lambda: server.flying > 0)
    pipeline.close(20.0)
    still_flying = server.flying
    closed.set()
    assert still_flying > 0
    assert all(future.done() for future in done)
    assert delivered.results == []
    assert ours() == []


@pytest.mark.parametrize(
    ('which', 'error'),
    [*((which, RuntimeError("can't start new thread")) for which in range(4)), (1, MemoryError())],
)
def test_start_without_threads_or_memory_is_one_line_and_leaves_nothing(
    scenario, monkeypatch, ours, which, error
):
    begin = threading.Thread.start
    left = which

    def refuse(thread):
        nonlocal left
        if left == 0:
            raise error
        left -= 1
        begin(thread)

    pipeline = RenderPipeline(scenario, RenderOptions(server='127.0.0.1:1'), lambda result: None)
    future = pipeline.submit(due('wide'), keep=True)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, 'start', refuse)
        with pytest.raises(RenderError, match=r'rendering cannot start: .*ulimit') as caught:
            pipeline.start()
    assert '\n' not in str(caught.value)
    assert (str(error) or 'out of memory') in str(caught.value)
    until(lambda: not ours())
    assert future.done()
    pipeline.close()


def test_close_where_the_system_gives_no_thread(make_server, make_pipeline, ours, monkeypatch):
    server = make_server()
    pipeline = make_pipeline(server)
    pipeline.submit(due('wide'), keep=True).result(60)

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, 'start', refuse)
        pipeline.close(60.0)
    until(lambda: not ours())
    assert not pipeline.status().connected


def test_close_before_start_while_it_connects_and_twice(scenario, make_pipeline, delivered, ours):
    unused = RenderPipeline(scenario, RenderOptions(), delivered)
    pipeline = make_pipeline('127.0.0.1:1')
    future = pipeline.submit(due('wide'))
    for one in (unused, pipeline):
        one.close(20.0)
        one.close(20.0)
    assert ours() == []
    assert future.done()
    # Then nothing waits.
    pipeline.submit(due('wide'), keep=True).result(0)
    pipeline.discard()
    assert delivered.results == []
    assert not pipeline.status().connected


def test_closed_pipelines_leave_nothing_behind(scenario, make_server, ours):
    def play():
        delivered = []
        pipeline = RenderPipeline(
            scenario,
            RenderOptions(server=server.address, image_format='png', resolution_scale=0.01),
            delivered.append,
            log=lambda level, text: None,
        )
        pipeline.start()
        future = pipeline.submit(due(*CAMERAS), keep=True)
        future.result(60)
        threads = [
            weakref.ref(thread)
            for thread in threading.enumerate()
            if thread.name.startswith('nurec') and thread not in others
        ]
        assert len(threads) >= 4
        pipeline.close(60.0)
        return [weakref.ref(pipeline), weakref.ref(future), *threads]

    def alive():
        gc.collect()
        return sum(reference() is not None for reference in references)

    server = make_server()
    others = threading.enumerate()
    # What there was before need not be searched.
    gc.collect()
    gc.freeze()
    references = play()
    until(lambda: not ours())
    until(lambda: not alive())
    files = len(os.listdir('/proc/self/fd'))
    for _ in range(2):
        references += play()
    # gRPC closes its channels, and their sockets, a moment later.
    until(lambda: not ours() and len(os.listdir('/proc/self/fd')) <= files)
    until(lambda: not alive())
    gc.unfreeze()


@pytest.mark.parametrize('from_it', [False, True])
def test_close_during_a_delivery_waits_no_longer_than_it_was_told(
    make_server, make_pipeline, from_it
):
    delivering, over = threading.Event(), threading.Event()

    def deliver(result):
        if from_it:
            pipeline.close(1.0)
        delivering.set()
        over.wait(60)

    pipeline = make_pipeline(make_server(), deliver=deliver)
    pipeline.submit(due('wide'))
    assert delivering.wait(60)
    pipeline.close(0.05)
    assert not over.is_set()
    over.set()


# --- the process ---------------------------------------------------------------------------------

CLIENT = """
import sys
from nurec_ros.playback import Due
from nurec_ros.rendering import RenderOptions, RenderPipeline
from nurec_ros.rendering.protos import sensorsim_pb2
from nurec_ros.scenario import Scenario

scenario = Scenario.load(sys.argv[1])
options = RenderOptions(server=sys.argv[2], image_format='png', resolution_scale=0.01)
for closes in (True, False):
    pipeline = RenderPipeline(scenario, options, lambda result: None)
    pipeline.start()
    pipeline.submit([Due(name, scenario.start_ns + 100_000) for name in ('wide', 'tele')])
    sys.stdin.readline()
    if closes:
        pipeline.close()
"""


def test_process_ends_at_once_and_without_a_word(make_server, scenario, gate):
    """With renders in flight for a minute, of a pipeline that was closed and one that was not."""
    server = make_server(gate)
    process = subprocess.Popen(
        [sys.executable, '-c', CLIENT, str(scenario.path), server.address],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    for number in (1, 2):
        until(lambda number=number: server.methods().count('batch_render_rgb') == number)
        process.stdin.write('\n')
        process.stdin.flush()
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert (output, errors) == ('', '')


# --- kill -9 -------------------------------------------------------------------------------------


def test_server_killed_in_mid_play_again_and_again(make_pipeline, scenario, tmp_path):
    """Two players of one server: of one all frames come, of the other the newest; in order."""
    port = claim_port()
    boxes = {mode: Delivered() for mode in ('realtime', 'lockstep')}
    pipelines = [
        make_pipeline(f'127.0.0.1:{port}', deliver=box, log=box.log) for box in boxes.values()
    ]
    steps = count()
    asked = []

    def times_of(box, camera):
        return [frame.t_ns for frame in box.frames if frame.camera == camera]

    def newest_comes():
        frames = due(*CAMERAS, t_us=100 * next(steps))
        pipelines[0].submit(frames).result(60)
        return all(frame.t_ns in times_of(boxes['realtime'], frame.name) for frame in frames)

    for frames in (20, 21, 1000):
        # Serves so many frames and lets all others hang.
        words = [scenario.scene_id, port, frames]
        process = Process('test.rendering.fake_server', words, tmp_path / f'server_{frames}')
        try:
            for _ in range(8):
                t_us = 100 * next(steps)
                frames_due = due(*CAMERAS, t_us=t_us)
                asked += [pipelines[i].submit(frames_due, keep=bool(i)) for i in (0, 1)]
            if frames < 1000:
                lockstep = boxes['lockstep']
                before = len(lockstep.frames)
                lockstep.wait(lambda before=before, box=lockstep: len(box.frames) > before)
                until(lambda: pipelines[1].status().in_flight > 0)
            else:
                for future in asked:
                    future.result(60)
                # What is in flight when a server's end is noticed is lost in realtime.
                until(newest_comes)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    for box in boxes.values():
        for camera in CAMERAS:
            times = times_of(box, camera)
            assert times == sorted(times)
        for failure in box.failures:
            assert isinstance(failure.error, ServerError)
            assert failure.error.kind == 'unreachable'
    assert len(boxes['lockstep'].frames) == 24 * len(CAMERAS)
    assert boxes['lockstep'].failures == []
