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

import argparse
from collections import Counter
from collections.abc import Sequence
import sys

from nurec_ros import __version__
from nurec_ros.cli.command import run_command, say, Signals
from nurec_ros.errors import ConfigurationError
from nurec_ros.example.rig import CAMERAS
from nurec_ros.example.writer import Example, make_example, members, write_usdz


def parser() -> argparse.ArgumentParser:
    """Return the command line's description."""
    description = 'Write a NuRec scenario of a made-up street: ego, road users, six cameras, map.'
    result = argparse.ArgumentParser(
        prog='nurec_example',
        description=description,
        epilog='exit codes: 0 the file is written, 1 it cannot be, 2 wrong arguments, '
        '130 after Ctrl-C',
    )
    result.add_argument(
        'path',
        nargs='?',
        default='nurec_example.usdz',
        metavar='PATH',
        help='the file to write (default: ./nurec_example.usdz)',
    )
    result.add_argument(
        '--seed', type=int, default=1, metavar='N', help='another number, another drive (1)'
    )
    result.add_argument(
        '--duration', type=float, default=20.0, metavar='S', help='seconds, 1 to 120 (20)'
    )
    result.add_argument('--version', action='version', version=f'%(prog)s {__version__}')
    return result


def describe(example: Example) -> str:
    """Return what is in an example, in a few lines."""
    labels = Counter(track.label for track in example.tracks)
    counted = ', '.join(f'{count} {label}' for label, count in labels.most_common())
    return (
        f'  {example.sequence_id}\n'
        f'  ego     {len(example.times_us)} poses, {example.seconds:.1f} s, '
        f'{example.path_length:.0f} m\n'
        f'  tracks  {len(example.tracks)}: {counted}\n'
        f'  cameras {len(CAMERAS)}: {", ".join(camera.name for camera in CAMERAS)}'
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 when the file is written, 1 with one line when it cannot be."""

    def work(_: Signals) -> int:
        command = parser()
        options = command.parse_args(arguments)
        try:
            example = make_example(seed=options.seed, duration_s=options.duration)
        except ConfigurationError as error:
            # It begins with the argument's name, which is the option's.
            command.error(f'--{error}')
        try:
            path = write_usdz(options.path, members(example))
        except OSError as error:
            reason = error.strerror or error
            raise ConfigurationError(f'cannot write {options.path}: {reason}') from error
        say(f'wrote {path} ({path.stat().st_size / 1e6:.1f} MB)')
        say(describe(example))
        return 0

    return run_command('nurec_example', work)


if __name__ == '__main__':
    sys.exit(main())
