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
What to ask the server: from scenario, sensor and time to a request for a picture or a cloud.

Poses are the sensor's in the map frame (the USDZ's world frame), T_map_rig @ T_rig_offset @
T_rig_camera with optical axes, or @ T_rig_lidar; `world_to_nre` is never applied, the server does
that. The exposure is a half-open interval of microseconds, kept inside the scenario's range.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
import math
from typing import Protocol, TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from nurec_ros.errors import RenderError
from nurec_ros.poses import Pose, quaternion_of
from nurec_ros.rendering.policy import RenderOptions
from nurec_ros.rendering.protos import sensorsim_pb2
from nurec_ros.scenario import Camera, Lidar, Scenario
from nurec_ros.scenario.cameras import (
    CameraModel,
    FisheyeCamera,
    FthetaCamera,
    PinholeCamera,
    Windshield,
)
from nurec_ros.scenario.cameras.nvidia import POLYNOMIALS

if TYPE_CHECKING:
    from google.protobuf.message import Message

Array = NDArray[np.float64]
Request: TypeAlias = sensorsim_pb2.RGBRenderRequest | sensorsim_pb2.LidarRenderRequest

IMAGE_FORMATS = {
    'jpeg': sensorsim_pb2.JPEG,
    'png': sensorsim_pb2.PNG,
    'rgb': sensorsim_pb2.RGB_UINT8_PLANAR,
}
LIDAR_TYPES = {'pandar128': sensorsim_pb2.PANDAR128, 'at128': sensorsim_pb2.AT128}
DEFAULT_SPIN_US = 100_000
# The lenses: the wire's name, and the fields that it takes as the model has them. Servers assert
# the lengths of OpenCV's lists, which are the model's; empty ones end in an assertion there.
LENSES: Mapping[type[CameraModel], tuple[str, tuple[str, ...]]] = {
    FthetaCamera: (
        'ftheta_param',
        ('pixeldist_to_angle_poly', 'angle_to_pixeldist_poly', 'max_angle'),
    ),
    PinholeCamera: (
        'opencv_pinhole_param',
        ('radial_coeffs', 'tangential_coeffs', 'thin_prism_coeffs'),
    ),
    FisheyeCamera: ('opencv_fisheye_param', ('radial_coeffs', 'max_angle')),
}


class EgoMotion(Protocol):
    """Where the ego is, in map, where it is not the recorded one."""

    def pose(self, t_ns: NDArray[np.int64]) -> Pose:
        """Return the poses at times (N,)."""


@dataclass(frozen=True, slots=True)
class _PerSensor:
    """
    What the requests of a sensor share; shots by time: what those of the recorded ones add.

    A shot is a request that holds no more than its window and its poses. Both are encoded: joined
    they are a request, decoded faster than messages are merged.
    """

    sensor: Camera | Lidar
    message: type[Message]
    template: bytes
    T_rig_sensor: Array
    shots: dict[int, bytes]


class RequestBuilder:
    """
    Builds the requests of one scenario under one set of options; immutable but for its cache.

    What does not change from frame to frame is built once per sensor.
    """

    def __init__(self, scenario: Scenario, options: RenderOptions) -> None:
        self.options = options
        self.scenario = scenario
        self._first_us = -(-scenario.start_ns // 1000)
        self._last_us = scenario.end_ns // 1000
        self._T_rig_offset = rig_offset(options.rig_offset)
        self._kept: dict[str, _PerSensor] = {}

    def output_model(self, camera: str) -> CameraModel:
        """Return the model behind the pictures of a camera, at its native size."""
        found = self._camera(camera)
        model = found.model
        if model is None or not found.renderable:
            why = found.problem or f'{camera} has no camera model'
            raise RenderError(f'{camera} is not renderable: {why}')
        if self.options.projection == 'pinhole':
            return pinhole_view(model, self.options.hfov_deg)
        return model

    def frame_size(self, camera: str) -> tuple[int, int]:
        """Return the (width, height) to ask for: the native size scaled, rounded, at least 1."""
        scale = self.options.camera_scales.get(camera, self.options.resolution_scale)
        width, height = self.output_model(camera).resolution
        return max(1, math.floor(width * scale + 0.5)), max(1, math.floor(height * scale + 0.5))

    def is_lidar(self, name: str) -> bool:
        return name in self.scenario.lidars

    def rig_poses(self, sensor: str, t_ns: int, ego: EgoMotion) -> Array:
        """Return T_map_rig (2, 4, 4) of an ego at both ends of an exposure, or of a spin."""
        found = self.scenario.lidars.get(sensor) or self._camera(sensor)
        times_ns = self._pose_times(found, t_ns, self._window(found, t_ns))
        return ego.pose(np.array(times_ns, dtype=np.int64)).matrix

    def build(
        self,
        scene_id: str,
        sensor: str,
        t_ns: int,
        *,
        with_tracks: bool = False,
        rig_poses: Array | None = None,
    ) -> Request:
        """
        Build the request for a camera's frame at the time t_ns, or a lidar's spin that ends then.

        with_tracks: place the road users that a client may. The ego is the recorded one without
        `rig_poses`. RenderError if the sensor cannot be rendered.
        """
        kept = self._kept.get(sensor) or self._keep(sensor)
        shot = kept.shots.get(t_ns) if rig_poses is None else None
        if shot is None:
            (shot,) = self._shots(kept, [t_ns], rig_poses)
        request = kept.message.FromString(kept.template + shot)
        request.scene_id = scene_id
        if with_tracks:
            window_us = request.frame_start_us, request.frame_end_us
            times_ns = self._pose_times(kept.sensor, t_ns, window_us)
            request.dynamic_objects.extend(track_poses(self.scenario, *times_ns))
        return request

    def _camera(self, name: str) -> Camera:
        camera = self.scenario.cameras.get(name)
        if camera is None:
            raise RenderError(f'the scenario has no camera {name}')
        return camera

    def _keep(self, name: str) -> _PerSensor:
        """
        Prepare what all requests of a sensor share, and the poses of all recorded ones.

        Computed one by one, a pose costs several times the rest of the request.
        """
        sensor: Camera | Lidar
        if self.is_lidar(name):
            sensor = self.scenario.lidars[name]
            device, _ = self.options.device_of(name)
            config = sensorsim_pb2.LidarSpec(lidar_type=LIDAR_TYPES[device])
            template = sensorsim_pb2.LidarRenderRequest(lidar_config=config)
            T_rig_sensor, times_ns = sensor.T_rig_lidar, sensor.spin_times_ns
        else:
            sensor = self._camera(name)
            width, height = self.frame_size(name)
            template = sensorsim_pb2.RGBRenderRequest(
                resolution_h=height,
                resolution_w=width,
                camera_intrinsics=camera_spec(name, self.output_model(name)),
                image_format=IMAGE_FORMATS[self.options.image_format],
                # Meant for JPEG; left out it is 0, which no encoder takes.
                image_quality=self.options.image_quality,
            )
            T_rig_sensor, times_ns = sensor.T_rig_camera, sensor.frame_times_ns
        T_rig_sensor = self._T_rig_offset @ T_rig_sensor
        encoded = template.SerializeToString()
        kept = _PerSensor(sensor, type(template), encoded, T_rig_sensor, {})
        times = (times_ns[:, 1] // 1000 * 1000).tolist()
        kept.shots.update(zip(times, self._shots(kept, times)))  # noqa: B905 (one for each)
        self._kept[name] = kept
        return kept

    def _window(self, sensor: Camera | Lidar, t_ns: int) -> tuple[int, int]:
        recorded = self.options.shutter == 'recorded'
        return window(sensor, t_ns, recorded, self._first_us, self._last_us)

    def _pose_times(
        self, sensor: Camera | Lidar, t_ns: int, window_us: tuple[int, int]
    ) -> tuple[int, int]:
        """Return the times (ns) of both poses of a frame or spin, given its window (us)."""
        if isinstance(sensor, Camera) and self.options.shutter != 'recorded':
            # It shows the instant itself, not 1 us: both poses are the one at the stamp.
            return t_ns, t_ns
        return window_us[0] * 1000, window_us[1] * 1000

    def _shots(
        self, kept: _PerSensor, times_ns: Sequence[int], rig_poses: Array | None = None
    ) -> list[bytes]:
        windows = [self._window(kept.sensor, t_ns) for t_ns in times_ns]
        T_map_rig = rig_poses
        if T_map_rig is None:
            both = zip(times_ns, windows)  # noqa: B905 (one for each)
            times = [self._pose_times(kept.sensor, *one) for one in both]
            T_map_rig = self.scenario.ego.at(np.array(times, dtype=np.int64).reshape(-1))
        T_map_sensor = T_map_rig @ kept.T_rig_sensor
        shots = []
        for index, (start_us, end_us) in enumerate(windows):
            shot = kept.message(frame_start_us=start_us, frame_end_us=end_us)
            _fill_pair(shot.sensor_pose, T_map_sensor[2 * index], T_map_sensor[2 * index + 1])
            shots.append(shot.SerializeToString())
        return shots


def window(
    sensor: Camera | Lidar, t_ns: int, recorded: bool, first_us: int, last_us: int
) -> tuple[int, int]:
    """
    Return the exposure, or the spin, [start, end) in microseconds that belongs to the time t_ns.

    An instant is [t, t + 1). A recorded exposure is the camera's own one that ends at t; at any
    other time it is as long as the one that ends nearest, and ends at t. A spin is the recorded
    one that ends at t, else a turn of the model's frequency, or of 10 Hz. All are moved into
    [first_us, last_us], which servers refuse to leave, and never empty.
    """
    end_us = t_ns // 1000
    if isinstance(sensor, Lidar):
        length_us = _spin_length(sensor, end_us)
    else:
        length_us = _recorded_length(sensor, end_us) if recorded else 0
        if not length_us:
            # An instant is 1 us long because an empty one is refused.
            end_us, length_us = end_us + 1, 1
    end_us = min(max(end_us, first_us + 1), max(last_us, first_us + 1))
    return max(min(end_us - length_us, end_us - 1), first_us), end_us


def _recorded_length(camera: Camera, t_us: int) -> int:
    """Return how long the exposure that ends nearest to t_us is; 0 without a recorded one."""
    times_us = camera.frame_times_ns // 1000
    if not len(times_us):
        return 0
    start_us, end_us = times_us[np.abs(times_us[:, 1] - t_us).argmin()].tolist()
    return int(end_us - start_us)


def _spin_length(lidar: Lidar, t_us: int) -> int:
    spins_us = lidar.spin_times_ns // 1000
    for start_us, end_us in spins_us[spins_us[:, 1] == t_us].tolist():
        return int(end_us - start_us)
    if lidar.model is None:
        return DEFAULT_SPIN_US
    return max(round(1e6 / lidar.model.spinning_frequency_hz), 1)


def camera_spec(logical_id: str, model: CameraModel) -> sensorsim_pb2.CameraSpec:
    """Return a camera model as the server takes it: native resolution, native intrinsics."""
    field, names = LENSES[type(model)]
    width, height = model.resolution
    spec = sensorsim_pb2.CameraSpec(
        logical_id=logical_id,
        resolution_h=height,
        resolution_w=width,
        shutter_type=model.shutter_type,
    )
    lens = getattr(spec, field)
    lens.principal_point_x, lens.principal_point_y = model.nurec_principal_point
    _fill(lens, model, names)
    if isinstance(model, FthetaCamera):
        lens.reference_poly = getattr(lens, model.reference_poly)
        c, d, e = model.linear_cde
        lens.linear_cde.CopyFrom(sensorsim_pb2.LinearCde(linear_c=c, linear_d=d, linear_e=e))
    elif isinstance(model, PinholeCamera | FisheyeCamera):
        lens.focal_length_x, lens.focal_length_y = model.focal_length
    if model.windshield is not None:
        glass = spec.bivariate_windshield_model_param
        glass.reference_poly = getattr(glass, model.windshield.reference_poly)
        _fill(glass, model.windshield, POLYNOMIALS)
    return spec


def pinhole_view(model: CameraModel, hfov_deg: float) -> PinholeCamera:
    """
    Return the undistorted view of that horizontal field of view, of a camera's native size.

    Its axis is the camera's own, the principal point the image's centre; pixels are square.
    """
    width, height = model.resolution
    focal_length = 0.5 * width / math.tan(math.radians(hfov_deg) / 2)
    return PinholeCamera(
        resolution=(width, height),
        principal_point=((width - 1) / 2, (height - 1) / 2),
        shutter_type=model.shutter_type,
        focal_length=(focal_length, focal_length),
    )


def rig_offset(values: Iterable[float]) -> Array:
    """
    Turn x y z in metres, roll pitch yaw in degrees into T_rig_offset, of shape (4, 4).

    The rotations are about the rig's fixed axes, roll first: R = Rz(yaw) Ry(pitch) Rx(roll).
    """
    x, y, z, *angles = values
    roll, pitch, yaw = (math.radians(angle) for angle in angles)
    cr, sr = math.cos(roll), math.sin(roll)
    cp, sp = math.cos(pitch), math.sin(pitch)
    cy, sy = math.cos(yaw), math.sin(yaw)
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr, x],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr, y],
            [-sp, cp * sr, cp * cr, z],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )


def track_poses(
    scenario: Scenario, start_ns: int, end_ns: int
) -> list[sensorsim_pb2.DynamicObject]:
    """
    Return the poses of the CONTROLLABLE tracks at both ends of an exposure, in the file's order.

    Others cannot be placed by a client. A track that exists at one end only stands still.
    """
    ends: dict[int, list[tuple[str, Array]]] = defaultdict(list)
    for t_ns in dict.fromkeys((start_ns, end_ns)):
        active = scenario.tracks.at(t_ns)
        for row in np.flatnonzero(active.controllable).tolist():
            ends[int(active.indices[row])].append((active.ids[row], active.poses[row]))
    found = []
    for index in sorted(ends):
        (track_id, T_start), (_, T_end) = ends[index][0], ends[index][-1]
        message = sensorsim_pb2.DynamicObject(track_id=track_id)
        _fill_pair(message.pose_pair, T_start, T_end)
        found.append(message)
    return found


def _fill_pair(message: sensorsim_pb2.PosePair, T_start: Array, T_end: Array) -> None:
    """Fill in the poses at both ends of an exposure; signs so that a slerp goes the short way."""
    start = quaternion_of(T_start)
    end = quaternion_of(T_end)
    if sum(a * b for a, b in zip(start, end)) < 0:  # noqa: B905 (both have four)
        end = (-end[0], -end[1], -end[2], -end[3])
    for pose, T_pose, (x, y, z, w) in (
        (message.start_pose, T_start, start),
        (message.end_pose, T_end, end),
    ):
        pose.vec.x, pose.vec.y, pose.vec.z = T_pose[:3, 3].tolist()
        # The protocol's quaternion is w x y z, ours x y z w: this is the one place that turns it.
        pose.quat.w, pose.quat.x, pose.quat.y, pose.quat.z = w, x, y, z


def _fill(message: Message, model: CameraModel | Windshield, names: Iterable[str]) -> None:
    """Fill in the fields that have the model's names."""
    for name in names:
        value = getattr(model, name)
        if isinstance(value, tuple):
            getattr(message, name).extend(value)
        else:
            setattr(message, name, value)
