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
"""An export in process: a scenario of a second, servers that answer at once, parts of 0.4 s."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
import hashlib
import importlib.util
import json
from pathlib import Path
import shutil
import signal
from test.rendering.fake_server import FakeServer, png
from test.ros.conftest import make_context, ros_environment
from test.support.archives import build_archive
from typing import Any

import grpc
from nurec_ros.scenario import Scenario
import pytest
import yaml

# They come with rclpy's extra, without which no test of an export is collected.
with suppress(ImportError):
    from mcap.reader import make_reader
    from rclpy.serialization import deserialize_message
    from rosbags.rosbag2 import Reader

__all__ = ['make_context', 'ros_environment']

HAS_ROS = importlib.util.find_spec('rclpy') is not None
collect_ignore_glob = [] if HAS_ROS else ['test_*.py']
PART_NS = 400_000_000
SMALL = ('-p', 'image_format:=png', '-p', 'resolution_scale:=0.02')


def picture(request: Any, _context: Any = None) -> bytes:
    """Return a picture that tells cameras and times apart."""
    name = f'{request.camera_intrinsics.logical_id} {request.frame_end_us}'
    grey = hashlib.sha256(name.encode()).digest()[0]
    return png(request.resolution_w, request.resolution_h, grey)


def failing(bad: set[tuple[str, int]]) -> Callable[..., bytes]:
    """Return what renders all frames but some, by camera and time in us."""

    def render(request: Any, context: Any) -> bytes:
        if (request.camera_intrinsics.logical_id, request.frame_start_us) in bad:
            context.abort(grpc.StatusCode.INTERNAL, 'NRenderer.render failed')
        return picture(request)

    return render


# --- what is asked about bags --------------------------------------------------------------------


def messages(bag: Path) -> list[tuple[str, int, bytes]]:
    """Return topic, time and bytes of all messages, in the files' order."""
    with Reader(bag) as reader:
        return [(one.topic, t_ns, bytes(data)) for one, t_ns, data in reader.messages()]


def in_files(bag: Path) -> list[list[tuple[str, int, bytes]]]:
    """Return the same of each MCAP file, as it holds them one after the other."""
    found = []
    for name in info(bag)['relative_file_paths']:
        with (bag / name).open('rb') as file:
            inside = make_reader(file).iter_messages(log_time_order=False)
            found.append([(channel.topic, one.log_time, one.data) for _, channel, one in inside])
    return found


def info(bag: Path) -> dict[str, Any]:
    return yaml.safe_load((bag / 'metadata.yaml').read_text())['rosbag2_bagfile_information']


def entries_of(output: Path) -> dict[str, Any]:
    """Return what export.json says, by bag."""
    entries = json.loads((output / 'export.json').read_text())['scenarios']
    return {entry['bag']: entry for entry in entries}


def everything(folder: Path) -> dict[str, bytes]:
    """Return the files of an output folder."""
    paths = (path for path in folder.rglob('*') if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(paths)}


def frame_times(usdz: Path) -> dict[str, list[int]]:
    """Return the ends of the exposures that lie in the scenario, by camera."""
    found = Scenario.load(usdz)
    return {
        name: [int(t) for t in one.frame_times_ns[:, 1] if found.start_ns <= t <= found.end_ns]
        for name, one in found.cameras.items()
    }


def read(bag: Path, topic: str, kind: type) -> list[tuple[int, Any]]:
    """Return time and message of all messages of a topic."""
    found = messages(bag)
    return [(t, deserialize_message(data, kind)) for name, t, data in found if name == topic]


# --- exports -------------------------------------------------------------------------------------


@pytest.fixture(scope='package')
def usdz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a scenario of two cameras."""
    return build_archive(tmp_path_factory.mktemp('export'), 'drive.usdz', duration_s=1.0)


@pytest.fixture
def make_server(usdz: Path) -> Iterator[Callable[..., FakeServer]]:
    """Return a function that starts a server which has the scenario; all are stopped."""
    servers: list[FakeServer] = []
    scene = Scenario.load(usdz).scene_id

    def start(render: Any = picture, **options: Any) -> FakeServer:
        servers.append(FakeServer(render, scenes=[scene], **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope='package', autouse=True)
def short_parts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('nurec_ros.export.part.PART_NS', PART_NS)
        yield


def run_command(folder: Path, servers: Any, files: Any, options: Any = ()) -> object:
    """Run the command in this process, whose handlers stay; return its exit code."""
    from nurec_ros.cli.export import main

    addresses = ','.join(server.address for server in servers) or 'localhost:1'
    arguments = [*files, '--server', addresses, '--output', folder, *SMALL, *options]
    before = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code
    finally:
        for number, handler in before:
            signal.signal(number, handler)


@pytest.fixture
def export(usdz: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that runs the command, to an exit code, and returns its output folder."""

    def run(*servers: Any, output: str = 'out', options: Any = (), files: Any = (usdz,), ends=0):
        assert run_command(tmp_path / output, servers, files, options) == ends
        return tmp_path / output

    return run


@pytest.fixture(scope='package')
def first(usdz: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """Return the folder of an export with nothing but defaults, and what the server was asked."""
    out = tmp_path_factory.mktemp('exported') / 'out'
    with FakeServer(picture, scenes=[Scenario.load(usdz).scene_id]) as server:
        assert run_command(out, [server], [usdz], ['--frames', out.parent / 'images']) == 0
        return out, server.requests()


@pytest.fixture(scope='package')
def exported(first: tuple[Path, list[Any]]) -> Path:
    """Return the folder of that export; beside it are its `images`."""
    return first[0]


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    """Return the folder that `export` writes into, with that export in it."""
    return shutil.copytree(exported, tmp_path / 'out')
