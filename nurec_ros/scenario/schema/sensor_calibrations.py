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
"""Calibrations and times of cameras and lidars, out of rig_trajectories.json."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from nurec_ros.errors import shortened
from nurec_ros.poses import Array
from nurec_ros.scenario.cameras import CameraModel, CameraModelError, parse_camera_model
from nurec_ros.scenario.cameras.base import LARGEST_SIDE
from nurec_ros.scenario.cameras.opencv import sees_its_image
from nurec_ros.scenario.rig import Camera, DIRECTIONS, Lidar, SpinningLidar
from nurec_ros.scenario.schema.fields import (
    as_list,
    as_object,
    coarse,
    described,
    encodable,
    FieldError,
    found_in,
    get,
    is_number,
    is_time,
    join,
    numbers,
    RIGID,
    rigid_transform,
    Warn,
)
from nurec_ros.scenario.trajectory import frozen, Times

# A rig has some ten.
MOST_CAMERAS = 200
# A sensor is bolted to a car.
_FARTHEST_IN_RIG = 1e3
# Of the frames of a sensor: some before the first and after the last pose are usual.
_MOST_OUTSIDE = 0.5

_LIDARS = 'lidar_calibrations'
# A rig has one to some five.
MOST_LIDARS = 50
# The densest have some 1000 rows and 10,000 columns.
_MOST_BEAMS = 100_000
_LARGEST_ANGLE = 100.0
# A spin of a tenth of a millisecond, or one of a quarter of an hour, is none.
_SLOWEST_HZ, _FASTEST_HZ = 1e-3, 1e4


class _UnknownError(Exception):
    """A kind of lidar that is not known."""


class Sensor(NamedTuple):
    """A sensor as the file describes it: its name, its path there, place and times."""

    name: str
    path: str
    calibration: dict[str, Any]
    T_rig_sensor: Array
    times_ns: Times


def parse_cameras(
    top: dict[str, Any], entry: dict[str, Any], path: str, ego_us: tuple[int, int], warn: Warn
) -> dict[str, Camera]:
    """
    Return the cameras by logical name, in the file's order.

    `ego_us` is the time of the first and the last pose. None of the cameras is required: for
    what cannot be used `warn` is called, and it is left out.
    """
    key = 'camera_calibrations'
    try:
        calibrations = as_object(get(top, key, '', 'an object'), key)
    except FieldError as error:
        warn(f'{error}, so there are no cameras')
        return {}
    if not calibrations:
        warn(f'{key} is empty, so there are no cameras')
    cameras: dict[str, Camera] = {}
    for found in _described_sensors(
        'camera', calibrations, MOST_CAMERAS, entry, path, (), ego_us, warn
    ):
        model, problem = _model(found.calibration, found.path, warn)
        resolution = model.resolution if model else _resolution_without_model(found.calibration)
        cameras[found.name] = Camera(
            name=found.name,
            T_rig_camera=found.T_rig_sensor,
            model=model,
            resolution=resolution,
            frame_times_ns=found.times_ns,
            problem=problem,
        )
    return cameras


def _described_sensors(
    word: str,
    calibrations: dict[str, Any],
    most: int,
    entry: dict[str, Any],
    path: str,
    taken: Collection[str],
    ego_us: tuple[int, int],
    warn: Warn,
) -> Iterator[Sensor]:
    """
    Yield the sensors of a kind, 'camera' or 'lidar', `most` at most, each of another name.

    Names that are `taken` cannot be used. What cannot be read is left out, with a call of `warn`.
    """
    all_path = f'{word}_calibrations'
    times_key = f'{word}s_frame_timestamps_us'
    times_word = 'times' if word == 'camera' else 'spins'
    times_path = join(path, times_key)
    has_times = isinstance(entry.get(times_key), dict)
    times: dict[str, Any] = entry[times_key] if has_times else {}
    if calibrations and not has_times:
        found = found_in(entry, times_key)
        warn(f'{times_path} is {found}, expected an object, so no {word} has {times_word}')
    if len(calibrations) > most:
        warn(f'{all_path} has {len(calibrations)} {word}s, the first {most} are used')
    rough: dict[str, float] = {}
    times_of: dict[str, Times] = {}
    without_times: list[str] = []
    used: set[str] = set()
    for key, value in islice(calibrations.items(), most):
        name = _logical_name(key, value)
        if name in times_of or name in taken:
            name = key
        own_path = join(all_path, key)
        try:
            calibration, T_rig_sensor, error_of = _placed(word, key, name, value, own_path)
        except FieldError as error:
            warn(f'{error}, so the {word} is left out')
            continue
        if name in times_of or name in taken:
            other = 'sensor' if taken else word
            warn(f'{own_path} has the name of another {other}, so it is left out')
            continue
        if error_of > RIGID:
            rough[name] = error_of
        used |= {key, name}
        listed = key if key in times else name
        rows = times.get(listed, [])
        if rows == []:
            without_times.append(name)
        times_of[name] = _frame_times(rows, join(times_path, listed), word, warn)
        yield Sensor(name, own_path, calibration, T_rig_sensor, times_of[name])
    if rough:
        names = shortened(', '.join(rough), 250)
        largest = coarse(max(rough.values()))
        warn(f'{all_path}: T_sensor_rig of {names} is a rotation {largest}')
    if without_times and has_times:
        strangers = [shortened(key) for key in times if key not in used]
        others = f', but of {shortened(", ".join(strangers), 150)}' if strangers else ''
        names = shortened(', '.join(without_times), 250)
        warn(f'{times_path} has no {times_word} of {names}{others}')
    _check_span(times_of, times_path, ego_us, warn)


def _logical_name(key: str, value: object) -> str:
    """Return the logical name, the one that the renderer knows a sensor by."""
    name = value.get('logical_sensor_name') if isinstance(value, dict) else None
    if isinstance(name, str) and name and encodable(name):
        return name
    return key.split('@')[0] or key


def _placed(
    word: str, key: str, name: str, value: object, path: str
) -> tuple[dict[str, Any], Array, float]:
    """Return a sensor's calibration, its place in the rig, and how far that was from exact."""
    if not encodable(key):
        raise FieldError(path, 'no text', 'a key that can be encoded')
    if not name:
        raise FieldError(path, f'a {word} without a name', 'a logical_sensor_name or a key')
    calibration = as_object(value, path)
    matrix = get(calibration, 'T_sensor_rig', path, 'a 4x4 matrix')
    return calibration, *rigid_transform(matrix, join(path, 'T_sensor_rig'), _FARTHEST_IN_RIG)


def _check_span(
    frames: Mapping[str, Times], path: str, ego_us: tuple[int, int], warn: Warn
) -> None:
    """Warn of the sensors that took most of their frames (F, 2) when there are no poses."""
    start, end = ego_us
    outside = []
    # A single pose holds at any time.
    for name, times_ns in frames.items() if start < end else ():
        ends = times_ns[:, 1] // 1000
        count = int(np.count_nonzero((ends < start) | (ends > end)))
        if count > _MOST_OUTSIDE * len(ends):
            outside.append(f'{count} of {len(ends)} of {name}')
    if outside:
        warn(
            f'{path} has frames outside of the time of the poses ({start} to {end}): '
            f'{shortened(", ".join(outside), 250)}, expected most within, so those are not played'
        )


def _frame_times(rows: object, path: str, word: str, warn: Warn) -> Times:
    try:
        rows = as_list(rows, path)
    except FieldError as error:
        warn(f'{error}, so the {word} has no frame times')
        rows = []
    return frozen(_exposures(rows, path, warn) * 1000)


def _exposures(rows: list[Any], path: str, warn: Warn) -> Times:
    """Return [start, end] (F, 2) in microseconds with start < end, by rising end."""
    pairs = rows
    if not any(map(_is_pair, rows)):
        singles = [row[0] if isinstance(row, list) and len(row) == 1 else row for row in rows]
        if any(map(is_time, singles)):
            warn(
                f'{path} has single times, expected pairs [start, end] of the exposure: each is '
                'taken as the end of one of 1 us'
            )
        pairs = [[time - 1, time] if is_time(time) else time for time in singles]
    good = [_is_pair(pair) and all(map(is_time, pair)) and pair[0] < pair[1] for pair in pairs]
    kept = [list(map(int, pair)) for pair, is_good in zip(pairs, good, strict=True) if is_good]
    exposures = np.array(kept, dtype=np.int64).reshape(-1, 2)
    # np.unique sorts as well.
    _, first = np.unique(exposures[:, 1], return_index=True)
    if len(first) < len(rows):
        wrong = ''
        if not all(good):
            row = rows[good.index(False)]
            text = f'[{", ".join(map(described, row))}]' if _is_pair(row) else described(row)
            wrong = f' (the first is [{good.index(False)}], {text})'
        warn(
            f'{path}: {len(rows) - len(first)} of {len(rows)} entries are left out{wrong}, '
            'expected [start, end] with start < end, each end once'
        )
    elif (np.diff(first) < 0).any():
        warn(f'{path} is not in the order of time, so it is sorted')
    return np.asarray(exposures[first], dtype=np.int64)


def _is_pair(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list) and len(value) == 2


def _model(calibration: dict[str, Any], path: str, warn: Warn) -> tuple[CameraModel | None, str]:
    """Return the lens, and why its pictures cannot be asked for: '' where they can."""
    path = join(path, 'camera_model')
    model, problem = None, ''
    try:
        if calibration.get('camera_model') is None:
            problem = f'{path} is {found_in(calibration, "camera_model")}'
        else:
            model = _lens(as_object(calibration['camera_model'], path), path, warn)
            u, v = model.nurec_principal_point
            width, height = model.resolution
            centre = f'principal_point is [{u:g}, {v:g}]'
            if not sees_its_image(model):
                problem = (
                    f'{path} sees nothing of its own image (its {centre}, the image {width} x '
                    f'{height})'
                )
            elif not model.inside(model.principal_point):
                warn(f'{path}.parameters.{centre}, outside of the image of {width} x {height}')
    except FieldError as error:
        problem = str(error)
    except CameraModelError as error:
        found = shortened(error.found, 100)
        problem = f'{path}.{error.key} is {found}, expected {error.expected}'
    if problem:
        warn(f'{problem}, so the camera is listed but not rendered')
    return model, problem


def _lens(described_model: dict[str, Any], path: str, warn: Warn) -> CameraModel:
    kind = _kind(described_model, path, 'camera')
    value = get(described_model, 'parameters', path, 'an object')
    parameters = as_object(value, join(path, 'parameters'))
    return parse_camera_model(kind, parameters, lambda text: warn(f'{path}.{text}'))


def _kind(described_model: dict[str, Any], path: str, word: str) -> str:
    expected = f'the name of a {word} model'
    kind = get(described_model, 'type', path, expected)
    if not isinstance(kind, str):
        raise FieldError(join(path, 'type'), described(kind), expected)
    return kind


def _resolution_without_model(calibration: dict[str, Any]) -> tuple[int, int] | None:
    model = calibration.get('camera_model')
    parameters = model.get('parameters') if isinstance(model, dict) else None
    size = parameters.get('resolution') if isinstance(parameters, dict) else None
    if _is_pair(size) and all(map(_is_side, size)):
        return int(size[0]), int(size[1])
    return None


def _is_side(value: Any) -> bool:
    return is_number(value) and value == int(value) and 1 <= value <= LARGEST_SIDE


def parse_lidars(
    top: dict[str, Any],
    entry: dict[str, Any],
    path: str,
    ego_us: tuple[int, int],
    cameras: Collection[str],
    warn: Warn,
) -> dict[str, Lidar]:
    """Return the lidars as parse_cameras does cameras, whose names are taken; none is usual."""
    if top.get(_LIDARS) is None:
        return {}
    try:
        calibrations = as_object(top[_LIDARS], _LIDARS)
    except FieldError as error:
        warn(f'{error}, so there are no lidars')
        return {}
    lidars: dict[str, Lidar] = {}
    unknown: list[str] = []
    for found in _described_sensors(
        'lidar', calibrations, MOST_LIDARS, entry, path, cameras, ego_us, warn
    ):
        model = None
        model_path = join(found.path, 'lidar_model')
        try:
            if (described_model := found.calibration.get('lidar_model')) is not None:
                model = _lidar_model(as_object(described_model, model_path), model_path)
        except _UnknownError as error:
            unknown.append(f'{found.name} is {error}')
        except FieldError as error:
            warn(f'{error}, so the lidar is rendered without its model')
        lidars[found.name] = Lidar(found.name, found.T_rig_sensor, model, found.times_ns)
    if unknown:
        warn(
            f'{_LIDARS}: lidar_model of {shortened(", ".join(unknown), 250)}, expected '
            f'{SpinningLidar.kind}: they are rendered without it'
        )
    return lidars


def _lidar_model(described_model: dict[str, Any], path: str) -> SpinningLidar:
    kind = _kind(described_model, path, 'lidar')
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
        offsets = frozen(np.zeros(len(elevations)))
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
    return frozen(angles)
