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
"""Fixtures for tests of the demo that need ROS: a domain of their own, as in test/ros."""

from __future__ import annotations

from collections.abc import Iterator
import importlib.util
import os
from pathlib import Path
from test.support.domain import claim_domain

from nurec_ros.example import make_example, write_example
import pytest

HAS_ROS = all(importlib.util.find_spec(name) for name in ('rclpy', 'rosbags', 'mcap'))

NEED_ROS = ('driver', 'play', 'recording', 'show')
collect_ignore_glob = [] if HAS_ROS else [f'test_demo_{name}.py' for name in NEED_ROS]


@pytest.fixture(scope='session', autouse=True)
def demo_ros_environment() -> Iterator[None]:
    """Keep this run to a domain of its own on this machine."""
    patch = pytest.MonkeyPatch()
    patch.setenv('ROS_DOMAIN_ID', str(claim_domain()))
    patch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    patch.setenv('ROS_LOCALHOST_ONLY', '1')
    yield
    patch.undo()


def own_domain(patch: pytest.MonkeyPatch) -> None:
    """Let a demo in this process take a ROS domain of its own, until the patch is undone."""
    for name in ('ROS_DOMAIN_ID', 'ROS_AUTOMATIC_DISCOVERY_RANGE', 'ROS_LOCALHOST_ONLY'):
        patch.setenv(name, os.environ[name])


@pytest.fixture(scope='session')
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a short example with one or two road users of each class."""
    path = tmp_path_factory.mktemp('street') / 'street.usdz'
    return write_example(path, make_example(duration_s=2.0, road_users=16))
