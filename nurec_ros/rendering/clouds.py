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
"""Replies of render_lidar: whether they hold a cloud, and its arrays out of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray
from nurec_ros.rendering.images import ReplyError
from nurec_ros.rendering.protos import sensorsim_pb2

Array = NDArray[np.float32]

# Ten times what the largest device returns in a turn.
MOST_POINTS = 2_000_000
_WIRE = np.dtype('<f4')

TOO_MANY = 'is it the device that the lidar is rendered as (parameter <lidar>.device)?'
BROKEN = (
    'is the server of a newer version than those known? render_lidar of 25.07 to 26.10 is; '
    'restart the container'
)


def check_cloud(reply: sensorsim_pb2.LidarRenderReturn) -> tuple[Array, Array]:
    """
    Return the points (N, 3) and intensities (N,) of a reply; ReplyError where they do not fit.

    Buffers are taken first and not copied, else the repeated floats, which servers of 2025 send.
    `num_points` is 0 there too: it is compared where it says something.
    """
    points = _floats(reply.point_xyzs_buffer, reply.point_xyzs, 'points')
    if len(points) % 3:
        raise ReplyError(f'the reply holds {len(points)} coordinates, expected 3 a point', BROKEN)
    count = len(points) // 3
    if reply.num_points not in (0, count):
        raise ReplyError(
            f'the reply holds {count} points, expected {reply.num_points}, its num_points', BROKEN
        )
    intensities = _floats(reply.point_intensities_buffer, reply.point_intensities, 'intensities')
    if len(intensities) != count:
        raise ReplyError(
            f'the reply holds {len(intensities)} intensities, expected {count}, one a point',
            BROKEN,
        )
    for name, values in (('coordinates', points), ('intensities', intensities)):
        finite = np.isfinite(values)
        if not finite.all():
            wrong = len(values) - int(np.count_nonzero(finite))
            raise ReplyError(
                f'{wrong} of {len(values)} {name} of the reply are not finite', BROKEN
            )
    return points.reshape(-1, 3), intensities


def _floats(buffer: bytes, repeated: Sequence[float], name: str) -> Array:
    width = 3 if name == 'points' else 1
    length = len(buffer) // _WIRE.itemsize or len(repeated)
    if length > width * MOST_POINTS:
        raise ReplyError(
            f'the reply holds {length // width} {name}, expected {MOST_POINTS} at most', TOO_MANY
        )
    if buffer:
        if len(buffer) % _WIRE.itemsize:
            raise ReplyError(
                f'the reply holds {len(buffer)} bytes of {name}, expected 4 a number', BROKEN
            )
        return cast(Array, np.frombuffer(buffer, _WIRE))
    values = np.fromiter(repeated, np.float32, len(repeated))
    values.flags.writeable = False
    return values
