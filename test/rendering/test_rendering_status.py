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

from collections.abc import Callable
from test.rendering.conftest import Delivered, eventually
from test.rendering.due import due
from test.rendering.fake_server import FakeServer, picture
from test.support.ports import claim_port
import threading
from typing import Any

from nurec_ros.rendering import frames, RenderOptions, RenderPipeline
from nurec_ros.scenario import Scenario
import pytest

MakeServer = Callable[..., FakeServer]
MakePipeline = Callable[..., RenderPipeline]


class Gate:
    """Holds every picture until it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def __call__(self, request: Any, _context: Any) -> bytes:
        self.open.wait(60)
        return picture(request)


@pytest.mark.parametrize('cameras', [('wide',), ('wide', 'tele')])
def test_first_frame_that_takes_its_time_is_told(
    make_server: MakeServer,
    make_pipeline: MakePipeline,
    monkeypatch: pytest.MonkeyPatch,
    cameras: tuple[str, ...],
) -> None:
    monkeypatch.setattr(frames, 'LONG_S', 0.0)
    gate = Gate()
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
    gate.open.set()
    future.result(20)
    assert pipeline.status().waiting_for_first_frame_s == 0.0
    gate.open.clear()
    later = pipeline.submit(due(*cameras, t_us=1), keep=True)
    eventually(lambda: pipeline.status().in_flight == len(cameras))
    assert pipeline.status().waiting_for_first_frame_s == 0.0
    gate.open.set()
    later.result(20)


def test_first_frame_after_a_reconnect_is_waited_for_anew(
    make_server: MakeServer, make_pipeline: MakePipeline
) -> None:
    server = make_server()
    pipeline = make_pipeline(server)
    pipeline.submit(due('wide'), keep=True).result(20)
    server.stop()
    eventually(lambda: not pipeline.status().connected)
    gate = Gate()
    make_server(gate, port=server.port)
    future = pipeline.submit(due('wide', t_us=1), keep=True)
    eventually(lambda: pipeline.status().waiting_for_first_frame_s > 0.0)
    gate.open.set()
    future.result(20)
    assert pipeline.status().waiting_for_first_frame_s == 0.0


def test_short_wait_is_no_sentence() -> None:
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


def test_time_without_a_server_is_told(
    make_server: MakeServer, make_pipeline: MakePipeline, delivered: Delivered
) -> None:
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


def test_pipeline_that_was_not_started_is_not_down(
    scenario: Scenario, delivered: Delivered
) -> None:
    pipeline = RenderPipeline(scenario, RenderOptions(), delivered)
    assert pipeline.status().down_for_s == 0.0
    pipeline.close()
