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
from test.support.archives import build_archive
from test.support.player_bench import state_of
from test.support.process import Process
from types import SimpleNamespace

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry, Path
import numpy as np
from nurec_ros.cli.example import main as example
from nurec_ros.ros.tool_nodes import Follower
import pytest
from rclpy.parameter import Parameter
from std_msgs.msg import Header

pytest.importorskip('ackermann_msgs.msg')

# Of the recorded arc, which starts in the origin and turns to the left.
RADIUS_M = 40.0


@pytest.fixture
def follower(tmp_path, monkeypatch):
    """Return a function that starts a follower, in a bench's domain or in that of the tests."""
    processes = []

    def run(bench, *arguments):
        if bench is not None:
            monkeypatch.setenv('ROS_DOMAIN_ID', str(bench.domain))
        log = tmp_path / f'follower{len(processes)}.txt'
        processes.append(Process('nurec_ros.cli.follow', arguments, log))
        return processes[-1]

    yield run
    for process in processes:
        process.end()


@pytest.fixture
def followed(start, follower):
    """Return a function that starts a player and its follower."""

    def run(usdz, *arguments, **parameters):
        bench = start(
            usdz_path=usdz, server='127.0.0.1:1', ego_source='ackermann', **parameters
        ).ready()
        follower(bench, *arguments)
        bench.until(lambda: bench.state.get('ego_input_stamp_us'), 'the first command')
        return bench

    return run


def test_by_ticks_it_stays_on_the_example_street(followed, tmp_path):
    usdz = tmp_path / 'street.usdz'
    assert example([str(usdz), '--duration', '5']) == 0
    bench = followed(usdz, mode='lockstep', tick_us=50_000, ego_wait_s=120.0)
    done, deviations = False, []
    while not done:
        state = bench.trigger('tick')
        done = state['done']
        deviations.append(abs(state['deviation_m']))
        assert state['ego_source'] == 'ackermann'
    assert len(deviations) >= 100
    assert max(deviations) < 0.3
    # The street begins at 12 m/s; whoever stood would be on the path too.
    assert 2.0 < state['ego_speed'] < 13.0


def test_in_real_time_it_stays_on_an_arc(followed, tmp_path):
    # Commands may come late, or not for a while: the ego brakes then, on the arc that it is on.
    usdz = build_archive(tmp_path, duration_s=3.5, tracks=[])
    bench = followed(usdz)
    odometry = bench.listen(Odometry, '~/odom')
    bench.states.clear()
    assert bench.trigger('play')['speed'] == 1.0
    bench.until(lambda: bench.states and bench.state['progress'] > 0.85, 'the end of the drive')
    states = [state_of(one) for one in bench.states]
    assert max(abs(one['deviation_m']) for one in states) < 0.3
    assert all(one['ego_source'] == 'ackermann' for one in states)
    places = np.array([(one.pose.pose.position.x, one.pose.pose.position.y) for one in odometry])
    assert len(places) > 10
    off = np.hypot(places[:, 0], places[:, 1] - RADIUS_M) - RADIUS_M
    assert np.abs(off).max() < 0.3
    # And it came along.
    assert np.hypot(*(places[-1] - places[0])) > 20.0


def test_who_cannot_drive_says_so_once(start, usdz, follower):
    bench = start(server='127.0.0.1:1')
    nobody = follower(bench, '--ros-args', '-p', 'player:=nosuch', '-p', 'offset:=1')
    unheard = follower(bench, '--ros-args', '-p', 'offset_m:=1')
    nobody.says(r"there is no parameter 'offset'; there are player, offset_m, wheelbase_m$")
    nobody.says(r"there is no player /nosuch, which parameter 'player' names; there is /nurec$")
    unheard.says(r'nothing has come on /nurec/path: the player has no scenario yet$')
    bench.configure(usdz_path=str(usdz))
    bench.trigger('load')
    unheard.says(
        r'nobody subscribes to /nurec/ackermann_cmd: the player needs ego_source:=ackermann '
        r'\(ros2 param set /nurec ego_source ackermann\)$'
    )
    # And then it drives.
    bench.configure(ego_source='ackermann')
    bench.until(
        lambda: bench.trigger('tick') and bench.state.get('ego_input_stamp_us'), 'a command'
    )
    assert nobody.output.count('no player') == unheard.output.count('nobody') == 1
    assert 'no player' not in unheard.output


@pytest.mark.parametrize(
    ('argument', 'sentence'),
    [
        ('offset_m:=abc', "parameter 'offset_m' is 'abc'; expected a number, -100 to 100"),
        ('offset_m:=.nan', "parameter 'offset_m' is nan; expected a number, -100 to 100"),
        ('wheelbase_m:=0', "parameter 'wheelbase_m' is 0; expected a number, 0.1 to 20"),
        ('use_sim_time:=1', "'use_sim_time' to '1' of type 'INTEGER', expecting type 'BOOL'"),
        ('player:=a b', 'Invalid topic name: topic name must not contain characters other'),
    ],
)
def test_parameters_that_cannot_be_used_are_one_line(follower, argument, sentence):
    process = follower(None, '--ros-args', '-p', argument)
    assert process.wait() == 1
    assert sentence in process.output
    assert process.output.startswith('nurec_follow: ')
    assert process.output.count('\n') == 1


def test_the_offset_changes_at_run_time(make_node):
    node = make_node('-p', 'offset_m:=1', node_class=Follower)
    for value, refusal in (
        (2, ''),
        (math.nan, 'nan'),
        ('left', "'left'; expected a number"),
        (-1.5, ''),
    ):
        (result,) = node.set_parameters([Parameter('offset_m', value=value)])
        assert result.successful == (not refusal)
        assert refusal in result.reason
    (result,) = node.set_parameters([Parameter('wheelbase_m', value=3.0)])
    assert not result.successful
    # What is driven then is beside the path.
    commands = []
    node._commands = SimpleNamespace(publish=commands.append)
    node._on_path(path_ahead())
    node._on_odom(Odometry(header=Header(stamp=Time(sec=1000))))
    assert commands[0].drive.steering_angle < -0.2


def path_ahead():
    """Return a path along x, 10 m/s from 1000 s on."""
    path = Path()
    for second in range(5):
        pose = PoseStamped(header=Header(stamp=Time(sec=1000 + second)))
        pose.pose.position.x = 10.0 * second
        path.poses.append(pose)
    return path


def test_the_command_says_what_it_is_for(follower):
    process = follower(None, '--help')
    assert process.wait() == 0
    assert 'offset_m' in process.output
    assert 'ego_source:=ackermann' in process.output
