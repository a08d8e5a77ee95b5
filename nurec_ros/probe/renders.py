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
"""The stages that render: each camera at low and at full scale, then all in one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import grpc
import numpy as np
from nurec_ros.probe.calls import Answer, Calls
from nurec_ros.probe.pictures import judge, Picture
from nurec_ros.probe.report import counted, FAIL, NOTE, PASS, SKIP, Stage
from nurec_ros.probe.server import failure
from nurec_ros.rendering.errors import classify
from nurec_ros.rendering.options import RenderOptions
from nurec_ros.rendering.protos import sensorsim_pb2
from nurec_ros.rendering.requests import RequestBuilder
from nurec_ros.scenario import Scenario

LOW, FULL, BATCH = 'low', 'full', 'batch'
# Slower than this at low scale, and a camera at 10 Hz shows a slide show.
_SLOW_S = 1.0
_ALIVE_TIMEOUT_S = 2.0

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


@dataclass(slots=True)
class Renders:
    """
    Renders of one scenario over `calls`.

    `pictures` collects what came. `dead` becomes True when the server does not answer any more.
    """

    scenario: Scenario
    calls: Calls
    scene_id: str
    cameras: Sequence[str]
    low_scale: float
    timeout_s: float
    first_timeout_s: float
    patience: Callable[[], None]
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
        t_ns = moment(self.scenario, camera)
        request = builder.build(self.scene_id, camera, t_ns)
        details = {
            'camera': camera,
            'scale': label,
            'time_us': t_ns // 1000,
            'asked': [width, height],
        }
        what = f'{camera} {label}'
        first = not self.warm
        limit = max(self.timeout_s, self.first_timeout_s) if first else self.timeout_s
        answer = self.calls.ask(
            'render_rgb', request, timeout_s=limit, patience=self.patience if first else None
        )
        if answer.error is not None:
            stage = self._failed('render', answer)
            message = f'{what} at {width}x{height}: {stage.message}'
            return replace(stage, message=message, details=details)
        self.warm = True
        picture = judge(camera, label, (width, height), answer.reply.image_bytes)
        self.pictures.append(picture)
        details['bytes'] = len(picture.data)
        details['size'] = None if picture.size is None else list(picture.size)
        message = f'{what} at {width}x{height}, {len(picture.data) / 1000:.0f} kB'
        # A full picture is the only one of its size, so what takes long may be its preparation.
        if answer.latency_s <= _SLOW_S or label == FULL:
            return Stage('render', PASS, message, '', answer.latency_s, details)
        if first:
            message += ', slow because it was the first'
            return Stage('render', NOTE, message, '', answer.latency_s, details)
        return Stage('render', NOTE, f'{message}, slow', _SLOW, answer.latency_s, details)

    def _batch(self, builder: RequestBuilder) -> Stage:
        items = [
            sensorsim_pb2.BatchRGBRenderItem(
                camera_name=camera,
                request=builder.build(self.scene_id, camera, moment(self.scenario, camera)),
            )
            for camera in self.cameras
        ]
        answer = self.calls.ask(
            'batch_render_rgb',
            sensorsim_pb2.BatchRGBRenderRequest(items=items),
            timeout_s=self.timeout_s * max(1, len(items)),
        )
        if answer.unknown_method:
            message = 'no batch_render_rgb, as with servers before 26.02: single calls are made'
            return Stage('batch', NOTE, message, '', answer.latency_s, {'batch': False})
        if answer.error is not None:
            return self._failed('batch', answer)
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

    def _failed(self, name: str, answer: Answer) -> Stage:
        """Give the failed stage; finds out whether anything is answered after a silence."""
        stage = failure(name, answer)
        if answer.code is grpc.StatusCode.UNAVAILABLE:
            self.dead = True
        elif answer.code is grpc.StatusCode.DEADLINE_EXCEEDED:
            # Further frames would each wait as long, and the verdict stands.
            self.dead = True
            alive = self.calls.ask('get_version', timeout_s=_ALIVE_TIMEOUT_S)
            stage = replace(stage, remedy=_COMPILING if alive.no_answer else _STUCK)
        return stage


def moment(scenario: Scenario, camera: str) -> int:
    """Give the frame time to probe: the one nearest to the middle that the scene covers."""
    middle = (scenario.start_ns + scenario.end_ns) // 2
    ends = scenario.cameras[camera].frame_times_ns[:, 1]
    ends = ends[(ends > scenario.start_ns) & (ends < scenario.end_ns)]
    if len(ends):
        middle = int(ends[np.argmin(np.abs(ends - middle))])
    return middle // 1000 * 1000
