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
sequence_tracks.json: the other road users.

Chunks have any name, there may be several, and they may be wrapped or not: whatever object holds
`tracks_data` is one. Flags are taken in any of the forms that producers write them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
from nurec_ros.poses import Array
from nurec_ros.scenario.archive import listed
from nurec_ros.scenario.schema.fields import (
    as_list,
    as_object,
    as_text,
    check_positions,
    CLIP,
    described,
    encodable,
    FARTHEST_METRES,
    FieldError,
    float_array,
    found_in,
    get,
    increasing,
    join,
    name_unknown,
    numbers,
    time_array,
    times_us,
    Warn,
)
from nurec_ros.scenario.tracks import Tracks
from nurec_ros.scenario.trajectory import Indices, PoseTable, Times

_DATA = 'tracks_data'
_CUBOIDS = 'cuboidtracks_data'
# What stands in all lists of a chunk.
_EACH = 'a list of one element for each of tracks_id'
# Real files have one; each costs time, however small it is.
MOST_CHUNKS = 1000
# {"sequence_tracks": {chunk: {...}}} is the deepest nesting that was ever seen.
_DEEPEST = 3
# How far a quaternion's length may be from 1.
_UNIT_TOLERANCE = 1e-2


@dataclass(frozen=True, slots=True, eq=False)
class _Chunk:
    name: str
    ids: list[str]
    labels: list[str]
    dims: Array
    flags: list[frozenset[str]]
    times_us: Times
    poses: Array
    counts: Indices


def no_tracks() -> Tracks:
    return _assembled([])


def parse_tracks(document: object, warn: Warn) -> Tracks:
    """
    Return the tracks; ids, poses, times, labels and dims are required, flags are not.

    `warn` is called for what is odd but harmless. Raises FieldError.
    """
    top = as_object(document, '')
    hollow: list[str] = []
    found = list(islice(_find_chunks(top, '', hollow, warn), MOST_CHUNKS + 1))
    if len(found) > MOST_CHUNKS:
        many = f'an object of more than {MOST_CHUNKS} chunks'
        raise FieldError('the top level', many, f'{MOST_CHUNKS} at most')
    chunks = [_chunk(value, path, warn) for path, value in found]
    if not chunks and not _is_hollow(top):
        without = f'{described(top)} ({listed(list(top), described)}) without a chunk'
        raise FieldError('the top level', without, f'one, an object with {_DATA}')
    if chunks and hollow:
        names = listed(hollow, described)
        warn(f'{names} is empty, expected {_DATA} in each chunk, so it is passed over')
    tracks = _assembled(chunks)
    if not len(tracks):
        warn('it has no tracks')
    return tracks


def _find_chunks(
    value: dict[str, Any], path: str, hollow: list[str], warn: Warn, depth: int = 0
) -> Iterator[tuple[str, dict[str, Any]]]:
    if _DATA in value:
        yield path, value
        return
    if _CUBOIDS in value:
        raise FieldError(join(path, _DATA), 'missing', f'it beside {_CUBOIDS}')
    strangers = []
    for key, inner in value.items():
        if isinstance(inner, dict) and depth < _DEEPEST:
            if _is_hollow(inner):
                hollow.append(join(path, key))
                continue
            yield from _find_chunks(inner, join(path, key), hollow, warn, depth + 1)
        else:
            strangers.append(key)
    name_unknown(strangers, path, warn)


def _is_hollow(value: dict[str, Any], depth: int = 0) -> bool:
    """Return whether there is nothing but empty objects, none of which is a chunk."""
    if _DATA in value or _CUBOIDS in value:
        return False
    return depth <= _DEEPEST and all(
        isinstance(inner, dict) and _is_hollow(inner, depth + 1) for inner in value.values()
    )


def _chunk(value: dict[str, Any], path: str, warn: Warn) -> _Chunk:
    data_path = join(path, _DATA)
    data = as_object(value[_DATA], data_path)

    def found(key: str, expected: str = _EACH) -> tuple[Any, str]:
        return get(data, key, data_path, expected), join(data_path, key)

    ids = _ids(*found('tracks_id', 'a list of ids'))
    count = len(ids)
    labels, labels_path = found('tracks_label_class')
    labels = _per_track(labels, labels_path, count)
    labels = [as_text(label, f'{labels_path}[{i}]') for i, label in enumerate(labels)]
    poses, counts = _poses(*found('tracks_poses'), count)
    times = _times(*found('tracks_timestamps_us'), counts)
    flags = parse_flags(data, data_path, count, warn)
    dims = _dims(value, path, count, warn)
    if not counts.all():
        kept = np.flatnonzero(counts).tolist()
        warn(
            f'{data_path}.tracks_poses[{int(counts.argmin())}] is an empty list, expected at '
            f'least one pose: {count - len(kept)} such tracks are left out'
        )
        ids, labels, flags = ([texts[i] for i in kept] for texts in (ids, labels, flags))
        dims, counts = dims[kept], counts[kept]
    return _Chunk(path, ids, labels, dims, flags, times, poses, counts)


def _ids(values: object, path: str) -> list[str]:
    ids: dict[str, int] = {}
    for i, value in enumerate(as_list(values, path)):
        if type(value) is int or (type(value) is float and value.is_integer()):
            track = described(int(value))
        elif not isinstance(value, str):
            raise FieldError(f'{path}[{i}]', described(value), 'a text or a whole number')
        elif not value:
            raise FieldError(f'{path}[{i}]', 'an empty text', 'an id')
        else:
            track = as_text(value, f'{path}[{i}]')
        if (first := ids.setdefault(track, i)) != i:
            raise FieldError(
                f'{path}[{i}]', described(track), f'an id other than that of [{first}]'
            )
    return list(ids)


def _per_track(value: object, path: str, count: int) -> list[Any]:
    if isinstance(value, list) and len(value) != count:
        raise FieldError(path, described(value), f'{count} elements, one for each of tracks_id')
    return as_list(value, path)


def _poses(value: object, path: str, count: int) -> tuple[Array, Indices]:
    """Return the poses (S, 7) of all tracks, quaternions of unit length, and how many each has."""
    tracks = [
        as_list(track, f'{path}[{i}]') for i, track in enumerate(_per_track(value, path, count))
    ]
    counts = np.array(list(map(len, tracks)), dtype=np.intp)
    rows = list(chain.from_iterable(tracks))
    poses = None
    if not set(map(type, rows)) - {list} and not set(map(len, rows)) - {7}:
        poses = float_array(list(chain.from_iterable(rows)))
    if poses is None:
        # Which raises with the place of the offender.
        poses = np.vstack([numbers(t, f'{path}[{i}]', (None, 7)) for i, t in enumerate(tracks)])
    poses = poses.reshape(-1, 7)
    lengths = np.linalg.norm(np.clip(poses[:, 3:], -CLIP, CLIP), axis=1)
    wrong = np.flatnonzero(np.abs(lengths - 1.0) > _UNIT_TOLERANCE)
    if len(wrong):
        found = ', '.join(f'{number:.6g}' for number in poses[wrong[0], 3:])
        raise FieldError(
            f'{path}{_element(int(wrong[0]), counts)}',
            f'a pose with the quaternion [{found}]',
            f'one of length 1, exact within {_UNIT_TOLERANCE:g}',
        )
    poses[:, 3:] /= lengths[:, np.newaxis]
    check_positions(poses[:, :3], lambda row: f'{path}{_element(row, counts)}')
    return poses, counts


def _times(value: object, path: str, counts: Indices) -> Times:
    """Return the times (S,) of all tracks, rising within each of them."""
    tracks = _per_track(value, path, len(counts))
    for i, (track, count) in enumerate(zip(tracks, counts.tolist(), strict=True)):
        if not isinstance(track, list) or len(track) != count:
            raise FieldError(f'{path}[{i}]', described(track), f'{count} times, one for each pose')
    times = time_array(list(chain.from_iterable(tracks)))
    if times is None:
        times = np.concatenate([times_us(t, f'{path}[{i}]') for i, t in enumerate(tracks)])
    wrong = np.diff(times) <= 0
    # From the end of one track to the beginning of the next the time may do what it likes.
    ends = np.cumsum(counts)[:-1]
    wrong[ends[(ends > 0) & (ends < len(times))] - 1] = False
    if wrong.any():
        for i, track in enumerate(tracks):
            increasing(times_us(track, ''), f'{path}[{i}]')
    return times


def _dims(chunk: dict[str, Any], path: str, count: int, warn: Warn) -> Array:
    if not count and _CUBOIDS not in chunk:
        return np.empty((0, 3))
    cuboids_path = join(path, _CUBOIDS)
    cuboids = as_object(get(chunk, _CUBOIDS, path, 'an object'), cuboids_path)
    dims_path = join(cuboids_path, 'cuboids_dims')
    value = _per_track(get(cuboids, 'cuboids_dims', cuboids_path, _EACH), dims_path, count)
    dims = numbers(value, dims_path, (count, 3))
    wrong = np.flatnonzero(((dims < 0.0) | (dims > FARTHEST_METRES)).any(axis=1))
    if len(wrong):
        i = int(wrong[0])
        raise FieldError(
            f'{dims_path}[{i}]', f'{dims[i].tolist()}', '[length, width, height] in metres'
        )
    flat = np.flatnonzero((dims == 0.0).any(axis=1))
    if len(flat):
        i = int(flat[0])
        others = f' (and {len(flat) - 1} others alike)' if len(flat) > 1 else ''
        warn(
            f'{dims_path}[{i}]{others} is {dims[i].tolist()}, expected lengths above 0, so the '
            'box is flat'
        )
    return dims


def _element(row: int, counts: Indices) -> str:
    """Return the indices [track][pose] of a row of all tracks."""
    ends = np.cumsum(counts)
    track = int(np.searchsorted(ends, row, side='right'))
    return f'[{track}][{row - int(ends[track] - counts[track])}]'


def _assembled(chunks: list[_Chunk]) -> Tracks:
    """Put the chunks together; ids that more than one of them has get the chunk's name before."""
    counts = np.concatenate([np.empty(0, np.intp), *(chunk.counts for chunk in chunks)])
    poses = np.concatenate([np.empty((0, 7)), *(chunk.poses for chunk in chunks)])
    times = np.concatenate([np.empty(0, np.int64), *(chunk.times_us for chunk in chunks)])
    dims = np.concatenate([np.empty((0, 3)), *(chunk.dims for chunk in chunks)])
    return Tracks(
        ids=tuple(_unique_ids(chunks)),
        labels=tuple(chain.from_iterable(chunk.labels for chunk in chunks)),
        dims=dims,
        flags=tuple(chain.from_iterable(chunk.flags for chunk in chunks)),
        samples=PoseTable(times * 1000, poses[:, :3], poses[:, 3:]),
        counts=counts,
    )


def _unique_ids(chunks: list[_Chunk]) -> list[str]:
    uses = Counter(chain.from_iterable(chunk.ids for chunk in chunks))
    ids: list[str] = []
    taken = {track for track, times in uses.items() if times == 1}
    for chunk in chunks:
        for track in chunk.ids:
            unique = track
            if uses[track] > 1:
                unique = f'{chunk.name}/{track}'
                while unique in taken:
                    unique += "'"
                taken.add(unique)
            ids.append(unique)
    return ids


_FLAGS = 'tracks_flags'
_NONE = frozenset({'', 'NONE'})


def parse_flags(
    data: Mapping[str, Any], path: str, count: int, warn: Warn
) -> list[frozenset[str]]:
    """
    Return the flags of each track as a set of names in capitals; `path` is that of `data`.

    Taken: names joined by bars ('DYNAMIC|CONTROLLABLE'), lists of names, the same for each pose,
    and 0 for none. Flags are not required: what is wrong means none, with one call of `warn`.
    """
    none = [frozenset[str]()] * count
    value = data.get(_FLAGS)
    path = join(path, _FLAGS)
    if not isinstance(value, list) or len(value) != count:
        if value is not None or count:
            warn(
                f'{path} is {found_in(data, _FLAGS)}, expected {count} elements, one for each of '
                'tracks_id, so no track has flags'
            )
        return none
    flags = []
    wrong: list[tuple[int, object]] = []
    for i, element in enumerate(value):
        names: set[str] = set()
        if not _collect(element, names):
            wrong.append((i, element))
        flags.append(frozenset(names - _NONE))
    if wrong:
        i, element = wrong[0]
        others = f' (and {len(wrong) - 1} others alike)' if len(wrong) > 1 else ''
        warn(
            f'{path}[{i}]{others} is {described(element)}, expected names of flags, so what is no '
            'name is ignored'
        )
    return flags


def _collect(value: object, names: set[str], depth: int = 0) -> bool:
    """Add the names in a value; tell whether there was nothing else in it."""
    if isinstance(value, str) and encodable(value):
        names.update(name.strip().upper() for name in value.split('|'))
        return True
    if isinstance(value, list) and depth < _DEEPEST:
        good = [_collect(element, names, depth + 1) for element in value]
        return all(good)
    return value is None or (type(value) is int and value == 0)
