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
"""What a RenderPipeline takes, delivers and tells; and the counters behind it, without locks."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
import time
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from nurec_ros.errors import RenderError
from nurec_ros.rendering.server_errors import problem_of, RECONNECT, remedy_of

LATENCIES_KEPT = 200
# What was asked is one of the others, or still on its way.
COUNTED = ('asked', 'received', 'dropped', 'failed')
# An error that went away is shown for as long, so that somebody who looks once a second sees it.
ERROR_SHOWN_S = 10.0
# A first frame of a server that has nothing to compile comes sooner.
LONG_S = 1.0


class DueFrame(Protocol):
    """A frame to render: the sensor's logical name and the frame time, as playback gives them."""

    @property
    def name(self) -> str: ...

    @property
    def t_ns(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Frame:
    """
    A rendered picture as it came.

    t_ns: the frame time that was asked for. encoding: 'jpeg', 'png', or 'rgb8' for the planes R,
    G, B one after the other. width and height: of the picture that came. latency_s: from sending
    the request to the reply.
    """

    camera: str
    t_ns: int
    data: bytes
    encoding: str
    width: int
    height: int
    latency_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Cloud:
    """
    The points of one spin of a lidar, as they came.

    t_ns: the end of the spin, which was asked for. points (N, 3) and intensities (N,): read-only
    float32, metres in the sensor's frame of that moment, and 0 to 1. latency_s: as of a Frame.
    """

    lidar: str
    t_ns: int
    points: NDArray[np.float32]
    intensities: NDArray[np.float32]
    latency_s: float


@dataclass(frozen=True, slots=True)
class Failure:
    """A frame or spin that could not be had, and why; `error` says what to do about it."""

    camera: str
    t_ns: int
    error: RenderError


@dataclass(frozen=True, slots=True)
class RendererStatus:
    """
    What is known about the render server now, for diagnostics.

    connected: it answers and its service was found. batch: None until it is known whether the
    server has batch_render_rgb. tracks_refused: it takes no poses of other road users. last_error
    and remedy: what is wrong now or went wrong in the last seconds, else empty. asked, received,
    dropped, failed: totals over all cameras. scene_note: why the pictures may show another drive,
    empty where the scene has the scenario's name or was chosen by the user. down_for_s: how long
    there has been no server, 0 while there is one. waiting_for_first_frame_s: how long the scene's
    first frame has been out, which servers compile their kernels for, 0 when it came or none is
    asked for; first_frame_limit_s: how long it may take. batch_note: why no batches are asked for
    of a server that has them, else empty.
    """

    connected: bool
    server: str
    service_prefix: str
    version: str
    scene_id: str
    scenes: tuple[str, ...]
    batch: bool | None
    tracks_refused: bool
    last_error: str
    remedy: str
    in_flight: int
    asked: int
    received: int
    dropped: int
    failed: int
    scene_note: str = ''
    down_for_s: float = 0.0
    waiting_for_first_frame_s: float = 0.0
    first_frame_limit_s: float = 0.0
    batch_note: str = ''

    @property
    def waiting_note(self) -> str:
        """Return the sentence for a first frame that is waited for long; else empty."""
        waited_s = self.waiting_for_first_frame_s
        return '' if waited_s < LONG_S else first_frame_note(waited_s, self.first_frame_limit_s)


def first_frame_note(waited_s: float, limit_s: float) -> str:
    """Return the sentence for a first frame that is waited for, and why that may be right."""
    return (
        f'waiting {waited_s:.0f} s for the first frame: servers compile their kernels then, up to '
        f'a minute and more (given up after {limit_s:g} s)'
    )


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """
    The counters of one camera since the start, and its latencies over the last frames.

    asked = received + dropped + failed + those still on their way. The percentiles are 0 before
    the first frame. last_error is empty again after the next good frame.
    """

    asked: int
    received: int
    dropped: int
    failed: int
    latency_p50_s: float
    latency_p95_s: float
    last_error: str
    remedy: str


@dataclass(slots=True)
class _Camera:
    """How many frames were asked, received, dropped, failed; and what there is of the last."""

    counts: Counter[str] = field(default_factory=Counter)
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))
    error: RenderError | None = None


class Statistics:
    """The numbers of all cameras and lidars of one pipeline."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._cameras: dict[str, _Camera] = defaultdict(_Camera)
        self._now = now
        self._last: tuple[RenderError, str, float] | None = None

    def asked(self, camera: str) -> None:
        self._cameras[camera].counts['asked'] += 1

    def received(self, camera: str, latency_s: float) -> None:
        one = self._cameras[camera]
        one.counts['received'] += 1
        one.latencies.append(latency_s)
        one.error = None

    def dropped(self, camera: str) -> None:
        self._cameras[camera].counts['dropped'] += 1

    def failed(self, camera: str, error: RenderError) -> None:
        one = self._cameras[camera]
        one.counts['failed'] += 1
        one.error = error
        self._last = error, camera, self._now()

    def camera(self, camera: str) -> CameraStatus:
        """Return a camera's numbers; zeros for a name that was never asked for."""
        one = self._cameras[camera]
        ordered = sorted(one.latencies)
        return CameraStatus(
            **{name: one.counts[name] for name in COUNTED},
            latency_p50_s=percentile(ordered, 0.50),
            latency_p95_s=percentile(ordered, 0.95),
            last_error=problem_of(one.error),
            remedy=remedy_of(one.error),
        )

    def totals(self) -> dict[str, int]:
        """Return the sum of each count over all of them."""
        return {name: sum(one.counts[name] for one in self._cameras.values()) for name in COUNTED}

    def current_error(self) -> RenderError | None:
        """Return the last frame's error while its camera still fails, or it is seconds old."""
        if self._last is None:
            return None
        error, camera, at = self._last
        if self._cameras[camera].error is not None:
            return error
        # Whether the server can be reached is the connection's to tell, and it can again.
        away = getattr(error, 'action', '') == RECONNECT
        return error if not away and self._now() - at < ERROR_SHOWN_S else None


def percentile(ordered: list[float], fraction: float) -> float:
    """Return the nearest-rank percentile of ascending values; 0 without any."""
    if not ordered:
        return 0.0
    return ordered[min(int(fraction * len(ordered)), len(ordered) - 1)]
