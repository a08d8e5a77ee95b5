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
"""The list of cameras against the archive's, with lists that are wrong in one thing each."""

import math
from test.preview.preview_client import FRONT_FTHETA

import numpy as np
from nurec_ros.probe.calibrations import ArchiveCamera, compare
from nurec_ros.rendering.protos import common_pb2
from nurec_ros.rendering.protos import sensorsim_pb2 as sim
import pytest
from scipy.spatial.transform import Rotation

MOUNT = np.eye(4)
MOUNT[:3, :3] = Rotation.from_euler('XYZ', [-91.0, 2.0, -88.0], degrees=True).as_matrix()
MOUNT[:3, 3] = 1.8, -0.05, 1.4


def ftheta_spec(scale=1.0, **changes):
    """Return a CameraSpec, as it would be for a sensor `scale` times as large."""
    lens = {**FRONT_FTHETA}
    for axis in 'xy':
        lens[f'principal_point_{axis}'] = (lens[f'principal_point_{axis}'] + 0.5) * scale - 0.5
    lens['angle_to_pixeldist_poly'] = [a * scale for a in lens['angle_to_pixeldist_poly']]
    lens['pixeldist_to_angle_poly'] = [
        b / scale**i for i, b in enumerate(lens['pixeldist_to_angle_poly'])
    ]
    return sim.CameraSpec(
        logical_id='front',
        resolution_w=round(1920 * scale),
        resolution_h=round(1080 * scale),
        shutter_type=sim.ROLLING_TOP_TO_BOTTOM,
        ftheta_param=sim.FthetaCameraParam(**{**lens, **changes}),
    )


def listed(spec=None, mount=MOUNT):
    x, y, z, w = Rotation.from_matrix(mount[:3, :3]).as_quat()
    return sim.AvailableCamera(
        intrinsics=spec or ftheta_spec(),
        rig_to_camera=common_pb2.Pose(
            vec=common_pb2.Vec3(x=mount[0, 3], y=mount[1, 3], z=mount[2, 3]),
            quat=common_pb2.Quat(w=w, x=x, y=y, z=z),
        ),
        logical_id='front',
    )


OURS = {'front': ArchiveCamera(ftheta_spec(), MOUNT, lambda w, _: ftheta_spec(w / 1920))}


def moved(by=0.0, turned=0.0):
    mount = MOUNT.copy()
    mount[2, 3] += by
    mount[:3, :3] = Rotation.from_euler('z', turned, degrees=True).as_matrix() @ MOUNT[:3, :3]
    return mount


def test_equal_lists_pass():
    stage = compare(OURS, {'front': listed()})
    assert (stage.name, stage.status) == ('cameras', 'pass')
    assert stage.message == '1 camera, calibrations equal'


def test_the_other_sign_of_a_quaternion_is_the_same_mounting():
    other = listed()
    quat = other.rig_to_camera.quat
    quat.w, quat.x, quat.y, quat.z = -quat.w, -quat.x, -quat.y, -quat.z
    assert compare(OURS, {'front': other}).status == 'pass'


def test_a_camera_that_the_server_lacks_fails():
    stage = compare(OURS, {'rear': listed()})
    assert stage.status == 'fail'
    assert 'lacks front; it has rear' in stage.message
    assert stage.details['missing'] == ['front']
    assert 'none' in compare(OURS, {}).message


def test_a_camera_that_is_missing_hides_no_other_difference():
    ours = {**OURS, 'left': OURS['front']}
    listing = {'front': listed(mount=moved(by=0.5)), 'rear': listed()}
    stage = compare(ours, listing, unasked=('rear',))
    assert stage.status == 'fail'
    assert 'the server lacks left; it has front, rear; ' in stage.message
    assert 'front: mounted 0.500 m elsewhere' in stage.message
    assert stage.details['missing'] == ['left']
    assert list(stage.details['differences']) == ['front']


def test_a_camera_that_cannot_be_rendered_is_named_and_is_no_extra():
    problems = {'rear': 'it sees nothing'}
    stage = compare(OURS, {'front': listed(), 'rear': listed()}, problems=problems)
    assert stage.status == 'note'
    assert stage.message == 'rear cannot be rendered: it sees nothing'
    assert stage.details['not_rendered'] == problems
    assert stage.details['extra'] == []


def test_a_camera_that_only_the_server_has_is_a_note():
    stage = compare(OURS, {'front': listed(), 'rear': listed()})
    assert stage.status == 'note'
    assert 'the archive lacks rear' in stage.message


@pytest.mark.parametrize(
    ('spec', 'mount', 'words'),
    [
        (ftheta_spec(principal_point_x=960.0), MOUNT, 'principal_point_x 958, server 960'),
        (ftheta_spec(max_angle=1.3), MOUNT, 'max_angle 1.35, server 1.3'),
        (ftheta_spec(angle_to_pixeldist_poly=[0.0, 940.0]), MOUNT, 'angle_to_pixeldist_poly ['),
        (ftheta_spec(pixeldist_to_angle_poly=[]), MOUNT, 'pixeldist_to_angle_poly ['),
        (ftheta_spec(linear_cde=sim.LinearCde(linear_c=1.1)), MOUNT, 'linear_cde.linear_c 1, '),
        (ftheta_spec(reference_poly=1), MOUNT, 'reference_poly 2, server 1'),
        (ftheta_spec(), moved(by=0.25), 'mounted 0.250 m elsewhere'),
        (ftheta_spec(), moved(turned=3.0), 'turned by 3.00 deg'),
        (ftheta_spec(), moved(turned=180.0), 'turned by 180.00 deg'),
    ],
)
def test_every_difference_is_named(spec, mount, words):
    stage = compare(OURS, {'front': listed(spec, mount)})
    assert stage.status == 'fail'
    assert words in stage.message
    assert stage.message.startswith('front: ')
    assert stage.remedy
    assert len(stage.details['differences']['front']) == 1


def test_another_shutter_and_a_windshield_are_differences():
    other = ftheta_spec()
    other.shutter_type = sim.GLOBAL
    other.bivariate_windshield_model_param.horizontal_poly.extend([0.0, 1.0, 0.0])
    stage = compare(OURS, {'front': listed(other)})
    assert 'shutter_type 1, server 5' in stage.message
    assert 'windshield horizontal_poly' in stage.message


def test_another_lens_is_a_difference():
    other = sim.CameraSpec(
        resolution_w=1920, resolution_h=1080, shutter_type=1, opencv_fisheye_param={}
    )
    stage = compare(OURS, {'front': listed(other)})
    assert 'lens ftheta_param, server opencv_fisheye_param' in stage.message


@pytest.mark.parametrize('scale', [0.5, 2.0])
def test_the_same_view_at_another_native_size_is_a_note(scale):
    stage = compare(OURS, {'front': listed(ftheta_spec(scale))})
    assert stage.status == 'note'
    assert f'front is listed at {round(1920 * scale)}x{round(1080 * scale)}' in stage.message


def test_another_size_alone_is_a_difference():
    other = ftheta_spec()
    other.resolution_w, other.resolution_h = 960, 540
    stage = compare(OURS, {'front': listed(other)})
    assert stage.status == 'fail'
    assert 'resolution_w 1920, server 960' in stage.message


def test_the_empty_pinhole_of_old_servers_is_no_difference():
    ours = sim.CameraSpec(
        resolution_w=640,
        resolution_h=480,
        opencv_pinhole_param={'focal_length_x': 500.0, 'radial_coeffs': [0.0] * 6},
    )
    theirs = sim.CameraSpec(resolution_w=640, resolution_h=480, opencv_pinhole_param={})
    known = {'front': ArchiveCamera(ours, MOUNT, lambda *_: ours)}
    assert compare(known, {'front': listed(theirs)}).status == 'pass'


def test_rounding_on_the_wire_is_no_difference():
    x = math.nextafter(958.0, 1e9)
    other = listed(ftheta_spec(principal_point_x=x), moved(by=1e-5, turned=1e-4))
    assert compare(OURS, {'front': other}).status == 'pass'


def test_numbers_that_are_none_are_a_difference():
    other = ftheta_spec(max_angle=float('nan'))
    assert compare(OURS, {'front': listed(other)}).status == 'fail'
    other = listed()
    other.rig_to_camera.vec.x = float('nan')
    assert compare(OURS, {'front': other}).status == 'fail'
