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
"""Names of topics and frames: legal, unique, prefixed where they should be."""

from typing import Any

from hypothesis import given, settings, strategies
from nurec_ros.errors import ConfigurationError
from nurec_ros.ros.names import FrameNames, topic_name, topic_names
import pytest

SIX = [
    'camera_front_wide_120fov',
    'camera_front_tele_30fov',
    'camera_cross_left_120fov',
    'camera_cross_right_120fov',
    'camera_rear_left_70fov',
    'camera_rear_right_70fov',
]


@pytest.mark.parametrize('name', [*SIX, 'a', 'A1', 'cam_0', 'Front'])
def test_a_legal_name_stays(name: str):
    assert topic_name(name) == name


@pytest.mark.parametrize(
    ('name', 'token'),
    [
        ('camera:front:wide', 'camera_front_wide'),
        ('front camera', 'front_camera'),
        ('0_front', 'camera_0_front'),
        ('_hidden', 'hidden'),
        ('a__b', 'a_b'),
        ('a/b', 'a_b'),
        ('vorne@köln', 'vorne_k_ln'),
        ('', 'camera'),
        ('~', 'camera'),
    ],
)
def test_an_illegal_name_is_mended(name: str, token: str):
    assert topic_name(name) == token


def test_names_that_collide_get_numbers_and_legal_ones_keep_theirs():
    assert topic_names(['a b', 'a_b', 'a:b']) == {'a b': 'a_b_2', 'a_b': 'a_b', 'a:b': 'a_b_3'}


def test_no_camera_takes_a_known_frame_or_anothers_optical_one():
    tokens = topic_names(['map', 'base_link', 'a', 'a_optical_frame'])
    assert tokens['map'] == 'map_2'
    assert tokens['base_link'] == 'base_link_2'
    assert tokens['a_optical_frame'] == 'a_optical_frame_2'


@settings(max_examples=200, deadline=None)
@given(strategies.lists(strategies.text(max_size=12), unique=True, max_size=8))
def test_any_names_give_legal_and_different_topics_and_frames(names: list[str]):
    tokens = topic_names(names)
    assert list(tokens) == names
    frames = FrameNames.create(cameras=names)
    assert len(frames.names()) == 3 + 2 * len(names)
    for token in tokens.values():
        assert token.isascii()
        assert token.replace('_', 'a').isalnum()
        assert token[0].isalpha()


@pytest.mark.ros
@pytest.mark.parametrize('name', ['camera:front', '0', 'a b', '~/x', '{}', '_a', 'é'])
def test_ros_takes_every_mended_name(node: Any, name: str):
    from std_msgs.msg import Empty

    publisher = node.create_publisher(Empty, f'~/{topic_name(name)}/image_raw', 1)
    assert publisher.topic_name.startswith('/nurec/')


def test_the_default_frames():
    frames = FrameNames.create(cameras=SIX)
    assert (frames.map_frame, frames.base_frame, frames.odom_frame, frames.earth_frame) == (
        'map',
        'base_link',
        '',
        'earth',
    )
    assert frames.parent == 'map'
    assert frames.body(SIX[0]) == SIX[0]
    assert frames.optical(SIX[0]) == f'{SIX[0]}_optical_frame'
    assert frames.token(SIX[0]) == SIX[0]


def test_the_prefix_goes_before_all_but_the_map():
    frames = FrameNames.create(
        map_frame='world', base_frame='rig', odom_frame='odo', prefix='p2/', cameras=['a b']
    )
    assert (frames.map_frame, frames.base_frame, frames.odom_frame, frames.earth_frame) == (
        'world',
        'p2/rig',
        'p2/odo',
        'earth',
    )
    assert frames.parent == 'p2/odo'
    assert frames.body('a b') == 'p2/a_b'
    assert frames.optical('a b') == 'p2/a_b_optical_frame'


@pytest.mark.parametrize(
    'names',
    [
        {'map_frame': 'x', 'base_frame': 'x'},
        {'odom_frame': 'map'},
        {'map_frame': 'earth'},
        {'base_frame': 'front', 'cameras': ['front']},
        {'odom_frame': 'front_optical_frame', 'cameras': ['front']},
    ],
)
def test_two_frames_of_one_name_are_refused(names: dict[str, Any]):
    with pytest.raises(ConfigurationError, match="two frames would be called '"):
        FrameNames.create(**names)


def test_a_camera_that_was_not_announced_is_mended_alone():
    assert FrameNames().body('a b') == 'a_b'
