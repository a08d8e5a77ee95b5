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
from contextlib import closing
from itertools import product
import json
from pathlib import Path
import random
from test.support.listener import Listener
from test.support.player_bench import Bench
from test.support.process import Process
from typing import Any
import zipfile

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp

pytestmark = pytest.mark.contract

GRID = np.array(list(product(np.linspace(-0.5, 0.5, 9), repeat=3)))
SURFACE = GRID[(abs(GRID) == 0.5).any(axis=1)]
MOMENTS = 4
RADII = np.linspace(0.0, 1500.0, 10_001)

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
        pose = np.eye(4)
        rotations = Rotation.from_matrix(self.matrices[:, :3, :3])
        pose[:3, :3] = Slerp(self.times_us, rotations)(t_us).as_matrix()
        for axis in range(3):
            pose[axis, 3] = np.interp(t_us, self.times_us, self.matrices[:, axis, 3])
        return pose

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
        found = {}
        for track_id, (times, poses, label, dims) in self.tracks.items():
            if not times[0] <= t_us <= times[-1] or times[-1] - times[0] <= 100_000:
                continue
            pose = np.eye(4)
            rotation = Slerp(times, Rotation.from_quat(poses[:, 3:]))(t_us)
            pose[:3, :3] = rotation.as_matrix()
            pose[:3, 3] = [np.interp(t_us, times, poses[:, axis]) for axis in range(3)]
            found[track_id] = (pose, label, dims)
        return found

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


@pytest.fixture(scope='module')
def preview(pittsburgh: Path, tmp_path_factory: Any) -> Iterator[str]:
    """Return the address of a preview server in a process of its own."""
    words = ['--usdz', pittsburgh, '--port', 0, '--no-caption']
    server = Process('nurec_ros.cli.preview', words, tmp_path_factory.mktemp('preview') / 'log')
    yield server.says(r'^serving on (\S+)$')[1]
    server.end()


class Observer:
    """Everything that one player says, by stamp."""

    def __init__(self, listener: Listener, cameras: list[str]) -> None:
        from nav_msgs.msg import Odometry
        from nav_msgs.msg import Path as PathMessage
        from sensor_msgs.msg import CompressedImage
        from tf2_msgs.msg import TFMessage
        from visualization_msgs.msg import MarkerArray

        self.listener = listener
        self.tf = listener.listen(TFMessage, '/tf')
        self.tf_static = listener.listen(TFMessage, '/tf_static', latched=True)
        self.odom = listener.listen(Odometry, '/nurec/odom')
        self.path = listener.listen(PathMessage, '/nurec/path', latched=True)
        self.tracks = listener.listen(MarkerArray, '/nurec/tracks')
        self.images = {
            name: listener.listen(CompressedImage, f'/nurec/{name}/image_raw/compressed')
            for name in cameras
        }

    def _stamped(self, messages: list[Any], t_ns: int) -> Any:
        return next((m for m in messages if stamp_ns(m.header) == t_ns), None)

    def moment(self, t_ns: int) -> tuple[Any, Any, list[Any], dict[str, np.ndarray]]:
        """Wait for everything of one moment: transform, odometry, markers, pictures."""

        def transform() -> Any:
            return self._stamped([t for m in self.tf for t in m.transforms], t_ns)

        def of_moment(markers: Any) -> bool:
            added = [marker for marker in markers if marker.action == marker.ADD]
            return bool(added) and stamp_ns(added[0].header) == t_ns

        def markers() -> Any:
            return next((m.markers for m in self.tracks if of_moment(m.markers)), None)

        until = self.listener.until
        found = (
            until(transform, 'the transform'),
            until(lambda: self._stamped(self.odom, t_ns), 'odometry'),
            until(markers, 'the markers'),
        )
        pictures = {}
        for name, messages in self.images.items():
            message = until(lambda m=messages: self._stamped(m, t_ns), f'the image of {name}')
            assert message.header.frame_id == f'{name}_optical_frame'
            data = np.frombuffer(message.data, np.uint8)
            picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
            assert picture is not None, name
            pictures[name] = picture[:, :, ::-1].astype(float)
        return (*found, pictures)


def stamp_ns(header: Any) -> int:
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


def matrix(translation: Any, rotation: Any) -> np.ndarray:
    pose = np.eye(4)
    quaternion = [rotation.x, rotation.y, rotation.z, rotation.w]
    pose[:3, :3] = Rotation.from_quat(quaternion).as_matrix()
    pose[:3, 3] = [translation.x, translation.y, translation.z]
    return pose


def same_pose(found: np.ndarray, expected: np.ndarray) -> None:
    """Hold a pose to 1e-6 m and 1e-6 rad."""
    turn = Rotation.from_matrix(expected[:3, :3].T @ found[:3, :3]).magnitude()
    assert np.linalg.norm(found[:3, 3] - expected[:3, 3]) < 1e-6
    assert turn < 1e-6


@pytest.fixture(scope='module')
def seen(pittsburgh: Path, preview: str, tmp_path_factory: Any) -> Iterator[Any]:
    """Return the truth, the latched messages, and all messages of several random moments."""
    import rclpy

    truth = Truth(pittsburgh)
    context = rclpy.Context()
    rclpy.init(args=[], context=context)
    random_times = random.Random(20261125)
    parameters = {
        'usdz_path': pittsburgh,
        'server': preview,
        'image_format': 'png',
        'resolution_scale': 0.5,
    }
    moments = {}
    with closing(Bench(tmp_path_factory.mktemp('player'), context, parameters)) as bench:
        observer = Observer(bench.listener, list(truth.calibrations))
        for _ in range(MOMENTS):
            t_us = random_times.randrange(int(truth.times_us[0]), int(truth.times_us[-1]))
            bench.seek(t_us * 1000)
            moments[t_us] = observer.moment(t_us * 1000)
        for latched in (observer.path, observer.tf_static):
            bench.listener.received(latched)
    yield truth, observer, moments
    rclpy.try_shutdown(context=context)


def test_ego_pose_is_the_interpolated_one(seen: Any) -> None:
    truth, _, moments = seen
    for t_us, (transform, odometry, _, _) in moments.items():
        assert (transform.header.frame_id, transform.child_frame_id) == ('map', 'base_link')
        expected = truth.ego(t_us)
        found = matrix(transform.transform.translation, transform.transform.rotation)
        same_pose(found, expected)
        assert (odometry.header.frame_id, odometry.child_frame_id) == ('map', 'base_link')
        pose = odometry.pose.pose
        same_pose(matrix(pose.position, pose.orientation), expected)


def test_twist_is_the_derivative_in_the_rig_frame(seen: Any) -> None:
    truth, _, moments = seen
    for t_us, (_, odometry, _, _) in moments.items():
        linear, angular = truth.velocity(t_us)
        twist = odometry.twist.twist
        assert [twist.linear.x, twist.linear.y, twist.linear.z] == pytest.approx(linear, abs=1e-6)
        found = [twist.angular.x, twist.angular.y, twist.angular.z]
        assert found == pytest.approx(angular, abs=1e-6)


def test_path_is_the_whole_recorded_trajectory(seen: Any) -> None:
    truth, observer, _ = seen
    poses = observer.path[-1].poses
    assert [stamp_ns(pose.header) for pose in poses] == [int(t) * 1000 for t in truth.times_us]
    for pose, expected in zip(poses, truth.matrices, strict=True):
        same_pose(matrix(pose.pose.position, pose.pose.orientation), expected)


def test_static_camera_frames_are_the_calibrations(seen: Any) -> None:
    truth, observer, _ = seen
    frames = {t.child_frame_id: t for t in observer.tf_static[-1].transforms}
    for name, calibration in truth.calibrations.items():
        body, optical = frames[name], frames[f'{name}_optical_frame']
        assert (body.header.frame_id, optical.header.frame_id) == ('base_link', name)
        chain = matrix(body.transform.translation, body.transform.rotation) @ matrix(
            optical.transform.translation, optical.transform.rotation
        )
        same_pose(chain, np.array(calibration['T_sensor_rig']))
        # REP 103: body axes forward, left, up are optical z, -x, -y.
        axes = matrix(optical.transform.translation, optical.transform.rotation)[:3, :3]
        assert axes == pytest.approx(np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]]), abs=1e-9)


def test_markers_are_the_active_tracks(seen: Any) -> None:
    truth, _, moments = seen
    numbers: dict[Any, Any] = {}
    for t_us, (_, _, markers, _) in moments.items():
        shown = [marker for marker in markers if marker.action == marker.ADD]
        cubes = [marker for marker in shown if marker.type == marker.CUBE]
        texts = {(m.ns, m.id): m for m in shown if m.type == m.TEXT_VIEW_FACING}
        expected = truth.active(t_us)
        assert len(cubes) == len(texts) == len(expected)
        left = dict(expected)
        for cube in cubes:
            position = np.array([getattr(cube.pose.position, axis) for axis in 'xyz'])
            track_id = min(left, key=lambda name: np.linalg.norm(left[name][0][:3, 3] - position))
            pose, label, dims = left.pop(track_id)
            same_pose(matrix(cube.pose.position, cube.pose.orientation), pose)
            assert [cube.scale.x, cube.scale.y, cube.scale.z] == pytest.approx(dims, abs=1e-6)
            assert (cube.header.frame_id, cube.ns) == ('map', label)
            assert numbers.setdefault(track_id, cube.id) == cube.id
            text = texts[f'{label}/text', cube.id]
            assert label in text.text
            assert track_id in text.text
            assert text.pose.position.z > pose[2, 3] + abs(pose[2, :3]) @ dims / 2 - 1e-6
        assert not left
    assert len(set(numbers.values())) == len(numbers)


def hull_of(truth: Truth, camera: str, t_us: int, pose: np.ndarray, dims: np.ndarray) -> Any:
    """Return what is in view of a box's outline, (N, 2) pixels at half scale; say if all is."""
    T_map_camera = truth.ego(t_us) @ np.array(truth.calibrations[camera]['T_sensor_rig'])
    surface = (pose[:3, :3] @ (SURFACE * dims).T).T + pose[:3, 3]
    points = (surface - T_map_camera[:3, 3]) @ T_map_camera[:3, :3]
    native = truth.project(camera, points)
    seen = ~np.isnan(native).any(axis=1)
    if seen.sum() < 3:
        return None, False
    hull = cv2.convexHull(((native[seen] + 0.5) * 0.5 - 0.5).astype(np.float32))[:, 0]
    return hull, bool(seen.all())


def outlines(truth: Truth, camera: str, t_us: int, shape: tuple[int, int]) -> dict[str, Any]:
    """Return the outlines of all boxes that touch the picture, as masks."""
    found = {}
    for track_id, (pose, _, dims) in truth.active(t_us).items():
        hull, whole = hull_of(truth, camera, t_us, pose, dims)
        if hull is not None:
            mask = np.zeros(shape, np.uint8)
            cv2.fillConvexPoly(mask, np.round(hull).astype(np.int32), 1)
            if mask.any():
                found[track_id] = (hull, mask, whole)
    return found


def test_boxes_are_where_the_calibration_puts_them_in_every_camera(seen: Any) -> None:
    """
    Find a box's own colour inside its projected outline, and not around it.

    Taken are moving road users (others are drawn paler) that lie whole in the picture and that no
    nearer one touches; around them, only the pixels that belong to no other box.
    """
    truth, _, moments = seen
    tested = dict.fromkeys(truth.calibrations, 0)
    for t_us, (*_, pictures) in moments.items():
        active = truth.active(t_us)
        for camera, picture in pictures.items():
            shape = picture.shape[:2]
            assert shape == (540, 960)
            found = outlines(truth, camera, t_us, shape)
            T_map_camera = truth.ego(t_us) @ np.array(truth.calibrations[camera]['T_sensor_rig'])
            away = {
                name: np.linalg.norm(active[name][0][:3, 3] - T_map_camera[:3, 3])
                for name in found
            }
            for track_id, (hull, mask, whole) in found.items():
                inside = (hull > 12).all() and (hull < np.array(shape[::-1]) - 12).all()
                label = active[track_id][1]
                if not (inside and whole) or np.ptp(hull, axis=0).min() < 18:
                    continue
                if track_id not in truth.dynamic or label not in COLOURS:
                    continue
                window = around(mask)
                box = mask[window]
                others = np.zeros_like(box)
                nearer = np.zeros_like(box)
                for name, (_, other, _) in found.items():
                    if name != track_id:
                        others |= other[window]
                        # A long box's centre may be farther than what stands behind its end.
                        if away[name] < away[track_id] + 8.0:
                            nearer |= other[window]
                if not (box & nearer).any():
                    colour = np.array(COLOURS[label], dtype=float)
                    what = f'{camera} {track_id} at {t_us}'
                    tested[camera] += check_box(picture[window], box, others, colour, what)
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
