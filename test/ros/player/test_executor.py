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
"""The executor's thread: what others leave for it and how it wakes for that, and shared timers."""

from concurrent.futures import Future as ThreadFuture
from itertools import pairwise
from test.support.waiting import until
import threading

from nurec_ros.ros.executor import in_thread, Mailbox, Timers
import pytest
from rclpy.clock import ClockType
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor

# The mailbox.


@pytest.fixture
def executor(node):
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    yield executor
    executor.shutdown()


@pytest.fixture
def mailbox(node):
    """Return one whose timer does not come within a test: its guard condition alone wakes."""
    return Mailbox(node, Timers(node, 3600.0))


def spin(executor, condition):
    """Spin without a timeout: only what wakes the executor ends this."""
    watchdog = threading.Timer(30.0, lambda: executor.create_task(lambda: None))
    watchdog.start()
    while not condition():
        assert watchdog.is_alive(), 'nothing woke the executor'
        executor.spin_once()
    watchdog.cancel()


def test_calls_are_made_in_the_executors_thread_in_order(executor, mailbox):
    made = []

    def post():
        for i in range(100):
            mailbox.post(lambda i=i: made.append((i, threading.get_ident())))

    thread = threading.Thread(target=post)
    thread.start()
    spin(executor, lambda: len(made) == 100)
    thread.join()
    assert made == [(i, threading.get_ident()) for i in range(100)]


def test_a_call_may_post_another(executor, mailbox):
    made = []
    mailbox.post(lambda: mailbox.post(lambda: made.append('second')))
    spin(executor, lambda: made)


@pytest.mark.parametrize('end', ['result', 'exception', 'already'])
def test_waiting_ends_however_the_work_ends(executor, mailbox, end):
    future = ThreadFuture()
    if end == 'already':
        future.set_result(None)
    task = executor.create_task(mailbox.wait, future)
    if end == 'result':
        threading.Timer(0.05, future.set_result, [None]).start()
    elif end == 'exception':
        threading.Timer(0.05, future.set_exception, [ValueError('no')]).start()
    spin(executor, task.done)
    assert future.done()


def test_what_is_done_before_its_beginning_returns_has_its_result(node, mailbox):
    """Another thread of the executor looks at who waits in between."""
    executor = MultiThreadedExecutor(2, context=node.context)
    executor.add_node(node)
    looked = threading.Event()

    def begin(done):
        done.set_result(None)
        executor.create_task(looked.set)
        assert looked.wait(60.0)
        return 'the result'

    task = executor.create_task(mailbox.inside, begin)
    until(task.done, 'the result', meanwhile=lambda: executor.spin_once(timeout_sec=0.1))
    assert task.result() == 'the result'
    executor.shutdown()


def test_posting_to_a_node_that_is_gone_is_nothing(make_node):
    node = make_node()
    mailbox = Mailbox(node, Timers(node, 3600.0))
    node.destroy_node()
    mailbox.post(lambda: pytest.fail('nobody is there to call this'))


def test_in_thread_gives_result_or_error():
    assert in_thread(threading.get_ident, 'worker').result(10.0) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        in_thread(lambda: 1 / 0, 'worker').result(10.0)


def test_in_thread_does_not_keep_the_process_alive():
    released = threading.Event()
    in_thread(released.wait, 'worker')
    worker = next(thread for thread in threading.enumerate() if thread.name == 'worker')
    assert worker.daemon
    released.set()
    worker.join(10.0)


# Timers that ride on one another, in a time that the test makes.


class Host:
    """What a node is to its timers; fires the shared one."""

    def __init__(self):
        self.timers = []
        self.time_s = 0.0

    def create_timer(self, period_s, call, clock):
        assert clock.clock_type == ClockType.STEADY_TIME
        self.timers.append((period_s, call))
        return self.timers[-1]

    def run(self, seconds, late_s=0.0):
        """Fire the shared timer as rclpy does: at whole periods, `late_s` later."""
        period_s, call = self.timers[0]
        for i in range(1, round(seconds / period_s) + 1):
            self.time_s = i * period_s + late_s
            call()


@pytest.fixture
def host():
    return Host()


def counted(host, base_s, *periods_s):
    """Have things called; give the lists of times at which they were."""
    timers = Timers(host, base_s, now=lambda: host.time_s)
    called = []
    for period_s in periods_s:
        times = []
        called.append(times)
        timers.every(period_s, lambda times=times: times.append(round(host.time_s, 6)))
    return called


def test_one_timer_for_all_that_is_slower_and_each_at_its_own_rate(host):
    clock, markers, repeats = counted(host, 0.01, 0.01, 0.1, 0.5)
    assert len(host.timers) == 1
    host.run(3.0)
    assert (len(clock), len(markers), len(repeats)) == (300, 30, 6)
    assert markers[:3] == [0.1, 0.2, 0.3]


def test_periods_that_do_not_fit_keep_their_average(host):
    (times,) = counted(host, 0.01, 0.033)
    host.run(33.0)
    assert len(times) == pytest.approx(1000, abs=1)
    steps = {round(b - a, 6) for a, b in pairwise(times)}
    assert steps == {0.03, 0.04}


def test_lateness_does_not_add_up(host):
    (times,) = counted(host, 0.01, 0.1)
    host.run(10.0, late_s=0.003)
    assert len(times) == 100


def test_what_was_missed_is_not_made_up_for(host):
    (times,) = counted(host, 0.01, 0.1)
    host.time_s = 5.03
    host.timers[0][1]()
    assert times == [5.03]
    host.time_s = 5.04
    host.timers[0][1]()
    assert times == [5.03]
    host.time_s = 5.1
    host.timers[0][1]()
    assert times == [5.03, 5.1]


def test_what_is_faster_has_a_timer_of_its_own(host):
    counted(host, 0.1, 0.1, 0.05, 0.15)
    assert [period_s for period_s, _ in host.timers] == [0.1, 0.05, 0.15]
