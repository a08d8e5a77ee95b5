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
The whole way from a real drive's archive to ROS topics, against truths computed here.

The archive is read with zipfile and json, poses are interpolated with scipy, boxes are projected
with this test's own F-theta. Player and preview server run in processes of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
import json
from pathlib import Path
import random
from test.support.player_bench import Bench, matrix_of, stamp_ns
from test.support.process import Process
from types import SimpleNamespace
from typing import Any
import zipfile

import cv2
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
import numpy as np
import pytest
import rclpy
from scipy.spatial.transform import Rotation, Slerp
from sensor_msgs.msg import CompressedImage
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

pytestmark = pytest.mark.contract

GRID = np.array(list(product(np.linspace(-0.5, 0.5, 9), repeat=3)))
SURFACE = GRID[(abs(GRID) == 0.5).any(axis=1)]
MOMENTS = 4
RADII = np.linspace(0.0, 1500.0, 10_001)
SHAPE = (540, 960)

# The legend of the README: what colour a class of road user has.
COLOURS = {
    'automobile': (66, 133, 244),
    'heavy_truck': (142, 68, 173),
    'bus': (0, 150, 136),
    'other_vehicle': (63, 81, 181),
    'person': (244, 67, 54),
    'bicycle': (255, 152, 0),
}


class Truth:
    """An archive as this test reads it: plain lists, scipy's interpolation."""

    def __init__(self, path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            rig = json.loads(archive.read('rig_trajectories.json'))
            tracks = json.loads(archive.read('sequence_tracks.json'))
        (trajectory,) = rig['rig_trajectories']
        self.times_us = np.array(trajectory['T_rig_world_timestamps_us'])
        self.matrices = np.array(trajectory['T_rig_worlds'])
        self.calibrations = {
            item['logical_sensor_name']: item for item in rig['camera_calibrations'].values()
        }
        self.tracks = {}
        self.dynamic = set()
        for chunk in tracks.values():
            data = chunk['tracks_data']
            for index, track_id in enumerate(data['tracks_id']):
                self.tracks[track_id] = (
                    np.array(data['tracks_timestamps_us'][index]),
                    np.array(data['tracks_poses'][index]),
                    data['tracks_label_class'][index],
                    np.array(chunk['cuboidtracks_data']['cuboids_dims'][index]),
                )
                if 'DYNAMIC' in data['tracks_flags'][index]:
                    self.dynamic.add(track_id)

    def ego(self, t_us: int) -> np.ndarray:
        rotations = Rotation.from_matrix(self.matrices[:, :3, :3])
        return posed(t_us, self.times_us, rotations, self.matrices[:, :3, 3])

    def velocity(self, t_us: int) -> tuple[np.ndarray, np.ndarray]:
        """Return linear and angular velocity in the rig frame, of the segment that t lies in."""
        index = int(np.searchsorted(self.times_us, t_us, side='right')) - 1
        index = min(max(index, 0), len(self.times_us) - 2)
        seconds = (self.times_us[index + 1] - self.times_us[index]) / 1e6
        first, second = self.matrices[index], self.matrices[index + 1]
        linear = self.ego(t_us)[:3, :3].T @ (second[:3, 3] - first[:3, 3]) / seconds
        turn = Rotation.from_matrix(first[:3, :3]).inv() * Rotation.from_matrix(second[:3, :3])
        return linear, turn.as_rotvec() / seconds

    def active(self, t_us: int) -> dict[str, tuple[np.ndarray, str, np.ndarray]]:
        """Return pose, label and dims of each track that is there, by id."""
        return {
            track_id: (posed(t_us, times, Rotation.from_quat(rows[:, 3:]), rows), label, dims)
            for track_id, (times, rows, label, dims) in self.tracks.items()
            if times[0] <= t_us <= times[-1] and times[-1] - times[0] > 100_000
        }

    def project(self, camera: str, points: np.ndarray) -> np.ndarray:
        """Project camera points (N, 3) to native pixels (N, 2), NaN where out of view."""
        parameters = self.calibrations[camera]['camera_model']['parameters']
        c, d, e = parameters['linear_cde']
        off_axis = np.hypot(points[:, 0], points[:, 1])
        angles = np.arctan2(off_axis, points[:, 2])
        if parameters['reference_poly'] == 'ANGLE_TO_PIXELDIST':
            radii = np.polyval(parameters['angle_to_pixeldist_poly'][::-1], angles)
        else:
            # Tabulated finely enough to be off by less than 1e-3 px.
            tabulated = np.polyval(parameters['pixeldist_to_angle_poly'][::-1], RADII)
            radii = np.interp(angles, tabulated, RADII)
        directions = (points[:, :2] @ np.array([[c, d], [e, 1.0]]).T) / off_axis[:, None]
        pixels = radii[:, None] * directions + parameters['principal_point']
        pixels[angles > parameters['max_angle']] = np.nan
        return pixels


def posed(t_us: int, times: np.ndarray, rotations: Rotation, rows: np.ndarray) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = Slerp(times, rotations)(t_us).as_matrix()
    pose[:3, 3] = [np.interp(t_us, times, rows[:, axis]) for axis in range(3)]
    return pose


@pytest.fixture(scope='module')
def bench(pittsburgh: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Return a player of the drive, rendered for by a preview server in a process of its own."""
    folder = tmp_path_factory.mktemp('truth')
    words = ['--usdz', pittsburgh, '--port', 0, '--no-caption']
    server = Process('nurec_ros.cli.preview', words, folder / 'preview')
    address = server.says(r'^serving on (\S+)$')[1]
    context = rclpy.Context()
    rclpy.init(args=[], context=context)
    parameters = {'usdz_path': pittsburgh, 'server': address, 'resolution_scale': 0.5}
    bench = Bench(folder, context, parameters, quick=True)
    yield bench
    bench.close()
    rclpy.try_shutdown(context=context)
    server.end()


@pytest.fixture(scope='module')
def seen(bench: Bench, pittsburgh: Path) -> SimpleNamespace:
    """Return the truth, the latched messages, and several random moments."""
    truth = Truth(pittsburgh)
    tf, odometry = bench.listen(TFMessage, '/tf'), bench.listen(Odometry, '~/odom')
    tracks = bench.listen(MarkerArray, '~/tracks')
    paths = bench.listen(PathMessage, '~/path', latched=True)
    static = bench.listen(TFMessage, '/tf_static', latched=True)
    images: dict[str, list[Any]] = {}
    bench.ready()

    def stamped(messages: list[Any], t_us: int) -> Any:
        return next((one for one in messages if stamp_ns(one) == t_us * 1000), None)

    def shown(t_us: int) -> Any:
        def of_moment(marker: Any) -> bool:
            return marker.action == marker.ADD and stamp_ns(marker) == t_us * 1000

        return next((m.markers for m in tracks if any(map(of_moment, m.markers))), None)

    def moment(t_us: int) -> SimpleNamespace:
        """Return what is there at a time, and what the player said of it."""
        bench.seek(t_us * 1000)
        pictures = {}
        for name in truth.calibrations:
            # Only now: the picture of the start would be rendered for nobody.
            if name not in images:
                topic = f'~/{name}/image_raw/compressed'
                images[name] = bench.listen(CompressedImage, topic)
        for name, messages in images.items():
            image = bench.until(lambda m=messages: stamped(m, t_us), f'the image of {name}')
            assert image.header.frame_id == f'{name}_optical_frame'
            picture = cv2.imdecode(np.frombuffer(image.data, np.uint8), cv2.IMREAD_COLOR)
            assert picture is not None, name
            pictures[name] = picture[:, :, ::-1]
        transform = bench.until(lambda: stamped([t for m in tf for t in m.transforms], t_us), 'tf')
        return SimpleNamespace(
            t_us=t_us,
            ego=truth.ego(t_us),
            active=truth.active(t_us),
            transform=transform,
            odometry=bench.until(lambda: stamped(odometry, t_us), 'odometry'),
            markers=bench.until(lambda: shown(t_us), 'the markers'),
            pictures=pictures,
        )

    random_times = random.Random(20261125)
    first, last = int(truth.times_us[0]), int(truth.times_us[-1])
    moments = [moment(random_times.randrange(first, last)) for _ in range(MOMENTS)]
    frames = {one.child_frame_id: one for one in bench.until(lambda: static)[-1].transforms}
    path = bench.until(lambda: paths)[-1]
    return SimpleNamespace(truth=truth, path=path, frames=frames, moments=moments)


def same_pose(found: np.ndarray, expected: np.ndarray) -> None:
    """Hold a pose to 1e-6 m and 1e-6 rad."""
    turn = Rotation.from_matrix(expected[:3, :3].T @ found[:3, :3]).magnitude()
    assert np.linalg.norm(found[:3, 3] - expected[:3, 3]) < 1e-6
    assert turn < 1e-6


def test_ego_pose_is_the_interpolated_one(seen: SimpleNamespace) -> None:
    for moment in seen.moments:
        transform, pose = moment.transform.transform, moment.odometry.pose.pose
        same_pose(matrix_of(transform), moment.ego)
        same_pose(matrix_of(pose), moment.ego)
        for message in (moment.transform, moment.odometry):
            assert (message.header.frame_id, message.child_frame_id) == ('map', 'base_link')


def test_twist_is_the_derivative_in_the_rig_frame(seen: SimpleNamespace) -> None:
    for moment in seen.moments:
        linear, angular = seen.truth.velocity(moment.t_us)
        twist = moment.odometry.twist.twist
        assert [twist.linear.x, twist.linear.y, twist.linear.z] == pytest.approx(linear, abs=1e-6)
        found = [twist.angular.x, twist.angular.y, twist.angular.z]
        assert found == pytest.approx(angular, abs=1e-6)


def test_path_is_the_whole_recorded_trajectory(seen: SimpleNamespace) -> None:
    poses = seen.path.poses
    assert [stamp_ns(pose) for pose in poses] == [int(t) * 1000 for t in seen.truth.times_us]
    for pose, expected in zip(poses, seen.truth.matrices, strict=True):
        same_pose(matrix_of(pose.pose), expected)


def test_static_camera_frames_are_the_calibrations(seen: SimpleNamespace) -> None:
    for name, calibration in seen.truth.calibrations.items():
        body, optical = seen.frames[name], seen.frames[f'{name}_optical_frame']
        assert (body.header.frame_id, optical.header.frame_id) == ('base_link', name)
        turned = matrix_of(optical.transform)
        chain = matrix_of(body.transform) @ turned
        same_pose(chain, np.array(calibration['T_sensor_rig']))
        # REP 103: body axes forward, left, up are optical z, -x, -y.
        axes = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
        assert turned[:3, :3] == pytest.approx(axes, abs=1e-9)


def test_markers_are_the_active_tracks(seen: SimpleNamespace) -> None:
    numbers: dict[Any, Any] = {}
    for moment in seen.moments:
        shown = [marker for marker in moment.markers if marker.action == marker.ADD]
        cubes = [marker for marker in shown if marker.type == marker.CUBE]
        texts = {(m.ns, m.id): m for m in shown if m.type == m.TEXT_VIEW_FACING}
        left = dict(moment.active)
        assert len(cubes) == len(texts) == len(left)
        for cube in cubes:
            position = np.array([getattr(cube.pose.position, axis) for axis in 'xyz'])
            track_id = min(left, key=lambda name: np.linalg.norm(left[name][0][:3, 3] - position))
            pose, label, dims = left.pop(track_id)
            same_pose(matrix_of(cube.pose), pose)
            assert [cube.scale.x, cube.scale.y, cube.scale.z] == pytest.approx(dims, abs=1e-6)
            assert (cube.header.frame_id, cube.ns) == ('map', label)
            assert numbers.setdefault(track_id, cube.id) == cube.id
            text = texts[f'{label}/text', cube.id]
            assert label in text.text
            assert track_id in text.text
            assert text.pose.position.z > pose[2, 3] + abs(pose[2, :3]) @ dims / 2 - 1e-6
    assert len(set(numbers.values())) == len(numbers)


@dataclass
class Outline:
    """A box in a picture: its hull in pixels, its mask, how far it is and if all is in view."""

    hull: np.ndarray
    mask: np.ndarray
    away: float
    whole: bool


def outlines(truth: Truth, moment: SimpleNamespace, camera: str) -> dict[str, Outline]:
    """Return the outlines of all boxes that touch the picture."""
    T_map_camera = moment.ego @ np.array(truth.calibrations[camera]['T_sensor_rig'])
    found = {}
    for track_id, (pose, _, dims) in moment.active.items():
        surface = (pose[:3, :3] @ (SURFACE * dims).T).T + pose[:3, 3]
        native = truth.project(camera, (surface - T_map_camera[:3, 3]) @ T_map_camera[:3, :3])
        seen = ~np.isnan(native).any(axis=1)
        if seen.sum() < 3:
            continue
        # The picture is of half the size.
        hull = cv2.convexHull(((native[seen] + 0.5) * 0.5 - 0.5).astype(np.float32))[:, 0]
        mask = np.zeros(SHAPE, np.uint8)
        cv2.fillConvexPoly(mask, np.round(hull).astype(np.int32), 1)
        if mask.any():
            away = float(np.linalg.norm(pose[:3, 3] - T_map_camera[:3, 3]))
            found[track_id] = Outline(hull, mask, away, bool(seen.all()))
    return found


def test_boxes_are_where_the_calibration_puts_them_in_every_camera(seen: SimpleNamespace) -> None:
    """
    Find a box's own colour inside its projected outline, and not around it.

    Taken are moving road users (others are drawn paler) that lie whole in the picture and that no
    nearer one touches; around them, only the pixels that belong to no other box.
    """
    tested = dict.fromkeys(seen.truth.calibrations, 0)
    for moment, camera in product(seen.moments, seen.truth.calibrations):
        picture = moment.pictures[camera]
        assert picture.shape[:2] == SHAPE
        found = outlines(seen.truth, moment, camera)
        for track_id, box in found.items():
            inside = (box.hull > 12).all() and (box.hull < np.array(SHAPE[::-1]) - 12).all()
            label = moment.active[track_id][1]
            if not (inside and box.whole) or np.ptp(box.hull, axis=0).min() < 18:
                continue
            if track_id not in seen.truth.dynamic or label not in COLOURS:
                continue
            window = around(box.mask)
            mask = box.mask[window]
            others, nearer = np.zeros_like(mask), np.zeros_like(mask)
            for name, other in found.items():
                if name != track_id:
                    others |= other.mask[window]
                    # A long box's centre may be farther than what stands behind its end.
                    if other.away < box.away + 8.0:
                        nearer |= other.mask[window]
            if not (mask & nearer).any():
                what = f'{camera} {track_id} at {moment.t_us}'
                colour = np.array(COLOURS[label], dtype=float)
                part = picture[window].astype(float)
                tested[camera] += check_box(part, mask, others, colour, what)
    assert all(tested.values()), tested


def alike(picture: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Return which pixels have a colour's hue and most of its saturation, in any brightness."""

    def chroma(values: np.ndarray) -> np.ndarray:
        return values / np.maximum(values.mean(axis=-1, keepdims=True), 1.0) - 1.0

    wanted, found = chroma(colour), chroma(picture)
    along = found @ wanted / (wanted @ wanted)
    across = np.linalg.norm(found - along[..., None] * wanted, axis=-1)
    return (along > 0.5) & (across < 0.4 * np.linalg.norm(wanted))


def around(mask: np.ndarray) -> tuple[slice, slice]:
    """Return the window of a mask with all that `check_box` looks at."""
    (top, bottom), (left, right) = (np.nonzero(mask.any(axis))[0][[0, -1]] for axis in (1, 0))
    return slice(max(top - 15, 0), bottom + 16), slice(max(left - 15, 0), right + 16)


def check_box(
    picture: np.ndarray, mask: np.ndarray, others: np.ndarray, colour: np.ndarray, what: str
) -> bool:
    """Hold one box to its outline; say whether enough of its surroundings could be looked at."""

    def grown(area: np.ndarray, pixels: int) -> np.ndarray:
        return cv2.dilate(area, np.ones((2 * pixels + 1,) * 2, np.uint8)).astype(bool)

    like = alike(picture, colour)
    core = cv2.erode(mask, np.ones((5, 5), np.uint8)).astype(bool)
    ring = grown(mask, 12) & ~grown(mask, 2)
    free = ring & ~grown(others, 2)
    assert like[core].mean() > 0.3, f'{what}: the box is not there'
    if free.sum() < 0.4 * ring.sum():
        return False
    assert like[free].mean() < 0.1, f'{what}: the box is larger, or elsewhere'
    return True
