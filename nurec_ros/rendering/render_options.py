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
from dataclasses import dataclass, field, fields

from nurec_ros.setting_values import convert
from nurec_ros.settings import LIDAR_TABLE, TABLE, Values


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
    lidar_devices: pandar128 or at128 by logical name, where it is not to be taken from the name.
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
        """Return the options that the parameters ask for."""
        cameras, lidars = values.cameras.items(), values.lidars.items()
        return cls(
            **{name: getattr(values.settings, name) for name in _SPECS},
            camera_scales={
                name: own.resolution_scale for name, own in cameras if own.resolution_scale
            },
            lidar_devices={name: own.device for name, own in lidars if own.device},
        )

    def scale_of(self, camera: str) -> float:
        """Return the output size of a camera as a fraction of its native size."""
        return self.camera_scales.get(camera, self.resolution_scale)


# One list of what is allowed: that of the parameters, whose names these are.
_SPECS = {
    spec.name: spec for spec in TABLE if spec.name in {one.name for one in fields(RenderOptions)}
}
_DEVICE = next(spec for spec in LIDAR_TABLE if spec.name == 'device')
