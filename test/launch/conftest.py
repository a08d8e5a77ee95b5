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
"""Fixtures for tests of the launch file: launches in processes of their own, with stand-ins."""

from collections.abc import Callable, Iterator
import contextlib
from functools import partial
import importlib.util
import json
import os
from pathlib import Path
import signal
import stat
import subprocess
import sys

# The same domain as the other ROS tests of this run.
from test.ros.conftest import listener, make_context, ros_environment  # noqa: F401
from test.support.waiting import until
from typing import Any

import pytest

# test/conftest.py says so once.
collect_ignore_glob = [] if importlib.util.find_spec('launch_ros') else ['test_*.py']
if not importlib.util.find_spec('launch_testing'):
    collect_ignore_glob.append('test_main_flow.py')

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LAUNCH_FILE = ROOT / 'launch' / 'nurec.launch.py'
OURS = ('nurec_player', 'nurec_preview', 'nurec_follow')
# Runs a launch file with arguments as `ros2 launch` does, also where ros2cli is not installed.
DRIVER = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

path, *words = sys.argv[1:]
arguments = [tuple(word.split(':=', 1)) for word in words]
source = PythonLaunchDescriptionSource(path)
include = IncludeLaunchDescription(source, launch_arguments=arguments)
service = LaunchService(argv=words)
service.include_launch_description(LaunchDescription([include]))
sys.exit(service.run())
"""


class Launch:
    """A launch under way: its output so far, its stand-ins' reports, Ctrl-C, its end."""

    def __init__(self, process: 'subprocess.Popen[bytes]', folder: Path) -> None:
        self.process = process
        self.folder = folder

    @property
    def output(self) -> str:
        """Return what came on the screen so far."""
        return (self.folder / 'output').read_text()

    def alive(self) -> bool:
        """Return True while it runs; its end fails the test."""
        assert self.process.poll() is None, f'the launch ended:\n{self.output}'
        return True

    def report(self, name: str) -> dict[str, Any]:
        """Return the report of the stand-in for an executable."""
        path = self.folder / f'{name}.json'
        until(lambda: path.is_file() or not self.alive(), f'the report of {name}')
        return json.loads(path.read_text())

    def left(self) -> list[int]:
        """Return the processes that the launch started and that still run."""
        found = []
        for folder in Path('/proc').glob('[0-9]*'):
            # They may end meanwhile; one that ended and is not yet waited for has state Z.
            with contextlib.suppress(OSError):
                state = (folder / 'stat').read_text().rpartition(')')[2].split()[0]
                if os.getsid(int(folder.name)) == self.process.pid and state != 'Z':
                    found.append(int(folder.name))
        return found

    def interrupt(self, times: int = 1) -> int:
        """
        Press Ctrl-C; return the exit code.

        As in a terminal, the signal reaches the launch and all that it started, and the launch
        then sends its own to each of them.
        """
        for _ in range(times):
            os.killpg(self.process.pid, signal.SIGINT)
        return self.end()

    def end(self) -> int:
        """Wait for the end; return the exit code."""
        until(lambda: self.process.poll() is not None, lambda: f'the end of:\n{self.output}')
        return self.process.returncode

    def refused(self, sentence: str) -> None:
        """Wait for the end, with a sentence, of a launch that started nothing."""
        assert self.end() == 1
        assert sentence in self.output
        assert 'Traceback' not in self.output
        # Not what an action before the one that failed would have left either.
        assert self.left() == []
        assert list(self.folder.glob('*.json')) == []


def make_prefix(prefix: Path, executables: dict[str, dict[str, str]]) -> Path:
    """Lay out an ament prefix: by package and name the scripts of executables."""
    index = prefix / 'share' / 'ament_index' / 'resource_index' / 'packages'
    index.mkdir(parents=True)
    for package, scripts in executables.items():
        (index / package).touch()
        folder = prefix / 'lib' / package
        folder.mkdir(parents=True)
        for name, script in scripts.items():
            path = folder / name
            path.write_text(f'#!{sys.executable}\n{script}')
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return prefix


def with_prefix(prefix: Path) -> str:
    """Return AMENT_PREFIX_PATH with a prefix before what is there."""
    return os.pathsep.join(filter(None, [str(prefix), os.environ.get('AMENT_PREFIX_PATH')]))


def standins_for(prefix: Path, executables: dict[str, tuple[str, ...]]) -> Path:
    """Lay out an ament prefix where stand-ins take the place of executables."""
    script = (HERE / 'standin.py').read_text()
    return make_prefix(
        prefix, {package: dict.fromkeys(names, script) for package, names in executables.items()}
    )


@pytest.fixture(scope='session')
def standins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an ament prefix where a stand-in takes the place of each executable."""
    executables = {
        'nurec_ros': OURS,
        'rviz2': ('rviz2',),
        'teleop_twist_keyboard': ('teleop_twist_keyboard',),
    }
    return standins_for(tmp_path_factory.mktemp('standins'), executables)


def installed_prefix(folder: Path) -> Path:
    """
    Return the ament prefix that holds the real executables.

    Without `colcon build`, one in `folder` that runs this source tree.
    """
    from ament_index_python.packages import get_package_prefix, PackageNotFoundError

    try:
        prefix = Path(get_package_prefix('nurec_ros'))
    # The second is raised where AMENT_PREFIX_PATH is not set.
    except (PackageNotFoundError, OSError):
        prefix = Path(sys.prefix)
    if (prefix / 'lib' / 'nurec_ros' / 'nurec_player').is_file():
        return prefix
    scripts = {
        name: f'import sys\nsys.path.insert(0, {str(ROOT)!r})\n'
        f'from nurec_ros.cli import entry\nsys.exit(entry.{name.removeprefix("nurec_")}())\n'
        for name in OURS
    }
    return make_prefix(folder / 'prefix', {'nurec_ros': scripts})


@pytest.fixture(scope='session')
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the ament prefix that holds the real executables."""
    return installed_prefix(tmp_path_factory.mktemp('scripts'))


@pytest.fixture
def launch_file(tmp_path: Path) -> Iterator[Callable[..., Launch]]:
    """
    Return a function that starts the launch file, or another: by a prefix, arguments, keywords.

    The keywords are more environment variables; the working folder is the test's `tmp_path`, with
    a `street.usdz` for stand-ins. What still runs after the test has to end with 0 by Ctrl-C.
    """
    started: list[Launch] = []
    (tmp_path / 'street.usdz').touch()

    def start(prefix: Path, *words: str, file: Path = LAUNCH_FILE, **environment: str) -> Launch:
        folder = tmp_path / f'run{len(started)}'
        folder.mkdir()
        with (folder / 'output').open('wb') as output:
            process = subprocess.Popen(
                [sys.executable, '-c', DRIVER, str(file), *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=tmp_path,
                env={
                    **os.environ,
                    'AMENT_PREFIX_PATH': with_prefix(prefix),
                    'ROS_LOG_DIR': str(folder / 'log'),
                    'STANDIN_REPORTS': str(folder),
                    **environment,
                },
                # A process group of its own, for Ctrl-C.
                start_new_session=True,
            )
        started.append(Launch(process, folder))
        return started[-1]

    yield start
    try:
        assert not any(run.interrupt() for run in started if run.process.poll() is None)
    finally:
        for run in started:
            for process in run.left():
                os.kill(process, signal.SIGKILL)
            run.process.wait()


@pytest.fixture
def launched(launch_file: Callable[..., Launch], standins: Path) -> Callable[..., Launch]:
    """Return a function that starts the launch file with stand-ins for the executables."""
    return partial(launch_file, standins)


@pytest.fixture(scope='session')
def launch_module() -> Any:
    """Return the launch file as a module."""
    spec = importlib.util.spec_from_file_location('nurec_launch', LAUNCH_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
