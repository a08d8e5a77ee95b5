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
Encoded requests, byte for byte, against bytes put together by hand.

The encoder here knows protobuf's wire format and the field numbers of the fact sheet, nothing of
our .proto files: a field with another number, type or order of its own would show.
"""

from __future__ import annotations

import importlib
from importlib.abc import Loader
from importlib.util import spec_from_loader
import math
import struct
import subprocess
import sys
from test.support.lidars import field, varint
from types import SimpleNamespace

import numpy as np
from nurec_ros.errors import ConfigurationError
from nurec_ros.rendering import protos, RenderOptions
from nurec_ros.rendering.protos import sensorsim_pb2
from nurec_ros.rendering.requests import RequestBuilder
from nurec_ros.scenario import Camera, Scenario, Trajectory
from nurec_ros.scenario.cameras import parse_camera_model
import pytest

# --- the wire format ----------------------------------------------------------------------------


def number(count, value):
    """Encode a uint32, bool or enum; proto3 leaves out zeros."""
    return varint(count << 3) + varint(value) if value else b''


def double(count, value):
    return varint(count << 3 | 1) + struct.pack('<d', value) if value else b''


def float32(count, value):
    packed = struct.pack('<f', value)
    return varint(count << 3 | 5) + packed if packed != bytes(4) else b''


def doubles(count, values):
    """Encode a repeated double: packed."""
    return field(count, struct.pack(f'<{len(values)}d', *values)) if values else b''


# --- the messages, by the numbers of the fact sheet ----------------------------------------------


def pose(position, quaternion_wxyz):
    vec = b''.join(float32(i + 1, value) for i, value in enumerate(position))
    quat = b''.join(float32(i + 1, value) for i, value in enumerate(quaternion_wxyz))
    return field(1, vec) + field(2, quat)


def camera_pose(t_us):
    # The camera sits 1.5 m ahead and 0.25 m to the left of a rig that looks along y.
    return pose([10e-6 * (t_us - T0_US) - 0.25, 1.5, 1.25], [HALF, 0.0, 0.0, HALF])


def spec(param, width, height, shutter, glass=b''):
    return (
        param
        + field(5, b'camera_front')
        + number(7, height)
        + number(8, width)
        + number(9, shutter)
        + glass
    )


def request(size, camera, window, *, of=None, objects=b'', image_format=2, quality=95.0):
    begin_us, end_us = of or window
    return (
        field(1, b'clipgt-1')
        + number(2, size[1])
        + number(3, size[0])
        + field(4, camera)
        + b''.join(varint(5 + i << 3 | 1) + struct.pack('<Q', window[i]) for i in (0, 1))
        + field(7, field(1, camera_pose(begin_us)) + field(2, camera_pose(end_us)))
        + objects
        + number(9, image_format)
        + float32(10, quality)
    )


# --- a scene of round numbers -------------------------------------------------------------------

T0_US = 1_600_000_000_000_000  # epoch-like: needs all of a fixed64
LAST_US = T0_US + 10_000_000
HALF = math.sqrt(0.5)


def ego_at(times_ns):
    """Drive 10 m/s along x and look along y: a quarter turn about z."""
    seconds = (np.atleast_1d(times_ns) - T0_US * 1000) / 1e9
    poses = np.tile(np.eye(4), (len(seconds), 1, 1))
    poses[:, :2, :2] = [[0.0, -1.0], [1.0, 0.0]]
    poses[:, 0, 3] = 10.0 * seconds
    return poses


def tracks_at(t_ns):
    """Return two road users, one of which can be placed."""
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[0, :3, 3] = [5.0, 1.0 + (t_ns - T0_US * 1000) / 1e9, 0.5]
    return SimpleNamespace(
        ids=('car', 'tree'),
        indices=np.array([3, 5]),
        controllable=np.array([True, False]),
        poses=poses,
    )


def scene(model):
    """Return as much of a scenario as a request is made from."""
    T_rig_camera = np.eye(4)
    T_rig_camera[:3, 3] = [1.5, 0.25, 1.25]
    times = np.array([[T0_US + 970_000, T0_US + 1_000_000]], dtype=np.int64) * 1000
    name = 'camera_front'
    camera = Camera(name, T_rig_camera, model, model.resolution, times)
    return SimpleNamespace(
        start_ns=T0_US * 1000,
        end_ns=LAST_US * 1000,
        ego=SimpleNamespace(at=ego_at),
        tracks=SimpleNamespace(at=tracks_at),
        cameras={name: camera},
        lidars={},
    )


FTHETA = parse_camera_model(
    'ftheta',
    {
        'resolution': [1920, 1080],
        'shutter_type': 'ROLLING_TOP_TO_BOTTOM',
        'principal_point': [958.5, 752.25],
        'reference_poly': 'PIXELDIST_TO_ANGLE',
        'pixeldist_to_angle_poly': [0.0, 1.0565e-3, 3.37e-8, -9.5e-11, 1.65e-13, -6.9e-17],
        'angle_to_pixeldist_poly': [0.0, 945.1, -14.9, 35.6, -77.3, 32.0],
        'max_angle': 1.35,
        'linear_cde': [1.0, 0.0, 0.001],
        'external_distortion_parameters': {
            'reference_poly': 'BACKWARD',
            'horizontal_poly': [0.0, 1.0, 0.0],
            'vertical_poly': [0.0, 0.0, 1.0],
            'horizontal_poly_inverse': [0.001, 1.0, 0.0],
            'vertical_poly_inverse': [0.002, 0.0, 1.0],
        },
    },
)
PINHOLE = parse_camera_model(
    'opencv-pinhole',
    {
        'resolution': [1280, 720],
        'shutter_type': 'GLOBAL',
        'principal_point': [640.5, 360.5],
        'focal_length': [700.0, 710.0],
        'radial_coeffs': [0.1, 0.01, 0.001, 0.2, 0.02, 0.002],
        'tangential_coeffs': [0.003, -0.004],
        'thin_prism_coeffs': [1e-4, 2e-4, 3e-4, 4e-4],
    },
)
FISHEYE = parse_camera_model(
    'opencv-fisheye',
    {
        'resolution': [1000, 800],
        'shutter_type': 'ROLLING_LEFT_TO_RIGHT',
        'principal_point': [499.5, 399.5],
        'focal_length': [300.0, 301.0],
        'radial_coeffs': [0.01, -0.002, 0.0, 0.0],
        'max_angle': 1.6,
    },
)

FTHETA_PARAM = field(
    2,
    double(1, 958.5)
    + double(2, 752.25)
    + number(3, 1)
    + doubles(4, [0.0, 1.0565e-3, 3.37e-8, -9.5e-11, 1.65e-13, -6.9e-17])
    + doubles(5, [0.0, 945.1, -14.9, 35.6, -77.3, 32.0])
    + double(6, 1.35)
    + field(7, double(1, 1.0) + double(3, 0.001)),
)
GLASS = field(
    10,
    number(1, 1)
    + doubles(2, [0.0, 1.0, 0.0])
    + doubles(3, [0.0, 0.0, 1.0])
    + doubles(4, [0.001, 1.0, 0.0])
    + doubles(5, [0.002, 0.0, 1.0]),
)
PINHOLE_PARAM = field(
    3,
    double(1, 640.5)
    + double(2, 360.5)
    + double(3, 700.0)
    + double(4, 710.0)
    + doubles(5, [0.1, 0.01, 0.001, 0.2, 0.02, 0.002])
    + doubles(6, [0.003, -0.004])
    + doubles(7, [1e-4, 2e-4, 3e-4, 4e-4]),
)
FISHEYE_PARAM = field(
    4,
    double(1, 499.5)
    + double(2, 399.5)
    + double(3, 300.0)
    + double(4, 301.0)
    + doubles(5, [0.01, -0.002, 0.0, 0.0])
    + double(6, 1.6),
)


def encoded(model, t_us, *, with_tracks=False, **options):
    builder = RequestBuilder(scene(model), RenderOptions(**options))
    request = builder.build('clipgt-1', 'camera_front', t_us * 1000, with_tracks=with_tracks)
    return request.SerializeToString()


T_US = T0_US + 2_000_000
INSTANT = (T_US, T_US)
# The end of the one recorded exposure.
SHOT_US = T0_US + 1_000_000
STILL = [1.0, 0.0, 0.0, 0.0]
PAIR = field(1, pose([5.0, 1.97, 0.5], STILL)) + field(2, pose([5.0, 2.0, 0.5], STILL))
VIEW = field(
    3,
    double(1, 960.0)
    + double(2, 540.0)
    + double(3, 960.0 / math.tan(math.radians(90.0) / 2))
    + double(4, 960.0 / math.tan(math.radians(90.0) / 2))
    + doubles(5, [0.0] * 6)
    + doubles(6, [0.0] * 2)
    + doubles(7, [0.0] * 4),
)
FTHETA_SPEC = spec(FTHETA_PARAM, 1920, 1080, 1, GLASS)
PINHOLE_SPEC = spec(PINHOLE_PARAM, 1280, 720, 5)
FISHEYE_SPEC = spec(FISHEYE_PARAM, 1000, 800, 2)


@pytest.mark.parametrize(
    ('model', 't_us', 'options', 'expected'),
    [
        pytest.param(
            FTHETA,
            T_US,
            {'resolution_scale': 0.25},
            request((480, 270), FTHETA_SPEC, (T_US, T_US + 1), of=INSTANT),
            id='an instant, through a windshield',
        ),
        pytest.param(
            PINHOLE,
            SHOT_US,
            {'resolution_scale': 1.0, 'shutter': 'recorded', 'image_format': 'png'},
            request((1280, 720), PINHOLE_SPEC, (SHOT_US - 30_000, SHOT_US), image_format=1),
            id='a recorded exposure, as PNG',
        ),
        pytest.param(
            FISHEYE,
            LAST_US,
            {'resolution_scale': 0.5, 'image_format': 'rgb', 'image_quality': 1},
            request(
                (500, 400),
                FISHEYE_SPEC,
                (LAST_US - 1, LAST_US),
                of=(LAST_US, LAST_US),
                image_format=4,
                quality=1.0,
            ),
            id='planes, at the end of the range',
        ),
        pytest.param(
            FTHETA,
            T_US,
            {'projection': 'pinhole'},
            request((480, 270), spec(VIEW, 1920, 1080, 1), (T_US, T_US + 1), of=INSTANT),
            id='a pinhole view',
        ),
        pytest.param(
            PINHOLE,
            SHOT_US,
            {'shutter': 'recorded', 'with_tracks': True},
            request(
                (320, 180),
                PINHOLE_SPEC,
                (SHOT_US - 30_000, SHOT_US),
                objects=field(8, field(1, b'car') + field(2, PAIR)),
            ),
            id='road users that can be placed',
        ),
    ],
)
def test_request_is_the_bytes_that_the_protocol_asks_for(model, t_us, options, expected):
    assert encoded(model, t_us, **options) == expected


def test_batch_wraps_requests_by_camera_name():
    inner = encoded(FISHEYE, T0_US)
    message = sensorsim_pb2.BatchRGBRenderRequest(
        items=[
            sensorsim_pb2.BatchRGBRenderItem(
                camera_name='camera_front',
                request=sensorsim_pb2.RGBRenderRequest.FromString(inner),
            )
        ]
    )
    assert message.SerializeToString() == field(1, field(1, b'camera_front') + field(2, inner))


def test_replies_are_read_by_their_numbers():
    image = field(1, b'\xff\xd8 bytes')
    unknown = number(77, 5)  # what a newer server may add is skipped
    alone = sensorsim_pb2.RGBRenderReturn.FromString(image + unknown)
    assert alone.image_bytes == b'\xff\xd8 bytes'
    item = field(1, b'a') + field(2, image) + number(3, 1) + field(4, b'why') + unknown
    found = sensorsim_pb2.BatchRGBRenderReturn.FromString(field(1, item)).items[0]
    assert (found.camera_name, found.success, found.error_message) == ('a', True, 'why')
    assert found.result.image_bytes == b'\xff\xd8 bytes'


def test_the_scene_of_this_test_is_what_a_scenario_is():
    assert vars(scene(PINHOLE)).keys() <= Scenario.__dataclass_fields__.keys()
    assert callable(Trajectory.at)


# --- messages that are missing, or that the runtime refuses: one sentence ------------------------

# What Humble's protoc 3.12 writes of a field, and runtimes from 4 on refuse.
OLD = """
from google.protobuf import descriptor as _descriptor
_descriptor.FieldDescriptor(
    name='x', full_name='x', index=0, number=1, type=9, cpp_type=9, label=1,
    has_default_value=False, default_value='', message_type=None, enum_type=None,
    containing_type=None, is_extension=False, extension_scope=None)
"""
# What generators newer than the runtime write.
NEW = """
class VersionError(Exception):
    pass
raise VersionError('Detected incompatible versions: gencode 99.1 runtime 7.3. See the web.')
"""
REMEDY = 'build nurec_ros again on this machine (`colcon build`, or `make setup`)'


def test_a_command_says_it_in_one_line():
    code = (
        f"import runpy, sys; sys.modules['{protos.__name__}.common_pb2'] = None;"
        "runpy.run_module('nurec_ros.cli.probe', run_name='__main__')"
    )
    command = [sys.executable, '-c', code, '--usdz', 'none.usdz']
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr == f'nurec_probe: the protobuf messages are not generated: {REMEDY}\n'


class Spoiled(Loader):
    """Finds one module, which holds some text."""

    def __init__(self, name, text):
        self._name, self._text = name, text

    def find_spec(self, name, path=None, target=None):
        return spec_from_loader(name, self) if name == self._name else None

    def exec_module(self, module):
        exec(self._text, vars(module))


def imported_anew(monkeypatch, missing='', *, spoiled=''):
    """Import protobuf and the messages once more, one module missing or holding another text."""
    for name in list(sys.modules):
        if name.startswith(('google.protobuf', protos.__name__)):
            monkeypatch.delitem(sys.modules, name)
    if missing:
        monkeypatch.setitem(sys.modules, missing, None)
    if spoiled:
        finder = Spoiled(f'{protos.__name__}.common_pb2', spoiled)
        monkeypatch.setattr(sys, 'meta_path', [finder, *sys.meta_path])
    with pytest.raises(ConfigurationError) as caught:
        importlib.import_module(protos.__name__)
    return str(caught.value)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        (OLD, 'TypeError: Descriptors cannot be created directly'),
        (NEW, 'VersionError: Detected incompatible versions: gencode 99.1 runtime 7.3'),
    ],
)
def test_messages_of_another_generator(monkeypatch, text, words):
    assert f'({words}): {REMEDY}' in imported_anew(monkeypatch, spoiled=text)


def test_implementation_that_the_runtime_does_not_have_is_named(monkeypatch):
    monkeypatch.setenv('PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION', 'rust')
    said = imported_anew(monkeypatch)
    assert said.startswith("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION is 'rust' in the environment")
    assert said.endswith(': unset it')


def test_messages_that_were_not_generated(monkeypatch):
    said = imported_anew(monkeypatch, f'{protos.__name__}.common_pb2')
    assert said == f'the protobuf messages are not generated: {REMEDY}'


@pytest.mark.parametrize('missing', ['google', 'google.protobuf'])
def test_without_protobuf(monkeypatch, missing):
    said = imported_anew(monkeypatch, missing)
    assert said.startswith('protobuf is not installed: ')
    assert said.endswith(REMEDY)
