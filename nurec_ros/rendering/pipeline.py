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
Due frames in, encoded frames and clouds out: what the player sees of rendering.

`submit` puts jobs into their queues and returns; a thread of the dispatcher's sends them, gRPC's
own thread takes the replies, two more deliver. No call here waits for any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
import logging
import time

from nurec_ros.errors import RenderError
from nurec_ros.rendering.address import addresses
from nurec_ros.rendering.calls import first_frame_waited_s, late_error
from nurec_ros.rendering.connection import Connection, Log
from nurec_ros.rendering.dispatcher import Dispatcher
from nurec_ros.rendering.frames import (
    CameraStatus,
    Cloud,
    DueFrame,
    Failure,
    Frame,
    RendererStatus,
)
from nurec_ros.rendering.policy import RenderOptions
from nurec_ros.rendering.queues import Job, Ticket
from nurec_ros.rendering.requests import EgoMotion, RequestBuilder
from nurec_ros.rendering.server_errors import problem_of, remedy_of
from nurec_ros.scenario import Scenario
from nurec_ros.scenario.cameras import CameraModel

# Python's words for a thread that the system refuses.
NO_THREAD = "can't start new thread"
_LOGGER = logging.getLogger('nurec_ros.rendering')
_LEVELS = {'info': logging.INFO, 'warn': logging.WARNING, 'error': logging.ERROR}


def _log_by_default(level: str, text: str) -> None:
    _LOGGER.log(_LEVELS[level], '%s', text)


def _guarded(log: Log) -> Log:
    """Wrap a log of the user's, so that none of our threads dies of it."""

    def say(level: str, text: str) -> None:
        try:
            log(level, text)
        except Exception:
            _LOGGER.exception('log failed; it was told: %s', text)

    return say


class RenderPipeline:
    """
    Renders due frames of one scenario and hands them to `deliver`.

    `deliver` gets Frames, Clouds and Failures from a small pool, in the order of submission within
    a sensor, and may take its time. log(level, text) is called from any thread, level being info,
    warn or error. in_flight: frames on their way per server instead of the policy's. Making one
    touches no network; ConfigurationError for options that cannot work at all.
    """

    def __init__(
        self,
        scenario: Scenario,
        options: RenderOptions,
        deliver: Callable[[Frame | Cloud | Failure], None],
        *,
        log: Log = _log_by_default,
        in_flight: int | None = None,
    ) -> None:
        log = _guarded(log)
        self._connection = Connection(
            scenario, options, log=log, on_change=lambda: self._dispatcher.connection_changed()
        )
        self._dispatcher = Dispatcher(
            self._connection,
            RequestBuilder(scenario, options),
            len(addresses(options.server)),
            deliver,
            log,
            in_flight,
        )

    def start(self) -> None:
        """
        Connect in the background, for ever, and begin to render what is submitted.

        RenderError, with nothing left running, where the system gives no memory or threads.
        """
        try:
            self._dispatcher.start()
            self._connection.start()
        except (MemoryError, RuntimeError) as error:
            self.close()
            if isinstance(error, RuntimeError) and NO_THREAD not in str(error):
                raise
            raise RenderError(
                f'rendering cannot start: {str(error) or "out of memory"}; raise the limits on '
                'memory and processes (ulimit -v, ulimit -u, docker run --memory, --pids-limit), '
                'or end other programs'
            ) from error

    def submit(
        self,
        due: Sequence[DueFrame],
        *,
        keep: bool = False,
        fail_if_down: bool = False,
        ego: EgoMotion | None = None,
    ) -> Future[None]:
        """
        Take frames to render; never blocks.

        keep: none is dropped, they wait for a server that is away; else the newest of a camera
        replaces the one that waits. fail_if_down: they fail at once while the server is away.
        ego: asked now for its poses, where it is not the recorded one.
        The future completes, always with None, when each was delivered or dropped.
        """
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()  # nobody cancels it: a pool thread completes it
        if not due:
            future.set_result(None)
            return future
        ticket = Ticket(future, len(due))
        jobs = [Job(frame.name, frame.t_ns, keep, fail_if_down, ticket) for frame in due]
        if ego is not None:
            for job in jobs:
                job.rig_poses = self._dispatcher.builder.rig_poses(job.source, job.t_ns, ego)
        self._dispatcher.submit(jobs)
        return future

    def discard(self) -> None:
        """
        Give up all that was submitted and not yet delivered, for a jump of the clock.

        Frames in flight come back to nobody; one that is being delivered at this moment still
        is, which `delivering` tells. The futures complete.
        """
        self._dispatcher.discard()

    @property
    def delivering(self) -> bool:
        """Whether a frame is being delivered; after `discard`, one of those before it."""
        return self._dispatcher.delivering()

    def update(self, options: RenderOptions) -> None:
        """Render all frames sent from now on with these options; the connection keeps its own."""
        self._dispatcher.builder = RequestBuilder(self._dispatcher.builder.scenario, options)

    def frame_size(self, camera: str) -> tuple[int, int]:
        """Return the (width, height) that will be asked for; RenderError if not renderable."""
        return self._dispatcher.builder.frame_size(camera)

    def output_model(self, camera: str) -> CameraModel:
        """Return the camera model behind the pictures, at native size; RenderError without one."""
        return self._dispatcher.builder.output_model(camera)

    def status(self) -> RendererStatus:
        state, options = self._connection.state, self._dispatcher.builder.options
        totals, failed, calls = self._dispatcher.status()
        known, now = state.known, time.monotonic()
        late = late_error(calls, options.server, options.render_timeout_s, now)
        error = state.error or failed or late
        return RendererStatus(
            connected=state.server is not None,
            server=options.server,
            service_prefix=known.prefix if known else '',
            version=known.version if known else '',
            scene_id=known.scene.scene_id if known else '',
            scenes=known.scene.names if known else (),
            batch=known.learned.batch if known else None,
            tracks_refused=known is not None and not known.learned.tracks,
            last_error=problem_of(error),
            remedy=remedy_of(error),
            in_flight=sum(len(call.jobs) for call in calls),
            **totals,
            scene_note=known.scene.note if known else '',
            down_for_s=0.0 if state.away_since is None else now - state.away_since,
            waiting_for_first_frame_s=first_frame_waited_s(calls, state.server, now),
            first_frame_limit_s=options.first_render_timeout_s,
            batch_note=known.learned.batch_note if known else '',
        )

    def camera_status(self, camera: str) -> CameraStatus:
        return self._dispatcher.camera_status(camera)

    def close(self, timeout_s: float = 0.3) -> None:
        """
        Cancel what is in flight and end the threads, within the limit.

        Nothing is delivered any more; every future completes.
        """
        until = time.monotonic() + timeout_s
        self._dispatcher.stop()
        self._connection.close(max(until - time.monotonic(), 0.0))
        self._dispatcher.join(until)
