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
"""The two small scenes, and a probe of a preview server of any behaviour."""

from test.preview.preview_client import serve
from test.probe.reports import probe_at, with_small_cameras
from test.support.render_scene import other_path, other_scenario, scenario_path

from nurec_ros.preview.behaviour import Behaviour
from nurec_ros.scenario import Scenario
import pytest

__all__ = ['other_path', 'other_scenario', 'scenario_path']


@pytest.fixture(scope='session')
def scenario(scenario_path):
    return with_small_cameras(Scenario.load(scenario_path))


@pytest.fixture
def probe(scenario, tmp_path):
    """Return a function that probes a server of scenes and a behaviour; `asked`: options."""

    def probed(*served, asked=None, **behaviour):
        scenes = [with_small_cameras(scene) for scene in served] or scenario
        with serve(scenes, behaviour=Behaviour(**behaviour)) as server:
            return probe_at(scenario, server.address, tmp_path, **(asked or {}))

    return probed
