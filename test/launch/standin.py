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
A stand-in for an executable that the launch file starts: reports what it was given, then waits.

The report is $STANDIN_REPORTS/<its name>.json. It ends with 0 on SIGINT; the one that
$STANDIN_EXIT names, as in nurec_player:3, with that code as soon as those that $STANDIN_AFTER
names have reported. Given ROS arguments, it is a node that takes whatever parameters come.
"""

import json
import os
from pathlib import Path
import signal
import sys
import time

UNTOUCHED = ('use_sim_time', False)


def node_report():
    """Make a node from the command line; return its name and its parameters with their types."""
    import rclpy
    from rclpy.node import Node
    from rclpy.parameter import parameter_value_to_python
    from rclpy.signals import SignalHandlerOptions

    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = Node('unnamed', automatically_declare_parameters_from_overrides=True)
    parameters = {
        name: parameter_value_to_python(parameter.get_parameter_value())
        for name, parameter in node.get_parameters_by_prefix('').items()
        # Every node has these two.
        if name != 'start_type_description_service' and (name, parameter.value) != UNTOUCHED
    }
    report = {'node': node.get_fully_qualified_name(), 'parameters': parameters}
    node.destroy_node()
    rclpy.shutdown()
    return report


def end(*_):
    """End with 0, whatever further signals come while Python ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(0)


def main():
    """Report, and wait where no exit code is asked for."""
    signal.signal(signal.SIGINT, end)
    name = Path(sys.argv[0]).name
    report = {'arguments': sys.argv[1:], 'environment': dict(os.environ)}
    if '--ros-args' in sys.argv:
        report.update(node_report())
    path = Path(os.environ['STANDIN_REPORTS']) / f'{name}.json'
    unfinished = path.with_suffix('.part')
    unfinished.write_text(json.dumps(report))
    unfinished.rename(path)
    who, _, code = os.environ.get('STANDIN_EXIT', '').partition(':')
    if who == name:
        others = [path.with_name(f'{other}.json') for other in os.environ['STANDIN_AFTER'].split()]
        while not all(other.is_file() for other in others):
            time.sleep(0.02)
        return int(code)
    signal.pause()
    return 0


if __name__ == '__main__':
    sys.exit(main())
