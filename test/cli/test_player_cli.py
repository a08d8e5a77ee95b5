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
"""What the player's command makes of its arguments, and its one setting of malloc."""

import ctypes
import os
import platform
import subprocess
import sys
from types import SimpleNamespace

from nurec_ros.cli.options import split_ros_arguments as split
from nurec_ros.cli.player import keep_freed_memory
import pytest


def test_arguments_are_parted() -> None:
    assert split(['a', '--ros-args', '-p', 'x:=1']) == (['a'], ['--ros-args', '-p', 'x:=1'])
    assert split(['--ros-args', '-p', 'x:=1', '--', 'b']) == (
        ['b'],
        ['--ros-args', '-p', 'x:=1', '--'],
    )
    assert split([]) == ([], [])


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Return what mallopt was told, in an environment that says nothing about malloc."""
    calls: list[tuple[int, int]] = []

    def mallopt(parameter: int, value: int) -> int:
        calls.append((parameter, value))
        return 1

    for name in [*os.environ]:
        if name == 'GLIBC_TUNABLES' or name.startswith('MALLOC_'):
            monkeypatch.delenv(name)
    monkeypatch.setattr(ctypes, 'CDLL', lambda name: SimpleNamespace(mallopt=mallopt))
    monkeypatch.setattr(sys, 'platform', 'linux')
    return calls


def test_freed_memory_is_kept(told: list[tuple[int, int]]) -> None:
    assert keep_freed_memory()
    # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h; glibc takes no more than 32 MB for the
    # second, half of what an arena of a thread may grow to. The third is M_ARENA_MAX.
    assert told == [(-1, 128 << 20), (-3, 32 << 20), (-8, 2)]


COUNT_ARENAS = """
import ctypes, sys, threading
from nurec_ros.cli.player import keep_freed_memory
assert keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
together = threading.Barrier(8)
def take():
    together.wait()
    libc.malloc(100_000)
    together.wait()
threads = [threading.Thread(target=take) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fdopen.restype = libc.malloc_info.restype = ctypes.c_void_p
libc.malloc_info(0, libc.fdopen(1, b'w'))
libc.fflush(None)
"""


@pytest.mark.skipif(not platform.libc_ver()[0], reason='malloc_info is of glibc')
def test_threads_share_two_arenas() -> None:
    """Each of them keeps what is freed; with one for each thread that adds up for ever."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name != 'GLIBC_TUNABLES' and not name.startswith('MALLOC_')
    }
    ended = subprocess.run(
        [sys.executable, '-c', COUNT_ARENAS],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert ended.stdout.count('<heap nr=') == 2, ended.stdout


@pytest.mark.parametrize('name', ['MALLOC_TRIM_THRESHOLD_', 'MALLOC_ARENA_MAX', 'GLIBC_TUNABLES'])
def test_what_the_user_set_stays(
    told: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, '1')
    assert not keep_freed_memory()
    assert told == []


def test_other_systems_are_left_alone(
    told: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, 'platform', 'darwin')
    assert not keep_freed_memory()
    monkeypatch.setattr(sys, 'platform', 'linux')
    monkeypatch.setattr(ctypes, 'CDLL', lambda name: SimpleNamespace())
    assert not keep_freed_memory()
    assert told == []


def test_refusal_is_told(told: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, 'CDLL', lambda name: SimpleNamespace(mallopt=lambda *_: 0))
    assert not keep_freed_memory()
