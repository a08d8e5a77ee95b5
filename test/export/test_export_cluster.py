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
"""Exports on a Ray cluster: a local one of one worker, against one process."""

from __future__ import annotations

from contextlib import redirect_stderr
import importlib.util
from io import StringIO
import json
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
import tempfile
from test.export.conftest import handlers_kept, picture, run_command
from test.export.test_export_bags import frame_times
from test.export.test_export_resume import everything
from test.support.archives import build_archive
from test.support.waiting import PATIENCE_S
import threading
from typing import Any

import grpc
from nurec_ros.export.wishes import Wishes
import pytest

HAS_RAY = importlib.util.find_spec('ray') is not None
RAY = pytest.mark.skipif(not HAS_RAY, reason="needs Ray: pip install 'nurec_ros[cluster]'")
if HAS_RAY:
    from nurec_ros.export import cluster as on_cluster
# A cluster for as long as stdin is open; its workers are children of its raylet.
CLUSTER = """
import sys
import ray
for attempt in range(10):
    try:
        found = ray.init(
            num_cpus=1, include_dashboard=False, object_store_memory=80_000_000,
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
    """Return the address of a cluster of this machine's, with one worker at a time."""
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
            # Workers for no job, which none of these gets.
            'RAY_prestart_worker_first_driver': '0',
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


def logs(folder: Path) -> dict[Path, bytes]:
    """Return what Ray has written down."""
    return {path: path.read_bytes() for path in folder.glob('session_2*/logs/*') if path.is_file()}


def entries_of(folder: Path) -> dict[str, Any]:
    """Return what export.json says, by bag."""
    entries = json.loads((folder / 'export.json').read_text())['scenarios']
    return {entry['bag']: entry for entry in entries}


@pytest.fixture(scope='module')
def interrupted(make_servers, cluster, usdz, other, tmp_path_factory):
    """Return the folder of an export on the cluster that got a Ctrl-C, its end, what it said."""
    reached, over = threading.Event(), threading.Event()

    def render(request, context):
        if len(server.requests()) > 10:
            reached.set()
            over.wait(PATIENCE_S)
        return picture(request)

    def interrupt():
        assert reached.wait(PATIENCE_S)
        os.kill(os.getpid(), signal.SIGINT)

    server, output = make_servers(render), tmp_path_factory.mktemp('interrupted') / 'out'
    thread = threading.Thread(target=interrupt)
    thread.start()
    with handlers_kept(), redirect_stderr(StringIO()) as printed:
        code = run_command(output, [server], [usdz, other], ['--ray', cluster])
    over.set()
    thread.join()
    return output, code, printed.getvalue()


@RAY
def test_ctrl_c_says_how_to_go_on(interrupted):
    output, code, printed = interrupted
    assert code == 130, printed
    assert f'what is finished stays in {output}, --resume goes on' in printed
    assert printed.endswith('nurec_export: interrupted\n')
    assert 'Traceback' not in printed


@RAY
def test_whatever_happens_it_goes_on_to_the_result_of_one_process(
    interrupted,
    long_parts,
    make_server,
    cluster,
    folder,
    usdz,
    other,
    tmp_path,
    capsys,
    monkeypatch,
):
    """
    After the Ctrl-C: a worker is killed, frames fail, parts get no server, and files are none.

    Ray tries the killed one again, the command what got no server, --resume what failed. In Ray's
    own logs, too, there is no traceback for a user's mistake.
    """
    bad, lost, alone = (tmp_path / f'{name}.usdz' for name in ('bad', 'lost', 'alone'))
    bad.write_bytes(b'no zip')
    shutil.copy(usdz, alone)
    reached, killed = threading.Event(), threading.Event()
    real = on_cluster.render

    def render_part(wishes, path, number):
        """Find no server, twice or always; on the nodes."""
        tried = tmp_path / f'{path.stem} was tried'
        with tried.open('a') as file:
            file.write('.')
        if path.stem == 'alone' or (path.stem == 'other' and tried.stat().st_size < 3):
            return on_cluster.Told(early='no server gives frames: away')
        with (tmp_path / 'rendering').open('a') as file:
            file.write(f'{os.getpid()}\n')
        return real(wishes, path, number)

    def render(request, context):
        if len(server.requests()) > 10:
            reached.set()
            # So that there is one to be killed.
            assert killed.wait(PATIENCE_S)
        if request.frame_start_us % 7 == 0:
            context.abort(grpc.StatusCode.INTERNAL, 'NRenderer.render failed')
        return picture(request)

    def kill():
        assert reached.wait(PATIENCE_S)
        os.kill(int((tmp_path / 'rendering').read_text().split()[0]), signal.SIGKILL)
        killed.set()

    out, files, written = interrupted[0], [usdz, other], logs(folder)
    monkeypatch.setattr(on_cluster, 'render', render_part)
    server = make_server(render)
    thread = threading.Thread(target=kill)
    thread.start()
    options = ['--ray', cluster, '--resume']
    assert run_command(out, [server], [lost, bad, alone, *files], options) == 3
    thread.join()
    assert len((tmp_path / 'rendering').read_text().split()) == 3
    assert (tmp_path / 'alone was tried').stat().st_size == 1 + on_cluster.RETRIES
    entries = entries_of(out)
    told, printed = capsys.readouterr()
    for path, reason in ((bad, 'is no'), (lost, 'is no file here'), (alone, 'no server gives')):
        entry = entries[path.stem]
        assert (entry['complete'], entry['parts']) == (False, [])
        assert reason in entry['error']
        assert (told + printed).count(entry['error']) == 1
        assert f'{path.name}: not exported\n' in told
    failed = {
        (camera, t) for camera, times in frame_times(usdz).items() for t in times if t % 7000 == 0
    }
    assert failed
    for name in ('drive', 'other'):
        assert entries[name]['complete'] is True
        missing = {(lack['sensor'], lack['stamp_ns']) for lack in entries[name]['missing']}
        assert missing == failed
    after = logs(folder)
    assert after
    for path, data in after.items():
        assert b'Traceback' not in data.removeprefix(written.get(path, b'')), path
    monkeypatch.undo()
    server = make_server()
    # Any process goes on.
    assert run_command(out, [server], files, ['--resume']) == 0
    assert len(server.requests()) == 2 * len(failed)
    assert run_command(tmp_path / 'one', [make_server()], files) == 0
    for name, entry in entries_of(tmp_path / 'one').items():
        assert entries_of(out)[name] == entry
        assert everything(out / name) == everything(tmp_path / 'one' / name)


@RAY
def test_mistakes_are_one_sentence(export, capsys, usdz, tmp_path):
    assert export(options=['--ray', '127.0.0.1:1'])[0] == 1
    printed = capsys.readouterr().err
    assert 'no Ray cluster is at 127.0.0.1:1' in printed
    assert '`ray start --head` begins one' in printed
    wishes = Wishes((usdz,), tmp_path / 'out', ('localhost:1',), cameras=('nope',))
    refused = on_cluster.begin(wishes, usdz, None).refused
    assert "parameter 'cameras' names 'nope'; expected some of" in refused


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


def test_without_ray_it_says_what_to_install(export, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'ray', None)
    assert export(options=['--ray', 'auto'])[0] == 1
    assert (
        "needs ray, which is not installed: pip install 'nurec_ros[cluster]'"
        in capsys.readouterr().err
    )
