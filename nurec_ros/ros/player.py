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
The node: a scenario on a clock, shown on ROS topics and steered by services.

Everything runs in callbacks of one executor, whichever program it belongs to; what other threads
have to say comes through the mailbox. No callback waits for the network or for a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
import threading
import time
from typing import Any

from nurec_ros.errors import ConfigurationError
from nurec_ros.playback.clock import Advance
from nurec_ros.playback.schedule import Due
from nurec_ros.rendering.tls import root_certificate
from nurec_ros.ros.parameters import ParameterGate, Parameters, render_options
from nurec_ros.ros.presenter import frames_of, JUMP_BACK, Presenter
from nurec_ros.ros.reading import Order, read, Reading
from nurec_ros.ros.reporter import difference, Reporter
from nurec_ros.ros.rounds import Rounds
from nurec_ros.ros.services import create_services
from nurec_ros.ros.session import Session
from nurec_ros.ros.state import PlaybackState, StepState
from nurec_ros.ros.steps import OvertakenError, Step, Steps, to_next_frame
from nurec_ros.ros.threads import in_thread, Mailbox
from rclpy.node import Node
from rclpy.task import Future

NO_SCENARIO = 'no scenario is loaded: set the parameter usdz_path and call ~/load'

WATCH_PERIOD_S = 0.05
# While halted, so that a viewer started then sees the moment.
REPEAT_PERIOD_S = 0.5
REPORT_PERIOD_S = 1.0
# rviz has cleared its displays by then, whichever topic reached it first.
AGAIN_AFTER_S = 0.5
CLOSING_S = 0.3


class NurecPlayer(ParameterGate, Node):
    """
    Plays one scenario at a time.

    May live in any program: it takes no signal, configures no logging, and uses the context and
    the executor that it is given to. `node_options` are those of `rclpy.node.Node`. Raises
    NurecError, and leaves no node behind, where parameters or the scenario cannot be used.
    `destroy_node` closes it.
    """

    def __init__(self, name: str = 'nurec', **node_options: Any) -> None:
        # With a single-threaded executor nobody ever waits for this lock. With another one the
        # coroutine services, in groups of their own, would run beside the timers.
        self._lock = threading.RLock()
        self._closed = False
        self._loading = False
        self._session: Session | None = None
        self._presenter: Presenter | None = None
        # Who waits for a jump to be shown.
        self._unsettled: list[Future] = []
        super().__init__(name, **node_options)
        try:
            self._set_up()
        except BaseException:
            self.destroy_node()
            raise

    def _set_up(self) -> None:
        self._mailbox = Mailbox(self)
        self._steps = Steps(self._mailbox.post)
        self.parameters = Parameters(self, self._on_parameters)
        self._reporter = Reporter(self, self.parameters)
        create_services(self)
        clock_period_s = 1.0 / self.parameters.clock_rate
        rounds = Rounds(self, clock_period_s)
        rounds.every(clock_period_s, self._guarded(self._on_clock))
        rounds.every(1.0 / self.parameters.marker_rate, self._guarded(self._on_markers))
        rounds.every(WATCH_PERIOD_S, self._guarded(self._on_watch))
        rounds.every(REPEAT_PERIOD_S, self._guarded(self._on_repeat))
        rounds.every(REPORT_PERIOD_S, self._guarded(self._on_report))
        self._again = rounds.timer(AGAIN_AFTER_S, self._guarded(self._on_again))
        self._again.cancel()
        if self.parameters.usdz_path:
            order = Order.from_parameters(self.parameters)
            self._take(read(order), order)
        else:
            # What no later load can mend.
            root_certificate(render_options(self.parameters))
            self.get_logger().info(f'idle: {NO_SCENARIO}')
            self._publish_state()
            self._reporter.unused(self.parameters.unused_overrides())

    def _guarded(self, callback: Callable[[], None]) -> Callable[[], None]:
        def guarded() -> None:
            with self._lock:
                if not self._closed:
                    callback()

        return guarded

    # What the services do, for other programs too.

    @property
    def is_playing(self) -> bool:
        """Say whether the clock runs."""
        return self._session is not None and self._session.clock.is_playing

    @property
    def rate(self) -> float:
        """Give the scenario seconds per wall second."""
        return float(self.parameters.rate)

    def play(self) -> PlaybackState:
        """Let the clock run from its position; at the end from begin."""
        with self._lock:
            session = self._loaded()
            clock = session.clock
            if clock.is_playing:
                return self._state()
            before_ns = clock.position_ns
            # Whoever came for the picture of this moment may have missed its transform.
            self._presenter.pose(before_ns)
            clock.play()
            session.pictures.forget(session.cameras)
            if clock.position_ns < before_ns:
                self._jump_back(session, '~/play')
            return self._publish_state()

    def stop(self) -> PlaybackState:
        """Halt the clock where it is."""
        with self._lock:
            session = self._loaded()
            if not session.clock.is_playing:
                return self._state()
            session.clock.stop()
            self._presenter.jump()
            return self._publish_state()

    def reset(self) -> PlaybackState:
        """Put the position back to begin and halt."""
        with self._lock:
            session = self._loaded()
            before_ns = session.clock.position_ns
            session.clock.reset()
            return self._jumped(session, before_ns, '~/reset')

    def seek(self, t_ns: int) -> PlaybackState:
        """Set the position, clamped to begin and end; playing goes on."""
        with self._lock:
            session = self._loaded()
            before_ns = session.clock.position_ns
            session.clock.seek(t_ns)
            return self._jumped(session, before_ns, '~/seek')

    def set_rate(self, rate: float) -> PlaybackState:
        """Set the rate, and the parameter with it."""
        with self._lock:
            self.parameters.change('rate', rate)
            return self._state()

    async def tick(self) -> StepState:
        """
        Advance by the parameter `tick_us`; ends when every frame of that span is out or lost.

        The state is that right after the advance, with the track ids that came and went in it.
        Raises OvertakenError where something else moves the clock meanwhile.
        """
        return await self._step(lambda session: self.parameters.tick_us * 1000)

    async def play_next(self) -> StepState:
        """Advance to the next frame time of any selected camera, as `tick` does."""
        return await self._step(to_next_frame)

    async def load(self) -> PlaybackState:
        """
        Read the file of `usdz_path` and play it instead, from begin, halted unless `autoplay`.

        Where that fails, everything stays as it was.
        """
        with self._lock:
            order = Order.from_parameters(self.parameters)
            self._loading = True
        try:
            future = in_thread(lambda: read(order), 'nurec-load')
            await self._mailbox.wait(future)
            with self._lock:
                self._take(future.result(), order)
                state = self._state()
        finally:
            self._loading = False
        await self._settled()
        return state

    def _state(self) -> PlaybackState:
        return self._reporter.state(self._session)

    def _publish_state(self) -> PlaybackState:
        return self._reporter.publish_state(self._session)

    def _loaded(self) -> Session:
        if self._session is None:
            raise ConfigurationError(NO_SCENARIO)
        return self._session

    # Changing the scenario.

    def _take(self, reading: Reading, order: Order) -> None:
        """Put a scenario in the place of the one before, or raise and leave all as it was."""
        scenario = reading.scenario
        old = self._session
        frames = frames_of(self.parameters, scenario)
        self.parameters.declare_cameras(scenario.cameras)
        try:
            session = Session(
                self,
                self.parameters,
                frames,
                reading,
                order,
                self._mailbox.post,
                self._reporter.log,
            )
            presenter = self._presenter or Presenter(self, self.parameters, scenario)
        except BaseException:
            self.parameters.declare_cameras(() if old is None else old.scenario.cameras)
            raise
        session.on_released = lambda: self._on_released(session)
        session.on_failure = self._steps.lose
        self._session, self._presenter = session, presenter
        presenter.change(scenario)
        if old is not None:
            self._steps.overtake('~/load')
            old.jumped_back()
            old.destroy_publishers()
            threading.Thread(target=old.close, name='nurec-close', daemon=True).start()
        self._reporter.loaded(session, reading.warnings, order.path)
        self._reporter.unused(self.parameters.unused_overrides())
        session.start()
        if self.parameters.autoplay:
            session.clock.play()
        self._publish_state()

    # Moving.

    def _go_on(self, session: Session) -> None:
        """Let the clock follow the wall, and show what that passes over."""
        advance = session.advance()
        if advance.wrapped:
            session.drop(advance)
            self._jump_back(session, 'the start of the next lap')
            self._presenter.clock(advance.position_ns)
            self._publish_state()
            return
        due = session.due(advance)
        self._presenter.clock(advance.position_ns)
        self._presenter.pose(advance.position_ns, _times(due))
        session.render(due)
        if advance.finished:
            self._presenter.tracks(advance.position_ns)
            self._publish_state()

    async def _step(self, duration_ns: Callable[[Session], int]) -> StepState:
        """Advance by an exact duration, have the frames of it rendered, and wait for them."""
        await self._settled()
        with self._lock:
            session = self._loaded()
            state, step = self._advance(session, duration_ns(session))
        try:
            await self._settled()
            with self._lock:
                if not step.due:
                    step.end()
                elif not step.overtaken_by:
                    self._presenter.pose(session.clock.position_ns, _times(step.due))
                    rendered = session.render_at_once(list(step.due))
                    rendered.add_done_callback(lambda _: self._mailbox.post(step.end))
            await step.ended
        finally:
            self._steps.end(step)
        if step.overtaken_by:
            now = self._state().sentence
            raise OvertakenError(f'overtaken by {step.overtaken_by} before it was done; now {now}')
        return replace(state, failed_images=step.failed_images)

    def _advance(self, session: Session, delta_ns: int) -> tuple[StepState, Step]:
        """Advance by an exact duration, and say what is due."""
        session.look_around()
        clock = session.clock
        before = session.active_ids
        advance: Advance = clock.tick(delta_ns)
        due = session.all_due(advance)
        session.pictures.forget(item.name for item in due)
        if advance.wrapped:
            self._jump_back(session, '~/tick')
        else:
            self._presenter.jump()
        new, removed = difference(before, session.active_ids)
        return StepState.of(self._publish_state(), new, removed), self._steps.begin(due)

    def _jumped(self, session: Session, before_ns: int, by: str) -> PlaybackState:
        """Take note of where a reset or a seek led to."""
        if session.clock.position_ns < before_ns:
            self._jump_back(session, by)
        else:
            self._steps.overtake(by)
            self._presenter.jump()
        if not session.clock.is_playing:
            session.pictures.owe(session.cameras)
        return self._publish_state()

    def _jump_back(self, session: Session, by: str) -> None:
        self._steps.overtake(by)
        session.jumped_back()
        self._presenter.jump_back()

    def _settle(self, session: Session) -> bool:
        """Show a jump if it is time; say whether the clock went out with it."""
        # A frame of the time before that is being published now is not to come after it.
        if self._presenter.goes_back and session.pipeline.delivering:
            return False
        shown = self._presenter.settle(session.clock.position_ns)
        if not shown:
            return False
        if shown == JUMP_BACK:
            session.go_on_from_here()
            self._again.reset()
        waiting, self._unsettled = self._unsettled, []
        for future in waiting:
            future.set_result(None)
        self._watch(session)
        return True

    async def _settled(self) -> None:
        """Wait until the last jump is shown."""
        while self._presenter is not None and self._presenter.unsettled:
            future: Future = Future()
            self._unsettled.append(future)
            await future

    # Timers.

    def _on_clock(self) -> None:
        session = self._session
        if session is None:
            return
        if self._settle(session):
            return
        if session.clock.is_playing and not self._presenter.unsettled:
            self._go_on(session)
        else:
            self._presenter.clock(session.clock.position_ns)

    def _on_released(self, session: Session) -> None:
        """Go on at once when lockstep has its images: the next frame may be due already."""
        with self._lock:
            if self._closed or session is not self._session or self._presenter.unsettled:
                return
            if session.clock.is_playing:
                self._go_on(session)

    def _on_markers(self) -> None:
        if self.is_playing:
            self._presenter.tracks(self._session.clock.position_ns)

    def _on_watch(self) -> None:
        if self._session is not None:
            self._watch(self._session)

    def _watch(self, session: Session) -> None:
        """Look for listeners, and give new ones a picture while no frames come by themselves."""
        session.look_around()
        if self._presenter.unsettled or session.clock.is_playing:
            return
        if session.picture_owed:
            # Whoever has just come may not have this frame yet.
            self._presenter.pose(session.clock.position_ns)
            session.make_pictures()

    def _on_repeat(self) -> None:
        session = self._session
        if session is not None and not session.clock.is_playing:
            self._presenter.repeat(session.clock.position_ns)

    def _on_report(self) -> None:
        self._publish_state()
        others = self._presenter.other_clocks() if self._presenter is not None else 0
        self._reporter.publish_diagnostics(
            self._session, loading=self._loading, other_clocks=others
        )

    def _on_again(self) -> None:
        self._again.cancel()
        if self._session is not None:
            self._presenter.whole(self._session.clock.position_ns)

    # Parameters.

    def _on_parameters(self, changed: Mapping[str, object]) -> None:
        with self._lock:
            if self._session is not None:
                self._session.apply(changed)
            if 'rate' in changed:
                self._publish_state()

    # The end.

    def close(self) -> None:
        """Delete the markers and leave the renderer; takes at most 0.3 s of waiting."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            session, presenter = self._session, self._presenter
            if session is None or presenter is None:
                return
            if self.context.ok():
                presenter.delete_markers(session.clock.position_ns)
            # Readers acknowledge the deletion while the renderer is left.
            until_s = time.monotonic() + CLOSING_S
            session.close(CLOSING_S * 2 / 3)
            if self.context.ok():
                presenter.wait_for_markers(until_s - time.monotonic())

    def destroy_node(self) -> Any:
        """Close, and remove the node from the graph."""
        self.close()
        return super().destroy_node()


def _times(due: Iterable[Due]) -> list[int]:
    return [item.t_ns for item in due]
