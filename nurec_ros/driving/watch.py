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
"""What a driven ego passes: collisions and deviation on the way, and where to stop for them."""

from __future__ import annotations

import math

from nurec_ros.driving.collisions import Encounters
from nurec_ros.driving.ego import DrivenEgo, RECORDED
from nurec_ros.driving.inputs import AckermannCommand, InputError, TimedPose, TwistCommand
from nurec_ros.driving.motion import Limits
from nurec_ros.playback.state import DrivenState, Passed
from nurec_ros.scenario import Scenario
from nurec_ros.scenario.rig import Box
from nurec_ros.scenario.tracks import Tracks
from nurec_ros.settings import Settings

WATCH_NS = 50_000_000
MICROSECOND = 1000
STOP = 'stop'


class EgoWatch:
    """
    A driven ego among the road users; `box` is None where the ego's extent is not known.

    Whatever is wanted (`max_deviation_m`, `on_collision`, `on_deviation`) may change at any time.
    """

    def __init__(
        self,
        ego: DrivenEgo,
        tracks: Tracks,
        box: Box | None,
        *,
        max_deviation_m: float = 3.0,
        on_collision: str = 'report',
        on_deviation: str = 'report',
    ) -> None:
        self.ego = ego
        self.max_deviation_m = max_deviation_m
        self.on_collision = on_collision
        self.on_deviation = on_deviation
        self.stopped_by = ''
        # Why the last input that came was dropped; '' where it was taken.
        self._dropped = ''
        self._tracks = tracks
        self._box = box
        self._encounters: Encounters | None = None
        # What was met, and whether the ego was too far away where that stops, at the last moment
        # that was watched: who stands in a collision may drive on.
        self._met: tuple[str, ...] = ()
        self._far = False
        self._looked_at: tuple[int, bytes, bytes] | None = None
        self._seen: tuple[str, ...] = ()

    @classmethod
    def of(cls, scenario: Scenario, begin_ns: int, settings: Settings) -> EgoWatch:
        """Return the ego of a scenario as the parameters want it, standing at begin."""
        limits = Limits(
            wheelbase_m=settings.wheelbase_m,
            max_acceleration=settings.max_acceleration,
            max_deceleration=settings.max_deceleration,
            max_steering=math.radians(settings.max_steering_angle_deg),
        )
        # As the clock does: positions are whole microseconds.
        at_ns = -(-begin_ns // MICROSECOND) * MICROSECOND
        ego = DrivenEgo(scenario.ego, at_ns, source=settings.ego_source, limits=limits)
        watch = cls(ego, scenario.tracks, scenario.rig_bbox)
        watch.update(settings)
        return watch

    def update(self, settings: Settings) -> None:
        """Take what may change at run time, but for the source."""
        self.ego.command_timeout_ns = round(settings.command_timeout_s * 1e9)
        self.max_deviation_m = settings.max_deviation_m
        self.on_collision = settings.on_collision
        self.on_deviation = settings.on_deviation

    @property
    def driven(self) -> bool:
        """Return whether the ego is another than the recorded one."""
        return self.ego.source != RECORDED

    def state(self, t_ns: int, passed: tuple[str, ...] | None = None) -> DrivenState | None:
        """Return what is told of a moment, None of the recorded ego; `passed` by a step."""
        if not self.driven:
            return None
        ego, deviation = self.ego, self.ego.deviation(t_ns)
        return DrivenState(
            ego_source=ego.source,
            ego_speed=float(ego.velocity(t_ns).linear[0]),
            ego_input_stamp_us=(ego.newest_ns or 0) // 1000,
            deviation_m=deviation.lateral_m,
            deviation_deg=deviation.heading_deg,
            collisions=self.collisions(t_ns) if passed is None else passed,
            stopped_by=self.stopped_by,
        )

    def collisions(self, t_ns: int) -> tuple[str, ...]:
        """Return the ids of the tracks that the ego meets at a moment."""
        if self._box is None or not self.driven:
            return ()
        if self._encounters is None:
            self._encounters = Encounters(self._tracks, self._box)
        pose = self.ego.pose(t_ns)
        # Steps ask for the same moment several times.
        moment = (t_ns, pose.position.tobytes(), pose.quaternion.tobytes())
        if moment != self._looked_at:
            self._looked_at = moment
            self._seen = self._encounters.at(t_ns, pose)
        return self._seen

    @property
    def reach_ns(self) -> int | None:
        """Return up to when poses are known; None for sources that are no poses."""
        return self.ego.reach_ns

    def missing(self, until_ns: int) -> str:
        """Return what a movement to a time lacks of an input, '' where nothing is missing."""
        missing = self.ego.missing(until_ns)
        if missing and self._dropped:
            return f'{missing}; the last that came was dropped: {self._dropped}'
        return missing

    def go_on(self) -> None:
        """Tell no more of why it was stopped: somebody goes on from there."""
        self.stopped_by = ''

    def jump(self, t_ns: int) -> None:
        """Put the ego on the recorded one at another position."""
        self.ego.jump(t_ns)
        self._met, self._far, self.stopped_by, self._dropped = (), False, '', ''

    def put(self, item: object, *, halted: bool) -> tuple[bool, str, str]:
        """
        Take an input; return whether the moment shows it, and a reason and sentence to say.

        InputError for one that cannot be used. One that is an InputError itself is noted as such.
        """
        try:
            if isinstance(item, InputError):
                raise item
            if not isinstance(item, (TimedPose, TwistCommand, AckermannCommand)):
                raise TypeError(f'{item!r} is no input')
            taken = self.ego.put(item, halted=halted)
        except InputError as error:
            self._dropped = str(error)
            raise
        self._dropped = ''
        if taken.notice is None:
            return taken.shown, '', ''
        return taken.shown, taken.notice.reason, str(taken.notice)

    def change_source(self, source: str, *, halted: bool) -> float:
        """Let another source move the ego; return how far it jumps by that."""
        self._met, self._far, self.stopped_by, self._dropped = (), False, '', ''
        return self.ego.change_source(source, halted=halted)

    def pass_to(self, until_ns: int, *, collect: bool = False) -> Passed:
        """
        Pass the time up to a moment, or to the first on the way at which to stop.

        The moments that are watched lie on a grid of 50 ms in scenario time. `collect`: tell of
        all whom the ego met at them.
        """
        ego, after_ns = self.ego, self.ego.passed_ns
        if until_ns > after_ns:
            self.stopped_by = self._dropped = ''
        stops = STOP in (self.on_collision, self.on_deviation)
        if not self.driven or not (stops or collect):
            ego.advance_to(until_ns)
            return Passed(until_ns)
        met: dict[str, None] = {}
        if not stops:
            # Nothing ends the way before: the more at once, the less it costs.
            ego.advance_to(until_ns)
        for t_ns in range((after_ns // WATCH_NS + 1) * WATCH_NS, until_ns + 1, WATCH_NS):
            ego.advance_to(t_ns)
            found = self.collisions(t_ns)
            met.update(dict.fromkeys(found))
            self.stopped_by = self._reason(t_ns, found)
            if self.stopped_by:
                return Passed(t_ns, tuple(met), self.stopped_by)
        ego.advance_to(until_ns)
        if collect:
            met.update(dict.fromkeys(self.collisions(until_ns)))
        return Passed(until_ns, tuple(met))

    def _reason(self, t_ns: int, met: tuple[str, ...]) -> str:
        """Return why to stop at a moment, '' where there is no new reason."""
        watched = self.on_deviation == STOP
        deviation_m = self.ego.deviation(t_ns).lateral_m if watched else 0.0
        far, was_far = abs(deviation_m) > self.max_deviation_m, self._far
        new = [name for name in met if name not in self._met]
        self._met, self._far = met, far
        if new and self.on_collision == STOP:
            return f'a collision with {", ".join(new)}'
        if far and not was_far and self.on_deviation == STOP:
            return (
                f'a deviation of {deviation_m:.2f} m, beyond max_deviation_m '
                f'({self.max_deviation_m:g})'
            )
        return ''
