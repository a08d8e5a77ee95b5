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
"""The standard health service: asked once, and watched."""

from test.preview.preview_client import HEALTH, Painter, PREFIX, refused, request, until

import grpc
from nurec_ros.preview import health
from nurec_ros.rendering.protos import health_pb2
import pytest

STATUS = health_pb2.HealthCheckResponse.ServingStatus


def watch(client, service='', timeout=60.0):
    """Begin to watch; returns the call, an iterator of replies."""
    stream = client.channel.unary_stream(
        f'/{HEALTH}/Watch',
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    return stream(health_pb2.HealthCheckRequest(service=service), timeout=timeout)


def told(call):
    return STATUS.Name(next(call).status)


def may_watch(client, calls=None):
    """Return whether the server takes one more watcher; it goes, unless `calls` collects it."""
    call = watch(client)
    try:
        next(call)
    except grpc.RpcError:
        return False
    if calls is None:
        call.cancel()
        return True
    calls.append(call)
    return False


def test_a_watcher_is_told_when_the_server_is_ready(play):
    # Whoever is slow to ask may find a server ready already.
    for startup_s in (1.0, 8.0, 64.0):
        client = play(startup_s=startup_s)
        call = watch(client, timeout=120.0)
        if told(call) == 'NOT_SERVING':
            break
    else:
        raise AssertionError('the server was never starting')
    assert told(call) == 'SERVING'
    assert client.health() == 'SERVING'
    call.cancel()


@pytest.mark.parametrize('service', ['', PREFIX])
def test_a_status_is_told_at_once_and_once(play, service):
    client = play()
    call = watch(client, service)
    assert told(call) == 'SERVING'
    client.server.stop(grace=20.0)
    assert list(call) == []
    assert call.code() is grpc.StatusCode.OK


def test_a_service_that_is_not_there_may_be_watched(play):
    """As the protocol says: it might come."""
    call = watch(play(), 'another.Service')
    assert told(call) == 'SERVICE_UNKNOWN'
    call.cancel()


def test_one_worker_draws_while_it_is_watched(play, scenario):
    client = play(max_workers=1)
    calls = [watch(client) for _ in range(health.MAX_WATCHERS)]
    assert [told(call) for call in calls] == ['SERVING'] * health.MAX_WATCHERS
    assert client.call('render_rgb', request(scenario)).image_bytes
    assert client.health() == 'SERVING'
    for call in calls:
        call.cancel()


def test_there_is_an_end_to_watchers_and_those_that_go_make_room(play):
    client = play()
    calls = [watch(client) for _ in range(health.MAX_WATCHERS)]
    for call in calls:
        told(call)
    code, text = refused(lambda: next(watch(client)))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(health.MAX_WATCHERS) in text
    calls[0].cancel()
    until(lambda: may_watch(client), 'room for one more')
    for call in calls:
        call.cancel()


def test_a_watcher_whose_time_is_over_makes_room(play):
    client = play()
    client.health()
    # The connection stands, but it may still be over before the watch is in place.
    for timeout in (1.0, 8.0, 64.0):
        call = watch(client, timeout=timeout)
        try:
            assert told(call) == 'SERVING'
            break
        except grpc.RpcError:
            continue
    code, _ = refused(lambda: next(call))
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    calls = []
    until(lambda: len(calls) == health.MAX_WATCHERS or may_watch(client, calls), 'room for all')
    for call in calls:
        call.cancel()


def test_without_the_health_service_nothing_can_be_watched(play):
    code, _ = refused(lambda: next(watch(play(health=False))))
    assert code is grpc.StatusCode.UNIMPLEMENTED


def test_a_server_that_compiles_tells_nothing(play, scenario):
    client = play(Painter(), first_frame_s=1000.0)
    first = client.start('render_rgb', request(scenario), timeout=60.0)
    until(lambda: client.server.blocked, 'the block')
    code, _ = refused(lambda: next(watch(client, timeout=0.3)))
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    first.cancel()
