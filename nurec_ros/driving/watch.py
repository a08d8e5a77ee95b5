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
What a driven ego passes: collisions and deviation on the way, and where to stop for them.

What it meets: rectangles in the plane by separating axes, and heights.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import lru_cache
import math

import numpy as np
from numpy.typing import NDArray
from nurec_ros.driving.ego import DrivenEgo, RECORDED
from nurec_ros.driving.inputs import AckermannCommand, InputError, TimedPose, TwistCommand
from nurec_ros.driving.motion import Limits
from nurec_ros.playback.course import Ego
from nurec_ros.playback.effects import DrivenState, Passed
from nurec_ros.poses import Pose, rotation_rows, Vector
from nurec_ros.scenario import Scenario
from nurec_ros.scenario.rig import Box
from nurec_ros.scenario.tracks import Tracks
from nurec_ros.settings import Settings

Array = NDArray[np.float64]
Axis = tuple[float, float]

# Boxes were fitted to what was seen: less than this is no collision.
DEEPEST_TOUCH_M = 0.01
# For spans of this length the box is kept in which a track moves.
SPAN_NS = 1_000_000_000
# The moments that are watched lie on a grid in scenario time.
WATCH_NS = 50_000_000
MICROSECOND = 1000
STOP = 'stop'


class _StandingBox:
    """A box where it stands: its centre in map, its heading in the plane, and its size."""

    def __init__(self, centre: Array, quaternion: Array, dims: Array) -> None:
        self.centre: Vector = tuple(centre.tolist())
        x, y, z, w = quaternion.tolist()
        ahead, aside = w * w + x * x - y * y - z * z, 2.0 * (x * y + z * w)
        length = math.hypot(ahead, aside)
        self.heading: Axis = (ahead / length, aside / length) if length else (1.0, 0.0)
        self.dims: Vector = tuple(dims.tolist())

    def meets(self, other: _StandingBox) -> bool:
        """Return whether both overlap in the plane by more than 1 cm, and in height."""
        apart_x, apart_y, apart_z = (
            one - another for one, another in zip(self.centre, other.centre, strict=True)
        )
        if abs(apart_z) >= 0.5 * (self.dims[2] + other.dims[2]):
            return False
        for along_x, along_y in (*self._axes(), *other._axes()):
            covered = 0.0
            for (x, y), (length, width, _) in (
                (self.heading, self.dims),
                (other.heading, other.dims),
            ):
                covered += abs(along_x * x + along_y * y) * length
                covered += abs(along_y * x - along_x * y) * width
            if 0.5 * covered - abs(along_x * apart_x + along_y * apart_y) <= DEEPEST_TOUCH_M:
                return False
        return True

    def _axes(self) -> tuple[Axis, Axis]:
        x, y = self.heading
        return (x, y), (-y, x)


class Encounters:
    """
    The tracks that the ego's box meets, in their order; few are ever near.

    In the plane both are rectangles turned by their yaw, which must overlap by more than 1 cm
    along every one of their axes; their heights must overlap too. Of each track and each whole
    second the axis-aligned box is kept in which all of its positions lie, grown by both sizes:
    where the ego's centre is outside of it, they do not meet. The few others are tested one by
    one.
    """

    def __init__(self, tracks: Tracks, box: Box) -> None:
        self._tracks, self._box = tracks, box
        self._box_dims = np.array((box.length, box.width, box.height))
        self._trajectory = lru_cache(maxsize=256)(tracks.trajectory)
        samples, rows = tracks.samples, np.arange(len(tracks.samples))
        owners = np.repeat(np.arange(len(tracks)), tracks.counts)
        after = np.minimum(rows + 1, (np.cumsum(tracks.counts) - 1)[owners])
        # The segments from row to row, each once for every second that it touches: the first of
        # them, and on from there.
        begin = samples.times_ns // SPAN_NS
        touched = begin[after] - begin + 1
        segments = np.repeat(rows, touched)
        nth = np.arange(len(segments)) - np.repeat(touched.cumsum() - touched, touched)
        seconds = begin[segments] + nth
        # By second, and those of a track together: a box begins where one or the other changes.
        order = np.lexsort((owners[segments], seconds))
        segments, seconds = segments[order], seconds[order]
        owners = owners[segments]
        first = np.flatnonzero(np.diff(seconds, prepend=-1) | np.diff(owners, prepend=-1))
        ends = samples.positions[segments], samples.positions[after[segments]]
        beside = 0.5 * (np.hypot(*tracks.dims[:, :2].T) + math.hypot(box.length, box.width))
        # A centimetre more, for rounding.
        reach = np.column_stack((beside, beside, 0.5 * (tracks.dims[:, 2] + box.height))) + 0.01
        self._owners = owners[first]
        reach = reach[self._owners]
        self._low = np.minimum.reduceat(np.minimum(*ends), first) - reach
        self._high = np.maximum.reduceat(np.maximum(*ends), first) + reach
        self._seconds: list[int] = seconds[first].tolist()

    def at(self, t_ns: int, ego: Pose) -> tuple[str, ...]:
        second = t_ns // SPAN_NS
        span = slice(bisect_left(self._seconds, second), bisect_right(self._seconds, second))
        a, b, c, d, e, f, g, h, i = rotation_rows(*ego.quaternion.tolist())
        x, y, z = self._box.centre.tolist()
        offset = (a * x + b * y + c * z, d * x + e * y + f * z, g * x + h * y + i * z)
        centre = ego.position + offset
        within = (self._low[span] < centre) & (centre < self._high[span])
        near = self._owners[span][within.all(axis=1)].tolist()
        if not near:
            return ()
        ours = _StandingBox(centre, ego.quaternion, self._box_dims)
        return tuple(self._tracks.ids[track] for track in near if self._meets(ours, track, t_ns))

    def _meets(self, ours: _StandingBox, track: int, t_ns: int) -> bool:
        trajectory = self._trajectory(track)
        if not trajectory.start_ns <= t_ns <= trajectory.end_ns:
            return False
        pose = trajectory.pose(t_ns)
        return ours.meets(_StandingBox(pose.position, pose.quaternion, self._tracks.dims[track]))


class EgoWatch(Ego):
    """
    A driven ego among the road users; `box` is None where the ego's extent is not known.

    The `settings` say when to stop, and may change at any time.
    """

    def __init__(
        self,
        ego: DrivenEgo,
        tracks: Tracks,
        box: Box | None,
        settings: Settings,
    ) -> None:
        self.ego = ego
        self.settings = settings
        self.stopped_by = ''
        # Why the last input that came was dropped; '' where it was taken.
        self._dropped = ''
        self._tracks = tracks
        self._box = box
        self._encounters: Encounters | None = None
        # At the last moment that was watched: whom the ego touched, and whether it was beyond
        # max_deviation_m where that stops it. Only what is new does: it can drive out again.
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
        watch = cls(ego, scenario.tracks, scenario.rig_bbox, settings)
        watch.update(settings)
        return watch

    def update(self, settings: Settings) -> None:
        """Take what may change at run time, but for the source."""
        self.ego.command_timeout_ns = round(settings.command_timeout_s * 1e9)
        self.settings = settings

    @property
    def driven(self) -> bool:
        return self.ego.source != RECORDED

    def state(self, t_ns: int) -> DrivenState | None:
        if not self.driven:
            return None
        ego, deviation = self.ego, self.ego.deviation(t_ns)
        return DrivenState(
            ego_source=ego.source,
            ego_speed=float(ego.velocity(t_ns).linear[0]),
            ego_input_stamp_us=(ego.newest_ns or 0) // 1000,
            deviation_m=deviation.lateral_m,
            deviation_deg=deviation.heading_deg,
            collisions=self.collisions(t_ns),
            stopped_by=self.stopped_by,
        )

    def collisions(self, t_ns: int) -> tuple[str, ...]:
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
        return self.ego.reach_ns

    def missing(self, until_ns: int) -> str:
        missing = self.ego.missing(until_ns)
        if missing and self._dropped:
            return f'{missing}; the last that came was dropped: {self._dropped}'
        return missing

    def go_on(self) -> None:
        self.stopped_by = ''

    def jump(self, t_ns: int) -> None:
        self.ego.jump(t_ns)
        self._met, self._far, self.stopped_by, self._dropped = (), False, '', ''

    def put(self, item: object, *, halted: bool) -> tuple[bool, str, str]:
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
        self._met, self._far, self.stopped_by, self._dropped = (), False, '', ''
        return self.ego.change_source(source, halted=halted)

    def pass_to(self, until_ns: int, *, collect: bool = False) -> Passed:
        ego, after_ns, settings = self.ego, self.ego.passed_ns, self.settings
        if until_ns > after_ns:
            self.stopped_by = self._dropped = ''
        stops = STOP in (settings.on_collision, settings.on_deviation)
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
        settings = self.settings
        watched = settings.on_deviation == STOP
        deviation_m = self.ego.deviation(t_ns).lateral_m if watched else 0.0
        far, was_far = abs(deviation_m) > settings.max_deviation_m, self._far
        new = [name for name in met if name not in self._met]
        self._met, self._far = met, far
        if new and settings.on_collision == STOP:
            return f'a collision with {", ".join(new)}'
        if far and not was_far:
            return (
                f'a deviation of {deviation_m:.2f} m, beyond max_deviation_m '
                f'({settings.max_deviation_m:g})'
            )
        return ''
