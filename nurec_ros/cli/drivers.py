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
"""`nurec_follow` and `nurec_autoware`: drivers to start with."""

from __future__ import annotations

from collections.abc import Sequence

from nurec_ros.cli.command import run_command, Signals
from nurec_ros.cli.options import ros_arguments

CODES = '0 after SIGINT or SIGTERM, 1 it cannot start, 2 wrong arguments'
FOLLOW = "Drive a player's ego along the recorded path, by ~/ackermann_cmd (pure pursuit)."
FOLLOW_MORE = """
The player has to have ego_source:=ackermann. Parameters are set the ROS way, and
`ros2 param set /nurec_follow offset_m 0.0` changes over while it drives.
"""
FOLLOW_EXAMPLES = """
nurec_follow
nurec_follow --ros-args -p player:=/nurec -p offset_m:=1.5 -p wheelbase_m:=2.85
"""
AUTOWARE = "Pass Autoware's control commands on to a player's ~/ackermann_cmd."
AUTOWARE_MORE = """
The player has to have ego_source:=ackermann, and autoware_control_msgs to be installed. Parameters
are set the ROS way.
"""
AUTOWARE_EXAMPLES = """
nurec_autoware
nurec_autoware --ros-args -p player:=/nurec -p control_topic:=/control/command/control_cmd
"""


def follow(argv: Sequence[str] | None = None) -> int:
    """Follow until a signal comes; return the process' exit code."""
    texts = {'more': FOLLOW_MORE, 'examples': FOLLOW_EXAMPLES}
    return _run('nurec_follow', 'Follower', argv, FOLLOW, texts)


def autoware(argv: Sequence[str] | None = None) -> int:
    """Pass on until a signal comes; return the process' exit code."""
    texts = {'more': AUTOWARE_MORE, 'examples': AUTOWARE_EXAMPLES}
    return _run('nurec_autoware', 'AutowareAdapter', argv, AUTOWARE, texts)


def _run(
    name: str, node: str, argv: Sequence[str] | None, description: str, texts: dict[str, str]
) -> int:
    def work(_: Signals) -> int:
        ros = ros_arguments(name, description, argv, codes=CODES, **texts)
        from nurec_ros.ros import tool_nodes
        from nurec_ros.ros.executor import spin_node

        spin_node(name, getattr(tool_nodes, node), ros)
        return 0

    return run_command(name, work, stopped=lambda _: 0)
