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
"""The interface packages of interfaces/: right types, right wire format."""

import importlib
import json
from pathlib import Path
import sys

import pytest

INTERFACES = Path(__file__).resolve().parents[2] / 'interfaces'

pytest.importorskip('rclpy', reason='the interfaces are built against the ROS 2 wheels')

# The field lists that the packages of the ROS distributions have, in order.
MESSAGES = {
    'tf2_msgs/msg/TFMessage': {'transforms': 'sequence<geometry_msgs/TransformStamped>'},
    'vision_msgs/msg/Detection3DArray': {
        'header': 'std_msgs/Header',
        'detections': 'sequence<vision_msgs/Detection3D>',
    },
    'vision_msgs/msg/Detection3D': {
        'header': 'std_msgs/Header',
        'results': 'sequence<vision_msgs/ObjectHypothesisWithPose>',
        'bbox': 'vision_msgs/BoundingBox3D',
        'id': 'string',
    },
    'vision_msgs/msg/ObjectHypothesisWithPose': {
        'hypothesis': 'vision_msgs/ObjectHypothesis',
        'pose': 'geometry_msgs/PoseWithCovariance',
    },
    'vision_msgs/msg/ObjectHypothesis': {'class_id': 'string', 'score': 'double'},
    'vision_msgs/msg/BoundingBox3D': {
        'center': 'geometry_msgs/Pose',
        'size': 'geometry_msgs/Vector3',
    },
}
SERVICES = {
    'Pause': ({}, {}),
    'Resume': ({}, {}),
    'TogglePaused': ({}, {}),
    'IsPaused': ({}, {'paused': 'boolean'}),
    'GetRate': ({}, {'rate': 'double'}),
    'SetRate': ({'rate': 'double'}, {'success': 'boolean'}),
    'Seek': ({'time': 'builtin_interfaces/Time'}, {'success': 'boolean'}),
    'PlayNext': ({}, {'success': 'boolean'}),
}


def _interface(name):
    package, kind, base = name.split('/')
    return getattr(importlib.import_module(f'{package}.{kind}'), base)


def _built_by_us(package):
    folder = Path(importlib.import_module(package).__file__).resolve()
    return Path(sys.prefix).resolve() in folder.parents


def _fields(message):
    fields = dict(message.get_fields_and_field_types())
    fields.pop('structure_needs_at_least_one_member', None)
    return fields


@pytest.mark.parametrize('name', MESSAGES)
def test_message_has_the_distributions_fields(name):
    assert _fields(_interface(name)) == MESSAGES[name]


@pytest.mark.parametrize('name', SERVICES)
def test_service_has_the_distributions_fields(name):
    service = _interface(f'rosbag2_interfaces/srv/{name}')
    assert (_fields(service.Request), _fields(service.Response)) == SERVICES[name]


def test_every_definition_is_tested():
    found = {
        f'{path.parents[1].name}/{path.parent.name}/{path.stem}'
        for kind in ('msg', 'srv')
        for path in INTERFACES.glob(f'*/{kind}/*.{kind}')
    }
    assert found == {*MESSAGES, *(f'rosbag2_interfaces/srv/{name}' for name in SERVICES)}


@pytest.mark.parametrize('name', MESSAGES)
def test_type_hash_is_what_another_implementation_computes(name):
    """Let rosbags compute the hash from the definition's text, and compare."""
    typesys = pytest.importorskip('rosbags.typesys')
    package, kind, base = name.split('/')
    if not _built_by_us(package):
        pytest.skip(f'{package} comes from the distribution')
    store = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
    for path in sorted(INTERFACES.glob('*/msg/*.msg')):
        type_name = f'{path.parents[1].name}/msg/{path.stem}'
        types = typesys.get_types_from_msg(path.read_text(), type_name)
        store.fielddefs.pop(type_name, None)
        store.types.pop(type_name, None)
        store.register(types)
    description = Path(sys.prefix) / 'share' / package / kind / f'{base}.json'
    hashes = {
        entry['type_name']: entry['hash_string']
        for entry in json.loads(description.read_text())['type_hashes']
    }
    assert hashes[name] == store.hash_rihs01(name)


def test_tf_message_has_the_hash_of_the_distributions():
    if not _built_by_us('tf2_msgs'):
        pytest.skip('tf2_msgs comes from the distribution')
    description = Path(sys.prefix) / 'share' / 'tf2_msgs' / 'msg' / 'TFMessage.json'
    assert json.loads(description.read_text())['type_hashes'][0]['hash_string'] == (
        'RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087'
    )


def test_colcon_passes_the_interfaces_by():
    """A workspace with this repository must not shadow a distribution's packages."""
    assert (INTERFACES / 'COLCON_IGNORE').is_file()
