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
"""OpenDRIVE's curves beside closed forms and scipy's quadrature."""

import math

import numpy as np
from nurec_ros.scenario.opendrive import (
    CHORD_ERROR,
    chords,
    Cubics,
    Geometry,
    LONGEST_CHORD,
    MOST_POINTS,
    ReferenceLine,
)
import pytest
from scipy.integrate import quad


def test_pieces_of_cubics():
    for starts, pieces, s, values in (
        # In any order of the file.
        ([10.0, 0.0], [[5, 0, 0, 0], [1, 0, 0, 0]], [0, 9, 11, 12], [1, 1, 5, 5]),
        # What begins at the end does not count.
        ([0.0, 10.0], [[1, 0, 0, 0], [5, 0, 0, 0]], [0, 5, 10], [1, 1, 1]),
        # Before the first piece the first goes on.
        ([5.0], [[1, 1, 0, 0]], [4, 5, 6], [0, 1, 2]),
        ([], [], [0, 1], [0, 0]),
    ):
        np.testing.assert_array_equal(Cubics(starts, pieces).at(np.array(s, float)), values)
        assert not len(Cubics([], []).cuts(0.0, 1.0))


@pytest.mark.parametrize('curvature', [0.05, -0.2, 1e-6, 0.0])
def test_arc_is_a_circle_and_without_curvature_a_line(curvature):
    arc = Geometry(0.0, 1.0, 2.0, 0.7, 100.0, 'curve', (curvature, curvature))
    s = np.linspace(0, 100, 57)
    x, y, heading = arc.at(s)
    if curvature:
        expected_x = 1.0 + (np.sin(0.7 + curvature * s) - math.sin(0.7)) / curvature
        expected_y = 2.0 - (np.cos(0.7 + curvature * s) - math.cos(0.7)) / curvature
    else:
        expected_x, expected_y = 1.0 + math.cos(0.7) * s, 2.0 + math.sin(0.7) * s
    np.testing.assert_allclose(x, expected_x, atol=1e-8)
    np.testing.assert_allclose(y, expected_y, atol=1e-8)
    np.testing.assert_allclose(heading, 0.7 + curvature * s)


@pytest.mark.parametrize(('start', 'end'), [(0.1, -0.1), (-0.02, 0.3)])
def test_spiral_beside_quadrature(start, end):
    length = 60.0
    spiral = Geometry(0.0, 0.0, 0.0, 0.0, length, 'curve', (start, end))

    def heading(s):
        return start * s + 0.5 * (end - start) / length * s * s

    ways = np.array([0.0, 7.3, 31.0, 60.0])
    x, y, turn = spiral.at(ways)
    for function, found in ((math.cos, x), (math.sin, y)):
        expected = [quad(lambda s, f=function: f(heading(s)), 0, way)[0] for way in ways]
        np.testing.assert_allclose(found, expected, atol=1e-8)
    np.testing.assert_allclose(turn, heading(ways))


def test_poly3_runs_over_its_arc_length():
    poly = Geometry(0.0, 0.0, 0.0, 0.0, 30.0, 'poly3', (0.0, 0.0, 0.01, -0.0002))

    def slope(u):
        return 0.02 * u - 0.0006 * u * u

    x, y, heading = poly.at(np.array([12.5, 20.0]))
    for u, v, turn, way in zip(x, y, heading, (12.5, 20.0), strict=True):
        assert v == pytest.approx(0.01 * u**2 - 0.0002 * u**3)
        assert math.tan(turn) == pytest.approx(slope(u))
        assert quad(lambda p: math.hypot(1, slope(p)), 0, u)[0] == pytest.approx(way, abs=1e-3)
    # What has no length does not bend.
    assert Geometry(0.0, 1.0, 2.0, 0.0, 0.0, 'poly3', (0.0, 0.0, 0.1, 0.0)).bend() == 0.0


@pytest.mark.parametrize('reach', [1.0, 25.0])
def test_param_poly3(reach):
    # A quarter of a turn's cubic Bezier curve.
    u = np.array([0.0, 30.0, -3.0, -11.0]) / reach ** np.arange(4)
    v = np.array([0.0, 0.0, 27.0, -11.0]) / reach ** np.arange(4)
    curve = Geometry(0.0, 5.0, 6.0, 0.0, 25.0, 'paramPoly3', (*u, *v, reach))
    x, y, heading = curve.at(np.array([0.0, 12.5, 25.0]))
    np.testing.assert_allclose(x, [5, 5 + 15 - 0.75 - 1.375, 21])
    np.testing.assert_allclose(y, [6, 6 + 6.75 - 1.375, 22])
    assert heading[0] == 0
    assert math.tan(heading[1]) == pytest.approx((27 - 8.25) / (30 - 3 - 8.25))


def test_reference_line_of_several_geometries():
    turn = math.pi / 2 / 0.1
    line = ReferenceLine(
        [
            Geometry(10.0, 10.0, 0.0, 0.0, turn, 'curve', (0.1, 0.1)),
            Geometry(0.0, 0.0, 0.0, 0.0, 10.0, 'curve', (0.0, 0.0)),
        ]
    )
    x, y, heading = line.at(np.array([0.0, 5.0, 10.0, 10.0 + turn]))
    np.testing.assert_allclose(x, [0, 5, 10, 20], atol=1e-9)
    np.testing.assert_allclose(y, [0, 0, 0, 10], atol=1e-9)
    np.testing.assert_allclose(heading, [0, 0, 0, math.pi / 2])


@pytest.mark.parametrize('curvature', [0.0, 0.005, 0.05, 0.2])
@pytest.mark.parametrize('kind', ['curve', 'poly3'])
def test_chords_stay_close_to_the_curve(curvature, kind):
    numbers = {'curve': (curvature,) * 2, 'poly3': (0.0, 0.0, curvature / 2, 0.0)}[kind]
    curve = Geometry(0.0, 0.0, 0.0, 0.0, 8.0, kind, numbers)
    s = np.sort(ReferenceLine([curve]).cuts(0.0, 8.0))
    assert (s[0], s[-1]) == (0.0, 8.0)
    step = np.diff(s).max()
    assert step <= LONGEST_CHORD + 1e-9
    if curvature:
        assert (1 - math.cos(step * curvature / 2)) / curvature <= CHORD_ERROR * 1.05


@pytest.mark.parametrize('bend', [0.0, 1e300, math.inf, math.nan])
@pytest.mark.parametrize('length', [1e-9, 1.0, 1e12])
def test_chords_are_bounded(bend, length):
    s = chords(0.0, length, bend)
    assert 2 <= len(s) <= MOST_POINTS
    assert (s[0], s[-1]) == (0.0, length)
