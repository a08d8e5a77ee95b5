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
TCP ports that no other test run on this machine uses, not even while their server is away.

A port that the system picks lies among those that outgoing connections take, too: between a
server's end and its next start anybody may get it.
"""

from __future__ import annotations

from functools import cache
from itertools import cycle
import socket
from test.support.domain import locked

# Below Linux's ephemeral ports (32768 and up) and clear of NuRec's own 46435.
FIRST, BLOCK, BLOCKS = 20_000, 100, 100


@cache
def _ports() -> cycle[int]:
    for block in range(BLOCKS):
        if locked(f'ports_{block}'):
            first = FIRST + BLOCK * block
            return cycle(range(first, first + BLOCK))
    raise RuntimeError(f'all {BLOCKS} blocks of test ports are in use')


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(('127.0.0.1', port))
        except OSError:
            return False
    return True


def claim_port() -> int:
    """Return a free port of this process's block; each other one comes before it comes again."""
    for _ in range(BLOCK):
        port = next(_ports())
        if _free(port):
            return port
    raise RuntimeError(f'all {BLOCK} ports of this test run are in use')
