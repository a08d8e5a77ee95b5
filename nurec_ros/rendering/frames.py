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
What a RenderPipeline takes, delivers and tells, and the counters behind it, without locks.

Of a reply: is it a whole image, of which kind and size, or a cloud that fits; and its pixels.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
import struct
import time
from typing import cast, Protocol, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from nurec_ros.errors import RenderError
from nurec_ros.rendering.protos import sensorsim_pb2
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
    first frame has been out, 0 when it came or none is asked for; first_frame_limit_s: how long it
    may take. batch_note: why no batches are asked for of a server that has them, else empty.
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
    return ordered[int(fraction * len(ordered))] if ordered else 0.0


# An accelerator only: the same pictures come out of OpenCV. No rosdep key, so never required.
try:
    import simplejpeg
except ImportError:
    simplejpeg = None

Array: TypeAlias = NDArray[np.float32]

JPEG_START = b'\xff\xd8\xff'
JPEG_END = b'\xff\xd9'
PNG_START = b'\x89PNG\r\n\x1a\n'
PNG_END = b'\x00\x00\x00\x00IEND\xaeB`\x82'
# Start-of-frame markers; C4, C8 and CC lie among them and mean something else.
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MARKERS_WITHOUT_LENGTH = frozenset([0x01, *range(0xD0, 0xD9)])
_SCAN_MARKER = 0xDA
# Not turned by what Exif says: the lens, and camera_info with it, is that of the stored pixels.
_AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION

OTHER_FORMAT = (
    'every server knows image_format png and jpeg: try the other one, and restart the container '
    'if neither comes'
)
EMPTY = (
    'its encoder may fail silently: try image_format png or a lower resolution_scale; if it stays '
    'so, restart the container'
)
CUT = (
    'a proxy or the network may cut long messages: try a lower resolution_scale or image_format '
    'jpeg, and the server without a proxy'
)
PLANES = (
    'set image_format to jpeg or png, which carry their size: RGB planes do not, and servers keep '
    'the aspect ratio of the camera (resolution_scale 1 has it exactly)'
)
NOT_PLANES = 'set image_format to jpeg or png: only servers from 26.04 on are known to send planes'
ARE_PLANES = 'it has the length of RGB planes: set image_format to rgb, or restart the container'

# Ten times what the largest device returns in a turn.
MOST_POINTS = 2_000_000
_WIRE = np.dtype('<f4')

TOO_MANY_POINTS = 'is it the device that the lidar is rendered as (parameter <lidar>.device)?'
NO_CLOUD = (
    'is the server of a newer version than those known? render_lidar of 25.07 to 26.10 is; '
    'restart the container'
)


class ReplyError(RenderError):
    """A reply that holds no usable image or cloud; `remedy` says what to try."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.remedy = remedy


def check_reply(data: bytes, image_format: str, size: tuple[int, int]) -> tuple[str, int, int]:
    """
    Return encoding, width and height of a reply's image; ReplyError if it is none, or not whole.

    image_format: 'jpeg', 'png' or 'rgb' as asked for; `size` (width, height) as asked for. An
    image may have another size, and be a PNG where a JPEG was asked for, or the other way round.
    Planes of bytes carry no size, so that they must have the length of the size asked for.
    """
    if not data:
        raise ReplyError('the reply holds no image', EMPTY)
    planes = 3 * size[0] * size[1]
    if image_format == 'rgb':
        if len(data) == planes:
            return 'rgb8', *size
        raise ReplyError(
            f'the reply holds {len(data)} bytes, expected {planes} for {size[0]}x{size[1]} RGB '
            'planes',
            NOT_PLANES if data.startswith((JPEG_START, PNG_START)) else PLANES,
        )
    encoding = 'jpeg' if data.startswith(JPEG_START) else 'png'
    try:
        if not data.startswith((JPEG_START, PNG_START)):
            raise RenderError(
                f'the reply is neither JPEG nor PNG ({len(data)} bytes, the first are '
                f'{data[:8].hex(" ")})'
            )
        width, height = image_size(data, encoding)
    except RenderError as error:
        remedy = ARE_PLANES if len(data) == planes else OTHER_FORMAT
        raise ReplyError(str(error), remedy) from error
    if encoding == 'jpeg':
        # Inside of the compressed data FF is never followed by D9: an end marker after the
        # frame's header is the image's own. Some encoders pad behind it.
        whole = data.endswith(JPEG_END) or data.find(JPEG_END, _jpeg_frame(data)) > 0
    else:
        whole = data.endswith(PNG_END) or PNG_END in data
    if not whole:
        raise ReplyError(f'the {encoding.upper()} is cut off after {len(data)} bytes', CUT)
    return encoding, width, height


def check_cloud(reply: sensorsim_pb2.LidarRenderReturn) -> tuple[Array, Array]:
    """
    Return the points (N, 3) and intensities (N,) of a reply; ReplyError where they do not fit.

    Buffers are taken first and not copied, else the repeated floats, which servers of 2025 send.
    `num_points` is 0 there too: it is compared where it says something.
    """
    points = _floats(reply.point_xyzs_buffer, reply.point_xyzs, 'points')
    if len(points) % 3:
        raise _no_cloud(f'{len(points)} coordinates, expected 3 a point')
    count = len(points) // 3
    if reply.num_points not in (0, count):
        raise _no_cloud(f'{count} points, expected {reply.num_points}, its num_points')
    intensities = _floats(reply.point_intensities_buffer, reply.point_intensities, 'intensities')
    if len(intensities) != count:
        raise _no_cloud(f'{len(intensities)} intensities, expected {count}, one a point')
    for name, values in (('coordinates', points), ('intensities', intensities)):
        finite = np.isfinite(values)
        if not finite.all():
            wrong = len(values) - int(np.count_nonzero(finite))
            raise ReplyError(
                f'{wrong} of {len(values)} {name} of the reply are not finite', NO_CLOUD
            )
    return points.reshape(-1, 3), intensities


def image_size(data: bytes, encoding: str) -> tuple[int, int]:
    """Read (width, height) from the header of a 'jpeg' or 'png'; RenderError if it has none."""
    if encoding == 'jpeg':
        offset = _jpeg_frame(data)
        height, width = struct.unpack_from('>HH', data, offset + 5)
    else:
        if len(data) < 24 or data[:8] != PNG_START or data[12:16] != b'IHDR':
            raise RenderError(f'the PNG has no header in its {len(data)} bytes')
        width, height = struct.unpack_from('>II', data, 16)
    if not width or not height:
        raise RenderError(f'the {encoding.upper()} says that its size is {width}x{height}')
    return width, height


def decode_rgb(frame: Frame) -> NDArray[np.uint8]:
    """Decode to (height, width, 3) uint8 RGB, C-contiguous; RenderError if it cannot be."""
    if frame.encoding == 'rgb8':
        planes: NDArray[np.uint8] = np.frombuffer(frame.data, np.uint8)
        # Ten times as fast as a transposed copy.
        return np.asarray(cv2.merge(list(planes.reshape(3, frame.height, frame.width))))
    if frame.encoding == 'jpeg' and simplejpeg is not None:
        try:
            return np.asarray(simplejpeg.decode_jpeg(frame.data, 'RGB'))
        except ValueError as error:
            raise RenderError(f'the JPEG of {frame.camera} does not decode: {error}') from error
    try:
        image = cv2.imdecode(np.frombuffer(frame.data, np.uint8), _AS_STORED)
    except cv2.error as error:
        raise RenderError(f'the image of {frame.camera} does not decode: {error}') from error
    if image is None:
        raise RenderError(
            f'the {frame.encoding.upper()} of {frame.camera} does not decode '
            f'({len(frame.data)} bytes)'
        )
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB, image))


def _jpeg_frame(data: bytes) -> int:
    """Find the start-of-frame marker, which holds the size, by going from segment to segment."""
    offset = 2
    length = len(data)
    if not data.startswith(JPEG_START):
        raise RenderError(f'the JPEG does not begin as one: {data[:4].hex(" ")}')
    while offset + 9 <= length:
        if data[offset] != 0xFF:
            break
        marker = data[offset + 1]
        if marker == 0xFF:  # fill byte
            offset += 1
        elif marker in _MARKERS_WITHOUT_LENGTH:
            offset += 2
        elif marker in _FRAME_MARKERS:
            return offset
        elif marker == _SCAN_MARKER:
            break
        else:
            # One that is too short for its own length ends at what is no marker.
            offset += 2 + (data[offset + 2] << 8 | data[offset + 3])
    raise RenderError(f'the JPEG has no frame header in its {length} bytes')


def _no_cloud(held: str) -> ReplyError:
    return ReplyError(f'the reply holds {held}', NO_CLOUD)


def _floats(buffer: bytes, repeated: Sequence[float], name: str) -> Array:
    width = 3 if name == 'points' else 1
    length = len(buffer) // _WIRE.itemsize or len(repeated)
    if length > width * MOST_POINTS:
        raise ReplyError(
            f'the reply holds {length // width} {name}, expected {MOST_POINTS} at most',
            TOO_MANY_POINTS,
        )
    if buffer:
        if len(buffer) % _WIRE.itemsize:
            raise _no_cloud(f'{len(buffer)} bytes of {name}, expected 4 a number')
        return cast(Array, np.frombuffer(buffer, _WIRE))
    values = np.fromiter(repeated, np.float32, len(repeated))
    values.flags.writeable = False
    return values
