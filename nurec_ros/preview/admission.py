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
What a request passes before something is drawn: its checks, the wait for its turn, its delays.

It is refused on the way with the code that servers use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
import random
import threading
import time
from typing import TYPE_CHECKING, TypeAlias

import grpc
import numpy as np
from numpy.typing import NDArray
from nurec_ros.preview.behaviour import Behaviour
from nurec_ros.preview.lidar import DEVICES, LidarDevice
from nurec_ros.preview.wire import (
    camera_model,
    check_format,
    CrashError,
    invalid,
    matrix_of,
    raised,
    RefusalError,
)
from nurec_ros.rendering.protos import sensorsim_pb2 as sim
from nurec_ros.scenario import Scenario
from nurec_ros.scenario.cameras import CameraModel

if TYPE_CHECKING:
    from google.protobuf.message import Message

Request: TypeAlias = sim.RGBRenderRequest | sim.LidarRenderRequest

# One 8K picture: what a client may cost us in memory and time with one request.
MAX_PIXELS = 7680 * 4320

TrackPoses = Sequence[tuple[str, NDArray[np.float64], NDArray[np.float64]]]
# Longer queues than this mean that clients outrun the drawing for good.
MAX_QUEUED = 48


@dataclass(frozen=True, slots=True)
class PictureOrder:
    """What there is to draw of a request that was checked; poses are T_map_camera."""

    model: CameraModel
    width: int
    height: int
    T_start: NDArray[np.float64]
    T_end: NDArray[np.float64]
    tracks: TrackPoses


@dataclass(frozen=True, slots=True)
class SpinOrder:
    """What a lidar's request that was checked asks for; poses are T_map_sensor."""

    device: LidarDevice
    T_start: NDArray[np.float64]
    T_end: NDArray[np.float64]
    tracks: TrackPoses


def find_scene(scenes: Mapping[str, Scenario], scene_id: str) -> Scenario:
    """Return the scenario of that name; NOT_FOUND lists the names that there are."""
    try:
        return scenes[scene_id]
    except KeyError:
        known = ', '.join(sorted(scenes))
        text = f'scene_id {scene_id!r} is not available; this server has: {known}'
        raise RefusalError(grpc.StatusCode.NOT_FOUND, text) from None


def check(
    request: sim.RGBRenderRequest, scenes: Mapping[str, Scenario], behaviour: Behaviour
) -> PictureOrder:
    """Check a request in the order in which a mistake would mislead most; raises RefusalError."""
    scenario = find_scene(scenes, request.scene_id)
    _check_time(request, scenario)
    spec = request.camera_intrinsics
    if not spec.ListFields():  # left out, or sent without anything in it
        raise invalid('camera_intrinsics is missing')
    if spec.logical_id not in scenario.cameras:
        raise raised(
            f'Missing camera {spec.logical_id}@{scenario.sequence_id} in camera calibration'
        )
    model = camera_model(spec, pinhole_known=behaviour.api != 'v1')
    width, height = _size(request, model, behaviour)
    check_format(request.image_format, request.image_quality)
    if request.insert_ego_mask:
        raise invalid('insert_ego_mask is set, but get_available_ego_masks lists none')
    poses = _pose_pair(request, 'sensor_pose', 'sensor_pose')
    return PictureOrder(model, width, height, *poses, _tracks(request, scenario, behaviour))


def check_spin(
    request: sim.LidarRenderRequest, scenes: Mapping[str, Scenario], behaviour: Behaviour
) -> SpinOrder:
    """Check a LidarRenderRequest likewise."""
    scenario = find_scene(scenes, request.scene_id)
    _check_time(request, scenario)
    device = DEVICES.get(request.lidar_config.lidar_type)
    if device is None:
        known = ', '.join(sim.LidarDeviceType.Name(number) for number in DEVICES)
        raise invalid(f'lidar_type is {request.lidar_config.lidar_type}, expected one of {known}')
    poses = _pose_pair(request, 'sensor_pose', 'sensor_pose')
    return SpinOrder(device, *poses, _tracks(request, scenario, behaviour))


def _check_time(request: Request, scenario: Scenario) -> None:
    start, end = request.frame_start_us, request.frame_end_us
    if start >= end:
        raise invalid(
            f'frame_start_us {start} is not before frame_end_us {end}: the exposure is half-open'
        )
    first, last = scenario.start_ns // 1000, scenario.end_ns // 1000
    if start < first or end > last:
        raise RefusalError(
            grpc.StatusCode.OUT_OF_RANGE,
            f'exposure [{start}, {end}) us is outside the scene, [{first}, {last}) us',
        )


def _size(
    request: sim.RGBRenderRequest, model: CameraModel, behaviour: Behaviour
) -> tuple[int, int]:
    asked = request.resolution_w, request.resolution_h
    if min(asked) < 1:
        raise invalid(f'the size asked for is {asked[0]}x{asked[1]}, expected at least 1x1')
    width, height = behaviour.output_size(asked, model.resolution)
    if width * height > MAX_PIXELS:
        raise RefusalError(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f'a picture of {width}x{height} is more than this server draws, {MAX_PIXELS} pixels',
        )
    return width, height


def _tracks(request: Request, scenario: Scenario, behaviour: Behaviour) -> TrackPoses:
    """
    Return the client's poses of the tracks that may be moved; the others are drawn as recorded.

    As on real servers only CONTROLLABLE tracks follow, and unknown ids are passed over.
    """
    if not request.dynamic_objects:
        return ()
    if not behaviour.editing:
        raise RefusalError(
            grpc.StatusCode.FAILED_PRECONDITION,
            'dynamic_objects need a server that runs with --enable-editing-actors',
        )
    tracks = scenario.tracks
    movable = {name for name, moves in zip(tracks.ids, tracks.controllable, strict=True) if moves}
    return [
        (item.track_id, *_pose_pair(item, 'pose_pair', f'dynamic_objects of {item.track_id}'))
        for item in request.dynamic_objects
        if item.track_id in movable
    ]


def _pose_pair(
    message: Message, field: str, where: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    pair = getattr(message, field)
    for name in ('start_pose', 'end_pose'):
        if not pair.HasField(name):
            raise invalid(f'{where}: {name} is missing')
    try:
        return matrix_of(pair.start_pose), matrix_of(pair.end_pose)
    except ValueError as error:
        raise invalid(f'{where}: {error}') from None


class Workers:
    """
    Where the behaviour's delays and failures happen; used by every handler thread.

    The start-up counts from construction. Waiting ends early when `stop` is called.
    """

    def __init__(self, behaviour: Behaviour, *, now: Callable[[], float] = time.monotonic) -> None:
        self._behaviour = behaviour
        self._now = now
        self._ready_at = now() + behaviour.startup_s
        self._stopping = threading.Event()
        self._open = threading.Event()
        self._open.set()
        self._slots = threading.Semaphore(behaviour.max_workers)
        self._compiling = threading.Lock()
        self._lock = threading.Lock()  # guards all below
        self._random = random.Random(behaviour.seed)
        self._queued = 0
        self._frames = 0
        self._warm: set[str] = set()

    @property
    def ready_in_s(self) -> float:
        """Return the seconds until the start-up is over; 0 when it is."""
        return max(self._ready_at - self._now(), 0.0)

    @property
    def blocked(self) -> bool:
        """Return whether the first frame of a scene holds every call."""
        return not self._open.is_set()

    @property
    def frames(self) -> int:
        """Return how many frames were begun."""
        return self._frames

    def stop(self) -> None:
        """End every wait, now and later."""
        self._stopping.set()
        self._open.set()

    def enter(self) -> None:
        """Wait as every call does while the first frame of a scene holds the whole server."""
        self._open.wait()

    def wait(self, seconds: float) -> None:
        """Let time pass, unless the server stops."""
        if seconds > 0.0:
            self._stopping.wait(seconds)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold one of the places for drawing; refuses when too many wait already."""
        with self._lock:
            if self._queued >= MAX_QUEUED:
                raise RefusalError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f'{MAX_QUEUED} requests wait for {self._behaviour.max_workers} worker(s)',
                )
            self._queued += 1
        try:
            self._slots.acquire()
        finally:
            with self._lock:
                self._queued -= 1
        try:
            yield
        finally:
            self._slots.release()

    def begin_frame(self, scene_id: str, pixels: int) -> None:
        """
        Count a frame, let its delays pass and raise its failure, all within its turn.

        Raises CrashError where the server's end is due, else RefusalError.
        """
        behaviour = self._behaviour
        with self._lock:
            self._frames += 1
            cold = behaviour.first_frame_s > 0.0 and scene_id not in self._warm
            self._warm.add(scene_id)
            fails = self._random.random() < behaviour.failure_rate
            extra = self._random.random() * behaviour.jitter_s
            dead = 0 < behaviour.crash_after < self._frames
        if dead:
            raise CrashError
        if cold:
            with self._compiling:
                self._open.clear()
                self.wait(behaviour.first_frame_s)
                self._open.set()
        self.wait(behaviour.latency_s + extra)
        if self._stopping.is_set():
            raise RefusalError(grpc.StatusCode.UNAVAILABLE, 'the server is stopping')
        if 0 < behaviour.oom_pixels < pixels:
            raise RefusalError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f'CUDA out of memory. Tried to allocate {pixels * 256 / 2**20:.2f} MiB. '
                'GPU 0 has a total capacity of 23.55 GiB of which 97.06 MiB is free.',
            )
        if fails:
            raise raised('NRenderer.render failed')
