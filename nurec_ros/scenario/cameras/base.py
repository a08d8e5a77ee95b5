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
What every camera model can do and checks.

Camera coordinates are optical: x right, y down, z forward, metres. Pixel coordinates are native
and have pixel centres at integers: the centre of the top left pixel is (0, 0) and the image spans
[-0.5, width - 0.5]. So do our principal points; those of NuRec files and wire are turned into
them, and back, by `NUREC_FIRST_PIXEL` of each kind of lens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
import math
from numbers import Real
from typing import ClassVar, NamedTuple, TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from nurec_ros.errors import shortened
from nurec_ros.poses import Array
from nurec_ros.scenario.schema.fields import described
from nurec_ros.scenario.trajectory import fill

if TYPE_CHECKING:
    from nurec_ros.scenario.cameras.nvidia import Monotone, Windshield
    from nurec_ros.scenario.cameras.opencv import FisheyeCamera, FitResidual, PinholeCamera
    from typing_extensions import Self


_LONGEST_LIST = 8


class CameraModelError(ValueError):
    """
    A camera model that cannot be built from what stands in the file.

    `key` is the path below `camera_model` (`type`, `parameters.focal_length[1]`), `found` what
    stands there, `expected` what should; the caller puts file and member in front.
    """

    def __init__(self, key: str, found: object, expected: str) -> None:
        self.key = key
        self.found = found if isinstance(found, str) else shown(found)
        self.expected = expected
        super().__init__(f'{key}: found {self.found}, expected {expected}')


def wrong(name: str, found: object, expected: str) -> CameraModelError:
    """Return the error about a parameter."""
    return CameraModelError(f'parameters.{name}', found, expected)


def shown(value: object) -> str:
    """Return the value as one short piece of text for a message; short lists as they stand."""
    if not isinstance(value, (list, tuple)) or not 0 < len(value) <= _LONGEST_LIST:
        return described(value)
    # Never the whole of what may be deeply nested.
    if any(isinstance(item, (list, tuple, Mapping)) for item in value):
        return described(value)
    return shortened(' '.join(repr(value).split()), 80)


SHUTTER_TYPES = (
    'ROLLING_TOP_TO_BOTTOM',
    'ROLLING_LEFT_TO_RIGHT',
    'ROLLING_BOTTOM_TO_TOP',
    'ROLLING_RIGHT_TO_LEFT',
    'GLOBAL',
)
# The longest side of any sensor; a larger number is a broken file, and an image of it no memory.
LARGEST_SIDE = 65535
# Far beyond what any calibration holds, and far from where polynomials overflow.
LARGEST = 1e9


def number(value: object, key: str) -> float:
    """Return a finite float, or name the key that is none."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    try:
        result = float(value) if is_number else math.nan  # type: ignore[arg-type]
    except OverflowError:
        result = math.nan
    if abs(result) <= LARGEST:
        return result
    expected = f'number of at most {LARGEST:g}' if math.isfinite(result) else 'finite number'
    raise wrong(key, shown(value), f'a {expected}')


def floats(value: object, key: str, count: int | None = None) -> tuple[float, ...]:
    """Return a tuple of finite floats, of `count` elements where that is given."""
    wanted = 'a list of numbers' if count is None else f'a list of {count} numbers'
    if isinstance(value, (str, bytes, dict)) or not isinstance(value, Iterable):
        raise wrong(key, shown(value), wanted)
    result = tuple(number(item, f'{key}[{i}]') for i, item in enumerate(value))
    if count is not None and len(result) != count:
        raise wrong(key, f'{len(result)} numbers', wanted)
    return result


def checked_size(model: CameraModel) -> None:
    """Check what every model has, and bring it to its exact types."""
    sides = floats(model.resolution, 'resolution', 2)
    if not all(side == int(side) and 1 <= side <= LARGEST_SIDE for side in sides):
        raise wrong('resolution', list(model.resolution), '[width, height] in whole pixels')
    point = floats(model.principal_point, 'principal_point', 2)
    fill(model, resolution=tuple(map(int, sides)), principal_point=point)
    if model.shutter_type not in SHUTTER_TYPES:
        raise wrong(
            'shutter_type', shown(model.shutter_type), f'one of {", ".join(SHUTTER_TYPES)}'
        )


def checked_focal_length(model: PinholeCamera | FisheyeCamera) -> None:
    """Check that both numbers, fx and fy, are more than 0."""
    fx, fy = floats(model.focal_length, 'focal_length', 2)
    if not (fx > 0.0 and fy > 0.0):
        raise wrong('focal_length', [fx, fy], 'two numbers above 0')
    fill(model, focal_length=(fx, fy))


def checked_max_angle(model: RoundLens) -> None:
    """Check that the field of view is more than nothing."""
    angle = number(model.max_angle, 'max_angle')
    if not angle > 0.0:
        raise wrong('max_angle', model.max_angle, 'an angle above 0 rad')
    fill(model, max_angle=angle)


Mask = NDArray[np.bool_]

# Temporaries of this many points stay in the processor's cache, which halves the time.
_CHUNK = 16384


class RayMap(NamedTuple):
    """Unit rays (H, W, 3) float32, 0 where not valid, and valid (H, W)."""

    rays: NDArray[np.float32]
    valid: Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraModel(ABC):
    """
    An immutable camera model; equal models are equal and hash alike.

    resolution: width and height in pixels; principal_point: (u, v) in pixels; shutter_type: the
    name in the wire's enum; windshield: what bends the rays before they reach the lens, or None.
    """

    kind: ClassVar[str] = ''
    # Where NuRec's principal points of this kind have the centre of the top left pixel.
    NUREC_FIRST_PIXEL: ClassVar[float] = 0.0

    resolution: tuple[int, int]
    principal_point: tuple[float, float]
    shutter_type: str = 'ROLLING_TOP_TO_BOTTOM'
    windshield: Windshield | None = None

    @property
    def needs_fit(self) -> bool:
        """Return whether ROS's models, plumb_bob's and equidistant's, can only come near it."""
        return True

    @property
    def nurec_principal_point(self) -> tuple[float, float]:
        u, v = self.principal_point
        return u + self.NUREC_FIRST_PIXEL, v + self.NUREC_FIRST_PIXEL

    def project(self, points: ArrayLike) -> tuple[Array, Mask]:
        """
        Project points (N, 3) in optical camera coordinates to pixels (N, 2), valid (N,).

        Valid means inside the model's field of view, which may reach beyond the image: see
        `inside`. What is not valid is NaN.
        """
        return _in_chunks(self._project, _rows(points, 3), 2)

    def unproject(self, uv: ArrayLike) -> tuple[Array, Mask]:
        """
        Return the unit rays (N, 3), in optical camera coordinates, of pixels (N, 2), valid (N,).

        Valid means that the model's field of view reaches there. What is not valid is NaN.
        """
        return _in_chunks(self._unproject, _rows(uv, 2), 3)

    def inside(self, uv: ArrayLike) -> Mask:
        """Return which pixels (N, 2) lie in the image's rectangle, outer half pixels included."""
        uv = np.asarray(uv, dtype=np.float64)
        upper = np.array(self.resolution) - 0.5
        return np.asarray(((uv >= -0.5) & (uv <= upper)).all(axis=-1), dtype=np.bool_)

    def resized(self, width: int, height: int) -> Self:
        """
        Return the model of exactly the same view in an image of width by height pixels.

        The sides scale apart, so that a size of a slightly other aspect is served as well.
        """
        if width < 1 or height < 1:
            raise ValueError(f'a camera model cannot have the size {width} x {height}')
        scale_u, scale_v = width / self.resolution[0], height / self.resolution[1]
        u, v = self.principal_point
        return replace(
            self,
            resolution=(width, height),
            principal_point=((u + 0.5) * scale_u - 0.5, (v + 0.5) * scale_v - 0.5),
            **self._stretched_lens(scale_u, scale_v),  # type: ignore[arg-type]
        )

    def fit(self, distortion: str) -> tuple[FisheyeCamera, FitResidual]:
        """
        Fit another model to this one over the image; `distortion` is 'equidistant'.

        The residual holds the fit's error in native pixels of this model.
        """
        if distortion != 'equidistant':
            raise ValueError(f"cannot fit '{distortion}', only 'equidistant'")
        from nurec_ros.scenario.cameras.opencv import fit_equidistant

        return fit_equidistant(self)

    def ray_map(self, width: int, height: int) -> RayMap:
        """Return the ray of each pixel of the same view in an image of width by height pixels."""
        native_w, native_h = self.resolution
        u = (np.arange(width) + 0.5) * (native_w / width) - 0.5
        v = (np.arange(height) + 0.5) * (native_h / height) - 0.5
        rays = np.zeros((height, width, 3), dtype=np.float32)
        valid = np.empty((height, width), dtype=np.bool_)
        rows = max(1, _CHUNK // width)
        for top in range(0, height, rows):
            bottom = top + rows
            part = v[top:bottom]
            uv = np.empty((len(part), width, 2))
            uv[..., 0] = u
            uv[..., 1] = part[:, np.newaxis]
            found, good = self._unproject(uv.reshape(-1, 2))
            found[~good] = 0.0
            rays[top:bottom] = found.reshape(len(part), width, 3)
            valid[top:bottom] = good.reshape(len(part), width)
        return RayMap(rays, valid)

    def _project(self, points: Array) -> tuple[Array, Mask]:
        with np.errstate(all='ignore'):
            if self.windshield is None:
                uv, valid = self._project_lens(points)
            else:
                rays, passed = self.windshield.distort(points)
                uv, valid = self._project_lens(rays)
                valid &= passed
            uv[~valid] = np.nan
        return uv, valid

    def _unproject(self, uv: Array) -> tuple[Array, Mask]:
        with np.errstate(all='ignore'):
            rays, valid = self._unproject_lens(uv)
            if self.windshield is not None:
                rays, passed = self.windshield.undistort(rays)
                valid &= passed
            rays[~valid] = np.nan
        return rays, valid

    @abstractmethod
    def _project_lens(self, points: Array) -> tuple[Array, Mask]:
        """Project without windshield; points are of any length, invalid results arbitrary."""

    @abstractmethod
    def _unproject_lens(self, uv: Array) -> tuple[Array, Mask]:
        """Unproject to unit rays without windshield; invalid results arbitrary."""

    @abstractmethod
    def _stretched_lens(self, scale_u: float, scale_v: float) -> dict[str, tuple[float, ...]]:
        """Return the lens's own parameters with u and v scaled apart."""


class RoundLens(CameraModel):
    """
    A lens whose rays' angles from the axis alone decide the distance from the axis, its radius.

    A pixel is A (radius / |xy|) (x, y) + principal point, with a matrix A of the lens's own.
    """

    __slots__ = ()

    max_angle: float

    @property
    def view_angle(self) -> float:
        """Return the angle from the axis, in radians, up to which rays have a pixel."""
        lens = self._lens
        return lens.end if self._by_angle else lens.top

    @property
    @abstractmethod
    def _lens(self) -> Monotone:
        """Return the polynomial between angle and radius."""

    @property
    @abstractmethod
    def _by_angle(self) -> bool:
        """Return whether that gives the radius of an angle, and not the angle of a radius."""

    @property
    @abstractmethod
    def _matrix(self) -> tuple[float, float, float, float]:
        """Return A, row by row."""

    def _project_lens(self, points: Array) -> tuple[Array, Mask]:
        x, y, z = points.T
        distance = np.hypot(x, y)
        angle = np.arctan2(distance, z)
        lens = self._lens
        valid = lens.reaches(angle) if self._by_angle else lens.attains(angle)
        valid &= np.isfinite(distance) & ((distance > 0.0) | (z > 0.0))
        radius = lens(angle) if self._by_angle else lens.inverse(angle)
        factor = np.divide(radius, distance, out=np.zeros_like(radius), where=distance > 0.0)
        x, y = x * factor, y * factor
        a, b, c, d = self._matrix
        uv = np.empty((len(points), 2))
        uv[:, 0] = a * x + b * y + self.principal_point[0]
        uv[:, 1] = c * x + d * y + self.principal_point[1]
        return uv, valid

    def _unproject_lens(self, uv: Array) -> tuple[Array, Mask]:
        a, b, c, d = self._matrix
        determinant = a * d - b * c
        u, v = uv[:, 0] - self.principal_point[0], uv[:, 1] - self.principal_point[1]
        x = (d / determinant) * u - (b / determinant) * v
        y = (a / determinant) * v - (c / determinant) * u
        radius = np.hypot(x, y)
        lens = self._lens
        valid = lens.attains(radius) if self._by_angle else lens.reaches(radius)
        angle = lens.inverse(radius) if self._by_angle else lens(radius)
        factor = np.divide(np.sin(angle), radius, out=np.zeros_like(radius), where=radius > 0.0)
        rays = np.empty((len(uv), 3))
        rays[:, 0] = x * factor
        rays[:, 1] = y * factor
        rays[:, 2] = np.cos(angle)
        return rays, valid


def stretched_focal_length(
    focal_length: tuple[float, float], scale_u: float, scale_v: float
) -> dict[str, tuple[float, ...]]:
    """Return the parameter of a lens whose focal length alone is in pixels."""
    return {'focal_length': (focal_length[0] * scale_u, focal_length[1] * scale_v)}


def _rows(values: ArrayLike, columns: int) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != columns:
        raise ValueError(f'expected an array of shape (N, {columns}), got {array.shape}')
    return array


def _in_chunks(
    function: Callable[[Array], tuple[Array, Mask]], rows: Array, columns: int
) -> tuple[Array, Mask]:
    if len(rows) <= _CHUNK:
        return function(rows)
    values = np.empty((len(rows), columns))
    valid = np.empty(len(rows), dtype=np.bool_)
    for start in range(0, len(rows), _CHUNK):
        stop = start + _CHUNK
        values[start:stop], valid[start:stop] = function(rows[start:stop])
    return values, valid
