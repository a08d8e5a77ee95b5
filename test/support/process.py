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
"""
A command of this package in a process of its own.

It is forked from a process that has imported the commands already, which is most of a start. What
a test says of the start itself takes `fresh`, a Python of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
import gc
import importlib
from importlib.util import find_spec
import inspect
import multiprocessing
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.forkserver import ensure_running
import os
from pathlib import Path
import re
import signal
import subprocess
import sys
from test.support.waiting import until
import threading

import pytest

END_S = 120.0
# What the process that forks imports: a module that is lacking here is imported by each fork,
# which is slower and nothing else.
COMMANDS = ['nurec_ros.cli.player', 'nurec_ros.ros.player_node']
COMMANDS += ['nurec_ros.cli.control', 'nurec_ros.ros.tool_nodes']
COMMANDS += [f'nurec_ros.{name}' for name in ('preview.server', 'probe.stages', 'example.writer')]
# The C code of these packages' messages, which rclpy imports with their first publisher.
MESSAGES = (
    *('builtin_interfaces', 'diagnostic_msgs', 'geometry_msgs', 'nav_msgs', 'rcl_interfaces'),
    *('rosbag2_interfaces', 'rosgraph_msgs', 'sensor_msgs', 'service_msgs', 'std_msgs'),
    *('std_srvs', 'tf2_msgs', 'type_description_interfaces', 'vision_msgs', 'visualization_msgs'),
)
# What else a player imports while it starts, who drives one, and last this module, which a fork
# begins with.
LATER = ['rosidl_generator_py', 'numpy.ma', 'scipy.interpolate', 'scipy.spatial.transform']
LATER += ['encodings.cp437', 'grpc._channel', 'type_description_interfaces.msg']
LATER += ['test.support.driver', *(f'{one}.{one}_s__rosidl_typesupport_c' for one in MESSAGES)]
IMPORTED = [*COMMANDS, *LATER, __name__]
# In the environment of the process that forks.
FORKS = 'NUREC_TEST_FORKS'
# "2026-11-28 14:03:12.345 [RTPS_TRANSPORT_SHM Error] Failed init_port fastrtps_port7411: …", which
# Fast DDS writes on a busy machine, in colours where it likes to: nothing of it is the command's.
FAST_DDS = re.compile(r'^(?:\x1b\[[\d;]*m)*\d{4}-\d\d-\d\d \S+ (?:\x1b\[[\d;]*m)*\[[A-Z_]+ \w+\]')

if FORKS in os.environ:
    # Only in the process that forks, what each fork would do anew: with its first line of log
    # rclpy asks for the module of a caller, for which `inspect` resolves the path of each one that
    # is imported. And what the garbage collector never looks at stays shared.
    inspect.getmodule(inspect.currentframe())
    gc.freeze()


class Process:
    """
    The command of a module, its `main(arguments)` or what is named behind a colon, under way.

    Its environment is a copy of ours; stdout and stderr go to the file `log`. `code` is its exit
    code, minus the number of a signal that ended it, and None while it runs. `before` is called in
    a forked process before the command, and is pickled on the way there; the default does nothing.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[object],
        log: Path,
        *,
        fresh: bool = False,
        before: Callable[[], object] = bool,
    ) -> None:
        self._log = log
        log.write_bytes(b'')
        words = [str(argument) for argument in arguments]
        self._process: subprocess.Popen[bytes] | ForkServerProcess
        if fresh:
            with log.open('ab') as output:
                self._process = subprocess.Popen(
                    [sys.executable, '-m', module, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
        else:
            details = (module, words, log, dict(os.environ), before)
            self._process = forks().Process(target=_run, args=details, daemon=True)
            self._process.start()
        assert self._process.pid
        self.pid = self._process.pid

    @property
    def code(self) -> int | None:
        """Return the exit code; None while it runs."""
        one = self._process
        return one.poll() if isinstance(one, subprocess.Popen) else one.exitcode

    def _ends(self) -> bool:
        if isinstance(self._process, subprocess.Popen):
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(END_S)
        else:
            self._process.join(END_S)
        return self.code is not None

    @property
    def output(self) -> str:
        """Return what it said so far, without the lines of the middleware's own log."""
        lines = self._log.read_text(errors='replace').splitlines(keepends=True)
        return ''.join(line for line in lines if not FAST_DDS.match(line))

    def alive(self) -> bool:
        """Return True while it runs; its end fails the test."""
        assert self.code is None, f'{self._log.stem} ended ({self.code}):\n{self.output}'
        return True

    def says(self, pattern: str) -> re.Match[str]:
        """Wait until a line of the output matches."""
        return until(
            lambda: re.search(pattern, self.output, re.MULTILINE) if self.alive() else None,
            lambda: f'{pattern!r} in {self.output!r}',
        )

    def wait(self) -> int:
        """Wait for its end and return the exit code."""
        if not self._ends():
            # Left alone it would meet others in its domain.
            self.send_signal(signal.SIGKILL)
            pytest.fail(f'{self._log.stem} does not end:\n{self.output}')
        assert self.code is not None
        return self.code

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.code is None:
            # It may end just then.
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def interrupt(self) -> int:
        """Send SIGINT and return the exit code, however long it has to write."""
        self.send_signal(signal.SIGINT)
        return self.wait()

    def end(self) -> None:
        """End it, whatever it does."""
        self.send_signal(signal.SIGINT)
        if not self._ends():
            self.send_signal(signal.SIGKILL)
            self._ends()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


@cache
def forks() -> ForkServerContext:
    """Return what makes processes that have the package's imports already."""
    context = multiprocessing.get_context('forkserver')
    # What cannot be imported there is passed over in silence.
    assert all(map(find_spec, COMMANDS))
    context.set_forkserver_preload(IMPORTED)
    with pytest.MonkeyPatch.context() as patch:
        # As the commands set them before they import anything.
        patch.setenv('GRPC_VERBOSITY', 'NONE')
        patch.setenv('OPENBLAS_NUM_THREADS', '1')
        patch.setenv(FORKS, '1')
        # Where it starts it looks for what it is to import: a test may have gone elsewhere.
        patch.chdir(Path(__file__).parents[2])
        ensure_running()
    return context


def _run(
    module: str,
    arguments: list[str],
    log: Path,
    environment: dict[str, str],
    before: Callable[[], object],
) -> None:
    threading.Thread(target=_end_with_the_tests, name='tests', daemon=True).start()
    os.environ.clear()
    os.environ.update(environment)
    with log.open('ab') as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sys.argv = [module, *arguments]
    before()
    name, _, function = module.partition(':')
    sys.exit(getattr(importlib.import_module(name), function or 'main')(arguments))


def _end_with_the_tests() -> None:
    """End this process when the one of the tests is gone, which may have been killed."""
    tests = multiprocessing.parent_process()
    assert tests
    tests.join()
    os.kill(os.getpid(), signal.SIGKILL)
