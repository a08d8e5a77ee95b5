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
"""Parameters of the small nodes beside the player, checked and refused as the player's are."""

from __future__ import annotations

from collections.abc import Iterable

from nurec_ros.errors import ConfigurationError
from nurec_ros.ros.parameter_names import no_such_parameter, unused_overrides
from nurec_ros.ros.parameters import descriptor
from nurec_ros.setting_values import convert, RUNTIME, Spec, Value
from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

PLAYER = Spec('player', 'string', '/nurec', "The player's full name.")


class ToolParameters:
    """
    The values of some parameters, by name, in their specs' types; those of run time may change.

    ConfigurationError for one that cannot be used. An override that nobody declares is warned of.
    """

    def __init__(self, node: Node, specs: Iterable[Spec]) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._values: dict[str, Value] = {}
        for name, spec in self._specs.items():
            # Open, so that an integer serves for a double.
            found = node.declare_parameter(
                name, spec.default, ParameterDescriptor(dynamic_typing=True)
            )
            self._values[name] = convert(spec, name, found.value)
            node.set_descriptor(name, descriptor(spec))
        node.add_on_set_parameters_callback(self._set)
        for name, _ in unused_overrides(node, self._specs, sensors_known=True):
            node.get_logger().warning(
                f'{no_such_parameter(name, "")}; there are {", ".join(self._specs)}'
            )

    def text(self, name: str) -> str:
        """Return the value of a string."""
        return str(self._values[name])

    def number(self, name: str) -> float:
        """Return the value of a double."""
        value = self._values[name]
        assert isinstance(value, float)
        return value

    def _set(self, parameters: list[Parameter[Value]]) -> SetParametersResult:
        changed = {}
        for parameter in parameters:
            spec = self._specs.get(parameter.name)
            # What may not change is rclpy's to refuse.
            if spec is not None and spec.applies == RUNTIME:
                try:
                    changed[spec.name] = convert(spec, spec.name, parameter.value)
                except ConfigurationError as error:
                    return SetParametersResult(successful=False, reason=str(error))
        self._values |= changed
        return SetParametersResult(successful=True)
