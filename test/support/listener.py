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
"""An observer of ROS topics for tests: collects what comes, spins until it has come."""

from __future__ import annotations

from collections.abc import Callable
from test.support.waiting import LOOK_S, until
import time
from typing import Any

import pytest

# A request whose reply may be lost is sent again after so long.
AGAIN_S = 3.0
# Longer than whatever comes while this process has to wait for its turn.
DEPTH = 1000


def silent() -> Any:
    """
    Return the callbacks of a subscription that hears of no events.

    Each look of rclpy's executor costs by the entities that there are, and events are such.
    """
    try:
        from rclpy.event_handler import SubscriptionEventCallbacks
    except ImportError:  # before Iron
        from rclpy.qos_event import SubscriptionEventCallbacks
    return SubscriptionEventCallbacks(use_default_callbacks=False)


class Listener:
    """
    A node of its own in a context of its own, spun only while a test waits for something.

    With `quick` it is spun by rclpy's executor of events, where there is one: that rebuilds no
    wait set for each message, but fails over a callback that takes a message's details.
    """

    def __init__(self, context: Any, name: str = 'listener', *, quick: bool = False) -> None:
        from rclpy.node import Node

        self.node = Node(name, context=context)
        self._spin(_events_executor() if quick else None)
        self._subscriptions: list[Any] = []

    def _spin(self, kind: Any) -> None:
        from rclpy.executors import SingleThreadedExecutor

        self.executor = (kind or SingleThreadedExecutor)(context=self.node.context)
        self.executor.add_node(self.node)
        self._is_quick = kind is not None

    def listen(self, message_type: type, topic: str, *, latched: bool = False) -> list[Any]:
        """Subscribe, reliably; give the list that the messages will be in."""
        messages: list[Any] = []
        self._subscribe(message_type, topic, messages.append, latched=latched)
        return messages

    def listen_sent(
        self, message_type: type, topic: str, *, latched: bool = False
    ) -> list[tuple[int, Any]]:
        """Subscribe; give the list of when each message was sent, in ns, and the message."""
        from rclpy.subscription import Subscription

        if not hasattr(Subscription, 'CallbackType'):
            pytest.skip('this rclpy does not tell when a message was sent')
        if self._is_quick:
            self.executor.remove_node(self.node)
            self.executor.shutdown()
            self._spin(None)
        messages: list[tuple[int, Any]] = []

        # rclpy looks at the number of parameters.
        def hear(message: Any, info: Any) -> None:
            messages.append((info['source_timestamp'], message))

        self._subscribe(message_type, topic, hear, latched=latched)
        return messages

    def _subscribe(
        self, message_type: type, topic: str, hear: Callable[..., None], *, latched: bool = False
    ) -> None:
        from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

        qos = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        if latched:
            qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
        self._subscriptions.append(
            self.node.create_subscription(message_type, topic, hear, qos, event_callbacks=silent())
        )

    @property
    def subscriptions(self) -> int:
        return len(self._subscriptions)

    def keep(self, count: int) -> None:
        """End all subscriptions but the first ones."""
        while len(self._subscriptions) > count:
            self.node.destroy_subscription(self._subscriptions.pop())

    def until(self, condition: Callable[[], Any], what: str = 'what was waited for') -> Any:
        """Spin until `condition` gives something true, and give that; fail after a while."""
        return until(condition, what, meanwhile=self.turn)

    def turn(self) -> None:
        """Let the executor take what comes within a moment."""
        self.executor.spin_once(timeout_sec=LOOK_S)

    def received(self, messages: list[Any], count: int = 1) -> list[Any]:
        """Spin until there are `count` messages, and give them."""
        self.until(lambda: len(messages) >= count, f'message {count}')
        return messages

    def matched(self, publisher: Any, count: int = 1) -> None:
        """Spin until a publisher, of whatever node, has `count` subscriptions."""
        self.until(lambda: publisher.get_subscription_count() >= count, 'the subscription')

    def client(
        self, service_type: type, name: str, alive: Callable[[], bool] = lambda: True
    ) -> Any:
        """
        Return a client that the service's node knows; `alive` raises where that cannot be.

        A node may get a request before it has found who waits for the reply, which is lost then.
        But it hears of another node's clients in the order in which they were made: once a later
        one has its answer, all are known. That one may ask again and again, it changes nothing.
        """
        from rcl_interfaces.srv import GetParameters

        client = self.node.create_client(service_type, name)
        later = self.node.create_client(GetParameters, name.rpartition('/')[0] + '/get_parameters')
        for one in (client, later):
            self.until(lambda one=one: alive() and one.service_is_ready(), f'service {name}')
        self._asked(later, GetParameters.Request(), f'the first answer for {name}', alive)
        self.node.destroy_client(later)
        return client

    def call(self, service_type: type, name: str, request: Any, server: Any) -> Any:
        """Call a service of a node whose executor, `server`, is spun in turn; give the reply."""
        client = self.node.create_client(service_type, name)
        self.until(client.service_is_ready, f'service {name}')
        what = f'the answer of {name}'
        found = self._asked(client, request, what, lambda: server.spin_once(timeout_sec=0.0))
        self.node.destroy_client(client)
        return found

    def _asked(self, client: Any, request: Any, what: str, meanwhile: Callable[[], object]) -> Any:
        """Send a request, again after a while if its reply may be lost, and give the reply."""
        futures: list[Any] = []
        sent_s = 0.0

        def answered() -> Any:
            nonlocal sent_s
            meanwhile()
            if not futures or time.monotonic() - sent_s > AGAIN_S:
                futures.append(client.call_async(request))
                sent_s = time.monotonic()
            return next((future for future in futures if future.done()), None)

        return self.until(answered, what).result()

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()


def _events_executor() -> Any:
    try:
        from rclpy.experimental import EventsExecutor
    except ImportError:  # before Kilted
        return None
    return EventsExecutor
