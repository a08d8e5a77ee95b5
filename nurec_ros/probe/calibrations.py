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
"""The server's list of cameras against the archive's calibration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
import math
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from nurec_ros.errors import ConfigurationError, counted
from nurec_ros.probe.answers import Calls, failure
from nurec_ros.probe.report import FAIL, NOTE, PASS, Stage
from nurec_ros.rendering.protos import common_pb2, sensorsim_pb2
from nurec_ros.rendering.requests import camera_spec
from nurec_ros.scenario import Scenario

if TYPE_CHECKING:
    from google.protobuf.message import Message

# A field of a message that holds numbers.
Field: TypeAlias = float | Sequence[float]

_INTRINSICS_TOLERANCE = 1e-5  # relative; doubles on the wire
_POSITION_TOLERANCE_M = 1e-3  # floats on the wire
_ANGLE_TOLERANCE_RAD = 1e-4
_MOST_NAMED = 4

OTHER_VERSION = (
    'the server has another version of this scene than the archive: give both the same file; '
    'pictures are drawn all the same, with the calibration that the archive has'
)
_LACKING = (
    'name only cameras that the server has (parameter cameras), or load the archive that has them '
    'into the server'
)


@dataclass(frozen=True, slots=True)
class ArchiveCamera:
    """
    One of the archive's cameras as it would be listed.

    spec: its CameraSpec message; T_rig_camera: (4, 4); at_size: returns the CameraSpec message
    of the same view at another native size (width, height).
    """

    spec: sensorsim_pb2.CameraSpec
    T_rig_camera: NDArray[np.float64]
    at_size: Callable[[int, int], sensorsim_pb2.CameraSpec]


def compare(
    ours: Mapping[str, ArchiveCamera],
    listed: Mapping[str, sensorsim_pb2.AvailableCamera],
    *,
    unasked: Sequence[str] = (),
    problems: Mapping[str, str] = MappingProxyType({}),
) -> Stage:
    """
    Compare the archive's cameras to the server's AvailableCamera messages, both by name.

    unasked: cameras of the archive that are not looked at; problems: why some of them cannot be
    rendered, which is said.
    """
    missing = [name for name in ours if name not in listed]
    extra = [name for name in listed if name not in (*ours, *unasked, *problems)]
    notes = [f'{name} cannot be rendered: {problem}' for name, problem in problems.items()]
    differences: dict[str, list[str]] = {}
    for name, camera in ours.items():
        if name in missing:
            continue
        found = list(_differences(camera.spec, camera.T_rig_camera, listed[name]))
        if found and _only_rescaled(camera, listed[name]):
            size = listed[name].intrinsics
            notes.append(f'{name} is listed at {size.resolution_w}x{size.resolution_h}')
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
        texts = [f'{name}: {"; ".join(some[:_MOST_NAMED])}' for name, some in differences.items()]
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
    ours = {name: _archive_camera(scenario, name) for name in names}
    return compare(ours, listed, unasked=tuple(scenario.cameras), problems=problems)


def _archive_camera(scenario: Scenario, name: str) -> ArchiveCamera:
    camera = scenario.cameras[name]
    model = camera.model
    if model is None:
        raise ConfigurationError(f'{name} of {scenario.path}: {camera.problem}')
    return ArchiveCamera(
        camera_spec(name, model),
        camera.T_rig_camera,
        lambda width, height: camera_spec(name, model.resized(width, height)),
    )


def _only_rescaled(camera: ArchiveCamera, other: sensorsim_pb2.AvailableCamera) -> bool:
    """Return whether the server lists the same view at another native size."""
    size = other.intrinsics.resolution_w, other.intrinsics.resolution_h
    native = camera.spec.resolution_w, camera.spec.resolution_h
    if size == native or min(size) < 1:
        return False
    return not list(_differences(camera.at_size(*size), camera.T_rig_camera, other))


def _differences(
    spec: sensorsim_pb2.CameraSpec,
    mount: NDArray[np.float64],
    other: sensorsim_pb2.AvailableCamera,
) -> Iterator[str]:
    """Name what differs, the archive's value first."""
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
    yield from _mounting(mount, other.rig_to_camera)


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
    distance = float(np.linalg.norm(mount[:3, 3] - [v.x, v.y, v.z]))
    if not distance <= _POSITION_TOLERANCE_M:
        yield f'mounted {distance:.3f} m elsewhere'
    angle = _angle_between(mount[:3, :3], (q.w, q.x, q.y, q.z))
    if not angle <= _ANGLE_TOLERANCE_RAD:
        yield f'turned by {math.degrees(angle):.2f} deg'


def _angle_between(rotation: NDArray[np.float64], wxyz: tuple[float, ...]) -> float:
    w, x, y, z = np.array(wxyz) / max(float(np.linalg.norm(wxyz)), 1e-12)
    theirs = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    # The chord, because the arc cosine loses half the digits near zero.
    chord = float(np.linalg.norm(rotation - theirs)) / math.sqrt(8.0)
    return 2.0 * math.asin(min(chord, 1.0))
