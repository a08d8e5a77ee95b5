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
The scenario that is loaded: taken in place of the one before, and shown as its playback wants.

What comes out of a `Playback` is carried out here; all of it in the executor's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from time import monotonic

from nurec_ros.errors import ConfigurationError, doing, NurecError, UnforeseenError
from nurec_ros.playback.clock import Due
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
)
from nurec_ros.playback.playback import Playback
from nurec_ros.ros.executor import Mailbox, Timers
from nurec_ros.ros.loading import Loaded, ReadScenario
from nurec_ros.ros.outlet import Outlet
from nurec_ros.ros.parameters import Parameters
from nurec_ros.ros.reporter import Reporter
from nurec_ros.ros.topics import ScenarioTopics
from rclpy.task import Future

NO_SCENARIO = 'no scenario is loaded: set the parameter usdz_path and call ~/load'

AGAIN_AFTER_S = 0.5
CLOSING_S = 0.3


class EffectHandler:
    """
    Carries out the effects of the loaded scenario's playback.

    Whatever a callback that is `guarded` raises ends in the log and in the diagnostics.
    """

    def __init__(
        self,
        outlet: Outlet,
        parameters: Parameters,
        reporter: Reporter,
        mailbox: Mailbox,
        timers: Timers,
    ) -> None:
        self.loaded: Loaded | None = None
        self.topics: ScenarioTopics | None = None
        self.closed = False
        self._outlet = outlet
        self._parameters = parameters
        self._reporter = reporter
        self._mailbox = mailbox
        # Who waits for a step, and for a load to be shown.
        self._stepping: dict[Step, Future[None]] = {}
        self._unsettled: list[Future[None]] = []
        self._again = timers.timer(
            AGAIN_AFTER_S, self.guarded('showing a jump again', self._on_again)
        )
        self._again.cancel()

    def need_loaded(self) -> Loaded:
        """Return the loaded scenario; ConfigurationError where there is none."""
        if self.loaded is None:
            raise ConfigurationError(NO_SCENARIO)
        return self.loaded

    def state(self) -> PlaybackState:
        if self.loaded is None:
            return PlaybackState(speed=self._parameters.settings.rate)
        return self.loaded.playback.state()

    def announce(self) -> None:
        if self.loaded is None:
            self._reporter.state_topic.publish(self.state())
        else:
            self.carry_out(self.loaded, [self.loaded.playback.announce()])

    def begin(self, step: Step, done: Future[None]) -> None:
        """Have a step made; `done` gets a result when it is over."""
        loaded = self.need_loaded()
        effects = loaded.playback.step(step)
        self._stepping[step] = done
        self.carry_out(loaded, effects)

    def guarded(self, what: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Return a callback that does nothing once this is closed, and never raises."""

        def call() -> None:
            if self.closed:
                return
            try:
                callback()
            except Exception as error:  # noqa: BLE001, no callback may end the node
                self._reporter.failed(what, error)

        return call

    def tell(self, tell: Callable[[Playback], list[Effect]]) -> None:
        """Tell the playback something, and carry out what follows."""
        if self.loaded is not None:
            self.carry_out(self.loaded, tell(self.loaded.playback))

    def _on_again(self) -> None:
        self._again.cancel()
        self.tell(Playback.again)

    def take(self, found: ReadScenario, shown: Future[None] | None = None) -> PlaybackState:
        """Put a scenario in the place of the one before, or raise and leave all as it was."""
        old, scenario = self.loaded, found.scenario
        new = None
        try:
            with self._parameters.declaring(scenario.cameras, scenario.lidars):
                new = Loaded(
                    self._outlet,
                    found,
                    self._parameters.values,
                    on_lost=self._on_lost,
                    log=self._reporter.log,
                    after=old,
                )
                effects: list[Effect] = []
                if self._parameters.settings.autoplay:
                    effects += new.playback.play()
                announced = new.playback.announce()
                with doing(f'making the topics of {found.asked.usdz_path}'):
                    if self.topics is None:
                        self.topics = ScenarioTopics(
                            self._outlet, lambda: self._parameters.settings, scenario
                        )
                    self.topics.change(scenario, new.watch.ego, found.prepared)
        except BaseException:
            if new is not None:
                new.destroy_topics()
                new.close(0.0)
            raise
        # From here on nothing that fails may keep the new scenario from being shown.
        self.loaded = new
        if old is not None:
            self.guarded('leaving the scenario before', partial(self._leave, old))()
            old.close_beside()
        self.guarded('taking note of the load', partial(self._note, new, found.warnings))()
        # A load that this one overtakes before it was shown is over: who called it goes on.
        self._end_loads()
        if shown is not None:
            self._unsettled.append(shown)
        self.carry_out(new, [*effects, announced])
        return announced.state

    def _leave(self, old: Loaded) -> None:
        try:
            self.carry_out(old, old.playback.leave('~/load'))
        finally:
            old.destroy_topics()

    def _note(self, new: Loaded, warnings: tuple[str, ...]) -> None:
        self._parameters.declare_cameras(new.scenario.cameras, new.scenario.lidars)
        self._reporter.loaded(new, warnings)
        self._reporter.unused(self._parameters.unused_overrides())

    def _end_loads(self) -> None:
        """Let those go on who wait for their load to be shown."""
        while self._unsettled:
            self._unsettled.pop(0).set_result(None)

    def carry_out(self, loaded: Loaded, effects: Iterable[Effect]) -> None:
        """Do what a playback wants done; what fails keeps nothing after it from being done."""
        for effect in effects:
            what = f'carrying out {type(effect).__name__}'
            self.guarded(what, partial(self._carry_out_one, loaded, effect))()

    def _carry_out_one(self, loaded: Loaded, effect: Effect) -> None:
        topics = self.topics
        assert topics is not None  # they are made with the first scenario
        if isinstance(effect, Announce):
            self._reporter.state_topic.publish(effect.state)
        elif isinstance(effect, Render):
            self._render(loaded, effect)
        elif isinstance(effect, Discard):
            loaded.discard()
        elif isinstance(effect, StepDone):
            self._stepping.pop(effect.step).set_result(None)
        elif isinstance(effect, Show):
            topics.show(effect)
            if effect.pose:
                # Once more, now that it is out: publishing takes its time.
                loaded.playback.posed()
        elif isinstance(effect, ShowAll):
            topics.show_all(effect)
            loaded.playback.posed()
        elif isinstance(effect, ShowJump):
            # First, so that those go on even where showing it fails.
            self._end_loads()
            self._again.reset()
            topics.show_jump(effect)
            loaded.playback.posed()

    def _render(self, loaded: Loaded, order: Render) -> None:
        def go_on() -> None:
            if loaded is self.loaded and order.when_out is not None:
                self.carry_out(loaded, order.when_out())

        after = self.guarded('going on after frames', go_on)
        loaded.submit(order, lambda: self._mailbox.post(after))

    def _on_lost(self, loaded: Loaded, frame: Due, error: Exception) -> None:
        """Tell the step under way of a lost frame; in a thread of the pipeline's."""
        reason = str(error)
        if not isinstance(error, NurecError):
            what = 'publishing an image'
            reason = str(UnforeseenError(f'unforeseen error while {what}', error))
            self._mailbox.post(lambda: self._reporter.failed(what, error))
        # Posted before the end of the render is, so that the step hears of it in time.
        if loaded.playback.stepping:
            self._mailbox.post(lambda: loaded.playback.frame_lost(frame, reason))

    def close(self, graph_lives: Callable[[], bool]) -> None:
        """Delete the markers and leave the renderer; takes at most 0.3 s of waiting."""
        self.closed = True
        loaded, topics = self.loaded, self.topics
        if loaded is None or topics is None:
            return
        if graph_lives():
            topics.delete_markers(loaded.playback.position_ns)
        # Subscribers acknowledge the deletion while the renderer is left.
        until_s = monotonic() + CLOSING_S
        loaded.close(CLOSING_S * 2 / 3)
        if graph_lives():
            topics.flush_markers(until_s - monotonic())
