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
"""The stages that render: each camera, the batch, a spin of each lidar; what is kept of that."""

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
from nurec_ros.errors import ConfigurationError, counted
from nurec_ros.probe.answers import Answer, Calls, FAIL, failure, NOTE, PASS, SKIP, Stage
from nurec_ros.probe.verdicts import judge, judge_spin, Picture, ProbedSpin
from nurec_ros.rendering.calls import no_lidars
from nurec_ros.rendering.policy import RenderOptions
from nurec_ros.rendering.protos import sensorsim_pb2
from nurec_ros.rendering.requests import RequestBuilder
from nurec_ros.rendering.server_errors import classify
from nurec_ros.scenario import Scenario
from nurec_ros.setting_values import chosen_names

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
_SLOW_SPIN = 'render it at a lower lidar_rate, or use mode lockstep'
_BATCH_OFF = 'set the parameter batch to never'


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


def problems_of(scenario: Scenario) -> dict[str, str]:
    return {
        name: camera.problem or 'it has no camera model'
        for name, camera in scenario.cameras.items()
        if not camera.renderable
    }


def chosen_cameras(scenario: Scenario, wanted: tuple[str, ...]) -> tuple[str, ...]:
    problems = problems_of(scenario)
    known = [name for name in scenario.cameras if name not in problems]
    if not known:
        raise ConfigurationError(f'{scenario.path} has no camera that can be rendered')
    for name in wanted:
        if name in problems:
            raise ConfigurationError(
                f'cameras names {name!r}, which cannot be rendered: {problems[name]}'
            )
    return chosen_names(known, known, wanted, 'camera')


def lidar_stages(
    renders: Renders, lidars: Sequence[str], spins: list[ProbedSpin]
) -> Iterator[Stage]:
    """Render one spin of each lidar near the middle of the drive; `spins` collects what came."""
    builder = RequestBuilder(renders.scenario, RenderOptions())
    warm = False
    for lidar in lidars:
        if renders.dead:
            yield Stage('lidar', SKIP, f'{lidar}: not tried, because the server does not answer')
            continue
        device, unnamed = builder.options.device_of(lidar)
        t_ns = moment(renders.scenario, renders.scenario.lidars[lidar].spin_times_ns[:, 1])
        request = builder.build_spin(renders.scene_id, lidar, t_ns)
        details: dict[str, object] = {'lidar': lidar, 'device': device, 'time_us': t_ns // 1000}
        answer = renders.ask('lidar', 'render_lidar', request, first=not warm)
        if answer.unknown_method:
            error = no_lidars(renders.calls.server)
            yield Stage('lidar', NOTE, error.problem, error.remedy, answer.latency_s, details)
            return
        if answer.error is not None:
            stage = renders.failed('lidar', answer)
            yield replace(stage, message=f'{lidar}: {stage.message}', details=details)
            continue
        spin = judge_spin(lidar, answer.reply)
        spins.append(spin)
        details['points'] = spin.points
        status, remedy = PASS, ''
        if spin.points:
            details['ranges_m'] = [spin.nearest, spin.median, spin.farthest]
            message = (
                f'{lidar} as {device}: {spin.points} points, {spin.nearest:.1f} to '
                f'{spin.farthest:.1f} m, half within {spin.median:.1f} m'
            )
        else:
            message = f'{lidar} as {device}'
        if spin.fault:
            status, message, remedy = FAIL, f'{message}: {spin.fault}', spin.remedy
        elif answer.latency_s > renders.slow_s:
            status, message = NOTE, message + (', slow' if warm else ', slow because the first')
            remedy = _SLOW_SPIN if warm else ''
        elif unnamed or spin.note:
            status, message = NOTE, '; '.join(filter(None, [message, spin.note, unnamed]))
        warm = True
        yield Stage('lidar', status, message, remedy, answer.latency_s, details)


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


class Folder:
    """Saves what came, each once, as soon as it is there."""

    def __init__(self, folder: Path) -> None:
        self.paths: list[Path] = []
        self._folder = folder
        self._seen = 0

    def keep(self, found: Sequence[Picture | ProbedSpin]) -> None:
        """Save what is new of a list that grows; what is empty is not saved."""
        for number in range(self._seen, len(found)):
            each = found[number]
            if each.data:
                self.paths.append(save(self._folder, each.file_name, each.data))
        self._seen = len(found)
