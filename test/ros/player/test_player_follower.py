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
"""The follower over DDS: by ticks that wait for it, in real time, and what it says."""

import math
from test.support.archives import build_archive
from test.support.player_bench import NOWHERE, state_of
from test.support.process import Process

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry, Path
import numpy as np
from nurec_ros.cli.drivers import follow
from nurec_ros.cli.example import main as example
from nurec_ros.ros import tool_nodes
from nurec_ros.ros.outlet import latched
import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from std_msgs.msg import Header

AckermannDriveStamped = pytest.importorskip('ackermann_msgs.msg').AckermannDriveStamped

# Of the recorded arc, which starts in the origin and turns to the left.
RADIUS_M = 40.0


@pytest.fixture(scope='module')
def followed(start, tmp_path_factory):
    """Return a player, which has no scenario yet, with a follower."""
    bench = start(server=NOWHERE, ego_source='ackermann', tick_us=50_000, clock_rate=50.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('ROS_DOMAIN_ID', str(bench.domain))
        log = tmp_path_factory.mktemp('follower') / 'follower.txt'
        process = Process('nurec_ros.cli.drivers:follow', [], log)
    yield bench
    process.end()


def loaded(bench, usdz, **parameters):
    """Load a scenario, and wait for the first command."""
    bench.load(usdz_path=str(usdz), **parameters)
    bench.until(lambda: bench.state.get('ego_input_stamp_us'), 'the first command')


def test_by_ticks_it_stays_on_the_example_street(followed, tmp_path):
    usdz = tmp_path / 'street.usdz'
    assert example([str(usdz), '--duration', '5']) == 0
    loaded(followed, usdz, ego_wait_s=120.0)
    done, deviations = False, []
    while not done:
        state = followed.trigger('tick')
        done = state['done']
        deviations.append(abs(state['deviation_m']))
        assert state['ego_source'] == 'ackermann'
    assert len(deviations) >= 100
    assert max(deviations) < 0.3
    # The street begins at 12 m/s; whoever stood would be on the path too.
    assert 2.0 < state['ego_speed'] < 13.0


def test_in_real_time_it_stays_on_an_arc(followed, tmp_path):
    # Commands may come late, or not for a while: the ego brakes then, on the arc that it is on.
    bench = followed
    loaded(bench, build_archive(tmp_path, duration_s=3.5, tracks=[]), ego_wait_s=0.0)
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


@pytest.mark.parametrize(
    ('arguments', 'code', 'words'),
    [
        (['--help'], 0, ['offset_m', 'ego_source:=ackermann']),
        (['offset_m:=abc'], 1, ["parameter 'offset_m' is 'abc'; expected a number, -100 to 100"]),
        (['offset_m:=.nan'], 1, ["parameter 'offset_m' is nan; expected a number, -100 to 100"]),
        (['wheelbase_m:=0'], 1, ["parameter 'wheelbase_m' is 0; expected a number, 0.1 to 20"]),
        (['use_sim_time:=1'], 1, ["to '1' of type 'INTEGER', expecting type 'BOOL'"]),
        (['player:=a b'], 1, ['Invalid topic name: topic name must not contain characters other']),
    ],
)
def test_the_command_says_what_it_is_for_and_in_one_line_what_cannot_be(
    capfd, arguments, code, words
):
    found: object
    try:
        found = follow(['--ros-args', '-p', *arguments] if code else arguments)
    except SystemExit as ended:
        found = ended.code
    assert found == code
    said = ''.join(capfd.readouterr())
    assert all(word in said for word in words), said
    if code:
        assert said.startswith('nurec_follow: ')
        assert said.count('\n') == 1


@pytest.fixture
def follower(make_node, listener, monkeypatch, capfd):
    """Return a function that makes a follower which knows of the player, and one that spins it."""
    monkeypatch.setattr(tool_nodes, 'MISSING_LOOK_S', 0.02)
    said = ['']
    player = listener.node.create_publisher(DiagnosticStatus, '/nurec/state', 1)

    def make(*words):
        arguments = [part for word in words for part in ('-p', word)]
        node = make_node(*arguments, name='nurec_follow', node_class=tool_nodes.Follower)
        listener.until(lambda: node.count_publishers(player.topic_name), 'the player')
        executor = SingleThreadedExecutor(context=node.context)
        executor.add_node(node)

        def says(*sentences):
            def look():
                executor.spin_once(timeout_sec=0.01)
                said[0] += ''.join(capfd.readouterr())
                return all(f'{sentence}\n' in said[0] for sentence in sentences)

            listener.until(look, ' and '.join(sentences))
            return said[0]

        return node, executor, says

    return make


def test_who_cannot_drive_says_so_once(follower, listener):
    _, _, says = follower('player:=nosuch', 'offset:=1')
    says(
        "there is no parameter 'offset'; there are player, offset_m, wheelbase_m",
        "there is no player /nosuch, which parameter 'player' names; there is /nurec",
    )
    node, executor, says = follower('offset_m:=1')
    says('nothing has come on /nurec/path: the player has no scenario yet')
    # Along x, 10 m/s.
    path = Path(poses=[PoseStamped(header=Header(stamp=Time(sec=1000 + s))) for s in range(5)])
    for second, one in enumerate(path.poses):
        one.pose.position.x = 10.0 * second
    listener.node.create_publisher(Path, '/nurec/path', latched()).publish(path)
    says(
        'nobody subscribes to /nurec/ackermann_cmd: the player needs ego_source:=ackermann '
        '(ros2 param set /nurec ego_source ackermann)'
    )
    # And then it drives, beside the path, as far as it is told at run time.
    for name, value, refusal in (
        ('offset_m', 2, ''),
        ('offset_m', math.nan, 'nan'),
        ('offset_m', 'left', "'left'; expected a number"),
        ('offset_m', -1.5, ''),
        ('wheelbase_m', 3.0, 'wheelbase_m'),
    ):
        (result,) = node.set_parameters([Parameter(name, value=value)])
        assert result.successful == (not refusal)
        assert refusal in result.reason
    commands = listener.listen(AckermannDriveStamped, '/nurec/ackermann_cmd')
    odometry = listener.node.create_publisher(Odometry, '/nurec/odom', 10)
    listener.matched(odometry)

    def driven():
        odometry.publish(Odometry(header=Header(stamp=Time(sec=1000))))
        executor.spin_once(timeout_sec=0.01)
        return commands

    listener.until(driven, 'a command')
    assert commands[0].drive.steering_angle < -0.2
    said = says('')
    assert said.count('no player') == said.count('nothing has come') == 1
    assert said.count('nobody subscribes') == 1
