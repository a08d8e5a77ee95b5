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
"""Probes of a test's own, and what is asked about their reports."""

from dataclasses import replace
from test.rendering.fake_server import png
from test.support.ports import claim_port
from typing import Any

from nurec_ros.probe.answers import ProbeOptions
from nurec_ros.probe.stages import run

# A loaded machine may take a second or three for what is at once elsewhere.
AT_ANY_PACE: dict[str, Any] = dict.fromkeys(('slow_s', 'patience_s', 'timeout_s'), 60.0)


def probe_at(scenario, server, folder, *, on_stage=lambda _: None, **options):
    """Probe an address, pictures to the subfolder `out`; return the report, remedies in it."""
    where = {'server': server, 'output': folder / 'out'}
    chosen = {**AT_ANY_PACE, **options}
    chosen['timeouts'] = {'alive': 60.0, **options.get('timeouts', {})}
    report = run(scenario, ProbeOptions(**where, **chosen), on_stage=on_stage)
    assert all(found.remedy for found in report.stages if found.status == 'fail')
    return report


def with_small_cameras(scenario, count=None):
    """Return a scenario with its first cameras alone, a quarter as large: quicker to draw."""
    small = {}
    for name, camera in list(scenario.cameras.items())[:count]:
        width, height = camera.model.resolution
        small[name] = replace(camera, model=camera.model.resized(width // 4, height // 4))
    return replace(scenario, cameras=small)


def closed():
    """Return an address where nothing listens."""
    return f'127.0.0.1:{claim_port()}'


def grey(request, _context):
    """Return a picture that is not black."""
    return png(request.resolution_w, request.resolution_h, 128)


def statuses(report, name):
    """Return the statuses of the stages of that name, in their order."""
    return [stage.status for stage in report.stages if stage.name == name]


def stage(report, name, wanted):
    """Return the first stage of that name and status."""
    return next(s for s in report.stages if s.name == name and s.status == wanted)


def failed(report):
    """Return the names of the stages that failed, each once."""
    return list(dict.fromkeys(s.name for s in report.stages if s.status == 'fail'))
