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
The node: wiring between ROS and the playback.

Timers, services, parameters and the mailbox put commands and time into `Playback`; what comes out
is carried out here. All of it happens in callbacks of the node's default group, whichever program
its executor belongs to; what other threads and the coroutine services have to say comes through
the mailbox. No callback waits for the network or for a file, and whatever one raises ends in a
refusal, or in the log and the diagnostics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
import time
from typing import Any, TypeVar

from nurec_ros.driving.inputs import Input, InputError
from nurec_ros.errors import ConfigurationError, doing, NurecError, UnforeseenError
from nurec_ros.playback.effects import (
    Announce,
    Discard,
    Effect,
    PlaybackState,
    Render,
    Show,
    ShowAll,
    ShowJump,
    Step,
    StepDone,
    StepState,
)
from nurec_ros.playback.playback import Playback
from nurec_ros.playback.schedule import Due
from nurec_ros.rendering.address import root_certificate
from nurec_ros.rendering.policy import RenderOptions
from nurec_ros.ros.ego_inputs import check_source, EgoInputs
from nurec_ros.ros.executor import in_thread, Mailbox, Timers
from nurec_ros.ros.loading import Loaded, read, ReadScenario
from nurec_ros.ros.outlet import Graph
from nurec_ros.ros.parameters import ParameterGate, Parameters
from nurec_ros.ros.reporter import Reporter
from nurec_ros.ros.services import create_services, OvertakenError
from nurec_ros.ros.topics import ScenarioTopics
from rclpy.node import Node
from rclpy.task import Future

NO_SCENARIO = 'no scenario is loaded: set the parameter usdz_path and call ~/load'

LOOK_PERIOD_S = 0.05
REPEAT_PERIOD_S = 0.5
REPORT_PERIOD_S = 1.0
AGAIN_AFTER_S = 0.5
CLOSING_S = 0.3

Result = TypeVar('Result')


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
        self._closed = False
        self._loading = False
        self._loaded: Loaded | None = None
        self._topics: ScenarioTopics | None = None
        # Who waits for a step, and for a load to be shown.
        self._stepping: dict[Step, Future[None]] = {}
        self._unsettled: list[Future[None]] = []
        super().__init__(name, **node_options)
        try:
            with doing('starting the player'):
                self._set_up()
        except BaseException:
            self.destroy_node()
            raise

    def _set_up(self) -> None:
        self._mailbox = Mailbox(self)
        self._graph = Graph(self)
        self.parameters = Parameters(self, self._on_parameters, self._failed)
        settings = self.parameters.settings
        self._reporter = Reporter(self, self.parameters, self._graph)
        self._inputs = EgoInputs(
            self,
            lambda: self.parameters.settings,
            self._take_input,
            lambda text: self._reporter.log('warn', text),
        )
        self._inputs.select(settings.ego_source)
        create_services(self, self, self._reporter.refused)
        timers = Timers(self, 1.0 / settings.clock_rate)
        # Playback is told this, so often.
        tells: dict[str, tuple[float, Callable[[Playback], list[Effect]]]] = {
            'advancing the clock': (1.0 / settings.clock_rate, lambda it: it.advance(_now_ns())),
            'showing the road users': (1.0 / settings.marker_rate, lambda it: it.show_tracks()),
            'looking for subscribers': (LOOK_PERIOD_S, lambda it: it.look(_now_ns())),
            'repeating the halted moment': (REPEAT_PERIOD_S, lambda it: it.repeat(_now_ns())),
        }
        for what, (period_s, tell) in tells.items():
            timers.every(period_s, self._guarded(what, partial(self._tell, tell)))
        timers.every(REPORT_PERIOD_S, self._guarded('reporting', self._report))
        self._again = timers.timer(
            AGAIN_AFTER_S, self._guarded('showing a jump again', self._on_again)
        )
        self._again.cancel()
        if settings.usdz_path:
            self._take(read(settings))
        else:
            # What no later load can mend.
            root_certificate(RenderOptions.of(self.parameters.values).tls_root_certificate)
            self.get_logger().info(f'idle: {NO_SCENARIO}')
            self._reporter.publish_state(self._state())
            self._reporter.unused(self.parameters.unused_overrides())

    # What the services do, for other programs too.

    @property
    def is_playing(self) -> bool:
        """Return whether the clock runs."""
        return self._loaded is not None and self._loaded.playback.is_playing

    @property
    def rate(self) -> float:
        """Return the scenario seconds per wall second."""
        return self.parameters.settings.rate

    def play(self) -> PlaybackState:
        """Let the clock run from its position; at the end from begin."""
        return self._command(lambda playback: playback.play(_now_ns()))

    def stop(self) -> PlaybackState:
        """Halt the clock where it is."""
        return self._command(lambda playback: playback.stop(_now_ns()))

    def reset(self) -> PlaybackState:
        """Put the position back to begin and halt."""
        return self._command(lambda playback: playback.reset(_now_ns()))

    def seek(self, t_ns: int) -> PlaybackState:
        """Set the position, clamped to begin and end; playing goes on."""
        return self._command(lambda playback: playback.seek(_now_ns(), t_ns))

    def set_rate(self, rate: float) -> PlaybackState:
        """Set the rate, and the parameter with it."""
        self.parameters.change('rate', rate)
        return self._state()

    async def tick(self) -> StepState:
        """
        Advance by the parameter `tick_us`; ends when every frame of that span is out or lost.

        The state is that right after the advance, with the track ids that came and went in it.
        Raises OvertakenError where something else moves the clock meanwhile.
        """
        return await self._step(lambda: self.parameters.settings.tick_us * 1000)

    async def play_next(self) -> StepState:
        """Advance to the next frame time of any selected camera, as `tick` does."""
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
                return await self._mailbox.inside(lambda shown: self._take(found, shown))
        finally:
            self._loading = False

    def _command(self, command: Callable[[Playback], list[Effect]]) -> PlaybackState:
        """Put a command into the playback, carry out what follows, and return the state."""
        loaded = self._need_loaded()
        effects = command(loaded.playback)
        self._carry_out(loaded, effects)
        announced = [effect.state for effect in effects if isinstance(effect, Announce)]
        return announced[-1] if announced else self._state()

    async def _step(self, duration_ns: Callable[[], int | None]) -> StepState:
        step = Step()

        def begin(done: Future[None]) -> None:
            loaded = self._need_loaded()
            step.duration_ns = duration_ns()
            effects = loaded.playback.step(_now_ns(), step)
            self._stepping[step] = done
            self._carry_out(loaded, effects)

        await self._mailbox.inside(begin)
        if step.refusal:
            raise ConfigurationError(step.refusal)
        if step.overtaken_by or step.state is None:
            now = self._state().sentence
            raise OvertakenError(f'overtaken by {step.overtaken_by} before it was done; now {now}')
        return replace(step.state, failed_images=step.failed_images)

    def _need_loaded(self) -> Loaded:
        if self._loaded is None:
            raise ConfigurationError(NO_SCENARIO)
        return self._loaded

    def _state(self) -> PlaybackState:
        if self._loaded is None:
            return PlaybackState(speed=self.rate)
        return self._loaded.playback.state()

    def _take_input(self, item: Input | InputError) -> None:
        """Give an input to whatever drives the ego."""
        loaded = self._loaded
        if self._closed or loaded is None:
            return
        effects, reason, sentence = loaded.playback.put(_now_ns(), item)
        self._inputs.restamp(reason, sentence)
        self._carry_out(loaded, effects)

    def _change_source(self, loaded: Loaded) -> None:
        source = self.parameters.settings.ego_source
        effects, jumped_m = loaded.playback.change_ego_source(_now_ns(), source)
        if self._topics is not None:
            self._topics.change_driver()
        if jumped_m:
            self.get_logger().info(
                f'the ego is the recorded one again: it jumped by {jumped_m:.2f} m'
            )
        self._carry_out(loaded, effects)

    # Changing the scenario.

    def _take(self, found: ReadScenario, shown: Future[None] | None = None) -> PlaybackState:
        """Put a scenario in the place of the one before, or raise and leave all as it was."""
        old, scenario = self._loaded, found.scenario
        new = None
        try:
            with self.parameters.declaring(scenario.cameras, scenario.lidars):
                new = Loaded(
                    self._graph,
                    found,
                    self.parameters.values,
                    on_lost=self._on_lost,
                    log=self._reporter.log,
                    after=old,
                )
                effects: list[Effect] = []
                if self.parameters.settings.autoplay:
                    effects += new.playback.play(_now_ns())
                announced = new.playback.announce()
                with doing(f'making the topics of {found.asked.usdz_path}'):
                    if self._topics is None:
                        self._topics = ScenarioTopics(
                            self._graph, lambda: self.parameters.settings, scenario
                        )
                    self._topics.change(scenario, new.watch.ego, found.prepared)
        except BaseException:
            if new is not None:
                new.destroy_topics()
                new.close(0.0)
            raise
        # From here on nothing that fails may keep the new scenario from being shown.
        self._loaded = new
        if old is not None:
            self._guarded('leaving the scenario before', partial(self._leave, old))()
            old.close_beside()
        self._guarded('taking note of the load', partial(self._note, new, found.warnings))()
        # A load that was not shown before this one came is not shown any more.
        self._shown()
        if shown is not None:
            self._unsettled.append(shown)
        self._carry_out(new, [*effects, announced])
        return announced.state

    def _leave(self, old: Loaded) -> None:
        try:
            self._carry_out(old, old.playback.leave('~/load'))
        finally:
            old.destroy_topics()

    def _note(self, new: Loaded, warnings: tuple[str, ...]) -> None:
        self.parameters.declare_cameras(new.scenario.cameras, new.scenario.lidars)
        self._reporter.loaded(new, warnings)
        self._reporter.unused(self.parameters.unused_overrides())

    def _shown(self) -> None:
        """Let those go on who wait for a scenario to be shown."""
        while self._unsettled:
            self._unsettled.pop(0).set_result(None)

    # Carrying out.

    def _carry_out(self, loaded: Loaded, effects: Iterable[Effect]) -> None:
        for effect in effects:
            what = f'carrying out {type(effect).__name__}'
            self._guarded(what, partial(self._carry_out_one, loaded, effect))()

    def _carry_out_one(self, loaded: Loaded, effect: Effect) -> None:
        topics = self._topics
        if isinstance(effect, Announce):
            self._reporter.publish_state(effect.state)
        elif isinstance(effect, Render):
            self._render(loaded, effect)
        elif isinstance(effect, Discard):
            loaded.discard()
        elif isinstance(effect, StepDone):
            self._stepping.pop(effect.step).set_result(None)
        elif topics is None:
            return
        elif isinstance(effect, Show):
            topics.show(effect)
        elif isinstance(effect, ShowAll):
            topics.show_all(effect)
        elif isinstance(effect, ShowJump):
            # Those who wait go on whatever becomes of it.
            self._shown()
            self._again.reset()
            topics.show_jump(effect)

    def _render(self, loaded: Loaded, order: Render) -> None:
        def go_on() -> None:
            if loaded is self._loaded:
                self._carry_out(loaded, loaded.playback.frames_done(_now_ns(), order.ticket))

        noted = self._guarded('taking note of frames', go_on)
        loaded.submit(order, lambda: self._mailbox.post(noted))

    def _on_lost(self, loaded: Loaded, frame: Due, error: Exception) -> None:
        """Tell the step under way of a lost frame; in a thread of the pipeline's."""
        reason = str(error)
        if not isinstance(error, NurecError):
            what = 'publishing an image'
            reason = str(UnforeseenError(f'unforeseen error while {what}', error))
            self._mailbox.post(lambda: self._failed(what, error))
        # Posted before the end of the render is, so that the step hears of it in time.
        if loaded.playback.stepping:
            self._mailbox.post(lambda: loaded.playback.frame_lost(frame, reason))

    def _failed(self, what: str, error: Exception) -> None:
        self._reporter.failed(what, error)

    # Timers.

    def _guarded(self, what: str, callback: Callable[[], None]) -> Callable[[], None]:
        def guarded() -> None:
            if self._closed:
                return
            try:
                callback()
            except Exception as error:  # noqa: BLE001, no callback may end the node
                self._reporter.failed(what, error)

        return guarded

    def _tell(self, tell: Callable[[Playback], list[Effect]]) -> None:
        """Tell the playback something, and carry out what follows."""
        if self._loaded is not None:
            self._carry_out(self._loaded, tell(self._loaded.playback))

    def _on_again(self) -> None:
        self._again.cancel()
        self._tell(lambda playback: playback.again(_now_ns()))

    def _report(self) -> None:
        self._announce()
        self._reporter.publish_diagnostics(
            self._state(),
            self._loaded,
            loading=self._loading,
            clock_topic=self._topics.clock_topic if self._topics is not None else '',
            odd=self._inputs.odd,
        )
        self._inputs.look(None if self._loaded is None else self._loaded.watch.ego)

    def _announce(self) -> None:
        if self._loaded is None:
            self._reporter.publish_state(self._state())
        else:
            self._carry_out(self._loaded, [self._loaded.playback.announce()])

    # Parameters.

    def _on_parameters(self, changed: frozenset[str]) -> None:
        values, loaded = self.parameters.values, self._loaded
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
            loaded.playback.set_rate(_now_ns(), values.settings.rate)
        if 'rate' in changed:
            self._announce()

    # The end.

    def close(self) -> None:
        """Delete the markers and leave the renderer; takes at most 0.3 s of waiting."""
        if self._closed:
            return
        self._closed = True
        loaded, topics = self._loaded, self._topics
        if loaded is None or topics is None:
            return
        if self.context.ok():
            topics.delete_markers(loaded.playback.position_ns)
        # Subscribers acknowledge the deletion while the renderer is left.
        until_s = time.monotonic() + CLOSING_S
        loaded.close(CLOSING_S * 2 / 3)
        if self.context.ok():
            topics.flush_markers(until_s - time.monotonic())

    def destroy_node(self) -> None:
        """Close, and remove the node from the graph."""
        self.close()
        super().destroy_node()


def _now_ns() -> int:
    return time.monotonic_ns()
