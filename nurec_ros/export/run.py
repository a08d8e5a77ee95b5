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
An export: scenarios into bags, part by part, so that whatever ends it, what is finished stays.

Here one scenario after the other, on a cluster many at a time; a scenario's entry in export.json
comes when its bag is complete.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from nurec_ros.errors import ConfigurationError, NurecError
from nurec_ros.export.bag import SUFFIXES
from nurec_ros.export.scenario_export import (
    ending_early,
    Entry,
    make_folder,
    Progress,
    read_json,
    ScenarioExport,
    StoppedEarlyError,
    write_json,
)
from nurec_ros.export.wishes import Wishes

SUMMARY = 'export.json'

Entries = Iterator[tuple[ScenarioExport, Entry]]


@dataclass(slots=True)
class Summary:
    """What became of each scenario: entries of export.json, in the order of the files."""

    entries: list[Entry] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """Return 0 where all is there, 3 where something is missing, 1 where nothing is there."""
        if all(entry['complete'] and not entry['missing'] for entry in self.entries):
            return 0
        return 3 if any(entry['parts'] for entry in self.entries) else 1


def export(wishes: Wishes, progress: Progress) -> Summary:
    """
    Export all files.

    ConfigurationError before anything is written where it cannot be; StoppedEarlyError, with the
    summary written, where it cannot go on.
    """
    known = _known_entries(wishes)
    if wishes.ray:
        from nurec_ros.export.cluster import on_cluster

        entries = on_cluster(wishes, known, progress)
    else:
        entries = _here(wishes, known, progress)
    found: dict[str, Entry] = {}
    for one, entry in entries:
        found[entry['bag']] = entry
        # What could not be read now is no less complete than it was.
        if entry['complete'] or not one.is_complete:
            known[entry['bag']] = entry
        make_folder(wishes.output)
        with ending_early(wishes.output):
            write_json(wishes.output / SUMMARY, _document(known))
        one.forget(entry)
    return Summary([found[path.stem] for path in wishes.files])


def _here(wishes: Wishes, known: Mapping[str, Entry], progress: Progress) -> Entries:
    """Yield the scenarios' entries, rendered one after the other in this process."""
    for number, path in enumerate(wishes.files):
        one, before = ScenarioExport(wishes, path), known.get(path.stem)
        try:
            with ending_early(wishes.output):
                timeline = one.timeline()
                parts = one.begin(timeline, before)
                if parts:
                    one.say_warnings(timeline, progress)
                    frames = [one.frames_to_render(timeline, part) or () for part in parts]
                    name = f'{number + 1}/{len(wishes.files)} {path.name}'
                    progress.begin(name, sum(map(len, frames)))
                    try:
                        one.render(timeline, parts, progress)
                    finally:
                        progress.end()
                entry = one.finish(timeline, before, progress)
        except ConfigurationError:
            raise
        except StoppedEarlyError as error:
            yield one, one.unfinished(str(error))
            raise
        except NurecError as error:
            entry = one.unfinished(str(error))
            progress.say(not_exported(entry))
        yield one, entry


def not_exported(entry: Entry) -> str:
    """Return the line that says why a scenario is not."""
    name, error = entry['file'], entry['error']
    # Most reasons begin with the path.
    return f'nurec_export: not exported: {error if name in error else f"{name}: {error}"}'


def finished_parts(wishes: Wishes) -> int:
    """Return how many parts of all bags are there."""
    suffix = SUFFIXES[wishes.storage]
    return sum(len(list((wishes.output / p.stem).glob(f'*{suffix}'))) for p in wishes.files)


def _known_entries(wishes: Wishes) -> dict[str, Entry]:
    """Return, by bag, what an earlier run into this folder has written down."""
    path = wishes.output / SUMMARY
    if not path.is_file():
        return {}
    return _by_name(read_json(path)['scenarios'])


def _by_name(entries: Sequence[Entry]) -> dict[str, Entry]:
    return {entry['bag']: entry for entry in entries}


def _document(entries: Mapping[str, Entry]) -> dict[str, object]:
    return {'scenarios': [entries[name] for name in sorted(entries)]}
