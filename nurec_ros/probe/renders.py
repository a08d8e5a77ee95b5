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
"""The stages that render: each camera, the batch, and what the pictures that came are worth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
import re
import tempfile
import threading
from typing import TYPE_CHECKING

import grpc
import numpy as np
from numpy.typing import NDArray
from nurec_ros.errors import ConfigurationError, counted, RenderError
from nurec_ros.probe.answers import Answer, Calls, failure
from nurec_ros.probe.report import FAIL, NOTE, PASS, SKIP, Stage
from nurec_ros.rendering.frames import Frame
from nurec_ros.rendering.policy import RenderOptions
from nurec_ros.rendering.protos import sensorsim_pb2
from nurec_ros.rendering.replies import check_reply, decode_rgb, OTHER_FORMAT
from nurec_ros.rendering.requests import RequestBuilder
from nurec_ros.rendering.server_errors import classify
from nurec_ros.scenario import Scenario

if TYPE_CHECKING:
    from google.protobuf.message import Message

LOW, FULL, BATCH = 'low', 'full', 'batch'

_SLOW = 'lower resolution_scale, take fewer cameras, or use mode lockstep'
_STUCK = (
    'the server answers, but its renderer is overloaded or stuck: take fewer cameras, a lower '
    'resolution_scale, a longer --timeout; restart the container if it stays so'
)
_COMPILING = (
    'nothing is answered any more: while kernels are compiled at the first frame (up to a minute) '
    'that is normal, so probe again; else restart the container'
)
_BATCH_OFF = 'set the parameter batch to never'

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


@dataclass(slots=True)
class Renders:
    """
    Renders of one scenario over `calls`.

    patience: called from another thread once the first frame takes more than `patience_s`.
    slow_s: a render at low scale that takes longer is a note. `pictures` collects what came.
    `dead` becomes True when the server does not answer any more.
    """

    scenario: Scenario
    calls: Calls
    scene_id: str
    cameras: Sequence[str]
    low_scale: float
    first_timeout_s: float
    slow_s: float
    patience: Callable[[], None]
    patience_s: float
    pictures: list[Picture]
    dead: bool = False
    warm: bool = False

    def stages(self) -> Iterator[Stage]:
        """Render every camera at low scale, every camera at full scale, and the batch."""
        for label, scale in ((LOW, self.low_scale), (FULL, 1.0)):
            builder = self._builder(scale)
            for camera in self.cameras:
                yield self._skipped('render', f'{camera} {label}') or self._render(
                    builder, camera, label
                )
        yield self._skipped('batch', 'all cameras') or self._batch(self._builder(self.low_scale))

    def _builder(self, scale: float) -> RequestBuilder:
        return RequestBuilder(self.scenario, RenderOptions(resolution_scale=scale))

    def _skipped(self, name: str, what: str) -> Stage | None:
        if not self.dead:
            return None
        return Stage(name, SKIP, f'{what}: not tried, because render failed')

    def _render(self, builder: RequestBuilder, camera: str, label: str) -> Stage:
        width, height = builder.frame_size(camera)
        t_ns = self._moment(camera)
        request = builder.build(self.scene_id, camera, t_ns)
        details = {
            'camera': camera,
            'scale': label,
            'time_us': t_ns // 1000,
            'asked': [width, height],
        }
        what = f'{camera} {label}'
        first = not self.warm
        answer = self.ask('render', 'render_rgb', request, first=first)
        if answer.error is not None:
            stage = self.failed('render', answer)
            message = f'{what} at {width}x{height}: {stage.message}'
            return replace(stage, message=message, details=details)
        self.warm = True
        picture = judge(camera, label, (width, height), answer.reply.image_bytes)
        self.pictures.append(picture)
        details['bytes'] = len(picture.data)
        details['size'] = None if picture.size is None else list(picture.size)
        message = f'{what} at {width}x{height}, {len(picture.data) / 1000:.0f} kB'
        # A full picture is the only one of its size, so what takes long may be its preparation.
        if answer.latency_s <= self.slow_s or label == FULL:
            return Stage('render', PASS, message, '', answer.latency_s, details)
        if first:
            message += ', slow because it was the first'
            return Stage('render', NOTE, message, '', answer.latency_s, details)
        return Stage('render', NOTE, f'{message}, slow', _SLOW, answer.latency_s, details)

    def ask(self, stage: str, method: str, request: Message, *, first: bool) -> Answer:
        """Make one call; what is the first of its kind may take longer."""
        limit = self.calls.timeout(stage)
        if first:
            limit = max(limit, self.first_timeout_s)
        timer = threading.Timer(self.patience_s, self.patience)
        timer.daemon = True
        if first:
            timer.start()
        try:
            return self.calls.ask(stage, method, request, timeout_s=limit)
        finally:
            timer.cancel()

    def _moment(self, camera: str) -> int:
        return moment(self.scenario, self.scenario.cameras[camera].frame_times_ns[:, 1])

    def _batch(self, builder: RequestBuilder) -> Stage:
        items = [
            sensorsim_pb2.BatchRGBRenderItem(
                camera_name=camera,
                request=builder.build(self.scene_id, camera, self._moment(camera)),
            )
            for camera in self.cameras
        ]
        answer = self.calls.ask(
            'batch',
            'batch_render_rgb',
            sensorsim_pb2.BatchRGBRenderRequest(items=items),
            timeout_s=self.calls.timeout('batch') * max(1, len(items)),
        )
        if answer.unknown_method:
            message = 'no batch_render_rgb, as with servers before 26.02: single calls are made'
            return Stage('batch', NOTE, message, '', answer.latency_s, {'batch': False})
        if answer.error is not None:
            return self.failed('batch', answer)
        return self._batch_stage(answer, builder)

    def _batch_stage(self, answer: Answer, builder: RequestBuilder) -> Stage:
        by_name: dict[str, list[object]] = {}
        failed = {}
        for item in answer.reply.items:
            by_name.setdefault(item.camera_name, []).append(item)
            if not item.success:
                failed[item.camera_name] = item.error_message
                continue
            if item.camera_name in self.cameras and len(by_name[item.camera_name]) == 1:
                size = builder.frame_size(item.camera_name)
                data = item.result.image_bytes
                self.pictures.append(judge(item.camera_name, BATCH, size, data))
        faults = [
            *(f'{name} is missing' for name in self.cameras if name not in by_name),
            *(f'{name} came twice' for name, found in by_name.items() if len(found) > 1),
            *(f'{name} was not asked for' for name in by_name if name not in self.cameras),
        ]
        details = {'batch': True, 'items': len(answer.reply.items)}
        total = len(self.cameras)
        if faults:
            message = f'the reply does not match the request: {"; ".join(faults)}'
            return Stage('batch', FAIL, message, _BATCH_OFF, answer.latency_s, details)
        if failed:
            camera, text = next(iter(failed.items()))
            error = classify(None, text, scene_id=self.scene_id, method='batch_render_rgb')
            message = (
                f'{len(failed)} of {counted(total, "camera")} failed: {camera}: {error.problem}'
            )
            return Stage('batch', FAIL, message, error.remedy, answer.latency_s, details)
        message = f'{counted(total, "camera")} in one call'
        return Stage('batch', PASS, message, '', answer.latency_s, details)

    def failed(self, name: str, answer: Answer) -> Stage:
        """Return the failed stage; find out whether anything is answered after a silence."""
        stage = failure(name, answer)
        if answer.code is grpc.StatusCode.UNAVAILABLE:
            self.dead = True
        elif answer.code is grpc.StatusCode.DEADLINE_EXCEEDED:
            # Further frames would each wait as long, and the verdict stands.
            self.dead = True
            alive = self.calls.ask('alive', 'get_version')
            stage = replace(stage, remedy=_COMPILING if alive.no_answer else _STUCK)
        return stage


def moment(scenario: Scenario, ends: NDArray[np.int64]) -> int:
    """Return the time to probe: of the ends (F,) the nearest to the middle of the scene."""
    middle = (scenario.start_ns + scenario.end_ns) // 2
    ends = ends[(ends > scenario.start_ns) & (ends < scenario.end_ns)]
    if len(ends):
        middle = int(ends[np.argmin(np.abs(ends - middle))])
    return middle // 1000 * 1000


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

    @property
    def file_name(self) -> str:
        """Return the name of the file that is kept of it; .bin is what is no picture."""
        kind = 'bin'
        if self.size is not None:
            kind = 'png' if self.data.startswith(b'\x89PNG') else 'jpg'
        return f'{self.camera}_{self.label}.{kind}'


def judge(camera: str, label: str, asked: tuple[int, int], data: bytes) -> Picture:
    """Decode a reply as the player does, and find what is wrong with it."""
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
    Raise ConfigurationError if nothing can be written to the folder; leave nothing behind.

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


def save(folder: Path, name: str, data: bytes) -> Path:
    """Write what came under a name that stays in the folder; return the path."""
    path = folder / re.sub(r'[^\w.-]', '_', name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
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
    """Return whether it is, but for the rounding of either side to whole pixels."""
    across, down = _stretch(picture)
    width, height = picture.size or (1, 1)
    return abs(across / down - 1.0) <= 1.0 / min(width, height)


def images_stage(pictures: Sequence[Picture]) -> Stage:
    """Return whether all pictures can be decoded and show something."""
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
