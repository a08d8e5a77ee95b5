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
"""`nurec_info`: what is in scenarios, without a server and without ROS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
import json
from pathlib import Path
import sys
from typing import TYPE_CHECKING

from nurec_ros.cli.command import complain, run_command, say, Signals
from nurec_ros.cli.options import Parser
from nurec_ros.errors import ConfigurationError, NurecError

if TYPE_CHECKING:
    from nurec_ros.scenario import Scenario
    from nurec_ros.summary import ScenarioFacts

EXAMPLES = """
nurec_info scene.usdz
nurec_info /data/scenes
nurec_info scene.usdz --json | jq '.[0].cameras[].name'
nurec_info scene.usdz --plot drive.png
"""
CODES = '0 all files are fine, 1 one or more cannot be read, 2 wrong arguments, 130 after Ctrl-C'


def parser() -> Parser:
    """Return the command line's description."""
    result = Parser(
        'nurec_info',
        'Say what is in NuRec scenarios: drive, cameras, lidars, tracks, map and warnings.',
        examples=EXAMPLES,
        codes=CODES,
    )
    result.add(
        'places',
        nargs='+',
        type=Path,
        metavar='FILE|FOLDER',
        help='USDZ files, or folders of them',
    )
    result.add('--json', help='print a JSON list, one object a file')
    result.add(
        '--plot',
        type=Path,
        metavar='FILE.png',
        help='draw path, tracks, camera views and lanes from above (one scenario only)',
    )
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 1 where a file cannot be read."""

    def work(_: Signals) -> int:
        command = parser()
        options = command.parse_args(arguments)
        if options.plot is not None and options.plot.suffix.lower() != '.png':
            command.error(f'argument --plot: {options.plot} does not end in .png')
        from nurec_ros.scenario import Scenario
        from nurec_ros.summary import facts_of, find_files, table_of, text_of

        paths = find_files(options.places)
        if not paths:
            places = ', '.join(map(str, options.places))
            raise ConfigurationError(f'there is no .usdz file in {places}')
        if options.plot is not None and len(paths) > 1:
            if not any(place.is_dir() for place in options.places):
                command.error(f'argument --plot: draws one scenario, found {len(paths)}')
            raise ConfigurationError(f'--plot draws one scenario, found {len(paths)}')
        found: list[tuple[Path, ScenarioFacts | NurecError]] = []
        for path in paths:
            try:
                scenario = Scenario.load(path)
                found.append((path, facts_of(scenario)))
            except NurecError as error:
                found.append((path, error))
                continue
            if options.plot is not None:
                _plot(scenario, options.plot)
        broken = any(isinstance(facts, NurecError) for _, facts in found)
        if options.json:
            entries = [_entry(path, facts) for path, facts in found]
            lost = say(json.dumps(entries, indent=2, ensure_ascii=False))
        elif len(found) > 1:
            lost = say(table_of(found))
        else:
            facts = found[0][1]
            if isinstance(facts, NurecError):
                raise facts
            lost = say(text_of(facts))
        # Who reads no further, as `head` does, has what was wanted.
        if lost is not None and not isinstance(lost, BrokenPipeError):
            raise ConfigurationError(f'stdout cannot be written: {lost.strerror}')
        if options.plot is not None and not broken:
            complain(f'wrote {options.plot}')
        return 1 if broken else 0

    return run_command('nurec_info', work)


def _entry(path: Path, facts: ScenarioFacts | NurecError) -> dict[str, object]:
    if isinstance(facts, NurecError):
        return {'path': str(path), 'error': str(facts)}
    return asdict(facts)


def _plot(scenario: Scenario, path: Path) -> None:
    from nurec_ros.demo.drawing import write_png
    from nurec_ros.demo.overview import draw_scenario

    try:
        write_png(str(path), draw_scenario(scenario))
    except OSError as error:
        raise ConfigurationError(f'cannot write {path}: {error.strerror or error}') from error


if __name__ == '__main__':
    sys.exit(main())
