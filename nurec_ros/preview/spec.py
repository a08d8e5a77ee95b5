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

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from nurec_ros.preview.refusal import invalid, raised
from nurec_ros.rendering.protos import sensorsim_pb2
from nurec_ros.scenario.cameras import CameraModel, CameraModelError, parse_camera_model

# The kinds of the wire: the oneof's field, the USDZ's type string.
_KINDS = {
    'ftheta_param': 'ftheta',
    'opencv_pinhole_param': 'opencv-pinhole',
    'opencv_fisheye_param': 'opencv-fisheye',
}
_FTHETA_POLYNOMIALS = ('pixeldist_to_angle_poly', 'angle_to_pixeldist_poly')
_FTHETA_DEGREES = 6
_COUNTS = {
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


# The model carries the ray maps of the drawing, so it has to outlive the request.
@lru_cache(maxsize=64)
def _camera_model(encoded: bytes, pinhole_known: bool) -> CameraModel:
    spec = sensorsim_pb2.CameraSpec.FromString(encoded)
    field = spec.WhichOneof('camera_param')
    if field is None:
        raise invalid(
            'camera_intrinsics has none of ' + ', '.join(_KINDS) + ', expected exactly one'
        )
    if spec.resolution_w < 1 or spec.resolution_h < 1:
        raise invalid(
            f"camera_intrinsics' own resolution is {spec.resolution_w}x{spec.resolution_h}, "
            'expected the size of the calibration'
        )
    message = getattr(spec, field)
    if field == 'opencv_pinhole_param' and not pinhole_known:
        message = sensorsim_pb2.OpenCVPinholeCameraParam()
    parameters = {entry.name: getattr(message, entry.name) for entry in message.DESCRIPTOR.fields}
    _check_finite(parameters, field)
    _assert_counts(parameters, field)
    try:
        return parse_camera_model(
            _KINDS[field],
            {
                'resolution': [spec.resolution_w, spec.resolution_h],
                'shutter_type': _shutter_name(spec.shutter_type),
                'principal_point': [message.principal_point_x, message.principal_point_y],
                'external_distortion_parameters': _windshield(spec),
                **_lens(parameters, field),
            },
        )
    except CameraModelError as error:
        raise raised(f'AssertionError: {error}') from error


def _check_finite(parameters: Mapping[str, Any], where: str) -> None:
    for name, value in parameters.items():
        if name in ('linear_cde', 'reference_poly'):
            continue
        if not np.all(np.isfinite(np.asarray(value, dtype=np.float64))):
            raise invalid(f'{where}.{name} holds a number that is not finite')


def _assert_counts(parameters: Mapping[str, Any], field: str) -> None:
    for name, count in _COUNTS.get(field, {}).items():
        if len(parameters[name]) != count:
            raise raised(
                f'AssertionError: {field}.{name} has {len(parameters[name])} coefficients, '
                f'expected {count}'
            )
    if field == 'ftheta_param':
        for name in _FTHETA_POLYNOMIALS:
            if len(parameters[name]) > _FTHETA_DEGREES:
                raise raised(
                    f'AssertionError: {field}.{name} has {len(parameters[name])} coefficients, '
                    f'expected at most {_FTHETA_DEGREES}'
                )
        number = parameters['reference_poly']
        if number not in (1, 2) or not parameters[_FTHETA_POLYNOMIALS[number - 1]]:
            raise raised(
                f'AssertionError: {field}.reference_poly is {number}, expected 1 or 2 and the '
                'polynomial that it names'
            )
    if not parameters.get('max_angle', 1.0) > 0.0:
        raise raised(
            f'AssertionError: {field}.max_angle is {parameters["max_angle"]:g}, expected > 0'
        )


def _lens(parameters: Mapping[str, Any], field: str) -> dict[str, Any]:
    if field == 'ftheta_param':
        cde = parameters['linear_cde']
        linear = [cde.linear_c, cde.linear_d, cde.linear_e]
        return {
            'reference_poly': ('PIXELDIST_TO_ANGLE', 'ANGLE_TO_PIXELDIST')[
                parameters['reference_poly'] - 1
            ],
            **{name: list(parameters[name]) for name in _FTHETA_POLYNOMIALS},
            'max_angle': parameters['max_angle'],
            'linear_cde': linear if any(linear) else [1.0, 0.0, 0.0],  # a message left out
        }
    lens: dict[str, Any] = {
        'focal_length': [parameters['focal_length_x'], parameters['focal_length_y']],
        **{name: list(parameters[name]) for name in _COUNTS[field]},
    }
    if 'max_angle' in parameters:
        lens['max_angle'] = parameters['max_angle']
    return lens


def _windshield(spec: Any) -> dict[str, Any] | None:
    if not spec.HasField('bivariate_windshield_model_param'):
        return None
    message = spec.bivariate_windshield_model_param
    for name in _WINDSHIELD_POLYNOMIALS:
        count = len(getattr(message, name))
        degree = int((np.sqrt(8 * count + 1) - 3) / 2 + 0.5)
        if count and (degree + 1) * (degree + 2) // 2 != count:
            raise raised(
                f'AssertionError: bivariate_windshield_model_param.{name} has {count} '
                'coefficients, expected (N + 1)(N + 2) / 2 for a degree N'
            )
    return {
        'reference_poly': ('FORWARD', 'BACKWARD')[min(message.reference_poly, 1)],
        **{name: list(getattr(message, name)) for name in _WINDSHIELD_POLYNOMIALS},
    }


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
    width, height = model.resolution
    spec = sensorsim_pb2.CameraSpec(
        logical_id=name,
        resolution_w=width,
        resolution_h=height,
        shutter_type=sensorsim_pb2.ShutterType.Value(model.shutter_type),
    )
    field = {kind: field for field, kind in _KINDS.items()}[model.kind]
    message = getattr(spec, field)
    message.SetInParent()
    if field == 'opencv_pinhole_param' and not pinhole_known:
        return spec
    message.principal_point_x, message.principal_point_y = map(float, model.principal_point)
    _fill(message, model)
    if model.windshield is not None:
        _fill_windshield(spec.bivariate_windshield_model_param, model.windshield)
    return spec


def _fill(message: Any, model: Any) -> None:
    names = {entry.name for entry in message.DESCRIPTOR.fields}
    for name in names & {*_FTHETA_POLYNOMIALS, *_COUNTS['opencv_pinhole_param']}:
        _extend(getattr(message, name), getattr(model, name))
    if 'max_angle' in names:
        message.max_angle = float(model.max_angle)
    if 'focal_length_x' in names:
        message.focal_length_x, message.focal_length_y = map(float, model.focal_length)
    if 'linear_cde' in names:
        message.reference_poly = message.PolynomialType.Value(model.reference_poly)
        cde = message.linear_cde
        cde.linear_c, cde.linear_d, cde.linear_e = map(float, model.linear_cde)


def _fill_windshield(message: Any, windshield: Any) -> None:
    message.reference_poly = message.PolynomialType.Value(windshield.reference_poly)
    for name in _WINDSHIELD_POLYNOMIALS:
        _extend(getattr(message, name), getattr(windshield, name))


def _extend(repeated: Any, values: Sequence[float]) -> None:
    repeated.extend(float(value) for value in values)
