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
The topics of a camera and of a lidar, and camera models as ROS knows them.

ROS has names for three lenses: plumb_bob, rational_polynomial and equidistant. OpenCV's pinhole
and fisheye models are these already; NuRec's F-theta is fitted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from nurec_ros.rendering.frames import Cloud, decode_rgb, Frame
from nurec_ros.ros.conversions import set_bytes, set_time
from nurec_ros.ros.names import FrameNames
from nurec_ros.ros.outlet import Outlet, Publication, reliable
from nurec_ros.scenario import Lidar
from nurec_ros.scenario.cameras import (
    CameraModel,
    FisheyeCamera,
    FitResidual,
    PinholeCamera,
)
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField

PLUMB_BOB = 'plumb_bob'
RATIONAL_POLYNOMIAL = 'rational_polynomial'
EQUIDISTANT = 'equidistant'
DEPTH = 10
# As image_transport's compressed_image_transport writes and reads it: what the decoded image
# shall be, and what the bytes hold. With another text, colours come out swapped.
FORMATS = {
    'jpeg': 'rgb8; jpeg compressed bgr8',
    'png': 'rgb8; png compressed bgr8',
}
_PLACE = [('x', '<f4'), ('y', '<f4'), ('z', '<f4')]
LAYOUTS = {
    'xyzi': np.dtype([*_PLACE, ('intensity', '<f4')]),
    # Autoware's PointXYZIRC.
    'xyzirc': np.dtype([*_PLACE, ('intensity', 'u1'), ('return_type', 'u1'), ('channel', '<u2')]),
}
_KINDS = {'<f4': PointField.FLOAT32, '|u1': PointField.UINT8, '<u2': PointField.UINT16}
# What a point is beyond its layout, as KITTI has it.
KITTI = ('x', 'y', 'z', 'intensity')
# Of a point that came back once: the strongest and last one alike.
SINGLE_RETURN = 1
# Rows that are closer than a thousandth of a degree are looked for one by one.
_MOST_BINS = 1 << 16
_TINY = 1e-300


@dataclass(frozen=True, slots=True)
class Calibration:
    """
    A camera at its calibration's size, in ROS's terms.

    `focal` and `principal` are in pixels, with pixel centres at whole coordinates. `residual`
    is that of a fit (`rms_px`, `max_px`), None where nothing was fitted. `notes` are sentences
    about what ROS's model cannot say. A camera that cannot be described has no distortion model
    and a focal length of 0, which is how CameraInfo says "not calibrated" (REP 104).
    """

    distortion_model: str
    d: tuple[float, ...]
    focal: tuple[float, float]
    principal: tuple[float, float]
    resolution: tuple[int, int]
    residual: FitResidual | None = None
    notes: tuple[str, ...] = ()


def calibration(model: CameraModel) -> Calibration:
    """
    Put a camera model into ROS's terms.

    An F-theta model, and a fisheye behind a windshield, is fitted by an equidistant one over the
    image, which takes a moment: keep the result.
    """
    if isinstance(model, PinholeCamera):
        return _pinhole(model)
    if isinstance(model, FisheyeCamera) and not model.needs_fit:
        return _fisheye(model, None)
    try:
        fitted, residual = model.fit('equidistant')
    except ValueError as error:
        note = f'camera_info says uncalibrated: {error}'
        return Calibration('', (), (0.0, 0.0), (0.0, 0.0), model.resolution, notes=(note,))
    return _fisheye(fitted, residual)


def _pinhole(model: PinholeCamera) -> Calibration:
    k1, k2, k3, k4, k5, k6 = (float(value) for value in model.radial_coeffs)
    p1, p2 = (float(value) for value in model.tangential_coeffs)
    notes: tuple[str, ...] = ()
    if model.windshield is not None:
        notes += ('the windshield is left out of camera_info: ROS has no model for it',)
    if any(model.thin_prism_coeffs):
        notes += (
            'the thin prism terms are left out of camera_info: rational_polynomial has no room',
        )
    name = RATIONAL_POLYNOMIAL
    d: tuple[float, ...] = (k1, k2, p1, p2, k3, k4, k5, k6)
    if not any((k4, k5, k6)):
        name, d = PLUMB_BOB, d[:5]
    return Calibration(name, d, *_intrinsics(model), notes=notes)


def _fisheye(model: FisheyeCamera, residual: FitResidual | None) -> Calibration:
    d = tuple(float(value) for value in model.radial_coeffs)
    return Calibration(EQUIDISTANT, d, *_intrinsics(model), residual=residual)


def _intrinsics(
    model: PinholeCamera | FisheyeCamera,
) -> tuple[tuple[float, float], tuple[float, float], tuple[int, int]]:
    fx, fy = (float(value) for value in model.focal_length)
    cx, cy = (float(value) for value in model.principal_point)
    width, height = (int(value) for value in model.resolution)
    return (fx, fy), (cx, cy), (width, height)


def camera_info(calibrated: Calibration, width: int, height: int, frame: str) -> CameraInfo:
    """
    Return the CameraInfo of an image of `width` by `height` pixels; its stamp is not set.

    Each axis scales by itself (a server may keep another aspect than asked for). R is the
    identity and P is K without distortion: rviz's Camera display, which reads P alone, overlays
    an undistorted image exactly.
    """
    (fx, fy), (cx, cy) = calibrated.focal, calibrated.principal
    sx, sy = width / calibrated.resolution[0], height / calibrated.resolution[1]
    fx, fy = fx * sx, fy * sy
    # Pixel centres are whole numbers, so the image begins at -0.5 and that edge stays in place.
    cx, cy = (cx + 0.5) * sx - 0.5, (cy + 0.5) * sy - 0.5
    message = CameraInfo(
        width=int(width),
        height=int(height),
        distortion_model=calibrated.distortion_model,
        d=list(calibrated.d),
        k=[fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )
    message.header.frame_id = frame
    return message


class CameraTopics:
    """
    Publishes the frames of one camera; nothing is decoded or copied for topics nobody reads.

    `model` is the lens behind the images, at its calibration's size. `publish` is called in the
    pipeline's threads, by one at a time; everything else belongs to the executor's.
    """

    def __init__(
        self,
        outlet: Outlet,
        frames: FrameNames,
        camera: str,
        model: CameraModel,
        image_format: str,
    ) -> None:
        self.camera = camera
        self.frame_id = frames.optical(camera)
        self.calibration: Calibration = calibration(model)
        base = f'~/{frames.tokens[camera]}'
        self._publications: list[Publication] = []
        try:
            self._raw = self._advertise(outlet, Image, f'{base}/image_raw')
            self._info = self._advertise(outlet, CameraInfo, f'{base}/camera_info')
            self._compressed: Publication | None = None
            if image_format in FORMATS:
                topic = f'{base}/image_raw/compressed'
                self._compressed = self._advertise(outlet, CompressedImage, topic)
        except BaseException:
            self.destroy()
            raise
        self._raw_message = Image(encoding='rgb8', is_bigendian=0)
        self._compressed_message = CompressedImage()
        self._info_message: CameraInfo | None = None
        for message in (self._raw_message, self._compressed_message):
            message.header.frame_id = self.frame_id

    def _advertise(self, outlet: Outlet, message_type: type, topic: str) -> Publication:
        publication = outlet.advertise(message_type, topic, reliable(DEPTH))
        self._publications.append(publication)
        return publication

    @property
    def audience(self) -> tuple[int, ...]:
        """Return the numbers of subscriptions to the topics, always in the same order."""
        return tuple(publication.subscribers for publication in self._publications)

    def publish(self, frame: Frame) -> None:
        """Publish a frame on those of the topics that somebody subscribes to."""
        # First, for it is what takes long: the topics stay together, and what does not decode
        # goes out on none of them.
        rgb = decode_rgb(frame) if self._raw.subscribers else None
        if self._info.subscribers:
            self._publish_info(frame)
        if self._compressed is not None and self._compressed.subscribers:
            text = FORMATS.get(frame.encoding)
            if text is not None:
                message = self._compressed_message
                set_time(message.header.stamp, frame.t_ns)
                message.format = text
                set_bytes(message.data, frame.data)
                self._compressed.publish(message)
        if rgb is not None:
            self._publish_raw(frame.t_ns, rgb)

    def _publish_info(self, frame: Frame) -> None:
        message = self._info_message
        if message is None or (message.width, message.height) != (frame.width, frame.height):
            message = camera_info(self.calibration, frame.width, frame.height, self.frame_id)
            self._info_message = message
        set_time(message.header.stamp, frame.t_ns)
        self._info.publish(message)

    def _publish_raw(self, t_ns: int, rgb: NDArray[np.uint8]) -> None:
        message = self._raw_message
        set_time(message.header.stamp, t_ns)
        message.height, message.width = rgb.shape[:2]
        message.step = 3 * message.width
        set_bytes(message.data, rgb)
        self._raw.publish(message)

    def destroy(self) -> None:
        for publication in self._publications:
            publication.destroy()


def points_of(message: PointCloud2) -> NDArray[np.float32]:
    """Return the points (K, 4) of a cloud in one of LAYOUTS: x y z intensity, that from 0 to 1."""
    names = tuple(field.name for field in message.fields)
    layout = next(layout for layout in LAYOUTS.values() if layout.names == names)
    points = np.frombuffer(message.data, layout)
    rows = np.stack([points[name] for name in KITTI], axis=1).astype('<f4')
    if layout['intensity'] == np.uint8:
        rows[:, 3] /= 255.0
    return rows


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
        topic = f'~/{frames.tokens[lidar.name]}/points'
        self._publication = outlet.advertise(PointCloud2, topic, reliable(DEPTH))
        self._message = PointCloud2(height=1, is_bigendian=False, is_dense=True)
        self._message.header.frame_id = frames.body(lidar.name)
        self._message.point_step = self._dtype.itemsize
        self._message.fields = [
            PointField(name=name, offset=offset, datatype=_KINDS[kind.str], count=1)
            for name, (kind, offset, *_) in (self._dtype.fields or {}).items()
        ]

    @property
    def audience(self) -> tuple[int, ...]:
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
