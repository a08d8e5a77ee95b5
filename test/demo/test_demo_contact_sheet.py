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
"""The contact sheet: the right image in the right cell."""

from __future__ import annotations

import cv2
import numpy as np
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
    TITLE,
)
import pytest

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
    times = moments(100 * S, 120 * S)
    assert len(times) == 5
    assert times[0] == 100 * S + S // 2
    assert times[-1] == 120 * S - S // 2
    assert len(set(np.diff(times))) == 1
    assert moments(0, 40, 1) == [1]


@pytest.mark.parametrize(
    ('t', 'expected'), [(-5, 0), (0, 0), (4, 0), (6, 10), (10, 10), (24, 20), (26, 30), (99, 30)]
)
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
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] == 2 * MARGIN + 3 * CELL_WIDTH + 2 * GAP
    for row in range(4):
        for column, t in enumerate(times):
            assert np.all(cell(sheet, row, column) == (40 * row + 20, 60, 200 - 8 * (t // S)))
    end = MARGIN + TITLE + 4 * (216 + HEADING + GAP) - GAP
    assert sheet.shape[0] == end + MARGIN, 'nothing hangs over'


def test_the_nearest_image_is_shown_where_none_is_exact():
    images = {'camera': [(1, coded((250, 0, 0))), (6 * S, coded((0, 250, 0)))]}
    sheet = draw_contact_sheet(images, [2 * S, 4 * S], begin_ns=0, title='')
    assert np.all(cell(sheet, 0, 0) == (250, 0, 0))
    assert np.all(cell(sheet, 0, 1) == (0, 250, 0))


def test_missing_and_broken_images_leave_empty_cells():
    images = {'silent': [], 'broken': [(0, b'not an image')], 'good': [(0, coded((9, 9, 9)))]}
    sheet = draw_contact_sheet(images, [0], begin_ns=0, title='')
    assert np.all(cell(sheet, 0, 0) == EMPTY)
    assert np.all(cell(sheet, 1, 0) == EMPTY)
    assert np.all(cell(sheet, 2, 0) == (9, 9, 9))


def test_other_shapes_keep_theirs():
    images = {
        'wide': [(0, coded((200, 0, 0)))],
        'square': [(0, coded((0, 200, 0), (300, 300)))],
    }
    sheet = draw_contact_sheet(images, [0], begin_ns=0, title='')
    square = cell(sheet, 1, 0)
    green = np.all(square == (0, 200, 0), axis=2)
    rows, columns = np.any(green, axis=1).sum(), np.any(green, axis=0).sum()
    assert rows == columns == 216
    assert np.all(square[:, 0] == EMPTY)


def test_jpeg_is_shown_as_well_as_png():
    images = {'camera': [(0, coded((30, 140, 220), suffix='.jpg'))]}
    sheet = draw_contact_sheet(images, [0], begin_ns=0, title='')
    assert np.abs(cell(sheet, 0, 0).astype(int) - (30, 140, 220)).max() <= 4


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
