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
"""A scenario drawn: pictures through any camera model, and clouds of a lidar."""

from __future__ import annotations

from collections.abc import Callable
import math
import threading

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from nurec_ros.palette import colour_of, kind_of
from nurec_ros.preview.boxes import Boxes, BoxPicture, buried, in_view
from nurec_ros.preview.landscape import Ground, HAZE, meet, Plane, Sky, sun_direction, Terrain
from nurec_ros.preview.lidar import beams, Cloud, LidarDevice, reflectivities, Spin
from nurec_ros.preview.optics import Exposure, Lens, ray_table, RayTable, turned
from nurec_ros.preview.paint import paint_ground
from nurec_ros.preview.wire import TrackPoses
from nurec_ros.scenario import Scenario
from nurec_ros.scenario.cameras import CameraModel

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

# Rows of the sky's own coarse picture; it has no fine detail.
_SKY_ROWS, _COARSEST_SKY = 90, 6
_SUNLIT = 255
_INSTANT_NS = 1000
# A camera in the ground sees it from here, in metres above.
_LOWEST = 0.05
_STATIC_PALER = 0.25
_VEHICLES = frozenset({'automobile', 'other_vehicle', 'heavy_truck', 'bus'})
_WHITE = 255.0
_FAR = 1e6
_SUN, _SUN_RADIUS = (255, 250, 236), 0.02
# Metres that a sensor may move within half a spin.
_SPIN_WAY = 10.0
_SHIFT = 4
_FIXED = 2**_SHIFT
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TEXT = (245, 245, 245)
_SMALLEST, _OF_HEIGHT = 0.36, 1.0 / 1400.0


class SceneRenderer:
    """
    Draws one scenario; safe to use from several threads.

    The ground is painted at the first picture, or by `prepare`. Colours are RGB throughout.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._terrain = Terrain(scenario.ego.positions)
        forward = scenario.ego.at(scenario.start_ns)[:3, 0]
        self._sky = Sky(sun_direction(math.atan2(forward[1], forward[0])))
        self._ground: Ground | None = None
        self._painting = threading.Lock()
        tracks = scenario.tracks
        colours = np.array([colour_of(label) for label in tracks.labels], dtype=np.float64)
        colours = colours.reshape(-1, 3)
        paler = np.where(tracks.static, _STATIC_PALER, 0.0)[:, np.newaxis]
        self._colours = colours + paler * (_WHITE - colours)
        kinds = [kind_of(label) for label in tracks.labels]
        self._vehicles = np.array([kind in _VEHICLES for kind in kinds], dtype=np.bool_)
        self._people = np.array([kind == 'person' for kind in kinds], dtype=np.bool_)
        self._reflectivities = reflectivities(tracks.labels)
        self._index_of = {track: index for index, track in enumerate(tracks.ids)}

    def prepare(self, step: Callable[[], None] = lambda: None) -> Ground:
        """
        Paint the ground, which the first picture would else wait for: a second or so.

        `step` is called every so often; what it raises ends the work, and is raised here.
        """
        with self._painting:
            if self._ground is None:
                self._ground = Ground(paint_ground(self._scenario, step))
            return self._ground

    def render(
        self,
        model: CameraModel,
        width: int,
        height: int,
        *,
        start_ns: int,
        end_ns: int,
        T_map_camera_start: ArrayLike,
        T_map_camera_end: ArrayLike,
        tracks: TrackPoses = (),
        caption: str = '',
    ) -> Image:
        """
        Draw one picture, RGB (height, width, 3).

        model: the camera at its native size; start_ns, end_ns: the exposure [start, end); the
        poses (4, 4) map optical camera coordinates to the map at its start and end; rows or
        columns are drawn at their own time, as the model's shutter says. tracks: poses of some
        tracks at start and end instead of the recorded ones: (id, T_map_box, T_map_box).
        """
        model = model.resized(width, height)
        exposure = Exposure(
            np.asarray(T_map_camera_start, dtype=np.float64),
            np.asarray(T_map_camera_end, dtype=np.float64),
            model.shutter_type,
            width,
            height,
        )
        table = ray_table(model, width, height)
        lens = Lens(model, exposure, table.widest)
        plane = self._terrain.plane_near(lens.eye)
        index, start, end = self._present(start_ns, end_ns, tracks)
        boxes = Boxes(
            start,
            end,
            self._scenario.tracks.dims[index],
            self._colours[index],
            self._vehicles[index],
            self._people[index],
        )
        boxes = in_view(boxes, lens, plane)
        placed = BoxPicture(boxes, lens, self._sky.sun, plane, table.pixel_angle)
        picture, first = self._draw_sky(model, exposure, plane)
        self._draw_sun(picture, lens, table.pixel_angle)
        if first < height:
            self._draw_ground(picture, table, exposure, plane, placed, first)
        placed.draw(picture)
        if table.outside is not None:
            picture[table.outside] = 0
        if caption:
            write_caption(picture, caption)
        return picture

    def _draw_sky(self, model: CameraModel, exposure: Exposure, plane: Plane) -> tuple[Image, int]:
        """Draw the sky over a whole picture; and give the first row that may show ground."""
        width, height = exposure.width, exposure.height
        factor = max(1, min(round(height / _SKY_ROWS), _COARSEST_SKY))
        coarse = (max(1, width // factor), max(1, height // factor))
        rays = ray_table(model, *coarse).rays
        directions, _ = turned(rays, exposure, np.eye(3))
        x, y, z = (directions[:, axis] for axis in range(3))
        normal = plane.normal.astype(np.float32)
        above = x * normal[0] + y * normal[1] + z * normal[2]
        below = above < 0.0
        rows = np.flatnonzero(below.any(axis=1))
        first = max(0, (int(rows[0]) - 2) * height // coarse[1]) if rows.size else height
        if below.all():
            return np.empty((height, width, 3), dtype=np.uint8), 0
        last = int(np.flatnonzero(~below.all(axis=1))[-1]) + 1
        sky = np.empty((coarse[1], coarse[0], 3), dtype=np.uint8)
        sky[:last] = self._sky.draw(x[:last], y[:last], z[:last], above[:last])
        sky[last:] = np.rint(HAZE)
        full = cv2.resize(sky, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(full, dtype=np.uint8), first

    def _draw_sun(self, picture: Image, lens: Lens, pixel_angle: float) -> None:
        far = (lens.eye + _FAR * self._sky.sun)[np.newaxis]
        uv, inside = lens.project(far, far)
        if inside[0]:
            centre = np.rint(uv[0] * _FIXED).astype(int).tolist()
            radius = round(_SUN_RADIUS / pixel_angle * _FIXED)
            cv2.circle(picture, centre, radius, _SUN, -1, cv2.LINE_AA, _SHIFT)

    def _draw_ground(
        self,
        picture: Image,
        table: RayTable,
        exposure: Exposure,
        plane: Plane,
        placed: BoxPicture,
        first: int,
    ) -> None:
        axes = np.eye(3)
        axes[2] = plane.normal
        directions, positions = turned(table.rays, exposure, axes, first)
        origin = plane.origin.reshape(-1, *(1,) * (positions.ndim - 1))
        heights = np.tensordot(plane.normal, positions - origin, 1)
        spots = meet(directions, np.maximum(heights, _LOWEST), positions[:2])
        shade = np.full(picture.shape[:2], _SUNLIT, dtype=np.uint8)
        placed.cast_shadows(shade)
        soft = cv2.blur(shade[first:], (3, 3))
        seen = self.prepare().draw(spots, table.pixel_angle, soft)
        below = (directions[:, 2] < 0.0).view(np.uint8)
        cv2.copyTo(seen, below, picture[first:])

    def spin(
        self,
        device: LidarDevice,
        size: tuple[int, int],
        *,
        end_ns: int,
        T_map_sensor_start: ArrayLike,
        T_map_sensor_end: ArrayLike,
        tracks: TrackPoses = (),
        noise_m: float = 0.0,
        seed: int = 0,
    ) -> Cloud:
        """
        Return a lidar's cloud: points (N, 3) in its frame at the end, intensities (N,) 0 to 1.

        size: rows, and columns of a full turn; the poses (4, 4) are the sensor's at both ends of
        the spin; tracks as in `render`; noise_m: deviation of the distances.
        """
        fired = beams(device, *size)
        start, end = (
            np.asarray(pose, dtype=np.float64) for pose in (T_map_sensor_start, T_map_sensor_end)
        )
        spin = Spin(fired, start, end)
        plane = self._terrain.plane_near(spin.eye)
        index, _, poses = self._present(end_ns, end_ns, tracks)
        dims = self._scenario.tracks.dims[index]
        reach = device.farthest + 0.5 * np.linalg.norm(dims, axis=1)
        near = np.linalg.norm(poses[:, :3, 3] - spin.eye, axis=1) < reach + _SPIN_WAY
        near &= ~buried(poses, dims, plane)
        for i in np.flatnonzero(near):
            spin.meet_box(poses[i], dims[i], float(self._reflectivities[index[i]]))
        spin.meet_ground(plane, self.prepare().paint)
        noise = None
        if noise_m > 0.0:
            shape = fired.directions.shape[:2]
            noise = np.random.default_rng([seed, end_ns]).normal(scale=noise_m, size=shape)
        return spin.cloud(device.farthest, noise)

    def _present(
        self, start_ns: int, end_ns: int, given: TrackPoses
    ) -> tuple[NDArray[np.intp], Array, Array]:
        """Return who exists meanwhile (N,), and poses at both ends, those given as they were."""
        tracks = self._scenario.tracks
        before = tracks.at(start_ns)
        index, start, end = before.indices, before.poses, before.poses
        if end_ns - start_ns > _INSTANT_NS:
            after = tracks.at(end_ns)
            index = np.union1d(before.indices, after.indices)
            start, end = (np.empty((len(index), 4, 4)) for _ in range(2))
            # A track that begins or ends meanwhile stands where it was seen.
            for poses, order in ((start, (after, before)), (end, (before, after))):
                for active in order:
                    poses[np.searchsorted(index, active.indices)] = active.poses
        if given:
            put = {self._index_of[name]: (a, b) for name, a, b in given if name in self._index_of}
            kept = ~np.isin(index, list(put))
            index = np.concatenate([index[kept], np.array(list(put), dtype=np.intp)])
            sent = np.array(list(put.values()), dtype=np.float64).reshape(-1, 2, 4, 4)
            start = np.concatenate([start[kept], sent[:, 0]])
            end = np.concatenate([end[kept], sent[:, 1]])
        return index, start, end


def write_caption(picture: NDArray[np.uint8], text: str) -> None:
    """Write the text into the lower left corner of an RGB picture, on a darkened strip."""
    height, width = picture.shape[:2]
    scale = max(_SMALLEST, height * _OF_HEIGHT)
    thickness = 1 if scale < 0.7 else 2
    (text_w, text_h), below = cv2.getTextSize(text, _FONT, scale, thickness)
    if text_w > width:
        scale *= width / text_w
        (text_w, text_h), below = cv2.getTextSize(text, _FONT, scale, thickness)
    pad = max(2, text_h // 3)
    top = height - text_h - below - 2 * pad
    if top < 0:
        return
    strip = picture[top:, slice(min(width, text_w + 2 * pad))]
    np.multiply(strip, 0.45, out=strip, casting='unsafe')
    origin = (pad, height - below - pad)
    cv2.putText(picture, text, origin, _FONT, scale, _TEXT, thickness, cv2.LINE_AA)
