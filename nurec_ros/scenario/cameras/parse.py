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
"""A camera model from what stands under `camera_model` in an archive, in any of its spellings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
import math

import numpy as np
from nurec_ros.scenario.cameras.base import (
    CameraModel,
    CameraModelError,
    floats,
    number,
    RoundLens,
    shown,
    wrong,
)
from nurec_ros.scenario.cameras.nvidia import FthetaCamera, POLYNOMIALS, REFERENCES, Windshield
from nurec_ros.scenario.cameras.opencv import FisheyeCamera, PinholeCamera

Parameters = Mapping[str, object]
Warn = Callable[[str], None]

_MISSING = 'missing'
# Beyond the farthest corner by this much, as in the calibrations that name max_angle.
_MARGIN = math.radians(0.1)
# A hair over half a turn.
_WIDEST = 3.2
# How far off the middle of the width the principal point makes [height, width] likelier.
_FAR_OFF, _NEAR = 0.25, 0.05
# What lists of OpenCV's coefficients, in its own order, are called.
_DISTORTION = ('dist_coeffs', 'distortion_coeffs', 'distortion')


def _keep_quiet(text: str) -> None:
    """Drop a warning."""


def parse_camera_model(
    model_type: object, parameters: object, warn: Warn = _keep_quiet
) -> CameraModel:
    """
    Build the model from the archive's `type` and `parameters`.

    Types are taken in any case, with _ or -, and `pinhole` and `fisheye` mean OpenCV's. Unknown
    parameters are ignored. Raises CameraModelError with the key below `camera_model`. `warn` is
    called for what is odd but can be repaired, with that key.
    """
    kind = model_type.strip().lower().replace('_', '-') if isinstance(model_type, str) else ''
    build = _KINDS.get(kind)
    if build is None:
        raise CameraModelError('type', shown(model_type), _EXPECTED)
    if not isinstance(parameters, Mapping):
        raise CameraModelError('parameters', shown(parameters), 'an object')
    try:
        # null stands for absent throughout.
        given = {key: value for key, value in parameters.items() if value is not None}
        model = build(given, warn)
    except CameraModelError as error:
        if error.found == _MISSING and _is_null(parameters, error.key):
            raise CameraModelError(error.key, 'null', error.expected) from None
        raise
    if isinstance(model, RoundLens) and model.max_angle > _WIDEST:
        warn(
            f'parameters.max_angle is {model.max_angle:g}, expected rad up to pi (not degrees): '
            'it is taken as it stands'
        )
    return model


def _is_null(parameters: Parameters, key: str) -> bool:
    """Return whether there is a null under a key such as 'parameters.focal_length'."""
    value: object = parameters
    for name in key.split('.')[1:]:
        if not isinstance(value, Mapping) or name not in value:
            return False
        value = value[name]
    return value is None


def _ftheta(given: Parameters, warn: Warn) -> CameraModel:
    polynomials = {
        name: floats(given.get(name, ()), name)
        for name in ('pixeldist_to_angle_poly', 'angle_to_pixeldist_poly')
    }
    model = FthetaCamera(
        **_shared(given, FthetaCamera, warn),  # type: ignore[arg-type]
        **polynomials,  # type: ignore[arg-type]
        reference_poly=_reference(given, polynomials),
        max_angle=_max_angle(given),
        linear_cde=_linear_cde(given.get('linear_cde')),
    )
    return model if 'max_angle' in given else _with_max_angle(model)


def _pinhole(given: Parameters, warn: Warn) -> CameraModel:
    bent = _list(given, _DISTORTION, 12)
    k1, k2, p1, p2, k3, k4, k5, k6, *prism = bent
    return PinholeCamera(
        **_shared(given, PinholeCamera, warn),  # type: ignore[arg-type]
        focal_length=_focal_length(given),
        radial_coeffs=_coefficients(given, 'radial', 'k', 6, (k1, k2, k3, k4, k5, k6)),
        tangential_coeffs=_coefficients(given, 'tangential', 'p', 2, (p1, p2)),
        thin_prism_coeffs=_coefficients(given, 'thin_prism', 's', 4, tuple(prism)),
    )


def _fisheye(given: Parameters, warn: Warn) -> CameraModel:
    bent = _list(given, _DISTORTION, 4)
    k1, k2, k3, k4 = _coefficients(given, 'radial', 'k', 4, bent)
    model = FisheyeCamera(
        **_shared(given, FisheyeCamera, warn),  # type: ignore[arg-type]
        focal_length=_focal_length(given),
        radial_coeffs=(k1, k2, k3, k4),
        max_angle=_max_angle(given),
    )
    return model if 'max_angle' in given else _with_max_angle(model)


_KINDS: Mapping[str, Callable[[Parameters, Warn], CameraModel]] = {
    'ftheta': _ftheta,
    'f-theta': _ftheta,
    'opencv-pinhole': _pinhole,
    'pinhole': _pinhole,
    'opencv-fisheye': _fisheye,
    'fisheye': _fisheye,
}
_EXPECTED = 'ftheta, opencv-pinhole or opencv-fisheye'


def _shared(given: Parameters, lens: type[CameraModel], warn: Warn) -> dict[str, object]:
    point = _pair(given, 'principal_point', ('cx', 'cy'))
    resolution = _in_order(_resolution(given), point, warn)
    u, v = (value - lens.NUREC_FIRST_PIXEL for value in point)
    return {
        'resolution': resolution,
        'principal_point': (u, v),
        'shutter_type': _name(given.get('shutter_type', 'GLOBAL'), 'shutter_type'),
        'windshield': _windshield(given.get('external_distortion_parameters')),
    }


def _resolution(given: Parameters) -> tuple[float, float]:
    if 'resolution' not in given and 'resolution_hw' in given:
        height, width = floats(given['resolution_hw'], 'resolution_hw', 2)
        return width, height
    return _pair(given, 'resolution', ('width', 'height'))


def _in_order(
    size: tuple[float, float], point: tuple[float, float], warn: Warn
) -> tuple[float, float]:
    """
    Return the size as (width, height), whichever way round the file has it.

    Lenses are centred across the image, though crops may move them far up or down it; so it is
    the swapped width that gives itself away.
    """
    turned = (size[1], size[0])
    off, off_turned = (abs(point[0] / max(width, 1.0) - 0.5) for width in size)
    far_off = off > _FAR_OFF and off_turned < _NEAR
    outside = off > _NEAR and not _contains(size, point)
    if (far_off or outside) and _contains(turned, point):
        warn(
            f'parameters.resolution is [{size[0]:g}, {size[1]:g}], which does not go with the '
            f'principal point [{point[0]:g}, {point[1]:g}], expected [width, height]: it is taken '
            f'as [{turned[0]:g}, {turned[1]:g}]'
        )
        return turned
    return size


def _contains(size: tuple[float, float], point: tuple[float, float]) -> bool:
    return all(-0.5 <= p <= side - 0.5 for p, side in zip(point, size, strict=True))


def _pair(given: Parameters, name: str, short: tuple[str, str]) -> tuple[float, float]:
    """Read a pair that is a list, or two numbers of short or of long names."""
    if name in given:
        first, second = floats(given[name], name, 2)
        return first, second
    for names in (short, (f'{name}_x', f'{name}_y'), (f'{name}_w', f'{name}_h')):
        if all(one in given for one in names):
            return number(given[names[0]], names[0]), number(given[names[1]], names[1])
    raise wrong(name, _MISSING, 'a list of 2 numbers')


def _focal_length(given: Parameters) -> tuple[float, float]:
    value = given.get('focal_length')
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value), float(value)
    return _pair(given, 'focal_length', ('fx', 'fy'))


def _list(given: Parameters, names: tuple[str, ...], count: int) -> tuple[float, ...]:
    """Read coefficients of any of the names, short ones filled with zeros; none: all zeros."""
    for name in names:
        if name in given:
            values = floats(given[name], name)
            if any(values[count:]):
                raise wrong(name, f'{len(values)} numbers', f'at most {count}')
            return (*values, *(0.0,) * count)[:count]
    return (0.0,) * count


def _coefficients(
    given: Parameters, name: str, letter: str, count: int, otherwise: tuple[float, ...]
) -> tuple[float, ...]:
    """Read `radial_coeffs`, `radial` or `k`, or else `k1`, `k2` and so on."""
    names = (f'{name}_coeffs', name, letter)
    if any(one in given for one in names):
        return _list(given, names, count)
    single = [f'{letter}{i + 1}' for i in range(count)]
    if any(one in given for one in single):
        return tuple(number(given.get(one, 0.0), one) for one in single)
    return otherwise


def _name(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise wrong(key, value, 'a name')
    return value.strip().upper().replace('-', '_')


def _reference(given: Parameters, polynomials: Mapping[str, tuple[float, ...]]) -> str:
    if 'reference_poly' in given:
        return _name(given['reference_poly'], 'reference_poly')
    named = [name for name, values in polynomials.items() if any(values)]
    if len(named) == 1:
        return named[0].upper().removesuffix('_POLY')
    raise wrong('reference_poly', _MISSING, REFERENCES)


def _linear_cde(value: object) -> tuple[float, float, float]:
    if value is None:
        return (1.0, 0.0, 0.0)
    if isinstance(value, Mapping):
        entries = {str(key).removeprefix('linear_'): item for key, item in value.items()}
        value = [entries.get(letter, 0.0) for letter in 'cde']
    c, d, e = floats(value, 'linear_cde', 3)
    return (c, d, e)


def _max_angle(given: Parameters) -> float:
    return number(given.get('max_angle', math.pi), 'max_angle')


def _with_max_angle(model: FthetaCamera | FisheyeCamera) -> CameraModel:
    """Set max_angle as calibrations do: a little beyond the image's farthest corner."""
    width, height = model.resolution
    corners = [(u, v) for u in (-0.5, width - 0.5) for v in (-0.5, height - 0.5)]
    lens = replace(model, windshield=None)
    rays, valid = lens.unproject(corners)
    farthest = float(np.arccos(np.clip(rays[:, 2], -1.0, 1.0)).max()) + _MARGIN
    return replace(model, max_angle=farthest if valid.all() else lens.view_angle)


def _windshield(value: object) -> Windshield | None:
    key = 'external_distortion_parameters'
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise wrong(key, shown(value), 'null or an object')
    given = {name: item for name, item in value.items() if item is not None}
    kind = given.get('external_distortion_type', given.get('type', 'bivariate-windshield'))
    name = kind.lower().replace('_', '-') if isinstance(kind, str) else ''
    if name not in ('bivariate-windshield', 'windshield'):
        raise wrong(f'{key}.external_distortion_type', kind, 'bivariate-windshield')
    polynomials = {
        name: floats(given[name], f'{key}.{name}') for name in POLYNOMIALS if name in given
    }
    if 'reference_poly' not in given:
        raise wrong(f'{key}.reference_poly', _MISSING, 'FORWARD or BACKWARD')
    reference = _name(given['reference_poly'], f'{key}.reference_poly')
    return Windshield(reference_poly=reference, **polynomials)
