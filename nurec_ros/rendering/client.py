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

A thread of its own connects and retries for ever. Whoever renders takes the `session` of the
moment: the channel, the service's name and the scene on one connection. When a call tells that
the server is gone, `lost` ends the session and the thread looks for the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
import threading
import time
from typing import Any

import grpc
from nurec_ros.rendering import policy
from nurec_ros.rendering.delivery import Log
from nurec_ros.rendering.options import RenderOptions
from nurec_ros.rendering.policy import classify, ServerError
from nurec_ros.rendering.protos import common_pb2, sensorsim_pb2
from nurec_ros.rendering.session import choose_scene, Session, version_text
from nurec_ros.rendering.target import addresses, open_channel, resolve, root_certificate, Target
from nurec_ros.scenario import Scenario

CONNECTING = 'connecting'  # no verdict yet
READY = 'ready'
DOWN = 'down'
CLOSED = 'closed'


@dataclass(slots=True)
class _Shared:
    """What the connecting thread writes and others read, under the client's lock."""

    phase: str = CONNECTING
    session: Session | None = None
    last: Session | None = None
    error: ServerError | None = None
    last_success: float = field(default_factory=time.monotonic)


class RenderClient:
    """
    Finds and keeps a server for one scenario; nothing here blocks its caller.

    `on_change` is called from the connecting thread whenever `phase` or `session` changed.
    ConfigurationError for an address list or a certificate that cannot be used at all.
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
        self._certificate = root_certificate(options)
        self._scenario = scenario
        self._options = options
        self._log = log
        self._on_change = on_change
        self._lock = threading.Lock()
        self._shared = _Shared()
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._channel: grpc.Channel | None = None
        self._target: Target | None = None
        self._sessions = 0
        self._rebuild = False
        self._doubted = False
        # Of the connecting thread alone: what was logged last, and whether it was without server.
        self._announced = ''
        self._was_down = False
        self._busy: Callable[[], bool] = lambda: False
        self._thread = threading.Thread(target=self._run, name='nurec-connect', daemon=True)

    def start(self, busy: Callable[[], bool] = lambda: False) -> None:
        """Begin to connect; `busy` tells whether renders are in flight, then nothing is asked."""
        self._busy = busy
        self._thread.start()

    @property
    def phase(self) -> str:
        return self._shared.phase

    @property
    def session(self) -> Session | None:
        """Give the session, None unless ready."""
        return self._shared.session

    @property
    def known(self) -> Session | None:
        """Give the session, or the last one there was: what diagnostics show while it is away."""
        return self._shared.session or self._shared.last

    @property
    def error(self) -> ServerError | None:
        """Give what is wrong with the connection, or with the scene on it."""
        return self._shared.error

    def succeeded(self) -> None:
        """Note that a render came back: the server need not be asked whether it lives."""
        self._shared.last_success = time.monotonic()

    def lost(
        self, session: Session, error: ServerError | None = None, *, rebuild: bool = False
    ) -> None:
        """
        End a session whose server does not answer any more; a no-op for an earlier one.

        error: how that was seen. rebuild: give up its TCP connection too, which may be dead
        without anybody knowing.
        """
        with self._lock:
            if self._shared.session is not session:
                return
            self._rebuild = rebuild
            self._shared.session = None
            self._shared.last = session
            self._shared.phase = CONNECTING
            self._shared.error = error
        self._wake.set()

    def ask_again(self, session: Session) -> None:
        """End a session whose server seems to be another one now, but only now and then."""
        if time.monotonic() - session.since >= policy.SCENE_CHECK_S:
            self.lost(session)

    def doubt(self, session: Session) -> None:
        """Have it found out whether the server still answers anything on this connection."""
        if self._shared.session is session:
            self._doubted = True
            self._wake.set()

    def close(self, timeout_s: float) -> None:
        """Cancel what is in flight and close the channel, within the limit."""
        until = time.monotonic() + timeout_s
        self._closed.set()
        self._wake.set()
        with self._lock:
            self._shared.phase = CLOSED
            self._shared.session = None
            channel, self._channel = self._channel, None
        if channel is not None:
            # Closing waits for gRPC's own thread, which may be in a callback of ours.
            closer = threading.Thread(target=channel.close, name='nurec-close', daemon=True)
            closer.start()
            closer.join(max(until - time.monotonic(), 0.0))
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(max(until - time.monotonic(), 0.0))

    # --- the connecting thread -------------------------------------------------------------------

    def _run(self) -> None:
        attempt = 0
        while not self._closed.is_set():
            began = time.monotonic()
            try:
                session = self._connect()
            except Exception as unknown:  # noqa: BLE001 (whatever it is, retrying goes on)
                error = _as_server_error(unknown)
                self._down(error)
                if error.action == policy.RECONNECT:
                    self._await_server()
                else:
                    self._closed.wait(policy.backoff_s(attempt))
                attempt += 1
                continue
            self._ready(session)
            self._watch(session)
            if session.warm:
                self._announced = ''
            lost = self.error
            if lost is not None:
                self._announce(lost)
            # A server that answers, but loses every frame, is not asked without end.
            proved = session.warm or time.monotonic() - began > 5.0
            attempt = 0 if proved else attempt + 1
            if not proved:
                self._closed.wait(policy.backoff_s(attempt - 1))

    def _connect(self) -> Session:
        """Find the service, ask version and scenes; ServerError for every way to fail."""
        channel = self._open()
        prefix, version = self._find_service(channel)
        try:
            scenes = self._scenes(channel, prefix)
            scene_id, scene_error = self._choose(scenes)
        except ServerError as error:
            if error.kind != 'version':
                raise
            # Never seen, but no reason to refuse: the scene's name is known from the archive.
            scenes, scene_id, scene_error = (), self._named_scene(), None
        self._sessions += 1
        path = f'/{prefix}/'
        return Session(
            number=self._sessions,
            prefix=prefix,
            version=version_text(version),
            build=version.git_hash,
            scenes=scenes,
            scene_id=scene_id,
            scene_error=scene_error,
            servers=self._target.servers if self._target else 1,
            since=time.monotonic(),
            render_rgb=channel.unary_unary(
                path + 'render_rgb',
                sensorsim_pb2.RGBRenderRequest.SerializeToString,
                sensorsim_pb2.RGBRenderReturn.FromString,
            ),
            batch_render_rgb=channel.unary_unary(
                path + 'batch_render_rgb',
                sensorsim_pb2.BatchRGBRenderRequest.SerializeToString,
                sensorsim_pb2.BatchRGBRenderReturn.FromString,
            ),
            batch=None if self._options.batch == 'auto' else False,
        )

    def _open(self) -> grpc.Channel:
        """Give the channel; a new one where a list resolves to other addresses than before."""
        target = self._target
        if target is None or target.servers > 1 or target.host:
            target = resolve(self._options.server)
        channel = self._channel
        if channel is not None and not self._rebuild and target == self._target:
            return channel
        for note in target.notes:
            self._log('warn', note)
        fresh = open_channel(target, self._certificate)
        with self._lock:
            if self._closed.is_set():
                fresh.close()
                raise ServerError('closed', 'the client is closed', '')
            self._channel, self._target, self._rebuild = fresh, target, False
        if channel is not None:
            channel.close()
        return fresh

    def _find_service(self, channel: grpc.Channel) -> tuple[str, common_pb2.VersionId]:
        """Try the known names of the service, the one that worked last first."""
        names = [self._options.service_prefix] if self._options.service_prefix else []
        if not names:
            known = self.known
            names = list(policy.SERVICE_PREFIXES)
            if known is not None and known.prefix in names:
                names.remove(known.prefix)
                names.insert(0, known.prefix)
        for name in names:
            try:
                return name, self._call(
                    channel, name, 'get_version', common_pb2.VersionId.FromString
                )
            except ServerError as error:  # noqa: PERF203 (three names, once for a connection)
                if error.kind != 'version':
                    raise
        raise ServerError(
            'service',
            f'{self._options.server} answers, but not under the service '
            f'{"name " if len(names) == 1 else "names "}{", ".join(names)}',
            'is it a NuRec render server? set service_prefix to the name of its service',
        )

    def _scenes(self, channel: grpc.Channel, prefix: str) -> tuple[str, ...]:
        reply = self._call(
            channel, prefix, 'get_available_scenes', common_pb2.AvailableScenesReturn.FromString
        )
        return tuple(reply.scene_ids)

    def _call(
        self,
        channel: grpc.Channel,
        prefix: str,
        method: str,
        parse: Callable[[bytes], Any],
        *,
        wait_for_ready: bool = False,
    ) -> Any:
        row = policy.DEADLINES['await server' if wait_for_ready else method]
        call = channel.unary_unary(
            f'/{prefix}/{method}', common_pb2.Empty.SerializeToString, parse
        )
        try:
            return call(common_pb2.Empty(), timeout=row.value, wait_for_ready=wait_for_ready)
        except grpc.RpcError as error:
            raise classify(
                error.code(),
                error.details() or '',
                server=self._options.server,
                method=method,
                prefix=prefix,
                timeout_s=row.value,
            ) from error
        except ValueError as error:  # gRPC's word for a channel that was closed meanwhile
            raise ServerError('closed', f'the channel is closed ({error})', '') from error

    def _await_server(self) -> None:
        """Wait until the server answers anything; gRPC connects meanwhile, at least once a s."""
        channel = self._channel
        if channel is None or self._closed.is_set():
            return
        prefix = self._options.service_prefix or policy.SERVICE_PREFIXES[0]
        began = time.monotonic()
        try:
            self._call(
                channel,
                prefix,
                'get_version',
                common_pb2.VersionId.FromString,
                wait_for_ready=True,
            )
        except ServerError:
            # What it says is asked again, properly, by _connect; only do not spin on it.
            spent = time.monotonic() - began
            self._closed.wait(max(policy.backoff_s(0) - spent, 0.0))

    def _watch(self, session: Session) -> None:
        """Return when the session is over; ask the server now and then while nothing renders."""
        while not self._closed.is_set() and self._shared.session is session:
            pause = policy.SCENE_CHECK_S if session.scene_error else policy.IDLE_CHECK_S
            self._wake.wait(pause)
            self._wake.clear()
            if self._closed.is_set() or self._shared.session is not session:
                return
            idle = time.monotonic() - self._shared.last_success >= pause and not self._busy()
            if idle or self._doubted:
                self._check(session)

    def _check(self, session: Session) -> None:
        channel = self._channel
        if channel is None:
            return
        doubted, self._doubted = self._doubted, False
        began = time.monotonic()
        try:
            version = self._call(
                channel, session.prefix, 'get_version', common_pb2.VersionId.FromString
            )
        except ServerError as error:
            if error.kind != 'timeout':
                self.lost(session, error)
            elif doubted and self._shared.last_success < began:
                # Not a word for long: the connection may be dead without anybody knowing.
                self.lost(session, error, rebuild=True)
            return  # else it may be busy for somebody else
        other = version_text(version) != session.version or version.git_hash != session.build
        if other or (session.scene_error is not None and self._scenes_changed(session)):
            self.lost(session)

    def _scenes_changed(self, session: Session) -> bool:
        channel = self._channel
        if channel is None:
            return False
        try:
            scenes = self._scenes(channel, session.prefix)
        except ServerError:
            return False  # the version was answered a moment ago: look again at the next check
        return scenes != session.scenes

    # --- state -----------------------------------------------------------------------------------

    def _down(self, error: ServerError) -> None:
        with self._lock:
            if self._closed.is_set():
                return
            self._shared.phase = DOWN
            self._shared.error = error
        self._was_down = True
        self._announce(error)
        self._on_change()

    def _ready(self, session: Session) -> None:
        with self._lock:
            if self._closed.is_set():
                return
            last = self._shared.last
            self._shared.phase = READY
            self._shared.session = session
            self._shared.error = session.scene_error
            self._shared.last_success = time.monotonic()
        self._wake.clear()
        if session.scene_error is not None:
            self._announce(session.scene_error)
        elif self._was_down or last is None or last.version != session.version:
            self._was_down = False
            self._announced = ''
            self._log(
                'info',
                f'connected to {self._options.server}: version {session.version}, '
                f'scene {session.scene_id}, service {session.prefix}',
            )
        self._on_change()

    def _announce(self, error: ServerError) -> None:
        """Log what is wrong with the connection, once until it has worked again."""
        if error.kind != self._announced:
            self._announced = error.kind
            self._log('error', str(error))

    # --- the scene -------------------------------------------------------------------------------

    def _named_scene(self) -> str:
        return self._options.scene_id or self._scenario.scene_id

    def _choose(self, scenes: tuple[str, ...]) -> tuple[str, ServerError | None]:
        try:
            return choose_scene(self._scenario, scenes, self._options.scene_id), None
        except ServerError as error:
            return '', error


def _as_server_error(error: Exception) -> ServerError:
    if isinstance(error, ServerError):
        return error
    return ServerError('client', f'connecting failed ({type(error).__name__}: {error})', '')
