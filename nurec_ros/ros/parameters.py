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
The node's parameters: declared from the one table, converted once per change, kept in step.

`setting_values` checks the values, at start and at run time. Overrides that nobody declares are
found here as well: ROS takes any name without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
import difflib
from itertools import chain
from typing import Any

from nurec_ros.errors import ConfigurationError, NurecError, UnforeseenError
from nurec_ros.ros.names import topic_names
from nurec_ros.ros.outlet import QOS, qos_hint
from nurec_ros.setting_values import (
    check_together,
    convert,
    LOAD,
    RUNTIME,
    Spec,
    START,
    Value,
)
from nurec_ros.settings import (
    CameraSettings,
    LidarSettings,
    SENSOR_TABLES,
    Settings,
    TABLE,
    Values,
)
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import ParameterNotDeclaredException
from rclpy.node import Node
from rclpy.parameter import Parameter

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


class ParameterGate:
    """
    A mix-in, before `Node`, through which everybody passes who sets a parameter.

    rclpy refuses a read-only parameter before any callback of ours is asked, forgets the name
    of one that it does not know, and on Humble offers no callback that may change a value; here
    refusals get our sentences, and stored values the table's type.
    """

    parameter_gate: Parameters | None = None

    def set_parameters(self, parameter_list: list[Parameter[Value]]) -> list[SetParametersResult]:
        """Set each of the parameters by itself; raises for a name that is unknown."""
        return [self.set_parameters_atomically([parameter]) for parameter in parameter_list]

    def set_parameters_atomically(
        self, parameter_list: list[Parameter[Value]]
    ) -> SetParametersResult:
        """Set all of the parameters, or none and say why; raises for a name that is unknown."""
        store: Callable[[list[Parameter[Value]]], SetParametersResult]
        store = super().set_parameters_atomically  # type: ignore[misc]
        if self.parameter_gate is None:
            return store(parameter_list)
        return self.parameter_gate.set_all(parameter_list, store)


class UnknownParameterError(ParameterNotDeclaredException):  # type: ignore[misc]
    """What rclpy raises, and its parameter services answer, with the name in it."""

    def __init__(self, sentence: str) -> None:
        Exception.__init__(self, sentence)


class Parameters:
    """
    The values, as one immutable record that is replaced at each change: `values`.

    `on_change` is called in the executor's thread after a run-time change was stored, with the
    names of what changed (`<camera>.rate` for a camera's own); where it raises, the change is
    taken back, `on_failure` gets the error, and whoever set the parameter a refusal.
    """

    def __init__(
        self,
        node: Node,
        on_change: Callable[[frozenset[str]], None],
        on_failure: Callable[[str, Exception], object],
    ) -> None:
        """Declare and check everything; ConfigurationError names the first value that fails."""
        self._node = node
        self._on_change = on_change
        self._on_failure = on_failure
        # What is declared, by name, and what it holds in the table's type.
        self._specs: dict[str, Spec] = {}
        self._stored: dict[str, Value] = {}
        # By kind of sensor and logical name, what its parameters begin with.
        self._tokens: dict[str, dict[str, str]] = {}
        for spec in TABLE:
            self._declare(spec.name, spec)
        check_together(self._stored)
        self.values = self._composed()
        node.parameter_gate = self

    @property
    def settings(self) -> Settings:
        return self.values.settings

    def _composed(self) -> Values:
        values = {spec.name: self._stored[spec.name] for spec in TABLE}
        return Values(
            Settings(**values),  # type: ignore[arg-type]
            {name: CameraSettings(**own) for name, own in self._own('camera')},
            {name: LidarSettings(**own) for name, own in self._own('lidar')},
        )

    def _own(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Go through the sensors of a kind, with what each has of its own."""
        for name, token in self._tokens.get(kind, {}).items():
            table = SENSOR_TABLES[kind]
            yield name, {spec.name: self._stored[f'{token}.{spec.name}'] for spec in table}

    # Declaration.

    def _declare(self, name: str, spec: Spec) -> None:
        # Declared open, so that a value can still be put into the table's type; the final
        # descriptor, which may say read-only, follows.
        open_descriptor = ParameterDescriptor(dynamic_typing=True)
        if self._node.has_parameter(name):
            # The node's maker chose to have parameters declared from their overrides.
            self._node.set_descriptor(name, open_descriptor)
            found = self._node.get_parameter(name)
        else:
            default = _listed_value(spec.default)
            found = self._node.declare_parameter(name, default, open_descriptor)
        try:
            value = convert(spec, name, found.value)
            wanted = _parameter(spec, name, value)
            if found.type_ != wanted.type_:
                self._node.set_parameters([wanted])
            self._node.set_descriptor(name, descriptor(spec))
        except Exception:
            # Nothing stays behind half declared (a second try, with another file, may follow).
            self._node.undeclare_parameter(name)
            raise
        self._specs[name] = spec
        self._stored[name] = value

    def declare_cameras(
        self, names: Iterable[str], lidars: Iterable[str] = (), *, drop_others: bool = True
    ) -> None:
        """
        Declare the parameters of the scenario's cameras and lidars, and drop those now gone.

        `names` and `lidars` are the logical names of all that the scenario has. The parameters
        carry their tokens, as their topics do. ConfigurationError where an override is wrong; then
        the parameters are as they were. Others that are not dropped keep their values until they
        are, in case that their scenario stays.
        """
        sensors = {'camera': tuple(names), 'lidar': tuple(lidars)}
        token_of = topic_names(chain(*sensors.values()))
        tokens = {kind: {name: token_of[name] for name in sensors[kind]} for kind in sensors}
        wanted = {
            f'{token}.{spec.name}': spec
            for kind, table in SENSOR_TABLES.items()
            for token in tokens[kind].values()
            for spec in table
        }
        added: list[str] = []
        try:
            for name, spec in wanted.items():
                if name not in self._specs:
                    self._declare(name, spec)
                    added.append(name)
        except Exception:
            for name in added:
                self._undeclare(name)
            raise
        own = tuple(chain(*SENSOR_TABLES.values()))
        for name in [name for name, spec in self._specs.items() if spec in own]:
            if drop_others and name not in wanted:
                self._undeclare(name)
        self._tokens = tokens
        self.values = self._composed()

    @contextmanager
    def declaring(self, names: Iterable[str], lidars: Iterable[str]) -> Iterator[None]:
        """Declare these sensors' parameters besides, and go back where the body raises."""
        before = [tuple(self._tokens.get(kind, ())) for kind in ('camera', 'lidar')]
        self.declare_cameras(names, lidars, drop_others=False)
        try:
            yield
        except BaseException:
            self.declare_cameras(*before)
            raise

    def _undeclare(self, name: str) -> None:
        self._node.undeclare_parameter(name)
        del self._specs[name], self._stored[name]

    # Setting.

    def change(self, name: str, value: object) -> None:
        """
        Change a value on the node's own account; `on_change` is called as for a user's change.

        ConfigurationError with the reason where the value is refused.
        """
        result = self._node.set_parameters_atomically([Parameter(name, value=value)])
        if not result.successful:
            raise ConfigurationError(result.reason)

    def set_all(
        self,
        parameter_list: list[Parameter[Value]],
        store: Callable[[list[Parameter[Value]]], SetParametersResult],
    ) -> SetParametersResult:
        """Convert, have rclpy store, and apply a change of all of these at once, or refuse it."""
        try:
            changed = self._converted(parameter_list)
        except NurecError as error:
            return SetParametersResult(successful=False, reason=str(error))
        except Exception as error:  # noqa: BLE001, whatever it is must not end the node
            return self._failed((one.name for one in parameter_list), 'checked', error)
        typed = [
            _parameter(self._specs[one.name], one.name, changed[one.name])
            if one.name in changed
            else one
            for one in parameter_list
        ]
        try:
            result = store(typed)
        except ParameterNotDeclaredException:
            raise UnknownParameterError(self._unknown(parameter_list)) from None
        if result.successful and changed:
            before = self._stored, self.values
            self._stored = {**self._stored, **changed}
            self.values = self._composed()
            try:
                self._on_change(frozenset(changed))
            except Exception as error:  # noqa: BLE001, whatever it is must not end the node
                self._stored, self.values = before
                store([_parameter(self._specs[n], n, self._stored[n]) for n in changed])
                return self._failed(changed, 'applied', error)
        return result

    def _failed(self, names: Iterable[str], how: str, error: Exception) -> SetParametersResult:
        listed = ', '.join(sorted(names))
        self._on_failure(f'setting {listed}', error)
        what = f'{listed} could not be {how}'
        known = isinstance(error, NurecError)
        reason = f'{what}: {error}' if known else str(UnforeseenError(what, error))
        return SetParametersResult(successful=False, reason=reason)

    def _converted(self, parameter_list: list[Parameter[Value]]) -> dict[str, Value]:
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

    def _at_start_only(self, spec: Spec, parameter: Parameter[Value]) -> str:
        # Refused even where nothing would change, as rclcpp does.
        name = parameter.name
        sentence = f"parameter '{name}' can be set at start only"
        try:
            same = convert(spec, name, parameter.value) == self._stored[name]
        except ConfigurationError:
            same = False
        if same:
            return f'{sentence}; it has this value already'
        return f'{sentence}, with -p {name}:=VALUE or in a parameter file'

    # Names that nobody declared.

    def _unknown(self, parameter_list: list[Parameter[Value]]) -> str:
        names = [p.name for p in parameter_list if not self._node.has_parameter(p.name)]
        return '; '.join(
            no_such_parameter(name, did_you_mean(name, self._specs)) for name in names
        )

    def unused_overrides(self) -> list[tuple[str, str]]:
        """Return the overrides that nobody declared, each with what may be meant or ''."""
        return unused_overrides(self._node, self._specs, sensors_known=bool(self._tokens))


def _parameter(spec: Spec, name: str, value: Value) -> Parameter[Value]:
    return Parameter(name, _TYPES[spec.kind], _listed_value(value))


def _listed_value(value: Value) -> bool | float | str | list[object]:
    return list(value) if isinstance(value, tuple) else value


def descriptor(spec: Spec) -> ParameterDescriptor:
    """Return what `ros2 param describe`, rqt and the like show of a parameter."""
    message = ParameterDescriptor(
        description=spec.description,
        additional_constraints='; '.join(filter(None, (spec.allowed, APPLIES[spec.applies]))),
        read_only=spec.applies == START,
        dynamic_typing=True,
    )
    if spec.between is None:
        return message
    low, high = min(*spec.between, *spec.extra), max(*spec.between, *spec.extra)
    if spec.kind == 'int':
        message.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
    else:
        message.floating_point_range = [
            FloatingPointRange(from_value=float(low), to_value=float(high))
        ]
    return message


def unused_overrides(
    node: Node, known: Collection[str], *, sensors_known: bool
) -> list[tuple[str, str]]:
    """
    Return the overrides that nobody declared, each with what of the `known` may be meant, or ''.

    A sensor's overrides are left out until sensors are declared, and so are those of the QoS of
    topics, which come with the first scenario.
    """
    # rclpy has no public way to list the overrides; without this one nothing is reported.
    overrides = getattr(node, '_parameter_overrides', {})
    endings = {spec.name for table in SENSOR_TABLES.values() for spec in table}
    topics = {publisher.topic_name for publisher in node.publishers}
    unused = []
    for name in overrides:
        later = name.startswith(QOS) or name.rpartition('.')[2] in endings
        if node.has_parameter(name) or (later and not sensors_known):
            continue
        hint = qos_hint(node, name, topics) if name.startswith(QOS) else did_you_mean(name, known)
        unused.append((name, hint))
    return unused


def no_such_parameter(name: str, hint: str) -> str:
    """Return that a parameter does not exist, and what may have been meant instead."""
    return f"there is no parameter '{name}'" + (f'; {hint}' if hint else '')


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the question after the nearest of the known names; '' where none is near."""
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean '{nearest[0]}'?" if nearest else ''
