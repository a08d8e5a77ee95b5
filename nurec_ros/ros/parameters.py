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
The node's parameters: declared from the one table, checked by our own validator, kept in step.

Every parameter is declared with dynamic typing (an integer serves for a double), which switches
rclpy's type checks off; `parameter_values` takes them over, at start and at run time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nurec_ros.errors import ConfigurationError
from nurec_ros.rendering.options import RenderOptions
from nurec_ros.ros.frames import topic_names
from nurec_ros.ros.parameter_overrides import did_you_mean, QOS, qos_hint
from nurec_ros.ros.parameter_table import CAMERA_TABLE, LOAD, RUNTIME, Spec, START, TABLE, Value
from nurec_ros.ros.parameter_values import check_together, convert
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import ParameterNotDeclaredException
from rclpy.parameter import Parameter

__all__ = [
    'CAMERA_TABLE',
    'TABLE',
    'CameraSettings',
    'ParameterGate',
    'Parameters',
    'Spec',
    'render_options',
]

_TYPES = {
    'string': Parameter.Type.STRING,
    'bool': Parameter.Type.BOOL,
    'int': Parameter.Type.INTEGER,
    'double': Parameter.Type.DOUBLE,
    'string_array': Parameter.Type.STRING_ARRAY,
    'double_array': Parameter.Type.DOUBLE_ARRAY,
}

APPLIES = {
    START: 'set at start only',
    RUNTIME: 'changes at once',
    LOAD: 'takes effect at the next ~/load',
}


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """What a camera has for itself; None where the general parameter holds."""

    resolution_scale: float | None = None
    rate: float | None = None


class ParameterGate:
    """
    A mix-in, before `Node`, through which the parameter services of every distribution pass.

    rclpy refuses a read-only parameter before any callback of ours is asked, forgets the name
    of one that it does not know, and on Humble offers no callback that may change a value; here
    refusals get our sentences, and stored values the table's type.
    """

    parameter_gate: Parameters | None = None

    def set_parameters_atomically(
        self, parameter_list: list[Parameter[Any]]
    ) -> SetParametersResult:
        """Set all of the parameters, or none and say why; raises for a name that is unknown."""
        gate = self.parameter_gate
        if gate is None:
            return super().set_parameters_atomically(parameter_list)
        refusal = gate.check(parameter_list)
        if not refusal.successful:
            return refusal
        try:
            return super().set_parameters_atomically(gate.normalise(parameter_list))
        except ParameterNotDeclaredException:
            raise UnknownParameter(gate.unknown(parameter_list)) from None


class UnknownParameter(ParameterNotDeclaredException):
    """What rclpy raises, and its parameter services answer, with the name in it."""

    def __init__(self, sentence: str) -> None:
        Exception.__init__(self, sentence)


class Parameters:
    """
    The values, as attributes in Python's types: `parameters.rate`, `parameters.usdz_path`.

    The attributes may be read from any thread. `cameras` is a tuple of names, empty for all.
    `on_change` is called in the executor's thread after a run-time change was accepted, with
    the changed values by name (`<camera>.rate` for a camera's own).
    """

    def __init__(self, node: Any, on_change: Callable[[Mapping[str, object]], None]) -> None:
        """Declare and check everything; ConfigurationError names the first value that fails."""
        self._node = node
        self._on_change = on_change
        self._specs: dict[str, Spec] = {}
        self._values: dict[str, Value] = {}
        self._tokens: dict[str, str] = {}
        self._cameras_known = False
        for spec in TABLE:
            self._declare(spec.name, spec)
        check_together(self._values)
        self._has_post_set = hasattr(node, 'add_post_set_parameters_callback')
        node.add_on_set_parameters_callback(self._on_set)
        if hasattr(node, 'add_pre_set_parameters_callback'):
            node.add_pre_set_parameters_callback(self.normalise)
        if self._has_post_set:
            node.add_post_set_parameters_callback(self._accept)
        node.parameter_gate = self

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get('_values', {})
        if name not in values:
            raise AttributeError(f"no parameter is called '{name}'")
        return values[name]

    @property
    def cameras(self) -> tuple[str, ...]:
        """Give the cameras asked for, empty for all of them."""
        return tuple(name for name in self._values['cameras'] if name)

    # Declaration.

    def _declare(self, name: str, spec: Spec) -> None:
        default = _stored(spec, spec.default)
        # Declared open, so that a value can still be put into the table's type; the final
        # descriptor, which may say read-only, follows.
        open_descriptor = ParameterDescriptor(dynamic_typing=True)
        if self._node.has_parameter(name):
            # The node's maker chose to have parameters declared from their overrides.
            self._node.set_descriptor(name, open_descriptor)
            found = self._node.get_parameter(name)
        else:
            found = self._node.declare_parameter(name, default, open_descriptor)
        try:
            value = convert(spec, name, found.value)
            self._specs[name] = spec
            wanted = Parameter(name, _TYPES[spec.kind], _stored(spec, value))
            if found.type_ != wanted.type_:
                self._node.set_parameters([wanted])
            self._node.set_descriptor(name, descriptor(spec))
        except Exception:
            # Nothing stays behind half declared (a second try, with another file, may follow).
            self._specs.pop(name, None)
            self._node.undeclare_parameter(name)
            raise
        self._values[name] = value

    def declare_cameras(self, names: Iterable[str]) -> None:
        """
        Declare the parameters of the scenario's cameras, and drop those of cameras now gone.

        `names` are the logical names of all of the scenario's cameras. The parameters carry the
        cameras' tokens, as their topics do. ConfigurationError where an override is wrong; then
        the parameters are as they were.
        """
        tokens = topic_names(names)
        added: list[str] = []
        wanted = {
            f'{token}.{spec.name}': spec for token in tokens.values() for spec in CAMERA_TABLE
        }
        try:
            for name, spec in wanted.items():
                if name not in self._specs:
                    self._declare(name, spec)
                    added.append(name)
        except ConfigurationError:
            for name in added:
                self._undeclare(name)
            raise
        for name in [name for name, spec in self._specs.items() if spec in CAMERA_TABLE]:
            if name not in wanted:
                self._undeclare(name)
        self._tokens = tokens
        self._cameras_known = True

    def undeclare_cameras(self) -> None:
        """Drop every camera's parameters."""
        self.declare_cameras(())

    def _undeclare(self, name: str) -> None:
        self._node.undeclare_parameter(name)
        self._specs.pop(name)
        self._values.pop(name)

    # Reading and setting.

    def camera(self, name: str) -> CameraSettings:
        """Give what the camera of this logical name has for itself."""
        token = self._tokens.get(name, name)
        scale = self._values.get(f'{token}.resolution_scale', 0.0)
        rate = self._values.get(f'{token}.rate', -1.0)
        return CameraSettings(
            resolution_scale=None if scale == 0.0 else scale,
            rate=None if rate == -1.0 else rate,
        )

    def camera_scales(self) -> dict[str, float]:
        """Give the cameras, by logical name, that have a resolution scale of their own."""
        scales = {name: self.camera(name).resolution_scale for name in self._tokens}
        return {name: scale for name, scale in scales.items() if scale is not None}

    def change(self, name: str, value: object) -> None:
        """
        Change a value on the node's own account; `on_change` is called as for a user's change.

        ConfigurationError with the reason where the value is refused.
        """
        spec = self._specs[name]
        stored = _stored(spec, convert(spec, name, value))
        result = self._node.set_parameters([Parameter(name, _TYPES[spec.kind], stored)])[0]
        if not result.successful:
            raise ConfigurationError(result.reason)

    def unused_overrides(self) -> list[tuple[str, str]]:
        """
        Give the overrides that nobody declared, each with what may be meant or ''.

        A camera's overrides are left out until cameras are declared, and so are those of the QoS
        of topics, which come with the first scenario.
        """
        # rclpy has no public way to list the overrides; without this one nothing is reported.
        overrides = getattr(self._node, '_parameter_overrides', {})
        endings = {spec.name for spec in CAMERA_TABLE}
        unused = []
        topics = {publisher.topic_name for publisher in self._node.publishers}
        for name in overrides:
            later = name.startswith(QOS) or name.rpartition('.')[2] in endings
            if self._node.has_parameter(name) or (later and not self._cameras_known):
                continue
            if name.startswith(QOS):
                unused.append((name, qos_hint(self._node, name, topics)))
            else:
                unused.append((name, did_you_mean(name, self._specs)))
        return unused

    def unknown(self, parameter_list: list[Parameter[Any]]) -> str:
        """Name those that do not exist, for a refusal."""
        names = [p.name for p in parameter_list if not self._node.has_parameter(p.name)]
        return '; '.join(
            no_such_parameter(name, did_you_mean(name, self._specs)) for name in names
        )

    # Callbacks of rclpy, in its order: pre-set, on-set, post-set.

    def normalise(self, parameter_list: list[Parameter[Any]]) -> list[Parameter[Any]]:
        """Put the values that are right into the table's types; the others stay as they are."""
        return [self._normalised(parameter) for parameter in parameter_list]

    def _normalised(self, parameter: Parameter[Any]) -> Parameter[Any]:
        spec = self._specs.get(parameter.name)
        if spec is None or parameter.type_ == Parameter.Type.NOT_SET:
            return parameter
        try:
            stored = _stored(spec, convert(spec, parameter.name, parameter.value))
        except ConfigurationError:
            # The check that follows refuses it with the reason.
            return parameter
        return Parameter(parameter.name, _TYPES[spec.kind], stored)

    def check(self, parameter_list: list[Parameter[Any]]) -> SetParametersResult:
        """Say whether a run-time change of all of these at once is allowed, and why not."""
        try:
            self._converted(parameter_list)
        except ConfigurationError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _converted(self, parameter_list: list[Parameter[Any]]) -> dict[str, Value]:
        changed: dict[str, Value] = {}
        for parameter in parameter_list:
            spec = self._specs.get(parameter.name)
            if spec is None:
                continue
            if parameter.type_ == Parameter.Type.NOT_SET:
                raise ConfigurationError(f"parameter '{parameter.name}' cannot be removed")
            if spec.applies == START:
                raise ConfigurationError(self._at_start_only(spec, parameter))
            changed[parameter.name] = convert(spec, parameter.name, parameter.value)
        return changed

    def _at_start_only(self, spec: Spec, parameter: Parameter[Any]) -> str:
        # Refused even where nothing would change, as rclcpp does.
        name = parameter.name
        sentence = f"parameter '{name}' can be set at start only"
        try:
            same = convert(spec, name, parameter.value) == self._values[name]
        except ConfigurationError:
            same = False
        if same:
            return f'{sentence}; it has this value already'
        return f'{sentence}, with -p {name}:=VALUE or in a parameter file'

    def _on_set(self, parameter_list: list[Parameter[Any]]) -> SetParametersResult:
        declaring = [p for p in parameter_list if not self._node.has_parameter(p.name)]
        if declaring:
            return SetParametersResult(successful=True)
        result = self.check(parameter_list)
        if result.successful and not self._has_post_set:
            self._accept(parameter_list)
        return result

    def _accept(self, parameter_list: list[Parameter[Any]]) -> None:
        changed = {}
        for parameter in parameter_list:
            if parameter.name in self._values:
                spec = self._specs[parameter.name]
                changed[parameter.name] = convert(spec, parameter.name, parameter.value)
        if changed:
            self._values.update(changed)
            self._on_change(changed)


def no_such_parameter(name: str, hint: str) -> str:
    """Say that a parameter does not exist, and what may have been meant instead."""
    return f"there is no parameter '{name}'" + (f'; {hint}' if hint else '')


def _stored(spec: Spec, value: Value) -> Any:
    return list(value) if spec.kind.endswith('_array') else value


def descriptor(spec: Spec) -> ParameterDescriptor:
    """Describe a parameter to `ros2 param describe`, rqt and the like."""
    message = ParameterDescriptor(
        description=spec.description,
        additional_constraints='; '.join(filter(None, (spec.allowed, APPLIES[spec.applies]))),
        read_only=spec.applies == START,
        dynamic_typing=True,
    )
    if spec.minimum is None or spec.maximum is None:
        return message
    low, high = min((spec.minimum, *spec.extra)), max((spec.maximum, *spec.extra))
    if spec.kind == 'int':
        message.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
    else:
        message.floating_point_range = [
            FloatingPointRange(from_value=float(low), to_value=float(high))
        ]
    return message


def render_options(parameters: Parameters) -> RenderOptions:
    """Give the `RenderOptions` that the parameters ask for."""
    names = (
        'server',
        'use_proxy',
        'tls_root_certificate',
        'service_prefix',
        'scene_id',
        'scene_url',
        'image_format',
        'image_quality',
        'projection',
        'hfov_deg',
        'shutter',
        'batch',
        'render_timeout_s',
        'first_render_timeout_s',
        'send_tracks',
        'rig_offset',
        'resolution_scale',
    )
    values = {name: getattr(parameters, name) for name in names}
    return RenderOptions(**values, camera_scales=parameters.camera_scales())
