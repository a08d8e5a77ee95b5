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
The command `nurec_player`: one player in a process of its own.

Its imports are few, so that signals are taken as early as can be.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
import os
import re
import signal
import socket
import sys
import threading

from nurec_ros import __version__
from nurec_ros.cli.command import leave, one_line, Parser, run_command, Signals, TRACEBACK
from nurec_ros.cli.memory import keep_freed_memory
from nurec_ros.errors import ConfigurationError

DESCRIPTION = 'Play a NuRec scenario (USDZ) as a live ROS 2 system.'
EPILOG = """
Everything else is set the ROS way, for example:
  nurec_player --ros-args -p usdz_path:=street.usdz -p server:=localhost:46435
  nurec_player --ros-args --params-file config/nurec.yaml -r __node:=second

Without usdz_path the player waits for the service ~/load.
`ros2 param describe /nurec NAME` explains each parameter, as config/nurec.yaml does.
"""

# What a player has within seconds of its start.
THREADS = 32
MEGABYTES = 384
# A value that begins so is read as something else than a text.
YAMLS_OWN = tuple('[{*&!%@`|>')


def main(argv: Sequence[str] | None = None) -> int:
    """Run the player until a signal ends it; return the process' exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    stop = _Stop()

    def work(_: Signals) -> int:
        own, ros = split_ros_arguments(arguments)
        _parser().parse_args(own)
        _run(ros, stop)
        return 0

    code = run_command(
        'nurec_player',
        work,
        signals=stop,
        stopped=lambda _: 0,
        threads=THREADS,
        megabytes=MEGABYTES,
    )
    if stop.came:
        leave(code)
    return code


def split_ros_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the command's own arguments from those between `--ros-args` and `--` or the end."""
    own: list[str] = []
    ros: list[str] = []
    current = own
    for argument in arguments:
        if argument == '--ros-args':
            current = ros
        if current is ros and argument == '--':
            ros.append(argument)
            current = own
            continue
        current.append(argument)
    return own, ros


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog='nurec_player',
        usage='%(prog)s [--help] [--version] [--ros-args ...]',
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=f'%(prog)s {__version__}')
    return parser


class _Stop(Signals):
    """The signals; the first one ends the start-up at once, or wakes the loop, which sees it."""

    def __init__(self) -> None:
        super().__init__()
        self._wake: Callable[[], object] = lambda: None

    def __enter__(self) -> _Stop:
        super().__enter__()
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        # Python runs handlers between bytecodes of the main thread, which may be asleep inside
        # the middleware for long: this descriptor is written to at once.
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(self, *details: object) -> None:
        super().__exit__(*details)
        signal.set_wakeup_fd(-1)
        self._writer.close()

    def wake_with(self, wake: Callable[[], object]) -> None:
        """Call `wake`, in a thread, when a signal comes, or came already."""
        self._wake = wake
        threading.Thread(target=self._watch, name='nurec-signals', daemon=True).start()

    def _watch(self) -> None:
        # Empty when the writer is closed.
        if self._reader.recv(1):
            self._wake()


def _run(ros_arguments: list[str], stop: _Stop) -> None:
    keep_freed_memory()
    from nurec_ros.ros.player import NurecPlayer
    import rclpy
    from rclpy.exceptions import NameValidationException, ParameterException
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
    from rclpy.logging import get_logger_effective_level, LoggingSeverity, set_logger_level
    from rclpy.signals import SignalHandlerOptions

    context = rclpy.Context()
    # rcl would say in a line of its own that it failed, before the line that says why.
    set_logger_level('rcl', LoggingSeverity.FATAL)
    try:
        # With rclpy's own handlers the context is dead before anything can be said goodbye to.
        rclpy.init(
            args=['nurec_player', *ros_arguments],
            context=context,
            signal_handler_options=SignalHandlerOptions.NO,
        )
    except Exception as error:
        # rcl's parser raises types that differ by release.
        raise ConfigurationError(_refused(error, ros_arguments)) from error
    # Unless the arguments have set another one.
    if get_logger_effective_level('rcl') == LoggingSeverity.FATAL:
        set_logger_level('rcl', LoggingSeverity.UNSET)
    if get_logger_effective_level('nurec') == LoggingSeverity.DEBUG:
        os.environ.setdefault(TRACEBACK, '1')
    player = None
    try:
        player = NurecPlayer(context=context)
        # An executor that is interrupted while it is made fails in its own destructor.
        stop.interrupt_no_more()
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(player)
        stop.wake_with(lambda: executor.create_task(lambda: None))
        while not stop.came and context.ok():
            executor.spin_once()
    except (ParameterException, NameValidationException) as error:
        # rclpy's own for its own parameters, such as use_sim_time of a wrong type.
        raise ConfigurationError(_without_place(error)) from None
    except ExternalShutdownException:
        pass
    finally:
        stop.interrupt_no_more()
        if player is not None:
            player.destroy_node()
        context.try_shutdown()


def _refused(error: Exception, ros_arguments: Sequence[str]) -> str:
    """Return why rcl takes the arguments behind --ros-args for none, and how to write them."""
    text = _without_place(error)
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
            return f'{text}; if it is a text, quote it for YAML: -p "{name}:=\'{quoted}\'"'
    return text


def _without_place(error: BaseException) -> str:
    # Where in rcl's sources it was noticed helps nobody who only mistyped a name.
    return re.sub(r', at \S+:\d+', '', one_line(error))


if __name__ == '__main__':
    sys.exit(main())
