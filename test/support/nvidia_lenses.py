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

Written down from nvidia-ncore 19.8.3 (PyPI, `camera_rays_to_image_points` in float64; the sizes
by `transform`). Its image coordinates count from the corner: the centre of the first pixel is
(0.5, 0.5), half a pixel more than ours.
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


# Name: type, parameters, and by the image's size where the rays are seen.
NVIDIA: dict[
    str, tuple[str, dict[str, Any], dict[tuple[int, int], list[tuple[float, float]]]]
] = {
    'ftheta by pixel distance': ('ftheta', FRONT_WIDE, {
        (1920, 1080): [
            (958.8, 752.1), (1229.8365, 571.409), (729.6402, 889.5958), (1068.104, 1025.36),
        ],
        (480, 270): [
            (239.7, 188.025), (307.4591, 142.8522), (182.4101, 222.399), (267.026, 256.34),
        ],
        (960, 270): [
            (479.4, 188.025), (614.9182, 142.8522), (364.8201, 222.399), (534.052, 256.34),
        ],
    }),
    'ftheta by angle': ('ftheta', REAR, {
        (1920, 1080): [
            (957.5, 539.5), (1411.2028, 237.0315), (574.3071, 769.4157), (1140.3577, 996.6442),
        ],
        (480, 270): [
            (239.375, 134.875), (352.8007, 59.2579), (143.5768, 192.3539), (285.0894, 249.161),
        ],
        (960, 270): [
            (478.75, 134.875), (705.6014, 59.2579), (287.1536, 192.3539), (570.1788, 249.161),
        ],
    }),
    'sheared ftheta': ('ftheta', SHEARED, {
        (1920, 1080): [
            (958.8, 752.1), (1230.5683, 571.6258), (729.0536, 889.4125), (1067.6722, 1025.4474),
        ],
        (480, 270): [
            (239.7, 188.025), (307.6421, 142.9064), (182.2634, 222.3531), (266.9181, 256.3619),
        ],
        (960, 270): [
            (479.4, 188.025), (615.2841, 142.9064), (364.5268, 222.3531), (533.8361, 256.3619),
        ],
    }),
    'ftheta behind a windshield': ('ftheta', behind_glass(FRONT_WIDE), {
        (1920, 1080): [
            (958.3267, 753.5197), (1228.9563, 571.4897),
            (729.1205, 892.9872), (1067.9345, 1031.1302),
        ],
        (480, 270): [
            (239.5817, 188.3799), (307.2391, 142.8724), (182.2801, 223.2468), (266.9836, 257.7826),
        ],
        (960, 270): [
            (479.1634, 188.3799), (614.4782, 142.8724), (364.5602, 223.2468), (533.9672, 257.7826),
        ],
    }),
    'pinhole': ('opencv-pinhole', PINHOLE, {
        (1920, 1080): [
            (951.2, 547.9), (1275.2598, 332.3911), (677.4184, 711.9003), (1081.9241, 874.065),
        ],
        (480, 270): [
            (237.8, 136.975), (318.8149, 83.0978), (169.3546, 177.9751), (270.481, 218.5162),
        ],
        (960, 270): [
            (475.6, 136.975), (637.6299, 83.0978), (338.7092, 177.9751), (540.962, 218.5162),
        ],
    }),
    'pinhole behind a windshield': ('opencv-pinhole', behind_glass(PINHOLE), {
        (1920, 1080): [
            (950.6398, 549.5774), (1274.1984, 332.493),
            (676.7727, 715.9604), (1081.7504, 881.0258),
        ],
        (480, 270): [
            (237.6599, 137.3944), (318.5496, 83.1233), (169.1932, 178.9901), (270.4376, 220.2565),
        ],
        (960, 270): [
            (475.3199, 137.3944), (637.0992, 83.1233), (338.3863, 178.9901), (540.8752, 220.2565),
        ],
    }),
    'fisheye': ('opencv-fisheye', OPENCV_FISHEYE, {
        (1280, 800): [
            (644.0, 396.5), (760.1578, 319.6394), (545.974, 454.8767), (690.7953, 512.6151),
        ],
        (320, 200): [
            (161.0, 99.125), (190.0394, 79.9098), (136.4935, 113.7192), (172.6988, 128.1538),
        ],
        (640, 200): [
            (322.0, 99.125), (380.0789, 79.9098), (272.987, 113.7192), (345.3976, 128.1538),
        ],
    }),
    'fisheye behind a windshield': ('opencv-fisheye', behind_glass(OPENCV_FISHEYE), {
        (1280, 800): [
            (643.799, 397.0985), (759.7774, 319.6758), (545.7452, 456.3205), (690.7306, 515.0872),
        ],
        (320, 200): [
            (160.9497, 99.2746), (189.9444, 79.919), (136.4363, 114.0801), (172.6827, 128.7718),
        ],
        (640, 200): [
            (321.8995, 99.2746), (379.8887, 79.919), (272.8726, 114.0801), (345.3653, 128.7718),
        ],
    }),
}  # fmt: skip


def nvidia_pixels(name: str, size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the pixels (4, 2) of RAYS with pixel centres at integers, ours."""
    return np.array(NVIDIA[name][2][size]) - 0.5


# Each name with each size: (name, type, parameters, size).
SIZED = [
    (name, kind, parameters, size)
    for name, (kind, parameters, sizes) in NVIDIA.items()
    for size in sizes
]
