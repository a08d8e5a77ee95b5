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
"""
A channel to a server: opened as typed, asked short questions, watched until it breaks.

And its first questions: which of the scenes that a server has is the scenario, and what may be
wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
import json
import math
import os
from pathlib import Path
import re
import threading
from typing import TYPE_CHECKING

import grpc
from nurec_ros.errors import ConfigurationError
from nurec_ros.rendering import policy
from nurec_ros.rendering.address import Target
from nurec_ros.rendering.policy import RenderOptions
from nurec_ros.rendering.protos import common_pb2, sensorsim_pb2
from nurec_ros.rendering.server_errors import ASK_AGAIN, BLOCKED, classify, ServerError
from nurec_ros.scenario import Scenario
from nurec_ros.setting_values import check_scene_url

if TYPE_CHECKING:
    from google.protobuf.message import Message

Metadata = tuple[tuple[str, str], ...]

# What the client calls: the messages that go and come.
METHODS = {
    'get_version': (common_pb2.Empty, common_pb2.VersionId),
    'get_available_scenes': (common_pb2.Empty, common_pb2.AvailableScenesReturn),
    'get_available_trajectories': (
        sensorsim_pb2.AvailableTrajectoriesRequest,
        sensorsim_pb2.AvailableTrajectoriesReturn,
    ),
    'render_rgb': (sensorsim_pb2.RGBRenderRequest, sensorsim_pb2.RGBRenderReturn),
    'render_lidar': (sensorsim_pb2.LidarRenderRequest, sensorsim_pb2.LidarRenderReturn),
    'batch_render_rgb': (
        sensorsim_pb2.BatchRGBRenderRequest,
        sensorsim_pb2.BatchRGBRenderReturn,
    ),
}

CHANNEL_OPTIONS = {
    # The default of 4 MB refuses one raw 1080p frame; a raw batch of six is 150 MB.
    'grpc.max_receive_message_length': 256 << 20,
    # A request is a few kB, one with all tracks in a batch still below 1 MB.
    'grpc.max_send_message_length': 64 << 20,
    # A restarted preview server is back within a second.
    'grpc.initial_reconnect_backoff_ms': 100,
    # Images are to be back within 2 s of the server, whose first frame takes its own time.
    'grpc.max_reconnect_backoff_ms': 500,
    # One attempt to connect may take this long: a blocked server accepts late.
    'grpc.min_reconnect_backoff_ms': 5000,
    # A halted player keeps its connection: the next picture is wanted at once.
    'grpc.client_idle_timeout_ms': 2**31 - 1,
    # No grpc.keepalive_time_ms: while a server compiles its kernels (up to a minute) it answers
    # no ping, and a client that insists would cut the connection on which its first frame comes.
}

# What gRPC reads, in its order; it knows neither all_proxy nor the names in capitals.
PROXY_VARIABLES = ('grpc_proxy', 'https_proxy', 'http_proxy')
NO_PROXY_VARIABLES = ('no_grpc_proxy', 'no_proxy')
ROUND_ROBIN = json.dumps({'loadBalancingConfig': [{'round_robin': {}}]})

# gRPC's Python watches a channel's state in steps of 0.2 s, from a thread that fails loudly when
# the channel is closed under it: it is let go first.
_WATCH_STEP_S = 1.0

# In a list of scenes: the server takes any name, as some simulators do.
ANY_SCENE = '*'

Spans = tuple[tuple[int, int], ...]
# What servers from 26.04 on take as the name of a scene that they load from a URL.
_SCENE_NAME = re.compile(r'[A-Za-z0-9_-]+')


def proxies_in_force(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """
    Return the proxy variables that gRPC obeys where it is asked to, without passwords.

    The first of PROXY_VARIABLES that holds anything, and the list of exceptions from it.
    """
    found: dict[str, str] = {}
    for names in (PROXY_VARIABLES, NO_PROXY_VARIABLES):
        name = next((name for name in names if environment.get(name)), '')
        if name:
            found[name] = re.sub(r'//[^/@]*@', '//…@', environment[name])
    # Without a proxy the exceptions mean nothing.
    return found if any(name in PROXY_VARIABLES for name in found) else {}


def open_channel(
    target: Target, certificate: bytes | None, *, use_proxy: bool = False
) -> grpc.Channel:
    """
    Open a channel, without waiting for it to connect.

    All channels of this package are made here: proxies of the environment are not obeyed unless
    use_proxy, for company networks set them and a render server lies on this side of them.
    """
    options: dict[str, int | str] = {**CHANNEL_OPTIONS, 'grpc.enable_http_proxy': int(use_proxy)}
    if not use_proxy:
        # GRPC_ADDRESS_HTTP_PROXY: between gRPC and the addresses that a name resolves to.
        options['grpc.address_http_proxy_enabled_addresses'] = ''
    if target.servers > 1 or target.host:
        options['grpc.service_config'] = ROUND_ROBIN
    if certificate is None:
        return grpc.insecure_channel(target.address, [*options.items()])
    if target.host:
        # The target holds bare addresses; the certificate carries the name that was typed.
        options['grpc.ssl_target_name_override'] = target.host
    credentials = grpc.ssl_channel_credentials(certificate)
    return grpc.secure_channel(target.address, credentials, [*options.items()])


class Channel:
    """
    An open channel; `on_broken(channel)` is called from gRPC's thread when a connection is lost.

    With one server this also tells that it was restarted while nothing was asked of it, which no
    call would: gRPC connects anew without a word. server: its name in messages. metadata: sent
    with every call.
    """

    def __init__(
        self,
        target: Target,
        certificate: bytes | None,
        server: str,
        on_broken: Callable[[Channel], None],
        *,
        use_proxy: bool = False,
        metadata: Metadata = (),
    ) -> None:
        self.target = target
        self.grpc_channel = open_channel(target, certificate, use_proxy=use_proxy)
        self.metadata = metadata
        self.server = server
        self._on_broken = on_broken
        self._ready = threading.Event()
        self._question: grpc.Future | None = None
        self._retired = False
        self.grpc_channel.subscribe(self._on_state)

    def method(self, prefix: str, method: str) -> grpc.UnaryUnaryMultiCallable:
        """Return gRPC's callable for a method of the service."""
        request, reply = METHODS[method]
        return self.grpc_channel.unary_unary(
            f'/{prefix}/{method}', request.SerializeToString, reply.FromString
        )

    def ask(
        self,
        prefix: str,
        method: str,
        *,
        request: Message | None = None,
        wait_for_ready: bool = False,
        limit_s: float = math.inf,
        least_s: float = 0.0,
    ) -> Message:
        """
        Call a method; ServerError if it fails, or by its deadline.

        request: None for a method that takes nothing. limit_s: a shorter deadline; least_s: a
        longer one.
        """
        deadline_s = policy.DEADLINES['await server' if wait_for_ready else method]
        timeout_s = max(min(deadline_s, limit_s), least_s)
        try:
            self._question = call = self.method(prefix, method).future(
                common_pb2.Empty() if request is None else request,
                timeout=timeout_s,
                wait_for_ready=wait_for_ready,
                metadata=self.metadata,
            )
            if self._retired:
                call.cancel()
            return call.result()
        except grpc.RpcError as error:
            code = error.code()
            # A server that is being stopped cancels what it was asked.
            stopping = code is grpc.StatusCode.CANCELLED
            if code is grpc.StatusCode.DEADLINE_EXCEEDED:
                # Not a frame that takes too long: nothing is answered.
                raise ServerError(
                    'timeout',
                    f'{self.server} did not answer {method} within {timeout_s:g} s',
                    BLOCKED,
                ) from error
            raise classify(
                grpc.StatusCode.UNAVAILABLE if stopping else code,
                error.details() or '',
                server=self.server,
                method=method,
                prefix=prefix,
                timeout_s=timeout_s,
            ) from error
        except (ValueError, grpc.FutureCancelledError) as error:
            raise ServerError('closed', 'the connection was given up', '') from error
        except (MemoryError, RuntimeError) as error:  # gRPC starts threads for its calls
            raise ServerError.own(error, method) from error
        finally:
            self._question = None

    def watched(self, timeout_s: float) -> bool:
        """
        Wait until gRPC has told that there is a connection; return whether it has.

        The end of one that it has not told of goes unseen.
        """
        return self._ready.wait(timeout_s)

    def retire(self) -> None:
        """Abandon the channel; what is in flight over it is cancelled a little later."""
        self._retired = True
        question = self._question
        if question is not None:
            question.cancel()
        self.grpc_channel.unsubscribe(self._on_state)
        closing = threading.Thread(target=self._close, name='nurec-close', daemon=True)
        try:
            closing.start()
        except (MemoryError, RuntimeError):  # no thread to be had: this one waits
            self._close()

    def _close(self) -> None:
        threading.Event().wait(_WATCH_STEP_S)
        self.grpc_channel.close()

    def _on_state(self, state: grpc.ChannelConnectivity) -> None:
        was_ready = self._ready.is_set()
        if state is grpc.ChannelConnectivity.READY:
            self._ready.set()
            return
        self._ready.clear()
        if was_ready and not self._retired:
            self._on_broken(self)


# --- scenes --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FoundScene:
    """
    The scenes of a server, and the one to ask for.

    scene_id is empty, and error says why, while it does not have ours. note: what may be wrong
    with the one that was taken, empty where its name is ours.
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
    if chosen in (options.scene_id, scenario.scene_id, scenario.metadata_scene_id):
        return FoundScene(names, chosen)
    request = sensorsim_pb2.AvailableTrajectoriesRequest(scene_id=chosen)
    try:
        spans_ns = spans_of(channel.ask(prefix, 'get_available_trajectories', request=request))
    except ServerError:
        spans_ns = ()  # older servers do not know them
    return FoundScene(names, chosen, note=describe_scene(scenario, names, chosen, spans_ns))


def scene_names(channel: Channel, prefix: str, least_s: float = 0.0) -> tuple[str, ...]:
    return tuple(channel.ask(prefix, 'get_available_scenes', least_s=least_s).scene_ids)


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
    scenario: Scenario, scenes: tuple[str, ...], chosen: str, spans_ns: Spans
) -> str:
    """
    Return what may be wrong with a scene that was chosen though its name is not the scenario's.

    spans_ns: first and last time of the trajectories that the server has for it, as far as it
    told: where none of them meets the scenario's range, it is another drive.
    """
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


def scene_metadata(scene_url: str, scene_id: str) -> Metadata:
    """
    Return what is sent with every call so that the server loads the scene itself.

    Empty without a URL. ConfigurationError for an id that servers do not take beside one.
    """
    if not scene_url:
        return ()
    check_scene_url(scene_url)
    if not _SCENE_NAME.fullmatch(scene_id):
        raise ConfigurationError(
            f'scene_id is {scene_id!r}, expected letters, digits, _ and - alone beside a '
            'scene_url: set scene_id to the name that the scene is to have on the server'
        )
    return ('x-nre-scene-url', scene_url), ('x-nre-scene-id', scene_id)
