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
Calibrations for the camera tests: of the size that real ones have, all numbers invented.

And what NVIDIA's own camera library makes of them, written down from nvidia-ncore 19.8.3 (PyPI,
`camera_rays_to_image_points` in float64). Its image coordinates count from the corner: the centre
of the first pixel is (0.5, 0.5), half a pixel more than ours. At the other sizes, by its
`transform`, they were the native ones times the sides' scales, to all four digits.
"""

from test.support.archives import ftheta_parameters
from typing import Any

import numpy as np
from numpy.typing import NDArray

FRONT_WIDE: dict[str, Any] = {**ftheta_parameters(), 'principal_point': [958.3, 751.6]}
REAR: dict[str, Any] = {
    **FRONT_WIDE,
    'principal_point': [957.0, 539.0],
    'reference_poly': 'ANGLE_TO_PIXELDIST',
    'pixeldist_to_angle_poly': [],
    'angle_to_pixeldist_poly': [0.0, 1576.0, -26.0, 186.0, -541.0, 620.0],
    'max_angle': 0.695,
}
FISHEYE_200 = {
    **REAR,
    'resolution': [1920, 1536],
    'principal_point': [961.5, 766.2],
    'angle_to_pixeldist_poly': [0.0, 540.0, 3.0, -12.0, 6.0, -2.0],
    'max_angle': 1.75,
}
SHEARED: dict[str, Any] = {**FRONT_WIDE, 'linear_cde': [1.0013, -0.0021, 0.0008]}
SHEARED_REAR: dict[str, Any] = {**REAR, 'linear_cde': [0.97, 0.012, -0.02]}
FTHETAS = {'front': FRONT_WIDE, 'rear': REAR, 'fisheye': FISHEYE_200}
FTHETAS |= {'sheared': SHEARED, 'sheared_rear': SHEARED_REAR}

PINHOLE: dict[str, Any] = {
    'resolution': [1920, 1080],
    'shutter_type': 'GLOBAL',
    'principal_point': [951.2, 547.9],
    'focal_length': [1120.5, 1118.25],
    'radial_coeffs': [0.21, -0.11, 0.034, 0.49, -0.052, 0.041],
    'tangential_coeffs': [0.0011, -0.0007],
    'thin_prism_coeffs': [0.0009, -0.0002, -0.0006, 0.0004],
}
OPENCV_FISHEYE: dict[str, Any] = {
    'resolution': [1280, 800],
    'shutter_type': 'ROLLING_LEFT_TO_RIGHT',
    'principal_point': [644.0, 396.5],
    'focal_length': [402.0, 399.0],
    'radial_coeffs': [0.031, -0.012, 0.0041, -0.0009],
    'max_angle': 1.6,
}
WINDSHIELD: dict[str, Any] = {
    'external_distortion_type': 'bivariate-windshield',
    'reference_poly': 'FORWARD',
    'horizontal_poly': [-0.0005, 0.9995, 0.0002, 0.0002, 0.0055, 0.0009],
    'vertical_poly': [
        *(0.0015, -0.0005, -0.00006, -0.000004, 0.0006),
        *(1.0094, -0.0013, 0.0082, -0.0003),
        *(0.0185, -0.0031, 0.006),
        *(0.0172, -0.0036),
        0.0069,
    ],
    'horizontal_poly_inverse': [0.0005, 1.0005, -0.0002, -0.0002, -0.0055, -0.0009],
    'vertical_poly_inverse': [
        *(-0.0015, 0.0005, 0.00008, -0.000007, -0.0006),
        *(0.9907, 0.0012, -0.0079, 0.0003),
        *(-0.0178, 0.0028, -0.0054),
        *(-0.0153, 0.0035),
        -0.0056,
    ],
}


def pixel_grid(resolution, step=37):
    """Return pixels (N, 2) all over an image, its outer edges included."""
    width, height = resolution
    u, v = np.meshgrid(
        np.append(np.arange(-0.5, width - 0.5, step), width - 0.5),
        np.append(np.arange(-0.5, height - 0.5, step), height - 0.5),
    )
    return np.stack([u.ravel(), v.ravel()], axis=1)


def random_rays(count, widest, seed=0):
    """Return unit rays (N, 3) spread over the angles up to `widest` from the axis."""
    rng = np.random.default_rng(seed)
    angle = widest * rng.uniform(size=count)
    turn = rng.uniform(0.0, 2.0 * np.pi, size=count)
    return np.stack(
        [np.sin(angle) * np.cos(turn), np.sin(angle) * np.sin(turn), np.cos(angle)], axis=1
    )


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
