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
What a parameter is, and what its value may be: exact type and range, whatever ROS let through.

The parameters are declared with dynamic typing, so that an integer serves for a double and a
number for a string. rclpy then checks nothing of the type, and its range check passes an
integer beside a floating-point range; these functions take over both.
"""

from __future__ import annotations

import array
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
import re
import sys
from typing import Any, TypeAlias, TypeGuard

from nurec_ros.errors import ConfigurationError, shortened

START, RUNTIME, LOAD = 'start', 'runtime', 'load'

Value: TypeAlias = bool | int | float | str | tuple[str, ...] | tuple[float, ...]

KINDS = {
    'bool': 'bool',
    'int': 'int',
    'float': 'double',
    'str': 'string',
    'tuple[str, ...]': 'string_array',
    'tuple[float, ...]': 'double_array',
}


@dataclass(frozen=True, slots=True)
class Spec:
    """
    One parameter.

    `kind` is string, bool, int, double, string_array or double_array. `between` bounds numbers,
    inclusively; `extra` are values outside of it that are allowed too, with a meaning that the
    description gives. `choices` lists the allowed strings. `length` is that of
    an array of fixed length. `applies` says when a new value takes effect: at start only, at
    run time at once, or at the next `~/load`.
    """

    name: str
    kind: str
    default: Value
    description: str
    applies: str = START
    between: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    extra: tuple[float, ...] = ()
    length: int | None = None

    @property
    def allowed(self) -> str:
        """Return in words which values are allowed, '' where the kind says all."""
        if self.choices:
            return ', '.join(choice or "''" for choice in self.choices)
        words = [f'{value:g}' for value in self.extra]
        if self.between is not None:
            words.append(' to '.join(map(_number, self.between)))
        if self.length is not None:
            words.append(f'{self.length} finite numbers')
        return ', or '.join(words)

    def holds(self, number: float) -> bool:
        """Return whether a number is one that is allowed."""
        # An int may lie beyond every double.
        low, high = self.between or (-sys.float_info.max, sys.float_info.max)
        return number in self.extra or low <= number <= high


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f'{value:g}'


def parameter(default: Value, description: str, applies: str = START, **limits: Any) -> Any:
    """Return a field of a table; `limits` are those of `Spec`."""
    return field(
        default=default,
        metadata={'description': description, 'applies': applies, **limits},
    )


EXPECTED = {
    'string': 'a string',
    'bool': 'true or false',
    'int': 'an integer',
    'double': 'a number',
    'string_array': "a list of strings such as ['a', 'b']",
    'double_array': 'a list of numbers',
}

FRAMES_REQUIRED = ('map_frame', 'base_frame')
FRAME_PARAMETERS = (*FRAMES_REQUIRED, 'odom_frame', 'frame_prefix')
_FRAME = re.compile(r'[^\s/][^\s]*\Z')
# What servers from 26.04 on take as the place that a scene is to be loaded from.
_SCENE_URL = re.compile(r'(?:file|https?):[\x21-\x7e]+', re.IGNORECASE)
_SERVICE = re.compile(r'[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\Z', re.ASCII)
# What the parameter lidars holds where none is wanted.
NO_LIDARS = 'none'


def convert(spec: Spec, name: str, value: object) -> Value:
    """
    Return `value` in the table's type, or say what is allowed.

    `name` is what the user calls the parameter: `<camera>.rate` for a camera's. `value` is what
    rclpy holds: None (unset), a scalar, or a list, tuple or array of them. ConfigurationError
    with the found and the allowed values where it does not fit.
    """
    checked = _fitting(spec, value)
    if checked is None:
        expected = EXPECTED[spec.kind]
        if spec.choices:
            expected = f'one of {spec.allowed}'
        elif spec.length is not None:
            expected = f'a list of {spec.allowed}'
        elif spec.allowed:
            expected = f'{expected}, {spec.allowed}'
        raise ConfigurationError(f"parameter '{name}' is {describe(value)}; expected {expected}")
    if name in FRAME_PARAMETERS:
        _check_frame(name, str(checked))
    if name == 'service_prefix':
        _check_service(name, str(checked))
    if name == 'server':
        # Imported late: the options of rendering are checked by this module.
        from nurec_ros.rendering.address import addresses

        addresses(str(checked))
    if name == 'scene_url':
        check_scene_url(str(checked))
    return checked


def check_scene_url(url: str) -> None:
    """Raise ConfigurationError unless the URL is empty or one that servers load scenes from."""
    if url and not _SCENE_URL.fullmatch(url):
        raise ConfigurationError(
            f'scene_url is {url!r}, expected a URL that begins with file:, http: or https:, '
            'without blanks, such as file:///data/scene.usdz'
        )


def chosen_names(
    known: Collection[str],
    wanted: Iterable[str],
    noun: str,
    *,
    tokens: Mapping[str, str] | None = None,
    called: str = '',
) -> tuple[str, ...]:
    """
    Return the sensors that are wanted, in the order of `known`; `noun` is camera or lidar.

    Nothing wanted means all, of lidars the word none means none. `tokens` are other names of
    those that are known, by which they may be wanted too. ConfigurationError names every unknown
    one and all that there are; in it the list is `called` so, or by the noun.
    """
    names = [name for name in wanted if name]
    if noun == 'lidar' and NO_LIDARS in names and NO_LIDARS not in known:
        beside = [f"'{name}'" for name in names if name != NO_LIDARS]
        if beside:
            raise ConfigurationError(
                f"lidars names '{NO_LIDARS}' beside {', '.join(beside)}; expected '{NO_LIDARS}' "
                'alone or names without it'
            )
        return ()
    tokens = tokens or {}
    by_token = {token: name for name, token in tokens.items()}
    found = {name: name if name in known else by_token.get(name) for name in names}
    unknown = [f"'{name}'" for name, one in found.items() if one is None]
    if unknown:
        listed = ', '.join(
            f"'{name}'" if tokens.get(name, name) == name else f"'{name}' ({tokens[name]})"
            for name in known
        )
        raise ConfigurationError(
            f'{called or noun + "s"} names {", ".join(unknown)}; expected some of '
            f'{listed or f"none: the scenario has no {noun}"}'
        )
    chosen = set(found.values())
    return tuple(name for name in known if name in chosen or not chosen)


def check_together(values: Mapping[str, Value]) -> None:
    """
    Check what no single value shows: that the frames differ from one another.

    ConfigurationError with the names of both parameters.
    """
    prefix = str(values['frame_prefix'])
    frames = {'map_frame': str(values['map_frame'])}
    frames['base_frame'] = prefix + str(values['base_frame'])
    if values['odom_frame']:
        frames['odom_frame'] = prefix + str(values['odom_frame'])
    seen: dict[str, str] = {}
    for parameter, frame in frames.items():
        if frame in seen:
            raise ConfigurationError(
                f"parameters '{seen[frame]}' and '{parameter}' both name the frame '{frame}'; "
                'expected different names'
            )
        seen[frame] = parameter


def _check_frame(name: str, value: str) -> None:
    if value == '' and name not in FRAMES_REQUIRED:
        return
    if not _FRAME.match(value):
        raise ConfigurationError(
            f"parameter '{name}' is '{value}'; expected a frame name without blanks and without "
            "a leading '/'"
        )


def _check_service(name: str, value: str) -> None:
    if value and not _SERVICE.match(value):
        raise ConfigurationError(
            f"parameter '{name}' is {describe(value)}; expected the full name of a gRPC service, "
            "such as 'package.SensorsimService'"
        )


def describe(value: object) -> str:
    """Return a value as the user would type it, shortened, with its type where it misleads."""
    if value is None:
        return 'unset'
    if isinstance(value, bool):
        return f'{str(value).lower()} (a boolean)'
    if isinstance(value, str):
        return f"'{shortened(value, 80)}'"
    if isinstance(value, (list, tuple, array.array)):
        if len(value) == 0:
            return 'an empty list'
        return shortened('[' + ', '.join(_item(entry) for entry in value) + ']', 80)
    return shortened(str(value), 80)


def _item(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if isinstance(value, str) else str(value)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _fitting(spec: Spec, value: object) -> Value | None:
    """Return the value in the type of its kind; None where it does not fit."""
    if spec.kind == 'bool':
        return value if isinstance(value, bool) else None
    if spec.kind == 'string':
        # A scene or a camera may be called 1234; YAML cannot tell that from a number.
        text = str(value) if _is_number(value) else value
        return text if isinstance(text, str) and text in (spec.choices or (text,)) else None
    if spec.kind in ('int', 'double'):
        if not _is_number(value) or not spec.holds(value):
            return None
        if spec.kind == 'double':
            return float(value)
        return value if isinstance(value, int) else None
    if value is None and spec.kind == 'string_array':
        # An empty list arrives as unset from a file, and as an empty array of any type otherwise.
        value = ()
    if not isinstance(value, (list, tuple, array.array)):
        return None
    if spec.kind == 'string_array':
        if not all(isinstance(entry, str) or _is_number(entry) for entry in value):
            return None
        return tuple(str(entry) for entry in value) or ('',)
    if spec.length not in (None, len(value)):
        return None
    if not all(_is_number(entry) and spec.holds(entry) for entry in value):
        return None
    return tuple(float(entry) for entry in value)
