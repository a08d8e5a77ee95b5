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
"""Drivers that flood the player, die, or know neither time nor place."""

from collections import Counter
from itertools import pairwise
import re
import signal
from test.support.archives import build_archive
from test.support.driver import (
    ackermann,
    ahead_m,
    Driver,
    needs_ackermann,
    pose,
    SPEED,
    stamped,
    STREAMS,
    twist,
)
from test.support.player_bench import BEGIN_NS, NOWHERE, SECOND, stamp_ns
from test.support.process import Process
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry
import numpy as np
import pytest

DECELERATION = 6.0
# Longer than a driver that lives may have to wait for its turn.
TIMEOUT_S = 2.0
NAN = float('nan')
SOURCES = ['twist', pytest.param('ackermann', marks=needs_ackermann), 'pose']

pytestmark = pytest.mark.contract


@pytest.fixture(scope='module')
def player(start, tmp_path_factory):
    """Return the player of this module: a drive of two minutes, without pictures."""
    usdz = build_archive(tmp_path_factory.mktemp('long'), duration_s=120.0, tracks=[])
    return start(usdz_path=usdz, server=NOWHERE, command_timeout_s=TIMEOUT_S).ready()


def drives(player, after_us):
    """Return whether the ego goes as the stream says, by an input that is later than a stamp."""
    state = player.state
    if (state.get('ego_input_stamp_us') or 0) <= after_us:
        return False
    # A pose that is stamped with the newest /clock is held from its arrival on.
    return state['ego_source'] == 'pose' or abs(state['ego_speed'] - SPEED) < 1e-6


def bad_inputs(source, now_ns):
    """Return inputs that cannot be used, what is said of each, and as what it is counted."""
    if source == 'pose':
        finite = r'position\.x is nan, expected a finite number'
        length = 'orientation is a quaternion of length 0, expected 1'
        frame = "frame_id is 'odom', expected 'map' or none"
        early = 'more than 10 s before the position .*set use_sim_time'
        late = 'more than 10 s beyond the end .*set use_sim_time'
        return [
            (pose(now_ns, NAN, 0.0), finite, 'position.x is not finite'),
            (pose(now_ns, 9.0, 9.0, w=0.0), length, 'a quaternion of length 0'),
            (pose(now_ns, 9.0, 9.0, 'odom'), frame, 'another frame_id'),
            (pose(now_ns - 11 * SECOND, 9.0, 9.0), early, 'a stamp of long ago'),
            (pose(time.time_ns(), 9.0, 9.0), late, 'a stamp beyond the end'),
        ]
    make: Any = {'twist': twist, 'ackermann': ackermann}[source]
    key = {'twist': 'angular.z', 'ackermann': 'steering_angle'}[source]
    old_ns = now_ns - 3 * SECOND
    other = stamped(make(now_ns, 1.0, 0.0), now_ns, 'odom')
    frame = "frame_id is 'odom', expected 'base_link'"
    early = f'a command is stamped {old_ns // 1000} us'
    return [
        (make(now_ns, 1.0, NAN), f'{key} is nan, expected a finite', f'{key} is not finite'),
        (other, frame, 'another frame_id'),
        (make(old_ns, 1.0, 0.0), early, 'a stamp of long ago'),
    ]


@pytest.mark.parametrize('source', SOURCES)
def test_bad_inputs_are_dropped_counted_and_said_once(player, source):
    """Before the floods: a driver that a busy machine holds back sends commands of long ago."""
    now_ns = BEGIN_NS + 60 * SECOND
    player.configure(ego_source=source)
    player.trigger('reset')
    player.seek(now_ns)
    player.until(lambda: player.state['current_time_us'] == now_ns // 1000, 'the middle')
    driver = Driver(player.listener, source)

    def value_of(key):
        return player.told('ego').get(key, '')

    def counts():
        found = re.findall(r'([^;]+) \((\d+)\)(?:; )?', value_of('dropped_for'))
        return Counter({reason: int(count) for reason, count in found})

    before, restamped = counts(), int(value_of('restamped_inputs') or 0)
    bad = bad_inputs(source, now_ns)
    for _ in range(3):
        for message, _, _ in bad:
            driver.put(message)
    wanted = {reason: 3 for _, _, reason in bad}
    player.until(lambda: counts() - before == wanted, 'all that was dropped')
    assert value_of('dropped_inputs') == str(counts().total())
    assert not player.state['ego_input_stamp_us']
    for _, sentence, _ in bad:
        line = rf'^.*\[WARN\].*{driver.publisher.topic_name}: .*{sentence}.*; it is dropped'
        found = re.findall(line, player.player.output, re.MULTILINE)
        assert len(found) == 1, sentence
    if source == 'pose':
        driver.put(pose(0, 1.0, 2.0))
    else:
        # A stamp of the wall clock counts from its arrival.
        for _ in range(3):
            driver.put(STREAMS[source](time.time_ns()))
        player.until(lambda: value_of('restamped_inputs') == str(restamped + 3), 'the count')
        said = 'it counts from its arrival; expected scenario time: set use_sim_time'
        assert player.player.output.count(said) == 1
    player.until(lambda: player.state['ego_input_stamp_us'] == now_ns // 1000, 'the good input')
    assert source == 'pose' or player.trigger('tick')['ego_speed'] > 0.0


@pytest.mark.parametrize('source', SOURCES)
def test_a_thousand_inputs_a_second_and_their_sudden_end_stop_nothing_and_another_takes_over(
    player, source, tmp_path, monkeypatch
):
    odometry = player.listen(Odometry, '~/odom')
    player.configure(ego_source=source, rate=1.0)
    player.trigger('reset')
    player.trigger('play')
    monkeypatch.setenv('ROS_DOMAIN_ID', str(player.domain))
    driver = Process('test.support.driver', ['flood', source, 1000], tmp_path / 'driver.txt')
    player.until(lambda: drives(player, 0), 'the driven ego')
    # What an earlier test showed may lie behind.
    odometry.clear()
    before = len(player.clocks)
    for _ in range(10):
        assert player.trigger('play')['is_playing']
        player.spin(player.clocks, 10)
    driver.send_signal(signal.SIGTERM)
    player.until(lambda: driver.code is not None, 'the end of the driver')
    assert driver.code == -signal.SIGKILL, driver.output
    stamps = [stamp_ns(one) for one in player.clocks[before:]]
    assert all(one < other for one, other in pairwise(stamps))
    # None is lost at the end: the last one counts.
    last_us = int(driver.output.split('the last input was of ')[1])
    player.until(lambda: player.state['ego_input_stamp_us'] == last_us, 'the last input')
    # What the ego does from then on, by closed forms; it is told of 25 times a second.
    player.configure(rate=4.0)
    end_ns = last_us * 1000 + round(TIMEOUT_S * SECOND)
    sentence = f'no input for ego_source {source}'

    def said_of():
        status = player.status('ego')
        return status.level == DiagnosticStatus.ERROR and f'{sentence} since' in status.message

    player.until(said_of, 'the diagnostics')
    ended = f'{sentence} after that of {last_us} us'
    player.until(lambda: ended in player.player.output, 'the log')
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
        held = [rows[t_ns].pose.pose.position.x for t_ns in late]
        np.testing.assert_allclose(held, ahead_m(last_us * 1000), atol=1e-9)
    else:
        # And not a moment sooner.
        assert all(
            one.twist.twist.linear.x > SPEED - 1e-6 for t_ns, one in rows.items() if t_ns < end_ns
        )
    assert player.state['is_playing']
    # Other ends are those of a driver that a busy machine held back for longer than the timeout.
    assert player.player.output.count(ended) == 1
    player.configure(rate=1.0)
    another = Driver(player.listener, source)

    def driven():
        another.put(STREAMS[source](player.clock_ns))
        return drives(player, last_us) and player.status('ego').level != DiagnosticStatus.ERROR

    player.until(driven, 'the next driver, and the end of the error')
    player.trigger('stop')
