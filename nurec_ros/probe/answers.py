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
"""A probe's options, calls and stages, and those stages that ask what the server is and has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
import time
from typing import Any, TYPE_CHECKING

import grpc
import numpy as np
from nurec_ros.rendering.channel import ANY_SCENE, choose_scene, version_text
from nurec_ros.rendering.policy import RenderOptions, SERVICE_PREFIXES
from nurec_ros.rendering.protos import common_pb2, health_pb2, sensorsim_pb2
from nurec_ros.rendering.server_errors import BLOCKED, classify, ServerError, short, STARTING
from nurec_ros.scenario import Scenario

if TYPE_CHECKING:
    from google.protobuf.message import Message

PASS, NOTE, FAIL, SKIP = 'pass', 'note', 'fail', 'skip'

_MARKS = {PASS: '✓', NOTE: '·', FAIL: '✗', SKIP: '–'}
_PLAIN_MARKS = {PASS: 'ok', NOTE: 'note', FAIL: 'FAIL', SKIP: 'skip'}
_NAME_WIDTH = 8
_MESSAGE_WIDTH = 74


@dataclass(frozen=True, slots=True)
class ProbeOptions:
    """
    What a user can say about a probe.

    cameras, lidars: logical names, empty for all, of lidars ('none',) for none; scale: of the
    small pictures, of the native size; timeout_s: of each call, in `timeouts` those of single
    stages; first_timeout_s: of the first frame and the first spin, and of what makes a server load
    a scene_url; output: folder of pictures and clouds.
    slow_s: a small picture or a spin that takes longer is a note; patience_s: then the first one
    is said to be waited for.
    """

    server: str = RenderOptions().server
    use_proxy: bool = False
    scene_id: str = ''
    scene_url: str = ''
    service_prefix: str = ''
    tls_root_certificate: str = ''
    cameras: tuple[str, ...] = ()
    lidars: tuple[str, ...] = ()
    scale: float = 0.25
    timeout_s: float = 10.0
    timeouts: Mapping[str, float] = field(default_factory=dict)
    first_timeout_s: float = 120.0
    # A camera at 10 Hz shows a slide show then.
    slow_s: float = 1.0
    patience_s: float = 3.0
    output: Path = Path('nurec_probe')


@dataclass(frozen=True, slots=True)
class Stage:
    """
    One step of the probe.

    name: one of STAGES; status: pass, note (worth knowing, nothing broken), fail, or skip (an
    earlier failure left nothing to try); remedy: one sentence, with every failure; details:
    further values for JSON.
    """

    name: str
    status: str
    message: str
    remedy: str = ''
    latency_s: float | None = None
    details: Mapping[str, object] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
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
        return self.code is grpc.StatusCode.UNIMPLEMENTED

    @property
    def no_answer(self) -> bool:
        """Return whether nothing came, neither reply nor refusal."""
        return self.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class Calls:
    """
    The calls of one probe over one channel, each with `metadata`.

    prefix: the service's name, once it is known; context: further words for `classify`.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        options: ProbeOptions,
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.server = options.server
        self.prefix = ''
        self.context: dict[str, object] = {}
        self._channel = channel
        self._metadata = metadata
        self._timeout_s = options.timeout_s
        self._timeouts = {'alive': min(2.0, options.timeout_s), **options.timeouts}
        if metadata:
            # Whatever is asked first has the server load the scene.
            longest = max(options.timeout_s, options.first_timeout_s)
            self._timeouts.update(service=longest, scenes=longest)

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
            reply = call(request or common_pb2.Empty(), timeout=limit, metadata=self._metadata)
        except grpc.RpcError as error:
            took_s = time.perf_counter() - began
            code, details = error.code(), error.details() or ''
            words = {'server': self.server, 'method': method, 'prefix': prefix, **self.context}
            found = classify(code, details, timeout_s=limit, **words)
            return Answer(None, found, code, details, took_s)
        return Answer(reply, None, grpc.StatusCode.OK, '', time.perf_counter() - began)


def failure(name: str, answer: Answer) -> Stage:
    """Return the failed stage of an answer that is an error."""
    error = answer.error
    assert error is not None
    problem, remedy = error.problem, error.remedy
    if answer.code is grpc.StatusCode.UNAVAILABLE:
        # The connection stood a moment ago, so it is the server that says so, or that died.
        problem, remedy = 'the server went away', _DIED
        if error.kind == 'starting':
            problem, remedy = 'the server is not ready', STARTING
        problem += f' ({short(answer.details)})'
    elif answer.code is grpc.StatusCode.DEADLINE_EXCEEDED and name != 'render':
        remedy = BLOCKED
    return Stage(name, FAIL, problem, remedy, answer.latency_s)


HEALTH_SERVICE = 'grpc.health.v1.Health'
_SAME_PLACE_M = 1.0
_OTHER_SCENE = (
    'start the server with --artifact-glob for this archive, or give the probe and the player the '
    'archive that the server has'
)


def health_stage(calls: Calls) -> tuple[Stage, bool]:
    """
    Ask the standard health service; servers of 2025 do not have it.

    Also tells whether the server is silent, so that nothing else would be answered either.
    """
    answer = calls.ask('health', 'Check', health_pb2.HealthCheckRequest(), prefix=HEALTH_SERVICE)
    latency = answer.latency_s
    if answer.unknown_method:
        message = 'no health service on this port, as with servers of 2025 or --health-port'
        return Stage('health', NOTE, message, latency_s=latency), False
    if answer.code is grpc.StatusCode.DEADLINE_EXCEEDED:
        message = 'connected, but even health is not answered'
        return Stage('health', FAIL, message, BLOCKED, latency), True
    if answer.error is not None:
        return failure('health', answer), answer.no_answer
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.reply.status)
    if status != 'SERVING':
        return Stage('health', FAIL, f'the server says {status}', STARTING, latency), False
    return Stage('health', PASS, status, latency_s=latency), False


def service_stages(calls: Calls, wanted: str) -> list[Stage]:
    """Find the name of the service by asking for the version; set it in `calls`."""
    names = (wanted,) if wanted else SERVICE_PREFIXES
    for name in names:
        answer = calls.ask('service', 'get_version', prefix=name)
        if answer.unknown_method:
            continue
        if answer.error is not None:
            return [failure('service', answer)]
        calls.prefix = name
        renamed = ' (renamed)' if not wanted and name != SERVICE_PREFIXES[0] else ''
        service = {'service_prefix': name}
        version = version_text(answer.reply)
        details = {'version': version, 'git_hash': answer.reply.git_hash}
        return [
            Stage('service', PASS, f'{name}{renamed}', details=service),
            Stage('version', PASS, version, '', answer.latency_s, details),
        ]
    message = f'the server has none of {", ".join(names)}'
    remedy = (
        'is it a NuRec render server, and its gRPC port? if so, set service_prefix to the name '
        f'of its service (grpcurl -plaintext {calls.server} list)'
    )
    return [Stage('service', FAIL, message, remedy)]


def config_stage(calls: Calls) -> Stage:
    """Ask how the server runs; servers before 26.02 cannot say."""
    answer = calls.ask('config', 'get_server_config')
    if answer.unknown_method:
        message = 'no get_server_config, as with servers before 26.02'
        return Stage('config', NOTE, message, latency_s=answer.latency_s)
    if answer.error is not None:
        return failure('config', answer)
    config = dict(sorted(answer.reply.server_config.items()))
    message = ', '.join(f'{key}={value}' for key, value in config.items()) or 'empty'
    details = {'config': config}
    return Stage('config', PASS, message, latency_s=answer.latency_s, details=details)


def scenes_stage(calls: Calls, scenario: Scenario, options: ProbeOptions) -> tuple[Stage, str]:
    """Look for our scene among the server's; return the name to ask with too, '' if none fits."""
    answer = calls.ask('scenes', 'get_available_scenes')
    if answer.error is not None:
        return failure('scenes', answer), ''
    wanted, scenes = options.scene_id, tuple(answer.reply.scene_ids)

    def told(status: str, message: str, remedy: str = '') -> Stage:
        return Stage('scenes', status, message, remedy, answer.latency_s, {'scenes': list(scenes)})

    if options.scene_url:
        ours = wanted or scenario.scene_id
        return told(PASS, f'{ours} is loaded from {options.scene_url}'), ours
    try:
        chosen = choose_scene(scenario, scenes, wanted)
    except ServerError as error:
        return told(FAIL, error.problem, error.remedy), ''
    calls.context = {'scene_id': chosen, 'scenes': ', '.join(sorted(scenes))}
    if chosen in (wanted, scenario.scene_id, scenario.metadata_scene_id):
        message = f'{chosen} is one of {len(scenes)}' if len(scenes) > 1 else f'{chosen} is there'
        if ANY_SCENE in scenes:
            message = f'the server takes any scene ({ANY_SCENE}); {chosen} is asked for'
        return told(PASS, message), chosen
    # A server's only scene is taken under whatever name, if it is the same drive.
    if _same_drive(calls, scenario, chosen):
        message = f'{chosen} stands for {scenario.scene_id}: another name, the same drive'
        return told(NOTE, message), chosen
    message = f'the server has {chosen}, which is not the drive of {scenario.scene_id}'
    return told(FAIL, message, _OTHER_SCENE), ''


def _same_drive(calls: Calls, scenario: Scenario, scene_id: str) -> bool:
    request = sensorsim_pb2.AvailableTrajectoriesRequest(scene_id=scene_id)
    answer = calls.ask('scenes', 'get_available_trajectories', request)
    if answer.error is not None:
        return False
    for entry in answer.reply.available_trajectories:
        poses = [
            pose
            for pose in entry.trajectory.poses
            if scenario.start_ns <= pose.timestamp_us * 1000 <= scenario.end_ns
        ]
        if not poses:
            continue
        times = np.array([pose.timestamp_us * 1000 for pose in poses], dtype=np.int64)
        theirs = np.array([[p.pose.vec.x, p.pose.vec.y, p.pose.vec.z] for p in poses])
        gaps = scenario.ego.at(times)[:, :3, 3] - theirs
        if float(np.median(np.linalg.norm(gaps, axis=1))) < _SAME_PLACE_M:
            return True
    return False
