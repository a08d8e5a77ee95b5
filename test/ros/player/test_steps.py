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
"""The bookkeeping of tick and play_next, without ROS."""

from types import SimpleNamespace

from nurec_ros.errors import RenderError
from nurec_ros.playback.schedule import Due
from nurec_ros.ros.steps import Steps
import pytest


@pytest.fixture
def steps():
    """Give steps whose calls for the executor are made at once."""
    return Steps(lambda call: call())


def failure(camera, t_ns, text='away'):
    return SimpleNamespace(camera=camera, t_ns=t_ns, error=RenderError(text))


def test_a_step_counts_the_images_that_it_lost(steps):
    step = steps.begin([Due('a', 1), Due('b', 1), Due('a', 2), Due('a', 3)])
    assert step.failed_images == {}
    steps.lose(failure('a', 1, 'late'))
    steps.lose(failure('a', 3, 'gone'))
    assert step.failed_images == {'a': '2 of 3 lost: gone'}


def test_failures_of_others_are_not_the_steps(steps):
    step = steps.begin([Due('a', 2)])
    steps.lose(failure('a', 1))
    steps.lose(failure('b', 2))
    assert step.failed_images == {}
    steps.end(step)
    steps.lose(failure('a', 2))
    assert step.failed_images == {}


def test_who_ended_is_not_overtaken(steps):
    first, second = steps.begin([]), steps.begin([])
    first.end()
    steps.overtake('~/reset')
    assert (first.overtaken_by, second.overtaken_by) == ('', '~/reset')
    second.end()
    assert second.ended.done()
