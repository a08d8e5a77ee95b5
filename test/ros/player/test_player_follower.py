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
"""The follower over DDS: by ticks that wait for it, and in real time."""

import math
import subprocess
import sys
from test.support.process import Process

import pytest

pytest.importorskip('ackermann_msgs.msg')


@pytest.fixture
def followed(start, usdz, server, tmp_path, monkeypatch):
    """Return a function that starts a player and its follower."""
    processes = []

    def run(**parameters):
        bench = start(
            usdz_path=usdz, server=server.address, ego_source='ackermann', **parameters
        ).ready()
        monkeypatch.setenv('ROS_DOMAIN_ID', str(bench.domain))
        processes.append(Process('nurec_ros.cli.follow', [], tmp_path / 'follower.txt'))
        bench.until(lambda: bench.state.get('ego_input_stamp_us'), 'the first command')
        return bench

    yield run
    for process in processes:
        process.end()


def test_by_ticks_it_stays_on_the_path(followed):
    bench = followed(mode='lockstep', tick_us=50_000, ego_wait_s=120.0)
    done, farthest_m = False, 0.0
    while not done:
        state = bench.trigger('tick')
        done, farthest_m = state['done'], max(farthest_m, abs(state['deviation_m']))
        assert state['ego_source'] == 'ackermann'
    assert 0.0 < farthest_m < 0.3
    assert state['ego_speed'] == pytest.approx(8.0, abs=0.5)


def test_in_real_time_too(followed):
    # The machine may have much else to do: a command may come late, so the time goes slowly.
    bench = followed(rate=0.1, command_timeout_s=0.0)
    bench.trigger('play')
    bench.until(lambda: bench.state['progress'] > 0.5, 'the middle of the drive')
    assert math.fabs(bench.state['deviation_m']) < 0.3


def test_the_command_says_what_it_is_for():
    done = subprocess.run(
        [sys.executable, '-m', 'nurec_ros.cli.follow', '--help'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert 'offset_m' in done.stdout
    assert 'ego_source:=ackermann' in done.stdout
