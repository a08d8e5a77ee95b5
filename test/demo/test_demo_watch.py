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
"""Waiting and draining, by a clock of the tests' own."""

from __future__ import annotations

from nurec_ros.demo.watch import (
    drain,
    DRAIN_S,
    may_be_compiling,
    MOST_DRAIN_S,
    Patience,
    SAID_AFTER_S,
    SAID_AGAIN_S,
)
import pytest


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_is_waited_for_is_said_after_a_while_and_once():
    clock, said = Clock(), []
    patience = Patience(said.append, clock)
    patience.note(lambda: 'a')
    assert said == []
    clock.now += SAID_AFTER_S
    for _ in range(3):
        patience.note(lambda: 'a')
    assert said == ['waiting: a']
    patience.note(lambda: 'b')
    assert said == ['waiting: a']
    clock.now += SAID_AGAIN_S
    patience.note(lambda: 'a')
    patience.note(lambda: 'b')
    assert said == ['waiting: a', 'waiting: b']


def test_a_text_that_counts_is_said_less_and_less_often():
    clock, said = Clock(), []
    patience = Patience(said.append, clock)
    for _ in range(301):
        patience.note(lambda: f'{clock.now - 100:.0f} s')
        clock.now += 1
    assert said[:4] == ['waiting: 3 s', 'waiting: 8 s', 'waiting: 18 s', 'waiting: 38 s']
    assert 8 <= len(said) <= 11


@pytest.mark.parametrize(
    ('connected', 'error', 'expected'),
    [('true', '', True), ('false', '', False), ('true', 'out of memory', False)],
)
def test_only_a_server_without_errors_may_be_compiling(connected, error, expected):
    renderer = {'connected': connected, 'last_error': error}
    statuses = {'nurec: playback': ('halted', {}), 'nurec: renderer': ('…', renderer)}
    assert may_be_compiling(statuses) is expected
    assert not may_be_compiling({})


class Queue:
    """Messages that wait, taken a millisecond each; waiting for one takes the time it is given."""

    def __init__(self, clock: Clock, waiting: int, *, endless: bool = False) -> None:
        self.clock, self.waiting, self.taken, self.endless = clock, waiting, 0, endless

    def spin(self, timeout_s: float) -> None:
        if self.waiting or self.endless:
            self.waiting -= 1
            self.taken += 1
            self.clock.now += 0.001
        else:
            self.clock.now += timeout_s


def test_a_long_queue_is_emptied():
    clock = Clock()
    queue = Queue(clock, 2000)
    drain(queue.spin, lambda: queue.taken, clock)
    assert queue.taken == 2000
    assert 2.0 <= clock.now - 100.0 < 2.1


def test_an_empty_queue_is_waited_at_for_a_moment():
    clock = Clock()
    queue = Queue(clock, 0)
    drain(queue.spin, lambda: queue.taken, clock)
    assert DRAIN_S <= clock.now - 100.0 < DRAIN_S + 0.1


def test_a_flood_is_given_up():
    clock = Clock()
    queue = Queue(clock, 0, endless=True)
    drain(queue.spin, lambda: queue.taken, clock)
    assert MOST_DRAIN_S <= clock.now - 100.0 < MOST_DRAIN_S + 0.1
