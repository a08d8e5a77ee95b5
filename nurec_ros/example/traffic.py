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
"""Vehicles of the street: parked, ahead of and behind the ego, oncoming, in the side street."""

from __future__ import annotations

from collections.abc import Iterator
import math
from random import Random

from nurec_ros.example.actors import Actor, FIXED, halting, Motion, steady, still
from nurec_ros.example.drive import Progress
from nurec_ros.example.road import (
    BIKE_LANE,
    BUS_STOP,
    CROSSING,
    EGO_BEGIN,
    LANE,
    PARKING_LANE,
    Road,
    SIDE_STREET,
    SIDE_STREET_HALF_WIDTH,
    Street,
)

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


def vehicles(street: Street, progress: Progress, duration_s: float, rng: Random) -> list[Actor]:
    """Give every vehicle but the ego, none of which ever touches another."""
    return [
        *_same_direction(street, progress, rng),
        *_oncoming(street, progress, duration_s, rng),
        *_side_street(street, rng),
        *_tram(street),
        *_cyclists(street, progress),
        *_parked(street, rng),
    ]


def _car(rng: Random) -> tuple[float, float, float]:
    return CARS[int(rng.random() * len(CARS))]


def _same_direction(street: Street, progress: Progress, rng: Random) -> Iterator[Actor]:
    """Drive as the ego does, some seconds ahead of it or behind it."""
    begin = progress.time(EGO_BEGIN)

    def follow(gap: float) -> Motion:
        return lambda seconds: progress.distance(begin + gap + seconds)

    ahead = 6.0 + 0.4 * rng.random()
    behind = -3.6 - 0.4 * rng.random()
    yield Actor('automobile', _car(rng), street.main, follow(ahead), still(-LANE), seen=120.0)
    yield Actor('heavy_truck', TRUCK, street.main, follow(ahead + 3.8), still(-LANE), seen=120.0)
    yield Actor('automobile', _car(rng), street.main, follow(behind), still(-LANE))
    yield Actor('other_vehicle', VAN, street.main, follow(behind - 3.6), still(-LANE))


def _oncoming(
    street: Street, progress: Progress, duration_s: float, rng: Random
) -> Iterator[Actor]:
    """Come along in the other lane, by the times at which each passes the crossing."""
    crossing = progress.time(CROSSING)
    ego_crosses = crossing - progress.time(EGO_BEGIN)

    def towards(passes: float) -> Motion:
        return lambda seconds: progress.distance(crossing + passes - seconds)

    def actor(label: str, dims: tuple[float, float, float], motion: Motion) -> Actor:
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


def _cyclists(street: Street, progress: Progress) -> Iterator[Actor]:
    """Ride in the two bicycle lanes; each passes the crossing while nobody walks there."""
    ego_crosses = progress.time(CROSSING) - progress.time(EGO_BEGIN)
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
    """Give the middles of the parking slots, as far apart along t as they are on a straight."""
    s = 6.0
    while s < road.length - 6.0:
        yield s
        ahead = s + PARKING_SLOT
        s += PARKING_SLOT / min(road.stretch(s, t), road.stretch(ahead, t), 1.0)


def _no_parking(s: float, side: int) -> bool:
    return any(side in sides and abs(s - middle) < half for middle, half, sides in NO_PARKING)
