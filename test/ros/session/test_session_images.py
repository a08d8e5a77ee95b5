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
Camera topics, as a recording of a whole session shows them.

| rule | test |
|---|---|
| images, compressed ones and camera_info have the same stamps, in step | `…_in_step` |
| images are in order within a camera between jumps | `test_images_are_in_order` |
| the stamp is the end of a recorded exposure, or the position of a halted clock | `…_stamped` |
| no image of the time before a jump comes after it | `test_no_image_is_stale` |
| a halted player shows one frame of the position after start, seek, reset, load | `…_picture…` |
| a tick, and play_next, answer after every frame due in them | `test_steps_answer_after…` |
| compressed: JPEG bytes, format `rgb8; jpeg compressed bgr8` | `test_compressed_…` |
| image_raw: rgb8, the same picture decoded | `test_raw_…` |
| camera_info: size of the image, intrinsics scaled with it | `test_camera_info_is_scaled_…` |
| F-theta is published as `equidistant` | `test_camera_info_is_a_fit_…` |
| a loaded scenario's cameras appear, those of the old one end | `test_cameras_…` |
"""

import itertools
from itertools import pairwise
from test.ros.session.drive import SCALE
from test.ros.session.scenarios import CROSS, FRONT, REAR

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.contract

CAMERAS = (FRONT, REAR, CROSS)
KINDS = ('image_raw', 'image_raw/compressed', 'camera_info')
WIDTH, HEIGHT = round(1920 * SCALE), round(1080 * SCALE)
MARKERS_OF_JPEG = (b'\xff\xd8', b'\xff\xd9')


def images(recording, camera):
    """Return a camera's compressed images."""
    found = recording.images(camera)
    assert len(found) > 3
    return found


@pytest.mark.parametrize('camera', CAMERAS)
def test_image_topics_are_in_step(recording, camera):
    """Find each topic's moments on the other topics: once, and in the same order."""

    def moments(kind, from_ns=0, to_ns=1 << 62):
        found = recording.of(f'~/{camera}/{kind}', from_ns, to_ns)
        return [(recording.era_at(one.sent_ns).number, one.stamp_ns) for one in found]

    for kind, other in itertools.permutations(KINDS, 2):
        steady = [
            moment
            for _, from_ns, to_ns in recording.steady()
            for moment in moments(kind, from_ns, to_ns)
        ]
        assert len(steady) > 3
        assert [one for one in moments(other) if one in steady] == steady


@pytest.mark.parametrize('camera', CAMERAS)
@pytest.mark.parametrize('kind', KINDS)
def test_images_are_in_order(recording, camera, kind):
    for before, after in pairwise(recording.images(camera, kind)):
        if recording.era_at(before.sent_ns) is recording.era_at(after.sent_ns):
            assert before.stamp_ns <= after.stamp_ns


@pytest.mark.parametrize('camera', CAMERAS)
def test_images_are_stamped_by_exposure_or_position(recording, camera):
    exposures = 0
    for image in images(recording, camera):
        truth = recording.truth_at(image.stamp_ns)
        if image.stamp_ns in truth.frame_ends_ns[camera]:
            exposures += 1
        else:
            # The clock stood there; it may run again by now.
            era = recording.era_at(image.sent_ns)
            clocks = recording.of('/clock', era.from_ns, image.sent_ns)
            assert image.stamp_ns in [one.stamp_ns for one in clocks] or not clocks
    assert exposures > 3


@pytest.mark.parametrize('camera', CAMERAS)
@pytest.mark.parametrize('kind', KINDS)
def test_no_image_is_stale(recording, camera, kind):
    """Hold every image between the first clock of its era and the last one that was sent."""
    known_from = recording.clocks[0].sent_ns
    for image in recording.images(camera, kind):
        if image.sent_ns < known_from:
            continue
        era = recording.era_at(image.sent_ns)
        first_ns = era.first_ns if era.number else era.truth.begin_ns
        assert first_ns <= image.stamp_ns <= recording.clock_at(image.sent_ns)


def test_halted_player_shows_a_picture_of_its_position(recording):
    """Look at where the client waited for one, after seeks, a reset and loads."""
    waits = recording.session.named('pictures')
    assert len(waits) == 8
    for act in waits:
        position = recording.clock_at(act.answered_ns)
        assert set(act.answer) == set(recording.truth_at(position).cameras)
        for camera in act.answer:
            stamps = [
                one.stamp_ns
                for one in recording.images(camera)
                if act.called_ns < one.sent_ns < act.answered_ns
            ]
            assert position in stamps


def test_started_player_shows_a_picture_of_its_position(recording):
    first = recording.session.truths[0]
    for camera in first.cameras:
        assert recording.images(camera)[0].stamp_ns == first.begin_ns


@pytest.mark.parametrize('name', ['tick', 'play_next'])
def test_steps_answer_after_every_frame_due_in_them(recording, name):
    checked = 0
    for act in recording.session.named(name):
        before = recording.clock_at(act.called_ns)
        after = recording.clock_at(act.answered_ns)
        truth = recording.truth_at(before)
        for camera in truth.cameras:
            due = truth.due(camera, before, after)
            sent = [
                one.stamp_ns
                for one in recording.images(camera)
                if act.called_ns < one.sent_ns < act.answered_ns
            ]
            # A picture of the position where the clock was halted may still be on its way.
            assert [stamp for stamp in sent if stamp > before] == due
            checked += len(due)
    assert checked >= 3


@pytest.mark.parametrize('camera', CAMERAS)
def test_compressed_images_are_jpegs(recording, camera):
    for image in images(recording, camera):
        assert image.message.format == 'rgb8; jpeg compressed bgr8'
        data = image.message.data.tobytes()
        assert (data[:2], data[-2:]) == MARKERS_OF_JPEG
        assert cv2.imdecode(image.message.data, cv2.IMREAD_COLOR).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize('camera', CAMERAS)
def test_raw_images_are_the_same_pictures(recording, camera):
    """Decode the JPEGs with OpenCV, and compare with what came decoded."""
    compressed = {one.stamp_ns: one.message for one in images(recording, camera)}
    compared = 0
    for entry in recording.images(camera, 'image_raw'):
        message = entry.message
        assert (message.encoding, message.is_bigendian) == ('rgb8', 0)
        assert (message.width, message.height, message.step) == (WIDTH, HEIGHT, 3 * WIDTH)
        raw = message.data.reshape(HEIGHT, WIDTH, 3)
        if entry.stamp_ns not in compressed:
            continue
        bgr = cv2.imdecode(compressed[entry.stamp_ns].data, cv2.IMREAD_COLOR)
        assert bgr is not None
        # Decoders may interpolate colour differently.
        assert np.abs(raw.astype(int) - bgr[..., ::-1]).mean() < 2.0
        compared += 1
    assert compared > 3


@pytest.mark.parametrize('camera', CAMERAS)
def test_pictures_are_not_empty(recording, camera):
    for entry in recording.images(camera, 'image_raw'):
        assert entry.message.data.std() > 5


@pytest.mark.parametrize('camera', CAMERAS)
def test_camera_info_is_scaled_to_the_image(recording, camera):
    """Compute the centre from the file's: pixel centres are at integers."""
    for entry in recording.images(camera, 'camera_info'):
        message = entry.message
        assert (message.width, message.height) == (WIDTH, HEIGHT)
        truth = recording.truth_at(entry.stamp_ns)
        cx, cy = truth.cameras[camera]['camera_model']['parameters']['principal_point']
        K = message.k.reshape(3, 3)
        assert K[0, 2] == pytest.approx((cx + 0.5) * SCALE - 0.5, abs=0.05)
        assert K[1, 2] == pytest.approx((cy + 0.5) * SCALE - 0.5, abs=0.05)
        assert K[2].tolist() == [0.0, 0.0, 1.0]
        np.testing.assert_array_equal(message.r.reshape(3, 3), np.eye(3))
        P = message.p.reshape(3, 4)
        assert P[:, 3].tolist() == [0.0, 0.0, 0.0]
        assert (message.binning_x, message.binning_y) == (0, 0)


@pytest.mark.parametrize('camera', CAMERAS)
def test_camera_info_is_a_fit_of_the_lens(recording, camera):
    """Project rays as `equidistant` says, with OpenCV, and by the lens's own polynomial."""
    entry = recording.images(camera, 'camera_info')[0]
    assert entry.message.distortion_model == 'equidistant'
    K, D = entry.message.k.reshape(3, 3), np.array(entry.message.d)
    assert len(D) == 4
    truth = recording.truth_at(entry.stamp_ns)
    parameters = truth.cameras[camera]['camera_model']['parameters']
    radii = np.linspace(0.0, 1000.0, 11)
    polynomial = parameters['pixeldist_to_angle_poly']
    angles = sum(factor * radii**power for power, factor in enumerate(polynomial))
    radii, angles = radii[angles < 1.2], angles[angles < 1.2]
    rays = np.stack([np.sin(angles), 0 * angles, np.cos(angles)], axis=-1)
    pixels, _ = cv2.fisheye.projectPoints(rays[:, None], np.zeros(3), np.zeros(3), K, D)
    np.testing.assert_allclose(pixels[:, 0, 0] - K[0, 2], radii * SCALE, atol=0.1)


def test_cameras_come_and_go_with_their_scenario(recording):
    """Find no message of a camera that the scenario at play does not have."""
    first, second, third = recording.session.truths
    seen = {name: set() for name in ('first', 'second', 'third')}
    for camera in CAMERAS:
        for kind in KINDS:
            for one in recording.images(camera, kind):
                seen[recording.truth_at(one.stamp_ns).sequence_id].add((camera, kind))
    for truth in (first, second, third):
        assert seen[truth.sequence_id] == {(c, kind) for c in truth.cameras for kind in KINDS}
