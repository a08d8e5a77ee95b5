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
"""Calibrations and spins of the lidars, out of rig_trajectories.json."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from nurec_ros.errors import shortened
from nurec_ros.scenario.rig import DIRECTIONS, Lidar, SpinningLidar
from nurec_ros.scenario.schema.camera_calibrations import described_sensors
from nurec_ros.scenario.schema.fields import (
    as_object,
    described,
    FieldError,
    get,
    is_number,
    join,
    numbers,
    Warn,
)
from nurec_ros.scenario.trajectory import frozen

Array = NDArray[np.float64]

_CALIBRATIONS = 'lidar_calibrations'
# A rig has one to some five.
MOST_LIDARS = 50
# The densest have some 1000 rows and 10,000 columns.
_MOST_BEAMS = 100_000
_LARGEST_ANGLE = 100.0
# A spin of a tenth of a millisecond, or one of a quarter of an hour, is none.
_SLOWEST_HZ, _FASTEST_HZ = 1e-3, 1e4


class _UnknownError(Exception):
    """A kind of lidar that is not known."""


def parse_lidars(
    top: dict[str, Any],
    entry: dict[str, Any],
    path: str,
    ego_us: tuple[int, int],
    cameras: Collection[str],
    warn: Warn,
) -> Mapping[str, Lidar]:
    """
    Return the lidars by logical name, in the file's order.

    `ego_us` is the time of the first and the last pose; `cameras` are names that are
    taken. Many rigs have no lidar, which gets no warning; what cannot be used is left out, with a
    call of `warn`.
    """
    lidars: dict[str, Lidar] = {}
    if top.get(_CALIBRATIONS) is None:
        return MappingProxyType(lidars)
    try:
        calibrations = as_object(top[_CALIBRATIONS], _CALIBRATIONS)
    except FieldError as error:
        warn(f'{error}, so there are no lidars')
        return MappingProxyType(lidars)
    unknown: list[str] = []
    for found in described_sensors(
        'lidar', calibrations, MOST_LIDARS, entry, path, cameras, ego_us, warn
    ):
        model = None
        model_path = join(found.path, 'lidar_model')
        try:
            if (described_model := found.calibration.get('lidar_model')) is not None:
                model = _model(as_object(described_model, model_path), model_path)
        except _UnknownError as error:
            unknown.append(f'{found.name} is {error}')
        except FieldError as error:
            warn(f'{error}, so the lidar is rendered without its model')
        lidars[found.name] = Lidar(
            found.name, found.key, found.T_rig_sensor, model, found.times_ns
        )
    if unknown:
        warn(
            f'{_CALIBRATIONS}: lidar_model of {shortened(", ".join(unknown), 250)}, expected '
            f'{SpinningLidar.kind}: they are rendered without it'
        )
    return MappingProxyType(lidars)


def _model(described_model: dict[str, Any], path: str) -> SpinningLidar:
    kind = get(described_model, 'type', path, 'the name of a lidar model')
    if not isinstance(kind, str):
        raise FieldError(join(path, 'type'), described(kind), 'the name of a lidar model')
    if kind.strip().lower().replace('_', '-') != SpinningLidar.kind:
        raise _UnknownError(described(kind))
    # Some writers leave the parameters beside the type.
    given, inner = described_model, path
    if described_model.get('parameters') is not None:
        inner = join(path, 'parameters')
        given = as_object(described_model['parameters'], inner)
    frequency = get(given, 'spinning_frequency_hz', inner, 'a frequency')
    if not (is_number(frequency) and _SLOWEST_HZ <= frequency <= _FASTEST_HZ):
        raise FieldError(
            join(inner, 'spinning_frequency_hz'),
            described(frequency),
            f'Hz from {_SLOWEST_HZ:g} to {_FASTEST_HZ:g}',
        )
    direction = get(given, 'spinning_direction', inner, 'cw or ccw')
    if not isinstance(direction, str) or direction.lower() not in DIRECTIONS:
        raise FieldError(join(inner, 'spinning_direction'), described(direction), 'cw or ccw')
    elevations = _angles(given, 'row_elevations_rad', 'n_rows', inner)
    columns = _angles(given, 'column_azimuths_rad', 'n_columns', inner)
    offsets_key = 'row_azimuth_offsets_rad'
    if given.get(offsets_key) is None:
        offsets = np.zeros(len(elevations))
        frozen(offsets)
    else:
        offsets = _angles(given, offsets_key, 'n_rows', inner)
        if len(offsets) != len(elevations):
            raise FieldError(
                join(inner, offsets_key), f'a list of {len(offsets)}', f'{len(elevations)} numbers'
            )
    return SpinningLidar(float(frequency), direction.lower(), elevations, columns, offsets)


def _angles(given: dict[str, Any], key: str, count_key: str, path: str) -> Array:
    """Return a list of angles, as long as the model says elsewhere that it is."""
    key_path = join(path, key)
    value = get(given, key, path, 'a list of angles')
    angles = numbers(value, key_path, (None,))
    if not 1 <= len(angles) <= _MOST_BEAMS:
        raise FieldError(key_path, described(value), f'1 to {_MOST_BEAMS} angles')
    count = given.get(count_key)
    if count is not None and not (is_number(count) and count == len(angles)):
        raise FieldError(
            join(path, count_key), described(count), f'{len(angles)}, the length of {key}'
        )
    if np.abs(angles).max() > _LARGEST_ANGLE:
        largest = f'{float(np.abs(angles).max()):g}'
        raise FieldError(key_path, f'up to {largest}', f'radians of at most {_LARGEST_ANGLE:g}')
    frozen(angles)
    return angles
