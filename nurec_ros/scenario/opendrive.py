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
"""
Roads of OpenDRIVE: the curves along a road as functions of its arc length s, read from its XML.

Formulas are those of ASAM OpenDRIVE 1.4 to 1.8, chapters on geometry: cubic pieces, and reference
lines of lines, arcs, spirals (curvature linear in s), poly3 and paramPoly3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
import math
from xml.etree import ElementTree as Xml

import numpy as np
from numpy.typing import NDArray
from nurec_ros.poses import Array

# A chord leaves the curve by at most this, and no chord is longer, in metres.
CHORD_ERROR = 0.01
LONGEST_CHORD = 5.0
# Points on one stretch; a road that needs more is no road, and gets a coarser line.
MOST_POINTS = 4096

_GAUSS_NODES, _GAUSS_WEIGHTS = np.polynomial.legendre.leggauss(5)
# Turn between two nodes of the integral, rad: five Gauss points are exact to 1e-14 for it.
_TURN = 0.2
_SMALLEST_RADIUS = 0.1


class BrokenRoadError(Exception):
    """A road that cannot be evaluated."""


class Cubics:
    """Pieces a + b d + c d^2 + d d^3, d being the way from each piece's start; 0 without any."""

    def __init__(self, starts: Sequence[float], coefficients: Sequence[Sequence[float]]) -> None:
        order = np.argsort(np.array(starts, dtype=np.float64), kind='stable')
        self.starts: Array = np.array(starts, dtype=np.float64)[order]
        self.coefficients: Array = np.array(coefficients, dtype=np.float64).reshape(-1, 4)[order]

    def at(self, s: Array) -> Array:
        """
        Return the values (N,) at rising s (N,).

        The last of them belongs to the piece that ends there: what begins there does not count.
        """
        if not len(self.starts):
            return np.zeros(len(s))
        piece = piece_of(self.starts, s)
        way = s - self.starts[piece]
        a, b, c, d = self.coefficients[piece].T
        value: Array = a + way * (b + way * (c + way * d))
        return value

    def cuts(self, begin: float, end: float) -> list[float]:
        """Return the s at which chords between begin and end have to meet."""
        parts: list[float] = []
        starts = self.starts.tolist()
        ends = [*starts, math.inf][1:]
        for start, stop, (_, _, c, d) in zip(
            starts, ends, self.coefficients.tolist(), strict=True
        ):
            low, high = max(start, begin), min(stop, end)
            if low < high:
                bend = max(abs(2 * c + 6 * d * (low - start)), abs(2 * c + 6 * d * (high - start)))
                parts += chords(low, high, bend)
        return parts


@dataclass(frozen=True, slots=True)
class Geometry:
    """
    One piece of a reference line: where it begins, x, y and heading there, its length.

    kind and numbers: 'curve' (curvature at the start and at the end), 'poly3' (a b c d) or
    'paramPoly3' (aU bU cU dU aV bV cV dV, and the parameter's range).
    """

    s: float
    x: float
    y: float
    heading: float
    length: float
    kind: str
    numbers: tuple[float, ...]

    def at(self, way: Array) -> tuple[Array, Array, Array]:
        """Return x, y and heading (N,) each at the ways (N,) from the start."""
        if self.kind == 'curve':
            u, v, turn = self._curve(way)
        elif self.kind == 'poly3':
            u, v, turn = self._poly3(way)
        else:
            u, v, turn = self._param_poly3(way)
        cos, sin = math.cos(self.heading), math.sin(self.heading)
        return self.x + cos * u - sin * v, self.y + sin * u + cos * v, self.heading + turn

    def bend(self) -> float:
        """Return the largest curvature, as far as a few points tell."""
        if self.kind == 'curve':
            return max(abs(self.numbers[0]), abs(self.numbers[1]))
        way = np.linspace(0.0, self.length, 33)
        turn = self.at(way)[2]
        step = self.length / 32
        return float(np.abs(np.diff(np.unwrap(turn))).max()) / step if step else 0.0

    def _curve(self, way: Array) -> tuple[Array, Array, Array]:
        start, end = self.numbers
        rate = (end - start) / self.length if self.length else 0.0
        turned = max(abs(start), abs(end)) * self.length
        count = math.ceil(min(max(1.0, turned / _TURN), MOST_POINTS))
        nodes = np.linspace(0.0, self.length, count + 1)
        lengths = np.diff(nodes)
        steps = _integral(start, rate, nodes[:-1], lengths)
        at_nodes = np.zeros((count + 1, 2))
        np.cumsum(steps, axis=0, out=at_nodes[1:])
        before = np.clip(np.searchsorted(nodes, way, side='right') - 1, 0, count - 1)
        rest = _integral(start, rate, nodes[before], way - nodes[before])
        u, v = (at_nodes[before] + rest).T
        return u, v, way * (start + 0.5 * rate * way)

    def _poly3(self, way: Array) -> tuple[Array, Array, Array]:
        a, b, c, d = self.numbers
        # The curve is given over u, the road runs over its arc length.
        u = np.linspace(0.0, self.length, 513)
        v = a + u * (b + u * (c + u * d))
        along = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(u), np.diff(v)))])
        at = np.interp(way, along, u)
        slope = b + at * (2 * c + at * 3 * d)
        return at, a + at * (b + at * (c + at * d)), np.arctan(slope)

    def _param_poly3(self, way: Array) -> tuple[Array, Array, Array]:
        a_u, b_u, c_u, d_u, a_v, b_v, c_v, d_v, reach = self.numbers
        p = way * (reach / self.length) if self.length else np.zeros_like(way)
        u = a_u + p * (b_u + p * (c_u + p * d_u))
        v = a_v + p * (b_v + p * (c_v + p * d_v))
        turn = np.arctan2(b_v + p * (2 * c_v + p * 3 * d_v), b_u + p * (2 * c_u + p * 3 * d_u))
        return u, v, turn


class ReferenceLine:
    """A road's reference line, of geometries one after the other."""

    def __init__(self, geometries: Sequence[Geometry]) -> None:
        self._geometries = sorted(geometries, key=lambda geometry: geometry.s)
        self._starts = np.array([geometry.s for geometry in self._geometries])

    def at(self, s: Array) -> tuple[Array, Array, Array]:
        """Return x, y and heading (N,) each at rising s (N,)."""
        piece = piece_of(self._starts, s)
        x, y, heading = np.empty(len(s)), np.empty(len(s)), np.empty(len(s))
        for i in np.unique(piece):
            here = piece == i
            geometry = self._geometries[i]
            x[here], y[here], heading[here] = geometry.at(s[here] - geometry.s)
        return x, y, heading

    def cuts(self, begin: float, end: float) -> list[float]:
        """Return the s at which chords between begin and end have to meet."""
        parts: list[float] = []
        for geometry in self._geometries:
            low, high = max(geometry.s, begin), min(geometry.s + geometry.length, end)
            if low < high:
                parts += chords(low, high, geometry.bend())
        return parts


def piece_of(starts: Array, s: Array) -> NDArray[np.intp]:
    """Return the piece of each of rising s (N,); the last one belongs to the piece that ends."""
    piece = np.searchsorted(starts, s, side='right') - 1
    if len(s) > 1:
        piece[-1] = np.searchsorted(starts, s[-1], side='left') - 1
    return np.maximum(piece, 0)


def chords(begin: float, end: float, bend: float) -> list[float]:
    """Return where chords meet between begin and end, both included, for a second derivative."""
    bend = min(bend, 1.0 / _SMALLEST_RADIUS) if math.isfinite(bend) else 1.0 / _SMALLEST_RADIUS
    count = (end - begin) * max(1.0 / LONGEST_CHORD, math.sqrt(bend / (8.0 * CHORD_ERROR)))
    # Most stretches need a few chords only: plain numbers are faster than arrays then.
    parts = math.ceil(min(max(1.0, count), MOST_POINTS - 1))
    return [begin + (end - begin) * (i / parts) for i in range(parts)] + [end]


def _integral(curvature: float, rate: float, begin: Array, length: Array) -> Array:
    """Return the way (N, 2) along a curve, curvature + rate s, from begin over a short length."""
    s = begin[:, np.newaxis] + length[:, np.newaxis] * (0.5 + 0.5 * _GAUSS_NODES)
    heading = s * (curvature + 0.5 * rate * s)
    weights = 0.5 * _GAUSS_WEIGHTS
    return np.stack(
        [length * (np.cos(heading) @ weights), length * (np.sin(heading) @ weights)], axis=1
    )


def reference_line(road: Xml.Element) -> ReferenceLine:
    geometries = []
    for plan in children(road, 'planView'):
        for element in children(plan, 'geometry'):
            shape = next(iter(element), None)
            if shape is None:
                raise BrokenRoadError
            s, x, y, heading, length = (
                number_of(element, key) for key in ('s', 'x', 'y', 'hdg', 'length')
            )
            if length < 0.0:
                raise BrokenRoadError
            geometries.append(Geometry(s, x, y, heading, length, *_shape(shape, length)))
    if not geometries:
        raise BrokenRoadError
    return ReferenceLine(geometries)


def _shape(element: Xml.Element, length: float) -> tuple[str, tuple[float, ...]]:
    name = tag_of(element)
    if name == 'line':
        return 'curve', (0.0, 0.0)
    if name == 'arc':
        return 'curve', (number_of(element, 'curvature'),) * 2
    if name == 'spiral':
        return 'curve', (number_of(element, 'curvStart'), number_of(element, 'curvEnd'))
    if name == 'poly3':
        return 'poly3', tuple(number_of(element, key) for key in 'abcd')
    if name == 'paramPoly3':
        reach = length if element.get('pRange') == 'arcLength' else 1.0
        keys = (power + axis for axis in 'UV' for power in 'abcd')
        return 'paramPoly3', (*(number_of(element, key) for key in keys), reach)
    raise BrokenRoadError


def profile(road: Xml.Element, parent: str, name: str) -> Cubics:
    """Return what a road has over its whole length in elements of a name below a parent."""
    elements = [e for above in children(road, parent) for e in children(above, name)]
    return cubic_pieces(elements, 's', 0.0)


def cubic_pieces(elements: list[Xml.Element], start: str, begin: float) -> Cubics:
    """Return the pieces of elements; the attribute `start` of each counts from begin."""
    starts = [begin + number_of(element, start) for element in elements]
    return Cubics(starts, [[number_of(element, key) for key in 'abcd'] for element in elements])


def number_of(element: Xml.Element, key: str) -> float:
    """Return a finite number of an element; raises BrokenRoadError."""
    try:
        value = float(element.get(key, 'nan'))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BrokenRoadError
    return value


def children(element: Xml.Element, name: str) -> Iterator[Xml.Element]:
    return (child for child in element if tag_of(child) == name)


def tag_of(element: Xml.Element) -> str:
    return element.tag.rpartition('}')[2] if isinstance(element.tag, str) else ''
