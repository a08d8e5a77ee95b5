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
"""Nodes in this process: idle, without a package, of tools; what they report, and their end."""

from test.support.outlet import RecordingOutlet
from types import SimpleNamespace

from builtin_interfaces.msg import Time
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from nurec_ros.errors import ConfigurationError
from nurec_ros.playback.effects import PlaybackState
from nurec_ros.ros import ego_topics, player_node, tool_nodes
from nurec_ros.ros.diagnostics import SECOND_CLOCK
from nurec_ros.ros.effect_handler import EffectHandler
from nurec_ros.ros.ego_topics import OddInputs
from nurec_ros.ros.executor import begin_ros, spin_node
from nurec_ros.ros.player_node import NurecPlayer
from nurec_ros.ros.reporter import Reporter
from nurec_ros.settings import Settings
import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import get_logger_effective_level, LoggingSeverity
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher

pytestmark = pytest.mark.ros


def hears(node, topic, message):
    """Give a message to the callbacks of a node's subscriptions to a topic, as its executor."""
    found = [one for one in node.subscriptions if one.topic_name == topic]
    assert found
    for one in found:
        one.callback(message)


# A player.


def test_an_idle_player_takes_a_source_and_lets_its_inputs_go(make_node):
    player = make_node(node_class=NurecPlayer)
    (result,) = player.set_parameters([Parameter('ego_source', value='odometry')])
    assert result.successful
    hears(player, '/nurec/ego_odometry', Odometry())
    assert not player.is_playing
    with pytest.raises(ConfigurationError, match='no scenario is loaded'):
        player.play()


def test_without_rosbag2_its_services_are_missing_and_the_others_are_there(make_node, monkeypatch):
    monkeypatch.setattr(player_node, 'rosbag2', None)
    player = make_node(node_class=NurecPlayer)
    offered = {name for name, _ in player.get_service_names_and_types_by_node('nurec', '/')}
    assert {f'/nurec/{name}' for name in ('play', 'stop', 'reset', 'tick', 'load')} <= offered
    assert not offered & {f'/nurec/{name}' for name in ('seek', 'pause', 'get_rate', 'play_next')}


def test_a_source_whose_package_is_missing_is_refused(monkeypatch):
    monkeypatch.setattr(ego_topics, 'AckermannDriveStamped', None)
    ego_topics.check_source('twist')
    with pytest.raises(ConfigurationError, match=r"'ackermann', which needs .* ackermann_msgs; "):
        ego_topics.check_source('ackermann')


# Tools.


@pytest.mark.parametrize(
    ('package', 'tool', 'words'),
    [
        ('AckermannDriveStamped', 'Follower', 'the package ackermann_msgs is not installed'),
        ('Control', 'AutowareAdapter', 'autoware_control_msgs not installed; expected'),
    ],
)
def test_a_tool_names_the_package_that_it_needs(make_node, monkeypatch, package, tool, words):
    monkeypatch.setattr(tool_nodes, package, None)
    with pytest.raises(ConfigurationError, match=f'^{words}'):
        make_node(node_class=getattr(tool_nodes, tool))


def test_a_follower_without_a_path_sends_nothing_and_takes_parameters_of_rclpy(
    make_node, monkeypatch
):
    message_type = pytest.importorskip('ackermann_msgs.msg').AckermannDriveStamped
    sent = []
    monkeypatch.setattr(Publisher, 'publish', lambda _, message: sent.append(message))
    node = make_node(node_class=tool_nodes.Follower, name='nurec_follow')
    hears(node, '/nurec/odom', Odometry())
    (result,) = node.set_parameters([Parameter('use_sim_time', value=True)])
    assert result.successful
    assert [one for one in sent if isinstance(one, message_type)] == []


@pytest.mark.parametrize(('defined', 'rest'), [(True, (-0.5, 1.5, 0.75)), (False, (0.0,) * 3)])
def test_each_field_of_autowares_goes_where_it_belongs(defined, rest):
    message_type = pytest.importorskip('ackermann_msgs.msg').AckermannDriveStamped
    sent, other = Time(sec=27568, nanosec=848000), Time(sec=9)
    # As autoware_control_msgs has them: Control, with a Lateral and a Longitudinal.
    lateral = SimpleNamespace(
        stamp=other,
        control_time=other,
        steering_tire_angle=0.25,
        steering_tire_rotation_rate=-0.5,
        is_defined_steering_tire_rotation_rate=defined,
    )
    longitudinal = SimpleNamespace(
        stamp=other,
        control_time=other,
        velocity=-4.0,
        acceleration=1.5,
        jerk=0.75,
        is_defined_acceleration=defined,
        is_defined_jerk=defined,
    )
    control = SimpleNamespace(
        stamp=sent, control_time=other, lateral=lateral, longitudinal=longitudinal
    )
    message = tool_nodes.drive_of(control)
    assert isinstance(message, message_type)
    assert (message.header.stamp, message.header.frame_id) == (sent, '')
    drive = message.drive
    assert (drive.steering_angle, drive.speed) == (0.25, -4.0)
    assert (drive.steering_angle_velocity, drive.acceleration, drive.jerk) == rest


def test_what_autoware_commands_goes_on_to_the_player(make_node, listener, monkeypatch):
    message_type = pytest.importorskip('ackermann_msgs.msg').AckermannDriveStamped

    def drive_of(message):
        passed_on = message_type()
        passed_on.drive.speed = message.twist.linear.x
        return passed_on

    # Only Autoware's workspace has the type: one that is here goes over the wire in its place.
    monkeypatch.setattr(tool_nodes, 'Control', TwistStamped)
    monkeypatch.setattr(tool_nodes, 'drive_of', drive_of)
    node = make_node('-p', 'player:=/two/', node_class=tool_nodes.AutowareAdapter)
    received = listener.listen(message_type, '/two/ackermann_cmd')
    publisher = listener.node.create_publisher(TwistStamped, '/control/command/control_cmd', 10)
    listener.matched(publisher)
    listener.until(lambda: node.count_subscribers('/two/ackermann_cmd') == 1, 'the subscription')
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    message = TwistStamped()
    message.twist.linear.x = 6.5
    publisher.publish(message)

    def arrived():
        executor.spin_once(timeout_sec=0.01)
        return received

    listener.until(arrived, 'the command')
    assert received[0].drive.speed == 6.5


# A command.


def test_a_command_is_over_with_its_context(capfd):
    contexts = []

    def make(context):
        contexts.append(context)
        node = Node('short', context=context)
        node.create_timer(0.001, context.try_shutdown)
        return node

    spin_node('short', make, [])
    assert [context.ok() for context in contexts] == [False]
    assert capfd.readouterr().err == ''


@pytest.mark.parametrize(
    ('words', 'level'),
    [
        (['--ros-args', '--log-level', 'rcl:=error'], LoggingSeverity.ERROR),
        # That of all loggers.
        ([], LoggingSeverity.INFO),
    ],
)
def test_a_level_of_the_log_that_was_asked_for_is_kept(words, level):
    context = begin_ros('loud', words)
    try:
        assert get_logger_effective_level('rcl') == level
    finally:
        context.try_shutdown()


# What a player reports.


class Neighbourhood(RecordingOutlet):
    """A graph in which others publish and are called what the test says."""

    clocks = same_names = 0

    def others(self, topic):
        assert topic == '/clock'
        return self.clocks

    def namesakes(self):
        return self.same_names

    def watch(self):
        """Find nobody who gets nothing."""


@pytest.fixture
def graph():
    return Neighbourhood()


@pytest.fixture
def logged():
    return []


@pytest.fixture
def reporter(graph, logged):
    def into(level):
        return lambda text: logged.append((level, text))

    logger = SimpleNamespace(**{one: into(one) for one in ('debug', 'info', 'warning', 'error')})
    node = SimpleNamespace(
        get_namespace=lambda: '/', get_name=lambda: 'nurec', get_logger=lambda: logger
    )
    return Reporter(node, SimpleNamespace(settings=Settings()), graph)


def test_others_that_spoil_it_are_warned_of_as_they_come(reporter, graph, logged):
    def report(clocks=0, same_names=0):
        graph.clocks, graph.same_names = clocks, same_names
        logged.clear()
        reporter.publish_diagnostics(
            PlaybackState(), None, loading=False, clock_topic='/clock', odd=OddInputs()
        )
        return graph.messages('/diagnostics')[-1].status[0].message

    clock = SECOND_CLOCK.format(topic='/clock')
    alone = report()
    told = report(same_names=1)
    ((level, namesake),) = logged
    assert level == 'warning'
    assert namesake.startswith('another node of the graph is called /nurec too: each answers')
    assert (namesake in told, clock in told) == (True, False)
    told = report(clocks=1, same_names=1)
    assert logged == [('warning', clock)]
    assert (namesake in told, clock in told) == (True, True)
    assert (report(), logged) == (alone, [])
    # Another time it begins.
    report(clocks=1)
    assert logged == [('warning', clock)]


def test_what_there_is_to_know_of_sensors_is_logged_at_each_load(reporter, logged):
    def calibration(*notes):
        return SimpleNamespace(calibration=SimpleNamespace(notes=notes, residual=None))

    cameras = {'front': calibration(), 'rear left': calibration('no room', 'left out')}
    clouds = {'top': SimpleNamespace(note=''), 'side': SimpleNamespace(note='rows are unknown')}
    scenario = SimpleNamespace(
        cameras=cameras,
        lidars=clouds,
        sensors=(*cameras, *clouds),
        sequence_id='street',
        T_earth_map=None,
        tracks=SimpleNamespace(ids=('1',)),
    )
    loaded = SimpleNamespace(
        scenario=scenario,
        topics=cameras,
        clouds=clouds,
        cameras=tuple(cameras),
        lidars=tuple(clouds),
        asked=SimpleNamespace(usdz_path='/a.usdz'),
        playback=SimpleNamespace(begin_ns=0, end_ns=2_500_000_000),
    )
    reporter.loaded(loaded, ('it is old',))
    street = "loaded /a.usdz: scenario 'street', 2.50 s, 2 cameras, 2 lidars, 1 road user, "
    assert logged == [
        ('warning', 'it is old'),
        ('info', "camera 'rear left' is rear_left in topics, frames and parameters"),
        ('warning', "lidar 'side': rows are unknown"),
        ('info', 'rear left: no room'),
        ('info', 'rear left: left out'),
        ('info', f'{street}rendered by localhost:46435'),
    ]


def test_each_level_of_the_pipeline_is_one_of_the_log(reporter, logged):
    for level in ('error', 'warn', 'info', 'debug'):
        reporter.log(level, 'so it is')
    assert [level for level, _ in logged] == ['error', 'warning', 'info', 'debug']
    assert {text for _, text in logged} == {'so it is'}


# The end.


@pytest.fixture
def handler(reporter, graph):
    timer = SimpleNamespace(cancel=lambda: None)
    timers = SimpleNamespace(timer=lambda *_: timer)
    return EffectHandler(graph, SimpleNamespace(settings=Settings()), reporter, None, timers)


@pytest.mark.parametrize('lives', [True, False])
def test_markers_are_deleted_where_the_graph_still_lives_and_nothing_is_called_after(
    handler, lives
):
    done = []
    handler.loaded = SimpleNamespace(
        close=lambda timeout_s: done.append('closed'), playback=SimpleNamespace(position_ns=7)
    )
    handler.topics = SimpleNamespace(
        delete_markers=lambda t_ns: done.append(t_ns),
        flush_markers=lambda timeout_s: done.append('flushed'),
    )
    guarded = handler.guarded('counting', lambda: done.append('called'))
    guarded()
    handler.close(lambda: lives)
    guarded()
    assert done == ['called', *([7, 'closed', 'flushed'] if lives else ['closed'])]
