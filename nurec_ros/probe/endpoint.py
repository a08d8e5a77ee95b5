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
"""The stages that ask who is there and what it has: from name and port to scenes and cameras."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import errno
import socket
import threading
import time
from types import MappingProxyType
from typing import TypeAlias

import grpc
import numpy as np
from nurec_ros.errors import ConfigurationError
from nurec_ros.probe.answers import Calls, FAIL, failure, NOTE, PASS, Stage
from nurec_ros.probe.verdicts import compare
from nurec_ros.rendering.address import Endpoint, endpoints
from nurec_ros.rendering.channel import ANY_SCENE, choose_scene, version_text
from nurec_ros.rendering.policy import SERVICE_PREFIXES
from nurec_ros.rendering.protos import health_pb2, sensorsim_pb2
from nurec_ros.rendering.server_errors import BLOCKED, ServerError, STARTING
from nurec_ros.scenario import Scenario

# One of those that getaddrinfo returns; the last is (address, port), and more for IPv6.
AddressInfo: TypeAlias = tuple[int, int, int, str, tuple[object, ...]]

HEALTH_SERVICE = 'grpc.health.v1.Health'
# A listener answers within a round trip; only packets that a firewall drops take longer.
_CONNECT_TIMEOUT_S = 3.0
_SAME_PLACE_M = 1.0

NOT_RUNNING = (
    'is the NuRec container running and is its port published (docker run -p or --network host)? '
    'it needs 10-30 s after a restart; inside a container the server must listen on 0.0.0.0'
)
_TYPE_ADDRESS = 'type HOST:PORT; NuRec containers publish 46435'
_NO_GRPC = (
    'something listens there that does not speak gRPC: is it the port of serve-grpc (not of a web '
    'interface, of metrics or of --health-port)? does a proxy want TLS (tls_root_certificate)? A '
    'port that docker publishes is open before the server in the container is up (10-30 s)'
)
_PROXY = (
    'is the server reached by that proxy, and does it let CONNECT to its port through? leave out '
    '--use-proxy (parameter use_proxy), or name the server in no_proxy'
)
_OTHER_SCENE = (
    'start the server with --artifact-glob for this archive, or give the probe and the player the '
    'archive that the server has'
)


def resolve_stage(server: str, timeout_s: float) -> tuple[Stage, list[tuple[Endpoint, list[str]]]]:
    """Return the stage, and each address typed with the numbers that it stands for."""
    began = time.perf_counter()
    try:
        typed = endpoints(server)
    except ConfigurationError as error:
        return Stage('resolve', FAIL, str(error), _TYPE_ADDRESS), []
    if not typed:
        return Stage('resolve', NOTE, f"{server} is gRPC's own syntax, left to gRPC"), []
    resolved = []
    for endpoint in typed:
        try:
            found = _look_up(endpoint, timeout_s)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, 'strerror', None) or error
            remedy = (
                f'check the spelling of {endpoint.host}, or type its number; between containers '
                "a name is the service's name on a network that both are in"
            )
            message = f'{endpoint.host} is unknown: {reason}'
            return Stage('resolve', FAIL, message, remedy), []
        numbers = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        resolved.append((endpoint, numbers))
    message = '; '.join(
        endpoint.host if names == [endpoint.host] else f'{endpoint.host} is {", ".join(names)}'
        for endpoint, names in resolved
    )
    latency = time.perf_counter() - began
    details = {'addresses': {str(endpoint): numbers for endpoint, numbers in resolved}}
    return Stage('resolve', PASS, message, latency_s=latency, details=details), resolved


def _look_up(endpoint: Endpoint, timeout_s: float) -> list[AddressInfo]:
    """Look the name up in a thread, because the resolver knows no time limit."""
    found: list[AddressInfo] = []
    errors: list[OSError | UnicodeError] = []

    def look_up() -> None:
        try:
            found.extend(socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            errors.append(error)

    thread = threading.Thread(target=look_up, name='probe-resolve', daemon=True)
    thread.start()
    thread.join(timeout_s)
    if errors:
        raise errors[0]
    if not found:
        raise TimeoutError(errno.ETIMEDOUT, f'the name service is silent for {timeout_s:g} s')
    return found


def connect(resolved: list[tuple[Endpoint, list[str]]], timeout_s: float) -> tuple[Stage, bool]:
    """
    Open and close a TCP connection to each address; one number of each has to answer.

    Also tells whether any address did.
    """
    answered, slowest = [], 0.0
    unreachable = None
    for endpoint, numbers in resolved:
        failures = []
        for number in numbers:
            began = time.perf_counter()
            try:
                place, limit_s = (number, endpoint.port), min(timeout_s, _CONNECT_TIMEOUT_S)
                socket.create_connection(place, timeout=limit_s).close()
            except OSError as error:
                failures.append((number, error))
                continue
            slowest = max(slowest, time.perf_counter() - began)
            answered.append(f'{number} port {endpoint.port}')
            break
        else:
            unreachable = unreachable or _unreachable(endpoint, failures)
    if unreachable is not None:
        return unreachable, bool(answered)
    message = f'{", ".join(answered)} accepts connections'
    return Stage('tcp', PASS, message, latency_s=slowest), True


def _unreachable(endpoint: Endpoint, failures: list[tuple[str, OSError]]) -> Stage:
    reasons = '; '.join(
        f'{number}: {"no answer" if _silent(error) else error.strerror or error}'
        for number, error in failures
    )
    remedy = NOT_RUNNING
    if all(_silent(error) for _, error in failures):
        remedy = (
            f'packets to {endpoint} are lost: check address, firewall and VPN, and that the '
            'machine is on'
        )
    return Stage('tcp', FAIL, f'cannot reach {endpoint}: {reasons}', remedy)


def _silent(error: OSError) -> bool:
    return isinstance(error, TimeoutError) or error.errno in (
        errno.ETIMEDOUT,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
    )


def silent_socket(server: str) -> tuple[str, str] | None:
    """Return problem and remedy of a Unix socket that no connection stands on, None for others."""
    if not server.startswith('unix'):
        return None
    return (
        f'no gRPC server answers on the socket {server}',
        'is the server running, and may this user open its socket? expected unix:/absolute/path',
    )


def channel_stage(
    channel: grpc.Channel,
    timeout_s: float,
    explain: Callable[[], tuple[str, str] | None] = lambda: None,
    proxies: Mapping[str, str] = MappingProxyType({}),
    *,
    use_proxy: bool = False,
) -> Stage:
    """
    Wait until the HTTP/2 connection stands; `explain` may know problem and remedy if not.

    proxies: what of the environment gRPC would obey; use_proxy: whether it is asked to.
    """
    named = ' '.join(f'{name}={value}' for name, value in proxies.items())
    details = {'proxies': dict(proxies), 'use_proxy': use_proxy}
    ready = grpc.channel_ready_future(channel)
    try:
        ready.result(timeout=timeout_s)
    except grpc.FutureTimeoutError:
        if use_proxy and proxies:
            message = f'no gRPC connection stands through {named} after {timeout_s:g} s'
            return Stage('channel', FAIL, message, _PROXY, details=details)
        message = f'no gRPC connection stands after {timeout_s:g} s'
        problem, remedy = explain() or (f'the port is open, but {message}', _NO_GRPC)
        return Stage('channel', FAIL, problem, remedy, details=details)
    finally:
        ready.cancel()
    message = 'gRPC connection stands'
    if proxies:
        how = 'through' if use_proxy else 'past'
        unasked = '' if use_proxy else ', which is not obeyed unasked (--use-proxy)'
        message += f', {how} {named}{unasked}'
    return Stage('channel', PASS, message, details=details)


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


def scenes_stage(
    calls: Calls, scenario: Scenario, wanted: str, scene_url: str = ''
) -> tuple[Stage, str]:
    """
    Look for our scene among the server's; return the name to ask with too, '' where none fits.

    scene_url: where the server loads it from, if need be.
    """
    answer = calls.ask('scenes', 'get_available_scenes')
    if answer.error is not None:
        return failure('scenes', answer), ''
    scenes = tuple(answer.reply.scene_ids)
    details: dict[str, object] = {'scenes': list(scenes)}
    if scene_url:
        ours = wanted or scenario.scene_id
        message = f'{ours} is loaded from {scene_url}'
        return Stage('scenes', PASS, message, '', answer.latency_s, details), ours
    try:
        chosen = choose_scene(scenario, scenes, wanted)
    except ServerError as error:
        stage = Stage('scenes', FAIL, error.problem, error.remedy, answer.latency_s, details)
        return stage, ''
    calls.context = {'scene_id': chosen, 'scenes': ', '.join(sorted(scenes))}
    message = f'{chosen} is one of {len(scenes)}' if len(scenes) > 1 else f'{chosen} is there'
    if ANY_SCENE in scenes:
        message = f'the server takes any scene ({ANY_SCENE}); {chosen} is asked for'
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
        ours = scenario.ego.at(times)[:, :3, 3]
        if float(np.median(np.linalg.norm(ours - theirs, axis=1))) < _SAME_PLACE_M:
            return True
    return False


def cameras_stage(
    calls: Calls,
    scenario: Scenario,
    scene_id: str,
    names: Sequence[str],
    problems: Mapping[str, str],
) -> Stage:
    """Ask the server for its cameras and compare those of some names to the archive's."""
    request = sensorsim_pb2.AvailableCamerasRequest(scene_id=scene_id)
    answer = calls.ask('cameras', 'get_available_cameras', request)
    if answer.unknown_method:
        message = 'no get_available_cameras: the calibrations cannot be compared'
        return Stage('cameras', NOTE, message, '', answer.latency_s)
    if answer.error is not None:
        return failure('cameras', answer)
    listed = {camera.logical_id: camera for camera in answer.reply.available_cameras}
    ours = {name: scenario.cameras[name] for name in names}
    return compare(ours, listed, unasked=tuple(scenario.cameras), problems=problems)
