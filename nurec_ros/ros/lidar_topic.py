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
"""A lidar's topic: points, in one of two layouts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from nurec_ros.rendering.frames import Cloud
from nurec_ros.ros.conversions import set_time
from nurec_ros.ros.names import FrameNames
from nurec_ros.ros.outlet import Outlet, reliable
from nurec_ros.scenario import Lidar
from sensor_msgs.msg import PointCloud2, PointField

DEPTH = 10

_PLACE = [('x', '<f4'), ('y', '<f4'), ('z', '<f4')]
LAYOUTS = {
    'xyzi': np.dtype([*_PLACE, ('intensity', '<f4')]),
    # Autoware's PointXYZIRC.
    'xyzirc': np.dtype([*_PLACE, ('intensity', 'u1'), ('return_type', 'u1'), ('channel', '<u2')]),
}
_KINDS = {'<f4': PointField.FLOAT32, '|u1': PointField.UINT8, '<u2': PointField.UINT16}
# Of a point that came back once: the strongest and last one alike.
SINGLE_RETURN = 1
# Rows that are closer than a thousandth of a degree are looked for one by one.
_MOST_BINS = 1 << 16
_TINY = 1e-300


class LidarTopic:
    """
    Publishes the clouds of one lidar.

    `note` is what there is to say of the layout, else empty; `points` is the number of the last
    cloud. `publish` is called in the pipeline's threads, by one at a time; everything else belongs
    to the executor's.
    """

    def __init__(self, outlet: Outlet, frames: FrameNames, lidar: Lidar, layout: str) -> None:
        self.note = ''
        self.points: int | None = None
        self._channels: Callable[[NDArray[np.float32]], NDArray[np.uint16]] | None = None
        if layout == 'xyzirc' and lidar.model is None:
            layout = 'xyzi'
            self.note = (
                'its model is not known, and without the elevations of its rows there are no '
                f'channels: its points are {layout}'
            )
        elif layout == 'xyzirc' and lidar.model is not None:
            self._channels = channels_of(lidar.model.row_elevations_rad)
        self._dtype = LAYOUTS[layout]
        topic = f'~/{frames.token(lidar.name)}/points'
        self._publication = outlet.advertise(PointCloud2, topic, reliable(DEPTH))
        self._message = PointCloud2(height=1, is_bigendian=False, is_dense=True)
        self._message.header.frame_id = frames.lidar(lidar.name)
        self._message.point_step = self._dtype.itemsize
        self._message.fields = [
            PointField(name=name, offset=offset, datatype=_KINDS[kind.str], count=1)
            for name, (kind, offset, *_) in (self._dtype.fields or {}).items()
        ]

    @property
    def audience(self) -> tuple[int, ...]:
        """Return the number of subscriptions."""
        return (self._publication.subscribers,)

    def publish(self, cloud: Cloud) -> None:
        """Publish a cloud if somebody subscribes."""
        count = self.points = len(cloud.points)
        if not self._publication.subscribers:
            return
        message = self._message
        set_time(message.header.stamp, cloud.t_ns)
        message.width, message.row_step = count, count * self._dtype.itemsize
        # Written where the message has them: one copy.
        data = message.data
        length = message.row_step
        del data[length:]
        data.frombytes(bytes(message.row_step - len(data)))
        rows = np.frombuffer(data, self._dtype)
        for axis, name in enumerate('xyz'):
            rows[name] = cloud.points[:, axis]
        if self._channels is None:
            rows['intensity'] = cloud.intensities
        else:
            rows['intensity'] = np.rint(np.clip(cloud.intensities, 0.0, 1.0) * 255.0)
            rows['return_type'] = SINGLE_RETURN
            rows['channel'] = self._channels(cloud.points)
        # While a view of it lives, the array cannot change its size.
        del rows
        self._publication.publish(message)

    def destroy(self) -> None:
        """Take the topic away."""
        self._publication.destroy()


def channels_of(
    row_elevations_rad: NDArray[np.float64],
) -> Callable[[NDArray[np.float32]], NDArray[np.uint16]]:
    """Return what finds the row of points (N, 3): the one whose elevation is nearest."""
    elevations, first = np.unique(row_elevations_rad, return_index=True)
    middles = 0.5 * (elevations[1:] + elevations[:-1])
    # No point is beyond the zenith or the nadir.
    inside = np.abs(middles) < 0.5 * np.pi
    below = np.count_nonzero(middles <= -0.5 * np.pi)
    # Sines rise as elevations do, and take no arc tangent a point.
    edges = np.sin(middles[inside])
    rows = first[below:][: len(edges) + 1].astype(np.uint16)
    if not len(edges):
        return lambda points: np.full(len(points), rows[0])
    # Bins that hold an edge each at most; bins of edges are counted as those of points are, so
    # that rounding puts none on the wrong side.
    low = float(edges[0])
    scale = 1.001 / float(np.diff(edges).min(initial=1.0))
    places = ((edges - low) * scale + 1.0).astype(np.intp)
    last = int(places[-1]) + 1
    if last > _MOST_BINS or not np.diff(places).all():
        return lambda points: rows[np.searchsorted(edges, _sines(points))]
    passed = np.searchsorted(places, np.arange(last + 1))
    thresholds = np.append(edges, np.inf)[passed]
    # The rows below and above a bin's threshold.
    pairs = np.stack([rows[passed], rows[np.minimum(passed + 1, len(edges))]], axis=1).ravel()

    def channels(points: NDArray[np.float32]) -> NDArray[np.uint16]:
        sines = _sines(points)
        bins = np.clip((sines - low) * scale + 1.0, 0.0, last).astype(np.intp)
        above = sines > thresholds.take(bins)
        bins *= 2
        bins += above
        found: NDArray[np.uint16] = pairs.take(bins)
        return found

    return channels


def _sines(points: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the sines of the elevations of points (N, 3), 0 at the origin."""
    x, y, z = points.T.astype(np.float64)
    # Squares of float32 are far from the bounds of float64.
    sines: NDArray[np.float64] = z / np.maximum(np.sqrt(x * x + y * y + z * z), _TINY)
    return sines
