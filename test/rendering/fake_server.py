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
"""A render server for tests: answers what it is told to, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent import futures
from pathlib import Path
from test.support.ports import claim_port
import threading
import time
from typing import Any

import cv2
import grpc
import numpy as np
from nurec_ros.rendering.policy import SERVICE_PREFIXES
from nurec_ros.rendering.protos import common_pb2, sensorsim_pb2

# A certificate for localhost that signs itself; its key protects nothing but these tests.
# openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500
#   -subj /CN=localhost -addext subjectAltName=DNS:localhost
CERTIFICATE = b"""\
-----BEGIN CERTIFICATE-----
MIIBlDCCATugAwIBAgIUJ6DRkeQnlniWOlHmca+G0zJF5o8wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNTAxMjg1OVoYDzIxMjYxMTAx
MDEyODU5WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAS3mdWCvXtMYu2Zlynk4fanUBvxDS9YkLs+WT2PVdd57ChAAM0fBPiP
ZtFFMoSlee9VoYBUb82sUv5ZQkCRH6gvo2kwZzAdBgNVHQ4EFgQUs5pS3xH7++xJ
7B8HGemLfNDiEIwwHwYDVR0jBBgwFoAUs5pS3xH7++xJ7B8HGemLfNDiEIwwFAYD
VR0RBA0wC4IJbG9jYWxob3N0MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwID
RwAwRAIgYnLgHMS2JOR/SYtKcpHC1j72VXaIl2KrfA0w+xWOAuACIEygSnIepnDX
sWNaMIPAzaGznkTDeC/Xizdi+heU+v3x
-----END CERTIFICATE-----
"""
KEY = b"""\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg4JkN7i2lJqZM5yk8
xGiiJ8VpSEXETPQK6gtSLRWtGeKhRANCAAS3mdWCvXtMYu2Zlynk4fanUBvxDS9Y
kLs+WT2PVdd57ChAAM0fBPiPZtFFMoSlee9VoYBUb82sUv5ZQkCRH6gv
-----END PRIVATE KEY-----
"""


def png(width: int, height: int, grey: int = 0) -> bytes:
    """Return a small picture of one grey."""
    return cv2.imencode('.png', np.full((height, width), grey, np.uint8))[1].tobytes()


def picture(request: sensorsim_pb2.RGBRenderRequest, _context: Any = None) -> bytes:
    """Return a picture of the size that was asked for."""
    return png(request.resolution_w, request.resolution_h)


Render = Callable[[sensorsim_pb2.RGBRenderRequest, grpc.ServicerContext], bytes]


def failing(code: grpc.StatusCode, text: str, camera: str = '') -> Render:
    """Return a renderer that fails every frame, or those of one camera; any method will do."""

    def render(request: sensorsim_pb2.RGBRenderRequest, context: Any) -> bytes:
        if not camera or camera == request.camera_intrinsics.logical_id:
            context.abort(code, text)
        return picture(request)

    return render


class Gate:
    """
    A renderer that holds every frame until it is let go; one that `is_open` holds none yet.

    holds: which requests it holds. seconds: how long each frame takes besides. seen: the camera
    and start, in microseconds, of each that came.
    """

    def __init__(
        self,
        holds: Callable[[sensorsim_pb2.RGBRenderRequest], bool] | None = None,
        *,
        is_open: bool = False,
        seconds: float = 0.0,
    ) -> None:
        self.seen: list[tuple[str, int]] = []
        self._holds = holds
        self._changed = threading.Condition()
        self._open = is_open
        self._seconds = seconds

    def __call__(self, request: sensorsim_pb2.RGBRenderRequest, context: Any) -> bytes:
        time.sleep(self._seconds)
        with self._changed:
            self.seen.append((request.camera_intrinsics.logical_id, request.frame_start_us))
            self._changed.notify_all()
            if self._holds is None or self._holds(request):
                while not self._open and context.is_active():
                    self._changed.wait(0.05)
        return picture(request)

    def let_all_go(self) -> None:
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def hold(self) -> None:
        with self._changed:
            self._open = False

    def wait_seen(self, count: int, timeout_s: float = 60.0) -> None:
        """Wait until so many frames were asked for."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.seen) >= count, timeout_s), self.seen


class FakeServer(grpc.GenericRpcHandler):
    """
    A SensorsimService on a loopback port.

    render: makes the bytes of one picture, or aborts. answers: by method, what answers it instead;
    get_server_config and get_available_cameras are there with such an answer alone.
    batch: whether there is batch_render_rgb; batch_reply may turn its reply into something else.
    times_us: of the poses of the trajectory, None where the server tells none. spin: answers
    render_lidar with a message or its bytes, None where there is none. calls: (method, request)
    in order; headers: the metadata of each; seconds: how long its client would wait.
    port: 0 claims one that is the test's own even while the server is away.
    """

    def __init__(
        self,
        render: Render = picture,
        *,
        scenes: Sequence[str] = (),
        prefix: str = SERVICE_PREFIXES[0],
        version: str = 'fake 1',
        batch: bool = True,
        batch_reply: Callable[[Any], Any] | None = None,
        port: int = 0,
        workers: int = 8,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        self.render = render
        self.scenes = list(scenes)
        self.version = version
        self.batch = batch
        self.batch_reply = batch_reply
        self.times_us: list[int] | None = None
        self.spin: Callable[[Any, grpc.ServicerContext], Any] | None = None
        self.answers: dict[str, Callable[[Any, grpc.ServicerContext], Any]] = {}
        self.calls: list[tuple[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.seconds: list[float] = []
        self.flying = 0
        self._lock = threading.Lock()
        self._prefix = prefix
        self._server = grpc.server(
            futures.ThreadPoolExecutor(workers), options=[('grpc.so_reuseport', 0)]
        )
        self._server.add_generic_rpc_handlers([self])
        address = f'127.0.0.1:{port or claim_port()}'
        if credentials is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, credentials)
        self._server.start()

    @property
    def address(self) -> str:
        return f'127.0.0.1:{self.port}'

    def requests(self, method: str = 'render_rgb') -> list[Any]:
        with self._lock:
            return [request for name, request in self.calls if name == method]

    def pictures(self, camera: str = '') -> list[Any]:
        """Return the requests for pictures, alone or in batches; those of one camera, or all."""
        with self._lock:
            calls = [call for call in self.calls if call[0] in ('render_rgb', 'batch_render_rgb')]
        found = [
            one
            for name, request in calls
            for one in ([item.request for item in request.items] if 'batch' in name else [request])
        ]
        return [one for one in found if camera in ('', one.camera_intrinsics.logical_id)]

    def waits(self, method: str = 'render_rgb') -> list[float]:
        """Return how long the client would have waited for each call of a method, in seconds."""
        with self._lock:
            calls = zip(self.calls, self.seconds, strict=True)
            return [seconds for (name, _), seconds in calls if name == method]

    def methods(self) -> list[str]:
        with self._lock:
            return [name for name, _ in self.calls]

    def stop(self) -> None:
        """Cut every connection, like a process that is killed."""
        self._server.stop(0).wait()

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler | None:
        """Look a method up, anew for each call."""
        service, _, method = handler_call_details.method.lstrip('/').partition('/')
        types: dict[str, tuple[Callable[[Any, Any], Any] | None, Any]] = {
            'get_version': (self._version, common_pb2.Empty),
            'get_available_scenes': (self._scenes, common_pb2.Empty),
            'get_server_config': (None, common_pb2.Empty),
            'get_available_cameras': (None, sensorsim_pb2.AvailableCamerasRequest),
            'get_available_trajectories': (
                self._trajectories,
                sensorsim_pb2.AvailableTrajectoriesRequest,
            ),
            'render_rgb': (self._render_rgb, sensorsim_pb2.RGBRenderRequest),
            'batch_render_rgb': (self._batch, sensorsim_pb2.BatchRGBRenderRequest),
            'render_lidar': (self._spin, sensorsim_pb2.LidarRenderRequest),
        }
        if service != self._prefix or method not in types:
            return None
        lacks = {'render_lidar': self.spin is None, 'batch_render_rgb': not self.batch}
        if lacks.get(method):
            with self._lock:
                self.calls.append(('refused ' + ('lidar' if 'lidar' in method else 'batch'), None))
            return None
        answer, request_type = types[method]
        answer = self.answers.get(method, answer)
        if answer is None:
            return None

        def behaviour(request: Any, context: grpc.ServicerContext) -> Any:
            with self._lock:
                self.calls.append((method, request))
                self.headers.append(dict(context.invocation_metadata()))
                self.seconds.append(context.time_remaining())
            return answer(request, context)

        return grpc.unary_unary_rpc_method_handler(
            behaviour,
            request_type.FromString,
            lambda message: message if isinstance(message, bytes) else message.SerializeToString(),
        )

    def _version(self, _request: Any, _context: Any) -> common_pb2.VersionId:
        return common_pb2.VersionId(version_id=self.version, git_hash='abc')

    def _trajectories(self, _request: Any, context: grpc.ServicerContext) -> Any:
        if self.times_us is None:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, 'Method not found!')
        poses = [common_pb2.PoseAtTime(timestamp_us=time_us) for time_us in self.times_us or ()]
        return sensorsim_pb2.AvailableTrajectoriesReturn(
            available_trajectories=[
                sensorsim_pb2.AvailableTrajectory(trajectory=common_pb2.Trajectory(poses=poses))
            ]
        )

    def _scenes(self, _request: Any, _context: Any) -> common_pb2.AvailableScenesReturn:
        return common_pb2.AvailableScenesReturn(scene_ids=self.scenes)

    def _picture(self, request: Any, context: Any) -> bytes:
        with self._lock:
            self.flying += 1
        try:
            return self.render(request, context)
        finally:
            with self._lock:
                self.flying -= 1

    def _render_rgb(self, request: Any, context: Any) -> sensorsim_pb2.RGBRenderReturn:
        return sensorsim_pb2.RGBRenderReturn(image_bytes=self._picture(request, context))

    def _spin(self, request: Any, context: Any) -> Any:
        assert self.spin is not None
        return self.spin(request, context)

    def _batch(self, request: Any, context: Any) -> Any:
        reply = sensorsim_pb2.BatchRGBRenderReturn()
        for item in request.items:
            one = reply.items.add(camera_name=item.camera_name)
            try:
                one.result.image_bytes = self._picture(item.request, context)
                one.success = True
            except ItemError as error:
                one.error_message = str(error)
        return self.batch_reply(reply) if self.batch_reply else reply


class ItemError(Exception):
    """Raised by a render function to fail one item of a batch, not the whole call."""


def server_credentials(folder: Path) -> tuple[grpc.ServerCredentials, Path]:
    """Return what a server presents, and the file that its clients trust."""
    path = folder / 'root.pem'
    path.write_bytes(CERTIFICATE)
    return grpc.ssl_server_credentials([(KEY, CERTIFICATE)]), path


def main(arguments: Sequence[str]) -> None:
    """Serve a scene on a port: so many frames, and all others hang."""
    scene, port, frames = arguments
    left = threading.Semaphore(int(frames))

    def render(request: sensorsim_pb2.RGBRenderRequest, _context: Any) -> bytes:
        left.acquire()
        return picture(request)

    FakeServer(render, scenes=[scene], port=int(port), workers=64)
    threading.Event().wait()
