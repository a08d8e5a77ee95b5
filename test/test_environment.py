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
"""The environment: steps, what they see, and what they ask the renderer for."""

import math
import re
import socket
import struct
import subprocess
import sys
from test.rendering.fake_server import FakeServer, picture
from test.support.archives import build_archive, CAMERAS, SEQUENCE_ID, START_US
from test.support.lidars import add_lidar, LIDAR, SPINS
from test.support.player_bench import BEGIN_NS, frame_ends, MS

import numpy as np
from nurec_ros import Environment
from nurec_ros.driving import AckermannCommand, InputError
from nurec_ros.errors import ConfigurationError, NurecError, RenderError, ScenarioError
from nurec_ros.poses import Pose
from nurec_ros.scenario import Scenario
import pytest
from scipy.spatial.transform import Rotation


@pytest.fixture(scope='module')
def usdz(tmp_path_factory):
    return build_archive(tmp_path_factory.mktemp('usdz'))


@pytest.fixture
def server():
    with FakeServer(picture, scenes=[SEQUENCE_ID]) as server:
        yield server


@pytest.fixture
def blind(usdz):
    with Environment(usdz, '', ego_source='twist', command_timeout_s=0) as environment:
        yield environment


def test_a_reset_stands_on_the_recording(blind, usdz):
    recorded = Scenario.load(usdz).ego
    for start_s in (0.0, 0.7, 0.2):
        found = blind.reset(start_s)
        assert found.t_ns == BEGIN_NS + round(start_s * 1e9)
        assert found.seconds == start_s
        truth = recorded.pose(found.t_ns)
        np.testing.assert_allclose(found.pose.position, truth.position, atol=1e-9)
        assert not found.done
        assert found.images == {}
        assert found.tracks.ids == Scenario.load(usdz).tracks.active_ids(found.t_ns)
    assert blind.reset(0.7).tracks.ids


def test_steps_drive_until_the_end(blind):
    start = blind.reset()
    yaw = 2 * math.atan2(start.pose.quaternion[2], start.pose.quaternion[3])
    steps = 0
    found = start
    while not found.done:
        found = blind.step((3.0, 0.0))
        steps += 1
    assert steps == 20
    assert found.why == 'the end'
    moved = (found.pose.position - start.pose.position)[:2]
    np.testing.assert_allclose(moved, 6.0 * np.array((math.cos(yaw), math.sin(yaw))), atol=1e-6)
    assert found.twist.linear[0] == 3.0
    assert abs(found.deviation.lateral_m) > 0.1
    # And again.
    assert not blind.reset().done


def test_equal_steps_lead_to_equal_places(blind):
    def drive(durations):
        blind.reset()
        for number, duration_s in enumerate(durations):
            found = blind.step(None if number else (5.0, 0.3), duration_s)
        return found.t_ns, found.pose.position.tobytes(), found.pose.quaternion.tobytes()

    assert drive([1.0]) == drive([0.5, 0.25, 0.25]) == drive([0.001] * 1000)


@pytest.mark.parametrize('matrix', [False, True])
def test_poses_are_where_the_step_ends(usdz, matrix):
    recorded = Scenario.load(usdz).ego
    with Environment(usdz, '', ego_source='pose') as environment:
        found = environment.reset()
        for _ in range(20):
            t_ns = found.t_ns + 100_000_000
            pose = recorded.at(t_ns) if matrix else recorded.pose(t_ns)
            assert matrix or isinstance(pose, Pose)
            found = environment.step(pose)
            np.testing.assert_allclose(found.pose.position, recorded.pose(t_ns).position)
            assert abs(found.deviation.lateral_m) < 1e-6
        assert found.done


def test_stops_are_the_end_of_an_episode(usdz):
    with Environment(
        usdz, '', command_timeout_s=0, on_deviation='stop', max_deviation_m=0.5
    ) as environment:
        environment.reset()
        found = environment.step(AckermannCommand(0, 20.0, 0.5), 2.0)
        assert found.done
        assert 'max_deviation_m' in found.why
        assert found.seconds < 2.0


def test_what_cannot_be_used(usdz, tmp_path, blind):
    with pytest.raises(ScenarioError):
        Environment(tmp_path / 'none.usdz', '')
    with pytest.raises(ConfigurationError, match='speed: no parameter of an environment'):
        Environment(usdz, '', speed=3)
    with pytest.raises(ConfigurationError, match="'wheelbase_m' is -1"):
        Environment(usdz, '', wheelbase_m=-1)
    with pytest.raises(ConfigurationError, match="cameras names 'roof'; expected some of"):
        Environment(usdz, 'localhost:1', cameras=['roof'])
    blind.reset()
    with pytest.raises(InputError, match=r'linear\.x is nan'):
        blind.step((math.nan, 0.0))
    for duration_s, found in ((0, '0'), (-1.0, '-1'), (1e-7, '1e-07')):
        with pytest.raises(InputError, match=rf'duration_s is {found}, expected at least a micro'):
            blind.step((1.0, 0.0), duration_s)
    for wrong in (math.nan, math.inf, 'long'):
        with pytest.raises(InputError, match=rf'duration_s is .?{wrong}.?, expected a finit'):
            blind.step((1.0, 0.0), wrong)
    for start_s in (-1, 2.1, 1e9):
        sentence = re.escape(f'start_s is {start_s:g}, expected 0 to 2: seconds after begin')
        with pytest.raises(InputError, match=sentence):
            blind.reset(start_s)
    with pytest.raises(InputError, match='start_s is nan, expected a finite number'):
        blind.reset(math.nan)
    assert blind.step((1.0, 0.0)).t_ns == BEGIN_NS + 100_000_000


def turned(scale=(1.0, 1.0, 1.0)):
    """Return a pose whose axes are scaled."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler('ZYX', (0.3, 0.1, -0.2)).as_matrix() * scale
    return matrix


@pytest.mark.parametrize(
    ('source', 'action', 'sentence'),
    [
        ('ackermann', (1.0,), 'is (1.0,), expected two numbers (speed, steering angle), or an Ac'),
        ('twist', 5, 'the action is 5, expected two numbers (speed, yaw rate), or a TwistCommand'),
        ('ackermann', np.eye(4), 'the action is an array of shape (4, 4), expected two numbers'),
        ('twist', (1.0, 2.0, 3.0), 'the action is (1.0, 2.0, 3.0), expected two numbers'),
        ('twist', ('fast', 0.0), "the action is ('fast', 0.0), expected two numbers"),
        ('twist', ((1.0, 2.0), 3.0), 'the action is ((1.0, 2.0), 3.0), expected two numbers'),
        ('twist', Pose(np.zeros(3), np.array((0, 0, 0, 1))), 'the action is a Pose, expected two'),
        ('twist', AckermannCommand(0, 1.0, 0.0), "came while ego_source is 'twist'"),
        ('pose', (1.0, 0.0), 'is (1.0, 0.0), expected a Pose, a matrix (4, 4), or a TimedPose'),
        (
            'pose',
            np.zeros((4, 4)),
            'the matrix ends with the row [0.0, 0.0, 0.0, 0.0]; expected',
        ),
        ('pose', turned((2.0, 2.0, 2.0)), 'the matrix has axes of the lengths 2, 2, 2, or not at'),
        ('pose', turned((1.0, -1.0, 1.0)), 'the matrix mirrors; expected a rotation and a place'),
        ('pose', turned((1.0, math.nan, 1.0)), 'the matrix has numbers that are not finite'),
        ('pose', Pose(np.zeros((2, 3)), np.zeros((2, 4))), 'the action is a Pose of many, expect'),
        ('recorded', (1.0, 0.0), 'is (1.0, 0.0), expected None: with this ego_source nobody dri'),
    ],
)
def test_actions_that_cannot_be_used(usdz, source, action, sentence):
    with Environment(usdz, '', ego_source=source) as environment:
        before = environment.reset()
        with pytest.raises(InputError, match=re.escape(sentence)):
            environment.step(action)
        # Nothing has moved, and it goes on.
        found = environment.step(None)
        assert found.t_ns == before.t_ns + 100_000_000


@pytest.mark.parametrize('dtype', [np.float64, np.float32])
def test_a_matrix_may_be_rounded(usdz, dtype):
    with Environment(usdz, '', ego_source='pose') as environment:
        environment.reset()
        found = environment.step(turned().astype(dtype))
        np.testing.assert_allclose(found.pose.matrix, turned(), atol=1e-6)


def test_with_the_recorded_ego_nobody_drives(usdz):
    recorded = Scenario.load(usdz).ego
    with Environment(usdz, '', ego_source='recorded') as environment:
        found = environment.reset(2.0)
        assert found.done
        found = environment.reset()
        while not found.done:
            found = environment.step()
            truth = recorded.pose(found.t_ns)
            np.testing.assert_allclose(found.pose.position, truth.position, atol=1e-9)
            assert found.deviation.lateral_m == pytest.approx(0.0, abs=1e-6)
        assert found.why == 'the end'
    with pytest.raises(ConfigurationError, match=r"ego_source is 'odometry', which .*; expected"):
        Environment(usdz, '', ego_source='odometry')


def test_of_a_closed_one_nothing_can_be_asked(usdz):
    environment = Environment(usdz, '')
    environment.reset()
    for _ in range(2):
        environment.close()
    for ask in (environment.reset, environment.step):
        with pytest.raises(NurecError, match='this Environment is closed'):
            ask()


def test_pictures_are_of_the_driven_ego(usdz, server):
    with Environment(usdz, server.address, ego_source='twist', shutter='recorded') as environment:
        first = environment.reset()
        assert set(first.images) == set(CAMERAS)
        assert {image.t_ns for image in first.images.values()} == {BEGIN_NS}
        found = environment.step((4.0, 0.2), 0.1)
        newest = {name: frame_ends(name, until_ns=BEGIN_NS + 100 * MS)[-1] for name in CAMERAS}
        assert {name: image.t_ns for name, image in found.images.items()} == newest
        image = found.images[CAMERAS[0]]
        assert image.rgb.ndim == 3
        assert image.rgb.dtype == np.uint8
        # What prints is no longer than people read.
        shown = f'Image({CAMERAS[0]} at {newest[CAMERAS[0]]}, png, {len(image.data)} bytes)'
        assert repr(image) == shown
        assert shown in repr(found)
        assert len(repr(found)) < 2000
        assert found.failed_images == {}
        # Nothing is due so soon.
        assert environment.step(None, 0.001).images == {}


def test_why_a_picture_is_missing(usdz):
    calls = []

    def fails(request, context):
        calls.append(request)
        if len(calls) > len(CAMERAS):
            raise RuntimeError('NRenderer.render failed')
        return picture(request)

    with (
        FakeServer(fails, scenes=[SEQUENCE_ID]) as server,
        Environment(usdz, server.address, batch='never') as environment,
    ):
        environment.reset()
        found = environment.step((4.0, 0.0))
        assert found.images == {}
        assert set(found.failed_images) == set(CAMERAS)
        assert 'lost' in found.failed_images[CAMERAS[0]]


def test_after_pictures_that_did_not_come_in_time_the_next_are_asked_for(usdz):
    limits = {'first_render_timeout_s': 0.2, 'render_timeout_s': 0.1}
    with (
        socket.create_server(('127.0.0.1', 0)) as silent,
        Environment(usdz, f'127.0.0.1:{silent.getsockname()[1]}', **limits) as environment,
    ):
        for ask in (environment.reset, environment.step) * 2:
            with pytest.raises(RenderError, match=r'^no picture within 0\.3 s: '):
                ask()


def spin(request, _):
    """Answer with two points that tell the window that was asked for."""
    window = [request.frame_start_us - START_US, request.frame_end_us - START_US]
    points = struct.pack('<6f', *window, 0.25, -1.0, 2.0, 3.0)
    return b'\x18\x02' + b'\x22\x18' + points + b'\x2a\x08' + struct.pack('<2f', 0.5, 1.0)


@pytest.fixture(scope='module')
def spinning(tmp_path_factory):
    return build_archive(tmp_path_factory.mktemp('lidar'), edit_rig=lambda rig: add_lidar(rig))


def test_clouds_are_of_the_driven_ego(spinning, server):
    server.spin = spin
    with Environment(spinning, server.address, ego_source='twist', cameras=CAMERAS[:1]) as drive:
        first = drive.reset()
        assert {name: one.t_ns for name, one in first.clouds.items()} == {LIDAR: BEGIN_NS}
        before = first.pose.position
        found = drive.step((40.0, 0.0), 0.22)
        cloud = found.clouds[LIDAR]
        assert repr(cloud) == f'PointCloud({LIDAR} at {SPINS[1][1] * 1000}, 2 points)'
        start_us, end_us = SPINS[1][0] - START_US, SPINS[1][1] - START_US
        np.testing.assert_array_equal(
            cloud.xyzi,
            np.array([[start_us, end_us, 0.25, 0.5], [-1, 2, 3, 1]], dtype=np.float32),
            strict=True,
        )
        assert cloud.xyzi is cloud.xyzi
        assert cloud.t_ns == SPINS[1][1] * 1000
        # Where it drove, from the mount on the roof, and not where the recording was.
        spins = server.requests('render_lidar')
        asked = max(spins, key=lambda one: one.frame_end_us).sensor_pose.end_pose.vec
        moved = np.hypot(asked.x - before[0], asked.y - before[1])
        assert abs(moved - 40.0 * 1e-6 * end_us) < 1.5
        # Nothing is due so soon.
        assert drive.step(None, 0.001).clouds == {}


def test_lidars_are_chosen_and_timed_by_parameters(spinning, server):
    server.spin = spin
    with Environment(spinning, server.address, lidar_rate=20.0) as drive:
        drive.reset()
        found = drive.step((1.0, 0.0), 0.11)
        assert found.clouds[LIDAR].t_ns == BEGIN_NS + 100 * MS
    asked = len(server.requests('render_lidar'))
    assert asked == 3
    with Environment(spinning, server.address, lidars=['none']) as drive:
        drive.reset()
        assert drive.step((1.0, 0.0), 0.3).clouds == {}
        assert drive.lidars == ()
    assert len(server.requests('render_lidar')) == asked
    for wanted, text in (
        (['roof'], f"lidars names 'roof'; expected .* '{LIDAR}'"),
        (['none', 'roof'], "lidars names 'none' beside 'roof'; expected 'none' alone"),
    ):
        with pytest.raises(ConfigurationError, match=text):
            Environment(spinning, server.address, lidars=wanted)


def test_why_a_cloud_is_missing(spinning, server):
    with Environment(spinning, server.address) as drive:
        # It is one without render_lidar.
        assert 'renders no lidars' in drive.reset().failed_images[LIDAR]
        found = drive.step((1.0, 0.0), 0.3)
        assert set(found.images) == set(CAMERAS)
        assert found.clouds == {}
        assert 'renders no lidars' in found.failed_images[LIDAR]


def test_no_ros_is_imported(usdz):
    code = f"""
import sys
import nurec_ros
with nurec_ros.Environment({str(usdz)!r}, '') as environment:
    environment.reset()
    environment.step((1.0, 0.0))
print([name for name in sys.modules if name.startswith(('rclpy', 'std_msgs', 'geometry_msgs'))])
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'


def test_the_package_names_what_it_has():
    import nurec_ros

    with pytest.raises(AttributeError, match="no attribute 'Enviroment'"):
        _ = nurec_ros.Enviroment
