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
What servers do, played by the preview server, and what the client makes of it; their scenes.

The rows are those of the table in docs/rendering.md; a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from test.rendering.conftest import CAMERAS, due
from test.support.ports import claim_port
from test.support.waiting import until
from typing import Any

import numpy as np
from nurec_ros.errors import ConfigurationError
from nurec_ros.preview.behaviour import Behaviour
from nurec_ros.preview.server import PreviewServer
from nurec_ros.rendering import decode_rgb, Failure, Frame, policy
from nurec_ros.rendering.channel import choose_scene, describe_scene, scene_metadata
from nurec_ros.rendering.policy import SERVICE_PREFIXES
from nurec_ros.rendering.server_errors import ASK_AGAIN, ServerError
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
# What the behaviours do not play by themselves: each row's tests, by file.
ELSEWHERE = {
    'not there, comes later': 'client: server_that_is_not_there_is_said_once',
    'dies after some frames, realtime': 'failures: kept_frames_wait_for_a_server_that_went',
    'dies after some frames, lockstep': 'failures: kept_frames_wait_for_a_server_that_went',
    'dies under a tick': 'failures: frames_of_a_tick_fail_at_once_while_the_server_is_away',
    'service under a name that is not known': 'client: frames_fail_while_no_name_fits',
    'has other scenes': 'servers: frames_of_a_missing_scene_fail_at_once',
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
    for failure in delivered.failures:
        assert failure.error.remedy
        words = f'{failure.camera}: the ' if failure.error.kind == 'reply' else 'the '
        assert failure.error.problem.startswith(words)
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


# --- which scene of a server is the scenario, and servers that load it ---------------------------


@pytest.fixture(autouse=True)
def quick_checks(monkeypatch):
    """Look for a missing scene every 50 ms: nobody waits for seconds here."""
    monkeypatch.setattr(policy, 'SCENE_CHECK_S', 0.05)


def scene(scenario, *scenes, wanted='', **changes):
    return choose_scene(replace(scenario, **changes), scenes, wanted)


def test_scene_by_the_rule_of_the_fact_sheet(scenario):
    named = {'scene_id': 'seq', 'metadata_scene_id': 'meta', 'path': '/data/stem.usdz'}
    assert scene(scenario, 'meta', 'seq', 'x-stem-y', **named) == 'seq'
    assert scene(scenario, 'meta', 'x-stem-y', **named) == 'meta'
    assert scene(scenario, 'other', 'x-stem-y', **named) == 'x-stem-y'
    assert scene(scenario, 'other', **named) == 'other'
    assert scene(scenario, 'a', 'b', wanted='b', **named) == 'b'
    # Of a server that takes any name, ours.
    assert scene(scenario, '*', **named) == 'seq'
    assert scene(scenario, 'meta', '*', 'x-stem-y', **named) == 'seq'
    assert scene(scenario, '*', wanted='mine', **named) == 'mine'
    # What was typed is never replaced.
    with pytest.raises(ServerError, match='no scene mine'):
        scene(scenario, 'other', wanted='mine', **named)


def test_scene_that_the_server_lacks_lists_what_it_has(scenario):
    # Two whose names hold that of the file are none, too.
    for scenes in (('b', 'a'), ('a-stem', 'b-stem')):
        with pytest.raises(ServerError) as caught:
            scene(scenario, *scenes, scene_id='seq', metadata_scene_id='', path='/data/stem.usdz')
        assert caught.value.problem == 'the server has no scene seq (by its own list)'
        assert f'it has {", ".join(sorted(scenes))}:' in caught.value.remedy
    with pytest.raises(ServerError) as caught:
        scene(scenario)
    assert (caught.value.kind, caught.value.action) == ('scene', ASK_AGAIN)
    assert str(caught.value).startswith(
        'the server has no scenes at all: start it with --artifact-glob for this file'
    )


def test_server_that_loads_the_scene_itself_is_told_where_from_with_every_call(
    make_server, make_pipeline, delivered
):
    server = make_server(scenes=['another'], batch=False)
    pipeline = make_pipeline(
        server,
        scene_url='file:///data/street%201.usdz',
        scene_id='mine_2-b',
        first_render_timeout_s=200.0,
        render_timeout_s=20.0,
    )
    pipeline.submit(due('wide'), keep=True).result(60)
    pipeline.submit(due('wide', t_us=200_000), keep=True).result(60)
    assert len(delivered.frames) == 2
    assert server.methods() == ['get_version', 'get_available_scenes', 'render_rgb', 'render_rgb']
    for headers in server.headers:
        assert headers['x-nre-scene-url'] == 'file:///data/street%201.usdz'
        assert headers['x-nre-scene-id'] == 'mine_2-b'
    assert [request.scene_id for request in server.requests()] == ['mine_2-b', 'mine_2-b']
    # Whichever of them makes it load the scene may take as long as a first frame.
    assert all(100.0 < seconds < 300.0 for seconds in server.seconds[:3])
    assert server.seconds[3] < 100.0
    assert pipeline.status().scene_note == ''
    assert not delivered.texts('warn')


def test_without_a_url_nothing_is_said_of_one(scenario, make_server, make_pipeline, delivered):
    """Nor of a server that takes any name."""
    server = make_server(scenes=['*'])
    pipeline = make_pipeline(server)
    pipeline.submit(due('wide'), keep=True).result(60)
    assert server.headers
    assert not [name for headers in server.headers for name in headers if 'scene' in name]
    assert [request.scene_id for request in server.requests()] == [scenario.scene_id]
    assert pipeline.status().scene_note == ''
    assert not delivered.texts('warn')


OTHER = "the server's only scene is 'other', taken for 'seq': "
APART = 'it is another drive, recorded at another time, and so are its pictures'
PERHAPS = 'its pictures may show another drive'


def test_scene_of_another_name_is_described(scenario):
    named = replace(
        scenario, scene_id='seq', metadata_scene_id='meta', path=Path('/data/stem.usdz')
    )
    end = '; set scene_id to choose'
    assert describe_scene(named, ('other',), 'other', ()) == OTHER + PERHAPS + end
    assert describe_scene(named, ('a', 'x-stem'), 'x-stem', ()) == (
        f"the server's scene 'x-stem' was taken for 'seq' by the name of the file: {PERHAPS}{end}"
    )


def test_scene_of_another_time_is_another_drive(scenario):
    """Offsets below 0 count from the start, others from the end."""
    short = replace(scenario, scene_id='seq', end_ns=scenario.start_ns)
    near = ([], [(-9, 0)], [(-9, -1), (-1, 1)])
    for offsets_ns in (*near, [(-9, -1)], [(1, 9)], [(-9, -1), (1, 9)]):
        spans = tuple((short.start_ns + a, short.start_ns + b) for a, b in offsets_ns)
        said = describe_scene(short, ('other',), 'other', spans)
        perhaps = PERHAPS if offsets_ns in near else APART
        assert said == f'{OTHER}{perhaps}; set scene_id to choose', offsets_ns


@pytest.mark.parametrize('shift_us', [None, 0, 10**9])
def test_only_scene_of_another_name_is_taken_and_said_once(
    make_server, make_pipeline, delivered, scenario, shift_us
):
    """A server that does not tell its trajectories, one with the drive's times, one without."""
    server = make_server(scenes=['other'])
    if shift_us is not None:
        server.times_us = [scenario.start_ns // 1000 + shift_us]
    pipeline = make_pipeline(server)
    pipeline.submit(due('wide'), keep=True).result(60)
    note = pipeline.status().scene_note
    assert f"the server's only scene is 'other', taken for '{scenario.scene_id}': " in note
    assert (APART if shift_us else PERHAPS) in note
    assert server.requests()[0].scene_id == 'other'
    server.stop()
    again = make_server(scenes=['other'], port=server.port, version='fake 2')
    again.times_us = server.times_us
    until(lambda: 'fake 2' in pipeline.status().version)
    pipeline.submit(due('wide', t_us=1), keep=True).result(60)
    assert delivered.texts('warn') == [note]
    assert pipeline.status().scene_note == note
    assert len(delivered.frames) == 2


@pytest.mark.parametrize('name', ['seq', 'meta', 'chosen'])
def test_scene_by_its_names_or_by_choice_needs_no_note(
    make_server, make_pipeline, delivered, scenario, name
):
    server = make_server(scenes=[name])
    named = replace(scenario, scene_id='seq', metadata_scene_id='meta')
    wanted = name if name == 'chosen' else ''
    pipeline = make_pipeline(server, scenario=named, scene_id=wanted)
    pipeline.submit(due('wide'), keep=True).result(60)
    assert (pipeline.status().scene_id, pipeline.status().scene_note) == (name, '')
    assert delivered.texts('warn') == []
    assert 'get_available_trajectories' not in server.methods()


def test_frames_of_a_missing_scene_fail_at_once_with_the_list_until_it_comes(
    make_server, make_pipeline, delivered, scenario
):
    server = make_server(scenes=['one', 'two'])
    pipeline = make_pipeline(server)
    for keep in (False, True):
        pipeline.submit(due('wide'), keep=keep).result(60)
    assert [failure.error.kind for failure in delivered.failures] == ['scene', 'scene']
    assert 'it has one, two' in str(delivered.failures[0].error)
    status = pipeline.status()
    assert (status.connected, status.scenes) == (True, ('one', 'two'))
    assert 'no scene' in status.last_error
    # Said once, by whoever found it out, and not of every frame again.
    assert len(delivered.said('error')) == 1
    assert delivered.texts('warn') == []
    assert not server.requests()
    server.scenes.append(scenario.scene_id)
    until(lambda: pipeline.status().scene_id == scenario.scene_id)
    pipeline.submit(due('wide', t_us=200_000)).result(60)
    assert len(delivered.frames) == 1


def test_metadata_of_a_scene_that_the_server_loads(make_pipeline):
    assert scene_metadata('', 'no name.at all') == ()
    assert scene_metadata('file:/a.usdz', 'a_B-9') == (
        ('x-nre-scene-url', 'file:/a.usdz'),
        ('x-nre-scene-id', 'a_B-9'),
    )
    for name in ('', 'a.b', 'a b', 'ä'):
        with pytest.raises(ConfigurationError, match='expected letters, digits'):
            scene_metadata('file:/a.usdz', name)
    with pytest.raises(ConfigurationError, match='scene_url'):
        scene_metadata('ftp://a', 'a')
    with pytest.raises(ConfigurationError, match=r"scene_id is 'a\.b', expected letters"):
        make_pipeline('gpu:1', scene_url='https://host/a.usdz', scene_id='a.b')
