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
"""Every behaviour: what is allowed, what follows of it, what a client sees of it."""

from collections import Counter
from dataclasses import replace
from test.preview.preview_client import (
    batch,
    Client,
    decoded,
    Painter,
    refused,
    request,
    serve,
    watch,
)
from test.support.waiting import until

import grpc
from nurec_ros.errors import ConfigurationError
from nurec_ros.preview.behaviour import Behaviour
from nurec_ros.preview.service import MAX_QUEUED, Workers
from nurec_ros.preview.wire import RefusalError
from nurec_ros.rendering.protos import sensorsim_pb2 as sim
import pytest

# --- as values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('name', 'values'),
    [
        *(('api', ['v3']), ('replies', ['bad']), ('batch_replies', ['bad'])),
        *(('lidar_replies', ['bad']), ('service_prefix', ['', 'a/b'])),
        ('startup_s', [-1.0]),
        ('first_frame_s', [float('nan')]),
        ('latency_s', [float('inf')]),
        *(('jitter_s', [-0.1]), ('failure_rate', [1.1, float('nan')])),
        ('lidar_beams', [(0, 900), (2000, 1001)]),
        ('lidar_noise_m', [-0.1, float('inf')]),
        *(('oom_pixels', [-1]), ('max_workers', [0]), ('crash_after', [-1])),
        ('native_aspect', [(16, 0), (-16, 9)]),
    ],
)
def test_what_cannot_be_played_is_named(name, values):
    for value in values:
        with pytest.raises(ConfigurationError, match=f'^{name} is .*, expected '):
            replace(Behaviour(), **{name: value})


@pytest.mark.parametrize(
    ('aspect', 'asked', 'given'),
    [
        (None, (633, 356), (633, 356)),
        ((0, 0), (1, 270), (480, 270)),
        ((0, 0), (634, 356), (632, 356)),
        ((3848, 2168), (1900, 1080), (1916, 1080)),  # the size measured on a real server
        ((1, 100), (480, 27), (1, 27)),
    ],
)
def test_the_aspect_kept_decides_the_width(aspect, asked, given):
    assert Behaviour(native_aspect=aspect).output_size(asked, (1920, 1080)) == given


# --- with waits that are written down -----------------------------------------------------------


class Timeless(Workers):
    """Writes down the waits instead of waiting."""

    def __init__(self, **behaviour):
        self.waited = []
        super().__init__(Behaviour(**behaviour))

    def wait(self, seconds):
        self.waited.append(seconds)

    def frames_of(self, count, scene='a'):
        """Begin some frames; return the refusals' texts, '' for a good one."""
        return [self._frame_of(scene) for _ in range(count)]

    def _frame_of(self, scene):
        try:
            self.begin_frame(scene, 100)
        except RefusalError as refusal:
            return refusal.text
        return ''


def test_the_first_frame_of_each_scene_is_slow():
    workers = Timeless(first_frame_s=60.0)
    for scene in 'aabba':
        workers.frames_of(1, scene)
    assert [seconds for seconds in workers.waited if seconds] == [60.0, 60.0]
    assert workers.frames == 5


def test_latency_and_jitter_add_up_and_repeat_with_the_seed():
    first, again, other = (Timeless(latency_s=0.2, jitter_s=0.1, seed=seed) for seed in (7, 7, 8))
    for workers in (first, again, other):
        workers.frames_of(20)
    assert first.waited == again.waited
    assert first.waited != other.waited
    assert all(0.2 <= seconds < 0.3 for seconds in first.waited)
    assert len(set(first.waited)) == 20


@pytest.mark.parametrize(
    ('rate', 'least', 'most'), [(0.0, 0, 0), (0.3, 200, 400), (1.0, 1000, 1000)]
)
def test_the_failure_rate_is_kept_and_seeded(rate, least, most):
    texts = Timeless(failure_rate=rate, seed=3).frames_of(1000)
    failed = Counter(texts)
    assert set(failed) <= {'', 'Exception calling application: NRenderer.render failed'}
    assert least <= 1000 - failed[''] <= most
    assert texts == Timeless(failure_rate=rate, seed=3).frames_of(1000)


# --- as a client sees it -------------------------------------------------------------------------


def test_a_server_of_2025_does_not_know_the_later_calls_and_draws_all_the_same(play, scenario):
    client = play(api='v1')
    later = ('batch_render_rgb', 'get_server_config', 'render_aggregated', 'get_loaded_scenes')
    for method in later:
        code, _ = refused(lambda method=method: client.call(method))
        assert code is grpc.StatusCode.UNIMPLEMENTED
    assert refused(client.health)[0] is grpc.StatusCode.UNIMPLEMENTED
    assert decoded(client.call('render_rgb', request(scenario)).image_bytes) is not None
    assert client.call('get_version').version_id.endswith('-v1')


def test_a_renamed_service_answers_under_its_new_name_alone(play, scenario):
    prefix = 'nurec.grpc.protos.sensorsim.SensorsimService'
    client = play(service_prefix=prefix)
    assert refused(lambda: client.call('get_version'))[0] is grpc.StatusCode.UNIMPLEMENTED
    client.prefix = prefix
    assert client.call('render_rgb', request(scenario)).image_bytes
    assert client.health(prefix) == 'SERVING'


def test_an_aspect_that_leads_to_no_size_is_refused(play, scenario):
    """One that is kept: probe/test_probe_run.py."""
    client = play(native_aspect=(65535, 1), health=False)
    code, text = refused(lambda: client.call('render_rgb', request(scenario, resolution_h=1080)))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert '70777800x1080 is more than this server draws' in text
    # It serves without health, which can be neither asked nor watched.
    for call in (client.health, lambda: next(watch(client))):
        assert refused(call)[0] is grpc.StatusCode.UNIMPLEMENTED


def test_while_it_starts_everything_is_unavailable(play, scenario):
    client = play(startup_s=1000.0)
    assert client.health() == 'NOT_SERVING'
    for method, asked in (('get_version', None), ('render_rgb', request(scenario))):
        code, text = refused(lambda method=method, asked=asked: client.call(method, asked))
        assert code is grpc.StatusCode.UNAVAILABLE
        assert 'starting' in text


def test_the_slow_first_frame_blocks_health_as_well(play, scenario):
    client = play(first_frame_s=1000.0)
    client.call('get_version')
    first = client.start('render_rgb', request(scenario), timeout=60.0)
    until(lambda: client.server.blocked, 'the block')
    for call in (
        client.health,
        lambda timeout: client.call('get_version', timeout=timeout),
        lambda timeout: next(watch(client, timeout=timeout)),
    ):
        code, _ = refused(lambda call=call: call(timeout=0.2))
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert not first.done()


def test_after_the_slow_first_frame_all_goes_on_and_is_counted(play, scenario):
    client, one = play(first_frame_s=0.02, oom_pixels=48 * 27), request(scenario)
    for _ in range(2):
        assert client.call('render_rgb', one).image_bytes
    client.call('batch_render_rgb', batch(a=one, b=one))
    assert client.health() == 'SERVING'
    calls = client.server.calls
    assert (calls['get_version'], calls['batch_render_rgb'], calls['render_rgb']) == (0, 1, 2)
    assert client.server.frames == 4
    # A frame that is larger than its memory takes.
    code, text = refused(lambda: client.call('render_rgb', request(scenario, resolution_w=49)))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert 'CUDA out of memory' in text


def test_latency_holds_the_frame_but_not_health(play, scenario):
    client = play(latency_s=1000.0)
    code, _ = refused(lambda: client.call('render_rgb', request(scenario), timeout=0.2))
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert client.health() == 'SERVING'


def test_failing_frames_fail_as_on_real_servers_and_their_batch_items_alone(play, scenario):
    client, one = play(failure_rate=1.0), request(scenario)
    code, text = refused(lambda: client.call('render_rgb', one))
    assert code is grpc.StatusCode.UNKNOWN
    assert text == 'Exception calling application: NRenderer.render failed'
    reply = client.call('batch_render_rgb', batch(a=one, b=one))
    assert [(item.success, item.error_message) for item in reply.items] == [(False, text)] * 2


# By replies and batch_replies, as one hides nothing of the other: whether bytes are so, beside
# good ones, and the names of a batch's items.
SPOILT = [
    ('good', 'good', lambda data, good: data == good, ['a', 'b', 'c']),
    ('empty', 'shuffled', lambda data, good: data == b'', ['c', 'b', 'a']),
    (
        *('garbage', 'missing'),
        lambda data, good: data and len(data) != 3 * 48 * 27 and decoded(data) is None,
        ['a', 'b'],
    ),
    (
        *('truncated', 'duplicate'),
        lambda data, good: data == good[: len(good) // 2],
        ['a', 'b', 'c', 'a'],
    ),
    (
        *('black', 'unknown'),
        lambda data, good: data == bytes(3 * 48 * 27) or not decoded(data).any(),
        ['a', 'b', 'camera_that_nobody_asked_for'],
    ),
]


@pytest.fixture(scope='module')
def good(scenario):
    """Return the good replies by format."""
    formats = (sim.PNG, sim.JPEG, sim.RGB_UINT8_PLANAR)
    with serve(scenario) as server, Client(server.address) as client:
        return {
            number: client.call('render_rgb', request(scenario, image_format=number)).image_bytes
            for number in formats
        }


@pytest.mark.parametrize(('replies', 'items', 'fits', 'names'), SPOILT)
def test_spoilt_replies_and_lists_of_batch_items(
    play, scenario, good, replies, items, fits, names
):
    client, one = play(replies=replies, batch_replies=items), request(scenario)
    for image_format, whole in good.items():
        asked = request(scenario, image_format=image_format)
        assert fits(client.call('render_rgb', asked).image_bytes, whole), image_format
    reply = client.call('batch_render_rgb', batch(a=one, b=one, c=one))
    assert [item.camera_name for item in reply.items] == names
    assert all(item.success for item in reply.items)
    assert not client.call('batch_render_rgb', sim.BatchRGBRenderRequest()).items


@pytest.fixture
def held():
    """Return a painter that has every picture wait."""
    painter = Painter()
    painter.gate.clear()
    return painter


@pytest.mark.parametrize(('workers', 'behaviour'), [(1, {}), (2, {'max_workers': 2})])
def test_requests_queue_for_the_workers(play, scenario, held, workers, behaviour):
    client = play(held, **behaviour)
    frames = [client.start('render_rgb', request(scenario)) for _ in range(4)]
    until(lambda: held.inside == workers, 'the workers')
    until(lambda: client.server.calls['render_rgb'] == 4, 'the queue')
    # Health is answered although every worker draws and the rest of the requests wait.
    assert client.health() == 'SERVING'
    assert held.inside == workers
    held.gate.set()
    assert all(frame.result().image_bytes for frame in frames)
    assert held.most_inside == workers


def test_a_queue_without_end_is_refused(play, scenario, held):
    client = play(held)
    # One draws, and one more than may wait.
    frames = [
        client.start('render_rgb', request(scenario), timeout=60.0) for _ in range(MAX_QUEUED + 2)
    ]
    until(lambda: any(frame.done() for frame in frames), 'the refusal')
    assert client.health() == 'SERVING'
    held.gate.set()
    codes = Counter(frame.code() for frame in frames)
    assert codes == {grpc.StatusCode.OK: MAX_QUEUED + 1, grpc.StatusCode.RESOURCE_EXHAUSTED: 1}
    assert client.call('render_rgb', request(scenario)).image_bytes


def test_a_client_that_gave_up_is_not_drawn_for(play, scenario, held):
    client = play(held)
    frames = [client.start('render_rgb', request(scenario)) for _ in range(3)]
    until(lambda: client.server.calls['render_rgb'] == 3, 'the queue')
    until(lambda: held.inside == 1, 'the first frame')
    for frame in frames:
        frame.cancel()
    # Another call after them says that the server has heard of the cancellations.
    client.health()
    held.gate.set()
    assert client.call('render_rgb', request(scenario)).image_bytes
    assert len(held.orders) <= 3


def test_after_its_last_frame_the_server_is_gone(play, scenario):
    client = play(crash_after=3)
    for _ in range(3):
        assert client.call('render_rgb', request(scenario)).image_bytes
    code, _ = refused(lambda: client.call('render_rgb', request(scenario)))
    assert code is grpc.StatusCode.UNAVAILABLE

    def gone():
        try:
            client.call('get_version', timeout=1.0)
        except grpc.RpcError as error:
            return error.code() is grpc.StatusCode.UNAVAILABLE
        return False

    until(gone, 'the end of the server')
