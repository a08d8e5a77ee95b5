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
One scenario at play without a wall clock, into the bags of its parts.

The playback's wall time is invented: it is the scenario's, so that the clock stands at each moment
that has something to say, in order. A part leads up to its begin from the last frame and the last
markers before it, unrecorded, and so does not depend on the parts before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from heapq import merge
from itertools import groupby, repeat
from pathlib import Path
import sys

import numpy as np
from nurec_ros.errors import ConfigurationError, NurecError, ScenarioError
from nurec_ros.export.bag import BagOutlet, Offered
from nurec_ros.export.farm import Farm
from nurec_ros.playback.clock import Due, regular_times
from nurec_ros.playback.effects import Announce, Effect, Render, Show, ShowJump
from nurec_ros.playback.playback import Playback
from nurec_ros.rendering.frames import Cloud, Failure, Frame
from nurec_ros.ros.loading import ReadScenario
from nurec_ros.ros.names import frame_names, topic_names
from nurec_ros.ros.sensor_topics import CameraTopics, FORMATS, LidarTopic
from nurec_ros.ros.topics import ScenarioTopics, StateTopic
from nurec_ros.settings import Values
from rosbags.rosbag2 import Reader
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu, NavSatFix, PointCloud2

SECOND = 1_000_000_000
PART_NS = 10 * SECOND

CLOCK, MARKERS, FRAME = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of scenario time, [begin_ns, until_ns); the last one includes the end."""

    number: int
    begin_ns: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class Missing:
    """A frame of a camera or a cloud of a lidar that could not be had, and why."""

    sensor: str
    stamp_ns: int
    reason: str


class Timeline:
    """What of a scenario is recorded when, and into which parts it falls."""

    def __init__(
        self, found: ReadScenario, values: Values, node: str, topics: Sequence[str] = ()
    ) -> None:
        self.found = found
        self.values = values
        self.node = node
        self._topics = tuple(topics)
        self.begin_ns, self.end_ns = found.begin_ns, found.end_ns
        scenario, settings = found.scenario, values.settings
        self.tokens = topic_names(scenario.sensors)
        self._check_topics()
        # A sensor of which nothing is recorded is not rendered.
        self.cameras = tuple(name for name in found.cameras if self.topics_of(name))
        self.lidars = tuple(name for name in found.lidars if self.topics_of(name))
        range_ns = self.begin_ns, self.end_ns
        self.schedule = values.schedule(scenario, self.cameras, self.lidars, range_ns)
        rates = {'imu': (Imu, settings.imu_rate), 'fix': (NavSatFix, settings.fix_rate)}
        if scenario.T_earth_map is None:
            del rates['fix']
        first_ns, _ = settings.range_ns(scenario)
        self._marker_times = regular_times(settings.marker_rate, *range_ns)
        # Whenever time is to pass: for the clock, and for what is published as it passes.
        self._clock_times = [
            regular_times(settings.clock_rate, *range_ns),
            *(
                regular_times(rate_hz, first_ns, self.end_ns)
                for name, (kind, rate_hz) in rates.items()
                if rate_hz and self.wanted(f'{node}/{name}', kind)
            ),
        ]
        count = max(1, -(-(self.end_ns - self.begin_ns) // PART_NS))
        self.parts = tuple(
            Part(
                number,
                self.begin_ns + number * PART_NS,
                self.begin_ns + (number + 1) * PART_NS if number + 1 < count else self.end_ns + 1,
            )
            for number in range(count)
        )

    def wanted(self, topic: str, message_type: type) -> bool:
        """
        Return whether a topic is recorded.

        Without --topics all are, but for decoded images where the compressed ones hold the same.
        """
        if self._topics:
            return any(self._matches(topic, pattern) for pattern in self._topics)
        return message_type is not Image or self.values.settings.image_format not in FORMATS

    def _matches(self, topic: str, pattern: str) -> bool:
        own = topic.removeprefix(self.node)
        shown = (topic, f'~{own}', own.removeprefix('/'))
        return any(fnmatchcase(name, pattern) for name in shown)

    def topics_of(self, sensor: str) -> list[str]:
        """Return the topics of a camera or lidar that are recorded."""
        kinds = self._topics_of(sensor)
        return [topic for topic, kind in kinds.items() if self.wanted(topic, kind)]

    def _topics_of(self, sensor: str) -> dict[str, type]:
        base = f'{self.node}/{self.tokens[sensor]}'
        if sensor in self.found.scenario.lidars:
            return {f'{base}/points': PointCloud2}
        kinds: dict[str, type] = {f'{base}/image_raw': Image, f'{base}/camera_info': CameraInfo}
        if self.values.settings.image_format in FORMATS:
            kinds[f'{base}/image_raw/compressed'] = CompressedImage
        return kinds

    def _check_topics(self) -> None:
        """Raise ConfigurationError for a pattern of nothing, ScenarioError for an empty bag."""
        if not self._topics:
            return
        scenario, settings = self.found.scenario, self.values.settings
        offered = Offered(self.node)
        topics = ScenarioTopics(offered, lambda: settings, scenario)
        topics.change(scenario, prepared=self.found.prepared)
        StateTopic(offered)
        there = {
            *offered.topics,
            *(topic for name in self.found.cameras for topic in self._topics_of(name)),
            *(topic for name in self.found.lidars for topic in self._topics_of(name)),
        }
        # Of a topic that only other scenarios of the same command have a pattern is no mistake.
        elsewhere = {f'{self.node}/map'}
        if settings.fix_rate:
            elsewhere.add(f'{self.node}/fix')
        if not scenario.lidars:
            elsewhere.add(f'{self.node}/lidar/points')
        expected = f'expected some of {", ".join(sorted(there))}'
        for pattern in self._topics:
            if not any(self._matches(topic, pattern) for topic in there | elsewhere):
                raise ConfigurationError(
                    f"--topics '{pattern}' is no topic of {scenario.path}; {expected}"
                )
        if not any(self._matches(topic, p) for topic in there for p in self._topics):
            patterns = ' '.join(self._topics)
            raise ScenarioError(f'{scenario.path} has no topic of --topics {patterns}; {expected}')

    def frames(self, part: Part) -> list[Due]:
        """Return the frames of a part, in the order in which they are due."""
        return self.schedule.due(part.begin_ns - 1, part.until_ns - 1)

    def moments(self, from_ns: int, until_ns: int) -> Iterator[tuple[int, set[int]]]:
        """Yield times in [from_ns, until_ns), and what is due at each; the last is the end."""
        regular = [(self._marker_times, MARKERS), *((times, CLOCK) for times in self._clock_times)]
        every = merge(
            *(zip(times[times >= from_ns].tolist(), repeat(kind)) for times, kind in regular),
            ((due.t_ns, FRAME) for due in self.schedule.due(from_ns - 1, self.end_ns)),
            ((self.end_ns, CLOCK),),
        )
        for t_ns, entries in groupby(every, key=lambda entry: entry[0]):
            if t_ns >= until_ns:
                return
            yield t_ns, {kind for _, kind in entries}

    def lead(self, part: Part) -> int:
        """
        Return where playing begins for a part, unrecorded, so that its first messages are right.

        A frame and markers before its begin: what they announced and showed counts there.
        """
        if part.begin_ns == self.begin_ns:
            return self.begin_ns
        last = int(self._marker_times[self._marker_times < part.begin_ns][-1])
        times = [self.schedule.times(name) for name in self.schedule.names]
        before = [int(t[t < part.begin_ns][-1]) for t in times if np.any(t < part.begin_ns)]
        # Without a frame before, the state was published at the range's begin alone.
        return min(last, max(before)) if before else self.begin_ns


class Kept:
    """
    The messages of some topics in a bag, to be taken in the order of their times.

    lacking: frames that the bag does not hold, by sensor and time.
    """

    def __init__(self, bag: Path, topics: Collection[str], lacking: Collection[Due]) -> None:
        self._lacking = frozenset(lacking)
        self._reader = Reader(bag)
        self._reader.open()
        wanted = [one for one in self._reader.connections if one.topic in topics]
        # Where none is wanted, rosbags would give all.
        messages = self._reader.messages(connections=wanted) if wanted else ()
        self._moments = groupby(messages, key=lambda message: message[1])
        self._t_ns = 0
        self._moment: dict[str, bytes] = {}

    def has(self, frame: Due) -> bool:
        """Return whether a frame is here, and need not be rendered."""
        return frame not in self._lacking

    def take(self, topic: str, t_ns: int) -> bytes | None:
        """Return a message, None where the frame came without it."""
        while self._t_ns < t_ns:
            self._t_ns, messages = next(self._moments, (sys.maxsize, ()))
            self._moment = {connection.topic: bytes(data) for connection, _, data in messages}
        return self._moment.get(topic) if self._t_ns == t_ns else None

    def close(self) -> None:
        """Leave the bag."""
        self._reader.close()


def write_part(
    timeline: Timeline,
    part: Part,
    farm: Farm,
    folder: Path,
    storage: str,
    on_frame: Callable[[], None],
    kept: Kept | None = None,
) -> list[Missing]:
    """
    Write one part's bag into a new folder; return the frames that it lacks.

    kept: what an earlier bag of this part holds of the sensors, and is not rendered again.
    """
    outlet = BagOutlet(folder, storage, timeline.node, timeline.wanted)
    try:
        player = _Player(timeline, farm, outlet, on_frame, kept)
        player.play(part)
        outlet.close()
    except BaseException:
        outlet.abandon()
        raise
    return player.missing


class _Player:
    """The player's wiring, with a bag, invented time, and frames that are waited for."""

    def __init__(
        self,
        timeline: Timeline,
        farm: Farm,
        outlet: BagOutlet,
        on_frame: Callable[[], None],
        kept: Kept | None,
    ) -> None:
        self.missing: list[Missing] = []
        # The invented wall time: what has passed since the start.
        self._now_ns = 0
        self._timeline = timeline
        self._farm = farm
        self._outlet = outlet
        self._on_frame = on_frame
        self._kept = kept
        settings, scenario = timeline.values.settings, timeline.found.scenario
        self._topics = ScenarioTopics(outlet, lambda: settings, scenario)
        self._topics.change(scenario, prepared=timeline.found.prepared)
        self._state = StateTopic(outlet)
        frames = frame_names(settings, scenario.sensors)
        self._cameras = {
            name: CameraTopics(outlet, frames, name, farm.model_of(name), settings.image_format)
            for name in timeline.cameras
        }
        self._lidars = {
            name: LidarTopic(outlet, frames, scenario.lidars[name], settings.lidar_layout)
            for name in timeline.lidars
        }
        sensors: dict[str, CameraTopics | LidarTopic] = {**self._cameras, **self._lidars}
        self._playback = Playback(
            timeline.begin_ns,
            timeline.end_ns,
            timeline.schedule,
            scenario=scenario.sequence_id,
            active_ids=scenario.tracks.active_ids,
            audiences=lambda: {name: topic.audience for name, topic in sensors.items()},
            now=lambda: self._now_ns,
            lockstep=True,
            quiet_ns=0,
        )

    def play(self, part: Part) -> None:
        """Play to the end of a part, from where it is led up to."""
        start_ns = self._timeline.lead(part)
        self._at(start_ns, part)
        self._carry_out(self._playback.play())
        # A clock that plays has what lies at the very place that it is set to still due. What
        # follows from it otherwise, the state announced again, is not wanted.
        self._playback.seek(start_ns)
        self._carry_out(self._playback.advance())
        for t_ns, kinds in self._timeline.moments(start_ns, part.until_ns):
            self._at(t_ns, part)
            self._now_ns = t_ns - start_ns
            self._carry_out(self._playback.advance())
            if MARKERS in kinds:
                self._carry_out(self._playback.show_tracks())
            # At the start and at the end the playback announces it by itself.
            if FRAME in kinds and start_ns < t_ns < self._playback.end_ns:
                self._carry_out([self._playback.announce()])

    def _at(self, t_ns: int, part: Part) -> None:
        self._outlet.now_ns = t_ns
        self._outlet.recording = t_ns >= part.begin_ns

    def _carry_out(self, effects: Sequence[Effect]) -> None:
        rendered: list[Render] = []
        for effect in effects:
            if isinstance(effect, Announce):
                self._state.publish(effect.state)
            elif isinstance(effect, Render):
                self._render(effect)
                rendered.append(effect)
            elif isinstance(effect, Show):
                self._topics.show(effect)
            elif isinstance(effect, ShowJump):
                self._topics.show_jump(effect)
            # The others are of steps and of halts, which an export has none of.
        for order in rendered:
            # At once: invented time has not passed meanwhile.
            assert order.when_out is not None  # in lockstep all are waited for
            self._carry_out(order.when_out())

    def _render(self, order: Render) -> None:
        if not self._outlet.recording:
            return
        for due in order.frames:
            if self._kept is not None and self._kept.has(due):
                for topic in self._timeline.topics_of(due.name):
                    data = self._kept.take(topic, due.t_ns)
                    if data is not None:
                        self._outlet.repeat(topic, data)
                continue
            found = self._farm.take(due)
            try:
                self._publish(found)
            except NurecError as error:
                self.missing.append(Missing(due.name, due.t_ns, str(error)))
            self._on_frame()

    def _publish(self, found: Frame | Cloud | Failure) -> None:
        if isinstance(found, Failure):
            raise found.error
        if isinstance(found, Cloud):
            self._lidars[found.lidar].publish(found)
        else:
            self._cameras[found.camera].publish(found)
