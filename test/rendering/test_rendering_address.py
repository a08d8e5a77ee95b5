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
"""From what is typed as `server` to gRPC's target, with a resolver that knows no network."""

import socket
from test.rendering.tls import CERTIFICATE

from nurec_ros.errors import ConfigurationError
from nurec_ros.rendering import address, channel
from nurec_ros.rendering.address import (
    addresses,
    check_proxy,
    Endpoint,
    endpoints,
    places,
    resolve,
    root_certificate,
    Target,
)
from nurec_ros.rendering.server_errors import ServerError
import pytest

V4, V6 = socket.AF_INET, socket.AF_INET6
NAMES = {
    'gpu1': [(V4, '10.0.0.1')],
    'gpu2': [(V4, '10.0.0.2'), (V4, '10.0.0.3'), (V6, 'fd00::2')],
    'six': [(V6, 'fd00::6')],
    '10.1.1.1': [(V4, '10.1.1.1')],
    'fd00::7': [(V6, 'fd00::7')],
}


def resolver(host, port):
    if host not in NAMES:
        raise socket.gaierror(-2, 'Name or service not known')
    return NAMES[host]


@pytest.mark.parametrize(
    'typed',
    [
        'localhost:46435',
        'my_gpu-1.example.:1',
        '10.0.0.1:65535',
        'dns:///gpu:1',
        'dns:gpu',
        'unix:/run/nurec.sock',
        'unix-abstract:nurec',
        'xds:///nurec',
        '[::1]:5',
        '[fe80::1%eth0]:5',
        'ipv6:[::1]:5',
        'ipv4:1.2.3.4:5',
    ],
)
def test_one_address_goes_to_grpc_as_typed(typed):
    def fail(host, port):
        raise AssertionError('one address is not resolved by us')

    assert resolve(typed, fail) == Target(typed)
    assert resolve(f' {typed} ,', fail) == Target(typed)


def test_several_are_resolved_to_one_ipv4_list():
    assert resolve('gpu1:46435, gpu2:8080', resolver) == Target(
        'ipv4:10.0.0.1:46435,10.0.0.2:8080,10.0.0.3:8080', 3, 'gpu1'
    )


def test_list_in_the_words_of_grpc_goes_as_typed():
    typed = 'ipv4:10.0.0.1:5,10.0.0.2:5'
    assert resolve(typed, resolver) == Target(typed, 2)
    assert len(addresses(typed)) == 2


def test_same_address_twice_is_one_server():
    assert resolve('gpu1:1,gpu1:1', resolver).servers == 1
    assert resolve('gpu1:1,gpu1:2', resolver).servers == 2


def test_ipv6_where_there_is_no_ipv4():
    assert resolve('six:1,[fd00::7]:2', resolver) == Target(
        'ipv6:[fd00::6]:1,[fd00::7]:2', 2, 'six'
    )


def test_ipv6_only_host_among_others_is_left_out_and_named():
    found = resolve('gpu1:1,six:2', resolver)
    assert found.address == 'ipv4:10.0.0.1:1'
    assert found.notes == ('server six:2 is left out: it has no IPv4 address and others have',)


def test_another_name_of_the_same_address_is_left_out_and_named():
    found = resolve('gpu1:1,twin:1', lambda *_: NAMES['gpu1'])
    assert found == Target(
        'ipv4:10.0.0.1:1',
        1,
        'gpu1',
        ('server twin:1 is left out: it is the same address as gpu1:1',),
    )


@pytest.mark.parametrize('typed', ['ipv4:gpu1:1', 'ipv4:10.0.0.1:1,gpu2:1', 'ipv4:10.0.0:1'])
def test_names_in_a_list_of_numbers_are_refused(typed):
    with pytest.raises(ConfigurationError, match='leave ipv4: away for host names'):
        addresses(typed)


def test_host_that_does_not_resolve_is_left_out_and_named():
    found = resolve('gpu1:1,nobody:2', resolver)
    assert found.address == 'ipv4:10.0.0.1:1'
    assert found.notes == ('server nobody:2 is left out: Name or service not known',)


def test_nothing_that_resolves_is_an_error_to_retry():
    with pytest.raises(ServerError, match=r'^none of nobody:1,no:2 resolves') as caught:
        resolve('nobody:1,no:2', resolver)
    assert caught.value.kind == 'name'


@pytest.mark.parametrize(
    ('typed', 'found'),
    [
        ('', ''),
        (' , ', ' , '),
        ('localhost', 'localhost'),
        ('localhost:', 'localhost:'),
        ('localhost:65536', 'localhost:65536'),
        ('localhost:0', 'localhost:0'),
        ('localhost:-1', 'localhost:-1'),
        ('localhost:\u0661', 'localhost:\u0661'),
        ('http://host:1', 'http://host:1'),
        ('46435', '46435'),
        (':46435', ':46435'),
        ('a b:1', 'a b:1'),
        ('host:1/path', 'host:1/path'),
        ('::1:46435', '::1:46435'),
        ('[::1]', '[::1]'),
        ('[localhost]:1', '[localhost]:1'),
        ('a,b:1', 'a'),
        ('a:1,b:', 'b:'),
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


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('localhost:46435', [Endpoint('localhost', 46435)]),
        ('10.0.0.1:1', [Endpoint('10.0.0.1', 1)]),
        ('[::1]:50051', [Endpoint('::1', 50051)]),
        ('a:1, b:2', [Endpoint('a', 1), Endpoint('b', 2)]),
        ('dns:///nurec:46435', []),
        ('unix:/run/nurec.sock', []),
        ('ipv4:127.0.0.1:46435', [Endpoint('127.0.0.1', 46435)]),
        ('ipv6:[::1]:1,[::2]:2', [Endpoint('::1', 1), Endpoint('::2', 2)]),
        ('ipv4:127.0.0.1', []),
    ],
)
def test_addresses_are_read_as_typed(text, expected):
    assert endpoints(text) == expected


@pytest.mark.parametrize('text', ['', 'localhost', 'a:0', '::1:5', 'a:1,b'])
def test_addresses_that_are_none_have_no_end(text):
    with pytest.raises(ConfigurationError, match='expected HOST:PORT'):
        endpoints(text)


def test_address_is_written_as_it_is_typed():
    assert [str(one) for one in endpoints('a:1,[::1]:2')] == ['a:1', '[::1]:2']


def test_every_number_of_a_server_is_a_place():
    assert places('gpu2:5,nobody:1,10.1.1.1:6', resolver) == [
        ('gpu2', '10.0.0.2', 5),
        ('gpu2', '10.0.0.3', 5),
        ('gpu2', 'fd00::2', 5),
        ('10.1.1.1', '10.1.1.1', 6),
    ]
    assert places('dns:///gpu2:5', resolver) == []


def test_proxy_serves_one_address_only():
    check_proxy('gpu:1,gpu:2', False)
    check_proxy('gpu:1', True)
    with pytest.raises(ConfigurationError, match='expected one address'):
        check_proxy('gpu:1,gpu:2', True)


class _Grpc:
    """Writes down how a channel is opened."""

    def insecure_channel(self, address, options):
        self.address, self.options, self.credentials = address, dict(options), None
        return 'plain'

    def ssl_channel_credentials(self, certificate):
        return ('tls', certificate)

    def secure_channel(self, address, credentials, options):
        self.address, self.options, self.credentials = address, dict(options), credentials
        return 'secure'


@pytest.fixture
def grpc(monkeypatch):
    fake = _Grpc()
    monkeypatch.setattr(channel, 'grpc', fake)
    return fake


def test_channel_to_one_server(grpc):
    assert channel.open_channel(Target('gpu:1'), None) == 'plain'
    assert grpc.address == 'gpu:1'
    assert grpc.options['grpc.max_receive_message_length'] == 256 << 20
    assert 'grpc.service_config' not in grpc.options
    assert 'grpc.ssl_target_name_override' not in grpc.options


def test_channel_to_a_list_is_balanced_in_turn(grpc):
    channel.open_channel(resolve('gpu1:1,gpu2:2', resolver), None)
    assert 'round_robin' in grpc.options['grpc.service_config']
    assert 'grpc.ssl_target_name_override' not in grpc.options


def test_tls_to_one_server_checks_the_name_that_was_typed(grpc):
    assert channel.open_channel(Target('gpu:1'), b'PEM') == 'secure'
    assert grpc.credentials == ('tls', b'PEM')
    assert 'grpc.ssl_target_name_override' not in grpc.options


def test_tls_to_a_list_checks_the_first_name_that_was_typed(grpc):
    channel.open_channel(resolve('gpu1:1,gpu2:2', resolver), b'PEM')
    assert grpc.options['grpc.ssl_target_name_override'] == 'gpu1'
