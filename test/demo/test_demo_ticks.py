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
"""The times at the ego's path: which are there, and none over another."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from nurec_ros.demo.ticks import tick_labels, tick_seconds
import pytest


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


def texts(pose_at, duration: float) -> list[str]:
    labels = tick_labels(tick_seconds(duration), pose_at, view, 34)
    for one, other in combinations(labels, 2):
        a, b = one.ground, other.ground
        apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        assert apart, (one.text, other.text)
    return sorted(label.text for label in labels)


def test_a_drive_that_goes_on_has_all_of_them():
    assert texts(lambda s: (10 * s, 0.0, 0.0), 20.1) == ['0 s', '10 s', '15 s', '20.1 s', '5 s']


def test_where_the_ego_stands_at_first_the_begin_is_labelled():
    found = texts(lambda s: (10 * max(0.0, s - 6), 0.0, 0.0), 20.0)
    assert found == ['0 s', '10 s', '15 s', '20 s']


def test_where_it_stands_at_last_the_end_is_labelled():
    assert texts(lambda s: (10 * min(s, 9.0), 0.0, 0.3), 20.0) == ['0 s', '20 s', '5 s']


def test_one_that_stands_has_begin_and_end_on_both_sides():
    assert texts(lambda _: (0.0, 0.0, 0.7), 20.0) == ['0 s', '20 s']
