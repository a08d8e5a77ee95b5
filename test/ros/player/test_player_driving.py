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

import math
from test.support.archives import camera_calibration, CAMERAS, ego_pose, sample_times, START_US
from test.support.driver import Driver, needs_ackermann, pose, stamped, TOPICS, twist
from test.support.player_bench import BEGIN_NS, frame_ends, MS, serve, stamp_ns
from test.support.process import Process

from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry, Path
import numpy as np
from nurec_ros import Environment
from nurec_ros.driving import AckermannCommand, TwistCommand
from nurec_ros.scenario import Scenario
import pytest
from scipy.spatial.transform import Rotation
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

pytestmark = pytest.mark.contract

# Within an exposure of either camera, and between two samples of the recording.
TAKE_OVER_US = 330_000
SPEED, YAW_RATE = 6.0, 0.5
# What the driver sends that goes in a circle.
COMMANDS = {
    'twist': lambda t_ns: TwistCommand(t_ns, 6.0, 0.5),
    'ackermann': lambda t_ns: AckermannCommand(t_ns, 6.0, 0.25, steering_rate=0.5),
}


def driven_player(start, usdz, server, **parameters):
    """Return a player whose pictures are wanted, and those messages by camera."""
    bench = start(
        usdz_path=usdz, server=server.address, command_timeout_s=0.0, **parameters
    ).ready()
    bench.infos = {name: bench.infos_of(name) for name in CAMERAS}
    return bench


@pytest.fixture(scope='module')
def player(start, usdz, server):
    return driven_player(start, usdz, server, shutter='recorded')


@pytest.fixture
def bench(player):
    """Return the shared player at begin, without an input; who steps waits for one."""
    # At begin, so that the pictures which another source asks for are those that are left out.
    player.trigger('reset')
    player.until(lambda: player.state['current_time_us'] == START_US, 'begin')
    player.configure(ego_source='recorded', ego_wait_s=120.0, tick_us=100_000)
    player.trigger('reset')
    player.until(lambda: 'ego_source' not in player.state, 'the recorded ego')
    player.stands(BEGIN_NS)
    for infos in player.infos.values():
        infos.clear()
    return player


def requests_of(server, first=0):
    """Return the requests from a first one on by camera and end, but for pictures of begin."""
    return {
        (one.camera_intrinsics.logical_id, one.frame_end_us): one
        for one in server.pictures()[first:]
        if one.frame_end_us > START_US + 1
    }


def bytes_of(requests):
    return {key: one.SerializeToString(deterministic=True) for key, one in requests.items()}


def drive_a_circle(bench, server, source, seed, log):
    """Return the requests of a drive by ticks from begin; the driver is a process of its own."""
    bench.trigger('reset')
    bench.until(lambda: bench.state['current_time_us'] == START_US, 'begin')
    bench.configure(ego_source=source, tick_us=50_000)
    before = len(server.pictures())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('ROS_DOMAIN_ID', str(bench.domain))
        driver = Process('test.support.driver', ['steps', source, 20, seed], log)
    bench.until(lambda: driver.code is not None, 'the end of the drive')
    assert driver.code == 0, driver.output
    assert bench.trigger('stop')['current_time_us'] == START_US + 1_000_000
    return bytes_of(requests_of(server, before))


@pytest.mark.parametrize('source', ['twist', pytest.param('ackermann', marks=needs_ackermann)])
def test_two_drives_ask_for_the_same_whatever_the_delays(bench, usdz, server, tmp_path, source):
    one, other = (
        drive_a_circle(bench, server, source, seed, tmp_path / f'driver_{seed}.txt')
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
            seen = environment.step(COMMANDS[source](seen.t_ns), 0.05)
        assert bytes_of(requests_of(alone)) == one


def test_everything_shows_the_driven_ego(bench, usdz):
    scenario = Scenario.load(usdz)
    bench.configure(ego_source='twist', tick_us=500_000)
    transforms = bench.listen(TFMessage, '/tf')
    odometry = bench.listen(Odometry, '~/odom')
    ghosts = bench.listen(MarkerArray, '~/ego_recorded', latched=True)
    paths = bench.listen(Path, '~/driven_path', latched=True)
    driver = Driver(bench.listener, 'twist')
    driver.put(twist(BEGIN_NS, 4.0, 0.0, 'base_link'))
    bench.until(lambda: bench.state.get('ego_input_stamp_us') == START_US, 'the input')
    state = bench.trigger('tick')
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

    bench.until(lambda: at('base_link') and at('recorded_base_link'), 'both transforms')
    mine = at('base_link').transform.translation
    ahead = start_pose[:2, 3] + 2.0 * start_pose[:2, 0] / np.hypot(*start_pose[:2, 0])
    np.testing.assert_allclose((mine.x, mine.y), ahead, atol=1e-9)
    recorded = at('recorded_base_link').transform.translation
    truth = scenario.ego.at(t_ns)[:3, 3]
    np.testing.assert_allclose((recorded.x, recorded.y, recorded.z), truth, atol=1e-9)
    bench.until(lambda: odometry and stamp_ns(odometry[-1]) == t_ns, 'odometry')
    assert odometry[-1].twist.twist.linear.x == 4.0
    np.testing.assert_allclose(odometry[-1].pose.pose.position.x, ahead[0], atol=1e-9)
    bench.until(lambda: ghosts, 'the box of the recorded ego')
    assert ghosts[-1].markers[0].header.frame_id == 'recorded_base_link'
    assert 0.0 < ghosts[-1].markers[0].color.a < 0.5
    bench.until(lambda: paths and len(paths[-1].poses) == 4, 'the driven path')
    bench.until(lambda: bench.told('ego'), 'diagnostics')
    # And back again: it is the recorded one's, and nothing else is told any more.
    bench.configure(ego_source='recorded')
    bench.until(lambda: 'ego_source' not in bench.state, 'the recorded ego in the state')

    def back():
        found = at('base_link').transform.translation
        return abs(found.x - truth[0]) + abs(found.y - truth[1]) < 1e-9

    bench.until(back, 'the recorded ego in tf')
    bench.until(lambda: '/nurec/driven_path' not in bench.topics(), 'the end of the topic')


def test_poses_of_the_halted_moment_show_at_once(bench):
    bench.configure(ego_source='pose')
    infos = bench.infos[CAMERAS[0]]
    transforms = bench.listen(TFMessage, '/tf')
    driver = Driver(bench.listener, 'pose')

    def shown(x):
        return any(
            one.child_frame_id == 'base_link' and one.transform.translation.x == x
            for message in transforms
            for one in message.transforms
        )

    for x, stamp in ((11.0, 0), (12.0, BEGIN_NS)):
        before = len(infos)
        driver.put(pose(stamp, x, 3.0))
        bench.until(lambda before=before, x=x: len(infos) > before and shown(x), f'{x} m')
        assert stamp_ns(infos[-1]) == BEGIN_NS
    driver.put(pose(BEGIN_NS, 99.0, 3.0, frame='somewhere'))
    driver.put(pose(BEGIN_NS, 99.0, 3.0, w=0.0))
    driver.put(pose(0, 13.0, 3.0))
    bench.until(lambda: shown(13.0), 'what came after')
    assert not shown(99.0)


def test_a_step_without_its_input_is_refused(bench):
    bench.configure(ego_source='twist', ego_wait_s=0.2)
    refusal = bench.refusal('tick')
    assert "no input for ego_source 'twist'" in refusal
    assert 'dropped' not in refusal
    driver = Driver(bench.listener, 'twist')
    driver.put(twist(BEGIN_NS, float('nan'), 0.0))
    bench.player.says(r'linear\.x is nan')
    assert bench.refusal('tick').endswith(
        'the last that came was dropped: linear.x is nan, expected a finite number'
    )
    assert bench.state['current_time_us'] == START_US


def test_inputs_are_subscribed_only_while_they_are_selected(bench):
    node = bench.listener.node
    bench.configure(ego_source='twist')
    bench.until(lambda: node.count_subscribers(TOPICS['twist']) == 1, 'the subscription')
    assert node.count_subscribers(TOPICS['pose']) == 0
    bench.configure(ego_source='pose')
    bench.until(lambda: node.count_subscribers(TOPICS['pose']) == 1, 'the subscription')
    bench.until(lambda: node.count_subscribers(TOPICS['twist']) == 0, 'the end of the other')
    results = bench.configure(ego_source='fly')
    assert 'recorded, pose, odometry, twist, ackermann' in results[0].reason


# Where the cameras are, in the requests to the renderer, by closed forms.


def recorded(us):
    """Return (x, y, yaw) of the recorded ego: between samples straight, and turning evenly."""
    times = np.array(sample_times(2.0, 10.0, 0))
    last = int(np.searchsorted(times, us, side='right'))
    rows = [np.array(ego_pose(1e-6 * time)) for time in times[[last - 1, last]]]
    part = (us - times[last - 1]) / (times[last] - times[last - 1])
    x, y = (1 - part) * rows[0][:2, 3] + part * rows[1][:2, 3]
    return x, y, 0.2e-6 * us


def driven(us):
    """Return (x, y, yaw) of the ego: recorded up to the take-over, an arc from there on."""
    if us <= TAKE_OVER_US:
        return recorded(us)
    x, y, yaw = recorded(TAKE_OVER_US)
    turned = yaw + YAW_RATE * 1e-6 * (us - TAKE_OVER_US)
    radius = SPEED / YAW_RATE
    return (
        x + radius * (math.sin(turned) - math.sin(yaw)),
        y - radius * (math.cos(turned) - math.cos(yaw)),
        turned,
    )


def camera_at(name, us):
    """Return the pose of a camera in map, (4, 4), at a time since begin."""
    x, y, yaw = driven(us)
    T_map_rig = np.eye(4)
    T_map_rig[:3, :3] = Rotation.from_euler('z', yaw).as_matrix()
    T_map_rig[:2, 3] = x, y
    return T_map_rig @ np.array(camera_calibration(name, CAMERAS.index(name))['T_sensor_rig'])


def assert_is(found, truth):
    """Compare a pose of a request with a matrix; float32 is what the wire has."""
    at, to = found.vec, found.quat
    np.testing.assert_allclose((at.x, at.y, at.z), truth[:3, 3], rtol=1e-6, atol=1e-6)
    turn = Rotation.from_quat((to.x, to.y, to.z, to.w)).as_matrix()
    np.testing.assert_allclose(turn, truth[:3, :3], atol=1e-6)


def drive_across_a_take_over(bench, command, server, shutter):
    """Compare the cameras' poses with the closed form; return how many span the take-over."""
    first = len(server.pictures())
    bench.configure(tick_us=TAKE_OVER_US)
    bench.trigger('tick')
    bench.configure(ego_source='twist')
    taken_us = START_US + TAKE_OVER_US
    publisher = bench.listener.node.create_publisher(type(command), TOPICS['twist'], 10)
    bench.listener.matched(publisher)
    publisher.publish(command)
    bench.until(lambda: bench.state['ego_input_stamp_us'] == taken_us, 'the command')
    assert bench.trigger('tick')['ego_speed'] == SPEED
    until_ns = BEGIN_NS + 2000 * TAKE_OVER_US
    due = {(name, end) for name in CAMERAS for end in frame_ends(name, until_ns=until_ns)}

    def stamps():
        return {(name, stamp_ns(one)) for name, found in bench.infos.items() for one in found}

    bench.until(lambda: due <= stamps(), 'the pictures')
    requests = requests_of(server, first)
    across = 0
    for (name, end_us), request in requests.items():
        # An instant is asked for as one microsecond.
        stamp_us = end_us - START_US - (shutter == 'instant')
        start_us = stamp_us if shutter == 'instant' else request.frame_start_us - START_US
        across += start_us < TAKE_OVER_US < stamp_us
        assert_is(request.sensor_pose.start_pose, camera_at(name, start_us))
        assert_is(request.sensor_pose.end_pose, camera_at(name, stamp_us))
    asked = {(name, (end_us - (shutter == 'instant')) * 1000) for name, end_us in requests}
    assert {one for one in stamps() if one[1] > BEGIN_NS} <= asked
    return across


def test_cameras_are_where_the_ego_is_at_their_stamps_across_a_take_over(bench, server):
    command = twist(BEGIN_NS + 1000 * TAKE_OVER_US, SPEED, YAW_RATE)
    assert drive_across_a_take_over(bench, command, server, 'recorded') == len(CAMERAS)


def test_unstamped_twists_count_from_their_arrival_and_the_other_type_is_named(
    start, usdz, server
):
    bench = driven_player(start, usdz, server, cmd_vel_stamped=False, ego_source='twist')
    # This process can have one type alone at a time.
    publisher = bench.listener.node.create_publisher(TwistStamped, TOPICS['twist'], 10)
    bench.player.says(r'geometry_msgs/msg/Twist: set cmd_vel_stamped:=true for it')
    bench.listener.node.destroy_publisher(publisher)
    bench.configure(ego_source='recorded')
    command = twist(0, SPEED, YAW_RATE).twist
    assert drive_across_a_take_over(bench, command, server, 'instant') == 0


def assert_a_step_apart(one, other):
    """Compare two poses of the wire: within one step of float32 at their size."""
    place, wanted = ([it.vec.x, it.vec.y, it.vec.z] for it in (one, other))
    step = np.spacing(np.float32(np.abs(wanted).max()))
    np.testing.assert_allclose(place, wanted, rtol=0, atol=step)
    turn, wanted = ([it.quat.w, it.quat.x, it.quat.y, it.quat.z] for it in (one, other))
    np.testing.assert_allclose(turn, wanted, rtol=0, atol=np.spacing(np.float32(0.5)))


def test_a_driver_that_replays_the_recorded_poses_gets_the_requests_of_the_recording(
    bench, server
):
    paths = bench.hear(Path, '~/path', latched=True)
    # Movements that end between the samples.
    bench.configure(tick_us=170_000)

    def drive_on(before_tick):
        first = len(server.pictures())
        state = bench.state
        while not state['done']:
            before_tick(state['current_time_us'] * 1000)
            state = bench.trigger('tick')
        return requests_of(server, first)

    truth = drive_on(lambda t_ns: None)
    assert len(truth) >= sum(len(frame_ends(name)) for name in CAMERAS)
    bench.trigger('reset')
    bench.until(lambda: bench.state['current_time_us'] == START_US, 'begin')
    bench.configure(ego_source='pose')
    driver = Driver(bench.listener, 'pose')
    rest = list(paths[-1].poses)

    def send(t_ns):
        # What lies in the movement, and the next one beyond its end.
        while rest:
            sample = rest.pop(0)
            message = stamped(pose(0, 0.0, 0.0), stamp_ns(sample), 'map')
            message.pose = sample.pose
            driver.put(message)
            if stamp_ns(sample) >= t_ns + 170 * MS:
                return

    found = drive_on(send)
    assert bench.state['ego_source'] == 'pose'
    assert found.keys() == truth.keys()
    for key, request in found.items():
        poses = [one.sensor_pose for one in (request, truth[key])]
        assert_a_step_apart(poses[0].start_pose, poses[1].start_pose)
        assert_a_step_apart(poses[0].end_pose, poses[1].end_pose)
        for one in (request, truth[key]):
            one.ClearField('sensor_pose')
        assert request == truth[key]
