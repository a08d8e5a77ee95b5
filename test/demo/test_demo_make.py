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
"""`make demo`: the file's name reaches the command as it was typed."""

from __future__ import annotations

import os
from pathlib import Path
import shutil
import subprocess

import pytest

ROOT = Path(__file__).resolve().parents[2]


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
    command = tmp_path / 'bin' / 'nurec_demo'
    command.parent.mkdir()
    command.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    command.chmod(0o755)
    done = subprocess.run(
        [
            'make',
            '--no-print-directory',
            # Whatever is installed or not: it is about the name.
            *(f'--old-file={tmp_path}/{stamp}' for stamp in ('.demo', '.interfaces')),
            'demo',
            f'VENV={tmp_path}',
            *([f'USDZ={name}'] if place == 'argument' else []),
        ],
        cwd=ROOT,
        env={**os.environ, 'USDZ': name},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == expected
