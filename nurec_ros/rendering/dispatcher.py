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
What is sent when, and what becomes of the reply: the work between the lanes and the server.

The sending thread builds requests and sends them. Replies come on gRPC's thread, which sends the
next frame itself: a hand-over to another thread would cost more than the request. Lanes, counters
and the session's memory are touched under one lock; gRPC calls happen outside of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
import threading
import time
from typing import Any, TypeVar

import grpc
from nurec_ros.errors import RenderError
from nurec_ros.rendering import policy
from nurec_ros.rendering.batches import learn
from nurec_ros.rendering.client import DOWN, RenderClient
from nurec_ros.rendering.counters import Statistics
from nurec_ros.rendering.delivery import Delivery, Log
from nurec_ros.rendering.frames import Failure, first_frame_note, Frame
from nurec_ros.rendering.lanes import Job, Lanes, Ticket
from nurec_ros.rendering.policy import ServerError
from nurec_ros.rendering.protos import sensorsim_pb2
from nurec_ros.rendering.remedies import classify
from nurec_ros.rendering.replies import batch_results, Sent, single_result
from nurec_ros.rendering.requests import RequestBuilder
from nurec_ros.rendering.session import Session
from nurec_ros.rendering.waiting import first_frame_waited_s, late_error

Read = TypeVar('Read')


class Dispatcher:
    """
    Keeps a server busy with what waits in the lanes, and settles what comes back.

    servers: how many addresses share the load. `builder` may be exchanged at any time.
    """

    def __init__(
        self,
        client: RenderClient,
        builder: RequestBuilder,
        cameras: Iterable[str],
        servers: int,
        deliver: Callable[[Frame | Failure], None],
        log: Log,
    ) -> None:
        self.builder = builder
        self._client = client
        self._limit = policy.MAX_IN_FLIGHT.value * servers
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._lanes = Lanes(window=int(self._limit) + policy.LANE_MARGIN)
        self._calls: dict[Any, Sent] = {}
        self._load = 0.0
        self._retry_at: list[float] = []
        self._statistics = Statistics(cameras)
        self._said: set[str] = set()
        self._work = False
        self._closed = False
        # Whether this thread is in _dispatch already.
        self._sending = threading.local()
        self._delivery = Delivery(self._lanes, self._lock, deliver, log, self._on_room)
        self.delivering = self._delivery.delivering
        self._thread = threading.Thread(target=self._send_loop, name='nurec-render', daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._delivery.start()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Let jobs wait in their lanes, and give up those that they make obsolete."""
        with self._lock:
            done = []
            for job in jobs:
                self._statistics.asked(job.camera)
                dropped = [job] if self._closed else self._lanes.add(job)
                done += self._dropped(dropped)
            # While as much is in flight as may be, the next reply sends what waits.
            if self._load + 1 <= self._limit or self._client.session is None:
                self._notify()
        _complete(done)

    def discard(self) -> None:
        """Give up all that is not delivered yet, and cancel what is in flight for nobody."""
        with self._lock:
            done = self._dropped(self._lanes.discard())
            calls = [
                call
                for call, sent in self._calls.items()
                if all(job.obsolete for job in sent.jobs)
            ]
        for call in calls:
            call.cancel()
        _complete(done)

    def connection_changed(self) -> None:
        """Look at the connection anew; called by the client's thread."""
        with self._lock:
            self._notify()

    def read(self, reader: Callable[[Statistics, Sequence[Sent]], Read]) -> Read:
        """Call a function with the statistics and the calls in flight, under the lock."""
        with self._lock:
            return reader(self._statistics, list(self._calls.values()))

    def stop(self) -> None:
        """Give up everything; nothing is sent or delivered any more."""
        with self._lock:
            self._closed = True
            self._wake.notify_all()
        self.discard()

    def join(self, until: float) -> None:
        """End the threads by the monotonic time `until`."""
        self._delivery.close(until)
        if self._thread.is_alive():
            self._thread.join(max(until - time.monotonic(), 0.0))

    # --- sending ---------------------------------------------------------------------------------

    def _send_loop(self) -> None:
        while True:
            with self._wake:
                while not self._work and not self._closed:
                    self._wake.wait(self._until_look())
                    self._work = self._work or self._until_retry() == 0.0
                    self._tell_what_takes_long()
                if self._closed:
                    return
                self._work = False
                now = time.monotonic()
                self._retry_at = [at for at in self._retry_at if at > now]
            self._fail_what_cannot_be()
            self._dispatch()

    def _until_retry(self) -> float | None:
        """Give the seconds until a job that waits for its next attempt may go."""
        return max(min(self._retry_at) - time.monotonic(), 0.0) if self._retry_at else None

    def _until_look(self) -> float | None:
        """Give how long the sending thread may sleep."""
        retry_s = self._until_retry()
        if not self._calls:
            return retry_s
        return policy.LOOK_S if retry_s is None else min(retry_s, policy.LOOK_S)

    def _tell_what_takes_long(self) -> None:
        """Log that a first frame, or a batch, is waited for; under the lock."""
        calls, now, options = self._calls.values(), time.monotonic(), self.builder.options
        late = late_error(calls, options.server, options.render_timeout_s, now)
        if late is not None:
            self._say_once('timeout', 'warn', str(late))
        session = self._client.session
        waited_s = first_frame_waited_s(calls, session, now)
        if session is not None and waited_s > policy.FIRST_FRAME_SAID_S and not session.first_said:
            session.first_said = True
            self._delivery.say('info', first_frame_note(waited_s, options.first_render_timeout_s))

    def _on_room(self) -> None:
        """Look for what waited because its lane was full; under the lock."""
        if self._load + 1 <= self._limit:
            self._notify()

    def _notify(self) -> None:
        """Let the sending thread look; under the lock."""
        self._work = True
        self._wake.notify()

    def _fail_what_cannot_be(self) -> None:
        """Fail the waiting jobs that the state of the connection condemns."""
        client = self._client
        session, down, error = client.session, client.phase == DOWN, client.error
        condemned = session is not None and session.scene_error is not None
        if error is None or not (condemned or down):
            return
        condemned = condemned or error.action == policy.CONDEMN
        with self._lock:
            for job in [job for job in self._lanes.waiting() if condemned or job.fail_if_down]:
                self._finish(job, error, said=True)

    def _dispatch(self) -> None:
        """Send as much as may be in flight; not re-entered by calls that complete at once."""
        if getattr(self._sending, 'busy', False):
            return
        self._sending.busy = True
        try:
            while True:
                with self._lock:
                    session = self._client.session
                    jobs = self._pick(session)
                if session is None or not jobs:
                    return
                self._send(jobs, session)
        finally:
            self._sending.busy = False

    def _pick(self, session: Session | None) -> list[Job]:
        if self._closed or session is None or session.scene_error is not None:
            return []
        room = self._limit - self._load
        if room < 1:
            return []
        batch = session.batch is not False and room >= policy.BATCH_WEIGHT.value
        jobs = self._lanes.pick(time.monotonic(), batch=batch)
        if jobs:
            self._load += policy.BATCH_WEIGHT.value if len(jobs) > 1 else 1.0
        return jobs

    def _send(self, jobs: list[Job], session: Session) -> None:
        """Build the requests of jobs that were picked, and call the server."""
        builder = self.builder
        weight = policy.BATCH_WEIGHT.value if len(jobs) > 1 else 1.0
        with_tracks = session.tracks and builder.options.send_tracks
        ready: list[Job] = []
        requests: list[sensorsim_pb2.RGBRenderRequest] = []
        sizes: list[tuple[int, int]] = []
        for job in jobs:
            try:
                request = builder.build(
                    session.scene_id, job.camera, job.t_ns, with_tracks=with_tracks
                )
            except Exception as error:  # noqa: BLE001 (a frame must not vanish, its future hang)
                with self._lock:
                    self._finish(job, ServerError.own(error, 'the client'))
                continue
            ready.append(job)
            requests.append(request)
            sizes.append((request.resolution_w, request.resolution_h))
        if not ready:
            with self._lock:
                self._load -= weight
            return
        method, call_type, message = 'render_rgb', session.render_rgb, requests[0]
        if len(ready) > 1:
            method, call_type = 'batch_render_rgb', session.batch_render_rgb
            message = sensorsim_pb2.BatchRGBRenderRequest(
                items=[
                    sensorsim_pb2.BatchRGBRenderItem(camera_name=job.camera, request=request)
                    for job, request in zip(ready, requests)  # noqa: B905 (made together)
                ]
            )
        options = builder.options
        with self._lock:
            first = not session.warm
            if first:
                session.first_pending += 1
        # The items of a batch are rendered one after the other.
        timeout_s = (
            options.first_render_timeout_s if first else options.render_timeout_s * len(ready)
        )
        sent = Sent(
            ready, session, sizes, time.monotonic(), timeout_s, first, weight, method, with_tracks
        )
        try:
            call = call_type.future(message, timeout=timeout_s, metadata=session.link.metadata)
        except ValueError as error:  # gRPC's word for a channel that was closed meanwhile
            self._over(sent, None, self._error(grpc.StatusCode.UNAVAILABLE, str(error), sent))
            return
        except Exception as error:  # noqa: BLE001 (a frame must not vanish, its future hang)
            self._over(sent, None, ServerError.own(error, 'the client'))
            return
        with self._lock:
            self._calls[call] = sent
            closed = self._closed
        call.add_done_callback(self._on_reply)
        if closed:
            call.cancel()

    # --- replies ---------------------------------------------------------------------------------

    def _on_reply(self, call: Any) -> None:
        """Take a call that ended, on gRPC's thread, and send the next."""
        with self._lock:
            sent = self._calls.pop(call)
        try:
            code = call.code()
            if code is grpc.StatusCode.OK:
                self._over(sent, call.result(), None)
            else:
                self._over(sent, None, self._error(code, call.details() or '', sent))
        except Exception as error:  # noqa: BLE001 (a frame must not vanish, its future hang)
            self._over(sent, None, ServerError.own(error, 'the client'))
        self._dispatch()

    def _error(self, code: grpc.StatusCode | None, details: str, sent: Sent) -> ServerError:
        session = sent.session
        if code is grpc.StatusCode.CANCELLED and self._client.session is not session:
            code = grpc.StatusCode.UNAVAILABLE  # cancelled by us, with the connection
        return classify(
            code,
            details,
            server=self.builder.options.server,
            scene_id=session.scene_id,
            scenes=', '.join(session.scenes) or 'others',
            method=sent.method,
            prefix=session.prefix,
            timeout_s=sent.timeout_s,
            option='first_render_timeout_s' if sent.first else 'render_timeout_s',
        )

    def _over(self, sent: Sent, reply: Any, error: ServerError | None) -> None:
        """Settle every job of a call that ended."""
        session = sent.session
        results: Sequence[Frame | ServerError]
        if error is None:
            self._client.succeeded()
            results = self._results(sent, reply, time.monotonic() - sent.since)
        else:
            if error.action == policy.RECONNECT:
                self._client.lost(session, error)
            elif error.action == policy.ASK_AGAIN and len(sent.jobs) == 1:
                self._client.ask_again(session)
            elif error.kind == 'timeout' and not sent.first:
                self._client.doubt(session)
            results = [error] * len(sent.jobs)
        with self._lock:
            self._load -= sent.weight
            if sent.first:
                session.first_pending -= 1
            if any(isinstance(result, Frame) for result in results):
                # Behind a list of servers each has its own first frame: wait for all that are out.
                session.warm = session.servers == 1 or session.first_pending == 0
            if len(sent.jobs) > 1:
                level = learn(session, error, results)
                if level:
                    self._say_once(session.batch_note, level, session.batch_note)
            for job, result in zip(sent.jobs, results):  # noqa: B905 (one for each)
                if job.obsolete:
                    continue
                if isinstance(result, ServerError):
                    self._settle(job, result, sent, of_call=error is not None)
                else:
                    self._finish(job, result)

    def _results(self, sent: Sent, reply: Any, latency_s: float) -> Sequence[Frame | ServerError]:
        image_format = self.builder.options.image_format
        if len(sent.jobs) == 1:
            return [single_result(sent, reply, image_format, latency_s)]
        results, strange = batch_results(
            sent, reply, image_format, latency_s, lambda text: self._error(None, text, sent)
        )
        if strange:
            with self._lock:
                self._say_once('strange', 'warn', f'a batch reply holds {strange}, not asked for')
        return results

    def _settle(self, job: Job, error: ServerError, sent: Sent, *, of_call: bool) -> None:
        """
        Deal with a frame that failed as the policy says: once more, or not.

        of_call: the whole call failed, not this item of a batch alone.
        """
        whole_batch = of_call and len(sent.jobs) > 1
        again = False
        if error.action == policy.ALONE:
            self._say_once('unmatched', 'warn', str(error))
        if error.action == policy.ALONE or (whole_batch and error.kind == 'version'):
            # No fault of the frame: it goes as a single call, or a newer one does.
            job.alone = True
            if not self._lanes.requeue(job):
                self._give_up(job)
            return
        if error.action == policy.RECONNECT and of_call:
            again = job.keep and not job.fail_if_down and self._lanes.requeue(job)
        elif sent.with_tracks and (
            error.action == policy.WITHOUT_TRACKS or error.kind == 'feature'
        ):
            sent.session.tracks = False
            self._say_once('tracks refused', 'warn', str(error))
            again = self._lanes.requeue(job)
        elif error.action in (policy.RETRY, policy.RECONNECT):
            again = self._retry_later(job)
        elif whole_batch and error.kind != 'timeout':
            # One camera can bring down the whole call: each is asked for by itself.
            job.alone = True
            again = self._lanes.requeue(job)
        if not again:
            self._finish(job, error)

    def _give_up(self, job: Job) -> None:
        self._delivery.hand_over(self._lanes.remove(job))
        for ticket in self._dropped([job]):
            self._delivery.complete(ticket)

    def _retry_later(self, job: Job) -> bool:
        if job.attempts >= len(policy.TRANSIENT_DELAYS_S):
            return False
        at = time.monotonic() + policy.TRANSIENT_DELAYS_S[job.attempts]
        if not self._lanes.requeue(job, at):
            return False
        job.attempts += 1
        self._retry_at.append(at)
        self._notify()
        return True

    # --- out -------------------------------------------------------------------------------------

    def _finish(self, job: Job, result: Frame | RenderError, *, said: bool = False) -> None:
        """
        Count a job's outcome and hand its lane to the pool; under the lock.

        said: the client logs this error.
        """
        if job.obsolete:
            return
        if isinstance(result, Frame):
            self._statistics.received(job.camera, result.latency_s)
            outcome: Frame | Failure = result
        else:
            self._statistics.failed(job.camera, result)
            # A connection that breaks under a frame is the client's to tell, too.
            if not said and getattr(result, 'action', '') != policy.RECONNECT:
                self._say_once(getattr(result, 'kind', 'request'), 'warn', str(result))
            outcome = Failure(job.camera, job.t_ns, result)
        self._delivery.hand_over(self._lanes.finish(job, outcome))

    def _dropped(self, jobs: list[Job]) -> list[Ticket]:
        """Count jobs as dropped; give the tickets of which they were the last."""
        for job in jobs:
            self._statistics.dropped(job.camera)
        return [job.ticket for job in jobs if job.ticket.close_one()]

    def _say_once(self, key: str, level: str, text: str) -> None:
        """Log the first of each kind; under the lock."""
        if key not in self._said:
            self._said.add(key)
            self._delivery.say(level, text)


def _complete(tickets: list[Ticket]) -> None:
    for ticket in tickets:
        ticket.future.set_result(None)
