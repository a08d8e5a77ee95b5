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
"""Delays, turns and failures, with time that is handed in."""

from collections import Counter
from test.preview.preview_client import until
import threading

import grpc
from nurec_ros.preview.behaviour import Behaviour
from nurec_ros.preview.wire import CrashError, RefusalError
from nurec_ros.preview.workers import MAX_QUEUED, Workers
import pytest


class Timeless(Workers):
    """Writes down the waits instead of waiting."""

    def __init__(self, **behaviour):
        self.time = 100.0
        self.waited = []
        super().__init__(Behaviour(**behaviour), now=lambda: self.time)

    def wait(self, seconds):
        self.waited.append(seconds)


def outcomes(stage, count, *, pixels=100, scene='a'):
    """Give what became of `count` frames: the refusals' texts, '' for a good one."""
    return [outcome(stage, pixels, scene) for _ in range(count)]


def outcome(stage, pixels, scene):
    try:
        stage.begin_frame(scene, pixels)
    except RefusalError as refusal:
        return refusal.text
    return ''


def test_an_ordinary_frame_costs_no_time():
    stage = Timeless()
    assert outcomes(stage, 3) == ['', '', '']
    assert sum(stage.waited) == 0.0
    assert stage.frames == 3


def test_the_start_up_ends_by_the_clock():
    stage = Timeless(startup_s=30.0)
    assert not stage.serving
    stage.time = 129.9
    assert not stage.serving
    stage.time = 130.0
    assert stage.serving


def test_the_first_frame_of_each_scene_is_slow():
    stage = Timeless(first_frame_s=60.0)
    outcomes(stage, 2, scene='a')
    outcomes(stage, 2, scene='b')
    outcomes(stage, 1, scene='a')
    assert [seconds for seconds in stage.waited if seconds] == [60.0, 60.0]


def test_the_slow_first_frame_holds_every_call():
    """As the compilation of kernels does: health and lists answer only after it."""
    stage = Workers(Behaviour(first_frame_s=1000.0))
    frame = threading.Thread(target=outcome, args=(stage, 1, 'a'))
    frame.start()
    passed = threading.Event()
    until(lambda: not stage._open.is_set(), 'the hold')
    other = threading.Thread(target=lambda: (stage.enter(), passed.set()))
    other.start()
    assert not passed.wait(0.05)
    stage.stop()
    assert passed.wait(20.0)
    frame.join(20.0)
    other.join(20.0)
    assert not frame.is_alive()


def test_latency_and_jitter_add_up_and_repeat_with_the_seed():
    first, again, other = (Timeless(latency_s=0.2, jitter_s=0.1, seed=seed) for seed in (7, 7, 8))
    for stage in (first, again, other):
        outcomes(stage, 20)
    assert first.waited == again.waited
    assert first.waited != other.waited
    assert all(0.2 <= seconds < 0.3 for seconds in first.waited)
    assert len(set(first.waited)) == 20


@pytest.mark.parametrize(
    ('rate', 'least', 'most'), [(0.0, 0, 0), (0.3, 200, 400), (1.0, 1000, 1000)]
)
def test_the_failure_rate_is_kept_and_seeded(rate, least, most):
    texts = outcomes(Timeless(failure_rate=rate, seed=3), 1000)
    failed = Counter(texts)
    assert set(failed) <= {'', 'Exception calling application: NRenderer.render failed'}
    assert least <= 1000 - failed[''] <= most
    assert texts == outcomes(Timeless(failure_rate=rate, seed=3), 1000)


def test_a_failed_frame_is_an_unknown_error():
    with pytest.raises(RefusalError) as caught:
        Timeless(failure_rate=1.0).begin_frame('a', 1)
    assert caught.value.code is grpc.StatusCode.UNKNOWN


def test_frames_above_the_limit_run_out_of_memory():
    stage = Timeless(oom_pixels=480 * 270)
    assert outcomes(stage, 1, pixels=480 * 270) == ['']
    with pytest.raises(RefusalError, match='CUDA out of memory') as caught:
        stage.begin_frame('a', 480 * 270 + 1)
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_the_crash_comes_after_as_many_frames_as_said():
    stage = Timeless(crash_after=3)
    assert outcomes(stage, 3) == ['', '', '']
    for _ in range(2):
        with pytest.raises(CrashError) as caught:
            stage.begin_frame('a', 1)
        assert caught.value.code is grpc.StatusCode.UNAVAILABLE


def test_without_a_crash_no_number_of_frames_kills():
    assert set(outcomes(Timeless(), 1000)) == {''}


@pytest.mark.parametrize('workers', [1, 3])
def test_as_many_turns_at_once_as_there_are_workers(workers):
    stage = Workers(Behaviour(max_workers=workers))
    inside = threading.Semaphore(0)
    leave = threading.Event()
    done = []

    def draw(name):
        with stage.turn():
            inside.release()
            leave.wait(20.0)
            done.append(name)

    threads = [threading.Thread(target=draw, args=(name,)) for name in range(workers + 2)]
    for thread in threads:
        thread.start()
    for _ in range(workers):
        assert inside.acquire(timeout=20.0)
    until(lambda: stage._queued == 2, 'the queue')
    assert not inside.acquire(blocking=False)
    leave.set()
    for thread in threads:
        thread.join(20.0)
    assert sorted(done) == list(range(workers + 2))


def test_a_queue_without_end_is_refused():
    stage = Workers(Behaviour())
    leave = threading.Event()

    def draw():
        with stage.turn():
            leave.wait(20.0)

    threads = [threading.Thread(target=draw) for _ in range(MAX_QUEUED + 1)]
    for thread in threads:
        thread.start()
    until(lambda: stage._queued == MAX_QUEUED, 'the full queue')
    with pytest.raises(RefusalError) as caught, stage.turn():
        pass
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    leave.set()
    for thread in threads:
        thread.join(20.0)
    with stage.turn():
        pass


def test_stopping_ends_a_wait_at_once_and_its_frame_with_it():
    stage = Workers(Behaviour(latency_s=1000.0))
    texts = []
    frame = threading.Thread(target=lambda: texts.append(outcome(stage, 1, 'a')))
    frame.start()
    stage.stop()
    frame.join(20.0)
    assert texts == ['the server is stopping']
