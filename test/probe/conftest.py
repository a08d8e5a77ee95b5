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
"""The two small scenes that the render service is tested with, and time for slow machines."""

from test.support.render_fixtures import other_path, other_scenario, scenario, scenario_path

from nurec_ros.probe import renders, run
from nurec_ros.probe.calls import Calls
from nurec_ros.probe.server import channel_stage
import pytest

__all__ = ['other_path', 'other_scenario', 'scenario', 'scenario_path']


@pytest.fixture
def at_any_pace(monkeypatch):
    """Let no render be slow, where the verdict is not what the test is about."""
    monkeypatch.setattr(renders, '_SLOW_S', 60.0)


@pytest.fixture
def no_channel(monkeypatch):
    """
    Wait for a channel that will not stand no longer than half a second.

    All else has its time, which the time limit of the options would cut short too.
    """

    def stage(channel, _timeout_s, explain):
        return channel_stage(channel, 0.5, explain)

    monkeypatch.setattr(run, 'channel_stage', stage)


@pytest.fixture
def give_up(monkeypatch):
    """Give a function that limits the calls of one method alone, to some seconds."""
    ask = Calls.ask

    def give_up(name, seconds):
        def limited(calls, method, *arguments, timeout_s=None, **words):
            limit = seconds if method == name else timeout_s
            return ask(calls, method, *arguments, timeout_s=limit, **words)

        monkeypatch.setattr(Calls, 'ask', limited)

    return give_up
