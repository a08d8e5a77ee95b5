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
comes when its bag is complete. Beside the bags lies a folder of what is not finished. A part is
written there, its record after it, and then its file takes its place in the bag by a rename; the
bag's metadata come when all parts are there. Where frames are missing the records stay, so that
these alone can be rendered later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
import hashlib
from pathlib import Path
import shutil
import sqlite3
from typing import Any

from nurec_ros.errors import ConfigurationError, NurecError
from nurec_ros.export.bag import merged_metadata, SUFFIXES
from nurec_ros.export.data_sets import driven, read_ego, write_frames, write_videos
from nurec_ros.export.farm import Farm, NoServerError
from nurec_ros.export.folder import (
    alone_in,
    make_folder,
    read_json,
    settle,
    write_json,
    write_text,
)
from nurec_ros.export.part import Kept, Part, Timeline, write_part
from nurec_ros.export.wishes import Progress, Wishes
from nurec_ros.playback.clock import Due
from nurec_ros.rendering.policy import RenderOptions
from nurec_ros.ros.loading import read
from nurec_ros.settings import CameraSettings, LidarSettings
import yaml

SUMMARY = 'export.json'
UNFINISHED = '.export'
METADATA = 'metadata.yaml'
# What may change from one run to the next: how servers are reached makes no other pictures.
OF_SERVERS = (
    *('usdz_path', 'server', 'use_proxy', 'tls_root_certificate', 'service_prefix', 'batch'),
    *('render_timeout_s', 'first_render_timeout_s', 'scene_url'),
)

# libyaml's where PyYAML was built with it, ten times as fast.
LOADER = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)

Record = dict[str, Any]
Entry = dict[str, Any]
Entries = Iterator[tuple['ScenarioExport', Entry]]


class StoppedEarlyError(NurecError):
    """The export cannot go on now; what is finished stays, and --resume goes on."""


@contextmanager
def ending_early(output: Path) -> Iterator[None]:
    """Raise StoppedEarlyError for what another attempt may overcome."""
    try:
        yield
    except NoServerError as error:
        raise StoppedEarlyError(f'no server gives frames: {error}') from error
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, 'strerror', None) or error
        raise StoppedEarlyError(f'cannot write into {output}: {reason}') from error


class ScenarioExport:
    """One file, and the places of its bag."""

    def __init__(self, wishes: Wishes, path: Path) -> None:
        self._wishes = wishes
        self._path = path
        self.bag = wishes.output / path.stem
        self.work = wishes.output / UNFINISHED / path.stem

    @property
    def is_complete(self) -> bool:
        """Return whether a bag lies here that has all its parts."""
        return (self.bag / METADATA).is_file()

    def timeline(self) -> Timeline:
        """Read the file; NurecError where it cannot be used, or not with these wishes."""
        wishes = self._wishes
        more: dict[str, Any] = {'usdz_path': str(self._path), 'mode': 'lockstep'}
        if wishes.cameras:
            more['cameras'] = wishes.cameras
        if wishes.lidars:
            more['lidars'] = wishes.lidars
        if wishes.start_s is not None:
            more['start_offset_s'] = wishes.start_s
        settings = wishes.overrides.settings(**more)
        found = read(settings)
        if wishes.ego is not None:
            found = driven(found, read_ego(wishes.ego), wishes.ego)
        if wishes.duration_s is not None:
            until_ns = found.begin_ns + round(wishes.duration_s * 1e6) * 1000
            found = replace(found, end_ns=min(found.end_ns, until_ns))
        values = wishes.overrides.values(settings, found.scenario)
        return Timeline(found, values, wishes.node, wishes.topics)

    def begin(self, timeline: Timeline, known: Entry | None) -> list[Part]:
        """
        Return the parts to write, those with frames to be rendered once more among them.

        ConfigurationError where something lies here that this export is not to go on with.
        """
        plan = self._plan(timeline)
        self._agree(plan, known)
        if self._is_whole(known):
            return []
        make_folder(self._wishes.output)
        self.work.mkdir(parents=True, exist_ok=True)
        write_json(self.work / 'plan.json', plan)
        self.bag.mkdir(exist_ok=True)
        return [
            part for part in timeline.parts if self.frames_to_render(timeline, part) is not None
        ]

    def say_warnings(self, timeline: Timeline, progress: Progress) -> None:
        """Say what there is to know of the file."""
        for warning in timeline.found.warnings:
            progress.say(f'{self._path.name}: {warning}')

    def frames_to_render(self, timeline: Timeline, part: Part) -> list[Due] | None:
        """Return the frames that a part lacks; None where nothing is to be done about it."""
        record = self._record(part)
        if record is None:
            return timeline.frames(part)
        return [Due(one['sensor'], one['stamp_ns']) for one in record['missing']] or None

    def render(self, timeline: Timeline, parts: Sequence[Part], progress: Progress) -> None:
        """Write parts."""
        wishes = self._wishes
        frames = [due for part in parts for due in self.frames_to_render(timeline, part) or ()]
        # Frames of different servers would never make a batch.
        options = replace(RenderOptions.of(timeline.values), batch='never')
        told: set[str] = set()

        def log(level: str, text: str) -> None:
            if level in ('warn', 'error') and text not in told:
                told.add(text)
                progress.say(text)

        farm = Farm(
            timeline.found.scenario,
            options,
            wishes.servers,
            frames,
            in_flight=wishes.in_flight,
            wait_s=wishes.wait_s,
            log=log,
        )
        # Not complete until they are written.
        (self.bag / METADATA).unlink(missing_ok=True)
        try:
            farm.start()
            for part in parts:
                self._write(timeline, part, farm, progress)
        finally:
            farm.close()

    def _write(self, timeline: Timeline, part: Part, farm: Farm, progress: Progress) -> None:
        storage, name = self._wishes.storage, self._file(part)
        folder = self.work / f'{self._path.stem}_{part.number}'
        shutil.rmtree(folder, ignore_errors=True)
        kept = self._kept(timeline, part)
        try:
            lacks = write_part(timeline, part, farm, folder, storage, progress.frame, kept)
        finally:
            if kept is not None:
                kept.close()
        metadata = yaml.load((folder / METADATA).read_bytes(), Loader=LOADER)
        settle(folder / name)
        record = {
            'file': name,
            'size': (folder / name).stat().st_size,
            'frames': len(timeline.frames(part)) - len(lacks),
            'missing': [asdict(one) for one in lacks],
            'metadata': metadata,
        }
        write_json(self.work / f'{part.number}.json', record)
        # From here on the part is there.
        (folder / name).rename(self.bag / name)
        for place in (folder, self._before(part)):
            shutil.rmtree(place, ignore_errors=True)

    def _kept(self, timeline: Timeline, part: Part) -> Kept | None:
        """Return what a part holds already, where frames of it are missing."""
        record = self._record(part)
        if record is None:
            return None
        # Its file by another name, in a folder of its own with its own metadata: a bag.
        before = self._before(part)
        shutil.rmtree(before, ignore_errors=True)
        before.mkdir()
        (before / record['file']).symlink_to((self.bag / record['file']).resolve())
        write_text(before / METADATA, yaml.safe_dump(record['metadata'], sort_keys=False))
        sensors = (*timeline.cameras, *timeline.lidars)
        topics = {topic for name in sensors for topic in timeline.topics_of(name)}
        return Kept(before, topics, self.frames_to_render(timeline, part) or ())

    def finish(self, timeline: Timeline, known: Entry | None, progress: Progress) -> Entry:
        """Write the metadata, and what is wanted beside the bag; return the summary's entry."""
        if known is not None and self._is_whole(known):
            entry = known
        else:
            records = {self._file(part): self._record(part) for part in timeline.parts}
            done = [record for record in records.values() if record is not None]
            if len(done) < len(records):
                lacking = ', '.join(name for name, record in records.items() if record is None)
                raise StoppedEarlyError(
                    f'{self.bag} lacks what was written as {lacking}: another export may be '
                    'writing there'
                )
            metadata = merged_metadata([record['metadata'] for record in done])
            write_text(self.bag / METADATA, yaml.safe_dump(metadata, sort_keys=False))
            entry = {**self.entry(done, complete=True), 'options': self._plan(timeline)}
        wishes = self._wishes
        if wishes.frames is not None:
            progress.say(f'{self._path.name}: writing images to {wishes.frames / self.bag.name}')
            write_frames(timeline, self.bag, wishes.frames / self.bag.name)
        if wishes.video:
            for path in write_videos(timeline, self.bag, wishes.output):
                progress.say(f'{self._path.name}: wrote {path}')
        return entry

    def _is_whole(self, known: Entry | None) -> bool:
        """Return whether a bag lies here that lacks neither a part nor a frame."""
        listed = known is not None and known['complete'] and not known['missing']
        return listed and self.is_complete

    def _plan(self, timeline: Timeline) -> dict[str, Any]:
        """Return what must be the same for parts to fit together."""
        wishes, stat = self._wishes, self._path.stat()
        settings = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(timeline.values.settings).items()
            if name not in OF_SERVERS
        }
        own: dict[str, CameraSettings | LidarSettings] = {
            **timeline.values.cameras,
            **timeline.values.lidars,
        }
        return {
            'file': self._path.name,
            'size': stat.st_size,
            **settings,
            'of sensors': {name: asdict(own[name]) for name in sorted(own)},
            'topics': list(wishes.topics),
            'ego': wishes.ego and hashlib.sha256(wishes.ego.read_bytes()).hexdigest(),
            'node name': wishes.node,
            'storage': wishes.storage,
            'begin_us': timeline.begin_ns // 1000,
            'end_us': timeline.end_ns // 1000,
        }

    def _agree(self, now: dict[str, Any], known: Entry | None) -> None:
        """Raise where something lies here that this export is not to go on with."""
        plan = self.work / 'plan.json'
        if (self.bag.exists() or plan.exists()) and not self._wishes.resume:
            raise ConfigurationError(
                f'{self.bag} is there already: --resume goes on with it, --output names another '
                'folder'
            )
        before: dict[str, Any] | None = known and known.get('options')
        if plan.is_file():
            before = read_json(plan)
        if before is None:
            if self.bag.exists():
                raise ConfigurationError(f'{self.bag} is no export: choose another --output')
            return
        for name in now:
            if before.get(name) != now[name]:
                raise ConfigurationError(
                    f'{self.bag} was begun with {name} {before.get(name)!r}, and is to go on with '
                    f'{now[name]!r}: resume it with the same options, or choose another --output'
                )

    def _file(self, part: Part) -> str:
        return f'{self._path.stem}_{part.number}{SUFFIXES[self._wishes.storage]}'

    def _before(self, part: Part) -> Path:
        return self.work / f'{part.number}.before'

    def _record(self, part: Part) -> Record | None:
        """Return what was noted of a part that is finished."""
        record, file = self.work / f'{part.number}.json', self.bag / self._file(part)
        if not file.is_file() or not record.is_file():
            return None
        found: Record = read_json(record)
        # A record is written before its file takes the place of one that lacked frames.
        return found if found['size'] == file.stat().st_size else None

    def entry(self, records: Sequence[Record], *, complete: bool, error: str = '') -> Entry:
        """Return what export.json says of this scenario."""
        entry: Entry = {
            'file': self._path.name,
            'bag': self.bag.name,
            'complete': complete,
            'frames': sum(record['frames'] for record in records),
            'missing': [one for record in records for one in record['missing']],
            'parts': [record['file'] for record in records],
        }
        return {**entry, 'error': error} if error else entry

    def unfinished(self, error: str) -> Entry:
        """Return what export.json says of this scenario when it could not be finished."""
        files = sorted(self.bag.glob(f'*{SUFFIXES[self._wishes.storage]}'))
        notes = (path for path in self.work.glob('*.json') if path.stem.isdecimal())
        records = [read_json(path) for path in sorted(notes, key=lambda path: int(path.stem))]
        there = [record for record in records if (self.bag / record['file']).is_file()]
        entry = self.entry(there, complete=False, error=error)
        return {**entry, 'parts': [file.name for file in files]}

    def forget(self, entry: Entry) -> None:
        """Remove what was needed to go on, and the folder of all of that once it is empty."""
        if entry['complete'] and not entry['missing']:
            shutil.rmtree(self.work, ignore_errors=True)
        unfinished = self.work.parent
        if unfinished.is_dir() and not any(unfinished.iterdir()):
            unfinished.rmdir()


def exit_code(entries: Sequence[Entry]) -> int:
    """Return 0 where all is there, 3 where something is missing, 1 where nothing is there."""
    if all(entry['complete'] and not entry['missing'] for entry in entries):
        return 0
    return 3 if any(entry['parts'] for entry in entries) else 1


def export(wishes: Wishes, progress: Progress) -> list[Entry]:
    """
    Export all files; return their entries of export.json.

    ConfigurationError before anything is written where it cannot be; StoppedEarlyError, with the
    summary written, where it cannot go on.
    """
    with alone_in(wishes.output):
        return _export(wishes, progress)


def _export(wishes: Wishes, progress: Progress) -> list[Entry]:
    summary = wishes.output / SUMMARY
    before = read_json(summary)['scenarios'] if summary.is_file() else ()
    known: dict[str, Entry] = {entry['bag']: entry for entry in before}
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
            listed = [known[name] for name in sorted(known)]
            write_json(summary, {'scenarios': listed})
        one.forget(entry)
    return [found[path.stem] for path in wishes.files]


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
