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
"""The command `nurec_example`."""

from __future__ import annotations

import json
import os
from pathlib import Path
import subprocess
import sys
import zipfile

from nurec_ros.cli.example import main
from nurec_ros.example import make_example, write_example
from nurec_ros.scenario import Scenario
import pytest


def test_seed_and_duration(tmp_path: Path, capsys):
    path = tmp_path / 'a.usdz'
    assert main([str(path), '--duration', '1', '--seed', '4']) == 0
    assert '12 poses' in capsys.readouterr().out
    expected = write_example(tmp_path / 'b.usdz', make_example(duration_s=1.0, seed=4))
    assert path.read_bytes() == expected.read_bytes()


def tracks_of(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        chunk = json.loads(archive.read('sequence_tracks.json'))['dummy_chunk_id']
    return list(chunk['tracks_data']['tracks_label_class'])


def test_as_many_road_users_as_asked_for_of_each_class_in_turn(tmp_path: Path, capsys):
    path = tmp_path / 'a.usdz'
    classes = {track.label for track in make_example(duration_s=1).tracks}
    for count in (0, 1, len(classes), 40):
        assert main([str(path), '--duration', '1', '--road-users', str(count)]) == 0
        labels = tracks_of(path)
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
        (['--duration', '0.5'], '--duration is 0.5 s, expected 1 to 120'),
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


def test_a_reader_that_goes_is_no_error_and_no_ros_is_needed(tmp_path: Path):
    code = (
        'import sys\n'
        'class Block:\n'
        '    def find_spec(self, name, path=None, target=None):\n'
        "        if name.split('.')[0] in {'rclpy', 'std_msgs', 'grpc'}:\n"
        "            raise ImportError(f'{name} is blocked')\n"
        'sys.meta_path.insert(0, Block())\n'
        'from nurec_ros.cli.example import main\n'
        'sys.exit(main(sys.argv[1:]))\n'
    )
    path = tmp_path / 'a.usdz'
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, '-c', code, str(path), '--duration=1'],
        cwd=Path(__file__).resolve().parents[2],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert (result.returncode, result.stderr) == (0, '')
    assert zipfile.is_zipfile(path)
