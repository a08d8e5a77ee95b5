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

import socket
from test.rendering.conftest import due
from test.rendering.fake_server import CERTIFICATE, server_credentials
from test.support.ports import claim_port
from test.support.waiting import until
import threading

from nurec_ros.rendering import address, policy
from nurec_ros.rendering.address import fault, fault_among, TlsCheck
from nurec_ros.rendering.server_errors import RECONNECT, ServerError
import pytest

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


def test_silence_is_not_looked_into(looks):
    one = TlsCheck('gpu:1', None)
    one.explain(error_of('unreachable'))
    for words in ('connect timed out', 'Timeout', 'No route to host', 'unreachable'):
        error = error_of('unreachable', words)
        assert one.explain(error) is error
    assert looks.count == 1


@pytest.mark.parametrize('anew', ['it worked', 'time went by'])
def test_it_is_looked_anew(looks, monkeypatch, anew):
    """And no fault leaves the error."""
    one = TlsCheck('gpu:1', None)
    if anew == 'time went by':
        monkeypatch.setattr(policy, 'HANDSHAKE_EVERY_S', 0.0)
    one.explain(error_of('unreachable'))
    looks.found = None
    if anew == 'it worked':
        one.forget()
    error = error_of('unreachable', 'Connection refused')
    assert one.explain(error) is error
    assert looks.count == 2


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
    delivered.wait(lambda: bool(delivered.texts('error')))
    found = delivered.texts('error')[0]
    assert f'cannot agree on TLS with {server.address}: ' in found
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
    monkeypatch.setitem(policy.DEADLINES, 'await server', 0.01)
    credentials, _ = server_credentials(tmp_path)
    pipeline = make_pipeline(make_server(credentials=credentials))
    delivered.wait(lambda: bool(delivered.texts('error')))
    tries = []
    real_explain = address.TlsCheck.explain

    def explain(self, error):
        tries.append(error)
        return real_explain(self, error)

    monkeypatch.setattr(address.TlsCheck, 'explain', explain)
    until(lambda: len(tries) >= 2)
    assert looks == ['nurec-connect']
    assert 'TLS' in pipeline.status().last_error
    assert len(delivered.texts('error')) == 1
