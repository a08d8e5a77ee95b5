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
"""The probe where no render server answers, below gRPC and above; and options it cannot honour."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
import http.server
import socket
from test.preview.preview_client import serve
from test.probe.reports import closed, failed, grey, probe_at, stage, statuses
from test.rendering.fake_server import FakeServer, server_credentials
import threading

import grpc
from nurec_ros.errors import ConfigurationError
from nurec_ros.rendering import address
import pytest

# What is waited for in vain; all else has its time.
NO_CHANNEL = {'timeouts': {'channel': 0.5}}


@pytest.fixture(scope='module')
def healthy(scenario):
    with serve(scenario) as server:
        yield server


@pytest.fixture
def ask(scenario, tmp_path):
    """Probe an address."""
    return lambda server, **options: probe_at(scenario, server, tmp_path, **options)


# --- below gRPC ----------------------------------------------------------------------------------


def test_nothing_listens(ask, tmp_path):
    address = closed()
    report = ask(address)
    assert failed(report) == ['tcp']
    found = stage(report, 'tcp', 'fail')
    assert f'cannot reach {address}: 127.0.0.1: Connection refused' in found.message
    assert 'is the NuRec container running and is its port published' in found.remedy
    assert {s.status for s in report.stages[2:]} == {'skip'}
    assert not (tmp_path / 'out').exists()


def test_a_name_that_nobody_knows(ask):
    report = ask('no.such.host.invalid:46435')
    assert failed(report) == ['resolve']
    found = stage(report, 'resolve', 'fail')
    assert 'no.such.host.invalid is unknown' in found.message
    assert 'spelling' in found.remedy


def test_silence_of_names_and_of_packets_is_told(ask, monkeypatch):
    released = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(socket, 'getaddrinfo', lambda *_, **__: released.wait(60.0) and [])
        report = ask('nurec:5', timeout_s=0.1)
        released.set()
    assert 'silent' in stage(report, 'resolve', 'fail').message

    def silent(*_, **__):
        raise TimeoutError('timed out')

    monkeypatch.setattr(socket, 'create_connection', silent)
    found = stage(ask('10.1.2.3:46435'), 'tcp', 'fail')
    assert 'no answer' in found.message
    assert 'firewall' in found.remedy


@pytest.mark.parametrize('text', ['', 'localhost', ':46435', 'a:70000', '::1:5', 'a:1,b'])
def test_an_address_without_host_or_port(ask, text):
    with pytest.raises(ConfigurationError, match='expected HOST:PORT'):
        ask(text)


def test_of_two_addresses_one_may_be_dead(ask, scenario, healthy):
    dead, before = closed(), healthy.frames
    report = ask(f'{dead},{healthy.address}')
    assert failed(report) == ['tcp']
    assert dead in stage(report, 'tcp', 'fail').message
    assert set(statuses(report, 'render')) == {'pass'}
    assert healthy.frames == before + 6
    with serve(scenario) as second:
        report = ask(f'{healthy.address},{second.address}')
        assert report.ok
        assert healthy.frames + second.frames == before + 12
    addresses = stage(report, 'resolve', 'pass').details['addresses']
    assert addresses == {healthy.address: ['127.0.0.1'], second.address: ['127.0.0.1']}


def test_one_of_a_name_s_numbers_is_enough(ask, healthy, monkeypatch):
    look_up = socket.getaddrinfo

    def two(host, port, *arguments, **words):
        if host != 'localhost':
            return look_up(host, port, *arguments, **words)
        other = [(socket.AF_INET6, socket.SOCK_STREAM, 6, '', ('::1', port, 0, 0))]
        return other + look_up('127.0.0.1', port, *arguments, **words)

    monkeypatch.setattr(socket, 'getaddrinfo', two)
    report = ask(healthy.address.replace('127.0.0.1', 'localhost'))
    assert 'localhost is ::1, 127.0.0.1' in stage(report, 'resolve', 'pass').message
    assert '127.0.0.1 port' in stage(report, 'tcp', 'pass').message


def test_numbers_in_the_syntax_of_grpc_are_tried_by_tcp_and_sockets_left_to_it(
    ask, healthy, tmp_path
):
    report = ask(f'ipv4:{healthy.address}')
    assert report.ok
    assert stage(report, 'tcp', 'pass').latency_s > 0.0
    nobody = f'unix:{tmp_path / "none.sock"}'
    report = ask(nobody, **NO_CHANNEL)
    assert [s.name for s in report.stages][:3] == ['resolve', 'tcp', 'channel']
    assert stage(report, 'tcp', 'note').message == 'left to gRPC, as the address is'
    assert failed(report) == ['channel']
    found = stage(report, 'channel', 'fail')
    assert nobody in found.message
    assert 'port' not in found.message
    assert 'socket' in found.remedy
    assert 'not tried, because channel failed' in stage(report, 'render', 'skip').message


# --- something else listens ----------------------------------------------------------------------


def test_a_port_that_accepts_and_stays_silent(ask):
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        one.listen()
        report = ask(f'127.0.0.1:{one.getsockname()[1]}', timeout_s=1.0)
    assert failed(report) == ['channel']
    assert 'does not speak gRPC' in stage(report, 'channel', 'fail').remedy


def test_a_web_server(ask):
    handler = http.server.BaseHTTPRequestHandler
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as web:
        thread = threading.Thread(target=web.serve_forever, kwargs={'poll_interval': 0.02})
        thread.start()
        try:
            report = ask(f'127.0.0.1:{web.server_port}', **NO_CHANNEL)
        finally:
            web.shutdown()
            thread.join(20.0)
    assert failed(report) == ['channel']


# --- TLS -----------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def guarded(tmp_path_factory):
    """Yield the port of a server that speaks TLS as localhost, and its certificate's file."""
    credentials, path = server_credentials(tmp_path_factory.mktemp('tls'))
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_secure_port('127.0.0.1:0', credentials)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(address, 'TIMEOUT_S', 60.0)
        yield port, str(path)
    server.stop(None).wait(20.0)


@pytest.mark.parametrize(
    ('host', 'certificate', 'message', 'remedy'),
    [
        ('localhost', False, 'the server speaks TLS, and no certificate is given', 'tls_root'),
        ('127.0.0.1', True, "not valid for '127.0.0.1'", 'type a name that is in the certificate'),
        (
            '',
            True,
            'a TLS certificate is given, but the server does not speak TLS',
            'leave tls_root_certificate empty',
        ),
    ],
)
def test_tls_that_does_not_fit(ask, guarded, healthy, host, certificate, message, remedy):
    """Where there is no host: against a server of plaintext."""
    port, path = guarded
    server = f'{host}:{port}' if host else healthy.address
    report = ask(server, tls_root_certificate=path if certificate else '', **NO_CHANNEL)
    assert failed(report) == ['channel']
    found = stage(report, 'channel', 'fail')
    assert message in found.message
    assert remedy in found.remedy


def test_the_right_name_connects(ask, guarded):
    port, path = guarded
    # It has no services at all, which is another matter.
    assert failed(ask(f'localhost:{port}', tls_root_certificate=path)) == ['service']


# --- proxies -------------------------------------------------------------------------------------


def test_a_proxy_in_force_is_named_and_obeyed_when_asked_to(ask, healthy, monkeypatch):
    for name in ('grpc_proxy', 'https_proxy', 'http_proxy'):
        monkeypatch.delenv(name, raising=False)
    assert stage(ask(healthy.address), 'channel', 'pass').message == 'gRPC connection stands'
    monkeypatch.setenv('http_proxy', f'http://user:secret@{closed()}')
    report = ask(healthy.address)
    assert report.ok
    found = stage(report, 'channel', 'pass')
    assert 'past http_proxy=http://…@127.0.0.1:' in found.message
    assert '--use-proxy' in found.message
    assert 'secret' not in str(found.to_json())
    assert found.details['proxies'].keys() == {'http_proxy'}
    report = ask(healthy.address, use_proxy=True, **NO_CHANNEL)
    assert failed(report) == ['channel']
    found = stage(report, 'channel', 'fail')
    assert 'through http_proxy=http://…@127.0.0.1:' in found.message
    assert 'use_proxy' in found.remedy
    assert statuses(report, 'tcp') == ['note']


# --- scenes that servers load or take ------------------------------------------------------------


def test_a_list_with_an_asterisk_takes_our_scene(ask, scenario):
    with FakeServer(grey, scenes=['*', 'another']) as server:
        report = ask(server.address)
        asked = {request.scene_id for request in server.requests()}
        assert not any(name.startswith('x-nre') for entry in server.headers for name in entry)
    found = stage(report, 'scenes', 'pass')
    assert f'takes any scene (*); {scenario.scene_id} is asked for' in found.message
    assert asked == {scenario.scene_id}
    assert failed(report) == []


def test_a_scene_url_goes_with_every_call(ask, scenario):
    url = 'file:///data/scene.usdz'
    with FakeServer(grey, scenes=[]) as server:
        report = ask(server.address, scene_url=url, timeout_s=50.0, first_timeout_s=90.0)
        headers = server.headers
        seconds = dict(zip(server.methods(), server.seconds, strict=True))
    assert failed(report) == []
    assert f'{scenario.scene_id} is loaded from {url}' in stage(report, 'scenes', 'pass').message
    assert {entry.get('x-nre-scene-url') for entry in headers} == {url}
    assert {entry.get('x-nre-scene-id') for entry in headers} == {scenario.scene_id}
    # The server may load it now.
    assert min(seconds['get_version'], seconds['get_available_scenes']) > 70.0
    assert seconds['render_rgb'] < 70.0, 'of the last one'


# --- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'cameras': ('camera_x',)}, "cameras names 'camera_x'; expected some of 'camera_front"),
        ({'scale': 0.0}, 'resolution_scale'),
        ({'tls_root_certificate': '/no/such.pem'}, '/no/such.pem'),
        ({'tls_root_certificate': __file__}, 'holds no certificate in PEM format'),
        ({'scene_url': 'ftp://x'}, 'scene_url is'),
        ({'scene_url': 'file:///a.usdz', 'scene_id': 'a b'}, 'scene_id is'),
        ({'use_proxy': True, 'server': '127.0.0.1:1,127.0.0.1:2'}, 'use_proxy is true'),
        ({}, 'out cannot be written'),
    ],
)
def test_bad_options_are_refused_before_anything_is_asked(ask, tmp_path, options, words):
    # Nothing listens at the address, and nothing can be written beside the last option.
    (tmp_path / 'out').write_text('')
    with pytest.raises(ConfigurationError, match=words):
        ask(**{'server': '127.0.0.1:1', **options})


def test_a_scene_without_a_camera_model_is_refused(scenario, tmp_path):
    bare = {name: replace(camera, model=None) for name, camera in scenario.cameras.items()}
    with pytest.raises(ConfigurationError, match='no camera that can be rendered'):
        probe_at(replace(scenario, cameras=bare), '127.0.0.1:1', tmp_path)
