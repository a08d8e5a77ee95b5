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
"""`nurec_export`: scenarios into bags, as fast as the servers render."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
import os
from pathlib import Path
import re
import sys
import time
from typing import TYPE_CHECKING

from nurec_ros.cli.command import complain, run_command, say, Signals
from nurec_ros.cli.options import check_server, need, number, Parser, seconds
from nurec_ros.errors import ConfigurationError, counted

if TYPE_CHECKING:
    from nurec_ros.export.run import Entry
    from nurec_ros.export.wishes import Progress, Wishes

EXAMPLES = """
nurec_export scene.usdz --server localhost:46435 --output bags
nurec_export *.usdz --server gpu1:46435,gpu2:46435 --in-flight 3 --output bags
nurec_export scene.usdz --output bags --cameras camera_front_wide_120fov --start 5 --duration 10
nurec_export scene.usdz --output bags --lidars none --frames images
nurec_export scene.usdz --output bags -p resolution_scale:=0.5 -p camera_rate:=10
nurec_export scene.usdz --output bags --topics '~/*/image_raw/compressed' /tf /tf_static
nurec_export *.usdz --output bags --frames images --video
nurec_export *.usdz --output bags --resume
nurec_export /shared/*.usdz --output /shared/bags --ray auto
"""
CODES = """0 everything is there, 3 frames or scenarios are missing (DIR/export.json says which),
1 nothing could be exported, 2 wrong arguments, 130 after Ctrl-C"""
# Of a server's name and threads of gRPC, as a player has.
THREADS = 24
MEGABYTES = 256
LINE_EVERY_S = 10.0
SIZE = os.terminal_size((80, 24))
_NODE = re.compile(r'[A-Za-z][A-Za-z0-9_]*\Z')


def parser() -> Parser:
    """Return the command line's description."""
    result = Parser(
        'nurec_export',
        'Render NuRec scenarios into rosbag2 folders, in lockstep, without ROS graph and real '
        'time.',
        examples=EXAMPLES,
        codes=CODES,
    )
    add = result.add
    add('files', nargs='+', type=Path, metavar='FILE', help='USDZ files')
    add(
        '--server',
        default='localhost:46435',
        help='render servers, each of which is kept busy (%(default)s)',
    )
    add('--output', type=Path, required=True, help='gets a bag of each file')
    add(
        '--ego',
        type=Path,
        metavar='FILE.csv',
        help='render from these poses: stamp_us,x,y,z,qx,qy,qz,qw (one scenario only)',
    )
    add('--cameras')
    add('--lidars')
    after = 'begin so many seconds after the start'
    add('--start', dest='start_s', type=seconds(), metavar='S', help=after)
    later = 'and end so many seconds later'
    add('--duration', dest='duration_s', type=seconds(1e-6), metavar='S', help=later)
    add(
        '--topics',
        nargs='+',
        default=[],
        metavar='PATTERN',
        help="these topics only, such as /tf or '~/*/camera_info' (all but decoded images)",
    )
    add(
        '--node-name',
        type=_node,
        default='nurec',
        metavar='NAME',
        help='whose topics they are (%(default)s)',
    )
    add('--storage', choices=('mcap', 'sqlite3'), default='mcap', help='(%(default)s)')
    _add_means(add)
    return result


def _add_means(add: Callable[..., None]) -> None:
    """Add what does not choose what is exported: with which parameters and servers, what else."""
    add(
        '-p',
        '--param',
        action='append',
        default=[],
        metavar='NAME:=VALUE',
        help="a parameter of the player's; may be repeated",
    )
    add(
        '--params-file',
        action='append',
        default=[],
        type=Path,
        metavar='FILE',
        help='parameters in a file like config/nurec.yaml',
    )
    add(
        '--in-flight',
        type=number(1, 64, int),
        default=2,
        metavar='N',
        help='frames on their way per server (%(default)s)',
    )
    add(
        '--wait',
        dest='wait_s',
        type=seconds(),
        default=60.0,
        metavar='S',
        help='seconds to wait for servers that are away (%(default)g)',
    )
    add(
        '--frames',
        type=Path,
        metavar='DIR',
        help='write images, clouds, calibrations, ego.csv and tracks.jsonl there as well',
    )
    add('--video', action='store_true', help='write an MP4 of each camera as well (needs PyAV)')
    add(
        '--ray',
        default='',
        metavar='auto|ADDRESS',
        help='spread scenarios and parts over a Ray cluster that runs already (docs/cluster.md)',
    )
    add('--resume', action='store_true', help='go on with an export that was ended')


def _node(text: str) -> str:
    if not _NODE.match(text):
        raise argparse.ArgumentTypeError(f'{text!r} is no name of a node')
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""

    def work(signals: Signals) -> int:
        command = parser()
        options = command.parse_args(arguments)
        go_on = f'what is finished stays in {options.output}, --resume goes on'
        progress: Progress | None = None
        try:
            _check(command, options)
            need('rclpy', 'rosbags', *['ray'] * bool(options.ray), *['av'] * options.video)
            from nurec_ros.export.run import exit_code, export, finished_parts, StoppedEarlyError

            wishes = _wishes(options)
            progress = _progress()
            try:
                entries = export(wishes, progress)
            except StoppedEarlyError as error:
                progress.end()
                complain(f'nurec_export: {error}; {go_on}')
                return 3 if finished_parts(wishes) else 1
        except BaseException:
            # A library may have made an error of its own of the interruption.
            if signals.came:
                if progress is not None:
                    progress.end()
                if options.output.exists():
                    complain(f'nurec_export: {go_on}')
            raise
        _tell(entries, wishes)
        return exit_code(entries)

    return run_command('nurec_export', work, threads=THREADS, megabytes=MEGABYTES)


def _check(command: Parser, options: argparse.Namespace) -> None:
    """Refuse what is wrong whatever any file holds."""
    from nurec_ros.export.wishes import read_overrides

    check_server(command, options.server)
    if options.ego is not None and len(options.files) > 1:
        command.error(f'argument --ego: is for one scenario, found {len(options.files)}')
    seen: dict[str, Path] = {}
    for path in options.files:
        if path.stem in seen:
            command.error(
                f'argument FILE: {seen[path.stem]} and {path} would both be written into '
                f'{options.output / path.stem}'
            )
        seen[path.stem] = path
    try:
        overrides, _ = read_overrides(options.param, (), options.node_name)
        if not options.params_file:
            overrides.settings()
    except ConfigurationError as error:
        command.error(str(error))


def _wishes(options: argparse.Namespace) -> Wishes:
    from nurec_ros.export.wishes import read_overrides, Wishes
    from nurec_ros.rendering.address import addresses

    given = vars(options).copy()
    node_name = given.pop('node_name')
    overrides, unknown = read_overrides(given.pop('param'), given.pop('params_file'), node_name)
    for line in unknown:
        complain(f'nurec_export: {line}')
    servers = tuple(addresses(given.pop('server')))
    return Wishes(servers=servers, overrides=overrides, node=f'/{node_name}', **given)


def _progress() -> Progress:
    """Return a bar for a terminal, a line now and then for what is none."""
    from nurec_ros.export.wishes import Progress

    class Lines(Progress):
        """Progress as a line now and then."""

        def __init__(self) -> None:
            self._name = ''
            self._frames = self._done = 0
            self._since = self._told = time.monotonic()

        def begin(self, name: str, frames: int) -> None:
            self._name, self._frames, self._done = name, frames, 0
            self._since = self._told = time.monotonic()
            complain(f'{name}: {counted(frames, "frame")} to render')

        def frame(self, count: int = 1) -> None:
            self._done += count
            now = time.monotonic()
            if self._done and now - self._told >= LINE_EVERY_S:
                self._told = now
                rate = self._done / (now - self._since)
                left = (self._frames - self._done) / rate
                complain(
                    f'{self._name}: {self._done} of {self._frames} frames, {rate:.1f} frames/s, '
                    f'{left:.0f} s left'
                )

        def say(self, text: str) -> None:
            complain(text)

    if not sys.stderr.isatty():
        return Lines()
    from tqdm import tqdm

    class Bar(Progress):
        """Progress as a bar on a terminal."""

        def __init__(self) -> None:
            self._bar: tqdm[None] | None = None

        def begin(self, name: str, frames: int) -> None:
            size = os.get_terminal_size(sys.stderr.fileno())
            # tqdm shows nothing on a terminal that does not know its own.
            self._bar = tqdm(
                total=frames,
                desc=name,
                unit=' frames',
                ncols=None if size.columns else SIZE.columns,
                nrows=None if size.lines else SIZE.lines,
            )

        def frame(self, count: int = 1) -> None:
            if self._bar is not None:
                self._bar.update(count)

        def end(self) -> None:
            if self._bar is not None:
                self._bar.close()
                self._bar = None

        def say(self, text: str) -> None:
            tqdm.write(text, file=sys.stderr)

    return Bar()


def _tell(entries: Sequence[Entry], wishes: Wishes) -> None:
    from nurec_ros.export.run import SUMMARY

    for entry in entries:
        bag = wishes.output / entry['bag']
        if not entry['complete']:
            # Why has been told.
            if len(entries) > 1:
                say(f'{entry["file"]}: not exported')
            continue
        lacks = len(entry['missing'])
        words = f', {lacks} missing: see {wishes.output / SUMMARY}' if lacks else ''
        frames = counted(entry['frames'], 'frame')
        say(f'{bag}: {frames} in {counted(len(entry["parts"]), "part")}{words}')


if __name__ == '__main__':
    sys.exit(main())
