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
"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
import os
from pathlib import Path
import signal
import threading
from typing import Any

import pytest

with suppress(ImportError):
    import hypothesis

    # The same examples in each run, however long one takes: a change is not judged by the dice.
    hypothesis.settings.register_profile('same', derandomize=True, deadline=None)
    hypothesis.settings.load_profile('same')

# A run in the background ignores SIGINT and SIGQUIT, one under nohup SIGHUP. Children inherit what
# is ignored, and would not end by it; of a handler they inherit nothing.
for _number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)

ROOT = Path(__file__).resolve().parent.parent
# Recordings of real drives, which are NVIDIA's and not in this repository.
DATA = ROOT / (os.environ.get('NUREC_TEST_DATA') or '../shared/data')
DRIVES = {
    'pittsburgh': DATA / 'pittsburgh_adcf7d18.usdz',
    'miami': DATA / 'miami_3b3570b4.usdz',
}
MISSING = [name for name, path in DRIVES.items() if not path.is_file()]


# What takes longest of all, the longest first: begun last, they would keep one worker busy while
# the others have nothing left to do. xdist keeps this order with --no-loadscope-reorder, as in the
# Makefile; the session's files count as one, see below.
LONG = (
    'export/test_export_cluster.py',
    'cli/test_command.py',
    'demo/test_demo_show.py',
    'ros/test_message_log.py',
    'ros/session/',
    'ros/player/test_player_drivers.py',
    'export/test_export_resume.py',
    'ros/player/test_player_driving.py',
    'packaging/test_packaging.py',
    'ros/test_truth_over_ros.py',
    'demo/test_demo_driver.py',
    'ros/player/test_player_parameters.py',
    'export/test_export_command.py',
    'probe/test_probe_run.py',
    'ros/test_control.py',
    'ros/player/',
    'scenario/test_scenario_fuzz.py',
    'ros/',
    'demo/',
    'example/',
)


def pytest_configure(config: pytest.Config) -> None:
    """Let each of several workers collect from another folder on; they run in one order."""
    worker = getattr(config, 'workerinput', None)
    if worker is None or config.args != config.getini('testpaths'):
        return
    # In a fresh clone asserts are rewritten, three times the work of all else: once for all then,
    # as each worker finds what the others have left.
    folders = sorted(str(path) for path in (ROOT / 'test').iterdir() if _holds_tests(path))
    first = int(worker['workerid'].removeprefix('gw')) * len(folders) // worker['workercount']
    config.args[:] = [*folders[first:], *folders[:first]]


def _holds_tests(path: Path) -> bool:
    return path.match('test_*.py') or any(path.rglob('test_*.py'))


def _turn(item: pytest.Item) -> tuple[int, str]:
    name = item.path.relative_to(ROOT / 'test').as_posix()
    return next((i for i, start in enumerate(LONG) if name.startswith(start)), len(LONG)), name


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests of real drives that are not here; the longest first."""
    items.sort(key=_turn)
    out = [item for item in items if not _needs(item).isdisjoint(MISSING)]
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep all tests of the recorded session with one process, which plays it once."""
    from xdist.scheduler import LoadFileScheduling

    if config.getoption('dist') != 'loadfile':
        return None

    class BySession(LoadFileScheduling):
        """Files one by one, but those of the session together."""

        def _split_scope(self, nodeid: str) -> str:
            folder, of_session, _ = nodeid.partition('ros/session/test_session_')
            return folder + of_session if of_session else super()._split_scope(nodeid)

    return BySession(config, log)


def _needs(item: pytest.Item) -> set[object]:
    """Return a test's fixtures, and the names of fixtures that are its parameters."""
    parameters = item.callspec.params.values() if hasattr(item, 'callspec') else ()
    fixtures = getattr(item, 'fixturenames', ())
    return {*fixtures, *(value for value in parameters if isinstance(value, str))}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once what was left out, and why."""
    lacking = {
        'of the node': [name for name in ('rclpy',) if find_spec(name) is None],
        'of the launch file': [name for name in ('launch_ros',) if find_spec(name) is None],
        'of real drives': [f'{DRIVES[name].name} in {DATA.resolve()}' for name in MISSING],
    }
    for what, names in lacking.items():
        if names:
            terminalreporter.write_line(
                f'The tests {what} were left out: there is no {" and no ".join(names)}',
                yellow=True,
            )
    if MISSING:
        terminalreporter.write_line('(NUREC_TEST_DATA names the folder of the drives)')


@pytest.fixture(scope='session')
def pittsburgh() -> Path:
    """Return the archive of a dense city street: 15.6 s, 146 road users."""
    return DRIVES['pittsburgh']


@pytest.fixture(scope='session')
def miami() -> Path:
    """Return the archive of a drive of 16 s with poses at 150 Hz."""
    return DRIVES['miami']


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """Put back what a command that ran in this process left ignored: children would inherit it."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    if threading.current_thread() is threading.main_thread():
        for number, handler in zip(numbers, before, strict=True):
            # None: not set from Python.
            if handler is not None:
                signal.signal(number, handler)
