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
"""
Where and how to connect: from what a user types as `server` to what gRPC takes, and TLS.

Why a server and a client cannot agree on TLS gRPC does not tell: it is asked of the server itself,
below gRPC.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
import ipaddress
import math
from pathlib import Path
import re
import socket
import ssl
import time

from nurec_ros.errors import ConfigurationError
from nurec_ros.rendering import policy
from nurec_ros.rendering.server_errors import RECONNECT, ServerError

# What gRPC takes as a list of addresses already.
_RESOLVED = ('ipv4:', 'ipv6:')
# What begins like this is gRPC's own way to name a target, and left to it.
_SCHEMES = (*_RESOLVED, 'dns:', 'unix:', 'unix-abstract:', 'vsock:', 'xds:')
_ADDRESS = re.compile(r'(?:\[(?P<six>[^\[\]]+)\]|(?P<host>[^\s:/\[\]@?#]+)):(?P<port>[0-9]{1,5})')
_IPV4 = re.compile(r'[0-9]{1,3}(\.[0-9]{1,3}){3}(:[0-9]{1,5})?')
_EXPECTED = (
    'expected HOST:PORT with a port of 1 to 65535, such as localhost:46435 or [::1]:46435, or '
    'several of them with commas between'
)

# Of a look at TLS below gRPC, for each step of it.
TIMEOUT_S = 3.0

_PLAINTEXT = (
    'NuRec servers speak plaintext unless a proxy adds TLS: leave tls_root_certificate empty, or '
    'type the address of the proxy'
)
_WANTS_TLS = 'give tls_root_certificate: the PEM file of the root that signed its certificate'
_OTHER_NAME = 'type a name that is in the certificate of the server, not another name or number'
_OTHER_ROOT = 'tls_root_certificate must be the root that signed the certificate of this server'
# Where TLS is the trouble, gRPC says one of these: a socket that closes, a handshake, no HTTP/2.
_KINDS = ('unreachable', 'tls', 'foreign')
_SILENT = re.compile(r'(?i)timed? ?out|no route|unreachable')


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address: a host's name or number, and the port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f'[{self.host}]:{self.port}' if ':' in self.host else f'{self.host}:{self.port}'


@dataclass(frozen=True, slots=True)
class Target:
    """
    Where to connect.

    address: gRPC's target. servers: how many addresses it names. host: the host name that a
    certificate must carry where the target does not show it, else empty. notes: what was left
    out, one sentence each.
    """

    address: str
    servers: int = 1
    host: str = ''
    notes: tuple[str, ...] = ()


def addresses(server: str) -> list[str]:
    """
    Split what was typed; ConfigurationError for an entry that is not HOST:PORT.

    One target in gRPC's own words (dns:, ipv4:, ipv6:, unix:, …) is taken as it is, and so is
    a list that gRPC resolved, as ipv4:1.2.3.4:5,1.2.3.4:6.
    """
    typed = [part.strip() for part in server.split(',') if part.strip()]
    if not typed:
        raise ConfigurationError(f'server is {server!r}, {_EXPECTED}')
    if not typed[0].startswith(_SCHEMES if len(typed) == 1 else _RESOLVED):
        for part in typed:
            _endpoint(part)
    elif typed[0].startswith('ipv4:'):
        # gRPC would only say that the target is not valid, and at the first call.
        for part in typed:
            if not _IPV4.fullmatch(part.removeprefix('ipv4:')):
                raise ConfigurationError(
                    f'server holds {part!r}, expected numbers such as ipv4:10.0.0.1:46435,'
                    '10.0.0.2:46435; leave ipv4: away for host names'
                )
    return typed


def endpoints(server: str) -> list[Endpoint]:
    """
    Return the addresses in what was typed; ConfigurationError like `addresses`.

    Empty for a target in gRPC's own words, but for lists of numbers (ipv4:, ipv6:).
    """
    typed = addresses(server)
    if not typed[0].startswith(_SCHEMES):
        return [_endpoint(part) for part in typed]
    scheme = next((name for name in _RESOLVED if typed[0].startswith(name)), None)
    if scheme is None:
        return []
    try:
        return [_endpoint(part.removeprefix(scheme)) for part in typed]
    except ConfigurationError:
        return []  # gRPC takes more there than is written here, as a number without a port


def look_up(host: str, port: int) -> list[tuple[int, str]]:
    """Resolve a host to (address family, address) pairs; OSError if it has none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, str(sockaddr[0])) for family, _, _, _, sockaddr in found]


def resolve(server: str) -> Target:
    """
    Return the target of what was typed; a list is resolved here and now, all addresses of each.

    gRPC balances over an `ipv4:` or an `ipv6:` list, never over both, nor over host names:
    `ipv6:` is used where there is no IPv4 at all. ServerError if nothing of a list resolves.
    """
    typed = addresses(server)
    if len(typed) == 1 or typed[0].startswith(_RESOLVED):
        return Target(','.join(typed), len(typed))
    by_family: dict[int, dict[str, str]] = {socket.AF_INET: {}, socket.AF_INET6: {}}
    alike: dict[str, str] = {}
    notes = []
    for part in typed:
        endpoint = _endpoint(part)
        port = endpoint.port
        try:
            found = look_up(endpoint.host, port)
        except OSError as error:
            notes.append(f'server {part} is left out: {error.strerror or error}')
            continue
        for family, address in found:
            if family in by_family:
                number = address if family == socket.AF_INET else f'[{address}]'
                first = by_family[family].setdefault(f'{number}:{port}', part)
                alike.setdefault(part, first)
    family = socket.AF_INET if by_family[socket.AF_INET] else socket.AF_INET6
    chosen = by_family[family]
    if not chosen:
        raise ServerError(
            'name',
            f'none of {server} resolves ({"; ".join(notes)})',
            'are the host names in the parameter server spelled right?',
        )
    served = set(chosen.values())
    for part, first in alike.items():
        if part not in served and first in served:
            notes.append(f'server {part} is left out: it is the same address as {first}')
        elif part not in served:
            notes.append(f'server {part} is left out: it has no IPv4 address and others have')
    scheme = 'ipv4' if family == socket.AF_INET else 'ipv6'
    return Target(
        f'{scheme}:{",".join(chosen)}', len(chosen), _endpoint(typed[0]).host, tuple(notes)
    )


def places(server: str) -> list[tuple[str, str, int]]:
    """
    Return (host, number, port) of every address that a server stands for, as far as known here.

    Looks names up, which may take its time; those that have no number are left out.
    """
    found: list[tuple[str, str, int]] = []
    for endpoint in endpoints(server):
        try:
            numbers = look_up(endpoint.host, endpoint.port)
        except OSError:
            continue
        found += [(endpoint.host, number, endpoint.port) for _, number in numbers]
    return list(dict.fromkeys(found))


def check_proxy(server: str, use_proxy: bool) -> None:
    """Raise ConfigurationError for a list of servers through a proxy, which gRPC cannot do."""
    if use_proxy and len(addresses(server)) > 1:
        raise ConfigurationError(
            f'use_proxy is true and server is {server!r}; expected one address, for gRPC asks a '
            'proxy for one server only'
        )


def _endpoint(part: str) -> Endpoint:
    found = _ADDRESS.fullmatch(part)
    if found is None or not 0 < int(found['port']) < 65536:
        raise ConfigurationError(f'server is {part!r}, {_EXPECTED}')
    if found['six'] is not None:
        try:
            ipaddress.IPv6Address(found['six'])
        except ValueError as error:
            raise ConfigurationError(f'server is {part!r}, {_EXPECTED}: {error}') from error
    return Endpoint(found['six'] or found['host'], int(found['port']))


# --- TLS -----------------------------------------------------------------------------------------


def root_certificate(path: str) -> bytes | None:
    """
    Read the file `tls_root_certificate`; None where it is empty, for plaintext.

    ConfigurationError if it cannot be used.
    """
    if not path:
        return None
    try:
        certificate = Path(path).expanduser().read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f'tls_root_certificate {path} cannot be read: {error.strerror}'
        ) from error
    try:
        _context(certificate)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigurationError(
            f'tls_root_certificate {path} holds no certificate in PEM format'
        ) from error
    return certificate


def fault_among(
    places: Iterable[tuple[str, str, int]], certificate: bytes | None, timeout_s: float
) -> tuple[str, str] | None:
    """Return the first fault of (host, number, port) addresses, in `timeout_s` for all of them."""
    until = time.monotonic() + timeout_s
    for host, number, port in places:
        left_s = until - time.monotonic()
        found = fault(host, number, port, certificate, left_s) if left_s > 0.0 else None
        if found:
            return found
    return None


def fault(
    host: str, number: str, port: int, certificate: bytes | None, timeout_s: float
) -> tuple[str, str] | None:
    """
    Shake hands in TLS with an address that gRPC cannot connect to; None if that explains nothing.

    host: the name that the certificate must carry; number: where it was found to be. Connecting
    and shaking hands may each take `timeout_s`, and at most TIMEOUT_S. Returns the problem and its
    remedy.
    """
    try:
        plain = socket.create_connection((number, port), timeout=min(timeout_s, TIMEOUT_S))
    except OSError:
        return None  # nobody there: no matter of TLS
    try:
        with plain, _context(certificate).wrap_socket(plain, server_hostname=host):
            pass
    except ssl.SSLCertVerificationError as error:
        problem = f'the certificate of the server is refused: {error.verify_message.rstrip(".")}'
        # OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH.
        remedy = _OTHER_NAME if error.verify_code in (62, 64) else _OTHER_ROOT
        return problem, remedy
    except TimeoutError:
        return None
    except (ssl.SSLError, OSError):
        if certificate is None:
            return None
        return 'a TLS certificate is given, but the server does not speak TLS', _PLAINTEXT
    if certificate is None:
        return 'the server speaks TLS, and no certificate is given', _WANTS_TLS
    return None


class TlsCheck:
    """
    Looks below gRPC, now and then, whether client and server agree on TLS.

    Used by one thread alone, which it holds for a few seconds at most. by_proxy: nobody but gRPC
    gets to the server.
    """

    def __init__(self, server: str, certificate: bytes | None, by_proxy: bool = False) -> None:
        self._server = server
        self._certificate = certificate
        self._by_proxy = by_proxy
        self._looked = -math.inf
        self._found: ServerError | None = None

    def forget(self) -> None:
        """Look anew at the next failure: it worked in between."""
        self._looked, self._found = -math.inf, None

    def explain(self, error: ServerError) -> ServerError:
        """Return the error with its true cause, if that is a matter of TLS; else the same."""
        if error.kind not in _KINDS or self._by_proxy:
            return error
        if _SILENT.search(str(error.__cause__)):  # a look would only wait as well
            return error
        if time.monotonic() - self._looked >= policy.HANDSHAKE_EVERY_S:
            fault = fault_among(places(self._server), self._certificate, policy.HANDSHAKE_S)
            self._looked = time.monotonic()
            self._found = fault and ServerError(
                'tls',
                f'cannot agree on TLS with {self._server}: {fault[0]}',
                fault[1],
                RECONNECT,
            )
        return self._found or error


def _context(certificate: bytes | None) -> ssl.SSLContext:
    """Return a context that trusts this certificate alone, or anything without one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(['h2'])
    if certificate is None:
        # Nothing is sent: the only question is whether TLS is spoken at all.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        text = certificate.decode('latin-1').encode('ascii', 'replace').decode('ascii')
        context.load_verify_locations(cadata=text)
    return context
