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
"""
Each behaviour of a server, played by the preview server, and what the client makes of it.

The rows are those of the table in docs/rendering.md; a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from test.rendering.conftest import CAMERAS, due, eventually
from test.support.ports import claim_port
import threading
from typing import Any

import numpy as np
from nurec_ros.preview.behaviour import Behaviour
from nurec_ros.preview.server import PreviewServer
from nurec_ros.rendering import decode_rgb, Frame
from nurec_ros.rendering.policy import SERVICE_PREFIXES
import pytest

DOCUMENT = Path(__file__).resolve().parent.parent.parent / 'docs' / 'rendering.md'
ALL = frozenset(CAMERAS)
ROUNDS = 3


class Painter:
    """Draws nothing in particular, fast."""

    def __init__(self, scenario):
        del scenario

    def render(self, model, width, height, **order):
        return np.full((height, width, 3), 90, np.uint8)


@dataclass(frozen=True)
class Row:
    """
    A behaviour and what three steps of four cameras come to.

    frames: by camera the number of frames, for those that are not ROUNDS; kinds: of the failures.
    """

    name: str
    behaviour: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    lost: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    batch: bool | None = True
    tracks_refused: bool = False
    said: str = ''


ROWS = [
    Row('healthy, v2', {}),
    Row('v1: no batch, no health, no config', {'api': 'v1'}, batch=False, said='single calls'),
    Row('renamed service', {'service_prefix': SERVICE_PREFIXES[1]}),
    Row('service under the third known name', {'service_prefix': SERVICE_PREFIXES[2]}),
    Row(
        'no editing, tracks sent',
        {'editing': False},
        {'send_tracks': True},
        tracks_refused=True,
        said='--enable-editing-actors',
    ),
    Row('editing, tracks sent', {}, {'send_tracks': True}),
    Row('no health service', {'health': False}),
    Row('keeps an aspect ratio of its own', {'native_aspect': (4, 3)}),
    Row(
        'keeps an aspect ratio, RGB planes asked for',
        {'native_aspect': (4, 3)},
        {'image_format': 'rgb'},
        lost=ALL,
        kinds=frozenset({'reply'}),
        said='set image_format to jpeg or png',
    ),
    Row('still starting', {'startup_s': 0.4}),
    # Longer than a batch of four may take afterwards.
    Row('slow first frame', {'first_frame_s': 2.2}, {'render_timeout_s': 0.5}),
    Row('latency and jitter', {'latency_s': 0.01, 'jitter_s': 0.02, 'max_workers': 4}),
    Row(
        'every frame fails',
        {'failure_rate': 1.0},
        lost=ALL,
        kinds=frozenset({'renderer'}),
        said='restart the container',
    ),
    Row(
        'out of memory above a size',
        {'oom_pixels': 19 * 11},
        {'camera_scales': {'wide': 0.02}},
        lost=frozenset({'wide'}),
        kinds=frozenset({'memory'}),
        said='PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True',
    ),
    Row(
        'garbage replies',
        {'replies': 'garbage'},
        lost=ALL,
        kinds=frozenset({'reply'}),
        said='every server knows image_format png and jpeg',
    ),
    Row(
        'truncated replies',
        {'replies': 'truncated'},
        lost=ALL,
        kinds=frozenset({'reply'}),
        said='a proxy or the network may cut long messages',
    ),
    Row(
        'empty replies',
        {'replies': 'empty'},
        lost=ALL,
        kinds=frozenset({'reply'}),
        said='try image_format png or a lower resolution_scale',
    ),
    Row('black pictures', {'replies': 'black'}),
    Row('batch items in another order', {'batch_replies': 'shuffled'}),
    Row(
        'batch item missing',
        {'batch_replies': 'missing'},
        batch=False,
        said='the batch reply lacks',
    ),
    Row(
        'batch item twice',
        {'batch_replies': 'duplicate'},
        batch=False,
        said='2 times',
    ),
    Row(
        'batch item under a strange name',
        {'batch_replies': 'unknown'},
        batch=False,
        said='not asked for',
    ),
    Row('one frame at a time', {'max_workers': 1, 'latency_s': 0.01}),
]
SPECIAL = [
    'not there, comes later',
    'dies after some frames, realtime',
    'dies after some frames, lockstep',
    'dies under a tick',
    'service under a name that is not known',
    'has other scenes',
    'does not answer in time',
]


@pytest.fixture
def serve(scenario):
    servers: list[PreviewServer] = []

    def start(behaviour, **options):
        scenes = options.pop('scenes', [scenario])
        options.setdefault('port', claim_port())
        server = PreviewServer(scenes, behaviour=behaviour, renderer_factory=Painter, **options)
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.mark.parametrize('row', ROWS, ids=lambda row: row.name)
def test_row(serve, make_pipeline, delivered, row):
    server = serve(Behaviour(**row.behaviour))
    options = {'image_format': 'jpeg', **row.options}
    pipeline = make_pipeline(server.address, **options)
    for step in range(ROUNDS):
        pipeline.submit(due(*CAMERAS, t_us=100_000 * step), keep=True).result(30)
    status = pipeline.status()

    # Everything that was asked for is accounted for, by camera and in order.
    assert len(delivered.results) == ROUNDS * len(CAMERAS)
    assert status.asked == status.received + status.failed == ROUNDS * len(CAMERAS)
    for camera in CAMERAS:
        times = [result.t_ns for result in delivered.results if result.camera == camera]
        assert times == [due(camera, t_us=100_000 * step)[0].t_ns for step in range(ROUNDS)]

    lost = {failure.camera for failure in delivered.failures}
    assert lost == row.lost
    assert len(delivered.frames) == ROUNDS * (len(CAMERAS) - len(row.lost))
    assert {failure.error.kind for failure in delivered.failures} == row.kinds
    for failure in delivered.failures:
        assert failure.error.remedy
    assert status.connected
    assert status.batch is row.batch or row.lost == ALL
    assert status.tracks_refused is row.tracks_refused
    if row.kinds:
        assert status.last_error
    else:
        assert status.last_error == ''
    if row.said:
        delivered.wait(lambda: any(row.said in text for _, text in delivered.logs))
        texts = [text for _, text in delivered.logs]
        assert len([text for text in texts if row.said in text]) == 1, texts

    for frame in delivered.frames:
        pixels = decode_rgb(frame)
        assert pixels.shape == (frame.height, frame.width, 3)
    if 'native_aspect' in row.behaviour:
        assert all(
            frame.width * 3 // 4 in (frame.height, frame.height - 1) for frame in delivered.frames
        )


def test_not_there_comes_later(serve, make_pipeline, delivered):
    server = serve(Behaviour())
    server.stop()
    pipeline = make_pipeline(server.address)
    realtime = pipeline.submit(due('wide', t_us=1))
    kept = pipeline.submit(due('tele', t_us=1), keep=True)
    pipeline.submit(due('left', t_us=1), keep=True, fail_if_down=True).result(60)
    assert [failure.camera for failure in delivered.failures] == ['left']
    server.start()
    realtime.result(60)
    kept.result(60)
    assert {frame.camera for frame in delivered.frames} == {'wide', 'tele'}


@pytest.mark.parametrize('mode', ['realtime', 'lockstep'])
def test_dies_after_some_frames(serve, make_pipeline, delivered, mode):
    dead = threading.Event()
    server: PreviewServer | None = None

    def die():
        assert server is not None
        server.stop()
        dead.set()

    # Several frames in flight may each find the end due; the one server they speak of stops once.
    server = serve(
        Behaviour(crash_after=6),
        on_crash=lambda: threading.Thread(target=die, daemon=True).start(),
    )
    pipeline = make_pipeline(server.address, mode=mode, batch='never')
    done = [pipeline.submit(due('wide', t_us=step), keep=True) for step in range(10)]
    assert dead.wait(60)
    delivered.wait(lambda: bool(delivered.texts('error')))
    eventually(lambda: not pipeline.status().connected)
    assert len(delivered.frames) <= 6
    serve(Behaviour(), port=server.port)
    for future in done:
        future.result(30)
    times = [frame.t_ns for frame in delivered.frames]
    assert times == sorted(times)
    assert len(times) == 10
    assert delivered.failures == []


def test_dies_under_a_tick(serve, make_pipeline, delivered):
    server = serve(Behaviour(crash_after=2))
    pipeline = make_pipeline(server.address, batch='never')
    frames = [frame for step in range(6) for frame in due('wide', t_us=step)]
    pipeline.submit(frames, keep=True, fail_if_down=True).result(30)
    # The second frame's reply may be on its way when the third ends the server.
    assert len(delivered.frames) <= 2
    assert {failure.error.kind for failure in delivered.failures} == {'unreachable'}
    assert len(delivered.results) == 6


def test_service_under_a_name_that_is_not_known(serve, make_pipeline, delivered):
    server = serve(Behaviour(service_prefix='our.own.Service'))
    pipeline = make_pipeline(server.address)
    pipeline.submit(due(*CAMERAS), keep=True).result(60)
    assert {failure.error.kind for failure in delivered.failures} == {'service'}
    assert 'set service_prefix' in pipeline.status().remedy
    named = make_pipeline(server.address, service_prefix='our.own.Service')
    named.submit(due('wide'), keep=True).result(60)
    assert len(delivered.frames) == 1


def test_has_other_scenes(serve, make_pipeline, delivered, scenario, tmp_path):
    from dataclasses import replace

    others = [replace(scenario, scene_id=name, path=tmp_path / name) for name in ('b', 'a')]
    server = serve(Behaviour(), scenes=others)
    pipeline = make_pipeline(server.address)
    pipeline.submit(due(*CAMERAS), keep=True).result(60)
    assert {failure.error.kind for failure in delivered.failures} == {'scene'}
    assert 'it has a, b: set scene_id' in str(delivered.failures[0].error)
    chosen = make_pipeline(server.address, scene_id='b')
    chosen.submit(due('wide'), keep=True).result(60)
    assert len(delivered.frames) == 1


def test_does_not_answer_in_time(serve, make_pipeline, delivered):
    server = serve(Behaviour(latency_s=30.0))
    pipeline = make_pipeline(server.address, first_render_timeout_s=0.2, render_timeout_s=0.2)
    pipeline.submit(due('wide'), keep=True).result(60)
    assert delivered.failures[0].error.kind == 'timeout'
    assert 'compiling' in delivered.failures[0].error.remedy


def test_the_table_in_the_documentation_is_this_one():
    text = DOCUMENT.read_text()
    table = text.partition('## What servers do, and what comes of it')[2].partition('\n## ')[0]
    names = [line.split('|')[1].strip() for line in table.splitlines() if line.startswith('|')][2:]
    assert names == [row.name for row in ROWS] + SPECIAL


def test_frame_is_what_the_table_calls_one():
    assert {'camera', 't_ns', 'data'} <= set(Frame.__dataclass_fields__)
