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
The player as the demo's own node sees it: topics that say it is ready, the service that starts it.

Everything is asked of ROS. The executor is spun in this thread, a message at a time, so that a
signal or a child's end is noticed at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import json
from pathlib import Path
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nurec_ros.demo.processes import DemoError, wait_until
from nurec_ros.demo.recorder import fields_of, Recorder
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import Trigger

SPIN_S = 0.05
# Every so many steps the topics are looked through again.
LOOK_EVERY = 10
ANSWER_S = 10.0
# Beyond what the player waits for the first frame of a scene, for which servers compile.
COMPILING_S = 330.0
# After the end the queues are emptied: so long at least, so long at most.
DRAIN_S, MOST_DRAIN_S = 1.0, 5.0
# What is waited for is said after so long, and again where it has changed: less and less often,
# since a text may count the seconds.
SAID_AFTER_S, SAID_AGAIN_S, MOST_SAID_AGAIN_S = 3.0, 5.0, 40.0


class Patience:
    """Says what is being waited for: not at once, not too often, and not the same thing twice."""

    def __init__(
        self, say: Callable[[str], object], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._say = say
        self._now = now
        self._next = now() + SAID_AFTER_S
        self._pause_s = SAID_AGAIN_S
        self._said = ''

    def note(self, reason: Callable[[], str]) -> None:
        """Say the reason, if it is time to say something and there is something new."""
        if self._now() < self._next:
            return
        text = reason()
        if text != self._said:
            self._say(f'waiting: {text}')
            self._said = text
            self._next = self._now() + self._pause_s
            self._pause_s = min(2 * self._pause_s, MOST_SAID_AGAIN_S)


class Watch:
    """
    A node that records all topics and knows the player's state; a context manager.

    `check` is called all the while, and raises where it makes no sense to go on.
    """

    def __init__(
        self, recording: Path, check: Callable[[], None], *, player: str = '/nurec'
    ) -> None:
        self.state: dict[str, Any] = {}
        self.diagnostics: dict[str, tuple[str, dict[str, str]]] = {}
        self._check = check
        self._player = player
        self._steps = 0
        self._context = rclpy.Context()
        # This process handles its own signals.
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node(
            'nurec_demo', context=self._context, start_parameter_services=False
        )
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._client = self._node.create_client(Trigger, f'{player}/play')
        listeners = {f'{player}/state': self._on_state, '/diagnostics': self._on_diagnostics}
        self.recorder = Recorder(self._node, recording, listeners)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish the recording and leave ROS."""
        try:
            self.recorder.close()
        finally:
            self._executor.shutdown(timeout_sec=1.0)
            self._node.destroy_node()
            rclpy.try_shutdown(context=self._context)

    def step(self) -> None:
        """Take what has arrived, at most for a twentieth of a second."""
        if self._steps % LOOK_EVERY == 0:
            self._check()
            self.recorder.look()
        self._steps += 1
        self._executor.spin_once(timeout_sec=SPIN_S)

    def image_count(self, camera: str) -> int:
        """Give how many images of a camera have come."""
        return self._count(f'{self._player}/{camera}/image_raw/compressed')

    def _count(self, name: str) -> int:
        topic = self.recorder.topics.get(name)
        return 0 if topic is None else topic.count

    def wait_ready(
        self, cameras: Sequence[str], timeout_s: float, say: Callable[[str], object]
    ) -> None:
        """
        Wait until the player answers, and an image of each camera and a transform are here.

        A server that may be compiling is given more than `timeout_s`.
        """
        patience = Patience(say)
        began = time.monotonic()
        while not self._is_ready(cameras):
            limit_s = COMPILING_S if may_be_compiling(self.diagnostics) else timeout_s
            if time.monotonic() - began > limit_s:
                message = f'{self._missing(cameras)} after {limit_s:g} s'
                raise DemoError(message)
            patience.note(lambda: self._missing(cameras))
            self.step()

    def _is_ready(self, cameras: Sequence[str]) -> bool:
        return bool(
            self.state.get('scenario')
            and self._client.service_is_ready()
            and all(self.image_count(camera) for camera in cameras)
            and self._count('/tf')
        )

    def _missing(self, cameras: Sequence[str]) -> str:
        if not self.state.get('scenario'):
            return f'the player says nothing on {self._player}/state'
        if not self._client.service_is_ready():
            return f'the player has no service {self._player}/play'
        silent = [camera for camera in cameras if not self.image_count(camera)]
        if not silent:
            return 'nothing on /tf'
        renderer = next(
            (text for name, (text, _) in self.diagnostics.items() if name.endswith(': renderer')),
            'nothing',
        )
        return f'no image of {", ".join(silent)} (the player says of the renderer: {renderer})'

    def play(self) -> None:
        """Call `~/play` and wait for its answer; DemoError where it refuses or is silent."""
        future = self._client.call_async(Trigger.Request())
        if not wait_until(future.done, ANSWER_S, self.step):
            message = f'{self._player}/play did not answer in {ANSWER_S:g} s'
            raise DemoError(message)
        answer = future.result()
        if not answer.success:
            message = f'{self._player}/play refused: {answer.message}'
            raise DemoError(message)

    def settle(self) -> None:
        """Take what is still on its way: for a moment, and on until nothing is left waiting."""
        drain(
            lambda timeout_s: self._executor.spin_once(timeout_sec=timeout_s),
            lambda: sum(topic.count for topic in self.recorder.topics.values()),
        )

    def _on_state(self, data: bytes) -> None:
        status = deserialize_message(data, DiagnosticStatus)
        self.state = {key: json.loads(value) for key, value in fields_of(status).items()}

    def _on_diagnostics(self, data: bytes) -> None:
        for status in deserialize_message(data, DiagnosticArray).status:
            self.diagnostics[status.name] = (status.message, fields_of(status))


def may_be_compiling(diagnostics: Mapping[str, tuple[str, Mapping[str, str]]]) -> bool:
    """Say whether the player has a server, and no error of it."""
    return any(
        values.get('connected') == 'true' and not values.get('last_error')
        for name, (_, values) in diagnostics.items()
        if name.endswith(': renderer')
    )


def drain(
    spin: Callable[[float], None],
    count: Callable[[], int],
    now: Callable[[], float] = time.monotonic,
) -> None:
    """
    Take messages one by one until DRAIN_S have passed and none is waiting, at most MOST_DRAIN_S.

    `spin` takes a message, waiting so many seconds for one; `count` says how many have come.
    """
    began = now()
    while now() - began < MOST_DRAIN_S:
        before = count()
        # The player goes on publishing: only a look without waiting tells that the queue is empty.
        spin(0.0)
        if count() > before:
            continue
        if now() - began >= DRAIN_S:
            break
        spin(SPIN_S)
