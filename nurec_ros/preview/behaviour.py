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
"""What a preview server can play: versions, delays and failures of real NuRec servers, as data."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
import math
from typing import Any, TYPE_CHECKING

from nurec_ros.errors import ConfigurationError

if TYPE_CHECKING:
    from nurec_ros.rendering.protos import sensorsim_pb2 as sim

SERVICE_PREFIX = 'nre.grpc.protos.sensorsim.SensorsimService'
# As many points as a client is to take at most.
_MOST_BEAMS = 2_000_000
_GARBAGE = bytes(range(255, -1, -1)) * 8


def _switch(default: Any, text: str, metavar: str | None = None, choices: str = '') -> Any:
    """Declare one behaviour: its ordinary value, the sentence of the command's help, its words."""
    words = choices.split() or None
    return field(default=default, metadata={'help': text, 'metavar': metavar, 'choices': words})


@dataclass(frozen=True, slots=True)
class Behaviour:
    """
    How the server behaves; the defaults are a healthy server of 2026 that allows editing.

    Every field is also a switch of `nurec_preview`, described by its metadata's `help`.
    Raises ConfigurationError for a value that cannot be played.
    """

    api: str = _switch(
        'v2',
        'v1 answers as servers of 2025 did: no batch_render_rgb, no get_server_config, no health '
        'service, and the OpenCV pinhole message is empty',
        choices='v1 v2',
    )
    service_prefix: str = _switch(
        SERVICE_PREFIX, 'full name of the gRPC service, for servers that renamed it', 'NAME'
    )
    editing: bool = _switch(
        True,
        'reject requests that carry dynamic_objects, as a server without '
        '--enable-editing-actors does',
    )
    health: bool = _switch(True, 'serve no grpc.health.v1.Health')
    native_aspect: tuple[int, int] | None = _switch(
        None,
        'keep an aspect ratio instead of the size asked for: the height as asked, the width by '
        "this ratio (0:0, or no value, means that of the request's CameraSpec)",
        'W:H',
    )
    startup_s: float = _switch(
        0.0,
        'seconds after the port opened in which every call is UNAVAILABLE and health says '
        'NOT_SERVING',
        'S',
    )
    first_frame_s: float = _switch(
        0.0,
        'seconds that the first frame of each scene takes; every other call, health included, '
        'waits meanwhile, as during the compilation of the CUDA kernels',
        'S',
    )
    latency_s: float = _switch(0.0, 'seconds added to every frame', 'S')
    jitter_s: float = _switch(0.0, 'at most so many random seconds more in every frame', 'S')
    failure_rate: float = _switch(
        0.0, 'share of frames, 0 to 1, that fail with "NRenderer.render failed"', 'P'
    )
    seed: int = _switch(0, 'seed of the random failures and jitter', 'N')
    oom_pixels: int = _switch(
        0, 'a frame of more pixels fails with a CUDA out of memory text; 0 for none', 'N'
    )
    replies: str = _switch(
        'good',
        'what image_bytes hold: a good picture, or something a client must not publish',
        choices='good garbage truncated empty black',
    )
    batch_replies: str = _switch(
        'good',
        'what is wrong with the list of items in batch replies',
        choices='good shuffled missing duplicate unknown',
    )
    lidar_replies: str = _switch(
        'buffers',
        'how clouds are sent: as byte buffers, or as the repeated floats of 2025, which --api v1 '
        'sends anyway',
        choices='buffers floats',
    )
    lidar_beams: tuple[int, int] = _switch(
        (64, 900), "rows of a lidar's beams, and columns of a full turn", 'ROWS:COLUMNS'
    )
    lidar_noise_m: float = _switch(0.0, 'deviation of the distances that lidars measure', 'M')
    max_workers: int = _switch(
        1, 'frames that are drawn at the same time; further requests queue', 'N'
    )
    crash_after: int = _switch(
        0, 'after so many frames the next one kills the server; 0 for never', 'N'
    )

    def __post_init__(self) -> None:
        for entry in fields(self):
            allowed = entry.metadata['choices']
            if allowed and getattr(self, entry.name) not in allowed:
                self._refuse(entry.name, f'one of {", ".join(allowed)}')
        for name in ('startup_s', 'first_frame_s', 'latency_s', 'jitter_s', 'lidar_noise_m'):
            if not 0.0 <= getattr(self, name) < math.inf:
                unit = 'metres' if name.endswith('_m') else 'seconds'
                self._refuse(name, f'a number of {unit}, 0 or more')
        if not (min(self.lidar_beams) >= 1 and math.prod(self.lidar_beams) <= _MOST_BEAMS):
            self._refuse('lidar_beams', f'two positive numbers, {_MOST_BEAMS} beams at most')
        if not 0.0 <= self.failure_rate <= 1.0:
            self._refuse('failure_rate', '0 to 1')
        for name, least in (('oom_pixels', 0), ('crash_after', 0), ('max_workers', 1)):
            if getattr(self, name) < least:
                self._refuse(name, f'{least} or more')
        if self.native_aspect is not None and not (
            min(self.native_aspect) >= 1 or self.native_aspect == (0, 0)
        ):
            self._refuse('native_aspect', 'two positive numbers, or 0:0')
        if not self.service_prefix or '/' in self.service_prefix:
            self._refuse('service_prefix', 'the name of a gRPC service without a slash')

    def _refuse(self, name: str, expected: str) -> None:
        value = getattr(self, name)
        found = ':'.join(map(str, value)) if isinstance(value, tuple) else repr(value)
        raise ConfigurationError(f'{name} is {found}, expected {expected}')

    @property
    def batch_served(self) -> bool:
        return self.api != 'v1'

    @property
    def health_served(self) -> bool:
        return self.health and self.api != 'v1'

    @property
    def lidar_floats(self) -> bool:
        return self.lidar_replies == 'floats' or self.api == 'v1'

    def output_size(self, asked: tuple[int, int], native: tuple[int, int]) -> tuple[int, int]:
        """Return the reply's (width, height) for the size asked and the size of the CameraSpec."""
        if self.native_aspect is None:
            return asked
        width, height = native if self.native_aspect == (0, 0) else self.native_aspect
        return max(1, asked[1] * width // height), asked[1]


def spoil_picture(encoded: bytes, how: str) -> bytes:
    """Return what image_bytes hold where a server fails as `how` says (Behaviour.replies)."""
    if how == 'garbage':
        return _GARBAGE
    if how == 'truncated':
        return encoded[: len(encoded) // 2]
    if how == 'empty':
        return b''
    return encoded


def spoil_items(items: list[sim.BatchRGBRenderReturnItem], how: str) -> None:
    """Change a batch reply's items in place as `how` says (Behaviour.batch_replies)."""
    if not items:
        return
    if how == 'shuffled':
        items.reverse()
    elif how == 'missing':
        items.pop()
    elif how == 'duplicate':
        items.append(items[0])
    elif how == 'unknown':
        items[-1].camera_name = 'camera_that_nobody_asked_for'
