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
"""The server's life: ports, scenes, preparation, new starts, stops while it works; its health."""

from contextlib import suppress
import os
import signal
from test.preview.preview_client import (
    batch,
    Client,
    Painter,
    PREFIX,
    refused,
    request,
    serve,
    watch,
)
from test.support.ports import claim_port
from test.support.waiting import until
import threading

import grpc
from nurec_ros.cli import preview
from nurec_ros.errors import ConfigurationError, ScenarioError
from nurec_ros.preview import paint, scene
from nurec_ros.preview.behaviour import Behaviour
from nurec_ros.preview.server import MAX_WATCHERS, PreviewServer
from nurec_ros.preview.service import MAX_QUEUED
from nurec_ros.rendering.protos import health_pb2
import pytest


def test_where_it_cannot_listen_is_said(scenario):
    with serve(scenario) as first:
        assert first.port > 0
        assert first.address == f'127.0.0.1:{first.port}'
        words = f'cannot listen on {first.address}: Address'
        with pytest.raises(ConfigurationError, match=words):
            serve(scenario, port=first.port).start()
    for host in ('no.such.host.invalid', '192.0.2.1'):
        with pytest.raises(ConfigurationError, match=f'cannot listen on {host}'):
            serve(scenario, host=host).start()


def test_ipv6_where_the_machine_has_it(scenario):
    server = serve(scenario, host='::1')
    try:
        server.start()
    except ConfigurationError:
        pytest.skip('no IPv6 here')
    assert server.address.startswith('[::1]:')
    with Client(server.address) as client:
        client.call('get_version')
    server.stop()


def test_scenes_that_cannot_be_served_are_refused(tmp_path, scenario):
    with pytest.raises(ScenarioError, match='nowhere'):
        PreviewServer([tmp_path / 'nowhere.usdz'], renderer_factory=Painter)
    with pytest.raises(ConfigurationError, match='at least one scenario'):
        PreviewServer([])
    with pytest.raises(ConfigurationError, match=scenario.scene_id):
        serve([scenario, scenario])


def test_each_scene_has_its_own_drawing(scenario, other_scenario):
    painters = {}

    def factory(entry):
        return painters.setdefault(entry.scene_id, Painter(entry))

    server = PreviewServer([scenario, other_scenario], renderer_factory=factory)
    with server, Client(server.address) as client:
        assert set(client.call('get_available_scenes').scene_ids) == set(painters)
        for entry in (scenario, other_scenario, other_scenario):
            client.call('render_rgb', request(entry))
        code, text = refused(lambda: client.call('render_rgb', request(scenario, scene_id='?')))
    assert len(painters[scenario.scene_id].orders) == 1
    assert len(painters[other_scenario.scene_id].orders) == 2
    assert painters[scenario.scene_id].scenario is scenario
    assert code is grpc.StatusCode.NOT_FOUND
    assert scenario.scene_id in text
    assert other_scenario.scene_id in text


def test_it_starts_again_on_its_port(scenario):
    server = serve(scenario, port=claim_port())
    server.stop()
    first = server.start()
    with Client(server.address) as client:
        client.call('render_rgb', request(scenario))
        server.stop()
        assert refused(lambda: client.call('get_version', timeout=20.0))[0] is (
            grpc.StatusCode.UNAVAILABLE
        )
        assert server.start() == first
        until(lambda: answers(client), 'the return')
        assert server.frames == 0
    server.stop()
    server.stop()


def answers(client):
    try:
        return client.call('get_version', timeout=1.0).version_id
    except grpc.RpcError:
        return ''


@pytest.mark.parametrize('behaviour', [{'latency_s': 1000.0}, {'first_frame_s': 1000.0}])
def test_stopping_does_not_wait_for_a_slow_frame(scenario, behaviour):
    server = serve(scenario, behaviour=Behaviour(**behaviour))
    server.start()
    with Client(server.address) as client:
        frames = [client.start('render_rgb', request(scenario)) for _ in range(3)]
        until(lambda: server.frames == 1, 'the frame')
        stopper = threading.Thread(target=server.stop)
        stopper.start()
        stopper.join(20.0)
        assert not stopper.is_alive()
        for frame in frames:
            assert frame.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)


def test_a_crash_takes_the_whole_batch_and_can_be_handed_to_the_caller(scenario):
    crashed = threading.Event()
    server = serve(scenario, behaviour=Behaviour(crash_after=2), on_crash=crashed.set)
    one = request(scenario)
    with server, Client(server.address) as client:
        client.call('render_rgb', one)
        assert not crashed.is_set()
        code, _ = refused(lambda: client.call('batch_render_rgb', batch(a=one, b=one)))
        assert code is grpc.StatusCode.UNAVAILABLE
        assert crashed.is_set()


# None, some of its own, all of those and not gRPC's.
@pytest.mark.parametrize('allowed', [0, 40, MAX_QUEUED + MAX_WATCHERS + 16])
def test_threads_that_are_refused_fail_the_start_and_not_the_next(scenario, monkeypatch, allowed):
    begin, left = threading.Thread.start, [allowed]

    def limited(thread):
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("can't start new thread")
        begin(thread)

    before = threading.active_count()
    server = serve(scenario)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, 'start', limited)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            server.start()
    until(lambda: threading.active_count() <= before, 'the end of the threads that there were')
    with server, Client(server.address) as client:
        assert client.call('get_version').version_id


@pytest.mark.parametrize('name', ['preview_40', 'preview-spare'])
def test_a_start_that_is_interrupted_leaves_no_thread(scenario, monkeypatch, name):
    begin = threading.Thread.start

    def interrupted(thread):
        if thread.name == name:
            raise KeyboardInterrupt
        begin(thread)

    before = threading.active_count()
    monkeypatch.setattr(threading.Thread, 'start', interrupted)
    with pytest.raises(KeyboardInterrupt):
        serve(scenario).start()
    until(lambda: threading.active_count() <= before, 'the end of the threads that there were')


def test_every_thread_that_a_server_needs_is_there_from_the_start(scenario, monkeypatch):
    """One that is refused later would end gRPC's loop, and its stop would wait for ever."""
    with serve(scenario) as server, Client(server.address) as client:
        client.call('get_version')

        def refuse(_):
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, 'start', refuse)
            for _ in range(3):
                assert client.call('render_rgb', request(scenario)).image_bytes
            server.stop()


# --- what the first picture would wait for ------------------------------------------------------


def test_the_server_answers_while_it_prepares_and_when_it_cannot(scenario, caplog):
    go, done = threading.Event(), threading.Event()

    class Slow(Painter):
        """Prepares when it may, and fails then."""

        def prepare(self, step):
            assert go.wait(20.0)
            step()
            done.set()
            raise ValueError('no ground')

    with (
        PreviewServer([scenario], renderer_factory=Slow) as server,
        Client(server.address) as client,
    ):
        assert client.call('render_rgb', request(scenario)).image_bytes
        assert not done.is_set()
        go.set()
        until(lambda: 'could not be prepared' in caplog.text)
        assert done.is_set()
        assert client.call('render_rgb', request(scenario)).image_bytes


def test_a_server_that_stops_waits_for_no_scene(scenario, other_scenario):
    begun = threading.Event()
    prepared = []

    class Endless(Painter):
        """Never has done."""

        def prepare(self, step):
            prepared.append(self.scenario.scene_id)
            begun.set()
            while True:
                step()

    server = PreviewServer([scenario, other_scenario], renderer_factory=Endless)
    server.start()
    assert begun.wait(20.0)
    server.stop()
    assert prepared == [scenario.scene_id]
    assert not [each for each in threading.enumerate() if each.name.startswith('preview')]


def test_painting_ends_where_it_is_told_to(scenario, coarse_paint):
    class EnoughError(Exception):
        pass

    steps = []

    def step():
        steps.append(0)
        if len(steps) == last:
            raise EnoughError

    last = 0
    paint.paint_ground(scenario, step)
    assert len(steps) > 5
    for last in (1, len(steps) - 1):
        steps.clear()
        with pytest.raises(EnoughError):
            paint.paint_ground(scenario, step)
        assert len(steps) == last


@pytest.mark.parametrize('amid', ['start', 'preparation'])
def test_a_signal_ends_the_command_and_its_preparation(scenario_path, monkeypatch, capfd, amid):
    make = grpc.server

    def made(*arguments, **options):
        server = make(*arguments, **options)
        begin = server.start

        def start():
            begin()
            signal.raise_signal(signal.SIGTERM)

        if amid == 'start':
            server.start = start
        return server

    def endless(scenario, step):
        if amid == 'preparation':
            os.kill(os.getpid(), signal.SIGTERM)
        while True:
            step()

    monkeypatch.setattr(grpc, 'server', made)
    monkeypatch.setattr(scene, 'paint_ground', endless)
    assert preview.main(['--usdz', str(scenario_path), '--port', '0']) == 0
    said, complained = capfd.readouterr()
    assert complained == ''
    assert said == '' or amid == 'preparation'
    assert not [each for each in threading.enumerate() if each.name.startswith('preview')]


# --- the standard health service, asked once, and watched ------------------------------------

STATUS = health_pb2.HealthCheckResponse.ServingStatus


def told(call):
    return STATUS.Name(next(call).status)


def may_watch(client, kept=None):
    """Return whether the server takes one more watcher; it goes, unless `kept` collects it."""
    call = watch(client)
    try:
        next(call)
    except grpc.RpcError:
        return False
    return call.cancel() if kept is None else not kept.append(call)


def test_a_watcher_is_told_when_the_server_is_ready(play):
    # Whoever is slow to ask may find a server ready already.
    for startup_s in (0.3, 2.0, 16.0, 64.0):
        client = play(startup_s=startup_s)
        call = watch(client, timeout=120.0)
        if told(call) == 'NOT_SERVING':
            break
    else:
        raise AssertionError('the server was never starting')
    assert told(call) == 'SERVING'
    assert client.health() == 'SERVING'
    call.cancel()


def test_a_status_is_told_at_once_and_once(play):
    client = play()
    # A service that is not there may be watched, as the protocol says: it might come.
    calls = [watch(client, service) for service in ('', PREFIX, 'another.Service')]
    assert [told(call) for call in calls] == ['SERVING', 'SERVING', 'SERVICE_UNKNOWN']
    client.server.stop()
    ends = {grpc.StatusCode.OK, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}
    for call in calls:
        with suppress(grpc.RpcError):
            assert next(call, None) is None
        assert call.code() in ends


def test_one_worker_draws_while_it_is_watched_by_as_many_as_may(play, scenario):
    client = play(max_workers=1)
    calls = [watch(client) for _ in range(MAX_WATCHERS)]
    assert [told(call) for call in calls] == ['SERVING'] * MAX_WATCHERS
    assert client.call('render_rgb', request(scenario)).image_bytes
    assert client.health() == 'SERVING'
    code, text = refused(lambda: next(watch(client)))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(MAX_WATCHERS) in text
    calls[0].cancel()
    until(lambda: may_watch(client), 'room for one more')
    for call in calls:
        call.cancel()


def test_a_watcher_whose_time_is_over_makes_room(play):
    client, replies, calls = play(), [], []
    # It may be over before the watch is in place.
    for timeout in (0.3, 2.0, 16.0, 64.0):
        over = watch(client, timeout=timeout)
        assert refused(lambda over=over: replies.extend(over))[0] is (
            grpc.StatusCode.DEADLINE_EXCEEDED
        )
        if replies:
            break
    assert len(replies) == 1
    until(lambda: may_watch(client, calls) and len(calls) == MAX_WATCHERS, 'room for all')
    for call in calls:
        call.cancel()
