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
"""Definitions of messages: complete, and those that ROS itself hashes."""

from __future__ import annotations

import json
from pathlib import Path
import sys

from nurec_ros.demo.definitions import (
    definition,
    message_class,
    message_file,
    NoDefinitionError,
    used_types,
)
import pytest
from rosbags.typesys import get_types_from_msg, get_typestore, Stores

# Every type that the player publishes, and what ROS adds.
TYPES = [
    'diagnostic_msgs/msg/DiagnosticArray',
    'diagnostic_msgs/msg/DiagnosticStatus',
    'nav_msgs/msg/Odometry',
    'nav_msgs/msg/Path',
    'rcl_interfaces/msg/Log',
    'rosgraph_msgs/msg/Clock',
    'sensor_msgs/msg/CameraInfo',
    'sensor_msgs/msg/CompressedImage',
    'sensor_msgs/msg/Image',
    'tf2_msgs/msg/TFMessage',
    'vision_msgs/msg/Detection3DArray',
    'visualization_msgs/msg/MarkerArray',
]


@pytest.mark.parametrize('name', TYPES)
def test_text_hashes_to_what_ros_installed(name: str):
    try:
        python_type = message_class(name)
    except ImportError:
        pytest.skip(f'{name} is not installed')
    assert python_type.__name__ == name.rpartition('/')[2]
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(definition(name), name))
    description = message_file(name).with_suffix('.json')
    if not description.exists():
        pytest.skip('before type descriptions')
    hashes = {
        entry['type_name']: entry['hash_string']
        for entry in json.loads(description.read_text())['type_hashes']
    }
    assert store.hash_rihs01(name) == hashes[name]


def test_a_type_used_twice_is_given_once_and_the_main_one_first():
    text = definition('nav_msgs/msg/Path')
    parts = text.split('=' * 80 + '\n')
    assert 'poses' in parts[0]
    heads = [part.splitlines()[0] for part in parts[1:]]
    assert heads[0].startswith('MSG: ')
    assert len(set(heads)) == len(heads)
    assert {
        'MSG: std_msgs/Header',
        'MSG: builtin_interfaces/Time',
        'MSG: geometry_msgs/PoseStamped',
        'MSG: geometry_msgs/Quaternion',
    } <= set(heads)


def test_fields_of_every_form_are_understood():
    text = """
# std_msgs/Fake comment
int32 X=5
string<=10 name
string[<=4] names
float64[9] k
wstring w "default text"
Header header
Time stamp # not std_msgs/Other
geometry_msgs/Point[] points
other_msgs/Thing[<=3] things
Local  local
"""
    assert used_types(text, 'mine') == [
        'std_msgs/msg/Header',
        'mine/msg/Time',
        'geometry_msgs/msg/Point',
        'other_msgs/msg/Thing',
        'mine/msg/Local',
    ]


def test_what_is_nowhere_is_said_with_the_places(tmp_path: Path, monkeypatch):
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    with pytest.raises(NoDefinitionError) as caught:
        definition('no_msgs/msg/Thing')
    assert str(tmp_path / 'share/no_msgs/msg/Thing.msg') in str(caught.value)
    assert str(Path(sys.prefix) / 'share/no_msgs/msg/Thing.msg') in str(caught.value)


def test_a_workspace_comes_before_the_environment(tmp_path: Path, monkeypatch):
    file = tmp_path / 'share/std_msgs/msg/String.msg'
    file.parent.mkdir(parents=True)
    file.write_text('string data\nint8 more\n')
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'/nowhere:{tmp_path}')
    assert definition('std_msgs/msg/String') == 'string data\nint8 more\n'
