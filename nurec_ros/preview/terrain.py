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
"""Where the ground is: a plane that follows the ego's way up and down."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# The slope is taken over this much of the way to each side, so that braking does not tip it.
_REACH = 15.0
_SHORTEST = 5.0


class Plane(NamedTuple):
    """A plane through `origin` (3,) with the unit normal `normal` (3,), in the map frame."""

    origin: Array
    normal: Array


class Terrain:
    """
    The ground about a way (N, 3), metres, in the map frame.

    At any place it is the plane through the nearest point of the way, as steep along it as the
    way is there over some 30 m, and level across it.
    """

    def __init__(self, positions: Array) -> None:
        self._positions = positions
        steps = np.hypot(*np.diff(positions[:, :2], axis=0).T)
        self._arc = np.concatenate([[0.0], np.cumsum(steps)])

    def plane_near(self, position: Array) -> Plane:
        """Give the ground's plane at the place of the way that is nearest to the position."""
        origin, arc = self._nearest(position)
        before = self._at(arc - _REACH)
        after = self._at(arc + _REACH)
        across = after - before
        run = float(np.hypot(across[0], across[1]))
        if run < _SHORTEST:
            return Plane(origin, np.array([0.0, 0.0, 1.0]))
        rise = across[2] / run
        normal = np.array([-rise * across[0] / run, -rise * across[1] / run, 1.0])
        return Plane(origin, normal / np.linalg.norm(normal))

    def _at(self, arc: float) -> Array:
        return np.array([np.interp(arc, self._arc, column) for column in self._positions.T])

    def _nearest(self, position: Array) -> tuple[Array, float]:
        """Give the nearest point of the way's segments and its length along the way."""
        if len(self._positions) == 1:
            return self._positions[0], 0.0
        first, last = self._positions[:-1], self._positions[1:]
        along = last - first
        squared = np.maximum(np.einsum('ij,ij->i', along, along), 1e-18)
        part = np.einsum('ij,ij->i', position - first, along) / squared
        part = np.clip(part, 0.0, 1.0)
        points = first + part[:, np.newaxis] * along
        best = int(np.argmin(((points - position) ** 2).sum(axis=1)))
        arc = self._arc[best] + part[best] * (self._arc[best + 1] - self._arc[best])
        return points[best], float(arc)
