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

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
import re
import tempfile
import time

import grpc
from nurec_ros.errors import ConfigurationError
from nurec_ros.probe.answers import Calls, FAIL, NOTE, passed, SKIP, Stage, summary
from nurec_ros.probe.endpoint import (
    cameras_stage,
    channel_stage,
    config_stage,
    connect,
    health_stage,
    resolve_stage,
    scenes_stage,
    service_stages,
    silent_socket,
)
from nurec_ros.probe.renders import lidar_stages, Renders
from nurec_ros.probe.verdicts import images_stage, Picture, ProbedSpin, sizes_stage
from nurec_ros.rendering.address import (
    addresses,
    check_proxy,
    fault_among,
    resolve,
    root_certificate,
)
from nurec_ros.rendering.channel import open_channel, proxies_in_force, scene_metadata
from nurec_ros.rendering.policy import RenderOptions
from nurec_ros.scenario import Scenario
from nurec_ros.setting_values import chosen_names, no_lidars_wanted

STAGES = (
    *('resolve', 'tcp', 'channel', 'health', 'service', 'version', 'config', 'scenes', 'cameras'),
    *('render', 'batch', 'sizes', 'images', 'lidar'),
)


@dataclass(frozen=True, slots=True)
class ProbeOptions:
    """
    What a user can say about a probe.

    cameras, lidars: logical names, empty for all, of lidars ('none',) for none; scale: of the
    small pictures, of the native size; timeout_s: of each call, in `timeouts` those of single
    stages; first_timeout_s: of the first frame and the first spin, and of what makes a server load
    a scene_url; output: folder of pictures and clouds.
    slow_s: a small picture or a spin that takes longer is a note; patience_s: then the first one
    is said to be waited for.
    """

    server: str = RenderOptions().server
    use_proxy: bool = False
    scene_id: str = ''
    scene_url: str = ''
    service_prefix: str = ''
    tls_root_certificate: str = ''
    cameras: tuple[str, ...] = ()
    lidars: tuple[str, ...] = ()
    scale: float = 0.25
    timeout_s: float = 10.0
    timeouts: Mapping[str, float] = field(default_factory=dict)
    first_timeout_s: float = 120.0
    # A camera at 10 Hz shows a slide show then.
    slow_s: float = 1.0
    patience_s: float = 3.0
    output: Path = Path('nurec_probe')


@dataclass(frozen=True, slots=True)
class Report:
    """All stages in their order, the files of pictures and clouds, and the seconds it took."""

    stages: tuple[Stage, ...]
    pictures: tuple[Path, ...]
    clouds: tuple[Path, ...]
    elapsed_s: float

    @property
    def ok(self) -> bool:
        """Return whether every stage passed."""
        return passed(self.stages)

    def to_json(self) -> dict[str, object]:
        """Return the report in JSON's own types."""
        return {
            'ok': self.ok,
            'summary': summary(self.stages),
            'elapsed_s': round(self.elapsed_s, 3),
            'stages': [stage.to_json() for stage in self.stages],
            'pictures': [str(path) for path in self.pictures],
            'clouds': [str(path) for path in self.clouds],
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

    `patience` is called when the first frame takes long. Raise ConfigurationError for options
    that cannot be honoured and for files that cannot be written.
    """
    began = time.perf_counter()
    stages: list[Stage] = []
    probe = _Probe(scenario, options, patience)
    pictures, clouds = _Folder(options.output), _Folder(options.output)
    for stage in probe.stages():
        stages.append(stage)
        on_stage(stage)
        pictures.keep(probe.pictures)
        clouds.keep(probe.spins)
    for stage in _untried(stages, probe.names):
        stages.append(stage)
        on_stage(stage)
    took_s = time.perf_counter() - began
    return Report(tuple(stages), tuple(pictures.paths), tuple(clouds.paths), took_s)


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


class _Folder:
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


class _Probe:
    """One probe: its options, which are checked before anything is asked, and what came."""

    def __init__(
        self, scenario: Scenario, options: ProbeOptions, patience: Callable[[], None]
    ) -> None:
        self.pictures: list[Picture] = []
        self.spins: list[ProbedSpin] = []
        self._scenario = scenario
        self._options = options
        self._patience = patience
        self._cameras = _chosen(scenario, options.cameras)
        lidars = scenario.lidars
        unwanted = no_lidars_wanted(lidars, options.lidars)
        self._lidars = () if unwanted else chosen_names(lidars, lidars, options.lidars, 'lidar')
        addresses(options.server)
        check_proxy(options.server, options.use_proxy)
        self._metadata = scene_metadata(options.scene_url, options.scene_id or scenario.scene_id)
        # Refuses what cannot be honoured.
        RenderOptions(
            server=options.server,
            resolution_scale=options.scale,
            render_timeout_s=options.timeout_s,
            first_render_timeout_s=options.first_timeout_s,
        )
        self._certificate = root_certificate(options.tls_root_certificate)
        check_folder(options.output)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the stages that there are for this archive."""
        return STAGES if self._lidars else STAGES[:-1]

    def stages(self) -> Iterator[Stage]:
        """Yield the stages; end early where a failure leaves nothing to try."""
        options = self._options
        proxies = proxies_in_force()
        places: list[tuple[str, str, int]] = []
        if options.use_proxy and proxies:
            for name in ('resolve', 'tcp'):
                yield Stage(name, NOTE, 'left to the proxy that the environment names')
        else:
            stage, resolved = resolve_stage(options.server, options.timeout_s)
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
        channel = open_channel(
            resolve(options.server), self._certificate, use_proxy=options.use_proxy
        )
        try:
            stage = channel_stage(
                channel,
                options.timeouts.get('channel', options.timeout_s),
                lambda: (
                    silent_socket(options.server)
                    or fault_among(places, self._certificate, options.timeout_s)
                ),
                proxies,
                use_proxy=options.use_proxy,
            )
            yield stage
            if stage.status != FAIL:
                yield from self._server_stages(channel)
        finally:
            channel.close()

    def _server_stages(self, channel: grpc.Channel) -> Iterator[Stage]:
        options, scenario = self._options, self._scenario
        timeouts = {'alive': min(2.0, options.timeout_s), **options.timeouts}
        if self._metadata:
            # Whatever is asked first has the server load the scene.
            for name in ('service', 'scenes'):
                timeouts[name] = max(options.timeout_s, options.first_timeout_s)
        calls = Calls(
            channel,
            options.server,
            options.timeout_s,
            timeouts=timeouts,
            metadata=self._metadata,
        )
        stage, silent = health_stage(calls)
        yield stage
        if silent:
            return
        yield from service_stages(calls, options.service_prefix)
        if not calls.prefix:
            return
        yield config_stage(calls)
        stage, scene_id = scenes_stage(calls, scenario, options.scene_id, options.scene_url)
        yield stage
        if not scene_id:
            return
        problems = {} if options.cameras else _problems(scenario)
        yield cameras_stage(calls, scenario, scene_id, self._cameras, problems)
        renders = Renders(
            scenario=scenario,
            calls=calls,
            scene_id=scene_id,
            cameras=self._cameras,
            low_scale=options.scale,
            first_timeout_s=options.first_timeout_s,
            slow_s=options.slow_s,
            patience=self._patience,
            patience_s=options.patience_s,
            pictures=self.pictures,
        )
        yield from renders.stages()
        yield sizes_stage(self.pictures)
        yield images_stage(self.pictures)
        yield from lidar_stages(renders, self._lidars, self.spins)


def _problems(scenario: Scenario) -> dict[str, str]:
    """Return why some of the archive's cameras cannot be rendered."""
    return {
        name: camera.problem or 'it has no camera model'
        for name, camera in scenario.cameras.items()
        if not camera.renderable
    }


def _chosen(scenario: Scenario, wanted: tuple[str, ...]) -> tuple[str, ...]:
    problems = _problems(scenario)
    known = [name for name in scenario.cameras if name not in problems]
    if not known:
        raise ConfigurationError(f'{scenario.path} has no camera that can be rendered')
    for name in wanted:
        if name in problems:
            raise ConfigurationError(
                f'cameras names {name!r}, which cannot be rendered: {problems[name]}'
            )
    return chosen_names(known, known, wanted, 'camera')


def _untried(stages: list[Stage], names: tuple[str, ...]) -> Iterator[Stage]:
    """Yield the stages that were not come to, each as skipped."""
    seen = {stage.name for stage in stages}
    # What ended the probe is the last of them: it went on after the others.
    cause = next((stage.name for stage in reversed(stages) if stage.status == FAIL), '')
    if cause:
        for name in names:
            if name not in seen:
                yield Stage(name, SKIP, f'not tried, because {cause} failed')
