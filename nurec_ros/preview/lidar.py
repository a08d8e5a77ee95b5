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
A lidar's spin over the drawn world: rays of the device's beams against the ground and the boxes.

The head turns while the sensor moves: each column of beams has a pose of its own. The cloud is
that of the end of the spin, all motion compensated, as servers return it: points are in the
sensor's frame of that moment, and road users stand where they are then.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
import math

import numpy as np
from numpy.typing import NDArray
from nurec_ros.palette import kind_of
from nurec_ros.preview.landscape import GroundPaint, Plane, VERGE
from nurec_ros.preview.optics import poses_between
from nurec_ros.preview.paint import ASPHALT, LINE, PAVING
from nurec_ros.rendering.protos import sensorsim_pb2 as sim

Array = NDArray[np.float64]
Cloud = tuple[NDArray[np.float32], NDArray[np.float32]]

# Nothing nearer (m): the device's own housing.
NEAREST = 0.5
# What of the light comes back at right angles, by class; the laser sees no hue.
_REFLECTIVITY = {
    'automobile': 0.55,
    'heavy_truck': 0.65,
    'trailer': 0.70,
    'bus': 0.60,
    'train_or_tram_car': 0.60,
    'person': 0.35,
    'rider': 0.40,
    'animal': 0.30,
    'protruding_object': 0.85,
}
_OTHER_REFLECTIVITY = 0.5
# At grazing incidence; the ground is rough, and paint on roads is made to shine back.
_LEAST_OF_BOXES, _LEAST_OF_GROUND = 0.25, 0.5
# Steps between rows in the middle, as a share of even ones.
_DENSITY = 0.2
# Beams flatter than this meet the ground nowhere.
_FLATTEST = 1e-9


@dataclass(frozen=True, slots=True)
class LidarDevice:
    """
    A device: elevations of its beams and the azimuths that it turns over, in degrees.

    The beams lie densest about `middle`, where the road users are. It turns clockwise as seen from
    above, from `left` to `right`; x is ahead, y left, z up.
    """

    top: float
    middle: float
    bottom: float
    left: float
    right: float
    farthest: float  # m


DEVICES = {
    sim.PANDAR128: LidarDevice(14.4, -3.0, -25.0, 180.0, -180.0, 200.0),
    sim.AT128: LidarDevice(12.9, -1.0, -12.5, 60.0, -60.0, 210.0),
}


@dataclass(frozen=True, slots=True, eq=False)
class Beams:
    """Directions (C, R, 3) of columns and rows in the sensor's frame; elevations top first."""

    directions: Array
    azimuths: Array
    elevations: Array


@lru_cache(maxsize=8)
def beams(device: LidarDevice, rows: int, columns: int) -> Beams:
    """Return so many rows from top to bottom, and columns as of a full turn of 360 degrees."""
    share = device.left - device.right
    width = columns if share >= 360.0 else max(1, round(columns * share / 360.0))
    middles = (np.arange(width) + 0.5) / width
    azimuths = np.radians(device.left - share * middles)
    place = np.linspace(1.0, -1.0, rows)
    spread = np.where(place > 0.0, device.top - device.middle, device.middle - device.bottom)
    bent = _DENSITY * place + (1.0 - _DENSITY) * place**3
    elevations = np.radians(device.middle + spread * bent)
    flat, up = np.cos(elevations), np.sin(elevations)
    directions = np.empty((width, rows, 3))
    directions[..., 0] = np.cos(azimuths)[:, np.newaxis] * flat
    directions[..., 1] = np.sin(azimuths)[:, np.newaxis] * flat
    directions[..., 2] = up
    return Beams(directions, azimuths, elevations)


def reflectivities(labels: tuple[str, ...]) -> Array:
    """Return how much light comes back of each class (N,), 0 to 1."""
    kinds = map(kind_of, labels)
    return np.array([_REFLECTIVITY.get(kind, _OTHER_REFLECTIVITY) for kind in kinds])


def ground_reflectivities(paint: GroundPaint, spots: Array) -> Array:
    """Return how much light comes back of the ground at x, y in the map (N, 2)."""
    place = np.floor((spots - (paint.x0, paint.y0)) / (2.0 * paint.pixel)).astype(np.intp)
    height, width = paint.bare.shape
    painted = ((place >= 0) & (place < (width, height))).all(axis=1)
    grey = np.full(len(spots), _grey(VERGE), dtype=np.uint8)
    grey[painted] = paint.bare[place[painted, 1], place[painted, 0]]
    found: Array = _OF_GREY[grey]
    return found


def _grey(colour: tuple[int, int, int]) -> int:
    return round(float(np.dot(colour, (0.299, 0.587, 0.114))))


# Of the ground, as bright as it is painted in the pictures.
_GROUND = ((0.04, (0, 0, 0)), (0.10, ASPHALT), (0.32, VERGE), (0.42, PAVING), (0.95, LINE))
_OF_GREY = np.interp(
    np.arange(256), [_grey(colour) for _, colour in _GROUND], [share for share, _ in _GROUND]
)


class Spin:
    """
    One spin: for each beam the nearest thing that it has met so far.

    T_start, T_end: T_map_sensor (4, 4) at both ends; the head is halfway in the middle of them.
    """

    def __init__(self, fired: Beams, T_start: Array, T_end: Array) -> None:
        self._beams = fired
        self._end = T_end
        count = len(fired.azimuths)
        rotations, self._origins = poses_between(T_start, T_end, (np.arange(count) + 0.5) / count)
        # (3, C, R), so that what is asked of all three is asked of whole columns.
        self._rays = np.einsum('cij,crj->icr', rotations, fired.directions, optimize=True)
        self._distance = np.full(self._rays.shape[1:], np.inf)
        self._intensity = np.zeros(self._rays.shape[1:])
        middle = len(self._origins) // 2
        # Where the sensor is in the middle of the spin.
        self.eye: Array = self._origins[middle]
        # How far the sensor is from there, and turned, at most.
        self._way = float(np.linalg.norm(self._origins - self.eye, axis=1).max())
        cosine = 0.5 * (np.trace(T_start[:3, :3].T @ T_end[:3, :3]) - 1.0)
        self._turn = math.acos(min(1.0, max(-1.0, cosine)))
        self._axes = rotations[middle]

    def meet_ground(self, plane: Plane, paint: GroundPaint) -> None:
        """
        Let the beams that point down and have met nothing meet the painted ground.

        So boxes come before it, as in pictures, also where they are sunk into it.
        """
        down = -np.tensordot(plane.normal, self._rays, 1)
        height = (self._origins - plane.origin) @ plane.normal
        free = (self._distance == np.inf) & (down > _FLATTEST) & (height > 0.0)[:, np.newaxis]
        column = np.nonzero(free)[0]
        distance = height[column] / down[free]
        spots = self._origins[column, :2] + (self._rays[:2, free] * distance).T
        self._distance[free] = distance
        self._intensity[free] = _light(
            ground_reflectivities(paint, spots), down[free], _LEAST_OF_GROUND
        )

    def meet_box(self, T_map_box: Array, dims: Array, reflectivity: float) -> None:
        """Let the beams that may meet a box meet it, slab by slab, from outside."""
        columns, rows = self._towards(T_map_box[:3, 3], 0.5 * float(np.linalg.norm(dims)))
        if not columns.size or rows.start >= rows.stop:
            return
        turn = T_map_box[:3, :3]
        half = 0.5 * dims[:, np.newaxis]
        origin = turn.T @ (self._origins[columns] - T_map_box[:3, 3]).T
        ray = np.tensordot(turn.T, self._rays[:, columns, rows], 1)
        with np.errstate(divide='ignore', invalid='ignore'):
            inverse = 1.0 / ray
            one, other = ((side - origin)[..., np.newaxis] * inverse for side in (-half, half))
        enters = np.minimum(one, other)
        near, far = enters.max(axis=0), np.maximum(one, other).min(axis=0)
        # The cosine of the angle to the normal of the face that is entered.
        facing = np.where(enters == near, np.abs(ray), 0.0).max(axis=0)
        distance = np.where(near < far, near, np.inf)
        best, light = self._distance[columns, rows], self._intensity[columns, rows]
        nearer = (distance > 0.0) & (distance < best)
        best[nearer] = distance[nearer]
        light[nearer] = _light(reflectivity, facing[nearer], _LEAST_OF_BOXES)
        self._distance[columns, rows], self._intensity[columns, rows] = best, light

    def cloud(self, farthest: float, noise: Array | None = None) -> Cloud:
        """
        Return the points (N, 3) in the sensor's frame at the end, and intensities (N,) 0 to 1.

        noise (C, R): metres to add to the distances.
        """
        measured = self._distance if noise is None else self._distance + noise
        seen = (measured >= NEAREST) & (measured <= farthest)
        column = np.nonzero(seen)[0]
        points = self._origins[column] + (self._rays[:, seen] * measured[seen]).T
        local = ((points - self._end[:3, 3]) @ self._end[:3, :3]).astype(np.float32)
        # Nothing is beyond the range from where the sensor is in the end, either.
        within = np.linalg.norm(local, axis=1) <= farthest
        return local[within], self._intensity[seen][within].astype(np.float32)

    def _towards(self, centre: Array, radius: float) -> tuple[NDArray[np.intp], slice]:
        """Return the columns and rows among whose beams are all that can meet a sphere."""
        local = (centre - self.eye) @ self._axes
        distance = float(np.linalg.norm(local))
        reach = radius + self._way
        azimuths, elevations = self._beams.azimuths, self._beams.elevations
        everything = np.arange(len(azimuths)), slice(0, len(elevations))
        if distance <= reach:
            return everything
        angle = math.asin(reach / distance) + self._turn
        elevation = math.asin(local[2] / distance)
        if abs(elevation) + angle >= 0.5 * math.pi:
            return everything
        off = azimuths - math.atan2(local[1], local[0])
        off -= 2.0 * math.pi * np.round(off / (2.0 * math.pi))
        across = math.asin(min(1.0, math.sin(angle) / math.cos(elevation)))
        # Elevations fall from row to row.
        first = int(np.searchsorted(-elevations, -(elevation + angle)))
        last = int(np.searchsorted(-elevations, -(elevation - angle), side='right'))
        return np.flatnonzero(np.abs(off) <= across), slice(first, last)


def _light(reflectivity: Array | float, facing: Array, least: float) -> Array:
    """Return the intensities (N,) of beams by the cosine at which they meet something."""
    return reflectivity * (least + (1.0 - least) * facing)
