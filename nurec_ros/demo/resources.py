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
What a demo takes of a machine and gives back: a folder, child processes, a ROS domain.

In the folder it replaces its own earlier results alone. Children are started with a log each,
watched, and ended whatever happens. A child gets a session of its own, so that Ctrl-C in the
terminal reaches this process alone, which then ends the children in order. Should this process be
killed, the kernel ends them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
import fcntl
import os
from pathlib import Path
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from types import TracebackType

from nurec_ros.errors import ConfigurationError, NurecError

LAST_LINES = 12
POLL_S = 0.05
# What each signal gets before the next one is sent.
PATIENCE_S = {signal.SIGINT: 20.0, signal.SIGTERM: 5.0, signal.SIGKILL: 5.0}
# Becomes the command: the kernel ends it when its parent dies (PR_SET_PDEATHSIG), unless that has.
END_WITH_PARENT = (
    'import ctypes, os, signal, sys; ctypes.CDLL(None).prctl(1, signal.SIGTERM); '
    'os.getppid() == int(sys.argv[1]) and os.execv(sys.argv[2], sys.argv[2:])'
)
# Few people choose these numbers, and their ports are above those that Linux hands out.
DOMAINS = range(215, 232)
# Within a domain's 250 UDP ports (DDSI-RTPS 9.6.2.3): one that no participant ever binds, and the
# one that its first participant does.
CLAIM, FIRST_PARTICIPANT = 2, 10


class DemoError(NurecError):
    """The demo cannot go on; says which piece failed and shows what it said last."""


class Child:
    """One process, and the file that its output goes to."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self.log = log
        launcher: list[str] = []
        if sys.platform == 'linux':
            launcher = [sys.executable, '-I', '-S', '-c', END_WITH_PARENT, str(os.getpid())]
        with log.open('wb') as output:
            self._process = subprocess.Popen(
                [*launcher, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self._process.poll()

    def check(self) -> None:
        """Raise DemoError where the process has ended by itself."""
        code = self.returncode
        if code is None:
            return
        how = f'exit code {code}' if code >= 0 else f'signal {signal.Signals(-code).name}'
        message = f'{self.name} ended with {how}; {self.last_lines()}'
        raise DemoError(message)

    def last_lines(self) -> str:
        """Quote the end of the log."""
        lines = self.log.read_text(errors='replace').splitlines()[-LAST_LINES:]
        if not lines:
            return f'it said nothing ({self.log} is empty)'
        return '\n    '.join([f'the end of {self.log}:', *lines])

    def wait_for(self, pattern: str, timeout_s: float) -> re.Match[str]:
        """Wait until a line of the log matches; raise DemoError at the end or after the time."""
        deadline = time.monotonic() + timeout_s
        while True:
            ended = self.returncode is not None
            found = re.search(pattern, self.log.read_text(errors='replace'), re.MULTILINE)
            if found:
                return found
            if ended:
                self.check()
            if time.monotonic() > deadline:
                message = f'{self.name} was not ready in {timeout_s:g} s; {self.last_lines()}'
                raise DemoError(message)
            time.sleep(POLL_S)

    def end(self) -> int | None:
        """End the process, firmly in steps; return its exit code, None if nothing could end it."""
        for number, patience in PATIENCE_S.items():
            if self.returncode is not None:
                break
            # The whole session: a child's own children go too.
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
        return self.returncode


class Children:
    """All child processes, as a context manager that leaves none of them running."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self._children: list[Child] = []

    def start(self, name: str, command: Sequence[str]) -> Child:
        """Start a process whose output goes to `<name>.log`."""
        child = Child(name, command, self._folder / f'{name}.log', self._environment)
        self._children.append(child)
        return child

    def check(self) -> None:
        """Raise DemoError where one of them has ended by itself."""
        for child in self._children:
            child.check()

    def end(self) -> dict[str, int | None]:
        """End all, the last one first; return the exit codes by name."""
        codes = {}
        while self._children:
            child = self._children[-1]
            codes[child.name] = child.end()
            self._children.pop()
        return codes

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()


def command(name: str) -> list[str]:
    """Return the command line of one of this package's commands, run by this very Python."""
    # Not `-m`: that looks in the working directory first, where a clone's folder may be named
    # as the package is.
    code = (
        'import sys; sys.path = [folder for folder in sys.path if folder]; '
        f'from nurec_ros.cli.entry import {name}; sys.exit({name}())'
    )
    return [sys.executable, '-c', code]


@contextmanager
def free_domain() -> Iterator[int]:
    """Yield a ROS domain that nobody uses on this machine, and keep other demos away from it."""
    for offset in range(len(DOMAINS)):
        domain = DOMAINS[(os.getpid() + offset) % len(DOMAINS)]
        # Until the first participant is there, which may take a while, another demo sees this.
        claim = _bound(udp_port(domain, CLAIM))
        if claim is None:
            continue
        with claim:
            probe = _bound(udp_port(domain, FIRST_PARTICIPANT))
            if probe is not None:
                probe.close()
                yield domain
                return
    message = f'the ROS domains {DOMAINS[0]} to {DOMAINS[-1]} are all in use; choose --domain-id'
    raise DemoError(message)


def udp_port(domain: int, number: int) -> int:
    """Return one of a domain's UDP ports (DDSI-RTPS 9.6.2.3)."""
    return 7400 + 250 * domain + number


def _bound(port: int) -> socket.socket | None:
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        found.bind(('', port))
    except OSError:
        found.close()
        return None
    return found


METADATA = 'metadata.yaml'
BAG_SUFFIX = '.mcap'
# The folder that a recording is made in, beside the earlier one.
UNFINISHED = '.recording-'


class Files:
    """Where everything goes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.example = folder / 'example.usdz'
        self.recording = folder / 'recording'
        self.contact_sheet = folder / 'contact_sheet.png'
        self.overview = folder / 'overview.png'

    def prepare(self) -> None:
        """
        Make the folder; in it, only what a killed demo left unfinished is removed.

        Raise ConfigurationError where it cannot be, where something of somebody else's stands in
        the recording's place, and where another demo is filling the folder.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise ConfigurationError(f'cannot use {self.folder}: it is a file, expected a folder')
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._check_recording()
            for unfinished in self.folder.glob(f'{UNFINISHED}*'):
                self._remove_unfinished(unfinished)
        except OSError as error:
            message = f'cannot use {self.folder}: {error.strerror or error}'
            raise ConfigurationError(message) from error

    def _check_recording(self) -> None:
        place = self.recording
        if not (place.exists() or place.is_symlink()):
            return
        if place.is_symlink() or not place.is_dir():
            what = 'is not a folder'
        else:
            foreign = sorted(path.name for path in place.iterdir() if not _is_of_a_bag(path))
            if not foreign:
                return
            what = f'holds {foreign[0]}'
        message = f'{place} {what}, so it is no earlier recording to replace: choose --output'
        raise ConfigurationError(message)

    def _remove_unfinished(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
        except BlockingIOError:
            message = f'another demo is filling {self.folder}: choose --output'
            raise ConfigurationError(message) from None
        finally:
            os.close(descriptor)

    @contextmanager
    def new_recording(self) -> Iterator[Path]:
        """
        Yield the place of a new recording, which takes the earlier one's after the block.

        When the block raises, the new one is removed and the earlier results stay as they are.
        """
        # A bag's file is called like its folder: the name is the last one, in a folder of its own.
        beside = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=self.folder))
        # The kernel lets the lock go with the process, however that ends.
        lock = os.open(beside, os.O_RDONLY)
        try:
            # Some network file systems have no locks.
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX)
            fresh = beside / self.recording.name
            yield fresh
            self._check_recording()
            if self.recording.exists():
                self.recording.rename(beside / 'earlier')
            fresh.rename(self.recording)
            # They show the earlier recording.
            self.contact_sheet.unlink(missing_ok=True)
            self.overview.unlink(missing_ok=True)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
            os.close(lock)


def _is_of_a_bag(path: Path) -> bool:
    named = path.name == METADATA or path.suffix == BAG_SUFFIX
    return named and path.is_file() and not path.is_symlink()
