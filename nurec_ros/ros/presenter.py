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
What is shown of a moment, images apart: clock, frames, odometry, markers and objects.

A jump back in time is shown with care, because ROS orders nothing between topics. A listener
whose clock has jumped and that then handles a transform of the time before keeps it, and refuses
the true ones as old: so no transform goes out, and the clock stands still, until listeners have
had time for what came before. And rviz clears its displays when it notices the jump, and never
asks latched topics again: so everything goes out at once, and a second time a little later (the
player's timer calls `whole` again).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
import time
from typing import Any

import numpy as np
from nurec_ros.ros.frames import FrameNames
from nurec_ros.ros.publishers.clock import ClockPublisher
from nurec_ros.ros.publishers.ego import EgoPublisher
from nurec_ros.ros.publishers.objects import ObjectsPublisher
from nurec_ros.ros.publishers.odometry import OdometryPublisher
from nurec_ros.ros.publishers.path import PathPublisher
from nurec_ros.ros.publishers.tf import TfPublisher
from nurec_ros.ros.publishers.tracks import TracksPublisher
from nurec_ros.scenario import Scenario

SECOND = 1_000_000_000

# Between the last transform of the time before a jump and the first message of the time after.
# A listener that is busy with an image handles late what came in time: with tf2's own buffer and
# callbacks of 30 ms, half of all jumps left stale transforms after 8 ms, none after 50 ms.
QUIET_S = 0.05

JUMP, JUMP_BACK = 'jump', 'jump back'


class Presenter:
    """
    The scenario-wide topics, for the scenario that was given last.

    Used by the executor's thread alone. The publishers are made when the first scenario comes: a
    player without one offers its state and its diagnostics only. While a jump is not settled,
    nothing goes out but the clock, at the position that was shown last. `now` gives
    steady seconds.
    """

    def __init__(
        self,
        node: Any,
        parameters: Any,
        scenario: Scenario,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parameters = parameters
        self._scenario = scenario
        self._now = now
        self._last_pose_s = -float('inf')
        self._pending = ''
        # A scenario that is not on its topics yet; the first one takes nobody's place.
        self._changed = True
        self._shown_ns: int | None = None
        self._ego_shown = False
        frames = frames_of(parameters, scenario)
        self._clock = ClockPublisher(node) if parameters.publish_clock else None
        self._tf = TfPublisher(
            node,
            frames,
            publish_tf=parameters.publish_tf,
            publish_camera_frames=parameters.publish_camera_frames,
        )
        self._odometry = OdometryPublisher(node, frames) if parameters.publish_tf else None
        self._path = PathPublisher(node, frames)
        self._ego = EgoPublisher(node, frames)
        self._tracks = TracksPublisher(node, frames)
        self._objects = ObjectsPublisher(node, frames)

    # Jumps, which the clock's timer shows: between its messages there are no others.

    def change(self, scenario: Scenario) -> None:
        """Show another scenario from now on; on its topics once that is settled."""
        self._scenario = scenario
        self._tf.frames = frames_of(self._parameters, scenario)
        self._changed = True
        self._pending = JUMP_BACK

    def jump_back(self) -> None:
        """Note that the position now lies before the one that was shown last."""
        self._pending = JUMP_BACK

    def jump(self) -> None:
        """Note that the position is another one than time alone has led to."""
        self._pending = self._pending or JUMP

    @property
    def unsettled(self) -> bool:
        """Say whether a jump is still to be shown, and everything else waits for that."""
        return bool(self._pending)

    @property
    def goes_back(self) -> bool:
        """Say whether a jump back is still to be shown."""
        return self._pending == JUMP_BACK

    def settle(self, t_ns: int) -> str:
        """Show a jump that led to this position if it is time; say which kind was shown now."""
        pending = self._pending
        if not pending:
            return ''
        if pending == JUMP_BACK and self._now() - self._last_pose_s < QUIET_S:
            return ''
        self._pending = ''
        shown_before = self._shown_ns is not None
        self.clock(t_ns)
        if pending == JUMP:
            self.repeat(t_ns)
            return pending
        if shown_before:
            self.delete_markers(t_ns)
        if self._changed:
            self._changed = False
            self._static(t_ns)
        self.whole(t_ns)
        return pending

    # Moments.

    def repeat(self, t_ns: int) -> None:
        """Publish again what is not latched and does not go out by itself while halted."""
        self.pose(t_ns)
        self.tracks(t_ns)

    def whole(self, t_ns: int) -> None:
        """Publish everything of a moment, as rviz needs it after it cleared its displays."""
        if self._pending:
            return
        self._path.publish(self._scenario.ego)
        if self._scenario.rig_bbox is not None:
            self._ego.publish(t_ns, self._scenario.rig_bbox)
            self._ego_shown = True
        elif self._ego_shown:
            self._ego.delete(t_ns)
            self._ego_shown = False
        self.pose(t_ns)
        self.tracks(t_ns)

    def clock(self, t_ns: int) -> None:
        """Publish the clock, where this player owns it."""
        if not self._pending:
            self._shown_ns = t_ns
        if self._clock is not None and self._shown_ns is not None:
            self._clock.publish(self._shown_ns)

    def pose(self, t_ns: int, image_times_ns: Iterable[int] = ()) -> None:
        """Publish the ego's frame and odometry of a moment, and its frame at images' stamps."""
        if self._odometry is None or self._pending:
            return
        ego = self._scenario.ego
        image_times = set(image_times_ns)
        if image_times:
            times = np.array(sorted(image_times | {t_ns}), dtype=np.int64)
            poses = ego.at(times)
            self._tf.publish_many(times, poses)
            T_map_rig = poses[-1]
        else:
            T_map_rig = ego.at(t_ns)
            self._tf.publish(t_ns, T_map_rig)
        self._last_pose_s = self._now()
        if self._odometry.listened:
            self._odometry.publish(t_ns, T_map_rig, ego.velocity(t_ns))

    def tracks(self, t_ns: int) -> None:
        """Publish the road users of a moment."""
        if self._pending:
            return
        tracks = self._scenario.tracks
        active = tracks.at(t_ns)
        velocities = tracks.velocities(active) if self._parameters.velocity_arrows else None
        trails = None
        if self._parameters.trail_length_s > 0:
            start_ns = t_ns - round(self._parameters.trail_length_s * SECOND)
            trails = [tracks.trail(int(index), start_ns, t_ns) for index in active.indices]
        self._tracks.publish(active, velocities=velocities, trails=trails)
        self._objects.publish(active)

    def _static(self, stamp_ns: int) -> None:
        scenario = self._scenario
        earth = scenario.T_earth_map if self._parameters.publish_earth_frame else None
        self._tf.publish_static(scenario.cameras.values(), earth, stamp_ns)

    # The end, and others.

    def delete_markers(self, t_ns: int) -> None:
        """Take all tracks' markers off the displays."""
        self._tracks.delete_all(t_ns)

    def wait_for_markers(self, timeout_s: float) -> None:
        """Wait until every viewer has the markers, or their deletion, but not for long."""
        self._tracks.wait(timeout_s)

    def other_clocks(self) -> int:
        """Count the others who publish the time where this player does."""
        return self._clock.others() if self._clock is not None else 0


def frames_of(parameters: Any, scenario: Scenario) -> FrameNames:
    """Give the frames' names; ConfigurationError where two would be the same."""
    return FrameNames.create(
        map_frame=parameters.map_frame,
        base_frame=parameters.base_frame,
        odom_frame=parameters.odom_frame,
        prefix=parameters.frame_prefix,
        cameras=scenario.cameras,
    )
