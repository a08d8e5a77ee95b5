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
"""The probe from the first stage to the last, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
import time
from typing import Any

import grpc
from nurec_ros.errors import ConfigurationError
from nurec_ros.probe.calls import Calls
from nurec_ros.probe.cameras import Calibration, compare
from nurec_ros.probe.network import connect
from nurec_ros.probe.network import resolve as resolve_names
from nurec_ros.probe.pictures import check_folder, images_stage, Picture, save, sizes_stage
from nurec_ros.probe.renders import Renders
from nurec_ros.probe.report import FAIL, NOTE, passed, SKIP, Stage, summary
from nurec_ros.probe.server import (
    channel_stage,
    config_stage,
    failure,
    health_stage,
    scenes_stage,
    service_stages,
)
from nurec_ros.rendering.address import addresses, resolve
from nurec_ros.rendering.channel import open_channel
from nurec_ros.rendering.options import RenderOptions
from nurec_ros.rendering.protos import sensorsim_pb2
from nurec_ros.rendering.requests import camera_spec
from nurec_ros.rendering.tls import fault_among, root_certificate
from nurec_ros.scenario import Scenario

_ORDER = (
    'resolve',
    'tcp',
    'channel',
    'health',
    'service',
    'version',
    'config',
    'scenes',
    'cameras',
    'render',
    'batch',
    'sizes',
    'images',
)


@dataclass(frozen=True, slots=True)
class ProbeOptions:
    """
    What a user can say about a probe.

    cameras: logical names, empty for all; scale: of the small pictures, of the native size;
    timeout_s: of each call; first_timeout_s: of the first frame; output: folder of the pictures.
    """

    server: str = RenderOptions().server
    scene_id: str = ''
    service_prefix: str = ''
    tls_root_certificate: str = ''
    cameras: tuple[str, ...] = ()
    scale: float = 0.25
    timeout_s: float = 10.0
    first_timeout_s: float = 120.0
    output: Path = Path('nurec_probe')


@dataclass(frozen=True, slots=True)
class Report:
    """All stages in their order, the paths of the pictures, and the seconds it took."""

    stages: tuple[Stage, ...]
    pictures: tuple[Path, ...]
    elapsed_s: float

    @property
    def ok(self) -> bool:
        """Say whether every stage passed."""
        return passed(self.stages)

    def to_json(self) -> dict[str, Any]:
        """Give the report as JSON's own types."""
        return {
            'ok': self.ok,
            'summary': summary(self.stages),
            'elapsed_s': round(self.elapsed_s, 3),
            'stages': [stage.to_json() for stage in self.stages],
            'pictures': [str(path) for path in self.pictures],
        }


def run(
    scenario: Scenario,
    options: ProbeOptions,
    *,
    on_stage: Callable[[Stage], None] = lambda _: None,
    patience: Callable[[], None] = lambda: None,
) -> Report:
    """
    Probe the server for the scenario; `on_stage` gets each stage as soon as it is known.

    `patience` is called when the first frame takes long. Raises ConfigurationError for options
    that cannot be honoured and for pictures that cannot be written.
    """
    began = time.perf_counter()
    cameras = _cameras(scenario, options)
    # Checks the numbers, and the certificate, before anything is asked.
    rendering = RenderOptions(
        server=options.server,
        tls_root_certificate=options.tls_root_certificate,
        resolution_scale=options.scale,
        render_timeout_s=options.timeout_s,
        first_render_timeout_s=options.first_timeout_s,
    )
    addresses(options.server)
    certificate = root_certificate(rendering)
    check_folder(options.output)
    stages: list[Stage] = []
    pictures: list[Picture] = []
    paths: list[Path] = []
    looked_at = 0
    for stage in _stages(scenario, options, cameras, certificate, patience, pictures):
        stages.append(stage)
        on_stage(stage)
        paths.extend(save(each, options.output) for each in pictures[looked_at:] if each.data)
        looked_at = len(pictures)
    for stage in _untried(stages):
        stages.append(stage)
        on_stage(stage)
    return Report(tuple(stages), tuple(paths), time.perf_counter() - began)


def _stages(
    scenario: Scenario,
    options: ProbeOptions,
    cameras: list[str],
    certificate: bytes | None,
    patience: Callable[[], None],
    pictures: list[Picture],
) -> Iterator[Stage]:
    """Yield the stages; ends early where a failure leaves nothing to try."""
    stage, resolved = resolve_names(options.server, options.timeout_s)
    yield stage
    if stage.status == FAIL:
        return
    if resolved:
        stage, reachable = connect(resolved, options.timeout_s)
        yield stage
        if not reachable:
            return
    else:
        yield Stage('tcp', NOTE, 'left to gRPC, as the address is')
    places = [
        (endpoint.host, number, endpoint.port)
        for endpoint, numbers in resolved
        for number in numbers
    ]
    channel = open_channel(resolve(options.server), certificate)
    try:
        stage = channel_stage(
            channel,
            options.timeout_s,
            lambda: fault_among(places, certificate, options.timeout_s),
        )
        yield stage
        if stage.status != FAIL:
            yield from _server_stages(scenario, options, cameras, channel, patience, pictures)
    finally:
        channel.close()


def _server_stages(
    scenario: Scenario,
    options: ProbeOptions,
    cameras: list[str],
    channel: grpc.Channel,
    patience: Callable[[], None],
    pictures: list[Picture],
) -> Iterator[Stage]:
    calls = Calls(channel, options.server, options.timeout_s)
    stage, silent = health_stage(calls)
    yield stage
    if silent:
        return
    yield from service_stages(calls, options.service_prefix)
    if not calls.prefix:
        return
    yield config_stage(calls)
    stage, scene_id = scenes_stage(calls, scenario, options.scene_id)
    yield stage
    if not scene_id:
        return
    bare = () if options.cameras else _bare(scenario)
    yield _cameras_stage(calls, scenario, scene_id, cameras, bare)
    renders = Renders(
        scenario=scenario,
        calls=calls,
        scene_id=scene_id,
        cameras=cameras,
        low_scale=options.scale,
        timeout_s=options.timeout_s,
        first_timeout_s=options.first_timeout_s,
        patience=patience,
        pictures=pictures,
    )
    yield from renders.stages()
    yield sizes_stage(pictures)
    yield images_stage(pictures)


def _bare(scenario: Scenario) -> tuple[str, ...]:
    """Give the cameras that the archive has no model of."""
    return tuple(name for name, camera in scenario.cameras.items() if camera.model is None)


def _cameras_stage(
    calls: Calls, scenario: Scenario, scene_id: str, names: list[str], bare: tuple[str, ...]
) -> Stage:
    request = sensorsim_pb2.AvailableCamerasRequest(scene_id=scene_id)
    answer = calls.ask('get_available_cameras', request)
    if answer.unknown_method:
        message = 'no get_available_cameras: the calibrations cannot be compared'
        return Stage('cameras', NOTE, message, '', answer.latency_s)
    if answer.error is not None:
        return failure('cameras', answer)
    listed = {camera.logical_id: camera for camera in answer.reply.available_cameras}
    ours = {name: _calibration(scenario, name) for name in names}
    return compare(ours, listed, unasked=tuple(scenario.cameras), bare=bare)


def _calibration(scenario: Scenario, name: str) -> Calibration:
    camera = scenario.cameras[name]
    model = camera.model
    if model is None:
        raise ConfigurationError(f'{name} has no camera model in {scenario.path}')
    return Calibration(
        camera_spec(name, model),
        camera.T_rig_camera,
        lambda width, height: camera_spec(name, model.resized(width, height)),
    )


def _cameras(scenario: Scenario, options: ProbeOptions) -> list[str]:
    known = [name for name, camera in scenario.cameras.items() if camera.model is not None]
    if not known:
        raise ConfigurationError(f'{scenario.path} has no camera that can be rendered')
    for name in options.cameras:
        if name in _bare(scenario):
            raise ConfigurationError(
                f'cameras names {name!r}, which has no camera model in {scenario.path}: it cannot '
                'be rendered'
            )
        if name not in known:
            raise ConfigurationError(
                f'cameras names {name!r}, expected some of {", ".join(known)}'
            )
    return [name for name in known if not options.cameras or name in options.cameras]


def _untried(stages: list[Stage]) -> Iterator[Stage]:
    """Give the stages that were not come to, each as skipped."""
    seen = {stage.name for stage in stages}
    # What ended the probe is the last of them: it went on after the others.
    cause = next((stage.name for stage in reversed(stages) if stage.status == FAIL), '')
    if cause:
        for name in _ORDER:
            if name not in seen:
                yield Stage(name, SKIP, f'not tried, because {cause} failed')
