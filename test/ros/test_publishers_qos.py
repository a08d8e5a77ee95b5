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
"""The QoS of every publisher: as the contract says, and as parameters override it."""

from collections.abc import Callable
from pathlib import Path
import textwrap
from types import SimpleNamespace
from typing import Any

from nav_msgs.msg import Odometry
from nurec_ros.errors import ConfigurationError
from nurec_ros.ros.frames import FrameNames
from nurec_ros.ros.publishers import (
    CameraPublisher,
    ClockPublisher,
    DiagnosticsPublisher,
    EgoPublisher,
    ObjectsPublisher,
    OdometryPublisher,
    PathPublisher,
    StatePublisher,
    tf,
    TfPublisher,
    TracksPublisher,
)
from nurec_ros.ros.readers import ReaderWatch
import pytest
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from visualization_msgs.msg import MarkerArray

pytestmark = pytest.mark.ros

ROOT = Path(__file__).resolve().parents[2]
FRAMES = FrameNames.create(cameras=['front'])

VOLATILE, LATCHED = DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL
CONTRACT = {
    '/clock': ('rosgraph_msgs/msg/Clock', VOLATILE, 10),
    '/tf': ('tf2_msgs/msg/TFMessage', VOLATILE, 100),
    '/tf_static': ('tf2_msgs/msg/TFMessage', LATCHED, 1),
    '/diagnostics': ('diagnostic_msgs/msg/DiagnosticArray', VOLATILE, 10),
    '/nurec/odom': ('nav_msgs/msg/Odometry', VOLATILE, 10),
    '/nurec/path': ('nav_msgs/msg/Path', LATCHED, 1),
    '/nurec/ego': ('visualization_msgs/msg/MarkerArray', LATCHED, 1),
    '/nurec/tracks': ('visualization_msgs/msg/MarkerArray', VOLATILE, 10),
    '/nurec/objects': ('vision_msgs/msg/Detection3DArray', VOLATILE, 10),
    '/nurec/state': ('diagnostic_msgs/msg/DiagnosticStatus', LATCHED, 1),
    '/nurec/front/image_raw': ('sensor_msgs/msg/Image', VOLATILE, 10),
    '/nurec/front/image_raw/compressed': ('sensor_msgs/msg/CompressedImage', VOLATILE, 10),
    '/nurec/front/camera_info': ('sensor_msgs/msg/CameraInfo', VOLATILE, 10),
}


def publish_all(node: Any) -> list[Any]:
    made = [make(node) for make in (ClockPublisher, StatePublisher, DiagnosticsPublisher)]
    with_frames = (
        EgoPublisher,
        ObjectsPublisher,
        OdometryPublisher,
        PathPublisher,
        TfPublisher,
        TracksPublisher,
    )
    made += [make(node, FRAMES) for make in with_frames]
    return [*made, CameraPublisher(node, FRAMES, 'front', 'jpeg')]


@pytest.fixture(autouse=True)
def own_tf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf, 'TransformBroadcaster', None)


def publishers_of(node: Any) -> dict[str, Any]:
    return {publisher.topic_name: publisher for publisher in node.publishers}


def test_every_topic_has_the_contracts_type_and_qos(node: Any):
    pytest.importorskip('vision_msgs.msg')
    made = publish_all(node)
    types = dict(node.get_publisher_names_and_types_by_node('nurec', '/'))
    publishers = publishers_of(node)
    for topic, (type_name, durability, depth) in CONTRACT.items():
        assert types[topic] == [type_name]
        qos = publishers[topic].qos_profile
        assert qos.reliability == ReliabilityPolicy.RELIABLE
        assert qos.history == HistoryPolicy.KEEP_LAST
        assert (qos.durability, qos.depth) == (durability, depth)
    for publisher in made:
        publisher.destroy()
    assert not set(publishers_of(node)) & set(CONTRACT)


def test_the_middleware_says_the_same(make_node: Callable[..., Any], listener: Any):
    node = make_node(name='observed')
    publish_all(node)

    def ours(topic: str) -> list[Any]:
        infos = listener.node.get_publishers_info_by_topic(topic)
        return [info.qos_profile for info in infos if info.node_name == 'observed']

    for topic, (_, durability, _) in CONTRACT.items():
        name = topic.replace('/nurec/', '/observed/')
        (qos,) = listener.until(lambda name=name: ours(name), name)
        assert (qos.durability, qos.reliability) == (durability, ReliabilityPolicy.RELIABLE)


@pytest.mark.parametrize('topic', sorted(CONTRACT))
def test_every_publishers_qos_can_be_overridden(make_node: Callable[..., Any], topic: str):
    name = f'qos_overrides.{topic}.publisher'
    node = make_node('-p', f'{name}.depth:=3', '-p', f'{name}.reliability:=best_effort')
    publish_all(node)
    qos = publishers_of(node)[topic].qos_profile
    assert (qos.depth, qos.reliability) == (3, ReliabilityPolicy.BEST_EFFORT)
    assert qos.durability == CONTRACT[topic][1]
    others = [publishers_of(node)[other].qos_profile.reliability for other in CONTRACT]
    assert others.count(ReliabilityPolicy.BEST_EFFORT) == 1


def test_an_override_follows_a_remapped_topic(make_node: Callable[..., Any]):
    node = make_node('-r', '~/tracks:=/street', '-p', 'qos_overrides./street.publisher.depth:=4')
    TracksPublisher(node, FRAMES)
    assert publishers_of(node)['/street'].qos_profile.depth == 4


@pytest.mark.parametrize(
    'override', ['reliability:=sometimes', 'depth:=many', 'depth:=-3', 'history:=3']
)
def test_an_override_that_cannot_be_honoured_is_one_sentence(
    make_node: Callable[..., Any], override: str
):
    node = make_node('-p', f'qos_overrides./clock.publisher.{override}')
    with pytest.raises(ConfigurationError, match=r'^QoS override of /clock: ') as caught:
        ClockPublisher(node)
    assert '\n' not in str(caught.value)


def test_a_camera_that_comes_back_keeps_its_override(make_node: Callable[..., Any]):
    node = make_node('-p', 'qos_overrides./nurec/front/image_raw.publisher.depth:=2')
    for _ in range(2):
        camera = CameraPublisher(node, FRAMES, 'front', 'jpeg')
        assert publishers_of(node)['/nurec/front/image_raw'].qos_profile.depth == 2
        camera.destroy()


def test_the_documents_example_does_what_it_says(make_node: Callable[..., Any], tmp_path: Path):
    text = (ROOT / 'docs' / 'parameters.md').read_text()
    begin = text.index('    /**:')
    example = textwrap.dedent(text[begin:])
    path = tmp_path / 'qos.yaml'
    path.write_text(example[: example.index('\n\n')])
    node = make_node('--params-file', str(path))
    name = 'camera_front_wide_120fov'
    CameraPublisher(node, FrameNames.create(cameras=[name]), name, 'jpeg')
    qos = publishers_of(node)[f'/nurec/{name}/image_raw'].qos_profile
    assert (qos.depth, qos.reliability) == (1, ReliabilityPolicy.BEST_EFFORT)


def test_two_publishers_share_no_profile(node: Any):
    first, second = TracksPublisher(node, FRAMES), OdometryPublisher(node, FRAMES)
    profiles = [p._publisher.qos_profile for p in (first, second)]
    assert profiles[0] is not profiles[1]


def test_a_reader_that_gets_nothing_is_told_of_once(node: Any, listener: Any):
    """Ask for latched tracks, twice: the offer is volatile."""
    told: list[str] = []
    node.get_logger = lambda: SimpleNamespace(warning=told.append)
    TracksPublisher(node, FRAMES)
    OdometryPublisher(node, FRAMES)
    watch = ReaderWatch(node)
    received: list[Any] = []
    for topic in ('/nurec/tracks', '/nurec/odom'):
        kind = MarkerArray if topic == '/nurec/tracks' else Odometry
        listener.node.create_subscription(kind, topic, received.append, QoSProfile(depth=1))
    wrong = QoSProfile(depth=1, durability=LATCHED)
    for _ in range(2):
        listener.node.create_subscription(MarkerArray, '/nurec/tracks', received.append, wrong)
    listener.until(lambda: node.count_subscribers('/nurec/tracks') == 3, 'the readers')
    publishers = publishers_of(node)
    for topic in ('/nurec/tracks', '/nurec/odom'):
        listener.matched(publishers[topic])

    def look() -> bool:
        watch.look()
        return bool(told)

    listener.until(look, 'the warning')
    watch.look()
    (text,) = told
    assert text.startswith('/listener subscribes to /nurec/tracks with a QoS that is not offered')
    assert text.endswith('it wants transient_local durability, offered is volatile')
    assert publishers['/nurec/tracks'].get_subscription_count() == 1
