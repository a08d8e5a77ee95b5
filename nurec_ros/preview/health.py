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
"""The standard health service (grpc.health.v1.Health): Check, and Watch as long as one watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import threading

import grpc
from nurec_ros.preview.workers import Workers
from nurec_ros.rendering.protos import health_pb2

HEALTH_SERVICE = 'grpc.health.v1.Health'
# Each holds a thread of the server's pool, which is that much larger.
MAX_WATCHERS = 16

_Response = health_pb2.HealthCheckResponse


class Health:
    """
    Says whether the server (service '') and its one service are ready.

    `count(method)` is called for each call. A watcher's thread ends when it goes, or with `stop`.
    """

    def __init__(self, workers: Workers, service: str, count: Callable[[str], None]) -> None:
        self._workers = workers
        self._known = ('', service)
        self._count = count
        self._changed = threading.Condition()  # guards all below
        self._watchers: set[int] = set()
        self._stopped = False

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the generic handler of both methods."""
        request = health_pb2.HealthCheckRequest.FromString
        return grpc.method_handlers_generic_handler(
            HEALTH_SERVICE,
            {
                'Check': grpc.unary_unary_rpc_method_handler(
                    self._check, request, _Response.SerializeToString
                ),
                'Watch': grpc.unary_stream_rpc_method_handler(
                    self._watch, request, _Response.SerializeToString
                ),
            },
        )

    def stop(self) -> None:
        """End every watch, now and later."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        self._count('Check')
        self._workers.enter()
        if request.service not in self._known:
            context.abort(grpc.StatusCode.NOT_FOUND, f'no service {request.service!r} here')
        return _Response(status=self._status(request.service))

    def _watch(
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> Iterator[health_pb2.HealthCheckResponse]:
        """Yield the status, and each that it changes to; a service that is not here may come."""
        self._count('Watch')
        self._workers.enter()
        key = id(context)
        with self._changed:
            full = len(self._watchers) >= MAX_WATCHERS
            if not full:
                self._watchers.add(key)
        if full:
            text = f'{MAX_WATCHERS} clients watch already'
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        try:
            if not context.add_callback(lambda: self._leave(key)):
                return
            told = None
            while (status := self._next(key, request.service, told)) is not None:
                told = status
                yield _Response(status=status)
        finally:
            self._leave(key)

    def _next(self, key: int, service: str, told: int | None) -> int | None:
        """Wait for another status than was told; None when the watch is over."""
        with self._changed:
            while key in self._watchers and not self._stopped:
                status = self._status(service)
                if status != told:
                    return status
                self._changed.wait(self._workers.ready_in_s or None)
        return None

    def _leave(self, key: int) -> None:
        with self._changed:
            self._watchers.discard(key)
            self._changed.notify_all()

    def _status(self, service: str) -> int:
        if service not in self._known:
            return int(_Response.SERVICE_UNKNOWN)
        return int(_Response.SERVING if self._workers.serving else _Response.NOT_SERVING)
