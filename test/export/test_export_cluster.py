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
"""Exports on a Ray cluster: a local one of two workers, against one process."""

from __future__ import annotations

from contextlib import suppress
import importlib.util
import json
import os
from pathlib import Path
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from test.export.conftest import picture
from test.export.test_export_resume import everything
from test.support.archives import build_archive, CAMERAS
from test.support.waiting import PATIENCE_S
import threading

import grpc
from nurec_ros.errors import ConfigurationError
import pytest

RAY = pytest.mark.skipif(
    importlib.util.find_spec('ray') is None, reason="needs Ray: pip install 'nurec_ros[cluster]'"
)
# A cluster for as long as stdin is open; its workers are children of its raylet.
CLUSTER = """
import sys
import ray
for attempt in range(10):
    try:
        found = ray.init(
            num_cpus=2, include_dashboard=False, object_store_memory=80_000_000,
            log_to_driver=False, logging_level='ERROR', _temp_dir=sys.argv[1],
            _node_ip_address='127.0.0.1',
        )
        break
    except Exception as error:
        # It waits for half a minute at most, which a busy machine may need.
        if 'timed out during startup' not in str(error) or attempt == 9:
            raise
        ray.shutdown()
print(found.address_info['gcs_address'], flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope='module')
def folder():
    """Return the folder of a cluster."""
    # Its sockets' paths must be short.
    path = tempfile.mkdtemp(prefix='ray')
    yield Path(path)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope='module')
def cluster(folder):
    """Return the address of a cluster of this machine's, with two workers."""
    process = subprocess.Popen(
        [sys.executable, '-c', CLUSTER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            'RAY_USAGE_STATS_ENABLED': '0',
            # One on this machine's loopback for a moment needs no token.
            'RAY_AUTH_MODE': 'disabled',
            # A node that has to wait for its turn is no dead one: Ray would end it, and with it
            # the process of the tests.
            'RAY_health_check_failure_threshold': '1000',
        },
    )
    address = process.stdout.readline().strip()
    assert address
    yield address
    process.stdin.close()
    process.wait(PATIENCE_S)


@pytest.fixture(scope='module')
def other(tmp_path_factory) -> Path:
    return build_archive(tmp_path_factory.mktemp('other'), 'other.usdz')


@pytest.fixture
def long_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Split bags as they are on the nodes, where nothing is patched."""
    monkeypatch.setattr('nurec_ros.export.part.PART_NS', 10 * 10**9)


def workers(folder: Path) -> list[int]:
    """Return the processes that render a part now, of the cluster of a folder."""
    found = []
    for path in Path('/proc').glob('[0-9]*/cmdline'):
        # Others end meanwhile.
        with suppress(OSError):
            if path.read_bytes().startswith(b'ray::render'):
                raylet = (path.parent / 'stat').read_text().rpartition(')')[2].split()[1]
                if bytes(folder) in Path(f'/proc/{raylet}/cmdline').read_bytes():
                    found.append(int(path.parent.name))
    return found


@RAY
def test_the_result_is_that_of_one_process_even_where_a_worker_is_killed(
    export, long_parts, make_server, cluster, folder, usdz, other
):
    """Two scenarios on two workers; the first that renders dies, and Ray tries again."""
    reached, killed = threading.Event(), threading.Event()

    def render(request, context):
        if len(server.requests()) > 10:
            reached.set()
            # So that there is one to be killed.
            assert killed.wait(PATIENCE_S)
        return picture(request)

    def kill():
        assert reached.wait(PATIENCE_S)
        for process in workers(folder)[:1]:
            os.kill(process, signal.SIGKILL)
            victims.append(process)
        killed.set()

    victims: list[int] = []
    server = make_server(render)
    thread = threading.Thread(target=kill)
    thread.start()
    code, out = export(server, files=[usdz, other], options=['--ray', cluster])
    thread.join()
    assert code == 0
    assert len(victims) == 1
    code, one = export(make_server(), output='one', files=[usdz, other])
    assert code == 0
    assert everything(out) == everything(one)


@RAY
def test_what_failed_is_rendered_with_resume(
    export, long_parts, make_server, cluster, usdz, other, tmp_path, capsys
):
    bad, lost = tmp_path / 'bad.usdz', tmp_path / 'lost.usdz'
    bad.write_bytes(b'no zip')

    def render(request, context):
        if request.frame_start_us % 7 == 0:
            context.abort(grpc.StatusCode.INTERNAL, 'NRenderer.render failed')
        return picture(request)

    options = ['--ray', cluster, '--cameras', CAMERAS[0]]
    code, out = export(make_server(render), files=[lost, usdz, bad, other], options=options)
    assert code == 3
    entries = json.loads((out / 'export.json').read_text())['scenarios']
    by_bag = {entry['bag']: entry for entry in entries}
    assert by_bag['bad']['complete'] is False
    assert 'bad.usdz' in by_bag['bad']['error']
    lacking = len(by_bag['drive']['missing']) + len(by_bag['other']['missing'])
    assert lacking
    assert 'lost.usdz is no file here' in by_bag['lost']['error']
    told, printed = capsys.readouterr()
    for name in ('bad', 'lost'):
        assert (told + printed).count(by_bag[name]['error']) == 1
        assert f'{name}.usdz: not exported\n' in told
    server = make_server()
    options.append('--resume')
    code, out = export(server, files=[usdz, other], options=options)
    assert code == 0
    assert len(server.requests()) == lacking
    code, one = export(
        make_server(), output='one', files=[usdz, other], options=['--cameras', CAMERAS[0]]
    )
    assert code == 0
    for name in ('drive', 'other'):
        assert everything(out / name) == everything(one / name)


@RAY
def test_ctrl_c_leaves_what_one_process_goes_on_with(
    export, long_parts, make_server, cluster, usdz, other, tmp_path
):
    reached, over = threading.Event(), threading.Event()

    def render(request, context):
        if len(server.requests()) > 10:
            reached.set()
            over.wait(PATIENCE_S)
        return picture(request)

    server, output = make_server(render), tmp_path / 'out'
    command = [
        *(sys.executable, '-m', 'nurec_ros.cli.export', usdz, other, '--ray', cluster),
        *('--server', server.address, '--output', output),
        *('-p', 'image_format:=png', '-p', 'resolution_scale:=0.02'),
    ]
    process = subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True)
    assert reached.wait(PATIENCE_S)
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=PATIENCE_S)
    over.set()
    assert process.returncode == 130, printed
    assert f'what is finished stays in {output}, --resume goes on' in printed
    assert printed.endswith('nurec_export: interrupted\n')
    assert 'Traceback' not in printed
    code, out = export(make_server(), files=[usdz, other], options=['--resume'])
    assert code == 0
    code, one = export(make_server(), output='one', files=[usdz, other])
    assert code == 0
    assert everything(out) == everything(one)


def logs(folder: Path) -> dict[Path, bytes]:
    """Return what Ray has written down."""
    return {path: path.read_bytes() for path in folder.glob('session_2*/logs/*') if path.is_file()}


@RAY
def test_mistakes_are_one_sentence(export, cluster, folder, usdz, capsys):
    """In Ray's own logs, too, there is no traceback for a user's mistake."""
    before = logs(folder)
    assert export(options=['--ray', '127.0.0.1:1'])[0] == 1
    printed = capsys.readouterr().err
    assert 'no Ray cluster is at 127.0.0.1:1' in printed
    assert '`ray start --head` begins one' in printed
    assert export(options=['--ray', cluster, '--cameras', 'nope'])[0] == 1
    assert "parameter 'cameras' names 'nope'; expected some of" in capsys.readouterr().err
    # Nobody answers, and none of the attempts need be long.
    code, out = export(options=['--ray', cluster, '--wait', '0'])
    assert code == 1
    told, printed = capsys.readouterr()
    assert printed.count('no server gives frames: ') == 1
    assert told == ''
    (entry,) = json.loads((out / 'export.json').read_text())['scenarios']
    assert entry['complete'] is False
    assert 'Traceback' not in printed
    after = logs(folder)
    assert after
    for path, data in after.items():
        assert b'Traceback' not in data.removeprefix(before.get(path, b'')), path


@RAY
def test_a_token_that_is_lacking_is_one_sentence(cluster, usdz, tmp_path):
    """Ray reads mode and token when it is imported."""
    away = ('RAY_AUTH_TOKEN', 'RAY_AUTH_TOKEN_PATH')
    kept = {name: value for name, value in os.environ.items() if name not in away}
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'nurec_ros.cli.export', usdz, '--ray', cluster),
            *('--output', tmp_path / 'out'),
        ],
        env={**kept, 'HOME': str(tmp_path), 'RAY_AUTH_MODE': 'token'},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, '')
    (line,) = done.stderr.splitlines()
    assert line.startswith(f'nurec_export: no token for the Ray cluster at {cluster}: ')
    assert 'set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to what `ray get-auth-token` prints' in line
    assert not (tmp_path / 'out').exists()


@RAY
@pytest.mark.parametrize('known', [True, False], ids=['now', 'before 2.52'])
def test_a_cluster_that_lets_nobody_in_is_one_sentence(monkeypatch, known):
    """As it does where a token is wrong; Ray has not always had an error for that."""
    from nurec_ros.export import cluster
    import ray

    if not known:
        monkeypatch.delattr('ray.exceptions.AuthenticationError', raising=False)

    def refuse(**_):
        raise ConnectionError('Failed to connect to Ray cluster')

    monkeypatch.setattr(ray, 'init', refuse)
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ConfigurationError) as caught:
            cluster._connect(f'127.0.0.1:{port}')
    words = str(caught.value)
    assert words.startswith(f'the Ray cluster at 127.0.0.1:{port} does not let this command in: ')
    assert 'if it has a token, set RAY_AUTH_MODE=token' in words


@RAY
def test_a_part_that_got_no_frames_is_given_again(
    export, long_parts, make_server, cluster, usdz, tmp_path, monkeypatch
):
    from nurec_ros.export import cluster as on_cluster

    real, tried = on_cluster.render, tmp_path / 'tried'

    def render(wishes, path, number):
        """Find no server at first; on the nodes."""
        with tried.open('a') as file:
            file.write('.')
        if tried.stat().st_size < 3:
            return on_cluster.Told(early='no server gives frames: away')
        return real(wishes, path, number)

    monkeypatch.setattr(on_cluster, 'render', render)
    code, out = export(make_server(), options=['--ray', cluster])
    assert code == 0
    assert tried.stat().st_size == 3
    (entry,) = json.loads((out / 'export.json').read_text())['scenarios']
    assert (entry['complete'], entry['missing']) == (True, [])


def test_without_ray_it_says_what_to_install(export, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'ray', None)
    assert export(options=['--ray', 'auto'])[0] == 1
    assert (
        "needs ray, which is not installed: pip install 'nurec_ros[cluster]'"
        in capsys.readouterr().err
    )
