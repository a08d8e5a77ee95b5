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
What a moment looks like on the scenario-wide topics; images apart.

The sensors' own topics stand in `sensor_topics`. Everything here goes to an outlet: the ROS graph,
or a bag.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry, Path
import numpy as np
from numpy.typing import NDArray
from nurec_ros.driving import DrivenEgo
from nurec_ros.driving.ego import RECORDED
from nurec_ros.playback.effects import PlaybackState, Show, ShowAll, ShowJump
from nurec_ros.poses import Pose
from nurec_ros.ros.conversions import (
    diagnostic,
    path_message,
    R_BODY_OPTICAL,
    set_pose,
    set_time,
    set_transform,
    set_vector,
    transform_stamped,
)
from nurec_ros.ros.ego_topics import DrivenTopics, EgoSensors
from nurec_ros.ros.markers import (
    delete_all_marker,
    ego_marker,
    lane_markers,
    LaneTopic,
    TrackMarkers,
)
from nurec_ros.ros.names import EARTH, frame_names, FrameNames
from nurec_ros.ros.outlet import latched, Outlet, Publication, reliable
from nurec_ros.scenario import Scenario
from nurec_ros.scenario.localization import InertialMotion
from nurec_ros.scenario.tracks import ActiveTracks
from nurec_ros.scenario.trajectory import Trajectory
from nurec_ros.settings import Settings
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

try:
    from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose
except ImportError:
    Detection3D = Detection3DArray = ObjectHypothesisWithPose = None

SECOND = 1_000_000_000
IDENTITY = Pose(np.zeros(3), np.array((0.0, 0.0, 0.0, 1.0)))
# So many poses are computed faster one by one than as an array.
FEW = 6
EGO_COLOUR = (0.46, 0.73, 0.0, 0.8)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What of a scenario takes long to make and needs no topic: the lanes, an IMU's motion."""

    lanes: list[Marker]
    motion: InertialMotion | None

    @classmethod
    def of(cls, settings: Settings, scenario: Scenario) -> Prepared:
        """Make it, in any thread: for a large map or an IMU that may take a second."""
        motion = InertialMotion(scenario.ego) if settings.imu_rate else None
        return cls(lane_markers(scenario.road_map), motion)


class ScenarioTopics:
    """
    Clock, frames, odometry, path, lanes, markers and objects of the scenario that was given last.

    Used by one thread alone. `settings` returns the parameters' values as they are now.
    """

    def __init__(
        self, outlet: Outlet, settings: Callable[[], Settings], scenario: Scenario
    ) -> None:
        self._settings = settings
        self._scenario = scenario
        self._ego: Trajectory | DrivenEgo = scenario.ego
        self._frames = frame_names(settings(), scenario.sensors)
        self._shown = self._box_shown = False
        made: list[Publication] = []

        def advertise(message_type: type, topic: str, qos: QoSProfile) -> Publication:
            made.append(outlet.advertise(message_type, topic, qos))
            return made[-1]

        wanted = settings()
        try:
            self._clock = (
                advertise(Clock, '/clock', reliable(10)) if wanted.publish_clock else None
            )
            self._tf = self._odom = None
            if wanted.publish_tf:
                self._tf = advertise(TFMessage, '/tf', reliable(100))
                self._odom = advertise(Odometry, '~/odom', reliable(10))
            self._tf_static = advertise(TFMessage, '/tf_static', latched())
            self._path = advertise(Path, '~/path', latched())
            self._box = advertise(MarkerArray, '~/ego', latched())
            self._tracks = advertise(MarkerArray, '~/tracks', reliable(10))
            self._objects = None
            if Detection3DArray is not None:
                self._objects = advertise(Detection3DArray, '~/objects', reliable(10))
        except BaseException:
            for publication in made:
                publication.destroy()
            raise
        self._clock_message = Clock()
        self._tf_message = TFMessage()
        self._odom_message = Odometry(child_frame_id=self._frames.base_frame)
        self._odom_message.header.frame_id = self._frames.parent
        self._path_of: object = None
        self._path_message = Path()
        self._markers = TrackMarkers(self._frames.map_frame)
        self._detections: list[Detection3D] = []
        self._objects_header = Header(frame_id=self._frames.map_frame)
        self._outlet = outlet
        # While somebody drives.
        self._driver: DrivenEgo | None = None
        self._driven: DrivenTopics | None = None
        self._sensors = EgoSensors(outlet, wanted)
        self._lanes = LaneTopic(outlet)

    @property
    def clock_topic(self) -> str:
        """Return the name of the clock's topic, '' where this player does not publish it."""
        return self._clock.topic if self._clock is not None else ''

    def change(
        self,
        scenario: Scenario,
        ego: DrivenEgo | None = None,
        prepared: Prepared | None = None,
    ) -> None:
        """
        Show another scenario from now on; where that cannot be, the one before.

        prepared: what was made of the scenario already.
        """
        settings = self._settings()
        frames = frame_names(settings, scenario.sensors)
        made = prepared or Prepared.of(settings, scenario)
        self._lanes.change(made.lanes, frames.map_frame)
        self._frames = frames
        self._scenario = scenario
        self._ego = scenario.ego
        self._driver = ego
        self.change_driver()
        self._sensors.change(scenario, made.motion, self._frames.base_frame, ego)

    def change_driver(self) -> None:
        """Show what belongs to an ego that is driven, or not any more."""
        ego = self._driver
        if ego is None:
            return
        self._ego = self._scenario.ego if ego.is_recorded else ego
        if ego.source != RECORDED and self._driven is None:
            self._driven = DrivenTopics(self._outlet)
        elif ego.source == RECORDED and self._driven is not None:
            self._driven.destroy()
            self._driven = None
        if self._driven is not None and self._shown:
            self._show_driven(ego.passed_ns)

    def _show_driven(self, t_ns: int) -> None:
        if self._driven is not None and self._driver is not None:
            self._driven.show_box(self._scenario, self._frames, t_ns)
            self._driven.show_path(self._driver, self._frames.map_frame, all_of_it=True)

    # Effects.

    def show(self, moment: Show) -> None:
        if moment.clock and self._clock is not None:
            set_time(self._clock_message.clock, moment.t_ns)
            self._clock.publish(self._clock_message)
        if moment.pose:
            self._publish_pose(moment.t_ns, moment.stamps)
        if moment.after_ns is not None:
            self._sensors.publish(moment.after_ns, moment.t_ns)
        if moment.tracks:
            self._publish_tracks(moment.t_ns)
            if self._driven is not None and self._driver is not None:
                self._driven.show_path(self._driver, self._frames.map_frame, all_of_it=moment.pose)

    def show_jump(self, jump: ShowJump) -> None:
        """Show a jump back or another scenario, in the order that viewers need."""
        self.show(Show(jump.t_ns, clock=True))
        if self._shown:
            self.delete_markers(jump.t_ns)
        if jump.loaded:
            # All of its markers are gone: the numbers begin anew.
            self._markers = TrackMarkers(self._frames.map_frame)
            self._publish_static(jump.t_ns)
        self._shown = True
        self.show_all(ShowAll(jump.t_ns))
        self._sensors.publish(jump.t_ns - 1, jump.t_ns)

    def show_all(self, moment: ShowAll) -> None:
        """Show everything of a moment, as rviz needs it after it cleared its displays."""
        ego = self._scenario.ego
        if self._path_of is not ego:
            self._path_message = path_message(ego, self._frames.map_frame)
            self._path_of = ego
        self._path.publish(self._path_message)
        self._lanes.show(moment.t_ns)
        self._publish_box(moment.t_ns)
        self._show_driven(moment.t_ns)
        self._publish_pose(moment.t_ns)
        self._publish_tracks(moment.t_ns)

    def delete_markers(self, t_ns: int) -> None:
        """Take all tracks' markers off the displays."""
        self._tracks.publish(self._markers.delete_all(t_ns))

    def flush_markers(self, timeout_s: float) -> None:
        """Wait until every viewer has the markers, or their deletion, but not for longer."""
        self._tracks.flush(timeout_s)

    # Topics.

    def _publish_pose(self, t_ns: int, stamps: Sequence[int] = ()) -> None:
        if self._tf is None or self._odom is None:
            return
        transforms = self._tf_message.transforms
        times = sorted({*stamps, t_ns})
        while len(transforms) < len(times):
            transforms.append(
                transform_stamped(0, self._frames.parent, self._frames.base_frame, IDENTITY)
            )
        wanted = len(times)
        del transforms[wanted:]
        if len(times) <= FEW:
            for transform, time_ns in zip(transforms, times, strict=True):
                set_transform(transform, time_ns, self._ego.pose(time_ns))
        else:
            poses = self._ego.pose(np.array(times, dtype=np.int64))
            for number, time_ns in enumerate(times):
                pose = Pose(poses.position[number], poses.quaternion[number])
                set_transform(transforms[number], time_ns, pose)
        if self._driven is None:
            self._tf.publish(self._tf_message)
        else:
            recorded = self._driven.transforms(self._scenario, self._frames, times)
            self._tf.publish(TFMessage(transforms=[*transforms, *recorded]))
        if self._odom.subscribers:
            message, velocity = self._odom_message, self._ego.velocity(t_ns)
            set_time(message.header.stamp, t_ns)
            set_pose(message.pose.pose, self._ego.pose(t_ns))
            set_vector(message.twist.twist.linear, velocity.linear)
            set_vector(message.twist.twist.angular, velocity.angular)
            self._odom.publish(message)

    def _publish_tracks(self, t_ns: int) -> None:
        drawn = bool(self._tracks.subscribers)
        listed = self._objects is not None and bool(self._objects.subscribers)
        if not drawn and not listed:
            return
        tracks, settings = self._scenario.tracks, self._settings()
        active = tracks.at(t_ns)
        if drawn:
            velocities = tracks.velocities(active) if settings.velocity_arrows else None
            trails = None
            if settings.trail_length_s > 0:
                start_ns = t_ns - round(settings.trail_length_s * SECOND)
                trails = [tracks.trail(int(index), start_ns, t_ns) for index in active.indices]
            self._tracks.publish(self._markers.message(active, velocities, trails))
        if listed and self._objects is not None:
            self._objects.publish(self._objects_message(active))

    def _objects_message(self, active: ActiveTracks) -> Detection3DArray:
        set_time(self._objects_header.stamp, active.t_ns)
        while len(self._detections) < len(active.ids):
            self._detections.append(self._detection())
        detections = self._detections[: len(active.ids)]
        rows = zip(
            detections,
            active.ids,
            active.labels,
            active.positions.tolist(),
            active.quaternions.tolist(),
            active.dims.tolist(),
            strict=True,
        )
        for detection, track_id, label, position, quaternion, dims in rows:
            detection.id = track_id
            detection.results[0].hypothesis.class_id = label
            at, to = detection.bbox.center.position, detection.bbox.center.orientation
            at.x, at.y, at.z = position
            to.x, to.y, to.z, to.w = quaternion
            size = detection.bbox.size
            size.x, size.y, size.z = dims
        return Detection3DArray(header=self._objects_header, detections=detections)

    def _detection(self) -> Detection3D:
        detection = Detection3D(header=self._objects_header)
        result = ObjectHypothesisWithPose()
        # What was recorded and labelled is certain, and is where the box is.
        result.hypothesis.score = 1.0
        result.pose.pose = detection.bbox.center
        detection.results = [result]
        return detection

    def _publish_box(self, t_ns: int) -> None:
        """Publish the ego's box in base; late subscribers get it until the next one."""
        box, frame = self._scenario.rig_bbox, self._frames.base_frame
        if box is not None:
            marker = ego_marker(box, frame, 'ego', EGO_COLOUR, t_ns)
            self._box.publish(MarkerArray(markers=[marker]))
        elif self._box_shown:
            header = Header(frame_id=frame)
            set_time(header.stamp, t_ns)
            self._box.publish(MarkerArray(markers=[delete_all_marker(header)]))
        self._box_shown = box is not None

    def _publish_static(self, t_ns: int) -> None:
        """Publish all fixed frames in one message: the sensors', odom, and earth where known."""
        frames, scenario, settings = self._frames, self._scenario, self._settings()
        transforms = []
        if settings.publish_earth_frame and scenario.T_earth_map is not None:
            earth = Pose.from_matrix(scenario.T_earth_map)
            transforms.append(transform_stamped(t_ns, EARTH, frames.map_frame, earth))
        if frames.odom_frame and settings.publish_tf:
            transforms.append(
                transform_stamped(t_ns, frames.map_frame, frames.odom_frame, IDENTITY)
            )
        if settings.publish_camera_frames:
            for camera in scenario.cameras.values():
                transforms += _camera_transforms(frames, camera.name, camera.T_rig_camera, t_ns)
            for lidar in scenario.lidars.values():
                place, child = Pose.from_matrix(lidar.T_rig_lidar), frames.body(lidar.name)
                transforms.append(transform_stamped(t_ns, frames.base_frame, child, place))
        self._tf_static.publish(TFMessage(transforms=transforms))


class StateTopic:
    """~/state: the state of the playback as a DiagnosticStatus whose values are JSON text."""

    def __init__(self, outlet: Outlet) -> None:
        self._name = f'{outlet.name.rpartition("/")[2]}: state'
        self._publication = outlet.advertise(DiagnosticStatus, '~/state', latched())

    def publish(self, state: PlaybackState) -> None:
        level, values = DiagnosticStatus.OK, state.values()
        self._publication.publish(diagnostic(self._name, level, state.summary, values))


def _camera_transforms(
    frames: FrameNames, name: str, T_rig_camera: NDArray[np.float64], t_ns: int
) -> list[TransformStamped]:
    """Return base to body and body to optical of a camera, whose product is `T_rig_camera`."""
    T_body_optical = np.eye(4)
    T_body_optical[:3, :3] = R_BODY_OPTICAL
    T_base_body = np.array(T_rig_camera, dtype=np.float64)
    T_base_body[:3, :3] = T_base_body[:3, :3] @ R_BODY_OPTICAL.T
    body, optical = frames.body(name), frames.optical(name)
    return [
        transform_stamped(t_ns, frames.base_frame, body, Pose.from_matrix(T_base_body)),
        transform_stamped(t_ns, body, optical, Pose.from_matrix(T_body_optical)),
    ]
