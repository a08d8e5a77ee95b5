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
"""The pictures that came back: size, whether they are whole, whether anything is on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
import re
import tempfile

from nurec_ros.errors import ConfigurationError, RenderError
from nurec_ros.probe.report import counted, FAIL, NOTE, PASS, SKIP, Stage
from nurec_ros.rendering.frames import Frame
from nurec_ros.rendering.images import check_reply, decode_rgb, OTHER_FORMAT

# Of 255: darker than any night scene, brighter than a compressed nothing.
_BLACK = 6
_MOST_NAMED = 3
# Beyond this no aspect ratio of a camera explains another size.
_MOST_STRETCHED = 4.0

_MORE = "the server's log and the saved files tell more"
_WRONG_SIZE = (
    'the player would publish such pictures with a camera_info that does not fit them: is what '
    'answers a NuRec server of a known version?'
)
_DARK = (
    'nothing is drawn there: is the scene the one of this archive, and does the server reach its '
    'data? its log and the saved files tell more'
)


@dataclass(frozen=True, slots=True)
class Picture:
    """
    One picture that a server returned for a camera at a scale (`label`: low, full or batch).

    asked and size are (width, height), size None where it could not be decoded; fault is why the
    picture cannot be used, '' where it can, and remedy what to do about that.
    """

    camera: str
    label: str
    asked: tuple[int, int]
    data: bytes
    size: tuple[int, int] | None
    fault: str
    black: bool = False
    remedy: str = ''


def judge(camera: str, label: str, asked: tuple[int, int], data: bytes) -> Picture:
    """Decode a reply as the player does, and say what is wrong with it."""
    try:
        encoding, width, height = check_reply(data, 'jpeg', asked)
        frame = Frame(camera, 0, data, encoding, width, height, 0.0)
        brightest = int(decode_rgb(frame).max())
    except RenderError as error:
        remedy = getattr(error, 'remedy', OTHER_FORMAT)
        return Picture(camera, label, asked, data, None, str(error), remedy=remedy)
    black = brightest <= _BLACK
    fault = 'the picture is black' if black else ''
    return Picture(camera, label, asked, data, (width, height), fault, black)


def check_folder(folder: Path) -> None:
    """
    Raise ConfigurationError if nothing can be written to the folder; leaves nothing behind.

    A folder that does not exist yet is tried where it would be made.
    """
    try:
        there = folder.absolute()
        while not there.exists():
            there = there.parent
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise ConfigurationError(f'output {folder} cannot be written: {error.strerror}') from error


def save(picture: Picture, folder: Path) -> Path:
    """Write the bytes as they came, no picture (.bin) or not; gives the path."""
    kind = 'bin'
    if picture.size is not None:
        kind = 'png' if picture.data.startswith(b'\x89PNG') else 'jpg'
    safe = re.sub(r'[^\w.-]', '_', picture.camera)
    path = folder / f'{safe}_{picture.label}.{kind}'
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture.data)
    except OSError as error:
        raise ConfigurationError(f'output {path} cannot be written: {error.strerror}') from error
    return path


def sizes_stage(pictures: Sequence[Picture]) -> Stage:
    """
    Compare the sizes that came to those asked for.

    Another one is worth knowing, and no fault as long as it can be the same view: servers keep
    an aspect ratio of their own, or render at the native size.
    """
    decoded = [picture for picture in pictures if picture.size is not None]
    if not decoded:
        return Stage('sizes', SKIP, 'no picture to look at')
    other = [picture for picture in decoded if picture.size != picture.asked]
    if not other:
        return Stage('sizes', PASS, f'{counted(len(decoded), "picture")} of the size asked for')
    details = {'other': len(other)}
    turned = [picture for picture in other if picture.size == picture.asked[::-1]]
    if turned:
        message = f'width and height are swapped: {_sizes(turned)}'
        return Stage('sizes', FAIL, message, _WRONG_SIZE, details=details)
    wrong = [picture for picture in other if not _same_view(picture)]
    if wrong:
        message = f'the pictures are far from what was asked for: {_sizes(wrong)}'
        return Stage('sizes', FAIL, message, _WRONG_SIZE, details=details)
    what = 'returns another size than asked for'
    if not all(_same_aspect(picture) for picture in other):
        what = 'keeps its own aspect ratio'
    message = f'the server {what}, camera_info follows it: {_sizes(other)}'
    return Stage('sizes', NOTE, message, details=details)


def _sizes(pictures: Sequence[Picture]) -> str:
    named = '; '.join(
        f'{picture.camera} {picture.label}: {_size(picture.size)} for {_size(picture.asked)}'
        for picture in pictures[:_MOST_NAMED]
    )
    more = len(pictures) - _MOST_NAMED
    return f'{named} and {more} more' if more > 0 else named


def _stretch(picture: Picture) -> tuple[float, float]:
    (width, height), (asked_width, asked_height) = picture.size or (0, 0), picture.asked
    return width / asked_width, height / asked_height


def _same_view(picture: Picture) -> bool:
    across, down = _stretch(picture)
    least = 1 / _MOST_STRETCHED
    return min(across, down) >= least and least <= across / down <= _MOST_STRETCHED


def _same_aspect(picture: Picture) -> bool:
    """Say whether it is, but for the rounding of either side to whole pixels."""
    across, down = _stretch(picture)
    width, height = picture.size or (1, 1)
    return abs(across / down - 1.0) <= 1.0 / min(width, height)


def images_stage(pictures: Sequence[Picture]) -> Stage:
    """Say whether all pictures can be decoded and show something."""
    if not pictures:
        return Stage('images', SKIP, 'no picture to look at')
    faulty = [picture for picture in pictures if picture.fault]
    if not faulty:
        count = len(pictures)
        verbs = 'decodes and is' if count == 1 else 'decode and are'
        return Stage('images', PASS, f'{counted(count, "picture")} {verbs} not black')
    named = '; '.join(
        f'{picture.camera} {picture.label}: {picture.fault}' for picture in faulty[:_MOST_NAMED]
    )
    more = f' and {len(faulty) - _MOST_NAMED} more' if len(faulty) > _MOST_NAMED else ''
    broken = next((picture for picture in faulty if not picture.black), None)
    remedy = _DARK if broken is None else f'{broken.remedy}; {_MORE}'
    message = f'{len(faulty)} of {counted(len(pictures), "picture")} cannot be used: {named}{more}'
    return Stage('images', FAIL, message, remedy, details={'faulty': len(faulty)})


def _size(size: tuple[int, int] | None) -> str:
    return 'none' if size is None else f'{size[0]}x{size[1]}'
