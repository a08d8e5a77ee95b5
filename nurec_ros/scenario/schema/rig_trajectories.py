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
rig_trajectories.json: the ego, its box and where it is on Earth.

And data_info.json and metadata.yaml: the names of a scenario and its time range.
"""

from __future__ import annotations

from dataclasses import dataclass
import math
from types import MappingProxyType
from typing import Any

import numpy as np
from nurec_ros.errors import shortened
from nurec_ros.poses import Array, quaternions_of
from nurec_ros.scenario.archive import MemberError
from nurec_ros.scenario.rig import Box, Rig
from nurec_ros.scenario.schema.fields import (
    as_list,
    as_object,
    as_text,
    coarse,
    described,
    encodable,
    FieldError,
    found_in,
    get,
    increasing,
    is_number,
    join,
    LAST_US,
    name_unknown,
    numbers,
    RIGID,
    rigid_transform,
    rigid_transforms,
    TIME,
    times_us,
    Warn,
)
from nurec_ros.scenario.schema.sensor_calibrations import parse_cameras, parse_lidars
from nurec_ros.scenario.trajectory import frozen, PoseTable, Times, Trajectory
import yaml

_RANGE = 'pose-range'
_START, _END = 'start-timestamp_us', 'end-timestamp_us'


@dataclass(frozen=True, slots=True)
class DataInfo:
    """What data_info.json holds; '' and None where it does not say."""

    sequence_id: str = ''
    start_us: int | None = None
    end_us: int | None = None


def parse_data_info(document: object, warn: Warn) -> DataInfo:
    """Return the sequence id and the pose range, both ends of it included; raises FieldError."""
    top = as_object(document, '')
    sequence_id = ''
    try:
        sequence_id = as_text(get(top, 'sequence_id', '', 'a text'), 'sequence_id')
        if not sequence_id:
            raise FieldError('sequence_id', 'an empty text', 'the name of the scene')
    except FieldError as error:
        warn(f'{error}, so the id in rig_trajectories.json is used')
    try:
        pose_range = as_object(get(top, _RANGE, '', 'an object'), _RANGE)
        start, end = (_time(pose_range, key) for key in (_START, _END))
        if end < start:
            raise FieldError(join(_RANGE, _END), str(end), f'a time not before {start}')
    except FieldError as error:
        warn(f'{error}, so the range is that of the poses')
        return DataInfo(sequence_id)
    # Whole microseconds, inward.
    return DataInfo(sequence_id, math.ceil(start), math.floor(end))


def _time(pose_range: dict[str, object], key: str) -> float:
    value = get(pose_range, key, _RANGE, TIME)
    if not (is_number(value) and 0 <= value <= LAST_US):
        raise FieldError(join(_RANGE, key), described(value), TIME)
    return value  # type: ignore[no-any-return]


def parse_metadata(data: bytes, warn: Warn) -> dict[str, str]:
    """Return scene_id and version_string, '' where it does not say; raises MemberError."""
    try:
        # Every scalar stays the text that it is: a version 26.10 is not the number 26.1. Not the
        # loader written in C: deep nesting overflows its stack, and nothing catches that.
        document = yaml.load(data, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, 'problem_mark', None)
        where = f' at line {mark.line + 1} column {mark.column + 1}' if mark else ''
        problem = getattr(error, 'problem', None) or 'it cannot be decoded'
        raise MemberError(f'is not YAML: {shortened(problem, 150)}{where}') from error
    except RecursionError as error:
        raise MemberError('is nested too deeply to be read') from error
    except (OverflowError, ValueError) as error:  # of numbers that name no letter
        raise MemberError(f'is not YAML that can be read: {error}') from error
    if not isinstance(document, dict):
        raise MemberError(f'is {described(document)}, expected an object')
    values = {}
    for key in ('scene_id', 'version_string'):
        value = document.get(key, '')
        if not isinstance(value, str) or not encodable(value):
            warn(f'{key} is {described(value)}, expected a text, so it is not used')
            value = ''
        values[key] = value
    return values


# Distances from the Earth's centre that a street can have: the ellipsoid's radii are 6,356,752
# and 6,378,137 m.
_EARTH_RADII = (6.34e6, 6.40e6)
_FARTHEST_ECEF = 1e7
# The world frame's z axis points up, within what a street's slope and a rolled rig allow.
_SMALLEST_UP = 0.9
# A longer car is none, and a turned one has no box that frames could hold.
_LARGEST_BOX = 1e3
_LARGEST_BOX_ROTATION = 1e-3
# Poses further apart than both are a gap: a drive of one pose a second has none.
_SHORTEST_GAP_US = 1_000_000
_MOST_STEPS = 10

_KEYS = {
    'T_world_base',
    'world_to_nre',
    'world_to_scene',
    'camera_calibrations',
    'lidar_calibrations',
    'rig_trajectories',
}
_ENTRY_KEYS = {
    'sequence_id',
    'T_rig_worlds',
    'T_rig_world_timestamps_us',
    'cameras_frame_timestamps_us',
    'lidars_frame_timestamps_us',
    'cameras_frame_T_rig_worlds',
    'lidars_frame_T_rig_worlds',
    'cameras_linear_start_frame_indices',
    'lidars_linear_start_frame_indices',
    'rig_bbox',
}


def parse_rig(document: object, sequence_id: str, warn: Warn) -> Rig:
    """
    Return the rig; poses and times are required, for the rest `warn` is called with what is wrong.

    `sequence_id`, where not empty, chooses between several trajectories. Raises FieldError.
    """
    top = as_object(document, '')
    entries = get(top, 'rig_trajectories', '', 'a list of one trajectory')
    entry, path = _entry(entries, sequence_id, warn)
    ego = _ego(entry, path, warn)
    name_unknown(sorted(top.keys() - _KEYS), '', warn)
    name_unknown(sorted(entry.keys() - _ENTRY_KEYS), path, warn)
    ego_us = (ego.start_ns // 1000, ego.end_ns // 1000)
    cameras = parse_cameras(top, entry, path, ego_us, warn)
    lidars = parse_lidars(top, entry, path, ego_us, cameras, warn)
    return Rig(
        sequence_id=_sequence_id(entry, path, warn),
        ego=ego,
        bbox=_bbox(entry, path, warn),
        T_earth_map=_earth(top, warn),
        world_to_nre=_world_to_nre(top, warn),
        cameras=MappingProxyType(cameras),
        lidars=MappingProxyType(lidars),
    )


def _entry(value: object, sequence_id: str, warn: Warn) -> tuple[dict[str, Any], str]:
    if isinstance(value, dict):
        return value, 'rig_trajectories'
    entries = as_list(value, 'rig_trajectories')
    if not entries:
        raise FieldError('rig_trajectories', 'an empty list', 'a list of one trajectory')
    chosen = 0
    if len(entries) > 1:
        ids = [entry.get('sequence_id') if isinstance(entry, dict) else None for entry in entries]
        chosen = ids.index(sequence_id) if sequence_id in ids else 0
        warn(f'rig_trajectories has {len(entries)} trajectories, only [{chosen}] is used')
    path = f'rig_trajectories[{chosen}]'
    return as_object(entries[chosen], path), path


def _ego(entry: dict[str, Any], path: str, warn: Warn) -> Trajectory:
    poses_path = join(path, 'T_rig_worlds')
    times_path = join(path, 'T_rig_world_timestamps_us')
    poses = get(entry, 'T_rig_worlds', path, 'a list of 4x4 matrices')
    matrices = numbers(poses, poses_path, (None, 4, 4))
    if not len(matrices):
        raise FieldError(poses_path, 'an empty list', 'at least one pose')
    stamps = get(entry, 'T_rig_world_timestamps_us', path, 'a list of one time for each pose')
    times = times_us(stamps, times_path)
    if len(times) != len(matrices):
        expected = f'{len(matrices)} times, one for each of {poses_path}'
        raise FieldError(times_path, described(stamps), expected)
    increasing(times, times_path)
    _name_gap(times, times_path, warn)
    T_map_rig, errors = rigid_transforms(matrices, lambda i: f'{poses_path}[{i}]')
    rough = np.flatnonzero(errors > RIGID)
    if len(rough):
        many = f'{len(rough)} of {len(errors)} rotations (the first is [{rough[0]}]) are'
        warn(f'{poses_path}: {many} {coarse(float(errors.max()))}')
    return Trajectory(PoseTable(times * 1000, T_map_rig[:, :3, 3], quaternions_of(T_map_rig)))


def _name_gap(times: Times, path: str, warn: Warn) -> None:
    """Warn of times (N,) in microseconds that are much further apart than usual."""
    steps = np.diff(times)
    if not len(steps):
        return
    usual = int(np.sort(steps)[(len(steps) - 1) // 2])
    gaps = np.flatnonzero(steps > max(_SHORTEST_GAP_US, _MOST_STEPS * usual))
    if len(gaps):
        i = int(steps.argmax())
        others = f' (and {len(gaps) - 1} shorter)' if len(gaps) > 1 else ''
        warn(
            f'{path}[{i + 1}] is {steps[i] * 1e-6:.6g} s after the one before{others}, expected '
            f'about {usual * 1e-6:.3g} s: the ego moves straight and evenly through the gap'
        )


def _sequence_id(entry: dict[str, Any], path: str, warn: Warn) -> str:
    if 'sequence_id' not in entry:
        return ''
    try:
        return as_text(entry['sequence_id'], join(path, 'sequence_id'))
    except FieldError as error:
        warn(f'{error}, so it is not used')
        return ''


def _bbox(entry: dict[str, Any], path: str, warn: Warn) -> Box | None:
    key = 'rig_bbox'
    path = join(path, key)
    without = 'so the ego is drawn without a box'
    if entry.get(key) is None:
        warn(f'{path} is {found_in(entry, key)}, {without}')
        return None
    try:
        bbox = as_object(entry[key], path)
        centre, dims, turn = (_triple(bbox, name, path) for name in ('centroid', 'dim', 'rot'))
        if not (np.abs(centre) < _LARGEST_BOX).all():
            raise FieldError(
                join(path, 'centroid'), f'{centre.tolist()}', f'less than {_LARGEST_BOX:g} m'
            )
        if not ((dims > 0.0) & (dims < _LARGEST_BOX)).all():
            raise FieldError(
                join(path, 'dim'), f'{dims.tolist()}', f'above 0 and below {_LARGEST_BOX:g} m'
            )
        if np.abs(turn).max() > _LARGEST_BOX_ROTATION:
            raise FieldError(
                join(path, 'rot'), f'{turn.tolist()}', 'zeros: a box along the rig axes'
            )
    except FieldError as error:
        warn(f'{error}, {without}')
        return None
    return Box(frozen(centre), frozen(dims))


def _triple(bbox: dict[str, Any], key: str, path: str) -> Array:
    if key == 'rot' and bbox.get(key) is None:
        return np.zeros(3)
    return numbers(get(bbox, key, path, 'a list of 3 numbers'), join(path, key), (3,))


def _earth(top: dict[str, Any], warn: Warn) -> Array | None:
    """Return T_world_base (world to ECEF); None, without a warning, for the identity."""
    path = 'T_world_base'
    without = 'so the scenario has no place on Earth'
    if top.get(path) is None:
        warn(f'{path} is {found_in(top, path)}, {without}')
        return None
    try:
        T_earth_map, error_of = rigid_transform(top[path], path, _FARTHEST_ECEF)
    except FieldError as error:
        warn(f'{error}, {without}')
        return None
    if np.allclose(T_earth_map, np.eye(4), rtol=0.0, atol=1e-9):
        return None
    if error_of > RIGID:
        warn(f'{path} is a rotation {coarse(error_of)}')
    if not _stands_on_earth(T_earth_map):
        inverse = frozen(np.asarray(np.linalg.inv(T_earth_map), dtype=np.float64))
        if not _stands_on_earth(inverse):
            distance = float(np.linalg.norm(T_earth_map[:3, 3]))
            warn(
                f'{path} is a pose {distance:.6g} m from the centre of the Earth, expected one '
                f'upright on its surface, {without}'
            )
            return None
        warn(f'{path} leads from the Earth to the world, expected the other way: it is inverted')
        return inverse
    return T_earth_map


def _stands_on_earth(T_earth_map: Array) -> bool:
    """Return whether the pose is near the ellipsoid, with its z axis away from the centre."""
    position = T_earth_map[:3, 3]
    distance = float(np.linalg.norm(position))
    if not _EARTH_RADII[0] < distance < _EARTH_RADII[1]:
        return False
    return float(T_earth_map[:3, 2] @ position) / distance > _SMALLEST_UP


def _world_to_nre(top: dict[str, Any], warn: Warn) -> Array | None:
    key = 'world_to_nre' if top.get('world_to_nre') is not None else 'world_to_scene'
    value = top.get(key)
    if value is None:
        return None
    path = key
    try:
        if isinstance(value, dict):
            value, path = get(value, 'matrix', key), f'{key}.matrix'
        return rigid_transform(value, path)[0]
    except FieldError as error:
        warn(f'{error}, so it is not known (nothing but information depends on it)')
        return None
