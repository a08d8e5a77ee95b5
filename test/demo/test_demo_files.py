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
"""What is replaced in the demo's folder, and what is not."""

from __future__ import annotations

import os
from pathlib import Path
import signal
import subprocess
import sys

import nurec_ros
from nurec_ros.demo.resources import Files
from nurec_ros.errors import ConfigurationError
import pytest


def earlier(folder: Path) -> Files:
    """Leave what an earlier demo leaves, and a log of somebody else."""
    files = Files(folder)
    files.recording.mkdir(parents=True)
    (files.recording / 'metadata.yaml').write_text('old')
    (files.recording / 'recording.mcap').write_text('old')
    files.contact_sheet.write_text('old')
    files.overview.write_text('old')
    (folder / 'mine.log').write_text('mine')
    return files


def test_the_new_recording_takes_the_earlier_ones_place(tmp_path: Path):
    files = earlier(tmp_path)
    files.prepare()
    with files.new_recording() as fresh:
        assert fresh.name == 'recording'
        fresh.mkdir()
        (fresh / 'metadata.yaml').write_text('new')
        assert (files.recording / 'metadata.yaml').read_text() == 'old'
    assert [path.name for path in files.recording.iterdir()] == ['metadata.yaml']
    assert (files.recording / 'metadata.yaml').read_text() == 'new'
    assert {path.name for path in tmp_path.iterdir()} == {'recording', 'mine.log'}


def test_a_failure_leaves_the_earlier_results(tmp_path: Path):
    files = earlier(tmp_path / 'demo')
    before = sorted(path.name for path in files.folder.rglob('*'))

    def fail() -> None:
        with files.new_recording() as fresh:
            fresh.mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert sorted(path.name for path in files.folder.rglob('*')) == before


@pytest.mark.parametrize('kind', ['foreign file', 'folder', 'link', 'file'])
def test_what_is_somebody_elses_is_refused_in_one_sentence(tmp_path: Path, kind: str):
    files = Files(tmp_path / 'demo')
    files.folder.mkdir()
    if kind == 'file':
        files.recording.write_text('mine')
    elif kind == 'link':
        files.recording.symlink_to(tmp_path)
    else:
        files.recording.mkdir()
        place = files.recording / 'x.mcap'
        place.mkdir() if kind == 'folder' else (files.recording / 'mine.txt').write_text('mine')
    before = sorted(tmp_path.rglob('*'))
    with pytest.raises(ConfigurationError) as caught:
        files.prepare()
    assert str(files.recording) in str(caught.value)
    assert '\n' not in str(caught.value)
    assert sorted(tmp_path.rglob('*')) == before


def unfinished(folder: Path) -> subprocess.Popen[str]:
    """Start a process that is in the middle of a recording."""
    code = (
        'import pathlib, sys\n'
        'from nurec_ros.demo.resources import Files\n'
        f'files = Files(pathlib.Path({str(folder)!r}))\n'
        'files.prepare()\n'
        'with files.new_recording() as fresh:\n'
        '    fresh.mkdir()\n'
        '    print("recording", flush=True)\n'
        '    sys.stdin.read()\n'
    )
    process = subprocess.Popen(
        [sys.executable, '-c', code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(Path(nurec_ros.__file__).parents[1])},
    )
    assert process.stdout.readline() == 'recording\n'
    return process


def test_what_a_killed_demo_left_is_removed(tmp_path: Path):
    files = earlier(tmp_path)
    before = sorted(tmp_path.rglob('*'))
    with unfinished(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
    assert len(list(tmp_path.glob('.recording-*'))) == 1
    files.prepare()
    assert sorted(tmp_path.rglob('*')) == before


def test_two_at_once_in_one_folder_are_refused(tmp_path: Path):
    with unfinished(tmp_path) as process:
        with pytest.raises(ConfigurationError, match='another demo is filling'):
            Files(tmp_path).prepare()
        process.stdin.close()
    assert process.returncode == 0
    assert (tmp_path / 'recording').is_dir()
    Files(tmp_path).prepare()
