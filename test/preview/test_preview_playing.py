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
"""Each behaviour as a client sees it over the wire."""

from collections import Counter
from test.preview.preview_client import (
    blocked,
    Client,
    gradient,
    Painter,
    refused,
    request,
    serve,
    until,
)

import cv2
import grpc
import numpy as np
from nurec_ros.preview.behaviour import Behaviour
from nurec_ros.rendering.protos import sensorsim_pb2 as sim
import pytest


def decoded(data):
    """Give the RGB picture, or None."""
    if not data:
        return None
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), 1)
    return None if picture is None else picture[..., ::-1]


def batch(scenario, *names, **changes):
    items = [
        sim.BatchRGBRenderItem(camera_name=name, request=request(scenario, **changes))
        for name in names
    ]
    return sim.BatchRGBRenderRequest(items=items)


@pytest.fixture
def play(scenario):
    """Start a server of a behaviour and give its client; stopped after the test."""
    running = []

    def start(painter=None, prefix=None, **behaviour):
        server = serve(scenario, painter, behaviour=Behaviour(**behaviour))
        server.start()
        running.append(server)
        client = Client(server.address, **({'prefix': prefix} if prefix else {}))
        running.append(client.channel)
        client.server = server
        return client

    yield start
    for one in reversed(running):
        one.stop() if hasattr(one, 'stop') else one.close()


@pytest.mark.parametrize(
    'method', ['batch_render_rgb', 'get_server_config', 'render_aggregated', 'get_loaded_scenes']
)
def test_a_server_of_2025_does_not_know_the_later_calls(play, method):
    client = play(api='v1')
    code, _ = refused(lambda: client.call(method))
    assert code is grpc.StatusCode.UNIMPLEMENTED


def test_a_server_of_2025_draws_all_the_same(play, scenario):
    client = play(api='v1')
    assert decoded(client.call('render_rgb', request(scenario)).image_bytes) is not None
    assert client.call('get_version').version_id.endswith('-v1')


def test_a_server_of_2025_has_no_health_service(play):
    code, _ = refused(play(api='v1').health)
    assert code is grpc.StatusCode.UNIMPLEMENTED


def test_the_health_service_can_be_left_out(play):
    client = play(health=False)
    code, _ = refused(client.health)
    assert code is grpc.StatusCode.UNIMPLEMENTED
    client.call('get_version')


@pytest.mark.parametrize(
    'prefix', ['nurec.grpc.protos.sensorsim.SensorsimService', 'sensorsim.SensorsimService']
)
def test_a_renamed_service_answers_under_its_new_name_alone(play, scenario, prefix):
    client = play(service_prefix=prefix)
    code, _ = refused(lambda: client.call('get_version'))
    assert code is grpc.StatusCode.UNIMPLEMENTED
    client.prefix = prefix
    assert client.call('get_version').version_id
    assert client.call('render_rgb', request(scenario)).image_bytes
    assert client.health(prefix) == 'SERVING'


def test_the_aspect_kept_gives_another_size_than_asked(play, scenario):
    client = play(native_aspect=(0, 0))
    data = client.call('render_rgb', request(scenario, resolution_w=1, resolution_h=90))
    assert decoded(data.image_bytes).shape == (90, 160, 3)
    data = client.call('render_rgb', request(scenario, resolution_w=634, resolution_h=356))
    assert decoded(data.image_bytes).shape == (356, 632, 3)


def test_the_size_that_is_given_is_bounded_too(play, scenario):
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
    until(lambda: blocked(client.server), 'the block')
    for call in (client.health, lambda timeout: client.call('get_version', timeout=timeout)):
        code, _ = refused(lambda call=call: call(timeout=0.2))
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert not first.done()


def test_after_the_slow_first_frame_all_goes_on(play, scenario):
    client = play(first_frame_s=0.02)
    for _ in range(2):
        assert client.call('render_rgb', request(scenario)).image_bytes
    assert client.health() == 'SERVING'


def test_latency_holds_the_frame_but_not_health(play, scenario):
    client = play(latency_s=1000.0)
    code, _ = refused(lambda: client.call('render_rgb', request(scenario), timeout=0.2))
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert client.health() == 'SERVING'


def outcome(client, asked):
    try:
        client.call('render_rgb', asked)
    except grpc.RpcError as error:
        return error.code(), error.details()
    return 'drawn'


def test_failing_frames_are_named_as_real_servers_name_them(play, scenario):
    client = play(failure_rate=0.5, seed=2)
    outcomes = Counter(outcome(client, request(scenario)) for _ in range(40))
    failed = (grpc.StatusCode.UNKNOWN, 'Exception calling application: NRenderer.render failed')
    assert set(outcomes) == {'drawn', failed}
    assert min(outcomes.values()) >= 5


def test_a_failed_frame_fails_its_batch_item_alone(play, scenario):
    client = play(failure_rate=1.0)
    reply = client.call('batch_render_rgb', batch(scenario, 'a', 'b'))
    assert [item.success for item in reply.items] == [False, False]
    assert all('NRenderer.render failed' in item.error_message for item in reply.items)


def test_large_frames_run_out_of_memory(play, scenario):
    client = play(oom_pixels=48 * 27)
    assert client.call('render_rgb', request(scenario)).image_bytes
    code, text = refused(lambda: client.call('render_rgb', request(scenario, resolution_w=49)))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert 'CUDA out of memory' in text


@pytest.mark.parametrize('name', ['PNG', 'JPEG', 'RGB_UINT8_PLANAR'])
@pytest.mark.parametrize('replies', ['garbage', 'truncated', 'empty', 'black'])
def test_spoilt_replies(play, scenario, replies, name):
    client = play(replies=replies)
    asked = request(scenario, image_format=sim.ImageFormat.Value(name))
    data = client.call('render_rgb', asked).image_bytes
    size = 3 * 48 * 27
    if replies == 'empty':
        assert data == b''
    elif replies == 'garbage':
        assert data
        assert len(data) != size
        assert decoded(data) is None
    elif replies == 'truncated' and name == 'RGB_UINT8_PLANAR':
        assert data == gradient(48, 27).transpose(2, 0, 1).tobytes()[: size // 2]
    elif replies == 'truncated':
        whole = play().call('render_rgb', asked).image_bytes
        assert data == whole[: len(whole) // 2]
    elif name == 'RGB_UINT8_PLANAR':
        assert data == bytes(size)
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
    reply = play(batch_replies=how).call('batch_render_rgb', batch(scenario, 'a', 'b', 'c'))
    assert [item.camera_name for item in reply.items] == names
    assert all(item.success for item in reply.items)


def test_a_spoilt_batch_may_be_empty(play):
    client = play(batch_replies='duplicate')
    assert not client.call('batch_render_rgb', sim.BatchRGBRenderRequest()).items


@pytest.mark.parametrize(('workers', 'together'), [(1, 1), (2, 2)])
def test_requests_queue_for_the_workers(play, scenario, workers, together):
    painter = Painter()
    painter.gate.clear()
    client = play(painter, max_workers=workers)
    frames = [client.start('render_rgb', request(scenario)) for _ in range(4)]
    until(lambda: painter.inside == together, 'the workers')
    until(lambda: client.server.calls['render_rgb'] == 4, 'the queue')
    # Health is answered although every worker draws and the rest of the requests wait.
    assert client.health() == 'SERVING'
    assert painter.inside == together
    painter.gate.set()
    assert all(frame.result().image_bytes for frame in frames)
    assert painter.most_inside == together


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


def test_calls_are_counted_by_name(play, scenario):
    client = play()
    client.call('get_version')
    client.call('batch_render_rgb', batch(scenario, 'a', 'b'))
    client.call('render_rgb', request(scenario))
    calls = client.server.calls
    assert (calls['get_version'], calls['batch_render_rgb'], calls['render_rgb']) == (1, 1, 1)
    assert client.server.frames == 3
