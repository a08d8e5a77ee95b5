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
"""Each camera: its lens in ROS's terms, what the server is asked for, when it is due."""

import math
from test.rendering.fake_server import FakeServer
from test.support.archives import build_archive, CAMERAS, SEQUENCE_ID
from test.support.player_bench import BEGIN_NS, frame_ends, FRONT, MS, REAR, stamp_ns

import numpy as np
import pytest
from sensor_msgs.msg import Image

pytestmark = pytest.mark.contract

SIMPLE = {
    'resolution': [1920, 1080],
    'shutter_type': 'GLOBAL',
    'principal_point': [951.2, 547.9],
    'focal_length': [1120.5, 1118.25],
    'radial_coeffs': [0.21, -0.11, 0.034, 0.0, 0.0, 0.0],
    'tangential_coeffs': [0.0011, -0.0007],
    'thin_prism_coeffs': [0.0, 0.0, 0.0, 0.0],
}
PLUMB_BOB = [0.21, -0.11, 0.0011, -0.0007, 0.034]
RATIONAL = {**SIMPLE, 'radial_coeffs': [0.21, -0.11, 0.034, 0.49, -0.052, 0.041]}
FISHEYE = {
    'resolution': [1280, 800],
    'shutter_type': 'ROLLING_LEFT_TO_RIGHT',
    'principal_point': [644.0, 396.5],
    'focal_length': [402.0, 399.0],
    'radial_coeffs': [0.031, -0.012, 0.0041, -0.0009],
    'max_angle': 1.6,
}


def test_who_is_not_subscribed_to_is_not_rendered(bench, server):
    before = server.pictures(REAR)
    bench.infos_of(FRONT)
    for _ in range(3):
        bench.trigger('tick')
    assert server.pictures(FRONT)
    assert server.pictures(REAR) == before


def test_a_request_scales_the_picture_and_keeps_the_calibration(bench, server):
    bench.configure(resolution_scale=0.1)
    info = bench.infos_of(REAR)[0]
    assert (info.width, info.height) == (192, 108)
    request = server.pictures(REAR)[-1]
    assert (request.resolution_w, request.resolution_h) == (192, 108)
    assert request.image_quality == 95
    spec = request.camera_intrinsics
    assert (spec.resolution_w, spec.resolution_h) == (1920, 1080)
    lens = spec.ftheta_param
    assert (lens.principal_point_x, lens.principal_point_y) == (958.0, 752.0)
    # camera_info says how well it fits, in the log and in the diagnostics.
    lines = [one for one in bench.player.output.splitlines() if '[INFO]' in one]
    assert any('equidistant' in one and 'px rms' in one for one in lines)


def test_poses_of_road_users_go_along_where_they_are_asked_for(bench, server):
    bench.infos_of(FRONT)
    assert not any(one.dynamic_objects for one in server.pictures(FRONT))
    bench.seek(BEGIN_NS + 500 * MS)
    bench.configure(send_tracks=True)

    def ids():
        return [one.track_id for one in server.pictures(FRONT)[-1].dynamic_objects]

    # Of the three that are there the one that can be controlled.
    bench.until(lambda: ids() == ['1'], 'its pose')


@pytest.mark.parametrize('batch', [True, False])
def test_both_cameras_come_from_a_server_with_and_without_batches(bench, load, batch):
    with FakeServer(scenes=[SEQUENCE_ID], batch=batch) as server:
        load(server=server.address, camera_rate=10.0)
        infos = [bench.infos_of(name) for name in CAMERAS]
        for count in (1, 2, 3):
            assert 'failed_images' not in bench.trigger('tick')
            t_ns = BEGIN_NS + 100 * MS * count
            bench.until(lambda t_ns=t_ns: all(stamp_ns(one[-1]) == t_ns for one in infos), 'both')


def test_a_camera_without_frame_times_is_due_at_10_hz(bench, load, tmp_path):
    key = f'rig_trajectories[0].cameras_frame_timestamps_us.{FRONT}@{SEQUENCE_ID}'
    load(usdz_path=str(build_archive(tmp_path, edit_rig={key: []})))
    infos = bench.infos_of(FRONT)
    assert bench.ticked(infos, 500_000, 5) == [100 * MS * k for k in range(1, 6)]


@pytest.mark.parametrize(
    ('kind', 'parameters', 'model', 'd'),
    [
        ('pinhole', SIMPLE, 'plumb_bob', PLUMB_BOB),
        ('pinhole', RATIONAL, 'rational_polynomial', [*PLUMB_BOB, 0.49, -0.052, 0.041]),
        ('fisheye', FISHEYE, 'equidistant', FISHEYE['radial_coeffs']),
    ],
)
def test_opencv_lenses_have_their_names_and_coefficients(
    bench, load, tmp_path, kind, parameters, model, d
):
    lens = {'type': f'opencv-{kind}', 'parameters': parameters}
    key = f'camera_calibrations.{kind}@{SEQUENCE_ID}.camera_model'
    usdz = build_archive(tmp_path, cameras=[kind], edit_rig={key: lens})
    load(usdz_path=str(usdz))
    infos = bench.infos_of(kind)
    assert infos[0].distortion_model == model
    assert list(infos[0].d) == pytest.approx(d)
    width, height = parameters['resolution']
    fx, fy = parameters['focal_length']
    # OpenCV's pixel centres in the file are at +0.5.
    cx, cy = (value - 0.5 for value in parameters['principal_point'])

    def check(info, scale):
        assert (info.width, info.height) == (width * scale, height * scale)
        assert (info.k[0], info.k[4]) == pytest.approx((fx * scale, fy * scale))
        # Of a smaller picture the centre of the first pixel is elsewhere.
        centre = (cx + 0.5) * scale - 0.5, (cy + 0.5) * scale - 0.5
        assert (info.k[2], info.k[5]) == pytest.approx(centre)
        assert list(info.p[:3]) + list(info.p[4:7]) == pytest.approx(list(info.k[:6]))

    check(infos[0], 0.25)
    bench.configure(resolution_scale=1.0)
    bench.until(lambda: infos[-1].width == width, 'the native size')
    check(infos[-1], 1.0)


def check_pinhole(info, request, hfov_deg):
    """Check an undistorted view, and that the server was asked for that lens."""
    assert info.distortion_model == 'plumb_bob'
    assert set(info.d) == {0.0}
    focal = info.width / 2 / math.tan(math.radians(hfov_deg) / 2)
    assert (info.p[0], info.p[5]) == pytest.approx((focal, focal), rel=0.01)
    assert (info.p[2], info.p[6]) == pytest.approx((info.width / 2, info.height / 2), abs=0.51)
    assert (info.p[3], info.p[7], info.p[11]) == (0.0, 0.0, 0.0)
    # At the calibration's size.
    spec = request.camera_intrinsics
    assert spec.WhichOneof('camera_param') == 'opencv_pinhole_param'
    assert not any(spec.opencv_pinhole_param.radial_coeffs)


def exposed(bench, server):
    """Tick to the first frame; give its request, and when its exposure ended, in microseconds."""
    infos = bench.infos_of(FRONT)
    bench.trigger('tick')
    end_ns = frame_ends(FRONT)[0]
    bench.until(lambda: stamp_ns(infos[-1]) == end_ns, 'the frame')
    return server.pictures(FRONT)[-1], end_ns // 1000


def test_the_stamp_of_an_instant_is_the_end_of_the_exposure(bench, server):
    request, _ = exposed(bench, server)
    assert request.sensor_pose.start_pose == request.sensor_pose.end_pose


def test_the_stamp_of_a_recorded_shutter_too_and_projection_pinhole_is_an_undistorted_view(
    start, usdz, server
):
    bench = start(
        usdz_path=usdz,
        server=server.address,
        shutter='recorded',
        projection='pinhole',
        hfov_deg=100.0,
    ).ready()
    request, end_us = exposed(bench, server)
    assert request.sensor_pose.start_pose != request.sensor_pose.end_pose
    # Half-open: its last microsecond is the stamp's.
    assert request.frame_start_us == end_us - 27_000
    assert request.frame_end_us == pytest.approx(end_us, abs=1)
    check_pinhole(bench.infos_of(FRONT)[0], request, 100.0)


def test_raw_pixels_come_as_rgb8_and_a_wrong_number_of_them_is_dropped(start, usdz):
    size: dict[str, int | None] = {'bytes': None}

    def render(request, _context):
        count = request.resolution_w * request.resolution_h
        planes = b''.join(bytes([value]) * count for value in (10, 20, 30))
        return planes[: size['bytes']]

    with FakeServer(render, scenes=[SEQUENCE_ID]) as server:
        bench = start(
            usdz_path=usdz,
            server=server.address,
            image_format='rgb',
            projection='pinhole',
            hfov_deg=60.0,
        ).ready()
        images = bench.hear(Image, f'~/{FRONT}/image_raw')
        infos = bench.infos_of(FRONT)
        check_pinhole(infos[0], server.pictures(FRONT)[-1], 60.0)
        assert (images[0].encoding, images[0].step) == ('rgb8', 3 * images[0].width)
        pixels = np.array(images[0].data).reshape(-1, 3)
        assert np.unique(pixels, axis=0).tolist() == [[10, 20, 30]]
        size['bytes'] = -1
        state = bench.trigger('tick')
        assert FRONT in state['failed_images']
        size['bytes'] = None
        bench.trigger('tick')
        stamps = {BEGIN_NS, frame_ends(FRONT)[1]}
        bench.until(lambda: stamp_ns(infos[-1]) == max(stamps), 'the good frame')
        assert {stamp_ns(info) for info in infos} == stamps
