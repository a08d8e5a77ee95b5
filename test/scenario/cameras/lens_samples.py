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
"""Calibrations for the camera tests: of the size that real ones have, all numbers invented."""

from test.support.archives import ftheta_parameters
from typing import Any

import numpy as np

FRONT_WIDE: dict[str, Any] = {**ftheta_parameters(), 'principal_point': [958.3, 751.6]}
REAR: dict[str, Any] = {
    **FRONT_WIDE,
    'principal_point': [957.0, 539.0],
    'reference_poly': 'ANGLE_TO_PIXELDIST',
    'pixeldist_to_angle_poly': [],
    'angle_to_pixeldist_poly': [0.0, 1576.0, -26.0, 186.0, -541.0, 620.0],
    'max_angle': 0.695,
}
TELE: dict[str, Any] = {
    **REAR,
    'principal_point': [946.0, 541.0],
    'angle_to_pixeldist_poly': [0.0, 3690.0, -60.0, 250.0, -700.0, 800.0],
    'max_angle': 0.3,
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
FTHETAS = {
    'front': FRONT_WIDE,
    'rear': REAR,
    'tele': TELE,
    'fisheye': FISHEYE_200,
    'sheared': SHEARED,
    'sheared_rear': SHEARED_REAR,
}

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
