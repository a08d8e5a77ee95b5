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
"""One connection to a server: what it is called, what it holds, what was learned about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from nurec_ros.rendering.link import Link
from nurec_ros.rendering.policy import ASK_AGAIN, ServerError
from nurec_ros.rendering.protos import common_pb2, sensorsim_pb2
from nurec_ros.rendering.remedies import classify
from nurec_ros.scenario import Scenario

# In a list of scenes: the server takes any name, as some simulators do.
ANY_SCENE = '*'

Spans = tuple[tuple[int, int], ...]


@dataclass(eq=False, slots=True)
class Session:
    """
    One connection to a server that answered.

    scene_id is empty, and scene_error says why, while the server does not have our scene.
    scene_note: what may be wrong with the scene that was taken, empty where its name is ours.
    `batch`: None until tried; `batch_note`: why it is False, once that was learned. `tracks`:
    False once the server refused them. `warm`: a frame of the scene came. All that has a default
    is written by the pipeline, under its lock.
    """

    number: int
    link: Link
    prefix: str
    version: str
    scenes: tuple[str, ...]
    scene_id: str
    scene_error: ServerError | None
    scene_note: str
    servers: int
    since: float
    render_rgb: Any
    batch_render_rgb: Any
    batch: bool | None = None
    batch_failures: int = 0
    batch_mismatches: int = 0
    batch_note: str = ''
    tracks: bool = True
    warm: bool = False
    first_pending: int = 0
    first_said: bool = False


def choose_scene(scenario: Scenario, scenes: tuple[str, ...], wanted: str = '') -> str:
    """
    Return the name under which the server has the scenario.

    `wanted` alone, where it is given; of a server that takes any name the sequence id; else the
    sequence id, the metadata's scene id, the only name that holds the file's stem, the only name
    at all. ServerError listing the names that the server has.
    """
    if ANY_SCENE in scenes:
        return wanted or scenario.scene_id
    if wanted:
        if wanted in scenes:
            return wanted
    else:
        for name in (scenario.scene_id, scenario.metadata_scene_id):
            if name and name in scenes:
                return name
        stem = Path(scenario.path).stem
        matching = [name for name in scenes if stem and stem in name]
        if len(matching) == 1:
            return matching[0]
        if len(scenes) == 1:
            return scenes[0]
    if not scenes:
        raise ServerError(
            'scene',
            'the server has no scenes at all',
            'start it with --artifact-glob for this file (the pattern must end in .usdz); its log '
            'tells which archives it refused',
            ASK_AGAIN,
        )
    raise classify(
        grpc.StatusCode.NOT_FOUND,
        'by its own list',
        scene_id=wanted or scenario.scene_id,
        scenes=', '.join(sorted(scenes)) or 'none',
    )


def describe_scene(
    scenario: Scenario, scenes: tuple[str, ...], chosen: str, wanted: str, spans_ns: Spans = ()
) -> str:
    """
    Say what may be wrong with a scene that was chosen; empty where its name is the scenario's.

    spans_ns: first and last time of the trajectories that the server has for it, as far as it
    told: where none of them meets the scenario's range, it is another drive.
    """
    if chosen in (wanted, scenario.scene_id, scenario.metadata_scene_id):
        return ''
    what = (
        f"the server's only scene is {chosen!r}, taken for {scenario.scene_id!r}"
        if len(scenes) == 1
        else f"the server's scene {chosen!r} was taken for {scenario.scene_id!r} by the name of "
        'the file'
    )
    apart = [last < scenario.start_ns or first > scenario.end_ns for first, last in spans_ns]
    if apart and all(apart):
        doubt = 'it is another drive, recorded at another time, and so are its pictures'
    else:
        doubt = 'its pictures may show another drive'
    return f'{what}: {doubt}; set scene_id to choose'


def spans_of(reply: sensorsim_pb2.AvailableTrajectoriesReturn) -> Spans:
    """Give the first and the last time of each trajectory that has any, ns."""
    times = [
        [pose.timestamp_us * 1000 for pose in entry.trajectory.poses]
        for entry in reply.available_trajectories
    ]
    return tuple((min(found), max(found)) for found in times if found)


def version_text(version: common_pb2.VersionId) -> str:
    """Give version id and API version for people; the API version where it says one."""
    api = version.grpc_api_version
    numbers = f'{api.major}.{api.minor}.{api.patch}'
    text = version.version_id or 'unknown'
    return text if numbers == '0.0.0' else f'{text} (gRPC API {numbers})'
