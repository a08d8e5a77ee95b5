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
The command `nurec_player`: one player in a process of its own.

Its imports are few, so that signals are taken as early as can be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import ctypes
import os
import signal
import socket
import sys
import threading

from nurec_ros.cli.command import leave, run_command, Signals, TRACEBACK
from nurec_ros.cli.options import ros_arguments
from nurec_ros.errors import ConfigurationError

NAME = 'nurec_player'
DESCRIPTION = 'Play a NuRec scenario (USDZ) as a live ROS 2 system.'
MORE = """
Everything is set the ROS way; without usdz_path the player waits for the service ~/load.
`ros2 param describe /nurec NAME` explains each parameter, as config/nurec.yaml does.
"""
EXAMPLES = """
nurec_player --ros-args -p usdz_path:=street.usdz -p server:=localhost:46435
nurec_player --ros-args --params-file config/nurec.yaml -r __node:=second
"""
CODES = '0 after SIGINT or SIGTERM, 1 it cannot start, 2 wrong arguments'

# What a player has within seconds of its start.
THREADS = 32
MEGABYTES = 384

# mallopt's numbers, from malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

_KEPT_BYTES = 128 << 20
# The largest that glibc takes; a raw 4K picture is 25 MB.
_LARGEST_BYTES = 32 << 20
# Each thread has an arena of its own otherwise, each arena keeps that much, and each scenario has
# threads of its own: a player that loads again and again grew to half a gigabyte.
_ARENAS = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the player until a signal ends it; return the process' exit code."""
    stop = _Stop()

    def work(_: Signals) -> int:
        ros = ros_arguments(NAME, DESCRIPTION, argv, more=MORE, examples=EXAMPLES, codes=CODES)
        _run(ros, stop)
        return 0

    code = run_command(
        NAME, work, signals=stop, stopped=lambda _: 0, threads=THREADS, megabytes=MEGABYTES
    )
    if stop.came:
        leave(code)
    return code


class _Stop(Signals):
    """The signals; the first one ends the start-up at once, or wakes the loop, which sees it."""

    def __init__(self) -> None:
        super().__init__()
        self._wake: Callable[[], object] = lambda: None

    def __enter__(self) -> _Stop:
        super().__enter__()
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        # Python runs handlers between bytecodes of the main thread, which may be asleep inside
        # the middleware for long: this descriptor is written to at once.
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(self, *details: object) -> None:
        super().__exit__(*details)
        signal.set_wakeup_fd(-1)
        self._writer.close()

    def wake_with(self, wake: Callable[[], object]) -> None:
        """Call `wake`, in a thread, when a signal comes, or came already."""
        self._wake = wake
        threading.Thread(target=self._watch, name='nurec-signals', daemon=True).start()

    def _watch(self) -> None:
        # Empty when the writer is closed.
        if self._reader.recv(1):
            self._wake()


def keep_freed_memory() -> bool:
    """
    Let glibc keep up to 128 MB of freed memory, in two arenas; return whether it does.

    Several threads that decode and publish raw pictures allocate and free tens of megabytes for
    each. By default glibc returns them at once, and a raw 1080p frame then costs 3000 page faults
    and twice the CPU time. What the user set for malloc by the environment stays.
    """
    by_user = 'GLIBC_TUNABLES' in os.environ or any(
        name.startswith('MALLOC_') for name in os.environ
    )
    if by_user or not sys.platform.startswith('linux'):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library, such as musl
        return False
    kept = mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES) and mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES)
    return bool(kept and mallopt(_M_ARENA_MAX, _ARENAS))


def _run(arguments: list[str], stop: _Stop) -> None:
    keep_freed_memory()
    from nurec_ros.ros.executor import begin_ros, without_place
    from nurec_ros.ros.player_node import NurecPlayer
    from rclpy.exceptions import NameValidationException, ParameterException
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
    from rclpy.logging import get_logger_effective_level, LoggingSeverity

    context = begin_ros(NAME, arguments)
    if get_logger_effective_level('nurec') == LoggingSeverity.DEBUG:
        os.environ.setdefault(TRACEBACK, '1')
    player = None
    try:
        player = NurecPlayer(context=context)
        # An executor that is interrupted while it is made fails in its own destructor.
        stop.interrupt_no_more()
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(player)
        stop.wake_with(lambda: executor.create_task(lambda: None))
        while not stop.came and context.ok():
            executor.spin_once()
    except (ParameterException, NameValidationException) as error:
        # rclpy's own for its own parameters, such as use_sim_time of a wrong type.
        raise ConfigurationError(without_place(error)) from None
    except ExternalShutdownException:
        pass
    finally:
        stop.interrupt_no_more()
        if player is not None:
            player.destroy_node()
        context.try_shutdown()


if __name__ == '__main__':
    sys.exit(main())
