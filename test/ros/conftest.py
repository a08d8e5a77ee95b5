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
"""
Fixtures for tests with real ROS: a domain of their own, a context per test, an observer.

Everything runs over loopback. Where rclpy is missing, nothing here is collected.
"""

from collections.abc import Callable, Iterator
import importlib.util
from test.support.domain import shared_domain
from test.support.listener import Listener
from typing import Any

import pytest

HAS_ROS = importlib.util.find_spec('rclpy') is not None
collect_ignore_glob = [] if HAS_ROS else ['test_*.py']


@pytest.fixture(scope='session', autouse=True)
def ros_environment() -> Iterator[None]:
    """Keep this run, and its child processes, to a domain of their own on this machine."""
    patch = pytest.MonkeyPatch()
    patch.setenv('ROS_DOMAIN_ID', str(shared_domain()))
    patch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    # What distributions before Iron know.
    patch.setenv('ROS_LOCALHOST_ONLY', '1')
    yield
    patch.undo()


@pytest.fixture
def make_context() -> Iterator[Callable[..., Any]]:
    """Return a function that makes rclpy contexts, from ROS arguments; all end with the test."""
    import rclpy

    contexts = []

    def make(*arguments: str) -> Any:
        context = rclpy.Context()
        rclpy.init(args=['test', '--ros-args', *arguments], context=context)
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        rclpy.try_shutdown(context=context)


@pytest.fixture
def make_node(make_context: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """
    Return a function that makes a node, in a context of its own, from ROS arguments.

    The keyword `node_class` chooses another class than rclpy's Node; `name` is its name.
    """
    from rclpy.node import Node

    nodes = []

    def make(*arguments: str, name: str = 'nurec', node_class: type = Node) -> Any:
        node = node_class(name, context=make_context(*arguments))
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        node.destroy_node()


@pytest.fixture
def node(make_node: Callable[..., Any]) -> Any:
    """Return a node called nurec, without arguments."""
    return make_node()


@pytest.fixture
def listener(make_context: Callable[..., Any]) -> Iterator[Listener]:
    """Return an observer with a context and an executor of its own."""
    observer = Listener(make_context())
    yield observer
    observer.close()
