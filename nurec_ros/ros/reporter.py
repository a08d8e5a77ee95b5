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

import time
import traceback

from diagnostic_msgs.msg import DiagnosticArray
from nurec_ros.errors import counted, NurecError, UnforeseenError
from nurec_ros.playback.effects import PlaybackState
from nurec_ros.ros.conversions import set_time
from nurec_ros.ros.diagnostics import Diagnostics, SECOND_CLOCK
from nurec_ros.ros.ego_topics import OddInputs
from nurec_ros.ros.loading import Loaded
from nurec_ros.ros.names import topic_names
from nurec_ros.ros.outlet import Graph, reliable
from nurec_ros.ros.parameters import no_such_parameter, Parameters
from nurec_ros.ros.topics import StateTopic
from rclpy.node import Node

NO_EARTH = (
    'publish_earth_frame is on, but no earth frame is published: the T_world_base of the scenario '
    'is missing, the identity, or no place on Earth'
)
NO_FIX = (
    'fix_rate is set, but there is no ~/fix: the T_world_base of the scenario is missing, the '
    'identity, or no place on Earth'
)
NAMESAKE = (
    'another node of the graph is called {name} too: each answers services and parameters meant '
    'for the other; start one of them under another name with -r __node:=NAME'
)

# For so long an unforeseen error is shown in the diagnostics.
FAILURE_SHOWN_S = 10.0
MOST_FAILURES_TOLD = 100


class OvertakenError(NurecError):
    """Something else moved the clock before a step was done."""


class Reporter:
    """Tells how the playback is doing; the executor's thread alone uses it, but for `log`."""

    def __init__(self, node: Node, parameters: Parameters, graph: Graph) -> None:
        self._node = node
        self._parameters = parameters
        self._graph = graph
        self.state_topic = StateTopic(graph)
        self._publication = graph.advertise(DiagnosticArray, '/diagnostics', reliable(10))
        namespaced = node.get_namespace() != '/'
        self._diagnostics = Diagnostics(graph.name if namespaced else node.get_name(), graph.name)
        self._told_overrides: set[str] = set()
        self._told_failures: set[tuple[str, str]] = set()
        self._conflicts: tuple[str, ...] = ()
        self._failure, self._failed_s = '', 0.0

    def refused(self, name: str, error: Exception) -> str:
        """Log why a service answers that it did not succeed, and return that."""
        if isinstance(error, OvertakenError):
            self._node.get_logger().warning(f'~/{name} was {error}')
            return str(error)
        if isinstance(error, UnforeseenError) or not isinstance(error, NurecError):
            error = self.failed(f'answering ~/{name}', error)
        self._node.get_logger().warning(f'~/{name} refused: {error}')
        return str(error)

    def publish_diagnostics(
        self,
        state: PlaybackState,
        loaded: Loaded | None,
        *,
        loading: bool,
        clock_topic: str,
        odd: OddInputs,
    ) -> None:
        """
        Publish the diagnostics, and log what is found on the way.

        `clock_topic` is the topic on which this player publishes the time, '' where it does not.
        `odd` are the inputs of the ego that could not be used as they came.
        """
        self._graph.watch()
        recent = time.monotonic() - self._failed_s < FAILURE_SHOWN_S
        statuses = self._diagnostics.compose(
            state,
            loaded,
            loading=loading,
            mode=self._parameters.settings.mode,
            conflicts=self._look_for_conflicts(clock_topic),
            failure=self._failure if recent else '',
            odd=odd,
        )
        message = DiagnosticArray(status=statuses)
        set_time(message.header.stamp, state.current_time_us * 1000)
        self._publication.publish(message)

    def _look_for_conflicts(self, clock_topic: str) -> tuple[str, ...]:
        """Return what others in the graph spoil, and warn when it begins."""
        found = []
        if clock_topic and self._graph.others(clock_topic):
            found.append(SECOND_CLOCK.format(topic=clock_topic))
        if self._graph.namesakes():
            found.append(NAMESAKE.format(name=self._graph.name))
        for text in found:
            if text not in self._conflicts:
                self._node.get_logger().warning(text)
        self._conflicts = tuple(found)
        return self._conflicts

    def loaded(self, loaded: Loaded, warnings: tuple[str, ...]) -> None:
        """Log what was loaded and what is to be known about it, each thing once."""
        logger = self._node.get_logger()
        for warning in warnings:
            logger.warning(warning)
        found = loaded.scenario
        for name, token in topic_names(found.sensors).items():
            if token != name:
                noun = 'camera' if name in found.cameras else 'lidar'
                logger.info(f"{noun} '{name}' is {token} in topics, frames and parameters")
        for name, topic in loaded.clouds.items():
            if topic.note:
                logger.warning(f"lidar '{name}': {topic.note}")
        fits = []
        for name, topics in loaded.topics.items():
            for note in topics.calibration.notes:
                logger.info(f'{name}: {note}')
            residual = topics.calibration.residual
            if residual is not None:
                fits.append(f'{name} {residual.rms_px:.2f} ({residual.max_px:.2f})')
        if fits:
            logger.info(
                'camera_info is an equidistant fit of the lens, off by px rms (at most): '
                + ', '.join(fits)
            )
        scenario, settings = loaded.scenario, self._parameters.settings
        if settings.publish_earth_frame and scenario.T_earth_map is None:
            logger.warning(NO_EARTH)
        if settings.fix_rate and scenario.T_earth_map is None:
            logger.info(NO_FIX)
        lidars = f'{counted(len(loaded.lidars), "lidar")}, ' if loaded.lidars else ''
        logger.info(
            f"loaded {loaded.asked.usdz_path}: scenario '{scenario.sequence_id}', "
            f'{(loaded.playback.end_ns - loaded.playback.begin_ns) / 1e9:.2f} s, '
            f'{counted(len(loaded.cameras), "camera")}, {lidars}'
            f'{counted(len(scenario.tracks.ids), "road user")}, rendered by {settings.server}'
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

    def failed(self, doing: str, error: Exception) -> UnforeseenError:
        """
        Tell of an unforeseen error: the traceback once of each kind, then in the diagnostics.

        `doing` says what was being done.
        """
        if isinstance(error, UnforeseenError):
            unforeseen = error
        else:
            unforeseen = UnforeseenError(f'unforeseen error while {doing}', error)
        cause = error.__cause__ or error
        self._failure, self._failed_s = f'{unforeseen} (an error of nurec_ros)', time.monotonic()
        kind = (doing, type(cause).__name__)
        if kind not in self._told_failures and len(self._told_failures) < MOST_FAILURES_TOLD:
            self._told_failures.add(kind)
            trace = ''.join(traceback.format_exception(type(cause), cause, cause.__traceback__))
            self._node.get_logger().error(f'{self._failure}\n{trace}')
        return unforeseen
