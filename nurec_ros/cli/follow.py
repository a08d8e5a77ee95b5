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
"""The command `nurec_follow`: a driver to start with."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import sys

from nurec_ros import __version__
from nurec_ros.cli.command import run_command, Signals
from nurec_ros.cli.player import split_ros_arguments
from nurec_ros.errors import ConfigurationError

DESCRIPTION = "Drive a player's ego along the recorded path, by ~/ackermann_cmd (pure pursuit)."
EPILOG = """
The player has to have ego_source:=ackermann. Parameters, the ROS way:
  nurec_follow --ros-args -p player:=/nurec -p offset_m:=1.5 -p wheelbase_m:=2.85

`ros2 param set /nurec_follow offset_m 0.0` changes over while it drives.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Follow until a signal comes; return the process' exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)

    def work(_: Signals) -> int:
        own, ros = split_ros_arguments(arguments)
        parser = argparse.ArgumentParser(
            prog='nurec_follow',
            usage='%(prog)s [--help] [--version] [--ros-args ...]',
            description=DESCRIPTION,
            epilog=EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.add_argument('--version', action='version', version=f'%(prog)s {__version__}')
        parser.parse_args(own)
        _run(ros)
        return 0

    return run_command('nurec_follow', work, stopped=lambda _: 0)


def _run(ros_arguments: list[str]) -> None:
    from nurec_ros.ros.follower import Follower
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    context = rclpy.Context()
    try:
        rclpy.init(
            args=['nurec_follow', *ros_arguments],
            context=context,
            signal_handler_options=SignalHandlerOptions.NO,
        )
    except Exception as error:
        # rcl's parser raises types that differ by release.
        raise ConfigurationError(' '.join(str(error).split())) from error
    try:
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(Follower(context=context))
        while context.ok():
            executor.spin_once(timeout_sec=0.1)
    finally:
        context.try_shutdown()


if __name__ == '__main__':
    sys.exit(main())
