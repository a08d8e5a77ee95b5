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
"""Names of topics and frames, and the graph as the place where messages go: QoS, who is there."""

from collections.abc import Callable
from pathlib import Path
from test.scenario.test_road_map import earth_pose, road, xodr
from test.support.archives import build_archive
import textwrap
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings, strategies
from nav_msgs.msg import Odometry
from nurec_ros.errors import ConfigurationError
from nurec_ros.playback.effects import Show
from nurec_ros.ros import outlet
from nurec_ros.ros.names import EARTH, frame_names, topic_name, topic_names
from nurec_ros.ros.outlet import Graph, latched, reliable
from nurec_ros.ros.sensor_topics import CameraTopics
from nurec_ros.ros.topics import ScenarioTopics, StateTopic
from nurec_ros.scenario import Scenario
from nurec_ros.scenario.cameras import PinholeCamera
from nurec_ros.settings import Settings
import pytest
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    qos_profile_sensor_data,
    QoSProfile,
    ReliabilityPolicy,
)
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Empty
from visualization_msgs.msg import MarkerArray

pytestmark = pytest.mark.ros

ROOT = Path(__file__).resolve().parents[2]
MODEL = PinholeCamera(resolution=(64, 48), principal_point=(31.0, 24.0), focal_length=(50.0, 50.0))

# Names.


@pytest.mark.parametrize(
    ('name', 'token'),
    [
        *((name, name) for name in ('camera_front_wide_120fov', 'a', 'A1', 'cam_0', 'Front')),
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
def test_a_legal_name_stays_and_another_is_mended(name: str, token: str):
    assert topic_name(name) == token


def test_names_that_collide_get_numbers_and_legal_ones_keep_theirs():
    assert topic_names(['a b', 'a_b', 'a:b']) == {'a b': 'a_b_2', 'a_b': 'a_b', 'a:b': 'a_b_3'}
    # No camera takes a known frame, or another's optical one.
    tokens = topic_names(['map', 'base_link', 'a', 'a_optical_frame'])
    assert list(tokens.values()) == ['map_2', 'base_link_2', 'a', 'a_optical_frame_2']


@settings(max_examples=200, deadline=None)
@given(strategies.lists(strategies.text(max_size=12), unique=True, max_size=8))
def test_any_names_give_legal_and_different_topics_and_frames(names: list[str]):
    tokens = topic_names(names)
    assert list(tokens) == names
    frames = frame_names(Settings(), names)
    assert len(frames.names()) == 3 + 2 * len(names)
    for token in tokens.values():
        assert token.isascii()
        assert token.replace('_', 'a').isalnum()
        assert token[0].isalpha()


def test_ros_takes_every_mended_name(node: Any):
    for name in ('camera:front', '0', 'a b', '~/x', '{}', '_a', 'é'):
        publisher = node.create_publisher(Empty, f'~/{topic_name(name)}/image_raw', 1)
        assert publisher.topic_name.startswith('/nurec/')


@pytest.mark.parametrize(
    ('values', 'frames', 'camera'),
    [
        ({}, ('map', 'base_link', '', 'map'), 'a_b'),
        # The prefix goes before all but the map.
        (
            {
                'map_frame': 'world',
                'base_frame': 'rig',
                'odom_frame': 'odo',
                'frame_prefix': 'p2/',
            },
            ('world', 'p2/rig', 'p2/odo', 'p2/odo'),
            'p2/a_b',
        ),
    ],
)
def test_frames(values: dict[str, Any], frames: tuple[str, ...], camera: str):
    found = frame_names(Settings(**values), ['a b'])
    assert (found.map_frame, found.base_frame, found.odom_frame, found.parent) == frames
    assert (found.body('a b'), found.optical('a b')) == (camera, f'{camera}_optical_frame')


@pytest.mark.parametrize(
    'names',
    [
        {'map_frame': 'x', 'base_frame': 'x'},
        {'odom_frame': 'map'},
        {'map_frame': EARTH},
        {'base_frame': 'front'},
        {'odom_frame': 'front_optical_frame'},
    ],
)
def test_two_frames_of_one_name_are_refused(names: dict[str, Any]):
    with pytest.raises(ConfigurationError, match="two frames would be called '"):
        frame_names(Settings(**names), ['front'])


# QoS.

VOLATILE, LATCHED = DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL
CONTRACT = {
    '/clock': ('rosgraph_msgs/msg/Clock', VOLATILE, 10),
    '/tf': ('tf2_msgs/msg/TFMessage', VOLATILE, 100),
    '/tf_static': ('tf2_msgs/msg/TFMessage', LATCHED, 1),
    '/nurec/odom': ('nav_msgs/msg/Odometry', VOLATILE, 10),
    '/nurec/path': ('nav_msgs/msg/Path', LATCHED, 1),
    '/nurec/map': ('visualization_msgs/msg/MarkerArray', LATCHED, 1),
    '/nurec/ego': ('visualization_msgs/msg/MarkerArray', LATCHED, 1),
    '/nurec/tracks': ('visualization_msgs/msg/MarkerArray', VOLATILE, 10),
    '/nurec/objects': ('vision_msgs/msg/Detection3DArray', VOLATILE, 10),
    '/nurec/state': ('diagnostic_msgs/msg/DiagnosticStatus', LATCHED, 1),
    '/nurec/front/image_raw': ('sensor_msgs/msg/Image', VOLATILE, 10),
    '/nurec/front/image_raw/compressed': ('sensor_msgs/msg/CompressedImage', VOLATILE, 10),
    '/nurec/front/camera_info': ('sensor_msgs/msg/CameraInfo', VOLATILE, 10),
}


@pytest.fixture(scope='module')
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    folder = tmp_path_factory.mktemp('usdz')
    edit = {'T_world_base': earth_pose(0.0, 0.0, 0.0, 0.0).tolist()}
    members = {'map.xodr': xodr(roads=road())}
    return Scenario.load(build_archive(folder, cameras=['front'], members=members, edit_rig=edit))


def camera(node: Any, name: str = 'front') -> CameraTopics:
    return CameraTopics(Graph(node), frame_names(Settings(), [name]), name, MODEL, 'jpeg')


def publish_all(node: Any, scenario: Scenario) -> dict[str, Any]:
    """Make all topics but the reporter's; return their publishers."""
    StateTopic(Graph(node))
    ScenarioTopics(Graph(node), Settings, scenario).change(scenario)
    camera(node)
    return publishers_of(node)


@pytest.fixture(autouse=True)
def own_tf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, 'TransformBroadcaster', None)


def publishers_of(node: Any) -> dict[str, Any]:
    return {publisher.topic_name: publisher for publisher in node.publishers}


def test_every_topic_has_the_contracts_type_and_qos(node: Any, scenario: Scenario):
    pytest.importorskip('vision_msgs.msg')
    publishers = publish_all(node, scenario)
    types = dict(node.get_publisher_names_and_types_by_node('nurec', '/'))
    for topic, (type_name, durability, depth) in CONTRACT.items():
        assert types[topic] == [type_name]
        qos = publishers[topic].qos_profile
        assert qos.reliability == ReliabilityPolicy.RELIABLE
        assert qos.history == HistoryPolicy.KEEP_LAST
        assert (qos.durability, qos.depth) == (durability, depth)


def test_every_publishers_qos_can_be_overridden(make_node: Callable[..., Any], scenario: Scenario):
    """Override those of every other topic, and then those of the rest."""
    for topics in (list(CONTRACT)[::2], list(CONTRACT)[1::2]):
        names = [f'qos_overrides.{topic}.publisher' for topic in topics]
        values = (('depth', 3), ('reliability', 'best_effort'))
        words = [f'{name}.{key}:={value}' for name in names for key, value in values]
        node = make_node(*(part for word in words for part in ('-p', word)))
        publishers = publish_all(node, scenario)
        for topic, (_, durability, depth) in CONTRACT.items():
            qos = publishers[topic].qos_profile
            changed = (3, ReliabilityPolicy.BEST_EFFORT)
            expected = changed if topic in topics else (depth, ReliabilityPolicy.RELIABLE)
            assert (qos.depth, qos.reliability) == expected
            assert qos.durability == durability


def test_an_override_follows_a_remapped_topic(make_node: Callable[..., Any]):
    node = make_node('-r', '~/tracks:=/street', '-p', 'qos_overrides./street.publisher.depth:=4')
    publication = Graph(node).advertise(MarkerArray, '~/tracks', reliable(10))
    assert publication.topic == '/street'
    assert publishers_of(node)['/street'].qos_profile.depth == 4


@pytest.mark.parametrize(
    'override', ['reliability:=sometimes', 'depth:=many', 'depth:=-3', 'history:=3']
)
def test_an_override_that_cannot_be_honoured_is_one_sentence(
    make_node: Callable[..., Any], override: str
):
    node = make_node('-p', f'qos_overrides./clock.publisher.{override}')
    with pytest.raises(ConfigurationError, match=r'^QoS override of /clock: [^\n]*$'):
        Graph(node).advertise(Clock, '/clock', reliable(10))


def test_a_camera_that_comes_back_keeps_its_override(make_node: Callable[..., Any]):
    node = make_node('-p', 'qos_overrides./nurec/front/image_raw.publisher.depth:=2')
    for _ in range(2):
        topics = camera(node)
        assert publishers_of(node)['/nurec/front/image_raw'].qos_profile.depth == 2
        topics.destroy()
        assert '/nurec/front/image_raw' not in publishers_of(node)


def test_the_documents_example_does_what_it_says(make_node: Callable[..., Any], tmp_path: Path):
    text = (ROOT / 'docs' / 'parameters.md').read_text()
    begin = text.index('    /**:')
    example = textwrap.dedent(text[begin:])
    path = tmp_path / 'qos.yaml'
    path.write_text(example[: example.index('\n\n')])
    node = make_node('--params-file', str(path))
    name = 'camera_front_wide_120fov'
    camera(node, name)
    qos = publishers_of(node)[f'/nurec/{name}/image_raw'].qos_profile
    assert (qos.depth, qos.reliability) == (1, ReliabilityPolicy.BEST_EFFORT)


def test_a_name_that_ros_does_not_take_is_one_sentence(make_node: Callable[..., Any]):
    graph = Graph(make_node('-r', f'__node:={"n" * 200}'))
    sentence = f'^[^\n]*Invalid topic name: [^\n]*/{"n" * 200}/a[^\n]*$'
    with pytest.raises(ConfigurationError, match=sentence):
        graph.advertise(Clock, f'~/{"a" * 100}', reliable(10))


def test_what_is_no_override_s_fault_is_passed_on(node: Any, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError('out of memory')

    monkeypatch.setattr(node, 'create_publisher', fail)
    with pytest.raises(RuntimeError, match=r'^out of memory$'):
        Graph(node).advertise(Clock, '/clock', reliable(10))


def test_a_middleware_that_cannot_wait_is_not_waited_for():
    sent: list[object] = []
    publisher = SimpleNamespace(publish=sent.append, topic_name='/clock')
    node: Any = SimpleNamespace(create_publisher=lambda *_, **__: publisher)
    publication = Graph(node).advertise(Clock, '/clock', reliable(10))
    publication.publish(Clock())
    publication.flush(60.0)
    assert sent == [Clock()]


def test_time_that_is_over_is_not_waited_for():
    waits: list[int] = []
    publisher = SimpleNamespace(
        topic_name='/clock', wait_for_all_acked=lambda timeout: waits.append(timeout.nanoseconds)
    )
    node: Any = SimpleNamespace(create_publisher=lambda *_, **__: publisher)
    publication = Graph(node).advertise(Clock, '/clock', reliable(10))
    publication.flush(0.25)
    publication.flush(-0.25)
    assert waits == [250_000_000, 0]


@pytest.mark.parametrize('make', [latched, lambda: reliable(10)])
def test_two_topics_share_no_profile(make: Callable[[], QoSProfile]):
    one, other = make(), make()
    one.depth = 7
    assert other.depth != 7


# What goes out, and what does not any more.


def test_a_message_arrives_and_none_after_the_end(node: Any, listener: Any):
    publication = Graph(node).advertise(Clock, '/clock', latched())
    assert (publication.topic, publication.subscribers) == ('/clock', 0)
    received = listener.listen(Clock, '/clock', latched=True)
    message = Clock()
    message.clock.sec = 5
    publication.publish(message)
    listener.until(lambda: publication.subscribers == 1, 'the subscriber')
    publication.flush(60.0)
    assert listener.received(received, 1) == [message]
    publication.destroy()
    publication.destroy()
    publication.publish(message)
    assert publication.subscribers == 0
    listener.until(lambda: listener.node.count_publishers('/clock') == 0, 'the end of the topic')
    assert len(received) == 1


def test_tf2_ros_sends_tf_where_it_is_installed(
    node: Any, scenario: Scenario, monkeypatch: pytest.MonkeyPatch
):
    sent = []

    class Broadcaster:
        """What tf2_ros offers."""

        def __init__(self, node: Any) -> None:
            self.node = node

        def sendTransform(self, transforms: list[Any]) -> None:  # noqa: N802
            sent.append([one.child_frame_id for one in transforms])

    monkeypatch.setattr(outlet, 'TransformBroadcaster', Broadcaster)
    ScenarioTopics(Graph(node), Settings, scenario).show(Show(scenario.start_ns, pose=True))
    assert sent == [['base_link']]
    assert '/tf_static' in publishers_of(node)
    assert '/tf' not in publishers_of(node)


# Others in the graph.


def test_others_of_a_topic_and_of_a_name_are_counted(make_node: Callable[..., Any], listener: Any):
    """Where the topic is, for it may be remapped; and of the same full name."""
    remap = ('-r', '/clock:=/other_clock')

    def clock(node: Any) -> Graph:
        graph = Graph(node)
        graph.advertise(Clock, '/clock', reliable(10))
        return graph

    first = clock(make_node(*remap))
    clock(make_node(name='elsewhere'))
    namesake = clock(make_node('-r', '__ns:=/robot'))
    third = Graph(make_node(*remap, name='third')).advertise(Clock, '/clock', reliable(10))
    listener.until(lambda: first.others('/other_clock') == 1, 'the clock under the same name')
    assert (first.name, first.namesakes()) == ('/nurec', 0)
    assert (namesake.name, namesake.namesakes()) == ('/robot/nurec', 0)
    third.destroy()
    listener.until(lambda: first.others('/other_clock') == 0, 'the end of the second clock')
    second = make_node()
    listener.until(lambda: first.namesakes() == 1, 'the namesake')
    second.destroy_node()
    listener.until(lambda: first.namesakes() == 0, 'the end of the namesake')


def test_a_reader_that_gets_nothing_is_told_of_once(node: Any, listener: Any):
    """Ask for latched tracks, twice: the offer is volatile. And for every message of a clock."""
    told: list[str] = []
    node.get_logger = lambda: SimpleNamespace(warning=told.append)
    received: list[object] = []
    watched = Graph(node)
    watched.advertise(MarkerArray, '~/tracks', reliable(10))
    watched.advertise(Odometry, '~/odom', reliable(10))
    watched.advertise(Clock, '/clock', qos_profile_sensor_data)
    wrong = QoSProfile(depth=1, durability=LATCHED)
    for kind, topic, qos in (
        (MarkerArray, '/nurec/tracks', QoSProfile(depth=1)),
        (Odometry, '/nurec/odom', QoSProfile(depth=1)),
        (MarkerArray, '/nurec/tracks', wrong),
        (MarkerArray, '/nurec/tracks', wrong),
        (Clock, '/clock', reliable(1)),
    ):
        listener.node.create_subscription(kind, topic, received.append, qos)
    listener.until(
        lambda: (
            node.count_subscribers('/nurec/tracks') == 3 and node.count_subscribers('/clock') == 1
        ),
        'the readers',
    )
    publishers = publishers_of(node)
    for topic in ('/nurec/tracks', '/nurec/odom'):
        listener.matched(publishers[topic])

    def look() -> bool:
        watched.watch()
        return len(told) > 1

    listener.until(look, 'the warnings')
    watched.watch()
    lost, text = sorted(told)
    assert lost.startswith('/listener subscribes to /clock with a QoS that is not offered')
    assert lost.endswith('it wants reliable delivery, offered is best_effort')
    assert text.startswith('/listener subscribes to /nurec/tracks with a QoS that is not offered')
    assert text.endswith('it wants transient_local durability, offered is volatile')
    assert publishers['/nurec/tracks'].get_subscription_count() == 1
