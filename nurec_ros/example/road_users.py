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
"""Who is on the street: vehicles, people, and what stands on the pavements."""

from __future__ import annotations

from collections.abc import Iterator
import math
from random import Random

import numpy as np
from nurec_ros.example.street import (
    BIKE_LANE,
    BUS_STOP,
    CROSSING,
    EGO_BEGIN,
    KERB,
    LANE,
    PARKING_LANE,
    PAVEMENT,
    Road,
    SIDE_STREET,
    SIDE_STREET_HALF_WIDTH,
    Street,
)
from nurec_ros.example.traffic import Actor, FIXED, halting, Motion, Pace, steady, still

Dims = tuple[float, float, float]

CARS = (
    (3.95, 1.74, 1.50),
    (4.30, 1.79, 1.47),
    (4.62, 1.83, 1.44),
    (4.74, 1.88, 1.67),
    (4.95, 1.93, 1.78),
)
BUS = (12.0, 2.55, 3.15)
TRUCK = (8.40, 2.48, 3.40)
TRACTOR = (6.10, 2.48, 3.55)
TRAILER = (8.20, 2.48, 3.60)
VAN = (5.60, 2.05, 2.55)
MOTORCYCLE = (2.15, 0.85, 1.45)
TRAM_CAR = (9.60, 2.40, 3.50)
BICYCLE = (1.78, 0.62, 1.74)

COUPLING = 0.9  # between tractor and trailer, m
PARKING_SLOT = 6.6
OCCUPANCY = 0.42
# Stretches without parking: middle, half length, and on which sides (1 left, -1 right).
NO_PARKING = (
    (CROSSING, 9.0, (1, -1)),
    (SIDE_STREET, SIDE_STREET_HALF_WIDTH + 6.5, (-1,)),
    (BUS_STOP, 13.0, (-1,)),
)
# Seconds around the ego's passage of the crossing in which people are on it: nobody passes.
PEOPLE_CROSS = (-4.4, 2.8)
# The order of those who come along: label, dims, seconds to the next one.
ONCOMING = (
    ('automobile', None, 5.0),
    ('bus', BUS, 6.0),
    ('automobile', None, 4.6),
    ('automobile', None, 4.4),
    ('heavy_truck', TRACTOR, 7.4),
    ('other_vehicle', MOTORCYCLE, 4.4),
    ('heavy_truck', TRUCK, 5.4),
)

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


def vehicles(street: Street, pace: Pace, duration_s: float, rng: Random) -> list[Actor]:
    """Return every vehicle but the ego, none of which ever touches another."""
    return [
        *_same_direction(street, pace, rng),
        *_oncoming(street, pace, duration_s, rng),
        *_side_street(street, rng),
        *_tram(street),
        *_cyclists(street, pace),
        *_parked(street, rng),
    ]


def _car(rng: Random) -> Dims:
    return CARS[int(rng.random() * len(CARS))]


def _same_direction(street: Street, pace: Pace, rng: Random) -> Iterator[Actor]:
    """Drive as the ego does, some seconds ahead of it or behind it."""
    begin = pace.time(EGO_BEGIN)

    def follow(gap: float) -> Motion:
        return lambda seconds: pace.distance(begin + gap + seconds)

    ahead = 6.0 + 0.4 * rng.random()
    behind = -3.6 - 0.4 * rng.random()
    yield Actor('automobile', _car(rng), street.main, follow(ahead), still(-LANE), seen=120.0)
    yield Actor('heavy_truck', TRUCK, street.main, follow(ahead + 3.8), still(-LANE), seen=120.0)
    yield Actor('automobile', _car(rng), street.main, follow(behind), still(-LANE))
    yield Actor('other_vehicle', VAN, street.main, follow(behind - 3.6), still(-LANE))


def _oncoming(street: Street, pace: Pace, duration_s: float, rng: Random) -> Iterator[Actor]:
    """Come along in the other lane, by the times at which each passes the crossing."""
    crossing = pace.time(CROSSING)
    ego_crosses = crossing - pace.time(EGO_BEGIN)

    def towards(passes: float) -> Motion:
        return lambda seconds: pace.distance(crossing + passes - seconds)

    def actor(label: str, dims: Dims, motion: Motion) -> Actor:
        return Actor(label, dims, street.main, motion, still(LANE), yaw=math.pi, seen=110.0)

    # These two have met the ego already, and show behind it.
    yield actor('automobile', _car(rng), towards(-9.2))
    yield actor('automobile', _car(rng), towards(-13.8))
    passes, index = -4.4 - 0.4 * rng.random(), 0
    while passes < 2 * duration_s + 20:
        label, dims, gap = ONCOMING[index % len(ONCOMING)]
        yield actor(label, dims or _car(rng), towards(passes))
        if dims is TRACTOR:
            distance = (TRACTOR[0] + TRAILER[0]) / 2 + COUPLING
            yield actor('trailer', TRAILER, _behind(towards(passes), distance))
        passes, index = passes + gap + 0.8 * rng.random(), index + 1
        first, last = (ego_crosses + seconds for seconds in PEOPLE_CROSS)
        if first < passes < last:
            passes = last


def _behind(motion: Motion, distance: float) -> Motion:
    return lambda seconds: motion(seconds) + distance


def _side_street(street: Street, rng: Random) -> Iterator[Actor]:
    """Wait at the mouth, arrive behind, and leave into the side street."""
    lane, kerb = SIDE_STREET_HALF_WIDTH / 2, SIDE_STREET_HALF_WIDTH
    waiting, arriving = _car(rng), _car(rng)
    stop = 5.5 + waiting[0] / 2
    queue = stop + (waiting[0] + arriving[0]) / 2 + 1.8
    yield Actor(
        'automobile', waiting, street.side, still(stop), still(lane), yaw=math.pi, kerb=kerb
    )
    motion = halting(queue, 6.5, 7.0)
    yield Actor('automobile', arriving, street.side, motion, still(lane), yaw=math.pi, kerb=kerb)
    yield Actor('automobile', _car(rng), street.side, steady(7.0, 5.5), still(-lane), kerb=kerb)


def _tram(street: Street) -> Iterator[Actor]:
    for number in range(3):
        yield Actor(
            'train_or_tram_car',
            TRAM_CAR,
            street.tram,
            steady(EGO_BEGIN + 88.0 + number * (TRAM_CAR[0] + 0.5), -8.0),
            still(0.0),
            yaw=math.pi,
            kerb=math.inf,
            seen=110.0,
        )


def _cyclists(street: Street, pace: Pace) -> Iterator[Actor]:
    """Ride in the two bicycle lanes; each passes the crossing while nobody walks there."""
    ego_crosses = pace.time(CROSSING) - pace.time(EGO_BEGIN)
    for speed, passes in ((4.8, ego_crosses + 1.6), (4.4, ego_crosses - 19.0)):
        motion = steady(CROSSING - speed * passes, speed)
        yield Actor('rider', BICYCLE, street.main, motion, still(-BIKE_LANE))
    for speed, passes in ((5.0, ego_crosses + 4.5), (5.0, ego_crosses + 16.0)):
        motion = steady(CROSSING + speed * passes, -speed)
        yield Actor('rider', BICYCLE, street.main, motion, still(BIKE_LANE), yaw=math.pi)


def _parked(street: Street, rng: Random) -> Iterator[Actor]:
    """Park along both kerbs, in the direction of the lane beside, a slot at a time."""
    road = street.main
    for side in (-1, 1):
        for s in _slots(road, side * PARKING_LANE):
            draw, along, across, turn = (rng.random() for _ in range(4))
            dims = _car(rng)
            if draw > OCCUPANCY or _no_parking(s, side):
                continue
            label = 'automobile'
            if draw < 0.03:
                label, dims = 'other_vehicle', VAN
            yield Actor(
                label,
                dims,
                road,
                still(s + 0.6 * (along - 0.5)),
                still(side * (PARKING_LANE + 0.16 * (across - 0.5))),
                yaw=(0.0 if side < 0 else math.pi) + math.radians(2.4 * (turn - 0.5)),
                flags=FIXED,
                seen=70.0,
            )


def _slots(road: Road, t: float) -> Iterator[float]:
    """Return the middles of the parking slots, as far apart along t as they are on a straight."""
    s = 6.0
    while s < road.length - 6.0:
        yield s
        ahead = s + PARKING_SLOT
        s += PARKING_SLOT / min(road.stretch(s, t), road.stretch(ahead, t), 1.0)


def _no_parking(s: float, side: int) -> bool:
    return any(side in sides and abs(s - middle) < half for middle, half, sides in NO_PARKING)


def people(street: Street, pace: Pace, rng: Random) -> list[Actor]:
    """Return everybody on foot and everything on the pavements."""
    return [
        *_crossing(street, pace, rng),
        *_walkers(street, rng),
        *_bus_stop(street, rng),
        *_furniture(street),
        *_glimpses(street),
    ]


def _person(rng: Random) -> Dims:
    return (0.55 + 0.1 * rng.random(), 0.55 + 0.1 * rng.random(), 1.58 + 0.3 * rng.random())


def _crossing(street: Street, pace: Pace, rng: Random) -> Iterator[Actor]:
    """Walk from the right kerb to the left one, just before the ego comes."""
    arrives = pace.time(CROSSING) - pace.time(EGO_BEGIN)
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
    """Return the way from pavement to pavement that is at t (m) over the street `when` (s)."""
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
