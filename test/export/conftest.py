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
"""An export in process: a scenario of 2 s, servers that answer at once, parts of a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import hashlib
import importlib.util
from pathlib import Path
import shutil
import signal
from test.rendering.fake_server import FakeServer, png
from test.ros.conftest import make_context, ros_environment
from test.support.archives import build_archive
from typing import Any

from nurec_ros.scenario import Scenario
import pytest

__all__ = ['make_context', 'ros_environment']

HAS_ROS = importlib.util.find_spec('rclpy') is not None
collect_ignore_glob = [] if HAS_ROS else ['test_*.py']


def picture(request: Any, _context: Any = None) -> bytes:
    """Return a picture that tells cameras and times apart."""
    name = f'{request.camera_intrinsics.logical_id} {request.frame_end_us}'
    grey = hashlib.sha256(name.encode()).digest()[0]
    return png(request.resolution_w, request.resolution_h, grey)


@pytest.fixture(scope='session')
def usdz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a scenario of two cameras."""
    return build_archive(tmp_path_factory.mktemp('export'), 'drive.usdz')


def started_servers(usdz: Path) -> Iterator[Callable[..., FakeServer]]:
    """Yield a function that starts a server which has the scenario; all are stopped."""
    servers: list[FakeServer] = []
    scene = Scenario.load(usdz).scene_id

    def start(render: Any = picture, **options: Any) -> FakeServer:
        servers.append(FakeServer(render, scenes=[scene], **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


make_server = pytest.fixture(started_servers, name='make_server')
make_servers = pytest.fixture(started_servers, scope='module', name='make_servers')


@pytest.fixture
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Split bags every second."""
    monkeypatch.setattr('nurec_ros.export.part.PART_NS', 10**9)


def run_command(folder: Path, servers: Any, files: Any, options: Any = ()) -> int:
    """Run the command in this process; return its exit code."""
    from nurec_ros.cli.export import main

    addresses = ','.join(server.address for server in servers) or 'localhost:1'
    small = ['-p', 'image_format:=png', '-p', 'resolution_scale:=0.02']
    arguments = [*files, '--server', addresses, '--output', folder, *small, *options]
    return main([str(argument) for argument in arguments])


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Restore this process's handlers: a command leaves its signals ignored."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.fixture
def export(usdz: Path, tmp_path: Path, short_parts: None) -> Callable[..., tuple[int, Path]]:
    """Return a function that runs the command and returns exit code and output folder."""

    def run(*servers: FakeServer, output: str = 'out', options: Any = (), files: Any = (usdz,)):
        return run_command(tmp_path / output, servers, files, options), tmp_path / output

    return run


@pytest.fixture(scope='session')
def exported(usdz: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an export with nothing but defaults, and its image set in `images`."""
    out = tmp_path_factory.mktemp('exported')
    with (
        handlers_kept(),
        pytest.MonkeyPatch.context() as patch,
        FakeServer(picture, scenes=[Scenario.load(usdz).scene_id]) as server,
    ):
        patch.setattr('nurec_ros.export.part.PART_NS', 10**9)
        assert run_command(out, [server], [usdz], ['--frames', out / 'images']) == 0
    return out


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    """Return the folder that `export` writes into, with that export in it."""
    out = tmp_path / 'out'
    out.mkdir()
    shutil.copytree(exported / 'drive', out / 'drive')
    shutil.copy(exported / 'export.json', out)
    return out


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Restore this process's handlers after a test."""
    with handlers_kept():
        yield
