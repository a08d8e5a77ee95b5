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
"""The two small scenes, and a server of any behaviour with its client."""

from test.preview.preview_client import Client, serve
from test.support.render_scene import other_path, other_scenario, scenario, scenario_path

from nurec_ros.preview import paint
from nurec_ros.preview.behaviour import Behaviour
import pytest

__all__ = ['other_path', 'other_scenario', 'play', 'scenario', 'scenario_path']


@pytest.fixture
def play(scenario):
    """Start a server of a behaviour and return its client; stopped after the test."""
    running = []

    def start(painter=None, **behaviour):
        server = serve(scenario, painter, behaviour=Behaviour(**behaviour))
        server.start()
        client = Client(server.address, server=server)
        running.append(client)
        return client

    yield start
    for client in reversed(running):
        client.channel.close()
        client.server.stop()


@pytest.fixture(scope='module')
def coarse_paint():
    """Paint the ground at 0.2 m, a twentieth of the work, where nothing is said of the paint."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paint, 'FINEST', 0.2)
        yield
