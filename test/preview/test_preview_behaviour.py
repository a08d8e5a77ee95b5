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
"""Every behaviour: what is allowed, what follows with time handed in, what a client sees of it."""

from collections import Counter
from dataclasses import replace
from test.preview.preview_client import decoded, Painter, refused, request
from test.support.waiting import until

import grpc
from nurec_ros.errors import ConfigurationError
from nurec_ros.preview.behaviour import Behaviour
from nurec_ros.preview.service import MAX_QUEUED, Workers
from nurec_ros.preview.wire import RefusalError
from nurec_ros.rendering.protos import sensorsim_pb2 as sim
import pytest

# --- as values -----------------------------------------------------------------------------------


def test_the_default_is_a_healthy_server_that_allows_editing():
    healthy = Behaviour()
    assert healthy.batch_served
    assert healthy.health_served
    assert healthy.editing
    assert healthy.service_prefix == 'nre.grpc.protos.sensorsim.SensorsimService'
    assert healthy.max_workers == 1
    assert (healthy.first_frame_s, healthy.latency_s, healthy.failure_rate) == (0, 0, 0)


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('api', 'v3'),
        ('replies', 'bad'),
        ('batch_replies', 'bad'),
        ('service_prefix', ''),
        ('service_prefix', 'a/b'),
        ('startup_s', -1.0),
        ('first_frame_s', float('nan')),
        ('latency_s', float('inf')),
        ('jitter_s', -0.1),
        ('failure_rate', 1.1),
        ('failure_rate', float('nan')),
        ('lidar_replies', 'bad'),
        ('lidar_beams', (0, 900)),
        ('lidar_beams', (2000, 1001)),
        ('lidar_noise_m', -0.1),
        ('lidar_noise_m', float('inf')),
        ('oom_pixels', -1),
        ('max_workers', 0),
        ('crash_after', -1),
        ('native_aspect', (16, 0)),
        ('native_aspect', (-16, 9)),
    ],
)
def test_what_cannot_be_played_is_named(name, value):
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


# --- with time handed in -------------------------------------------------------------------------


class Timeless(Workers):
    """Writes down the waits instead of waiting."""

    def __init__(self, **behaviour):
        self.time = 100.0
        self.waited = []
        super().__init__(Behaviour(**behaviour), now=lambda: self.time)

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


def test_the_start_up_is_counted_down():
    workers = Timeless(startup_s=5.0)
    assert workers.ready_in_s == 5.0
    workers.time = 104.0
    assert workers.ready_in_s == 1.0
    workers.time = 105.0
    assert workers.ready_in_s == 0.0


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


def batch(scenario, *names):
    items = [sim.BatchRGBRenderItem(camera_name=name, request=request(scenario)) for name in names]
    return sim.BatchRGBRenderRequest(items=items)


def test_a_server_of_2025_does_not_know_the_later_calls_and_draws_all_the_same(play, scenario):
    client = play(api='v1')
    later = ('batch_render_rgb', 'get_server_config', 'render_aggregated', 'get_loaded_scenes')
    for method in later:
        code, _ = refused(lambda method=method: client.call(method))
        assert code is grpc.StatusCode.UNIMPLEMENTED
    assert refused(client.health)[0] is grpc.StatusCode.UNIMPLEMENTED
    assert decoded(client.call('render_rgb', request(scenario)).image_bytes) is not None
    assert client.call('get_version').version_id.endswith('-v1')


def test_without_its_health_service_a_server_serves(play):
    client = play(health=False)
    assert refused(client.health)[0] is grpc.StatusCode.UNIMPLEMENTED
    assert client.call('get_version').version_id


def test_a_renamed_service_answers_under_its_new_name_alone(play, scenario):
    prefix = 'nurec.grpc.protos.sensorsim.SensorsimService'
    client = play(service_prefix=prefix)
    assert refused(lambda: client.call('get_version'))[0] is grpc.StatusCode.UNIMPLEMENTED
    client.prefix = prefix
    assert client.call('render_rgb', request(scenario)).image_bytes
    assert client.health(prefix) == 'SERVING'


def test_the_aspect_kept_gives_another_size_than_asked_within_bounds(play, scenario):
    client = play(native_aspect=(0, 0))
    data = client.call('render_rgb', request(scenario, resolution_w=1, resolution_h=90))
    assert decoded(data.image_bytes).shape == (90, 160, 3)
    client = play(native_aspect=(65535, 1))
    code, text = refused(lambda: client.call('render_rgb', request(scenario, resolution_h=1080)))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert 'x1080' in text


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
    for call in (client.health, lambda timeout: client.call('get_version', timeout=timeout)):
        code, _ = refused(lambda call=call: call(timeout=0.2))
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert not first.done()


def test_after_the_slow_first_frame_all_goes_on_and_is_counted(play, scenario):
    client = play(first_frame_s=0.02)
    for _ in range(2):
        assert client.call('render_rgb', request(scenario)).image_bytes
    client.call('batch_render_rgb', batch(scenario, 'a', 'b'))
    assert client.health() == 'SERVING'
    calls = client.server.calls
    assert (calls['get_version'], calls['batch_render_rgb'], calls['render_rgb']) == (0, 1, 2)
    assert client.server.frames == 4


def test_latency_holds_the_frame_but_not_health(play, scenario):
    client = play(latency_s=1000.0)
    code, _ = refused(lambda: client.call('render_rgb', request(scenario), timeout=0.2))
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert client.health() == 'SERVING'


def test_failing_frames_fail_as_on_real_servers_and_their_batch_items_alone(play, scenario):
    client = play(failure_rate=1.0)
    code, text = refused(lambda: client.call('render_rgb', request(scenario)))
    assert code is grpc.StatusCode.UNKNOWN
    assert text == 'Exception calling application: NRenderer.render failed'
    reply = client.call('batch_render_rgb', batch(scenario, 'a', 'b'))
    assert [(item.success, item.error_message) for item in reply.items] == [(False, text)] * 2


def test_large_frames_run_out_of_memory(play, scenario):
    client = play(oom_pixels=48 * 27)
    assert client.call('render_rgb', request(scenario)).image_bytes
    code, text = refused(lambda: client.call('render_rgb', request(scenario, resolution_w=49)))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert 'CUDA out of memory' in text


@pytest.mark.parametrize('replies', ['garbage', 'truncated', 'empty', 'black'])
def test_spoilt_replies(play, scenario, replies):
    client, good = play(replies=replies), play()
    for image_format in (sim.PNG, sim.JPEG, sim.RGB_UINT8_PLANAR):
        asked = request(scenario, image_format=image_format)
        data, whole = (one.call('render_rgb', asked).image_bytes for one in (client, good))
        planar = image_format == sim.RGB_UINT8_PLANAR
        if replies == 'empty':
            assert data == b''
        elif replies == 'garbage':
            assert data
            assert len(data) != 3 * 48 * 27
            assert decoded(data) is None
        elif replies == 'truncated':
            assert data == whole[: len(whole) // 2]
        elif planar:
            assert data == bytes(3 * 48 * 27)
        else:
            assert decoded(data).max() == 0


@pytest.mark.parametrize(
    ('how', 'names'),
    [
        ('good', ['a', 'b', 'c']),
        ('shuffled', ['c', 'b', 'a']),
        ('missing', ['a', 'b']),
        ('duplicate', ['a', 'b', 'c', 'a']),
        ('unknown', ['a', 'b', 'camera_that_nobody_asked_for']),
    ],
)
def test_spoilt_lists_of_batch_items(play, scenario, how, names):
    client = play(batch_replies=how)
    reply = client.call('batch_render_rgb', batch(scenario, 'a', 'b', 'c'))
    assert [item.camera_name for item in reply.items] == names
    assert all(item.success for item in reply.items)
    assert not client.call('batch_render_rgb', sim.BatchRGBRenderRequest()).items


@pytest.mark.parametrize('workers', [1, 2])
def test_requests_queue_for_the_workers(play, scenario, workers):
    painter = Painter()
    painter.gate.clear()
    client = play(painter, max_workers=workers)
    frames = [client.start('render_rgb', request(scenario)) for _ in range(4)]
    until(lambda: painter.inside == workers, 'the workers')
    until(lambda: client.server.calls['render_rgb'] == 4, 'the queue')
    # Health is answered although every worker draws and the rest of the requests wait.
    assert client.health() == 'SERVING'
    assert painter.inside == workers
    painter.gate.set()
    assert all(frame.result().image_bytes for frame in frames)
    assert painter.most_inside == workers


def test_a_queue_without_end_is_refused(play, scenario):
    painter = Painter()
    painter.gate.clear()
    client = play(painter)
    # One draws, and one more than may wait.
    frames = [
        client.start('render_rgb', request(scenario), timeout=60.0) for _ in range(MAX_QUEUED + 2)
    ]
    until(lambda: any(frame.done() for frame in frames), 'the refusal')
    assert client.health() == 'SERVING'
    painter.gate.set()
    codes = Counter(frame.code() for frame in frames)
    assert codes == {grpc.StatusCode.OK: MAX_QUEUED + 1, grpc.StatusCode.RESOURCE_EXHAUSTED: 1}
    assert client.call('render_rgb', request(scenario)).image_bytes


def test_a_client_that_gave_up_is_not_drawn_for(play, scenario):
    painter = Painter()
    painter.gate.clear()
    client = play(painter)
    frames = [client.start('render_rgb', request(scenario)) for _ in range(3)]
    until(lambda: client.server.calls['render_rgb'] == 3, 'the queue')
    until(lambda: painter.inside == 1, 'the first frame')
    for frame in frames:
        frame.cancel()
    # Another call after them says that the server has heard of the cancellations.
    client.health()
    painter.gate.set()
    assert client.call('render_rgb', request(scenario)).image_bytes
    assert len(painter.orders) <= 3


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


def test_a_crash_takes_the_whole_batch(play, scenario):
    client = play(crash_after=1)
    code, _ = refused(lambda: client.call('batch_render_rgb', batch(scenario, 'a', 'b', 'c')))
    assert code is grpc.StatusCode.UNAVAILABLE
