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
"""Frames, path, odometry and pictures, as a recording of a whole session shows them."""

from collections import defaultdict
import itertools
from itertools import pairwise
from test.ros.session.drive import camera_topics, SCALE
from test.ros.session.recording import nanoseconds
from test.ros.session.scenarios import CROSS, SPEED_M_S, YAW_RATE_RAD_S
from test.support.player_bench import FRONT, REAR

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

pytestmark = pytest.mark.contract

# Between poses at 10 Hz on an arc of 40 m radius at 8 m/s: 2 mm of chord, half a step of yaw.
CHORD_M = 0.005
CHORD_RAD = 0.5 * 0.1 * YAW_RATE_RAD_S
CAMERAS = (FRONT, REAR, CROSS)
KINDS = ('image_raw', 'image_raw/compressed', 'camera_info')
WIDTH, HEIGHT = round(1920 * SCALE), round(1080 * SCALE)


@pytest.fixture(params=CAMERAS)
def camera(request):
    return request.param


def matrix(translation, rotation):
    """Return a transform (4, 4) from a message's parts."""
    quaternion = np.array([rotation.x, rotation.y, rotation.z, rotation.w])
    assert abs(quaternion @ quaternion - 1.0) < 1e-9
    T = np.eye(4)
    T[:3, :3] = Rotation.from_quat(quaternion).as_matrix()
    T[:3, 3] = translation.x, translation.y, translation.z
    return T


def transforms(message):
    """Return a TFMessage's transforms: stamp, parent, child, (4, 4)."""
    for one in message.transforms:
        T = matrix(one.transform.translation, one.transform.rotation)
        yield nanoseconds(one.header.stamp), one.header.frame_id, one.child_frame_id, T


def test_tf_is_true(recording):
    """Compare with the arc in closed form."""
    compared = 0
    for entry in recording.of('/tf'):
        for stamp, parent, child, T in transforms(entry.message):
            assert (parent, child) == ('map', 'base_link')
            truth = recording.truth_at(stamp).ego_pose(stamp)
            assert np.linalg.norm(T[:3, 3] - truth[:3, 3]) < CHORD_M
            assert Rotation.from_matrix(T[:3, :3].T @ truth[:3, :3]).magnitude() < CHORD_RAD
            compared += 1
    assert compared > 300


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
    for from_ns, to_ns in recording.steady():
        tf, odometry = (recording.of(topic, from_ns, to_ns) for topic in ('/tf', '~/odom'))
        assert abs(len(tf) - len(odometry)) <= 1
        for entry in odometry[1:]:
            before = recording.last('/tf', entry.sent_ns)
            assert entry.stamp_ns == before.stamp_ns
            last, pose = before.message.transforms[-1].transform, entry.message.pose.pose
            T = matrix(last.translation, last.rotation)
            np.testing.assert_allclose(matrix(pose.position, pose.orientation), T, atol=1e-9)
            pairs += 1
    assert pairs > 300


def test_twist_is_that_of_the_arc(recording):
    """Compare with 8 m/s ahead and 0.2 rad/s to the left, whatever the rate, playing or not."""
    twists = [entry.message.twist.twist for entry in recording.of('~/odom')]
    linear, angular = (
        np.array([(one.x, one.y, one.z) for one in parts])
        for parts in zip(*((one.linear, one.angular) for one in twists), strict=True)
    )
    # The chord's direction is off by half a step of yaw at most.
    assert np.abs(linear - [SPEED_M_S, 0, 0]).max() < SPEED_M_S * CHORD_RAD + 0.02
    assert np.abs(angular - [0, 0, YAW_RATE_RAD_S]).max() < 0.01


def test_static_frames_come_once_per_scenario(recording):
    """Find one message for each scenario, at its start, with everything in it."""
    sent = recording.of('/tf_static')
    eras = [None, *recording.eras]
    loaded = [b for a, b in pairwise(eras) if a is None or a.truth is not b.truth]
    assert len(sent) == len(recording.truths)
    for entry, era in zip(sent, loaded, strict=True):
        if era.number:
            assert entry in recording.opening(era)
        children = [child for _, _, child, _ in transforms(entry.message)]
        cameras = list(era.truth.cameras)
        assert sorted(children) == sorted(cameras + [f'{one}_optical_frame' for one in cameras])
        assert {stamp for stamp, *_ in transforms(entry.message)} == {era.first_ns}


def test_camera_frames_equal_the_calibration_and_body_frames_look_along_x(recording):
    """Compare base to optical with T_sensor_rig as it was written; the same camera moves."""
    heights = []
    T_body_optical = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    for entry, truth in zip(recording.of('/tf_static'), recording.truths, strict=True):
        frames = {(parent, child): T for _, parent, child, T in transforms(entry.message)}
        for name, calibration in truth.cameras.items():
            turned = frames[name, f'{name}_optical_frame']
            np.testing.assert_allclose(turned, T_body_optical, atol=1e-9)
            T = frames['base_link', name] @ turned
            np.testing.assert_allclose(T, calibration['T_sensor_rig'], atol=1e-9)
            if name == FRONT:
                heights.append(T[2, 3])
    assert heights == pytest.approx([1.3, 1.8])


def test_frames_are_one_tree(recording):
    parents = defaultdict(set)
    for topic in ('/tf', '/tf_static'):
        for entry in recording.of(topic):
            for one in entry.message.transforms:
                parents[one.child_frame_id].add(one.header.frame_id)
    assert all(len(found) == 1 for found in parents.values())
    for frame in parents:
        way = [frame]
        while way[-1] != 'map':
            way.append(next(iter(parents[way[-1]])))
            assert len(way) < 10


def test_frame_ids_are_as_documented(recording):
    shown = ('path', 'odom', 'tracks', 'objects')
    expected = {f'/nurec/{name}': {'map'} for name in shown} | {'/nurec/ego': {'base_link'}}
    for name in CAMERAS:
        expected |= {topic: {f'{name}_optical_frame'} for topic in camera_topics(name)}
    found = defaultdict(set)
    for entry in recording.entries:
        if entry.topic in expected:
            parts = getattr(entry.message, 'markers', None) or [entry.message]
            found[entry.topic] |= {part.header.frame_id for part in parts}
    assert found == expected
    poses = {pose.header.frame_id for one in recording.of('~/path') for pose in one.message.poses}
    assert poses == {'map'}
    assert {one.message.child_frame_id for one in recording.of('~/odom')} == {'base_link'}


def test_path_is_the_whole_trajectory(recording):
    """Compare each message with the poses that were written."""
    for entry in recording.of('~/path'):
        poses = entry.message.poses
        stamps = [nanoseconds(one.header.stamp) for one in poses]
        truth = recording.truth_at(stamps[-1])
        assert stamps == [time or 1 for time in truth.pose_times_ns]
        T = np.array([matrix(one.pose.position, one.pose.orientation) for one in poses])
        np.testing.assert_allclose(T, truth.poses, atol=1e-9)


# Pictures.


def test_every_image_has_a_transform_of_its_stamp_before_it(recording, camera):
    sent = defaultdict(list)
    for entry in recording.of('/tf'):
        for one in entry.message.transforms:
            sent[nanoseconds(one.header.stamp)].append(entry.sent_ns)
    # At the very start /tf may be found after the camera.
    known_from = recording.of('/tf')[0].sent_ns
    images = [one for one in recording.images(camera) if one.sent_ns > known_from]
    assert len(images) > 5
    for image in images:
        era = recording.era_at(image.sent_ns)
        assert any(era.from_ns <= one <= image.sent_ns for one in sent[image.stamp_ns])


def test_image_topics_are_in_step_and_in_order(recording, camera):
    """Find each topic's moments on the other topics: once, and in the same order."""

    def moments(kind, from_ns=0, to_ns=1 << 62):
        found = recording.of(f'~/{camera}/{kind}', from_ns, to_ns)
        return [(recording.era_at(one.sent_ns).number, one.stamp_ns) for one in found]

    for kind, other in itertools.permutations(KINDS, 2):
        assert moments(kind) == sorted(moments(kind))
        steady = [
            moment
            for from_ns, to_ns in recording.steady()
            for moment in moments(kind, from_ns, to_ns)
        ]
        assert len(steady) > 3
        assert [one for one in moments(other) if one in steady] == steady


def test_images_are_stamped_by_exposure_or_position(recording, camera):
    exposures = 0
    for image in recording.images(camera):
        if image.stamp_ns in recording.truth_at(image.stamp_ns).frame_ends_ns[camera]:
            exposures += 1
        else:
            # The clock stood there; it may run again by now.
            era = recording.era_at(image.sent_ns)
            clocks = recording.of('/clock', era.from_ns, image.sent_ns)
            assert image.stamp_ns in [one.stamp_ns for one in clocks] or not clocks
    assert exposures > 3


def test_halted_player_shows_a_picture_of_its_position(recording):
    """Look at the start, and where the client waited: after seeks, a reset and loads."""
    first = recording.truths[0]
    for name in first.cameras:
        assert recording.images(name)[0].stamp_ns == first.begin_ns
    waits = recording.named('pictures')
    assert len(waits) == 8
    for act in waits:
        position = recording.clock_at(act.answered_ns)
        assert set(act.answer) == set(recording.truth_at(position).cameras)
        for name in act.answer:
            assert position in stamps_during(recording, act, name)


def stamps_during(recording, act, camera):
    sent = recording.of(f'~/{camera}/image_raw/compressed', act.called_ns, act.answered_ns)
    return [one.stamp_ns for one in sent]


@pytest.mark.parametrize('name', ['tick', 'play_next'])
def test_steps_answer_after_every_frame_due_in_them(recording, name):
    checked = 0
    for act in recording.named(name):
        before = recording.clock_at(act.called_ns)
        after = recording.clock_at(act.answered_ns)
        truth = recording.truth_at(before)
        for one in truth.cameras:
            due = truth.due(one, before, after)
            sent = stamps_during(recording, act, one)
            # A picture of the position where the clock was halted may still be on its way.
            assert [stamp for stamp in sent if stamp > before] == due
            checked += len(due)
    assert checked >= 3


def test_pictures_come_as_jpegs_and_decoded(recording, camera):
    """Decode the JPEGs with OpenCV, and compare with what came decoded."""
    pictures = {}
    for entry in recording.images(camera):
        message = entry.message
        assert message.format == 'rgb8; jpeg compressed bgr8'
        data = message.data.tobytes()
        assert (data[:2], data[-2:]) == (b'\xff\xd8', b'\xff\xd9')
        picture = cv2.imdecode(message.data, cv2.IMREAD_COLOR)
        assert picture is not None
        assert picture.shape == (HEIGHT, WIDTH, 3)
        pictures[entry.stamp_ns] = picture
    compared = 0
    for entry in recording.images(camera, 'image_raw'):
        message = entry.message
        assert (message.encoding, message.is_bigendian) == ('rgb8', 0)
        assert (message.width, message.height, message.step) == (WIDTH, HEIGHT, 3 * WIDTH)
        raw = message.data.reshape(HEIGHT, WIDTH, 3)
        assert raw.std() > 5
        if entry.stamp_ns in pictures:
            # Decoders may interpolate colour differently.
            off = raw.astype(int) - pictures[entry.stamp_ns][..., ::-1]
            assert np.abs(off).mean() < 2.0
            compared += 1
    assert compared > 3


def test_camera_info_is_scaled_to_the_image(recording, camera):
    """Compute the centre from the file's: pixel centres are at integers."""
    for entry in recording.images(camera, 'camera_info'):
        message = entry.message
        assert (message.width, message.height) == (WIDTH, HEIGHT)
        truth = recording.truth_at(entry.stamp_ns)
        centre = truth.cameras[camera]['camera_model']['parameters']['principal_point']
        K, P = message.k.reshape(3, 3), message.p.reshape(3, 4)
        assert K[:2, 2] == pytest.approx((np.array(centre) + 0.5) * SCALE - 0.5, abs=0.05)
        assert K[2].tolist() == [0.0, 0.0, 1.0]
        np.testing.assert_array_equal(message.r.reshape(3, 3), np.eye(3))
        assert P[:, 3].tolist() == [0.0, 0.0, 0.0]
        assert (message.binning_x, message.binning_y) == (0, 0)


def test_camera_info_is_a_fit_of_the_lens(recording, camera):
    """Project rays as `equidistant` says, with OpenCV, and by the lens's own polynomial."""
    entry = recording.images(camera, 'camera_info')[0]
    assert entry.message.distortion_model == 'equidistant'
    K, D = entry.message.k.reshape(3, 3), np.array(entry.message.d)
    assert len(D) == 4
    truth = recording.truth_at(entry.stamp_ns)
    parameters = truth.cameras[camera]['camera_model']['parameters']
    radii = np.linspace(0.0, 1000.0, 11)
    angles = np.polyval(parameters['pixeldist_to_angle_poly'][::-1], radii)
    radii, angles = radii[angles < 1.2], angles[angles < 1.2]
    rays = np.stack([np.sin(angles), 0 * angles, np.cos(angles)], axis=-1)
    pixels, _ = cv2.fisheye.projectPoints(rays[:, None], np.zeros(3), np.zeros(3), K, D)
    np.testing.assert_allclose(pixels[:, 0, 0] - K[0, 2], radii * SCALE, atol=0.1)


def test_cameras_come_and_go_with_their_scenario(recording):
    """Find no message of a camera that the scenario at play does not have."""
    seen = defaultdict(set)
    for topic in camera_topics(*CAMERAS):
        for one in recording.of(topic):
            seen[recording.truth_at(one.stamp_ns).sequence_id].add(topic)
    truths = recording.truths
    assert seen == {one.sequence_id: set(camera_topics(*one.cameras)) for one in truths}
