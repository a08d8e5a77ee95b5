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
The one table of parameters.

The node's declarations, descriptors with ranges, `config/nurec.yaml`, the tables in the documents
and the options of rendering all come from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import cast, TYPE_CHECKING

from nurec_ros.errors import ConfigurationError
from nurec_ros.playback.clock import camera_times, MAX_RATE, MICROSECOND, MIN_RATE, Schedule
from nurec_ros.setting_values import KINDS, LOAD, parameter, RUNTIME, Spec, Value

if TYPE_CHECKING:
    from nurec_ros.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Settings:
    """The values of all parameters, checked; one record, replaced as a whole when one changes."""

    # The scenario and the server that renders it.
    usdz_path: str = parameter(
        '', 'The NuRec scenario, a USDZ file. Empty: the player idles and waits for ~/load.', LOAD
    )
    server: str = parameter(
        'localhost:46435',
        'HOST:PORT of the render server. Several addresses, separated by commas, share the load.',
        LOAD,
    )
    use_proxy: bool = parameter(
        False,
        'Reach the server through the proxy that http_proxy and its like name in the environment.',
    )
    scene_id: str = parameter(
        '',
        'The name that the server knows the scenario by. Empty: the one that the USDZ gives.',
        LOAD,
    )
    scene_url: str = parameter(
        '',
        'file:, http: or https: URL that the server loads the scenario from, as servers from '
        '26.04 on can. Empty: it has it.',
        LOAD,
    )
    cameras: tuple[str, ...] = parameter(
        ('',),
        "The cameras to render, by their names in the USDZ. Empty or ['']: all of them.",
        LOAD,
    )
    lidars: tuple[str, ...] = parameter(
        ('',),
        "The lidars to render, by their names in the USDZ. Empty or ['']: all; ['none']: none.",
        LOAD,
    )
    tls_root_certificate: str = parameter(
        '', 'File of the root certificate for TLS to the server. Empty: plaintext.'
    )
    service_prefix: str = parameter(
        '', 'Full name of the gRPC service. Empty: the known names are tried.'
    )
    # What is rendered.
    resolution_scale: float = parameter(
        0.25,
        "Size of the rendered images as a share of the calibration's width and height.",
        RUNTIME,
        between=(0.01, 2.0),
    )
    camera_rate: float = parameter(
        0.0,
        'Images per scenario second and camera, in Hz. 0: at the recorded frame times.',
        RUNTIME,
        between=(0.0, 1000.0),
    )
    lidar_rate: float = parameter(
        0.0,
        'Clouds per scenario second and lidar, in Hz. 0: at the ends of the recorded spins.',
        RUNTIME,
        between=(0.0, 1000.0),
    )
    lidar_layout: str = parameter(
        'xyzi',
        'Fields of the points. xyzi: intensity 0 to 1 as float32. xyzirc: with return type and '
        'channel, intensity 0 to 255, as Autoware takes them.',
        choices=('xyzi', 'xyzirc'),
    )
    image_format: str = parameter(
        'jpeg',
        'What the server is asked for. With rgb (raw pixels), image_raw/compressed does '
        'not exist.',
        choices=('jpeg', 'png', 'rgb'),
    )
    image_quality: int = parameter(
        95, 'JPEG quality that the server is asked for.', between=(1, 100)
    )
    projection: str = parameter(
        'native',
        "native: the cameras' own lenses. pinhole: an undistorted view, for rviz's Camera "
        'display.',
        choices=('native', 'pinhole'),
    )
    hfov_deg: float = parameter(
        90.0, 'Horizontal field of view of projection: pinhole, in degrees.', between=(1.0, 170.0)
    )
    shutter: str = parameter(
        'instant',
        'instant: the whole image at its stamp. recorded: rows at their own moments '
        'within the recorded exposure.',
        choices=('instant', 'recorded'),
    )
    batch: str = parameter(
        'auto',
        'auto: the frames of one moment in one call, where the server can. never: one call each.',
        choices=('auto', 'never'),
    )
    render_timeout_s: float = parameter(
        10.0, 'Longest wait for one answer of the server, in seconds.', between=(0.1, 3600.0)
    )
    first_render_timeout_s: float = parameter(
        300.0,
        'The same for the first frame of a scene, for which servers compile first, in seconds.',
        between=(0.1, 3600.0),
    )
    send_tracks: bool = parameter(
        False,
        'Send the poses of controllable road users with each request. The server needs '
        '--enable-editing-actors.',
        RUNTIME,
    )
    rig_offset: tuple[float, ...] = parameter(
        (0.0,) * 6,
        'Moves the rendered cameras, and not TF, off the recorded path: x y z in metres, '
        'roll pitch yaw in degrees, in the frame of the rig.',
        RUNTIME,
        length=6,
    )
    always_render: bool = parameter(
        False, 'Render cameras and lidars that nobody subscribes to as well.', RUNTIME
    )
    # Time.
    mode: str = parameter(
        'realtime',
        'realtime: the clock follows the wall, late frames are dropped. lockstep: the '
        'clock waits for every image and cloud.',
        choices=('realtime', 'lockstep'),
    )
    rate: float = parameter(
        1.0, 'Scenario seconds per wall second.', RUNTIME, between=(MIN_RATE, MAX_RATE)
    )
    tick_us: int = parameter(
        100000,
        'Scenario time that ~/tick advances by, in microseconds.',
        RUNTIME,
        between=(1, 3600000000),
    )
    loop: bool = parameter(False, 'Start over from begin when the end is reached.', RUNTIME)
    autoplay: bool = parameter(False, 'Play as soon as a scenario is loaded.')
    start_offset_s: float = parameter(
        0.0,
        "Moves begin this much after the scenario's start, in seconds.",
        between=(0.0, 86_400.0),
    )
    end_offset_s: float = parameter(
        0.0, "Moves end this much before the scenario's end, in seconds.", between=(0.0, 86_400.0)
    )
    clock_rate: float = parameter(
        100.0,
        'Messages per wall second on /clock, and on /tf and ~/odom while playing, in Hz.',
        between=(1.0, 1000.0),
    )
    publish_clock: bool = parameter(True, 'Publish /clock. Only one player may.')
    # Frames.
    publish_tf: bool = parameter(
        True,
        'Publish the ego: map to base on /tf, and ~/odom. Off for a stack that localises itself.',
    )
    publish_camera_frames: bool = parameter(
        True,
        "Publish the cameras' and lidars' frames. Off for a stack with a robot description of its "
        'own.',
    )
    publish_earth_frame: bool = parameter(
        False, 'Publish earth (ECEF) to map on /tf_static, where the USDZ gives it.'
    )
    imu_rate: float = parameter(
        0.0,
        'Messages per scenario second on ~/imu, derived from the drive, in Hz. 0: no topic.',
        between=(0.0, 1000.0),
    )
    fix_rate: float = parameter(
        0.0,
        'Messages per scenario second on ~/fix, where the USDZ lies on Earth, in Hz. 0: no topic.',
        between=(0.0, 1000.0),
    )
    map_frame: str = parameter('map', "Name of the USDZ's world frame.")
    base_frame: str = parameter('base_link', 'Name of the rig frame.')
    odom_frame: str = parameter(
        '', 'Name of a frame between map and base, equal to map. Empty: none.'
    )
    frame_prefix: str = parameter(
        '', 'Put before the base, odom, camera and lidar frames, for several players at once.'
    )
    # Markers.
    marker_rate: float = parameter(
        10.0,
        'Messages per wall second on ~/tracks and ~/objects while playing, in Hz.',
        between=(0.1, 1000.0),
    )
    velocity_arrows: bool = parameter(False, 'Draw the velocity of moving tracks.', RUNTIME)
    trail_length_s: float = parameter(
        0.0,
        'Length of the trail behind each moving track, in scenario seconds. 0: none.',
        RUNTIME,
        between=(0.0, 3600.0),
    )
    min_track_lifetime_s: float = parameter(
        0.1,
        'Tracks that live this long or less are left out, in seconds. 0: all are kept.',
        between=(0.0, 3600.0),
    )
    smooth_track_height: bool = parameter(
        False, "Smooth the tracks' heights. Off, because the renderer shows the recorded ones."
    )
    # Who drives.
    ego_source: str = parameter(
        'recorded',
        'What moves the ego: the recording, or poses on ~/ego_pose or ~/ego_odometry, or commands '
        'on ~/cmd_vel (twist) or ~/ackermann_cmd.',
        RUNTIME,
        choices=('recorded', 'pose', 'odometry', 'twist', 'ackermann'),
    )
    cmd_vel_stamped: bool = parameter(
        True, '~/cmd_vel is TwistStamped. Off: Twist, which counts from its arrival.'
    )
    wheelbase_m: float = parameter(
        2.85,
        'Distance between the axles, for ego_source: ackermann, in metres.',
        between=(0.1, 20.0),
    )
    max_acceleration: float = parameter(
        3.0, 'Most that ego_source: ackermann speeds up, in m/s^2.', between=(0.01, 100.0)
    )
    max_deceleration: float = parameter(
        6.0, 'Most that ego_source: ackermann brakes, in m/s^2.', between=(0.01, 100.0)
    )
    max_steering_angle_deg: float = parameter(
        35.0,
        'Most that the wheels turn with ego_source: ackermann, in degrees.',
        between=(0.0, 80.0),
    )
    command_timeout_s: float = parameter(
        0.5,
        'A command counts for so long, in scenario seconds: then a twist ends and an ackermann '
        'vehicle brakes. 0: for ever.',
        RUNTIME,
        between=(0.0, 3600.0),
    )
    max_deviation_m: float = parameter(
        3.0,
        'Lateral distance from the recorded path beyond which pictures are worth little, in '
        'metres.',
        RUNTIME,
        between=(0.0, 10_000.0),
    )
    on_collision: str = parameter(
        'report',
        "What happens when the driven ego's box meets a track: stop halts the clock there.",
        RUNTIME,
        choices=('report', 'stop'),
    )
    on_deviation: str = parameter(
        'report',
        'What happens beyond max_deviation_m: stop halts the clock there.',
        RUNTIME,
        choices=('report', 'stop'),
    )
    ego_wait_s: float = parameter(
        0.0,
        '~/tick and ~/play_next wait so long, in wall seconds, for an input that is stamped late '
        'enough, and refuse without one. 0: they do not wait.',
        RUNTIME,
        between=(0.0, 3600.0),
    )

    def range_ns(self, scenario: Scenario) -> tuple[int, int]:
        """Return begin and end; ConfigurationError where the offsets leave nothing between."""
        begin_ns = scenario.start_ns + round(self.start_offset_s * 1e6) * MICROSECOND
        end_ns = scenario.end_ns - round(self.end_offset_s * 1e6) * MICROSECOND
        if begin_ns > end_ns:
            duration_s = (scenario.end_ns - scenario.start_ns) / 1e9
            raise ConfigurationError(
                f"parameters 'start_offset_s' ({self.start_offset_s:g}) and 'end_offset_s' "
                f'({self.end_offset_s:g}) leave nothing of the scenario, which lasts '
                f'{duration_s:g} s'
            )
        return begin_ns, end_ns


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """What a camera has for itself: declared as <camera>.<name> once the scenario is known."""

    resolution_scale: float = parameter(
        0.0,
        "This camera's resolution_scale. 0: the general one.",
        RUNTIME,
        between=(0.01, 2.0),
        extra=(0.0,),
    )
    rate: float = parameter(
        -1.0,
        "This camera's camera_rate, in Hz. -1: the general one.",
        RUNTIME,
        between=(0.0, 1000.0),
        extra=(-1.0,),
    )


@dataclass(frozen=True, slots=True)
class LidarSettings:
    """What a lidar has for itself: declared as <lidar>.<name> once the scenario is known."""

    rate: float = parameter(
        -1.0,
        "This lidar's lidar_rate, in Hz. -1: the general one.",
        RUNTIME,
        between=(0.0, 1000.0),
        extra=(-1.0,),
    )
    device: str = parameter(
        '',
        'The device that the server renders. Empty: the one that the name tells.',
        RUNTIME,
        choices=('', 'pandar128', 'at128'),
    )


@dataclass(frozen=True, slots=True)
class Values:
    """The values of a moment: the table's, and by logical name what sensors have of their own."""

    settings: Settings = field(default_factory=Settings)
    cameras: Mapping[str, CameraSettings] = field(default_factory=dict)
    lidars: Mapping[str, LidarSettings] = field(default_factory=dict)

    def camera_rate(self, camera: str) -> float:
        """Return the rate of a camera's frames in Hz; 0 for the recorded frame times."""
        own = self.cameras.get(camera, CameraSettings()).rate
        return self.settings.camera_rate if own == -1.0 else own

    def lidar_rate(self, lidar: str) -> float:
        """Return the rate of a lidar's clouds in Hz; 0 for the recorded spins."""
        own = self.lidars.get(lidar, LidarSettings()).rate
        return self.settings.lidar_rate if own == -1.0 else own

    def schedule(
        self,
        scenario: Scenario,
        cameras: Iterable[str],
        lidars: Sequence[str],
        range_ns: tuple[int, int],
    ) -> Schedule:
        """Return when frames of some cameras and clouds of some lidars are due, within a range."""
        due = {
            name: (scenario.cameras[name].frame_times_ns, self.camera_rate(name))
            for name in cameras
        }
        for name in lidars:
            due[name] = scenario.lidars[name].spin_times_ns, self.lidar_rate(name)
        times_ns = {
            name: camera_times(spans_ns[:, 1], *range_ns, rate_hz)
            for name, (spans_ns, rate_hz) in due.items()
        }
        return Schedule(times_ns, lidars)


def _specs(table: type) -> tuple[Spec, ...]:
    return tuple(
        Spec(one.name, KINDS[str(one.type)], cast(Value, one.default), **one.metadata)
        for one in fields(table)
    )


TABLE = _specs(Settings)
CAMERA_TABLE = _specs(CameraSettings)
LIDAR_TABLE = _specs(LidarSettings)
# By kind of sensor, what each of that kind has of its own.
SENSOR_TABLES = {'camera': CAMERA_TABLE, 'lidar': LIDAR_TABLE}
