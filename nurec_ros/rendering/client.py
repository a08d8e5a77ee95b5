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
import math
import threading
import time

from nurec_ros.rendering import policy
from nurec_ros.rendering.delivery import Log
from nurec_ros.rendering.diagnosis import Diagnosis
from nurec_ros.rendering.link import Link
from nurec_ros.rendering.options import RenderOptions, scene_metadata
from nurec_ros.rendering.policy import ServerError
from nurec_ros.rendering.protos import common_pb2, sensorsim_pb2
from nurec_ros.rendering.session import (
    choose_scene,
    describe_scene,
    Session,
    spans_of,
    version_text,
)
from nurec_ros.rendering.target import addresses, check_proxy, resolve, root_certificate
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
    away_since: float | None = None
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
        check_proxy(options.server, options.use_proxy)
        self._metadata = scene_metadata(options.scene_url, options.scene_id or scenario.scene_id)
        # A server that is to load the scene does so at the first call that names it.
        self._first_s = options.first_render_timeout_s if self._metadata else 0.0
        self._certificate = root_certificate(options)
        self._scenario = scenario
        self._options = options
        self._log = log
        self._on_change = on_change
        self._lock = threading.Lock()
        self._shared = _Shared()
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._link: Link | None = None
        self._sessions = 0
        self._rebuild = False
        self._doubted = False
        # Of the connecting thread alone: what was logged last, and whether it was without server.
        self._diagnosis = Diagnosis(options.server, self._certificate, options.use_proxy)
        self._announced = ''
        self._was_down = False
        # Whether the last that the log says is that nothing comes.
        self._unsaid = False
        self._noted = ''
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._run, name='nurec-connect', daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._began = self._shared.away_since = time.monotonic()
        if self._metadata:
            url, name = (value for _, value in self._metadata)
            self._log('info', f'{self._options.server} is asked to load {url} as {name}')
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

    @property
    def down_for_s(self) -> float:
        """Give for how long there has been no session; 0 while there is one."""
        since = self._shared.away_since
        return 0.0 if since is None else time.monotonic() - since

    def succeeded(self) -> None:
        """Note that a render came back: the server lives."""
        self._shared.last_success = time.monotonic()
        if self._unsaid:
            self._wake.set()

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
            self._shared.away_since = time.monotonic()
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
        """Give up the channel and end the thread, within the limit."""
        until = time.monotonic() + timeout_s
        self._closed.set()
        self._wake.set()
        with self._lock:
            self._shared.phase = CLOSED
            self._shared.session = None
            link, self._link = self._link, None
        if link is not None:
            link.retire()
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
                error = self._diagnosis.explain(ServerError.own(unknown, 'connecting'))
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
        link = self._open()
        prefix, version = self._find_service(link)
        try:
            scenes = _scenes(link, prefix, self._first_s)
            scene_id, scene_error = self._choose(scenes)
        except ServerError as error:
            if error.kind != 'version':
                raise
            # Never seen, but no reason to refuse: the scene's name is known from the archive.
            scenes, scene_id, scene_error = (), self._named_scene(), None
        note = self._note(link, prefix, scenes, scene_id) if scenes and scene_id else ''
        if not link.watched(policy.WATCHED_S):
            # It may be over already.
            link.ask(prefix, 'get_version', common_pb2.VersionId.FromString)
        self._sessions += 1
        path = f'/{prefix}/'
        return Session(
            number=self._sessions,
            link=link,
            prefix=prefix,
            version=version_text(version),
            scenes=scenes,
            scene_id=scene_id,
            scene_error=scene_error,
            scene_note=note,
            servers=link.target.servers,
            since=time.monotonic(),
            render_rgb=link.channel.unary_unary(
                path + 'render_rgb',
                sensorsim_pb2.RGBRenderRequest.SerializeToString,
                sensorsim_pb2.RGBRenderReturn.FromString,
            ),
            batch_render_rgb=link.channel.unary_unary(
                path + 'batch_render_rgb',
                sensorsim_pb2.BatchRGBRenderRequest.SerializeToString,
                sensorsim_pb2.BatchRGBRenderReturn.FromString,
            ),
            batch=None if self._options.batch == 'auto' else False,
        )

    def _open(self) -> Link:
        """Give the link; a new one where a list resolves to other addresses than before."""
        link = self._link
        target = link.target if link is not None else None
        if target is None or target.servers > 1 or target.host:
            target = resolve(self._options.server)
        if link is not None and not self._rebuild and target == link.target:
            return link
        for note in target.notes:
            self._log('warn', note)
        fresh = Link(
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
                self._link, self._rebuild = fresh, False
        if closed:
            fresh.retire()
            raise ServerError('closed', 'the client is closed', '')
        if link is not None:
            link.retire()
        return fresh

    def _on_broken(self, link: Link) -> None:
        session = self._shared.session
        if session is not None and session.link is link:
            self.lost(session)

    def _find_service(self, link: Link) -> tuple[str, common_pb2.VersionId]:
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
                parse = common_pb2.VersionId.FromString
                return name, link.ask(name, 'get_version', parse, least_s=self._first_s)
            except ServerError as error:  # noqa: PERF203 (three names, once for a connection)
                if error.kind != 'version':
                    raise
        raise ServerError(
            'service',
            f'{self._options.server} answers, but not under the service '
            f'{"name " if len(names) == 1 else "names "}{", ".join(names)}',
            'is it a NuRec render server? set service_prefix to the name of its service '
            f'(grpcurl -plaintext {self._options.server} list)',
            policy.CONDEMN,
        )

    def _await_server(self) -> None:
        """Wait until the server answers anything; gRPC connects meanwhile, at least once a s."""
        link = self._link
        if link is None or self._closed.is_set():
            return
        prefix = self._options.service_prefix or policy.SERVICE_PREFIXES[0]
        began = time.monotonic()
        parse = common_pb2.VersionId.FromString
        try:
            # Back in time to say, after the grace, that there is no server.
            grace_s = self._grace_s()
            limit_s = grace_s if grace_s > 0.0 else math.inf
            link.ask(prefix, 'get_version', parse, wait_for_ready=True, limit_s=limit_s)
        except ServerError:
            # What it says is asked again, properly, by _connect; only do not spin on it.
            spent = time.monotonic() - began
            self._closed.wait(max(policy.backoff_s(0) - spent, 0.0))

    def _watch(self, session: Session) -> None:
        """Return when the session is over; meanwhile look for our scene, and into doubts."""
        while not self._closed.is_set() and self._shared.session is session:
            self._wake.wait(policy.SCENE_CHECK_S if session.scene_error else None)
            self._wake.clear()
            if self._closed.is_set() or self._shared.session is not session:
                return
            if session.scene_error is not None:
                self._look_for_scene(session)
            elif self._doubted:
                self._check(session)
            elif self._unsaid and self._shared.last_success > session.since:
                self._unsaid = False
                self._log('info', f'{self._options.server} renders again')

    def _look_for_scene(self, session: Session) -> None:
        try:
            found = _scenes(session.link, session.prefix) != session.scenes
        except ServerError as error:
            self.lost(session, error)
            return
        if found:
            self.lost(session)

    def _check(self, session: Session) -> None:
        """Find out whether a server whose frames time out answers anything else."""
        self._doubted = False
        began = time.monotonic()
        try:
            session.link.ask(session.prefix, 'get_version', common_pb2.VersionId.FromString)
        except ServerError as error:
            if error.kind != 'timeout':
                self.lost(session, error)
            elif self._shared.last_success < began:
                # Not a word for long: the connection may be dead without anybody knowing.
                self.lost(session, error, rebuild=True)

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
            self._shared.away_since = None
            self._shared.last_success = time.monotonic()
        self._wake.clear()
        if session.scene_error is not None:
            self._announce(session.scene_error)
        elif self._was_down or last is None or last.version != session.version:
            self._was_down = self._unsaid = False
            self._announced = ''
            self._diagnosis.forget()
            self._log(
                'info',
                f'connected to {self._options.server}: version {session.version}, '
                f'scene {session.scene_id}, service {session.prefix}',
            )
        if session.scene_note and session.scene_note != self._noted:
            self._noted = session.scene_note
            self._log('warn', session.scene_note)
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
        """Give how long a server that never was there may still take without a line about it."""
        if self._sessions:
            return 0.0
        return self._began + policy.START_GRACE_S - time.monotonic()

    # --- the scene -------------------------------------------------------------------------------

    def _named_scene(self) -> str:
        return self._options.scene_id or self._scenario.scene_id

    def _choose(self, scenes: tuple[str, ...]) -> tuple[str, ServerError | None]:
        if self._metadata:  # the server has it once it has loaded it
            return self._named_scene(), None
        try:
            return choose_scene(self._scenario, scenes, self._options.scene_id), None
        except ServerError as error:
            return '', error

    def _note(self, link: Link, prefix: str, scenes: tuple[str, ...], scene_id: str) -> str:
        """Say what may be wrong with the scene; only one of another name is asked about."""
        wanted = self._options.scene_id
        note = describe_scene(self._scenario, scenes, scene_id, wanted)
        if not note:
            return ''
        try:
            reply = link.ask(
                prefix,
                'get_available_trajectories',
                sensorsim_pb2.AvailableTrajectoriesReturn.FromString,
                request=sensorsim_pb2.AvailableTrajectoriesRequest(scene_id=scene_id),
            )
        except ServerError:
            return note  # older servers do not know them: the note stands without
        return describe_scene(self._scenario, scenes, scene_id, wanted, spans_of(reply))


def _scenes(link: Link, prefix: str, least_s: float = 0.0) -> tuple[str, ...]:
    parse = common_pb2.AvailableScenesReturn.FromString
    reply = link.ask(prefix, 'get_available_scenes', parse, least_s=least_s)
    return tuple(reply.scene_ids)
