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
"""`nurec_example`: write the example scenario."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
import sys

from nurec_ros.cli.command import run_command, say, Signals
from nurec_ros.cli.options import Parser
from nurec_ros.errors import ConfigurationError
from nurec_ros.example.sensors import CAMERA_MODELS, CAMERAS, LIDAR
from nurec_ros.example.writer import Example, make_example, write_example

EXAMPLES = """
nurec_example street.usdz
nurec_example short.usdz --duration 5 --seed 7
nurec_example quiet.usdz --road-users 12 --no-map
nurec_example wide.usdz --camera-model fisheye
"""
CODES = '0 the file is written, 1 it cannot be, 2 wrong arguments, 130 after Ctrl-C'


def parser() -> Parser:
    """Return the command line's description."""
    result = Parser(
        'nurec_example',
        'Write a NuRec scenario of a made-up street: ego, road users, sensors, map.',
        examples=EXAMPLES,
        codes=CODES,
    )
    result.add(
        'path',
        nargs='?',
        default='nurec_example.usdz',
        metavar='FILE',
        help='the file to write (%(default)s)',
    )
    result.add(
        '--seed', type=int, default=1, metavar='N', help='another number, another drive (1)'
    )
    result.add(
        '--duration', type=float, default=20.0, metavar='S', help='seconds, 1 to 120 (%(default)g)'
    )
    result.add(
        '--road-users',
        type=int,
        metavar='N',
        help='how many, of each class in turn; 0 for an empty street (all that it has, some 115)',
    )
    result.add(
        '--camera-model',
        choices=CAMERA_MODELS,
        default='ftheta',
        help="the cameras' lenses: F-theta, F-theta behind a windshield, OpenCV pinhole or "
        'OpenCV fisheye (%(default)s)',
    )
    result.add('--no-map', dest='map', action='store_false', help='leave the road map out')
    return result


def describe(example: Example) -> str:
    """Return what is in an example, in a few lines."""
    labels = Counter(track.label for track in example.tracks)
    counted = ', '.join(f'{count} {label}' for label, count in labels.most_common()) or 'none'
    return (
        f'  {example.sequence_id}\n'
        f'  ego     {len(example.times_us)} poses, {example.seconds:.1f} s, '
        f'{example.path_length:.0f} m\n'
        f'  tracks  {len(example.tracks)}: {counted}\n'
        f'  cameras {len(CAMERAS)} ({example.camera_model}): '
        f'{", ".join(camera.name for camera in CAMERAS)}\n'
        f'  lidar   {LIDAR}\n'
        f'  map     {"yes" if example.has_map else "none"}'
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 when the file is written, 1 with one line when it cannot be."""

    def work(_: Signals) -> int:
        command = parser()
        options = command.parse_args(arguments)
        try:
            example = make_example(
                seed=options.seed,
                duration_s=options.duration,
                road_users=options.road_users,
                camera_model=options.camera_model,
                has_map=options.map,
            )
        except ConfigurationError as error:
            # It begins with the argument's name, which is the option's.
            command.error(f'--{error}')
        path = write_example(options.path, example)
        say(f'wrote {path} ({path.stat().st_size / 1e6:.1f} MB)')
        say(describe(example))
        return 0

    return run_command('nurec_example', work)


if __name__ == '__main__':
    sys.exit(main())
