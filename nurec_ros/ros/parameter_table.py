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

Declarations, descriptors with ranges, `config/nurec.yaml` and the tables in the documents all
come from here.
"""

from __future__ import annotations

from dataclasses import dataclass

START, RUNTIME, LOAD = 'start', 'runtime', 'load'

Value = bool | int | float | str | tuple[str, ...] | tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Spec:
    """
    One parameter.

    `kind` is string, bool, int, double, string_array or double_array. `minimum` and `maximum`
    bound numbers, inclusively; `extra` are values outside of them that are allowed too, with a
    meaning that the description gives. `choices` lists the allowed strings. `length` is that of
    an array of fixed length. `applies` says when a new value takes effect: at start only, at
    run time at once, or at the next `~/load`.
    """

    name: str
    kind: str
    default: Value
    description: str
    applies: str = START
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    extra: tuple[float, ...] = ()
    length: int | None = None

    @property
    def allowed(self) -> str:
        """Say in words which values are allowed, '' where the kind says all."""
        if self.choices:
            return ', '.join(self.choices)
        words = [f'{value:g}' for value in self.extra]
        if self.minimum is not None and self.maximum is not None:
            words.append(f'{_number(self.minimum)} to {_number(self.maximum)}')
        if self.length is not None:
            words.append(f'{self.length} finite numbers')
        return ', or '.join(words)


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f'{value:g}'


TABLE: tuple[Spec, ...] = (
    # The scenario and the server that renders it.
    Spec(
        'usdz_path',
        'string',
        '',
        'The NuRec scenario, a USDZ file. Empty: the player idles and waits for ~/load.',
        LOAD,
    ),
    Spec(
        'server',
        'string',
        'localhost:46435',
        'HOST:PORT of the render server. Several addresses, separated by commas, share the load.',
        LOAD,
    ),
    Spec(
        'use_proxy',
        'bool',
        False,
        'Reach the server through the proxy that http_proxy and its like name in the environment.',
    ),
    Spec(
        'scene_id',
        'string',
        '',
        'The name that the server knows the scenario by. Empty: the one that the USDZ gives.',
        LOAD,
    ),
    Spec(
        'scene_url',
        'string',
        '',
        'file:, http: or https: URL that the server loads the scenario from, as servers from '
        '26.04 on can. Empty: it has it.',
        LOAD,
    ),
    Spec(
        'cameras',
        'string_array',
        ('',),
        "The cameras to render, by their names in the USDZ. Empty or ['']: all of them.",
        LOAD,
    ),
    Spec(
        'tls_root_certificate',
        'string',
        '',
        'File of the root certificate for TLS to the server. Empty: plaintext.',
    ),
    Spec(
        'service_prefix',
        'string',
        '',
        'Full name of the gRPC service. Empty: the known names are tried.',
    ),
    # What is rendered.
    Spec(
        'resolution_scale',
        'double',
        0.25,
        "Size of the rendered images as a share of the calibration's width and height.",
        RUNTIME,
        minimum=0.01,
        maximum=2.0,
    ),
    Spec(
        'camera_rate',
        'double',
        0.0,
        'Images per scenario second and camera, in Hz. 0: at the recorded frame times.',
        RUNTIME,
        minimum=0.0,
        maximum=1000.0,
    ),
    Spec(
        'image_format',
        'string',
        'jpeg',
        'What the server is asked for. With rgb (raw pixels), image_raw/compressed does not '
        'exist.',
        choices=('jpeg', 'png', 'rgb'),
    ),
    Spec(
        'image_quality',
        'int',
        95,
        'JPEG quality that the server is asked for.',
        minimum=1,
        maximum=100,
    ),
    Spec(
        'projection',
        'string',
        'native',
        "native: the cameras' own lenses. pinhole: an undistorted view, for rviz's Camera "
        'display.',
        choices=('native', 'pinhole'),
    ),
    Spec(
        'hfov_deg',
        'double',
        90.0,
        'Horizontal field of view of projection: pinhole, in degrees.',
        minimum=1.0,
        maximum=170.0,
    ),
    Spec(
        'shutter',
        'string',
        'instant',
        'instant: the whole image at its stamp. recorded: rows at their own moments within the '
        'recorded exposure.',
        choices=('instant', 'recorded'),
    ),
    Spec(
        'batch',
        'string',
        'auto',
        'auto: the frames of one moment in one call, where the server can. never: one call each.',
        choices=('auto', 'never'),
    ),
    Spec(
        'render_timeout_s',
        'double',
        10.0,
        'Longest wait for one answer of the server, in seconds.',
        minimum=0.1,
        maximum=3600.0,
    ),
    Spec(
        'first_render_timeout_s',
        'double',
        300.0,
        'The same for the first frame of a scene, for which servers compile first, in seconds.',
        minimum=0.1,
        maximum=3600.0,
    ),
    Spec(
        'send_tracks',
        'bool',
        False,
        'Send the poses of controllable road users with each request. The server needs '
        '--enable-editing-actors.',
        RUNTIME,
    ),
    Spec(
        'rig_offset',
        'double_array',
        (0.0,) * 6,
        'Moves the rendered cameras, and not TF, off the recorded path: x y z in metres, '
        'roll pitch yaw in degrees, in the frame of the rig.',
        RUNTIME,
        length=6,
    ),
    Spec(
        'always_render',
        'bool',
        False,
        'Render cameras that nobody subscribes to as well.',
        RUNTIME,
    ),
    # Time.
    Spec(
        'mode',
        'string',
        'realtime',
        'realtime: the clock follows the wall, late frames are dropped. lockstep: the clock '
        'waits for every image.',
        choices=('realtime', 'lockstep'),
    ),
    Spec(
        'rate',
        'double',
        1.0,
        'Scenario seconds per wall second.',
        RUNTIME,
        minimum=0.01,
        maximum=100.0,
    ),
    Spec(
        'tick_us',
        'int',
        100_000,
        'Scenario time that ~/tick advances by, in microseconds.',
        RUNTIME,
        minimum=1,
        maximum=3_600_000_000,
    ),
    Spec('loop', 'bool', False, 'Start over from begin when the end is reached.', RUNTIME),
    Spec('autoplay', 'bool', False, 'Play as soon as a scenario is loaded.'),
    Spec(
        'start_offset_s',
        'double',
        0.0,
        "Moves begin this much after the scenario's start, in seconds.",
        minimum=0.0,
        maximum=86_400.0,
    ),
    Spec(
        'end_offset_s',
        'double',
        0.0,
        "Moves end this much before the scenario's end, in seconds.",
        minimum=0.0,
        maximum=86_400.0,
    ),
    Spec(
        'clock_rate',
        'double',
        100.0,
        'Messages per wall second on /clock, and on /tf and ~/odom while playing, in Hz.',
        minimum=1.0,
        maximum=1000.0,
    ),
    Spec(
        'publish_clock',
        'bool',
        True,
        'Publish /clock. Only one player may.',
    ),
    # Frames.
    Spec(
        'publish_tf',
        'bool',
        True,
        'Publish the ego: map to base on /tf, and ~/odom. Off for a stack that localises itself.',
    ),
    Spec(
        'publish_camera_frames',
        'bool',
        True,
        "Publish the cameras' frames. Off for a stack with a robot description of its own.",
    ),
    Spec(
        'publish_earth_frame',
        'bool',
        False,
        'Publish earth (ECEF) to map on /tf_static, where the USDZ gives it.',
    ),
    Spec('map_frame', 'string', 'map', "Name of the USDZ's world frame."),
    Spec('base_frame', 'string', 'base_link', 'Name of the rig frame.'),
    Spec(
        'odom_frame',
        'string',
        '',
        'Name of a frame between map and base, equal to map. Empty: none.',
    ),
    Spec(
        'frame_prefix',
        'string',
        '',
        'Put before the base, odom and camera frames, for several players at once.',
    ),
    # Markers.
    Spec(
        'marker_rate',
        'double',
        10.0,
        'Messages per wall second on ~/tracks and ~/objects while playing, in Hz.',
        minimum=0.1,
        maximum=1000.0,
    ),
    Spec('velocity_arrows', 'bool', False, 'Draw the velocity of moving tracks.', RUNTIME),
    Spec(
        'trail_length_s',
        'double',
        0.0,
        'Length of the trail behind each moving track, in scenario seconds. 0: none.',
        RUNTIME,
        minimum=0.0,
        maximum=3600.0,
    ),
    Spec(
        'min_track_lifetime_s',
        'double',
        0.1,
        'Tracks that live this long or less are left out, in seconds. 0: all are kept.',
        minimum=0.0,
        maximum=3600.0,
    ),
    Spec(
        'smooth_track_height',
        'bool',
        False,
        "Smooth the tracks' heights. Off, because the renderer shows the recorded ones.",
    ),
)

# Declared as <camera>.<name> for every camera of the scenario, once it is known.
CAMERA_TABLE: tuple[Spec, ...] = (
    Spec(
        'resolution_scale',
        'double',
        0.0,
        "This camera's resolution_scale. 0: the general one.",
        RUNTIME,
        minimum=0.01,
        maximum=2.0,
        extra=(0.0,),
    ),
    Spec(
        'rate',
        'double',
        -1.0,
        "This camera's camera_rate, in Hz. -1: the general one.",
        RUNTIME,
        minimum=0.0,
        maximum=1000.0,
        extra=(-1.0,),
    ),
)
