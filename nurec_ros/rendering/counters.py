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
"""Counters, latencies and the errors that still matter; bounded, and without locks of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
import time

from nurec_ros.errors import RenderError
from nurec_ros.rendering.frames import CameraStatus
from nurec_ros.rendering.policy import RECONNECT

LATENCIES_KEPT = 200
# An error that went away is shown for as long, so that somebody who looks once a second sees it.
ERROR_SHOWN_S = 10.0


@dataclass(slots=True)
class Counters:
    """How many frames; what was asked is received, dropped, failed or still on its way."""

    asked: int = 0
    received: int = 0
    dropped: int = 0
    failed: int = 0


@dataclass(slots=True)
class _Camera(Counters):
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))
    error: RenderError | None = None


class Statistics:
    """The numbers of all cameras of one pipeline."""

    def __init__(self, cameras: Iterable[str], now: Callable[[], float] = time.monotonic) -> None:
        self._cameras = {name: _Camera() for name in cameras}
        self._now = now
        self._last: tuple[RenderError, str, float] | None = None

    def asked(self, camera: str) -> None:
        self._of(camera).asked += 1

    def received(self, camera: str, latency_s: float) -> None:
        one = self._of(camera)
        one.received += 1
        one.latencies.append(latency_s)
        one.error = None

    def dropped(self, camera: str) -> None:
        self._of(camera).dropped += 1

    def failed(self, camera: str, error: RenderError) -> None:
        one = self._of(camera)
        one.failed += 1
        one.error = error
        self._last = error, camera, self._now()

    def camera(self, camera: str) -> CameraStatus:
        """Give a camera's numbers; zeros for a name that was never asked for."""
        one = self._cameras.get(camera, _Camera())
        ordered = sorted(one.latencies)
        return CameraStatus(
            asked=one.asked,
            received=one.received,
            dropped=one.dropped,
            failed=one.failed,
            latency_p50_s=percentile(ordered, 0.50),
            latency_p95_s=percentile(ordered, 0.95),
            last_error=problem_of(one.error),
            remedy=remedy_of(one.error),
        )

    def totals(self) -> Counters:
        cameras = self._cameras.values()
        return Counters(
            asked=sum(one.asked for one in cameras),
            received=sum(one.received for one in cameras),
            dropped=sum(one.dropped for one in cameras),
            failed=sum(one.failed for one in cameras),
        )

    def current_error(self) -> RenderError | None:
        """Give the last frame's error while its camera still fails, or it is a few seconds old."""
        if self._last is None:
            return None
        error, camera, at = self._last
        if self._of(camera).error is not None:
            return error
        # Whether the server can be reached is the connection's to tell, and it can again.
        away = getattr(error, 'action', '') == RECONNECT
        return error if not away and self._now() - at < ERROR_SHOWN_S else None

    def _of(self, camera: str) -> _Camera:
        return self._cameras.setdefault(camera, _Camera())


def percentile(ordered: list[float], fraction: float) -> float:
    """Give the nearest-rank percentile of ascending values; 0 without any."""
    if not ordered:
        return 0.0
    return ordered[min(int(fraction * len(ordered)), len(ordered) - 1)]


def problem_of(error: RenderError | None) -> str:
    """Give what went wrong, without the remedy where that stands apart."""
    return '' if error is None else getattr(error, 'problem', str(error))


def remedy_of(error: RenderError | None) -> str:
    """Give what to do about it, where that is known."""
    return getattr(error, 'remedy', '')
