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
"""The context of a command's node, and why rcl does not take its arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import re
from typing import Any

from nurec_ros.errors import ConfigurationError
import rclpy
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import get_logger_effective_level, LoggingSeverity, set_logger_level
from rclpy.signals import SignalHandlerOptions

# A value that begins so is read as something else than a text.
YAMLS_OWN = tuple('[{*&!%@`|>')


def begin_ros(name: str, ros_arguments: Sequence[str]) -> rclpy.Context:
    """
    Return a context of its own for a command, which takes the signals itself.

    With rclpy's handlers the context is dead before anything can be said goodbye to.
    """
    context = rclpy.Context()
    # rcl would say in a line of its own that it failed, before the line that says why.
    set_logger_level('rcl', LoggingSeverity.FATAL)
    try:
        rclpy.init(
            args=[name, *ros_arguments],
            context=context,
            signal_handler_options=SignalHandlerOptions.NO,
        )
    except Exception as error:
        # rcl's parser raises types that differ by release.
        raise ConfigurationError(_refused(error, ros_arguments)) from error
    # Unless the arguments have set another one.
    if get_logger_effective_level('rcl') == LoggingSeverity.FATAL:
        set_logger_level('rcl', LoggingSeverity.UNSET)
    return context


def spin_node(name: str, make: Callable[..., Any], ros_arguments: Sequence[str]) -> None:
    """Make a node, the only one of a command, and spin it until a signal ends that."""
    context = begin_ros(name, ros_arguments)
    try:
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(make(context=context))
        while context.ok():
            executor.spin_once(timeout_sec=0.1)
    except (ParameterException, NameValidationException) as error:
        # rclpy's own, such as of use_sim_time of a wrong type.
        raise ConfigurationError(without_place(error)) from None
    finally:
        context.try_shutdown()


def _refused(error: Exception, ros_arguments: Sequence[str]) -> str:
    """Return why rcl takes the arguments behind --ros-args for none, and how to write them."""
    text = without_place(error)
    if type(error).__name__ == 'UnknownROSArgsError':
        # Its text is Python's of a list.
        unknown = ', '.join(re.findall("'([^']*)'", text)) or text
        return (
            f'--ros-args does not know {unknown}; after it come -p NAME:=VALUE, '
            '--params-file FILE, -r FROM:=TO, --log-level LEVEL and other arguments of ROS 2, '
            'and -- ends them'
        )
    for argument in ros_arguments:
        name, assigned, value = argument.partition(':=')
        if assigned and value[:1] in YAMLS_OWN and argument in text:
            quoted = value.replace("'", "''")
            listed = f'a list is written -p "{name}:=[a, b]"; ' if value[:1] == '[' else ''
            return f'{text}; {listed}if it is a text, quote it for YAML: -p "{name}:=\'{quoted}\'"'
    return text


def without_place(error: BaseException) -> str:
    """Return what rcl says in one line, without where in its sources it was noticed."""
    return re.sub(r', at \S+:\d+', '', ' '.join(str(error).split()))
