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
"""The stages that ask the server what it is: channel, health, service, version, scenes."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import numpy as np
from nurec_ros.probe.calls import Answer, Calls, HEALTH_SERVICE
from nurec_ros.probe.report import FAIL, NOTE, PASS, Stage
from nurec_ros.rendering.errors import BLOCKED, ServerError, short, STARTING
from nurec_ros.rendering.policy import SERVICE_PREFIXES
from nurec_ros.rendering.protos import health_pb2, sensorsim_pb2
from nurec_ros.rendering.scenes import choose_scene, version_text
from nurec_ros.scenario import Scenario

_SAME_PLACE_M = 1.0

_NO_GRPC = (
    'something listens there that does not speak gRPC: is it the port of serve-grpc (not of a web '
    'interface, of metrics or of --health-port)? does a proxy want TLS (tls_root_certificate)? A '
    'port that docker publishes is open before the server in the container is up (10-30 s)'
)
_DIED = (
    'its process ended or the network broke: the container'
    "'"
    's log tells which; start it again, '
    'with less memory in use (fewer cameras, a lower resolution_scale) if it was killed for that'
)
_OTHER_SCENE = (
    'start the server with --artifact-glob for this archive, or give the probe and the player the '
    'archive that the server has'
)


def failure(name: str, answer: Answer) -> Stage:
    """Give the failed stage of an answer that is an error."""
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


def channel_stage(
    channel: grpc.Channel,
    timeout_s: float,
    explain: Callable[[], tuple[str, str] | None] = lambda: None,
) -> Stage:
    """Wait until the HTTP/2 connection stands; `explain` may know problem and remedy if not."""
    ready = grpc.channel_ready_future(channel)
    try:
        ready.result(timeout=timeout_s)
    except grpc.FutureTimeoutError:
        message = f'the port is open, but no gRPC connection stands after {timeout_s:g} s'
        return Stage('channel', FAIL, *(explain() or (message, _NO_GRPC)))
    finally:
        ready.cancel()
    return Stage('channel', PASS, 'gRPC connection stands')


def health_stage(calls: Calls) -> tuple[Stage, bool]:
    """
    Ask the standard health service; servers of 2025 do not have it.

    Also tells whether the server is silent, so that nothing else would be answered either.
    """
    answer = calls.ask('Check', health_pb2.HealthCheckRequest(), prefix=HEALTH_SERVICE)
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
    """Find the name of the service by asking for the version; sets it in `calls`."""
    names = (wanted,) if wanted else SERVICE_PREFIXES
    for name in names:
        answer = calls.ask('get_version', prefix=name)
        if answer.unknown_method:
            continue
        if answer.error is not None:
            return [failure('service', answer)]
        calls.prefix = name
        renamed = wanted == '' and name != SERVICE_PREFIXES[0]
        version = version_text(answer.reply)
        return [
            Stage(
                'service',
                PASS,
                f'{name}{" (renamed)" if renamed else ""}',
                details={'service_prefix': name},
            ),
            Stage(
                'version',
                PASS,
                version,
                latency_s=answer.latency_s,
                details={'version': version, 'git_hash': answer.reply.git_hash},
            ),
        ]
    message = f'the server has none of {", ".join(names)}'
    remedy = (
        'is it a NuRec render server, and its gRPC port? if so, set service_prefix to the name '
        f'of its service (grpcurl -plaintext {calls.server} list)'
    )
    return [Stage('service', FAIL, message, remedy)]


def config_stage(calls: Calls) -> Stage:
    """Ask how the server runs; servers before 26.02 cannot say."""
    answer = calls.ask('get_server_config')
    if answer.unknown_method:
        message = 'no get_server_config, as with servers before 26.02'
        return Stage('config', NOTE, message, latency_s=answer.latency_s)
    if answer.error is not None:
        return failure('config', answer)
    config = dict(sorted(answer.reply.server_config.items()))
    message = ', '.join(f'{key}={value}' for key, value in config.items()) or 'empty'
    details = {'config': config}
    return Stage('config', PASS, message, latency_s=answer.latency_s, details=details)


def scenes_stage(calls: Calls, scenario: Scenario, wanted: str) -> tuple[Stage, str]:
    """Look for our scene among the server's; gives the name to ask with, '' where none fits."""
    answer = calls.ask('get_available_scenes')
    if answer.error is not None:
        return failure('scenes', answer), ''
    scenes = tuple(answer.reply.scene_ids)
    details = {'scenes': list(scenes)}
    try:
        chosen = choose_scene(scenario, scenes, wanted)
    except ServerError as error:
        stage = Stage('scenes', FAIL, error.problem, error.remedy, answer.latency_s, details)
        return stage, ''
    calls.context = {'scene_id': chosen, 'scenes': ', '.join(sorted(scenes))}
    message = f'{chosen} is one of {len(scenes)}' if len(scenes) > 1 else f'{chosen} is there'
    if chosen in (wanted, scenario.scene_id, scenario.metadata_scene_id):
        return Stage('scenes', PASS, message, '', answer.latency_s, details), chosen
    # A server's only scene is taken under whatever name, if it is the same drive.
    if _same_drive(calls, scenario, chosen):
        message = f'{chosen} stands for {scenario.scene_id}: another name, the same drive'
        return Stage('scenes', NOTE, message, '', answer.latency_s, details), chosen
    message = f'the server has {chosen}, which is not the drive of {scenario.scene_id}'
    return Stage('scenes', FAIL, message, _OTHER_SCENE, answer.latency_s, details), ''


def _same_drive(calls: Calls, scenario: Scenario, scene_id: str) -> bool:
    request = sensorsim_pb2.AvailableTrajectoriesRequest(scene_id=scene_id)
    answer = calls.ask('get_available_trajectories', request)
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
        ours = scenario.ego.at(times)[:, :3, 3]
        if float(np.median(np.linalg.norm(ours - theirs, axis=1))) < _SAME_PLACE_M:
            return True
    return False
