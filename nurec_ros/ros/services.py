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
The services: adapters of a few lines each over the player's methods.

`~/tick`, `~/play_next` and `~/load` answer when their work is done, and the executor goes on
meanwhile: they are coroutines in callback groups of their own. In the default group a pending
service would keep timers and parameters from running. Whatever is raised, known or not, becomes a
refusal.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
import inspect
from typing import Protocol

from nurec_ros.errors import NurecError
from nurec_ros.playback.effects import PlaybackState, StepState
from nurec_ros.ros.outlet import reliable
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from std_srvs.srv import Trigger

try:
    from rosbag2_interfaces import srv as rosbag2
except ImportError:
    rosbag2 = None

WITHOUT_ROSBAG2 = (
    'rosbag2_interfaces is not installed: ~/pause, ~/resume, ~/toggle_paused, ~/is_paused, '
    '~/get_rate, ~/set_rate, ~/seek and ~/play_next are not offered'
)

NS_PER_S = 1_000_000_000

# Calls that wait for their turn: of those that come at once the middleware keeps the last ten
# unless it is told otherwise, and the others are never answered.
QUEUE = reliable(1000)


class Player(Protocol):
    """What the services call."""

    @property
    def is_playing(self) -> bool: ...
    @property
    def rate(self) -> float: ...
    def play(self) -> PlaybackState: ...
    def stop(self) -> PlaybackState: ...
    def reset(self) -> PlaybackState: ...
    def seek(self, t_ns: int) -> PlaybackState: ...
    def set_rate(self, rate: float) -> PlaybackState: ...
    async def tick(self) -> StepState: ...
    async def play_next(self) -> StepState: ...
    async def load(self) -> PlaybackState: ...


# Takes the service's name and what was raised; logs and returns why it did not succeed.
Refuse = Callable[[str, Exception], str]


class OvertakenError(NurecError):
    """Something else moved the clock before a step was done."""


def create_services(node: Node, player: Player, refuse: Refuse) -> None:
    """Offer all services of `player` on its node."""
    # Each waits for something else, and a tick that waits for a renderer must not keep the
    # scenario from being changed.
    stepping, loading = MutuallyExclusiveCallbackGroup(), MutuallyExclusiveCallbackGroup()
    trigger = _TriggerServices(node, refuse)
    trigger.offer('play', player.play)
    trigger.offer('stop', player.stop)
    trigger.offer('reset', player.reset)
    trigger.offer('tick', player.tick, stepping)
    trigger.offer('load', player.load, loading)
    if rosbag2 is None:
        node.get_logger().warning(WITHOUT_ROSBAG2)
    else:
        _Rosbag2Services(node, player, refuse).offer_all(stepping)


class _TriggerServices:
    """Services that answer with the state, or with the reason why not."""

    def __init__(self, node: Node, refused: Refuse) -> None:
        self._node = node
        self._refused = refused

    def offer(
        self,
        name: str,
        action: Callable[[], PlaybackState | Awaitable[PlaybackState]],
        group: MutuallyExclusiveCallbackGroup | None = None,
    ) -> None:
        async def answer_later(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            try:
                return self._confirm(response, await action())  # type: ignore[misc]
            except Exception as error:  # noqa: BLE001, no service may end the node
                return self._refuse(name, response, error)

        def answer(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            try:
                return self._confirm(response, action())  # type: ignore[arg-type]
            except Exception as error:  # noqa: BLE001, no service may end the node
                return self._refuse(name, response, error)

        callback = answer_later if inspect.iscoroutinefunction(action) else answer
        self._node.create_service(
            Trigger, f'~/{name}', callback, qos_profile=QUEUE, callback_group=group
        )

    def _confirm(self, response: Trigger.Response, state: PlaybackState) -> Trigger.Response:
        response.success = True
        response.message = state.to_json()
        return response

    def _refuse(self, name: str, response: Trigger.Response, error: Exception) -> Trigger.Response:
        response.success = False
        response.message = self._refused(name, error)
        return response


class _Rosbag2Services:
    """
    The control surface of `ros2 bag play`.

    Its answers have no room for a reason, so that goes to the log.
    """

    def __init__(self, node: Node, player: Player, refused: Refuse) -> None:
        self._node = node
        self._player = player
        self._refused = refused

    def offer_all(self, stepping: MutuallyExclusiveCallbackGroup) -> None:
        create = partial(self._node.create_service, qos_profile=QUEUE)
        create(rosbag2.Pause, '~/pause', self.pause)
        create(rosbag2.Resume, '~/resume', self.resume)
        create(rosbag2.TogglePaused, '~/toggle_paused', self.toggle_paused)
        create(rosbag2.IsPaused, '~/is_paused', self.is_paused)
        create(rosbag2.GetRate, '~/get_rate', self.get_rate)
        create(rosbag2.SetRate, '~/set_rate', self.set_rate)
        create(rosbag2.Seek, '~/seek', self.seek)
        create(rosbag2.PlayNext, '~/play_next', self.play_next, callback_group=stepping)

    def _done(self, name: str, action: Callable[[], object]) -> bool:
        try:
            action()
        except Exception as error:  # noqa: BLE001, no service may end the node
            self._refused(name, error)
            return False
        return True

    def pause(
        self, _: rosbag2.Pause.Request, response: rosbag2.Pause.Response
    ) -> rosbag2.Pause.Response:
        self._done('pause', self._player.stop)
        return response

    def resume(
        self, _: rosbag2.Resume.Request, response: rosbag2.Resume.Response
    ) -> rosbag2.Resume.Response:
        self._done('resume', self._player.play)
        return response

    def toggle_paused(
        self, _: rosbag2.TogglePaused.Request, response: rosbag2.TogglePaused.Response
    ) -> rosbag2.TogglePaused.Response:
        def toggle() -> None:
            (self._player.stop if self._player.is_playing else self._player.play)()

        self._done('toggle_paused', toggle)
        return response

    def is_paused(
        self, _: rosbag2.IsPaused.Request, response: rosbag2.IsPaused.Response
    ) -> rosbag2.IsPaused.Response:
        self._done('is_paused', lambda: setattr(response, 'paused', not self._player.is_playing))
        return response

    def get_rate(
        self, _: rosbag2.GetRate.Request, response: rosbag2.GetRate.Response
    ) -> rosbag2.GetRate.Response:
        self._done('get_rate', lambda: setattr(response, 'rate', self._player.rate))
        return response

    def set_rate(
        self, request: rosbag2.SetRate.Request, response: rosbag2.SetRate.Response
    ) -> rosbag2.SetRate.Response:
        response.success = self._done('set_rate', lambda: self._player.set_rate(request.rate))
        return response

    def seek(
        self, request: rosbag2.Seek.Request, response: rosbag2.Seek.Response
    ) -> rosbag2.Seek.Response:
        t_ns = request.time.sec * NS_PER_S + request.time.nanosec
        response.success = self._done('seek', lambda: self._player.seek(t_ns))
        return response

    async def play_next(
        self, _: rosbag2.PlayNext.Request, response: rosbag2.PlayNext.Response
    ) -> rosbag2.PlayNext.Response:
        try:
            state = await self._player.play_next()
        except Exception as error:  # noqa: BLE001, no service may end the node
            self._refused('play_next', error)
            response.success = False
            return response
        for camera, reason in state.failed_images.items():
            self._node.get_logger().warning(f'~/play_next, {camera}: {reason}')
        response.success = True
        return response
