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
The services: adapters of a line or a few over the player's methods.

`~/tick`, `~/play_next` and `~/load` answer when their work is done, and the executor goes on
meanwhile: they are coroutines in callback groups of their own. In the default group a pending
service would keep timers and parameters from running. Whatever is raised, known or not, becomes a
refusal; where an answer has no room for the reason, as those of `ros2 bag play`, it is in the log.
"""

from __future__ import annotations

from collections.abc import Callable
import inspect
from typing import Any, TYPE_CHECKING

from nurec_ros.errors import NurecError
from nurec_ros.playback.effects import PlaybackState
from nurec_ros.ros.outlet import reliable
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from std_srvs.srv import Trigger

if TYPE_CHECKING:
    from nurec_ros.ros.player_node import NurecPlayer

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


# Takes the service's name and what was raised; logs and returns why it did not succeed.
Refuse = Callable[[str, Exception], str]
# Does what a request asks for, and fills in what the response has besides `success`. The types of
# services have nothing in common.
Act = Callable[[Any, Any], object]


class OvertakenError(NurecError):
    """Something else moved the clock before a step was done."""


def create_services(node: Node, player: NurecPlayer, refuse: Refuse) -> None:
    """Offer all services of `player` on its node."""
    # Each waits for something else, and a tick that waits for a renderer must not keep the
    # scenario from being changed.
    stepping, loading = MutuallyExclusiveCallbackGroup(), MutuallyExclusiveCallbackGroup()

    def offer(
        kind: type, name: str, act: Act, group: MutuallyExclusiveCallbackGroup | None = None
    ) -> None:
        answer = _answer(name, act, refuse)
        node.create_service(kind, f'~/{name}', answer, qos_profile=QUEUE, callback_group=group)

    offer(Trigger, 'play', lambda _, response: _tell(response, player.play()))
    offer(Trigger, 'stop', lambda _, response: _tell(response, player.stop()))
    offer(Trigger, 'reset', lambda _, response: _tell(response, player.reset()))

    async def tick(_: Trigger.Request, response: Trigger.Response) -> None:
        _tell(response, await player.tick())

    async def load(_: Trigger.Request, response: Trigger.Response) -> None:
        _tell(response, await player.load())

    offer(Trigger, 'tick', tick, stepping)
    offer(Trigger, 'load', load, loading)
    if rosbag2 is None:
        node.get_logger().warning(WITHOUT_ROSBAG2)
        return

    def toggle(_: rosbag2.TogglePaused.Request, response: rosbag2.TogglePaused.Response) -> None:
        (player.stop if player.is_playing else player.play)()

    def seek(request: rosbag2.Seek.Request, response: rosbag2.Seek.Response) -> None:
        player.seek(request.time.sec * NS_PER_S + request.time.nanosec)

    async def play_next(_: rosbag2.PlayNext.Request, response: rosbag2.PlayNext.Response) -> None:
        state = await player.play_next()
        for camera, reason in state.failed_images.items():
            node.get_logger().warning(f'~/play_next, {camera}: {reason}')

    def is_paused(_: rosbag2.IsPaused.Request, response: rosbag2.IsPaused.Response) -> None:
        response.paused = not player.is_playing

    def get_rate(_: rosbag2.GetRate.Request, response: rosbag2.GetRate.Response) -> None:
        response.rate = player.rate

    def set_rate(request: rosbag2.SetRate.Request, _: rosbag2.SetRate.Response) -> None:
        player.set_rate(request.rate)

    offer(rosbag2.Pause, 'pause', lambda *_: player.stop())
    offer(rosbag2.Resume, 'resume', lambda *_: player.play())
    offer(rosbag2.TogglePaused, 'toggle_paused', toggle)
    offer(rosbag2.IsPaused, 'is_paused', is_paused)
    offer(rosbag2.GetRate, 'get_rate', get_rate)
    offer(rosbag2.SetRate, 'set_rate', set_rate)
    offer(rosbag2.Seek, 'seek', seek)
    offer(rosbag2.PlayNext, 'play_next', play_next, stepping)


def _tell(response: Trigger.Response, state: PlaybackState) -> None:
    response.message = state.to_json()


def _answer(name: str, act: Act, refuse: Refuse) -> Callable[[Any, Any], Any]:
    """Return a service's callback: it does what is asked for, or refuses."""

    def succeeded(response: Any) -> Any:
        if hasattr(response, 'success'):
            response.success = True
        return response

    def refused(response: Any, error: Exception) -> Any:
        reason = refuse(name, error)
        if hasattr(response, 'message'):
            response.message = reason
        return response

    async def answer_later(request: Any, response: Any) -> Any:
        try:
            await act(request, response)  # type: ignore[misc]
        except Exception as error:  # noqa: BLE001, no service may end the node
            return refused(response, error)
        return succeeded(response)

    def answer(request: Any, response: Any) -> Any:
        try:
            act(request, response)
        except Exception as error:  # noqa: BLE001, no service may end the node
            return refused(response, error)
        return succeeded(response)

    return answer_later if inspect.iscoroutinefunction(act) else answer
