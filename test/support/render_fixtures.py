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
"""Two small scenes for the tests of the render service."""

from pathlib import Path
from test.support.render_scene import write_scene

from nurec_ros.scenario import Scenario
import pytest


@pytest.fixture(scope='session')
def scenario_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the archive of a scene of two cameras."""
    return write_scene(tmp_path_factory.mktemp('scene') / 'scene.usdz')


@pytest.fixture(scope='session')
def scenario(scenario_path: Path) -> Scenario:
    return Scenario.load(scenario_path)


@pytest.fixture(scope='session')
def other_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the archive of another scene."""
    path = tmp_path_factory.mktemp('scene') / 'other.usdz'
    return write_scene(path, scene_id='clipgt-other', start_us=5_000_000)


@pytest.fixture(scope='session')
def other_scenario(other_path: Path) -> Scenario:
    return Scenario.load(other_path)
