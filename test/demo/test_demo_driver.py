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
"""A drive beside the recording: the demo's driver, and what it leaves."""

from __future__ import annotations

from itertools import count
from test.demo.conftest import own_domain
from test.rendering.fake_server import FakeServer
from types import SimpleNamespace
from typing import Any

from ackermann_msgs.msg import AckermannDriveStamped
from nav_msgs.msg import Odometry
import numpy as np
from nurec_ros import Environment
from nurec_ros.demo import driver, play
from nurec_ros.demo.driver import choose_offset, driven_text, part_at, TICK_US
from nurec_ros.demo.play import drain
from nurec_ros.demo.recording import read_drive
from nurec_ros.demo.resources import DemoError
from nurec_ros.demo.show import Options, run
from nurec_ros.driving.pursuit import PurePursuit
from nurec_ros.example import make_example, write_example
from nurec_ros.scenario import Scenario
import pytest
from rclpy.serialization import serialize_message

pytest.importorskip('ackermann_msgs', reason='there is nothing to drive with')

# At half a lane to the right it would meet a parked car, and to the left one that comes.
OFFSET_M = -1.0


@pytest.fixture(scope='module')
def driven(tmp_path_factory: pytest.TempPathFactory):
    """Return the scenario, the folder that a driven demo of one camera filled, what it said."""
    folder = tmp_path_factory.mktemp('driven')
    usdz = write_example(folder / 'street.usdz', make_example(duration_s=6.0, road_users=8))
    scenario, said, settled = Scenario.load(usdz), list[str](), list[bool]()

    def drained(spin, number, is_complete):
        drain(spin, number, is_complete)
        settled.append(is_complete())

    with pytest.MonkeyPatch.context() as patch, FakeServer(scenes=[scenario.scene_id]) as server:
        own_domain(patch)
        # Until the last image, however busy the machine is; waiting for anything else never ends.
        patch.setattr(play, 'MOST_DRAIN_S', 120.0)
        patch.setattr(play, 'drain', drained)
        options = Options(
            usdz=str(usdz),
            output=str(folder / 'demo'),
            server=server.address,
            cameras=('camera_front_wide_120fov',),
            resolution_scale=0.05,
            camera_rate=1.0,
            lidar_rate=0.2,
            rate=20.0,
            drive=True,
        )
        run(options, said.append)
    assert settled == [True]
    return scenario, folder / 'demo', '\n'.join(said)


def test_the_ego_goes_half_a_lane_beside_the_recording_and_back(driven):
    """Drive the same in plain Python: every tick leads to the same pose."""
    scenario, folder, said = driven
    drive = read_drive(folder / 'recording', [scenario.start_ns])
    assert drive.is_driven
    pursuit = PurePursuit(scenario.ego.times_ns, scenario.ego.positions)
    expected, lateral, met = [], [], set()
    with Environment(scenario.path, '', ego_source='ackermann') as environment:
        seen = environment.reset()
        while not seen.done:
            pursuit.offset_m = OFFSET_M * part_at(pursuit.near_m / pursuit.length_m)
            x, y, z, w = seen.pose.quaternion
            yaw = np.arctan2(2 * (x * y + z * w), 1 - 2 * (y * y + z * z))
            place = [*seen.pose.position[:2], float(yaw)]
            expected.append((seen.t_ns, place))
            speed = float(seen.twist.linear[0])
            command = np.float32(pursuit.command(seen.t_ns, *place, speed=speed))
            seen = environment.step(tuple(command.tolist()), duration_s=TICK_US / 1e6)
            lateral.append(seen.deviation.lateral_m)
            met |= set(seen.collisions)
    rows = dict(zip(drive.odometry_ns.tolist(), drive.odometry.tolist(), strict=True))
    for t_ns, place in expected:
        assert rows[t_ns] == pytest.approx(place, abs=1e-6)
    assert min(lateral) == pytest.approx(OFFSET_M, abs=0.15)
    assert abs(lateral[-1]) < 0.005
    # What was chosen by it beforehand was driven.
    assert met == set()
    assert 'driver: drives 1 m to the right of the recording; 1.75 m to the right' in said
    assert f'driven by ~/ackermann_cmd: up to {-min(lateral):.2f} m to the right' in said
    assert 'nobody was met' in said


def test_the_whole_offset_is_driven_in_the_middle_and_none_at_the_ends():
    assert [part_at(share) for share in (0.0, 0.05, 0.75, 1.0)] == [0.0] * 4
    assert [part_at(share) for share in (0.35, 0.4, 0.45)] == [1.0] * 3
    assert part_at(0.2) == pytest.approx(0.5)
    assert part_at(0.6) == pytest.approx(0.5)
    over = [part_at(share) for share in np.linspace(0.05, 0.35, 50)]
    assert np.all(np.diff(over) > 0)


def test_on_the_side_where_a_bus_waits_nobody_drives(pittsburgh):
    choice = choose_offset(Scenario.load(pittsburgh))
    assert (choice.offset_m, choice.met) == (1.75, ())
    assert choice.text == (
        'drives 1.75 m to the left of the recording; '
        '1.75 m to the right it would meet road user 42'
    )


def test_where_everybody_meets_somebody_the_fewest_are_met(monkeypatch):
    best_m = driver.OFFSETS_M[2]
    met = {one: ('9',) if one == best_m else ('8', '7') for one in driver.OFFSETS_M}
    monkeypatch.setattr(driver, 'rehearse', lambda _, offset_m: met[offset_m])
    choice = choose_offset(None)
    assert (choice.offset_m, choice.met) == (best_m, ('9',))
    assert choice.text.count('it would meet road users 8, 7') == len(driver.OFFSETS_M) - 1


class Road:
    """A player that drives on by a second each tick, and whose odometry comes a step later."""

    def __init__(self, begin_ns: int, *, odometry_comes: bool = True) -> None:
        self.begin_ns = self.t_ns = begin_ns
        self.odometry = b''
        self.commands: list[AckermannDriveStamped] = []
        self._comes = odometry_comes

    @property
    def state(self) -> dict[str, Any]:
        passed_s = (self.t_ns - self.begin_ns) / 1e9
        times = {'current_time_us': self.t_ns // 1000, 'seconds_since_start': passed_s}
        return {**times, 'done': passed_s == 3.0, 'deviation_m': 0.0, 'collisions': []}

    def publisher(self, kind, name):
        assert (kind, name) == (AckermannDriveStamped, 'ackermann_cmd')
        return SimpleNamespace(publish=self.commands.append)

    def step(self, _):
        if self._comes:
            message = Odometry()
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(self.t_ns, 10**9)
            message.pose.pose.orientation.w = 1.0
            self.odometry = serialize_message(message)

    def call(self, name, *_):
        assert name == 'tick'
        self.t_ns += 10**9


def test_each_tick_has_a_command_of_its_moment_and_none_comes_too_early(street, monkeypatch):
    scenario, now = Scenario.load(street), count(100.0, 0.01)
    road, reports = Road(scenario.start_ns), []
    monkeypatch.setattr(driver, 'time', SimpleNamespace(monotonic=lambda: next(now)))
    (said,) = driver.driver(scenario, 1.0, 2.0)(road, lambda: reports.append(road.t_ns))
    moments = [scenario.start_ns + k * 10**9 for k in range(4)]
    stamps = [one.header.stamp.sec * 10**9 + one.header.stamp.nanosec for one in road.commands]
    assert (stamps, reports) == (moments[:3], moments[1:])
    # Three seconds, at two a second.
    assert next(now) - 100.0 == pytest.approx(1.5, abs=0.1)
    assert said.endswith('nobody was met')


def test_without_odometry_nobody_drives(street, monkeypatch):
    scenario = Scenario.load(street)
    monkeypatch.setattr(driver, 'STALL_S', 0.05)
    drive = driver.driver(scenario, 1.0, 2.0)
    words = f'no odometry of {scenario.start_ns // 1000} us in 0.05 s'
    with pytest.raises(DemoError, match=words):
        drive(Road(scenario.start_ns, odometry_comes=False), lambda: None)


def test_what_is_said():
    assert driven_text([0.1, -1.5, 0.25], set()) == (
        'driven by ~/ackermann_cmd: up to 1.50 m to the right of the recording, 0.25 m at the '
        'end; nobody was met'
    )
    assert driven_text([2.0], {'8', '7'}).endswith(
        'to the left of the recording, 2.00 m at the end; road users met: 7, 8'
    )
