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
"""Lines that the middleware writes into a process's output: nothing of them is the process's."""

from __future__ import annotations

import re

# "2026-11-28 14:03:12.345 [RTPS_TRANSPORT_SHM Error] Failed init_port fastrtps_port7411: …", which
# Fast DDS writes on a busy machine, in colours where it likes to.
_FAST_DDS = re.compile(r'^(?:\x1b\[[\d;]*m)*\d{4}-\d\d-\d\d \S+ (?:\x1b\[[\d;]*m)*\[[A-Z_]+ \w+\]')


def without_middleware(output: str) -> str:
    """Return the output without the lines of the middleware's own log."""
    return ''.join(line for line in output.splitlines(keepends=True) if not _FAST_DDS.match(line))
