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
from test.rendering.conftest import CAMERAS, due
from test.support.ports import claim_port
from typing import Any

import numpy as np
from nurec_ros.preview.behaviour import Behaviour
from nurec_ros.preview.server import PreviewServer
from nurec_ros.rendering import decode_rgb, Failure, Frame
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
    """A behaviour and what comes of it: cameras that are lost, kinds of failures, words said."""

    name: str
    behaviour: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    lost: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    batch: bool | None = True
    tracks_refused: bool = False
    said: str = ''


def none(kind: str, said: str) -> dict[str, Any]:
    """Return what follows where every frame is lost."""
    return {'lost': ALL, 'kinds': frozenset({kind}), 'said': said}


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
        **none('reply', 'set image_format to jpeg or png'),
    ),
    Row('still starting', {'startup_s': 0.4}),
    Row('slow first frame', {'first_frame_s': 0.3}),
    Row('latency and jitter', {'latency_s': 0.01, 'jitter_s': 0.02, 'max_workers': 4}),
    Row('every frame fails', {'failure_rate': 1.0}, **none('renderer', 'restart the container')),
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
        **none('reply', 'every server knows image_format png and jpeg'),
    ),
    Row(
        'truncated replies',
        {'replies': 'truncated'},
        **none('reply', 'a proxy or the network may cut long messages'),
    ),
    Row(
        'empty replies',
        {'replies': 'empty'},
        **none('reply', 'try image_format png or a lower resolution_scale'),
    ),
    Row('black pictures', {'replies': 'black'}),
    Row('batch items in another order', {'batch_replies': 'shuffled'}),
    *(
        Row(f'batch item {what}', {'batch_replies': how}, batch=False, said=said)
        for what, how, said in (
            ('missing', 'missing', 'the batch reply lacks'),
            ('twice', 'duplicate', '2 times'),
            ('under a strange name', 'unknown', 'not asked for'),
        )
    ),
    Row('one frame at a time', {'max_workers': 1, 'latency_s': 0.01}),
]
# What a behaviour alone does not play, and where it stands.
# What the behaviours do not play by themselves: each row's tests, by file.
ELSEWHERE = {
    'not there, comes later': 'client: server_that_is_not_there_is_said_once',
    'dies after some frames, realtime': 'failures: kept_frames_wait_for_a_server_that_went',
    'dies after some frames, lockstep': 'failures: kept_frames_wait_for_a_server_that_went',
    'dies under a tick': 'failures: frames_of_a_tick_fail_at_once_while_the_server_is_away',
    'service under a name that is not known': 'client: frames_fail_while_no_name_fits',
    'has other scenes': 'scenes: frames_of_a_missing_scene_fail_at_once',
    'does not answer in time': 'failures: first_frame_that_does_not_come_names_its_own_limit',
}


@pytest.mark.parametrize('row', ROWS, ids=lambda row: row.name)
def test_row(scenario, make_pipeline, delivered, row):
    behaviour = Behaviour(**row.behaviour)
    server = PreviewServer(
        [scenario], behaviour=behaviour, renderer_factory=Painter, port=claim_port()
    )
    server.start()
    try:
        pipeline = make_pipeline(server.address, **{'image_format': 'jpeg', **row.options})
        for step in range(ROUNDS):
            pipeline.submit(due(*CAMERAS, t_us=100_000 * step), keep=True).result(60)
        status = pipeline.status()
        if row.said:
            delivered.wait(lambda: any(row.said in text for _, text in delivered.logs))
    finally:
        server.stop()
    texts = [text for _, text in delivered.logs if row.said in text]
    assert not row.said or len(texts) == 1, delivered.logs

    # Everything that was asked for is accounted for, by camera and in order.
    steps = [due('x', t_us=100_000 * step)[0].t_ns for step in range(ROUNDS)]
    for camera in CAMERAS:
        kind = Failure if camera in row.lost else Frame
        found = [result for result in delivered.results if result.camera == camera]
        assert [result.t_ns for result in found if isinstance(result, kind)] == steps
    assert len(delivered.results) == ROUNDS * len(CAMERAS)
    assert status.asked == status.received + status.failed == ROUNDS * len(CAMERAS)
    assert {failure.error.kind for failure in delivered.failures} == row.kinds
    assert all(failure.error.remedy for failure in delivered.failures)
    assert status.connected
    assert status.batch is row.batch or row.lost == ALL
    assert status.tracks_refused is row.tracks_refused
    assert bool(status.last_error) == bool(row.kinds)
    for frame in delivered.frames:
        assert decode_rgb(frame).shape == (frame.height, frame.width, 3)
        if 'native_aspect' in row.behaviour:
            assert frame.width * 3 // 4 in (frame.height, frame.height - 1)


def test_the_table_in_the_documentation_is_this_one():
    text = DOCUMENT.read_text()
    table = text.partition('## What servers do, and what comes of it')[2].partition('\n## ')[0]
    names = [line.split('|')[1].strip() for line in table.splitlines() if line.startswith('|')][2:]
    assert names == [row.name for row in ROWS] + list(ELSEWHERE)
    for where in ELSEWHERE.values():
        file, name = where.split(': ')
        assert (
            f'def test_{name}' in Path(__file__).with_name(f'test_rendering_{file}.py').read_text()
        )
