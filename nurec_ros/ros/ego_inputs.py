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
Driving over ROS: the inputs of the ego, and what is shown while it is not the recorded one.

An input is subscribed only while `ego_source` names it. What cannot be used is counted by its
reason, and said once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
import time

from geometry_msgs.msg import PoseStamped, TransformStamped, Twist, TwistStamped
from nav_msgs.msg import Odometry, Path
import numpy as np
from nurec_ros.driving import (
    AckermannCommand,
    DrivenEgo,
    InputError,
    TimedPose,
    TwistCommand,
)
from nurec_ros.driving.inputs import Input
from nurec_ros.driving.recorded_path import Waypoint
from nurec_ros.errors import ConfigurationError
from nurec_ros.poses import Pose
from nurec_ros.ros.conversions import (
    pose_stamped,
    set_time,
    set_vector,
    transform_stamped,
)
from nurec_ros.ros.markers import new_marker
from nurec_ros.ros.names import FrameNames
from nurec_ros.ros.outlet import latched, Outlet, reliable, take_away
from nurec_ros.scenario import Scenario
from nurec_ros.settings import Settings
from rclpy.node import Node
from rclpy.subscription import Subscription
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

try:
    from ackermann_msgs.msg import AckermannDriveStamped
except ImportError:
    AckermannDriveStamped = None

SECOND = 1_000_000_000
DEPTH = 100
RECORDED_FRAME = 'recorded_base_link'
GHOST_COLOUR = (0.6, 0.6, 0.65, 0.35)
# What the ego does without further inputs.
SILENCE = {
    'pose': 'the last pose is held',
    'odometry': 'the last pose is held',
    'twist': 'the ego stands',
    'ackermann': 'the ego brakes',
}
# A driven path of some length is sent again when it has grown by this part, and while the clock
# plays not before so much time per pose: making the message takes 0.03 ms of each.
GROWTH, PAUSE_S = 0.005, 5e-4


def check_source(source: str) -> None:
    """Raise ConfigurationError where a source needs a package that is not installed."""
    if source == 'ackermann' and AckermannDriveStamped is None:
        raise ConfigurationError(
            "parameter 'ego_source' is 'ackermann', which needs the package ackermann_msgs; "
            'install it, or drive with twist'
        )


@dataclass(slots=True)
class OddInputs:
    """Inputs of the ego: dropped, by reason; and those that count from their arrival instead."""

    dropped: Counter[str] = field(default_factory=Counter)
    restamped: int = 0


class EgoInputs:
    """
    The subscription of the source that is selected.

    `take` gets each input, or why it cannot be used; InputError from it is counted. `warn` logs.
    """

    def __init__(
        self,
        node: Node,
        settings: Callable[[], Settings],
        take: Callable[[Input | InputError], None],
        warn: Callable[[str], None],
    ) -> None:
        self._node = node
        self._settings = settings
        self._take = take
        self._warn = warn
        self._subscription: Subscription | None = None
        self._told: set[str] = set()
        self.odd = OddInputs()
        self._silent = False

    def select(self, source: str) -> None:
        """Subscribe what a source needs, and nothing else; ConfigurationError where it cannot."""
        check_source(source)
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None
        stamped = self._settings().cmd_vel_stamped
        by_source: dict[str, tuple[type, str, Callable[..., Input]]] = {
            'pose': (PoseStamped, '~/ego_pose', self._pose),
            'odometry': (Odometry, '~/ego_odometry', self._odometry),
            'twist': (
                TwistStamped if stamped else Twist,
                '~/cmd_vel',
                self._twist_stamped if stamped else self._twist,
            ),
            'ackermann': (AckermannDriveStamped, '~/ackermann_cmd', self._ackermann),
        }
        if source in by_source:
            message_type, topic, parse = by_source[source]
            self._subscription = self._node.create_subscription(
                message_type,
                topic,
                lambda message: self._received(parse, message),
                reliable(DEPTH),
            )

    def restamp(self, reason: str, sentence: str) -> None:
        """Count an input that counts from its arrival, and say why once; '' for others."""
        if reason:
            self.odd.restamped += 1
            self._note(reason, sentence)

    def _note(self, reason: str, sentence: str) -> None:
        if reason not in self._told:
            self._told.add(reason)
            self._warn(sentence)

    def look(self, ego: DrivenEgo | None) -> None:
        """Warn of a driver that is not heard any more, or never will be; each time, and once."""
        self._look_for_other_twists()
        silent = ego is not None and ego.starved and ego.newest_ns is not None
        if ego is not None and ego.newest_ns is not None and silent and not self._silent:
            self._warn(
                f'no input for ego_source {ego.source} after that of {ego.newest_ns // 1000} us: '
                + SILENCE[ego.source]
            )
        self._silent = silent

    def _look_for_other_twists(self) -> None:
        if self._subscription is None or self._settings().ego_source != 'twist':
            return
        topic = self._subscription.topic_name
        stamped = self._settings().cmd_vel_stamped
        expected = 'geometry_msgs/msg/' + ('TwistStamped' if stamped else 'Twist')
        for writer in self._node.get_publishers_info_by_topic(topic):
            if writer.topic_type != expected:
                self._note(
                    f'type of {topic}',
                    f'{writer.node_name} publishes {writer.topic_type} on {topic}, expected '
                    f'{expected}: set cmd_vel_stamped:={str(not stamped).lower()} for it',
                )

    def _received(self, parse: Callable[..., Input], message: object) -> None:
        dropped: InputError | None = None
        item: Input | InputError
        try:
            item = parse(message)
        except InputError as error:
            item = dropped = error
        try:
            self._take(item)
        except InputError as error:
            dropped = error
        if dropped is not None:
            self.odd.dropped[dropped.reason] += 1
            topic = '' if self._subscription is None else self._subscription.topic_name
            self._note(f'{topic}: {dropped.reason}', f'{topic}: {dropped}; it is dropped')

    # Messages.

    def _frames(self) -> tuple[str, str, str]:
        settings = self._settings()
        prefix, odom = settings.frame_prefix, settings.odom_frame
        return settings.map_frame, prefix + odom if odom else '', prefix + settings.base_frame

    def _pose(self, message: PoseStamped) -> TimedPose:
        at, to = message.pose.position, message.pose.orientation
        return TimedPose.checked(
            _stamp_ns(message.header),
            (at.x, at.y, at.z),
            (to.x, to.y, to.z, to.w),
            frame=message.header.frame_id,
            frames=self._frames()[:1],
        )

    def _odometry(self, message: Odometry) -> TimedPose:
        at, to = message.pose.pose.position, message.pose.pose.orientation
        linear, angular = message.twist.twist.linear, message.twist.twist.angular
        map_frame, odom_frame, base_frame = self._frames()
        return TimedPose.checked(
            _stamp_ns(message.header),
            (at.x, at.y, at.z),
            (to.x, to.y, to.z, to.w),
            twist=(linear.x, linear.y, linear.z, angular.x, angular.y, angular.z),
            frame=message.header.frame_id,
            frames=(map_frame, odom_frame),
            child=message.child_frame_id,
            children=(base_frame,),
        )

    def _twist(self, message: Twist) -> TwistCommand:
        return TwistCommand.checked(0, message.linear.x, message.angular.z)

    def _twist_stamped(self, message: TwistStamped) -> TwistCommand:
        return TwistCommand.checked(
            _stamp_ns(message.header),
            message.twist.linear.x,
            message.twist.angular.z,
            frame=message.header.frame_id,
            frames=self._frames()[2:],
        )

    def _ackermann(self, message: AckermannDriveStamped) -> AckermannCommand:
        drive = message.drive
        return AckermannCommand.checked(
            _stamp_ns(message.header),
            drive.speed,
            drive.steering_angle,
            acceleration=drive.acceleration,
            steering_rate=drive.steering_angle_velocity,
            frame=message.header.frame_id,
            frames=self._frames()[2:],
        )


def _stamp_ns(header: Header) -> int:
    return int(header.stamp.sec) * SECOND + int(header.stamp.nanosec)


class DrivenTopics:
    """The recorded ego beside the driven one, and the driven path; made while somebody drives."""

    def __init__(self, outlet: Outlet) -> None:
        self._box = outlet.advertise(MarkerArray, '~/ego_recorded', latched())
        try:
            self._path = outlet.advertise(Path, '~/driven_path', latched())
        except BaseException:
            self._box.destroy()
            raise
        self._message = Path()
        self._changes = -1
        self._rows: list[Waypoint] = []
        self._sent_s = 0.0

    def destroy(self) -> None:
        """Take the topics away, and the box off the displays."""
        take_away(self._box, MarkerArray(markers=[Marker(action=Marker.DELETEALL)]))
        self._path.destroy()

    def transforms(
        self, scenario: Scenario, frames: FrameNames, times_ns: Sequence[int]
    ) -> list[TransformStamped]:
        """Return map to the recorded ego, at each of the times."""
        poses = scenario.ego.pose(np.array(times_ns, dtype=np.int64))
        child = frames.prefix + RECORDED_FRAME
        return [
            transform_stamped(t_ns, frames.map_frame, child, Pose(position, quaternion))
            for t_ns, position, quaternion in zip(
                times_ns, poses.position, poses.quaternion, strict=True
            )
        ]

    def show_box(self, scenario: Scenario, frames: FrameNames, t_ns: int) -> None:
        """Publish the box of the recorded ego in its own frame."""
        if scenario.rig_bbox is None:
            return
        header = Header(frame_id=frames.prefix + RECORDED_FRAME)
        set_time(header.stamp, t_ns)
        marker = new_marker(header, 'ego_recorded', 0, Marker.CUBE)
        marker.frame_locked = True
        set_vector(marker.pose.position, scenario.rig_bbox.centre)
        set_vector(marker.scale, scenario.rig_bbox.dims)
        red, green, blue, alpha = GHOST_COLOUR
        marker.color = ColorRGBA(r=red, g=green, b=blue, a=alpha)
        self._box.publish(MarkerArray(markers=[marker]))

    def show_path(self, ego: DrivenEgo, map_frame: str, *, all_of_it: bool) -> None:
        """Publish the driven path where it has changed; a long one not for every metre."""
        rows, changes = ego.driven_path, ego.driven_path_changes
        grown, now_s = changes - self._changes, time.monotonic()
        early = 0 < grown < GROWTH * len(rows) or now_s - self._sent_s < PAUSE_S * len(rows)
        if grown == 0 or (early and not all_of_it):
            return
        message = self._message
        message.header.frame_id = map_frame
        known = dict(zip(map(id, self._rows), message.poses, strict=True))
        message.poses = [
            known.get(id(row)) or pose_stamped(row.t_ns, map_frame, row.position, row.quaternion)
            for row in rows
        ]
        # One is where the driving began.
        message.header.stamp = message.poses[0].header.stamp
        self._changes, self._rows, self._sent_s = changes, list(rows), now_s
        self._path.publish(message)
