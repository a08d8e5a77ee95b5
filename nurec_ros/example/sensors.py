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
"""The rig: six cameras and a lidar, where they sit, how they see, when they do."""

from __future__ import annotations

from dataclasses import dataclass
import itertools
import math

import numpy as np
from numpy.polynomial.polynomial import polyval
from numpy.typing import NDArray

WIDTH = 1920
HEIGHT = 1080
FRAME_PERIOD_US = 33_333.3
DEGREE = 6  # coefficients of a polynomial, the first of them 0
CORNER_MARGIN = math.radians(0.1)
# Names of --camera-model; a windshield lies before the two that look ahead.
CAMERA_MODELS = ('ftheta', 'windshield', 'pinhole', 'fisheye')
BEHIND_GLASS = ('camera_front_wide_120fov', 'camera_front_tele_30fov')

TO_ANGLE = 'PIXELDIST_TO_ANGLE'
TO_PIXELDIST = 'ANGLE_TO_PIXELDIST'

LIDAR = 'lidar_gt_top_p128'
LIDAR_POSITION = (1.20, 0.0, 1.95)
LIDAR_ROWS, LIDAR_COLUMNS = 128, 1800
LIDAR_ELEVATIONS = (14.4, -25.0)  # of the first and the last row, deg
LIDAR_PERIOD_US = 100_000
LIDAR_PHASE_US = 12_000


@dataclass(frozen=True, slots=True)
class CameraDesign:
    """
    One camera: position (m) and yaw, pitch (deg, left and down positive) in the rig; its lens.

    `polynomial` is the exact one, named by `reference`; exposure and phase are in microseconds.
    """

    name: str
    position: tuple[float, float, float]
    yaw: float
    pitch: float
    principal_point: tuple[float, float]
    reference: str
    polynomial: tuple[float, ...]
    exposure_us: int
    phase_us: int


_WIDE = (0.0, 1.0565e-3, 3.37e-8, -9.5e-11, 1.65e-13, -6.9e-17)
_CROSS = (0.0, 1.0651e-3, 2.2e-8, -6.2e-11, 1.21e-13, -5.2e-17)

CAMERAS = (
    CameraDesign(
        'camera_front_wide_120fov', (1.90, -0.05, 1.45), 0.0, 0.3,
        (958.0, 752.0), TO_ANGLE, _WIDE, 27_000, 20_000,
    ),
    CameraDesign(
        'camera_front_tele_30fov', (1.91, -0.10, 1.31), -0.2, 0.0,
        (946.0, 541.0), TO_PIXELDIST, (0.0, 3690.0, -60.0, 260.0, -720.0, 810.0), 16_000, 26_400,
    ),
    CameraDesign(
        'camera_cross_left_120fov', (2.59, 0.95, 0.90), 67.0, 0.0,
        (961.0, 746.0), TO_ANGLE, _CROSS, 30_000, 23_100,
    ),
    CameraDesign(
        'camera_cross_right_120fov', (2.58, -0.95, 0.89), -67.0, 0.2,
        (956.0, 747.0), TO_ANGLE, _CROSS, 30_000, 24_900,
    ),
    CameraDesign(
        'camera_rear_left_70fov', (2.18, 1.03, 0.98), 153.0, 0.5,
        (957.0, 539.0), TO_PIXELDIST, (0.0, 1576.0, -26.0, 120.0, -330.0, 333.0), 22_000, 31_700,
    ),
    CameraDesign(
        'camera_rear_right_70fov', (2.07, -0.98, 1.02), -151.0, 0.4,
        (955.0, 543.0), TO_PIXELDIST, (0.0, 1573.0, -30.0, 130.0, -350.0, 358.0), 22_000, 33_200,
    ),
)  # fmt: skip


def farthest_corner(principal_point: tuple[float, float]) -> float:
    """Return the distance (px) from the principal point to the farthest corner's pixel centre."""
    u, v = principal_point
    return math.hypot(max(u, WIDTH - 1 - u), max(v, HEIGHT - 1 - v))


def fit_inverse(polynomial: tuple[float, ...], limit: float) -> tuple[float, ...]:
    """
    Fit the inverse of a monotone polynomial without constant term on 0 to `limit`.

    Least squares of the same degree, also without constant term. The unknowns are scaled by the
    interval, without which a fit over pixels to the sixth power loses every digit.
    """
    x = np.linspace(0.0, limit, 4001)
    y = polyval(x, polynomial)
    scale = y[-1]
    powers = np.arange(1, DEGREE)
    solution = np.linalg.lstsq((y[:, None] / scale) ** powers, x, rcond=None)[0]
    return (0.0, *(float(f'{value:.12g}') for value in solution / scale**powers))


def lens(design: CameraDesign) -> tuple[tuple[float, ...], tuple[float, ...], float]:
    """Return a lens's polynomials px to angle and angle to px, and its greatest angle (rad)."""
    corner = farthest_corner(design.principal_point)
    if design.reference == TO_ANGLE:
        to_angle = design.polynomial
        to_pixel = fit_inverse(to_angle, corner)
        angle = float(polyval(corner, to_angle))
    else:
        to_pixel = design.polynomial
        # The angle of the corner: where the reference polynomial reaches it, by bisection.
        grid = np.linspace(0.0, 1.6, 160_001)
        angle = float(np.interp(corner, polyval(grid, to_pixel), grid))
        to_angle = fit_inverse(to_pixel, angle)
    return to_angle, to_pixel, round(angle + CORNER_MARGIN, 5)


def sensor_to_rig(design: CameraDesign) -> NDArray[np.float64]:
    """Return T_rig_camera (4, 4) of the optical axes: x right, y down, z forward."""
    yaw, pitch = math.radians(design.yaw), math.radians(design.pitch)
    forward = np.array(
        [math.cos(yaw) * math.cos(pitch), math.sin(yaw) * math.cos(pitch), -math.sin(pitch)]
    )
    right = np.array([math.sin(yaw), -math.cos(yaw), 0.0])
    pose = np.eye(4)
    pose[:3, :3] = np.column_stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = design.position
    return pose


def calibration(
    design: CameraDesign, index: int, sequence_id: str, camera_model: str = 'ftheta'
) -> dict[str, object]:
    """Return the entry of `camera_calibrations`; `camera_model` is one of CAMERA_MODELS."""
    lenses = {'pinhole': _pinhole, 'fisheye': _fisheye}
    kind, parameters = lenses.get(camera_model, _ftheta)(design)
    glass = camera_model == 'windshield' and design.name in BEHIND_GLASS
    return {
        'sequence_id': sequence_id,
        'logical_sensor_name': design.name,
        'unique_sensor_idx': index,
        'T_sensor_rig': (sensor_to_rig(design).round(12) + 0.0).tolist(),
        'camera_model': {
            'type': kind,
            'parameters': {
                'resolution': [WIDTH, HEIGHT],
                'shutter_type': 'ROLLING_TOP_TO_BOTTOM',
                'external_distortion_parameters': windshield() if glass else None,
                **parameters,
            },
        },
    }


def _ftheta(design: CameraDesign) -> tuple[str, dict[str, object]]:
    to_angle, to_pixel, max_angle = lens(design)
    return 'ftheta', {
        'principal_point': list(design.principal_point),
        'reference_poly': design.reference,
        'pixeldist_to_angle_poly': list(to_angle),
        'angle_to_pixeldist_poly': list(to_pixel),
        'max_angle': max_angle,
        'linear_cde': [1.0, 0.0, 0.0],
    }


def _pinhole(design: CameraDesign) -> tuple[str, dict[str, object]]:
    """Return an OpenCV pinhole as wide as the F-theta lens, from the middle to the right edge."""
    to_angle, _, _ = lens(design)
    reach = WIDTH - 1 - design.principal_point[0]
    focal = reach / math.tan(float(polyval(reach, to_angle)))
    return 'opencv-pinhole', {
        'principal_point': _from_corner(design),
        'focal_length': [round(focal, 6), round(focal, 6)],
        'radial_coeffs': [-0.011, 0.0012, 0.0, 0.0, 0.0, 0.0],
        'tangential_coeffs': [0.0002, -0.0001],
        'thin_prism_coeffs': [0.0, 0.0, 0.0, 0.0],
    }


def _fisheye(design: CameraDesign) -> tuple[str, dict[str, object]]:
    """Return the OpenCV fisheye that sees what the F-theta lens does, within some pixels."""
    _, to_pixel, max_angle = lens(design)
    angle = np.linspace(0.0, max_angle, 2001)
    focal = to_pixel[1]
    rest = polyval(angle, to_pixel) / focal - angle
    radial = np.linalg.lstsq(angle[:, None] ** [3, 5, 7, 9], rest, rcond=None)[0]
    return 'opencv-fisheye', {
        'principal_point': _from_corner(design),
        'focal_length': [focal, focal],
        'radial_coeffs': [float(f'{value:.9g}') for value in radial],
        'max_angle': max_angle,
    }


def _from_corner(design: CameraDesign) -> list[float]:
    """Return the principal point as NuRec counts that of OpenCV's models: from the corner."""
    return [value + 0.5 for value in design.principal_point]


def windshield() -> dict[str, object]:
    """
    Return a windshield that bends rays by up to a degree, and the fits of its inverse.

    The angles are phi across and theta down; the coefficients of a polynomial of degree N are
    those of theta^0 with phi^0 to phi^N, of theta^1 with phi^0 to phi^(N-1), and so on.
    """
    horizontal = np.array([0.0006, 1.0021, -0.0012, 0.0004, 0.0009, -0.0007])
    vertical = np.zeros(15)
    vertical[[0, 1, 2, 5, 6, 9]] = (-0.0011, 0.0005, 0.0043, 1.0034, -0.0008, -0.0029)
    axis = np.linspace(-0.9, 0.9, 61)
    phi, theta = (grid.ravel() for grid in np.meshgrid(axis, 0.6 * axis))
    across = _terms(phi, theta, 2) @ horizontal
    down = _terms(phi, theta, 4) @ vertical
    polynomials = {
        'horizontal_poly': horizontal,
        'vertical_poly': vertical,
        'horizontal_poly_inverse': np.linalg.lstsq(_terms(across, down, 2), phi, rcond=None)[0],
        'vertical_poly_inverse': np.linalg.lstsq(_terms(across, down, 4), theta, rcond=None)[0],
    }
    rounded = {
        name: [float(f'{value:.9g}') for value in values] for name, values in polynomials.items()
    }
    return {'reference_poly': 'FORWARD', **rounded}


def _terms(
    phi: NDArray[np.float64], theta: NDArray[np.float64], degree: int
) -> NDArray[np.float64]:
    powers = [(i, j) for j in range(degree + 1) for i in range(degree + 1 - j)]
    return np.stack([phi**i * theta**j for i, j in powers], axis=1)


def lidar_calibration(sequence_id: str) -> dict[str, object]:
    """Return the entry of `lidar_calibrations`: a spinning lidar in the middle of the roof."""
    pose = np.eye(4)
    pose[:3, 3] = LIDAR_POSITION
    columns = 360.0 * np.arange(LIDAR_COLUMNS) / LIDAR_COLUMNS
    return {
        'sequence_id': sequence_id,
        'logical_sensor_name': LIDAR,
        'unique_sensor_idx': 0,
        'T_sensor_rig': pose.tolist(),
        'lidar_model': {
            'type': 'row-offset-spinning',
            'parameters': {
                'spinning_frequency_hz': 10.0,
                'spinning_direction': 'cw',
                'n_rows': LIDAR_ROWS,
                'n_columns': LIDAR_COLUMNS,
                'row_elevations_rad': _radians(np.linspace(*LIDAR_ELEVATIONS, LIDAR_ROWS)),
                'column_azimuths_rad': _radians(180.0 - columns),
                'row_azimuth_offsets_rad': [0.0] * LIDAR_ROWS,
            },
        },
    }


def _radians(degrees: NDArray[np.float64]) -> list[float]:
    return [float(value) for value in np.radians(degrees).round(6) + 0.0]


def spins(start_us: int, end_us: int) -> list[list[int]]:
    """Return the spins [start, end] (us), ten a second without a gap, within the pose range."""
    first = start_us + LIDAR_PHASE_US
    count = (end_us - first) // LIDAR_PERIOD_US
    edges = [first + k * LIDAR_PERIOD_US for k in range(count + 1)]
    return [[start, end] for start, end in itertools.pairwise(edges)]


def frame_times(design: CameraDesign, start_us: int, end_us: int) -> list[list[int]]:
    """Return the exposures [start, end] (us), 30 a second, all within the pose range."""
    count = int((end_us - start_us) / FRAME_PERIOD_US) + 1
    starts = [start_us + design.phase_us + round(k * FRAME_PERIOD_US) for k in range(count)]
    return [
        [start, start + design.exposure_us]
        for start in starts
        if start + design.exposure_us <= end_us
    ]
