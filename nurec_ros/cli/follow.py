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
"""`nurec_follow`: a driver to start with."""

from __future__ import annotations

from collections.abc import Sequence
import sys

from nurec_ros.cli.command import run_command, Signals
from nurec_ros.cli.options import ros_arguments

NAME = 'nurec_follow'
DESCRIPTION = "Drive a player's ego along the recorded path, by ~/ackermann_cmd (pure pursuit)."
MORE = """
The player has to have ego_source:=ackermann. Parameters are set the ROS way, and
`ros2 param set /nurec_follow offset_m 0.0` changes over while it drives.
"""
EXAMPLES = """
nurec_follow
nurec_follow --ros-args -p player:=/nurec -p offset_m:=1.5 -p wheelbase_m:=2.85
"""
CODES = '0 after SIGINT or SIGTERM, 1 it cannot start, 2 wrong arguments'


def main(argv: Sequence[str] | None = None) -> int:
    """Follow until a signal comes; return the process' exit code."""

    def work(_: Signals) -> int:
        ros = ros_arguments(NAME, DESCRIPTION, argv, more=MORE, examples=EXAMPLES, codes=CODES)
        from nurec_ros.ros.executor import spin_node
        from nurec_ros.ros.tool_nodes import Follower

        spin_node(NAME, Follower, ros)
        return 0

    return run_command(NAME, work, stopped=lambda _: 0)


if __name__ == '__main__':
    sys.exit(main())
