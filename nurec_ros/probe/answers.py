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
"""What a probe asks and what comes of it: its calls, and one record per stage with a remedy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
import time
from types import MappingProxyType
from typing import Any, TYPE_CHECKING

import grpc
from nurec_ros.rendering.protos import common_pb2, health_pb2, sensorsim_pb2
from nurec_ros.rendering.server_errors import BLOCKED, classify, ServerError, short, STARTING

if TYPE_CHECKING:
    from google.protobuf.message import Message

PASS, NOTE, FAIL, SKIP = 'pass', 'note', 'fail', 'skip'

_MARKS = {PASS: '✓', NOTE: '·', FAIL: '✗', SKIP: '–'}
_PLAIN_MARKS = {PASS: 'ok', NOTE: 'note', FAIL: 'FAIL', SKIP: 'skip'}
_NAME_WIDTH = 8
_MESSAGE_WIDTH = 74


@dataclass(frozen=True, slots=True)
class Stage:
    """
    One step of the probe.

    name: of a fixed set (resolve, tcp, channel, health, service, version, config, scenes, cameras,
    render, batch, sizes, images, lidar); status: pass, note (worth knowing, nothing broken), fail,
    or skip (an earlier failure left nothing to try); remedy: one sentence, with every failure;
    details: further values for JSON.
    """

    name: str
    status: str
    message: str
    remedy: str = ''
    latency_s: float | None = None
    details: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.status == FAIL and not self.remedy:
            raise ValueError(f'the failed stage {self.name} has no remedy: {self.message}')

    def to_json(self) -> dict[str, object]:
        """Return the stage in JSON's own types."""
        latency = None if self.latency_s is None else round(self.latency_s * 1000, 3)
        return {
            'stage': self.name,
            'status': self.status,
            'message': self.message,
            'remedy': self.remedy,
            'latency_ms': latency,
            **self.details,
        }

    def lines(self, *, plain: bool = False) -> list[str]:
        """Return the stage as one line, and one more for a remedy; `plain` keeps to ASCII."""
        mark = f'{_PLAIN_MARKS[self.status]:>4}' if plain else _MARKS[self.status]
        line = f' {mark} {self.name:<{_NAME_WIDTH}} {self.message}'
        if self.latency_s is not None:
            line = f'{line:<{_MESSAGE_WIDTH}} {self.latency_s * 1000:8.1f} ms'
        if not self.remedy:
            return [line]
        indent = ' ' * (len(mark) + _NAME_WIDTH + 3)
        return [line, f'{indent}{"->" if plain else "→"} {self.remedy}']


def passed(stages: Iterable[Stage]) -> bool:
    """Return whether nothing failed; what was skipped stands behind something that did."""
    return all(stage.status in (PASS, NOTE) for stage in stages)


def summary(stages: Iterable[Stage]) -> str:
    """Return the verdict in one line."""
    failed = list(dict.fromkeys(stage.name for stage in stages if stage.status == FAIL))
    if failed:
        return f'failed: {", ".join(failed)}'
    return 'every stage passed'


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
