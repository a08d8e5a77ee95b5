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
"""Frames as a listener composes them: base, cameras, odom, earth."""

from test.support.recorder import Recorder
from types import SimpleNamespace
from typing import Any

import numpy as np
from nurec_ros.ros.frames import FrameNames
from nurec_ros.ros.publishers import tf, TfPublisher
import pytest
from scipy.spatial.transform import Rotation
from tf2_msgs.msg import TFMessage

pytestmark = pytest.mark.ros

S = 1_000_000_000


def matrix(rotvec: tuple, translation: tuple) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec(rotvec).as_matrix()
    T[:3, 3] = translation
    return T


T_MAP_BASE = matrix((0.02, -0.03, 1.7), (120.0, -45.0, 0.4))
# Of a camera that looks along -y of the rig: x right is -x, y down is -z, z forward is -y.
T_SIDE = np.array([[-1.0, 0, 0, 2.0], [0, 0, -1, 0.5], [0, -1, 0, 1.5], [0, 0, 0, 1]])
CAMERAS = (
    SimpleNamespace(name='front', T_rig_camera=matrix((1.2, -1.2, 1.2), (1.7, 0.0, 1.4))),
    SimpleNamespace(name='side cam', T_rig_camera=T_SIDE),
)
NAMES = [camera.name for camera in CAMERAS]


def matrix_of(transform: Any) -> np.ndarray:
    t, r = transform.translation, transform.rotation
    T = np.eye(4)
    T[:3, :3] = Rotation.from_quat([r.x, r.y, r.z, r.w]).as_matrix()
    T[:3, 3] = (t.x, t.y, t.z)
    return T


class Tree:
    """Composes transforms, each frame with one parent."""

    def __init__(self, *messages: TFMessage) -> None:
        self.parents: dict[str, tuple[str, np.ndarray]] = {}
        for message in messages:
            for stamped in message.transforms:
                assert stamped.child_frame_id not in self.parents
                self.parents[stamped.child_frame_id] = (
                    stamped.header.frame_id,
                    matrix_of(stamped.transform),
                )

    def lookup(self, target: str, source: str) -> np.ndarray:
        T = np.eye(4)
        while source != target:
            source, step = self.parents[source]
            T = step @ T
        return T


@pytest.fixture
def no_tf2_ros(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf, 'TransformBroadcaster', None)


@pytest.fixture
def published(no_tf2_ros: None) -> Any:
    def publish(earth: np.ndarray | None = None, **options: Any) -> tuple[Tree, Recorder]:
        names = options.pop('names', {})
        node = Recorder()
        frames = FrameNames.create(cameras=NAMES, **names)
        publisher = TfPublisher(node, frames, **options)
        publisher.publish_static(CAMERAS, earth, 5 * S)
        publisher.publish(5 * S, T_MAP_BASE)
        (static,) = node.topics['/tf_static'].messages
        dynamic = node.topics['/tf'].messages if '/tf' in node.topics else []
        return Tree(static, *dynamic), node

    return publish


def test_map_to_base_to_optical(published: Any):
    tree, node = published()
    np.testing.assert_allclose(tree.lookup('map', 'base_link'), T_MAP_BASE, atol=1e-12)
    for camera, frame in zip(CAMERAS, ('front', 'side_cam'), strict=True):
        optical = tree.lookup('base_link', f'{frame}_optical_frame')
        np.testing.assert_allclose(optical, camera.T_rig_camera, atol=1e-12)
        assert tree.parents[f'{frame}_optical_frame'][0] == frame
        assert tree.parents[frame][0] == 'base_link'
    assert set(tree.parents) == {
        'base_link',
        'front',
        'front_optical_frame',
        'side_cam',
        'side_cam_optical_frame',
    }
    (message,) = node.topics['/tf'].messages
    stamp = message.transforms[0].header.stamp
    assert (stamp.sec, stamp.nanosec) == (5, 0)


def test_a_camera_frame_has_body_axes(published: Any):
    tree, _ = published()
    body = tree.lookup('base_link', 'side_cam')
    forward, left, up = body[:3, :3].T
    np.testing.assert_allclose(forward, [0, -1, 0], atol=1e-12)
    np.testing.assert_allclose(left, [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(up, [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(body[:3, 3], [2.0, 0.5, 1.5], atol=1e-12)


def test_odom_is_an_identity_between_map_and_base(published: Any):
    tree, _ = published(names={'odom_frame': 'odom'})
    assert tree.parents['base_link'][0] == 'odom'
    assert tree.parents['odom'][0] == 'map'
    np.testing.assert_array_equal(tree.parents['odom'][1], np.eye(4))
    np.testing.assert_allclose(tree.lookup('map', 'base_link'), T_MAP_BASE, atol=1e-12)


def test_the_prefix_is_before_all_but_the_map(published: Any):
    tree, _ = published(names={'odom_frame': 'odom', 'prefix': 'two_'})
    assert tree.parents['two_odom'][0] == 'map'
    assert tree.parents['two_base_link'][0] == 'two_odom'
    assert tree.parents['two_front_optical_frame'][0] == 'two_front'
    assert all(child.startswith('two_') for child in tree.parents)


def test_earth_is_the_parent_of_map_where_a_matrix_is_given(published: Any):
    T = matrix((0.5, 0.2, -1.0), (3_100_000.0, 1_000_000.0, 5_460_000.0))
    tree, _ = published(earth=T)
    assert tree.parents['map'][0] == 'earth'
    np.testing.assert_allclose(tree.lookup('earth', 'map'), T, atol=1e-6)
    tree, _ = published()
    assert 'map' not in tree.parents


def test_a_stack_that_localises_itself_gets_the_cameras_alone(published: Any):
    tree, node = published(publish_tf=False, names={'odom_frame': 'odom'})
    assert '/tf' not in node.topics
    assert 'odom' not in tree.parents
    assert 'base_link' not in tree.parents
    assert 'front' in tree.parents


def test_a_stack_with_a_description_of_its_own_gets_the_ego_alone(published: Any):
    tree, _ = published(publish_camera_frames=False)
    assert set(tree.parents) == {'base_link'}


def test_many_moments_go_in_one_message(no_tf2_ros: None):
    node = Recorder()
    publisher = TfPublisher(node, FrameNames())
    poses = np.stack([matrix((0, 0, 0.1 * i), (i, 0, 0)) for i in range(3)])
    publisher.publish_many(np.array([1, S, 2 * S + 7], dtype=np.int64), poses)
    (message,) = node.topics['/tf'].messages
    stamps = [(t.header.stamp.sec, t.header.stamp.nanosec) for t in message.transforms]
    assert stamps == [(0, 1), (1, 0), (2, 7)]
    for transform, pose in zip(message.transforms, poses, strict=True):
        np.testing.assert_allclose(matrix_of(transform.transform), pose, atol=1e-12)


def test_another_scenario_replaces_the_static_message_whole(no_tf2_ros: None):
    node = Recorder()
    publisher = TfPublisher(node, FrameNames.create(cameras=NAMES))
    publisher.publish_static(CAMERAS, None, 1)
    publisher.frames = FrameNames.create(cameras=['rear'])
    moved = SimpleNamespace(name='rear', T_rig_camera=T_SIDE)
    publisher.publish_static((moved,), None, 2)
    first, second = node.topics['/tf_static'].messages
    assert len(first.transforms) == 4
    assert [t.child_frame_id for t in second.transforms] == ['rear', 'rear_optical_frame']


def test_tf2_ros_sends_tf_where_it_is_installed(monkeypatch: pytest.MonkeyPatch):
    sent = []

    class Broadcaster:
        """What tf2_ros offers."""

        def __init__(self, node: Any) -> None:
            self.node = node

        def sendTransform(self, transforms: list) -> None:  # noqa: N802
            sent.append(transforms)

    monkeypatch.setattr(tf, 'TransformBroadcaster', Broadcaster)
    node = Recorder()
    publisher = TfPublisher(node, FrameNames())
    publisher.publish(7, T_MAP_BASE)
    ((transform,),) = sent
    assert transform.child_frame_id == 'base_link'
    assert list(node.topics) == ['/tf_static']
    publisher.destroy()
    assert node.topics['/tf_static'].destroyed


def test_a_late_listener_gets_the_static_frames_and_an_early_one_both(
    no_tf2_ros: None, node: Any, listener: Any
):
    publisher = TfPublisher(node, FrameNames.create(cameras=NAMES))
    publisher.publish_static(CAMERAS, None, 3 * S)
    static = listener.listen(TFMessage, '/tf_static', latched=True)
    dynamic = listener.listen(TFMessage, '/tf')
    (message,) = listener.received(static, 1)
    assert len(message.transforms) == 4
    listener.matched(publisher._publisher)
    publisher.publish(3 * S, T_MAP_BASE)
    (message,) = listener.received(dynamic, 1)
    np.testing.assert_allclose(matrix_of(message.transforms[0].transform), T_MAP_BASE, atol=1e-12)
