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
"""A player without a scenario: all services are up, and say what is missing."""

from test.support.archives import START_US
from test.support.player_bench import Bench

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import pytest
from rosbag2_interfaces.srv import GetRate, IsPaused, PlayNext, Resume, Seek, SetRate
from std_srvs.srv import Trigger

pytestmark = pytest.mark.contract

EVERYTHING = {
    'play',
    'stop',
    'reset',
    'tick',
    'load',
    'pause',
    'resume',
    'toggle_paused',
    'is_paused',
    'get_rate',
    'set_rate',
    'seek',
    'play_next',
}


@pytest.fixture(scope='module')
def idle(start):
    """Return a player that has nothing to play."""
    running: Bench = start()
    running.until(lambda: running.states, 'the state')
    return running


def test_state_says_so(idle):
    assert (idle.state['scenario'], idle.state['is_playing']) == ('', False)
    assert idle.states[-1].message == 'idle'


def test_only_state_and_diagnostics_are_published(idle):
    expected = {'/rosout', '/parameter_events', '/nurec/state', '/diagnostics'}
    idle.until(lambda: idle.topics() == expected, 'exactly these topics')


def test_one_line_of_log_says_what_to_do(idle):
    idle.until(lambda: '~/load' in idle.player.output, 'the line')
    (line,) = [one for one in idle.player.output.splitlines() if '[INFO]' in one]
    assert '~/load' in line
    assert 'usdz_path' in line


def test_every_service_is_there(idle):
    def offered():
        found = idle.listener.node.get_service_names_and_types_by_node('nurec', '/')
        return {name.removeprefix('/nurec/') for name, _ in found}

    idle.until(lambda: offered() >= EVERYTHING, 'all services')


@pytest.mark.parametrize('name', ['play', 'stop', 'reset', 'tick'])
def test_triggers_refuse_with_the_remedy(idle, name):
    reason = idle.refusal(name)
    assert 'no scenario is loaded' in reason
    assert 'usdz_path' in reason
    assert '~/load' in reason


def test_load_without_a_path_refuses(idle):
    assert 'usdz_path' in idle.refusal('load')


def test_rosbag2_services_answer(idle):
    assert idle.call(IsPaused, 'is_paused').paused
    assert idle.call(SetRate, 'set_rate', SetRate.Request(rate=2.0)).success
    assert idle.call(GetRate, 'get_rate').rate == 2.0
    assert not idle.call(Seek, 'seek').success
    assert not idle.call(PlayNext, 'play_next').success
    idle.call(Resume, 'resume')
    assert idle.call(IsPaused, 'is_paused').paused


def test_diagnostics_say_so(idle):
    found = idle.listen(DiagnosticArray, '/diagnostics')
    idle.until(lambda: found, 'diagnostics')
    assert [status.name for status in found[-1].status] == ['nurec: playback']
    assert found[-1].status[0].level == DiagnosticStatus.OK
    assert 'usdz_path' in found[-1].status[0].message
    assert found[-1].header.stamp.nanosec > 0


def test_load_ends_it(start, usdz):
    bench = start()
    bench.until(lambda: bench.states, 'the state')
    bench.configure(usdz_path=str(usdz), rate=2.0)
    assert bench.call(Trigger, 'load').success
    bench.until(lambda: bench.clocks, 'the clock')
    assert bench.trigger('tick')['current_time_us'] == START_US + 100_000
    bench.until(lambda: bench.state['speed'] == 2.0, 'the state')
