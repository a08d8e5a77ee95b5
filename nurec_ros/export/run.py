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

Beside the bags lies a folder of what is not finished. A part is written there, its record after
it, and then its file takes its place in the bag by a rename; the bag's metadata come when all
parts are there, and the scenario's entry in export.json last of all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
import hashlib
import json
import os
from pathlib import Path
import shutil
import sqlite3
from typing import Any

from nurec_ros.errors import ConfigurationError, NurecError
from nurec_ros.export.bag import merged_metadata, SUFFIXES
from nurec_ros.export.ego import driven, read_ego
from nurec_ros.export.farm import Farm, NoServerError
from nurec_ros.export.frames import write_frames, write_videos
from nurec_ros.export.options import check_cameras, Overrides
from nurec_ros.export.part import Part, Timeline, write_part
from nurec_ros.ros.loading import read
import yaml

UNFINISHED = '.export'
SUMMARY = 'export.json'
METADATA = 'metadata.yaml'
# What may change from one run to the next: how servers are reached makes no other pictures.
OF_SERVERS = (
    *('usdz_path', 'server', 'use_proxy', 'tls_root_certificate', 'service_prefix', 'batch'),
    *('render_timeout_s', 'first_render_timeout_s', 'scene_url'),
)

Log = Callable[[str, str], None]


class StoppedEarlyError(NurecError):
    """The export cannot go on now; what is finished stays, and --resume goes on."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What an export was asked for; `start_s` and `duration_s` bound every scenario."""

    files: tuple[Path, ...]
    output: Path
    servers: tuple[str, ...]
    overrides: Overrides = field(default_factory=Overrides)
    cameras: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    start_s: float | None = None
    duration_s: float | None = None
    node: str = '/nurec'
    storage: str = 'mcap'
    in_flight: int = 2
    wait_s: float = 60.0
    resume: bool = False
    frames: Path | None = None
    video: bool = False
    ego: Path | None = None


class Progress:
    """What is told while it runs; this one tells nothing."""

    def begin(self, name: str, number: int, frames: int) -> None:
        """Take note that a scenario begins of which so many frames are to be rendered."""

    def frame(self) -> None:
        """Take note of a frame."""

    def end(self) -> None:
        """Take note that a scenario is over."""

    def say(self, text: str) -> None:
        """Tell a line."""


@dataclass(slots=True)
class Summary:
    """What became of each scenario: entries of export.json, in the order of the files."""

    entries: list[dict[str, Any]] = field(default_factory=list)

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
    _check_names(wishes)
    summary = Summary()
    known = _known_entries(wishes)
    try:
        wishes.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f'cannot write into {wishes.output}: {error.strerror or error}'
        ) from error
    for number, path in enumerate(wishes.files):
        one = _Scenario(wishes, path, number)
        known_entry = known.get(path.stem)
        try:
            entry = one.run(progress, known_entry)
        except NoServerError as error:
            raise StoppedEarlyError(f'no server gives frames: {error}') from error
        except (ConfigurationError, StoppedEarlyError):
            raise
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, 'strerror', None) or error
            raise StoppedEarlyError(f'cannot write into {wishes.output}: {reason}') from error
        except NurecError as error:
            progress.say(str(error))
            entry = one.entry([], complete=False, error=str(error))
        summary.entries.append(entry)
        write_json(wishes.output / SUMMARY, _document({**known, **_by_name(summary.entries)}))
        one.forget()
    return summary


def finished_parts(wishes: Wishes) -> int:
    """Return how many parts of all bags are there."""
    suffix = SUFFIXES[wishes.storage]
    return sum(len(list((wishes.output / p.stem).glob(f'*{suffix}'))) for p in wishes.files)


class _Scenario:
    """One file, and the places of its bag."""

    def __init__(self, wishes: Wishes, path: Path, number: int) -> None:
        self._wishes = wishes
        self._path = path
        self._number = number
        self.bag = wishes.output / path.stem
        self.work = wishes.output / UNFINISHED / path.stem

    def run(self, progress: Progress, known: dict[str, Any] | None) -> dict[str, Any]:
        """Write what is missing of the bag; return the scenario's entry in the summary."""
        timeline = self._timeline()
        plan = self._plan(timeline)
        self._agree(plan, known)
        if known is not None and known['complete'] and (self.bag / METADATA).is_file():
            self._unfold(timeline, progress)
            return known
        self.work.mkdir(parents=True, exist_ok=True)
        write_json(self.work / 'plan.json', plan)
        self.bag.mkdir(exist_ok=True)
        missing = [part for part in timeline.parts if self._record(part) is None]
        if missing:
            self._render(timeline, missing, progress)
        records = [self._record(part) for part in timeline.parts]
        done = [record for record in records if record is not None]
        metadata = merged_metadata([record['metadata'] for record in done])
        _write_text(self.bag / METADATA, yaml.safe_dump(metadata, sort_keys=False))
        self._unfold(timeline, progress)
        return {**self.entry(done, complete=True), 'options': plan}

    def _unfold(self, timeline: Timeline, progress: Progress) -> None:
        """Write what is wanted beside the bag, out of it."""
        wishes = self._wishes
        if wishes.frames is not None:
            progress.say(f'{self._path.name}: writing images to {wishes.frames / self.bag.name}')
            write_frames(timeline, self.bag, wishes.frames / self.bag.name)
        if wishes.video:
            for path in write_videos(timeline, self.bag, wishes.output):
                progress.say(f'{self._path.name}: wrote {path}')

    def _timeline(self) -> Timeline:
        wishes = self._wishes
        more: dict[str, Any] = {'usdz_path': str(self._path), 'mode': 'lockstep'}
        if wishes.cameras:
            more['cameras'] = wishes.cameras
        if wishes.start_s is not None:
            more['start_offset_s'] = wishes.start_s
        settings = wishes.overrides.settings(**more)
        found = read(settings)
        if wishes.ego is not None:
            found = driven(found, read_ego(wishes.ego), wishes.ego)
        if wishes.duration_s is not None:
            until_ns = found.begin_ns + round(wishes.duration_s * 1e6) * 1000
            found = replace(found, end_ns=min(found.end_ns, until_ns))
        check_cameras(wishes.overrides, found.scenario.cameras, self._path)
        values = wishes.overrides.values(settings, found.scenario.cameras)
        return Timeline(found, values, wishes.node, wishes.topics)

    def _plan(self, timeline: Timeline) -> dict[str, Any]:
        """Return what must be the same for parts to fit together."""
        wishes, stat = self._wishes, self._path.stat()
        settings = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(timeline.values.settings).items()
            if name not in OF_SERVERS
        }
        return {
            'file': self._path.name,
            'size': stat.st_size,
            **settings,
            'of cameras': {
                name: asdict(own) for name, own in sorted(timeline.values.cameras.items())
            },
            'topics': list(wishes.topics),
            'ego': wishes.ego and hashlib.sha256(wishes.ego.read_bytes()).hexdigest(),
            'node name': wishes.node,
            'storage': wishes.storage,
            'begin_us': timeline.begin_ns // 1000,
            'end_us': timeline.end_ns // 1000,
        }

    def _agree(self, now: dict[str, Any], known: dict[str, Any] | None) -> None:
        """Raise where something lies here that this export is not to go on with."""
        plan = self.work / 'plan.json'
        if (self.bag.exists() or plan.exists()) and not self._wishes.resume:
            raise ConfigurationError(
                f'{self.bag} is there already: --resume goes on with it, --output names another '
                'folder'
            )
        before: dict[str, Any] | None = known and known.get('options')
        if plan.is_file():
            before = _read_json(plan)
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

    def _render(self, timeline: Timeline, missing: Sequence[Part], progress: Progress) -> None:
        wishes = self._wishes
        frames = [due for part in missing for due in timeline.frames(part)]
        # Frames of different servers would never make a batch.
        options = replace(timeline.values.render_options(), batch='never')
        told: set[str] = set()

        def log(level: str, text: str) -> None:
            if level in ('warn', 'error') and text not in told:
                told.add(text)
                progress.say(text)

        for warning in timeline.found.warnings:
            progress.say(warning)
        farm = Farm(
            timeline.found.scenario,
            options,
            wishes.servers,
            frames,
            in_flight=wishes.in_flight,
            wait_s=wishes.wait_s,
            log=log,
        )
        progress.begin(self._path.name, self._number, len(frames))
        try:
            farm.start()
            for part in missing:
                self._write(timeline, part, farm, progress)
        finally:
            farm.close()
            progress.end()

    def _write(self, timeline: Timeline, part: Part, farm: Farm, progress: Progress) -> None:
        storage = self._wishes.storage
        folder = self.work / f'{self._path.stem}_{part.number}'
        shutil.rmtree(folder, ignore_errors=True)
        lacks = write_part(timeline, part, farm, folder, storage, progress.frame)
        metadata = yaml.safe_load((folder / METADATA).read_text(encoding='utf-8'))
        _settle(folder / self._file(part))
        record = {
            'file': self._file(part),
            'frames': len(timeline.frames(part)) - len(lacks),
            'missing': [asdict(one) for one in lacks],
            'metadata': metadata,
        }
        write_json(self.work / f'{part.number}.json', record)
        # From here on the part is there.
        (folder / self._file(part)).rename(self.bag / self._file(part))
        shutil.rmtree(folder)

    def _file(self, part: Part) -> str:
        return f'{self._path.stem}_{part.number}{SUFFIXES[self._wishes.storage]}'

    def _record(self, part: Part) -> dict[str, Any] | None:
        """Return what was noted of a part that is finished."""
        record = self.work / f'{part.number}.json'
        if not (self.bag / self._file(part)).is_file() or not record.is_file():
            return None
        found: dict[str, Any] = _read_json(record)
        return found

    def entry(
        self, records: Sequence[dict[str, Any]], *, complete: bool, error: str = ''
    ) -> dict[str, Any]:
        """Return what export.json says of this scenario."""
        entry: dict[str, Any] = {
            'file': self._path.name,
            'bag': self.bag.name,
            'complete': complete,
            'frames': sum(record['frames'] for record in records),
            'missing': [one for record in records for one in record['missing']],
            'parts': [record['file'] for record in records],
        }
        return {**entry, 'error': error} if error else entry

    def forget(self) -> None:
        """Remove what was needed to go on, and the folder of all of that once it is empty."""
        if (self.bag / METADATA).is_file():
            shutil.rmtree(self.work, ignore_errors=True)
        unfinished = self.work.parent
        if unfinished.is_dir() and not any(unfinished.iterdir()):
            unfinished.rmdir()


def _check_names(wishes: Wishes) -> None:
    seen: dict[str, Path] = {}
    for path in wishes.files:
        if path.stem in seen:
            raise ConfigurationError(
                f'{seen[path.stem]} and {path} would both be written into '
                f'{wishes.output / path.stem}'
            )
        seen[path.stem] = path


def _known_entries(wishes: Wishes) -> dict[str, dict[str, Any]]:
    """Return, by bag, what an earlier run into this folder has written down."""
    path = wishes.output / SUMMARY
    if not path.is_file():
        return {}
    return _by_name(_read_json(path)['scenarios'])


def _by_name(entries: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {entry['bag']: entry for entry in entries}


def _document(entries: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {'scenarios': [entries[name] for name in sorted(entries)]}


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ConfigurationError(f'{path} is no JSON: {error}') from error


def write_json(path: Path, document: object) -> None:
    """Write a file at once or not at all."""
    _write_text(path, json.dumps(document, indent=2, ensure_ascii=False) + '\n')


def _write_text(path: Path, text: str) -> None:
    beside = path.with_name(f'{path.name}.new')
    beside.write_text(text, encoding='utf-8')
    _settle(beside)
    beside.replace(path)


def _settle(path: Path) -> None:
    """Have a file on the disk before its name says that it is finished."""
    with path.open('rb') as file:
        os.fsync(file.fileno())
