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
"""The command `nurec_player` in a process of its own, for tests that are its clients."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
import signal
import subprocess
import sys
from test.support.listener import Listener
from test.support.middleware import without_middleware
from typing import Any

END_S = 120.0


class RunningPlayer:
    """
    A player under way, as a context manager; it is ended by SIGINT, or killed.

    `parameters` are given as on the command line, `rules` are further ROS arguments; output goes
    to a file in `folder`.
    """

    def __init__(
        self, folder: Path, parameters: Mapping[str, Any] | None = None, *rules: str
    ) -> None:
        words = [f'{name}:={value}' for name, value in (parameters or {}).items()]
        self.name = '/nurec'
        self._path = folder / 'player_output.txt'
        self._clients: dict[tuple[Listener, str], Any] = {}
        with self._path.open('wb') as output:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    '-m',
                    'nurec_ros.cli.player',
                    '--ros-args',
                    *(part for word in words for part in ('-p', word)),
                    *rules,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        """Return what it said so far."""
        return without_middleware(self._path.read_text(errors='replace'))

    def first(self, listener: Listener, messages: list[Any]) -> Any:
        """Wait for the first message, through the player's start; give it."""
        listener.until(lambda: self.alive and messages, 'the first message')
        return messages[0]

    def call(self, listener: Listener, service_type: type, name: str, request: Any = None) -> Any:
        """Call `~/name` and return the answer."""
        client = self.client(listener, service_type, name)
        future = client.call_async(service_type.Request() if request is None else request)
        listener.until(lambda: future.done() or not self.alive, f'the answer of {name}')
        return future.result()

    def client(self, listener: Listener, service_type: type, name: str) -> Any:
        """Return a client of `~/name` that the player knows."""
        key = (listener, name)
        if key not in self._clients:
            self._clients[key] = listener.client(
                service_type, f'{self.name}/{name}', lambda: self.alive
            )
        return self._clients[key]

    def trigger(self, listener: Listener, name: str) -> str:
        """Call a Trigger service that must succeed; give its message."""
        from std_srvs.srv import Trigger

        answer = self.call(listener, Trigger, name)
        assert answer.success, answer.message
        return answer.message

    def seek(self, listener: Listener, t_ns: int) -> None:
        """Seek, which must succeed."""
        from builtin_interfaces.msg import Time
        from rosbag2_interfaces.srv import Seek

        seconds, nanoseconds = divmod(t_ns, 1_000_000_000)
        request = Seek.Request(time=Time(sec=seconds, nanosec=nanoseconds))
        assert self.call(listener, Seek, 'seek', request).success

    @property
    def alive(self) -> bool:
        """Return True while it runs; an end that nobody asked for fails the test."""
        if self.process.poll() is not None:
            raise AssertionError(f'the player ended ({self.process.returncode}):\n{self.output}')
        return True

    def interrupt(self, times: int = 1) -> int:
        """Send SIGINT and wait for the end; give the exit code."""
        for _ in range(times):
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(END_S)

    def __enter__(self) -> RunningPlayer:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(END_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
