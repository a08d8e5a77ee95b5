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
"""The stages below gRPC: what the server's name means, and whether anything listens there."""

from __future__ import annotations

import errno
import socket
import threading
import time
from typing import Any

from nurec_ros.errors import ConfigurationError
from nurec_ros.probe.report import FAIL, NOTE, PASS, Stage
from nurec_ros.rendering.address import Endpoint, endpoints

PORT_OF_CONTAINERS = 46435
# A listener answers within a round trip; only packets that a firewall drops take longer.
_CONNECT_TIMEOUT_S = 3.0

NOT_RUNNING = (
    'is the NuRec container running and is its port published (docker run -p or --network host)? '
    'it needs 10-30 s after a restart; inside a container the server must listen on 0.0.0.0'
)


def resolve(server: str, timeout_s: float) -> tuple[Stage, list[tuple[Endpoint, list[str]]]]:
    """Give the stage, and each address typed with the numbers that it stands for."""
    began = time.perf_counter()
    try:
        typed = endpoints(server)
    except ConfigurationError as error:
        remedy = f'type HOST:PORT; NuRec containers publish {PORT_OF_CONTAINERS}'
        return Stage('resolve', FAIL, str(error), remedy), []
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


def _look_up(endpoint: Endpoint, timeout_s: float) -> list[Any]:
    """Look the name up in a thread, because the resolver knows no time limit."""
    found: list[Any] = []
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
                _try_tcp(number, endpoint.port, min(timeout_s, _CONNECT_TIMEOUT_S))
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


def _try_tcp(number: str, port: int, timeout_s: float) -> None:
    with socket.create_connection((number, port), timeout=timeout_s):
        pass


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
