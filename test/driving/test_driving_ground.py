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
"""The recorded ground, the deviation, and the driven path."""

import math
from test.driving.drives import (
    after,
    by_heading,
    euler,
    level_circle,
    SECOND,
    straight,
    T0,
    turning,
)
from test.driving.drives import ego as trajectory

import numpy as np
from nurec_ros.driving import RecordedPath, TwistCommand
import pytest
from scipy.spatial.transform import Rotation


def test_a_ramp_gives_height_and_tilt_beyond_its_ends_too_whichever_way_one_heads():
    uphill = math.radians(6.0)
    path = RecordedPath(straight(speed=5.0, seconds=4.0, yaw=0.7, pitch=uphill, start=(3, 4, 5)))
    up = Rotation.from_euler('ZYX', (0.7, -uphill, 0.0)).as_matrix()[:, 2]
    for way in (-30.0, -0.01, 0.0, 7.77, 19.99, 20.0, 55.0):
        for beside in (-2.0, 0.0, 3.0):
            x = 3 + way * math.cos(0.7) - beside * math.sin(0.7)
            y = 4 + way * math.sin(0.7) + beside * math.cos(0.7)
            s_m = path.nearest(x, y)
            assert s_m == pytest.approx(way, abs=1e-9)
            for turned in (0.7, 0.4, math.pi / 2, math.pi, -2.0):
                position, quaternion = path.on_ground(x, y, turned, s_m)
                at = (x, y, 5 + way * math.tan(uphill))
                np.testing.assert_allclose(position, at, atol=1e-9)
                axes = Rotation.from_quat(quaternion).as_matrix()
                np.testing.assert_allclose(axes[:, 2], up, atol=1e-12)
                off = math.atan2(axes[1, 0], axes[0, 0]) - turned
                assert math.remainder(off, math.tau) == pytest.approx(0.0, abs=1e-12)
            found = path.deviation(x, y, 0.7 + 0.2, s_m)
            assert found.lateral_m == pytest.approx(beside, abs=1e-9)
            assert found.heading_deg == pytest.approx(math.degrees(0.2))


def test_a_turning_ramp_is_driven_up():
    radius, speed, bank = 15.0, 4.0, 0.05
    # Twice around: the lower and the upper turn lie above one another.
    angle = np.linspace(0.0, 2 * math.tau, 800)
    slope = math.atan2(12.0, 2 * math.tau * radius)
    recorded = trajectory(
        np.column_stack((radius * np.cos(angle), radius * np.sin(angle), np.linspace(0, 12, 800))),
        Rotation.from_euler(
            'ZYX',
            np.column_stack((angle + math.pi / 2, np.full(800, -slope), np.full(800, bank))),
        ),
    )
    ego = turning(speed, speed / radius, recorded)
    for seconds in (1.0, 12.3, 23.56, 30.0, 45.0):
        found, turned = after(ego, seconds), speed * seconds / radius
        assert found.position[2] == pytest.approx(12.0 * turned / (2 * math.tau), abs=5e-3)
        yaw, pitch, roll = euler(found)
        assert math.remainder(yaw - turned - math.pi / 2, math.tau) == pytest.approx(0, abs=3e-3)
        assert pitch == pytest.approx(-slope, abs=1e-3)
        assert roll == pytest.approx(0.05, abs=1e-3)


def test_a_path_that_crosses_itself_is_no_trap():
    # A figure of eight whose branches cross at the origin, one at 0 m, one at a height of 5 m.
    angle = np.linspace(0.0, math.tau, 1200)
    xy = np.column_stack((40 * np.sin(angle), 20 * np.sin(2 * angle)))
    heights = 2.5 * (1 - np.cos(angle))
    recorded = by_heading(xy, heights, hz=50.0)
    for start, height in ((0.1, 0.0), (math.pi + 0.1, 5.0)):
        row = int(np.searchsorted(angle, start))
        at_ns = int(recorded.times_ns[row])
        # Back over the crossing, straight, in reverse.
        ego = turning(-5.0, 0.0, recorded, at_ns)
        t_ns = at_ns + 2 * SECOND
        ego.advance_to(t_ns)
        assert ego.pose(t_ns).position[2] == pytest.approx(height, abs=0.3)


def test_a_hairpin_is_no_trap():
    # Two lanes 2 m apart, the way back 3 m higher.
    there = np.column_stack((np.arange(0, 80.0), np.zeros(80), np.zeros(80)))
    angles = np.linspace(-math.pi / 2, math.pi / 2, 12)
    turn = np.column_stack(
        (80 + np.cos(angles), 1 + np.sin(angles), np.linspace(0.0, 3.0, len(angles)))
    )
    back = np.column_stack((np.arange(79.0, -1, -1), np.full(80, 2.0), np.full(80, 3.0)))
    whole = np.vstack((there, turn, back))
    recorded = by_heading(whole[:, :2], whole[:, 2])
    # Drift over to where the other lane is nearer, long before the hairpin: still on the first.
    ego = turning(10.0, 0.08, recorded)
    x, y, z = after(ego, 2.0).position
    assert y > 1.0 + 0.4
    assert z == 0.0
    assert ego.deviation(ego.passed_ns).lateral_m == pytest.approx(y)
    # From the way back, the same place belongs to the other lane.
    row = len(there) + len(turn) + 79 - round(x)
    ego = turning(0.0, 0.0, recorded, int(recorded.times_ns[row]))
    assert ego.pose(ego.passed_ns).position[2] == 3.0


def test_a_path_of_just_a_metre_is_judged_by_the_sum_that_its_length_is():
    # numpy's sum of these steps is 1, and adding one after the other leads to a little less.
    x = [0.0, 0.102, 0.231, 0.335, 0.462, 0.572, 0.681, 0.858, 1.0]
    positions = np.column_stack((x, np.zeros(9), np.zeros(9)))
    path = RecordedPath(trajectory(positions, Rotation.from_euler('Z', np.zeros((9, 1)))))
    assert path.is_point
    assert path.length_m == 0.0


def test_a_short_path_is_a_point():
    still = np.random.default_rng(5).uniform(-0.01, 0.01, (50, 3))
    rows = [0.11 * np.arange(count)[:, np.newaxis] * (1, 0, 0) for count in (1, 2, 9)]
    for positions in (still - still[0], *rows):
        yaws = Rotation.from_euler('Z', np.zeros((len(positions), 1)))
        path = RecordedPath(trajectory(positions, yaws))
        assert path.is_point
        assert path.length_m == 0.0
        assert path.nearest(3.0, 4.0, 0.0) == path.nearest(3.0, 4.0) == 0.0
        assert path.at_time(T0 + SECOND) == 0.0
        # Nothing says which way leads on: the whole distance counts.
        assert path.deviation(3.0, -4.0, 0.0, 0.0).lateral_m == -5.0
    stood = trajectory(np.array((7.0, 8.0, 9.0)) + still, Rotation.from_euler('Z', [[0.3]] * 50))
    ego = turning(5.0, 0.0, stood)
    assert after(ego, 2.0).position[2] == pytest.approx(9.0, abs=0.02)
    assert abs(ego.deviation(ego.passed_ns).lateral_m) == pytest.approx(10.0, abs=0.1)


def test_a_reversed_recording_has_its_own_left():
    # It backs eastwards, so it looks west and its left is south.
    positions = np.column_stack((np.arange(0, 30.0), np.zeros(30), np.zeros(30)))
    path = RecordedPath(trajectory(positions, Rotation.from_euler('Z', np.full((30, 1), math.pi))))
    found = path.deviation(10.0, -1.0, math.pi, path.nearest(10.0, -1.0))
    assert found.lateral_m == pytest.approx(1.0)
    assert found.heading_deg == pytest.approx(0.0, abs=1e-9)


def test_places_by_time_and_within_ten_metres():
    path = RecordedPath(straight(speed=10.0, seconds=20.0))
    assert path.at_time(T0 - SECOND) == 0.0
    assert path.at_time(T0 + 1_250_000_000) == pytest.approx(12.5)
    assert path.at_time(T0 + 90 * SECOND) == pytest.approx(200.0)
    assert path.nearest(70.0, 1.0, 55.0) == pytest.approx(65.0)
    assert path.nearest(70.0, 1.0, 90.0) == pytest.approx(80.0)
    assert path.nearest(70.0, 1.0, 62.0) == pytest.approx(70.0)
    assert path.nearest(300.0, 1.0, 195.0) == pytest.approx(205.0)


def test_to_and_fro_on_one_line_stays_where_it_was():
    xs = np.concatenate((np.arange(0, 6.0, 0.5), np.arange(6, -0.1, -0.5)))
    heights = np.linspace(0.0, 1.0, len(xs))
    positions = np.column_stack((xs, np.zeros_like(xs), heights))
    path = RecordedPath(trajectory(positions, Rotation.from_euler('Z', np.zeros((len(xs), 1)))))
    assert path.nearest(3.25, 1.0, 2.0) == pytest.approx(3.25)
    assert path.nearest(3.25, 1.0, 8.0) == pytest.approx(12.0 - 3.25)


def test_the_driven_path_is_noted_by_way_and_by_turn():
    ego = turning(2.0, 0.0)
    ego.put(TwistCommand(T0 + 3 * SECOND // 4, 0.0, 1.0), halted=True)
    ego.advance_to(T0 + 2 * SECOND)
    path = ego.driven_path
    xs = [row.position[0] for row in path]
    yaws = [euler(row)[0] for row in path]
    # 1.5 m straight on, then 1.25 rad on the spot.
    np.testing.assert_allclose(xs[:4], (0.0, 0.5, 1.0, 1.5), atol=0.021)
    assert xs[4:] == [pytest.approx(1.5)] * 6
    np.testing.assert_allclose(np.degrees(yaws[3:]), np.arange(7) * 10.0, atol=2.1)
    for row in path:
        pose = ego.pose(row.t_ns)
        assert row.position == tuple(pose.position.tolist())
        assert row.quaternion == tuple(pose.quaternion.tolist())


def test_a_long_driven_path_loses_its_oldest_detail():
    ego = turning(100.0, 0.0)
    ego.advance_to(T0 + 120 * SECOND)
    path = ego.driven_path
    assert 5_000 < len(path) <= 10_000
    xs = np.array([row.position[0] for row in path])
    assert xs[0] == 0.0
    assert xs[-1] == pytest.approx(12_000.0)
    steps = np.diff(xs)
    assert steps[:100].min() > 1.9
    np.testing.assert_allclose(steps[-100:], 1.0, atol=1e-6)
    # The poses themselves stay.
    assert ego.pose(T0 + SECOND).position[0] == pytest.approx(100.0)


def test_a_deviation_on_a_circle():
    # Straight on from (20, 0) northwards: the circle turns away to the left.
    ego = turning(8.0, 0.0, level_circle(radius=20.0))
    ego.advance_to(T0 + SECOND)
    found = ego.deviation(T0 + SECOND)
    assert found.lateral_m == pytest.approx(20.0 - math.hypot(20.0, 8.0), abs=1e-3)
    assert found.heading_deg == pytest.approx(-math.degrees(math.atan2(8.0, 20.0)), abs=0.2)
