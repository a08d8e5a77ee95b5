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
"""Whatever ends an export, `--resume` goes on to the result of one that nothing ended."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from test.export.conftest import (
    entries_of,
    everything,
    failing,
    frame_times,
    in_files,
    info,
    messages,
    PART_NS,
    picture,
    SMALL,
)
from test.support.archives import CAMERAS
from test.support.waiting import until
import threading

import grpc
from nurec_ros.scenario import Scenario
import pytest

# Has all imported and knows the types that it is given, and does what comes line by line in a
# child of its own each, some code before the command. `end_at` ends the process at the N-th call
# of a function: as the kernel would, or as Ctrl-C does.
FORKS = f"""
import gc, json, os, pathlib, signal, sys, traceback
import nurec_ros.cli.export as command
import nurec_ros.export.farm as farm
import nurec_ros.export.folder as folder
import nurec_ros.export.part as part
import nurec_ros.export.run as one
from nurec_ros.export.bag import type_description
part.PART_NS = {PART_NS}
for kind in sys.argv[1:]:
    type_description(kind)
gc.freeze()

def end_at(owner, name, count, after=False, number=signal.SIGKILL):
    real, calls = getattr(owner, name), [0]
    def call(*arguments, **options):
        calls[0] += 1
        if calls[0] == count and not after:
            os.kill(os.getpid(), number)
        result = real(*arguments, **options)
        if calls[0] == count and after:
            os.kill(os.getpid(), number)
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
            number = command.main(arguments)
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

    def call(code, server, output):
        words = (usdz, '--server', server.address, '--output', output, *SMALL, '--resume')
        errors.unlink(missing_ok=True)
        forks.stdin.write(json.dumps([code, [*map(str, words)], str(errors)]) + '\n')
        forks.stdin.flush()
        return int(forks.stdout.readline()), errors.read_text()

    yield call
    forks.stdin.close()
    assert forks.wait(60) == 0


TAKE = 'end_at(farm.Farm, "take", {})'
CTRL_C = 'number=signal.SIGINT'


def test_ended_at_all_moments_it_is_whole_in_the_end(run, usdz, make_server, tmp_path, exported):
    """
    By Ctrl-C, and killed: at each place of a part, and while files take their places.

    Three parts have eight, eight and four frames.
    """
    server, output, begin_ns = make_server(), tmp_path / 'out', Scenario.load(usdz).start_ns
    told = [
        f'nurec_export: what is finished stays in {output}, --resume goes on',
        'nurec_export: interrupted',
    ]
    for code, parts, is_whole in (
        # While the command imports what it needs.
        (f'end_at(command, "need", 1, {CTRL_C})', 0, False),
        (TAKE.format(f'3, {CTRL_C}'), 0, False),
        *((TAKE.format(place), 0, False) for place in (1, 2, 4, 7, 8)),
        # In the part after, now as its first frame and now within it.
        (TAKE.format(9), 1, False),
        (TAKE.format(1), 1, False),
        (TAKE.format(3), 1, False),
        # Before a rename and after one, before the bag's metadata and in them, at the very end.
        ('end_at(pathlib.Path, "rename", 1)', 1, False),
        ('end_at(pathlib.Path, "rename", 1, after=True)', 2, False),
        ('end_at(one, "merged_metadata", 1)', 3, False),
        # After that of the plan.
        ('end_at(folder, "settle", 2)', 3, False),
        ('end_at(one.ScenarioExport, "forget", 1)', 3, True),
    ):
        before = len(list((output / 'drive').glob('*.mcap')))
        server.calls.clear()
        ended, printed = run(code, server, output)
        # What is there is not rendered again.
        times_ns = [request.frame_end_us * 1000 for request in server.requests()]
        assert all(t >= begin_ns + before * PART_NS for t in times_ns)
        if CTRL_C in code:
            # Of what has not begun nothing is said to stay.
            said = told if output.exists() else told[1:]
            assert (ended, printed.splitlines()[-2:]) == (130, said), printed
            assert 'Traceback' not in printed
        else:
            assert ended == -signal.SIGKILL, printed
        assert len(list((output / 'drive').glob('*.mcap'))) == parts, code
        assert (output / 'drive' / 'metadata.yaml').exists() is is_whole, code
    ended, printed = run('', server, output)
    assert ended == 0, printed
    assert everything(output) == everything(exported)


# --- frames that failed --------------------------------------------------------------------------


@pytest.fixture(scope='module')
def bad(usdz):
    """Return frames of each part that fail: the cameras, and times in us."""
    times = frame_times(usdz)
    places = ((CAMERAS[0], 2), (CAMERAS[0], 3), (CAMERAS[1], 5), (CAMERAS[1], 9))
    return {(camera, times[camera][place] // 1000) for camera, place in places}


@pytest.fixture
def lacking(export, make_server, bad):
    """Return the folder of an export that lacks them."""
    return export(make_server(failing(bad)), ends=3)


def test_frames_that_fail_are_listed(capsys, lacking, export, make_server, usdz, bad):
    told, errors = capsys.readouterr()
    words = f'16 frames in 3 parts, 4 missing: see {lacking / "export.json"}'
    assert told == f'{lacking / "drive"}: {words}\n'
    assert errors.count('render failed') == 1
    before = everything(lacking)
    # Once more, it is the same.
    export(make_server(failing(bad)), options=['--resume'], ends=3)
    assert everything(lacking) == before
    entry = entries_of(lacking)['drive']
    assert entry['complete'] is True
    assert {(lost['sensor'], lost['stamp_ns'] // 1000) for lost in entry['missing']} == bad
    assert all('render failed' in lost['reason'] for lost in entry['missing'])
    for camera, times in frame_times(usdz).items():
        topic = f'/nurec/{camera}/image_raw/compressed'
        there = [t for name, t, _ in messages(lacking / 'drive') if name == topic]
        assert there == [t for t in times if (camera, t // 1000) not in bad]


def test_resume_renders_what_failed_and_nothing_else(export, make_server, lacking, exported, bad):
    server = make_server()
    export(server, options=['--resume'])
    asked = [(r.camera_intrinsics.logical_id, r.frame_start_us) for r in server.requests()]
    assert sorted(asked) == sorted(bad)
    assert everything(lacking) == everything(exported)


def test_killed_while_it_renders_what_failed(run, make_server, lacking, exported):
    """After a part's rename, and before that of another one."""
    server = make_server()
    for code in (
        'end_at(pathlib.Path, "rename", 1, after=True)',
        'end_at(pathlib.Path, "rename", 1)',
    ):
        assert run(code, server, lacking)[0] == -signal.SIGKILL
        assert not (lacking / 'drive' / 'metadata.yaml').exists()
    ended, printed = run('', server, lacking)
    assert ended == 0, printed
    assert everything(lacking) == everything(exported)


# --- what is not to be touched, and what cannot be -----------------------------------------------


def test_what_is_there_is_not_touched(export, copied, make_server, tmp_path, capsys):
    server = make_server()
    out = export(server, ends=1)
    assert out == copied
    assert f'{out / "drive"} is there already: --resume goes on' in capsys.readouterr().err
    # With the same options only.
    export(server, options=['--resume', '-p', 'camera_rate:=5'], ends=1)
    assert 'begun with camera_rate 0.0, and is to go on with 5.0' in capsys.readouterr().err
    # What cannot be read now is no less complete.
    export(files=[tmp_path / 'typo' / 'drive.usdz'], options=['--resume'], ends=3)
    assert entries_of(out)['drive']['complete'] is True
    # A complete one has nothing to go on with, whichever server is named.
    export(server, options=['--resume'])
    assert server.requests() == []


def test_a_folder_of_somebody_elses_stays(export, tmp_path, capsys):
    other = tmp_path / 'out' / 'drive' / 'mine.txt'
    other.parent.mkdir(parents=True)
    other.write_text('mine')
    for options in ([], ['--resume']):
        export(options=options, ends=1)
        assert other.read_text() == 'mine'
    assert 'is no export: choose another --output' in capsys.readouterr().err


# --- two exports into one folder -----------------------------------------------------------------


def test_a_second_export_into_a_folder_is_refused_while_the_first_writes(
    export, make_server, usdz, tmp_path, exported
):
    out, ends = tmp_path / 'out', []

    def render(request, context):
        if not ends:
            ends.append(None)
            words = [sys.executable, '-m', 'nurec_ros.cli.export', usdz, '--output', out]
            words += ['--server', server.address, *SMALL, '--resume']
            ends[0] = subprocess.run(
                [*map(str, words)], capture_output=True, text=True, timeout=60, check=False
            )
        return picture(request)

    server = make_server(render)
    export(server)
    words = f'another nurec_export is writing into {out}: choose another --output'
    assert (ends[0].returncode, ends[0].stdout) == (1, '')
    assert ends[0].stderr == f'nurec_export: {words}\n'
    assert everything(out) == everything(exported)
    # It leaves no lock.
    export(server, options=['--resume'])


def test_a_folder_without_locks_is_written_into(export, make_server, monkeypatch, exported):
    def refuse(*_):
        raise OSError(errno.EBADF, 'Bad file descriptor')

    monkeypatch.setattr(fcntl, 'flock', refuse)
    assert everything(export(make_server())) == everything(exported)


def test_a_bag_whose_part_somebody_else_writes_is_not_complete(
    export, make_server, tmp_path, usdz, exported, capsys
):
    part = tmp_path / 'out' / 'drive' / 'drive_0.mcap'
    last_us = max(t for times in frame_times(usdz).values() for t in times) // 1000

    def render(request, context):
        if request.frame_start_us == last_us:
            until(part.is_file, 'the first part')
            with part.open('ab') as file:
                file.write(b'more')
        return picture(request)

    out = export(make_server(render), ends=3)
    words = f'{part.parent} lacks what was written as drive_0.mcap: another export may be writing'
    assert words in capsys.readouterr().err
    assert entries_of(out)['drive']['complete'] is False
    assert not (part.parent / 'metadata.yaml').exists()
    export(make_server(), options=['--resume'])
    assert everything(out) == everything(exported)


IMAGES = ('--topics', f'~/{CAMERAS[0]}/*')


def test_a_server_that_never_comes_is_a_sentence(export, make_server, capsys):
    out = export(options=['--wait', '0.5', *IMAGES], ends=1)
    told, printed = capsys.readouterr()
    assert 'no server gives frames: ' in printed
    assert 'localhost:1' in printed
    assert told == ''
    assert not list((out / 'drive').glob('*.mcap'))
    entry = entries_of(out)['drive']
    assert (entry['bag'], entry['complete'], entry['parts']) == ('drive', False, [])
    assert printed.count(entry['error']) == 1
    export(make_server(), options=['--resume', *IMAGES])


def test_what_ended_early_is_listed_with_what_is_there(export, make_server, usdz):
    """The first part lacks a frame, the second one never came."""
    times = frame_times(usdz)[CAMERAS[0]]
    fails = failing({(CAMERAS[0], times[1] // 1000)})
    dead = threading.Event()

    def render(request, context):
        if dead.is_set() or request.frame_start_us > times[5] // 1000:
            dead.set()
            context.abort(grpc.StatusCode.UNAVAILABLE, 'gone')
        return fails(request, context)

    out = export(
        make_server(render), options=[*IMAGES, '--in-flight', '1', '--wait', '0.5'], ends=3
    )
    entry = entries_of(out)['drive']
    assert (entry['complete'], entry['parts']) == (False, ['drive_0.mcap'])
    assert [lost['stamp_ns'] for lost in entry['missing']] == [times[1]]
    assert entry['frames'] == 3
    assert 'no server gives frames: ' in entry['error']


@pytest.mark.parametrize('others', [0, 1])
def test_a_server_that_dies_costs_nothing(export, exported, make_server, others):
    """The frames that it had are rendered by another one, or when it is there again."""
    seen = threading.Event()

    def render(request, context):
        if len(mortal.requests()) > 4:
            seen.set()
            ended = threading.Event()
            # Until it dies.
            if context.add_callback(ended.set):
                assert ended.wait(60)
        return picture(request)

    mortal, servers = make_server(render), [make_server() for _ in range(others)]

    def die():
        assert seen.wait(60)
        mortal.stop()
        if not servers:
            servers.append(make_server(port=mortal.port))

    thread = threading.Thread(target=die)
    thread.start()
    out = export(mortal, *servers)
    thread.join()
    assert servers[0].requests()
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
    out = export(server, options=IMAGES, ends=3)
    printed = capsys.readouterr().err
    assert 'No space left on device' in printed
    assert '--resume goes on' in printed
    export(server, options=['--resume', *IMAGES])
    assert len(info(out / 'drive')['files']) == 3
