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
"""Calibrations and frame times of the cameras, out of rig_trajectories.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import chain, islice
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from nurec_ros.errors import shortened
from nurec_ros.scenario.cameras import CameraModel, CameraModelError, parse_camera_model
from nurec_ros.scenario.rig import Camera
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
    time_array,
)
from nurec_ros.scenario.trajectory import frozen

Array = NDArray[np.float64]
Times = NDArray[np.int64]
Warn = Callable[[str], None]

_CALIBRATIONS = 'camera_calibrations'
_FRAME_TIMES = 'cameras_frame_timestamps_us'
# A rig has some ten.
MOST_CAMERAS = 200
_DEFAULT_SHUTTER = 'ROLLING_TOP_TO_BOTTOM'
# A sensor is bolted to a car.
FARTHEST_IN_RIG = 1e3
# Of the frames of a sensor: some before the first and after the last pose are usual.
MOST_OUTSIDE = 0.5


def parse_cameras(
    top: dict[str, Any], entry: dict[str, Any], path: str, ego_us: tuple[int, int], warn: Warn
) -> Mapping[str, Camera]:
    """
    Return the cameras by logical name, in the file's order.

    `ego_us` is the time of the first and the last pose. None of the cameras is required: what
    cannot be used is told to `warn` and left out.
    """
    cameras: dict[str, Camera] = {}
    try:
        value = get(top, _CALIBRATIONS, '', 'an object')
        calibrations = as_object(value, _CALIBRATIONS)
    except FieldError as error:
        warn(f'{error}, so there are no cameras')
        return MappingProxyType(cameras)
    if not calibrations:
        warn(f'{_CALIBRATIONS} is empty, so there are no cameras')
    times = entry.get(_FRAME_TIMES)
    times_path = join(path, _FRAME_TIMES)
    if not isinstance(times, dict):
        if calibrations:
            found = found_in(entry, _FRAME_TIMES)
            warn(f'{times_path} is {found}, expected an object, so no camera has times')
        times = None
    without_times: list[str] = []
    rough: dict[str, float] = {}
    used: set[str] = set()
    if len(calibrations) > MOST_CAMERAS:
        warn(f'{_CALIBRATIONS} has {len(calibrations)} cameras, the first {MOST_CAMERAS} are used')
    for key, value in islice(calibrations.items(), MOST_CAMERAS):
        name = logical_name(key, value)
        if name in cameras:
            name = key
        camera = _camera(key, name, value, warn, rough)
        if camera is None:
            continue
        if name in cameras:
            warn(f'{join(_CALIBRATIONS, key)} has the name of another camera, so it is left out')
            continue
        if times is not None:
            used |= {key, name}
            frame_times = frame_times_of(times, key, name, times_path, warn)
            if frame_times is None:
                without_times.append(name)
            else:
                camera = replace(camera, frame_times_ns=frame_times)
        cameras[name] = camera
    if rough:
        names = shortened(', '.join(rough), 250)
        warn(
            f'{_CALIBRATIONS}: T_sensor_rig of {names} is a rotation {coarse(max(rough.values()))}'
        )
    if without_times and times is not None:
        strangers = [shortened(key) for key in times if key not in used]
        others = f', but of {shortened(", ".join(strangers), 150)}' if strangers else ''
        names = shortened(', '.join(without_times), 250)
        warn(f'{times_path} has no times of {names}{others}')
    frames = {name: camera.frame_times_ns for name, camera in cameras.items()}
    check_span(frames, times_path, ego_us, warn)
    return MappingProxyType(cameras)


def check_span(
    frames: Mapping[str, Times], path: str, ego_us: tuple[int, int], warn: Warn
) -> None:
    """Warn of the sensors that took most of their frames (F, 2) when there are no poses."""
    start, end = ego_us
    outside = []
    # A single pose holds at any time.
    for name, times_ns in frames.items() if start < end else ():
        ends = times_ns[:, 1] // 1000
        count = int(np.count_nonzero((ends < start) | (ends > end)))
        if count > MOST_OUTSIDE * len(ends):
            outside.append(f'{count} of {len(ends)} of {name}')
    if outside:
        warn(
            f'{path} has frames outside of the time of the poses ({start} to {end}): '
            f'{shortened(", ".join(outside), 250)}, expected most within, so those are not played'
        )


def logical_name(key: str, value: object) -> str:
    """Return the logical name, the one that the renderer knows a sensor by."""
    name = value.get('logical_sensor_name') if isinstance(value, dict) else None
    if isinstance(name, str) and name and encodable(name):
        return name
    return key.split('@')[0] or key


def _camera(
    key: str, name: str, value: object, warn: Warn, rough: dict[str, float]
) -> Camera | None:
    """Return a camera without times, or None; `rough` is told of a rotation that is not exact."""
    path = join(_CALIBRATIONS, key)
    try:
        if not encodable(key):
            raise FieldError(path, 'no text', 'a key that can be encoded')
        if not name:
            raise FieldError(path, 'a camera without a name', 'a logical_sensor_name or a key')
        calibration = as_object(value, path)
        matrix_path = join(path, 'T_sensor_rig')
        value = get(calibration, 'T_sensor_rig', path, 'a 4x4 matrix')
        matrix = numbers(value, matrix_path, (4, 4))
        T_rig_camera, error_of = rigid_transform(matrix, matrix_path, farthest=FARTHEST_IN_RIG)
    except FieldError as error:
        warn(f'{error}, so the camera is left out')
        return None
    frozen(T_rig_camera)
    if error_of > RIGID:
        rough[name] = error_of
    model, problem = _model(calibration, path, warn)
    no_times = np.empty((0, 2), dtype=np.int64)
    frozen(no_times)
    return Camera(
        name=name,
        key=key,
        T_rig_camera=T_rig_camera,
        model=model,
        resolution=model.resolution if model else _resolution_without_model(calibration),
        shutter_type=model.shutter_type if model else _DEFAULT_SHUTTER,
        frame_times_ns=no_times,
        problem=problem,
    )


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
            if not model.sees_its_image():
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
    kind = get(described_model, 'type', path, 'the name of a camera model')
    if not isinstance(kind, str):
        raise FieldError(join(path, 'type'), described(kind), 'the name of a camera model')
    value = get(described_model, 'parameters', path, 'an object')
    parameters = as_object(value, join(path, 'parameters'))
    return parse_camera_model(kind, parameters, lambda text: warn(f'{path}.{text}'))


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value))


def _resolution_without_model(calibration: dict[str, Any]) -> tuple[int, int] | None:
    model = calibration.get('camera_model')
    parameters = model.get('parameters') if isinstance(model, dict) else None
    size = parameters.get('resolution') if isinstance(parameters, dict) else None
    if _is_pair(size) and all(side == int(side) and 1 <= side <= 65535 for side in size or ()):
        return int(size[0]), int(size[1])  # type: ignore[index]
    return None


def frame_times_of(
    times: dict[str, Any], key: str, name: str, path: str, warn: Warn, what: str = 'camera'
) -> Times | None:
    """Return the frame times (F, 2) in nanoseconds, None where the file has none of the sensor."""
    used = key if key in times else name
    if used not in times:
        return None
    path = join(path, used)
    try:
        rows = as_list(times[used], path)
    except FieldError as error:
        warn(f'{error}, so the {what} has no frame times')
        rows = []
    else:
        if not rows:
            return None
    frame_times_ns = _exposures(rows, path, warn) * 1000
    frozen(frame_times_ns)
    return frame_times_ns


def _exposures(rows: list[Any], path: str, warn: Warn) -> Times:
    """Return [start, end] (F, 2) in microseconds with start < end, by rising end."""
    pairs = None
    if not set(map(type, rows)) - {list} and not set(map(len, rows)) - {2}:
        pairs = time_array(list(chain.from_iterable(rows)))
    elif not any(isinstance(row, list) and len(row) == 2 for row in rows):
        singles = [row[0] if isinstance(row, list) and len(row) == 1 else row for row in rows]
        ends = [int(time) for time in singles if is_time(time)]
        if ends:
            warn(
                f'{path} has single times, expected pairs [start, end] of the exposure: each is '
                'taken as the end of one of 1 us'
            )
        pairs = np.repeat(np.array(ends, dtype=np.int64), 2) - np.tile([1, 0], len(ends))
    if pairs is None:
        good = [row for row in rows if isinstance(row, list) and len(row) == 2]
        good = [row for row in good if is_time(row[0]) and is_time(row[1])]
        pairs = np.array([int(time) for row in good for time in row], dtype=np.int64)
    exposures = pairs.reshape(-1, 2)
    exposures = exposures[(exposures[:, 1] > exposures[:, 0]) & (exposures[:, 0] >= 0)]
    # np.unique sorts as well.
    _, first = np.unique(exposures[:, 1], return_index=True)
    if len(first) < len(rows):
        warn(
            f'{path}: {len(rows) - len(first)} of {len(rows)} entries are left out'
            f'{_first_wrong(rows)}, expected [start, end] with start < end, each end once'
        )
    elif (np.diff(first) < 0).any():
        warn(f'{path} is not in the order of time, so it is sorted')
    return np.asarray(exposures[first], dtype=np.int64)


def _first_wrong(rows: list[Any]) -> str:
    """Return which entry is the first that is no exposure, '' where each of them is one."""
    for i, row in enumerate(rows):
        single = row[0] if isinstance(row, list) and len(row) == 1 else row
        if is_time(single):
            continue
        if not isinstance(row, list) or len(row) != 2:
            return f' (the first is [{i}], {described(row)})'
        if not (is_time(row[0]) and is_time(row[1]) and row[0] < row[1]):
            return f' (the first is [{i}], [{described(row[0])}, {described(row[1])}])'
    return ''
