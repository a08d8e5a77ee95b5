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
from test.support.render_scene import other_path, other_scenario, scenario, scenario_path

from nurec_ros.preview.behaviour import Behaviour
import pytest

__all__ = ['other_path', 'other_scenario', 'scenario', 'scenario_path']


@pytest.fixture(scope='session')
def small(scenario):
    """Return the scene with cameras of 480x270 pixels."""
    return with_small_cameras(scenario)


@pytest.fixture
def probe(scenario, small, tmp_path):
    """Return a function that probes a server of a behaviour; `options` are the probe's."""

    def probed(served=None, options=(), **behaviour):
        scenes = served if isinstance(served, list) else [served or scenario]
        scenes = [with_small_cameras(scene) for scene in scenes]
        with serve(scenes, behaviour=Behaviour(**behaviour)) as server:
            return probe_at(small, server.address, tmp_path, **dict(options))

    return probed
