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
"""A ROS domain that no other test run on this machine uses."""

from __future__ import annotations

import fcntl
from functools import cache
from pathlib import Path
import tempfile
from test.support.waiting import until
from typing import IO

# Domains from 102 on fall into Linux's ephemeral ports; the demo takes its own from 215 on.
DOMAINS = range(1, 102)

# The locks are this process's for its whole life.
_held: list[IO[str]] = []


def claim_domain() -> int:
    """Return a domain that is this process's until it ends; a fresh one at each call."""
    # Runs that are side by side may have them all between them for a while.
    return until(_claimed, f'a ROS domain of {DOMAINS[0]} to {DOMAINS[-1]} that is free')


@cache
def shared_domain() -> int:
    """Return the one domain of all tests of this process that claim none of their own."""
    return claim_domain()


def _claimed() -> int | None:
    return next((domain for domain in DOMAINS if locked(f'domain_{domain}')), None)


def locked(name: str) -> bool:
    """Return whether this process has a lock of that name on this machine now, until it ends."""
    lock = (Path(tempfile.gettempdir()) / f'nurec_ros_test_{name}.lock').open('w')
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return False
    _held.append(lock)
    return True
