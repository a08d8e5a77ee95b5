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
The executor's thread: the way into it from other threads, and the timers that run in it.

What is shared across threads in this package, complete: the mailbox below; the render pipeline,
which locks itself; and the cameras' topics, which pipeline threads publish on while the executor
may take them away, and whose publications lock themselves. Everything else belongs to the
executor's thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future as ThreadFuture
from dataclasses import dataclass
import threading
import time
from typing import TypeVar

from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.task import Future
from rclpy.timer import Timer

Result = TypeVar('Result')


class Mailbox:
    """
    Calls that other threads, and callbacks of other groups, leave for the node's own callbacks.

    A guard condition wakes the executor: setting an rclpy future from another thread alone does
    not, so that a coroutine would wait for whatever comes next. The calls must not raise.
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

    async def wait(self, future: ThreadFuture[Result]) -> None:
        """Let the executor go on until a future of another thread is done, however it ends."""
        woken: Future[None] = Future()
        future.add_done_callback(lambda _: self.post(lambda: woken.set_result(None)))
        await woken

    async def inside(self, begin: Callable[[Future[None]], Result]) -> Result:
        """Call `begin` in the executor's thread with a future, and wait until that is done."""
        done: Future[None] = Future()
        results: list[Result] = []

        def call() -> None:
            try:
                results.append(begin(done))
            except Exception as error:  # noqa: BLE001, it belongs to the one who waits
                done.set_exception(error)

        self.post(call)
        await done
        return results[0]


def in_thread(work: Callable[[], Result], name: str) -> ThreadFuture[Result]:
    """
    Run `work` in a thread of its own.

    The thread does not keep the process alive: whoever leaves does not wait for a file.
    """
    future: ThreadFuture[Result] = ThreadFuture()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001, any error belongs to the one who waits
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


@dataclass(slots=True)
class _Rider:
    period_s: float
    call: Callable[[], None]
    next_s: float


class Timers:
    """
    Steady timers, few of them.

    Every timer callback costs rclpy a walk over all of the node's entities, twice: that is most
    of what a player without subscribers does. So what is to be done less often than the clock
    rides on the clock's timer, whose period is `base_period_s`. `now` returns steady seconds.
    """

    def __init__(
        self, node: Node, base_period_s: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._node = node
        self._base_period_s = base_period_s
        self._now = now
        self._riders: list[_Rider] = []
        self.timer(base_period_s, self._ride)

    def timer(self, period_s: float, call: Callable[[], None]) -> Timer:
        """Return a timer of its own; in steady time, whatever `use_sim_time` says."""
        # A timer of rclpy's default clock follows the simulated time that this node publishes,
        # and stands still once use_sim_time is set.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        return self._node.create_timer(period_s, call, clock=clock)

    def every(self, period_s: float, call: Callable[[], None]) -> None:
        """Call `call` every `period_s` seconds, on the shared timer where that is fine enough."""
        if period_s == self._base_period_s:
            self._riders.append(_Rider(0.0, call, 0.0))
        elif period_s < 2 * self._base_period_s:
            self.timer(period_s, call)
        else:
            self._riders.append(_Rider(period_s, call, self._now() + period_s))

    def _ride(self) -> None:
        now_s = self._now()
        # Half a period early is nearer than half a period late.
        soon_s = now_s + self._base_period_s / 2
        for rider in self._riders:
            if rider.next_s <= soon_s:
                rider.call()
                # In step with the first call; what was missed is not made up for.
                behind = (soon_s - rider.next_s) // rider.period_s if rider.period_s else 0
                rider.next_s += (behind + 1) * rider.period_s
