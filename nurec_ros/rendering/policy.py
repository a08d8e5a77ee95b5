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
How the client behaves towards a server: what a user sets of it, and what is settled here.

RenderOptions is what the parameters say. Names, deadlines and limits are data with the reason
beside each; the other modules only apply them. What a server's errors mean stands in
server_errors.py, what follows a failed call in calls.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
import random
import re

from nurec_ros.setting_values import convert
from nurec_ros.settings import LIDAR_TABLE, TABLE, Values

LIDAR_DEVICES = ('pandar128', 'at128')
_DEFAULT_DEVICE = 'pandar128'
# How lidars are named in NuRec's scenes: lidar_gt_top_p128.
_DEVICE_WORDS = {'pandar128': 'pandar128', 'p128': 'pandar128', 'at128': 'at128'}


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """
    What the parameters of these names say; ConfigurationError for what cannot be honoured.

    camera_scales: by logical name, instead of resolution_scale. lidar_devices: pandar128 or at128
    by logical name, where it is not to be taken from the name.
    """

    server: str = 'localhost:46435'
    use_proxy: bool = False
    tls_root_certificate: str = ''
    service_prefix: str = ''
    scene_id: str = ''
    scene_url: str = ''
    image_format: str = 'jpeg'
    image_quality: int = 95
    projection: str = 'native'
    hfov_deg: float = 90.0
    shutter: str = 'instant'
    batch: str = 'auto'
    render_timeout_s: float = 10.0
    first_render_timeout_s: float = 300.0
    send_tracks: bool = False
    rig_offset: tuple[float, ...] = (0.0,) * 6
    resolution_scale: float = 0.25
    camera_scales: Mapping[str, float] = field(default_factory=dict)
    lidar_devices: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, spec in _SPECS.items():
            convert(spec, name, getattr(self, name))
        for camera, scale in self.camera_scales.items():
            convert(_SPECS['resolution_scale'], f'{camera}.resolution_scale', scale)
        for lidar, device in self.lidar_devices.items():
            convert(_DEVICE, f'{lidar}.device', device)

    @classmethod
    def of(cls, values: Values) -> RenderOptions:
        cameras, lidars = values.cameras.items(), values.lidars.items()
        return cls(
            **{name: getattr(values.settings, name) for name in _SPECS},
            camera_scales={
                name: own.resolution_scale for name, own in cameras if own.resolution_scale
            },
            lidar_devices={name: own.device for name, own in lidars if own.device},
        )

    def device_of(self, lidar: str) -> tuple[str, str]:
        """Return the device that a lidar is rendered as, and what there is to say about that."""
        wanted = self.lidar_devices.get(lidar, '')
        if wanted:
            return wanted, ''
        for word, device in _DEVICE_WORDS.items():
            if re.search(rf'(?<![a-z0-9]){word}(?![a-z0-9])', lidar.lower()):
                return device, ''
        return _DEFAULT_DEVICE, (
            f"the name of lidar '{lidar}' tells no device that servers render "
            f'({", ".join(LIDAR_DEVICES)}): it is rendered as {_DEFAULT_DEVICE}; set '
            '<lidar>.device'
        )


# One list of what is allowed: that of the parameters, whose names these are.
_SPECS = {
    spec.name: spec for spec in TABLE if spec.name in {one.name for one in fields(RenderOptions)}
}
_DEVICE = next(spec for spec in LIDAR_TABLE if spec.name == 'device')


SERVICE_PREFIXES = (
    # The path on the wire of every server from 0.2.0 to 26.08.
    'nre.grpc.protos.sensorsim.SensorsimService',
    # 26.10 renamed its Python package so; whether the path followed is not known.
    'nurec.grpc.protos.sensorsim.SensorsimService',
    # The package's name as the documentation of 26.10 titles it.
    'sensorsim.SensorsimService',
)

# In seconds; wait-for-ready while a server boots is renewed until it answers.
DEADLINES = {
    # Answered at once unless the server is blocked; asked again then.
    'get_version': 5.0,
    # Lists archives, on a slow disk perhaps.
    'get_available_scenes': 10.0,
    # Asked only about a scene of another name, and done without if it does not come.
    'get_available_trajectories': 5.0,
    'await server': 2.0,
}

# Seconds from the start in which a server that is not there yet is no line in the log: whoever
# starts a player and a preview together need not read that one was first.
START_GRACE_S = 2.0

# Seconds that the look below gRPC may take where TLS may be the trouble, and between two of them.
HANDSHAKE_S = 1.0
HANDSHAKE_EVERY_S = 5.0

# Seconds to wait until gRPC's Python, which looks at a channel now and then, has seen it ready.
WATCHED_S = 1.0

# Seconds between looks at the list of scenes while ours is not in it.
SCENE_CHECK_S = 2.0

# Two or three keep a server busy; more only wait in its queue and make pictures late.
MAX_IN_FLIGHT = 3
# A batch is several frames of work: two in flight, one rendered and one waiting.
BATCH_WEIGHT = 1.5
# Frames of one camera that are sent or waiting for an older one, beyond MAX_IN_FLIGHT: bounds
# what can pile up behind one stuck frame.
QUEUE_MARGIN = 2

TRANSIENT_DELAYS_S = (0.5, 2.0)
# Whole batches that fail in a row: single calls do better from then on. And batches in a row whose
# reply lacks frames, or holds none that is a picture.
BATCH_FAILURES = 3
BATCH_MISMATCHES = 3

# Seconds between looks at calls that take long, and after which the log says so of a first frame.
LOOK_S = 1.0
FIRST_FRAME_SAID_S = 5.0


def backoff_s(attempt: int) -> float:
    """Return how long to wait before attempt 0, 1, …: doubling, at most 1 s, with jitter."""
    return 0.1 * (1 << min(attempt, 3)) * random.uniform(0.75, 1.25)


@dataclass(frozen=True, slots=True)
class Learned:
    """
    What rendering has taught about the server of a connection.

    batch: None until one was tried; batch_note: why it is False, once that was learned. tracks:
    False once the server refused them. warm: a frame of the scene came; lidars_warm: a cloud did.
    lidars: False once the server was found not to render any.
    """

    batch: bool | None = None
    batch_failures: int = 0
    batch_mismatches: int = 0
    batch_note: str = ''
    tracks: bool = True
    warm: bool = False
    lidars: bool = True
    lidars_warm: bool = False
