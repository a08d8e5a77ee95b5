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
"""NurecPlayer in somebody else's program: own context, own executor, nothing global."""

import logging
import signal
from test.support.archives import START_US
from test.support.player_bench import BEGIN_NS, MS, stamp_ns
import threading

from nurec_ros.errors import ConfigurationError, ScenarioError
from nurec_ros.ros.player_node import NurecPlayer
import pytest
import rclpy
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger

pytestmark = pytest.mark.contract


def overrides(**values):
    return [Parameter(name, value=value) for name, value in values.items()]


@pytest.fixture
def context(make_context):
    return make_context()


@pytest.fixture
def make_player(context, usdz):
    """Return a function that makes a player in the test's own context."""
    players = []

    def make(name='nurec', **values):
        values = {'usdz_path': str(usdz), 'server': 'localhost:1', **values}
        player = NurecPlayer(name, context=context, parameter_overrides=overrides(**values))
        players.append(player)
        return player

    yield make
    for player in players:
        player.destroy_node()


class Spun:
    """Nodes spun in a thread; an error in a callback fails the test."""

    def __init__(self, executor, *nodes):
        self.executor = executor
        self.error = None
        self._ended = False
        for node in nodes:
            executor.add_node(node)
        self.thread = threading.Thread(target=self._spin)

    def _spin(self):
        try:
            while not self._ended:
                self.executor.spin_once()
        except Exception as error:  # noqa: BLE001, told to the test at its end
            self.error = error

    def __enter__(self):
        self.thread.start()
        return self

    def turn(self):
        """Wait until the executor has begun to look for work anew since this was called."""
        # It may be at it while it runs the first one.
        for _ in range(2):
            done = threading.Event()
            self.executor.create_task(done.set)
            assert done.wait(60.0), self.error

    def __exit__(self, *_):
        # Not by its shutdown: rclpy takes apart there what its spinning thread still uses.
        self._ended = True
        self.executor.create_task(lambda: None)
        self.thread.join(60.0)
        assert not self.thread.is_alive()
        self.executor.shutdown()
        assert self.error is None


@pytest.mark.parametrize('kind', [SingleThreadedExecutor, MultiThreadedExecutor])
def test_plays_in_any_executor(context, make_player, listener, kind):
    player = make_player()
    clocks = listener.listen(Clock, '/clock')
    with Spun(kind(context=context), player):
        listener.received(clocks, 5)
        client = listener.client(Trigger, '/nurec/tick')
        calls = [client.call_async(Trigger.Request()) for _ in range(3)]
        listener.until(lambda: all(call.done() for call in calls), 'the ticks')
        listener.until(lambda: stamp_ns(clocks[-1]) == BEGIN_NS + 300 * MS, 'the position')


def test_a_node_of_the_host_shares_the_executor(context, make_player, usdz):
    """The host's own timer goes on while the player loads and ticks."""
    player = make_player()
    host = Node('host', context=context)
    fired = []
    host.create_timer(0.01, lambda: fired.append(None))
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(player)
    executor.add_node(host)
    task = executor.create_task(player.load)
    while not task.done():
        executor.spin_once(timeout_sec=1.0)
    assert task.result().current_time_us == START_US
    while len(fired) < 20:
        executor.spin_once(timeout_sec=1.0)
    executor.shutdown()
    host.destroy_node()


def test_triggers_that_the_middleware_loses_leave_nobody_waiting(
    context, make_player, listener, monkeypatch
):
    """Fast DDS loses one now and then (ros2/rmw_fastrtps#895); of this player's, all are lost."""

    def deaf(self, callback):
        guard = Node.create_guard_condition(self, callback)
        guard.trigger = lambda: None
        return guard

    monkeypatch.setattr(NurecPlayer, 'create_guard_condition', deaf)
    with Spun(SingleThreadedExecutor(context=context), make_player()):
        for name in ('load', 'tick', 'tick'):
            client = listener.client(Trigger, f'/nurec/{name}')
            call = client.call_async(Trigger.Request())
            listener.until(call.done, f'the answer to {name}')
            assert call.result().success


def test_methods_answer_as_the_services_do(make_player):
    player = make_player()
    assert player.play().is_playing
    assert player.is_playing
    assert not player.stop().is_playing
    assert player.seek(BEGIN_NS + 500 * MS).seconds_since_start == 0.5
    assert player.set_rate(3).speed == 3.0
    assert player.rate == 3.0
    assert player.reset().seconds_since_start == 0.0
    with pytest.raises(ConfigurationError, match='rate'):
        player.set_rate(1000)


def test_nothing_global_is_taken_signals_logging_and_default_context(make_player):
    def everything():
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        return handlers, [*logging.getLogger().handlers], rclpy.ok()

    before = everything()
    assert not rclpy.ok()
    player = make_player()
    assert everything() == before
    # Closing twice is nothing.
    player.close()
    player.close()
    player.destroy_node()
    assert everything() == before


def test_two_in_one_program(context, make_player, listener, usdz):
    first = make_player('first')
    second = make_player('second', publish_clock=False, frame_prefix='b/')
    with Spun(SingleThreadedExecutor(context=context), first, second):
        for name, ticks in (('first', 2), ('second', 3)):
            client = listener.client(Trigger, f'/{name}/tick')
            for _ in range(ticks):
                call = client.call_async(Trigger.Request())
                listener.until(call.done, f'a tick of {name}')
    assert first.stop().current_time_us == START_US + 200_000
    assert second.stop().current_time_us == START_US + 300_000


@pytest.mark.parametrize(
    ('values', 'error'),
    [
        ({'usdz_path': '/nowhere/drive.usdz'}, ScenarioError),
        ({'rate': 1000.0}, ConfigurationError),
        ({'cameras': ['nobody']}, ConfigurationError),
        ({'start_offset_s': 100.0}, ConfigurationError),
    ],
)
def test_what_cannot_be_raises_and_leaves_no_node(context, make_player, listener, values, error):
    with pytest.raises(error):
        make_player('failed', **values)
    listener.until(
        lambda: 'failed' not in listener.node.get_node_names(), 'the end of the failed node'
    )


def test_destroyed_while_it_is_spun(context, make_player):
    player = make_player()
    with Spun(SingleThreadedExecutor(context=context), player) as spun:
        player.play()
        spun.executor.remove_node(player)
        # rclpy itself stumbles over entities that go while it prepares to wait for them.
        spun.turn()
        player.destroy_node()


def test_the_end_of_the_context_is_taken_calmly(make_context, usdz):
    context = make_context()
    player = NurecPlayer(
        context=context, parameter_overrides=overrides(usdz_path=str(usdz), server='localhost:1')
    )
    rclpy.shutdown(context=context)
    player.destroy_node()
