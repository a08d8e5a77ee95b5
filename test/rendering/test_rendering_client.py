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
from dataclasses import replace
from pathlib import Path
import socket
import socketserver
from test.rendering.conftest import eventually
from test.rendering.due import due
from test.rendering.tls import server_credentials
from test.support.ports import claim_port
import threading

import grpc
from nurec_ros.errors import ConfigurationError
from nurec_ros.rendering import address, channel, connection, policy, RenderPipeline
from nurec_ros.rendering.channel import Channel, choose_scene, describe_scene
from nurec_ros.rendering.policy import SERVICE_PREFIXES
from nurec_ros.rendering.protos import common_pb2
from nurec_ros.rendering.server_errors import ASK_AGAIN, ServerError
import pytest


@pytest.fixture(autouse=True)
def quick_checks(monkeypatch):
    """Look for a missing scene every 50 ms: nobody waits for seconds here."""
    monkeypatch.setattr(policy, 'SCENE_CHECK_S', 0.05)


@pytest.fixture(autouse=True)
def patient_looks(monkeypatch):
    """Let a look below gRPC have its time: it is never repeated within the grace."""
    monkeypatch.setattr(policy, 'HANDSHAKE_S', 60.0)
    monkeypatch.setattr(address, 'TIMEOUT_S', 60.0)


def connected(pipeline):
    eventually(lambda: pipeline.status().connected)


# --- the service's name --------------------------------------------------------------------------


@pytest.mark.parametrize('prefix', SERVICE_PREFIXES)
def test_known_names_are_tried(make_server, make_pipeline, prefix):
    pipeline = make_pipeline(make_server(prefix=prefix))
    connected(pipeline)
    status = pipeline.status()
    assert status.service_prefix == prefix
    assert status.version == 'fake 1'
    assert status.last_error == ''


def test_name_that_was_typed_is_the_only_one_tried(make_server, make_pipeline, delivered):
    server = make_server(prefix='my.Service')
    connected(make_pipeline(server, service_prefix='my.Service'))
    pipeline = make_pipeline(make_server(), service_prefix='my.Service')
    delivered.wait(lambda: bool(delivered.texts('error')))
    assert not pipeline.status().connected
    assert 'not under the service name my.Service' in pipeline.status().last_error
    assert 'service_prefix' in pipeline.status().remedy


@pytest.mark.parametrize('mode', ['realtime', 'lockstep'])
def test_frames_fail_while_no_name_fits_and_come_when_one_does(
    make_server, make_pipeline, delivered, mode
):
    """Kept or not: the server is there, and waiting for it would be for ever."""
    server = make_server(prefix='other.Service')
    pipeline = make_pipeline(server, mode=mode)
    for t_us in range(2):
        pipeline.submit(due('wide', 'tele', t_us=t_us), keep=True).result(60)
    pipeline.submit(due('wide', t_us=3)).result(60)
    assert [failure.error.kind for failure in delivered.failures] == ['service'] * 5
    said = str(delivered.failures[0].error)
    assert 'set service_prefix' in said
    assert all(prefix in said for prefix in SERVICE_PREFIXES)
    # The client's thread says what frames are already told.
    delivered.wait(lambda: bool(delivered.texts('error')))
    assert len(delivered.texts('error')) == 1
    assert delivered.texts('warn') == []
    server.stop()
    make_server(port=server.port)
    connected(pipeline)
    pipeline.submit(due('wide', t_us=4), keep=True).result(60)
    assert len(delivered.frames) == 1


def test_name_that_worked_is_tried_first_after_a_reconnect(make_server, make_pipeline):
    prefix = SERVICE_PREFIXES[2]
    server = make_server(prefix=prefix)
    pipeline = make_pipeline(server)
    connected(pipeline)
    server.stop()
    again = make_server(prefix=prefix, port=server.port)
    eventually(lambda: 'get_available_scenes' in again.methods())
    connected(pipeline)
    assert pipeline.status().service_prefix == prefix
    assert again.methods()[-2:] == ['get_version', 'get_available_scenes']


def test_another_version_after_a_restart_is_asked_anew(make_server, make_pipeline, delivered):
    server = make_server(version='old', batch=False)
    pipeline = make_pipeline(server)
    pipeline.submit(due('wide', 'tele')).result(60)
    assert pipeline.status().batch is False
    server.stop()
    renamed = make_server(version='new', prefix=SERVICE_PREFIXES[1], port=server.port)
    eventually(lambda: pipeline.status().version == 'new')
    assert pipeline.status().service_prefix == SERVICE_PREFIXES[1]
    assert pipeline.status().batch is None
    pipeline.submit(due('wide', 'tele')).result(60)
    assert 'batch_render_rgb' in renamed.methods()
    assert pipeline.status().batch is True
    assert any('version new' in text for text in delivered.texts('info'))


def test_version_and_scenes_are_asked_once(make_server, make_pipeline):
    server = make_server()
    pipeline = make_pipeline(server, batch='never')
    for t_us in range(20):
        pipeline.submit(due('wide', 'tele', t_us=t_us), keep=True).result(60)
    methods = server.methods()
    assert methods.count('get_available_scenes') == 1
    assert methods.count('get_version') == 1
    assert methods.count('render_rgb') == 40


# --- the scene -----------------------------------------------------------------------------------


def scene(scenario, *scenes, wanted='', **changes):
    return choose_scene(replace(scenario, **changes), scenes, wanted)


def test_scene_by_the_rule_of_the_fact_sheet(scenario):
    named = {'scene_id': 'seq', 'metadata_scene_id': 'meta', 'path': '/data/stem.usdz'}
    assert scene(scenario, 'meta', 'seq', 'x-stem-y', **named) == 'seq'
    assert scene(scenario, 'meta', 'x-stem-y', **named) == 'meta'
    assert scene(scenario, 'other', 'x-stem-y', **named) == 'x-stem-y'
    assert scene(scenario, 'other', **named) == 'other'
    assert scene(scenario, 'a', 'b', wanted='b', **named) == 'b'
    # Of a server that takes any name, ours.
    assert scene(scenario, '*', **named) == 'seq'
    assert scene(scenario, 'meta', '*', 'x-stem-y', **named) == 'seq'
    assert scene(scenario, '*', wanted='mine', **named) == 'mine'
    # What was typed is never replaced.
    with pytest.raises(ServerError, match='no scene mine'):
        scene(scenario, 'other', wanted='mine', **named)


@pytest.mark.parametrize('scenes', [('b', 'a'), ('a-stem', 'b-stem')])
def test_scene_that_the_server_lacks_lists_what_it_has(scenario, scenes):
    with pytest.raises(ServerError) as caught:
        scene(scenario, *scenes, scene_id='seq', metadata_scene_id='', path='/data/stem.usdz')
    assert 'no scene seq' in caught.value.problem
    assert f'it has {", ".join(sorted(scenes))}:' in caught.value.remedy


def test_server_without_any_scene_is_told_what_starts_it(scenario):
    with pytest.raises(ServerError, match='no scenes at all') as caught:
        scene(scenario)
    assert (caught.value.kind, caught.value.action) == ('scene', ASK_AGAIN)
    assert '--artifact-glob' in caught.value.remedy


def test_server_that_takes_any_name_is_no_reason_for_a_warning(
    scenario, make_server, make_pipeline, delivered
):
    server = make_server(scenes=['*'])
    pipeline = make_pipeline(server)
    pipeline.submit(due('wide'), keep=True).result(60)
    assert [request.scene_id for request in server.requests()] == [scenario.scene_id]
    assert pipeline.status().scene_note == ''
    assert not delivered.texts('warn')


def test_server_that_loads_the_scene_itself_is_told_where_from_with_every_call(
    make_server, make_pipeline, delivered
):
    server = make_server(scenes=['another'], batch=False)
    pipeline = make_pipeline(
        server,
        scene_url='file:///data/street%201.usdz',
        scene_id='mine_2-b',
        first_render_timeout_s=200.0,
        render_timeout_s=20.0,
    )
    pipeline.submit(due('wide'), keep=True).result(60)
    pipeline.submit(due('wide', t_us=200_000), keep=True).result(60)
    assert len(delivered.frames) == 2
    assert server.methods() == ['get_version', 'get_available_scenes', 'render_rgb', 'render_rgb']
    for headers in server.headers:
        assert headers['x-nre-scene-url'] == 'file:///data/street%201.usdz'
        assert headers['x-nre-scene-id'] == 'mine_2-b'
    assert [request.scene_id for request in server.requests()] == ['mine_2-b', 'mine_2-b']
    # Whichever of them makes it load the scene may take as long as a first frame.
    assert all(100.0 < seconds < 300.0 for seconds in server.seconds[:3])
    assert server.seconds[3] < 100.0
    assert pipeline.status().scene_note == ''
    assert not delivered.texts('warn')


def test_without_a_url_nothing_is_said_of_one(make_server, make_pipeline):
    server = make_server()
    make_pipeline(server).submit(due('wide'), keep=True).result(60)
    assert server.headers
    assert not [name for headers in server.headers for name in headers if 'scene' in name]


def test_name_that_cannot_stand_beside_a_url_is_refused_at_once(make_pipeline):
    with pytest.raises(ConfigurationError, match=r"scene_id is 'a\.b', expected letters"):
        make_pipeline('gpu:1', scene_url='https://host/a.usdz', scene_id='a.b')


OTHER = "the server's only scene is 'other', taken for 'seq': "
APART = 'it is another drive, recorded at another time, and so are its pictures'
PERHAPS = 'its pictures may show another drive'


def test_scene_of_another_name_is_described(scenario):
    named = replace(
        scenario, scene_id='seq', metadata_scene_id='meta', path=Path('/data/stem.usdz')
    )
    assert describe_scene(named, ('seq', 'x'), 'seq', '') == ''
    assert describe_scene(named, ('meta', 'x'), 'meta', '') == ''
    assert describe_scene(named, ('other',), 'other', 'other') == ''
    end = '; set scene_id to choose'
    assert describe_scene(named, ('other',), 'other', '') == OTHER + PERHAPS + end
    assert describe_scene(named, ('a', 'x-stem'), 'x-stem', '') == (
        f"the server's scene 'x-stem' was taken for 'seq' by the name of the file: {PERHAPS}{end}"
    )


@pytest.mark.parametrize(
    ('offsets_ns', 'apart'),
    [
        ([], False),
        ([(-9, -1)], True),
        ([(-9, 0)], False),
        ([(1, 9)], True),
        ([(-9, -1), (-1, 1)], False),
        ([(-9, -1), (1, 9)], True),
    ],
)
def test_scene_of_another_time_is_another_drive(scenario, offsets_ns, apart):
    """Offsets below 0 count from the start, others from the end."""
    short = replace(scenario, scene_id='seq', end_ns=scenario.start_ns)
    spans = tuple((short.start_ns + a, short.start_ns + b) for a, b in offsets_ns)
    said = describe_scene(short, ('other',), 'other', '', spans)
    assert said == f'{OTHER}{APART if apart else PERHAPS}; set scene_id to choose'


@pytest.mark.parametrize('shift_us', [None, 0, 10**9])
def test_only_scene_of_another_name_is_taken_and_said_once(
    make_server, make_pipeline, delivered, scenario, shift_us
):
    """A server that does not tell its trajectories, one with the drive's times, one without."""
    server = make_server(scenes=['other'])
    if shift_us is not None:
        server.times_us = [scenario.start_ns // 1000 + shift_us]
    pipeline = make_pipeline(server)
    pipeline.submit(due('wide'), keep=True).result(60)
    note = pipeline.status().scene_note
    assert f"the server's only scene is 'other', taken for '{scenario.scene_id}': " in note
    assert (APART if shift_us else PERHAPS) in note
    assert server.requests()[0].scene_id == 'other'
    server.stop()
    again = make_server(scenes=['other'], port=server.port, version='fake 2')
    again.times_us = server.times_us
    eventually(lambda: 'fake 2' in pipeline.status().version)
    pipeline.submit(due('wide', t_us=1), keep=True).result(60)
    assert delivered.texts('warn') == [note]
    assert pipeline.status().scene_note == note
    assert len(delivered.frames) == 2


def test_scene_by_its_name_or_by_choice_needs_no_note(make_server, make_pipeline, delivered):
    ours, other = make_server(), make_server(scenes=['other'])
    pipelines = [make_pipeline(ours), make_pipeline(other, scene_id='other')]
    for pipeline in pipelines:
        pipeline.submit(due('wide'), keep=True).result(60)
        assert pipeline.status().scene_note == ''
    assert delivered.texts('warn') == []
    for server in (ours, other):
        assert 'get_available_trajectories' not in server.methods()


def test_frames_of_a_missing_scene_fail_at_once_with_the_list(
    make_server, make_pipeline, delivered
):
    server = make_server(scenes=['one', 'two'])
    pipeline = make_pipeline(server)
    for keep in (False, True):
        pipeline.submit(due('wide'), keep=keep).result(60)
    assert [failure.error.kind for failure in delivered.failures] == ['scene', 'scene']
    assert 'it has one, two' in str(delivered.failures[0].error)
    status = pipeline.status()
    assert status.connected
    assert status.scenes == ('one', 'two')
    assert 'no scene' in status.last_error
    # Said once, by whoever found it out, and not of every frame again.
    delivered.wait(lambda: bool(delivered.texts('error')))
    assert len(delivered.texts('error')) == 1
    assert delivered.texts('warn') == []
    assert not server.requests()


def test_scene_that_comes_later_is_found(make_server, make_pipeline, delivered, scenario):
    server = make_server(scenes=['one', 'two'])
    pipeline = make_pipeline(server)
    delivered.wait(lambda: bool(delivered.texts('error')))
    server.scenes.append(scenario.scene_id)
    eventually(lambda: pipeline.status().scene_id == scenario.scene_id)
    pipeline.submit(due('wide')).result(60)
    assert len(delivered.frames) == 1


# --- coming and going ----------------------------------------------------------------------------


def test_making_a_pipeline_touches_no_network(scenario, delivered):
    from nurec_ros.rendering import RenderOptions

    pipeline = RenderPipeline(scenario, RenderOptions(server='nobody.invalid:1'), delivered)
    assert not pipeline.status().connected
    assert pipeline.status().last_error == ''
    pipeline.close()


def test_server_that_is_not_there_is_said_once_and_found_when_it_comes(
    make_server, make_pipeline, delivered
):
    port = claim_port()
    pipeline = make_pipeline(f'127.0.0.1:{port}')
    future = pipeline.submit(due('wide'))
    delivered.wait(lambda: bool(delivered.texts('error')))
    status = pipeline.status()
    assert not status.connected
    assert f'{status.last_error}: {status.remedy}' == (
        f'cannot reach 127.0.0.1:{port}: is the NuRec container running and port {port} '
        'published? it needs 10-30 s after a restart'
    )
    assert not future.done()
    make_server(port=port)
    future.result(60)
    assert len(delivered.frames) == 1
    assert len(delivered.texts('error')) == 1
    assert pipeline.status().last_error == ''


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
    delivered.wait(lambda: bool(delivered.texts('info')))
    assert delivered.texts('error') == []
    assert len([text for text in delivered.texts('info') if 'connected to' in text]) == 1
    # A connection that there was is missed at once.
    server.stop()
    delivered.wait(lambda: bool(delivered.texts('error')))
    assert 'cannot reach' in delivered.texts('error')[0]


def test_server_that_is_still_away_after_the_grace_is_said_once(
    make_pipeline, delivered, monkeypatch
):
    monkeypatch.setattr(policy, 'START_GRACE_S', 0.3)
    pipeline = make_pipeline(f'127.0.0.1:{claim_port()}')
    pipeline.submit(due('wide'), fail_if_down=True).result(60)
    delivered.wait(lambda: bool(delivered.texts('error')))
    assert len(delivered.texts('error')) == 1
    assert 'cannot reach' in delivered.texts('error')[0]


@pytest.mark.parametrize('server', ['localhost', 'localhost:99999', 'http://host:1', ''])
def test_address_that_is_none_is_refused_where_the_pipeline_is_made(scenario, delivered, server):
    from nurec_ros.rendering import RenderOptions

    with pytest.raises(ConfigurationError, match=f"server is '{server}', expected HOST:PORT"):
        RenderPipeline(scenario, RenderOptions(server=server), delivered)


def test_host_without_a_name(make_pipeline, delivered, monkeypatch):
    def nobody(host, port):
        raise socket.gaierror(-2, 'Name or service not known')

    # A name service that cannot be reached takes its time to say so.
    monkeypatch.setattr(connection, 'resolve', lambda server: address.resolve(server, nobody))
    pipeline = make_pipeline('nobody.invalid:1,nothing.invalid:2')
    delivered.wait(lambda: bool(delivered.texts('error')))
    assert 'none of nobody.invalid:1,nothing.invalid:2 resolves' in pipeline.status().last_error


def test_idle_client_sees_that_the_server_went_and_was_restarted(make_server, make_pipeline):
    """Even where nothing was asked of it meanwhile: it will compile its kernels again."""
    server = make_server(version='one')
    pipeline = make_pipeline(server)
    connected(pipeline)
    server.stop()
    eventually(lambda: not pipeline.status().connected)
    eventually(lambda: 'cannot reach' in pipeline.status().last_error)
    again = make_server(version='one', port=server.port)
    eventually(lambda: 'get_available_scenes' in again.methods())
    connected(pipeline)


def test_idle_server_is_left_alone(make_server, make_pipeline):
    server = make_server()
    pipeline = make_pipeline(server)
    pipeline.submit(due('wide')).result(60)
    asked = server.methods()
    threading.Event().wait(0.3)
    assert server.methods() == asked


class Unwatched:
    """A channel of gRPC's that tells nobody of its state."""

    def __init__(self, real):
        self.unary_unary, self.close = real.unary_unary, real.close

    def subscribe(self, callback):
        """Call nobody."""

    def unsubscribe(self, callback):
        """Nobody was called."""


def test_connection_that_came_and_went_between_two_looks_is_missed(
    make_server, make_pipeline, monkeypatch
):
    """Play that gRPC's Python, which looks at its channel now and then, never saw it."""
    unseen = threading.Event()

    def watched(_channel, _timeout_s):
        unseen.set()
        server.stop()
        return False

    real = channel.open_channel
    monkeypatch.setattr(channel, 'open_channel', lambda *way, **how: Unwatched(real(*way, **how)))
    monkeypatch.setattr(Channel, 'watched', watched)
    server = make_server()
    pipeline = make_pipeline(server)
    assert unseen.wait(60)
    eventually(lambda: pipeline.status().last_error)
    assert not pipeline.status().connected


def test_questions_that_get_no_thread_are_asked_again(
    make_server, make_pipeline, delivered, monkeypatch
):
    """Starting a call starts a thread of gRPC's."""
    refused = iter([RuntimeError("can't start new thread"), MemoryError()])
    real = channel.open_channel

    class Poor(Unwatched):
        """A channel whose first calls find the system out of threads and memory."""

        def __init__(self, opened):
            super().__init__(opened)
            self.subscribe, self.unsubscribe = opened.subscribe, opened.unsubscribe
            self.opened, self.unary_unary = opened, self.poor

        def poor(self, *how):
            error = next(refused, None)
            return self.opened.unary_unary(*how) if error is None else Refusing(error)

    class Refusing:
        """Raises in the place of a channel."""

        def __init__(self, error):
            self.error = error

        def future(self, *how, **more):
            raise self.error

    monkeypatch.setattr(channel, 'open_channel', lambda *way, **how: Poor(real(*way, **how)))
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
    short = policy.Row(0.2, 'a short one, while nothing is answered')
    monkeypatch.setitem(policy.DEADLINES, 'get_version', short)
    server.answers['get_version'] = lambda *_: let_go.wait(60) and common_pb2.VersionId()
    pipeline.submit(due('wide')).result(60)
    eventually(lambda: not pipeline.status().connected)
    kept = pipeline.submit(due('tele'), keep=True)
    monkeypatch.setitem(policy.DEADLINES, 'get_version', ordinary)
    server.answers.clear()
    gate.let_all_go()
    let_go.set()
    kept.result(60)
    connected(pipeline)


# --- more than one server, and TLS ---------------------------------------------------------------


def test_several_servers_share_the_work(make_server, make_pipeline, delivered):
    servers = [make_server(), make_server()]
    pipeline = make_pipeline(','.join(server.address for server in servers), batch='never')

    def both_are_asked():
        pipeline.submit(due('left'), keep=True).result(60)
        return all(server.requests() for server in servers)

    # The list is connected as soon as one of them is.
    eventually(both_are_asked)
    before = [len(server.requests()) for server in servers]
    done = [pipeline.submit(due('wide', 'tele', t_us=t_us), keep=True) for t_us in range(40)]
    for future in done:
        future.result(60)
    assert len(delivered.frames) == sum(before) + 80
    after = [len(server.requests()) for server in servers]
    counts = [now - then for now, then in zip(after, before, strict=True)]
    assert sum(counts) == 80
    assert min(counts) > 20


def test_one_of_several_servers_may_die(make_server, make_pipeline, delivered):
    one, other = make_server(), make_server()
    pipeline = make_pipeline(f'{one.address},{other.address}', batch='never')
    pipeline.submit(due('wide'), keep=True).result(60)
    one.stop()
    for t_us in range(30):
        pipeline.submit(due('wide', t_us=t_us), keep=True).result(60)
    assert len(delivered.frames) == 31
    assert len(other.requests()) >= 30


def test_tls_with_a_root_certificate(make_server, make_pipeline, delivered, tmp_path):
    credentials, root = server_credentials(tmp_path)
    one = make_server(credentials=credentials)
    other = make_server(credentials=credentials)
    single = make_pipeline(f'localhost:{one.port}', tls_root_certificate=str(root))
    single.submit(due('wide')).result(60)
    several = make_pipeline(
        f'localhost:{one.port},localhost:{other.port}', tls_root_certificate=str(root)
    )
    several.submit(due('wide', 'tele')).result(60)
    assert len(delivered.frames) == 3


@pytest.mark.parametrize(
    ('server_tls', 'client_tls', 'said'),
    [
        (True, False, 'the server speaks TLS, and no certificate is given: give tls_root_cert'),
        (True, True, "not valid for '127.0.0.1': type a name that is in the certificate"),
        (False, True, 'a TLS certificate is given, but the server does not speak TLS: NuRec serv'),
    ],
)
def test_servers_and_clients_that_cannot_agree_on_tls_are_told_why(
    make_server, make_pipeline, delivered, tmp_path, server_tls, client_tls, said
):
    credentials, root = server_credentials(tmp_path)
    server = make_server(credentials=credentials if server_tls else None)
    root = str(root) if client_tls else ''
    pipeline = make_pipeline(f'127.0.0.1:{server.port}', tls_root_certificate=root)
    delivered.wait(lambda: bool(delivered.texts('error')))
    found = delivered.texts('error')[0]
    assert f'cannot agree on TLS with 127.0.0.1:{server.port}: ' in found
    assert said in found
    assert pipeline.status().last_error in found
    assert not pipeline.status().connected


def test_trouble_with_tls_is_looked_into_now_and_then_only(
    make_server, make_pipeline, delivered, tmp_path, monkeypatch
):
    looks = []
    real = address.fault_among

    def count(*arguments):
        looks.append(threading.current_thread().name)
        return real(*arguments)

    monkeypatch.setattr(address, 'fault_among', count)
    monkeypatch.setattr(policy, 'HANDSHAKE_EVERY_S', 3600.0)
    monkeypatch.setitem(policy.DEADLINES, 'await server', policy.Row(0.01, 'a short one'))
    credentials, _ = server_credentials(tmp_path)
    pipeline = make_pipeline(make_server(credentials=credentials))
    delivered.wait(lambda: bool(delivered.texts('error')))
    tries = []
    real_explain = address.TlsCheck.explain

    def explain(self, error):
        tries.append(error)
        return real_explain(self, error)

    monkeypatch.setattr(address.TlsCheck, 'explain', explain)
    eventually(lambda: len(tries) >= 2)
    assert looks == ['nurec-connect']
    assert 'TLS' in pipeline.status().last_error
    assert len(delivered.texts('error')) == 1


def test_certificate_that_cannot_be_read_is_refused_at_once(make_pipeline):
    with pytest.raises(ConfigurationError, match='tls_root_certificate'):
        make_pipeline('localhost:1', tls_root_certificate='/nowhere/root.pem')


# --- what servers may answer ---------------------------------------------------------------------


def test_server_that_is_still_starting(make_server, make_pipeline, delivered):
    server = make_server()

    def starting(_request, context):
        context.abort(grpc.StatusCode.UNAVAILABLE, 'the service is starting')

    server.answers['get_version'] = starting
    pipeline = make_pipeline(server)
    delivered.wait(lambda: bool(delivered.texts('error')))
    assert delivered.texts('error')[0].startswith(
        f'{server.address} answers, but is not ready yet (the service is starting): '
    )
    assert not pipeline.status().connected
    future = pipeline.submit(due('wide'))
    server.answers.clear()
    future.result(60)
    assert len(delivered.frames) == 1


def test_server_without_a_list_of_scenes_is_asked_for_ours(make_server, make_pipeline, scenario):
    server = make_server()

    def missing(_request, context):
        context.abort(grpc.StatusCode.UNIMPLEMENTED, 'no such method')

    server.answers['get_available_scenes'] = missing
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
            delivered.wait(lambda: bool(delivered.texts('error')))
        finally:
            listener.shutdown()
    said = delivered.texts('error')[0]
    assert f'what answers at 127.0.0.1:{port} speaks no gRPC' in said
    assert 'something else than a gRPC server answers there' in said
    assert not pipeline.status().connected
