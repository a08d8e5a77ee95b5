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
"""
Frames, path and odometry, as a recording of a whole session shows them.

| rule | test |
|---|---|
| /tf carries `map` to `base_link`, true to the ego's trajectory | `test_tf_is_true` |
| a transform with exactly the stamp of every image, not after it | `test_every_image_…` |
| TF and odom go out with every /clock while playing | `test_tf_and_odometry_…` |
| ~/odom is in step with TF: same stamps, same poses | `test_odometry_equals_tf` |
| the twist is the ego's, in base_link, also while halted | `test_twist_…` |
| one message with all static frames, again at each load, at no other time | `…_static_…` |
| base to body to optical frame of a camera equal T_sensor_rig | `test_camera_frames_…` |
| body axes are REP 103's, optical ones z forward | `test_body_frames_…` |
| one tree: no frame has two parents | `test_frames_are_one_tree` |
| each message names the frame that the contract gives it | `test_frame_ids_…` |
| ~/path is the whole trajectory, each pose with its own stamp | `test_path_…` |
"""

from collections import defaultdict
from itertools import pairwise
from test.ros.session.scenarios import CROSS, FRONT, REAR, SPEED_M_S, YAW_RATE_RAD_S

import numpy as np
import pytest

pytestmark = pytest.mark.contract

# Between poses at 10 Hz on an arc of 40 m radius at 8 m/s: 2 mm of chord, half a step of yaw.
CHORD_M = 0.005
CHORD_RAD = 0.5 * 0.1 * YAW_RATE_RAD_S
CAMERAS = (FRONT, REAR, CROSS)


def matrix(translation, rotation):
    """Return a transform (4, 4) from a message's parts."""
    x, y, z, w = rotation.x, rotation.y, rotation.z, rotation.w
    assert abs(x * x + y * y + z * z + w * w - 1.0) < 1e-9
    T = np.eye(4)
    T[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    T[:3, 3] = translation.x, translation.y, translation.z
    return T


def transforms(message):
    """Return a TFMessage's transforms: stamp, parent, child, (4, 4)."""
    for one in message.transforms:
        stamp = one.header.stamp.sec * 1_000_000_000 + one.header.stamp.nanosec
        T = matrix(one.transform.translation, one.transform.rotation)
        yield stamp, one.header.frame_id, one.child_frame_id, T


def angle(A, B):
    """Return the angle between two rotations, in rad."""
    return np.arccos(np.clip((np.trace(A[:3, :3].T @ B[:3, :3]) - 1.0) / 2.0, -1.0, 1.0))


def test_tf_is_true(recording):
    """Compare with the arc in closed form."""
    compared = 0
    for entry in recording.of('/tf'):
        for stamp, parent, child, T in transforms(entry.message):
            assert (parent, child) == ('map', 'base_link')
            truth = recording.truth_at(stamp).ego_pose(stamp)
            assert np.linalg.norm(T[:3, 3] - truth[:3, 3]) < CHORD_M
            assert angle(T, truth) < CHORD_RAD
            compared += 1
    assert compared > 300


@pytest.mark.parametrize('camera', CAMERAS)
def test_every_image_has_a_transform_of_its_stamp_before_it(recording, camera):
    sent = defaultdict(list)
    for entry in recording.of('/tf'):
        for stamp, *_ in transforms(entry.message):
            sent[stamp].append(entry.sent_ns)
    # At the very start the recorder may find /tf after the camera.
    known_from = recording.of('/tf')[0].sent_ns
    images = [one for one in recording.images(camera) if one.sent_ns > known_from]
    assert len(images) > 5
    for image in images:
        era = recording.era_at(image.sent_ns)
        assert any(era.from_ns <= one <= image.sent_ns for one in sent[image.stamp_ns])


@pytest.mark.parametrize('topic', ['/tf', '~/odom'])
def test_tf_and_odometry_go_out_with_every_clock_while_playing(recording, topic):
    checked = 0
    for stretch in recording.stretches(playing=True):
        clocks = recording.of('/clock', stretch.from_ns, stretch.to_ns)
        for clock, following in pairwise(clocks):
            between = recording.of(topic, clock.sent_ns, following.sent_ns)
            if clock.stamp_ns == stretch.era.truth.end_ns:
                continue
            assert [one.stamp_ns for one in between][:1] == [clock.stamp_ns]
            checked += 1
    assert checked > 100


def test_odometry_equals_tf(recording):
    """Pair each message with the transforms right before it, and leave none of them over."""
    pairs = 0
    for _, from_ns, to_ns in recording.steady():
        tf, odometry = (recording.of(topic, from_ns, to_ns) for topic in ('/tf', '~/odom'))
        assert abs(len(tf) - len(odometry)) <= 1
        for entry in odometry[1:]:
            before = recording.last('/tf', entry.sent_ns)
            assert entry.stamp_ns == before.stamp_ns
            *_, T = list(transforms(before.message))[-1]
            pose = entry.message.pose.pose
            np.testing.assert_allclose(matrix(pose.position, pose.orientation), T, atol=1e-9)
            pairs += 1
    assert pairs > 300


def test_twist_is_that_of_the_arc(recording):
    """Compare with 8 m/s ahead and 0.2 rad/s to the left, whatever the rate, playing or not."""
    for entry in recording.of('~/odom'):
        twist = entry.message.twist.twist
        linear, angular = ([part.x, part.y, part.z] for part in (twist.linear, twist.angular))
        # The chord's direction is off by half a step of yaw at most.
        np.testing.assert_allclose(linear, [SPEED_M_S, 0, 0], atol=SPEED_M_S * CHORD_RAD + 0.02)
        np.testing.assert_allclose(angular, [0, 0, YAW_RATE_RAD_S], atol=0.01)


def test_static_frames_come_once_per_scenario(recording):
    """Find one message for each scenario, at its start, with everything in it."""
    sent = recording.of('/tf_static')
    assert len(sent) == len(recording.session.truths)
    loaded = [era for era in recording.eras if era.truth is not previous(recording, era)]
    assert len(loaded) == len(sent)
    for entry, era in zip(sent, loaded, strict=True):
        if era.number:
            assert entry in recording.opening(era)
        children = [child for _, _, child, _ in transforms(entry.message)]
        cameras = list(era.truth.cameras)
        assert sorted(children) == sorted(cameras + [f'{one}_optical_frame' for one in cameras])
        assert {stamp for stamp, *_ in transforms(entry.message)} == {era.first_ns}


def previous(recording, era):
    """Return the scenario of the era before, None for the first."""
    return recording.eras[era.number - 1].truth if era.number else None


def static_frames(recording):
    """Return for each scenario its static transforms: (parent, child) to (4, 4)."""
    for entry, truth in zip(recording.of('/tf_static'), recording.session.truths, strict=True):
        yield truth, {(p, c): T for _, p, c, T in transforms(entry.message)}


def test_camera_frames_equal_the_calibration(recording):
    """Compare base to optical with T_sensor_rig as it was written; the same camera moves."""
    heights = []
    for truth, frames in static_frames(recording):
        for camera, calibration in truth.cameras.items():
            T = frames['base_link', camera] @ frames[camera, f'{camera}_optical_frame']
            np.testing.assert_allclose(T, calibration['T_sensor_rig'], atol=1e-9)
            if camera == FRONT:
                heights.append(T[2, 3])
    assert heights == pytest.approx([1.3, 1.8])


def test_body_frames_look_along_x(recording):
    R_body_optical = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    for truth, frames in static_frames(recording):
        for camera in truth.cameras:
            T = frames[camera, f'{camera}_optical_frame']
            np.testing.assert_allclose(T[:3, :3], R_body_optical, atol=1e-9)
            np.testing.assert_allclose(T[:3, 3], 0.0, atol=1e-9)


def test_frames_are_one_tree(recording):
    parents = defaultdict(set)
    for topic in ('/tf', '/tf_static'):
        for entry in recording.of(topic):
            for _, parent, child, _ in transforms(entry.message):
                parents[child].add(parent)
    assert all(len(found) == 1 for found in parents.values())
    for frame in parents:
        way = [frame]
        while way[-1] != 'map':
            way.append(next(iter(parents[way[-1]])))
            assert len(way) < 10


def test_frame_ids_are_as_documented(recording):
    expected = {
        '/nurec/path': {'map'},
        '/nurec/odom': {'map'},
        '/nurec/tracks': {'map'},
        '/nurec/ego': {'base_link'},
        '/nurec/objects': {'map'},
    }
    for camera in CAMERAS:
        for kind in ('image_raw', 'image_raw/compressed', 'camera_info'):
            expected[f'/nurec/{camera}/{kind}'] = {f'{camera}_optical_frame'}
    found = defaultdict(set)
    for entry in recording.entries:
        parts = getattr(entry.message, 'markers', None) or [entry.message]
        for part in parts:
            if entry.topic in expected:
                found[entry.topic].add(part.header.frame_id)
    assert found == expected
    poses = {pose.header.frame_id for one in recording.of('~/path') for pose in one.message.poses}
    assert poses == {'map'}
    assert {one.message.child_frame_id for one in recording.of('~/odom')} == {'base_link'}


def test_path_is_the_whole_trajectory(recording):
    """Compare each message with the poses that were written."""
    for entry in recording.of('~/path'):
        poses = entry.message.poses
        stamps = [one.header.stamp.sec * 10**9 + one.header.stamp.nanosec for one in poses]
        truth = recording.truth_at(stamps[-1])
        assert stamps == [time or 1 for time in truth.pose_times_ns]
        T = np.array([matrix(one.pose.position, one.pose.orientation) for one in poses])
        np.testing.assert_allclose(T, truth.poses, atol=1e-9)
