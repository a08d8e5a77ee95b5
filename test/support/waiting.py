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
"""The one way in which tests wait: for something to be so, and not for time to pass."""

from __future__ import annotations

from collections.abc import Callable
import time
from typing import TypeVar

Found = TypeVar('Found')

# As long as a machine that does much else may take for anything.
PATIENCE_S = 300.0
LOOK_S = 0.02


def _sleep() -> None:
    time.sleep(LOOK_S)


def until(
    condition: Callable[[], Found | None],
    what: object = 'what was waited for',
    *,
    meanwhile: Callable[[], object] = _sleep,
    patience_s: float = PATIENCE_S,
) -> Found:
    """
    Return what `condition` returns once that is true, and fail after a while.

    `meanwhile` is done between two looks, spinning an executor, say. `what` is named where it
    does not come; a function is called for it then.
    """
    deadline = time.monotonic() + patience_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            name = what() if callable(what) else what
            raise AssertionError(f'{name} did not come within {patience_s:g} s')
        meanwhile()
