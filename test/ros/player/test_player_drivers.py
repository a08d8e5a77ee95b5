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
"""Drivers in processes of their own that die, flood the player, or know neither time nor place."""

from itertools import pairwise
import signal
from test.support.archives import build_archive, START_US
from test.support.driver import (
    ahead_m,
    Driver,
    needs_ackermann,
    pose,
    SPEED,
    stamped,
    STREAMS,
    twist,
)
from test.support.player_bench import stamp_ns
from test.support.process import Process
import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nav_msgs.msg import Odometry
import numpy as np
import pytest
from std_msgs.msg import Header

SECOND = 1_000_000_000
BEGIN_NS = START_US * 1000
DECELERATION = 6.0
# Longer than a driver that lives may have to wait for its turn.
TIMEOUT_S = 2.0
SOURCES = ['twist', pytest.param('ackermann', marks=needs_ackermann), 'pose']

pytestmark = pytest.mark.contract


@pytest.fixture(scope='module')
def player(start, tmp_path_factory):
    """Return the player of this module: a drive of two minutes, without pictures."""
    usdz = build_archive(tmp_path_factory.mktemp('long'), duration_s=120.0, tracks=[])
    return start(usdz_path=usdz, server='127.0.0.1:1', command_timeout_s=TIMEOUT_S).ready()


@pytest.fixture(scope='module')
def diagnostics(player):
    return player.listen(DiagnosticArray, '/diagnostics')


@pytest.fixture
def take(player, tmp_path, monkeypatch):
    """Return a function that starts a driver's process; the player plays from begin."""
    processes = []
    monkeypatch.setenv('ROS_DOMAIN_ID', str(player.domain))

    def run(source, hz, count=0):
        log = tmp_path / f'driver_{len(processes)}.txt'
        processes.append(Process('test.support.driver', ['stream', source, hz, count], log))
        return processes[-1]

    yield run
    for process in processes:
        process.end()
    player.trigger('stop')
    player.configure(rate=1.0)


def play(player, source):
    player.configure(ego_source=source)
    player.trigger('reset')
    player.trigger('play')


def ego_status(diagnostics):
    """Return the newest status of the ego, and its values."""
    for message in reversed(diagnostics):
        for status in message.status:
            if status.name == 'nurec: ego':
                return status, {one.key: one.value for one in status.values}
    return DiagnosticStatus(), {}


def drives(player, after_us):
    """Return whether the ego goes as the stream says, by an input that is later than a stamp."""
    state = player.state
    if (state.get('ego_input_stamp_us') or 0) <= after_us:
        return False
    # A pose that is stamped with the newest /clock is held from its arrival on.
    return state['ego_source'] == 'pose' or abs(state['ego_speed'] - SPEED) < 1e-6


@pytest.mark.parametrize('source', SOURCES)
def test_a_driver_that_dies_stops_nothing_and_another_one_takes_over(
    player, diagnostics, take, source
):
    odometry = player.listen(Odometry, '~/odom')
    play(player, source)
    driver = take(source, 50.0)
    player.until(lambda: drives(player, 0), 'the driven ego')
    # What an earlier test showed may lie behind.
    odometry.clear()
    driver.send_signal(signal.SIGKILL)
    assert driver.wait() == -signal.SIGKILL
    sentence = f'no input for ego_source {source}'

    def said_of():
        status, _ = ego_status(diagnostics)
        return status.level == DiagnosticStatus.ERROR and f'{sentence} since' in status.message

    player.until(said_of, 'the diagnostics')
    last_us = player.state['ego_input_stamp_us']
    player.until(
        lambda: f'{sentence} after that of {last_us} us' in player.player.output, 'the log'
    )
    # What the ego does from then on, by closed forms; it is told of 25 times a second.
    player.configure(rate=4.0)
    end_ns = last_us * 1000 + round(TIMEOUT_S * SECOND)
    player.passes(end_ns + SECOND)
    player.until(lambda: stamp_ns(odometry[-1]) > end_ns + SECOND, 'odometry')
    rows = {stamp_ns(one): one for one in odometry if stamp_ns(one) > last_us * 1000}
    late = sorted(t_ns for t_ns in rows if t_ns >= end_ns)
    speeds = np.array([rows[t_ns].twist.twist.linear.x for t_ns in late])
    seconds = (np.array(late) - end_ns) * 1e-9
    if source == 'ackermann':
        truth = np.maximum(SPEED - DECELERATION * seconds, 0.0)
        np.testing.assert_allclose(speeds, truth, atol=1e-6)
    else:
        assert not speeds.any()
    if source == 'pose':
        held = [one.pose.pose.position.x for one in (rows[t_ns] for t_ns in late)]
        np.testing.assert_allclose(held, ahead_m(last_us * 1000), atol=1e-9)
    else:
        # And not a moment sooner.
        assert all(
            one.twist.twist.linear.x > SPEED - 1e-6 for t_ns, one in rows.items() if t_ns < end_ns
        )
    assert player.state['is_playing']
    assert player.player.output.count(f'{sentence} after') == 1
    player.configure(rate=1.0)
    take(source, 50.0)
    player.until(lambda: drives(player, last_us), 'the next driver')
    player.until(
        lambda: ego_status(diagnostics)[0].level != DiagnosticStatus.ERROR, 'the end of the error'
    )


@pytest.mark.parametrize('source', SOURCES)
def test_a_thousand_inputs_a_second_stop_nothing(player, take, source):
    play(player, source)
    driver = take(source, 1000.0, 1000)
    player.until(lambda: player.state.get('ego_input_stamp_us'), 'the first input')
    before = len(player.clocks)
    answers = 0
    while driver.code is None:
        assert player.trigger('play')['is_playing']
        answers += 1
        player.spin(player.clocks, 10)
    assert driver.code == 0, driver.output
    assert answers > 1
    stamps = [stamp_ns(one) for one in player.clocks[before:]]
    assert all(one < other for one, other in pairwise(stamps))
    # None is lost at the end: the last one counts.
    last_us = int(driver.output.split('the last input was of ')[1])
    player.until(lambda: player.state['ego_input_stamp_us'] == last_us, 'the last input')


def test_bad_poses_are_dropped_counted_and_said_once(player, diagnostics):
    player.configure(ego_source='pose')
    player.trigger('reset')
    player.seek(BEGIN_NS + 60 * SECOND)
    now_ns = BEGIN_NS + 60 * SECOND
    player.until(lambda: player.state['current_time_us'] == now_ns // 1000, 'the middle')
    driver = Driver(player.listener, 'pose')
    count = int(ego_status(diagnostics)[1].get('dropped_inputs', 0))
    driver.put(pose(0, 1.0, 2.0))
    bad = {
        'position.x is nan, expected a finite number': pose(now_ns, float('nan'), 0.0),
        'orientation is a quaternion of length 0, expected 1': pose(now_ns, 9.0, 9.0, w=0.0),
        "frame_id is 'odom', expected 'map' or none": pose(now_ns, 9.0, 9.0, 'odom'),
        'more than 10 s before the position': pose(now_ns - 11 * SECOND, 9.0, 9.0),
        'expected scenario time: set use_sim_time': pose(time.time_ns(), 9.0, 9.0),
    }
    for _ in range(3):
        for message in bad.values():
            driver.put(message)
    values = {}

    def counted():
        values.update(ego_status(diagnostics)[1])
        return values.get('dropped_inputs') == str(count + 15)

    player.until(counted, 'all that was dropped')
    for reason in (
        'position.x is not finite (3)',
        'a quaternion of length 0 (3)',
        'another frame_id (3)',
        'a stamp of long ago (3)',
        'a stamp beyond the end (3)',
    ):
        assert reason in values['dropped_for']
    said = [line for line in player.player.output.splitlines() if 'it is dropped' in line]
    for sentence in bad:
        found = [line for line in said if sentence in line and '/nurec/ego_pose: ' in line]
        # The one of long ago asks for use_sim_time too.
        assert len(found) == 1 + ('use_sim_time' in sentence), sentence
        assert '[WARN]' in found[0]
    assert player.state['ego_input_stamp_us'] == now_ns // 1000


@pytest.mark.parametrize('source', [SOURCES[0], SOURCES[1]])
def test_bad_commands_are_counted_and_said_once(player, diagnostics, source):
    player.configure(ego_source=source)
    player.trigger('reset')
    player.seek(BEGIN_NS + 60 * SECOND)
    now_us = START_US + 60_000_000
    player.until(lambda: player.state['current_time_us'] == now_us, 'the middle')
    driver = Driver(player.listener, source)
    before = ego_status(diagnostics)[1]
    dropped, restamped = (
        int(before.get(key, 0)) for key in ('dropped_inputs', 'restamped_inputs')
    )

    def make(t_ns, frame=''):
        message = STREAMS[source](t_ns)
        message.header = stamped(type('_', (), {'header': Header()}), t_ns, frame).header
        return message

    nan = make(now_us * 1000)
    if source == 'twist':
        nan = twist(now_us * 1000, 1.0, float('nan'))
    else:
        nan.drive.steering_angle = float('nan')
    for _ in range(3):
        driver.put(nan)
        driver.put(make(now_us * 1000, 'odom'))
        driver.put(make(now_us * 1000 - 3 * SECOND))
    player.until(
        lambda: ego_status(diagnostics)[1].get('dropped_inputs') == str(dropped + 9), 'the count'
    )
    assert player.state['ego_input_stamp_us'] in (0, None)
    # A stamp of the wall clock counts from its arrival.
    for _ in range(3):
        driver.put(make(time.time_ns()))
    player.until(
        lambda: ego_status(diagnostics)[1]['restamped_inputs'] == str(restamped + 3), 'the count'
    )
    assert player.state['ego_input_stamp_us'] == now_us
    assert player.trigger('tick')['ego_speed'] > 0.0
    said = player.player.output
    key = 'angular.z' if source == 'twist' else 'steering_angle'
    assert said.count(f'{key} is nan, expected a finite number') == 1
    dropped_for = f'{driver.publisher.topic_name}: '
    assert said.count(f"{dropped_for}frame_id is 'odom', expected 'base_link'") == 1
    assert said.count(f'{dropped_for}a command is stamped {now_us - 3_000_000} us') == 1
    assert said.count('it counts from its arrival; expected scenario time: set use_sim_time') == 1
