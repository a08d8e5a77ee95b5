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
import signal
import subprocess
import sys
from test.export.conftest import picture
from test.export.test_export_bags import frame_times, in_files, info
import threading

from nurec_ros.cli import export as command
import pytest

# Ends the process, as the kernel would, at the N-th call of a function.
PRELUDE = """
import importlib, os, signal
import nurec_ros.export.part as part
part.PART_NS = 200_000_000

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

from nurec_ros.cli.export import main
import nurec_ros.export.run as run
import nurec_ros.export.farm as farm
import pathlib, sys
"""


def run(code: str, usdz: Path, server, output: Path, *options: str):
    """Run the command in a process of its own, with `code` before it."""
    arguments = [
        *(usdz, '--server', server.address, '--output', output),
        *('-p', 'image_format:=png', '-p', 'resolution_scale:=0.02', *options),
    ]
    return subprocess.run(
        [sys.executable, '-c', f'{PRELUDE}\n{code}\nsys.exit(main())', *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def everything(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }


@pytest.fixture(scope='module')
def undisturbed(usdz, tmp_path_factory):
    """Return what an export that nothing ended has left."""
    from test.rendering.fake_server import FakeServer

    from nurec_ros.scenario import Scenario

    output = tmp_path_factory.mktemp('undisturbed') / 'out'
    server = FakeServer(picture, scenes=[Scenario.load(usdz).scene_id])
    try:
        done = run('', usdz, server, output)
    finally:
        server.stop()
    assert done.returncode == 0, done.stderr
    assert len(info(output / 'drive')['files']) == 10
    return everything(output)


def test_killed_again_and_again_it_is_whole_in_the_end(usdz, make_server, tmp_path, undisturbed):
    """Once in each part or so, at another place of it each time; every run gets further."""
    server, output = make_server(), tmp_path / 'out'
    before = -1
    for number in range(6):
        code = f'kill_at(farm.Farm, "take", {3 + number % 3})'
        done = run(code, usdz, server, output, '--resume')
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert not (output / 'drive' / 'metadata.yaml').exists()
        there = len(list((output / 'drive').glob('*.mcap')))
        assert there >= before
        before = there
    assert before > 0
    server.calls.clear()
    done = run('', usdz, server, output, '--resume')
    assert done.returncode == 0, done.stderr
    # What was there was not rendered again.
    assert len(server.requests()) < sum(len(times) for times in frame_times(usdz).values())
    assert everything(output) == undisturbed


@pytest.mark.parametrize(
    'code',
    [
        'kill_at(pathlib.Path, "rename", 2)',
        'kill_at(pathlib.Path, "rename", 2, after=True)',
        'kill_at(run, "merged_metadata", 1)',
        'kill_at(run, "_settle", 22)',
        'kill_at(run._Scenario, "forget", 1)',
    ],
    ids=['before the rename', 'after it', 'before metadata', 'in metadata', 'at the very end'],
)
def test_killed_while_files_take_their_places(usdz, make_server, tmp_path, undisturbed, code):
    output = tmp_path / 'out'
    server = make_server()
    done = run(code, usdz, server, output)
    assert done.returncode == -signal.SIGKILL, done.stderr
    done = run('', usdz, server, output, '--resume')
    assert done.returncode == 0, done.stderr
    assert everything(output) == undisturbed


def test_ctrl_c_says_how_to_go_on(usdz, make_server, tmp_path, undisturbed):
    output, server = tmp_path / 'out', make_server()
    code = (
        'real, calls = farm.Farm.take, [0]\n'
        'def take(self, frame):\n'
        '    calls[0] += 1\n'
        '    if calls[0] == 9: os.kill(os.getpid(), signal.SIGINT)\n'
        '    return real(self, frame)\n'
        'farm.Farm.take = take'
    )
    done = run(code, usdz, server, output)
    assert done.returncode == 130
    assert f'what is finished stays in {output}, --resume goes on' in done.stderr
    assert 'Traceback' not in done.stderr
    assert run('', usdz, server, output, '--resume').returncode == 0
    assert everything(output) == undisturbed


def test_what_is_there_is_not_overwritten(export, make_server, capsys):
    server = make_server()
    assert export(server)[0] == 0
    asked = len(server.requests())
    code, out = export(server)
    assert code == 1
    assert f'{out / "drive"} is there already: --resume goes on' in capsys.readouterr().err
    # A complete one has nothing to go on with, whichever server is named.
    assert export(server, options=['--resume'])[0] == 0
    assert len(server.requests()) == asked


def test_it_goes_on_with_the_same_options_only(export, make_server, capsys):
    server = make_server()
    assert export(server)[0] == 0
    code, _ = export(server, options=['--resume', '-p', 'camera_rate:=5'])
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


def test_a_server_that_never_comes_is_a_sentence(export, capsys):
    code, out = export(options=['--wait', '0.5'])
    assert code == 1
    printed = capsys.readouterr().err
    assert 'no server gives frames: ' in printed
    assert 'localhost:1' in printed
    assert not list((out / 'drive').glob('*.mcap'))


def test_a_server_that_dies_and_returns_costs_nothing(export, make_server):
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
    other, whole = export(make_server(), output='whole')
    assert other == 0
    assert in_files(out / 'drive') == in_files(whole / 'drive')


def test_where_one_of_two_dies_the_other_goes_on(export, make_server):
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
    code, whole = export(make_server(), output='whole')
    assert code == 0
    assert in_files(out / 'drive') == in_files(whole / 'drive')


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
    assert len(info(out / 'drive')['files']) == 4


def test_the_help_has_examples_and_exit_codes():
    text = command.parser().format_help()
    assert '--resume' in text
    assert 'exit codes: 0' in text
    assert json.dumps(text)
