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
"""Driving a player over DDS: inputs, steps that wait for them, and what is shown meanwhile."""

from test.support.archives import CAMERAS, START_US
from test.support.driver import (
    Driver,
    needs_ackermann,
    pose,
    STEP_SPEED,
    STEP_STEERING,
    STEP_STEERING_RATE,
    STEP_YAW_RATE,
    TOPICS,
    twist,
)
from test.support.player_bench import NOWHERE, serve, stamp_ns
from test.support.process import Process

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry, Path
import numpy as np
from nurec_ros import Environment
from nurec_ros.driving import AckermannCommand, TwistCommand
from nurec_ros.scenario import Scenario
import pytest
from sensor_msgs.msg import CameraInfo
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

BEGIN_NS = START_US * 1000


def pictures_of(calls):
    """Return what was asked for by camera and stamp, but for the picture of begin."""
    requests = []
    for method, request in calls:
        if method == 'batch_render_rgb':
            requests += [item.request for item in request.items]
        elif method == 'render_rgb':
            requests.append(request)
    return {
        (one.camera_intrinsics.logical_id, one.frame_end_us): one.SerializeToString(
            deterministic=True
        )
        for one in requests
        if one.frame_end_us > START_US + 1
    }


@pytest.fixture(scope='module')
def stepped(start, usdz, server):
    """Return a player that is driven by ticks, whose pictures are wanted."""
    bench = start(
        usdz_path=usdz,
        server=server.address,
        ego_wait_s=120.0,
        tick_us=50_000,
        shutter='recorded',
    ).ready()
    infos = [bench.listen(CameraInfo, f'~/{name}/camera_info') for name in CAMERAS]
    bench.until(lambda: all(infos), 'the pictures of begin')
    return bench


def drive_a_circle(bench, server, source, seed, log):
    """Return the requests of a drive by ticks from begin; the driver is a process of its own."""
    # At begin, so that the pictures which another source asks for are those that are left out.
    bench.trigger('reset')
    bench.until(lambda: bench.state['current_time_us'] == START_US, 'begin')
    bench.configure(ego_source=source)
    before = len(server.calls)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('ROS_DOMAIN_ID', str(bench.domain))
        driver = Process('test.support.driver', ['steps', source, 20, seed], log)
    bench.until(lambda: driver.code is not None, 'the end of the drive')
    assert driver.code == 0, driver.output
    assert bench.trigger('stop')['current_time_us'] == START_US + 1_000_000
    return pictures_of(list(server.calls)[before:])


@pytest.mark.parametrize(
    ('source', 'action'),
    [
        ('twist', lambda t_ns: TwistCommand(t_ns, STEP_SPEED, STEP_YAW_RATE)),
        pytest.param(
            'ackermann',
            lambda t_ns: AckermannCommand(
                t_ns,
                STEP_SPEED,
                STEP_STEERING,
                steering_rate=STEP_STEERING_RATE,
            ),
            marks=needs_ackermann,
        ),
    ],
)
def test_two_drives_ask_for_the_same_whatever_the_delays(
    stepped, usdz, server, tmp_path, source, action
):
    one, other = (
        drive_a_circle(stepped, server, source, seed, tmp_path / f'driver_{seed}.txt')
        for seed in (1, 2)
    )
    assert len(one) >= 20
    assert one == other
    # And so does a program without ROS.
    with (
        serve(usdz) as alone,
        Environment(usdz, alone.address, ego_source=source, shutter='recorded') as environment,
    ):
        seen = environment.reset()
        for _ in range(20):
            seen = environment.step(action(seen.t_ns), 0.05)
        assert pictures_of(alone.calls) == one


@pytest.fixture(scope='module')
def player(start, usdz, server):
    return start(usdz_path=usdz, server=server.address, command_timeout_s=0.0).ready()


@pytest.fixture
def driven(player):
    """Return the shared player at begin; what moved its ego before is forgotten."""
    player.configure(ego_source='recorded', ego_wait_s=0.0, tick_us=100_000)
    player.configure(ego_source='twist')
    player.trigger('reset')
    player.until(lambda: not player.state.get('ego_input_stamp_us', True), 'no input')
    player.until(lambda: player.state['current_time_us'] == START_US, 'begin')
    player.until(lambda: player.clock_ns == BEGIN_NS, 'the clock at begin')
    return player


def test_everything_shows_the_driven_ego(driven, usdz):
    scenario = Scenario.load(usdz)
    transforms = driven.listen(TFMessage, '/tf')
    odometry = driven.listen(Odometry, '~/odom')
    ghosts = driven.listen(MarkerArray, '~/ego_recorded', latched=True)
    paths = driven.listen(Path, '~/driven_path', latched=True)
    diagnostics = driven.listen(DiagnosticArray, '/diagnostics')
    driver = Driver(driven.listener, 'twist')
    driver.put(twist(BEGIN_NS, 4.0, 0.0, 'base_link'))
    driven.until(lambda: driven.state.get('ego_input_stamp_us') == START_US, 'the input')
    driven.configure(tick_us=500_000)
    state = driven.trigger('tick')
    assert state['ego_source'] == 'twist'
    assert state['ego_speed'] == 4.0
    t_ns = state['current_time_us'] * 1000
    start_pose = scenario.ego.at(BEGIN_NS)

    def at(child):
        found = [
            one
            for message in transforms
            for one in message.transforms
            if one.child_frame_id == child and stamp_ns(one) == t_ns
        ]
        return found[-1] if found else None

    driven.until(lambda: at('base_link') and at('recorded_base_link'), 'both transforms')
    mine = at('base_link').transform.translation
    ahead = start_pose[:2, 3] + 2.0 * start_pose[:2, 0] / np.hypot(*start_pose[:2, 0])
    np.testing.assert_allclose((mine.x, mine.y), ahead, atol=1e-9)
    recorded = at('recorded_base_link').transform.translation
    truth = scenario.ego.at(t_ns)[:3, 3]
    np.testing.assert_allclose((recorded.x, recorded.y, recorded.z), truth, atol=1e-9)
    driven.until(lambda: odometry and stamp_ns(odometry[-1]) == t_ns, 'odometry')
    assert odometry[-1].twist.twist.linear.x == 4.0
    np.testing.assert_allclose(odometry[-1].pose.pose.position.x, ahead[0], atol=1e-9)
    driven.until(lambda: ghosts, 'the box of the recorded ego')
    assert ghosts[-1].markers[0].header.frame_id == 'recorded_base_link'
    assert 0.0 < ghosts[-1].markers[0].color.a < 0.5
    driven.until(lambda: paths and len(paths[-1].poses) == 4, 'the driven path')
    driven.until(lambda: 'nurec: ego' in _levels(diagnostics), 'diagnostics')
    # And back again: it is the recorded one's, and nothing else is told any more.
    driven.configure(ego_source='recorded')
    driven.until(lambda: 'ego_source' not in driven.state, 'the recorded ego in the state')
    now = at('base_link')

    def back():
        found = at('base_link').transform.translation
        return abs(found.x - truth[0]) + abs(found.y - truth[1]) < 1e-9

    driven.until(back, 'the recorded ego in tf')
    assert now is not None
    driven.until(lambda: '/nurec/driven_path' not in driven.topics(), 'the end of the topic')


def _levels(diagnostics):
    return {status.name: status for message in diagnostics for status in message.status}


def test_poses_of_the_halted_moment_show_at_once(driven):
    bench = driven
    bench.configure(ego_source='pose')
    infos = bench.listen(CameraInfo, f'~/{CAMERAS[0]}/camera_info')
    transforms = bench.listen(TFMessage, '/tf')
    bench.until(lambda: infos, 'the picture of begin')
    driver = Driver(bench.listener, 'pose')
    for x, stamp in ((11.0, 0), (12.0, BEGIN_NS)):
        before = len(infos)
        driver.put(pose(stamp, x, 3.0))
        bench.until(lambda before=before: len(infos) > before, 'a new picture')
        bench.until(
            lambda x=x: any(
                one.transform.translation.x == x
                for message in transforms
                for one in message.transforms
                if one.child_frame_id == 'base_link'
            ),
            'its transform',
        )
        assert stamp_ns(infos[-1]) == BEGIN_NS
    driver.put(pose(BEGIN_NS, 99.0, 3.0, frame='somewhere'))
    driver.put(pose(BEGIN_NS, 99.0, 3.0, w=0.0))
    driver.put(pose(0, 13.0, 3.0))
    bench.until(
        lambda: any(
            one.transform.translation.x == 13.0
            for message in transforms
            for one in message.transforms
        ),
        'what came after',
    )


def test_a_step_without_its_input_is_refused(driven):
    driven.configure(ego_wait_s=0.2)
    refusal = driven.refusal('tick')
    assert "no input for ego_source 'twist'" in refusal
    assert 'dropped' not in refusal
    driver = Driver(driven.listener, 'twist')
    driver.put(twist(BEGIN_NS, float('nan'), 0.0))
    driven.player.says(r'linear\.x is nan')
    assert driven.refusal('tick').endswith(
        'the last that came was dropped: linear.x is nan, expected a finite number'
    )
    assert driven.state['current_time_us'] == START_US


def test_the_other_type_of_twist_is_named(start, usdz):
    bench = start(usdz_path=usdz, server=NOWHERE, ego_source='twist')
    publisher = bench.listener.node.create_publisher(Twist, TOPICS['twist'], 10)
    bench.player.says('set cmd_vel_stamped:=false')
    bench.listener.node.destroy_publisher(publisher)


def test_unstamped_twists_count_from_their_arrival(start, usdz, server):
    bench = start(
        usdz_path=usdz, server=server.address, ego_source='twist', cmd_vel_stamped=False
    ).ready()
    publisher = bench.listener.node.create_publisher(Twist, TOPICS['twist'], 10)
    bench.listener.matched(publisher)
    message = Twist()
    message.linear.x = 3.0
    publisher.publish(message)
    bench.until(lambda: bench.state['ego_input_stamp_us'] == START_US, 'the input')
    assert bench.trigger('tick')['ego_speed'] == 3.0


def test_inputs_are_subscribed_only_while_they_are_selected(driven):
    node = driven.listener.node
    driven.until(lambda: node.count_subscribers(TOPICS['twist']) == 1, 'the subscription')
    assert node.count_subscribers(TOPICS['pose']) == 0
    driven.configure(ego_source='pose')
    driven.until(lambda: node.count_subscribers(TOPICS['pose']) == 1, 'the subscription')
    driven.until(lambda: node.count_subscribers(TOPICS['twist']) == 0, 'the end of the other')
    results = driven.configure(ego_source='fly')
    assert 'recorded, pose, odometry, twist, ackermann' in results[0].reason
