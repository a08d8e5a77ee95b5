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
"""What a RenderPipeline takes, delivers and tells: plain records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from nurec_ros.errors import RenderError

# A first frame of a server that has nothing to compile comes sooner.
LONG_S = 1.0


class DueFrame(Protocol):
    """A frame to render: the camera's logical name and the frame time, as playback gives them."""

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


@dataclass(frozen=True, slots=True)
class Failure:
    """A frame that could not be had, and why; `error` says what to do about it."""

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
        """Say that the scene's first frame is waited for, once that takes long; else empty."""
        waited_s = self.waiting_for_first_frame_s
        return '' if waited_s < LONG_S else first_frame_note(waited_s, self.first_frame_limit_s)


def first_frame_note(waited_s: float, limit_s: float) -> str:
    """Say that a scene's first frame is waited for, and why that may be right."""
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
