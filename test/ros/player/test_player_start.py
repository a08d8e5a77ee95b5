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
from test.support.archives import build_archive, CAMERAS, START_US
from test.support.player_bench import NOWHERE
from test.support.process import Process

import pytest

pytestmark = pytest.mark.contract


@pytest.fixture
def run(tmp_path):
    """Return a function that runs the command to its end, for its exit code and output."""

    def run(*arguments, fresh=False):
        process = Process('nurec_ros.cli.player', arguments, tmp_path / 'output', fresh=fresh)
        return process.wait(), process.output

    return run


@pytest.fixture
def complaint(run):
    """Return a function that starts with parameters that cannot be, for the one line of why."""

    def complaint(*parameters):
        words = [word for parameter in parameters for word in ('-p', parameter)]
        code, output = run('--ros-args', *words)
        assert code == 1, output
        lines = output.splitlines()
        assert len(lines) == 1, output
        assert lines[0].startswith('nurec_player: ')
        return lines[0]

    return complaint


def test_help(run):
    code, out = run('--help', fresh=True)
    assert code == 0
    assert '--ros-args' in out
    assert 'usdz_path' in out


def test_version(run):
    from nurec_ros import __version__

    assert run('--version') == (0, f'nurec_player {__version__}\n')


def test_unknown_argument(run):
    code, err = run('scenario.usdz')
    assert code == 2
    assert 'scenario.usdz' in err
    assert 'Traceback' not in err


def test_missing_file(complaint, tmp_path):
    assert 'missing.usdz' in complaint(f'usdz_path:={tmp_path / "missing.usdz"}')


def test_folder(complaint, tmp_path):
    assert str(tmp_path) in complaint(f'usdz_path:={tmp_path}')


def test_not_a_zip(complaint, tmp_path):
    path = tmp_path / 'text.usdz'
    path.write_text('this is no archive')
    assert 'text.usdz' in complaint(f'usdz_path:={path}')


def test_zip_without_rig_trajectories(complaint, tmp_path):
    path = build_archive(tmp_path, leave_out=['rig_trajectories.json'])
    assert 'rig_trajectories.json' in complaint(f'usdz_path:={path}')


def test_truncated_archive(complaint, tmp_path):
    path = build_archive(tmp_path)
    path.write_bytes(path.read_bytes()[:-200])
    assert path.name in complaint(f'usdz_path:={path}')


@pytest.mark.parametrize(
    ('parameter', 'words'),
    [
        ('rate:=fast', ['rate', 'fast', '0.01', '100']),
        ('rate:=0', ['rate', '0.01', '100']),
        ('resolution_scale:=3.0', ['resolution_scale', '0.01', '2']),
        ('image_format:=bmp', ['image_format', 'bmp', 'jpeg', 'png', 'rgb']),
        ('loop:=maybe', ['loop', 'maybe']),
        ('image_quality:=101', ['image_quality', '1', '100']),
        ('rig_offset:=[1.0, 2.0]', ['rig_offset', '6']),
        ('rig_offset:=[.nan, 0.0, 0.0, 0.0, 0.0, 0.0]', ['rig_offset', 'finite']),
        ('service_prefix:=a b c', ['service_prefix', 'a b c', 'full name of a gRPC service']),
    ],
)
def test_parameter_of_the_wrong_type_or_out_of_range(complaint, parameter, words):
    line = complaint(parameter)
    assert all(word in line for word in words), line


def test_what_rcl_cannot_parse(complaint):
    line = complaint('rig_offset:=[1, 2.5]')
    assert 'rig_offset' in line
    assert '.c:' not in line


def test_rclpys_own_parameter_of_the_wrong_type(complaint):
    assert 'use_sim_time' in complaint('use_sim_time:=maybe')


def test_missing_parameter_file(run):
    code, err = run('--ros-args', '--params-file', '/nowhere/params.yaml')
    assert code == 1
    assert len(err.strip().splitlines()) == 1, err
    assert '/nowhere/params.yaml' in err


def test_unknown_cameras(complaint, usdz):
    line = complaint(f'usdz_path:={usdz}', 'cameras:=[camera_nobody_knows]')
    assert all(name in line for name in ('camera_nobody_knows', *CAMERAS))


def test_offsets_that_leave_nothing(complaint, usdz):
    line = complaint(f'usdz_path:={usdz}', 'start_offset_s:=1.5', 'end_offset_s:=1.0')
    assert 'start_offset_s' in line


def test_camera_parameter_out_of_range(complaint, usdz):
    line = complaint(f'usdz_path:={usdz}', f'{CAMERAS[0]}.resolution_scale:=7.0')
    assert f'{CAMERAS[0]}.resolution_scale' in line


def test_missing_certificate(complaint, usdz):
    line = complaint(f'usdz_path:={usdz}', 'tls_root_certificate:=/nowhere/ca.pem')
    assert '/nowhere/ca.pem' in line


def test_missing_certificate_of_a_player_that_would_idle(complaint):
    assert '/nowhere/ca.pem' in complaint('tls_root_certificate:=/nowhere/ca.pem')


def test_a_camera_that_is_another_in_topics_is_told(start, tmp_path):
    usdz = build_archive(tmp_path, cameras=('7rear left-70°', 'front'))
    bench = start(usdz_path=usdz, server='localhost:1', cameras='[camera_7rear_left_70]').ready()
    bench.until(
        lambda: '/nurec/camera_7rear_left_70/camera_info' in bench.topics(), 'the legal name'
    )
    lines = [one for one in bench.player.output.splitlines() if '7rear left-70°' in one]
    assert any('camera_7rear_left_70' in line for line in lines)


def test_unused_overrides_are_named_with_the_nearest(start, usdz):
    bench = start(usdz_path=usdz, server='localhost:1', autplay=True).ready()
    assert "there is no parameter 'autplay'; did you mean 'autoplay'?" in bench.player.output


def test_unused_overrides_of_cameras_and_topics_are_told_once_a_scenario_is_there(start, usdz):
    """An idle player cannot know them yet; told once, however often something is loaded."""
    right, wrong = 'qos_overrides./nurec/tracks.publisher', 'qos_overrides./nurec/trakcs.publisher'
    bench = start(
        *('-p', f'{right}.depth:=5', '-p', f'{wrong}.depth:=5', '-p', f'{CAMERAS[0]}x.rate:=5'),
        server='localhost:1',
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
    import nurec_ros

    path = Path(nurec_ros.__file__).parent.parent / 'config' / 'nurec.yaml'
    rules = ['--params-file', path, '-p', f'usdz_path:={usdz}', '-r', '__node:=other']
    bench = start(*rules, name='/other').ready()
    assert 'there is no parameter' not in bench.player.output


def test_each_warning_of_the_scenario_is_said_once(start, tmp_path):
    usdz = build_archive(tmp_path, leave_out=['sequence_tracks.json'])
    bench = start(usdz_path=usdz, server='localhost:1').ready()
    bench.spin(bench.clocks, 20)
    assert bench.player.output.count('sequence_tracks.json') == 1
    assert '[WARN]' in bench.player.output


@pytest.mark.parametrize('matrix', ['identity', None])
def test_an_earth_frame_that_cannot_be_is_said(start, tmp_path, matrix):
    def edit(rig):
        if matrix is None:
            del rig['T_world_base']

    usdz = build_archive(tmp_path, edit_rig=edit)
    bench = start(usdz_path=usdz, server='localhost:1', publish_earth_frame=True).ready()
    bench.until(lambda: 'loaded ' in bench.player.output, 'the end of the load')
    (line,) = [line for line in bench.player.output.splitlines() if 'no earth frame' in line]
    assert '[WARN]' in line
    assert 'T_world_base' in line


def test_offsets_move_begin_and_end(start, usdz):
    bench = start(usdz_path=usdz, server='localhost:1', start_offset_s=0.5, end_offset_s=0.25)
    bench.ready()
    state = bench.trigger('stop')
    assert state['current_time_us'] == START_US + 500_000
    assert state['duration_s'] == pytest.approx(1.25)


def test_autoplay(start, usdz):
    bench = start(usdz_path=usdz, server='localhost:1', autoplay=True).ready()
    bench.until(lambda: bench.state['done'], 'the end')


def test_without_rclpy_the_way_out_is_named(tmp_path):
    """A bare Python: one line that says what to install."""
    (tmp_path / 'rclpy.py').write_text("raise ImportError('No module named rclpy')")
    environment = {**os.environ, 'PYTHONPATH': str(tmp_path)}
    done = subprocess.run(
        [sys.executable, '-m', 'nurec_ros.cli.player'],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 1
    assert 'make setup' in done.stderr
    assert 'Traceback' not in done.stderr


def test_a_gap_in_the_poses_is_said_once_with_its_length(start, tmp_path):
    def edit(rig):
        (trajectory,) = rig['rig_trajectories']
        for key in ('T_rig_worlds', 'T_rig_world_timestamps_us'):
            del trajectory[key][20:60]

    usdz = build_archive(tmp_path, duration_s=10.0, edit_rig=edit)
    bench = start(usdz_path=usdz, server=NOWHERE).ready()
    lines = [one for one in bench.player.output.splitlines() if '[WARN]' in one]
    (line,) = [one for one in lines if 'gap' in one or 'no pose' in one]
    assert '4.' in line
