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
from test.probe.reports import failed, probe_at, stage, statuses
from test.rendering.fake_server import FakeServer, png
from test.rendering.tls import server_credentials
from test.support.ports import claim_port
import threading

import grpc
from nurec_ros.errors import ConfigurationError
from nurec_ros.probe.stages import resolve_stage
from nurec_ros.rendering import address
import pytest

# What is waited for in vain; all else has its time.
NO_CHANNEL = {'timeouts': {'channel': 0.5}}


def closed():
    """Return an address where nothing listens."""
    return f'127.0.0.1:{claim_port()}'


# --- below gRPC ----------------------------------------------------------------------------------


def test_nothing_listens(scenario, tmp_path):
    address = closed()
    report = probe_at(scenario, address, tmp_path)
    assert failed(report) == ['tcp']
    found = stage(report, 'tcp', 'fail')
    assert f'cannot reach {address}: 127.0.0.1: Connection refused' in found.message
    assert 'is the NuRec container running and is its port published' in found.remedy
    assert {s.status for s in report.stages[2:]} == {'skip'}
    assert not (tmp_path / 'out').exists()


def test_a_name_that_nobody_knows(scenario, tmp_path):
    report = probe_at(scenario, 'no.such.host.invalid:46435', tmp_path)
    assert failed(report) == ['resolve']
    found = stage(report, 'resolve', 'fail')
    assert 'no.such.host.invalid is unknown' in found.message
    assert 'spelling' in found.remedy


def test_a_silent_name_service_ends_by_the_time_limit(scenario, tmp_path, monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(socket, 'getaddrinfo', lambda *_, **__: released.wait(60.0) and [])
    report = probe_at(scenario, 'nurec:5', tmp_path, timeout_s=0.1)
    released.set()
    assert 'silent' in stage(report, 'resolve', 'fail').message


def test_lost_packets_point_to_the_network(scenario, tmp_path, monkeypatch):
    def silent(*_, **__):
        raise TimeoutError('timed out')

    monkeypatch.setattr(socket, 'create_connection', silent)
    found = stage(probe_at(scenario, '10.1.2.3:46435', tmp_path), 'tcp', 'fail')
    assert 'no answer' in found.message
    assert 'firewall' in found.remedy


@pytest.mark.parametrize('text', ['', 'localhost', ':46435', 'a:0', 'a:70000', '::1:5', 'a:1,b'])
def test_an_address_without_host_or_port(scenario, tmp_path, text):
    with pytest.raises(ConfigurationError, match='expected HOST:PORT'):
        probe_at(scenario, text, tmp_path)
    found, resolved = resolve_stage(text, 5.0)
    assert (found.status, resolved) == ('fail', [])
    assert '46435' in found.remedy


def test_one_dead_address_of_two(scenario, tmp_path):
    dead = closed()
    with serve(scenario) as server:
        report = probe_at(scenario, f'{dead},{server.address}', tmp_path)
    assert failed(report) == ['tcp']
    assert dead in stage(report, 'tcp', 'fail').message
    assert set(statuses(report, 'render')) == {'pass'}
    assert not report.ok


def test_two_living_addresses(scenario, tmp_path):
    with serve(scenario) as first, serve(scenario) as second:
        report = probe_at(scenario, f'{first.address},{second.address}', tmp_path)
        assert report.ok
        assert first.frames + second.frames == 6
    addresses = stage(report, 'resolve', 'pass').details['addresses']
    assert addresses == {first.address: ['127.0.0.1'], second.address: ['127.0.0.1']}


def test_one_of_a_name_s_numbers_is_enough(scenario, tmp_path, monkeypatch):
    look_up = socket.getaddrinfo

    def two(host, port, *arguments, **words):
        if host != 'localhost':
            return look_up(host, port, *arguments, **words)
        other = [(socket.AF_INET6, socket.SOCK_STREAM, 6, '', ('::1', port, 0, 0))]
        return other + look_up('127.0.0.1', port, *arguments, **words)

    with serve(scenario) as server:
        monkeypatch.setattr(socket, 'getaddrinfo', two)
        report = probe_at(scenario, server.address.replace('127.0.0.1', 'localhost'), tmp_path)
    assert 'localhost is ::1, 127.0.0.1' in stage(report, 'resolve', 'pass').message
    assert '127.0.0.1 port' in stage(report, 'tcp', 'pass').message


def test_numbers_in_the_syntax_of_grpc_are_tried_by_tcp(scenario, tmp_path):
    with serve(scenario) as server:
        report = probe_at(scenario, f'ipv4:{server.address}', tmp_path)
    assert report.ok
    assert stage(report, 'tcp', 'pass').latency_s > 0.0


def test_what_is_left_to_grpc_keeps_the_order_of_stages(scenario, tmp_path):
    report = probe_at(scenario, f'unix:{tmp_path / "none.sock"}', tmp_path, **NO_CHANNEL)
    assert [s.name for s in report.stages][:3] == ['resolve', 'tcp', 'channel']
    assert stage(report, 'tcp', 'note').message == 'left to gRPC, as the address is'
    assert failed(report) == ['channel']
    assert 'not tried, because channel failed' in stage(report, 'render', 'skip').message


# --- something else listens ----------------------------------------------------------------------


def test_a_port_that_accepts_and_stays_silent(scenario, tmp_path):
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        one.listen()
        address = f'127.0.0.1:{one.getsockname()[1]}'
        report = probe_at(scenario, address, tmp_path, timeout_s=1.0)
    assert failed(report) == ['channel']
    assert 'does not speak gRPC' in stage(report, 'channel', 'fail').remedy


def test_a_web_server(scenario, tmp_path):
    web = http.server.HTTPServer(('127.0.0.1', 0), http.server.BaseHTTPRequestHandler)
    thread = threading.Thread(target=web.serve_forever, kwargs={'poll_interval': 0.02})
    thread.start()
    try:
        report = probe_at(scenario, f'127.0.0.1:{web.server_port}', tmp_path, **NO_CHANNEL)
    finally:
        web.shutdown()
        web.server_close()
        thread.join(20.0)
    assert failed(report) == ['channel']


def test_a_grpc_server_that_is_no_renderer(probe):
    report = probe(service_prefix='greeter.Greeter', api='v1')
    assert failed(report) == ['service']
    assert statuses(report, 'health') == ['note']


# --- TLS -----------------------------------------------------------------------------------------


@pytest.fixture
def guarded(tmp_path, monkeypatch):
    """Yield the port of a server that speaks TLS as localhost, and its certificate's file."""
    monkeypatch.setattr(address, 'TIMEOUT_S', 60.0)
    credentials, path = server_credentials(tmp_path)
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_secure_port('127.0.0.1:0', credentials)
    server.start()
    yield port, str(path)
    server.stop(None).wait(20.0)


@pytest.mark.parametrize(
    ('host', 'certificate', 'message', 'remedy'),
    [
        ('localhost', False, 'the server speaks TLS, and no certificate is given', 'tls_root'),
        ('127.0.0.1', True, "not valid for '127.0.0.1'", 'type a name that is in the certificate'),
    ],
)
def test_tls_that_does_not_fit(scenario, guarded, tmp_path, host, certificate, message, remedy):
    port, path = guarded
    report = probe_at(
        scenario,
        f'{host}:{port}',
        tmp_path,
        tls_root_certificate=path if certificate else '',
        **NO_CHANNEL,
    )
    assert failed(report) == ['channel']
    found = stage(report, 'channel', 'fail')
    assert message in found.message
    assert remedy in found.remedy


def test_a_certificate_against_a_plaintext_server(scenario, guarded, tmp_path):
    with serve(scenario) as server:
        report = probe_at(
            scenario, server.address, tmp_path, tls_root_certificate=guarded[1], **NO_CHANNEL
        )
    assert failed(report) == ['channel']
    found = stage(report, 'channel', 'fail')
    assert found.message == 'a TLS certificate is given, but the server does not speak TLS'
    assert 'leave tls_root_certificate empty' in found.remedy


def test_the_right_name_connects(scenario, guarded, tmp_path):
    port, path = guarded
    report = probe_at(scenario, f'localhost:{port}', tmp_path, tls_root_certificate=path)
    # It has no services at all, which is another matter.
    assert failed(report) == ['service']


# --- proxies -------------------------------------------------------------------------------------


def test_a_proxy_in_force_is_named_and_not_obeyed(probe, monkeypatch):
    monkeypatch.setenv('http_proxy', f'http://user:secret@{closed()}')
    report = probe()
    assert report.ok
    found = stage(report, 'channel', 'pass')
    assert 'past http_proxy=http://…@127.0.0.1:' in found.message
    assert '--use-proxy' in found.message
    assert 'secret' not in str(found.to_json())
    assert found.details['proxies'].keys() == {'http_proxy'}


def test_a_proxy_that_is_asked_for_and_not_there(probe, monkeypatch):
    monkeypatch.setenv('http_proxy', f'http://{closed()}')
    report = probe(options={'use_proxy': True, **NO_CHANNEL})
    assert failed(report) == ['channel']
    found = stage(report, 'channel', 'fail')
    assert 'through http_proxy=http://127.0.0.1:' in found.message
    assert 'use_proxy' in found.remedy
    assert statuses(report, 'tcp') == ['note']


def test_without_proxies_nothing_is_said_of_them(probe, monkeypatch):
    for name in ('grpc_proxy', 'https_proxy', 'http_proxy'):
        monkeypatch.delenv(name, raising=False)
    assert stage(probe(), 'channel', 'pass').message == 'gRPC connection stands'


# --- scenes that servers load or take ------------------------------------------------------------


def grey(request, _context):
    """Return a picture that is not black."""
    return png(request.resolution_w, request.resolution_h, 128)


def test_a_list_with_an_asterisk_takes_our_scene(scenario, tmp_path):
    with FakeServer(grey, scenes=['*', 'another']) as server:
        report = probe_at(scenario, server.address, tmp_path)
        asked = {request.scene_id for request in server.requests()}
    found = stage(report, 'scenes', 'pass')
    assert f'takes any scene (*); {scenario.scene_id} is asked for' in found.message
    assert asked == {scenario.scene_id}
    assert failed(report) == []


def test_a_scene_url_goes_with_every_call(scenario, tmp_path):
    url = 'file:///data/scene.usdz'
    with FakeServer(grey, scenes=[]) as server:
        report = probe_at(
            scenario, server.address, tmp_path, scene_url=url, timeout_s=50.0, first_timeout_s=90.0
        )
        headers = server.headers
        seconds = dict(zip(server.methods(), server.seconds, strict=True))
    assert failed(report) == []
    assert f'{scenario.scene_id} is loaded from {url}' in stage(report, 'scenes', 'pass').message
    assert {entry.get('x-nre-scene-url') for entry in headers} == {url}
    assert {entry.get('x-nre-scene-id') for entry in headers} == {scenario.scene_id}
    # The server may load it now.
    assert min(seconds['get_version'], seconds['get_available_scenes']) > 70.0
    assert seconds['render_rgb'] < 70.0, 'of the last one'


def test_no_scene_url_no_metadata(scenario, tmp_path):
    with FakeServer(scenes=[scenario.scene_id]) as server:
        probe_at(scenario, server.address, tmp_path)
        assert not any(name.startswith('x-nre') for entry in server.headers for name in entry)


# --- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'cameras': ('camera_x',)}, 'cameras names camera_x; expected some of camera_front'),
        ({'scale': 0.0}, 'resolution_scale'),
        ({'tls_root_certificate': '/no/such.pem'}, '/no/such.pem'),
        ({'tls_root_certificate': __file__}, 'holds no certificate in PEM format'),
        ({'scene_url': 'ftp://x'}, 'scene_url is'),
        ({'scene_url': 'file:///a.usdz', 'scene_id': 'a b'}, 'scene_id is'),
        ({'use_proxy': True, 'server': '127.0.0.1:1,127.0.0.1:2'}, 'use_proxy is true'),
    ],
)
def test_bad_options_are_refused_before_anything_is_asked(scenario, tmp_path, options, words):
    with pytest.raises(ConfigurationError, match=words):
        probe_at(scenario, **{'server': '127.0.0.1:1', 'folder': tmp_path, **options})


def test_a_scene_without_a_camera_model_is_refused(scenario, tmp_path):
    bare = {name: replace(camera, model=None) for name, camera in scenario.cameras.items()}
    with pytest.raises(ConfigurationError, match='no camera that can be rendered'):
        probe_at(replace(scenario, cameras=bare), '127.0.0.1:1', tmp_path)


def test_a_folder_that_cannot_be_made_is_named(scenario, tmp_path):
    (tmp_path / 'out').write_text('')
    with pytest.raises(ConfigurationError, match='out cannot be written'):
        # Nothing listens there: it is found before anything is asked.
        probe_at(scenario, '127.0.0.1:1', tmp_path)


def test_a_socket_that_nobody_listens_on_is_no_open_port(scenario, tmp_path):
    socket = f'unix:{tmp_path}/none'
    report = probe_at(scenario, socket, tmp_path / 'out', timeout_s=1.0)
    (failed,) = [stage for stage in report.stages if stage.status == 'fail']
    assert failed.name == 'channel'
    assert socket in failed.message
    assert 'port' not in failed.message
    assert 'socket' in failed.remedy
