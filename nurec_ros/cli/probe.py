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
"""`nurec_probe`: tell where a missing picture comes from, past the player and ROS altogether."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
import sys
from typing import NoReturn

from nurec_ros import __version__
from nurec_ros.cli.command import can_print, complain, run_command, say, Signals
from nurec_ros.cli.options import Parser, seconds
from nurec_ros.errors import ConfigurationError, counted

NAME = 'nurec_probe'
USAGE = 2
INTERRUPTED = 130
# gRPC's, and what looks up names.
THREADS = 12
MEGABYTES = 384

# Less is nothing that a network could answer in.
LEAST_S = 0.001

EXAMPLES = """
nurec_probe --usdz /data/scene.usdz
nurec_probe --usdz /data/scene.usdz --server gpu1:46435 --cameras camera_front_wide_120fov
nurec_probe --usdz /data/scene.usdz --server gpu1:46435,gpu2:46435 --json
"""
CODES = """0 every stage passed (notes are no failures), 1 a stage failed, 2 a file or an argument
cannot be used, 130 after Ctrl-C"""

# What the probe calls by the player's names, and the options that were typed here.
_TYPED = {
    'server': '--server',
    'resolution_scale': '--resolution-scale',
    'render_timeout_s': '--timeout',
    'first_render_timeout_s': '--first-timeout',
    'tls_root_certificate': '--tls-root-certificate',
    'cameras': '--cameras',
    'lidars': '--lidars',
    'output': '--output',
    'scene_url': '--scene-url',
    'scene_id': '--scene-id',
    'use_proxy': '--use-proxy',
}


class _Parser(Parser):
    """A parser whose errors end up in the JSON value, where one is wanted."""

    as_json = False

    def error(self, message: str) -> NoReturn:
        if self.as_json:
            raise ConfigurationError(message)
        super().error(message)


def _parser(as_json: bool) -> Parser:
    from nurec_ros.probe.answers import ProbeOptions

    defaults = ProbeOptions()
    parser = _Parser(
        NAME,
        'Ask a NuRec render server, stage by stage, all that a picture needs, and render some of '
        'every camera and a spin of every lidar. Each stage gets a tick, a dot (worth knowing) or '
        'a cross with its remedy.',
        examples=EXAMPLES,
        codes=CODES,
    )
    parser.as_json = as_json
    parser.add('--usdz', required=True, help='the NuRec archive')
    parser.add('--server', default=defaults.server)
    parser.add('--json', help='print one JSON value and nothing else on stdout')
    parser.add(
        '--output',
        type=Path,
        default=defaults.output,
        help='folder for pictures and clouds (./%(default)s)',
    )
    parser.add('--cameras')
    parser.add('--lidars')
    parser.add('--resolution-scale', dest='scale', default=defaults.scale)
    parser.add(
        '--timeout',
        dest='timeout_s',
        type=seconds(LEAST_S),
        default=defaults.timeout_s,
        metavar='S',
        help='seconds that each call may take (%(default)g)',
    )
    parser.add(
        '--first-timeout',
        dest='first_timeout_s',
        type=seconds(LEAST_S),
        default=defaults.first_timeout_s,
        metavar='S',
        help='seconds that the first picture may take; a server compiles its kernels then, up to '
        'a minute (%(default)g)',
    )
    parser.add(
        '--scene-id', default='', metavar='ID', help='name of the scene on the server (found)'
    )
    parser.add(
        '--scene-url',
        default='',
        metavar='URL',
        help='where the server is to load the scene from: file:, http: or https: (servers from '
        '26.04 on; it has the scene)',
    )
    parser.add(
        '--service-prefix', default='', metavar='NAME', help='name of the gRPC service (found)'
    )
    parser.add(
        '--tls-root-certificate',
        default='',
        metavar='PEM',
        help='root certificate of a server that speaks TLS (plaintext)',
    )
    parser.add(
        '--use-proxy',
        action='store_true',
        help='obey http_proxy and its like of the environment (the server is reached as typed)',
    )
    return parser


def _probe(arguments: argparse.Namespace) -> int:
    from nurec_ros.probe.answers import ProbeOptions, Stage
    from nurec_ros.probe.stages import run
    from nurec_ros.scenario import Scenario

    typed = vars(arguments)
    usdz, as_json = typed.pop('usdz'), typed.pop('json')
    options = ProbeOptions(**typed)
    scenario = Scenario.load(usdz)
    plain = not can_print('✓·✗–→')

    def show(stage: Stage) -> None:
        for line in stage.lines(plain=plain):
            _print(line)

    def patience() -> None:
        complain('waiting for the first picture; a server may compile its kernels')

    for warning in () if as_json else scenario.warnings:
        complain(f'{NAME}: warning: {warning}')
    if not as_json:
        _print(f'{NAME} {__version__}: {scenario.scene_id} on {options.server}')
        report = run(scenario, options, on_stage=show, patience=patience)
        saved = len(report.pictures) + len(report.clouds)
        if saved:
            _print(f'{counted(saved, "reply", "replies")} saved in {options.output}')
        _print(f'{report.summary}, after {report.elapsed_s:.1f} s')
    else:
        report = run(scenario, options, patience=patience)
        code = 0 if report.ok else 1
        head = {
            'usdz': usdz,
            'server': options.server,
            'scenario': scenario.scene_id,
            'warnings': list(scenario.warnings),
        }
        _print(_json({'exit_code': code, **head, **report.to_json()}))
    return 0 if report.ok else 1


def _json(value: dict[str, object]) -> str:
    return json.dumps(value, indent=2, allow_nan=False)


def _print(text: str) -> None:
    """Print what the probe is run for: without readers there is nothing more to do."""
    error = say(text)
    if isinstance(error, BrokenPipeError):
        raise _UnreadError
    if error is not None:
        raise ConfigurationError(f'stdout cannot be written: {error.strerror}')


class _UnreadError(Exception):
    """Nobody reads any more, as after `| head`."""


def main(argv: list[str] | None = None) -> int:
    """Run the command; return the exit code."""
    typed = sys.argv[1:] if argv is None else argv
    # argparse takes abbreviations.
    as_json = any(len(word) > 2 and '--json'.startswith(word) for word in typed)

    def work(_: Signals) -> int:
        try:
            return _probe(_parser(as_json).parse_args(argv))
        except _UnreadError:
            return INTERRUPTED
        except ConfigurationError as error:
            name, space, rest = str(error).partition(' ')
            raise ConfigurationError(_TYPED.get(name, name) + space + rest) from error

    def tell(reason: str, code: int) -> None:
        complain(f'{NAME}: {reason}')
        if as_json:
            say(_json({'exit_code': code, 'ok': False, 'error': reason}))

    return run_command(NAME, work, failed=USAGE, tell=tell, threads=THREADS, megabytes=MEGABYTES)


if __name__ == '__main__':
    sys.exit(main())
