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
"""Proxies that the environment names: a server is reached as typed, unless one is asked for."""

from __future__ import annotations

import select
import socket
import socketserver
from test.rendering.conftest import due
from test.support.ports import claim_port
import threading

from nurec_ros.errors import ConfigurationError
from nurec_ros.rendering.address import Target
from nurec_ros.rendering.channel import (
    NO_PROXY_VARIABLES,
    open_channel,
    proxies_in_force,
    PROXY_VARIABLES,
)
import pytest

ADDRESS_PROXY_VARIABLES = (
    'GRPC_ADDRESS_HTTP_PROXY',
    'GRPC_ADDRESS_HTTP_PROXY_ENABLED_ADDRESSES',
)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    """Take away what the machine's own environment has of them."""
    for name in (*PROXY_VARIABLES, *NO_PROXY_VARIABLES, *ADDRESS_PROXY_VARIABLES):
        monkeypatch.delenv(name, raising=False)


class _Proxy(socketserver.ThreadingTCPServer):
    """Connects whoever says CONNECT, and remembers to what."""

    daemon_threads = True
    asked: list[str]


class _Connect(socketserver.BaseRequestHandler):
    """A proxy that connects on."""

    def handle(self):
        head = b''
        while b'\r\n\r\n' not in head:
            more = self.request.recv(4096)
            if not more:
                return
            head += more
        place = head.split()[1].decode()
        assert isinstance(self.server, _Proxy)
        self.server.asked.append(place)
        host, _, port = place.rpartition(':')
        with socket.create_connection((host, int(port))) as beyond:
            self.request.sendall(b'HTTP/1.1 200 Connection established\r\n\r\n')
            other = {self.request: beyond, beyond: self.request}
            while True:
                for ready in select.select(list(other), [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    other[ready].sendall(data)


@pytest.fixture
def proxy():
    server = _Proxy(('127.0.0.1', 0), _Connect)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


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
    monkeypatch.setenv('http_proxy', f'http://127.0.0.1:{proxy.server_address[1]}')
    pipeline = make_pipeline(server, use_proxy=True)
    pipeline.submit(due('wide'), keep=True).result(60)
    assert len(delivered.frames) == 1
    assert proxy.asked == [server.address]
    pipeline.close(60.0)


def test_proxy_that_is_asked_for_and_away_is_no_matter_of_tls(
    monkeypatch, make_server, make_pipeline, delivered
):
    monkeypatch.setenv('http_proxy', f'http://127.0.0.1:{claim_port()}')
    server = make_server()
    make_pipeline(server, use_proxy=True)
    delivered.wait(lambda: bool(delivered.texts('error')))
    assert delivered.texts('error')[0].startswith(f'cannot reach {server.address}')
    assert not server.calls


def test_list_of_servers_has_no_proxy(make_pipeline):
    with pytest.raises(ConfigurationError, match="use_proxy is true and server is 'a:1,b:2'"):
        make_pipeline('a:1,b:2', use_proxy=True)


def test_channel_without_a_word_about_proxies_takes_none(monkeypatch, make_server):
    monkeypatch.setenv('grpc_proxy', f'http://127.0.0.1:{claim_port()}')
    server = make_server()
    channel = open_channel(Target(server.address), None)
    try:
        channel.unary_unary(f'/{"nre.grpc.protos.sensorsim.SensorsimService"}/get_version')(
            b'', timeout=60
        )
    finally:
        channel.close()
    assert server.methods() == ['get_version']


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
