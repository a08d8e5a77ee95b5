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
"""What is told while an export runs: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from contextlib import suppress
import fcntl
import os
import pty
import struct
import sys
import termios

from nurec_ros.cli.export import _progress, LINE_EVERY_S
import pytest


@pytest.mark.parametrize(('rows', 'columns'), [(0, 0), (24, 0), (0, 60), (24, 60)])
def test_a_terminal_of_any_size_has_a_bar(monkeypatch, rows, columns):
    """A new one knows none: serial lines, containers, `script`."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('4H', rows, columns, 0, 0))
    with os.fdopen(slave, 'w') as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, 'stderr', terminal)
        progress = _progress()
        progress.begin('drive', 8)
        progress.frame(4)
        progress.end()
    shown = b''
    # What a pty holds comes piece by piece, and then an error.
    with suppress(OSError):
        while piece := os.read(master, 65536):
            shown += piece
    os.close(master)
    last = shown.decode().rstrip().rpartition('\r')[2]
    assert last.startswith('drive:')
    assert ' 4/8 ' in last
    assert '50%|' in last
    assert len(last) <= (columns or 80)


def test_lines_without_a_terminal(monkeypatch, capsys):
    """Nothing is divided by what has not come yet, for however long."""
    now = [100.0]
    monkeypatch.setattr('time.monotonic', lambda: now[0])
    progress = _progress()
    progress.begin('drive', 8)
    # Of a cluster whose servers are away.
    for _ in range(3):
        progress.frame(0)
        now[0] += 2 * LINE_EVERY_S
        progress.frame(0)
    progress.frame(2)
    progress.frame(2)
    now[0] += LINE_EVERY_S
    progress.frame(0)
    progress.end()
    assert capsys.readouterr().err.splitlines() == [
        'drive: 8 frames to render',
        'drive: 2 of 8 frames, 0.0 frames/s, 180 s left',
        'drive: 4 of 8 frames, 0.1 frames/s, 70 s left',
    ]
