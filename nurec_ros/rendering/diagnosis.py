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
"""What is behind a connection that does not stand, where gRPC's own words do not tell."""

from __future__ import annotations

import math
import re
import time

from nurec_ros.rendering import policy
from nurec_ros.rendering.handshake import fault_among
from nurec_ros.rendering.policy import ServerError
from nurec_ros.rendering.target import places

# Where TLS is the trouble, gRPC says one of these: a socket that closes, a handshake, no HTTP/2.
_KINDS = ('unreachable', 'tls', 'foreign')
_SILENT = re.compile(r'(?i)timed? ?out|no route|unreachable')


class Diagnosis:
    """
    Looks below gRPC, now and then, whether client and server agree on TLS.

    Of one thread alone, which it holds for a few seconds at most.
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
        """Give the error with its true cause, if that is a matter of TLS; else the same."""
        # Behind a proxy nobody but gRPC gets to the server.
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
                policy.RECONNECT,
            )
        return self._found or error
