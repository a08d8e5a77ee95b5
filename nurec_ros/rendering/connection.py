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
The connection to a render server: found, asked once what it is, watched, found again.

A thread of its own connects and retries for ever. What is known is one immutable value, `state`,
that is swapped: whoever renders takes the server of the moment from it. When a call tells that the
server is gone, `lost` swaps it, and the thread looks for the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
import math
import threading
import time

import grpc
from nurec_ros.rendering import policy
from nurec_ros.rendering.address import (
    addresses,
    check_proxy,
    resolve,
    root_certificate,
    TlsCheck,
)
from nurec_ros.rendering.channel import (
    Channel,
    find_scene,
    FoundScene,
    METHODS,
    scene_metadata,
    scene_names,
    version_text,
)
from nurec_ros.rendering.policy import Learned, RenderOptions
from nurec_ros.rendering.protos import common_pb2
from nurec_ros.rendering.server_errors import CONDEMN, RECONNECT, ServerError
from nurec_ros.scenario import Scenario

Log = Callable[[str, str], None]

# What a call that failed says about its connection.
LOST = 'lost'  # the server is away: it is over
CHANGED = 'changed'  # another server may be there now: it is asked anew what it is
DOUBTED = 'doubted'  # whether it answers anything at all is to be found out

# A connection that held for so long was one to a server that works.
_PROVED_S = 5.0


@dataclass(eq=False, slots=True)
class Server:
    """
    A server that answered, on one connection.

    since: monotonic seconds. renders: gRPC's callable for each method that renders. learned: the
    dispatcher's, the only one that changes.
    """

    channel: Channel
    prefix: str
    version: str
    scene: FoundScene
    since: float
    renders: dict[str, grpc.UnaryUnaryMultiCallable]
    learned: Learned


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """
    What is known of the connection at one moment.

    server: the one to render with; known: that, or the last one there was, for diagnostics. down:
    an attempt to connect has failed. error: what is wrong with the connection, or with the scene
    on it. away_since: monotonic seconds, None while there is a server.
    """

    down: bool = False
    server: Server | None = None
    known: Server | None = None
    error: ServerError | None = None
    away_since: float | None = None


class Connection:
    """
    Finds and keeps a server for one scenario; nothing here blocks its caller.

    `on_change` is called from the connecting thread whenever `state` has a server or a verdict.
    ConfigurationError for an address list, a certificate or a scene that cannot be used at all.
    """

    def __init__(
        self,
        scenario: Scenario,
        options: RenderOptions,
        *,
        log: Log,
        on_change: Callable[[], None],
    ) -> None:
        addresses(options.server)
        check_proxy(options.server, options.use_proxy)
        self.state = ConnectionState()
        self._scenario = scenario
        self._options = options
        self._metadata = scene_metadata(options.scene_url, options.scene_id or scenario.scene_id)
        # A server that is to load the scene does so at the first call that names it.
        self._first_s = options.first_render_timeout_s if self._metadata else 0.0
        self._certificate = root_certificate(options.tls_root_certificate)
        self._log = log
        self._on_change = on_change
        # Guards the swap of `state`, and with it what is to become of the channel.
        self._lock = threading.Lock()
        self._channel: Channel | None = None
        self._rebuild = False
        self._closed = threading.Event()
        # What other threads tell the connecting one.
        self._wake = threading.Event()
        self._doubted = False
        self._heard = 0.0
        self._proved: Server | None = None
        # Of the connecting thread alone: what was logged last, whether it was without a server,
        # and whether the last that the log says is that nothing comes.
        self._tls = TlsCheck(options.server, self._certificate, options.use_proxy)
        self._announced = ''
        self._noted = ''
        self._was_down = False
        self._unsaid = False
        self._began = 0.0
        self._thread = threading.Thread(target=self._run, name='nurec-connect', daemon=True)

    def start(self) -> None:
        self._began = time.monotonic()
        self.state = replace(self.state, away_since=self._began)
        if self._metadata:
            url, name = (value for _, value in self._metadata)
            self._log('info', f'{self._options.server} is asked to load {url} as {name}')
        self._thread.start()

    def heard(self, server: Server, *, frame: bool) -> None:
        """Note that a render was answered, and whether with a frame: the server lives."""
        self._heard = time.monotonic()
        if frame:
            self._proved = server
            if self._unsaid:
                self._wake.set()

    def lost(
        self, server: Server, error: ServerError | None = None, *, rebuild: bool = False
    ) -> None:
        """
        End the connection to a server that does not answer any more; a no-op for an earlier one.

        error: how that was seen. rebuild: give up its TCP connection too, which may be dead
        without anybody knowing.
        """
        with self._lock:
            if self.state.server is not server:
                return
            self._rebuild = rebuild
            self.state = ConnectionState(known=server, error=error, away_since=time.monotonic())
        self._wake.set()

    def judged(self, server: Server, verdict: str, error: ServerError) -> None:
        """Take what the failure of a call says of its connection; empty: nothing."""
        if verdict == LOST:
            self.lost(server, error)
        elif verdict == CHANGED:
            # Another server may be there now: it is asked anew, but only now and then.
            if time.monotonic() - server.since >= policy.SCENE_CHECK_S:
                self.lost(server)
        elif verdict == DOUBTED and self.state.server is server:
            self._doubted = True
            self._wake.set()

    def close(self, timeout_s: float) -> None:
        """Abandon the channel and end the thread, within the limit."""
        until = time.monotonic() + timeout_s
        self._closed.set()
        self._wake.set()
        with self._lock:
            self.state = replace(self.state, server=None)
            channel, self._channel = self._channel, None
        if channel is not None:
            channel.retire()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(max(until - time.monotonic(), 0.0))

    # --- the connecting thread -------------------------------------------------------------------

    def _run(self) -> None:
        attempt = 0
        while not self._closed.is_set():
            began = time.monotonic()
            try:
                server = self._connect()
            except Exception as unknown:  # noqa: BLE001 (whatever it is, retrying goes on)
                error = self._tls.explain(ServerError.own(unknown, 'connecting'))
                self._down(error)
                if error.action == RECONNECT:
                    self._await_server()
                else:
                    self._closed.wait(policy.backoff_s(attempt))
                attempt += 1
                continue
            self._ready(server)
            self._watch(server)
            proved = self._proved is server
            if proved:
                self._announced = ''
            lost = self.state.error
            if lost is not None:
                self._announce(lost)
            # A server that answers, but loses every frame, is not asked without end.
            if proved or time.monotonic() - began > _PROVED_S:
                attempt = 0
            else:
                self._closed.wait(policy.backoff_s(attempt))
                attempt += 1

    def _connect(self) -> Server:
        """Find the service, ask version and scenes; ServerError for every way to fail."""
        channel = self._open()
        prefix, version = self._find_service(channel)
        scene = find_scene(channel, prefix, self._scenario, self._options)
        if not channel.watched(policy.WATCHED_S):
            # It may be over already.
            channel.ask(prefix, 'get_version')
        return Server(
            channel=channel,
            prefix=prefix,
            version=version_text(version),
            scene=scene,
            since=time.monotonic(),
            renders={name: channel.method(prefix, name) for name in METHODS if 'render' in name},
            learned=Learned(batch=None if self._options.batch == 'auto' else False),
        )

    def _open(self) -> Channel:
        """Return the channel; a new one where a list resolves to other addresses than before."""
        channel = self._channel
        target = channel.target if channel is not None else None
        if target is None or target.servers > 1 or target.host:
            target = resolve(self._options.server)
        if channel is not None and not self._rebuild and target == channel.target:
            return channel
        for note in target.notes:
            self._log('warn', note)
        fresh = Channel(
            target,
            self._certificate,
            self._options.server,
            self._on_broken,
            use_proxy=self._options.use_proxy,
            metadata=self._metadata,
        )
        with self._lock:
            closed = self._closed.is_set()
            if not closed:
                self._channel, self._rebuild = fresh, False
        if closed:
            fresh.retire()
            raise ServerError('closed', 'the connection is closed', '')
        if channel is not None:
            channel.retire()
        return fresh

    def _on_broken(self, channel: Channel) -> None:
        server = self.state.server
        if server is not None and server.channel is channel:
            self.lost(server)

    def _find_service(self, channel: Channel) -> tuple[str, common_pb2.VersionId]:
        """Try the known names of the service, the one that worked last first."""
        known, wanted = self.state.known, self._options.service_prefix
        names = [wanted] if wanted else list(policy.SERVICE_PREFIXES)
        if known is not None:
            names.sort(key=lambda name: name != known.prefix)
        for name in names:
            try:
                return name, channel.ask(name, 'get_version', least_s=self._first_s)
            except ServerError as error:  # noqa: PERF203 (three names, once for a connection)
                if error.kind != 'version':
                    raise
        raise ServerError(
            'service',
            f'{self._options.server} answers, but not under the service '
            f'{"name " if len(names) == 1 else "names "}{", ".join(names)}',
            'is it a NuRec render server? set service_prefix to the name of its service '
            f'(grpcurl -plaintext {self._options.server} list)',
            CONDEMN,
        )

    def _await_server(self) -> None:
        """Wait until the server answers anything; gRPC connects meanwhile, at least once a s."""
        channel = self._channel
        if channel is None or self._closed.is_set():
            return
        prefix = self._options.service_prefix or policy.SERVICE_PREFIXES[0]
        began = time.monotonic()
        try:
            # Back in time to say, after the grace, that there is no server.
            grace_s = self._grace_s()
            limit_s = grace_s if grace_s > 0.0 else math.inf
            channel.ask(prefix, 'get_version', wait_for_ready=True, limit_s=limit_s)
        except ServerError:
            # What it says is asked again, properly, by _connect; only do not spin on it.
            spent = time.monotonic() - began
            self._closed.wait(max(policy.backoff_s(0) - spent, 0.0))

    def _watch(self, server: Server) -> None:
        """Return when the server is lost; meanwhile look for our scene, and into doubts."""
        while not self._closed.is_set() and self.state.server is server:
            self._wake.wait(policy.SCENE_CHECK_S if server.scene.error else None)
            self._wake.clear()
            if self._closed.is_set() or self.state.server is not server:
                return
            if server.scene.error is not None:
                self._look_for_scene(server)
            elif self._doubted:
                self._check(server)
            elif self._unsaid and self._proved is server:
                self._unsaid = False
                self._log('info', f'{self._options.server} renders again')

    def _look_for_scene(self, server: Server) -> None:
        try:
            if scene_names(server.channel, server.prefix) != server.scene.names:
                self.lost(server)
        except ServerError as error:
            self.lost(server, error)

    def _check(self, server: Server) -> None:
        """Find out whether a server whose frames time out answers anything else."""
        self._doubted = False
        began = time.monotonic()
        try:
            server.channel.ask(server.prefix, 'get_version')
        except ServerError as error:
            if error.kind != 'timeout':
                self.lost(server, error)
            elif self._heard < began:
                # Not a word for long: the connection may be dead without anybody knowing.
                self.lost(server, error, rebuild=True)

    # --- verdicts --------------------------------------------------------------------------------

    def _down(self, error: ServerError) -> None:
        with self._lock:
            if self._closed.is_set():
                return
            self.state = replace(self.state, down=True, error=error)
        self._was_down = True
        self._announce(error)
        self._on_change()

    def _ready(self, server: Server) -> None:
        with self._lock:
            if self._closed.is_set():
                return
            last = self.state.known
            self.state = ConnectionState(server=server, known=server, error=server.scene.error)
            self._heard = time.monotonic()
        self._wake.clear()
        if server.scene.error is not None:
            self._announce(server.scene.error)
        elif self._was_down or last is None or last.version != server.version:
            self._was_down = self._unsaid = False
            self._announced = ''
            self._tls.forget()
            self._log(
                'info',
                f'connected to {self._options.server}: version {server.version}, '
                f'scene {server.scene.scene_id}, service {server.prefix}',
            )
        if server.scene.note and server.scene.note != self._noted:
            self._noted = server.scene.note
            self._log('warn', server.scene.note)
        self._on_change()

    def _announce(self, error: ServerError) -> None:
        """Log what is wrong with the connection, once until it has worked again."""
        if error.kind in ('unreachable', 'starting') and self._grace_s() > 0.0:
            return
        if error.kind != self._announced:
            self._announced = error.kind
            self._unsaid = True
            self._log('error', str(error))

    def _grace_s(self) -> float:
        """Return how long a server that never was there may still take without a line of log."""
        if self.state.known is not None:
            return 0.0
        return self._began + policy.START_GRACE_S - time.monotonic()
