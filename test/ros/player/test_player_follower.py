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

import subprocess
import sys
from test.support.archives import build_archive
from test.support.player_bench import state_of
from test.support.process import Process

from nav_msgs.msg import Odometry
import numpy as np
from nurec_ros.cli.example import main as example
import pytest

pytest.importorskip('ackermann_msgs.msg')

# Of the recorded arc, which starts in the origin and turns to the left.
RADIUS_M = 40.0


@pytest.fixture
def followed(start, tmp_path, monkeypatch):
    """Return a function that starts a player and its follower."""
    processes = []

    def run(usdz, **parameters):
        bench = start(
            usdz_path=usdz, server='127.0.0.1:1', ego_source='ackermann', **parameters
        ).ready()
        monkeypatch.setenv('ROS_DOMAIN_ID', str(bench.domain))
        processes.append(Process('nurec_ros.cli.follow', [], tmp_path / 'follower.txt'))
        bench.until(lambda: bench.state.get('ego_input_stamp_us'), 'the first command')
        return bench

    yield run
    for process in processes:
        process.end()


def test_by_ticks_it_stays_on_the_example_street(followed, tmp_path):
    usdz = tmp_path / 'street.usdz'
    assert example([str(usdz), '--duration', '8']) == 0
    bench = followed(usdz, mode='lockstep', tick_us=50_000, ego_wait_s=120.0)
    done, deviations = False, []
    while not done:
        state = bench.trigger('tick')
        done = state['done']
        deviations.append(abs(state['deviation_m']))
        assert state['ego_source'] == 'ackermann'
    assert len(deviations) >= 160
    assert max(deviations) < 0.3
    # The street begins at 12 m/s; whoever stood would be on the path too.
    assert 2.0 < state['ego_speed'] < 13.0


def test_in_real_time_it_stays_on_an_arc(followed, tmp_path):
    # Commands may come late, or not for a while: the ego brakes then, on the arc that it is on.
    usdz = build_archive(tmp_path, duration_s=6.0, tracks=[])
    bench = followed(usdz)
    odometry = bench.listen(Odometry, '~/odom')
    bench.states.clear()
    assert bench.trigger('play')['speed'] == 1.0
    bench.until(lambda: bench.states and bench.state['progress'] > 0.85, 'the end of the drive')
    states = [state_of(one) for one in bench.states]
    assert max(abs(one['deviation_m']) for one in states) < 0.3
    assert all(one['ego_source'] == 'ackermann' for one in states)
    places = np.array([(one.pose.pose.position.x, one.pose.pose.position.y) for one in odometry])
    assert len(places) > 50
    off = np.hypot(places[:, 0], places[:, 1] - RADIUS_M) - RADIUS_M
    assert np.abs(off).max() < 0.3
    # And it came along.
    assert np.hypot(*(places[-1] - places[0])) > 20.0


def test_the_command_says_what_it_is_for():
    done = subprocess.run(
        [sys.executable, '-m', 'nurec_ros.cli.follow', '--help'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert 'offset_m' in done.stdout
    assert 'ego_source:=ackermann' in done.stdout
