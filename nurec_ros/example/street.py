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
The street's geometry: reference lines of straights and arcs, with an elevation along them.

These are OpenDRIVE's own terms (s along the reference line, t to its left, cubic elevation between
knots), so that `map.xodr` and everything that moves on the street are made of the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Widths of one half of the street, from the middle outwards, in metres.
DRIVING = 3.5
BIKING = 1.8
PARKING = 2.4
PAVEMENT = 3.2
KERB_HEIGHT = 0.12
LANE = DRIVING / 2  # middle of the driving lane
BIKE_LANE = DRIVING + BIKING / 2
PARKING_LANE = DRIVING + BIKING + PARKING / 2
KERB = DRIVING + BIKING + PARKING  # half the carriageway

# Where things are along the street, s in metres.
EGO_BEGIN = 60.0
SIDE_STREET = EGO_BEGIN + 27.0
CROSSING = EGO_BEGIN + 50.0
FIRST_STRAIGHT = EGO_BEGIN + 84.0
LATER_STRAIGHT = 130.0
BUS_STOP = FIRST_STRAIGHT - 16.0
SIDE_STREET_LENGTH = 55.0
SIDE_STREET_HALF_WIDTH = 3.2
TRAM_OFFSET = 17.5
CROSSING_HALF_WIDTH = 2.0

# A curve's lengths and radii, its middle left open: narrower in steps, as a driver steers.
CURVE_EASING = ((9.0, 110.0), (8.0, 55.0))
CURVE_RADIUS = 37.0


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of the reference line: its length, and its curvature (1/m, positive to the left)."""

    length: float
    curvature: float


@dataclass(frozen=True, slots=True)
class Knot:
    """The elevation z (m) at s (m) and its slope dz/ds there; between knots it is a cubic."""

    s: float
    z: float
    slope: float


@dataclass(frozen=True, slots=True)
class Road:
    """
    A reference line in the map frame and the elevation along it.

    x, y, heading are those of the reference line at s = 0. Without knots the road lies at z = 0.
    """

    x: float
    y: float
    heading: float
    segments: tuple[Segment, ...]
    knots: tuple[Knot, ...] = (Knot(0.0, 0.0, 0.0),)

    @property
    def length(self) -> float:
        """Length of the reference line in metres."""
        return math.fsum(segment.length for segment in self.segments)

    def starts(self) -> list[tuple[float, float, float, float]]:
        """Return s, x, y and heading at the beginning of each segment."""
        begin, x, y, heading = 0.0, self.x, self.y, self.heading
        found = []
        for segment in self.segments:
            found.append((begin, x, y, heading))
            dx, dy = _along(segment.length, segment.curvature, heading)
            begin, x, y = begin + segment.length, x + float(dx), y + float(dy)
            heading += segment.curvature * segment.length
        return found

    def centre_line(self, s: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the points (N, 2) and headings (N,) of the reference line at s (N,)."""
        s = np.atleast_1d(np.asarray(s, dtype=np.float64))
        starts = np.array(self.starts())
        index = np.clip(np.searchsorted(starts[:, 0], s, side='right') - 1, 0, len(starts) - 1)
        curvature = np.array([segment.curvature for segment in self.segments])[index]
        begin, x, y, heading = starts[index].T
        dx, dy = _along(s - begin, curvature, heading)
        return np.column_stack([x + dx, y + dy]), heading + curvature * (s - begin)

    def stretch(self, s: float, t: float) -> float:
        """Return how long a metre along the reference line is at t: less on a curve's inside."""
        index = sum(begin <= s for begin, *_ in self.starts()) - 1
        return 1.0 - self.segments[max(index, 0)].curvature * t

    def cubics(self) -> list[tuple[float, float, float, float, float]]:
        """Return s, a, b, c, d of each elevation record: z = a + b u + c u^2 + d u^3, u from s."""
        found = []
        for here, there in zip(self.knots, self.knots[1:], strict=False):
            span = there.s - here.s
            mean = (there.z - here.z) / span
            c = (3 * mean - 2 * here.slope - there.slope) / span
            d = (here.slope + there.slope - 2 * mean) / span**2
            found.append((here.s, here.z, here.slope, c, d))
        last = self.knots[-1]
        return [*found, (last.s, last.z, last.slope, 0.0, 0.0)]

    def elevation(self, s: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the elevation and its slope dz/ds at s (N,)."""
        s = np.atleast_1d(np.asarray(s, dtype=np.float64))
        table = np.array(self.cubics())
        index = np.clip(np.searchsorted(table[:, 0], s, side='right') - 1, 0, len(table) - 1)
        begin, a, b, c, d = table[index].T
        u = s - begin
        return a + u * (b + u * (c + u * d)), b + u * (2 * c + 3 * u * d)

    def place(self, s: ArrayLike, t: ArrayLike = 0.0) -> NDArray[np.float64]:
        """Return points (N, 3) of the road's surface at s, t to the left; kerbs not counted."""
        points, heading = self.centre_line(s)
        left = np.column_stack([-np.sin(heading), np.cos(heading)])
        points = points + left * np.asarray(t, dtype=np.float64).reshape(-1, 1)
        return np.column_stack([points, self.elevation(s)[0]])

    def rotation(self, s: ArrayLike, yaw: ArrayLike = 0.0) -> NDArray[np.float64]:
        """
        Return the rotations (N, 3, 3), body to map, of bodies that stand on the road at s.

        `yaw` (rad) is the body's heading relative to the road. A body's x axis follows the slope
        in its direction; it does not roll, as the street has no superelevation.
        """
        heading = self.centre_line(s)[1] + np.asarray(yaw, dtype=np.float64)
        rise = np.arctan(self.elevation(s)[1] * np.cos(np.asarray(yaw, dtype=np.float64)))
        cos, sin, up = np.cos(heading), np.sin(heading), np.sin(rise)
        flat = np.cos(rise)
        forward = np.stack([cos * flat, sin * flat, up], axis=-1)
        left = np.stack([-sin, cos, np.zeros_like(sin)], axis=-1)
        return np.stack([forward, left, np.cross(forward, left)], axis=-1)


@dataclass(frozen=True, slots=True)
class Street:
    """The three roads of the example: the street itself, a side street, a tram's track."""

    main: Road
    side: Road
    tram: Road


def make_street(length: float, turn: float) -> Street:
    """
    Build a street of at least `length` metres, with a curve of `turn` radians to the right.

    Later curves go left and right in turn, so that a long street does not meet itself. The
    frame is the map's: the ego begins at the origin, in its lane, heading along +x.
    """
    segments = [Segment(FIRST_STRAIGHT, 0.0)]
    sign = -1.0
    while True:
        segments += _curve(turn, sign)
        segments.append(Segment(LATER_STRAIGHT, 0.0))
        sign = -sign
        if math.fsum(segment.length for segment in segments) >= length:
            break
    total = math.fsum(segment.length for segment in segments)
    knots = _hills(total)
    main = Road(-EGO_BEGIN, LANE, 0.0, tuple(segments), knots)
    mouth = main.place(SIDE_STREET, -KERB)[0]
    side = Road(
        float(mouth[0]),
        float(mouth[1]),
        -math.pi / 2,
        (Segment(SIDE_STREET_LENGTH, 0.0),),
        (Knot(0.0, float(mouth[2]), 0.0),),
    )
    level = tuple(knot for knot in knots if knot.s <= FIRST_STRAIGHT)
    tram = Road(
        -EGO_BEGIN,
        LANE + TRAM_OFFSET,
        0.0,
        (Segment(FIRST_STRAIGHT + 130.0, 0.0),),
        (*level, Knot(FIRST_STRAIGHT + 20.0, level[-1].z, 0.0)),
    )
    return Street(main, side, tram)


def _along(
    length: ArrayLike, curvature: ArrayLike, heading: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the way gone along an arc that begins with `heading`; curvature 0 is a straight."""
    length = np.asarray(length, dtype=np.float64)
    # The chord of an arc lies at half its angle; sinc carries the straight as its limit.
    half = np.asarray(curvature, dtype=np.float64) * length / 2
    chord = length * np.sinc(half / np.pi)
    direction = np.asarray(heading, dtype=np.float64) + half
    return chord * np.cos(direction), chord * np.sin(direction)


def _curve(turn: float, sign: float) -> list[Segment]:
    easing = [Segment(length, sign / radius) for length, radius in CURVE_EASING]
    eased = 2 * math.fsum(length / radius for length, radius in CURVE_EASING)
    middle = Segment((turn - eased) * CURVE_RADIUS, sign / CURVE_RADIUS)
    return [*easing, middle, *reversed(easing)]


def _hills(length: float) -> tuple[Knot, ...]:
    """Return an elevation that is flat where the ego begins, within a metre and 2 deg."""
    shape = ((0.55, 0.021), (0.85, -0.012), (0.15, -0.026), (-0.2, 0.014))
    knots = [Knot(0.0, 0.0, 0.0), Knot(EGO_BEGIN, 0.0, 0.0)]
    s, index = EGO_BEGIN + 36.0, 0
    while s < length:
        z, slope = shape[index % len(shape)]
        knots.append(Knot(s, z, slope))
        s, index = s + 34.0, index + 1
    return tuple(knots)
