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
"""An ego that was driven, from a file, in the recorded one's place."""

from __future__ import annotations

import csv
from dataclasses import replace
import math
from pathlib import Path

import numpy as np
from nurec_ros.errors import ConfigurationError
from nurec_ros.ros.loading import ReadScenario
from nurec_ros.scenario import Trajectory
from nurec_ros.scenario.trajectory import PoseTable

COLUMNS = ('stamp_us', 'x', 'y', 'z', 'qx', 'qy', 'qz', 'qw')
# A rotation written with a few digits is still one.
NORM = (0.99, 1.01)


def read_ego(path: Path) -> Trajectory:
    """
    Read poses T_map_rig, such as ego.csv of an image set.

    ConfigurationError with file, line and column for what is no pose.
    """
    times: list[int] = []
    positions: list[list[float]] = []
    quaternions: list[list[float]] = []
    try:
        with path.open(encoding='utf-8', newline='') as file:
            rows = csv.DictReader(file)
            if tuple(rows.fieldnames or ()) != COLUMNS:
                found = ','.join(rows.fieldnames or ()) or 'nothing'
                raise ConfigurationError(
                    f'{path}: the first line is {found}, expected {",".join(COLUMNS)}'
                )
            for row in rows:
                place = f'{path}: line {rows.line_num}'
                t_us, *numbers = (_number(place, column, row[column]) for column in COLUMNS)
                if times and round(t_us) <= times[-1]:
                    raise ConfigurationError(
                        f'{place}: stamp_us is {t_us:.0f}, expected more than {times[-1]}'
                    )
                norm = math.hypot(*numbers[3:])
                if not NORM[0] <= norm <= NORM[1]:
                    raise ConfigurationError(
                        f'{place}: the quaternion has length {norm:.4g}, expected 1'
                    )
                times.append(round(t_us))
                positions.append(numbers[:3])
                quaternions.append([number / norm for number in numbers[3:]])
    except OSError as error:
        raise ConfigurationError(f'cannot read {path}: {error.strerror or error}') from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f'{path} is no CSV: {error}') from error
    if not times:
        raise ConfigurationError(f'{path} holds no pose')
    return Trajectory(
        PoseTable(
            np.array(times, dtype=np.int64) * 1000, np.array(positions), np.array(quaternions)
        )
    )


def _number(place: str, column: str, text: object) -> float:
    try:
        value = float(str(text))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigurationError(f'{place}: {column} is {text!r}, expected a number')
    return value


def driven(found: ReadScenario, ego: Trajectory, path: Path) -> ReadScenario:
    """Return the scenario with another ego, within the time of both."""
    begin_ns, end_ns = max(found.begin_ns, ego.start_ns), min(found.end_ns, ego.end_ns)
    if begin_ns > end_ns:
        raise ConfigurationError(
            f'{path} is from {ego.start_ns // 1000} to {ego.end_ns // 1000} us, expected some of '
            f'{found.begin_ns // 1000} to {found.end_ns // 1000} us'
        )
    scenario = replace(found.scenario, ego=ego)
    return replace(found, scenario=scenario, begin_ns=begin_ns, end_ns=end_ns)
