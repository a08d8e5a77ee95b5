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
"""What other threads leave for the executor, and how it wakes for that."""

from concurrent.futures import Future as ThreadFuture
import threading

from nurec_ros.ros.threads import in_thread, Mailbox
import pytest
from rclpy.executors import SingleThreadedExecutor


@pytest.fixture
def executor(node):
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    yield executor
    executor.shutdown()


@pytest.fixture
def mailbox(node):
    return Mailbox(node)


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


def test_posting_to_a_node_that_is_gone_is_nothing(make_node):
    node = make_node()
    mailbox = Mailbox(node)
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
