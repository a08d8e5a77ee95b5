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
"""Where the cameras of a driven ego are, in the requests to the renderer, by closed forms."""

import math
from test.support.archives import camera_calibration, CAMERAS, ego_pose, sample_times, START_US
from test.support.driver import Driver, pose, stamped, twist
from test.support.player_bench import serve, stamp_ns

from nav_msgs.msg import Path
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo

BEGIN_NS = START_US * 1000
# Within an exposure of either camera, and between two samples of the recording.
TAKE_OVER_US = 330_000
SPEED, YAW_RATE = 6.0, 0.5

pytestmark = pytest.mark.contract


def requests_of(calls):
    """Return the requests by camera and end of the exposure, but for pictures of begin."""
    found = []
    for method, request in calls:
        if method == 'batch_render_rgb':
            found += [item.request for item in request.items]
        elif method == 'render_rgb':
            found.append(request)
    return {
        (one.camera_intrinsics.logical_id, one.frame_end_us): one
        for one in found
        if one.frame_end_us > START_US + 1
    }


@pytest.fixture
def drive(start, usdz):
    """Return a function that starts a player whose pictures are wanted, with their stamps."""
    servers = []

    def run(shutter):
        server = serve(usdz)
        servers.append(server)
        bench = start(
            usdz_path=usdz,
            server=server.address,
            shutter=shutter,
            command_timeout_s=0.0,
            ego_wait_s=120.0,
        ).ready()
        infos = {name: bench.listen(CameraInfo, f'~/{name}/camera_info') for name in CAMERAS}
        bench.until(lambda: all(infos.values()), 'the pictures of begin')
        return bench, server, infos

    yield run
    for server in servers:
        server.stop()


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


def stamps_of(infos):
    """Return the cameras and times, in nanoseconds, of the pictures that came."""
    return {(name, stamp_ns(one)) for name, found in infos.items() for one in found}


def assert_is(found, truth):
    """Compare a pose of a request with a matrix; float32 is what the wire has."""
    at, to = found.vec, found.quat
    np.testing.assert_allclose((at.x, at.y, at.z), truth[:3, 3], rtol=1e-6, atol=1e-6)
    turn = Rotation.from_quat((to.x, to.y, to.z, to.w)).as_matrix()
    np.testing.assert_allclose(turn, truth[:3, :3], atol=1e-6)


@pytest.mark.parametrize('shutter', ['instant', 'recorded'])
def test_cameras_are_where_the_ego_is_at_their_stamps_across_a_take_over(drive, shutter):
    bench, server, infos = drive(shutter)
    bench.configure(tick_us=TAKE_OVER_US)
    bench.trigger('tick')
    bench.configure(ego_source='twist')
    taken_us = START_US + TAKE_OVER_US
    Driver(bench.listener, 'twist').put(twist(taken_us * 1000, SPEED, YAW_RATE))
    bench.until(lambda: bench.state['ego_input_stamp_us'] == taken_us, 'the command')
    bench.trigger('tick')
    due = {
        (name, BEGIN_NS + (47_000 + 3_000 * index + 100_000 * k) * 1000)
        for index, name in enumerate(CAMERAS)
        for k in range(7)
        if 47_000 + 3_000 * index + 100_000 * k <= 2 * TAKE_OVER_US
    }
    bench.until(lambda: due <= stamps_of(infos), 'the pictures')
    requests = requests_of(list(server.calls))
    across = 0
    for (name, end_us), request in requests.items():
        # An instant is asked for as one microsecond.
        stamp_us = end_us - START_US - (shutter == 'instant')
        start_us = stamp_us if shutter == 'instant' else request.frame_start_us - START_US
        across += start_us < TAKE_OVER_US < stamp_us
        assert_is(request.sensor_pose.start_pose, camera_at(name, start_us))
        assert_is(request.sensor_pose.end_pose, camera_at(name, stamp_us))
    assert across == (0 if shutter == 'instant' else len(CAMERAS))
    asked = {(name, (end_us - (shutter == 'instant')) * 1000) for name, end_us in requests}
    assert {one for one in stamps_of(infos) if one[1] > BEGIN_NS} <= asked


def assert_a_step_apart(one, other):
    """Compare two poses of the wire: each number within one step of float32."""
    numbers = [
        np.array(
            (it.vec.x, it.vec.y, it.vec.z, it.quat.w, it.quat.x, it.quat.y, it.quat.z),
            dtype=np.float32,
        )
        for it in (one, other)
    ]
    # Around 0 the step is that of the quaternion, or of the position, as a whole.
    large = np.maximum(np.abs(numbers[0]), np.abs(numbers[1]))
    large[:3], large[3:] = np.maximum(large[:3], large[:3].max()), np.maximum(large[3:], 0.5)
    assert (np.abs(numbers[0] - numbers[1]) <= np.spacing(large)).all(), numbers


def test_a_driver_that_replays_the_recorded_poses_gets_the_requests_of_the_recording(drive):
    bench, server, _ = drive('recorded')
    paths = bench.listen(Path, '~/path', latched=True)
    bench.until(lambda: paths, 'the recorded path')
    samples = paths[-1].poses
    # Movements that end between the samples.
    bench.configure(tick_us=170_000)

    def drive_on(before_tick):
        first = len(server.calls)
        state = bench.state
        while not state['done']:
            before_tick(state['current_time_us'] * 1000)
            state = bench.trigger('tick')
        return requests_of(list(server.calls)[first:])

    truth = drive_on(lambda t_ns: None)
    assert len(truth) >= 38
    bench.configure(ego_source='pose')
    bench.trigger('reset')
    bench.until(lambda: bench.state['current_time_us'] == START_US, 'begin')
    driver = Driver(bench.listener, 'pose')
    rest = list(samples)

    def send(t_ns):
        # What lies in the movement, and the next one beyond its end.
        while rest:
            sample = rest.pop(0)
            message = stamped(pose(0, 0.0, 0.0), stamp_ns(sample), 'map')
            message.pose = sample.pose
            driver.put(message)
            if stamp_ns(sample) >= t_ns + 170_000_000:
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
