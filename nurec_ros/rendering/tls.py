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
The root certificate, and why a server and a client cannot agree on TLS.

gRPC does not tell the latter: it is asked of the server itself, below gRPC.
"""

from __future__ import annotations

from collections.abc import Iterable
import math
from pathlib import Path
import re
import socket
import ssl
import time

from nurec_ros.errors import ConfigurationError
from nurec_ros.rendering import policy
from nurec_ros.rendering.address import places
from nurec_ros.rendering.render_options import RenderOptions
from nurec_ros.rendering.server_errors import RECONNECT, ServerError

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


def root_certificate(options: RenderOptions) -> bytes | None:
    """Read the root certificate; None for plaintext, ConfigurationError if it cannot be used."""
    path = options.tls_root_certificate
    if not path:
        return None
    try:
        certificate = Path(path).expanduser().read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f'tls_root_certificate {path} cannot be read: {error.strerror}'
        ) from error
    check_pem(certificate, path)
    return certificate


def check_pem(certificate: bytes, path: str) -> None:
    """Raise ConfigurationError unless the bytes of the file at `path` are PEM certificates."""
    try:
        _context(certificate)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigurationError(
            f'tls_root_certificate {path} holds no certificate in PEM format'
        ) from error


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
        # OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH, _EMAIL_MISMATCH and _IP_ADDRESS_MISMATCH.
        remedy = _OTHER_NAME if error.verify_code in (62, 63, 64) else _OTHER_ROOT
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
