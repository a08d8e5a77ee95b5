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
"""`nurec_preview`: serve scenarios over NuRec's gRPC interface, drawn without a GPU."""

# The heavy imports are made after the signal handlers are in place, so that a Ctrl-C during the
# second that they take ends as quietly as one later.
from __future__ import annotations

import argparse
from dataclasses import fields
import logging
import os
import sys
import time
from typing import Any, TYPE_CHECKING

from nurec_ros.cli.command import run_command, say, Signals
from nurec_ros.cli.options import number, pair, Parser
from nurec_ros.errors import ConfigurationError

if TYPE_CHECKING:
    from nurec_ros.preview.behaviour import Behaviour

DEFAULT_PORT = 46435
CRASHED = 70
# What a server that draws has, gRPC's threads above all.
THREADS = 16
MEGABYTES = 384

EXAMPLES = """
nurec_preview --usdz street.usdz
nurec_preview --usdz a.usdz b.usdz --host 0.0.0.0 --port 8080
nurec_preview --usdz street.usdz --api v1 --first-frame 60 --failure-rate 0.05
"""
CODES = f"""0 after SIGINT or SIGTERM, 1 a file or the port cannot be used, 2 wrong arguments,
{CRASHED} --crash-after struck"""


def _flag(name: str) -> str:
    return name.removesuffix('_s').removesuffix('_m').replace('_', '-')


def _parser() -> Parser:
    from nurec_ros.preview.behaviour import Behaviour

    parser = Parser(
        'nurec_preview',
        "Serve scenarios over NuRec's gRPC interface, drawn from their geometry without a GPU. "
        'Prints "serving on HOST:PORT" when it is ready.',
        examples=EXAMPLES,
        codes=CODES,
    )
    parser.add('--usdz', nargs='+', required=True, help='one or more NuRec archives')
    parser.add('--host', default='127.0.0.1', help='address to listen on (%(default)s)')
    parser.add(
        '--port',
        type=number(0, 65535, int),
        default=DEFAULT_PORT,
        metavar='N',
        help='TCP port, 0 picks a free one (%(default)s)',
    )
    parser.add(
        '--no-caption',
        dest='caption',
        action='store_false',
        help='no line with camera, time and size in the pictures',
    )
    played = parser.add_argument_group(
        'behaviour', 'what real servers do at one time or another; off unless given'
    )
    for entry in fields(Behaviour):
        name, default, text = entry.name, entry.default, entry.metadata['help']
        flag = _flag(name)
        if isinstance(default, bool):
            played.add_argument(f'--no-{flag}', dest=name, action='store_false', help=text)
            continue
        options: dict[str, Any] = {'default': default, 'type': type(default)}
        options.update((key, entry.metadata[key]) for key in ('metavar', 'choices'))
        if name == 'native_aspect':
            options.update(type=pair('W:H', '16:9'), nargs='?', const=(0, 0))
        elif name == 'lidar_beams':
            options.update(type=pair('ROWS:COLUMNS', '64:900'))
            text += ' ({}:{})'.format(*options['default'])
        else:
            text += ' (%(default)s)'
        played.add_argument(f'--{flag}', dest=name, help=text, **options)
    return parser


def _behaviour(parser: Parser, arguments: argparse.Namespace) -> Behaviour:
    """Return the behaviour asked for; one that cannot be played is a wrong argument."""
    from nurec_ros.preview.behaviour import Behaviour

    typed = vars(arguments)
    try:
        return Behaviour(**{entry.name: typed[entry.name] for entry in fields(Behaviour)})
    except ConfigurationError as error:
        # Its sentence begins with the field's name; who typed an option knows that name.
        name, _, rest = str(error).partition(' ')
        parser.error(f'--{_flag(name)} {rest}')


def _serve(arguments: argparse.Namespace, behaviour: Behaviour, signals: Signals) -> None:
    from nurec_ros.preview.server import PreviewServer
    from nurec_ros.scenario import Scenario

    scenarios = [Scenario.load(path) for path in arguments.usdz]
    for scenario in scenarios:
        for warning in scenario.warnings:
            logging.warning('%s', warning)
    server = PreviewServer(
        scenarios,
        host=arguments.host,
        port=arguments.port,
        behaviour=behaviour,
        caption=arguments.caption,
        on_crash=lambda: os._exit(CRASHED),
    )
    try:
        # What is raised while threads begin would leave one that never ends.
        with signals.noted():
            server.start()
        say(f'serving on {server.address}')
        # Looks at the flag too, in case something swallowed the interruption.
        while not signals.came:
            time.sleep(0.5)
    finally:
        server.stop()


def main(argv: list[str] | None = None) -> int:
    """Run the command; return the exit code."""

    def work(signals: Signals) -> int:
        parser = _parser()
        arguments = parser.parse_args(argv)
        behaviour = _behaviour(parser, arguments)
        logging.basicConfig(level=logging.WARNING, format='%(levelname)s: %(message)s')
        _serve(arguments, behaviour, signals)
        return 0

    return run_command(
        'nurec_preview', work, stopped=lambda _: 0, threads=THREADS, megabytes=MEGABYTES
    )


if __name__ == '__main__':
    sys.exit(main())
