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
"""Checks that the camera models share; each names the key below `camera_model`."""

from __future__ import annotations

from collections.abc import Iterable
import math
from typing import TYPE_CHECKING

from nurec_ros.scenario.cameras.errors import CameraModelError, shortened

if TYPE_CHECKING:
    from nurec_ros.scenario.cameras.base import CameraModel
    from nurec_ros.scenario.cameras.fisheye import FisheyeCamera
    from nurec_ros.scenario.cameras.ftheta import FthetaCamera

SHUTTER_TYPES = (
    'ROLLING_TOP_TO_BOTTOM',
    'ROLLING_LEFT_TO_RIGHT',
    'ROLLING_BOTTOM_TO_TOP',
    'ROLLING_RIGHT_TO_LEFT',
    'GLOBAL',
)
# The longest side of any sensor; a larger number is a broken file, and an image of it no memory.
LARGEST_SIDE = 65535
# Far beyond what any calibration holds, and far from where polynomials overflow.
LARGEST = 1e9


def number(value: object, key: str) -> float:
    """Give a finite float, or name the key that is none."""
    if not isinstance(value, bool) and (
        isinstance(value, (int, float)) or hasattr(value, 'dtype')
    ):
        try:
            result = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            result = math.nan
        if abs(result) <= LARGEST:
            return result
        if math.isfinite(result):
            raise CameraModelError(
                f'parameters.{key}', shortened(value), f'a number of at most {LARGEST:g}'
            )
    raise CameraModelError(f'parameters.{key}', shortened(value), 'a finite number')


def floats(value: object, key: str, count: int | None = None) -> tuple[float, ...]:
    """Give a tuple of finite floats, of `count` elements where that is given."""
    wanted = 'a list of numbers' if count is None else f'a list of {count} numbers'
    if isinstance(value, (str, bytes, dict)) or not isinstance(value, Iterable):
        raise CameraModelError(f'parameters.{key}', shortened(value), wanted)
    result = tuple(number(item, f'{key}[{i}]') for i, item in enumerate(value))
    if count is not None and len(result) != count:
        raise CameraModelError(f'parameters.{key}', f'{len(result)} numbers', wanted)
    return result


def checked_size(model: CameraModel) -> None:
    """Check what every model has, and bring it to its exact types."""
    sides = floats(model.resolution, 'resolution', 2)
    if not all(side == int(side) and 1 <= side <= LARGEST_SIDE for side in sides):
        raise CameraModelError(
            'parameters.resolution', list(model.resolution), '[width, height] in whole pixels'
        )
    object.__setattr__(model, 'resolution', tuple(int(side) for side in sides))
    point = floats(model.principal_point, 'principal_point', 2)
    object.__setattr__(model, 'principal_point', point)
    if model.shutter_type not in SHUTTER_TYPES:
        raise CameraModelError(
            'parameters.shutter_type',
            shortened(model.shutter_type),
            f'one of {", ".join(SHUTTER_TYPES)}',
        )


def checked_focal_length(value: object) -> tuple[float, float]:
    """Give (fx, fy), both more than 0."""
    fx, fy = floats(value, 'focal_length', 2)
    if not (fx > 0.0 and fy > 0.0):
        raise CameraModelError('parameters.focal_length', [fx, fy], 'two numbers above 0')
    return fx, fy


def checked_max_angle(model: FthetaCamera | FisheyeCamera) -> None:
    """Check that the field of view is more than nothing."""
    angle = number(model.max_angle, 'max_angle')
    if not angle > 0.0:
        raise CameraModelError('parameters.max_angle', model.max_angle, 'an angle above 0 rad')
    object.__setattr__(model, 'max_angle', angle)
