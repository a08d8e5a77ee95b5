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
"""What a moment, a jump and another scenario look like on the topics; without a middleware."""

import json
from pathlib import Path
from test.support.archives import build_archive, ego_pose
from test.support.outlet import RecordingOutlet
from test.support.player_bench import BEGIN_NS, matrix_of, MS, stamp_ns
from typing import Any

import numpy as np
from nurec_ros.playback.effects import PlaybackState, Show, ShowAll, ShowJump
from nurec_ros.ros import topics
from nurec_ros.ros.topics import ScenarioTopics, StateTopic
from nurec_ros.scenario import Scenario
from nurec_ros.settings import Settings
import pytest
from visualization_msgs.msg import Marker

pytestmark = pytest.mark.ros

MOMENT_NS = BEGIN_NS + 1_000 * MS


@pytest.fixture(scope='module')
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """Return a scenario of 2 s with two cameras, three road users at its begin and a box."""
    return Scenario.load(build_archive(tmp_path_factory.mktemp('usdz'), ego_hz=100.0))


class Stage:
    """The topics of a scenario, and what went to them."""

    def __init__(self, scenario: Scenario, **settings: Any) -> None:
        self.outlet = RecordingOutlet()
        self.settings = Settings(**settings)
        self.topics = ScenarioTopics(self.outlet, lambda: self.settings, scenario)

    def shown(self, t_ns: int = BEGIN_NS) -> 'Stage':
        """Show a load, and forget that it was shown."""
        self.topics.show_jump(ShowJump(t_ns, loaded=True))
        self.outlet.published.clear()
        return self

    def static_tree(self) -> dict[str, tuple[str, np.ndarray]]:
        """Show a load, and give each static frame with its parent and its pose there."""
        self.topics.show_jump(ShowJump(BEGIN_NS, loaded=True))
        (message,) = self.outlet.messages('/tf_static')
        tree = {
            one.child_frame_id: (one.header.frame_id, matrix_of(one.transform))
            for one in message.transforms
        }
        assert len(tree) == len(message.transforms)
        return tree


@pytest.fixture
def stage(scenario: Scenario) -> Stage:
    return Stage(scenario)


# The order, and what is shown at all.


AGAIN = ['~/path', '~/ego', '/tf', '~/odom', '~/tracks', '~/objects']


def test_jumps_in_their_order(stage: Stage):
    stage.topics.show_jump(ShowJump(BEGIN_NS, loaded=True))
    assert stage.outlet.order == ['/clock', '/tf_static', *AGAIN]
    stage.shown().topics.show_jump(ShowJump(BEGIN_NS))
    # Back it clears first.
    assert stage.outlet.order == ['/clock', '~/tracks', *AGAIN]
    (deletion,) = stage.outlet.messages('~/tracks')[0].markers
    assert deletion.action == Marker.DELETEALL
    # All again is without a word about a jump.
    stage.shown().topics.show_all(ShowAll(BEGIN_NS))
    assert stage.outlet.order == AGAIN


@pytest.mark.parametrize(
    ('shown', 'expected'),
    [
        ({'clock': True}, ['/clock']),
        ({'pose': True}, ['/tf', '~/odom']),
        ({'tracks': True}, ['~/tracks', '~/objects']),
        (
            {'clock': True, 'pose': True, 'tracks': True},
            ['/clock', '/tf', '~/odom', '~/tracks', '~/objects'],
        ),
    ],
)
def test_of_a_moment_what_is_asked_for(stage: Stage, shown: dict[str, Any], expected: list[str]):
    stage.shown().topics.show(Show(MOMENT_NS, **shown))
    assert stage.outlet.order == expected


def test_nothing_costly_is_made_for_nobody(stage: Stage):
    stage.shown().outlet.subscribers = 0
    stage.topics.show(Show(MOMENT_NS, clock=True, pose=True, tracks=True))
    assert stage.outlet.order == ['/clock', '/tf']
    # A deletion goes out in any case: somebody may be about to come.
    stage.topics.delete_markers(MOMENT_NS)
    assert stage.outlet.order[2:] == ['~/tracks']


def test_a_topic_that_cannot_be_leaves_none_of_the_others(scenario: Scenario):
    outlet = RecordingOutlet()
    advertise = outlet.advertise

    def refuse(message_type: type, topic: str, qos: Any) -> Any:
        if topic == '~/tracks':
            raise ZeroDivisionError
        return advertise(message_type, topic, qos)

    outlet.advertise = refuse
    with pytest.raises(ZeroDivisionError):
        ScenarioTopics(outlet, Settings, scenario)
    assert outlet.topics
    assert not outlet.offered


def test_another_scenario(stage: Stage, tmp_path: Path):
    def without_box(document: dict[str, Any]) -> None:
        del document['rig_trajectories'][0]['rig_bbox']

    path = build_archive(tmp_path, start_us=5_000_000, cameras=('roof',), edit_rig=without_box)
    other = Scenario.load(path)
    stage.shown().topics.change(other)
    stage.topics.show_jump(ShowJump(other.start_ns, loaded=True))
    outlet = stage.outlet
    assert outlet.order[:3] == ['/clock', '~/tracks', '/tf_static']
    frames = [one.child_frame_id for one in outlet.messages('/tf_static')[0].transforms]
    assert frames == ['roof', 'roof_optical_frame']
    assert stamp_ns(outlet.messages('~/path')[0].poses[0]) == 5_000_000_000
    (deletion,) = outlet.messages('~/ego')[0].markers
    assert deletion.action == Marker.DELETEALL
    # Gone is gone: the second showing says no more about it.
    outlet.published.clear()
    stage.topics.show_all(ShowAll(other.start_ns))
    assert outlet.messages('~/ego') == []
    assert outlet.messages('/tf_static') == []


# Poses.


def test_images_stamps_are_in_the_message_of_the_moment(stage: Stage):
    times = [BEGIN_NS + offset * MS for offset in (300, 100, 300)]
    for stamps in (times, [], [BEGIN_NS + 400 * MS]):
        stage.topics.show(Show(BEGIN_NS + 400 * MS, pose=True, stamps=tuple(stamps)))
    first, *alone = stage.outlet.messages('/tf')
    assert [stamp_ns(one) - BEGIN_NS for one in first.transforms] == [100 * MS, 300 * MS, 400 * MS]
    for transform, seconds in zip(first.transforms, (0.1, 0.3, 0.4), strict=True):
        np.testing.assert_allclose(matrix_of(transform.transform), ego_pose(seconds), atol=2e-5)
    # An image at the position itself adds nothing.
    for message in alone:
        assert message.transforms == first.transforms[-1:]
    assert {stamp_ns(one) for one in stage.outlet.messages('~/odom')} == {BEGIN_NS + 400 * MS}


# Frames that do not move.


@pytest.mark.parametrize(
    ('settings', 'frames'),
    [
        # For a stack that localises itself: no odom either.
        ({'publish_tf': False, 'odom_frame': 'odom'}, 4),
        # For a stack with a robot description of its own.
        ({'publish_camera_frames': False}, 0),
        ({'publish_camera_frames': False, 'odom_frame': 'odom'}, 1),
    ],
)
def test_frames_that_others_publish_are_left_to_them(
    scenario: Scenario, settings: dict[str, Any], frames: int
):
    tree = Stage(scenario, **settings).static_tree()
    assert len(tree) == frames
    assert ('odom' in tree) == (frames == 1)


# Objects and state.


def test_without_vision_msgs_there_are_no_objects_and_no_errors(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(topics, 'Detection3DArray', None)
    stage = Stage(scenario)
    stage.topics.show(Show(MOMENT_NS, tracks=True))
    assert stage.outlet.order == ['~/tracks']
    assert '~/objects' not in stage.outlet.topics


@pytest.mark.parametrize(
    ('values', 'word'),
    [
        ({}, 'idle'),
        ({'scenario': 'x'}, 'halted'),
        ({'scenario': 'x', 'done': True}, 'done'),
        ({'scenario': 'clip "ü"', 'is_playing': True, 'new_track_ids': ('7', 'x"y')}, 'playing'),
    ],
)
def test_the_state_is_a_word_and_values_in_json(values: dict[str, Any], word: str):
    outlet = RecordingOutlet()
    StateTopic(outlet).publish(PlaybackState(**values))
    (message,) = outlet.messages('~/state')
    assert (message.name, message.level, message.message) == ('nurec: state', b'\x00', word)
    found = {one.key: json.loads(one.value) for one in message.values}
    expected = {'is_playing': False, 'done': False, 'scenario': '', 'removed_track_ids': []}
    expected |= json.loads(json.dumps(values))
    assert expected.items() <= found.items()
