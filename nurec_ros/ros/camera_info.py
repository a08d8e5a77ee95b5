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
Camera models as ROS knows them: `CameraInfo` for any lens and any published size.

ROS has names for three lenses: plumb_bob, rational_polynomial and equidistant. OpenCV's pinhole
and fisheye models are these already; NuRec's F-theta is fitted.
"""

from __future__ import annotations

from dataclasses import dataclass

from nurec_ros.scenario.cameras import (
    CameraModel,
    FisheyeCamera,
    FitResidual,
    PinholeCamera,
)
from sensor_msgs.msg import CameraInfo

PLUMB_BOB = 'plumb_bob'
RATIONAL_POLYNOMIAL = 'rational_polynomial'
EQUIDISTANT = 'equidistant'


@dataclass(frozen=True, slots=True)
class Calibration:
    """
    A camera at its calibration's size, in ROS's terms.

    `focal` and `principal` are in pixels, with pixel centres at whole coordinates. `residual`
    is that of a fit (`rms_px`, `max_px`), None where nothing was fitted. `notes` are sentences
    about what ROS's model cannot say. A camera that cannot be described has no distortion model
    and a focal length of 0, which is how CameraInfo says "not calibrated" (REP 104).
    """

    distortion_model: str
    d: tuple[float, ...]
    focal: tuple[float, float]
    principal: tuple[float, float]
    resolution: tuple[int, int]
    residual: FitResidual | None = None
    notes: tuple[str, ...] = ()


def calibration(model: CameraModel) -> Calibration:
    """
    Put a camera model into ROS's terms.

    An F-theta model, and a fisheye behind a windshield, is fitted by an equidistant one over the
    image, which takes a moment: keep the result.
    """
    if isinstance(model, PinholeCamera):
        return _pinhole(model)
    if isinstance(model, FisheyeCamera) and model.windshield is None:
        return _fisheye(model, None)
    try:
        fitted, residual = model.fit('equidistant')
    except ValueError as error:
        note = f'camera_info says uncalibrated: {error}'
        return Calibration('', (), (0.0, 0.0), (0.0, 0.0), model.resolution, notes=(note,))
    return _fisheye(fitted, residual)


def _pinhole(model: PinholeCamera) -> Calibration:
    k1, k2, k3, k4, k5, k6 = (float(value) for value in model.radial_coeffs)
    p1, p2 = (float(value) for value in model.tangential_coeffs)
    notes: tuple[str, ...] = ()
    if model.windshield is not None:
        notes += ('the windshield is left out of camera_info: ROS has no model for it',)
    if any(model.thin_prism_coeffs):
        notes += (
            'the thin prism terms are left out of camera_info: rational_polynomial has no room',
        )
    name = RATIONAL_POLYNOMIAL
    d: tuple[float, ...] = (k1, k2, p1, p2, k3, k4, k5, k6)
    if not any((k4, k5, k6)):
        name, d = PLUMB_BOB, d[:5]
    return Calibration(name, d, *_intrinsics(model), notes=notes)


def _fisheye(model: FisheyeCamera, residual: FitResidual | None) -> Calibration:
    d = tuple(float(value) for value in model.radial_coeffs)
    return Calibration(EQUIDISTANT, d, *_intrinsics(model), residual=residual)


def _intrinsics(
    model: PinholeCamera | FisheyeCamera,
) -> tuple[tuple[float, float], tuple[float, float], tuple[int, int]]:
    fx, fy = (float(value) for value in model.focal_length)
    cx, cy = (float(value) for value in model.principal_point)
    width, height = (int(value) for value in model.resolution)
    return (fx, fy), (cx, cy), (width, height)


def camera_info(calibrated: Calibration, width: int, height: int, frame: str) -> CameraInfo:
    """
    Give the CameraInfo of an image of `width` by `height` pixels; its stamp is not set.

    Each axis scales by itself (a server may keep another aspect than asked for). R is the
    identity and P is K without distortion: rviz's Camera display, which reads P alone, overlays
    an undistorted image exactly.
    """
    (fx, fy), (cx, cy) = calibrated.focal, calibrated.principal
    sx, sy = width / calibrated.resolution[0], height / calibrated.resolution[1]
    fx, fy = fx * sx, fy * sy
    # Pixel centres are whole numbers, so the image begins at -0.5 and that edge stays in place.
    cx, cy = (cx + 0.5) * sx - 0.5, (cy + 0.5) * sy - 0.5
    message = CameraInfo(
        width=int(width),
        height=int(height),
        distortion_model=calibrated.distortion_model,
        d=list(calibrated.d),
        k=[fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )
    message.header.frame_id = frame
    return message
