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
"""Exports of an ego that was driven, from a file."""

from __future__ import annotations

from pathlib import Path
from test.export.test_export_bags import messages, stamp_of
from test.support.archives import CAMERAS

from nurec_ros.scenario import Scenario
import pytest
from rclpy.serialization import deserialize_message

HEADER = 'stamp_us,x,y,z,qx,qy,qz,qw\n'


def test_everything_follows_the_file(export, make_server, usdz: Path, tmp_path: Path):
    """The ego stands at 7, -3 in map, turned by 90 degrees to the left, for half of the drive."""
    from nav_msgs.msg import Odometry

    scenario, server = Scenario.load(usdz), make_server()
    begin_us, end_us = scenario.start_ns // 1000, scenario.end_ns // 1000
    middle_us = (begin_us + end_us) // 2
    path = tmp_path / 'ego.csv'
    pose = '7,-3,0,0,0,0.70710678,0.70710678'
    path.write_text(f'{HEADER}{begin_us - 5},{pose}\n{middle_us},{pose}\n')
    code, out = export(server, options=['--ego', path, '--cameras', CAMERAS[0]])
    assert code == 0
    odometry = [
        deserialize_message(data, Odometry)
        for topic, _, data in messages(out / 'drive')
        if topic == '/nurec/odom'
    ]
    assert stamp_of(odometry[0]) == scenario.start_ns
    assert stamp_of(odometry[-1]) == middle_us * 1000
    for message in odometry:
        at = message.pose.pose.position
        assert (at.x, at.y, at.z) == pytest.approx((7.0, -3.0, 0.0))
        assert message.pose.pose.orientation.z == pytest.approx(0.5**0.5)
        assert message.twist.twist.linear.x == 0.0
    # Forward is y now: the camera's place in the rig, turned.
    x, y, z = scenario.cameras[CAMERAS[0]].T_rig_camera[:3, 3]
    assert server.requests()
    for request in server.requests():
        at = request.sensor_pose.start_pose.vec
        assert (at.x, at.y, at.z) == pytest.approx((7.0 - y, -3.0 + x, z), abs=1e-5)


def test_the_ego_of_an_image_set_gives_the_same_pictures(export, make_server, tmp_path, usdz):
    first, second = make_server(), make_server()
    images = tmp_path / 'images'
    assert export(first, output='a', options=['--frames', images])[0] == 0
    ego = images / 'drive' / 'ego.csv'
    assert export(second, output='b', options=['--ego', ego])[0] == 0

    def asked(server):
        return {
            (r.camera_intrinsics.logical_id, r.frame_end_us): r.sensor_pose.end_pose
            for r in server.requests()
        }

    # The image set begins at the first frame, as the other export does then.
    assert asked(first).keys() == asked(second).keys()
    for key, pose in asked(first).items():
        other = asked(second)[key]
        for name in 'xyz':
            assert getattr(other.vec, name) == pytest.approx(getattr(pose.vec, name), abs=1e-4)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('t,x\n', 'the first line is t,x, expected stamp_us,x,y,z,qx,qy,qz,qw'),
        (HEADER, 'holds no pose'),
        (f'{HEADER}1,0,0,0,0,0,0,1\n1,0,0,0,0,0,0,1\n', 'line 3: stamp_us is 1, expected more'),
        (f'{HEADER}1,a,0,0,0,0,0,1\n', "line 2: x is 'a', expected a number"),
        (f'{HEADER}1,0,0,0,0,0,0,2\n', 'line 2: the quaternion has length 2, expected 1'),
        (f'{HEADER}1,0,0,0,0,0,0\n', 'line 2: qw is None, expected a number'),
        (f'{HEADER}1,0,0,0,0,0,0,1\n', 'is from 1 to 1 us, expected some of'),
    ],
)
def test_what_is_no_ego_is_one_sentence(export, make_server, tmp_path, capsys, text, words):
    path = tmp_path / 'ego.csv'
    path.write_text(text)
    assert export(make_server(), options=['--ego', path])[0] == 1
    printed = capsys.readouterr().err
    assert words in printed
    assert str(path) in printed
