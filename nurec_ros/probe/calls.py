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
"""Calls with their time and, where they fail, the client's own words for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import threading
import time
from typing import Any

import grpc
from nurec_ros.rendering.errors import classify, ServerError
from nurec_ros.rendering.protos import common_pb2, health_pb2, sensorsim_pb2

HEALTH_SERVICE = 'grpc.health.v1.Health'
# Then somebody who looks on should know that waiting is right.
_PATIENCE_S = 3.0

_REPLIES = {
    'Check': health_pb2.HealthCheckResponse,
    'get_version': common_pb2.VersionId,
    'get_server_config': sensorsim_pb2.ServerConfig,
    'get_available_scenes': common_pb2.AvailableScenesReturn,
    'get_available_cameras': sensorsim_pb2.AvailableCamerasReturn,
    'get_available_trajectories': sensorsim_pb2.AvailableTrajectoriesReturn,
    'render_rgb': sensorsim_pb2.RGBRenderReturn,
    'batch_render_rgb': sensorsim_pb2.BatchRGBRenderReturn,
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
        """Say whether the server does not have the method."""
        return self.code is grpc.StatusCode.UNIMPLEMENTED

    @property
    def no_answer(self) -> bool:
        """Say whether nothing came, neither reply nor refusal."""
        return self.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class Calls:
    """
    The calls of one probe over one channel.

    prefix: the service's name, once it is known; context: further words for `classify`.
    """

    def __init__(self, channel: grpc.Channel, server: str, timeout_s: float) -> None:
        self.prefix = ''
        self.context: dict[str, object] = {}
        self._channel = channel
        self.server = server
        self._timeout_s = timeout_s

    def ask(
        self,
        method: str,
        request: Any = None,
        *,
        prefix: str = '',
        timeout_s: float | None = None,
        patience: Callable[[], None] | None = None,
    ) -> Answer:
        """
        Make one call and wait for it, `timeout_s` at most.

        `patience` is called from another thread once the answer takes more than a few seconds.
        """
        prefix = prefix or self.prefix
        limit = self._timeout_s if timeout_s is None else timeout_s
        call = self._channel.unary_unary(
            f'/{prefix}/{method}',
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=_REPLIES[method].FromString,
        )
        timer = threading.Timer(_PATIENCE_S, patience) if patience else None
        if timer:
            timer.daemon = True
            timer.start()
        began = time.perf_counter()
        try:
            reply = call(request or common_pb2.Empty(), timeout=limit)
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
        finally:
            if timer:
                timer.cancel()
        return Answer(reply, None, grpc.StatusCode.OK, '', time.perf_counter() - began)
