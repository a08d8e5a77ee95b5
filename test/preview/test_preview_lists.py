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
"""The lists that a server gives, against the archive's own JSON."""

import json
from test.preview.preview_client import Client, PREFIX, refused, serve
import zipfile

import grpc
import numpy as np
from nurec_ros.preview.behaviour import Behaviour
from nurec_ros.rendering.protos import common_pb2
from nurec_ros.rendering.protos import sensorsim_pb2 as sim
import pytest
from scipy.spatial.transform import Rotation


@pytest.fixture(scope='module')
def client(scenario):
    with serve(scenario) as server, Client(server.address) as client:
        yield client


@pytest.fixture(scope='module')
def rig(scenario_path):
    with zipfile.ZipFile(scenario_path) as archive:
        return json.loads(archive.read('rig_trajectories.json'))


def matrix(message):
    """Give the 4x4 matrix of a pose message, by scipy."""
    q, v = message.quat, message.vec
    result = np.eye(4)
    result[:3, :3] = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
    result[:3, 3] = v.x, v.y, v.z
    return result


def test_the_version_says_who_answers(client):
    version = client.call('get_version')
    assert version.version_id.startswith('preview-')
    assert version.grpc_api_version.patch == 5


def test_the_scene_is_listed(client, scenario):
    assert list(client.call('get_available_scenes').scene_ids) == [scenario.scene_id]


def test_every_camera_is_listed_with_its_mounting(client, scenario, rig):
    request = sim.AvailableCamerasRequest(scene_id=scenario.scene_id)
    listed = client.call('get_available_cameras', request).available_cameras
    truth = {entry['logical_sensor_name']: entry for entry in rig['camera_calibrations'].values()}
    assert [camera.logical_id for camera in listed] == list(truth)
    for camera in listed:
        # Named rig_to_camera, but camera to rig: T_sensor_rig as it stands in the file.
        np.testing.assert_allclose(
            matrix(camera.rig_to_camera), truth[camera.logical_id]['T_sensor_rig'], atol=1e-6
        )


def test_every_camera_is_listed_with_its_native_calibration(client, scenario, rig):
    request = sim.AvailableCamerasRequest(scene_id=scenario.scene_id)
    listed = {
        camera.logical_id: camera.intrinsics
        for camera in client.call('get_available_cameras', request).available_cameras
    }
    checked = 0
    for entry in rig['camera_calibrations'].values():
        spec = listed[entry['logical_sensor_name']]
        parameters = entry['camera_model']['parameters']
        assert [spec.resolution_w, spec.resolution_h] == parameters['resolution']
        assert sim.ShutterType.Name(spec.shutter_type) == parameters['shutter_type']
        assert spec.logical_id == entry['logical_sensor_name']
        if entry['camera_model']['type'] != 'ftheta':
            continue
        lens = spec.ftheta_param
        assert [lens.principal_point_x, lens.principal_point_y] == parameters['principal_point']
        for name in ('pixeldist_to_angle_poly', 'angle_to_pixeldist_poly'):
            assert list(getattr(lens, name)) == parameters[name]
        assert lens.max_angle == parameters['max_angle']
        assert lens.PolynomialType.Name(lens.reference_poly) == parameters['reference_poly']
        checked += 1
    assert checked > 0


def test_the_ego_trajectory_is_the_recorded_one(client, scenario, rig):
    request = sim.AvailableTrajectoriesRequest(scene_id=scenario.scene_id)
    (only,) = client.call('get_available_trajectories', request).available_trajectories
    recorded = rig['rig_trajectories'][0]
    assert [p.timestamp_us for p in only.trajectory.poses] == recorded['T_rig_world_timestamps_us']
    for entry, expected in zip(only.trajectory.poses, recorded['T_rig_worlds'], strict=True):
        np.testing.assert_allclose(matrix(entry.pose), expected, atol=1e-4)


@pytest.mark.parametrize(
    ('method', 'message'),
    [
        ('get_available_cameras', sim.AvailableCamerasRequest),
        ('get_available_trajectories', sim.AvailableTrajectoriesRequest),
    ],
)
def test_an_unknown_scene_is_not_found_and_the_known_one_named(client, scenario, method, message):
    code, text = refused(lambda: client.call(method, message(scene_id='no-such-scene')))
    assert code is grpc.StatusCode.NOT_FOUND
    assert 'no-such-scene' in text
    assert scenario.scene_id in text


def test_there_are_no_ego_masks(client):
    assert client.call('get_available_ego_masks').ByteSize() == 0


def test_the_loaded_scenes_are_told_as_alpasim_reads_them(scenario, other_scenario):
    """Against bytes by hand: 1 scenes {1 id, 2 loaded, 3 reusable}, 2 capacity."""
    with serve([scenario, other_scenario]) as server, Client(server.address) as client:
        method = client.channel.unary_unary(f'/{PREFIX}/get_loaded_scenes')
        encoded = method(b'', timeout=20.0)
    expected = b''
    for name in (scenario.scene_id.encode(), other_scenario.scene_id.encode()):
        entry = b'\x0a' + bytes([len(name)]) + name + b'\x10\x01\x18\x01'
        expected += b'\x0a' + bytes([len(entry)]) + entry
    assert encoded == expected + b'\x10\x02'


def test_the_configuration_tells_how_the_server_runs(scenario):
    behaviour = Behaviour(max_workers=3, editing=False)
    with serve(scenario, behaviour=behaviour) as server, Client(server.address) as client:
        config = dict(client.call('get_server_config').server_config)
    assert config['max_workers'] == '3'
    assert config['enable_editing_actors'] == 'False'


def test_health_knows_the_server_and_the_service(client):
    assert client.health() == 'SERVING'
    assert client.health(PREFIX) == 'SERVING'
    code, _ = refused(lambda: client.health('another.Service'))
    assert code is grpc.StatusCode.NOT_FOUND


def test_a_method_that_nobody_serves_is_unimplemented(client):
    method = client.channel.unary_unary(
        f'/{PREFIX}/shut_down', request_serializer=common_pb2.Empty.SerializeToString
    )
    code, _ = refused(lambda: method(common_pb2.Empty(), timeout=20.0))
    assert code is grpc.StatusCode.UNIMPLEMENTED


def test_bytes_that_are_no_message_do_not_hurt(client, scenario):
    method = client.channel.unary_unary(f'/{PREFIX}/render_rgb')
    code, _ = refused(lambda: method(b'\xff\xff\xff', timeout=20.0))
    assert code is grpc.StatusCode.INTERNAL
    assert list(client.call('get_available_scenes').scene_ids) == [scenario.scene_id]
