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
"""Nodes that have nothing to do yet, or lack a package, and commands that end."""

from nav_msgs.msg import Odometry
from nurec_ros.errors import ConfigurationError
from nurec_ros.ros import ego_topics, player_node, tool_nodes
from nurec_ros.ros.executor import begin_ros, spin_node
from nurec_ros.ros.player_node import NurecPlayer
import pytest
from rclpy.logging import get_logger_effective_level, LoggingSeverity
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher

pytestmark = pytest.mark.ros


def services_of(node):
    return {name for name, _ in node.get_service_names_and_types_by_node('nurec', '/')}


def received(node, topic, message):
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
    received(player, '/nurec/ego_odometry', Odometry())
    assert not player.is_playing
    with pytest.raises(ConfigurationError, match='no scenario is loaded'):
        player.play()


def test_without_rosbag2_its_services_are_missing_and_the_others_are_there(make_node, monkeypatch):
    monkeypatch.setattr(player_node, 'rosbag2', None)
    player = make_node(node_class=NurecPlayer)
    offered = services_of(player)
    assert {f'/nurec/{name}' for name in ('play', 'stop', 'reset', 'tick', 'load')} <= offered
    assert not offered & {f'/nurec/{name}' for name in ('seek', 'pause', 'get_rate', 'play_next')}


def test_a_source_whose_package_is_missing_is_refused(monkeypatch):
    monkeypatch.setattr(ego_topics, 'AckermannDriveStamped', None)
    ego_topics.check_source('twist')
    with pytest.raises(ConfigurationError, match=r"'ackermann', which needs .* ackermann_msgs; "):
        ego_topics.check_source('ackermann')


# A driver.


def test_a_follower_needs_its_package(make_node, monkeypatch):
    monkeypatch.setattr(tool_nodes, 'AckermannDriveStamped', None)
    with pytest.raises(ConfigurationError, match=r'^the package ackermann_msgs is not installed'):
        make_node(node_class=tool_nodes.Follower)


def test_a_follower_without_a_path_sends_nothing_and_takes_parameters_of_rclpy(
    make_node, monkeypatch
):
    message_type = pytest.importorskip('ackermann_msgs.msg').AckermannDriveStamped
    sent = []
    monkeypatch.setattr(Publisher, 'publish', lambda _, message: sent.append(message))
    node = make_node(node_class=tool_nodes.Follower, name='nurec_follow')
    received(node, '/nurec/odom', Odometry())
    (result,) = node.set_parameters([Parameter('use_sim_time', value=True)])
    assert result.successful
    assert [one for one in sent if isinstance(one, message_type)] == []


# A command.


def test_it_is_over_with_its_context(capfd):
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
