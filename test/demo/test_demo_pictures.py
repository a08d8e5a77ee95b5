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
"""The contact sheet, the right image in the right cell; the overview, checked by its pixels."""

from __future__ import annotations

from itertools import combinations
import math
from typing import Any

import cv2
import numpy as np
from nurec_ros.demo import drawing, overview
from nurec_ros.demo.drawing import (
    CELL_WIDTH,
    draw_cloud,
    draw_contact_sheet,
    EMPTY,
    GAP,
    HEADING,
    MARGIN,
    moments,
    nearest,
    NIGHT,
    outline,
    PAPER,
    tick_labels,
    tick_seconds,
    TITLE,
)
from nurec_ros.demo.overview import draw_overview, Drive, EGO, RECORDED, RoadUser, WIDTH
from nurec_ros.palette import colour_of
import pytest
from scipy.spatial.transform import Rotation

S = 1_000_000_000


def coded(colour: tuple[int, int, int], size=(480, 270), suffix='.png') -> bytes:
    """Return an image of one colour (red, green, blue), encoded."""
    image = np.full((size[1], size[0], 3), colour[::-1], dtype=np.uint8)
    return cv2.imencode(suffix, image)[1].tobytes()


def cell(sheet: np.ndarray, row: int, column: int, height: int = 216) -> np.ndarray:
    top = MARGIN + TITLE + HEADING + row * (height + HEADING + GAP)
    left = MARGIN + column * (CELL_WIDTH + GAP)
    bottom, right = top + height, left + CELL_WIDTH
    return sheet[top:bottom, left:right]


def test_moments_are_spread_evenly_and_close_to_the_ends():
    assert moments(100 * S, 120 * S) == [100 * S + S // 2 + k * 19 * S // 4 for k in range(5)]
    assert moments(0, 40, 1) == [1]


@pytest.mark.parametrize(('t', 'expected'), [(-5, 0), (4, 0), (6, 10), (10, 10), (99, 30)])
def test_nearest_is_the_nearest(t: int, expected: int):
    entries = [(stamp, b'') for stamp in (0, 10, 20, 30)]
    assert nearest(entries, t) == (expected, b'')
    assert nearest([], t) is None


def test_each_cell_shows_its_camera_at_its_moment():
    times = [0, 5 * S, 10 * S]
    images = {
        f'camera_{row}': [(t, coded((40 * row + 20, 60, 200 - 8 * (t // S)))) for t in times]
        for row in range(4)
    }
    sheet = draw_contact_sheet(images, times, begin_ns=0, title='a drive')
    end = MARGIN + TITLE + 4 * (216 + HEADING + GAP) - GAP
    assert sheet.dtype == np.uint8
    # Nothing hangs over.
    assert sheet.shape == (end + MARGIN, 2 * MARGIN + 3 * CELL_WIDTH + 2 * GAP, 3)
    for row in range(4):
        for column, t in enumerate(times):
            assert np.all(cell(sheet, row, column) == (40 * row + 20, 60, 200 - 8 * (t // S)))


def test_cells_of_what_is_not_exact_missing_broken_or_of_another_shape():
    images = {
        'broken': [(0, b'not an image')],
        'nearest': [(1, coded((250, 0, 0))), (6 * S, coded((0, 250, 0)))],
        'silent': [],
        'square': [(0, coded((0, 200, 0), (300, 300)))],
        'jpeg': [(0, coded((30, 140, 220), suffix='.jpg'))],
    }
    sheet = draw_contact_sheet(images, [2 * S, 4 * S], begin_ns=0, title='')
    assert np.all(cell(sheet, 0, 0) == EMPTY)
    assert np.all(cell(sheet, 1, 0) == (250, 0, 0))
    assert np.all(cell(sheet, 1, 1) == (0, 250, 0))
    assert np.all(cell(sheet, 2, 0) == EMPTY)
    square = cell(sheet, 3, 0)
    green = np.all(square == (0, 200, 0), axis=2)
    assert np.any(green, axis=1).sum() == np.any(green, axis=0).sum() == 216
    assert np.all(square[:, 0] == EMPTY)
    assert np.abs(cell(sheet, 4, 0).astype(int) - (30, 140, 220)).max() <= 4


def lit(image: np.ndarray) -> set[tuple[int, int]]:
    """Return columns and rows of what is not the dark ground."""
    rows, columns = np.nonzero(np.any(image != NIGHT, axis=2))
    return set(zip(columns.tolist(), rows.tolist(), strict=True))


def test_points_are_seen_from_above_with_the_ego_in_the_middle():
    """Take 72 m over a width of 144: two pixels a metre, ahead to the right, left upwards."""
    street = np.array([[10.25, 5.25, 0.0, 0], [-30.25, -20.25, 0.1, 0.2], [400.0, 0.0, 0.0, 0]])
    assert lit(draw_cloud(street, (144, 100))) == {(92, 39), (11, 90)}
    raised = np.array([[10.25, 5.25, 1.0, 0.5]])
    assert lit(draw_cloud(raised, (144, 100))) == {(92, 39), (93, 39), (92, 40)}
    box = draw_cloud(street[:0], (144, 100), (1.5, 0.0, 5.0, 2.0))
    columns, rows = np.array(sorted(lit(box))).T
    # From 1 m behind to 4 m ahead, 1 m to both sides.
    assert (columns.min(), columns.max()) == pytest.approx((70, 80), abs=1)
    assert (rows.min(), rows.max()) == pytest.approx((48, 52), abs=1)


def test_of_a_place_the_highest_point_is_seen_or_the_brightest_of_the_street():
    street, paint = [5.0, 5.0, 0.0, 0.05], [5.0, 5.0, -0.1, 0.6]
    low, high = [5.0, 5.0, 1.0, 0.9], [5.0, 5.0, 3.0, 0.1]
    alone = [draw_cloud(np.array([one]), (144, 100)) for one in (street, paint, low, high)]
    for hidden, seen in ((0, 1), (1, 2), (2, 3)):
        assert not np.array_equal(alone[hidden], alone[seen])
        both = np.array([street, paint, low, high])[[hidden, seen]]
        for order in (both, both[::-1]):
            assert np.array_equal(draw_cloud(order, (144, 100)), alone[seen])
    # Grey: paint shines.
    brightness = [alone[k][39:41, 81:83].max(axis=(0, 1)).astype(int) for k in (0, 1)]
    assert (brightness[1] > brightness[0] + 120).all()


def test_clouds_are_rows_below_the_cameras():
    clouds = {'lidar': [(0, np.array([[5.0, 5.0, 1.0, 0.5]])), (9 * S, np.zeros((0, 4)))]}
    images = {'camera': [(0, coded((200, 0, 0)))]}
    sheet = draw_contact_sheet(images, [S, 8 * S], begin_ns=0, title='', clouds=clouds)
    assert np.all(cell(sheet, 0, 0) == (200, 0, 0))
    assert lit(cell(sheet, 1, 0))
    assert not lit(cell(sheet, 1, 1)), 'an empty cloud, not the other one'


def test_no_cameras_make_a_sheet_of_a_title():
    sheet = draw_contact_sheet({}, [0, 1], begin_ns=0, title='a drive without cameras')
    assert sheet.shape[0] > TITLE
    assert sheet.min() < 100, 'the title is written'


def straight_drive(users: dict[tuple[str, int], RoadUser] | None = None, *, yaw: float = 0.0):
    """Return 100 m in 10 s in one direction; the ego's box is 4 m by 2 m about the origin."""
    t = np.linspace(0, 10, 101)
    along = np.column_stack([10 * t * math.cos(yaw), 10 * t * math.sin(yaw)])
    poses = np.column_stack([along, np.full(101, yaw)])
    times_ns = (t * 1e9).astype(np.int64)
    return Drive(
        path_ns=times_ns,
        path=poses,
        odometry_ns=times_ns,
        odometry=poses.copy(),
        ego_box=(0.0, 0.0, 4.0, 2.0),
        road_users=users or {},
        images={},
    )


def overview_of(drive: Drive, title: str = '', **more: Any) -> np.ndarray:
    return draw_overview(drive, title=title, span_ns=(0, 10 * S), **more)


def way(
    label: str, size: tuple[float, float], poses: list[tuple[float, float, float]]
) -> RoadUser:
    times = [round(k * 10 * S / max(1, len(poses) - 1)) for k in range(len(poses))]
    return RoadUser(label, size, times, poses)


class Finder:
    """Places in the picture, found from the picture: the path's ends give scale and origin."""

    def __init__(self, image: np.ndarray) -> None:
        end = image.shape[0] - 80
        map_part = image[90:end]
        near = np.abs(map_part.astype(int) - EGO).sum(axis=2) < 60
        rows = near.sum(axis=1)
        self.row = 90 + float(np.flatnonzero(rows > rows.max() / 2).mean())
        columns = np.flatnonzero(near[round(self.row) - 90])
        # From the rear of the box at the beginning to the front of the one at the end.
        self.scale = (columns.max() - columns.min()) / 104
        self.left = columns.min() + 2 * self.scale
        self.image = image

    def at(self, along: float, left: float) -> np.ndarray:
        """Return the mean colour about a place: metres along the path, metres to its left."""
        x, y = self.left + along * self.scale, self.row - left * self.scale
        rows = slice(round(y) - 1, round(y) + 2)
        columns = slice(round(x) - 1, round(x) + 2)
        return self.image[rows, columns].reshape(-1, 3).mean(axis=0)


def is_near(colour: np.ndarray, other: tuple[int, int, int], tolerance: float = 25) -> bool:
    return bool(np.abs(colour - np.array(other)).max() < tolerance)


@pytest.mark.parametrize('yaw', [0.3, -2.5])
def test_outline_is_a_turned_rectangle(yaw: float):
    corners = outline((3.0, -2.0, yaw), (1.4, 0.2, 5.0, 2.0))
    turn = Rotation.from_euler('z', yaw).as_matrix()[:2, :2]
    local = np.array([[3.9, 1.2], [3.9, -0.8], [-1.1, -0.8], [-1.1, 1.2]])
    assert np.allclose(corners, local @ turn.T + [3.0, -2.0])


@pytest.fixture(scope='module')
def plain() -> np.ndarray:
    """Return the overview of a drive alone on its street."""
    return overview_of(straight_drive(), 'title')


def test_a_drive_fills_the_picture_and_the_ego_is_black_in_its_middle(plain):
    assert plain.shape[1] == WIDTH
    assert 600 < plain.shape[0] < 1400
    find = Finder(plain)
    # 100 m and 32 m at both ends across the width less margins.
    assert find.scale == pytest.approx((WIDTH - 56) / 164, rel=0.02)
    assert is_near(find.at(49.0, 0.8), (20, 24, 30), 40)
    assert not is_near(find.at(54.0, 0.8), (20, 24, 30), 100)


def test_boxes_are_where_they_were_at_the_middle():
    moving = way('automobile', (6.0, 4.0), [(20.0, 9.0, 0.0), (40.0, 9.0, 0.0), (60.0, 9.0, 0.0)])
    standing = way('bus', (12.0, 4.0), [(70.0, -9.0, 0.0)] * 3)
    gone = way('rider', (8.0, 4.0), [(10.0, 15.0, 0.0), (30.0, 15.0, 0.0)])
    gone.times_ns = [0, 2 * S]
    users = {('automobile', 1): moving, ('bus', 2): standing, ('rider', 3): gone}
    find = Finder(overview_of(straight_drive(users)))
    assert is_near(find.at(38.5, 10.2), colour_of('automobile'))
    assert not is_near(find.at(21.0, 10.5), colour_of('automobile'), 60)
    pale = find.at(70.0, -8.0)
    assert not is_near(pale, colour_of('bus'), 15), 'standing ones are paler'
    assert pale[1] > pale[0], 'but of the same colour'
    assert is_near(find.at(20.0, 16.5), (250, 250, 248), 12), 'the one that is gone left a line'
    assert not is_near(find.at(20.0, 15.0), (250, 250, 248), 12)


def test_a_driven_drive_shows_where_the_recording_was(plain):
    """Drive 6 m to the right of the recording, which is a second ahead."""
    drive = straight_drive()
    drive.path_ns = drive.path_ns - S
    drive.odometry[:, 1] = -6.0
    drive.is_driven = True
    find = Finder(overview_of(drive))
    # What is found is the driven path; the recorded one is to its left.
    assert is_near(find.at(30.0, 0.0), EGO, 40)
    assert is_near(find.at(30.0, 6.0), RECORDED, 40)
    # At the middle of the drive: a full box here, an outline 10 m farther there.
    assert is_near(find.at(49.0, 0.8), EGO, 40)
    assert is_near(find.at(58.0, 6.0), RECORDED, 40)
    assert is_near(find.at(60.0, 7.0), RECORDED, 60)
    assert is_near(find.at(59.0, 6.5), PAPER, 25)
    # The legend's square of 14 by 13.
    assert (np.abs(find.image[-90:].astype(int) - RECORDED).max(axis=2) < 12).sum() > 150
    assert not np.any(np.all(plain == RECORDED, axis=2)), 'no such thing in a recorded drive'


def test_the_legend_says_what_paler_boxes_are(monkeypatch):
    """Compare the squares before the words with boxes of the picture."""
    written: dict[str, tuple[float, float]] = {}

    def put_text(image, text, place, **style):
        written[text] = place
        drawing.put_text(image, text, place, **style)

    monkeypatch.setattr(overview, 'put_text', put_text)
    standing = way('bus', (12.0, 4.0), [(70.0, -9.0, 0.0)] * 2)
    find = Finder(overview_of(straight_drive({('bus', 1): standing})))
    for text, box in (
        ('ego', find.at(49.0, 0.8)),
        ('ego at begin and end', find.at(-1.0, 0.7)),
        ('bus 1', colour_of('bus')),
        ('paler: standing', find.at(70.0, -9.0)),
    ):
        # Written in a picture twice as large.
        left, below = (round(value / 2) for value in written[text])
        rows, columns = slice(below - 9, below - 4), slice(left - 18, left - 12)
        square = find.image[rows, columns]
        assert is_near(square.reshape(-1, 3).mean(axis=0), box, 4), text
    written.clear()
    moving = way('bus', (12.0, 4.0), [(0.0, 9.0, 0.0), (9.0, 9.0, 0.0)])
    drive = straight_drive({('bus', 1): moving})
    drive.ego_box = None
    overview_of(drive)
    assert not written.keys() & {'ego at begin and end', 'paler: standing'}


def test_lanes_are_drawn(plain):
    lane = np.array([[0.0, 5.0, 0.0], [100.0, 5.0, 0.0]])
    find = Finder(overview_of(straight_drive(), lanes=[lane]))
    assert not is_near(find.at(33.0, 5.0), (250, 250, 248), 8)
    assert is_near(Finder(plain).at(33.0, 5.0), (250, 250, 248), 8)


def test_a_drive_along_y_is_turned_and_keeps_its_sides():
    left = way('person', (4.0, 4.0), [(-9.0, 50.0, 0.0)] * 2)
    drive = straight_drive({('person', 1): left}, yaw=math.pi / 2)
    find = Finder(overview_of(drive))
    assert find.scale == pytest.approx((WIDTH - 56) / 164, rel=0.02)
    # To the left of the way there, above the path here.
    assert find.at(50.0, 9.0)[0] > find.at(50.0, 9.0)[1] + 40
    assert is_near(find.at(50.0, -9.0), (250, 250, 248), 12)


def test_a_drive_that_stands_still_is_drawn_and_one_of_which_little_is_known():
    drive = straight_drive()
    drive.path[:], drive.odometry[:] = drive.path[:1], drive.odometry[:1]
    assert overview_of(drive, 'standing').shape[1] == WIDTH
    drive = straight_drive()
    drive.ego_box = None
    drive.path_ns, drive.path = drive.path_ns[:0], drive.path[:0]
    assert overview_of(drive).shape[1] == WIDTH


def test_old_opencv_writes_with_strokes(monkeypatch):
    monkeypatch.setattr(drawing, 'FACE', None)
    image = np.full((60, 600, 3), 255, dtype=np.uint8)
    drawing.put_text(image, 'camera_front 12.5 s', (10, 40), size=26, weight=drawing.BOLD)
    width = drawing.text_width('camera_front 12.5 s', size=26, weight=drawing.BOLD)
    inked = np.flatnonzero((image < 128).any(axis=(0, 2)))
    assert inked.max() - 10 == pytest.approx(width, abs=12)


# --- times along the path ------------------------------------------------------------------------


def view(points: np.ndarray) -> np.ndarray:
    return np.column_stack([points[:, 0] * 20 + 500, 500 - points[:, 1] * 20])


@pytest.mark.parametrize(
    ('duration', 'expected'),
    [
        (12.0, [0, 5, 10, 12]),
        (10.0, [0, 5, 10]),
        (10.04, [0, 5, 10.04]),
        (3.0, [0, 3]),
        (0.0, [0]),
    ],
)
def test_every_five_seconds_and_the_end(duration: float, expected: list[float]):
    assert tick_seconds(duration) == expected


@pytest.mark.parametrize(
    ('pose_at', 'duration', 'expected'),
    [
        # It goes on.
        (lambda s: (10 * s, 0.0, 0.0), 20.1, ['0 s', '10 s', '15 s', '20.1 s', '5 s']),
        # Where it stands at first the begin is labelled, where it stands at last the end.
        (lambda s: (10 * max(0.0, s - 6), 0.0, 0.0), 20.0, ['0 s', '10 s', '15 s', '20 s']),
        (lambda s: (10 * min(s, 9.0), 0.0, 0.3), 20.0, ['0 s', '20 s', '5 s']),
        # One that stands has both, on both sides.
        (lambda _: (0.0, 0.0, 0.7), 20.0, ['0 s', '20 s']),
    ],
)
def test_times_are_labelled_where_there_is_room(pose_at, duration, expected):
    labels = tick_labels(tick_seconds(duration), pose_at, view, 34)
    for one, other in combinations(labels, 2):
        a, b = one.ground, other.ground
        apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        assert apart, (one.text, other.text)
    assert sorted(label.text for label in labels) == expected
