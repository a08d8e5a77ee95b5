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

import argparse
from collections.abc import Callable, Sequence
import importlib.util
from signal import SIGHUP
import sys

from nurec_ros import __version__
from nurec_ros.cli.command import Parser, run_command, say, Signals
from nurec_ros.errors import ConfigurationError
from nurec_ros.settings import TABLE

# What only the demo needs, and where it comes from.
NEEDED = {
    'rclpy': 'source a ROS 2 distribution, or run `make setup`',
    'rosbags': 'pip install rosbags',
}


# What it has beside player and preview.
THREADS = 24
MEGABYTES = 384
# A domain's UDP ports begin at 7400 + 250 times its number and have to stay below 65536.
MOST_DOMAIN = 232


def _domain(text: str) -> int:
    if not text.isdecimal() or int(text) > MOST_DOMAIN:
        message = f'{text} is no ROS domain, expected 0 to {MOST_DOMAIN}'
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _number_for(parameter: str) -> Callable[[str], float]:
    """Return what reads a number that the player's parameter of this name may be."""
    spec = next(spec for spec in TABLE if spec.name == parameter)
    least, most = spec.minimum, spec.maximum
    assert least is not None
    assert most is not None

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float('nan')
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f'{text} is not a number of {spec.allowed}')
        return value

    return read


def _path(text: str) -> str:
    # As `--usdz "$FILE"` gives it where there is no FILE.
    if not text:
        raise argparse.ArgumentTypeError('the path is empty')
    return text


def parser() -> argparse.ArgumentParser:
    """Return the command line's description."""
    result = Parser(
        prog='nurec_demo',
        description='Play a scenario through preview server and player to its end; leave a '
        'contact sheet, a plot from above and a recording.',
        epilog='exit codes: 0 all is there, 1 something failed, 2 wrong arguments, '
        '130 after Ctrl-C',
    )
    result.add_argument('--usdz', type=_path, metavar='PATH', help='default: a generated example')
    result.add_argument(
        '--output', type=_path, default='demo', metavar='DIR', help='folder to fill (demo)'
    )
    result.add_argument(
        '--rate',
        type=_number_for('rate'),
        default=1.0,
        metavar='R',
        help='playing speed, where the pictures come that fast (1)',
    )
    result.add_argument(
        '--cameras', nargs='+', default=[], metavar='NAME', help='default: all of the scenario'
    )
    result.add_argument(
        '--camera-rate',
        type=_number_for('camera_rate'),
        default=10.0,
        metavar='HZ',
        help='images a scenario second of each camera; 0: the recorded times (10)',
    )
    result.add_argument(
        '--resolution-scale',
        type=_number_for('resolution_scale'),
        default=0.25,
        metavar='S',
        help='size of images (0.25)',
    )
    result.add_argument(
        '--server', default='', metavar='HOST:PORT', help='a render server that runs already'
    )
    result.add_argument(
        '--domain-id',
        type=_domain,
        metavar='N',
        help='ROS_DOMAIN_ID, 0 to 232 (one that nobody uses)',
    )
    result.add_argument('--version', action='version', version=f'%(prog)s {__version__}')
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 when all is there, 1 with the reason, 128 and its number after a signal."""

    def work(signals: Signals) -> int:
        options = parser().parse_args(arguments)
        for module, remedy in NEEDED.items():
            if importlib.util.find_spec(module) is None:
                raise ConfigurationError(f'needs {module}: {remedy}')
        from nurec_ros.demo.show import Options, run

        run(
            Options(
                usdz=options.usdz or '',
                output=options.output,
                rate=options.rate,
                cameras=tuple(options.cameras),
                camera_rate=options.camera_rate,
                resolution_scale=options.resolution_scale,
                server=options.server,
                domain_id=options.domain_id,
            ),
            say,
            signals.check,
            signals.noted,
        )
        return 0

    # Where the terminal is closed, too, its processes are ended.
    signals = Signals(SIGHUP)
    return run_command('nurec_demo', work, signals=signals, threads=THREADS, megabytes=MEGABYTES)


if __name__ == '__main__':
    sys.exit(main())
