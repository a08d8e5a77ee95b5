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

import math
from types import SimpleNamespace

import numpy as np
from nurec_ros.scenario import Tracks, Trajectory
from nurec_ros.scenario.cameras import FthetaCamera, PinholeCamera
from nurec_ros.scenario.trajectory import PoseTable
from scipy.spatial.transform import Rotation, Slerp

SECOND = 1_000_000_000
START = 27_567_868_848_000
# Optical axes (x right, y down, z ahead) of a camera that looks along the map's x.
AHEAD = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


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


def first_hit(eye, ray, poses, dims):
    """
    Return the index and face of the box that a ray meets first, and the distance; or None.

    Slab by slab; the face is axis * 2 + (1 on the positive side).
    """
    origin = np.einsum('nji,nj->ni', poses[:, :3, :3], eye - poses[:, :3, 3])
    along = np.einsum('nji,j->ni', poses[:, :3, :3], ray)
    with np.errstate(divide='ignore'):
        lower, upper = ((side * dims / 2 - origin) / along for side in (-1, 1))
    enters = np.minimum(lower, upper)
    near, far = enters.max(axis=1), np.maximum(lower, upper).min(axis=1)
    near = np.where((near < far) & (near > 0), near, np.inf)
    if not len(near) or near.min() == np.inf:
        return None
    index = int(near.argmin())
    axis = int(enters[index].argmax())
    return index, 2 * axis + int(along[index, axis] < 0), float(near[index])


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
    turns = Slerp([0.0, 1.0], Rotation.from_matrix([start[:3, :3], end[:3, :3]]))
    found, what = [], []
    for column in range(0, columns, every):
        part = (column + 0.5) / columns
        eye = start[:3, 3] + part * (end[:3, 3] - start[:3, 3])
        turn = turns(part).as_matrix()
        azimuth = math.pi - 2 * math.pi * part
        for elevation in elevations:
            flat = math.cos(elevation)
            local = (flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(elevation))
            ray = turn @ local
            hit = first_hit(eye, ray, poses, dims)
            distance, index = (hit[2], hit[0]) if hit else (np.inf, -1)
            if ray[2] < 0.0 and -eye[2] / ray[2] < distance:
                distance, index = -eye[2] / ray[2], -1
            if distance <= farthest:
                found.append(eye + distance * ray)
                what.append(index)
    return np.array(found), np.array(what)


def hue(colour):
    """Return the hue of an RGB colour in degrees, and its saturation from 0 to 1."""
    red, green, blue = (float(value) for value in colour)
    most, least = max(red, green, blue), min(red, green, blue)
    if most == least:
        return 0.0, 0.0
    span = most - least
    if most == red:
        angle = (green - blue) / span % 6
    elif most == green:
        angle = (blue - red) / span + 2
    else:
        angle = (red - green) / span + 4
    return 60.0 * angle, span / most


def hue_gap(one, other):
    """Return how far two hues lie apart in degrees."""
    return abs((one - other + 180.0) % 360.0 - 180.0)


def region(picture, colour):
    """Return the mask of pixels of a class's hue, in whatever light."""
    pixels = picture.astype(float)
    most, least = pixels.max(axis=2), pixels.min(axis=2)
    span = np.maximum(most - least, 1e-9)
    red, green, blue = np.moveaxis(pixels, 2, 0)
    angle = np.where(
        most == red,
        (green - blue) / span % 6,
        np.where(most == green, (blue - red) / span + 2, (red - green) / span + 4),
    )
    gap = np.abs((60.0 * angle - hue(colour)[0] + 180.0) % 360.0 - 180.0)
    return (gap < 9.0) & (span / np.maximum(most, 1.0) > 0.3)
