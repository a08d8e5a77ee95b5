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
The ego over ROS: inputs that drive it, what is shown beside it meanwhile, and ~/imu and ~/fix.

An input is subscribed only while `ego_source` names it. What cannot be used is counted by its
reason, and said once. IMU and fix are derived from the drive as sensors in it would see it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
import time

from geometry_msgs.msg import PoseStamped, TransformStamped, Twist, TwistStamped
from nav_msgs.msg import Odometry, Path
import numpy as np
from numpy.typing import NDArray
from nurec_ros.driving import AckermannCommand, DrivenEgo, InputError, TimedPose, TwistCommand
from nurec_ros.driving.ego import BY_POSE
from nurec_ros.driving.inputs import check_frame, Input
from nurec_ros.driving.recorded_path import Waypoint
from nurec_ros.errors import ConfigurationError
from nurec_ros.playback.clock import regular_times
from nurec_ros.poses import Pose
from nurec_ros.ros.conversions import (
    pose_stamped,
    set_quaternion,
    set_time,
    set_vector,
    time_of,
    transform_stamped,
)
from nurec_ros.ros.markers import ego_marker
from nurec_ros.ros.names import FrameNames
from nurec_ros.ros.outlet import latched, Outlet, Publication, reliable, take_away
from nurec_ros.scenario import Scenario
from nurec_ros.scenario.localization import geodetic, Inertial, InertialMotion, measured
from nurec_ros.settings import Settings
from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import Imu, NavSatFix, NavSatStatus
from visualization_msgs.msg import Marker, MarkerArray

try:
    from ackermann_msgs.msg import AckermannDriveStamped
except ImportError:
    AckermannDriveStamped = None

# One step of the clock may hold many.
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
        check_frame('frame_id', message.header.frame_id, self._frames()[:1])
        at, to = message.pose.position, message.pose.orientation
        return TimedPose.checked(
            time_of(message.header.stamp), (at.x, at.y, at.z), (to.x, to.y, to.z, to.w)
        )

    def _odometry(self, message: Odometry) -> TimedPose:
        *of_pose, base_frame = self._frames()
        check_frame('frame_id', message.header.frame_id, of_pose)
        check_frame('child_frame_id', message.child_frame_id, (base_frame,))
        at, to = message.pose.pose.position, message.pose.pose.orientation
        linear, angular = message.twist.twist.linear, message.twist.twist.angular
        return TimedPose.checked(
            time_of(message.header.stamp),
            (at.x, at.y, at.z),
            (to.x, to.y, to.z, to.w),
            twist=(linear.x, linear.y, linear.z, angular.x, angular.y, angular.z),
        )

    def _twist(self, message: Twist) -> TwistCommand:
        return TwistCommand.checked(0, message.linear.x, message.angular.z)

    def _twist_stamped(self, message: TwistStamped) -> TwistCommand:
        check_frame('frame_id', message.header.frame_id, self._frames()[2:])
        twist = message.twist
        return TwistCommand.checked(time_of(message.header.stamp), twist.linear.x, twist.angular.z)

    def _ackermann(self, message: AckermannDriveStamped) -> AckermannCommand:
        check_frame('frame_id', message.header.frame_id, self._frames()[2:])
        drive = message.drive
        return AckermannCommand.checked(
            time_of(message.header.stamp),
            drive.speed,
            drive.steering_angle,
            acceleration=drive.acceleration,
            steering_rate=drive.steering_angle_velocity,
        )


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
        frame = frames.prefix + RECORDED_FRAME
        marker = ego_marker(scenario.rig_bbox, frame, 'ego_recorded', GHOST_COLOUR, t_ns)
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


class EgoSensors:
    """
    The topics, as far as their rates are above 0, of the scenario that was given last.

    Used by one thread alone.
    """

    def __init__(self, outlet: Outlet, settings: Settings) -> None:
        self._outlet = outlet
        self._settings = settings
        self._scenario: Scenario | None = None
        self._driver: DrivenEgo | None = None
        self._times_ns: dict[str, NDArray[np.int64]] = {}
        self._motion: InertialMotion | None = None
        self._imu: Publication | None = None
        self._fix: Publication | None = None
        self._imu_message = Imu()
        self._fix_message = NavSatFix()
        self._fix_message.status.status = NavSatStatus.STATUS_FIX
        self._fix_message.status.service = NavSatStatus.SERVICE_GPS
        self._fix_message.position_covariance_type = NavSatFix.COVARIANCE_TYPE_UNKNOWN

    def change(
        self,
        scenario: Scenario,
        motion: InertialMotion | None,
        frame: str,
        driver: DrivenEgo | None,
    ) -> None:
        """
        Show another scenario.

        motion: along its recorded poses, for an IMU; `driver` is who may drive in their place.
        """
        settings = self._settings
        rates = {'imu': settings.imu_rate, 'fix': settings.fix_rate}
        range_ns = settings.range_ns(scenario)
        times_ns = {name: regular_times(rate, *range_ns) for name, rate in rates.items() if rate}
        on_earth = scenario.T_earth_map is not None
        if settings.imu_rate and self._imu is None:
            self._imu = self._outlet.advertise(Imu, '~/imu', reliable(DEPTH))
        if settings.fix_rate and on_earth and self._fix is None:
            self._fix = self._outlet.advertise(NavSatFix, '~/fix', reliable(DEPTH))
        elif self._fix is not None and not on_earth:
            self._fix.destroy()
            self._fix = None
        self._scenario, self._driver, self._motion = scenario, driver, motion
        self._times_ns = times_ns
        self._imu_message.header.frame_id = self._fix_message.header.frame_id = frame

    def publish(self, after_ns: int, until_ns: int) -> None:
        """Publish what is due in (after, until], for those who subscribe."""
        topics = {'imu': (self._imu, self._publish_imu), 'fix': (self._fix, self._publish_fix)}
        for name, (publication, publish) in topics.items():
            if publication is not None and publication.subscribers:
                times_ns = self._times_ns[name]
                first, last = np.searchsorted(times_ns, (after_ns, until_ns), side='right')
                for t_ns in times_ns[first:last].tolist():
                    publish(publication, t_ns)

    def _publish_imu(self, publication: Publication, t_ns: int) -> None:
        found = self._inertial(t_ns)
        if found is None:
            return
        message = self._imu_message
        set_time(message.header.stamp, t_ns)
        set_quaternion(message.orientation, found.quaternion)
        set_vector(message.angular_velocity, found.angular_velocity)
        set_vector(message.linear_acceleration, found.acceleration)
        publication.publish(message)

    def _inertial(self, t_ns: int) -> Inertial | None:
        """Return what is measured; None for an ego that is put from pose to pose."""
        driver = self._driver
        if driver is not None and driver.source in BY_POSE:
            return None
        if driver is None or driver.is_recorded:
            return self._motion.at(t_ns) if self._motion is not None else None
        acceleration = driver.acceleration(t_ns)
        if acceleration is None:
            return None
        angular = driver.velocity(t_ns).angular
        return measured(driver.pose(t_ns).quaternion, angular, acceleration)

    def _publish_fix(self, publication: Publication, t_ns: int) -> None:
        scenario, driver = self._scenario, self._driver
        # The topic is there while this is.
        assert scenario is not None
        T_earth_map = scenario.T_earth_map
        assert T_earth_map is not None
        ego = scenario.ego if driver is None or driver.is_recorded else driver
        place = T_earth_map[:3, :3] @ ego.pose(t_ns).position + T_earth_map[:3, 3]
        message = self._fix_message
        set_time(message.header.stamp, t_ns)
        message.latitude, message.longitude, message.altitude = geodetic(*place.tolist())
        publication.publish(message)
