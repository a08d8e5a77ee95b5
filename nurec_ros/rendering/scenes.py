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
"""Which of the scenes that a server has is the scenario, and what may be wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc
from nurec_ros.rendering.channel import Channel
from nurec_ros.rendering.protos import common_pb2, sensorsim_pb2
from nurec_ros.rendering.render_options import RenderOptions
from nurec_ros.rendering.server_errors import ASK_AGAIN, classify, ServerError
from nurec_ros.scenario import Scenario

# In a list of scenes: the server takes any name, as some simulators do.
ANY_SCENE = '*'

Spans = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class FoundScene:
    """
    The scenes of a server, and the one to ask for.

    scene_id is empty, and error says why, where there is none. note: what may be wrong with it.
    """

    names: tuple[str, ...]
    scene_id: str
    error: ServerError | None = None
    note: str = ''


def find_scene(
    channel: Channel, prefix: str, scenario: Scenario, options: RenderOptions
) -> FoundScene:
    """Ask a server for its scenes and choose; ServerError where it does not answer."""
    ours = options.scene_id or scenario.scene_id
    try:
        if options.scene_url:  # the server has it once it has loaded it, which it may do now
            return FoundScene(scene_names(channel, prefix, options.first_render_timeout_s), ours)
        names = scene_names(channel, prefix)
    except ServerError as error:
        if error.kind != 'version':
            raise
        # Never seen, but no reason to refuse: the scene's name is known from the archive.
        return FoundScene((), ours)
    try:
        chosen = choose_scene(scenario, names, options.scene_id)
    except ServerError as error:
        return FoundScene(names, '', error)
    note = describe_scene(scenario, names, chosen, options.scene_id)
    if note:
        try:
            reply = channel.ask(
                prefix,
                'get_available_trajectories',
                sensorsim_pb2.AvailableTrajectoriesReturn.FromString,
                request=sensorsim_pb2.AvailableTrajectoriesRequest(scene_id=chosen),
            )
        except ServerError:
            return FoundScene(names, chosen, None, note)  # older servers do not know them
        note = describe_scene(scenario, names, chosen, options.scene_id, spans_of(reply))
    return FoundScene(names, chosen, None, note)


def scene_names(channel: Channel, prefix: str, least_s: float = 0.0) -> tuple[str, ...]:
    """Ask a server for the names of its scenes."""
    parse = common_pb2.AvailableScenesReturn.FromString
    reply = channel.ask(prefix, 'get_available_scenes', parse, least_s=least_s)
    return tuple(reply.scene_ids)


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
    Return what may be wrong with a scene that was chosen; empty where its name is the scenario's.

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
    """Return the first and the last time of each trajectory that has any, ns."""
    times = [
        [pose.timestamp_us * 1000 for pose in entry.trajectory.poses]
        for entry in reply.available_trajectories
    ]
    return tuple((min(found), max(found)) for found in times if found)


def version_text(version: common_pb2.VersionId) -> str:
    """Return version id and API version for people; the API version where it says one."""
    api = version.grpc_api_version
    numbers = f'{api.major}.{api.minor}.{api.patch}'
    text = version.version_id or 'unknown'
    return text if numbers == '0.0.0' else f'{text} (gRPC API {numbers})'
