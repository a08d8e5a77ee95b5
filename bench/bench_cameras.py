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
Time the camera models against straightforward ways to the same numbers.

Run: `python bench/bench_cameras.py`. Each line: what, ours, the other, how many times as fast.
"""

from collections.abc import Callable
import time
from types import ModuleType

import cv2
import numpy as np
from nurec_ros.scenario.cameras import base, FisheyeCamera, FthetaCamera, PinholeCamera

SIZE = (1920, 1080)
FTHETA = FthetaCamera(
    resolution=SIZE,
    principal_point=(957.0, 539.0),
    reference_poly='ANGLE_TO_PIXELDIST',
    angle_to_pixeldist_poly=(0.0, 1576.0, -26.0, 186.0, -541.0, 620.0),
    max_angle=0.695,
)
BACKWARD = FthetaCamera(
    resolution=SIZE,
    principal_point=(958.0, 752.0),
    reference_poly='PIXELDIST_TO_ANGLE',
    pixeldist_to_angle_poly=(0.0, 1.0565e-3, 3.37e-8, -9.5e-11, 1.65e-13, -6.9e-17),
    max_angle=1.35,
)
PINHOLE = PinholeCamera(
    resolution=SIZE,
    principal_point=(951.2, 547.9),
    focal_length=(1120.5, 1118.2),
    radial_coeffs=(0.21, -0.11, 0.034, 0.49, -0.052, 0.041),
    tangential_coeffs=(0.0011, -0.0007),
    thin_prism_coeffs=(0.0009, -0.0002, -0.0006, 0.0004),
)
FISHEYE = FisheyeCamera(
    resolution=SIZE,
    principal_point=(960.0, 540.0),
    focal_length=(560.0, 560.0),
    radial_coeffs=(0.031, -0.012, 0.0041, -0.0009),
    max_angle=1.7,
)


def best_of(function: Callable[[], object], repeats: int = 3) -> float:
    """Return the shortest of some runs in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def pixels() -> np.ndarray:
    """Return every pixel of the image (N, 2)."""
    u, v = np.meshgrid(np.arange(SIZE[0], dtype=float), np.arange(SIZE[1], dtype=float))
    return np.stack([u.ravel(), v.ravel()], axis=1)


def straightforward_unproject(model: FthetaCamera, uv: np.ndarray) -> np.ndarray:
    """Invert the polynomial with numpy on whole arrays: Newton from the linear term."""
    x, y = (uv - model.principal_point).T
    radius = np.hypot(x, y)
    forward = np.polynomial.Polynomial(model.angle_to_pixeldist_poly)
    angle = radius / model.angle_to_pixeldist_poly[1]
    for _ in range(10):
        angle = angle - (forward(angle) - radius) / forward.deriv()(angle)
    with np.errstate(invalid='ignore'):
        factor = np.where(radius > 0, np.sin(angle) / radius, 0.0)
    return np.stack([x * factor, y * factor, np.cos(angle)], axis=1)


def straightforward_project(model: FthetaCamera, points: np.ndarray) -> np.ndarray:
    """Invert the polynomial with numpy on whole arrays: Newton from the linear term."""
    x, y, z = points.T
    sideways = np.hypot(x, y)
    angle = np.arctan2(sideways, z)
    backward = np.polynomial.Polynomial(model.pixeldist_to_angle_poly)
    radius = angle / model.pixeldist_to_angle_poly[1]
    for _ in range(10):
        radius = radius - (backward(radius) - angle) / backward.deriv()(radius)
    with np.errstate(invalid='ignore'):
        factor = np.where(sideways > 0, radius / sideways, 0.0)
    return np.stack([x * factor, y * factor], axis=1) + model.principal_point


def row(what: str, ours: float, name: str, other: float) -> None:
    """Print one comparison."""
    times = f'{ours * 1e3:9.3f} ms   {name:24s} {other * 1e3:9.2f} ms'
    print(f'{what:34s} {times}   {other / ours:8.1f} x')


def ray_map(model: base.CameraModel) -> Callable[[], object]:
    """Return a call that computes a full ray map."""
    return lambda: model.ray_map(*SIZE)


def opencv_rows(name: str, model: PinholeCamera | FisheyeCamera) -> None:
    """Compare with OpenCV, whose undistortion makes a fixed few steps and checks nothing."""
    uv = pixels()
    zero = np.zeros(3)
    (fx, fy), (u0, v0) = model.focal_length, model.principal_point
    matrix = np.array([[fx, 0, u0], [0, fy, v0], [0, 0, 1.0]])
    opencv: ModuleType
    if isinstance(model, PinholeCamera):
        opencv, bent = cv2, np.array(model.distortion)
    else:
        opencv, bent = cv2.fisheye, np.array(model.radial_coeffs)
    rays, valid = model.unproject(uv)
    seen = rays[valid & (rays[:, 2] > 0.1)]
    points, image_points = seen[:, np.newaxis], uv[:, np.newaxis]
    ours = best_of(lambda: model.project(seen))
    other = best_of(lambda: opencv.projectPoints(points, zero, zero, matrix, bent))
    row(f'{name} project 2 M', ours, 'OpenCV', other)
    ours = best_of(lambda: model.unproject(uv))
    other = best_of(lambda: opencv.undistortPoints(image_points, matrix, bent))
    row(f'{name} unproject 2 M', ours, 'OpenCV', other)
    row(f'{name} ray map 1920x1080', best_of(ray_map(model)), 'OpenCV undistortPoints', other)


def main() -> None:
    """Run all comparisons."""
    cv2.setNumThreads(1)
    uv = pixels()
    plain = best_of(lambda: straightforward_unproject(FTHETA, uv))
    row('ftheta ray map 1920x1080', best_of(ray_map(FTHETA)), 'numpy, whole arrays', plain)
    row('ftheta unproject 2 M', best_of(lambda: FTHETA.unproject(uv)), 'numpy', plain)
    rays = BACKWARD.unproject(uv)[0]
    plain = best_of(lambda: straightforward_project(BACKWARD, rays))
    row('ftheta project 2 M (inverse)', best_of(lambda: BACKWARD.project(rays)), 'numpy', plain)
    opencv_rows('pinhole 6+2+4', PINHOLE)
    opencv_rows('fisheye', FISHEYE)


if __name__ == '__main__':
    main()
