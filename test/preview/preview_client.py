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
"""A gRPC client and hand-made requests that know the service from outside only."""

from __future__ import annotations

from collections.abc import Callable
import threading
from typing import Any

import cv2
import grpc
import numpy as np
from nurec_ros.preview.server import PreviewServer
from nurec_ros.rendering.protos import common_pb2, health_pb2
from nurec_ros.rendering.protos import sensorsim_pb2 as sim
from scipy.spatial.transform import Rotation

PREFIX = 'nre.grpc.protos.sensorsim.SensorsimService'
HEALTH = 'grpc.health.v1.Health'
FRONT_FTHETA = {
    'principal_point_x': 958.0,
    'principal_point_y': 752.0,
    'reference_poly': sim.FthetaCameraParam.ANGLE_TO_PIXELDIST,
    'angle_to_pixeldist_poly': [0.0, 945.1, -14.9, 35.6, -77.3, 32.0],
    'pixeldist_to_angle_poly': [0.0, 1.0565e-3, 3.37e-8, -9.5e-11, 1.65e-13, -6.9e-17],
    'max_angle': 1.35,
    'linear_cde': sim.LinearCde(linear_c=1.0),
}
_REPLIES = {
    'Check': health_pb2.HealthCheckResponse,
    'get_version': common_pb2.VersionId,
    'get_available_scenes': common_pb2.AvailableScenesReturn,
    'get_available_cameras': sim.AvailableCamerasReturn,
    'get_available_trajectories': sim.AvailableTrajectoriesReturn,
    'get_available_ego_masks': common_pb2.Empty,
    'get_server_config': sim.ServerConfig,
    'render_rgb': sim.RGBRenderReturn,
    'batch_render_rgb': sim.BatchRGBRenderReturn,
    'render_lidar': sim.LidarRenderReturn,
    'render_aggregated': sim.AggregatedRenderReturn,
    'get_loaded_scenes': sim.LoadedScenesReturn,
}


class Client:
    """Calls by path, as any gRPC client would; a failed call raises grpc.RpcError."""

    def __init__(self, address: str, prefix: str = PREFIX, server: Any = None) -> None:
        self.prefix = prefix
        self.server = server
        self.channel = grpc.insecure_channel(
            address,
            options=[
                ('grpc.enable_http_proxy', 0),
                ('grpc.max_receive_message_length', 256 * 2**20),
                ('grpc.use_local_subchannel_pool', 1),
                ('grpc.initial_reconnect_backoff_ms', 50),
                ('grpc.max_reconnect_backoff_ms', 100),
            ],
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def method(self, name: str, prefix: str = '') -> Any:
        return self.channel.unary_unary(
            f'/{prefix or self.prefix}/{name}',
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=_REPLIES[name].FromString,
        )

    def call(self, name: str, request: Any = None, timeout: float = 20.0) -> Any:
        return self.method(name)(request or common_pb2.Empty(), timeout=timeout)

    def start(self, name: str, request: Any, timeout: float = 20.0) -> Any:
        return self.method(name).future(request, timeout=timeout)

    def health(self, service: str = '', timeout: float = 20.0) -> str:
        check = self.method('Check', HEALTH)
        reply = check(health_pb2.HealthCheckRequest(service=service), timeout=timeout)
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))


def watch(client: Client, service: str = '', timeout: float = 60.0) -> Any:
    """Begin to watch a service's health; return the call, an iterator of replies."""
    stream = client.channel.unary_stream(
        f'/{HEALTH}/Watch',
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    return stream(health_pb2.HealthCheckRequest(service=service), timeout=timeout)


def refused(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    """Return code and text with which the call fails; fails the test when it does not."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    raise AssertionError('the call was answered')


def pose(
    x: float = 0.0, y: float = 0.0, z: float = 0.0, yaw: float = 0.0, pitch: float = 0.0
) -> Any:
    """Return a pose message from degrees, by scipy."""
    qx, qy, qz, qw = Rotation.from_euler('ZY', [yaw, pitch], degrees=True).as_quat()
    return common_pb2.Pose(
        vec=common_pb2.Vec3(x=x, y=y, z=z), quat=common_pb2.Quat(w=qw, x=qx, y=qy, z=qz)
    )


def request(scenario: Any, **changes: Any) -> Any:
    """Return a good request for a 48x27 PNG in the middle of the scene; `changes` are fields."""
    camera = next(iter(scenario.cameras))
    middle = (scenario.start_ns + scenario.end_ns) // 2000
    fields = {
        'scene_id': scenario.scene_id,
        'resolution_h': 27,
        'resolution_w': 48,
        'camera_intrinsics': sim.CameraSpec(
            logical_id=camera,
            resolution_w=1920,
            resolution_h=1080,
            shutter_type=sim.ROLLING_TOP_TO_BOTTOM,
            ftheta_param=sim.FthetaCameraParam(**FRONT_FTHETA),
        ),
        'frame_start_us': middle,
        'frame_end_us': middle + 1,
        'sensor_pose': sim.PosePair(start_pose=pose(1.0), end_pose=pose(2.0)),
        'image_format': sim.PNG,
        'image_quality': 95.0,
    }
    return sim.RGBRenderRequest(**{**fields, **changes})


def batch(**requests: Any) -> Any:
    """Return a request for pictures by camera."""
    return sim.BatchRGBRenderRequest(
        items=[
            sim.BatchRGBRenderItem(camera_name=name, request=asked)
            for name, asked in requests.items()
        ]
    )


class Painter:
    """
    Stands in for the drawing: a gradient, red along the width and green along the height.

    `orders` holds what was asked for. While `gate` is cleared every picture waits; `inside` says
    how many do, `most_inside` how many ever did at once.
    """

    def __init__(self, scenario: Any = None) -> None:
        self.scenario = scenario
        self.orders: list[dict[str, Any]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.inside = 0
        self.most_inside = 0
        self._lock = threading.Lock()

    def render(self, model: Any, width: int, height: int, **order: Any) -> Any:
        with self._lock:
            self.orders.append({'model': model, 'width': width, 'height': height, **order})
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
        assert self.gate.wait(60.0)
        with self._lock:
            self.inside -= 1
        return gradient(width, height)


def gradient(width: int, height: int) -> Any:
    """Return the Painter's picture, (H, W, 3) RGB."""
    picture = np.full((height, width, 3), 40, np.uint8)
    picture[..., 0] = np.linspace(0, 255, width).astype(np.uint8)
    picture[..., 1] = np.linspace(0, 255, height).astype(np.uint8)[:, np.newaxis]
    return picture


def decoded(data: bytes) -> Any:
    """Return the RGB picture in the bytes, None where there is none."""
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    return None if picture is None else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def serve(scenario: Any, painter: Painter | None = None, **options: Any) -> PreviewServer:
    """Return a server, not yet started, that draws with a Painter."""
    scenarios = scenario if isinstance(scenario, list) else [scenario]
    # A Painter has of a SceneRenderer what the server calls.
    factory: Any = lambda entry: painter or Painter(entry)  # noqa: E731
    return PreviewServer(scenarios, renderer_factory=factory, **options)
