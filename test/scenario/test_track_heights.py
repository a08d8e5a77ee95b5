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
"""smooth_track_height: calmer heights, everything else as it was."""

from test.support.archives import build_archive, START_US, track

import numpy as np
from nurec_ros.scenario import Scenario
from nurec_ros.scenario.height import smooth_heights, STEEPEST
import pytest
from scipy.spatial.transform import Rotation

SECONDS = np.arange(0.0, 10.0, 0.1)
NOISE = np.random.default_rng(1).normal(0, 0.1, len(SECONDS))


def moving(speed, heights):
    return np.stack([speed * SECONDS, 0.1 * speed * SECONDS, heights], axis=1)


def test_noise_is_taken():
    found = smooth_heights(SECONDS, moving(8.0, 2.0 + NOISE))
    assert np.std(found[5:-5] - 2.0) < 0.4 * np.std(NOISE)
    assert abs(found.mean() - 2.0) < 0.05


def test_a_hill_stays():
    hill = 0.08 * 8.0 * SECONDS
    np.testing.assert_allclose(smooth_heights(SECONDS, moving(8.0, hill)), hill, atol=1e-12)
    crest = 3.0 * np.sin(SECONDS / 3)
    assert np.abs(smooth_heights(SECONDS, moving(8.0, crest)) - crest).max() < 0.05


def test_grade_is_limited():
    jump = np.where(SECONDS < 5.0, 0.0, 4.0)
    positions = moving(5.0, jump)
    found = smooth_heights(SECONDS, positions)
    way = np.hypot(*np.diff(positions[:, :2], axis=0).T)
    assert (np.abs(np.diff(found)) <= STEEPEST * way + 1e-12).all()
    assert found.min() >= -1e-12
    assert found.max() <= 4.0 + 1e-12


def test_who_stands_keeps_one_height():
    found = smooth_heights(SECONDS, moving(0.0, 1.0 + NOISE))
    assert np.ptp(found) < 1e-12
    assert abs(found[0] - 1.0) < 0.3


@pytest.mark.parametrize('bad', [0, 1, 50, 98, 99])
@pytest.mark.parametrize('speed', [0.0, 8.0])
def test_one_bad_pose_moves_nothing(bad, speed):
    heights = 2.0 + 0.05 * speed * SECONDS
    truth = smooth_heights(SECONDS, moving(speed, heights))
    heights[bad] += 3.0
    found = smooth_heights(SECONDS, moving(speed, heights))
    # On a slope the median of the last poses is up to two steps below the last.
    assert np.abs(found - truth).max() <= 2 * 0.05 * speed * 0.1 + 1e-9


@pytest.mark.parametrize('count', [1, 2, 3])
def test_short_tracks(count):
    positions = moving(8.0, np.full(len(SECONDS), 1.5))[:count]
    np.testing.assert_allclose(smooth_heights(SECONDS[:count], positions), 1.5)


def test_the_shortest_track_with_a_middle_is_smoothed():
    # Over 0.1 s on either side of a peak of 0.08 m the lines through the heights mean half of it.
    heights = np.zeros(len(SECONDS))
    heights[1] = 0.08
    found = smooth_heights(SECONDS[:3], moving(8.0, heights)[:3])
    np.testing.assert_allclose(found, [0.0, 0.04, 0.0], atol=1e-12)


def test_a_constant_height_stays_exactly():
    found = smooth_heights(SECONDS, moving(8.0, np.full(len(SECONDS), 1.25)))
    np.testing.assert_allclose(found, 1.25, atol=1e-12)


def test_uneven_sampling_does_not_shift_the_height():
    seconds = np.cumsum(np.random.default_rng(2).uniform(0.02, 0.3, 80))
    ramp = 0.1 * seconds
    positions = np.stack([5 * seconds, 0 * seconds, ramp], axis=1)
    np.testing.assert_allclose(smooth_heights(seconds, positions), ramp, atol=1e-12)


def noisy_archive(tmp_path):
    times = [START_US + round(t * 1e6) for t in SECONDS[:20]]
    rows = moving(8.0, 1.0 + NOISE)[:20]
    turn = Rotation.from_rotvec([0, 0.1, 0.7]).as_quat().tolist()
    tracks = [
        track('a', 'car', [[*row, *turn] for row in rows.tolist()], times),
        track('b', 'car', [[*row, *turn] for row in (rows + [0, 9, 0]).tolist()], times),
    ]
    return build_archive(tmp_path, tracks=tracks)


def test_only_heights_change_and_only_on_wish(tmp_path):
    path = noisy_archive(tmp_path)
    raw, smooth = Scenario.load(path), Scenario.load(path, smooth_track_height=True)
    before, after = raw.tracks.samples, smooth.tracks.samples
    np.testing.assert_array_equal(before.positions[:20, 2], 1.0 + NOISE[:20])
    np.testing.assert_array_equal(before.positions[:, :2], after.positions[:, :2])
    np.testing.assert_array_equal(before.quaternions, after.quaternions)
    np.testing.assert_array_equal(before.times_ns, after.times_ns)
    assert np.std(after.positions[:20, 2]) < 0.7 * np.std(before.positions[:20, 2])
    assert smooth.tracks.ids == raw.tracks.ids
    np.testing.assert_allclose(after.positions[:20, 2], after.positions[20:, 2])


def test_real_tracks(pittsburgh):
    raw = Scenario.load(pittsburgh).tracks
    smooth = Scenario.load(pittsburgh, smooth_track_height=True).tracks
    change = smooth.samples.positions - raw.samples.positions
    assert not change[:, :2].any()
    assert np.abs(change[:, 2]).max() < 1.5
    for index in range(len(smooth)):
        positions = smooth.trajectory(index).positions
        way = np.hypot(*np.diff(positions[:, :2], axis=0).T)
        assert (np.abs(np.diff(positions[:, 2])) <= STEEPEST * way + 1e-9).all()
