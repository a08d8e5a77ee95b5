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
"""What the player tells about itself: ~/state, /diagnostics and the log."""

from __future__ import annotations

from typing import Any

from nurec_ros.ros.diagnostics import Diagnostics, SECOND_CLOCK
from nurec_ros.ros.frames import topic_names
from nurec_ros.ros.parameters import no_such_parameter
from nurec_ros.ros.publishers.diagnostics import DiagnosticsPublisher
from nurec_ros.ros.publishers.state import StatePublisher
from nurec_ros.ros.readers import ReaderWatch
from nurec_ros.ros.state import PlaybackState

NO_EARTH = (
    'publish_earth_frame is on, but no earth frame is published: the T_world_base of the scenario '
    'is missing, the identity, or no place on Earth'
)


class Reporter:
    """
    Tells how the playback is doing; one thread alone uses it, the executor's.

    `session` is None everywhere while no scenario is loaded.
    """

    def __init__(self, node: Any, parameters: Any) -> None:
        self._node = node
        self._parameters = parameters
        self._state = StatePublisher(node)
        self._publisher = DiagnosticsPublisher(node)
        self._diagnostics = Diagnostics(node.get_name(), node.get_fully_qualified_name())
        self._readers = ReaderWatch(node)
        self._told_ids: tuple[str, ...] = ()
        self._told_overrides: set[str] = set()
        self._clock_conflict = ''

    def state(self, session: Any) -> PlaybackState:
        """Give the state; its new and removed tracks are those since the last message."""
        if session is None:
            return PlaybackState(speed=self._parameters.rate)
        clock = session.clock
        ids = session.active_ids
        new, removed = difference(self._told_ids, ids)
        return PlaybackState(
            is_playing=clock.is_playing,
            speed=clock.rate,
            current_time_us=clock.position_ns // 1000,
            seconds_since_start=clock.seconds_since_start,
            duration_s=clock.duration_s,
            progress=clock.progress,
            done=clock.done,
            scenario=session.scenario.sequence_id,
            active_tracks=len(ids),
            new_track_ids=new,
            removed_track_ids=removed,
        )

    def publish_state(self, session: Any) -> PlaybackState:
        """Publish the state, and give it."""
        state = self.state(session)
        self._state.publish(state)
        self._told_ids = session.active_ids if session is not None else ()
        return state

    def publish_diagnostics(self, session: Any, *, loading: bool, other_clocks: int) -> None:
        """
        Publish the diagnostics, and log what is found on the way.

        `other_clocks` counts those who publish the time on the same topic as this player.
        """
        self._readers.look()
        state = self.state(session)
        statuses = self._diagnostics.compose(
            state,
            session,
            loading=loading,
            mode=self._parameters.mode,
            clock_conflict=self._notice(other_clocks),
        )
        self._publisher.publish(statuses, state.current_time_us * 1000)

    def _notice(self, other_clocks: int) -> str:
        """Give the clock's topic where somebody else publishes on it, and warn of it once."""
        topic = self._node.resolve_topic_name('/clock') if other_clocks else ''
        if topic and not self._clock_conflict:
            self._node.get_logger().warning(SECOND_CLOCK.format(topic=topic))
        self._clock_conflict = topic
        return topic

    def loaded(self, session: Any, warnings: tuple[str, ...], source: str) -> None:
        """Log what was loaded and what is to be known about it, each thing once."""
        logger = self._node.get_logger()
        for warning in warnings:
            logger.warning(warning)
        for name, token in topic_names(session.scenario.cameras).items():
            if token != name:
                logger.info(f"camera '{name}' is {token} in topics, frames and parameters")
        for name, output in session.outputs.items():
            for note in output.notes:
                logger.info(f'{name}: {note}')
            if output.residual is not None:
                logger.info(
                    f'{name}: camera_info is an equidistant fit of the F-theta lens, off by '
                    f'{output.residual.rms_px:.2f} px rms, {output.residual.max_px:.2f} px at most'
                )
        scenario = session.scenario
        if self._parameters.publish_earth_frame and scenario.T_earth_map is None:
            logger.warning(NO_EARTH)
        logger.info(
            f"loaded {source}: scenario '{scenario.sequence_id}', "
            f'{session.clock.duration_s:.2f} s, {len(session.cameras)} cameras, '
            f'{len(scenario.tracks.ids)} road users, rendered by {self._parameters.server}'
        )

    def log(self, level: str, text: str) -> None:
        """Log for the pipeline; the one method that any thread may call."""
        logger = self._node.get_logger()
        # One line each: rclpy binds a severity to the line that logs.
        if level == 'error':
            logger.error(text)
        elif level.startswith('warn'):
            logger.warning(text)
        elif level == 'info':
            logger.info(text)
        else:
            logger.debug(text)

    def unused(self, overrides: list[tuple[str, str]]) -> None:
        """Warn, once each, of overrides that name no parameter; with what may be meant or ''."""
        for name, hint in overrides:
            if name not in self._told_overrides:
                self._told_overrides.add(name)
                self._node.get_logger().warning(no_such_parameter(name, hint))


def difference(
    before: tuple[str, ...], after: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give what is new in `after`, and what is gone."""
    known, there = set(before), set(after)
    return (
        tuple(name for name in after if name not in known),
        tuple(name for name in before if name not in there),
    )
