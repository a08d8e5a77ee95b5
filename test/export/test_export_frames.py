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
"""Image sets, videos and driven paths, against what was rendered and where things are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import csv
import importlib.util
import json
from pathlib import Path
import sys
from test.export.conftest import failing, frame_times, picture, read
from test.support.archives import CAMERAS
from test.support.player_bench import stamp_ns
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from nurec_ros.export.data_sets import box_2d, ImageView
from nurec_ros.scenario import Scenario
from nurec_ros.scenario.cameras.opencv import PinholeCamera
import pytest
from scipy.spatial.transform import Rotation

# A lens of 200 by 100 pixels with a focal length of 100 and its axis in the middle.
PINHOLE = PinholeCamera(
    resolution=(200, 100), principal_point=(99.5, 49.5), focal_length=(100.0, 100.0)
)
ALL = (-0.5, -0.5, 199.5, 99.5)


@pytest.mark.parametrize(
    ('centre', 'dims', 'expected'),
    [
        pytest.param(
            *((0, 0, 10), (2, 2, 2)),
            (99.5 - 100 / 9, 49.5 - 100 / 9, 99.5 + 100 / 9, 49.5 + 100 / 9),
            id='ahead: as large as its near face, 9 m away',
        ),
        pytest.param(
            *((10, 0, 10), (4, 2, 2)),
            (99.5 + 100 * 8 / 11, 49.5 - 100 / 9, 199.5, 49.5 + 100 / 9),
            id='clipped to the image',
        ),
        pytest.param((30, 0, 10), (2, 2, 2), None, id='beside the image'),
        pytest.param((0, 0, -10), (2, 2, 2), None, id='behind the camera'),
        pytest.param((0, 0, -3), (20, 20, 4), None, id='large and behind it'),
        # 4 m to the right, 2 m high: the image begins to see it 4 m ahead, and no part out of the
        # image makes its box larger.
        pytest.param((4, 0, 11), (0, 2, 18), (119.5, 24.5, 199.5, 74.5), id='a wall'),
        pytest.param(
            *((4, 0, 0), (0, 2, 40), (119.5, 24.5, 199.5, 74.5)),
            id='a wall from behind on, where its edges have no pixel',
        ),
        pytest.param((0, 0, 3), (20, 20, 4), ALL, id='all that is seen'),
        pytest.param((0, 0, 0), (2, 2, 2), ALL, id='the camera is in it'),
    ],
)
def test_the_2d_box_of_an_upright_box(centre, dims, expected):
    """In optical coordinates."""
    T = np.eye(4)
    T[:3, 3] = centre
    found = box_2d(ImageView.of(PINHOLE), np.eye(4), T, np.array(dims, dtype=float))
    # A wall is seen to the pixels of the image's border.
    assert found == (expected and pytest.approx(expected, abs=0.5 if dims[0] == 0 else 0.01))


def test_an_image_set(exported: Path, usdz: Path):
    scenario, folder = Scenario.load(usdz), exported.parent / 'images' / 'drive'
    times = frame_times(usdz)
    cameras = json.loads((folder / 'cameras.json').read_text())
    assert set(cameras) == set(CAMERAS)
    for camera, known in cameras.items():
        paths = sorted((folder / camera).iterdir())
        assert [int(path.stem) for path in paths] == times[camera]
        assert cv2.imread(str(paths[0])).shape[:2] == (known['height'], known['width'])
        assert known['model']['kind'] == 'ftheta'
        assert known['camera_info']['distortion_model'] == 'equidistant'
        np.testing.assert_allclose(known['T_rig_camera'], scenario.cameras[camera].T_rig_camera)
    due = sorted({t for some in times.values() for t in some})
    with (folder / 'ego.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row['stamp_us']) * 1000 for row in rows] == due
    np.testing.assert_allclose(
        [[float(row[key]) for key in 'xyz'] for row in rows],
        scenario.ego.pose(np.array(due)).position,
    )
    lines = [json.loads(line) for line in (folder / 'tracks.jsonl').read_text().splitlines()]
    assert [line['stamp_ns'] for line in lines] == due
    boxes = 0
    for line in lines:
        ids = [track['id'] for track in line['tracks']]
        assert ids == list(scenario.tracks.active_ids(line['stamp_ns']))
        # Whether the image holds all of a track or not.
        T_map_rig = scenario.ego.pose(line['stamp_ns']).matrix
        for track in line['tracks']:
            for name, box in track['boxes_2d'].items():
                known = cameras[name]
                assert -0.5 <= box[0] <= box[2] <= known['width'] - 0.5
                assert -0.5 <= box[1] <= box[3] <= known['height'] - 0.5
                expected = seen_of(scenario.cameras[name], known, T_map_rig, track)
                assert box == pytest.approx(expected, abs=0.5)
                boxes += 1
    assert boxes > 5


def seen_of(camera, known, T_map_rig, track):
    """Return the 2D box of what is in the image of points all over a track's box, None of none."""
    model = camera.model.resized(known['width'], known['height'])
    places = np.linspace(-0.5, 0.5, 120)
    across, along = (values.ravel() for values in np.meshgrid(places, places))
    faces = [
        np.insert(np.column_stack([across, along]), axis, end, axis=1)
        for axis in range(3)
        for end in (-0.5, 0.5)
    ]
    turn = Rotation.from_quat(track['quaternion'])
    points = turn.apply(np.concatenate(faces) * track['dims']) + track['position']
    T = np.linalg.inv(T_map_rig @ camera.T_rig_camera)
    uv, valid = model.project(points @ T[:3, :3].T + T[:3, 3])
    uv = uv[valid]
    uv = uv[model.inside(uv)]
    return (*uv.min(axis=0), *uv.max(axis=0)) if len(uv) else None


def test_images_of_decoded_ones_have_the_same_pixels(export, exported, make_server, tmp_path):
    """And of a camera that is not exported there are none."""
    images, of_encoded = tmp_path / 'images' / 'drive', exported.parent / 'images' / 'drive'
    options = ['--topics', '~/*/image_raw', '--frames', images.parent, '--cameras', CAMERAS[0]]
    export(make_server(), options=options)
    assert not (images / CAMERAS[1]).exists()
    assert set(json.loads((images / 'cameras.json').read_text())) == {CAMERAS[0]}
    known = sorted((of_encoded / CAMERAS[0]).iterdir())
    found = sorted((images / CAMERAS[0]).iterdir())
    assert [path.name for path in found] == [path.name for path in known]
    for first, second in zip(known, found, strict=True):
        np.testing.assert_array_equal(cv2.imread(str(first)), cv2.imread(str(second)))


# --- videos --------------------------------------------------------------------------------------


@pytest.mark.skipif(importlib.util.find_spec('av') is None, reason='needs PyAV')
def test_a_video_shows_each_image_at_its_time(export, copied, usdz):
    import av

    export(options=['--resume', '--video'])
    for camera, times in frame_times(usdz).items():
        with av.open(str(copied / f'drive.{camera}.mp4')) as container:
            shown = [float(frame.time) for frame in container.decode(video=0)]
        expected = [(t - times[0]) / 1e9 for t in times]
        assert shown == pytest.approx(expected, abs=1e-4)


class FakeAv:
    """PyAV (36 MB), as far as it is used: what it encodes is written down."""

    VideoFrame = SimpleNamespace(from_ndarray=lambda image, **_: SimpleNamespace(image=image))

    def __init__(self) -> None:
        self.__spec__ = 'as an installed module has one'
        # By path, the stream and the frames that came out of it.
        self.videos: dict[str, tuple[Any, list[Any]]] = {}
        self.open = contextmanager(self._open)

    def _open(self, path: str, mode: str, **form: str) -> Iterator[Any]:
        # Of the name's end, which is another one, PyAV could not tell.
        assert (mode, form, Path(path).exists()) == ('w', {'format': 'mp4'}, False)
        # It keeps the last frame back until it is told that none follows.
        frames, kept = [], [[]]

        def encode(*frame: Any) -> Any:
            kept.append([*frame])
            return kept.pop(0)

        stream = SimpleNamespace(codec_context=SimpleNamespace(), encode=encode)
        yield SimpleNamespace(add_stream=lambda codec, rate: stream, mux=frames.extend)
        Path(path).write_text('encoded')
        self.videos[path.removesuffix('.new')] = stream, frames


@pytest.fixture
def encoder(monkeypatch):
    monkeypatch.setitem(sys.modules, 'av', FakeAv())
    return sys.modules['av']


def test_images_and_videos_of_a_complete_bag_need_no_server(
    export, copied, exported, usdz, tmp_path, encoder, capsys
):
    paths = {camera: copied / f'drive.{camera}.mp4' for camera in CAMERAS}
    # Of one that was ended.
    left_over = copied / f'drive.{CAMERAS[0]}.mp4.new'
    left_over.touch()
    export(options=['--resume', '--video', '--frames', tmp_path / 'images'])
    assert not left_over.exists()
    told = capsys.readouterr().err
    for camera, times in frame_times(usdz).items():
        assert f'drive.usdz: wrote {paths[camera]}\n' in told
        assert paths[camera].read_text() == 'encoded'
        stream, frames = encoder.videos.pop(str(paths[camera]))
        shown = [float(frame.pts * frame.time_base) for frame in frames]
        assert shown == pytest.approx([(t - times[0]) / 1e9 for t in times], abs=1e-5)
        images = sorted((exported.parent / 'images' / 'drive' / camera).iterdir())
        assert stream.pix_fmt == 'yuv420p'
        for frame, path in zip(frames, images, strict=True):
            again = tmp_path / 'images' / 'drive' / camera / path.name
            assert again.read_bytes() == path.read_bytes()
            image = np.asarray(cv2.imread(str(path)))
            # Both sides even.
            height, width = (side - side % 2 for side in image.shape[:2])
            assert (stream.width, stream.height) == (width, height)
            np.testing.assert_array_equal(frame.image, image[:height, :width])


def test_of_a_camera_without_images_there_is_no_video(export, make_server, encoder, usdz):
    bad = {(CAMERAS[1], t // 1000) for t in frame_times(usdz)[CAMERAS[1]]}
    out = export(make_server(failing(bad)), options=['--duration', '0.3', '--video'], ends=3)
    assert [*encoder.videos] == [str(out / f'drive.{CAMERAS[0]}.mp4')]


@pytest.mark.parametrize(
    ('option', 'words'),
    [
        (['--video'], f'{CAMERAS[0]}: the image at '),
        (['--frames', 'images'], 'the first image of a camera cannot be decoded'),
    ],
)
def test_an_image_that_is_none_is_one_sentence(
    export, make_server, tmp_path, monkeypatch, encoder, capsys, option, words
):
    """It begins and ends as a picture of its size does, which is all that an export looks at."""

    def render(request, _):
        whole = picture(request)
        return whole[:33] + bytes(len(whole) - 45) + whole[-12:]

    monkeypatch.chdir(tmp_path)
    export(make_server(render), options=[*option, '--duration', '0.1'], ends=3)
    assert words in capsys.readouterr().err


# --- another ego ---------------------------------------------------------------------------------

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
    topics = ('--topics', '~/odom', f'~/{CAMERAS[0]}/*')
    out = export(server, options=['--ego', path, *topics])
    odometry = [one for _, one in read(out / 'drive', '/nurec/odom', Odometry)]
    assert stamp_ns(odometry[0]) == scenario.start_ns
    assert stamp_ns(odometry[-1]) == middle_us * 1000
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


def test_the_ego_of_an_image_set_gives_the_same_pictures(export, make_server, first, exported):
    server = make_server()
    ego = exported.parent / 'images' / 'drive' / 'ego.csv'
    topics = ('--topics', '~/*/image_raw/compressed')
    export(server, options=['--ego', ego, *topics])

    def asked(requests):
        return {
            (r.camera_intrinsics.logical_id, r.frame_end_us): r.sensor_pose.end_pose.vec
            for r in requests
        }

    # The image set begins at the first frame, as the other export does then.
    before, now = asked(first[1]), asked(server.requests())
    assert before.keys() == now.keys()
    for key, at in before.items():
        assert (now[key].x, now[key].y, now[key].z) == pytest.approx((at.x, at.y, at.z), abs=1e-4)


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
def test_what_is_no_ego_is_one_sentence(export, tmp_path, capsys, text, words):
    path = tmp_path / 'ego.csv'
    path.write_text(text)
    export(options=['--ego', path], ends=1)
    printed = capsys.readouterr().err
    assert words in printed
    assert str(path) in printed
