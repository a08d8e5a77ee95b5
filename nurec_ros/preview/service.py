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
"""The methods of SensorsimService over drawn pictures, and the turns and delays of its calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
import logging
import random
import threading
import time
from typing import Any, TYPE_CHECKING, TypeVar

import grpc
import numpy as np
from nurec_ros import __version__
from nurec_ros.preview.behaviour import Behaviour, spoil_items, spoil_picture
from nurec_ros.preview.wire import (
    check,
    check_spin,
    CrashError,
    encode,
    find_scene,
    pose_message,
    pose_of,
    raised,
    RefusalError,
    spec_of,
)
from nurec_ros.rendering.protos import common_pb2
from nurec_ros.rendering.protos import sensorsim_pb2 as sim
from nurec_ros.rendering.protos.common_pb2 import Empty
from nurec_ros.scenario import Scenario

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from nurec_ros.preview.scene import SceneRenderer

_log = logging.getLogger(__name__)

MAX_BATCH = 64
# Longer queues than this mean that clients outrun the drawing for good.
MAX_QUEUED = 48

# Each takes its own message and returns another.
Handler = Callable[[Any, grpc.ServicerContext], 'Message']
Drawn = TypeVar('Drawn')


class Workers:
    """
    Where the behaviour's delays and failures happen; used by every handler thread.

    The start-up counts from construction. Waiting ends early when `stop` is called.
    """

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._ready_at = time.monotonic() + behaviour.startup_s
        self._stopping = threading.Event()
        self._open = threading.Event()
        self._open.set()
        self._slots = threading.Semaphore(behaviour.max_workers)
        self._compiling = threading.Lock()
        self._lock = threading.Lock()  # guards all below
        self._random = random.Random(behaviour.seed)
        self.frames = 0
        self._queued = 0
        self._warm: set[str] = set()

    @property
    def ready_in_s(self) -> float:
        """Return the seconds until the start-up is over; 0 when it is."""
        return max(self._ready_at - time.monotonic(), 0.0)

    @property
    def blocked(self) -> bool:
        """Return whether the first frame of a scene holds every call."""
        return not self._open.is_set()

    def stop(self) -> None:
        self._stopping.set()
        self._open.set()

    def enter(self) -> None:
        """Wait as every call does while the first frame of a scene holds the whole server."""
        self._open.wait()

    def wait(self, seconds: float) -> None:
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
            self.frames += 1
            cold = behaviour.first_frame_s > 0.0 and scene_id not in self._warm
            self._warm.add(scene_id)
            fails = self._random.random() < behaviour.failure_rate
            extra = self._random.random() * behaviour.jitter_s
            dead = 0 < behaviour.crash_after < self.frames
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


class PreviewService:
    """
    One object per server: answers each method for every scene it was given.

    `calls` counts the calls by method name. `on_crash(context)` is called in the handler of the
    frame at which the behaviour's server dies.
    """

    def __init__(
        self,
        scenes: Mapping[str, Scenario],
        renderers: Mapping[str, SceneRenderer],
        behaviour: Behaviour,
        workers: Workers,
        *,
        caption: bool,
        on_crash: Callable[[grpc.ServicerContext], None],
    ) -> None:
        self._scenes = scenes
        self._renderers = renderers
        self._behaviour = behaviour
        self._workers = workers
        self._caption = caption
        self._on_crash = on_crash
        self._lock = threading.Lock()  # guards calls
        self.calls: Counter[str] = Counter()

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the generic handler; methods that the version lacks are UNIMPLEMENTED."""
        behaviour = self._behaviour
        methods: dict[str, tuple[Handler, type[Message]]] = {
            'get_version': (self._get_version, Empty),
            'get_available_scenes': (self._get_available_scenes, Empty),
            'get_available_cameras': (self._get_available_cameras, sim.AvailableCamerasRequest),
            'get_available_trajectories': (
                self._get_available_trajectories,
                sim.AvailableTrajectoriesRequest,
            ),
            # No masks: a reply without fields, which Empty is on the wire.
            'get_available_ego_masks': (lambda _request, _context: Empty(), Empty),
            'render_rgb': (self._render_rgb, sim.RGBRenderRequest),
            'render_lidar': (self._render_lidar, sim.LidarRenderRequest),
        }
        if behaviour.batch_served:
            methods |= {
                'batch_render_rgb': (self._batch_render_rgb, sim.BatchRGBRenderRequest),
                'get_server_config': (self._get_server_config, Empty),
                # AlpaSim's two, without which it does not share scenes among servers.
                'render_aggregated': (self._render_aggregated, sim.AggregatedRenderRequest),
                'get_loaded_scenes': (self._get_loaded_scenes, Empty),
            }
        return grpc.method_handlers_generic_handler(
            behaviour.service_prefix,
            {
                method: grpc.unary_unary_rpc_method_handler(
                    self._guard(method, handler),
                    request_deserializer=message.FromString,
                    response_serializer=lambda reply: reply.SerializeToString(),
                )
                for method, (handler, message) in methods.items()
            },
        )

    def _guard(self, method: str, handler: Handler) -> Handler:
        def handle(request: Message, context: grpc.ServicerContext) -> Message:
            with self._lock:
                self.calls[method] += 1
            self._workers.enter()
            try:
                if self._workers.ready_in_s:
                    raise RefusalError(grpc.StatusCode.UNAVAILABLE, 'the server is starting')
                return handler(request, context)
            except RefusalError as refusal:
                if isinstance(refusal, CrashError):
                    self._on_crash(context)
                context.abort(refusal.code, refusal.text)

        return handle

    def _get_version(self, _request: Empty, _context: object) -> common_pb2.VersionId:
        patch = 5 if self._behaviour.batch_served else 1
        return common_pb2.VersionId(
            version_id=f'preview-{__version__}-{self._behaviour.api}',
            git_hash='',
            grpc_api_version=common_pb2.VersionId.ApiVersion(patch=patch),
        )

    def _get_available_scenes(
        self, _request: Empty, _context: object
    ) -> common_pb2.AvailableScenesReturn:
        return common_pb2.AvailableScenesReturn(scene_ids=list(self._scenes))

    def _get_loaded_scenes(self, _request: Empty, _context: object) -> sim.LoadedScenesReturn:
        """All scenes are loaded, once each, and there is room for no other."""
        scenes = [
            sim.LoadedScene(scene_id=name, loaded_instance_count=1, reusable_instance_count=1)
            for name in self._scenes
        ]
        return sim.LoadedScenesReturn(scenes=scenes, loaded_instance_capacity=len(scenes))

    def _get_available_cameras(
        self, request: sim.AvailableCamerasRequest, _context: object
    ) -> sim.AvailableCamerasReturn:
        scenario = find_scene(self._scenes, request.scene_id)
        pinhole_known = self._behaviour.api != 'v1'
        return sim.AvailableCamerasReturn(
            available_cameras=[
                sim.AvailableCamera(
                    intrinsics=spec_of(name, camera.model, pinhole_known=pinhole_known),
                    # The field's name lies: like real servers this sends camera to rig.
                    rig_to_camera=pose_of(camera.T_rig_camera),
                    logical_id=name,
                )
                for name, camera in scenario.cameras.items()
                if camera.model is not None and camera.renderable
            ]
        )

    def _get_available_trajectories(
        self, request: sim.AvailableTrajectoriesRequest, _context: object
    ) -> sim.AvailableTrajectoriesReturn:
        ego = find_scene(self._scenes, request.scene_id).ego
        samples = zip(ego.times_ns.tolist(), ego.positions, ego.quaternions, strict=True)
        poses = [
            common_pb2.PoseAtTime(pose=pose_message(*pose), timestamp_us=t_ns // 1000)
            for t_ns, *pose in samples
        ]
        trajectory = sim.AvailableTrajectory(trajectory=common_pb2.Trajectory(poses=poses))
        return sim.AvailableTrajectoriesReturn(available_trajectories=[trajectory])

    def _get_server_config(self, _request: Empty, _context: object) -> sim.ServerConfig:
        behaviour = self._behaviour
        return sim.ServerConfig(
            server_config={
                'renderer': 'preview',
                'max_workers': str(behaviour.max_workers),
                'enable_editing_actors': str(behaviour.editing),
            }
        )

    def _render_rgb(
        self, request: sim.RGBRenderRequest, context: grpc.ServicerContext
    ) -> sim.RGBRenderReturn:
        model, (width, height), poses, tracks = check(request, self._scenes, self._behaviour)
        size, replies = f'{width}x{height}', self._behaviour.replies
        caption = ''
        if self._caption:
            start_us = self._scenes[request.scene_id].start_ns // 1000
            seconds = (request.frame_end_us - start_us) / 1e6
            caption = f'{request.camera_intrinsics.logical_id}  {seconds:.3f} s  {size}'
        with self._workers.turn():
            self._begin(request.scene_id, width * height, context)
            if replies == 'black':
                picture = np.zeros((height, width, 3), np.uint8)
            else:
                picture = self._drawn(
                    f'a picture of {size}',
                    lambda: self._renderers[request.scene_id].render(
                        *(model, width, height),
                        start_ns=request.frame_start_us * 1000,
                        end_ns=request.frame_end_us * 1000,
                        T_map_camera_start=poses[0],
                        T_map_camera_end=poses[1],
                        tracks=tracks,
                        caption=caption,
                    ),
                )
            encoded = encode(picture, request.image_format, request.image_quality)
        return sim.RGBRenderReturn(image_bytes=spoil_picture(encoded, replies))

    def _render_lidar(
        self, request: sim.LidarRenderRequest, context: grpc.ServicerContext
    ) -> sim.LidarRenderReturn:
        device, poses, tracks = check_spin(request, self._scenes, self._behaviour)
        renderer = self._renderers[request.scene_id]
        if not hasattr(renderer, 'spin'):
            raise RefusalError(grpc.StatusCode.UNIMPLEMENTED, 'this drawing has no spin')
        with self._workers.turn():
            self._begin(request.scene_id, 0, context)
            points, intensities = self._drawn(
                'a spin',
                lambda: renderer.spin(
                    device,
                    self._behaviour.lidar_beams,
                    end_ns=request.frame_end_us * 1000,
                    T_map_sensor_start=poses[0],
                    T_map_sensor_end=poses[1],
                    tracks=tracks,
                    noise_m=self._behaviour.lidar_noise_m,
                    seed=self._behaviour.seed,
                ),
            )
        if self._behaviour.lidar_floats:
            return sim.LidarRenderReturn(point_xyzs=points.ravel(), point_intensities=intensities)
        how = self._behaviour.replies
        return sim.LidarRenderReturn(
            num_points=len(points),
            point_xyzs_buffer=spoil_picture(points.astype('<f4').tobytes(), how),
            point_intensities_buffer=spoil_picture(intensities.astype('<f4').tobytes(), how),
        )

    def _render_aggregated(
        self, request: sim.AggregatedRenderRequest, context: grpc.ServicerContext
    ) -> sim.AggregatedRenderReturn:
        """Its reply has no place for one item's error: the first that fails fails the call."""
        _check_count(len(request.rgb_requests) + len(request.lidar_requests))
        return sim.AggregatedRenderReturn(
            rgb_returns=[self._render_rgb(item, context) for item in request.rgb_requests],
            lidar_returns=[self._render_lidar(item, context) for item in request.lidar_requests],
        )

    def _batch_render_rgb(
        self, request: sim.BatchRGBRenderRequest, context: grpc.ServicerContext
    ) -> sim.BatchRGBRenderReturn:
        _check_count(len(request.items))
        items, names = [], set()
        for item in request.items:
            reply = sim.BatchRGBRenderReturnItem(camera_name=item.camera_name)
            if item.camera_name in names:
                reply.error_message = f'camera_name {item.camera_name!r} is used twice'
            else:
                names.add(item.camera_name)
                try:
                    reply.result.CopyFrom(self._render_rgb(item.request, context))
                    reply.success = True
                except CrashError:
                    raise
                except RefusalError as refusal:
                    reply.error_message = refusal.text
            items.append(reply)
        spoil_items(items, self._behaviour.batch_replies)
        return sim.BatchRGBRenderReturn(items=items)

    def _begin(self, scene_id: str, pixels: int, context: grpc.ServicerContext) -> None:
        if not context.is_active():
            raise RefusalError(grpc.StatusCode.CANCELLED, 'the client has gone')
        self._workers.begin_frame(scene_id, pixels)

    @staticmethod
    def _drawn(what: str, draw: Callable[[], Drawn]) -> Drawn:
        """Whatever breaks in the drawing costs this frame, and not the rest of its batch."""
        try:
            return draw()
        except MemoryError:
            text = f'out of memory for {what}'
            raise RefusalError(grpc.StatusCode.RESOURCE_EXHAUSTED, text) from None
        except Exception as error:
            _log.exception('%s could not be drawn', what)
            raise raised(f'{type(error).__name__}: {error}') from error


def _check_count(count: int) -> None:
    if count > MAX_BATCH:
        text = f'a batch of {count} items, expected at most {MAX_BATCH}'
        raise RefusalError(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
