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
What NVIDIA's own camera library makes of the calibrations of `lens_samples`.

Written down from nvidia-ncore 19.8.3 (PyPI, `camera_rays_to_image_points` in float64). Its image
coordinates count from the corner: the centre of the first pixel is (0.5, 0.5), half a pixel more
than ours. At the other sizes, by its `transform`, they were the native ones times the sides'
scales, to all four digits.
"""

from test.scenario.cameras.lens_samples import (
    FRONT_WIDE,
    OPENCV_FISHEYE,
    PINHOLE,
    REAR,
    SHEARED,
    WINDSHIELD,
)
from typing import Any

import numpy as np
from numpy.typing import NDArray

RAYS = np.array([[0.0, 0.0, 1.0], [0.3, -0.2, 1.0], [-0.25, 0.15, 1.0], [0.12, 0.3, 1.0]])
RAYS /= np.linalg.norm(RAYS, axis=1, keepdims=True)


def behind_glass(parameters: dict[str, Any]) -> dict[str, Any]:
    return {**parameters, 'external_distortion_parameters': WINDSHIELD}


# Name: type, parameters, and where the rays are seen in an image of the native size.
NVIDIA: dict[str, tuple[str, dict[str, Any], list[tuple[float, float]]]] = {
    'ftheta by pixel distance': ('ftheta', FRONT_WIDE, [
        (958.8, 752.1), (1229.8365, 571.409), (729.6402, 889.5958), (1068.104, 1025.36),
    ]),
    'ftheta by angle': ('ftheta', REAR, [
        (957.5, 539.5), (1411.2028, 237.0315), (574.3071, 769.4157), (1140.3577, 996.6442),
    ]),
    'sheared ftheta': ('ftheta', SHEARED, [
        (958.8, 752.1), (1230.5683, 571.6258), (729.0536, 889.4125), (1067.6722, 1025.4474),
    ]),
    'ftheta behind a windshield': ('ftheta', behind_glass(FRONT_WIDE), [
        (958.3267, 753.5197), (1228.9563, 571.4897), (729.1205, 892.9872), (1067.9345, 1031.1302),
    ]),
    'pinhole': ('opencv-pinhole', PINHOLE, [
        (951.2, 547.9), (1275.2598, 332.3911), (677.4184, 711.9003), (1081.9241, 874.065),
    ]),
    'pinhole behind a windshield': ('opencv-pinhole', behind_glass(PINHOLE), [
        (950.6398, 549.5774), (1274.1984, 332.493), (676.7727, 715.9604), (1081.7504, 881.0258),
    ]),
    'fisheye': ('opencv-fisheye', OPENCV_FISHEYE, [
        (644.0, 396.5), (760.1578, 319.6394), (545.974, 454.8767), (690.7953, 512.6151),
    ]),
    'fisheye behind a windshield': ('opencv-fisheye', behind_glass(OPENCV_FISHEYE), [
        (643.799, 397.0985), (759.7774, 319.6758), (545.7452, 456.3205), (690.7306, 515.0872),
    ]),
}  # fmt: skip


def nvidia_pixels(name: str, size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the pixels (4, 2) of RAYS with pixel centres at integers, ours."""
    _, parameters, native = NVIDIA[name]
    return np.array(native) * np.divide(size, parameters['resolution']) - 0.5


# Each name natively, and scaled alike and apart: (name, type, parameters, size).
SIZED = [
    (name, kind, parameters, (parameters['resolution'][0] // x, parameters['resolution'][1] // y))
    for name, (kind, parameters, _) in NVIDIA.items()
    for x, y in ((1, 1), (4, 4), (2, 4))
]
