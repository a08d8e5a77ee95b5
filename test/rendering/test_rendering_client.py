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
"""Finding a server, asking what it is, losing it and finding it again."""

from __future__ import annotations

from contextlib import suppress
import socket
import socketserver
from test.rendering.conftest import due
from test.rendering.fake_server import failing
from test.support.ports import claim_port
from test.support.waiting import until
import threading
from unittest.mock import Mock

import grpc
from nurec_ros.errors import ConfigurationError
from nurec_ros.rendering import address, channel, policy, RenderOptions, RenderPipeline
from nurec_ros.rendering.channel import Channel
from nurec_ros.rendering.policy import SERVICE_PREFIXES
from nurec_ros.rendering.protos import common_pb2
import pytest

CODE = grpc.StatusCode


def connected(pipeline):
    until(lambda: pipeline.status().connected)


# --- the service's name --------------------------------------------------------------------------


def test_name_that_was_typed_is_the_only_one_tried(make_server, make_pipeline, delivered):
    server = make_server(prefix='my.Service')
    connected(make_pipeline(server, service_prefix='my.Service'))
    pipeline = make_pipeline(make_server(), service_prefix='my.Service')
    delivered.said('error')
    assert not pipeline.status().connected
    assert 'not under the service name my.Service' in pipeline.status().last_error
    assert 'service_prefix' in pipeline.status().remedy


def test_frames_fail_while_no_name_fits_and_come_when_one_does(
    make_server, make_pipeline, delivered
):
    """Kept or not: the server is there, and waiting for it would be for ever."""
    server = make_server(prefix='other.Service')
    pipeline = make_pipeline(server)
    for keep in (True, False):
        pipeline.submit(due('wide', 'tele'), keep=keep).result(60)
    assert [failure.error.kind for failure in delivered.failures] == ['service'] * 4
    said = str(delivered.failures[0].error)
    assert 'set service_prefix' in said
    assert all(prefix in said for prefix in SERVICE_PREFIXES)
    # The client's thread says what frames are already told.
    assert len(delivered.said('error')) == 1
    assert delivered.texts('warn') == []
    server.stop()
    make_server(port=server.port)
    connected(pipeline)
    pipeline.submit(due('wide', t_us=4), keep=True).result(60)
    assert len(delivered.frames) == 1


def test_name_that_worked_is_tried_first_after_a_reconnect(make_server, make_pipeline):
    """Even where nothing was asked meanwhile: a server that was restarted compiles anew."""
    prefix = SERVICE_PREFIXES[2]
    server = make_server(prefix=prefix)
    pipeline = make_pipeline(server)
    connected(pipeline)
    assert (pipeline.status().version, pipeline.status().last_error) == ('fake 1', '')
    server.stop()
    until(lambda: 'cannot reach' in pipeline.status().last_error)
    assert not pipeline.status().connected
    again = make_server(prefix=prefix, port=server.port)
    connected(pipeline)
    assert pipeline.status().service_prefix == prefix
    assert again.methods() == ['get_version', 'get_available_scenes']


def test_another_version_after_a_restart_is_asked_anew(make_server, make_pipeline, delivered):
    server = make_server(version='old', batch=False)
    pipeline = make_pipeline(server)
    pipeline.submit(due('wide', 'tele')).result(60)
    assert pipeline.status().batch is False
    assert server.methods().count('refused batch') == 1
    server.stop()
    renamed = make_server(version='new', prefix=SERVICE_PREFIXES[1], port=server.port)
    until(lambda: pipeline.status().version == 'new')
    assert pipeline.status().service_prefix == SERVICE_PREFIXES[1]
    assert pipeline.status().batch is None
    pipeline.submit(due('wide', 'tele')).result(60)
    assert 'batch_render_rgb' in renamed.methods()
    assert pipeline.status().batch is True
    assert any('version new' in text for text in delivered.texts('info'))


def test_server_is_asked_once_what_it_is(make_server, make_pipeline, monkeypatch):
    for name in ('LOOK_S', 'SCENE_CHECK_S'):
        monkeypatch.setattr(policy, name, 0.01)
    server = make_server()
    pipeline = make_pipeline(server)
    for t_us in range(5):
        pipeline.submit(due('wide', t_us=t_us), keep=True).result(60)
    assert server.methods() == ['get_version', 'get_available_scenes', *['render_rgb'] * 5]


# --- coming and going ----------------------------------------------------------------------------


def test_making_a_pipeline_touches_no_network(scenario, delivered):
    pipeline = RenderPipeline(scenario, RenderOptions(server='nobody.invalid:1'), delivered)
    status = pipeline.status()
    assert (status.connected, status.last_error, status.down_for_s) == (False, '', 0.0)
    pipeline.close()


def test_server_that_is_not_there_is_said_once_and_found_when_it_comes(
    make_server, make_pipeline, delivered
):
    port = claim_port()
    pipeline = make_pipeline(f'127.0.0.1:{port}')
    waiting = [pipeline.submit(due('wide')), pipeline.submit(due('tele'), keep=True)]
    delivered.said('error')
    pipeline.submit(due('tele', t_us=1), keep=True, fail_if_down=True).result(60)
    status = pipeline.status()
    assert f'{status.last_error}: {status.remedy}' == str(delivered.failures[0].error)
    assert str(delivered.failures[0].error) == (
        f'cannot reach 127.0.0.1:{port}: is the NuRec container running and port {port} '
        'published? it needs 10-30 s after a restart'
    )
    until(lambda: pipeline.status().down_for_s > status.down_for_s)
    assert not any(future.done() for future in waiting)
    server = make_server(port=port)
    for future in waiting:
        future.result(60)
    assert {frame.camera for frame in delivered.frames} == {'wide', 'tele'}
    assert len(delivered.texts('error')) == 1
    assert (pipeline.status().last_error, pipeline.status().down_for_s) == ('', 0.0)
    server.stop()
    until(lambda: not pipeline.status().connected)
    until(lambda: pipeline.status().down_for_s > 0.0)


def test_server_that_comes_soon_after_the_start_is_no_line_in_the_log(
    make_server, make_pipeline, delivered, monkeypatch
):
    monkeypatch.setattr(policy, 'START_GRACE_S', 3600.0)
    port = claim_port()
    pipeline = make_pipeline(f'127.0.0.1:{port}')
    # What is shown, and what a tick is told, does not wait.
    pipeline.submit(due('wide'), fail_if_down=True).result(60)
    assert delivered.failures[0].error.kind == 'unreachable'
    assert 'cannot reach' in pipeline.status().last_error
    server = make_server(port=port)
    pipeline.submit(due('wide'), keep=True).result(60)
    # The frame may be faster than the word about the connection.
    delivered.said('info')
    assert delivered.texts('error') == []
    assert len([text for text in delivered.texts('info') if 'connected to' in text]) == 1
    # A connection that there was is missed at once.
    server.stop()
    assert 'cannot reach' in delivered.said('error')[0]


def test_address_that_is_none_is_refused_where_the_pipeline_is_made(scenario, delivered):
    """And so is a certificate that cannot be read."""
    with pytest.raises(ConfigurationError, match="server is 'localhost', expected HOST:PORT"):
        RenderPipeline(scenario, RenderOptions(server='localhost'), delivered)
    options = RenderOptions(server='a:1', tls_root_certificate='/nowhere/root.pem')
    with pytest.raises(ConfigurationError, match='tls_root_certificate'):
        RenderPipeline(scenario, options, delivered)


def test_host_without_a_name(make_pipeline, delivered, monkeypatch):
    def nobody(host, port):
        raise socket.gaierror(-2, 'Name or service not known')

    # A name service that cannot be reached takes its time to say so.
    monkeypatch.setattr(address, 'look_up', nobody)
    pipeline = make_pipeline('nobody.invalid:1,nothing.invalid:2')
    delivered.said('error')
    assert 'none of nobody.invalid:1,nothing.invalid:2 resolves' in pipeline.status().last_error


def test_connection_that_came_and_went_between_two_looks_is_missed(
    make_server, make_pipeline, monkeypatch
):
    """Play that gRPC's Python, which looks at its channel now and then, never saw it."""
    unseen = threading.Event()

    def watched(_channel, _timeout_s):
        unseen.set()
        server.stop()
        return False

    def unwatched(*way, **how):
        opened = real(*way, **how)
        opened.subscribe = opened.unsubscribe = lambda callback: None
        return opened

    real = channel.open_channel
    monkeypatch.setattr(channel, 'open_channel', unwatched)
    monkeypatch.setattr(Channel, 'watched', watched)
    server = make_server()
    pipeline = make_pipeline(server)
    assert unseen.wait(60)
    until(lambda: pipeline.status().last_error)
    assert not pipeline.status().connected


def test_questions_that_get_no_thread_are_asked_again(
    make_server, make_pipeline, delivered, monkeypatch
):
    """Starting a call starts a thread of gRPC's."""
    refused = iter([RuntimeError("can't start new thread"), MemoryError()])
    real = Channel.method

    def poor(opened, *which):
        error = next(refused, None)
        return real(opened, *which) if error is None else Mock(**{'future.side_effect': error})

    monkeypatch.setattr(Channel, 'method', poor)
    make_pipeline(make_server()).submit(due('wide'), keep=True).result(60)
    assert len(delivered.frames) == 1
    said = delivered.texts('error')
    assert said == ["get_version failed (RuntimeError: can't start new thread)"]


def test_dead_connection_is_given_up(make_server, make_pipeline, monkeypatch, gate):
    """Frames time out, and nothing else is answered: TCP may not know that it is dead."""
    gate.let_all_go()
    server = make_server(gate)
    pipeline = make_pipeline(server, render_timeout_s=0.2, batch='never')
    pipeline.submit(due('wide')).result(60)
    gate.hold()
    let_go = threading.Event()
    ordinary = policy.DEADLINES['get_version']
    # A short one, while nothing is answered.
    monkeypatch.setitem(policy.DEADLINES, 'get_version', 0.2)
    server.answers['get_version'] = lambda *_: let_go.wait(60) and common_pb2.VersionId()
    pipeline.submit(due('wide')).result(60)
    until(lambda: not pipeline.status().connected)
    kept = pipeline.submit(due('tele'), keep=True)
    monkeypatch.setitem(policy.DEADLINES, 'get_version', ordinary)
    server.answers.clear()
    gate.let_all_go()
    let_go.set()
    kept.result(60)
    connected(pipeline)


def test_several_servers_share_the_work_and_one_may_die(make_server, make_pipeline, delivered):
    servers = [make_server(), make_server()]
    pipeline = make_pipeline(','.join(server.address for server in servers), batch='never')

    def both_are_asked():
        pipeline.submit(due('left'), keep=True).result(60)
        return all(server.requests() for server in servers)

    def asked():
        return [len(server.requests()) for server in servers]

    # The list is connected as soon as one of them is.
    until(both_are_asked)
    before = asked()
    done = [pipeline.submit(due('wide', 'tele', t_us=t_us), keep=True) for t_us in range(20)]
    for future in done:
        future.result(60)
    assert len(delivered.frames) == sum(before) + 40
    counts = [now - then for now, then in zip(asked(), before, strict=True)]
    assert sum(counts) == 40
    assert min(counts) > 10
    servers[0].stop()
    before = asked()
    for t_us in range(20, 30):
        pipeline.submit(due('wide', t_us=t_us), keep=True).result(60)
    assert len(delivered.frames) == sum(before) + 10
    assert asked()[1] >= before[1] + 10


# --- what servers may answer ---------------------------------------------------------------------


def test_server_that_is_still_starting(make_server, make_pipeline, delivered):
    server = make_server()
    server.answers['get_version'] = failing(CODE.UNAVAILABLE, 'the service is starting')
    pipeline = make_pipeline(server)
    assert delivered.said('error')[0].startswith(
        f'{server.address} answers, but is not ready yet (the service is starting): '
    )
    assert not pipeline.status().connected
    future = pipeline.submit(due('wide'))
    server.answers.clear()
    future.result(60)
    assert len(delivered.frames) == 1


def test_server_without_a_list_of_scenes_is_asked_for_ours(make_server, make_pipeline, scenario):
    server = make_server()
    server.answers['get_available_scenes'] = failing(CODE.UNIMPLEMENTED, 'no such method')
    pipeline = make_pipeline(server)
    pipeline.submit(due('wide')).result(60)
    assert server.requests()[0].scene_id == scenario.scene_id


def test_something_else_that_listens(make_pipeline, delivered):
    class Refusing(socketserver.BaseRequestHandler):
        """Speaks HTTP, to the end: a socket closed on unread bytes may lose the answer."""

        def handle(self):
            with suppress(OSError):
                self.request.recv(4096)
                self.request.sendall(b'HTTP/1.1 400 Bad Request\r\n\r\n')
                while self.request.recv(4096):
                    pass

    with socketserver.ThreadingTCPServer(('127.0.0.1', 0), Refusing) as listener:
        port = listener.server_address[1]
        listener.daemon_threads = True
        threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True).start()
        try:
            pipeline = make_pipeline(f'127.0.0.1:{port}')
            delivered.said('error')
        finally:
            listener.shutdown()
    said = delivered.texts('error')[0]
    assert f'what answers at 127.0.0.1:{port} speaks no gRPC' in said
    assert 'something else than a gRPC server answers there' in said
    assert not pipeline.status().connected
