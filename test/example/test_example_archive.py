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
"""The archive: stored, aligned, the same bytes each time; the command `nurec_example`."""

from __future__ import annotations

import os
from pathlib import Path
import struct
from test.example.conftest import read_example
from typing import Any
import zipfile

import numpy as np
from nurec_ros.cli.example import main
from nurec_ros.errors import ConfigurationError
from nurec_ros.example import make_example, write_example
from nurec_ros.example.writer import write_usdz
from nurec_ros.scenario import Scenario
import pytest


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
    assert list(offsets) == [
        *('default.usda', 'metadata.yaml', 'volume.nurec', 'rig_trajectories.json'),
        *('sequence_tracks.json', 'data_info.json', 'map.xodr'),
    ]
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


def test_equal_wishes_give_equal_bytes_and_others_another_name(tmp_path: Path):
    written = []
    for duration_s in (1, 1.0):
        path = write_example(
            tmp_path / 'a.usdz', make_example(duration_s=duration_s, road_users=3)
        )
        written.append(path.read_bytes())
    assert written[0] == written[1]
    wishes: dict[str, Any] = {'duration_s': 1, 'road_users': 3}
    others: dict[str, Any] = {'seed': 2, 'duration_s': 2.0, 'road_users': 5, 'has_map': False}
    others['camera_model'] = 'pinhole'
    each = [wishes, *({**wishes, name: other} for name, other in others.items())]
    assert len({make_example(**one).sequence_id for one in each}) == 6


def test_a_camera_model_that_is_none_is_refused():
    with pytest.raises(ConfigurationError, match='camera-model is orb, expected one of ftheta, '):
        make_example(camera_model='orb')


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


def test_it_is_read_as_it_was_written(example):
    loaded = Scenario.load(example.path, min_track_lifetime_s=0)
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
    np.testing.assert_allclose(loaded.ego.at(example.times_us * 1000), example.poses, atol=1e-9)


# --- the command ---------------------------------------------------------------------------------


def test_seed_and_duration(tmp_path: Path, capsys):
    path = tmp_path / 'a.usdz'
    assert main([str(path), '--duration', '1', '--seed', '4']) == 0
    assert '12 poses' in capsys.readouterr().out
    expected = write_example(tmp_path / 'b.usdz', make_example(duration_s=1.0, seed=4))
    assert path.read_bytes() == expected.read_bytes()


def test_as_many_road_users_as_asked_for_of_each_class_in_turn(tmp_path: Path, capsys):
    path = tmp_path / 'a.usdz'
    classes = {track.label for track in make_example(duration_s=1).tracks}
    for count in (0, 1, len(classes), 40):
        assert main([str(path), '--duration', '1', '--road-users', str(count)]) == 0
        labels = [track.label for track in read_example(path).tracks]
        assert len(labels) == count
        assert len(set(labels)) == min(count, len(classes))
    assert 'tracks  0: none' in capsys.readouterr().out


def test_without_a_map(tmp_path: Path, capsys):
    path = tmp_path / 'a.usdz'
    assert main([str(path), '--duration', '1', '--no-map']) == 0
    assert 'map     none' in capsys.readouterr().out
    scenario = Scenario.load(path)
    assert scenario.road_map is None
    assert scenario.warnings == ()


def test_the_default_file_and_the_examples_of_the_help_are_written(
    tmp_path: Path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith('wrote nurec_example.usdz (')
    assert '202 poses' in printed
    assert zipfile.is_zipfile('nurec_example.usdz')
    with pytest.raises(SystemExit):
        main(['--help'])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    examples = [words[1:] for words in lines if words[:1] == ['nurec_example'] and len(words) > 1]
    assert len(examples) == 4
    for arguments in examples:
        assert main(arguments) == 0
        assert zipfile.is_zipfile(arguments[0])


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        ([''], 'the path of the file to write is empty'),
        (['.'], '. is there and is no ordinary file; nothing is written'),
        (['a' * 250], f'cannot write {"a" * 250}: File name too long'),
    ],
)
def test_what_cannot_be_done_is_one_line_and_1(tmp_path, capsys, monkeypatch, arguments, reason):
    monkeypatch.chdir(tmp_path)
    assert main([*arguments, '--duration', '1']) == 1
    captured = capsys.readouterr()
    assert reason in captured.err
    assert captured.err.count('\n') == 1
    assert not captured.out


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        *(
            (['--duration', s], f'--duration is {s} s, expected 1 to 120')
            for s in ('0.5', '-3', '121', 'nan')
        ),
        (['--seed', '-2'], '--seed is -2, expected 0 or more'),
        (['--road-users', '-1'], '--road-users is -1, expected 0 to'),
        (['--road-users', '116'], '--road-users is 116, expected 0 to 115 (more on a longer'),
        (['--camera-model', 'orb'], "--camera-model: invalid choice: 'orb'"),
    ],
)
def test_wrong_arguments_are_2(tmp_path, capsys, monkeypatch, arguments, reason):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert reason in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
