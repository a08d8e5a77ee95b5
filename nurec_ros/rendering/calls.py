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
"""A call to the server: what it carried, what it brought back, and what that teaches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import grpc
from nurec_ros.rendering import policy
from nurec_ros.rendering.connection import CHANGED, DOUBTED, LOST, Server
from nurec_ros.rendering.frames import check_cloud, check_reply, Cloud, Frame, ReplyError
from nurec_ros.rendering.policy import Learned
from nurec_ros.rendering.protos import sensorsim_pb2
from nurec_ros.rendering.queues import Job
from nurec_ros.rendering.requests import RequestBuilder
from nurec_ros.rendering.server_errors import (
    ALONE,
    ASK_AGAIN,
    classify,
    FAIL,
    OVERLOADED,
    RECONNECT,
    RETRY,
    ServerError,
    WITHOUT_TRACKS,
)

if TYPE_CHECKING:
    from google.protobuf.message import Message

NO_BATCHES = 'the server has no batch_render_rgb: single calls'
SPIN = 'render_lidar'

Reply: TypeAlias = (
    sensorsim_pb2.RGBRenderReturn
    | sensorsim_pb2.BatchRGBRenderReturn
    | sensorsim_pb2.LidarRenderReturn
)


# Not frozen, which would cost more than the rest of making one.
@dataclass(eq=False, slots=True)
class Call:
    """
    A call, before it is sent and while it is in flight.

    message: what is sent by `method`. sizes: (width, height) asked for, of each job. since:
    monotonic seconds. first: sent before the scene's first frame came. weight: its share of what
    may be in flight.
    """

    server: Server
    jobs: list[Job]
    method: str
    message: Message
    sizes: list[tuple[int, int]]
    since: float
    timeout_s: float
    first: bool
    weight: float
    with_tracks: bool

    @property
    def batch(self) -> bool:
        return len(self.jobs) > 1

    def error(self, code: grpc.StatusCode | None, details: str) -> ServerError:
        """Return the error of this call for a status; code None: of an item of its reply."""
        error = classify(
            code,
            details,
            server=self.server.channel.server,
            scene_id=self.server.scene.scene_id,
            scenes=', '.join(self.server.scene.names) or 'others',
            method=self.method,
            prefix=self.server.prefix,
            timeout_s=self.timeout_s,
            option='first_render_timeout_s' if self.first else 'render_timeout_s',
        )
        # Pictures come from it all the same: nothing is to be asked anew.
        spin = self.method == SPIN and error.kind == 'version'
        return no_lidars(self.server.channel.server) if spin else error


@dataclass(frozen=True, slots=True)
class Again:
    """
    How a frame is sent once more.

    after_s: not before so many seconds; counted: as one of its attempts. alone: not in a batch.
    without_tracks: the server takes none, neither with this frame nor later. dropped: where a
    newer frame wins over it, it was dropped, and did not fail.
    """

    after_s: float = 0.0
    counted: bool = False
    alone: bool = False
    without_tracks: bool = False
    dropped: bool = False


def weight_of(count: int) -> float:
    """Return the share that a call with so many frames has of what may be in flight."""
    return policy.BATCH_WEIGHT if count > 1 else 1.0


def prepare(
    jobs: Sequence[Job], server: Server, builder: RequestBuilder, now: float
) -> tuple[Call | None, list[tuple[Job, ServerError]]]:
    """Build the call for jobs that share one, None where none can be asked for; and the others."""
    options, learned = builder.options, server.learned
    spin = builder.is_lidar(jobs[0].source)
    warm = learned.lidars_warm if spin else learned.warm
    with_tracks = learned.tracks and options.send_tracks
    ready: list[Job] = []
    requests = []
    refused: list[tuple[Job, ServerError]] = []
    for job in jobs:
        try:
            if spin and not learned.lidars:
                raise no_lidars(options.server)
            request = builder.build(
                server.scene.scene_id,
                job.source,
                job.t_ns,
                with_tracks=with_tracks,
                rig_poses=job.rig_poses,
            )
        # A frame must not vanish, nor its future hang.
        except Exception as error:  # noqa: BLE001, PERF203
            refused.append((job, ServerError.own(error, 'the client')))
        else:
            ready.append(job)
            requests.append(request)
    if not ready:
        return None, refused
    method, message = SPIN if spin else 'render_rgb', requests[0]
    if len(ready) > 1:
        method = 'batch_render_rgb'
        message = sensorsim_pb2.BatchRGBRenderRequest(
            items=[
                sensorsim_pb2.BatchRGBRenderItem(camera_name=job.source, request=request)
                for job, request in zip(ready, requests)  # noqa: B905 (made together)
            ]
        )
    # The items of a batch are rendered one after the other.
    later_s = options.render_timeout_s * len(ready)
    call = Call(
        server=server,
        jobs=ready,
        method=method,
        message=message,
        sizes=[] if spin else [(one.resolution_w, one.resolution_h) for one in requests],
        since=now,
        timeout_s=later_s if warm else options.first_render_timeout_s,
        first=not warm,
        weight=weight_of(len(jobs)),
        with_tracks=with_tracks,
    )
    return call, refused


def no_lidars(address: str) -> ServerError:
    return ServerError(
        'no lidars',
        f'{address} renders no lidars (it has no {SPIN})',
        'NuRec servers from 25.07 on do; set lidars to [none] for one that does not',
    )


# --- what came back ------------------------------------------------------------------------------


def results_of(
    call: Call, reply: Reply, image_format: str, now: float
) -> tuple[list[Frame | Cloud | ServerError], str]:
    """
    Return the frame or cloud of each job, or what is wrong with it.

    The items of a batch are matched to the jobs by camera name. Also returns the names of items
    that nobody asked for, as a text.
    """
    latency_s = now - call.since
    if not call.batch:
        return [_checked(call, 0, reply, image_format, latency_s)], ''
    items: dict[str, list[sensorsim_pb2.BatchRGBRenderReturnItem]] = {
        job.source: [] for job in call.jobs
    }
    strange = []
    for item in reply.items:
        if item.camera_name in items:
            items[item.camera_name].append(item)
        else:
            strange.append(item.camera_name or 'an item without a name')
    results: list[Frame | Cloud | ServerError] = []
    for index, job in enumerate(call.jobs):
        found = items[job.source]
        if len(found) != 1:
            how = f'holds {job.source} {len(found)} times' if found else f'lacks {job.source}'
            remedy = 'it is asked for by itself; set batch to never if this goes on'
            results.append(ServerError('unmatched', f'the batch reply {how}', remedy, ALONE))
        elif not found[0].success:
            results.append(call.error(None, found[0].error_message))
        else:
            results.append(_checked(call, index, found[0].result, image_format, latency_s))
    return results, ', '.join(strange)


def _checked(
    call: Call, index: int, reply: Reply, image_format: str, latency_s: float
) -> Frame | Cloud | ServerError:
    job = call.jobs[index]
    try:
        if call.method == SPIN:
            return Cloud(job.source, job.t_ns, *check_cloud(reply), latency_s)
        data = reply.image_bytes
        encoding, width, height = check_reply(data, image_format, call.sizes[index])
    except ReplyError as error:
        return ServerError(
            'reply',
            f'{job.source}: {error}',
            f'{error.remedy}; nurec_probe saves what the server sends',
        )
    return Frame(job.source, job.t_ns, data, encoding, width, height, latency_s)


# --- what follows a failure ----------------------------------------------------------------------


def connection_after(error: ServerError, call: Call) -> str:
    """Return what the failure of a whole call says of its connection; empty: that it stands."""
    if error.action == RECONNECT:
        return LOST
    if error.action == ASK_AGAIN and not call.batch:
        return CHANGED
    return DOUBTED if error.kind == 'timeout' and not call.first else ''


def again_after(error: ServerError, call: Call, job: Job, *, whole_call: bool) -> Again | None:
    """
    Return how a frame is sent once more; None where it is lost.

    whole_call: its call failed, not its item of a reply alone.
    """
    whole_batch = whole_call and call.batch
    if error.action == ALONE or (whole_batch and error.kind == 'version'):
        # No fault of the frame: it goes as a single call, or a newer one does.
        return Again(alone=True, dropped=True)
    if error.action == RECONNECT and whole_call:
        return Again() if job.keep and not job.fail_if_down else None
    if call.with_tracks and (error.action == WITHOUT_TRACKS or error.kind == 'feature'):
        return Again(without_tracks=True)
    if error.action in (RETRY, RECONNECT):
        if job.attempts < len(policy.TRANSIENT_DELAYS_S):
            return Again(after_s=policy.TRANSIENT_DELAYS_S[job.attempts], counted=True)
        return None
    if whole_batch and error.kind != 'timeout':
        # One camera can bring down the whole call: each is asked for by itself.
        return Again(alone=True)
    return None


# --- what is learned -----------------------------------------------------------------------------


def learn(
    known: Learned,
    call: Call,
    error: ServerError | None,
    results: Sequence[Frame | Cloud | ServerError],
    *,
    warms: bool,
) -> Learned:
    """
    Return what is known after a call: whether the server is warm, when single calls do better.

    error: of the call as a whole; results: else, one for each frame. warms: whether a frame proves
    that no first frame is out any more.
    """
    if call.method == SPIN:
        if error is not None and error.kind == 'no lidars':
            return replace(known, lidars=False)
        came = any(isinstance(result, Cloud) for result in results)
        return replace(known, lidars_warm=known.lidars_warm or (came and warms))
    if not known.warm and any(isinstance(result, Frame) for result in results):
        known = replace(known, warm=warms)
    if not call.batch:
        return known
    if error is None:
        return _learn_from_items(known, results)
    if error.kind == 'version':
        return replace(known, batch=False, batch_note=NO_BATCHES)
    if error.action != FAIL or error.kind == 'timeout':
        return known
    known = replace(known, batch_failures=known.batch_failures + 1)
    if known.batch_failures < policy.BATCH_FAILURES:
        return known
    return replace(known, batch=False, batch_note=f'batches fail ({error}): single calls')


def _learn_from_items(known: Learned, results: Sequence[Frame | Cloud | ServerError]) -> Learned:
    errors = [result for result in results if isinstance(result, ServerError)]
    unmatched = any(error.action == ALONE for error in errors)
    useless = len(errors) == len(results) and all(error.kind == 'reply' for error in errors)
    mismatches = known.batch_mismatches + 1 if unmatched or useless else 0
    known = replace(known, batch=True, batch_failures=0, batch_mismatches=mismatches)
    if mismatches < policy.BATCH_MISMATCHES:
        return known
    what = 'do not match what was asked for' if unmatched else 'hold no picture'
    times = f'{policy.BATCH_MISMATCHES} times in a row'
    note = f'batch replies {what}, {times}: single calls'
    return replace(known, batch=False, batch_note=note)


# --- calls that take their time ------------------------------------------------------------------


def first_frame_waited_s(calls: Iterable[Call], server: Server | None, now: float) -> float:
    """Return for how long the first frame of a server has been out; 0 where none is."""
    if server is None or server.learned.warm:
        return 0.0
    waited = (now - call.since for call in calls if call.first and call.server is server)
    return max(waited, default=0.0)


def late_error(
    calls: Iterable[Call], address: str, render_timeout_s: float, now: float
) -> ServerError | None:
    """
    Return what is wrong with a batch that takes longer than any single frame may.

    It is not given up yet: its items are rendered one after the other. None for first frames.
    """
    late = [call for call in calls if not call.first and now - call.since > render_timeout_s]
    if not late:
        return None
    call = min(late, key=lambda call: call.since)
    return ServerError(
        'timeout',
        f'{address} has not answered {call.method} within {render_timeout_s:g} s (it holds '
        f'{len(call.jobs)} frames and is given up after {call.timeout_s:g} s)',
        OVERLOADED.format(option='render_timeout_s'),
    )
