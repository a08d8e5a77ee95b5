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
"""The ego's drive and the road users: plausible, on the ground, and never through each other."""

from __future__ import annotations

from collections import Counter

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

# By class, m/s; one that no palette knows among them.
FASTEST = {
    'automobile': 15.0,
    'heavy_truck': 14.0,
    'bus': 14.0,
    'trailer': 14.0,
    'other_vehicle': 15.0,
    'train_or_tram_car': 12.0,
    'rider': 7.0,
    'person': 2.2,
    'stroller': 2.2,
    'animal': 2.2,
    'delivery_robot': 2.2,
    'bicycle': 0.0,
    'protruding_object': 0.0,
}
VEHICLES = {'automobile', 'bus', 'heavy_truck', 'ego'}


def wrapped(angle: np.ndarray) -> np.ndarray:
    return (np.asarray(angle) + np.pi) % (2 * np.pi) - np.pi


def test_ego_poses_are_those_of_a_car(drive):
    times, poses = drive.times_us, drive.poses
    assert len(times) == 202
    assert times[0] == 27_500_000_000
    assert np.array_equal(poses[0], np.eye(4))
    steps = np.diff(times)
    assert np.all(np.abs(steps[1:] - 100_000) <= 6000)
    assert 0 < steps[0] < 100_000
    assert abs((times[-1] - times[0]) / 1e6 - 20) < 0.1
    rotations = poses[:, :3, :3]
    assert np.allclose(rotations @ rotations.transpose(0, 2, 1), np.eye(3), atol=1e-8)
    assert np.allclose(np.linalg.det(rotations), 1)

    positions = poses[:, :3, 3]
    way = np.diff(positions, axis=0)
    length = np.linalg.norm(way, axis=1)
    assert 150 < length.sum() < 300
    speed = length / (steps / 1e6)
    assert 3.5 < speed.min() < 6
    assert 9 < speed.max() < 13
    assert np.abs(np.diff(speed) / 0.1).max() < 2.6
    # The nose points along the motion: the chord's direction is that of the mean heading.
    yaw = np.arctan2(poses[:, 1, 0], poses[:, 0, 0])
    chord = np.arctan2(way[:, 1], way[:, 0])
    mean = yaw[:-1] + wrapped(yaw[1:] - yaw[:-1]) / 2
    assert np.degrees(np.abs(wrapped(chord - mean)).max()) < 1.0
    assert 40 < np.degrees(np.abs(np.unwrap(yaw)).max()) < 130


def test_street_rises_and_falls_gently(drive):
    z = drive.poses[:, 2, 3]
    pitch = np.degrees(-np.arcsin(np.clip(drive.poses[:, 2, 0], -1, 1)))
    assert 0.3 < np.ptp(z) < 2
    assert np.abs(z).max() < 1.05
    assert 0.8 < np.abs(pitch).max() < 2.1
    assert np.allclose(drive.poses[:, 2, 1], 0), 'no roll'
    # The slope is that of the path.
    way = np.diff(drive.poses[:, :3, 3], axis=0)
    slope = way[:, 2] / np.hypot(way[:, 0], way[:, 1])
    middle = (drive.poses[:-1, 2, 0] + drive.poses[1:, 2, 0]) / 2
    assert np.abs(slope - middle).max() < 2e-3


def test_tracks_hold_every_class_and_an_unknown_one(drive):
    counts = Counter(track.label for track in drive.tracks)
    assert set(counts) == set(FASTEST)
    assert 80 <= len(drive.tracks) <= 130
    assert {track.flags for track in drive.tracks} == {'NONE', 'DYNAMIC|CONTROLLABLE'}
    assert len({track.id for track in drive.tracks}) == len(drive.tracks)
    assert sum(len(track.times_us) == 1 for track in drive.tracks) == 3


def test_tracks_stand_upright_at_times_of_their_own(drive):
    for track in drive.tracks:
        assert len(track.poses) == len(track.times_us) >= 1
        assert np.all(np.diff(track.times_us) > 90_000)
        assert np.all(np.diff(track.times_us) < 110_000), 'no gaps'
        assert drive.times_us[0] - 40_000 <= track.times_us[0]
        assert track.times_us[-1] <= drive.times_us[-1] + 110_000
        assert np.all(np.abs(np.linalg.norm(track.poses[:, 3:], axis=1) - 1) < 1e-8)
        up = Rotation.from_quat(track.poses[:, 3:]).as_matrix()[:, 2, 2]
        assert np.all(up > np.cos(np.radians(2.5)))
    for moment in (drive.times_us[0], drive.times_us[-1]):
        there = [t for t in drive.tracks if t.times_us[0] <= moment <= t.times_us[-1]]
        assert len(there) > 30


def test_speeds_are_plausible_and_headings_follow_the_motion(drive):
    for track in drive.tracks:
        if len(track.times_us) == 1:
            continue
        way = np.diff(track.poses[:, :3], axis=0)
        seconds = np.diff(track.times_us)[:, None] / 1e6
        speed = np.linalg.norm(way, axis=1) / seconds[:, 0]
        assert speed.max() <= FASTEST[track.label] + 1e-9, track.label
        if track.flags == 'NONE':
            assert speed.max() == 0
        moving = speed > 0.5
        forward = Rotation.from_quat(track.poses[:, 3:]).as_matrix()[:, :, 0]
        along = ((forward[:-1] + forward[1:]) / 2)[moving, :2]
        # Seen from above: whoever steps on the kerb does not look up.
        level = way[moving, :2]
        length = np.linalg.norm(along, axis=1) * np.linalg.norm(level, axis=1)
        cosine = np.sum(along * level, axis=1) / length
        assert np.all(cosine > np.cos(np.radians(2.5))), (track.label, track.id)


def test_traffic_comes_and_goes(drive):
    ego_forward = drive.poses[:, :3, 0]
    kinds = Counter()
    for track in drive.tracks:
        if track.label not in VEHICLES or track.flags == 'NONE':
            continue
        way = track.poses[-1, :2] - track.poses[0, :2]
        if np.linalg.norm(way) < 5:
            continue
        index = np.searchsorted(drive.times_us, track.times_us[len(track.times_us) // 2])
        ahead = ego_forward[min(index, 201), :2] @ way
        kinds['with' if ahead > 0 else 'against'] += 1
    assert kinds['with'] >= 2
    assert kinds['against'] >= 4


def test_three_people_cross_from_the_right_to_the_left(drive):
    people = [track.poses for track in drive.tracks if track.label == 'person']
    across = [one[:, 1] for one in people if np.ptp(one[:, 1]) > 12 and np.ptp(one[:, 0]) < 0.1]
    assert len(across) == 3
    assert all(y[0] < y[-1] for y in across)


# -- contact ----------------------------------------------------------------------------------


class Boxes:
    """Poses of every road user and the ego at moments: lerp of positions, slerp of turns."""

    def __init__(self, drive, moments) -> None:
        self.dims, self.names = [], []
        self._active = [[] for _ in moments]
        self._moments = moments
        for track in drive.tracks:
            name = f'{track.label} {track.id}'
            self._add(name, track.dims.copy(), track.times_us, track.poses)
        bbox = drive.trajectory['rig_bbox']
        poses = drive.poses.copy()
        poses[:, :3, 3] += poses[:, :3, :3] @ np.array(bbox['centroid'])
        quaternions = Rotation.from_matrix(poses[:, :3, :3]).as_quat()
        seven = np.hstack([poses[:, :3, 3], quaternions])
        self._add('ego', np.array(bbox['dim']), drive.times_us, seven)

    def _add(self, name, dims, times, poses) -> None:
        self.names.append(name)
        self.dims.append(dims)
        there = np.flatnonzero((self._moments >= times[0]) & (self._moments <= times[-1]))
        if not len(there):
            return
        t = self._moments[there]
        centres = np.stack([np.interp(t, times, poses[:, k]) for k in range(3)], axis=1)
        turns = Rotation.from_quat(np.repeat(poses[:1, 3:], len(t), axis=0))
        if len(times) > 1:
            turns = Slerp(times, Rotation.from_quat(poses[:, 3:]))(t)
        for place, centre, rotation in zip(there, centres, turns.as_matrix(), strict=True):
            self._active[place].append((len(self.names) - 1, centre, rotation))

    def __iter__(self):
        """Yield, of each moment, the active ones' indices, centres, rotations."""
        return zip(self._moments, self._active, strict=True)


def touch(a, b) -> bool:
    """Return whether two boxes overlap, seen from above (separating axes)."""
    (centre_a, rotation_a, dims_a), (centre_b, rotation_b, dims_b) = a, b
    between = (centre_b - centre_a)[:2]
    for axis in (rotation_a[:2, 0], rotation_a[:2, 1], rotation_b[:2, 0], rotation_b[:2, 1]):
        reach = sum(
            abs(axis @ rotation[:2, k]) * dims[k] / 2
            for rotation, dims in ((rotation_a, dims_a), (rotation_b, dims_b))
            for k in range(2)
        )
        if abs(axis @ between) >= reach:
            return False
    return True


def test_nobody_ever_touches_anybody(drive):
    boxes = Boxes(drive, np.linspace(drive.times_us[0], drive.times_us[-1], 51))
    for name, dims in zip(boxes.names, boxes.dims, strict=True):
        if name.split()[0] in VEHICLES:
            # To the next one it keeps its distance.
            dims[0] += 0.6
    touching = set()
    for t, active in boxes:
        centres = np.array([centre for _, centre, _ in active])
        reach = np.array([np.hypot(*boxes.dims[index][:2]) / 2 for index, _, _ in active])
        distance = np.linalg.norm(centres[:, None, :2] - centres[None, :, :2], axis=2)
        for i, j in np.argwhere(np.triu(distance < reach[:, None] + reach, k=1)):
            one, other = ((*active[k][1:], boxes.dims[active[k][0]]) for k in (i, j))
            if touch(one, other):
                names = (boxes.names[active[i][0]], boxes.names[active[j][0]])
                touching.add((*names, round((t - drive.times_us[0]) / 1e6, 1)))
    assert not touching
    square = (np.zeros(3), np.eye(3), np.array([2.0, 2.0, 1.0]))
    turned = Rotation.from_euler('z', 45, degrees=True).as_matrix()
    assert touch(square, (np.array([2.3, 0, 0]), turned, np.array([2.0, 2.0, 1.0])))
    assert not touch(square, (np.array([2.45, 0, 0]), turned, np.array([2.0, 2.0, 1.0])))


# -- the ground -------------------------------------------------------------------------------


def beside_the_path(drive, point: np.ndarray) -> tuple[float, float]:
    """Return the height of the ego's wheel track nearest to a point, and how far off that is."""
    positions = drive.poses[:, :3, 3]
    steps = np.diff(positions, axis=0)
    along = np.sum((point[:2] - positions[:-1, :2]) * steps[:, :2], axis=1)
    along = np.clip(along / np.sum(steps[:, :2] ** 2, axis=1), 0, 1)
    near = positions[:-1] + along[:, None] * steps
    distance = np.linalg.norm(near[:, :2] - point[:2], axis=1)
    best = int(np.argmin(distance))
    if (best, along[best]) in {(0, 0.0), (len(steps) - 1, 1.0)}:
        return np.nan, np.inf  # before its begin or past its end
    return float(near[best, 2]), float(distance[best])


def test_wheels_are_on_the_ground(drive):
    checked = Counter()
    for track in drive.tracks:
        for pose in track.poses[:: max(1, len(track.poses) // 3)]:
            rotation = Rotation.from_quat(pose[3:]).as_matrix()
            bottom = pose[:3] - rotation[:, 2] * track.dims[2] / 2
            # The street has no superelevation, so its height is the path's beside it; farther
            # away are the side street and the tram.
            ground, distance = beside_the_path(drive, bottom)
            if distance > 12:
                continue
            above = bottom[2] - ground
            # On the carriageway, within the driving lanes and the right half, there is no kerb.
            low, high = (-0.03, 0.03) if distance < 5.8 else (-0.03, 0.15)
            assert low <= above <= high, (track.label, track.id, above, distance)
            checked[track.label] += 1
    assert checked['automobile'] > 20
    assert checked['person'] > 10
