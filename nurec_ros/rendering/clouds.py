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
Spins of lidars, in both directions: of which device and window to ask, and the cloud that comes.

The request itself, whose poses are made as those of pictures, is built in requests.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import re
from typing import cast

import numpy as np
from numpy.typing import NDArray
from nurec_ros.rendering.images import ReplyError
from nurec_ros.rendering.protos import sensorsim_pb2
from nurec_ros.scenario import Lidar

Array = NDArray[np.float32]

LIDAR_DEVICES = {
    'pandar128': sensorsim_pb2.PANDAR128,
    'at128': sensorsim_pb2.AT128,
}
DEFAULT_DEVICE = 'pandar128'
# How lidars are named in NuRec's scenes: lidar_gt_top_p128.
_DEVICE_WORDS = {'pandar128': 'pandar128', 'p128': 'pandar128', 'at128': 'at128'}
DEFAULT_SPIN_US = 100_000

# Ten times what the largest device returns in a turn.
MOST_POINTS = 2_000_000
_WIRE = np.dtype('<f4')

TOO_MANY = 'is it the device that the lidar is rendered as (parameter <lidar>.device)?'
BROKEN = (
    'is the server of a newer version than those known? render_lidar of 25.07 to 26.10 is; '
    'restart the container'
)


def device_of(lidar: str, chosen: Mapping[str, str]) -> tuple[str, str]:
    """Return the device that a lidar is rendered as, and what there is to say about that."""
    wanted = chosen.get(lidar, '')
    if wanted:
        return wanted, ''
    for word, device in _DEVICE_WORDS.items():
        if re.search(rf'(?<![a-z0-9]){word}(?![a-z0-9])', lidar.lower()):
            return device, ''
    return DEFAULT_DEVICE, (
        f"the name of lidar '{lidar}' tells no device that servers render "
        f'({", ".join(LIDAR_DEVICES)}): it is rendered as {DEFAULT_DEVICE}; set <lidar>.device'
    )


def spin_window(lidar: Lidar, t_ns: int, first_us: int, last_us: int) -> tuple[int, int]:
    """
    Return the window [start, end) in microseconds of the spin that ends at t_ns.

    The recorded one that ends then, else a turn of the model's frequency, or of 10 Hz. Moved into
    [first_us, last_us] as exposures are.
    """
    t_us = t_ns // 1000
    spins_us = lidar.spin_times_ns // 1000
    index = int(np.searchsorted(spins_us[:, 1], t_us))
    if index < len(spins_us) and spins_us[index, 1] == t_us:
        length_us = t_us - int(spins_us[index, 0])
    elif lidar.model is not None:
        length_us = max(round(1e6 / lidar.model.spinning_frequency_hz), 1)
    else:
        length_us = DEFAULT_SPIN_US
    end_us = min(max(t_us, first_us + 1), max(last_us, first_us + 1))
    return max(min(end_us - length_us, end_us - 1), first_us), end_us


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
