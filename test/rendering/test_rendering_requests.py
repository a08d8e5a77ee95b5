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
"""Requests against truths from the archive's text, scipy and closed forms."""

from dataclasses import replace
import math
import random
from test.support.archives import (
    build_archive,
    camera_calibration,
    ego_pose,
    START_US,
    translation,
)

import numpy as np
from nurec_ros.driving import DrivenEgo, TimedPose
from nurec_ros.poses import Pose
from nurec_ros.rendering import RenderOptions
from nurec_ros.rendering.protos import sensorsim_pb2
from nurec_ros.rendering.requests import (
    camera_spec,
    RequestBuilder,
    rig_offset,
    track_poses,
    window,
)
from nurec_ros.scenario import Camera, Lidar, Scenario
from nurec_ros.scenario.cameras import parse_camera_model, PinholeCamera
import pytest
from scipy.spatial.transform import Rotation

# The first exposures of camera 'wide', index 0 in the archive.
EXPOSURE_US = 27_000
FRAME_US = START_US + 20_000 + EXPOSURE_US
MOUNT = np.array(camera_calibration('x', 0)['T_sensor_rig'])
# 2 m and a quarter turn to the left.
T_OFFSET = np.array([[0, -1, 0, 0], [1, 0, 0, 2], [0, 0, 1, 0], [0, 0, 0, 1]])


def build(scenario, t_us, camera='wide', **options):
    builder = RequestBuilder(scenario, RenderOptions(**options))
    return builder.build('the scene', camera, t_us * 1000)


def matrix(pose):
    """Turn a message's pose into a matrix, with scipy."""
    T = np.eye(4)
    q = pose.quat
    T[:3, :3] = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
    T[:3, 3] = [pose.vec.x, pose.vec.y, pose.vec.z]
    return T


def assert_pose(pose, T, tolerance=0.0001):
    np.testing.assert_allclose(matrix(pose), T, atol=tolerance)


# --- the exposure -------------------------------------------------------------------------------


def test_quaternions_of_both_ends_are_on_the_same_side(scenario):
    """Wherever on a full turn the exposure lies, about an axis that is no coordinate's."""
    builder = RequestBuilder(scenario, RenderOptions(shutter='recorded'))
    axis = np.array([1.0, 2.0, 3.0]) / 14**0.5
    for angle in np.linspace(0.0, 2 * math.pi, 40):
        rig = np.tile(np.eye(4), (2, 1, 1))
        rig[:, :3, :3] = Rotation.from_rotvec([angle * axis, (angle + 0.2) * axis]).as_matrix()
        pair = builder.build('x', 'wide', FRAME_US * 1000, rig_poses=rig).sensor_pose
        assert_pose(pair.start_pose, rig[0] @ MOUNT)
        assert_pose(pair.end_pose, rig[1] @ MOUNT)
        one, other = pair.start_pose.quat, pair.end_pose.quat
        assert one.w * other.w + one.x * other.x + one.y * other.y + one.z * other.z > 0.9


def camera_with(times_us, camera):
    return replace(camera, frame_times_ns=np.array(times_us, dtype=np.int64).reshape(-1, 2) * 1000)


@pytest.mark.parametrize(
    ('t_us', 'expected'),
    [
        (100, (90, 100)),  # a frame time
        (200, (180, 200)),  # the next, twice as long
        (149, (139, 149)),  # nearer to the first
        (151, (131, 151)),  # nearer to the second
        (5, (0, 5)),  # would begin before the range
        (0, (0, 1)),  # the first moment: never empty
        (1000, (980, 1000)),
        (2000, (980, 1000)),  # beyond the range
    ],
)
def test_recorded_windows(scenario, t_us, expected):
    camera = camera_with([(90, 100), (180, 200)], scenario.cameras['wide'])
    assert window(camera, t_us * 1000, True, 0, 1000) == expected
    # A range of one moment, and a spin that took no time, are not empty.
    for recorded in (False, True):
        assert window(camera, 7000, recorded, 7, 7) == (7, 8)
    spin = Lidar('l', np.eye(4), None, np.array([(700_000, 700_000)]))
    assert window(spin, 700_000, False, 0, 1000) == (699, 700)


def test_instants(scenario):
    """A camera that recorded no frame has no exposure either."""
    camera = camera_with([], scenario.cameras['wide'])
    for t_us, start_us in ((0, 0), (500, 500), (999, 999), (1000, 999), (1001, 999)):
        for recorded in (True, False):
            found = window(camera, t_us * 1000, recorded, 0, 1000)
            assert found == (start_us, start_us + 1)


def test_windows_are_half_open_and_inside():
    some = random.Random(1)
    for _ in range(1000):
        ends = sorted(some.randint(0, 1000) for _ in range(some.randint(0, 5)))
        times = np.array([(end - some.randint(0, 100), end) for end in ends], dtype=np.int64)
        camera = Camera('c', np.eye(4), None, None, times.reshape(-1, 2) * 1000)
        first, last = sorted((some.randint(0, 1000), some.randint(0, 1000)))
        t_ns = some.randint(-10, 1100) * 1000
        start_us, end_us = window(camera, t_ns, some.random() < 0.5, first, last)
        assert first <= start_us < end_us <= max(last, first + 1)


@pytest.mark.parametrize('shutter', ['instant', 'recorded'])
def test_kept_poses_of_recorded_frames_are_those_of_any_time(scenario, shutter):
    """Recorded frames are prepared in one go, others one by one: nobody may see which."""
    camera = scenario.cameras['wide']
    times_us = camera.frame_times_ns // 1000
    first = times_us[:1] if shutter == 'recorded' else []
    without = replace(scenario, cameras={'wide': camera_with(first, camera)})
    for t_us in times_us[1:, 1].tolist():
        assert build(scenario, t_us, shutter=shutter) == build(without, t_us, shutter=shutter)


# --- poses --------------------------------------------------------------------------------------


def test_every_camera_has_its_own_pose(scenario):
    """An offset turns and moves the rig, about its origin, and all cameras with it."""
    t_us = START_US + 300_000
    offset = (0.0, 2.0, 0.0, 0.0, 0.0, 90.0)
    for index, name in enumerate(scenario.cameras):
        pose = build(scenario, t_us, name, rig_offset=offset).sensor_pose.start_pose
        T_rig_camera = np.array(camera_calibration('x', index)['T_sensor_rig'])
        assert_pose(pose, np.array(ego_pose(0.3)) @ T_OFFSET @ T_rig_camera)


def test_rig_offset_is_rotations_about_fixed_axes():
    values = (1.0, -2.0, 3.0, 10.0, -20.0, 30.0)
    T = rig_offset(values)
    expected = Rotation.from_euler('xyz', [10.0, -20.0, 30.0], degrees=True).as_matrix()
    np.testing.assert_allclose(T[:3, :3], expected, atol=1e-12)
    np.testing.assert_array_equal(T[:3, 3], values[:3])
    np.testing.assert_array_equal(T[3], [0, 0, 0, 1])
    np.testing.assert_array_equal(rig_offset((0,) * 6), np.eye(4))


@pytest.mark.parametrize(
    ('scale', 'size'),
    [(2.0, (3840, 2160)), (0.1001, (192, 108)), (0.0125, (24, 14)), (0.01, (19, 11))],
)
def test_sizes_are_rounded_half_up(scenario, scale, size):
    """To one pixel at least; a camera may have a scale of its own."""
    options = RenderOptions(resolution_scale=scale, camera_scales={'tele': 0.25})
    builder = RequestBuilder(scenario, options)
    assert (builder.frame_size('wide'), builder.frame_size('tele')) == (size, (480, 270))
    wide = scenario.cameras['wide']
    small = replace(scenario, cameras={'wide': replace(wide, model=wide.model.resized(60, 20))})
    assert RequestBuilder(small, RenderOptions(resolution_scale=0.01)).frame_size('wide') == (1, 1)


def test_shutter_types_by_name():
    for name in sensorsim_pb2.ShutterType.keys()[1:]:
        model = parse_camera_model(
            'opencv-pinhole',
            {
                'resolution': [640, 480],
                'principal_point': [319.0, 241.0],
                'focal_length': [500.0, 500.0],
                'shutter_type': name,
            },
        )
        spec = camera_spec('cam', model)
        assert sensorsim_pb2.ShutterType.Name(spec.shutter_type) == name


@pytest.mark.parametrize('hfov', [30.0, 120.0])
def test_pinhole_view_spans_the_field_of_view(scenario, hfov):
    native = scenario.cameras['wide'].model
    pinhole = RenderOptions(projection='pinhole', hfov_deg=hfov)
    model = RequestBuilder(scenario, pinhole).output_model('wide')
    assert isinstance(model, PinholeCamera)
    assert model.resolution == (1920, 1080)
    assert model.principal_point == (959.5, 539.5)
    assert model.shutter_type == native.shutter_type
    # The image's outer edges lie half a pixel beyond the first and last pixel's centre.
    rays, valid = model.unproject(np.array([[-0.5, 539.5], [1919.5, 539.5]]))
    assert valid.all()
    assert math.degrees(math.acos(rays[0] @ rays[1])) == pytest.approx(hfov, abs=1e-9)
    assert model.focal_length[0] == model.focal_length[1]


# --- tracks -------------------------------------------------------------------------------------


def test_tracks_are_sent_only_when_asked_for_and_only_controllable(scenario):
    t_us = START_US + 1_000_000
    assert not build(scenario, t_us).dynamic_objects
    builder = RequestBuilder(scenario, RenderOptions())
    # Of the archive's tracks '1' is a car that turns, the others are not controllable, or too
    # short to be kept.
    (message,) = builder.build('s', 'wide', t_us * 1000, with_tracks=True).dynamic_objects
    assert message.track_id == '1'
    pair = message.pose_pair
    assert pair.start_pose == pair.end_pose
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler('z', 0.3).as_matrix()
    T[:3, 3] = [26.0, 3.5, 0.8]
    assert_pose(pair.start_pose, T)


def test_a_track_that_begins_or_ends_within_the_exposure_stands_still(tmp_path):
    scenario = Scenario.load(build_archive(tmp_path))
    begin_ns = int(scenario.tracks.start_ns[0])
    end_ns = int(scenario.tracks.end_ns[0])
    for start, end in ((begin_ns - 9_000, begin_ns + 9_000), (end_ns - 9_000, end_ns + 9_000)):
        pair = track_poses(scenario, start, end)[0].pose_pair
        assert pair.start_pose == pair.end_pose
    assert track_poses(scenario, begin_ns - 9_000, begin_ns - 8_000) == []


# --- a driven ego -------------------------------------------------------------------------------


class Straight:
    """An ego that drives along x, 5 m/s, from the scenario's start on."""

    def pose(self, t_ns):
        seconds = (t_ns - START_US * 1000) * 1e-9
        still = np.zeros((len(t_ns), 3))
        return Pose(still + np.outer(seconds, [5.0, 0.0, 0.0]), np.insert(still, 3, 1.0, axis=1))


@pytest.mark.parametrize('shutter', ['instant', 'recorded'])
def test_a_driven_ego_is_at_the_ends_of_the_exposure(scenario, shutter):
    options = RenderOptions(shutter=shutter, rig_offset=(0.0, 2.0, 0.0, 0.0, 0.0, 90.0))
    builder = RequestBuilder(scenario, options)
    for t_us in (FRAME_US, FRAME_US + 100_001):
        poses = builder.rig_poses('wide', t_us * 1000, Straight())
        request = builder.build('s', 'wide', t_us * 1000, rig_poses=poses)
        begins, ends = request.sensor_pose.start_pose, request.sensor_pose.end_pose
        first_us = t_us if shutter == 'instant' else t_us - EXPOSURE_US
        for pose, of_us in ((begins, first_us), (ends, t_us)):
            T_map_rig = np.array(translation(5e-6 * (of_us - START_US), 0.0, 0.0))
            assert_pose(pose, T_map_rig @ T_OFFSET @ MOUNT)
        # But for the poses it is what is asked of the recorded ego.
        plain = builder.build('s', 'wide', t_us * 1000)
        plain.sensor_pose.CopyFrom(request.sensor_pose)
        assert request == plain


def test_a_driver_that_replays_the_recording_gets_its_requests(scenario):
    recorded = scenario.ego
    ego = DrivenEgo(recorded, recorded.start_ns, source='pose')
    for shutter in ('instant', 'recorded'):
        builder = RequestBuilder(scenario, RenderOptions(shutter=shutter))
        for row, t_ns in enumerate(recorded.times_ns.tolist()):
            position = recorded.positions[row].tolist()
            ego.put(TimedPose.checked(t_ns, position, recorded.quaternions[row].tolist()))
        ego.advance_to(recorded.end_ns)
        for t_ns in scenario.cameras['wide'].frame_times_ns[:, 1].tolist():
            poses = builder.rig_poses('wide', t_ns, ego)
            one = builder.build('s', 'wide', t_ns, rig_poses=poses)
            other = builder.build('s', 'wide', t_ns)
            for a, b in (
                (one.sensor_pose.start_pose, other.sensor_pose.start_pose),
                (one.sensor_pose.end_pose, other.sensor_pose.end_pose),
            ):
                mine, true = _numbers(a), _numbers(b)
                assert (abs(mine.astype(float) - true) <= np.spacing(abs(true))).all()
        ego.jump(recorded.start_ns)


def _numbers(pose):
    vec, quat = pose.vec, pose.quat
    return np.array([vec.x, vec.y, vec.z, quat.w, quat.x, quat.y, quat.z], dtype=np.float32)
