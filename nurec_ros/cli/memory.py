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
"""Keep freed memory for the next picture, where glibc would hand it back to the kernel."""

from __future__ import annotations

import ctypes
import os
import sys

# mallopt's numbers, from malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

_KEPT_BYTES = 128 << 20
# The largest that glibc takes; a raw 4K picture is 25 MB.
_LARGEST_BYTES = 32 << 20
# Each thread has an arena of its own otherwise, each arena keeps that much, and each scenario has
# threads of its own: a player that loads again and again grew to half a gigabyte.
_ARENAS = 2


def keep_freed_memory() -> bool:
    """
    Let glibc keep up to 128 MB of freed memory, in two arenas; return whether it does.

    Several threads that decode and publish raw pictures allocate and free tens of megabytes for
    each. By default glibc returns them at once, and a raw 1080p frame then costs 3000 page faults
    and twice the CPU time. What the user set for malloc by the environment stays.
    """
    by_user = 'GLIBC_TUNABLES' in os.environ or any(
        name.startswith('MALLOC_') for name in os.environ
    )
    if by_user or not sys.platform.startswith('linux'):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library, such as musl
        return False
    kept = mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES) and mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES)
    return bool(kept and mallopt(_M_ARENA_MAX, _ARENAS))
