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
"""What a server's errors mean, and what to do about each: a table, and its look-up."""

from __future__ import annotations

from dataclasses import dataclass
import re

import grpc
from nurec_ros.errors import RenderError

# A failed request is dealt with in one of these ways.
FAIL = 'fail'  # the frame is lost, the rest goes on
CONDEMN = 'condemn'  # the server is there but not what is wanted: all frames are lost meanwhile
RECONNECT = 'reconnect'  # the server is away: connect, ask it anew; kept frames wait for it
ASK_AGAIN = 'ask again'  # the frame is lost, and what is known about the server is asked anew
RETRY = 'retry'  # the same request again, a little later
ALONE = 'alone'  # the reply of a batch lacks the frame: it is asked for by itself
WITHOUT_TRACKS = 'without tracks'  # the same frame without poses of road users, from now on


class ServerError(RenderError):
    """
    What went wrong between client and server, with its remedy.

    kind: a short word, as those in RULES; action: how the client deals with it. The text
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
        """Return an error of ours, or of a library, as one of these; `what` failed with it."""
        if isinstance(error, cls):
            return error
        if isinstance(error, RenderError):
            return cls('request', str(error), '')
        return cls('client', f'{what} failed ({type(error).__name__}: {error})', '')


@dataclass(frozen=True, slots=True)
class Rule:
    """
    What an error of a server means.

    Matches when the status code is one of `codes` (empty: any) and `text` is found in the details
    (empty: anything). In `problem` and `remedy`, {server}, {place}, {details}, {scene_id},
    {scenes}, {method}, {timeout_s}, {option} (what sets that) and {prefix} are filled in.
    """

    kind: str
    codes: tuple[grpc.StatusCode, ...]
    text: str
    problem: str
    remedy: str
    action: str
    reason: str


UNREACHABLE = 'is the NuRec container running and {place}? it needs 10-30 s after a restart'
STARTING = (
    'it is still loading: wait, a container needs 10-90 s after a restart; its log tells how far '
    'it is'
)
BLOCKED = (
    'the whole server is blocked, as while it compiles its kernels at the first frame (up to a '
    'minute): wait; if it stays so, restart the container'
)
OVERLOADED = (
    'it may be compiling its kernels (up to a minute at the first frame) or overloaded: lower '
    'resolution_scale, take fewer cameras, raise {option}'
)
# What gRPC itself says of connections that break or never stood; what else comes as UNAVAILABLE
# are the words of a server that answers.
BROKEN = (
    r'(?i)clos|refused|reset|connect|broken|go_?away|rst_stream|stream removed|cancel|shut|'
    r'stopping|transport|keepalive|ping timeout|timed out|unreachable|no route|end of tcp|'
    r'empty address|read failed|recvmsg|sendmsg'
)
MEMORY = (
    'lower resolution_scale, take fewer cameras, restart the container with '
    'PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True'
)
_CODE = grpc.StatusCode
_CODE_NAMES = re.compile('|'.join(status.name for status in _CODE if status is not _CODE.OK))

RULES: tuple[Rule, ...] = (
    Rule(
        'transient',
        (),
        r'A load persistent id instruction was encountered|Stopped waiting for backend',
        'the renderer was not ready for this frame ({details})',
        'it was tried again and failed again; restart the container if this goes on',
        RETRY,
        'the two texts that other clients found to vanish by themselves',
    ),
    Rule(
        'tracks refused',
        (),
        r'(?i)enable[-_]editing|editing[-_ ]actors|dynamic[-_ ]?objects',
        'the server takes no poses of other road users, the recorded ones are shown',
        'start it with --enable-editing-actors, or switch send_tracks off',
        WITHOUT_TRACKS,
        'servers from 26.03 on refuse dynamic objects unless they run with this flag',
    ),
    Rule(
        'message size',
        (),
        r'message larger than max',
        'a message is too large for gRPC ({details})',
        'lower resolution_scale or ask for image_format jpeg',
        FAIL,
        'RESOURCE_EXHAUSTED as well, but no lack of memory',
    ),
    Rule(
        'memory',
        (),
        r'(?i)CUDA[^\n]*out of memory|OutOfMemory|CUBLAS_STATUS_ALLOC_FAILED',
        'the GPU is out of memory ({details})',
        MEMORY,
        FAIL,
        'comes as UNKNOWN, INTERNAL or RESOURCE_EXHAUSTED, depending on where it struck',
    ),
    Rule(
        'encoder',
        (),
        r'(?i)nvjpeg',
        'the image encoder of the server failed ({details})',
        'set image_quality to 1 … 100, or image_format to png',
        FAIL,
        'a quality of 0 does this, and so does a size that the encoder does not take',
    ),
    Rule(
        'gpu',
        (),
        r'(?i)CUDA error|illegal memory access|device-side assert|CUDNN_STATUS',
        'the GPU of the server failed ({details})',
        'restart the container: a CUDA process does not recover from this',
        FAIL,
        'every later call of that process fails as well',
    ),
    Rule(
        'renderer',
        (),
        r'NRenderer\.render failed',
        'the renderer failed ({details})',
        'lower resolution_scale, take fewer cameras, restart the container if it goes on',
        FAIL,
        'the catch-all of the renderer, most often memory',
    ),
    Rule(
        'camera',
        (),
        r'(?i)missing camera|unknown camera|no such camera|'
        r'\bcamera\s+\S+ (is |was |does )?not (found|known|exist|available)',
        'the server does not know this camera ({details})',
        'the scenario file and the scene on the server differ: load the same archive in both, or '
        'leave the camera out of the parameter cameras',
        FAIL,
        'an assertion or NOT_FOUND, depending on the version',
    ),
    Rule(
        'tls',
        (_CODE.UNAVAILABLE,),
        r'(?i)\bSSL|\bTLS|certificate|handshake',
        'cannot agree on TLS with {server} ({details})',
        'NuRec servers speak plaintext unless a proxy adds TLS: tls_root_certificate must be the '
        'certificate that signed its own, and empty for plaintext',
        RECONNECT,
        'UNAVAILABLE too, but restarting the container does not help',
    ),
    Rule(
        'name',
        (_CODE.UNAVAILABLE,),
        r'(?i)DNS resolution|name resolution|lookup failed',
        'cannot resolve the name of {server} ({details})',
        'is the host name in the parameter server spelled right?',
        RECONNECT,
        'UNAVAILABLE too, but it never came as far as the server',
    ),
    Rule(
        'foreign',
        (_CODE.UNAVAILABLE,),
        r'(?i)Failed parsing HTTP/2|http1\.x server|Expected SETTINGS frame|preface',
        'what answers at {server} speaks no gRPC ({details})',
        'something else than a gRPC server answers there: is the port in the parameter server '
        'the one of the NuRec container (46435 unless published as another)?',
        RECONNECT,
        'UNAVAILABLE too, but waiting for the container does not help',
    ),
    Rule(
        'unreachable',
        (_CODE.UNAVAILABLE,),
        rf'{BROKEN}|^\s*$',
        'cannot reach {server}',
        UNREACHABLE,
        RECONNECT,
        'nothing listens, or the connection broke',
    ),
    Rule(
        'starting',
        (_CODE.UNAVAILABLE,),
        '',
        '{server} answers, but is not ready yet ({details})',
        STARTING,
        RECONNECT,
        'the words are its own: it is there, and still loads its scenes',
    ),
    Rule(
        'timeout',
        (_CODE.DEADLINE_EXCEEDED,),
        r'(?i)^(?!deadline exceeded)\s*\S',
        '{server} gave {method} up after a deadline of its own ({details})',
        'it, or a proxy in between, is overloaded or still compiles its kernels: lower '
        'resolution_scale, take fewer cameras',
        FAIL,
        'other words than those of our own deadline',
    ),
    Rule(
        'timeout',
        (_CODE.DEADLINE_EXCEEDED,),
        '',
        '{server} did not answer {method} within {timeout_s:g} s',
        OVERLOADED,
        FAIL,
        'a frame is not worth more than its deadline; the next one may be answered',
    ),
    Rule(
        'memory',
        (_CODE.RESOURCE_EXHAUSTED,),
        '',
        'the server is out of memory or cache ({details})',
        MEMORY,
        FAIL,
        'GPU memory or the cache of scenes (--cache-size)',
    ),
    Rule(
        'range',
        (_CODE.OUT_OF_RANGE,),
        '',
        'the time lies outside of the scene on the server ({details})',
        'the scenario file and the scene on the server differ: load the same archive in both, or '
        'set start_offset_s and end_offset_s',
        FAIL,
        'requests are kept inside the range of our own file',
    ),
    Rule(
        'scene',
        (_CODE.NOT_FOUND,),
        '',
        'the server has no scene {scene_id} ({details})',
        'it has {scenes}: set scene_id, start it with --artifact-glob for this file, or give it '
        'the file as scene_url (servers from 26.04 on)',
        ASK_AGAIN,
        'its archives may have been exchanged meanwhile',
    ),
    Rule(
        'version',
        (_CODE.UNIMPLEMENTED,),
        '',
        'the server does not have {method} under {prefix}',
        'is it a NuRec render server? set service_prefix if its service has another name',
        ASK_AGAIN,
        'another version may have been started at the same address',
    ),
    Rule(
        'request',
        (_CODE.INVALID_ARGUMENT,),
        '',
        'the server refuses the request ({details})',
        'try projection native, shutter instant and image_format jpeg; the scenario file must be '
        'the archive that the server loaded',
        FAIL,
        'bad scene, camera, interval or coefficients, as the details say',
    ),
    Rule(
        'feature',
        (_CODE.FAILED_PRECONDITION,),
        '',
        'the server has this feature switched off ({details})',
        'start it with the flag that the message names, or switch the option off here',
        FAIL,
        'FAILED_PRECONDITION is what features that are not enabled answer',
    ),
    Rule(
        'access',
        (_CODE.UNAUTHENTICATED, _CODE.PERMISSION_DENIED),
        '',
        '{server} denies access ({details})',
        'is a proxy in between? NuRec servers ask for no credentials',
        FAIL,
        'none of the known servers authenticates',
    ),
    Rule(
        'assertion',
        (_CODE.UNKNOWN,),
        '',
        'the server failed ({details})',
        'its log tells more; servers before 26.02 know no pinhole model (projection native), and '
        'the scenario file must be the archive that the server loaded',
        FAIL,
        'a Python exception in the server, often an assertion about the request',
    ),
    Rule(
        'cancelled',
        (_CODE.CANCELLED,),
        '',
        'the server gave the call up ({details})',
        'was it stopped, or is a proxy in between? its log tells more',
        RETRY,
        'a server that shuts down in an orderly way cancels what is in flight; our own cancelled '
        'calls belong to frames that nobody wants any more',
    ),
    Rule(
        'server',
        (),
        '',
        'the server failed ({details})',
        'its log tells more; restart the container if it goes on',
        FAIL,
        'whatever else a server may answer',
    ),
)


def classify(code: grpc.StatusCode | None, details: str, **context: object) -> ServerError:
    """
    Return the error with its remedy for a status, or for an item of a batch (code None).

    context: server, scene_id, scenes, method, timeout_s, option, prefix, as far as known.
    """
    if code is None:
        named = _CODE_NAMES.search(details)
        code = _CODE[named.group()] if named else None
    for rule in RULES:
        if rule.codes and code not in rule.codes:
            continue
        if rule.text and not re.search(rule.text, details):
            continue
        name = code.name if code is not None else 'batch item'
        words = {
            'server': 'the server',
            'place': _place(str(context.get('server', ''))),
            'scene_id': 'of that name',
            'scenes': 'others',
            'method': 'the call',
            'timeout_s': 0.0,
            'option': 'render_timeout_s',
            'prefix': 'the known names',
            **context,
            'details': short(details) or name,
        }
        return ServerError(
            rule.kind, rule.problem.format(**words), rule.remedy.format(**words), rule.action
        )
    raise AssertionError('the last rule matches everything')


def _place(server: str) -> str:
    """Return what has to hold of the place that was typed as server, as a part of a question."""
    if server.startswith('unix'):
        return 'listening on that socket'
    ports = re.findall(r':(\d{1,5})(?=\s*(?:,|$))', server)
    if not ports and ':' in server:
        return f'does {server} name its port'
    return f'port {" and ".join(dict.fromkeys(ports)) or "46435"} published'


def short(details: str, limit: int = 200) -> str:
    """Return the line of a server's message that says most: of a traceback the last one."""
    lines = [line.strip() for line in details.splitlines() if line.strip()]
    if not lines:
        return ''
    line = lines[-1] if 'Traceback' in details else lines[0]
    return line if len(line) <= limit else line[: limit - 1] + '…'


def problem_of(error: RenderError | None) -> str:
    """Return what went wrong, without the remedy where that stands apart."""
    return '' if error is None else getattr(error, 'problem', str(error))


def remedy_of(error: RenderError | None) -> str:
    """Return what to do about it, where that is known."""
    return getattr(error, 'remedy', '')
