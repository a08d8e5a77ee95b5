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
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
import math
import re
from typing import Any, TypeAlias

from nurec_ros.errors import ConfigurationError

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

    `kind` is string, bool, int, double, string_array or double_array. `minimum` and `maximum`
    bound numbers, inclusively; `extra` are values outside of them that are allowed too, with a
    meaning that the description gives. `choices` lists the allowed strings. `length` is that of
    an array of fixed length. `applies` says when a new value takes effect: at start only, at
    run time at once, or at the next `~/load`.
    """

    name: str
    kind: str
    default: Value
    description: str
    applies: str = START
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    extra: tuple[float, ...] = ()
    length: int | None = None

    @property
    def allowed(self) -> str:
        """Return in words which values are allowed, '' where the kind says all."""
        if self.choices:
            return ', '.join(choice or "''" for choice in self.choices)
        words = [f'{value:g}' for value in self.extra]
        if self.minimum is not None and self.maximum is not None:
            words.append(f'{_number(self.minimum)} to {_number(self.maximum)}')
        if self.length is not None:
            words.append(f'{self.length} finite numbers')
        return ', or '.join(words)


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
    checked = _CONVERTERS[spec.kind](spec, name, value)
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


def no_lidars_wanted(known: Collection[str], wanted: Sequence[str]) -> bool:
    """Return whether the word none is what is wanted; ConfigurationError for names beside it."""
    if NO_LIDARS not in wanted or NO_LIDARS in known:
        return False
    beside = [f"'{name}'" for name in wanted if name not in ('', NO_LIDARS)]
    if beside:
        raise ConfigurationError(
            f"lidars names '{NO_LIDARS}' beside {', '.join(beside)}; expected '{NO_LIDARS}' alone "
            'or names without it'
        )
    return True


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


def _refuse(spec: Spec, name: str, value: object) -> ConfigurationError:
    expected = EXPECTED[spec.kind]
    if spec.choices:
        expected = f'one of {spec.allowed}'
    elif spec.length is not None:
        expected = f'a list of {spec.allowed}'
    elif spec.allowed:
        expected = f'{expected}, {spec.allowed}'
    return ConfigurationError(f"parameter '{name}' is {describe(value)}; expected {expected}")


def describe(value: object) -> str:
    """Return a value as the user would type it, shortened, with its type where it misleads."""
    if value is None:
        return 'unset'
    if isinstance(value, bool):
        return f'{str(value).lower()} (a boolean)'
    if isinstance(value, str):
        return f"'{_shorten(value)}'"
    if isinstance(value, (list, tuple, array.array)):
        if len(value) == 0:
            return 'an empty list'
        return _shorten('[' + ', '.join(_item(entry) for entry in value) + ']')
    return _shorten(str(value))


def _item(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if isinstance(value, str) else str(value)


def _shorten(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + '...'


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _text(spec: Spec, name: str, value: object) -> str:
    if _is_number(value):
        # A scene or a camera may be called 1234; YAML cannot tell that from a number.
        return str(value)
    if not isinstance(value, str):
        raise _refuse(spec, name, value)
    return value


def _string(spec: Spec, name: str, value: object) -> str:
    text = _text(spec, name, value)
    if spec.choices and text not in spec.choices:
        raise _refuse(spec, name, value)
    return text


def _bool(spec: Spec, name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _refuse(spec, name, value)
    return value


def _in_range(spec: Spec, value: float) -> bool:
    if value in spec.extra:
        return True
    if spec.minimum is not None and value < spec.minimum:
        return False
    return spec.maximum is None or value <= spec.maximum


def _int(spec: Spec, name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not _in_range(spec, value):
        raise _refuse(spec, name, value)
    return value


def _double(spec: Spec, name: str, value: object) -> float:
    if not _is_number(value):
        raise _refuse(spec, name, value)
    number = float(value)  # type: ignore[arg-type]
    if not math.isfinite(number) or not _in_range(spec, number):
        raise _refuse(spec, name, value)
    return number


def _entries(spec: Spec, name: str, value: object) -> list[object]:
    if not isinstance(value, (list, tuple, array.array)):
        raise _refuse(spec, name, value)
    return list(value)


def _string_array(spec: Spec, name: str, value: object) -> tuple[str, ...]:
    # An empty list arrives as unset from a file, and as an empty array of any type otherwise.
    entries = [] if value is None else _entries(spec, name, value)
    if any(not isinstance(entry, str) and not _is_number(entry) for entry in entries):
        raise _refuse(spec, name, value)
    return tuple(str(entry) for entry in entries) or ('',)


def _double_array(spec: Spec, name: str, value: object) -> tuple[float, ...]:
    entries = _entries(spec, name, value)
    right_length = spec.length is None or len(entries) == spec.length
    if not right_length or not all(_is_number(entry) for entry in entries):
        raise _refuse(spec, name, value)
    numbers = tuple(float(entry) for entry in entries)  # type: ignore[arg-type]
    if not all(math.isfinite(number) and _in_range(spec, number) for number in numbers):
        raise _refuse(spec, name, value)
    return numbers


_CONVERTERS: dict[str, Callable[[Spec, str, object], Value]] = {
    'string': _string,
    'bool': _bool,
    'int': _int,
    'double': _double,
    'string_array': _string_array,
    'double_array': _double_array,
}
