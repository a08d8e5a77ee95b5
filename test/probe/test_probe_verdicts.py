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
"""What the probe finds, judged and told: lists of cameras, pictures, stages."""

import json
import math
from test.preview.preview_client import FRONT_FTHETA, gradient
from typing import Any

import cv2
import numpy as np
from nurec_ros.errors import ConfigurationError
from nurec_ros.probe.answers import FAIL, NOTE, PASS, SKIP, Stage
from nurec_ros.probe.renders import Folder
from nurec_ros.probe.stages import Report
from nurec_ros.probe.verdicts import compare, images_stage, judge, sizes_stage
from nurec_ros.rendering.protos import common_pb2
from nurec_ros.rendering.protos import sensorsim_pb2 as sim
from nurec_ros.scenario import Camera
from nurec_ros.scenario.cameras import parse_camera_model
import pytest
from scipy.spatial.transform import Rotation

# --- the list of cameras, wrong in one thing each ------------------------------------------------

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


def ours(kind, **parameters):
    """Return what the archive holds of one camera, by its name."""
    model = parse_camera_model(kind, {'shutter_type': 'ROLLING_TOP_TO_BOTTOM', **parameters})
    return {'front': Camera('front', MOUNT, model, None, np.empty((0, 2)))}


OURS = ours(
    'ftheta',
    resolution=[1920, 1080],
    principal_point=[FRONT_FTHETA['principal_point_x'], FRONT_FTHETA['principal_point_y']],
    reference_poly='ANGLE_TO_PIXELDIST',
    linear_cde=[1.0, 0.0, 0.0],
    **{
        name: FRONT_FTHETA[name]
        for name in ('angle_to_pixeldist_poly', 'pixeldist_to_angle_poly', 'max_angle')
    },
)


def differences(stage) -> Any:
    """Return what differs, by camera."""
    return stage.details['differences']


def moved(by=0.0, turned=0.0):
    mount = MOUNT.copy()
    mount[2, 3] += by
    mount[:3, :3] = Rotation.from_euler('z', turned, degrees=True).as_matrix() @ MOUNT[:3, :3]
    return mount


def spec_with(glass=(), **fields):
    """Return the good spec with some fields set, and a windshield of a polynomial."""
    spec = ftheta_spec()
    for name, value in fields.items():
        setattr(spec, name, value)
    spec.bivariate_windshield_model_param.horizontal_poly.extend(glass)
    return spec


def other_sign():
    camera = listed()
    quat = camera.rig_to_camera.quat
    quat.w, quat.x, quat.y, quat.z = -quat.w, -quat.x, -quat.y, -quat.z
    return camera


def nowhere():
    camera = listed()
    camera.rig_to_camera.vec.x = float('nan')
    return camera


FISHEYE = sim.CameraSpec(
    resolution_w=1920, resolution_h=1080, shutter_type=1, opencv_fisheye_param={}
)
ROUNDED = ftheta_spec(principal_point_x=math.nextafter(958.0, 1e9))
# What a server lists, the verdict, words of its message, and how many differences it has.
LISTS = {
    'equal': ({'front': listed()}, 'pass', '1 camera, calibrations equal', 0),
    # A quaternion of the other sign is the same mounting.
    'sign': ({'front': other_sign()}, 'pass', 'equal', 0),
    'rounding': ({'front': listed(ROUNDED, moved(by=1e-5, turned=1e-4))}, 'pass', 'equal', 0),
    'lacking': ({'rear': listed()}, 'fail', 'lacks front; it has rear', 0),
    'empty': ({}, 'fail', 'lacks front; it has none', 0),
    'extra': ({'front': listed(), 'rear': listed()}, 'note', 'the archive lacks rear', 0),
    # The same view at another native size.
    'half': ({'front': listed(ftheta_spec(0.5))}, 'note', 'front is listed at 960x540', 0),
    'double': ({'front': listed(ftheta_spec(2.0))}, 'note', 'front is listed at 3840x2160', 0),
    **{
        words: ({'front': listed(spec, mount)}, 'fail', f'front: {words}', count)
        for spec, mount, words, count in (
            (ftheta_spec(principal_point_x=960.0), MOUNT, 'principal_point_x 958, server 960', 1),
            (ftheta_spec(max_angle=1.3), MOUNT, 'max_angle 1.35, server 1.3', 1),
            (ftheta_spec(max_angle=float('nan')), MOUNT, 'max_angle 1.35, server nan', 1),
            (ftheta_spec(angle_to_pixeldist_poly=[0.0, 940.0]), MOUNT, 'angle_to_pixeldist_p', 1),
            (ftheta_spec(pixeldist_to_angle_poly=[]), MOUNT, 'pixeldist_to_angle_poly [', 1),
            (ftheta_spec(linear_cde=sim.LinearCde(linear_c=1.1)), MOUNT, 'linear_cde.linear_c', 1),
            (ftheta_spec(reference_poly=1), MOUNT, 'reference_poly 2, server 1', 1),
            (ftheta_spec(), moved(by=0.25), 'mounted 0.250 m elsewhere', 1),
            (ftheta_spec(), moved(turned=3.0), 'turned by 3.00 deg', 1),
            (ftheta_spec(), moved(turned=180.0), 'turned by 180.00 deg', 1),
            (
                spec_with([0.0, 1.0], shutter_type=sim.GLOBAL),
                MOUNT,
                'shutter_type 1, server 5; windshield horizontal_poly',
                2,
            ),
            (FISHEYE, MOUNT, 'lens ftheta_param, server opencv_fisheye_param', 1),
            (spec_with(resolution_w=960), MOUNT, 'resolution_w 1920, server 960', 1),
        )
    },
    'mounted nowhere': ({'front': nowhere()}, 'fail', 'front: mounted nan m elsewhere', 1),
}


@pytest.mark.parametrize('name', LISTS)
def test_lists_of_cameras_are_compared(name):
    listing, status, words, count = LISTS[name]
    stage = compare(OURS, listing)
    assert (stage.name, stage.status) == ('cameras', status)
    assert words in stage.message
    assert bool(stage.remedy) is (status == 'fail')
    assert sum(map(len, differences(stage).values())) == count
    assert stage.details['missing'] == [name for name in OURS if name not in listing]


def test_a_camera_that_is_missing_hides_no_other_difference():
    both = {**OURS, 'left': OURS['front']}
    listing = {'front': listed(mount=moved(by=0.5)), 'rear': listed()}
    stage = compare(both, listing, unasked=('rear',))
    assert stage.status == 'fail'
    assert 'the server lacks left; it has front, rear; ' in stage.message
    assert 'front: mounted 0.500 m elsewhere' in stage.message
    assert stage.details['missing'] == ['left']
    assert [*differences(stage)] == ['front']


def test_a_camera_that_cannot_be_rendered_is_named_and_is_no_extra():
    problems = {'rear': 'it sees nothing'}
    stage = compare(OURS, {'front': listed(), 'rear': listed()}, problems=problems)
    assert stage.status == 'note'
    assert stage.message == 'rear cannot be rendered: it sees nothing'
    assert stage.details['not_rendered'] == problems
    assert stage.details['extra'] == []


def test_the_empty_pinhole_of_old_servers_is_no_difference():
    theirs = sim.CameraSpec(resolution_w=640, resolution_h=480, opencv_pinhole_param={})
    theirs.shutter_type = sim.ROLLING_TOP_TO_BOTTOM
    known = ours(
        'opencv-pinhole',
        resolution=[640, 480],
        principal_point=[320.0, 240.0],
        focal_length=[500.0, 500.0],
    )
    assert compare(known, {'front': listed(theirs)}).status == 'pass'


# --- pictures ------------------------------------------------------------------------------------


def encoded(picture, extension='.jpg'):
    return cv2.imencode(extension, picture)[1].tobytes()


GOOD = encoded(gradient(48, 27))
BLACK = encoded(np.full((27, 48, 3), 2, np.uint8))


def picture(data=GOOD, camera='front', label='low', asked=(48, 27)):
    return judge(camera, label, asked, data)


NIGHT = np.full((27, 48, 3), 2, np.uint8)
NIGHT[20:, 20:25] = 40


@pytest.mark.parametrize(
    ('data', 'words'),
    [
        (GOOD, ''),
        (encoded(gradient(48, 27), '.png'), ''),
        (encoded(NIGHT, '.png'), ''),
        (b'', 'no image'),
        (b'not a picture', 'neither JPEG nor PNG'),
        (GOOD[: len(GOOD) // 2], 'cut off'),
        (encoded(gradient(48, 27), '.png')[:-20], 'cut off'),
        (b'\xff\xd8\xff\xe0' + bytes(100) + b'\xff\xd9', 'JPEG'),
    ],
    ids=['jpeg', 'png', 'night', 'empty', 'text', 'half', 'short', 'hollow'],
)
def test_what_is_no_whole_picture_is_said(data, words):
    found = picture(data)
    assert found.size == (None if words else (48, 27))
    assert words in found.fault
    assert bool(found.fault) is bool(words)
    assert not found.black


def test_pictures_pass_when_all_are_good_and_black_ones_have_another_remedy_than_broken_ones():
    stage = images_stage([picture(), picture(label='full')])
    assert (stage.status, stage.name) == ('pass', 'images')
    assert '2 pictures' in stage.message
    assert picture(BLACK).fault == 'the picture is black'
    black, broken = images_stage([picture(BLACK), picture()]), images_stage([picture(b'x')])
    assert black.status == broken.status == 'fail'
    assert '1 of 2' in black.message
    assert 'front low: the picture is black' in black.message
    assert 'scene' in black.remedy
    assert 'restart' in broken.remedy
    assert 'saved files' in broken.remedy
    # No more than some are named.
    many = images_stage([picture(b'', camera=f'camera_{i}') for i in range(9)]).message
    assert 'camera_2' in many
    assert 'camera_3' not in many
    assert 'and 6 more' in many


def test_without_pictures_both_stages_are_skipped():
    assert images_stage([]).status == 'skip'
    assert sizes_stage([]).status == sizes_stage([picture(b'x')]).status == 'skip'


@pytest.mark.parametrize(
    ('asked', 'status', 'words'),
    [
        ((48, 27), 'pass', '2 pictures of the size asked for'),
        ((50, 27), 'note', 'keeps its own aspect ratio, camera_info follows it: '),
        ((12, 7), 'note', 'returns another size than asked for, '),
        ((27, 48), 'fail', 'swapped: '),
        ((480, 270), 'fail', 'far from what was asked for: '),
        ((480, 27), 'fail', 'far from what was asked for: '),
        ((4800, 48), 'fail', 'far from what was asked for: '),
    ],
)
def test_another_size_than_asked_is_a_note_as_long_as_it_may_be_the_same_view(
    asked, status, words
):
    stage = sizes_stage([picture(), picture(asked=asked, label='full')])
    assert stage.status == status
    assert words in stage.message
    if status != 'pass':
        assert f'front full: 48x27 for {asked[0]}x{asked[1]}' in stage.message
    assert bool(stage.remedy) is (status == 'fail')


def test_pictures_are_saved_as_they_came_and_within_their_folder(tmp_path):
    png = encoded(gradient(48, 27), '.png')
    came = [
        picture(),
        picture(png, label='full'),
        picture(b'garbage', camera='../../x/y'),
        picture(b'', label='batch'),
    ]
    folder = Folder(tmp_path / 'new' / 'folder')
    assert not (tmp_path / 'new').exists()
    for each in came:
        folder.save(folder.pictures, each.file_name, each.data)
    names = ['front_low.jpg', 'front_full.png', '.._.._x_y_low.bin']
    assert folder.pictures == [tmp_path / 'new' / 'folder' / name for name in names]
    assert [path.read_bytes() for path in folder.pictures] == [GOOD, png, b'garbage']
    folder.pictures[0].unlink()
    folder.pictures[0].mkdir()
    with pytest.raises(ConfigurationError, match=r'front_low\.jpg cannot be written: Is a'):
        folder.save([], 'front_low.jpg', GOOD)


# --- stages --------------------------------------------------------------------------------------


def test_a_stage_as_json_has_plain_values():
    stage = Stage('render', PASS, 'fine', latency_s=0.0123456, details={'asked': [480, 270]})
    value = json.loads(json.dumps(stage.to_json()))
    assert value == {
        'stage': 'render',
        'status': 'pass',
        'message': 'fine',
        'remedy': '',
        'latency_ms': 12.346,
        'asked': [480, 270],
    }
    assert Stage('sizes', PASS, 'fine').to_json()['latency_ms'] is None


@pytest.mark.parametrize(
    ('status', 'mark', 'plain'),
    [(PASS, '✓', 'ok'), (NOTE, '·', 'note'), (FAIL, '✗', 'FAIL'), (SKIP, '–', 'skip')],
)
def test_every_status_has_its_mark(status, mark, plain):
    stage = Stage('tcp', status, 'message', 'remedy')
    assert mark in stage.lines()[0]
    first, second = stage.lines(plain=True)
    assert plain in first
    assert (first + second).isascii()


def test_the_remedy_is_a_line_of_its_own_and_the_latency_ends_the_first():
    first, second = Stage('tcp', FAIL, 'refused', 'start it', 0.002).lines()
    assert first.endswith(' 2.0 ms')
    assert 'start it' not in first
    assert second.strip() == '→ start it'
    assert len(Stage('tcp', PASS, 'fine').lines()) == 1


@pytest.mark.parametrize(
    ('statuses', 'good', 'words'),
    [
        ([PASS, NOTE], True, 'every stage passed'),
        ([PASS, FAIL, FAIL, NOTE], False, 'failed: 1, 2'),
        ([FAIL, SKIP], False, 'failed: 0'),
        ([PASS, SKIP], False, 'every stage passed'),
    ],
)
def test_notes_pass_and_skips_do_not_and_the_summary_names_each_failed_stage_once(
    statuses, good, words
):
    stages = [Stage(str(i), status, '', 'x') for i, status in enumerate(statuses)]
    report = Report((*stages, *stages), (), (), 0.0)
    assert (report.ok, report.summary) == (good, words)
