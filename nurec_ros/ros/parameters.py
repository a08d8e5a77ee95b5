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

Every parameter is declared with dynamic typing (an integer serves for a double), which switches
rclpy's own checks off; `setting_values` takes them over, at start and at run time. Overrides that
nobody declares are found here as well: ROS takes any name without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
import difflib
from typing import Any

from nurec_ros.errors import ConfigurationError, NurecError, UnforeseenError
from nurec_ros.rendering.options import RenderOptions
from nurec_ros.ros.frames import topic_names
from nurec_ros.setting_values import check_together, convert
from nurec_ros.settings import (
    CAMERA_TABLE,
    CameraSettings,
    LIDAR_TABLE,
    LidarSettings,
    LOAD,
    RUNTIME,
    Settings,
    Spec,
    START,
    TABLE,
    Value,
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

QOS = 'qos_overrides.'
POLICIES = ('history', 'depth', 'reliability')
OTHER_POLICIES = (
    'deadline',
    'durability',
    'lifespan',
    'liveliness',
    'liveliness_lease_duration',
    'avoid_ros_namespace_conventions',
)


@dataclass(frozen=True, slots=True)
class Values:
    """The values of a moment: the table's, and by logical name what sensors have of their own."""

    settings: Settings = field(default_factory=Settings)
    cameras: Mapping[str, CameraSettings] = field(default_factory=dict)
    lidars: Mapping[str, LidarSettings] = field(default_factory=dict)

    def camera_rate(self, camera: str) -> float:
        """Return the rate of a camera's frames in Hz; 0 for the recorded frame times."""
        own = self.cameras.get(camera, CameraSettings()).rate
        return self.settings.camera_rate if own == -1.0 else own

    def lidar_rate(self, lidar: str) -> float:
        """Return the rate of a lidar's clouds in Hz; 0 for the recorded spins."""
        own = self.lidars.get(lidar, LidarSettings()).rate
        return self.settings.lidar_rate if own == -1.0 else own

    def lidar_devices(self) -> dict[str, str]:
        """Return the lidars, by logical name, whose device was chosen."""
        return {name: own.device for name, own in self.lidars.items() if own.device}

    def camera_scales(self) -> dict[str, float]:
        """Return the cameras, by logical name, that have a resolution scale of their own."""
        scales = {name: own.resolution_scale for name, own in self.cameras.items()}
        return {name: scale for name, scale in scales.items() if scale != 0.0}

    def render_options(self) -> RenderOptions:
        """Return the options of rendering."""
        return RenderOptions.from_settings(
            self.settings, self.camera_scales(), self.lidar_devices()
        )


class ParameterGate:
    """
    A mix-in, before `Node`, through which everybody passes who sets a parameter.

    rclpy refuses a read-only parameter before any callback of ours is asked, forgets the name
    of one that it does not know, and on Humble offers no callback that may change a value; here
    refusals get our sentences, and stored values the table's type.
    """

    parameter_gate: Parameters | None = None

    def set_parameters(self, parameter_list: list[Parameter[Any]]) -> list[SetParametersResult]:
        """Set each of the parameters by itself; raises for a name that is unknown."""
        return [self.set_parameters_atomically([parameter]) for parameter in parameter_list]

    def set_parameters_atomically(
        self, parameter_list: list[Parameter[Any]]
    ) -> SetParametersResult:
        """Set all of the parameters, or none and say why; raises for a name that is unknown."""
        store: Callable[[list[Parameter[Any]]], SetParametersResult]
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
        on_failure: Callable[[str, Exception], None],
    ) -> None:
        """Declare and check everything; ConfigurationError names the first value that fails."""
        self._node = node
        self._on_change = on_change
        self._on_failure = on_failure
        # What is declared, by name, and what it holds in the table's type.
        self._specs: dict[str, Spec] = {}
        self._stored: dict[str, Value] = {}
        self._tokens: dict[str, str] = {}
        self._lidar_tokens: dict[str, str] = {}
        self._cameras_known = False
        for spec in TABLE:
            self._declare(spec.name, spec)
        check_together(self._stored)
        self.values = self._composed()
        node.parameter_gate = self

    @property
    def settings(self) -> Settings:
        """Return the values of the table."""
        return self.values.settings

    def _composed(self) -> Values:
        own = {
            name: CameraSettings(**self._of(token, CAMERA_TABLE))
            for name, token in self._tokens.items()
        }
        lidars = {
            name: LidarSettings(**self._of(token, LIDAR_TABLE))
            for name, token in self._lidar_tokens.items()
        }
        values = {spec.name: self._stored[spec.name] for spec in TABLE}
        return Values(Settings(**values), own, lidars)  # type: ignore[arg-type]

    def _of(self, token: str, table: tuple[Spec, ...]) -> dict[str, Any]:
        return {spec.name: self._stored[f'{token}.{spec.name}'] for spec in table}

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
        lidars = tuple(lidars)
        tokens = topic_names([*names, *lidars])
        lidar_tokens = {name: tokens.pop(name) for name in lidars}
        added: list[str] = []
        wanted = {
            f'{token}.{spec.name}': spec
            for table, found in ((CAMERA_TABLE, tokens), (LIDAR_TABLE, lidar_tokens))
            for token in found.values()
            for spec in table
        }
        try:
            for name, spec in wanted.items():
                if name not in self._specs:
                    self._declare(name, spec)
                    added.append(name)
        except Exception:
            for name in added:
                self._undeclare(name)
            raise
        own = (*CAMERA_TABLE, *LIDAR_TABLE)
        for name in [name for name, spec in self._specs.items() if spec in own]:
            if drop_others and name not in wanted:
                self._undeclare(name)
        self._tokens, self._lidar_tokens = tokens, lidar_tokens
        self._cameras_known = True
        self.values = self._composed()

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
        parameter_list: list[Parameter[Any]],
        store: Callable[[list[Parameter[Any]]], SetParametersResult],
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
            same = convert(spec, name, parameter.value) == self._stored[name]
        except ConfigurationError:
            same = False
        if same:
            return f'{sentence}; it has this value already'
        return f'{sentence}, with -p {name}:=VALUE or in a parameter file'

    # Names that nobody declared.

    def _unknown(self, parameter_list: list[Parameter[Any]]) -> str:
        names = [p.name for p in parameter_list if not self._node.has_parameter(p.name)]
        return '; '.join(
            no_such_parameter(name, did_you_mean(name, self._specs)) for name in names
        )

    def unused_overrides(self) -> list[tuple[str, str]]:
        """
        Return the overrides that nobody declared, each with what may be meant or ''.

        A camera's overrides are left out until cameras are declared, and so are those of the QoS
        of topics, which come with the first scenario.
        """
        # rclpy has no public way to list the overrides; without this one nothing is reported.
        overrides = getattr(self._node, '_parameter_overrides', {})
        endings = {spec.name for spec in (*CAMERA_TABLE, *LIDAR_TABLE)}
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


def _parameter(spec: Spec, name: str, value: Value) -> Parameter[Any]:
    return Parameter(name, _TYPES[spec.kind], _listed_value(value))


def _listed_value(value: Value) -> Any:
    return list(value) if isinstance(value, tuple) else value


def descriptor(spec: Spec) -> ParameterDescriptor:
    """Return what `ros2 param describe`, rqt and the like show of a parameter."""
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


def no_such_parameter(name: str, hint: str) -> str:
    """Return that a parameter does not exist, and what may have been meant instead."""
    return f"there is no parameter '{name}'" + (f'; {hint}' if hint else '')


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the question after the nearest of the known names; '' where none is near."""
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean '{nearest[0]}'?" if nearest else ''


def qos_hint(node: Node, name: str, topics: Iterable[str]) -> str:
    """
    Return what is wrong with the name of a QoS override that was not taken.

    `topics` are the full names of those that the node publishes. A full name is
    qos_overrides.<topic>.publisher.<policy>, with the topic after remapping.
    """
    topics = sorted(topics)
    topic, _, rest = name.removeprefix(QOS).partition('.')
    entity, _, policy = rest.partition('.')
    owner = _owner(node, topic, topics)
    if owner != topic or not rest:
        wanted = f'{QOS}{owner}.{rest or "publisher.depth"}' if owner else ''
        return f"did you mean '{wanted}'?" if wanted else 'the player publishes no such topic'
    if entity == 'publisher' and policy in OTHER_POLICIES:
        return f'{policy} cannot be overridden, {_listed(POLICIES)} can'
    if entity == 'publisher' and policy in POLICIES:
        # Those of rclpy and tf2_ros.
        return f'the publisher of {topic} takes no overrides'
    right = [f'publisher.{known}' for known in POLICIES]
    nearest = difflib.get_close_matches(rest, right, n=1, cutoff=0.6)
    if nearest:
        return f"did you mean '{QOS}{topic}.{nearest[0]}'?"
    return f"expected '{QOS}{topic}.publisher.' with {_listed(POLICIES)}"


def _owner(node: Node, topic: str, topics: list[str]) -> str:
    """Return the published topic that is meant: itself, resolved, remapped, or the nearest."""
    if topic in topics:
        return topic
    try:
        resolved = str(node.resolve_topic_name(topic))
    except Exception:  # noqa: BLE001, rcl has an exception for every way to mistype a name
        resolved = ''
    if resolved in topics:
        return resolved
    nearest = difflib.get_close_matches(resolved or topic, topics, n=1, cutoff=0.6)
    return nearest[0] if nearest else ''


def _listed(words: Iterable[str]) -> str:
    *first, last = words
    return f'{", ".join(first)} and {last}'
