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
"""Pictures to bytes in the formats that servers are known to return."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from nurec_ros.preview.refusal import invalid, raised
from nurec_ros.rendering.protos import sensorsim_pb2

try:
    import simplejpeg
except ImportError:  # an extra; OpenCV does the same, somewhat slower
    simplejpeg = None

_PNG_SPEED = [cv2.IMWRITE_PNG_COMPRESSION, 1]


def encode(rgb: NDArray[np.uint8], image_format: int, quality: float) -> bytes:
    """
    Encode an (H, W, 3) RGB picture; `image_format` is the wire's enum, `quality` 1 to 100.

    Raises RefusalError as `check_format` does.
    """
    check_format(image_format, quality)
    return _ENCODERS[image_format](rgb, int(quality) if image_format == sensorsim_pb2.JPEG else 0)


def check_format(image_format: int, quality: float) -> None:
    """
    Refuse a format that is not served, and a JPEG quality that real encoders choke on.

    Servers cast the quality to int, so that 0.95, and the 0 of a field left out, fail late.
    """
    if image_format not in _ENCODERS:
        try:
            name = sensorsim_pb2.ImageFormat.Name(image_format)
        except ValueError:
            name = str(image_format)
        served = ', '.join(sensorsim_pb2.ImageFormat.Name(number) for number in _ENCODERS)
        raise invalid(f'image_format {name} is not supported, expected one of {served}')
    if image_format == sensorsim_pb2.JPEG and not 1.0 <= quality < 101.0:
        raise raised(
            f'nvJPEG error: encoder parameter quality = {quality:g} is not in the range 1 to 100'
        )


def _jpeg(rgb: NDArray[np.uint8], quality: int) -> bytes:
    if simplejpeg is not None:
        encoded = simplejpeg.encode_jpeg(
            np.ascontiguousarray(rgb),
            quality=quality,
            colorspace='RGB',
            colorsubsampling='420',
            fastdct=True,
        )
        return bytes(encoded)
    return _by_opencv('.jpg', rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])


def _png(rgb: NDArray[np.uint8], _quality: int) -> bytes:
    return _by_opencv('.png', rgb, _PNG_SPEED)


def _planar(rgb: NDArray[np.uint8], _quality: int) -> bytes:
    return b''.join(cv2.split(rgb))


def _by_opencv(extension: str, rgb: NDArray[np.uint8], parameters: list[int]) -> bytes:
    done, encoded = cv2.imencode(extension, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), parameters)
    if not done:
        raise raised(f'the picture could not be encoded as {extension}')
    return bytes(encoded.data)


_ENCODERS: dict[int, Callable[[NDArray[np.uint8], int], bytes]] = {
    sensorsim_pb2.PNG: _png,
    sensorsim_pb2.JPEG: _jpeg,
    sensorsim_pb2.RGB_UINT8_PLANAR: _planar,
}
