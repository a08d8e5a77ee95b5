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
A client that calls the player's services as fast as they are answered, and checks each answer.

One call at a time, so that what must come back is known: the client keeps its own idea of the
playback, and compares.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
import json
from test.support.waiting import until
import time
from typing import Any

SECOND = 1_000_000_000


class Caller:
    """
    Calls and checks; `counts` are the calls by service, `wrong` the answers that were not right.

    `spin` lets the node's executor work for a moment. A call without an answer ends it all.
    """

    def __init__(self, node: Any, spin: Callable[[], None], *, begin_ns: int, end_ns: int) -> None:
        from rcl_interfaces.srv import GetParameters, SetParameters
        from rosbag2_interfaces import srv
        from std_srvs.srv import Trigger

        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.slowest_s = 0.0
        self._spin = spin
        self._begin_ns, self._end_ns = begin_ns, end_ns
        self._kinds: dict[str, Any] = dict.fromkeys(('play', 'stop', 'reset', 'tick'), Trigger)
        self._kinds |= {'get_parameters': GetParameters, 'set_parameters': SetParameters}
        steered = ('pause', 'play_next', 'resume', 'seek', 'toggle_paused')
        for one in (*steered, 'get_rate', 'is_paused', 'set_rate'):
            self._kinds[one] = getattr(srv, one.title().replace('_', ''))
        self._clients = {
            service: node.create_client(kind, f'/nurec/{service}')
            for service, kind in self._kinds.items()
        }
        self._rounds = 0

    def ready(self) -> None:
        """Wait until all services are there."""
        for service, client in self._clients.items():
            until(client.service_is_ready, service, meanwhile=self._spin)

    def call(self, service: str, **fields: Any) -> Any:
        """Call, wait, count, and return the answer."""
        started = time.monotonic()
        future = self._clients[service].call_async(self._kinds[service].Request(**fields))
        what = f'the answer of {service}, after {self.counts},'
        until(future.done, what, meanwhile=self._spin)
        self.slowest_s = max(self.slowest_s, time.monotonic() - started)
        self.counts[service] += 1
        return future.result()

    def _check(self, what: str, found: Any, expected: Any) -> None:
        if found != expected:
            self.wrong.append(f'{what}: {found}, expected {expected}')

    def _trigger(self, service: str) -> dict[str, Any]:
        answer = self.call(service)
        self._check(f'{service}: {answer.message}', answer.success, True)
        return dict(json.loads(answer.message))

    def go_round(self) -> None:
        """Call every service once or more, in an order whose answers are known."""
        self._rounds += 1
        for service, found, expected in self._steps():
            self._check(service, found, expected)

    def _steps(self) -> Iterator[tuple[str, Any, Any]]:
        from builtin_interfaces.msg import Time
        from rclpy.parameter import Parameter

        rate = 0.5 + self._rounds % 7 / 4.0
        yield 'set_rate', self.call('set_rate', rate=rate).success, True
        yield 'get_rate', self.call('get_rate').rate, rate
        values = self.call('get_parameters', names=['rate']).values
        yield 'get_parameters', [value.double_value for value in values], [rate]
        yield 'play', self._trigger('play')['is_playing'], True
        yield 'is_paused', self.call('is_paused').paused, False
        self.call('toggle_paused')
        yield 'is_paused', self.call('is_paused').paused, True
        self.call('resume')
        self.call('pause')
        yield 'stop', self._trigger('stop')['is_playing'], False
        span_ns = self._end_ns - self._begin_ns
        target_ns = self._begin_ns + self._rounds * 314_159_000 % (span_ns // 2) // 1000 * 1000
        at = Time(sec=target_ns // SECOND, nanosec=target_ns % SECOND)
        yield 'seek', self.call('seek', time=at).success, True
        yield 'stop', self._trigger('stop')['current_time_us'], target_ns // 1000
        tick_us = 20_000 + self._rounds % 5 * 10_000
        tick = Parameter('tick_us', value=tick_us).to_parameter_msg()
        results = self.call('set_parameters', parameters=[tick]).results
        yield 'set_parameters', [result.successful for result in results], [True]
        for number in (1, 2):
            answer = self._trigger('tick')
            expected = target_ns // 1000 + number * tick_us
            yield 'tick', answer['current_time_us'], expected
        yield 'play_next', self.call('play_next').success, True
        yield 'stop', self._trigger('stop')['current_time_us'] > expected, True
        if self._rounds % 4 == 0:
            answer = self._trigger('reset')
            yield 'reset', answer['current_time_us'], self._begin_ns // 1000
        yield 'play', self._trigger('play')['speed'], rate
