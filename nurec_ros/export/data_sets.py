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
Data sets of files, and videos, out of a bag that is complete; and an ego out of such a file.

What does not depend on the server (calibrations, ego, boxes) comes from the scenario, images and
clouds come from the bag: so a set is the same however often its export was ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
import csv
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from itertools import product
import json
import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from nurec_ros.errors import ConfigurationError, RenderError
from nurec_ros.export.folder import write_json
from nurec_ros.export.part import Timeline
from nurec_ros.rendering.policy import RenderOptions
from nurec_ros.rendering.requests import RequestBuilder, rig_offset
from nurec_ros.ros.loading import ReadScenario
from nurec_ros.ros.sensor_topics import calibration, camera_info, points_of
from nurec_ros.scenario import Lidar, Trajectory
from nurec_ros.scenario.cameras import CameraModel
from nurec_ros.scenario.tracks import ActiveTracks
from nurec_ros.scenario.trajectory import PoseTable
from rclpy.serialization import deserialize_message
from rosbags.rosbag2 import Reader
from sensor_msgs.msg import CompressedImage, Image, PointCloud2

# Points (N, 3) along the twelve edges of a box, in half sides: through a lens they are curves.
EDGES = np.concatenate(
    [
        np.insert(np.full((33, 2), signs, dtype=np.float64), axis, np.linspace(-1, 1, 33), axis=1)
        for axis in range(3)
        for signs in product((-1, 1), repeat=2)
    ]
)
TIME_BASE = 90_000
COLUMNS = ('stamp_us', 'x', 'y', 'z', 'qx', 'qy', 'qz', 'qw')
# A rotation written with a few digits is still one.
NORM = (0.99, 1.01)

Array = NDArray[np.float64]
Rect = tuple[float, float, float, float]


def images_of(timeline: Timeline, bag: Path, camera: str) -> Iterator[tuple[int, str, bytes]]:
    """Yield stamp, file ending and encoded bytes of a camera's images, by time."""
    base = f'{timeline.node}/{timeline.tokens[camera]}/image_raw'
    for topic, t_ns, data in _messages(bag, f'{base}/compressed', base):
        if topic == base:
            image = deserialize_message(data, Image)
            rgb = np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)
            yield t_ns, 'png', cv2.imencode('.png', rgb[..., ::-1])[1].tobytes()
        else:
            compressed = deserialize_message(data, CompressedImage)
            ending = 'png' if 'png' in compressed.format else 'jpg'
            yield t_ns, ending, compressed.data.tobytes()


def _messages(bag: Path, *topics: str) -> Iterator[tuple[str, int, bytes]]:
    """Yield topic, time and bytes of the first of the topics that a bag has."""
    with Reader(bag) as reader:
        connections = {connection.topic: connection for connection in reader.connections}
        for topic in topics:
            if topic in connections:
                for _, t_ns, data in reader.messages(connections=[connections[topic]]):
                    yield topic, t_ns, bytes(data)
                return


def write_frames(timeline: Timeline, bag: Path, folder: Path) -> None:
    """Write images and clouds of a scenario into a folder, with all that belongs to them."""
    folder.mkdir(parents=True, exist_ok=True)
    scenario, tokens = timeline.found.scenario, timeline.tokens
    builder = RequestBuilder(scenario, RenderOptions.of(timeline.values))
    sizes: dict[str, tuple[int, int]] = {}
    stamps: dict[int, list[str]] = {}
    for camera in timeline.cameras:
        place = folder / tokens[camera]
        place.mkdir(exist_ok=True)
        for t_ns, ending, data in images_of(timeline, bag, camera):
            if camera not in sizes:
                sizes[camera] = _size(data)
            (place / f'{t_ns}.{ending}').write_bytes(data)
            stamps.setdefault(t_ns, []).append(camera)
    for lidar in timeline.lidars:
        place = folder / tokens[lidar]
        place.mkdir(exist_ok=True)
        for _, t_ns, data in _messages(bag, f'{timeline.node}/{tokens[lidar]}/points'):
            # x y z intensity, float32, as KITTI has them.
            points = points_of(deserialize_message(data, PointCloud2))
            (place / f'{t_ns}.bin').write_bytes(points.tobytes())
            stamps.setdefault(t_ns, [])
    models = {camera: builder.output_model(camera) for camera in sizes}
    document = {
        tokens[camera]: _camera(timeline, camera, models[camera], size)
        for camera, size in sizes.items()
    }
    write_json(folder / 'cameras.json', document)
    if timeline.lidars:
        lidars = {tokens[name]: _lidar(scenario.lidars[name]) for name in timeline.lidars}
        write_json(folder / 'lidars.json', lidars)
    fitting = {
        camera: ImageView.of(models[camera].resized(*size)) for camera, size in sizes.items()
    }
    T_rig_offset = rig_offset(timeline.values.settings.rig_offset)
    with (
        (folder / 'ego.csv').open('w', encoding='utf-8') as ego,
        (folder / 'tracks.jsonl').open('w', encoding='utf-8') as tracks,
    ):
        ego.write(f'{",".join(COLUMNS)}\n')
        for t_ns in sorted(stamps):
            pose = scenario.ego.pose(t_ns)
            numbers = [*pose.position.tolist(), *pose.quaternion.tolist()]
            ego.write(f'{t_ns // 1000},{",".join(repr(float(number)) for number in numbers)}\n')
            T_map_rig = pose.matrix @ T_rig_offset
            views: dict[str, tuple[ImageView, Array]] = {}
            for camera in stamps[t_ns]:
                T_map_camera = T_map_rig @ scenario.cameras[camera].T_rig_camera
                T_camera_map = np.linalg.inv(T_map_camera).astype(np.float64)
                views[tokens[camera]] = fitting[camera], T_camera_map
            line = {
                'stamp_ns': t_ns,
                'tracks': _tracks(scenario.tracks.at(t_ns), views),
            }
            tracks.write(json.dumps(line, ensure_ascii=False) + '\n')


def _size(data: bytes) -> tuple[int, int]:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise RenderError('the first image of a camera cannot be decoded')
    return int(image.shape[1]), int(image.shape[0])


def _camera(
    timeline: Timeline, name: str, model: CameraModel, size: tuple[int, int]
) -> dict[str, object]:
    """Return a camera's true lens, and ROS's model of it at the size of the images."""
    camera = timeline.found.scenario.cameras[name]
    known = calibration(model)
    info = camera_info(known, *size, name)
    return {
        'name': name,
        'width': size[0],
        'height': size[1],
        'T_rig_camera': camera.T_rig_camera.tolist(),
        'model': {'kind': model.kind, **json.loads(json.dumps(asdict(model), default=str))},
        'camera_info': {
            'distortion_model': info.distortion_model,
            'd': [float(value) for value in info.d],
            'k': [float(value) for value in info.k],
            'fit': None if known.residual is None else asdict(known.residual),
            'notes': list(known.notes),
        },
    }


def _lidar(lidar: Lidar) -> dict[str, object]:
    """Return where a lidar is, and its beams where they are known."""
    model = None
    if lidar.model is not None:
        model = {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in asdict(lidar.model).items()
        }
        model = {'kind': lidar.model.kind, **model}
    return {'name': lidar.name, 'T_rig_lidar': lidar.T_rig_lidar.tolist(), 'model': model}


def _tracks(
    active: ActiveTracks, views: dict[str, tuple[ImageView, Array]]
) -> list[dict[str, object]]:
    found = []
    for number, track_id in enumerate(active.ids):
        pose, dims = active.poses[number], active.dims[number]
        boxes = {name: box_2d(view, T, pose, dims) for name, (view, T) in views.items()}
        found.append(
            {
                'id': track_id,
                'label': active.labels[number],
                'static': bool(active.static[number]),
                'controllable': bool(active.controllable[number]),
                'position': active.positions[number].tolist(),
                'quaternion': active.quaternions[number].tolist(),
                'dims': active.dims[number].tolist(),
                'boxes_2d': {name: box for name, box in boxes.items() if box is not None},
            }
        )
    return found


@dataclass(frozen=True, slots=True)
class ImageView:
    """A camera's lens at the size of its images, and the rays of its image's border."""

    model: CameraModel
    border: Array
    rays: Array

    @classmethod
    def of(cls, model: CameraModel) -> ImageView:
        """Return the view of a lens."""
        width, height = model.resolution
        u, v = np.arange(width + 1) - 0.5, np.arange(height + 1) - 0.5
        sides = [
            np.column_stack(np.broadcast_arrays(*side))
            for side in ((u, v[0]), (u[-1], v), (u, v[-1]), (u[0], v))
        ]
        border = np.concatenate(sides)
        rays, valid = model.unproject(border)
        return cls(model, border[valid], rays[valid])


def box_2d(view: ImageView, T_camera_map: Array, T_map_box: Array, dims: Array) -> Rect | None:
    """
    Return left, top, right, bottom in pixels (centres at integers) of what is seen of a box.

    None where nothing of it is in the image. What hides the box is not considered.
    """
    model = view.model
    T_camera_box = T_camera_map @ T_map_box
    points = EDGES * dims / 2.0 @ T_camera_box[:3, :3].T + T_camera_box[:3, 3]
    uv, valid = model.project(points)
    seen = uv[valid]
    seen = seen[model.inside(seen)]
    # The image ends within the box, or sees nothing else, which any one ray knows.
    if len(seen) < len(points) and (len(seen) or _hits(view.rays[:1], T_camera_box, dims).any()):
        seen = np.concatenate([seen, view.border[_hits(view.rays, T_camera_box, dims)]])
    if not len(seen):
        return None
    width, height = model.resolution
    low = np.maximum(seen.min(axis=0), -0.5)
    high = np.minimum(seen.max(axis=0), (width - 0.5, height - 0.5))
    left, top, right, bottom = (round(float(value), 3) for value in (*low, *high))
    return left, top, right, bottom


def _hits(rays: Array, T_camera_box: Array, dims: Array) -> NDArray[np.bool_]:
    """Return which rays (N, 3) of a camera meet a box before it."""
    T_box_camera = np.linalg.inv(T_camera_box)
    directions, origin = rays @ T_box_camera[:3, :3].T, T_box_camera[:3, 3]
    half = dims / 2.0
    # Where a ray is parallel to a side, from where to where it is within is all or nothing.
    with np.errstate(divide='ignore', invalid='ignore'):
        ends = (np.array([-half, half])[:, np.newaxis] - origin) / directions
    enter = np.fmin(*ends).max(axis=1)
    leave = np.fmax(*ends).min(axis=1)
    met: NDArray[np.bool_] = leave >= np.maximum(enter, 0.0)
    return met


def write_videos(timeline: Timeline, bag: Path, folder: Path) -> list[Path]:
    """Write one MP4 per camera, each image at its own time; return the files."""
    import av

    written = []
    for camera in timeline.cameras:
        path = folder / f'{bag.name}.{timeline.tokens[camera]}.mp4'
        beside = path.with_name(f'{path.name}.new')
        with suppress(FileNotFoundError):
            beside.unlink()
        images = images_of(timeline, bag, camera)
        first = next(images, None)
        if first is None:
            continue
        with av.open(str(beside), 'w', format='mp4') as container:
            stream = container.add_stream('libx264', rate=30)
            stream.pix_fmt = 'yuv420p'
            stream.time_base = Fraction(1, TIME_BASE)
            stream.codec_context.time_base = Fraction(1, TIME_BASE)
            size: tuple[int, int] | None = None
            for t_ns, _, data in (first, *images):
                bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
                if bgr is None:
                    raise RenderError(f'{camera}: the image at {t_ns} ns cannot be decoded')
                if size is None:
                    # H.264 with half the colours takes even sides.
                    size = max(2, bgr.shape[1] // 2 * 2), max(2, bgr.shape[0] // 2 * 2)
                    stream.width, stream.height = size
                bgr = bgr[: size[1], : size[0]]
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(bgr), format='bgr24')
                frame.pts = round((t_ns - first[0]) * TIME_BASE / 1e9)
                frame.time_base = Fraction(1, TIME_BASE)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        beside.replace(path)
        written.append(path)
    return written


# An ego that was driven, from a file, in the recorded one's place.


def read_ego(path: Path) -> Trajectory:
    """
    Read poses T_map_rig, such as ego.csv of an image set.

    ConfigurationError with file, line and column for what is no pose.
    """
    times: list[int] = []
    positions: list[list[float]] = []
    quaternions: list[list[float]] = []
    try:
        with path.open(encoding='utf-8', newline='') as file:
            rows = csv.DictReader(file)
            if tuple(rows.fieldnames or ()) != COLUMNS:
                found = ','.join(rows.fieldnames or ()) or 'nothing'
                raise ConfigurationError(
                    f'{path}: the first line is {found}, expected {",".join(COLUMNS)}'
                )
            for row in rows:
                place = f'{path}: line {rows.line_num}'
                t_us, *numbers = (_number(place, column, row[column]) for column in COLUMNS)
                if times and round(t_us) <= times[-1]:
                    raise ConfigurationError(
                        f'{place}: stamp_us is {t_us:.0f}, expected more than {times[-1]}'
                    )
                norm = math.hypot(*numbers[3:])
                if not NORM[0] <= norm <= NORM[1]:
                    raise ConfigurationError(
                        f'{place}: the quaternion has length {norm:.4g}, expected 1'
                    )
                times.append(round(t_us))
                positions.append(numbers[:3])
                quaternions.append([number / norm for number in numbers[3:]])
    except OSError as error:
        raise ConfigurationError(f'cannot read {path}: {error.strerror or error}') from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f'{path} is no CSV: {error}') from error
    if not times:
        raise ConfigurationError(f'{path} holds no pose')
    return Trajectory(
        PoseTable(
            np.array(times, dtype=np.int64) * 1000, np.array(positions), np.array(quaternions)
        )
    )


def _number(place: str, column: str, text: object) -> float:
    try:
        value = float(str(text))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigurationError(f'{place}: {column} is {text!r}, expected a number')
    return value


def driven(found: ReadScenario, ego: Trajectory, path: Path) -> ReadScenario:
    """Return the scenario with another ego, within the time of both."""
    begin_ns, end_ns = max(found.begin_ns, ego.start_ns), min(found.end_ns, ego.end_ns)
    if begin_ns > end_ns:
        raise ConfigurationError(
            f'{path} is from {ego.start_ns // 1000} to {ego.end_ns // 1000} us, expected some of '
            f'{found.begin_ns // 1000} to {found.end_ns // 1000} us'
        )
    scenario = replace(found.scenario, ego=ego)
    return replace(found, scenario=scenario, begin_ns=begin_ns, end_ns=end_ns)
