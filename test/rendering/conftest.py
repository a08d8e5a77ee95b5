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
"""A scenario, servers and pipelines that are closed again, and a place for what is delivered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from test.rendering.fake_server import FakeServer, Gate
from test.support.archives import build_archive, START_US
from test.support.waiting import until
from typing import Any

from nurec_ros.playback import Due
from nurec_ros.rendering import (
    address,
    Failure,
    Frame,
    policy,
    RenderOptions,
    RenderPipeline,
)
from nurec_ros.scenario import Scenario
import pytest

CAMERAS = ('wide', 'tele', 'left', 'right')


@pytest.fixture(scope='session')
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """Return two seconds on an arc with four cameras."""
    folder: Path = tmp_path_factory.mktemp('rendering')
    return Scenario.load(build_archive(folder, cameras=CAMERAS, ego_hz=100.0))


@pytest.fixture
def make_server(scenario: Scenario) -> Iterator[Callable[..., FakeServer]]:
    """Return a function that starts a FakeServer which has the scenario; all are stopped."""
    servers: list[FakeServer] = []

    def start(*arguments: Any, **options: Any) -> FakeServer:
        options.setdefault('scenes', [scenario.scene_id])
        servers.append(FakeServer(*arguments, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(autouse=True)
def delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the log say soon of a server that it is not there, and looks below gRPC take long."""
    monkeypatch.setattr(policy, 'START_GRACE_S', 0.1)
    monkeypatch.setattr(policy, 'HANDSHAKE_S', 60.0)
    monkeypatch.setattr(address, 'TIMEOUT_S', 60.0)


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Return a renderer that holds every frame until it is let go, at the end at the latest."""
    made = Gate()
    yield made
    made.let_all_go()


class Delivered:
    """What a pipeline delivered and logged, and waiting for it."""

    def __init__(self) -> None:
        self.results: list[Frame | Failure] = []
        self.logs: list[tuple[str, str]] = []

    def __call__(self, result: Frame | Failure) -> None:
        self.results.append(result)

    def log(self, level: str, text: str) -> None:
        self.logs.append((level, text))

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on what was delivered or logged holds; fail if it never does."""
        until(condition, lambda: (self.results, self.logs))

    def said(self, level: str) -> list[str]:
        """Wait until something of a level was logged; return all of it."""
        return until(lambda: self.texts(level), lambda: self.logs)

    @property
    def frames(self) -> list[Frame]:
        return [result for result in self.results if isinstance(result, Frame)]

    @property
    def failures(self) -> list[Failure]:
        return [result for result in self.results if isinstance(result, Failure)]

    def texts(self, level: str) -> list[str]:
        return [text for found, text in self.logs if found == level]


@pytest.fixture
def delivered() -> Delivered:
    return Delivered()


@pytest.fixture
def make_pipeline(
    scenario: Scenario, delivered: Delivered
) -> Iterator[Callable[..., RenderPipeline]]:
    """Return a function that starts a pipeline for a server; all are closed."""
    pipelines: list[RenderPipeline] = []

    def start(server: FakeServer | str, **options: Any) -> RenderPipeline:
        address = server if isinstance(server, str) else server.address
        options.setdefault('image_format', 'png')
        options.setdefault('resolution_scale', 0.01)
        drive = options.pop('scenario', scenario)
        deliver = options.pop('deliver', delivered)
        log = options.pop('log', delivered.log)
        pipeline = RenderPipeline(
            drive,
            RenderOptions(server=address, **options),
            deliver,
            log=log,
        )
        pipelines.append(pipeline)
        pipeline.start()
        return pipeline

    yield start
    # Its threads are not to outlive the test: the next one may count threads, or replace what
    # they use.
    for pipeline in pipelines:
        pipeline.close(60.0)


def due(*cameras: str, t_us: int = 100_000) -> list[Due]:
    """Return one frame of each camera at so many microseconds after the scenario's start."""
    return [Due(camera, (START_US + t_us) * 1000) for camera in cameras]
