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
The executor of a node and its context: what a command starts, and the way into its thread.

What is shared across threads in this package, complete: the mailbox below; the render pipeline,
which locks itself; and the cameras' topics, which pipeline threads publish on while the executor
may take them away, and whose publications lock themselves. Everything else belongs to the
executor's thread, and its timers run in it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future as ThreadFuture
from dataclasses import dataclass
import re
import threading
import time
from typing import Any, TypeVar

from nurec_ros.errors import ConfigurationError
import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidHandle, NameValidationException, ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import get_logger_effective_level, LoggingSeverity, set_logger_level
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from rclpy.timer import Timer

# A value that begins so is read as something else than a text.
YAMLS_OWN = tuple('[{*&!%@`|>')
Result = TypeVar('Result')


def begin_ros(name: str, ros_arguments: Sequence[str]) -> rclpy.Context:
    """
    Return a context of its own for a command, which takes the signals itself.

    With rclpy's handlers the context is dead before anything can be said goodbye to.
    """
    context = rclpy.Context()
    # rcl would say in a line of its own that it failed, before the line that says why.
    set_logger_level('rcl', LoggingSeverity.FATAL)
    try:
        rclpy.init(
            args=[name, *ros_arguments],
            context=context,
            signal_handler_options=SignalHandlerOptions.NO,
        )
    except Exception as error:
        # rcl's parser raises types that differ by release.
        raise ConfigurationError(_refused(error, ros_arguments)) from error
    # Unless the arguments have set another one.
    if get_logger_effective_level('rcl') == LoggingSeverity.FATAL:
        set_logger_level('rcl', LoggingSeverity.UNSET)
    return context


def spin_node(name: str, make: Callable[..., Any], ros_arguments: Sequence[str]) -> None:
    """Make a node, the only one of a command, and spin it until a signal ends that."""
    context = begin_ros(name, ros_arguments)
    try:
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(make(context=context))
        while context.ok():
            executor.spin_once(timeout_sec=0.1)
    except (ParameterException, NameValidationException) as error:
        # rclpy's own, such as of use_sim_time of a wrong type.
        raise ConfigurationError(without_place(error)) from None
    finally:
        context.try_shutdown()


def _refused(error: Exception, ros_arguments: Sequence[str]) -> str:
    """Return why rcl takes the arguments behind --ros-args for none, and how to write them."""
    text = without_place(error)
    if type(error).__name__ == 'UnknownROSArgsError':
        # Its text is Python's of a list.
        unknown = ', '.join(re.findall("'([^']*)'", text)) or text
        return (
            f'--ros-args does not know {unknown}; after it come -p NAME:=VALUE, '
            '--params-file FILE, -r FROM:=TO, --log-level LEVEL and other arguments of ROS 2, '
            'and -- ends them'
        )
    for argument in ros_arguments:
        name, assigned, value = argument.partition(':=')
        if assigned and value[:1] in YAMLS_OWN and argument in text:
            quoted = value.replace("'", "''")
            listed = f'a list is written -p "{name}:=[a, b]"; ' if value[:1] == '[' else ''
            return f'{text}; {listed}if it is a text, quote it for YAML: -p "{name}:=\'{quoted}\'"'
    return text


def without_place(error: BaseException) -> str:
    """Return what rcl says in one line, without where in its sources it was noticed."""
    return re.sub(r', at \S+:\d+', '', ' '.join(str(error).split()))


class Mailbox:
    """
    Calls that other threads, and callbacks of other groups, leave for the node's own callbacks.

    A guard condition wakes the executor: setting an rclpy future from another thread alone does
    not, so that a coroutine would wait for whatever comes next. The calls must not raise.

    Fast DDS may lose a trigger that comes while the executor wakes for something else (mended in
    ros2/rmw_fastrtps#895): what lies here then is called with the shared timer.
    """

    def __init__(self, node: Node, timers: Timers) -> None:
        self._calls: deque[Callable[[], object]] = deque()
        self._guard = node.create_guard_condition(self._deliver)
        timers.every(timers.base_period_s, self._deliver)

    def post(self, call: Callable[[], object]) -> None:
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
        # Of its own: what `begin` starts may be done before it returns, and another thread of the
        # executor go on here.
        begun: Future[Result] = Future()

        def call() -> None:
            try:
                begun.set_result(begin(done))
            except Exception as error:  # noqa: BLE001, it belongs to the one who waits
                begun.set_exception(error)

        self.post(call)
        result: Result = await begun
        await done
        return result


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
        self.base_period_s = base_period_s
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
        if period_s == self.base_period_s:
            self._riders.append(_Rider(0.0, call, 0.0))
        elif period_s < 2 * self.base_period_s:
            self.timer(period_s, call)
        else:
            self._riders.append(_Rider(period_s, call, self._now() + period_s))

    def _ride(self) -> None:
        now_s = self._now()
        # Half a period early is nearer than half a period late.
        soon_s = now_s + self.base_period_s / 2
        for rider in self._riders:
            if rider.next_s <= soon_s:
                rider.call()
                # In step with the first call; what was missed is not made up for.
                behind = (soon_s - rider.next_s) // rider.period_s if rider.period_s else 0
                rider.next_s += (behind + 1) * rider.period_s
