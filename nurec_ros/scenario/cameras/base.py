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
What every camera model can do.

Camera coordinates are optical: x right, y down, z forward, metres. Pixel coordinates are native
and have pixel centres at integers: the centre of the top left pixel is (0, 0) and the image spans
[-0.5, width - 0.5]. So do our principal points; those of NuRec's files and wire are turned into
them, and back, by `NUREC_FIRST_PIXEL` of each kind of lens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
import math
from typing import ClassVar, NamedTuple, TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from nurec_ros.scenario.cameras.cache import BoundedCache
from nurec_ros.scenario.cameras.windshield import Windshield

if TYPE_CHECKING:
    from nurec_ros.scenario.cameras.fisheye import FisheyeCamera
    from nurec_ros.scenario.cameras.fit import FitResidual
    from typing_extensions import Self

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Temporaries of this many points stay in the processor's cache, which halves the time.
_CHUNK = 16384
_RAY_MAP_BYTES = 256 << 20


class RayMap(NamedTuple):
    """Unit rays (H, W, 3) float32, 0 where not valid, and valid (H, W); both read-only."""

    rays: NDArray[np.float32]
    valid: Mask


_ray_maps: BoundedCache[RayMap] = BoundedCache(
    _RAY_MAP_BYTES, lambda entry: entry.rays.nbytes + entry.valid.nbytes
)


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
    def nurec_principal_point(self) -> tuple[float, float]:
        """Return the principal point as NuRec's files and wire count it."""
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
        Give the unit rays (N, 3), in optical camera coordinates, of pixels (N, 2), valid (N,).

        Valid means that the model's field of view reaches there. What is not valid is NaN.
        """
        return _in_chunks(self._unproject, _rows(uv, 2), 3)

    def inside(self, uv: ArrayLike) -> Mask:
        """Tell which pixels (N, 2) lie in the image's rectangle, outer half pixels included."""
        uv = np.asarray(uv, dtype=np.float64)
        upper = np.array(self.resolution) - 0.5
        return np.asarray(((uv >= -0.5) & (uv <= upper)).all(axis=-1), dtype=np.bool_)

    def scaled(self, factor: float) -> Self:
        """
        Give the model of the same view in an image `factor` times as large.

        The resolution is rounded to whole pixels, the intrinsics are not: the principal point
        follows (p + 0.5) * factor - 0.5.
        """
        if not (math.isfinite(factor) and factor > 0.0):
            raise ValueError(f'a camera model cannot be scaled by {factor}, only by more than 0')
        width, height = (max(1, round(side * factor)) for side in self.resolution)
        return self._stretched(factor, factor, (width, height))

    def resized(self, width: int, height: int) -> Self:
        """
        Give the model of exactly the same view in an image of width by height pixels.

        The sides scale apart, so that a size of a slightly other aspect is served as well.
        """
        if width < 1 or height < 1:
            raise ValueError(f'a camera model cannot have the size {width} x {height}')
        native_w, native_h = self.resolution
        return self._stretched(width / native_w, height / native_h, (width, height))

    def sees_its_image(self) -> bool:
        """Return whether the field of view covers anything of the image, enough for a fit."""
        from nurec_ros.scenario.cameras.fit import sees_its_image

        return sees_its_image(self)

    def fit(self, distortion: str) -> tuple[FisheyeCamera, FitResidual]:
        """
        Fit another model to this one over the image; `distortion` is 'equidistant'.

        The residual holds the fit's error in native pixels of this model.
        """
        if distortion != 'equidistant':
            raise ValueError(f"cannot fit '{distortion}', only 'equidistant'")
        from nurec_ros.scenario.cameras.fit import fit_equidistant

        return fit_equidistant(self)

    def ray_map(self, width: int, height: int, *, keep: bool = True) -> RayMap:
        """
        Give the ray of each pixel of the same view in an image of width by height pixels.

        Kept while memory for it lasts, and shared by all equal models and all threads; with
        keep=False it is computed for the caller alone.
        """
        if not keep:
            return self._ray_map(width, height)
        return _ray_maps.get((self, width, height), lambda: self._ray_map(width, height))

    def _ray_map(self, width: int, height: int) -> RayMap:
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
        rays.flags.writeable = False
        valid.flags.writeable = False
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
    def _stretched(self, scale_u: float, scale_v: float, resolution: tuple[int, int]) -> Self:
        """Give the same view with u and v scaled apart."""

    def _stretched_principal_point(self, scale_u: float, scale_v: float) -> tuple[float, float]:
        u, v = self.principal_point
        return ((u + 0.5) * scale_u - 0.5, (v + 0.5) * scale_v - 0.5)


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
