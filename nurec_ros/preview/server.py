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
PreviewServer: scenarios, a port and a behaviour; starts, stops, and dies when it is told to.

Beside its service stands gRPC's standard one for health, grpc.health.v1.Health.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
import logging
from pathlib import Path
import socket
import threading
from typing import TYPE_CHECKING

import grpc
from nurec_ros.errors import ConfigurationError
from nurec_ros.preview.behaviour import Behaviour
from nurec_ros.preview.service import MAX_QUEUED, PreviewService, Workers
from nurec_ros.rendering.address import Endpoint
from nurec_ros.rendering.protos import health_pb2
from nurec_ros.scenario import Scenario

if TYPE_CHECKING:
    from nurec_ros.preview.scene import SceneRenderer

_log = logging.getLogger(__name__)

HEALTH_SERVICE = 'grpc.health.v1.Health'
# Each holds a thread of the server's pool, which is that much larger.
MAX_WATCHERS = 16

_Response = health_pb2.HealthCheckResponse
# Queued requests, watchers and the preparation hold a thread each, so there are some left for
# health and the lists.
_THREADS = MAX_QUEUED + MAX_WATCHERS + 16
_OPTIONS = (
    # Else a second server on the same port steals half the calls instead of failing.
    ('grpc.so_reuseport', 0),
    ('grpc.max_send_message_length', -1),
    ('grpc.max_receive_message_length', 64 * 2**20),
)


class PreviewServer:
    """
    A SensorsimService over one or more scenarios, on `host`:`port` (0 picks a free port).

    `renderer_factory(scenario)` gives what draws, SceneRenderer by default; its `prepare(step)`,
    if it has one, is called in the background once the port is open. When the behaviour's crash
    is due, `on_crash()` is called from a handler thread; by default the server just stops.
    Raises ConfigurationError when two scenarios have the same scene id, or from `start` when the
    port cannot be had; ScenarioError for a path that cannot be loaded.
    """

    def __init__(
        self,
        scenarios: Sequence[Scenario | str | Path],
        *,
        host: str = '127.0.0.1',
        port: int = 0,
        behaviour: Behaviour | None = None,
        caption: bool = True,
        renderer_factory: Callable[[Scenario], SceneRenderer] | None = None,
        on_crash: Callable[[], None] | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self._behaviour = behaviour or Behaviour()
        self._caption = caption
        self._on_crash = on_crash
        self._scenes = _by_scene_id(scenarios)
        if renderer_factory is None:
            # Late: a server with a renderer of its own starts without the drawing's tables.
            from nurec_ros.preview.scene import SceneRenderer

            renderer_factory = SceneRenderer
        self._renderers = {name: renderer_factory(scene) for name, scene in self._scenes.items()}
        self._ending = threading.Lock()  # who stops it a second time waits for the first
        self._run: _Run | None = None  # the last one

    @property
    def address(self) -> str:
        return str(Endpoint(self.host, self.port))

    @property
    def calls(self) -> Counter[str]:
        return Counter() if self._run is None else Counter(self._run.service.calls)

    @property
    def frames(self) -> int:
        """Return how many frames were begun since the last start, failed ones too."""
        return 0 if self._run is None else self._run.workers.frames

    @property
    def blocked(self) -> bool:
        return self._run is not None and self._run.workers.blocked

    def start(self) -> int:
        """Open the port and return it; a server that was stopped starts afresh on its port."""
        _check_free(self.host, self.port)
        workers = Workers(self._behaviour)
        service = PreviewService(
            self._scenes,
            self._renderers,
            self._behaviour,
            workers,
            caption=self._caption,
            on_crash=self._crash,
        )
        health = Health(workers, self._behaviour.service_prefix)
        handlers = [service.handler()]
        if self._behaviour.health_served:
            handlers.append(health.handler())
        pool = _threads()
        server = grpc.server(pool, handlers=handlers, options=_OPTIONS)
        try:
            port = int(server.add_insecure_port(self.address))
        except RuntimeError:  # older gRPC gives 0 instead
            port = 0
        if port == 0:
            pool.shutdown(wait=False)
            raise ConfigurationError(f'cannot listen on {self.address}')
        run = self._run = _Run(server, pool, workers, service, health, threading.Event())
        self.port = port
        try:
            pool.submit(_prepare, self._renderers.values(), run.stopping)
            server.start()
        except RuntimeError:  # no thread is left; without its loop gRPC cannot be stopped
            run.stopping.set()
            pool.shutdown(wait=False)
            raise
        return port

    def stop(self) -> None:
        """Close the port and end the calls in flight."""
        if self._run is not None:
            self._end(self._run)

    def _end(self, run: _Run) -> None:
        with self._ending:
            if run.stopping.is_set():
                return
            run.stopping.set()
            run.health.stop()
            run.workers.stop()
            # With a number gRPC would begin a thread, which the system may refuse.
            run.server.stop(None).wait()
            run.pool.shutdown(wait=True)

    def _crash(self, context: grpc.ServicerContext) -> None:
        if self._on_crash is not None:
            self._on_crash()
            return
        _log.warning('the preview server stops after %d frames, as asked', self.frames - 1)
        # Once the call has its status; a thread, because stopping joins the handlers'.
        # It ends this run alone: by the time it comes to it, somebody may have started the next.
        run = self._run
        if run is None:
            return
        stopper = threading.Thread(
            target=self._end, args=(run,), name='preview-crash', daemon=True
        )
        if not context.add_callback(stopper.start):
            stopper.start()

    def __enter__(self) -> PreviewServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Health:
    """
    Says whether the server (service '') and its one service are ready.

    A watcher's thread ends when it goes, or with `stop`.
    """

    def __init__(self, workers: Workers, service: str) -> None:
        self._workers = workers
        self._known = ('', service)
        self._changed = threading.Condition()  # guards all below
        self._watchers: set[int] = set()
        self._stopped = False

    def handler(self) -> grpc.GenericRpcHandler:
        request = health_pb2.HealthCheckRequest.FromString
        return grpc.method_handlers_generic_handler(
            HEALTH_SERVICE,
            {
                'Check': grpc.unary_unary_rpc_method_handler(
                    self._check, request, _Response.SerializeToString
                ),
                'Watch': grpc.unary_stream_rpc_method_handler(
                    self._watch, request, _Response.SerializeToString
                ),
            },
        )

    def stop(self) -> None:
        """End every watch, now and later."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        self._workers.enter()
        if request.service not in self._known:
            context.abort(grpc.StatusCode.NOT_FOUND, f'no service {request.service!r} here')
        return _Response(status=self._status(request.service))

    def _watch(
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> Iterator[health_pb2.HealthCheckResponse]:
        """Yield the status, and each that it changes to; a service that is not here may come."""
        self._workers.enter()
        key = id(context)
        with self._changed:
            if len(self._watchers) >= MAX_WATCHERS:
                text = f'{MAX_WATCHERS} clients watch already'
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
            self._watchers.add(key)
        try:
            if not context.add_callback(lambda: self._leave(key)):
                return
            told = None
            while (status := self._next(key, request.service, told)) is not None:
                told = status
                yield _Response(status=status)
        finally:
            self._leave(key)

    def _next(self, key: int, service: str, told: int | None) -> int | None:
        """Wait for another status than was told; None when the watch is over."""
        with self._changed:
            while key in self._watchers and not self._stopped:
                status = self._status(service)
                if status != told:
                    return status
                self._changed.wait(self._workers.ready_in_s or None)
        return None

    def _leave(self, key: int) -> None:
        with self._changed:
            self._watchers.discard(key)
            self._changed.notify_all()

    def _status(self, service: str) -> int:
        if service not in self._known:
            return int(_Response.SERVICE_UNKNOWN)
        return int(_Response.NOT_SERVING if self._workers.ready_in_s else _Response.SERVING)


class _StoppedError(Exception):
    """Ends the work when the server stops."""


def _prepare(renderers: Iterable[SceneRenderer], stopping: threading.Event) -> None:
    """
    Call `prepare(step)` of each renderer that has it, one after the other.

    It ends within some tenths of a second when the server stops, because `step` then raises.
    """

    def step() -> None:
        if stopping.is_set():
            raise _StoppedError

    for renderer in renderers:
        try:
            step()
            if hasattr(renderer, 'prepare'):
                renderer.prepare(step)
        except _StoppedError:  # noqa: PERF203 (seldom more than one)
            return
        except MemoryError:
            _log.warning('a scene could not be prepared: out of memory')
        except Exception:  # noqa: BLE001 (the picture that needs it fails, and says why)
            _log.exception('a scene could not be prepared')


@dataclass(frozen=True, slots=True)
class _Run:
    """What lives from one start to the stop after it."""

    server: grpc.Server
    pool: ThreadPoolExecutor
    workers: Workers
    service: PreviewService
    health: Health
    stopping: threading.Event


def _by_scene_id(scenarios: Sequence[Scenario | str | Path]) -> dict[str, Scenario]:
    if not scenarios:
        raise ConfigurationError('a preview server needs at least one scenario')
    scenes: dict[str, Scenario] = {}
    for entry in scenarios:
        scenario = entry if isinstance(entry, Scenario) else Scenario.load(entry)
        if scenario.scene_id in scenes:
            raise ConfigurationError(
                f'{scenes[scenario.scene_id].path} and {scenario.path} are the same scene, '
                f'{scenario.scene_id}'
            )
        scenes[scenario.scene_id] = scenario
    return scenes


def _threads() -> ThreadPoolExecutor:
    """
    Return the handlers' threads, all of them begun.

    A thread that the system refuses is then an error of the start; later it would end gRPC's own
    loop, and the server with it, deaf to every call and to its stop.
    """
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix='preview')
    begun = threading.Event()
    # As gRPC's loop will be: a server that cannot begin it keeps its port, and has no stop.
    spare = threading.Thread(target=begun.wait, name='preview-spare')
    try:
        for _ in range(_THREADS):
            pool.submit(begun.wait)
        spare.start()
    except BaseException:  # an interruption too: who waits for them would wait for ever
        begun.set()
        pool.shutdown(wait=True)
        raise
    begun.set()
    spare.join()
    return pool


def _check_free(host: str, port: int) -> None:
    """Fail with the system's reason; gRPC's own is some lines of its log."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found[:1]:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, 'strerror', None) or error
        place = Endpoint(host, port)
        raise ConfigurationError(f'cannot listen on {place}: {reason}') from None
