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
"""~/imu and ~/fix: when they are due, what is in them, and for whom there are none."""

from dataclasses import replace
from test.support.archives import build_archive, START_US
from test.support.outlet import RecordingOutlet

import numpy as np
from nurec_ros.driving import AckermannCommand, DrivenEgo, TwistCommand
from nurec_ros.driving.watch import EgoWatch
from nurec_ros.playback.effects import Show, ShowJump
from nurec_ros.ros.ego_topics import due_times
from nurec_ros.ros.loading import read
from nurec_ros.ros.topics import ScenarioTopics
from nurec_ros.scenario import Scenario
from nurec_ros.scenario.localization import InertialMotion
from nurec_ros.settings import Settings
import pytest
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import NavSatFix

pytestmark = pytest.mark.ros

BEGIN_NS = START_US * 1000
MS = 1_000_000
G = 9.80665
# Latitude 59.35, longitude 17.96, 23.5 m above the ellipsoid, by pyproj; z is up there.
PLACE = np.array([3100787.7174247676, 1005114.2477972183, 5463935.220180107])


def on_earth():
    east_north_up = Rotation.from_euler('ZY', [17.96, 90.0 - 59.35], degrees=True).as_matrix()
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = east_north_up, PLACE
    return T


@pytest.fixture(scope='module')
def scenario(tmp_path_factory):
    folder = tmp_path_factory.mktemp('sensors')
    edit = {'T_world_base': on_earth().tolist()}
    return Scenario.load(build_archive(folder, edit_rig=edit))


@pytest.fixture
def outlet():
    return RecordingOutlet()


def shown(outlet, scenario, driver=None, **values):
    topics = ScenarioTopics(outlet, lambda: Settings(**values), scenario)
    topics.change(scenario, driver)
    return topics


def stamps(outlet, topic):
    found = outlet.messages(topic)
    return [one.header.stamp.sec * 10**9 + one.header.stamp.nanosec for one in found]


def test_due_at_begin_and_every_period_after():
    assert due_times(7, 4.0, 6_999, 1_000_007_000) == [7_000 + 250 * MS * k for k in range(5)]
    assert due_times(7, 4.0, 7_000, 250_006_999) == []
    # Each from k itself, in whole microseconds.
    assert due_times(0, 3.0, 0, 1_000_000_000) == [333_333_000, 666_667_000, 1_000_000_000]
    whole = due_times(0, 333.0, 0, 7_000_000_000)
    parts = [t for k in range(700) for t in due_times(0, 333.0, k * 10 * MS, (k + 1) * 10 * MS)]
    assert parts == whole
    assert len(whole) == 7 * 333


def test_what_time_passes_is_published_and_what_a_jump_passes_over_is_not(outlet, scenario):
    topics = shown(outlet, scenario, imu_rate=100.0, fix_rate=10.0)
    topics.show_jump(ShowJump(BEGIN_NS, loaded=True))
    topics.show(Show(BEGIN_NS + 25 * MS, clock=True, pose=True, after_ns=BEGIN_NS))
    topics.show(Show(BEGIN_NS + 1500 * MS, clock=True, pose=True, tracks=True))
    topics.show(Show(BEGIN_NS + 1610 * MS, clock=True, pose=True, after_ns=BEGIN_NS + 1500 * MS))
    imu = [0, 10, 20, *range(1510, 1611, 10)]
    assert stamps(outlet, '~/imu') == [BEGIN_NS + ms * MS for ms in imu]
    assert stamps(outlet, '~/fix') == [BEGIN_NS + ms * MS for ms in (0, 1600)]


def test_the_messages(outlet, scenario):
    """8 m/s on an arc of 0.2 rad/s, by the archive."""
    topics = shown(outlet, scenario, imu_rate=1.0, fix_rate=1.0, frame_prefix='two/')
    topics.show(Show(BEGIN_NS + 1000 * MS, clock=True, after_ns=BEGIN_NS))
    (imu,), (fix,) = outlet.messages('~/imu'), outlet.messages('~/fix')
    assert imu.header.frame_id == fix.header.frame_id == 'two/base_link'
    turned = Rotation.from_quat(
        [imu.orientation.x, imu.orientation.y, imu.orientation.z, imu.orientation.w]
    )
    np.testing.assert_allclose(turned.as_rotvec(), (0.0, 0.0, 0.2), atol=1e-6)
    assert imu.angular_velocity.z == pytest.approx(0.2, abs=1e-3)
    acceleration = imu.linear_acceleration
    found = (acceleration.x, acceleration.y, acceleration.z)
    assert found == pytest.approx((0.0, 1.6, G), abs=0.01)
    for covariance in (
        imu.orientation_covariance,
        imu.angular_velocity_covariance,
        imu.linear_acceleration_covariance,
        fix.position_covariance,
    ):
        assert set(covariance) == {0.0}
    assert fix.position_covariance_type == NavSatFix.COVARIANCE_TYPE_UNKNOWN
    # 40 m of radius: x is south there, y is east.
    south, east = 40 * np.sin(0.2), 40 * (1 - np.cos(0.2))
    assert (fix.latitude - 59.35) * 111_430 == pytest.approx(-south, abs=0.01)
    assert (fix.longitude - 17.96) * 56_900 == pytest.approx(east, abs=0.01)
    assert fix.altitude == pytest.approx(23.5, abs=1e-3)


def test_the_motion_is_made_with_the_reading_and_not_in_the_executor_s_time(
    outlet, tmp_path, monkeypatch
):
    found = read(Settings(usdz_path=str(build_archive(tmp_path)), imu_rate=10.0))

    def fail(*_):
        raise AssertionError

    monkeypatch.setattr(InertialMotion, '__init__', fail)
    topics = ScenarioTopics(outlet, lambda: found.asked, found.scenario)
    topics.change(found.scenario, prepared=found.prepared)
    topics.show_jump(ShowJump(BEGIN_NS, loaded=True))
    assert stamps(outlet, '~/imu') == [BEGIN_NS]


def test_off_by_default(outlet, scenario):
    topics = shown(outlet, scenario)
    topics.show(Show(BEGIN_NS + 1000 * MS, clock=True, after_ns=BEGIN_NS))
    assert not {'~/imu', '~/fix'} & set(outlet.topics)


def test_no_fix_without_a_place_on_earth_and_again_with_one(outlet, scenario):
    nowhere = replace(scenario, T_earth_map=None)
    topics = shown(outlet, nowhere, imu_rate=1.0, fix_rate=1.0)
    assert '~/imu' in outlet.offered
    assert '~/fix' not in outlet.offered
    topics.change(scenario)
    assert '~/fix' in outlet.offered
    topics.change(nowhere)
    assert '~/fix' not in outlet.offered
    topics.show(Show(BEGIN_NS + 1000 * MS, clock=True, after_ns=BEGIN_NS))
    assert outlet.messages('~/fix') == []


def test_nobody_subscribes(outlet, scenario):
    outlet.numbers.update({'~/imu': 0, '~/fix': 0})
    topics = shown(outlet, scenario, imu_rate=100.0, fix_rate=100.0)
    topics.show(Show(BEGIN_NS + 1000 * MS, clock=True, after_ns=BEGIN_NS))
    assert not {'~/imu', '~/fix'} & set(outlet.order)


def test_a_driven_ego_by_its_closed_form(outlet, scenario):
    """5 m/s and 0.4 rad/s: 2 m/s^2 to the left."""
    ego = DrivenEgo(scenario.ego, BEGIN_NS, source='twist', command_timeout_ns=0)
    ego.put(TwistCommand(BEGIN_NS, 5.0, 0.4), halted=True)
    ego.advance_to(BEGIN_NS + 1000 * MS)
    topics = shown(outlet, scenario, ego, imu_rate=2.0, fix_rate=2.0)
    topics.show(Show(BEGIN_NS + 1000 * MS, clock=True, after_ns=BEGIN_NS))
    last = outlet.messages('~/imu')[-1]
    assert last.angular_velocity.z == pytest.approx(0.4)
    acceleration = last.linear_acceleration
    found = (acceleration.x, acceleration.y, acceleration.z)
    assert found == pytest.approx((0.0, 2.0, G), abs=1e-6)
    assert len(outlet.messages('~/fix')) == 2


def test_a_driven_car_by_its_closed_form(outlet, scenario):
    """Speeding up with 2 m/s^2 while the wheels stand at 0.1: v tan(0.1) / 2.85 is its turn."""
    settings = {'wheelbase_m': 2.85, 'max_acceleration': 3.0}
    watch = EgoWatch.of(
        scenario, BEGIN_NS, Settings(ego_source='ackermann', command_timeout_s=0, **settings)
    )
    ego = watch.ego
    start = ego.velocity(BEGIN_NS).linear[0]
    command = AckermannCommand(BEGIN_NS, 30.0, 0.1, acceleration=2.0)
    ego.put(command, halted=True)
    ego.advance_to(BEGIN_NS + 1000 * MS)
    topics = shown(outlet, scenario, ego, imu_rate=2.0)
    topics.show(Show(BEGIN_NS + 1000 * MS, clock=True, after_ns=BEGIN_NS))
    last = outlet.messages('~/imu')[-1]
    speed = start + 2.0
    turn = speed * np.tan(0.1) / 2.85
    assert last.angular_velocity.z == pytest.approx(turn, rel=1e-3)
    acceleration = last.linear_acceleration
    found = (acceleration.x, acceleration.y, acceleration.z)
    assert found == pytest.approx((2.0, speed * turn, G), abs=1e-2)


@pytest.mark.parametrize('source', ['pose', 'odometry'])
def test_an_ego_that_is_put_from_pose_to_pose_has_no_imu(outlet, scenario, source):
    ego = DrivenEgo(scenario.ego, BEGIN_NS, source=source)
    topics = shown(outlet, scenario, ego, imu_rate=10.0, fix_rate=10.0)
    topics.show(Show(BEGIN_NS + 500 * MS, clock=True, after_ns=BEGIN_NS))
    assert outlet.messages('~/imu') == []
    assert len(outlet.messages('~/fix')) == 5


def test_the_imu_of_a_driven_ego_begins_with_the_driving(outlet, scenario):
    ego = DrivenEgo(scenario.ego, BEGIN_NS, source='odometry', command_timeout_ns=0)
    ego.advance_to(BEGIN_NS + 400 * MS)
    ego.change_source('twist', halted=True)
    ego.put(TwistCommand(BEGIN_NS, 5.0, 0.4), halted=True)
    ego.advance_to(BEGIN_NS + 1000 * MS)
    topics = shown(outlet, scenario, ego, imu_rate=10.0)
    topics.show(Show(BEGIN_NS + 1000 * MS, clock=True, after_ns=BEGIN_NS))
    assert stamps(outlet, '~/imu') == [BEGIN_NS + ms * MS for ms in range(400, 1001, 100)]
