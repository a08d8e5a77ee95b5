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
"""The calls of one probe: what is asked of the server, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import time
from types import MappingProxyType
from typing import Any, TYPE_CHECKING

import grpc
from nurec_ros.probe.report import FAIL, Stage
from nurec_ros.rendering.protos import common_pb2, health_pb2, sensorsim_pb2
from nurec_ros.rendering.server_errors import BLOCKED, classify, ServerError, short, STARTING

if TYPE_CHECKING:
    from google.protobuf.message import Message

_DIED = (
    "its process ended or the network broke: the container's log tells which; start it again, "
    'with less memory in use (fewer cameras, a lower resolution_scale) if it was killed for that'
)

_REPLIES = {
    'Check': health_pb2.HealthCheckResponse,
    'get_version': common_pb2.VersionId,
    'get_server_config': sensorsim_pb2.ServerConfig,
    'get_available_scenes': common_pb2.AvailableScenesReturn,
    'get_available_cameras': sensorsim_pb2.AvailableCamerasReturn,
    'get_available_trajectories': sensorsim_pb2.AvailableTrajectoriesReturn,
    'render_rgb': sensorsim_pb2.RGBRenderReturn,
    'batch_render_rgb': sensorsim_pb2.BatchRGBRenderReturn,
    'render_lidar': sensorsim_pb2.LidarRenderReturn,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call: a reply, or an error with the status that it came as."""

    reply: Any
    error: ServerError | None
    code: grpc.StatusCode
    details: str
    latency_s: float

    @property
    def unknown_method(self) -> bool:
        """Return whether the server does not have the method."""
        return self.code is grpc.StatusCode.UNIMPLEMENTED

    @property
    def no_answer(self) -> bool:
        """Return whether nothing came, neither reply nor refusal."""
        return self.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class Calls:
    """
    The calls of one probe over one channel.

    prefix: the service's name, once it is known; context: further words for `classify`. metadata:
    sent with every call. timeout_s: of a call, in `timeouts` those of single stages.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        server: str,
        timeout_s: float,
        *,
        timeouts: Mapping[str, float] = MappingProxyType({}),
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.server = server
        self.metadata = metadata
        self.prefix = ''
        self.context: dict[str, object] = {}
        self._channel = channel
        self._timeout_s = timeout_s
        self._timeouts = timeouts

    def timeout(self, stage: str) -> float:
        """Return the seconds that a call of a stage may take."""
        return self._timeouts.get(stage, self._timeout_s)

    def ask(
        self,
        stage: str,
        method: str,
        request: Message | None = None,
        *,
        prefix: str = '',
        timeout_s: float | None = None,
    ) -> Answer:
        """Make one call of a stage and wait for it, `timeout_s` or the stage's time at most."""
        prefix = prefix or self.prefix
        limit = self.timeout(stage) if timeout_s is None else timeout_s
        call = self._channel.unary_unary(
            f'/{prefix}/{method}',
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=_REPLIES[method].FromString,
        )
        began = time.perf_counter()
        try:
            reply = call(request or common_pb2.Empty(), timeout=limit, metadata=self.metadata)
        except grpc.RpcError as error:
            words = {
                'server': self.server,
                'method': method,
                'prefix': prefix,
                'timeout_s': limit,
                **self.context,
            }
            details = error.details() or ''
            found = classify(error.code(), details, **words)
            return Answer(None, found, error.code(), details, time.perf_counter() - began)
        return Answer(reply, None, grpc.StatusCode.OK, '', time.perf_counter() - began)


def failure(name: str, answer: Answer) -> Stage:
    """Return the failed stage of an answer that is an error."""
    error = answer.error
    problem, remedy = (error.problem, error.remedy) if error is not None else ('no error', '-')
    if answer.code is grpc.StatusCode.UNAVAILABLE:
        # The connection stood a moment ago, so it is the server that says so, or that died.
        problem = f'the server went away ({short(answer.details)})'
        remedy = _DIED
        if error is not None and error.kind == 'starting':
            problem = f'the server is not ready ({short(answer.details)})'
            remedy = STARTING
    elif answer.code is grpc.StatusCode.DEADLINE_EXCEEDED and name != 'render':
        remedy = BLOCKED
    return Stage(name, FAIL, problem, remedy, answer.latency_s)
