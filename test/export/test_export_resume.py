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
"""Exports that end early, and go on."""

from __future__ import annotations

import json
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
from test.export.conftest import picture
from test.export.test_export_bags import frame_times, in_files, info
from test.rendering.fake_server import FakeServer
from test.support.archives import CAMERAS
import threading

import grpc
from nurec_ros.scenario import Scenario
import pytest

# Has all imported and knows the types that it is given, and does what comes line by line in a
# child of its own each: parts of 0.4 s, and some code before the command. `kill_at` ends the
# process, as the kernel would, at the N-th call of a function.
FORKS = """
import json, os, pathlib, signal, sys, traceback
import nurec_ros.export.farm as farm
import nurec_ros.export.part as part
import nurec_ros.export.run as one
from nurec_ros.cli.export import main
from nurec_ros.export.bag import type_description
part.PART_NS = 400_000_000
for kind in sys.argv[1:]:
    type_description(kind)

def kill_at(owner, name, count, after=False):
    real, calls = getattr(owner, name), [0]
    def call(*arguments, **options):
        calls[0] += 1
        if calls[0] == count and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*arguments, **options)
        if calls[0] == count and after:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(owner, name, call)

for line in sys.stdin:
    code, arguments, errors = json.loads(line)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), 2)
        os.dup2(2, 1)
        try:
            exec(code)
            number = main(arguments)
        except BaseException:
            traceback.print_exc()
            number = 99
        sys.stderr.flush()
        os._exit(number)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope='module')
def run(usdz, exported, tmp_path_factory):
    """Return a function that runs the command in a process of its own, with code before it."""
    errors = tmp_path_factory.mktemp('forks') / 'stderr'
    topics = info(exported / 'drive')['topics_with_message_count']
    forks = subprocess.Popen(
        [sys.executable, '-c', FORKS, *(topic['topic_metadata']['type'] for topic in topics)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def call(code: str, server: FakeServer, output: Path, *options: str) -> tuple[int, str]:
        arguments = [
            *(usdz, '--server', server.address, '--output', output),
            *('-p', 'image_format:=png', '-p', 'resolution_scale:=0.02', *options),
        ]
        errors.unlink(missing_ok=True)
        forks.stdin.write(json.dumps([code, [*map(str, arguments)], str(errors)]) + '\n')
        forks.stdin.flush()
        return int(forks.stdout.readline()), errors.read_text()

    yield call
    forks.stdin.close()
    assert forks.wait(60) == 0


def everything(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }


@pytest.fixture(scope='module')
def undisturbed(run, usdz, tmp_path_factory):
    """Return what an export that nothing ended has left."""
    output = tmp_path_factory.mktemp('undisturbed') / 'out'
    with FakeServer(picture, scenes=[Scenario.load(usdz).scene_id]) as server:
        code, printed = run('', server, output)
    assert code == 0, printed
    assert len(info(output / 'drive')['files']) == 5
    return everything(output)


def test_killed_at_ten_moments_it_is_whole_in_the_end(
    run, usdz, make_server, tmp_path, undisturbed
):
    """At another place of a part each time, now in the first and now in the one after."""
    server, output = make_server(), tmp_path / 'out'
    # Eight frames are in a part.
    before, places = -1, (1, 2, 4, 6, 7, 8, 9, 3, 10, 5)
    for place in places:
        code, printed = run(f'kill_at(farm.Farm, "take", {place})', server, output, '--resume')
        assert code == -signal.SIGKILL, printed
        assert not (output / 'drive' / 'metadata.yaml').exists()
        there = len(list((output / 'drive').glob('*.mcap')))
        assert there >= before
        before = there
    assert before == 2
    server.calls.clear()
    code, printed = run('', server, output, '--resume')
    assert code == 0, printed
    # What was there was not rendered again.
    assert len(server.requests()) < sum(len(times) for times in frame_times(usdz).values())
    assert everything(output) == undisturbed


def test_killed_while_files_take_their_places(run, make_server, tmp_path, undisturbed):
    """Before a rename and after one, before the bag's metadata and in them, at the very end."""
    output, server = tmp_path / 'out', make_server()
    for code, parts, is_whole in (
        ('kill_at(pathlib.Path, "rename", 2)', 1, False),
        ('kill_at(pathlib.Path, "rename", 2, after=True)', 3, False),
        ('kill_at(one, "merged_metadata", 1)', 5, False),
        # After that of the plan.
        ('kill_at(one, "_settle", 2)', 5, False),
        ('kill_at(one.ScenarioExport, "forget", 1)', 5, True),
    ):
        ended, printed = run(code, server, output, '--resume')
        assert ended == -signal.SIGKILL, printed
        assert len(list((output / 'drive').glob('*.mcap'))) == parts
        assert (output / 'drive' / 'metadata.yaml').exists() is is_whole
    ended, printed = run('', server, output, '--resume')
    assert ended == 0, printed
    assert everything(output) == undisturbed


def test_ctrl_c_says_how_to_go_on(run, make_server, tmp_path, undisturbed):
    output, server = tmp_path / 'out', make_server()
    code, printed = run(
        'real, calls = farm.Farm.take, [0]\n'
        'def take(self, frame):\n'
        '    calls[0] += 1\n'
        '    if calls[0] == 9: os.kill(os.getpid(), signal.SIGINT)\n'
        '    return real(self, frame)\n'
        'farm.Farm.take = take',
        server,
        output,
    )
    assert code == 130
    assert f'what is finished stays in {output}, --resume goes on' in printed
    assert 'Traceback' not in printed
    assert run('', server, output, '--resume')[0] == 0
    assert everything(output) == undisturbed


def test_ctrl_c_before_the_first_part_says_so_too(run, make_server, tmp_path):
    """While the command imports what it needs."""
    output = tmp_path / 'out'
    code, printed = run(
        'import nurec_ros.cli.export as command\n'
        'command.need = lambda *_: os.kill(os.getpid(), signal.SIGINT)',
        make_server(),
        output,
    )
    assert code == 130
    assert printed.splitlines() == [
        f'nurec_export: what is finished stays in {output}, --resume goes on',
        'nurec_export: interrupted',
    ]
    assert run('', make_server(), output, '--resume')[0] == 0


# --- frames that failed --------------------------------------------------------------------------


def failing(bad: set[tuple[str, int]]):
    """Return what renders all but some frames of cameras, by their times in us."""

    def render(request, context):
        if (request.camera_intrinsics.logical_id, request.frame_start_us) in bad:
            context.abort(grpc.StatusCode.INTERNAL, 'NRenderer.render failed')
        return picture(request)

    return render


@pytest.fixture(scope='module')
def bad(usdz):
    """Return frames that fail: the cameras, and times in us."""
    times = frame_times(usdz)
    places = ((CAMERAS[0], 4), (CAMERAS[0], 5), (CAMERAS[1], 11))
    return {(camera, times[camera][place] // 1000) for camera, place in places}


@pytest.fixture(scope='module')
def lacking(run, make_servers, bad, tmp_path_factory):
    """Return the folder of an export that lacks them."""
    output = tmp_path_factory.mktemp('lacking') / 'out'
    assert run('', make_servers(failing(bad)), output)[0] == 3
    (entry,) = json.loads((output / 'export.json').read_text())['scenarios']
    assert {(lost['sensor'], lost['stamp_ns'] // 1000) for lost in entry['missing']} == bad
    return output


@pytest.mark.parametrize(
    'code',
    ['', 'kill_at(pathlib.Path, "rename", 1)', 'kill_at(pathlib.Path, "rename", 1, after=True)'],
    ids=['undisturbed', 'killed before a rename', 'killed after it'],
)
def test_resume_renders_what_failed_and_nothing_else(
    run, make_server, tmp_path, undisturbed, lacking, bad, code
):
    output = tmp_path / 'out'
    shutil.copytree(lacking, output)
    server = make_server()
    if code:
        assert run(code, server, output, '--resume')[0] == -signal.SIGKILL
        assert not (output / 'drive' / 'metadata.yaml').exists()
    ended, printed = run('', server, output, '--resume')
    assert ended == 0, printed
    if not code:
        asked = [(r.camera_intrinsics.logical_id, r.frame_start_us) for r in server.requests()]
        assert sorted(asked) == sorted(bad)
    assert everything(output) == undisturbed


def test_what_fails_again_is_listed_again(run, make_server, tmp_path, lacking, bad):
    output = tmp_path / 'out'
    shutil.copytree(lacking, output)
    assert run('', make_server(failing(bad)), output, '--resume')[0] == 3
    assert everything(output) == everything(lacking)
    assert 'drive/metadata.yaml' in everything(output)


# --- what is not to be touched, and what cannot be -----------------------------------------------


def test_what_is_there_is_not_overwritten(export, copied, make_server, capsys):
    server = make_server()
    code, out = export(server)
    assert (code, out) == (1, copied)
    assert f'{out / "drive"} is there already: --resume goes on' in capsys.readouterr().err
    # A complete one has nothing to go on with, whichever server is named.
    assert export(server, options=['--resume'])[0] == 0
    assert server.requests() == []


def test_it_goes_on_with_the_same_options_only(export, copied, make_server, capsys):
    code, _ = export(make_server(), options=['--resume', '-p', 'camera_rate:=5'])
    assert code == 1
    assert 'begun with camera_rate 0.0, and is to go on with 5.0' in capsys.readouterr().err


def test_a_folder_of_somebody_elses_stays(export, make_server, tmp_path, capsys):
    other = tmp_path / 'out' / 'drive' / 'mine.txt'
    other.parent.mkdir(parents=True)
    other.write_text('mine')
    for options in ([], ['--resume']):
        assert export(make_server(), options=options)[0] == 1
        assert other.read_text() == 'mine'
    assert 'is no export: choose another --output' in capsys.readouterr().err


def test_a_server_that_never_comes_is_a_sentence(export, make_server, capsys):
    code, out = export(options=['--wait', '0.5'])
    assert code == 1
    told, printed = capsys.readouterr()
    assert 'no server gives frames: ' in printed
    assert 'localhost:1' in printed
    assert told == ''
    assert not list((out / 'drive').glob('*.mcap'))
    (entry,) = json.loads((out / 'export.json').read_text())['scenarios']
    assert (entry['bag'], entry['complete'], entry['parts']) == ('drive', False, [])
    assert printed.count(entry['error']) == 1
    assert export(make_server(), options=['--resume'])[0] == 0


def test_what_ended_early_is_listed_with_what_is_there(export, make_server, usdz):
    """The first part lacks a frame, the second one never came."""
    times = frame_times(usdz)[CAMERAS[0]]
    bad_us, dead_us = times[1] // 1000, (times[0] + 1_100_000_000) // 1000
    dead = threading.Event()

    def render(request, context):
        if request.frame_start_us == bad_us:
            context.abort(grpc.StatusCode.INTERNAL, 'NRenderer.render failed')
        if dead.is_set() or request.frame_start_us > dead_us:
            dead.set()
            context.abort(grpc.StatusCode.UNAVAILABLE, 'gone')
        return picture(request)

    options = ['--cameras', CAMERAS[0], '--in-flight', '1', '--wait', '0.5']
    code, out = export(make_server(render), options=options)
    assert code == 3
    (entry,) = json.loads((out / 'export.json').read_text())['scenarios']
    assert (entry['complete'], entry['parts']) == (False, ['drive_0.mcap'])
    assert [lost['stamp_ns'] for lost in entry['missing']] == [times[1]]
    assert entry['frames'] == sum(t < times[0] + 10**9 for t in times) - 1
    assert 'no server gives frames: ' in entry['error']


def test_a_server_that_dies_and_returns_costs_nothing(export, exported, make_server):
    """The frames that it had are rendered when it is there again."""
    seen = threading.Event()

    def render(request, context):
        if len(server.requests()) > 10:
            seen.set()
        return picture(request)

    server = make_server(render)
    port = server.port
    returned = []

    def die_and_return():
        assert seen.wait(60)
        server.stop()
        returned.append(make_server(port=port))

    thread = threading.Thread(target=die_and_return)
    thread.start()
    code, out = export(server, output='died')
    thread.join()
    assert code == 0
    assert returned[0].requests()
    assert in_files(out / 'drive') == in_files(exported / 'drive')


def test_where_one_of_two_dies_the_other_goes_on(export, exported, make_server):
    seen = threading.Event()

    def render(request, context):
        seen.set()
        return picture(request)

    mortal, other = make_server(render), make_server()

    def die():
        assert seen.wait(60)
        mortal.stop()

    thread = threading.Thread(target=die)
    thread.start()
    code, out = export(mortal, other, output='died')
    thread.join()
    assert code == 0
    assert in_files(out / 'drive') == in_files(exported / 'drive')


def test_a_full_disk_is_a_sentence_and_what_is_written_stays(
    export, make_server, monkeypatch, capsys
):
    real, count = os.fsync, [0]

    def fsync(descriptor):
        count[0] += 1
        if count[0] == 5:
            raise OSError(28, 'No space left on device')
        real(descriptor)

    monkeypatch.setattr(os, 'fsync', fsync)
    server = make_server()
    code, out = export(server)
    assert code == 3
    printed = capsys.readouterr().err
    assert 'No space left on device' in printed
    assert '--resume goes on' in printed
    assert export(server, options=['--resume'])[0] == 0
    assert len(info(out / 'drive')['files']) == 2
