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
"""Image sets and videos, against what was rendered and where things are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import csv
import importlib.util
import json
from pathlib import Path
import sys
from test.export.conftest import picture
from test.export.test_export_bags import frame_times
from test.support.archives import build_archive, CAMERAS
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from nurec_ros.export.data_sets import box_2d, edge_points, ImageView
from nurec_ros.scenario import Scenario
from nurec_ros.scenario.cameras.opencv import PinholeCamera
import pytest
from scipy.spatial.transform import Rotation


def pinhole() -> PinholeCamera:
    """Return a lens of 200 by 100 pixels with a focal length of 100 and its axis in the middle."""
    return PinholeCamera(
        resolution=(200, 100), principal_point=(99.5, 49.5), focal_length=(100.0, 100.0)
    )


def seen(centre, dims):
    """Return the 2D box of an upright box in optical coordinates."""
    T = np.eye(4)
    T[:3, 3] = centre
    return box_2d(ImageView.of(pinhole()), np.eye(4), T, np.array(dims, dtype=float))


def test_a_box_ahead_is_as_large_as_its_near_face():
    # Its near face is 9 m away: 100 px * 1 m / 9 m to each side.
    expected = (99.5 - 100 / 9, 49.5 - 100 / 9, 99.5 + 100 / 9, 49.5 + 100 / 9)
    assert seen((0, 0, 10), (2, 2, 2)) == pytest.approx(expected, abs=0.01)


def test_a_box_is_clipped_to_the_image_and_nothing_where_it_is_out_of_it():
    left, top, right, bottom = seen((10, 0, 10), (4, 2, 2))
    assert (right, left) == (199.5, pytest.approx(99.5 + 100 * 8 / 11, abs=0.01))
    assert top < 49.5 < bottom
    assert seen((30, 0, 10), (2, 2, 2)) is None
    assert seen((0, 0, -10), (2, 2, 2)) is None


def test_what_is_out_of_the_image_does_not_make_a_box_larger():
    """A wall 4 m to the right, 2 m high, of which the image begins to see 4 m ahead."""
    assert seen((4, 0, 11), (0, 2, 18)) == pytest.approx((119.5, 24.5, 199.5, 74.5), abs=0.5)
    # From behind the camera on, too, where its edges have no pixel.
    assert seen((4, 0, 0), (0, 2, 40)) == pytest.approx((119.5, 24.5, 199.5, 74.5), abs=0.5)


def test_a_box_may_be_all_that_is_seen():
    assert seen((0, 0, 3), (20, 20, 4)) == (-0.5, -0.5, 199.5, 99.5)
    # The camera is in it.
    assert seen((0, 0, 0), (2, 2, 2)) == (-0.5, -0.5, 199.5, 99.5)
    assert seen((0, 0, -3), (20, 20, 4)) is None


def test_the_points_lie_on_all_twelve_edges():
    points = edge_points(np.eye(4), np.array([4.0, 2.0, 1.0]))[:, :3]
    at_end = np.isclose(np.abs(points), [2.0, 1.0, 0.5])
    assert (at_end.sum(axis=1) >= 2).all()
    ends = {tuple(np.sign(point)) for point in points[at_end.all(axis=1)]}
    assert len(ends) == 8


def test_an_image_set(exported: Path, usdz: Path):
    images = exported / 'images'
    scenario, folder = Scenario.load(usdz), images / 'drive'
    times = frame_times(usdz)
    cameras = json.loads((folder / 'cameras.json').read_text())
    assert set(cameras) == set(CAMERAS)
    for camera in CAMERAS:
        paths = sorted((folder / camera).iterdir())
        assert [int(path.stem) for path in paths] == times[camera]
        image = cv2.imread(str(paths[0]))
        known = cameras[camera]
        assert image.shape[:2] == (known['height'], known['width'])
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
    for line in lines:
        ids = [track['id'] for track in line['tracks']]
        assert ids == list(scenario.tracks.active_ids(line['stamp_ns']))


def seen_of(camera, known, T_map_rig, track):
    """Return the 2D box of what is in the image of points all over a track's box, None of none."""
    size = known['width'], known['height']
    model = camera.model.resized(*size)
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


def test_boxes_are_those_of_what_is_in_the_image(exported, usdz):
    """Of all tracks at some moments, whether the image holds all of them or not."""
    images = exported / 'images'
    scenario = Scenario.load(usdz)
    cameras = json.loads((images / 'drive' / 'cameras.json').read_text())
    lines = (images / 'drive' / 'tracks.jsonl').read_text().splitlines()
    looked_at = 0
    for text in lines[::8]:
        line = json.loads(text)
        T_map_rig = scenario.ego.pose(line['stamp_ns']).matrix
        for track in line['tracks']:
            for name, box in track['boxes_2d'].items():
                known = cameras[name]
                assert -0.5 <= box[0] <= box[2] <= known['width'] - 0.5
                assert -0.5 <= box[1] <= box[3] <= known['height'] - 0.5
                expected = seen_of(scenario.cameras[name], known, T_map_rig, track)
                assert box == pytest.approx(expected, abs=0.5)
                looked_at += 1
    assert looked_at > 5


def test_images_of_a_complete_bag_without_a_server(export, copied, tmp_path):
    images = tmp_path / 'images'
    assert export(options=['--resume', '--frames', images])[0] == 0
    assert list((images / 'drive' / CAMERAS[0]).glob('*.png'))


def test_images_of_a_bag_of_decoded_ones_have_the_same_pixels(
    export, exported, make_server, tmp_path
):
    images = tmp_path / 'images'
    options = ['--topics', '/tf', '~/*/image_raw', '--frames', images]
    assert export(make_server(), options=options)[0] == 0
    of_encoded = sorted((exported / 'images' / 'drive' / CAMERAS[0]).iterdir())
    of_decoded = sorted((images / 'drive' / CAMERAS[0]).iterdir())
    assert [path.name for path in of_decoded] == [path.name for path in of_encoded]
    for first, second in zip(of_encoded, of_decoded, strict=True):
        np.testing.assert_array_equal(cv2.imread(str(first)), cv2.imread(str(second)))


@pytest.mark.skipif(importlib.util.find_spec('av') is None, reason='needs PyAV')
def test_a_video_shows_each_image_at_its_time(export, copied, usdz):
    import av

    assert export(options=['--resume', '--video'])[0] == 0
    for camera, times in frame_times(usdz).items():
        with av.open(str(copied / f'drive.{camera}.mp4')) as container:
            shown = [float(frame.time) for frame in container.decode(video=0)]
        expected = [(t - times[0]) / 1e9 for t in times]
        assert shown == pytest.approx(expected, abs=1e-4)


class FakeAv:
    """PyAV (36 MB), as far as it is used: what it encodes is written down."""

    VideoFrame = SimpleNamespace(from_ndarray=lambda image, **_: SimpleNamespace(image=image))

    def __init__(self) -> None:
        self.open = self._open
        self.written: dict[str, list[Any]] = {}
        self.streams: list[Any] = []

    @contextmanager
    def _open(self, path: str, mode: str, **form: str) -> Iterator[Any]:
        # Of the name's end, which is another one, PyAV could not tell.
        assert (mode, form, Path(path).exists()) == ('w', {'format': 'mp4'}, False)
        frames: list[Any] = []
        # It keeps the last frame back until it is told that none follows.
        stream = SimpleNamespace(codec_context=SimpleNamespace(), kept=[])

        def encode(frame: Any = None) -> list[Any]:
            ready, stream.kept = stream.kept, [] if frame is None else [frame]
            return ready

        stream.encode = encode
        self.streams.append(stream)
        yield SimpleNamespace(add_stream=lambda codec, rate: stream, mux=frames.extend)
        Path(path).write_text('encoded')
        self.written[path.removesuffix('.new')] = frames


def test_a_video_is_made_of_each_image_and_its_time(
    export, copied, exported, usdz, monkeypatch, capsys
):
    encoder = FakeAv()
    monkeypatch.setitem(sys.modules, 'av', encoder)
    paths = {camera: copied / f'drive.{camera}.mp4' for camera in CAMERAS}
    # Of one that was ended.
    left_over = copied / f'drive.{CAMERAS[0]}.mp4.new'
    left_over.touch()
    assert export(options=['--resume', '--video'])[0] == 0
    assert not left_over.exists()
    told = capsys.readouterr().err
    for (camera, times), stream in zip(frame_times(usdz).items(), encoder.streams, strict=True):
        assert f'drive.usdz: wrote {paths[camera]}\n' in told
        assert paths[camera].read_text() == 'encoded'
        frames = encoder.written[str(paths[camera])]
        shown = [float(frame.pts * frame.time_base) for frame in frames]
        assert shown == pytest.approx([(t - times[0]) / 1e9 for t in times], abs=1e-5)
        images = sorted((exported / 'images' / 'drive' / camera).iterdir())
        assert stream.pix_fmt == 'yuv420p'
        for frame, path in zip(frames, images, strict=True):
            image = np.asarray(cv2.imread(str(path)))
            # Both sides even.
            height, width = (side - side % 2 for side in image.shape[:2])
            assert (stream.width, stream.height) == (width, height)
            np.testing.assert_array_equal(frame.image, image[:height, :width])


def test_of_a_camera_without_images_there_is_no_video(export, make_server, monkeypatch):
    encoder = FakeAv()
    monkeypatch.setitem(sys.modules, 'av', encoder)
    options = ['--topics', f'~/{CAMERAS[0]}/*', '--duration', '0.3', '--video']
    code, out = export(make_server(), options=options)
    assert code == 0
    assert [*encoder.written] == [str(out / f'drive.{CAMERAS[0]}.mp4')]


@pytest.mark.parametrize(
    ('option', 'words'),
    [
        ('--video', f'{CAMERAS[0]}: the image at '),
        ('--frames', 'the first image of a camera cannot be decoded'),
    ],
)
def test_an_image_that_is_none_is_one_sentence(
    export, make_server, tmp_path, monkeypatch, capsys, option, words
):
    """It begins and ends as a picture of its size does, which is all that an export looks at."""

    def render(request, _):
        whole = picture(request)
        return whole[:33] + bytes(len(whole) - 45) + whole[-12:]

    monkeypatch.setitem(sys.modules, 'av', FakeAv())
    server = make_server(render)
    options = [option, *([tmp_path / 'images'] if option == '--frames' else [])]
    assert export(server, options=[*options, '--duration', '0.3'])[0] in (1, 3)
    assert words in capsys.readouterr().err


def test_video_without_pyav_is_a_sentence(export, make_server, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'av', None)
    assert export(make_server(), options=['--video'])[0] == 1
    assert '--video needs PyAV: pip install av' in capsys.readouterr().err


def test_a_camera_that_is_not_exported_has_no_images(export, make_server, tmp_path):
    path = build_archive(tmp_path, 'other.usdz')
    images = tmp_path / 'images'
    options = ['--frames', images, '--cameras', CAMERAS[0]]
    assert export(make_server(), files=[path], options=options)[0] == 0
    assert not (images / 'other' / CAMERAS[1]).exists()
    assert set(json.loads((images / 'other' / 'cameras.json').read_text())) == {CAMERAS[0]}
