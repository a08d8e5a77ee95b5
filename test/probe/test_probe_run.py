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
from test.probe.reports import failed, probe_at, stage, statuses, with_small_cameras
from test.rendering.fake_server import FakeServer
from test.support.render_scene import CAMERAS, write_scene
from test.support.waiting import until
import threading

import cv2
import numpy as np
from nurec_ros.errors import ConfigurationError
from nurec_ros.preview import paint
from nurec_ros.preview.behaviour import Behaviour
from nurec_ros.preview.server import PreviewServer
from nurec_ros.probe.stages import STAGES
from nurec_ros.rendering.protos import common_pb2
from nurec_ros.scenario import Scenario
import pytest


def test_a_healthy_server_passes_every_stage(scenario, tmp_path):
    seen = []
    with serve(scenario) as server:
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
    names = {path.name for path in report.pictures}
    assert names == {
        f'{name}_{label}.jpg' for name in CAMERAS for label in ('low', 'full', 'batch')
    }
    for name in CAMERAS:
        low = cv2.imread(str(tmp_path / 'out' / f'{name}_low.jpg'))
        full = cv2.imread(str(tmp_path / 'out' / f'{name}_full.jpg'))
        assert (low.shape, full.shape) == ((270, 480, 3), (1080, 1920, 3))


def test_only_some_cameras_and_another_scale(probe):
    report = probe(options={'cameras': ('camera_front_tele_30fov',), 'scale': 0.5})
    low, full = (s.details for s in report.stages if s.name == 'render')
    assert low['asked'] == [240, 135]
    assert low['camera'] == full['camera'] == 'camera_front_tele_30fov'
    assert report.ok


@pytest.mark.parametrize('name', ['pittsburgh', 'miami'])
def test_a_real_scene_passes(name, request, tmp_path):
    recorded = with_small_cameras(Scenario.load(request.getfixturevalue(name)))
    with serve(recorded) as server:
        report = probe_at(recorded, server.address, tmp_path)
    assert not failed(report), failed(report)
    assert len(report.pictures) == 3 * len(recorded.cameras)


def test_a_real_scene_drawn_by_the_preview_server_passes(miami, tmp_path, monkeypatch):
    # A twentieth of the work.
    monkeypatch.setattr(paint, 'FINEST', 0.2)
    small = with_small_cameras(Scenario.load(miami), 1)
    with PreviewServer([small]) as server:
        report = probe_at(small, server.address, tmp_path)
    assert not failed(report), failed(report)
    assert len(report.pictures) == 3
    for path in report.pictures:
        # A street, not a wall of one colour.
        assert cv2.imread(str(path)).std() > 15.0


# --- behaviours that are no failure --------------------------------------------------------------


def test_a_server_of_2025_gets_notes_and_passes(probe):
    report = probe(api='v1')
    assert report.ok
    for name in ('health', 'config', 'batch'):
        assert set(statuses(report, name)) == {'note'}
    assert not failed(report)


def test_a_server_without_health_gets_a_note(probe):
    report = probe(health=False)
    assert report.ok
    assert set(statuses(report, 'health')) == {'note'}


@pytest.mark.parametrize(
    'prefix', ['nurec.grpc.protos.sensorsim.SensorsimService', 'sensorsim.SensorsimService']
)
def test_a_renamed_service_is_found(probe, prefix):
    report = probe(service_prefix=prefix)
    assert report.ok
    assert stage(report, 'service', 'pass').details['service_prefix'] == prefix


def test_a_service_of_any_name_is_reached_when_it_is_given(probe):
    assert probe(options={'service_prefix': 'my.own.Service'}, service_prefix='my.own.Service').ok


def test_a_server_that_forbids_editing_passes_and_says_so(probe):
    report = probe(editing=False)
    assert report.ok
    assert stage(report, 'config', 'pass').details['config']['enable_editing_actors'] == 'False'


def test_the_aspect_kept_is_a_note(probe):
    report = probe(native_aspect=(2, 1))
    assert report.ok
    assert '136x68 for 120x68' in stage(report, 'sizes', 'note').message


def test_a_server_that_lists_no_cameras_is_noted(scenario, tmp_path):
    with FakeServer(scenes=[scenario.scene_id]) as server:
        report = probe_at(scenario, server.address, tmp_path)
    assert 'cannot be compared' in stage(report, 'cameras', 'note').message
    assert 'cameras' not in failed(report)


def test_a_slow_first_frame_is_waited_for(probe):
    report = probe(options={'timeouts': {'render': 1.5}, 'slow_s': 1.0}, first_frame_s=1.6)
    assert report.ok
    assert 'slow because it was the first' in stage(report, 'render', 'note').message


def test_slow_renders_are_a_note(probe):
    report = probe(options={'slow_s': 0.1}, latency_s=0.15)
    assert report.ok
    first, second, *full = (s for s in report.stages if s.name == 'render')
    assert 'first' in first.message
    assert second.status == 'note'
    assert 'resolution_scale' in second.remedy
    assert {s.status for s in full} == {'pass'}


def test_a_shuffled_batch_is_in_order(probe):
    assert probe(batch_replies='shuffled').ok


def test_jitter_and_workers_change_nothing(probe):
    assert probe(jitter_s=0.01, latency_s=0.01, max_workers=4).ok


# --- behaviours that are failures ----------------------------------------------------------------


def test_a_service_of_an_unknown_name_is_told_apart(probe):
    report = probe(service_prefix='my.own.Service')
    assert failed(report) == ['service']
    assert 'service_prefix' in stage(report, 'service', 'fail').remedy
    assert set(statuses(report, 'render')) == {'skip'}
    assert {s.name for s in report.stages} == set(STAGES) - {'lidar'}


def test_a_server_that_starts_is_told_to_be_waited_for(probe):
    report = probe(startup_s=1000.0)
    assert failed(report)[0] == 'health'
    assert 'NOT_SERVING' in stage(report, 'health', 'fail').message
    for name in failed(report):
        assert 'wait' in stage(report, name, 'fail').remedy


def test_a_server_without_health_that_starts_is_told_to_be_waited_for(probe):
    report = probe(startup_s=1000.0, health=False)
    assert failed(report) == ['service']
    assert 'wait' in stage(report, 'service', 'fail').remedy


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
    assert [s.status for s in report.stages if s.name == 'render'] == ['fail', *['skip'] * 3]
    assert set(statuses(report, 'batch')) == {'skip'}
    for entry in report.stages:
        if entry.name in ('render', 'batch') and entry.status == 'skip':
            assert entry.message.endswith('not tried, because render failed')


def test_endless_renders_of_a_living_server_are_told_apart(probe):
    limits = {'first_timeout_s': 0.3, 'timeouts': {'render': 0.3, 'alive': 60.0}}
    report = probe(options=limits, latency_s=1000.0)
    assert failed(report) == ['render']
    assert 'overloaded or stuck' in stage(report, 'render', 'fail').remedy


def test_a_server_blocked_by_somebody_else_s_first_frame(scenario, tmp_path):
    server = serve(scenario, behaviour=Behaviour(first_frame_s=1000.0))
    with server, Client(server.address) as other:
        frame = other.start('render_rgb', good_request(scenario), timeout=60.0)
        until(lambda: server.blocked, 'the block')
        report = probe_at(scenario, server.address, tmp_path, timeouts={'health': 0.3})
        frame.cancel()
    assert failed(report) == ['health']
    remedy = stage(report, 'health', 'fail').remedy
    assert remedy.startswith('the whole server is blocked')
    assert set(statuses(report, 'render')) == {'skip'}


def test_failing_renders_get_the_remedy_of_the_table(probe):
    report = probe(failure_rate=1.0)
    assert failed(report) == ['render', 'batch']
    found = stage(report, 'render', 'fail')
    assert 'NRenderer.render failed' in found.message
    assert 'resolution_scale' in found.remedy
    assert not report.pictures


def test_memory_that_is_enough_for_small_pictures_only(probe):
    report = probe(oom_pixels=120 * 68)
    assert failed(report) == ['render']
    assert [s.status for s in report.stages if s.name == 'render'] == [
        *('pass', 'pass', 'fail', 'fail')
    ]
    found = stage(report, 'render', 'fail')
    assert 'full at 480x270' in found.message
    assert 'PYTORCH_CUDA_ALLOC_CONF' in found.remedy


@pytest.mark.parametrize(
    ('replies', 'words'),
    [
        ('garbage', 'neither JPEG nor PNG'),
        ('truncated', 'cut off'),
        ('empty', 'no image'),
        ('black', 'black'),
    ],
)
def test_replies_that_are_no_picture(probe, replies, words):
    report = probe(replies=replies)
    assert failed(report) == ['images']
    found = stage(report, 'images', 'fail')
    assert '6 of 6' in found.message
    assert words in found.message
    assert len(report.pictures) == (0 if replies == 'empty' else 6)


@pytest.mark.parametrize(
    ('batch_replies', 'words'),
    [
        ('missing', 'camera_front_tele_30fov is missing'),
        ('duplicate', 'came twice'),
        ('unknown', 'was not asked for'),
    ],
)
def test_a_batch_that_does_not_match(probe, batch_replies, words):
    report = probe(batch_replies=batch_replies)
    assert failed(report) == ['batch']
    found = stage(report, 'batch', 'fail')
    assert words in found.message
    assert 'never' in found.remedy


@pytest.mark.parametrize('frames', [1, 3, 5])
def test_a_crash_is_told_and_ends_the_probe(probe, frames):
    report = probe(crash_after=frames)
    assert failed(report) == ['render' if frames < 4 else 'batch']
    found = next(s for s in report.stages if s.status == 'fail')
    assert 'went away' in found.message
    assert 'log' in found.remedy
    assert len(report.pictures) == min(frames, 4)


# --- what is served is not what the archive holds ------------------------------------------------


def test_another_scene_is_told_by_its_drive(scenario, other_scenario, probe):
    report = probe(other_scenario)
    assert failed(report) == ['scenes']
    found = stage(report, 'scenes', 'fail')
    assert 'clipgt-other' in found.message
    assert scenario.scene_id in found.message
    assert '--artifact-glob' in found.remedy


def test_several_other_scenes_are_listed(tmp_path, probe):
    scenes = [
        Scenario.load(write_scene(tmp_path / f'{name}.usdz', scene_id=name)) for name in 'ab'
    ]
    report = probe(scenes)
    assert failed(report) == ['scenes']
    found = stage(report, 'scenes', 'fail')
    assert 'a, b' in found.message + found.remedy


def test_the_same_drive_under_another_name_is_a_note(tmp_path, probe):
    served = Scenario.load(write_scene(tmp_path / 'served.usdz', scene_id='renamed'))
    report = probe(served)
    assert report.ok
    assert 'renamed stands for' in stage(report, 'scenes', 'note').message


def test_a_scene_that_is_named_is_taken(scenario, other_scenario, probe):
    named = {'scene_id': scenario.scene_id}
    assert probe([scenario, other_scenario], named).ok
    report = probe(options={'scene_id': 'nothing'})
    assert failed(report) == ['scenes']
    assert 'nothing' in stage(report, 'scenes', 'fail').message


def test_a_camera_that_sees_nothing_of_its_own_image_is_said_and_not_rendered(tmp_path):
    """As its principal point lies far outside, and the lens draws nothing there."""
    name = next(iter(CAMERAS))
    model, mount = CAMERAS[name]
    lens = {**model['parameters'], 'principal_point': [960.0, -3000.0]}
    path = write_scene(
        tmp_path / 'blind.usdz', cameras={**CAMERAS, name: ({**model, 'parameters': lens}, mount)}
    )
    blind = Scenario.load(path)
    with serve(blind) as server:
        report = probe_at(blind, server.address, tmp_path)
        with pytest.raises(ConfigurationError, match=f"'{name}', which cannot be rendered: "):
            probe_at(blind, server.address, tmp_path, cameras=(name,))
    assert failed(report) == []
    found = stage(report, 'cameras', 'note')
    assert f'{name} cannot be rendered: ' in found.message
    assert found.details['not_rendered'].keys() == {name}
    asked = {s.details['camera'] for s in report.stages if s.name == 'render'}
    assert asked == set(CAMERAS) - {name}


def test_another_calibration_is_named(scenario, tmp_path, probe):
    model, mount = CAMERAS['camera_front_wide_120fov']
    turned = {**model, 'parameters': {**model['parameters'], 'max_angle': 1.2}}
    cameras = {**CAMERAS, 'camera_front_wide_120fov': (turned, [mount[0], 0.5, mount[2]])}
    path = write_scene(tmp_path / 's.usdz', scene_id=scenario.scene_id, cameras=cameras)
    report = probe(Scenario.load(path))
    assert failed(report) == ['cameras']
    found = stage(report, 'cameras', 'fail')
    assert 'camera_front_wide_120fov: max_angle 1.35, server 1.2; mounted 0.500 m' in found.message
    assert 'camera_front_tele_30fov' not in found.message


def test_a_camera_that_the_server_lacks_is_named(scenario, tmp_path, probe):
    cameras = {'camera_front_wide_120fov': CAMERAS['camera_front_wide_120fov']}
    path = write_scene(tmp_path / 's.usdz', scene_id=scenario.scene_id, cameras=cameras)
    report = probe(Scenario.load(path))
    assert failed(report) == ['cameras', 'render', 'batch']
    assert 'lacks camera_front_tele_30fov' in stage(report, 'cameras', 'fail').message


def test_the_frame_asked_for_is_a_recorded_one_near_the_middle(scenario, tmp_path):
    painter = Painter()
    with serve(scenario, painter) as server:
        probe_at(scenario, server.address, tmp_path)
    ends = next(iter(scenario.cameras.values())).frame_times_ns[:, 1]
    middle = (scenario.start_ns + scenario.end_ns) / 2
    for order in painter.orders:
        assert order['start_ns'] in ends
        assert abs(order['start_ns'] - middle) <= 0.05e9
        truth = scenario.ego.at(order['start_ns'])
        assert abs(order['T_map_camera_start'][0, 3] - truth[0, 3] - 1.85) < 0.06
        assert np.isclose(np.linalg.det(order['T_map_camera_start'][:3, :3]), 1.0)
