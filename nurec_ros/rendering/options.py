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
"""Everything that a user can say about rendering, as one immutable record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
import math
import re

from nurec_ros.errors import ConfigurationError

IMAGE_FORMATS = ('jpeg', 'png', 'rgb')
PROJECTIONS = ('native', 'pinhole')
SHUTTERS = ('instant', 'recorded')
SCALES = (0.01, 2.0)
BATCH_MODES = ('auto', 'never')

# What servers from 26.04 on take: the place that a scene is to be loaded from, and its name then.
_SCENE_URL = re.compile(r'(?:file|https?):[\x21-\x7e]+', re.IGNORECASE)
_SCENE_NAME = re.compile(r'[A-Za-z0-9_-]+')


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """
    The options of a RenderPipeline; ConfigurationError for a value that cannot be honoured.

    server: one address as gRPC takes it, or several host:port separated by commas.
    use_proxy: obey the proxy variables of the environment. tls_root_certificate: a PEM file, empty
    for plaintext. service_prefix and scene_id: empty to find them. scene_url: where the server is
    to load the scene from, empty where it has it. hfov_deg: horizontal field of view of
    `projection: pinhole`. rig_offset: x y z in metres, roll pitch yaw in degrees about the fixed
    axes of the rig frame. camera_scales: by logical name, instead of resolution_scale.
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

    def __post_init__(self) -> None:
        for name, allowed in (
            ('image_format', IMAGE_FORMATS),
            ('projection', PROJECTIONS),
            ('shutter', SHUTTERS),
            ('batch', BATCH_MODES),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise ConfigurationError(f'{name} is {value!r}, expected {" or ".join(allowed)}')
        check_scene_url(self.scene_url)
        # Servers that cast the quality to int make 0 of a fraction, and their encoder then fails.
        _within('image_quality', self.image_quality, 1, 100)
        if self.projection == 'pinhole':
            _within('hfov_deg', self.hfov_deg, 1, 179)
        for name in ('render_timeout_s', 'first_render_timeout_s'):
            _within(name, getattr(self, name), 1e-3, 1e6)
        _within('resolution_scale', self.resolution_scale, *SCALES)
        for camera, scale in self.camera_scales.items():
            _within(f'{camera}.resolution_scale', scale, *SCALES)
        offset = tuple(self.rig_offset)
        if len(offset) != 6 or not all(math.isfinite(value) for value in offset):
            raise ConfigurationError(
                f'rig_offset is {list(offset)}, expected x y z roll pitch yaw'
            )

    def scale_of(self, camera: str) -> float:
        """Return the output size of a camera as a fraction of its native size."""
        return self.camera_scales.get(camera, self.resolution_scale)


def check_scene_url(url: str) -> None:
    """Raise ConfigurationError unless the URL is empty or one that servers load scenes from."""
    if url and not _SCENE_URL.fullmatch(url):
        raise ConfigurationError(
            f'scene_url is {url!r}, expected a URL that begins with file:, http: or https:, '
            'without blanks, such as file:///data/scene.usdz'
        )


def scene_metadata(scene_url: str, scene_id: str) -> tuple[tuple[str, str], ...]:
    """
    Return what is sent with every call so that the server loads the scene itself.

    Empty without a URL. ConfigurationError for an id that servers do not take beside one.
    """
    if not scene_url:
        return ()
    check_scene_url(scene_url)
    if not _SCENE_NAME.fullmatch(scene_id):
        raise ConfigurationError(
            f'scene_id is {scene_id!r}, expected letters, digits, _ and - alone beside a '
            'scene_url: set scene_id to the name that the scene is to have on the server'
        )
    return ('x-nre-scene-url', scene_url), ('x-nre-scene-id', scene_id)


def _within(name: str, value: float, minimum: float, maximum: float) -> None:
    if not minimum <= value <= maximum:  # also false for NaN
        raise ConfigurationError(f'{name} is {value}, expected {minimum:g} to {maximum:g}')
