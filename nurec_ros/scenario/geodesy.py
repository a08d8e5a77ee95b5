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
"""Places on the WGS-84 ellipsoid."""

from __future__ import annotations

import math

SEMI_MAJOR_M = 6_378_137.0
FLATTENING = 1.0 / 298.257223563


def geodetic(x: float, y: float, z: float) -> tuple[float, float, float]:
    """
    Return latitude and longitude (deg) and ellipsoidal height (m) of an ECEF position near Earth.

    Heikkinen's closed form (Zeitschrift fuer Vermessungswesen 107, 1982), as in J. Zhu,
    "Conversion of Earth-centered Earth-fixed coordinates to geodetic coordinates", IEEE
    Transactions on Aerospace and Electronic Systems 30(3), 1994.
    """
    a, e2 = SEMI_MAJOR_M, FLATTENING * (2.0 - FLATTENING)
    b = a * (1.0 - FLATTENING)
    r = math.hypot(x, y)
    f = 54.0 * b * b * z * z
    g = r * r + (1.0 - e2) * z * z - e2 * (a * a - b * b)
    c = e2 * e2 * f * r * r / g**3
    s = (1.0 + c + math.sqrt(c * (c + 2.0))) ** (1.0 / 3.0)
    p = f / (3.0 * (s + 1.0 / s + 1.0) ** 2 * g * g)
    q = math.sqrt(1.0 + 2.0 * e2 * e2 * p)
    inner = (
        0.5 * a * a * (1.0 + 1.0 / q) - p * (1.0 - e2) * z * z / (q * (1.0 + q)) - 0.5 * p * r * r
    )
    # Rounding leaves a little less than nothing at the poles.
    r0 = -p * e2 * r / (1.0 + q) + math.sqrt(max(inner, 0.0))
    u = math.hypot(r - e2 * r0, z)
    v = math.sqrt((r - e2 * r0) ** 2 + (1.0 - e2) * z * z)
    height = u * (1.0 - b * b / (a * v))
    z0 = b * b * z / (a * v)
    latitude = math.atan2(z + e2 / (1.0 - e2) * z0, r)
    return math.degrees(latitude), math.degrees(math.atan2(y, x)), height
