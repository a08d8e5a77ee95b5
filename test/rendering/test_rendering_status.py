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
"""What the status tells of a server that is away, and of one that is awaited."""

from __future__ import annotations

from dataclasses import replace
from test.rendering.conftest import due, eventually
from test.support.ports import claim_port

from nurec_ros.errors import RenderError
from nurec_ros.rendering import frames, RenderOptions, RenderPipeline
from nurec_ros.rendering.frames import LATENCIES_KEPT, percentile, Statistics
from nurec_ros.rendering.server_errors import RECONNECT, ServerError
import pytest


@pytest.mark.parametrize('cameras', [('wide',), ('wide', 'tele')])
def test_first_frame_that_takes_its_time_is_told(
    make_server, make_pipeline, monkeypatch, gate, cameras
):
    monkeypatch.setattr(frames, 'LONG_S', 0.0)
    server = make_server(gate)
    pipeline = make_pipeline(server, first_render_timeout_s=240.0)
    eventually(lambda: pipeline.status().connected)
    assert pipeline.status().waiting_for_first_frame_s == 0.0
    future = pipeline.submit(due(*cameras), keep=True)
    eventually(lambda: pipeline.status().waiting_for_first_frame_s > 0.0)
    before = pipeline.status()
    assert before.connected
    assert before.first_frame_limit_s == 240.0
    assert before.last_error == ''
    assert 'first frame' in before.waiting_note
    assert '240 s' in before.waiting_note
    eventually(
        lambda: pipeline.status().waiting_for_first_frame_s > before.waiting_for_first_frame_s
    )
    gate.let_all_go()
    future.result(60)
    assert pipeline.status().waiting_for_first_frame_s == 0.0
    gate.hold()
    later = pipeline.submit(due(*cameras, t_us=1), keep=True)
    eventually(lambda: pipeline.status().in_flight == len(cameras))
    assert pipeline.status().waiting_for_first_frame_s == 0.0
    gate.let_all_go()
    later.result(60)


def test_first_frame_after_a_reconnect_is_waited_for_anew(make_server, make_pipeline, gate):
    server = make_server()
    pipeline = make_pipeline(server)
    pipeline.submit(due('wide'), keep=True).result(60)
    server.stop()
    eventually(lambda: not pipeline.status().connected)
    make_server(gate, port=server.port)
    future = pipeline.submit(due('wide', t_us=1), keep=True)
    eventually(lambda: pipeline.status().waiting_for_first_frame_s > 0.0)
    gate.let_all_go()
    future.result(60)
    assert pipeline.status().waiting_for_first_frame_s == 0.0


def test_short_wait_is_no_sentence():
    status = frames.RendererStatus(
        connected=True,
        server='gpu:46435',
        service_prefix='',
        version='',
        scene_id='',
        scenes=(),
        batch=None,
        tracks_refused=False,
        last_error='',
        remedy='',
        in_flight=1,
        asked=1,
        received=0,
        dropped=0,
        failed=0,
        waiting_for_first_frame_s=0.9,
        first_frame_limit_s=300.0,
    )
    assert status.waiting_note == ''
    assert replace(status, waiting_for_first_frame_s=1.0).waiting_note


def test_time_without_a_server_is_told(make_server, make_pipeline, delivered):
    port = claim_port()
    pipeline = make_pipeline(f'127.0.0.1:{port}')
    before = pipeline.status().down_for_s
    assert before >= 0.0
    eventually(lambda: pipeline.status().down_for_s > before)
    server = make_server(port=port)
    eventually(lambda: pipeline.status().connected)
    assert pipeline.status().down_for_s == 0.0
    server.stop()
    eventually(lambda: not pipeline.status().connected)
    eventually(lambda: pipeline.status().down_for_s > 0.0)


def test_pipeline_that_was_not_started_is_not_down(scenario, delivered):
    pipeline = RenderPipeline(scenario, RenderOptions(), delivered)
    assert pipeline.status().down_for_s == 0.0
    pipeline.close()


# --- counters, with a clock of the test's own ----------------------------------------------------


class Clock:
    """Goes on when it is told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def statistics(clock):
    return Statistics(clock)


def test_starts_at_zero(statistics):
    status = statistics.camera('wide')
    assert (status.asked, status.received, status.dropped, status.failed) == (0, 0, 0, 0)
    assert (status.latency_p50_s, status.latency_p95_s) == (0.0, 0.0)
    assert (status.last_error, status.remedy) == ('', '')
    assert statistics.current_error() is None
    assert statistics.camera('nobody') == status


def test_counts_by_camera_and_in_total(statistics):
    for _ in range(4):
        statistics.asked('wide')
    statistics.received('wide', 0.1)
    statistics.dropped('wide')
    statistics.failed('wide', RenderError('broken'))
    statistics.asked('new')
    wide = statistics.camera('wide')
    assert (wide.asked, wide.received, wide.dropped, wide.failed) == (4, 1, 1, 1)
    totals = statistics.totals()
    assert totals == {'asked': 5, 'received': 1, 'dropped': 1, 'failed': 1}


def test_latencies_are_bounded_and_the_latest(statistics):
    for number in range(10 * LATENCIES_KEPT):
        statistics.received('wide', float(number))
    status = statistics.camera('wide')
    oldest = 9 * LATENCIES_KEPT
    assert status.latency_p50_s == oldest + LATENCIES_KEPT // 2
    assert status.latency_p95_s == oldest + int(LATENCIES_KEPT * 0.95)
    assert status.received == 10 * LATENCIES_KEPT


def test_percentiles():
    assert percentile([], 0.5) == 0.0
    assert percentile([7.0], 0.95) == 7.0
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0
    assert percentile([float(n) for n in range(100)], 0.95) == 95.0
    assert percentile([1.0, 2.0], 1.0) == 2.0


def test_error_of_a_camera_is_gone_with_the_next_frame(statistics):
    statistics.failed('wide', ServerError('memory', 'out of memory', 'buy more'))
    status = statistics.camera('wide')
    assert (status.last_error, status.remedy) == ('out of memory', 'buy more')
    statistics.received('wide', 0.1)
    assert statistics.camera('wide').last_error == ''


def test_error_without_remedy_is_its_text(statistics):
    statistics.failed('wide', RenderError('no model'))
    assert statistics.camera('wide').last_error == 'no model'
    assert statistics.camera('wide').remedy == ''


def test_passing_error_is_shown_for_a_while(statistics, clock):
    error = ServerError('renderer', 'failed', 'restart')
    statistics.failed('wide', error)
    statistics.received('wide', 0.1)
    clock.now += 9.0
    assert statistics.current_error() is error
    clock.now += 2.0
    assert statistics.current_error() is None


def test_standing_error_is_shown_until_its_camera_works(statistics, clock):
    error = ServerError('memory', 'out of memory', 'less')
    statistics.failed('wide', error)
    clock.now += 1000.0
    statistics.received('tele', 0.1)
    assert statistics.current_error() is error
    statistics.received('wide', 0.1)
    assert statistics.current_error() is None


def test_server_that_was_away_is_not_away_any_more(statistics):
    statistics.failed('wide', ServerError('unreachable', 'gone', 'wait', RECONNECT))
    assert statistics.current_error() is not None
    statistics.received('wide', 0.1)
    assert statistics.current_error() is None
