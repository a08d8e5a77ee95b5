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

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
import re
import tempfile
import threading
from typing import TYPE_CHECKING

import grpc
import numpy as np
from numpy.typing import NDArray
from nurec_ros.errors import ConfigurationError, counted
from nurec_ros.probe.answers import (
    Answer,
    Calls,
    FAIL,
    failure,
    NOTE,
    PASS,
    ProbeOptions,
    SKIP,
    Stage,
)
from nurec_ros.probe.verdicts import images_stage, judge, judge_spin, Picture, sizes_stage
from nurec_ros.rendering.calls import no_lidars
from nurec_ros.rendering.policy import RenderOptions
from nurec_ros.rendering.protos import sensorsim_pb2
from nurec_ros.rendering.requests import RequestBuilder
from nurec_ros.rendering.server_errors import classify
from nurec_ros.scenario import Scenario
from nurec_ros.setting_values import chosen_names

if TYPE_CHECKING:
    from google.protobuf.message import Message

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


class Folder:
    """
    Where what comes is saved, as soon as it is there; `pictures` and `clouds` are the files.

    One that does not exist yet is tried where it would be made, and nothing is left behind.
    Raises ConfigurationError if nothing can be written to it.
    """

    def __init__(self, path: Path) -> None:
        self.pictures: list[Path] = []
        self.clouds: list[Path] = []
        self._path = path
        try:
            there = path.absolute()
            while not there.exists():
                there = there.parent
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as error:
            raise _unwritable(path, error) from error

    def save(self, files: list[Path], name: str, data: bytes) -> None:
        """Write what came, if it is anything, under a name that stays in the folder."""
        if not data:
            return
        path = self._path / re.sub(r'[^\w.-]', '_', name)
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except OSError as error:
            raise _unwritable(path, error) from error
        files.append(path)


def _unwritable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f'output {path} cannot be written: {error.strerror}')


@dataclass(slots=True)
class Renders:
    """
    The renders of one scenario over `calls`; what comes is saved to the folder.

    patience: called from another thread once the first frame takes more than `patience_s`.
    """

    scenario: Scenario
    options: ProbeOptions
    calls: Calls
    scene_id: str
    cameras: Sequence[str]
    folder: Folder
    patience: Callable[[], None]
    _pictures: list[Picture] = field(default_factory=list)
    _dead: bool = False  # the server does not answer any more

    def stages(self, lidars: Sequence[str]) -> Iterator[Stage]:
        """Render every camera at low and at full scale, the batch, and a spin of each lidar."""
        low = self._builder(self.options.scale)
        for label, builder in (('low', low), ('full', self._builder(1.0))):
            for camera in self.cameras:
                if self._dead:
                    yield _untried('render', f'{camera} {label}')
                else:
                    yield self._render(builder, camera, label)
        yield _untried('batch', 'all cameras') if self._dead else self._batch(low)
        yield sizes_stage(self._pictures)
        yield images_stage(self._pictures)
        yield from self._spins(lidars)

    def _builder(self, scale: float) -> RequestBuilder:
        return RequestBuilder(self.scenario, RenderOptions(resolution_scale=scale))

    def _render(self, builder: RequestBuilder, camera: str, label: str) -> Stage:
        width, height = builder.frame_size(camera)
        what = f'{camera} {label} at {width}x{height}'
        t_ns = self._moment(camera)
        details: dict[str, object] = {
            'camera': camera,
            'scale': label,
            'time_us': t_ns // 1000,
            'asked': [width, height],
        }
        first = not self._pictures
        request = builder.build(self.scene_id, camera, t_ns)
        answer = self._ask('render', 'render_rgb', request, first=first)
        if answer.error is not None:
            return self._failed('render', answer, f'{what}: ', details)
        picture = self._judge(camera, label, (width, height), answer.reply.image_bytes)
        details['bytes'] = len(picture.data)
        details['size'] = None if picture.size is None else list(picture.size)
        status, remedy, message = PASS, '', f'{what}, {len(picture.data) / 1000:.0f} kB'
        # A full picture is the only one of its size, so what takes long may be its preparation.
        if answer.latency_s > self.options.slow_s and label != 'full':
            status, remedy = NOTE, '' if first else _SLOW
            message += ', slow because it was the first' if first else ', slow'
        return Stage('render', status, message, remedy, answer.latency_s, details)

    def _judge(self, camera: str, label: str, asked: tuple[int, int], data: bytes) -> Picture:
        picture = judge(camera, label, asked, data)
        self._pictures.append(picture)
        self.folder.save(self.folder.pictures, picture.file_name, data)
        return picture

    def _ask(self, stage: str, method: str, request: Message, *, first: bool) -> Answer:
        """Make one call; what is the first of its kind may take longer."""
        if not first:
            return self.calls.ask(stage, method, request)
        timer = threading.Timer(self.options.patience_s, self.patience)
        timer.daemon = True
        timer.start()
        limit = max(self.calls.timeout(stage), self.options.first_timeout_s)
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
            timeout_s=self.calls.timeout('batch') * len(items),
        )
        if answer.unknown_method:
            message = 'no batch_render_rgb, as with servers before 26.02: single calls are made'
            return Stage('batch', NOTE, message, '', answer.latency_s, {'batch': False})
        if answer.error is not None:
            return self._failed('batch', answer)
        came: list[str] = []
        failed = {}
        for item in answer.reply.items:
            name = item.camera_name
            if not item.success:
                failed[name] = item.error_message
            elif name in self.cameras and name not in came:
                self._judge(name, 'batch', builder.frame_size(name), item.result.image_bytes)
            came.append(name)
        total = counted(len(self.cameras), 'camera')
        status, remedy, message = PASS, '', f'{total} in one call'
        faults = [
            *(f'{name} is missing' for name in self.cameras if name not in came),
            *(f'{name} came twice' for name in dict.fromkeys(came) if came.count(name) > 1),
            *(
                f'{name} was not asked for'
                for name in dict.fromkeys(came)
                if name not in self.cameras
            ),
        ]
        if faults:
            status, remedy = FAIL, _BATCH_OFF
            message = f'the reply does not match the request: {"; ".join(faults)}'
        elif failed:
            camera, text = next(iter(failed.items()))
            error = classify(None, text, scene_id=self.scene_id, method='batch_render_rgb')
            status, remedy = FAIL, error.remedy
            message = f'{len(failed)} of {total} failed: {camera}: {error.problem}'
        details = {'batch': True, 'items': len(came)}
        return Stage('batch', status, message, remedy, answer.latency_s, details)

    def _failed(
        self,
        name: str,
        answer: Answer,
        what: str = '',
        details: Mapping[str, object] | None = None,
    ) -> Stage:
        """Return the failed stage; find out whether anything is answered after a silence."""
        stage = failure(name, answer)
        self._dead = self._dead or answer.no_answer
        if answer.code is grpc.StatusCode.DEADLINE_EXCEEDED:
            # Further frames would each wait as long, and the verdict stands.
            alive = self.calls.ask('alive', 'get_version')
            stage = replace(stage, remedy=_COMPILING if alive.no_answer else _STUCK)
        return replace(stage, message=what + stage.message, details=details or {})

    def _spins(self, lidars: Sequence[str]) -> Iterator[Stage]:
        builder = self._builder(1.0)
        warm = False
        for lidar in lidars:
            if self._dead:
                message = f'{lidar}: not tried, because the server does not answer'
                yield Stage('lidar', SKIP, message)
                continue
            device, unnamed = builder.options.device_of(lidar)
            what = f'{lidar} as {device}'
            t_ns = moment(self.scenario, self.scenario.lidars[lidar].spin_times_ns[:, 1])
            details: dict[str, object] = {
                'lidar': lidar,
                'device': device,
                'time_us': t_ns // 1000,
            }
            request = builder.build(self.scene_id, lidar, t_ns)
            answer = self._ask('lidar', 'render_lidar', request, first=not warm)
            if answer.unknown_method:
                error = no_lidars(self.calls.server)
                yield Stage('lidar', NOTE, error.problem, error.remedy, answer.latency_s, details)
                return
            if answer.error is not None:
                yield self._failed('lidar', answer, f'{lidar}: ', details)
                continue
            spin = judge_spin(lidar, answer.reply)
            self.folder.save(self.folder.clouds, spin.file_name, spin.data)
            details['points'] = spin.points
            if spin.points:
                nearest, median, farthest = details['ranges_m'] = spin.ranges
                what += (
                    f': {spin.points} points, {nearest:.1f} to {farthest:.1f} m, '
                    f'half within {median:.1f} m'
                )
            status, remedy = NOTE, ''
            if spin.fault:
                status, what, remedy = FAIL, f'{what}: {spin.fault}', spin.remedy
            elif answer.latency_s > self.options.slow_s:
                what += ', slow' if warm else ', slow because the first'
                remedy = _SLOW_SPIN if warm else ''
            elif unnamed or spin.note:
                what = '; '.join(filter(None, [what, spin.note, unnamed]))
            else:
                status = PASS
            warm = True
            yield Stage('lidar', status, what, remedy, answer.latency_s, details)


def _untried(name: str, what: str) -> Stage:
    return Stage(name, SKIP, f'{what}: not tried, because render failed')


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
    return chosen_names(known, wanted, 'camera')
