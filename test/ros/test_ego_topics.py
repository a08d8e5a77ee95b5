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
"""~/imu and ~/fix: when they are due, and what is in them; and what shows a driven ego."""

from dataclasses import replace
from test.driving.drives import SECOND, straight, T0
from test.support.archives import build_archive
from test.support.outlet import RecordingOutlet
from test.support.player_bench import BEGIN_NS, MS, stamp_ns
from types import SimpleNamespace

import numpy as np
from nurec_ros.driving import AckermannCommand, DrivenEgo, motion, TwistCommand
from nurec_ros.driving.watch import EgoWatch
from nurec_ros.playback.effects import Show, ShowJump
from nurec_ros.ros import ego_topics
from nurec_ros.ros.ego_topics import DrivenTopics
from nurec_ros.ros.loading import read
from nurec_ros.ros.names import frame_names
from nurec_ros.ros.topics import ScenarioTopics
from nurec_ros.scenario import Scenario
from nurec_ros.scenario.localization import InertialMotion
from nurec_ros.settings import Settings
import pytest
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import NavSatFix

pytestmark = pytest.mark.ros

G = 9.80665
# Latitude 59.35, longitude 17.96, 23.5 m above the ellipsoid, by pyproj; z is up there.
PLACE = np.array([3100787.7174247676, 1005114.2477972183, 5463935.220180107])


@pytest.fixture(scope='module')
def scenario(tmp_path_factory):
    T_earth_map = np.eye(4)
    east_north_up = Rotation.from_euler('ZY', [17.96, 90.0 - 59.35], degrees=True)
    T_earth_map[:3, :3], T_earth_map[:3, 3] = east_north_up.as_matrix(), PLACE
    edit = {'T_world_base': T_earth_map.tolist()}
    return Scenario.load(build_archive(tmp_path_factory.mktemp('sensors'), edit_rig=edit))


@pytest.fixture
def outlet():
    return RecordingOutlet()


def topics_of(outlet, scenario, driver=None, **values):
    topics = ScenarioTopics(outlet, lambda: Settings(**values), scenario)
    topics.change(scenario, driver)
    return topics


def pass_a_second(outlet, scenario, driver=None, **values):
    """Let the first second pass; return what was shown of it on ~/imu and ~/fix."""
    topics = topics_of(outlet, scenario, driver, **values)
    topics.show(Show(BEGIN_NS + 1000 * MS, clock=True, after_ns=BEGIN_NS))
    return outlet.messages('~/imu'), outlet.messages('~/fix')


def vector(message):
    return message.x, message.y, message.z


def after_ms(messages):
    return [(stamp_ns(one) - BEGIN_NS) / MS for one in messages]


def test_what_time_passes_is_published_and_what_a_jump_passes_over_is_not(outlet, scenario):
    topics = topics_of(outlet, scenario, imu_rate=100.0, fix_rate=10.0)
    topics.show_jump(ShowJump(BEGIN_NS, loaded=True))
    topics.show(Show(BEGIN_NS + 25 * MS, clock=True, pose=True, after_ns=BEGIN_NS))
    topics.show(Show(BEGIN_NS + 1500 * MS, clock=True, pose=True, tracks=True))
    topics.show(Show(BEGIN_NS + 1610 * MS, clock=True, pose=True, after_ns=BEGIN_NS + 1500 * MS))
    assert after_ms(outlet.messages('~/imu')) == [0, 10, 20, *range(1510, 1611, 10)]
    assert after_ms(outlet.messages('~/fix')) == [0, 1600]


def test_the_messages(outlet, scenario):
    """8 m/s on an arc of 0.2 rad/s, by the archive."""
    settings = {'imu_rate': 1.0, 'fix_rate': 1.0, 'frame_prefix': 'two/'}
    (imu,), (fix,) = pass_a_second(outlet, scenario, **settings)
    assert imu.header.frame_id == fix.header.frame_id == 'two/base_link'
    turned = Rotation.from_quat([*vector(imu.orientation), imu.orientation.w])
    np.testing.assert_allclose(turned.as_rotvec(), (0.0, 0.0, 0.2), atol=1e-6)
    assert imu.angular_velocity.z == pytest.approx(0.2, abs=1e-3)
    assert vector(imu.linear_acceleration) == pytest.approx((0.0, 1.6, G), abs=0.01)
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
    assert after_ms(outlet.messages('~/imu')) == [0]


def test_no_topics_by_default_and_no_messages_for_nobody(outlet, scenario):
    pass_a_second(outlet, scenario)
    assert not {'~/imu', '~/fix'} & set(outlet.topics)
    unheard = RecordingOutlet(subscribers=0)
    assert pass_a_second(unheard, scenario, imu_rate=100.0, fix_rate=100.0) == ([], [])
    assert {'~/imu', '~/fix'} <= unheard.offered


def test_no_fix_without_a_place_on_earth_and_again_with_one(outlet, scenario):
    nowhere = replace(scenario, T_earth_map=None)
    topics = topics_of(outlet, nowhere, imu_rate=1.0, fix_rate=1.0)
    assert '~/imu' in outlet.offered
    assert '~/fix' not in outlet.offered
    topics.change(scenario)
    assert '~/fix' in outlet.offered
    topics.change(nowhere)
    assert '~/fix' not in outlet.offered
    topics.show(Show(BEGIN_NS + 1000 * MS, clock=True, after_ns=BEGIN_NS))
    assert outlet.messages('~/fix') == []


def test_a_driven_ego_by_its_closed_form(outlet, scenario):
    """5 m/s and 0.4 rad/s: 2 m/s^2 to the left; from where it is driven on."""
    ego = DrivenEgo(scenario.ego, BEGIN_NS, source='odometry', command_timeout_ns=0)
    ego.advance_to(BEGIN_NS + 400 * MS)
    ego.change_source('twist', halted=True)
    ego.put(TwistCommand(BEGIN_NS, 5.0, 0.4), halted=True)
    ego.advance_to(BEGIN_NS + 1000 * MS)
    imu, fix = pass_a_second(outlet, scenario, ego, imu_rate=10.0, fix_rate=2.0)
    assert after_ms(imu) == list(range(400, 1001, 100))
    assert imu[-1].angular_velocity.z == pytest.approx(0.4)
    assert vector(imu[-1].linear_acceleration) == pytest.approx((0.0, 2.0, G), abs=1e-6)
    assert len(fix) == 2


def test_a_driven_car_by_its_closed_form(outlet, scenario):
    """Speeding up with 2 m/s^2 while the wheels stand at 0.1: v tan(0.1) / 2.85 is its turn."""
    settings = {'wheelbase_m': 2.85, 'max_acceleration': 3.0, 'command_timeout_s': 0}
    ego = EgoWatch.of(scenario, BEGIN_NS, Settings(ego_source='ackermann', **settings)).ego
    speed = ego.velocity(BEGIN_NS).linear[0] + 2.0
    ego.put(AckermannCommand(BEGIN_NS, 30.0, 0.1, acceleration=2.0), halted=True)
    ego.advance_to(BEGIN_NS + 1000 * MS)
    (*_, last), _ = pass_a_second(outlet, scenario, ego, imu_rate=2.0)
    turn = speed * np.tan(0.1) / 2.85
    assert last.angular_velocity.z == pytest.approx(turn, rel=1e-3)
    assert vector(last.linear_acceleration) == pytest.approx((2.0, speed * turn, G), abs=1e-2)


@pytest.mark.parametrize('source', ['pose', 'odometry'])
def test_an_ego_that_is_put_from_pose_to_pose_has_no_imu(outlet, scenario, source):
    ego = DrivenEgo(scenario.ego, BEGIN_NS, source=source)
    imu, fix = pass_a_second(outlet, scenario, ego, imu_rate=10.0, fix_rate=10.0)
    assert (len(imu), len(fix)) == (0, 10)


# Beside the recorded ego.


@pytest.fixture
def ego(monkeypatch):
    """Return an ego that drives 100 m/s, and keeps 400 poses of its way."""
    monkeypatch.setattr(motion, 'MOST_DRIVEN', 400)
    found = DrivenEgo(straight(speed=0.0), T0, source='twist', command_timeout_ns=0)
    found.put(TwistCommand(0, 100.0, 0.0), halted=True)
    return found


def shown(outlet):
    """Return stamps and places of the poses in each message."""
    return [
        [(stamp_ns(one), one.pose.position.x) for one in message.poses]
        for message in outlet.messages('~/driven_path')
    ]


def test_the_driven_path_is_that_of_the_ego_whatever_became_of_it(outlet, ego):
    topics = DrivenTopics(outlet)
    for seconds in (1, 2, 4, 5, 9):
        ego.advance_to(T0 + seconds * SECOND)
        topics.show_path(ego, 'map', all_of_it=True)
        assert shown(outlet)[-1] == [(row.t_ns, row.position[0]) for row in ego.driven_path]
    # Without a change there is nothing to say.
    topics.show_path(ego, 'map', all_of_it=True)
    assert [len(poses) for poses in shown(outlet)][:2] == [101, 201]
    assert len(shown(outlet)) == 5
    ego.jump(T0)
    topics.show_path(ego, 'map', all_of_it=True)
    assert shown(outlet)[-1] == [(T0, 0.0)]


def test_while_the_clock_plays_a_long_path_waits(outlet, ego, monkeypatch):
    clock = SimpleNamespace(now_s=100.0)
    clock.monotonic = lambda: clock.now_s
    monkeypatch.setattr(ego_topics, 'time', clock)
    topics = DrivenTopics(outlet)
    counts = []
    # Some 105 poses may go out every 0.053 s.
    for now_s in (100.0, 100.05, 100.11, 100.12):
        clock.now_s = now_s
        ego.advance_to(ego.passed_ns + (SECOND if not counts else SECOND // 20))
        topics.show_path(ego, 'map', all_of_it=False)
        counts.append(len(shown(outlet)))
    assert counts == [1, 1, 2, 2]
    topics.show_path(ego, 'map', all_of_it=True)
    assert len(shown(outlet)) == 3


def test_the_box_of_the_recorded_ego_is_shown_where_there_is_one(outlet):
    topics = DrivenTopics(outlet)
    frames = frame_names(Settings(frame_prefix='two/'), [])
    box = SimpleNamespace(centre=np.array([1.5, 0.0, 0.8]), dims=np.array([4.5, 1.9, 1.6]))
    for found in (None, box):
        topics.show_box(SimpleNamespace(rig_bbox=found), frames, T0)
    (message,) = outlet.messages('~/ego_recorded')
    (marker,) = message.markers
    assert (marker.scale.x, marker.pose.position.x) == (4.5, 1.5)
    assert marker.header.frame_id == 'two/recorded_base_link'
