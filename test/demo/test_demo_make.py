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
"""`make demo`: what is typed reaches the command."""

from __future__ import annotations

import os
from pathlib import Path
import shutil
import subprocess

import pytest

ROOT = Path(__file__).resolve().parents[2]


def made(folder: Path, *words: str, **environment: str) -> list[str]:
    """Return the words that `make demo` runs its command with."""
    command = folder / 'bin' / 'nurec_demo'
    command.parent.mkdir(exist_ok=True)
    command.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    command.chmod(0o755)
    # Whatever is installed or not: it is about the words.
    installed = [f'--old-file={folder}/{stamp}' for stamp in ('.demo', '.interfaces')]
    done = subprocess.run(
        ['make', '--no-print-directory', *installed, 'demo', f'VENV={folder}', *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.skipif(shutil.which('make') is None, reason='needs make')
@pytest.mark.parametrize('place', ['argument', 'environment'])
@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ("it's.usdz", ['--usdz', "it's.usdz"]),
        ('a "b" `c` d.usdz', ['--usdz', 'a "b" `c` d.usdz']),
        ('a $HOME $(b) $$ \\ #c.usdz', ['--usdz', 'a $HOME $(b) $$ \\ #c.usdz']),
        ('', []),
    ],
)
def test_the_name_is_passed_on_as_it_is(
    tmp_path: Path, name: str, expected: list[str], place: str
):
    words = [f'USDZ={name}'] if place == 'argument' else []
    assert made(tmp_path, *words, USDZ=name) == expected


@pytest.mark.skipif(shutil.which('make') is None, reason='needs make')
@pytest.mark.parametrize(
    ('words', 'expected'),
    [(['DRIVE=1'], ['--drive']), (['DRIVE=0'], []), (['DRIVE='], [])],
)
def test_the_drive_is_passed_on(tmp_path: Path, words: list[str], expected: list[str]):
    assert made(tmp_path, *words) == expected
    assert made(tmp_path, *words, USDZ='a.usdz') == ['--usdz', 'a.usdz', *expected]
