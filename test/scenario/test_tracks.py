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
"""Which tracks exist at a time, and where, beside scipy's Slerp; smooth_track_height."""

from test.scenario.loading import interpolated
from test.support.archives import build_archive, START_US, track

import numpy as np
from nurec_ros.scenario import Scenario, Tracks
from nurec_ros.scenario.schema.sequence_tracks import no_tracks
from nurec_ros.scenario.tracks import smooth_heights, STEEPEST
from nurec_ros.scenario.trajectory import PoseTable
import pytest
from scipy.spatial.transform import Rotation

BEGIN_NS = START_US * 1000


class Truth:
    """One track, its pose by scipy."""

    def __init__(self, times, positions=None, rotations=None):
        self.times = np.asarray(times)
        self.positions = np.zeros((len(times), 3)) if positions is None else positions
        self.rotations = Rotation.identity(len(times)) if rotations is None else rotations

    def pose(self, t):
        return interpolated(self.times, self.positions, self.rotations, [t])[0]


def random_tracks(count=120, seed=1):
    random = np.random.default_rng(seed)
    truths = []
    for i in range(count):
        samples = 1 if i % 10 == 0 else int(random.integers(2, 90))
        steps = random.integers(80_000, 120_000, samples) * 1000
        times = BEGIN_NS + int(random.integers(0, 10_000)) * 1_000_000 + np.cumsum(steps)
        rotations = Rotation.from_quat(random.normal(size=(samples, 4)))
        truths.append(Truth(times, random.normal(0, 30, (samples, 3)), rotations))
    return truths


def assembled(truths, flags=None):
    count = len(truths)
    return Tracks(
        ids=tuple(f'id {i}' for i in range(count)),
        labels=tuple('automobile' if i % 2 else 'person' for i in range(count)),
        dims=np.arange(3.0 * count).reshape(count, 3),
        flags=flags or (frozenset(),) * count,
        samples=PoseTable(
            np.concatenate([t.times for t in truths]),
            np.concatenate([t.positions for t in truths]),
            np.concatenate([t.rotations.as_quat() for t in truths]),
        ),
        counts=np.array([len(t.times) for t in truths]),
    )


TRUTHS = random_tracks()
TRACKS = assembled(TRUTHS)


def test_active_tracks_and_their_poses_at_random_times_and_at_their_ends():
    low, high = TRACKS.start_ns.min(), TRACKS.end_ns.max()
    random = np.random.default_rng(2).integers(low - 10**9, high + 10**9, 15)
    ends = [one.times[[0, -1]] + (step, -step) for one in TRUTHS[::20] for step in (0, -1)]
    for t in np.concatenate([random, *ends]).tolist():
        active = TRACKS.at(t)
        expected = [i for i, one in enumerate(TRUTHS) if one.times[0] <= t <= one.times[-1]]
        assert active.indices.tolist() == expected
        assert active.t_ns == t
        assert len(active) == len(expected)
        assert active.ids == TRACKS.active_ids(t) == tuple(f'id {i}' for i in expected)
        assert active.labels == tuple(TRACKS.labels[i] for i in expected)
        np.testing.assert_array_equal(active.dims, TRACKS.dims[expected])
        rotations = Rotation.from_quat(active.quaternions.reshape(-1, 4)).as_matrix()
        assert (active.quaternions[:, 3] >= 0).all()
        truth = np.array([TRUTHS[i].pose(t) for i in expected]).reshape(-1, 4, 4)
        np.testing.assert_allclose(active.poses, truth, atol=1e-9)
        np.testing.assert_allclose(active.positions, truth[:, :3, 3], atol=1e-9)
        np.testing.assert_allclose(rotations, truth[:, :3, :3], atol=1e-9)
    for t in (0, -1, -(2**63), 2**63 - 1, 2**63, 2**70, -(2**70)):
        assert len(TRACKS.at(t)) == 0
        assert TRACKS.active_ids(t) == ()


def test_who_is_there_beside_a_look_at_every_lifetime(monkeypatch):
    """Crowds of one moment, one that lives on, and many at once: tracks of all lifetimes."""
    random = np.random.default_rng(5)
    starts = np.concatenate([random.integers(0, 900, 400), np.full(100, 500), [-7, 450]])
    ends = starts + np.concatenate([random.integers(0, 40, 400), np.zeros(100, int), [2000, 0]])
    tracks = assembled([Truth(np.unique(both)) for both in zip(starts, ends, strict=True)])
    for t in [-(2**62), *range(-10, 1000, 7), *range(440, 530), 1992, 1993, 1994, 2**62]:
        expected = np.flatnonzero((starts <= t) & (ends >= t))
        np.testing.assert_array_equal(tracks.at(t).indices, expected)
        assert tracks.active_ids(t) == tuple(f'id {i}' for i in expected)
    # More changes than are remembered.
    monkeypatch.setattr('nurec_ros.scenario.tracks._REMEMBERED', 50)
    # Tracks that come one after the other, each for ten microseconds of every fifteen.
    times = BEGIN_NS + np.arange(70) * 15_000
    tracks = assembled([Truth([t, t + 10_000]) for t in times])
    for _ in range(2):
        for i, t in enumerate(times.tolist()):
            assert tracks.active_ids(t + 10_000) == (f'id {i}',)
            assert tracks.active_ids(t + 10_001) == ()


def test_static_and_controllable():
    kinds = [{'DYNAMIC', 'CONTROLLABLE'}, {'DYNAMIC'}, {'CONTROLLABLE'}, set(), {'PARKED'}]
    tracks = assembled(TRUTHS[:5], tuple(map(frozenset, kinds)))
    assert tracks.static.tolist() == [False, False, False, True, True]
    assert tracks.controllable.tolist() == [True, False, True, False, False]
    active = tracks.at(int(tracks.start_ns[3]))
    assert active.static[active.ids.index('id 3')]
    assert not active.controllable[active.ids.index('id 3')]


@pytest.mark.parametrize('t', [int(TRUTHS[5].times[3]) + 1_234_567, int(TRUTHS[5].times[-1])])
def test_velocities_are_those_of_the_way(t):
    active = TRACKS.at(t)
    velocities = TRACKS.velocities(active)
    assert velocities.shape == (len(active), 3)
    for velocity, i in zip(velocities, active.indices, strict=True):
        truth = TRUTHS[i]
        if len(truth.times) == 1:
            expected = np.zeros(3)
        else:
            k = min(int(np.searchsorted(truth.times, t, side='right')) - 1, len(truth.times) - 2)
            span = (truth.times[k + 1] - truth.times[k]) * 1e-9
            expected = (truth.positions[k + 1] - truth.positions[k]) / span
        np.testing.assert_allclose(velocity, expected)


def test_trail_ends_with_the_track_and_trajectory():
    times, positions = TRUTHS[7].times, TRUTHS[7].positions
    begin, end = int(times[2]) + 5_000_000, int(times[6]) - 7_000_000
    trail = TRACKS.trail(7, begin, end)
    np.testing.assert_array_equal(trail[1:-1], positions[3:6])
    at_ends = [TRUTHS[7].pose(t)[:3, 3] for t in (begin, end)]
    np.testing.assert_allclose(trail[[0, -1]], at_ends)
    np.testing.assert_array_equal(TRACKS.trail(7, 0, 2**62), positions)
    moment = int(times[4])
    np.testing.assert_array_equal(TRACKS.trail(7, moment, moment), positions[4:5])
    assert TRACKS.trail(7, int(times[-1]) + 1, 2**62).shape == (0, 3)
    assert TRACKS.trail(7, 9, 5).shape == (0, 3)
    # That of one pose.
    np.testing.assert_array_equal(TRACKS.trail(0, 0, 2**62), TRUTHS[0].positions)
    for i in (0, 7):
        way = TRACKS.trajectory(i)
        t = (way.start_ns + way.end_ns) // 2
        np.testing.assert_allclose(way.at(t), TRUTHS[i].pose(t), atol=1e-9)
        assert (way.start_ns, way.end_ns) == (TRACKS.start_ns[i], TRACKS.end_ns[i])


def test_kept():
    keep = np.arange(len(TRACKS)) % 3 == 1
    kept = TRACKS.kept(keep)
    assert kept.ids == tuple(f'id {i}' for i in np.flatnonzero(keep))
    t = int(TRUTHS[7].times[3])
    active, fewer = TRACKS.at(t), kept.at(t)
    rows = [active.ids.index(track) for track in fewer.ids]
    np.testing.assert_allclose(fewer.poses, active.poses[rows], atol=1e-15)
    assert TRACKS.kept(np.ones(len(TRACKS), bool)) is TRACKS
    nothing = TRACKS.kept(np.zeros(len(TRACKS), bool))
    active = nothing.at(t)
    assert (len(active), active.poses.shape, active.dims.shape) == (0, (0, 4, 4), (0, 3))
    assert (active.positions.shape, active.quaternions.shape) == ((0, 3), (0, 4))
    assert nothing.velocities(active).shape == (0, 3)


def test_what_is_no_time_is_named():
    for t, error, words in (
        (1.5, TypeError, 't_ns is 1.5, expected whole nanoseconds as one int'),
        (np.float64(BEGIN_NS), TypeError, 'expected whole nanoseconds as one int'),
        ('now', TypeError, "t_ns is 'now', expected whole nanoseconds as one int"),
        (None, TypeError, 't_ns is None, expected whole nanoseconds as one int'),
        (np.ones(2), TypeError, 't_ns is an array of float64, expected whole nanoseconds'),
        (np.array([1]), ValueError, r't_ns is an array of shape \(1,\), expected one time'),
        ([1, 2], TypeError, r't_ns is \[1, 2\], expected whole nanoseconds as one int'),
    ):
        for name, ask in (
            ('t_ns', TRACKS.at),
            ('t_ns', TRACKS.active_ids),
            ('from_ns', lambda t: TRACKS.trail(1, t, BEGIN_NS)),
            ('to_ns', lambda t: TRACKS.trail(1, BEGIN_NS, t)),
        ):
            with pytest.raises(error, match=words.replace('t_ns', name)):
                ask(t)


@pytest.mark.parametrize('kind', [np.int64, np.uint64, np.array])
def test_integers_of_any_kind_are_times(kind):
    t = int(TRACKS.start_ns[5])
    active = TRACKS.at(kind(t))
    assert active.ids == TRACKS.at(t).ids
    assert type(active.t_ns) is int
    assert TRACKS.trail(5, kind(t), kind(t)).shape == (1, 3)


def test_repr_is_short():
    assert repr(TRACKS) == (
        f'Tracks(120 of {len(TRACKS.samples)} poses '
        f'from {TRACKS.start_ns.min()} to {TRACKS.end_ns.max()} ns)'
    )
    assert repr(TRACKS.at(7)) == 'ActiveTracks(0 at 7 ns)'
    assert repr(no_tracks()) == 'Tracks(0)'


SECONDS = np.arange(0.0, 10.0, 0.1)
NOISE = np.random.default_rng(1).normal(0, 0.1, len(SECONDS))


def moving(speed, heights):
    return np.stack([speed * SECONDS, 0.1 * speed * SECONDS, heights], axis=1)


def test_noise_is_taken_and_who_stands_keeps_one_height():
    found = smooth_heights(SECONDS, moving(8.0, 2.0 + NOISE))
    assert np.std(found[5:-5] - 2.0) < 0.4 * np.std(NOISE)
    assert abs(found.mean() - 2.0) < 0.05
    found = smooth_heights(SECONDS, moving(0.0, 1.0 + NOISE))
    assert np.ptp(found) < 1e-12
    assert abs(found[0] - 1.0) < 0.3


@pytest.mark.parametrize('count', [1, 2, 3, 100])
def test_hills_and_crests_stay(count):
    hill = moving(8.0, 1.5 + 0.08 * 8.0 * SECONDS)[:count]
    np.testing.assert_allclose(smooth_heights(SECONDS[:count], hill), hill[:, 2], atol=1e-12)
    crest = 3.0 * np.sin(SECONDS / 3)
    assert np.abs(smooth_heights(SECONDS, moving(8.0, crest)) - crest).max() < 0.05


def test_grade_is_limited_short_tracks_are_smoothed_and_uneven_sampling_shifts_nothing():
    jump = np.where(SECONDS < 5.0, 0.0, 4.0)
    positions = moving(5.0, jump)
    found = smooth_heights(SECONDS, positions)
    way = np.hypot(*np.diff(positions[:, :2], axis=0).T)
    assert (np.abs(np.diff(found)) <= STEEPEST * way + 1e-12).all()
    assert found.min() >= -1e-12
    assert found.max() <= 4.0 + 1e-12
    # Over 0.1 s on either side of a peak of 0.08 m the lines through the heights mean half of it.
    heights = np.zeros(len(SECONDS))
    heights[1] = 0.08
    found = smooth_heights(SECONDS[:3], moving(8.0, heights)[:3])
    np.testing.assert_allclose(found, [0.0, 0.04, 0.0], atol=1e-12)
    seconds = np.cumsum(np.random.default_rng(2).uniform(0.02, 0.3, 80))
    ramp = 0.1 * seconds
    positions = np.stack([5 * seconds, 0 * seconds, ramp], axis=1)
    np.testing.assert_allclose(smooth_heights(seconds, positions), ramp, atol=1e-12)


@pytest.mark.parametrize('bad', [0, 1, 50, 98, 99])
@pytest.mark.parametrize('speed', [0.0, 8.0])
def test_one_bad_pose_moves_nothing(bad, speed):
    heights = 2.0 + 0.05 * speed * SECONDS
    truth = smooth_heights(SECONDS, moving(speed, heights))
    heights[bad] += 3.0
    found = smooth_heights(SECONDS, moving(speed, heights))
    # On a slope the median of the last poses is up to two steps below the last.
    assert np.abs(found - truth).max() <= 2 * 0.05 * speed * 0.1 + 1e-9


def test_only_heights_change_and_only_on_wish(tmp_path):
    times = [START_US + round(t * 1e6) for t in SECONDS[:20]]
    rows = moving(8.0, 1.0 + NOISE)[:20]
    turns = [Rotation.from_rotvec([0, 0.1, 0.7]).as_quat()] * 20
    a, b = np.hstack([rows, turns]), np.hstack([rows + [0, 9, 0], turns])
    tracks = [track('a', 'car', a.tolist(), times), track('b', 'car', b.tolist(), times)]
    path = build_archive(tmp_path, tracks=tracks)
    raw, smooth = Scenario.load(path), Scenario.load(path, smooth_track_height=True)
    before, after = raw.tracks.samples, smooth.tracks.samples
    np.testing.assert_array_equal(before.positions[:20, 2], 1.0 + NOISE[:20])
    np.testing.assert_array_equal(before.positions[:, :2], after.positions[:, :2])
    np.testing.assert_array_equal(before.quaternions, after.quaternions)
    np.testing.assert_array_equal(before.times_ns, after.times_ns)
    assert np.std(after.positions[:20, 2]) < 0.7 * np.std(before.positions[:20, 2])
    assert smooth.tracks.ids == raw.tracks.ids
    np.testing.assert_allclose(after.positions[:20, 2], after.positions[20:, 2])
