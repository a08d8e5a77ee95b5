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
The way from other threads into the executor's thread, and the thread that reads files.

What is shared across threads in this package, complete: the mailbox below; the render pipeline,
which locks itself; and each camera's publisher, which pipeline threads publish on while the
executor may destroy it, and which locks itself as well. Everything else belongs to the
executor's thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future as ThreadFuture
import threading
from typing import Any, TypeVar

from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.task import Future

Result = TypeVar('Result')


class Mailbox:
    """
    Calls that other threads leave for the executor.

    A guard condition wakes the executor: setting an rclpy future from another thread alone does
    not, so that a coroutine would wait for whatever comes next.
    """

    def __init__(self, node: Node) -> None:
        self._calls: deque[Callable[[], None]] = deque()
        self._guard = node.create_guard_condition(self._deliver)

    def post(self, call: Callable[[], None]) -> None:
        """Have `call` made in the executor's thread, soon; from any thread, never blocks."""
        self._calls.append(call)
        try:
            self._guard.trigger()
        except InvalidHandle:
            # The node is gone, and with it everybody who waited.
            self._calls.clear()

    def _deliver(self) -> None:
        # Only what is there now: a call that posts another one must not keep the timers waiting.
        for _ in range(len(self._calls)):
            self._calls.popleft()()

    async def wait(self, future: ThreadFuture[Any]) -> None:
        """Let the executor go on until a future of another thread is done, however it ends."""
        woken: Future = Future()
        future.add_done_callback(lambda _: self.post(lambda: woken.set_result(None)))
        await woken


def in_thread(work: Callable[[], Result], name: str) -> ThreadFuture[Result]:
    """
    Run `work` in a thread of its own.

    The thread does not keep the process alive: whoever leaves does not wait for a file.
    """
    future: ThreadFuture[Result] = ThreadFuture()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001, any error belongs to the one who waits for it
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
