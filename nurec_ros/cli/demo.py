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
"""`nurec_demo`: play a scenario through every layer, record it, draw it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from signal import SIGHUP
import sys

from nurec_ros.cli.command import run_command, say, Signals
from nurec_ros.cli.options import check_server, need, number, Parser, path
from nurec_ros.settings import TABLE

EXAMPLES = """
nurec_demo
nurec_demo --usdz /data/scene.usdz --output scene
nurec_demo --usdz /data/scene.usdz --server gpu1:46435 --cameras camera_front_wide_120fov
nurec_demo --drive --output driven
nurec_demo --rate 0.5 --resolution-scale 0.5 --camera-rate 0
"""
CODES = '0 all is there, 1 something failed, 2 wrong arguments, 130 after Ctrl-C'

# What it has beside player and preview.
THREADS = 24
MEGABYTES = 384
# A domain's UDP ports begin at 7400 + 250 times its number and have to stay below 65536.
MOST_DOMAIN = 232


def _number_for(parameter: str) -> Callable[[str], float]:
    """Return what reads a number that the player's parameter of this name may be."""
    spec = next(spec for spec in TABLE if spec.name == parameter)
    assert spec.between is not None
    return number(*spec.between, float)


def parser() -> Parser:
    """Return the command line's description."""
    result = Parser(
        'nurec_demo',
        'Play a scenario through preview server and player to its end; leave a contact sheet, a '
        'plot from above and a recording.',
        examples=EXAMPLES,
        codes=CODES,
    )
    result.add('--usdz', type=path, help='the NuRec archive (a generated example)')
    result.add('--output', type=path, default='demo', help='folder to fill (%(default)s)')
    result.add(
        '--rate',
        type=_number_for('rate'),
        default=1.0,
        metavar='R',
        help='playing speed, where the pictures come that fast (%(default)g)',
    )
    result.add('--cameras')
    result.add(
        '--camera-rate',
        type=_number_for('camera_rate'),
        default=10.0,
        metavar='HZ',
        help='images a scenario second of each camera; 0: the recorded times (%(default)g)',
    )
    result.add(
        '--lidar-rate',
        type=_number_for('lidar_rate'),
        default=2.0,
        metavar='HZ',
        help='clouds a scenario second of each lidar; 0: the recorded spins (%(default)g)',
    )
    result.add('--resolution-scale', default=0.25)
    result.add('--server', default='', help='render servers (a preview server of its own)')
    result.add(
        '--drive', action='store_true', help='drive half a lane beside the recording, and back'
    )
    result.add(
        '--domain-id',
        type=number(0, MOST_DOMAIN, int),
        metavar='N',
        help='ROS_DOMAIN_ID, 0 to 232 (one that nobody uses)',
    )
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 when all is there, 1 with the reason, 128 and its number after a signal."""

    def work(signals: Signals) -> int:
        command = parser()
        options = command.parse_args(arguments)
        if options.server:
            check_server(command, options.server)
        need('rclpy', 'rosbags', *(['ackermann_msgs'] if options.drive else []))
        from nurec_ros.demo.show import Options, run

        run(Options(**vars(options)), say, signals.check, signals.noted)
        return 0

    # Where the terminal is closed, too, its processes are ended.
    signals = Signals(SIGHUP)
    return run_command('nurec_demo', work, signals=signals, threads=THREADS, megabytes=MEGABYTES)


if __name__ == '__main__':
    sys.exit(main())
