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
"""data_info.json and metadata.yaml: the names of a scenario and its time range."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import math

from nurec_ros.scenario.schema.fields import (
    as_object,
    as_text,
    described,
    encodable,
    FieldError,
    get,
    is_number,
    join,
    LAST_US,
    TIME,
)
from nurec_ros.scenario.sentence import shortened
import yaml

Warn = Callable[[str], None]

_RANGE = 'pose-range'
_START, _END = 'start-timestamp_us', 'end-timestamp_us'


@dataclass(frozen=True, slots=True)
class DataInfo:
    """What data_info.json holds; '' and None where it does not say."""

    sequence_id: str = ''
    start_us: int | None = None
    end_us: int | None = None


@dataclass(frozen=True, slots=True)
class Metadata:
    """What metadata.yaml holds; '' where it does not say."""

    scene_id: str = ''
    version_string: str = ''


class MetadataError(Exception):
    """A metadata.yaml that is none."""


def parse_data_info(document: object, warn: Warn) -> DataInfo:
    """Give the sequence id and the pose range, both ends of it included; raises FieldError."""
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


def parse_metadata(data: bytes, warn: Warn) -> Metadata:
    """Give the scene id and the version of the producer; raises MetadataError."""
    try:
        # Every scalar stays the text that it is: a version 26.10 is not the number 26.1. Not the
        # loader written in C: deep nesting overflows its stack, and nothing catches that.
        document = yaml.load(data, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, 'problem_mark', None)
        where = f' at line {mark.line + 1} column {mark.column + 1}' if mark else ''
        problem = getattr(error, 'problem', None) or 'it cannot be decoded'
        raise MetadataError(f'is not YAML: {shortened(problem, 150)}{where}') from error
    except RecursionError as error:
        raise MetadataError('is nested too deeply to be read') from error
    except ValueError as error:
        raise MetadataError(f'is not YAML that can be read: {error}') from error
    if not isinstance(document, dict):
        raise MetadataError(f'is {described(document)}, expected an object')
    values = {}
    for key in ('scene_id', 'version_string'):
        value = document.get(key, '')
        if not isinstance(value, str) or not encodable(value):
            warn(f'{key} is {described(value)}, expected a text, so it is not used')
            value = ''
        values[key] = value
    return Metadata(**values)
