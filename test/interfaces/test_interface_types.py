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
import re
import subprocess
import sys

import pytest

INTERFACES = Path(__file__).resolve().parents[2] / 'interfaces'

pytest.importorskip('rclpy', reason='the interfaces are built against the ROS 2 wheels')

DEFINITIONS = sorted(
    f'{path.parents[1].name}/{path.parent.name}/{path.stem}'
    for kind in ('msg', 'srv')
    for path in INTERFACES.glob(f'*/{kind}/*.{kind}')
)
MESSAGES = [name for name in DEFINITIONS if '/msg/' in name]
SERVICES = [name for name in DEFINITIONS if '/srv/' in name]
# The field lists that the distributions' packages have, in order, where no hash is published.
FIELDS = {
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

# What the distributions' packages were built with: <name>.json in their share folders. Those of
# tf2_msgs and ackermann_msgs are of Jazzy, as CARLA's tests hold them against its own types
# (GoldenValuesMatchCanonicalPackages); those of ackermann_msgs stand as well in a published copy
# of /opt/ros/jazzy/share (ruredot/opt-ros-jazzy-share).
HASHES = {
    'tf2_msgs/msg/TFMessage': 'e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087',
    'ackermann_msgs/msg/AckermannDrive': (
        'acf287a224a947dd1b0b87d6d76cdb73f497b0237b8fc73be2173b2ebbb82c99'
    ),
    'ackermann_msgs/msg/AckermannDriveStamped': (
        '48ca7612a08d3bb72744fd98b71b7cf2ea24c6ad50fa4e1aa0bbad963c90d8cf'
    ),
    **{
        f'rosbag2_interfaces/srv/{name}': value
        for name, value in (
            ('GetRate', 'c4f24894657b45b0cca8c720ce039924cfa1a5b8baa7d1ffd94881812d8700eb'),
            ('IsPaused', 'c4d007c4a9ca1a76729d96b81c20db85b88b454eee371c0d8afe3aa31b899a40'),
            ('Pause', 'b101e6aaf344c37f1405f5a1f484fee1c7d2acc61c6f04aeb636e9ab3f51a497'),
            ('PlayNext', '2b397d59555ce383e6af4b4e43142934ad4b208bd7da01409d472f1fa481d45b'),
            ('Resume', 'fb4a116a8bdfc09c4c9f48df3b295d1f546053b4bb145bcbd4c92e7eef9896b8'),
            ('Seek', '6e9b6b38c44f111e36e43903da565fb2775ab0f0e69c02169a5fb0f130b23eb4'),
            ('SetRate', '571e1d5335cc99a8e4132c46e4ea9bf873e85c39f23d375146cb7d249d939629'),
            ('TogglePaused', 'c4382ba5856616caf3fb7b3ecffd0eb244015814861263ccc8241b2f6c9463ae'),
        )
    },
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


@pytest.mark.parametrize('name', FIELDS)
def test_message_has_the_distributions_fields(name):
    assert _fields(_interface(name)) == FIELDS[name]


def test_every_definition_is_that_of_the_distributions():
    """By its hash, which is one of all that it holds, or by its fields."""
    assert sorted([*FIELDS, *HASHES]) == DEFINITIONS


def _described_hash(name):
    """Return the hash in the description that is installed beside a definition."""
    package, kind, base = name.split('/')
    if not _built_by_us(package):
        pytest.skip(f'{package} comes from the distribution')
    description = Path(sys.prefix) / 'share' / package / kind / f'{base}.json'
    hashes = json.loads(description.read_text())['type_hashes']
    return next(entry['hash_string'] for entry in hashes if entry['type_name'] == name)


@pytest.mark.parametrize('name', MESSAGES)
def test_type_hash_is_what_another_implementation_computes(name, node):
    """Let rosbags compute the hash from the definition's text; compare it with the one on DDS."""
    typesys = pytest.importorskip('rosbags.typesys')
    store = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
    for path in sorted(INTERFACES.glob('*/msg/*.msg')):
        type_name = f'{path.parents[1].name}/msg/{path.stem}'
        types = typesys.get_types_from_msg(path.read_text(), type_name)
        store.fielddefs.pop(type_name, None)
        store.types.pop(type_name, None)
        store.register(types)
    expected = store.hash_rihs01(name)
    assert _described_hash(name) == expected

    node.create_publisher(_interface(name), '/typed', 1)
    (publisher,) = node.get_publishers_info_by_topic('/typed')
    assert publisher.topic_type == name
    version, value = publisher.topic_type_hash.version, bytes(publisher.topic_type_hash.value)
    assert f'RIHS{version:02}_{value.hex()}' == expected


@pytest.mark.parametrize('name', HASHES)
def test_type_hash_is_that_of_the_distributions(name):
    assert _described_hash(name) == f'RIHS01_{HASHES[name]}'


@pytest.mark.parametrize('name', MESSAGES)
def test_message_arrives_as_it_was_sent(name, node, listener):
    """Send the message with something in every field, through Fast DDS's type support."""
    kind = _interface(name)
    sent = _filled(kind)
    received = listener.listen(kind, '/sent')
    publisher = node.create_publisher(kind, '/sent', 1)
    listener.until(publisher.get_subscription_count, 'the subscription')
    publisher.publish(sent)
    listener.until(lambda: received, 'the message')
    assert received == [sent]
    assert sent != kind()


def _filled(kind):
    """Return a message with another value than the default in each of its fields."""
    message = kind()
    for count, (field, type_name) in enumerate(_fields(message).items(), 1):
        nested = re.fullmatch(r'(sequence<)?(\w+)/(\w+)>?', type_name)
        if nested:
            sequence, package, base = nested.groups()
            value = _filled(_interface(f'{package}/msg/{base}'))
            setattr(message, field, [value] if sequence else value)
        elif type_name == 'string':
            setattr(message, field, f'text {count}')
        elif not type_name.endswith(']'):
            setattr(message, field, type(getattr(message, field))(count))
    return message


def test_colcon_passes_the_interfaces_by():
    """A workspace with this repository must not shadow a distribution's packages."""
    assert (INTERFACES / 'COLCON_IGNORE').is_file()


def test_no_type_makes_the_middleware_complain():
    """Publish, subscribe and serve every type, in a process whose output is seen."""
    code = f"""
import importlib, rclpy
rclpy.init()
node = rclpy.create_node('quiet')
for name in {MESSAGES}:
    package, kind, base = name.split('/')
    message = getattr(importlib.import_module(package + '.' + kind), base)
    node.create_publisher(message, '/quiet/' + base, 1)
    node.create_subscription(message, '/quiet/' + base, lambda _: None, 1)
services = importlib.import_module('rosbag2_interfaces.srv')
for name in {[name.rpartition('/')[2] for name in SERVICES]}:
    node.create_service(getattr(services, name), '/quiet/' + name, lambda _, answer: answer)
    node.create_client(getattr(services, name), '/quiet/' + name)
rclpy.shutdown()
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ''
