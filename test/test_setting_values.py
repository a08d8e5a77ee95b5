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
"""What our own validator lets pass, value by value, without a node."""

import array
import math

from nurec_ros.errors import ConfigurationError
from nurec_ros.setting_values import check_together, convert, describe, Spec
from nurec_ros.settings import CAMERA_TABLE, TABLE
import pytest

SPECS = {spec.name: spec for spec in TABLE}
CAMERA_SPECS = {spec.name: spec for spec in CAMERA_TABLE}


def converted(name: str, value: object) -> object:
    return convert(SPECS[name], name, value)


def refusal(name: str, value: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        converted(name, value)
    return str(caught.value)


@pytest.mark.parametrize(
    ('name', 'value', 'expected'),
    [
        ('rate', 2, 2.0),
        ('rate', 0.01, 0.01),
        ('rate', 100, 100.0),
        ('tick_us', 1, 1),
        ('tick_us', 3_600_000_000, 3_600_000_000),
        ('loop', True, True),
        ('scene_id', 1234, '1234'),
        ('scene_id', 2.5, '2.5'),
        ('scene_id', '', ''),
        ('image_format', 'png', 'png'),
        ('rig_offset', [0, 0, 1, 0, 0, 90], (0.0, 0.0, 1.0, 0.0, 0.0, 90.0)),
        ('rig_offset', array.array('q', [1, 2, 3, 4, 5, 6]), (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)),
        ('rig_offset', (0.5,) * 6, (0.5,) * 6),
        ('cameras', ['a', 'b'], ('a', 'b')),
        ('cameras', [1, 2], ('1', '2')),
        ('odom_frame', '', ''),
        ('frame_prefix', 'ego2/', 'ego2/'),
        ('base_frame', 'robot/base', 'robot/base'),
    ],
)
def test_a_right_value_comes_in_the_tables_type(name: str, value: object, expected: object):
    result = converted(name, value)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize('value', [None, [], (), [''], array.array('q'), array.array('d')])
def test_no_cameras_in_any_spelling_means_all(value: object):
    assert converted('cameras', value) == ('',)


@pytest.mark.parametrize(
    ('value', 'found'),
    [
        (0.0099, '0.0099'),
        (100.00001, '100.00001'),
        (math.nan, 'nan'),
        (math.inf, 'inf'),
        (True, 'true (a boolean)'),
        ('2', "'2'"),
        ([1.0], '[1.0]'),
        (None, 'unset'),
    ],
)
def test_a_wrong_rate_is_refused_with_the_range(value: object, found: str):
    assert refusal('rate', value) == f"parameter 'rate' is {found}; expected a number, 0.01 to 100"


@pytest.mark.parametrize(
    ('name', 'value', 'sentence'),
    [
        ('tick_us', 0, "parameter 'tick_us' is 0; expected an integer, 1 to 3600000000"),
        ('tick_us', 1e5, "parameter 'tick_us' is 100000.0; expected an integer, 1 to 3600000000"),
        ('tick_us', True, 'is true (a boolean); expected an integer, 1 to 3600000000'),
        ('loop', 1, "parameter 'loop' is 1; expected true or false"),
        ('loop', None, "parameter 'loop' is unset; expected true or false"),
        ('scene_id', False, "parameter 'scene_id' is false (a boolean); expected a string"),
        ('scene_id', ['a'], "parameter 'scene_id' is ['a']; expected a string"),
        ('image_format', 'JPEG', "is 'JPEG'; expected one of jpeg, png, rgb"),
        ('mode', 3, 'is 3; expected one of realtime, lockstep'),
        ('cameras', 'front', "is 'front'; expected a list of strings such as ['a', 'b']"),
        ('cameras', [True], "is [true]; expected a list of strings such as ['a', 'b']"),
        ('cameras', [b'a'], "expected a list of strings such as ['a', 'b']"),
        ('rig_offset', [], 'is an empty list; expected a list of 6 finite numbers'),
        ('rig_offset', [math.nan] + [0.0] * 5, 'expected a list of 6 finite numbers'),
        ('rig_offset', [10**400] + [0.0] * 5, 'expected a list of 6 finite numbers'),
        ('rig_offset', [True] * 6, 'expected a list of 6 finite numbers'),
        ('rig_offset', ['1'] * 6, 'expected a list of 6 finite numbers'),
        ('rig_offset', 1.0, 'is 1.0; expected a list of 6 finite numbers'),
        ('rig_offset', None, 'is unset; expected a list of 6 finite numbers'),
        ('map_frame', '', "parameter 'map_frame' is ''; expected a frame name"),
        ('base_frame', '/base_link', "is '/base_link'; expected a frame name without blanks"),
        ('odom_frame', 'a b', "is 'a b'; expected a frame name without blanks"),
        ('frame_prefix', '/p', "is '/p'; expected a frame name"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(name: str, value: object, sentence: str):
    message = refusal(name, value)
    assert sentence in message
    assert message.startswith(f"parameter '{name}' is ")
    assert '\n' not in message


def test_a_camera_has_a_value_for_the_general_one_beside_its_range():
    scale, rate = CAMERA_SPECS['resolution_scale'], CAMERA_SPECS['rate']
    assert convert(scale, 'front.resolution_scale', 0) == 0.0
    assert convert(scale, 'front.resolution_scale', 2) == 2.0
    assert convert(rate, 'front.rate', -1) == -1.0
    assert convert(rate, 'front.rate', 0) == 0.0
    for value in (0.005, -1, 2.01):
        with pytest.raises(
            ConfigurationError, match=r"'front\.resolution_scale'.*0, or 0\.01 to 2"
        ):
            convert(scale, 'front.resolution_scale', value)
    for value in (-0.5, -2, 1001):
        with pytest.raises(ConfigurationError, match=r"'front\.rate' is .*-1, or 0 to 1000"):
            convert(rate, 'front.rate', value)


def test_long_values_are_shortened():
    assert len(refusal('image_format', 'x' * 10_000)) < 200
    assert len(refusal('rig_offset', [1.5] * 10_000)) < 200
    assert describe('') == "''"


def frames(**changes: str) -> dict[str, object]:
    return {**{name: SPECS[name].default for name in SPECS}, **changes}


@pytest.mark.parametrize(
    ('changes', 'pair'),
    [
        ({'base_frame': 'map'}, "'map_frame' and 'base_frame' both name the frame 'map'"),
        ({'odom_frame': 'map'}, "'map_frame' and 'odom_frame' both name the frame 'map'"),
        ({'odom_frame': 'base_link'}, "'base_frame' and 'odom_frame' both name"),
        (
            {'frame_prefix': 'p/', 'map_frame': 'p/base_link'},
            "'map_frame' and 'base_frame' both name the frame 'p/base_link'",
        ),
    ],
)
def test_frames_must_differ(changes: dict[str, str], pair: str):
    with pytest.raises(ConfigurationError) as caught:
        check_together(frames(**changes))
    assert pair in str(caught.value)


def test_frames_that_differ_pass():
    check_together(frames())
    check_together(frames(odom_frame='odom'))
    check_together(frames(base_frame='map', frame_prefix='p/'))


@pytest.mark.parametrize('spec', [*TABLE, *CAMERA_TABLE], ids=lambda spec: spec.name)
def test_every_default_is_allowed_and_of_the_tables_type(spec: Spec):
    assert convert(spec, spec.name, spec.default) == spec.default
    assert spec.description.endswith('.')
    assert spec.applies in ('start', 'runtime', 'load')
    assert (spec.between is not None) == (spec.kind in ('int', 'double'))


AT_RUN_TIME = """
resolution_scale camera_rate lidar_rate send_tracks rig_offset rate tick_us loop velocity_arrows
trail_length_s always_render ego_source command_timeout_s max_deviation_m on_collision on_deviation
ego_wait_s
"""
AT_LOAD = 'usdz_path server scene_id scene_url cameras lidars'


@pytest.mark.parametrize(('applies', 'names'), [('runtime', AT_RUN_TIME), ('load', AT_LOAD)])
def test_what_may_change_without_a_new_start(applies: str, names: str):
    assert {spec.name for spec in TABLE if spec.applies == applies} == set(names.split())
