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
The node, and its services.

Timers, services, parameters and the mailbox put commands and time into `Playback`; what comes out
is carried out by the `EffectHandler`. All of it happens in callbacks of the node's default group,
whichever program its executor belongs to; what other threads and the coroutine services have to
say comes through the mailbox. No callback waits for the network or for a file, and whatever one
raises ends in a refusal, or in the log and the diagnostics.

`~/tick`, `~/play_next` and `~/load` answer when their work is done, and the executor goes on
meanwhile: they are coroutines in callback groups of their own. In the default group a pending
service would keep timers and parameters from running. Where an answer has no room for the reason
of a refusal, as those of `ros2 bag play`, it is in the log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
import inspect
from typing import Any

from nurec_ros.driving.inputs import Input, InputError
from nurec_ros.errors import ConfigurationError, doing
from nurec_ros.playback.effects import Announce, Effect, PlaybackState, Step
from nurec_ros.playback.playback import Playback
from nurec_ros.rendering.address import root_certificate
from nurec_ros.rendering.policy import RenderOptions
from nurec_ros.ros.conversions import time_of
from nurec_ros.ros.effect_handler import EffectHandler, NO_SCENARIO
from nurec_ros.ros.ego_topics import check_source, EgoInputs
from nurec_ros.ros.executor import in_thread, Mailbox, Timers
from nurec_ros.ros.loading import Loaded, read
from nurec_ros.ros.outlet import Graph, reliable
from nurec_ros.ros.parameters import ParameterGate, Parameters
from nurec_ros.ros.reporter import OvertakenError, Reporter
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger

try:
    from rosbag2_interfaces import srv as rosbag2
except ImportError:
    rosbag2 = None

LOOK_PERIOD_S = 0.05
REPEAT_PERIOD_S = 0.5
REPORT_PERIOD_S = 1.0

WITHOUT_ROSBAG2 = (
    'rosbag2_interfaces is not installed: ~/pause, ~/resume, ~/toggle_paused, ~/is_paused, '
    '~/get_rate, ~/set_rate, ~/seek and ~/play_next are not offered'
)
# Calls that wait for their turn: of those that come at once the middleware keeps the last ten
# unless it is told otherwise, and the others are never answered.
QUEUE = reliable(1000)


class NurecPlayer(ParameterGate, Node):  # type: ignore[misc]
    """
    Plays one scenario at a time.

    May live in any program: it takes no signal, configures no logging, and uses the context and
    the executor that it is given to. `node_options` are those of `rclpy.node.Node`. Raises
    NurecError, and leaves no node behind, where parameters or the scenario cannot be used.
    `destroy_node` closes it. Its methods are to be called where its callbacks run: in the
    executor's thread, or before it spins.
    """

    def __init__(self, name: str = 'nurec', **node_options: Any) -> None:
        self._open = self._loading = False
        super().__init__(name, **node_options)
        try:
            with doing('starting the player'):
                self._set_up()
        except BaseException:
            self.destroy_node()
            raise

    def _set_up(self) -> None:
        graph = Graph(self)
        self.parameters = Parameters(
            self,
            self._on_parameters,
            lambda what, error: self._reporter.failed(what, error),
        )
        settings = self.parameters.settings
        self._reporter = Reporter(self, self.parameters, graph)
        timers = Timers(self, 1.0 / settings.clock_rate)
        self._mailbox = Mailbox(self, timers)
        self._effects = EffectHandler(
            graph, self.parameters, self._reporter, self._mailbox, timers
        )
        self._open = True
        self._inputs = EgoInputs(
            self,
            lambda: self.parameters.settings,
            self._take_input,
            lambda text: self._reporter.log('warn', text),
        )
        self._inputs.select(settings.ego_source)
        create_services(self, self._reporter.refused)
        # Playback is told this, so often.
        tells: dict[str, tuple[float, Callable[[Playback], list[Effect]]]] = {
            'advancing the clock': (1.0 / settings.clock_rate, lambda it: it.advance()),
            'showing the road users': (1.0 / settings.marker_rate, lambda it: it.show_tracks()),
            'looking for subscribers': (LOOK_PERIOD_S, lambda it: it.look()),
            'repeating the halted moment': (REPEAT_PERIOD_S, lambda it: it.repeat()),
        }
        guarded = self._effects.guarded
        for what, (period_s, tell) in tells.items():
            timers.every(period_s, guarded(what, partial(self._effects.tell, tell)))
        timers.every(REPORT_PERIOD_S, guarded('reporting', self._report))
        if settings.usdz_path:
            self._effects.take(read(settings))
        else:
            # What no later load can mend.
            root_certificate(RenderOptions.of(self.parameters.values).tls_root_certificate)
            self.get_logger().info(f'idle: {NO_SCENARIO}')
            self._effects.announce()
            self._reporter.unused(self.parameters.unused_overrides())

    # What the services do, for other programs too.

    @property
    def is_playing(self) -> bool:
        loaded = self._effects.loaded
        return loaded is not None and loaded.playback.is_playing

    @property
    def rate(self) -> float:
        """Return the scenario seconds per wall second."""
        return self.parameters.settings.rate

    def play(self) -> PlaybackState:
        """Let the clock run from its position; at the end from begin."""
        return self._command(Playback.play)

    def stop(self) -> PlaybackState:
        """Halt the clock where it is."""
        return self._command(Playback.stop)

    def reset(self) -> PlaybackState:
        """Put the position back to begin and halt."""
        return self._command(Playback.reset)

    def seek(self, t_ns: int) -> PlaybackState:
        """Set the position, clamped to begin and end; playing goes on."""
        return self._command(lambda playback: playback.seek(t_ns))

    def set_rate(self, rate: float) -> PlaybackState:
        """Set the rate, and the parameter with it."""
        self.parameters.change('rate', rate)
        return self._effects.state()

    async def tick(self) -> PlaybackState:
        """
        Advance by the parameter `tick_us`; ends when every frame of that span is out or lost.

        The state is that right after the advance, with the track ids that came and went in it.
        Raises OvertakenError where something else moves the clock meanwhile.
        """
        return await self._step(lambda: self.parameters.settings.tick_us * 1000)

    async def play_next(self) -> PlaybackState:
        """Advance to the next frame time of any selected camera or lidar, as `tick` does."""
        return await self._step(lambda: None)

    async def load(self) -> PlaybackState:
        """
        Read the file of `usdz_path` and play it instead, from begin, halted unless `autoplay`.

        Where that fails, everything stays as it was.
        """
        settings = self.parameters.settings
        self._loading = True
        try:
            reading = in_thread(lambda: read(settings), 'nurec-load')
            await self._mailbox.wait(reading)
            with doing(f'reading {settings.usdz_path}'):
                found = reading.result()
            with doing(f'loading {settings.usdz_path}'):
                return await self._mailbox.inside(lambda shown: self._effects.take(found, shown))
        finally:
            self._loading = False

    def _command(self, command: Callable[[Playback], list[Effect]]) -> PlaybackState:
        """Put a command into the playback, carry out what follows, and return the state."""
        loaded = self._effects.need_loaded()
        effects = command(loaded.playback)
        self._effects.carry_out(loaded, effects)
        announced = [effect.state for effect in effects if isinstance(effect, Announce)]
        return announced[-1] if announced else self._effects.state()

    async def _step(self, duration_ns: Callable[[], int | None]) -> PlaybackState:
        step = Step()

        def begin(done: Future[None]) -> None:
            step.duration_ns = duration_ns()
            self._effects.begin(step, done)

        await self._mailbox.inside(begin)
        if step.error is not None:
            raise step.error
        if step.refusal:
            raise ConfigurationError(step.refusal)
        if step.overtaken_by or step.state is None:
            now = self._effects.state().sentence
            raise OvertakenError(f'overtaken by {step.overtaken_by} before it was done; now {now}')
        return replace(step.state, failed_images=step.failed_images)

    def _take_input(self, item: Input | InputError) -> None:
        loaded = self._effects.loaded
        if not self._open or loaded is None:
            return
        try:
            effects, reason, sentence = loaded.playback.put(item)
        except InputError:
            raise
        except Exception as error:  # noqa: BLE001, no callback may end the node
            self._reporter.failed('taking an input of the ego', error)
            return
        self._inputs.restamp(reason, sentence)
        self._effects.carry_out(loaded, effects)

    def _change_source(self, loaded: Loaded) -> None:
        source = self.parameters.settings.ego_source
        effects, jumped_m = loaded.playback.change_ego_source(source)
        assert self._effects.topics is not None  # they are made with the first scenario
        self._effects.topics.change_driver()
        if jumped_m:
            self.get_logger().info(
                f'the ego is the recorded one again: it jumped by {jumped_m:.2f} m'
            )
        self._effects.carry_out(loaded, effects)

    def _report(self) -> None:
        self._effects.announce()
        loaded, topics = self._effects.loaded, self._effects.topics
        self._reporter.publish_diagnostics(
            self._effects.state(),
            loaded,
            loading=self._loading,
            clock_topic=topics.clock_topic if topics is not None else '',
            odd=self._inputs.odd,
        )
        self._inputs.look(None if loaded is None else loaded.watch.ego)

    # Parameters.

    def _on_parameters(self, changed: frozenset[str]) -> None:
        values, loaded = self.parameters.values, self._effects.loaded
        source = values.settings.ego_source
        if loaded is not None:
            if 'ego_source' in changed:
                check_source(source)  # first what may fail: then nothing has changed
            loaded.update(values, changed)
        if 'ego_source' in changed:
            self._inputs.select(source)
            if loaded is not None:
                self._change_source(loaded)
        if loaded is not None and 'rate' in changed:
            loaded.playback.set_rate(values.settings.rate)
        if 'rate' in changed:
            self._effects.announce()

    # The end.

    def close(self) -> None:
        """Delete the markers and leave the renderer; takes at most 0.3 s of waiting."""
        if self._open:
            self._open = False
            self._effects.close(self.context.ok)

    def destroy_node(self) -> None:
        self.close()
        super().destroy_node()


def create_services(player: NurecPlayer, refuse: Callable[[str, Exception], str]) -> None:
    """
    Offer all services of a player on its node: adapters over its methods.

    `refuse` takes the service's name and what was raised, known or not; it logs and returns why
    it did not succeed.
    """
    # Each waits for something else, and a tick that waits for a renderer must not keep the
    # scenario from being changed.
    stepping, loading = MutuallyExclusiveCallbackGroup(), MutuallyExclusiveCallbackGroup()

    def offer(
        kind: type,
        name: str,
        act: Callable[[Any], object],
        fill: Callable[[Any, Any], None] = lambda response, result: None,
        group: MutuallyExclusiveCallbackGroup | None = None,
    ) -> None:
        """Offer what `act` does of a request; `fill` puts its result into the response."""

        async def answer(request: Any, response: Any) -> Any:
            try:
                result = act(request)
                fill(response, await result if inspect.isawaitable(result) else result)
            except Exception as error:  # noqa: BLE001, no service may end the node
                reason = refuse(name, error)
                if hasattr(response, 'message'):
                    response.message = reason
                return response
            if hasattr(response, 'success'):
                response.success = True
            return response

        player.create_service(kind, f'~/{name}', answer, qos_profile=QUEUE, callback_group=group)

    def tell(response: Trigger.Response, state: PlaybackState) -> None:
        response.message = state.to_json()

    offer(Trigger, 'play', lambda _: player.play(), tell)
    offer(Trigger, 'stop', lambda _: player.stop(), tell)
    offer(Trigger, 'reset', lambda _: player.reset(), tell)
    offer(Trigger, 'tick', lambda _: player.tick(), tell, stepping)
    offer(Trigger, 'load', lambda _: player.load(), tell, loading)
    if rosbag2 is None:
        player.get_logger().warning(WITHOUT_ROSBAG2)
        return

    def warn_of_lost(_: rosbag2.PlayNext.Response, state: PlaybackState) -> None:
        for camera, reason in state.failed_images.items():
            player.get_logger().warning(f'~/play_next, {camera}: {reason}')

    def fill_paused(response: rosbag2.IsPaused.Response, is_playing: bool) -> None:
        response.paused = not is_playing

    def fill_rate(response: rosbag2.GetRate.Response, rate: float) -> None:
        response.rate = rate

    def toggle(_: rosbag2.TogglePaused.Request) -> object:
        return player.stop() if player.is_playing else player.play()

    offer(rosbag2.Pause, 'pause', lambda _: player.stop())
    offer(rosbag2.Resume, 'resume', lambda _: player.play())
    offer(rosbag2.TogglePaused, 'toggle_paused', toggle)
    offer(rosbag2.IsPaused, 'is_paused', lambda _: player.is_playing, fill_paused)
    offer(rosbag2.GetRate, 'get_rate', lambda _: player.rate, fill_rate)
    offer(rosbag2.SetRate, 'set_rate', lambda request: player.set_rate(request.rate))
    offer(rosbag2.Seek, 'seek', lambda request: player.seek(time_of(request.time)))
    offer(rosbag2.PlayNext, 'play_next', lambda _: player.play_next(), warn_of_lost, stepping)
