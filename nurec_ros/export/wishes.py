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
"""What an export is asked for; the player's parameters among it, in ROS's form without a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
import difflib
from pathlib import Path
from typing import Any

from nurec_ros.errors import ConfigurationError, ScenarioError
from nurec_ros.ros.names import topic_names
from nurec_ros.scenario import Scenario
from nurec_ros.setting_values import check_together, convert, EXPECTED, Spec
from nurec_ros.settings import (
    CAMERA_TABLE,
    CameraSettings,
    LIDAR_TABLE,
    LidarSettings,
    Settings,
    TABLE,
    Values,
)
import yaml

# What an export decides itself, or what time without a wall has no use for.
NOT_HERE = {
    'usdz_path': 'the files are arguments',
    'server': '--server names the servers',
    'mode': 'an export is in lockstep',
    'rate': 'an export is as fast as the servers',
    'tick_us': 'nobody ticks',
    'loop': 'an export ends at the end',
    'autoplay': 'an export plays at once',
    'always_render': 'what is recorded is rendered',
    'ego_source': 'nobody drives',
}
SPECS: dict[str, Spec] = {spec.name: spec for spec in TABLE}
# What cameras and lidars both have is of one kind.
ENDINGS: dict[str, Spec] = {spec.name: spec for spec in (*LIDAR_TABLE, *CAMERA_TABLE)}


@dataclass(frozen=True, slots=True)
class Overrides:
    """What was set: of the table, converted, and by token what sensors have of their own."""

    table: Mapping[str, Any] = field(default_factory=dict)
    sensors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def settings(self, **more: Any) -> Settings:
        """Return all parameters' values; ConfigurationError where they do not go together."""
        values = {spec.name: spec.default for spec in TABLE} | dict(self.table) | more
        check_together(values)
        return Settings(**values)

    def values(self, settings: Settings, scenario: Scenario) -> Values:
        """
        Return the values for a scenario.

        ScenarioError where a sensor that it lacks has values of its own.
        """
        tokens = topic_names(scenario.sensors)
        names = {token: name for name, token in tokens.items()}
        cameras: dict[str, CameraSettings] = {}
        lidars: dict[str, LidarSettings] = {}
        for token, own in self.sensors.items():
            name = names.get(token)
            if name is None:
                raise ScenarioError(
                    f"parameter '{token}.…' is for a sensor that {scenario.path} lacks; expected "
                    f'one of {", ".join(sorted(names))}'
                )
            table = CAMERA_TABLE if name in scenario.cameras else LIDAR_TABLE
            for ending in own:
                if ending not in {spec.name for spec in table}:
                    expected = ', '.join(f'{token}.{spec.name}' for spec in table)
                    raise ScenarioError(
                        f"there is no parameter '{token}.{ending}', expected one of {expected}"
                    )
            if name in scenario.cameras:
                cameras[name] = CameraSettings(**own)
            else:
                lidars[name] = LidarSettings(**own)
        return Values(settings, cameras, lidars)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What an export was asked for; `start_s` and `duration_s` bound every scenario."""

    files: Sequence[Path]
    output: Path
    servers: tuple[str, ...]
    overrides: Overrides = field(default_factory=Overrides)
    cameras: tuple[str, ...] = ()
    lidars: tuple[str, ...] = ()
    topics: Sequence[str] = ()
    start_s: float | None = None
    duration_s: float | None = None
    node: str = '/nurec'
    storage: str = 'mcap'
    in_flight: int = 2
    wait_s: float = 60.0
    resume: bool = False
    frames: Path | None = None
    video: bool = False
    ego: Path | None = None
    # The address of a Ray cluster, 'auto' for one that runs here; empty: this process.
    ray: str = ''

    def absolute(self) -> Wishes:
        """Return the same with paths that any process understands."""
        return replace(
            self,
            files=tuple(path.absolute() for path in self.files),
            output=self.output.absolute(),
            frames=self.frames and self.frames.absolute(),
            ego=self.ego and self.ego.absolute(),
        )


class Progress:
    """What is told while it runs; this one tells nothing."""

    def begin(self, name: str, frames: int) -> None:
        """Take note that something begins of which so many frames are to be rendered."""

    def frame(self, count: int = 1) -> None:
        """Take note of frames."""

    def end(self) -> None:
        """Take note that it is over."""

    def say(self, text: str) -> None:
        """Tell a line."""


def read_overrides(
    assignments: Sequence[str], files: Sequence[Path], node_name: str
) -> tuple[Overrides, list[str]]:
    """
    Return what files and then `name:=value` set, and the names in files that nobody knows.

    ConfigurationError for what cannot be read or honoured, and for an unknown name typed.
    """
    found: dict[str, tuple[Spec, object]] = {}
    unknown: list[str] = []
    for path in files:
        for name, value in _file(path, node_name).items():
            if name in NOT_HERE:
                continue
            spec = _spec(name)
            if spec is None:
                if not name.startswith('qos_overrides.'):
                    unknown.append(f'{path}: parameter {name!r} is unknown{_meant(name)}')
                continue
            found[name] = spec, value
    for text in assignments:
        name, separator, value_text = text.partition(':=')
        if not separator or not name:
            raise ConfigurationError(f'-p {text}: expected name:=value')
        if name in NOT_HERE:
            raise ConfigurationError(f'-p {name}: not in an export, {NOT_HERE[name]}')
        spec = _spec(name)
        if spec is None:
            raise ConfigurationError(f'-p {name}: no such parameter{_meant(name)}')
        try:
            found[name] = spec, yaml.safe_load(value_text) if value_text else ''
        except yaml.YAMLError:
            expected = EXPECTED[spec.kind]
            raise ConfigurationError(
                f'-p {text}: the value is no YAML, expected {expected}'
            ) from None
    table: dict[str, Any] = {}
    sensors: dict[str, dict[str, Any]] = {}
    for name, (spec, value) in found.items():
        converted = convert(spec, name, value)
        if name in SPECS:
            table[name] = converted
        else:
            token, _, ending = name.rpartition('.')
            sensors.setdefault(token, {})[ending] = converted
    return Overrides(table, sensors), unknown


def _spec(name: str) -> Spec | None:
    if name in SPECS:
        return SPECS[name]
    token, _, ending = name.rpartition('.')
    return ENDINGS.get(ending) if token else None


def _meant(name: str) -> str:
    close = difflib.get_close_matches(name, SPECS, n=1)
    return f"; do you mean '{close[0]}'?" if close else ''


def _file(path: Path, node_name: str) -> dict[str, object]:
    """Return the parameters of a file that are the node's, by their full names."""
    try:
        document = yaml.safe_load(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise ConfigurationError(f'cannot read {path}: {error.strerror or error}') from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f'{path} is no YAML: {" ".join(str(error).split())}') from error
    found: dict[str, object] = {}
    if not isinstance(document, dict):
        raise ConfigurationError(f'{path}: expected a mapping of nodes to ros__parameters')
    for pattern, entry in document.items():
        if str(pattern).lstrip('/') not in ('**', '*', node_name):
            continue
        parameters = entry.get('ros__parameters') if isinstance(entry, dict) else None
        if not isinstance(parameters, dict):
            raise ConfigurationError(f'{path}: {pattern} has no ros__parameters')
        found.update(_flat(parameters))
    return found


def _flat(parameters: Mapping[str, object], head: str = '') -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in parameters.items():
        if isinstance(value, dict):
            found.update(_flat(value, f'{head}{name}.'))
        else:
            found[f'{head}{name}'] = value
    return found
