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
What all commands have in common: signals, standard streams, the system's limits, the last line.

It imports little, so that the signals are taken before the heavy imports, which take a second.
"""

from __future__ import annotations

import _thread
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
import ctypes
import errno
from importlib.machinery import ExtensionFileLoader
import io
import mmap
import os
from pathlib import Path
import signal
import sys
import threading
import time
import traceback
from types import FrameType
from typing import NoReturn, TextIO, TypeVar

from nurec_ros.errors import NurecError, UnforeseenError

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Set to 1 in the environment, it shows where an unforeseen error comes from.
TRACEBACK = 'NUREC_TRACEBACK'

# For the callback that swallowed the interruption to return.
_AGAIN_S = 0.01
_MEMORY = (
    'out of memory: raise the limit (`ulimit -v`, the memory of the container), or load less '
    '(fewer cameras, fewer scenarios)'
)
_THREADS = (
    'no more threads can be started: raise the limit (`ulimit -u`, `--pids-limit` of the '
    'container, `ulimit -v`), or end other processes'
)

Self = TypeVar('Self', bound='Signals')


class Stopped(BaseException):
    """
    A signal came.

    KeyboardInterrupt, if it strikes code that an import compiles from text, lets Python die of
    the signal at its end although it was caught.
    """


class Signals:
    """
    While entered, the first signal raises Stopped in the main thread; later ones are nothing.

    `ros2 launch` sends a second one in the middle of the clean-up. When it is over they are
    ignored for good: while the interpreter finalises, another SIGINT would kill it. One that was
    ignored from the start, as under nohup, stays so, but for SIGINT and SIGTERM.

    came: whether a signal came, `number` which one. interrupted: whether one raised, which an
    import may turn into an error of its own.
    """

    def __init__(self, *more: signal.Signals) -> None:
        self.came = False
        self.number = 0
        self.interrupted = False
        self._numbers = SIGNALS + more
        self._interrupts = True
        self._lost = False
        self._in_hook = False

    def __enter__(self: Self) -> Self:
        self._numbers = tuple(
            number
            for number in self._numbers
            if number in SIGNALS or signal.getsignal(number) != signal.SIG_IGN
        )
        for number in self._numbers:
            signal.signal(number, self._handle)
        self._hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
        return self

    def __exit__(self, *_: object) -> None:
        for number in self._numbers:
            signal.signal(number, signal.SIG_IGN)
        self._lost = False
        sys.unraisablehook = self._hook

    def interrupt_no_more(self) -> None:
        """Only note a signal from now on."""
        self._interrupts = self._lost = False

    @contextmanager
    def noted(self) -> Iterator[None]:
        """
        Only note a signal meanwhile; the block is to call `check` now and then.

        ROS's Python code has destructors, and what is raised within one of them is lost.
        """
        self.interrupt_no_more()
        try:
            yield
        finally:
            self._interrupts = True
        self.check()

    def check(self) -> None:
        """Raise Stopped where a signal has come."""
        if self.came:
            raise Stopped

    def _handle(self, number: int, frame: FrameType | None) -> None:
        first = not self.came
        if first:
            self.came, self.number = True, number
        if self._interrupts and (first or (self._lost and not self._in_hook)):
            if _loads_an_extension(frame):
                self._raise_later()
                return
            self.interrupted = True
            self._lost = False
            raise Stopped

    def _unraisable(self, unraisable: sys.UnraisableHookArgs) -> None:
        """
        Raise once more what was raised where Python cannot pass it on, and would print it.

        Such places are destructors and the callbacks of weak references; imports have many.
        """
        if not issubclass(unraisable.exc_type, Stopped):
            self._hook(unraisable)
            return
        # What is raised in here would be printed as well.
        self._in_hook = True
        self._raise_later()
        self._in_hook = False

    def _raise_later(self) -> None:
        if not self._lost:
            self._lost = True
            threading.Thread(
                target=self._interrupt_again, name='nurec-signal', daemon=True
            ).start()

    def _interrupt_again(self) -> None:
        while self._lost:
            time.sleep(_AGAIN_S)
            _thread.interrupt_main()


def _loads_an_extension(frame: FrameType | None) -> bool:
    """Return whether C code initialises itself here, which may crash on what is raised: orjson."""
    while frame is not None:
        if isinstance(frame.f_locals.get('self'), ExtensionFileLoader):
            return True
        frame = frame.f_back
    return False


def run_command(
    name: str,
    work: Callable[[Signals], int],
    *,
    signals: Signals | None = None,
    stopped: Callable[[int], int] = lambda number: 128 + number,
    failed: int = 1,
    tell: Callable[[str, int], None] | None = None,
    threads: int = 0,
    megabytes: int = 0,
) -> int:
    """
    Do the work of a command and return its exit code; whatever happens, one line says why.

    work: returns the exit code; stopped: the code after a signal, 0 for what runs until one
    comes; failed: the code for a mistake of the user's (NurecError), any other exception is 1;
    tell: takes reason and code instead of stderr; threads, megabytes: what the command cannot
    start without, of threads and of address space: gRPC and Fast DDS wait for ever, or abort the
    process, where they get none.
    """
    tell = tell or (lambda reason, code: complain(f'{name}: {reason}'))
    open_streams()
    # gRPC's core reads this when it is imported; what it would write to stderr is said by the
    # commands in better words.
    os.environ.setdefault('GRPC_VERBOSITY', 'NONE')
    # Single small products: threads of its own cost OpenBLAS memory and start-up time alone, and
    # where they cannot be had it sends its own process a SIGINT.
    os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
    signals = signals or Signals()
    try:
        with signals:
            # A thread that was begun and not noted would be waited for without end.
            with signals.noted():
                check_limits(threads, megabytes)
            code = work(signals)
    except Stopped:
        code = _told_of_stop(signals, stopped, tell)
    except Exception as error:  # noqa: BLE001, the last line of defence
        # An import that is interrupted may turn the interruption into an error of its own.
        if isinstance(error, NurecError) and not isinstance(error, UnforeseenError):
            code = failed
            tell(str(error), code)
        elif signals.interrupted:
            code = _told_of_stop(signals, stopped, tell)
        else:
            code = 1
            tell(unforeseen(error), code)
            # Threads of libraries that are half set up may never end.
            leave(code)
    finally:
        flush_streams()
    return code


def _told_of_stop(
    signals: Signals, stopped: Callable[[int], int], tell: Callable[[str, int], None]
) -> int:
    code = stopped(signals.number)
    if code:
        tell('interrupted', code)
    return code


def leave(code: int) -> NoReturn:
    """
    End the process without Python's finalisation.

    That takes a quarter of a second, and unwinds threads which are still at work, such as one
    that reads a file: where C++ code of a library lies under one, it aborts the process.
    """
    flush_streams()
    # What rcl has logged to a stdout that C buffers.
    ctypes.CDLL(None).fflush(None)
    os._exit(code)


# Standard streams.


def open_streams() -> None:
    """
    Open /dev/null for standard streams that are closed (`>&-`), and print whatever text comes.

    Else the first socket or file would get their number, and with it what libraries print.
    """
    for number in range(3):
        _open_null_unless_open(number)
    # Python has None in the place of a stream that was closed.
    sys.stdout = sys.stdout or open(1, 'w', closefd=False)  # noqa: SIM115, as long as the process
    sys.stderr = sys.stderr or open(2, 'w', closefd=False)  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')


def _open_null_unless_open(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        # Takes the lowest number that is free.
        os.open(os.devnull, os.O_RDWR)


def say(text: str = '') -> OSError | None:
    """
    Print a line at once; return the error where stdout takes it no more.

    From then on stdout is /dev/null: who reads no further does not stop the work.
    """
    try:
        print(text, flush=True)
    except OSError as error:
        _drop(sys.stdout.fileno())
        return error
    return None


def can_print(text: str) -> bool:
    """Return whether stdout's encoding has what a text holds."""
    try:
        text.encode(sys.stdout.encoding or 'ascii')
    except UnicodeEncodeError:
        return False
    return True


def complain(text: str) -> None:
    """Print a line on stderr, if anybody takes it."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _drop(sys.stderr.fileno())


def flush_streams() -> None:
    """Write out what is buffered; what nobody takes is dropped, else Python would complain."""
    _flush(sys.stdout)
    _flush(sys.stderr)


def _flush(stream: TextIO) -> None:
    try:
        stream.flush()
    except OSError:
        _drop(stream.fileno())


def _drop(number: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


# Limits and errors.


def check_limits(threads: int, megabytes: int) -> None:
    """Raise MemoryError or RuntimeError where so many threads and so much room cannot be had."""
    libc = ctypes.CDLL(None)
    semaphore = ctypes.create_string_buffer(64)
    libc.sem_init(semaphore, 0, 0)
    # Bare ones: each of Python's would reserve a heap of its own.
    started = []
    try:
        with mmap.mmap(-1, max(1, megabytes) << 20):
            for _ in range(threads):
                thread = ctypes.c_ulong()
                if libc.pthread_create(ctypes.byref(thread), None, libc.sem_wait, semaphore):
                    raise RuntimeError("can't start new thread")
                started.append(thread)
    finally:
        for _ in started:
            libc.sem_post(semaphore)
        for thread in started:
            libc.pthread_join(thread, None)


def unforeseen(error: BaseException) -> str:
    """Return one line for an exception that nobody foresaw; the traceback is printed if asked."""
    if os.environ.get(TRACEBACK, '') not in ('', '0'):
        complain(''.join(traceback.format_exception(error)).rstrip())
    chain = list(_chain(error))
    for link in chain:
        text = str(link).lower()
        if 'thread' in text and ("can't start" in text or 'create' in text):
            return _THREADS
        if (
            isinstance(link, MemoryError)
            or getattr(link, 'errno', None) == errno.ENOMEM
            or 'failed to map segment' in text
            or 'cannot allocate memory' in text
        ):
            return _MEMORY
    for link in chain:
        if isinstance(link, ImportError):
            return f'{one_line(link)}; source a ROS 2 distribution, or run `make setup`'
    what = f'unforeseen {type(error).__name__}{_place(error)}: {one_line(error)}'
    if isinstance(error, UnforeseenError):
        what = f'{one_line(error)}{_place(error.__cause__ or error)}'
    return f'{what} ({TRACEBACK}=1 in the environment shows the traceback; please report it)'


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _place(error: BaseException) -> str:
    """Return the line of this package's that an exception came through last."""
    package = Path(__file__).resolve().parent.parent
    frames: Sequence[traceback.FrameSummary] = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        path = Path(frame.filename)
        if package in path.parents:
            return f' at {path.relative_to(package.parent)}:{frame.lineno}'
    return ''


def one_line(error: BaseException) -> str:
    """Return the text of an exception without its line breaks."""
    return ' '.join(str(error).split())
