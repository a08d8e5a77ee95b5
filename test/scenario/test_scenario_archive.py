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
"""Members out of a zip: one sentence of what is wrong, bounded memory; nothing can be changed."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
import contextlib
from dataclasses import fields, FrozenInstanceError, is_dataclass
import io
import os
import struct
from test.scenario.loading import refusal
from test.support.archives import build_archive
from test.support.lidars import add_lidar
import tracemalloc
import zipfile

import numpy as np
from nurec_ros.errors import ScenarioError
from nurec_ros.scenario import archive, Scenario
from nurec_ros.scenario.archive import Archive, LARGEST_MEMBER, MEBIBYTE, MemberError
import pytest

RIG, TRACKS = archive.RIG, archive.TRACKS


def damaged(path, damage):
    data = bytearray(path.read_bytes())
    damage(data)
    path.write_bytes(data)
    return path


def overwrite(data, start, value):
    end = start + len(value)
    data[start:end] = value


def patch(data, offset, value, directory_offset):
    """Overwrite a field of the rig's local header and of its entry in the directory."""
    local = data.index(RIG.encode()) - 30
    entry = data.index(RIG.encode(), data.index(b'PK\x01\x02')) - 46
    for start, mark, at in (
        (local, b'PK\x03\x04', offset),
        (entry, b'PK\x01\x02', directory_offset),
    ):
        assert data.startswith(mark, start)
        overwrite(data, start + at, value)


@contextlib.contextmanager
def little_memory():
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 20 * MEBIBYTE
    finally:
        tracemalloc.stop()


def test_no_file(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    for name, words in (
        ('absent.usdz', 'there is no such file'),
        ('absent/x.usdz', 'there is no such file'),
        ('', 'is a folder'),
        ('pipe', 'is not a regular file'),
        ('a\0b', 'cannot be opened'),
        ('x' * 5000, 'cannot be opened'),
    ):
        with pytest.raises(ScenarioError, match=f': {words}'):
            Scenario.load(tmp_path / name)


def test_no_zip(tmp_path):
    for content, words in (
        (b'', 'is empty'),
        (b'#usda 1.0\n', 'is not a zip archive'),
        (b'\0' * 100_000, 'is not a zip archive'),
        (b'PK\x03\x04' + b'\0' * 100, 'is cut short or damaged'),
    ):
        path = tmp_path / 'x.usdz'
        path.write_bytes(content)
        assert words in refusal(path)


def flipped(data, near, by=0):
    data[data.index(near) + by] ^= 1


def gutted(data):
    """Keep the list of members whole, and nothing that it points to."""
    directory = data.index(b'PK\x01\x02')
    data[:directory] = b'\xaa' * directory


@pytest.mark.parametrize(
    ('damage', 'compression', 'words'),
    [
        (lambda data: flipped(data, b'"T_rig_worlds"', 30), 0, 'is damaged (Bad CRC-32'),
        (lambda data: overwrite(data, data.index(RIG.encode()) + 30, b'\xff' * 40), 8, 'is dam'),
        (gutted, 0, ''),
        (lambda data: patch(data, 6, b'\x01\x00', 8), 0, 'is encrypted'),
        (lambda data: patch(data, 8, b'\x63\x00', 10), 0, 'has compression method 99'),
        # The size of the list of members is not believed.
        (lambda data: overwrite(data, data.rindex(b'PK\x05\x06') + 12, b'\0\0\0\x80'), 0, None),
    ],
)
def test_damage(tmp_path, damage, compression, words):
    text = refusal(damaged(build_archive(tmp_path, compression=compression), damage))
    assert words is None or f'{RIG}: {words}' in text


def test_damage_of_an_optional_member(tmp_path):
    path = damaged(build_archive(tmp_path), lambda data: flipped(data, b'is_resumable'))
    (warning,) = Scenario.load(path).warnings
    assert 'metadata.yaml: is damaged (Bad CRC-32' in warning


@pytest.mark.parametrize(
    ('member', 'attributes', 'method', 'words'),
    [
        (f'{RIG}/', 0, 0, f' {RIG} is missing (the archive holds'),
        (RIG, 0o120777 << 16, 0, f'{RIG}: is a symbolic link'),
        (RIG, 0, 12, f'{RIG}: has compression method 12, expected stored or deflated'),
        (RIG, 0, 14, f'{RIG}: has compression method 14, expected stored or deflated'),
    ],
)
def test_members_that_are_no_files_of_usd(tmp_path, member, attributes, method, words):
    path = build_archive(tmp_path, leave_out=[RIG])
    info = zipfile.ZipInfo(member)
    info.compress_type, info.external_attr = method, attributes
    with zipfile.ZipFile(path, 'a') as target:
        target.writestr(info, '{}')
    assert words in refusal(path)


def test_a_link_to_a_file_that_vanishes_later_is_fine(tmp_path):
    link = tmp_path / 'link.usdz'
    link.symlink_to(build_archive(tmp_path))
    scenario = Scenario.load(link)
    link.resolve().unlink()
    assert len(scenario.tracks.at(scenario.start_ns + 10**9)) == 3


def test_cut_short_anywhere(tmp_path):
    path = build_archive(tmp_path)
    data = path.read_bytes()
    cut = tmp_path / 'cut.usdz'
    for length in [*range(1, len(data), len(data) // 60), *range(len(data) - 30, len(data))]:
        cut.write_bytes(data[:length])
        refusal(cut)


def test_members_and_their_list_are_bounded(tmp_path, monkeypatch):
    assert LARGEST_MEMBER[RIG] == LARGEST_MEMBER[TRACKS] == 256 * MEBIBYTE
    path = build_archive(tmp_path)
    with monkeypatch.context() as patch:
        patch.setitem(LARGEST_MEMBER, TRACKS, 1000)
        assert 'at most 1000' in refusal(path)
    with monkeypatch.context() as patch:
        patch.setattr(archive, 'LARGEST_DIRECTORY', 100)
        assert 'its list of members has' in refusal(path)
    # A reader that gives more than the header promises meets the same limit.
    monkeypatch.setitem(LARGEST_MEMBER, RIG, 2 * MEBIBYTE)
    monkeypatch.setattr(zipfile.ZipFile, 'open', lambda *_: io.BytesIO(b' ' * (3 * MEBIBYTE)))
    with Archive(path) as opened, pytest.raises(MemberError, match='at most 2097152'):
        opened.read(RIG)


def test_deflate_bomb(tmp_path, monkeypatch):
    monkeypatch.setitem(LARGEST_MEMBER, TRACKS, 22 * MEBIBYTE)
    path = build_archive(tmp_path, leave_out=[TRACKS])
    with (
        zipfile.ZipFile(path, 'a', zipfile.ZIP_DEFLATED, compresslevel=1) as target,
        target.open(TRACKS, 'w', force_zip64=True) as stream,
    ):
        for _ in range(24):
            stream.write(b'[' * MEBIBYTE)
    assert path.stat().st_size < MEBIBYTE
    with little_memory():
        assert f'{TRACKS}: has {24 * MEBIBYTE} bytes or more' in refusal(path)


@pytest.mark.parametrize('claimed', [10, 10_000_000])
def test_size_that_lies(tmp_path, claimed):
    path = build_archive(tmp_path, compression=zipfile.ZIP_DEFLATED)
    damaged(path, lambda data: patch(data, 22, struct.pack('<L', claimed), 24))
    with little_memory():
        assert f'{RIG}: is ' in refusal(path)


def test_zip64(tmp_path):
    path = build_archive(tmp_path, leave_out=[RIG])
    other = build_archive(tmp_path, 'other.usdz')
    with (
        zipfile.ZipFile(other) as source,
        zipfile.ZipFile(path, 'a') as target,
        target.open(RIG, 'w', force_zip64=True) as stream,
    ):
        stream.write(source.read(RIG))
    assert len(Scenario.load(path).tracks) == 3


def test_large_members_are_not_read(tmp_path):
    path = build_archive(tmp_path, members={'checkpoint.ckpt': bytes(24 * MEBIBYTE)})
    with little_memory():
        Scenario.load(path)


def test_several_scenarios_in_one_archive(tmp_path):
    path = build_archive(tmp_path, prefix='a/')
    with zipfile.ZipFile(path, 'a') as target:
        target.writestr(f'b/{RIG}', '{}')
    assert f'{RIG} is in 2 folders (a/, b/), expected one scenario' in refusal(path)


def open_files(folder):
    """Return what this process has open below a folder; elsewhere, threads open and close too."""
    found = []
    for descriptor in os.listdir('/proc/self/fd'):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f'/proc/self/fd/{descriptor}'))
    return [name for name in found if name.startswith(str(folder))]


def test_the_file_is_closed(tmp_path):
    path = build_archive(tmp_path)
    with Archive(path) as held:
        assert open_files(tmp_path) == [str(path)]
    assert open_files(tmp_path) == []
    assert RIG in held
    Scenario.load(path)
    path.write_bytes(b'PK\x03\x04')
    refusal(path)
    path = build_archive(tmp_path, leave_out=[RIG])
    refusal(path)
    assert open_files(tmp_path) == []


def held(value):
    """Yield a value and, of records and mappings, all that is in it."""
    yield value
    if is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    for inner in value.values() if isinstance(value, Mapping) else ():
        yield from held(inner)


def test_nothing_can_be_set_or_written(tmp_path):
    scenario = Scenario.load(build_archive(tmp_path, edit_rig=add_lidar))
    tracks, t = scenario.tracks, scenario.start_ns + 10**9
    active = tracks.at(t)
    shared = (active.indices, active.dims, active.static, active.controllable)
    everything = [*held(scenario), *shared]
    arrays = [one for one in everything if isinstance(one, np.ndarray)]
    assert len(arrays) > 30
    for array in arrays:
        with pytest.raises(ValueError, match='read-only'):
            array[0] = 0
    records = [one for one in everything if is_dataclass(one)]
    assert len(records) > 9
    for record in [*records, active]:
        with pytest.raises(FrozenInstanceError):
            setattr(record, fields(record)[0].name, None)
    for sensors in (scenario.cameras, scenario.lidars):
        with pytest.raises(TypeError):
            sensors['new'] = None  # type: ignore[index]
    assert isinstance(scenario.warnings, tuple)
    assert active.poses is active.poses
    # What is given out is the caller's own.
    scenario.ego.at(t)[:] = 0
    tracks.at(t).poses[:] = 0
    tracks.at(t).positions[:] = 0
    assert scenario.ego.at(t)[3, 3] == tracks.at(t).poses[0, 3, 3] == 1


def test_many_threads_ask_at_once(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        scenario = pool.submit(Scenario.load, build_archive(tmp_path)).result()
        times = np.linspace(scenario.start_ns, scenario.end_ns, 50).astype(int).tolist()
        expected = [(scenario.tracks.at(t).poses, scenario.ego.at(t)) for t in times] * 3
        egos = list(pool.map(scenario.ego.at, times * 3))
        sets = list(pool.map(scenario.tracks.at, times * 3))
    for active, ego, (poses, pose) in zip(sets, egos, expected, strict=True):
        np.testing.assert_array_equal(active.poses, poses)
        np.testing.assert_array_equal(ego, pose)
