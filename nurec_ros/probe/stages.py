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
"""The probe, from the first stage, which reaches for the server below gRPC, to the last."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
import errno
from pathlib import Path
import socket
import threading
import time

import grpc
from nurec_ros.probe.answers import (
    Calls,
    config_stage,
    FAIL,
    health_stage,
    NOTE,
    PASS,
    ProbeOptions,
    scenes_stage,
    service_stages,
    SKIP,
    Stage,
)
from nurec_ros.probe.renders import chosen_cameras, Folder, problems_of, Renders
from nurec_ros.probe.verdicts import cameras_stage
from nurec_ros.rendering.address import (
    addresses,
    check_proxy,
    Endpoint,
    endpoints,
    fault_among,
    look_up,
    resolve,
    root_certificate,
)
from nurec_ros.rendering.channel import open_channel, proxies_in_force, scene_metadata
from nurec_ros.rendering.policy import RenderOptions
from nurec_ros.scenario import Scenario
from nurec_ros.setting_values import chosen_names

STAGES = (
    *('resolve', 'tcp', 'channel', 'health', 'service', 'version', 'config', 'scenes', 'cameras'),
    *('render', 'batch', 'sizes', 'images', 'lidar'),
)
# A listener answers within a round trip; only packets that a firewall drops take longer.
_CONNECT_TIMEOUT_S = 3.0

NOT_RUNNING = (
    'is the NuRec container running and is its port published (docker run -p or --network host)? '
    'it needs 10-30 s after a restart; inside a container the server must listen on 0.0.0.0'
)
_NO_GRPC = (
    'something listens there that does not speak gRPC: is it the port of serve-grpc (not of a web '
    'interface, of metrics or of --health-port)? does a proxy want TLS (tls_root_certificate)? A '
    'port that docker publishes is open before the server in the container is up (10-30 s)'
)
_SOCKET = 'is the server running, and may this user open its socket? expected unix:/absolute/path'
_PROXY = (
    'is the server reached by that proxy, and does it let CONNECT to its port through? leave out '
    '--use-proxy (parameter use_proxy), or name the server in no_proxy'
)


@dataclass(frozen=True, slots=True)
class Report:
    """All stages in their order, the files of pictures and clouds, and the seconds it took."""

    stages: tuple[Stage, ...]
    pictures: tuple[Path, ...]
    clouds: tuple[Path, ...]
    elapsed_s: float

    @property
    def ok(self) -> bool:
        """Return whether nothing failed; what was skipped stands behind something that did."""
        return all(stage.status in (PASS, NOTE) for stage in self.stages)

    @property
    def summary(self) -> str:
        failed = dict.fromkeys(stage.name for stage in self.stages if stage.status == FAIL)
        return f'failed: {", ".join(failed)}' if failed else 'every stage passed'

    def to_json(self) -> dict[str, object]:
        return {
            'ok': self.ok,
            'summary': self.summary,
            'elapsed_s': round(self.elapsed_s, 3),
            'stages': [stage.to_json() for stage in self.stages],
            'pictures': [str(path) for path in self.pictures],
            'clouds': [str(path) for path in self.clouds],
        }


def run(
    scenario: Scenario,
    options: ProbeOptions,
    *,
    on_stage: Callable[[Stage], None] = lambda _: None,
    patience: Callable[[], None] = lambda: None,
) -> Report:
    """
    Probe the server for the scenario; `on_stage` gets each stage as soon as it is known.

    `patience` is called when the first frame takes long. Raise ConfigurationError for options
    that cannot be honoured and for files that cannot be written.
    """
    began = time.perf_counter()
    stages: list[Stage] = []

    def told(stage: Stage) -> None:
        stages.append(stage)
        on_stage(stage)

    probe = _Probe(scenario, options, patience)
    for stage in probe.stages():
        told(stage)
    # What ended the probe is the last failure: it went on after the others.
    cause = next((stage.name for stage in reversed(stages) if stage.status == FAIL), '')
    if cause:
        come_to = {stage.name for stage in stages}
        for name in probe.names:
            if name not in come_to:
                told(Stage(name, SKIP, f'not tried, because {cause} failed'))
    took_s = time.perf_counter() - began
    folder = probe.folder
    return Report(tuple(stages), tuple(folder.pictures), tuple(folder.clouds), took_s)


class _Probe:
    """One probe; its options are checked before anything is asked."""

    def __init__(
        self, scenario: Scenario, options: ProbeOptions, patience: Callable[[], None]
    ) -> None:
        self._scenario = scenario
        self._options = options
        self._patience = patience
        self._cameras = chosen_cameras(scenario, options.cameras)
        self._lidars = chosen_names(scenario.lidars, options.lidars, 'lidar')
        # The names of the stages that there are for this archive.
        self.names = STAGES if self._lidars else STAGES[:-1]
        addresses(options.server)
        check_proxy(options.server, options.use_proxy)
        self._metadata = scene_metadata(options.scene_url, options.scene_id or scenario.scene_id)
        # Refuses what cannot be honoured.
        RenderOptions(
            server=options.server,
            resolution_scale=options.scale,
            render_timeout_s=options.timeout_s,
            first_render_timeout_s=options.first_timeout_s,
        )
        self._certificate = root_certificate(options.tls_root_certificate)
        self.folder = Folder(options.output)

    def stages(self) -> Iterator[Stage]:
        """Yield the stages; end early where a failure leaves nothing to try."""
        options = self._options
        proxies = proxies_in_force()
        resolved: list[tuple[Endpoint, list[str]]] = []
        if options.use_proxy and proxies:
            for name in ('resolve', 'tcp'):
                yield Stage(name, NOTE, 'left to the proxy that the environment names')
        else:
            stage, resolved = resolve_stage(options.server, options.timeout_s)
            yield stage
            if stage.status == FAIL:
                return
            if resolved:
                stage, reachable = connect(resolved, options.timeout_s)
                yield stage
                if not reachable:
                    return
            else:
                yield Stage('tcp', NOTE, 'left to gRPC, as the address is')

        def explain() -> tuple[str, str] | None:
            if options.server.startswith('unix'):
                return f'no gRPC server answers on the socket {options.server}', _SOCKET
            places = [
                (endpoint.host, number, endpoint.port)
                for endpoint, numbers in resolved
                for number in numbers
            ]
            return fault_among(places, self._certificate, options.timeout_s)

        channel = open_channel(
            resolve(options.server), self._certificate, use_proxy=options.use_proxy
        )
        try:
            stage = channel_stage(channel, options, explain, proxies)
            yield stage
            if stage.status != FAIL:
                yield from self._server_stages(channel)
        finally:
            channel.close()

    def _server_stages(self, channel: grpc.Channel) -> Iterator[Stage]:
        options, scenario = self._options, self._scenario
        calls = Calls(channel, options, self._metadata)
        stage, silent = health_stage(calls)
        yield stage
        if silent:
            return
        yield from service_stages(calls, options.service_prefix)
        if not calls.prefix:
            return
        yield config_stage(calls)
        stage, scene_id = scenes_stage(calls, scenario, options)
        yield stage
        if not scene_id:
            return
        problems = {} if options.cameras else problems_of(scenario)
        yield cameras_stage(calls, scenario, scene_id, self._cameras, problems)
        renders = Renders(
            scenario, options, calls, scene_id, self._cameras, self.folder, self._patience
        )
        yield from renders.stages(self._lidars)


def resolve_stage(server: str, timeout_s: float) -> tuple[Stage, list[tuple[Endpoint, list[str]]]]:
    """Return the stage, and each address typed with the numbers that it stands for."""
    began = time.perf_counter()
    typed = endpoints(server)
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
        resolved.append((endpoint, list(dict.fromkeys(number for _, number in found))))
    message = '; '.join(
        endpoint.host if names == [endpoint.host] else f'{endpoint.host} is {", ".join(names)}'
        for endpoint, names in resolved
    )
    latency = time.perf_counter() - began
    details = {'addresses': {str(endpoint): numbers for endpoint, numbers in resolved}}
    return Stage('resolve', PASS, message, latency_s=latency, details=details), resolved


def _look_up(endpoint: Endpoint, timeout_s: float) -> list[tuple[int, str]]:
    """Look the name up in a thread, because the resolver knows no time limit."""
    found: list[tuple[int, str]] = []
    errors: list[OSError | UnicodeError] = []

    def ask() -> None:
        try:
            found.extend(look_up(endpoint.host, endpoint.port))
        except (OSError, UnicodeError) as error:
            errors.append(error)

    thread = threading.Thread(target=ask, name='probe-resolve', daemon=True)
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


def channel_stage(
    channel: grpc.Channel,
    options: ProbeOptions,
    explain: Callable[[], tuple[str, str] | None],
    proxies: Mapping[str, str],
) -> Stage:
    """
    Wait until the HTTP/2 connection stands; `explain` may know problem and remedy if not.

    proxies: what of the environment gRPC would obey.
    """
    use_proxy, timeout_s = options.use_proxy, options.timeouts.get('channel', options.timeout_s)
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
