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
"""What a server says and sends, judged: its list of cameras, pictures, and spins of lidars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
import math
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from nurec_ros.errors import ConfigurationError, counted, RenderError
from nurec_ros.poses import matrices
from nurec_ros.probe.answers import Calls, FAIL, failure, NOTE, PASS, SKIP, Stage
from nurec_ros.rendering.frames import (
    check_cloud,
    check_reply,
    decode_rgb,
    Frame,
    OTHER_FORMAT,
    ReplyError,
)
from nurec_ros.rendering.protos import common_pb2, sensorsim_pb2
from nurec_ros.rendering.requests import camera_spec
from nurec_ros.scenario import Camera, Scenario

if TYPE_CHECKING:
    from google.protobuf.message import Message

# A field of a message that holds numbers.
Field: TypeAlias = float | Sequence[float]

_INTRINSICS_TOLERANCE = 1e-5  # relative; doubles on the wire
_POSITION_TOLERANCE_M = 1e-3  # floats on the wire
_ANGLE_TOLERANCE_RAD = 1e-4
_MOST_DIFFERENCES = 4

OTHER_VERSION = (
    'the server has another version of this scene than the archive: give both the same file; '
    'pictures are drawn all the same, with the calibration that the archive has'
)
_LACKING = (
    'name only cameras that the server has (parameter cameras), or load the archive that has them '
    'into the server'
)

# Of 255: darker than any night scene, brighter than a compressed nothing.
_BLACK = 6
_MOST_NAMED = 3
# Beyond this no aspect ratio of a camera explains another size.
_MOST_STRETCHED = 4.0
# What pictures of another size are: the first two no view that was asked for.
_SWAPPED, _FAR = 'width and height are swapped', 'the pictures are far from what was asked for'
_ASPECT, _OTHER_SIZE = 'keeps its own aspect ratio', 'returns another size than asked for'

_MORE = "the server's log and the saved files tell more"
_WRONG_SIZE = (
    'the player would publish such pictures with a camera_info that does not fit them: is what '
    'answers a NuRec server of a known version?'
)
_DARK = (
    'nothing is drawn there: is the scene the one of this archive, and does the server reach its '
    'data? its log and the saved files tell more'
)

# The farthest devices see 200 m and a bit (m).
_FARTHEST = 300.0
# Half of a car's surroundings is never within its own lidar's housing (m).
_NEAREST = 0.5
# Of the points; single ones may be odd.
_MOST_FAR = 0.01
_ODD = (
    'expected metres in the frame of the sensor: is the archive the one that the server has, and '
    'what answers a NuRec server of a known version? the saved file tells more'
)
_NOTHING = (
    'nothing is met by any beam: is the scene the one of this archive, does the server reach its '
    'data, and is the device the right one (parameter <lidar>.device)? its log tells more'
)


def compare(
    ours: Mapping[str, Camera],
    listed: Mapping[str, sensorsim_pb2.AvailableCamera],
    *,
    unasked: Sequence[str] = (),
    problems: Mapping[str, str] = MappingProxyType({}),
) -> Stage:
    """
    Compare the archive's cameras to the server's AvailableCamera messages, both by name.

    ours have models. unasked: cameras of the archive that are not looked at; problems: why some
    of them cannot be rendered, which is said.
    """
    missing = [name for name in ours if name not in listed]
    extra = [name for name in listed if name not in (*ours, *unasked, *problems)]
    notes = [f'{name} cannot be rendered: {problem}' for name, problem in problems.items()]
    differences: dict[str, list[str]] = {}
    for name in [name for name in ours if name in listed]:
        camera, other = ours[name], listed[name]
        found = list(_differences(camera, other))
        size = other.intrinsics.resolution_w, other.intrinsics.resolution_h
        if found and min(size) >= 1 and not list(_differences(camera, other, size)):
            notes.append(f'{name} is listed at {_size(size)}')
        elif found:
            differences[name] = found
    details: dict[str, object] = {
        'cameras': list(listed),
        'missing': missing,
        'extra': extra,
        'not_rendered': dict(problems),
        'differences': differences,
    }
    faults = []
    if missing:
        have = ', '.join(listed) or 'none'
        faults.append(f'the server lacks {", ".join(missing)}; it has {have}')
    if differences:
        texts = [
            f'{name}: {"; ".join(some[:_MOST_DIFFERENCES])}' for name, some in differences.items()
        ]
        faults.append(('calibrations differ: ' if missing else '') + ' | '.join(texts))
    if faults:
        remedy = _LACKING if missing else OTHER_VERSION
        return Stage('cameras', FAIL, '; '.join([*faults, *notes]), remedy, details=details)
    if extra:
        notes.append(f'the archive lacks {", ".join(extra)}')
    if notes:
        return Stage('cameras', NOTE, '; '.join(notes), details=details)
    message = f'{counted(len(ours), "camera")}, calibrations equal'
    return Stage('cameras', PASS, message, details=details)


def cameras_stage(
    calls: Calls,
    scenario: Scenario,
    scene_id: str,
    names: Sequence[str],
    problems: Mapping[str, str],
) -> Stage:
    """Ask the server for its cameras and compare those of some names to the archive's."""
    request = sensorsim_pb2.AvailableCamerasRequest(scene_id=scene_id)
    answer = calls.ask('cameras', 'get_available_cameras', request)
    if answer.unknown_method:
        message = 'no get_available_cameras: the calibrations cannot be compared'
        return Stage('cameras', NOTE, message, '', answer.latency_s)
    if answer.error is not None:
        return failure('cameras', answer)
    listed = {camera.logical_id: camera for camera in answer.reply.available_cameras}
    ours = {name: scenario.cameras[name] for name in names}
    return compare(ours, listed, unasked=tuple(scenario.cameras), problems=problems)


def _differences(
    camera: Camera, other: sensorsim_pb2.AvailableCamera, size: tuple[int, int] | None = None
) -> Iterator[str]:
    """Name what differs, the archive's value first; `size`: were it of another native size."""
    model = camera.model
    if model is None:
        raise ConfigurationError(f'{camera.name} has no camera model')
    spec = camera_spec(camera.name, model.resized(*size) if size else model)
    theirs = other.intrinsics
    for name in ('resolution_w', 'resolution_h', 'shutter_type'):
        if getattr(spec, name) != getattr(theirs, name):
            yield f'{name} {getattr(spec, name)}, server {getattr(theirs, name)}'
    lens, their_lens = spec.WhichOneof('camera_param'), theirs.WhichOneof('camera_param')
    if lens != their_lens:
        yield f'lens {lens}, server {their_lens}'
    elif not (lens == 'opencv_pinhole_param' and not theirs.opencv_pinhole_param.ListFields()):
        # Servers of 2025 list a pinhole without its numbers: nothing to compare then.
        yield from _fields(getattr(spec, lens), getattr(theirs, lens), '')
    glass = 'bivariate_windshield_model_param'
    yield from _fields(getattr(spec, glass), getattr(theirs, glass), 'windshield ')
    yield from _mounting(camera.T_rig_camera, other.rig_to_camera)


def _fields(ours: Message, theirs: Message, prefix: str) -> Iterator[str]:
    for field in ours.DESCRIPTOR.fields:
        mine, other = getattr(ours, field.name), getattr(theirs, field.name)
        if field.message_type is not None:
            yield from _fields(mine, other, f'{prefix}{field.name}.')
        elif not _close(mine, other):
            yield f'{prefix}{field.name} {_text(mine)}, server {_text(other)}'


def _close(ours: Field, theirs: Field) -> bool:
    mine, other = np.atleast_1d(ours), np.atleast_1d(theirs)
    return mine.shape == other.shape and np.allclose(
        mine, other, rtol=_INTRINSICS_TOLERANCE, atol=0.0
    )


def _text(value: Field) -> str:
    if isinstance(value, (int, float)):
        return f'{value:.9g}'
    return '[' + ', '.join(f'{entry:.6g}' for entry in value) + ']'


def _mounting(mount: NDArray[np.float64], pose: common_pb2.Pose) -> Iterator[str]:
    v, q = pose.vec, pose.quat
    wxyz = np.array((q.w, q.x, q.y, q.z))
    wxyz /= max(float(np.linalg.norm(wxyz)), 1e-12)
    theirs = matrices(np.array((v.x, v.y, v.z)), np.roll(wxyz, -1))
    distance = float(np.linalg.norm(mount[:3, 3] - theirs[:3, 3]))
    if not distance <= _POSITION_TOLERANCE_M:
        yield f'mounted {distance:.3f} m elsewhere'
    # The chord, because the arc cosine loses half the digits near zero.
    chord = float(np.linalg.norm(mount[:3, :3] - theirs[:3, :3])) / math.sqrt(8.0)
    angle = 2.0 * math.asin(min(chord, 1.0))
    if not angle <= _ANGLE_TOLERANCE_RAD:
        yield f'turned by {math.degrees(angle):.2f} deg'


@dataclass(frozen=True, slots=True)
class Picture:
    """
    One picture that a server returned for a camera at a scale (`label`: low, full or batch).

    asked and size are (width, height), size None where it could not be decoded; fault is why the
    picture cannot be used, '' where it can, and remedy what to do about that.
    """

    camera: str
    label: str
    asked: tuple[int, int]
    data: bytes
    size: tuple[int, int] | None
    fault: str
    black: bool = False
    remedy: str = ''

    @property
    def file_name(self) -> str:
        """Return the name of the file that is kept of it; .bin is what is no picture."""
        kind = 'bin'
        if self.size is not None:
            kind = 'png' if self.data.startswith(b'\x89PNG') else 'jpg'
        return f'{self.camera}_{self.label}.{kind}'


def judge(camera: str, label: str, asked: tuple[int, int], data: bytes) -> Picture:
    """Decode a reply as the player does, and find what is wrong with it."""
    try:
        encoding, width, height = check_reply(data, 'jpeg', asked)
        frame = Frame(camera, 0, data, encoding, width, height, 0.0)
        brightest = int(decode_rgb(frame).max())
    except RenderError as error:
        remedy = getattr(error, 'remedy', OTHER_FORMAT)
        return Picture(camera, label, asked, data, None, str(error), remedy=remedy)
    black = brightest <= _BLACK
    fault = 'the picture is black' if black else ''
    return Picture(camera, label, asked, data, (width, height), fault, black)


def sizes_stage(pictures: Sequence[Picture]) -> Stage:
    """
    Compare the sizes that came to those asked for.

    Another one is worth knowing, and no fault as long as it can be the same view: servers keep
    an aspect ratio of their own, or render at the native size.
    """
    decoded = [(picture, picture.size) for picture in pictures if picture.size is not None]
    if not decoded:
        return Stage('sizes', SKIP, 'no picture to look at')
    other = [
        (
            _how(size, each.asked),
            f'{each.camera} {each.label}: {_size(size)} for {_size(each.asked)}',
        )
        for each, size in decoded
        if size != each.asked
    ]
    if not other:
        return Stage('sizes', PASS, f'{counted(len(decoded), "picture")} of the size asked for')
    details = {'other': len(other)}
    for wrong in (_SWAPPED, _FAR):
        named = _named([text for how, text in other if how == wrong])
        if named:
            return Stage('sizes', FAIL, f'{wrong}: {named}', _WRONG_SIZE, details=details)
    what = next((how for how, _ in other if how == _ASPECT), _OTHER_SIZE)
    named = _named([text for _, text in other])
    message = f'the server {what}, camera_info follows it: {named}'
    return Stage('sizes', NOTE, message, details=details)


def _how(size: tuple[int, int], asked: tuple[int, int]) -> str:
    """Return what a picture of another size than asked for is."""
    if size == asked[::-1]:
        return _SWAPPED
    across, down = size[0] / asked[0], size[1] / asked[1]
    if min(across, down, across / down, down / across) < 1.0 / _MOST_STRETCHED:
        return _FAR
    # Either side is rounded to whole pixels.
    return _OTHER_SIZE if abs(across / down - 1.0) <= 1.0 / min(size) else _ASPECT


def _size(size: tuple[int, int]) -> str:
    return f'{size[0]}x{size[1]}'


def _named(texts: list[str]) -> str:
    """Return the first of some texts, and how many more there are."""
    more = len(texts) - _MOST_NAMED
    return '; '.join(texts[:_MOST_NAMED]) + (f' and {more} more' if more > 0 else '')


def images_stage(pictures: Sequence[Picture]) -> Stage:
    """Return whether all pictures can be decoded and show something."""
    if not pictures:
        return Stage('images', SKIP, 'no picture to look at')
    faulty = [picture for picture in pictures if picture.fault]
    if not faulty:
        count = len(pictures)
        verbs = 'decodes and is' if count == 1 else 'decode and are'
        return Stage('images', PASS, f'{counted(count, "picture")} {verbs} not black')
    named = _named([f'{each.camera} {each.label}: {each.fault}' for each in faulty])
    broken = next((picture for picture in faulty if not picture.black), None)
    remedy = _DARK if broken is None else f'{broken.remedy}; {_MORE}'
    message = f'{len(faulty)} of {counted(len(pictures), "picture")} cannot be used: {named}'
    return Stage('images', FAIL, message, remedy, details={'faulty': len(faulty)})


@dataclass(frozen=True, slots=True)
class ProbedSpin:
    """
    One spin as a server returned it.

    file_name and data: what is kept, a PCD file, or the reply as it came where it holds no cloud.
    ranges: the nearest, the median and the farthest in metres. fault: why the cloud cannot be
    used, '' where it can; remedy: what to do about that; note: what is odd, and no fault.
    """

    file_name: str
    data: bytes
    points: int
    ranges: tuple[float, float, float] = (0.0, 0.0, 0.0)
    fault: str = ''
    remedy: str = ''
    note: str = ''


def judge_spin(lidar: str, reply: sensorsim_pb2.LidarRenderReturn) -> ProbedSpin:
    """Check a reply as the player does, and whether its points can be a street."""
    try:
        points, intensities = check_cloud(reply)
    except ReplyError as error:
        data = reply.SerializeToString()
        return ProbedSpin(f'{lidar}.bin', data, 0, fault=str(error), remedy=error.remedy)
    count = len(points)
    name = f'{lidar}.pcd'
    if not count:
        return ProbedSpin(name, b'', 0, fault='the cloud is empty', remedy=_NOTHING)
    distances = np.linalg.norm(points, axis=1)
    nearest, median, farthest = (float(part) for part in np.percentile(distances, (0, 50, 100)))
    low, high = float(intensities.min()), float(intensities.max())
    far = int(np.count_nonzero(distances > _FARTHEST))
    fault = note = ''
    if far > _MOST_FAR * count:
        fault = f'{far} of {count} points are farther away than {_FARTHEST:g} m'
    elif median < _NEAREST:
        fault = f'half of {count} points are within {median:.2g} m of the sensor'
    elif low < 0.0 or high > 1.0:
        note = f'intensities of {low:g} to {high:g}, expected 0 to 1'
    data, ranges = pcd(points, intensities), (nearest, median, farthest)
    return ProbedSpin(name, data, count, ranges, fault, _ODD if fault else '', note)


def pcd(points: NDArray[np.float32], intensities: NDArray[np.float32]) -> bytes:
    """Return a cloud as a binary PCD file of version 0.7: x, y, z and intensity as float32."""
    count = len(points)
    header = (
        '# .PCD v0.7 - Point Cloud Data file format\n'
        'VERSION 0.7\n'
        'FIELDS x y z intensity\n'
        'SIZE 4 4 4 4\n'
        'TYPE F F F F\n'
        'COUNT 1 1 1 1\n'
        f'WIDTH {count}\n'
        'HEIGHT 1\n'
        'VIEWPOINT 0 0 0 1 0 0 0\n'
        f'POINTS {count}\n'
        'DATA binary\n'
    )
    return header.encode() + np.column_stack([points, intensities]).astype('<f4').tobytes()
