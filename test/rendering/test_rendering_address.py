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
"""From what is typed as `server` to gRPC's target; proxies of the environment; TLS."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
import select
import socket
import socketserver
import ssl
from test.rendering.conftest import due
from test.rendering.fake_server import CERTIFICATE, KEY, server_credentials
from test.support.ports import claim_port
from test.support.waiting import until
import threading
from unittest.mock import Mock, patch

import grpc
from nurec_ros.errors import ConfigurationError
from nurec_ros.rendering import address, channel, policy
from nurec_ros.rendering.address import (
    addresses,
    Endpoint,
    endpoints,
    fault,
    fault_among,
    places,
    resolve,
    root_certificate,
    Target,
    TlsCheck,
)
from nurec_ros.rendering.channel import NO_PROXY_VARIABLES, proxies_in_force, PROXY_VARIABLES
from nurec_ros.rendering.server_errors import RECONNECT, ServerError
import pytest

V4, V6 = socket.AF_INET, socket.AF_INET6
NAMES = {
    'gpu1': [(V4, '10.0.0.1')],
    'gpu1b': [(V4, '10.0.0.1')],
    'gpu2': [(V4, '10.0.0.2'), (V4, '10.0.0.3'), (V6, 'fd00::2')],
    'six': [(V6, 'fd00::6')],
    '10.1.1.1': [(V4, '10.1.1.1')],
    'fd00::7': [(V6, 'fd00::7')],
}


@pytest.fixture
def names(monkeypatch):
    def look_up(host, port):
        if host not in NAMES:
            raise socket.gaierror(-2, 'Name or service not known')
        return NAMES[host]

    monkeypatch.setattr(address, 'look_up', look_up)


@pytest.mark.parametrize(
    ('typed', 'read'),
    [
        ('my_gpu-1.example.:1', [Endpoint('my_gpu-1.example.', 1)]),
        ('10.0.0.1:65535', [Endpoint('10.0.0.1', 65535)]),
        ('[::1]:5', [Endpoint('::1', 5)]),
        ('[fe80::1%eth0]:5', [Endpoint('fe80::1%eth0', 5)]),
        ('ipv4:1.2.3.4:5', [Endpoint('1.2.3.4', 5)]),
        ('ipv6:[::1]:5', [Endpoint('::1', 5)]),
        # These gRPC alone can read.
        ('dns:///gpu:1', []),
        ('dns:gpu', []),
        ('unix:/run/nurec.sock', []),
        ('unix-abstract:nurec', []),
        ('xds:///nurec', []),
    ],
)
def test_one_address_goes_to_grpc_as_typed(monkeypatch, typed, read):
    monkeypatch.delattr(address, 'look_up')
    assert resolve(typed) == Target(typed)
    assert resolve(f' {typed} ,') == Target(typed)
    assert endpoints(typed) == read


SIX = 'server six:2 is left out: it has no IPv4 address and others have'
TWIN = 'server gpu1b:1 is left out: it is the same address as gpu1:1'
NOBODY = 'server nobody:2 is left out: Name or service not known'


@pytest.mark.parametrize(
    ('typed', 'target'),
    [
        (
            'gpu1:46435, gpu2:8080',
            Target('ipv4:10.0.0.1:46435,10.0.0.2:8080,10.0.0.3:8080', 3, 'gpu1'),
        ),
        # In the words of gRPC it goes as typed.
        ('ipv4:10.0.0.1:5,10.0.0.2:5', Target('ipv4:10.0.0.1:5,10.0.0.2:5', 2)),
        # The same address twice is one server.
        ('gpu1:1,gpu1:1', Target('ipv4:10.0.0.1:1', 1, 'gpu1')),
        ('gpu1:1,gpu1:2', Target('ipv4:10.0.0.1:1,10.0.0.1:2', 2, 'gpu1')),
        ('gpu1:1,gpu1b:1', Target('ipv4:10.0.0.1:1', 1, 'gpu1', (TWIN,))),
        # IPv6 only where there is no IPv4.
        ('six:1,[fd00::7]:2', Target('ipv6:[fd00::6]:1,[fd00::7]:2', 2, 'six')),
        ('gpu1:1,six:2', Target('ipv4:10.0.0.1:1', 1, 'gpu1', (SIX,))),
        ('gpu1:1,nobody:2', Target('ipv4:10.0.0.1:1', 1, 'gpu1', (NOBODY,))),
    ],
)
def test_several_are_resolved_to_one_list(names, typed, target):
    assert resolve(typed) == target


@pytest.mark.parametrize('typed', ['ipv4:gpu1:1', 'ipv4:10.0.0.1:1,gpu2:1', 'ipv4:10.0.0:1'])
def test_names_in_a_list_of_numbers_are_refused(typed):
    with pytest.raises(ConfigurationError, match='leave ipv4: away for host names'):
        addresses(typed)


def test_nothing_that_resolves_is_an_error_to_retry(names):
    with pytest.raises(ServerError, match=r'^none of nobody:1,no:2 resolves') as caught:
        resolve('nobody:1,no:2')
    assert caught.value.kind == 'name'


@pytest.mark.parametrize(
    ('typed', 'found'),
    [
        *((typed, typed) for typed in ('', ' , ', 'localhost', 'localhost:', '46435', ':46435')),
        *((f'localhost:{port}', f'localhost:{port}') for port in ('65536', '0', '-1', '\u0661')),
        *((typed, typed) for typed in ('http://host:1', 'a b:1', 'host:1/path')),
        *((typed, typed) for typed in ('::1:46435', '[::1]', '[localhost]:1')),
        # Of a list the first that is none.
        ('a,b:1', 'a'),
        ('a:1,b:x', 'b:x'),
        ('a:1,:2', ':2'),
        ('a:1,b:70000', 'b:70000'),
        ('a:1,dns:///b:1', 'dns:///b:1'),
    ],
)
def test_what_is_no_address_is_refused_at_once(typed, found):
    with pytest.raises(ConfigurationError) as caught:
        addresses(typed)
    assert str(caught.value).startswith(f'server is {found!r}, expected HOST:PORT')
    assert '\n' not in str(caught.value)


def test_real_resolver_knows_loopback():
    assert (V4, '127.0.0.1') in address.look_up('127.0.0.1', 80)


def test_root_certificate(tmp_path):
    assert root_certificate('') is None
    path = tmp_path / 'root.pem'
    path.write_bytes(CERTIFICATE)
    assert root_certificate(str(path)) == CERTIFICATE
    for data in (b'', b'PEM', b'\xff\x00', CERTIFICATE[:200]):
        path.write_bytes(data)
        with pytest.raises(ConfigurationError, match=r'root\.pem holds no certificate in PEM'):
            root_certificate(str(path))
    with pytest.raises(ConfigurationError, match=r'missing\.pem cannot be read: No such file'):
        root_certificate(str(tmp_path / 'missing.pem'))


def test_several_are_read_as_typed():
    found = endpoints('a:1, [::1]:2')
    assert found == [Endpoint('a', 1), Endpoint('::1', 2)]
    assert [str(one) for one in found] == ['a:1', '[::1]:2']
    assert endpoints('ipv6:[::1]:1,[::2]:2') == [Endpoint('::1', 1), Endpoint('::2', 2)]
    with pytest.raises(ConfigurationError, match='expected HOST:PORT'):
        endpoints('a:1,b')
    assert endpoints('ipv4:127.0.0.1') == []


def test_every_number_of_a_server_is_a_place(names):
    assert places('gpu2:5,nobody:1,10.1.1.1:6') == [
        ('gpu2', '10.0.0.2', 5),
        ('gpu2', '10.0.0.3', 5),
        ('gpu2', 'fd00::2', 5),
        ('10.1.1.1', '10.1.1.1', 6),
    ]
    assert places('dns:///gpu2:5') == []


# --- proxies -------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    """Take away what the machine's own environment has of them."""
    ours = ('GRPC_ADDRESS_HTTP_PROXY', 'GRPC_ADDRESS_HTTP_PROXY_ENABLED_ADDRESSES')
    for name in (*PROXY_VARIABLES, *NO_PROXY_VARIABLES, *ours):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def proxy():
    """Return a proxy that connects whoever says CONNECT, and remembers to what."""

    class Connect(socketserver.StreamRequestHandler):
        """Takes the bytes of both ends to the other."""

        rbufsize = 0

        def handle(self):
            place = self.rfile.readline().split()[1].decode()
            while self.rfile.readline().strip():
                pass
            asked.append(place)
            host, _, port = place.rpartition(':')
            with socket.create_connection((host, int(port))) as beyond:
                self.wfile.write(b'HTTP/1.1 200 Connection established\r\n\r\n')
                other = {self.request: beyond, beyond: self.request}
                while True:
                    for ready in select.select(list(other), [], [])[0]:
                        data = ready.recv(65536)
                        if not data:
                            return
                        other[ready].sendall(data)

    asked: list[str] = []
    with socketserver.ThreadingTCPServer(('127.0.0.1', 0), Connect) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f'http://127.0.0.1:{server.server_address[1]}', asked
        server.shutdown()


@pytest.mark.parametrize('name', [*PROXY_VARIABLES, 'all_proxy', 'GRPC_ADDRESS_HTTP_PROXY'])
def test_server_is_reached_as_typed(name, monkeypatch, make_server, make_pipeline, delivered):
    nobody = f'127.0.0.1:{claim_port()}'
    monkeypatch.setenv(name, nobody if name.startswith('GRPC') else f'http://{nobody}')
    monkeypatch.setenv('GRPC_ADDRESS_HTTP_PROXY_ENABLED_ADDRESSES', '127.0.0.1')
    make_pipeline(make_server()).submit(due('wide'), keep=True).result(60)
    assert len(delivered.frames) == 1


def test_proxy_that_is_asked_for_is_used(
    monkeypatch, proxy, make_server, make_pipeline, delivered
):
    server = make_server()
    monkeypatch.setenv('http_proxy', proxy[0])
    pipeline = make_pipeline(server, use_proxy=True)
    pipeline.submit(due('wide'), keep=True).result(60)
    assert len(delivered.frames) == 1
    assert proxy[1] == [server.address]
    pipeline.close(60.0)


def test_proxy_that_is_asked_for_and_away_is_no_matter_of_tls(
    monkeypatch, make_server, make_pipeline, delivered
):
    monkeypatch.setenv('http_proxy', f'http://127.0.0.1:{claim_port()}')
    server = make_server()
    make_pipeline(server, use_proxy=True)
    assert delivered.said('error')[0].startswith(f'cannot reach {server.address}')
    assert not server.calls


def test_channel_without_a_word_about_proxies_takes_none(monkeypatch):
    monkeypatch.setattr(grpc, 'insecure_channel', lambda address, options: dict(options))
    assert channel.open_channel(Target('gpu:1'), None)['grpc.enable_http_proxy'] == 0


def test_list_of_servers_has_no_proxy(make_pipeline):
    with pytest.raises(ConfigurationError, match="use_proxy is true and server is 'a:1,b:2'"):
        make_pipeline('a:1,b:2', use_proxy=True)


@pytest.mark.parametrize(
    ('environment', 'found'),
    [
        ({}, {}),
        ({'HTTP_PROXY': 'http://p:1', 'all_proxy': 'http://p:1', 'https_proxy': ''}, {}),
        ({'no_proxy': 'localhost'}, {}),
        ({'http_proxy': 'http://p:1'}, {'http_proxy': 'http://p:1'}),
        (
            {'http_proxy': 'http://p:1', 'https_proxy': 'http://q:2', 'no_proxy': 'a,b'},
            {'https_proxy': 'http://q:2', 'no_proxy': 'a,b'},
        ),
        (
            {'grpc_proxy': 'http://r:3', 'https_proxy': 'http://q:2', 'no_grpc_proxy': 'c'},
            {'grpc_proxy': 'http://r:3', 'no_grpc_proxy': 'c'},
        ),
        ({'http_proxy': 'http://me:secret@p:1'}, {'http_proxy': 'http://…@p:1'}),
    ],
)
def test_proxies_in_force(environment, found):
    assert proxies_in_force(environment) == found


# --- TLS -----------------------------------------------------------------------------------------

LIMIT_S = 60.0
FAULT = ('the server speaks TLS, and no certificate is given', 'give tls_root_certificate')


@pytest.mark.parametrize('tls', [True, False])
def test_each_of_several_addresses_is_looked_at(make_server, tmp_path, tls):
    """A server that agrees with its client has no fault; the first that has one counts."""
    server = make_server(credentials=server_credentials(tmp_path)[0] if tls else None)
    dead, agrees, differs = (
        ('localhost', '127.0.0.1', claim_port()),
        ('localhost', '127.0.0.1', server.port),
        ('gpu.example', '127.0.0.1', server.port),
    )
    certificate = CERTIFICATE if tls else None
    assert fault_among([dead, agrees], certificate, LIMIT_S) is None
    problem, remedy = fault_among([dead, differs], CERTIFICATE, LIMIT_S)
    assert ('gpu.example' if tls else 'does not speak TLS') in problem
    assert remedy.startswith('type a name that is in' if tls else 'NuRec servers speak plaintext')


def test_the_look_speaks_http2_as_grpc_does(tmp_path):
    """A server that speaks nothing else hangs up on others, with a sentence that misleads."""
    chain = tmp_path / 'server.pem'
    chain.write_bytes(KEY + CERTIFICATE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    context.set_alpn_protocols(['h2'])
    with (
        context.wrap_socket(socket.create_server(('127.0.0.1', 0)), server_side=True) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        accepted = pool.submit(server.accept)
        number, port = server.getsockname()
        assert fault('localhost', number, port, CERTIFICATE, LIMIT_S) is None
        with accepted.result(LIMIT_S)[0] as spoken:
            assert spoken.selected_alpn_protocol() == 'h2'


def test_time_is_for_all_addresses_together(monkeypatch):
    """And silence is no matter of TLS."""
    with socket.create_server(('127.0.0.1', 0)) as listener:
        silent = ('localhost', '127.0.0.1', listener.getsockname()[1])
        assert fault(*silent, CERTIFICATE, 0.05) is None
        assert fault_among([silent, ('localhost', 'no address', 0)], CERTIFICATE, 0.05) is None
        assert fault_among([silent], CERTIFICATE, 0.0) is None
    # What is left of a second is taken.
    monkeypatch.setattr(address, 'fault', lambda *_: FAULT)
    assert fault_among([silent], None, 0.9) == FAULT


# --- when the client looks below gRPC, and what it says then -------------------------------------


def error_of(kind, words='Socket closed'):
    error = ServerError(kind, 'cannot reach gpu:1', 'start it', RECONNECT)
    error.__cause__ = RuntimeError(words)
    return error


@pytest.fixture
def looks(monkeypatch):
    """Stand in for the looks below gRPC."""
    fake = Mock(return_value=FAULT)
    monkeypatch.setattr(address, 'fault_among', fake)
    monkeypatch.setattr(address, 'places', lambda server: [('gpu', '10.0.0.1', 1)])
    monkeypatch.setattr(policy, 'HANDSHAKE_EVERY_S', 3600.0)
    return fake


@pytest.mark.parametrize('kind', ['unreachable', 'tls', 'foreign'])
def test_cause_is_named_and_kept(looks, kind):
    one = TlsCheck('gpu:1', None)
    for words in ('Socket closed', 'Connection refused', 'Socket closed'):
        found = one.explain(error_of(kind, words))
        assert str(found) == f'cannot agree on TLS with gpu:1: {": ".join(FAULT)}'
        assert (found.kind, found.action) == ('tls', RECONNECT)
    assert looks.call_count == 1


def test_what_is_no_matter_of_tls_is_left_alone(looks):
    """Nor is silence one, whatever was found before."""
    one = TlsCheck('gpu:1', None)
    one.explain(error_of('unreachable'))
    kinds = ('starting', 'name', 'service', 'scene', 'timeout', 'closed')
    silence = ('connect timed out', 'Timeout', 'No route to host', 'unreachable')
    errors = [error_of(kind) for kind in kinds]
    errors += [error_of('unreachable', words) for words in silence]
    assert [one.explain(error) for error in errors] == errors
    assert looks.call_count == 1


@pytest.mark.parametrize('anew', ['it worked', 'time went by'])
def test_it_is_looked_anew(looks, monkeypatch, anew):
    """And no fault leaves the error."""
    one = TlsCheck('gpu:1', None)
    if anew == 'time went by':
        monkeypatch.setattr(policy, 'HANDSHAKE_EVERY_S', 0.0)
    one.explain(error_of('unreachable'))
    looks.return_value = None
    if anew == 'it worked':
        one.forget()
    error = error_of('unreachable', 'Connection refused')
    assert one.explain(error) is error
    assert looks.call_count == 2


# --- pipelines and servers -----------------------------------------------------------------------


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
    given = str(root) if client_tls else ''
    pipeline = make_pipeline(server.address, tls_root_certificate=given)
    found = delivered.said('error')[0]
    assert f'cannot agree on TLS with {server.address}: ' in found
    assert said in found
    assert pipeline.status().last_error in found
    assert not pipeline.status().connected


def test_trouble_with_tls_is_looked_into_now_and_then_only(
    make_server, make_pipeline, delivered, tmp_path, monkeypatch
):
    threads = []
    real, real_explain = address.fault_among, TlsCheck.explain

    def count(*arguments):
        threads.append(threading.current_thread().name)
        return real(*arguments)

    monkeypatch.setattr(address, 'fault_among', count)
    monkeypatch.setattr(policy, 'HANDSHAKE_EVERY_S', 3600.0)
    monkeypatch.setitem(policy.DEADLINES, 'await server', 0.01)
    credentials, _ = server_credentials(tmp_path)
    with patch.object(TlsCheck, 'explain', autospec=True, side_effect=real_explain) as tries:
        pipeline = make_pipeline(make_server(credentials=credentials))
        until(lambda: tries.call_count >= 3)
    assert threads == ['nurec-connect']
    assert 'TLS' in pipeline.status().last_error
    assert len(delivered.texts('error')) == 1
