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
"""The command's start: help, version, and one clear line for whatever cannot be."""

import os
from pathlib import Path
import subprocess
import sys
from test.support.archives import build_archive, CAMERAS, REMOVED, START_US
from test.support.player_bench import NOWHERE
from test.support.process import Process

import nurec_ros
import pytest

pytestmark = pytest.mark.contract


@pytest.fixture
def run(tmp_path):
    """Return a function that runs the command to its end, for its exit code and output."""

    def run(*arguments, fresh=False):
        process = Process('nurec_ros.cli.player', arguments, tmp_path / 'output', fresh=fresh)
        return process.wait(), process.output

    return run


def test_help(run):
    code, out = run('--help', fresh=True)
    assert code == 0
    assert '--ros-args' in out
    assert 'usdz_path' in out


def test_version(run):
    assert run('--version') == (0, f'nurec_player {nurec_ros.__version__}\n')


def test_unknown_argument(run):
    code, err = run('scenario.usdz')
    assert code == 2
    assert 'scenario.usdz' in err
    assert 'Traceback' not in err


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Return a folder with a scenario and files that are none."""
    folder = tmp_path_factory.mktemp('files')
    build_archive(folder, 'good.usdz')
    (folder / 'folder').mkdir()
    (folder / 'text.usdz').write_text('this is no archive')
    build_archive(folder, 'no_rig.usdz', leave_out=['rig_trajectories.json'])
    cut = build_archive(folder, 'cut.usdz')
    cut.write_bytes(cut.read_bytes()[:-200])
    return folder


@pytest.fixture
def complaint(run, files, monkeypatch):
    """Return a function that starts with parameters that cannot be, for the one line of why."""
    monkeypatch.chdir(files)

    def complaint(*arguments):
        code, output = run('--ros-args', *arguments)
        assert code == 1, output
        (line,) = output.splitlines()
        assert line.startswith('nurec_player: ')
        return line

    return complaint


GOOD = 'usdz_path:=good.usdz'


@pytest.mark.parametrize(
    ('parameters', 'words'),
    [
        # Files.
        (['usdz_path:=missing.usdz'], ['missing.usdz']),
        (['usdz_path:=folder'], ['folder']),
        (['usdz_path:=text.usdz'], ['text.usdz']),
        (['usdz_path:=no_rig.usdz'], ['no_rig.usdz', 'rig_trajectories.json']),
        (['usdz_path:=cut.usdz'], ['cut.usdz']),
        # Of the wrong type or out of range.
        (['rate:=fast'], ['rate', 'fast', '0.01', '100']),
        (['rate:=0'], ['rate', '0.01', '100']),
        (['loop:=maybe'], ['loop', 'maybe']),
        (['image_format:=bmp'], ['image_format', 'bmp', 'jpeg', 'png', 'rgb']),
        (['rig_offset:=[1.0, 2.0]'], ['rig_offset', '6']),
        (['rig_offset:=[.nan, 0.0, 0.0, 0.0, 0.0, 0.0]'], ['rig_offset', 'finite']),
        (['service_prefix:=a b c'], ['service_prefix', 'a b c', 'full name of a gRPC service']),
        (['use_sim_time:=maybe'], ['use_sim_time']),
        (['tls_root_certificate:=/nowhere/ca.pem'], ['/nowhere/ca.pem']),
        # Of no use with the scenario.
        ([GOOD, 'cameras:=[camera_nobody_knows]'], ['camera_nobody_knows', *CAMERAS]),
        ([GOOD, 'start_offset_s:=1.5', 'end_offset_s:=1.0'], ['start_offset_s']),
        (
            [GOOD, f'{CAMERAS[0]}.resolution_scale:=7.0'],
            [f'{CAMERAS[0]}.resolution_scale', '0.01', '2'],
        ),
        ([GOOD, 'tls_root_certificate:=/nowhere/ca.pem'], ['/nowhere/ca.pem']),
    ],
)
def test_what_cannot_be_is_one_line(complaint, parameters, words):
    line = complaint(*(word for one in parameters for word in ('-p', one)))
    assert all(word in line for word in words), line


def test_what_rcl_cannot_parse(complaint):
    line = complaint('-p', 'rig_offset:=[1, 2.5]')
    assert 'rig_offset' in line
    assert '.c:' not in line
    assert '/nowhere/params.yaml' in complaint('--params-file', '/nowhere/params.yaml')


def test_without_rclpy_the_way_out_is_named(tmp_path):
    """A bare Python: one line that says what to install."""
    (tmp_path / 'rclpy.py').write_text("raise ImportError('No module named rclpy')")
    done = subprocess.run(
        [sys.executable, '-m', 'nurec_ros.cli.player'],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, 'PYTHONPATH': str(tmp_path)},
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 1
    assert 'make setup' in done.stderr
    assert 'Traceback' not in done.stderr


@pytest.fixture(scope='module')
def odd(start, tmp_path_factory):
    """Run a player of a scenario about which there is much to say, with a name mistyped."""

    def edit(rig):
        (trajectory,) = rig['rig_trajectories']
        for key in ('T_rig_worlds', 'T_rig_world_timestamps_us'):
            del trajectory[key][20:60]

    usdz = build_archive(
        tmp_path_factory.mktemp('odd'),
        duration_s=10.0,
        cameras=('7rear left-70°', 'front'),
        edit_rig=edit,
        leave_out=['sequence_tracks.json'],
    )
    bench = start(
        usdz_path=usdz,
        server=NOWHERE,
        cameras='[camera_7rear_left_70]',
        publish_earth_frame=True,
        autplay=True,
    ).ready()
    bench.until(lambda: 'loaded ' in bench.player.output, 'the end of the load')
    return bench


def lines_of(bench, level, words):
    lines = bench.player.output.splitlines()
    return [line for line in lines if f'[{level}]' in line and words in line]


def test_a_camera_that_is_another_in_topics_is_told(odd):
    odd.until(lambda: '/nurec/camera_7rear_left_70/camera_info' in odd.topics(), 'the legal name')
    assert any('camera_7rear_left_70' in one for one in lines_of(odd, 'INFO', '7rear left-70°'))


def test_unused_overrides_are_named_with_the_nearest(odd):
    assert "there is no parameter 'autplay'; did you mean 'autoplay'?" in odd.player.output


def test_each_warning_of_the_scenario_is_said_once(odd):
    odd.spin(odd.clocks, 20)
    assert odd.player.output.count('sequence_tracks.json') == 1
    assert lines_of(odd, 'WARN', 'sequence_tracks.json')


def test_a_gap_in_the_poses_is_said_once_with_its_length(odd):
    (line,) = lines_of(odd, 'WARN', 'gap') or lines_of(odd, 'WARN', 'no pose')
    assert '4.' in line


def test_an_earth_frame_that_cannot_be_is_said(odd, tmp_path):
    """Of a matrix that is the identity, and of none."""
    usdz = build_archive(tmp_path, edit_rig={'T_world_base': REMOVED})
    odd.configure(usdz_path=str(usdz), cameras=[''])
    odd.trigger('load')
    odd.until(lambda: f'loaded {usdz}' in odd.player.output, 'the end of the load')
    lines = lines_of(odd, 'WARN', 'no earth frame')
    assert ['T_world_base' in line for line in lines] == [True, True]


def test_unused_overrides_of_cameras_and_topics_are_told_once_a_scenario_is_there(start, usdz):
    """An idle player cannot know them yet; told once, however often something is loaded."""
    right, wrong = 'qos_overrides./nurec/tracks.publisher', 'qos_overrides./nurec/trakcs.publisher'
    bench = start(
        *('-p', f'{right}.depth:=5', '-p', f'{wrong}.depth:=5', '-p', f'{CAMERAS[0]}x.rate:=5'),
        server=NOWHERE,
    )
    bench.until(lambda: bench.states, 'the state')
    assert 'there is no parameter' not in bench.player.output
    bench.configure(usdz_path=str(usdz))
    for _ in range(2):
        bench.trigger('load')
    told = [line for line in bench.player.output.splitlines() if 'there is no parameter' in line]
    assert len(told) == 2
    assert f"'{wrong}.depth'; did you mean '{right}.depth'?" in '\n'.join(told)
    assert f"'{CAMERAS[0]}x.rate'; did you mean '{CAMERAS[0]}.rate'?" in '\n'.join(told)


def test_the_shipped_file_starts_a_player(start, usdz):
    path = Path(nurec_ros.__file__).parent.parent / 'config' / 'nurec.yaml'
    rules = ['--params-file', path, '-p', f'usdz_path:={usdz}', '-r', '__node:=other']
    bench = start(*rules, name='/other').ready()
    assert 'there is no parameter' not in bench.player.output


def test_autoplay_plays_offsets_move_begin_and_end_and_the_state_tells_them(start, usdz):
    bench = start(
        usdz_path=usdz,
        server=NOWHERE,
        autoplay=True,
        start_offset_s=0.5,
        end_offset_s=0.25,
        cameras=f'[{CAMERAS[0]}]',
    ).ready()
    bench.until(lambda: bench.state['done'], 'the end')
    state = bench.trigger('reset')
    assert state['current_time_us'] == START_US + 500_000
    assert state['duration_s'] == pytest.approx(1.25)
    for state in (bench.state, bench.trigger('tick')):
        assert (state['start_us'], state['end_us']) == (START_US + 500_000, START_US + 1_750_000)
        assert state['cameras'] == [CAMERAS[0]]
