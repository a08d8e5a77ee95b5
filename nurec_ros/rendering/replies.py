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
"""Replies: is it a whole image, of which kind and size, or a cloud that fits; and pixels."""

from __future__ import annotations

from collections.abc import Sequence
import struct
from typing import cast, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from nurec_ros.errors import RenderError
from nurec_ros.rendering.frames import Frame
from nurec_ros.rendering.protos import sensorsim_pb2

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
    try:
        encoding = sniff(data)
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
        raise ReplyError(
            f'the reply holds {len(points)} coordinates, expected 3 a point', NO_CLOUD
        )
    count = len(points) // 3
    if reply.num_points not in (0, count):
        raise ReplyError(
            f'the reply holds {count} points, expected {reply.num_points}, its num_points',
            NO_CLOUD,
        )
    intensities = _floats(reply.point_intensities_buffer, reply.point_intensities, 'intensities')
    if len(intensities) != count:
        raise ReplyError(
            f'the reply holds {len(intensities)} intensities, expected {count}, one a point',
            NO_CLOUD,
        )
    for name, values in (('coordinates', points), ('intensities', intensities)):
        finite = np.isfinite(values)
        if not finite.all():
            wrong = len(values) - int(np.count_nonzero(finite))
            raise ReplyError(
                f'{wrong} of {len(values)} {name} of the reply are not finite', NO_CLOUD
            )
    return points.reshape(-1, 3), intensities


def sniff(data: bytes) -> str:
    """Return 'jpeg' or 'png' from an image's first bytes; RenderError if it is neither."""
    if data.startswith(JPEG_START):
        return 'jpeg'
    if data.startswith(PNG_START):
        return 'png'
    raise RenderError(
        f'the reply is neither JPEG nor PNG ({len(data)} bytes, the first are {data[:8].hex(" ")})'
    )


def image_size(data: bytes, encoding: str) -> tuple[int, int]:
    """Read (width, height) from the header of a 'jpeg' or 'png'; RenderError if it has none."""
    if encoding == 'jpeg':
        offset = _jpeg_frame(data)
        height, width = struct.unpack_from('>HH', data, offset + 5)
    elif encoding == 'png':
        if len(data) < 24 or data[:8] != PNG_START or data[12:16] != b'IHDR':
            raise RenderError(f'the PNG has no header in its {len(data)} bytes')
        width, height = struct.unpack_from('>II', data, 16)
    else:
        raise RenderError(f'a {encoding} image carries no size')
    if not width or not height:
        raise RenderError(f'the {encoding.upper()} says that its size is {width}x{height}')
    return width, height


def decode_rgb(frame: Frame) -> NDArray[np.uint8]:
    """Decode to (height, width, 3) uint8 RGB, C-contiguous; RenderError if it cannot be."""
    if frame.encoding == 'rgb8':
        planes: NDArray[np.uint8] = np.frombuffer(frame.data, np.uint8)
        if len(planes) != 3 * frame.height * frame.width:
            raise RenderError(
                f'{len(planes)} bytes are no RGB planes of {frame.width}x{frame.height}'
            )
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
            segment = data[offset + 2] << 8 | data[offset + 3]
            if segment < 2:
                break
            offset += 2 + segment
    raise RenderError(f'the JPEG has no frame header in its {length} bytes')


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
            raise ReplyError(
                f'the reply holds {len(buffer)} bytes of {name}, expected 4 a number', NO_CLOUD
            )
        return cast(Array, np.frombuffer(buffer, _WIRE))
    values = np.fromiter(repeated, np.float32, len(repeated))
    values.flags.writeable = False
    return values
