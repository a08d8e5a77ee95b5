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
"""Servers and clients that cannot agree on TLS, told apart below gRPC."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
import socket
from test.rendering.conftest import due, eventually
from test.rendering.tls import CERTIFICATE, server_credentials
from test.support.ports import claim_port
import threading

import grpc
from nurec_ros.errors import ConfigurationError
from nurec_ros.rendering import address, policy
from nurec_ros.rendering.address import fault, fault_among, TlsCheck
from nurec_ros.rendering.server_errors import RECONNECT, ServerError
import pytest

LIMIT_S = 60.0


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Let a look below gRPC have its time: it is never repeated within the grace."""
    monkeypatch.setattr(address, 'TIMEOUT_S', LIMIT_S)
    monkeypatch.setattr(policy, 'HANDSHAKE_S', LIMIT_S)


@pytest.fixture(params=[True, False], ids=['tls', 'plain'])
def port(request, tmp_path):
    """Return the port of a server, and whether it speaks TLS (as localhost)."""
    server = grpc.server(ThreadPoolExecutor(1))
    address = f'127.0.0.1:{claim_port()}'
    if request.param:
        found = server.add_secure_port(address, server_credentials(tmp_path)[0])
    else:
        found = server.add_insecure_port(address)
    server.start()
    yield found, request.param
    server.stop(None).wait(20.0)


def test_each_way_to_disagree(port):
    number, tls = port

    def of(host, certificate):
        return fault(host, '127.0.0.1', number, certificate, LIMIT_S)

    if tls:
        assert of('localhost', CERTIFICATE) is None
        problem, remedy = of('gpu.example', CERTIFICATE) or ('', '')
        assert 'gpu.example' in problem
        assert remedy.startswith('type a name that is in the certificate')
        problem, remedy = of('localhost', None) or ('', '')
        assert problem == 'the server speaks TLS, and no certificate is given'
        assert remedy.startswith('give tls_root_certificate: the PEM file of the root')
    else:
        assert of('localhost', None) is None
        problem, remedy = of('localhost', CERTIFICATE) or ('', '')
        assert problem == 'a TLS certificate is given, but the server does not speak TLS'
        assert remedy.startswith('NuRec servers speak plaintext unless a proxy adds TLS: leave')


@pytest.mark.parametrize('certificate', [None, CERTIFICATE])
def test_port_where_nothing_listens_is_no_matter_of_tls(certificate):
    assert fault('localhost', '127.0.0.1', claim_port(), certificate, LIMIT_S) is None


def test_silence_is_no_matter_of_tls():
    with socket.create_server(('127.0.0.1', 0)) as listener:
        port = listener.getsockname()[1]
        assert fault('localhost', '127.0.0.1', port, CERTIFICATE, 0.05) is None


def test_first_fault_of_several_addresses_counts(port):
    number, tls = port
    wrong = None if tls else CERTIFICATE
    dead = ('localhost', '127.0.0.1', claim_port())
    assert fault_among([dead], wrong, LIMIT_S) is None
    found = fault_among([dead, ('localhost', '127.0.0.1', number)], wrong, LIMIT_S)
    assert found is not None
    assert 'TLS' in found[0]


def test_what_is_left_of_a_second_is_taken(monkeypatch):
    monkeypatch.setattr(address, 'fault', lambda *_: FAULT)
    assert fault_among([('localhost', '127.0.0.1', 1)], None, 0.9) == FAULT


def test_time_is_for_all_addresses_together():
    with socket.create_server(('127.0.0.1', 0)) as listener:
        silent = ('localhost', '127.0.0.1', listener.getsockname()[1])
        listener.settimeout(LIMIT_S)
        assert fault_among([silent, ('localhost', 'no address', 0)], CERTIFICATE, 0.05) is None
        assert fault_among([silent], CERTIFICATE, 0.0) is None


# --- when the client looks below gRPC, and what it says then -------------------------------------

FAULT = ('the server speaks TLS, and no certificate is given', 'give tls_root_certificate')


def error_of(kind, words='Socket closed'):
    error = ServerError(kind, 'cannot reach gpu:1', 'start it', RECONNECT)
    error.__cause__ = RuntimeError(words)
    return error


class Looks:
    """Stands in for the looks below gRPC."""

    def __init__(self):
        self.found: tuple[str, str] | None = FAULT
        self.count = 0

    def __call__(self, places, certificate, timeout_s):
        self.count += 1
        return self.found


@pytest.fixture
def looks(monkeypatch):
    fake = Looks()
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
    assert looks.count == 1


def test_other_errors_are_left_alone(looks):
    for kind in ('starting', 'name', 'service', 'scene', 'timeout', 'closed'):
        error = error_of(kind)
        assert TlsCheck('gpu:1', None).explain(error) is error
    assert looks.count == 0


@pytest.mark.parametrize(
    'words', ['connect timed out', 'Timeout', 'No route to host', 'unreachable']
)
def test_silence_is_not_looked_into(looks, words):
    one = TlsCheck('gpu:1', None)
    one.explain(error_of('unreachable'))
    error = error_of('unreachable', words)
    assert one.explain(error) is error
    assert looks.count == 1


def test_no_fault_leaves_the_error(looks):
    looks.found = None
    error = error_of('unreachable', 'Connection refused')
    assert TlsCheck('gpu:1', None).explain(error) is error


def test_after_it_worked_it_is_looked_anew(looks):
    one = TlsCheck('gpu:1', None)
    one.explain(error_of('unreachable'))
    looks.found = None
    one.forget()
    error = error_of('unreachable')
    assert one.explain(error) is error
    assert looks.count == 2


def test_looks_are_repeated_in_time(looks, monkeypatch):
    monkeypatch.setattr(policy, 'HANDSHAKE_EVERY_S', 0.0)
    one = TlsCheck('gpu:1', None)
    one.explain(error_of('unreachable'))
    looks.found = None
    error = error_of('unreachable')
    assert one.explain(error) is error


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
    pipeline = make_pipeline(f'127.0.0.1:{server.port}', tls_root_certificate=given)
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
