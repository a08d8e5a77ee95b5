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
"""The archive: stored, aligned, the same bytes each time, whole or not there."""

from __future__ import annotations

import os
from pathlib import Path
import struct
import zipfile

from nurec_ros.errors import ConfigurationError
from nurec_ros.example import make_example, write_example
from nurec_ros.example.writer import write_usdz
import pytest
import yaml


def data_offsets(path: Path) -> dict[str, int]:
    """Return where each member's bytes begin, from the local headers themselves."""
    content = path.read_bytes()
    offsets = {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            begin = info.header_offset
            assert content.startswith(b'PK\x03\x04', begin)
            name_size, extra_size = struct.unpack_from('<HH', content, begin + 26)
            offsets[info.filename] = begin + 30 + name_size + extra_size
    return offsets


@pytest.mark.parametrize('size', [0, 1, 5, 63, 64, 65, 1000])
def test_members_are_stored_and_begin_at_multiples_of_64(tmp_path: Path, size: int):
    members = {
        'default.usda': '#usda 1.0\n',
        'x' * (size % 97 + 1): bytes(size),
        'ends/below/a folder.txt': 'ümlaut',
    }
    path = write_usdz(tmp_path / 'a.usdz', members)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == list(members)
        for info in archive.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            assert info.flag_bits & 0x08 == 0, 'sizes stand in the local header'
        assert archive.read('ends/below/a folder.txt') == 'ümlaut'.encode()
        assert len(archive.read('x' * (size % 97 + 1))) == size
    for offset in data_offsets(path).values():
        assert offset % 64 == 0


def test_extra_fields_are_well_formed(tmp_path: Path):
    path = write_usdz(tmp_path / 'a.usdz', {'a': b'1', 'bb': b'2', 'ccc': b'3'})
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            field, size = struct.unpack_from('<HH', info.extra)
            assert field == 0x1986
            assert len(info.extra) == 4 + size


def test_example_is_aligned_and_begins_with_the_root_layer(example):
    offsets = data_offsets(example.path)
    assert next(iter(offsets)) == 'default.usda'
    assert set(offsets) == {
        'default.usda',
        'metadata.yaml',
        'volume.nurec',
        'rig_trajectories.json',
        'sequence_tracks.json',
        'data_info.json',
        'map.xodr',
    }
    assert all(offset % 64 == 0 for offset in offsets.values())
    with zipfile.ZipFile(example.path) as archive:
        assert archive.read('volume.nurec') == bytes(64 * 1024)


def test_the_root_layer_says_what_a_viewer_of_usd_needs(example):
    """Checked with Pixar's own library as well: usd-core opens the archive and finds this."""
    with zipfile.ZipFile(example.path) as archive:
        first, _, rest = archive.read('default.usda').decode().partition('\n')
    assert first == '#usda 1.0'
    header, _, prims = rest.partition(')')
    settings = dict(line.strip().split(' = ') for line in header.strip('( \n').splitlines())
    assert settings == {'defaultPrim': '"World"', 'metersPerUnit': '1', 'upAxis': '"Z"'}
    assert 'def Xform "World"' in prims


def test_the_metadata_have_every_key_that_readers_insist_on(example):
    """The dataclass of AlpaSim takes these as they are, its scene table the last one too."""
    metadata = yaml.safe_load(example.metadata)
    types = {
        'scene_id': str,
        'version_string': str,
        'training_date': str,  # AlpaSim parses it: the quotes keep it from being a date already
        'dataset_hash': str,
        'uuid': str,
        'is_resumable': bool,
        'sensors': dict,
        'logger': dict,
        'time_range': dict,
        'training_step_outputs': dict,
    }
    assert {key: type(metadata[key]) for key in types} == types
    assert len(metadata['dataset_hash']) == 64
    assert set(metadata['sensors']) == {'camera_ids', 'lidar_ids'}
    assert set(metadata['logger']) == {'name', 'run_id', 'run_url'}
    times = example.trajectory['T_rig_world_timestamps_us']
    assert metadata['time_range'] == {'start': times[0], 'end': times[-1]}


def test_equal_seeds_give_equal_bytes_and_others_do_not(tmp_path: Path):
    first = write_example(tmp_path / 'a.usdz', seed=5, duration_s=4).read_bytes()
    assert write_example(tmp_path / 'b.usdz', seed=5, duration_s=4).read_bytes() == first
    assert write_example(tmp_path / 'c.usdz', seed=6, duration_s=4).read_bytes() != first


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path):
    path = write_usdz(tmp_path / 'a.usdz', {'a': b'old'})
    with pytest.raises(TypeError):
        write_usdz(path, {'a': b'new', 'b': 3})  # type: ignore[dict-item]
    assert [entry.name for entry in tmp_path.iterdir()] == ['a.usdz']
    with zipfile.ZipFile(path) as archive:
        assert archive.read('a') == b'old'


@pytest.mark.parametrize('duration', [0.0, -3.0, 121.0, float('nan')])
def test_durations_out_of_range_are_refused(tmp_path: Path, duration: float):
    with pytest.raises(ConfigurationError, match=r'duration is .* expected 1 to 120'):
        write_example(tmp_path / 'a.usdz', duration_s=duration)
    assert not list(tmp_path.iterdir())


def test_unknown_camera_models_are_refused(tmp_path: Path):
    with pytest.raises(ConfigurationError, match='camera-model is orb, expected one of ftheta, '):
        write_example(tmp_path / 'a.usdz', camera_model='orb')


def test_negative_seeds_are_refused(tmp_path: Path):
    with pytest.raises(ConfigurationError, match='seed is -1, expected 0 or more'):
        write_example(tmp_path / 'a.usdz', seed=-1)


@pytest.mark.parametrize('kind', ['folder', 'fifo', 'nothing'])
def test_only_a_file_is_written_over(tmp_path: Path, kind: str):
    path = tmp_path / kind
    if kind == 'folder':
        path.mkdir()
    elif kind == 'fifo':
        os.mkfifo(path)
    with pytest.raises(ConfigurationError):
        write_usdz('' if kind == 'nothing' else path, {'a': b'1'})
    assert path.is_dir() == (kind == 'folder')
    assert path.is_fifo() == (kind == 'fifo')


def test_a_link_is_written_through(tmp_path: Path):
    (tmp_path / 'file').write_bytes(b'old')
    link = tmp_path / 'link'
    link.symlink_to('file')
    write_usdz(link, {'a': b'1'})
    assert link.is_symlink()
    assert zipfile.is_zipfile(tmp_path / 'file')


def test_names_tell_seeds_and_durations_apart():
    drives = [(1, 1), (1, 1.0), (1, 2.0), (2, 1.0), (2, 2.0)]
    names = [make_example(seed=seed, duration_s=s).sequence_id for seed, s in drives]
    assert names[0] == names[1]
    assert len(set(names)) == 4
