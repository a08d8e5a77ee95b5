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
One monitor between the queues, the server and whoever takes the frames.

The sending thread builds requests and sends them. Replies come on gRPC's thread, which sends the
next frame itself: a hand-over to another thread would cost more than the request. The threads of
`queues.py` hand out what is finished. Queues, counters, calls in flight and what was learned
about the server are touched under the one lock; building requests, gRPC, delivering and logging
happen outside of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
import threading
import time

import grpc
from nurec_ros.errors import RenderError
from nurec_ros.rendering import policy
from nurec_ros.rendering.calls import (
    again_after,
    Call,
    connection_after,
    first_frame_waited_s,
    late_error,
    learn,
    NO_BATCHES,
    prepare,
    Reply,
    results_of,
    SPIN,
    weight_of,
)
from nurec_ros.rendering.connection import Connection, Log, Server
from nurec_ros.rendering.frames import (
    CameraStatus,
    Cloud,
    Failure,
    first_frame_note,
    Frame,
    Statistics,
)
from nurec_ros.rendering.queues import Deliver, Delivery, FrameQueue, FrameQueues, Job, Ticket
from nurec_ros.rendering.requests import RequestBuilder
from nurec_ros.rendering.server_errors import CONDEMN, RECONNECT, ServerError


class Dispatcher:
    """
    Keeps a server busy with what waits in the queues, and deals with what comes back.

    servers: how many addresses share the load. `builder` may be exchanged at any time.
    """

    def __init__(
        self,
        connection: Connection,
        builder: RequestBuilder,
        servers: int,
        deliver: Deliver,
        log: Log,
        in_flight: int | None = None,
    ) -> None:
        self.builder = builder
        self._connection = connection
        self._servers = servers
        self._limit = (in_flight or policy.MAX_IN_FLIGHT) * servers
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._queues = FrameQueues(window=self._limit + policy.QUEUE_MARGIN)
        self._calls: dict[grpc.Future, Call] = {}
        self._load = 0.0
        self._statistics = Statistics()
        self._work = False
        self._closed = False
        # Whether this thread is in _dispatch already.
        self._sending = threading.local()
        self._out = Delivery(self._take_next, deliver, log)
        # A thread of a ThreadPoolExecutor's would be joined when the interpreter exits, however
        # long a call takes.
        self._thread = threading.Thread(target=self._send_loop, name='nurec-render', daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._out.start()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Let jobs wait in their queues, and give up those that they make obsolete."""
        with self._lock:
            done = []
            for job in jobs:
                self._statistics.asked(job.source)
                job.alone = self.builder.is_lidar(job.source)
                done += self._dropped([job] if self._closed else self._queues.add(job))
            # While as much is in flight as may be, the next reply sends what waits.
            if self._load + 1 <= self._limit or self._connection.state.server is None:
                self._notify()
        _complete(done)

    def discard(self) -> None:
        """Drop all that is not delivered yet, and cancel what is in flight for nobody."""
        with self._lock:
            done = self._dropped(self._queues.discard())
            unwanted = [
                handle
                for handle, call in self._calls.items()
                if all(job.obsolete for job in call.jobs)
            ]
        for handle in unwanted:
            handle.cancel()
        _complete(done)

    def delivering(self) -> bool:
        """Whether a frame is being delivered, or about to be."""
        with self._lock:
            return self._queues.delivering

    def connection_changed(self) -> None:
        """Look at the connection anew; called by the connecting thread."""
        with self._lock:
            self._notify()

    def status(self) -> tuple[dict[str, int], RenderError | None, list[Call]]:
        """Return the totals, the error of the moment, and the calls in flight."""
        with self._lock:
            statistics = self._statistics
            return statistics.totals(), statistics.current_error(), list(self._calls.values())

    def camera_status(self, camera: str) -> CameraStatus:
        with self._lock:
            return self._statistics.camera(camera)

    def stop(self) -> None:
        """Drop everything; nothing is sent or delivered any more."""
        with self._lock:
            self._closed = True
            self._wake.notify_all()
        self.discard()
        self._out.stop()

    def join(self, until: float) -> None:
        """Wait for the threads to end, until the monotonic time `until`."""
        for thread in (self._thread, *self._out.threads):
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(max(until - time.monotonic(), 0.0))

    # --- sending ---------------------------------------------------------------------------------

    def _send_loop(self) -> None:
        looked = 0.0
        while True:
            with self._wake:
                if not self._work and not self._closed:
                    self._wake.wait(self._patience_s(looked))
                    self._tell_what_takes_long()
                if self._closed:
                    return
                self._work = False
                looked = time.monotonic()
            self._fail_what_cannot_be()
            self._dispatch()

    def _patience_s(self, looked: float) -> float | None:
        """Return the seconds until a job may go again, or calls are to be looked at."""
        now = time.monotonic()
        waits = [job.not_before - now for job in self._queues.waiting() if job.not_before > looked]
        if self._calls:
            waits.append(policy.LOOK_S)
        return max(min(waits), 0.0) if waits else None

    def _tell_what_takes_long(self) -> None:
        """Log that a first frame, or a batch, is waited for; under the lock."""
        calls, now, options = self._calls.values(), time.monotonic(), self.builder.options
        late = late_error(calls, options.server, options.render_timeout_s, now)
        if late is not None:
            self._out.say_once('timeout', 'warn', str(late))
        server = self._connection.state.server
        waited_s = first_frame_waited_s(calls, server, now)
        if server is not None and waited_s > policy.FIRST_FRAME_SAID_S:
            note = first_frame_note(waited_s, options.first_render_timeout_s)
            self._out.say_once(f'first frame {server.since}', 'info', note)

    def _notify(self) -> None:
        """Let the sending thread look; under the lock."""
        self._work = True
        self._wake.notify()

    def _fail_what_cannot_be(self) -> None:
        """Fail the waiting jobs that the state of the connection condemns."""
        state = self._connection.state
        error = state.error
        condemned = state.server is not None and state.server.scene.error is not None
        if error is None or not (condemned or state.down):
            return
        condemned = condemned or error.action == CONDEMN
        with self._lock:
            for job in [job for job in self._queues.waiting() if condemned or job.fail_if_down]:
                self._finish(job, error, said=True)

    def _dispatch(self) -> None:
        """Send as much as may be in flight; not re-entered by calls that complete at once."""
        if getattr(self._sending, 'busy', False):
            return
        self._sending.busy = True
        try:
            while True:
                with self._lock:
                    server = self._connection.state.server
                    jobs = self._pick(server)
                if server is None or not jobs:
                    return
                self._send(jobs, server)
        finally:
            self._sending.busy = False

    def _pick(self, server: Server | None) -> list[Job]:
        if self._closed or server is None or server.scene.error is not None:
            return []
        room = self._limit - self._load
        if room < 1:
            return []
        batch = server.learned.batch is not False and room >= policy.BATCH_WEIGHT
        jobs = self._queues.pick(time.monotonic(), batch=batch)
        if jobs:
            self._load += weight_of(len(jobs))
        return jobs

    def _send(self, jobs: list[Job], server: Server) -> None:
        """Build the call of jobs that were picked, and send it."""
        try:
            call, refused = prepare(jobs, server, self.builder, time.monotonic())
        except Exception as reason:  # noqa: BLE001 (a frame must not vanish, its future hang)
            call, refused = None, [(job, ServerError.own(reason, 'the client')) for job in jobs]
        if refused:
            with self._lock:
                for job, error in refused:
                    self._finish(job, error)
                if call is None:
                    self._load -= weight_of(len(jobs))
        if call is None:
            return
        if call.method == SPIN:
            _, note = self.builder.options.device_of(call.jobs[0].source)
            if note:
                with self._lock:
                    self._out.say_once(note, 'warn', note)
        try:
            handle = server.renders[call.method].future(
                call.message, timeout=call.timeout_s, metadata=server.channel.metadata
            )
        except ValueError as error:  # gRPC's word for a channel that was closed meanwhile
            self._over(call, None, call.error(grpc.StatusCode.UNAVAILABLE, str(error)))
            return
        except Exception as error:  # noqa: BLE001 (a frame must not vanish, its future hang)
            self._over(call, None, ServerError.own(error, 'the client'))
            return
        with self._lock:
            self._calls[handle] = call
            closed = self._closed
        handle.add_done_callback(self._on_reply)
        if closed:
            handle.cancel()

    # --- replies ---------------------------------------------------------------------------------

    def _on_reply(self, handle: grpc.Future) -> None:
        """Take a call that ended, on gRPC's thread, and send the next."""
        with self._lock:
            call = self._calls.pop(handle)
        state = self._connection.state
        try:
            code = handle.code()
            if code is grpc.StatusCode.OK:
                self._over(call, handle.result(), None)
            else:
                if code is grpc.StatusCode.CANCELLED and state.server is not call.server:
                    code = grpc.StatusCode.UNAVAILABLE  # cancelled by us, with the connection
                self._over(call, None, call.error(code, handle.details() or ''))
        except Exception as error:  # noqa: BLE001 (a frame must not vanish, its future hang)
            self._over(call, None, ServerError.own(error, 'the client'))
        self._dispatch()

    def _over(self, call: Call, reply: Reply | None, error: ServerError | None) -> None:
        results: Sequence[Frame | Cloud | ServerError]
        strange = ''
        if error is None:
            image_format = self.builder.options.image_format
            results, strange = results_of(call, reply, image_format, time.monotonic())
            came = any(isinstance(result, (Frame, Cloud)) for result in results)
            self._connection.heard(call.server, frame=came)
        else:
            results = [error] * len(call.jobs)
            self._connection.judged(call.server, connection_after(error, call), error)
        with self._lock:
            self._load -= call.weight
            if strange:
                self._out.say_once(
                    'strange', 'warn', f'a batch reply holds {strange}, not asked for'
                )
            self._learn(call, error, results)
            for job, result in zip(call.jobs, results):  # noqa: B905 (one for each)
                if job.obsolete:
                    continue
                if isinstance(result, ServerError):
                    self._settle(job, result, call, whole_call=error is not None)
                else:
                    self._finish(job, result)

    def _settle(self, job: Job, error: ServerError, call: Call, *, whole_call: bool) -> None:
        """Deal with a frame that failed as the policy says: once more, or not; under the lock."""
        again = again_after(error, call, job, whole_call=whole_call)
        if again is None:
            self._finish(job, error)
            return
        if again.without_tracks:
            self._out.say_once('tracks refused', 'warn', str(error))
            call.server.learned = replace(call.server.learned, tracks=False)
        if error.kind == 'unmatched':
            self._out.say_once('unmatched', 'warn', str(error))
        job.alone = job.alone or again.alone
        not_before = time.monotonic() + again.after_s if again.after_s else 0.0
        if not self._queues.requeue(job, not_before):
            if again.dropped:
                self._hand_over(self._queues.remove(job))
                for ticket in self._dropped([job]):
                    self._out.put(ticket)
            else:
                self._finish(job, error)
        elif again.counted:
            job.attempts += 1
            self._notify()

    def _learn(
        self, call: Call, error: ServerError | None, results: Sequence[Frame | Cloud | ServerError]
    ) -> None:
        known = call.server.learned
        settled = known.lidars_warm if call.method == SPIN else known.warm
        if settled and not call.batch and error is None:
            return
        # Behind a list of servers each has its own first frame: wait for all that are out.
        out = (other.first and other.server is call.server for other in self._calls.values())
        alone = self._servers == 1 or not any(out)
        call.server.learned = learned = learn(known, call, error, results, warms=alone)
        if learned.batch_note != known.batch_note:
            # That a server has no batches is no fault.
            level = 'info' if learned.batch_note == NO_BATCHES else 'warn'
            self._out.say_once(learned.batch_note, level, learned.batch_note)

    # --- out -------------------------------------------------------------------------------------

    def _finish(
        self, job: Job, result: Frame | Cloud | RenderError, *, said: bool = False
    ) -> None:
        """
        Count a job's outcome and have its queue delivered from; under the lock.

        said: the connection logs this error.
        """
        if job.obsolete:
            return
        if isinstance(result, (Frame, Cloud)):
            self._statistics.received(job.source, result.latency_s)
            outcome: Frame | Cloud | Failure = result
        else:
            self._statistics.failed(job.source, result)
            # A connection that breaks under a frame is the connection's to tell, too.
            if not said and getattr(result, 'action', '') != RECONNECT:
                self._out.say_once(getattr(result, 'kind', 'request'), 'warn', str(result))
            outcome = Failure(job.source, job.t_ns, result)
        self._hand_over(self._queues.finish(job, outcome))

    def _dropped(self, jobs: list[Job]) -> list[Ticket]:
        """Count jobs as dropped; return the tickets of which they were the last."""
        for job in jobs:
            self._statistics.dropped(job.source)
        return [job.ticket for job in jobs if job.ticket.close_one()]

    def _hand_over(self, queue: FrameQueue | None) -> None:
        """Have a queue delivered from whose head is finished; under the lock."""
        if queue is not None:
            queue.delivering = True
            self._out.put(queue)

    def _take_next(self, queue: FrameQueue, before: Job | None) -> tuple[Job | None, bool]:
        """Take a queue's head; and whether that `before` it, now out, was its ticket's last."""
        with self._lock:
            last = before is not None and before.ticket.close_one()
            job = self._queues.take(queue)
            if job is None:
                queue.delivering = False
            elif queue.sent == self._queues.window - 1 and self._load + 1 <= self._limit:
                self._notify()  # what waited because its queue was full
            if self._closed and job is not None:
                job.result = None
        return job, last


def _complete(tickets: list[Ticket]) -> None:
    for ticket in tickets:
        ticket.future.set_result(None)
