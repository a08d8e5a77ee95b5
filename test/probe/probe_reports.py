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
"""Probes, and the questions that tests ask of their reports."""

from nurec_ros.probe.run import ProbeOptions, run


def status(report, name):
    """Give the set of statuses of the stages of that name."""
    return {stage.status for stage in report.stages if stage.name == name}


def stage(report, name, wanted):
    """Give the first stage of that name and status."""
    return next(s for s in report.stages if s.name == name and s.status == wanted)


def failed(report):
    """Give the names of the stages that failed, each once."""
    return list(dict.fromkeys(s.name for s in report.stages if s.status == 'fail'))


def unserved(scenario, server, folder, **options):
    """Probe an address, pictures to the subfolder `out`."""
    return run(scenario, ProbeOptions(server=server, output=folder / 'out', **options))
