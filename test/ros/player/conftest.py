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
"""Fixtures of the player's behaviour tests: a small scenario, a server, a running player."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import importlib.util
from pathlib import Path
from test.rendering.fake_server import FakeServer
from test.support.archives import build_archive
from test.support.domain import claim_domain
from test.support.player_bench import Bench, serve
from typing import Any

import pytest

# Claimed by this run, and free: nobody of the tests that used them is left.
FREE_DOMAINS: list[int] = []
TIMES_USED: list[int] = []
# What many tests set at run time, with its defaults.
AS_BEFORE = {'loop': False, 'rate': 1.0, 'tick_us': 100_000, 'camera_rate': 0.0}
AS_BEFORE |= {'resolution_scale': 0.25, 'send_tracks': False, 'always_render': False}

collect_ignore_glob = [] if importlib.util.find_spec('rclpy') else ['test_*.py']


@pytest.fixture(scope='module')
def usdz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a scenario of 2 s with two cameras and four road users."""
    return build_archive(tmp_path_factory.mktemp('usdz'))


@pytest.fixture(scope='module')
def server(usdz: Path) -> Iterator[FakeServer]:
    """Return a render server that has it."""
    with serve(usdz) as running:
        yield running


@pytest.fixture(scope='module')
def benches() -> Iterator[list[Bench]]:
    """Return the players of a module that are under way; they end with it."""
    under_way: list[Bench] = []
    yield under_way
    while under_way:
        _close(under_way[0], under_way)


@pytest.fixture(autouse=True)
def players_of_a_test(benches: list[Bench]) -> Iterator[None]:
    """End with each test the players and subscriptions of its own, which would slow all others."""
    # Fixtures of the module come before.
    before = {bench: bench.listener.subscriptions for bench in benches}
    yield
    for bench in list(benches):
        if bench in before:
            bench.listener.keep(before[bench])
        else:
            _close(bench, benches)


def _close(bench: Bench, benches: list[Bench]) -> None:
    import rclpy

    benches.remove(bench)
    bench.close()
    rclpy.try_shutdown(context=bench.listener.node.context)
    if all(other.domain != bench.domain for other in benches):
        FREE_DOMAINS.append(bench.domain)


@pytest.fixture(scope='module')
def start(benches: list[Bench], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Bench]:
    """
    Return a function that starts a player from parameters and ROS arguments.

    Each has a ROS domain of its own, unless it is given that of another one (`beside`). It lives
    until the end of the test, or of the module where a fixture of the module started it.
    """
    import rclpy

    def run(
        *rules: str,
        name: str = '/nurec',
        beside: Bench | None = None,
        report_s: float = 1.0,
        **parameters: Any,
    ) -> Bench:
        if beside is not None:
            domain = beside.domain
        else:
            domain = FREE_DOMAINS.pop() if FREE_DOMAINS else claim_domain()
        context = rclpy.Context()
        rclpy.init(args=['test'], context=context, domain_id=domain)
        folder = tmp_path_factory.mktemp('player')
        bench = Bench(
            folder, context, parameters, *rules, name=name, quick=True, report_s=report_s
        )
        benches.append(bench)
        return bench

    return run


@pytest.fixture(scope='module')
def running(start: Callable[..., Bench], usdz: Path, server: FakeServer) -> Bench:
    """Return the one player that the tests of a module share."""
    return start(usdz_path=usdz, server=server.address).ready()


@pytest.fixture
def bench(running: Bench) -> Iterator[Bench]:
    """
    Return the shared player, halted at begin.

    AS_BEFORE holds again after the test; else it puts back what it sets.
    """
    begin_ns = running.trigger('reset')['current_time_us'] * 1000
    # A time that no test before has shown: once it is there, nothing of them is still to come.
    TIMES_USED.append(begin_ns + 1000 * (len(TIMES_USED) + 1))
    running.seek(TIMES_USED[-1])
    running.stands(TIMES_USED[-1])
    running.trigger('reset')
    running.stands(begin_ns)
    # What is in them from here on is this test's.
    running.reports.clear()
    yield running
    running.configure(**AS_BEFORE)


@pytest.fixture
def load(bench: Bench, usdz: Path, server: FakeServer) -> Iterator[Callable[..., Any]]:
    """Return a function that has the shared player load; after the test it is as it was."""
    yield bench.load
    bench.load(usdz_path=str(usdz), server=server.address, scene_id='', cameras=[''], lidars=[''])
