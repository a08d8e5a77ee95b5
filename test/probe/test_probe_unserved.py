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
"""The probe where no render server answers, and with options that cannot be honoured."""

from dataclasses import replace
import http.server
import socket
from test.preview.preview_client import serve
from test.probe.probe_reports import failed, stage, status, unserved
from test.support.ports import claim_port
import threading

from nurec_ros.errors import ConfigurationError
from nurec_ros.preview.behaviour import Behaviour
import pytest


def test_nothing_listens(scenario, tmp_path):
    report = unserved(scenario, f'127.0.0.1:{claim_port()}', tmp_path)
    assert failed(report) == ['tcp']
    assert 'is the NuRec container running' in stage(report, 'tcp', 'fail').remedy
    assert {s.status for s in report.stages[2:]} == {'skip'}
    assert not (tmp_path / 'out').exists()


def test_a_name_that_nobody_knows(scenario, tmp_path):
    report = unserved(scenario, 'no.such.host.invalid:46435', tmp_path)
    assert failed(report) == ['resolve']


def test_a_port_that_accepts_and_stays_silent(scenario, tmp_path):
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        one.listen()
        address = f'127.0.0.1:{one.getsockname()[1]}'
        report = unserved(scenario, address, tmp_path, timeout_s=2.0)
    assert failed(report) == ['channel']
    assert 'does not speak gRPC' in stage(report, 'channel', 'fail').remedy


@pytest.mark.usefixtures('no_channel')
def test_a_web_server(scenario, tmp_path):
    web = http.server.HTTPServer(('127.0.0.1', 0), http.server.BaseHTTPRequestHandler)
    thread = threading.Thread(target=web.serve_forever, kwargs={'poll_interval': 0.02})
    thread.start()
    try:
        address = f'127.0.0.1:{web.server_port}'
        report = unserved(scenario, address, tmp_path)
    finally:
        web.shutdown()
        web.server_close()
        thread.join(20.0)
    assert failed(report) == ['channel']


def test_a_grpc_server_that_is_no_renderer(scenario, tmp_path):
    server = serve(scenario, behaviour=Behaviour(service_prefix='greeter.Greeter', api='v1'))
    with server:
        report = unserved(scenario, server.address, tmp_path)
    assert failed(report) == ['service']
    assert status(report, 'health') == {'note'}


@pytest.mark.usefixtures('at_any_pace')
def test_one_dead_address_of_two(scenario, tmp_path):
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        dead = f'127.0.0.1:{one.getsockname()[1]}'
        with serve(scenario) as server:
            report = unserved(scenario, f'{dead},{server.address}', tmp_path)
    assert failed(report) == ['tcp']
    assert dead in stage(report, 'tcp', 'fail').message
    assert status(report, 'render') == {'pass'}
    assert not report.ok


def test_two_living_addresses(scenario, tmp_path):
    with serve(scenario) as first, serve(scenario) as second:
        report = unserved(scenario, f'{first.address},{second.address}', tmp_path)
        assert report.ok
        assert first.frames + second.frames == 6


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'cameras': ('camera_x',)}, "cameras names 'camera_x', expected some of camera_front"),
        ({'scale': 0.0}, 'resolution_scale'),
        ({'tls_root_certificate': '/no/such.pem'}, '/no/such.pem'),
        ({'tls_root_certificate': __file__}, 'holds no certificate in PEM format'),
    ],
)
def test_bad_options_are_refused_before_anything_is_asked(scenario, tmp_path, options, words):
    with pytest.raises(ConfigurationError, match=words):
        unserved(scenario, '127.0.0.1:1', tmp_path, **options)


def test_a_scene_without_a_camera_model_is_refused(scenario, tmp_path):
    bare = {name: replace(camera, model=None) for name, camera in scenario.cameras.items()}
    with pytest.raises(ConfigurationError, match='no camera that can be rendered'):
        unserved(replace(scenario, cameras=bare), '127.0.0.1:1', tmp_path)


def test_a_folder_that_cannot_be_made_is_named(scenario, tmp_path):
    (tmp_path / 'out').write_text('')
    with pytest.raises(ConfigurationError, match='out cannot be written'):
        # Nothing listens there: it is found before anything is asked.
        unserved(scenario, '127.0.0.1:1', tmp_path)


def test_numbers_in_the_syntax_of_grpc_are_tried_by_tcp(scenario, tmp_path):
    with serve(scenario) as server:
        report = unserved(scenario, f'ipv4:{server.address}', tmp_path)
    assert report.ok
    assert stage(report, 'tcp', 'pass').latency_s > 0.0


@pytest.mark.usefixtures('no_channel')
def test_what_is_left_to_grpc_keeps_the_order_of_stages(scenario, tmp_path):
    report = unserved(scenario, f'unix:{tmp_path / "none.sock"}', tmp_path)
    assert [s.name for s in report.stages][:3] == ['resolve', 'tcp', 'channel']
    assert stage(report, 'tcp', 'note').message == 'left to gRPC, as the address is'
    assert failed(report) == ['channel']
    assert 'not tried, because channel failed' in stage(report, 'render', 'skip').message
