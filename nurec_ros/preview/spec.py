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
"""CameraSpec messages to camera models and back, with the counts that servers assert."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from nurec_ros.preview.refusal import invalid, raised
from nurec_ros.rendering.protos import sensorsim_pb2
from nurec_ros.rendering.requests import camera_spec
from nurec_ros.scenario.cameras import (
    CameraModel,
    CameraModelError,
    FisheyeCamera,
    FthetaCamera,
    PinholeCamera,
    Windshield,
)

# The kinds of the wire, and their lists with the counts that servers assert.
_COUNTS: Mapping[str, Mapping[str, int]] = {
    'ftheta_param': {},
    'opencv_pinhole_param': {'radial_coeffs': 6, 'tangential_coeffs': 2, 'thin_prism_coeffs': 4},
    'opencv_fisheye_param': {'radial_coeffs': 4},
}
_WINDSHIELD_POLYNOMIALS = (
    'horizontal_poly',
    'vertical_poly',
    'horizontal_poly_inverse',
    'vertical_poly_inverse',
)


def camera_model(spec: Any, *, pinhole_known: bool = True) -> CameraModel:
    """
    Give the camera that a CameraSpec describes; equal specs give the same object.

    `pinhole_known=False` reads the pinhole message as servers of 2025 do: without fields.
    Raises RefusalError: INVALID_ARGUMENT without a camera, UNKNOWN where servers assert.
    """
    return _camera_model(spec.SerializeToString(deterministic=True), pinhole_known)


# Building checks every number, too dear for each frame of the same few cameras.
@lru_cache(maxsize=64)
def _camera_model(encoded: bytes, pinhole_known: bool) -> CameraModel:
    spec = sensorsim_pb2.CameraSpec.FromString(encoded)
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
        message = sensorsim_pb2.OpenCVPinholeCameraParam()
    for name, count in _COUNTS[field].items():
        if len(getattr(message, name)) != count:
            raise raised(
                f'AssertionError: {field}.{name} has {len(getattr(message, name))} '
                f'coefficients, expected {count}'
            )
    try:
        return _BUILDERS[field](message, _shared(spec, message, _LENSES[field]))
    except CameraModelError as error:
        raise raised(f'AssertionError: {field}: {error}') from None


def _shared(spec: Any, message: Any, lens: type[CameraModel]) -> dict[str, Any]:
    shift = lens.NUREC_FIRST_PIXEL
    return {
        'resolution': (spec.resolution_w, spec.resolution_h),
        'shutter_type': _shutter_name(spec.shutter_type),
        'principal_point': (message.principal_point_x - shift, message.principal_point_y - shift),
        'windshield': _windshield(spec),
    }


def _ftheta(message: Any, shared: dict[str, Any]) -> CameraModel:
    cde = message.linear_cde
    return FthetaCamera(
        **shared,
        # The enum's names are the model's; 0 is one that the model refuses.
        reference_poly=_enum_name(message, message.reference_poly),
        pixeldist_to_angle_poly=tuple(message.pixeldist_to_angle_poly),
        angle_to_pixeldist_poly=tuple(message.angle_to_pixeldist_poly),
        max_angle=message.max_angle,
        linear_cde=(cde.linear_c, cde.linear_d, cde.linear_e),
    )


def _pinhole(message: Any, shared: dict[str, Any]) -> CameraModel:
    return PinholeCamera(
        **shared,
        focal_length=(message.focal_length_x, message.focal_length_y),
        radial_coeffs=tuple(message.radial_coeffs),
        tangential_coeffs=tuple(message.tangential_coeffs),
        thin_prism_coeffs=tuple(message.thin_prism_coeffs),
    )


def _fisheye(message: Any, shared: dict[str, Any]) -> CameraModel:
    return FisheyeCamera(
        **shared,
        focal_length=(message.focal_length_x, message.focal_length_y),
        radial_coeffs=tuple(message.radial_coeffs),
        max_angle=message.max_angle,
    )


_LENSES: Mapping[str, type[CameraModel]] = {
    'ftheta_param': FthetaCamera,
    'opencv_pinhole_param': PinholeCamera,
    'opencv_fisheye_param': FisheyeCamera,
}
_BUILDERS = {
    'ftheta_param': _ftheta,
    'opencv_pinhole_param': _pinhole,
    'opencv_fisheye_param': _fisheye,
}


def _windshield(spec: Any) -> Windshield | None:
    if not spec.HasField('bivariate_windshield_model_param'):
        return None
    message = spec.bivariate_windshield_model_param
    return Windshield(
        reference_poly=_enum_name(message, message.reference_poly),
        **{name: tuple(getattr(message, name)) for name in _WINDSHIELD_POLYNOMIALS},
    )


def _enum_name(message: Any, number: int) -> str:
    try:
        return str(message.PolynomialType.Name(number))
    except ValueError:
        return str(number)


def _shutter_name(number: int) -> str:
    # Clients of old servers leave the field out; all rows at once is then the honest reading.
    if number == sensorsim_pb2.SHUTTER_UNKNOWN:
        return 'GLOBAL'
    try:
        return str(sensorsim_pb2.ShutterType.Name(number))
    except ValueError:
        raise invalid(f'shutter_type is {number}, expected 0 to 5') from None


def spec_of(name: str, model: CameraModel, *, pinhole_known: bool = True) -> Any:
    """Give the CameraSpec message of a scenario's camera, as get_available_cameras lists it."""
    spec = camera_spec(name, model)
    if spec.HasField('opencv_pinhole_param') and not pinhole_known:
        spec.opencv_pinhole_param.Clear()
        spec.opencv_pinhole_param.SetInParent()
    return spec
