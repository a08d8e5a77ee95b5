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
"""The methods over the wire: lists against the archive's own JSON, pictures, refusals."""

import json
from test.preview.preview_client import (
    batch,
    Client,
    decoded,
    gradient,
    Painter,
    pose,
    PREFIX,
    refused,
    request,
    serve,
)
import zipfile

import grpc
import numpy as np
from nurec_ros.rendering.protos import common_pb2
from nurec_ros.rendering.protos import sensorsim_pb2 as sim
import pytest
from scipy.spatial.transform import Rotation


@pytest.fixture(scope='module')
def painter():
    return Painter()


@pytest.fixture(scope='module')
def client(scenario, painter):
    with serve(scenario, painter, caption=False) as server, Client(server.address) as client:
        yield client


@pytest.fixture
def last(painter):
    """Return the last order that reached the drawing."""
    return lambda: painter.orders[-1]


@pytest.fixture(scope='module')
def rig(scenario_path):
    with zipfile.ZipFile(scenario_path) as archive:
        return json.loads(archive.read('rig_trajectories.json'))


def matrix(message):
    """Return the 4x4 matrix of a pose message, by scipy."""
    q, v = message.quat, message.vec
    result = np.eye(4)
    result[:3, :3] = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
    result[:3, 3] = v.x, v.y, v.z
    return result


def test_who_answers_and_with_what(client, scenario):
    version = client.call('get_version')
    assert version.version_id.startswith('preview-')
    assert version.grpc_api_version.patch == 5
    assert list(client.call('get_available_scenes').scene_ids) == [scenario.scene_id]
    assert client.call('get_available_ego_masks').ByteSize() == 0


def test_every_camera_is_listed_with_its_mounting_and_calibration(client, scenario, rig):
    asked = sim.AvailableCamerasRequest(scene_id=scenario.scene_id)
    listed = client.call('get_available_cameras', asked).available_cameras
    truth = {entry['logical_sensor_name']: entry for entry in rig['camera_calibrations'].values()}
    assert [camera.logical_id for camera in listed] == list(truth)
    for camera in listed:
        spec, entry = camera.intrinsics, truth[camera.logical_id]
        # Named rig_to_camera, but camera to rig: T_sensor_rig as it stands in the file.
        np.testing.assert_allclose(matrix(camera.rig_to_camera), entry['T_sensor_rig'], atol=1e-6)
        parameters = entry['camera_model']['parameters']
        assert [spec.resolution_w, spec.resolution_h] == parameters['resolution']
        assert sim.ShutterType.Name(spec.shutter_type) == parameters['shutter_type']
        assert spec.logical_id == entry['logical_sensor_name']
        lens = spec.ftheta_param
        assert [lens.principal_point_x, lens.principal_point_y] == parameters['principal_point']
        assert lens.max_angle == parameters['max_angle']


def test_the_ego_trajectory_is_the_recorded_one(client, scenario, rig):
    asked = sim.AvailableTrajectoriesRequest(scene_id=scenario.scene_id)
    (only,) = client.call('get_available_trajectories', asked).available_trajectories
    recorded = rig['rig_trajectories'][0]
    assert [p.timestamp_us for p in only.trajectory.poses] == recorded['T_rig_world_timestamps_us']
    for entry, expected in zip(only.trajectory.poses, recorded['T_rig_worlds'], strict=True):
        np.testing.assert_allclose(matrix(entry.pose), expected, atol=1e-4)


@pytest.mark.parametrize('what', ['Cameras', 'Trajectories'])
def test_an_unknown_scene_is_not_found_and_the_known_one_named(client, scenario, what):
    asked = getattr(sim, f'Available{what}Request')(scene_id='no-such')
    code, text = refused(lambda: client.call(f'get_available_{what.lower()}', asked))
    assert code is grpc.StatusCode.NOT_FOUND
    assert f"'no-such' is not available; this server has: {scenario.scene_id}" in text


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


def test_what_is_no_call_does_not_hurt(client, scenario):
    for method, status in (('shut_down', 'UNIMPLEMENTED'), ('render_rgb', 'INTERNAL')):
        call = client.channel.unary_unary(f'/{PREFIX}/{method}')
        code, _ = refused(lambda call=call: call(b'\xff\xff\xff', timeout=20.0))
        assert code.name == status
    assert list(client.call('get_available_scenes').scene_ids) == [scenario.scene_id]
    assert client.health() == client.health(PREFIX) == 'SERVING'
    code, _ = refused(lambda: client.health('another.Service'))
    assert code is grpc.StatusCode.NOT_FOUND


# --- pictures -----------------------------------------------------------------------------------


@pytest.mark.parametrize(('width', 'height'), [(33, 7), (1, 1)])
@pytest.mark.parametrize(
    ('name', 'begins'),
    [('PNG', b'\x89PNG\r\n\x1a\n'), ('JPEG', b'\xff\xd8\xff'), ('RGB_UINT8_PLANAR', b'')],
)
def test_in_every_format(client, scenario, name, begins, width, height):
    size = {'resolution_w': width, 'resolution_h': height}
    asked = request(scenario, image_format=sim.ImageFormat.Value(name), **size)
    data = client.call('render_rgb', asked).image_bytes
    assert data.startswith(begins)
    if name == 'RGB_UINT8_PLANAR':
        picture = np.frombuffer(data, np.uint8).reshape(3, height, width).transpose(1, 2, 0)
    else:
        picture = decoded(data)
    gap = np.abs(picture.astype(int) - gradient(width, height))
    assert gap.mean() < 4.0 if name == 'JPEG' else not gap.any()


def test_what_is_asked_for_reaches_the_drawing(client, scenario, last):
    middle = (scenario.start_ns + scenario.end_ns) // 2000
    end = pose(11.0, yaw=-170.0)
    # A quaternion of another length means the same rotation.
    end.quat.w, end.quat.z = 2 * end.quat.w, 2 * end.quat.z
    pair = sim.PosePair(start_pose=pose(10.0, -20.0, 1.5, yaw=30.0, pitch=4.0), end_pose=end)
    span = {'frame_start_us': middle, 'frame_end_us': middle + 15000}
    client.call('render_rgb', request(scenario, sensor_pose=pair, **span))
    order = last()
    assert (order['model'].kind, order['model'].resolution) == ('ftheta', (1920, 1080))
    assert tuple(order['model'].principal_point) == (958.0, 752.0)
    assert (order['width'], order['height']) == (48, 27)
    assert (order['start_ns'], order['end_ns']) == (middle * 1000, (middle + 15000) * 1000)
    assert not order['caption']
    assert list(order['tracks']) == []
    for name, at, turn in (
        ('start', (10.0, -20.0, 1.5), [30.0, 4.0]),
        ('end', (11.0, 0.0, 0.0), [-170.0, 0.0]),
    ):
        found = order[f'T_map_camera_{name}']
        expected = Rotation.from_euler('ZY', turn, degrees=True).as_matrix()
        np.testing.assert_allclose(found[:3], np.column_stack([expected, at]), atol=1e-6)


def test_the_first_and_the_last_microsecond_are_in_the_scene_and_captions_tell_them(scenario):
    painter = Painter()
    first, last_us = scenario.start_ns // 1000, scenario.end_ns // 1000
    camera = next(iter(scenario.cameras))
    with serve(scenario, painter) as server, Client(server.address) as client:
        for start in (first, first + 1_234_000, last_us - 1):
            asked = request(scenario, frame_start_us=start, frame_end_us=start + 1)
            client.call('render_rgb', asked)
    captions = [order['caption'] for order in painter.orders]
    for caption, seconds in zip(captions, ('0.000', '1.234', '2.000'), strict=True):
        assert all(words in caption for words in (camera, f'{seconds} s', '48x27')), caption


def timed(start, end):
    """Return fields of an exposure that is relative to the scene's end."""
    return lambda s: {
        'frame_start_us': s.end_ns // 1000 + start,
        'frame_end_us': s.end_ns // 1000 + end,
    }


def spec(**changes):
    """Return fields with the good request's CameraSpec changed."""

    def fields(scenario):
        message = request(scenario).camera_intrinsics
        message.MergeFrom(sim.CameraSpec(**changes))
        return {'camera_intrinsics': message}

    return fields


NAN = common_pb2.Pose(vec=common_pb2.Vec3(x=float('nan')), quat=common_pb2.Quat(w=1.0))
FLAT = common_pb2.Pose(vec=common_pb2.Vec3(x=1.0))
JPEG = {'image_format': sim.JPEG}
# What a good request lacks, by its name, or has otherwise; code and words of the refusal.
BAD = [
    ({'scene_id': 'x'}, 'NOT_FOUND', "'x' is not available"),
    ({'scene_id': ''}, 'NOT_FOUND', 'this server has: '),
    (timed(-9, -9), 'INVALID_ARGUMENT', 'is not before'),
    (timed(-8, -9), 'INVALID_ARGUMENT', 'half-open'),
    (timed(0, 1), 'OUT_OF_RANGE', 'outside the scene'),
    (lambda s: {'frame_start_us': s.start_ns // 1000 - 1}, 'OUT_OF_RANGE', 'outside the scene'),
    ('camera_intrinsics', 'INVALID_ARGUMENT', 'missing'),
    (spec(logical_id='camera_x'), 'UNKNOWN', 'Missing camera camera_x@'),
    ('camera_intrinsics.logical_id', 'UNKNOWN', 'in camera calibration'),
    ('camera_intrinsics.ftheta_param.max_angle', 'UNKNOWN', 'max_angle'),
    (spec(shutter_type=9), 'INVALID_ARGUMENT', 'shutter_type is 9'),
    ('resolution_w', 'INVALID_ARGUMENT', '0x27'),
    ('resolution_h', 'INVALID_ARGUMENT', '48x0'),
    ({'resolution_w': 60000, 'resolution_h': 60000}, 'RESOURCE_EXHAUSTED', '60000x60000'),
    ('image_format', 'INVALID_ARGUMENT', 'UNDEFINED'),
    ({'image_format': sim.AV1}, 'INVALID_ARGUMENT', 'AV1'),
    (
        *({'image_format': 77}, 'INVALID_ARGUMENT'),
        'image_format 77 is not supported, expected one of PNG, JPEG, RGB_UINT8_PLANAR',
    ),
    # As a share.
    ({**JPEG, 'image_quality': 0.95}, 'UNKNOWN', 'nvJPEG'),
    ({**JPEG, 'image_quality': 0.0}, 'UNKNOWN', 'nvJPEG'),
    ({'insert_ego_mask': True}, 'INVALID_ARGUMENT', 'ego_mask'),
    ('sensor_pose', 'INVALID_ARGUMENT', 'start_pose is missing'),
    ('sensor_pose.end_pose', 'INVALID_ARGUMENT', 'sensor_pose: end_pose is missing'),
    (
        {'sensor_pose': {'start_pose': NAN, 'end_pose': pose()}},
        *('INVALID_ARGUMENT', 'not finite'),
    ),
    ({'sensor_pose': {'start_pose': pose(), 'end_pose': FLAT}}, 'INVALID_ARGUMENT', 'length 0'),
]


def spoiled(scenario, change):
    if not isinstance(change, str):
        return request(scenario, **(change(scenario) if callable(change) else change))
    message = asked = request(scenario)
    *parents, last = change.split('.')
    for name in parents:
        message = getattr(message, name)
    message.ClearField(last)
    return asked


@pytest.mark.parametrize(('change', 'expected', 'words'), BAD)
def test_a_bad_request_is_refused_with_its_code_and_fails_alone_in_a_batch(
    client, scenario, change, expected, words
):
    asked = spoiled(scenario, change)
    code, text = refused(lambda: client.call('render_rgb', asked))
    assert code.name == expected, text
    assert words in text
    both = batch(good=request(scenario), bad=asked, as_good=request(scenario))
    good, bad, as_good = items = client.call('batch_render_rgb', both).items
    assert [item.camera_name for item in items] == ['good', 'bad', 'as_good']
    assert (good.success, bad.success, as_good.success) == (True, False, True)
    np.testing.assert_array_equal(decoded(good.result.image_bytes), gradient(48, 27))
    assert not good.error_message
    assert bad.error_message == text
    assert not bad.HasField('result')


def test_a_camera_named_twice_in_a_batch_is_drawn_once(client, scenario):
    asked = batch(a=request(scenario))
    asked.items.append(asked.items[0])
    reply = client.call('batch_render_rgb', asked)
    assert [entry.success for entry in reply.items] == [True, False]
    assert "'a' is used twice" in reply.items[1].error_message


def test_pictures_asked_for_together_come_in_their_order_or_none_at_all(client, scenario):
    sizes = [(48, 27), (20, 10), (31, 7)]
    asked = [request(scenario, resolution_w=w, resolution_h=h) for w, h in sizes]
    reply = client.call('render_aggregated', sim.AggregatedRenderRequest(rgb_requests=asked))
    for (width, height), item in zip(sizes, reply.rgb_returns, strict=True):
        np.testing.assert_array_equal(decoded(item.image_bytes), gradient(width, height))
    asked[1].scene_id = 'x'
    both = sim.AggregatedRenderRequest(rgb_requests=asked)
    code, _ = refused(lambda: client.call('render_aggregated', both))
    assert code.name == 'NOT_FOUND'


def test_more_than_64_together_are_refused(client, scenario):
    one = request(scenario)
    for method, asked in (
        ('batch_render_rgb', batch(**{str(i): one for i in range(65)})),
        ('render_aggregated', sim.AggregatedRenderRequest(rgb_requests=[one] * 65)),
    ):
        code, text = refused(lambda method=method, asked=asked: client.call(method, asked))
        assert code.name == 'RESOURCE_EXHAUSTED'
        assert '65 items' in text


@pytest.mark.parametrize(
    ('error', 'status', 'words'),
    [
        (MemoryError(), 'RESOURCE_EXHAUSTED', 'out of memory for a picture of 48x27'),
        (ZeroDivisionError('it broke'), 'UNKNOWN', 'ZeroDivisionError: it broke'),
    ],
)
def test_a_drawing_that_breaks_fails_alone(
    client, scenario, painter, monkeypatch, error, status, words
):
    def fail(*_, **__):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(painter, 'render', fail)
        code, text = refused(lambda: client.call('render_rgb', request(scenario)))
    assert code.name == status
    assert text.endswith(words)
    client.call('render_rgb', request(scenario))
    assert client.health() == 'SERVING'


def objects(*names):
    pair = sim.PosePair(start_pose=pose(5.0, yaw=90.0), end_pose=pose(6.0, yaw=90.0))
    return [sim.DynamicObject(track_id=name, pose_pair=pair) for name in names]


def test_controllable_tracks_alone_are_where_the_client_puts_them(client, scenario, last):
    # The scene's own two: one that can be moved, one that cannot.
    names = ['nobody', 'parked', 'ahead']
    client.call('render_rgb', request(scenario, dynamic_objects=objects(*names)))
    ((given, start, end),) = last()['tracks']
    assert given == 'ahead'
    np.testing.assert_allclose(
        start, [[0, -1, 0, 5], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], atol=1e-6
    )
    assert end[0, 3] == 6.0
    asked = request(scenario, dynamic_objects=[sim.DynamicObject(track_id=given)])
    code, text = refused(lambda: client.call('render_rgb', asked))
    assert code.name == 'INVALID_ARGUMENT'
    assert f'dynamic_objects of {given}: start_pose is missing' in text


def test_without_editing_dynamic_objects_are_refused(play, scenario):
    client = play(editing=False)
    asked = request(scenario, dynamic_objects=objects('1'))
    code, text = refused(lambda: client.call('render_rgb', asked))
    assert code.name == 'FAILED_PRECONDITION'
    assert '--enable-editing-actors' in text
    assert client.call('render_rgb', request(scenario)).image_bytes


def test_custom_intrinsics_of_a_known_camera_are_drawn(client, scenario, last):
    wide = sim.OpenCVFisheyeCameraParam(
        principal_point_x=320.0,
        principal_point_y=240.0,
        focal_length_x=200.0,
        focal_length_y=200.0,
        radial_coeffs=[0.0] * 4,
        max_angle=1.7,
    )
    own = spec(resolution_w=640, resolution_h=480, opencv_fisheye_param=wide)
    client.call('render_rgb', request(scenario, **own(scenario)))
    model = last()['model']
    assert (model.kind, model.resolution, model.max_angle) == ('opencv-fisheye', (640, 480), 1.7)
