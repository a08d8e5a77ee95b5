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
The driven ego: one function of scenario time, fixed wherever time has passed.

`advance_to` passes time; `pose` and `velocity` up to the passed time stay what they are. Inputs
touch only what comes. The one exception is the halted position, which an input that is stamped
with it, or with 0, and a change of the source show at once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import attrgetter, itemgetter

import numpy as np
from numpy.typing import ArrayLike, NDArray
from nurec_ros.driving.inputs import (
    check_pose_stamp,
    Command,
    counted_from,
    Input,
    MOST_KEPT,
    not_the_source,
    ReceivedPoses,
    SECOND,
    Taken,
    TimedPose,
)
from nurec_ros.driving.motion import (
    AsRecorded,
    DrivenLeg,
    ending,
    following,
    GivenPoses,
    grid_within,
    keeping,
    Limits,
    NEVER,
    Piece,
    Planar,
    PlanarPose,
    Way,
)
from nurec_ros.driving.recorded_path import (
    Deviation,
    RecordedPath,
    Waypoint,
    yaw_of,
)
from nurec_ros.poses import Pose
from nurec_ros.scenario.trajectory import many_times, Trajectory, Twist

RECORDED = 'recorded'
BY_POSE = ('pose', 'odometry')
BY_COMMAND = ('twist', 'ackermann')
SOURCES = (RECORDED, *BY_POSE, *BY_COMMAND)

# No exposure, and no picture that is still to come, is older.
REMEMBERED_NS = 60 * SECOND


class DrivenEgo:
    """
    Where the ego is: recorded, or driven by what `source` names.

    Up to `passed_ns`, the position, it is fixed; `newest_ns` is the latest stamp of an input since
    the take-over or the last jump. `limits` and `command_timeout_ns` (0: commands count forever)
    may be exchanged at any time; they touch what comes. One thread alone may use it.
    """

    def __init__(
        self,
        recorded: Trajectory,
        at_ns: int,
        *,
        source: str = RECORDED,
        limits: Limits | None = None,
        command_timeout_ns: int = SECOND // 2,
    ) -> None:
        self.recorded = recorded
        self.limits = limits or Limits()
        self.command_timeout_ns = command_timeout_ns
        self.source = RECORDED
        self._way = Way(recorded)
        self.passed_ns = at_ns
        self._pieces: list[Piece] = []
        # Before that nothing is remembered; None where it is: there the ego is the recorded one.
        self._since_ns: int | None = None
        self._forget()
        if source != RECORDED:
            self.change_source(source, halted=True)

    # What is known.

    @property
    def is_recorded(self) -> bool:
        """Return whether the ego is, and as far as is remembered was, the recorded one."""
        return not self._pieces

    @property
    def path(self) -> RecordedPath:
        """Return the recorded path, made when it is needed first."""
        return self._way.path

    @property
    def starved(self) -> bool:
        """Return whether the source has nothing to go by: no input yet, or none any more."""
        if self.source == RECORDED:
            return False
        if self.newest_ns is None:
            return True
        timeout_ns = self.command_timeout_ns
        if self.source in BY_COMMAND:
            return self._ended or 0 < timeout_ns <= self.passed_ns - self._counts_ns
        return bool(timeout_ns) and self.passed_ns > self.newest_ns + timeout_ns

    @property
    def driven_path(self) -> Sequence[Waypoint]:
        """Return the poses every 0.5 m or 10 degrees since the take-over or the last jump."""
        return self._way.driven

    @property
    def driven_path_changes(self) -> int:
        """Return a number that grows with every change of the driven path."""
        return self._way.changes

    def missing(self, until_ns: int) -> str:
        """Return what a movement to a time lacks of an input, '' where nothing is missing."""
        if self.source == RECORDED:
            return ''
        by_pose = self.source in BY_POSE
        needed_ns = until_ns if by_pose else self.passed_ns
        if self.newest_ns is not None and self.newest_ns >= needed_ns:
            return ''
        newest = 'none' if self.newest_ns is None else f'{self.newest_ns // 1000} us'
        where = 'the end of the movement' if by_pose else 'the position'
        return (
            f"no input for ego_source '{self.source}' that is stamped at or after {where}, "
            f'{needed_ns // 1000} us; the newest is {newest}'
        )

    @property
    def reach_ns(self) -> int | None:
        """Return up to when poses are known, at least the position; None for other sources."""
        if self.source not in BY_POSE:
            return None
        return max(self.passed_ns, self.newest_ns or 0)

    # Where it is.

    def pose(self, t_ns: ArrayLike) -> Pose:
        """Return the pose in map, w >= 0: one, or those at times (M,)."""
        if isinstance(t_ns, (int, np.integer)):
            piece = self._piece(int(t_ns))
            if isinstance(piece, AsRecorded):
                return self.recorded.pose(t_ns)
            position, quaternion = self._way.pose(piece, int(t_ns))
            return Pose(np.array(position), np.array(quaternion))
        if not self._pieces:
            return self.recorded.pose(t_ns)
        found = [self.pose(one) for one in many_times(t_ns).tolist()]
        return Pose(
            np.array([one.position for one in found]).reshape(-1, 3),
            np.array([one.quaternion for one in found]).reshape(-1, 4),
        )

    def velocity(self, t_ns: int) -> Twist:
        """Return the velocity in the frame of the rig, per scenario second."""
        piece = self._piece(t_ns)
        if isinstance(piece, AsRecorded):
            return self.recorded.velocity(t_ns)
        if isinstance(piece, GivenPoses):
            values = np.array(piece.velocity(t_ns))
            return Twist(values[:3], values[3:])
        speed, yaw_rate = piece.leg.motion(t_ns)
        return Twist(np.array((speed, 0.0, 0.0)), np.array((0.0, 0.0, yaw_rate)))

    def acceleration(self, t_ns: int) -> NDArray[np.float64] | None:
        """Return the driven motion's acceleration in the frame of the rig; None without one."""
        piece = self._piece(t_ns)
        if not isinstance(piece, DrivenLeg):
            return None
        speed, yaw_rate = piece.leg.motion(t_ns)
        return np.array((piece.leg.acceleration, speed * yaw_rate, 0.0))

    def deviation(self, t_ns: int) -> Deviation:
        piece = self._piece(t_ns)
        if isinstance(piece, AsRecorded):
            return Deviation(0.0, 0.0)
        x, y, yaw = self._way.planar(piece, t_ns)
        return self.path.deviation(x, y, yaw, self._way.place(piece, t_ns, x, y))

    # What happens.

    def put(self, item: Input, *, halted: bool = False) -> Taken:
        """
        Take an input of the source; others are refused.

        `halted`: the clock stands, so that an input of this very moment shows at once. InputError
        for one that cannot be used.
        """
        if isinstance(item, TimedPose):
            return self._put_pose(item, halted=halted)
        return self._put_command(item, halted=halted)

    def change_source(self, source: str, *, halted: bool = False) -> float:
        """
        Let another source move the ego from the position on; return how far it jumps by that.

        From the recorded ego it takes over pose, speed and curvature; between others those of
        the driven one. It jumps back to the recorded one only.
        """
        if source not in SOURCES:
            raise ValueError(f"ego_source is '{source}', expected one of {', '.join(SOURCES)}")
        if source == self.source:
            return 0.0
        at_ns = self.passed_ns
        before, velocity = self.pose(at_ns), self.velocity(at_ns)
        taken_over = self.source == RECORDED
        self.source = source
        self._forget()
        from_ns = at_ns if halted else at_ns + 1
        if source == RECORDED:
            self._cut(from_ns)
            self._pieces.append(AsRecorded(from_ns))
            self._way.forget_driven()
            return float(np.linalg.norm(self.recorded.pose(at_ns).position - before.position))
        self._begin(from_ns, before, velocity, anew=taken_over)
        return 0.0

    def jump(self, t_ns: int) -> None:
        """Put the ego on the recorded one at another position, and forget all inputs."""
        self.passed_ns = t_ns
        self._since_ns = None
        self._pieces.clear()
        self._way.forget_places()
        self._way.forget_driven()
        self._forget()
        if self.source != RECORDED:
            pose, velocity = self.recorded.pose(t_ns), self.recorded.velocity(t_ns)
            self._begin(t_ns, pose, velocity, anew=True)

    def advance_to(self, t_ns: int) -> None:
        """Pass the time up to a moment: what the ego does until then is fixed."""
        passed_ns = self.passed_ns
        if t_ns <= passed_ns:
            return
        if self.source in BY_POSE:
            piece, last = self._given(passed_ns + 1, t_ns), self._pieces[-1]
            if not isinstance(last, GivenPoses) or last.rows != piece.rows:
                self._pieces.append(piece)
            self._way.walk(piece, passed_ns, t_ns)
        elif self.source in BY_COMMAND:
            self._drive_to(t_ns)
        self.passed_ns = t_ns
        self._prune(passed_ns - REMEMBERED_NS)

    # Inputs.

    def _forget(self) -> None:
        self._poses = ReceivedPoses()
        self._pending: list[tuple[int, Command]] = []
        self.newest_ns: int | None = None
        # Since when the last command counts; before the first one, the take-over.
        self._counts_ns = self.passed_ns
        self._command: Command | None = None
        self._ended = False
        self._held = Waypoint(0, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))

    def _put_pose(self, item: TimedPose, *, halted: bool) -> Taken:
        if self.source not in BY_POSE:
            raise not_the_source('a pose', self.source)
        position_ns, t_ns = self.passed_ns, item.stamp_ns or self.passed_ns
        check_pose_stamp(t_ns, position_ns, self.recorded.end_ns)
        self._poses.put(t_ns, item, position_ns)
        self.newest_ns = self._poses.newest_ns
        if not halted or t_ns != position_ns:
            return Taken()
        before = self._pose_now()
        self._cut(position_ns)
        piece = self._given(position_ns, position_ns)
        self._pieces.append(piece)
        self._way.tie(piece, position_ns)
        return Taken(shown=self._pose_now() != before)

    def _put_command(self, item: Command, *, halted: bool) -> Taken:
        kind = 'ackermann' if hasattr(item, 'steering') else 'twist'
        if self.source != kind:
            raise not_the_source(f'a command of {kind}', self.source)
        position_ns, timeout_ns = self.passed_ns, self.command_timeout_ns
        counts_ns, notice = counted_from(item.stamp_ns, position_ns, timeout_ns)
        self.newest_ns = max(counts_ns, self.newest_ns or 0)
        if counts_ns > position_ns:
            place = bisect_left(self._pending, counts_ns, key=itemgetter(0))
            same = place < len(self._pending) and self._pending[place][0] == counts_ns
            end = place + same
            self._pending[place:end] = [(counts_ns, item)]
            del self._pending[:-MOST_KEPT]
            return Taken(notice=notice)
        if self._command is not None and counts_ns < self._counts_ns:
            # A later one was received before.
            return Taken(notice=notice)
        now = halted and item.stamp_ns in (0, position_ns)
        from_ns = position_ns if now else position_ns + 1
        piece = self._driven_leg()
        leg = piece.leg
        self._way.tie(piece, position_ns)
        origin = leg.origin if leg.t_ns == position_ns else leg.state(position_ns)
        self._cut(from_ns)
        self._count(counts_ns, item)
        self._pieces.append(DrivenLeg(from_ns, following(position_ns, origin, item, self.limits)))
        return Taken(notice=notice)

    def _pose_now(self) -> tuple[list[float], list[float]]:
        pose = self.pose(self.passed_ns)
        return pose.position.tolist(), pose.quaternion.tolist()

    def _count(self, counts_ns: int, command: Command) -> None:
        self._counts_ns, self._command, self._ended = counts_ns, command, False

    # Motion.

    def _begin(self, from_ns: int, pose: Pose, velocity: Twist, *, anew: bool) -> None:
        """Start from a pose at the position, with its speed and curvature; `anew`: recorded."""
        at_ns = self.passed_ns
        x, y, z = pose.position.tolist()
        a, b, c, d = pose.quaternion.tolist()
        yaw = yaw_of((a, b, c, d))
        self._cut(from_ns)
        self._counts_ns = at_ns
        piece: Piece
        if self.source in BY_POSE:
            self._held = Waypoint(at_ns, (x, y, z), (a, b, c, d))
            piece = GivenPoses(from_ns, (self._held,))
        else:
            speed, yaw_rate = float(velocity.linear[0]), float(velocity.angular[2])
            # Of one that turns on the spot nothing can be said.
            curvature = yaw_rate / speed if speed else 0.0
            origin = Planar(x, y, yaw, speed, self.limits.steering_of(curvature))
            piece = DrivenLeg(from_ns, keeping(at_ns, origin, self.limits))
        self._pieces.append(piece)
        if anew:
            self._way.begin(at_ns, from_ns, (x, y, z), (a, b, c, d))

    def _driven_leg(self) -> DrivenLeg:
        piece = self._pieces[-1]
        if not isinstance(piece, DrivenLeg):
            raise TypeError(f'{piece!r} is no motion')
        return piece

    def _drive_to(self, until_ns: int) -> None:
        passed_ns = walked_ns = self.passed_ns
        # The legs know nothing of the ground: all is tied to it together.
        states: list[tuple[DrivenLeg, int, PlanarPose]] = []
        while True:
            piece, pending = self._driven_leg(), self._pending
            leg = piece.leg
            command_ns = pending[0][0] if pending else NEVER
            timeout_ns = self.command_timeout_ns
            end_ns = NEVER
            if timeout_ns and not self._ended:
                end_ns = max(self._counts_ns + timeout_ns, passed_ns, leg.t_ns)
            at_ns = min(leg.next_ns, command_ns, end_ns)
            if not leg.stands:
                times = grid_within(walked_ns, min(at_ns - 1, until_ns))
                states += [(piece, t_ns, leg.pose(t_ns)) for t_ns in times]
            if at_ns > until_ns:
                self._way.tie_all(states)
                return
            walked_ns = at_ns
            state = leg.state(at_ns)
            if at_ns > passed_ns:
                states.append((piece, at_ns, (state.x, state.y, state.yaw)))
            if at_ns == command_ns:
                _, command = pending.pop(0)
                self._count(at_ns, command)
                leg = following(at_ns, state, command, self.limits)
            elif at_ns == end_ns:
                self._ended = True
                leg = ending(at_ns, state, self.limits, stops=self.source == 'twist')
            else:
                leg = leg.renewed(at_ns, state)
            from_ns = max(at_ns, passed_ns + 1)
            self._cut(from_ns)
            self._pieces.append(DrivenLeg(from_ns, leg))

    def _given(self, from_ns: int, until_ns: int) -> GivenPoses:
        return GivenPoses(from_ns, self._poses.around(from_ns, until_ns) or (self._held,))

    # Pieces, and where they are.

    def _cut(self, from_ns: int) -> None:
        while self._pieces and self._pieces[-1].from_ns >= from_ns:
            self._pieces.pop()

    def _prune(self, before_ns: int) -> None:
        pieces = self._pieces
        if self.source == RECORDED and pieces and pieces[-1].from_ns <= before_ns:
            pieces.clear()
            self._way.forget_places()
            self._since_ns = None
            return
        if len(pieces) > 1 and pieces[1].from_ns <= before_ns:
            del pieces[: bisect_right(pieces, before_ns, key=attrgetter('from_ns')) - 1]
            self._since_ns = pieces[0].from_ns
        self._way.prune(before_ns)

    def _piece(self, t_ns: int) -> Piece:
        found = bisect_right(self._pieces, t_ns, key=attrgetter('from_ns')) - 1
        if found < 0:
            return AsRecorded(t_ns) if self._since_ns is None else self._pieces[0]
        piece = self._pieces[found]
        if t_ns > self.passed_ns and isinstance(piece, GivenPoses):
            return self._given(self.passed_ns + 1, t_ns)
        return piece
