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
"""Overrides that nobody declared, on a real node: each is told, with what may be meant."""

from collections.abc import Callable
from typing import Any

from nurec_ros.ros.frames import FrameNames
from nurec_ros.ros.parameters import ParameterGate, Parameters
from nurec_ros.ros.publishers import ClockPublisher, TracksPublisher
import pytest
from rcl_interfaces.msg import Log
from rclpy.node import Node

pytestmark = pytest.mark.ros

NAMES = ('camera_front', 'camera_rear')


class GatedNode(ParameterGate, Node):
    """What NurecPlayer is to the parameters."""


class Started:
    """A node with parameters."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self.parameters = Parameters(node, lambda changed: None)


@pytest.fixture
def start(make_node: Callable[..., Any]) -> Callable[..., Started]:
    def started(*overrides: str) -> Started:
        arguments = [part for override in overrides for part in ('-p', override)]
        return Started(make_node(*arguments, node_class=GatedNode))

    return started


def test_an_override_that_nobody_declared_comes_with_the_nearest_name(start):
    started = start('raet:=2', 'resolutoin_scale:=1', 'zzz:=1', 'use_sim_time:=true')
    assert sorted(started.parameters.unused_overrides()) == [
        ('raet', "did you mean 'rate'?"),
        ('resolutoin_scale', "did you mean 'resolution_scale'?"),
        ('zzz', ''),
    ]


def test_overrides_of_what_is_still_to_come_are_not_reported(start):
    started = start('camera_front.rate:=5', 'qos_overrides./clock.publisher.depth:=1')
    assert started.parameters.unused_overrides() == []
    started.parameters.declare_cameras(NAMES)
    ClockPublisher(started.node)
    assert started.parameters.unused_overrides() == []


@pytest.mark.parametrize(
    ('name', 'hint'),
    [
        ('/clokc.publisher.depth', "did you mean 'qos_overrides./clock.publisher.depth'?"),
        ('clock.publisher.depth', "did you mean 'qos_overrides./clock.publisher.depth'?"),
        ('/clock.publisher.dept', "did you mean 'qos_overrides./clock.publisher.depth'?"),
        ('/clock.publsher.depth', "did you mean 'qos_overrides./clock.publisher.depth'?"),
        ('/clock.subscription.depth', "expected 'qos_overrides./clock.publisher.' with history"),
        ('/clock.publisher.durability', 'durability cannot be overridden, history, depth and'),
        ('/nurec/tracks.publisher.depth', "mean 'qos_overrides./street.publisher.depth'?"),
        ('/wholly/different.publisher.depth', 'the player publishes no such topic'),
        ('/street', "did you mean 'qos_overrides./street.publisher.depth'?"),
        ('/rosout.publisher.depth', 'the publisher of /rosout takes no overrides'),
    ],
)
def test_a_qos_override_that_was_not_taken_comes_with_what_may_be_meant(make_node, name, hint):
    override = f'qos_overrides.{name}:=1'
    node = make_node('-p', override, '-r', '~/tracks:=/street', node_class=GatedNode)
    started = Started(node)
    ClockPublisher(node)
    TracksPublisher(node, FrameNames.create(cameras=NAMES))
    node.create_publisher(Log, '/rosout', 1)
    assert started.parameters.unused_overrides() == []
    started.parameters.declare_cameras(NAMES)
    ((unused, found),) = started.parameters.unused_overrides()
    assert unused == f'qos_overrides.{name}'
    assert hint in found


def test_a_misspelt_camera_is_reported_once_cameras_are_known(start):
    started = start('camera_fornt.rate:=5')
    started.parameters.declare_cameras(NAMES)
    assert started.parameters.unused_overrides() == [
        ('camera_fornt.rate', "did you mean 'camera_front.rate'?")
    ]
