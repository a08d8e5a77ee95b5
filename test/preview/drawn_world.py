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
"""Small worlds to draw, and a second way to tell what is at a pixel."""

import colorsys
import math
from types import SimpleNamespace

import cv2
import numpy as np
from nurec_ros.palette import colour_of
from nurec_ros.scenario import Tracks, Trajectory
from nurec_ros.scenario.cameras import FthetaCamera, PinholeCamera
from nurec_ros.scenario.trajectory import PoseTable
from scipy.spatial.transform import Rotation, Slerp

SECOND = 1_000_000_000
START = 27_567_868_848_000
# Optical axes (x right, y down, z ahead) of a camera that looks along the map's x.
AHEAD = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
# Of one that looks straight down: columns follow the map's y, rows its x.
DOWN = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
RED, BLUE, GREEN = (colour_of(label) for label in ('person', 'automobile', 'bus'))


def pose(position=(0.0, 0.0, 0.0), rotation=None):
    """Return a rigid transform (4, 4)."""
    T = np.eye(4)
    T[:3, 3] = position
    if rotation is not None:
        T[:3, :3] = rotation
    return T


def yaw(angle):
    """Return a turn (3, 3) to the left, in radians."""
    return Rotation.from_euler('z', angle).as_matrix()


def camera_pose(position, turn=0.0, pitch=0.0):
    """Return T_map_camera of a camera that looks along x, turned left and then down."""
    down = Rotation.from_euler('y', pitch).as_matrix()
    return pose(position, yaw(turn) @ down @ AHEAD)


def trajectory(poses, times_s):
    """Return a trajectory through poses (N, 4, 4) at seconds after START."""
    poses = np.asarray(poses)
    times = START + np.rint(np.asarray(times_s) * 1e6).astype(np.int64) * 1000
    quaternions = Rotation.from_matrix(poses[:, :3, :3]).as_quat()
    return PoseTable(times, poses[:, :3, 3], quaternions)


def world(boxes=(), *, drive=((0.0, 0.0, 0.0), (60.0, 0.0, 0.0)), boundaries=None):
    """
    Return what a renderer needs of a scenario.

    boxes: (id, label, dims, poses, flags), poses a list that spans two seconds; drive: where the
    ego goes straight through in two seconds.
    """
    ego = trajectory([pose(position) for position in drive], np.linspace(0.0, 2.0, len(drive)))
    tables = [trajectory(poses, np.linspace(0.0, 2.0, len(poses))) for *_, poses, _ in boxes]
    joined = PoseTable(
        np.concatenate([table.times_ns for table in tables] or [np.empty(0, np.int64)]),
        np.concatenate([table.positions for table in tables] or [np.empty((0, 3))]),
        np.concatenate([table.quaternions for table in tables] or [np.empty((0, 4))]),
    )
    tracks = Tracks(
        ids=tuple(box[0] for box in boxes),
        labels=tuple(box[1] for box in boxes),
        dims=np.array([box[2] for box in boxes], dtype=float).reshape(-1, 3),
        flags=tuple(frozenset(box[4]) for box in boxes),
        samples=joined,
        counts=np.array([len(table.times_ns) for table in tables], dtype=np.intp),
    )
    road_map = None if boundaries is None else SimpleNamespace(boundaries=boundaries)
    return SimpleNamespace(
        ego=Trajectory(ego),
        tracks=tracks,
        start_ns=START,
        end_ns=START + 2 * SECOND,
        road_map=road_map,
    )


def car(name, position, turn=0.0, *, label='automobile', dims=(4.5, 1.9, 1.6), flags=('DYNAMIC',)):
    """Return a box of a world that stands on the ground and does not move."""
    centre = np.asarray(position, dtype=float) + (0.0, 0.0, dims[2] / 2)
    return (name, label, dims, [pose(centre, yaw(turn))] * 2, flags)


def pinhole(width=960, height=540, focal=500.0, shutter='GLOBAL'):
    """Return a plain pinhole camera with its principal point in the middle of the pixels."""
    return PinholeCamera(
        resolution=(width, height),
        principal_point=((width - 1) / 2, (height - 1) / 2),
        focal_length=(focal, focal),
        shutter_type=shutter,
    )


def ftheta(width=960, height=540, focal=470.0, shutter='GLOBAL', max_angle=1.35):
    """Return r = focal * theta."""
    return FthetaCamera(
        resolution=(width, height),
        principal_point=((width - 1) / 2, 0.69 * height),
        reference_poly='ANGLE_TO_PIXELDIST',
        angle_to_pixeldist_poly=(0.0, focal),
        max_angle=max_angle,
        shutter_type=shutter,
    )


def draw(renderer, model, T, **changes):
    """Draw at START with one pose for the whole exposure, at the model's own size."""
    values = {
        'start_ns': START,
        'end_ns': START + 1000,
        'T_map_camera_start': T,
        'T_map_camera_end': T,
        **changes,
    }
    width, height = values.pop('size', model.resolution)
    return renderer.render(model, width, height, **values)


def hits(eyes, rays, poses, dims):
    """
    Return how far rays (M, 3) go until they enter boxes from outside (M, N), and by which faces.

    Slab by slab; inf where they do not; a face is axis * 2 + (1 on the positive side). eyes: (3,)
    or one a ray.
    """
    offsets = np.atleast_2d(eyes)[:, np.newaxis] - poses[:, :3, 3]
    origins = np.einsum('nji,mnj->mni', poses[:, :3, :3], offsets)
    along = np.einsum('nji,mj->mni', poses[:, :3, :3], rays)
    with np.errstate(divide='ignore'):
        lower, upper = ((side * dims / 2 - origins) / along for side in (-1, 1))
    enters = np.minimum(lower, upper)
    near, far = enters.max(axis=2), np.maximum(lower, upper).min(axis=2)
    axis = enters.argmax(axis=2)
    positive = np.take_along_axis(along, axis[..., np.newaxis], axis=2)[..., 0] < 0
    return np.where((near < far) & (near > 0), near, np.inf), 2 * axis + positive


def placed(points, T):
    """Return points of the sensor in the map."""
    return points @ T[:3, :3].T + T[:3, 3]


def cast_spin(fired, farthest, poses, dims, start, end, *, every=1):
    """
    Return where each beam ends in the map, and on what: -1 the ground z = 0, else a box.

    fired: elevations and the number of columns of a head that turns clockwise over 360 degrees
    from behind, on a sensor that moves evenly from `start` to `end` (4, 4): one beam after the
    other by the slab test, of each `every`th column.
    """
    elevations, columns = fired
    parts = (np.arange(0, columns, every) + 0.5) / columns
    turns = Slerp([0.0, 1.0], Rotation.from_matrix([start[:3, :3], end[:3, :3]]))(parts)
    azimuths = math.pi - 2 * math.pi * parts
    local = np.stack(
        [
            np.outer(np.cos(azimuths), np.cos(elevations)),
            np.outer(np.sin(azimuths), np.cos(elevations)),
            np.tile(np.sin(elevations), (len(parts), 1)),
        ],
        axis=2,
    )
    rays = np.einsum('cij,crj->cri', turns.as_matrix(), local).reshape(-1, 3)
    eyes = start[:3, 3] + parts[:, np.newaxis] * (end[:3, 3] - start[:3, 3])
    eyes = np.repeat(eyes, len(elevations), axis=0)
    near, _ = hits(eyes, rays, poses, dims)
    distance, what = near.min(axis=1), near.argmin(axis=1)
    to_ground = np.where(rays[:, 2] < 0.0, -eyes[:, 2] / rays[:, 2], np.inf)
    what = np.where(to_ground < distance, -1, what)
    distance = np.minimum(distance, to_ground)
    seen = distance <= farthest
    return (eyes + distance[:, np.newaxis] * rays)[seen], what[seen]


def hue(colour):
    """Return the hue of an RGB colour in degrees, and its saturation from 0 to 1."""
    angle, saturation, _ = colorsys.rgb_to_hsv(*np.asarray(colour) / 255.0)
    return 360.0 * angle, saturation


def hue_gap(one, other):
    """Return how far two hues lie apart in degrees."""
    return np.abs((one - other + 180.0) % 360.0 - 180.0)


def region(picture, colour):
    """Return the mask of pixels of a class's hue, in whatever light."""
    angle, saturation, _ = cv2.split(
        cv2.cvtColor(picture.astype(np.float32) / 255.0, cv2.COLOR_RGB2HSV)
    )
    return (hue_gap(angle, hue(colour)[0]) < 9.0) & (saturation > 0.3)
