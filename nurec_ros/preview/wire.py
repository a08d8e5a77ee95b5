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
NuRec's messages to ours and back: poses, cameras, pictures, and requests that are checked.

A request is refused with the code that servers use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
import math
from typing import Any, TYPE_CHECKING, TypeAlias

import cv2
import grpc
import numpy as np
from numpy.typing import NDArray
from nurec_ros.errors import RenderError
from nurec_ros.poses import matrices, quaternion_of
from nurec_ros.preview.lidar import DEVICES, LidarDevice
from nurec_ros.rendering.protos import common_pb2
from nurec_ros.rendering.protos import sensorsim_pb2 as sim
from nurec_ros.rendering.requests import camera_spec, LENSES
from nurec_ros.scenario import Scenario
from nurec_ros.scenario.cameras import (
    CameraModel,
    CameraModelError,
    FthetaCamera,
    Windshield,
)
from nurec_ros.scenario.cameras.nvidia import POLYNOMIALS

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from nurec_ros.preview.behaviour import Behaviour

try:
    import simplejpeg
except ImportError:  # an extra; OpenCV does the same, somewhat slower
    simplejpeg = None

# The kinds of the wire, and their lists with the counts that servers assert.
_COUNTS: Mapping[str, Mapping[str, int]] = {
    'ftheta_param': {},
    'opencv_pinhole_param': {'radial_coeffs': 6, 'tangential_coeffs': 2, 'thin_prism_coeffs': 4},
    'opencv_fisheye_param': {'radial_coeffs': 4},
}
_FORMATS = (sim.PNG, sim.JPEG, sim.RGB_UINT8_PLANAR)
_PNG_SPEED = [cv2.IMWRITE_PNG_COMPRESSION, 1]


class RefusalError(RenderError):
    """A request that is answered with a status code instead of a picture."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class CrashError(RefusalError):
    """The end of the whole server: what a client sees when the process under its call dies."""

    def __init__(self) -> None:
        super().__init__(grpc.StatusCode.UNAVAILABLE, 'Socket closed')


def invalid(text: str) -> RefusalError:
    """Return the refusal of a request that no server could draw."""
    return RefusalError(grpc.StatusCode.INVALID_ARGUMENT, text)


def raised(text: str) -> RefusalError:
    """Return what a client sees of a Python exception in the server: UNKNOWN and gRPC's prefix."""
    return RefusalError(grpc.StatusCode.UNKNOWN, f'Exception calling application: {text}')


# Poses.


def matrix_of(pose: common_pb2.Pose) -> NDArray[np.float64]:
    """
    Return the 4x4 matrix of a Pose message.

    Raises ValueError when a number is not finite or the quaternion has no length.
    """
    q, v = pose.quat, pose.vec
    norm = math.sqrt(q.w * q.w + q.x * q.x + q.y * q.y + q.z * q.z)
    if not math.isfinite(norm + v.x + v.y + v.z):
        raise ValueError('a pose holds a number that is not finite')
    if norm < 1e-3:
        raise ValueError('a pose has a quaternion of length 0')
    rotation = np.array([q.x, q.y, q.z, q.w]) / norm
    return matrices(np.array([v.x, v.y, v.z]), rotation)


def pose_of(matrix: NDArray[np.float64]) -> common_pb2.Pose:
    return pose_message(matrix[:3, 3], quaternion_of(matrix))


def pose_message(
    position: NDArray[np.float64], quaternion: Sequence[float] | NDArray[np.float64]
) -> common_pb2.Pose:
    """Return the Pose message of a position (3,) and a quaternion (4,) x y z w."""
    x, y, z, w = quaternion
    return common_pb2.Pose(
        vec=common_pb2.Vec3(x=position[0], y=position[1], z=position[2]),
        quat=common_pb2.Quat(w=w, x=x, y=y, z=z),  # the wire's order is w x y z
    )


# Cameras.


def camera_model(spec: sim.CameraSpec, *, pinhole_known: bool = True) -> CameraModel:
    """
    Return the camera that a CameraSpec describes; equal specs give the same object.

    `pinhole_known=False` reads the pinhole message as servers of 2025 do: without fields.
    Raises RefusalError: INVALID_ARGUMENT without a camera, UNKNOWN where servers assert.
    """
    return _camera_model(spec.SerializeToString(deterministic=True), pinhole_known)


# Building checks every number, too dear for each frame of the same few cameras.
@lru_cache(maxsize=64)
def _camera_model(encoded: bytes, pinhole_known: bool) -> CameraModel:
    spec = sim.CameraSpec.FromString(encoded)
    field = spec.WhichOneof('camera_param')
    if field is None:
        raise invalid(f'camera_intrinsics has none of {", ".join(_COUNTS)}, expected one')
    if spec.resolution_w < 1 or spec.resolution_h < 1:
        raise invalid(
            f"camera_intrinsics' own resolution is {spec.resolution_w}x{spec.resolution_h}, "
            'expected the size of the calibration'
        )
    message = getattr(spec, field)
    if field == 'opencv_pinhole_param' and not pinhole_known:
        message = sim.OpenCVPinholeCameraParam()
    for name, count in _COUNTS[field].items():
        if len(getattr(message, name)) != count:
            raise raised(
                f'AssertionError: {field}.{name} has {len(getattr(message, name))} '
                f'coefficients, expected {count}'
            )
    try:
        return _built(spec, field, message)
    except CameraModelError as error:
        raise raised(f'AssertionError: {field}: {error}') from None


def _built(spec: sim.CameraSpec, field: str, message: Message) -> CameraModel:
    lens, names = next((lens, names) for lens, (name, names) in LENSES.items() if name == field)
    values = {name: getattr(message, name) for name in names}
    parameters: dict[str, Any] = {
        name: value if isinstance(value, float) else tuple(value) for name, value in values.items()
    }
    if lens is FthetaCamera:
        # The enum's names are the model's; 0 is one that the model refuses.
        parameters['reference_poly'] = _name(message.PolynomialType, message.reference_poly)
        cde = message.linear_cde
        parameters['linear_cde'] = (cde.linear_c, cde.linear_d, cde.linear_e)
    else:
        parameters['focal_length'] = (message.focal_length_x, message.focal_length_y)
    shift = lens.NUREC_FIRST_PIXEL
    return lens(
        resolution=(spec.resolution_w, spec.resolution_h),
        shutter_type=_shutter_name(spec.shutter_type),
        principal_point=(message.principal_point_x - shift, message.principal_point_y - shift),
        windshield=_windshield(spec),
        **parameters,
    )


def _windshield(spec: sim.CameraSpec) -> Windshield | None:
    if not spec.HasField('bivariate_windshield_model_param'):
        return None
    message = spec.bivariate_windshield_model_param
    return Windshield(
        reference_poly=_name(message.PolynomialType, message.reference_poly),
        **{name: tuple(getattr(message, name)) for name in POLYNOMIALS},
    )


def _name(enum: Any, number: int) -> str:
    """Return an enum's name of a number, the number itself where it has none."""
    return str(enum.Name(number)) if number in enum.values() else str(number)


def _shutter_name(number: int) -> str:
    if number not in sim.ShutterType.values():
        raise invalid(f'shutter_type is {number}, expected 0 to 5')
    # Clients of old servers leave the field out; all rows at once is then the honest reading.
    return 'GLOBAL' if number == sim.SHUTTER_UNKNOWN else str(sim.ShutterType.Name(number))


def spec_of(name: str, model: CameraModel, *, pinhole_known: bool = True) -> sim.CameraSpec:
    """Return the CameraSpec message of a scenario's camera, as get_available_cameras lists it."""
    spec = camera_spec(name, model)
    if spec.HasField('opencv_pinhole_param') and not pinhole_known:
        spec.opencv_pinhole_param.Clear()
        spec.opencv_pinhole_param.SetInParent()
    return spec


# Pictures.


def encode(rgb: NDArray[np.uint8], image_format: int, quality: float) -> bytes:
    """Encode an (H, W, 3) RGB picture as was checked by `check_format`."""
    if image_format == sim.RGB_UINT8_PLANAR:
        return b''.join(cv2.split(rgb))
    if image_format == sim.JPEG and simplejpeg is not None:
        encoded = simplejpeg.encode_jpeg(
            np.ascontiguousarray(rgb),
            quality=int(quality),
            colorspace='RGB',
            colorsubsampling='420',
            fastdct=True,
        )
        return bytes(encoded)
    jpeg = image_format == sim.JPEG
    options = [cv2.IMWRITE_JPEG_QUALITY, int(quality)] if jpeg else _PNG_SPEED
    extension = '.jpg' if jpeg else '.png'
    done, encoded = cv2.imencode(extension, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise raised(f'the picture could not be encoded as {extension}')
    return bytes(encoded.data)


def check_format(image_format: int, quality: float) -> None:
    """
    Refuse a format that is not served, and a JPEG quality that real encoders choke on.

    Servers cast the quality to int, so that 0.95, and the 0 of a field left out, fail late.
    """
    if image_format not in _FORMATS:
        name, *served = (_name(sim.ImageFormat, number) for number in (image_format, *_FORMATS))
        raise invalid(f'image_format {name} is not supported, expected one of {", ".join(served)}')
    if image_format == sim.JPEG and not 1.0 <= quality < 101.0:
        raise raised(
            f'nvJPEG error: encoder parameter quality = {quality:g} is not in the range 1 to 100'
        )


# Requests.

Request: TypeAlias = sim.RGBRenderRequest | sim.LidarRenderRequest

# One 8K picture: what a client may cost us in memory and time with one request.
MAX_PIXELS = 7680 * 4320

Matrix = NDArray[np.float64]
TrackPoses = Sequence[tuple[str, Matrix, Matrix]]


def find_scene(scenes: Mapping[str, Scenario], scene_id: str) -> Scenario:
    """Return the scenario of that name; NOT_FOUND lists the names that there are."""
    try:
        return scenes[scene_id]
    except KeyError:
        known = ', '.join(sorted(scenes))
        text = f'scene_id {scene_id!r} is not available; this server has: {known}'
        raise RefusalError(grpc.StatusCode.NOT_FOUND, text) from None


def check(
    request: sim.RGBRenderRequest, scenes: Mapping[str, Scenario], behaviour: Behaviour
) -> tuple[CameraModel, tuple[int, int], tuple[Matrix, Matrix], TrackPoses]:
    """
    Return the camera, the size to draw, T_map_camera at both ends, and tracks to be moved.

    Checks in the order in which a mistake would mislead most; raises RefusalError.
    """
    scenario = find_scene(scenes, request.scene_id)
    _check_time(request, scenario)
    spec = request.camera_intrinsics
    if not spec.ListFields():  # left out, or sent without anything in it
        raise invalid('camera_intrinsics is missing')
    if spec.logical_id not in scenario.cameras:
        raise raised(
            f'Missing camera {spec.logical_id}@{scenario.sequence_id} in camera calibration'
        )
    model = camera_model(spec, pinhole_known=behaviour.api != 'v1')
    size = _size(request, model, behaviour)
    check_format(request.image_format, request.image_quality)
    if request.insert_ego_mask:
        raise invalid('insert_ego_mask is set, but get_available_ego_masks lists none')
    poses = _pose_pair(request.sensor_pose, 'sensor_pose')
    return model, size, poses, _tracks(request, scenario, behaviour)


def check_spin(
    request: sim.LidarRenderRequest, scenes: Mapping[str, Scenario], behaviour: Behaviour
) -> tuple[LidarDevice, tuple[Matrix, Matrix], TrackPoses]:
    """Return the device, T_map_sensor at both ends, and tracks to be moved; raises as `check`."""
    scenario = find_scene(scenes, request.scene_id)
    _check_time(request, scenario)
    device = DEVICES.get(request.lidar_config.lidar_type)
    if device is None:
        known = ', '.join(sim.LidarDeviceType.Name(number) for number in DEVICES)
        raise invalid(f'lidar_type is {request.lidar_config.lidar_type}, expected one of {known}')
    poses = _pose_pair(request.sensor_pose, 'sensor_pose')
    return device, poses, _tracks(request, scenario, behaviour)


def _check_time(request: Request, scenario: Scenario) -> None:
    start, end = request.frame_start_us, request.frame_end_us
    if start >= end:
        raise invalid(
            f'frame_start_us {start} is not before frame_end_us {end}: the exposure is half-open'
        )
    first, last = scenario.start_ns // 1000, scenario.end_ns // 1000
    if start < first or end > last:
        raise RefusalError(
            grpc.StatusCode.OUT_OF_RANGE,
            f'exposure [{start}, {end}) us is outside the scene, [{first}, {last}) us',
        )


def _size(
    request: sim.RGBRenderRequest, model: CameraModel, behaviour: Behaviour
) -> tuple[int, int]:
    asked = request.resolution_w, request.resolution_h
    if min(asked) < 1:
        raise invalid(f'the size asked for is {asked[0]}x{asked[1]}, expected at least 1x1')
    width, height = behaviour.output_size(asked, model.resolution)
    if width * height > MAX_PIXELS:
        raise RefusalError(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f'a picture of {width}x{height} is more than this server draws, {MAX_PIXELS} pixels',
        )
    return width, height


def _tracks(request: Request, scenario: Scenario, behaviour: Behaviour) -> TrackPoses:
    """
    Return the client's poses of the tracks that may be moved; the others are drawn as recorded.

    As on real servers only CONTROLLABLE tracks follow, and unknown ids are passed over.
    """
    if not request.dynamic_objects:
        return ()
    if not behaviour.editing:
        raise RefusalError(
            grpc.StatusCode.FAILED_PRECONDITION,
            'dynamic_objects need a server that runs with --enable-editing-actors',
        )
    tracks = scenario.tracks
    movable = {name for name, moves in zip(tracks.ids, tracks.controllable, strict=True) if moves}
    return [
        (item.track_id, *_pose_pair(item.pose_pair, f'dynamic_objects of {item.track_id}'))
        for item in request.dynamic_objects
        if item.track_id in movable
    ]


def _pose_pair(pair: sim.PosePair, where: str) -> tuple[Matrix, Matrix]:
    for name in ('start_pose', 'end_pose'):
        if not pair.HasField(name):
            raise invalid(f'{where}: {name} is missing')
    try:
        return matrix_of(pair.start_pose), matrix_of(pair.end_pose)
    except ValueError as error:
        raise invalid(f'{where}: {error}') from None
