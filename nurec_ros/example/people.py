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
"""People, what they push and lead, and what stands on the pavements."""

from __future__ import annotations

from collections.abc import Iterator
import math
from random import Random

import numpy as np
from nurec_ros.example.actors import Actor, FIXED, Motion, steady, still
from nurec_ros.example.drive import Progress
from nurec_ros.example.road import (
    BUS_STOP,
    CROSSING,
    EGO_BEGIN,
    KERB,
    PAVEMENT,
    SIDE_STREET,
    SIDE_STREET_HALF_WIDTH,
    Street,
)

Dims = tuple[float, float, float]

STROLLER: Dims = (0.95, 0.58, 1.05)
DOG: Dims = (0.80, 0.30, 0.62)
ROBOT: Dims = (0.72, 0.58, 0.66)
LAMP_POST: Dims = (0.24, 0.24, 5.20)
BIN: Dims = (0.55, 0.55, 1.10)
SIGN: Dims = (0.18, 0.60, 2.60)
SHELTER: Dims = (3.60, 0.50, 2.45)
PARKED_BICYCLE: Dims = (1.76, 0.58, 1.08)

# Distances from the kerb, in metres: furniture, the two files of walkers, the wall.
EDGE = KERB + 0.45
FILE_OUT = KERB + 1.30
FILE_BACK = KERB + 2.10
WALL = KERB + PAVEMENT - 0.30

WALK = 1.60  # of those who cross, m/s
# The first of them leaves the ego's lane this long before the ego arrives.
CLEAR_S = 1.6
WALKERS_APART = 29.0
LAMP_POSTS_APART = 36.0


def people(street: Street, progress: Progress, rng: Random) -> list[Actor]:
    """Give everybody on foot and everything on the pavements."""
    return [
        *_crossing(street, progress, rng),
        *_walkers(street, rng),
        *_bus_stop(street, rng),
        *_furniture(street),
        *_glimpses(street),
    ]


def _person(rng: Random) -> Dims:
    return (0.55 + 0.1 * rng.random(), 0.55 + 0.1 * rng.random(), 1.58 + 0.3 * rng.random())


def _crossing(street: Street, progress: Progress, rng: Random) -> Iterator[Actor]:
    """Walk from the right kerb to the left one, just before the ego comes."""
    arrives = progress.time(CROSSING) - progress.time(EGO_BEGIN)
    for early, beside in ((0.0, 0.9), (0.7, -0.2), (1.1, -1.2)):
        # Past the middle of the street, which the ego's lane ends at, at that moment.
        clear = arrives - CLEAR_S - early
        yield Actor(
            'person',
            _person(rng),
            street.main,
            still(CROSSING + beside),
            _across(0.5, clear),
            yaw=math.pi / 2,
        )


def _across(t: float, when: float) -> Motion:
    """Give the way over the street that is at t (m) `when` (s), from one pavement to the other."""
    edge = KERB + 0.4
    return lambda seconds: np.clip(t + WALK * (seconds - when), -edge, edge)


def _walkers(street: Street, rng: Random) -> Iterator[Actor]:
    """Walk along both pavements, one file for each direction."""
    for side in (-1, 1):
        count = int((street.main.length - 50.0) / WALKERS_APART)
        for number in range(count):
            out = number % 2 == 0
            s = 40.0 + number * WALKERS_APART + 5.0 * (rng.random() - 0.5)
            speed = (1.0 if out else -1.0) * (1.25 + 0.2 * rng.random())
            file, yaw = (FILE_OUT, 0.0) if out else (FILE_BACK, math.pi)

            def walker(
                label: str,
                dims: Dims,
                ahead: float,
                *,
                motion: tuple[float, float] = (s, speed),
                place: tuple[float, float] = (side * file, yaw),
            ) -> Actor:
                begin = motion[0] + math.copysign(ahead, motion[1])
                return Actor(
                    label, dims, street.main, steady(begin, motion[1]), still(place[0]), place[1]
                )

            if side == 1 and number % 9 == 4:
                yield walker('delivery_robot', ROBOT, 0.0)
                continue
            yield walker('person', _person(rng), 0.0)
            if side == -1 and number % 9 == 3:
                yield walker('stroller', STROLLER, 1.2)
            if side == 1 and number % 9 == 2:
                yield walker('animal', DOG, 1.05)


def _bus_stop(street: Street, rng: Random) -> Iterator[Actor]:
    """Wait between the stop's sign and its shelter."""
    road = street.main
    yield Actor('protruding_object', SIGN, road, still(BUS_STOP + 4.0), still(-EDGE), flags=FIXED)
    yield Actor(
        'protruding_object', SHELTER, road, still(BUS_STOP - 2.5), still(-WALL), flags=FIXED
    )
    for s in (BUS_STOP - 1.0, BUS_STOP + 0.3, BUS_STOP + 2.0):
        yield Actor(
            'person', _person(rng), road, still(s), still(-EDGE), yaw=math.pi / 2, flags=FIXED
        )


def _furniture(street: Street) -> Iterator[Actor]:
    """Stand lamp posts, bins, signs and bicycles on the pavements, out of the walkers' way."""
    road = street.main

    def stand(label: str, dims: Dims, s: float, t: float) -> Actor:
        return Actor(label, dims, road, still(s), still(t), flags=FIXED, seen=60.0)

    for side in (-1, 1):
        first = 22.0 if side < 0 else 34.0
        for number, s in enumerate(np.arange(first, road.length - 5.0, LAMP_POSTS_APART)):
            place = _clear_of_mouths(float(s))
            yield stand('protruding_object', LAMP_POST, place, side * EDGE)
            if number % 3 == 1:
                yield stand('protruding_object', BIN, place + 1.4, side * EDGE)
        yield stand('protruding_object', SIGN, CROSSING + side * 3.2, side * EDGE)
        for number in range(2):
            s = EGO_BEGIN + 12.0 + 52.0 * (side + 1) / 2 + 2.4 * number
            yield stand('bicycle', PARKED_BICYCLE, s, side * WALL)


def _clear_of_mouths(s: float) -> float:
    """Move what would stand before the crossing or in the side street's mouth past its end."""
    for middle, half in ((CROSSING, 5.0), (SIDE_STREET, SIDE_STREET_HALF_WIDTH + 1.5)):
        if abs(s - middle) < half:
            return middle + half
    if abs(s - BUS_STOP) < 6.0:
        return BUS_STOP + 6.0
    return s


def _glimpses(street: Street) -> Iterator[Actor]:
    """Be seen for one moment only, beyond the pavements: a car in a yard, a person, a post."""
    beyond = KERB + PAVEMENT
    cases: tuple[tuple[str, Dims, float, float, str], ...] = (
        ('automobile', (4.30, 1.79, 1.47), EGO_BEGIN + 8.0, -beyond - 5.0, FIXED),
        ('person', (0.6, 0.6, 1.72), EGO_BEGIN + 44.0, -beyond - 2.0, 'DYNAMIC|CONTROLLABLE'),
        ('protruding_object', LAMP_POST, EGO_BEGIN + 66.0, beyond + 1.0, FIXED),
    )
    for label, dims, s, t, flags in cases:
        yield Actor(
            label,
            dims,
            street.main,
            still(s),
            still(t),
            yaw=math.pi / 2,
            flags=flags,
            seen=55.0,
            glimpse=True,
        )
