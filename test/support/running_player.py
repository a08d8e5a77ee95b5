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
from test.support.listener import Listener
from test.support.process import Process
from typing import Any


class RunningPlayer(Process):
    """
    A player under way, as a context manager; it is ended by SIGINT, or killed.

    `parameters` are given as on the command line, `rules` are further ROS arguments; output goes
    to a file in `folder`.
    """

    def __init__(
        self, folder: Path, parameters: Mapping[str, Any] | None = None, *rules: object
    ) -> None:
        words = [f'{name}:={value}' for name, value in (parameters or {}).items()]
        options = [part for word in words for part in ('-p', word)]
        super().__init__(
            'nurec_ros.cli.player',
            ['--ros-args', *options, *rules],
            folder / 'player_output.txt',
        )
        self.name = '/nurec'
        self._clients: dict[tuple[Listener, str], Any] = {}

    def first(self, listener: Listener, messages: list[Any]) -> Any:
        """Wait for the first message, through the player's start; give it."""
        listener.until(lambda: self.alive() and messages, 'the first message')
        return messages[0]

    def call(self, listener: Listener, service_type: Any, name: str, request: Any = None) -> Any:
        """Call `~/name` and return the answer."""
        client = self.client(listener, service_type, name)
        future = client.call_async(service_type.Request() if request is None else request)
        listener.until(lambda: future.done() or not self.alive(), f'the answer of {name}')
        return future.result()

    def client(self, listener: Listener, service_type: type, name: str) -> Any:
        """Return a client of `~/name` that the player knows."""
        key = (listener, name)
        if key not in self._clients:
            self._clients[key] = listener.client(service_type, f'{self.name}/{name}', self.alive)
        return self._clients[key]

    def trigger(self, listener: Listener, name: str) -> str:
        """Call a Trigger service that must succeed; give its message."""
        from std_srvs.srv import Trigger

        answer = self.call(listener, Trigger, name)
        assert answer.success, answer.message
        return str(answer.message)

    def seek(self, listener: Listener, t_ns: int) -> None:
        """Seek, which must succeed."""
        from builtin_interfaces.msg import Time
        from rosbag2_interfaces.srv import Seek

        seconds, nanoseconds = divmod(t_ns, 1_000_000_000)
        request = Seek.Request(time=Time(sec=seconds, nanosec=nanoseconds))
        assert self.call(listener, Seek, 'seek', request).success

    def __enter__(self) -> RunningPlayer:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
