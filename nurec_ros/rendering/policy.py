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
How the client behaves towards a server: names, channel options, deadlines, retries.

All of it is data with the reason beside each row; the other modules only apply it. What a server's
errors mean stands in remedies.py.
"""

from __future__ import annotations

from dataclasses import dataclass
import random

from nurec_ros.errors import RenderError

# A failed request is dealt with in one of these ways.
FAIL = 'fail'  # the frame is lost, the rest goes on
CONDEMN = 'condemn'  # the server is there but not what is wanted: all frames are lost meanwhile
RECONNECT = 'reconnect'  # the server is away: connect, ask it anew; kept frames wait for it
ASK_AGAIN = 'ask again'  # the frame is lost, and what is known about the server is asked anew
RETRY = 'retry'  # the same request again, a little later
ALONE = 'alone'  # the reply of a batch lacks the frame: it is asked for by itself
WITHOUT_TRACKS = 'without tracks'  # the same frame without poses of road users, from now on


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

CHANNEL_OPTIONS: dict[str, Row] = {
    'grpc.max_receive_message_length': Row(
        256 << 20, 'the default of 4 MB refuses one raw 1080p frame; a raw batch of six is 150 MB'
    ),
    'grpc.max_send_message_length': Row(
        64 << 20, 'a request is a few kB, one with all tracks in a batch still below 1 MB'
    ),
    'grpc.initial_reconnect_backoff_ms': Row(
        100, 'a restarted preview server is back within a second'
    ),
    'grpc.max_reconnect_backoff_ms': Row(
        500, 'images are to be back within 2 s of the server, whose first frame takes its own time'
    ),
    'grpc.min_reconnect_backoff_ms': Row(
        5000, 'one attempt to connect may take this long: a blocked server accepts late'
    ),
    'grpc.client_idle_timeout_ms': Row(
        2**31 - 1, 'a halted player keeps its connection: the next picture is wanted at once'
    ),
    # No grpc.keepalive_time_ms: while a server compiles its kernels (up to a minute) it answers
    # no ping, and a client that insists would cut the connection on which its first frame comes.
}

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
LANE_MARGIN = 2

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
    """Give how long to wait before attempt 0, 1, …: doubling, at most 1 s, with jitter."""
    base = BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)]
    return base * random.uniform(0.75, 1.25)


class ServerError(RenderError):
    """
    What went wrong between client and server, with its remedy.

    kind: a short word, as those in remedies.RULES; action: how the client deals with it. The text
    is the problem and the remedy in one line.
    """

    def __init__(self, kind: str, problem: str, remedy: str, action: str = FAIL) -> None:
        super().__init__(f'{problem}: {remedy}' if remedy else problem)
        self.kind = kind
        self.problem = problem
        self.remedy = remedy
        self.action = action

    @classmethod
    def own(cls, error: Exception, what: str) -> ServerError:
        """Give an error of ours, or of a library, as one of these; `what` failed with it."""
        if isinstance(error, cls):
            return error
        if isinstance(error, RenderError):
            return cls('request', str(error), '')
        return cls('client', f'{what} failed ({type(error).__name__}: {error})', '')
