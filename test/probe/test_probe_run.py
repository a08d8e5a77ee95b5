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
"""The whole probe against every behaviour that the preview server can play."""

import json
from test.preview.preview_client import Client, Painter, serve
from test.preview.preview_client import request as good_request
from test.probe.reports import failed, grey, probe_at, stage, statuses, with_small_cameras
from test.rendering.fake_server import failing, FakeServer, picture
from test.support.render_scene import CAMERAS, write_scene
from test.support.waiting import until
import threading

import cv2
import grpc
import numpy as np
from nurec_ros.errors import ConfigurationError
from nurec_ros.preview import paint
from nurec_ros.preview.behaviour import Behaviour
from nurec_ros.preview.server import PreviewServer
from nurec_ros.probe.stages import STAGES
from nurec_ros.rendering.protos import common_pb2
from nurec_ros.scenario import Scenario
import pytest

WIDE, TELE = CAMERAS


def test_a_healthy_server_passes_every_stage(scenario, tmp_path):
    seen = []
    painter = Painter()
    with serve(scenario, painter) as server:
        report = probe_at(scenario, server.address, tmp_path, on_stage=seen.append)
    # Two cameras, each at two scales; no lidar.
    assert [s.name for s in report.stages] == [*STAGES[:9], *['render'] * 4, *STAGES[10:-1]]
    assert {s.status for s in report.stages} == {'pass'}
    assert report.ok
    assert tuple(seen) == report.stages
    value = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert value['ok'] is True
    assert [entry['stage'] for entry in value['stages']] == [s.name for s in report.stages]
    renders = [s for s in report.stages if s.name == 'render']
    assert [s.details['scale'] for s in renders] == ['low', 'low', 'full', 'full']
    for entry in renders:
        assert entry.latency_s > 0.0
        assert entry.details['size'] == entry.details['asked']
        assert entry.details['bytes'] > 100
    sizes = {path.name: cv2.imread(str(path)).shape for path in report.pictures}
    shapes = {'low': (68, 120, 3), 'full': (270, 480, 3), 'batch': (68, 120, 3)}
    assert sizes == {f'{c}_{label}.jpg': shape for c in CAMERAS for label, shape in shapes.items()}
    # A frame that was recorded, near the middle.
    ends = next(iter(scenario.cameras.values())).frame_times_ns[:, 1]
    for order in painter.orders:
        assert order['start_ns'] in ends
        assert abs(order['start_ns'] - (scenario.start_ns + scenario.end_ns) / 2) <= 0.05e9
        truth = scenario.ego.at(order['start_ns'])
        assert abs(order['T_map_camera_start'][0, 3] - truth[0, 3] - 1.85) < 0.06
        assert np.isclose(np.linalg.det(order['T_map_camera_start'][:3, :3]), 1.0)


@pytest.mark.parametrize(('name', 'server'), [('pittsburgh', serve), ('miami', PreviewServer)])
def test_a_real_scene_passes(name, server, request, tmp_path, monkeypatch):
    """The one's lists and sizes, the other as it is drawn."""
    # A twentieth of the work.
    monkeypatch.setattr(paint, 'FINEST', 0.2)
    drawn = server is PreviewServer
    recorded = Scenario.load(request.getfixturevalue(name))
    recorded = with_small_cameras(recorded, 1 if drawn else None)
    with server([recorded]) as running:
        report = probe_at(recorded, running.address, tmp_path)
    assert not failed(report), failed(report)
    assert len(report.pictures) == 3 * len(recorded.cameras)
    for path in report.pictures:
        # A street, not a wall of one colour.
        assert cv2.imread(str(path)).std() > 15.0


# --- behaviours that are no failure --------------------------------------------------------------


def test_a_server_of_2025_under_another_name_gets_notes_and_passes(probe):
    prefix = 'nurec.grpc.protos.sensorsim.SensorsimService'
    report = probe(api='v1', service_prefix=prefix)
    assert report.ok
    assert stage(report, 'service', 'pass').details['service_prefix'] == prefix
    for name in ('health', 'config', 'batch'):
        assert statuses(report, name) == ['note']


def test_what_is_unusual_and_no_fault_passes_and_is_said(probe):
    prefix = 'sensorsim.SensorsimService'
    report = probe(
        service_prefix=prefix,
        health=False,
        editing=False,
        native_aspect=(2, 1),
        batch_replies='shuffled',
        jitter_s=0.01,
        max_workers=4,
    )
    assert report.ok
    notes = {s.name for s in report.stages if s.status == 'note'}
    assert notes == {'health', 'sizes'}
    assert stage(report, 'service', 'pass').details['service_prefix'] == prefix
    config = stage(report, 'config', 'pass').details['config']
    assert config == {'enable_editing_actors': 'False', 'max_workers': '4', 'renderer': 'preview'}
    assert '136x68 for 120x68' in stage(report, 'sizes', 'note').message


def test_some_cameras_another_scale_and_a_service_of_any_name_are_asked_for(probe):
    asked = {'cameras': (TELE,), 'scale': 0.5, 'service_prefix': 'my.own.Service'}
    report = probe(asked=asked, service_prefix='my.own.Service')
    low, full = (s.details for s in report.stages if s.name == 'render')
    assert low['asked'] == [240, 135]
    assert low['camera'] == full['camera'] == TELE
    assert report.ok


def test_a_slow_first_frame_is_waited_for_and_slow_ones_are_a_note(probe):
    asked = {'timeouts': {'render': 1.5}, 'slow_s': 0.1}
    report = probe(asked=asked, first_frame_s=1.6, latency_s=0.15)
    assert report.ok
    first, second, *full = (s for s in report.stages if s.name == 'render')
    assert 'slow because it was the first' in first.message
    assert (first.status, second.status) == ('note', 'note')
    assert 'resolution_scale' in second.remedy
    assert {s.status for s in full} == {'pass'}


# --- behaviours that are failures ----------------------------------------------------------------

FRAMES_OF_0_3_S = {'first_timeout_s': 0.3, 'timeouts': {'render': 0.3, 'alive': 60.0}}
# By behaviour, options: the stages that fail, words of the first one's message and remedy, and
# how many pictures are saved.
BROKEN = [
    ({'startup_s': 1000.0}, {}, ['health', 'service'], 'NOT_SERVING', 'wait', 0),
    ({'startup_s': 1000.0, 'health': False}, {}, ['service'], 'not ready', 'wait', 0),
    ({'latency_s': 1000.0}, FRAMES_OF_0_3_S, ['render'], 'did not', 'overloaded or stuck', 0),
    (
        {'failure_rate': 1.0},
        *({}, ['render', 'batch'], 'NRenderer.render failed', 'resolution_scale', 0),
    ),
    (
        {'oom_pixels': 120 * 68},
        *({}, ['render'], 'full at 480x270', 'PYTORCH_CUDA_ALLOC_CONF', 4),
    ),
    ({'replies': 'empty'}, {}, ['images'], '6 of 6 pictures cannot', 'restart', 0),
    ({'replies': 'black'}, {}, ['images'], '6 of 6 pictures cannot', 'scene', 6),
    ({'batch_replies': 'missing'}, {}, ['batch'], f'{TELE} is missing', 'never', 5),
    ({'batch_replies': 'duplicate'}, {}, ['batch'], 'came twice', 'never', 6),
    ({'batch_replies': 'unknown'}, {}, ['batch'], 'was not asked for', 'never', 5),
    ({'crash_after': 3}, {}, ['render'], 'went away', 'log', 3),
    ({'crash_after': 5}, {}, ['batch'], 'went away', 'log', 4),
]


@pytest.mark.parametrize(('behaviour', 'asked', 'stages', 'words', 'remedy', 'pictures'), BROKEN)
def test_what_is_broken_is_told(probe, behaviour, asked, stages, words, remedy, pictures):
    report = probe(asked=asked, **behaviour)
    assert failed(report) == stages
    found = stage(report, stages[0], 'fail')
    assert words in found.message
    assert remedy in found.remedy
    assert len(report.pictures) == pictures


@pytest.mark.parametrize(
    ('method', 'name', 'rendered'),
    [
        ('get_server_config', 'config', 'pass'),
        ('get_available_scenes', 'scenes', 'skip'),
        ('get_available_cameras', 'cameras', 'pass'),
    ],
)
def test_a_question_that_fails_is_told(scenario, tmp_path, method, name, rendered):
    with FakeServer(grey, scenes=[scenario.scene_id]) as server:
        server.answers[method] = failing(grpc.StatusCode.INTERNAL, 'it broke')
        report = probe_at(scenario, server.address, tmp_path)
    assert failed(report) == [name]
    assert 'it broke' in stage(report, name, 'fail').message
    assert set(statuses(report, 'render')) == {rendered}


def test_a_service_of_an_unknown_name_is_told_apart(probe):
    report = probe(service_prefix='greeter.Greeter', api='v1')
    assert failed(report) == ['service']
    assert statuses(report, 'health') == ['note']
    assert 'service_prefix' in stage(report, 'service', 'fail').remedy
    assert statuses(report, 'render') == ['skip']
    assert {s.name for s in report.stages} == set(STAGES) - {'lidar'}


def test_a_first_frame_without_end_is_told_apart_by_the_silence_of_all(scenario, tmp_path):
    """As while kernels are compiled: from the first frame on nothing is answered."""
    over = threading.Event()
    limits = {'first_timeout_s': 0.3, 'timeouts': {'render': 0.3, 'alive': 0.3}}
    with FakeServer(lambda *_: over.wait(60.0) and b'', scenes=[scenario.scene_id]) as server:

        def version(*_):
            if server.methods().count('get_version') > 1:
                over.wait(60.0)
            return common_pb2.VersionId(version_id='fake')

        server.answers['get_version'] = version
        report = probe_at(scenario, server.address, tmp_path, **limits)
        over.set()
    assert failed(report) == ['render']
    found = stage(report, 'render', 'fail')
    assert 'did not answer' in found.message
    assert 'compiled' in found.remedy
    assert statuses(report, 'render') == ['fail', *['skip'] * 3]
    assert statuses(report, 'batch') == ['skip']
    for name in ('render', 'batch'):
        assert stage(report, name, 'skip').message.endswith('not tried, because render failed')
    # That server lists none.
    assert 'cannot be compared' in stage(report, 'cameras', 'note').message


def test_a_server_blocked_by_somebody_else_s_first_frame(scenario, tmp_path):
    server = serve(scenario, behaviour=Behaviour(first_frame_s=1000.0))
    with server, Client(server.address) as other:
        frame = other.start('render_rgb', good_request(scenario), timeout=60.0)
        until(lambda: server.blocked, 'the block')
        report = probe_at(scenario, server.address, tmp_path, timeouts={'health': 0.3})
        frame.cancel()
    assert failed(report) == ['health']
    assert stage(report, 'health', 'fail').remedy.startswith('the whole server is blocked')
    assert statuses(report, 'render') == ['skip']


# --- what is served is not what the archive holds ------------------------------------------------


def written(folder, name='scene', **changes):
    return Scenario.load(write_scene(folder / f'{name}.usdz', **changes))


def test_another_scene_is_told_by_its_drive(scenario, other_scenario, probe):
    report = probe(other_scenario)
    assert failed(report) == ['scenes']
    found = stage(report, 'scenes', 'fail')
    assert 'clipgt-other' in found.message
    assert scenario.scene_id in found.message
    assert '--artifact-glob' in found.remedy


def test_the_same_drive_under_another_name_is_a_note(tmp_path, probe):
    report = probe(written(tmp_path, scene_id='renamed'))
    assert report.ok
    assert 'renamed stands for' in stage(report, 'scenes', 'note').message


def test_a_trajectory_of_other_times_is_not_the_drive(scenario, tmp_path):
    # Nanoseconds where microseconds belong, and the largest number that there is.
    for times_us in ([scenario.start_ns, 2**64 - 1], []):
        with FakeServer(picture, scenes=['renamed']) as server:
            server.times_us = times_us
            report = probe_at(scenario, server.address, tmp_path)
        assert 'which is not the drive of' in stage(report, 'scenes', 'fail').message


def test_of_several_scenes_the_one_that_is_named_is_taken(
    scenario, other_scenario, tmp_path, probe
):
    assert probe(scenario, other_scenario, asked={'scene_id': scenario.scene_id}).ok
    others = [written(tmp_path, name, scene_id=name) for name in 'ab']
    for asked, words in (({}, 'a, b'), ({'scene_id': 'nothing'}, 'nothing')):
        report = probe(*others, asked=asked)
        assert failed(report) == ['scenes']
        found = stage(report, 'scenes', 'fail')
        assert words in found.message + found.remedy


def test_a_camera_that_sees_nothing_of_its_own_image_is_said_and_not_rendered(tmp_path):
    """As its principal point lies far outside, and the lens draws nothing there."""
    model, mount = CAMERAS[WIDE]
    lens = {**model['parameters'], 'principal_point': [960.0, -3000.0]}
    blind = written(tmp_path, cameras={**CAMERAS, WIDE: ({**model, 'parameters': lens}, mount)})
    with serve(blind) as server:
        report = probe_at(blind, server.address, tmp_path)
        with pytest.raises(ConfigurationError, match=f"'{WIDE}', which cannot be rendered: "):
            probe_at(blind, server.address, tmp_path, cameras=(WIDE,))
    assert failed(report) == []
    found = stage(report, 'cameras', 'note')
    assert f'{WIDE} cannot be rendered: ' in found.message
    assert found.details['not_rendered'].keys() == {WIDE}
    assert {s.details['camera'] for s in report.stages if s.name == 'render'} == {TELE}


@pytest.mark.parametrize(
    ('served', 'stages', 'words'),
    [
        ((WIDE, TELE), ['cameras'], f'{WIDE}: max_angle 1.35, server 1.2; mounted 0.500 m'),
        ((WIDE,), ['cameras', 'render', 'batch'], f'lacks {TELE}; '),
    ],
)
def test_what_the_server_has_otherwise_or_lacks_is_named(
    scenario, tmp_path, probe, served, stages, words
):
    model, mount = CAMERAS[WIDE]
    turned = {**model, 'parameters': {**model['parameters'], 'max_angle': 1.2}}
    others = {WIDE: (turned, [mount[0], 0.5, mount[2]]), TELE: CAMERAS[TELE]}
    cameras = {name: others[name] for name in served}
    report = probe(written(tmp_path, scene_id=scenario.scene_id, cameras=cameras))
    assert failed(report) == stages
    message = stage(report, 'cameras', 'fail').message
    assert words in message
    assert (TELE in message) is (TELE not in served)
