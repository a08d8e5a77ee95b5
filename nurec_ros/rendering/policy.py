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
How the client behaves towards a server: names, deadlines, limits, and what follows a failed call.

All of it is data with the reason beside each row, and one pure function; the other modules only
apply it. What a server's errors mean stands in errors.py.
"""

from __future__ import annotations

from dataclasses import dataclass
import random

from nurec_ros.rendering.server_errors import (
    ALONE,
    ASK_AGAIN,
    RECONNECT,
    RETRY,
    ServerError,
    WITHOUT_TRACKS,
)


@dataclass(frozen=True, slots=True)
class Row:
    """One setting: its value, and why it is that."""

    value: float
    reason: str


SERVICE_PREFIXES = (
    # The path on the wire of every server from 0.2.0 to 26.08.
    'nre.grpc.protos.sensorsim.SensorsimService',
    # 26.10 renamed its Python package so; whether the path followed is not known.
    'nurec.grpc.protos.sensorsim.SensorsimService',
    # The package's name as the documentation of 26.10 titles it.
    'sensorsim.SensorsimService',
)

DEADLINES: dict[str, Row] = {
    'get_version': Row(5.0, 'answered at once unless the server is blocked; asked again then'),
    'get_available_scenes': Row(10.0, 'lists archives, on a slow disk perhaps'),
    'get_available_trajectories': Row(
        5.0, 'asked only about a scene of another name, and done without if it does not come'
    ),
    'await server': Row(2.0, 'wait-for-ready while it boots; renewed until it answers'),
}

# Seconds from the start in which a server that is not there yet is no line in the log: whoever
# starts a player and a preview together need not read that one was first.
START_GRACE_S = 2.0

# Seconds that the look below gRPC may take where TLS may be the trouble, and between two of them.
HANDSHAKE_S = 1.0
HANDSHAKE_EVERY_S = 5.0

# Seconds to wait until gRPC's Python, which looks at a channel now and then, has seen it ready.
WATCHED_S = 1.0

# Seconds between looks at the list of scenes while ours is not in it.
SCENE_CHECK_S = 2.0

MAX_IN_FLIGHT = Row(
    3, 'two or three keep a server busy; more only wait in its queue and make pictures late'
)
BATCH_WEIGHT = Row(
    1.5, 'a batch is several frames of work: two in flight, one rendered and one waiting'
)
# Frames of one camera that are sent or waiting for an older one, beyond MAX_IN_FLIGHT: bounds
# what can pile up behind one stuck frame.
QUEUE_MARGIN = 2

TRANSIENT_DELAYS_S = (0.5, 2.0)
BATCH_FAILURES = Row(3, 'whole batches that fail in a row: single calls do better from then on')
BATCH_MISMATCHES = Row(
    3, 'batches in a row whose reply lacks frames, or holds none that is a picture: single calls'
)

# Seconds between looks at calls that take long, and after which the log says so of a first frame.
LOOK_S = 1.0
FIRST_FRAME_SAID_S = 5.0

BACKOFF_S = (0.1, 0.2, 0.4, 0.8)


def backoff_s(attempt: int) -> float:
    """Return how long to wait before attempt 0, 1, …: doubling, at most 1 s, with jitter."""
    base = BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)]
    return base * random.uniform(0.75, 1.25)


# What a failed call says about the connection.
STANDS = 'stands'
LOST = 'lost'  # the server is away: its connection is over
CHANGED = 'changed'  # another server may be there now: it is asked anew what it is
DOUBTED = 'doubted'  # whether it answers anything at all is to be found out


@dataclass(frozen=True, slots=True)
class Failed:
    """
    A frame that failed, and how.

    whole_call: its call failed, not its item of a reply alone; batch: the call held several
    frames; first: it was sent before the scene's first frame came; with_tracks: it carried poses
    of road users. keep and fail_if_down: as it was submitted. attempts: how often it was tried
    again already.
    """

    whole_call: bool = True
    batch: bool = False
    first: bool = False
    with_tracks: bool = False
    keep: bool = False
    fail_if_down: bool = False
    attempts: int = 0


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


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done: about the connection, and about the frame; again None: it is lost."""

    connection: str = STANDS
    again: Again | None = None


def judge(error: ServerError, failed: Failed) -> Verdict:
    """Return what is to be done about a frame that failed with this error."""
    return Verdict(_connection_after(error, failed), _again(error, failed))


def _connection_after(error: ServerError, failed: Failed) -> str:
    if not failed.whole_call:
        return STANDS
    if error.action == RECONNECT:
        return LOST
    if error.action == ASK_AGAIN and not failed.batch:
        return CHANGED
    if error.kind == 'timeout' and not failed.first:
        return DOUBTED
    return STANDS


def _again(error: ServerError, failed: Failed) -> Again | None:
    whole_batch = failed.whole_call and failed.batch
    if error.action == ALONE or (whole_batch and error.kind == 'version'):
        # No fault of the frame: it goes as a single call, or a newer one does.
        return Again(alone=True, dropped=True)
    if error.action == RECONNECT and failed.whole_call:
        return Again() if failed.keep and not failed.fail_if_down else None
    if failed.with_tracks and (error.action == WITHOUT_TRACKS or error.kind == 'feature'):
        return Again(without_tracks=True)
    if error.action in (RETRY, RECONNECT):
        if failed.attempts < len(TRANSIENT_DELAYS_S):
            return Again(after_s=TRANSIENT_DELAYS_S[failed.attempts], counted=True)
        return None
    if whole_batch and error.kind != 'timeout':
        # One camera can bring down the whole call: each is asked for by itself.
        return Again(alone=True)
    return None
