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
"""What is below gRPC: names, numbers, ports that listen, refuse or stay silent."""

import socket
from test.support.ports import claim_port

from nurec_ros.probe import network
from nurec_ros.probe.network import connect, resolve
from nurec_ros.rendering.address import Endpoint
import pytest


@pytest.fixture
def listener():
    """Give the port of something that accepts connections."""
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.fixture
def closed_port():
    """Give a port where nothing listens."""
    return claim_port()


@pytest.mark.parametrize('text', ['', 'localhost', ':46435', 'a:0', 'a:70000', '::1:5', 'a:1,b'])
def test_an_address_without_host_or_port_fails_with_the_remedy(text):
    stage, resolved = resolve(text, 5.0)
    assert (stage.name, stage.status) == ('resolve', 'fail')
    assert 'expected HOST:PORT' in stage.message
    assert '46435' in stage.remedy
    assert not resolved


def test_an_address_in_grpc_own_syntax_is_left_to_grpc():
    stage, resolved = resolve('dns:///localhost:1', 5.0)
    assert stage.status == 'note'
    assert not resolved


def test_a_number_resolves_to_itself():
    stage, resolved = resolve('127.0.0.1:5', 5.0)
    assert stage.status == 'pass'
    assert resolved == [(Endpoint('127.0.0.1', 5), ['127.0.0.1'])]
    assert stage.details['addresses'] == {'127.0.0.1:5': ['127.0.0.1']}


def test_an_unknown_name_is_named():
    stage, resolved = resolve('no.such.host.invalid:5', 5.0)
    assert stage.status == 'fail'
    assert 'no.such.host.invalid is unknown' in stage.message
    assert 'spelling' in stage.remedy
    assert not resolved


def test_a_silent_name_service_ends_by_the_time_limit(monkeypatch):
    released = network.threading.Event()
    monkeypatch.setattr(network.socket, 'getaddrinfo', lambda *_, **__: released.wait(20.0) and [])
    stage, _ = resolve('nurec:5', 0.05)
    released.set()
    assert stage.status == 'fail'
    assert 'silent' in stage.message


def test_a_port_that_listens_passes(listener):
    stage, reachable = connect([(Endpoint('127.0.0.1', listener), ['127.0.0.1'])], 5.0)
    assert reachable
    assert stage.status == 'pass'
    assert str(listener) in stage.message
    assert stage.latency_s > 0.0


def test_a_port_where_nothing_listens_asks_for_the_container(closed_port):
    stage, reachable = connect([(Endpoint('127.0.0.1', closed_port), ['127.0.0.1'])], 5.0)
    assert not reachable
    assert stage.status == 'fail'
    assert f'cannot reach 127.0.0.1:{closed_port}' in stage.message
    assert 'refused' in stage.message
    assert 'is the NuRec container running and is its port published' in stage.remedy


def test_one_of_a_name_s_numbers_is_enough(listener):
    stage, reachable = connect([(Endpoint('localhost', listener), ['::1', '127.0.0.1'])], 5.0)
    assert reachable
    assert stage.status == 'pass'


def test_a_dead_address_of_a_list_fails_though_the_rest_is_tried(listener, closed_port):
    stage, reachable = connect(
        [
            (Endpoint('127.0.0.1', closed_port), ['127.0.0.1']),
            (Endpoint('127.0.0.1', listener), ['127.0.0.1']),
        ],
        5.0,
    )
    assert reachable
    assert stage.status == 'fail'
    assert str(closed_port) in stage.message


def test_lost_packets_point_to_the_network(monkeypatch):
    def silent(*_, **__):
        raise TimeoutError('timed out')

    monkeypatch.setattr(network.socket, 'create_connection', silent)
    stage, reachable = connect([(Endpoint('10.1.2.3', 46435), ['10.1.2.3'])], 5.0)
    assert not reachable
    assert 'no answer' in stage.message
    assert 'firewall' in stage.remedy
