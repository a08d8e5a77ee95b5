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
"""Records to messages, against scipy and closed forms."""

import json
from types import SimpleNamespace

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import Pose, Vector3
import numpy as np
from nurec_ros import poses
from nurec_ros.ros.conversions import (
    diagnostic,
    path_message,
    points,
    R_BODY_OPTICAL,
    set_bytes,
    set_pose,
    set_time,
    set_vector,
    transform_stamped,
)
import pytest
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import Image

pytestmark = pytest.mark.ros


def angle_between(q: np.ndarray, R: np.ndarray) -> float:
    return float((Rotation.from_quat(q).inv() * Rotation.from_matrix(R)).magnitude())


@pytest.mark.parametrize(
    ('t_ns', 'sec', 'nanosec'),
    [
        (0, 0, 1),
        (1, 0, 1),
        (999_999_999, 0, 999_999_999),
        (1_000_000_000, 1, 0),
        (27_567_868_848_000, 27_567, 868_848_000),
        (1_700_000_000_123_456_000, 1_700_000_000, 123_456_000),
        (-1_500_000_000, -2, 500_000_000),
        (np.int64(2_000_000_001), 2, 1),
    ],
)
def test_time_is_exact_and_never_zero(t_ns: int, sec: int, nanosec: int):
    message = Time()
    set_time(message, t_ns)
    assert (message.sec, message.nanosec) == (sec, nanosec)


def matrix(rotvec: tuple[float, ...], translation: tuple[float, ...]) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec(rotvec).as_matrix()
    T[:3, 3] = translation
    return T


def test_a_transform_names_both_ends_and_carries_the_pose():
    T = matrix((0.1, -0.2, 2.5), (10.0, -20.0, 0.5))
    pose = poses.Pose.from_matrix(T)
    message = transform_stamped(1_500_000_000, 'map', 'base_link', pose)
    assert (message.header.frame_id, message.child_frame_id) == ('map', 'base_link')
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (1, 500_000_000)
    t, r = message.transform.translation, message.transform.rotation
    assert (t.x, t.y, t.z) == (10.0, -20.0, 0.5)
    assert angle_between(np.array([r.x, r.y, r.z, r.w]), T[:3, :3]) < 1e-12


def test_a_pose_message_carries_the_pose():
    T = matrix((3.0, 0.0, 0.1), (1.0, 2.0, 3.0))
    pose = Pose()
    set_pose(pose, poses.Pose.from_matrix(T))
    q = pose.orientation
    assert (pose.position.x, pose.position.y, pose.position.z) == (1.0, 2.0, 3.0)
    assert angle_between(np.array([q.x, q.y, q.z, q.w]), T[:3, :3]) < 1e-12


def test_numpy_numbers_become_pythons():
    message = Vector3()
    set_vector(message, np.array([1, 2, 3], dtype=np.float32))
    assert all(type(value) is float for value in (message.x, message.y, message.z))


def test_optical_axes_in_body_axes():
    right, down, forward = R_BODY_OPTICAL.T
    np.testing.assert_array_equal(forward, [1, 0, 0])
    np.testing.assert_array_equal(right, [0, -1, 0])
    np.testing.assert_array_equal(down, [0, 0, -1])
    assert np.linalg.det(R_BODY_OPTICAL) == pytest.approx(1.0)


def test_a_path_has_each_pose_with_its_own_stamp():
    times = np.array([0, 100_000_000, 1_200_000_000])
    positions = np.array([[0.0, 0, 0], [1, 2, 3], [4, 5, 6]])
    orientations = Rotation.random(3, random_state=3).as_quat()
    trajectory = SimpleNamespace(times_ns=times, positions=positions, quaternions=orientations)
    message = path_message(trajectory, 'map')
    assert message.header.frame_id == 'map'
    stamps = [(p.header.stamp.sec, p.header.stamp.nanosec) for p in message.poses]
    assert stamps == [(0, 1), (0, 100_000_000), (1, 200_000_000)]
    assert {p.header.frame_id for p in message.poses} == {'map'}
    for pose, position, orientation in zip(message.poses, positions, orientations, strict=True):
        at, to = pose.pose.position, pose.pose.orientation
        assert [at.x, at.y, at.z] == position.tolist()
        np.testing.assert_allclose([to.x, to.y, to.z, to.w], orientation, atol=1e-15)


def test_a_path_without_poses_is_empty():
    empty = SimpleNamespace(
        times_ns=np.empty(0, dtype=np.int64),
        positions=np.empty((0, 3)),
        quaternions=np.empty((0, 4)),
    )
    assert len(path_message(empty, 'map').poses) == 0


def test_points():
    found = points(np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32))
    assert [(p.x, p.y, p.z) for p in found] == [(1.0, 2.0, 3.0), (4.0, 5.0, 6.0)]


@pytest.mark.parametrize('shape', [(0,), (6,), (2, 3, 3)])
def test_bytes_reach_a_message_in_order(shape: tuple[int, ...]):
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    for data in (pixels, pixels.tobytes(), memoryview(pixels)):
        message = Image(data=[9] * 30)
        set_bytes(message.data, data)
        assert message.data.typecode == 'B'
        assert message.data.tobytes() == pixels.tobytes()


def test_bytes_that_do_not_lie_in_a_row_are_refused():
    with pytest.raises((BufferError, ValueError)):
        set_bytes(Image().data, np.zeros((4, 4, 3), dtype=np.uint8)[:, ::2])


def test_a_diagnostic_status_writes_values_as_text_or_json():
    status = diagnostic(
        'nurec: renderer',
        DiagnosticStatus.WARN,
        'slow',
        {'server': 'localhost:1', 'connected': True, 'rate': 12.5, 'last': None, 'ids': ['a']},
    )
    assert (status.name, status.level, status.message) == ('nurec: renderer', b'\x01', 'slow')
    values = {entry.key: entry.value for entry in status.values}
    assert values['server'] == 'localhost:1'
    assert json.loads(values['connected']) is True
    assert json.loads(values['rate']) == 12.5
    assert values['last'] == 'null'
    assert json.loads(values['ids']) == ['a']
    assert diagnostic('a', DiagnosticStatus.OK, '').values == []
