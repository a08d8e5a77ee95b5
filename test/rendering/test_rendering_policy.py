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
"""Options that are refused, tables that are complete, and which remedy each error gets."""

from dataclasses import asdict
from pathlib import Path

import grpc
from nurec_ros.errors import ConfigurationError, RenderError
from nurec_ros.rendering import policy, RenderOptions
from nurec_ros.rendering.channel import CHANNEL_OPTIONS
from nurec_ros.rendering.server_errors import classify, RULES, ServerError, short
from nurec_ros.settings import TABLE
import pytest

CODE = grpc.StatusCode
PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'rendering.md'
UNREACHABLE = (
    'cannot reach gpu:46435: is the NuRec container running and port 46435 published? '
    'it needs 10-30 s after a restart'
)

# What each kind asks for, and how its problem and its remedy begin.
BEGINS = {
    'transient': 'retry | the renderer was not ready for this frame ( | it was tried again and fa',
    'tracks refused': 'without tracks | the server takes no poses of other | start it with --enab',
    'message size': 'fail | a message is too large for gRPC ( | lower resolution_scale or ask for',
    'memory': 'fail | the  | lower resolution_scale, take fewer cameras, restart the container wi',
    'encoder': 'fail | the image encoder of the server failed ( | set image_quality to 1 … 100, o',
    'gpu': 'fail | the GPU of the server failed ( | restart the container: a CUDA process does no',
    'renderer': 'fail | the renderer failed ( | lower resolution_scale, take fewer cameras, resta',
    'camera': 'fail | the server does not know this camera ( | the scenario file and the scene on',
    'tls': 'reconnect | cannot agree on TLS with gpu:46435 ( | NuRec servers speak plaintext unle',
    'name': 'reconnect | cannot resolve the name of gpu:46435 ( | is the host name in the paramet',
    'foreign': 'reconnect | what answers at gpu:46435 speaks no gRPC ( | something else than a gR',
    'unreachable': 'reconnect | cannot reach gpu:46435 | is the NuRec container running and port ',
    'starting': 'reconnect | gpu:46435 answers, but is not ready | it is still loading: wait, a c',
    'timeout': 'fail | gpu:46435  | it',
    'range': 'fail | the time lies outside of the scene on | the scenario file and the scene on t',
    'scene': 'ask again | the server has no scene a (no scene a) | it has a, b: set scene_id, sta',
    'version': 'ask again | the server does not have render_rgb under p.S | is it a NuRec render ',
    'request': 'fail | the server refuses the request ( | try projection native, shutter instant ',
    'feature': 'fail | the server has this feature switched off ( | start it with the flag that t',
    'access': 'fail | gpu:46435 denies access ( | is a proxy in between? NuRec servers ask for no',
    'assertion': 'fail | the server failed ( | its log tells more; servers before 26.02 know no',
    'cancelled': 'retry | the server gave the call up ( | was it stopped, or is a proxy in betwee',
    'server': 'fail | the server failed ( | its log tells more; restart the container if it goes ',
}


def test_every_row_has_its_reason():
    for rule in RULES:
        assert len(rule.reason) > 10, rule.kind
        assert rule.problem, rule.kind
        assert rule.remedy, rule.kind


def test_the_facts_that_the_issue_names():
    assert CHANNEL_OPTIONS['grpc.max_receive_message_length'] == 256 * 2**20
    assert CHANNEL_OPTIONS['grpc.max_reconnect_backoff_ms'] <= 1000
    assert not [name for name in CHANNEL_OPTIONS if 'keepalive' in name]
    assert policy.SERVICE_PREFIXES == (
        'nre.grpc.protos.sensorsim.SensorsimService',
        'nurec.grpc.protos.sensorsim.SensorsimService',
        'sensorsim.SensorsimService',
    )
    assert 2 <= policy.MAX_IN_FLIGHT <= 3


DEADLINES = [policy.DEADLINES[f'get_{name}'] for name in ('version', 'available_scenes')]


@pytest.mark.parametrize(
    'said',
    [
        f'every {policy.HANDSHAKE_EVERY_S:g} s at most',
        f'for {"a second" * (policy.HANDSHAKE_S == 1)} at most and',
        f'when it is still away {policy.START_GRACE_S:g} s after the start',
        f'its list is looked at every {policy.SCENE_CHECK_S:g} s.',
        '| `get_version`, `get_available_scenes` | {:g} s, {:g} s |'.format(*DEADLINES),
        f'_trajectories` | {policy.DEADLINES["get_available_trajectories"]:g} s |',
        'the same frame again after {:g} s and {:g} s,'.format(*policy.TRANSIENT_DELAYS_S),
        f'the log has it after {policy.FIRST_FRAME_SAID_S:g} s)',
    ],
)
def test_the_page_tells_how_long_it_takes(said):
    assert said in PAGE.read_text()


def test_back_off_is_jittered_and_at_most_a_second():
    for attempt in range(20):
        waits = {policy.backoff_s(attempt) for _ in range(50)}
        assert len(waits) > 10
        assert min(waits) > 0.0
        assert max(waits) <= 1.0
    assert policy.backoff_s(0) < 0.2


@pytest.mark.parametrize(
    ('code', 'details', 'kind', 'said'),
    [
        (CODE.UNAVAILABLE, 'connection refused', 'unreachable', UNREACHABLE),
        (CODE.UNAVAILABLE, '', 'unreachable', UNREACHABLE),
        (CODE.UNAVAILABLE, 'Cancelling all calls', 'unreachable', UNREACHABLE),
        (CODE.UNAVAILABLE, 'GOAWAY received', 'unreachable', UNREACHABLE),
        (CODE.UNAVAILABLE, 'being loaded', 'starting', 'is not ready yet (being loaded): it is'),
        (
            CODE.UNAVAILABLE,
            'Failed parsing HTTP/2 (Expected SETTINGS frame as the first frame, got frame 79)',
            'foreign',
            'something else than a gRPC server answers there',
        ),
        (CODE.UNAVAILABLE, 'Trying to connect an http1.x server', 'foreign', ''),
        (CODE.UNAVAILABLE, 'DNS resolution failed for x', 'name', 'spelled'),
        (CODE.UNAVAILABLE, 'SSL_ERROR_SSL: WRONG_VERSION', 'tls', 'tls_root_certificate'),
        (CODE.DEADLINE_EXCEEDED, 'Deadline Exceeded', 'timeout', 'not answer render_rgb within'),
        (CODE.DEADLINE_EXCEEDED, '', 'timeout', 'within 10 s: it may be compiling its kernels'),
        (CODE.DEADLINE_EXCEEDED, 'busy for 3 s', 'timeout', 'its own (busy for 3 s)'),
        (CODE.RESOURCE_EXHAUSTED, 'cache full', 'memory', 'out of memory or cache (cache full)'),
        (CODE.UNKNOWN, 'CUDA out of memory. Tried', 'memory', 'expandable_segments:True'),
        (CODE.INTERNAL, 'torch.cuda.OutOfMemoryError', 'memory', 'the GPU is out of memory'),
        (
            CODE.RESOURCE_EXHAUSTED,
            'CLIENT: Received message larger than max (5 vs. 4)',
            'message size',
            'image_format jpeg',
        ),
        (CODE.OUT_OF_RANGE, 'time 5 not in 6..7', 'range', 'time 5 not in 6..7'),
        (CODE.NOT_FOUND, 'no scene a', 'scene', ''),
        (CODE.UNIMPLEMENTED, 'Method not found!', 'version', ''),
        (CODE.UNKNOWN, 'NRenderer.render failed', 'renderer', 'restart the container'),
        (CODE.INVALID_ARGUMENT, 'start >= end', 'request', 'start >= end'),
        (CODE.FAILED_PRECONDITION, 'harmonizer is off', 'feature', 'harmonizer is off'),
        (CODE.FAILED_PRECONDITION, 'dynamic_objects', 'tracks refused', 'switch send_tracks off'),
        (CODE.UNKNOWN, 'nvJPEG error 6', 'encoder', ''),
        (CODE.UNKNOWN, 'CUDA error: an illegal memory access', 'gpu', ''),
        (CODE.UNKNOWN, 'Missing camera wide@clip in camera calibration', 'camera', 'same archive'),
        (CODE.NOT_FOUND, 'camera wide not found in scene', 'camera', ''),
        (CODE.UNKNOWN, 'AssertionError', 'assertion', 'projection native'),
        (CODE.PERMISSION_DENIED, '', 'access', ''),
        (CODE.CANCELLED, '', 'cancelled', ''),
        (CODE.DATA_LOSS, 'x', 'server', 'restart'),
        (CODE.UNKNOWN, 'A load persistent id instruction was encountered', 'transient', ''),
        (CODE.INTERNAL, 'Stopped waiting for backend', 'transient', ''),
        # Of an item of a batch there is a text at most.
        (None, 'CUDA out of memory', 'memory', ''),
        (None, 'StatusCode.OUT_OF_RANGE: time 5', 'range', 'time 5'),
        (None, '', 'server', 'batch item'),
    ],
)
def test_classification(code, details, kind, said):
    error = classify(
        code,
        details,
        server='gpu:46435',
        scene_id='a',
        scenes='a, b',
        method='render_rgb',
        prefix='p.S',
        timeout_s=10.0,
    )
    assert isinstance(error, RenderError)
    action, problem, remedy = BEGINS[kind].split(' | ')
    assert (error.kind, error.action) == (kind, action)
    assert said in str(error) == f'{error.problem}: {error.remedy}'
    assert '{' not in str(error)
    assert error.problem.startswith(problem)
    assert error.remedy.startswith(remedy)


@pytest.mark.parametrize(
    ('code', 'words'),
    [
        (CODE.UNAVAILABLE, 'cannot reach the server: '),
        (CODE.NOT_FOUND, 'no scene of that name (NOT_FOUND): it has others: '),
        (CODE.UNIMPLEMENTED, 'the call under the known names'),
        (CODE.DEADLINE_EXCEEDED, 'the server did not answer the call within 0 s'),
    ],
)
def test_words_for_what_is_not_known(code, words):
    assert words in str(classify(code, ''))


def test_every_code_of_grpc_has_a_remedy_without_any_context():
    for code in CODE:
        assert classify(code, '').remedy


def test_details_are_text_and_of_a_traceback_the_last_line_counts():
    details = (
        'Traceback (most recent call last):\n  File "a.py", line 3\n    x()\nValueError: {0}\n'
    )
    assert 'ValueError: {0}' in str(classify(CODE.UNKNOWN, details))
    assert [short(text) for text in ('one\ntwo', '', 'x' * 200, 'x' * 201)] == [
        *('one', '', 'x' * 200, 'x' * 199 + '…')
    ]


@pytest.mark.parametrize(
    ('server', 'place'),
    [
        ('gpu:46435', 'port 46435 published'),
        ('gpu:8080', 'port 8080 published'),
        ('[::1]:6000', 'port 6000 published'),
        ('a:1, b:2,c:1', 'port 1 and 2 published'),
        ('ipv4:10.0.0.1:5,10.0.0.2:5', 'port 5 published'),
        ('gpu', 'port 46435 published'),
        ('unix:/run/nurec.sock', 'container running and listening on that socket?'),
        ('unix-abstract:nurec', 'container running and listening on that socket?'),
        ('dns:///gpu', 'does dns:///gpu name its port?'),
    ],
)
def test_remedy_names_the_place_that_was_typed(server, place):
    assert place in str(classify(CODE.UNAVAILABLE, 'refused', server=server))


def test_whatever_failed_becomes_an_error_of_the_server():
    known = ServerError('memory', 'out of memory', 'less')
    assert ServerError.own(known, 'the client') is known
    own = ServerError.own(RenderError('the scenario has no camera x'), 'the client')
    assert (own.kind, str(own)) == ('request', 'the scenario has no camera x')
    foreign = ServerError.own(KeyError('x'), 'connecting')
    assert (foreign.kind, str(foreign)) == ('client', "connecting failed (KeyError: 'x')")


# --- options -------------------------------------------------------------------------------------


def test_defaults_are_those_of_the_parameters():
    """Lists of parameters are tuples here."""
    defaults = {spec.name: spec.default for spec in TABLE}
    options = asdict(RenderOptions())
    ours = {name: value for name, value in options.items() if name in defaults}
    assert options.keys() - ours.keys() == {'camera_scales', 'lidar_devices'}
    for name, value in ours.items():
        assert value == defaults[name] or list(value) == list(defaults[name]), name


@pytest.mark.parametrize(
    ('name', 'value', 'named'),
    [
        ('image_format', 'jpg', 'jpeg, png, rgb'),
        ('hfov_deg', 0.5, '1 to 170'),
        ('render_timeout_s', 0.0, 'render_timeout_s'),
        ('resolution_scale', 0.0, r"resolution_scale' is 0\.0; expected a number, 0\.01 to 2"),
        ('camera_scales', {'wide': 2.01}, r'wide\.resolution_scale'),
        ('lidar_devices', {'roof': 'vlp16'}, r'roof\.device'),
        ('scene_url', '/data/a.usdz', r"scene_url is '/data/a\.usdz', expected a URL that begins"),
        ('scene_url', 's3://bucket/a.usdz', 'file:, http: or https:'),
        ('scene_url', 'file:', 'file:, http: or https:'),
        ('scene_url', 'file:///data/a b.usdz', 'without blanks'),
        ('scene_url', 'http://h/ü', 'file:, http: or https:'),
        ('rig_offset', (1.0, 2.0), '6 finite numbers'),
    ],
)
def test_refuses(name, value, named):
    with pytest.raises(ConfigurationError, match=named):
        RenderOptions(**{name: value})


def test_places_that_a_server_may_load_from():
    urls = ('file:/data/a.usdz', 'file:///data/a%20b.usdz', 'http://h:8/a', 'HTTPS://h/a?b=c')
    assert [RenderOptions(scene_url=url).scene_url for url in urls] == [*urls]
