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
"""Servers and probes that cannot agree on TLS, each told apart."""

from concurrent.futures import ThreadPoolExecutor
from test.preview.preview_client import serve
from test.probe.probe_reports import failed, stage, unserved
from test.rendering.tls import server_credentials

import grpc
from nurec_ros.rendering import tls
import pytest


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    monkeypatch.setattr(tls, 'TIMEOUT_S', 60.0)


@pytest.fixture
def guarded(tmp_path):
    """Give the port of a server that speaks TLS as localhost, and its certificate's file."""
    credentials, path = server_credentials(tmp_path)
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_secure_port('127.0.0.1:0', credentials)
    server.start()
    yield port, str(path)
    server.stop(None).wait(20.0)


@pytest.mark.usefixtures('no_channel')
def test_a_certificate_against_a_plaintext_server(scenario, tmp_path):
    _, path = server_credentials(tmp_path)
    with serve(scenario) as server:
        report = unserved(
            scenario, server.address, tmp_path, tls_root_certificate=str(path), timeout_s=60.0
        )
    assert failed(report) == ['channel']
    found = stage(report, 'channel', 'fail')
    assert found.message == 'a TLS certificate is given, but the server does not speak TLS'
    assert 'leave tls_root_certificate empty' in found.remedy


@pytest.mark.usefixtures('no_channel')
def test_no_certificate_against_a_server_of_tls(scenario, guarded, tmp_path):
    report = unserved(scenario, f'127.0.0.1:{guarded[0]}', tmp_path, timeout_s=60.0)
    assert failed(report) == ['channel']
    found = stage(report, 'channel', 'fail')
    assert found.message == 'the server speaks TLS, and no certificate is given'
    assert 'tls_root_certificate' in found.remedy


@pytest.mark.usefixtures('no_channel')
def test_a_certificate_for_another_name(scenario, guarded, tmp_path):
    port, path = guarded
    report = unserved(
        scenario, f'127.0.0.1:{port}', tmp_path, tls_root_certificate=path, timeout_s=60.0
    )
    assert failed(report) == ['channel']
    found = stage(report, 'channel', 'fail')
    assert "not valid for '127.0.0.1'" in found.message
    assert 'type a name that is in the certificate' in found.remedy


def test_the_right_name_connects(scenario, guarded, tmp_path):
    port, path = guarded
    report = unserved(
        scenario, f'localhost:{port}', tmp_path, tls_root_certificate=path, timeout_s=60.0
    )
    # It has no services at all, which is another matter.
    assert failed(report) == ['service']
