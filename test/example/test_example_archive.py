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
"""The archive: stored, aligned, the same bytes each time; and as the package itself reads it."""

from __future__ import annotations

import os
from pathlib import Path
import struct
from typing import Any
import zipfile

import numpy as np
from nurec_ros.errors import ConfigurationError
from nurec_ros.example import make_example, write_example
from nurec_ros.example.writer import write_usdz
from nurec_ros.scenario import Scenario
import pytest
from scipy.spatial.transform import Rotation, Slerp
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


@pytest.mark.parametrize('size', [0, 1, 63, 64, 65])
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
            field, extra = struct.unpack_from('<HH', info.extra)
            assert (field, 4 + extra) == (0x1986, len(info.extra))
        assert archive.read('ends/below/a folder.txt') == 'ümlaut'.encode()
        assert len(archive.read('x' * (size % 97 + 1))) == size
    for offset in data_offsets(path).values():
        assert offset % 64 == 0


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


def test_equal_wishes_give_equal_bytes_and_others_another_name(tmp_path: Path):
    paths = [tmp_path / f'{name}.usdz' for name in 'ab']
    for path in paths:
        write_example(path, make_example(duration_s=1.0, road_users=3))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    some: dict[str, Any] = {'duration_s': 1, 'road_users': 3}
    others: list[dict[str, Any]] = [
        {'seed': 2},
        {'duration_s': 2.0},
        {'road_users': 5},
        {'camera_model': 'pinhole'},
    ]
    wishes = [some, {**some, 'duration_s': 1.0}]
    wishes += [{**some, **wish} for wish in (*others, {'has_map': False})]
    names = [make_example(**wish).sequence_id for wish in wishes]
    assert names[0] == names[1]
    assert len(set(names)) == 6


@pytest.mark.parametrize(
    ('wish', 'words'),
    [
        *(({'duration_s': s}, 'duration is .* expected 1 to 120') for s in (0.0, -3.0, 121.0)),
        ({'duration_s': float('nan')}, 'duration is .* expected 1 to 120'),
        ({'camera_model': 'orb'}, 'camera-model is orb, expected one of ftheta, '),
        ({'seed': -1}, 'seed is -1, expected 0 or more'),
    ],
)
def test_what_cannot_be_had_is_refused(wish, words):
    with pytest.raises(ConfigurationError, match=words):
        make_example(**wish)


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path):
    path = write_usdz(tmp_path / 'a.usdz', {'a': b'old'})
    with pytest.raises(TypeError):
        write_usdz(path, {'a': b'new', 'b': 3})  # type: ignore[dict-item]
    assert [entry.name for entry in tmp_path.iterdir()] == ['a.usdz']
    with zipfile.ZipFile(path) as archive:
        assert archive.read('a') == b'old'


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


@pytest.fixture(scope='module')
def loaded(example) -> Scenario:
    """Return the default example, every track of it."""
    return Scenario.load(example.path, min_track_lifetime_s=0)


def test_it_is_read_as_it_was_written(loaded: Scenario, example):
    assert loaded.warnings == ()
    assert loaded.start_ns == int(example.times_us[0]) * 1000
    assert loaded.end_ns == int(example.times_us[-1]) * 1000
    assert loaded.sequence_id == loaded.metadata_scene_id == example.info['sequence_id']
    assert len(loaded.cameras) == 6
    assert all(camera.renderable for camera in loaded.cameras.values())
    assert list(loaded.tracks.ids) == [track.id for track in example.tracks]
    assert list(loaded.tracks.static) == [track.flags == 'NONE' for track in example.tracks]
    assert loaded.T_earth_map is not None
    np.testing.assert_array_equal(loaded.T_earth_map, example.rig['T_world_base'])
    assert loaded.rig_bbox is not None
    assert np.allclose(loaded.rig_bbox.dims, [5.39, 2.11, 1.50])


def test_ego_is_that_of_the_file(loaded: Scenario, example):
    times = example.times_us * 1000
    slerp = Slerp(times, Rotation.from_matrix(example.poses[:, :3, :3]))
    for t in np.linspace(loaded.start_ns, loaded.end_ns, 60).astype(np.int64):
        pose = loaded.ego.at(int(t))
        position = [np.interp(t, times, example.poses[:, k, 3]) for k in range(3)]
        assert np.allclose(pose[:3, 3], position, atol=1e-6)
        assert np.allclose(pose[:3, :3], slerp(t).as_matrix(), atol=1e-6)


def test_ego_drives_between_lane_boundaries_of_the_map(loaded: Scenario):
    assert loaded.road_map is not None
    assert '+lat_0=59.35' in (loaded.road_map.geo_reference or '')
    lines = [line[:, :2] for line in loaded.road_map.boundaries]
    begins = np.vstack([line[:-1] for line in lines])
    ways = np.vstack([np.diff(line, axis=0) for line in lines])
    assert len(begins) > 100
    for position in loaded.ego.positions[:, :2]:
        along = np.einsum('ij,ij->i', position - begins, ways) / (ways**2).sum(axis=1)
        nearest = begins + np.clip(along, 0.0, 1.0)[:, np.newaxis] * ways
        # The lane is 3.5 m wide.
        distance = np.linalg.norm(nearest - position, axis=1).min()
        assert distance == pytest.approx(1.75, abs=0.06)
